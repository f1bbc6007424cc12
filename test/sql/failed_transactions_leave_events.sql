-- What a rollback takes with it is told all the same: a refused step, a version conflict, an error that is thrown on or
-- whose caller rolls back, are recorded by the session's next call, with the time at which they happened.  Were they
-- lost, error rates and alerts would be at their best when everything fails.  And what is recorded late must be recorded
-- once, and must never hinder the call that does it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database survivors
\i :setup
SET assignment_v3.enabled = on;
SET log_min_messages TO fatal;
CALL test.open(1, 2, 2);
CREATE FUNCTION test.late(OUT booking int, OUT event_type text, OUT severity text, OUT context jsonb) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT test.no(booking_id), event_type, severity, context - 'message' FROM observability_events
	WHERE context ? 'late' ORDER BY created_at, ctid
$$;
CREATE FUNCTION test.stats() RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(counter || ' ' || value, ', ') FROM assignment_v3.stats() WHERE value > 0$$;
SELECT counter, value, meaning FROM assignment_v3.stats();

-- A refused step, a stale version through transition() and in a plain UPDATE, and an edge that a plain UPDATE must not take.
CALL test.book(1);
CALL test.book(2, hour => 21);
SELECT * FROM test.refused($$SELECT assignment_v3.transition(test.id('b', 1), 'confirmed')$$);
\set ON_ERROR_STOP off
\set VERBOSITY sqlstate
SELECT assignment_v3.transition(test.id('b', 1), 'failed', 7);
BEGIN;
UPDATE bookings SET assignment_state_version = 9, party_size = 1 WHERE id = test.id('b', 1);
ROLLBACK;
UPDATE bookings SET assignment_state = 'assigned' WHERE id = test.id('b', 1);
SELECT assignment_v3.requeue(test.id('b', 1));
SELECT assignment_v3.assign(test.id('b', 1), ARRAY[test.id('d', 999)]);
SELECT assignment_v3.transition(test.id('b', 99), 'failed');
SELECT count(*) AS not_yet FROM test.late();
SELECT clock_timestamp() AS before \gset
SELECT outcome FROM test.decide(2);
SELECT * FROM test.late();
SELECT count(*) AS with_their_own_time FROM observability_events WHERE context ? 'late' AND created_at < :'before';
SELECT count(DISTINCT restaurant_id) AS restaurants FROM observability_events WHERE context ? 'late';
-- once
SELECT outcome FROM test.decide(2);
SELECT count(*) AS late FROM test.late();
SELECT test.stats();

-- The next call is rolled back as well, whole or to a savepoint: it does not count.
DELETE FROM observability_events;
SELECT assignment_v3.requeue(test.id('b', 1));
BEGIN;
SELECT outcome FROM test.decide(2);
SELECT count(*) AS late FROM test.late();
ROLLBACK;
SELECT count(*) AS late FROM test.late();
BEGIN;
SAVEPOINT s;
SELECT outcome FROM test.decide(2);
RELEASE s;
SAVEPOINT s;
SELECT assignment_v3.requeue(test.id('b', 1));
ROLLBACK TO s;
SAVEPOINT t;
SELECT outcome FROM test.decide(2);
SELECT count(*) AS late FROM test.late();
ROLLBACK TO t;
SELECT count(*) AS late FROM test.late();
COMMIT;
-- a session that never commits does not write them again with each call
\set VERBOSITY terse
DO $$
BEGIN
	PERFORM test.refused($q$SELECT assignment_v3.requeue(test.id('b', 1))$q$);
	COMMIT;
	FOR n IN 1..8 LOOP
		PERFORM test.decide(2);
		RAISE WARNING 'call %: % late events', n, (SELECT count(*) FROM test.late());
		ROLLBACK;
	END LOOP;
END $$;
\set VERBOSITY sqlstate
-- any change of a booking will do
UPDATE bookings SET party_size = 1 WHERE id = test.id('b', 1);
SELECT count(*) AS late FROM test.late();

