/*-------------------------------------------------------------------------
 *
 * journal.h
 *		The trail of one decision: history, attempt, events and message.
 *
 *-------------------------------------------------------------------------
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "states.h"
#include "append.h"
#include "utils/uuid.h"

#define EVENT_SOURCE_STATE_MACHINE	"assignment.state_machine"
#define EVENT_SOURCE_COORDINATOR	"assignment.coordinator"

typedef struct Journal
{
	MemoryContext context;		/* of everything collected */
	pg_uuid_t	booking_id;
	bool		has_restaurant;
	pg_uuid_t	restaurant_id;
	const pg_uuid_t *actor_id;	/* who did it; NULL for nobody in person */
	List	   *events;			/* of EventRow */
	int			nhops;
	HistoryRow	hops[WALK_MAX_HOPS];
	bool		has_attempt;
	int			attempt_no;
	const char *strategy;
	bool		success;
	const char *attempt_reason;
	const char *attempt_metadata;
	char	   *message;		/* payload for the outbox, NULL if none */
	HistoryRow *message_hop;	/* the arrival it speaks of */
} Journal;

/* Writing JSON objects piece by piece. */
extern void json_begin(StringInfo json);
extern void json_end(StringInfo json);
extern void json_text(StringInfo json, const char *key, const char *value);
extern void json_number(StringInfo json, const char *key, int64 value);
extern void json_double(StringInfo json, const char *key, double value);
extern void json_true(StringInfo json, const char *key);
extern void json_uuids(StringInfo json, const char *key, const pg_uuid_t *ids, int nids);
extern char *uuid_text(const pg_uuid_t *id);

extern void journal_init(Journal *journal, const pg_uuid_t *booking_id,
						 const pg_uuid_t *restaurant_id);
extern void journal_add_event(Journal *journal, const char *source, const char *type,
							  const char *severity, const char *context);
extern HistoryRow *journal_add_hop(Journal *journal, AssignmentState from, AssignmentState to,
								   int version, const char *metadata, const char *reason);
extern void journal_set_attempt(Journal *journal, int attempt_no, const char *strategy,
								bool success, const char *reason, const char *metadata);
extern void journal_set_message(Journal *journal, HistoryRow *hop, const char *metadata);
extern void journal_add_transition_event(Journal *journal, const HistoryRow *hop, bool shadow);
extern void journal_add_transition_events(Journal *journal, bool shadow);
extern void journal_rewind(Journal *journal, int nevents);
extern void journal_write(Journal *journal, bool locked);
extern Journal *journal_being_written(void);
extern void journal_forget(int nest_level);

#endif							/* JOURNAL_H */
