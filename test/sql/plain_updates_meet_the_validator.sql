-- An UPDATE or INSERT of bookings by any writer must obey the state machine and the version like transition() does:
-- a legal edge gets its version and its history row, an illegal one and a stale or skipped version are refused, and a
-- write that changes neither state nor facts is none of our business.  It could fail because a trigger is told apart by
-- the columns of the UPDATE and not by what has changed, because a refused or rolled back write leaves memory behind that
-- lets the next one pass, or because rows of one statement are confused.
\set database plain_updates
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
SELECT count(test.book(n, 2, 18 + 24 * n, 20 + 24 * n)) AS bookings FROM generate_series(1, 9) AS n;

-- a legal edge, with the version left alone and with the next one
UPDATE bookings SET assignment_state = 'capacity_verified' WHERE id = test.id('b', 1);
UPDATE bookings SET assignment_state = 'assignment_pending', assignment_state_version = 3 WHERE id = test.id('b', 1);
SELECT * FROM test.bookings(1);
SELECT * FROM test.trail(1);
SELECT * FROM test.events(1);
SELECT count(*) AS messages FROM test.messages(1);

-- an illegal edge is refused with the legal ones, also where it is only an operator's or only external
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'confirmed' WHERE id = test.id('b', 1)$$);
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'assigned' WHERE id = test.id('b', 1)$$);
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'created' WHERE id = test.id('b', 1)$$);
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'assigned', assignment_state_version = 4 WHERE id = test.id('b', 1)$$);
-- nor does a change of facts or status carry it through
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'assigned', party_size = 3 WHERE id = test.id('b', 1)$$);
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'confirmed', status = 'confirmed' WHERE id = test.id('b', 1)$$);
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'confirmed', status = 'cancelled' WHERE id = test.id('b', 1)$$);

-- the last edge needs tables that fit, whoever takes it
SELECT test.book(11, 2, 40, 42);
SELECT count(assignment_v3.transition(test.id('b', 11), s)) AS steps
FROM unnest('{capacity_verified,assignment_pending,assignment_in_progress,assigned}'::text[]) AS s;
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'confirmed' WHERE id = test.id('b', 11)$$);
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'confirmed', status = 'confirmed' WHERE id = test.id('b', 11)$$);
SELECT test.seat(11, 3);
UPDATE bookings SET assignment_state = 'confirmed', status = 'confirmed' WHERE id = test.id('b', 11);
SELECT * FROM test.bookings(11);
SELECT * FROM test.trail(11) ORDER BY version DESC LIMIT 1;
SELECT count(*) AS messages FROM test.messages(11);

-- a stale and a skipped version, with a state and with facts
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'failed', assignment_state_version = 2 WHERE id = test.id('b', 1)$$);
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'failed', assignment_state_version = 5 WHERE id = test.id('b', 1)$$);
SELECT * FROM test.refusal($$UPDATE bookings SET party_size = 4, assignment_state_version = 2 WHERE id = test.id('b', 1)$$);
SELECT * FROM test.refusal($$UPDATE bookings SET party_size = 4, assignment_state_version = 5 WHERE id = test.id('b', 1)$$);
SELECT * FROM test.refusal($$UPDATE bookings SET party_size = 4, assignment_state_version = NULL WHERE id = test.id('b', 1)$$);
SELECT * FROM test.bookings(1);

-- a write that changes neither state nor facts never fails on the version: the stored one is kept
UPDATE bookings SET assignment_state_version = 1 WHERE id = test.id('b', 1);
UPDATE bookings SET assignment_state_version = 77, customer_name = 'Ada' WHERE id = test.id('b', 1);
UPDATE bookings SET assignment_state_version = 4 WHERE id = test.id('b', 1);
UPDATE bookings SET assignment_state_version = NULL WHERE id = test.id('b', 1);
UPDATE bookings SET assignment_state = 'assignment_pending', assignment_state_version = 9, party_size = 2, status = 'pending'
WHERE id = test.id('b', 1);
-- and leaves no trace, nor do other columns
UPDATE bookings SET customer_name = 'Grace', customer_phone = '1', assigned_zone_id = test.id('c', 1), updated_at = now(),
	assignment_strategy = 'none' WHERE id = test.id('b', 1);
SELECT b.*, c.customer_name FROM test.bookings(1) AS b, bookings AS c WHERE c.id = test.id('b', 1);
SELECT count(*) AS steps FROM test.trail(1);

-- a new booking starts at the beginning
SELECT * FROM test.refusal($$INSERT INTO bookings (restaurant_id, party_size, start_at, end_at, assignment_state)
	VALUES (test.id('a', 1), 2, test.hour(1), test.hour(2), 'confirmed')$$);
SELECT * FROM test.refusal($$INSERT INTO bookings (restaurant_id, party_size, start_at, end_at, assignment_state_version)
	VALUES (test.id('a', 1), 2, test.hour(1), test.hour(2), 2)$$);
