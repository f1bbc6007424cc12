-- A drain offers what was due when it began, oldest first, each booking once, and leaves every other row as it is.  What
-- it decides may put the row back with a later time, so a drain could offer it again and again; a restaurant that it
-- passes over could be forgotten, or keep others waiting.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database queue_offers
\i :setup
SET assignment_v3.enabled = on;
SET assignment_v3.retry_base_delay = '1min';
SET assignment_v3.retry_max_delay = '10min';
CALL test.open(1, 2, 2);
CALL test.open(2, 2);
CALL test.open(3);

-- Nothing to do.
CALL assignment_v3.run();
SELECT count(*) FROM assignment_v3.process_due();

-- Bookings wait from the moment they are made; the newest is made due first.
SELECT clock_timestamp() AS before \gset
CALL test.book(1, 1, hour => 1);
CALL test.book(2, 2, hour => 2);
CALL test.book(3, 3, hour => 3);
CALL test.book(4, 1, hour => 4);
CALL test.book(5, 1, hour => 5);
SELECT test.no(booking_id) AS booking, test.no(restaurant_id) AS restaurant, priority,
	due_at BETWEEN :'before' AND clock_timestamp() AS due, due_at = enqueued_at AS at_once
FROM assignment_v3.queue ORDER BY 1;
CREATE PROCEDURE test.due(VARIADIC bookings int[]) LANGUAGE sql AS $$
	UPDATE assignment_v3.queue AS q SET due_at = clock_timestamp() - (100 - b.n) * interval '1 minute'
	FROM unnest(bookings) WITH ORDINALITY AS b (no, n) WHERE q.booking_id = test.id('b', b.no)
$$;
CALL test.due(5, 3, 1, 4, 2);
SELECT test.no(booking_id) AS booking, outcome, reason FROM assignment_v3.process_due(2);
SELECT test.no(booking_id) AS booking, outcome, reason FROM assignment_v3.process_due();
SELECT test.no(booking_id) AS booking, outcome, reason FROM assignment_v3.process_due();
SELECT test.no(booking_id) AS booking, attempt_no FROM booking_assignment_attempts WHERE result = 'failure';
SELECT test.no(booking_id) AS booking, due_at > clock_timestamp() + interval '1 minute' AS later FROM assignment_v3.queue;
-- A retry that is due again before the drain has ended is left to the next one.
SET assignment_v3.max_attempts = 20;
SET assignment_v3.retry_jitter = 0;
SET assignment_v3.retry_max_delay = '1ms';
CALL test.due(3);
CALL assignment_v3.run();
SELECT pg_sleep(0.01) \g /dev/null
CALL assignment_v3.run();
SELECT pg_sleep(0.01) \g /dev/null
SELECT count(*) FROM assignment_v3.process_due();
SELECT max(attempt_no) AS attempts FROM booking_assignment_attempts;
SET assignment_v3.retry_max_delay = '10min';
CALL test.due(3);
SELECT count(*) FROM assignment_v3.process_due();
-- who asked is told in the trail
SELECT DISTINCT context ->> 'trigger' AS trigger FROM observability_events WHERE source = 'assignment.coordinator' ORDER BY 1;

-- priority goes before age; among equals the id decides
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT test.id('b', n), test.id('a', 1), 2, test.at(n), test.at(n + 1) FROM generate_series(10, 15) AS n;
UPDATE assignment_v3.queue SET due_at = '2020-01-01' WHERE test.no(booking_id) >= 10;
UPDATE assignment_v3.queue SET priority = -1 WHERE booking_id = test.id('b', 14);
UPDATE assignment_v3.queue SET priority = 1, due_at = '2019-01-01' WHERE booking_id = test.id('b', 11);
SELECT test.no(booking_id) AS booking FROM assignment_v3.process_due();

