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
#include "rotation.h"
#include "utils/hsearch.h"
#include "utils/uuid.h"

/* What a turn knows of a restaurant. */
typedef struct TurnRestaurant
{
	pg_uuid_t	id;				/* the key of the table that finds it */
	bool		asked;			/* the fields below are known */
	bool		passed;			/* full, disabled or paused: not offered in this turn */
	PipelineMode mode;
	RolloutRows rollout;
	int			nread;			/* rows that were read of it */
	int			nrows;			/* those in the turn */
	int			round;			/* first round of its rows */
	int			quantum;		/* rows that it may have, in a rotation */
	ShareTaken	taken;			/* what came of them */
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
	bool		amid;			/* it began amid a round, so another one is to follow */
	bool		rotates;		/* more may wait than was read */
	bool		from_head;		/* and was read from the head: nobody's share is known to be all */
	bool		goes_on;		/* others are to come in this round */
	TimestampTz head_at;		/* when the true head is read again, if not this time; else 0 */
	int			nrows;
	int			next;			/* row to be offered */
	TurnRow    *rows;
	HTAB	   *restaurants;	/* whose rows they are */
	int			ntaken;			/* restaurants taken from the rotation */
	pg_uuid_t  *taken;
} Turn;

extern void turn_init(Turn *turn, TimestampTz started_at, const pg_uuid_t *only, int share);
extern void turn_build(Turn *turn, int max);
extern void turn_settle(Turn *turn);

#endif							/* TURN_H */
