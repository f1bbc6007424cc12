/*-------------------------------------------------------------------------
 *
 * planner.c
 *		The best plan for a party over in-memory arrays.
 *
 * Candidates are the usable tables one by one, and merges: two to max_tables
 * usable movable tables of one zone, connected by adjacencies inside the set.
 * A candidate seats the party if its seats suffice, the sum of its tables'
 * max_party does too, and no table's min_party is above the party.  A table
 * without a zone never merges.
 *
 * The score is lexicographic, lower is better: waste beyond
 * PLANNER_TOLERATED_WASTE, waste, number of tables, the strategy's term, and
 * the table numbers, table by table in natural order.  The first part grows
 * with the second, so comparing waste compares both.  The order is total:
 * what is returned depends on neither the order of the arrays nor luck.
 *
 * The strategies' terms:
 *
 *	optimal_fit			movable tables used: a fixed table leaves the others
 *						free to merge
 *	adjacency			k(k-1)/2 less the adjacent pairs inside a set of k
 *	zone_preference		tables outside the booking's zone; 0 if it has none
 *	load_balancing		taken seats of the set's zone in 1/10000 of all its
 *						seats; tables without a zone count as one zone
 *	historical_success	-(successes + 1) * 10000 / (tries + 2) of that very
 *						set, whole numbers rounded towards zero
 *
 * Minimal sets
 *
 * A set that seats the party is never extended.  A superset T of a candidate
 * S wastes no less and has more tables, and both weigh before term and
 * numbers, so S goes before T whatever the strategy: the best plan is always
 * minimal, that is, no candidate is part of it.  The list of plans holds
 * minimal sets only, as nobody wants a plan from which a table can be taken
 * away.  None is missed: the sets through which the search arrives at a
 * minimal T are connected parts of T, so none of them seats the party.  The
 * search also meets sets that are not minimal, by way of their other parts.
 * They are told by dropping one table: a connected part S of T grows to T
 * table by table without falling apart, and the last step but one contains S
 * and thus seats the party.  In particular no table that seats the party by
 * itself is ever part of a merge.
 *
 * Search
 *
 * Each connected set is visited once, by the ESU algorithm (S. Wernicke,
 * "Efficient Detection of Network Motifs", IEEE/ACM TCBB 3, 2006): a set is
 * grown from its first table, in natural order, only by later tables, and
 * only by neighbours that no earlier choice has passed over.  These wait in
 * one array, as in D. H. Redelmeier, "Counting polyominoes: yet another
 * attack", Discrete Mathematics 36, 1981, so growing copies nothing.  Counting
 * for each table how many of the chosen ones it touches tells both which
 * neighbours are new and how many adjacent pairs a set has.
 *
 * Merges are sought size by size, as small ones are found soon and give the
 * large ones something to beat.  A set is grown only if it could still come
 * before the last plan of a full list.  The bounds never cut off a better plan:
 *	- waste: which sums of seats that many more tables of the zone can add,
 *	  connected or not (struct Supply), and how far max_party falls short of
 *	  the seats;
 *	- term: given by the zone and the number of tables, except for adjacency,
 *	  where missing pairs only grow, and for historical_success, where the
 *	  sets on record are tried first and all others have the same term;
 *	- numbers: which tables of the last plan can still be had.
 * So a long list costs more than the best plan alone.
 *
 * Memory comes from the current context and is freed before returning, so an
 * error or a cancelled query leaves it to the context.  Nothing here reads a
 * relation, a setting or the clock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "planner.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

/* shares and rates are whole numbers of 1/10000 */
#define TERM_UNIT 10000

/* sums of seats from this one on are not told apart */
#define SUM_LIMIT 63

/* what node_of says of a table that is no node */
#define NO_NODE (-1)

/*
 * What some tables of one zone can add to a set.  Bit n of sums[count] says
 * that some count of them have n seats together, or at least n for SUM_LIMIT.
 */
typedef struct Supply
{
	uint64		sums[PLANNER_MAX_TABLES + 1];
	int			most_seats;		/* largest capacity */
	int			most_party;		/* largest max_party */
	int			most_spare;		/* largest max_party beyond capacity, or 0 */
} Supply;

typedef struct Zone
{
	bool		has_id;			/* false for the tables without a zone */
	pg_uuid_t	id;
	int64		seats;
	int64		taken;
	Supply		supply;
} Zone;

/* A table that has somebody to merge with.  Nodes are in natural order. */
typedef struct Node
{
	int			table;
	int			capacity;
	int			max_party;
	int			zone;
	int			first;			/* its neighbours: first .. end - 1 */
	int			end;
} Node;

