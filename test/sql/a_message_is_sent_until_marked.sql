-- A message must be given to one worker at a time, come again under the same key until it is marked, keep away from the
-- app's own messages, and come to an end after ten tries. It could fail by a claim that takes what another worker still
-- has, by a key that is made anew, by a lease that is never over, by a worker that dies on a message for ever, or by a
-- mark that comes too late and undoes what another has done.
\set database 'a_message_is_sent_until_marked'
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/app.sql
\set ECHO all
\o
SET assignment_v3.enabled TO on;
CALL test.open(1, 2, 2, 2);
CALL test.book(1); CALL test.book(2); CALL test.book(3, party => 20, hour => 20);
SELECT outcome FROM test.decide(1);
SELECT outcome FROM test.decide(2);
DO $$ BEGIN PERFORM assignment_v3.transition(test.id('b', 3), s) FROM unnest(ARRAY['capacity_verified', 'assignment_pending', 'manual_review']) AS s; END $$;
-- the app's own, due since long before
INSERT INTO capacity_outbox (id, event_type, dedupe_key, next_attempt_at, payload)
VALUES (test.id('e', 1), 'capacity.assignment.sync', 'x', now() - interval '1 day', '{"a": 1}');
CREATE VIEW test.outbox AS
	SELECT test.no(booking_id) AS booking, event_type, status, attempt_count AS tries,
		CASE WHEN status <> 'done' THEN next_attempt_at <= clock_timestamp() END AS due,
		idempotency_key = event_type || ':' || dedupe_key AS same_key
	FROM capacity_outbox ORDER BY booking_id, event_type, created_at;
CREATE TABLE test.sent (n serial, id uuid, key text, attempt int);

-- the pipeline's own, whatever else is due; oldest first, each once
SELECT test.no(booking_id) AS booking, test.no(restaurant_id) AS restaurant, event_type, payload ->> 'toState' AS state, attempt,
	idempotency_key = event_type || ':' || booking_id || ':' || (payload ->> 'version') AS key
FROM assignment_v3.claim_outbox(max_rows => 2);
SELECT test.no(booking_id) AS booking, event_type FROM assignment_v3.claim_outbox();
SELECT count(*) FROM assignment_v3.claim_outbox();
SELECT * FROM test.outbox;
-- marked: not before known to be done, done already, unknown, empty
SELECT assignment_v3.complete_outbox(array_agg(id)) FROM capacity_outbox WHERE booking_id IN (test.id('b', 1), test.id('b', 2));
SELECT assignment_v3.complete_outbox(array_agg(id)) FROM capacity_outbox WHERE booking_id IN (test.id('b', 1), test.id('b', 3));
SELECT assignment_v3.complete_outbox(ARRAY[test.id('e', 99)]) AS unknown, assignment_v3.complete_outbox('{}') AS empty;
SELECT * FROM test.outbox;
-- other types only if they are named
SELECT id, event_type, idempotency_key, payload FROM assignment_v3.claim_outbox(ARRAY['capacity.assignment.sync', 'capacity.hold.confirmed']);

-- a lease that is over: the message comes again under its key, and the attempt tells the two apart
SELECT assignment_v3.reopen(test.id('b', 1));
SELECT outcome FROM test.decide(1);
INSERT INTO test.sent (id, key, attempt) SELECT id, idempotency_key, attempt FROM assignment_v3.claim_outbox(lease => '1 millisecond');
SELECT pg_sleep(0.01);
INSERT INTO test.sent (id, key, attempt) SELECT id, idempotency_key, attempt FROM assignment_v3.claim_outbox();
SELECT count(*) AS times, count(DISTINCT id) AS messages, count(DISTINCT key) AS keys, array_agg(attempt ORDER BY n) AS attempts FROM test.sent;
-- the first worker was slow: its failure is none any more, its success is one
SELECT (assignment_v3.fail_outbox(id, 'timed out', attempt)).status FROM test.sent WHERE n = 1;
SELECT * FROM test.outbox WHERE booking = 1;
SELECT assignment_v3.complete_outbox(ARRAY[id]) FROM test.sent WHERE n = 1;
SELECT f.attempt, f.status, f.next_attempt_at FROM test.sent AS s, assignment_v3.fail_outbox(s.id, 'refused', s.attempt) AS f WHERE s.n = 2;
SELECT * FROM test.outbox WHERE booking = 1;

-- failures: each waits about twice as long as the one before, an hour at the most, and the tenth is the last
SELECT assignment_v3.reopen(test.id('b', 2));
SELECT outcome FROM test.decide(2);
CREATE TABLE test.tries (attempt int, status text, seconds numeric);
DO $$
DECLARE
	message record;
	failed record;
