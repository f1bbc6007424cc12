-- set_rollout() must write the row that every call reads, for a restaurant or the fleet, and clear_rollout() take it
-- away.  What a call leaves out keeps its value: lowering max_parallel in a hurry by a call that reset the percentage
-- would send the whole fleet live.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database rollout_by_call
\i :setup
CALL test.open(1, 2);
CALL test.open(2, 2);
CREATE FUNCTION test.rows(OUT restaurant int, OUT mode text, OUT max_parallel int, OUT percent int, OUT note text, OUT by_me boolean)
RETURNS SETOF record LANGUAGE sql AS $$
	SELECT test.no(r.restaurant_id), r.mode, r.max_parallel, r.percent, r.note, r.set_by = CURRENT_USER
	FROM assignment_v3.rollout AS r ORDER BY 1 NULLS FIRST
$$;

SELECT assignment_v3.set_rollout(test.id('a', 1), 'shadow') AS unfinished;
SELECT assignment_v3.set_rollout(NULL, 'active', 4, 'the first ten', 10) AS unfinished;
SELECT * FROM test.rows();
-- each call of a decision reads it
CALL test.book(1);
SELECT outcome, reason, mode FROM test.decide(1);
SELECT assignment_v3.set_rollout(test.id('a', 1), 'active', max_parallel => 1, note => '  pilot ') AS unfinished;
SELECT outcome, mode FROM test.decide(1);

-- what is left out stays, but for the note, which belongs to its call
SELECT assignment_v3.set_rollout(NULL, 'active', 2) AS unfinished;
SELECT assignment_v3.set_rollout(test.id('a', 1), 'disabled') AS unfinished;
SELECT * FROM test.rows();
SELECT assignment_v3.set_rollout(NULL, 'disabled', note => 'back') AS unfinished;
SELECT assignment_v3.set_rollout(NULL, 'active', percent => 0, note => ' ') AS unfinished;
SELECT * FROM test.rows();
SELECT set_at > (SELECT min(changed_at) FROM assignment_v3.audit) AS set_anew FROM assignment_v3.rollout WHERE restaurant_id IS NULL;

-- taken away; a second time there is nothing to take
SELECT assignment_v3.clear_rollout(NULL, 'starting over') AS unfinished;
SELECT assignment_v3.clear_rollout(test.id('a', 1)) AS unfinished;
SET client_min_messages TO notice;
\set VERBOSITY terse
SELECT assignment_v3.clear_rollout(NULL) AS unfinished;
SET client_min_messages TO warning;
\set VERBOSITY default
SELECT * FROM test.rows();
SELECT mode, reason FROM assignment_v3.mode(test.id('a', 1));

-- each leaves an event
SELECT event_type, severity, test.no(restaurant_id) AS restaurant, context - '{by,restaurant_id}'::text[] AS context
FROM observability_events WHERE source = 'assignment.rollout' ORDER BY created_at;

-- what is refused
SELECT code, message, hint FROM test.refused($$SELECT assignment_v3.set_rollout(NULL, 'on')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.set_rollout(NULL, NULL)$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.set_rollout(NULL, 'active', 0)$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.set_rollout(NULL, 'active', 21)$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.set_rollout(NULL, 'active', percent => 101)$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.set_rollout(NULL, 'active', percent => -1)$$);
SELECT code, message, hint FROM test.refused($$SELECT assignment_v3.set_rollout(test.id('a', 1), 'active', percent => 10)$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.set_rollout(test.id('a', 9), 'active')$$);
BEGIN READ ONLY;
SELECT code FROM test.refused($$SELECT assignment_v3.set_rollout(NULL, 'active')$$);
COMMIT;
SELECT * FROM test.rows();

\c :origin
DROP DATABASE rollout_by_call;
