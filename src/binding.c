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
 * The cache is built aside and put in place when it is complete: an error
 * while it is read leaves the old one, still marked as suspect.  One that is
 * replaced lives until the end of the transaction, for the callers up the
 * stack that hold it.
 *
 * The app may change its tables while it is attached, and another version of
 * the library may be loaded than the one that attached.  Neither may stop the
 * app's own writes, which fire our triggers: only what the triggers cannot do
 * without is an error here.  Everything else that decisions rest on is checked
 * once and noted as a defect; binding_require_whole() names all of them before
 * a decision has written anything.  The types are checked because lookup.c
 * reads columns as what they were when the code was written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "binding.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "states.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "wakeup.h"

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
	[BOUND_OUTBOX_STATUS] = {BOUND_OUTBOX, "status"},
};

/* What a column must be, so that the statements and look-ups can use it. */
typedef enum ColumnForm
{
	FORM_UUID,
	FORM_TIME,
	FORM_INTEGER,
	FORM_VERSION,				/* an integer of the width that attach() makes */
	FORM_BOOLEAN,
	FORM_JSON,
	FORM_RANGE,
	FORM_WORD					/* text, or an enum of the app's */
} ColumnForm;

static const struct
{
	const char *name;
	ColumnForm	form;
}			booking_columns[BOOKING_COLUMN_COUNT] = {
	[BOOKING_ID] = {"id", FORM_UUID},
	[BOOKING_RESTAURANT_ID] = {"restaurant_id", FORM_UUID},
	[BOOKING_PARTY_SIZE] = {"party_size", FORM_INTEGER},
	[BOOKING_START_AT] = {"start_at", FORM_TIME},
	[BOOKING_END_AT] = {"end_at", FORM_TIME},
	[BOOKING_STATUS] = {"status", FORM_WORD},
	[BOOKING_STATE] = {"assignment_state", FORM_WORD},
	[BOOKING_VERSION] = {"assignment_state_version", FORM_VERSION},
	[BOOKING_STRATEGY] = {"assignment_strategy", FORM_WORD},
	[BOOKING_ZONE_ID] = {"assigned_zone_id", FORM_UUID},
	[BOOKING_CREATED_AT] = {"created_at", FORM_TIME},
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
	[KEYED_PAUSES] = {true, "pauses", "restaurant_id"},
	[KEYED_BOOKING] = {false, "bookings", "id"},
	[KEYED_ASSIGNMENTS] = {false, "booking_table_assignments", "booking_id"},
	[KEYED_ATTEMPTS] = {false, "booking_assignment_attempts", "booking_id"},
	[KEYED_REHEARSALS] = {false, "booking_assignment_shadow_results", "booking_id"},
	[KEYED_FLOOR] = {false, "table_inventory", "restaurant_id"},
	[KEYED_TABLE] = {false, "table_inventory", "id"},
	[KEYED_TIMELINE] = {false, "booking_table_assignments", "table_id", "start_at"},
};

/*
 * The columns that statements and look-ups use, other than those of bookings
 * that stand above.  attach() has its own, larger list of what to create.
 */
