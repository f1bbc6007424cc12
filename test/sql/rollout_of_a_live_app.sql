-- The rollout has to work on an app as it is: with enums, domains, a status of its own and rows that were there before.  Its
-- functions read and write the app's tables by SQL of their own, so a comparison of an enum with a text, or a column that
-- the app has otherwise, would break kill() on the one day it is needed.
\set database rollout_live
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/live_app.sql
CREATE EXTENSION assignment_v3;
-- all tables as they are now, and which of them have changed since
CREATE TABLE test.memory (relation text, contents text);
CREATE FUNCTION test.contents() RETURNS SETOF test.memory LANGUAGE plpgsql AS $$
DECLARE
	r regclass;
BEGIN
	FOR r IN SELECT c.oid FROM pg_class AS c WHERE c.relkind = 'r' AND c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace) LOOP
		RETURN QUERY EXECUTE format('SELECT %L, md5(coalesce(string_agg(x::text, ''|'' ORDER BY x::text), '''')) FROM %s AS x', r, r);
	END LOOP;
END $$;
CREATE PROCEDURE test.remember() LANGUAGE sql AS 'TRUNCATE test.memory; INSERT INTO test.memory SELECT * FROM test.contents()';
CREATE FUNCTION test.changed() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(c.relation, ', ' ORDER BY c.relation COLLATE "C") FROM test.contents() AS c JOIN test.memory AS m USING (relation) WHERE c.contents <> m.contents
$$;
\set ECHO all
CALL live.open(1, 2, 4, 6);
CALL live.book(1);
SELECT count(*) > 0 AS attached FROM assignment_v3.attach();

-- shadow: rehearsed, and seated by the legacy path
SELECT assignment_v3.set_rollout(NULL, 'shadow') AS unfinished;
SELECT count(assignment_v3.enter_phase('staging_shadow'));
CALL live.book(2);
DELETE FROM assignment_v3.queue;
CALL test.remember();
SELECT outcome, reason, shadow_outcome FROM assignment_v3.process_booking(live.id('b', 2));
SELECT test.changed();
CALL live.confirm(2, 101);
-- and once more, with the tables in both ledgers that legacy has given it
DELETE FROM assignment_v3.queue;
CALL test.remember();
SELECT outcome, reason, shadow_outcome FROM assignment_v3.process_booking(live.id('b', 2));
SELECT test.changed();
SELECT criterion, actual, verdict FROM assignment_v3.gate('staging_shadow');

-- on: one seated, one that nobody can seat, one that waits
SELECT name, mode, mode_then, in_flight, unfinished FROM assignment_v3.rollout_preview(100);
SELECT assignment_v3.set_rollout(live.id('a', 1), 'active', 1, 'pilot') AS unfinished;
SET client_min_messages TO error;
SELECT count(assignment_v3.enter_phase('staging_full'));
SET client_min_messages TO warning;
SELECT outcome, reason FROM assignment_v3.process_booking(live.id('b', 1));
CALL live.book(3, party => 30);
SELECT outcome, reason FROM assignment_v3.process_booking(live.id('b', 3));
CALL live.book(4);
SELECT criterion, actual, verdict FROM assignment_v3.gate('staging_full');
SELECT p.phase, count(*) FROM assignment_v3.gate_phases() AS p CROSS JOIN LATERAL assignment_v3.gate(p.phase) AS g GROUP BY p.ordinal, p.phase ORDER BY p.ordinal;

-- and off
SELECT count(assignment_v3.open_breaker(live.id('a', 1), '1 minute', 'smoke')), bool_and(assignment_v3.reset_breaker(live.id('a', 1), 'aired')) AS reset;
SELECT assignment_v3.kill('smoke') AS unfinished;
SELECT mode, state, reason, attempts, party_size FROM assignment_v3.unfinished() ORDER BY party_size;
UPDATE bookings SET status = 'waitlisted' WHERE id = live.id('b', 3);
SELECT assignment_v3.clear_rollout(live.id('a', 1)) AS unfinished;
SELECT assignment_v3.revive('aired');
SELECT relation, action, reason FROM assignment_v3.audit ORDER BY id;
SELECT event_type, severity FROM observability_events WHERE source = 'assignment.rollout' ORDER BY created_at;

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
