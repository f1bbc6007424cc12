/*-------------------------------------------------------------------------
 *
 * worker.c
 *		Background workers that seat what the queue holds.
 *
 * Where the library is preloaded there is one launcher, and for each database
 * in worker_databases that has something to do up to "workers" workers.
 *
 * The launcher is connected to no database, so it stands in the way of no DROP
 * DATABASE.  It sleeps until a session calls for a worker (wakeup.c), until the
 * next booking is due somewhere, or until it is time to look at a database
 * that nobody has called for.  It starts at most one worker of a database at a
 * time; a worker that finds more than a batch to do calls for the next one.
 *
 * A worker makes passes over the queue by the same code as run(), and rests in
 * between, waiting for its latch.  After a rest of IDLE_MS it leaves.  One that
 * keeps busy leaves after LIFETIME_MS and is followed by another one, so that
 * settings stored for the database or the role reach the workers, too; and so
 * does one whose settings bar a booking that a session with later ones queued.
 *
 * It logs in as the owner of assignment_v3.binding, whoever that is when it
 * starts, and has no more rights than he has.  Who that is can be told only
 * from inside the database.  So the first worker after a start of the server
 * or a failure is a scout: it connects as the bootstrap superuser, reads the
 * catalog and that one row without running anybody's code, and leaves.  Where
 * the extension or the row is missing, that is all that happens.
 *
 * A worker that meets an error leaves it in the server log and dies of it.
 * The next one is started a second later, then after two, four and up to 64
 * seconds, until a pass goes well.  Nothing it holds outlives it: a claim is a
 * lock of its transaction.  After a crash of the server everything starts
 * anew, with a look at each database.
 *
 * No call is lost.  Who calls sets "wanted" and looks for an idle worker under
 * the same lock under which a worker, before it rests, looks at "wanted"; and
 * a worker takes it back before it begins a pass.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "binding.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "drain.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "wakeup.h"
#include "worker.h"

PGDLLEXPORT void assignment_launcher_main(Datum arg);
PGDLLEXPORT void assignment_worker_main(Datum arg);

/* how long a worker rests before it leaves; DROP DATABASE waits for five seconds */
#define IDLE_MS 3000

#define LIFETIME_MS 60000

/* the age from which a worker may be replaced for not knowing the latest settings */
#define OUTDATED_MS 1000

/* how long a worker works before it looks at the configuration, and reports what it did */
#define PASS_MS 10000

/* how soon it comes back to what others have locked, doubled each time it is still so */
#define BLOCKED_MIN_MS 10
#define BLOCKED_MAX_MS 1000

/* from so many failures in a row on, the delay grows no more */
#define MAX_FAILURES 7

/* how soon the launcher tries again where the server has no more room for a worker */
#define NO_ROOM_MS 5000

/* What a worker is told, in bgw_extra. */
typedef struct WorkerOrder
{
	int			place;			/* of the database in shared memory */
	int			slot;
	uint32		ticket;
	Oid			database;
	Oid			owner;
	bool		looking;		/* nobody has called */
} WorkerOrder;

StaticAssertDecl(sizeof(WorkerOrder) <= BGW_EXTRALEN, "a worker's order is too long");

/* The launcher's. */
static BackgroundWorkerHandle *handles[MAX_WORKER_DATABASES][MAX_WORKERS];

/* A worker's. */
static WorkerOrder order;
static WatchedDatabase *mine = NULL;
static WorkerSlot *my_slot = NULL;
static bool left_well = false;

static TimestampTz
after_ms(TimestampTz time, int64 ms)
{
	return TimestampTzPlusMilliseconds(time, ms);
}

/* A worker did not end well: the next one comes later.  The caller holds the lock. */
static void
note_failure(WatchedDatabase *database, TimestampTz now)
{
	database->failures = Min(database->failures + 1, MAX_FAILURES);
	database->retry_at = after_ms(now, INT64CONST(1000) << (database->failures - 1));
	database->owner = InvalidOid;
	database->due_known = false;
	database->wanted = true;
	database->call = true;
}

/*
 * The launcher
 */

static void
watch(WatchedDatabase *database, Oid oid, TimestampTz now)
{
	memset(database, 0, sizeof(WatchedDatabase));
	database->oid = oid;
	database->listed = true;
	database->wanted = true;
	database->call = true;
	database->looking = true;
	database->due_at = DT_NOEND;
	database->look_at = after_ms(now, (int64) flag_worker_naptime * 1000);
}