static const struct
{
	BoundRelation relation;
	const char *column;
	ColumnForm	form;
}			used_columns[] = {
	{BOUND_TABLES, "id", FORM_UUID},
	{BOUND_TABLES, "restaurant_id", FORM_UUID},
	{BOUND_TABLES, "zone_id", FORM_UUID},
	{BOUND_TABLES, "table_number", FORM_WORD},
	{BOUND_TABLES, "capacity", FORM_INTEGER},
	{BOUND_TABLES, "min_party_size", FORM_INTEGER},
	{BOUND_TABLES, "max_party_size", FORM_INTEGER},
	{BOUND_TABLES, "status", FORM_WORD},
	{BOUND_TABLES, "mobility", FORM_WORD},
	{BOUND_TABLES, "active", FORM_BOOLEAN},
	{BOUND_ADJACENCIES, "table_a", FORM_UUID},
	{BOUND_ADJACENCIES, "table_b", FORM_UUID},
	{BOUND_BOOKINGS, "assigned_zone_id", FORM_UUID},
	{BOUND_BOOKINGS, "updated_at", FORM_TIME},
	{BOUND_BOOKINGS, "assignment_strategy", FORM_WORD},
	{BOUND_ASSIGNMENTS, "booking_id", FORM_UUID},
	{BOUND_ASSIGNMENTS, "table_id", FORM_UUID},
	{BOUND_ASSIGNMENTS, "start_at", FORM_TIME},
	{BOUND_ASSIGNMENTS, "end_at", FORM_TIME},
	{BOUND_ASSIGNMENTS, "assigned_at", FORM_TIME},
	{BOUND_HISTORY, "booking_id", FORM_UUID},
	{BOUND_HISTORY, "from_state", FORM_WORD},
	{BOUND_HISTORY, "to_state", FORM_WORD},
	{BOUND_HISTORY, "version", FORM_INTEGER},
	{BOUND_HISTORY, "metadata", FORM_JSON},
	{BOUND_HISTORY, "reason", FORM_WORD},
	{BOUND_HISTORY, "actor_id", FORM_UUID},
	{BOUND_HISTORY, "created_at", FORM_TIME},
	{BOUND_ATTEMPTS, "booking_id", FORM_UUID},
	{BOUND_ATTEMPTS, "attempt_no", FORM_INTEGER},
	{BOUND_ATTEMPTS, "strategy", FORM_WORD},
	{BOUND_ATTEMPTS, "result", FORM_WORD},
	{BOUND_ATTEMPTS, "reason", FORM_WORD},
	{BOUND_ATTEMPTS, "metadata", FORM_JSON},
	{BOUND_ATTEMPTS, "created_at", FORM_TIME},
	{BOUND_EVENTS, "created_at", FORM_TIME},
	{BOUND_EVENTS, "source", FORM_WORD},
	{BOUND_EVENTS, "event_type", FORM_WORD},
	{BOUND_EVENTS, "severity", FORM_WORD},
	{BOUND_EVENTS, "context", FORM_JSON},
	{BOUND_EVENTS, "restaurant_id", FORM_UUID},
	{BOUND_EVENTS, "booking_id", FORM_UUID},
	{BOUND_OUTBOX, "id", FORM_UUID},
	{BOUND_OUTBOX, "created_at", FORM_TIME},
	{BOUND_OUTBOX, "updated_at", FORM_TIME},
	{BOUND_OUTBOX, "status", FORM_WORD},
	{BOUND_OUTBOX, "event_type", FORM_WORD},
	{BOUND_OUTBOX, "dedupe_key", FORM_WORD},
	{BOUND_OUTBOX, "attempt_count", FORM_INTEGER},
	{BOUND_OUTBOX, "next_attempt_at", FORM_TIME},
	{BOUND_OUTBOX, "restaurant_id", FORM_UUID},
	{BOUND_OUTBOX, "booking_id", FORM_UUID},
	{BOUND_OUTBOX, "idempotency_key", FORM_WORD},
	{BOUND_OUTBOX, "payload", FORM_JSON},
	{BOUND_HOLDS, "id", FORM_UUID},
	{BOUND_HOLDS, "booking_id", FORM_UUID},
	{BOUND_HOLDS, "status", FORM_WORD},
	{BOUND_HOLD_WINDOWS, "hold_id", FORM_UUID},
	{BOUND_HOLD_WINDOWS, "table_id", FORM_UUID},
	{BOUND_HOLD_WINDOWS, "restaurant_id", FORM_UUID},
	{BOUND_HOLD_WINDOWS, "booking_id", FORM_UUID},
	{BOUND_HOLD_WINDOWS, "start_at", FORM_TIME},
	{BOUND_HOLD_WINDOWS, "end_at", FORM_TIME},
	{BOUND_HOLD_WINDOWS, "expires_at", FORM_TIME},
	{BOUND_REHEARSALS, "booking_id", FORM_UUID},
	{BOUND_REHEARSALS, "version", FORM_VERSION},
	{BOUND_REHEARSALS, "restaurant_id", FORM_UUID},
	{BOUND_REHEARSALS, "created_at", FORM_TIME},
	{BOUND_REHEARSALS, "trigger", FORM_WORD},
	{BOUND_REHEARSALS, "outcome", FORM_WORD},
	{BOUND_REHEARSALS, "reason", FORM_WORD},
	{BOUND_REHEARSALS, "sqlstate", FORM_WORD},
	{BOUND_REHEARSALS, "strategy", FORM_WORD},
	{BOUND_REHEARSALS, "consecutive_errors", FORM_INTEGER},
	{BOUND_REHEARSALS, "legacy_outcome", FORM_WORD},
	{BOUND_REHEARSALS, "legacy_at", FORM_TIME},
	{BOUND_ALLOCATIONS, "resource_type", FORM_WORD},
	{BOUND_ALLOCATIONS, "resource_id", FORM_UUID},
	{BOUND_ALLOCATIONS, "restaurant_id", FORM_UUID},
	{BOUND_ALLOCATIONS, "booking_id", FORM_UUID},
	{BOUND_ALLOCATIONS, "window", FORM_RANGE},
	{BOUND_ALLOCATIONS, "shadow", FORM_BOOLEAN},
	{BOUND_ALLOCATIONS, "is_maintenance", FORM_BOOLEAN},
};

