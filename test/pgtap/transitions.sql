-- Of the 64 pairs of states only the published ones may be taken, each through its own door: transition() and a plain
-- UPDATE take the automatic edges and no other, requeue(), reopen() and assign() the operator's.  A step that is refused
-- leaves nothing behind; one that is taken moves the version by one per hop and leaves a history row and an event for each,
-- and a message where somebody outside waits for the arrival.  An edge that slips into one door, or out of it, would break
-- "nothing can be stuck" or history's claim to tell every state; so each door is tried from each state.
SET client_min_messages TO warning;
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
SELECT plan(179);
SELECT isnt_empty('SELECT * FROM assignment_v3.attach()', 'attached');

-- The published state machine, written down a second time.
CREATE TEMPORARY TABLE states (n serial, state text);
INSERT INTO pg_temp.states (state) VALUES ('created'), ('capacity_verified'), ('assignment_pending'),
	('assignment_in_progress'), ('assigned'), ('confirmed'), ('failed'), ('manual_review');
CREATE TEMPORARY TABLE edges (from_state text, to_state text, kind text);
INSERT INTO pg_temp.edges VALUES
	('created', 'capacity_verified', 'automatic'),
	('created', 'failed', 'automatic'),
	('capacity_verified', 'assignment_pending', 'automatic'),
	('capacity_verified', 'failed', 'automatic'),
	('assignment_pending', 'assignment_in_progress', 'automatic'),
	('assignment_pending', 'manual_review', 'automatic'),
	('assignment_pending', 'failed', 'automatic'),
	('assignment_in_progress', 'assigned', 'automatic'),
	('assignment_in_progress', 'assignment_pending', 'automatic'),
	('assignment_in_progress', 'manual_review', 'automatic'),
	('assignment_in_progress', 'failed', 'automatic'),
	('assigned', 'confirmed', 'automatic'),
	('assigned', 'assignment_pending', 'automatic'),
	('assigned', 'manual_review', 'automatic'),
	('manual_review', 'assignment_pending', 'operator'),
	('failed', 'assignment_pending', 'operator'),
	('confirmed', 'assignment_pending', 'operator'),
	('assigned', 'confirmed', 'operator'),
	('confirmed', 'assignment_pending', 'external');
INSERT INTO pg_temp.edges
SELECT state, 'assigned', 'operator' FROM pg_temp.states WHERE state <> 'assigned';
INSERT INTO pg_temp.edges
SELECT state, 'confirmed', 'external' FROM pg_temp.states WHERE state <> 'confirmed';

INSERT INTO restaurants (id, name) VALUES ('a0000000-0000-0000-0000-000000000001', 'One');
INSERT INTO table_inventory (id, restaurant_id, table_number, capacity)
VALUES ('d0000000-0000-0000-0000-000000000001', 'a0000000-0000-0000-0000-000000000001', '1', 4);

