/*-------------------------------------------------------------------------
 *
 * rotation.c
 *		Whose turn it is, where more is due than a look at the queue shows.
 *
 * Restaurants stand in line, each gets its share and, if it has more, waits
 * until the others have had theirs: a round is over when everybody in line has
 * been served.  The session remembers the line from one drain to the next, or
 * those that a drain comes to first would be served again and again, and the
 * last ones never.
 *
 * Who waits is known from three sources.  A look at the head of the queue has
 * shown some; a walk over all restaurants, a few at a time and only when the
 * line is empty, finds the others; and whoever had nothing due then is met when
 * something becomes due.  Such a fresh one goes first, or a single booking
 * would wait for a round of everybody's backlog, but the fresh ones never fill two turns
 * on end while others stand in line.
 *
 * A walk asks for each restaurant, whether it has anything or not.  So it is
 * made when nothing else will do: when a round has been too long to remember
 * who has more, and as often as takes no more than its share of the time, since
 * what was committed late may belong to a restaurant that nobody has met.
 * Between two walks the next round begins with those that have more, and costs
 * the same whether ten restaurants own the backlog or all of them do.
 *
 * Nothing here is more than a hint.  What an error leaves in hand goes back to
 * the head of the line, and what a rollback brings back is found by the next walk.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "binding.h"
#include "rotation.h"
#include "store.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* a walk and the look before it take one part in so many of the time */
#define WALK_SHARE 20

/* restaurants that one step of a walk finds */
#define WALK_STEP 128

/*
 * So many are remembered after their share, or as fresh ones until theirs; of the
 * others the next walk has to find out again.
 */
#define MAX_SERVED 4096
#define MAX_WAITING (2 * MAX_SERVED)

typedef struct Rotation
{
	MemoryContext context;		/* NULL: there is no rotation */
	uint64		generation;		/* of the binding */
	HTAB	   *members;
	dlist_head	fresh;
	dlist_head	line;
	dlist_head	taken;			/* in the turn that is being offered */
	dlist_head	served;			/* have more, for the next round */
	TimestampTz seen_until;		/* nobody has become due unseen by then */
	bool		walking;		/* not everybody has been asked in this round */
	bool		wrapped;		/* the walk has passed the last restaurant */
	pg_uuid_t	origin;			/* where the walk began */
	pg_uuid_t	position;		/* and how far it has come */
	bool		incomplete;		/* somebody may wait who is neither in line nor remembered */
	bool		has_backlog;	/* somebody had more than a share in this round */
	bool		fresh_had;		/* who has had something in the last turn */
	bool		line_had;
	TimestampTz looked_at;		/* when the last walk ended */
	int64		cost_us;		/* how long it took, with the look before it */
} Rotation;

static Rotation rotation;

void
rotation_end(void)
{
	if (rotation.context != NULL)
		MemoryContextDelete(rotation.context);
	memset(&rotation, 0, sizeof(Rotation));
}

static bool
others_are_to_come(void)
{
	return !dlist_is_empty(&rotation.fresh) || !dlist_is_empty(&rotation.line) || rotation.walking;
}

static bool
round_is_over(void)
{
	return !others_are_to_come() && dlist_is_empty(&rotation.taken);
}

/* Is anybody known to wait, or is it still to be found out? */
bool
rotation_is_on(void)
{
	if (rotation.context != NULL &&
		(rotation.generation != binding_get()->generation ||
		 (round_is_over() && dlist_is_empty(&rotation.served) && !rotation.incomplete)))
		rotation_end();
	return rotation.context != NULL;
}

/* Is anybody to come yet in this round, besides those that have been taken? */
bool
rotation_is_amid(void)
{
	return rotation_is_on() && others_are_to_come();
}

/* When a walk is due again, or has been for long. */
TimestampTz
rotation_looks_at(void)
{
	return rotation.looked_at + rotation.cost_us * WALK_SHARE;
}

/* Has everybody who stood in line been served, whoever has come fresh? */
static bool
line_is_served(void)
{
	return dlist_is_empty(&rotation.line) && !rotation.walking && dlist_is_empty(&rotation.taken);
}

