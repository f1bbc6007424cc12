-- assign() must take a booking from whatever state to confirmed in one move: one UPDATE of the booking, the tables there
-- before the status says so, the old ones free for others, and a trail that tells a move from a first seating.  It could
-- fail from one of the states, on tables that the old and the new seating share, or by leaving a booking that could not
-- be moved without its old tables.
\set database staff_move
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
SET assignment_v3.enabled TO on;

-- The app refuses a confirmation without tables, and counts the UPDATEs of each booking.
CREATE FUNCTION test.guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.status = 'confirmed' AND NOT EXISTS (SELECT FROM booking_table_assignments AS a WHERE a.booking_id = NEW.id) THEN
		RAISE EXCEPTION 'confirmed without a table';
	END IF;
	INSERT INTO test.updates VALUES (NEW.id, OLD.assignment_state || ' -> ' || NEW.assignment_state, NEW.assignment_state_version);
	RETURN NEW;
END
$$;
CREATE TABLE test.updates (booking_id uuid, step text, version int);
CREATE TRIGGER guard BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION test.guard();

-- from every state: 1 to 8 are brought into one each
SELECT count(test.book(n, 2, 18 + 24 * n, 20 + 24 * n)) AS bookings FROM generate_series(1, 19) AS n;
SELECT count(assignment_v3.transition(test.id('b', w.n), s)) AS steps
FROM (VALUES (2, '{capacity_verified}'), (3, '{capacity_verified,assignment_pending}'),
	(4, '{capacity_verified,assignment_pending,assignment_in_progress}'),
	(5, '{capacity_verified,assignment_pending,assignment_in_progress,assigned}'), (6, '{failed}'),
	(7, '{capacity_verified,assignment_pending,manual_review}')) AS w (n, way), unnest(way::text[]) AS u (s);
SELECT test.confirm(8, 1);
TRUNCATE test.updates;
SELECT n, a.* FROM generate_series(1, 8) AS n, assignment_v3.assign(test.id('b', n), test.ids('d', 2), 'by the window') AS a;
SELECT * FROM test.bookings(1, 2, 3, 4, 5, 6, 7, 8);
SELECT right(booking_id::text, 1) AS n, step, version FROM test.updates ORDER BY booking_id;
SELECT n, string_agg(format('%s %s -> %s', version, from_state, to_state), ', ' ORDER BY version) AS steps
FROM generate_series(1, 8) AS n, test.trail(n) WHERE reason = 'by the window' GROUP BY n ORDER BY n;
SELECT assignment_strategy, count(*) FROM bookings WHERE assignment_state = 'confirmed' GROUP BY 1;

-- a move: two steps, the tables swapped, and a message that says so
SELECT * FROM test.trail(8);
SELECT event_type, dedupe_key, payload -> 'fromState' AS from_state, payload -> 'metadata' -> 'moved' AS moved FROM test.messages(8);
SELECT test.book(28, 2, 18 + 24 * 8, 20 + 24 * 8);
SELECT test.confirm(28, 1);
-- onto tables of which it has some already, and onto the very same
SELECT test.confirm(8, 2, 3);
SELECT test.confirm(8, 3, 5);
SELECT test.confirm(8, 3, 5);
SELECT * FROM test.bookings(8);
SELECT version, from_state, to_state FROM test.trail(8);
-- a move that is refused leaves everything as it was
SELECT * FROM test.refusal($$SELECT test.confirm(8, 1)$$);
SELECT * FROM test.refusal($$SELECT test.confirm(8, 2, 5)$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.assign(test.id('b', 8), test.ids('d', 2), expected_version => 3)$$);
SELECT * FROM test.bookings(8);
-- onto a table of its own that has been blocked since
SELECT colliding_booking_id FROM assignment_v3.block(test.ids('d', 3), test.hour(18 + 24 * 8), test.hour(20 + 24 * 8), 'broken');
SELECT * FROM test.refusal($$SELECT test.confirm(8, 2, 3)$$);
SELECT test.confirm(8, 5);
SELECT * FROM test.bookings(8);

