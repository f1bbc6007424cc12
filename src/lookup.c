/*-------------------------------------------------------------------------
 *
 * lookup.c
 *		Rows read, locked and deleted by a key, without the executor.
 *
 * A decision looks at a handful of single rows (the booking, the queue's row),
 * some of which are mostly not there (the kill switch, rollout rows, the
 * breaker), and at many of one kind (the tables of a floor, the timeline of a
 * table).  Setting up the executor for these costs more than reading them, so
 * they are fetched through an index as PostgreSQL fetches rows of its catalogs.
 * binding.c finds the indexes by what they hold, not by name.
 *
 * Everything is read under AccessShareLock and with a snapshot taken for the
 * look-up: the latest one for the pipeline's own rows, so that a kill is obeyed
 * under REPEATABLE READ too, the transaction's for the app's.  A booking is
 * locked under RowShareLock, the queue's row deleted under RowExclusiveLock,
 * and neither waits for anybody.  The caller has the owner's rights already;
 * see store_enter().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "binding.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "lookup.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* A number, in whatever width the app has it. */
int
value_as_int(Datum value, Oid type)
{
	switch (type)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT8OID:
			return (int) Min(DatumGetInt64(value), (int64) PG_INT32_MAX);
	}
	return DatumGetInt32(value);
}

/* A text, or a value of another type of the app's choice, as text. */
char *
value_as_text(Datum value, Oid type)
{
	Oid			output;
	bool		varlena;

	if (type == TEXTOID || type == VARCHAROID)
		return TextDatumGetCString(value);
	getTypeOutputInfo(type, &output, &varlena);
	return OidOutputFunctionCall(output, value);
}

typedef struct KeyedScan
{
	Relation	relation;
	LOCKMODE	lock;
	Snapshot	snapshot;
	SysScanDesc scan;
} KeyedScan;

static Oid
keyed_relation(KeyedTable which)
{
	if (!OidIsValid(binding_get()->keyed[which].relid))
		binding_require_whole();
	return binding_get()->keyed[which].relid;
}

