/*-------------------------------------------------------------------------
 *
 * transition.c
 *		The SQL transition functions and the triggers on bookings and history.
 *
 * Whoever writes bookings meets the same validator, a BEFORE trigger.  It
 * refuses an illegal edge and a stale or skipped version, sets the version
 * where the writer left it alone, and lets the state follow another writer's
 * change of status or facts.  The AFTER trigger records what happened: the
 * history row, the tables set free, the booking's place in the queue.  So
 * version = 1 + the number of history rows, whoever writes.
 *
 * Our own functions take more than one edge at a time.  They register the
 * walk (booking, states and versions at both ends) in backend memory, write
 * the trail through a journal, and then update the booking once: the BEFORE
 * trigger accepts the jump only if it matches the walk exactly, and the AFTER
 * trigger leaves it to the journal.  Walks nest, since a trigger of the app may
 * call us again; an aborted subtransaction forgets those that it was taking,
 * and not the ones around it.
 *
 * History is append-only: rows go only with their booking, by a foreign key,
 * or through purge(), which opens the door for its own statement.
 *
 * Locking: the functions lock the booking's row first, as any UPDATE would,
 * and wait for it.  The triggers run under the row lock of their statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "binding.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/jsonapi.h"
#include "compat.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "flags.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "sqlstates.h"
#include "survivors.h"
#include "transition.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(assignment_transition);
PG_FUNCTION_INFO_V1(assignment_requeue);
PG_FUNCTION_INFO_V1(assignment_reopen);
PG_FUNCTION_INFO_V1(assignment_purge);
PG_FUNCTION_INFO_V1(assignment_booking_validate);
PG_FUNCTION_INFO_V1(assignment_booking_record);
PG_FUNCTION_INFO_V1(assignment_history_append_only);
PG_FUNCTION_INFO_V1(assignment_history_record_events);

/* longer claims are nobody's: no token is, and the parser's stack is finite */
#define CLAIMS_MAX_LENGTH 8192

#define EXTERNAL_METADATA "{\"external\": true}"

typedef struct Walk
{
	struct Walk *outer;			/* registered further up the stack */
	int			nest_level;		/* of the transaction that takes it */
	pg_uuid_t	booking_id;
	AssignmentState from;
	AssignmentState to;
	int			from_version;
	int			to_version;
} Walk;

/*
 * The walks being taken, the innermost first: a trigger of the app may call us
 * again for another booking.  They live in TopTransactionContext, because an
 * error leaves the stack before it ends the subtransaction.
 */
static Walk *walks = NULL;

/* purge() is deleting history */
static bool purging = false;

/* A (sub)transaction has ended: its walks are not taken any more. */
static void
forget(int nest_level)
{
	while (walks != NULL && walks->nest_level >= nest_level)
		walks = walks->outer;
	journal_forget(nest_level);
}

static void
transaction_ended(XactEvent event, void *arg)
{
	forget(0);
}

static void
subtransaction_ended(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
					 void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget(GetCurrentTransactionNestLevel());
}

void
TransitionInit(void)
{
	RegisterXactCallback(transaction_ended, NULL);
	RegisterSubXactCallback(subtransaction_ended, NULL);
}

/* May the pipeline assign a booking of this status? */
bool
status_is_eligible(const char *status)
{
	return strcmp(status, "pending") == 0 || strcmp(status, "pending_allocation") == 0;
}

/* Does a booking of this status give its tables back? */
bool
status_frees_tables(const char *status)
{
	return strcmp(status, "cancelled") == 0 || strcmp(status, "no_show") == 0;
}

/*
 * Arguments
 */

const pg_uuid_t *
required_uuid(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("%s must not be null", name)));
	return PG_GETARG_UUID_P(arg);
}

const char *
optional_text(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

void
require_writable(void)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot assign bookings during recovery"),
				 errhint("Connect to the primary server.")));
	if (XactReadOnly)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot assign bookings in a read-only transaction"),
				 errhint("Call the function in a transaction that may write.")));
}

/* What the parse of a JWT's claims has found. */
typedef struct ClaimsParse
{
	JsonLexContext *lex;
	bool		in_subject;
	char	   *subject;
} ClaimsParse;

static CompatJsonAction
claims_field(void *state, char *name, bool isnull)
{
	ClaimsParse *parse = (ClaimsParse *) state;

	parse->in_subject = parse->lex->lex_level == 1 && strcmp(name, "sub") == 0;
	COMPAT_JSON_ACTION_DONE;
}

static CompatJsonAction
claims_scalar(void *state, char *token, JsonTokenType type)
{
	ClaimsParse *parse = (ClaimsParse *) state;

	if (parse->in_subject && parse->lex->lex_level == 1 && type == JSON_TOKEN_STRING)
		parse->subject = pstrdup(token);
	parse->in_subject = false;
	COMPAT_JSON_ACTION_DONE;
}

