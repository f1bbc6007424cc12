/*-------------------------------------------------------------------------
 *
 * demo_days.sql
 *		A rollout of three days, in a minute: rehearsals beside a legacy path,
 *		then the pipeline itself.
 *
 * In a fresh database.  The bookings are those of demo_workload.sql; those of
 * the first week are rehearsed and then seated by a stand-in for the legacy
 * path, which takes the smallest table that is free and never merges, those
 * of the second week are decided on by the pipeline.  Afterwards the trail is
 * stretched evenly over the three days before now; nothing but times is changed.
 *
 *-------------------------------------------------------------------------
 */
\set ON_ERROR_STOP on
\set load 0.4
\set seed three_days
SET client_min_messages TO warning;
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
SELECT count(*) AS steps FROM assignment_v3.attach() \gset
ALTER DATABASE :"DBNAME" SET assignment_v3.enabled TO on;
SET assignment_v3.shadow TO on;
\ir demo_workload.sql

-- legacy(): seats a booking at the smallest free table, and leaves the app's own event.
CREATE FUNCTION pg_temp.legacy(booking uuid)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	chosen uuid;
BEGIN
	SELECT t.id INTO chosen
	FROM public.bookings AS b
	JOIN public.table_inventory AS t ON t.restaurant_id = b.restaurant_id AND b.party_size BETWEEN t.min_party_size AND t.capacity
	WHERE b.id = booking AND NOT EXISTS (
		SELECT FROM public.booking_table_assignments AS a
		WHERE a.table_id = t.id AND a.start_at < b.end_at AND a.end_at > b.start_at)
	ORDER BY t.capacity, t.table_number
	LIMIT 1;
	IF chosen IS NOT NULL THEN
		INSERT INTO public.booking_table_assignments (booking_id, table_id, start_at, end_at)
		SELECT b.id, chosen, b.start_at, b.end_at FROM public.bookings AS b WHERE b.id = booking;
		UPDATE public.bookings SET status = 'confirmed' WHERE id = booking;
	END IF;
	INSERT INTO public.observability_events (source, event_type, booking_id, context)
	VALUES ('auto_assign', 'auto_assign.summary', booking,
		jsonb_build_object('result', CASE WHEN chosen IS NULL THEN 'exhausted' ELSE 'succeeded' END));
END;
$$;

-- By whom, and when the guest called: the first week's in the day before the last two, the second's in those.
CREATE TEMPORARY TABLE calls AS
SELECT c.id, c.rehearsed, CASE WHEN c.rehearsed THEN interval '49 hours' + interval '24 hours' * w.share ELSE interval '48 hours' * w.share END AS ago
FROM (
	SELECT b.id, b.start_at < date_trunc('day', (SELECT min(x.start_at) FROM public.bookings AS x)) + interval '7 days' AS rehearsed
	FROM public.bookings AS b
) AS c
CROSS JOIN LATERAL (SELECT ('x' || substr(md5(c.id || ' call'), 1, 8))::bit(32)::bigint / 4294967296.0) AS w (share);

SELECT count(*) AS rehearsed FROM pg_temp.calls AS c, LATERAL (SELECT (assignment_v3.process_booking(c.id, 'booking_route')).outcome, pg_temp.legacy(c.id)) AS d
WHERE c.rehearsed \gset

SET assignment_v3.shadow TO off;
SET assignment_v3.enabled TO on;
SET assignment_v3.retry_base_delay TO '1ms';
SET assignment_v3.retry_max_delay TO '1ms';
SET assignment_v3.retry_jitter TO 0;
DELETE FROM assignment_v3.queue AS q USING pg_temp.calls AS c WHERE c.id = q.booking_id AND c.rehearsed;
CALL assignment_v3.run();
CALL assignment_v3.run();
CALL assignment_v3.run();
CALL assignment_v3.run();
CALL assignment_v3.run();

-- The same trail, over three days.
SET session_replication_role TO replica;
UPDATE public.bookings AS b SET created_at = now() - c.ago FROM pg_temp.calls AS c WHERE c.id = b.id;
UPDATE public.observability_events AS e SET created_at = e.created_at - c.ago FROM pg_temp.calls AS c WHERE c.id = e.booking_id;
UPDATE public.booking_assignment_state_history AS h SET created_at = h.created_at - c.ago FROM pg_temp.calls AS c WHERE c.id = h.booking_id;
UPDATE public.booking_assignment_shadow_results AS r SET created_at = r.created_at - c.ago FROM pg_temp.calls AS c WHERE c.id = r.booking_id;
UPDATE public.capacity_outbox SET status = 'done' WHERE booking_id::text < 'f8';
SET session_replication_role TO origin;
INSERT INTO assignment_v3.phases (phase, entered_at) VALUES
	('development', now() - interval '6 days'),
	('staging_shadow', now() - interval '74 hours'),
	('staging_full', now() - interval '48 hours 5 minutes');
SELECT assignment_v3.sign_off('staging_full', 'qa', 'Ada');
