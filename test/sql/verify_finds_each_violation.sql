-- verify() must find every kind of damage and cry no wolf.  The damage is what constraints and triggers rule out, so
-- they are switched off to plant it, as a broken restore or a damaged index would; verify() could miss it by trusting
-- them, by looking through an index, or by a condition that a NULL slips through.  It could cry wolf over what only
-- looks like damage: a table handed over on the minute, a forced seating, a confirmation by another writer, a purged
-- chain.
\set SHOW_CONTEXT never
SET client_min_messages TO warning;
DROP DATABASE IF EXISTS verify_violations;
CREATE DATABASE verify_violations TEMPLATE template0;
\set origin :DBNAME
\c verify_violations
SET client_min_messages TO warning;
SET TimeZone TO 'UTC';
SET DateStyle TO 'ISO, YMD';
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;

-- not attached
SELECT * FROM assignment_v3.verify();
SELECT count(*) > 0 AS attached FROM assignment_v3.attach();
SELECT * FROM assignment_v3.verify();

-- from here on no trigger or foreign key has a say, and the ledger takes NULL
SET session_replication_role TO replica;
ALTER TABLE booking_table_assignments DROP CONSTRAINT booking_table_assignments_pkey;
ALTER TABLE booking_table_assignments DROP CONSTRAINT booking_table_assignments_window_check;
ALTER TABLE booking_table_assignments ALTER COLUMN table_id DROP NOT NULL;
ALTER TABLE booking_table_assignments ALTER COLUMN end_at DROP NOT NULL;

-- Two restaurants; tables 1 to 5 and 7 of the first have 4 seats, table 6 is the second's.
CREATE FUNCTION pg_temp.id(kind text, n int) RETURNS uuid LANGUAGE sql AS
	$$SELECT (kind || '0000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE FUNCTION pg_temp.hour(n int) RETURNS timestamptz LANGUAGE sql AS
	$$SELECT '2030-05-17 00:00+00'::timestamptz + n * interval '1 hour'$$;
INSERT INTO restaurants (id, name) SELECT pg_temp.id('a', n), 'Restaurant ' || n FROM generate_series(1, 2) AS n;
INSERT INTO table_inventory (id, restaurant_id, table_number, capacity)
SELECT pg_temp.id('d', n), pg_temp.id('a', CASE n WHEN 6 THEN 2 ELSE 1 END), n, 4 FROM generate_series(1, 7) AS n;

-- The parts of a booking: the booking itself, a table for it, its way to confirmed, its message.
CREATE FUNCTION pg_temp.book(n int, start_hour int, state text, version int, status text, party int DEFAULT 4)
RETURNS void LANGUAGE sql AS $$
	INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, status, created_at,
		assignment_state, assignment_state_version)
	VALUES (pg_temp.id('b', n), pg_temp.id('a', 1), party, pg_temp.hour(start_hour), pg_temp.hour(start_hour + 2),
		status, '2030-05-01', state::booking_assignment_state, version)
$$;
CREATE FUNCTION pg_temp.seat(n int, table_no int, start_hour int, end_hour int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at)
	VALUES (pg_temp.id('b', n), pg_temp.id('d', table_no), pg_temp.hour(start_hour), pg_temp.hour(end_hour))
$$;
CREATE FUNCTION pg_temp.step(n int, version int, from_state text, to_state text, metadata jsonb DEFAULT '{}')
RETURNS void LANGUAGE sql AS $$
	INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state, version, metadata, created_at)
	VALUES (pg_temp.id('b', n), from_state::booking_assignment_state, to_state::booking_assignment_state, version,
		metadata, '2030-05-02')
$$;
CREATE FUNCTION pg_temp.walk(n int, metadata jsonb DEFAULT '{"trigger": "test"}') RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.step(n, 2, 'created', 'capacity_verified');
	SELECT pg_temp.step(n, 3, 'capacity_verified', 'assignment_pending');
	SELECT pg_temp.step(n, 4, 'assignment_pending', 'assignment_in_progress');
	SELECT pg_temp.step(n, 5, 'assignment_in_progress', 'assigned');
	SELECT pg_temp.step(n, 6, 'assigned', 'confirmed', metadata);
