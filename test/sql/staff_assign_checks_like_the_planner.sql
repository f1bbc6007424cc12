-- assign() must check every table that staff choose as the planner would, and say which table fails which check; with
-- force it passes what is a matter of judgement (seats, party limits, number, mobility, zone, adjacency) and never a table
-- that is not there to be had.  It could fail by leaving out one check, by one that force passes and should not, by
-- looking at times that only touch, or by writing before it refuses.
\set database staff_assign
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all

-- what assign() says to these tables, without and with force
CREATE FUNCTION test.assign(n int, tables int[], force boolean DEFAULT false) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT test.refusal(format('SELECT assignment_v3.assign(%L, %L, force => %L)', test.id('b', n), test.ids('d', VARIADIC tables), force))
$$;

-- the party
SELECT test.book(1, 5);
SELECT * FROM test.assign(1, '{3}');
SELECT * FROM test.assign(1, '{1,2}');
SELECT test.book(2, 4);
SELECT * FROM test.assign(2, '{6}');
UPDATE table_inventory SET max_party_size = 3 WHERE id = test.id('d', 3);
SELECT * FROM test.assign(2, '{3}');
UPDATE table_inventory SET max_party_size = 6 WHERE id = test.id('d', 3);
SELECT * FROM test.assign(1, '{3}');
UPDATE table_inventory SET max_party_size = NULL WHERE id = test.id('d', 3);

-- a merge: fixed, another zone, not side by side, too many
SELECT * FROM test.assign(1, '{3,4}');
SELECT * FROM test.assign(1, '{1,8}');
SELECT * FROM test.assign(1, '{1,3}');
SELECT * FROM test.assign(1, '{1,2,3,5}');
UPDATE table_inventory SET zone_id = NULL WHERE id = test.id('d', 8);
SELECT * FROM test.assign(1, '{7,8}');
UPDATE table_inventory SET zone_id = test.id('c', 2) WHERE id = test.id('d', 8);
-- everything at once
SELECT * FROM test.assign(1, '{4,6,7,8}');
SET assignment_v3.max_tables TO 1;
SELECT * FROM test.assign(1, '{3,5}');
RESET assignment_v3.max_tables;

-- not there to be had: each with and without force
SELECT * FROM test.assign(1, '{21}');
SELECT * FROM test.assign(1, '{21}', true);
SELECT * FROM test.assign(1, '{77}', true);
SELECT * FROM test.assign(1, '{9}');
SELECT * FROM test.assign(1, '{9}', true);
SELECT * FROM test.assign(1, '{10}', true);
-- taken, by whom and until when
SELECT test.book(3, 2, 19, 21);
SELECT test.confirm(3, 5);
SELECT * FROM test.assign(1, '{5}');
SELECT * FROM test.assign(1, '{3,5}', true);
-- by a booking that the pipeline has not confirmed
SELECT test.book(4, 2, 17, 19);
SELECT test.seat(4, 7);
SELECT * FROM test.assign(1, '{7}', true);
-- held for another party, as long as the hold lasts
INSERT INTO table_holds (id, restaurant_id, start_at, end_at, expires_at, status)
SELECT test.id('e', n), test.id('a', 1), test.hour(18), test.hour(20), CASE n WHEN 2 THEN now() - interval '1 minute' ELSE '2098-01-01' END,
	CASE n WHEN 3 THEN 'released' ELSE 'active' END FROM generate_series(1, 4) AS n;
INSERT INTO table_hold_windows (hold_id, table_id, restaurant_id, booking_id, start_at, end_at, expires_at)
SELECT h.id, test.id('d', 6), h.restaurant_id, NULL, h.start_at, h.end_at, h.expires_at FROM table_holds AS h WHERE h.id = test.id('e', 1);
SELECT * FROM test.assign(1, '{6}');
SELECT * FROM test.assign(1, '{6}', true);
-- blocked
SELECT count(*) AS blocks FROM assignment_v3.block(test.ids('d', 8), test.hour(12), test.hour(18.25), 'wobbles');
SELECT * FROM test.assign(2, '{8}');
SELECT * FROM test.assign(2, '{8}', true);
-- one bad table is enough, and each is named
SELECT * FROM test.assign(1, '{3,5,6,7,8,9,10,21}', true);
-- none of this has left a trace
SELECT * FROM test.bookings(1, 2);
SELECT count(*) AS steps FROM test.trail(1);

