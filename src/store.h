/*-------------------------------------------------------------------------
 *
 * store.h
 *		All SQL that the C code runs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef STORE_H
#define STORE_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "funcapi.h"
#include "flags.h"
#include "lookup.h"
#include "planner.h"
#include "policy.h"
#include "states.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

/* The caller's identity and settings, put back by store_leave(). */
typedef struct StoreScope
{
	Oid			caller;
	int			security_context;
	int			guc_level;
} StoreScope;

/* One table as explain() and assign() judge it. */
typedef struct TableVerdict
{
	pg_uuid_t	id;
	char	   *number;
	char	   *verdict;
	char	   *detail;
	bool		barred;			/* nobody may be seated there, forced or not */
	bool		has_zone;
	pg_uuid_t	zone_id;
	int			capacity;
	int			min_party;
	int			max_party;
	bool		movable;
} TableVerdict;

/* What a booking's own assignments say of it. */
typedef struct OwnAssignments
{
	int			ntables;
	pg_uuid_t  *table_ids;
	bool		moved;			/* some written by this very transaction */
	bool		matching;		/* window, restaurant and seats fit the booking */
} OwnAssignments;

/* What the rehearsal of a booking came to. */
typedef struct RehearsalRow
{
	pg_uuid_t	booking_id;
	int			version;
	pg_uuid_t	restaurant_id;
	TimestampTz created_at;
	const char *trigger;
	const char *outcome;
	const char *reason;			/* NULL if none */
	const char *sqlstate;		/* NULL if it was no error */
	int			ntables;
	const pg_uuid_t *table_ids;
	const char *strategy;		/* NULL if none */
	double		duration_ms;
	int			breaker_threshold;
} RehearsalRow;

/* Decisions tried, and errors met, so far. */
typedef struct GuardCounts
{
	int64		decisions;
	int64		errors;
} GuardCounts;

typedef struct PurgeCounts
{
	int64		history;
	int64		attempts;
	int64		events;
	int64		messages;
	int64		rehearsals;
} PurgeCounts;

/* A message of the outbox, as a worker is given it. */
typedef struct OutboxMessage
{
	pg_uuid_t	id;
	char	   *event_type;
	bool		has_booking;
	pg_uuid_t	booking_id;
	bool		has_restaurant;
	pg_uuid_t	restaurant_id;
	char	   *idempotency_key;	/* NULL if it has none */
	Jsonb	   *payload;		/* NULL if it has none */
	int			attempt;
	TimestampTz created_at;
	char	   *status;
} OutboxMessage;

typedef struct OutboxClaim
{
	TimestampTz now;
	TimestampTz lease_ends;
	Datum		event_types;	/* text[] */
	int			max_attempts;
} OutboxClaim;

extern void StoreInit(void);
extern bool text_is_uuid(const char *text);
extern int	compare_uuids(const void *a, const void *b);

extern void store_enter(StoreScope *scope);
extern void store_leave(StoreScope *scope);

extern void store_load_booking(const pg_uuid_t *booking_id, BookingRecord *booking);
extern void store_load_row(const pg_uuid_t *booking_id, BookingRecord *booking);
extern void store_load_rest(BookingRecord *booking);
extern bool store_wait_booking(const pg_uuid_t *booking_id);
extern bool store_has_steps(const pg_uuid_t *booking_id, TimestampTz since);

extern void store_probe_floor(const BookingRecord *booking, TimestampTz now, Floor *floor,
							  const int *tables, int ntables);
extern void store_read_edges(Floor *floor);
extern void store_read_records(const BookingRecord *booking, Floor *floor);
extern TableVerdict *store_explain(const BookingRecord *booking, TimestampTz now, int *ntables);

extern int	store_insert_assignments(const BookingRecord *booking, TimestampTz now,
									 const pg_uuid_t *table_ids, int ntables);
extern void store_delete_assignments(const pg_uuid_t *booking_id);
extern void store_read_assignments(const BookingRecord *booking, OwnAssignments *own);

extern void store_insert_rehearsal(const RehearsalRow *row);
extern void store_note_legacy(const pg_uuid_t *booking_id, const char *outcome);

extern void store_queue_put(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id,
							TimestampTz due_at);
extern void store_queue_follow(const BookingRecord *booking, TimestampTz due_at);
extern void store_plan_queue_peek(void);
extern QueueRow *store_queue_peek(TimestampTz from, TimestampTz until,
								  const pg_uuid_t *restaurant_id, int limit, int *nrows);
extern QueueRow *store_queue_shares(TimestampTz from, TimestampTz until,
									const pg_uuid_t *restaurant_ids, int nrestaurants, int share,
									int *nrows);
extern pg_uuid_t *store_queue_restaurants(TimestampTz from, TimestampTz until,
										  const pg_uuid_t *first, const pg_uuid_t *last,
										  int limit, int *nrestaurants);
extern void store_queue_postpone(const pg_uuid_t *booking_id, TimestampTz due_at);

extern void store_breaker_lock(const pg_uuid_t *restaurant_id, Breaker *breaker);
extern void store_breaker_put(const pg_uuid_t *restaurant_id, const Breaker *breaker);

extern bool store_insert_block(const pg_uuid_t *table_id, TimestampTz start_at,
							   TimestampTz end_at, const char *reason, const char *user,
							   pg_uuid_t *block_id);
extern pg_uuid_t *store_read_collisions(const pg_uuid_t *table_id, TimestampTz start_at,
										TimestampTz end_at, int *nbookings);
extern bool store_delete_block(const pg_uuid_t *block_id);
extern OutboxMessage *store_claim_messages(const OutboxClaim *claim, bool leased, int max_rows,
										   int *nmessages);
extern int	store_complete_messages(Datum ids, TimestampTz now);
extern bool store_lock_message(const pg_uuid_t *id, OutboxMessage *message);
extern void store_postpone_message(const pg_uuid_t *id, const char *status,
								   TimestampTz next_attempt_at, TimestampTz now);
extern void store_purge(TimestampTz horizon, const char *user, PurgeCounts *counts);
extern void store_guard_counts(GuardCounts *counts);
extern void store_guard_sample(const GuardCounts *counts, int calls);
extern int64 store_guard_errors_at(int64 decisions);
extern bool store_guard_kill(const char *reason, const char *by,
							 const GuardCounts *counts);
extern void store_check_constraints(void);

#endif							/* STORE_H */
