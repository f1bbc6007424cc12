/*-------------------------------------------------------------------------
 *
 * lookup.h
 *		Rows read by a key, without the executor.
 *
 *-------------------------------------------------------------------------
 */
#ifndef LOOKUP_H
#define LOOKUP_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "flags.h"
#include "planner.h"
#include "policy.h"
#include "utils/uuid.h"

/*
 * The tables of a restaurant during a window.  Those that are not known yet
 * pass for free if they are in service.
 */
typedef struct Floor
{
	int			ntables;
	PlannerTable *tables;
	bool	   *known;
	int			nedges;
	PlannerEdge *edges;
	int			nrecords;
	PlannerRecord *records;
} Floor;

/* When a booking takes its tables. */
typedef struct Window
{
	pg_uuid_t	booking_id;
	TimestampTz start_at;
	TimestampTz end_at;
} Window;

/* What a booking's rehearsal came to. */
typedef struct Rehearsal
{
	char	   *outcome;
	char	   *strategy;		/* NULL if none */
} Rehearsal;

/* Values of columns whose type is the app's choice. */
extern int	value_as_int(Datum value, Oid type);
extern char *value_as_text(Datum value, Oid type);

extern void lookup_rollout(const pg_uuid_t *restaurant_id, RolloutRows *rollout);
extern void lookup_breaker(const pg_uuid_t *restaurant_id, Breaker *breaker);
extern bool lookup_queue(const pg_uuid_t *booking_id, TimestampTz *due_at);
extern bool lookup_has_assignments(const pg_uuid_t *booking_id);
extern bool lookup_rehearsal(const pg_uuid_t *booking_id, int version, Rehearsal *rehearsal);
extern int	lookup_last_attempt(const pg_uuid_t *booking_id);
extern bool lookup_is_empty(Oid relid);
extern void lookup_floor(const pg_uuid_t *restaurant_id, Floor *floor);
extern void lookup_taken(const Window *window, Floor *floor, const int *tables, int ntables);

#endif							/* LOOKUP_H */
