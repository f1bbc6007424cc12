/*-------------------------------------------------------------------------
 *
 * binding.c
 *		The relations and columns that attach() has bound.
 *
 * attach() writes one row into assignment_v3.binding: the app's schema, the
 * search_path its triggers run under, and the version that made the row.
 * The names within the schema are fixed.  From that row and the catalogs this
 * module builds, once per backend, what the rest of the C code needs to know:
 * OIDs, quoted names, the types of columns that may be the app's enums, the
 * owner, and whether constraints are deferrable.
 *
 * A relcache invalidation of a bound relation or of the binding table marks
 * the cache as suspect; the next call reads everything again and moves the
 * generation only if something differs, so that an ANALYZE does not cost the
 * store its plans.  The row itself is watched by a trigger on its table,
 * which turns a change of data into an invalidation.
 *
 * The cache is built aside and put in place when it is whole: an error while
 * it is read leaves the old one, still marked as suspect.  One that is
 * replaced lives until the end of the transaction, for the callers up the
 * stack that hold it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "binding.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(assignment_binding_changed);

static const char *const relation_names[BOUND_RELATION_COUNT] = {
	[BOUND_RESTAURANTS] = "restaurants",
	[BOUND_ZONES] = "zones",
	[BOUND_TABLES] = "table_inventory",
	[BOUND_ADJACENCIES] = "table_adjacencies",
	[BOUND_BOOKINGS] = "bookings",
	[BOUND_ASSIGNMENTS] = "booking_table_assignments",
	[BOUND_HISTORY] = "booking_assignment_state_history",
	[BOUND_ATTEMPTS] = "booking_assignment_attempts",
	[BOUND_EVENTS] = "observability_events",
	[BOUND_OUTBOX] = "capacity_outbox",
	[BOUND_HOLDS] = "table_holds",
	[BOUND_HOLD_WINDOWS] = "table_hold_windows",
	[BOUND_REHEARSALS] = "booking_assignment_shadow_results",
	[BOUND_ALLOCATIONS] = "allocations",
};

static const struct
{
	BoundRelation relation;
	const char *column;
}			typed_columns[BOUND_TYPE_COUNT] = {
	[BOUND_BOOKING_STATUS] = {BOUND_BOOKINGS, "status"},
	[BOUND_BOOKING_STATE] = {BOUND_BOOKINGS, "assignment_state"},
	[BOUND_HISTORY_STATE] = {BOUND_HISTORY, "to_state"},
	[BOUND_EVENT_SEVERITY] = {BOUND_EVENTS, "severity"},
	[BOUND_OUTBOX_STATUS] = {BOUND_OUTBOX, "status"},
	[BOUND_ATTEMPT_RESULT] = {BOUND_ATTEMPTS, "result"},
};

static const struct
{
	const char *name;
	Oid			type;			/* InvalidOid: the app's choice */
}			booking_columns[BOOKING_COLUMN_COUNT] = {
	[BOOKING_ID] = {"id", UUIDOID},
	[BOOKING_RESTAURANT_ID] = {"restaurant_id", UUIDOID},
	[BOOKING_PARTY_SIZE] = {"party_size", InvalidOid},
	[BOOKING_START_AT] = {"start_at", TIMESTAMPTZOID},
	[BOOKING_END_AT] = {"end_at", TIMESTAMPTZOID},
	[BOOKING_STATUS] = {"status", InvalidOid},
	[BOOKING_STATE] = {"assignment_state", InvalidOid},
	[BOOKING_VERSION] = {"assignment_state_version", INT4OID},
};

static const struct
{
	bool		own;			/* in the extension's schema, else the app's */
	const char *name;
	const char *key;
	const char *then;			/* the second column, where it matters */
}			keyed_tables[KEYED_TABLE_COUNT] = {
	[KEYED_QUEUE] = {true, "queue", "booking_id"},
	[KEYED_CIRCUITS] = {true, "circuits", "restaurant_id"},
	[KEYED_ROLLOUT] = {true, "rollout", "restaurant_id"},
	[KEYED_KILL_SWITCH] = {true, "kill_switch", "singleton"},
	[KEYED_BLOCKS] = {true, "blocks", "restaurant_id"},
	[KEYED_ASSIGNMENTS] = {false, "booking_table_assignments", "booking_id"},
	[KEYED_ATTEMPTS] = {false, "booking_assignment_attempts", "booking_id"},
	[KEYED_REHEARSALS] = {false, "booking_assignment_shadow_results", "booking_id"},
	[KEYED_FLOOR] = {false, "table_inventory", "restaurant_id"},
	[KEYED_TABLE] = {false, "table_inventory", "id"},
	[KEYED_TIMELINE] = {false, "booking_table_assignments", "table_id", "start_at"},
};

