/*-------------------------------------------------------------------------
 *
 * coordinator.c
 *		One decision on one booking.
 *
 * A decision reads the booking with all it rests on, plans in memory, and
 * writes assignments, trail and booking in one internal subtransaction per
 * try.  A lost race (another writer holds or has changed the booking, a table
 * was taken meanwhile) rolls the try back and starts again, three times at the
 * most; it never counts as an attempt.  Any other error is rolled back,
 * recorded, counted by the breaker and answered as a retry.  Cancel,
 * termination and out of memory are thrown on, and under REPEATABLE READ so
 * are serialization failures, because a frozen snapshot cannot try again.
 *
 * Locking: booking and slot outside the subtransaction, kept until commit; the
 * booking's row and the tables inside it.  Nothing here waits for a lock but
 * the inserts, which run under a lock_timeout below deadlock_timeout: where
 * the app and we wait for each other, it is we who yield, and having waited
 * once a decision tries no more.
 *
 * In shadow mode the same steps run and the subtransaction is rolled back on
 * purpose.  What was collected in memory survives it: the coordinator's
 * events are written, and the transitions as events that would have been.
 *
 * Memory: the caller gives a context for the decision, which outlives its
 * subtransactions, and frees it afterwards.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "binding.h"
#include "common/pg_prng.h"
#include "coordinator.h"
#include "counters.h"
#include "flags.h"
#include "guard.h"
#include "locks.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "survivors.h"
#include "transition.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#define MAX_TRIES 3

/* when a booking that somebody else is working on is looked at again */
#define CONTENTION_DELAY_MS 1000

typedef enum TryResult
{
	TRY_KEPT,					/* written, to be committed */
	TRY_DROPPED,				/* the outcome stands, but nothing is written */
	TRY_LOST,					/* another writer was faster */
	TRY_FAILED					/* an error, kept in the attempt */
} TryResult;

typedef TryResult (*TryBody) (Decision *decision);

static const char *const outcome_names[OUTCOME_COUNT] = {
	[OUTCOME_CONFIRMED] = "confirmed",
	[OUTCOME_RETRY] = "retry",
	[OUTCOME_MANUAL_REVIEW] = "manual_review",
	[OUTCOME_NOOP] = "noop",
};

/* Types of events outlive the decision, in those that are recorded late. */
static const char *const outcome_events[OUTCOME_COUNT] = {
	[OUTCOME_CONFIRMED] = "coordinator.confirmed",
	[OUTCOME_RETRY] = "coordinator.retry",
	[OUTCOME_MANUAL_REVIEW] = "coordinator.manual_review",
	[OUTCOME_NOOP] = "coordinator.noop",
};

static const char *const reason_names[REASON_COUNT] = {
	[REASON_NONE] = NULL,
	[REASON_PIPELINE_DISABLED] = "pipeline_disabled",
	[REASON_SHADOW] = "shadow",
	[REASON_LOCK_CONTENTION] = "lock_contention",
	[REASON_BOOKING_NOT_FOUND] = "booking_not_found",
	[REASON_ALREADY_CONFIRMED] = "already_confirmed",
	[REASON_TERMINAL_STATE] = "terminal_state",
	[REASON_NOT_ELIGIBLE] = "not_eligible",
	[REASON_PAST] = "past",
	[REASON_CIRCUIT_OPEN] = "circuit_open",
	[REASON_RATE_LIMITED] = "rate_limited",
	[REASON_NO_CAPACITY] = "no_capacity",
	[REASON_VERSION_CONFLICT] = "version_conflict",
	[REASON_INVALID_WINDOW] = "invalid_window",
	[REASON_CUTOFF] = "cutoff",
	[REASON_ERROR] = "error",
};

const char *
outcome_name(Outcome outcome)
{
	return outcome_names[outcome];
}

const char *
reason_name(Reason reason)
{
	return reason_names[reason];
}

/*
 * Events
 */

static void
event_begin(const Decision *decision, StringInfo json)
{
	json_begin(json);
	json_text(json, "mode", mode_name(decision->mode));
	json_text(json, "trigger", decision->trigger);
}

/* A step always goes to the server log, at its level, and may be an event too. */
static void
event_end(Decision *decision, StringInfo json, const char *type, const char *severity,
		  EventLevel level)
{
	json_end(json);
	if (flag_event_level >= (int) level)
		journal_add_event(&decision->journal, EVENT_SOURCE_COORDINATOR, type, severity,
						  json->data);
	ereport(flag_step_log_level,
			(errmsg_internal("[assignment.coordinator] %s booking=%s %s", type,
							 uuid_text(&decision->booking_id), json->data),
			 errhidestmt(true), errhidecontext(true)));
}

static void
tell(Decision *decision, const char *type, const char *severity, EventLevel level)
{
	StringInfoData json;

	event_begin(decision, &json);
	event_end(decision, &json, type, severity, level);
}

