-- block() must take tables out for a while and list whom that hits, so that nobody is seated there by the planner, by staff
-- or with force; unblock() must end it.  It could fail at the edges of the window, for tables that are seated when they
-- are blocked, or by a block of one table that reaches others.
\set database blocked_tables
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
SET assignment_v3.enabled TO on;
SELECT test.book(1, 6), test.book(2, 6, 21, 23), test.book(3, 6, 14, 16), test.book(4, 2, 18, 20), test.book(5, 2, 20, 22);
SELECT test.confirm(4, 1);
SELECT test.confirm(5, 1);

-- whom it hits: a row per table and colliding booking, one without a booking where there is none
CREATE TABLE test.blocked AS SELECT * FROM assignment_v3.block(test.ids('d', 1, 5, 21), test.hour(19), test.hour(20.5), 'wobbles');
SELECT right(table_id::text, 2) AS table_no, right(colliding_booking_id::text, 1) AS booking FROM test.blocked ORDER BY table_id, colliding_booking_id;
SELECT count(DISTINCT block_id) AS blocks, count(DISTINCT table_id) AS tables FROM test.blocked;
SELECT right(k.restaurant_id::text, 1) AS restaurant, right(k.table_id::text, 2) AS table_no, k.start_at, k.end_at, k.reason, k.created_by = CURRENT_USER AS by_me,
	k.id = b.block_id AS id FROM assignment_v3.blocks AS k JOIN (SELECT DISTINCT block_id, table_id FROM test.blocked) AS b USING (table_id) ORDER BY k.table_id;
-- those who sit there are not moved
SELECT * FROM test.bookings(4, 5);
SELECT * FROM test.unsound();

-- the planner passes it over: table 5 would be the one for a party of 6
SELECT table_numbers FROM assignment_v3.plan(test.id('b', 1), 1);
SELECT table_number, verdict, detail FROM assignment_v3.explain(test.id('b', 1)) WHERE table_number IN ('1', '5', '6');
SELECT outcome, table_ids FROM assignment_v3.process_booking(test.id('b', 1));
-- but not before and after, however close
UPDATE bookings SET start_at = test.hour(20.5), end_at = test.hour(22.5) WHERE id = test.id('b', 2);
UPDATE bookings SET start_at = test.hour(17), end_at = test.hour(19) WHERE id = test.id('b', 3);
SELECT outcome, table_ids FROM assignment_v3.process_booking(test.id('b', 2));
SELECT outcome, table_ids FROM assignment_v3.process_booking(test.id('b', 3));
SELECT * FROM test.bookings(1, 2, 3);
-- nor is staff let in
SELECT test.book(6, 2, 19, 20.5);
SELECT * FROM test.refusal($$SELECT assignment_v3.assign(test.id('b', 6), test.ids('d', 5), force => true)$$);
-- reopened, the one who sat there is not seated there again
SELECT assignment_v3.reopen(test.id('b', 4));
SELECT outcome, table_ids FROM assignment_v3.process_booking(test.id('b', 4));

-- unblock: this table, not the others
SELECT assignment_v3.unblock(block_id) FROM test.blocked WHERE table_id = test.id('d', 5);
SELECT assignment_v3.unblock(block_id) FROM test.blocked WHERE table_id = test.id('d', 5);
SELECT count(*) AS blocks FROM assignment_v3.blocks;
SELECT table_number, verdict FROM assignment_v3.explain(test.id('b', 6)) WHERE table_number IN ('1', '5');
SELECT test.confirm(6, 5);

-- blocks may overlap: the table is free when the last one ends
SELECT test.book(7, 2, 30, 32);
SELECT count(*) FROM assignment_v3.block(test.ids('d', 8), test.hour(29), test.hour(31), 'first');
SELECT count(*) FROM assignment_v3.block(test.ids('d', 8, 8), test.hour(30), test.hour(33));
SELECT table_number, verdict, detail FROM assignment_v3.explain(test.id('b', 7)) WHERE table_number = '8';
SELECT bool_and(assignment_v3.unblock(id)) FROM assignment_v3.blocks WHERE reason = 'first';
SELECT * FROM test.refusal($$SELECT test.confirm(7, 8)$$);
-- a block that is rolled back is none
BEGIN;
SELECT count(*) FROM assignment_v3.block(test.ids('d', 7), test.hour(29), test.hour(33));
ROLLBACK;
SELECT test.confirm(7, 7);

-- arguments: nothing is written when one is bad
SELECT * FROM test.refusal($$SELECT assignment_v3.block(NULL, test.hour(1), test.hour(2))$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.block('{}', test.hour(1), test.hour(2))$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.block(ARRAY[test.id('d', 1), NULL], test.hour(1), test.hour(2))$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.block(test.ids('d', 1, 77), test.hour(1), test.hour(2))$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.block(test.ids('d', 1), test.hour(2), test.hour(2))$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.block(test.ids('d', 1), test.hour(3), test.hour(2))$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.block(test.ids('d', 1), NULL, test.hour(2))$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.block(test.ids('d', 1), test.hour(2), NULL)$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.unblock(NULL)$$);
SELECT assignment_v3.unblock(test.id('e', 1)) AS unknown;
BEGIN READ ONLY;
SELECT assignment_v3.block(test.ids('d', 1), test.hour(1), test.hour(2));
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT assignment_v3.unblock(test.id('e', 1));
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT count(*) AS blocks FROM assignment_v3.blocks;
-- for ever
SELECT count(*) FROM assignment_v3.block(test.ids('d', 22), test.hour(0), 'infinity', 'sold');
SELECT test.book(8, 2, 9000, 9002, 2);
SELECT table_number, verdict, detail FROM assignment_v3.explain(test.id('b', 8));
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
