/*-------------------------------------------------------------------------
 *
 * peer_live.sql
 *		How an app like that of live_app.sql confirms a booking by itself:
 *		what process_booking() replaces.
 *
 * Such an app has a background job that plans, puts a hold on the tables it
 * has chosen, confirms the hold by a remote procedure, and reports.  A hold is
 * there for others to see, and an idempotency key for a job that is started
 * again, so each step is a transaction of its own:
 *
 *	create_hold()		the booking is given the key of the job; the temporary table
 *						of candidates, which neither ledger nor another's hold nor
 *						a booking has in the window; the best table or merge; the
 *						hold, with a window for each table
 *	confirm_hold()		a row under the key answers a repeated call; locks on the
 *						hold, the booking and the tables, in this order; the checks
 *						once more, as time has passed; the slot's row, where the
 *						covers of a restaurant at one time are counted; allocations,
 *						assignments, and a temporary table to carry them on; the
 *						booking: confirmed, with zone and slot; the history of
 *						statuses; the row under the key; the messages; the hold goes
 *	summarise()			the event by which the app's dashboards count
 *
 * Why it is fair.  All of it runs in the database, where in the real thing the
 * planning is the application's, after some reads over the wire.  What can be one
 * statement is one: no loops over tables, a single UPDATE of the booking per
 * step.  Every look-up has its index, and OFFSET 0 keeps it there, where a join would
 * scan a GiST index by its second column, for ten times as long.  It plans by the
 * score that process_booking() takes first.  Row-level security does not touch it, as
 * such functions are SECURITY DEFINER.  It writes 11 rows that stay, process_booking()
 * 18: it has no state machine, and one event.  Our triggers are off in its copy.
 *
 *-------------------------------------------------------------------------
 */
\set ON_ERROR_STOP on
\set QUIET on

CREATE SCHEMA legacy;

-- choose(): the best set of tables in the temporary table candidates, NULL if there is none: least waste, then fewest
-- tables, then fewest movable ones.  Merges of two or three neighbours are looked at where they could waste less.
CREATE FUNCTION legacy.choose(party integer)
RETURNS uuid[]
LANGUAGE plpgsql
AS $$
DECLARE
	single record;
	merge record;
BEGIN
	SELECT c.id, c.capacity - party AS waste INTO single
	FROM candidates AS c
	WHERE c.min_party <= party AND party <= c.capacity AND party <= c.max_party
	ORDER BY c.capacity, c.movable, c.table_number
	LIMIT 1;
	-- where all tables are even, one seat too many is the least there is
	IF single.waste <= 1 THEN
		RETURN ARRAY[single.id];
	END IF;
	WITH neighbours AS (
		SELECT table_a AS a, table_b AS b FROM public.table_adjacencies
		WHERE table_a IN (SELECT id FROM candidates) UNION ALL
		SELECT table_b, table_a FROM public.table_adjacencies WHERE table_b IN (SELECT id FROM candidates)
	), pairs AS (
		SELECT x.id AS a, y.id AS b, x.zone_id, x.capacity + y.capacity AS seats, x.max_party + y.max_party AS max_party,
			greatest(x.min_party, y.min_party) AS min_party
		FROM candidates x JOIN neighbours n ON n.a = x.id JOIN candidates y ON y.id = n.b
		WHERE x.movable AND y.movable AND x.zone_id = y.zone_id
	), merges AS (
		SELECT ARRAY[a, b] AS tables, seats, min_party, max_party FROM pairs WHERE a < b
		UNION ALL
		SELECT ARRAY[p.a, p.b, z.id], p.seats + z.capacity, greatest(p.min_party, z.min_party), p.max_party + z.max_party
		FROM pairs p JOIN neighbours n ON n.a = p.b AND n.b <> p.a JOIN candidates z ON z.id = n.b
		WHERE z.movable AND z.zone_id = p.zone_id
	)
	SELECT m.tables, m.seats - party AS waste INTO merge
	FROM merges AS m
	WHERE m.seats >= party AND m.max_party >= party AND m.min_party <= party
	ORDER BY m.seats, cardinality(m.tables)
	LIMIT 1;
	IF single.waste IS NULL OR merge.waste < single.waste THEN
		RETURN merge.tables;
	END IF;
	RETURN ARRAY[single.id];
END;
$$;

-- create_hold(): plans, and holds the tables of the plan; NULL if the booking needs none or there are none.
CREATE FUNCTION legacy.create_hold(p_booking_id uuid)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO pg_catalog, public, pg_temp
AS $$
DECLARE
	b public.bookings;
	hold uuid;
	zone uuid;
	span tstzrange;
	table_ids uuid[];
