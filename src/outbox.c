/*-------------------------------------------------------------------------
 *
 * outbox.c
 *		The outbox from the side of those who send its messages.
 *
 * A confirmation and its message are one transaction, so there is exactly one
 * message for each, whatever is retried or crashes.  Sending is not: a worker
 * may die between the mail and the mark, and then nobody can know whether it
 * went out.  So a message is sent at least once, and always under the same
 * idempotency key, by which the receiver may tell that he has it already.
 *
 * A worker claims messages for the length of a lease: they are "processing",
 * and next_attempt_at is when the lease ends.  What it then neither completes
 * nor fails can be claimed again.  The tries are counted at the claim, so a
 * message that kills its worker comes to an end too; after ten tries it is
 * "dead", and an event says so.
 *
 * Locking: a claim skips rows that others have locked, and waits for nobody.
 * complete_outbox() and fail_outbox() wait for a row that is being claimed,
 * in the order of ids.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "binding.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "funcapi.h"
#include "journal.h"
#include "policy.h"
#include "sqlstates.h"
#include "store.h"
#include "transition.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(assignment_claim_outbox);
PG_FUNCTION_INFO_V1(assignment_complete_outbox);
PG_FUNCTION_INFO_V1(assignment_fail_outbox);

#define EVENT_SOURCE_OUTBOX "assignment.outbox"
#define MAX_ATTEMPTS 10
#define MAX_ROWS 1000
#define DEFAULT_ROWS 10
#define DEFAULT_LEASE_MS (5 * 60 * 1000)

#define CLAIM_COLUMNS 8
#define FAIL_COLUMNS 3

/* Half a minute, doubled with each try up to an hour: ten tries take some three hours. */
static const RetryPolicy back_off = {
	.max_attempts = MAX_ATTEMPTS,
	.base_ms = 30 * 1000,
	.max_ms = 60 * 60 * 1000,
	.jitter_ms = 5 * 1000,
};

/* The messages of the pipeline: a worker of ours must not take those of the app's. */
static const AssignmentState told_states[] = {
	STATE_CONFIRMED, STATE_MANUAL_REVIEW, STATE_FAILED
};

static Datum
own_event_types(void)
{
	Datum		types[lengthof(told_states)];

	for (int i = 0; i < (int) lengthof(told_states); i++)
		types[i] = CStringGetTextDatum(psprintf("booking.assignment_state.%s",
												state_name(told_states[i])));
	return PointerGetDatum(construct_array(types, lengthof(types), TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/* An array that is given must have elements, and no nulls. */
static Datum
required_array(FunctionCallInfo fcinfo, int arg, const char *name, bool may_be_empty)
{
	ArrayType  *array;

	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("%s must not be null", name)));
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("%s must not contain nulls", name)));
	if (!may_be_empty && ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("%s must not be empty", name),
				 errhint("Leave it out for the types of the pipeline.")));
	return PointerGetDatum(array);
}

static int
read_max_rows(FunctionCallInfo fcinfo, int arg)
{
	int			max_rows = PG_ARGISNULL(arg) ? DEFAULT_ROWS : PG_GETARG_INT32(arg);

	if (max_rows < 1 || max_rows > MAX_ROWS)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("max_rows must be between 1 and %d", MAX_ROWS)));
	return max_rows;
}

/* When a lease that is given now will end. */
static TimestampTz
read_lease(FunctionCallInfo fcinfo, int arg, TimestampTz now)
{
	TimestampTz ends;

	if (PG_ARGISNULL(arg))
		return TimestampTzPlusMilliseconds(now, DEFAULT_LEASE_MS);
	ends = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(now),
												   PG_GETARG_DATUM(arg)));
	if (ends <= now || TIMESTAMP_NOT_FINITE(ends) || ends > now + USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("lease must be longer than nothing and at most a day"),
				 errhint("Choose it longer than it takes to send max_rows messages.")));
	return ends;
}

/* Leave an event about a message that was not sent. */
static void
tell(const OutboxMessage *message, const char *type, const char *severity, const char *error,
	 int64 delay_ms)
{
	EventRow	event = {EVENT_SOURCE_OUTBOX, type, severity, NULL, GetCurrentTimestamp()};
	StringInfoData json;

	json_begin(&json);
	json_text(&json, "message_id", uuid_text(&message->id));
	json_text(&json, "event_type", message->event_type);
	json_number(&json, "attempt", message->attempt);
	if (error != NULL)
		json_text(&json, "error", error);
	if (delay_ms > 0)
		json_number(&json, "delay_ms", delay_ms);
	json_end(&json);
	event.context = json.data;
	append_events(message->has_booking ? &message->booking_id : NULL,
				  message->has_restaurant ? &message->restaurant_id : NULL, &event, 1);
}