/*
 * The person behind the request: the subject of the JWT whose claims
 * PostgREST has set, where there is one and it is a uuid.  Claims of any
 * other form are nobody, never an error.
 */
static const pg_uuid_t *
jwt_subject(void)
{
	const char *claims = GetConfigOption("request.jwt.claims", true, false);
	JsonSemAction actions = {0};
	ClaimsParse parse = {0};
	char	   *copy;

	if (claims == NULL || *claims == '\0' || strlen(claims) > CLAIMS_MAX_LENGTH)
		return NULL;
	copy = pstrdup(claims);
	parse.lex = compat_json_lexer(copy, (int) strlen(copy));
	actions.semstate = &parse;
	actions.object_field_start = claims_field;
	actions.scalar = claims_scalar;
	if (pg_parse_json(parse.lex, &actions) != JSON_SUCCESS ||
		parse.subject == NULL || !text_is_uuid(parse.subject))
		return NULL;
	return DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(parse.subject)));
}

const pg_uuid_t *
acting_person(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? jwt_subject() : PG_GETARG_UUID_P(arg);
}

/*
 * Moving one booking
 */

/* Lock a booking, load it and check its version. */
void
door_open(const pg_uuid_t *booking_id, bool check_version, int expected_version,
		  BookingRecord *booking)
{
	if (!store_wait_booking(booking_id))
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_NOT_FOUND),
				 errmsg("booking %s does not exist", uuid_text(booking_id))));
	store_load_booking(booking_id, booking);
	if (check_version && booking->version != expected_version)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_CONFLICT),
				 errmsg("booking %s has changed", uuid_text(booking_id)),
				 errdetail("Its version is %d, expected was %d.", booking->version,
						   expected_version),
				 errhint("Read the booking again and repeat the call.")));
}

/*
 * Write the walk that a journal holds: the trail first, then the booking in
 * one UPDATE.  The caller holds the booking's row lock.
 */
void
take_walk(const BookingRecord *booking, Journal *journal, const char *status,
		  const char *strategy)
{
	const HistoryRow *last = &journal->hops[journal->nhops - 1];
	Walk	   *walk;

	journal_write(journal, true);
	walk = MemoryContextAlloc(TopTransactionContext, sizeof(Walk));
	walk->outer = walks;
	walk->nest_level = GetCurrentTransactionNestLevel();
	walk->booking_id = booking->id;
	walk->from = booking->state;
	walk->from_version = booking->version;
	walk->to = last->to;
	walk->to_version = last->version;
	walks = walk;
	amend_booking(&booking->id, booking->version, last->to, last->version, status, strategy);
	walks = walk->outer;
	pfree(walk);
}

/* What the queue is to do with a booking in this mode of its restaurant. */
static bool
belongs_in_queue(const BookingRecord *booking, PipelineMode mode, TimestampTz now)
{
	if (mode == MODE_DISABLED || (booking->has_end && booking->end_at <= now))
		return false;
	/* what another writer has seated is still to be rehearsed */
	if (mode == MODE_SHADOW && strcmp(booking->status, "confirmed") == 0)
		return booking->state != STATE_FAILED && booking->state != STATE_MANUAL_REVIEW;
	return !state_is_terminal(booking->state) && status_is_eligible(booking->status);
}

/*
 * Keep a booking's place in the queue in step with what it is now: due at once
 * where it may need an assignment and its restaurant's mode is not disabled,
 * else none.  A booking that may not enter the queue keeps the place that it
 * has; one that is new has no row to delete.
 */
static void
follow_queue(const BookingRecord *booking, bool may_enter)
{
	RolloutRows rollout;
	const char *reason;
	TimestampTz now = GetCurrentTimestamp();

	lookup_rollout(&booking->restaurant_id, &rollout);
	if (belongs_in_queue(booking, flags_mode(&rollout, &booking->restaurant_id, &reason), now))
	{
		if (may_enter)
			store_queue_follow(booking, now);
	}
	else if (booking->version > 1)
		lookup_delete_queue(&booking->id, booking_due(booking));
}

/* The row (from_state text, to_state text, version int). */
Datum
transition_result(FunctionCallInfo fcinfo, AssignmentState from, AssignmentState to,
				  int version)
{
	TupleDesc	desc = binding_result_type(fcinfo, 3);
	Datum		values[3];
	bool		nulls[3] = {0};

	values[0] = CStringGetTextDatum(state_name(from));
	values[1] = CStringGetTextDatum(state_name(to));
	values[2] = Int32GetDatum(version);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/* Keys of the metadata that tell what a step was; nobody else may set them. */
static void
refuse_reserved_keys(Jsonb *metadata)
{
	static const char *const reserved[] = {
		"external", "forced", "moved", "reopened", "shadow", "trigger"
	};

	for (int i = 0; i < (int) lengthof(reserved); i++)
	{
		JsonbValue	key;

		key.type = jbvString;
		key.val.string.val = unconstify(char *, reserved[i]);
		key.val.string.len = (int) strlen(reserved[i]);
		if (findJsonbValueFromContainer(&metadata->root, JB_FOBJECT, &key) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
					 errmsg("metadata must not contain the key \"%s\"", reserved[i]),
					 errhint("The pipeline sets external, forced, moved, reopened, shadow and trigger itself.")));
	}
}

