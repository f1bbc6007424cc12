/*-------------------------------------------------------------------------
 *
 * demo_workload.sql
 *		Restaurants with their floors and their bookings, the same each time.
 *
 * The workload is a published one (SimOpt, TABLEALLOCATION): a room of 80
 * covers, 10 tables of 2, 5 of 4, 4 of 6 and 2 of 8, and for each party size
 * a Poisson stream of parties.  How they are booked is the usual practice:
 * slots of a quarter hour, and a table is kept for the turn time of the party,
 * with all guests gone when the doors close.
 *
 * A fresh attached schema public is filled; psql variables set its size:
 *		restaurants	how many (3)
 *		days		how many days of bookings for each (14)
 *		load		factor on the arrival rates (1)
 *		first_day	a date (the next Monday, so that every window lies ahead)
 *		seed		another one gives other bookings (assignment_v3)
 *
 * Chance is a hash of the seed and a name, not random(), whose sequence
 * differs between releases: the same variables give the same bookings, ids
 * included, on every version.  Bookings are inserted in the order in which
 * their guests called, which is any order, and the queue keeps it.
 *
 *-------------------------------------------------------------------------
 */
\set ON_ERROR_STOP on
\if :{?restaurants} \else \set restaurants 3 \endif
\if :{?days} \else \set days 14 \endif
\if :{?load} \else \set load 1 \endif
\if :{?seed} \else \set seed assignment_v3 \endif
\if :{?first_day} \else
SELECT pg_catalog.date_trunc('week', pg_catalog.now() AT TIME ZONE 'UTC')::pg_catalog.date + 7 AS first_day \gset
\endif

-- chance(): a number in [0, 1) drawn by name.
CREATE FUNCTION pg_temp.chance(name text)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
SELECT ('x' || substr(md5(name), 1, 13))::bit(52)::bigint / 4503599627370496.0::double precision
$$;

CREATE TEMPORARY TABLE party_sizes (party_size integer, per_hour double precision, turn interval);
INSERT INTO pg_temp.party_sizes VALUES
	(1, 3, '60 minutes'),
	(2, 6, '60 minutes'),
	(3, 3, '75 minutes'),
	(4, 3, '75 minutes'),
	(5, 2, '85 minutes'),
	(6, 4 / 3.0, '85 minutes'),
	(7, 6 / 5.0, '90 minutes'),
	(8, 1, '90 minutes');

CREATE TEMPORARY TABLE services (service text, opens interval, closes interval);
INSERT INTO pg_temp.services VALUES
	('lunch', '12:00', '15:00'),
	('dinner', '18:00', '23:00');

-- The floor of every restaurant.  Tables stand next to each other in this order.
CREATE TEMPORARY TABLE floor_tables
	(zone text, sort_order integer, place integer, seats integer, min_party integer, mobility text);
INSERT INTO pg_temp.floor_tables VALUES
	('Window', 1, 1, 2, 1, 'movable'),
	('Window', 1, 2, 2, 1, 'movable'),
	('Window', 1, 3, 2, 1, 'movable'),
	('Window', 1, 4, 2, 1, 'movable'),
	('Window', 1, 5, 4, 1, 'movable'),
	('Window', 1, 6, 4, 1, 'movable'),
	('Window', 1, 7, 6, 3, 'fixed'),
	('Hall', 2, 1, 2, 1, 'movable'),
	('Hall', 2, 2, 2, 1, 'movable'),
	('Hall', 2, 3, 2, 1, 'movable'),
	('Hall', 2, 4, 2, 1, 'movable'),
	('Hall', 2, 5, 4, 1, 'movable'),
	('Hall', 2, 6, 4, 1, 'movable'),
	('Hall', 2, 7, 6, 3, 'movable'),
	('Hall', 2, 8, 6, 3, 'fixed'),
	('Hall', 2, 9, 8, 5, 'fixed'),
	('Terrace', 3, 1, 2, 1, 'movable'),
	('Terrace', 3, 2, 2, 1, 'movable'),
	('Terrace', 3, 3, 4, 1, 'movable'),
	('Terrace', 3, 4, 6, 3, 'movable'),
	('Terrace', 3, 5, 8, 5, 'movable');

-- ---------------------------------------------------------------------
-- Restaurants and floors
-- ---------------------------------------------------------------------
INSERT INTO public.restaurants (id, name, slug, timezone)
SELECT md5(:'seed' || ' restaurant ' || n)::uuid,
	coalesce((ARRAY['Osteria Aurora', 'The Copper Pan', 'Chez Margot'])[n], 'Restaurant ' || n),
	'restaurant-' || n,
	(ARRAY['Europe/Rome', 'Europe/London', 'Europe/Paris'])[(n - 1) % 3 + 1]
