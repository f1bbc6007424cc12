/*-------------------------------------------------------------------------
 *
 * gates.sql
 *		The phases of the rollout, and whether the next one has been earned:
 *		enter_phase(), sign_off(), record_incident(), gate(), gate_passed().
 *
 * A phase begins when it is entered and ends when another one is; entering it
 * anew starts it anew, so that nothing from before a rollback counts.  gate()
 * judges what happened in between by the events, messages and results that
 * are there anyway, one row per criterion, and keeps nothing itself.
 *
 * A verdict has three values.  Only what has been shown is a pass: too short
 * a time, too few bookings, a signature that is missing or a difference that
 * may be chance are "insufficient data", to be cured by going on; "fail" is
 * what going on will not cure.  The least numbers are in gate_least().
 *
 * What is counted: coordinator events of the phase's own mode, of restaurants
 * that are in its share or were told apart.  A rate is over bookings whose last arrival in
 * confirmed, manual_review or failed in that time was the pipeline's: one
 * given up and then seated by staff was given up.  Cancelled bookings and
 * no-shows are left out.
 *
 * Comparisons with the phase before take a tolerance, and what is beyond it is
 * a failure only if chance is no explanation, at 5 %, one-sided.  The success
 * of rehearsals is compared with the legacy path booking by booking, and its
 * whole 95 % interval has to be inside of 5 points.
 *
 * Each group of criteria is a function returning (criterion, actual, required,
 * verdict, detail), given the facts of the phase as one value of gate_frame.
 *
 *-------------------------------------------------------------------------
 */

-- ---------------------------------------------------------------------
-- The phases, as data
-- ---------------------------------------------------------------------