/*
 * Before another round, is it to be asked whether a rotation is needed, and who
 * waits?  When it is time for that, no fresh ones put it off.
 */
bool
rotation_must_look(TimestampTz now)
{
	return (round_is_over() && (rotation.incomplete || !rotation.has_backlog)) ||
		(line_is_served() && now >= rotation_looks_at());
}

static void
begin_walk(int64 cost_us)
{
	rotation.walking = true;
	rotation.wrapped = false;
	rotation.position = rotation.origin;
	rotation.incomplete = false;
	rotation.looked_at = GetCurrentTimestamp();
	rotation.cost_us = cost_us;
}

/* Have a restaurant wait that does not yet. */
static void
join(const pg_uuid_t *id, dlist_head *list, bool fresh)
{
	bool		found;
	Waiting    *waiting = hash_search(rotation.members, id, HASH_ENTER, &found);

	if (found)
		return;
	waiting->taken = false;
	waiting->fresh = fresh;
	waiting->had = 0;
	dlist_push_tail(list, &waiting->node);
}

static void
drop(const Waiting *waiting)
{
	(void) hash_search(rotation.members, &waiting->id, HASH_REMOVE, NULL);
}

static int
take_from(dlist_head *list, int max, pg_uuid_t *ids)
{
	int			n = 0;

	while (n < max && !dlist_is_empty(list))
	{
		Waiting    *waiting = dlist_container(Waiting, node, dlist_pop_head_node(list));

		waiting->taken = true;
		dlist_push_tail(&rotation.taken, &waiting->node);
		ids[n++] = waiting->id;
	}
	return n;
}

/*
 * Begin a rotation with what the head of the queue has shown, at the price
 * given: these restaurants are taken and returned.  The walk begins with the restaurant that
 * has waited longest, as other sessions may have begun elsewhere.
 */
pg_uuid_t *
rotation_begin(const QueueRow *rows, int nrows, TimestampTz until, int64 cost_us, int *ntaken)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * nrows);
	MemoryContext context;
	HASHCTL		control = {
		.keysize = sizeof(pg_uuid_t),
		.entrysize = sizeof(Waiting),
	};

	rotation_end();
	context = AllocSetContextCreate(TopMemoryContext, "assignment_v3 rotation",
									ALLOCSET_DEFAULT_SIZES);
	control.hcxt = context;
	rotation.members = hash_create("assignment_v3 restaurants in line", 256, &control,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	rotation.context = context;
	rotation.generation = binding_get()->generation;
	dlist_init(&rotation.fresh);
	dlist_init(&rotation.line);
	dlist_init(&rotation.taken);
	dlist_init(&rotation.served);
	rotation.seen_until = until;
	rotation.origin = rows[0].restaurant_id;
	begin_walk(cost_us);
	for (int i = 0; i < nrows; i++)
		join(&rows[i].restaurant_id, &rotation.line, false);
	*ntaken = take_from(&rotation.line, nrows, ids);
	return ids;
}

TimestampTz
rotation_seen_until(void)
{
	return rotation.seen_until;
}

/* Some rows have become due: whose restaurant is not in line yet is fresh. */
void
rotation_meet(const QueueRow *rows, int nrows, TimestampTz until, bool complete)
{
	rotation.seen_until = until;
	rotation.incomplete |= !complete;
	for (int i = 0; i < nrows; i++)
	{
		if (hash_get_num_entries(rotation.members) >= MAX_WAITING)
		{
			rotation.incomplete = true;
			return;
		}
		join(&rows[i].restaurant_id, &rotation.fresh, true);
	}
}