/* The index is looked up under the table's lock, as it may have been replaced. */
static void
keyed_begin_locked(KeyedScan *scan, KeyedTable which, Datum key, bool is_null,
				   Snapshot snapshot, LOCKMODE lock)
{
	const KeyedTableBinding *keyed;
	ScanKeyData scan_key;

	scan->lock = lock;
	scan->relation = table_open(keyed_relation(which), lock);
	scan->snapshot = RegisterSnapshot(snapshot);
	keyed = &binding_get()->keyed[which];
	if (is_null)
		ScanKeyEntryInitialize(&scan_key, SK_ISNULL | SK_SEARCHNULL, keyed->key,
							   InvalidStrategy, InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
	else
		ScanKeyInit(&scan_key, keyed->key, BTEqualStrategyNumber,
					which == KEYED_KILL_SWITCH ? F_BOOLEQ : F_UUID_EQ, key);
	scan->scan = systable_beginscan(scan->relation, keyed->index, true, scan->snapshot, 1,
									&scan_key);
}

static void
keyed_begin(KeyedScan *scan, KeyedTable which, Datum key, bool is_null, Snapshot snapshot)
{
	keyed_begin_locked(scan, which, key, is_null, snapshot, AccessShareLock);
}

/* A lock for reading alone is given back, as the executor does not: it protects nothing we keep. */
static void
keyed_end(KeyedScan *scan)
{
	systable_endscan(scan->scan);
	UnregisterSnapshot(scan->snapshot);
	table_close(scan->relation, scan->lock == AccessShareLock ? AccessShareLock : NoLock);
}

static AttrNumber
keyed_attnum(const KeyedScan *scan, const char *name)
{
	int			attnum = SPI_fnumber(RelationGetDescr(scan->relation), name);

	if (attnum <= 0)
		elog(ERROR, "column \"%s\" of relation \"%s\" is missing", name,
			 RelationGetRelationName(scan->relation));
	return attnum;
}

static Datum
keyed_column(const KeyedScan *scan, HeapTuple tuple, const char *name, bool *isnull)
{
	return heap_getattr(tuple, keyed_attnum(scan, name), RelationGetDescr(scan->relation),
						isnull);
}

/* Has this relation no row, for want of pages? */
bool
lookup_is_empty(Oid relid)
{
	Relation	relation = table_open(relid, AccessShareLock);
	bool		empty = RelationGetNumberOfBlocks(relation) == 0;

	table_close(relation, AccessShareLock);
	return empty;
}

/* Tables of the pipeline's own that most installations never write to. */
static bool
is_mostly_empty(KeyedTable which)
{
	return which == KEYED_KILL_SWITCH || which == KEYED_ROLLOUT || which == KEYED_CIRCUITS ||
		which == KEYED_PAUSES;
}

/*
 * The one row of a table of our own.  The snapshot is the latest one, so that
 * a kill is obeyed under REPEATABLE READ too.  Columns are valid as long as
 * the caller's memory context.
 */
static bool
own_row(KeyedTable which, Datum key, bool is_null, const char *const *columns, int ncolumns,
		Datum *values, bool *nulls)
{
	KeyedScan	scan;
	HeapTuple	tuple;

	if (is_mostly_empty(which) && lookup_is_empty(keyed_relation(which)))
		return false;
	keyed_begin(&scan, which, key, is_null, GetLatestSnapshot());
	tuple = systable_getnext(scan.scan);
	if (HeapTupleIsValid(tuple))
	{
		tuple = heap_copytuple(tuple);
		for (int i = 0; i < ncolumns; i++)
			values[i] = keyed_column(&scan, tuple, columns[i], &nulls[i]);
	}
	keyed_end(&scan);
	return HeapTupleIsValid(tuple);
}

/* A column of bookings; null if the app has dropped one that the triggers can do without. */
Datum
booking_column(HeapTuple tuple, TupleDesc desc, BookingColumn column, bool *isnull)
{
	AttrNumber	attnum = binding_get()->booking_columns[column];

	*isnull = true;
	return attnum == InvalidAttrNumber ? (Datum) 0 : heap_getattr(tuple, attnum, desc, isnull);
}

static Oid
booking_column_type(TupleDesc desc, BookingColumn column)
{
	return TupleDescAttr(desc, binding_get()->booking_columns[column] - 1)->atttypid;
}

/* A column that may be text or an enum of the app, as text; NULL for null. */
static char *
booking_text(HeapTuple tuple, TupleDesc desc, BookingColumn column)
{
	bool		isnull;
	Datum		value = booking_column(tuple, desc, column, &isnull);

	return isnull ? NULL : value_as_text(value, booking_column_type(desc, column));
}

static bool
booking_uuid(HeapTuple tuple, TupleDesc desc, BookingColumn column, pg_uuid_t *uuid)
{
	bool		isnull;
	Datum		value = booking_column(tuple, desc, column, &isnull);

	if (!isnull)
		*uuid = *DatumGetUUIDP(value);
	return !isnull;
}

static bool
booking_time(HeapTuple tuple, TupleDesc desc, BookingColumn column, TimestampTz *time)
{
	bool		isnull;
	Datum		value = booking_column(tuple, desc, column, &isnull);

	if (!isnull)
		*time = DatumGetTimestampTz(value);
	return !isnull;
}

static int
booking_int(HeapTuple tuple, TupleDesc desc, BookingColumn column, int if_null)
{
	bool		isnull;
	Datum		value = booking_column(tuple, desc, column, &isnull);

	return isnull ? if_null : value_as_int(value, booking_column_type(desc, column));
}

/* A row of bookings; its texts are in the caller's context. */
void
booking_from_tuple(HeapTuple tuple, TupleDesc desc, BookingRecord *booking)
{
	char	   *state = booking_text(tuple, desc, BOOKING_STATE);
	char	   *status = booking_text(tuple, desc, BOOKING_STATUS);

	memset(booking, 0, sizeof(BookingRecord));
	booking->found = true;
	(void) booking_uuid(tuple, desc, BOOKING_ID, &booking->id);
	booking->has_restaurant = booking_uuid(tuple, desc, BOOKING_RESTAURANT_ID,
										   &booking->restaurant_id);
	booking->party_size = booking_int(tuple, desc, BOOKING_PARTY_SIZE, 0);
	booking->has_start = booking_time(tuple, desc, BOOKING_START_AT, &booking->start_at);
	booking->has_end = booking_time(tuple, desc, BOOKING_END_AT, &booking->end_at);
	booking->status = status ? status : "";
	booking->state = state ? state_from_text(state) : STATE_CREATED;
	booking->version = booking_int(tuple, desc, BOOKING_VERSION, 1);
	booking->strategy = booking_text(tuple, desc, BOOKING_STRATEGY);
	booking->has_zone = booking_uuid(tuple, desc, BOOKING_ZONE_ID, &booking->zone_id);
}

/*
 * The row of a booking; with nothing found only the id is set.  As a statement
 * would, it sees what the caller's own statement has done so far.
 */
void
lookup_booking(const pg_uuid_t *booking_id, BookingRecord *booking)
{
	KeyedScan	scan;
	HeapTuple	tuple;

	memset(booking, 0, sizeof(BookingRecord));
	booking->id = *booking_id;
	if (!XactReadOnly)
		CommandCounterIncrement();
	keyed_begin(&scan, KEYED_BOOKING, UUIDPGetDatum(booking_id), false, GetTransactionSnapshot());
	tuple = systable_getnext(scan.scan);
	if (HeapTupleIsValid(tuple))
		booking_from_tuple(tuple, RelationGetDescr(scan.relation), booking);
	keyed_end(&scan);
}

/* Copy a booking's row into a slot, if it is of this version. */
bool
lookup_booking_row(const pg_uuid_t *booking_id, int version, TupleTableSlot *slot)
{
	KeyedScan	scan;
	HeapTuple	tuple;
	bool		found = false;

	keyed_begin(&scan, KEYED_BOOKING, UUIDPGetDatum(booking_id), false, GetActiveSnapshot());
	tuple = systable_getnext(scan.scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		stored = booking_column(tuple, RelationGetDescr(scan.relation),
											BOOKING_VERSION, &isnull);

		found = (isnull ? 1 : DatumGetInt32(stored)) == version;
		if (found)
		{
			ExecForceStoreHeapTuple(tuple, slot, false);
			slot->tts_tid = tuple->t_self;	/* which minor releases before November 2026 lose */
		}
	}
	keyed_end(&scan);
	return found;
}

/*
 * Lock one version of a row that the scan has found, FOR NO KEY UPDATE SKIP
 * LOCKED.  If it was updated meanwhile, the newest version is locked and looked
 * at; a frozen snapshot can't have that.
 *
 * A row that others queue up for counts as locked: who has waited for it since
 * long before us looks for a deadlock too soon for us to yield in time.
 */
static bool
lock_version(const KeyedScan *scan, HeapTuple tuple, int version)
{
	TupleTableSlot *slot = table_slot_create(scan->relation, NULL);
	uint8		flags = IsolationUsesXactSnapshot() ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	ItemPointerData found = tuple->t_self;	/* before it becomes the newest one */
	TM_FailureData failure;
	TM_Result	result;
	bool		locked = false;
	bool		isnull;

	if (!ConditionalLockTuple(scan->relation, &found, ExclusiveLock))
	{
		ExecDropSingleTupleTableSlot(slot);
		return false;
	}
	result = table_tuple_lock(scan->relation, &tuple->t_self, scan->snapshot, slot,
							  GetCurrentCommandId(false), LockTupleNoKeyExclusive, LockWaitSkip,
							  flags, &failure);
	if (result == TM_Ok)
	{
		Datum		stored = slot_getattr(slot, binding_get()->booking_columns[BOOKING_VERSION],
										  &isnull);

		locked = (isnull ? 1 : DatumGetInt32(stored)) == version;
	}
	else if (IsolationUsesXactSnapshot() && (result == TM_Updated || result == TM_Deleted))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
	UnlockTuple(scan->relation, &found, ExclusiveLock);
	ExecDropSingleTupleTableSlot(slot);
	return locked;
}

/* Lock a booking's row if it is free and still of this version; never waits. */
bool
lookup_lock_booking(const pg_uuid_t *booking_id, int version)
{
	KeyedScan	scan;
	HeapTuple	tuple;
	bool		locked;

	keyed_begin_locked(&scan, KEYED_BOOKING, UUIDPGetDatum(booking_id), false,
					   GetTransactionSnapshot(), RowShareLock);
	tuple = systable_getnext(scan.scan);
	locked = HeapTupleIsValid(tuple) && lock_version(&scan, tuple, version);
	keyed_end(&scan);
	return locked;
}

/* Is the booking seated anywhere? */
bool
lookup_has_assignments(const pg_uuid_t *booking_id)
{
	KeyedScan	scan;
	bool		found;

	keyed_begin(&scan, KEYED_ASSIGNMENTS, UUIDPGetDatum(booking_id), false,
				GetTransactionSnapshot());
	found = HeapTupleIsValid(systable_getnext(scan.scan));
	keyed_end(&scan);
	return found;
}

/* The highest attempt_no of a booking, 0 if it has none. */
int
lookup_last_attempt(const pg_uuid_t *booking_id)
{
	KeyedScan	scan;
	HeapTuple	tuple;
	int			last = 0;

	keyed_begin(&scan, KEYED_ATTEMPTS, UUIDPGetDatum(booking_id), false,
				GetTransactionSnapshot());
	while (HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
	{
		bool		isnull;
		Datum		number = keyed_column(&scan, tuple, "attempt_no", &isnull);

		if (!isnull)
			last = Max(last, DatumGetInt32(number));
	}
	keyed_end(&scan);
	return last;
}

/*
 * What the rehearsal of this version of a booking came to; false if there was
 * none.  The latest snapshot tells, so that none is repeated under REPEATABLE
 * READ either.
 */
bool
lookup_rehearsal(const pg_uuid_t *booking_id, int version, Rehearsal *rehearsal)
{
	KeyedScan	scan;
	HeapTuple	tuple;
	bool		found = false;

	keyed_begin(&scan, KEYED_REHEARSALS, UUIDPGetDatum(booking_id), false, GetLatestSnapshot());
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
	{
		bool		isnull;
		Datum		value = keyed_column(&scan, tuple, "version", &isnull);

		if (isnull || DatumGetInt32(value) != version)
			continue;
		found = true;
		rehearsal->outcome = TextDatumGetCString(keyed_column(&scan, tuple, "outcome", &isnull));
		value = keyed_column(&scan, tuple, "strategy", &isnull);
		rehearsal->strategy = isnull ? NULL : TextDatumGetCString(value);
	}
	keyed_end(&scan);
	return found;
}

static void
load_rollout_row(const pg_uuid_t *restaurant_id, RolloutRow *rollout)
{
	static const char *const columns[] = {"mode", "max_parallel", "percent"};
	Datum		values[lengthof(columns)];
	bool		nulls[lengthof(columns)];

	memset(rollout, 0, sizeof(RolloutRow));
	rollout->percent = -1;
	if (!own_row(KEYED_ROLLOUT, UUIDPGetDatum(restaurant_id), restaurant_id == NULL, columns,
				 lengthof(columns), values, nulls))
		return;
	rollout->exists = true;
	rollout->mode = mode_from_text(TextDatumGetCString(values[0]));
	rollout->max_parallel = nulls[1] ? 0 : DatumGetInt32(values[1]);
	rollout->percent = nulls[2] ? -1 : DatumGetInt32(values[2]);
}

/* The rollout rows of a restaurant, or with NULL those of the fleet alone. */
void
lookup_rollout(const pg_uuid_t *restaurant_id, RolloutRows *rollout)
{
	memset(rollout, 0, sizeof(RolloutRows));
	rollout->killed = own_row(KEYED_KILL_SWITCH, BoolGetDatum(true), false, NULL, 0, NULL, NULL);
	if (restaurant_id != NULL)
		load_rollout_row(restaurant_id, &rollout->restaurant);
	load_rollout_row(NULL, &rollout->fleet);
}

/* A restaurant's breaker, closed and clean if it has no row. */
void
lookup_breaker(const pg_uuid_t *restaurant_id, Breaker *breaker)
{
	static const char *const columns[] = {
		"consecutive_errors", "half_open_successes", "open_until"
	};
	Datum		values[lengthof(columns)];
	bool		nulls[lengthof(columns)];

	memset(breaker, 0, sizeof(Breaker));
	if (!own_row(KEYED_CIRCUITS, UUIDPGetDatum(restaurant_id), false, columns, lengthof(columns),
				 values, nulls))
		return;
	breaker->consecutive_errors = DatumGetInt32(values[0]);
	breaker->half_open_successes = DatumGetInt32(values[1]);
	breaker->open_until = nulls[2] ? 0 : DatumGetTimestampTz(values[2]);
}

/* Since when a booking is due; false if it is not queued. */
bool
lookup_queue(const pg_uuid_t *booking_id, TimestampTz *due_at)
{
	static const char *const columns[] = {"due_at"};
	Datum		values[lengthof(columns)];
	bool		nulls[lengthof(columns)];

	if (!own_row(KEYED_QUEUE, UUIDPGetDatum(booking_id), false, columns, lengthof(columns),
				 values, nulls))
		return false;
	*due_at = DatumGetTimestampTz(values[0]);
	return true;
}

/* Lock a row that the scan has found, FOR UPDATE SKIP LOCKED, unless it has changed. */
static bool
lock_if_free(const KeyedScan *scan, HeapTuple tuple)
{
	TupleTableSlot *slot = table_slot_create(scan->relation, NULL);
	TM_FailureData failure;
	TM_Result	result = table_tuple_lock(scan->relation, &tuple->t_self, scan->snapshot, slot,
										  GetCurrentCommandId(false), LockTupleExclusive,
										  LockWaitSkip, 0, &failure);

	ExecDropSingleTupleTableSlot(slot);
	return result == TM_Ok;
}

/*
 * Claim a row of the queue as it was read: lock it, unless it is gone, has
 * changed, or is in the hands of somebody else.
 */
bool
lookup_claim_queue(const QueueRow *row)
{
	KeyedScan	scan;
	HeapTuple	tuple;
	bool		claimed = false;

	keyed_begin_locked(&scan, KEYED_QUEUE, UUIDPGetDatum(&row->booking_id), false,
					   GetLatestSnapshot(), RowShareLock);
	tuple = systable_getnext(scan.scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		due_at = keyed_column(&scan, tuple, "due_at", &isnull);

		claimed = DatumGetTimestampTz(due_at) == row->due_at && lock_if_free(&scan, tuple);
	}
	keyed_end(&scan);
	return claimed;
}

/*
 * Delete a row that the scan has found, unless another transaction holds it.
 * A delete that may not wait takes a lock of our own, from the claim or from an
 * upsert, for somebody else's; locking the row tells them apart.
 */
static void
delete_if_free(const KeyedScan *scan, HeapTuple tuple)
{
	CommandId	command = GetCurrentCommandId(true);
	TM_FailureData failure;

	if (table_tuple_delete(scan->relation, &tuple->t_self, command, scan->snapshot,
						   InvalidSnapshot, false, &failure, false) != TM_BeingModified)
		return;
	if (lock_if_free(scan, tuple))
		(void) table_tuple_delete(scan->relation, &tuple->t_self, command, scan->snapshot,
								  InvalidSnapshot, true, &failure, false);
}

/*
 * Take a booking off the queue.  A row that another transaction has claimed
 * stays, and whoever comes to it finds nothing to do: waiting here would make
 * the app wait for a batch.  A row that is not due at the given time any more,
 * if there is one, stays too: it speaks of a change that we have not seen.
 */
void
lookup_delete_queue(const pg_uuid_t *booking_id, const TimestampTz *due_at)
{
	KeyedScan	scan;
	HeapTuple	tuple;

	keyed_begin_locked(&scan, KEYED_QUEUE, UUIDPGetDatum(booking_id), false,
					   GetLatestSnapshot(), RowExclusiveLock);
	tuple = systable_getnext(scan.scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		stored = keyed_column(&scan, tuple, "due_at", &isnull);

		if (due_at == NULL || DatumGetTimestampTz(stored) == *due_at)
			delete_if_free(&scan, tuple);
	}
	keyed_end(&scan);
	CommandCounterIncrement();
}

/* Is a row of the queue still as it was read? */
bool
lookup_is_queued(const QueueRow *row)
{
	TimestampTz due_at;

	return lookup_queue(&row->booking_id, &due_at) && due_at == row->due_at;
}

/* Has somebody told the drains to leave a restaurant alone? */
bool
lookup_is_paused(const pg_uuid_t *restaurant_id)
{
	return own_row(KEYED_PAUSES, UUIDPGetDatum(restaurant_id), false, NULL, 0, NULL, NULL);
}

/* Columns of table_inventory that a plan rests on. */
typedef enum FloorColumn
{
	FLOOR_ID,
	FLOOR_NUMBER,
	FLOOR_ZONE_ID,
	FLOOR_CAPACITY,
	FLOOR_MIN_PARTY,
	FLOOR_MAX_PARTY,
	FLOOR_MOBILITY,
	FLOOR_ACTIVE,
	FLOOR_STATUS
} FloorColumn;

#define FLOOR_COLUMN_COUNT (FLOOR_STATUS + 1)

static const char *const floor_columns[FLOOR_COLUMN_COUNT] = {
	[FLOOR_ID] = "id",
	[FLOOR_NUMBER] = "table_number",
	[FLOOR_ZONE_ID] = "zone_id",
	[FLOOR_CAPACITY] = "capacity",
	[FLOOR_MIN_PARTY] = "min_party_size",
	[FLOOR_MAX_PARTY] = "max_party_size",
	[FLOOR_MOBILITY] = "mobility",
	[FLOOR_ACTIVE] = "active",
	[FLOOR_STATUS] = "status",
};

/* One row of table_inventory, taken apart. */
typedef struct FloorRow
{
	TupleDesc	desc;
	AttrNumber	attnums[FLOOR_COLUMN_COUNT];
	Datum	   *values;			/* of all attributes */
	bool	   *nulls;
} FloorRow;

static Oid
floor_type(const FloorRow *row, FloorColumn column)
{
	return TupleDescAttr(row->desc, row->attnums[column] - 1)->atttypid;
}

static Datum
floor_value(const FloorRow *row, FloorColumn column, bool *isnull)
{
	*isnull = row->nulls[row->attnums[column] - 1];
	return row->values[row->attnums[column] - 1];
}

static int
floor_int(const FloorRow *row, FloorColumn column, int if_null)
{
	bool		isnull;
	Datum		value = floor_value(row, column, &isnull);

	return isnull ? if_null : value_as_int(value, floor_type(row, column));
}

/* As text; empty for null. */
static const char *
floor_text(const FloorRow *row, FloorColumn column)
{
	bool		isnull;
	Datum		value = floor_value(row, column, &isnull);

	return isnull ? "" : value_as_text(value, floor_type(row, column));
}

/* Does it say this word? */
static bool
floor_says(const FloorRow *row, FloorColumn column, const char *word)
{
	bool		isnull;
	Datum		value = floor_value(row, column, &isnull);
	int			length = (int) strlen(word);

	if (isnull)
		return false;
	if (floor_type(row, column) == TEXTOID)
	{
		text	   *stored = DatumGetTextPP(value);

		return (int) VARSIZE_ANY_EXHDR(stored) == length &&
			memcmp(VARDATA_ANY(stored), word, length) == 0;
	}
	return strcmp(floor_text(row, column), word) == 0;
}

static bool
floor_in_service(const FloorRow *row)
{
	bool		isnull;
	Datum		active = floor_value(row, FLOOR_ACTIVE, &isnull);

	return !isnull && DatumGetBool(active) && !floor_says(row, FLOOR_STATUS, "out_of_service");
}

static void
floor_table(const FloorRow *row, PlannerTable *table)
{
	bool		isnull;
	Datum		value;

	memset(table, 0, sizeof(PlannerTable));
	table->id = *DatumGetUUIDP(floor_value(row, FLOOR_ID, &isnull));
	table->number = floor_text(row, FLOOR_NUMBER);
	value = floor_value(row, FLOOR_ZONE_ID, &isnull);
	table->has_zone = !isnull;
	if (table->has_zone)
		table->zone_id = *DatumGetUUIDP(value);
	table->capacity = floor_int(row, FLOOR_CAPACITY, 0);
	table->min_party = floor_int(row, FLOOR_MIN_PARTY, 1);
	table->max_party = floor_int(row, FLOOR_MAX_PARTY, table->capacity);
	table->movable = floor_says(row, FLOOR_MOBILITY, "movable");
	table->usable = floor_in_service(row);
}

/* Prepare to take apart rows of table_inventory, which is open in the scan. */
static void
floor_row_begin(FloorRow *row, const KeyedScan *scan)
{
	row->desc = RelationGetDescr(scan->relation);
	row->values = palloc(sizeof(Datum) * row->desc->natts);
	row->nulls = palloc(sizeof(bool) * row->desc->natts);
	for (int i = 0; i < FLOOR_COLUMN_COUNT; i++)
		row->attnums[i] = keyed_attnum(scan, floor_columns[i]);
}

/* Read the tables of a restaurant, without asking which are taken. */
void
lookup_floor(const pg_uuid_t *restaurant_id, Floor *floor)
{
	int			allocated = 64;
	KeyedScan	scan;
	HeapTuple	tuple;
	FloorRow	row;

	memset(floor, 0, sizeof(Floor));
	floor->tables = palloc(sizeof(PlannerTable) * allocated);
	keyed_begin(&scan, KEYED_FLOOR, UUIDPGetDatum(restaurant_id), false,
				GetTransactionSnapshot());
	floor_row_begin(&row, &scan);
	while (HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
	{
		if (floor->ntables == allocated)
		{
			allocated *= 2;
			floor->tables = repalloc(floor->tables, sizeof(PlannerTable) * allocated);
		}
		heap_deform_tuple(tuple, row.desc, row.values, row.nulls);
		floor_table(&row, &floor->tables[floor->ntables++]);
	}
	keyed_end(&scan);
	floor->known = palloc0(sizeof(bool) * Max(floor->ntables, 1));
}

/*
 * Does another booking than the given one take a table in a window?
 * Assignments of one table never overlap, so the last that starts before the
 * window ends is the only one that can reach into it.
 */
static bool
is_taken(const KeyedScan *timeline, Relation index, const pg_uuid_t *table_id,
		 const Window *window)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		taken = false;

	ScanKeyInit(&keys[0], keyed_attnum(timeline, "table_id"), BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(table_id));
	ScanKeyInit(&keys[1], keyed_attnum(timeline, "start_at"), BTLessStrategyNumber,
				F_TIMESTAMPTZ_LT, TimestampTzGetDatum(window->end_at));
	scan = systable_beginscan_ordered(timeline->relation, index, timeline->snapshot, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, BackwardScanDirection)))
	{
		bool		isnull;
		Datum		owner = keyed_column(timeline, tuple, "booking_id", &isnull);

		CHECK_FOR_INTERRUPTS();
		if (!isnull && memcmp(DatumGetUUIDP(owner), &window->booking_id, UUID_LEN) == 0)
			continue;
		taken = DatumGetTimestampTz(keyed_column(timeline, tuple, "end_at", &isnull)) >
			window->start_at;
		break;
	}
	systable_endscan_ordered(scan);
	return taken;
}

