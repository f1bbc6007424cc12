/*-------------------------------------------------------------------------
 *
 * append.c
 *		The rows of a decision, written as COPY writes rows.
 *
 * A decision adds a dozen rows to assignments, history, attempts, events and
 * outbox.  As INSERT statements they would cost more for the executor's set-up, and for
 * parsing each table's CHECK constraints anew in every statement, than for
 * the rows.  So they are formed here and handed to the table and its indexes,
 * as COPY and the logical replication of PostgreSQL do it.  Nothing is left
 * out: defaults, generated columns, constraints, partitions, and the triggers
 * of the app, by row and by statement.  Only rewrite rules do not apply, as
 * with COPY.
 *
 * What can be known before a row is seen is kept per target from call to
 * call: which value goes into which column and by which conversion, the
 * defaults of the other columns and the CHECK constraints, ready to be run.
 * It is made anew after any invalidation of the relation or of a function, and
 * for each generation of the binding.  What is replaced may still be in use
 * further up the stack, where a trigger has called us again; it lives until
 * the transaction ends.
 *
 * The caller has the owner's rights and the app's search_path already, see
 * store_enter().  Locks: ROW EXCLUSIVE on the target, until the transaction
 * ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "append.h"
#include "binding.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/pg_prng.h"
#include "compat.h"
#include "executor/execPartition.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define MAX_FIELDS 10

typedef enum Target
{
	TARGET_HISTORY,
	TARGET_EVENTS,
	TARGET_ATTEMPTS,
	TARGET_OUTBOX,
	TARGET_ASSIGNMENTS
} Target;

#define TARGET_COUNT (TARGET_ASSIGNMENTS + 1)

/* What becomes of a row that meets another one with its key. */
typedef enum Conflict
{
	CONFLICT_ERROR,
	CONFLICT_SKIP,				/* it is left out; nobody else writes its key at the same time */
	CONFLICT_YIELD				/* it is left out, even if the other one was a moment faster */
} Conflict;

/* How a value comes: as C strings, which may be JSON or a label, or natively. */
typedef enum FieldKind
{
	FIELD_STRING,
	FIELD_UUID,
	FIELD_INTEGER,
	FIELD_TIME
} FieldKind;

typedef struct Field
{
	const char *column;
	FieldKind	kind;
	bool		optional;		/* left out where the table has no such column for it */
} Field;

static const struct
{
	BoundRelation relation;
	Conflict	conflict;
	int			nfields;
	Field		fields[MAX_FIELDS];
}			targets[TARGET_COUNT] = {
	[TARGET_HISTORY] = {
		BOUND_HISTORY, CONFLICT_ERROR, 9,
		{{"booking_id", FIELD_UUID}, {"from_state", FIELD_STRING}, {"to_state", FIELD_STRING},
		{"version", FIELD_INTEGER}, {"metadata", FIELD_STRING}, {"reason", FIELD_STRING},
		{"actor_id", FIELD_UUID}, {"created_at", FIELD_TIME}, {"restaurant_id", FIELD_UUID, true}}
	},
	[TARGET_EVENTS] = {
		BOUND_EVENTS, CONFLICT_ERROR, 7,
		{{"created_at", FIELD_TIME}, {"source", FIELD_STRING}, {"event_type", FIELD_STRING},
		{"severity", FIELD_STRING}, {"context", FIELD_STRING}, {"restaurant_id", FIELD_UUID},
		{"booking_id", FIELD_UUID}}
	},
	[TARGET_ATTEMPTS] = {
		BOUND_ATTEMPTS, CONFLICT_ERROR, 8,
		{{"booking_id", FIELD_UUID}, {"attempt_no", FIELD_INTEGER}, {"strategy", FIELD_STRING},
		{"result", FIELD_STRING}, {"reason", FIELD_STRING}, {"metadata", FIELD_STRING},
		{"created_at", FIELD_TIME}, {"restaurant_id", FIELD_UUID, true}}
	},
	[TARGET_OUTBOX] = {
		BOUND_OUTBOX, CONFLICT_SKIP, 10,
		{{"created_at", FIELD_TIME}, {"status", FIELD_STRING}, {"event_type", FIELD_STRING},
		{"dedupe_key", FIELD_STRING}, {"attempt_count", FIELD_INTEGER},
		{"next_attempt_at", FIELD_TIME}, {"restaurant_id", FIELD_UUID},
		{"booking_id", FIELD_UUID}, {"idempotency_key", FIELD_STRING, true},
		{"payload", FIELD_STRING}}
	},
	[TARGET_ASSIGNMENTS] = {
		BOUND_ASSIGNMENTS, CONFLICT_YIELD, 6,
		{{"booking_id", FIELD_UUID}, {"table_id", FIELD_UUID}, {"start_at", FIELD_TIME},
		{"end_at", FIELD_TIME}, {"assigned_at", FIELD_TIME}, {"restaurant_id", FIELD_UUID, true}}
	},
};

