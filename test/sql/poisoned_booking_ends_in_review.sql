-- A booking on which the app's own code raises an error is tried max_attempts times and then given to a person; nothing
-- of the failed tries is left, and if even the review can't be written it is kept for later.  Five errors in a row open
-- the breaker of that restaurant alone, which closes again after two successes past its cool-down.  An error could
-- reach the caller, leave half a decision behind, or shut the whole fleet.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database poisoned
\i :setup
SET assignment_v3.enabled = on;
CALL test.open(1, 2, 2, 2, 2, 2, 2, 2, 2);
CALL test.open(2, 2, 2, 2, 2, 2, 2, 2, 2);

-- The app raises when a guest called Poison is confirmed.
CREATE FUNCTION test.poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'no "poison" is served at %', (SELECT name FROM restaurants WHERE id = NEW.restaurant_id)
		USING ERRCODE = 'P0042', DETAIL = 'It is bad for guests.';
END;
$$;
CREATE TRIGGER a_poison BEFORE UPDATE ON bookings FOR EACH ROW
	WHEN (NEW.customer_name = 'Poison' AND NEW.status = 'confirmed') EXECUTE FUNCTION test.poison();
CREATE PROCEDURE test.book_poison(n int, restaurant int) LANGUAGE sql AS $$
	CALL test.book(n, restaurant, hour => n);
	UPDATE bookings SET customer_name = 'Poison' WHERE id = test.id('b', n);
$$;

CALL test.book_poison(1, 1);
CALL test.remember();
SELECT * FROM test.decide(1);
SELECT test.changed();
SELECT attempt_no, strategy, result, reason, metadata - 'duration_ms' AS metadata FROM booking_assignment_attempts;
SELECT event_type, severity, context - ARRAY['duration_ms', 'delay_ms'] AS context,
	jsonb_typeof(context -> 'delay_ms') AS delay FROM observability_events ORDER BY created_at, ctid;
SELECT status, assignment_state, assignment_state_version FROM bookings;
SELECT consecutive_errors, half_open_successes, open_until IS NULL AS closed, opened_at FROM assignment_v3.circuits;
SELECT q.due_at > e.created_at + (e.context ->> 'delay_ms')::int * interval '1 ms' AS as_told
FROM assignment_v3.queue AS q, observability_events AS e WHERE e.event_type = 'coordinator.retry';
-- three more, and then a person
SELECT * FROM test.decide(1);
SELECT * FROM test.decide(1);
SELECT * FROM test.decide(1);
SELECT * FROM test.decide(1);
SELECT attempt_no, strategy, result, reason FROM booking_assignment_attempts ORDER BY attempt_no;
SELECT version, from_state, to_state, reason FROM booking_assignment_state_history ORDER BY version;
SELECT event_type, payload #>> '{fromState}' AS from_state FROM capacity_outbox;
SELECT event_type, count(*) FROM observability_events WHERE source = 'assignment.coordinator' GROUP BY 1 ORDER BY 1;
SELECT count(*) AS seated FROM booking_table_assignments;
SELECT count(*) AS waiting FROM assignment_v3.queue;

-- That were five errors: the breaker is open, for the time it is set to and for this restaurant only.
SELECT consecutive_errors, half_open_successes, open_until - updated_at BETWEEN '14 s' AND '15 s' AS for_15_s
FROM assignment_v3.circuits;
CALL test.book(2, 1, hour => 2);
CALL test.book(3, 2, hour => 2);
CALL test.remember();
SELECT * FROM test.decide(2);
SELECT delay_ms BETWEEN 1 AND 15000 AS until_cool FROM assignment_v3.process_booking(test.id('b', 2));
SELECT test.changed();
SELECT event_type, severity, context - ARRAY['duration_ms', 'delay_ms'] AS context,
	(context -> 'delay_ms')::int BETWEEN 1 AND 15000 AS delay
