-- Each view says what there is to see and nothing else: on an empty database, on a busy one, and where it must not be
-- trusted.  A view could take nothing for health where nothing was visible, count what was cancelled or rehearsed, alert
-- on a handful of calls, or miss what lies just beyond a limit.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database views
\i :setup
SET assignment_v3.enabled = on;

-- an empty database is healthy, and nothing divides by zero
SELECT status, why, mode, due, oldest_due_at, last_drain_at, breakers_open, manual_review FROM assignment_v3.health;
SELECT * FROM assignment_v3.confirmation_rate;
SELECT * FROM assignment_v3.manual_review_queue;
SELECT * FROM assignment_v3.stuck_bookings;
SELECT * FROM assignment_v3.latency;
SELECT * FROM assignment_v3.breakers;
SELECT * FROM assignment_v3.slots;
SELECT * FROM assignment_v3.outbox_health;
SELECT * FROM assignment_v3.alerts;

-- A decision: its slot shows until the transaction ends, with the booking that it serves.
CALL test.open(1, 2, 4);
CALL test.book(1);
BEGIN;
SELECT outcome FROM test.decide(1, 'run');
SELECT test.no(restaurant_id) AS restaurant_no, restaurant, slot, pid = pg_backend_pid() AS mine,
	query LIKE '%FROM assignment_v3.slots%' AS this_query, since = now() AS since_now, booking_ids = ARRAY[test.id('b', 1)] AS booking_1
FROM assignment_v3.slots;
COMMIT;
SELECT count(*) AS slots FROM assignment_v3.slots;
SELECT pending, due, oldest > now() - interval '1 minute' AS fresh, most_tries, processing, dead FROM assignment_v3.outbox_health;
SELECT mode, decisions, p50_ms > 0 AND p50_ms = max_ms AND p95_ms = p99_ms AS measured, hour = date_trunc('hour', hour) AS by_hour FROM assignment_v3.latency;
SELECT ended, confirmed, manual_review, failed, confirmation_rate_pct, manual_review_rate_pct FROM assignment_v3.confirmation_rate;
SELECT status, last_drain_at > now() - interval '1 minute' AS drained FROM assignment_v3.health;

-- Given up: the table of four is free an hour and a half later, and by now the one of two too.  Cancelled ones need nobody.
SET assignment_v3.max_attempts = 1;
CALL test.book(2, party => 3, hour => 18);
CALL test.book(3, party => 3, hour => 18.5);
CALL test.book(4, party => 9, hour => 18);
CALL test.book(5, party => 9, hour => 18);
CALL test.book(6, party => 3, hour => 19.5, hours => 1);
SELECT n, d.outcome, d.reason FROM generate_series(2, 6) AS n, test.decide(n) AS d;
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 5);
SELECT test.no(booking_id) AS n, restaurant, party_size, reason, since > now() - interval '1 minute' AS just_now,
	alternative_at - start_at AS shift, alternative_tables
FROM assignment_v3.manual_review_queue;
-- the same seen from alternatives(): every quarter hour that has room
SELECT start_at - test.at(18.5) AS shift, end_at - start_at AS length, table_numbers, capacity, slack
FROM assignment_v3.alternatives(test.id('b', 3), '3 hours', 100);
-- a time at which others are booked goes before one at which nobody is
CALL test.book(7, hour => 20.25);
SELECT alternative_at - start_at AS shift FROM assignment_v3.manual_review_queue WHERE booking_id = test.id('b', 3);
DELETE FROM bookings WHERE id = test.id('b', 7);
-- the party that has the table calls off: there is room at the time booked
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 2);
SELECT alternative_at - start_at AS shift, alternative_tables FROM assignment_v3.manual_review_queue WHERE booking_id = test.id('b', 6);
-- nothing is offered that lies in the past, and no window is no error
ALTER TABLE bookings ALTER start_at DROP NOT NULL;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at) VALUES (test.id('b', 8), test.id('a', 1), 2, NULL, test.at(1)),
	(test.id('b', 9), test.id('a', 1), 9, now(), now() + interval '1 hour');