/* A row to be: its values in the order of the target's fields. */
typedef struct FieldValues
{
	Datum		values[MAX_FIELDS];
	bool		nulls[MAX_FIELDS];
} FieldValues;

typedef enum ColumnSource
{
	COLUMN_NULL,				/* dropped, generated, or without a default */
	COLUMN_DEFAULT,
	COLUMN_ID,					/* a random id by default, so ours will do */
	COLUMN_AS_IS,				/* a field of the column's own type */
	COLUMN_AS_TEXT,
	COLUMN_BY_INPUT				/* a field that the type's input function takes */
} ColumnSource;

typedef struct KeptColumn
{
	ColumnSource source;
	int			field;
	ExprState  *default_value;
	FmgrInfo	input;
	Oid			ioparam;
	int32		typmod;
} KeptColumn;

typedef struct KeptTarget
{
	bool		valid;
	Oid			relid;
	uint64		generation;		/* of the binding it was made for */
	MemoryContext context;
	int			natts;
	KeptColumn *columns;
	ExprState **checks;			/* of the CHECK constraints, in their order */
} KeptTarget;

/* One call. */
typedef struct Appending
{
	Target		which;
	Conflict	conflict;
	const FieldValues *rows;
	TupleTableSlot **slots;		/* one for each row */
	KeptTarget	kept;
	Relation	relation;
	EState	   *estate;
	ResultRelInfo *root;
	TransitionCaptureState *capture;
	ModifyTableState *routed;	/* where the relation is partitioned */
	PartitionTupleRouting *routing;
} Appending;

static KeptTarget kept_targets[TARGET_COUNT];

static void
relation_invalidated(Datum arg, Oid relid)
{
	for (int i = 0; i < TARGET_COUNT; i++)
	{
		if (relid == InvalidOid || relid == kept_targets[i].relid)
			kept_targets[i].valid = false;
	}
}

/* A function that a default or a CHECK calls may be another now, or a domain. */
static void
function_invalidated(Datum arg, int cache, uint32 hash)
{
	relation_invalidated(arg, InvalidOid);
}

void
AppendInit(void)
{
	CacheRegisterRelcacheCallback(relation_invalidated, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, function_invalidated, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, function_invalidated, (Datum) 0);
}

/*
 * What is kept
 */

/* The type of a field that needs no conversion, if there is one. */
static Oid
native_type(FieldKind kind)
{
	switch (kind)
	{
		case FIELD_STRING:
			return InvalidOid;
		case FIELD_UUID:
			return UUIDOID;
		case FIELD_INTEGER:
			return INT4OID;
		case FIELD_TIME:
			return TIMESTAMPTZOID;
	}
	pg_unreachable();
}

/* The field for a column.  What the app may have in the place of an optional one is the app's. */
static int
find_field(Target which, Form_pg_attribute attribute)
{
	for (int i = 0; i < targets[which].nfields; i++)
	{
		const Field *field = &targets[which].fields[i];

		if (strcmp(field->column, NameStr(attribute->attname)) != 0)
			continue;
		if (field->optional && field->kind != FIELD_STRING &&
			getBaseType(attribute->atttypid) != native_type(field->kind))
			return -1;
		return i;
	}
	return -1;
}