static Binding *current = NULL;
static MemoryContext current_context = NULL;
static Oid	binding_relid = InvalidOid;
static bool suspect = true;
static bool rebuilding = false;

static void
relation_invalidated(Datum arg, Oid relid)
{
	if (suspect)
		return;
	if (rebuilding || relid == InvalidOid || relid == binding_relid)
	{
		suspect = true;
		return;
	}
	for (int i = 0; current != NULL && i < BOUND_RELATION_COUNT; i++)
	{
		if (current->relids[i] == relid)
			suspect = true;
	}
	for (int i = 0; current != NULL && i < KEYED_TABLE_COUNT; i++)
	{
		if (current->keyed[i].relid == relid)
			suspect = true;
	}
}

/* A type or the schema may have got another name. */
static void
name_invalidated(Datum arg, int cache, uint32 hash)
{
	if (suspect || current == NULL)
		return;
	if (hash == 0 || rebuilding || hash == current->schema_hash)
		suspect = true;
	for (int i = 0; i < BOUND_TYPE_COUNT; i++)
	{
		if (hash == current->type_hashes[i])
			suspect = true;
	}
}

void
BindingInit(void)
{
	CacheRegisterSyscacheCallback(TYPEOID, name_invalidated, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, name_invalidated, (Datum) 0);
	CacheRegisterRelcacheCallback(relation_invalidated, (Datum) 0);
}

static void
report_not_attached(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("assignment_v3 is not attached"),
			 errhint("Run SELECT * FROM assignment_v3.attach().")));
}

static char *
text_attribute(HeapTuple tuple, TupleDesc desc, const char *name)
{
	bool		isnull;
	Datum		value;
	int			attnum = SPI_fnumber(desc, name);

	if (attnum <= 0)
		elog(ERROR, "column \"%s\" of assignment_v3.binding is missing", name);
	value = heap_getattr(tuple, attnum, desc, &isnull);
	if (isnull)
		elog(ERROR, "column \"%s\" of assignment_v3.binding is null", name);
	return TextDatumGetCString(value);
}

/* Read the one row of assignment_v3.binding. */
static void
read_row(Binding *binding)
{
	Relation	relation;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version;

	binding_relid = get_relname_relid("binding",
									  get_namespace_oid(EXTENSION_SCHEMA, false));
	if (!OidIsValid(binding_relid))
		report_not_attached();

	relation = table_open(binding_relid, AccessShareLock);
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		report_not_attached();
	binding->app_schema = text_attribute(tuple, RelationGetDescr(relation), "app_schema");
	binding->search_path = text_attribute(tuple, RelationGetDescr(relation), "search_path");
	version = text_attribute(tuple, RelationGetDescr(relation), "version");
	systable_endscan(scan);
	table_close(relation, AccessShareLock);

	if (strcmp(version, ASSIGNMENT_V3_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("assignment_v3 %s finds what version %s has attached",
						ASSIGNMENT_V3_VERSION, version),
				 errhint("Run SELECT * FROM assignment_v3.attach() again.")));
}

static void
bind_relations(Binding *binding)
{
	Oid			schema = get_namespace_oid(binding->app_schema, true);

	binding->schema_hash = GetSysCacheHashValue1(NAMESPACEOID, ObjectIdGetDatum(schema));
	for (int i = 0; i < BOUND_RELATION_COUNT; i++)
	{
		Oid			relid = OidIsValid(schema) ?
			get_relname_relid(relation_names[i], schema) : InvalidOid;

		if (!OidIsValid(relid) && i != BOUND_ALLOCATIONS)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("relation \"%s.%s\" is missing", binding->app_schema,
							relation_names[i]),
					 errdetail("assignment_v3 is attached to schema \"%s\".",
							   binding->app_schema),
					 errhint("Run SELECT * FROM assignment_v3.attach() again.")));
		binding->relids[i] = relid;
		if (OidIsValid(relid))
			binding->relations[i] = quote_qualified_identifier(binding->app_schema,
															   relation_names[i]);
	}
}