/* Columns of assignment_v3.counters; each has a sequence, named after it. */
static const char *const counter_names[COUNTER_COUNT] = {
	[COUNTER_DECISIONS] = "decisions",
	[COUNTER_REHEARSALS] = "rehearsals",
	[COUNTER_ERRORS] = "errors",
	[COUNTER_REHEARSAL_ERRORS] = "rehearsal_errors",
	[COUNTER_REFUSALS] = "refusals",
	[COUNTER_CONFLICTS] = "conflicts",
	[COUNTER_FAILURES] = "failures",
	[COUNTER_LATE] = "late_events",
	[COUNTER_LOST] = "lost_events",
};

/* Labels that decisions write, where the app has an enum; those of states besides. */
static const struct
{
	BoundRelation relation;
	const char *column;
	const char *label;
}			used_labels[] = {
	{BOUND_BOOKINGS, "status", "pending"},
	{BOUND_BOOKINGS, "status", "confirmed"},
	{BOUND_ATTEMPTS, "result", "success"},
	{BOUND_ATTEMPTS, "result", "failure"},
	{BOUND_EVENTS, "severity", "info"},
	{BOUND_EVENTS, "severity", "warning"},
	{BOUND_EVENTS, "severity", "error"},
	{BOUND_OUTBOX, "status", "pending"},
};

static Binding *current = NULL;
static MemoryContext current_context = NULL;
static Oid	binding_relid = InvalidOid;
static bool suspect = true;
static bool rebuilding = false;

/* Is it one of the relations that are bound? */
static bool
rests_on(const Binding *binding, Oid relid)
{
	for (int i = 0; i < BOUND_RELATION_COUNT; i++)
	{
		if (binding->relids[i] == relid)
			return true;
	}
	for (int i = 0; i < KEYED_TABLE_COUNT; i++)
	{
		if (binding->keyed[i].relid == relid)
			return true;
	}
	for (int i = 0; i < COUNTER_COUNT; i++)
	{
		if (binding->counters[i] == relid)
			return true;
	}
	return relid == binding_relid;
}