/* The next ones that a walk finds join the line. */
static void
walk(TimestampTz from, TimestampTz until)
{
	TimestampTz began_at = GetCurrentTimestamp();
	pg_uuid_t	last;
	pg_uuid_t  *ids;
	int			nids;

	memset(&last, 0xff, sizeof(last));
	ids = store_queue_restaurants(from, until, &rotation.position,
								  rotation.wrapped ? &rotation.origin : &last, WALK_STEP, &nids);
	for (int i = 0; i < nids; i++)
		join(&ids[i], &rotation.line, false);
	if (nids == WALK_STEP)
		rotation.position = ids[nids - 1];
	else if (!rotation.wrapped)
	{
		rotation.wrapped = true;
		memset(&rotation.position, 0, sizeof(pg_uuid_t));
	}
	else
		rotation.walking = false;
	pfree(ids);
	rotation.looked_at = GetCurrentTimestamp();
	rotation.cost_us += rotation.looked_at - began_at;
}

/* What nobody has settled is as if it had not been taken. */
static void
put_back_taken(void)
{
	while (!dlist_is_empty(&rotation.taken))
	{
		Waiting    *waiting = dlist_container(Waiting, node, dlist_tail_node(&rotation.taken));

		waiting->taken = false;
		dlist_delete(&waiting->node);
		dlist_push_head(&rotation.line, &waiting->node);
	}
}

/* Those that have more come again. */
static void
next_round(void)
{
	while (!dlist_is_empty(&rotation.served))
		dlist_push_tail(&rotation.line, dlist_pop_head_node(&rotation.served));
	rotation.has_backlog = false;
}

/* A rotation is needed, as a look at this price has shown: ask everybody in the next round. */
void
rotation_look_again(int64 cost_us)
{
	next_round();
	begin_walk(cost_us);
}

/*
 * Take the next restaurants of the round, or the first ones of the next round if it is
 * over; 0 if nobody is left.
 */
int
rotation_take(TimestampTz from, TimestampTz until, int max, pg_uuid_t *ids)
{
	bool		fresh_first = rotation.line_had || !rotation.fresh_had;
	int			n = 0;

	put_back_taken();
	if (round_is_over())
		next_round();
	while (dlist_is_empty(&rotation.line) && rotation.walking)
		walk(from, until);
	if (!fresh_first && dlist_is_empty(&rotation.line))
		next_round();			/* so many are fresh that theirs is never over */
	rotation.fresh_had = false;
	rotation.line_had = false;
	if (fresh_first)
		n = take_from(&rotation.fresh, (max + 1) / 2, ids);
	n += take_from(&rotation.line, max - n, ids + n);
	return n > 0 ? n : take_from(&rotation.fresh, max, ids);
}

/* What is known of a restaurant that has been taken. */
const Waiting *
rotation_find(const pg_uuid_t *id)
{
	return hash_search(rotation.members, id, HASH_FIND, NULL);
}

/*
 * A restaurant that was taken has been offered so many rows.  Without its whole
 * share, since the drain ended, it goes on waiting; else it comes again in the
 * next round, if rows were left: as it has more, or they were in other hands.
 */
void
rotation_settle(const pg_uuid_t *id, const ShareTaken *share)
{
	Waiting    *waiting;

	if (!rotation_is_on())
		return;
	waiting = hash_search(rotation.members, id, HASH_FIND, NULL);
	if (waiting == NULL || !waiting->taken)
		return;
	waiting->taken = false;
	dlist_delete(&waiting->node);
	waiting->had += share->nhad;
	rotation.fresh_had |= waiting->fresh && share->nhad > 0;
	rotation.line_had |= !waiting->fresh && share->nhad > 0;
	rotation.has_backlog |= share->more;
	if (share->unoffered)
		dlist_push_head(waiting->fresh ? &rotation.fresh : &rotation.line, &waiting->node);
	else if ((share->more || share->kept) &&
			 hash_get_num_entries(rotation.members) <= MAX_SERVED)
	{
		waiting->had = 0;
		waiting->fresh = false;
		dlist_push_tail(&rotation.served, &waiting->node);
	}
	else
	{
		rotation.incomplete |= share->more || share->kept;
		drop(waiting);
	}
}

/* Those that were taken have nothing. */
void
rotation_drop_taken(void)
{
	while (!dlist_is_empty(&rotation.taken))
		drop(dlist_container(Waiting, node, dlist_pop_head_node(&rotation.taken)));
}