/*
 * The row outlives DROP EXTENSION ... CASCADE, the triggers do not: without
 * them nothing is attached.
 */
static void
check_triggers(const Binding *binding)
{
	if (!OidIsValid(get_trigger_oid(binding->relids[BOUND_BOOKINGS],
									"zzz_assignment_v3_validate", true)) ||
		!OidIsValid(get_trigger_oid(binding->relids[BOUND_HISTORY],
									"zzz_assignment_v3_events", true)))
		report_not_attached();
}

static void
report_bad_column(const char *relation, const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("column \"%s\" of relation \"%s\" is missing or has another type",
					column, relation),
			 errhint("Mend the column, or run SELECT * FROM assignment_v3.attach() again.")));
}

static void
bind_columns(Binding *binding)
{
	for (int i = 0; i < BOUND_TYPE_COUNT; i++)
	{
		BoundRelation relation = typed_columns[i].relation;
		AttrNumber	attnum = get_attnum(binding->relids[relation],
										typed_columns[i].column);
		Oid			type;

		if (attnum == InvalidAttrNumber)
			report_bad_column(relation_names[relation], typed_columns[i].column);
		type = get_atttype(binding->relids[relation], attnum);
		binding->types[i] = format_type_be_qualified(type);
		binding->type_hashes[i] = GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(type));
	}
	for (int i = 0; i < BOOKING_COLUMN_COUNT; i++)
	{
		Oid			bookings = binding->relids[BOUND_BOOKINGS];
		AttrNumber	attnum = get_attnum(bookings, booking_columns[i].name);

		if (attnum == InvalidAttrNumber ||
			(OidIsValid(booking_columns[i].type) &&
			 get_atttype(bookings, attnum) != booking_columns[i].type))
			report_bad_column(relation_names[BOUND_BOOKINGS], booking_columns[i].name);
		binding->booking_columns[i] = attnum;
	}
}

/* Find a btree that begins with the key, or with both keys, and holds every row. */
static Oid
find_key_index(Relation relation, AttrNumber key, AttrNumber then)
{
	List	   *indexes = RelationGetIndexList(relation);
	ListCell   *cell;
	Oid			found = InvalidOid;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (index->rd_rel->relam == BTREE_AM_OID && form->indisvalid &&
			form->indkey.values[0] == key && RelationGetIndexPredicate(index) == NIL &&
			(then == InvalidAttrNumber ||
			 (form->indnkeyatts > 1 && form->indkey.values[1] == then &&
			  (index->rd_indoption[1] & INDOPTION_DESC) == 0)))
			found = RelationGetRelid(index);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

static void
bind_keyed_tables(Binding *binding)
{
	for (int i = 0; i < KEYED_TABLE_COUNT; i++)
	{
		KeyedTableBinding *keyed = &binding->keyed[i];
		Oid			schema = get_namespace_oid(keyed_tables[i].own ? EXTENSION_SCHEMA :
											   binding->app_schema, false);
		Relation	relation;

		keyed->relid = get_relname_relid(keyed_tables[i].name, schema);
		keyed->key = OidIsValid(keyed->relid) ?
			get_attnum(keyed->relid, keyed_tables[i].key) : InvalidAttrNumber;
		if (keyed->key == InvalidAttrNumber)
			report_bad_column(keyed_tables[i].name, keyed_tables[i].key);
		relation = table_open(keyed->relid, AccessShareLock);
		keyed->index = find_key_index(relation, keyed->key, keyed_tables[i].then ?
									  get_attnum(keyed->relid, keyed_tables[i].then) :
									  InvalidAttrNumber);
		table_close(relation, AccessShareLock);
		if (!OidIsValid(keyed->index))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("relation \"%s\" has no index on \"%s\"",
							keyed_tables[i].name, keyed_tables[i].key),
					 errhint("Run SELECT * FROM assignment_v3.attach() again.")));
	}
}

/*
 * Are the ids of a relation random?  Then we may choose them as well, in the
 * order of time, which keeps the index on them in the cache.  An app's own way
 * of making ids is respected.
 */
static bool
ids_are_random(Oid relid)
{
	Relation	relation = table_open(relid, AccessShareLock);
	AttrNumber	attnum = get_attnum(relid, "id");
	Node	   *expression = attnum == InvalidAttrNumber ? NULL :
		build_column_default(relation, attnum);

	table_close(relation, AccessShareLock);
	return expression != NULL && IsA(expression, FuncExpr) &&
		((FuncExpr *) expression)->funcid == F_GEN_RANDOM_UUID;
}

