/*-------------------------------------------------------------------------
 *
 * journal.c
 *		The trail of one decision: history, attempt, events and message.
 *
 * A journal collects in memory what a decision has to say and writes it with
 * one statement per relation: the history rows of its walk, the attempt, the
 * message for the outbox, and all events together.  The events of transitions
 * come from the statement-level trigger on history; while a journal writes its
 * own history rows, that trigger adds its events to the journal instead of
 * inserting them by itself, so they share the one insert.
 *
 * Nothing is written before journal_write(), so a try that is rolled back
 * leaves the coordinator's events collected so far untouched.
 *
 * Memory: everything is allocated in the context that was current when the
 * journal was made, which outlives the subtransactions of its decision.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "flags.h"
#include "journal.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define TRANSITION_EVENT "booking.assignment_state_transition"

/*
 * The journals whose history rows are being inserted, for the trigger on them;
 * the innermost first, where a trigger of the app calls us again.  They live
 * in TopTransactionContext, because an error leaves the stack before it ends
 * the subtransaction.
 */
typedef struct BeingWritten
{
	Journal    *journal;
	struct BeingWritten *outer;
	int			nest_level;		/* of the transaction that writes */
} BeingWritten;

static BeingWritten *being_written = NULL;

void
json_begin(StringInfo json)
{
	initStringInfo(json);
	appendStringInfoChar(json, '{');
}

void
json_end(StringInfo json)
{
	appendStringInfoChar(json, '}');
}

static void
json_key(StringInfo json, const char *key)
{
	appendStringInfoString(json, json->len > 1 ? ", \"" : "\"");
	appendStringInfoString(json, key);
	appendStringInfoString(json, "\": ");
}

void
json_text(StringInfo json, const char *key, const char *value)
{
	json_key(json, key);
	escape_json(json, value);
}

void
json_number(StringInfo json, const char *key, int64 value)
{
	char		digits[MAXINT8LEN + 1];

	json_key(json, key);
	(void) pg_lltoa(value, digits);
	appendStringInfoString(json, digits);
}

void
json_double(StringInfo json, const char *key, double value)
{
	json_key(json, key);
	appendStringInfo(json, "%.3f", value);
}

/* A value that is JSON already. */
static void
json_raw(StringInfo json, const char *key, const char *value)
{
	json_key(json, key);
	appendStringInfoString(json, value);
}

void
json_true(StringInfo json, const char *key)
{
	json_raw(json, key, "true");
}

void
json_uuids(StringInfo json, const char *key, const pg_uuid_t *ids, int nids)
{
	json_key(json, key);
	appendStringInfoChar(json, '[');
	for (int i = 0; i < nids; i++)
	{
		appendStringInfoString(json, i > 0 ? ", \"" : "\"");
		appendStringInfoString(json, uuid_text(&ids[i]));
		appendStringInfoChar(json, '"');
	}
	appendStringInfoChar(json, ']');
}

