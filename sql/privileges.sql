-- Everything above belongs to nobody but the extension's owner, who may pass it on.
DO $$
DECLARE
	member record;
BEGIN
	FOR member IN
		SELECT p.oid::regprocedure::text AS name,
			CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END AS kind
		FROM pg_depend d
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'assignment_v3'
		JOIN pg_proc p ON p.oid = d.objid
		WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
			AND d.deptype = 'e'
	LOOP
		EXECUTE format('REVOKE ALL ON %s %s FROM PUBLIC', member.kind, member.name);
		EXECUTE format('GRANT EXECUTE ON %s %s TO @extowner@ WITH GRANT OPTION', member.kind, member.name);
	END LOOP;

	FOR member IN
		SELECT t.oid::regtype::text AS name
		FROM pg_depend d
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'assignment_v3'
		JOIN pg_type t ON t.oid = d.objid AND t.typelem = 0
		WHERE d.classid = 'pg_type'::regclass AND d.refclassid = 'pg_extension'::regclass
			AND d.deptype = 'e'
	LOOP
		EXECUTE format('REVOKE ALL ON TYPE %s FROM PUBLIC', member.name);
		EXECUTE format('GRANT USAGE ON TYPE %s TO @extowner@ WITH GRANT OPTION', member.name);
	END LOOP;

	FOR member IN
		SELECT c.oid::regclass::text AS name
		FROM pg_depend d
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'assignment_v3'
		JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'v'
		WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass
			AND d.deptype = 'e'
	LOOP
		EXECUTE format('REVOKE ALL ON TABLE %s FROM PUBLIC', member.name);
		EXECUTE format('GRANT SELECT ON TABLE %s TO @extowner@ WITH GRANT OPTION', member.name);
	END LOOP;
END
$$;

-- The owner may flip the flags for a session, a role and the database, before the library is loaded too.
SELECT assignment_v3.grant_flags(r.oid)
FROM pg_roles AS r
WHERE r.oid = '@extowner@'::regrole AND NOT r.rolsuper;
