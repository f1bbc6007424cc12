/*-------------------------------------------------------------------------
 *
 * demo_report.sql
 *		What became of the bookings of the demo.
 *
 * Everything is read from the app's own relations, as an operator would.
 *
 *-------------------------------------------------------------------------
 */
\set ON_ERROR_STOP on
\pset border 0
\pset footer off
\pset null ''

\echo
\echo Outcomes
SELECT replace(b.assignment_state::text, '_', ' ') AS state,
	count(*) AS bookings,
	round(100.0 * count(*) / sum(count(*)) OVER (), 1) AS percent,
	count(*) FILTER (WHERE b.status = 'cancelled') AS "called off since"
FROM public.bookings AS b
GROUP BY b.assignment_state
ORDER BY b.assignment_state;

SELECT round(100.0 * avg((b.assignment_state = 'confirmed')::integer), 1) AS rate
FROM public.bookings AS b \gset
\echo Confirmation rate :rate %

-- The covers asked for, by the quarter hour in which most are on average.
SELECT format('The published rates fill the rooms: at %s guests ask for %s covers on average, at most %s; a room seats %s.',
	(array_agg(to_char(w.quarter, 'HH24:MI') ORDER BY w.mean DESC))[1], max(w.mean), max(w.most),
	(SELECT sum(t.capacity) / count(DISTINCT t.restaurant_id) FROM public.table_inventory AS t)) AS line
FROM (
	SELECT q.quarter::time, max(q.covers) AS most, round(avg(q.covers)) AS mean
	FROM (
		SELECT g AS quarter, sum(b.party_size) AS covers
		FROM public.bookings AS b
		JOIN public.restaurants AS r ON r.id = b.restaurant_id
		CROSS JOIN LATERAL generate_series(b.start_at AT TIME ZONE r.timezone,
			b.end_at AT TIME ZONE r.timezone - interval '1 minute', interval '15 minutes') AS g
		GROUP BY b.restaurant_id, g
	) AS q
	GROUP BY q.quarter::time
) AS w \gset
\echo :line

\echo
\echo Attempts by strategy
SELECT a.strategy,
	count(*) FILTER (WHERE a.result = 'success') AS seated,
	count(*) FILTER (WHERE a.result = 'failure') AS "no table",
	round(100.0 * count(*) FILTER (WHERE a.result = 'success') / count(*), 1) AS "seated %"
FROM public.booking_assignment_attempts AS a
GROUP BY a.strategy
ORDER BY min(a.attempt_no);
