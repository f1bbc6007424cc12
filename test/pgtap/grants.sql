-- grant_access(), grant_monitoring() and expose() must give what is needed and no more, say what they did, do nothing the second
-- time, and be taken back to the last right; whatever schemas and roles are called.  Monitoring must see every row that its owner
-- sees, by the queries that operators run, by every view and every function that it is given, past row-level security, and must
-- neither write nor learn who the guests are.  Visitors' roles, and roles that these inherit from, get nothing.  It could fail by a
-- helper that is not granted, by a policy that is missing and turns a table into an empty one, or by a name that is not quoted.
\set srcdir test
SET client_min_messages TO warning;
SELECT plan(57);
SELECT current_user AS superuser, current_database() AS database \gset
CREATE SCHEMA test;
GRANT USAGE, CREATE ON SCHEMA test TO PUBLIC;
\i test/sql/include/supabase_roles.sql
\set app 'the "app"'
\set api 'an ''api'''
\set server 'the "server"; DROP'
\set watcher 'Who watches?'
CREATE ROLE :"server" NOLOGIN;
CREATE ROLE :"watcher" NOLOGIN;
CREATE ROLE grants_parent NOLOGIN;
CREATE ROLE grants_other NOLOGIN CREATEROLE;
SET ROLE app_owner;
CREATE EXTENSION btree_gist WITH SCHEMA extensions;
CREATE EXTENSION assignment_v3;
CREATE SCHEMA :"app";
CREATE SCHEMA :"api";
SELECT count(*) > 0 AS attached FROM assignment_v3.attach(quote_ident(:'app')::regnamespace) \gset
SET search_path TO :"app", public, extensions;
SET assignment_v3.enabled TO on;
INSERT INTO restaurants (id, name) SELECT ('a0000000-0000-0000-0000-00000000000' || n)::uuid, 'Restaurant ' || n FROM generate_series(1, 2) AS n;
INSERT INTO table_inventory (restaurant_id, table_number, capacity)
SELECT ('a0000000-0000-0000-0000-00000000000' || r)::uuid, n, 4 FROM generate_series(1, 2) AS r, generate_series(1, 3) AS n;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, customer_name, customer_email)
SELECT ('b0000000-0000-0000-0000-0000000000' || r || n)::uuid, ('a0000000-0000-0000-0000-00000000000' || r)::uuid, 2, now() + interval '1 day', now() + interval '1 day 2 hours', 'Ann', 'ann@example.com'
FROM generate_series(1, 2) AS r, generate_series(1, 5) AS n;
SELECT count(assignment_v3.process_booking(b.id)) FROM bookings AS b \gset decided_
SELECT count(assignment_v3.process_booking(b.id)) FROM bookings AS b \gset decided_

CREATE FUNCTION test.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
BEGIN
	EXECUTE statement;
	RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' ', SQLSTATE, message, NULLIF(detail, ''));
END
$$;
CREATE FUNCTION test.look(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	seen text;
BEGIN
	EXECUTE format('SELECT json_agg(x)::text FROM (%s) AS x', statement) INTO seen;
	RETURN seen;
EXCEPTION WHEN insufficient_privilege THEN
	RETURN SQLERRM;
END
$$;
-- Every right and every policy in the database, but the app's schema, whose USAGE is not taken back.
CREATE FUNCTION test.rights() RETURNS TABLE (object text, grantee text, privilege text) LANGUAGE sql AS $$
	SELECT o.object, a.grantee::regrole::text, a.privilege_type FROM (
		SELECT c.oid::regclass::text AS object, coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) AS acl FROM pg_class AS c
			WHERE c.relkind IN ('r', 'v', 'S') AND c.relnamespace NOT IN (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname LIKE 'pg\_temp%') AND c.relname NOT LIKE '\_\_t%'
		UNION ALL SELECT c.attrelid::regclass || '.' || c.attname, c.attacl FROM pg_attribute AS c WHERE c.attnum > 0 AND NOT c.attisdropped
		UNION ALL SELECT p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)) FROM pg_proc AS p
		UNION ALL SELECT n.nspname, coalesce(n.nspacl, acldefault('n', n.nspowner)) FROM pg_namespace AS n
	) AS o CROSS JOIN LATERAL aclexplode(o.acl) AS a
	UNION ALL
	SELECT p.polrelid::regclass::text, p.polroles::text, p.polname || pg_get_expr(p.polqual, p.polrelid) FROM pg_policy AS p
$$;
RESET ROLE;
CREATE TEMPORARY TABLE rights_before AS SELECT * FROM test.rights();
SELECT quote_ident(:'server') AS server_name, quote_ident(:'watcher') AS watcher_name, quote_ident(:'app') AS app_name, quote_ident(:'api') AS api_name \gset

