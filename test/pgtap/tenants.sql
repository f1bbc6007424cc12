-- A tenant of the app, be it a visitor or the staff of one restaurant, must reach nothing of another's, though what his writes
-- fire runs with the owner's rights.  He can call no function of the pipeline, also once the service role and a wrapper for it have
-- been made; read or write none of its tables; flip no flag.  Staff who work on their own bookings under their policies need none of
-- it: the triggers do the rest, for that booking alone.  Every function, relation and trigger is taken from the catalogue, so that
-- a new one can't be forgotten, and for each trigger there is somebody who tries to turn it against another restaurant.  It could
-- fail by a grant that goes too far, by default privileges, by a key in a row that a trigger trusts, or by a temporary table.
\set srcdir test
SET client_min_messages TO warning;
SELECT plan(49);
SELECT current_user AS superuser, current_database() AS database \gset
CREATE SCHEMA test;
GRANT USAGE, CREATE ON SCHEMA test TO PUBLIC;
\i test/sql/include/supabase_roles.sql
CREATE ROLE tenants_worker NOLOGIN;
SET ROLE app_owner;
CREATE EXTENSION btree_gist WITH SCHEMA extensions;
CREATE EXTENSION assignment_v3;
SELECT count(*) > 0 AS attached FROM assignment_v3.attach() \gset
CREATE SCHEMA api;
GRANT USAGE ON SCHEMA api TO anon, authenticated;
SELECT count(*) > 0 AS granted FROM assignment_v3.grant_access('service_role') \gset
SELECT count(*) > 0 AS granted FROM assignment_v3.grant_access('tenants_worker') \gset
SELECT count(*) > 0 AS exposed FROM assignment_v3.expose('api', 'service_role') \gset
-- the schema's door is not what keeps anybody out
GRANT USAGE ON SCHEMA assignment_v3 TO anon, authenticated, authenticator;

-- ---------------------------------------------------------------------
-- The app: two restaurants, a person each, policies as an app has them
-- ---------------------------------------------------------------------
CREATE TABLE staff (user_id uuid, restaurant_id uuid REFERENCES restaurants, PRIMARY KEY (user_id, restaurant_id));
ALTER TABLE staff ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON staff FOR SELECT TO authenticated USING (user_id = auth.uid());
CREATE POLICY own ON table_inventory FOR SELECT TO authenticated USING (restaurant_id IN (SELECT s.restaurant_id FROM staff AS s));
CREATE POLICY own ON bookings TO authenticated USING (restaurant_id IN (SELECT s.restaurant_id FROM staff AS s));
CREATE POLICY own ON booking_table_assignments TO authenticated USING (booking_id IN (SELECT b.id FROM bookings AS b))
	WITH CHECK (booking_id IN (SELECT b.id FROM bookings AS b) AND table_id IN (SELECT t.id FROM table_inventory AS t));
GRANT SELECT ON staff, table_inventory TO authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON bookings, booking_table_assignments TO authenticated;