/* The set being grown, summed up; its nodes are in Search.chosen. */
typedef struct Partial
{
	int			size;
	int			missing;		/* pairs that are not adjacent */
	int64		seats;
	int64		max_party;
} Partial;

typedef struct Search
{
	const PlannerProblem *problem;
	int			party;
	int			max_tables;

	PlannerPlan *plans;			/* best first */
	int			nplans;
	int			max_plans;

	Zone	   *zones;			/* NULL until somebody asks */
	int			nzones;
	int		   *zone_of;		/* by table */

	PlannerRecord *records;		/* sorted, one per set */
	int			nrecords;

	Node	   *nodes;
	int			nnodes;
	int		   *node_of;		/* by table */
	int		   *neighbours;		/* of each node, ascending */
	Supply	   *beyond;			/* by node: the later nodes of its zone */

	int			size;			/* of the sets sought */
	int			chosen[PLANNER_MAX_TABLES]; /* the first one is the least */
	int		   *queue;			/* neighbours to try */
	uint8	   *touches;		/* by node: how many chosen ones it touches */
	bool	   *passed;			/* by node: not to be chosen any more */
} Search;

static const char *const strategy_names[] = {
	[STRATEGY_OPTIMAL_FIT] = "optimal_fit",
	[STRATEGY_ADJACENCY] = "adjacency",
	[STRATEGY_ZONE_PREFERENCE] = "zone_preference",
	[STRATEGY_LOAD_BALANCING] = "load_balancing",
	[STRATEGY_HISTORICAL_SUCCESS] = "historical_success",
};

StaticAssertDecl(lengthof(strategy_names) == STRATEGY_COUNT,
				 "every strategy has a name");

const char *
strategy_name(PlannerStrategy strategy)
{
	Assert((int) strategy >= 0 && (int) strategy < STRATEGY_COUNT);
	return strategy_names[strategy];
}

/* The first attempt uses the first strategy, each retry the next, in turn. */
PlannerStrategy
strategy_for_attempt(int attempts)
{
	return (PlannerStrategy) (Max(attempts, 0) % STRATEGY_COUNT);
}

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Compare two runs of digits by value, and step over both. */
static int
compare_digit_runs(const char **a, const char **b)
{
	const char *x = *a;
	const char *y = *b;
	int			alen = 0;
	int			blen = 0;

	while (*x == '0')
		x++;
	while (*y == '0')
		y++;
	while (is_digit(x[alen]))
		alen++;
	while (is_digit(y[blen]))
		blen++;
	*a = x + alen;
	*b = y + blen;

	if (alen != blen)
		return alen < blen ? -1 : 1;
	return memcmp(x, y, alen);
}

/*
 * Natural order of table numbers: runs of ASCII digits, however long, compare
 * as numbers, everything else byte by byte.  Numbers that differ in leading
 * zeros alone are ordered by their bytes, so only equal strings are equal.
 */
int
planner_compare_numbers(const char *a, const char *b)
{
	const char *x = a;
	const char *y = b;

	while (*x && *y)
	{
		if (is_digit(*x) && is_digit(*y))
		{
			int			cmp = compare_digit_runs(&x, &y);

			if (cmp != 0)
				return cmp;
		}
		else if (*x != *y)
			return (unsigned char) *x < (unsigned char) *y ? -1 : 1;
		else
		{
			x++;
			y++;
		}
	}
	if (*x || *y)
		return *x ? 1 : -1;
	return strcmp(a, b);
}

/* Natural order of two tables, given by index; total even if numbers repeat. */
static int
compare_tables(const PlannerProblem *problem, int a, int b)
{
	const PlannerTable *x = &problem->tables[a];
	const PlannerTable *y = &problem->tables[b];
	int			cmp = planner_compare_numbers(x->number, y->number);

	if (cmp == 0)
		cmp = memcmp(&x->id, &y->id, sizeof(pg_uuid_t));
	return cmp != 0 ? cmp : a - b;
}

static int
compare_tables_arg(const void *a, const void *b, void *problem)
{
	return compare_tables(problem, *(const int *) a, *(const int *) b);
}

static inline bool
seats_alone(const PlannerTable *table, int party)
{
	return table->usable && table->min_party <= party &&
		table->capacity >= party && table->max_party >= party;
}

/*
 * May the table be part of a merge?  The bounds rely on seats that only grow,
 * so a table with a negative number of them takes no part.
 */
static inline bool
may_merge(const PlannerTable *table, int party)
{
	return table->usable && table->movable && table->has_zone &&
		table->min_party <= party &&
		table->capacity >= 0 && table->max_party >= 0 &&
		!(table->capacity >= party && table->max_party >= party);
}

