/*-------------------------------------------------------------------------
 *
 * survivors.c
 *		Events that outlive the transaction they happened in.
 *
 * A refused step, a version conflict, an error that is thrown on: whatever
 * tells of them is rolled back together with them.  So they are kept in the
 * backend's memory, with the time at which they happened, and written at the
 * end of the session's next call of ours that goes well, or its next change of
 * a booking, in whatever transaction that is.  If that one is rolled back too,
 * they are kept on; where this happens again and again, they are written with
 * every second, fourth and at the most 64th call, lest a session that never
 * commits pay for it with each.
 *
 * An event that was written already is kept as well until its transaction has
 * committed; so the errors of a decision survive a caller who rolls back.
 *
 * What is lost: the oldest of more than SURVIVORS_MAX events, and all of them
 * when the session ends without another call, or when three attempts to write
 * them have failed.  What had to be dropped is counted.
 *
 * Memory: entries live in a context of their own below TopMemoryContext, for
 * the life of the session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "append.h"
#include "binding.h"
#include "counters.h"
#include "journal.h"
#include "lookup.h"
#include "mb/pg_wchar.h"
#include "sqlstates.h"
#include "store.h"
#include "survivors.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

/* an error message longer than this is cut */
#define MESSAGE_MAX_LENGTH 1000

#define MAX_ATTEMPTS 3

/* from so many rollbacks in a row on, calls are skipped: 2^6 - 1 at the most */
#define PATIENCE 3
#define MAX_SKIP_SHIFT 6

typedef struct Survivor
{
	pg_uuid_t	booking_id;
	EventRow	event;			/* type and source are constants */
	bool		written;		/* in a transaction that goes on */
	bool		late;			/* by us */
	int			nest_level;		/* of that transaction */
} Survivor;

static MemoryContext survivors_context = NULL;
static Survivor survivors[SURVIVORS_MAX];	/* the oldest first */
static int	nsurvivors = 0;
static int	nwaiting = 0;		/* those among them that are not written */
static int	nlost = 0;			/* dropped, and not counted yet */
static int	uncounted[COUNTER_COUNT];	/* where counting had to wait */
static bool anything_uncounted = false;
static int	failed_attempts = 0;
static bool wrote = false;		/* in this transaction */
static bool writing = false;	/* an app's trigger on events may call us again */
static int	rollbacks = 0;		/* of transactions that wrote, in a row */
static int	calls_to_skip = 0;

static void
count_waiting(void)
{
	nwaiting = 0;
	for (int i = 0; i < nsurvivors; i++)
		nwaiting += !survivors[i].written;
}

/* Count something at the next occasion, as an error is being thrown now. */
void
survivors_count(Counter counter)
{
	uncounted[counter]++;
	anything_uncounted = true;
}

/* What is left to be counted, for somebody else to count it, or to get it back. */
int
survivors_take_uncounted(Counter counter)
{
	int			n = uncounted[counter];

	uncounted[counter] = 0;
	return n;
}

void
survivors_give_back(Counter counter, int n)
{
	uncounted[counter] += n;
	anything_uncounted |= n > 0;
}

/* Their transaction has committed: the written entries are done with. */
static void
drop_written(void)
{
	int			kept = 0;

	for (int i = 0; i < nsurvivors; i++)
	{
		if (!survivors[i].written)
		{
			survivors[kept++] = survivors[i];
			continue;
		}
		if (survivors[i].late)
			survivors_count(COUNTER_LATE);
		pfree(unconstify(char *, survivors[i].event.context));
	}
	nsurvivors = kept;
}

/* Drop the oldest entries; those that wait are lost. */
static void
drop_oldest(int n)
{
	for (int i = 0; i < n; i++)
	{
		nlost += !survivors[i].written;
		pfree(unconstify(char *, survivors[i].event.context));
	}
	nsurvivors -= n;
	memmove(survivors, survivors + n, sizeof(Survivor) * nsurvivors);
	count_waiting();
}

