-- A plan made while a table was all but empty must still be right when it is full: a kept plan stays until somebody
-- analyses the table.  It could fail by reading a whole table, or a whole index for its order, where one entry is wanted,
-- which costs nothing as long as the planner believes that there is one row.
\set database 'plans_have_no_cliff'
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/app.sql
\set ECHO all
\o
SET assignment_v3.enabled TO on;
CALL test.open(1, 2, 2, 4, 4);
-- what was read so far of the tables that a decision reads, in rows and index entries
CREATE VIEW test.reads AS
	SELECT t.relname AS relation, coalesce(t.seq_tup_read, 0) + coalesce((SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes AS i WHERE i.relid = t.relid), 0) AS entries
	FROM pg_stat_user_tables AS t
	WHERE t.relname IN ('table_hold_windows', 'table_holds', 'blocks', 'bookings', 'booking_table_assignments', 'queue');
INSERT INTO table_holds (id, restaurant_id, start_at, end_at, expires_at, status)
VALUES (test.id('e', 1), test.id('a', 1), test.at(1), test.at(2), test.at(3), 'active');
INSERT INTO table_hold_windows (hold_id, table_id, restaurant_id, start_at, end_at, expires_at)
VALUES (test.id('e', 1), test.id('d', 101), test.id('a', 1), test.at(1), test.at(2), test.at(3));
ANALYZE;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
VALUES (test.id('b', 1), test.id('a', 1), 2, test.at(19), test.at(20));
SELECT outcome FROM assignment_v3.process_booking(test.id('b', 1));

-- thousands of rows that nobody has analysed, written without anything that makes the session plan anew
CALL test.open(2);
INSERT INTO table_inventory (id, restaurant_id, zone_id, table_number, capacity)
SELECT test.id('d', n), test.id('a', 2), test.id('c', 2), n, 2 FROM generate_series(1000, 3999) AS n;
INSERT INTO table_holds (id, restaurant_id, start_at, end_at, expires_at, status)
SELECT test.id('e', n), test.id('a', 2), test.at(18), test.at(21), test.at(22), 'active' FROM generate_series(1000, 3999) AS n;
INSERT INTO table_hold_windows (hold_id, table_id, restaurant_id, start_at, end_at, expires_at)
SELECT test.id('e', n), test.id('d', n), test.id('a', 2), test.at(18), test.at(21), test.at(22) FROM generate_series(1000, 3999) AS n;
INSERT INTO assignment_v3.blocks (restaurant_id, table_id, start_at, end_at)
SELECT test.id('a', 2), test.id('d', n), test.at(18), test.at(21) FROM generate_series(1000, 3999) AS n;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT test.id('b', n), test.id('a', 2), 2, test.at(18), test.at(21) FROM generate_series(1000, 3999) AS n;
INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at)
SELECT test.id('b', n), test.id('d', n), test.at(18), test.at(21) FROM generate_series(1000, 3999) AS n;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
VALUES (test.id('b', 2), test.id('a', 1), 4, test.at(19), test.at(20));
DO $$ BEGIN PERFORM pg_stat_force_next_flush(); END $$;
CREATE TABLE test.before AS SELECT * FROM test.reads;
SELECT outcome FROM assignment_v3.process_booking(test.id('b', 2));
DO $$ BEGIN PERFORM pg_stat_force_next_flush(); END $$;
SELECT r.relation, r.entries - b.entries < 100 AS few FROM test.reads AS r JOIN test.before AS b USING (relation) ORDER BY r.relation;

\set ECHO none
\c :origin
DROP DATABASE :database;
