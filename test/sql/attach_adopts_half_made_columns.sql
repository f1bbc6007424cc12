-- An app that has begun with such columns itself must be adopted too: a state of type text or varchar without a default, null in
-- old rows, with or without a version, an enum that lacks labels, a history with versions, severities that lack a word.  It
-- could fail by a null that no lock or update finds, by a default that is missing for the next insert, by a label that is
-- not there when the first booking is decided, or by filling rows in.
\set database half_made
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/live_app.sql
CREATE EXTENSION assignment_v3;
CALL live.open(1, 2, 2, 4, 6);
DO $$ BEGIN FOR n IN 1 .. 5 LOOP CALL live.book(n); END LOOP; END $$;
CALL live.confirm(4, 103);
\set ECHO all
CREATE FUNCTION live.decide(n int) RETURNS text LANGUAGE sql AS
	$$SELECT concat_ws(' ', outcome, reason) FROM assignment_v3.process_booking(live.id('b', n))$$;
-- what somebody began with
ALTER TABLE bookings ADD COLUMN assignment_state varchar(40), ADD COLUMN assignment_strategy varchar(30),
	ADD COLUMN assignment_state_version integer;
UPDATE bookings SET assignment_state = 'assignment_pending', assignment_state_version = 3 WHERE id = live.id('b', 2);
UPDATE bookings SET assignment_state = 'confirmed', assignment_state_version = 9 WHERE id = live.id('b', 4);
UPDATE bookings SET assignment_state = 'manual_review' WHERE id = live.id('b', 5);
ALTER TABLE booking_assignment_state_history ADD COLUMN version smallint;
INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state, version) VALUES
	(live.id('b', 2), 'created', 'assignment_pending', 3), (live.id('b', 4), 'assigned', 'confirmed', 5), (live.id('b', 4), 'confirmed', 'confirmed', NULL);
ALTER TABLE capacity_outbox DROP COLUMN idempotency_key;
ALTER TABLE booking_assignment_attempts DROP COLUMN metadata;
CREATE TYPE terse_severity AS ENUM ('info', 'critical');
ALTER TABLE observability_events ALTER COLUMN severity DROP DEFAULT;
ALTER TABLE observability_events ALTER COLUMN severity TYPE terse_severity USING 'info';
ALTER TYPE attempt_result RENAME VALUE 'failure' TO 'failed';
-- the assignments have a check of their own, and the constraint is there, deferrable, over a generated range
ALTER TABLE booking_table_assignments ALTER COLUMN start_at SET NOT NULL, ALTER COLUMN end_at SET NOT NULL, ADD CHECK (end_at > start_at),
	ADD COLUMN taken tstzrange GENERATED ALWAYS AS (tstzrange(start_at, end_at, '[)')) STORED,
	ADD CONSTRAINT one_party_a_time EXCLUDE USING gist (taken WITH &&, table_id WITH =) DEFERRABLE;
CREATE INDEX CONCURRENTLY timeline ON booking_table_assignments (table_id, start_at DESC);
CREATE TABLE test.rows AS SELECT id, to_jsonb(b) AS row FROM bookings AS b;

SELECT action, object, statement FROM assignment_v3.attach() WHERE object ~ 'label|column public|default|assignments' AND action <> 'commented';
SELECT * FROM assignment_v3.attach();
SELECT b.id FROM test.rows AS r JOIN bookings AS b USING (id) WHERE to_jsonb(b) <> r.row;
SELECT * FROM assignment_v3.verify();

-- each goes on from where it is
SET assignment_v3.enabled TO on;
SELECT live.decide(1), live.decide(2), live.decide(4), live.decide(5);
SELECT * FROM live.bookings(1, 2, 3, 4, 5);
-- a null that is left alone stays one, and is no change when it is written as what it means
UPDATE bookings SET notes = 'x' WHERE id = live.id('b', 3);
UPDATE bookings SET assignment_state_version = 1 WHERE id = live.id('b', 3);
SELECT * FROM live.bookings(3);
SELECT count(*) AS rows FROM booking_assignment_state_history WHERE booking_id = live.id('b', 3);
UPDATE bookings SET party_size = 1 WHERE id = live.id('b', 3);
SELECT * FROM assignment_v3.transition(live.id('b', 3), 'capacity_verified');
SELECT assignment_v3.requeue(live.id('b', 5));
SELECT assignment_v3.assign(live.id('b', 5), ARRAY[live.id('d', 104)]);
UPDATE bookings SET status = 'pending' WHERE id = live.id('b', 4);
-- no table: a failed attempt and a warning, whose words the app's types had to learn
CALL live.book(6, party => 9);
SELECT live.decide(6);
SELECT result, count(*) FROM booking_assignment_attempts GROUP BY result ORDER BY result;
SELECT severity, count(*) FROM observability_events WHERE booking_id = live.id('b', 6) GROUP BY severity ORDER BY severity;
SELECT * FROM live.bookings(3, 4, 5, 6);
SELECT live.no(booking_id) AS n, string_agg(version::text, ' ' ORDER BY version) AS versions FROM booking_assignment_state_history GROUP BY 1 ORDER BY 1;
SELECT * FROM assignment_v3.verify();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