/* A listed database is there: watch it, if there is room. */
static void
watch_listed(Oid oid, TimestampTz now)
{
	WatchedDatabase *unused = NULL;
	bool		known = false;

	SpinLockAcquire(&wakeup->mutex);
	for (int i = 0; i < MAX_WORKER_DATABASES && !known; i++)
	{
		WatchedDatabase *database = &wakeup->databases[i];

		known = database->oid == oid;
		if (known)
			database->listed = true;
		else if (unused == NULL && !OidIsValid(database->oid))
			unused = database;
	}
	if (!known && unused != NULL)
		watch(unused, oid, now);
	SpinLockRelease(&wakeup->mutex);
}

/* Entries of databases that are gone, or not listed any more, and have no worker left. */
static void
forget_unlisted(void)
{
	SpinLockAcquire(&wakeup->mutex);
	for (int i = 0; i < MAX_WORKER_DATABASES; i++)
	{
		WatchedDatabase *database = &wakeup->databases[i];

		if (!database->listed && wakeup_active(database) == 0)
			database->oid = InvalidOid;
	}
	SpinLockRelease(&wakeup->mutex);
}

/* Compare what is watched with the databases that there are. */
static void
read_databases(void)
{
	TimestampTz now = GetCurrentTimestamp();
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	SpinLockAcquire(&wakeup->mutex);
	wakeup->unknown = false;
	for (int i = 0; i < MAX_WORKER_DATABASES; i++)
		wakeup->databases[i].listed = false;
	SpinLockRelease(&wakeup->mutex);

	StartTransactionCommand();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		/* a limit of -2 marks what an interrupted DROP DATABASE has left */
		if (form->datallowconn && form->datconnlimit != -2 &&
			flags_list_worker_database(NameStr(form->datname)))
			watch_listed(form->oid, now);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	forget_unlisted();
}

/* Workers that have gone before they took their slot. */
static void
reap(void)
{
	for (int i = 0; i < MAX_WORKER_DATABASES * MAX_WORKERS; i++)
	{
		BackgroundWorkerHandle **handle = &handles[0][0] + i;
		WatchedDatabase *database = &wakeup->databases[i / MAX_WORKERS];
		WorkerSlot *slot = &database->workers[i % MAX_WORKERS];
		pid_t		pid;

		if (*handle == NULL || GetBackgroundWorkerPid(*handle, &pid) != BGWH_STOPPED)
			continue;
		pfree(*handle);
		*handle = NULL;
		SpinLockAcquire(&wakeup->mutex);
		if (slot->state == WORKER_STARTING)
		{
			slot->state = WORKER_NONE;
			note_failure(database, GetCurrentTimestamp());
		}
		SpinLockRelease(&wakeup->mutex);
	}
}

static void
describe_worker(BackgroundWorker *worker, const char *name, const char *function)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	strlcpy(worker->bgw_name, name, BGW_MAXLEN);
	strlcpy(worker->bgw_type, name, BGW_MAXLEN);
	strlcpy(worker->bgw_library_name, "assignment_v3", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function, BGW_MAXLEN);
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
}

/* Take a slot for one more worker, and write its order; false if there is none. */
static bool
write_order(int place, WorkerOrder *new)
{
	WatchedDatabase *database = &wakeup->databases[place];
	int			slot = 0;
	bool		found;

	SpinLockAcquire(&wakeup->mutex);
	while (slot < MAX_WORKERS && database->workers[slot].state != WORKER_NONE)
		slot++;
	found = slot < MAX_WORKERS && database->listed && OidIsValid(database->oid);
	if (found)
	{
		database->workers[slot].state = WORKER_STARTING;
		database->workers[slot].ticket = ++wakeup->last_ticket;
		new->place = place;
		new->slot = slot;
		new->ticket = wakeup->last_ticket;
		new->database = database->oid;
		new->owner = database->owner;
		new->looking = database->looking;
	}
	database->call = false;
	SpinLockRelease(&wakeup->mutex);
	return found;
}