-- gate_phases(): every phase in order.  before is the phase that this one is compared with, in the same database;
-- staging and production are two.
CREATE FUNCTION assignment_v3.gate_phases()
RETURNS TABLE (ordinal integer, phase text, mode text, percent integer, holds interval, before text, roles text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	(1, 'development', 'active', 100, interval '0', NULL, '{}'::text[]),
	(2, 'staging_shadow', 'shadow', 100, interval '24 hours', NULL, '{}'),
	(3, 'staging_full', 'active', 100, interval '48 hours', 'staging_shadow', '{qa,engineering}'),
	(4, 'production_shadow', 'shadow', 100, interval '24 hours', NULL, '{on_call,product_owner}'),
	(5, 'production_10', 'active', 10, interval '24 hours', 'production_shadow', '{}'),
	(6, 'production_50', 'active', 50, interval '24 hours', 'production_10', '{}'),
	(7, 'production_100', 'active', 100, interval '7 days', 'production_50', '{engineering,qa,product_owner}');
$$;
COMMENT ON FUNCTION assignment_v3.gate_phases() IS
	'Internal to gate(): the phases';

-- gate_criteria(): which criterion belongs to which phase, in order; sign-offs follow from gate_phases().
CREATE FUNCTION assignment_v3.gate_criteria()
RETURNS TABLE (ordinal integer, criterion text, phases text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	(1, 'duration', '{staging_shadow,staging_full,production_shadow,production_10,production_50,production_100}'::text[]),
	(2, 'weekend evening', '{production_shadow}'),
	(3, 'mode', '{development,staging_shadow,staging_full,production_shadow,production_10,production_50,production_100}'),
	(4, 'not switched off', '{staging_shadow,staging_full,production_shadow,production_10,production_50,production_100}'),
	(5, 'coordinator errors', '{development,staging_shadow,production_shadow}'),
	(6, 'rehearsed bookings', '{staging_shadow,production_shadow}'),
	(7, 'success beside legacy', '{staging_shadow,production_shadow}'),
	(8, 'would-be breaker', '{staging_shadow,production_shadow}'),
	(9, 'confirmation rate', '{staging_full,production_10,production_50,production_100}'),
	(10, 'manual review', '{staging_full,production_10,production_50,production_100}'),
	(11, 'stuck bookings', '{staging_full}'),
	(12, 'duplicate messages', '{staging_full}'),
	(13, 'error rate', '{production_10,production_50}'),
	(14, 'breaker', '{production_10,production_50}'),
	(15, 'p95 latency', '{production_10,production_50}'),
	(16, 'lock contention', '{production_10,production_50}'),
	(17, 'incidents', '{production_100}'),
	(18, 'soundness', '{development}');
$$;
COMMENT ON FUNCTION assignment_v3.gate_criteria() IS
	'Internal to gate(): which criterion belongs to which phase';

-- gate_least(): the least numbers that are judged.  60 bookings without a miss are the fewest that show, at 5 %, a
-- rate of 95; and one miss in fewer would decide.  20 starts are what the alert on errors asks for.
CREATE FUNCTION assignment_v3.gate_least(OUT starts bigint, OUT bookings bigint)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT 20::bigint, 60::bigint;
$$;
COMMENT ON FUNCTION assignment_v3.gate_least() IS
	'Internal to gate(): the least numbers that are judged';

-- gate_role(): a role that signs, however it is written.
-- Errors: PT422.
CREATE FUNCTION assignment_v3.gate_role(role text)
RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	name text := regexp_replace(lower(btrim(role)), '[ -]+', '_', 'g');
BEGIN
	IF name IS NULL OR name NOT IN ('qa', 'engineering', 'on_call', 'product_owner') THEN
		RAISE EXCEPTION 'nobody signs as %', COALESCE('"' || role || '"', 'null')
			USING ERRCODE = 'PT422', HINT = 'Those who sign are qa, engineering, on_call and product_owner.';
	END IF;
	RETURN name;
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_role(text) IS
	'Internal to sign_off(): a role that signs';

-- gate_check_phase(): whether there is such a phase.
-- Errors: PT422.
CREATE FUNCTION assignment_v3.gate_check_phase(phase text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	IF phase IS NULL OR NOT EXISTS (SELECT FROM assignment_v3.gate_phases() AS p WHERE p.phase = gate_check_phase.phase) THEN
		RAISE EXCEPTION 'there is no phase %', COALESCE('"' || phase || '"', 'null')
			USING ERRCODE = 'PT422', HINT = 'The phases are development, staging_shadow, staging_full, production_shadow, '
				'production_10, production_50 and production_100.';
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_check_phase(text) IS
	'Internal to gate(): checks the name of a phase';

-- ---------------------------------------------------------------------
-- The facts of a phase
-- ---------------------------------------------------------------------

CREATE TYPE assignment_v3.gate_frame AS (
	phase text,
	mode text,
	percent integer,
	holds interval,
	before text,
	app_schema text,
	since timestamptz,
	until timestamptz,
	restaurants uuid[],
	starts bigint,
	places bigint,
	other_mode bigint,
	outside bigint,
	confirmed bigint,
	errors bigint,
	contended bigint,
	breaking bigint,
	durations float8[]
);
COMMENT ON TYPE assignment_v3.gate_frame IS
	'internal to gate(): a phase with the time and the restaurants it is judged by, and what the coordinator did';

-- gate_frame_of(): a phase as it stands at a time: since it was entered last, until another one was or until then.
-- Judged are the restaurants that its percentage reaches, and those that have or had a row of their own: one that was
-- pulled out half way has been in it until then.
CREATE FUNCTION assignment_v3.gate_frame_of(phase text, at timestamptz)
RETURNS assignment_v3.gate_frame
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	frame assignment_v3.gate_frame;
	app_schema text := assignment_v3.bound_schema();
BEGIN
	SELECT p.phase, p.mode, p.percent, p.holds, p.before, app_schema, e.entered_at,
		LEAST(at, (SELECT min(o.entered_at) FROM assignment_v3.phases AS o
			WHERE o.phase <> p.phase AND (o.entered_at, o.id) > (e.entered_at, e.id)))
	INTO frame.phase, frame.mode, frame.percent, frame.holds, frame.before, frame.app_schema, frame.since, frame.until
	FROM assignment_v3.gate_phases() AS p
	LEFT JOIN LATERAL (
		SELECT x.id, x.entered_at FROM assignment_v3.phases AS x
		WHERE x.phase = p.phase AND x.entered_at <= at
		ORDER BY x.entered_at DESC, x.id DESC LIMIT 1
	) AS e ON true
	WHERE p.phase = gate_frame_of.phase;
	IF frame.since IS NULL THEN
		frame.since := at;
		frame.until := at;
	END IF;
	EXECUTE assignment_v3.attach_expand($q$
		SELECT array_agg(r.id) FROM @app@.restaurants AS r
		WHERE assignment_v3.rollout_bucket(r.id) < 100 * $1
			OR r.id IN (SELECT o.restaurant_id FROM assignment_v3.rollout AS o)
			OR r.id IN (SELECT a.restaurant_id FROM assignment_v3.audit AS a WHERE a.relation = 'rollout' AND a.changed_at < $2)$q$,
		frame.app_schema)
		INTO frame.restaurants USING frame.percent, frame.until;
	frame.restaurants := COALESCE(frame.restaurants, '{}');
	RETURN assignment_v3.gate_decisions(frame);
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_frame_of(text, timestamptz) IS
	'Internal to gate(): a phase as it stands at a time';

-- gate_decisions(): puts into a frame what the coordinator did in that time, of the phase's mode and share, and what it
-- did in another mode or outside of the share.
CREATE FUNCTION assignment_v3.gate_decisions(frame assignment_v3.gate_frame)
RETURNS assignment_v3.gate_frame
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET jit TO off
AS $$
BEGIN
	EXECUTE assignment_v3.attach_expand($q$
		SELECT count(*) FILTER (WHERE e.ours AND e.started), count(DISTINCT e.restaurant_id) FILTER (WHERE e.ours AND e.started),
			count(*) FILTER (WHERE e.started AND e.mode <> $3), count(*) FILTER (WHERE e.started AND e.mode = $3 AND e.outside),
			count(*) FILTER (WHERE e.ours AND e.event_type = 'coordinator.confirmed'),
			count(*) FILTER (WHERE e.ours AND e.event_type = 'coordinator.error'),
			count(*) FILTER (WHERE e.ours AND e.event_type IN ('coordinator.retry', 'coordinator.noop')
				AND e.context ->> 'reason' = 'lock_contention'),
			count(*) FILTER (WHERE e.ours AND e.event_type = 'coordinator.circuit_open'),
			array_agg((e.context ->> 'duration_ms')::float8) FILTER (WHERE e.ours AND e.context ? 'duration_ms')
		FROM (
			SELECT v.event_type, v.restaurant_id, v.context, m.mode, m.inside AND m.mode = $3 AS ours,
				v.event_type = 'coordinator.start' AS started,
				-- a call for a booking that does not exist is at no restaurant
				v.restaurant_id IN (SELECT r.id FROM @app@.restaurants AS r WHERE r.id <> ALL ($4)) AS outside
			FROM @app@.observability_events AS v
			CROSS JOIN LATERAL (
				SELECT v.context ->> 'mode' AS mode, COALESCE(v.restaurant_id = ANY ($4), false) AS inside
			) AS m
			WHERE v.source = 'assignment.coordinator' AND v.created_at >= $1 AND v.created_at < $2
		) AS e$q$, frame.app_schema)
		INTO frame.starts, frame.places, frame.other_mode, frame.outside, frame.confirmed, frame.errors, frame.contended,
			frame.breaking, frame.durations
		USING frame.since, frame.until, frame.mode, frame.restaurants;
	RETURN frame;
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_decisions(assignment_v3.gate_frame) IS
	'Internal to gate(): what the coordinator did in a phase';

-- gate_endings(): how many bookings the pipeline brought to an end in that time, by the state they ended in.
CREATE FUNCTION assignment_v3.gate_endings(frame assignment_v3.gate_frame,
	OUT ended bigint, OUT confirmed bigint, OUT manual_review bigint)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET jit TO off
AS $$
BEGIN
	EXECUTE assignment_v3.attach_expand($q$
		SELECT count(*), count(*) FILTER (WHERE l.state = 'confirmed'), count(*) FILTER (WHERE l.state = 'manual_review')
		FROM (
			SELECT DISTINCT ON (v.booking_id) v.booking_id, v.context ->> 'to' AS state
			FROM @app@.observability_events AS v
			WHERE v.source = 'assignment.state_machine' AND v.created_at >= $1 AND v.created_at < $2
				AND v.restaurant_id = ANY ($3) AND NOT v.context ? 'shadow'
				AND v.context ->> 'to' IN ('confirmed', 'manual_review', 'failed')
				AND NOT COALESCE(v.context -> 'metadata' ? 'external', false)
				AND v.context #>> '{metadata,trigger}' IS DISTINCT FROM 'assign'
			ORDER BY v.booking_id, (v.context ->> 'version')::integer DESC
		) AS l
		JOIN @app@.bookings AS b ON b.id = l.booking_id
		WHERE b.status::text NOT IN ('cancelled', 'no_show')$q$, frame.app_schema)
		INTO ended, confirmed, manual_review USING frame.since, frame.until, frame.restaurants;
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_endings(assignment_v3.gate_frame) IS
	'Internal to gate(): the bookings that the pipeline brought to an end';

-- ---------------------------------------------------------------------
-- Verdicts
-- ---------------------------------------------------------------------

-- gate_none(): a verdict on something that must not have happened, in so much of what it could have happened in.
CREATE FUNCTION assignment_v3.gate_none(found bigint, looked_at bigint, at_least bigint)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT CASE WHEN found > 0 THEN 'fail' WHEN looked_at >= at_least THEN 'pass' ELSE 'insufficient data' END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_none(bigint, bigint, bigint) IS
	'Internal to gate(): a verdict on what must not have happened';

-- gate_beyond(): is a share of hits larger than another one and a tolerance by more than chance explains?  The normal
-- approximation, one-sided at 5 %.
CREATE FUNCTION assignment_v3.gate_beyond(hits bigint, of_all bigint, other_hits bigint, of_others bigint, tolerance numeric)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT s.p - s.q - tolerance / 100 > 1.645 * sqrt(s.p * (1 - s.p) / of_all + s.q * (1 - s.q) / of_others)
FROM (SELECT hits::float8 / of_all AS p, other_hits::float8 / of_others AS q) AS s;
$$;
COMMENT ON FUNCTION assignment_v3.gate_beyond(bigint, bigint, bigint, bigint, numeric) IS
	'Internal to gate(): whether one share is larger than another by more than a tolerance and chance';

-- gate_percent(): a share in words.
CREATE FUNCTION assignment_v3.gate_percent(part bigint, whole bigint)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT CASE WHEN whole > 0 THEN round(100.0 * part / whole, 2) || ' %' ELSE 'none' END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_percent(bigint, bigint) IS
	'Internal to gate(): a share in words';

-- ---------------------------------------------------------------------
-- Criteria
-- ---------------------------------------------------------------------

-- gate_time(): that the phase has held, in its own mode, and was not switched off.
CREATE FUNCTION assignment_v3.gate_time(frame assignment_v3.gate_frame)
RETURNS TABLE (criterion text, actual text, required text, verdict text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	kills bigint;
	last_kill record;
	minimum record := assignment_v3.gate_least();
BEGIN
	RETURN QUERY SELECT 'duration', trunc(extract(epoch FROM frame.until - frame.since) / 3600) || ' h',
		'at least ' || trunc(extract(epoch FROM frame.holds) / 3600) || ' h',
		CASE WHEN frame.until - frame.since >= frame.holds THEN 'pass' ELSE 'insufficient data' END,
		format('from %s to %s', frame.since, frame.until);

	RETURN QUERY SELECT 'mode', format('%s %s, at %s of %s restaurants', frame.starts, frame.mode, frame.places, cardinality(frame.restaurants)),
		CASE WHEN frame.percent < 100 THEN format('%s, and only in the share of %s %%', frame.mode, frame.percent)
			WHEN frame.mode = 'shadow' THEN 'shadow only' ELSE frame.mode END,
		CASE frame.mode WHEN 'shadow' THEN assignment_v3.gate_none(frame.other_mode, frame.starts, 1)
			ELSE assignment_v3.gate_none(frame.outside, frame.starts, 1) END,
		format('%s decisions in another mode, %s outside the share', frame.other_mode, frame.outside);

	SELECT count(*) INTO kills FROM assignment_v3.audit AS a
	WHERE a.relation = 'kill_switch' AND a.action = 'insert' AND a.changed_at >= frame.since AND a.changed_at < frame.until;
	SELECT k.reason, k.killed_at INTO last_kill FROM assignment_v3.kill_switch AS k WHERE k.killed_at < frame.until;
	kills := GREATEST(kills, CASE WHEN last_kill.killed_at IS NULL THEN 0 ELSE 1 END);
	RETURN QUERY SELECT 'not switched off', kills || ' kills', '0', assignment_v3.gate_none(kills, frame.starts, 1),
		COALESCE('off now: ' || last_kill.reason, CASE WHEN kills > 0 THEN 'once it is mended, enter the phase again' END);

	RETURN QUERY SELECT 'coordinator errors', frame.errors::text, '0',
		assignment_v3.gate_none(frame.errors, frame.starts, CASE frame.phase WHEN 'development' THEN 1 ELSE minimum.starts END),
		format('in %s decisions', frame.starts);
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_time(assignment_v3.gate_frame) IS
	'Internal to gate(): criteria of time and mode';

-- gate_zone(): a time zone that PostgreSQL knows; UTC for one that it doesn't.
CREATE FUNCTION assignment_v3.gate_zone(name text)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM now() AT TIME ZONE name;
	RETURN COALESCE(name, 'UTC');
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN 'UTC';
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_zone(text) IS
	'Internal to gate(): a time zone that PostgreSQL knows';

-- gate_weekend(): that the time has a whole Saturday or Sunday evening in it, 18 to 22 o'clock where the restaurants are,
-- and that something was decided then.
CREATE FUNCTION assignment_v3.gate_weekend(frame assignment_v3.gate_frame)
RETURNS TABLE (criterion text, actual text, required text, verdict text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET jit TO off
AS $$
DECLARE
	zones bigint;
	lacking text;
	starts bigint;
	has_zone boolean := EXISTS (
		SELECT FROM pg_attribute AS a JOIN assignment_v3.attach_relations(frame.app_schema) AS r ON r.oid = a.attrelid
		WHERE r.relation = 'restaurants' AND a.attname = 'timezone' AND NOT a.attisdropped);
BEGIN
	EXECUTE assignment_v3.attach_expand(format($q$
		WITH zone AS MATERIALIZED (
			SELECT z.name, assignment_v3.gate_zone(z.name) AS known, z.restaurants FROM (
				SELECT %s AS name, array_agg(r.id) AS restaurants FROM @app@.restaurants AS r
				WHERE r.id = ANY ($3) AND r.is_active GROUP BY 1
			) AS z
		), evening AS MATERIALIZED (
			SELECT z.restaurants, z.name, (d.day + time '18:00') AT TIME ZONE z.known AS opens, (d.day + time '22:00') AT TIME ZONE z.known AS closes
			FROM zone AS z
			CROSS JOIN LATERAL generate_series((($1 AT TIME ZONE z.known)::date)::timestamp, $2 AT TIME ZONE z.known, interval '1 day') AS d (day)
			WHERE extract(isodow FROM d.day) IN (6, 7)
		), whole AS MATERIALIZED (
			SELECT e.* FROM evening AS e WHERE e.opens >= $1 AND e.closes <= $2
		)
		SELECT count(*), string_agg(COALESCE(z.name, 'UTC'), ', ' ORDER BY z.name) FILTER (
				WHERE NOT EXISTS (SELECT FROM whole AS w WHERE w.name IS NOT DISTINCT FROM z.name)),
			(SELECT count(*) FROM @app@.observability_events AS v JOIN whole AS w
				ON v.created_at >= w.opens AND v.created_at < w.closes AND v.restaurant_id = ANY (w.restaurants)
			 WHERE v.source = 'assignment.coordinator' AND v.event_type = 'coordinator.start'
				AND v.created_at >= $1 AND v.created_at < $2)
		FROM zone AS z$q$, CASE WHEN has_zone THEN 'r.timezone::text' ELSE 'NULL::text' END), frame.app_schema)
		INTO zones, lacking, starts USING frame.since, frame.until, frame.restaurants;
	RETURN QUERY SELECT 'weekend evening', CASE WHEN zones = 0 OR lacking IS NOT NULL THEN 'no' ELSE 'yes' END,
		'Saturday or Sunday, 18 to 22 o''clock',
		CASE WHEN zones > 0 AND lacking IS NULL AND starts > 0 THEN 'pass' ELSE 'insufficient data' END,
		COALESCE('none yet in ' || lacking, format('%s decisions in it', starts));
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_weekend(assignment_v3.gate_frame) IS
	'Internal to gate(): whether there was a weekend evening';

-- gate_shadow(): the rehearsals: how many of the bookings made, how well beside the legacy path, and what the breaker
-- would have frame.  A booking has ten minutes to be rehearsed; one that came in as seated is none to rehearse.
CREATE FUNCTION assignment_v3.gate_shadow(frame assignment_v3.gate_frame)
RETURNS TABLE (criterion text, actual text, required text, verdict text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET jit TO off
AS $$
DECLARE
	minimum record := assignment_v3.gate_least();
	made record;
	results record;
	cells record;
	gap record;
BEGIN
	EXECUTE assignment_v3.attach_expand($q$
		SELECT count(*) AS bookings, count(*) FILTER (WHERE EXISTS (
			SELECT FROM @app@.booking_assignment_shadow_results AS r WHERE r.booking_id = b.id)) AS rehearsed
		FROM @app@.bookings AS b
		WHERE b.created_at >= $1 AND b.created_at < $2 - interval '10 minutes' AND b.restaurant_id = ANY ($3)
			AND b.status::text NOT IN ('cancelled', 'no_show') AND b.assignment_state::text NOT IN ('failed', 'manual_review')
			AND NOT (b.status::text IN ('checked_in', 'completed') AND b.assignment_state_version = 1)
			AND b.restaurant_id NOT IN (
				SELECT o.restaurant_id FROM assignment_v3.rollout AS o WHERE o.mode <> 'shadow' AND o.restaurant_id IS NOT NULL)$q$,
		frame.app_schema)
		INTO made USING frame.since, frame.until, frame.restaurants;
	RETURN QUERY SELECT 'rehearsed bookings', assignment_v3.gate_percent(made.rehearsed, made.bookings), 'at least 95 %',
		CASE WHEN made.bookings < minimum.starts THEN 'insufficient data'
			WHEN made.rehearsed >= 0.95 * made.bookings THEN 'pass' ELSE 'fail' END,
		format('%s of %s bookings made', made.rehearsed, made.bookings);

	SELECT count(*) FILTER (WHERE p.confirmed AND p.other_confirmed) AS both_of_them,
		count(*) FILTER (WHERE p.confirmed AND NOT p.other_confirmed) AS only_shadow,
		count(*) FILTER (WHERE NOT p.confirmed AND p.other_confirmed) AS only_legacy,
		count(*) FILTER (WHERE NOT p.confirmed AND NOT p.other_confirmed) AS neither,
		count(p.other_confirmed) AS compared, count(*) - count(p.other_confirmed) AS undecided
	INTO cells
	FROM assignment_v3.shadow_pairs(frame.since, frame.until) AS p WHERE p.restaurant_id = ANY (frame.restaurants);
	SELECT * INTO gap FROM assignment_v3.paired_difference(cells.both_of_them, cells.only_shadow, cells.only_legacy, cells.neither);
	RETURN QUERY SELECT 'success beside legacy', COALESCE(gap.difference || ' points', 'none'), 'surely within 5 points of legacy',
		CASE WHEN cells.compared < minimum.bookings OR gap.difference IS NULL THEN 'insufficient data'
			WHEN gap.low >= -5 AND gap.high <= 5 THEN 'pass'
			WHEN gap.high < -5 OR gap.low > 5 THEN 'fail'
			ELSE 'insufficient data' END,
		format('%s compared, 95 %% interval %s to %s; both %s, only the pipeline %s, only legacy %s, neither %s; %s not known yet',
			cells.compared, COALESCE(gap.low::text, '-'), COALESCE(gap.high::text, '-'), cells.both_of_them, cells.only_shadow,
			cells.only_legacy, cells.neither, cells.undecided);

	EXECUTE assignment_v3.attach_expand($q$
		SELECT count(*) AS rehearsals, count(*) FILTER (WHERE r.breaker_would_open) AS opened,
			count(DISTINCT r.restaurant_id) FILTER (WHERE r.breaker_would_open) AS restaurants
		FROM @app@.booking_assignment_shadow_results AS r
		WHERE r.created_at >= $1 AND r.created_at < $2 AND r.restaurant_id = ANY ($3)$q$, frame.app_schema)
		INTO results USING frame.since, frame.until, frame.restaurants;
	RETURN QUERY SELECT 'would-be breaker', results.opened::text, '0 openings',
		assignment_v3.gate_none(results.opened, results.rehearsals, minimum.starts),
		format('in %s rehearsals; at %s restaurants', results.rehearsals, results.restaurants);
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_shadow(assignment_v3.gate_frame) IS
	'Internal to gate(): criteria of the shadow phases';

-- gate_rates(): what became of the bookings that the pipeline brought to an end.
CREATE FUNCTION assignment_v3.gate_rates(frame assignment_v3.gate_frame)
RETURNS TABLE (criterion text, actual text, required text, verdict text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	minimum record := assignment_v3.gate_least();
	ends record;
BEGIN
	SELECT * INTO ends FROM assignment_v3.gate_endings(frame);
	RETURN QUERY SELECT 'confirmation rate', assignment_v3.gate_percent(ends.confirmed, ends.ended), 'at least 95 %',
		CASE WHEN ends.ended < minimum.bookings THEN 'insufficient data'
			WHEN ends.confirmed >= 0.95 * ends.ended THEN 'pass' ELSE 'fail' END,
		format('%s of %s bookings that ended; at least %s are needed', ends.confirmed, ends.ended, minimum.bookings);
	RETURN QUERY SELECT 'manual review', assignment_v3.gate_percent(ends.manual_review, ends.ended), 'less than 10 %',
		CASE WHEN ends.ended < minimum.bookings THEN 'insufficient data'
			WHEN ends.manual_review < 0.10 * ends.ended THEN 'pass' ELSE 'fail' END,
		format('%s of %s bookings that ended; at least %s are needed', ends.manual_review, ends.ended, minimum.bookings);
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_rates(assignment_v3.gate_frame) IS
	'Internal to gate(): confirmation and manual review';

-- gate_leftovers(): nothing stuck, no message told twice.  Stuck is what has been due for ten minutes where the mode is
-- active, and what is unfinished there without being queued.  A guest is told twice by two messages of one version, and
-- by more messages than the booking has arrived in that state.
CREATE FUNCTION assignment_v3.gate_leftovers(frame assignment_v3.gate_frame)
RETURNS TABLE (criterion text, actual text, required text, verdict text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET jit TO off
AS $$
DECLARE
	stuck bigint;
	messages record;
BEGIN
	SELECT count(*) INTO stuck FROM assignment_v3.unfinished() AS u
	WHERE u.mode = 'active' AND COALESCE(u.due_at, '-infinity') < frame.until - interval '10 minutes' AND u.since < frame.until - interval '10 minutes';
	RETURN QUERY SELECT 'stuck bookings', stuck::text, '0', assignment_v3.gate_none(stuck, frame.starts, (assignment_v3.gate_least()).starts),
		'due for more than 10 minutes, or unfinished and not queued';

	EXECUTE assignment_v3.attach_expand($q$
		SELECT COALESCE(sum(g.messages), 0)::bigint AS messages,
			COALESCE(sum(g.messages - LEAST(g.versions, GREATEST(g.arrivals, 1))), 0)::bigint AS repeated
		FROM (
			SELECT count(*) AS messages, count(DISTINCT o.dedupe_key) AS versions, (
				SELECT count(*) FROM @app@.booking_assignment_state_history AS h
				WHERE h.booking_id = o.booking_id AND h.to_state::text = split_part(o.event_type, '.', 3)
					AND h.reason IS DISTINCT FROM 'facts_changed' AND NOT h.metadata ? 'external') AS arrivals
			FROM @app@.capacity_outbox AS o
			WHERE o.event_type LIKE 'booking.assignment\_state.%' AND o.created_at >= $1 AND o.created_at < $2
			GROUP BY o.booking_id, o.event_type
		) AS g$q$, frame.app_schema)
		INTO messages USING frame.since, frame.until;
	RETURN QUERY SELECT 'duplicate messages', messages.repeated::text, '0',
		assignment_v3.gate_none(messages.repeated, messages.messages, 1), format('in %s messages', messages.messages);
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_leftovers(assignment_v3.gate_frame) IS
	'Internal to gate(): stuck bookings and duplicate messages';

-- gate_compared(): a share beside that of the phase before: it may be larger by a tolerance in percentage points.
CREATE FUNCTION assignment_v3.gate_compared(criterion text, hits bigint, of_all bigint, other_hits bigint, of_others bigint,
	tolerance numeric, before text)
RETURNS TABLE (criterion text, actual text, required text, verdict text, detail text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT $1, assignment_v3.gate_percent(hits, of_all),
	format('at most %s points above %s', tolerance, before),
	CASE
		WHEN of_all < l.bookings OR of_others < l.bookings THEN 'insufficient data'
		WHEN 100.0 * hits / of_all <= 100.0 * other_hits / of_others + tolerance THEN 'pass'
		WHEN assignment_v3.gate_beyond(hits, of_all, other_hits, of_others, tolerance) THEN 'fail'
		ELSE 'insufficient data'
	END,
	format('%s of %s decisions, %s of %s in %s (%s)', hits, of_all, other_hits, of_others, before,
		assignment_v3.gate_percent(other_hits, of_others))
FROM assignment_v3.gate_least() AS l;
$$;
COMMENT ON FUNCTION assignment_v3.gate_compared(text, bigint, bigint, bigint, bigint, numeric, text) IS
	'Internal to gate(): a share beside that of the phase before';

-- gate_latency(): the 95th percentile beside that of the phase before: it may be a fifth larger.  Chance is no
-- explanation if significantly more than the 5 % that are to be expected took longer than that.
CREATE FUNCTION assignment_v3.gate_latency(durations float8[], others float8[], before text)
RETURNS TABLE (criterion text, actual text, required text, verdict text, detail text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH p AS (
	SELECT (SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY d) FROM unnest(durations) AS d) AS now,
		(SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY d) FROM unnest(others) AS d) AS before,
		COALESCE(cardinality(durations), 0)::bigint AS n, COALESCE(cardinality(others), 0)::bigint AS n_before
), slow AS (
	SELECT p.*, (SELECT count(*) FROM unnest(durations) AS d WHERE d > 1.2 * p.before) AS beyond FROM p
)
SELECT 'p95 latency', COALESCE(round(s.now::numeric, 1) || ' ms', 'none'),
	concat('at most ', round(1.2 * s.before::numeric, 1) || ' ms, ', '1.2 times ', gate_latency.before),
	CASE
		WHEN s.n < l.bookings OR s.n_before < l.bookings THEN 'insufficient data'
		WHEN s.now <= 1.2 * s.before THEN 'pass'
		WHEN (s.beyond - 0.05 * s.n) / sqrt(s.n * 0.05 * 0.95) > 1.645 THEN 'fail'
		ELSE 'insufficient data'
	END,
	format('%s decisions, %s in %s', s.n, s.n_before, gate_latency.before)
FROM slow AS s, assignment_v3.gate_least() AS l;
$$;
COMMENT ON FUNCTION assignment_v3.gate_latency(float8[], float8[], text) IS
	'Internal to gate(): the 95th percentile beside that of the phase before';

-- gate_comparison(): errors, latency and contention beside the phase before, and the breakers.
CREATE FUNCTION assignment_v3.gate_comparison(frame assignment_v3.gate_frame)
RETURNS TABLE (criterion text, actual text, required text, verdict text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	earlier assignment_v3.gate_frame := assignment_v3.gate_frame_of(frame.before, frame.since);
	open_now bigint;
BEGIN
	SELECT count(*) INTO open_now FROM assignment_v3.circuits AS c
	WHERE c.restaurant_id = ANY (frame.restaurants) AND c.opened_at >= frame.since AND c.opened_at < frame.until;
	RETURN QUERY SELECT * FROM assignment_v3.gate_compared('error rate', frame.errors, frame.starts, earlier.errors, earlier.starts, 0.5, frame.before);
	RETURN QUERY SELECT 'breaker', (open_now + frame.breaking)::text, 'none open',
		assignment_v3.gate_none(open_now + frame.breaking, frame.starts, (assignment_v3.gate_least()).starts),
		format('%s opened and not closed since, %s decisions that met an open one', open_now, frame.breaking);
	RETURN QUERY SELECT * FROM assignment_v3.gate_latency(frame.durations, earlier.durations, frame.before);
	RETURN QUERY SELECT * FROM assignment_v3.gate_compared('lock contention', frame.contended, frame.starts, earlier.contended, earlier.starts, 1, frame.before);
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_comparison(assignment_v3.gate_frame) IS
	'Internal to gate(): criteria that look at the phase before';

-- gate_people(): the signatures, given since the phase was entered, and the incidents.
CREATE FUNCTION assignment_v3.gate_people(frame assignment_v3.gate_frame)
RETURNS TABLE (criterion text, actual text, required text, verdict text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	incidents record;
BEGIN
	SELECT count(*) AS number, string_agg(format('%s: %s', i.severity, i.note), '; ' ORDER BY i.id) AS notes INTO incidents
	FROM assignment_v3.incidents AS i WHERE i.occurred_at >= frame.since AND i.occurred_at < frame.until;
	RETURN QUERY SELECT 'incidents', incidents.number::text, '0', assignment_v3.gate_none(incidents.number, frame.starts, 1), incidents.notes;
	RETURN QUERY SELECT 'sign-off by ' || r.role, COALESCE(s.name, 'missing'), 'given in this phase',
		CASE WHEN s.name IS NULL THEN 'insufficient data' ELSE 'pass' END, s.note
	FROM assignment_v3.gate_phases() AS p
	CROSS JOIN LATERAL unnest(p.roles) WITH ORDINALITY AS r (role, n)
	LEFT JOIN LATERAL (
		SELECT x.name, x.note FROM assignment_v3.sign_offs AS x
		WHERE x.phase = p.phase AND x.role = r.role AND x.signed_at >= frame.since AND x.signed_at < frame.until
		ORDER BY x.signed_at DESC, x.id DESC LIMIT 1
	) AS s ON true
	WHERE p.phase = frame.phase
	ORDER BY r.n;
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_people(assignment_v3.gate_frame) IS
	'Internal to gate(): signatures and incidents';

-- gate_rows(): the rows of a phase's criteria, from as few of the functions above as have any.
CREATE FUNCTION assignment_v3.gate_rows(frame assignment_v3.gate_frame)
RETURNS TABLE (criterion text, actual text, required text, verdict text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY SELECT * FROM assignment_v3.gate_time(frame);
	RETURN QUERY SELECT * FROM assignment_v3.gate_people(frame);
	IF frame.phase = 'development' THEN
		RETURN QUERY SELECT 'soundness', v.violations || ' violations', 'none', assignment_v3.gate_none(v.violations, frame.confirmed, 1),
			format('found by verify(), after %s confirmations', frame.confirmed)
		FROM (SELECT count(*) AS violations FROM assignment_v3.verify()) AS v;
	ELSIF frame.mode = 'shadow' THEN
		RETURN QUERY SELECT * FROM assignment_v3.gate_weekend(frame);
		RETURN QUERY SELECT * FROM assignment_v3.gate_shadow(frame);
	ELSE
		RETURN QUERY SELECT * FROM assignment_v3.gate_rates(frame);
		RETURN QUERY SELECT * FROM assignment_v3.gate_leftovers(frame);
	END IF;
	IF frame.percent < 100 THEN
		RETURN QUERY SELECT * FROM assignment_v3.gate_comparison(frame);
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate_rows(assignment_v3.gate_frame) IS
	'Internal to gate(): the rows of a phase';

-- ---------------------------------------------------------------------
-- What is called
-- ---------------------------------------------------------------------

-- gate(): has the next phase been earned?  One row per criterion of this one, as things stand or stood at a time.  A
-- phase that was not entered has shown nothing.
-- Errors: PT422 no such phase, 55000 not attached, 42501 where row-level security would hide rows.
CREATE FUNCTION assignment_v3.gate(phase text, at timestamptz DEFAULT NULL)
RETURNS TABLE (criterion text, actual text, required text, verdict text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	frame assignment_v3.gate_frame;
	entered boolean;
BEGIN
	PERFORM assignment_v3.check_sees_all(r.oid) FROM assignment_v3.attach_relations(assignment_v3.bound_schema()) AS r
	WHERE r.oid IS NOT NULL;
	PERFORM assignment_v3.gate_check_phase(gate.phase);
	frame := assignment_v3.gate_frame_of(gate.phase, COALESCE(gate.at, clock_timestamp()));
	entered := EXISTS (SELECT FROM assignment_v3.phases AS p WHERE p.phase = gate.phase AND p.entered_at <= frame.until);
	RETURN QUERY
		SELECT r.criterion, r.actual, r.required, CASE WHEN entered THEN r.verdict ELSE 'insufficient data' END,
			CASE WHEN entered THEN r.detail ELSE 'the phase has not been entered' END
		FROM assignment_v3.gate_rows(frame) AS r
		LEFT JOIN assignment_v3.gate_criteria() AS c ON c.criterion = r.criterion
		WHERE c.criterion IS NULL OR gate.phase = ANY (c.phases)
		ORDER BY c.ordinal NULLS LAST, array_position((SELECT p.roles FROM assignment_v3.gate_phases() AS p WHERE p.phase = gate.phase),
			substr(r.criterion, 13));
END;
$$;
COMMENT ON FUNCTION assignment_v3.gate(text, timestamptz) IS
	'Judges a phase of the rollout: one row per criterion, with pass, fail or insufficient data';

-- gate_passed(): whether every criterion of the phase is a pass.
-- Errors: as gate().
CREATE FUNCTION assignment_v3.gate_passed(phase text, at timestamptz DEFAULT NULL)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT COALESCE(bool_and(g.verdict = 'pass'), false) FROM assignment_v3.gate(phase, at) AS g;
$$;
COMMENT ON FUNCTION assignment_v3.gate_passed(text, timestamptz) IS
	'Whether a phase of the rollout has passed its gate';

-- enter_phase(): writes down that a phase begins now, and returns when.  It sets nothing: that is for set_rollout(), in
-- the same transaction.  Going on without having passed the gate before is warned of and written down too.
-- Errors: PT422 no such phase, 55000 not attached, 25006 read-only.
CREATE FUNCTION assignment_v3.enter_phase(phase text, note text DEFAULT NULL)
RETURNS timestamptz
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
#variable_conflict use_column
DECLARE
	app_schema text := assignment_v3.bound_schema();
	why text := NULLIF(btrim(enter_phase.note), '');
	phase_before text;
	earned boolean;
	stored record;
BEGIN
	PERFORM assignment_v3.gate_check_phase(enter_phase.phase);
	SELECT p.before INTO phase_before FROM assignment_v3.gate_phases() AS p WHERE p.phase = enter_phase.phase;
	IF phase_before IS NOT NULL THEN
		earned := assignment_v3.gate_passed(phase_before);
	END IF;
	IF NOT earned THEN
		RAISE WARNING 'phase "%" has not passed its gate', phase_before
			USING HINT = format('SELECT * FROM assignment_v3.gate(%L) WHERE verdict <> ''pass'';', phase_before);
	END IF;
	INSERT INTO assignment_v3.phases AS p (phase, earned, note) VALUES (enter_phase.phase, earned, why)
	RETURNING p.entered_at INTO stored;
	PERFORM assignment_v3.switch_record(app_schema, 'rollout.phase', 'info', jsonb_strip_nulls(jsonb_build_object(
		'phase', enter_phase.phase, 'earned', earned, 'note', why, 'by', CURRENT_USER)));
	RETURN stored.entered_at;
END;
$$;
COMMENT ON FUNCTION assignment_v3.enter_phase(text, text) IS
	'Writes down that a phase of the rollout begins now';

-- sign_off(): writes down that somebody has signed the phase that is under way, and returns when.
-- Errors: PT422, 55000 another phase is under way, or not attached, 25006 read-only.
CREATE FUNCTION assignment_v3.sign_off(phase text, role text, name text, note text DEFAULT NULL)
RETURNS timestamptz
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
#variable_conflict use_column
DECLARE
	app_schema text := assignment_v3.bound_schema();
	signing text := assignment_v3.gate_role(sign_off.role);
	signer text := NULLIF(btrim(sign_off.name), '');
	why text := NULLIF(btrim(sign_off.note), '');
	stored record;
BEGIN
	PERFORM assignment_v3.gate_check_phase(sign_off.phase);
	IF signer IS NULL THEN
		RAISE EXCEPTION 'name must not be empty' USING ERRCODE = 'PT422', HINT = 'Say who signs.';
	END IF;
	SELECT p.phase INTO stored FROM assignment_v3.phases AS p ORDER BY p.entered_at DESC, p.id DESC LIMIT 1;
	IF stored.phase IS DISTINCT FROM sign_off.phase THEN
		RAISE EXCEPTION 'phase "%" is not under way', sign_off.phase
			USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = COALESCE('Phase "' || stored.phase || '" was entered last.', 'No phase has been entered.'),
			HINT = 'Run assignment_v3.enter_phase() first; what was signed before or after a phase does not count for it.';
	END IF;
	INSERT INTO assignment_v3.sign_offs AS s (phase, role, name, note) VALUES (sign_off.phase, signing, signer, why)
	RETURNING s.signed_at INTO stored;
	PERFORM assignment_v3.switch_record(app_schema, 'rollout.signed', 'info', jsonb_strip_nulls(jsonb_build_object(
		'phase', sign_off.phase, 'role', signing, 'name', signer, 'note', why, 'by', CURRENT_USER)));
	RETURN stored.signed_at;
END;
$$;
COMMENT ON FUNCTION assignment_v3.sign_off(text, text, text, text) IS
	'Writes down that somebody has signed a phase of the rollout';

-- record_incident(): writes down an incident, and returns when.
-- Errors: PT422, 55000 not attached, 25006 read-only.
CREATE FUNCTION assignment_v3.record_incident(severity text, note text)
RETURNS timestamptz
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
#variable_conflict use_column
DECLARE
	app_schema text := assignment_v3.bound_schema();
	grade text := upper(btrim(record_incident.severity));
	why text := NULLIF(btrim(record_incident.note), '');
	stored record;
BEGIN
	IF grade IS NULL OR grade NOT IN ('P1', 'P2', 'P3') THEN
		RAISE EXCEPTION 'invalid severity %', COALESCE('"' || record_incident.severity || '"', 'null')
			USING ERRCODE = 'PT422', HINT = 'Valid severities are P1, P2 and P3.';
	END IF;
	IF why IS NULL THEN
		RAISE EXCEPTION 'note must not be empty' USING ERRCODE = 'PT422', HINT = 'Say in a few words what happened.';
	END IF;
	INSERT INTO assignment_v3.incidents AS i (severity, note) VALUES (grade, why) RETURNING i.occurred_at INTO stored;
	PERFORM assignment_v3.switch_record(app_schema, 'rollout.incident', CASE grade WHEN 'P3' THEN 'warning' ELSE 'error' END,
		jsonb_build_object('severity', grade, 'note', why, 'by', CURRENT_USER));
	RETURN stored.occurred_at;
END;
$$;
COMMENT ON FUNCTION assignment_v3.record_incident(text, text) IS
	'Writes down an incident of the rollout';
