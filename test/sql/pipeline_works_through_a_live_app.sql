-- The pipeline must work through an app's own triggers, constraints and second ledger, under the rights of an owner who is no
-- superuser, and follow what the app does beside it.  It could fail by setting the status before the tables are there, by a
-- row that the app's trigger has written already, by a ledger that is read or written by half, by overlooking a hold or
-- maintenance, by taking a word that it doesn't know for one that it does, or by refusing what the app always did.
\set database live_pipeline
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'regress_live') THEN
		DROP OWNED BY regress_live;
		DROP ROLE regress_live;
	END IF;
END
$$;
CREATE ROLE regress_live;
ALTER DATABASE live_pipeline OWNER TO regress_live;
ALTER SCHEMA test OWNER TO regress_live;
SET SESSION AUTHORIZATION regress_live;
\i :srcdir/sql/include/live_app.sql
CREATE EXTENSION assignment_v3;
\set ECHO all
CALL live.open(1, 2, 2, 4, 4, 6);
CALL live.open(2, 8);
SELECT count(*) > 0 AS attached FROM assignment_v3.attach();
SET assignment_v3.enabled TO on;
CREATE FUNCTION live.decide(n int) RETURNS text LANGUAGE sql AS
	$$SELECT concat_ws(' ', outcome, reason) FROM assignment_v3.process_booking(live.id('b', n))$$;
CREATE FUNCTION live.free(n int) RETURNS text LANGUAGE sql STABLE AS
	$$SELECT string_agg(table_number || ' ' || verdict, ', ' ORDER BY table_number) FROM assignment_v3.explain(live.id('b', n))$$;

-- the app refuses a confirmation without tables; ours has them first, in both ledgers
CALL live.book(1);
SELECT left(r, 5) AS sqlstate FROM test.refusal($$UPDATE bookings SET status = 'confirmed' WHERE id = live.id('b', 1)$$) AS r LIMIT 1;
SELECT live.decide(1);
SELECT * FROM live.bookings(1);
SELECT a.start_at = b.start_at AND a.end_at = b.end_at AND lower(l."window") = b.start_at AND upper(l."window") = b.end_at AS window,
	NOT l.shadow AND NOT l.is_maintenance AND l.status = 'active' AS ledger, b.updated_at > b.created_at AS stamped, t.status AS table_status
FROM bookings AS b JOIN booking_table_assignments AS a ON a.booking_id = b.id JOIN allocations AS l ON l.booking_id = b.id
JOIN table_inventory AS t ON t.id = a.table_id;
-- the date changes, the app's trigger makes a window of it, and ours sees that one
UPDATE bookings SET booking_date = booking_date + 1 WHERE id = live.id('b', 1);
SELECT * FROM live.bookings(1);
SELECT status FROM table_inventory WHERE id = live.id('d', 101);
SELECT live.decide(1);
SELECT a.start_at = live.at(42) AS moved FROM booking_table_assignments AS a;

-- holds, maintenance and shadows
CALL live.book(2, party => 4);
INSERT INTO table_holds (id, restaurant_id, zone_id, start_at, end_at, expires_at) VALUES
	(live.id('e', 1), live.id('a', 1), live.id('c', 1), live.at(17), live.at(19), '2099-01-01'),
	(live.id('e', 2), live.id('a', 1), live.id('c', 1), live.at(17), live.at(19), '2020-01-01');
INSERT INTO table_hold_windows (hold_id, table_id, restaurant_id, start_at, end_at, expires_at) VALUES
	(live.id('e', 1), live.id('d', 103), live.id('a', 1), live.at(17), live.at(19), '2099-01-01'),
	(live.id('e', 2), live.id('d', 105), live.id('a', 1), live.at(17), live.at(19), '2020-01-01');
INSERT INTO allocations (resource_type, resource_id, restaurant_id, "window", shadow, is_maintenance) VALUES
	('table', live.id('d', 104), live.id('a', 1), tstzrange(live.at(19), live.at(23)), false, true),
	('table', live.id('d', 105), live.id('a', 1), tstzrange(live.at(17), live.at(23)), true, false),
	('room', live.id('d', 105), live.id('a', 1), tstzrange(live.at(17), live.at(23)), false, false);