$$;
CREATE FUNCTION pg_temp.tell(n int, version int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO capacity_outbox (event_type, dedupe_key, booking_id)
	VALUES ('booking.assignment_state.confirmed', pg_temp.id('b', n) || ':' || version, pg_temp.id('b', n))
$$;
CREATE FUNCTION pg_temp.confirm(n int, table_no int, start_hour int, party int DEFAULT 4) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.book(n, start_hour, 'confirmed', 6, 'confirmed', party);
	SELECT pg_temp.seat(n, table_no, start_hour, start_hour + 2);
	SELECT pg_temp.walk(n);
	SELECT pg_temp.tell(n, 6);
$$;

-- Sound, though some of it looks odd.
\pset tuples_only on
\o /dev/null
-- untouched; waiting; two that follow each other on one table
SELECT pg_temp.book(1, 10, 'created', 1, 'pending');
SELECT pg_temp.book(2, 10, 'assignment_pending', 3, 'pending');
SELECT pg_temp.step(2, 2, 'created', 'capacity_verified'), pg_temp.step(2, 3, 'capacity_verified', 'assignment_pending');
SELECT pg_temp.confirm(3, 1, 10);
SELECT pg_temp.confirm(4, 1, 12);
-- confirmed by a legacy path: before attach() without any history, after it with a row of its own and no message
SELECT pg_temp.book(5, 10, 'created', 1, 'confirmed'), pg_temp.seat(5, 2, 10, 12);
SELECT pg_temp.book(6, 12, 'confirmed', 2, 'confirmed'), pg_temp.seat(6, 2, 12, 14);
SELECT pg_temp.step(6, 2, 'created', 'confirmed', '{"external": true}');
-- forced onto too few seats, and checked in since
SELECT pg_temp.book(7, 14, 'confirmed', 7, 'checked_in', 6), pg_temp.seat(7, 2, 14, 16);
SELECT pg_temp.walk(7, '{"trigger": "test", "forced": true}'), pg_temp.tell(7, 6);
SELECT pg_temp.step(7, 7, 'confirmed', 'confirmed', '{"external": true}');
-- cancelled, and over: both without a table
SELECT pg_temp.book(8, 10, 'confirmed', 6, 'cancelled'), pg_temp.walk(8), pg_temp.tell(8, 6);
SELECT pg_temp.book(9, 8, 'confirmed', 6, 'completed'), pg_temp.walk(9), pg_temp.tell(9, 6);
-- a merge that seats its party only as a whole
SELECT pg_temp.confirm(10, 3, 10, 8), pg_temp.seat(10, 4, 10, 12);
-- purged: the chain has lost its beginning, the confirmation its message
SELECT pg_temp.book(11, 16, 'confirmed', 6, 'confirmed'), pg_temp.seat(11, 2, 16, 18);
SELECT pg_temp.step(11, 6, 'assigned', 'confirmed');
INSERT INTO assignment_v3.purges (horizon) VALUES ('2030-04-01'), ('2030-03-01');
UPDATE bookings SET created_at = '2030-03-15' WHERE id = pg_temp.id('b', 11);
UPDATE booking_assignment_state_history SET created_at = '2030-03-15' WHERE booking_id = pg_temp.id('b', 11);
\o
\pset tuples_only off
SELECT * FROM assignment_v3.verify();

-- Damage all indexes: from here until they are made to look well again, no row enters them and no key is enforced.
UPDATE pg_index SET indisvalid = false, indisready = false
WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace);

-- One violation after the other, each on bookings of its own.
\pset tuples_only on
\o /dev/null
-- overlapping_assignments: by an hour; under a longer one that began before the last; the very same window
SELECT pg_temp.confirm(101, 5, 10), pg_temp.confirm(102, 5, 11);
SELECT pg_temp.confirm(103, 5, 20), pg_temp.confirm(104, 5, 22), pg_temp.confirm(105, 5, 24);
UPDATE bookings SET end_at = pg_temp.hour(25) WHERE id = pg_temp.id('b', 103);
UPDATE booking_table_assignments SET end_at = pg_temp.hour(25) WHERE booking_id = pg_temp.id('b', 103);
SELECT pg_temp.confirm(106, 5, 30), pg_temp.confirm(107, 5, 30);
-- window_mismatch: ends late; never ends; empty
SELECT pg_temp.confirm(111, 1, 30), pg_temp.confirm(112, 1, 40), pg_temp.confirm(113, 1, 50);
UPDATE booking_table_assignments SET end_at = pg_temp.hour(33) WHERE booking_id = pg_temp.id('b', 111);
UPDATE booking_table_assignments SET end_at = NULL WHERE booking_id = pg_temp.id('b', 112);
UPDATE booking_table_assignments SET end_at = start_at WHERE booking_id = pg_temp.id('b', 113);
-- foreign_table: of another restaurant; of none; no table at all
SELECT pg_temp.confirm(121, 6, 10), pg_temp.confirm(122, 99, 10), pg_temp.confirm(123, 7, 10);
UPDATE booking_table_assignments SET table_id = NULL WHERE booking_id = pg_temp.id('b', 123);
-- tables_without_live_booking: cancelled; no show; no booking
SELECT pg_temp.confirm(131, 2, 30), pg_temp.confirm(132, 2, 40);
UPDATE bookings SET status = 'cancelled' WHERE id = pg_temp.id('b', 131);
UPDATE bookings SET status = 'no_show' WHERE id = pg_temp.id('b', 132);
SELECT pg_temp.seat(133, 2, 50, 52);
-- too_few_seats: plainly; forced once, but assigned anew since
SELECT pg_temp.confirm(141, 3, 30, 5), pg_temp.confirm(142, 3, 40, 5);
UPDATE booking_assignment_state_history SET metadata = '{"forced": true}'
WHERE booking_id = pg_temp.id('b', 142) AND version = 6;
SELECT pg_temp.step(142, 7, 'confirmed', 'assignment_pending'), pg_temp.step(142, 8, 'assignment_pending', 'assigned'),
	pg_temp.step(142, 9, 'assigned', 'confirmed'), pg_temp.tell(142, 9);