-- booking_in(): a booking in a state, with the one table to itself; it takes it where the state says so.
CREATE SEQUENCE pg_temp.bookings_made;
CREATE FUNCTION pg_temp.booking_in(state text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
	n bigint := nextval('pg_temp.bookings_made');
	booking uuid := ('b0000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid;
	route text[] := CASE state
		WHEN 'created' THEN '{}'
		WHEN 'failed' THEN '{failed}'
		WHEN 'manual_review' THEN '{capacity_verified, assignment_pending, manual_review}'
		ELSE (ARRAY['capacity_verified', 'assignment_pending', 'assignment_in_progress', 'assigned', 'confirmed'])
			[:array_position(ARRAY['capacity_verified', 'assignment_pending', 'assignment_in_progress', 'assigned', 'confirmed'], state)]
	END;
	hop text;
BEGIN
	INSERT INTO public.bookings (id, restaurant_id, party_size, start_at, end_at)
	SELECT booking, 'a0000000-0000-0000-0000-000000000001', 2, d + n * interval '2 hours', d + (n + 1) * interval '2 hours'
	FROM (VALUES (date_trunc('day', now()) + interval '30 days')) AS day (d);
	IF state IN ('assigned', 'confirmed') THEN
		INSERT INTO public.booking_table_assignments (booking_id, table_id, start_at, end_at)
		SELECT id, 'd0000000-0000-0000-0000-000000000001', start_at, end_at FROM public.bookings WHERE id = booking;
	END IF;
	FOREACH hop IN ARRAY route LOOP
		PERFORM assignment_v3.transition(booking, hop);
	END LOOP;
	RETURN booking;
END;
$$;

-- trail(): all that is kept of a booking, for comparison.
CREATE FUNCTION pg_temp.trail(booking uuid) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT concat_ws(' ', b.*,
		(SELECT string_agg(h::text, ' ' ORDER BY h.version) FROM public.booking_assignment_state_history h WHERE h.booking_id = booking),
		(SELECT count(*) FROM public.observability_events e WHERE e.booking_id = booking),
		(SELECT count(*) FROM public.capacity_outbox o WHERE o.booking_id = booking),
		(SELECT count(*) FROM public.booking_table_assignments a WHERE a.booking_id = booking))
	FROM public.bookings b WHERE b.id = booking
$$;

-- attempt(): runs a statement on a booking in a state, and tells in words what came of it.
CREATE FUNCTION pg_temp.attempt(origin text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	booking uuid := pg_temp.booking_in(origin);
	before text := pg_temp.trail(booking);
	first int := (SELECT assignment_state_version FROM public.bookings WHERE id = booking);
	events int := (SELECT count(*) FROM public.observability_events WHERE booking_id = booking);
	messages int := (SELECT count(*) FROM public.capacity_outbox WHERE booking_id = booking);
	b public.bookings;
BEGIN
	BEGIN
		EXECUTE replace(statement, '$1', quote_literal(booking));
	EXCEPTION WHEN SQLSTATE 'PT422' THEN
		RETURN CASE WHEN pg_temp.trail(booking) = before THEN 'refused' ELSE 'refused, but left something behind' END;
	END;
	SELECT * INTO b FROM public.bookings WHERE id = booking;
	RETURN format('%s by %s', (
		SELECT string_agg(h.to_state::text, ', ' ORDER BY h.version)
		FROM public.booking_assignment_state_history h WHERE h.booking_id = booking AND h.version > first),
		b.assignment_state_version - first)
		|| CASE WHEN (SELECT count(*) FROM public.observability_events WHERE booking_id = booking
				AND event_type = 'booking.assignment_state_transition') - events
			= b.assignment_state_version - first THEN '' ELSE ', but not with one event for each' END
		|| CASE WHEN (SELECT count(*) FROM public.capacity_outbox WHERE booking_id = booking) > messages THEN ', told' ELSE '' END
		|| CASE WHEN (SELECT h.to_state FROM public.booking_assignment_state_history h WHERE h.booking_id = booking
				ORDER BY h.version DESC LIMIT 1) = b.assignment_state OR b.assignment_state_version = 1
			THEN '' ELSE ', but the state is another' END;
END;
$$;
CREATE FUNCTION pg_temp.told(state text) RETURNS text LANGUAGE sql AS
	$$SELECT CASE WHEN state IN ('confirmed', 'failed', 'manual_review') THEN ', told' ELSE '' END$$;

-- ---------------------------------------------------------------------
-- What is published
-- ---------------------------------------------------------------------
SELECT set_eq('SELECT * FROM assignment_v3.transitions()', 'SELECT * FROM pg_temp.edges', 'transitions() lists every edge');
SELECT set_eq('SELECT s.state, a.* FROM pg_temp.states s, assignment_v3.allowed_transitions(s.state) a',
	'SELECT * FROM pg_temp.edges', 'allowed_transitions() lists those of each state');
SELECT is_empty('SELECT * FROM assignment_v3.allowed_transitions(NULL)', '... and none of no state');
SELECT throws_ok($$SELECT * FROM assignment_v3.allowed_transitions('seated')$$, 'PT422', '"seated" is not an assignment state',
	'... and knows no other');
SELECT is_empty($$
	SELECT f, e.* FROM pg_temp.edges e, unnest(ARRAY['mermaid', 'dot']) f
	WHERE assignment_v3.state_diagram(f) !~ format('\m%s -+> %s\M', e.from_state, e.to_state)$$, 'both diagrams draw every edge');
SELECT throws_ok($$SELECT assignment_v3.state_diagram('png')$$, 'PT422', 'unknown diagram format "png"', '... and there are no others');

-- ---------------------------------------------------------------------
-- The 64 pairs
-- ---------------------------------------------------------------------
SELECT is(pg_temp.attempt(f.state, format('SELECT assignment_v3.transition($1, %L)', t.state)),
	CASE WHEN e.kind IS NULL THEN 'refused' ELSE t.state || ' by 1' || pg_temp.told(t.state) END,
	format('transition() from %s to %s', f.state, t.state))
FROM pg_temp.states f CROSS JOIN pg_temp.states t
LEFT JOIN pg_temp.edges e ON e.from_state = f.state AND e.to_state = t.state AND e.kind = 'automatic'
ORDER BY f.n, t.n;

-- a plain UPDATE meets the same validator; whoever takes a step with it tells the guest by himself
SELECT is(pg_temp.attempt(f.state, format('UPDATE public.bookings SET assignment_state = %L WHERE id = $1', t.state)),
	CASE WHEN f.state = t.state THEN ' by 0' WHEN e.kind IS NULL THEN 'refused' ELSE t.state || ' by 1' END,
	format('UPDATE from %s to %s', f.state, t.state))
FROM pg_temp.states f CROSS JOIN pg_temp.states t
LEFT JOIN pg_temp.edges e ON e.from_state = f.state AND e.to_state = t.state AND e.kind = 'automatic'
ORDER BY f.n, t.n;

-- ---------------------------------------------------------------------
-- The operator's doors
-- ---------------------------------------------------------------------
SELECT is(pg_temp.attempt(state, 'SELECT assignment_v3.requeue($1)'),
	CASE WHEN state IN ('failed', 'manual_review') THEN 'assignment_pending by 1' ELSE 'refused' END, 'requeue() from ' || state)
FROM pg_temp.states ORDER BY n;
SELECT is(pg_temp.attempt(state, 'SELECT assignment_v3.reopen($1)'),
	CASE WHEN state = 'confirmed' THEN 'assignment_pending by 1' ELSE 'refused' END, 'reopen() from ' || state)
FROM pg_temp.states ORDER BY n;
SELECT is(pg_temp.attempt(state, $$SELECT assignment_v3.assign($1, ARRAY['d0000000-0000-0000-0000-000000000001']::uuid[])$$),
	CASE WHEN state = 'assigned' THEN 'confirmed by 1, told' ELSE 'assigned, confirmed by 2, told' END, 'assign() from ' || state)
FROM pg_temp.states ORDER BY n;

-- ---------------------------------------------------------------------
-- What transition() says and takes
-- ---------------------------------------------------------------------
SELECT pg_temp.booking_in('assignment_pending') AS pending \gset
SELECT pg_temp.booking_in('confirmed') AS confirmed \gset
CREATE FUNCTION pg_temp.says(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text; hint text;
BEGIN
	EXECUTE statement;
	RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', state, message, NULLIF(detail, ''), NULLIF(hint, ''));
END;
$$;
SELECT is(pg_temp.says(format('SELECT assignment_v3.transition(%L, ''confirmed'')', :'pending')),
	format('PT422 | booking %s cannot go from "assignment_pending" to "confirmed" | '
		'Version 3 allows: assignment_in_progress, failed, manual_review. | '
		'SELECT * FROM assignment_v3.transitions() lists every legal step.', :'pending'), 'a refusal names the legal steps');
SELECT matches(pg_temp.says(format('SELECT assignment_v3.transition(%L, ''failed'')', :'confirmed')),
	'Version 6 allows: none. \| Use assignment_v3.reopen\(\)', '... or the way out of a terminal state');
SELECT matches(pg_temp.says(format('SELECT assignment_v3.transition(%L, ''seated'')', :'pending')),
	'^PT422 \| "seated" is not an assignment state \| Valid states are: created, .*, manual_review\.$', 'a state that is none');
SELECT matches(pg_temp.says(format('SELECT assignment_v3.transition(%L, NULL)', :'pending')), '^PT422 ', 'no state');
SELECT matches(pg_temp.says('SELECT assignment_v3.transition(NULL, ''failed'')'), '^PT422 ', 'no booking');
SELECT matches(pg_temp.says('SELECT assignment_v3.transition(''00000000-0000-0000-0000-000000000000'', ''failed'')'),
	'^PT404 \| booking 00000000-0000-0000-0000-000000000000 does not exist', 'an unknown booking');
SELECT matches(pg_temp.says(format('SELECT assignment_v3.transition(%L, ''failed'', 2)', :'pending')),
	'^PT409 \| .* has changed \| Its version is 3, expected was 2\.', 'a stale version');
SELECT matches(pg_temp.says(format('SELECT assignment_v3.transition(%L, ''failed'', 4)', :'pending')), '^PT409 ', '... or one from the future');
SELECT matches(pg_temp.says(format('SELECT assignment_v3.transition(%L, ''failed'', metadata => ''[1]'')', :'pending')),
	'^PT422 \| metadata must be a JSON object', 'metadata that is no object');
SELECT row_eq(format($$SELECT * FROM assignment_v3.transition(%L, 'assignment_in_progress', 3, 'by hand', '{"why": "test"}',
	'e0000000-0000-0000-0000-000000000001')$$, :'pending'),
	ROW('assignment_pending'::text, 'assignment_in_progress'::text, 4), 'the fresh version is accepted, and the step returned');
SELECT results_eq(format($$
	SELECT from_state::text, to_state::text, reason, metadata ->> 'why', actor_id FROM booking_assignment_state_history
	WHERE booking_id = %L AND version = 4$$, :'pending'),
	$$VALUES ('assignment_pending', 'assignment_in_progress', 'by hand', 'test', 'e0000000-0000-0000-0000-000000000001'::uuid)$$,
	'... with reason, metadata and actor');
SELECT results_eq(format($$
	SELECT source, context ->> 'from', context ->> 'to', context ->> 'version', context ->> 'reason', context #>> '{metadata,why}',
		restaurant_id FROM observability_events WHERE booking_id = %L ORDER BY (context ->> 'version')::int DESC NULLS LAST LIMIT 1$$, :'pending'),
	$$VALUES ('assignment.state_machine', 'assignment_pending', 'assignment_in_progress', '4', 'by hand', 'test',
		'a0000000-0000-0000-0000-000000000001'::uuid)$$, '... in its event too');
SET request.jwt.claims TO '{"role": "authenticated", "sub": "e0000000-0000-0000-0000-000000000002"}';
SELECT isnt_empty(format($$SELECT assignment_v3.transition(%L, 'manual_review')$$, :'pending'), 'a request with a JWT');
SELECT is((SELECT actor_id FROM booking_assignment_state_history WHERE booking_id = :'pending' AND version = 5),
	'e0000000-0000-0000-0000-000000000002'::uuid, '... acts for its subject');
RESET request.jwt.claims;
SELECT is((SELECT payload - 'metadata' FROM capacity_outbox WHERE booking_id = :'pending'),
	jsonb_build_object('bookingId', :'pending', 'fromState', 'assignment_in_progress', 'toState', 'manual_review', 'version', 5),
	'the message tells the arrival');
SELECT is_empty($$
	SELECT b.id FROM bookings b WHERE b.assignment_state_version <>
		1 + (SELECT count(*) FROM booking_assignment_state_history h WHERE h.booking_id = b.id)$$,
	'version = 1 + the number of history rows, for each of them');
SELECT is_empty('SELECT * FROM assignment_v3.verify()', 'and verify() finds nothing');

-- nobody is told that he has a table who has none
SELECT pg_temp.booking_in('assigned') AS assigned \gset
DELETE FROM booking_table_assignments WHERE booking_id = :'assigned';
SELECT matches(pg_temp.says(format('SELECT assignment_v3.transition(%L, ''confirmed'')', :'assigned')),
	'^PT422 \| booking .* cannot be confirmed without tables that fit it \| Use assignment_v3\.assign\(\)', 'no tables, no confirmation');
SELECT matches(pg_temp.says(format('UPDATE bookings SET assignment_state = ''confirmed'' WHERE id = %L', :'assigned')),
	'^PT422 \| booking .* cannot be confirmed without tables', '... by a plain UPDATE neither');
SELECT is((SELECT status FROM bookings WHERE id = :'assigned'), 'pending', '... and the guest still waits');
SELECT * FROM finish();
