-- A decision updates the booking without the executor, so everything an UPDATE does for an app's own table has to be done
-- for it all the same: triggers by row, by column and by statement, generated columns, CHECKs, enums, indexes, foreign
-- keys of the trail.  Each could be left out, or stay as it was in a session that has decided before.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database booking_update_meets_the_apps_table
\i :setup
SET assignment_v3.enabled TO on;
\set ECHO none
CALL test.open(1, 2, 2, 4, 4, 6, 6, 8, 8);
CREATE FUNCTION test.confirm(n int, hour numeric DEFAULT 12) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, updated_at)
	VALUES (test.id('b', n), test.id('a', 1), 2, test.at(hour), test.at(hour + 2), '2001-01-01');
	RETURN (SELECT concat_ws(' / ', d.outcome, d.reason) FROM test.decide(n) AS d);
END $$;
\set ECHO all

-- A session that has decided
SELECT test.confirm(1);

-- Columns generated from what a decision sets and from what it leaves alone, one dropped again, a status that is an enum
CREATE TYPE test.status AS ENUM ('pending', 'pending_allocation', 'confirmed', 'checked_in', 'completed', 'cancelled', 'no_show');
ALTER TABLE bookings DROP CONSTRAINT bookings_status_check;
ALTER TABLE bookings
	ADD COLUMN gone int,
	ADD COLUMN label text GENERATED ALWAYS AS (coalesce(assignment_strategy, 'none') || ' for ' || party_size) STORED,
	ADD COLUMN seats int GENERATED ALWAYS AS (party_size * 10) STORED,
	ADD COLUMN note text NOT NULL DEFAULT 'window seat',
	ALTER COLUMN status DROP DEFAULT,
	ALTER COLUMN status TYPE test.status USING status::test.status,
	ALTER COLUMN status SET DEFAULT 'pending';
ALTER TABLE bookings DROP COLUMN gone;
BEGIN;
SELECT test.confirm(2);
SELECT status, label, seats, note, updated_at = now() AS stamped FROM bookings WHERE id = test.id('b', 2);
COMMIT;

-- Indexes on what a decision sets: the row can't stay on its chain, and is found by all of them
CREATE INDEX by_state ON bookings (assignment_state);
CREATE UNIQUE INDEX one_step ON bookings (id, assignment_state_version);
SELECT test.confirm(3);
SET enable_seqscan TO off;
SELECT test.no(id) AS n FROM bookings WHERE assignment_state = 'confirmed' ORDER BY 1;
SELECT test.no(id) AS n FROM bookings WHERE id = test.id('b', 3) AND assignment_state_version = 6;
RESET enable_seqscan;

-- Triggers of the app: one that changes the row before, two by column, two by statement, one of them with old and new rows
CREATE TABLE test.seen (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION test.stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := upper(NEW.note); RETURN NEW; END$$;
CREATE FUNCTION test.see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO test.seen (what) VALUES (concat_ws(' ', TG_NAME, TG_WHEN, TG_LEVEL));
	RETURN NULL;
END $$;
CREATE FUNCTION test.see_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO test.seen (what) SELECT format('%s -> %s', o.status, n.status) FROM before AS o JOIN after AS n USING (id);
	RETURN NULL;
END $$;
CREATE TRIGGER stamp BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION test.stamp();
CREATE TRIGGER by_status AFTER UPDATE OF status ON bookings FOR EACH ROW EXECUTE FUNCTION test.see();
CREATE TRIGGER by_party AFTER UPDATE OF party_size ON bookings FOR EACH ROW EXECUTE FUNCTION test.see();
CREATE TRIGGER first BEFORE UPDATE ON bookings FOR EACH STATEMENT EXECUTE FUNCTION test.see();
CREATE TRIGGER last AFTER UPDATE ON bookings REFERENCING OLD TABLE AS before NEW TABLE AS after
	FOR EACH STATEMENT EXECUTE FUNCTION test.see_rows();
SELECT test.confirm(4);
SELECT what FROM test.seen ORDER BY n;
SELECT note, label FROM bookings WHERE id = test.id('b', 4);

-- One that will not have the update, and a CHECK that refuses it: an error of this booking, with nothing written
CREATE FUNCTION test.hush() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER zzzz_hush BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION test.hush();
SELECT test.confirm(5, 15);
DROP TRIGGER zzzz_hush ON bookings;
ALTER TABLE bookings ADD CONSTRAINT few CHECK (assignment_state_version < 3) NOT VALID;
SELECT test.confirm(6, 15);
ALTER TABLE bookings DROP CONSTRAINT few;
SELECT test.no(id) AS n, assignment_state, assignment_state_version,
	(SELECT count(*) FROM booking_table_assignments AS a WHERE a.booking_id = b.id) AS tables
FROM bookings AS b WHERE id IN (test.id('b', 5), test.id('b', 6)) ORDER BY 1;
SELECT outcome FROM test.decide(6);

-- Foreign keys of the trail: the one to the booking holds by its lock, all others are checked
SELECT test.confirm(7, 18);
CREATE TABLE test.words (word text PRIMARY KEY);
ALTER TABLE booking_assignment_attempts ADD FOREIGN KEY (strategy) REFERENCES test.words NOT VALID;
SELECT * FROM test.refused('SELECT test.confirm(8, 18)');
ALTER TABLE booking_assignment_attempts DROP CONSTRAINT booking_assignment_attempts_strategy_fkey;
-- a booking that a trigger of the app deletes on the way leaves nothing
CREATE FUNCTION test.lose() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN DELETE FROM bookings WHERE id = NEW.booking_id; RETURN NULL; END$$;
CREATE TRIGGER lose AFTER INSERT ON booking_table_assignments FOR EACH ROW EXECUTE FUNCTION test.lose();
SELECT test.confirm(10, 20);
DROP TRIGGER lose ON booking_table_assignments;
SELECT assignment_state, assignment_state_version FROM bookings WHERE id = test.id('b', 10);
SELECT count(*) FROM booking_assignment_state_history AS h WHERE NOT EXISTS (SELECT FROM bookings AS b WHERE b.id = h.booking_id);
SELECT * FROM assignment_v3.verify();

\c :origin
DROP DATABASE booking_update_meets_the_apps_table;
