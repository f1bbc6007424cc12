-- A gate is passed by what has been shown and by nothing else.  For every criterion there must be data that pass, data
-- that fail, and too little of them; too short a time, a signature that is missing, nobody's decision, and a phase that
-- was never entered must not pass.  Thresholds could be off by one, count what belongs to another phase, another mode,
-- restaurants outside the share or bookings that staff saved, and a lucky handful of bookings could pass for a proof.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database gates
\i :setup
-- twenty restaurants in Rome, of which this many are among the first ten and fifty percent
INSERT INTO restaurants (id, name, timezone) SELECT test.id('a', n), 'Restaurant ' || n, 'Europe/Rome' FROM generate_series(1, 20) AS n;
SELECT count(*) FILTER (WHERE assignment_v3.rollout_bucket(id) < 1000) AS in_10, count(*) FILTER (WHERE assignment_v3.rollout_bucket(id) < 5000) AS in_50
FROM restaurants;
-- a Monday, on which every phase of this test begins
CREATE FUNCTION test.hour(n numeric) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$SELECT '2026-03-02 00:00+00'::timestamptz + n * interval '1 hour'$$;
-- the restaurants that a percentage reaches, or leaves out
CREATE FUNCTION test.reached(percent int, n int, outside boolean DEFAULT false) RETURNS uuid LANGUAGE sql STABLE AS $$
	SELECT x.ids[1 + n % cardinality(x.ids)] FROM (
		SELECT array_agg(r.id ORDER BY r.id) AS ids FROM restaurants AS r WHERE (assignment_v3.rollout_bucket(r.id) >= 100 * percent) = outside) AS x
$$;
CREATE SEQUENCE test.booking;

-- Decisions, evenly spread over the hours: each a start and what came of it, after milliseconds that count from 1 to 100.
CREATE PROCEDURE test.decisions(n int, mode text, since numeric DEFAULT 0, hours numeric DEFAULT 24, event text DEFAULT 'confirmed',
	reason text DEFAULT NULL, percent int DEFAULT 100, outside boolean DEFAULT false, slower numeric DEFAULT 1) LANGUAGE sql AS $$
	INSERT INTO observability_events (created_at, source, event_type, restaurant_id, context)
	SELECT test.hour(since + hours * i / n), 'assignment.coordinator', 'coordinator.' || e.type, test.reached(percent, i, outside),
		jsonb_strip_nulls(jsonb_build_object('mode', decisions.mode, 'trigger', 'test', 'reason', CASE e.part WHEN 2 THEN decisions.reason END,
			'duration_ms', CASE WHEN e.part = 2 AND event NOT IN ('noop', 'error', 'circuit_open') THEN slower * (1 + i % 100) END))
	FROM generate_series(0, n - 1) AS i CROSS JOIN (VALUES (1, 'start'), (2, event)) AS e (part, type)
$$;
-- Bookings that ended, by an event of the state machine.
CREATE PROCEDURE test.ended(n int, state text, since numeric DEFAULT 0, percent int DEFAULT 100, outside boolean DEFAULT false,
	trigger text DEFAULT 'test', more jsonb DEFAULT '{}', status text DEFAULT 'pending') LANGUAGE sql AS $$
	WITH booking AS (
		INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, created_at, status)
		SELECT test.id('b', nextval('test.booking')::int), test.reached(percent, i, outside), 2, test.at(18), test.at(20), test.hour(since), ended.status
		FROM generate_series(1, n) AS i
		RETURNING id, restaurant_id
	)
	INSERT INTO observability_events (created_at, source, event_type, restaurant_id, booking_id, context)
	SELECT test.hour(since + 1), 'assignment.state_machine', 'booking.assignment_state_transition', b.restaurant_id, b.id,
		jsonb_build_object('to', state, 'version', 6, 'metadata', jsonb_build_object('trigger', ended.trigger) || COALESCE(more -> 'metadata', '{}'))
		|| (more - 'metadata')
	FROM booking AS b
