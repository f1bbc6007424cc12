/*-------------------------------------------------------------------------
 *
 * rotation.h
 *		Whose turn it is, where more is due than a look at the queue shows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ROTATION_H
#define ROTATION_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "lib/ilist.h"
#include "lookup.h"
#include "utils/uuid.h"

/* A restaurant that waits, or has had its share in this round. */
typedef struct Waiting
{
	pg_uuid_t	id;				/* the key of the table that finds it */
	dlist_node	node;
	bool		taken;			/* in the turn that is being offered */
	bool		fresh;			/* nothing of it was known to wait before */
	int			had;			/* rows that it has had in this round */
} Waiting;

/* What came of the rows of a restaurant in a turn. */
typedef struct ShareTaken
{
	int			nhad;			/* rows that were offered */
	bool		kept;			/* some of these are still due */
	bool		unoffered;		/* the drain ended before others of its share */
	bool		more;			/* it has more than its share, as far as is known */
} ShareTaken;

extern bool rotation_is_on(void);
extern bool rotation_is_amid(void);
extern bool rotation_must_look(TimestampTz now);
extern TimestampTz rotation_looks_at(void);
extern void rotation_look_again(int64 cost_us);
extern pg_uuid_t *rotation_begin(const QueueRow *rows, int nrows, TimestampTz until,
								 int64 cost_us, int *ntaken);
extern void rotation_end(void);
extern TimestampTz rotation_seen_until(void);
extern void rotation_meet(const QueueRow *rows, int nrows, TimestampTz until, bool complete);
extern int	rotation_take(TimestampTz from, TimestampTz until, int max, pg_uuid_t *ids);
extern const Waiting *rotation_find(const pg_uuid_t *id);
extern void rotation_drop_taken(void);
extern void rotation_settle(const pg_uuid_t *id, const ShareTaken *share);

#endif							/* ROTATION_H */
