-- The lowest event level keeps every event that reports, gates and alerts count, and drops the coordinator's steps
-- alone.  The server log gets errors always and steps where it is asked to, under one prefix.  An event that went with
-- the steps would make a gate pass that should not.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database event_level
\i :setup
CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not at Restaurant 3'; END$$;
CREATE TRIGGER a_refuse BEFORE UPDATE ON bookings FOR EACH ROW
	WHEN (NEW.status = 'confirmed' AND NEW.restaurant_id = 'a0000000-0000-0000-0000-000000000003')
	EXECUTE FUNCTION test.refuse();
CALL test.open(1, 2);
CALL test.open(2);
CALL test.open(3, 2);
-- the same story twice: confirmed, already confirmed, no table, too late, an error, an open breaker, nobody there
CREATE PROCEDURE test.story(base int, hour numeric) LANGUAGE plpgsql AS $$
BEGIN
	CALL test.book(base + 1, 1, hour => hour);
	CALL test.book(base + 2, 2, hour => hour);
	INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
	VALUES (test.id('b', base + 3), test.id('a', 2), 2, now() + interval '5 minutes', now() + interval '1 hour');
	CALL test.book(base + 4, 3, hour => hour);
	PERFORM assignment_v3.process_booking(test.id('b', base + n)) FROM unnest(ARRAY[1, 1, 2, 3, 4]) AS n;
	UPDATE assignment_v3.circuits SET open_until = clock_timestamp() + interval '1 hour' WHERE restaurant_id = test.id('a', 3);
	PERFORM assignment_v3.process_booking(test.id('b', base + n)) FROM unnest(ARRAY[4, 99]) AS n;
	PERFORM set_config('assignment_v3.enabled', 'off', true), set_config('assignment_v3.shadow', 'on', true);
	PERFORM assignment_v3.process_booking(test.id('b', base + 2));
	DELETE FROM assignment_v3.circuits;
END;
$$;
SET assignment_v3.enabled = on;
CALL test.story(100, 1);
SET assignment_v3.event_level = outcomes;
CALL test.story(200, 4);
SELECT source, event_type, context ->> 'mode' AS mode, context ->> 'reason' AS reason,
	count(*) FILTER (WHERE test.no(booking_id) < 200) AS steps, count(*) FILTER (WHERE test.no(booking_id) > 200) AS outcomes
FROM observability_events GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;
-- and the same in what they say
SELECT count(*) AS differ FROM (
	SELECT test.no(booking_id) % 100, event_type, context - ARRAY['duration_ms', 'delay_ms'] FROM observability_events
	WHERE test.no(booking_id) < 200 AND event_type NOT IN ('coordinator.lock_acquired', 'coordinator.rate_permit_acquired')
	EXCEPT ALL
	SELECT test.no(booking_id) % 100, event_type, context - ARRAY['duration_ms', 'delay_ms'] FROM observability_events
	WHERE test.no(booking_id) > 200
) AS d;

-- The server log, which the client sees here.
SET client_min_messages TO log;
SELECT outcome, reason FROM test.decide(99);
SET assignment_v3.step_log_level = log;
SELECT outcome, reason FROM test.decide(99);
SET assignment_v3.event_level = steps;
SELECT outcome, reason FROM test.decide(99);
RESET assignment_v3.step_log_level;
-- an error goes there whatever the level
CALL test.book(300, 3, hour => 10);
SELECT outcome, reason FROM test.decide(300);
SET client_min_messages TO warning;

\c :origin
DROP DATABASE event_level;
