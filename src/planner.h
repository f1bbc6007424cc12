/*-------------------------------------------------------------------------
 *
 * planner.h
 *		The best plan for a party over in-memory arrays.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PLANNER_H
#define PLANNER_H

#include "postgres.h"
#include "utils/uuid.h"

/* upper limit of assignment_v3.max_tables */
#define PLANNER_MAX_TABLES 6

/* covers left over beyond this many weigh before everything else */
#define PLANNER_TOLERATED_WASTE 4

typedef enum PlannerStrategy
{
	STRATEGY_OPTIMAL_FIT,
	STRATEGY_ADJACENCY,
	STRATEGY_ZONE_PREFERENCE,
	STRATEGY_LOAD_BALANCING,
	STRATEGY_HISTORICAL_SUCCESS
} PlannerStrategy;

#define STRATEGY_COUNT (STRATEGY_HISTORICAL_SUCCESS + 1)

/* One table of the restaurant.  Unusable ones count for load_balancing only. */
typedef struct PlannerTable
{
	pg_uuid_t	id;
	const char *number;			/* table_number, never NULL */
	bool		has_zone;
	pg_uuid_t	zone_id;
	int			capacity;
	int			min_party;
	int			max_party;
	bool		movable;
	bool		usable;			/* may be planned: in service, free, unlocked */
	bool		taken;			/* seats somebody during the window */
} PlannerTable;

/* Two adjacent tables, as indexes into the array of tables; may repeat. */
typedef struct PlannerEdge
{
	int			a;
	int			b;
} PlannerEdge;

/* How often a set of tables was tried for this party size, and held. */
typedef struct PlannerRecord
{
	int			ntables;
	int			tables[PLANNER_MAX_TABLES];
	int			tries;
	int			successes;
} PlannerRecord;

typedef struct PlannerProblem
{
	int			party_size;
	int			max_tables;		/* 1 .. PLANNER_MAX_TABLES */
	PlannerStrategy strategy;
	bool		has_zone;		/* the booking's assigned zone, if any */
	pg_uuid_t	zone_id;
	int			ntables;
	PlannerTable *tables;
	int			nedges;
	PlannerEdge *edges;
	int			nrecords;
	PlannerRecord *records;
} PlannerProblem;

/* A candidate set, its tables in natural order of their numbers. */
typedef struct PlannerPlan
{
	int			ntables;
	int			tables[PLANNER_MAX_TABLES];
	int			capacity;
	int			waste;			/* capacity beyond the party */
	int64		term;			/* the strategy's term, lower is better */
} PlannerPlan;

extern const char *strategy_name(PlannerStrategy strategy);
extern PlannerStrategy strategy_for_attempt(int attempts);
extern int	planner_compare_numbers(const char *a, const char *b);
extern int	planner_best_plans(const PlannerProblem *problem, int max_plans,
							   PlannerPlan *plans);
extern bool planner_merge_could_win(const PlannerProblem *problem,
									const PlannerPlan *best_single);

#endif							/* PLANNER_H */
