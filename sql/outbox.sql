/*-------------------------------------------------------------------------
 *
 * outbox.sql
 *		For those who send the messages: claim_outbox(), complete_outbox() and
 *		fail_outbox().
 *
 * The database writes exactly one message per arrival of a booking; sending it
 * is at least once, under an idempotency key that never changes.
 *
 *-------------------------------------------------------------------------
 */

-- claim_outbox(): messages to send, for the length of a lease: those whose last lease has run out, then those that are due.
-- Skips what others hold; waits for nobody.
-- Errors: 55000 not attached, PT422 bad argument, 25006 read-only.
CREATE FUNCTION assignment_v3.claim_outbox(
	event_types text[] DEFAULT NULL,
	max_rows integer DEFAULT 10,
	lease interval DEFAULT '00:05:00')
RETURNS TABLE (id uuid, event_type text, booking_id uuid, restaurant_id uuid, idempotency_key text,
	payload jsonb, attempt integer, created_at timestamptz)
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_claim_outbox';
COMMENT ON FUNCTION assignment_v3.claim_outbox(text[], integer, interval) IS
	'messages to send, leased to the caller; the pipeline''s own types unless others are named';

-- complete_outbox(): these have been sent.  Returns how many of them were not done before.
-- Errors: 55000 not attached, PT422 null, 25006 read-only.
CREATE FUNCTION assignment_v3.complete_outbox(ids uuid[])
RETURNS integer
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_complete_outbox';
COMMENT ON FUNCTION assignment_v3.complete_outbox(uuid[]) IS
	'marks messages as sent, and returns how many were not before';

-- fail_outbox(): this one could not be sent: it comes again after a while, and is dead after ten tries.  With attempt only
-- as long as nobody else has claimed it since.
-- Errors: PT404 no such message, 55000 not attached, PT422 null id, 25006 read-only.
CREATE FUNCTION assignment_v3.fail_outbox(
	id uuid,
	error text DEFAULT NULL,
	INOUT attempt integer DEFAULT NULL,
	OUT status text,
	OUT next_attempt_at timestamptz)
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_fail_outbox';
COMMENT ON FUNCTION assignment_v3.fail_outbox(uuid, text, integer) IS
	'gives a message back for a later try, or up after ten';