/*
 * Zones
 */

/* The table's zone, added if it is new; tables tend to come zone by zone. */
static int
find_zone(Search *search, const PlannerTable *table)
{
	Zone	   *zone;

	for (int i = search->nzones - 1; i >= 0; i--)
	{
		zone = &search->zones[i];
		if (zone->has_id == table->has_zone &&
			(!zone->has_id ||
			 memcmp(&zone->id, &table->zone_id, sizeof(pg_uuid_t)) == 0))
			return i;
	}

	zone = &search->zones[search->nzones];
	memset(zone, 0, sizeof(Zone));
	zone->has_id = table->has_zone;
	zone->id = table->zone_id;
	return search->nzones++;
}

static void
load_zones(Search *search)
{
	const PlannerProblem *problem = search->problem;

	if (search->zones != NULL)
		return;
	search->zones = palloc(problem->ntables * sizeof(Zone));
	search->zone_of = palloc(problem->ntables * sizeof(int));
	for (int i = 0; i < problem->ntables; i++)
	{
		const PlannerTable *table = &problem->tables[i];
		Zone	   *zone;

		search->zone_of[i] = find_zone(search, table);
		zone = &search->zones[search->zone_of[i]];
		zone->seats += Max(table->capacity, 0);
		if (table->taken)
			zone->taken += Max(table->capacity, 0);
	}
}

static void
reset_supplies(Search *search)
{
	for (int i = 0; i < search->nzones; i++)
	{
		Supply	   *supply = &search->zones[i].supply;

		memset(supply, 0, sizeof(Supply));
		supply->sums[0] = 1;
	}
}

static void
supply_add(Supply *supply, int capacity, int max_party, int max_tables)
{
	int			shift = Min(capacity, SUM_LIMIT);

	for (int count = max_tables; count > 0; count--)
	{
		uint64		fewer = supply->sums[count - 1];

		supply->sums[count] |= fewer << shift;
		if (fewer >> (SUM_LIMIT - shift))
			supply->sums[count] |= UINT64CONST(1) << SUM_LIMIT;
	}
	supply->most_seats = Max(supply->most_seats, capacity);
	supply->most_party = Max(supply->most_party, max_party);
	supply->most_spare = Max(supply->most_spare, max_party - capacity);
}

/*
 * By how much at least count tables of the supply exceed the seats needed;
 * -1 if they can't reach them.
 */
static inline int64
least_excess(const Supply *supply, int count, int64 needed)
{
	uint64		sums = supply->sums[count];
	int			from = (int) Max(needed, 0);

	if (count * (int64) supply->most_seats < needed)
		return -1;
	if (needed >= SUM_LIMIT)
		return (sums >> SUM_LIMIT) ? 0 : -1;
	sums >>= from;
	if (sums == 0)
		return -1;
	return from + pg_rightmost_one_pos64(sums) - needed;
}

/*
 * Could some merge, by its seats alone, come before the rival?  As the rival
 * is a single table, the merge would have to waste less.
 */
static bool
some_merge_could_win(Search *search, const PlannerPlan *rival)
{
	const PlannerProblem *problem = search->problem;

	if (search->max_tables < 2 || (rival != NULL && rival->waste == 0))
		return false;

	load_zones(search);
	reset_supplies(search);
	for (int i = 0; i < problem->ntables; i++)
	{
		const PlannerTable *table = &problem->tables[i];

		if (may_merge(table, search->party))
			supply_add(&search->zones[search->zone_of[i]].supply,
					   table->capacity, table->max_party, search->max_tables);
	}

	for (int i = 0; i < search->nzones; i++)
	{
		const Supply *supply = &search->zones[i].supply;

		for (int count = 2; count <= search->max_tables; count++)
		{
			int64		waste = least_excess(supply, count, search->party);

			if (waste >= 0 && (rival == NULL || waste < rival->waste) &&
				count * (int64) supply->most_party >= search->party)
				return true;
		}
	}
	return false;
}

/*
 * Records of success
 */

static int
compare_ints(const void *a, const void *b)
{
	int			x = *(const int *) a;
	int			y = *(const int *) b;

	return (x > y) - (x < y);
}

static int
compare_records(const void *a, const void *b)
{
	const PlannerRecord *x = a;
	const PlannerRecord *y = b;

	if (x->ntables != y->ntables)
		return x->ntables < y->ntables ? -1 : 1;
	for (int i = 0; i < x->ntables; i++)
	{
		if (x->tables[i] != y->tables[i])
			return x->tables[i] < y->tables[i] ? -1 : 1;
	}
	return 0;
}