/*
 * Keep an event of a booking; context is a JSON object, and is marked as
 * recorded late.  written tells that the transaction writes it by itself.
 */
void
survivors_keep(const pg_uuid_t *booking_id, const EventRow *event, bool written)
{
	Survivor   *survivor;
	char	   *context;
	Size		length = strlen(event->context);

	if (survivors_context == NULL)
		survivors_context = AllocSetContextCreate(TopMemoryContext, "assignment_v3 survivors",
												  ALLOCSET_SMALL_SIZES);
	if (nsurvivors == SURVIVORS_MAX)
		drop_oldest(1);
	context = MemoryContextAlloc(survivors_context, length + sizeof(", \"late\": true}"));
	memcpy(context, event->context, length - 1);
	strcpy(context + length - 1, length > 2 ? ", \"late\": true}" : "\"late\": true}");

	survivor = &survivors[nsurvivors++];
	survivor->booking_id = *booking_id;
	survivor->event = *event;
	survivor->event.context = context;
	survivor->written = written;
	survivor->late = false;
	survivor->nest_level = GetCurrentTransactionNestLevel();
	nwaiting += !written;
}

/* Append what the error that is being thrown says to an open JSON object. */
static void
append_error(StringInfo json)
{
	ErrorData  *error;

	if (geterrcode() == ERRCODE_OUT_OF_MEMORY)
	{
		json_text(json, "message", "out of memory");
		json_text(json, "sqlstate", unpack_sql_state(ERRCODE_OUT_OF_MEMORY));
		return;
	}
	error = CopyErrorData();
	if (error->message != NULL && strlen(error->message) > MESSAGE_MAX_LENGTH)
		error->message[pg_mbcliplen(error->message, (int) strlen(error->message),
									MESSAGE_MAX_LENGTH)] = '\0';
	json_text(json, "message", error->message ? error->message : "");
	json_text(json, "sqlstate", unpack_sql_state(error->sqlerrcode));
	FreeErrorData(error);
}

/*
 * Keep an event of the error that is being thrown, from within PG_CATCH().
 * context is a JSON object to which message and sqlstate are added.
 */