static void
start_worker(int place)
{
	static bool told = false;
	WatchedDatabase *database = &wakeup->databases[place];
	BackgroundWorker worker;
	WorkerOrder new = {0};
	BackgroundWorkerHandle **handle;

	if (!write_order(place, &new))
		return;
	describe_worker(&worker, "assignment_v3 worker", "assignment_worker_main");
	memcpy(worker.bgw_extra, &new, sizeof(new));
	worker.bgw_notify_pid = MyProcPid;
	handle = &handles[place][new.slot];
	if (*handle)
		pfree(*handle);
	*handle = NULL;
	if (RegisterDynamicBackgroundWorker(&worker, handle))
	{
		told = false;
		return;
	}
	SpinLockAcquire(&wakeup->mutex);
	database->workers[new.slot].state = WORKER_NONE;
	database->call = true;
	database->retry_at = after_ms(GetCurrentTimestamp(), NO_ROOM_MS);
	SpinLockRelease(&wakeup->mutex);
	if (!told)
		ereport(LOG,
				(errmsg("assignment_v3 could not start a background worker"),
				 errhint("Raise max_worker_processes.")));
	told = true;
}

/*
 * See what is due in a database; whether a worker is to be started.  Lowers
 * *next to the time at which there will be something to see again.
 */
static bool
tend(WatchedDatabase *database, TimestampTz now, TimestampTz *next)
{
	Latch	   *latch = NULL;
	bool		start = false;

	SpinLockAcquire(&wakeup->mutex);
	if (OidIsValid(database->oid) && database->listed)
	{
		if (now >= database->due_at || now >= database->look_at)
		{
			database->looking = now < database->due_at && !database->wanted;
			database->wanted = true;
			database->due_known = false;
			database->due_at = DT_NOEND;
			database->look_at = after_ms(now, (int64) flag_worker_naptime * 1000);
			latch = wakeup_call_one(database);
		}
		if (wakeup_active(database) >= flag_workers)
			database->call = false;
		start = database->call && now >= database->retry_at;
		*next = Min(*next, Min(database->due_at, database->look_at));
		if (database->call && !start)
			*next = Min(*next, database->retry_at);
	}
	SpinLockRelease(&wakeup->mutex);
	if (latch && latch != MyLatch)
		SetLatch(latch);
	return start;
}

/* Start the workers that are called for; returns when to look again. */
static TimestampTz
tend_all(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = after_ms(now, INT64CONST(3600000));
	bool		read = false;

	for (int i = 0; i < MAX_WORKER_DATABASES; i++)
	{
		if (!tend(&wakeup->databases[i], now, &next))
			continue;
		/* nobody is sent to a database that is no more there */
		if (!read)
			read_databases();
		read = true;
		start_worker(i);
	}
	return next;
}

static void
launcher_gone(int code, Datum arg)
{
	SpinLockAcquire(&wakeup->mutex);
	wakeup->launcher = NULL;
	SpinLockRelease(&wakeup->mutex);
}

/* Workers that an earlier launcher has ordered are not known to this one, and turn back. */
static void
take_over(void)
{
	SpinLockAcquire(&wakeup->mutex);
	wakeup->launcher = MyLatch;
	for (int i = 0; i < MAX_WORKER_DATABASES; i++)
	{
		for (int j = 0; j < MAX_WORKERS; j++)
		{
			WorkerSlot *slot = &wakeup->databases[i].workers[j];

			if (slot->state != WORKER_STARTING)
				continue;
			slot->state = WORKER_NONE;
			wakeup->databases[i].call = true;
		}
	}
	SpinLockRelease(&wakeup->mutex);
}

/* Read the configuration again if it has changed, and the databases if that may matter. */
static void
keep_up(bool first)
{
	bool		unknown;

	SpinLockAcquire(&wakeup->mutex);
	unknown = wakeup->unknown;
	SpinLockRelease(&wakeup->mutex);
	if (!first && !unknown && !ConfigReloadPending)
		return;
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	read_databases();
}

