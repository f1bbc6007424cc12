/*-------------------------------------------------------------------------
 *
 * lookup.h
 *		Rows read, locked and deleted by a key, without the executor.
 *
 *-------------------------------------------------------------------------
 */
#ifndef LOOKUP_H
#define LOOKUP_H

#include "postgres.h"
#include "access/htup.h"
#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "binding.h"
#include "executor/tuptable.h"
#include "flags.h"
#include "planner.h"
#include "policy.h"
#include "states.h"
#include "utils/uuid.h"

/* A booking as the coordinator sees it, with all that its decision rests on. */
typedef struct BookingRecord
{
	bool		found;
	pg_uuid_t	id;
	bool		has_restaurant;
	pg_uuid_t	restaurant_id;
	int			party_size;		/* 0 if null */
	bool		has_start;
	bool		has_end;
	TimestampTz start_at;
	TimestampTz end_at;
	const char *status;			/* never NULL, empty for null */
	AssignmentState state;
	int			version;
	char	   *strategy;		/* NULL if none */
	bool		has_zone;
	pg_uuid_t	zone_id;
	bool		queued;
	TimestampTz due_at;			/* where queued */
	bool		has_assignments;
	int			last_attempt;	/* highest attempt_no, 0 if none */
	int			attempts;		/* failures that count, since the last requeue */
	bool		was_confirmed;	/* ever, so the guest may have heard of it */
	RolloutRows rollout;
	Breaker		breaker;
} BookingRecord;

/* NULL if it has none. */
static inline const pg_uuid_t *
booking_restaurant(const BookingRecord *booking)
{
	return booking->has_restaurant ? &booking->restaurant_id : NULL;
}

/* NULL if it is not queued. */
static inline const TimestampTz *
booking_due(const BookingRecord *booking)
{
	return booking->queued ? &booking->due_at : NULL;
}

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

/* A row of the queue. */
typedef struct QueueRow
{
	pg_uuid_t	booking_id;
	pg_uuid_t	restaurant_id;
	TimestampTz due_at;
	int			priority;
} QueueRow;

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
extern Datum booking_column(HeapTuple tuple, TupleDesc desc, BookingColumn column,
							bool *isnull);
extern void booking_from_tuple(HeapTuple tuple, TupleDesc desc, BookingRecord *booking);
extern void lookup_booking(const pg_uuid_t *booking_id, BookingRecord *booking);
extern bool lookup_booking_row(const pg_uuid_t *booking_id, int version, TupleTableSlot *slot);
extern bool lookup_lock_booking(const pg_uuid_t *booking_id, int version);
extern bool lookup_queue(const pg_uuid_t *booking_id, TimestampTz *due_at);
extern bool lookup_is_queued(const QueueRow *row);
extern bool lookup_is_paused(const pg_uuid_t *restaurant_id);
extern bool lookup_claim_queue(const QueueRow *row);
extern void lookup_delete_queue(const pg_uuid_t *booking_id, const TimestampTz *due_at);
extern bool lookup_has_assignments(const pg_uuid_t *booking_id);
extern bool lookup_rehearsal(const pg_uuid_t *booking_id, int version, Rehearsal *rehearsal);
extern int	lookup_last_attempt(const pg_uuid_t *booking_id);
extern bool lookup_is_empty(Oid relid);
extern void lookup_floor(const pg_uuid_t *restaurant_id, Floor *floor);
extern void lookup_taken(const Window *window, Floor *floor, const int *tables, int ntables);

#endif							/* LOOKUP_H */