$$;
-- Bookings made and rehearsed, and what the legacy path made of them; outcome null: not rehearsed.
CREATE PROCEDURE test.rehearsed(n int, outcome text, legacy boolean, since numeric DEFAULT 0, opened boolean DEFAULT false, restaurant int DEFAULT 1)
LANGUAGE sql AS $$
	WITH booking AS (
		INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, created_at, status)
		SELECT test.id('b', nextval('test.booking')::int), test.id('a', restaurant), 2, test.at(18), test.at(20), test.hour(since),
			CASE WHEN legacy THEN 'confirmed' ELSE 'pending' END
		FROM generate_series(1, n) AS i
		RETURNING id, restaurant_id
	)
	INSERT INTO booking_assignment_shadow_results (booking_id, version, restaurant_id, created_at, trigger, outcome, duration_ms, consecutive_errors, breaker_would_open)
	SELECT b.id, 1, b.restaurant_id, test.hour(since), 'test', outcome, 1, 0, opened FROM booking AS b WHERE outcome IS NOT NULL
$$;
CREATE PROCEDURE test.clear() LANGUAGE sql AS $$
	DELETE FROM bookings; DELETE FROM observability_events; DELETE FROM booking_assignment_shadow_results; DELETE FROM capacity_outbox;
	DELETE FROM assignment_v3.phases; DELETE FROM assignment_v3.sign_offs; DELETE FROM assignment_v3.incidents; DELETE FROM assignment_v3.rollout;
	DELETE FROM assignment_v3.kill_switch; DELETE FROM assignment_v3.audit; DELETE FROM assignment_v3.circuits; DELETE FROM assignment_v3.queue;
$$;
CREATE PROCEDURE test.enter(phase text, hour numeric DEFAULT 0) LANGUAGE sql AS
	$$INSERT INTO assignment_v3.phases (phase, entered_at) VALUES (enter.phase, test.hour(enter.hour))$$;
CREATE FUNCTION test.gate(phase text, hour numeric, VARIADIC criteria text[] DEFAULT '{}')
RETURNS TABLE (criterion text, actual text, required text, verdict text) LANGUAGE sql AS $$
	SELECT g.criterion, g.actual, g.required, g.verdict
	FROM assignment_v3.gate(gate.phase, test.hour(gate.hour)) WITH ORDINALITY AS g (criterion, actual, required, verdict, detail, n)
	WHERE g.criterion = ANY (criteria) OR criteria = '{}' ORDER BY g.n
$$;

-- ---------------------------------------------------------------------
-- Nothing is no pass
-- ---------------------------------------------------------------------
-- a phase that was never entered, whatever its data, and whatever else is the matter
CALL test.decisions(100, 'active');
INSERT INTO assignment_v3.kill_switch (reason) VALUES ('before all phases');
SELECT p.phase, count(*) AS criteria, count(*) FILTER (WHERE g.verdict = 'insufficient data') AS insufficient, bool_or(assignment_v3.gate_passed(p.phase)) AS passed
FROM assignment_v3.gate_phases() AS p CROSS JOIN LATERAL assignment_v3.gate(p.phase) AS g GROUP BY p.ordinal, p.phase ORDER BY p.ordinal;
CALL test.clear();
-- one that was entered long ago and has seen nobody: time alone can pass
SELECT p.phase, g.criterion, g.verdict FROM assignment_v3.gate_phases() AS p
CROSS JOIN LATERAL (SELECT 1 FROM (SELECT assignment_v3.gate_passed(p.phase)) AS x) AS one
CROSS JOIN LATERAL assignment_v3.gate(p.phase) AS g WHERE g.verdict <> 'insufficient data';
CALL test.enter('staging_shadow');
CALL test.enter('staging_full', 100);
CALL test.enter('production_shadow', 200);
CALL test.enter('production_10', 300);
CALL test.enter('production_50', 400);
CALL test.enter('production_100', 500);
SELECT p.phase, g.criterion, g.actual, g.verdict FROM assignment_v3.gate_phases() AS p
CROSS JOIN LATERAL assignment_v3.gate(p.phase, test.hour(700)) AS g WHERE g.verdict <> 'insufficient data' ORDER BY p.ordinal, g.criterion;
CALL test.clear();

-- ---------------------------------------------------------------------
-- Time
-- ---------------------------------------------------------------------
CALL test.enter('staging_shadow');
SELECT h AS hour, g.* FROM unnest('{1, 23.99, 24, 25}'::numeric[]) AS h CROSS JOIN LATERAL test.gate('staging_shadow', h, 'duration') AS g;
-- the next phase ends it, and entering it again starts it anew
CALL test.enter('staging_full', 20);
SELECT * FROM test.gate('staging_shadow', 100, 'duration');
SELECT h AS hour, g.actual, g.verdict FROM unnest('{67, 68}'::numeric[]) AS h CROSS JOIN LATERAL test.gate('staging_full', h, 'duration') AS g;
CALL test.enter('staging_shadow', 30);
SELECT h AS hour, g.actual, g.verdict FROM unnest('{29, 53, 54}'::numeric[]) AS h CROSS JOIN LATERAL test.gate('staging_shadow', h, 'duration') AS g;
SELECT actual, verdict FROM test.gate('staging_full', 100, 'duration');
CALL test.clear();

