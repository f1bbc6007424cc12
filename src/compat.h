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
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "storage/lock.h"

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

/* PostgreSQL 16 lets semantic actions report errors of their own. */
#if PG_VERSION_NUM >= 160000
typedef JsonParseErrorType CompatJsonAction;
#define COMPAT_JSON_ACTION_DONE return JSON_SUCCESS
#else
typedef void CompatJsonAction;
#define COMPAT_JSON_ACTION_DONE return
#endif

#endif							/* COMPAT_H */