-- ---------------------------------------------------------------------
-- Who gets nothing
-- ---------------------------------------------------------------------
GRANT grants_parent TO authenticated;
SET ROLE app_owner;
SELECT matches(test.refusal(format('SELECT assignment_v3.%I(%L)', f, r)), format('^PT422 role "%s" must not be given rights', r), f || ' to ' || r)
FROM unnest(ARRAY['grant_access', 'grant_monitoring']) AS f, unnest(ARRAY['anon', 'authenticated', 'authenticator']) AS r;
SELECT is(test.refusal(format('SELECT assignment_v3.%I(%L)', f, 'grants_parent')), 'PT422 role "grants_parent" must not be given rights on the pipeline '
	'Role "authenticated" inherits its rights. The pipeline acts on every booking, past row-level security.', f || ' to what visitors inherit from')
FROM unnest(ARRAY['grant_access', 'grant_monitoring']) AS f;
SELECT matches(test.refusal(format('SELECT assignment_v3.%I(%s)', f, r)), '^PT422 role must name an existing role, and not PUBLIC', f || ' to ' || r)
FROM unnest(ARRAY['grant_access', 'grant_monitoring']) AS f, unnest(ARRAY['NULL', '0', '''-''', '2147483647']) AS r;
SELECT matches(test.refusal(format('SELECT assignment_v3.%I(%L)', f, r)), format('^PT422 role "%s" has every right already', r), f || ' to ' || r)
FROM unnest(ARRAY['grant_access', 'revoke_access', 'grant_monitoring', 'revoke_monitoring']) AS f, unnest(ARRAY['app_owner']) AS r;
SELECT throws_ok($$SELECT assignment_v3.grant_access('nobody_of_that_name')$$, '42704', NULL, 'a role that does not exist');
RESET ROLE;
GRANT USAGE ON SCHEMA assignment_v3 TO grants_other;
SET ROLE app_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA assignment_v3 TO grants_other;
GRANT SELECT ON assignment_v3.binding TO grants_other;
CREATE POLICY other ON assignment_v3.binding TO grants_other USING (true);
SET ROLE grants_other;
SELECT matches(test.refusal(format('SELECT assignment_v3.grant_access(%L)', :'server_name')), '^42501 role "grants_other" has no right to pass on', 'who may not grant is told so');
RESET ROLE;
SET ROLE app_owner;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA assignment_v3 FROM grants_other;
REVOKE SELECT ON assignment_v3.binding FROM grants_other;
DROP POLICY other ON assignment_v3.binding;
RESET ROLE;
REVOKE ALL ON SCHEMA assignment_v3 FROM grants_other;
SELECT set_eq('SELECT * FROM test.rights()', 'SELECT * FROM pg_temp.rights_before', 'nothing has been given');

-- ---------------------------------------------------------------------
-- The app's server
-- ---------------------------------------------------------------------
SET ROLE app_owner;
SELECT cmp_ok((SELECT count(*) FROM assignment_v3.grant_access(:'server_name')), '>', 20::bigint, 'grant_access() to a role of odd name');
SELECT is_empty(format('SELECT * FROM assignment_v3.grant_access(%L)', :'server_name'), '... once');
CREATE TEMPORARY TABLE exposing AS SELECT * FROM assignment_v3.expose(:'api_name', :'server_name');
SELECT is_empty(format('SELECT * FROM assignment_v3.expose(%L, %L)', :'api_name', :'server_name'), 'expose() in a schema of odd name, once');
SELECT is_empty($$SELECT * FROM pg_temp.exposing WHERE action = 'granted' AND object LIKE '%assignment\_v3%'$$, '... needs no right that grant_access() has not given');
RESET ROLE;
SELECT set_eq(format($$SELECT object, privilege FROM test.rights() WHERE grantee = %L AND (object ~ '^[a-z_.0-9]*$') $$, :'server_name'),
	$$VALUES ('assignment_v3', 'USAGE'), ('assignment_v3.binding', 'SELECT'), ('assignment_v3.kill_switch', 'SELECT'), ('assignment_v3.rollout', 'SELECT'),
	('assignment_v3.blocks', 'SELECT')$$, 'no relation but those behind status() and service_timeline()');
SET ROLE :"server";
SELECT is((SELECT value FROM assignment_v3.status() WHERE item = 'attached'), 'yes', 'the server asks for the status');
SELECT is((SELECT r.mode FROM :"api".mode() AS r), 'active', '... and for the mode by its wrapper');
SELECT is((SELECT r.outcome FROM :"api".process_booking('b0000000-0000-0000-0000-000000000011') AS r), 'noop', '... and for a decision');
SELECT throws_ok(format('SELECT count(*) FROM %s.bookings', :'app_name'), '42501', NULL, '... and can''t look at a booking otherwise');
RESET ROLE;