static bool
record_is_valid(const PlannerRecord *record, int ntables)
{
	for (int i = 0; i < record->ntables; i++)
	{
		if (record->tables[i] < 0 || record->tables[i] >= ntables ||
			(i > 0 && record->tables[i] == record->tables[i - 1]))
			return false;
	}
	return true;
}

/* Sort the tables of each record, then the records; add up equal sets. */
static void
load_records(Search *search)
{
	const PlannerProblem *problem = search->problem;
	PlannerRecord *records;
	int			n = 0;

	if (problem->nrecords <= 0)
		return;
	records = palloc(problem->nrecords * sizeof(PlannerRecord));
	for (int i = 0; i < problem->nrecords; i++)
	{
		records[n] = problem->records[i];
		if (records[n].ntables < 1 || records[n].ntables > PLANNER_MAX_TABLES)
			continue;
		qsort(records[n].tables, records[n].ntables, sizeof(int), compare_ints);
		if (record_is_valid(&records[n], problem->ntables))
			n++;
	}
	qsort(records, n, sizeof(PlannerRecord), compare_records);

	for (int i = 0; i < n; i++)
	{
		PlannerRecord *last = i > 0 ? &records[search->nrecords - 1] : NULL;

		if (last != NULL && compare_records(last, &records[i]) == 0)
		{
			last->tries += records[i].tries;
			last->successes += records[i].successes;
		}
		else
			records[search->nrecords++] = records[i];
	}
	search->records = records;
}

/* The record of a set of tables in any order, NULL if it has none. */
static const PlannerRecord *
find_record(const Search *search, int ntables, const int *tables)
{
	PlannerRecord key = {.ntables = ntables};

	if (search->nrecords == 0)
		return NULL;
	memcpy(key.tables, tables, ntables * sizeof(int));
	if (ntables > 1)
		qsort(key.tables, ntables, sizeof(int), compare_ints);
	return bsearch(&key, search->records, search->nrecords,
				   sizeof(PlannerRecord), compare_records);
}

/*
 * Terms
 */

static int64
success_term(const PlannerRecord *record)
{
	int64		tries = record ? Max(record->tries, 0) : 0;
	int64		successes = record ? Max(record->successes, 0) : 0;

	return -(successes + 1) * TERM_UNIT / (tries + 2);
}

static int64
load_term(const Search *search, int table)
{
	const Zone *zone = &search->zones[search->zone_of[table]];

	return zone->seats > 0 ? zone->taken * TERM_UNIT / zone->seats : 0;
}

static bool
is_outside(const PlannerProblem *problem, const PlannerTable *table)
{
	return problem->has_zone &&
		(!table->has_zone ||
		 memcmp(&table->zone_id, &problem->zone_id, sizeof(pg_uuid_t)) != 0);
}

static int64
single_term(const Search *search, int table)
{
	const PlannerProblem *problem = search->problem;

	switch (problem->strategy)
	{
		case STRATEGY_OPTIMAL_FIT:
			return problem->tables[table].movable ? 1 : 0;
		case STRATEGY_ADJACENCY:
			return 0;
		case STRATEGY_ZONE_PREFERENCE:
			return is_outside(problem, &problem->tables[table]) ? 1 : 0;
		case STRATEGY_LOAD_BALANCING:
			return load_term(search, table);
		case STRATEGY_HISTORICAL_SUCCESS:
			return success_term(find_record(search, 1, &table));
	}
	elog(ERROR, "unexpected strategy %d", (int) problem->strategy);
}

/*
 * The term of a set of the size sought, in the zone of the first chosen one,
 * with that many pairs not adjacent; for a set still to grow, the least that
 * its term can become.  Sets on record are seen to elsewhere.
 */
static inline int64
merge_term(const Search *search, int missing)
{
	const PlannerProblem *problem = search->problem;
	int			table = search->nodes[search->chosen[0]].table;

	switch (problem->strategy)
	{
		case STRATEGY_OPTIMAL_FIT:
			return search->size;
		case STRATEGY_ADJACENCY:
			return missing;
		case STRATEGY_ZONE_PREFERENCE:
			if (is_outside(problem, &problem->tables[table]))
				return search->size;
			return 0;
		case STRATEGY_LOAD_BALANCING:
			return load_term(search, table);
		case STRATEGY_HISTORICAL_SUCCESS:
			return success_term(NULL);
	}
	elog(ERROR, "unexpected strategy %d", (int) problem->strategy);
}

/*
 * The list of plans
 */

