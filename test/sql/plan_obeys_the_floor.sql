-- Nobody is seated at a table that is taken, held, blocked, out of service or not there for parties of that size, and
-- only movable neighbours of one zone merge.  explain() says of each table what plan() made of it.  Rules that differ
-- between the two, or from one kind of bar to the next at the edges of a window, would show up as a guest without a chair.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database obeys_floor
\i :setup
SET assignment_v3.enabled = on;
CREATE FUNCTION test.plans(n int, max_plans int DEFAULT 100) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(array_to_string(p.table_numbers, '+'), ' ' ORDER BY p.rank), 'none')
	FROM assignment_v3.plan(test.id('b', n), max_plans) AS p
$$;

-- Numbers in table numbers count as numbers: 2 before 10, whatever stands around them.
CALL test.open(1);
INSERT INTO table_inventory (restaurant_id, table_number, capacity)
SELECT test.id('a', 1), n, 2 FROM unnest(ARRAY['T10', 'T2', 'T1', '10', '2', '02', '1', 'T2b', 'T2a', 'T2a10', 'T2a9',
	'Terrace 3', 'Terrace 12', 'Bar', 'bar', '12345678901234567890123', '9999999999', 'T-1', 'T 2', '']) AS n;
CALL test.book(1, 1);
SELECT p.rank, p.table_numbers FROM assignment_v3.plan(test.id('b', 1), 100) AS p ORDER BY p.rank;
SELECT test.plans(1, 3) AS three, test.plans(1, 1) AS one;

-- Party sizes: a table is for parties from min to max, which is its capacity where nothing else is said.
CALL test.open(2, 4, 4, 4, 6);
UPDATE table_inventory SET min_party_size = 3 WHERE id = test.id('d', 201);
UPDATE table_inventory SET max_party_size = 2 WHERE id = test.id('d', 202);
UPDATE table_inventory SET max_party_size = 6 WHERE id = test.id('d', 203);
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT test.id('b', 20 + n), test.id('a', 2), n, test.at(18), test.at(20) FROM generate_series(1, 9) AS n;
SELECT n AS party, test.plans(20 + n) AS plans FROM generate_series(1, 7) AS n ORDER BY n;
SELECT n AS party, e.table_number, e.verdict, e.detail
FROM unnest(ARRAY[2, 3, 5, 7]) AS n CROSS JOIN LATERAL assignment_v3.explain(test.id('b', 20 + n)) AS e ORDER BY 1, 2;
-- in a merge each table's minimum holds, and the sum of the maxima
INSERT INTO table_adjacencies
SELECT a.id, b.id FROM table_inventory AS a JOIN table_inventory AS b ON a.id < b.id
WHERE a.restaurant_id = test.id('a', 2) AND b.restaurant_id = a.restaurant_id;
SELECT n AS party, test.plans(20 + n) AS plans FROM unnest(ARRAY[2, 5, 7, 9]) AS n ORDER BY n;
UPDATE table_inventory SET min_party_size = 8, max_party_size = 8 WHERE id = test.id('d', 201);
SELECT n AS party, test.plans(20 + n) AS plans FROM unnest(ARRAY[7, 8, 9]) AS n ORDER BY n;

-- Merges: T1 to T6 in a row, T3 fixed, T6 in another zone, T5 in none; T7 touches nobody; T1 and T2 said twice.
CALL test.open(3, 2, 2, 2, 2, 2, 2, 2);
INSERT INTO zones (id, restaurant_id, name) VALUES (test.id('c', 33), test.id('a', 3), 'Terrace');
UPDATE table_inventory SET mobility = 'fixed' WHERE id = test.id('d', 303);
UPDATE table_inventory SET zone_id = test.id('c', 33) WHERE id = test.id('d', 306);
UPDATE table_inventory SET zone_id = NULL WHERE id = test.id('d', 305);
INSERT INTO table_adjacencies SELECT test.id('d', 300 + n), test.id('d', 301 + n) FROM generate_series(1, 5) AS n;
INSERT INTO table_adjacencies VALUES (test.id('d', 302), test.id('d', 301)), (test.id('d', 304), test.id('d', 302)),
	(test.id('d', 307), test.id('d', 201));
CALL test.book(31, 3, party => 4);
CALL test.book(32, 3, party => 6);
CALL test.book(33, 3, party => 8);
SELECT test.plans(31) AS of_four, test.plans(32) AS of_six, test.plans(33) AS of_eight;
UPDATE table_inventory SET zone_id = test.id('c', 3), mobility = 'movable' WHERE restaurant_id = test.id('a', 3);
SELECT test.plans(31) AS of_four, test.plans(32) AS of_six, test.plans(33) AS of_eight;
SET assignment_v3.max_tables = 4;
SELECT test.plans(32) AS of_six, test.plans(33) AS of_eight;
SET assignment_v3.max_tables = 1;
SELECT test.plans(31) AS of_four;
RESET assignment_v3.max_tables;
-- waste beyond four covers weighs most, then waste, then the number of tables
CALL test.open(34, 8, 3, 3, 7);
INSERT INTO table_adjacencies VALUES (test.id('d', 3402), test.id('d', 3403));
CALL test.book(34, 34, party => 2);
CALL test.book(35, 34, party => 6);
SELECT test.plans(34) AS of_two, test.plans(35) AS of_six;