static double
elapsed_ms(const Decision *decision)
{
	return (double) (GetCurrentTimestamp() - decision->started_at) / 1000.0;
}

/* The event of the outcome, with what it carries. */
static void
tell_outcome(Decision *decision)
{
	StringInfoData json;
	const char *severity = "warning";

	event_begin(decision, &json);
	if (decision->reason != REASON_NONE)
		json_text(&json, "reason", reason_name(decision->reason));
	switch (decision->outcome)
	{
		case OUTCOME_CONFIRMED:
			severity = "info";
			json_text(&json, "strategy", decision->strategy);
			json_uuids(&json, "table_ids", decision->table_ids, decision->ntables);
			break;
		case OUTCOME_RETRY:
			json_number(&json, "delay_ms", decision->delay_ms);
			break;
		case OUTCOME_MANUAL_REVIEW:
		case OUTCOME_NOOP:
			break;
	}
	if (decision->outcome != OUTCOME_NOOP)
	{
		json_number(&json, "attempts", decision->attempt);
		json_double(&json, "duration_ms", elapsed_ms(decision));
	}
	event_end(decision, &json, outcome_events[decision->outcome], severity,
			  EVENT_LEVEL_OUTCOMES);
}

/* Should the caller roll back, let it be known all the same that there was an error. */
static void
keep_error(const Decision *decision)
{
	const List *events = decision->journal.events;

	survivors_keep(&decision->booking_id, (EventRow *) linitial(events), true);
	survivors_keep(&decision->booking_id, (EventRow *) llast(events), true);
}

/* An unexpected error always goes to the server log too. */
static void
tell_error(Decision *decision, const ErrorData *error)
{
	StringInfoData json;

	event_begin(decision, &json);
	json_text(&json, "message", error->message ? error->message : "");
	json_text(&json, "sqlstate", unpack_sql_state(error->sqlerrcode));
	json_end(&json);
	journal_add_event(&decision->journal, EVENT_SOURCE_COORDINATOR, "coordinator.error",
					  "error", json.data);
	if (decision->mode == MODE_ACTIVE)
	{
		int64		number = counter_add(COUNTER_ERRORS);

		keep_error(decision);
		guard_error(decision->number, number);
	}
	else
		(void) counter_add(COUNTER_REHEARSAL_ERRORS);
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("[assignment.coordinator] coordinator.error booking=%s %s",
					uuid_text(&decision->booking_id), json.data),
			 errhidestmt(true), errhidecontext(true)));
}

/*
 * Outcomes
 */

static void
set_outcome(Decision *decision, Outcome outcome, Reason reason)
{
	decision->outcome = outcome;
	decision->reason = reason;
}

static bool
settle(Decision *decision, Outcome outcome, Reason reason, int delay_ms)
{
	set_outcome(decision, outcome, reason);
	decision->delay_ms = delay_ms;
	tell_outcome(decision);
	return true;
}

static bool
settle_noop(Decision *decision, Reason reason)
{
	return settle(decision, OUTCOME_NOOP, reason, 0);
}

/* The delay before a retry that costs no attempt. */
static int
contention_delay(const Decision *decision)
{
	RetryPolicy policy = flags_retry_policy();

	return policy_retry_delay(&policy, decision->booking.attempts,
							  pg_prng_double(&pg_global_prng_state));
}

/*
 * What a failed attempt comes to: another one after a delay, or manual review
 * if there were enough or the next one would come too late.
 */
static void
set_failed_attempt(Decision *decision, Reason reason)
{
	RetryPolicy policy = flags_retry_policy();

	decision->attempt = decision->booking.attempts + 1;
	decision->delay_ms = policy_retry_delay(&policy, decision->attempt,
											pg_prng_double(&pg_global_prng_state));
	if (policy_is_exhausted(&policy, decision->attempt))
		set_outcome(decision, OUTCOME_MANUAL_REVIEW, reason);
	else if (decision->booking.has_start &&
			 policy_is_cut_off(&policy, GetCurrentTimestamp(), decision->delay_ms,
							   decision->booking.start_at))
		set_outcome(decision, OUTCOME_MANUAL_REVIEW, REASON_CUTOFF);
	else
		set_outcome(decision, OUTCOME_RETRY, reason);
	if (decision->outcome == OUTCOME_MANUAL_REVIEW)
		decision->delay_ms = 0;
}

/* A booking confirmed before: its tables, so that a repeated call is answered. */
static bool
settle_already_confirmed(Decision *decision)
{
	OwnAssignments own;

	store_read_assignments(&decision->booking, &own);
	decision->ntables = own.ntables;
	decision->table_ids = own.table_ids;
	decision->strategy = decision->booking.strategy;
	return settle_noop(decision, REASON_ALREADY_CONFIRMED);
}

