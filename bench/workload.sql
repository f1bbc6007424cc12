/*-------------------------------------------------------------------------
 *
 * workload.sql
 *		Restaurants with their floors, bookings that are seated, and bookings
 *		that wait.  The trail of the seated ones is in trail.sql.
 *
 * Party sizes come at the rates of a published restaurant workload (SimOpt,
 * TABLEALLOCATION), stay for the usual turn times, and start every quarter of
 * an hour from 12:00 to 14:00 and from 18:00 to 21:00, on each of 60 days
 * from tomorrow.  A floor is four zones of ten tables that stand in a row:
 * five of 2 seats, two or three of 4, one or two of 6 and one of 8.
 *
 * Of all bookings :open wait and are what is measured; the others have been
 * seated before.  A table has one of these a day at the most, so they cannot
 * overlap, and rows lie in the order in which the bookings were made, not by
 * restaurant or day.
 *
 * psql variables:
 *		restaurants	how many
 *		bookings	how many, waiting ones among them
 *		open		how many wait
 *		bulk		on: indexes and constraints are dropped and noted in bench.saved,
 *					to be made anew when all is loaded
 *
 * Chance is a hash of a number, so the same variables give the same rows,
 * apart from the day.  Triggers do not fire: the rows are written as they
 * would have left them.
 *
 *-------------------------------------------------------------------------
 */
\set ON_ERROR_STOP on
\set QUIET on

SET client_min_messages TO warning;
SET session_replication_role TO replica;
SET synchronous_commit TO off;
SET maintenance_work_mem TO '1GB';
SET work_mem TO '256MB';

CREATE SCHEMA IF NOT EXISTS bench;

SELECT date_trunc('day', now(), 'UTC') + interval '1 day' AS first_day \gset

-- chance(): a number in [0, 1) for the nth row of a kind.
CREATE FUNCTION bench.chance(n bigint, kind integer)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
SELECT (hashint8extended(n, kind) & 4294967295) / 4294967296.0::double precision
$$;

CREATE FUNCTION bench.id(kind text, n bigint)
RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
SELECT md5(kind || n)::uuid
$$;

-- start_of(): one of the 22 quarter hours at which a party may arrive.
CREATE FUNCTION bench.start_of(first_day timestamptz, day integer, chance double precision)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
SELECT first_day + (day * 96 + floor(22 * chance)::integer + CASE WHEN chance < 9 / 22.0 THEN 48 ELSE 63 END)
	* interval '15 minutes'
$$;