/* The caller's metadata, an object, with the name of the function in front. */
static char *
metadata_of(FunctionCallInfo fcinfo, int arg, const char *function)
{
	StringInfoData json;
	Jsonb	   *given;

	json_begin(&json);
	json_text(&json, "trigger", function);
	if (arg >= 0 && !PG_ARGISNULL(arg))
	{
		given = PG_GETARG_JSONB_P(arg);
		if (!JB_ROOT_IS_OBJECT(given))
			ereport(ERROR,
					(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
					 errmsg("metadata must be a JSON object")));
		refuse_reserved_keys(given);
		if (JB_ROOT_COUNT(given) > 0)
		{
			char	   *text = JsonbToCString(NULL, &given->root, VARSIZE(given));

			appendStringInfo(&json, ", %s", text + 1);
			return json.data;
		}
	}
	json_end(&json);
	return json.data;
}

static const char *
edge_hint(AssignmentState from)
{
	switch (from)
	{
		case STATE_MANUAL_REVIEW:
		case STATE_FAILED:
			return "Use assignment_v3.requeue() to try again, or assignment_v3.assign() to choose the tables.";
		case STATE_CONFIRMED:
			return "Use assignment_v3.reopen() to release its tables, or assignment_v3.assign() to move it.";
		case STATE_CREATED:
		case STATE_CAPACITY_VERIFIED:
		case STATE_ASSIGNMENT_PENDING:
		case STATE_ASSIGNMENT_IN_PROGRESS:
		case STATE_ASSIGNED:
			return "SELECT * FROM assignment_v3.transitions() lists every legal step.";
	}
	elog(ERROR, "unexpected state %d", from);
}

static void
refuse_edge(const BookingRecord *booking, AssignmentState to)
{
	StringInfoData allowed;

	initStringInfo(&allowed);
	state_append_successors(&allowed, booking->state, EDGE_AUTOMATIC);
	ereport(ERROR,
			(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
			 errmsg("booking %s cannot go from \"%s\" to \"%s\"", uuid_text(&booking->id),
					state_name(booking->state), state_name(to)),
			 errdetail("Version %d allows: %s.", booking->version, allowed.data),
			 errhint("%s", edge_hint(booking->state))));
}

static void
read_own_assignments(const BookingRecord *booking, OwnAssignments *own)
{
	StoreScope	scope;

	store_enter(&scope);
	store_read_assignments(booking, own);
	store_leave(&scope);
}

/* Nobody is told that he has a table who has none. */
static void
check_tables(const BookingRecord *booking)
{
	OwnAssignments own;

	read_own_assignments(booking, &own);
	if (own.matching)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
			 errmsg("booking %s cannot be confirmed without tables that fit it",
					uuid_text(&booking->id)),
			 errhint("Use assignment_v3.assign() to choose its tables.")));
}

/*
 * Take one hop with all that belongs to it: a message where somebody outside
 * waits for the arrival, and the booking's place in the queue.
 */
static void
take_hop(BookingRecord *booking, AssignmentState to, const char *metadata, const char *reason,
		 const pg_uuid_t *actor_id, const char *status)
{
	Journal		journal;
	HistoryRow *hop;

	journal_init(&journal, &booking->id, booking_restaurant(booking));
	journal.actor_id = actor_id;
	hop = journal_add_hop(&journal, booking->state, to, booking->version + 1, metadata, reason);
	if (state_is_terminal(to))
		journal_set_message(&journal, hop, metadata);
	take_walk(booking, &journal, status, NULL);

	booking->state = to;
	booking->version++;
	if (status != NULL)
		booking->status = pstrdup(status);
	follow_queue(booking, true);
}

static Datum
transition_booking(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *booking_id = required_uuid(fcinfo, 0, "booking_id");
	const char *to_name = optional_text(fcinfo, 1);
	const pg_uuid_t *actor_id = acting_person(fcinfo, 5);
	const char *metadata = metadata_of(fcinfo, 4, "transition");
	BookingRecord booking;
	AssignmentState from;
	AssignmentState to;
	StoreScope	scope;

	if (to_name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("to_state must not be null")));
	to = state_from_text(to_name);
	require_writable();
	binding_require_whole();

	store_enter(&scope);
	door_open(booking_id, !PG_ARGISNULL(2), PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2), &booking);
	from = booking.state;
	if (!state_edge_is_legal(from, to, EDGE_AUTOMATIC))
		refuse_edge(&booking, to);
	if (to == STATE_CONFIRMED)
		check_tables(&booking);
	take_hop(&booking, to, metadata, optional_text(fcinfo, 3), actor_id,
			 to == STATE_CONFIRMED && status_is_eligible(booking.status) ? "confirmed" : NULL);
	survivors_write();
	store_leave(&scope);
	return transition_result(fcinfo, from, to, booking.version);
}

