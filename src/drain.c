/*-------------------------------------------------------------------------
 *
 * drain.c
 *		Calls that decide: one booking, or what the queue holds.
 *
 * process_booking() decides on one booking in the caller's transaction,
 * process_due() on several.  run() is a procedure and commits after each batch
 * of up to batch_size bookings.
 *
 * What to offer, and in which order, is a turn's business (turn.c).  A drain
 * claims each row with FOR UPDATE SKIP LOCKED as it comes to it, so several
 * drains share the work without waiting for each other.  It takes only what
 * was due when it began, and whatever it has decided is either off the queue or
 * due later than that: it offers no booking twice.  A restaurant whose slots
 * are all taken is passed over; run() comes back to it when everything else is
 * done, for as long as a rate-limited caller would wait.  What is still left is
 * due for the next run.
 *
 * Each offer is a subtransaction of its own: what cannot even be told of a
 * booking, such as an error while its trail is written, is undone with that
 * booking alone, reported as a warning, and the booking is offered later.  With
 * the try inside that makes two subtransactions a booking, and the 64 that a
 * backend's cache holds are why a batch ends at 32 bookings.  A batch ends
 * early when it had to wait for another writer's lock, or when somebody waits
 * for what it has written.  What a cancelled run has decided so far is kept.
 *
 * In shadow nobody must wait for longer than one rehearsal takes, and the
 * trigger on bookings waits for a claimed row.  So in shadow the row is not
 * claimed: the booking's advisory lock keeps other drains out, and the batch
 * takes the rows off the queue at its end.
 *
 * run() does its work under READ COMMITTED, whatever the session's default,
 * because each batch is a transaction of its own.  Between two of them it
 * holds nothing: no lock, no snapshot, no rights but the caller's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "binding.h"
#include "catalog/pg_type.h"
#include "coordinator.h"
#include "drain.h"
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
#include "turn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "wakeup.h"

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
	MemoryContext work;			/* of one offer */
	const char *trigger;
	int			max_bookings;	/* 0: no limit */
	TimestampTz ends_at;		/* 0: no limit */
	pg_uuid_t	restaurant_id;	/* the only one, where there is one */
	Turn		turn;
	int			nfull;			/* restaurants of the turn whose slots were taken */
	bool		blocked;		/* others have had something that was due, or its slots */
	int			ndisabled;		/* rows left, as the settings disable their restaurants */
	bool		yielded;		/* the last batch has waited for a lock in vain */
	ErrorData  *cancelled;		/* thrown on when the batch is committed */
	int			nrehearsed;		/* rows to go off the queue when the batch ends */
	QueueRow   *rehearsed;
	ReturnSetInfo *results;		/* where decisions are returned, if anywhere */
	int			progress;		/* decisions that were not told before */
	Counts		counts;
} Drain;

typedef enum OfferResult
{
	OFFER_DECIDED,
	OFFER_PASSED				/* the restaurant takes none, or the booking is busy */
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

/* Prepare to drain the queue, or what it holds of one restaurant; no limit is 0. */
static void
drain_init(Drain *drain, const char *trigger, int max_bookings, const pg_uuid_t *restaurant_id)
{
	memset(drain, 0, sizeof(Drain));
	drain->context = CurrentMemoryContext;
	drain->work = AllocSetContextCreate(CurrentMemoryContext, "assignment_v3 decision",
										ALLOCSET_DEFAULT_SIZES);
	drain->trigger = trigger;
	drain->max_bookings = max_bookings;
	if (restaurant_id != NULL)
		drain->restaurant_id = *restaurant_id;
	turn_init(&drain->turn, GetCurrentTimestamp(),
			  restaurant_id != NULL ? &drain->restaurant_id : NULL, flag_batch_size);
	require_writable();
}

/* The same from arguments (max_bookings int, restaurant_id uuid). */
static void
drain_init_call(Drain *drain, FunctionCallInfo fcinfo, const char *trigger, int if_null)
{
	if (!PG_ARGISNULL(0) && PG_GETARG_INT32(0) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("max_bookings must be at least 1")));
	drain_init(drain, trigger, PG_ARGISNULL(0) ? if_null : PG_GETARG_INT32(0),
			   PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1));
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

