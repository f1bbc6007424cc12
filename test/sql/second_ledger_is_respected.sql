-- Where the app keeps an allocations ledger beside the assignments, the pipeline must respect what is taken there, keep
-- both ledgers in step, and block tables in it.  It could fail by writing only one of the two, by taking shadow rows
-- or those of other resources for real ones, by freeing a table in one ledger alone, or by showing the caller the
-- ledger's own constraint when a block meets a seated party.
\set database second_ledger
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
-- the ledger comes to a session that is attached already
SELECT mode FROM assignment_v3.mode();
CREATE TABLE allocations (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	resource_type text NOT NULL,
	resource_id uuid NOT NULL,
	restaurant_id uuid NOT NULL,
	booking_id uuid REFERENCES bookings (id) ON DELETE CASCADE,
	"window" tstzrange NOT NULL,
	shadow boolean NOT NULL DEFAULT false,
	is_maintenance boolean NOT NULL DEFAULT false,
	EXCLUDE USING gist (resource_id WITH =, "window" WITH &&) WHERE (NOT shadow)
);
CREATE FUNCTION test.ledger() RETURNS TABLE (table_no text, booking text, from_until text, kind text) LANGUAGE sql STABLE AS $$
	SELECT right(l.resource_id::text, 2), right(l.booking_id::text, 2), lower(l."window") || ' ' || upper(l."window"),
		concat_ws(' ', l.resource_type, CASE WHEN l.shadow THEN 'shadow' END, CASE WHEN l.is_maintenance THEN 'maintenance' END)
	FROM public.allocations AS l ORDER BY l.resource_id, lower(l."window"), l.shadow
$$;
SET assignment_v3.enabled TO on;

-- what is taken there and what is not: by another booking, by maintenance, in the shadow, by another resource, at another time
SELECT test.book(1, 2), test.book(2, 2, 17, 19);
INSERT INTO allocations (resource_type, resource_id, restaurant_id, booking_id, "window", shadow, is_maintenance) VALUES
	('table', test.id('d', 1), test.id('a', 1), test.id('b', 2), tstzrange(test.hour(17), test.hour(19)), false, false),
	('table', test.id('d', 2), test.id('a', 1), NULL, tstzrange(test.hour(19), test.hour(21)), false, true),
	('table', test.id('d', 7), test.id('a', 1), test.id('b', 2), tstzrange(test.hour(17), test.hour(19)), true, false),
	('room', test.id('d', 3), test.id('a', 1), test.id('b', 2), tstzrange(test.hour(17), test.hour(19)), false, false),
	('table', test.id('d', 5), test.id('a', 1), test.id('b', 2), tstzrange(test.hour(16), test.hour(18)), false, false);
SELECT table_number, verdict, detail FROM assignment_v3.explain(test.id('b', 1));
SELECT * FROM test.refusal($$SELECT assignment_v3.assign(test.id('b', 1), test.ids('d', 1), force => true)$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.assign(test.id('b', 1), test.ids('d', 2), force => true)$$);
-- table 7 is the only one of two seats that is left
SELECT outcome, table_ids FROM assignment_v3.process_booking(test.id('b', 1));
SELECT * FROM test.bookings(1);
SELECT * FROM test.ledger();

-- both ledgers move together
SELECT assignment_v3.assign(test.id('b', 1), test.ids('d', 7, 8));
SELECT * FROM test.ledger() WHERE booking = '01';
SELECT assignment_v3.assign(test.id('b', 1), test.ids('d', 8), force => true);
SELECT * FROM test.ledger() WHERE booking = '01';
SELECT assignment_v3.reopen(test.id('b', 1));
SELECT count(*) AS rows FROM test.ledger() WHERE booking = '01';
SELECT outcome FROM assignment_v3.process_booking(test.id('b', 1));
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 1);
SELECT count(*) AS rows FROM test.ledger() WHERE booking = '01';
-- the shadow of another is not ours to free
SELECT count(*) AS rows FROM test.ledger() WHERE kind = 'table shadow';
-- a booking that legacy has given its row already is seated all the same
SELECT outcome, table_ids FROM assignment_v3.process_booking(test.id('b', 2));
SELECT * FROM test.ledger() WHERE booking = '02';
DELETE FROM allocations;

-- a block is a maintenance row, and bars the table
SELECT test.book(3, 6, 18, 20), test.book(4, 2, 18, 20), test.book(5, 6, 21, 23);
CREATE TABLE test.blocked AS SELECT * FROM assignment_v3.block(test.ids('d', 5, 6), test.hour(18), test.hour(21), 'painting');
SELECT right(table_id::text, 2) AS table_no, colliding_booking_id FROM test.blocked ORDER BY table_id;
SELECT * FROM test.ledger();
SELECT count(*) AS ids FROM test.blocked AS b JOIN allocations AS l ON l.id = b.block_id AND l.resource_id = b.table_id;
SELECT count(*) AS blocks FROM assignment_v3.blocks;
SELECT table_numbers FROM assignment_v3.plan(test.id('b', 3), 1);
SELECT * FROM test.refusal($$SELECT assignment_v3.assign(test.id('b', 3), test.ids('d', 5), force => true)$$);
SELECT table_numbers FROM assignment_v3.plan(test.id('b', 5), 1);
SELECT assignment_v3.unblock(block_id) FROM test.blocked WHERE table_id = test.id('d', 5);
SELECT * FROM test.ledger();
SELECT test.confirm(3, 5);
-- unblock() ends blocks, not seatings
SELECT assignment_v3.unblock(id) AS unblocked FROM allocations WHERE booking_id = test.id('b', 3);
SELECT * FROM test.bookings(3);

-- a block that meets a seated party: the ledger can't hold both, so it is refused in our words, naming the booking
SELECT * FROM test.refusal($$SELECT assignment_v3.block(test.ids('d', 5), test.hour(19), test.hour(21))$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.block(test.ids('d', 1, 6), test.hour(20), test.hour(22))$$);
SELECT * FROM test.ledger();
-- moved away, the table can be blocked
SELECT assignment_v3.assign(test.id('b', 3), test.ids('d', 3, 2));
SELECT right(table_id::text, 2) AS table_no, colliding_booking_id FROM assignment_v3.block(test.ids('d', 5), test.hour(19), test.hour(21));
SELECT * FROM test.ledger();
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