/* Compare a score up to the term with a plan's. */
static inline int
compare_scores(int64 waste, int ntables, int64 term, const PlannerPlan *plan)
{
	if (waste != plan->waste)
		return waste < plan->waste ? -1 : 1;
	if (ntables != plan->ntables)
		return ntables < plan->ntables ? -1 : 1;
	if (term != plan->term)
		return term < plan->term ? -1 : 1;
	return 0;
}

static int
compare_plans(const Search *search, const PlannerPlan *a, const PlannerPlan *b)
{
	int			cmp = compare_scores(a->waste, a->ntables, a->term, b);

	for (int i = 0; cmp == 0 && i < a->ntables; i++)
	{
		int			x = a->tables[i];
		int			y = b->tables[i];

		if (x == y)
			continue;
		if (a->ntables == 1)
			cmp = compare_tables(search->problem, x, y);
		else
			cmp = search->node_of[x] - search->node_of[y];
	}
	return cmp;
}

/* The plan to come before, NULL as long as there is room. */
static inline const PlannerPlan *
last_plan(const Search *search)
{
	if (search->nplans < search->max_plans)
		return NULL;
	return &search->plans[search->nplans - 1];
}

static void
keep_plan(Search *search, const PlannerPlan *plan)
{
	const PlannerPlan *last = last_plan(search);
	int			pos;

	if (last == NULL)
		pos = search->nplans++;
	else if (compare_plans(search, plan, last) < 0)
		pos = search->nplans - 1;
	else
		return;

	for (; pos > 0; pos--)
	{
		if (compare_plans(search, plan, &search->plans[pos - 1]) >= 0)
			break;
		search->plans[pos] = search->plans[pos - 1];
	}
	search->plans[pos] = *plan;
}

static void
try_singles(Search *search)
{
	const PlannerProblem *problem = search->problem;

	for (int i = 0; i < problem->ntables; i++)
	{
		const PlannerTable *table = &problem->tables[i];
		const PlannerPlan *last = last_plan(search);
		PlannerPlan plan = {.ntables = 1};

		if (!seats_alone(table, search->party))
			continue;
		plan.tables[0] = i;
		plan.capacity = table->capacity;
		plan.waste = table->capacity - search->party;
		if (last != NULL && plan.waste > last->waste)
			continue;
		plan.term = single_term(search, i);
		keep_plan(search, &plan);
	}
}

/*
 * The graph of tables that may merge
 */

static bool
edge_counts(const Search *search, const PlannerEdge *edge)
{
	const PlannerProblem *problem = search->problem;

	return edge->a >= 0 && edge->a < problem->ntables &&
		edge->b >= 0 && edge->b < problem->ntables &&
		edge->a != edge->b &&
		search->zone_of[edge->a] == search->zone_of[edge->b] &&
		may_merge(&problem->tables[edge->a], search->party) &&
		may_merge(&problem->tables[edge->b], search->party);
}

/* Make nodes of the tables that have a neighbour, in natural order. */
static void
load_nodes(Search *search)
{
	const PlannerProblem *problem = search->problem;
	int		   *order = palloc(problem->ntables * sizeof(int));

	search->node_of = palloc(problem->ntables * sizeof(int));
	for (int i = 0; i < problem->ntables; i++)
		search->node_of[i] = NO_NODE;
	for (int i = 0; i < problem->nedges; i++)
	{
		const PlannerEdge *edge = &problem->edges[i];

		if (!edge_counts(search, edge))
			continue;
		search->node_of[edge->a] = 0;
		search->node_of[edge->b] = 0;
	}
	for (int i = 0; i < problem->ntables; i++)
	{
		if (search->node_of[i] != NO_NODE)
			order[search->nnodes++] = i;
	}
	qsort_arg(order, search->nnodes, sizeof(int), compare_tables_arg,
			  unconstify(PlannerProblem *, problem));

	search->nodes = palloc0(search->nnodes * sizeof(Node));
	for (int i = 0; i < search->nnodes; i++)
	{
		Node	   *node = &search->nodes[i];

		node->table = order[i];
		node->capacity = problem->tables[order[i]].capacity;
		node->max_party = problem->tables[order[i]].max_party;
		node->zone = search->zone_of[order[i]];
		search->node_of[order[i]] = i;
	}
	pfree(order);
}

/*
 * List each node's neighbours.  The edges are written down under both their
 * ends as they come, and then copied from there under the other end: as that
 * pass runs through the nodes in order, the lists come out ascending, and a
 * repeated edge stands next to its first copy.
 */