BEGIN
	FOR i IN 1 .. 12 LOOP
		UPDATE capacity_outbox SET next_attempt_at = clock_timestamp() WHERE status = 'pending' AND event_type LIKE 'booking.assignment%';
		SELECT * INTO message FROM assignment_v3.claim_outbox();
		EXIT WHEN NOT FOUND;
		failed := assignment_v3.fail_outbox(message.id, 'no route to host');
		INSERT INTO test.tries VALUES (failed.attempt, failed.status, extract(epoch FROM failed.next_attempt_at - clock_timestamp()));
	END LOOP;
END $$;
SELECT attempt, status, seconds BETWEEN least(3600, 30 * 2 ^ (attempt - 1)) - 1 AND least(3600, 30 * 2 ^ (attempt - 1) + 5) AS as_expected
FROM test.tries ORDER BY attempt;
SELECT * FROM test.outbox WHERE booking = 2;
SELECT source, event_type, severity, context ->> 'attempt' AS attempt, context ->> 'error' AS error, context ->> 'event_type' AS message,
	(context ->> 'delay_ms')::int > 0 AS delayed, context ? 'message_id' AS id, test.no(booking_id) AS booking, test.no(restaurant_id) AS restaurant
FROM observability_events WHERE source = 'assignment.outbox' ORDER BY (context ->> 'attempt')::int DESC LIMIT 2;
-- what is dead stays so, and can be called sent by somebody who knows
SELECT f.status, f.attempt FROM capacity_outbox AS o, assignment_v3.fail_outbox(o.id) AS f WHERE o.status = 'dead';
SELECT assignment_v3.complete_outbox(array_agg(id)) FROM capacity_outbox WHERE status = 'dead';
-- workers that die on a message use up its tries as well
UPDATE capacity_outbox SET status = 'processing', attempt_count = 9, next_attempt_at = now() - interval '1 hour' WHERE booking_id = test.id('b', 3);
SELECT attempt FROM assignment_v3.claim_outbox();
UPDATE capacity_outbox SET next_attempt_at = now() - interval '1 hour' WHERE booking_id = test.id('b', 3);
SELECT attempt FROM assignment_v3.claim_outbox();
SELECT * FROM test.outbox WHERE booking = 3;
SELECT event_type, context ->> 'error' AS error FROM observability_events WHERE source = 'assignment.outbox' AND booking_id = test.id('b', 3);

-- arguments
SELECT code, message, hint FROM test.refused($$SELECT assignment_v3.claim_outbox(max_rows => 0)$$);
SELECT code, message, hint FROM test.refused($$SELECT assignment_v3.claim_outbox(lease => '0')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.claim_outbox(lease => '2 days')$$);
SELECT code, message, hint FROM test.refused($$SELECT assignment_v3.claim_outbox('{}')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.claim_outbox(ARRAY['a', NULL])$$);
SELECT count(*) FROM assignment_v3.claim_outbox(NULL, NULL, NULL);
SELECT code, message FROM test.refused($$SELECT assignment_v3.complete_outbox(NULL)$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.complete_outbox(ARRAY[NULL::uuid])$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.fail_outbox(NULL, 'x')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.fail_outbox(test.id('e', 99), 'x')$$);
BEGIN READ ONLY;
SELECT code FROM test.refused($$SELECT assignment_v3.claim_outbox()$$);
COMMIT;

-- a worker needs EXECUTE and nothing else, not even where row-level security hides the table from it
CREATE ROLE regress_mail_worker;
GRANT USAGE ON SCHEMA assignment_v3 TO regress_mail_worker;
GRANT EXECUTE ON FUNCTION assignment_v3.claim_outbox, assignment_v3.complete_outbox, assignment_v3.fail_outbox TO regress_mail_worker;
SELECT assignment_v3.reopen(test.id('b', 1));
SELECT outcome FROM test.decide(1);
GRANT USAGE ON SCHEMA test TO regress_mail_worker;
SET ROLE regress_mail_worker;
SELECT event_type, attempt FROM assignment_v3.claim_outbox();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION assignment_v3.claim_outbox FROM regress_mail_worker;
SET ROLE regress_mail_worker;
SELECT code FROM test.refused($$SELECT assignment_v3.claim_outbox()$$);
RESET ROLE;

\set ECHO none
\c :origin
DROP DATABASE :database;
DROP ROLE regress_mail_worker;