-- ---------------------------------------------------------------------
-- Monitoring
-- ---------------------------------------------------------------------
SET ROLE app_owner;
SELECT cmp_ok((SELECT count(*) FROM assignment_v3.grant_monitoring(:'watcher_name')), '>', 50::bigint, 'grant_monitoring() to a role of odd name');
SELECT is_empty(format('SELECT * FROM assignment_v3.grant_monitoring(%L)', :'watcher_name'), '... once');
RESET ROLE;
CREATE TEMPORARY TABLE looks AS
-- the queries of operations, as they stand
SELECT 'events by the hour' AS name, $$SELECT DATE_TRUNC('hour', created_at) AS hour, event_type, COUNT(*) AS event_count, COUNT(DISTINCT booking_id) AS unique_bookings
	FROM observability_events WHERE source = 'assignment.state_machine' AND created_at > NOW() - INTERVAL '24 hours' GROUP BY 1, 2 ORDER BY 1 DESC, 3 DESC$$ AS look
UNION ALL VALUES ('legacy and shadow', $$SELECT 'legacy' AS source, COUNT(*) FILTER (WHERE event_type = 'auto_assign.summary' AND context->>'result' = 'succeeded') AS successes,
	COUNT(*) FILTER (WHERE event_type = 'auto_assign.summary') AS total FROM observability_events WHERE created_at > NOW() - INTERVAL '24 hours' UNION ALL
	SELECT 'coordinator_shadow', COUNT(*) FILTER (WHERE context->>'to' = 'confirmed'), COUNT(DISTINCT booking_id) FROM observability_events
	WHERE source = 'assignment.state_machine' AND created_at > NOW() - INTERVAL '24 hours'$$),
	('confirmation rate', $$SELECT DATE_TRUNC('hour', created_at) AS hour, COUNT(*) FILTER (WHERE status = 'confirmed') AS confirmed, COUNT(*) AS total,
	ROUND(100.0 * COUNT(*) FILTER (WHERE status = 'confirmed') / COUNT(*), 2) AS confirmation_rate_pct FROM bookings WHERE created_at > NOW() - INTERVAL '48 hours' GROUP BY 1 ORDER BY 1 DESC$$),
	('manual review', $$SELECT COUNT(*) AS manual_review_count FROM bookings WHERE assignment_state = 'manual_review' AND created_at > NOW() - INTERVAL '48 hours'$$)
UNION ALL
SELECT 'rows of ' || c.oid::regclass, format('SELECT count(*) FROM %s', c.oid::regclass) FROM pg_class AS c
WHERE c.relkind IN ('r', 'v') AND c.relnamespace IN ('assignment_v3'::regnamespace, :'app_name'::regnamespace);
GRANT SELECT ON pg_temp.looks TO PUBLIC;
CREATE TEMPORARY TABLE seen_by_owner AS SELECT l.name, test.look(l.look) AS seen FROM pg_temp.looks AS l;
GRANT SELECT ON pg_temp.seen_by_owner TO PUBLIC;
SET ROLE :"watcher";
SELECT cmp_ok((SELECT count(*) FROM pg_temp.looks), '>', 30::bigint, 'there is much to look at');
SELECT set_eq('SELECT l.name, test.look(l.look) FROM pg_temp.looks AS l', 'SELECT * FROM pg_temp.seen_by_owner', '... and monitoring sees all of it');
RESET ROLE;
SELECT is_empty($$SELECT * FROM pg_temp.seen_by_owner WHERE name IN ('events by the hour', 'confirmation rate') AND seen IS NULL$$, '... which is something');
-- every function that it is given, with something to chew on
CREATE TEMPORARY TABLE functions AS
SELECT p.proname::text AS name, format('SELECT * FROM assignment_v3.%I(%s)', p.proname, (
	SELECT string_agg(format('%I => %s', u.name, CASE u.name WHEN 'booking_id' THEN '''b0000000-0000-0000-0000-000000000011''' WHEN 'restaurant_id' THEN '''a0000000-0000-0000-0000-000000000001'''
		WHEN 'phase' THEN '''staging_shadow''' WHEN 'percent' THEN '50' WHEN 'from_state' THEN '''created''' ELSE format('NULL::%s', u.type::regtype) END), ', ' ORDER BY u.n)
	FROM unnest(p.proargtypes::oid[], p.proargnames[1:p.pronargs]) WITH ORDINALITY AS u (type, name, n) WHERE u.n <= p.pronargs - p.pronargdefaults)) AS call