FROM generate_series(1, :restaurants) AS n;

INSERT INTO public.zones (id, restaurant_id, name, sort_order)
SELECT DISTINCT md5(r.id || ' ' || f.zone)::uuid, r.id, f.zone, f.sort_order
FROM public.restaurants AS r
CROSS JOIN pg_temp.floor_tables AS f;

INSERT INTO public.table_inventory
	(id, restaurant_id, zone_id, table_number, capacity, min_party_size, mobility)
SELECT md5(r.id || ' ' || f.zone || ' ' || f.place)::uuid,
	r.id,
	md5(r.id || ' ' || f.zone)::uuid,
	left(f.zone, 1) || f.place,
	f.seats,
	f.min_party,
	f.mobility
FROM public.restaurants AS r
CROSS JOIN pg_temp.floor_tables AS f;

INSERT INTO public.table_adjacencies (table_a, table_b)
SELECT md5(r.id || ' ' || f.zone || ' ' || f.place)::uuid,
	md5(r.id || ' ' || f.zone || ' ' || f.place + 1)::uuid
FROM public.restaurants AS r
CROSS JOIN pg_temp.floor_tables AS f
WHERE EXISTS (SELECT FROM pg_temp.floor_tables AS g WHERE g.zone = f.zone AND g.place = f.place + 1);

-- ---------------------------------------------------------------------
-- Bookings
-- ---------------------------------------------------------------------

-- A stream is one party size at one service.  It brings parties while there is still a whole
-- turn before the doors close; enough of them are drawn that the surplus is cut off by the clock.
CREATE TEMPORARY TABLE streams AS
SELECT r.id AS restaurant_id,
	r.timezone,
	s.opens,
	p.party_size,
	p.per_hour * :load AS per_hour,
	p.turn,
	extract(epoch FROM s.closes - s.opens - p.turn) / 3600.0 AS hours,
	:'first_day'::date + d AS day,
	concat_ws(' ', :'seed', r.slug, d, s.service, p.party_size) AS name
FROM public.restaurants AS r
CROSS JOIN generate_series(0, :days - 1) AS d
CROSS JOIN pg_temp.services AS s
CROSS JOIN pg_temp.party_sizes AS p;

-- Between two arrivals of a Poisson stream lies an exponentially distributed time.
CREATE TEMPORARY TABLE arrivals AS
SELECT a.*, a.name || ' ' || a.n AS guest
FROM (
	SELECT s.*, n,
		sum(-ln(1 - pg_temp.chance(s.name || ' gap ' || n)) / s.per_hour)
			OVER (PARTITION BY s.name ORDER BY n) AS after_hours
	FROM pg_temp.streams AS s
	CROSS JOIN LATERAL generate_series(1, ceil(s.per_hour * s.hours + 6 * sqrt(s.per_hour * s.hours) + 6)::integer) AS n
) AS a
WHERE a.after_hours <= a.hours;

-- A guest in five asks for a zone.
INSERT INTO public.bookings
	(id, restaurant_id, party_size, start_at, end_at, assigned_zone_id, customer_name, customer_email)
SELECT md5(a.guest)::uuid,
	a.restaurant_id,
	a.party_size,
	w.start_at,
	w.start_at + a.turn,
	(SELECT z.id FROM public.zones AS z
	 WHERE z.restaurant_id = a.restaurant_id
		AND z.sort_order = 1 + floor(15 * pg_temp.chance(a.guest || ' zone'))),
	name.first || ' ' || name.last,
	lower(name.first || '.' || name.last) || '@example.com'
FROM pg_temp.arrivals AS a
CROSS JOIN LATERAL (
	SELECT (a.day + a.opens + floor(a.after_hours * 4) * interval '15 minutes')
		AT TIME ZONE a.timezone AS start_at
) AS w
CROSS JOIN LATERAL (
	SELECT (ARRAY['Ada', 'Bram', 'Clara', 'Dario', 'Elsa', 'Finn', 'Greta', 'Hugo', 'Ines', 'Jonas', 'Kira',
			'Louis', 'Mara', 'Nils', 'Olga', 'Pablo'])[1 + floor(16 * pg_temp.chance(a.guest || ' first'))] AS first,
		(ARRAY['Abel', 'Berg', 'Costa', 'Dubois', 'Evans', 'Fontana', 'Garcia', 'Hansen', 'Ivanov', 'Jansen',
			'Keller', 'Lopez', 'Moreau', 'Novak', 'Olsen', 'Petit'])[1 + floor(16 * pg_temp.chance(a.guest || ' last'))] AS last
) AS name
ORDER BY md5(a.guest || ' call');

DROP TABLE pg_temp.arrivals, pg_temp.streams, pg_temp.floor_tables, pg_temp.services, pg_temp.party_sizes;
