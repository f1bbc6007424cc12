-- transition() must refuse a stale version, an unknown booking and every argument that makes no sense with a code that
-- the caller can act on, and write nothing; and it must know who acts from the request's JWT without ever failing
-- on one.  It could fail because a NULL slips past a check, because a claim is parsed loosely, or because a refusal comes
-- after the first row has been written.
\set database transition_refuses
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
SELECT count(test.book(n, 2, 18 + 24 * n, 20 + 24 * n)) AS bookings FROM generate_series(1, 4) AS n;

-- the version is checked before the edge: who is out of date needs to know that first
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 1), 'capacity_verified', 2)$$);
SELECT * FROM assignment_v3.transition(test.id('b', 1), 'capacity_verified', 1);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 1), 'capacity_verified', 1)$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 1), 'assignment_pending', 0)$$);
SELECT * FROM assignment_v3.transition(test.id('b', 1), 'assignment_pending', 2);
SELECT * FROM assignment_v3.transition(test.id('b', 1), 'assignment_in_progress', NULL, NULL, NULL, NULL);

-- no such booking, no such state, no such thing
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 99), 'failed')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(NULL, 'failed')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 1), NULL)$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 1), 'seated')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 1), 'Failed')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 1), '')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 1), 'failed', metadata => '[1]')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 1), 'failed', metadata => '"mine"')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 1), 'failed', metadata => 'null')$$);
-- words of the pipeline's own in the metadata would be taken for its own
SELECT key, r AS refusal FROM unnest('{external,forced,moved,reopened,shadow,trigger}'::text[]) AS key,
	test.refusal(format('SELECT assignment_v3.transition(%L, ''failed'', metadata => %L)', test.id('b', 1), jsonb_build_object('x', 1, key, true))) AS r;

-- the other doors
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 2), 'confirmed')$$);
SELECT assignment_v3.transition(test.id('b', 2), 'failed');
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 2), 'assignment_pending')$$);
SELECT test.confirm(3, 1);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 3), 'assignment_pending')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 3), 'confirmed')$$);
-- confirmed is a promise: it needs tables, in the booking's time and with seats enough
SELECT test.book(5, 4, 1, 3);
SELECT count(assignment_v3.transition(test.id('b', 5), s)) AS steps
FROM unnest('{capacity_verified,assignment_pending,assignment_in_progress,assigned}'::text[]) AS s;
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 5), 'confirmed')$$);
SELECT test.seat(5, 1);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 5), 'confirmed')$$);
SELECT test.seat(5, 3);
UPDATE booking_table_assignments SET end_at = test.hour(4) WHERE booking_id = test.id('b', 5);
SELECT * FROM test.refusal($$SELECT assignment_v3.transition(test.id('b', 5), 'confirmed')$$);
UPDATE booking_table_assignments SET end_at = test.hour(3) WHERE booking_id = test.id('b', 5);
SELECT * FROM assignment_v3.transition(test.id('b', 5), 'confirmed', 5);
SELECT * FROM test.bookings(5);
SELECT event_type, dedupe_key FROM test.messages(5);

-- read-only
BEGIN READ ONLY;
SELECT * FROM assignment_v3.transition(test.id('b', 1), 'failed');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- none of this left a trace
SELECT * FROM test.bookings(1, 2, 3, 4);
SELECT * FROM test.trail(1);
SELECT * FROM test.unsound();

-- Who acts: as given, or else the subject of the JWT.  Claims in any other form are nobody.
CREATE FUNCTION test.actor(claims text, given uuid DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
	to_state text := CASE (SELECT state FROM test.bookings(4)) WHEN 'assignment_pending' THEN 'assignment_in_progress'
		WHEN 'created' THEN 'capacity_verified' ELSE 'assignment_pending' END;
	step assignment_v3.step;
BEGIN
	PERFORM set_config('request.jwt.claims', claims, false);
	step := assignment_v3.transition(test.id('b', 4), to_state, actor_id => given);
	RETURN (SELECT h.actor_id FROM booking_assignment_state_history AS h
		WHERE h.booking_id = test.id('b', 4) AND h.version = step.version);
END
$$;
SELECT test.actor('') IS NULL AS nobody;
SELECT test.actor('{"sub": "5e1f0000-0000-4000-8000-00000000000a", "role": "authenticated"}');
SELECT test.actor('{"role": "x", "app_metadata": {"sub": "no"}, "sub": "5E1F0000-0000-4000-8000-00000000000B"}');
SELECT test.actor('{"sub": "5e1f0000-0000-4000-8000-00000000000a"}', '5e1f0000-0000-4000-8000-00000000000c');
SELECT claims, test.actor(claims) AS actor FROM (VALUES
	(1, '{"sub": "auth0|12345"}'),
	(2, '{"sub": "5e1f0000-0000-4000-8000-00000000000a'),
	(3, '{"sub": null}'),
	(4, '{"sub": 7}'),
	(5, '{"sub": {"sub": "5e1f0000-0000-4000-8000-00000000000a"}}'),
	(6, '{"sub": ["5e1f0000-0000-4000-8000-00000000000a"]}'),
	(7, '{"user": {"sub": "5e1f0000-0000-4000-8000-00000000000a"}}'),
	(8, '["sub", "5e1f0000-0000-4000-8000-00000000000a"]'),
	(9, '"5e1f0000-0000-4000-8000-00000000000a"'),
	(10, 'anon'),
	(11, '{}')) AS c (n, claims) ORDER BY n;
RESET request.jwt.claims;

-- an UPDATE of the app acts for the same person
SET request.jwt.claims TO '{"sub": "5e1f0000-0000-4000-8000-00000000000d"}';
UPDATE bookings SET party_size = 3 WHERE id = test.id('b', 4);
RESET request.jwt.claims;
SELECT from_state = to_state AS stays, reason, actor_id FROM booking_assignment_state_history
WHERE booking_id = test.id('b', 4) ORDER BY version DESC LIMIT 1;
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
