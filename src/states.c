/*-------------------------------------------------------------------------
 *
 * states.c
 *		The state machine of a booking's assignment.
 *
 * One matrix of legal edges per kind of writer is the source of everything
 * that speaks of transitions: the validator behind the triggers, the
 * coordinator's walk, transitions(), allowed_transitions() and the diagram.
 *
 * Everybody may take an automatic edge, with a plain UPDATE too.  Operator
 * edges are taken by requeue(), reopen() and assign() alone, external ones
 * when another writer changes the booking's status.  The module is pure: it
 * knows neither tables nor settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "states.h"
#include "sqlstates.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(assignment_transitions);
PG_FUNCTION_INFO_V1(assignment_allowed_transitions);
PG_FUNCTION_INFO_V1(assignment_state_diagram);

static const char *const state_names[STATE_COUNT] = {
	[STATE_CREATED] = "created",
	[STATE_CAPACITY_VERIFIED] = "capacity_verified",
	[STATE_ASSIGNMENT_PENDING] = "assignment_pending",
	[STATE_ASSIGNMENT_IN_PROGRESS] = "assignment_in_progress",
	[STATE_ASSIGNED] = "assigned",
	[STATE_CONFIRMED] = "confirmed",
	[STATE_FAILED] = "failed",
	[STATE_MANUAL_REVIEW] = "manual_review",
};

static const char *const edge_kind_names[EDGE_KIND_COUNT] = {
	[EDGE_AUTOMATIC] = "automatic",
	[EDGE_OPERATOR] = "operator",
	[EDGE_EXTERNAL] = "external",
};

#define TO(state) (1 << (state))

static const uint16 edges[EDGE_KIND_COUNT][STATE_COUNT] = {
	[EDGE_AUTOMATIC] = {
		[STATE_CREATED] = TO(STATE_CAPACITY_VERIFIED) | TO(STATE_FAILED),
		[STATE_CAPACITY_VERIFIED] = TO(STATE_ASSIGNMENT_PENDING) | TO(STATE_FAILED),
		[STATE_ASSIGNMENT_PENDING] = TO(STATE_ASSIGNMENT_IN_PROGRESS) |
		TO(STATE_MANUAL_REVIEW) | TO(STATE_FAILED),
		[STATE_ASSIGNMENT_IN_PROGRESS] = TO(STATE_ASSIGNED) |
		TO(STATE_ASSIGNMENT_PENDING) | TO(STATE_MANUAL_REVIEW) | TO(STATE_FAILED),
		[STATE_ASSIGNED] = TO(STATE_CONFIRMED) | TO(STATE_ASSIGNMENT_PENDING) |
		TO(STATE_MANUAL_REVIEW),
		[STATE_CONFIRMED] = 0,
		[STATE_FAILED] = 0,
		[STATE_MANUAL_REVIEW] = 0,
	},
	[EDGE_OPERATOR] = {
		[STATE_CREATED] = TO(STATE_ASSIGNED),
		[STATE_CAPACITY_VERIFIED] = TO(STATE_ASSIGNED),
		[STATE_ASSIGNMENT_PENDING] = TO(STATE_ASSIGNED),
		[STATE_ASSIGNMENT_IN_PROGRESS] = TO(STATE_ASSIGNED),
		[STATE_ASSIGNED] = TO(STATE_CONFIRMED),
		[STATE_CONFIRMED] = TO(STATE_ASSIGNED) | TO(STATE_ASSIGNMENT_PENDING),
		[STATE_FAILED] = TO(STATE_ASSIGNED) | TO(STATE_ASSIGNMENT_PENDING),
		[STATE_MANUAL_REVIEW] = TO(STATE_ASSIGNED) | TO(STATE_ASSIGNMENT_PENDING),
	},
	[EDGE_EXTERNAL] = {
		[STATE_CREATED] = TO(STATE_CONFIRMED),
		[STATE_CAPACITY_VERIFIED] = TO(STATE_CONFIRMED),
		[STATE_ASSIGNMENT_PENDING] = TO(STATE_CONFIRMED),
		[STATE_ASSIGNMENT_IN_PROGRESS] = TO(STATE_CONFIRMED),
		[STATE_ASSIGNED] = TO(STATE_CONFIRMED),
		[STATE_CONFIRMED] = TO(STATE_ASSIGNMENT_PENDING),
		[STATE_FAILED] = TO(STATE_CONFIRMED),
		[STATE_MANUAL_REVIEW] = TO(STATE_CONFIRMED),
	},
};

const char *
state_name(AssignmentState state)
{
	return state_names[state];
}

/* Find a state by name; false if there is none of that name. */
bool
state_parse(const char *name, AssignmentState *state)
{
	for (int i = 0; i < STATE_COUNT; i++)
	{
		if (strcmp(name, state_names[i]) == 0)
		{
			*state = (AssignmentState) i;
			return true;
		}
	}
	return false;
}

/* The same for input of a user, who is told the valid names. */
AssignmentState
state_from_text(const char *name)
{
	AssignmentState state;
	StringInfoData valid;

	if (state_parse(name, &state))
		return state;

	initStringInfo(&valid);
	for (int i = 0; i < STATE_COUNT; i++)
		appendStringInfo(&valid, "%s%s", i > 0 ? ", " : "", state_names[i]);
	ereport(ERROR,
			(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
			 errmsg("\"%s\" is not an assignment state", name),
			 errhint("Valid states are: %s.", valid.data)));
}

bool
state_is_terminal(AssignmentState state)
{
	return edges[EDGE_AUTOMATIC][state] == 0;
}

bool
state_edge_is_legal(AssignmentState from, AssignmentState to, EdgeKind kind)
{
	return (edges[kind][from] & TO(to)) != 0;
}

