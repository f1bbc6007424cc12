/*-------------------------------------------------------------------------
 *
 * locks.c
 *		Advisory locks of the pipeline.
 *
 * Three kinds of lock keep workers out of each other's way: one per booking,
 * max_parallel slots per restaurant, one per table.  All are taken at
 * transaction level and only if free at once, in the order booking, slot,
 * tables by id; so they can neither deadlock nor outlive a pooled session.
 * They are no guarantee: the exclusion constraint is.
 *
 * The keys live in classes of their own in the lock tag's field4, apart from
 * pg_advisory_lock() (1 and 2) and Citus (4 to 16), and show up in pg_locks.
 * A key is a 64-bit hash of the uuid: two rows that share one would only wait
 * for each other.
 *
 * A fourth one keeps attach() and detach() apart in a database.  It alone is
 * waited for, as long as lock_timeout allows.
 *
 * A lock taken inside a subtransaction goes when that is rolled back, so the
 * coordinator takes booking and slot outside and the tables inside its tries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "compat.h"
#include "fmgr.h"
#include "locks.h"
#include "miscadmin.h"
#include "storage/lock.h"

PG_FUNCTION_INFO_V1(assignment_attach_lock);

static void
set_lock_tag(LOCKTAG *tag, const pg_uuid_t *id, int lock_class)
{
	uint64		key = hash_bytes_extended(id->data, UUID_LEN, 0);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key,
						 (uint16) lock_class);
}

static bool
try_lock(const pg_uuid_t *id, int lock_class)
{
	LOCKTAG		tag;

	set_lock_tag(&tag, id, lock_class);
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

bool
lock_booking(const pg_uuid_t *booking_id)
{
	return try_lock(booking_id, LOCK_CLASS_BOOKING);
}

/* Give a booking back with which nothing was done. */
void
unlock_booking(const pg_uuid_t *booking_id)
{
	LOCKTAG		tag;

	set_lock_tag(&tag, booking_id, LOCK_CLASS_BOOKING);
	LockRelease(&tag, ExclusiveLock, false);
}

/*
 * Take one of a restaurant's slots: its number, or 0 if none is free.  A slot
 * that this transaction holds already serves again.
 */
int
lock_slot(const pg_uuid_t *restaurant_id, int max_parallel)
{
	LOCKTAG		tag;

	for (int slot = 1; slot <= max_parallel; slot++)
	{
		set_lock_tag(&tag, restaurant_id, LOCK_CLASS_SLOT + slot);
		if (compat_lock_held(&tag, ExclusiveLock))
			return slot;
	}
	for (int slot = 1; slot <= max_parallel; slot++)
	{
		if (try_lock(restaurant_id, LOCK_CLASS_SLOT + slot))
			return slot;
	}
	return 0;
}

bool
lock_table(const pg_uuid_t *table_id)
{
	return try_lock(table_id, LOCK_CLASS_TABLE);
}

/* Give back a table of a plan that came to nothing. */
void
unlock_table(const pg_uuid_t *table_id)
{
	LOCKTAG		tag;

	set_lock_tag(&tag, table_id, LOCK_CLASS_TABLE);
	LockRelease(&tag, ExclusiveLock, false);
}

/*
 * attach_lock(): one attach() or detach() at a time.  Where another one had to be
 * waited for, a snapshot that is older than its end would not see what it did.
 */
Datum
assignment_attach_lock(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, LOCK_CLASS_ATTACH);
	if (LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
		PG_RETURN_VOID();
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("another transaction has attached or detached the pipeline meanwhile"),
				 errhint("Repeat the transaction.")));
	PG_RETURN_VOID();
}

/*
 * The guard's lock is the one that is held by a session and not by a
 * transaction: its worker commits while it watches.
 */
static void
set_guard_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, 0, 0, LOCK_CLASS_GUARD);
}

bool
lock_guard(void)
{
	LOCKTAG		tag;

	set_guard_tag(&tag);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
unlock_guard(void)
{
	LOCKTAG		tag;

	set_guard_tag(&tag);
	LockRelease(&tag, ExclusiveLock, true);
}

/* Does a worker hold it?  Others may ask at the same time. */
bool
guard_is_watching(void)
{
	LOCKTAG		tag;

	set_guard_tag(&tag);
	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, ShareLock, false);
	return false;
}