static void
load_neighbours(Search *search)
{
	const PlannerProblem *problem = search->problem;
	Node	   *nodes = search->nodes;
	int		   *ends = palloc0((search->nnodes + 1) * sizeof(int));
	int		   *raw = palloc(2 * problem->nedges * sizeof(int));

	search->neighbours = palloc(2 * problem->nedges * sizeof(int));
	for (int i = 0; i < problem->nedges; i++)
	{
		if (!edge_counts(search, &problem->edges[i]))
			continue;
		ends[search->node_of[problem->edges[i].a] + 1]++;
		ends[search->node_of[problem->edges[i].b] + 1]++;
	}
	for (int i = 0; i < search->nnodes; i++)
	{
		ends[i + 1] += ends[i];
		nodes[i].first = nodes[i].end = ends[i];
	}
	for (int i = 0; i < problem->nedges; i++)
	{
		int			a;
		int			b;

		if (!edge_counts(search, &problem->edges[i]))
			continue;
		a = search->node_of[problem->edges[i].a];
		b = search->node_of[problem->edges[i].b];
		raw[ends[a]++] = b;
		raw[ends[b]++] = a;
	}
	for (int i = 0; i < search->nnodes; i++)
	{
		for (int k = nodes[i].first; k < ends[i]; k++)
		{
			Node	   *other = &nodes[raw[k]];

			if (other->end == other->first ||
				search->neighbours[other->end - 1] != i)
				search->neighbours[other->end++] = i;
		}
	}
	pfree(ends);
	pfree(raw);
}

/* Note for each node what the later ones of its zone can add. */
static void
load_beyond(Search *search)
{
	search->beyond = palloc(search->nnodes * sizeof(Supply));
	reset_supplies(search);
	for (int i = search->nnodes - 1; i >= 0; i--)
	{
		const Node *node = &search->nodes[i];
		Supply	   *supply = &search->zones[node->zone].supply;

		search->beyond[i] = *supply;
		supply_add(supply, node->capacity, node->max_party,
				   search->max_tables);
	}
}

static bool
are_adjacent(const Search *search, int a, int b)
{
	int			low = search->nodes[a].first;
	int			high = search->nodes[a].end - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;

		if (search->neighbours[middle] == b)
			return true;
		if (search->neighbours[middle] < b)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return false;
}

/* Fill in each chosen node's adjacent chosen nodes, as a set of bits. */
static void
load_links(const Search *search, int size, int *links)
{
	for (int i = 0; i < size; i++)
	{
		links[i] = 0;
		for (int k = 0; k < size; k++)
		{
			if (are_adjacent(search, search->chosen[i], search->chosen[k]))
				links[i] |= 1 << k;
		}
	}
}

/* Are the members, a set of bits, connected with each other? */
static bool
is_connected(const int *links, int members)
{
	int			reached = members & -members;
	int			before;

	do
	{
		before = reached;
		for (int i = 0; i < PLANNER_MAX_TABLES; i++)
		{
			if (reached & (1 << i))
				reached |= links[i] & members;
		}
	} while (reached != before);
	return reached == members;
}

/*
 * Merges
 */

/* Is no table superfluous?  The chosen set seats the party; see the top. */
static bool
is_minimal(const Search *search, const Partial *set)
{
	int			links[PLANNER_MAX_TABLES] = {0};
	bool		loaded = false;

	for (int i = 0; i < set->size; i++)
	{
		const Node *node = &search->nodes[search->chosen[i]];

		if (set->seats - node->capacity < search->party ||
			set->max_party - node->max_party < search->party)
			continue;
		if (!loaded)
			load_links(search, set->size, links);
		loaded = true;
		if (is_connected(links, ((1 << set->size) - 1) & ~(1 << i)))
			return false;
	}
	return true;
}

/* Keep the chosen set, which seats the party, if it comes before others. */
static void
keep_merge(Search *search, const Partial *set, int64 term)
{
	const PlannerPlan *last = last_plan(search);
	PlannerPlan plan = {.ntables = set->size};

	plan.capacity = (int) Min(set->seats, PG_INT32_MAX);
	plan.waste = plan.capacity - search->party;
	plan.term = term;
	for (int i = 0; i < set->size; i++)
	{
		int			node = search->chosen[i];
		int			pos = i;

		/* nodes are in natural order, so sort by them */
		for (; pos > 0 && search->node_of[plan.tables[pos - 1]] > node; pos--)
			plan.tables[pos] = plan.tables[pos - 1];
		plan.tables[pos] = search->nodes[node].table;
	}
	if (last != NULL && compare_plans(search, &plan, last) >= 0)
		return;
	if (is_minimal(search, set))
		keep_plan(search, &plan);
}