SELECT live.free(2);
SELECT live.decide(2);
SELECT * FROM live.bookings(2);
-- nobody else's rows are touched, and the deferred constraint was asked already
SELECT resource_type, shadow, is_maintenance, count(*) FROM allocations WHERE booking_id IS NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT count(*) AS blocks FROM assignment_v3.block(ARRAY[live.id('d', 101)], live.at(10), live.at(12));
SELECT count(*) AS maintenance FROM allocations WHERE is_maintenance;

-- a word that the pipeline doesn't know, and a restaurant's only table
CALL live.book(3);
UPDATE bookings SET status = 'waitlisted' WHERE id = live.id('b', 3);
SELECT live.decide(3);
CALL live.book(4, restaurant => 2, party => 8);
CALL live.book(5, restaurant => 2, party => 7);
-- the legacy path is faster
CALL live.confirm(4, 201);
SELECT live.decide(4);
SELECT live.decide(5);
SELECT * FROM live.bookings(3, 4, 5);
SELECT live.no(booking_id) AS n, from_state, to_state, reason, metadata FROM booking_assignment_state_history
WHERE booking_id = live.id('b', 4) ORDER BY version;
-- set back and stripped it is seated again, by the queue
DELETE FROM bookings WHERE id = live.id('b', 5);
DELETE FROM booking_table_assignments WHERE booking_id = live.id('b', 4);
DELETE FROM allocations WHERE booking_id = live.id('b', 4);
UPDATE bookings SET status = 'pending' WHERE id = live.id('b', 4);
SELECT * FROM live.bookings(4);
SELECT live.no(booking_id) AS n, outcome, table_ids = ARRAY[live.id('d', 201)] AS again FROM assignment_v3.process_due() WHERE booking_id = live.id('b', 4);
-- the other way about: first the status, then the tables
UPDATE bookings SET status = 'pending' WHERE id = live.id('b', 4);
DELETE FROM booking_table_assignments WHERE booking_id = live.id('b', 4);
SELECT * FROM live.bookings(4);
SELECT live.decide(4);
-- nobody can take a table twice, whatever he knows of us
SELECT left(r, 5) AS sqlstate FROM test.refusal($$INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at)
	VALUES (live.id('b', 3), live.id('d', 201), live.at(17), live.at(19))$$) AS r LIMIT 1;

-- guests sit down and go, and the app's own status of the table follows
UPDATE bookings SET status = 'checked_in' WHERE id = live.id('b', 4);
SELECT status FROM table_inventory WHERE id = live.id('d', 201);
UPDATE bookings SET status = 'completed' WHERE id = live.id('b', 4);
UPDATE bookings SET status = 'cancelled' WHERE id = live.id('b', 2);
SELECT * FROM live.bookings(2, 4);

-- an app that keeps the second ledger by a trigger of its own
CREATE FUNCTION mirror() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO allocations (resource_id, restaurant_id, booking_id, "window")
	SELECT NEW.table_id, b.restaurant_id, b.id, tstzrange(NEW.start_at, NEW.end_at) FROM bookings AS b WHERE b.id = NEW.booking_id;
	RETURN NULL;
END
$$;
CREATE TRIGGER mirror AFTER INSERT ON booking_table_assignments FOR EACH ROW EXECUTE FUNCTION mirror();
CALL live.book(6, party => 6);
SELECT live.decide(6);
SELECT * FROM live.bookings(6);
DROP TRIGGER mirror ON booking_table_assignments;

-- another writer of history, without versions and with states of his own
INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state) VALUES
	(live.id('b', 3), NULL, 'created'), (live.id('b', 3), 'created', 'parked'), (live.id('b', 3), 'created', 'failed');
SELECT context FROM observability_events WHERE booking_id = live.id('b', 3) AND source = 'assignment.state_machine';
UPDATE bookings SET status = 'pending' WHERE id = live.id('b', 3);
SELECT live.decide(3);
SELECT * FROM live.bookings(3);
SELECT * FROM assignment_v3.verify();
-- a guest who is erased takes his bookings' trail along, or leaves it without a name, as the app has it
DELETE FROM bookings WHERE id = live.id('b', 3);
SELECT count(*) AS nameless FROM booking_assignment_state_history WHERE booking_id IS NULL;
SELECT count(*) AS attempts FROM booking_assignment_attempts WHERE booking_id = live.id('b', 3);
SELECT * FROM assignment_v3.verify();

\set ECHO none
RESET SESSION AUTHORIZATION;
\i :srcdir/sql/include/drop_scratch_database.sql
DROP OWNED BY regress_live;
DROP ROLE regress_live;
