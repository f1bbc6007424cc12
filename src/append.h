/*-------------------------------------------------------------------------
 *
 * append.h
 *		The rows of a decision, written as COPY writes rows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef APPEND_H
#define APPEND_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "states.h"
#include "utils/uuid.h"

/* One step of a booking, or a change of its facts where from = to. */
typedef struct HistoryRow
{
	AssignmentState from;
	AssignmentState to;
	int			version;
	const char *metadata;		/* JSON */
	const char *reason;			/* NULL if none */
	TimestampTz created_at;
} HistoryRow;

typedef struct EventRow
{
	const char *source;
	const char *type;
	const char *severity;
	const char *context;		/* JSON */
	TimestampTz created_at;
} EventRow;

extern void AppendInit(void);
extern int	append_assignments(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id,
							   const pg_uuid_t *table_ids, int ntables, TimestampTz start_at,
							   TimestampTz end_at, TimestampTz now);
extern void append_history(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id, bool locked,
						   const pg_uuid_t *actor_id, const HistoryRow *rows, int nrows);
extern void append_events(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id,
						  const EventRow *rows, int nrows);
extern void append_attempt(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id, bool locked,
						   int attempt_no, const char *strategy, bool success, const char *reason,
						   const char *metadata);
extern void append_message(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id,
						   const char *event_type, const char *dedupe_key,
						   const char *payload);
extern void amend_booking(const pg_uuid_t *booking_id, int version, AssignmentState state,
						  int new_version, const char *status, const char *strategy);

#endif							/* APPEND_H */
