/*-------------------------------------------------------------------------
 *
 * seating.h
 *		From a booking to the tables that could seat it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SEATING_H
#define SEATING_H

#include "postgres.h"
#include "planner.h"
#include "store.h"

/* plans that are looked at together, at the most */
#define SEATING_MAX_PLANS 16

typedef struct Seating
{
	const BookingRecord *booking;
	TimestampTz now;
	Floor		floor;
	PlannerProblem problem;
	bool		has_edges;
	int			round;			/* looks at tables so far */
	int			nplans;			/* the best plans as of now, best first */
	PlannerPlan plans[SEATING_MAX_PLANS];
} Seating;

extern void seating_read(Seating *seating, const BookingRecord *booking,
						 PlannerStrategy strategy, TimestampTz now);
extern bool seating_best(Seating *seating, PlannerPlan *best);
extern bool seating_look(Seating *seating, const PlannerPlan *best);
extern void seating_table_ids(const Seating *seating, const PlannerPlan *plan,
							  pg_uuid_t *table_ids);
extern bool booking_has_window(const BookingRecord *booking);
extern void require_window(const BookingRecord *booking);

#endif							/* SEATING_H */
