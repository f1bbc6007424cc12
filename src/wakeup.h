/*-------------------------------------------------------------------------
 *
 * wakeup.h
 *		Who calls the background workers, and what they and their launcher
 *		share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WAKEUP_H
#define WAKEUP_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "flags.h"
#include "storage/latch.h"
#include "storage/spin.h"

typedef enum WorkerState
{
	WORKER_NONE,
	WORKER_STARTING,			/* ordered by the launcher */
	WORKER_BUSY,
	WORKER_IDLE					/* waits for its latch */
} WorkerState;

typedef struct WorkerSlot
{
	WorkerState state;
	uint32		ticket;			/* the order that it was started by */
	Latch	   *latch;			/* while busy or idle */
} WorkerSlot;

/* A database that workers are to look after. */
typedef struct WatchedDatabase
{
	Oid			oid;			/* InvalidOid: entry not in use */
	bool		listed;			/* else it goes when its last worker has gone */
	Oid			owner;			/* whom its workers log in as; InvalidOid: find out first */
	bool		wanted;			/* something has come that no worker has looked at yet */
	bool		call;			/* the launcher is to start one more worker */
	bool		looking;		/* ... which is called by nothing but the time */
	bool		due_known;		/* nothing is due before due_at but what is due now */
	TimestampTz due_at;
	TimestampTz look_at;		/* time to look, even if nobody calls */
	TimestampTz retry_at;		/* no worker is started before */
	int			failures;		/* of workers, in a row */
	WorkerSlot	workers[MAX_WORKERS];
} WatchedDatabase;

typedef struct Wakeup
{
	slock_t		mutex;			/* guards all of it */
	Latch	   *launcher;		/* NULL while it is not there */
	bool		unknown;		/* a listed database is not being watched yet */
	uint32		last_ticket;
	WatchedDatabase databases[MAX_WORKER_DATABASES];
} Wakeup;

extern Wakeup *wakeup;			/* NULL unless the library is preloaded */

extern void WakeupInit(void);
extern void wakeup_note(TimestampTz due_at);
extern Latch *wakeup_call_one(WatchedDatabase *database);
extern int	wakeup_active(const WatchedDatabase *database);
extern bool wakeup_my_database_is_listed(void);
extern void wakeup_help(void);

#endif							/* WAKEUP_H */