-- How many, and whose.
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT test.id('b', n), test.id('a', 1 + n % 2), 2, test.at(n), test.at(n + 1) FROM generate_series(20, 49) AS n;
SELECT count(*) FROM assignment_v3.process_due(max_bookings => 3);
SELECT count(*), count(DISTINCT b.restaurant_id) AS restaurants
FROM assignment_v3.process_due(5, test.id('a', 2)) AS d JOIN bookings AS b ON b.id = d.booking_id;
CALL assignment_v3.run(4);
CALL assignment_v3.run(restaurant_id => test.id('a', 2), max_bookings => 1);
SELECT count(*) FROM assignment_v3.process_due(restaurant_id => test.id('a', 9));
SELECT count(*) AS null_means_20 FROM assignment_v3.process_due(NULL, NULL);
SELECT code, message FROM test.refused('SELECT * FROM assignment_v3.process_due(0)');
SELECT code, message FROM test.refused('SELECT * FROM assignment_v3.process_due(-1)');
CALL assignment_v3.run(0);
SELECT test.no(booking_id) AS booking FROM assignment_v3.queue ORDER BY 1;

-- Every outcome is counted as what it was, and errors apart.
CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not to restaurant 2'; END$$;
CREATE TRIGGER a_refuse BEFORE UPDATE ON bookings FOR EACH ROW
	WHEN (NEW.status = 'confirmed' AND NEW.restaurant_id = 'a0000000-0000-0000-0000-000000000002') EXECUTE FUNCTION test.refuse();
CALL test.book(50, 1, hour => 50);
CALL test.book(51, 1, hour => 51);
CALL test.book(52, 2, hour => 52);
CALL test.book(53, 3, hour => 53);
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
VALUES (test.id('b', 54), test.id('a', 3), 2, now() + interval '5 minutes', now() + interval '1 hour');
INSERT INTO assignment_v3.queue (booking_id, restaurant_id, due_at) VALUES (test.id('b', 1), test.id('a', 1), '2020-01-01');
CALL assignment_v3.run();
SELECT test.no(booking_id) AS booking FROM assignment_v3.queue ORDER BY 1;
DROP TRIGGER a_refuse ON bookings;

-- run() commits after each batch, process_due() leaves that to its caller.
CREATE TABLE test.written (booking int, transaction xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION test.write_down() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO test.written VALUES (test.no(NEW.id)); RETURN NULL; END$$;
CREATE TRIGGER write_down AFTER UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION test.write_down();
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT test.id('b', n), test.id('a', 1), 2, test.at(n), test.at(n + 1) FROM generate_series(60, 65) AS n;
CALL assignment_v3.run(3);
BEGIN;
SELECT count(*) FROM assignment_v3.process_due();
ROLLBACK;
SELECT count(*) FROM assignment_v3.process_due();
SELECT booking / 63 * 63 AS bookings_from, count(*) AS bookings, count(DISTINCT transaction) AS transactions
FROM test.written GROUP BY 1 ORDER BY 1;
DROP TRIGGER write_down ON bookings;

-- Rows of bookings that are gone go; a cancelled booking's went with the cancellation.
CALL test.book(70, 1, hour => 70);
CALL test.book(71, 1, hour => 71);
CALL test.book(72, 1, hour => 72);
DELETE FROM bookings WHERE id = test.id('b', 70);
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 71);
SELECT test.no(booking_id) AS booking FROM assignment_v3.queue WHERE test.no(booking_id) BETWEEN 70 AND 79 ORDER BY 1;
SELECT test.no(booking_id) AS booking, outcome, reason FROM assignment_v3.process_due() ORDER BY 1;
SELECT test.no(booking_id) AS booking FROM assignment_v3.queue WHERE test.no(booking_id) BETWEEN 70 AND 79;
-- also where only that restaurant is live
RESET assignment_v3.enabled;
INSERT INTO assignment_v3.rollout (restaurant_id, mode) VALUES (test.id('a', 1), 'active');
CALL test.book(73, 1, hour => 73);
DELETE FROM bookings WHERE id = test.id('b', 73);
CALL assignment_v3.run();
SELECT test.no(booking_id) AS booking FROM assignment_v3.queue WHERE test.no(booking_id) BETWEEN 70 AND 79;

