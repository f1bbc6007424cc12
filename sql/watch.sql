/*-------------------------------------------------------------------------
 *
 * watch.sql
 *		What an operator looks at: views of health, queue, breakers, slots,
 *		messages and the four alerts.
 *
 * Each view is one function of the same name with watch_ in front.  The view
 * gives it a name that a dashboard can SELECT from; the function finds the
 * attached schema when it is called, so that views need no relation to exist
 * and hold on to none.  Both run as their caller.  Where row-level security
 * would hide rows from him the answer is an error, for "all is well" would be
 * a wrong one.
 *
 * The cost of a look is bounded by time, not by how much there is: events are
 * read through the index on created_at and for a day at most, bookings through
 * that on created_at, for two days, or by restaurant and start, for those to
 * come.  The queue, the breakers and the locks are small by themselves.
 *
 * Cancelled bookings and no-shows are nowhere counted.
 *
 *-------------------------------------------------------------------------
 */

-- watch_schema(): the schema of the app, for a caller who is going to read these of its relations and of the pipeline's.
-- Errors: 55000 not attached, 42501 row-level security would hide rows of one.
CREATE FUNCTION assignment_v3.watch_schema(relations text[])
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
BEGIN
	PERFORM assignment_v3.check_sees_all(r.oid)
	FROM assignment_v3.attach_relations(app_schema) AS r
	WHERE r.relation = ANY (relations) AND r.oid IS NOT NULL;
	RETURN app_schema;
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_schema(text[]) IS
	'Internal to the views: the schema of the app, or the error that it is not attached or hidden';

-- watch_percent(): a share in percent; NULL of nothing.
CREATE FUNCTION assignment_v3.watch_percent(part bigint, whole bigint)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT round(100.0 * part / NULLIF(whole, 0), 2);
$$;
COMMENT ON FUNCTION assignment_v3.watch_percent(bigint, bigint) IS
	'Internal to the views: a share in percent';

-- ---------------------------------------------------------------------
-- Rates and times
-- ---------------------------------------------------------------------

-- watch_confirmation_rate(): what became of the bookings made in each of the last 48 hours, as far as they have ended.
-- Errors: 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.watch_confirmation_rate()
RETURNS TABLE (hour timestamptz, ended bigint, confirmed bigint, manual_review bigint, failed bigint,
	confirmation_rate_pct numeric, manual_review_rate_pct numeric)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET enable_seqscan TO off
SET jit TO off
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT c.hour, c.ended, c.confirmed, c.manual_review, c.ended - c.confirmed - c.manual_review,
			assignment_v3.watch_percent(c.confirmed, c.ended), assignment_v3.watch_percent(c.manual_review, c.ended)
		FROM (
			SELECT date_trunc('hour', b.created_at) AS hour, count(*) AS ended,
				count(*) FILTER (WHERE b.assignment_state::text = 'confirmed') AS confirmed,
				count(*) FILTER (WHERE b.assignment_state::text = 'manual_review') AS manual_review
			FROM @app@.bookings AS b
			WHERE b.created_at > $1 - interval '48 hours'
				AND b.assignment_state::text IN ('confirmed', 'manual_review', 'failed')
				AND b.status::text NOT IN ('cancelled', 'no_show')
			GROUP BY 1
		) AS c
		ORDER BY c.hour DESC$q$, assignment_v3.watch_schema(ARRAY['bookings']))
		USING clock_timestamp();
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_confirmation_rate() IS
	'Internal to the view confirmation_rate: its rows';

