-- A constraint that the app has deferred to the end of the transaction is checked before the answer is given, so that
-- its failure belongs to the decision and not to the caller's COMMIT, where a confirmed answer would be taken back.  A
-- ledger whose exclusion constraint is deferrable takes no ON CONFLICT; it is checked at once and a conflict is a race
-- lost to another writer.  All this can change while a session has its plans.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database deferred_constraints
\i :setup
SET assignment_v3.enabled = on;
SET assignment_v3.breaker_threshold = 1000;
CALL test.open(1, 2, 2, 2);
CALL test.book(1, hour => 1);
SELECT outcome, reason FROM test.decide(1);

CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'refused by %', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END;
$$;
-- on one relation after the other: the answer is an error, the commit is not
CREATE PROCEDURE test.refuse_on(relation regclass, events text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE CONSTRAINT TRIGGER refuse AFTER %s ON %s DEFERRABLE INITIALLY DEFERRED '
		'FOR EACH ROW EXECUTE FUNCTION test.refuse()', events, relation);
END;
$$;
CALL test.book(2, hour => 2);
CALL test.refuse_on('bookings', 'UPDATE');
BEGIN;
SELECT outcome, reason FROM test.decide(2);
COMMIT;
DROP TRIGGER refuse ON bookings;
CALL test.refuse_on('booking_table_assignments', 'INSERT');
BEGIN;
SELECT outcome, reason FROM test.decide(2);
COMMIT;
DROP TRIGGER refuse ON booking_table_assignments;
CALL test.refuse_on('booking_assignment_state_history', 'INSERT');
BEGIN;
SELECT outcome, reason FROM test.decide(2);
COMMIT;
DROP TRIGGER refuse ON booking_assignment_state_history;
CALL test.refuse_on('capacity_outbox', 'INSERT');
BEGIN;
SELECT outcome, reason FROM test.decide(2);
COMMIT;
SELECT context ->> 'message' AS message, context ->> 'sqlstate' AS sqlstate
FROM observability_events WHERE event_type = 'coordinator.error' ORDER BY created_at, ctid;
SELECT assignment_state, assignment_state_version, status FROM bookings WHERE id = test.id('b', 2);
SELECT count(*) AS seated FROM booking_table_assignments WHERE booking_id = test.id('b', 2);
-- a run in which every booking meets it, the review too
CALL test.book(3, hour => 3);
CALL test.book(4, hour => 4);
SET assignment_v3.max_attempts = 1;
CALL assignment_v3.run();
SELECT test.no(booking_id) AS booking, attempt_no, result, reason FROM booking_assignment_attempts
WHERE test.no(booking_id) IN (3, 4) ORDER BY 1;
RESET assignment_v3.max_attempts;
DROP TRIGGER refuse ON capacity_outbox;
SELECT n AS booking, d.outcome FROM generate_series(2, 4) AS n CROSS JOIN LATERAL test.decide(n) AS d ORDER BY n;

-- What the app does check at the end, and what holds then, is fine: here, that a confirmed booking has seats enough.
CREATE FUNCTION test.enough_seats() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.party_size > (SELECT sum(t.capacity) FROM booking_table_assignments AS a
			JOIN table_inventory AS t ON t.id = a.table_id WHERE a.booking_id = NEW.id) THEN
		RAISE 'booking % has too few seats', NEW.id USING ERRCODE = 'check_violation';
	END IF;
	RETURN NULL;
END;
$$;
CREATE CONSTRAINT TRIGGER enough_seats AFTER UPDATE ON bookings DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN (NEW.status = 'confirmed') EXECUTE FUNCTION test.enough_seats();
CALL test.book(5, hour => 5);
SELECT outcome, reason, version FROM test.decide(5);
-- a rehearsal meets the same constraints, and takes them with it
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON booking_table_assignments DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION test.refuse();
SET assignment_v3.enabled = off;
SET assignment_v3.shadow = on;
CALL test.book(6, hour => 6);
CALL test.remember();
BEGIN;
SELECT outcome, reason, shadow_outcome FROM test.decide(6);
COMMIT;
SELECT test.changed();
DROP TRIGGER refuse ON booking_table_assignments;
UPDATE bookings SET party_size = 1 WHERE id = test.id('b', 6);
CALL test.remember();
BEGIN;
SELECT outcome, reason, shadow_outcome FROM test.decide(6);
COMMIT;
SELECT test.changed();
SET assignment_v3.enabled = on;
SET assignment_v3.shadow = off;

