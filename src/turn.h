/*-------------------------------------------------------------------------
 *
 * turn.h
 *		What a drain offers next, fairly shared among restaurants.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TURN_H
#define TURN_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "flags.h"
#include "lookup.h"
#include "utils/uuid.h"

/* What a turn knows of a restaurant. */
typedef struct TurnRestaurant
{
	pg_uuid_t	id;				/* the key of the table that finds it */
	bool		asked;			/* the fields below are known */
	bool		passed;			/* full, disabled or paused: not offered in this turn */
	PipelineMode mode;
	RolloutRows rollout;
	int			nrows;
} TurnRestaurant;

typedef struct TurnRow
{
	QueueRow	row;
	TurnRestaurant *restaurant;
	int			round;			/* its place among the shares of its restaurant */
} TurnRow;

typedef struct Turn
{
	MemoryContext context;		/* of this turn's rows */
	TimestampTz started_at;		/* rows due later are not offered */
	const pg_uuid_t *only;		/* restaurant, NULL for all */
	int			share;			/* rows of one restaurant before the others get theirs */
	pg_uuid_t	rotated_to;		/* restaurant at which the rotation stands */
	bool		goes_on;		/* more restaurants are to come in this rotation */
	TimestampTz head_at;		/* when the true head is read again, if not this time; else 0 */
	int			nrows;
	int			next;			/* row to be offered */
	TurnRow    *rows;
} Turn;

extern void turn_init(Turn *turn, TimestampTz started_at, const pg_uuid_t *only, int share);
extern void turn_build(Turn *turn);

#endif							/* TURN_H */
