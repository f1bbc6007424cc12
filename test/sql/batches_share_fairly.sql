-- run() commits in batches, in which each booking still stands or falls alone; it shares its work fairly among
-- restaurants, heeds priorities, pauses and due times, and ends when its time is up.  A poisoned booking could take its
-- batch with it or block the head of the queue, and a long queue could starve everybody else's.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database batches_share_fairly
\i :setup
SET assignment_v3.enabled TO on;
\set ECHO none
CALL test.open(1, 2, 2, 4, 4);
CALL test.open(2, 2, 2, 4, 4);
CALL test.open(3, 2, 2, 4, 4);
CREATE TABLE test.written (n int, transaction xid8 DEFAULT pg_current_xact_id(), turn bigserial);
CREATE FUNCTION test.write() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO test.written (n) VALUES (test.no(NEW.id)); RETURN NULL; END$$;
CREATE TRIGGER written AFTER UPDATE OF status ON bookings FOR EACH ROW EXECUTE FUNCTION test.write();
-- What run() did: bookings in their order, a bracket for each transaction
CREATE FUNCTION test.batches() RETURNS text LANGUAGE sql AS $$
	WITH b AS (SELECT string_agg(n::text, ' ' ORDER BY turn) AS bookings, min(turn) AS first FROM test.written GROUP BY transaction)
	SELECT string_agg('[' || bookings || ']', ' ' ORDER BY first) FROM b
$$;
-- Bookings due in the order of their numbers
CREATE PROCEDURE test.wait(restaurant int, VARIADIC numbers int[]) LANGUAGE plpgsql AS $$
DECLARE
	i int;
BEGIN
	FOREACH i IN ARRAY numbers LOOP
		CALL test.book(i, restaurant, hour => (i * 3)::numeric);
		UPDATE assignment_v3.queue SET due_at = clock_timestamp() - interval '1 hour' + i * interval '1 second'
		WHERE booking_id = test.id('b', i);
	END LOOP;
END $$;
\set ECHO all

-- One transaction for a batch, the last one shorter
SET assignment_v3.batch_size TO 3;
CALL test.wait(1, 1, 2, 3, 4, 5, 6, 7);
CALL assignment_v3.run();
SELECT test.batches();

-- One commit for each booking
TRUNCATE test.written RESTART IDENTITY;
SET assignment_v3.batch_size TO 1;
CALL test.wait(1, 11, 12);
CALL assignment_v3.run(max_bookings => 10, max_seconds => 60);
SELECT test.batches();

-- A poisoned booking, in the middle of its batch: the app's trigger refuses its confirmation ...
TRUNCATE test.written RESTART IDENTITY;
SET assignment_v3.batch_size TO 16;
CREATE FUNCTION test.poison() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not this one'; END$$;
CREATE TRIGGER poison BEFORE UPDATE ON bookings FOR EACH ROW
	WHEN (NEW.id = 'b0000000-0000-0000-0000-000000000022' AND NEW.status = 'confirmed') EXECUTE FUNCTION test.poison();
CALL test.wait(1, 21, 22, 23);
CALL assignment_v3.run();
SELECT test.batches();
DROP TRIGGER poison ON bookings;

-- ... and the trail itself can't be written: set aside with a warning, the others stand, and it comes again later
TRUNCATE test.written RESTART IDENTITY;
CREATE TRIGGER poison BEFORE INSERT ON observability_events FOR EACH ROW
	WHEN (NEW.booking_id = 'b0000000-0000-0000-0000-000000000032') EXECUTE FUNCTION test.poison();
CALL test.wait(1, 31, 32, 33);
SET client_min_messages TO warning;
\set VERBOSITY terse
CALL assignment_v3.run();
\set VERBOSITY default
SELECT test.batches();
SELECT test.no(booking_id) AS n, due_at > clock_timestamp() + interval '20 seconds' AS later FROM assignment_v3.queue WHERE booking_id = test.id('b', 32);
DROP TRIGGER poison ON observability_events;
DELETE FROM assignment_v3.queue;
SELECT * FROM assignment_v3.rebuild_queue();
CALL assignment_v3.run();
SELECT test.batches();

-- A long queue: the others wait for one share of it
TRUNCATE test.written RESTART IDENTITY;
SET assignment_v3.batch_size TO 2;
CALL test.wait(1, 41, 42, 43, 44, 45, 46);
CALL test.wait(2, 47, 49);
CALL test.wait(3, 48);
CALL assignment_v3.run();
SELECT test.batches();

