-- Whoever changes the rollout or the kill switch, by call or by hand, leaves behind who, when, and from what to what.
-- A statement by hand could slip past functions that note what they do, TRUNCATE past row triggers, and SET ROLE could
-- hide who it was.  A change that can't be audited must fail, but for the kill, which nothing may stop.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database audited
\i :setup
CALL test.open(1, 2);
CREATE FUNCTION test.audit(OUT relation text, OUT action text, OUT restaurant int, OUT reason text, OUT changed_by text, OUT before text, OUT after text)
RETURNS SETOF record LANGUAGE sql AS $$
	SELECT a.relation, a.action, test.no(a.restaurant_id), a.reason, replace(a.changed_by, SESSION_USER, 'me'),
		concat_ws(' ', a.old_row ->> 'mode', a.old_row ->> 'percent', a.old_row ->> 'reason'),
		concat_ws(' ', a.new_row ->> 'mode', a.new_row ->> 'percent', a.new_row ->> 'reason')
	FROM assignment_v3.audit AS a ORDER BY a.id
$$;

-- by call
SELECT assignment_v3.set_rollout(NULL, 'active', percent => 10, note => 'ten') AS unfinished;
SELECT assignment_v3.set_rollout(NULL, 'active', percent => 50) AS unfinished;
SELECT assignment_v3.set_rollout(test.id('a', 1), 'shadow') AS unfinished;
SELECT assignment_v3.clear_rollout(test.id('a', 1), 'no longer apart') AS unfinished;
SELECT assignment_v3.kill('smoke') AS unfinished;
SELECT assignment_v3.revive('aired');
SELECT * FROM test.audit();
SELECT bool_and(changed_at <= clock_timestamp() AND login = SESSION_USER) AS then_and_by_me,
	bool_and(CASE action WHEN 'insert' THEN old_row IS NULL WHEN 'delete' THEN new_row IS NULL
		ELSE old_row ->> 'id' = new_row ->> 'id' END) AS whole_rows
FROM assignment_v3.audit;
DELETE FROM assignment_v3.audit;

-- by hand; a statement of several rows leaves several, one that changes nothing none
INSERT INTO assignment_v3.rollout (restaurant_id, mode, note) VALUES (test.id('a', 1), 'active', 'by hand'), (test.id('a', 2), 'shadow', NULL);
UPDATE assignment_v3.rollout SET mode = 'disabled';
DELETE FROM assignment_v3.rollout WHERE restaurant_id = test.id('a', 2);
DELETE FROM assignment_v3.rollout WHERE restaurant_id = test.id('a', 2);
INSERT INTO assignment_v3.kill_switch (reason) VALUES ('by hand');
UPDATE assignment_v3.kill_switch SET reason = 'on second thoughts';
TRUNCATE assignment_v3.kill_switch;
TRUNCATE assignment_v3.rollout;
SELECT * FROM test.audit();
-- what was rolled back was never there
BEGIN;
SELECT assignment_v3.set_rollout(NULL, 'disabled') AS unfinished;
ROLLBACK;
SELECT count(*) FROM assignment_v3.audit;
DELETE FROM assignment_v3.audit;

-- somebody who has switched roles, and has no rights on the audit
CREATE ROLE audited_operator;
GRANT USAGE ON SCHEMA assignment_v3 TO audited_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON assignment_v3.rollout, assignment_v3.kill_switch TO audited_operator;
CREATE POLICY operator ON assignment_v3.rollout TO audited_operator USING (true) WITH CHECK (true);
CREATE POLICY operator ON assignment_v3.kill_switch TO audited_operator USING (true) WITH CHECK (true);
GRANT USAGE ON SCHEMA test TO audited_operator;
SET ROLE audited_operator;
SELECT code FROM test.refused($$INSERT INTO assignment_v3.rollout (mode) VALUES ('active')$$);
\set VERBOSITY terse
INSERT INTO assignment_v3.kill_switch (reason) VALUES ('at any rate');
\set VERBOSITY default
SELECT code FROM test.refused($$DELETE FROM assignment_v3.kill_switch$$);
RESET ROLE;
SELECT (SELECT count(*) FROM assignment_v3.rollout) AS rollout, (SELECT count(*) FROM assignment_v3.kill_switch) AS killed,
	(SELECT count(*) FROM assignment_v3.audit) AS audited;
GRANT INSERT ON assignment_v3.audit TO audited_operator;
CREATE POLICY operator ON assignment_v3.audit FOR INSERT TO audited_operator WITH CHECK (true);
SET ROLE audited_operator;
INSERT INTO assignment_v3.rollout (mode) VALUES ('active');
DELETE FROM assignment_v3.kill_switch;
RESET ROLE;
SELECT relation, action, changed_by, login = SESSION_USER AS logged_in_as_me FROM assignment_v3.audit ORDER BY id;

-- with the audit gone the kill still stands
DROP TABLE assignment_v3.audit;
SELECT code FROM test.refused($$SELECT assignment_v3.set_rollout(NULL, 'shadow')$$);
\set VERBOSITY terse
SELECT assignment_v3.kill('at any rate') AS unfinished;
\set VERBOSITY default
SELECT mode, reason FROM assignment_v3.mode();
-- and attach() brings it back
SELECT count(*) > 0 AS mended FROM assignment_v3.attach();
SELECT assignment_v3.revive('mended');
SELECT relation, action, reason FROM assignment_v3.audit ORDER BY id;

\c :origin
DROP DATABASE audited;
DROP ROLE audited_operator;
