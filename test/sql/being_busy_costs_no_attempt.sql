-- Where others are at work on a booking, at all slots of its restaurant, or at all tables that would do, the answer comes
-- at once, says so, and counts neither as an attempt nor against the breaker; nobody waits for longer than the app's
-- deadlock check would.  Prepared transactions play the others.  What is known only after a wait or a failed insert
-- could be taken for "no table" or for an error.
SELECT current_setting('max_prepared_transactions')::int < 3 AS cannot_prepare \gset
\if :cannot_prepare
\echo skipped: max_prepared_transactions is too low
\quit
\endif
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database being_busy
\i :setup
SET assignment_v3.enabled = on;
SET assignment_v3.max_parallel = 1;
SET deadlock_timeout = '40ms';
SET assignment_v3.retry_base_delay = '1min';
SET assignment_v3.retry_max_delay = '10min';
CALL test.open(1, 2, 2, 2);
CALL test.open(2, 2);

-- Somebody is deciding on booking 1: its lock, the only slot and table T1 are held.
CALL test.book(1);
CALL test.book(2);
CALL test.book(3, restaurant => 2);
BEGIN;
SELECT outcome, tables FROM test.decide(1);
PREPARE TRANSACTION 'first';
CALL test.remember();
SELECT * FROM test.decide(1);
SELECT test.changed();
SELECT event_type, severity, context FROM observability_events WHERE booking_id = test.id('b', 1) ORDER BY created_at, ctid;
-- the restaurant has no slot left, with the delay that CONTRACT names; another restaurant has its own
CALL test.remember();
SELECT * FROM test.decide(2);
SELECT delay_ms FROM assignment_v3.process_booking(test.id('b', 2));
SELECT test.changed();
SELECT event_type, severity, context - ARRAY['duration_ms'] AS context
FROM observability_events WHERE booking_id = test.id('b', 2) ORDER BY created_at, ctid LIMIT 3;
SELECT * FROM test.decide(3);
-- the fleet's row and the restaurant's own say how many slots there are before the setting does
INSERT INTO assignment_v3.rollout (restaurant_id, mode, max_parallel) VALUES (NULL, 'active', 2), (test.id('a', 1), 'active', 1);
SELECT outcome, reason FROM test.decide(2);
UPDATE assignment_v3.rollout SET max_parallel = NULL WHERE restaurant_id IS NOT NULL;
BEGIN;
SELECT outcome, reason FROM test.decide(2);
ROLLBACK;
DELETE FROM assignment_v3.rollout;
SELECT outcome, reason FROM test.decide(2);
-- two slots: the next best table is taken, as T1 is being given away
SET assignment_v3.max_parallel = 2;
SELECT * FROM test.decide(2);
SELECT context -> 'slot' AS slot FROM observability_events
WHERE booking_id = test.id('b', 2) AND event_type = 'coordinator.rate_permit_acquired';

-- All that is left is T1, and it is being given away: that is no answer yet.
CALL test.book(4);
CALL test.book(5);
SELECT * FROM test.decide(4);
CALL test.remember();
SELECT * FROM test.decide(5);
SELECT test.changed();
SELECT event_type, severity, context - ARRAY['duration_ms', 'delay_ms'] AS context
FROM observability_events WHERE booking_id = test.id('b', 5) ORDER BY created_at, ctid OFFSET 3;
COMMIT PREPARED 'first';
SELECT * FROM test.decide(5);
SELECT * FROM test.decide(1);
SELECT test.no(booking_id) AS booking, test.no(table_id) AS table_no FROM booking_table_assignments ORDER BY 1;

-- Another writer has the booking's row.
CALL test.book(6, restaurant => 2, hour => 10);
BEGIN;
SELECT test.no(id) AS booking FROM bookings WHERE id = test.id('b', 6) FOR UPDATE;
PREPARE TRANSACTION 'row';
CALL test.remember();
SELECT * FROM test.decide(6);
SELECT test.changed();
ROLLBACK PREPARED 'row';
SELECT * FROM test.decide(6);

-- Another writer, who knows nothing of our locks, has put somebody at the table and not yet committed.
CALL test.book(7, restaurant => 2, hour => 12);
CALL test.book(8, restaurant => 2, hour => 12);
BEGIN;
CALL test.seat(8, 201, 12);
PREPARE TRANSACTION 'ledger';
CALL test.remember();
SELECT clock_timestamp() AS before \gset
SELECT * FROM test.decide(7);
SELECT clock_timestamp() - :'before' < '5 s' AS soon;
SELECT test.changed();
SHOW lock_timeout;
ROLLBACK PREPARED 'ledger';
SELECT * FROM test.decide(7);
-- and has committed between our look and our insert: seen as soon as it is looked again
CREATE FUNCTION test.be_faster() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM booking_table_assignments WHERE booking_id = test.id('b', 8)) THEN
		CALL test.seat(8, 201, 14);
	END IF;
	RETURN NULL;
END;
$$;
CALL test.book(9, restaurant => 2, hour => 14);
CREATE TRIGGER be_faster BEFORE INSERT ON booking_table_assignments
	FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION test.be_faster();
CALL test.remember();
SELECT * FROM test.decide(9);
SELECT test.changed();
DROP TRIGGER be_faster ON booking_table_assignments;
SELECT * FROM test.decide(9);

-- run() passes over a restaurant at its limit, leaves its bookings as they are, and gives up after rate_limit_delay.
SET assignment_v3.max_parallel = 1;
SET assignment_v3.rate_limit_delay = '30ms';
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT test.id('b', n), test.id('a', 1 + n % 2), 2, test.at(n), test.at(n + 0.5) FROM generate_series(40, 45) AS n;
BEGIN;
SELECT outcome FROM test.decide(40);
PREPARE TRANSACTION 'slot';
CALL assignment_v3.run(NULL, test.id('a', 2));
CALL test.remember();
CALL assignment_v3.run();
SELECT test.changed();
SELECT outcome FROM assignment_v3.process_due();
SELECT outcome FROM assignment_v3.process_due(restaurant_id => test.id('a', 1));
SELECT test.changed();
COMMIT PREPARED 'slot';
CALL assignment_v3.run();

-- A booking that somebody else is deciding on is left to them, and looked at again a little later.
SET assignment_v3.max_parallel = 2;
CALL test.book(50, hour => 50);
BEGIN;
SET LOCAL assignment_v3.enabled = off;
SET LOCAL assignment_v3.shadow = on;
SELECT outcome, reason FROM test.decide(50);
PREPARE TRANSACTION 'booking';
CALL assignment_v3.run();
SELECT due_at - enqueued_at >= '1 s' AS later FROM assignment_v3.queue WHERE booking_id = test.id('b', 50);
SELECT event_type, severity, context ->> 'reason' AS reason FROM observability_events
WHERE booking_id = test.id('b', 50) AND context ->> 'mode' = 'active' ORDER BY created_at, ctid;
ROLLBACK PREPARED 'booking';
SELECT outcome FROM test.decide(50);

-- In all this nothing was counted that should not be.
SELECT test.no(booking_id) AS booking, attempt_no, reason FROM booking_assignment_attempts WHERE result = 'failure' ORDER BY 1, 2;
SELECT count(*) AS breakers FROM assignment_v3.circuits;
SELECT count(*) AS errors FROM observability_events WHERE event_type = 'coordinator.error';
SELECT * FROM assignment_v3.verify();

\c :origin
DROP DATABASE being_busy;