/*
 * transition(booking_id uuid, to_state text, expected_version int,
 *			  reason text, metadata jsonb, actor_id uuid)
 */
Datum
assignment_transition(PG_FUNCTION_ARGS)
{
	return survivors_call(fcinfo, transition_booking, "transition");
}

static Datum
requeue_booking(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *booking_id = required_uuid(fcinfo, 0, "booking_id");
	const pg_uuid_t *actor_id = acting_person(fcinfo, 2);
	BookingRecord booking;
	AssignmentState from;
	StoreScope	scope;

	require_writable();
	binding_require_whole();
	store_enter(&scope);
	door_open(booking_id, false, 0, &booking);
	from = booking.state;
	if (from != STATE_MANUAL_REVIEW && from != STATE_FAILED)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("booking %s cannot be requeued in state \"%s\"", uuid_text(booking_id),
						state_name(from)),
				 errhint("Only a booking in state manual_review or failed can be requeued.")));
	take_hop(&booking, STATE_ASSIGNMENT_PENDING, metadata_of(fcinfo, -1, "requeue"),
			 optional_text(fcinfo, 1), actor_id, NULL);
	survivors_write();
	store_leave(&scope);
	return transition_result(fcinfo, from, booking.state, booking.version);
}

/* requeue(booking_id uuid, reason text, actor_id uuid) */
Datum
assignment_requeue(PG_FUNCTION_ARGS)
{
	return survivors_call(fcinfo, requeue_booking, "requeue");
}

static Datum
reopen_booking(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *booking_id = required_uuid(fcinfo, 0, "booking_id");
	const pg_uuid_t *actor_id = acting_person(fcinfo, 2);
	BookingRecord booking;
	AssignmentState from;
	StoreScope	scope;

	require_writable();
	binding_require_whole();
	store_enter(&scope);
	door_open(booking_id, false, 0, &booking);
	from = booking.state;
	if (from != STATE_CONFIRMED)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("booking %s cannot be reopened in state \"%s\"", uuid_text(booking_id),
						state_name(from)),
				 errhint("Only a booking in state confirmed can be reopened.")));
	if (status_frees_tables(booking.status) || strcmp(booking.status, "completed") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("booking %s is %s", uuid_text(booking_id), booking.status),
				 errhint("Set its status back to pending: that reopens it.")));
	take_hop(&booking, STATE_ASSIGNMENT_PENDING, metadata_of(fcinfo, -1, "reopen"),
			 optional_text(fcinfo, 1), actor_id, "pending");
	store_delete_assignments(booking_id);
	survivors_write();
	store_leave(&scope);
	return transition_result(fcinfo, from, booking.state, booking.version);
}

/* reopen(booking_id uuid, reason text, actor_id uuid) */
Datum
assignment_reopen(PG_FUNCTION_ARGS)
{
	return survivors_call(fcinfo, reopen_booking, "reopen");
}

/* purge(older_than interval) returns (history, attempt, event, outbox and shadow rows) */
Datum
assignment_purge(PG_FUNCTION_ARGS)
{
	PurgeCounts counts;
	TupleDesc	desc = binding_result_type(fcinfo, 5);
	TimestampTz horizon;
	StoreScope	scope;
	char	   *user;
	Datum		values[5];
	bool		nulls[5] = {0};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("older_than must not be null")));
	require_writable();
	binding_require_whole();
	horizon = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
													  TimestampTzGetDatum(GetCurrentTimestamp()),
													  PG_GETARG_DATUM(0)));
	if (horizon > GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("older_than must not be negative")));

	user = GetUserNameFromId(GetUserId(), false);
	store_enter(&scope);
	purging = true;
	PG_TRY();
	{
		store_purge(horizon, user, &counts);
	}
	PG_FINALLY();
	{
		purging = false;
	}
	PG_END_TRY();
	store_leave(&scope);

	values[0] = Int64GetDatum(counts.history);
	values[1] = Int64GetDatum(counts.attempts);
	values[2] = Int64GetDatum(counts.events);
	values[3] = Int64GetDatum(counts.messages);
	values[4] = Int64GetDatum(counts.rehearsals);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/*
 * The triggers on bookings
 */

/*
 * Is it the bound relation, or of history a partition, whose columns are found
 * by name?
 */
static bool
belongs_to(Relation relation, BoundRelation which)
{
	Oid			bound = binding_get()->relids[which];

	return RelationGetRelid(relation) == bound ||
		(which == BOUND_HISTORY && relation->rd_rel->relispartition &&
		 list_member_oid(get_partition_ancestors(RelationGetRelid(relation)), bound));
}

