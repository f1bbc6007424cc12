/*-------------------------------------------------------------------------
 *
 * guard.c
 *		The automatic rollback: too many errors switch the pipeline off.
 *
 * Decisions and their errors are counted in sequences, which every session
 * sees at once and no rollback takes back (counters.c).  Where "auto_rollback"
 * is on, an error starts a dynamic background worker, which needs no preloaded
 * library and whose transaction is its own: it compares the two counters, and
 * if more than so many per cent of the last so many decisions met an error,
 * writes the kill row, and then the event.  The transaction of the error may
 * be rolled back or stay open for as long as it likes.
 *
 * One worker is enough for a database: it holds an advisory lock, looks at the
 * counters every 100 ms, and leaves when there was no error for a second.  An
 * error that finds the lock taken starts nobody.  Where several errors started
 * one at the same time, all but one leave as soon as they have written down how
 * things stood before their error.  A worker that leaves gives the lock back
 * first and looks once more, an error is counted first and asks for the lock
 * then: so none is missed.
 *
 * To know how many errors there were at the start of the window, the worker
 * keeps samples of both counters in assignment_v3.error_samples: one just
 * before the first error, then one with each look that finds a new one.
 * Between two samples it interpolates.  A kill starts the samples anew, or the
 * first error after revive() would kill again.
 *
 * Where no worker can be started (none is free, or the owner of the tables
 * must not log in, up to PostgreSQL 16), the session's next call that goes
 * well does the same in its own transaction.
 *
 * The worker logs in as the owner of the tables, never as a superuser, for
 * triggers of the app may run.
 *
 * Errors that are thrown on cannot be counted where they happen; the end of
 * their transaction starts a worker, which counts them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "append.h"
#include "binding.h"
#include "compat.h"
#include "counters.h"
#include "flags.h"
#include "fmgr.h"
#include "guard.h"
#include "journal.h"
#include "locks.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "store.h"
#include "survivors.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

PGDLLEXPORT void assignment_guard_main(Datum arg);

#define LOOK_INTERVAL_MS 100
#define IDLE_LOOKS 10

#define KILLED_BY "assignment_v3.auto_rollback"

/* What a worker is told, in bgw_extra. */
typedef struct GuardOrder
{
	Oid			database;
	Oid			owner;
	int			calls;
	int			percent;
	int			uncounted;		/* errors that it has to count */
	int64		decision;		/* the first error's decision, 0 if not known */
	int64		error;			/* its number, 0 if it is the first uncounted */
} GuardOrder;

StaticAssertDecl(sizeof(GuardOrder) <= BGW_EXTRALEN, "a guard's order is too long");

static GuardOrder prepared;		/* by the last call that began a decision */
static bool may_start = false;
static bool in_next_call = false;	/* no worker could be started */
static GuardOrder first;		/* error since then: decision, error, uncounted */
static char kill_reason[128];
static int64 first_thrown = 0;	/* decision of this transaction */
static bool wrote = false;		/* in this transaction */

/* A decision begins: look up what cannot be looked up when it fails. */
void
guard_prepare(void)
{
	if (!flag_auto_rollback)
		return;
	prepared.database = MyDatabaseId;
	prepared.owner = binding_get()->owner;
	may_start = compat_worker_may_be(prepared.owner);
}