static void
bind_owner(Binding *binding)
{
	HeapTuple	tuple = SearchSysCache1(RELOID,
										ObjectIdGetDatum(binding->relids[BOUND_BOOKINGS]));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", binding->relids[BOUND_BOOKINGS]);
	binding->owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
}

/* Note what is deferrable among the constraints of one relation. */
static void
bind_constraints(Binding *binding, BoundRelation which)
{
	Relation	relation = table_open(ConstraintRelationId, AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	ScanKeyData key;

	ScanKeyInit(&key, Anum_pg_constraint_conrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(binding->relids[which]));
	scan = systable_beginscan(relation, ConstraintRelidTypidNameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint constraint = (Form_pg_constraint) GETSTRUCT(tuple);
		RangeVar   *name;

		if (!constraint->condeferrable)
			continue;
		name = makeRangeVar(pstrdup(binding->app_schema),
							pstrdup(NameStr(constraint->conname)), -1);
		binding->deferrable = lappend(binding->deferrable, name);
		if (constraint->condeferred)
			binding->deferred = lappend(binding->deferred, name);
		if (which == BOUND_ASSIGNMENTS &&
			(constraint->contype == CONSTRAINT_EXCLUSION ||
			 constraint->contype == CONSTRAINT_UNIQUE ||
			 constraint->contype == CONSTRAINT_PRIMARY))
			binding->deferrable_ledger = true;
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

static bool
same_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

static bool
same_binding(const Binding *a, const Binding *b)
{
	if (!same_text(a->search_path, b->search_path) || a->owner != b->owner ||
		a->deferrable_ledger != b->deferrable_ledger ||
		!equal(a->deferrable, b->deferrable) || !equal(a->deferred, b->deferred) ||
		memcmp(a->relids, b->relids, sizeof(a->relids)) != 0 ||
		memcmp(a->keyed, b->keyed, sizeof(a->keyed)) != 0 ||
		a->random_event_ids != b->random_event_ids ||
		a->random_message_ids != b->random_message_ids ||
		memcmp(a->booking_columns, b->booking_columns, sizeof(a->booking_columns)) != 0)
		return false;
	for (int i = 0; i < BOUND_RELATION_COUNT; i++)
	{
		if (!same_text(a->relations[i], b->relations[i]))
			return false;
	}
	for (int i = 0; i < BOUND_TYPE_COUNT; i++)
	{
		if (!same_text(a->types[i], b->types[i]))
			return false;
	}
	return true;
}

/*
 * Read the binding into a context of its own and put it in the place of the
 * current one.  Any invalidation that arrives meanwhile leaves it
 * suspect.
 */
static void
rebuild(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "assignment_v3 binding",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	Binding    *binding = palloc0(sizeof(Binding));

	suspect = false;
	rebuilding = true;
	PG_TRY();
	{
		read_row(binding);
		bind_relations(binding);
		check_triggers(binding);
		bind_columns(binding);
		bind_keyed_tables(binding);
		binding->random_event_ids = ids_are_random(binding->relids[BOUND_EVENTS]);
		binding->random_message_ids = ids_are_random(binding->relids[BOUND_OUTBOX]);
		bind_owner(binding);
		for (int i = 0; i < BOUND_RELATION_COUNT; i++)
		{
			if (OidIsValid(binding->relids[i]))
				bind_constraints(binding, (BoundRelation) i);
		}
	}
	PG_CATCH();
	{
		suspect = true;
		rebuilding = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	rebuilding = false;
	MemoryContextSwitchTo(caller);

	if (current && same_binding(current, binding))
	{
		MemoryContextDelete(context);
		return;
	}
	binding->generation = current ? current->generation + 1 : 1;
	MemoryContextSetParent(context, CacheMemoryContext);
	if (current_context)
		MemoryContextSetParent(current_context, TopTransactionContext);
	current_context = context;
	current = binding;
}

/*
 * What is attached.  Errors, with the hint, if nothing is.  The result is
 * good until the transaction ends; whoever keeps something derived from it
 * for longer compares the generation.
 */
const Binding *
binding_get(void)
{
	if (suspect || current == NULL)
		rebuild();
	return current;
}

/* The trigger on assignment_v3.binding: tell every backend that its row has changed. */
Datum
assignment_binding_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called as a trigger", "binding_changed")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}