-- watch_latency(): how long decisions took in each of the last 24 hours, by mode, as the coordinator's events tell.
-- Errors: 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.watch_latency()
RETURNS TABLE (hour timestamptz, mode text, decisions bigint, p50_ms numeric, p95_ms numeric, p99_ms numeric, max_ms numeric)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET enable_seqscan TO off
SET jit TO off
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT c.hour, c.mode, c.decisions, round(c.points[1]::numeric, 3), round(c.points[2]::numeric, 3),
			round(c.points[3]::numeric, 3), round(c.points[4]::numeric, 3)
		FROM (
			SELECT date_trunc('hour', e.created_at) AS hour, e.context ->> 'mode' AS mode, count(*) AS decisions,
				percentile_cont(ARRAY[0.5, 0.95, 0.99, 1]) WITHIN GROUP (ORDER BY (e.context ->> 'duration_ms')::double precision) AS points
			FROM @app@.observability_events AS e
			WHERE e.created_at > $1 - interval '24 hours' AND e.source::text = 'assignment.coordinator'
				AND e.event_type::text IN ('coordinator.confirmed', 'coordinator.retry', 'coordinator.manual_review')
			GROUP BY 1, 2
		) AS c
		ORDER BY c.hour DESC, c.mode$q$, assignment_v3.watch_schema(ARRAY['observability_events']))
		USING clock_timestamp();
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_latency() IS
	'Internal to the view latency: its rows';

-- ---------------------------------------------------------------------
-- Bookings that need somebody
-- ---------------------------------------------------------------------

-- watch_manual_review_queue(): bookings to come that were given up, soonest first, with the reason and, for the first
-- fifty that have a window, the nearest time at which there is room, which may be the time booked.  Opening hours are the
-- app's to know, so a time at which anybody is booked goes before one at which nobody is.
-- Errors: 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.watch_manual_review_queue()
RETURNS TABLE (booking_id uuid, restaurant_id uuid, restaurant text, party_size integer, start_at timestamptz,
	end_at timestamptz, reason text, since timestamptz, alternative_at timestamptz, alternative_tables text[])
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET enable_seqscan TO off
SET jit TO off
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT q.id, q.restaurant_id, q.restaurant, q.party_size, q.start_at, q.end_at, given_up.reason, given_up.created_at,
			other.start_at, other.table_numbers
		FROM (
			SELECT b.*, r.name::text AS restaurant, row_number() OVER (ORDER BY b.start_at, b.id) AS place
			FROM @app@.restaurants AS r
			CROSS JOIN LATERAL (
				SELECT b.id, b.restaurant_id, b.party_size::integer AS party_size, b.start_at, b.end_at
				FROM @app@.bookings AS b
				WHERE b.restaurant_id = r.id AND (b.start_at > $1 - interval '1 day' OR b.start_at IS NULL)
					AND (b.end_at > $1) IS NOT FALSE AND b.assignment_state::text = 'manual_review'
					AND b.status::text IN ('pending', 'pending_allocation')
				OFFSET 0
			) AS b
		) AS q
		LEFT JOIN LATERAL (
			SELECT h.reason::text AS reason, h.created_at
			FROM @app@.booking_assignment_state_history AS h
			WHERE h.booking_id = q.id AND h.to_state::text = 'manual_review' AND h.from_state::text <> 'manual_review'
			ORDER BY h.version DESC
			LIMIT 1
		) AS given_up ON true
		LEFT JOIN LATERAL (
			SELECT a.start_at, a.table_numbers
			FROM assignment_v3.alternatives(q.id, '2 hours', 17) WITH ORDINALITY
				AS a (start_at, end_at, table_ids, table_numbers, capacity, slack, rank)
			WHERE q.place <= 50 AND q.start_at < q.end_at AND isfinite(q.start_at) AND isfinite(q.end_at)
			ORDER BY EXISTS (SELECT FROM @app@.bookings AS o WHERE o.restaurant_id = q.restaurant_id AND o.start_at = a.start_at) DESC,
				a.rank
			LIMIT 1
		) AS other ON true
		ORDER BY q.place$q$, assignment_v3.watch_schema(ARRAY['restaurants', 'bookings', 'booking_assignment_state_history']))
		USING clock_timestamp();
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_manual_review_queue() IS
	'Internal to the view manual_review_queue: its rows';