void
assignment_launcher_main(Datum arg)
{
	bool		first = true;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(launcher_gone, 0);
	take_over();
	for (;;)
	{
		TimestampTz next;

		keep_up(first);
		first = false;
		reap();
		next = tend_all();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next) + 1,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * A worker
 */

/* Take the slot that was ordered; false if nobody expects this worker any more. */
static bool
take_slot(void)
{
	bool		expected;

	mine = &wakeup->databases[order.place];
	my_slot = &mine->workers[order.slot];
	SpinLockAcquire(&wakeup->mutex);
	expected = my_slot->state == WORKER_STARTING && my_slot->ticket == order.ticket;
	if (expected)
	{
		my_slot->state = WORKER_BUSY;
		my_slot->latch = MyLatch;
	}
	SpinLockRelease(&wakeup->mutex);
	return expected;
}

/* The end, however it came. */
static void
leave_slot(int code, Datum arg)
{
	Latch	   *launcher;

	SpinLockAcquire(&wakeup->mutex);
	if (my_slot->ticket == order.ticket)
		my_slot->state = WORKER_NONE;
	if (!left_well)
		note_failure(mine, GetCurrentTimestamp());
	launcher = wakeup->launcher;
	SpinLockRelease(&wakeup->mutex);
	if (launcher)
		SetLatch(launcher);
}

/*
 * Leave if there is nothing to do, and have the launcher come back at that
 * time; false if there is something.  The slot is free from here on.
 */
static bool
leave_idle(TimestampTz due_at)
{
	SpinLockAcquire(&wakeup->mutex);
	left_well = !mine->wanted && my_slot->state == WORKER_IDLE;
	if (left_well)
	{
		my_slot->state = WORKER_NONE;
		mine->due_at = Min(mine->due_at, due_at);
	}
	SpinLockRelease(&wakeup->mutex);
	return left_well;
}

/* Leave now; another worker is to come if that is of any use. */
static void
leave_to_next(bool of_use)
{
	Latch	   *latch = NULL;

	SpinLockAcquire(&wakeup->mutex);
	left_well = true;
	my_slot->state = WORKER_NONE;
	mine->wanted = of_use;
	if (of_use)
		latch = wakeup_call_one(mine);
	SpinLockRelease(&wakeup->mutex);
	if (latch)
		SetLatch(latch);
}

/* Find out whom the workers of this database are to log in as. */
static void
scout(void)
{
	Oid			owner;

	BackgroundWorkerInitializeConnectionByOid(order.database, InvalidOid, 0);
	StartTransactionCommand();
	owner = binding_attached_by();
	if (OidIsValid(owner) && !compat_worker_may_be(owner))
	{
		ereport(LOG,
				(errmsg("assignment_v3 seats no bookings in database \"%s\", as role \"%s\" is not permitted to log in",
						get_database_name(MyDatabaseId), GetUserNameFromId(owner, false)),
				 errhint("ALTER ROLE ... LOGIN, or work off the queue by run().")));
		owner = InvalidOid;
	}
	CommitTransactionCommand();

	SpinLockAcquire(&wakeup->mutex);
	mine->owner = owner;
	SpinLockRelease(&wakeup->mutex);
	leave_to_next(OidIsValid(owner));
}

/* Is it still for this worker to be here, as what it has logged in as? */
static bool
is_welcome(void)
{
	if (!wakeup_my_database_is_listed() || order.slot >= flag_workers)
		return false;
	if (binding_attached_by() == GetSessionUserId())
		return true;
	SpinLockAcquire(&wakeup->mutex);
	mine->owner = InvalidOid;
	SpinLockRelease(&wakeup->mutex);
	return false;
}

/* Begin a pass: what comes from now on is to be looked at again. */
static bool
begin_pass(void)
{
	bool		ask_next_due;

	SpinLockAcquire(&wakeup->mutex);
	mine->wanted = false;
	ask_next_due = !mine->due_known;
	if (ask_next_due)
		mine->due_at = DT_NOEND;
	mine->due_known = true;
	SpinLockRelease(&wakeup->mutex);
	return ask_next_due;
}

static void
end_pass(const DrainReport *report)
{
	Latch	   *launcher = NULL;

	SpinLockAcquire(&wakeup->mutex);
	mine->failures = 0;
	mine->look_at = after_ms(GetCurrentTimestamp(), (int64) flag_worker_naptime * 1000);
	if (report->next_due < mine->due_at)
	{
		mine->due_at = report->next_due;
		launcher = wakeup->launcher;
	}
	SpinLockRelease(&wakeup->mutex);
	if (launcher)
		SetLatch(launcher);
}

/* What is due later was not looked for: the next worker is to ask. */
static void
forget_next_due(void)
{
	SpinLockAcquire(&wakeup->mutex);
	mine->due_known = false;
	SpinLockRelease(&wakeup->mutex);
}

/* Offer what is due, once; false if there is no place for this worker any more. */
static bool
make_pass(DrainReport *report)
{
	bool		ask_next_due = begin_pass();
	bool		welcome;

	memset(report, 0, sizeof(DrainReport));
	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, "seating bookings");
	StartTransactionCommand();
	MemoryContextSwitchTo(PortalContext);
	welcome = is_welcome();
	if (welcome)
		drain_pass("worker", after_ms(GetCurrentTimestamp(), PASS_MS), ask_next_due, report);
	CommitTransactionCommand();
	MemoryContextReset(PortalContext);
	if (welcome)
		end_pass(report);
	else
		forget_next_due();
	pgstat_report_stat(!welcome);
	pgstat_report_activity(STATE_IDLE, NULL);
	return welcome;
}

