/*-------------------------------------------------------------------------
 *
 * turn.c
 *		What a drain offers next, fairly shared among restaurants.
 *
 * A drain works in turns.  A turn is a list of due rows, read from the queue
 * without locking them; whoever offers a row claims it then, if it is still
 * there.
 *
 * Rows come in the order of priority and due time, but a restaurant that has
 * had its share waits until the others have had theirs: rows are sorted by
 * priority, then by round, which is the row's number within its restaurant
 * divided by the share, then by due time.  So a restaurant with a long queue
 * delays the others by one share at the most.
 *
 * What is due is read from the head of the queue, as far as PEEK_ROWS.  If
 * more is due, the head may be one restaurant's alone: then only the first share
 * of each restaurant in it is offered, and from the next turn on the restaurants
 * are served in rotation (rotation.c), each turn reading the shares of as many as the
 * drain may come to.  Either way a turn costs the same whatever is waiting, and is
 * paid by the rows that it offers.  Meanwhile the queue is looked at only for what has
 * become due since the last look, which finds a restaurant that had nothing yet;
 * that look goes back by LATE_US, as who makes a booking commits it a little later.
 *
 * Rows that are done leave dead entries at the head of the index, which every
 * look at the head has to step over for as long as any transaction might still
 * see them.  Each session remembers the due time before which everything was
 * gone, and starts there.  As a transaction that commits late may add a row
 * before that time, the true head is read again from time to time: in each
 * turn while that is cheap, else so often that it takes no more than its share
 * of the session's time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "binding.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "store.h"
#include "turn.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* rows that are looked at from the head of the queue, per priority */
#define PEEK_ROWS 1024

/* rows of one turn, where it rotates over the restaurants */
#define ROTATION_ROWS 512

/* what a booking may take from its due time to its commit, and be seen by the next look */
#define LATE_US USECS_PER_SEC

/*
 * Reading the true head takes one part in so many of the time, unless it is
 * cheap.  That is judged by the pages it touches beyond those of the rows that it
 * returns, some 15,000 dead rows' worth, or a millisecond: a busy machine must not make a
 * session overlook what is new.
 */
#define HEAD_READ_SHARE 20
#define HEAD_READ_CHEAP_PAGES 200

/* Before this time nothing is left, as far as this session knows. */
typedef struct LowWater
{
	uint64		generation;		/* of the binding */
	TimestampTz due_at;
	TimestampTz read_at;		/* when the true head was read */
	int64		cost_us;		/* how long that took, 0 if it was cheap */
} LowWater;

static LowWater low_water;

void
turn_init(Turn *turn, TimestampTz started_at, const pg_uuid_t *only, int share)
{
	memset(turn, 0, sizeof(Turn));
	turn->context = AllocSetContextCreate(CurrentMemoryContext, "assignment_v3 turn",
										  ALLOCSET_DEFAULT_SIZES);
	turn->started_at = started_at;
	turn->only = only;
	turn->share = share;
	turn->amid = only == NULL && rotation_is_amid();
}

/* Is it time to read the true head of the queue? */
static bool
head_is_due(TimestampTz now)
{
	return low_water.generation != binding_get()->generation ||
		now - low_water.read_at >= low_water.cost_us * HEAD_READ_SHARE;
}

/* Nothing that is left is due before the earliest row, or before now if there is none. */
static void
remember_head(const QueueRow *rows, int nrows, TimestampTz asked_at, TimestampTz until,
			  int64 npages)
{
	low_water.generation = binding_get()->generation;
	low_water.due_at = until;
	for (int i = 0; i < nrows; i++)
		low_water.due_at = Min(low_water.due_at, rows[i].due_at);
	low_water.read_at = GetCurrentTimestamp();
	low_water.cost_us = npages - nrows > HEAD_READ_CHEAP_PAGES ? low_water.read_at - asked_at : 0;
}

static int64
pages_touched(void)
{
	return pgBufferUsage.shared_blks_hit + pgBufferUsage.shared_blks_read;
}

