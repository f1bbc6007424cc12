/*-------------------------------------------------------------------------
 *
 * rollout.sql
 *		Who is seated by the pipeline, and what it leaves behind:
 *		set_rollout(), clear_rollout(), rollout_preview(), unfinished(), and
 *		the breakers by hand.
 *
 * A rollout row is read by every call, so a change reaches each session at
 * its next one.  Rows of rollout and kill_switch may be written by hand too;
 * triggers on both put every change into assignment_v3.audit, and so do the
 * functions that move a breaker, whose own rows the coordinator writes.  A
 * change that can't be put down there fails, but for one: nothing stands in
 * the way of kill().
 *
 * unfinished() tells which bookings the pipeline has touched and not ended.
 * No index leads to them by state, as that would cost each confirmation one.
 * So it asks the queue, which has almost all of them, and the bookings whose
 * window lies ahead, by the index on restaurant and start; what has passed
 * nobody can seat any more.  Its cost follows the bookings to come, not those
 * that have been, whatever the statistics say: plans with sequential scans
 * and hash or merge joins are switched off for it.
 *
 * All functions run as their invoker, and stop where row-level security would
 * hide rows.
 *
 *-------------------------------------------------------------------------
 */

-- rollout_bucket(): where a restaurant stands in the order of the rollout.
CREATE FUNCTION assignment_v3.rollout_bucket(restaurant_id uuid)
RETURNS integer
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'assignment_rollout_bucket';
COMMENT ON FUNCTION assignment_v3.rollout_bucket(uuid) IS
	'bucket of a restaurant, 0 to 9999: it is inside a share of p percent if that is below 100 p';

-- ---------------------------------------------------------------------
-- The audit
-- ---------------------------------------------------------------------

-- audit_change(): the trigger that puts each change of rollout and kill_switch into the audit.  A function that
-- knows why leaves that in a setting of the transaction, since a deleted row has no place for it.
CREATE FUNCTION assignment_v3.audit_change()
RETURNS trigger
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	why text := NULLIF(current_setting('assignment_v3_audit.reason', true), '');
	before jsonb := to_jsonb(OLD);
	after jsonb := to_jsonb(NEW);
	row_security text := current_setting('row_security');
BEGIN
	IF TG_OP = 'TRUNCATE' THEN
		-- also the rows that row-level security would hide
		PERFORM set_config('row_security', 'off', true);
		EXECUTE format('INSERT INTO assignment_v3.audit (relation, action, restaurant_id, old_row) '
			'SELECT %L, ''truncate'', (to_jsonb(t) ->> ''restaurant_id'')::uuid, to_jsonb(t) FROM %I.%I AS t',
			TG_TABLE_NAME, TG_TABLE_SCHEMA, TG_TABLE_NAME);
		PERFORM set_config('row_security', row_security, true);
		RETURN NULL;
	END IF;
	INSERT INTO assignment_v3.audit (relation, action, restaurant_id, reason, old_row, new_row)
	VALUES (TG_TABLE_NAME, lower(TG_OP), (COALESCE(after, before) ->> 'restaurant_id')::uuid,
		COALESCE(why, after ->> 'reason', after ->> 'note'), before, after);
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	IF TG_TABLE_NAME = 'kill_switch' AND TG_OP = 'INSERT' THEN
		RAISE WARNING 'could not audit the kill: %', SQLERRM;
		RETURN NULL;
	END IF;
	RAISE;
END;
$$;
COMMENT ON FUNCTION assignment_v3.audit_change() IS
	'trigger: puts each change of the rollout and of the kill switch into the audit';

-- ---------------------------------------------------------------------
-- What the pipeline leaves behind
-- ---------------------------------------------------------------------

CREATE TYPE assignment_v3.unfinished_booking AS (
	booking_id uuid,
	restaurant_id uuid,
	mode text,
	state text,
	version integer,
	since timestamptz,
	reason text,
	attempts integer,
	due_at timestamptz,
	table_ids uuid[],
	party_size integer,
	start_at timestamptz
);
COMMENT ON TYPE assignment_v3.unfinished_booking IS
	'a booking that the pipeline has touched and not ended';