BEGIN
	UPDATE public.bookings AS u SET auto_assign_idempotency_key = 'auto-' || u.id
	WHERE u.id = p_booking_id AND u.status IN ('pending', 'pending_allocation') AND u.end_at > now()
	RETURNING u.* INTO b;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	span := tstzrange(b.start_at, b.end_at);
	CREATE TEMP TABLE candidates ON COMMIT DROP AS
	SELECT t.id, t.zone_id, t.table_number, t.capacity, t.min_party_size AS min_party,
		coalesce(t.max_party_size, t.capacity) AS max_party, t.mobility = 'movable' AS movable
	FROM public.table_inventory AS t
	WHERE t.restaurant_id = b.restaurant_id AND t.active AND t.status <> 'out_of_service'
		AND NOT EXISTS (SELECT FROM public.booking_table_assignments AS a WHERE a.table_id = t.id
			AND a.start_at < b.end_at AND a.start_at > b.start_at - interval '1 day' AND a.end_at > b.start_at OFFSET 0)
		AND NOT EXISTS (SELECT FROM public.allocations AS l WHERE l.resource_type = 'table' AND l.resource_id = t.id
			AND l."window" && span AND NOT l.shadow OFFSET 0)
		AND NOT EXISTS (SELECT FROM public.table_hold_windows AS w WHERE w.table_id = t.id AND w.start_at < b.end_at
			AND w.end_at > b.start_at AND w.expires_at > now() AND w.booking_id IS DISTINCT FROM b.id OFFSET 0);
	table_ids := legacy.choose(b.party_size);
	IF table_ids IS NULL THEN
		RETURN NULL;
	END IF;
	SELECT c.zone_id INTO zone FROM candidates AS c WHERE c.id = table_ids[1];
	INSERT INTO public.table_holds (restaurant_id, booking_id, zone_id, start_at, end_at, expires_at, metadata)
	VALUES (b.restaurant_id, b.id, zone, b.start_at, b.end_at, now() + interval '3 minutes',
		jsonb_build_object('selection', table_ids))
	RETURNING id INTO hold;
	INSERT INTO public.table_hold_windows (hold_id, table_id, restaurant_id, booking_id, start_at, end_at, expires_at)
	SELECT hold, t, b.restaurant_id, b.id, b.start_at, b.end_at, now() + interval '3 minutes'
	FROM unnest(table_ids) AS t;
	RETURN hold;
END;
$$;

-- check_hold(): locks what a confirmation touches, and looks again whether the held tables may be taken.
CREATE FUNCTION legacy.check_hold(h public.table_holds, table_ids uuid[])
RETURNS public.bookings
LANGUAGE plpgsql
AS $$
DECLARE
	b public.bookings;
	seats integer;
BEGIN
	SELECT * INTO b FROM public.bookings WHERE id = h.booking_id FOR UPDATE;
	IF NOT FOUND OR b.status NOT IN ('pending', 'pending_allocation') OR (b.start_at, b.end_at) <> (h.start_at, h.end_at) THEN
		RAISE EXCEPTION 'booking % has changed', h.booking_id USING ERRCODE = 'P0001';
	END IF;
	SELECT sum(t.capacity) INTO seats
	FROM (SELECT i.capacity FROM public.table_inventory AS i
		WHERE i.id = ANY (table_ids) AND i.active AND i.status <> 'out_of_service' ORDER BY i.id FOR UPDATE) AS t;
	PERFORM FROM unnest(table_ids) AS t (id)
	WHERE EXISTS (SELECT FROM public.table_hold_windows AS w WHERE w.table_id = t.id AND w.hold_id <> h.id
			AND w.start_at < h.end_at AND w.end_at > h.start_at AND w.expires_at > now()
			AND w.booking_id IS DISTINCT FROM h.booking_id OFFSET 0)
		OR EXISTS (SELECT FROM public.booking_table_assignments AS a WHERE a.table_id = t.id AND a.start_at < h.end_at
			AND a.start_at > h.start_at - interval '1 day' AND a.end_at > h.start_at OFFSET 0)
		OR EXISTS (SELECT FROM public.allocations AS l WHERE l.resource_type = 'table' AND l.resource_id = t.id
			AND l."window" && tstzrange(h.start_at, h.end_at) AND NOT l.shadow OFFSET 0);
	IF FOUND OR seats IS NULL OR seats < b.party_size THEN
		RAISE EXCEPTION 'hold conflict for booking %', b.id USING ERRCODE = 'P0001';
	END IF;
	RETURN b;
