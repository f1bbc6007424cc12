-- Two restaurants with their tables in a freshly attached database, and the words in which tests speak of them.
--
-- Restaurant 1, zone 1: tables 1 and 2 (2 seats), 3 (4), 4 (4, fixed), 5 (6), 6 (8, for parties from 5).
--               zone 2: tables 7 (2), 8 (4), 9 (4, out of service), 10 (4, inactive).
-- Neighbours are 1-2, 2-3, 3-4, 3-5 and 7-8.
-- Restaurant 2, zone 3: tables 21 and 22 (4).
--
-- Bookings are for hours of 1 June 2099, which no test lives to see.  attach_arguments is what attach() is called with.
\if :{?attach_arguments}
\else
\set attach_arguments
\endif
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
SELECT FROM assignment_v3.attach(:attach_arguments) LIMIT 1 \g /dev/null

-- restaurants, zones, tables and bookings by number: id('b', 7) is booking 7
CREATE FUNCTION test.id(kind text, n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
	$$SELECT (kind || '0000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE FUNCTION test.ids(kind text, VARIADIC n int[]) RETURNS uuid[] LANGUAGE sql IMMUTABLE AS
	$$SELECT array_agg(test.id(kind, x) ORDER BY o) FROM unnest(n) WITH ORDINALITY AS u (x, o)$$;
CREATE FUNCTION test.hour(n numeric) RETURNS timestamptz LANGUAGE sql STABLE AS
	$$SELECT '2099-06-01 00:00+00'::timestamptz + n * interval '1 hour'$$;

INSERT INTO restaurants (id, name) SELECT test.id('a', n), 'Restaurant ' || n FROM generate_series(1, 2) AS n;
INSERT INTO zones (id, restaurant_id, name)
SELECT test.id('c', n), test.id('a', r), 'Zone ' || n FROM (VALUES (1, 1), (2, 1), (3, 2)) AS z (n, r);
INSERT INTO table_inventory (id, restaurant_id, zone_id, table_number, capacity, min_party_size, status, mobility, active)
SELECT test.id('d', n), test.id('a', CASE z WHEN 3 THEN 2 ELSE 1 END), test.id('c', z), n, seats,
	CASE n WHEN 6 THEN 5 ELSE 1 END, CASE n WHEN 9 THEN 'out_of_service' ELSE 'available' END,
	CASE n WHEN 4 THEN 'fixed' ELSE 'movable' END, n <> 10
FROM (VALUES (1, 1, 2), (2, 1, 2), (3, 1, 4), (4, 1, 4), (5, 1, 6), (6, 1, 8), (7, 2, 2), (8, 2, 4), (9, 2, 4), (10, 2, 4),
	(21, 3, 4), (22, 3, 4)) AS t (n, z, seats);
-- whose they are has to be said where the schema is laid out by restaurant
SELECT count(*) = 1 AS by_restaurant FROM pg_attribute WHERE attrelid = 'table_adjacencies'::regclass AND attname = 'restaurant_id' \gset
\if :by_restaurant
ALTER TABLE table_adjacencies ALTER restaurant_id SET DEFAULT test.id('a', 1);
\endif
INSERT INTO table_adjacencies (table_a, table_b)
SELECT test.id('d', a), test.id('d', b) FROM (VALUES (1, 2), (2, 3), (3, 4), (3, 5), (7, 8)) AS n (a, b);

-- a booking as the app makes it
CREATE FUNCTION test.book(n int, party int DEFAULT 2, from_hour numeric DEFAULT 18, to_hour numeric DEFAULT 20,
	restaurant int DEFAULT 1, status text DEFAULT 'pending')
RETURNS int LANGUAGE sql AS $$
	INSERT INTO public.bookings (id, restaurant_id, party_size, start_at, end_at, status)
	VALUES (test.id('b', n), test.id('a', restaurant), party, test.hour(from_hour), test.hour(to_hour), status)
	RETURNING book.n
$$;

-- tables that another writer gives to a booking
CREATE FUNCTION test.seat(n int, VARIADIC tables int[]) RETURNS int[] LANGUAGE sql AS $$
	INSERT INTO public.booking_table_assignments (booking_id, table_id, start_at, end_at)
	SELECT b.id, test.id('d', t.n), b.start_at, b.end_at
	FROM public.bookings AS b, unnest(tables) AS t (n)
	WHERE b.id = test.id('b', seat.n);
	SELECT tables
$$;

-- a booking confirmed at some tables by staff
CREATE FUNCTION test.confirm(n int, VARIADIC tables int[]) RETURNS text LANGUAGE plpgsql AS
	$$BEGIN RETURN assignment_v3.assign(test.id('b', n), test.ids('d', VARIADIC tables)); END$$;

-- what there is to see of a booking
CREATE FUNCTION test.bookings(VARIADIC numbers int[])
RETURNS TABLE (n int, state text, version int, status text, party int, tables text, queued boolean)
LANGUAGE sql STABLE AS $$
	SELECT u.n, b.assignment_state::text, b.assignment_state_version, b.status, b.party_size,
		(SELECT string_agg(t.table_number || CASE WHEN (a.start_at, a.end_at) <> (b.start_at, b.end_at) THEN ' at other times' ELSE '' END,
			', ' ORDER BY t.id)
		 FROM public.booking_table_assignments AS a JOIN public.table_inventory AS t ON t.id = a.table_id
		 WHERE a.booking_id = b.id),
		EXISTS (SELECT FROM assignment_v3.queue AS q WHERE q.booking_id = b.id AND q.restaurant_id = b.restaurant_id)
	FROM unnest(numbers) WITH ORDINALITY AS u (n, o)
	LEFT JOIN public.bookings AS b ON b.id = test.id('b', u.n)
	ORDER BY u.o
$$;
CREATE FUNCTION test.trail(n int)
RETURNS TABLE (version int, from_state text, to_state text, reason text, metadata jsonb)
LANGUAGE sql STABLE AS $$
	SELECT h.version, h.from_state::text, h.to_state::text, h.reason, h.metadata
	FROM public.booking_assignment_state_history AS h WHERE h.booking_id = test.id('b', n) ORDER BY h.version
$$;
CREATE FUNCTION test.events(n int)
RETURNS TABLE (event_type text, severity text, context jsonb)
LANGUAGE sql STABLE AS $$
	SELECT e.event_type, e.severity, e.context
	FROM public.observability_events AS e
	WHERE e.booking_id = test.id('b', n) AND e.restaurant_id IS NOT NULL AND e.source = 'assignment.state_machine'
	ORDER BY (e.context ->> 'version')::int
$$;
CREATE FUNCTION test.messages(n int)
RETURNS TABLE (event_type text, dedupe_key text, payload jsonb)
LANGUAGE sql STABLE AS $$
	SELECT o.event_type, o.dedupe_key, o.payload
	FROM public.capacity_outbox AS o WHERE o.booking_id = test.id('b', n) ORDER BY (o.payload ->> 'version')::int
$$;

-- Whatever has happened: the version is 1 + the number of history rows, each transition has its event and a change of
-- facts has none, and verify() finds nothing.  No row means sound.
CREATE FUNCTION test.unsound()
RETURNS TABLE (rule text, booking_id uuid, detail text)
LANGUAGE sql STABLE AS $$
	SELECT * FROM assignment_v3.verify()
	UNION ALL
	SELECT 'miscounted', b.id, format('Version %s with %s history rows.', b.assignment_state_version, h.rows)
	FROM public.bookings AS b
	CROSS JOIN LATERAL (SELECT count(*) AS rows FROM public.booking_assignment_state_history AS x WHERE x.booking_id = b.id) AS h
	WHERE b.assignment_state_version <> 1 + h.rows
	UNION ALL
	SELECT 'events', b.id, format('%s events for %s steps.', e.events, h.steps)
	FROM public.bookings AS b
	CROSS JOIN LATERAL (SELECT count(*) AS steps FROM public.booking_assignment_state_history AS x
		WHERE x.booking_id = b.id AND x.from_state <> x.to_state) AS h
	CROSS JOIN LATERAL (SELECT count(*) AS events FROM public.observability_events AS x
		WHERE x.booking_id = b.id AND x.source = 'assignment.state_machine') AS e
	WHERE e.events <> h.steps
$$;