-- unfinished_ids(): which bookings.  A booking that waits is pending, its state is not terminal and its window has
-- not ended; it was touched if the queue has it, its state has moved, or it was tried.
CREATE FUNCTION assignment_v3.unfinished_ids(app_schema text, restaurant_id uuid)
RETURNS TABLE (booking_id uuid)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET enable_seqscan TO off
SET enable_hashjoin TO off
SET enable_mergejoin TO off
SET jit TO off
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT b.id FROM assignment_v3.queue AS q
		JOIN @app@.bookings AS b ON b.id = q.booking_id
		WHERE ($1 IS NULL OR q.restaurant_id = $1)
			AND b.status::text IN ('pending', 'pending_allocation')
			AND b.assignment_state::text NOT IN ('confirmed', 'failed', 'manual_review')
			AND (b.end_at > $2) IS NOT FALSE
		UNION
		SELECT b.id FROM @app@.restaurants AS r
		CROSS JOIN LATERAL (
			SELECT x.id, x.assignment_state FROM @app@.bookings AS x
			WHERE x.restaurant_id = r.id AND x.start_at > $2 - interval '1 day' AND x.end_at > $2
				AND x.status::text IN ('pending', 'pending_allocation')
				AND x.assignment_state::text NOT IN ('confirmed', 'failed', 'manual_review')
			OFFSET 0
		) AS b
		WHERE ($1 IS NULL OR r.id = $1)
			AND (b.assignment_state::text <> 'created' OR EXISTS (
				SELECT FROM @app@.booking_assignment_attempts AS a WHERE a.booking_id = b.id))$q$, app_schema)
		USING restaurant_id, clock_timestamp();
END;
$$;
COMMENT ON FUNCTION assignment_v3.unfinished_ids(text, uuid) IS
	'Internal to unfinished(): the bookings it lists';

-- unfinished(): bookings of a restaurant, or with null of all, that the pipeline has touched and not ended: where
-- the mode is not active any more, the legacy path has to take them over.
-- Errors: 55000 not attached, 42501 where row-level security would hide rows.
CREATE FUNCTION assignment_v3.unfinished(restaurant_id uuid DEFAULT NULL)
RETURNS SETOF assignment_v3.unfinished_booking
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET enable_seqscan TO off
SET enable_hashjoin TO off
SET enable_mergejoin TO off
SET jit TO off
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
BEGIN
	PERFORM assignment_v3.check_sees_all(r.oid) FROM assignment_v3.attach_relations(app_schema) AS r
	WHERE r.relation IN ('restaurants', 'bookings', 'booking_table_assignments', 'booking_assignment_state_history',
		'booking_assignment_attempts', 'queue', 'rollout', 'kill_switch') AND r.oid IS NOT NULL;
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT b.id, b.restaurant_id, (assignment_v3.mode(b.restaurant_id)).mode, b.assignment_state::text,
			b.assignment_state_version, COALESCE(entered.at, tried.first_at, q.enqueued_at, b.created_at),
			COALESCE(last_word.reason, 'waiting'), COALESCE(tried.attempts, 0), q.due_at, seated.table_ids,
			b.party_size::integer, b.start_at
		FROM (SELECT u.booking_id FROM assignment_v3.unfinished_ids($2, $1) AS u OFFSET 0) AS u
		JOIN @app@.bookings AS b ON b.id = u.booking_id
		LEFT JOIN assignment_v3.queue AS q ON q.booking_id = b.id
		LEFT JOIN LATERAL (
			SELECT h.created_at AS at FROM @app@.booking_assignment_state_history AS h
			WHERE h.booking_id = b.id AND h.from_state <> h.to_state ORDER BY h.version DESC LIMIT 1
		) AS entered ON true
		LEFT JOIN LATERAL (
			SELECT count(*)::integer AS attempts, min(a.created_at) AS first_at
			FROM @app@.booking_assignment_attempts AS a WHERE a.booking_id = b.id
		) AS tried ON true
		LEFT JOIN LATERAL (
			SELECT w.reason FROM (
				SELECT h.reason, h.created_at FROM @app@.booking_assignment_state_history AS h
				WHERE h.booking_id = b.id AND h.reason IS NOT NULL
				UNION ALL
				SELECT a.reason, a.created_at FROM @app@.booking_assignment_attempts AS a
				WHERE a.booking_id = b.id AND a.reason IS NOT NULL
			) AS w
			ORDER BY w.created_at DESC LIMIT 1
		) AS last_word ON true
		LEFT JOIN LATERAL (
			SELECT array_agg(a.table_id ORDER BY a.table_id) AS table_ids
			FROM @app@.booking_table_assignments AS a WHERE a.booking_id = b.id
		) AS seated ON true
		ORDER BY b.start_at, b.id$q$, app_schema)
		USING restaurant_id, app_schema;
