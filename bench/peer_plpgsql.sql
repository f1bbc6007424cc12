/*-------------------------------------------------------------------------
 *
 * peer_plpgsql.sql
 *		The same pipeline in PL/pgSQL, as a good engineer of the app would
 *		write it: what process_booking() is compared with.
 *
 * It promises what the extension promises.  Whoever moves a booking meets the
 * same validator, and leaves a history row and an event, by triggers.  It reads
 * the same flags, takes the same kinds of locks and never waits for one, plans
 * by the same score (waste, number of tables, movable tables, table numbers),
 * looks again under the tables' locks, starts again up to three times when
 * another writer was faster, counts errors for the breaker, and leaves the same
 * rows.  Each transition is an UPDATE, guarded by the version.
 *
 * It is no straw man: what can be one statement is one, the floor is read
 * once, merges are looked for only where one could be better, names are
 * qualified so that only the entry needs a search_path of its own, and every plan
 * is kept by the session.  Left out to its advantage: shadow mode, changes of
 * facts, the strategies of later attempts, and acting as the owner.
 *
 *-------------------------------------------------------------------------
 */
\set ON_ERROR_STOP on
\set QUIET on

CREATE SCHEMA peer;

CREATE TYPE peer.decision AS (outcome text, reason text, delay_ms integer);

CREATE TYPE peer.free_table AS
	(id uuid, zone_id uuid, number text, capacity integer, min_party integer, max_party integer, movable boolean);

-- event(): writes one event of the coordinator.
CREATE FUNCTION peer.event(type text, severity text, booking_id uuid, restaurant_id uuid, trigger text, more jsonb)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO public.observability_events (source, event_type, severity, context, restaurant_id, booking_id)
	VALUES ('assignment.coordinator', type, severity,
		pg_catalog.jsonb_build_object('mode', 'active', 'trigger', trigger) || more, restaurant_id, booking_id);
END
$$;

-- The triggers write along what the transaction has set as peer.metadata and peer.reason.

-- is_legal(): whether the state machine has this edge.
CREATE FUNCTION peer.is_legal(source public.booking_assignment_state, target public.booking_assignment_state)
RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
SELECT CASE source
	WHEN 'created' THEN target IN ('capacity_verified', 'failed')
	WHEN 'capacity_verified' THEN target IN ('assignment_pending', 'failed')
	WHEN 'assignment_pending' THEN target IN ('assignment_in_progress', 'manual_review', 'failed')
	WHEN 'assignment_in_progress' THEN target IN ('assigned', 'assignment_pending', 'manual_review', 'failed')
	WHEN 'assigned' THEN target IN ('confirmed', 'assignment_pending', 'manual_review')
	ELSE false END
$$;

CREATE FUNCTION peer.validate()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	IF NEW.assignment_state_version NOT IN (OLD.assignment_state_version, OLD.assignment_state_version + 1) THEN
		RAISE EXCEPTION 'booking % has version %', OLD.id, OLD.assignment_state_version USING ERRCODE = 'PT409';
	END IF;
	IF NEW.assignment_state <> OLD.assignment_state AND NOT peer.is_legal(OLD.assignment_state, NEW.assignment_state) THEN
		RAISE EXCEPTION 'booking % cannot go from % to %', OLD.id, OLD.assignment_state, NEW.assignment_state
			USING ERRCODE = 'PT422';
	END IF;
	NEW.assignment_state_version := OLD.assignment_state_version + 1;
	RETURN NEW;
END
$$;

CREATE FUNCTION peer.record()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO public.booking_assignment_state_history (booking_id, from_state, to_state, version, metadata, reason)
	VALUES (NEW.id, OLD.assignment_state, NEW.assignment_state, NEW.assignment_state_version,
		coalesce(nullif(pg_catalog.current_setting('peer.metadata', true), '')::jsonb, '{"external": true}'),
		nullif(pg_catalog.current_setting('peer.reason', true), ''));
	RETURN NULL;
