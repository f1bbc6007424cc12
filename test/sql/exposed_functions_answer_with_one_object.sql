-- expose() must offer a REST client each of its functions: every argument by name, one object back, of a type that a
-- generator of TypeScript finds in the same schema, volatile, with the caller's rights; for the role named and nobody else,
-- whatever default privileges say; belonging to who called it and depending on nothing of the extension.  A second call does
-- nothing, one after a change mends it, things of the app's are left alone, and unexpose() takes all of it back.  It could
-- fail by a result type that stays behind a changed function, by a grant to PUBLIC, or by a name that the app uses itself.
\set database exposed
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/supabase_roles.sql
SET SESSION AUTHORIZATION app_owner;
CREATE EXTENSION btree_gist WITH SCHEMA extensions;
CREATE EXTENSION assignment_v3;
\set ECHO all
SELECT left(r, 5) AS sqlstate FROM test.refusal($$SELECT assignment_v3.expose('public', 'service_role')$$) AS r LIMIT 1;
DO $$ BEGIN PERFORM assignment_v3.attach(); END $$;
CREATE SCHEMA "The API";
SELECT DISTINCT action FROM assignment_v3.expose('"The API"', 'service_role') ORDER BY 1;
SELECT count(*) AS steps FROM assignment_v3.expose('"The API"', 'service_role');
SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ')' AS wrapper, pg_get_function_result(p.oid) AS result
FROM pg_proc AS p WHERE p.pronamespace = '"The API"'::regnamespace ORDER BY 1;
SELECT t.typname AS type, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) AS attributes
FROM pg_type AS t JOIN pg_attribute AS a ON a.attrelid = t.typrelid
WHERE t.typnamespace = '"The API"'::regnamespace GROUP BY 1 ORDER BY 1;
SELECT p.provolatile, p.prosecdef, p.proretset, p.proconfig, pg_get_userbyid(p.proowner) AS owner, count(*) AS functions
FROM pg_proc AS p WHERE p.pronamespace = '"The API"'::regnamespace GROUP BY 1, 2, 3, 4, 5;
SELECT count(*) AS bound_to_the_extension FROM pg_depend AS d
JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid AND p.pronamespace = '"The API"'::regnamespace
WHERE d.refclassid = 'pg_extension'::regclass OR d.refclassid = 'pg_proc'::regclass
	OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (SELECT t.oid FROM pg_type AS t WHERE t.typnamespace = 'assignment_v3'::regnamespace);
SELECT r.rolname, count(*) FILTER (WHERE has_function_privilege(r.oid, p.oid, 'EXECUTE')) AS callable
FROM pg_roles AS r, pg_proc AS p
WHERE r.rolname IN ('anon', 'authenticated', 'authenticator', 'service_role') AND p.pronamespace = '"The API"'::regnamespace
GROUP BY 1 ORDER BY 1;