CREATE FUNCTION test.id(kind text, n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
	$$SELECT (kind || '0000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid$$;
INSERT INTO restaurants (id, name) SELECT test.id('a', n), 'Restaurant ' || n FROM generate_series(1, 2) AS n;
INSERT INTO staff SELECT test.id('e', n), test.id('a', n) FROM generate_series(1, 2) AS n;
INSERT INTO table_inventory (id, restaurant_id, table_number, capacity)
SELECT test.id('d', 10 * r + n), test.id('a', r), n, 4 FROM generate_series(1, 2) AS r, generate_series(1, 4) AS n;
SET assignment_v3.enabled TO on;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT test.id('b', 10 * r + n), test.id('a', r), 2, '2099-06-01 18:00+00', '2099-06-01 20:00+00' FROM generate_series(1, 2) AS r, generate_series(1, 8) AS n;
SELECT count(assignment_v3.process_booking(test.id('b', 10 * r + n))) AS decisions FROM generate_series(1, 2) AS r, generate_series(1, 2) AS n \gset

-- What there is of restaurant 2, and who asks for it.
CREATE FUNCTION test.others() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
	SELECT md5(string_agg(x.line, '|' ORDER BY x.line)) FROM (
		SELECT b::text FROM public.bookings AS b WHERE b.restaurant_id = test.id('a', 2)
		UNION ALL SELECT a::text FROM public.booking_table_assignments AS a WHERE a.booking_id BETWEEN test.id('b', 20) AND test.id('b', 30)
			OR a.table_id BETWEEN test.id('d', 20) AND test.id('d', 30)
		UNION ALL SELECT h::text FROM public.booking_assignment_state_history AS h WHERE h.booking_id BETWEEN test.id('b', 20) AND test.id('b', 30)
		UNION ALL SELECT h::text FROM public.booking_assignment_attempts AS h WHERE h.booking_id BETWEEN test.id('b', 20) AND test.id('b', 30)
		UNION ALL SELECT e::text FROM public.observability_events AS e WHERE e.booking_id BETWEEN test.id('b', 20) AND test.id('b', 30) OR e.restaurant_id = test.id('a', 2)
		UNION ALL SELECT o::text FROM public.capacity_outbox AS o WHERE o.booking_id BETWEEN test.id('b', 20) AND test.id('b', 30) OR o.restaurant_id = test.id('a', 2)
		UNION ALL SELECT q::text FROM assignment_v3.queue AS q WHERE q.booking_id BETWEEN test.id('b', 20) AND test.id('b', 30) OR q.restaurant_id = test.id('a', 2)
	) AS x (line)
$$;
CREATE FUNCTION test.attempted(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
CREATE PROCEDURE test.work_as(person int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('request.jwt.claims', jsonb_build_object('role', 'authenticated', 'sub', test.id('e', person))::text, false),
		set_config('role', 'authenticated', false);
END
$$;
RESET ROLE;

-- ---------------------------------------------------------------------
-- Functions
-- ---------------------------------------------------------------------
CREATE TEMPORARY TABLE outsiders AS SELECT r::regrole AS role FROM unnest(ARRAY['anon', 'authenticated', 'authenticator']) AS r;
CREATE TEMPORARY TABLE calls AS
SELECT p.oid AS function, p.proname::text AS name, p.oid::regprocedure::text AS signature, format('%s %I.%I(%s)',
	CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.pronamespace::regnamespace, p.proname, (
	SELECT string_agg(CASE WHEN u.name = 'booking_id' THEN 'test.id(''b'', 21)' ELSE format('NULL::%s', u.type::regtype) END, ', ' ORDER BY u.n)
	FROM unnest(coalesce(CASE p.prokind WHEN 'p' THEN p.proallargtypes END, p.proargtypes::oid[]), p.proargnames) WITH ORDINALITY AS u (type, name, n)
	WHERE u.type IS NOT NULL)) AS call
FROM pg_proc AS p
WHERE p.pronamespace IN ('assignment_v3'::regnamespace, 'api'::regnamespace) AND p.prorettype <> 'trigger'::regtype;
GRANT SELECT ON pg_temp.calls TO PUBLIC;
SELECT test.others() AS before \gset
SELECT cmp_ok((SELECT count(*) FROM pg_temp.calls), '>', 100::bigint, 'there are functions to try');
SELECT is_empty('SELECT o.role, c.signature FROM pg_temp.calls AS c, pg_temp.outsiders AS o WHERE has_function_privilege(o.role, c.function, ''EXECUTE'')',
	'no outsider has EXECUTE on any');
SET ROLE anon;
SELECT is_empty('SELECT signature, test.attempted(call) FROM pg_temp.calls WHERE test.attempted(call) <> ''42501''', 'a visitor is refused by each');
CALL test.work_as(1);
SELECT is_empty('SELECT signature, test.attempted(call) FROM pg_temp.calls WHERE test.attempted(call) <> ''42501''', 'staff are refused by each');
RESET ROLE;
SET ROLE authenticator;
SELECT is_empty('SELECT signature, test.attempted(call) FROM pg_temp.calls WHERE test.attempted(call) <> ''42501''', 'who logs in for them as well');
RESET ROLE;
SELECT is(test.others(), :'before', 'nothing has come of it');
SELECT is_empty($$SELECT o.role, p.oid::regprocedure FROM pg_proc AS p, pg_temp.outsiders AS o
	WHERE p.pronamespace = 'assignment_v3'::regnamespace AND p.prorettype = 'trigger'::regtype AND has_function_privilege(o.role, p.oid, 'EXECUTE')$$,
	'no outsider can make a trigger of ours');

SELECT is_empty('SELECT f.name FROM assignment_v3.access_functions() AS f GROUP BY f.name HAVING count(*) > 1', 'access_functions() lists each once');
-- who may: the service role, what the app needs, and not what is the owner's
SELECT is_empty($$SELECT f.name FROM assignment_v3.access_functions() AS f WHERE NOT EXISTS (SELECT FROM pg_temp.calls AS c WHERE c.name = f.name)$$,
	'access_functions() lists no function that does not exist');
SELECT is_empty($$SELECT c.signature AS "add a row to access_functions() for" FROM pg_temp.calls AS c
	WHERE c.signature LIKE 'assignment\_v3.%' AND obj_description(c.function, 'pg_proc') NOT LIKE 'Internal%'
		AND NOT EXISTS (SELECT FROM assignment_v3.access_functions() AS f WHERE f.name = c.name)$$, '... and every one that somebody calls');
SELECT is_empty(format($$SELECT c.signature FROM pg_temp.calls AS c JOIN assignment_v3.access_functions() AS f ON f.name = c.name
	WHERE c.signature LIKE 'assignment\_v3.%%' AND f.app <> has_function_privilege(%L, c.function, 'EXECUTE')$$, r), r || ' has what the app needs, and no more')
FROM unnest(ARRAY['service_role', 'tenants_worker']) AS r;
SELECT is_empty($$SELECT c.signature FROM pg_temp.calls AS c JOIN pg_proc AS p ON p.oid = c.function JOIN pg_language AS l ON l.oid = p.prolang
	WHERE has_function_privilege('tenants_worker', c.function, 'EXECUTE') AND obj_description(c.function, 'pg_proc') LIKE 'Internal%'
		AND (p.provolatile = 'v' OR l.lanname = 'c')$$, '... the helpers among it read, with its own rights');
SELECT set_eq($$SELECT c.name FROM pg_temp.calls AS c WHERE c.signature LIKE 'api.%' AND has_function_privilege('service_role', c.function, 'EXECUTE')$$,
	'SELECT name FROM assignment_v3.expose_functions()', 'a wrapper for each function that is offered');
SELECT is_empty($$SELECT c.signature FROM pg_temp.calls AS c WHERE c.signature LIKE 'api.%' AND has_function_privilege('tenants_worker', c.function, 'EXECUTE')$$,
	'... for the role that was named');

-- ---------------------------------------------------------------------
-- Relations
-- ---------------------------------------------------------------------
CREATE TEMPORARY TABLE relations AS
SELECT c.oid::regclass AS relation, c.relkind FROM pg_class AS c
WHERE c.relnamespace = 'assignment_v3'::regnamespace AND c.relkind IN ('r', 'v', 'S', 'p', 'm')
UNION ALL
SELECT c.oid::regclass, c.relkind FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname IN ('booking_assignment_state_history',
	'booking_assignment_attempts', 'booking_assignment_shadow_results', 'observability_events', 'capacity_outbox');
GRANT SELECT ON pg_temp.relations TO PUBLIC;
SELECT cmp_ok((SELECT count(*) FROM pg_temp.relations), '>', 15::bigint, 'there are relations to try');
SELECT is_empty($$SELECT o.role, r.relation, p.right FROM pg_temp.relations AS r, pg_temp.outsiders AS o,
	unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p ("right")
	WHERE r.relkind <> 'S' AND has_table_privilege(o.role, r.relation, p.right)$$, 'no outsider has any right on any');
SELECT is_empty($$SELECT o.role, r.relation FROM pg_temp.relations AS r, pg_temp.outsiders AS o
	WHERE r.relkind <> 'S' AND has_any_column_privilege(o.role, r.relation, 'SELECT, INSERT, UPDATE, REFERENCES')$$, '... nor on a column');
SELECT is_empty($$SELECT o.role, r.relation FROM pg_temp.relations AS r, pg_temp.outsiders AS o
	WHERE r.relkind = 'S' AND has_sequence_privilege(o.role, r.relation, 'USAGE, SELECT, UPDATE')$$, '... nor on a sequence');
CREATE TEMPORARY TABLE attempts AS
SELECT r.relation, a.statement FROM pg_temp.relations AS r, LATERAL (VALUES (format('SELECT FROM %s', r.relation)), (format('INSERT INTO %s DEFAULT VALUES', r.relation)),
	(format('DELETE FROM %s', r.relation)), (format('TRUNCATE %s', r.relation)), (format('LOCK %s', r.relation)),
	(format('CREATE POLICY mine ON %s USING (true)', r.relation)), (format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', r.relation))) AS a (statement)
WHERE r.relkind = 'r';
GRANT SELECT ON pg_temp.attempts TO PUBLIC;
SET ROLE anon;
SELECT is_empty('SELECT statement, test.attempted(statement) FROM pg_temp.attempts WHERE test.attempted(statement) <> ''42501''', 'a visitor is refused by each');
CALL test.work_as(1);
SELECT is_empty('SELECT statement, test.attempted(statement) FROM pg_temp.attempts WHERE test.attempted(statement) <> ''42501''', 'staff are refused by each');
RESET ROLE;
SELECT is_empty($$SELECT w.role, r.relation, p.right FROM pg_temp.relations AS r, unnest(ARRAY['service_role', 'tenants_worker']) AS w (role),
	unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p ("right")
	WHERE r.relkind <> 'S' AND has_table_privilege(w.role, r.relation, p.right)
		AND NOT (p.right = 'SELECT' AND r.relation::text IN ('assignment_v3.binding', 'assignment_v3.kill_switch', 'assignment_v3.rollout', 'assignment_v3.blocks'))$$,
	'a service role has no right on any but to read what it is shown');
SET ROLE tenants_worker;
SELECT is((SELECT value FROM assignment_v3.status() WHERE item = 'attached'), 'yes', '... and sees it');
SELECT is((SELECT outcome FROM assignment_v3.process_booking(test.id('b', 11))), 'noop', '... and calls what it may');
SELECT is(test.attempted($$SELECT assignment_v3.kill('mine')$$), '42501', '... and nothing else');
SELECT is(test.attempted('INSERT INTO assignment_v3.kill_switch (reason) VALUES (''mine'')'), '42501', '... not by the table either');
RESET ROLE;

-- ---------------------------------------------------------------------
-- Flags
-- ---------------------------------------------------------------------
SELECT is_empty($$SELECT o.role, s.name FROM pg_settings AS s, pg_temp.outsiders AS o WHERE s.name LIKE 'assignment\_v3.%'
	AND has_parameter_privilege(o.role, s.name, 'SET, ALTER SYSTEM')$$, 'no outsider may set a flag');
SELECT is_empty($$SELECT w, s.name FROM pg_settings AS s, unnest(ARRAY['service_role', 'tenants_worker']) AS w WHERE s.name LIKE 'assignment\_v3.%'
	AND has_parameter_privilege(w, s.name, 'SET, ALTER SYSTEM')$$, '... nor a service role');

-- ---------------------------------------------------------------------
-- Staff work on their own bookings, without a right on the pipeline
-- ---------------------------------------------------------------------
CALL test.work_as(1);
SELECT is((SELECT count(*) FROM bookings), 8::bigint, 'staff see their own bookings');
SELECT is(test.attempted($$UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 11)$$), 'done', '... cancel one');
SELECT is(test.attempted($$INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at)
	SELECT b.id, test.id('d', 13), b.start_at, b.end_at FROM bookings AS b WHERE b.id = test.id('b', 13)$$), 'done', '... seat one');
SELECT is(test.attempted($$UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 13)$$), 'done', '... confirm it');
SELECT is(test.attempted($$UPDATE bookings SET party_size = 3 WHERE id = test.id('b', 14)$$), 'done', '... change one');
SELECT is(test.attempted($$UPDATE bookings SET assignment_state = 'manual_review' WHERE id = test.id('b', 14)$$), 'PT422', '... but not past the state machine');
SELECT is(test.attempted($$INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
	VALUES (test.id('b', 19), test.id('a', 1), 2, '2099-06-02 18:00+00', '2099-06-02 20:00+00')$$), 'done', '... add one');
SELECT is(test.attempted($$DELETE FROM bookings WHERE id = test.id('b', 15)$$), 'done', '... delete one');
RESET ROLE;
SELECT results_eq($$SELECT right(h.booking_id::text, 2), h.from_state::text, h.to_state::text, h.reason, h.metadata -> 'external', h.actor_id
	FROM booking_assignment_state_history AS h WHERE h.actor_id = test.id('e', 1) ORDER BY 1, h.version$$, $$VALUES
	('11', 'confirmed', 'confirmed', 'facts_changed', 'true'::jsonb, test.id('e', 1)),
	('13', 'created', 'confirmed', 'confirmed_elsewhere', 'true', test.id('e', 1)),
	('14', 'created', 'created', 'facts_changed', 'true', test.id('e', 1))$$, 'all of it has its history, in their name');
SELECT is((SELECT count(*) FROM booking_table_assignments WHERE booking_id = test.id('b', 11)), 0::bigint, 'what was cancelled has no table');
SELECT is((SELECT count(*) FROM assignment_v3.queue WHERE booking_id = test.id('b', 19)), 1::bigint, 'what was added is queued');
SELECT is((SELECT count(*) FROM capacity_outbox WHERE booking_id = test.id('b', 13)), 0::bigint, 'who confirmed it tells the guest');
SELECT is((SELECT count(*) FROM observability_events WHERE booking_id = test.id('b', 13)), 1::bigint, '... and the event is there');

-- ---------------------------------------------------------------------
-- One restaurant against the other, by each trigger
-- ---------------------------------------------------------------------
-- as some apps have it: the trail is readable, and open for additions
SET ROLE app_owner;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON booking_assignment_state_history TO authenticated;
CREATE POLICY own ON booking_assignment_state_history TO authenticated USING (booking_id IN (SELECT b.id FROM bookings AS b));
RESET ROLE;
CREATE TEMPORARY TABLE attacks AS SELECT * FROM (VALUES
	('zzz_assignment_v3_insert', '42501', $$INSERT INTO bookings (restaurant_id, party_size, start_at, end_at) VALUES (test.id('a', 2), 2, '2099-06-01 18:00+00', '2099-06-01 20:00+00')$$),
	('zzz_assignment_v3_insert', '23505', $$INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at) VALUES (test.id('b', 21), test.id('a', 1), 2, '2099-06-01 18:00+00', '2099-06-01 20:00+00')$$),
	('zzz_assignment_v3_insert', 'PT422', $$INSERT INTO bookings (restaurant_id, party_size, start_at, end_at, assignment_state) VALUES (test.id('a', 1), 2, '2099-06-01 18:00+00', '2099-06-01 20:00+00', 'confirmed')$$),
	('zzz_assignment_v3_enqueue', 'done', $$INSERT INTO bookings (restaurant_id, party_size, start_at, end_at) VALUES (test.id('a', 1), 2, '2099-06-01 18:00+00', '2099-06-01 20:00+00') ON CONFLICT (id) DO UPDATE SET restaurant_id = test.id('a', 2)$$),
	('zzz_assignment_v3_enqueue', '42501', $$INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at) VALUES (test.id('b', 21), test.id('a', 1), 2, '2099-06-01 18:00+00', '2099-06-01 20:00+00') ON CONFLICT (id) DO UPDATE SET party_size = 9$$),
	('zzz_assignment_v3_validate', 'done', $$UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 21)$$),
	('zzz_assignment_v3_validate', 'done', $$DELETE FROM bookings WHERE id = test.id('b', 21)$$),
	('zzz_assignment_v3_validate', '42501', $$UPDATE bookings SET restaurant_id = test.id('a', 2) WHERE id = test.id('b', 12)$$),
	('zzz_assignment_v3_validate', '42501', $$UPDATE bookings SET restaurant_id = test.id('a', 2), status = 'cancelled' WHERE id = test.id('b', 16)$$),
	('zzz_assignment_v3_validate', '23505', $$UPDATE bookings SET id = test.id('b', 21) WHERE id = test.id('b', 16)$$),
	('zzz_assignment_v3_validate', '23503', $$UPDATE bookings SET id = test.id('b', 29) WHERE id = test.id('b', 12)$$),
	('zzz_assignment_v3_validate', '42501', $$INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at) VALUES (test.id('b', 16), test.id('d', 24), '2099-06-01 18:00+00', '2099-06-01 20:00+00')$$),
	('zzz_assignment_v3_validate', 'PT422', $$UPDATE bookings SET assignment_state = 'confirmed' WHERE id = test.id('b', 16)$$),
	('zzz_assignment_v3_record', 'done', $$UPDATE bookings SET status = 'cancelled'$$),
	('zzz_assignment_v3_record', 'done', $$UPDATE bookings SET party_size = party_size + 1, assignment_state_version = assignment_state_version + 1$$),
	('zzz_assignment_v3_record', 'done', $$DELETE FROM booking_table_assignments$$),
	('zzz_assignment_v3_record', '42501', $$INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at) VALUES (test.id('b', 26), test.id('d', 13), '2099-06-01 18:00+00', '2099-06-01 20:00+00')$$),
	('zzz_assignment_v3_record', '42501', $$UPDATE booking_table_assignments SET booking_id = test.id('b', 26)$$),
	('zzz_assignment_v3_record', 'done', 'DELETE FROM bookings'),
	('zzz_assignment_v3_append_only', 'PT422', $$UPDATE booking_assignment_state_history SET booking_id = test.id('b', 21)$$),
	('zzz_assignment_v3_append_only', 'PT422', $$DELETE FROM booking_assignment_state_history$$),
	('zzz_assignment_v3_append_only', 'done', $$DELETE FROM booking_assignment_state_history WHERE booking_id = test.id('b', 21)$$),
	('zzz_assignment_v3_no_truncate', 'PT422', 'TRUNCATE booking_assignment_state_history'),
	('zzz_assignment_v3_events', '42501', $$INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state, version) VALUES (test.id('b', 21), 'confirmed', 'failed', 99)$$),
	('zzz_assignment_v3_events', 'done', $$INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state, version, metadata)
		VALUES (test.id('b', 12), 'confirmed', 'failed', 99, jsonb_build_object('booking_id', test.id('b', 21), 'restaurant_id', test.id('a', 2)))$$),
	('zzz_assignment_v3_rebind', '42501', $$UPDATE assignment_v3.binding SET app_schema = 'pg_temp'$$),
	('zzz_assignment_v3_rebind', '42501', $$DELETE FROM assignment_v3.binding$$),
	('zzz_assignment_v3_audit', '42501', $$INSERT INTO assignment_v3.rollout (restaurant_id, mode) VALUES (test.id('a', 2), 'disabled')$$),
	('zzz_assignment_v3_audit', '42501', $$INSERT INTO assignment_v3.kill_switch (reason) VALUES ('mine')$$),
	('zzz_assignment_v3_audit_truncate', '42501', 'TRUNCATE assignment_v3.rollout')) AS a (trigger, answer, statement);