END
$$;

CREATE FUNCTION peer.record_events()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO public.observability_events (source, event_type, severity, context, restaurant_id, booking_id)
	SELECT 'assignment.state_machine', 'booking.assignment_state_transition', 'info',
		pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('from', i.from_state, 'to', i.to_state,
			'version', i.version, 'metadata', i.metadata, 'reason', i.reason)),
		b.restaurant_id, b.id
	FROM inserted i JOIN public.bookings b ON b.id = i.booking_id;
	RETURN NULL;
END
$$;

CREATE TRIGGER zzz_peer_validate BEFORE UPDATE ON public.bookings FOR EACH ROW
WHEN (OLD.assignment_state IS DISTINCT FROM NEW.assignment_state
	OR OLD.assignment_state_version IS DISTINCT FROM NEW.assignment_state_version)
EXECUTE FUNCTION peer.validate();

CREATE TRIGGER zzz_peer_record AFTER UPDATE ON public.bookings FOR EACH ROW
WHEN (OLD.assignment_state IS DISTINCT FROM NEW.assignment_state)
EXECUTE FUNCTION peer.record();

CREATE TRIGGER zzz_peer_events AFTER INSERT ON public.booking_assignment_state_history
REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT
EXECUTE FUNCTION peer.record_events();

-- transition(): moves a booking one step.
CREATE FUNCTION peer.transition(b public.bookings, target public.booking_assignment_state,
	new_status text DEFAULT NULL, strategy text DEFAULT NULL)
RETURNS public.bookings
LANGUAGE plpgsql
AS $$
DECLARE
	moved public.bookings;
BEGIN
	UPDATE public.bookings AS u
	SET assignment_state = target, assignment_state_version = b.assignment_state_version + 1,
		status = coalesce(new_status, u.status), assignment_strategy = coalesce(strategy, u.assignment_strategy),
		updated_at = pg_catalog.now()
	WHERE u.id = b.id AND u.assignment_state_version = b.assignment_state_version
	RETURNING u.* INTO moved;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'booking % has changed', b.id USING ERRCODE = '40001';
	END IF;
	RETURN moved;
END
$$;

-- barred(): the tables of the booking's restaurant that a hold or a block bars in its window.
CREATE FUNCTION peer.barred(b public.bookings)
RETURNS SETOF uuid
LANGUAGE sql STABLE
AS $$
SELECT w.table_id FROM public.table_hold_windows w JOIN public.table_holds h ON h.id = w.hold_id
WHERE w.restaurant_id = b.restaurant_id AND w.end_at > b.start_at AND w.start_at < b.end_at
	AND w.expires_at > pg_catalog.now() AND h.status = 'active' AND w.booking_id IS DISTINCT FROM b.id
UNION ALL
SELECT k.table_id FROM assignment_v3.blocks k
WHERE k.restaurant_id = b.restaurant_id AND k.end_at > b.start_at AND k.start_at < b.end_at
$$;

-- free_tables(): the tables of the booking's restaurant that nobody has in its window.
CREATE FUNCTION peer.free_tables(b public.bookings)
RETURNS peer.free_table[]
LANGUAGE plpgsql STABLE
AS $$
BEGIN
	RETURN (
		SELECT pg_catalog.array_agg(ROW(t.id, t.zone_id, t.table_number, t.capacity, t.min_party_size,
			coalesce(t.max_party_size, t.capacity), t.mobility = 'movable')::peer.free_table)
		FROM public.table_inventory t
		WHERE t.restaurant_id = b.restaurant_id AND t.active AND t.status <> 'out_of_service'
			AND NOT EXISTS (SELECT FROM public.booking_table_assignments a
				WHERE a.table_id = t.id AND a.start_at < b.end_at AND a.start_at > b.start_at - interval '1 day'
					AND a.end_at > b.start_at)
			AND t.id NOT IN (SELECT taken FROM peer.barred(b) AS taken));
