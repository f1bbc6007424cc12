-- DROP EXTENSION must be refused while attached, and after detach() leave every table, every row and every default behind,
-- so that installing and attaching again goes on where it stopped; even CASCADE must take nothing but triggers.  It could
-- fail by a table that belongs to the extension, by a default or check that needs one of its functions, by sessions
-- that remember what was attached, or by a binding that outlives its triggers and is believed.
\set database drop_extension
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\i :srcdir/sql/include/schema_lines.sql
\set ECHO all
SET assignment_v3.enabled TO on;
SELECT test.book(n, 2, 18 + 24 * n, 20 + 24 * n) FROM generate_series(1, 4) AS n;
SELECT outcome FROM assignment_v3.process_booking(test.id('b', 1));
SELECT test.confirm(2, 1, 2);
INSERT INTO assignment_v3.rollout (mode) VALUES ('active');
SELECT count(*) AS blocks FROM assignment_v3.block(test.ids('d', 3), test.hour(1), test.hour(2));
SELECT count(*) AS purges FROM assignment_v3.purge('1 year');

-- all rows of all tables, so that one that is lost or changed is seen
CREATE FUNCTION test.rows() RETURNS TABLE (relation text, rows bigint, content text) LANGUAGE plpgsql AS $$
BEGIN
	FOR relation IN SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE n.nspname IN ('public', 'assignment_v3') AND c.relkind = 'r' ORDER BY 1
	LOOP
		RETURN QUERY EXECUTE format('SELECT %L, count(*), md5(string_agg(x::text, E''\n'' ORDER BY x::text COLLATE "C")) FROM %s AS x', relation, relation);
	END LOOP;
END
$$;
CREATE TABLE test.before AS SELECT * FROM test.rows();
CREATE TABLE test.lines AS SELECT * FROM test.schema_lines() AS line;
SELECT relation, rows FROM test.before WHERE rows > 0;

-- attached: refused
SELECT left(r, 5) AS sqlstate FROM test.refusal('DROP EXTENSION assignment_v3') AS r LIMIT 1;

-- detached: the triggers are gone, the data is all there
SELECT action, object FROM assignment_v3.detach();
SELECT * FROM test.rows() EXCEPT SELECT * FROM test.before;
SELECT left(line, 7) AS kind, count(*) FROM (SELECT line FROM test.lines EXCEPT SELECT * FROM test.schema_lines()) AS gone GROUP BY 1;
DROP EXTENSION assignment_v3;
SELECT * FROM test.rows() EXCEPT SELECT * FROM test.before;
SELECT relation, rows FROM test.before EXCEPT SELECT relation, rows FROM test.rows();
-- the app works on without it
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at) VALUES (test.id('b', 5), test.id('a', 1), 2, test.hour(200), test.hour(202));
UPDATE bookings SET party_size = 3 WHERE id = test.id('b', 5);
DELETE FROM bookings WHERE id = test.id('b', 5);
SELECT left(r, 5) AS sqlstate FROM test.refusal('SELECT assignment_v3.verify()') AS r LIMIT 1;

-- installed and attached again, in this session and with all rows: it goes on
CREATE EXTENSION assignment_v3;
SELECT * FROM test.refusal($$SELECT assignment_v3.requeue(test.id('b', 3))$$);
SELECT action, object FROM assignment_v3.attach();
SELECT line FROM test.lines EXCEPT SELECT * FROM test.schema_lines();
SELECT * FROM test.schema_lines() EXCEPT SELECT line FROM test.lines;
SELECT * FROM test.rows() WHERE relation <> 'assignment_v3.binding' EXCEPT SELECT * FROM test.before;
SELECT outcome, reason FROM assignment_v3.process_booking(test.id('b', 1));
SELECT outcome, reason FROM assignment_v3.process_booking(test.id('b', 3));
UPDATE bookings SET party_size = 3 WHERE id = test.id('b', 2);
SELECT * FROM test.bookings(1, 2, 3, 4);
SELECT * FROM test.unsound();

-- CASCADE takes the triggers, and then nothing is attached, whatever the binding says
DROP EXTENSION assignment_v3 CASCADE;
SELECT count(*) AS triggers FROM pg_trigger WHERE NOT tgisinternal;
SELECT count(*) AS bindings FROM assignment_v3.binding;
CREATE EXTENSION assignment_v3;
SELECT * FROM test.refusal($$SELECT assignment_v3.process_booking(test.id('b', 4))$$);
\c
SET client_min_messages TO warning;
SET assignment_v3.enabled TO on;
SELECT * FROM test.refusal($$SELECT assignment_v3.process_booking(test.id('b', 4))$$);
SELECT action, object FROM assignment_v3.attach();
SELECT outcome, reason FROM assignment_v3.process_booking(test.id('b', 4));
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
