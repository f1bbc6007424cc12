/*-------------------------------------------------------------------------
 *
 * wakeup.c
 *		Who calls the background workers, and what they and their launcher
 *		share.
 *
 * Whoever puts a booking into the queue notes when it is due, in the memory
 * of its backend.  At its commit, when everybody can see the row, the earliest
 * of these times is announced in shared memory: if it has come, an idle worker
 * of this database is woken through its latch, or else the launcher, to start
 * one; a later time is left for the launcher to wait for.  A transaction that
 * has queued nothing pays for a test of one variable, and one in a database
 * that no worker looks after for a comparison more.
 *
 * Shared memory is there only if the library is preloaded; without it nothing
 * here does anything.  A spinlock guards it: it is held for a few dozen
 * instructions, never across anything that can fail.  What the workers do with
 * it is told in worker.c.
 *
 * Nobody is called for what other than our own code puts into the queue, for
 * transactions that were prepared and are committed by somebody else, and for
 * a setting that was stored for a database or a role.  That is found when the
 * workers look by themselves, which they do each worker_naptime.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "binding.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "wakeup.h"

PG_FUNCTION_INFO_V1(assignment_wake_workers);
PG_FUNCTION_INFO_V1(assignment_workers);

Wakeup	   *wakeup = NULL;

static shmem_request_hook_type next_request_hook = NULL;
static shmem_startup_hook_type next_startup_hook = NULL;

/* the earliest time noted in this transaction */
static TimestampTz noted = DT_NOEND;

static void
request_memory(void)
{
	if (next_request_hook)
		next_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(Wakeup)));
}

/* Also after a crash: whatever was known is gone then, and so are the workers. */
static void
set_up_memory(void)
{
	bool		found;

	if (next_startup_hook)
		next_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	wakeup = ShmemInitStruct("assignment_v3 workers", sizeof(Wakeup), &found);
	if (!found)
	{
		memset(wakeup, 0, sizeof(Wakeup));
		SpinLockInit(&wakeup->mutex);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* A session's database has one name for as long as the session lasts. */
bool
wakeup_my_database_is_listed(void)
{
	static char *name = NULL;
	static int	checked = -1;
	static bool listed = false;

	if (checked == flag_worker_databases_generation)
		return listed;
	if (name == NULL)
	{
		char	   *found = get_database_name(MyDatabaseId);

		if (found == NULL)
			return false;
		name = MemoryContextStrdup(TopMemoryContext, found);
	}
	listed = flags_list_worker_database(name);
	checked = flag_worker_databases_generation;
	return listed;
}

/* The caller's transaction leaves something in the queue that is due at this time. */
void
wakeup_note(TimestampTz due_at)
{
	if (wakeup != NULL && due_at < noted && wakeup_my_database_is_listed())
		noted = due_at;
}

/* This session's database, NULL if it is not watched.  The caller holds the lock. */
static WatchedDatabase *
my_database(void)
{
	static int	place = 0;

	if (wakeup->databases[place].oid == MyDatabaseId)
		return &wakeup->databases[place];
	for (place = MAX_WORKER_DATABASES - 1; place > 0; place--)
	{
		if (wakeup->databases[place].oid == MyDatabaseId)
			break;
	}
	return wakeup->databases[place].oid == MyDatabaseId ? &wakeup->databases[place] : NULL;
}

/* How many workers the database has, or will have when they have started. */
int
wakeup_active(const WatchedDatabase *database)
{
	int			n = 0;

	for (int i = 0; i < MAX_WORKERS; i++)
		n += database->workers[i].state != WORKER_NONE;
	return n;
}

/*
 * One worker is to come: an idle one, or one that the launcher starts if that
 * may be.  Returns the latch to set, NULL if there is nobody to be woken: then
 * one who is busy will look again before he rests.  The caller holds the lock.
 */
Latch *
wakeup_call_one(WatchedDatabase *database)
{
	bool		starting = false;

	for (int i = 0; i < MAX_WORKERS; i++)
	{
		WorkerSlot *slot = &database->workers[i];

		if (slot->state == WORKER_IDLE)
		{
			slot->state = WORKER_BUSY;
			return slot->latch;
		}
		starting |= slot->state == WORKER_STARTING;
	}
	if (starting || wakeup_active(database) >= flag_workers)
		return NULL;
	database->call = true;
	return wakeup->launcher;
}

static void
announce(TimestampTz due_at)
{
	bool		is_due = due_at <= GetCurrentTimestamp();
	WatchedDatabase *database;
	Latch	   *latch = NULL;

	SpinLockAcquire(&wakeup->mutex);
	database = my_database();
	if (database == NULL)
	{
		wakeup->unknown = true;
		latch = wakeup->launcher;
	}
	else if (is_due)
	{
		if (due_at == DT_NOBEGIN)
			database->due_known = false;
		database->wanted = true;
		database->looking = false;
		latch = wakeup_call_one(database);
	}
	else if (due_at < database->due_at)
	{
		database->due_at = due_at;
		latch = wakeup->launcher;
	}
	SpinLockRelease(&wakeup->mutex);
	if (latch)
		SetLatch(latch);
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (noted == DT_NOEND)
		return;
	if (event == XACT_EVENT_COMMIT)
		announce(noted);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		noted = DT_NOEND;
}

/* There is more to do than one can do at once: another worker is to come. */
void
wakeup_help(void)
{
	WatchedDatabase *database;
	Latch	   *latch = NULL;

	if (wakeup == NULL || flag_workers < 2)
		return;
	SpinLockAcquire(&wakeup->mutex);
	database = my_database();
	if (database != NULL && database->listed)
		latch = wakeup_call_one(database);
	SpinLockRelease(&wakeup->mutex);
	if (latch)
		SetLatch(latch);
}

/* wake_workers(): something may be due now, or at another time than is known */
Datum
assignment_wake_workers(PG_FUNCTION_ARGS)
{
	wakeup_note(DT_NOBEGIN);
	PG_RETURN_VOID();
}

/* workers() returns (state text, running int, failures int) */
Datum
assignment_workers(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {0};
	const char *state = "listed";
	int			running = 0;
	int			failures = 0;

	desc = binding_result_type(fcinfo, 3);
	if (wakeup == NULL)
		state = "not preloaded";
	else if (!wakeup_my_database_is_listed())
		state = "not listed";
	else
	{
		WatchedDatabase *database;

		SpinLockAcquire(&wakeup->mutex);
		database = my_database();
		if (database != NULL)
		{
			running = wakeup_active(database);
			failures = database->failures;
		}
		SpinLockRelease(&wakeup->mutex);
	}
	values[0] = CStringGetTextDatum(state);
	values[1] = Int32GetDatum(running);
	values[2] = Int32GetDatum(failures);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

void
WakeupInit(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	next_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	next_startup_hook = shmem_startup_hook;
	shmem_startup_hook = set_up_memory;
	RegisterXactCallback(transaction_ended, NULL);
}
