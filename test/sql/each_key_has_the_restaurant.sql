-- attach(by_restaurant => true) must make a schema that could be spread by restaurant: whatever belongs to one says so in
-- each row, and every key, exclusion constraint and foreign key between such tables contains it.  And it must be one that the
-- pipeline works on as ever, on one node.  It could fail by a key that was forgotten, by a statement that names the key of
-- the queue, by a row that is written without its restaurant, by a foreign key that sets the restaurant null, by a second
-- attach() that misses keys which are there in another form, or by a booking that changes its restaurant and leaves its rows
-- behind.
\set database each_key
\getenv srcdir PG_ABS_SRCDIR
\set attach_arguments 'by_month => true, by_restaurant => true'
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
-- the tables that would be spread, and their keys
CREATE VIEW test.spread AS
	SELECT c.oid::regclass AS relation, a.attnum, a.attnotnull FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
	JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'restaurant_id'
	WHERE n.nspname IN ('public', 'assignment_v3') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
		AND c.relname NOT IN ('observability_events', 'rollout', 'audit');
SELECT relation, attnotnull FROM test.spread ORDER BY relation::text COLLATE "C";
SELECT s.relation, pg_get_constraintdef(con.oid) AS key, s.attnum = ANY (con.conkey) AND (con.contype <> 'f' OR con.confrelid = 'restaurants'::regclass
	OR s.attnum = con.conkey[cardinality(con.conkey)]) AS fits
FROM test.spread AS s JOIN pg_constraint AS con ON con.conrelid = s.relation AND con.contype IN ('p', 'u', 'x', 'f')
ORDER BY s.relation::text COLLATE "C", con.contype, con.conname;
SELECT i.indexrelid::regclass AS unique_index_without_it FROM test.spread AS s
JOIN pg_index AS i ON i.indrelid = s.relation AND (i.indisunique OR i.indisexclusion) WHERE s.attnum <> ALL (i.indkey);
-- PostgreSQL itself would take each of them by restaurant; exclusion constraints only from version 17 on
\set ECHO none
SELECT format('CREATE TABLE test.%I (LIKE %s INCLUDING ALL EXCLUDING IDENTITY%s) PARTITION BY HASH (restaurant_id)', 'twin_' || row_number() OVER (ORDER BY relation::text),
	relation, CASE relation WHEN 'booking_table_assignments'::regclass THEN ' EXCLUDING INDEXES' END)
FROM test.spread \gexec
\set ECHO all
SELECT count(*) AS twins, (SELECT count(*) FROM test.spread) AS spread FROM pg_class WHERE relname ~ '^twin_\d+$' AND relkind = 'p';
\set ECHO none
SELECT format('DROP TABLE test.%I', relname) FROM pg_class WHERE relname ~ '^twin_\d+$' AND relkind = 'p' \gexec
\set ECHO all
SELECT * FROM assignment_v3.attach();
SELECT * FROM assignment_v3.attach(by_restaurant => true, by_month => true);
SELECT * FROM assignment_v3.roll_months();

