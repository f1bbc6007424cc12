/*-------------------------------------------------------------------------
 *
 * binding.h
 *		The relations and columns that attach() has bound.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BINDING_H
#define BINDING_H

#include "postgres.h"
#include "fmgr.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

#define EXTENSION_SCHEMA "assignment_v3"

typedef enum BoundRelation
{
	BOUND_RESTAURANTS,
	BOUND_ZONES,
	BOUND_TABLES,
	BOUND_ADJACENCIES,
	BOUND_BOOKINGS,
	BOUND_ASSIGNMENTS,
	BOUND_HISTORY,
	BOUND_ATTEMPTS,
	BOUND_EVENTS,
	BOUND_OUTBOX,
	BOUND_HOLDS,
	BOUND_HOLD_WINDOWS,
	BOUND_REHEARSALS,
	BOUND_ALLOCATIONS			/* only in live databases that have it */
} BoundRelation;

#define BOUND_RELATION_COUNT (BOUND_ALLOCATIONS + 1)

/* Tables that are looked up by a key in an index, without SQL. */
typedef enum KeyedTable
{
	KEYED_QUEUE,
	KEYED_CIRCUITS,
	KEYED_ROLLOUT,
	KEYED_KILL_SWITCH,
	KEYED_BLOCKS,
	KEYED_PAUSES,
	KEYED_BOOKING,
	KEYED_ASSIGNMENTS,
	KEYED_ATTEMPTS,
	KEYED_REHEARSALS,
	KEYED_FLOOR,
	KEYED_TABLE,
	KEYED_TIMELINE				/* assignments of a table, by their start */
} KeyedTable;

#define KEYED_TABLE_COUNT (KEYED_TIMELINE + 1)

typedef struct KeyedTableBinding
{
	Oid			relid;			/* InvalidOid if the table or ... */
	Oid			index;			/* ... a btree that begins with the key is missing */
	AttrNumber	key;
	bool		spread;			/* no unique index has the key alone: the restaurant follows */
} KeyedTableBinding;

/* What is counted in sequences, which no rollback takes back. */
typedef enum Counter
{
	COUNTER_DECISIONS,			/* tried, live */
	COUNTER_REHEARSALS,			/* tried */
	COUNTER_ERRORS,				/* live decisions that met an error */
	COUNTER_REHEARSAL_ERRORS,	/* rehearsals that did */
	COUNTER_REFUSALS,			/* steps refused */
	COUNTER_CONFLICTS,			/* steps that came with a stale version, or lost to another session */
	COUNTER_FAILURES,			/* steps that failed otherwise */
	COUNTER_LATE,				/* events recorded late */
	COUNTER_LOST				/* events that were not recorded */
} Counter;

#define COUNTER_COUNT (COUNTER_LOST + 1)

/* Columns of a type that is the app's choice, text or an enum of its own. */
typedef enum BoundType
{
	BOUND_BOOKING_STATUS,
	BOUND_BOOKING_STATE,
	BOUND_OUTBOX_STATUS
} BoundType;

#define BOUND_TYPE_COUNT (BOUND_OUTBOX_STATUS + 1)

/* Columns of bookings.  The triggers watch those up to the version. */
typedef enum BookingColumn
{
	BOOKING_ID,
	BOOKING_RESTAURANT_ID,
	BOOKING_PARTY_SIZE,
	BOOKING_START_AT,
	BOOKING_END_AT,
	BOOKING_STATUS,
	BOOKING_STATE,
	BOOKING_VERSION,
	BOOKING_STRATEGY,
	BOOKING_ZONE_ID,
	BOOKING_CREATED_AT
} BookingColumn;

#define BOOKING_WATCHED_COUNT (BOOKING_VERSION + 1)
#define BOOKING_COLUMN_COUNT (BOOKING_CREATED_AT + 1)

/* Columns of the second ledger; the first three may be keys of its constraint. */
typedef enum LedgerColumn
{
	LEDGER_TYPE,
	LEDGER_TABLE,
	LEDGER_WINDOW,
	LEDGER_BOOKING,
	LEDGER_SHADOW
} LedgerColumn;

#define LEDGER_KEY_COUNT (LEDGER_WINDOW + 1)
#define LEDGER_COLUMN_COUNT (LEDGER_SHADOW + 1)

/* The index of the second ledger's exclusion constraint. */
typedef struct LedgerBinding
{
	Oid			index;			/* invalid if there is none of the usual form */
	int			nkeys;
	LedgerColumn keys[LEDGER_KEY_COUNT];
	AttrNumber	columns[LEDGER_COLUMN_COUNT];
} LedgerBinding;

typedef struct Binding
{
	uint64		generation;		/* moves when anything below does */
	char	   *version;		/* that attached */
	char	   *defects;		/* what has changed since and is in the way of decisions;
								 * NULL if nothing has */
	bool		sharded;		/* a defect: the rows of a relation are not in it */
	char	   *app_schema;
	char	   *search_path;	/* under which the app's triggers run */
	TimestampTz recorded_since; /* older bookings have met no trigger */
	Oid			owner;			/* of bookings: whose rights the C code uses */
	bool		deferrable_ledger;	/* assignments can't take ON CONFLICT */
	List	   *deferrable;		/* constraints of all bound relations, as RangeVars */
	List	   *deferred;		/* those among them that are so initially */
	Oid			relids[BOUND_RELATION_COUNT];
	char	   *relations[BOUND_RELATION_COUNT];	/* quoted and qualified; NULL
													 * if absent */
	char	   *types[BOUND_TYPE_COUNT];	/* NULL if the column is missing */
	uint32		type_hashes[BOUND_TYPE_COUNT];	/* in the system cache */
	uint32		schema_hash;
	uint32		ledger_hash;	/* of the name of allocations, there or not */
	AttrNumber	booking_columns[BOOKING_COLUMN_COUNT];
	KeyedTableBinding keyed[KEYED_TABLE_COUNT];
	LedgerBinding ledger;
	Oid			counters[COUNTER_COUNT];	/* sequences */
} Binding;

extern void BindingInit(void);
extern Oid	binding_attached_by(void);
extern const Binding *binding_get(void);
extern bool binding_is_whole(void);
extern void binding_require_whole(void);
extern Oid	binding_target(BoundRelation which);
extern void binding_materialize(FunctionCallInfo fcinfo, int ncolumns);
extern TupleDesc binding_result_type(FunctionCallInfo fcinfo, int ncolumns);

#endif							/* BINDING_H */