-- Disabled restaurants are skipped, their rows wait; nothing of theirs holds up the others.
DELETE FROM assignment_v3.rollout;
SET assignment_v3.enabled = on;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT test.id('b', n), test.id('a', 1 + n % 2), 2, test.at(n), test.at(n + 1) FROM generate_series(80, 85) AS n;
INSERT INTO assignment_v3.rollout (restaurant_id, mode) VALUES (test.id('a', 2), 'disabled');
CALL test.due(80, 81, 82, 83, 84, 85);
CALL assignment_v3.run();
SELECT test.no(booking_id) AS booking FROM assignment_v3.queue WHERE test.no(booking_id) BETWEEN 80 AND 89 ORDER BY 1;
SELECT count(*) AS events FROM observability_events WHERE test.no(booking_id) IN (81, 83, 85);
SELECT count(*) FROM assignment_v3.process_due(restaurant_id => test.id('a', 2));
UPDATE assignment_v3.rollout SET mode = 'active';
SELECT assignment_v3.kill('test');
CALL assignment_v3.run();
SELECT assignment_v3.revive('test');
CALL assignment_v3.run(restaurant_id => test.id('a', 2));

-- What came while the mode was disabled is queued by enqueue_existing(), once, if it still waits for tables.
DELETE FROM assignment_v3.rollout;
RESET assignment_v3.enabled;
DELETE FROM assignment_v3.queue;
UPDATE bookings SET created_at = now() - interval '1 year', updated_at = now() - interval '1 year';
INSERT INTO assignment_v3.rollout (restaurant_id, mode) VALUES (test.id('a', 1), 'disabled');
CALL test.book(90, 2, hour => 90);
CALL test.book(91, 2, hour => -800);
CALL test.book(92, 2, hour => 92, status => 'cancelled');
CALL test.book(93, 2, hour => 93, status => 'confirmed');
CALL test.book(94, 2, hour => 94, status => 'pending_allocation');
CALL test.book(95, 1, hour => 95);
CALL test.book(96, 2, hour => 96);
UPDATE bookings SET created_at = now() - interval '2 days', updated_at = now() - interval '2 days' WHERE id = test.id('b', 96);
CALL test.book(97, 2, hour => 97);
SELECT assignment_v3.transition(test.id('b', 97), 'failed') \g /dev/null
SELECT count(*) AS waiting FROM assignment_v3.queue;
SELECT assignment_v3.enqueue_existing(now() - interval '1 day') AS while_disabled;
SET assignment_v3.enabled = on;
SELECT assignment_v3.enqueue_existing(now() - interval '1 day') AS queued;
SELECT test.no(booking_id) AS booking FROM assignment_v3.queue ORDER BY 1;
SELECT assignment_v3.enqueue_existing(now() - interval '1 day') AS again;
SELECT assignment_v3.enqueue_existing(now() - interval '3 days') AS older;
SELECT code, message FROM test.refused('SELECT assignment_v3.enqueue_existing(NULL)');
CALL assignment_v3.run();
-- a booking without a valid window is one that a person should see, whichever way it comes
ALTER TABLE bookings ALTER start_at DROP NOT NULL, ALTER end_at DROP NOT NULL, DROP CONSTRAINT bookings_window_check;
RESET assignment_v3.enabled;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
VALUES (test.id('b', 98), test.id('a', 2), 2, NULL, test.at(98)), (test.id('b', 99), test.id('a', 2), 2, test.at(98), NULL);
SET assignment_v3.enabled = on;
SELECT assignment_v3.enqueue_existing(now() - interval '1 day') AS queued;
CALL assignment_v3.run();
SELECT * FROM assignment_v3.verify();

\c :origin
DROP DATABASE queue_offers;