/* The search arrives at a set that seats the party. */
static void
offer_merge(Search *search, const Partial *set)
{
	const PlannerPlan *last = last_plan(search);
	int64		waste = set->seats - search->party;
	int64		term;

	if (last != NULL && waste > last->waste)
		return;
	term = merge_term(search, set->missing);
	if (last != NULL)
	{
		int			cmp = compare_scores(waste, set->size, term, last);

		if (cmp > 0 ||
			(cmp == 0 && search->chosen[0] > search->node_of[last->tables[0]]))
			return;
	}
	if (search->nrecords > 0)
	{
		int			tables[PLANNER_MAX_TABLES];

		for (int i = 0; i < set->size; i++)
			tables[i] = search->nodes[search->chosen[i]].table;
		if (find_record(search, set->size, tables) != NULL)
			return;				/* by try_records() */
	}
	keep_merge(search, set, term);
}

/* Choose the record's tables, if they are a merge that seats the party. */
static bool
choose_record(Search *search, const PlannerRecord *record, Partial *set)
{
	int			links[PLANNER_MAX_TABLES] = {0};

	memset(set, 0, sizeof(Partial));
	if (record->ntables < 2 || record->ntables > search->max_tables)
		return false;
	for (int i = 0; i < record->ntables; i++)
	{
		int			node = search->node_of[record->tables[i]];

		if (node == NO_NODE)
			return false;
		search->chosen[set->size++] = node;
		set->seats += search->nodes[node].capacity;
		set->max_party += search->nodes[node].max_party;
	}
	if (set->seats < search->party || set->max_party < search->party)
		return false;
	load_links(search, set->size, links);
	return is_connected(links, (1 << set->size) - 1);
}

/* Try the merges on record first: all others then have the same term. */
static void
try_records(Search *search)
{
	for (int i = 0; i < search->nrecords; i++)
	{
		const PlannerRecord *record = &search->records[i];
		Partial		set;

		if (choose_record(search, record, &set))
			keep_merge(search, &set, success_term(record));
	}
}

static bool
is_chosen(const Search *search, int size, int node)
{
	for (int i = 0; i < size; i++)
	{
		if (search->chosen[i] == node)
			return true;
	}
	return false;
}

/*
 * Could the chosen nodes, grown to as many as the plan has, come before it by
 * their numbers?  Follow the plan's nodes in order.  A node before the next
 * one of the plan, if it is chosen or may be, decides for us.  If the next one
 * itself can't be had, that decides against us.
 */
static bool
numbers_could_win(const Search *search, int size, const PlannerPlan *plan)
{
	int			previous = search->node_of[plan->tables[0]];
	int			zone = search->nodes[search->chosen[0]].zone;
	int			free = plan->ntables - size;

	if (search->chosen[0] != previous)
		return search->chosen[0] < previous;

	for (int i = 1; i < plan->ntables; i++)
	{
		int			next = search->node_of[plan->tables[i]];

		for (int node = previous + 1; node < next; node++)
		{
			if (is_chosen(search, size, node) ||
				(free > 0 && !search->passed[node] &&
				 search->nodes[node].zone == zone))
				return true;
		}
		if (!is_chosen(search, size, next))
		{
			if (free == 0 || search->passed[next])
				return false;
			free--;
		}
		previous = next;
	}
	return false;
}

/*
 * Could the chosen set, which doesn't seat the party yet, grow into a plan of
 * the size sought?
 */
static bool
growth_could_win(const Search *search, const Partial *set)
{
	const PlannerPlan *last = last_plan(search);
	const Supply *beyond = &search->beyond[search->chosen[0]];
	int			count = search->size - set->size;
	int64		waste;
	int			cmp;

	waste = least_excess(beyond, count, search->party - set->seats);
	if (waste < 0 ||
		set->max_party + count * (int64) beyond->most_party < search->party)
		return false;
	if (last == NULL)
		return true;

	/* as max_party comes to the party at least, what it lacks is wasted */
	waste = Max(waste, set->seats - set->max_party -
				count * (int64) beyond->most_spare);
	if (waste > last->waste)
		return false;
	cmp = compare_scores(waste, search->size,
						 merge_term(search, set->missing), last);
	return cmp < 0 ||
		(cmp == 0 && numbers_could_win(search, set->size, last));
}

/* Queue a chosen node's new neighbours at the tail, and return the new tail. */
static inline int
push_neighbours(Search *search, int node, int tail)
{
	for (int i = search->nodes[node].first; i < search->nodes[node].end; i++)
	{
		int			other = search->neighbours[i];

		if (search->touches[other]++ == 0 && other > search->chosen[0])
			search->queue[tail++] = other;
	}
	return tail;
}

