-- process_booking(): decides on one booking in the caller's transaction.
-- Takes the booking's advisory lock, a slot of its restaurant and the tables' locks, each only if free.
-- Errors: 55000 not attached, PT422 null id, 25006 read-only; under REPEATABLE READ and SERIALIZABLE class 40.
CREATE FUNCTION assignment_v3.process_booking(
	booking_id uuid,
	trigger text DEFAULT 'manual')
RETURNS assignment_v3.decision
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_process_booking';
COMMENT ON FUNCTION assignment_v3.process_booking(uuid, text) IS
	'seats one booking, or says why not and when to come again';

-- process_due(): decides on what the queue holds, in one transaction, for callers that can't CALL run().
-- Errors: as process_booking().
CREATE FUNCTION assignment_v3.process_due(
	max_bookings integer DEFAULT 20,
	restaurant_id uuid DEFAULT NULL)
RETURNS SETOF assignment_v3.decision
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_process_due';
COMMENT ON FUNCTION assignment_v3.process_due(integer, uuid) IS
	'works off due bookings in one transaction; null means 20 and every restaurant';

-- run(): works off the queue in batches of assignment_v3.batch_size bookings, with a commit after each batch.
-- Errors: 2D000 inside a transaction block or a function; else as process_booking().
CREATE PROCEDURE assignment_v3.run(
	max_bookings integer DEFAULT NULL,
	restaurant_id uuid DEFAULT NULL,
	INOUT processed integer DEFAULT NULL,
	INOUT confirmed integer DEFAULT NULL,
	INOUT retry integer DEFAULT NULL,
	INOUT manual_review integer DEFAULT NULL,
	INOUT noop integer DEFAULT NULL,
	INOUT error integer DEFAULT NULL,
	max_seconds integer DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'assignment_run';
COMMENT ON PROCEDURE assignment_v3.run(integer, uuid, integer, integer, integer, integer, integer, integer, integer) IS
	'works off the queue, a commit per batch; ends with a row of counts';