-- watch_due(): how many bookings are due, since when, and how many for longer than that; by restaurant, with its mode,
-- which is paused where it is.
CREATE FUNCTION assignment_v3.watch_due(app_schema text, longer_than interval)
RETURNS TABLE (restaurant_id uuid, mode text, due bigint, oldest timestamptz, late bigint)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET enable_seqscan TO off
SET jit TO off
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT w.restaurant_id, CASE WHEN EXISTS (SELECT FROM assignment_v3.pauses AS p WHERE p.restaurant_id = w.restaurant_id) THEN 'paused'
			ELSE (assignment_v3.mode(w.restaurant_id)).mode END, w.due, w.oldest, w.late
		FROM (
			SELECT q.restaurant_id, count(*) AS due, min(q.due_at) AS oldest, count(*) FILTER (WHERE q.due_at < $1 - $2) AS late
			FROM assignment_v3.queue AS q
			CROSS JOIN LATERAL (
				SELECT b.id FROM @app@.bookings AS b
				WHERE b.id = q.booking_id AND b.status::text NOT IN ('cancelled', 'no_show')
				OFFSET 0
			) AS b
			WHERE q.due_at <= $1
			GROUP BY q.restaurant_id
			OFFSET 0
		) AS w$q$, app_schema)
		USING clock_timestamp(), longer_than;
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_due(text, interval) IS
	'Internal to the views: bookings that are due, by restaurant';

-- watch_stuck_bookings(): bookings in the queue that have been due for more than ten minutes, longest first.
-- Errors: 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.watch_stuck_bookings()
RETURNS TABLE (booking_id uuid, restaurant_id uuid, restaurant text, party_size integer, start_at timestamptz, state text,
	mode text, due_at timestamptz, overdue interval)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET enable_seqscan TO off
SET jit TO off
AS $$
DECLARE
	app_schema text := assignment_v3.watch_schema(ARRAY['queue', 'pauses', 'bookings', 'restaurants']);
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT q.booking_id, q.restaurant_id, r.name::text, b.party_size::integer, b.start_at, b.assignment_state::text,
			d.mode, q.due_at, $1 - q.due_at
		FROM assignment_v3.watch_due($2, '10 minutes') AS d
		JOIN assignment_v3.queue AS q ON q.restaurant_id = d.restaurant_id
		JOIN @app@.bookings AS b ON b.id = q.booking_id AND b.status::text NOT IN ('cancelled', 'no_show')
		LEFT JOIN @app@.restaurants AS r ON r.id = q.restaurant_id
		WHERE d.late > 0 AND q.due_at < $1 - interval '10 minutes'
		ORDER BY q.due_at, q.booking_id$q$, app_schema)
		USING clock_timestamp(), app_schema;
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_stuck_bookings() IS
	'Internal to the view stuck_bookings: its rows';

-- ---------------------------------------------------------------------
-- Breakers, slots, messages
-- ---------------------------------------------------------------------

-- watch_breakers(): the breaker of each restaurant that has seen errors.  One past its cool-down is half-open: the next
-- decisions tell.
-- Errors: 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.watch_breakers()
RETURNS TABLE (restaurant_id uuid, restaurant text, state text, consecutive_errors integer, half_open_successes integer,
	opened_at timestamptz, open_until timestamptz, updated_at timestamptz)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT c.restaurant_id, r.name::text,
			CASE WHEN c.open_until IS NULL THEN 'closed' WHEN c.open_until > $1 THEN 'open' ELSE 'half-open' END,
			c.consecutive_errors, c.half_open_successes, c.opened_at, c.open_until, c.updated_at
		FROM assignment_v3.circuits AS c
		LEFT JOIN @app@.restaurants AS r ON r.id = c.restaurant_id
		ORDER BY c.open_until DESC NULLS LAST, c.updated_at DESC, c.restaurant_id$q$,
		assignment_v3.watch_schema(ARRAY['circuits', 'restaurants']))
		USING clock_timestamp();
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_breakers() IS
	'Internal to the view breakers: its rows';