/*
 * The call of a trigger function, which works on the bound relation and its
 * partitions alone: on any other, somebody would make it act on rows of his
 * own making.
 */
static TriggerData *
trigger_data(FunctionCallInfo fcinfo, const char *name, BoundRelation which)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called as a trigger", name)));
	if (!belongs_to(trigger->tg_relation, which))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("function \"%s\" cannot be a trigger on relation \"%s\"", name,
						RelationGetRelationName(trigger->tg_relation)),
				 errhint("assignment_v3.attach() makes its triggers where they belong.")));
	return trigger;
}

/* The same for the functions that work row by row. */
static TriggerData *
booking_trigger_data(FunctionCallInfo fcinfo, const char *name)
{
	TriggerData *trigger = trigger_data(fcinfo, name, BOUND_BOOKINGS);

	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired for each row", name)));
	return trigger;
}

/* Party, window or restaurant: what the tables of a booking rest on. */
static bool
needs_differ(const BookingRecord *a, const BookingRecord *b)
{
	return memcmp(&a->restaurant_id, &b->restaurant_id, UUID_LEN) != 0 ||
		a->party_size != b->party_size ||
		a->has_start != b->has_start || a->start_at != b->start_at ||
		a->has_end != b->has_end || a->end_at != b->end_at;
}

static bool
facts_differ(const BookingRecord *a, const BookingRecord *b)
{
	return needs_differ(a, b) || strcmp(a->status, b->status) != 0;
}

/*
 * Another writer has confirmed the booking by its status, with tables of its
 * own choice.
 */
static bool
confirmed_by_status(const BookingRecord *before, const BookingRecord *after)
{
	OwnAssignments own;

	if (strcmp(after->status, "confirmed") != 0 || strcmp(before->status, "confirmed") == 0)
		return false;
	read_own_assignments(after, &own);
	return own.ntables > 0;
}

/*
 * Must a confirmed booking be assigned anew?  It must when its status goes
 * back to pending, and when its needs change or it comes back from being
 * cancelled, unless this very transaction has moved its tables to match.
 * Guests who are seated or gone keep their tables, whatever is noted of them.
 */
static bool
reopened_by_change(const BookingRecord *before, const BookingRecord *after)
{
	OwnAssignments own;
	bool		reinstated = status_frees_tables(before->status);

	if (status_is_eligible(after->status))
		return facts_differ(before, after);
	if (strcmp(after->status, "confirmed") != 0 &&
		!(reinstated && strcmp(after->status, "checked_in") == 0))
		return false;
	if (!reinstated && !needs_differ(before, after))
		return false;
	read_own_assignments(after, &own);
	return !(own.moved && own.matching);
}

/* The state that a change of status or facts brings about. */
static AssignmentState
implied_state(const BookingRecord *before, const BookingRecord *after)
{
	if (status_frees_tables(after->status))
		return before->state;
	if (before->state != STATE_CONFIRMED)
		return confirmed_by_status(before, after) ? STATE_CONFIRMED : before->state;
	return reopened_by_change(before, after) ? STATE_ASSIGNMENT_PENDING : STATE_CONFIRMED;
}

static void
check_version(const BookingRecord *before, const BookingRecord *after)
{
	if (after->version == before->version || after->version == before->version + 1)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ASSIGNMENT_CONFLICT),
			 errmsg("booking %s has changed", uuid_text(&before->id)),
			 errdetail("Its version is %d, the update came with %d.", before->version,
					   after->version),
			 errhint("Read the booking again and repeat the update.")));
}

/* The walk that this row of bookings belongs to; asked before anything is read from it. */
static const Walk *
find_walk(HeapTuple after, TupleDesc desc)
{
	bool		null_id;
	bool		null_version;
	Datum		id;
	Datum		version;

	if (walks == NULL)
		return NULL;
	id = booking_column(after, desc, BOOKING_ID, &null_id);
	version = booking_column(after, desc, BOOKING_VERSION, &null_version);
	if (null_id || null_version)
		return NULL;
	for (const Walk *walk = walks; walk != NULL; walk = walk->outer)
	{
		if (walk->to_version == DatumGetInt32(version) &&
			memcmp(&walk->booking_id, DatumGetUUIDP(id), UUID_LEN) == 0)
			return walk;
	}
	return NULL;
}

static bool
walk_matches(const Walk *walk, const BookingRecord *before, const BookingRecord *after)
{
	return walk != NULL &&
		walk->from == before->state && walk->from_version == before->version &&
		walk->to == after->state;
}

/* A value of a column's own type, text or an enum of the app, from its text. */
static Datum
text_value(TupleDesc desc, AttrNumber attnum, const char *text)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, attnum - 1);
	Oid			input;
	Oid			param;

	getTypeInputInfo(attribute->atttypid, &input, &param);
	return OidInputFunctionCall(input, pstrdup(text), param, attribute->atttypmod);
}