/* Is a table still in service? */
static bool
is_in_service(const pg_uuid_t *table_id)
{
	KeyedScan	scan;
	HeapTuple	tuple;
	bool		in_service = false;

	keyed_begin(&scan, KEYED_TABLE, UUIDPGetDatum(table_id), false, GetTransactionSnapshot());
	tuple = systable_getnext(scan.scan);
	if (HeapTupleIsValid(tuple))
	{
		FloorRow	row;

		floor_row_begin(&row, &scan);
		heap_deform_tuple(tuple, row.desc, row.values, row.nulls);
		in_service = floor_in_service(&row);
	}
	keyed_end(&scan);
	return in_service;
}

/*
 * Find out which of these tables are taken or out of service, with a fresh
 * snapshot.  Tables that seat the booking itself are free to it.
 */
void
lookup_taken(const Window *window, Floor *floor, const int *tables, int ntables)
{
	KeyedScan	timeline;
	Relation	index;

	timeline.relation = table_open(binding_get()->keyed[KEYED_TIMELINE].relid, AccessShareLock);
	timeline.snapshot = RegisterSnapshot(GetTransactionSnapshot());
	index = index_open(binding_get()->keyed[KEYED_TIMELINE].index, AccessShareLock);
	for (int i = 0; i < ntables; i++)
	{
		PlannerTable *table = &floor->tables[tables[i]];

		table->taken = is_taken(&timeline, index, &table->id, window);
		if (table->taken || (table->usable && !is_in_service(&table->id)))
			table->usable = false;
		floor->known[tables[i]] = true;
	}
	index_close(index, AccessShareLock);
	UnregisterSnapshot(timeline.snapshot);
	table_close(timeline.relation, AccessShareLock);
}