static void
keep_field(KeptColumn *column, Form_pg_attribute attribute, FieldKind kind)
{
	Oid			input;

	if (attribute->atttypid == native_type(kind))
		column->source = COLUMN_AS_IS;
	else if (kind == FIELD_STRING && attribute->atttypmod < 0 &&
			 (attribute->atttypid == TEXTOID || attribute->atttypid == VARCHAROID))
		column->source = COLUMN_AS_TEXT;
	else
	{
		column->source = COLUMN_BY_INPUT;
		column->typmod = attribute->atttypmod;
		getTypeInputInfo(attribute->atttypid, &input, &column->ioparam);
		fmgr_info(input, &column->input);
	}
}

/*
 * Random ids may as well be chosen by us, in the order of time, which keeps the
 * index on them in the cache.  An app's own way of making ids is respected.
 */
static void
keep_default(KeptColumn *column, Relation relation, Form_pg_attribute attribute)
{
	Node	   *expression = build_column_default(relation, attribute->attnum);

	if (expression == NULL)
		column->source = COLUMN_NULL;
	else if (strcmp(NameStr(attribute->attname), "id") == 0 && IsA(expression, FuncExpr) &&
			 ((FuncExpr *) expression)->funcid == F_GEN_RANDOM_UUID)
		column->source = COLUMN_ID;
	else
	{
		column->source = COLUMN_DEFAULT;
		column->default_value = ExecInitExpr(expression_planner((Expr *) expression), NULL);
	}
}

/* Is every field's column there? */
static void
check_columns(Target which, Relation relation)
{
	for (int i = 0; i < targets[which].nfields; i++)
	{
		const Field *field = &targets[which].fields[i];

		if (!field->optional &&
			get_attnum(RelationGetRelid(relation), field->column) == InvalidAttrNumber)
		{
			binding_require_whole();
			elog(ERROR, "column \"%s\" of relation \"%s\" is missing", field->column,
				 RelationGetRelationName(relation));
		}
	}
}

static void
keep_columns(KeptTarget *kept, Target which, Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);

	kept->natts = desc->natts;
	kept->columns = palloc0(sizeof(KeptColumn) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		KeptColumn *column = &kept->columns[i];

		if (attribute->attisdropped || attribute->attgenerated)
			continue;
		column->field = find_field(which, attribute);
		if (column->field >= 0)
			keep_field(column, attribute, targets[which].fields[column->field].kind);
		else
			keep_default(column, relation, attribute);
	}
}

static void
keep_checks(KeptTarget *kept, Relation relation)
{
	TupleConstr *constraints = RelationGetDescr(relation)->constr;

	if (constraints == NULL || constraints->num_check == 0)
		return;
	kept->checks = palloc(sizeof(ExprState *) * constraints->num_check);
	for (int i = 0; i < constraints->num_check; i++)
	{
		Expr	   *check = stringToNode(constraints->check[i].ccbin);

		kept->checks[i] = ExecInitExpr(expression_planner(check), NULL);
	}
}

/*
 * Make what is kept of a target, aside, so that an error leaves nothing half
 * done; an invalidation that arrives meanwhile leaves it to be made again.
 */
static void
keep(Target which, Relation relation)
{
	KeptTarget *slot = &kept_targets[which];
	KeptTarget	made = {.relid = RelationGetRelid(relation), .generation = binding_get()->generation};
	MemoryContext caller;

	made.context = AllocSetContextCreate(CurrentMemoryContext, "assignment_v3 target",
										 ALLOCSET_SMALL_SIZES);
	slot->relid = made.relid;
	slot->valid = true;
	caller = MemoryContextSwitchTo(made.context);
	PG_TRY();
	{
		check_columns(which, relation);
		keep_columns(&made, which, relation);
		keep_checks(&made, relation);
	}
	PG_CATCH();
	{
		slot->valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	made.valid = slot->valid;
	MemoryContextSetParent(made.context, CacheMemoryContext);
	if (slot->context)
		MemoryContextSetParent(slot->context, TopTransactionContext);
	*slot = made;
}

/*
 * One call
 */

static void
check_privilege(Relation relation)
{
	AclResult	result = pg_class_aclcheck(RelationGetRelid(relation), GetUserId(), ACL_INSERT);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE, RelationGetRelationName(relation));
}