/* In shadow a booking that the legacy path has confirmed is rehearsed all the same. */
static bool
status_may_be_decided(const Decision *decision)
{
	const char *status = decision->booking.status;

	return status_is_eligible(status) ||
		(decision->mode == MODE_SHADOW && strcmp(status, "confirmed") == 0);
}

/* Settle a booking that needs no plan; false if it does. */
static bool
settle_by_booking(Decision *decision)
{
	const BookingRecord *booking = &decision->booking;

	if (!booking->found)
		return settle_noop(decision, REASON_BOOKING_NOT_FOUND);
	if (!booking->has_restaurant)
		return settle_noop(decision, REASON_NOT_ELIGIBLE);
	if (status_frees_tables(booking->status))
		return settle_noop(decision, REASON_NOT_ELIGIBLE);
	if (booking->state == STATE_CONFIRMED && decision->mode == MODE_ACTIVE)
		return settle_already_confirmed(decision);
	if (booking->state == STATE_FAILED || booking->state == STATE_MANUAL_REVIEW)
		return settle_noop(decision, REASON_TERMINAL_STATE);
	if (!status_may_be_decided(decision))
		return settle_noop(decision, REASON_NOT_ELIGIBLE);
	if (booking_has_window(booking) && booking->end_at <= decision->started_at)
		return settle_noop(decision, REASON_PAST);
	return false;
}

/*
 * Steps
 */

static bool
acquire_booking(Decision *decision)
{
	if (!decision->locked)
	{
		tell(decision, "coordinator.lock_contention", "warning", EVENT_LEVEL_OUTCOMES);
		settle_noop(decision, REASON_LOCK_CONTENTION);
		return false;
	}
	tell(decision, "coordinator.lock_acquired", "info", EVENT_LEVEL_STEPS);
	return true;
}

static bool
acquire_slot(Decision *decision)
{
	const BookingRecord *booking = &decision->booking;
	StringInfoData json;

	if (decision->slot == 0)
		decision->slot = lock_slot(&booking->restaurant_id, flags_slots(&booking->rollout));
	if (decision->slot == 0)
	{
		settle(decision, OUTCOME_RETRY, REASON_RATE_LIMITED, flag_rate_limit_delay);
		return false;
	}
	event_begin(decision, &json);
	json_number(&json, "slot", decision->slot);
	event_end(decision, &json, "coordinator.rate_permit_acquired", "info", EVENT_LEVEL_STEPS);
	return true;
}

/* The tables of a plan in the order of their ids. */
static void
order_by_id(const PlannerTable *tables, const PlannerPlan *plan, int *order)
{
	for (int i = 0; i < plan->ntables; i++)
	{
		int			j = i;

		for (; j > 0 && memcmp(&tables[order[j - 1]].id, &tables[plan->tables[i]].id,
							   UUID_LEN) > 0; j--)
			order[j] = order[j - 1];
		order[j] = plan->tables[i];
	}
}

/* Lock all tables of a plan, or none: the one that somebody else holds, or -1. */
static int
lock_plan(const Seating *seating, const PlannerPlan *plan)
{
	const PlannerTable *tables = seating->floor.tables;
	int			order[PLANNER_MAX_TABLES];

	order_by_id(tables, plan, order);
	for (int i = 0; i < plan->ntables; i++)
	{
		if (lock_table(&tables[order[i]].id))
			continue;
		for (int held = 0; held < i; held++)
			unlock_table(&tables[order[held]].id);
		return order[i];
	}
	return -1;
}

static void
unlock_plan(const Seating *seating, const PlannerPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
		unlock_table(&seating->floor.tables[plan->tables[i]].id);
}

/*
 * Choose the best plan whose tables are unlocked and free, and lock them.
 * They are looked at under their locks and with a fresh snapshot.  Tables that
 * others hold are left out; *contended tells that there were any.
 */
static bool
choose_tables(Decision *decision, Seating *seating, bool *contended)
{
	PlannerPlan plan;

	*contended = false;
	while (seating_best(seating, &plan))
	{
		int			missed = lock_plan(seating, &plan);

		CHECK_FOR_INTERRUPTS();
		if (missed >= 0)
		{
			seating->floor.tables[missed].usable = false;
			*contended = true;
			continue;
		}
		if (seating_look(seating, &plan))
		{
			decision->ntables = plan.ntables;
			decision->table_ids = palloc(sizeof(pg_uuid_t) * plan.ntables);
			seating_table_ids(seating, &plan, decision->table_ids);
			return true;
		}
		unlock_plan(seating, &plan);
	}
	return false;
}

/*
 * Writing
 */

/* In shadow a booking that was confirmed elsewhere is rehearsed from the start. */
static AssignmentState
walk_start(const Decision *decision)
{
	return decision->booking.state == STATE_CONFIRMED ? STATE_CREATED : decision->booking.state;
}