END;
$$;
COMMENT ON FUNCTION assignment_v3.unfinished(uuid) IS
	'Bookings that the pipeline has touched and not ended, for the legacy path to take over';

-- unfinished_number(): how many there are, or null with a warning where that can't be told now: it must not stand in
-- the way of whoever switches something off.
CREATE FUNCTION assignment_v3.unfinished_number(app_schema text, restaurant_id uuid)
RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET lock_timeout TO '2s'
AS $$
BEGIN
	RETURN (SELECT count(*) FROM assignment_v3.unfinished_ids(app_schema, restaurant_id) AS u);
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING 'could not count the unfinished bookings: %', SQLERRM;
	RETURN NULL;
END;
$$;
COMMENT ON FUNCTION assignment_v3.unfinished_number(text, uuid) IS
	'Internal to kill() and set_rollout(): the number of unfinished bookings';

-- ---------------------------------------------------------------------
-- Rollout rows
-- ---------------------------------------------------------------------

-- rollout_check(): whether a row may say this.
-- Errors: PT422, PT404 no such restaurant.
CREATE FUNCTION assignment_v3.rollout_check(app_schema text, restaurant_id uuid, mode text, max_parallel integer,
	percent integer)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
DECLARE
	known boolean;
BEGIN
	IF mode IS NULL OR mode NOT IN ('active', 'shadow', 'disabled') THEN
		RAISE EXCEPTION 'invalid mode %', COALESCE('"' || mode || '"', 'null')
			USING ERRCODE = 'PT422', HINT = 'Valid modes are active, shadow and disabled.';
	END IF;
	IF max_parallel NOT BETWEEN 1 AND 20 THEN
		RAISE EXCEPTION 'max_parallel must be 1 to 20' USING ERRCODE = 'PT422';
	END IF;
	IF percent NOT BETWEEN 0 AND 100 THEN
		RAISE EXCEPTION 'percent must be 0 to 100' USING ERRCODE = 'PT422';
	END IF;
	IF restaurant_id IS NULL THEN
		RETURN;
	END IF;
	IF percent IS NOT NULL THEN
		RAISE EXCEPTION 'a single restaurant has no percentage'
			USING ERRCODE = 'PT422', HINT = 'Leave percent out, or restaurant_id to speak of the fleet.';
	END IF;
	EXECUTE assignment_v3.attach_expand('SELECT EXISTS (SELECT FROM @app@.restaurants AS r WHERE r.id = $1)', app_schema)
		INTO known USING restaurant_id;
	IF NOT known THEN
		RAISE EXCEPTION 'restaurant % does not exist', restaurant_id USING ERRCODE = 'PT404';
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.rollout_check(text, uuid, text, integer, integer) IS
	'Internal to set_rollout(): checks its arguments';