-- a weekend evening: Saturday or Sunday, whole, where the restaurants are, and not without a decision
CALL test.enter('production_shadow');
CALL test.decisions(400, 'shadow', hours => 200);
SELECT h AS hour, g.actual, g.verdict FROM unnest('{120, 140, 140.99, 141}'::numeric[]) AS h CROSS JOIN LATERAL test.gate('production_shadow', h, 'weekend evening') AS g;
CALL test.clear();
CALL test.enter('production_shadow', 142);
CALL test.decisions(400, 'shadow', since => 142, hours => 200);
SELECT h AS hour, g.actual, g.verdict FROM unnest('{164, 165}'::numeric[]) AS h CROSS JOIN LATERAL test.gate('production_shadow', h, 'weekend evening') AS g;
UPDATE restaurants SET timezone = 'America/Los_Angeles' WHERE id = test.id('a', 3);
SELECT h AS hour, g.actual, g.verdict FROM unnest('{151, 165}'::numeric[]) AS h CROSS JOIN LATERAL test.gate('production_shadow', h, 'weekend evening') AS g;
UPDATE restaurants SET timezone = 'Middle/Earth' WHERE id = test.id('a', 3);
SELECT h AS hour, g.actual, g.verdict FROM unnest('{165, 166}'::numeric[]) AS h CROSS JOIN LATERAL test.gate('production_shadow', h, 'weekend evening') AS g;
UPDATE restaurants SET timezone = 'Europe/Rome' WHERE id = test.id('a', 3);
DELETE FROM observability_events WHERE created_at BETWEEN test.hour(160) AND test.hour(166);
SELECT actual, verdict FROM test.gate('production_shadow', 166, 'weekend evening');
CALL test.clear();

-- ---------------------------------------------------------------------
-- In its mode, and not switched off
-- ---------------------------------------------------------------------
CALL test.enter('staging_shadow');
CALL test.decisions(30, 'shadow');
SELECT * FROM test.gate('staging_shadow', 24, 'mode', 'not switched off');
CALL test.decisions(1, 'active', since => 3);
SELECT verdict FROM test.gate('staging_shadow', 24, 'mode');
CALL test.clear();
CALL test.enter('production_10');
CALL test.decisions(30, 'active', percent => 10);
CALL test.decisions(30, 'shadow', percent => 10, outside => true);
SELECT * FROM test.gate('production_10', 24, 'mode', 'not switched off');
-- a restaurant that is told apart is in by its own row
INSERT INTO assignment_v3.rollout (restaurant_id, mode) SELECT test.reached(10, 0, true), 'active';
INSERT INTO observability_events (created_at, source, event_type, restaurant_id, context)
VALUES (test.hour(2), 'assignment.coordinator', 'coordinator.start', test.reached(10, 0, true), '{"mode": "active"}');
SELECT actual, verdict FROM test.gate('production_10', 24, 'mode');
-- and has been in it when it is pulled out, or the row is taken away
UPDATE assignment_v3.rollout SET mode = 'disabled';
SELECT actual, verdict FROM test.gate('production_10', 24, 'mode');
DELETE FROM assignment_v3.rollout;
UPDATE assignment_v3.audit SET changed_at = test.hour(1);
SELECT actual, verdict FROM test.gate('production_10', 24, 'mode');
-- a call for a booking that does not exist is at no restaurant
INSERT INTO observability_events (created_at, source, event_type, restaurant_id, context)
VALUES (test.hour(2), 'assignment.coordinator', 'coordinator.start', NULL, '{"mode": "active"}'),
	(test.hour(2), 'assignment.coordinator', 'coordinator.start', gen_random_uuid(), '{"mode": "active"}');
