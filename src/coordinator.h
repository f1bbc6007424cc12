/*-------------------------------------------------------------------------
 *
 * coordinator.h
 *		One decision on one booking, and the draining of the queue.
 *
 *-------------------------------------------------------------------------
 */
#ifndef COORDINATOR_H
#define COORDINATOR_H

#include "postgres.h"
#include "fmgr.h"
#include "journal.h"
#include "seating.h"
#include "store.h"

typedef enum Outcome
{
	OUTCOME_CONFIRMED,
	OUTCOME_RETRY,
	OUTCOME_MANUAL_REVIEW,
	OUTCOME_NOOP
} Outcome;

#define OUTCOME_COUNT (OUTCOME_NOOP + 1)

typedef enum Reason
{
	REASON_NONE,
	REASON_PIPELINE_DISABLED,
	REASON_SHADOW,
	REASON_LOCK_CONTENTION,
	REASON_BOOKING_NOT_FOUND,
	REASON_ALREADY_CONFIRMED,
	REASON_TERMINAL_STATE,
	REASON_NOT_ELIGIBLE,
	REASON_PAST,
	REASON_CIRCUIT_OPEN,
	REASON_RATE_LIMITED,
	REASON_NO_CAPACITY,
	REASON_VERSION_CONFLICT,
	REASON_INVALID_WINDOW,
	REASON_CUTOFF,
	REASON_ERROR
} Reason;

#define REASON_COUNT (REASON_ERROR + 1)

/* The queue's row that a drain has come to a booking by. */
typedef struct Claim
{
	QueueRow	row;
	RolloutRows rollout;		/* of its restaurant, as the drain has read them */
	bool		locked;			/* the row is; in shadow only the booking */
} Claim;

typedef struct Decision
{
	/* what was asked */
	pg_uuid_t	booking_id;
	const char *trigger;
	const Claim *claim;			/* NULL if none */
	int			slot;			/* 0 until one is taken */

	/* what is known */
	MemoryContext context;
	TimestampTz started_at;
	int64		number;			/* of this decision among all that are tried, 0 before */
	bool		locked;			/* the booking, by its advisory lock */
	BookingRecord booking;
	PipelineMode mode;
	Journal		journal;

	/* what comes of it */
	Outcome		outcome;
	Reason		reason;
	bool		failed;			/* by an error, for the breaker to count */
	int			sqlerrcode;		/* of that error */
	bool		written;		/* the trail is, with the try */
	bool		yielded;		/* a lock was waited for, to no avail */
	bool		has_shadow_outcome;
	Outcome		shadow_outcome;
	bool		repeated;		/* this version was rehearsed before */
	bool		off_queue;		/* its row is to go, once the batch is done */
	int			delay_ms;
	int			attempt;
	const char *strategy;
	int			ntables;
	pg_uuid_t  *table_ids;
} Decision;

extern void decide(Decision *decision);
extern bool error_must_rethrow(const ErrorData *error);
extern bool others_wait(void);
extern const char *outcome_name(Outcome outcome);
extern const char *reason_name(Reason reason);

#endif							/* COORDINATOR_H */