static QueueRow *
peek(Turn *turn, int *nrows)
{
	TimestampTz now;
	int64		before;
	bool		from_head;
	QueueRow   *rows;

	store_plan_queue_peek();
	now = GetCurrentTimestamp();
	before = pages_touched();
	from_head = head_is_due(now);
	rows = store_queue_peek(from_head ? DT_NOBEGIN : low_water.due_at, turn->started_at,
							turn->only, PEEK_ROWS + 1, nrows);
	if (from_head && turn->only == NULL)
		remember_head(rows, *nrows, now, turn->started_at, pages_touched() - before);
	turn->head_at = from_head ? 0 : low_water.read_at + low_water.cost_us * HEAD_READ_SHARE;
	return rows;
}

/* Look for what has become due since the last look, of restaurants that had nothing. */
static void
meet_fresh(const Turn *turn)
{
	TimestampTz seen_until = rotation_seen_until();
	QueueRow   *rows;
	int			nrows;

	if (turn->started_at <= seen_until)
		return;
	rows = store_queue_peek(seen_until - LATE_US, turn->started_at, NULL, PEEK_ROWS + 1, &nrows);
	rotation_meet(rows, nrows, turn->started_at, nrows <= PEEK_ROWS);
}

/*
 * The shares of the next restaurants of the rotation that have any, of twice as
 * many as it takes, so that the order of the rows has its say; no rows if none has.
 */
static QueueRow *
rotate(Turn *turn, int max, int *nrows)
{
	int			most = Max(ROTATION_ROWS / turn->share, 1);
	int			ntaken = Min(2 * (Min(max, ROTATION_ROWS) / turn->share + 1), most);
	QueueRow   *rows = NULL;

	meet_fresh(turn);
	turn->rotates = true;
	turn->taken = palloc(sizeof(pg_uuid_t) * ntaken);
	*nrows = 0;
	while (*nrows == 0)
	{
		turn->ntaken = rotation_take(low_water.due_at, turn->started_at, ntaken, turn->taken);
		if (turn->ntaken == 0)
			break;
		rows = store_queue_shares(low_water.due_at, turn->started_at, turn->taken, turn->ntaken,
								  turn->share, nrows);
		if (*nrows == 0)
			rotation_drop_taken();
	}
	turn->head_at = rotation_looks_at();
	return rows;
}

/* What is due: by a look at the head or, while that does not show everything, in rotation. */
static QueueRow *
read_rows(Turn *turn, int max, int *nrows)
{
	TimestampTz began_at = GetCurrentTimestamp();
	bool		rotating = turn->only == NULL && rotation_is_on();
	QueueRow   *rows;
	int64		cost_us;

	if (rotating && !rotation_must_look(began_at))
	{
		rows = rotate(turn, max, nrows);
		if (rotation_is_on())
			return rows;
		rotating = false;
	}
	rows = peek(turn, nrows);
	if (turn->only != NULL)
		return rows;
	cost_us = GetCurrentTimestamp() - began_at;
	turn->rotates = *nrows > PEEK_ROWS;
	if (!turn->rotates)
		rotation_end();
	else if (rotating)
	{
		rotation_look_again(cost_us);
		rows = rotate(turn, max, nrows);
	}
	else
	{
		turn->taken = rotation_begin(rows, *nrows, turn->started_at, cost_us, &turn->ntaken);
		turn->from_head = true;
		turn->head_at = rotation_looks_at();
	}
	return rows;
}

/* The restaurant of a row, as this turn knows it. */
static TurnRestaurant *
restaurant_of(Turn *turn, const QueueRow *row)
{
	bool		found;
	TurnRestaurant *restaurant = hash_search(turn->restaurants, &row->restaurant_id, HASH_ENTER,
											 &found);

	if (found)
		return restaurant;
	memset((char *) restaurant + sizeof(pg_uuid_t), 0, sizeof(TurnRestaurant) - sizeof(pg_uuid_t));
	if (turn->rotates)
	{
		const Waiting *waiting = rotation_find(&row->restaurant_id);

		restaurant->quantum = Max(turn->share - waiting->had, 1);
		restaurant->round = waiting->fresh ? 0 : 1;
	}
	return restaurant;
}

