/*-------------------------------------------------------------------------
 *
 * seating.c
 *		From a booking to the tables that could seat it.
 *
 * Reads the floor, hands it to the planner, and reads everything else only
 * when it can change the answer.  Adjacencies matter when a merge could beat
 * the best single table, the record of past sets to the strategy that ranks
 * by it.  And whether a table is taken is asked only of tables that the best
 * plans want: a table that is not known yet passes for free, so a plan whose
 * tables are all known to be free is the best one of the real floor too.  The
 * first question is about the best few plans, the second about more, the
 * third about everything that is left.  Load balancing weighs what is taken in
 * a whole zone, so it asks about everything at once.
 *
 * plan() and explain() show the same to people; they write nothing and take
 * no locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "flags.h"
#include "funcapi.h"
#include "seating.h"
#include "sqlstates.h"
#include "transition.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(assignment_plan);
PG_FUNCTION_INFO_V1(assignment_explain);

#define MAX_PLANS 100

bool
booking_has_window(const BookingRecord *booking)
{
	return booking->has_start && booking->has_end && booking->start_at < booking->end_at &&
		!TIMESTAMP_NOT_FINITE(booking->start_at) && !TIMESTAMP_NOT_FINITE(booking->end_at);
}

/* Plans whose tables are asked about together, in the first and second round. */
static const int plans_per_round[] = {4, 16};

#define MOST_PLANS_PER_ROUND 16

/* Find out about those of these tables that are not known yet. */
static void
probe(Seating *seating, const bool *wanted)
{
	Floor	   *floor = &seating->floor;
	int		   *tables = palloc(sizeof(int) * Max(floor->ntables, 1));
	int			ntables = 0;

	for (int i = 0; i < floor->ntables; i++)
	{
		if (!floor->known[i] && (wanted == NULL || wanted[i]))
			tables[ntables++] = i;
	}
	if (ntables > 0)
		store_probe_floor(seating->booking, seating->now, floor, tables, ntables);
}

static void
probe_plans(Seating *seating, const PlannerPlan *plans, int nplans)
{
	bool	   *wanted = palloc0(sizeof(bool) * Max(seating->floor.ntables, 1));

	for (int i = 0; i < nplans; i++)
	{
		for (int j = 0; j < plans[i].ntables; j++)
			wanted[plans[i].tables[j]] = true;
	}
	probe(seating, wanted);
}

static bool
is_known(const Seating *seating, const PlannerPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
	{
		if (!seating->floor.known[plan->tables[i]])
			return false;
	}
	return true;
}

/* Read the floor in the booking's window, which must be a window. */
void
seating_read(Seating *seating, const BookingRecord *booking, PlannerStrategy strategy,
			 TimestampTz now)
{
	PlannerProblem *problem = &seating->problem;

	memset(seating, 0, sizeof(Seating));
	seating->booking = booking;
	seating->now = now;
	store_read_floor(booking, &seating->floor);
	if (strategy == STRATEGY_LOAD_BALANCING)
		probe(seating, NULL);
	if (strategy == STRATEGY_HISTORICAL_SUCCESS)
		store_read_records(booking, &seating->floor);

	problem->party_size = booking->party_size;
	problem->max_tables = flag_max_tables;
	problem->strategy = strategy;
	problem->has_zone = booking->has_zone;
	problem->zone_id = booking->zone_id;
	problem->ntables = seating->floor.ntables;
	problem->tables = seating->floor.tables;
	problem->nrecords = seating->floor.nrecords;
	problem->records = seating->floor.records;
}

static void
read_edges(Seating *seating)
{
	if (seating->has_edges)
		return;
	store_read_edges(&seating->floor);
	seating->problem.nedges = seating->floor.nedges;
	seating->problem.edges = seating->floor.edges;
	seating->has_edges = true;
}

/* The best plans, as far as the tables are known. */
static int
best_as_known(Seating *seating, int max_plans, PlannerPlan *plans)
{
	int			nplans = planner_best_plans(&seating->problem, max_plans, plans);

	if (seating->has_edges ||
		!planner_merge_could_win(&seating->problem, nplans > 0 ? plans : NULL))
		return nplans;
	read_edges(seating);
	return planner_best_plans(&seating->problem, max_plans, plans);
}

/* The best plan.  Tables made unusable since the floor was read are left out. */
bool
seating_best(Seating *seating, PlannerPlan *best)
{
	PlannerPlan plans[MOST_PLANS_PER_ROUND];

	for (int round = 0;; round++)
	{
		int			nplans = best_as_known(seating, round < (int) lengthof(plans_per_round) ?
										   plans_per_round[round] : 1, plans);

		if (nplans == 0)
			return false;
		if (is_known(seating, &plans[0]))
		{
			*best = plans[0];
			return true;
		}
		if (round < (int) lengthof(plans_per_round))
			probe_plans(seating, plans, nplans);
		else
			probe(seating, NULL);
	}
}

