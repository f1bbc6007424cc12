-- A booking without a table is tried again, each time later and with another strategy, and after max_attempts it is
-- given to a person.  Requeue and reopen start the count anew while attempts keep their numbers.  The count is taken
-- from rows that older rounds and other writers have left too, so a new round could end at once, never, or on a number
-- that was used before.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database retries
\i :setup
SET assignment_v3.enabled = on;
CALL test.open(1, 2);

-- Decisions one after the other, each delay set against base * 2^attempt, plus up to the jitter, and the maximum.
CREATE FUNCTION test.setting(name text) RETURNS int LANGUAGE sql AS
	$$SELECT setting::int FROM pg_settings WHERE name = 'assignment_v3.' || $1$$;
CREATE FUNCTION test.try(n int, times int DEFAULT 1)
RETURNS TABLE (attempt int, outcome text, reason text, strategy text, delay text) LANGUAGE plpgsql AS $$
DECLARE
	ms int;
	least int;
BEGIN
	FOR i IN 1..times LOOP
		SELECT d.attempt, d.outcome, d.reason, d.strategy, d.delay_ms INTO attempt, outcome, reason, strategy, ms
		FROM assignment_v3.process_booking(test.id('b', n)) AS d;
		least := test.setting('retry_base_delay') * 2 ^ attempt;
		delay := CASE WHEN ms = 0 THEN 'none'
			WHEN ms = test.setting('retry_max_delay') THEN 'the maximum'
			WHEN ms > test.setting('retry_max_delay') THEN 'too long'
			WHEN ms BETWEEN least AND least + test.setting('retry_jitter')
				THEN format('%s and up to %s', least, test.setting('retry_jitter'))
			ELSE ms || ' is out of range' END;
		RETURN NEXT;
	END LOOP;
END;
$$;

-- Five attempts, then a person.
CALL test.book(1, party => 3);
SELECT * FROM test.try(1, 6);
SELECT attempt_no, strategy, result, reason FROM booking_assignment_attempts ORDER BY attempt_no;
SELECT version, from_state, to_state, reason FROM booking_assignment_state_history ORDER BY version;
SELECT event_type, dedupe_key, payload #>> '{fromState}' AS from_state FROM capacity_outbox;
SELECT context ->> 'reason' AS reason, context ->> 'attempts' AS attempts
FROM observability_events WHERE event_type = 'coordinator.manual_review';
SELECT context ->> 'attempts' AS attempts, count(*) FROM observability_events
WHERE event_type = 'coordinator.retry' GROUP BY 1 ORDER BY 1;
SELECT count(*) AS waiting FROM assignment_v3.queue;

-- More attempts go round the strategies, and the delay stops growing.
SET assignment_v3.max_attempts = 7;
CALL test.book(2, party => 3);
SELECT * FROM test.try(2, 7);
SET assignment_v3.max_attempts = 1;
CALL test.book(3, party => 3);
SELECT * FROM test.try(3);
RESET assignment_v3.max_attempts;
-- Each of the times can be set.
SET assignment_v3.retry_base_delay = '10ms';
SET assignment_v3.retry_jitter = 0;
SET assignment_v3.retry_max_delay = '50ms';
CALL test.book(4, party => 3);
SELECT * FROM test.try(4, 4);
RESET assignment_v3.retry_base_delay;
RESET assignment_v3.retry_jitter;
RESET assignment_v3.retry_max_delay;
-- The jitter is not always the same.
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT test.id('b', 100 + n), test.id('a', 1), 9, test.at(n), test.at(n + 1) FROM generate_series(1, 20) AS n;
SELECT count(DISTINCT delay_ms) > 5 AS scattered, bool_and(delay_ms BETWEEN 2000 AND 3000) AS in_range
FROM generate_series(1, 20) AS n CROSS JOIN LATERAL assignment_v3.process_booking(test.id('b', 100 + n));

-- Requeued: five more attempts from the first strategy on, under new numbers.
SELECT * FROM assignment_v3.requeue(test.id('b', 1), 'a table was mended');
SELECT * FROM test.try(1, 6);
SELECT attempt_no, strategy, reason FROM booking_assignment_attempts WHERE booking_id = test.id('b', 1) ORDER BY attempt_no;
SELECT dedupe_key FROM capacity_outbox WHERE booking_id = test.id('b', 1) ORDER BY payload -> 'version';
-- and once more, with success at the second attempt: it was never confirmed, so nobody hears of a second confirmation
SELECT * FROM assignment_v3.requeue(test.id('b', 1));
SELECT * FROM test.try(1);
UPDATE table_inventory SET capacity = 4;
SELECT * FROM test.try(1);
SELECT attempt_no, strategy, result FROM booking_assignment_attempts
WHERE booking_id = test.id('b', 1) ORDER BY attempt_no OFFSET 10;
SELECT payload -> 'metadata' -> 'reopened' AS reopened FROM capacity_outbox
WHERE booking_id = test.id('b', 1) AND event_type LIKE '%.confirmed';

-- Reopened: the first strategy again, and the message says that it is not the first confirmation.
SELECT * FROM assignment_v3.reopen(test.id('b', 1), 'wants the window');
UPDATE table_inventory SET active = false;
SELECT * FROM test.try(1, 2);
UPDATE table_inventory SET active = true;
SELECT * FROM test.try(1);
SELECT attempt_no, strategy, result FROM booking_assignment_attempts
WHERE booking_id = test.id('b', 1) ORDER BY attempt_no OFFSET 12;
SELECT right(dedupe_key, 3) AS version, payload -> 'metadata' ->> 'reopened' AS reopened FROM capacity_outbox
WHERE booking_id = test.id('b', 1) AND event_type LIKE '%.confirmed' ORDER BY payload -> 'version';
SELECT metadata -> 'reopened' AS reopened, count(*) FROM booking_assignment_state_history
WHERE booking_id = test.id('b', 1) GROUP BY 1 ORDER BY 1;

-- The guest comes with more people, so the booking reopens itself: the same holds.
UPDATE bookings SET party_size = 5 WHERE id = test.id('b', 1);
SELECT * FROM test.try(1);
UPDATE bookings SET party_size = 4 WHERE id = test.id('b', 1);
SELECT * FROM test.try(1);
SELECT right(dedupe_key, 3) AS version, payload -> 'metadata' ->> 'reopened' AS reopened FROM capacity_outbox
WHERE booking_id = test.id('b', 1) AND event_type LIKE '%.confirmed' ORDER BY payload -> 'version';

-- Rows that the app wrote about its own attempts keep their numbers and do not count.
CALL test.book(5, party => 9, hour => 12);
INSERT INTO booking_assignment_attempts (booking_id, attempt_no, strategy, result, reason, metadata)
VALUES (test.id('b', 5), 1, 'legacy', 'failure', 'no tables', '{}'),
	(test.id('b', 5), 2, NULL, 'failure', NULL, '{"version": "unknown"}'),
	(test.id('b', 5), 7, NULL, 'success', NULL, '{"version": null}');
SELECT * FROM test.try(5);
SELECT * FROM test.try(5);
SELECT attempt_no, strategy, result FROM booking_assignment_attempts WHERE booking_id = test.id('b', 5) ORDER BY 1;
-- Contention and a closed kitchen are no attempts either.
SELECT assignment_v3.kill('test');
SELECT * FROM test.try(5);
SELECT assignment_v3.revive('test');
SELECT max(attempt_no) AS last FROM booking_assignment_attempts WHERE booking_id = test.id('b', 5);
SELECT * FROM assignment_v3.verify();

\c :origin
DROP DATABASE retries;