-- watch_slots(): who holds a slot of which restaurant.  Slots are advisory locks of a class of our own, see locks.h; the
-- key is a hash, so restaurants and bookings are found by hashing those that may be meant.
-- Errors: 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.watch_slots()
RETURNS TABLE (restaurant_id uuid, restaurant text, slot integer, pid integer, query text, since timestamptz, booking_ids uuid[])
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		WITH held AS MATERIALIZED (
			SELECT l.pid, l.virtualtransaction, l.objsubid, (l.classid::bigint << 32) | l.objid::bigint AS key
			FROM pg_locks AS l
			WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid BETWEEN -23807 AND -23756
				AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
		), slot AS MATERIALIZED (
			SELECT r.id, r.name::text AS name, h.objsubid + 23776 AS slot, h.pid, h.virtualtransaction
			FROM held AS h
			LEFT JOIN @app@.restaurants AS r ON uuid_hash_extended(r.id, 0) = h.key
			WHERE h.objsubid > -23776
		)
		SELECT s.id, s.name, s.slot, s.pid, a.query, a.xact_start, (
			SELECT array_agg(b.id ORDER BY b.start_at, b.id)
			FROM @app@.bookings AS b
			WHERE b.restaurant_id = s.id AND b.start_at > $1 - interval '1 day' AND uuid_hash_extended(b.id, 0) = ANY (ARRAY(
				SELECT h.key FROM held AS h WHERE h.objsubid = -23807 AND h.virtualtransaction = s.virtualtransaction)))
		FROM slot AS s
		LEFT JOIN pg_stat_activity AS a ON a.pid = s.pid
		ORDER BY a.xact_start, s.pid, s.name, s.slot$q$, assignment_v3.watch_schema(ARRAY['restaurants', 'bookings']))
		USING clock_timestamp();
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_slots() IS
	'Internal to the view slots: its rows';

-- watch_outbox_health(): one row about the pipeline's messages that are not done.
-- Errors: 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.watch_outbox_health()
RETURNS TABLE (pending bigint, due bigint, oldest timestamptz, most_tries integer, processing bigint, dead bigint)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET jit TO off
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT p.pending, p.due, p.oldest, p.most_tries, u.processing, u.dead
		FROM (
			SELECT count(*) AS pending, count(*) FILTER (WHERE (o.next_attempt_at <= $1) IS NOT FALSE) AS due,
				min(o.created_at) AS oldest, max(o.attempt_count)::integer AS most_tries
			FROM @app@.capacity_outbox AS o
			WHERE o.status = 'pending' AND o.event_type::text LIKE 'booking.assignment\_state.%'
		) AS p
		CROSS JOIN (
			SELECT count(*) FILTER (WHERE o.status = 'processing') AS processing, count(*) FILTER (WHERE o.status = 'dead') AS dead
			FROM @app@.capacity_outbox AS o
			WHERE o.status IN ('processing', 'dead') AND o.event_type::text LIKE 'booking.assignment\_state.%'
		) AS u$q$, assignment_v3.watch_schema(ARRAY['capacity_outbox']))
		USING clock_timestamp();
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_outbox_health() IS
	'Internal to the view outbox_health: its row';

-- ---------------------------------------------------------------------
-- Alerts and health
-- ---------------------------------------------------------------------

-- watch_errors(): decisions and unexpected errors of the last 15 minutes.
CREATE FUNCTION assignment_v3.watch_errors(app_schema text, OUT starts bigint, OUT errors bigint, OUT first_error timestamptz)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET enable_seqscan TO off
SET jit TO off
AS $$
BEGIN
	EXECUTE assignment_v3.attach_expand($q$
		SELECT count(*) FILTER (WHERE e.event_type::text = 'coordinator.start'),
			count(*) FILTER (WHERE e.event_type::text = 'coordinator.error'),
			min(e.created_at) FILTER (WHERE e.event_type::text = 'coordinator.error')
		FROM @app@.observability_events AS e
		WHERE e.created_at > $1 - interval '15 minutes' AND e.source::text = 'assignment.coordinator'
			AND e.event_type::text IN ('coordinator.start', 'coordinator.error')$q$, app_schema)
		INTO starts, errors, first_error
		USING clock_timestamp();
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_errors(text) IS
	'Internal to the views: decisions and errors of the last 15 minutes';

