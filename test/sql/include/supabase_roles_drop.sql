-- Removes the roles of supabase_roles.sql.  The grants on settings that CREATE EXTENSION has made belong to the cluster
-- and would keep app_owner; DROP OWNED takes them back too.
DO $$
DECLARE
	role text;
BEGIN
	FOREACH role IN ARRAY ARRAY['supabase_admin', 'app_owner', 'anon', 'authenticated', 'service_role', 'authenticator'] LOOP
		IF EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role) THEN
			EXECUTE format('DROP OWNED BY %I CASCADE', role);
			EXECUTE format('DROP ROLE %I', role);
		END IF;
	END LOOP;
END
$$;
