-- A live app must be able to get rid of the extension at any time, and to take it back: DROP EXTENSION is refused while attached,
-- by PostgreSQL and naming our triggers; CASCADE loses no row; after detach() and DROP the app works as before; and a new
-- attach() goes on where it stopped.  It could fail by anything of the app's that needs an object of the extension, by a
-- binding that outlives its triggers and is believed, or by bookings that changed meanwhile and are judged by their history.
\set database drop_live
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/schema_lines.sql
\i :srcdir/sql/include/live_app.sql
CREATE EXTENSION assignment_v3;
CALL live.open(1, 2, 2, 2, 2, 4, 6);
CREATE FUNCTION test.rows() RETURNS TABLE (relation text, rows bigint, content text) LANGUAGE plpgsql AS $$
BEGIN
	FOR relation IN SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE n.nspname IN ('public', 'assignment_v3') AND c.relkind = 'r' ORDER BY 1
	LOOP
		RETURN QUERY EXECUTE format('SELECT %L, count(*), md5(string_agg(x::text, E''\n'' ORDER BY x::text COLLATE "C")) FROM %s AS x', relation, relation);
	END LOOP;
END
$$;
CREATE FUNCTION live.decide(n int) RETURNS text LANGUAGE plpgsql AS
	$$BEGIN RETURN (SELECT concat_ws(' ', outcome, reason) FROM assignment_v3.process_booking(live.id('b', n))); END$$;
\set ECHO all
CREATE TABLE test.app AS SELECT * FROM test.schema_lines() AS line;
CALL live.book(1);
CALL live.book(2);
CALL live.confirm(1, 101);
SELECT count(*) > 0 AS attached FROM assignment_v3.attach();
SET assignment_v3.enabled TO on;
SELECT live.decide(2);
CALL live.book(3);
CALL live.book(4, party => 4);
SELECT live.decide(3);
CREATE TABLE test.before AS SELECT * FROM test.rows();
CREATE TABLE test.lines AS SELECT * FROM test.schema_lines() AS line;

-- refused, and by whom
SELECT left(r, 5) AS sqlstate FROM test.refusal('DROP EXTENSION assignment_v3') AS r LIMIT 1;
SELECT regexp_matches(r, 'trigger (zzz_\w+ on table (?:bookings|booking_assignment_state_history)) depends on function', 'g') AS named
FROM test.refusal('DROP EXTENSION assignment_v3') AS r WHERE r LIKE 'DETAIL%' ORDER BY 1;

-- detached and dropped: nothing is lost, and the app has its own ways again
SELECT count(*) > 0 AS detached FROM assignment_v3.detach();
DROP EXTENSION assignment_v3;
SELECT relation, rows FROM test.before WHERE relation <> 'assignment_v3.binding' EXCEPT SELECT relation, rows FROM test.rows();
SELECT content FROM test.before WHERE relation LIKE 'public.%' EXCEPT SELECT content FROM test.rows();
SELECT line FROM test.app EXCEPT SELECT * FROM test.schema_lines();
SELECT count(*) AS triggers FROM pg_trigger WHERE tgname LIKE 'zzz_%';
CALL live.confirm(4, 105);
UPDATE bookings SET start_time = '19:00', end_time = '21:00' WHERE id = live.id('b', 2);
UPDATE bookings SET status = 'cancelled' WHERE id = live.id('b', 3);
UPDATE bookings SET status = 'checked_in' WHERE id = live.id('b', 1);
CALL live.book(5);
DELETE FROM bookings WHERE id = live.id('b', 5);
CALL live.book(6);
SELECT left(r, 5) AS sqlstate FROM test.refusal($$UPDATE bookings SET status = 'confirmed' WHERE id = live.id('b', 6)$$) AS r LIMIT 1;
SELECT * FROM live.bookings(1, 2, 3, 4, 6);

-- back again: what happened meanwhile is not judged, and nothing that waited is seated by surprise
CREATE EXTENSION assignment_v3;
SELECT string_agg(DISTINCT action, ', ' ORDER BY action) AS actions FROM assignment_v3.attach() WHERE action <> 'noted';
SELECT line FROM test.lines EXCEPT SELECT * FROM test.schema_lines();
SELECT * FROM test.schema_lines() EXCEPT SELECT line FROM test.lines;
SELECT * FROM assignment_v3.verify();
SELECT live.no(booking_id) AS n, outcome, reason FROM assignment_v3.process_due();
SELECT live.decide(2), live.decide(3), live.decide(6);
UPDATE bookings SET party_size = 1 WHERE id = live.id('b', 2);
UPDATE bookings SET status = 'pending' WHERE id = live.id('b', 3);
SELECT live.decide(2), live.decide(3);
SELECT * FROM live.bookings(1, 2, 3, 4, 6);
SELECT * FROM assignment_v3.verify();

-- CASCADE loses no row either; the row of the binding stays, and is not believed
DROP TABLE test.before;
CREATE TABLE test.before AS SELECT * FROM test.rows();
DROP EXTENSION assignment_v3 CASCADE;
SELECT * FROM test.before EXCEPT SELECT * FROM test.rows();
SELECT count(*) AS bindings FROM assignment_v3.binding;
CALL live.book(7);
CALL live.book(8);
CALL live.confirm(8, 106);
CREATE EXTENSION assignment_v3;
SELECT * FROM test.refusal($$SELECT live.decide(7)$$);
SELECT recorded_since AS since FROM assignment_v3.binding \gset
SELECT string_agg(DISTINCT action, ', ' ORDER BY action) AS actions, bool_or(object = 'schema public') AS bound FROM assignment_v3.attach() WHERE action <> 'noted';
SELECT recorded_since > :'since' AS later FROM assignment_v3.binding;
UPDATE bookings SET party_size = 1 WHERE id = live.id('b', 7);
SELECT count(*) AS queued FROM assignment_v3.queue;
SELECT live.decide(7), live.decide(8);
SELECT * FROM live.bookings(7, 8);
SELECT * FROM assignment_v3.verify();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