static void
put_message(ReturnSetInfo *rsinfo, const OutboxMessage *message)
{
	Datum		values[CLAIM_COLUMNS];
	bool		nulls[CLAIM_COLUMNS] = {0};

	values[0] = UUIDPGetDatum(&message->id);
	values[1] = CStringGetTextDatum(message->event_type);
	values[2] = UUIDPGetDatum(&message->booking_id);
	nulls[2] = !message->has_booking;
	values[3] = UUIDPGetDatum(&message->restaurant_id);
	nulls[3] = !message->has_restaurant;
	nulls[4] = message->idempotency_key == NULL;
	if (!nulls[4])
		values[4] = CStringGetTextDatum(message->idempotency_key);
	values[5] = JsonbPGetDatum(message->payload);
	nulls[5] = message->payload == NULL;
	values[6] = Int32GetDatum(message->attempt);
	values[7] = TimestampTzGetDatum(message->created_at);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Claim messages, whose leases have run out or which are due; how many. */
static int
claim(ReturnSetInfo *rsinfo, const OutboxClaim *request, bool leased, int max_rows)
{
	int			nmessages;
	OutboxMessage *messages = store_claim_messages(request, leased, max_rows, &nmessages);

	for (int i = 0; i < nmessages; i++)
	{
		if (strcmp(messages[i].status, "processing") == 0)
			put_message(rsinfo, &messages[i]);
		else
			tell(&messages[i], "outbox.dead", "error", "no worker has reported what became of it", 0);
	}
	return nmessages;
}

/*
 * claim_outbox(event_types text[], max_rows int, lease interval) returns the
 * messages to send, oldest first.
 */
Datum
assignment_claim_outbox(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			max_rows = read_max_rows(fcinfo, 1);
	OutboxClaim request;
	StoreScope	scope;
	int			nclaimed;

	request.now = GetCurrentTimestamp();
	request.lease_ends = read_lease(fcinfo, 2, request.now);
	request.event_types = PG_ARGISNULL(0) ? own_event_types() :
		required_array(fcinfo, 0, "event_types", false);
	request.max_attempts = MAX_ATTEMPTS;
	binding_materialize(fcinfo, CLAIM_COLUMNS);
	require_writable();

	store_enter(&scope);
	binding_require_whole();
	nclaimed = claim(rsinfo, &request, true, max_rows);
	if (nclaimed < max_rows)
		claim(rsinfo, &request, false, max_rows - nclaimed);
	store_leave(&scope);
	return (Datum) 0;
}

/* complete_outbox(ids uuid[]) returns how many of them were not done before */
Datum
assignment_complete_outbox(PG_FUNCTION_ARGS)
{
	Datum		ids = required_array(fcinfo, 0, "ids", true);
	StoreScope	scope;
	int			completed;

	require_writable();
	store_enter(&scope);
	binding_require_whole();
	completed = store_complete_messages(ids, GetCurrentTimestamp());
	store_leave(&scope);
	PG_RETURN_INT32(completed);
}

/* Give a message back for a later try, or give it up. */
static void
fail(OutboxMessage *message, const char *error, TimestampTz *next_attempt_at)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		dead = policy_is_exhausted(&back_off, message->attempt);
	int			delay_ms = policy_retry_delay(&back_off, message->attempt - 1,
											  pg_prng_double(&pg_global_prng_state));

	*next_attempt_at = dead ? now : TimestampTzPlusMilliseconds(now, delay_ms);
	message->status = dead ? "dead" : "pending";
	store_postpone_message(&message->id, message->status, *next_attempt_at, now);
	tell(message, dead ? "outbox.dead" : "outbox.failed", dead ? "error" : "warning", error,
		 dead ? 0 : delay_ms);
}

/*
 * fail_outbox(id uuid, error text, attempt int) returns (attempt, status,
 * next_attempt_at).  Only who holds the lease can fail a message.
 */
Datum
assignment_fail_outbox(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *id = required_uuid(fcinfo, 0, "id");
	const char *error = optional_text(fcinfo, 1);
	TupleDesc	desc = binding_result_type(fcinfo, FAIL_COLUMNS);
	Datum		values[FAIL_COLUMNS];
	bool		nulls[FAIL_COLUMNS] = {0};
	TimestampTz next_attempt_at = 0;
	OutboxMessage message;
	StoreScope	scope;

	require_writable();
	store_enter(&scope);
	binding_require_whole();
	if (!store_lock_message(id, &message))
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_NOT_FOUND),
				 errmsg("message %s does not exist", uuid_text(id))));
	if (strcmp(message.status, "processing") == 0 &&
		(PG_ARGISNULL(2) || PG_GETARG_INT32(2) == message.attempt))
		fail(&message, error, &next_attempt_at);
	store_leave(&scope);

	values[0] = Int32GetDatum(message.attempt);
	values[1] = CStringGetTextDatum(message.status);
	values[2] = TimestampTzGetDatum(next_attempt_at);
	nulls[2] = next_attempt_at == 0 || strcmp(message.status, "pending") != 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
