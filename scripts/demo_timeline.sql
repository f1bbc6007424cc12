/*-------------------------------------------------------------------------
 *
 * demo_timeline.sql
 *		One service of one restaurant as text, in one query.
 *
 * psql variables:
 *		restaurant_id
 *		opens_at	the quarter hour at which the first column begins
 *		closes_at	where the last one ends
 *
 * A line is a table with its seats, under the name of its zone; a column of
 * four characters is a quarter hour.  A party is a box as long as its window,
 * with its size in it, and where it sits at several tables with the others of
 * the merge: [6+H4+H5====].  The last line gives the seats there are, and how
 * many of them are taken.
 *
 *-------------------------------------------------------------------------
 */
WITH asked AS (
	SELECT r.id AS restaurant_id, r.timezone, w.opens_at, w.closes_at,
		ceil(extract(epoch FROM w.closes_at - w.opens_at) / 900)::integer AS quarters
	FROM public.restaurants AS r
	CROSS JOIN (VALUES (:'opens_at'::timestamptz, :'closes_at'::timestamptz)) AS w (opens_at, closes_at)
	WHERE r.id = :'restaurant_id'
),
-- Tables in the order of a plan: by zone, numbers in their names compared as numbers.
tables AS (
	SELECT t.id, t.table_number, t.capacity, z.sort_order AS zone_order, z.name AS zone,
		row_number() OVER (
			ORDER BY z.sort_order, z.name,
				regexp_replace(t.table_number, '[0-9]+', '', 'g'),
				(regexp_match(t.table_number, '[0-9]{1,18}'))[1]::bigint,
				t.table_number) AS place
	FROM asked AS a
	JOIN public.table_inventory AS t ON t.restaurant_id = a.restaurant_id
	LEFT JOIN public.zones AS z ON z.id = t.zone_id
	WHERE t.active
),
-- Windows as columns: one is taken if any part of its quarter hour is.
taken AS (
	SELECT s.table_id, s.booking_id, b.party_size, t.table_number, t.place, t.capacity,
		greatest(floor(extract(epoch FROM s.start_at - a.opens_at) / 900)::integer, 0) AS first_column,
		least(ceil(extract(epoch FROM s.end_at - a.opens_at) / 900)::integer, a.quarters) AS end_column
	FROM asked AS a
	CROSS JOIN tables AS t
	JOIN public.booking_table_assignments AS s ON s.table_id = t.id
		AND s.start_at < a.closes_at AND s.end_at > a.opens_at
	JOIN public.bookings AS b ON b.id = s.booking_id
),
-- Where two windows of a table share a column, the later one has it.
boxes AS (
	SELECT p.table_id, p.first_column,
		repeat(' ', 4 * (p.first_column
			- coalesce(lag(p.end_column) OVER (PARTITION BY p.table_id ORDER BY p.first_column), 0)))
		|| '['
		|| rpad(p.party_size || coalesce(p.others, ''), 4 * (p.end_column - p.first_column) - 2, '=')
		|| ']' AS box
	FROM (
		SELECT n.table_id, n.party_size, n.first_column,
			least(n.end_column, lead(n.first_column) OVER (PARTITION BY n.table_id ORDER BY n.first_column, n.end_column)) AS end_column,
			(SELECT string_agg('+' || o.table_number, '' ORDER BY o.place)
			 FROM taken AS o
			 WHERE o.booking_id = n.booking_id AND o.table_id <> n.table_id) AS others
		FROM taken AS n
	) AS p
	WHERE p.first_column < p.end_column
),
lines AS (
	SELECT -1::bigint AS place, 0 AS part,
		repeat(' ', 10) || string_agg(rpad(to_char(q.at, 'HH24:MI'), 16), '' ORDER BY q.at) AS line
	FROM asked AS a
	CROSS JOIN LATERAL generate_series(a.opens_at AT TIME ZONE a.timezone,
		a.closes_at AT TIME ZONE a.timezone - interval '1 minute', interval '1 hour') AS q (at)
	UNION ALL
	SELECT min(t.place), 0, coalesce(t.zone, 'No zone')
	FROM tables AS t
	GROUP BY t.zone_order, t.zone
	UNION ALL
	SELECT t.place, 1,
		rpad('  ' || t.table_number, 6) || lpad(t.capacity::text, 2) || '  '
		|| coalesce((SELECT string_agg(x.box, '' ORDER BY x.first_column) FROM boxes AS x WHERE x.table_id = t.id), '')
	FROM tables AS t
	UNION ALL
	SELECT 1 + (SELECT count(*) FROM tables), 0,
		rpad('seats', 6) || lpad((SELECT sum(t.capacity) FROM tables AS t)::text, 2) || '  '
		|| string_agg(lpad(u.seats::text, 3) || ' ', '' ORDER BY u.quarter)
	FROM (
		SELECT q AS quarter, coalesce(sum(p.capacity), 0) AS seats
		FROM asked AS a
		CROSS JOIN LATERAL generate_series(0, a.quarters - 1) AS q
		LEFT JOIN taken AS p ON q >= p.first_column AND q < p.end_column
		GROUP BY q
	) AS u
)
SELECT rtrim(l.line) AS line
FROM lines AS l
ORDER BY l.place, l.part;