-- The ledger's own constraint, deferrable in all three ways.  Another writer puts somebody at each table just before we do.
CREATE FUNCTION test.be_faster() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at)
	SELECT test.id('b', 7), NEW.table_id, NEW.start_at, NEW.end_at WHERE NEW.booking_id <> test.id('b', 7);
	RETURN NEW;
END;
$$;
CREATE PROCEDURE test.defer_ledger(how text) LANGUAGE plpgsql AS $$
BEGIN
	ALTER TABLE booking_table_assignments DROP CONSTRAINT IF EXISTS booking_table_assignments_no_overlap;
	EXECUTE 'ALTER TABLE booking_table_assignments ADD CONSTRAINT booking_table_assignments_no_overlap '
		'EXCLUDE USING gist (table_id WITH =, tstzrange(start_at, end_at, ''[)'') WITH &&) ' || how;
END;
$$;
CALL test.book(7, hour => 7);
CALL test.book(8, hour => 8);
CALL test.book(9, hour => 9);
CALL test.book(10, hour => 10);
CREATE TRIGGER be_faster BEFORE INSERT ON booking_table_assignments FOR EACH ROW EXECUTE FUNCTION test.be_faster();
ALTER TABLE booking_table_assignments DISABLE TRIGGER be_faster;

CALL test.defer_ledger('DEFERRABLE INITIALLY DEFERRED');
ALTER TABLE booking_table_assignments ENABLE TRIGGER be_faster;
CALL test.remember();
BEGIN;
SELECT outcome, reason, tables, attempt FROM test.decide(8);
COMMIT;
SELECT test.changed();
SELECT count(*) AS errors FROM observability_events WHERE booking_id = test.id('b', 8) AND event_type = 'coordinator.error';
ALTER TABLE booking_table_assignments DISABLE TRIGGER be_faster;
BEGIN;
SELECT outcome, reason, tables, attempt FROM test.decide(8);
COMMIT;

-- what the caller has deferred stays deferred after a decision: here two bookings swap their tables
CALL test.book(12, hour => 8);
SELECT outcome, tables FROM test.decide(12);
CALL test.book(13, hour => 13);
BEGIN;
SELECT outcome, tables FROM test.decide(13);
UPDATE booking_table_assignments SET table_id = test.id('d', 102) WHERE booking_id = test.id('b', 8);
UPDATE booking_table_assignments SET table_id = test.id('d', 101) WHERE booking_id = test.id('b', 12);
COMMIT;
SELECT test.no(booking_id) AS booking, test.no(table_id) AS table_no FROM booking_table_assignments
WHERE booking_id IN (test.id('b', 8), test.id('b', 12)) ORDER BY 1;

CALL test.defer_ledger('DEFERRABLE INITIALLY IMMEDIATE');
ALTER TABLE booking_table_assignments ENABLE TRIGGER be_faster;
SELECT outcome, reason, tables, attempt FROM test.decide(9);
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
SELECT outcome, reason, tables, attempt FROM test.decide(9);
COMMIT;
ALTER TABLE booking_table_assignments DISABLE TRIGGER be_faster;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
SELECT outcome, reason, tables, attempt FROM test.decide(9);
COMMIT;

-- and not deferrable again
CALL test.defer_ledger('');
ALTER TABLE booking_table_assignments ENABLE TRIGGER be_faster;
SELECT outcome, reason, tables, attempt FROM test.decide(10);
ALTER TABLE booking_table_assignments DISABLE TRIGGER be_faster;
SELECT outcome, reason, tables, attempt FROM test.decide(10);

-- A deferrable key does the same.
ALTER TABLE booking_table_assignments DROP CONSTRAINT booking_table_assignments_pkey,
	ADD CONSTRAINT booking_table_assignments_pkey PRIMARY KEY (booking_id, table_id) DEFERRABLE INITIALLY DEFERRED;
CALL test.book(11, hour => 11);
SELECT outcome, reason, tables, attempt FROM test.decide(11);
SELECT outcome, reason, tables, attempt FROM test.decide(11);
SELECT count(*) AS breakers_open FROM assignment_v3.circuits WHERE open_until IS NOT NULL;
SELECT * FROM assignment_v3.verify();

\c :origin
DROP DATABASE deferred_constraints;