SELECT actual, verdict FROM test.gate('production_10', 24, 'mode');
CALL test.decisions(2, 'active', since => 3, percent => 10, outside => true);
SELECT verdict FROM test.gate('production_10', 24, 'mode');
INSERT INTO assignment_v3.audit (relation, action, changed_at, new_row) VALUES ('kill_switch', 'insert', test.hour(5), '{}'), ('kill_switch', 'delete', test.hour(6), NULL);
SELECT h AS hour, g.actual, g.verdict FROM unnest('{5, 24}'::numeric[]) AS h CROSS JOIN LATERAL test.gate('production_10', h, 'not switched off') AS g;
-- a kill from before that was never revived
DELETE FROM assignment_v3.audit;
INSERT INTO assignment_v3.kill_switch (reason, killed_at) VALUES ('before', test.hour(-5));
SELECT actual, verdict FROM test.gate('production_10', 24, 'not switched off');
CALL test.clear();

-- ---------------------------------------------------------------------
-- Shadow
-- ---------------------------------------------------------------------
CALL test.enter('staging_shadow');
CALL test.decisions(19, 'shadow');
SELECT * FROM test.gate('staging_shadow', 24, 'coordinator errors');
CALL test.decisions(1, 'shadow');
SELECT verdict FROM test.gate('staging_shadow', 24, 'coordinator errors');
CALL test.decisions(1, 'shadow', since => -1, event => 'error');
SELECT verdict FROM test.gate('staging_shadow', 24, 'coordinator errors');
CALL test.decisions(1, 'shadow', since => 23, event => 'error');
SELECT actual, verdict FROM test.gate('staging_shadow', 24, 'coordinator errors');

-- as many rehearsed as made; those of the last ten minutes, cancelled ones and guests who walked in do not count
CALL test.rehearsed(19, 'confirmed', true);
SELECT * FROM test.gate('staging_shadow', 24, 'rehearsed bookings');
CALL test.rehearsed(1, NULL, true);
SELECT actual, verdict FROM test.gate('staging_shadow', 24, 'rehearsed bookings');
CALL test.rehearsed(5, NULL, true, since => 23.9);
CALL test.ended(5, 'confirmed', status => 'cancelled');
CALL test.ended(5, 'confirmed', status => 'checked_in');
SELECT actual, verdict FROM test.gate('staging_shadow', 24, 'rehearsed bookings');
CALL test.rehearsed(1, NULL, true);
SELECT actual, verdict FROM test.gate('staging_shadow', 24, 'rehearsed bookings');
-- a restaurant that is kept out has none to rehearse
CALL test.rehearsed(9, NULL, true, restaurant => 2);
INSERT INTO assignment_v3.rollout (restaurant_id, mode) VALUES (test.id('a', 2), 'disabled'), (NULL, 'shadow');
SELECT actual, verdict FROM test.gate('staging_shadow', 24, 'rehearsed bookings');
CALL test.clear();

-- beside legacy: the interval must lie within 5 points, on either side
CALL test.enter('staging_shadow');
CALL test.rehearsed(59, 'confirmed', true);
SELECT * FROM test.gate('staging_shadow', 24, 'success beside legacy');
CALL test.rehearsed(41, 'confirmed', true);
SELECT actual, verdict FROM test.gate('staging_shadow', 24, 'success beside legacy');
CALL test.rehearsed(3, 'retry', true);
CALL test.rehearsed(3, 'confirmed', false);
SELECT actual, verdict FROM test.gate('staging_shadow', 24, 'success beside legacy');
CALL test.rehearsed(300, 'confirmed', true);
SELECT actual, verdict FROM test.gate('staging_shadow', 24, 'success beside legacy');
CALL test.rehearsed(60, 'manual_review', true);
SELECT actual, verdict FROM test.gate('staging_shadow', 24, 'success beside legacy');
CALL test.clear();
CALL test.enter('staging_shadow');
CALL test.rehearsed(200, 'confirmed', true);
CALL test.rehearsed(60, 'confirmed', false);
SELECT actual, verdict FROM test.gate('staging_shadow', 24, 'success beside legacy');

-- the breaker
SELECT * FROM test.gate('staging_shadow', 24, 'would-be breaker');
CALL test.rehearsed(1, 'retry', false, opened => true, since => 25);
SELECT h AS hour, g.actual, g.verdict FROM unnest('{24, 26}'::numeric[]) AS h CROSS JOIN LATERAL test.gate('staging_shadow', h, 'would-be breaker') AS g;
CALL test.clear();
CALL test.enter('staging_shadow');
CALL test.rehearsed(19, 'confirmed', true);
SELECT verdict FROM test.gate('staging_shadow', 24, 'would-be breaker');
CALL test.clear();