FROM pg_proc AS p JOIN assignment_v3.access_functions() AS f ON f.name = p.proname AND f.monitoring
WHERE p.pronamespace = 'assignment_v3'::regnamespace;
GRANT SELECT ON pg_temp.functions TO PUBLIC;
SET ROLE :"watcher";
SELECT is_empty('SELECT f.name, f.call, test.refusal(f.call) FROM pg_temp.functions AS f WHERE test.refusal(f.call) LIKE ''42501%''', '... and calls what it is given');
SELECT is_empty('SELECT * FROM assignment_v3.verify()', '... verify() finds nothing');
SELECT throws_ok('SELECT customer_name FROM bookings', '42501', NULL, 'monitoring does not learn who the guests are');
SELECT throws_ok('SELECT * FROM bookings', '42501', NULL, '... by no means');
SELECT throws_ok('SELECT payload FROM capacity_outbox', '42501', NULL, '... nor what they are told');
SELECT throws_ok($$SELECT assignment_v3.process_booking('b0000000-0000-0000-0000-000000000011')$$, '42501', NULL, '... nor decides');
RESET ROLE;
SELECT is_empty(format($$SELECT object, privilege FROM test.rights() WHERE grantee = %L AND privilege NOT IN ('SELECT', 'EXECUTE', 'USAGE')$$, :'watcher_name'),
	'monitoring has no right to write');
SELECT is_empty(format($$SELECT p.oid::regprocedure FROM pg_proc AS p WHERE p.pronamespace = 'assignment_v3'::regnamespace AND p.provolatile = 'v'
	AND has_function_privilege(%L, p.oid, 'EXECUTE')$$, :'watcher'), '... and calls nothing that writes');

-- a second role for the same, and a policy that hides something
SET ROLE app_owner;
SELECT isnt((SELECT count(*) FROM assignment_v3.grant_monitoring('grants_other')), 0::bigint, 'a second role joins');
SELECT set_eq($$SELECT DISTINCT r.rolname::text FROM pg_policy AS p CROSS JOIN unnest(p.polroles) AS u (role) JOIN pg_roles AS r ON r.oid = u.role WHERE p.polname = 'assignment_v3_monitoring'$$,
	format('VALUES (%L), (%L)', :'watcher', 'grants_other'), '... the same policies');
CREATE POLICY hidden ON bookings AS RESTRICTIVE TO grants_other USING (party_size > 2);
SET ROLE grants_other;
SELECT matches(test.refusal('SELECT assignment_v3.verify()'), '^42501 row-level security hides rows of table', 'who is shown a part is not told that all is sound');
SET ROLE app_owner;
DROP POLICY hidden ON bookings;

-- ---------------------------------------------------------------------
-- And back
-- ---------------------------------------------------------------------
SELECT isnt((SELECT count(*) FROM assignment_v3.revoke_monitoring('grants_other')), 0::bigint, 'the second role leaves');
SET ROLE :"watcher";
SELECT is_empty('SELECT * FROM assignment_v3.verify()', '... and the first goes on');
SET ROLE app_owner;
SELECT isnt((SELECT count(*) FROM assignment_v3.unexpose(:'api_name')), 0::bigint, 'the wrappers go');
SELECT isnt((SELECT count(*) FROM assignment_v3.revoke_access(:'server_name')), 0::bigint, '... and the server');
SELECT isnt((SELECT count(*) FROM assignment_v3.revoke_monitoring(:'watcher_name')), 0::bigint, '... and monitoring');
SELECT is_empty(format('SELECT * FROM assignment_v3.revoke_access(%L) UNION ALL SELECT * FROM assignment_v3.revoke_monitoring(%L)', :'server_name', :'watcher_name'), '... once');
RESET ROLE;
SELECT set_eq(format('SELECT * FROM test.rights() WHERE object NOT IN (%L, %L)', :'app', :'api'), format('SELECT * FROM pg_temp.rights_before WHERE object NOT IN (%L, %L)', :'app', :'api'),
	'every right is as it was');
-- what another role has granted only it can take back, and that is no silence
SELECT count(*) FROM assignment_v3.grant_access(:'server_name') \gset by_superuser_
SET ROLE app_owner;
SELECT matches(test.refusal(format('SELECT assignment_v3.revoke_access(%L)', :'server_name')), '^42501 could not take back all rights of role', 'what a superuser has granted stays until he takes it back');
RESET ROLE;
SELECT isnt((SELECT count(*) FROM assignment_v3.revoke_access(:'server_name')), 0::bigint, '... which he can');
SELECT * FROM finish();

ALTER DATABASE :"database" OWNER TO :"superuser";
RESET search_path;
\i test/sql/include/supabase_roles_drop.sql
DROP OWNED BY :"server", :"watcher", grants_parent, grants_other CASCADE;
DROP ROLE :"server", :"watcher", grants_parent, grants_other;