-- watch_ended(): bookings that ended in the last hour, and are still as they ended.
CREATE FUNCTION assignment_v3.watch_ended(app_schema text, OUT ended bigint, OUT manual_review bigint, OUT first_review timestamptz)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET enable_seqscan TO off
SET jit TO off
AS $$
BEGIN
	EXECUTE assignment_v3.attach_expand($q$
		SELECT count(*), count(*) FILTER (WHERE b.assignment_state::text = 'manual_review'),
			min(e.at) FILTER (WHERE b.assignment_state::text = 'manual_review')
		FROM (
			SELECT e.booking_id, max(e.created_at) AS at
			FROM @app@.observability_events AS e
			WHERE e.created_at > $1 - interval '1 hour' AND e.source::text = 'assignment.state_machine'
				AND e.context ->> 'to' IN ('confirmed', 'manual_review', 'failed') AND NOT e.context ? 'shadow'
			GROUP BY e.booking_id
		) AS e
		JOIN @app@.bookings AS b ON b.id = e.booking_id
		WHERE b.assignment_state::text IN ('confirmed', 'manual_review', 'failed')
			AND b.status::text NOT IN ('cancelled', 'no_show')$q$, app_schema)
		INTO ended, manual_review, first_review
		USING clock_timestamp();
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_ended(text) IS
	'Internal to the views: bookings that ended in the last hour';

