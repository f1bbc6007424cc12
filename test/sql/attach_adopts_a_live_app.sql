-- attach() must take a whole live app as it is, with enums, narrow and wide integers, keys and indexes under names of its own,
-- a second ledger, and a history without versions; a dry run must list every step with its lock and touch nothing.  It
-- could fail by taking an app's index for none, by a column that rows can't have, by a dry run that writes or waits, or by
-- changing what the app has.
\set database adopts_live_app
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/schema_lines.sql
\i :srcdir/sql/include/live_app.sql
CREATE EXTENSION assignment_v3;
\set ECHO all
CALL live.open(1, 2, 2, 4, 6);
CALL live.book(1);
CALL live.book(2, party => 4);
CALL live.confirm(2, 103);
INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state) VALUES (live.id('b', 2), NULL, 'seated by hand');
SELECT count(*) AS indexes FROM pg_index WHERE indrelid = 'bookings'::regclass;
CREATE TABLE test.lines AS SELECT * FROM test.schema_lines() AS line;
CREATE TABLE test.rows AS SELECT id, to_jsonb(b) AS row FROM bookings AS b;

-- the dry run: in a transaction that may not write, and that others may not hold up
BEGIN READ ONLY;
SELECT action, object, lock FROM assignment_v3.attach(dry_run => true) WHERE object !~ 'assignment_v3\.|shadow_results' AND action <> 'commented';
SELECT beforehand FROM assignment_v3.attach(dry_run => true) WHERE beforehand IS NOT NULL;
SELECT count(*) AS steps, count(*) FILTER (WHERE statement LIKE '%;') AS complete FROM assignment_v3.attach('public', true) \gset dry_
SELECT mode FROM pg_locks AS l WHERE l.pid = pg_backend_pid() AND l.relation::regclass::text LIKE 'booking%' GROUP BY mode;
COMMIT;
BEGIN;
SELECT count(*) > 0 AS listed FROM assignment_v3.attach(dry_run => true);
SELECT pg_current_xact_id_if_assigned() AS written;
COMMIT;
SELECT line FROM test.lines EXCEPT SELECT * FROM test.schema_lines();
SELECT * FROM test.schema_lines() EXCEPT SELECT line FROM test.lines;

-- what ops do beforehand is found done, under whatever name
CREATE INDEX CONCURRENTLY newest_events ON observability_events USING brin (created_at);
CREATE UNIQUE INDEX CONCURRENTLY seating_by_start ON booking_table_assignments (table_id, start_at);
CREATE INDEX CONCURRENTLY ledger_of_booking ON allocations (booking_id, created_at);
SELECT beforehand FROM assignment_v3.attach(dry_run => true) WHERE beforehand IS NOT NULL;

-- then it is the same as announced, in less steps
SELECT count(*) = :dry_steps - 3 AS as_announced, :dry_steps = :dry_complete AS complete FROM assignment_v3.attach();
SELECT * FROM assignment_v3.attach();
SELECT * FROM assignment_v3.attach(dry_run => true);
SELECT line FROM test.lines EXCEPT SELECT * FROM test.schema_lines();
-- rows that were there are as they were, and at the beginning of the pipeline's way
SELECT b.id FROM test.rows AS r JOIN bookings AS b USING (id)
WHERE to_jsonb(b) - '{assignment_state,assignment_state_version,assignment_strategy}'::text[] <> r.row;
SELECT * FROM live.bookings(1, 2);
SELECT from_state, to_state, version FROM booking_assignment_state_history;
SELECT * FROM assignment_v3.verify();
SELECT item, value, source FROM assignment_v3.status() WHERE item = 'relation allocations';
-- the check keeps out what would pass the exclusion constraint by
SELECT left(r, 5) AS sqlstate FROM test.refusal($$INSERT INTO booking_table_assignments (booking_id, table_id) VALUES (live.id('b', 1), live.id('d', 103))$$) AS r LIMIT 1;
SELECT left(r, 5) AS sqlstate FROM test.refusal($$UPDATE booking_table_assignments SET end_at = start_at$$) AS r LIMIT 1;
-- detached, the app goes on
SELECT count(*) > 0 AS detached FROM assignment_v3.detach();
CALL live.confirm(1, 101);
SELECT * FROM live.bookings(1, 2);

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
