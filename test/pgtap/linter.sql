-- Supabase's database linter must have nothing to say about what the extension, attach(), grant_monitoring() and expose() make: not
-- in an empty schema, and nothing more than before about an app that lives already.  Its rules are put here in our own words, by
-- the names that they have there; each is shown to find what it is meant to find.  Left out are those on statistics of use and on
-- what Supabase itself brings.  It could fail by a table without row-level security or key, a foreign key or a policy too many, a
-- wrapper without search_path, a view that runs as its owner.
\set srcdir test
SET client_min_messages TO warning;
SELECT plan(26);
SELECT current_user AS superuser, current_database() AS database \gset
CREATE SCHEMA test;
GRANT USAGE, CREATE ON SCHEMA test TO PUBLIC;
\i test/sql/include/supabase_roles.sql
CREATE ROLE linter_metrics NOLOGIN;

-- ---------------------------------------------------------------------
-- The rules
-- ---------------------------------------------------------------------
CREATE VIEW test.schemas AS
SELECT n.oid, n.nspname FROM pg_namespace AS n
WHERE n.nspname NOT IN ('information_schema', 'extensions', 'auth', 'test', 'live') AND n.nspname NOT LIKE 'pg\_%';
CREATE VIEW test.relations AS
SELECT c.*, n.nspname, c.oid::regclass::text AS name FROM pg_class AS c JOIN test.schemas AS n ON n.oid = c.relnamespace
WHERE NOT EXISTS (SELECT FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname <> 'assignment_v3'
	WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');
CREATE VIEW test.functions AS
SELECT p.*, n.nspname, p.oid::regprocedure::text AS name FROM pg_proc AS p JOIN test.schemas AS n ON n.oid = p.pronamespace
WHERE NOT EXISTS (SELECT FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname <> 'assignment_v3'
	WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e');
CREATE VIEW test.policies AS
SELECT p.*, c.name, c.relrowsecurity, pg_get_expr(p.polqual, p.polrelid) AS shown, pg_get_expr(p.polwithcheck, p.polrelid) AS checked,
	EXISTS (SELECT FROM unnest(p.polroles) AS u (role) WHERE u.role = 0 OR pg_get_userbyid(u.role) IN ('anon', 'authenticated')) AS is_open
FROM pg_policy AS p JOIN test.relations AS c ON c.oid = p.polrelid;

CREATE VIEW test.findings (rule, object) AS
SELECT 'unindexed_foreign_keys', c.name || ' ' || f.conname FROM pg_constraint AS f JOIN test.relations AS c ON c.oid = f.conrelid
WHERE f.contype = 'f' AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = f.conrelid AND i.indisvalid
	AND (i.indkey::smallint[])[0:cardinality(f.conkey) - 1] = f.conkey)
UNION ALL
SELECT 'auth_rls_initplan', p.name || ' ' || p.polname FROM test.policies AS p
WHERE concat_ws(' ', p.shown, p.checked) ~ '(auth\.\w+|current_setting)\(' AND concat_ws(' ', p.shown, p.checked) !~* 'select (auth\.\w+|current_setting)\('
UNION ALL
SELECT 'no_primary_key', c.name FROM test.relations AS c WHERE c.relkind = 'r'
	AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)
UNION ALL
SELECT 'multiple_permissive_policies', p.name || ' ' || r.rolname || ' ' || a.action FROM test.policies AS p
JOIN pg_roles AS r ON (r.oid = ANY (p.polroles) OR p.polroles = ARRAY[0::oid]) AND NOT r.rolbypassrls AND r.rolname NOT LIKE 'pg\_%'
CROSS JOIN unnest(CASE p.polcmd WHEN '*' THEN ARRAY['r', 'a', 'w', 'd'] ELSE ARRAY[p.polcmd::text] END) AS a (action)
WHERE p.polpermissive GROUP BY p.name, r.rolname, a.action HAVING count(*) > 1
UNION ALL
SELECT 'policy_exists_rls_disabled', p.name FROM test.policies AS p WHERE NOT p.relrowsecurity
UNION ALL
SELECT 'rls_enabled_no_policy', c.name FROM test.relations AS c WHERE c.relkind = 'r' AND c.relrowsecurity
	AND NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid)
