/*-------------------------------------------------------------------------
 *
 * append.c
 *		The rows of a decision, written as COPY writes rows.
 *
 * A decision adds a dozen rows to assignments, history, attempts, events and
 * outbox, and updates the booking's.  As statements they would cost more for the
 * executor's set-up, and for parsing each table's CHECK constraints anew in every
 * statement, than for the rows.  So they are formed here and handed to the table
 * and its indexes, as COPY and the logical replication of PostgreSQL do it.
 * Nothing is left out: defaults, generated columns, constraints, partitions, and
 * the triggers of the app, by row and by statement.  Only rewrite rules do not
 * apply, as with COPY.
 *
 * One thing is not asked again.  Who moves a booking has locked its row, FOR NO
 * KEY UPDATE at the least, and fails if that row is not there to be updated in
 * the end.  A foreign key to this very booking, for which PostgreSQL would look
 * the row up and lock it FOR KEY SHARE once for each row of the trail, holds by
 * that.  Foreign keys to anything else are checked as ever, and so are those of
 * rows that are written without such a lock.
 *
 * What can be known before a row is seen is kept per target from call to
 * call: which value goes into which column and by which conversion, the
 * defaults of the other columns and the CHECK constraints, ready to be run.
 * It is made anew after any invalidation of the relation or of a function, and
 * for each generation of the binding.  What is replaced may still be in use
 * further up the stack, where a trigger has called us again; it lives until
 * the transaction ends.  Kept too is what strings came to that return with every
 * decision, such as the labels of states and the context of most events.
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
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "compat.h"
#include "executor/execPartition.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "lookup.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define MAX_FIELDS 10

/* strings of a column whose values are kept, at most, and how long they are */
#define KEPT_VALUES 32
#define KEPT_STRING_SIZE 256

typedef enum Target
{
	TARGET_HISTORY,
	TARGET_EVENTS,
	TARGET_ATTEMPTS,
	TARGET_OUTBOX,
	TARGET_ASSIGNMENTS,
	TARGET_BOOKING				/* the only one whose row is updated */
} Target;

#define TARGET_COUNT (TARGET_BOOKING + 1)

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
	[TARGET_BOOKING] = {
		BOUND_BOOKINGS, CONFLICT_ERROR, 5,
		{{"assignment_state", FIELD_STRING}, {"assignment_state_version", FIELD_INTEGER},
		{"status", FIELD_STRING}, {"assignment_strategy", FIELD_STRING}, {"updated_at", FIELD_TIME}}
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
	COLUMN_STORED,				/* as the row has it that is updated */
	COLUMN_AS_IS,				/* a field of the column's own type */
	COLUMN_AS_TEXT,
	COLUMN_BY_INPUT				/* a field that the type's input function takes */
} ColumnSource;

/* What a string came to, once it has been seen twice: most strings come only once. */
typedef struct KeptValue
{
	uint32		seen;			/* hash of the last string that would belong here */
	char	   *string;			/* NULL if none does yet */
	Datum		value;
} KeptValue;

typedef struct KeptColumn
{
	ColumnSource source;
	int			field;
	ExprState  *default_value;
	FmgrInfo	input;
	Oid			ioparam;
	int32		typmod;
	bool		by_value;
	int16		length;
	KeptValue  *kept;			/* where a string always comes to the same value */
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
	List	   *booking_keys;	/* triggers that check foreign keys to the booking alone */
} KeptTarget;

