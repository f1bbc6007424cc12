-- Raising the percentage adds restaurants and never takes one out; the share is what it says, for whatever ids; and
-- who is in is the same in every session, by the setting and by the fleet's row.  A random or badly salted choice would
-- move restaurants between the new path and the old one with each call or each step of the rollout.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database sticky_share
\i :setup
CREATE TABLE test.restaurant (id uuid PRIMARY KEY, kind text NOT NULL);
-- random ids, and ids that count
INSERT INTO test.restaurant SELECT md5('restaurant ' || n)::uuid, 'random' FROM generate_series(1, 1000) AS n;
INSERT INTO test.restaurant SELECT test.id('a', n), 'counted' FROM generate_series(1, 1000) AS n;
CREATE TABLE test.share (percent int, id uuid, reached boolean, PRIMARY KEY (percent, id));
CREATE PROCEDURE test.measure(percents int[]) LANGUAGE plpgsql AS $$
DECLARE
	p int;
BEGIN
	FOREACH p IN ARRAY percents LOOP
		PERFORM set_config('assignment_v3.rollout_percent', p::text, false);
		INSERT INTO test.share SELECT p, r.id, (assignment_v3.mode(r.id)).mode = 'active' FROM test.restaurant AS r;
	END LOOP;
	PERFORM set_config('assignment_v3.rollout_percent', '100', false);
END;
$$;
SET assignment_v3.enabled = on;
CALL test.measure('{0, 5, 10, 25, 50, 75, 100}');

-- within three standard deviations of the binomial distribution
SELECT s.percent, r.kind, abs(count(*) FILTER (WHERE s.reached) - 10.0 * s.percent)
	<= 3 * sqrt(1000 * s.percent / 100.0 * (1 - s.percent / 100.0)) AS about_right
FROM test.share AS s JOIN test.restaurant AS r USING (id) GROUP BY 1, 2 ORDER BY 1, 2;
-- nobody is in at a lower percentage and out at a higher one
SELECT count(*) AS taken_out FROM test.share AS low JOIN test.share AS high USING (id)
WHERE low.percent < high.percent AND low.reached AND NOT high.reached;
-- and each step adds some
SELECT count(*) AS steps, count(*) FILTER (WHERE reached > before) AS that_add
FROM (
	SELECT percent, count(*) FILTER (WHERE reached) AS reached,
		lag(count(*) FILTER (WHERE reached)) OVER (ORDER BY percent) AS before
	FROM test.share GROUP BY percent
) AS step WHERE before IS NOT NULL;
-- shares of different kinds of ids are not the same restaurants in disguise
SELECT count(*) BETWEEN 400 AND 600 AS independent FROM generate_series(1, 1000) AS n
JOIN test.share AS s ON s.percent = 50 AND s.id = md5('restaurant ' || n)::uuid
JOIN test.share AS t ON t.percent = 50 AND t.id = test.id('a', n)
WHERE s.reached = t.reached;

-- the same in another session, and by the fleet's row
\c :database
SET assignment_v3.enabled = on;
SET assignment_v3.rollout_percent = 25;
SELECT count(*) AS moved FROM test.share AS s
WHERE percent = 25 AND reached <> ((assignment_v3.mode(s.id)).mode = 'active');
RESET assignment_v3.enabled;
RESET assignment_v3.rollout_percent;
INSERT INTO assignment_v3.rollout (mode, percent) VALUES ('active', 25);
SELECT count(*) AS moved FROM test.share AS s
WHERE percent = 25 AND reached <> ((assignment_v3.mode(s.id)).mode = 'active');
SELECT (assignment_v3.mode(id)).reason, bool_and(reached) AS all_reached, bool_or(reached) AS any_reached
FROM test.share WHERE percent = 25 GROUP BY 1 ORDER BY 1;
-- and decisions follow
CALL test.open(1, 2);
CALL test.open(2, 2);
CALL test.book(1, restaurant => 1);
CALL test.book(2, restaurant => 2);
SELECT n AS restaurant, (SELECT reached FROM test.share WHERE percent = 25 AND id = test.id('a', n))
	= (d.outcome = 'confirmed') AS follows
FROM generate_series(1, 2) AS n CROSS JOIN LATERAL test.decide(n) AS d ORDER BY n;

\c :origin
DROP DATABASE sticky_share;
