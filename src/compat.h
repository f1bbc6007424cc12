/*-------------------------------------------------------------------------
 *
 * compat.h
 *		What differs between the supported versions of PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef COMPAT_H
#define COMPAT_H

#include "postgres.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "commands/trigger.h"
#include "common/jsonapi.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "parser/parse_relation.h"
#include "postmaster/bgworker.h"
#include "storage/lock.h"
#include "utils/plancache.h"
#include "utils/rangetypes.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#if PG_VERSION_NUM < 150000
#error assignment_v3 needs PostgreSQL 15 or later
#endif

/* PostgreSQL 17 asks whether a stronger lock will do as well. */
static inline bool
compat_lock_held(const LOCKTAG *tag, LOCKMODE mode)
{
#if PG_VERSION_NUM >= 170000
	return LockHeldByMe(tag, mode, false);
#else
	return LockHeldByMe(tag, mode);
#endif
}

/* The search_path that a kept plan was made under becomes the current one. */
static inline void
compat_adopt_search_path(CachedPlanSource *source)
{
#if PG_VERSION_NUM >= 170000
	if (!SearchPathMatchesCurrentEnvironment(source->search_path))
		source->search_path = GetSearchPathMatcher(source->context);
#else
	if (!OverrideSearchPathMatchesCurrent(source->search_path))
		source->search_path = GetOverrideSearchPath(source->context);
#endif
}

/* PostgreSQL 17 made the lexer's memory the caller's choice. */
static inline JsonLexContext *
compat_json_lexer(char *json, int len)
{
#if PG_VERSION_NUM >= 170000
	return makeJsonLexContextCstringLen(NULL, json, len, GetDatabaseEncoding(), true);
#else
	return makeJsonLexContextCstringLen(json, len, GetDatabaseEncoding(), true);
#endif
}

/*
 * PostgreSQL 16 can leave out all but summarizing indexes; an insert needs every one.
 * With taken given, the row is a tentative one, and told if another has its key.
 */
static inline List *
compat_insert_index_tuples(ResultRelInfo *target, TupleTableSlot *slot, EState *estate,
						   bool *taken)
{
#if PG_VERSION_NUM >= 160000
	return ExecInsertIndexTuples(target, slot, estate, false, taken != NULL, taken, NIL, false);
#else
	return ExecInsertIndexTuples(target, slot, estate, false, taken != NULL, taken, NIL);
#endif
}

/*
 * Make the one relation of an UPDATE known to the executor's state, with the
 * columns that are set.  PostgreSQL 16 keeps these apart from the range table.
 */
static inline void
compat_declare_updated(EState *estate, Relation relation, Bitmapset *columns)
{
	RangeTblEntry *entry = makeNode(RangeTblEntry);
#if PG_VERSION_NUM >= 160000
	List	   *permissions = NIL;
#endif

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(relation);
	entry->relkind = relation->rd_rel->relkind;
	entry->rellockmode = RowExclusiveLock;
#if PG_VERSION_NUM >= 160000
	addRTEPermissionInfo(&permissions, entry)->updatedCols = columns;
	ExecInitRangeTable(estate, list_make1(entry), permissions);
#else
	entry->updatedCols = columns;
	ExecInitRangeTable(estate, list_make1(entry));
#endif
}

/* Run the triggers before an update of a row; false if one of them refuses it. */
static inline bool
compat_before_update(EState *estate, ResultRelInfo *target, ItemPointer stored,
					 TupleTableSlot *slot)
{
	EPQState	recheck;
	TM_FailureData failure;

#if PG_VERSION_NUM >= 160000
	EvalPlanQualInit(&recheck, estate, NULL, NIL, -1, NIL);
	return ExecBRUpdateTriggers(estate, &recheck, target, stored, NULL, slot, NULL, &failure);
#else
	EvalPlanQualInit(&recheck, estate, NULL, NIL, -1);
	return ExecBRUpdateTriggers(estate, &recheck, target, stored, NULL, slot, &failure);
#endif
}

/*
 * Replace a row that this transaction has locked, and tell the indexes, where
 * they have to know; PostgreSQL 16 may let it be only the summarizing ones.
 */
static inline List *
compat_update_tuple(ResultRelInfo *target, ItemPointer stored, TupleTableSlot *slot,
					EState *estate)
{
	Relation	relation = target->ri_RelationDesc;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes indexes;

	simple_table_tuple_update(relation, stored, slot, GetActiveSnapshot(), &indexes);
	if (indexes == TU_None)
		return NIL;
	ExecOpenIndices(target, false);
	return ExecInsertIndexTuples(target, slot, estate, true, false, NULL, NIL,
								 indexes == TU_Summarizing);
#else
	bool		indexes;

	simple_table_tuple_update(relation, stored, slot, GetActiveSnapshot(), &indexes);
	if (!indexes)
		return NIL;
	ExecOpenIndices(target, false);
	return ExecInsertIndexTuples(target, slot, estate, true, false, NULL, NIL);
#endif
}

/* How a row of a partitioned table becomes one of this partition; NULL if it is one. */
static inline TupleConversionMap *
compat_partition_map(ResultRelInfo *partition, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	return ExecGetRootToChildMap(partition, estate);
#else
	return partition->ri_RootToPartitionMap;
#endif
}

/* PostgreSQL 16 can report errors of a range without throwing them. */
static inline RangeType *
compat_make_range(TypeCacheEntry *type, RangeBound *lower, RangeBound *upper)
{
#if PG_VERSION_NUM >= 160000
	return make_range(type, lower, upper, false, NULL);
#else
	return make_range(type, lower, upper, false);
#endif
}

/* PostgreSQL 16 lets semantic actions report errors of their own. */
#if PG_VERSION_NUM >= 160000
typedef JsonParseErrorType CompatJsonAction;
#define COMPAT_JSON_ACTION_DONE return JSON_SUCCESS
#else
typedef void CompatJsonAction;
#define COMPAT_JSON_ACTION_DONE return
#endif

/* PostgreSQL 17 lets a background worker be a role that must not log in otherwise. */
#ifdef BGWORKER_BYPASS_ROLELOGINCHECK
#define COMPAT_WORKER_FLAGS BGWORKER_BYPASS_ROLELOGINCHECK
#else
#define COMPAT_WORKER_FLAGS 0
#endif

/* May a background worker log in as this role? */
static inline bool
compat_worker_may_be(Oid role)
{
#ifdef BGWORKER_BYPASS_ROLELOGINCHECK
	return true;
#else
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool		result = HeapTupleIsValid(tuple) &&
		((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return result;
#endif
}

#endif							/* COMPAT_H */
