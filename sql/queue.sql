/*-------------------------------------------------------------------------
 *
 * queue.sql
 *		What waits for tables: enqueue_existing(), rebuild_queue(), pause(),
 *		resume(), run_at(), requeue_reviews(), queue_metrics() and
 *		why_waiting().
 *
 * assignment_v3.queue has a row for each booking that waits, kept by the
 * triggers on bookings and by the decisions.  It holds nothing that bookings
 * do not tell as well, but for when to come again, so it can be made anew.
 *
 * A paused restaurant is left alone by run(), process_due() and the worker;
 * its bookings keep their places.  A call of process_booking() for one of them
 * is somebody's wish and is obeyed.
 *
 * All functions run as their invoker, and stop where row-level security would
 * hide rows.
 *
 *-------------------------------------------------------------------------
 */

-- queue_fill(): queues bookings that still wait for tables and are not queued yet, and returns how many: those made or
-- changed since then, and, if asked for, those that the pipeline has touched.
CREATE FUNCTION assignment_v3.queue_fill(app_schema text, since timestamptz, touched boolean)
RETURNS bigint
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
DECLARE
	queued bigint;
BEGIN
	EXECUTE assignment_v3.attach_expand($q$
		WITH open_restaurants AS MATERIALIZED (
			SELECT m.id, m.mode FROM (
				SELECT r.id, (assignment_v3.mode(r.id)).mode AS mode FROM @app@.restaurants AS r OFFSET 0
			) AS m
			WHERE m.mode <> 'disabled'
		)
		INSERT INTO assignment_v3.queue (booking_id, restaurant_id, due_at, enqueued_at)
		SELECT b.id, b.restaurant_id, $2, $2
		FROM @app@.bookings AS b
		JOIN open_restaurants AS o ON o.id = b.restaurant_id
		WHERE (b.created_at >= $1 OR b.updated_at >= $1 OR $3 AND b.assignment_state_version > 1) AND (b.end_at > $2) IS NOT FALSE
			AND (b.status::text IN ('pending', 'pending_allocation')
				AND b.assignment_state::text NOT IN ('confirmed', 'failed', 'manual_review')
				-- what the legacy path has seated is still to be rehearsed
				OR o.mode = 'shadow' AND b.status::text = 'confirmed'
				AND b.assignment_state::text NOT IN ('failed', 'manual_review'))
		ON CONFLICT DO NOTHING$q$, app_schema)
		USING since, clock_timestamp(), touched;
	GET DIAGNOSTICS queued = ROW_COUNT;
	PERFORM assignment_v3.wake_workers();
	RETURN queued;
END;
$$;
COMMENT ON FUNCTION assignment_v3.queue_fill(text, timestamptz, boolean) IS
	'Internal to enqueue_existing() and rebuild_queue(): queues bookings that wait for tables';

-- enqueue_existing(): queues the bookings made since then that still wait for tables, and returns how many.  The
-- trigger on bookings queues nothing where the mode is disabled; this makes up for it once the mode has changed.
-- Bookings that are queued already keep their place; restaurants still disabled are left out.
-- Errors: PT422 no time given, 55000 not attached.
CREATE FUNCTION assignment_v3.enqueue_existing(since timestamptz)
RETURNS bigint
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
BEGIN
	IF since IS NULL THEN
		RAISE EXCEPTION 'since must not be null'
			USING ERRCODE = 'PT422', HINT = 'Give the time since which bookings are to be queued, such as now() - interval ''1 day''.';
	END IF;
	RETURN assignment_v3.queue_fill(app_schema, since, false);
END;
$$;
COMMENT ON FUNCTION assignment_v3.enqueue_existing(timestamptz) IS
	'Queues the bookings made since then that still wait for tables, and returns how many';

-- rebuild_queue(): makes the queue what the bookings say.  Rows whose booking is gone, seated or given up are removed;
-- bookings without a row get one, if they were made or changed since attach() or the pipeline has touched them: what
-- is older waits for enqueue_existing().  Rows that belong there keep their due times.
-- Locks: rows of the queue that it removes; a drain at work on one of them is waited for.
-- Errors: 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.rebuild_queue(OUT added bigint, OUT removed bigint)
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
BEGIN
	EXECUTE assignment_v3.attach_expand($q$
		DELETE FROM assignment_v3.queue AS q
		WHERE NOT EXISTS (
			SELECT FROM @app@.bookings AS b
			WHERE b.id = q.booking_id AND b.restaurant_id = q.restaurant_id AND (b.end_at > $1) IS NOT FALSE
				AND b.assignment_state::text NOT IN ('failed', 'manual_review')
				AND (b.status::text IN ('pending', 'pending_allocation') AND b.assignment_state::text <> 'confirmed'
					OR b.status::text = 'confirmed' AND (assignment_v3.mode(b.restaurant_id)).mode = 'shadow'))$q$, app_schema)
		USING clock_timestamp();
	GET DIAGNOSTICS removed = ROW_COUNT;
	added := assignment_v3.queue_fill(app_schema, (SELECT b.attached_at FROM assignment_v3.binding AS b), true);
