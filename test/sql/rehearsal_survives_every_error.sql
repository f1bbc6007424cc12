-- Whatever fails in a rehearsal, and wherever, it stays a rehearsal: the caller's transaction goes on, no table has
-- changed but the events and the results, no real breaker has counted it, and the result says what happened. An error
-- between two steps could leave half a decision behind, or hit the app, which has asked for nothing.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database rehearsal_errors
\i :setup
SET assignment_v3.shadow = on;
SET log_min_messages TO fatal;
CALL test.open(1, 2, 2);
CALL test.open(2, 2);
CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not today' USING ERRCODE = 'P4711'; END$$;

-- One trigger after the other, at every table that a decision writes, before and after the row, and at the end of the
-- transaction; each with a booking of its own.
CREATE TABLE test.steps (n serial PRIMARY KEY, relation regclass, timing text);
INSERT INTO test.steps (relation, timing)
SELECT r.relation::regclass, t.timing
FROM unnest(ARRAY['bookings', 'booking_table_assignments', 'booking_assignment_state_history', 'booking_assignment_attempts',
	'capacity_outbox', 'observability_events', 'booking_assignment_shadow_results']) WITH ORDINALITY AS r (relation, n)
CROSS JOIN unnest(ARRAY['BEFORE', 'AFTER', 'DEFERRED']) WITH ORDINALITY AS t (timing, n)
ORDER BY r.n, t.n;
-- and where it takes away the tables that another writer has given to the booking
INSERT INTO test.steps (relation, timing) VALUES ('booking_table_assignments', 'BEFORE DELETE'), ('booking_table_assignments', 'AFTER DELETE');
CREATE TABLE test.outcomes (n int, relation regclass, timing text, answer text, changed text);
CREATE PROCEDURE test.rehearse(step test.steps) LANGUAGE plpgsql AS $$
DECLARE
	told text;
	event text := CASE WHEN step.timing ~ 'DELETE' THEN '' WHEN step.relation = 'bookings'::regclass THEN 'UPDATE' ELSE 'INSERT' END;
BEGIN
	CALL test.book(step.n, hour => 3 * step.n);
	IF step.timing ~ 'DELETE' THEN
		CALL test.seat(step.n, 101, hour => 3 * step.n);
		UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', step.n);
	END IF;
	DELETE FROM assignment_v3.queue;
	IF step.timing = 'DEFERRED' THEN
		EXECUTE format('CREATE CONSTRAINT TRIGGER refuse AFTER %s ON %s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION test.refuse()', event, step.relation);
	ELSE
		EXECUTE format('CREATE TRIGGER refuse %s %s ON %s FOR EACH ROW EXECUTE FUNCTION test.refuse()', step.timing, event, step.relation);
	END IF;
	CALL test.remember();
	COMMIT;
	-- the caller's own work, in the same transaction
	INSERT INTO test.outcomes (n) VALUES (step.n);
	told := (SELECT concat_ws(' ', d.outcome, d.reason, d.shadow_outcome) FROM test.decide(step.n) AS d);
	SET CONSTRAINTS ALL IMMEDIATE;
	COMMIT;
	UPDATE test.outcomes AS o SET relation = step.relation, timing = step.timing, answer = told, changed = test.changed()
	WHERE o.n = step.n;
	EXECUTE format('DROP TRIGGER refuse ON %s', step.relation);
	COMMIT;
END;
$$;
DO $$
DECLARE
	step test.steps;
BEGIN
	FOR step IN SELECT * FROM test.steps ORDER BY n LOOP
		CALL test.rehearse(step);
	END LOOP;
END;
$$;
SELECT o.relation, o.timing, o.answer, r.outcome, r.reason, r.sqlstate, o.changed
FROM test.outcomes AS o LEFT JOIN booking_assignment_shadow_results AS r ON r.booking_id = test.id('b', o.n)
ORDER BY o.n;
SELECT count(*) AS errors FROM observability_events WHERE event_type = 'coordinator.error' AND context ->> 'sqlstate' = 'P4711';
SELECT count(*) AS circuits FROM assignment_v3.circuits;
SELECT * FROM assignment_v3.verify();

-- The breaker that would have opened: five in a row, counted per restaurant; a success starts anew.
TRUNCATE booking_assignment_shadow_results;
CREATE TRIGGER refuse BEFORE INSERT ON booking_table_assignments FOR EACH ROW WHEN (NEW.start_at < test.at(500)) EXECUTE FUNCTION test.refuse();
CALL test.book(200, restaurant => 2);
CALL test.book(107, hour => 500);
DO $$ BEGIN FOR n IN 100..106 LOOP CALL test.book(n, hour => 3 * n); END LOOP; CALL test.book(108, hour => 324); END $$;
SELECT n AS booking, d.shadow_outcome FROM unnest(ARRAY[100, 101, 200, 102, 103, 104, 105, 107, 106, 108]) WITH ORDINALITY AS b (n, o)
CROSS JOIN LATERAL test.decide(n) AS d ORDER BY o;
SELECT test.no(booking_id) AS booking, outcome, reason, consecutive_errors, breaker_would_open
FROM booking_assignment_shadow_results ORDER BY created_at;
SELECT count(*) AS circuits FROM assignment_v3.circuits;

-- What a result holds.
CALL test.book(300, hour => 600);
SELECT * FROM test.decide(300, 'job');
SELECT outcome, reason, strategy, test.tables(table_ids) AS tables, sqlstate, duration_ms > 0 AS took, trigger
FROM booking_assignment_shadow_results WHERE booking_id = test.id('b', 300);

\c :origin
DROP DATABASE rehearsal_errors;