END
$$;

-- best_merge(): the best two or three adjacent tables that waste less than the given number of covers.
CREATE FUNCTION peer.best_merge(party integer, free peer.free_table[], below integer)
RETURNS uuid[]
LANGUAGE sql STABLE
AS $$
WITH movable AS MATERIALIZED (
	SELECT * FROM pg_catalog.unnest(free) WHERE movable AND min_party <= party AND zone_id IS NOT NULL
), edge AS MATERIALIZED (
	SELECT e.table_a AS a, e.table_b AS b FROM public.table_adjacencies e
	WHERE e.table_a IN (SELECT id FROM movable) AND e.table_b IN (SELECT id FROM movable)
	UNION
	SELECT e.table_b, e.table_a FROM public.table_adjacencies e
	WHERE e.table_a IN (SELECT id FROM movable) AND e.table_b IN (SELECT id FROM movable)
), merge AS (
	SELECT ARRAY[a.id, b.id] AS ids, a.capacity + b.capacity AS seats, a.max_party + b.max_party AS max_party,
		a.number || ',' || b.number AS numbers
	FROM movable a JOIN edge ON edge.a = a.id JOIN movable b ON b.id = edge.b AND b.zone_id = a.zone_id AND b.id > a.id
	UNION ALL
	SELECT ARRAY[a.id, b.id, c.id], a.capacity + b.capacity + c.capacity, a.max_party + b.max_party + c.max_party,
		a.number || ',' || b.number || ',' || c.number
	FROM movable b JOIN edge e ON e.a = b.id JOIN movable a ON a.id = e.b AND a.zone_id = b.zone_id
		JOIN edge f ON f.a = b.id JOIN movable c ON c.id = f.b AND c.zone_id = b.zone_id AND c.id > a.id
)
SELECT ids FROM merge
WHERE seats >= party AND max_party >= party AND seats - party < below
ORDER BY seats - party, pg_catalog.cardinality(ids), pg_catalog.length(numbers), numbers
LIMIT 1
$$;

-- plan(): the tables for a booking, NULL if there are none.
CREATE FUNCTION peer.plan(b public.bookings)
RETURNS uuid[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
	free peer.free_table[] := peer.free_tables(b);
	single record;
	merge uuid[];
BEGIN
	SELECT t.id, t.capacity - b.party_size AS waste INTO single
	FROM pg_catalog.unnest(free) AS t
	WHERE t.min_party <= b.party_size AND b.party_size <= t.capacity AND b.party_size <= t.max_party
	ORDER BY t.capacity, t.movable, pg_catalog.length(t.number), t.number
	LIMIT 1;

	-- where all tables are even, one seat too many is the least there is
	IF single.id IS NULL OR single.waste > 1 OR
		single.waste = 1 AND EXISTS (SELECT FROM pg_catalog.unnest(free) AS t WHERE t.capacity % 2 = 1)
	THEN
		merge := peer.best_merge(b.party_size, free, coalesce(single.waste, 1000));
	END IF;
	RETURN coalesce(merge, CASE WHEN single.id IS NOT NULL THEN ARRAY[single.id] END);
END
$$;

-- take_slot(): one of the restaurant's slots, NULL if all are taken.
CREATE FUNCTION peer.take_slot(restaurant_id uuid, slots integer)
RETURNS integer
LANGUAGE plpgsql
AS $$
BEGIN
	FOR slot IN 1 .. slots LOOP
		IF pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(restaurant_id::text, slot)) THEN
			RETURN slot;
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;

-- seat(): takes the tables of a plan, after a second look under their locks; false if somebody was faster.
CREATE FUNCTION peer.seat(b public.bookings, tables uuid[])
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
	seated integer;
	t uuid;
