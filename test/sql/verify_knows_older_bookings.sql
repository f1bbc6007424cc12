-- An app that has confirmed bookings for years must attach in a moment and get a clean bill from verify(): what its own path did
-- needs no history, no message and no state, and old rows may be odd in ways that were fine with the app.  But a table that
-- is taken twice is found at any age, and whatever happens after attach() is judged in full.  The one long lock is asked
-- for, by counting rows and not by an estimate.
\set database verify_older
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/live_app.sql
CREATE EXTENSION assignment_v3;
CALL live.open(1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2);
\set ECHO all
SET statement_timeout TO '60s';
-- a hundred thousand bookings, ten tables every evening, made and confirmed long ago by the app's own path
SET session_replication_role TO replica;
INSERT INTO bookings (id, restaurant_id, booking_date, start_time, end_time, start_at, end_at, party_size, status, created_at, updated_at)
SELECT live.id('b', n), live.id('a', 1), d.day, '18:00', '20:00', d.day + time '18:00', d.day + time '20:00', 2,
	CASE n % 50 WHEN 0 THEN 'cancelled' WHEN 1 THEN 'completed' ELSE 'confirmed' END::booking_status,
	d.day - 30, d.day - 20
FROM generate_series(1, 100010) AS n, LATERAL (SELECT date '1995-01-01' + n / 10) AS d (day);
INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at, assigned_at)
SELECT b.id, live.id('d', 101 + live.no(b.id) % 10), b.start_at, b.end_at, b.created_at FROM bookings AS b;
-- odd ones: a longer window, a shorter one, too small a table, and a cancelled booking that kept its table
UPDATE booking_table_assignments SET end_at = end_at + interval '15 minutes' WHERE booking_id = live.id('b', 12);
UPDATE booking_table_assignments SET end_at = end_at - interval '15 minutes' WHERE booking_id = live.id('b', 13);
UPDATE bookings SET party_size = 5 WHERE id = live.id('b', 14);
UPDATE bookings SET created_at = '-infinity' WHERE id = live.id('b', 15);
RESET session_replication_role;
-- what holds up attach() is counted: a table that was never analysed has no estimate
DROP INDEX booking_table_assignments_table_id_idx, booking_table_assignments_booking_id_idx;
ALTER TABLE booking_table_assignments DROP CONSTRAINT booking_table_assignments_table_id_booking_id_key;
SELECT reltuples FROM pg_class WHERE oid = 'booking_table_assignments'::regclass;
SELECT * FROM test.refusal('SELECT assignment_v3.attach()');
SELECT object, lock FROM assignment_v3.attach(dry_run => true) WHERE object ~ 'no_overlap';
SELECT count(*) > 0 AS attached FROM assignment_v3.attach(allow_long_lock => true);

SELECT status, assignment_state, count(*) FROM bookings GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) AS queued FROM assignment_v3.queue;
SELECT * FROM assignment_v3.verify();

-- after attach() the same is judged; and a booking that takes a step comes under the rules
SET assignment_v3.enabled TO on;
CALL live.book(200001);
SELECT outcome FROM assignment_v3.process_booking(live.id('b', 200001));
UPDATE bookings SET notes = 'came again' WHERE id = live.id('b', 12);
UPDATE bookings SET party_size = 6 WHERE id = live.id('b', 16);
SELECT * FROM assignment_v3.verify();
UPDATE bookings SET party_size = 2 WHERE id = live.id('b', 16);
SELECT * FROM assignment_v3.verify();
SET session_replication_role TO replica;
UPDATE bookings SET assignment_state = 'created' WHERE id = live.id('b', 200001);
DELETE FROM bookings WHERE id = live.id('b', 17);
ALTER TABLE booking_table_assignments DROP CONSTRAINT booking_table_assignments_no_overlap;
UPDATE booking_table_assignments SET table_id = live.id('d', 101) WHERE booking_id IN (live.id('b', 21), live.id('b', 20));
RESET session_replication_role;
SELECT rule, live.no(booking_id) AS n FROM assignment_v3.verify() ORDER BY 1, 2;

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