static inline void
pop_neighbours(Search *search, int node)
{
	for (int i = search->nodes[node].first; i < search->nodes[node].end; i++)
		search->touches[search->neighbours[i]]--;
}

/*
 * Visit every connected set of the size sought that consists of the chosen one,
 * at least one of queue[head .. tail - 1] and, beyond that, only what is new to
 * the queue.
 */
static void
grow(Search *search, const Partial *set, int head, int tail)
{
	bool		complete = set->size + 1 == search->size;

	CHECK_FOR_INTERRUPTS();

	for (int i = head; i < tail; i++)
	{
		int			node = search->queue[i];
		Partial		next = *set;

		search->chosen[next.size++] = node;
		next.missing += set->size - search->touches[node];
		next.seats += search->nodes[node].capacity;
		next.max_party += search->nodes[node].max_party;

		if (next.seats >= search->party && next.max_party >= search->party)
		{
			if (complete)
				offer_merge(search, &next);
		}
		else if (!complete && growth_could_win(search, &next))
		{
			grow(search, &next, i + 1, push_neighbours(search, node, tail));
			pop_neighbours(search, node);
		}
		search->passed[node] = true;
	}
	for (int i = head; i < tail; i++)
		search->passed[search->queue[i]] = false;
}

/* Visit every connected set of the size sought. */
static void
grow_all(Search *search)
{
	for (int i = 0; i < search->nnodes; i++)
	{
		Partial		set = {.size = 1};

		search->chosen[0] = i;
		set.seats = search->nodes[i].capacity;
		set.max_party = search->nodes[i].max_party;
		if (!growth_could_win(search, &set))
			continue;
		grow(search, &set, 0, push_neighbours(search, i, 0));
		pop_neighbours(search, i);
	}
}

static void
try_merges(Search *search)
{
	load_nodes(search);
	load_neighbours(search);
	load_beyond(search);
	search->queue = palloc(search->nnodes * sizeof(int));
	search->touches = palloc0(search->nnodes * sizeof(uint8));
	search->passed = palloc0(search->nnodes * sizeof(bool));

	try_records(search);
	for (search->size = 2; search->size <= search->max_tables; search->size++)
		grow_all(search);

	pfree(search->passed);
	pfree(search->touches);
	pfree(search->queue);
	pfree(search->beyond);
	pfree(search->neighbours);
	pfree(search->nodes);
	pfree(search->node_of);
}

static void
begin_search(Search *search, const PlannerProblem *problem,
			 int max_plans, PlannerPlan *plans)
{
	memset(search, 0, sizeof(Search));
	search->problem = problem;
	search->party = problem->party_size;
	search->max_tables = Min(problem->max_tables, PLANNER_MAX_TABLES);
	search->max_plans = max_plans;
	search->plans = plans;
}

static void
end_search(Search *search)
{
	if (search->zones != NULL)
	{
		pfree(search->zones);
		pfree(search->zone_of);
	}
	if (search->records != NULL)
		pfree(search->records);
}

/*
 * Fill in the best plans, the best first, and return how many there are.  The
 * first one is the optimum; the list holds minimal sets only.
 */
int
planner_best_plans(const PlannerProblem *problem, int max_plans,
				   PlannerPlan *plans)
{
	Search		search;

	if (problem->party_size <= 0 || problem->ntables <= 0 || max_plans <= 0)
		return 0;

	begin_search(&search, problem, max_plans, plans);
	if (problem->strategy == STRATEGY_LOAD_BALANCING)
		load_zones(&search);
	if (problem->strategy == STRATEGY_HISTORICAL_SUCCESS)
		load_records(&search);

	try_singles(&search);
	if (problem->nedges > 0 &&
		some_merge_could_win(&search, last_plan(&search)))
		try_merges(&search);

	end_search(&search);
	return search.nplans;
}

/*
 * Are the edges worth loading at all, given the best single table, or NULL if
 * none seats the party?  Looks at the seats of the tables alone, never at the
 * edges.  False means that no adjacencies whatever would yield a better plan;
 * it says nothing about the plans after the best.
 */
bool
planner_merge_could_win(const PlannerProblem *problem,
						const PlannerPlan *best_single)
{
	Search		search;
	bool		result;

	if (problem->party_size <= 0 || problem->ntables <= 0)
		return false;

	begin_search(&search, problem, 0, NULL);
	result = some_merge_could_win(&search, best_single);
	end_search(&search);
	return result;
}