BEGIN
	PERFORM FROM public.bookings AS u
	WHERE u.id = b.id AND u.assignment_state_version = b.assignment_state_version
	FOR NO KEY UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	FOREACH t IN ARRAY tables LOOP
		IF NOT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(t::text, 0)) THEN
			RETURN false;
		END IF;
	END LOOP;
	INSERT INTO public.booking_table_assignments (booking_id, table_id, start_at, end_at)
	SELECT b.id, t.id, b.start_at, b.end_at
	FROM public.table_inventory t
	WHERE t.id = ANY (tables) AND t.active AND t.status <> 'out_of_service'
		AND t.id NOT IN (SELECT taken FROM peer.barred(b) AS taken)
	ORDER BY t.id
	ON CONFLICT DO NOTHING;
	GET DIAGNOSTICS seated = ROW_COUNT;
	RETURN seated = pg_catalog.cardinality(tables);
END
$$;

-- confirm(): the last two steps, and what is left to tell.
CREATE FUNCTION peer.confirm(b public.bookings, tables uuid[], attempt integer, trigger text, started timestamptz)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	strategy text := 'optimal_fit';
	arrival jsonb := pg_catalog.jsonb_build_object('trigger', trigger, 'strategy', strategy, 'table_ids', tables);
	duration numeric := pg_catalog.round(1000 * extract(epoch FROM pg_catalog.clock_timestamp() - started), 3);
	dedupe_key text;
BEGIN
	INSERT INTO public.booking_assignment_attempts (booking_id, attempt_no, strategy, result, metadata)
	VALUES (b.id, attempt, strategy, 'success', pg_catalog.jsonb_build_object('trigger', trigger, 'version', 1,
		'party_size', b.party_size, 'table_ids', tables, 'duration_ms', duration));
	b := peer.transition(b, 'assigned');
	PERFORM pg_catalog.set_config('peer.metadata', arrival::text, true);
	b := peer.transition(b, 'confirmed', 'confirmed', strategy);
	dedupe_key := b.id || ':' || b.assignment_state_version;
	INSERT INTO public.capacity_outbox (event_type, dedupe_key, restaurant_id, booking_id, idempotency_key, payload)
	VALUES ('booking.assignment_state.confirmed', dedupe_key, b.restaurant_id, b.id,
		'booking.assignment_state.confirmed:' || dedupe_key,
		pg_catalog.jsonb_build_object('bookingId', b.id, 'fromState', 'assigned', 'toState', 'confirmed',
			'version', b.assignment_state_version, 'metadata', arrival))
	ON CONFLICT DO NOTHING;
	DELETE FROM assignment_v3.queue AS q WHERE q.booking_id = b.id;
	UPDATE assignment_v3.circuits AS c SET consecutive_errors = 0, open_until = NULL
	WHERE c.restaurant_id = b.restaurant_id AND c.consecutive_errors > 0;
	PERFORM peer.event('coordinator.confirmed', 'info', b.id, b.restaurant_id, trigger,
		pg_catalog.jsonb_build_object('strategy', strategy, 'table_ids', tables, 'attempts', attempt,
			'duration_ms', duration));
END
$$;

-- give_back(): returns a booking without a table to the queue, or hands it to staff.
CREATE FUNCTION peer.give_back(b public.bookings, attempt integer, reason text, trigger text)
RETURNS peer.decision
LANGUAGE plpgsql
AS $$
DECLARE
	delay_ms integer := least(30000, 1000 * 2 ^ attempt + pg_catalog.random() * 1000);
	given_up boolean := attempt >= 5 OR
		pg_catalog.clock_timestamp() + delay_ms * interval '1 millisecond' > b.start_at - interval '10 minutes';