SELECT n, d.outcome, d.reason FROM generate_series(8, 9) AS n, test.decide(n) AS d;
SELECT test.no(booking_id) AS n, reason, alternative_at FROM assignment_v3.manual_review_queue WHERE booking_id IN (test.id('b', 8), test.id('b', 9)) ORDER BY 1;
UPDATE bookings SET party_size = 2, start_at = now() + interval '5 minutes' WHERE id = test.id('b', 9);
SELECT count(*) AS offered, min(a.start_at) = min(b.start_at) AS ahead
FROM bookings AS b, assignment_v3.alternatives(b.id, '1 hour', 100) AS a WHERE b.id = test.id('b', 9);
SELECT * FROM test.refused($$SELECT * FROM assignment_v3.alternatives(test.id('b', 8))$$);
SELECT * FROM test.refused($$SELECT * FROM assignment_v3.alternatives(test.id('b', 99))$$);
SELECT * FROM test.refused($$SELECT * FROM assignment_v3.alternatives(test.id('b', 3), '13 hours')$$);
SELECT * FROM test.refused($$SELECT * FROM assignment_v3.alternatives(test.id('b', 3), '-1 hour')$$);
SELECT * FROM test.refused($$SELECT * FROM assignment_v3.alternatives(test.id('b', 3), '1 hour', 0)$$);
-- rates leave the cancelled ones out
UPDATE bookings SET created_at = (SELECT min(created_at) FROM bookings);
SELECT ended, confirmed, manual_review, failed, confirmation_rate_pct, manual_review_rate_pct FROM assignment_v3.confirmation_rate;
SELECT count(*) AS ended, count(*) FILTER (WHERE assignment_state = 'confirmed') AS confirmed FROM bookings
WHERE assignment_state IN ('confirmed', 'manual_review') AND status <> 'cancelled';
DELETE FROM bookings;

-- Due for longer than ten minutes, and nothing drained for five.
CALL test.book(11);
CALL test.book(12);
CALL test.book(13);
UPDATE assignment_v3.queue SET due_at = now() - CASE test.no(booking_id) WHEN 11 THEN interval '10 min 2 s' WHEN 12 THEN interval '9 min 50 s'
	ELSE interval '-1 min' END;
SELECT test.no(booking_id) AS n, restaurant, state, mode, overdue > interval '10 minutes' AS overdue FROM assignment_v3.stuck_bookings;
SELECT alert, severity, firing, value, threshold, unit, since = (SELECT min(due_at) FROM assignment_v3.queue) AS since, detail
FROM assignment_v3.alerts WHERE alert = 'bookings_stuck';
SELECT status, why, due FROM assignment_v3.health;
UPDATE observability_events SET created_at = created_at - interval '6 minutes';
SELECT status, regexp_replace(why, '\d\d:\d\d', '12:34') AS why FROM assignment_v3.health;
UPDATE observability_events SET created_at = created_at - interval '60 minutes';
SELECT status, why, last_drain_at FROM assignment_v3.health;
-- a booking that has only just become due is no reason to worry
UPDATE assignment_v3.queue SET due_at = now() - interval '4 minutes';
SELECT status, why, due FROM assignment_v3.health;
-- where the pipeline is off or paused nobody is expected to drain; that it is so is worth a word
UPDATE assignment_v3.queue SET due_at = now() - interval '1 hour';
INSERT INTO assignment_v3.kill_switch (reason, killed_by) VALUES ('drill', 'somebody');
SELECT status, why, mode, due FROM assignment_v3.health;
SELECT firing, value FROM assignment_v3.alerts WHERE alert = 'bookings_stuck';
SELECT test.no(booking_id) AS n, mode FROM assignment_v3.stuck_bookings ORDER BY 1;
DELETE FROM assignment_v3.kill_switch;
INSERT INTO assignment_v3.pauses (restaurant_id) VALUES (test.id('a', 1));
SELECT status, regexp_replace(why, 'since .*', 'since then') AS why, mode, due FROM assignment_v3.health;
SELECT firing, value FROM assignment_v3.alerts WHERE alert = 'bookings_stuck';
SELECT DISTINCT mode FROM assignment_v3.stuck_bookings;
DELETE FROM assignment_v3.pauses;
DELETE FROM bookings;

-- Breakers by what they do now; one that was left to cool down does not ring for ever.
CALL test.open(2);
CALL test.open(3);
CALL test.open(4);
INSERT INTO assignment_v3.circuits (restaurant_id, consecutive_errors, open_until, opened_at) VALUES
	(test.id('a', 1), 3, NULL, NULL),
	(test.id('a', 2), 5, now() + interval '10 seconds', now() - interval '4 minutes'),
	(test.id('a', 3), 5, now() - interval '10 minutes', now() - interval '11 minutes');