void
survivors_keep_error(const pg_uuid_t *booking_id, const char *source, const char *type,
					 const char *context)
{
	MemoryContext scratch = AllocSetContextCreate(TopMemoryContext, "assignment_v3 error",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	StringInfoData json;
	EventRow	event = {
		.source = source,
		.type = type,
		.severity = "error",
		.created_at = GetCurrentTimestamp(),
	};

	initStringInfo(&json);
	appendBinaryStringInfo(&json, context, (int) strlen(context) - 1);
	append_error(&json);
	json_end(&json);
	event.context = json.data;
	if (geterrcode() == ERRCODE_ASSIGNMENT_CONFLICT || geterrcode() == ERRCODE_ASSIGNMENT_UNPROCESSABLE)
		event.severity = "warning";
	survivors_keep(booking_id, &event, false);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
}

/*
 * The same for a step of a booking that has come to nothing, told by the error
 * code: refused, a conflict, or a failure.  Where there is no such booking,
 * nothing is attached, or nothing may be written, there is nothing to tell.
 */
void
survivors_keep_failure(const pg_uuid_t *booking_id, const char *name)
{
	const char *type = "transition.error";
	char		context[64];

	switch (geterrcode())
	{
		case ERRCODE_ASSIGNMENT_NOT_FOUND:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_READ_ONLY_SQL_TRANSACTION:
			return;
		case ERRCODE_ASSIGNMENT_CONFLICT:
			type = "transition.conflict";
			survivors_count(COUNTER_CONFLICTS);
			break;
		case ERRCODE_ASSIGNMENT_UNPROCESSABLE:
			type = "transition.refused";
			survivors_count(COUNTER_REFUSALS);
			break;
		default:
			survivors_count(COUNTER_FAILURES);
	}
	snprintf(context, sizeof(context), "{\"trigger\": \"%s\"}", name);
	survivors_keep_error(booking_id, EVENT_SOURCE_TRANSITION, type, context);
}

/* Call the body of a function whose first argument is a booking; keep its failure. */
Datum
survivors_call(FunctionCallInfo fcinfo, PGFunction body, const char *name)
{
	Datum		result = (Datum) 0;

	PG_TRY();
	{
		result = body(fcinfo);
	}
	PG_CATCH();
	{
		if (!PG_ARGISNULL(0))
			survivors_keep_failure(PG_GETARG_UUID_P(0), name);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return result;
}

/* Count what could not be counted when it happened. */
static void
count_up(void)
{
	for (int i = 0; i < COUNTER_COUNT; i++)
	{
		for (; uncounted[i] > 0; uncounted[i]--)
			(void) counter_add((Counter) i);
	}
	for (; nlost > 0; nlost--)
		(void) counter_add(COUNTER_LOST);
	anything_uncounted = false;
}

static void
write_entries(int nentries)
{
	for (int i = 0; i < nentries; i++)
	{
		Survivor	survivor = survivors[i];
		BookingRecord booking;

		if (survivor.written)
			continue;
		lookup_booking(&survivor.booking_id, &booking);
		append_events(&survivor.booking_id, booking_restaurant(&booking), &survivor.event, 1);
	}
}

static void
mark_written(int nwritten)
{
	for (int i = 0; i < nwritten; i++)
	{
		if (survivors[i].written)
			continue;
		survivors[i].written = true;
		survivors[i].late = true;
		survivors[i].nest_level = GetCurrentTransactionNestLevel();
	}
	count_waiting();
	wrote = true;
}

static void
give_up(const ErrorData *error)
{
	if (++failed_attempts < MAX_ATTEMPTS)
		return;
	failed_attempts = 0;
	drop_oldest(nsurvivors);
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("[assignment.coordinator] events of failed transactions could not be recorded: %s",
					error->message ? error->message : "")));
}

/*
 * Write what waits.  The caller has the owner's rights and may write.  What it
 * is about is over: nothing that goes wrong here may hinder the caller.
 */
void
survivors_write(void)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int			nentries;

	if (writing || (nwaiting == 0 && nlost == 0 && !anything_uncounted) || XactReadOnly)
		return;
	count_up();
	if (nwaiting == 0 || calls_to_skip-- > 0)
		return;
	calls_to_skip = 0;
	nentries = nsurvivors;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	writing = true;
	PG_TRY();
	{
		write_entries(nentries);
		store_check_constraints();
		writing = false;
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		mark_written(nentries);
		failed_attempts = 0;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		writing = false;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(error);
		give_up(error);
	}
	PG_END_TRY();
}

/* What a transaction wrote that is rolled back waits again. */
static void
unwrite(int nest_level)
{
	for (int i = 0; i < nsurvivors; i++)
	{
		if (survivors[i].nest_level >= nest_level)
			survivors[i].written = false;
	}
	count_waiting();
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (nsurvivors == 0)
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			drop_written();
			rollbacks = 0;
			break;
		case XACT_EVENT_ABORT:
			unwrite(0);
			rollbacks += wrote;
			if (wrote && rollbacks >= PATIENCE)
				calls_to_skip = (1 << Min(rollbacks - PATIENCE + 1, MAX_SKIP_SHIFT)) - 1;
			break;
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			return;
	}
	wrote = false;
}

static void
subtransaction_ended(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
					 void *arg)
{
	int			nest_level = GetCurrentTransactionNestLevel();

	if (nsurvivors == 0)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		unwrite(nest_level);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = 0; i < nsurvivors; i++)
			survivors[i].nest_level = Min(survivors[i].nest_level, nest_level - 1);
	}
}

void
SurvivorsInit(void)
{
	RegisterXactCallback(transaction_ended, NULL);
	RegisterSubXactCallback(subtransaction_ended, NULL);
}