static void
relation_invalidated(Datum arg, Oid relid)
{
	if (suspect)
		return;
	if (rebuilding || relid == InvalidOid || relid == binding_relid ||
		(current != NULL && rests_on(current, relid)))
		suspect = true;
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

/* A second ledger may have appeared, or what was missing. */
static void
relation_name_invalidated(Datum arg, int cache, uint32 hash)
{
	if (current == NULL || hash == 0 || rebuilding || hash == current->ledger_hash ||
		current->defects != NULL)
		suspect = true;
}

/* Labels of enums are seldom touched, so none is told from another. */
static void
label_invalidated(Datum arg, int cache, uint32 hash)
{
	suspect = true;
}

void
BindingInit(void)
{
	CacheRegisterSyscacheCallback(ENUMTYPOIDNAME, label_invalidated, (Datum) 0);
	CacheRegisterSyscacheCallback(RELNAMENSP, relation_name_invalidated, (Datum) 0);
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

/* A row made by a version that did not note it: then no booking is older. */
static TimestampTz
recorded_since(HeapTuple tuple, TupleDesc desc)
{
	int			attnum = SPI_fnumber(desc, "recorded_since");
	bool		isnull = true;
	Datum		value = attnum > 0 ? heap_getattr(tuple, attnum, desc, &isnull) : (Datum) 0;

	return isnull ? DT_NOBEGIN : DatumGetTimestampTz(value);
}

/* Read the one row of assignment_v3.binding. */
static void
read_row(Binding *binding)
{
	Relation	relation;
	SysScanDesc scan;
	HeapTuple	tuple;

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
	binding->version = text_attribute(tuple, RelationGetDescr(relation), "version");
	binding->recorded_since = recorded_since(tuple, RelationGetDescr(relation));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

/*
 * The owner of assignment_v3.binding, InvalidOid where nothing is attached or
 * the extension is not even there.  For who must not fail where that is so, and
 * may have no business yet with what else stands in that schema.
 */
Oid
binding_attached_by(void)
{
	Oid			schema = get_namespace_oid(EXTENSION_SCHEMA, true);
	Oid			relid = OidIsValid(schema) ? get_relname_relid("binding", schema) : InvalidOid;
	Oid			owner = InvalidOid;
	Relation	relation;

	if (!OidIsValid(relid) || !OidIsValid(get_extension_oid("assignment_v3", true)) ||
		get_rel_relkind(relid) != RELKIND_RELATION)
		return InvalidOid;
	relation = try_relation_open(relid, AccessShareLock);
	if (relation == NULL)
		return InvalidOid;
	if (relation->rd_rel->relkind == RELKIND_RELATION)
	{
		SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);

		if (HeapTupleIsValid(systable_getnext(scan)))
			owner = relation->rd_rel->relowner;
		systable_endscan(scan);
	}
	relation_close(relation, AccessShareLock);
	return owner;
}

/* Note what is in the way of decisions, a sentence each. */
static void
note_defect(Binding *binding, char *sentence)
{
	binding->defects = binding->defects == NULL ? sentence :
		psprintf("%s\n%s", binding->defects, sentence);
}

static void
bind_relations(Binding *binding)
{
	Oid			schema = get_namespace_oid(binding->app_schema, true);

	binding->schema_hash = GetSysCacheHashValue1(NAMESPACEOID, ObjectIdGetDatum(schema));
	binding->ledger_hash =
		GetSysCacheHashValue2(RELNAMENSP, CStringGetDatum(relation_names[BOUND_ALLOCATIONS]),
							  ObjectIdGetDatum(schema));
	for (int i = 0; i < BOUND_RELATION_COUNT; i++)
	{
		Oid			relid = OidIsValid(schema) ?
			get_relname_relid(relation_names[i], schema) : InvalidOid;

		if (!OidIsValid(relid) && i != BOUND_ALLOCATIONS && i != BOUND_BOOKINGS)
			note_defect(binding, psprintf(_("Relation \"%s.%s\" is missing."),
										  binding->app_schema, relation_names[i]));
		if (!OidIsValid(relid) && i == BOUND_BOOKINGS)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("relation \"%s.%s\" is missing", binding->app_schema,
							relation_names[i]),
					 errdetail("assignment_v3 is attached to schema \"%s\".",
							   binding->app_schema),
					 errhint("Give it its name back, or run SELECT * FROM assignment_v3.detach().")));
		binding->relids[i] = relid;
		if (OidIsValid(relid))
			binding->relations[i] = quote_qualified_identifier(binding->app_schema,
															   relation_names[i]);
	}
}

/*
 * We act as the owner of bookings.  So a relation that somebody else has put
 * in the place of a bound one, or under the name of a ledger that the app does
 * not have, would run its owner's triggers, rules and defaults with the rights
 * of ours.  Without a name here no statement gets to it, as if it were missing.
 * A superuser needs no such way.
 */
static bool
check_relation(Binding *binding, const char *schema, const char *name, Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class form;
	bool		is_table;
	bool		is_ours;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	form = (Form_pg_class) GETSTRUCT(tuple);
	is_table = form->relkind == RELKIND_RELATION || form->relkind == RELKIND_PARTITIONED_TABLE;
	is_ours = form->relowner == binding->owner || superuser_arg(form->relowner);
	ReleaseSysCache(tuple);
	if (!is_table)
		note_defect(binding, psprintf(_("Relation \"%s.%s\" is not a table."), schema, name));
	if (!is_ours)
		note_defect(binding, psprintf(_("Relation \"%s.%s\" does not belong to the owner of \"%s\"."),
									  schema, name, relation_names[BOUND_BOOKINGS]));
	return is_table && is_ours;
}

static void
check_relations(Binding *binding)
{
	for (int i = 0; i < BOUND_RELATION_COUNT; i++)
	{
		if (!OidIsValid(binding->relids[i]) ||
			check_relation(binding, binding->app_schema, relation_names[i], binding->relids[i]) ||
			i == BOUND_BOOKINGS)
			continue;
		binding->relations[i] = NULL;
	}
}

/*
 * The row outlives DROP EXTENSION ... CASCADE, the triggers do not: without
 * them nothing is attached.
 */