/*
 * Make a turn of the rows: find out for each which restaurant it is of, and
 * which round it belongs to.  In a rotation, what goes beyond a share is left.
 */
static void
add_rows(Turn *turn, const QueueRow *rows, int nrows)
{
	HASHCTL		control = {
		.keysize = sizeof(pg_uuid_t),
		.entrysize = sizeof(TurnRestaurant),
		.hcxt = turn->context,
	};

	turn->restaurants = hash_create("assignment_v3 restaurants of a turn", 64, &control,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	turn->rows = palloc0(sizeof(TurnRow) * Max(nrows, 1));
	for (int i = 0; i < nrows; i++)
	{
		TurnRestaurant *restaurant = restaurant_of(turn, &rows[i]);
		TurnRow    *row = &turn->rows[turn->nrows];

		restaurant->nread++;
		if (turn->rotates && restaurant->nrows == restaurant->quantum)
			continue;
		row->row = rows[i];
		row->restaurant = restaurant;
		row->round = restaurant->round + restaurant->nrows++ / turn->share;
		turn->nrows++;
	}
}

static int
compare_rows(const void *left, const void *right)
{
	const TurnRow *a = left;
	const TurnRow *b = right;

	if (a->row.priority != b->row.priority)
		return a->row.priority < b->row.priority ? -1 : 1;
	if (a->round != b->round)
		return a->round < b->round ? -1 : 1;
	if (a->row.due_at != b->row.due_at)
		return a->row.due_at < b->row.due_at ? -1 : 1;
	return memcmp(&a->row.booking_id, &b->row.booking_id, UUID_LEN);
}

/* Tell the rotation what came of a restaurant's share; those without rows have nothing. */
static void
settle(const Turn *turn, const pg_uuid_t *id, bool unoffered)
{
	ShareTaken	taken = {0};
	const TurnRestaurant *restaurant = hash_search(turn->restaurants, id, HASH_FIND, NULL);

	if (restaurant != NULL)
	{
		taken = restaurant->taken;
		taken.unoffered = taken.nhad < restaurant->nrows;
		taken.more = turn->from_head || restaurant->nread >= restaurant->quantum;
	}
	if (taken.unoffered == unoffered)
		rotation_settle(id, &taken);
}

/*
 * Tell the rotation what came of the turn: before the next one, and when the
 * drain ends.  Those that have not had their share go back to the head of
 * the line, so the first of them is the last to go.
 */
void
turn_settle(Turn *turn)
{
	if (turn->ntaken == 0)
		return;
	for (int i = 0; i < turn->next; i++)
		turn->rows[i].restaurant->taken.nhad++;
	for (int i = 0; i < turn->ntaken; i++)
		settle(turn, &turn->taken[i], false);
	for (int i = turn->ntaken - 1; i >= 0; i--)
		settle(turn, &turn->taken[i], true);
	turn->ntaken = 0;
}

/* Read what is due into the next turn of a drain that takes so many; no rows where there is nothing. */
void
turn_build(Turn *turn, int max)
{
	MemoryContext caller;
	QueueRow   *rows;
	int			nrows;

	turn_settle(turn);
	MemoryContextReset(turn->context);
	caller = MemoryContextSwitchTo(turn->context);
	turn->nrows = 0;
	turn->next = 0;
	turn->rotates = false;
	turn->from_head = false;
	rows = read_rows(turn, max, &nrows);
	add_rows(turn, rows, nrows);
	qsort(turn->rows, turn->nrows, sizeof(TurnRow), compare_rows);
	MemoryContextSwitchTo(caller);
	turn->goes_on = turn->only == NULL && (rotation_is_amid() || turn->amid);
	if (!rotation_is_amid())
		turn->amid = false;
}
