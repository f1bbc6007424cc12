-- requeue() must give a booking in manual review or failed a new start, reopen() release the tables of a confirmed one, and
-- each nothing else: they are doors of their own beside the matrix, so it could fail by opening one for a state that is
-- not its own, by leaving tables or the queue behind, or by telling a guest who has nothing to hear.
\set database staff_requeue
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
SET assignment_v3.enabled TO on;

-- 1 to 8 are brought into one state each
SELECT count(test.book(n, 2, 18 + 24 * n, 20 + 24 * n)) AS bookings FROM generate_series(1, 12) AS n;
SELECT count(assignment_v3.transition(test.id('b', w.n), s)) AS steps
FROM (VALUES (2, '{capacity_verified}'), (3, '{capacity_verified,assignment_pending}'),
	(4, '{capacity_verified,assignment_pending,assignment_in_progress}'),
	(5, '{capacity_verified,assignment_pending,assignment_in_progress,assigned}'), (7, '{failed}'),
	(8, '{capacity_verified,assignment_pending,manual_review}')) AS w (n, way), unnest(way::text[]) AS u (s);
SELECT test.confirm(6, 1, 2);
SELECT * FROM test.bookings(1, 2, 3, 4, 5, 6, 7, 8);

-- requeue: from manual review and failed only
SELECT state, r.refusal
FROM test.bookings(1, 2, 3, 4, 5, 6) AS b, test.refusal(format('SELECT assignment_v3.requeue(%L)', test.id('b', b.n))) WITH ORDINALITY AS r (refusal, o)
ORDER BY b.n, r.o;
SELECT * FROM assignment_v3.requeue(test.id('b', 7), 'a table has come back', '5e1f0000-0000-4000-8000-00000000000a');
SELECT * FROM assignment_v3.requeue(test.id('b', 8));
SELECT * FROM test.bookings(7, 8);
SELECT * FROM test.trail(7);
SELECT actor_id FROM booking_assignment_state_history WHERE booking_id = test.id('b', 7) AND version = 3;
SELECT event_type, context FROM test.events(7) ORDER BY context -> 'version' DESC LIMIT 1;
SELECT event_type, dedupe_key FROM test.messages(7);
SELECT * FROM test.refusal($$SELECT assignment_v3.requeue(test.id('b', 7))$$);

-- reopen: from confirmed only
SELECT state, r.refusal
FROM test.bookings(1, 2, 3, 4, 5, 8) AS b, test.refusal(format('SELECT assignment_v3.reopen(%L)', test.id('b', b.n))) WITH ORDINALITY AS r (refusal, o)
ORDER BY b.n, r.o;
SELECT * FROM assignment_v3.reopen(test.id('b', 6), 'the table is needed', '5e1f0000-0000-4000-8000-00000000000a');
SELECT * FROM test.bookings(6);
SELECT * FROM test.trail(6);
SELECT actor_id FROM booking_assignment_state_history WHERE booking_id = test.id('b', 6) AND version = 4;
SELECT event_type, dedupe_key FROM test.messages(6);
SELECT * FROM test.refusal($$SELECT assignment_v3.reopen(test.id('b', 6))$$);
-- what was released can be taken by another booking
SELECT test.book(16, 2, 18 + 24 * 6, 20 + 24 * 6);
SELECT test.confirm(16, 1, 2);

-- a booking that another writer has confirmed, and one that is cancelled
SELECT test.seat(9, 3);
UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 9);
SELECT * FROM assignment_v3.reopen(test.id('b', 9));
SELECT * FROM test.bookings(9);
SELECT test.confirm(10, 3);
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 10);
SELECT * FROM test.refusal($$SELECT assignment_v3.reopen(test.id('b', 10))$$);
-- guests who have left need no table
UPDATE bookings SET status = 'completed' WHERE id = test.id('b', 16);
SELECT * FROM test.refusal($$SELECT assignment_v3.reopen(test.id('b', 16))$$);
SELECT * FROM test.bookings(16);
-- one in review that is cancelled waits for nothing
SELECT assignment_v3.transition(test.id('b', 11), 'failed');
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 11);
SELECT assignment_v3.requeue(test.id('b', 11));
SELECT * FROM test.bookings(10, 11);

-- Where failures have used up the attempts, their count starts anew and their numbers go on.
UPDATE bookings SET party_size = 50 WHERE id = test.id('b', 12);
SET assignment_v3.max_attempts TO 2;
SELECT outcome, reason, attempt FROM assignment_v3.process_booking(test.id('b', 12));
SELECT outcome, reason, attempt FROM assignment_v3.process_booking(test.id('b', 12));
SELECT outcome, reason FROM assignment_v3.process_booking(test.id('b', 12));
SELECT * FROM assignment_v3.requeue(test.id('b', 12));
SELECT outcome, reason, attempt FROM assignment_v3.process_booking(test.id('b', 12));
SELECT outcome, reason, attempt FROM assignment_v3.process_booking(test.id('b', 12));
SELECT attempt_no, result, reason FROM booking_assignment_attempts WHERE booking_id = test.id('b', 12) ORDER BY attempt_no;

-- unknown and NULL
SELECT * FROM test.refusal($$SELECT assignment_v3.requeue(test.id('b', 99))$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.requeue(NULL)$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.reopen(test.id('b', 99))$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.reopen(NULL)$$);
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
