-- A plan rests on a booking's facts: restaurant, party, window and status.  Whoever changes one of them must move the
-- version and leave a history row without an event, once per statement, so that a decision made on the old facts can't be
-- written; and a confirmed booking whose tables no longer fit is reopened in the same statement, unless the writer has
-- moved its tables first.  It could fail on any one fact that is not compared, on columns that look like facts,
-- and on tables that were moved earlier, elsewhere, or only half.
\set database facts_move
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
SET assignment_v3.enabled TO on;

-- each fact by itself, then all together
SELECT test.book(1);
UPDATE bookings SET party_size = 3 WHERE id = test.id('b', 1);
UPDATE bookings SET start_at = test.hour(17) WHERE id = test.id('b', 1);
UPDATE bookings SET end_at = test.hour(19) WHERE id = test.id('b', 1);
UPDATE bookings SET restaurant_id = test.id('a', 2) WHERE id = test.id('b', 1);
UPDATE bookings SET status = 'pending_allocation' WHERE id = test.id('b', 1);
SELECT * FROM test.bookings(1);
UPDATE bookings SET party_size = 4, start_at = test.hour(18), end_at = test.hour(20), restaurant_id = test.id('a', 1), status = 'pending',
	assignment_state_version = 7 WHERE id = test.id('b', 1);
SELECT * FROM test.bookings(1);
SELECT * FROM test.trail(1);
SELECT count(*) AS events FROM test.events(1);
-- the queue follows to the other restaurant
SELECT count(*) AS rows, bool_and(restaurant_id = test.id('a', 1)) AS here FROM assignment_v3.queue WHERE booking_id = test.id('b', 1);

-- facts and a legal step are one step
UPDATE bookings SET party_size = 2, assignment_state = 'capacity_verified' WHERE id = test.id('b', 1);
SELECT * FROM test.trail(1) ORDER BY version DESC LIMIT 1;
-- what a party prefers, and who it is, are no facts
UPDATE bookings SET assigned_zone_id = test.id('c', 2), customer_name = 'Ada', created_at = created_at - interval '1 day' WHERE id = test.id('b', 1);
SELECT * FROM test.bookings(1);

-- confirmed: a change of party, start, end or restaurant reopens, and the tables are free in the same statement
SELECT test.book(n, 2, 18 + 24 * n, 20 + 24 * n) FROM generate_series(2, 6) AS n;
SELECT test.confirm(n, 1, 2) FROM generate_series(2, 6) AS n;
SELECT * FROM test.bookings(2, 3, 4, 5, 6);
WITH changed AS (
	UPDATE bookings SET party_size = 4 WHERE id = test.id('b', 2)
	RETURNING assignment_state, assignment_state_version, status)
SELECT * FROM changed;
UPDATE bookings SET start_at = start_at - interval '15 minutes' WHERE id = test.id('b', 3);
UPDATE bookings SET end_at = end_at + interval '15 minutes' WHERE id = test.id('b', 4);
UPDATE bookings SET restaurant_id = test.id('a', 2) WHERE id = test.id('b', 5);
UPDATE bookings SET party_size = 1, start_at = test.hour(200), end_at = test.hour(202), restaurant_id = test.id('a', 2),
	customer_name = 'Grace', assignment_state_version = 4 WHERE id = test.id('b', 6);
SELECT * FROM test.bookings(2, 3, 4, 5, 6);
SELECT * FROM test.trail(6);
SELECT event_type, context FROM test.events(6) ORDER BY context -> 'version' DESC LIMIT 1;
-- nobody is told: a reopened booking gets its message when it is confirmed again
SELECT count(*) AS messages FROM test.messages(6);
-- the same with a stale version
SELECT test.confirm(2, 3);
SELECT * FROM test.refusal($$UPDATE bookings SET party_size = 2, assignment_state_version = 4 WHERE id = test.id('b', 2)$$);
SELECT * FROM test.bookings(2);
SELECT metadata FROM test.trail(2) ORDER BY version DESC LIMIT 1;