-- confirm, merge, no table, retry and review
SET assignment_v3.enabled TO on;
SET assignment_v3.max_attempts TO 1;
SELECT test.book(1, 2), test.book(2, 9), test.book(3, 20), test.book(4, 2, 30, 32, 2);
SELECT outcome, strategy, cardinality(table_ids) AS tables FROM assignment_v3.process_booking(test.id('b', 1));
CALL assignment_v3.run();
SELECT * FROM test.bookings(1, 2, 3, 4);
RESET assignment_v3.max_attempts;
-- staff: requeue, reopen, assign, move, block; another writer; facts, cancel, back again
UPDATE bookings SET party_size = 2, start_at = test.hour(40), end_at = test.hour(42) WHERE id = test.id('b', 3);
SELECT assignment_v3.requeue(test.id('b', 3));
SELECT assignment_v3.reopen(test.id('b', 1));
SELECT test.confirm(4, 22);
CALL assignment_v3.run();
SELECT test.confirm(1, 7);
SELECT count(*) FROM assignment_v3.block(test.ids('d', 1), test.hour(50), test.hour(52));
SELECT test.book(5, 2, 50, 52), test.book(6, 2, 60, 62), test.book(7, 2, 70, 72);
CALL assignment_v3.run(1);
INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at, restaurant_id) VALUES (test.id('b', 6), test.id('d', 3), test.hour(60), test.hour(62), test.id('a', 1));
UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', 6);
UPDATE bookings SET party_size = 3 WHERE id = test.id('b', 2);
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 4);
CALL assignment_v3.run();
UPDATE bookings SET status = 'pending' WHERE id = test.id('b', 4);
CALL assignment_v3.run();
SELECT * FROM test.bookings(1, 2, 3, 4, 5, 6, 7);
SELECT * FROM test.unsound();
-- a rehearsal; bookings that nobody has queued
SET assignment_v3.enabled TO off;
SELECT test.book(8, 2, 80, 82);
SET assignment_v3.shadow TO on;
SELECT assignment_v3.enqueue_existing(now() - interval '1 day');
SELECT assignment_v3.enqueue_existing(now() - interval '1 day');
CALL assignment_v3.run();
SELECT outcome FROM booking_assignment_shadow_results;
RESET assignment_v3.shadow;
-- every row says whose it is
SELECT 'attempts' AS relation, count(*) > 0 AS rows, bool_and(x.restaurant_id = b.restaurant_id) AS right_ones FROM booking_assignment_attempts AS x JOIN bookings AS b ON b.id = x.booking_id
UNION ALL SELECT 'history', count(*) > 0, bool_and(x.restaurant_id = b.restaurant_id) FROM booking_assignment_state_history AS x JOIN bookings AS b ON b.id = x.booking_id
UNION ALL SELECT 'assignments', count(*) > 0, bool_and(x.restaurant_id = b.restaurant_id) FROM booking_table_assignments AS x JOIN bookings AS b ON b.id = x.booking_id
UNION ALL SELECT 'outbox', count(*) > 0, bool_and(x.restaurant_id = b.restaurant_id) FROM capacity_outbox AS x JOIN bookings AS b ON b.id = x.booking_id;
-- a table is taken once, whichever restaurant a writer names
SELECT * FROM test.refusal($$INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at, restaurant_id) VALUES (test.id('b', 8), test.id('d', 3), test.hour(61), test.hour(62), test.id('a', 1))$$);
SELECT * FROM test.refusal($$INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at, restaurant_id) VALUES (test.id('b', 4), test.id('d', 3), test.hour(61), test.hour(62), test.id('a', 2))$$);
-- a booking stays where it is, confirmed or new
SELECT * FROM test.refusal($$UPDATE bookings SET restaurant_id = test.id('a', 2) WHERE id = test.id('b', 8)$$);
SELECT * FROM test.refusal($$UPDATE bookings SET restaurant_id = test.id('a', 2) WHERE id = test.id('b', 1)$$);
-- a zone that goes takes nothing else along; a booking takes all that is about it
UPDATE bookings SET assigned_zone_id = test.id('c', 3) WHERE id = test.id('b', 4);
SELECT assignment_v3.transition(test.id('b', 8), 'failed');
DELETE FROM bookings WHERE id IN (test.id('b', 8), test.id('b', 1));
SELECT count(*) AS rows FROM booking_assignment_state_history WHERE booking_id IN (test.id('b', 8), test.id('b', 1));
INSERT INTO zones (id, restaurant_id, name) VALUES (test.id('c', 9), test.id('a', 2), 'Nowhere');
UPDATE bookings SET assigned_zone_id = test.id('c', 9) WHERE id = test.id('b', 4);
DELETE FROM zones WHERE id = test.id('c', 9);
SELECT assigned_zone_id, right(restaurant_id::text, 1) AS restaurant FROM bookings WHERE id = test.id('b', 4);
SELECT * FROM assignment_v3.verify();
SELECT history_rows > 0 AS purged FROM assignment_v3.purge('0');
SELECT * FROM assignment_v3.verify();
SELECT status FROM assignment_v3.health;

-- what is lost comes back in this form; the next table that is made has it, too
DROP TABLE assignment_v3.queue, table_hold_windows, table_holds;
ALTER TABLE booking_table_assignments DROP CONSTRAINT booking_table_assignments_no_overlap;
DROP INDEX capacity_outbox_event_type_dedupe_key_key;
SELECT action, object FROM assignment_v3.attach() WHERE action NOT IN ('commented', 'enabled');
SELECT s.relation, pg_get_constraintdef(con.oid) AS key FROM test.spread AS s JOIN pg_constraint AS con ON con.conrelid = s.relation AND con.contype IN ('p', 'u', 'x', 'f')
WHERE con.contype = 'x' OR s.relation IN ('assignment_v3.queue'::regclass, 'table_holds'::regclass) ORDER BY s.relation::text COLLATE "C", con.contype, con.conname;
SELECT * FROM assignment_v3.attach();
SET assignment_v3.enabled TO on;
SELECT test.book(9, 2, 90, 92);
CALL assignment_v3.run();
SELECT * FROM test.bookings(9);
SELECT * FROM assignment_v3.verify();

-- what is there already is adopted as it is, and attach() says so
SELECT count(*) > 0 AS detached FROM assignment_v3.detach();
CREATE SCHEMA plain;
SELECT count(*) > 0 AS attached FROM assignment_v3.attach('plain');
DROP TABLE plain.booking_assignment_attempts;
SELECT action, object, statement FROM assignment_v3.attach('plain', by_restaurant => true) WHERE action = 'noted' OR object ~ 'attempts$';
SELECT pg_get_constraintdef(oid) AS key FROM pg_constraint WHERE conrelid = 'plain.booking_assignment_attempts'::regclass AND contype IN ('p', 'f');

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
