-- purge() is the one way to shorten the trail.  It must delete what is older than the interval and nothing else, keep
-- each booking's newest step and every message that is not done, and leave a horizon by which verify() knows that the
-- rest was cut off and not lost.  It could fail by leaving the door to history open, by purging the app's own events
-- and messages, or by a verify() that takes the missing beginning of a chain for damage.
\set database purge_keeps
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
SELECT test.book(n, 2, 18 + 24 * n, 20 + 24 * n) FROM generate_series(1, 6) AS n;
SELECT test.confirm(n, 1) FROM generate_series(1, 3) AS n;
SELECT assignment_v3.reopen(test.id('b', 2));
SELECT test.confirm(2, 1);
SELECT assignment_v3.transition(test.id('b', 4), 'failed');
INSERT INTO booking_assignment_attempts (booking_id, attempt_no, result) VALUES
	(test.id('b', 1), 1, 'failure'), (test.id('b', 1), 2, 'success'), (test.id('b', 2), 1, 'success');
INSERT INTO observability_events (source, event_type, booking_id) VALUES
	('auto_assign', 'auto_assign.summary', test.id('b', 1)), ('assignment.coordinator', 'coordinator.start', test.id('b', 1));
INSERT INTO capacity_outbox (status, event_type, booking_id) VALUES ('done', 'invoice.sent', test.id('b', 1));

-- Everything was a hundred days ago, but for booking 3 and the second confirmation of booking 2.  Messages of 1 and of
-- the first confirmation of 2 are done, that of 4 is not.
SET session_replication_role TO replica;
UPDATE bookings SET created_at = now() - interval '101 days';
UPDATE booking_assignment_state_history SET created_at = now() - interval '100 days'
WHERE booking_id <> test.id('b', 3) AND NOT (booking_id = test.id('b', 2) AND version > 4);
UPDATE booking_assignment_attempts SET created_at = now() - interval '100 days' WHERE (booking_id, attempt_no) <> (test.id('b', 1), 2);
UPDATE observability_events SET created_at = now() - interval '100 days'
WHERE booking_id <> test.id('b', 3) AND NOT (booking_id = test.id('b', 2) AND (context ->> 'version')::int > 4);
UPDATE capacity_outbox SET created_at = now() - interval '100 days',
	status = CASE booking_id WHEN test.id('b', 4) THEN 'pending' ELSE 'done' END
WHERE booking_id <> test.id('b', 3) AND NOT (booking_id = test.id('b', 2) AND dedupe_key LIKE '%:6');
RESET session_replication_role;
SELECT * FROM test.unsound();

-- arguments
SELECT * FROM test.refusal($$SELECT assignment_v3.purge(NULL)$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.purge('-1 second')$$);
BEGIN READ ONLY;
SELECT assignment_v3.purge('90 days');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT count(*) AS purges FROM assignment_v3.purges;

-- nothing is that old
SELECT * FROM assignment_v3.purge('200 days');

-- 90 days: what is left, and why
SELECT * FROM assignment_v3.purge('90 days');
SELECT n, version, from_state, to_state FROM generate_series(1, 6) AS n, test.trail(n) ORDER BY n, version;
SELECT right(booking_id::text, 1) AS n, attempt_no FROM booking_assignment_attempts ORDER BY 1, 2;
SELECT right(booking_id::text, 1) AS n, source, context ->> 'to' AS to_state FROM observability_events ORDER BY 1, 2, created_at, context -> 'version';
SELECT right(booking_id::text, 1) AS n, status, event_type, right(dedupe_key, 2) AS key FROM capacity_outbox ORDER BY 1, 3, 4;
SELECT horizon < now() - interval '90 days' + interval '1 minute' AND horizon > now() - interval '90 days' - interval '1 minute' AS horizon,
	purged_at > now() - interval '1 minute' AS purged_at, purged_by = CURRENT_USER AS by_me, history_rows, attempt_rows, event_rows, outbox_rows
FROM assignment_v3.purges ORDER BY id;
SELECT * FROM assignment_v3.verify();
-- a second time there is nothing left to do
SELECT * FROM assignment_v3.purge('90 days');

-- the bookings go on from here
SELECT assignment_v3.reopen(test.id('b', 1));
SELECT assignment_v3.requeue(test.id('b', 4));
UPDATE bookings SET party_size = 1 WHERE id = test.id('b', 2);
SELECT * FROM test.bookings(1, 2, 4);
SELECT * FROM assignment_v3.verify();
-- a hole in what is younger than the horizon is none of the purge's
SET session_replication_role TO replica;
DELETE FROM booking_assignment_state_history WHERE booking_id = test.id('b', 2) AND version = 6;
DELETE FROM capacity_outbox WHERE booking_id = test.id('b', 3);
RESET session_replication_role;
SELECT rule, right(booking_id::text, 1) AS n FROM assignment_v3.verify() ORDER BY 1, 2;
DELETE FROM bookings WHERE id IN (test.id('b', 2), test.id('b', 3));

-- the door closes behind it, also when it is stopped half-way
SELECT * FROM test.refusal($$DELETE FROM booking_assignment_state_history$$);
CREATE FUNCTION test.keep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'events are kept'; END$$;
CREATE TRIGGER keep BEFORE DELETE ON observability_events FOR EACH ROW EXECUTE FUNCTION test.keep();
SELECT * FROM test.refusal($$SELECT assignment_v3.purge('0')$$);
SELECT * FROM test.refusal($$DELETE FROM booking_assignment_state_history$$);
DROP TRIGGER keep ON observability_events;
SELECT count(*) AS purges FROM assignment_v3.purges;

-- A message is as old as the step that it tells of, however long their transaction takes: a horizon between the two
-- must not part them.
SELECT test.book(7, 2, 500, 502);
BEGIN;
SELECT pg_sleep(0.2);
SELECT test.confirm(7, 1);
COMMIT;
UPDATE capacity_outbox SET status = 'done' WHERE booking_id = test.id('b', 7);
SELECT count(*) AS purged FROM assignment_v3.purge(clock_timestamp() - (
	SELECT min(created_at) - interval '0.1 seconds' FROM booking_assignment_state_history WHERE booking_id = test.id('b', 7)));
SELECT count(*) AS steps FROM test.trail(7);
SELECT * FROM assignment_v3.verify();

-- 0 is everything but the newest steps
SELECT history_rows > 0 AS purged FROM assignment_v3.purge('0');
SELECT count(*) = count(DISTINCT booking_id) AS one_each FROM booking_assignment_state_history;
SELECT * FROM assignment_v3.verify();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