static void
check_triggers(const Binding *binding)
{
	Oid			history = binding->relids[BOUND_HISTORY];

	if (!OidIsValid(get_trigger_oid(binding->relids[BOUND_BOOKINGS],
									"zzz_assignment_v3_validate", true)) ||
		(binding->relations[BOUND_HISTORY] != NULL &&
		 !OidIsValid(get_trigger_oid(history, "zzz_assignment_v3_events", true))))
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

static bool
has_form(Oid type, ColumnForm form)
{
	Oid			base = getBaseType(type);
	char		category;
	bool		preferred;

	switch (form)
	{
		case FORM_UUID:
			return base == UUIDOID;
		case FORM_TIME:
			return base == TIMESTAMPTZOID;
		case FORM_INTEGER:
			return base == INT2OID || base == INT4OID || base == INT8OID;
		case FORM_VERSION:
			return base == INT4OID;
		case FORM_BOOLEAN:
			return base == BOOLOID;
		case FORM_JSON:
			return base == JSONBOID;
		case FORM_RANGE:
			return base == TSTZRANGEOID;
		case FORM_WORD:
			get_type_category_preferred(base, &category, &preferred);
			return category == TYPCATEGORY_STRING || category == TYPCATEGORY_ENUM;
	}
	elog(ERROR, "unexpected form of a column: %d", form);
}

static void
bind_columns(Binding *binding)
{
	for (int i = 0; i < BOUND_TYPE_COUNT; i++)
	{
		Oid			relid = binding->relids[typed_columns[i].relation];
		AttrNumber	attnum = get_attnum(relid, typed_columns[i].column);
		Oid			type;

		if (attnum == InvalidAttrNumber)
			continue;			/* noted by check_columns() */
		type = get_atttype(relid, attnum);
		binding->types[i] = format_type_be_qualified(type);
		binding->type_hashes[i] = GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(type));
	}
	for (int i = 0; i < BOOKING_COLUMN_COUNT; i++)
	{
		Oid			bookings = binding->relids[BOUND_BOOKINGS];
		AttrNumber	attnum = get_attnum(bookings, booking_columns[i].name);

		if (attnum == InvalidAttrNumber ||
			!has_form(get_atttype(bookings, attnum), booking_columns[i].form))
		{
			if (i < BOOKING_WATCHED_COUNT)
				report_bad_column(relation_names[BOUND_BOOKINGS], booking_columns[i].name);
			attnum = InvalidAttrNumber;
		}
		binding->booking_columns[i] = attnum;
	}
}

/* Are the columns that decisions use still there, and still what they were? */
static void
check_columns(Binding *binding)
{
	Oid			relid;

	for (int i = 0; i < (int) lengthof(used_columns); i++)
	{
		const char *relation = relation_names[used_columns[i].relation];
		const char *column = used_columns[i].column;
		AttrNumber	attnum;

		relid = binding->relids[used_columns[i].relation];
		if (!OidIsValid(relid))
			continue;
		attnum = get_attnum(relid, column);
		if (attnum == InvalidAttrNumber)
			note_defect(binding, psprintf(_("Column \"%s\" of relation \"%s\" is missing."),
										  column, relation));
		else if (!has_form(get_atttype(relid, attnum), used_columns[i].form))
			note_defect(binding,
						psprintf(_("Column \"%s\" of relation \"%s\" has type %s."), column,
								 relation, format_type_be(get_atttype(relid, attnum))));
	}
	relid = binding->relids[BOUND_HISTORY];
	if (OidIsValid(relid) &&
		get_atttype(relid, get_attnum(relid, "from_state")) !=
		get_atttype(relid, get_attnum(relid, "to_state")))
		note_defect(binding, psprintf(_("Columns \"%s\" and \"%s\" of relation \"%s\" differ in type."),
									  "from_state", "to_state", relation_names[BOUND_HISTORY]));
}

/* Does a column take this word, as far as an enum's labels tell? */
static void
check_label(Binding *binding, BoundRelation relation, const char *column, const char *label)
{
	Oid			relid = binding->relids[relation];
	AttrNumber	attnum = OidIsValid(relid) ? get_attnum(relid, column) : InvalidAttrNumber;
	Oid			type;

	if (attnum == InvalidAttrNumber)
		return;
	type = getBaseType(get_atttype(relid, attnum));
	if (get_typtype(type) == TYPTYPE_ENUM &&
		!SearchSysCacheExists2(ENUMTYPOIDNAME, ObjectIdGetDatum(type), CStringGetDatum(label)))
		note_defect(binding, psprintf(_("Type %s of column \"%s\" of relation \"%s\" has no label \"%s\"."),
									  format_type_be(type), column, relation_names[relation],
									  label));
}