char *
uuid_text(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/* Start a journal; its restaurant may become known later. */
void
journal_init(Journal *journal, const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id)
{
	memset(journal, 0, sizeof(Journal));
	journal->context = CurrentMemoryContext;
	journal->booking_id = *booking_id;
	if (restaurant_id != NULL)
	{
		journal->has_restaurant = true;
		journal->restaurant_id = *restaurant_id;
	}
}

/* Collect one event; context is JSON and must outlive the journal. */
void
journal_add_event(Journal *journal, const char *source, const char *type,
				  const char *severity, const char *context)
{
	MemoryContext caller = MemoryContextSwitchTo(journal->context);
	EventRow   *event = palloc0(sizeof(EventRow));

	event->source = source;
	event->type = type;
	event->severity = severity;
	event->context = context;
	event->created_at = GetCurrentTimestamp();
	journal->events = lappend(journal->events, event);
	MemoryContextSwitchTo(caller);
}

HistoryRow *
journal_add_hop(Journal *journal, AssignmentState from, AssignmentState to, int version,
				const char *metadata, const char *reason)
{
	HistoryRow *hop;

	if (journal->nhops == WALK_MAX_HOPS)
		elog(ERROR, "a walk has more than %d hops", WALK_MAX_HOPS);
	hop = &journal->hops[journal->nhops++];
	hop->from = from;
	hop->to = to;
	hop->version = version;
	hop->metadata = metadata;
	hop->reason = reason;
	hop->created_at = GetCurrentTimestamp();
	return hop;
}

void
journal_set_attempt(Journal *journal, int attempt_no, const char *strategy, bool success,
					const char *reason, const char *metadata)
{
	journal->has_attempt = true;
	journal->attempt_no = attempt_no;
	journal->strategy = strategy;
	journal->success = success;
	journal->attempt_reason = reason;
	journal->attempt_metadata = metadata;
}

/* The arrival of a booking in a state that somebody outside waits for. */
void
journal_set_message(Journal *journal, HistoryRow *hop, const char *metadata)
{
	StringInfoData json;

	json_begin(&json);
	json_text(&json, "bookingId", uuid_text(&journal->booking_id));
	json_text(&json, "fromState", state_name(hop->from));
	json_text(&json, "toState", state_name(hop->to));
	json_number(&json, "version", hop->version);
	json_raw(&json, "metadata", metadata);
	json_end(&json);
	journal->message = json.data;
	journal->message_hop = hop;
}

/* Collect the event of one transition, or of one that would have happened. */
void
journal_add_transition_event(Journal *journal, const HistoryRow *hop, bool shadow)
{
	MemoryContext caller = MemoryContextSwitchTo(journal->context);
	StringInfoData json;

	json_begin(&json);
	json_text(&json, "from", state_name(hop->from));
	json_text(&json, "to", state_name(hop->to));
	if (hop->version > 0)
		json_number(&json, "version", hop->version);
	else
		json_raw(&json, "version", "null");
	json_raw(&json, "metadata", hop->metadata);
	if (hop->reason != NULL)
		json_text(&json, "reason", hop->reason);
	if (shadow)
		json_true(&json, "shadow");
	json_end(&json);
	MemoryContextSwitchTo(caller);
	journal_add_event(journal, EVENT_SOURCE_STATE_MACHINE, TRANSITION_EVENT, "info", json.data);
}

/*
 * Collect the events of all transitions that the journal holds.  A change of
 * facts is none.
 */
void
journal_add_transition_events(Journal *journal, bool shadow)
{
	for (int i = 0; i < journal->nhops; i++)
	{
		if (journal->hops[i].from != journal->hops[i].to)
			journal_add_transition_event(journal, &journal->hops[i], shadow);
	}
}

/* Forget what a try collected that was rolled back, events beyond the first few. */
void
journal_rewind(Journal *journal, int nevents)
{
	journal->events = list_truncate(journal->events, nevents);
	journal->nhops = 0;
	journal->has_attempt = false;
	journal->message = NULL;
	journal->message_hop = NULL;
}

static const pg_uuid_t *
journal_restaurant(const Journal *journal)
{
	return journal->has_restaurant ? &journal->restaurant_id : NULL;
}

static void
write_history(Journal *journal, bool locked)
{
	BeingWritten *entry = MemoryContextAlloc(TopTransactionContext, sizeof(BeingWritten));

	entry->journal = journal;
	entry->outer = being_written;
	entry->nest_level = GetCurrentTransactionNestLevel();
	being_written = entry;
	append_history(&journal->booking_id, journal_restaurant(journal), locked, journal->actor_id,
				   journal->hops, journal->nhops);
	being_written = entry->outer;
	pfree(entry);
}

static void
write_message(Journal *journal)
{
	StringInfoData type;
	StringInfoData key;

	initStringInfo(&type);
	appendStringInfo(&type, "booking.assignment_state.%s", state_name(journal->message_hop->to));
	initStringInfo(&key);
	appendStringInfo(&key, "%s:%d", uuid_text(&journal->booking_id),
					 journal->message_hop->version);
	append_message(&journal->booking_id, journal_restaurant(journal), type.data, key.data,
				   journal->message);
}

static void
write_events(Journal *journal)
{
	int			nevents = list_length(journal->events);
	EventRow   *rows = palloc(sizeof(EventRow) * nevents);

	for (int i = 0; i < nevents; i++)
		rows[i] = *(EventRow *) list_nth(journal->events, i);
	append_events(&journal->booking_id, journal_restaurant(journal), rows, nevents);
}

/*
 * Write all that was collected.  The journal keeps it, so that a try that is
 * rolled back after this can be told again.  The booking's row is locked or
 * not, as for append_history().
 */
void
journal_write(Journal *journal, bool locked)
{
	List	   *events = journal->events;

	if (journal->nhops > 0)
	{
		journal->events = list_copy(events);
		write_history(journal, locked);
	}
	if (journal->has_attempt)
		append_attempt(&journal->booking_id, journal_restaurant(journal), locked, journal->attempt_no,
					   journal->strategy, journal->success, journal->attempt_reason,
					   journal->attempt_metadata);
	if (journal->message != NULL)
		write_message(journal);
	if (journal->events != NIL)
		write_events(journal);
	journal->events = events;
}

Journal *
journal_being_written(void)
{
	return being_written != NULL ? being_written->journal : NULL;
}

/* A (sub)transaction has ended: what it was writing is written no more. */
void
journal_forget(int nest_level)
{
	while (being_written != NULL && being_written->nest_level >= nest_level)
		being_written = being_written->outer;
}