/* The states that one edge of this kind leads to, for messages. */
void
state_append_successors(StringInfo buf, AssignmentState from, EdgeKind kind)
{
	bool		first = true;

	for (int to = 0; to < STATE_COUNT; to++)
	{
		if (!state_edge_is_legal(from, (AssignmentState) to, kind))
			continue;
		appendStringInfo(buf, "%s%s", first ? "" : ", ", state_names[to]);
		first = false;
	}
	if (first)
		appendStringInfoString(buf, "none");
}

/*
 * The hops by which the coordinator takes a booking from one state to
 * another: along the main line, which is the order of the enum, as far as
 * the assignment is in progress, or only until it is pending where no plan
 * was tried; then to the goal.  Returns their number, 0 where there is
 * nothing to do.
 */
int
state_walk(AssignmentState from, AssignmentState to, bool tried,
		   AssignmentState *hops)
{
	AssignmentState last = tried ? STATE_ASSIGNMENT_IN_PROGRESS : STATE_ASSIGNMENT_PENDING;
	int			nhops = 0;

	if (to == STATE_CONFIRMED)
		last = STATE_ASSIGNED;

	for (int state = from + 1; state <= (int) last; state++)
		hops[nhops++] = (AssignmentState) state;
	if (nhops == 0 ? from != to : hops[nhops - 1] != to)
		hops[nhops++] = to;
	return nhops;
}

/* transitions() returns (from_state text, to_state text, kind text) */
Datum
assignment_transitions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int kind = 0; kind < EDGE_KIND_COUNT; kind++)
	{
		for (int pair = 0; pair < STATE_COUNT * STATE_COUNT; pair++)
		{
			AssignmentState from = (AssignmentState) (pair / STATE_COUNT);
			AssignmentState to = (AssignmentState) (pair % STATE_COUNT);
			Datum		values[3];
			bool		nulls[3] = {0};

			if (!state_edge_is_legal(from, to, (EdgeKind) kind))
				continue;
			values[0] = CStringGetTextDatum(state_names[from]);
			values[1] = CStringGetTextDatum(state_names[to]);
			values[2] = CStringGetTextDatum(edge_kind_names[kind]);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

/* allowed_transitions(from_state text) returns (to_state text, kind text) */
Datum
assignment_allowed_transitions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	AssignmentState from;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	from = state_from_text(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	for (int kind = 0; kind < EDGE_KIND_COUNT; kind++)
	{
		for (int to = 0; to < STATE_COUNT; to++)
		{
			Datum		values[2];
			bool		nulls[2] = {0};

			if (!state_edge_is_legal(from, (AssignmentState) to, (EdgeKind) kind))
				continue;
			values[0] = CStringGetTextDatum(state_names[to]);
			values[1] = CStringGetTextDatum(edge_kind_names[kind]);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

static void
append_mermaid(StringInfo buf)
{
	appendStringInfoString(buf, "stateDiagram-v2\n    [*] --> created\n");
	for (int kind = 0; kind < EDGE_KIND_COUNT; kind++)
	{
		for (int pair = 0; pair < STATE_COUNT * STATE_COUNT; pair++)
		{
			int			from = pair / STATE_COUNT;
			int			to = pair % STATE_COUNT;

			if (!state_edge_is_legal((AssignmentState) from, (AssignmentState) to,
									 (EdgeKind) kind))
				continue;
			appendStringInfo(buf, "    %s --> %s", state_names[from], state_names[to]);
			if (kind != EDGE_AUTOMATIC)
				appendStringInfo(buf, " : %s", edge_kind_names[kind]);
			appendStringInfoChar(buf, '\n');
		}
	}
	for (int state = 0; state < STATE_COUNT; state++)
	{
		if (state_is_terminal((AssignmentState) state))
			appendStringInfo(buf, "    %s --> [*]\n", state_names[state]);
	}
}

static void
append_dot(StringInfo buf)
{
	static const char *const styles[EDGE_KIND_COUNT] = {
		[EDGE_AUTOMATIC] = "solid",
		[EDGE_OPERATOR] = "dashed",
		[EDGE_EXTERNAL] = "dotted",
	};

	appendStringInfoString(buf, "digraph assignment {\n    rankdir=LR;\n");
	for (int state = 0; state < STATE_COUNT; state++)
		appendStringInfo(buf, "    %s [shape=%s];\n", state_names[state],
						 state_is_terminal((AssignmentState) state) ? "doublecircle" : "ellipse");
	for (int kind = 0; kind < EDGE_KIND_COUNT; kind++)
	{
		for (int pair = 0; pair < STATE_COUNT * STATE_COUNT; pair++)
		{
			int			from = pair / STATE_COUNT;
			int			to = pair % STATE_COUNT;

			if (state_edge_is_legal((AssignmentState) from, (AssignmentState) to,
									(EdgeKind) kind))
				appendStringInfo(buf, "    %s -> %s [style=%s];\n", state_names[from],
								 state_names[to], styles[kind]);
		}
	}
	appendStringInfoString(buf, "}\n");
}

/* state_diagram(format text) returns text */
Datum
assignment_state_diagram(PG_FUNCTION_ARGS)
{
	StringInfoData buf;
	char	   *format;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	format = text_to_cstring(PG_GETARG_TEXT_PP(0));

	initStringInfo(&buf);
	if (strcmp(format, "mermaid") == 0)
		append_mermaid(&buf);
	else if (strcmp(format, "dot") == 0)
		append_dot(&buf);
	else
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("unknown diagram format \"%s\"", format),
				 errhint("Valid formats are: mermaid, dot.")));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(buf.data, buf.len));
}