static bool
start_worker(int uncounted, int64 decision, int64 error)
{
	BackgroundWorker worker = {0};
	GuardOrder	order = prepared;

	if (!may_start)
		return false;
	order.calls = flag_auto_rollback_calls;
	order.percent = flag_auto_rollback_percent;
	order.uncounted = uncounted;
	order.decision = decision;
	order.error = error;
	memcpy(worker.bgw_extra, &order, sizeof(order));
	strlcpy(worker.bgw_name, "assignment_v3 guard", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "assignment_v3 guard", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "assignment_v3", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "assignment_guard_main", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

static void
leave_to_next_call(int uncounted, int64 decision, int64 error)
{
	if (in_next_call)
		return;
	in_next_call = true;
	first.uncounted = uncounted;
	first.decision = decision;
	first.error = error;
}

/* A live decision has met an error, which is counted already. */
void
guard_error(int64 decision, int64 error)
{
	if (!flag_auto_rollback || guard_is_watching())
		return;
	if (!start_worker(0, decision, error))
		leave_to_next_call(0, decision, error);
}

/* The error of a live decision is being thrown on; touch nothing but memory. */
void
guard_thrown(int64 decision)
{
	if (first_thrown == 0)
		first_thrown = decision;
}

/*
 * The samples
 */

/* How many of the calls up to now, at the most so many, met an error? */
static bool
exceeds_limit(const GuardCounts *now, int calls, int percent, int64 *errors)
{
	*errors = now->errors - store_guard_errors_at(now->decisions - calls);
	return *errors * 100 > (int64) percent * calls;
}

/* How things stood just before the first error. */
static void
sample_before(const GuardOrder *order)
{
	GuardCounts before = {order->decision - 1, order->error - 1};

	if (order->decision > 0)
		store_guard_sample(&before, order->calls);
}

/* Look at the counters once, and kill if it is time; whether it was. */
static bool
look(GuardOrder *order, GuardCounts *now)
{
	int64		errors;
	int64		seen = now->errors;

	store_guard_counts(now);
	if (now->errors != seen)
		store_guard_sample(now, order->calls);
	if (!exceeds_limit(now, order->calls, order->percent, &errors))
		return false;
	snprintf(kill_reason, sizeof(kill_reason), "%d of the last %d decisions met an error, the limit is %d %%",
			 (int) errors, order->calls, order->percent);
	if (!store_guard_kill(kill_reason, KILLED_BY, now))
		return false;
	ereport(LOG,
			(errmsg("[assignment.coordinator] %s has switched the pipeline off: %s",
					KILLED_BY, kill_reason)));
	return true;
}

/* The event of the kill; the app's triggers on events cannot undo the kill itself. */
static void
tell_kill(void)
{
	StringInfoData json;
	EventRow	event = {
		.source = "assignment.rollout",
		.type = "rollout.killed",
		.severity = "critical",
		.created_at = GetCurrentTimestamp(),
	};

	json_begin(&json);
	json_text(&json, "reason", kill_reason);
	json_text(&json, "by", KILLED_BY);
	json_end(&json);
	event.context = json.data;
	append_events(NULL, NULL, &event, 1);
}

/*
 * The session's next call
 */

static void
act_in_call(void)
{
	GuardOrder	order = first;
	GuardCounts now = {-1, -1};

	order.calls = flag_auto_rollback_calls;
	order.percent = flag_auto_rollback_percent;
	if (order.error == 0)
	{
		store_guard_counts(&now);
		order.error = now.errors - order.uncounted + 1;
		now.errors = -1;
	}
	sample_before(&order);
	if (look(&order, &now))
		tell_kill();
	store_check_constraints();
}

/*
 * What no worker could be started for, at the end of a call that went well.
 * The caller has the owner's rights.  If it fails, the next call tries again.
 */
void
guard_write(void)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	if (!in_next_call || !flag_auto_rollback || XactReadOnly)
		return;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		act_in_call();
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		wrote = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(error);
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("[assignment.coordinator] assignment_v3.auto_rollback could not act: %s",
						error->message ? error->message : "")));
	}
	PG_END_TRY();
}

/* Errors that were thrown on, and not counted for want of a transaction, are counted by a worker. */
static void
transaction_ended(XactEvent event, void *arg)
{
	int			uncounted;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (event == XACT_EVENT_COMMIT && wrote)
		in_next_call = false;
	wrote = false;
	if (!flag_auto_rollback || proc_exit_inprogress)
		return;
	uncounted = survivors_take_uncounted(COUNTER_ERRORS);
	if (uncounted > 0 && !start_worker(uncounted, first_thrown, 0))
	{
		survivors_give_back(COUNTER_ERRORS, uncounted);
		leave_to_next_call(uncounted, first_thrown, 0);
	}
	first_thrown = 0;
}

/*
 * The worker
 */

/* Do one thing in a transaction, with the owner's rights. */
static bool
in_transaction(bool (*body) (GuardOrder *order, GuardCounts *now), GuardOrder *order,
			   GuardCounts *now)
{
	StoreScope	scope;
	bool		result;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	store_enter(&scope);
	result = body(order, now);
	store_check_constraints();
	store_leave(&scope);
	PopActiveSnapshot();
	CommitTransactionCommand();
	return result;
}

static bool
begin_watch(GuardOrder *order, GuardCounts *now)
{
	for (int i = 0; i < order->uncounted; i++)
	{
		int64		error = counter_add(COUNTER_ERRORS);

		if (order->error == 0)
			order->error = error;
	}
	sample_before(order);
	return true;
}

static bool
read_counts(GuardOrder *order, GuardCounts *now)
{
	store_guard_counts(now);
	return true;
}

static bool
tell(GuardOrder *order, GuardCounts *now)
{
	tell_kill();
	return true;
}

static void
nap(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_INTERVAL_MS,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Watch until there was no error for a while; whether it came to a kill. */
static bool
watch(GuardOrder *order, GuardCounts *seen)
{
	int			idle = 0;

	while (idle < IDLE_LOOKS)
	{
		int64		errors = seen->errors;

		if (in_transaction(look, order, seen))
			return true;
		idle = seen->errors == errors ? idle + 1 : 0;
		nap();
	}
	return false;
}

void
assignment_guard_main(Datum arg)
{
	GuardOrder	order;
	GuardCounts seen = {-1, -1};
	GuardCounts now;

	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(order.database, order.owner, COMPAT_WORKER_FLAGS);
	pgstat_report_activity(STATE_RUNNING, "assignment_v3 guard");
	(void) in_transaction(begin_watch, &order, &now);
	while (lock_guard())
	{
		bool		killed = watch(&order, &seen);

		unlock_guard();
		if (killed)
		{
			(void) in_transaction(tell, &order, &now);
			break;
		}
		(void) in_transaction(read_counts, &order, &now);
		if (now.errors == seen.errors)
			break;
	}
	proc_exit(0);
}

void
GuardInit(void)
{
	RegisterXactCallback(transaction_ended, NULL);
}