FROM observability_events WHERE booking_id = test.id('b', 2) ORDER BY created_at, ctid LIMIT 4;
SELECT b.open_until - q.due_at BETWEEN '-1 s' AND '1 s' AS due_when_cool
FROM assignment_v3.queue AS q JOIN assignment_v3.circuits AS b USING (restaurant_id) WHERE q.booking_id = test.id('b', 2);
SELECT * FROM test.decide(3);
SELECT count(*) FROM assignment_v3.circuits;
-- who has no time to wait for that goes to a person
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
VALUES (test.id('b', 20), test.id('a', 1), 2, now() + interval '10 minutes', now() + interval '1 hour');
SELECT * FROM test.decide(20);
-- already confirmed is answered all the same, and staff are not held up
SELECT * FROM assignment_v3.assign(test.id('b', 2), ARRAY[test.id('d', 102)]);
SELECT * FROM test.decide(2);

-- Cool again: half-open, and two successes close it.
CREATE PROCEDURE test.cool() LANGUAGE sql AS
	$$UPDATE assignment_v3.circuits SET open_until = clock_timestamp() WHERE open_until IS NOT NULL$$;
CALL test.cool();
CALL test.book(4, 1, hour => 4);
CALL test.book(5, 1, hour => 5);
CALL test.book(6, 1, hour => 6);
SELECT outcome FROM test.decide(4);
SELECT consecutive_errors, half_open_successes, open_until IS NOT NULL AS half_open FROM assignment_v3.circuits;
SELECT outcome FROM test.decide(5);
SELECT consecutive_errors, half_open_successes, open_until, opened_at FROM assignment_v3.circuits;
-- closed and clean: nothing is written to it any more
SELECT xmin AS before FROM assignment_v3.circuits \gset
SELECT outcome FROM test.decide(6);
SELECT xmin = :'before' AS untouched FROM assignment_v3.circuits;

-- Half-open, one error opens it again at once, whatever succeeded before.
SET assignment_v3.breaker_threshold = 2;
SET assignment_v3.max_attempts = 20;
CALL test.book_poison(7, 2);
CALL test.book(8, 2, hour => 8);
SELECT outcome, reason FROM test.decide(7);
SELECT outcome, reason FROM test.decide(7);
SELECT outcome, reason FROM test.decide(7);
CALL test.cool();
SELECT outcome, reason FROM test.decide(7);
SELECT outcome, reason FROM test.decide(7);
CALL test.cool();
SELECT outcome, reason FROM test.decide(8);
SELECT half_open_successes FROM assignment_v3.circuits WHERE restaurant_id = test.id('a', 2);
SELECT outcome, reason FROM test.decide(7);
SELECT half_open_successes, open_until - updated_at BETWEEN '14 s' AND '15 s' AS open
FROM assignment_v3.circuits WHERE restaurant_id = test.id('a', 2);
-- and time alone cools it
DELETE FROM assignment_v3.circuits;
SET assignment_v3.breaker_threshold = 1;
SET assignment_v3.breaker_cooldown = '20ms';
SET assignment_v3.breaker_successes = 1;
CALL test.book(9, 2, hour => 9);
SELECT outcome, reason FROM test.decide(7);
SELECT pg_sleep(0.03) \g /dev/null
SELECT outcome, reason FROM test.decide(9);
SELECT open_until FROM assignment_v3.circuits;
RESET assignment_v3.breaker_threshold;
RESET assignment_v3.breaker_cooldown;
RESET assignment_v3.breaker_successes;
DELETE FROM assignment_v3.circuits;