static void
note_rehearsed(Drain *drain, const QueueRow *row)
{
	if (drain->rehearsed == NULL)
		drain->rehearsed = MemoryContextAlloc(drain->context, sizeof(QueueRow) * 32);
	else if (drain->nrehearsed >= 32 && (drain->nrehearsed & (drain->nrehearsed - 1)) == 0)
		drain->rehearsed = repalloc(drain->rehearsed, sizeof(QueueRow) * drain->nrehearsed * 2);
	drain->rehearsed[drain->nrehearsed++] = *row;
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
	drain->nrehearsed = 0;
}

/*
 * May the restaurant's bookings be offered?  Asked once in a turn; each
 * decision asks for the mode again, under its lock.
 */
static bool
restaurant_takes(TurnRestaurant *restaurant)
{
	const char *reason;

	if (!restaurant->asked)
	{
		lookup_rollout(&restaurant->id, &restaurant->rollout);
		restaurant->mode = flags_mode(&restaurant->rollout, &restaurant->id, &reason);
		restaurant->passed = restaurant->mode == MODE_DISABLED ||
			lookup_is_paused(&restaurant->id);
		restaurant->asked = true;
	}
	return !restaurant->passed;
}

/* Claim a row of the turn, or in shadow its booking; false if somebody else is at it. */
static bool
claim_row(Drain *drain, const TurnRow *row, Claim *claim)
{
	StoreScope	scope;
	bool		claimed;

	store_enter(&scope);
	claimed = restaurant_takes(row->restaurant) && lookup_is_queued(&row->row);
	if (claimed)
	{
		claim->row = row->row;
		claim->rollout = row->restaurant->rollout;
		claim->locked = row->restaurant->mode != MODE_SHADOW;
		claimed = claim->locked ? lookup_claim_queue(&row->row) : lock_booking(&row->row.booking_id);
		drain->blocked |= !claimed;
	}
	else if (row->restaurant->mode == MODE_DISABLED && !row->restaurant->rollout.killed &&
			 !row->restaurant->rollout.restaurant.exists)
		drain->ndisabled++;
	store_leave(&scope);
	return claimed;
}

/*
 * Claim a row and decide on its booking.  The slot is taken before the
 * decision, so that a full restaurant costs no events and moves no due time.
 */
static OfferResult
offer(Drain *drain, const TurnRow *row, Decision *decision)
{
	Claim		claim;

	if (!claim_row(drain, row, &claim))
		return OFFER_PASSED;
	decision->slot = lock_slot(&row->restaurant->id, flags_slots(&claim.rollout));
	if (decision->slot == 0)
	{
		row->restaurant->passed = true;
		drain->nfull++;
		drain->blocked = true;
		return OFFER_PASSED;
	}
	decision->booking_id = claim.row.booking_id;
	decision->trigger = drain->trigger;
	decision->claim = &claim;
	decide(decision);
	decision->claim = NULL;
	/* a rehearsal that met somebody leaves the row as due as it was: not in this turn again */
	if (!claim.locked && decision->mode == MODE_SHADOW && !decision->off_queue)
	{
		drain->blocked = true;
		return OFFER_PASSED;
	}
	if (decision->off_queue)
		note_rehearsed(drain, &claim.row);
	if (decision->reason != REASON_PIPELINE_DISABLED)
		return OFFER_DECIDED;
	drop_claim(decision);
	return OFFER_DECIDED;
}

/* What can't even be told of a booking: it is offered later, and the others go on. */
static void
set_aside(Drain *drain, const TurnRow *row, const ErrorData *error)
{
	StoreScope	scope;

	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("booking %s could not be decided on: %s", uuid_text(&row->row.booking_id),
					error->message)));
	store_enter(&scope);
	store_queue_postpone(&row->row.booking_id,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 flags_retry_policy().max_ms));
	store_leave(&scope);
	drain->counts.processed++;
	drain->counts.errors++;
	drain->progress++;
}