-- times that only touch do not collide; a hold that is over, released, or the booking's own is none
SELECT test.book(5, 2, 16, 17), test.book(6, 2, 21, 23), test.book(7, 6, 10, 12);
SELECT * FROM test.assign(5, '{7}');
SELECT * FROM test.assign(6, '{5}');
SELECT * FROM test.assign(7, '{6}');
INSERT INTO table_hold_windows (hold_id, table_id, restaurant_id, booking_id, start_at, end_at, expires_at)
SELECT h.id, test.id('d', 3), h.restaurant_id, CASE h.id WHEN test.id('e', 4) THEN test.id('b', 2) END, h.start_at, h.end_at, h.expires_at
FROM table_holds AS h WHERE h.id <> test.id('e', 1);
SELECT * FROM test.assign(2, '{3}');
SELECT * FROM test.bookings(2, 5, 6, 7);

-- force passes what is a matter of judgement: each of them, then all together
SELECT test.book(n, 5, 18 + 24 * n, 20 + 24 * n) FROM generate_series(11, 18) AS n;
SELECT * FROM test.assign(11, '{3}', true);
UPDATE bookings SET party_size = 2 WHERE id = test.id('b', 12);
SELECT * FROM test.assign(12, '{6}', true);
SELECT * FROM test.assign(13, '{1,5}', true);
SELECT * FROM test.assign(14, '{3,4}', true);
SELECT * FROM test.assign(15, '{3,7}', true);
SELECT * FROM test.assign(16, '{1,2,3,5}', true);
UPDATE bookings SET party_size = 500 WHERE id = test.id('b', 17);
SELECT * FROM test.assign(17, '{1,4,6,7,8}', true);
SELECT * FROM test.bookings(11, 12, 13, 14, 15, 16, 17);
SELECT * FROM test.trail(17);
-- nothing is forced that need not be, but who forces says so
SELECT * FROM test.assign(18, '{5}', true);
SELECT metadata -> 'forced' AS forced FROM test.trail(18);

-- arguments
SELECT test.book(8, 2, 30, 32);
SELECT * FROM test.refusal($$SELECT assignment_v3.assign(NULL, test.ids('d', 1))$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.assign(test.id('b', 99), test.ids('d', 1))$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.assign(test.id('b', 8), NULL)$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.assign(test.id('b', 8), '{}')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.assign(test.id('b', 8), ARRAY[test.id('d', 1), NULL])$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.assign(test.id('b', 8), test.ids('d', 1), expected_version => 2)$$);
SELECT * FROM test.bookings(8);
-- a table named twice counts once, in an array of any shape
SELECT * FROM assignment_v3.assign(test.id('b', 8), ARRAY[test.ids('d', 2, 1), test.ids('d', 1, 2)], 'regulars', 1, NULL, test.id('e', 5));
SELECT * FROM test.bookings(8);
SELECT version, reason, actor_id FROM booking_assignment_state_history WHERE booking_id = test.id('b', 8) ORDER BY version;

-- bookings that nobody can be seated for
SELECT test.book(n, 2, 40 + n, 41 + n) FROM generate_series(20, 24) AS n;
UPDATE bookings SET status = (ARRAY['cancelled', 'no_show', 'completed'])[right(id::text, 2)::int - 19]
WHERE id IN (test.id('b', 20), test.id('b', 21), test.id('b', 22));
SELECT * FROM test.assign(20, '{1}', true);
SELECT * FROM test.assign(21, '{1}', true);
SELECT * FROM test.assign(22, '{1}', true);
ALTER TABLE bookings DROP CONSTRAINT bookings_window_check, ALTER COLUMN start_at DROP NOT NULL, ALTER COLUMN end_at DROP NOT NULL;
UPDATE bookings SET end_at = start_at WHERE id = test.id('b', 23);
UPDATE bookings SET start_at = NULL WHERE id = test.id('b', 24);
SELECT * FROM test.assign(23, '{1}', true);
SELECT * FROM test.assign(24, '{1}', true);
UPDATE bookings SET start_at = end_at + interval '1 hour' WHERE id = test.id('b', 24);
SELECT * FROM test.assign(24, '{1}', true);
-- a guest who sits already stays checked in
SELECT test.book(25, 2, 70, 72);
UPDATE bookings SET status = 'checked_in' WHERE id = test.id('b', 25);
SELECT * FROM test.assign(25, '{1}');
SELECT * FROM test.bookings(25);
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
