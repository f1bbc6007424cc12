-- When the pipeline is switched off, the legacy path has to take over exactly the bookings that the pipeline has
-- touched and not ended.  One left out would wait for ever: it was not decided, and nobody else was asked.  One too many
-- would be seated twice or mailed twice: it is confirmed, given up, cancelled or over, or was never the pipeline's.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database unfinished
\i :setup
CALL test.open(1, 2, 2);
CALL test.open(2, 4);
CREATE FUNCTION test.left_over(restaurant int DEFAULT NULL, OUT booking int, OUT restaurant_no int, OUT mode text, OUT state text, OUT version int,
	OUT reason text, OUT attempts int, OUT queued boolean, OUT tables text) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT test.no(u.booking_id), test.no(u.restaurant_id), u.mode, u.state, u.version, u.reason, u.attempts, u.due_at IS NOT NULL,
		test.tables(u.table_ids)
	FROM assignment_v3.unfinished(test.id('a', restaurant)) AS u ORDER BY 1
$$;

-- before the pipeline is on, bookings are none of its business
CALL test.book(1);
SELECT * FROM test.left_over();
SET assignment_v3.enabled = on;

-- seated, given up, cancelled, failed, over: ended
CALL test.book(2, hour => 10);
SELECT outcome FROM test.decide(2);
CALL test.book(3, hour => 12);
SELECT to_state FROM assignment_v3.transition(test.id('b', 3), 'failed');
CALL test.book(4, hour => 14, party => 9);
SELECT outcome, reason FROM test.decide(4);
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 4);
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
VALUES (test.id('b', 5), test.id('a', 1), 2, now() - interval '3 hours', now() - interval '1 hour');
INSERT INTO assignment_v3.queue (booking_id, restaurant_id, due_at) VALUES (test.id('b', 5), test.id('a', 1), now());
-- confirmed by somebody else while it waits
CALL test.book(6, hour => 15);
CALL test.seat(6, 101, 15);
UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 6);
SELECT * FROM test.left_over();

-- tried in vain, in the queue and not decided yet, moved by hand, half way, and reopened
CALL test.book(11, party => 9);
SELECT outcome, reason FROM test.decide(11);
CALL test.book(12, restaurant => 2);
CALL test.book(13, hour => 20);
SELECT to_state FROM assignment_v3.transition(test.id('b', 13), 'capacity_verified', reason => 'looked at');
CALL test.book(14, hour => 22);
SELECT outcome FROM test.decide(14);
SELECT to_state FROM assignment_v3.reopen(test.id('b', 14), 'guest called');
SELECT * FROM test.left_over();
SELECT booking FROM test.left_over(2);
-- an error leaves the state alone
CREATE FUNCTION test.burn() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'burnt'; END$$;
CREATE TRIGGER burn BEFORE INSERT ON booking_table_assignments FOR EACH ROW EXECUTE FUNCTION test.burn();
CALL test.book(15, hour => 8);
SELECT outcome, reason, state FROM test.decide(15);
SELECT booking, state, reason, attempts FROM test.left_over() WHERE booking = 15;

-- the kill tells how many, and so do the others for what they concern
SELECT assignment_v3.kill('burnt') AS unfinished;
SELECT assignment_v3.set_rollout(test.id('a', 2), 'disabled') AS unfinished;
SELECT assignment_v3.set_rollout(NULL, 'active', percent => 0) AS unfinished;
SELECT mode, count(*) FROM test.left_over() GROUP BY 1;
-- the app goes on: what changes now leaves the queue, and is still listed
UPDATE bookings SET party_size = 8 WHERE id = test.id('b', 11);
UPDATE bookings SET party_size = 1 WHERE id = test.id('b', 15);
SELECT count(*) AS queued FROM assignment_v3.queue WHERE booking_id IN (test.id('b', 11), test.id('b', 15));
SELECT booking, state, reason, queued FROM test.left_over() WHERE booking IN (11, 15);
-- legacy takes over: seats one, gives one up, and they are gone
DROP TRIGGER burn ON booking_table_assignments;
CALL test.seat(13, 101, 20);
UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 13);
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 14);
SELECT booking FROM test.left_over();
-- since when: the step into its state, or the first attempt, or its place in the queue; never later than now
SELECT bool_and(u.since <= clock_timestamp()) AS past,
	bool_or(u.since = (SELECT max(h.created_at) FROM booking_assignment_state_history AS h WHERE h.booking_id = u.booking_id AND h.from_state <> h.to_state)) AS by_step
FROM assignment_v3.unfinished() AS u;

-- in a table full of the past and of bookings of others, an index leads to them
INSERT INTO bookings (restaurant_id, party_size, start_at, end_at, status)
SELECT test.id('a', 1 + n % 2), 2, now() - n * interval '1 hour', now() - n * interval '1 hour' + interval '50 minutes', 'completed'
FROM generate_series(2, 20000) AS n;
ANALYZE bookings;
CREATE FUNCTION test.read_in_whole() RETURNS bigint LANGUAGE sql AS
	$$SELECT seq_scan FROM pg_stat_xact_user_tables WHERE schemaname = 'public' AND relname = 'bookings'$$;
BEGIN;
SELECT test.read_in_whole() AS before \gset
SELECT count(*) FROM assignment_v3.unfinished();
SELECT test.read_in_whole() - :before AS read_in_whole;
COMMIT;

\c :origin
DROP DATABASE unfinished;