static void
begin_routing(Appending *append)
{
	append->routed = makeNode(ModifyTableState);
	append->routed->ps.state = append->estate;
	append->routed->operation = CMD_INSERT;
	append->routed->mt_nrels = 1;
	append->routed->resultRelInfo = append->root;
	append->routed->rootResultRelInfo = append->root;
	append->routed->mt_transition_capture = append->capture;
	append->routing = ExecSetupPartitionTupleRouting(append->estate, append->relation);
}

/* The relation is locked before what is kept is looked at, so that it stays true. */
static void
append_begin(Appending *append, Target which, const FieldValues *rows, int nrows)
{
	const KeptTarget *slot = &kept_targets[which];
	MemoryContext caller;

	memset(append, 0, sizeof(Appending));
	append->which = which;
	append->conflict = targets[which].conflict;
	if (which == TARGET_ASSIGNMENTS && binding_get()->deferrable_ledger)
		append->conflict = CONFLICT_ERROR;
	append->rows = rows;
	append->relation = table_open(binding_target(targets[which].relation), RowExclusiveLock);
	check_privilege(append->relation);
	if (!slot->valid || slot->relid != RelationGetRelid(append->relation) ||
		slot->generation != binding_get()->generation)
		keep(which, append->relation);
	append->kept = *slot;

	PushActiveSnapshot(GetTransactionSnapshot());
	append->estate = CreateExecutorState();
	caller = MemoryContextSwitchTo(append->estate->es_query_cxt);
	append->root = makeNode(ResultRelInfo);
	InitResultRelInfo(append->root, append->relation, 0, NULL, 0);
	append->root->ri_ConstraintExprs = append->kept.checks;
	append->estate->es_output_cid = GetCurrentCommandId(true);
	AfterTriggerBeginQuery();
	append->capture = MakeTransitionCaptureState(append->relation->trigdesc,
												 RelationGetRelid(append->relation),
												 CMD_INSERT);
	if (append->relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		begin_routing(append);
	else
		ExecOpenIndices(append->root, append->conflict != CONFLICT_ERROR);
	ExecBSInsertTriggers(append->estate, append->root);
	append->slots = palloc(sizeof(TupleTableSlot *) * nrows);
	for (int i = 0; i < nrows; i++)
		append->slots[i] = table_slot_create(append->relation, &append->estate->es_tupleTable);
	MemoryContextSwitchTo(caller);
}

static void
append_end(Appending *append)
{
	ExecASInsertTriggers(append->estate, append->root, append->capture);
	AfterTriggerEndQuery(append->estate);
	if (append->routing)
		ExecCleanupTupleRouting(append->routed, append->routing);
	else
		ExecCloseIndices(append->root);
	ExecResetTupleTable(append->estate->es_tupleTable, false);
	ExecCloseResultRelations(append->estate);
	FreeExecutorState(append->estate);
	table_close(append->relation, NoLock);
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/*
 * An id in the order of time, as version 7 of RFC 9562 has it: milliseconds,
 * twelve bits of what is left of the microseconds, and chance.
 */
static Datum
make_id(void)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	uint64		now = (uint64) GetCurrentTimestamp() +
		(uint64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	uint64		high = (now / 1000) << 16 | 0x7000 | (now % 1000) * 4;
	uint64		low = (pg_prng_uint64(&pg_global_prng_state) >> 2) | UINT64CONST(1) << 63;

	for (int i = 0; i < 8; i++)
	{
		id->data[i] = (unsigned char) (high >> (56 - 8 * i));
		id->data[8 + i] = (unsigned char) (low >> (56 - 8 * i));
	}
	return UUIDPGetDatum(id);
}

/* A field as the input functions of types take it. */
static char *
field_string(FieldKind kind, Datum value)
{
	switch (kind)
	{
		case FIELD_STRING:
			return DatumGetCString(value);
		case FIELD_UUID:
			return DatumGetCString(DirectFunctionCall1(uuid_out, value));
		case FIELD_INTEGER:
			return psprintf("%d", DatumGetInt32(value));
		case FIELD_TIME:
			return DatumGetCString(DirectFunctionCall1(timestamptz_out, value));
	}
	pg_unreachable();
}

/*
 * Fill a column from its field.  A type may have a say about null, so it is
 * asked.  Rows often share a string, such as the metadata of a walk; it is
 * converted once.
 */
static void
fill_field(const Appending *append, int attribute, int row)
{
	KeptColumn *column = &append->kept.columns[attribute];
	FieldKind	kind = targets[append->which].fields[column->field].kind;
	TupleTableSlot *slot = append->slots[row];
	Datum		given = append->rows[row].values[column->field];
	bool		isnull = append->rows[row].nulls[column->field];
	Datum		value = given;

	if (column->source == COLUMN_BY_INPUT)
	{
		if (row > 0 && !isnull && given == append->rows[row - 1].values[column->field])
			value = append->slots[row - 1]->tts_values[attribute];
		else
			value = InputFunctionCall(&column->input, isnull ? NULL : field_string(kind, given),
									  column->ioparam, column->typmod);
	}
	else if (column->source == COLUMN_AS_TEXT && !isnull)
		value = CStringGetTextDatum(DatumGetCString(given));
	slot->tts_values[attribute] = value;
	slot->tts_isnull[attribute] = isnull;
}

static void
fill_slot(const Appending *append, int row)
{
	TupleTableSlot *slot = append->slots[row];

	ExecClearTuple(slot);
	for (int i = 0; i < append->kept.natts; i++)
	{
		KeptColumn *column = &append->kept.columns[i];

		slot->tts_isnull[i] = column->source == COLUMN_NULL;
		switch (column->source)
		{
			case COLUMN_NULL:
				break;
			case COLUMN_DEFAULT:
				slot->tts_values[i] = ExecEvalExpr(column->default_value,
												   GetPerTupleExprContext(append->estate),
												   &slot->tts_isnull[i]);
				break;
			case COLUMN_ID:
				slot->tts_values[i] = make_id();
				break;
			case COLUMN_AS_IS:
			case COLUMN_AS_TEXT:
			case COLUMN_BY_INPUT:
				fill_field(append, i, row);
				break;
		}
	}
	ExecStoreVirtualTuple(slot);
}

/*
 * Writing
 */

/* Everything between a formed row and its place in the table; false to leave it out. */
static bool
prepare_row(Appending *append, ResultRelInfo *target, TupleTableSlot *slot)
{
	EState	   *estate = append->estate;
	TupleConstr *constraints = RelationGetDescr(target->ri_RelationDesc)->constr;

	slot->tts_tableOid = RelationGetRelid(target->ri_RelationDesc);
	if (target->ri_TrigDesc && target->ri_TrigDesc->trig_insert_before_row &&
		!ExecBRInsertTriggers(estate, target, slot))
		return false;
	if (constraints && constraints->has_generated_stored)
		ExecComputeStoredGenerated(target, estate, slot, CMD_INSERT);
	if (constraints)
		ExecConstraints(target, slot, estate);
	if (target->ri_RelationDesc->rd_rel->relispartition &&
		(target->ri_RootResultRelInfo == NULL ||
		 (target->ri_TrigDesc && target->ri_TrigDesc->trig_insert_before_row)))
		ExecPartitionCheck(target, slot, estate, true);
	return true;
}

/* Is the row's key free, once whoever is about to write it has ended? */
static bool
key_is_free(Appending *append, ResultRelInfo *target, TupleTableSlot *slot)
{
	ItemPointerData conflict;

	if (append->conflict == CONFLICT_ERROR || append->routing || target->ri_NumIndices == 0 ||
		ExecCheckIndexConstraints(target, slot, append->estate, &conflict, NIL))
		return true;
	/* the table was free in the snapshot */
	if (append->conflict == CONFLICT_YIELD && IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
	return false;
}

/* Everything after it. */
static void
finish_row(Appending *append, ResultRelInfo *target, TupleTableSlot *slot)
{
	List	   *recheck = NIL;

	if (target->ri_NumIndices > 0)
		recheck = compat_insert_index_tuples(target, slot, append->estate, NULL);
	ExecARInsertTriggers(append->estate, target, slot, recheck, append->capture);
	list_free(recheck);
}

static ResultRelInfo *
find_partition(Appending *append, TupleTableSlot **slot)
{
	ResultRelInfo *target = ExecFindPartition(append->routed, append->root, append->routing,
											  *slot, append->estate);
	TupleConversionMap *map = compat_partition_map(target, append->estate);

	if (map)
		*slot = execute_attr_map_slot(map->attrMap, *slot, target->ri_PartitionTupleSlot);
	return target;
}

/*
 * Insert a row as ON CONFLICT DO NOTHING does: tentatively, and take it back if
 * another transaction has put a conflicting one into an index meanwhile, so that
 * two of them never wait for each other.
 */
static bool
insert_tentatively(Appending *append, TupleTableSlot *slot)
{
	TransactionId xid = GetCurrentTransactionId();
	bool		taken;
	List	   *recheck;

	while (key_is_free(append, append->root, slot))
	{
		uint32		token = SpeculativeInsertionLockAcquire(xid);

		CHECK_FOR_INTERRUPTS();
		taken = false;
		table_tuple_insert_speculative(append->relation, slot, append->estate->es_output_cid, 0,
									   NULL, token);
		recheck = compat_insert_index_tuples(append->root, slot, append->estate, &taken);
		table_tuple_complete_speculative(append->relation, slot, token, !taken);
		SpeculativeInsertionLockRelease(xid);
		if (!taken)
		{
			ExecARInsertTriggers(append->estate, append->root, slot, recheck, append->capture);
			list_free(recheck);
			return true;
		}
	}
	return false;
}

static int
insert_one_by_one(Appending *append, int nrows)
{
	int			inserted = 0;

	for (int i = 0; i < nrows; i++)
	{
		TupleTableSlot *slot = append->slots[i];
		ResultRelInfo *target = append->routing ? find_partition(append, &slot) : append->root;

		CHECK_FOR_INTERRUPTS();
		if (!prepare_row(append, target, slot))
			continue;
		if (append->conflict == CONFLICT_YIELD && append->routing == NULL)
		{
			inserted += insert_tentatively(append, slot);
			continue;
		}
		if (!key_is_free(append, target, slot))
			continue;
		table_tuple_insert(target->ri_RelationDesc, slot, append->estate->es_output_cid, 0, NULL);
		finish_row(append, target, slot);
		inserted++;
	}
	return inserted;
}

/* Several rows share one record of the write-ahead log. */
static int
insert_together(Appending *append, int nrows)
{
	for (int i = 0; i < nrows; i++)
		(void) prepare_row(append, append->root, append->slots[i]);
	table_multi_insert(append->relation, append->slots, nrows, append->estate->es_output_cid, 0,
					   NULL);
	for (int i = 0; i < nrows; i++)
		finish_row(append, append->root, append->slots[i]);
	return nrows;
}

/* A trigger before a row is to see the rows before it. */
static bool
may_insert_together(const Appending *append, int nrows)
{
	const TriggerDesc *triggers = append->relation->trigdesc;

	return nrows > 1 && append->routing == NULL && append->conflict == CONFLICT_ERROR &&
		(triggers == NULL || !triggers->trig_insert_before_row);
}

/* Append rows to a target; how many there were. */
static int
append_rows(Target which, const FieldValues *rows, int nrows)
{
	Appending	append;
	MemoryContext caller;
	volatile int inserted = 0;

	append_begin(&append, which, rows, nrows);
	caller = MemoryContextSwitchTo(append.estate->es_query_cxt);
	PG_TRY();
	{
		for (int i = 0; i < nrows; i++)
			fill_slot(&append, i);
		inserted = may_insert_together(&append, nrows) ? insert_together(&append, nrows) :
			insert_one_by_one(&append, nrows);
	}
	PG_CATCH();
	{
		/* a function may have kept a state of its own that has ended with the subtransaction */
		kept_targets[which].valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	append_end(&append);
	return inserted;
}

/*
 * The rows of the trail
 */

static void
put(FieldValues *row, int field, Datum value)
{
	row->values[field] = value;
	row->nulls[field] = false;
}

/* A string, or a pointer to a uuid; NULL is null. */
static void
put_pointer(FieldValues *row, int field, const void *value)
{
	row->values[field] = PointerGetDatum(value);
	row->nulls[field] = value == NULL;
}

/* The trail has no gaps: what depends on a row must not go on without it. */
static void
append_all(Target which, const FieldValues *rows, int nrows)
{
	if (append_rows(which, rows, nrows) != nrows)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("a trigger on relation \"%s\" has left out a row of the trail",
						get_rel_name(binding_get()->relids[targets[which].relation])),
				 errhint("Its BEFORE INSERT triggers must not return null for rows of assignment_v3.")));
}

/* The history rows of one booking, by one actor. */
void
append_history(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id,
			   const pg_uuid_t *actor_id, const HistoryRow *rows, int nrows)
{
	FieldValues *values = palloc(sizeof(FieldValues) * nrows);

	for (int i = 0; i < nrows; i++)
	{
		put_pointer(&values[i], 0, booking_id);
		put_pointer(&values[i], 1, state_name(rows[i].from));
		put_pointer(&values[i], 2, state_name(rows[i].to));
		put(&values[i], 3, Int32GetDatum(rows[i].version));
		put_pointer(&values[i], 4, rows[i].metadata);
		put_pointer(&values[i], 5, rows[i].reason);
		put_pointer(&values[i], 6, actor_id);
		put(&values[i], 7, TimestampTzGetDatum(rows[i].created_at));
		put_pointer(&values[i], 8, restaurant_id);
	}
	append_all(TARGET_HISTORY, values, nrows);
}

/* The events of one booking. */
void
append_events(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id, const EventRow *rows,
			  int nrows)
{
	FieldValues *values = palloc(sizeof(FieldValues) * nrows);

	for (int i = 0; i < nrows; i++)
	{
		put(&values[i], 0, TimestampTzGetDatum(rows[i].created_at));
		put_pointer(&values[i], 1, rows[i].source);
		put_pointer(&values[i], 2, rows[i].type);
		put_pointer(&values[i], 3, rows[i].severity);
		put_pointer(&values[i], 4, rows[i].context);
		put_pointer(&values[i], 5, restaurant_id);
		put_pointer(&values[i], 6, booking_id);
	}
	append_all(TARGET_EVENTS, values, nrows);
}

void
append_attempt(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id, int attempt_no,
			   const char *strategy, bool success, const char *reason, const char *metadata)
{
	FieldValues row;

	put_pointer(&row, 0, booking_id);
	put(&row, 1, Int32GetDatum(attempt_no));
	put_pointer(&row, 2, strategy);
	put_pointer(&row, 3, success ? "success" : "failure");
	put_pointer(&row, 4, reason);
	put_pointer(&row, 5, metadata);
	put(&row, 6, TimestampTzGetDatum(GetCurrentTimestamp()));
	put_pointer(&row, 7, restaurant_id);
	append_all(TARGET_ATTEMPTS, &row, 1);
}

/* Put a message into the outbox; the same key twice is one message. */
void
append_message(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id,
			   const char *event_type, const char *dedupe_key, const char *payload)
{
	Datum		now = TimestampTzGetDatum(GetCurrentTimestamp());
	FieldValues row;

	put(&row, 0, now);
	put_pointer(&row, 1, "pending");
	put_pointer(&row, 2, event_type);
	put_pointer(&row, 3, dedupe_key);
	put(&row, 4, Int32GetDatum(0));
	put(&row, 5, now);
	put_pointer(&row, 6, restaurant_id);
	put_pointer(&row, 7, booking_id);
	put_pointer(&row, 8, psprintf("%s:%s", event_type, dedupe_key));
	put_pointer(&row, 9, payload);
	(void) append_rows(TARGET_OUTBOX, &row, 1);
}

/*
 * Tables for a booking, in the order given; those that somebody else has taken
 * are left out.  How many there were.
 */
int
append_assignments(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id,
				   const pg_uuid_t *table_ids, int ntables, TimestampTz start_at,
				   TimestampTz end_at, TimestampTz now)
{
	FieldValues *rows = palloc(sizeof(FieldValues) * ntables);

	for (int i = 0; i < ntables; i++)
	{
		put_pointer(&rows[i], 0, booking_id);
		put_pointer(&rows[i], 1, &table_ids[i]);
		put(&rows[i], 2, TimestampTzGetDatum(start_at));
		put(&rows[i], 3, TimestampTzGetDatum(end_at));
		put(&rows[i], 4, TimestampTzGetDatum(now));
		put_pointer(&rows[i], 5, restaurant_id);
	}
	return append_rows(TARGET_ASSIGNMENTS, rows, ntables);
}
