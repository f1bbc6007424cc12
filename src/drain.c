/*-------------------------------------------------------------------------
 *
 * drain.c
 *		Calls that decide: one booking, or what the queue holds.
 *
 * process_booking() decides on one booking in the caller's transaction,
 * process_due() on several.  run() is a procedure and commits after each.
 *
 * A drain claims the queue's rows one after the other, oldest due first, with
 * FOR UPDATE SKIP LOCKED: so several drains share the work without waiting for
 * each other.  It takes only what was due when it began, and whatever it has
 * decided is either off the queue or due later than that: it offers no booking
 * twice.  A restaurant whose slots are all taken is passed over; run() comes
 * back to it when everything else is done, for as long as a rate-limited
 * caller would wait.  What is still left is due for the next run.
 *
 * In shadow a batch must not keep the legacy path waiting for longer than one
 * rehearsal takes, and the trigger on bookings waits for a claimed row.  So
 * process_due() gives such a claim back before it rehearses, keeps other
 * drains out by the booking's advisory lock, and takes the rows off the queue
 * at its end.
 *
 * process_due() ends early when it had to wait for another writer's lock: that
 * writer may be waiting for a row claimed here.
 *
 * run() does its work under READ COMMITTED, whatever the session's default,
 * because each booking is a transaction of its own.  Between two of them it
 * holds nothing: no lock, no snapshot, no rights but the caller's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "binding.h"
#include "catalog/pg_type.h"
#include "coordinator.h"
#include "executor/spi.h"
#include "flags.h"
#include "funcapi.h"
#include "locks.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "sqlstates.h"
#include "storage/latch.h"
#include "transition.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

PG_FUNCTION_INFO_V1(assignment_process_booking);
PG_FUNCTION_INFO_V1(assignment_process_due);
PG_FUNCTION_INFO_V1(assignment_run);
PG_FUNCTION_INFO_V1(assignment_mode);

#define DECISION_COLUMNS 11

/* how long run() sleeps before it looks at full restaurants again */
#define SLOT_WAIT_MS 10

typedef struct Counts
{
	int			processed;
	int			by_outcome[OUTCOME_COUNT];
	int			errors;
} Counts;

typedef struct Drain
{
	MemoryContext context;		/* outlives the transactions of a run */
	const char *trigger;
	int			max_bookings;	/* 0: no limit */
	QueueCursor cursor;
	int			npassed;		/* restaurants not to be offered in this pass */
	int			max_passed;
	pg_uuid_t  *passed;
	int			nfull;			/* those among them whose slots were taken */
	bool		one_transaction;	/* a batch, which commits when it is done */
	int			nrehearsed;		/* claims given back, to go off the queue */
	ClaimedBooking *rehearsed;
	Counts		counts;
} Drain;

typedef enum OfferResult
{
	OFFER_DECIDED,
	OFFER_PASSED,				/* the restaurant is full or disabled, or the booking busy */
	OFFER_EMPTY					/* nothing more is due */
} OfferResult;