UNION ALL
SELECT 'duplicate_index', c.name || ' ' || string_agg(x.relname, ', ' ORDER BY x.relname) FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid
JOIN test.relations AS c ON c.oid = i.indrelid GROUP BY c.name, replace(pg_get_indexdef(i.indexrelid), quote_ident(x.relname), '') HAVING count(*) > 1
UNION ALL
SELECT 'security_definer_view', c.name FROM test.relations AS c WHERE c.relkind = 'v'
	AND NOT coalesce(c.reloptions, '{}') && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1', 'security_invoker=yes']
UNION ALL
SELECT 'function_search_path_mutable', p.name FROM test.functions AS p JOIN pg_language AS l ON l.oid = p.prolang
WHERE l.lanname <> 'c' AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS s WHERE s LIKE 'search\_path=%')
UNION ALL
SELECT 'rls_disabled_in_public', c.name FROM test.relations AS c WHERE c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
UNION ALL
SELECT 'extension_in_public', e.extname FROM pg_extension AS e WHERE e.extnamespace = 'public'::regnamespace AND e.extname <> 'pgtap'
UNION ALL
SELECT 'materialized_view_in_api', c.name FROM test.relations AS c WHERE c.relkind = 'm'
UNION ALL
SELECT 'foreign_table_in_api', c.name FROM test.relations AS c WHERE c.relkind = 'f'
UNION ALL
SELECT 'unsupported_reg_types', c.name || '.' || a.attname FROM pg_attribute AS a JOIN test.relations AS c ON c.oid = a.attrelid
WHERE c.relkind IN ('r', 'p', 'm') AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN ('regcollation'::regtype, 'regconfig'::regtype, 'regdictionary'::regtype,
	'regnamespace'::regtype, 'regoper'::regtype, 'regoperator'::regtype, 'regproc'::regtype, 'regprocedure'::regtype, 'regclass'::regtype, 'regrole'::regtype)
UNION ALL
SELECT 'rls_policy_always_true', p.name || ' ' || p.polname FROM test.policies AS p
WHERE p.polpermissive AND p.is_open AND p.polcmd <> 'r' AND coalesce(p.checked, p.shown) IN ('true', '(1 = 1)')
UNION ALL
SELECT 'security_definer_function_executable', p.name FROM test.functions AS p
WHERE p.prosecdef AND (has_function_privilege('anon', p.oid, 'EXECUTE') OR has_function_privilege('authenticated', p.oid, 'EXECUTE'))
UNION ALL
SELECT 'invalid_index', i.indexrelid::regclass::text FROM pg_index AS i JOIN test.relations AS c ON c.oid = i.indrelid WHERE NOT i.indisvalid OR NOT i.indisready
UNION ALL
SELECT 'autovacuum_disabled', c.name FROM test.relations AS c WHERE coalesce(c.reloptions, '{}') && ARRAY['autovacuum_enabled=false', 'autovacuum_enabled=off'];

-- ---------------------------------------------------------------------
-- A schema that was empty
-- ---------------------------------------------------------------------
SET ROLE app_owner;
CREATE EXTENSION btree_gist WITH SCHEMA extensions;
CREATE EXTENSION assignment_v3;
CREATE SCHEMA app;
SELECT count(*) > 0 AS attached FROM assignment_v3.attach('app') \gset
CREATE SCHEMA api;
SELECT count(*) > 0 AS exposed FROM assignment_v3.expose('api', 'service_role') \gset
RESET ROLE;
SELECT is_empty($$SELECT * FROM test.findings WHERE rule <> 'rls_enabled_no_policy'$$, 'no finding in an empty schema');
SELECT cmp_ok((SELECT count(*) FROM test.relations WHERE relkind = 'r' AND nspname IN ('app', 'assignment_v3')), '>', 20::bigint, '... with all its tables');
SELECT cmp_ok((SELECT count(*) FROM test.relations WHERE relkind = 'v' AND nspname = 'assignment_v3'), '>', 5::bigint, '... and views');
SELECT cmp_ok((SELECT count(*) FROM test.functions WHERE nspname = 'api'), '>', 8::bigint, '... and wrappers');
-- tables for their owner alone have no policy until somebody may see them
SET ROLE app_owner;
SELECT count(*) > 0 AS watched FROM assignment_v3.grant_monitoring('linter_metrics') \gset
RESET ROLE;
SELECT is_empty('SELECT * FROM test.findings', '... with monitoring none at all');