/* Offer one row, in a subtransaction that is kept if something came of it. */
static OfferResult
offer_row(Drain *drain, const TurnRow *row, Decision *decision)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile OfferResult result = OFFER_PASSED;

	memset(decision, 0, sizeof(Decision));
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		CHECK_FOR_INTERRUPTS();
		result = offer(drain, row, decision);
		if (result == OFFER_DECIDED)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(drain->context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && drain->results == NULL)
			drain->cancelled = error;
		else if (error_must_rethrow(error))
			ReThrowError(error);
		else
		{
			binding_require_whole();
			set_aside(drain, row, error);
			FreeErrorData(error);
		}
	}
	PG_END_TRY();
	return result;
}

static bool
drain_is_done(const Drain *drain)
{
	return (drain->max_bookings > 0 && drain->counts.processed >= drain->max_bookings) ||
		(drain->ends_at != 0 && GetCurrentTimestamp() >= drain->ends_at);
}

static void
return_decision(const Drain *drain, const Decision *decision)
{
	Datum		values[DECISION_COLUMNS];
	bool		nulls[DECISION_COLUMNS];

	if (drain->results == NULL)
		return;
	decision_values(decision, values, nulls);
	tuplestore_putvalues(drain->results->setResult, drain->results->setDesc, values, nulls);
}

static void
build_turn(Drain *drain)
{
	StoreScope	scope;

	/* what offers a row could not be planned, or would find what once was queued */
	if (binding_get()->sharded)
		binding_require_whole();
	store_enter(&scope);
	turn_build(&drain->turn, drain->max_bookings > 0 ?
			   drain->max_bookings - drain->counts.processed : INT_MAX);
	store_leave(&scope);
}

static bool
turn_is_over(const Drain *drain)
{
	return drain->turn.next == drain->turn.nrows || drain->cancelled != NULL ||
		drain_is_done(drain);
}

/* Offer rows of the turn in the current transaction, until so many are decided. */
static void
work_batch(Drain *drain, int size)
{
	int			before = drain->counts.processed;

	drain->yielded = false;
	while (drain->counts.processed - before < size && !turn_is_over(drain) && !drain->yielded)
	{
		const TurnRow *row = &drain->turn.rows[drain->turn.next++];
		Decision	decision;

		MemoryContextSwitchTo(drain->work);
		if (offer_row(drain, row, &decision) == OFFER_PASSED)
			row->restaurant->taken.kept = true;
		else if (decision.reason != REASON_PIPELINE_DISABLED)
		{
			count_decision(&drain->counts, &decision);
			drain->progress += !decision.repeated;
			return_decision(drain, &decision);
			drain->yielded = decision.yielded || (drain->results == NULL && others_wait());
		}
		MemoryContextSwitchTo(drain->context);
		MemoryContextReset(drain->work);
	}
	drop_rehearsed(drain);
}

/* process_due(max_bookings int, restaurant_id uuid) returns process_booking()'s rows */
Datum
assignment_process_due(PG_FUNCTION_ARGS)
{
	Drain		drain;
	int			before;

	binding_materialize(fcinfo, DECISION_COLUMNS);
	drain_init_call(&drain, fcinfo, "process_due", 20);
	drain.results = (ReturnSetInfo *) fcinfo->resultinfo;
	do
	{
		before = drain.progress;
		do
		{
			build_turn(&drain);
			work_batch(&drain, INT_MAX);
		} while (drain.turn.goes_on && !drain_is_done(&drain) && !drain.yielded);
	} while (drain.progress > before && !drain_is_done(&drain) && !drain.yielded);
	turn_settle(&drain.turn);
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
			 errdetail("It commits after each batch of bookings."),
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

/* Build the next turn and offer its rows, with a commit after each batch. */
static void
run_turn(Drain *drain)
{
	CHECK_FOR_INTERRUPTS();
	PushActiveSnapshot(GetTransactionSnapshot());
	build_turn(drain);
	PopActiveSnapshot();
	if (drain->turn.nrows > flag_batch_size || drain->turn.goes_on)
		wakeup_help();
	while (!turn_is_over(drain))
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		work_batch(drain, flag_batch_size);
		PopActiveSnapshot();
		next_transaction();
		MemoryContextSwitchTo(drain->context);
		if (drain->cancelled)
			ReThrowError(drain->cancelled);
	}
}

