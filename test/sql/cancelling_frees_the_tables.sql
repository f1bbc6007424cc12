-- A cancelled booking and a no-show must give their tables back in the same statement and be gone from the queue, in
-- whatever state they are, which they keep; undoing that reopens a booking that was confirmed, for its tables may be
-- taken by now.  It could fail by freeing tables only of confirmed bookings, by forgetting one of the two words, or by
-- leaving a booking confirmed without a table.
\set database cancelling_frees
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
SET assignment_v3.enabled TO on;
SELECT test.book(n, 2, 18 + 24 * n, 20 + 24 * n) FROM generate_series(1, 12) AS n;

-- waiting
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 1);
SELECT * FROM test.bookings(1);
SELECT * FROM test.trail(1);
UPDATE bookings SET status = 'pending' WHERE id = test.id('b', 1);
SELECT * FROM test.bookings(1);

-- confirmed
SELECT test.confirm(n, 1, 2) FROM generate_series(2, 3) AS n;
UPDATE bookings SET status = CASE id WHEN test.id('b', 2) THEN 'cancelled' ELSE 'no_show' END
WHERE id IN (test.id('b', 2), test.id('b', 3));
SELECT * FROM test.bookings(2, 3);
SELECT * FROM test.trail(3);
SELECT count(*) AS events FROM test.events(3);
-- within the statement that cancels, another booking can already have the table
SELECT test.book(13, 2, 18 + 24 * 4, 20 + 24 * 4);
SELECT test.confirm(4, 1);
BEGIN;
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 4);
SELECT test.confirm(13, 1);
COMMIT;
SELECT * FROM test.bookings(4, 13);
-- from one word to the other
UPDATE bookings SET status = 'no_show' WHERE id = test.id('b', 2);
SELECT * FROM test.bookings(2);

-- with facts, or a legal step, in the same statement
SELECT test.confirm(5, 1);
UPDATE bookings SET status = 'cancelled', party_size = 7, end_at = end_at + interval '1 hour' WHERE id = test.id('b', 5);
SELECT assignment_v3.transition(test.id('b', 6), 'capacity_verified');
UPDATE bookings SET status = 'cancelled', assignment_state = 'failed' WHERE id = test.id('b', 6);
-- with tables of another writer that the pipeline has never confirmed
SELECT test.seat(7, 3);
UPDATE bookings SET status = 'no_show' WHERE id = test.id('b', 7);
-- in manual review
SELECT assignment_v3.transition(test.id('b', 8), s) FROM unnest('{capacity_verified,assignment_pending,manual_review}'::text[]) AS s;
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 8);
SELECT * FROM test.bookings(5, 6, 7, 8);
SELECT * FROM test.unsound();

-- undone: to pending, and to confirmed, where nobody has given it tables again
UPDATE bookings SET status = 'pending' WHERE id = test.id('b', 2);
UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 3);
UPDATE bookings SET status = 'pending_allocation', party_size = 2 WHERE id = test.id('b', 5);
SELECT * FROM test.bookings(2, 3, 5);
SELECT * FROM test.trail(2);
SELECT version, from_state, to_state, reason FROM test.trail(3);
-- the next confirmation tells the guest again, and that it is not the first
SELECT test.confirm(2, 1);
SELECT payload -> 'metadata' -> 'reopened' AS reopened, dedupe_key FROM test.messages(2);
-- undone with tables that the same transaction has given it
SELECT test.confirm(9, 1);
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 9);
BEGIN;
SELECT test.seat(9, 3);
UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 9);
COMMIT;
SELECT * FROM test.bookings(9);
SELECT version, from_state, to_state, reason FROM test.trail(9);
-- tables given to it earlier: somebody may have left them by mistake
SELECT test.confirm(10, 1);
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 10);
SELECT test.seat(10, 3);
UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 10);
SELECT * FROM test.bookings(10);
-- a guest who turns up after all: no table waits for him, unless somebody has found him one
SELECT test.confirm(12, 1);
UPDATE bookings SET status = 'no_show' WHERE id = test.id('b', 12);
UPDATE bookings SET status = 'checked_in' WHERE id = test.id('b', 12);
SELECT * FROM test.bookings(12);
SELECT test.confirm(12, 1);
UPDATE bookings SET status = 'no_show' WHERE id = test.id('b', 12);
BEGIN;
SELECT test.seat(12, 8);
UPDATE bookings SET status = 'checked_in' WHERE id = test.id('b', 12);
COMMIT;
SELECT * FROM test.bookings(12);
-- not confirmed before: back where it was
UPDATE bookings SET status = 'pending' WHERE id IN (test.id('b', 6), test.id('b', 7), test.id('b', 8));
SELECT * FROM test.bookings(6, 7, 8);

-- The app's AFTER trigger cancels what ours has not looked at yet: the last word counts.
CREATE FUNCTION test.cancel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE bookings SET status = 'cancelled' WHERE id = NEW.id;
	RETURN NULL;
END
$$;
CREATE TRIGGER cancel AFTER UPDATE ON bookings FOR EACH ROW WHEN (NEW.party_size = 13 AND NEW.status <> 'cancelled')
	EXECUTE FUNCTION test.cancel();
UPDATE bookings SET party_size = 13 WHERE id = test.id('b', 11);
SELECT * FROM test.bookings(11);
SELECT version, from_state, to_state, reason FROM test.trail(11);
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