-- watch_alerts(): the four alerts, one row each, firing or not.  A breaker counts from when it opened first, if it is open
-- or has met another error less than five minutes ago; one that has cooled down since and was not asked again does not.
-- Errors: 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.watch_alerts()
RETURNS TABLE (alert text, severity text, firing boolean, value numeric, threshold numeric, unit text, since timestamptz, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	app_schema text := assignment_v3.watch_schema(ARRAY['observability_events', 'bookings', 'queue', 'pauses', 'circuits']);
	asked_at timestamptz := clock_timestamp();
BEGIN
	RETURN QUERY
	SELECT a.alert, a.severity, a.firing, a.value, a.threshold, a.unit, CASE WHEN a.firing THEN a.since END, a.detail
	FROM (
		SELECT 'coordinator_error_rate', 'P1', COALESCE(e.starts >= 20 AND assignment_v3.watch_percent(e.errors, e.starts) > 5, false),
			assignment_v3.watch_percent(e.errors, e.starts), 5.0, '%', e.first_error,
			format('errors in the last 15 minutes: %s in %s decisions%s', e.errors, e.starts,
				CASE WHEN e.starts < 20 THEN ', too few to judge' END)
		FROM assignment_v3.watch_errors(app_schema) AS e
		UNION ALL
		SELECT 'breaker_open', 'P2', count(*) > 0, round(COALESCE(max(extract(epoch FROM asked_at - c.opened_at)) / 60, 0), 1), 5.0, 'minutes',
			min(c.opened_at), format('breakers open for more than 5 minutes: %s', count(*))
		FROM assignment_v3.circuits AS c
		WHERE c.opened_at < asked_at - interval '5 minutes' AND c.open_until > asked_at - interval '5 minutes'
		UNION ALL
		SELECT 'bookings_stuck', 'P2', COALESCE(sum(d.late), 0) > 0, round(COALESCE(max(extract(epoch FROM asked_at - d.oldest)) / 60, 0), 1), 10.0,
			'minutes', min(d.oldest), format('bookings due for more than 10 minutes: %s', COALESCE(sum(d.late), 0))
		FROM assignment_v3.watch_due(app_schema, '10 minutes') AS d
		WHERE d.mode NOT IN ('disabled', 'paused')
		UNION ALL
		SELECT 'manual_review_spike', 'P3', COALESCE(m.ended >= 20 AND assignment_v3.watch_percent(m.manual_review, m.ended) > 10, false),
			assignment_v3.watch_percent(m.manual_review, m.ended), 10.0, '%', m.first_review,
			format('bookings given up in the last hour: %s of %s%s', m.manual_review, m.ended,
				CASE WHEN m.ended < 20 THEN ', too few to judge' END)
		FROM assignment_v3.watch_ended(app_schema) AS m
	) AS a (alert, severity, firing, value, threshold, unit, since, detail);
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_alerts() IS
	'Internal to the view alerts: its rows';

-- watch_last_drain(): when run(), process_due() or the worker last decided on a booking, if that was in the last hour.
CREATE FUNCTION assignment_v3.watch_last_drain(app_schema text)
RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET enable_seqscan TO off
SET jit TO off
AS $$
DECLARE
	last_drain timestamptz;
BEGIN
	EXECUTE assignment_v3.attach_expand($q$
		SELECT max(e.created_at)
		FROM @app@.observability_events AS e
		WHERE e.created_at > $1 - interval '1 hour' AND e.source::text = 'assignment.coordinator'
			AND e.event_type::text = 'coordinator.start' AND e.context ->> 'trigger' IN ('run', 'process_due', 'worker')$q$, app_schema)
		INTO last_drain
		USING clock_timestamp();
	RETURN last_drain;
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_last_drain(text) IS
	'Internal to the view health: when the queue was last worked off';

-- watch_findings(): what there is to say about the pipeline's health; no row says that all is well.
CREATE FUNCTION assignment_v3.watch_findings(due bigint, oldest_due timestamptz, last_drain timestamptz)
RETURNS TABLE (critical boolean, finding text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT a.severity = 'P1', a.detail
FROM assignment_v3.watch_alerts() AS a
WHERE a.firing
UNION ALL
SELECT false, format('bookings due: %s, and nothing has drained %s', due,
	COALESCE('since ' || to_char(last_drain, 'HH24:MI'), 'for an hour'))
WHERE oldest_due < clock_timestamp() - interval '5 minutes'
	AND (last_drain < clock_timestamp() - interval '5 minutes') IS NOT FALSE
UNION ALL
SELECT false, format('killed by %s: %s', k.killed_by, k.reason)
FROM assignment_v3.kill_switch AS k
UNION ALL
SELECT false, format('restaurants paused: %s, since %s', count(*), to_char(min(p.paused_at), 'YYYY-MM-DD HH24:MI'))
FROM assignment_v3.pauses AS p
HAVING count(*) > 0
UNION ALL
SELECT false, f.finding
FROM assignment_v3.watch_outbox_health() AS o
CROSS JOIN LATERAL (VALUES
	(o.dead > 0, format('dead messages: %s', o.dead)),
	(o.oldest < clock_timestamp() - interval '15 minutes', format('messages wait since %s', to_char(o.oldest, 'YYYY-MM-DD HH24:MI')))
) AS f (is_so, finding)
WHERE f.is_so;
$$;
COMMENT ON FUNCTION assignment_v3.watch_findings(bigint, timestamptz, timestamptz) IS
	'Internal to the view health: what is not as it should be';

-- watch_health(): one row, whatever the condition of the pipeline.
-- Errors: 42501.
CREATE FUNCTION assignment_v3.watch_health()
RETURNS TABLE (status text, why text, mode text, due bigint, oldest_due_at timestamptz, last_drain_at timestamptz,
	breakers_open bigint, manual_review bigint, checked_at timestamptz)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	app_schema text;
BEGIN
	checked_at := clock_timestamp();
	app_schema := assignment_v3.watch_schema(ARRAY['observability_events', 'bookings', 'queue', 'circuits', 'kill_switch', 'pauses', 'capacity_outbox']);
	SELECT m.mode INTO mode FROM assignment_v3.mode() AS m;
	SELECT COALESCE(sum(d.due), 0), min(d.oldest) INTO due, oldest_due_at
	FROM assignment_v3.watch_due(app_schema, '10 minutes') AS d WHERE d.mode NOT IN ('disabled', 'paused');
	last_drain_at := assignment_v3.watch_last_drain(app_schema);
	SELECT count(*) INTO breakers_open FROM assignment_v3.circuits AS c WHERE c.open_until > checked_at;
	SELECT m.manual_review INTO manual_review FROM assignment_v3.watch_ended(app_schema) AS m;
	SELECT CASE WHEN bool_or(f.critical) THEN 'CRITICAL' WHEN count(*) > 0 THEN 'WARNING' ELSE 'HEALTHY' END,
		COALESCE(string_agg(f.finding, '; ' ORDER BY f.critical DESC), 'all is well')
	INTO status, why
	FROM assignment_v3.watch_findings(due, oldest_due_at, last_drain_at) AS f;
	RETURN NEXT;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	GET STACKED DIAGNOSTICS why = MESSAGE_TEXT;
	status := 'CRITICAL';
	RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION assignment_v3.watch_health() IS
	'Internal to the view health: its row';

-- ---------------------------------------------------------------------
-- The views
-- ---------------------------------------------------------------------
CREATE VIEW assignment_v3.health WITH (security_invoker = true) AS
SELECT w.status, w.why, w.mode, w.due, w.oldest_due_at, w.last_drain_at, w.breakers_open, w.manual_review, w.checked_at
FROM assignment_v3.watch_health() AS w;
COMMENT ON VIEW assignment_v3.health IS
	'One row: HEALTHY, WARNING or CRITICAL, and why';

CREATE VIEW assignment_v3.confirmation_rate WITH (security_invoker = true) AS
SELECT w.hour, w.ended, w.confirmed, w.manual_review, w.failed, w.confirmation_rate_pct, w.manual_review_rate_pct
FROM assignment_v3.watch_confirmation_rate() AS w;
COMMENT ON VIEW assignment_v3.confirmation_rate IS
	'What became of the bookings made in each of the last 48 hours';

CREATE VIEW assignment_v3.manual_review_queue WITH (security_invoker = true) AS
SELECT w.booking_id, w.restaurant_id, w.restaurant, w.party_size, w.start_at, w.end_at, w.reason, w.since,
	w.alternative_at, w.alternative_tables
FROM assignment_v3.watch_manual_review_queue() AS w;
COMMENT ON VIEW assignment_v3.manual_review_queue IS
	'Bookings that wait for a person, soonest first, with the reason and the nearest time at which there is room';

CREATE VIEW assignment_v3.stuck_bookings WITH (security_invoker = true) AS
SELECT w.booking_id, w.restaurant_id, w.restaurant, w.party_size, w.start_at, w.state, w.mode, w.due_at, w.overdue
FROM assignment_v3.watch_stuck_bookings() AS w;
COMMENT ON VIEW assignment_v3.stuck_bookings IS
	'Bookings that have been due for more than ten minutes, longest first';

CREATE VIEW assignment_v3.latency WITH (security_invoker = true) AS
SELECT w.hour, w.mode, w.decisions, w.p50_ms, w.p95_ms, w.p99_ms, w.max_ms
FROM assignment_v3.watch_latency() AS w;
COMMENT ON VIEW assignment_v3.latency IS
	'How long decisions took in each of the last 24 hours, by mode';

CREATE VIEW assignment_v3.breakers WITH (security_invoker = true) AS
SELECT w.restaurant_id, w.restaurant, w.state, w.consecutive_errors, w.half_open_successes, w.opened_at, w.open_until, w.updated_at
FROM assignment_v3.watch_breakers() AS w;
COMMENT ON VIEW assignment_v3.breakers IS
	'The circuit breaker of each restaurant that has seen errors: closed, open or half-open';

CREATE VIEW assignment_v3.slots WITH (security_invoker = true) AS
SELECT w.restaurant_id, w.restaurant, w.slot, w.pid, w.query, w.since, w.booking_ids
FROM assignment_v3.watch_slots() AS w;
COMMENT ON VIEW assignment_v3.slots IS
	'Who holds a slot of which restaurant now, since when, and for which bookings';

CREATE VIEW assignment_v3.outbox_health WITH (security_invoker = true) AS
SELECT w.pending, w.due, w.oldest, w.most_tries, w.processing, w.dead
FROM assignment_v3.watch_outbox_health() AS w;
COMMENT ON VIEW assignment_v3.outbox_health IS
	'One row about the pipeline''s messages that are not done';

CREATE VIEW assignment_v3.alerts WITH (security_invoker = true) AS
SELECT w.alert, w.severity, w.firing, w.value, w.threshold, w.unit, w.since, w.detail
FROM assignment_v3.watch_alerts() AS w;
COMMENT ON VIEW assignment_v3.alerts IS
	'The four alerts, one row each, firing or not';
