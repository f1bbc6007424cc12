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
 * tables turn out to be free is the best one of the real floor too.  The first
 * look is at the best plan alone, later ones at more and more, the last at
 * everything that is left.  Load balancing weighs what is taken in a whole
 * zone, so it looks at everything at once.
 *
 * plan(), explain() and alternatives() show the same to people; they write
 * nothing and take no locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "binding.h"
#include "catalog/pg_type.h"
#include "flags.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "seating.h"
#include "sqlstates.h"
#include "transition.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(assignment_plan);
PG_FUNCTION_INFO_V1(assignment_explain);
PG_FUNCTION_INFO_V1(assignment_alternatives);

#define MAX_PLANS 100

/* alternatives() looks at starts of a grid through the booking's own */
#define SHIFT_STEP (15 * USECS_PER_MINUTE)
#define MAX_SHIFT (12 * USECS_PER_HOUR)

bool
booking_has_window(const BookingRecord *booking)
{
	return booking->has_start && booking->has_end && booking->start_at < booking->end_at &&
		!TIMESTAMP_NOT_FINITE(booking->start_at) && !TIMESTAMP_NOT_FINITE(booking->end_at);
}

/*
 * Plans whose tables are looked at together, round by round: mostly the best
 * one stands, and where it does not, a full floor is known in a few looks.
 */
static const int plans_per_round[] = {1, 1, 2, 4, SEATING_MAX_PLANS};

/* Look at the wanted tables, or at all that are not known yet. */
static void
probe(Seating *seating, const bool *wanted)
{
	Floor	   *floor = &seating->floor;
	int		   *tables = palloc(sizeof(int) * Max(floor->ntables, 1));
	int			ntables = 0;

	for (int i = 0; i < floor->ntables; i++)
	{
		if (wanted == NULL ? !floor->known[i] : wanted[i])
			tables[ntables++] = i;
	}
	if (ntables > 0)
		store_probe_floor(seating->booking, seating->now, floor, tables, ntables);
}

/* Want the tables of a plan: all of them, or only those that are not known yet. */
static void
want(const Seating *seating, const PlannerPlan *plan, bool again, bool *wanted)
{
	for (int i = 0; i < plan->ntables; i++)
	{
		if (again || !seating->floor.known[plan->tables[i]])
			wanted[plan->tables[i]] = true;
	}
}

/* For what people ask of a booking, which needs a window to be answered. */
void
require_window(const BookingRecord *booking)
{
	if (!booking_has_window(booking))
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("booking %s has no valid window", uuid_text(&booking->id)),
				 errhint("Set start_at before end_at, and neither to null.")));
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
	lookup_floor(&booking->restaurant_id, &seating->floor);
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

/*
 * The best plan as far as the tables are known.  Tables made unusable since
 * the floor was read are left out.
 */
bool
seating_best(Seating *seating, PlannerPlan *best)
{
	bool		more = seating->round < (int) lengthof(plans_per_round);

	seating->nplans = best_as_known(seating, more ? plans_per_round[seating->round] : 1,
									seating->plans);
	if (seating->nplans > 0)
		*best = seating->plans[0];
	return seating->nplans > 0;
}

/*
 * Look at the tables of the best plan with a fresh snapshot, and on the way at
 * those that may be wanted next; whether the plan still stands.
 */