/* The best few plans, of a floor that is known in full. */
static int
seating_list(Seating *seating, int max_plans, PlannerPlan *plans)
{
	probe(seating, NULL);
	read_edges(seating);
	return planner_best_plans(&seating->problem, max_plans, plans);
}

void
seating_table_ids(const Seating *seating, const PlannerPlan *plan, pg_uuid_t *table_ids)
{
	for (int i = 0; i < plan->ntables; i++)
		table_ids[i] = seating->floor.tables[plan->tables[i]].id;
}

/* Load the booking of plan() and explain(), which must have a window. */
static void
load_booking(const pg_uuid_t *booking_id, BookingRecord *booking)
{
	store_load_booking(booking_id, booking);
	if (!booking->found)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_NOT_FOUND),
				 errmsg("booking %s does not exist", uuid_text(booking_id))));
	if (!booking_has_window(booking))
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("booking %s has no valid window", uuid_text(booking_id)),
				 errhint("Set start_at before end_at, and neither to null.")));
}

/* The score as an array whose order is the planner's: smaller is better. */
static Datum
score_array(const PlannerPlan *plan)
{
	Datum		score[4] = {
		Int64GetDatum(Max(0, plan->waste - PLANNER_TOLERATED_WASTE)),
		Int64GetDatum(plan->waste),
		Int64GetDatum(plan->ntables),
		Int64GetDatum(plan->term),
	};

	return PointerGetDatum(construct_array(score, lengthof(score), INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
put_plan(ReturnSetInfo *rsinfo, const Seating *seating, const PlannerPlan *plan, int rank)
{
	Datum		ids[PLANNER_MAX_TABLES];
	Datum		numbers[PLANNER_MAX_TABLES];
	Datum		values[7];
	bool		nulls[7] = {0};

	for (int i = 0; i < plan->ntables; i++)
	{
		const PlannerTable *table = &seating->floor.tables[plan->tables[i]];

		ids[i] = UUIDPGetDatum(&table->id);
		numbers[i] = CStringGetTextDatum(table->number);
	}
	values[0] = Int32GetDatum(rank);
	values[1] = PointerGetDatum(construct_array(ids, plan->ntables, UUIDOID, UUID_LEN, false,
												TYPALIGN_CHAR));
	values[2] = PointerGetDatum(construct_array(numbers, plan->ntables, TEXTOID, -1, false,
												TYPALIGN_INT));
	values[3] = CStringGetTextDatum(strategy_name(seating->problem.strategy));
	values[4] = score_array(plan);
	values[5] = Int32GetDatum(plan->capacity);
	values[6] = Int32GetDatum(plan->waste);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * plan(booking_id uuid, max_plans int) returns the best plans by the strategy
 * that the next attempt will use.
 */
Datum
assignment_plan(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const pg_uuid_t *booking_id = required_uuid(fcinfo, 0, "booking_id");
	int			max_plans = PG_ARGISNULL(1) ? 5 : PG_GETARG_INT32(1);
	PlannerPlan plans[MAX_PLANS];
	BookingRecord booking;
	Seating		seating;
	StoreScope	scope;
	int			nplans;

	if (max_plans < 1 || max_plans > MAX_PLANS)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("max_plans must be between 1 and %d", MAX_PLANS)));
	InitMaterializedSRF(fcinfo, 0);
	store_enter(&scope);
	load_booking(booking_id, &booking);
	seating_read(&seating, &booking, strategy_for_attempt(booking.attempts),
				 GetCurrentTimestamp());
	nplans = seating_list(&seating, max_plans, plans);
	for (int i = 0; i < nplans; i++)
		put_plan(rsinfo, &seating, &plans[i], i + 1);
	store_leave(&scope);
	return (Datum) 0;
}

/* explain(booking_id uuid) returns a verdict on every table of the restaurant. */
Datum
assignment_explain(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const pg_uuid_t *booking_id = required_uuid(fcinfo, 0, "booking_id");
	BookingRecord booking;
	TableVerdict *tables;
	StoreScope	scope;
	int			ntables;

	InitMaterializedSRF(fcinfo, 0);
	store_enter(&scope);
	load_booking(booking_id, &booking);
	tables = store_explain(&booking, GetCurrentTimestamp(), &ntables);
	for (int i = 0; i < ntables; i++)
	{
		Datum		values[4];
		bool		nulls[4] = {0};

		values[0] = UUIDPGetDatum(&tables[i].id);
		values[1] = CStringGetTextDatum(tables[i].number);
		values[2] = CStringGetTextDatum(tables[i].verdict);
		nulls[3] = tables[i].detail == NULL;
		if (!nulls[3])
			values[3] = CStringGetTextDatum(tables[i].detail);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	store_leave(&scope);
	return (Datum) 0;
}