-- ---------------------------------------------------------------------
-- Rates
-- ---------------------------------------------------------------------
CALL test.enter('production_100');
CALL test.ended(56, 'confirmed');
CALL test.ended(3, 'manual_review');
SELECT * FROM test.gate('production_100', 24, 'confirmation rate', 'manual review');
CALL test.ended(1, 'confirmed');
SELECT actual, verdict FROM test.gate('production_100', 24, 'confirmation rate', 'manual review');
CALL test.ended(1, 'failed');
SELECT actual, verdict FROM test.gate('production_100', 24, 'confirmation rate', 'manual review');
CALL test.ended(3, 'manual_review');
SELECT actual, verdict FROM test.gate('production_100', 24, 'confirmation rate', 'manual review');
CALL test.ended(1, 'manual_review');
SELECT actual, verdict FROM test.gate('production_100', 24, 'confirmation rate', 'manual review');
CALL test.clear();
-- what does not count: rehearsals, other writers, staff, before and after, cancelled, no-shows, gone, outside the share
CALL test.enter('production_10');
CALL test.ended(60, 'confirmed', percent => 10);
CALL test.ended(10, 'manual_review', percent => 10, more => '{"shadow": true}');
CALL test.ended(10, 'manual_review', percent => 10, more => '{"metadata": {"external": true}}');
CALL test.ended(10, 'manual_review', percent => 10, trigger => 'assign');
CALL test.ended(10, 'manual_review', percent => 10, since => -2);
CALL test.ended(10, 'manual_review', percent => 10, since => 23);
CALL test.ended(10, 'manual_review', percent => 10, status => 'cancelled');
CALL test.ended(10, 'manual_review', percent => 10, status => 'no_show');
CALL test.ended(10, 'manual_review', percent => 10, outside => true);
CALL test.ended(10, 'assignment_pending', percent => 10);
SELECT actual, verdict FROM test.gate('production_10', 24, 'confirmation rate', 'manual review');
-- a booking is what it came to last; one given up and then saved by staff was given up
INSERT INTO observability_events (created_at, source, event_type, restaurant_id, booking_id, context)
SELECT e.created_at + interval '1 minute', e.source, e.event_type, e.restaurant_id, e.booking_id,
	jsonb_build_object('to', x.state, 'version', 7, 'metadata', jsonb_build_object('trigger', x.trigger))
FROM (SELECT * FROM observability_events WHERE created_at = test.hour(1) AND context ->> 'to' = 'confirmed' ORDER BY booking_id LIMIT 6) AS e
CROSS JOIN (VALUES ('manual_review', 'test', 1), ('confirmed', 'assign', 2)) AS x (state, trigger, n);
SELECT actual, verdict FROM test.gate('production_10', 24, 'confirmation rate', 'manual review');
CALL test.clear();

-- ---------------------------------------------------------------------
-- Nothing stuck, nothing told twice
-- ---------------------------------------------------------------------
SET assignment_v3.enabled = on;
CALL test.enter('staging_full');
CALL test.decisions(20, 'active', hours => 1);
CALL test.ended(2, 'assignment_pending');
UPDATE assignment_v3.queue SET due_at = test.hour(48) - interval '9 minutes', enqueued_at = test.hour(40);
SELECT * FROM test.gate('staging_full', 48, 'stuck bookings', 'duplicate messages');
UPDATE assignment_v3.queue SET due_at = test.hour(48) - interval '11 minutes' WHERE booking_id = (SELECT min(booking_id::text)::uuid FROM assignment_v3.queue);
SELECT actual, verdict FROM test.gate('staging_full', 48, 'stuck bookings');
-- unfinished, and not even queued
DELETE FROM assignment_v3.queue;
SELECT actual, verdict FROM test.gate('staging_full', 48, 'stuck bookings');
INSERT INTO booking_assignment_attempts (booking_id, attempt_no, result, reason, created_at) SELECT id, 1, 'failure', 'error', test.hour(2) FROM bookings;
SELECT actual, verdict FROM test.gate('staging_full', 48, 'stuck bookings');
RESET assignment_v3.enabled;
CREATE PROCEDURE test.message(booking int, version int, state text DEFAULT 'confirmed', hour numeric DEFAULT 1, arrived boolean DEFAULT true, key text DEFAULT NULL)
LANGUAGE sql AS $$
	INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state, version) SELECT test.id('b', booking), 'assigned', state::booking_assignment_state, version WHERE arrived;
	INSERT INTO capacity_outbox (created_at, event_type, dedupe_key, booking_id)
	VALUES (test.hour(hour), 'booking.assignment_state.' || state, COALESCE(key, test.id('b', booking) || ':' || version), test.id('b', booking));