-- Longer than what is read of the head of the queue: one share of each restaurant in turn, and nothing is left
TRUNCATE test.written RESTART IDENTITY;
SET assignment_v3.batch_size TO 16;
INSERT INTO assignment_v3.queue (booking_id, restaurant_id, due_at)
SELECT test.id('e', n), test.id('a', 1), clock_timestamp() - interval '2 hours' + n * interval '1 second' FROM generate_series(1, 1100) AS n;
CALL test.wait(2, 90, 92);
CALL test.wait(3, 91);
CALL assignment_v3.run(20);
SELECT test.batches();
CALL assignment_v3.run();
SELECT count(*) FROM assignment_v3.queue;
SET assignment_v3.batch_size TO 2;

-- Priorities come first, whatever their due time; a due time in the future comes later
TRUNCATE test.written RESTART IDENTITY;
CALL test.wait(1, 51, 52, 53, 54);
SELECT assignment_v3.run_at(test.id('b', 54), NULL, -1) AS queued;
SELECT assignment_v3.run_at(test.id('b', 51), NULL, 2) AS queued;
SELECT assignment_v3.run_at(test.id('b', 52), clock_timestamp() + interval '1 day') AS queued;
SELECT assignment_v3.run_at(test.id('b', 9999), clock_timestamp()) AS queued;
SELECT * FROM test.refused($$SELECT assignment_v3.run_at(test.id('b', 51), NULL, 7)$$);
CALL assignment_v3.run();
SELECT test.batches();
SELECT obstacle, detail, until > clock_timestamp() + interval '23 hours' AS tomorrow, pid FROM assignment_v3.why_waiting(test.id('b', 52));
DELETE FROM assignment_v3.queue;

-- A pause: drains pass over, a call for one booking is obeyed
TRUNCATE test.written RESTART IDENTITY;
CALL test.wait(1, 61, 62);
CALL test.wait(2, 63);
SELECT assignment_v3.pause(test.id('a', 1), 'the oven burns') AS waiting;
SELECT obstacle, detail FROM assignment_v3.why_waiting(test.id('b', 61));
SELECT depth, due, paused, oldest_due_at IS NULL AS none_oldest FROM assignment_v3.queue_metrics();
CALL assignment_v3.run();
SELECT count(*) FROM assignment_v3.process_due();
SELECT outcome FROM test.decide(62);
SELECT test.batches();
SELECT assignment_v3.resume(test.id('a', 1)) AS ended, assignment_v3.resume(test.id('a', 1)) AS again;
SELECT obstacle, detail FROM assignment_v3.why_waiting(test.id('b', 61));
SELECT depth, due, paused, wait_p50 > interval '50 minutes' AS long, decisions > 20 AS many, run_p95_ms >= run_p50_ms AS sane FROM assignment_v3.queue_metrics();
CALL assignment_v3.run();
SELECT * FROM assignment_v3.why_waiting(test.id('b', 61));
SELECT * FROM test.refused($$SELECT assignment_v3.pause(NULL)$$);
SELECT * FROM test.refused($$SELECT assignment_v3.why_waiting(test.id('b', 9999))$$);

-- The queue is made anew: what waits is in it, what does not is not, what is older than attach() never
CALL test.wait(1, 71, 72, 73, 74, 75);
UPDATE bookings SET created_at = now() - interval '1 year', updated_at = now() - interval '1 year' WHERE id IN (test.id('b', 74), test.id('b', 75));
SELECT to_state FROM assignment_v3.transition(test.id('b', 75), 'capacity_verified');
UPDATE bookings SET updated_at = now() - interval '1 year' WHERE id = test.id('b', 75);
DELETE FROM assignment_v3.queue WHERE booking_id <> test.id('b', 71);
INSERT INTO assignment_v3.queue (booking_id, restaurant_id, due_at) VALUES (test.id('b', 1), test.id('a', 1), now()), (test.id('b', 9999), test.id('a', 1), now());
SELECT * FROM assignment_v3.rebuild_queue();
SELECT test.no(booking_id) AS n FROM assignment_v3.queue ORDER BY 1;
SELECT * FROM assignment_v3.rebuild_queue();
SELECT obstacle, detail FROM assignment_v3.why_waiting(test.id('b', 74));
CALL assignment_v3.run();

-- Manual reviews go back in bulk
CALL test.book(81, 1, 9, 81);
CALL test.book(82, 2, 9, 82);
SET assignment_v3.max_attempts TO 1;
CALL assignment_v3.run();
SELECT * FROM test.refused($$SELECT assignment_v3.requeue_reviews(NULL, ' ')$$);
SELECT assignment_v3.requeue_reviews(test.id('a', 1), 'a table was brought in');
SELECT assignment_v3.requeue_reviews(NULL, 'a table was brought in');
SELECT test.no(booking_id) AS n FROM assignment_v3.queue WHERE booking_id IN (test.id('b', 81), test.id('b', 82)) ORDER BY 1;
CALL assignment_v3.run(max_seconds => 0);
SELECT * FROM assignment_v3.verify();

\c :origin
DROP DATABASE batches_share_fairly;