-- "No table" is no error, however often.  It shows that the pipeline works, so errors are no longer in a row.
CALL test.book(10, 1, party => 9, hour => 10);
CALL test.book_poison(11, 1);
SELECT outcome, reason FROM test.decide(11);
SELECT outcome, reason FROM test.decide(11);
SELECT consecutive_errors FROM assignment_v3.circuits;
SELECT outcome, reason FROM test.decide(10);
SELECT consecutive_errors FROM assignment_v3.circuits;
DO $$BEGIN FOR i IN 1..6 LOOP PERFORM assignment_v3.process_booking(test.id('b', 10)); END LOOP; END$$;
SELECT consecutive_errors, open_until FROM assignment_v3.circuits;
-- Where nothing was tried, nothing is counted.
SELECT outcome, reason FROM test.decide(11);
SELECT outcome, reason FROM test.decide(99);
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 10);
SELECT outcome, reason FROM test.decide(10);
SELECT consecutive_errors FROM assignment_v3.circuits;
RESET assignment_v3.max_attempts;
DELETE FROM assignment_v3.circuits;

-- The app raises on manual review too: the booking stays as it is and is tried again and again.
CREATE TRIGGER a_no_review BEFORE UPDATE ON bookings FOR EACH ROW
	WHEN (NEW.customer_name = 'Poison' AND NEW.assignment_state = 'manual_review') EXECUTE FUNCTION test.poison();
SET assignment_v3.breaker_threshold = 100;
CALL test.book_poison(12, 2);
SELECT * FROM test.decide(12);
SELECT * FROM test.decide(12);
SELECT * FROM test.decide(12);
SELECT * FROM test.decide(12);
SELECT * FROM test.decide(12);
SELECT * FROM test.decide(12);
SELECT delay_ms FROM assignment_v3.process_booking(test.id('b', 12));
SELECT attempt_no, strategy, result, reason FROM booking_assignment_attempts WHERE booking_id = test.id('b', 12) ORDER BY 1;
SELECT event_type, count(*) FROM observability_events WHERE booking_id = test.id('b', 12) GROUP BY 1 ORDER BY 1;
SELECT assignment_state, assignment_state_version, status FROM bookings WHERE id = test.id('b', 12);
SELECT count(*) AS history FROM booking_assignment_state_history WHERE booking_id = test.id('b', 12);
SELECT count(*) AS waiting FROM assignment_v3.queue WHERE booking_id = test.id('b', 12);
-- once the app is mended it is seated
UPDATE bookings SET customer_name = 'Cured' WHERE id = test.id('b', 12);
SELECT * FROM test.decide(12);
RESET assignment_v3.breaker_threshold;

-- An error in the ledger or in the trail itself.
CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'refused by %', TG_ARGV[0]; END$$;
CALL test.book(13, 1, hour => 13);
CREATE TRIGGER refuse BEFORE INSERT ON booking_table_assignments FOR EACH ROW EXECUTE FUNCTION test.refuse('ledger');
SELECT outcome, reason FROM test.decide(13);
DROP TRIGGER refuse ON booking_table_assignments;
CREATE TRIGGER refuse AFTER INSERT ON booking_assignment_state_history FOR EACH ROW EXECUTE FUNCTION test.refuse('history');
SELECT outcome, reason FROM test.decide(13);
DROP TRIGGER refuse ON booking_assignment_state_history;
CREATE TRIGGER refuse AFTER INSERT ON capacity_outbox FOR EACH ROW EXECUTE FUNCTION test.refuse('outbox');
SELECT outcome, reason FROM test.decide(13);
DROP TRIGGER refuse ON capacity_outbox;
SELECT context ->> 'message' AS message, context ->> 'sqlstate' AS sqlstate FROM observability_events
WHERE booking_id = test.id('b', 13) AND event_type = 'coordinator.error' ORDER BY created_at, ctid;
SELECT assignment_state, assignment_state_version FROM bookings WHERE id = test.id('b', 13);
SELECT outcome, reason, version FROM test.decide(13);
-- an UPDATE that the app swallows
CALL test.book(14, 1, hour => 14);
CREATE FUNCTION test.swallow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER a_swallow BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION test.swallow();
SELECT outcome, reason FROM test.decide(14);
DROP TRIGGER a_swallow ON bookings;
SELECT outcome, reason, version FROM test.decide(14);
SELECT * FROM assignment_v3.verify();

\c :origin
DROP DATABASE poisoned;