bool
seating_look(Seating *seating, const PlannerPlan *best)
{
	bool	   *wanted = palloc0(sizeof(bool) * Max(seating->floor.ntables, 1));

	for (int i = 0; i < seating->nplans; i++)
		want(seating, &seating->plans[i], i == 0, wanted);
	if (seating->round >= (int) lengthof(plans_per_round))
	{
		for (int i = 0; i < seating->floor.ntables; i++)
			wanted[i] |= !seating->floor.known[i];
	}
	probe(seating, wanted);
	seating->round++;
	for (int i = 0; i < best->ntables; i++)
	{
		if (!seating->floor.tables[best->tables[i]].usable)
			return false;
	}
	return true;
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
	require_window(booking);
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

/* The tables of a plan, by id and by number. */
static void
plan_arrays(const Seating *seating, const PlannerPlan *plan, Datum *table_ids, Datum *table_numbers)
{
	Datum		ids[PLANNER_MAX_TABLES];
	Datum		numbers[PLANNER_MAX_TABLES];

	for (int i = 0; i < plan->ntables; i++)
	{
		const PlannerTable *table = &seating->floor.tables[plan->tables[i]];

		ids[i] = UUIDPGetDatum(&table->id);
		numbers[i] = CStringGetTextDatum(table->number);
	}
	*table_ids = PointerGetDatum(construct_array(ids, plan->ntables, UUIDOID, UUID_LEN, false,
												 TYPALIGN_CHAR));
	*table_numbers = PointerGetDatum(construct_array(numbers, plan->ntables, TEXTOID, -1, false,
													 TYPALIGN_INT));
}

static void
put_plan(ReturnSetInfo *rsinfo, const Seating *seating, const PlannerPlan *plan, int rank)
{
	Datum		values[7];
	bool		nulls[7] = {0};

	values[0] = Int32GetDatum(rank);
	plan_arrays(seating, plan, &values[1], &values[2]);
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
	binding_materialize(fcinfo, 7);
	binding_require_whole();
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

	binding_materialize(fcinfo, 4);
	binding_require_whole();
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

/* Put the best plan for the booking at another time, if there is one; returns the number of rows. */
static int
put_alternative(ReturnSetInfo *rsinfo, const BookingRecord *booking, int64 shift, TimestampTz now)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "alternative",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	BookingRecord moved = *booking;
	Seating		seating;
	PlannerPlan plan;
	Datum		values[6];
	bool		nulls[6] = {0};
	int			nplans = 0;

	moved.start_at += shift;
	moved.end_at += shift;
	if (moved.start_at >= now)
	{
		seating_read(&seating, &moved, strategy_for_attempt(0), now);
		nplans = seating_list(&seating, 1, &plan);
	}
	if (nplans > 0)
	{
		values[0] = TimestampTzGetDatum(moved.start_at);
		values[1] = TimestampTzGetDatum(moved.end_at);
		plan_arrays(&seating, &plan, &values[2], &values[3]);
		values[4] = Int32GetDatum(plan.capacity);
		values[5] = Int32GetDatum(plan.waste);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	return nplans;
}

/* How far from the booking's start alternatives() may look, in microseconds. */
static int64
shift_limit(const BookingRecord *booking, Interval *within)
{
	TimestampTz latest = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
																 TimestampTzGetDatum(booking->start_at),
																 IntervalPGetDatum(within)));

	if (latest < booking->start_at || latest - booking->start_at > MAX_SHIFT)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("within must be between 0 and %d hours", (int) (MAX_SHIFT / USECS_PER_HOUR))));
	return latest - booking->start_at;
}

/*
 * alternatives(booking_id uuid, within interval, max_times int) returns the
 * nearest times at which there is room, the booking's own among them.
 */
Datum
assignment_alternatives(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const pg_uuid_t *booking_id = required_uuid(fcinfo, 0, "booking_id");
	int			max_times = PG_ARGISNULL(2) ? 3 : PG_GETARG_INT32(2);
	Interval	within = {.time = 2 * USECS_PER_HOUR};
	TimestampTz now = GetCurrentTimestamp();
	BookingRecord booking;
	StoreScope	scope;
	int64		limit;
	int			ntimes = 0;

	if (!PG_ARGISNULL(1))
		within = *PG_GETARG_INTERVAL_P(1);
	if (max_times < 1 || max_times > MAX_PLANS)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("max_times must be between 1 and %d", MAX_PLANS)));
	binding_materialize(fcinfo, 6);
	binding_require_whole();
	store_enter(&scope);
	load_booking(booking_id, &booking);
	limit = shift_limit(&booking, &within);
	for (int64 shift = 0; shift <= limit && ntimes < max_times; shift += SHIFT_STEP)
	{
		CHECK_FOR_INTERRUPTS();
		ntimes += put_alternative(rsinfo, &booking, -shift, now);
		if (shift > 0 && ntimes < max_times)
			ntimes += put_alternative(rsinfo, &booking, shift, now);
	}
	store_leave(&scope);
	return (Datum) 0;
}