CREATE TABLE bench.party_sizes AS
SELECT party_size, turn,
	sum(per_hour) OVER (ORDER BY party_size) / sum(per_hour) OVER () AS up_to,
	coalesce(sum(per_hour) OVER (ORDER BY party_size ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
		/ sum(per_hour) OVER () AS above
FROM (VALUES
	(1, 3.0, interval '60 minutes'),
	(2, 6.0, '60 minutes'),
	(3, 3.0, '75 minutes'),
	(4, 3.0, '75 minutes'),
	(5, 2.0, '85 minutes'),
	(6, 4 / 3.0, '85 minutes'),
	(7, 6 / 5.0, '90 minutes'),
	(8, 1.0, '90 minutes')) AS p (party_size, per_hour, turn);

-- Indexes and constraints, as attach() made them, in the order to make them again; foreign keys last and
-- unchecked, as what was loaded fulfils them.
CREATE TABLE bench.saved AS
SELECT row_number() OVER (ORDER BY kind) AS position, relation, drop_it, make_it
FROM (
	SELECT CASE contype WHEN 'x' THEN 1 WHEN 'f' THEN 4 ELSE 2 END AS kind, conrelid::regclass::text AS relation,
		format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS drop_it,
		format('ALTER TABLE %s ADD CONSTRAINT %I %s%s', conrelid::regclass, conname, pg_get_constraintdef(oid),
			CASE contype WHEN 'f' THEN ' NOT VALID' END) AS make_it
	FROM pg_constraint
	WHERE contype IN ('p', 'u', 'x', 'f') AND conrelid IN (
		'bookings'::regclass, 'booking_table_assignments'::regclass, 'booking_assignment_state_history'::regclass,
		'booking_assignment_attempts'::regclass, 'observability_events'::regclass, 'capacity_outbox'::regclass)
		OR contype = 'f' AND confrelid = 'bookings'::regclass
	UNION ALL
	SELECT 3, indrelid::regclass::text, format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
	FROM pg_index i
	WHERE indrelid IN (
		'bookings'::regclass, 'booking_table_assignments'::regclass, 'booking_assignment_state_history'::regclass,
		'booking_assignment_attempts'::regclass, 'observability_events'::regclass, 'capacity_outbox'::regclass)
		AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)) AS all_of_them
WHERE :'bulk'::boolean;

SELECT drop_it FROM bench.saved ORDER BY position DESC \gexec

-- The floors.
INSERT INTO restaurants (id, name, slug)
SELECT bench.id('restaurant', r), 'Restaurant ' || r, 'restaurant-' || r
FROM generate_series(1, :restaurants) AS r;

INSERT INTO zones (id, restaurant_id, name, sort_order)
SELECT bench.id('zone', r * 4 + z), bench.id('restaurant', r), 'Zone ' || z + 1, z
FROM generate_series(1, :restaurants) AS r, generate_series(0, 3) AS z;

CREATE TABLE bench.floor AS
SELECT r * 40 + z * 10 + place AS n, bench.id('table', r * 40 + z * 10 + place) AS id,
	bench.id('restaurant', r) AS restaurant_id, bench.id('zone', r * 4 + z) AS zone_id, z, place,
	CASE WHEN place < 5 THEN 2 WHEN place < 7 OR place = 7 AND z = 0 THEN 4 WHEN place < 9 THEN 6 ELSE 8 END AS seats
FROM generate_series(1, :restaurants) AS r, generate_series(0, 3) AS z, generate_series(0, 9) AS place;

-- a live app may have an enum for it
SELECT format_type(atttypid, NULL) AS mobility FROM pg_attribute
WHERE attrelid = 'table_inventory'::regclass AND attname = 'mobility' \gset

INSERT INTO table_inventory (id, restaurant_id, zone_id, table_number, capacity, min_party_size, mobility)
SELECT id, restaurant_id, zone_id, 'T' || z * 10 + place + 1, seats,
	CASE WHEN seats < 6 THEN 1 ELSE seats - 3 END, CAST(CASE WHEN place < 8 THEN 'movable' ELSE 'fixed' END AS :mobility)
FROM bench.floor ORDER BY n;

INSERT INTO table_adjacencies (table_a, table_b)
SELECT a.id, b.id FROM bench.floor a JOIN bench.floor b ON b.n = a.n + 1 AND b.place > 0 ORDER BY a.n;

-- The bookings that have been seated: each takes one day of one table.
CREATE UNLOGGED TABLE bench.seated AS
SELECT b.n, bench.id('booking', b.n) AS id, f.restaurant_id, f.id AS table_id, p.party_size,
	bench.start_of(:'first_day', (k % 60)::integer, bench.chance(b.n, 1)) AS start_at,
	bench.start_of(:'first_day', (k % 60)::integer, bench.chance(b.n, 1)) + p.turn AS end_at,
	now() - bench.chance(b.n, 2) * interval '60 days' AS created_at
FROM (
	SELECT n, n * (:restaurants * 40 * 60) / (:bookings - :open) AS k
	FROM generate_series(0::bigint, :bookings - :open - 1) AS n) AS b
	JOIN bench.floor f ON f.n = k / 60 + 40
	JOIN bench.party_sizes p ON p.party_size = f.seats - (bench.chance(b.n, 3) < 0.5)::integer
ORDER BY created_at;

-- The bookings that wait, in the order of the queue.
CREATE TABLE bench.waiting AS
SELECT n, bench.id('booking', n) AS id,
	bench.id('restaurant', 1 + floor(:restaurants * bench.chance(n, 4))::bigint) AS restaurant_id, party_size,
	bench.start_of(:'first_day', floor(60 * bench.chance(n, 5))::integer, bench.chance(n, 1)) AS start_at,
	bench.start_of(:'first_day', floor(60 * bench.chance(n, 5))::integer, bench.chance(n, 1)) + turn AS end_at,
	now() - (:bookings - n) * interval '1 millisecond' AS created_at
FROM generate_series(:bookings - :open::bigint, :bookings - 1) AS n
	JOIN bench.party_sizes ON bench.chance(n, 6) >= above AND bench.chance(n, 6) < up_to
ORDER BY n;

INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, status, customer_name, customer_email,
	customer_phone, created_at, updated_at, assignment_state, assignment_state_version, assignment_strategy)
SELECT id, restaurant_id, party_size, start_at, end_at, 'confirmed', 'Guest ' || n, 'guest' || n || '@example.org',
	'+44 20 7946 ' || n % 10000, created_at, created_at, 'confirmed', 6, 'optimal_fit'
FROM bench.seated;

INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, customer_name, customer_email,
	customer_phone, created_at, updated_at)
SELECT id, restaurant_id, party_size, start_at, end_at, 'Guest ' || n, 'guest' || n || '@example.org',
	'+44 20 7946 ' || n % 10000, created_at, created_at
FROM bench.waiting;

INSERT INTO assignment_v3.queue (booking_id, restaurant_id, due_at, enqueued_at)
SELECT id, restaurant_id, created_at, created_at FROM bench.waiting;

INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at, assigned_at)
SELECT id, table_id, start_at, end_at, created_at FROM bench.seated;