-- An error of a decision: told at once where the caller commits, late where he rolls back.
DELETE FROM observability_events;
CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not today'; END$$;
CREATE FUNCTION test.cancel() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'cancelled' USING ERRCODE = 'query_canceled'; END$$;
CREATE TRIGGER refuse BEFORE INSERT ON booking_table_assignments FOR EACH ROW EXECUTE FUNCTION test.refuse();
SELECT outcome, reason FROM test.decide(1);
SELECT outcome, reason FROM test.decide(1);
SELECT count(*) AS late FROM test.late();
BEGIN;
SELECT outcome, reason FROM test.decide(1, 'job');
ROLLBACK;
DO $$
BEGIN
	PERFORM test.decide(1, 'block');
	RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN NULL;
END $$;
DROP TRIGGER refuse ON booking_table_assignments;
-- and one that is thrown on, as if somebody had cancelled the call here
CREATE TRIGGER cancel BEFORE INSERT ON booking_table_assignments FOR EACH ROW EXECUTE FUNCTION test.cancel();
SELECT assignment_v3.process_booking(test.id('b', 1), 'an "odd" trigger');
DROP TRIGGER cancel ON booking_table_assignments;
SELECT outcome, reason FROM test.decide(2);
SELECT * FROM test.late();
SELECT test.stats();

-- A step that the app makes fail.
DELETE FROM observability_events;
CREATE TRIGGER refuse BEFORE INSERT ON booking_assignment_state_history FOR EACH ROW EXECUTE FUNCTION test.refuse();
SELECT assignment_v3.transition(test.id('b', 1), 'failed');
DROP TRIGGER refuse ON booking_assignment_state_history;
SELECT outcome, reason FROM test.decide(2);
SELECT * FROM test.late();

-- A rehearsal whose events could not be written.
DELETE FROM observability_events;
SET assignment_v3.enabled = off;
SET assignment_v3.shadow = on;
CALL test.book(3, hour => 30);
CREATE TRIGGER refuse BEFORE INSERT ON observability_events FOR EACH ROW EXECUTE FUNCTION test.refuse();
SELECT outcome, shadow_outcome FROM test.decide(3);
DROP TRIGGER refuse ON observability_events;
SET assignment_v3.shadow = off;
SET assignment_v3.enabled = on;
SELECT outcome, reason FROM test.decide(2);
SELECT event_type, context -> 'mode' AS mode, context -> 'message' IS NOT NULL AS message FROM test.late();

-- A hundred are kept; the oldest give way, and are counted.
DELETE FROM observability_events;
DO $$
BEGIN
	FOR n IN 1..110 LOOP
		PERFORM test.refused(format('SELECT assignment_v3.transition(test.id(''b'', 1), ''failed'', 1000 + %s)', n));
	END LOOP;
END $$;
SELECT outcome FROM test.decide(2);
SELECT count(*) AS late FROM test.late();
SELECT test.stats();

-- Events that can't be written hinder nobody, and are given up after the third time.
CREATE TRIGGER refuse BEFORE INSERT ON observability_events FOR EACH ROW WHEN (NEW.context ? 'late') EXECUTE FUNCTION test.refuse();
SELECT assignment_v3.requeue(test.id('b', 1));
SELECT outcome FROM test.decide(2);
SELECT outcome FROM test.decide(2);
SELECT outcome FROM test.decide(2);
DROP TRIGGER refuse ON observability_events;
SELECT outcome FROM test.decide(2);
SELECT count(*) AS late FROM test.late();
SELECT test.stats();

-- A read-only transaction waits for one that writes, and so does an earlier call that is not attached.
SELECT assignment_v3.requeue(test.id('b', 1));
BEGIN READ ONLY;
SELECT outcome FROM test.decide(2);
ROLLBACK;
SELECT outcome FROM test.decide(2);
SELECT count(*) AS late FROM test.late();
SELECT assignment_v3.requeue(test.id('b', 1));

-- The end of the session is the end of what it has not told.
\c
SET assignment_v3.enabled = on;
SELECT outcome FROM test.decide(2);
SELECT count(*) AS late FROM test.late();
-- nothing of this has been written into the app's trail
SELECT * FROM assignment_v3.verify();

\c :origin
DROP DATABASE survivors;