END;
$$;

-- confirm_hold(): seats the booking of a hold at the held tables.
CREATE FUNCTION legacy.confirm_hold(p_hold_id uuid, OUT outcome text, OUT table_ids uuid[])
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO pg_catalog, public, pg_temp
AS $$
DECLARE
	h public.table_holds;
	b public.bookings;
	slot uuid;
	key text;
BEGIN
	SELECT * INTO h FROM public.table_holds WHERE id = p_hold_id AND expires_at > now() FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'hold % is gone', p_hold_id USING ERRCODE = 'P0002';
	END IF;
	key := 'auto-' || h.booking_id;
	SELECT i.table_ids INTO table_ids FROM public.booking_assignment_idempotency AS i
	WHERE i.booking_id = h.booking_id AND i.idempotency_key = key;
	IF FOUND THEN
		outcome := 'confirmed';
		RETURN;
	END IF;
	SELECT array_agg(w.table_id ORDER BY w.table_id) INTO table_ids
	FROM public.table_hold_windows AS w WHERE w.hold_id = h.id;
	b := legacy.check_hold(h, table_ids);

	INSERT INTO public.booking_slots (restaurant_id, slot_date, slot_time)
	VALUES (b.restaurant_id, b.booking_date, b.start_time)
	ON CONFLICT (restaurant_id, slot_date, slot_time) DO NOTHING;
	UPDATE public.booking_slots AS s
	SET reserved_count = s.reserved_count + b.party_size, version = s.version + 1, updated_at = now()
	WHERE s.restaurant_id = b.restaurant_id AND s.slot_date = b.booking_date AND s.slot_time = b.start_time
		AND s.available_capacity - s.reserved_count >= b.party_size
	RETURNING s.id INTO slot;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no covers left for booking %', b.id USING ERRCODE = 'P0003';
	END IF;

	CREATE TEMP TABLE confirmed_tables ON COMMIT DROP AS
	SELECT t AS table_id, gen_random_uuid() AS allocation_id FROM unnest(table_ids) AS t ORDER BY t;
	INSERT INTO public.allocations (id, booking_id, restaurant_id, resource_type, resource_id, "window")
	SELECT c.allocation_id, b.id, b.restaurant_id, 'table', c.table_id, tstzrange(b.start_at, b.end_at)
	FROM confirmed_tables AS c;
	INSERT INTO public.booking_table_assignments (booking_id, table_id, slot_id, start_at, end_at, idempotency_key, allocation_id)
	SELECT b.id, c.table_id, slot, b.start_at, b.end_at, key, c.allocation_id
	FROM confirmed_tables AS c;

	UPDATE public.bookings AS u
	SET status = 'confirmed', assigned_zone_id = h.zone_id, slot_id = slot
	WHERE u.id = b.id;
	INSERT INTO public.booking_state_history (booking_id, from_status, to_status, reason)
	VALUES (b.id, b.status, 'confirmed', 'auto_assign');
	INSERT INTO public.booking_assignment_idempotency (booking_id, idempotency_key, table_ids, assignment_window, table_set_hash)
	VALUES (b.id, key, table_ids, tstzrange(b.start_at, b.end_at), md5(array_to_string(table_ids, ',')));
	INSERT INTO public.capacity_outbox (event_type, dedupe_key, restaurant_id, booking_id, idempotency_key, payload)
	SELECT m.event_type, b.id || ':' || array_to_string(table_ids, ','), b.restaurant_id, b.id, key,
		jsonb_build_object('bookingId', b.id, 'restaurantId', b.restaurant_id, 'tableIds', table_ids, 'startAt', b.start_at,
			'endAt', b.end_at, 'holdId', h.id)
	FROM (VALUES ('capacity.assignment.sync'), ('capacity.hold.confirmed')) AS m (event_type)
	ON CONFLICT DO NOTHING;
	DELETE FROM public.table_holds WHERE id = h.id;
	outcome := 'confirmed';
END;
$$;

-- summarise(): the event of the job's end.
CREATE FUNCTION legacy.summarise(p_booking_id uuid, p_result text)
RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path TO pg_catalog, public, pg_temp
AS $$
INSERT INTO public.observability_events (source, event_type, context, restaurant_id, booking_id)
SELECT 'auto_assign', 'auto_assign.summary', jsonb_build_object('result', p_result, 'attempts', 1), b.restaurant_id, b.id
FROM public.bookings AS b WHERE b.id = p_booking_id;
$$;