SELECT * FROM test.refusal($$INSERT INTO bookings (restaurant_id, party_size, start_at, end_at, assignment_state_version)
	VALUES (test.id('a', 1), 2, test.hour(1), test.hour(2), 0)$$);
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, assignment_state, assignment_state_version)
VALUES (test.id('b', 10), test.id('a', 1), 2, test.hour(1), test.hour(2), 'created', 1);
-- and one that is there already is updated by the same rules
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
VALUES (test.id('b', 10), test.id('a', 1), 5, test.hour(1), test.hour(2))
ON CONFLICT (id) DO UPDATE SET party_size = excluded.party_size;
SELECT * FROM test.bookings(10);

-- many rows at once: each has its own step, and one refusal refuses all
UPDATE bookings SET assignment_state = CASE id WHEN test.id('b', 2) THEN 'failed' ELSE 'capacity_verified' END::booking_assignment_state,
	assignment_state_version = assignment_state_version + (id = test.id('b', 4))::int
WHERE id IN (test.id('b', 2), test.id('b', 3), test.id('b', 4));
UPDATE bookings SET party_size = party_size + 1 WHERE id IN (test.id('b', 2), test.id('b', 3), test.id('b', 4), test.id('b', 5));
SELECT * FROM test.bookings(2, 3, 4, 5);
SELECT * FROM test.trail(2);
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'assignment_pending' WHERE id IN (test.id('b', 3), test.id('b', 5))$$);
SELECT * FROM test.bookings(2, 3, 4, 5);

-- the same step again after it was rolled back
BEGIN;
SAVEPOINT first;
UPDATE bookings SET assignment_state = 'capacity_verified', party_size = 7 WHERE id = test.id('b', 6);
SELECT * FROM test.bookings(6);
ROLLBACK TO first;
UPDATE bookings SET assignment_state = 'capacity_verified' WHERE id = test.id('b', 6);
SAVEPOINT second;
SELECT assignment_v3.transition(test.id('b', 6), 'assignment_pending');
ROLLBACK TO second;
UPDATE bookings SET assignment_state = 'assignment_pending' WHERE id = test.id('b', 6);
COMMIT;
SELECT * FROM test.bookings(6);
SELECT * FROM test.trail(6);

-- A move of ours that the app's trigger has refused must not let anybody else jump the same way afterwards: not after
-- a savepoint, not after an exception that was caught, not in the next transaction.
CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE EXCEPTION 'not today'; END$$;
CREATE TRIGGER refuse AFTER UPDATE ON bookings FOR EACH ROW WHEN (NEW.status = 'confirmed') EXECUTE FUNCTION test.refuse();
BEGIN;
SAVEPOINT attempt;
SELECT test.confirm(7, 1);
ROLLBACK TO attempt;
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'confirmed', assignment_state_version = 3 WHERE id = test.id('b', 7)$$);
SELECT * FROM test.refusal($$SELECT test.confirm(7, 1)$$);
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'confirmed', assignment_state_version = 3 WHERE id = test.id('b', 7)$$);
COMMIT;
BEGIN;
SELECT test.confirm(7, 1);
ROLLBACK;
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'confirmed', assignment_state_version = 3 WHERE id = test.id('b', 7)$$);
DROP TRIGGER refuse ON bookings;
SELECT test.confirm(7, 1);
SELECT * FROM test.refusal($$UPDATE bookings SET assignment_state = 'created', assignment_state_version = 1 WHERE id = test.id('b', 7)$$);
SELECT * FROM test.bookings(7);

-- Our triggers see the row as the app's own leave it: this one counts the letters of the name.
CREATE FUNCTION test.count_letters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.party_size := length(NEW.customer_name);
	IF NEW.customer_name = 'jump' THEN
		NEW.assignment_state := 'confirmed';
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER zz_count_letters BEFORE UPDATE OF customer_name ON bookings FOR EACH ROW EXECUTE FUNCTION test.count_letters();
UPDATE bookings SET customer_name = 'Edsger' WHERE id = test.id('b', 8);
SELECT * FROM test.bookings(8);
SELECT * FROM test.trail(8);
UPDATE bookings SET customer_name = 'Alonzo' WHERE id = test.id('b', 8);
SELECT * FROM test.refusal($$UPDATE bookings SET customer_name = 'jump' WHERE id = test.id('b', 8)$$);
SELECT * FROM test.bookings(8);
DROP TRIGGER zz_count_letters ON bookings;

-- The app's AFTER trigger that writes the same booking again is one more writer.
CREATE FUNCTION test.write_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE bookings SET party_size = 5 WHERE id = NEW.id;
	RETURN NULL;
END
$$;
CREATE TRIGGER write_again AFTER UPDATE ON bookings FOR EACH ROW WHEN (NEW.party_size = 4) EXECUTE FUNCTION test.write_again();
UPDATE bookings SET party_size = 4 WHERE id = test.id('b', 9);
SELECT * FROM test.bookings(9);
SELECT * FROM test.trail(9);
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
