/*-------------------------------------------------------------------------
 *
 * ledger.c
 *		What the app's second ledger says of a table.
 *
 * A live app may keep what is taken in allocations too, with an exclusion
 * constraint on resource and window, and has indexes on the restaurant and on
 * the window besides.  A statement would leave the choice to the planner, who
 * takes any of them as long as the table is small, and stays with it: then
 * each decision would read all that the restaurant, or the whole fleet, has
 * there.  So the constraint's own index is scanned, as the constraint does it
 * when a row is inserted: a look for each of the few tables that a plan wants.
 *
 * Where the constraint is not of that form, store.c asks by a statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "binding.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/tuptable.h"
#include "ledger.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rangetypes.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#define LEDGER_RESOURCE "table"

typedef struct LedgerScan
{
	Relation	relation;
	Relation	index;
	Snapshot	snapshot;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	ScanKeyData keys[LEDGER_KEY_COUNT];
	ScanKey		span;			/* the one among them that is the window */
} LedgerScan;

bool
ledger_is_indexed(void)
{
	return OidIsValid(binding_get()->ledger.index);
}

/* The word for a table, in whatever type the app has for it. */
static Datum
resource_word(Relation relation, AttrNumber column)
{
	Oid			type = TupleDescAttr(RelationGetDescr(relation), column - 1)->atttypid;
	Oid			input;
	Oid			param;

	getTypeInputInfo(type, &input, &param);
	return OidInputFunctionCall(input, LEDGER_RESOURCE, param, -1);
}

static Datum
window_range(const Window *window)
{
	RangeBound	lower = {TimestampTzGetDatum(window->start_at), false, true, true};
	RangeBound	upper = {TimestampTzGetDatum(window->end_at), false, false, false};

	return RangeTypePGetDatum(compat_make_range(lookup_type_cache(TSTZRANGEOID,
																   TYPECACHE_RANGE_INFO),
												&lower, &upper));
}

/* The keys of the constraint, but for the table, which comes with each look. */
static void
make_keys(LedgerScan *scan, const Window *window)
{
	const LedgerBinding *ledger = &binding_get()->ledger;
	Oid		   *operators;
	Oid		   *functions;
	uint16	   *strategies;

	RelationGetExclusionInfo(scan->index, &operators, &functions, &strategies);
	for (int i = 0; i < ledger->nkeys; i++)
	{
		Datum		value = (Datum) 0;

		switch (ledger->keys[i])
		{
			case LEDGER_TYPE:
				value = resource_word(scan->relation, ledger->columns[LEDGER_TYPE]);
				break;
			case LEDGER_TABLE:
			case LEDGER_BOOKING:
			case LEDGER_SHADOW:
				break;
			case LEDGER_WINDOW:
				value = window_range(window);
				scan->span = &scan->keys[i];
				break;
		}
		ScanKeyEntryInitialize(&scan->keys[i], 0, i + 1, strategies[i], InvalidOid,
							   scan->index->rd_indcollation[i], functions[i], value);
	}
}

static void
begin(LedgerScan *scan, const Window *window)
{
	const LedgerBinding *ledger;

	scan->relation = table_open(binding_get()->relids[BOUND_ALLOCATIONS], AccessShareLock);
	ledger = &binding_get()->ledger;
	scan->index = index_open(ledger->index, AccessShareLock);
	scan->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	scan->slot = table_slot_create(scan->relation, NULL);
	make_keys(scan, window);
	scan->scan = index_beginscan(scan->relation, scan->index, scan->snapshot, ledger->nkeys, 0);
}

static void
end(LedgerScan *scan)
{
	index_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	UnregisterSnapshot(scan->snapshot);
	index_close(scan->index, AccessShareLock);
	table_close(scan->relation, AccessShareLock);
}

static Datum
ledger_column(const LedgerScan *scan, LedgerColumn column, bool *isnull)
{
	return slot_getattr(scan->slot, binding_get()->ledger.columns[column], isnull);
}

/* Does the row in the slot take the table from this booking? */
static bool
takes(const LedgerScan *scan, const pg_uuid_t *table_id, const Window *window)
{
	AttrNumber	type_column = binding_get()->ledger.columns[LEDGER_TYPE];
	bool		isnull;
	Datum		value = ledger_column(scan, LEDGER_SHADOW, &isnull);

	if (isnull || DatumGetBool(value))
		return false;
	value = ledger_column(scan, LEDGER_TYPE, &isnull);
	if (isnull || strcmp(value_as_text(value, TupleDescAttr(RelationGetDescr(scan->relation),
															type_column - 1)->atttypid),
						 LEDGER_RESOURCE) != 0)
		return false;
	value = ledger_column(scan, LEDGER_TABLE, &isnull);
	if (isnull || memcmp(DatumGetUUIDP(value), table_id, UUID_LEN) != 0)
		return false;
	value = ledger_column(scan, LEDGER_WINDOW, &isnull);
	if (isnull || (scan->scan->xs_recheck &&
				   !DatumGetBool(FunctionCall2Coll(&scan->span->sk_func, InvalidOid, value,
												   scan->span->sk_argument))))
		return false;
	value = ledger_column(scan, LEDGER_BOOKING, &isnull);
	return isnull || memcmp(DatumGetUUIDP(value), &window->booking_id, UUID_LEN) != 0;
}

static bool
is_taken(LedgerScan *scan, const pg_uuid_t *table_id, const Window *window)
{
	const LedgerBinding *ledger = &binding_get()->ledger;
	bool		taken = false;

	for (int i = 0; i < ledger->nkeys; i++)
	{
		if (ledger->keys[i] == LEDGER_TABLE)
			scan->keys[i].sk_argument = UUIDPGetDatum(table_id);
	}
	index_rescan(scan->scan, scan->keys, ledger->nkeys, NULL, 0);
	while (!taken && index_getnext_slot(scan->scan, ForwardScanDirection, scan->slot))
		taken = takes(scan, table_id, window);
	ExecClearTuple(scan->slot);
	return taken;
}

/* Bar those of the given tables that the ledger gives to somebody else, or to maintenance. */
void
ledger_bar(const Window *window, Floor *floor, const int *tables, int ntables)
{
	LedgerScan	scan;

	begin(&scan, window);
	for (int i = 0; i < ntables; i++)
	{
		PlannerTable *table = &floor->tables[tables[i]];

		if (table->usable && is_taken(&scan, &table->id, window))
			table->usable = false;
	}
	end(&scan);
}
