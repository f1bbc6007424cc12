-- A confirmation is the booking, its tables, five steps of history, an attempt, the events that dashboards count and one
-- message, all of them or nothing.  They are written by different statements and one trigger, so a row could be missing,
-- told twice, or carry a version that is off by one.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database whole_trail
\i :setup
SET assignment_v3.enabled = on;

CALL test.open(1, 4, 2, 2);
CALL test.book(1, party => 2);
SELECT * FROM test.decide(1, 'inline');

SELECT status, assignment_state, assignment_state_version, assignment_strategy FROM bookings;
SELECT t.table_number, a.start_at = b.start_at AS same_start, a.end_at = b.end_at AS same_end,
	a.assigned_at BETWEEN b.created_at AND clock_timestamp() AS assigned_now
FROM booking_table_assignments AS a
JOIN bookings AS b ON b.id = a.booking_id
JOIN table_inventory AS t ON t.id = a.table_id;
SELECT version, from_state, to_state, metadata, reason, actor_id FROM booking_assignment_state_history ORDER BY version;
SELECT attempt_no, strategy, result, reason, metadata - 'duration_ms' AS metadata,
	jsonb_typeof(metadata -> 'duration_ms') AS duration
FROM booking_assignment_attempts;

-- one event per transition, under the source that dashboards filter by
SELECT event_type, severity, context ->> 'version' AS version, context ->> 'from' AS from_state,
	context ->> 'to' AS to_state, context - ARRAY['version', 'from', 'to'] AS rest,
	test.no(restaurant_id) AS restaurant, test.no(booking_id) AS booking
FROM observability_events WHERE source = 'assignment.state_machine' ORDER BY (context ->> 'version')::int;
-- the coordinator's own, in the order in which they happened
SELECT event_type, severity, context - 'duration_ms' AS context, jsonb_typeof(context -> 'duration_ms') AS duration,
	test.no(restaurant_id) AS restaurant, test.no(booking_id) AS booking
FROM observability_events WHERE source = 'assignment.coordinator' ORDER BY created_at, ctid;
SELECT DISTINCT source FROM observability_events ORDER BY 1;
SELECT bool_and(created_at BETWEEN b.created AND clock_timestamp()) AS all_now
FROM observability_events, (SELECT min(created_at) FROM bookings) AS b (created);
SELECT context ->> 'duration_ms' ~ '^\d+(\.\d+)?$' AS duration_is_a_number
FROM observability_events WHERE event_type = 'coordinator.confirmed';

-- one message, whose key names booking and version
SELECT status, event_type, dedupe_key, attempt_count, next_attempt_at <= clock_timestamp() AS due,
	test.no(restaurant_id) AS restaurant, test.no(booking_id) AS booking, idempotency_key
FROM capacity_outbox;
SELECT jsonb_pretty(payload) AS payload FROM capacity_outbox;
SELECT count(*) AS waiting FROM assignment_v3.queue;
SELECT count(*) AS breakers FROM assignment_v3.circuits;
SELECT * FROM assignment_v3.verify();

-- A call repeated after a time-out is answered with the tables, and only its events are new.
CALL test.remember();
SELECT * FROM test.decide(1);
SELECT test.changed();
SELECT event_type, context FROM observability_events
WHERE source = 'assignment.coordinator' ORDER BY created_at, ctid OFFSET 4;

-- A merge is answered whole, in the first call and in the repeated one.
CALL test.book(2, party => 4, hour => 21);
CALL test.book(3, party => 4, hour => 21);
SELECT * FROM test.decide(2);
INSERT INTO table_adjacencies VALUES (test.id('d', 102), test.id('d', 103));
SELECT * FROM test.decide(3);
SELECT * FROM test.decide(3);
SELECT test.tables(table_ids) AS tables, cardinality(table_ids) AS count
FROM assignment_v3.process_booking(test.id('b', 3));
SELECT context ->> 'strategy' AS strategy, context ->> 'attempts' AS attempts
FROM observability_events WHERE event_type = 'coordinator.confirmed' ORDER BY created_at, ctid;

-- A trigger of null is "manual"; what callers write there is escaped.
CALL test.book(4, hour => 12);
CALL test.book(5, hour => 13);
SELECT outcome FROM assignment_v3.process_booking(test.id('b', 4), NULL);
SELECT outcome FROM assignment_v3.process_booking(test.id('b', 5), E'a "quoted" \\ one\n');
SELECT test.no(booking_id) AS booking, count(*), min(context ->> 'trigger') AS trigger FROM observability_events
WHERE source = 'assignment.coordinator' AND booking_id IN (test.id('b', 4), test.id('b', 5))
GROUP BY booking_id ORDER BY booking_id;
SELECT payload #>> '{metadata,trigger}' AS trigger FROM capacity_outbox
WHERE booking_id IN (test.id('b', 4), test.id('b', 5)) ORDER BY booking_id;

-- Whoever is halfway through the state machine is taken from there, with no step twice.
CALL test.book(6, hour => 14);
SELECT * FROM assignment_v3.transition(test.id('b', 6), 'capacity_verified');
SELECT * FROM assignment_v3.transition(test.id('b', 6), 'assignment_pending');
SELECT * FROM assignment_v3.transition(test.id('b', 6), 'assignment_in_progress');
SELECT * FROM assignment_v3.transition(test.id('b', 6), 'assigned');
SELECT * FROM test.decide(6);
SELECT version, from_state, to_state FROM booking_assignment_state_history
WHERE booking_id = test.id('b', 6) ORDER BY version;
-- also by an UPDATE of the app, whose steps are not ours
CALL test.book(7, hour => 15);
UPDATE bookings SET assignment_state = 'capacity_verified' WHERE id = test.id('b', 7);
SELECT * FROM test.decide(7);
SELECT version, from_state, to_state, metadata - 'table_ids' AS metadata FROM booking_assignment_state_history
WHERE booking_id = test.id('b', 7) ORDER BY version;

-- Rows of the ledger that the booking has already, for whatever window, are replaced.
CALL test.book(8, hour => 16);
CALL test.seat(8, 101, 16);
SELECT * FROM test.decide(8);
CALL test.book(9, hour => 8);
CALL test.seat(9, 102, 4);
CALL test.seat(9, 103, 4);
CALL test.seat(9, 101, 4);
SELECT * FROM test.decide(9);
SELECT test.no(booking_id) AS booking, count(*) AS rows,
	bool_and(a.start_at = b.start_at AND a.end_at = b.end_at) AS in_its_window
FROM booking_table_assignments AS a JOIN bookings AS b ON b.id = a.booking_id
WHERE b.id IN (test.id('b', 8), test.id('b', 9)) GROUP BY a.booking_id ORDER BY 1;
SELECT * FROM assignment_v3.verify();

-- All of it goes with the caller's transaction.
CALL test.book(10, hour => 11);
CALL test.remember();
BEGIN;
SELECT * FROM test.decide(10);
ROLLBACK;
SELECT test.changed();
-- and with a savepoint, after which the same decision is taken again
BEGIN;
SAVEPOINT before;
SELECT outcome FROM test.decide(10);
ROLLBACK TO before;
SELECT outcome FROM test.decide(10);
COMMIT;
SELECT count(*), max(version) FROM booking_assignment_state_history WHERE booking_id = test.id('b', 10);
SELECT * FROM assignment_v3.verify();

\c :origin
DROP DATABASE whole_trail;