-- the state is the writer's to keep only where it is confirmed by rights
SELECT * FROM test.refusal($$UPDATE bookings SET party_size = 3, assignment_state = 'created' WHERE id = test.id('b', 2)$$);
-- going back to pending with the state spelled out is the same reopening
UPDATE bookings SET party_size = 3, assignment_state = 'assignment_pending' WHERE id = test.id('b', 2);
SELECT * FROM test.bookings(2);

-- tables moved first by the same transaction: the booking stays confirmed
SELECT test.book(n, 4, 18 + 24 * n, 20 + 24 * n) FROM generate_series(11, 18) AS n;
SELECT test.confirm(n, 3) FROM generate_series(11, 18) AS n;
BEGIN;
UPDATE booking_table_assignments SET end_at = end_at + interval '1 hour' WHERE booking_id = test.id('b', 11);
UPDATE bookings SET end_at = end_at + interval '1 hour' WHERE id = test.id('b', 11);
COMMIT;
BEGIN;
DELETE FROM booking_table_assignments WHERE booking_id = test.id('b', 12);
SELECT test.seat(12, 5);
UPDATE bookings SET party_size = 6 WHERE id = test.id('b', 12);
COMMIT;
BEGIN;
SAVEPOINT move;
DELETE FROM booking_table_assignments WHERE booking_id = test.id('b', 13);
SELECT test.seat(13, 21);
RELEASE move;
UPDATE bookings SET restaurant_id = test.id('a', 2) WHERE id = test.id('b', 13);
COMMIT;
-- one more table for a larger party is a move too
BEGIN;
SELECT test.seat(17, 2);
UPDATE bookings SET party_size = 6 WHERE id = test.id('b', 17);
COMMIT;
SELECT * FROM test.bookings(11, 12, 13, 17);
SELECT * FROM test.trail(11);
SELECT count(*) AS events FROM test.events(11);

-- moved, but not to match: too few seats, other times, another restaurant's table, only one of the two
BEGIN;
DELETE FROM booking_table_assignments WHERE booking_id = test.id('b', 14);
SELECT test.seat(14, 8);
UPDATE bookings SET party_size = 5 WHERE id = test.id('b', 14);
COMMIT;
BEGIN;
UPDATE booking_table_assignments SET end_at = end_at + interval '1 hour' WHERE booking_id = test.id('b', 15);
UPDATE bookings SET end_at = end_at + interval '2 hours' WHERE id = test.id('b', 15);
COMMIT;
BEGIN;
DELETE FROM booking_table_assignments WHERE booking_id = test.id('b', 16);
SELECT test.seat(16, 3);
UPDATE bookings SET restaurant_id = test.id('a', 2) WHERE id = test.id('b', 16);
COMMIT;
BEGIN;
SELECT test.seat(17, 1);
UPDATE booking_table_assignments SET start_at = start_at - interval '1 hour' WHERE booking_id = test.id('b', 17) AND table_id = test.id('d', 1);
UPDATE bookings SET start_at = start_at - interval '1 hour' WHERE id = test.id('b', 17);
COMMIT;
-- moved, and thought better of it
BEGIN;
SAVEPOINT move;
UPDATE booking_table_assignments SET end_at = end_at + interval '1 hour' WHERE booking_id = test.id('b', 18);
ROLLBACK TO move;
UPDATE bookings SET end_at = end_at + interval '1 hour' WHERE id = test.id('b', 18);
COMMIT;
SELECT * FROM test.bookings(14, 15, 16, 17, 18);

-- the guests come and go: a change of status like any other, and the tables stay
SELECT test.confirm(14, 5);
UPDATE bookings SET status = 'checked_in' WHERE id = test.id('b', 14);
SELECT * FROM test.bookings(14);
-- and nobody is turned out of a table for staying longer, or for one guest more
UPDATE bookings SET end_at = end_at + interval '30 minutes', party_size = 7 WHERE id = test.id('b', 14);
SELECT * FROM test.bookings(14);
SELECT * FROM test.unsound();
UPDATE bookings SET status = 'completed', end_at = end_at - interval '15 minutes' WHERE id = test.id('b', 14);
SELECT * FROM test.bookings(14);
SELECT version, from_state, to_state, reason FROM test.trail(14);
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