-- what another writer has confirmed is moved like our own
SELECT test.seat(9, 7);
UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 9);
SELECT test.confirm(9, 8);
SELECT * FROM test.bookings(9);
SELECT version, from_state, to_state, metadata -> 'moved' AS moved FROM test.trail(9);
-- tables that another writer has given to a booking that waits are replaced
SELECT test.seat(10, 3, 5);
SELECT test.confirm(10, 1);
SELECT * FROM test.bookings(10);
-- confirmed, reopened and seated by hand: no move, but not the first time either
SELECT test.confirm(11, 1);
SELECT assignment_v3.reopen(test.id('b', 11));
SELECT test.confirm(11, 2);
SELECT version, from_state, to_state, metadata - 'table_ids' AS metadata FROM test.trail(11);
SELECT dedupe_key, payload -> 'metadata' -> 'reopened' AS reopened FROM test.messages(11);

-- in every mode, the kill switch included
SET assignment_v3.enabled TO off;
SELECT test.confirm(12, 1);
SET assignment_v3.shadow TO on;
SELECT test.confirm(13, 1);
SET assignment_v3.enabled TO on;
SELECT assignment_v3.kill('drill');
SELECT test.confirm(14, 1);
SELECT assignment_v3.revive('drill is over');
RESET assignment_v3.shadow;
-- with the breaker open, and beyond the attempts
INSERT INTO assignment_v3.circuits (restaurant_id, consecutive_errors, open_until, opened_at)
VALUES (test.id('a', 1), 5, now() + interval '1 hour', now());
SELECT test.confirm(15, 1);
SELECT * FROM test.bookings(12, 13, 14, 15);
SELECT consecutive_errors, open_until > now() AS open FROM assignment_v3.circuits;
DELETE FROM assignment_v3.circuits;

-- the app refuses: nothing is left of the move
SELECT test.confirm(16, 1);
CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not this one'; END$$;
CREATE TRIGGER refuse BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION test.refuse();
SELECT * FROM test.refusal($$SELECT test.confirm(16, 2)$$);
DROP TRIGGER refuse ON bookings;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON booking_table_assignments DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION test.refuse();
-- and a deferred refusal comes at once, not with the caller's commit
SELECT * FROM test.refusal($$SELECT test.confirm(16, 2)$$);
DROP TRIGGER refuse ON booking_table_assignments;
SELECT * FROM test.bookings(16);
SELECT count(*) AS steps FROM test.trail(16);

-- The app's triggers call us while we are at work: one booking's confirmation fails the next and, where that is refused,
-- goes on; a step in the history of one changes the facts of another.
CREATE FUNCTION test.follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM assignment_v3.transition(test.id('b', 18), 'failed');
	BEGIN
		PERFORM assignment_v3.transition(test.id('b', 18), 'confirmed');
	EXCEPTION WHEN SQLSTATE 'PT422' THEN
		NULL;
	END;
	RETURN NEW;
END
$$;
CREATE TRIGGER a_follow BEFORE UPDATE ON bookings FOR EACH ROW WHEN (NEW.id = test.id('b', 17) AND NEW.status = 'confirmed')
	EXECUTE FUNCTION test.follow();
CREATE FUNCTION test.grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE bookings SET party_size = party_size + 1 WHERE id = test.id('b', 19);
	RETURN NEW;
END
$$;
CREATE TRIGGER grow AFTER INSERT ON booking_assignment_state_history FOR EACH ROW WHEN (NEW.booking_id = test.id('b', 17))
	EXECUTE FUNCTION test.grow();
SELECT test.confirm(17, 3);
SELECT * FROM test.bookings(17, 18, 19);
SELECT n, version, from_state, to_state, reason, metadata ->> 'trigger' AS trigger FROM generate_series(17, 19) AS n, test.trail(n) ORDER BY n, version;
SELECT n, array_agg(context ->> 'to' ORDER BY context -> 'version') AS events FROM generate_series(17, 19) AS n, test.events(n) GROUP BY n ORDER BY n;
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