-- ---------------------------------------------------------------------
-- Each rule finds what it is for
-- ---------------------------------------------------------------------
CREATE SCHEMA bad;
CREATE TABLE bad.keyless (id uuid REFERENCES app.bookings);
CREATE TABLE bad.closed (id uuid PRIMARY KEY, kind regclass) WITH (autovacuum_enabled = off);
ALTER TABLE bad.closed ENABLE ROW LEVEL SECURITY;
CREATE INDEX one ON bad.closed (kind);
CREATE INDEX two ON bad.closed (kind);
CREATE TABLE bad.policies (id uuid PRIMARY KEY);
CREATE POLICY a ON bad.policies USING (auth.uid() = id);
CREATE POLICY b ON bad.policies TO authenticated USING (true);
CREATE VIEW bad.seen AS SELECT * FROM bad.closed;
CREATE MATERIALIZED VIEW bad.kept AS SELECT * FROM bad.closed;
CREATE FOREIGN DATA WRAPPER linter_fdw;
CREATE SERVER linter_server FOREIGN DATA WRAPPER linter_fdw;
CREATE FOREIGN TABLE bad.elsewhere (id uuid) SERVER linter_server;
CREATE FUNCTION bad.runs() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
CREATE EXTENSION btree_gin WITH SCHEMA public;
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'bad.two'::regclass;
SELECT ok(EXISTS (SELECT FROM test.findings AS f WHERE f.rule = r AND (f.object LIKE 'bad.%' OR f.object = 'btree_gin')), r || ' finds what it is for')
FROM unnest(ARRAY['unindexed_foreign_keys', 'auth_rls_initplan', 'no_primary_key', 'multiple_permissive_policies', 'policy_exists_rls_disabled', 'rls_enabled_no_policy',
	'duplicate_index', 'security_definer_view', 'function_search_path_mutable', 'rls_disabled_in_public', 'extension_in_public', 'materialized_view_in_api',
	'foreign_table_in_api', 'unsupported_reg_types', 'rls_policy_always_true', 'security_definer_function_executable', 'invalid_index', 'autovacuum_disabled']) AS r;
DROP FOREIGN DATA WRAPPER linter_fdw CASCADE;
DROP SCHEMA bad CASCADE;
DROP EXTENSION btree_gin;

-- ---------------------------------------------------------------------
-- An app that lives already
-- ---------------------------------------------------------------------
SET ROLE app_owner;
SELECT count(*) AS revoked FROM assignment_v3.revoke_monitoring('linter_metrics') \gset
SELECT count(*) AS unexposed FROM assignment_v3.unexpose('api') \gset
SELECT count(*) AS detached FROM assignment_v3.detach() \gset
DROP EXTENSION assignment_v3;
DROP SCHEMA app, api, assignment_v3 CASCADE;
\set staff_role authenticated
\set guest_role anon
\i test/sql/include/live_app.sql
RESET ROLE;
CREATE TABLE test.before AS SELECT * FROM test.findings;
SET ROLE app_owner;
CREATE EXTENSION assignment_v3;
SELECT count(*) > 0 AS attached FROM assignment_v3.attach() \gset
CREATE SCHEMA api;
SELECT count(*) > 0 AS exposed FROM assignment_v3.expose('api', 'service_role') \gset
SELECT count(*) > 0 AS watched FROM assignment_v3.grant_monitoring('linter_metrics') \gset
RESET ROLE;
SELECT is_empty('SELECT * FROM test.findings EXCEPT SELECT * FROM test.before', 'no finding more in an app that lives');
SELECT is((SELECT count(*) FROM test.relations WHERE nspname = 'assignment_v3' AND relkind = 'r') > 5, true, '... with all that attach() adds');
SELECT is((SELECT assignment_v3.mode() IS NOT NULL), true, '... and works');
SELECT * FROM finish();

ALTER DATABASE :"database" OWNER TO :"superuser";
\i test/sql/include/supabase_roles_drop.sql
DROP OWNED BY linter_metrics CASCADE;
DROP ROLE linter_metrics;