END;
$$;
COMMENT ON FUNCTION assignment_v3.rebuild_queue() IS
	'Makes the queue what the bookings say, and returns how many rows were added and removed';

-- ---------------------------------------------------------------------
-- Who waits for longer, and who comes first
-- ---------------------------------------------------------------------

-- pause(): tells the drains to leave a restaurant's bookings where they are, from the next turn on, and returns how many
-- wait.  A second call changes the reason.
-- Errors: PT422 null, 55000 not attached.
CREATE FUNCTION assignment_v3.pause(restaurant_id uuid, reason text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
#variable_conflict use_column
BEGIN
	PERFORM assignment_v3.bound_schema();
	IF pause.restaurant_id IS NULL THEN
		RAISE EXCEPTION 'restaurant_id must not be null'
			USING ERRCODE = 'PT422', HINT = 'Use kill() to stop the pipeline everywhere.';
	END IF;
	INSERT INTO assignment_v3.pauses AS p (restaurant_id, reason, paused_at, paused_by)
	VALUES (pause.restaurant_id, pause.reason, clock_timestamp(), CURRENT_USER)
	ON CONFLICT (restaurant_id) DO UPDATE
	SET reason = excluded.reason, paused_at = excluded.paused_at, paused_by = excluded.paused_by;
	RETURN (SELECT count(*) FROM assignment_v3.queue AS q WHERE q.restaurant_id = pause.restaurant_id);
END;
$$;
COMMENT ON FUNCTION assignment_v3.pause(uuid, text) IS
	'Makes the drains leave a restaurant''s bookings where they are, and returns how many wait';

-- resume(): ends a pause; whether there was one.
-- Errors: 55000 not attached.
CREATE FUNCTION assignment_v3.resume(restaurant_id uuid)
RETURNS boolean
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
BEGIN
	PERFORM assignment_v3.bound_schema();
	DELETE FROM assignment_v3.pauses AS p WHERE p.restaurant_id = resume.restaurant_id;
	IF NOT found THEN
		RETURN false;
	END IF;
	PERFORM assignment_v3.wake_workers();
	RETURN true;
END;
$$;
COMMENT ON FUNCTION assignment_v3.resume(uuid) IS
	'Ends a pause(); whether there was one';

-- run_at(): when a queued booking is due, and with what priority: from -2, first, to 2, last; null leaves either as it
-- is.  Whether the booking was queued.
-- Locks: the row of the queue; a drain at work on it is waited for.
-- Errors: PT422 no such priority, 55000 not attached.
CREATE FUNCTION assignment_v3.run_at(booking_id uuid, due_at timestamptz, priority integer DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
#variable_conflict use_column
BEGIN
	PERFORM assignment_v3.bound_schema();
	IF run_at.priority NOT BETWEEN -2 AND 2 THEN
		RAISE EXCEPTION 'there is no priority %', run_at.priority
			USING ERRCODE = 'PT422', HINT = 'Priorities are -2 (first), -1, 0, 1 and 2 (last).';
	END IF;
	UPDATE assignment_v3.queue AS q
	SET due_at = coalesce(run_at.due_at, q.due_at), priority = coalesce(run_at.priority, q.priority)
	WHERE q.booking_id = run_at.booking_id;
	IF NOT found THEN
		RETURN false;
	END IF;
	PERFORM assignment_v3.wake_workers();
	RETURN true;
END;
$$;
COMMENT ON FUNCTION assignment_v3.run_at(uuid, timestamptz, integer) IS
	'Sets when a queued booking is due and with what priority; whether it was queued';

-- requeue_reviews(): sends bookings in manual review that lie ahead and still wait for tables back to the pipeline, and
-- returns how many: those of one restaurant, or with null all.
-- Locks: as requeue(), booking after booking in the order of their ids.
-- Errors: PT422 no reason given, 55000 not attached.
CREATE FUNCTION assignment_v3.requeue_reviews(restaurant_id uuid, reason text, actor_id uuid DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
	booking uuid;
	requeued bigint := 0;
BEGIN
	PERFORM assignment_v3.switch_reason(reason);
	FOR booking IN EXECUTE assignment_v3.attach_expand($q$
		SELECT b.id
		FROM @app@.bookings AS b
		WHERE b.start_at > $1 AND ($2 IS NULL OR b.restaurant_id = $2) AND b.assignment_state::text = 'manual_review'
			AND b.status::text IN ('pending', 'pending_allocation')
		ORDER BY b.id$q$, app_schema)
		USING clock_timestamp(), restaurant_id
	LOOP
		PERFORM assignment_v3.requeue(booking, reason, actor_id);
		requeued := requeued + 1;
	END LOOP;
	RETURN requeued;
END;
$$;
COMMENT ON FUNCTION assignment_v3.requeue_reviews(uuid, text, uuid) IS
	'Sends bookings in manual review that lie ahead back to the pipeline, and returns how many';

-- ---------------------------------------------------------------------
-- How long it takes
-- ---------------------------------------------------------------------

-- queue_metrics(): one row about what waits now, and how long decisions took in the last 15 minutes.
-- Errors: 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.queue_metrics(OUT depth bigint, OUT due bigint, OUT paused bigint, OUT oldest_due_at timestamptz,
	OUT wait_p50 interval, OUT wait_p95 interval, OUT decisions bigint, OUT run_p50_ms double precision,
	OUT run_p95_ms double precision, OUT last_drain_at timestamptz)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET jit TO off
AS $$
DECLARE
	app_schema text := assignment_v3.watch_schema(ARRAY['queue', 'pauses', 'observability_events']);
	asked_at timestamptz := clock_timestamp();
BEGIN
	SELECT count(*), count(*) FILTER (WHERE q.due_at <= asked_at AND p.restaurant_id IS NULL), count(p.restaurant_id),
		min(q.due_at) FILTER (WHERE q.due_at <= asked_at AND p.restaurant_id IS NULL),
		percentile_cont(0.5) WITHIN GROUP (ORDER BY asked_at - q.due_at) FILTER (WHERE q.due_at <= asked_at AND p.restaurant_id IS NULL),
		percentile_cont(0.95) WITHIN GROUP (ORDER BY asked_at - q.due_at) FILTER (WHERE q.due_at <= asked_at AND p.restaurant_id IS NULL)
	INTO depth, due, paused, oldest_due_at, wait_p50, wait_p95
	FROM assignment_v3.queue AS q
	LEFT JOIN assignment_v3.pauses AS p ON p.restaurant_id = q.restaurant_id;
	EXECUTE assignment_v3.attach_expand($q$
		SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY (e.context ->> 'duration_ms')::double precision),
			percentile_cont(0.95) WITHIN GROUP (ORDER BY (e.context ->> 'duration_ms')::double precision)
		FROM @app@.observability_events AS e
		WHERE e.created_at > $1 - interval '15 minutes' AND e.source::text = 'assignment.coordinator'
			AND e.event_type::text IN ('coordinator.confirmed', 'coordinator.retry', 'coordinator.manual_review')$q$, app_schema)
		INTO decisions, run_p50_ms, run_p95_ms
		USING asked_at;
	last_drain_at := assignment_v3.watch_last_drain(app_schema);
END;
$$;
COMMENT ON FUNCTION assignment_v3.queue_metrics() IS
	'One row about what waits now, and how long decisions took in the last 15 minutes';

-- waiting_locks(): who holds the lock of a booking, and who holds slots of its restaurant; keys as in locks.h.
CREATE FUNCTION assignment_v3.waiting_locks(booking_id uuid, restaurant_id uuid)
RETURNS TABLE (obstacle text, detail text, until timestamptz, pid integer)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH held AS (
	SELECT l.pid, l.objsubid, (l.classid::bigint << 32) | l.objid::bigint AS key
	FROM pg_locks AS l
	WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid BETWEEN -23807 AND -23756
		AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
)
SELECT 'locked', 'another session is deciding on it', NULL::timestamptz, h.pid
FROM held AS h
WHERE h.objsubid = -23807 AND h.key = uuid_hash_extended(booking_id, 0)
UNION ALL
SELECT 'slot', format('slot %s of the restaurant is taken', h.objsubid + 23776), NULL, h.pid
FROM held AS h
WHERE h.objsubid > -23776 AND h.key = uuid_hash_extended(restaurant_id, 0);
$$;
COMMENT ON FUNCTION assignment_v3.waiting_locks(uuid, uuid) IS
	'Internal to why_waiting(): locks that others hold';

-- why_waiting(): what a booking waits for, one row per obstacle, the strongest first; a row "next" if nothing is in its
-- way but its turn; none if it does not wait.
-- Errors: PT404 no such booking, 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.why_waiting(booking_id uuid)
RETURNS TABLE (obstacle text, detail text, until timestamptz, pid integer)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	app_schema text := assignment_v3.watch_schema(ARRAY['queue', 'pauses', 'kill_switch', 'circuits', 'rollout', 'bookings']);
	booking record;
	waits record;
	said record;
	slots integer;
BEGIN
	EXECUTE assignment_v3.attach_expand(
		'SELECT b.restaurant_id, b.status::text AS status, b.assignment_state::text AS state FROM @app@.bookings AS b WHERE b.id = $1',
		app_schema) INTO booking USING why_waiting.booking_id;
	IF booking IS NULL THEN
		RAISE EXCEPTION 'there is no booking %', coalesce(why_waiting.booking_id::text, 'null') USING ERRCODE = 'PT404';
	END IF;
	SELECT q.due_at, q.priority INTO waits FROM assignment_v3.queue AS q WHERE q.booking_id = why_waiting.booking_id;
	IF waits IS NULL THEN
		IF booking.status IN ('pending', 'pending_allocation') AND booking.state NOT IN ('confirmed', 'failed', 'manual_review') THEN
			RETURN QUERY SELECT 'not queued', 'enqueue_existing() or rebuild_queue() queues it', NULL::timestamptz, NULL::integer;
		END IF;
		RETURN;
	END IF;

	RETURN QUERY SELECT 'kill', k.reason, NULL::timestamptz, NULL::integer FROM assignment_v3.kill_switch AS k;
	SELECT m.mode, m.reason INTO said FROM assignment_v3.mode(booking.restaurant_id) AS m;
	RETURN QUERY SELECT 'mode', format('the mode is disabled, by %s', said.reason), NULL::timestamptz, NULL::integer
		WHERE said.mode = 'disabled' AND said.reason <> 'kill';
	RETURN QUERY SELECT 'pause', p.reason, NULL::timestamptz, NULL::integer FROM assignment_v3.pauses AS p
		WHERE p.restaurant_id = booking.restaurant_id;
	RETURN QUERY SELECT 'due time', format('priority %s', waits.priority), waits.due_at, NULL::integer
		WHERE waits.due_at > clock_timestamp();
	RETURN QUERY SELECT 'breaker', format('after %s errors in a row', c.consecutive_errors), c.open_until, NULL::integer
		FROM assignment_v3.circuits AS c WHERE c.restaurant_id = booking.restaurant_id AND c.open_until > clock_timestamp();
	SELECT coalesce(max(r.max_parallel) FILTER (WHERE r.restaurant_id IS NOT NULL), max(r.max_parallel),
		current_setting('assignment_v3.max_parallel')::integer) INTO slots
	FROM assignment_v3.rollout AS r WHERE r.restaurant_id = booking.restaurant_id OR r.restaurant_id IS NULL;
	RETURN QUERY SELECT l.obstacle, l.detail, l.until, l.pid
		FROM assignment_v3.waiting_locks(why_waiting.booking_id, booking.restaurant_id) AS l
		WHERE l.obstacle = 'locked' OR (SELECT count(*) FROM assignment_v3.waiting_locks(NULL, booking.restaurant_id) AS s) >= slots;
	RETURN QUERY SELECT 'next', (SELECT format('%s due before it', count(*)) FROM assignment_v3.queue AS q
			WHERE (q.priority, q.due_at) < (waits.priority, waits.due_at)), NULL::timestamptz, NULL::integer
		WHERE NOT EXISTS (SELECT FROM assignment_v3.kill_switch) AND said.mode <> 'disabled' AND waits.due_at <= clock_timestamp()
			AND NOT EXISTS (SELECT FROM assignment_v3.pauses AS p WHERE p.restaurant_id = booking.restaurant_id);
END;
$$;
COMMENT ON FUNCTION assignment_v3.why_waiting(uuid) IS
	'What a booking waits for, one row per obstacle';
