-- In shadow mode a decision is taken whole and rolled back whole: what is left are events, marked as such, and an answer
-- that nobody could mistake for a confirmation.  Bookings that the legacy path has seated are rehearsed too.  Anything
-- else that survived (a queue row, an attempt, a breaker, a lost assignment) would be live traffic in the wrong hands.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database shadow
\i :setup
SET assignment_v3.shadow = on;
CALL test.open(1, 2, 2);
CALL test.open(2);
INSERT INTO table_adjacencies VALUES (test.id('d', 101), test.id('d', 102));

-- What would be confirmed, retried, and reviewed.
CALL test.book(1);
CALL test.book(2, restaurant => 2);
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
VALUES (test.id('b', 3), test.id('a', 2), 2, now() + interval '5 minutes', now() + interval '1 hour');
CALL test.remember();
SELECT * FROM test.decide(1, 'inline');
SELECT * FROM test.decide(2);
SELECT * FROM test.decide(3);
SELECT test.changed();
SELECT event_type, severity, context - ARRAY['duration_ms', 'delay_ms'] AS context, test.no(booking_id) AS booking
FROM observability_events WHERE source = 'assignment.coordinator' ORDER BY created_at, ctid;
SELECT test.no(booking_id) AS booking, severity, context FROM observability_events
WHERE source = 'assignment.state_machine' ORDER BY 1, (context ->> 'version')::int;
-- again: each version is rehearsed once, and whoever asks again is told what it came to
CALL test.remember();
SELECT * FROM test.decide(1, 'inline');
SELECT * FROM test.decide(2);
SELECT test.changed();
-- the query that compares shadow with legacy counts bookings, not rehearsals
SELECT count(DISTINCT booking_id) FILTER (WHERE context ->> 'to' = 'confirmed') AS would_be_confirmed,
	count(DISTINCT booking_id) AS rehearsed
FROM observability_events WHERE source = 'assignment.state_machine';

-- Nothing to rehearse.
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 2);
SELECT assignment_v3.transition(test.id('b', 3), 'failed');
CALL test.book(4, hour => -800);
CALL test.book(5, status => 'completed');
CALL test.remember();
SELECT n AS booking, d.* FROM (VALUES (2), (3), (4), (5), (99)) AS b (n) CROSS JOIN LATERAL test.decide(n) AS d ORDER BY n;
SELECT test.changed();

-- The legacy path has seated a booking: before attach() was there to see, and under its eyes.
CALL test.book(10, hour => 10, status => 'confirmed');
CALL test.seat(10, 102, 10);
CALL test.book(11, hour => 11);
CALL test.seat(11, 101, 12);
UPDATE bookings SET start_at = test.at(12), end_at = test.at(14) WHERE id = test.id('b', 11);
UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 11);
SELECT test.no(id) AS booking, status, assignment_state, assignment_state_version FROM bookings
WHERE test.no(id) IN (10, 11) ORDER BY 1;
-- one fills the house, so only without its own tables could it be seated again
CALL test.book(12, party => 4, hour => 15, status => 'confirmed');
CALL test.seat(12, 101, 15);
CALL test.seat(12, 102, 15);
CALL test.remember();
SELECT n AS booking, d.* FROM generate_series(10, 12) AS n CROSS JOIN LATERAL test.decide(n) AS d ORDER BY n;
SELECT test.changed();
SELECT test.no(booking_id) AS booking, string_agg(context ->> 'from', ' ' ORDER BY (context ->> 'version')::int) AS from_states,
	max(context ->> 'version') AS version, bool_and((context ->> 'shadow')::boolean) AS shadow
FROM observability_events WHERE source = 'assignment.state_machine' AND test.no(booking_id) IN (10, 11, 12)
	AND context ? 'shadow' GROUP BY 1 ORDER BY 1;
SELECT test.no(booking_id) AS booking, test.no(table_id) AS table_no FROM booking_table_assignments ORDER BY 1, 2;
-- this first confirmation is none that a guest would hear of as a second one
SELECT count(*) AS reopened FROM observability_events WHERE context #> '{metadata,reopened}' IS NOT NULL;

-- Errors of the app: told, and left behind with everything else; no breaker minds them.
CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not today'; END$$;
CREATE TRIGGER a_refuse BEFORE UPDATE ON bookings FOR EACH ROW WHEN (NEW.status = 'confirmed')
	EXECUTE FUNCTION test.refuse();
