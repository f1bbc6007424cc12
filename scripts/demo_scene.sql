/*-------------------------------------------------------------------------
 *
 * demo_scene.sql
 *		A block and two holds late on one evening of one restaurant.
 *
 * psql variables:
 *		restaurant_id
 *		day
 *
 * Of the tables that nobody comes to any more, the one that is free first is
 * blocked until closing time and the next two are held together.
 *
 *-------------------------------------------------------------------------
 */
\set ON_ERROR_STOP on

CREATE TEMPORARY TABLE free_tables AS
SELECT t.id, f.free_at, w.closes_at, row_number() OVER (ORDER BY f.free_at, t.table_number) AS n
FROM public.restaurants AS r
CROSS JOIN LATERAL (SELECT (:'day'::date + time '22:45') AT TIME ZONE r.timezone) AS w (closes_at)
JOIN public.table_inventory AS t ON t.restaurant_id = r.id
CROSS JOIN LATERAL (
	SELECT max(a.end_at) FROM public.booking_table_assignments AS a
	WHERE a.table_id = t.id AND a.start_at BETWEEN w.closes_at - interval '6 hours' AND w.closes_at
) AS f (free_at)
WHERE r.id = :'restaurant_id' AND f.free_at <= w.closes_at - interval '45 minutes';

SELECT count(*) AS blocks
FROM pg_temp.free_tables AS f
CROSS JOIN LATERAL assignment_v3.block(ARRAY[f.id], f.free_at, f.closes_at, 'wobbly')
WHERE f.n = 1 \gset

INSERT INTO public.table_holds (id, restaurant_id, start_at, end_at, expires_at)
SELECT md5(f.id::text || :'day')::uuid, :'restaurant_id', f.free_at, f.closes_at, now() + interval '1 day'
FROM pg_temp.free_tables AS f WHERE f.n IN (2, 3);
INSERT INTO public.table_hold_windows (hold_id, table_id, restaurant_id, start_at, end_at, expires_at)
SELECT h.id, f.id, h.restaurant_id, h.start_at, h.end_at, h.expires_at
FROM pg_temp.free_tables AS f
JOIN public.table_holds AS h ON h.id = md5(f.id::text || :'day')::uuid;

DROP TABLE pg_temp.free_tables;