static void
check_labels(Binding *binding)
{
	for (int i = 0; i < (int) lengthof(used_labels); i++)
		check_label(binding, used_labels[i].relation, used_labels[i].column,
					used_labels[i].label);
	for (int state = 0; state < STATE_COUNT; state++)
	{
		const char *label = state_name((AssignmentState) state);

		check_label(binding, BOUND_BOOKINGS, "assignment_state", label);
		check_label(binding, BOUND_HISTORY, "to_state", label);
	}
}

/*
 * May an index be used by any snapshot of ours?  One made while rows were being
 * updated does not lead older snapshots to all of them.
 */
static bool
serves_all_snapshots(Relation index)
{
	return !index->rd_index->indcheckxmin ||
		TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
							  TransactionXmin);
}

/*
 * Find a btree that begins with the key, or with both keys, and holds every row:
 * the oldest one, as long as it serves.
 */
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

		if (!OidIsValid(found) && index->rd_rel->relam == BTREE_AM_OID && form->indisvalid &&
			serves_all_snapshots(index) && form->indkey.values[0] == key && RelationGetIndexPredicate(index) == NIL &&
			(then == InvalidAttrNumber ||
			 (form->indnkeyatts > 1 && form->indkey.values[1] == then &&
			  (index->rd_indoption[1] & INDOPTION_DESC) == 0)))
			found = RelationGetRelid(index);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

/*
 * Is there no unique index on the key alone?  A schema that is laid out by
 * restaurant has the restaurant in every key, behind all else.
 */
static bool
is_spread(Relation relation, AttrNumber key)
{
	List	   *indexes = RelationGetIndexList(relation);
	ListCell   *cell;
	bool		alone = false;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		Form_pg_index form = index->rd_index;

		alone |= form->indisunique && form->indisvalid && form->indimmediate &&
			form->indnkeyatts == 1 && form->indkey.values[0] == key &&
			RelationGetIndexPredicate(index) == NIL;
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return !alone;
}

static bool
is_bound(const Binding *binding, Oid relid)
{
	for (int i = 0; i < BOUND_RELATION_COUNT; i++)
	{
		if (binding->relids[i] == relid && binding->relations[i] != NULL)
			return true;
	}
	return false;
}

static void
bind_keyed_table(Binding *binding, KeyedTable which)
{
	KeyedTableBinding *keyed = &binding->keyed[which];
	const char *name = keyed_tables[which].name;
	Oid			schema = get_namespace_oid(keyed_tables[which].own ? EXTENSION_SCHEMA :
										   binding->app_schema, false);
	Oid			relid = get_relname_relid(name, schema);
	AttrNumber	then = InvalidAttrNumber;
	Relation	relation;

	if (OidIsValid(relid))
		keyed->key = get_attnum(relid, keyed_tables[which].key);
	if (OidIsValid(relid) && keyed_tables[which].then != NULL)
		then = get_attnum(relid, keyed_tables[which].then);
	if (keyed->key == InvalidAttrNumber ||
		(keyed_tables[which].then != NULL && then == InvalidAttrNumber))
	{
		if (keyed_tables[which].own)
			note_defect(binding, psprintf(_("Relation \"%s.%s\" is missing or has no column \"%s\"."),
										  EXTENSION_SCHEMA, name, keyed_tables[which].key));
		return;
	}
	if (keyed_tables[which].own ?
		!check_relation(binding, EXTENSION_SCHEMA, name, relid) : !is_bound(binding, relid))
		return;
	relation = table_open(relid, AccessShareLock);
	keyed->index = find_key_index(relation, keyed->key, then);
	keyed->spread = is_spread(relation, keyed->key);
	table_close(relation, AccessShareLock);
	if (OidIsValid(keyed->index))
		keyed->relid = relid;
	else
		note_defect(binding, psprintf(_("Relation \"%s\" has no index that begins with \"%s\"."),
									  name, keyed_tables[which].key));
}

static void
bind_counters(Binding *binding)
{
	Oid			schema = get_namespace_oid(EXTENSION_SCHEMA, false);

	for (int i = 0; i < COUNTER_COUNT; i++)
	{
		char	   *name = psprintf("counters_%s_seq", counter_names[i]);

		binding->counters[i] = get_relname_relid(name, schema);
		if (!OidIsValid(binding->counters[i]))
			note_defect(binding, psprintf(_("Sequence \"%s.%s\" is missing."), EXTENSION_SCHEMA,
										  name));
	}
}

