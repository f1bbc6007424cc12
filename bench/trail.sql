/*-------------------------------------------------------------------------
 *
 * trail.sql
 *		What the confirmations of the seated bookings have left: history,
 *		attempts, messages, and the events of the last 14 days.
 *
 * Runs after workload.sql.  The rows are those that a confirmation writes, from
 * the one walk that all these bookings took.  Messages have been delivered.
 *
 *-------------------------------------------------------------------------
 */
\set ON_ERROR_STOP on
\set QUIET on

SET client_min_messages TO warning;
SET session_replication_role TO replica;
SET synchronous_commit TO off;

-- metadata(): that of a transition; the last one names the table.
CREATE FUNCTION bench.metadata(table_id uuid DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
SELECT CASE WHEN table_id IS NULL THEN '{"trigger": "run"}' ELSE jsonb_build_object(
	'trigger', 'run', 'strategy', 'optimal_fit', 'table_ids', jsonb_build_array(table_id)) END
$$;

-- The walk of a confirmation, and the events that go with it.
CREATE TABLE bench.walk (version integer, from_state text, to_state text);
INSERT INTO bench.walk VALUES
	(2, 'created', 'capacity_verified'),
	(3, 'capacity_verified', 'assignment_pending'),
	(4, 'assignment_pending', 'assignment_in_progress'),
	(5, 'assignment_in_progress', 'assigned'),
	(6, 'assigned', 'confirmed');

INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state, version, metadata, created_at)
SELECT s.id, w.from_state::booking_assignment_state, w.to_state::booking_assignment_state, w.version,
	CASE WHEN w.version < 6 THEN bench.metadata() ELSE bench.metadata(s.table_id) END, s.created_at
FROM bench.seated s, bench.walk w;

INSERT INTO booking_assignment_attempts (booking_id, attempt_no, strategy, result, metadata, created_at)
SELECT id, 1, 'optimal_fit', 'success',
	jsonb_build_object('trigger', 'run', 'version', 1, 'party_size', party_size,
		'table_ids', jsonb_build_array(table_id), 'duration_ms', 1.234), created_at
FROM bench.seated;

INSERT INTO capacity_outbox (created_at, updated_at, status, event_type, dedupe_key, next_attempt_at,
	restaurant_id, booking_id, idempotency_key, payload)
SELECT created_at, created_at, 'done', 'booking.assignment_state.confirmed', id || ':6', created_at,
	restaurant_id, id, 'booking.assignment_state.confirmed:' || id || ':6',
	jsonb_build_object('bookingId', id, 'fromState', 'assigned', 'toState', 'confirmed', 'version', 6,
		'metadata', bench.metadata(table_id))
FROM bench.seated;

INSERT INTO observability_events (created_at, source, event_type, context, restaurant_id, booking_id)
SELECT s.created_at, 'assignment.state_machine', 'booking.assignment_state_transition',
	jsonb_build_object('from', w.from_state, 'to', w.to_state, 'version', w.version,
		'metadata', CASE WHEN w.version < 6 THEN bench.metadata() ELSE bench.metadata(s.table_id) END),
	s.restaurant_id, s.id
FROM bench.seated s, bench.walk w
WHERE s.created_at > now() - interval '14 days';

INSERT INTO observability_events (created_at, source, event_type, context, restaurant_id, booking_id)
SELECT s.created_at, 'assignment.coordinator', e.event_type, '{"mode": "active", "trigger": "run"}' || CASE e.event_type
	WHEN 'coordinator.rate_permit_acquired' THEN '{"slot": 1}'
	WHEN 'coordinator.confirmed' THEN jsonb_build_object('strategy', 'optimal_fit',
		'table_ids', jsonb_build_array(s.table_id), 'attempts', 1, 'duration_ms', 1.234)
	ELSE '{}' END, s.restaurant_id, s.id
FROM bench.seated s, (VALUES ('coordinator.start'), ('coordinator.lock_acquired'),
	('coordinator.rate_permit_acquired'), ('coordinator.confirmed')) AS e (event_type)
WHERE s.created_at > now() - interval '14 days';

DROP TABLE bench.seated;
