-- Events may lie in a table that is partitioned by month, made before attach(): every row goes where its time belongs, also
-- the rows that are written without the executor; the reports read them; a month is dropped without a word of the
-- pipeline; and a row for which there is no partition stops the decision, not the server.  The history may be partitioned
-- by time and by nothing else: attach() says so.
\set database monthly_partitions
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\set ECHO all
CREATE TABLE observability_events (
	id uuid NOT NULL DEFAULT gen_random_uuid(),
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	source text NOT NULL,
	event_type text NOT NULL,
	severity text NOT NULL DEFAULT 'info',
	context jsonb NOT NULL DEFAULT '{}',
	restaurant_id uuid,
	booking_id uuid,
	PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
\set ECHO none
SELECT format('CREATE TABLE events_%s PARTITION OF observability_events FOR VALUES FROM (%L) TO (%L)', n,
	date_trunc('month', now(), 'UTC') + n * interval '1 month', date_trunc('month', now(), 'UTC') + (n + 1) * interval '1 month')
FROM (VALUES (0), (1)) AS m (n) \gexec
\set ECHO all
CREATE TABLE events_before PARTITION OF observability_events FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');

\set ECHO none
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
SET assignment_v3.enabled TO on;
SELECT test.book(n, 2, 12 + 2 * n, 14 + 2 * n) FROM generate_series(1, 3) AS n;
CALL assignment_v3.run();
SELECT count(*) > 0 AS written, bool_and(tableoid IN ('events_0'::regclass, 'events_1'::regclass)) AS where_they_belong FROM observability_events;
SELECT status FROM assignment_v3.health;
SELECT * FROM assignment_v3.verify();
SELECT action, object FROM assignment_v3.attach() WHERE action <> 'kept';

-- a month goes
INSERT INTO observability_events (created_at, source, event_type) VALUES ('2020-01-15', 'assignment.coordinator', 'coordinator.start');
SELECT count(*) FROM events_before;
DROP TABLE events_before;
SELECT test.book(4, 2, 20, 22);
SELECT outcome, reason FROM assignment_v3.process_booking(test.id('b', 4));
SELECT * FROM assignment_v3.verify();

-- the month that nobody has made: no decision is half written
DROP TABLE events_0, events_1;
SELECT test.book(5, 2, 22, 23);
\set VERBOSITY sqlstate
SELECT outcome FROM assignment_v3.process_booking(test.id('b', 5));
\set VERBOSITY terse
SELECT n, state, status, tables, queued FROM test.bookings(5);
CREATE TABLE events_rest PARTITION OF observability_events DEFAULT;
SELECT outcome FROM assignment_v3.process_booking(test.id('b', 5));

-- the history, made by somebody else: by time it is adopted and gets the key that it can have, by anything else it is not
SELECT count(*) > 0 AS detached FROM assignment_v3.detach();
CREATE SCHEMA other;
CREATE TYPE other.booking_assignment_state AS ENUM ('created', 'capacity_verified', 'assignment_pending', 'assignment_in_progress',
	'assigned', 'confirmed', 'failed', 'manual_review');
CREATE TABLE other.booking_assignment_state_history (LIKE public.booking_assignment_state_history INCLUDING DEFAULTS) PARTITION BY HASH (booking_id);
ALTER TABLE other.booking_assignment_state_history DROP COLUMN id;
SELECT * FROM test.refusal($$SELECT assignment_v3.attach('other')$$);
DROP TABLE other.booking_assignment_state_history;
CREATE TABLE other.booking_assignment_state_history (LIKE public.booking_assignment_state_history INCLUDING DEFAULTS) PARTITION BY RANGE (created_at);
ALTER TABLE other.booking_assignment_state_history DROP COLUMN id;
CREATE TABLE other.history_rest PARTITION OF other.booking_assignment_state_history DEFAULT;
SELECT action, object, beforehand FROM assignment_v3.attach('other') WHERE object ~ 'history' AND action <> 'commented';
SELECT pg_get_constraintdef(oid) AS key FROM pg_constraint WHERE conrelid = 'other.booking_assignment_state_history'::regclass AND contype = 'u';
SELECT * FROM assignment_v3.attach('other');

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