SELECT test.no(restaurant_id) AS restaurant_no, restaurant, state, consecutive_errors FROM assignment_v3.breakers;
SELECT firing, value, since, detail FROM assignment_v3.alerts WHERE alert = 'breaker_open';
SELECT breakers_open, status FROM assignment_v3.health;
INSERT INTO assignment_v3.circuits (restaurant_id, consecutive_errors, open_until, opened_at)
VALUES (test.id('a', 4), 9, now() - interval '10 seconds', now() - interval '6 minutes');
SELECT test.no(restaurant_id) AS restaurant_no, state FROM assignment_v3.breakers;
SELECT firing, value, threshold, unit, since = (SELECT opened_at FROM assignment_v3.circuits WHERE restaurant_id = test.id('a', 4)) AS since, detail
FROM assignment_v3.alerts WHERE alert = 'breaker_open';
SELECT status, why FROM assignment_v3.health;
DELETE FROM assignment_v3.circuits;

-- The error rate needs twenty starts in fifteen minutes, and more than 5 %.
DELETE FROM observability_events;
CREATE PROCEDURE test.happen(event text, times int, ago interval, context jsonb DEFAULT '{}', source text DEFAULT 'assignment.coordinator')
LANGUAGE sql AS $$
	INSERT INTO observability_events (source, event_type, created_at, context)
	SELECT source, event, now() - ago, context FROM generate_series(1, times)
$$;
CALL test.happen('coordinator.start', 19, '1 minute');
CALL test.happen('coordinator.error', 19, '1 minute');
CALL test.happen('coordinator.start', 50, '16 minutes');
SELECT firing, value, since, detail FROM assignment_v3.alerts WHERE alert = 'coordinator_error_rate';
CALL test.happen('coordinator.start', 1, '14 minutes');
SELECT firing, value, threshold, since < now() - interval '50 seconds' AS since, detail FROM assignment_v3.alerts WHERE alert = 'coordinator_error_rate';
SELECT status, why FROM assignment_v3.health;
CALL test.happen('coordinator.start', 360, '2 minutes');
SELECT firing, value, since FROM assignment_v3.alerts WHERE alert = 'coordinator_error_rate';
CALL test.happen('coordinator.error', 1, '2 minutes');
SELECT firing, value FROM assignment_v3.alerts WHERE alert = 'coordinator_error_rate';
DELETE FROM observability_events;

-- A spike of reviews: of twenty that ended in the last hour, cancelled and rehearsed ones aside, more than 10 %.
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT test.id('b', 100 + n), test.id('a', 2), 2, test.at(12), test.at(13) FROM generate_series(1, 23) AS n;
UPDATE bookings SET assignment_state = 'capacity_verified';
UPDATE bookings SET assignment_state = 'assignment_pending';
UPDATE bookings SET assignment_state = CASE WHEN test.no(id) <= 103 THEN 'manual_review' ELSE 'failed' END::booking_assignment_state
WHERE test.no(id) <= 122;
UPDATE bookings SET status = 'cancelled' WHERE test.no(id) IN (102, 103, 104);
SELECT firing, value, detail FROM assignment_v3.alerts WHERE alert = 'manual_review_spike';
CALL test.happen('booking.assignment_state_transition', 5, '0', '{"to": "manual_review", "shadow": true}', 'assignment.state_machine');
UPDATE bookings SET assignment_state = 'failed' WHERE test.no(id) = 123;
SELECT firing, value, detail FROM assignment_v3.alerts WHERE alert = 'manual_review_spike';
UPDATE bookings SET status = 'pending' WHERE test.no(id) IN (102, 103);
SELECT firing, value, threshold, since IS NOT NULL AS since, detail FROM assignment_v3.alerts WHERE alert = 'manual_review_spike';
UPDATE bookings SET created_at = (SELECT min(created_at) FROM bookings);
SELECT ended, confirmed, manual_review, failed, confirmation_rate_pct, manual_review_rate_pct FROM assignment_v3.confirmation_rate;
UPDATE observability_events SET created_at = created_at - interval '61 minutes';
SELECT firing, value FROM assignment_v3.alerts WHERE alert = 'manual_review_spike';
DELETE FROM bookings;