/*
 * Offer everything that is due once, in one turn or, where that is too much,
 * in the turns of a round; whether anything was decided.
 */
static bool
run_pass(Drain *drain)
{
	int			before = drain->progress;

	drain->nfull = 0;
	do
		run_turn(drain);
	while (drain->turn.goes_on && !drain_is_done(drain));
	return drain->progress > before;
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

static void
limit_time(Drain *drain, FunctionCallInfo fcinfo)
{
	int			max_seconds = PG_ARGISNULL(8) ? 0 : PG_GETARG_INT32(8);

	if (PG_ARGISNULL(8))
		return;
	if (max_seconds < 1)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("max_seconds must be at least 1")));
	drain->ends_at = drain->turn.started_at + (int64) max_seconds * USECS_PER_SEC;
}

/* run(max_bookings int, restaurant_id uuid, INOUT counts ..., max_seconds int) */
Datum
assignment_run(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	Drain		drain;
	int			waited_ms = 0;

	require_nonatomic(fcinfo);
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	drain_init_call(&drain, fcinfo, "run", 0);
	limit_time(&drain, fcinfo);
	next_transaction();
	MemoryContextSwitchTo(drain.context);
	for (;;)
	{
		bool		worked = run_pass(&drain);

		if (drain_is_done(&drain) ||
			(!worked && (drain.nfull == 0 || waited_ms >= flag_rate_limit_delay)))
			break;
		if (worked)
			waited_ms = 0;
		else
		{
			next_transaction();
			MemoryContextSwitchTo(drain.context);
			sleep_ms(SLOT_WAIT_MS);
			waited_ms += SLOT_WAIT_MS;
		}
	}
	turn_settle(&drain.turn);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	MemoryContextSwitchTo(caller);
	return counts_result(fcinfo, &drain.counts);
}

/* When the first of the rows is due that were not when the drain began. */
static TimestampTz
next_due(const Drain *drain)
{
	TimestampTz result = DT_NOEND;
	StoreScope	scope;
	QueueRow   *rows;
	int			nrows;

	PushActiveSnapshot(GetTransactionSnapshot());
	store_enter(&scope);
	rows = store_queue_peek(drain->turn.started_at + 1, DT_NOEND, NULL, 1, &nrows);
	for (int i = 0; i < nrows; i++)
		result = Min(result, rows[i].due_at);
	store_leave(&scope);
	PopActiveSnapshot();
	return result;
}

/*
 * Come back for what is in the queue late, but not so soon that looking at what
 * cannot be decided takes all the time.
 */
static TimestampTz
look_at(const Drain *drain)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!drain->turn.rotates)
		return drain->turn.head_at;
	return Max(drain->turn.head_at, now + (now - drain->turn.started_at) * 20);
}

/*
 * Offer what is due now once, as run() does, but without waiting for full
 * restaurants: for the background worker, who calls this in a transaction that
 * has done nothing yet, and ends another one.  Where more is due than one turn
 * holds, a turn that came to anything is a pass, so that what becomes due
 * meanwhile does not wait for a round.
 */
void
drain_pass(const char *trigger, TimestampTz ends_at, bool ask_next_due, DrainReport *report)
{
	Drain		drain;

	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	drain_init(&drain, trigger, 0, NULL);
	drain.ends_at = ends_at;
	next_transaction();
	MemoryContextSwitchTo(drain.context);
	do
		run_turn(&drain);
	while (drain.turn.goes_on && drain.progress == 0 && !drain_is_done(&drain));
	turn_settle(&drain.turn);
	report->processed = drain.counts.processed;
	report->more = drain_is_done(&drain) || (drain.turn.rotates && drain.progress > 0);
	report->blocked = drain.blocked;
	report->ndisabled = report->more ? 0 : drain.ndisabled;
	report->head_at = look_at(&drain);
	report->next_due = ask_next_due ? next_due(&drain) : DT_NOEND;
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
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