$$;
SELECT min(test.no(id)) AS one, max(test.no(id)) AS other FROM bookings \gset
CALL test.message(:one, 6);
CALL test.message(:one, 8);
CALL test.message(:one, 10);
CALL test.message(:other, 5, 'manual_review');
CALL test.message(:other, 8);
SELECT actual, verdict FROM test.gate('staging_full', 48, 'duplicate messages');
-- under another key, and without any
CALL test.message(:other, 8, arrived => false, key => 'once more', hour => 50);
SELECT actual, verdict FROM test.gate('staging_full', 48, 'duplicate messages');
CALL test.message(:other, 9, arrived => false);
SELECT actual, verdict FROM test.gate('staging_full', 48, 'duplicate messages');
CALL test.message(:one, 10, arrived => false, key => 'and more');
UPDATE capacity_outbox SET dedupe_key = NULL WHERE dedupe_key = 'and more';
SELECT actual, verdict FROM test.gate('staging_full', 48, 'duplicate messages');
-- one that is missing does not make up for one too many
DELETE FROM capacity_outbox WHERE booking_id = test.id('b', :other) OR dedupe_key = test.id('b', :one) || ':8';
SELECT actual, verdict FROM test.gate('staging_full', 48, 'duplicate messages');
CALL test.clear();

-- ---------------------------------------------------------------------
-- Beside the phase before
-- ---------------------------------------------------------------------
CREATE PROCEDURE test.two_phases() LANGUAGE sql AS $$
	CALL test.clear();
	CALL test.enter('production_10', -30);
	CALL test.enter('production_50');
	CALL test.decisions(200, 'active', since => -30, percent => 10);
$$;
CALL test.two_phases();
CALL test.decisions(59, 'active', percent => 50);
SELECT * FROM test.gate('production_50', 24, 'error rate', 'breaker', 'p95 latency', 'lock contention');
CALL test.decisions(141, 'active', percent => 50);
SELECT actual, verdict FROM test.gate('production_50', 24, 'error rate', 'breaker', 'p95 latency', 'lock contention');
-- one error in two hundred is within the tolerance, three may be chance, ten are not
CALL test.decisions(1, 'active', since => 2, percent => 50, event => 'error');
SELECT actual, verdict FROM test.gate('production_50', 24, 'error rate');
CALL test.decisions(2, 'active', since => 2, percent => 50, event => 'error');
SELECT actual, verdict FROM test.gate('production_50', 24, 'error rate');
CALL test.decisions(7, 'active', since => 2, percent => 50, event => 'error');
SELECT actual, verdict FROM test.gate('production_50', 24, 'error rate');
-- as many before: flat
CALL test.decisions(10, 'active', since => -20, hours => 10, percent => 10, event => 'error');
SELECT actual, verdict FROM test.gate('production_50', 24, 'error rate');
-- the same with contention, whether it cost a retry or was met at the door
CALL test.two_phases();
CALL test.decisions(200, 'active', percent => 50);
CALL test.decisions(1, 'active', since => 2, percent => 50, event => 'retry', reason => 'lock_contention');
CALL test.decisions(1, 'active', since => 2, percent => 50, event => 'noop', reason => 'lock_contention');
CALL test.decisions(8, 'active', since => 2, percent => 50, event => 'retry', reason => 'no_capacity');
SELECT actual, verdict FROM test.gate('production_50', 24, 'lock contention');
CALL test.decisions(2, 'active', since => 2, percent => 50, event => 'noop', reason => 'lock_contention');
SELECT actual, verdict FROM test.gate('production_50', 24, 'lock contention');
CALL test.decisions(8, 'active', since => 2, percent => 50, event => 'retry', reason => 'lock_contention');
SELECT actual, verdict FROM test.gate('production_50', 24, 'lock contention');
-- latency
CALL test.two_phases();
CALL test.decisions(200, 'active', percent => 50, slower => 1.2);
SELECT * FROM test.gate('production_50', 24, 'p95 latency');
CALL test.decisions(3, 'active', percent => 50, slower => 1000);
SELECT actual, verdict FROM test.gate('production_50', 24, 'p95 latency');
CALL test.decisions(17, 'active', percent => 50, slower => 1000);
SELECT actual, verdict FROM test.gate('production_50', 24, 'p95 latency');
-- what is slow, wrong or contended in another mode or outside of the share is none of this phase's business
CALL test.two_phases();
CALL test.decisions(200, 'active', percent => 50);
CALL test.decisions(100, 'shadow', percent => 50, outside => true, slower => 100);
CALL test.decisions(100, 'shadow', percent => 50, event => 'error');
CALL test.decisions(100, 'active', percent => 50, outside => true, event => 'error');
SELECT actual, verdict FROM test.gate('production_50', 24, 'error rate', 'p95 latency');
-- breakers: one that is open, one that was met, and one from before
SELECT * FROM test.gate('production_50', 24, 'breaker');
INSERT INTO assignment_v3.circuits (restaurant_id, opened_at, open_until) VALUES (test.reached(50, 1), test.hour(-5), test.hour(-4));
SELECT actual, verdict FROM test.gate('production_50', 24, 'breaker');
INSERT INTO assignment_v3.circuits (restaurant_id, opened_at, open_until) VALUES (test.reached(50, 2), test.hour(5), test.hour(6));
SELECT actual, verdict FROM test.gate('production_50', 24, 'breaker');
DELETE FROM assignment_v3.circuits;
CALL test.decisions(1, 'active', since => 7, percent => 50, event => 'circuit_open');
SELECT actual, verdict FROM test.gate('production_50', 24, 'breaker');
-- 10 % is compared with shadow
CALL test.clear();
CALL test.enter('production_shadow', -30);
CALL test.enter('production_10');
CALL test.decisions(200, 'shadow', since => -30);
CALL test.decisions(200, 'active', percent => 10);
SELECT * FROM test.gate('production_10', 24, 'error rate', 'breaker', 'p95 latency', 'lock contention');

