-- A database's owner who is no superuser must be able to do all of it: install, attach, flip the flags, seat bookings, pass
-- rights on, detach and drop.  Nobody else can do any of it before the owner says so, and yet any role that may write
-- bookings can, the triggers at work and no rights of its own on the trail.  It could fail by functions that belong to
-- the superuser who runs the script, by a grant to PUBLIC, or by a trigger that works with its caller's rights.
\set database plain_owner
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
DO $$
DECLARE
	role text;
BEGIN
	FOR role IN SELECT rolname FROM pg_roles WHERE rolname IN ('regress_shop', 'regress_guest') LOOP
		EXECUTE format('DROP OWNED BY %I', role);
		EXECUTE format('DROP ROLE %I', role);
	END LOOP;
END
$$;
\set ECHO all
CREATE ROLE regress_shop;
CREATE ROLE regress_guest;
ALTER DATABASE plain_owner OWNER TO regress_shop;

SET SESSION AUTHORIZATION regress_shop;
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
SELECT action, count(*) FROM assignment_v3.attach() GROUP BY 1 ORDER BY 1;
SELECT * FROM assignment_v3.attach();
SELECT pg_get_userbyid(c.relowner) AS owner, count(*) FROM pg_class AS c
WHERE c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace) AND c.relkind = 'r' GROUP BY 1;

-- the flags, for the session and for the database
SET assignment_v3.enabled TO on;
SET assignment_v3.max_attempts TO 3;
ALTER DATABASE plain_owner SET assignment_v3.enabled TO on;
ALTER DATABASE plain_owner SET assignment_v3.max_parallel TO 5;
SELECT left(r, 5) AS sqlstate FROM test.refusal('SET assignment_v3.max_parallel TO 0') AS r;
\c
SET client_min_messages TO warning;
SET TimeZone TO 'UTC';
SET DateStyle TO 'ISO, YMD';
SET SESSION AUTHORIZATION regress_shop;
SELECT item, value, source FROM assignment_v3.status() WHERE item IN ('mode', 'assignment_v3.enabled', 'assignment_v3.max_parallel', 'attached');