static char *
hop_metadata(const Decision *decision, bool arrival)
{
	StringInfoData json;

	json_begin(&json);
	json_text(&json, "trigger", decision->trigger);
	if (arrival && decision->booking.was_confirmed && decision->booking.state != STATE_CONFIRMED)
		json_true(&json, "reopened");
	if (arrival && decision->ntables > 0)
	{
		json_text(&json, "strategy", decision->strategy);
		json_uuids(&json, "table_ids", decision->table_ids, decision->ntables);
	}
	json_end(&json);
	return json.data;
}

static char *
attempt_metadata(const Decision *decision)
{
	StringInfoData json;

	json_begin(&json);
	json_text(&json, "trigger", decision->trigger);
	json_number(&json, "version", decision->booking.version);
	json_number(&json, "party_size", decision->booking.party_size);
	if (decision->ntables > 0)
		json_uuids(&json, "table_ids", decision->table_ids, decision->ntables);
	json_double(&json, "duration_ms", elapsed_ms(decision));
	json_end(&json);
	return json.data;
}

static void
note_attempt(Decision *decision)
{
	journal_set_attempt(&decision->journal, decision->booking.last_attempt + 1,
						decision->strategy, decision->outcome == OUTCOME_CONFIRMED,
						reason_name(decision->reason), attempt_metadata(decision));
}

/* Write the trail and move the booking; the caller holds its row lock. */
static void
write_walk(Decision *decision, AssignmentState to, bool tried, const char *status)
{
	BookingRecord *booking = &decision->booking;
	AssignmentState hops[WALK_MAX_HOPS];
	AssignmentState from = walk_start(decision);
	int			nhops = state_walk(from, to, tried, hops);
	char	   *passing = hop_metadata(decision, false);
	char	   *arriving = hop_metadata(decision, true);

	for (int i = 0; i < nhops; i++)
	{
		bool		last = i == nhops - 1;
		HistoryRow *hop = journal_add_hop(&decision->journal, from, hops[i],
										  booking->version + 1 + i, last ? arriving : passing,
										  last ? reason_name(decision->reason) : NULL);

		if (last && state_is_terminal(to))
			journal_set_message(&decision->journal, hop, arriving);
		from = hops[i];
	}
	take_walk(booking, &decision->journal, status,
			  to == STATE_CONFIRMED ? decision->strategy : NULL);
	store_check_constraints();
}

/* Seat the booking at the chosen tables; TRY_LOST if one is taken. */
static TryResult
write_confirmation(Decision *decision)
{
	BookingRecord *booking = &decision->booking;

	if (booking->has_assignments)
		store_delete_assignments(&booking->id);
	if (store_insert_assignments(booking, GetCurrentTimestamp(), decision->table_ids,
								 decision->ntables) != decision->ntables)
		return TRY_LOST;
	decision->attempt = booking->attempts + 1;
	set_outcome(decision, OUTCOME_CONFIRMED, REASON_NONE);
	note_attempt(decision);
	tell_outcome(decision);
	write_walk(decision, STATE_CONFIRMED, true, "confirmed");
	return TRY_KEPT;
}

/* No table: back to pending, or to manual review. */
static TryResult
write_no_capacity(Decision *decision)
{
	set_failed_attempt(decision, REASON_NO_CAPACITY);
	decision->ntables = 0;
	note_attempt(decision);
	tell_outcome(decision);
	write_walk(decision, decision->outcome == OUTCOME_RETRY ?
			   STATE_ASSIGNMENT_PENDING : STATE_MANUAL_REVIEW, true, NULL);
	return TRY_KEPT;
}

/* One try at seating the booking. */
static TryResult
try_to_seat(Decision *decision)
{
	BookingRecord *booking = &decision->booking;
	PlannerStrategy strategy = strategy_for_attempt(booking->attempts);
	Seating		seating;
	bool		contended;

	seating_read(&seating, booking, strategy, GetCurrentTimestamp());
	if (!lookup_lock_booking(&booking->id, booking->version))
		return TRY_LOST;
	decision->strategy = strategy_name(strategy);
	if (choose_tables(decision, &seating, &contended))
		return write_confirmation(decision);
	if (!contended)
		return write_no_capacity(decision);
	settle(decision, OUTCOME_RETRY, REASON_LOCK_CONTENTION, contention_delay(decision));
	return TRY_DROPPED;
}

/* A booking whose outcome is manual review without a plan. */
static TryResult
try_to_review(Decision *decision)
{
	if (!lookup_lock_booking(&decision->booking.id, decision->booking.version))
		return TRY_LOST;
	tell_outcome(decision);
	write_walk(decision, STATE_MANUAL_REVIEW, false, NULL);
	return TRY_KEPT;
}

/*
 * Tries
 */

