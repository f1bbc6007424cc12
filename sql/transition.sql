-- transition(): moves one booking along one legal edge, if its version is still the expected one.
-- Waits for the booking's row lock.
-- Errors: PT404 no such booking, PT409 stale version, PT422 illegal edge or bad argument, 25006 read-only.
CREATE FUNCTION assignment_v3.transition(
	booking_id uuid,
	to_state text,
	expected_version integer DEFAULT NULL,
	reason text DEFAULT NULL,
	metadata jsonb DEFAULT '{}',
	actor_id uuid DEFAULT NULL)
RETURNS assignment_v3.step
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_transition';
COMMENT ON FUNCTION assignment_v3.transition(uuid, text, integer, text, jsonb, uuid) IS
	'moves a booking along one legal edge of the state machine';

-- requeue(): gives a booking in manual review or failed a new start.
-- Waits for the booking's row lock.
-- Errors: PT404 no such booking, PT422 another state, 25006 read-only.
CREATE FUNCTION assignment_v3.requeue(
	booking_id uuid,
	reason text DEFAULT NULL,
	actor_id uuid DEFAULT NULL)
RETURNS assignment_v3.step
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_requeue';
COMMENT ON FUNCTION assignment_v3.requeue(uuid, text, uuid) IS
	'returns a booking from manual review or failed to the queue';

-- reopen(): releases the tables of a confirmed booking and has it assigned anew.
-- Waits for the booking's row lock.
-- Errors: PT404 no such booking, PT422 another state, 25006 read-only.
CREATE FUNCTION assignment_v3.reopen(
	booking_id uuid,
	reason text DEFAULT NULL,
	actor_id uuid DEFAULT NULL)
RETURNS assignment_v3.step
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_reopen';
COMMENT ON FUNCTION assignment_v3.reopen(uuid, text, uuid) IS
	'releases the tables of a confirmed booking and returns it to the queue';

-- assign(): seats a booking at tables chosen by staff, from every state and in every mode.
-- Takes the booking's and the tables' advisory locks if they are free; waits for the booking's row lock.
-- Errors: PT404 no such booking, PT409 stale version or somebody else at work, PT422 a check failed, 25006 read-only.
CREATE FUNCTION assignment_v3.assign(
	booking_id uuid,
	table_ids uuid[],
	reason text DEFAULT NULL,
	expected_version integer DEFAULT NULL,
	force boolean DEFAULT false,
	actor_id uuid DEFAULT NULL)
RETURNS assignment_v3.step
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_assign';
COMMENT ON FUNCTION assignment_v3.assign(uuid, uuid[], text, integer, boolean, uuid) IS
	'seats a booking at chosen tables; force passes seats, party limits, adjacency and zone';

-- block(): takes tables out for a while, and lists the assignments that collide.
-- Takes the tables' advisory locks if they are free.
-- Errors: PT404 no such table, PT409 a table is being assigned, PT422 bad argument, 25006 read-only.
CREATE FUNCTION assignment_v3.block(
	table_ids uuid[],
	start_at timestamptz,
	end_at timestamptz,
	reason text DEFAULT NULL)
RETURNS TABLE (block_id uuid, table_id uuid, colliding_booking_id uuid)
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_block';
COMMENT ON FUNCTION assignment_v3.block(uuid[], timestamptz, timestamptz, text) IS
	'takes tables out of service for a while; one row per table and colliding booking';

-- unblock(): ends a block.
-- Errors: PT422 null id, 25006 read-only.
CREATE FUNCTION assignment_v3.unblock(id uuid)
RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_unblock';
COMMENT ON FUNCTION assignment_v3.unblock(uuid) IS
	'removes a block; false if there is none of that id';

-- purge(): the one way to shorten the trail.  Keeps each booking's newest history row.
-- Errors: PT422 null or negative interval, 25006 read-only.
CREATE FUNCTION assignment_v3.purge(
	older_than interval,
	OUT history_rows bigint,
	OUT attempt_rows bigint,
	OUT event_rows bigint,
	OUT outbox_rows bigint,
	OUT shadow_rows bigint)
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_purge';
COMMENT ON FUNCTION assignment_v3.purge(interval) IS
	'deletes history, attempts, events, done messages and shadow results of the pipeline older than an interval';

-- The triggers that attach() puts on bookings and on their history.
CREATE FUNCTION assignment_v3.booking_validate()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'assignment_booking_validate';
COMMENT ON FUNCTION assignment_v3.booking_validate() IS
	'trigger: refuses illegal steps and stale versions, sets the version';

CREATE FUNCTION assignment_v3.booking_record()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'assignment_booking_record';
COMMENT ON FUNCTION assignment_v3.booking_record() IS
	'trigger: writes the history of other writers'' changes and keeps the queue';

CREATE FUNCTION assignment_v3.history_append_only()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'assignment_history_append_only';
COMMENT ON FUNCTION assignment_v3.history_append_only() IS
	'trigger: history goes only with its booking or through purge()';

CREATE FUNCTION assignment_v3.history_record_events()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'assignment_history_record_events';
COMMENT ON FUNCTION assignment_v3.history_record_events() IS
	'trigger: writes one event per transition in the history';
