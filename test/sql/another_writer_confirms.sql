-- Another writer who confirms a booking by its status, with assignment rows of its own, must be believed: the state goes
-- to confirmed from wherever it is, in one step, and nobody else tells the guest.  Taking the status back reopens the
-- booking.  It could fail by asking for a legal edge, by believing a status without tables, or by sending a second
-- message.
\set database another_writer
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
SET assignment_v3.enabled TO on;
SELECT test.book(n, 2, 18 + 24 * n, 20 + 24 * n) FROM generate_series(1, 12) AS n;

-- from every state: 1 to 7 are brought into one each
SELECT assignment_v3.transition(test.id('b', w.n), s)
FROM (VALUES (2, '{capacity_verified}'), (3, '{capacity_verified,assignment_pending}'),
	(4, '{capacity_verified,assignment_pending,assignment_in_progress}'),
	(5, '{capacity_verified,assignment_pending,assignment_in_progress,assigned}'), (6, '{failed}'),
	(7, '{capacity_verified,assignment_pending,manual_review}')) AS w (n, way), unnest(way::text[]) WITH ORDINALITY AS u (s, o)
ORDER BY w.n, o;
SELECT test.seat(n, 1) FROM generate_series(1, 7) AS n;
UPDATE bookings SET status = 'confirmed' WHERE id IN (SELECT test.id('b', n) FROM generate_series(1, 7) AS n);
SELECT * FROM test.bookings(1, 2, 3, 4, 5, 6, 7);
SELECT * FROM test.trail(1);
SELECT * FROM test.events(1);
SELECT n, array_agg(from_state || ' -> ' || to_state || ' ' || reason) FROM generate_series(2, 7) AS n, test.trail(n) AS t
WHERE to_state = 'confirmed' GROUP BY n ORDER BY n;
-- no message: whoever has confirmed it tells the guest
SELECT count(*) AS messages FROM capacity_outbox WHERE event_type = 'booking.assignment_state.confirmed';

-- with the state and the version spelled out
SELECT test.seat(8, 1);
SELECT * FROM test.refusal($$UPDATE bookings SET status = 'confirmed', assignment_state_version = 3 WHERE id = test.id('b', 8)$$);
UPDATE bookings SET status = 'confirmed', assignment_state = 'confirmed', assignment_state_version = 2 WHERE id = test.id('b', 8);
SELECT * FROM test.bookings(8);

-- without tables of its own it is a change of status, and the booking is off the queue
UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 9);
SELECT * FROM test.bookings(9);
SELECT * FROM test.trail(9);
-- tables alone are no confirmation, nor is a status that was there before
SELECT test.seat(9, 1);
UPDATE bookings SET customer_name = 'Ada', party_size = 1 WHERE id = test.id('b', 9);
SELECT * FROM test.bookings(9);
UPDATE bookings SET status = 'pending' WHERE id = test.id('b', 9);
UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 9);
SELECT * FROM test.bookings(9);

-- another status of the app is none
SELECT test.seat(10, 1);
UPDATE bookings SET status = 'checked_in' WHERE id = test.id('b', 10);
SELECT * FROM test.bookings(10);

-- Status of a confirmed booking back to pending: reopened, and its tables are free.
UPDATE bookings SET status = 'pending' WHERE id = test.id('b', 1);
UPDATE bookings SET status = 'pending_allocation' WHERE id = test.id('b', 2);
SELECT test.confirm(11, 3);
UPDATE bookings SET status = 'pending', assignment_state_version = 4 WHERE id = test.id('b', 11);
SELECT * FROM test.bookings(1, 2, 11);
SELECT version, from_state, to_state, reason, metadata FROM test.trail(11);
-- with the state spelled out as well
SELECT test.confirm(12, 3);
SELECT * FROM test.refusal($$UPDATE bookings SET status = 'pending', assignment_state = 'created' WHERE id = test.id('b', 12)$$);
UPDATE bookings SET status = 'pending', assignment_state = 'assignment_pending' WHERE id = test.id('b', 12);
SELECT * FROM test.bookings(12);

-- confirmed once more, by us this time: the message says that it is not the first
SELECT test.confirm(1, 1);
SELECT * FROM test.messages(1);
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
