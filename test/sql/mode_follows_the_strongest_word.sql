-- What a restaurant does follows from the strongest word said about it: the kill row, its own rollout row, the fleet's,
-- "enabled" with its percentage, "shadow", and disabled where nobody has spoken.  A weaker word that got through would
-- be a rollback that does not roll back.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database strongest_word
\i :setup
CALL test.open(1, 8);
CALL test.open(2, 8);

CREATE PROCEDURE test.say(restaurant int, mode text, max_parallel int DEFAULT NULL, percent int DEFAULT NULL)
LANGUAGE sql AS $$
	INSERT INTO assignment_v3.rollout (restaurant_id, mode, max_parallel, percent)
	VALUES (test.id('a', restaurant), say.mode, say.max_parallel, say.percent)
	ON CONFLICT (restaurant_id) DO UPDATE
	SET mode = excluded.mode, max_parallel = excluded.max_parallel, percent = excluded.percent
$$;
CREATE FUNCTION test.modes(OUT restaurant text, OUT one text, OUT other text, OUT fleet text) LANGUAGE sql AS $$
	SELECT 'mode (reason)', max(m.mode || ' (' || m.reason || ')') FILTER (WHERE r.n = 1),
		max(m.mode || ' (' || m.reason || ')') FILTER (WHERE r.n = 2),
		max(m.mode || ' (' || m.reason || ')') FILTER (WHERE r.n IS NULL)
	FROM (VALUES (1), (2), (NULL)) AS r (n) CROSS JOIN LATERAL assignment_v3.mode(test.id('a', r.n)) AS m
$$;

-- one word after the other, each stronger than all before
SELECT one, other, fleet FROM test.modes();
SET assignment_v3.shadow = on;
SELECT one, other, fleet FROM test.modes();
SET assignment_v3.enabled = on;
SELECT one, other, fleet FROM test.modes();
CALL test.say(NULL, 'shadow');
SELECT one, other, fleet FROM test.modes();
CALL test.say(NULL, 'disabled');
SELECT one, other, fleet FROM test.modes();
CALL test.say(1, 'active');
SELECT one, other, fleet FROM test.modes();
SELECT assignment_v3.kill('smoke');
SELECT one, other, fleet FROM test.modes();

-- and each is what decisions follow, at the next call
CALL test.book(1);
SELECT outcome, reason, mode FROM test.decide(1);
SELECT assignment_v3.revive('aired');
SELECT one, other, fleet FROM test.modes();
SELECT outcome, reason, mode FROM test.decide(1);
CALL test.book(2, restaurant => 2);
SELECT outcome, reason, mode FROM test.decide(2);
CALL test.say(NULL, 'shadow');
SELECT outcome, reason, mode FROM test.decide(2);
CALL test.say(2, 'disabled');
SELECT outcome, reason, mode FROM test.decide(2);
CALL test.say(2, 'active');
SELECT outcome, reason, mode FROM test.decide(2);
-- a disabled restaurant queues nothing
CALL test.say(1, 'disabled');
CALL test.book(3);
CALL test.book(4, restaurant => 2, hour => 12);
SELECT test.no(booking_id) AS booking FROM assignment_v3.queue;
DELETE FROM assignment_v3.rollout;
DELETE FROM assignment_v3.queue;

-- A restaurant outside the percentage goes on to the next word: shadow, or disabled.
SET assignment_v3.rollout_percent = 0;
SELECT one, other, fleet FROM test.modes();
SET assignment_v3.shadow = off;
SELECT one, other, fleet FROM test.modes();
-- its own row asks for no percentage
CALL test.say(1, 'active');
SELECT one, other, fleet FROM test.modes();
-- the fleet's row has one of its own, or takes the setting's
CALL test.say(NULL, 'active');
SELECT one, other, fleet FROM test.modes();
CALL test.say(NULL, 'active', percent => 100);
SELECT one, other, fleet FROM test.modes();
SET assignment_v3.rollout_percent = 100;
CALL test.say(NULL, 'active', percent => 0);
SELECT one, other, fleet FROM test.modes();
SET assignment_v3.shadow = on;
SELECT one, other, fleet FROM test.modes();
DELETE FROM assignment_v3.rollout;
RESET assignment_v3.shadow;
RESET assignment_v3.enabled;
RESET assignment_v3.rollout_percent;

-- What the table refuses.
SELECT code FROM test.refused($$CALL test.say(1, 'banana')$$);
SELECT code FROM test.refused($$CALL test.say(1, 'active', percent => 10)$$);
SELECT code FROM test.refused($$CALL test.say(NULL, 'active', percent => 101)$$);
SELECT code FROM test.refused($$CALL test.say(1, 'active', 0)$$);
SELECT code FROM test.refused($$CALL test.say(1, 'active', 21)$$);
SELECT code FROM test.refused($$INSERT INTO assignment_v3.rollout (mode) VALUES ('active'), ('shadow')$$);

-- The kill switch: who, when, why; a second kill leaves the first, and an empty reason is none.
SELECT assignment_v3.kill('oven on fire');
SELECT reason, killed_by = CURRENT_USER AS by_me, killed_at <= clock_timestamp() AS then FROM assignment_v3.kill_switch;
SET client_min_messages TO notice;
\set VERBOSITY terse
SELECT assignment_v3.kill('still burning');
\set VERBOSITY default
SELECT reason FROM assignment_v3.kill_switch;
SELECT code, message, hint FROM test.refused($$SELECT assignment_v3.kill('')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.kill(NULL)$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.revive(E' \t')$$);
SELECT count(*) AS killed FROM assignment_v3.kill_switch;
SELECT assignment_v3.revive('put out');
SELECT assignment_v3.revive('put out');
SELECT count(*) AS killed FROM assignment_v3.kill_switch;
SELECT event_type, severity, (context #- '{killed,at}' #- '{killed,by}') - 'by' AS context FROM observability_events
WHERE source = 'assignment.rollout' ORDER BY created_at, ctid OFFSET 2;
SET client_min_messages TO warning;
BEGIN READ ONLY;
SELECT code FROM test.refused($$SELECT assignment_v3.kill('no pen')$$);
COMMIT;

\c :origin
DROP DATABASE strongest_word;
