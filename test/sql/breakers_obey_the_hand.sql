-- A breaker opened by hand must hold off decisions of that restaurant alone and then cool down as any other; one reset
-- by hand must let the next decision through.  Both are noted with who and why.  The coordinator writes the same rows, so
-- each could undo what the other has done.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database by_hand
\i :setup
CALL test.open(1, 8);
CALL test.open(2, 8);
SET assignment_v3.enabled = on;
CALL test.book(1);
CALL test.book(2, restaurant => 2);
CALL test.book(3, hour => 10);
CALL test.book(4, hour => 12);

SELECT until BETWEEN clock_timestamp() + interval '9 minutes' AND clock_timestamp() + interval '10 minutes' AS in_ten_minutes
FROM assignment_v3.open_breaker(test.id('a', 1), '10 minutes', 'the floor plan is wrong') AS until;
SELECT outcome, reason, delayed FROM test.decide(1);
SELECT outcome, reason FROM test.decide(2);
-- longer, and shorter
SELECT count(assignment_v3.open_breaker(test.id('a', 1), '1 hour', 'still wrong'));
SELECT count(assignment_v3.open_breaker(test.id('a', 1), '0.01 s', 'nearly right'));
SELECT pg_sleep(0.02);
-- half-open: two successes close it
SELECT outcome FROM test.decide(1);
SELECT count(*), count(open_until) AS half_open FROM assignment_v3.circuits;
SELECT outcome FROM test.decide(3);
SELECT count(open_until) AS open FROM assignment_v3.circuits;

-- reset: the next decision goes ahead
SELECT count(assignment_v3.open_breaker(test.id('a', 1), '10 minutes', 'again'));
SELECT outcome, reason FROM test.decide(4);
SELECT assignment_v3.reset_breaker(test.id('a', 1), 'all is well') AS reset;
SELECT assignment_v3.reset_breaker(test.id('a', 1), 'all is well') AS reset;
SELECT outcome FROM test.decide(4);

SELECT relation, action, test.no(restaurant_id) AS restaurant, reason, old_row IS NOT NULL AS had, new_row IS NOT NULL AS has, changed_by = CURRENT_USER AS by_me
FROM assignment_v3.audit ORDER BY id;
SELECT event_type, severity, test.no(restaurant_id) AS restaurant, context - '{by,until,restaurant_id}'::text[] AS context
FROM observability_events WHERE source = 'assignment.rollout' ORDER BY created_at, event_type;

SELECT code, message, hint FROM test.refused($$SELECT assignment_v3.open_breaker(NULL, '1 hour', 'x')$$);
SELECT code, message, hint FROM test.refused($$SELECT assignment_v3.open_breaker(test.id('a', 1), '-1 hour', 'x')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.open_breaker(test.id('a', 1), NULL, 'x')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.open_breaker(test.id('a', 1), '1 hour', ' ')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.open_breaker(test.id('a', 9), '1 hour', 'x')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.reset_breaker(NULL, 'x')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.reset_breaker(test.id('a', 1), NULL)$$);

\c :origin
DROP DATABASE by_hand;
