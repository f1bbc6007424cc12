/*-------------------------------------------------------------------------
 *
 * states.h
 *		The state machine of a booking's assignment.
 *
 *-------------------------------------------------------------------------
 */
#ifndef STATES_H
#define STATES_H

#include "postgres.h"
#include "lib/stringinfo.h"

typedef enum AssignmentState
{
	STATE_CREATED,
	STATE_CAPACITY_VERIFIED,
	STATE_ASSIGNMENT_PENDING,
	STATE_ASSIGNMENT_IN_PROGRESS,
	STATE_ASSIGNED,
	STATE_CONFIRMED,
	STATE_FAILED,
	STATE_MANUAL_REVIEW
} AssignmentState;

#define STATE_COUNT (STATE_MANUAL_REVIEW + 1)

/* Who may take an edge: everybody, a named function for staff, another writer. */
typedef enum EdgeKind
{
	EDGE_AUTOMATIC,
	EDGE_OPERATOR,
	EDGE_EXTERNAL
} EdgeKind;

#define EDGE_KIND_COUNT (EDGE_EXTERNAL + 1)

/* No walk is longer: created to confirmed takes five hops. */
#define WALK_MAX_HOPS 6

extern const char *state_name(AssignmentState state);
extern bool state_parse(const char *name, AssignmentState *state);
extern AssignmentState state_from_text(const char *name);
extern bool state_is_terminal(AssignmentState state);
extern bool state_edge_is_legal(AssignmentState from, AssignmentState to,
								EdgeKind kind);
extern void state_append_successors(StringInfo buf, AssignmentState from,
									EdgeKind kind);
extern int	state_walk(AssignmentState from, AssignmentState to,
					   bool tried, AssignmentState *hops);

#endif							/* STATES_H */