static void
reload(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	SpinLockAcquire(&wakeup->mutex);
	mine->wanted = true;
	my_slot->state = WORKER_BUSY;
	SpinLockRelease(&wakeup->mutex);
}

/* Wait for a call, until then at the longest; whether one came. */
static bool
wait_for_call(TimestampTz until)
{
	for (;;)
	{
		long		ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		bool		called;

		SpinLockAcquire(&wakeup->mutex);
		if (mine->wanted)
			my_slot->state = WORKER_BUSY;
		called = my_slot->state == WORKER_BUSY;
		SpinLockRelease(&wakeup->mutex);
		if (called || ms <= 0)
			return called;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms + 1,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		reload();
	}
}

/* Rest until there is something to do; false when it was time to leave. */
static bool
rest(TimestampTz leave_at, TimestampTz again_at)
{
	SpinLockAcquire(&wakeup->mutex);
	my_slot->state = WORKER_IDLE;
	SpinLockRelease(&wakeup->mutex);
	if (wait_for_call(Min(leave_at, again_at)))
		return true;
	if (again_at > leave_at && leave_idle(again_at))
		return false;
	SpinLockAcquire(&wakeup->mutex);
	my_slot->state = WORKER_BUSY;
	SpinLockRelease(&wakeup->mutex);
	return true;
}

/* When to come back to what a pass has left, DT_NOEND if it left nothing. */
static TimestampTz
come_back_at(const DrainReport *report, int *delay_ms)
{
	TimestampTz result = report->head_at > 0 ? report->head_at : DT_NOEND;

	if (!report->blocked)
	{
		*delay_ms = BLOCKED_MIN_MS;
		return result;
	}
	result = Min(result, after_ms(GetCurrentTimestamp(), *delay_ms));
	*delay_ms = Min(*delay_ms * 2, BLOCKED_MAX_MS);
	return result;
}

/*
 * Is it time for another worker, who reads the settings stored for the database
 * and the role anew?  When this one gets old, or finds that the settings which
 * it knows bar what was queued after it came.
 */
static bool
is_outdated(const DrainReport *report, TimestampTz started_at, int *ndisabled)
{
	TimestampTz now = GetCurrentTimestamp();

	if (*ndisabled < 0)
		*ndisabled = report->ndisabled;
	return now >= after_ms(started_at, LIFETIME_MS) ||
		(report->ndisabled > *ndisabled && now >= after_ms(started_at, OUTDATED_MS));
}

/* Make passes, and rest in between, until it is time to leave. */
static void
work(void)
{
	TimestampTz started_at = GetCurrentTimestamp();
	TimestampTz leave_at = order.looking ? started_at : after_ms(started_at, IDLE_MS);
	int			blocked_ms = BLOCKED_MIN_MS;
	int			ndisabled = -1;

	for (;;)
	{
		DrainReport report;
		TimestampTz again_at;

		CHECK_FOR_INTERRUPTS();
		reload();
		if (!make_pass(&report) || is_outdated(&report, started_at, &ndisabled))
		{
			leave_to_next(true);
			return;
		}
		if (report.more)
			continue;
		if (report.processed > 0)
			leave_at = after_ms(GetCurrentTimestamp(), IDLE_MS);
		again_at = come_back_at(&report, &blocked_ms);
		if (report.ndisabled > ndisabled)
			again_at = Min(again_at, after_ms(started_at, OUTDATED_MS));
		if (!rest(leave_at, again_at))
			return;
	}
}

void
assignment_worker_main(Datum arg)
{
	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (!take_slot())
		proc_exit(0);
	before_shmem_exit(leave_slot, 0);
	if (OidIsValid(order.owner))
	{
		BackgroundWorkerInitializeConnectionByOid(order.database, order.owner,
												  COMPAT_WORKER_FLAGS);
		PortalContext = AllocSetContextCreate(TopMemoryContext, "assignment_v3 worker",
											  ALLOCSET_DEFAULT_SIZES);
		work();
	}
	else
		scout();
	proc_exit(0);
}

void
WorkerInit(void)
{
	BackgroundWorker launcher;

	if (!process_shared_preload_libraries_in_progress)
		return;
	describe_worker(&launcher, "assignment_v3 launcher", "assignment_launcher_main");
	launcher.bgw_restart_time = 1;
	RegisterBackgroundWorker(&launcher);
}
