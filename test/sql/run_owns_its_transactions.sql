-- run() commits after each batch, so it can be called only where nobody else's work would be committed with it: never
-- inside a transaction block or a function.  It leaves the session as it was: isolation level, settings, no locks, no
-- transaction.  A procedure that committed somebody's open transaction would make their ROLLBACK a lie.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database own_transactions
\i :setup
SET assignment_v3.enabled = on;
CALL test.open(1, 2, 2);
CALL test.book(1, hour => 1);
CALL test.remember();

-- in a transaction block
BEGIN;
CALL assignment_v3.run();
\echo :SQLSTATE
ROLLBACK;
BEGIN;
SAVEPOINT s;
CALL assignment_v3.run(1);
ROLLBACK TO s;
SELECT outcome FROM assignment_v3.process_due();
ROLLBACK;
-- in a function, whatever is around it
CREATE FUNCTION test.call_run() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	CALL assignment_v3.run(NULL, NULL, n, n, n, n, n, n);
END;
$$;
SELECT * FROM test.refused('SELECT test.call_run()');
SELECT test.call_run();
-- in a DO block that is part of a transaction, and under an exception handler
BEGIN;
DO $$DECLARE n int; BEGIN CALL assignment_v3.run(NULL, NULL, n, n, n, n, n, n); END$$;
ROLLBACK;
DO $$
DECLARE
	n int;
BEGIN
	CALL assignment_v3.run(NULL, NULL, n, n, n, n, n, n);
EXCEPTION WHEN invalid_transaction_termination THEN
	RAISE WARNING '%: %', SQLSTATE, SQLERRM;
END;
$$;
-- in a statement of several
SELECT 1 AS first \; CALL assignment_v3.run();
SELECT test.changed();

-- Where it may: on its own, and in procedures that own their transactions.
DO $$
DECLARE
	n int;
	done int;
BEGIN
	CALL assignment_v3.run(NULL, NULL, done, n, n, n, n, n);
	RAISE WARNING '% processed', done;
END;
$$;
CREATE PROCEDURE test.every_night(INOUT done int) LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	CALL test.book(2, hour => 2);
	COMMIT;
	CALL assignment_v3.run(NULL, NULL, done, n, n, n, n, n);
	CALL test.book(3, hour => 3);
	ROLLBACK;
END;
$$;
CALL test.every_night(NULL);
SELECT test.no(id) AS booking, status FROM bookings ORDER BY 1;

-- It works under READ COMMITTED whatever the session's default, and leaves that as it was.
SET default_transaction_isolation = 'serializable';
CREATE TABLE test.level (booking int, isolation text);
CREATE FUNCTION test.note_level() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO test.level VALUES (test.no(NEW.id), current_setting('transaction_isolation'));
	RETURN NEW;
END;
$$;
CREATE TRIGGER a_note_level BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION test.note_level();
CALL test.book(4, hour => 4);
CALL test.book(5, hour => 5);
CALL assignment_v3.run();
SELECT DISTINCT isolation FROM test.level;
SHOW transaction_isolation;
-- a single decision is taken under the caller's level
TRUNCATE test.level;
CALL test.book(6, hour => 6);
SELECT outcome FROM test.decide(6);
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL test.book(7, hour => 7);
SELECT outcome FROM assignment_v3.process_due();
COMMIT;
SELECT * FROM test.level ORDER BY 1;
RESET default_transaction_isolation;
DROP TRIGGER a_note_level ON bookings;

-- Nothing of it is left behind in the session: settings, search_path, user, locks.
CREATE ROLE regress_drainer;
GRANT USAGE ON SCHEMA assignment_v3, test TO regress_drainer;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA assignment_v3 TO regress_drainer;
CALL test.book(8, hour => 8);
CALL test.book(9, hour => 9);
SET search_path TO test;
SET lock_timeout = '3s';
SET ROLE regress_drainer;
CALL assignment_v3.run();
SELECT CURRENT_USER, current_setting('search_path') AS search_path, current_setting('lock_timeout') AS lock_timeout;
RESET ROLE;
RESET search_path;
RESET lock_timeout;
SELECT count(*) AS locks FROM pg_locks WHERE pid = pg_backend_pid() AND locktype IN ('advisory', 'transactionid');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction;
DROP OWNED BY regress_drainer;
DROP ROLE regress_drainer;

-- An error that is thrown on ends the run, and what it has committed stays.
CREATE FUNCTION test.cancel() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE 'as if somebody had pressed ^C' USING ERRCODE = 'query_canceled'; END$$;
CREATE TRIGGER a_cancel BEFORE UPDATE ON bookings FOR EACH ROW
	WHEN (NEW.id = 'b0000000-0000-0000-0000-000000000011' AND NEW.status = 'confirmed') EXECUTE FUNCTION test.cancel();
CALL test.book(10, hour => 10);
CALL test.book(11, hour => 11);
CALL test.book(12, hour => 12);
CALL assignment_v3.run();
\echo :SQLSTATE
SELECT test.no(id) AS booking, status, assignment_state_version FROM bookings WHERE test.no(id) >= 10 ORDER BY 1;
SELECT test.no(booking_id) AS booking FROM assignment_v3.queue ORDER BY 1;
SELECT count(*) AS events FROM observability_events WHERE booking_id = test.id('b', 11);
DROP TRIGGER a_cancel ON bookings;
CALL assignment_v3.run();
SELECT * FROM assignment_v3.verify();

\c :origin
DROP DATABASE own_transactions;