-- What a client gets.
INSERT INTO restaurants (id, name) VALUES ('a0000000-0000-0000-0000-000000000001', 'One');
INSERT INTO table_inventory (id, restaurant_id, table_number, capacity)
SELECT ('d0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', n, 4 FROM generate_series(1, 2) AS n;
SET assignment_v3.enabled TO on;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT ('b0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', 4, '2099-06-01 18:00+00', '2099-06-01 20:00+00'
FROM generate_series(1, 3) AS n;
SET ROLE service_role;
SELECT to_json(r) AS plan FROM "The API".plan(booking_id => 'b0000000-0000-0000-0000-000000000001', max_plans => 1) AS r;
SELECT to_json(r) AS explain FROM "The API".explain(booking_id => 'b0000000-0000-0000-0000-000000000001') AS r;
SELECT outcome, reason, state, cardinality(table_ids) AS tables FROM "The API".process_booking(booking_id => 'b0000000-0000-0000-0000-000000000001', trigger => 'api');
SELECT outcome, reason FROM "The API".process_booking(booking_id => 'b0000000-0000-0000-0000-000000000009');
SELECT d.outcome, d.reason FROM "The API".process_due(max_bookings => 5) AS r, unnest(r.decisions) AS d;
SELECT to_json(r) AS process_due FROM "The API".process_due() AS r;
SELECT to_json(r) AS reopen FROM "The API".reopen(booking_id => 'b0000000-0000-0000-0000-000000000001', reason => 'guest called') AS r;
SELECT to_json(r) AS assign FROM "The API".assign(booking_id => 'b0000000-0000-0000-0000-000000000001', table_ids => '{d0000000-0000-0000-0000-000000000001}') AS r;
SELECT left(r, 5) AS sqlstate FROM test.refusal($$SELECT "The API".requeue(booking_id => 'b0000000-0000-0000-0000-000000000001')$$) AS r LIMIT 1;
SELECT left(r, 5) AS sqlstate FROM test.refusal($$SELECT "The API".plan(booking_id => 'b0000000-0000-0000-0000-000000000009')$$) AS r LIMIT 1;
SELECT to_json(r) AS mode FROM "The API".mode() AS r;
SELECT i.item, i.value FROM "The API".status() AS r, unnest(r.items) AS i WHERE i.item IN ('attached', 'mode') ORDER BY 1;
SELECT left(r, 5) AS sqlstate FROM test.refusal($$SELECT assignment_v3.transition('b0000000-0000-0000-0000-000000000001', 'failed')$$) AS r LIMIT 1;
RESET ROLE;

-- Changed by hand, or by another version: mended.
ALTER FUNCTION "The API".mode(uuid) SECURITY DEFINER;
GRANT EXECUTE ON FUNCTION "The API".mode(uuid) TO anon;
COMMENT ON FUNCTION "The API".status() IS E'Told otherwise\n\nMade by assignment_v3.expose(); assignment_v3.unexpose() drops it.';
ALTER TYPE "The API".assignment_decision DROP ATTRIBUTE shadow_outcome;
CREATE FUNCTION "The API".gone() RETURNS int LANGUAGE sql AS 'SELECT 1';
COMMENT ON FUNCTION "The API".gone() IS E'Of an older version\n\nMade by assignment_v3.expose(); assignment_v3.unexpose() drops it.';
SELECT action, object FROM assignment_v3.expose('"The API"', 'service_role');
SELECT count(*) AS steps FROM assignment_v3.expose('"The API"', 'service_role');

-- Two schemas, two roles.  Names that the app has taken are the app's.
CREATE FUNCTION public.mode(restaurant_id uuid) RETURNS text LANGUAGE sql AS $$SELECT 'mine'$$;
CREATE TYPE public.assignment_step AS (step int);
SELECT * FROM test.refusal($$SELECT assignment_v3.expose('public', 'service_role')$$);
SELECT count(*) AS left_behind FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace AND p.proname IN ('plan', 'status');
ALTER TYPE public.assignment_step RENAME TO step;
-- so is what somebody else has made to look like ours, to be called by the service role
RESET SESSION AUTHORIZATION;
CREATE FUNCTION public.status() RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION public.status() OWNER TO authenticated;
COMMENT ON FUNCTION public.status() IS E'The condition of the pipeline\n\nMade by assignment_v3.expose(); assignment_v3.unexpose() drops it.';
GRANT CREATE ON SCHEMA public TO PUBLIC;
SET SESSION AUTHORIZATION app_owner;
SELECT * FROM test.refusal($$SELECT assignment_v3.expose('public', 'service_role')$$);
SELECT count(*) AS dropped FROM assignment_v3.unexpose('public');
RESET SESSION AUTHORIZATION;
DROP FUNCTION public.status();
SET SESSION AUTHORIZATION app_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
ALTER FUNCTION public.mode(uuid) RENAME TO how;
SELECT count(*) > 0 AS exposed FROM assignment_v3.expose('public', 'service_role');
-- an attribute that another version has had
ALTER TYPE "The API".assignment_mode ADD ATTRIBUTE extra int;
ALTER TYPE "The API".assignment_step ALTER ATTRIBUTE version TYPE bigint;
SELECT * FROM test.refusal($$SELECT assignment_v3.expose('"The API"', 'service_role')$$);

-- Who may not, and where not.
SELECT * FROM test.refusal($$SELECT assignment_v3.expose('assignment_v3', 'service_role')$$);
SELECT left(r, 5) AS sqlstate FROM unnest(ARRAY['''pg_catalog''', '''information_schema''', 'NULL']) AS s,
	LATERAL test.refusal(format($$SELECT assignment_v3.expose(%s, 'service_role')$$, s)) AS r WHERE r ~ '^\w{5} ' AND r NOT LIKE 'DETAIL%';
SELECT * FROM test.refusal($$SELECT assignment_v3.expose('public', 'anon')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.expose('auth', 'service_role')$$);
SELECT count(*) FROM assignment_v3.unexpose('auth');

-- All of it goes back, and the app's own stays.  Without the extension the wrappers say so, and work again after it.
SELECT count(*) AS steps FROM assignment_v3.unexpose('"The API"');
DROP SCHEMA "The API";
DO $$ BEGIN PERFORM assignment_v3.detach(); END $$;
DROP EXTENSION assignment_v3;
SELECT r FROM test.refusal($$SELECT public.status()$$) AS r LIMIT 1;
CREATE EXTENSION assignment_v3;
DO $$ BEGIN PERFORM assignment_v3.attach(); END $$;
SELECT mode FROM public.mode();
SELECT DISTINCT action FROM assignment_v3.expose('public', 'service_role');
SELECT count(*) AS steps FROM assignment_v3.unexpose('public');
SELECT count(*) AS steps FROM assignment_v3.unexpose('public');
SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace;
SELECT t.typname FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid WHERE t.typnamespace = 'public'::regnamespace AND c.relkind = 'c';

\set ECHO none
RESET SESSION AUTHORIZATION;
\i :srcdir/sql/include/drop_scratch_database.sql
\i :srcdir/sql/include/supabase_roles_drop.sql