/* One call. */
typedef struct Appending
{
	Target		which;
	Conflict	conflict;
	const FieldValues *rows;
	TupleTableSlot **slots;		/* one for each row */
	TupleTableSlot *stored;		/* the row that is updated */
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

/* A function that a default or a CHECK calls may be another now, or a domain or an enum. */
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
	CacheRegisterSyscacheCallback(ENUMOID, function_invalidated, (Datum) 0);
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
		column->by_value = attribute->attbyval;
		column->length = attribute->attlen;
		getTypeInputInfo(attribute->atttypid, &input, &column->ioparam);
		fmgr_info(input, &column->input);
		if (kind == FIELD_STRING && (input == F_JSONB_IN || input == F_ENUM_IN))
			column->kept = palloc0(sizeof(KeptValue) * KEPT_VALUES);
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

		if (attribute->attisdropped)
			continue;
		column->field = attribute->attgenerated ? -1 : find_field(which, attribute);
		if (column->field >= 0)
			keep_field(column, attribute, targets[which].fields[column->field].kind);
		else if (which == TARGET_BOOKING)
			column->source = COLUMN_STORED;
		else if (!attribute->attgenerated)
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

/* Does a foreign key lead from the booking's id here to the id in bookings? */
static bool
is_booking_key(const Binding *binding, const ForeignKeyCacheInfo *key, AttrNumber booking_id)
{
	return key->confrelid == binding->relids[BOUND_BOOKINGS] && key->nkeys == 1 &&
		key->conkey[0] == booking_id &&
		key->confkey[0] == binding->booking_columns[BOOKING_ID];
}

/*
 * The triggers that check foreign keys to the booking.  None counts where a
 * trigger may put another booking into a row.  What the relation has in the
 * cache may be made anew whenever a catalog is read, so that comes first.
 */
static void
keep_booking_keys(KeptTarget *kept, Relation relation)
{
	const Binding *binding = binding_get();
	AttrNumber	booking_id = get_attnum(RelationGetRelid(relation), "booking_id");
	List	   *keys = copyObject(RelationGetFKeyList(relation));
	const TriggerDesc *triggers = relation->trigdesc;
	ListCell   *cell;

	if (triggers == NULL || triggers->trig_insert_before_row)
		return;
	foreach(cell, keys)
	{
		const ForeignKeyCacheInfo *key = lfirst(cell);

		if (!is_booking_key(binding, key, booking_id))
			continue;
		for (int i = 0; i < triggers->numtriggers; i++)
		{
			if (triggers->triggers[i].tgconstraint == key->conoid &&
				triggers->triggers[i].tgfoid == F_RI_FKEY_CHECK_INS)
				kept->booking_keys = lappend_oid(kept->booking_keys, triggers->triggers[i].tgoid);
		}
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
		keep_booking_keys(&made, relation);
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
check_privilege(Relation relation, AclMode privilege)
{
	AclResult	result = pg_class_aclcheck(RelationGetRelid(relation), GetUserId(), privilege);

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

/* Ask no trigger whether a booking is there whose row the caller has locked. */
static void
trust_lock(Appending *append)
{
	TriggerDesc *triggers = append->root->ri_TrigDesc;	/* a copy of our own */
	int			nleft = 0;

	if (append->kept.booking_keys == NIL)
		return;
	triggers->trig_insert_after_row = false;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		Trigger		trigger = triggers->triggers[i];

		if (list_member_oid(append->kept.booking_keys, trigger.tgoid))
			continue;
		triggers->trig_insert_after_row |=
			TRIGGER_TYPE_MATCHES(trigger.tgtype, TRIGGER_TYPE_ROW, TRIGGER_TYPE_AFTER,
								 TRIGGER_TYPE_INSERT);
		triggers->triggers[nleft++] = trigger;
	}
	triggers->numtriggers = nleft;
}

/* The relation is locked before what is kept is looked at, so that it stays true. */
static void
open_target(Appending *append, Target which, AclMode privilege)
{
	const KeptTarget *slot = &kept_targets[which];

	memset(append, 0, sizeof(Appending));
	append->which = which;
	append->relation = table_open(binding_target(targets[which].relation), RowExclusiveLock);
	check_privilege(append->relation, privilege);
	if (!slot->valid || slot->relid != RelationGetRelid(append->relation) ||
		slot->generation != binding_get()->generation)
		keep(which, append->relation);
	append->kept = *slot;
	PushActiveSnapshot(GetTransactionSnapshot());
	append->estate = CreateExecutorState();
	append->estate->es_snapshot = GetActiveSnapshot();
}

/* Begin to write as a statement would, in the memory of the executor's state. */
static void
begin_statement(Appending *append, CmdType operation, int rangetable_index)
{
	append->root = makeNode(ResultRelInfo);
	InitResultRelInfo(append->root, append->relation, rangetable_index, NULL, 0);
	append->root->ri_ConstraintExprs = append->kept.checks;
	append->estate->es_output_cid = GetCurrentCommandId(true);
	AfterTriggerBeginQuery();
	append->capture = MakeTransitionCaptureState(append->relation->trigdesc,
												 RelationGetRelid(append->relation),
												 operation);
}

static void
append_begin(Appending *append, Target which, bool locked, const FieldValues *rows, int nrows)
{
	MemoryContext caller;

	open_target(append, which, ACL_INSERT);
	append->rows = rows;
	append->conflict = targets[which].conflict;
	if (which == TARGET_ASSIGNMENTS && binding_get()->deferrable_ledger)
		append->conflict = CONFLICT_ERROR;
	caller = MemoryContextSwitchTo(append->estate->es_query_cxt);
	begin_statement(append, CMD_INSERT, 0);
	if (locked)
		trust_lock(append);
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

/* The triggers by statement have run; those that wait for the end of it run here. */
static void
end_statement(Appending *append)
{
	AfterTriggerEndQuery(append->estate);
	if (append->routing)
		ExecCleanupTupleRouting(append->routed, append->routing);
	else if (append->root->ri_IndexRelationDescs)
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

/* Keep what a string came to, in place of another one, if it is not seen for the first time. */
static void
keep_value(KeptColumn *column, KeptValue *kept, uint32 hash, const char *string, Datum value)
{
	MemoryContext caller;

	if (kept->seen != hash || strlen(string) >= KEPT_STRING_SIZE)
	{
		kept->seen = hash;
		return;
	}
	caller = MemoryContextSwitchTo(GetMemoryChunkContext(column->kept));
	if (kept->string != NULL)
	{
		pfree(kept->string);
		kept->string = NULL;
		if (!column->by_value)
			pfree(DatumGetPointer(kept->value));
	}
	kept->value = datumCopy(value, column->by_value, column->length);
	kept->string = pstrdup(string);
	MemoryContextSwitchTo(caller);
}

/* What a string comes to in a column; the value is the caller's own. */
static Datum
convert_string(KeptColumn *column, char *string)
{
	uint32		hash;
	KeptValue  *kept;
	Datum		value;

	if (column->kept == NULL)
		return InputFunctionCall(&column->input, string, column->ioparam, column->typmod);
	hash = hash_bytes((const unsigned char *) string, (int) strlen(string));
	kept = &column->kept[hash % KEPT_VALUES];
	if (kept->string != NULL && strcmp(kept->string, string) == 0)
		return datumCopy(kept->value, column->by_value, column->length);
	value = InputFunctionCall(&column->input, string, column->ioparam, column->typmod);
	keep_value(column, kept, hash, string, value);
	return value;
}

/* Leave a column as it is. */
static void
fill_stored(const Appending *append, int attribute, TupleTableSlot *slot)
{
	slot->tts_values[attribute] = append->stored->tts_values[attribute];
	slot->tts_isnull[attribute] = append->stored->tts_isnull[attribute];
}

/*
 * Fill a column from its field.  A type may have a say about null, so it is
 * asked; in an update null leaves the column as it is.  Rows often share a
 * string, such as the metadata of a walk; it is converted once.
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

	if (isnull && append->stored != NULL)
	{
		fill_stored(append, attribute, slot);
		return;
	}
	if (column->source == COLUMN_BY_INPUT)
	{
		if (row > 0 && !isnull && given == append->rows[row - 1].values[column->field])
			value = append->slots[row - 1]->tts_values[attribute];
		else if (isnull)
			value = InputFunctionCall(&column->input, NULL, column->ioparam, column->typmod);
		else
			value = convert_string(column, field_string(kind, given));
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
			case COLUMN_STORED:
				fill_stored(append, i, slot);
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
key_is_free(Appending *append, TupleTableSlot *slot)
{
	ItemPointerData conflict;

	if (ExecCheckIndexConstraints(append->root, slot, append->estate, &conflict, NIL))
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
 * another one has its key, so that two transactions never wait for each other.
 * Nobody is expected to have it, so it is looked for only if the row had to be
 * taken back: it may have been somebody's who takes it back as well.
 */
static bool
insert_tentatively(Appending *append, TupleTableSlot *slot)
{
	TransactionId xid = GetCurrentTransactionId();
	bool		taken;
	List	   *recheck;

	do
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
	} while (key_is_free(append, slot));
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
		if (append->conflict != CONFLICT_ERROR && append->routing == NULL)
		{
			inserted += insert_tentatively(append, slot);
			continue;
		}
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

/* Append rows to a target, with the booking's row locked or not; how many there were. */
static int
append_rows(Target which, bool locked, const FieldValues *rows, int nrows)
{
	Appending	append;
	MemoryContext caller;
	volatile int inserted = 0;

	append_begin(&append, which, locked, rows, nrows);
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
	ExecASInsertTriggers(append.estate, append.root, append.capture);
	end_statement(&append);
	return inserted;
}

/*
 * The booking
 */

/* Tell the executor's state which columns are set, for triggers and generated columns. */
static void
declare_updated(Appending *append)
{
	Bitmapset  *columns = NULL;

	for (int i = 0; i < append->kept.natts; i++)
	{
		ColumnSource source = append->kept.columns[i].source;

		if (source == COLUMN_AS_IS || source == COLUMN_AS_TEXT || source == COLUMN_BY_INPUT)
			columns = bms_add_member(columns, i + 1 - FirstLowInvalidHeapAttributeNumber);
	}
	compat_declare_updated(append->estate, append->relation, columns);
}

/* Replace the stored row, with all that belongs to an UPDATE of it. */
static void
update_stored(Appending *append)
{
	EState	   *estate = append->estate;
	ResultRelInfo *target = append->root;
	TupleConstr *constraints = RelationGetDescr(append->relation)->constr;
	TupleTableSlot *slot = append->slots[0];
	ItemPointer stored = &append->stored->tts_tid;
	List	   *recheck;

	slot->tts_tableOid = RelationGetRelid(append->relation);
	if (target->ri_TrigDesc && target->ri_TrigDesc->trig_update_before_row &&
		!compat_before_update(estate, target, stored, slot))
		elog(ERROR, "the locked booking was not updated");
	if (constraints && constraints->has_generated_stored)
		ExecComputeStoredGenerated(target, estate, slot, CMD_UPDATE);
	if (constraints)
		ExecConstraints(target, slot, estate);
	recheck = compat_update_tuple(target, stored, slot, estate);
	ExecARUpdateTriggers(estate, target, NULL, NULL, stored, NULL, slot, recheck,
						 append->capture, false);
	list_free(recheck);
}

/*
 * Update a booking whose row the caller has locked, if it is of the version
 * that the caller has seen; false if it is not.
 */
static bool
amend_stored(const pg_uuid_t *booking_id, int version, const FieldValues *row)
{
	Appending	append;
	MemoryContext caller;
	volatile bool found = false;

	open_target(&append, TARGET_BOOKING, ACL_UPDATE);
	CheckCmdReplicaIdentity(append.relation, CMD_UPDATE);
	append.rows = row;
	caller = MemoryContextSwitchTo(append.estate->es_query_cxt);
	PG_TRY();
	{
		declare_updated(&append);
		begin_statement(&append, CMD_UPDATE, 1);
		ExecBSUpdateTriggers(append.estate, append.root);
		append.slots = palloc(sizeof(TupleTableSlot *));
		append.slots[0] = table_slot_create(append.relation, &append.estate->es_tupleTable);
		append.stored = table_slot_create(append.relation, &append.estate->es_tupleTable);
		found = lookup_booking_row(booking_id, version, append.stored);
		if (found)
		{
			slot_getallattrs(append.stored);
			fill_slot(&append, 0);
			update_stored(&append);
		}
		ExecASUpdateTriggers(append.estate, append.root, append.capture);
	}
	PG_CATCH();
	{
		kept_targets[TARGET_BOOKING].valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	end_statement(&append);
	return found;
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
append_all(Target which, bool locked, const FieldValues *rows, int nrows)
{
	if (append_rows(which, locked, rows, nrows) != nrows)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("a trigger on relation \"%s\" has left out a row of the trail",
						get_rel_name(binding_get()->relids[targets[which].relation])),
				 errhint("Its BEFORE INSERT triggers must not return null for rows of assignment_v3.")));
}

/*
 * The history rows of one booking, by one actor.  The booking is locked if its
 * row is, by this subtransaction or one above it, and will be updated in it.
 */
void
append_history(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id, bool locked,
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
	append_all(TARGET_HISTORY, locked, values, nrows);
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
	append_all(TARGET_EVENTS, false, values, nrows);
}

/* An attempt at a booking, which is locked or not as for append_history(). */
void
append_attempt(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id, bool locked,
			   int attempt_no, const char *strategy, bool success, const char *reason,
			   const char *metadata)
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
	append_all(TARGET_ATTEMPTS, locked, &row, 1);
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
	(void) append_rows(TARGET_OUTBOX, false, &row, 1);
}

/*
 * Tables for a booking that is locked as for append_history(), in the order
 * given; those that somebody else has taken are left out.  How many there were.
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
	return append_rows(TARGET_ASSIGNMENTS, true, rows, ntables);
}

/* Move a locked booking; status and strategy stay where they are NULL. */
void
amend_booking(const pg_uuid_t *booking_id, int version, AssignmentState state, int new_version,
			  const char *status, const char *strategy)
{
	FieldValues row;

	put_pointer(&row, 0, state_name(state));
	put(&row, 1, Int32GetDatum(new_version));
	put_pointer(&row, 2, status);
	put_pointer(&row, 3, strategy);
	put(&row, 4, TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
	if (!amend_stored(booking_id, version, &row))
		elog(ERROR, "the locked booking was not updated");
}