/* Is this an error that a decision must not swallow? */
bool
error_must_rethrow(const ErrorData *error)
{
	switch (error->sqlerrcode)
	{
		case ERRCODE_QUERY_CANCELED:
		case ERRCODE_ADMIN_SHUTDOWN:
		case ERRCODE_CRASH_SHUTDOWN:
		case ERRCODE_DATABASE_DROPPED:
		case ERRCODE_OUT_OF_MEMORY:
			return true;
		case ERRCODE_T_R_SERIALIZATION_FAILURE:
		case ERRCODE_T_R_DEADLOCK_DETECTED:
			return IsolationUsesXactSnapshot();
	}
	return false;
}

/* Did another writer get in between, so that starting again may help? */
static bool
is_lost_race(const ErrorData *error)
{
	switch (error->sqlerrcode)
	{
		case ERRCODE_EXCLUSION_VIOLATION:
		case ERRCODE_T_R_SERIALIZATION_FAILURE:
		case ERRCODE_T_R_DEADLOCK_DETECTED:
		case ERRCODE_LOCK_NOT_AVAILABLE:
			return true;
		case ERRCODE_UNIQUE_VIOLATION:
			return error->table_name != NULL &&
				strcmp(error->table_name,
					   get_rel_name(binding_get()->relids[BOUND_ASSIGNMENTS])) == 0;
	}
	return false;
}

/* Is somebody waiting for what this transaction has written already? */
bool
others_wait(void)
{
	TransactionId xid = GetTopTransactionIdIfAny();
	LOCKTAG		tag;

	if (!TransactionIdIsValid(xid))
		return false;
	SET_LOCKTAG_TRANSACTION(tag, xid);
	return LockHasWaiters(&tag, ExclusiveLock, false);
}

/*
 * Wait for no lock as long as the app's deadlock check would take to make it
 * the victim.  Whoever begins to wait for us from now on looks for a deadlock
 * after we have given up; if somebody waits already, we wait for nobody.  It is
 * a small part of deadlock_timeout, for who waits for us may make others wait
 * who have waited since long before, and look for a deadlock meanwhile.  The
 * setting ends with the subtransaction.
 */