static Datum
nullable_text(const char *value, bool *isnull)
{
	*isnull = value == NULL;
	return value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/* The columns of assignment_v3.decision. */
static void
decision_values(const Decision *decision, Datum *values, bool *nulls)
{
	const Journal *journal = &decision->journal;
	bool		walked = decision->written && journal->nhops > 0;
	const HistoryRow *last = walked ? &journal->hops[journal->nhops - 1] : NULL;
	bool		found = decision->booking.found;

	memset(nulls, 0, sizeof(bool) * DECISION_COLUMNS);
	values[0] = UUIDPGetDatum(&decision->booking_id);
	values[1] = CStringGetTextDatum(outcome_name(decision->outcome));
	values[2] = nullable_text(reason_name(decision->reason), &nulls[2]);
	values[3] = CStringGetTextDatum(mode_name(decision->mode));
	values[4] = nullable_text(found ? state_name(last ? last->to : decision->booking.state) : NULL,
							  &nulls[4]);
	values[5] = nullable_text(decision->strategy, &nulls[5]);
	nulls[6] = decision->ntables == 0;
	if (!nulls[6])
	{
		Datum	   *ids = palloc(sizeof(Datum) * decision->ntables);

		for (int i = 0; i < decision->ntables; i++)
			ids[i] = UUIDPGetDatum(&decision->table_ids[i]);
		values[6] = PointerGetDatum(construct_array(ids, decision->ntables, UUIDOID, UUID_LEN,
													false, TYPALIGN_CHAR));
	}
	values[7] = Int32GetDatum(decision->attempt);
	values[8] = Int32GetDatum(decision->delay_ms);
	values[9] = Int32GetDatum(last ? last->version : decision->booking.version);
	nulls[9] = !found;
	values[10] = nullable_text(decision->has_shadow_outcome ?
							   outcome_name(decision->shadow_outcome) : NULL, &nulls[10]);
}

/* process_booking(booking_id uuid, trigger text) */
Datum
assignment_process_booking(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *booking_id = required_uuid(fcinfo, 0, "booking_id");
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "assignment_v3 decision",
												  ALLOCSET_DEFAULT_SIZES);
	Datum		values[DECISION_COLUMNS];
	bool		nulls[DECISION_COLUMNS];
	Decision	decision = {0};
	TupleDesc	desc = binding_result_type(fcinfo, DECISION_COLUMNS);
	HeapTuple	result;

	MemoryContextSwitchTo(context);
	decision.booking_id = *booking_id;
	decision.trigger = PG_ARGISNULL(1) ? "manual" : optional_text(fcinfo, 1);
	decide(&decision);
	decision_values(&decision, values, nulls);
	MemoryContextSwitchTo(caller);
	result = heap_form_tuple(desc, values, nulls);
	MemoryContextDelete(context);
	return HeapTupleGetDatum(result);
}

static void
drain_init(Drain *drain, FunctionCallInfo fcinfo, const char *trigger, int if_null)
{
	memset(drain, 0, sizeof(Drain));
	drain->context = CurrentMemoryContext;
	drain->trigger = trigger;
	drain->max_bookings = PG_ARGISNULL(0) ? if_null : PG_GETARG_INT32(0);
	if (!PG_ARGISNULL(0) && drain->max_bookings < 1)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("max_bookings must be at least 1")));
	drain->max_passed = 16;
	drain->passed = palloc(sizeof(pg_uuid_t) * drain->max_passed);
	drain->cursor.has_restaurant = !PG_ARGISNULL(1);
	if (drain->cursor.has_restaurant)
		drain->cursor.restaurant_id = *PG_GETARG_UUID_P(1);
	drain->cursor.started_at = GetCurrentTimestamp();
	require_writable();
}

/* Go back to the head of the queue. */
static void
drain_rewind(Drain *drain)
{
	drain->cursor.priority = PG_INT16_MIN;
	drain->cursor.due_at = DT_NOBEGIN;
	memset(&drain->cursor.booking_id, 0, sizeof(pg_uuid_t));
	drain->npassed = 0;
	drain->nfull = 0;
}

static void
pass_over(Drain *drain, const pg_uuid_t *restaurant_id)
{
	if (drain->npassed == drain->max_passed)
	{
		drain->max_passed *= 2;
		drain->passed = repalloc(drain->passed, sizeof(pg_uuid_t) * drain->max_passed);
	}
	drain->passed[drain->npassed++] = *restaurant_id;
}

static void
count_decision(Counts *counts, const Decision *decision)
{
	Outcome		outcome = decision->has_shadow_outcome && !decision->repeated ?
		decision->shadow_outcome : decision->outcome;

	counts->processed++;
	if (decision->failed)
		counts->errors++;
	else
		counts->by_outcome[outcome]++;
}

/* A booking that has moved to a disabled restaurant has no place in the queue. */
static void
drop_claim(const Decision *decision)
{
	StoreScope	scope;

	store_enter(&scope);
	lookup_delete_queue(&decision->booking_id, NULL);
	store_leave(&scope);
}

