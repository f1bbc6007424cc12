-- attach() must take a live bookings table as it is: with an enum of its own for the status, other integer types, columns
-- that may be null, rows, and triggers that fill, stamp and refuse; it adds the three columns it lacks and leaves
-- everything else alone.  It could fail by writing a status as text, by seeing the row before the app's triggers have
-- done with it, by turning a null into something else, or by taking an index of the app's for none.
\set database adopts_bookings
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/schema_lines.sql
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
\set ECHO all
CREATE TYPE booking_status AS ENUM ('cancelled', 'pending', 'pending_allocation', 'confirmed', 'checked_in', 'completed', 'no_show');
CREATE TABLE restaurants (id uuid PRIMARY KEY, name text, is_active boolean);
CREATE TABLE zones (id uuid PRIMARY KEY, restaurant_id uuid REFERENCES restaurants, name text);
CREATE TABLE table_inventory (id uuid PRIMARY KEY, restaurant_id uuid, zone_id uuid, table_number text, capacity int, min_party_size int DEFAULT 1,
	max_party_size int, status text DEFAULT 'available', mobility text DEFAULT 'movable', active boolean DEFAULT true);
CREATE TABLE bookings (
	reference text PRIMARY KEY,
	id uuid UNIQUE NOT NULL DEFAULT gen_random_uuid(),
	status booking_status DEFAULT 'pending',
	party_size smallint,
	restaurant_id uuid REFERENCES restaurants,
	booking_date date,
	start_time time,
	start_at timestamptz,
	end_at timestamptz,
	assigned_zone_id uuid,
	created_at timestamptz DEFAULT now(),
	updated_at timestamptz DEFAULT now(),
	note text
);
CREATE TABLE booking_table_assignments (booking_id uuid REFERENCES bookings (id), table_id uuid, start_at timestamptz, end_at timestamptz,
	assigned_at timestamptz DEFAULT now());
CREATE INDEX bookings_by_day ON bookings (restaurant_id, start_at, status);
-- fills the window, stamps the row, and lets nobody confirm without a table
CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.booking_date IS NOT NULL THEN
		NEW.start_at := (NEW.booking_date + NEW.start_time) AT TIME ZONE 'UTC';
		NEW.end_at := NEW.start_at + interval '2 hours';
	END IF;
	NEW.updated_at := '2050-01-01';
	RETURN NEW;
END
$$;
CREATE TRIGGER fill BEFORE INSERT OR UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION fill();
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.status = 'confirmed' AND OLD.status <> 'confirmed'
		AND NOT EXISTS (SELECT FROM booking_table_assignments AS a WHERE a.booking_id = NEW.id) THEN
		RAISE EXCEPTION 'no table';
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER guard BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION guard();
INSERT INTO restaurants VALUES ('a0000000-0000-0000-0000-000000000001', 'One', true);
INSERT INTO bookings (reference, id, status, party_size, restaurant_id, booking_date, start_time)
SELECT 'old' || n, ('b0000000-0000-0000-0000-00000000000' || n)::uuid, CASE n WHEN 2 THEN 'confirmed' WHEN 3 THEN NULL ELSE 'pending' END::booking_status,
	2, 'a0000000-0000-0000-0000-000000000001', '2099-06-01', '18:00' FROM generate_series(1, 4) AS n;
CREATE TABLE test.lines AS SELECT * FROM test.schema_lines() AS line;

-- what attach() does to what is there: columns, an index, the triggers; and no more
SELECT action, object FROM assignment_v3.attach() WHERE object ~ 'bookings|restaurants|zones|inventory|assignments|type' AND action <> 'commented';
SELECT line FROM test.lines EXCEPT SELECT * FROM test.schema_lines();
SELECT * FROM assignment_v3.attach();
-- rows that were there are at the beginning, whatever their status
SELECT reference, status, assignment_state, assignment_state_version, assignment_strategy FROM bookings ORDER BY reference;
SELECT * FROM assignment_v3.verify();

-- a booking by the app's ways
SET assignment_v3.enabled TO on;
INSERT INTO table_inventory (id, restaurant_id, table_number, capacity)
SELECT ('d0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', n, 4 FROM generate_series(1, 3) AS n;
INSERT INTO bookings (reference, id, party_size, restaurant_id, booking_date, start_time)
VALUES ('new5', 'b0000000-0000-0000-0000-000000000005', 4, 'a0000000-0000-0000-0000-000000000001', '2099-06-01', '18:00');
SELECT outcome, reason FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000005');
SELECT outcome, reason FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000001');
SELECT outcome, reason FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000003');
-- it changes a date, and its trigger the window: two hours later
UPDATE bookings SET start_time = '20:00' WHERE reference = 'new5';
-- another column, and a status in its own type
UPDATE bookings SET note = 'birthday' WHERE reference = 'old1';
UPDATE bookings SET status = 'cancelled' WHERE reference = 'old1';
-- a null stays null
UPDATE bookings SET party_size = 3 WHERE reference = 'old3';
UPDATE bookings SET party_size = NULL WHERE reference = 'old3';
SELECT * FROM assignment_v3.transition('b0000000-0000-0000-0000-000000000003', 'capacity_verified');
-- the app confirms one itself
INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at)
SELECT id, 'd0000000-0000-0000-0000-000000000003', start_at, end_at FROM bookings WHERE reference = 'old4';
UPDATE bookings SET status = 'confirmed' WHERE reference = 'old4';
-- staff
SELECT * FROM assignment_v3.assign('b0000000-0000-0000-0000-000000000005', '{d0000000-0000-0000-0000-000000000002}');
SELECT b.reference, b.status, b.party_size AS party, b.assignment_state AS state, b.assignment_state_version AS version, b.updated_at = '2050-01-01' AS stamped,
	(SELECT string_agg(t.table_number, ', ') FROM booking_table_assignments AS a JOIN table_inventory AS t ON t.id = a.table_id WHERE a.booking_id = b.id) AS tables
FROM bookings AS b ORDER BY reference;
SELECT right(booking_id::text, 1) AS n, from_state, to_state, version, reason FROM booking_assignment_state_history ORDER BY booking_id, version;
SELECT * FROM assignment_v3.verify();
-- gone again, but for what it has added
SELECT count(*) AS steps FROM assignment_v3.detach();
SELECT line FROM test.lines EXCEPT SELECT * FROM test.schema_lines();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
