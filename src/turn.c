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
 * more is due, the head may be one restaurant's alone; then the turn rotates
 * over the restaurants instead, reading one share of each, and goes on where
 * it stopped the next time.  Either way a turn costs the same whatever is
 * waiting, and is paid by the rows that it offers.
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
#define ROTATION_ROWS 4096

/*
 * Reading the true head takes one part in so many of the time, unless it is
 * cheap.  That is judged by the pages it touches, some five milliseconds' worth:
 * a busy machine must not make a session overlook what is new.
 */
#define HEAD_READ_SHARE 20
#define HEAD_READ_CHEAP_PAGES 10000

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
	low_water.cost_us = npages > HEAD_READ_CHEAP_PAGES ? low_water.read_at - asked_at : 0;
}

static int64
pages_touched(void)
{
	return pgBufferUsage.shared_blks_hit + pgBufferUsage.shared_blks_read;
}

static QueueRow *
peek(Turn *turn, int *nrows)
{
	int64		before = pages_touched();
	TimestampTz now = GetCurrentTimestamp();
	bool		from_head = head_is_due(now);
	QueueRow   *rows = store_queue_peek(from_head ? DT_NOBEGIN : low_water.due_at,
										turn->started_at, turn->only, PEEK_ROWS + 1, nrows);

	if (from_head && turn->only == NULL)
		remember_head(rows, *nrows, now, turn->started_at, pages_touched() - before);
	turn->head_at = from_head ? 0 : low_water.read_at + low_water.cost_us * HEAD_READ_SHARE;
	return rows;
}

/* One share of each restaurant, from where the rotation stands. */
static QueueRow *
rotate(Turn *turn, int *nrows)
{
	QueueRow   *rows = store_queue_shares(low_water.due_at, turn->started_at, &turn->rotated_to,
										  turn->share, ROTATION_ROWS, nrows);

	turn->goes_on = *nrows == ROTATION_ROWS;
	if (turn->goes_on)
		turn->rotated_to = rows[*nrows - 1].restaurant_id;
	else
		memset(&turn->rotated_to, 0, sizeof(pg_uuid_t));
	return rows;
}

/* Find out for each row which restaurant it is of, and which round it belongs to. */
static void
assign_rounds(Turn *turn)
{
	HASHCTL		control = {
		.keysize = sizeof(pg_uuid_t),
		.entrysize = sizeof(TurnRestaurant),
		.hcxt = turn->context,
	};
	HTAB	   *restaurants = hash_create("assignment_v3 restaurants of a turn", 64, &control,
										  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	for (int i = 0; i < turn->nrows; i++)
	{
		TurnRow    *row = &turn->rows[i];
		bool		found;

		row->restaurant = hash_search(restaurants, &row->row.restaurant_id, HASH_ENTER, &found);
		if (!found)
			memset((char *) row->restaurant + sizeof(pg_uuid_t), 0,
				   sizeof(TurnRestaurant) - sizeof(pg_uuid_t));
		row->round = row->restaurant->nrows++ / turn->share;
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

/* Read what is due into the next turn; no rows where there is nothing. */
void
turn_build(Turn *turn)
{
	MemoryContext caller;
	QueueRow   *rows;

	MemoryContextReset(turn->context);
	caller = MemoryContextSwitchTo(turn->context);
	turn->next = 0;
	turn->goes_on = false;
	rows = peek(turn, &turn->nrows);
	if (turn->only == NULL && turn->nrows > PEEK_ROWS)
		rows = rotate(turn, &turn->nrows);
	turn->rows = palloc0(sizeof(TurnRow) * Max(turn->nrows, 1));
	for (int i = 0; i < turn->nrows; i++)
		turn->rows[i].row = rows[i];
	assign_rounds(turn);
	qsort(turn->rows, turn->nrows, sizeof(TurnRow), compare_rows);
	MemoryContextSwitchTo(caller);
}