static void
limit_lock_waits(void)
{
	int			limit = others_wait() ? 1 : Max(1, DeadlockTimeout / 10);
	char		text[16];

	if (LockTimeout > 0 && LockTimeout <= limit)
		return;
	snprintf(text, sizeof(text), "%d", limit);
	(void) set_config_option("lock_timeout", text, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Run a body in a subtransaction of its own and keep what it wrote only if
 * it says so, and never in a rehearsal.  An error that is nobody's race is
 * returned in *error; one that comes from a change of the app's tables is
 * nobody's failure either, and stands as such.
 */
static TryResult
in_subtransaction(Decision *decision, TryBody body, bool rehearsal, ErrorData **error)
{
	ResourceOwner owner = CurrentResourceOwner;
	volatile TryResult result = TRY_FAILED;

	*error = NULL;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(decision->context);
	PG_TRY();
	{
		limit_lock_waits();
		result = body(decision);
		if (result == TRY_KEPT && !rehearsal)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(decision->context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *caught;

		MemoryContextSwitchTo(decision->context);
		caught = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(decision->context);
		CurrentResourceOwner = owner;
		if (error_must_rethrow(caught))
			ReThrowError(caught);
		binding_require_whole();
		decision->yielded |= caught->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
			caught->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
		result = is_lost_race(caught) ? TRY_LOST : TRY_FAILED;
		*error = caught;
	}
	PG_END_TRY();
	return result;
}

/* The same for a body whose failure is nothing but a failure. */
static TryResult
in_yielding_subtransaction(Decision *decision, TryBody body)
{
	ErrorData  *error;
	TryResult	result = in_subtransaction(decision, body, false, &error);

	if (result == TRY_FAILED)
		ReThrowError(error);
	return result;
}

/* Put a rehearsed walk into events; nothing else of it is to be written. */
static void
keep_rehearsal(Decision *decision)
{
	Journal    *journal = &decision->journal;

	journal_add_transition_events(journal, true);
	journal_rewind(journal, list_length(journal->events));
}

/* The plan of a try that was rolled back seats nobody. */
static void
forget_plan(Decision *decision)
{
	decision->ntables = 0;
	decision->strategy = NULL;
	if (!decision->failed)
		decision->attempt = 0;
}

/*
 * Send the booking to manual review, in a try of its own; false if that
 * could not be written either.
 */
static bool
review_instead(Decision *decision, Reason reason)
{
	int			nevents = list_length(decision->journal.events);
	ErrorData  *error;

	set_outcome(decision, OUTCOME_MANUAL_REVIEW, reason);
	decision->delay_ms = 0;
	decision->written = in_subtransaction(decision, try_to_review, false, &error) == TRY_KEPT;
	if (!decision->written)
		journal_rewind(&decision->journal, nevents);
	return decision->written;
}

/*
 * An error has rolled the try back: record it as an attempt.  Where that ends
 * in manual review and the review cannot be written either, the booking is
 * tried again later.  A booking that was deleted meanwhile has no attempts.
 */
static void
record_error(Decision *decision, const ErrorData *error)
{
	BookingRecord still_there;

	tell_error(decision, error);
	decision->failed = true;
	decision->sqlerrcode = error->sqlerrcode;
	set_failed_attempt(decision, REASON_ERROR);
	if (decision->mode == MODE_SHADOW)
	{
		tell_outcome(decision);
		return;
	}
	lookup_booking(&decision->booking_id, &still_there);
	if (!still_there.found)
	{
		settle_noop(decision, REASON_BOOKING_NOT_FOUND);
		return;
	}
	note_attempt(decision);
	if (decision->outcome == OUTCOME_MANUAL_REVIEW)
	{
		if (review_instead(decision, decision->reason))
			return;
		note_attempt(decision);
		set_outcome(decision, OUTCOME_RETRY, REASON_ERROR);
		decision->delay_ms = flags_retry_policy().max_ms;
	}
	tell_outcome(decision);
}

/*
 * An open breaker: come again when it has cooled down, or manual review if
 * that would be too late.
 */
static bool
settle_by_breaker(Decision *decision)
{
	const Breaker *breaker = &decision->booking.breaker;
	RetryPolicy policy = flags_retry_policy();
	StringInfoData json;
	int			delay_ms;

	if (decision->mode != MODE_ACTIVE ||
		breaker_state(breaker, decision->started_at) != BREAKER_OPEN)
		return false;
	delay_ms = breaker_delay(breaker, decision->started_at);
	event_begin(decision, &json);
	json_text(&json, "circuit_status", "open");
	json_number(&json, "delay_ms", delay_ms);
	event_end(decision, &json, "coordinator.circuit_open", "warning", EVENT_LEVEL_OUTCOMES);
	if (decision->booking.has_start &&
		policy_is_cut_off(&policy, decision->started_at, delay_ms, decision->booking.start_at) &&
		review_instead(decision, REASON_CUTOFF))
		return true;
	return settle(decision, OUTCOME_RETRY, REASON_CIRCUIT_OPEN, delay_ms);
}

/* All tries were lost: to a change of the booking, or to locks. */
static void
settle_lost(Decision *decision, int version)
{
	bool		changed = decision->booking.version != version;

	settle(decision, OUTCOME_RETRY, changed ? REASON_VERSION_CONFLICT : REASON_LOCK_CONTENTION,
		   contention_delay(decision));
}

static void
seat(Decision *decision)
{
	int			nevents = list_length(decision->journal.events);
	int			version = decision->booking.version;
	pg_uuid_t	restaurant_id;

	for (int i = 0; i < MAX_TRIES; i++)
	{
		TryBody		body = booking_has_window(&decision->booking) ? try_to_seat : try_to_review;
		ErrorData  *error;
		TryResult	result;

		if (body == try_to_review)
			set_outcome(decision, OUTCOME_MANUAL_REVIEW, REASON_INVALID_WINDOW);
		version = decision->booking.version;
		result = in_subtransaction(decision, body, decision->mode == MODE_SHADOW, &error);
		if (result == TRY_KEPT)
		{
			decision->written = decision->mode == MODE_ACTIVE;
			return;
		}
		if (result == TRY_DROPPED)
			return;
		journal_rewind(&decision->journal, nevents);
		if (result == TRY_FAILED)
			record_error(decision, error);
		forget_plan(decision);
		if (result == TRY_FAILED)
			return;
		restaurant_id = decision->booking.restaurant_id;
		store_load_booking(&decision->booking_id, &decision->booking);
		if (settle_by_booking(decision))
			return;
		if (decision->yielded ||
			memcmp(&restaurant_id, &decision->booking.restaurant_id, UUID_LEN) != 0)
			break;
	}
	settle_lost(decision, version);
}

/*
 * Afterwards
 */

static TryResult
put_into_queue(Decision *decision)
{
	int			delay_ms = decision->outcome == OUTCOME_RETRY ?
		decision->delay_ms : CONTENTION_DELAY_MS;

	store_queue_put(&decision->booking_id, &decision->booking.restaurant_id,
					GetCurrentTimestamp() + (int64) delay_ms * 1000);
	return TRY_KEPT;
}

static bool
is_contention(Reason reason)
{
	return reason == REASON_LOCK_CONTENTION || reason == REASON_VERSION_CONFLICT ||
		reason == REASON_RATE_LIMITED;
}

/*
 * The booking's place in the queue.  A claimed row is ours to write.  Another
 * one may be in the hands of whoever we met: it is left to them, and what has
 * to be written waits no longer than a try would.  In shadow a batch takes
 * the row off the queue itself, at its end.
 */
static void
keep_queue(Decision *decision)
{
	bool		claimed = decision->claim != NULL && decision->claim->locked;
	bool		active = decision->mode == MODE_ACTIVE;
	bool		retry = active && decision->outcome == OUTCOME_RETRY;
	bool		contention = is_contention(decision->reason);

	if (decision->claim != NULL && !claimed && !active)
	{
		decision->off_queue = !contention;
		return;
	}
	if (contention ? claimed || (retry && !decision->booking.queued) : retry)
	{
		if (claimed)
			put_into_queue(decision);
		else
			(void) in_yielding_subtransaction(decision, put_into_queue);
		return;
	}
	if (!contention && (claimed || (active && decision->booking.queued)))
		lookup_delete_queue(&decision->booking_id,
							claimed ? NULL : booking_due(&decision->booking));
}

static TryResult
count_in_breaker(Decision *decision)
{
	BreakerPolicy policy = flags_breaker_policy();
	Breaker		breaker;
	TimestampTz now = GetCurrentTimestamp();

	store_breaker_lock(&decision->booking.restaurant_id, &breaker);
	if (decision->failed)
		breaker_fail(&breaker, &policy, now);
	else if (!breaker_succeed(&breaker, &policy, now))
		return TRY_DROPPED;
	store_breaker_put(&decision->booking.restaurant_id, &breaker);
	return TRY_KEPT;
}

/* "No table" is an answer; only a success of a breaker that is not clean is written. */
static void
keep_breaker(Decision *decision)
{
	BreakerPolicy policy = flags_breaker_policy();
	Breaker		copy = decision->booking.breaker;

	if (decision->mode != MODE_ACTIVE || !(decision->failed || decision->written))
		return;
	if (!decision->failed && !breaker_succeed(&copy, &policy, GetCurrentTimestamp()))
		return;
	if (in_yielding_subtransaction(decision, count_in_breaker) == TRY_LOST)
		ereport(LOG,
				(errmsg("[assignment.coordinator] the breaker of restaurant %s is locked: booking %s is not counted",
						uuid_text(&decision->booking.restaurant_id),
						uuid_text(&decision->booking_id))));
}

/* What the rehearsal came to; being busy is no result, and the next call rehearses again. */
static void
note_result(const Decision *decision)
{
	const BookingRecord *booking = &decision->booking;
	RehearsalRow row = {
		.booking_id = booking->id,
		.version = booking->version,
		.restaurant_id = booking->restaurant_id,
		.created_at = decision->started_at,
		.trigger = decision->trigger,
		.outcome = outcome_name(decision->outcome),
		.reason = reason_name(decision->reason),
		.sqlstate = decision->failed ? unpack_sql_state(decision->sqlerrcode) : NULL,
		.ntables = decision->ntables,
		.table_ids = decision->table_ids,
		.strategy = decision->strategy,
		.duration_ms = elapsed_ms(decision),
		.breaker_threshold = flags_breaker_policy().threshold,
	};

	if (decision->outcome == OUTCOME_NOOP || is_contention(decision->reason))
		return;
	store_insert_rehearsal(&row);
	if (strcmp(booking->status, "confirmed") == 0)
		store_note_legacy(&booking->id, "confirmed");
}

static TryResult
write_rehearsal(Decision *decision)
{
	journal_write(&decision->journal, false);
	note_result(decision);
	store_check_constraints();
	return TRY_KEPT;
}

/*
 * Record a rehearsal.  Where even that fails, the caller has not asked for
 * anything that could: the events are kept for later.
 */
static void
record_rehearsal(Decision *decision)
{
	ErrorData  *error;
	ListCell   *cell;

	keep_rehearsal(decision);
	if (in_subtransaction(decision, write_rehearsal, false, &error) == TRY_KEPT)
		return;
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("[assignment.coordinator] the rehearsal of booking %s could not be recorded: %s",
					uuid_text(&decision->booking_id), error->message ? error->message : "")));
	foreach(cell, decision->journal.events)
		survivors_keep(&decision->booking_id, (EventRow *) lfirst(cell), false);
}

/* What the caller of a rehearsal is told: nothing has happened. */
static void
hide_rehearsal(Decision *decision)
{
	if (decision->outcome == OUTCOME_NOOP)
		return;
	decision->has_shadow_outcome = true;
	decision->shadow_outcome = decision->outcome;
	set_outcome(decision, OUTCOME_NOOP, REASON_SHADOW);
	decision->ntables = 0;
	decision->delay_ms = 0;
}

static void
conclude(Decision *decision)
{
	if (decision->mode == MODE_SHADOW)
		record_rehearsal(decision);
	else if (!decision->written)
		journal_write(&decision->journal, false);
	keep_queue(decision);
	keep_breaker(decision);
	if (decision->mode == MODE_SHADOW)
		hide_rehearsal(decision);
}

/*
 * Has this version of the booking been rehearsed?  Then nothing is done
 * again, and the answer is that of the first time.
 */
static bool
settle_by_rehearsal(Decision *decision)
{
	BookingRecord *booking = &decision->booking;
	Rehearsal	rehearsal;

	if (decision->mode != MODE_SHADOW || !booking->found ||
		!lookup_rehearsal(&booking->id, booking->version, &rehearsal))
		return false;
	decision->repeated = true;
	decision->strategy = rehearsal.strategy;
	decision->has_shadow_outcome = true;
	for (int i = 0; i < OUTCOME_COUNT; i++)
	{
		if (strcmp(outcome_names[i], rehearsal.outcome) == 0)
			decision->shadow_outcome = (Outcome) i;
	}
	set_outcome(decision, OUTCOME_NOOP, REASON_SHADOW);
	return true;
}

/*
 * Is the restaurant's mode disabled?  Asked before anything else where the
 * app's tables are not as they were attached: then the answer is the same as
 * ever, and any other mode is an error.
 */
static bool
is_disabled(const pg_uuid_t *booking_id)
{
	BookingRecord booking;
	RolloutRows rollout;
	const char *mode_reason;

	lookup_booking(booking_id, &booking);
	lookup_rollout(booking_restaurant(&booking), &rollout);
	return flags_mode(&rollout, booking_restaurant(&booking), &mode_reason) == MODE_DISABLED;
}

/*
 * Lock and load the booking, and tell the mode of its restaurant; false if
 * that is disabled, or has nothing left to rehearse.  The lock comes first:
 * what is read under it stays true of all that only decisions write, such as
 * the number of attempts.  A disabled call reads no more than it must.
 */
static bool
begin_decision(Decision *decision)
{
	BookingRecord *booking = &decision->booking;
	const char *mode_reason;

	if (!binding_is_whole())
	{
		if (!is_disabled(&decision->booking_id))
			binding_require_whole();
		decision->mode = MODE_DISABLED;
		set_outcome(decision, OUTCOME_NOOP, REASON_PIPELINE_DISABLED);
		return false;
	}
	decision->locked = lock_booking(&decision->booking_id);
	store_load_row(&decision->booking_id, booking);
	if (decision->claim != NULL && !booking->found)
		booking->rollout = decision->claim->rollout;
	if (decision->claim != NULL && memcmp(&decision->claim->row.restaurant_id,
										  &booking->restaurant_id, UUID_LEN) != 0)
		decision->slot = 0;
	decision->mode = flags_mode(&booking->rollout,
								booking_restaurant(booking),
								&mode_reason);
	if (decision->mode == MODE_DISABLED)
	{
		if (decision->locked)
			unlock_booking(&decision->booking_id);
		set_outcome(decision, OUTCOME_NOOP, REASON_PIPELINE_DISABLED);
		return false;
	}
	require_writable();
	store_load_rest(booking);
	if (settle_by_rehearsal(decision))
		return false;
	journal_init(&decision->journal, &decision->booking_id,
				 booking_restaurant(booking));
	guard_prepare();
	tell(decision, "coordinator.start", "info", EVENT_LEVEL_OUTCOMES);
	return true;
}

/* The steps of a decision, with the owner's rights. */
static void
take_steps(Decision *decision)
{
	if (begin_decision(decision))
	{
		if (acquire_booking(decision) &&
			!settle_by_booking(decision) &&
			!settle_by_breaker(decision) &&
			acquire_slot(decision))
		{
			decision->number = counter_add(decision->mode == MODE_ACTIVE ?
										   COUNTER_DECISIONS : COUNTER_REHEARSALS);
			seat(decision);
		}
		conclude(decision);
	}
	else if (decision->repeated)
		keep_queue(decision);
	survivors_write();
	guard_write();
}

/* An error is being thrown on, and takes the events of the decision with it: keep two of them. */
static void
keep_thrown(const Decision *decision)
{
	MemoryContext caller;
	StringInfoData json;

	if (decision->journal.events == NIL)
		return;
	caller = MemoryContextSwitchTo(decision->context);
	survivors_keep(&decision->booking_id, (EventRow *) linitial(decision->journal.events), false);
	event_begin(decision, &json);
	json_end(&json);
	survivors_keep_error(&decision->booking_id, EVENT_SOURCE_COORDINATOR, "coordinator.error",
						 json.data);
	if (decision->number > 0)
		survivors_count(decision->mode == MODE_ACTIVE ? COUNTER_ERRORS : COUNTER_REHEARSAL_ERRORS);
	if (decision->number > 0 && decision->mode == MODE_ACTIVE)
		guard_thrown(decision->number);
	MemoryContextSwitchTo(caller);
}

/* Decide on one booking.  The caller has filled in what was asked. */
void
decide(Decision *decision)
{
	StoreScope	scope;

	decision->context = CurrentMemoryContext;
	decision->started_at = GetCurrentTimestamp();
	store_enter(&scope);
	PG_TRY();
	{
		take_steps(decision);
	}
	PG_CATCH();
	{
		keep_thrown(decision);
		PG_RE_THROW();
	}
	PG_END_TRY();
	store_leave(&scope);
}