-- What bars a table, at its edges: T1 is taken from 16 to 18, T2 from 20 on, T3 from 17 to 18:15, T4 from 19:45 on, T5
-- all day.  The booking is from 18 to 20.
CALL test.open(4, 2, 2, 2, 2, 2);
CALL test.book(40, 4, party => 2);
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, status)
SELECT test.id('b', 40 + n::int), test.id('a', 4), 2, test.at(lower(w)), test.at(upper(w)), 'confirmed'
FROM unnest(ARRAY['[16,18)', '[20,21)', '[17,18.25)', '[19.75,21)', '[8,23)']::numrange[]) WITH ORDINALITY AS t (w, n);
CREATE TABLE test.edge AS SELECT test.no(id) - 40 AS n, start_at, end_at FROM bookings WHERE test.no(id) BETWEEN 41 AND 45;
INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at)
SELECT test.id('b', 40 + n), test.id('d', 400 + n), start_at, end_at FROM test.edge;
SELECT test.plans(40) AS beside_taken;
SELECT e.table_number, e.verdict, coalesce(replace(e.detail, b.end_at::text, 'its end'), e.detail) AS detail
FROM assignment_v3.explain(test.id('b', 40)) AS e LEFT JOIN bookings AS b ON e.detail LIKE '%' || b.id || '%' ORDER BY 1;
DELETE FROM booking_table_assignments;
INSERT INTO assignment_v3.blocks (restaurant_id, table_id, start_at, end_at, reason)
SELECT test.id('a', 4), test.id('d', 400 + n), start_at, end_at, CASE n WHEN 3 THEN 'paint' END FROM test.edge;
SELECT test.plans(40) AS beside_blocked;
SELECT e.table_number, e.verdict, replace(e.detail, k.end_at::text, 'its end') AS detail
FROM assignment_v3.explain(test.id('b', 40)) AS e LEFT JOIN assignment_v3.blocks AS k USING (table_id) ORDER BY 1;
DELETE FROM assignment_v3.blocks;
CREATE PROCEDURE test.hold(n int, booking int DEFAULT NULL, status text DEFAULT 'active', expires interval DEFAULT '1 hour')
LANGUAGE sql AS $$
	WITH h AS (
		INSERT INTO table_holds (id, restaurant_id, booking_id, start_at, end_at, expires_at, status)
		SELECT test.id('e', hold.n), test.id('a', 4), test.id('b', hold.booking), e.start_at, e.end_at, now() + expires,
			hold.status
		FROM test.edge AS e WHERE e.n = hold.n RETURNING *
	)
	INSERT INTO table_hold_windows (hold_id, table_id, restaurant_id, booking_id, start_at, end_at, expires_at)
	SELECT h.id, test.id('d', 400 + hold.n), h.restaurant_id, h.booking_id, h.start_at, h.end_at, h.expires_at FROM h;
$$;
CALL test.hold(1);
CALL test.hold(2);
CALL test.hold(3);
CALL test.hold(4);
CALL test.hold(5);
SELECT test.plans(40) AS beside_held;
SELECT e.table_number, e.verdict, replace(e.detail, h.expires_at::text, 'it expires') AS detail
FROM assignment_v3.explain(test.id('b', 40)) AS e LEFT JOIN table_hold_windows AS h USING (table_id) ORDER BY 1;
DELETE FROM table_holds;
-- one's own hold, one that has expired, and one that was given up, bar nobody; another booking's does
CALL test.hold(3, 40);
CALL test.hold(4, expires => '-1 s');
CALL test.hold(5, status => 'released');
CALL test.hold(1, 45);
UPDATE table_hold_windows SET start_at = test.at(18), end_at = test.at(20) WHERE table_id = test.id('d', 401);
SELECT test.plans(40) AS beside_held;
SELECT table_number, verdict FROM assignment_v3.explain(test.id('b', 40)) ORDER BY 1;
-- whose hold it is, the hold may say for all of its windows
UPDATE table_hold_windows SET booking_id = NULL;
SELECT test.plans(40) AS beside_held;
SELECT table_number, verdict FROM assignment_v3.explain(test.id('b', 40)) ORDER BY 1;
DELETE FROM table_holds;
-- the table itself: only out of service bars among the statuses
UPDATE table_inventory
SET status = (ARRAY['available', 'reserved', 'occupied', 'out_of_service', 'available'])[test.no(id) - 400],
	active = test.no(id) < 405 WHERE restaurant_id = test.id('a', 4);
SELECT test.plans(40) AS in_service;
SELECT table_number, verdict, detail FROM assignment_v3.explain(test.id('b', 40)) ORDER BY 1;
UPDATE table_inventory SET status = 'available', active = true;
-- its own tables are free to a booking that is to be seated again
CALL test.seat(40, 402);
SELECT test.plans(40, 1) AS again, (SELECT verdict FROM assignment_v3.explain(test.id('b', 40)) WHERE table_number = 'T2');
-- tables of another restaurant are none of its business
CALL test.book(49, 4, party => 6);
SELECT test.plans(49), (SELECT count(*) FROM assignment_v3.explain(test.id('b', 49))) AS tables;

-- Looking leaves no trace, not even in a transaction that may write, and locks nothing.
CALL test.remember();
BEGIN;
SELECT count(*) > 0 AS plans FROM bookings AS b CROSS JOIN LATERAL assignment_v3.plan(b.id) AS p;
SELECT count(*) > 0 AS verdicts FROM bookings AS b CROSS JOIN LATERAL assignment_v3.explain(b.id) AS e;
SELECT count(*) AS locks FROM pg_locks
WHERE pid = pg_backend_pid() AND (locktype = 'advisory' OR mode NOT IN ('AccessShareLock', 'ExclusiveLock'));
SELECT pg_current_xact_id_if_assigned();
COMMIT;
SELECT test.changed();
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT test.plans(35);
COMMIT;

\c :origin
DROP DATABASE obeys_floor;