BEGIN
	INSERT INTO public.booking_assignment_attempts (booking_id, attempt_no, strategy, result, reason, metadata)
	VALUES (b.id, attempt, 'optimal_fit', 'failure', reason, pg_catalog.jsonb_build_object('trigger', trigger));
	PERFORM pg_catalog.set_config('peer.reason', reason, true);
	IF given_up THEN
		b := peer.transition(b, 'manual_review');
		DELETE FROM assignment_v3.queue AS q WHERE q.booking_id = b.id;
		PERFORM peer.event('coordinator.manual_review', 'info', b.id, b.restaurant_id, trigger,
			pg_catalog.jsonb_build_object('reason', reason, 'attempts', attempt));
		RETURN ('manual_review', reason, NULL)::peer.decision;
	END IF;
	b := peer.transition(b, 'assignment_pending');
	UPDATE assignment_v3.queue AS q SET due_at = pg_catalog.clock_timestamp() + delay_ms * interval '1 millisecond'
	WHERE q.booking_id = b.id;
	PERFORM peer.event('coordinator.retry', 'warning', b.id, b.restaurant_id, trigger,
		pg_catalog.jsonb_build_object('reason', reason, 'attempts', attempt, 'delay_ms', delay_ms));
	RETURN ('retry', reason, delay_ms)::peer.decision;
END
$$;

-- decide(): from a locked booking to its outcome.
CREATE FUNCTION peer.decide(b public.bookings, attempt integer, trigger text, started timestamptz)
RETURNS peer.decision
LANGUAGE plpgsql
AS $$
DECLARE
	tables uuid[] := peer.plan(b);
BEGIN
	PERFORM pg_catalog.set_config('peer.metadata', pg_catalog.jsonb_build_object('trigger', trigger)::text, true);
	IF tables IS NOT NULL AND NOT peer.seat(b, tables) THEN
		RAISE EXCEPTION 'tables of booking % are taken', b.id USING ERRCODE = '40001';
	END IF;
	IF b.assignment_state = 'created' THEN
		b := peer.transition(b, 'capacity_verified');
	END IF;
	IF b.assignment_state = 'capacity_verified' THEN
		b := peer.transition(b, 'assignment_pending');
	END IF;
	b := peer.transition(b, 'assignment_in_progress');
	IF tables IS NULL THEN
		RETURN peer.give_back(b, attempt, 'no_capacity', trigger);
	END IF;
	PERFORM peer.confirm(b, tables, attempt, trigger, started);
	RETURN ('confirmed', NULL, NULL)::peer.decision;
END
$$;

-- try(): decide(), started again where another writer was faster; other errors count for the breaker.
CREATE FUNCTION peer.try(b public.bookings, attempt integer, trigger text, started timestamptz)
RETURNS peer.decision
LANGUAGE plpgsql
AS $$
DECLARE
	message text;
BEGIN
	PERFORM pg_catalog.set_config('lock_timeout', '500ms', true);
	FOR i IN 1 .. 3 LOOP
		BEGIN
			RETURN peer.decide(b, attempt, trigger, started);
		EXCEPTION
			WHEN serialization_failure OR exclusion_violation OR unique_violation OR deadlock_detected
				OR lock_not_available THEN
				NULL;
			WHEN OTHERS THEN
				GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
				INSERT INTO assignment_v3.circuits AS c (restaurant_id, consecutive_errors) VALUES (b.restaurant_id, 1)
				ON CONFLICT (restaurant_id) DO UPDATE SET consecutive_errors = c.consecutive_errors + 1,
					open_until = CASE WHEN c.consecutive_errors >= 4
						THEN pg_catalog.clock_timestamp() + interval '15 seconds' END;
				PERFORM peer.event('coordinator.error', 'error', b.id, b.restaurant_id, trigger,
					pg_catalog.jsonb_build_object('message', message));
				RETURN ('retry', 'error', 1000)::peer.decision;
		END;
	END LOOP;
	RETURN ('retry', 'version_conflict', 1000)::peer.decision;
END
$$;

-- is_active(): whether the flags let the pipeline decide for a restaurant.
CREATE FUNCTION peer.is_active(restaurant_id uuid, killed boolean, own_mode text, fleet_mode text, fleet_percent integer)
RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
DECLARE
	bucket integer := pg_catalog.abs(pg_catalog.hashtextextended(restaurant_id::text, 3) % 100);