-- Messages that are late or dead.
DELETE FROM capacity_outbox;
INSERT INTO capacity_outbox (event_type, status, attempt_count, created_at, next_attempt_at) VALUES
	('booking.assignment_state.confirmed', 'pending', 3, now() - interval '1 hour', now() + interval '1 hour'),
	('booking.assignment_state.confirmed', 'pending', 0, now(), now()),
	('booking.assignment_state.failed', 'dead', 10, now() - interval '1 day', now()),
	('booking.assignment_state.failed', 'processing', 1, now(), now()),
	('booking.assignment_state.failed', 'done', 1, now(), now()),
	('app.newsletter', 'pending', 0, now() - interval '1 year', now()),
	('app.newsletter', 'dead', 10, now() - interval '1 year', now());
SELECT pending, due, now() - oldest BETWEEN '59 min' AND '61 min' AS oldest, most_tries, processing, dead FROM assignment_v3.outbox_health;
SELECT status, regexp_replace(why, '\d{4}-\d\d-\d\d \d\d:\d\d', 'then') AS why FROM assignment_v3.health;

-- A role that looks: with policies it sees, without one it is told so rather than shown an empty list.
CREATE ROLE views_monitor;
GRANT USAGE ON SCHEMA assignment_v3, public, test TO views_monitor;
GRANT SELECT ON ALL TABLES IN SCHEMA assignment_v3, public TO views_monitor;
SET ROLE views_monitor;
SELECT * FROM test.refused('SELECT * FROM assignment_v3.health');
RESET ROLE;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA assignment_v3 TO views_monitor;
SET ROLE views_monitor;
SELECT * FROM test.refused('SELECT * FROM assignment_v3.health');
RESET ROLE;
CREATE PROCEDURE test.permit(own boolean) LANGUAGE plpgsql AS $$
DECLARE
	relation regclass;
BEGIN
	FOR relation IN SELECT c.oid FROM pg_class AS c WHERE c.relrowsecurity AND c.relkind = 'r'
		AND c.relnamespace = CASE WHEN own THEN 'assignment_v3' ELSE 'public' END::regnamespace LOOP
		EXECUTE format('CREATE POLICY look ON %s FOR SELECT TO views_monitor USING (true)', relation);
	END LOOP;
END;
$$;
CALL test.permit(true);
SET ROLE views_monitor;
SELECT code, message, detail, hint FROM test.refused('SELECT * FROM assignment_v3.manual_review_queue');
RESET ROLE;
CALL test.permit(false);
SET ROLE views_monitor;
SELECT status FROM assignment_v3.health;
SELECT dead FROM assignment_v3.outbox_health;
SELECT (SELECT count(*) FROM assignment_v3.confirmation_rate) AS a, (SELECT count(*) FROM assignment_v3.manual_review_queue) AS b,
	(SELECT count(*) FROM assignment_v3.stuck_bookings) AS c, (SELECT count(*) FROM assignment_v3.latency) AS d,
	(SELECT count(*) FROM assignment_v3.breakers) AS e, (SELECT count(*) FROM assignment_v3.slots) AS f, (SELECT count(*) FROM assignment_v3.alerts) AS g;
RESET ROLE;

-- Without anything attached health says so, and the others refuse to say anything.
SELECT count(*) > 0 AS detached FROM assignment_v3.detach();
SELECT status, why, mode, due FROM assignment_v3.health;
SELECT v.relname, r.code, r.message, r.hint
FROM pg_class AS v CROSS JOIN LATERAL test.refused(format('SELECT * FROM assignment_v3.%I', v.relname)) AS r
WHERE v.relnamespace = 'assignment_v3'::regnamespace AND v.relkind = 'v' AND v.relname <> 'health' ORDER BY 1;

-- What the extension makes are views that act for whoever looks, and none is for everybody.
SELECT c.relname, c.reloptions, has_table_privilege('public', c.oid, 'SELECT') AS public,
	(SELECT count(*) FROM pg_depend AS d JOIN pg_rewrite AS w ON w.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
	 WHERE w.ev_class = c.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid) AS relations_read
FROM pg_class AS c WHERE c.relnamespace = 'assignment_v3'::regnamespace AND c.relkind = 'v' ORDER BY 1;
DROP OWNED BY views_monitor;
DROP ROLE views_monitor;
\c :origin
DROP DATABASE views;
