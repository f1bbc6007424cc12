-- enter_phase(), sign_off() and record_incident() must write down who, when and what, for the phase that is meant, and
-- refuse what nobody would find again: a phase or a role of another name, a signature without a name or before the phase.
-- Going on without having earned it is allowed, since somebody must be able to; but it is said aloud and kept.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database phases
\i :setup
CALL test.open(1, 2);

SELECT code, message, detail FROM test.refused($$SELECT assignment_v3.sign_off('staging_shadow', 'qa', 'Ada')$$);
SELECT assignment_v3.enter_phase('staging_shadow', ' first try ') AS entered \gset
SELECT assignment_v3.sign_off('staging_shadow', 'On-Call', ' Ada ') AS signed \gset
SELECT assignment_v3.record_incident('p2', 'a table too many') AS happened \gset
SELECT (SELECT entered_at FROM assignment_v3.phases) = :'entered' AND (SELECT signed_at FROM assignment_v3.sign_offs) = :'signed'
	AND (SELECT occurred_at FROM assignment_v3.incidents) = :'happened' AS kept_as_returned;
SELECT count(assignment_v3.enter_phase('staging_full'));
SELECT count(assignment_v3.sign_off('staging_full', r, 'Bea', 'looked at it')) FROM unnest(ARRAY['QA', 'engineering', 'Product Owner', 'on_call']) AS r;
SELECT phase, earned, note, entered_by = CURRENT_USER AS by_me FROM assignment_v3.phases ORDER BY id;
SELECT phase, role, name, note, signed_by = CURRENT_USER AS by_me FROM assignment_v3.sign_offs ORDER BY id;
SELECT severity, note, recorded_by = CURRENT_USER AS by_me FROM assignment_v3.incidents;
SELECT event_type, severity, context - 'by' AS context FROM observability_events WHERE source = 'assignment.rollout' ORDER BY created_at;

-- earned: development needs one confirmation and nothing wrong
SELECT count(assignment_v3.enter_phase('development'));
SELECT criterion, actual, verdict FROM assignment_v3.gate('development');
SET assignment_v3.enabled = on;
CALL test.book(1);
SELECT outcome FROM test.decide(1);
SELECT criterion, actual, verdict FROM assignment_v3.gate('development');
SELECT assignment_v3.gate_passed('development');
DELETE FROM booking_table_assignments;
SELECT criterion, actual, verdict FROM assignment_v3.gate('development') WHERE verdict <> 'pass';

-- a signature counts for the phase as it was entered last
SELECT actual, verdict FROM assignment_v3.gate('staging_full') WHERE criterion = 'sign-off by qa';
SELECT count(assignment_v3.enter_phase('staging_full', 'second try'));
SELECT actual, verdict FROM assignment_v3.gate('staging_full') WHERE criterion = 'sign-off by qa';

-- whoever watches may ask, and sees the same; whoever can't see everything is not told that all is well
CREATE ROLE phases_watcher;
GRANT USAGE ON SCHEMA test TO phases_watcher;
SELECT count(*) > 0 AS granted FROM assignment_v3.grant_monitoring('phases_watcher');
CREATE TABLE test.seen AS SELECT p.phase, g.criterion, g.actual, g.verdict FROM assignment_v3.gate_phases() AS p CROSS JOIN LATERAL assignment_v3.gate(p.phase) AS g
WHERE p.mode = 'active' AND p.phase <> 'development';
GRANT SELECT ON test.seen TO phases_watcher;
SET ROLE phases_watcher;
SELECT count(*) AS differ FROM (
	TABLE test.seen EXCEPT ALL
	SELECT phase, g.criterion, g.actual, g.verdict FROM unnest(ARRAY['staging_full', 'production_10', 'production_50', 'production_100']) AS phase
	CROSS JOIN LATERAL assignment_v3.gate(phase) AS g) AS d;
SELECT count(*) AS unfinished FROM assignment_v3.unfinished();
SELECT count(*) AS would_flip FROM assignment_v3.rollout_preview(100);
SELECT code FROM test.refused($$SELECT assignment_v3.enter_phase('development')$$);
SELECT code FROM test.refused($$SELECT assignment_v3.set_rollout(NULL, 'active')$$);
RESET ROLE;
ALTER TABLE assignment_v3.incidents FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS assignment_v3_monitoring ON assignment_v3.incidents;
SELECT policyname FROM pg_policies WHERE tablename = 'incidents';
SET ROLE phases_watcher;
SELECT code FROM test.refused($$SELECT * FROM assignment_v3.gate('production_100')$$);
RESET ROLE;
SELECT count(*) > 0 AS revoked FROM assignment_v3.revoke_monitoring('phases_watcher');

SELECT code, message, hint FROM test.refused($$SELECT assignment_v3.enter_phase('production')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.enter_phase(NULL)$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.gate('production')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.gate_passed(NULL)$$);
SELECT code, message, hint FROM test.refused($$SELECT assignment_v3.sign_off('staging_full', 'boss', 'Cy')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.sign_off('staging_full', NULL, 'Cy')$$);
SELECT code, message, hint FROM test.refused($$SELECT assignment_v3.sign_off('staging_full', 'qa', ' ')$$);
SELECT code, message, detail, hint FROM test.refused($$SELECT assignment_v3.sign_off('development', 'qa', 'Cy')$$);
SELECT code, message, hint FROM test.refused($$SELECT assignment_v3.record_incident('loud', 'bang')$$);
SELECT code, message FROM test.refused($$SELECT assignment_v3.record_incident('P1', '')$$);
BEGIN READ ONLY;
SELECT code FROM test.refused($$SELECT assignment_v3.enter_phase('development')$$);
COMMIT;

\c :origin
DROP DATABASE phases;
DROP ROLE phases_watcher;