/*
 * Citus keeps the rows of the tables that it knows, of reference tables too, in
 * tables of other names, shards.  What a look-up without the executor finds in
 * the one that we are bound to is what it held before, and what we wrote there
 * nobody would see.  The catalog is Citus' own; elsewhere there is none.
 */
static void
check_distribution(Binding *binding)
{
	Oid			relid = get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE);
	AttrNumber	attnum = OidIsValid(relid) ? get_attnum(relid, "logicalrelid") :
		InvalidAttrNumber;
	Relation	relation;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (attnum == InvalidAttrNumber || get_atttype(relid, attnum) != REGCLASSOID)
		return;
	relation = table_open(relid, AccessShareLock);
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Oid			known = DatumGetObjectId(heap_getattr(tuple, attnum,
														  RelationGetDescr(relation), &isnull));

		if (isnull || !OidIsValid(known) || !rests_on(binding, known))
			continue;
		binding->sharded = true;
		note_defect(binding, psprintf(_("The rows of relation \"%s.%s\" are kept in shards of Citus."),
									  get_namespace_name(get_rel_namespace(known)),
									  get_rel_name(known)));
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

static const struct
{
	const char *name;
	const char *operator;		/* of the constraint, where it may be a key */
}			ledger_columns[LEDGER_COLUMN_COUNT] = {
	[LEDGER_TYPE] = {"resource_type", "="},
	[LEDGER_TABLE] = {"resource_id", "="},
	[LEDGER_WINDOW] = {"window", "&&"},
	[LEDGER_BOOKING] = {"booking_id"},
	[LEDGER_SHADOW] = {"shadow"},
};

/* Does the index hold all rows that are no shadow? */
static bool
holds_what_is_real(Relation index, AttrNumber shadow)
{
	List	   *predicate = RelationGetIndexPredicate(index);
	BoolExpr   *negation;

	if (predicate == NIL)
		return true;
	negation = (BoolExpr *) linitial(predicate);
	return list_length(predicate) == 1 && IsA(negation, BoolExpr) &&
		negation->boolop == NOT_EXPR && IsA(linitial(negation->args), Var) &&
		((Var *) linitial(negation->args))->varattno == shadow;
}

/*
 * Note which column of the ledger each key of an exclusion constraint is; false
 * if it has other ones, or not both table and window.
 */
static bool
ledger_keys(Relation index, LedgerBinding *ledger)
{
	Oid		   *operators;
	Oid		   *functions;
	uint16	   *strategies;
	int			known = 0;

	ledger->nkeys = index->rd_index->indnkeyatts;
	if (ledger->nkeys > LEDGER_KEY_COUNT)
		return false;
	RelationGetExclusionInfo(index, &operators, &functions, &strategies);
	for (int i = 0; i < ledger->nkeys; i++)
	{
		char	   *operator = get_opname(operators[i]);
		int			column = 0;

		while (column < LEDGER_KEY_COUNT &&
			   ledger->columns[column] != index->rd_index->indkey.values[i])
			column++;
		if (column == LEDGER_KEY_COUNT || operator == NULL ||
			strcmp(operator, ledger_columns[column].operator) != 0)
			return false;
		ledger->keys[i] = (LedgerColumn) column;
		known |= 1 << column;
	}
	return (known & (1 << LEDGER_TABLE)) && (known & (1 << LEDGER_WINDOW));
}

/* Find the exclusion constraint by which the second ledger can be looked into. */
static void
bind_ledger(Binding *binding)
{
	LedgerBinding ledger = {0};
	Relation	relation;
	ListCell   *cell;

	if (binding->relations[BOUND_ALLOCATIONS] == NULL)
		return;
	for (int i = 0; i < LEDGER_COLUMN_COUNT; i++)
		ledger.columns[i] = get_attnum(binding->relids[BOUND_ALLOCATIONS],
									   ledger_columns[i].name);
	relation = table_open(binding->relids[BOUND_ALLOCATIONS], AccessShareLock);
	foreach(cell, RelationGetIndexList(relation))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (binding->ledger.index == InvalidOid && index->rd_index->indisexclusion &&
			index->rd_index->indisvalid && serves_all_snapshots(index) &&
			holds_what_is_real(index, ledger.columns[LEDGER_SHADOW]) &&
			ledger_keys(index, &ledger))
		{
			binding->ledger = ledger;
			binding->ledger.index = RelationGetRelid(index);
		}
		index_close(index, AccessShareLock);
	}
	table_close(relation, AccessShareLock);
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