UPDATE bookings SET assignment_state_version = 9 WHERE id = pg_temp.id('b', 142);
-- confirmed_without_tables
SELECT pg_temp.confirm(151, 3, 50);
DELETE FROM booking_table_assignments WHERE booking_id = pg_temp.id('b', 151);
-- history_gap: in the middle; at the start, of a booking made after the purge; a version twice; below the first
SELECT pg_temp.confirm(161, 4, 30), pg_temp.confirm(162, 4, 40), pg_temp.confirm(163, 4, 50), pg_temp.confirm(164, 4, 60);
DELETE FROM booking_assignment_state_history WHERE booking_id = pg_temp.id('b', 161) AND version IN (3, 4);
DELETE FROM booking_assignment_state_history WHERE booking_id = pg_temp.id('b', 162) AND version = 2;
SELECT pg_temp.step(163, 4, 'assignment_pending', 'assignment_in_progress');
SELECT pg_temp.step(164, 1, 'created', 'created');
-- history_break: in the middle; at the start
SELECT pg_temp.confirm(171, 7, 30), pg_temp.confirm(172, 7, 40);
UPDATE booking_assignment_state_history SET to_state = 'assigned' WHERE booking_id = pg_temp.id('b', 171) AND version = 4;
UPDATE booking_assignment_state_history SET from_state = 'failed' WHERE booking_id = pg_temp.id('b', 172) AND version = 2;
-- state_mismatch: another than its history's; no history
SELECT pg_temp.confirm(181, 7, 50), pg_temp.book(182, 50, 'manual_review', 1, 'pending');
UPDATE bookings SET assignment_state = 'assigned' WHERE id = pg_temp.id('b', 181);
-- version_mismatch: ahead; no history
SELECT pg_temp.confirm(191, 7, 60), pg_temp.book(192, 60, 'created', 2, 'pending');
UPDATE bookings SET assignment_state_version = 7 WHERE id = pg_temp.id('b', 191);
-- confirmation_without_message: none; one for another version only
SELECT pg_temp.confirm(201, 7, 70), pg_temp.confirm(202, 7, 80);
DELETE FROM capacity_outbox WHERE booking_id = pg_temp.id('b', 201);
UPDATE capacity_outbox SET dedupe_key = pg_temp.id('b', 202) || ':5' WHERE booking_id = pg_temp.id('b', 202);
-- duplicate_message
SELECT pg_temp.confirm(211, 7, 90), pg_temp.tell(211, 6);
\o
\pset tuples_only off
UPDATE pg_index SET indisvalid = true, indisready = true
WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace);

-- A session that prefers indexes does not see the rows; verify() does.
SET enable_seqscan TO off;
SELECT count(*) AS seen_by_index FROM booking_table_assignments WHERE table_id = pg_temp.id('d', 5);
SELECT rule, right(booking_id::text, 3) AS booking, detail
FROM assignment_v3.verify() ORDER BY rule COLLATE "C", booking_id, detail;

-- each rule has been seen
SELECT r.rule FROM assignment_v3.verify_rules() AS r
EXCEPT SELECT v.rule FROM assignment_v3.verify() AS v;
RESET enable_seqscan;

-- a reader from whom row-level security hides rows gets an error, not a clean bill
CREATE ROLE regress_verify_reader;
GRANT USAGE ON SCHEMA assignment_v3, public TO regress_verify_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA assignment_v3, public TO regress_verify_reader;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA assignment_v3 TO regress_verify_reader;
SET ROLE regress_verify_reader;
SELECT count(*) FROM assignment_v3.verify();
RESET ROLE;
DROP OWNED BY regress_verify_reader;
DROP ROLE regress_verify_reader;

\c :origin
DROP DATABASE verify_violations;