/* Put state and version into a row of bookings, and status unless it is NULL. */
static HeapTuple
modify_tuple(HeapTuple tuple, TupleDesc desc, AssignmentState state, int version,
			 const char *status)
{
	const Binding *binding = binding_get();
	int			attnums[3] = {
		binding->booking_columns[BOOKING_STATE],
		binding->booking_columns[BOOKING_VERSION],
		binding->booking_columns[BOOKING_STATUS],
	};
	Datum		values[3];
	bool		nulls[3] = {0};

	values[0] = text_value(desc, attnums[0], state_name(state));
	values[1] = Int32GetDatum(version);
	if (status != NULL)
		values[2] = text_value(desc, attnums[2], status);
	return heap_modify_tuple_by_cols(tuple, desc, status != NULL ? 3 : 2, attnums, values, nulls);
}

/* A new booking starts at the beginning, or its history could not tell its state. */
static void
validate_insert(const BookingRecord *booking)
{
	if (booking->state == STATE_CREATED && booking->version == 1)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
			 errmsg("a new booking cannot start in state \"%s\" with version %d",
					state_name(booking->state), booking->version),
			 errhint("Leave assignment_state and assignment_state_version to their defaults, \"created\" and 1.")));
}

/*
 * Laid out by restaurant, a booking's rows lie where its restaurant does, on
 * another machine perhaps; no UPDATE takes them along.
 */
static void
check_restaurant(const BookingRecord *before, const BookingRecord *after)
{
	if (!binding_get()->keyed[KEYED_BOOKING].spread ||
		memcmp(&before->restaurant_id, &after->restaurant_id, UUID_LEN) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
			 errmsg("booking %s cannot move to another restaurant", uuid_text(&before->id)),
			 errdetail("The restaurant is part of every key."),
			 errhint("Cancel the booking and make another one.")));
}

static HeapTuple
validate_update(HeapTuple tuple, TupleDesc desc, const BookingRecord *before,
				BookingRecord *after)
{
	AssignmentState state = after->state;
	const char *status = NULL;

	if (walk_matches(find_walk(tuple, desc), before, after))
		return tuple;
	if (after->state == before->state && !facts_differ(before, after))
		return modify_tuple(tuple, desc, before->state, before->version, NULL);
	check_restaurant(before, after);
	check_version(before, after);

	if (after->state == before->state ||
		!state_edge_is_legal(before->state, after->state, EDGE_AUTOMATIC))
		state = implied_state(before, after);
	else if (state == STATE_CONFIRMED)
		check_tables(after);
	if (after->state != before->state && after->state != state)
		refuse_edge(before, after->state);
	if (before->state == STATE_CONFIRMED && state == STATE_ASSIGNMENT_PENDING &&
		!status_is_eligible(after->status))
		status = "pending";
	return modify_tuple(tuple, desc, state, before->version + 1, status);
}

/*
 * Has any column changed that the pipeline looks at?  Compares the stored
 * images, since this is asked of every UPDATE of bookings; a change of image
 * that is none of value is found out later.
 */
static bool
is_watched_change(HeapTuple before, HeapTuple after, TupleDesc desc)
{
	const Binding *binding = binding_get();

	for (int i = 0; i < BOOKING_WATCHED_COUNT; i++)
	{
		AttrNumber	attnum = binding->booking_columns[i];
		Form_pg_attribute attribute = TupleDescAttr(desc, attnum - 1);
		bool		null_before;
		bool		null_after;
		Datum		value_before = heap_getattr(before, attnum, desc, &null_before);
		Datum		value_after = heap_getattr(after, attnum, desc, &null_after);

		if (null_before != null_after ||
			(!null_before && !datum_image_eq(value_before, value_after, attribute->attbyval,
											 attribute->attlen)))
			return true;
	}
	return false;
}

/* booking_validate(): BEFORE INSERT OR UPDATE ON bookings FOR EACH ROW */
Datum
assignment_booking_validate(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = booking_trigger_data(fcinfo, "booking_validate");
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	BookingRecord before;
	BookingRecord after;
	HeapTuple	result = NULL;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
	{
		booking_from_tuple(trigger->tg_trigtuple, desc, &after);
		validate_insert(&after);
		return PointerGetDatum(trigger->tg_trigtuple);
	}
	if (!is_watched_change(trigger->tg_trigtuple, trigger->tg_newtuple, desc))
		return PointerGetDatum(trigger->tg_newtuple);
	booking_from_tuple(trigger->tg_trigtuple, desc, &before);
	booking_from_tuple(trigger->tg_newtuple, desc, &after);
	PG_TRY();
	{
		result = validate_update(trigger->tg_newtuple, desc, &before, &after);
	}
	PG_CATCH();
	{
		survivors_keep_failure(&before.id, "update");
		PG_RE_THROW();
	}
	PG_END_TRY();
	return PointerGetDatum(result);
}