GRANT SELECT ON pg_temp.attacks TO PUBLIC;
SELECT set_eq('SELECT DISTINCT a.trigger FROM pg_temp.attacks AS a',
	$$SELECT t.tgname::text FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid WHERE p.pronamespace = 'assignment_v3'::regnamespace$$,
	'there is an attack on each trigger');
SELECT test.others() AS before \gset
-- Each is tried, looked at, and taken back by its error or by ours.
CREATE FUNCTION test.attack(statement text, OUT answer text, OUT harm boolean) LANGUAGE plpgsql AS $$
DECLARE
	before text := test.others();
BEGIN
	BEGIN
		EXECUTE statement;
		answer := 'done';
		harm := test.others() <> before;
		RAISE EXCEPTION USING ERRCODE = 'ZZZZZ';
	EXCEPTION WHEN OTHERS THEN
		IF SQLSTATE <> 'ZZZZZ' THEN
			answer := SQLSTATE;
			harm := test.others() <> before;
		END IF;
	END;
END
$$;
CALL test.work_as(1);
CREATE TEMPORARY TABLE results AS SELECT a.*, r.answer AS given, r.harm FROM pg_temp.attacks AS a, test.attack(a.statement) AS r;
SELECT is_empty('SELECT statement, given FROM pg_temp.results WHERE harm', 'no attack harms the other restaurant');
SELECT is_empty('SELECT statement, answer, given FROM pg_temp.results WHERE given <> answer', '... each gets the answer it deserves');
-- the same with what comes first in every search_path
CREATE FUNCTION pg_temp.spy() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'run as %', current_user; END$$;
DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY ARRAY['restaurants', 'table_inventory', 'observability_events', 'capacity_outbox', 'booking_assignment_state_history',
		'booking_assignment_attempts', 'queue', 'binding', 'kill_switch', 'rollout', 'circuits', 'pg_class', 'pg_trigger', 'pg_enum', 'pg_type'] LOOP
		EXECUTE format('CREATE TEMPORARY TABLE %I (id uuid, booking_id uuid, restaurant_id uuid)', name);
		EXECUTE format('CREATE TRIGGER spy BEFORE INSERT OR UPDATE OR DELETE ON pg_temp.%I FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.spy()', name);
	END LOOP;
END
$$;
SET search_path TO pg_temp, pg_catalog, public, extensions;
SELECT is_empty('SELECT a.statement, r.answer FROM pg_temp.attacks AS a, test.attack(a.statement) AS r WHERE r.harm', 'nor with temporary tables in front');
SELECT is(test.attempted($$UPDATE public.bookings SET party_size = 4 WHERE id = test.id('b', 16)$$), 'done', '... which change nothing for their own work');
RESET search_path;
RESET ROLE;
SELECT is((SELECT count(*) FROM public.booking_assignment_state_history WHERE booking_id = test.id('b', 16)), 1::bigint, '... whose history is where it belongs');
SELECT is(test.others(), :'before', 'the other restaurant is as it was');
SELECT is_empty('SELECT * FROM assignment_v3.verify()', 'all is sound');
SELECT * FROM finish();

ALTER DATABASE :"database" OWNER TO :"superuser";
-- DROP OWNED BY tenants_worker would leave what app_owner has granted, so the extension goes first
\i test/sql/include/supabase_roles_drop.sql
DROP ROLE tenants_worker;
