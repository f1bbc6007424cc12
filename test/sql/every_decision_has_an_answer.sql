-- Whatever is asked of process_booking(), it answers with an outcome and a reason that a caller can act on, and writes
-- no more than that answer.  The strange bookings of a live database (no window, a window turned round, a party of
-- nobody) could raise, loop, or be seated.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database every_answer
\i :setup
SET assignment_v3.enabled = on;
CALL test.open(1, 4);
CALL test.open(2);

-- Nobody there: answered, with its events and nothing else.
CALL test.remember();
SELECT * FROM test.decide(99);
SELECT test.changed();
SELECT event_type, severity, context, restaurant_id, test.no(booking_id) AS booking
FROM observability_events ORDER BY created_at, ctid;
-- Asked about nothing
CALL test.remember();
SELECT * FROM test.refused('SELECT assignment_v3.process_booking(NULL)');
SELECT test.changed();

-- No table is free: the second of two, and whoever books where there is no table at all.
CALL test.book(1);
CALL test.book(2);
CALL test.book(3, restaurant => 2);
SELECT * FROM test.decide(1);
SELECT * FROM test.decide(2);
SELECT * FROM test.decide(3);
SELECT test.no(booking_id) AS booking, version, from_state, to_state, metadata, reason
FROM booking_assignment_state_history WHERE booking_id <> test.id('b', 1) ORDER BY 1, 2;
SELECT test.no(booking_id) AS booking, attempt_no, strategy, result, reason, metadata - 'duration_ms' AS metadata
FROM booking_assignment_attempts WHERE booking_id <> test.id('b', 1) ORDER BY 1, 2;
SELECT event_type, severity, context - ARRAY['duration_ms', 'delay_ms'] AS context,
	jsonb_typeof(context -> 'delay_ms') AS delay, jsonb_typeof(context -> 'duration_ms') AS duration
FROM observability_events WHERE booking_id = test.id('b', 2) AND source = 'assignment.coordinator' ORDER BY created_at, ctid;
SELECT context FROM observability_events
WHERE booking_id = test.id('b', 2) AND source = 'assignment.state_machine' ORDER BY (context ->> 'version')::int;
SELECT status, assignment_state, assignment_strategy FROM bookings WHERE id = test.id('b', 2);
SELECT count(*) AS messages FROM capacity_outbox WHERE booking_id <> test.id('b', 1);
-- Free tables that are too small are no table either.
CALL test.book(4, party => 500, hour => 10);
SELECT * FROM test.decide(4);

-- A window that has passed; one that has begun is still worth a table.
CALL test.book(5, hour => -800);
SELECT * FROM test.decide(5);
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
VALUES (test.id('b', 6), test.id('a', 1), 2, now() - interval '1 minute', now() + interval '1 hour');
SELECT * FROM test.decide(6);

-- Too late for another try: manual review at once, with its message.
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
VALUES (test.id('b', 7), test.id('a', 2), 2, now() + interval '10 minutes', now() + interval '1 hour'),
	(test.id('b', 8), test.id('a', 2), 2, now() + interval '11 minutes', now() + interval '1 hour'),
	(test.id('b', 9), test.id('a', 2), 2, now() + interval '11 minutes', now() + interval '1 hour');
SELECT * FROM test.decide(7);
SELECT * FROM test.decide(8);
SET assignment_v3.start_cutoff = '11min';
SELECT * FROM test.decide(9);
RESET assignment_v3.start_cutoff;
SELECT from_state, to_state, reason FROM booking_assignment_state_history
WHERE booking_id = test.id('b', 7) ORDER BY version;
SELECT event_type, dedupe_key, payload FROM capacity_outbox WHERE booking_id = test.id('b', 7);
SELECT event_type, severity, context - 'duration_ms' AS context, jsonb_typeof(context -> 'duration_ms') AS duration
FROM observability_events WHERE booking_id = test.id('b', 7) AND event_type = 'coordinator.manual_review';
SELECT context FROM observability_events WHERE booking_id = test.id('b', 7) AND context ->> 'to' = 'manual_review';

-- Terminal states, and statuses that want no tables.
SELECT * FROM test.decide(7);
CALL test.book(10, hour => 12);
SELECT * FROM assignment_v3.transition(test.id('b', 10), 'failed', reason => 'kitchen closed');
SELECT * FROM test.decide(10);
CALL test.book(11, hour => 12, status => 'cancelled');
CALL test.book(12, hour => 12, status => 'no_show');
CALL test.book(13, hour => 12, status => 'completed');
CALL test.book(14, hour => 12, status => 'checked_in');
CALL test.book(15, hour => 12, status => 'confirmed');
CALL test.book(16, hour => 12, status => 'pending_allocation');
SELECT n AS booking, d.* FROM generate_series(11, 16) AS n CROSS JOIN LATERAL test.decide(n) AS d ORDER BY n;
SELECT DISTINCT status FROM bookings WHERE id = test.id('b', 16);
-- a seated guest who cancels
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 16);
SELECT * FROM test.decide(16);