/*
 * Note what is deferrable among the constraints of one relation.  Assignments
 * without an exclusion constraint would let a table be taken twice.
 */
static void
bind_constraints(Binding *binding, BoundRelation which)
{
	Relation	relation = table_open(ConstraintRelationId, AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	ScanKeyData key;
	bool		excludes = false;

	ScanKeyInit(&key, Anum_pg_constraint_conrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(binding->relids[which]));
	scan = systable_beginscan(relation, ConstraintRelidTypidNameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint constraint = (Form_pg_constraint) GETSTRUCT(tuple);
		RangeVar   *name;

		excludes |= constraint->contype == CONSTRAINT_EXCLUSION;
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
	if (which == BOUND_ASSIGNMENTS && !excludes)
		note_defect(binding, psprintf(_("Relation \"%s\" has no exclusion constraint."),
									  relation_names[which]));
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
		a->recorded_since != b->recorded_since ||
		!same_text(a->version, b->version) || !same_text(a->defects, b->defects) ||
		a->deferrable_ledger != b->deferrable_ledger ||
		!equal(a->deferrable, b->deferrable) || !equal(a->deferred, b->deferred) ||
		memcmp(a->relids, b->relids, sizeof(a->relids)) != 0 ||
		memcmp(a->keyed, b->keyed, sizeof(a->keyed)) != 0 ||
		memcmp(&a->ledger, &b->ledger, sizeof(a->ledger)) != 0 ||
		memcmp(a->counters, b->counters, sizeof(a->counters)) != 0 ||
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
		bind_owner(binding);
		check_relations(binding);
		check_triggers(binding);
		bind_columns(binding);
		check_columns(binding);
		check_labels(binding);
		for (int i = 0; i < KEYED_TABLE_COUNT; i++)
			bind_keyed_table(binding, (KeyedTable) i);
		bind_counters(binding);
		check_distribution(binding);
		bind_ledger(binding);
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
 * for longer compares the generation.  It may have defects.
 */
const Binding *
binding_get(void)
{
	if (suspect || current == NULL)
		rebuild();
	return current;
}

/* Was it attached by this version, and is it still as attach() left it? */
bool
binding_is_whole(void)
{
	const Binding *binding = binding_get();

	return binding->defects == NULL && strcmp(binding->version, ASSIGNMENT_V3_VERSION) == 0;
}

/* Decisions need all of it: say what is in the way. */
void
binding_require_whole(void)
{
	const Binding *binding = binding_get();

	if (strcmp(binding->version, ASSIGNMENT_V3_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("version %s of assignment_v3 is attached, but this session has loaded version %s",
						binding->version, ASSIGNMENT_V3_VERSION),
				 errhint("Run SELECT * FROM assignment_v3.attach() again after ALTER EXTENSION assignment_v3 UPDATE; a session that has loaded the library before must reconnect, a server that preloads it must be restarted.")));
	if (binding->defects != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("schema \"%s\" is no longer as assignment_v3 was attached to it",
						binding->app_schema),
				 errdetail_internal("%s", binding->defects),
				 errhint("Mend this, or run SELECT * FROM assignment_v3.attach() again.")));
}

/* A relation to write to without a statement. */
Oid
binding_target(BoundRelation which)
{
	if (binding_get()->relations[which] == NULL)
		binding_require_whole();
	return binding_get()->relids[which];
}

/*
 * A library meets the declarations of another version between the installation
 * of its files and ALTER EXTENSION UPDATE, or in a session that has loaded it
 * before.  A result with other columns than it knows would read past its values.
 */
static void
check_result(TupleDesc desc, int ncolumns)
{
	if (desc->natts != ncolumns)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("version %s of the library, which this session has loaded, is not that of extension assignment_v3",
						ASSIGNMENT_V3_VERSION),
				 errhint("Reconnect, or restart a server that preloads the library; if that does not help, run ALTER EXTENSION assignment_v3 UPDATE.")));
}

/* The type of a function's row of so many columns. */
TupleDesc
binding_result_type(FunctionCallInfo fcinfo, int ncolumns)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	check_result(desc, ncolumns);
	return BlessTupleDesc(desc);
}

/* Prepare to return rows of so many columns. */
void
binding_materialize(FunctionCallInfo fcinfo, int ncolumns)
{
	InitMaterializedSRF(fcinfo, 0);
	check_result(((ReturnSetInfo *) fcinfo->resultinfo)->setDesc, ncolumns);
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
	wakeup_note(DT_NOBEGIN);
	return PointerGetDatum(NULL);
}