/* Claim the next due booking, and tell the mode of its restaurant. */
static bool
claim_next(Drain *drain, ClaimedBooking *claimed, PipelineMode *mode)
{
	const char *reason;
	StoreScope	scope;
	bool		found;

	store_enter(&scope);
	found = store_queue_claim(&drain->cursor, drain->passed, drain->npassed, claimed);
	store_leave(&scope);
	if (!found || claimed->rollout.killed)
		return false;
	*mode = flags_mode(&claimed->rollout, &claimed->restaurant_id, &reason);
	return true;
}

/* The same in a batch: in shadow the row's lock is given back at once. */
static bool
claim_for_batch(Drain *drain, ClaimedBooking *claimed, PipelineMode *mode)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool found = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		found = claim_next(drain, claimed, mode);
		if (found && *mode == MODE_SHADOW)
		{
			claimed->released = true;
			RollbackAndReleaseCurrentSubTransaction();
		}
		else
			ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		PG_RE_THROW();
	}
	PG_END_TRY();
	return found;
}

static void
note_rehearsed(Drain *drain, const ClaimedBooking *claimed)
{
	MemoryContext caller = MemoryContextSwitchTo(drain->context);

	if (drain->rehearsed == NULL)
		drain->rehearsed = palloc(sizeof(ClaimedBooking) * 16);
	else if (drain->nrehearsed >= 16 && (drain->nrehearsed & (drain->nrehearsed - 1)) == 0)
		drain->rehearsed = repalloc(drain->rehearsed,
									sizeof(ClaimedBooking) * drain->nrehearsed * 2);
	drain->rehearsed[drain->nrehearsed++] = *claimed;
	MemoryContextSwitchTo(caller);
}

/* Take what a batch has rehearsed off the queue, so late that nobody waits for it for long. */
static void
drop_rehearsed(Drain *drain)
{
	StoreScope	scope;

	if (drain->nrehearsed == 0)
		return;
	store_enter(&scope);
	for (int i = 0; i < drain->nrehearsed; i++)
		lookup_delete_queue(&drain->rehearsed[i].booking_id, &drain->rehearsed[i].due_at);
	store_leave(&scope);
}

/*
 * Claim the next due booking and decide on it, in the current transaction.
 * The slot is taken before the decision, so that a full restaurant costs no
 * events and moves no due time.
 */
static OfferResult
offer_next(Drain *drain, Decision *decision)
{
	ClaimedBooking claimed;
	PipelineMode mode;

	memset(decision, 0, sizeof(Decision));
	if (!(drain->one_transaction ? claim_for_batch : claim_next) (drain, &claimed, &mode))
		return OFFER_EMPTY;
	if (claimed.released && !lock_booking(&claimed.booking_id))
		return OFFER_PASSED;
	if (mode != MODE_DISABLED)
	{
		decision->slot = lock_slot(&claimed.restaurant_id, flags_slots(&claimed.rollout));
		drain->nfull += decision->slot == 0;
	}
	if (decision->slot == 0)
	{
		pass_over(drain, &claimed.restaurant_id);
		return OFFER_PASSED;
	}
	decision->booking_id = claimed.booking_id;
	decision->trigger = drain->trigger;
	decision->claim = &claimed;
	decide(decision);
	decision->claim = NULL;
	if (decision->off_queue)
		note_rehearsed(drain, &claimed);
	if (decision->reason == REASON_PIPELINE_DISABLED)
	{
		drop_claim(decision);
		return OFFER_PASSED;
	}
	count_decision(&drain->counts, decision);
	return OFFER_DECIDED;
}

static bool
drain_is_done(const Drain *drain)
{
	return drain->max_bookings > 0 && drain->counts.processed >= drain->max_bookings;
}