-- set_rollout(): sets the mode of a restaurant, or with null of the fleet, from the next call of each session on, and
-- returns how many unfinished bookings there are.  What is null keeps the value that the row has: who lowers
-- max_parallel in a hurry must not send the whole fleet live by leaving out the percentage.
-- Errors: PT422, PT404 no such restaurant, 55000 not attached, 25006 read-only.
CREATE FUNCTION assignment_v3.set_rollout(restaurant_id uuid, mode text, max_parallel integer DEFAULT NULL,
	note text DEFAULT NULL, percent integer DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
#variable_conflict use_column
DECLARE
	app_schema text := assignment_v3.bound_schema();
	stored record;
BEGIN
	PERFORM assignment_v3.rollout_check(app_schema, set_rollout.restaurant_id, set_rollout.mode, set_rollout.max_parallel,
		set_rollout.percent);
	INSERT INTO assignment_v3.rollout AS r (restaurant_id, mode, max_parallel, note, percent)
	VALUES (set_rollout.restaurant_id, set_rollout.mode, set_rollout.max_parallel, NULLIF(btrim(set_rollout.note), ''),
		set_rollout.percent)
	ON CONFLICT (restaurant_id) DO UPDATE SET mode = excluded.mode, note = excluded.note,
		max_parallel = COALESCE(excluded.max_parallel, r.max_parallel), percent = COALESCE(excluded.percent, r.percent),
		set_at = DEFAULT, set_by = DEFAULT
	RETURNING r.mode, r.max_parallel, r.note, r.percent INTO stored;
	PERFORM assignment_v3.switch_record(app_schema, 'rollout.set', 'info', jsonb_strip_nulls(jsonb_build_object(
		'restaurant_id', set_rollout.restaurant_id, 'mode', stored.mode, 'percent', stored.percent,
		'max_parallel', stored.max_parallel, 'note', stored.note, 'by', CURRENT_USER)), set_rollout.restaurant_id);
	PERFORM assignment_v3.wake_workers();
	RETURN assignment_v3.unfinished_number(app_schema, set_rollout.restaurant_id);
END;
$$;
COMMENT ON FUNCTION assignment_v3.set_rollout(uuid, text, integer, text, integer) IS
	'Sets the mode of a restaurant, or with null of the fleet; returns the number of unfinished bookings';

-- clear_rollout(): takes away what was set for a restaurant, or with null for the fleet, so that weaker words count
-- again, and returns how many unfinished bookings there are.
-- Errors: 55000 not attached, 25006 read-only.
CREATE FUNCTION assignment_v3.clear_rollout(restaurant_id uuid, note text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
	why text := COALESCE(btrim(clear_rollout.note), '');
BEGIN
	PERFORM set_config('assignment_v3_audit.reason', why, true);
	DELETE FROM assignment_v3.rollout AS r WHERE r.restaurant_id IS NOT DISTINCT FROM clear_rollout.restaurant_id;
	IF found THEN
		PERFORM assignment_v3.switch_record(app_schema, 'rollout.cleared', 'info', jsonb_strip_nulls(jsonb_build_object(
			'restaurant_id', clear_rollout.restaurant_id, 'note', NULLIF(why, ''), 'by', CURRENT_USER)), clear_rollout.restaurant_id);
	ELSE
		RAISE NOTICE 'there is no such rollout row';
	END IF;
	PERFORM set_config('assignment_v3_audit.reason', '', true);
	PERFORM assignment_v3.wake_workers();
	RETURN assignment_v3.unfinished_number(app_schema, clear_rollout.restaurant_id);
END;
$$;
COMMENT ON FUNCTION assignment_v3.clear_rollout(uuid, text) IS
	'Takes away the rollout row of a restaurant, or with null of the fleet; returns the number of unfinished bookings';

-- rollout_preview(): which restaurants would change their mode if the fleet were active at this percentage, in the
-- order in which the rollout reaches them.  Those with a row of their own stay as they are.  In flight are bookings
-- that wait for tables; unfinished those of them that the pipeline has touched.
-- Errors: PT422 no percentage, 55000 not attached, 42501 where row-level security would hide rows.
CREATE FUNCTION assignment_v3.rollout_preview(percent integer)
RETURNS TABLE (restaurant_id uuid, name text, bucket integer, mode text, mode_then text, in_flight bigint, unfinished bigint)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET enable_seqscan TO off
SET enable_hashjoin TO off
SET enable_mergejoin TO off
SET jit TO off
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
	outside text;
BEGIN
	IF percent IS NULL OR percent NOT BETWEEN 0 AND 100 THEN
		RAISE EXCEPTION 'percent must be 0 to 100' USING ERRCODE = 'PT422';
	END IF;
	PERFORM assignment_v3.check_sees_all(r.oid) FROM assignment_v3.attach_relations(app_schema) AS r
	WHERE r.relation IN ('restaurants', 'bookings', 'booking_table_assignments', 'booking_assignment_state_history',
		'booking_assignment_attempts', 'queue', 'rollout', 'kill_switch') AND r.oid IS NOT NULL;
	IF (SELECT m.reason FROM assignment_v3.mode() AS m) = 'kill' THEN
		RAISE NOTICE 'the pipeline is off until revive(), whatever the percentage';
	END IF;
	outside := CASE WHEN current_setting('assignment_v3.shadow')::boolean THEN 'shadow' ELSE 'disabled' END;
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT f.id, f.name, f.bucket, f.mode, f.mode_then, waiting.bookings, COALESCE(touched.bookings, 0)
		FROM (
			SELECT r.id, r.name::text, m.mode, assignment_v3.rollout_bucket(r.id) AS bucket,
				CASE WHEN m.reason IN ('kill', 'restaurant') THEN m.mode
					WHEN assignment_v3.rollout_bucket(r.id) < 100 * $1 THEN 'active' ELSE $2 END AS mode_then
			FROM @app@.restaurants AS r
			CROSS JOIN LATERAL assignment_v3.mode(r.id) AS m
			OFFSET 0
		) AS f
		CROSS JOIN LATERAL (
			SELECT count(*) AS bookings FROM @app@.bookings AS b
			WHERE b.restaurant_id = f.id AND b.start_at > $3 - interval '1 day' AND b.end_at > $3
				AND b.status::text IN ('pending', 'pending_allocation')
				AND b.assignment_state::text NOT IN ('confirmed', 'failed', 'manual_review')
		) AS waiting
		LEFT JOIN (
			SELECT b.restaurant_id, count(*) AS bookings
			FROM assignment_v3.unfinished_ids($4, NULL) AS u
			JOIN @app@.bookings AS b ON b.id = u.booking_id
			GROUP BY b.restaurant_id
		) AS touched ON touched.restaurant_id = f.id
		WHERE f.mode <> f.mode_then
		ORDER BY f.bucket, f.id$q$, app_schema)
		USING percent, outside, clock_timestamp(), app_schema;
END;
$$;
COMMENT ON FUNCTION assignment_v3.rollout_preview(integer) IS
	'Restaurants that would change their mode if the fleet were active at this percentage, with their bookings in flight';

-- ---------------------------------------------------------------------
-- Breakers by hand
-- ---------------------------------------------------------------------

-- breaker_move(): writes a breaker with its audit and its event.
CREATE FUNCTION assignment_v3.breaker_move(app_schema text, restaurant_id uuid, open_until timestamptz, reason text)
RETURNS boolean
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
#variable_conflict use_column
DECLARE
	before jsonb;
	after jsonb;
BEGIN
	SELECT to_jsonb(c) INTO before FROM assignment_v3.circuits AS c WHERE c.restaurant_id = breaker_move.restaurant_id FOR UPDATE;
	IF breaker_move.open_until IS NULL THEN
		IF before IS NULL THEN
			RETURN false;
		END IF;
		DELETE FROM assignment_v3.circuits AS c WHERE c.restaurant_id = breaker_move.restaurant_id;
	ELSE
		INSERT INTO assignment_v3.circuits AS c (restaurant_id, open_until, opened_at)
		VALUES (breaker_move.restaurant_id, breaker_move.open_until, clock_timestamp())
		ON CONFLICT (restaurant_id) DO UPDATE SET open_until = excluded.open_until, half_open_successes = 0,
			opened_at = COALESCE(c.opened_at, excluded.opened_at), updated_at = DEFAULT
		RETURNING to_jsonb(c) INTO after;
	END IF;
	INSERT INTO assignment_v3.audit (relation, action, restaurant_id, reason, old_row, new_row)
	VALUES ('circuits', CASE WHEN after IS NULL THEN 'delete' WHEN before IS NULL THEN 'insert' ELSE 'update' END,
		breaker_move.restaurant_id, breaker_move.reason, before, after);
	RETURN true;
END;
$$;
COMMENT ON FUNCTION assignment_v3.breaker_move(text, uuid, timestamptz, text) IS
	'Internal to open_breaker() and reset_breaker(): writes the breaker and its audit';

-- open_breaker(): keeps a restaurant's breaker open for a while, and returns until when.  After that it is half-open,
-- as after any cool-down.
-- Errors: PT422, PT404 no such restaurant, 55000 not attached, 25006 read-only.
CREATE FUNCTION assignment_v3.open_breaker(restaurant_id uuid, for_interval interval, reason text)
RETURNS timestamptz
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
	why text := assignment_v3.switch_reason(open_breaker.reason);
	until timestamptz := clock_timestamp() + for_interval;
BEGIN
	IF open_breaker.restaurant_id IS NULL THEN
		RAISE EXCEPTION 'restaurant_id must not be null'
			USING ERRCODE = 'PT422', HINT = 'A breaker belongs to one restaurant; assignment_v3.kill() stops them all.';
	END IF;
	IF for_interval IS NULL OR for_interval <= interval '0' THEN
		RAISE EXCEPTION 'for_interval must be longer than nothing' USING ERRCODE = 'PT422', HINT = 'Give a time such as 10 minutes.';
	END IF;
	PERFORM assignment_v3.rollout_check(app_schema, open_breaker.restaurant_id, 'disabled', NULL, NULL);
	PERFORM assignment_v3.breaker_move(app_schema, open_breaker.restaurant_id, until, why);
	PERFORM assignment_v3.switch_record(app_schema, 'breaker.opened', 'warning', jsonb_build_object('restaurant_id',
		open_breaker.restaurant_id, 'reason', why, 'until', until, 'by', CURRENT_USER), open_breaker.restaurant_id);
	RETURN until;
END;
$$;
COMMENT ON FUNCTION assignment_v3.open_breaker(uuid, interval, text) IS
	'Opens the breaker of a restaurant by hand, for a while, and returns until when';

-- reset_breaker(): closes a restaurant's breaker and forgets its errors; false if it was closed and clean.
-- Errors: PT422, 55000 not attached, 25006 read-only.
CREATE FUNCTION assignment_v3.reset_breaker(restaurant_id uuid, reason text)
RETURNS boolean
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
	why text := assignment_v3.switch_reason(reset_breaker.reason);
BEGIN
	IF reset_breaker.restaurant_id IS NULL THEN
		RAISE EXCEPTION 'restaurant_id must not be null' USING ERRCODE = 'PT422';
	END IF;
	IF NOT assignment_v3.breaker_move(app_schema, reset_breaker.restaurant_id, NULL, why) THEN
		RETURN false;
	END IF;
	PERFORM assignment_v3.switch_record(app_schema, 'breaker.reset', 'info', jsonb_build_object('restaurant_id',
		reset_breaker.restaurant_id, 'reason', why, 'by', CURRENT_USER), reset_breaker.restaurant_id);
	RETURN true;
END;
$$;
COMMENT ON FUNCTION assignment_v3.reset_breaker(uuid, text) IS
	'Closes the breaker of a restaurant and forgets its errors';
