-- What attach() can't adopt must be one error that names all of it at once, found before the first step, so that a team mends
-- its schema once and not twenty times; and nothing may have changed.  It could fail by stopping at the first obstacle, by
-- an error of core in the middle of the steps, or by overlooking something that fails only when the first booking is decided.
\set database attach_every_obstacle
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/schema_lines.sql
\i :srcdir/sql/include/live_app.sql
CREATE EXTENSION assignment_v3;
CALL live.open(1, 2, 2, 4, 6);
DO $$ BEGIN FOR n IN 1 .. 4 LOOP CALL live.book(n); END LOOP; END $$;
\set ECHO all

-- rows: overlaps, windows that are none, keys that are not unique, states that are none, history beyond its booking
INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at) VALUES
	(live.id('b', 1), live.id('d', 101), live.at(18), live.at(22)), (live.id('b', 2), live.id('d', 101), live.at(19), live.at(20)),
	(live.id('b', 3), live.id('d', 101), live.at(21), live.at(23)), (live.id('b', 4), live.id('d', 101), live.at(23), live.at(24)),
	(live.id('b', 1), live.id('d', 102), NULL, live.at(20)), (live.id('b', 2), live.id('d', 102), live.at(20), live.at(20));
ALTER TABLE booking_assignment_attempts DROP CONSTRAINT booking_assignment_attempts_booking_id_attempt_no_key;
INSERT INTO booking_assignment_attempts (booking_id, attempt_no, result)
SELECT live.id('b', b), a, 'failure' FROM generate_series(1, 2) AS b, generate_series(1, 2) AS a, generate_series(1, 2);
DROP INDEX capacity_outbox_dedupe_key_event_type_idx;
INSERT INTO capacity_outbox (event_type, dedupe_key) VALUES ('mail', 'x'), ('mail', 'x'), ('mail', NULL), ('mail', NULL), ('text', 'x');
ALTER TABLE bookings ADD COLUMN assignment_state text DEFAULT 'new';
UPDATE bookings SET assignment_state = 'created' WHERE id = live.id('b', 1);
ALTER TABLE booking_assignment_state_history ADD COLUMN version bigint;
INSERT INTO booking_assignment_state_history (booking_id, to_state, version)
SELECT live.id('b', b), 'failed', v FROM (VALUES (1, 1), (2, 2), (2, 3), (3, NULL)) AS h (b, v);

-- columns, types, checks
ALTER TABLE bookings DROP CONSTRAINT bookings_assigned_zone_id_fkey;
ALTER TABLE bookings ALTER COLUMN assigned_zone_id TYPE text, ADD COLUMN assignment_strategy public.booking_status;
ALTER TABLE observability_events ADD CONSTRAINT known_sources CHECK (source IN ('app', 'assignment.rollout')),
	ADD CHECK (severity <> 'notice' AND created_at > '2000-01-01'), ALTER COLUMN event_type TYPE varchar(20);
ALTER TABLE booking_assignment_attempts ADD COLUMN tenant_id uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE booking_assignment_attempts ALTER COLUMN tenant_id DROP DEFAULT;
ALTER TABLE table_inventory DROP COLUMN capacity;
ALTER TABLE booking_assignment_state_history ALTER COLUMN from_state TYPE text;
ALTER TABLE allocations ALTER COLUMN shadow DROP NOT NULL, DROP COLUMN is_maintenance;
ALTER TABLE table_holds DROP CONSTRAINT table_holds_pkey CASCADE;
ALTER TYPE outbox_status RENAME VALUE 'pending' TO 'new';

-- tables
CREATE TABLE more_bookings () INHERITS (bookings);
DROP TABLE table_hold_windows;
ALTER TABLE table_adjacencies RENAME TO pairs_of_tables;
CREATE VIEW table_adjacencies AS SELECT table_a, table_b FROM pairs_of_tables;
ALTER TABLE zones RENAME TO areas;
ALTER TABLE capacity_outbox RENAME TO old_outbox;
CREATE EXTENSION IF NOT EXISTS file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE restaurants_abroad (id uuid) SERVER files OPTIONS (filename '/dev/null');
ALTER TABLE restaurants RENAME TO restaurants_here;
ALTER FOREIGN TABLE restaurants_abroad RENAME TO restaurants;
ALTER TABLE old_outbox RENAME TO capacity_outbox;
CREATE TABLE bookings_created_by (id int);
CREATE INDEX booking_table_assignments_no_overlap ON bookings_created_by (id);
ALTER TABLE booking_table_assignments ADD CONSTRAINT booking_table_assignments_taken_check CHECK (start_at IS NULL OR source <> '');

CREATE TABLE test.lines AS SELECT * FROM test.schema_lines() AS line;
\pset format unaligned
\t on
SELECT * FROM test.refusal('SELECT assignment_v3.attach()');
\t off
\pset format aligned
SELECT r = (SELECT string_agg(d, E'\n') FROM test.refusal('SELECT assignment_v3.attach(dry_run => true)') AS d) AS the_dry_run_says_the_same
FROM (SELECT string_agg(r, E'\n') AS r FROM test.refusal('SELECT assignment_v3.attach(allow_long_lock => true)') AS r) AS x;
SELECT line FROM test.lines EXCEPT SELECT * FROM test.schema_lines();
SELECT * FROM test.schema_lines() EXCEPT SELECT line FROM test.lines;
SELECT to_regclass('assignment_v3.binding') AS binding;

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