INSERT INTO assignment_v3.circuits (restaurant_id, consecutive_errors) VALUES (test.id('a', 1), 4);
SET assignment_v3.max_attempts = 1;
CALL test.book(20, hour => 30);
CALL test.book(21, hour => 33);
CALL test.remember();
SELECT * FROM test.decide(20);
SELECT test.changed();
RESET assignment_v3.max_attempts;
SELECT * FROM test.decide(21);
SELECT event_type, severity, context - ARRAY['duration_ms', 'delay_ms'] AS context FROM observability_events
WHERE booking_id = test.id('b', 21) AND source = 'assignment.coordinator' ORDER BY created_at DESC, ctid DESC LIMIT 2;
DROP TRIGGER a_refuse ON bookings;
-- an open breaker doesn't keep from rehearsing, and success doesn't close it
UPDATE assignment_v3.circuits SET open_until = clock_timestamp() + interval '1 hour', opened_at = clock_timestamp();
CALL test.book(22, hour => 36);
CALL test.remember();
SELECT * FROM test.decide(22);
SELECT test.changed();
DELETE FROM assignment_v3.circuits;

-- Locks of a rehearsal are as real as ever; the app's trigger sees what it would see.
CREATE TABLE test.seen (what text);
CREATE FUNCTION test.see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM booking_table_assignments AS a WHERE a.booking_id = NEW.id) THEN
		RAISE 'confirmed without a table';
	END IF;
	INSERT INTO test.seen VALUES ('confirmed');
	RETURN NEW;
END;
$$;
CREATE TRIGGER a_see BEFORE UPDATE ON bookings FOR EACH ROW WHEN (NEW.status = 'confirmed') EXECUTE FUNCTION test.see();
CALL test.book(23, hour => 39);
SELECT * FROM test.decide(23);
SELECT count(*) AS seen FROM test.seen;

-- From the queue a booking is rehearsed once per version; then its row is gone, and comes back with the next version.
-- Those that were rehearsed at the app's call are not rehearsed again.
CALL test.book(24, hour => 42);
SELECT test.no(booking_id) AS booking FROM assignment_v3.queue ORDER BY 1;
CALL assignment_v3.run();
SELECT test.no(booking_id) AS booking FROM assignment_v3.queue ORDER BY 1;
CALL assignment_v3.run();
UPDATE bookings SET party_size = 3 WHERE id = test.id('b', 1);
SELECT test.no(booking_id) AS booking, outcome, reason, shadow_outcome, test.tables(table_ids) AS tables
FROM assignment_v3.process_due();
UPDATE bookings SET customer_name = 'Ann' WHERE id = test.id('b', 1);
CALL assignment_v3.run();
SELECT version, count(*) AS results FROM booking_assignment_shadow_results WHERE booking_id = test.id('b', 1) GROUP BY 1 ORDER BY 1;
-- The legacy path is mostly faster than the queue: what it has seated meanwhile is rehearsed all the same.
CALL test.book(13, hour => 21);
CALL test.seat(13, 101, 21);
UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 13);
CALL test.book(14, hour => 21);
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 14);
SELECT test.no(booking_id) AS booking, outcome, reason, shadow_outcome, state FROM assignment_v3.process_due();
-- and so is what it had seated before there was a shadow; live, none of that would be queued
SELECT assignment_v3.enqueue_existing(now() - interval '1 hour') AS queued;
SELECT test.no(q.booking_id) AS booking, b.status FROM assignment_v3.queue AS q JOIN bookings AS b ON b.id = q.booking_id ORDER BY 1;
DELETE FROM assignment_v3.queue;
SET assignment_v3.enabled = on;
SELECT assignment_v3.enqueue_existing(now() - interval '1 hour') AS queued;
SELECT test.no(q.booking_id) AS booking, b.status FROM assignment_v3.queue AS q JOIN bookings AS b ON b.id = q.booking_id ORDER BY 1;
SET assignment_v3.enabled = off;
DELETE FROM assignment_v3.queue;
SELECT status, assignment_state, assignment_state_version FROM bookings WHERE id = test.id('b', 1);
SELECT count(*) AS attempts FROM booking_assignment_attempts;
SELECT count(*) AS messages FROM capacity_outbox WHERE event_type LIKE '%.confirmed' OR event_type LIKE '%.manual_review';

-- Live at last, nothing of the rehearsals is in the way.
SET assignment_v3.enabled = on;
SELECT * FROM test.decide(1);
SELECT payload #> '{metadata,reopened}' AS reopened FROM capacity_outbox WHERE booking_id = test.id('b', 1);
SELECT * FROM assignment_v3.verify();

\c :origin
DROP DATABASE shadow;
