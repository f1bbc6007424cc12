/*-------------------------------------------------------------------------
 *
 * rehearsal.sql
 *		What a rehearsal, a disabled call and the recording of failed
 *		transactions cost, beside a real call.
 *
 * One session calls process_booking() for one waiting booking after the other,
 * in ways that take turns, each in a transaction of its own: live, in shadow,
 * live again with the event of a refused step to be recorded, and a refused step
 * of transition() itself.  Disabled calls follow by themselves, as nobody makes
 * them between others.  The clock runs around the call, in the server, without
 * round trip and commit; printed are the medians in microseconds as one line:
 * live, shadow, late, refused, disabled.
 *
 * psql variables:
 *		count		bookings per way; 50 more of each come first and are not counted
 *		first		number of the first in bench.work; 4 * (count + 50) are used
 *
 * Each call is preceded by plan(), which leaves memory as warm for one way as for
 * the other.  The rehearsed bookings stay as they were; the refused step is one that the
 * matrix has no edge for.
 *
 *-------------------------------------------------------------------------
 */
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages TO warning;
SET synchronous_commit TO off;

CREATE TABLE bench.calls (way text NOT NULL, n integer NOT NULL, microseconds double precision NOT NULL);

CREATE PROCEDURE bench.call(way text, n integer, booking uuid)
LANGUAGE plpgsql
AS $$
DECLARE
	started timestamptz;
	elapsed interval;
BEGIN
	PERFORM set_config('assignment_v3.enabled', CASE WHEN way IN ('live', 'late') THEN 'on' ELSE 'off' END, false),
		set_config('assignment_v3.shadow', CASE way WHEN 'shadow' THEN 'on' ELSE 'off' END, false);
	PERFORM FROM assignment_v3.plan(booking);
	IF way IN ('late', 'refused') THEN
		BEGIN
			started := clock_timestamp();
			PERFORM assignment_v3.transition(booking, 'confirmed');
		EXCEPTION WHEN SQLSTATE 'PT422' THEN
			elapsed := clock_timestamp() - started;
		END;
	END IF;
	IF way <> 'refused' THEN
		started := clock_timestamp();
		PERFORM assignment_v3.process_booking(booking);
		elapsed := clock_timestamp() - started;
	END IF;
	IF n > 0 THEN
		INSERT INTO bench.calls VALUES (way, n, extract(epoch FROM elapsed) * 1e6);
	END IF;
	COMMIT;
END;
$$;

CREATE PROCEDURE bench.take_turns(first integer, count integer)
LANGUAGE plpgsql
AS $$
DECLARE
	ways text[] := ARRAY['live', 'shadow', 'late', 'refused'];
	booking uuid;
BEGIN
	FOR i IN 0..4 * (count + 50) - 1 LOOP
		SELECT w.booking_id INTO booking FROM bench.work AS w WHERE w.n = first + i;
		-- each order as often, as a call finds warm what the one before has touched
		CALL bench.call(ways[1 + (i + i / 4 % 4 * (1 + i / 16 % 2 * 2)) % 4], i / 4 - 49, booking);
	END LOOP;
	FOR i IN 0..count + 49 LOOP
		SELECT w.booking_id INTO booking FROM bench.work AS w WHERE w.n = first + i;
		CALL bench.call('disabled', i - 49, booking);
	END LOOP;
END;
$$;

CALL bench.take_turns(:first, :count);

SELECT string_agg(round(m.microseconds::numeric, 1)::text, ' ' ORDER BY w.n)
FROM unnest(ARRAY['live', 'shadow', 'late', 'refused', 'disabled']) WITH ORDINALITY AS w (way, n)
CROSS JOIN LATERAL (
	SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY c.microseconds) AS microseconds FROM bench.calls AS c WHERE c.way = w.way
) AS m;
