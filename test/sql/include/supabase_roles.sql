-- The roles, schemas and default privileges of a self-hosted Supabase database, in the scratch database that
-- scratch_database.sql has made, or in any other.  app_owner stands for Supabase's postgres: no superuser, but owner of the database and
-- of the schemas public and extensions, above row-level security, and member of the roles that requests are served as.
-- authenticator logs in for PostgREST and has no right but to switch to one of them.  supabase_admin is a superuser.
--
-- Roles belong to the cluster: supabase_roles_drop.sql removes them, and what a test that stopped early has left behind
-- is removed here.
\if :{?srcdir}
\else
\getenv srcdir PG_ABS_SRCDIR
\endif
\i :srcdir/sql/include/supabase_roles_drop.sql
CREATE ROLE supabase_admin SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS;
CREATE ROLE app_owner LOGIN NOSUPERUSER CREATEDB CREATEROLE BYPASSRLS;
CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service_role NOLOGIN BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT;
GRANT anon, authenticated, service_role TO authenticator;
GRANT anon, authenticated, service_role, authenticator TO app_owner WITH ADMIN OPTION;

SELECT current_database() AS database \gset
ALTER DATABASE :"database" OWNER TO app_owner;
ALTER SCHEMA public OWNER TO app_owner;
CREATE SCHEMA extensions AUTHORIZATION app_owner;
GRANT USAGE ON SCHEMA public, extensions TO anon, authenticated, service_role;
ALTER DATABASE :"database" SET search_path TO "$user", public, extensions;
SET search_path TO "$user", public, extensions;
-- functions are granted to everybody who makes a request, tables no longer are
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;

-- who makes a request
CREATE SCHEMA auth AUTHORIZATION supabase_admin;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role, app_owner;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
	$$SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid$$;