-- everything the extension does
INSERT INTO restaurants (id, name) VALUES ('a0000000-0000-0000-0000-000000000001', 'One');
INSERT INTO table_inventory (id, restaurant_id, table_number, capacity)
SELECT ('d0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', n, 4 FROM generate_series(1, 3) AS n;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT ('b0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', 4, '2099-06-01 18:00+00', '2099-06-01 20:00+00'
FROM generate_series(1, 5) AS n;
SELECT table_numbers FROM assignment_v3.plan('b0000000-0000-0000-0000-000000000001', 1);
SELECT table_number, verdict FROM assignment_v3.explain('b0000000-0000-0000-0000-000000000001');
SELECT outcome FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000001');
SELECT outcome FROM assignment_v3.process_due(1);
CALL assignment_v3.run(1);
SELECT * FROM assignment_v3.transition('b0000000-0000-0000-0000-000000000005', 'failed');
SELECT * FROM assignment_v3.requeue('b0000000-0000-0000-0000-000000000005');
SELECT * FROM assignment_v3.reopen('b0000000-0000-0000-0000-000000000001');
SELECT * FROM assignment_v3.assign('b0000000-0000-0000-0000-000000000005', '{d0000000-0000-0000-0000-000000000001}');
SELECT colliding_booking_id FROM assignment_v3.block('{d0000000-0000-0000-0000-000000000001}', '2099-06-01', '2099-06-02');
SELECT bool_and(assignment_v3.unblock(id)) AS unblocked FROM assignment_v3.blocks;
UPDATE bookings SET party_size = 3 WHERE id = 'b0000000-0000-0000-0000-000000000005';
SELECT assignment_v3.kill('drill');
SELECT * FROM assignment_v3.mode();
SELECT assignment_v3.revive('drill');
SELECT assignment_v3.enqueue_existing('2000-01-01');
SELECT history_rows FROM assignment_v3.purge('1 day');
SELECT * FROM assignment_v3.verify();
SELECT left(r, 5) AS sqlstate FROM test.refusal('DELETE FROM booking_assignment_state_history') AS r LIMIT 1;

-- Another role: no flag, no schema, no function, no type, not even when the schema is opened.
SET SESSION AUTHORIZATION regress_guest;
SELECT left(r, 5) AS sqlstate FROM test.refusal('SET assignment_v3.enabled TO off') AS r LIMIT 1;
SELECT left(r, 5) AS sqlstate FROM test.refusal('SET assignment_v3.event_level TO outcomes') AS r LIMIT 1;
SELECT left(r, 5) AS sqlstate FROM test.refusal($$SELECT assignment_v3.kill('mine')$$) AS r LIMIT 1;
SET SESSION AUTHORIZATION regress_shop;
GRANT USAGE ON SCHEMA assignment_v3 TO regress_guest;
SET SESSION AUTHORIZATION regress_guest;
SELECT p.oid::regprocedure AS callable FROM pg_proc AS p
WHERE p.pronamespace = 'assignment_v3'::regnamespace AND has_function_privilege(p.oid, 'EXECUTE');
SELECT t.oid::regtype AS usable FROM pg_type AS t
WHERE t.typnamespace = 'assignment_v3'::regnamespace AND t.typtype = 'c' AND t.typname IN ('decision', 'step') AND has_type_privilege(t.oid, 'USAGE');
SELECT left(r, 5) AS sqlstate, count(*) FROM unnest(ARRAY['process_booking(NULL)', 'process_due()', $$transition(NULL, 'failed')$$,
	'requeue(NULL)', 'reopen(NULL)', 'assign(NULL, NULL)', 'block(NULL, NULL, NULL)', 'unblock(NULL)', 'purge(NULL)', 'plan(NULL)',
	'explain(NULL)', 'mode()', 'status()', 'verify()', $$kill('mine')$$, $$revive('mine')$$, 'enqueue_existing(NULL)', 'attach()', 'detach()',
	'transitions()', 'state_diagram()']) AS c, LATERAL test.refusal('SELECT assignment_v3.' || c) AS r GROUP BY 1;
CALL assignment_v3.run();
\echo :LAST_ERROR_SQLSTATE

-- It may write bookings and nothing else: the triggers do their part with the owner's rights.
SET SESSION AUTHORIZATION regress_shop;
GRANT SELECT, INSERT, UPDATE, DELETE ON bookings TO regress_guest;
CREATE POLICY everything ON bookings TO regress_guest USING (true);
REVOKE USAGE ON SCHEMA assignment_v3 FROM regress_guest;
SET SESSION AUTHORIZATION regress_guest;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
VALUES ('b0000000-0000-0000-0000-000000000006', 'a0000000-0000-0000-0000-000000000001', 2, '2099-06-01 18:00+00', '2099-06-01 20:00+00');
UPDATE bookings SET party_size = 4, assignment_state = 'capacity_verified' WHERE id = 'b0000000-0000-0000-0000-000000000006';
UPDATE bookings SET status = 'cancelled' WHERE id = 'b0000000-0000-0000-0000-000000000005';
SELECT left(r, 5) AS sqlstate FROM test.refusal($$UPDATE bookings SET assignment_state = 'confirmed' WHERE id = 'b0000000-0000-0000-0000-000000000006'$$) AS r LIMIT 1;
SELECT left(r, 5) AS sqlstate FROM test.refusal('SELECT FROM booking_assignment_state_history') AS r LIMIT 1;
SELECT current_user AS still;
SET SESSION AUTHORIZATION regress_shop;
SELECT from_state, to_state, version FROM booking_assignment_state_history WHERE booking_id = 'b0000000-0000-0000-0000-000000000006';
SELECT right(booking_id::text, 1) AS queued FROM assignment_v3.queue WHERE booking_id >= 'b0000000-0000-0000-0000-000000000005' ORDER BY 1;
SET SESSION AUTHORIZATION regress_guest;
DELETE FROM bookings WHERE id = 'b0000000-0000-0000-0000-000000000006';

-- The owner passes on one function.
SET SESSION AUTHORIZATION regress_shop;
GRANT USAGE ON SCHEMA assignment_v3 TO regress_guest;
GRANT EXECUTE ON FUNCTION assignment_v3.process_booking(uuid, text) TO regress_guest;
SET SESSION AUTHORIZATION regress_guest;
SELECT outcome, reason FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000001');
SELECT left(r, 5) AS sqlstate FROM test.refusal($$SELECT assignment_v3.transition('b0000000-0000-0000-0000-000000000001', 'failed')$$) AS r LIMIT 1;
-- who may call attach() must still own what there is
SET SESSION AUTHORIZATION regress_shop;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA assignment_v3 TO regress_guest;
SET SESSION AUTHORIZATION regress_guest;
SELECT left(r, 5) AS sqlstate FROM test.refusal('SELECT assignment_v3.attach()') AS r LIMIT 1;
SELECT left(r, 5) AS sqlstate FROM test.refusal('SELECT assignment_v3.detach()') AS r LIMIT 1;

-- and it ends as it began
SET SESSION AUTHORIZATION regress_shop;
SELECT * FROM assignment_v3.verify();
SELECT count(*) AS steps FROM assignment_v3.detach();
DROP EXTENSION assignment_v3;
SELECT count(*) AS bookings FROM bookings;

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
DROP OWNED BY regress_shop, regress_guest;
DROP ROLE regress_shop, regress_guest;