-- ---------------------------------------------------------------------
-- People
-- ---------------------------------------------------------------------
CALL test.clear();
CALL test.enter('production_100');
CALL test.decisions(20, 'active');
SELECT * FROM test.gate('production_100', 24, 'incidents', 'sign-off by engineering', 'sign-off by qa', 'sign-off by product_owner');
INSERT INTO assignment_v3.incidents (severity, note, occurred_at) VALUES ('P1', 'before', test.hour(-1)), ('P3', 'a table too many', test.hour(3));
INSERT INTO assignment_v3.sign_offs (phase, role, name, signed_at) VALUES ('production_100', 'engineering', 'Ada', test.hour(2)),
	('production_100', 'qa', 'Bea', test.hour(-1)), ('production_50', 'product_owner', 'Cy', test.hour(2));
SELECT g.criterion, g.actual, g.verdict, g.detail FROM assignment_v3.gate('production_100', test.hour(24)) AS g
WHERE g.criterion ~ '^(incidents|sign-off)';
SELECT h AS hour, g.actual, g.verdict FROM unnest('{2, 4}'::numeric[]) AS h CROSS JOIN LATERAL test.gate('production_100', h, 'incidents') AS g;

-- ---------------------------------------------------------------------
-- All at once, and the order of the rows
-- ---------------------------------------------------------------------
CALL test.ended(100, 'confirmed');
DELETE FROM assignment_v3.incidents;
INSERT INTO assignment_v3.sign_offs (phase, role, name, signed_at) VALUES ('production_100', 'qa', 'Bea', test.hour(160)), ('production_100', 'product_owner', 'Cy', test.hour(160));
SELECT criterion, verdict FROM test.gate('production_100', 168);
SELECT assignment_v3.gate_passed('production_100', test.hour(167)) AS short_of_it, assignment_v3.gate_passed('production_100', test.hour(168)) AS passed;
SELECT p.phase, string_agg(g.criterion, ', ' ORDER BY g.n) AS criteria FROM assignment_v3.gate_phases() AS p
CROSS JOIN LATERAL assignment_v3.gate(p.phase) WITH ORDINALITY AS g (criterion, actual, required, verdict, detail, n) GROUP BY p.ordinal, p.phase ORDER BY p.ordinal;

\c :origin
DROP DATABASE gates;