BEGIN
	IF killed THEN
		RETURN false;
	ELSIF own_mode IS NOT NULL THEN
		RETURN own_mode = 'active';
	ELSIF fleet_mode IS NOT NULL AND bucket < coalesce(fleet_percent, 100) THEN
		RETURN fleet_mode = 'active';
	END IF;
	RETURN coalesce(pg_catalog.current_setting('assignment_v3.enabled', true), 'off')::boolean
		AND bucket < coalesce(nullif(pg_catalog.current_setting('assignment_v3.rollout_percent', true), ''), '100')::integer;
END
$$;

-- process_booking(): one decision on one booking.
CREATE FUNCTION peer.process_booking(booking uuid, trigger text DEFAULT 'manual')
RETURNS peer.decision
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET plan_cache_mode TO force_generic_plan
AS $$
DECLARE
	started timestamptz := pg_catalog.clock_timestamp();
	b public.bookings;
	f record;
	slot integer;
BEGIN
	SELECT * INTO b FROM public.bookings WHERE id = booking;
	IF NOT FOUND THEN
		RETURN ('noop', 'booking_not_found', NULL)::peer.decision;
	END IF;
	SELECT k.singleton AS killed, r.mode AS own_mode, g.mode AS fleet_mode, g.percent,
		coalesce(r.max_parallel, g.max_parallel, 3) AS slots, c.open_until,
		coalesce((SELECT a.attempt_no FROM public.booking_assignment_attempts a WHERE a.booking_id = booking
			ORDER BY a.attempt_no DESC LIMIT 1), 0) AS attempts
	INTO f
	FROM (SELECT) AS one
		LEFT JOIN assignment_v3.kill_switch k ON k.singleton
		LEFT JOIN assignment_v3.rollout r ON r.restaurant_id = b.restaurant_id
		LEFT JOIN assignment_v3.rollout g ON g.restaurant_id IS NULL
		LEFT JOIN assignment_v3.circuits c ON c.restaurant_id = b.restaurant_id;
	IF NOT peer.is_active(b.restaurant_id, f.killed, f.own_mode, f.fleet_mode, f.percent) THEN
		RETURN ('noop', 'pipeline_disabled', NULL)::peer.decision;
	END IF;

	PERFORM peer.event('coordinator.start', 'info', b.id, b.restaurant_id, trigger, '{}');
	IF NOT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(booking::text, 0)) THEN
		PERFORM peer.event('coordinator.lock_contention', 'warning', b.id, b.restaurant_id, trigger, '{}');
		RETURN ('noop', 'lock_contention', NULL)::peer.decision;
	END IF;
	PERFORM peer.event('coordinator.lock_acquired', 'info', b.id, b.restaurant_id, trigger, '{}');
	IF b.assignment_state IN ('confirmed', 'failed', 'manual_review') OR
		b.status NOT IN ('pending', 'pending_allocation') OR b.end_at <= started
	THEN
		PERFORM peer.event('coordinator.noop', 'warning', b.id, b.restaurant_id, trigger, '{"reason": "not_eligible"}');
		RETURN ('noop', 'not_eligible', NULL)::peer.decision;
	END IF;
	IF f.open_until > started THEN
		PERFORM peer.event('coordinator.circuit_open', 'warning', b.id, b.restaurant_id, trigger, '{"circuit_status": "open"}');
		RETURN ('retry', 'circuit_open', 15000)::peer.decision;
	END IF;
	slot := peer.take_slot(b.restaurant_id, f.slots);
	IF slot IS NULL THEN
		RETURN ('retry', 'rate_limited', 2000)::peer.decision;
	END IF;
	PERFORM peer.event('coordinator.rate_permit_acquired', 'info', b.id, b.restaurant_id, trigger,
		pg_catalog.jsonb_build_object('slot', slot));
	RETURN peer.try(b, f.attempts + 1, trigger, started);
END
$$;