static bool
reverted_by_status(const BookingRecord *before, const BookingRecord *after)
{
	return strcmp(before->status, "confirmed") == 0 && status_is_eligible(after->status);
}

/* Why the booking's state followed another writer's change; NULL for a plain step. */
static const char *
external_reason(const BookingRecord *before, const BookingRecord *after)
{
	if (before->state == after->state)
	{
		/* confirmed before there was a pipeline */
		if (reverted_by_status(before, after))
			return "status_reverted";
		return "facts_changed";
	}
	if (before->state == STATE_CONFIRMED)
	{
		if (status_frees_tables(before->status))
			return "reinstated";
		return needs_differ(before, after) ? "facts_changed" : "status_reverted";
	}
	if (after->state == STATE_CONFIRMED)
		return "confirmed_elsewhere";
	return NULL;
}

/* Another writer has settled a booking that may have been rehearsed. */
static void
note_legacy(const BookingRecord *before, const BookingRecord *after)
{
	if (strcmp(before->status, after->status) == 0)
		return;
	if (strcmp(after->status, "confirmed") == 0)
		store_note_legacy(&after->id, "confirmed");
	else if (status_frees_tables(after->status))
		store_note_legacy(&after->id, "cancelled");
}

/*
 * Is this change of a booking a reason to seat it?  Not where it is older than
 * attach() and has waited all along: nobody expects a guest to be told today
 * because some detail of an old request was mended.  Such bookings wait for
 * enqueue_existing(), unless the status begins to ask for tables, or the booking
 * has taken a step since attach().
 */
static bool
may_enter_queue(const BookingRecord *before, const BookingRecord *after, HeapTuple tuple,
				TupleDesc desc)
{
	TimestampTz since = binding_get()->recorded_since;
	bool		isnull;
	Datum		created_at = booking_column(tuple, desc, BOOKING_CREATED_AT, &isnull);

	if (!isnull && DatumGetTimestampTz(created_at) >= since)
		return true;
	if (strcmp(before->status, after->status) != 0 && !status_is_eligible(before->status))
		return true;
	return store_has_steps(&after->id, since);
}

static void
record_update(const BookingRecord *before, const BookingRecord *after, bool may_enter)
{
	Journal		journal;
	bool		freed = !status_frees_tables(before->status) &&
		status_frees_tables(after->status);
	bool		reopened = before->state == STATE_CONFIRMED &&
		after->state == STATE_ASSIGNMENT_PENDING;

	journal_init(&journal, &after->id, booking_restaurant(after));
	journal.actor_id = jwt_subject();
	journal_add_hop(&journal, before->state, after->state, after->version, EXTERNAL_METADATA,
					external_reason(before, after));
	journal_write(&journal, false);
	if (freed || reopened)
		store_delete_assignments(&after->id);
	note_legacy(before, after);
	follow_queue(after, may_enter);
}

/* A version that was null and is 1 now is the same. */
static bool
has_same_version(HeapTuple before, HeapTuple after, TupleDesc desc)
{
	bool		null_before;
	bool		null_after;
	Datum		version_before = booking_column(before, desc, BOOKING_VERSION, &null_before);
	Datum		version_after = booking_column(after, desc, BOOKING_VERSION, &null_after);

	return (null_before ? 1 : DatumGetInt32(version_before)) ==
		(null_after ? 1 : DatumGetInt32(version_after));
}

/* booking_record(): AFTER INSERT OR UPDATE ON bookings FOR EACH ROW */
Datum
assignment_booking_record(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = booking_trigger_data(fcinfo, "booking_record");
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	BookingRecord before;
	BookingRecord after;
	StoreScope	scope;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
	{
		booking_from_tuple(trigger->tg_trigtuple, desc, &after);
		store_enter(&scope);
		follow_queue(&after, true);
		survivors_write();
		store_leave(&scope);
		return PointerGetDatum(NULL);
	}
	if (has_same_version(trigger->tg_trigtuple, trigger->tg_newtuple, desc) ||
		find_walk(trigger->tg_newtuple, desc) != NULL)
		return PointerGetDatum(NULL);
	booking_from_tuple(trigger->tg_trigtuple, desc, &before);
	booking_from_tuple(trigger->tg_newtuple, desc, &after);
	store_enter(&scope);
	record_update(&before, &after,
				  may_enter_queue(&before, &after, trigger->tg_newtuple, desc));
	survivors_write();
	store_leave(&scope);
	return PointerGetDatum(NULL);
}

/*
 * The triggers on history
 */

static int
history_column(TupleDesc desc, const char *name)
{
	int			attnum = SPI_fnumber(desc, name);

	if (attnum <= 0)
		elog(ERROR, "history has no column \"%s\"", name);
	return attnum;
}