-- What constraints rule out elsewhere a live database may hold.
ALTER TABLE bookings ALTER start_at DROP NOT NULL, ALTER end_at DROP NOT NULL, DROP CONSTRAINT bookings_window_check,
	DROP CONSTRAINT bookings_party_size_check;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT test.id('b', n), test.id('a', 1), party, test.at(start_hour), test.at(end_hour)
FROM (VALUES (20, 2, NULL, NULL), (21, 2, 14, NULL), (22, 2, NULL, 14), (23, 2, 14, 13), (24, 2, 14, 14),
	(25, 0, 14, 15), (26, -3, 14, 15)) AS b (n, party, start_hour, end_hour);
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
VALUES (test.id('b', 27), test.id('a', 1), 2, test.at(14), 'infinity'),
	(test.id('b', 28), test.id('a', 1), 2, '-infinity', test.at(14)),
	(test.id('b', 29), test.id('a', 1), 2, 'infinity', '-infinity');
SELECT n AS booking, d.* FROM generate_series(20, 29) AS n CROSS JOIN LATERAL test.decide(n) AS d ORDER BY n;
-- No attempt was made where there was nothing to try.
SELECT test.no(booking_id) AS booking, attempt_no, reason FROM booking_assignment_attempts
WHERE test.no(booking_id) BETWEEN 20 AND 29 ORDER BY 1;
SELECT from_state, to_state, reason FROM booking_assignment_state_history WHERE booking_id = test.id('b', 20) ORDER BY version;
SELECT context - 'duration_ms' AS context FROM observability_events
WHERE booking_id = test.id('b', 20) AND event_type = 'coordinator.manual_review';
SELECT count(*) AS messages FROM capacity_outbox WHERE test.no(booking_id) BETWEEN 20 AND 29;
SELECT count(*) AS seated FROM booking_table_assignments WHERE test.no(booking_id) BETWEEN 20 AND 29;
-- plan() and explain() refuse what they can't make sense of
SELECT n AS booking, p.code, p.message, e.code AS explain FROM generate_series(20, 29) AS n
CROSS JOIN LATERAL test.refused(format('SELECT * FROM assignment_v3.plan(%L)', test.id('b', n))) AS p
CROSS JOIN LATERAL test.refused(format('SELECT * FROM assignment_v3.explain(%L)', test.id('b', n))) AS e ORDER BY n;
SELECT count(*) AS plans FROM assignment_v3.plan(test.id('b', 25));
SELECT code, message FROM test.refused(format('SELECT assignment_v3.plan(%L)', test.id('b', 99)));
SELECT code, message FROM test.refused('SELECT assignment_v3.plan(NULL)');
SELECT code, message FROM test.refused(format('SELECT assignment_v3.explain(%L)', test.id('b', 99)));
SELECT code, message FROM test.refused('SELECT assignment_v3.explain(NULL)');
SELECT code, message FROM test.refused(format('SELECT assignment_v3.plan(%L, 0)', test.id('b', 1)));
SELECT code, message FROM test.refused(format('SELECT assignment_v3.plan(%L, 101)', test.id('b', 1)));

-- Only who is to be tried again waits in the queue, as long as was answered.
SELECT test.no(q.booking_id) AS booking,
	q.due_at - e.created_at - (e.context ->> 'delay_ms')::int * interval '1 ms' BETWEEN '0 s' AND '5 s' AS as_told
FROM assignment_v3.queue AS q
LEFT JOIN observability_events AS e ON e.booking_id = q.booking_id AND e.event_type = 'coordinator.retry'
ORDER BY 1;
SELECT * FROM assignment_v3.verify();

-- Disabled: not one row is written, whatever is asked.
RESET assignment_v3.enabled;
CALL test.remember();
SELECT n AS booking, d.* FROM (VALUES (1), (2), (7), (11), (20), (99)) AS b (n) CROSS JOIN LATERAL test.decide(n) AS d
ORDER BY n;
SELECT * FROM assignment_v3.process_due();
SELECT test.changed();

-- A transaction that may not write is told so; disabled, it has nothing to fear.
BEGIN READ ONLY;
SELECT * FROM test.decide(2);
SELECT count(*) > 0 AS plans FROM assignment_v3.plan(test.id('b', 25));
SELECT count(*) AS tables FROM assignment_v3.explain(test.id('b', 2));
COMMIT;
SET assignment_v3.enabled = on;
CALL test.remember();
BEGIN READ ONLY;
SELECT * FROM test.refused(format('SELECT assignment_v3.process_booking(%L)', test.id('b', 2)));
SELECT * FROM test.refused('SELECT * FROM assignment_v3.process_due()');
COMMIT;
SET default_transaction_read_only = on;
CALL assignment_v3.run();
RESET default_transaction_read_only;
SELECT test.changed();

-- Not attached.
\o /dev/null
SELECT * FROM assignment_v3.detach();
\o
SELECT * FROM test.refused(format('SELECT assignment_v3.process_booking(%L)', test.id('b', 2)));
SELECT code, message FROM test.refused(format('SELECT * FROM assignment_v3.plan(%L)', test.id('b', 2)));
SELECT code, message FROM test.refused('SELECT * FROM assignment_v3.process_due()');
CALL assignment_v3.run();

\c :origin
DROP DATABASE every_answer;