/* process_due(max_bookings int, restaurant_id uuid) returns process_booking()'s rows */
Datum
assignment_process_due(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext context;
	Drain		drain;

	binding_materialize(fcinfo, DECISION_COLUMNS);
	drain_init(&drain, fcinfo, "process_due", 20);
	drain.one_transaction = true;
	drain_rewind(&drain);
	context = AllocSetContextCreate(CurrentMemoryContext, "assignment_v3 decision",
									ALLOCSET_DEFAULT_SIZES);
	while (!drain_is_done(&drain))
	{
		MemoryContext caller = MemoryContextSwitchTo(context);
		Datum		values[DECISION_COLUMNS];
		bool		nulls[DECISION_COLUMNS];
		Decision	decision;
		OfferResult result;

		CHECK_FOR_INTERRUPTS();
		result = offer_next(&drain, &decision);
		if (result == OFFER_DECIDED)
		{
			decision_values(&decision, values, nulls);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
		MemoryContextSwitchTo(caller);
		MemoryContextReset(context);
		if (result == OFFER_EMPTY || decision.yielded)
			break;
	}
	drop_rehearsed(&drain);
	return (Datum) 0;
}

/* A run must own its transactions. */
static void
require_nonatomic(FunctionCallInfo fcinfo)
{
	CallContext *call = (CallContext *) fcinfo->context;

	if (call != NULL && IsA(call, CallContext) && !call->atomic)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
			 errmsg("run() cannot be called inside a transaction block or a function"),
			 errdetail("It commits after each booking."),
			 errhint("Call it on its own, or use SELECT * FROM assignment_v3.process_due().")));
}

/* Start the next transaction of a run. */
static void
next_transaction(void)
{
	SPI_commit();
	if (XactIsoLevel != XACT_READ_COMMITTED)
		(void) set_config_option("transaction_isolation", "read committed", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * Offer everything that is due, once through the queue; whether anything was
 * decided.
 */
static bool
run_pass(Drain *drain, MemoryContext context)
{
	int			before = drain->counts.processed;

	drain_rewind(drain);
	while (!drain_is_done(drain))
	{
		Decision	decision;
		OfferResult result;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(context);
		PushActiveSnapshot(GetTransactionSnapshot());
		result = offer_next(drain, &decision);
		PopActiveSnapshot();
		next_transaction();
		MemoryContextSwitchTo(drain->context);
		MemoryContextReset(context);
		if (result == OFFER_EMPTY)
			break;
	}
	return drain->counts.processed > before;
}

static void
sleep_ms(int ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static Datum
counts_result(FunctionCallInfo fcinfo, const Counts *counts)
{
	TupleDesc	desc = binding_result_type(fcinfo, 6);
	Datum		values[6];
	bool		nulls[6] = {0};

	values[0] = Int32GetDatum(counts->processed);
	values[1] = Int32GetDatum(counts->by_outcome[OUTCOME_CONFIRMED]);
	values[2] = Int32GetDatum(counts->by_outcome[OUTCOME_RETRY]);
	values[3] = Int32GetDatum(counts->by_outcome[OUTCOME_MANUAL_REVIEW]);
	values[4] = Int32GetDatum(counts->by_outcome[OUTCOME_NOOP]);
	values[5] = Int32GetDatum(counts->errors);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/* run(max_bookings int, restaurant_id uuid, INOUT counts ...) */
Datum
assignment_run(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;
	Drain		drain;
	int			waited_ms = 0;

	require_nonatomic(fcinfo);
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	drain_init(&drain, fcinfo, "run", 0);
	context = AllocSetContextCreate(drain.context, "assignment_v3 decision",
									ALLOCSET_DEFAULT_SIZES);
	next_transaction();
	for (;;)
	{
		if (run_pass(&drain, context))
			waited_ms = 0;
		if (drain.nfull == 0 || drain_is_done(&drain) || waited_ms >= flag_rate_limit_delay)
			break;
		sleep_ms(SLOT_WAIT_MS);
		waited_ms += SLOT_WAIT_MS;
	}
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	MemoryContextSwitchTo(caller);
	return counts_result(fcinfo, &drain.counts);
}

/* mode(restaurant_id uuid) returns (mode text, reason text) */
Datum
assignment_mode(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *restaurant_id = PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0);
	RolloutRows rollout;
	PipelineMode mode;
	const char *reason;
	StoreScope	scope;
	TupleDesc	desc = binding_result_type(fcinfo, 2);
	Datum		values[2];
	bool		nulls[2] = {0};

	store_enter(&scope);
	lookup_rollout(restaurant_id, &rollout);
	store_leave(&scope);
	mode = flags_mode(&rollout, restaurant_id, &reason);

	values[0] = CStringGetTextDatum(mode_name(mode));
	values[1] = CStringGetTextDatum(reason);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}