/* Has the booking of this history row been deleted? */
static bool
booking_is_gone(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, history_column(desc, "booking_id"), desc, &isnull);
	BookingRecord booking;
	StoreScope	scope;

	if (isnull)
		return false;
	store_enter(&scope);
	lookup_booking(DatumGetUUIDP(value), &booking);
	store_leave(&scope);
	return !booking.found;
}

/* Does the update do nothing but set booking_id to null? */
static bool
only_loses_booking(HeapTuple before, HeapTuple after, TupleDesc desc)
{
	int			booking_id = history_column(desc, "booking_id");

	for (int attnum = 1; attnum <= desc->natts; attnum++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, attnum - 1);
		bool		null_before;
		bool		null_after;
		Datum		value_before = heap_getattr(before, attnum, desc, &null_before);
		Datum		value_after = heap_getattr(after, attnum, desc, &null_after);

		if (attnum == booking_id)
		{
			if (!null_after)
				return false;
			continue;
		}
		if (null_before != null_after)
			return false;
		if (!null_before && !datum_image_eq(value_before, value_after, attribute->attbyval,
											attribute->attlen))
			return false;
	}
	return true;
}

/* history_append_only(): BEFORE UPDATE, DELETE (row) and TRUNCATE (statement) */
Datum
assignment_history_append_only(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, "history_append_only", BOUND_HISTORY);
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	HeapTuple	tuple = trigger->tg_trigtuple;

	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event) && tuple != NULL &&
		(purging || booking_is_gone(tuple, desc)))
		return PointerGetDatum(tuple);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) && tuple != NULL &&
		only_loses_booking(tuple, trigger->tg_newtuple, desc) && booking_is_gone(tuple, desc))
		return PointerGetDatum(trigger->tg_newtuple);
	ereport(ERROR,
			(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
			 errmsg("the history of bookings is append-only"),
			 errhint("Use assignment_v3.purge() to shorten it.")));
}

static char *
slot_text(TupleTableSlot *slot, int attnum)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, attnum, &isnull);

	return isnull ? NULL :
		value_as_text(value, TupleDescAttr(slot->tts_tupleDescriptor, attnum - 1)->atttypid);
}

/*
 * Collect the event of one inserted history row.  A change of facts has none,
 * nor has a row of somebody else that speaks of other states.
 */
static void
record_event(Journal *journal, TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;
	const char *from = slot_text(slot, history_column(desc, "from_state"));
	const char *to = slot_text(slot, history_column(desc, "to_state"));
	HistoryRow	hop = {0};
	Datum		version;
	bool		isnull;

	if (from == NULL || to == NULL || strcmp(from, to) == 0 ||
		!state_parse(from, &hop.from) || !state_parse(to, &hop.to))
		return;
	version = slot_getattr(slot, history_column(desc, "version"), &isnull);
	hop.version = isnull ? 0 : DatumGetInt32(version);
	hop.metadata = slot_text(slot, history_column(desc, "metadata"));
	if (hop.metadata == NULL)
		hop.metadata = "{}";
	hop.reason = slot_text(slot, history_column(desc, "reason"));
	journal_add_transition_event(journal, &hop, false);
}

/* A history row that no journal of ours is writing: it gets one of its own. */
static void
record_foreign_event(TupleTableSlot *slot)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, history_column(slot->tts_tupleDescriptor, "booking_id"),
									 &isnull);
	BookingRecord booking;
	Journal		journal;
	StoreScope	scope;

	if (isnull)
		return;
	store_enter(&scope);
	lookup_booking(DatumGetUUIDP(value), &booking);
	journal_init(&journal, &booking.id, booking_restaurant(&booking));
	record_event(&journal, slot);
	journal_write(&journal, false);
	store_leave(&scope);
}

/* history_record_events(): AFTER INSERT ON history FOR EACH STATEMENT */
Datum
assignment_history_record_events(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo, "history_record_events", BOUND_HISTORY);
	Journal    *journal = journal_being_written();
	MemoryContext row_context;
	TupleTableSlot *slot;

	if (trigger->tg_newtable == NULL)
		elog(ERROR, "history_record_events() needs the table of inserted rows");
	if (journal != NULL && tuplestore_tuple_count(trigger->tg_newtable) == journal->nhops)
	{
		journal_add_transition_events(journal, false);
		return PointerGetDatum(NULL);
	}
	slot = MakeSingleTupleTableSlot(RelationGetDescr(trigger->tg_relation), &TTSOpsMinimalTuple);
	row_context = AllocSetContextCreate(CurrentMemoryContext, "assignment_v3 history row",
										ALLOCSET_SMALL_SIZES);
	tuplestore_rescan(trigger->tg_newtable);
	while (tuplestore_gettupleslot(trigger->tg_newtable, true, false, slot))
	{
		MemoryContext caller = MemoryContextSwitchTo(row_context);

		CHECK_FOR_INTERRUPTS();
		record_foreign_event(slot);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(row_context);
	}
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(row_context);
	return PointerGetDatum(NULL);
}
