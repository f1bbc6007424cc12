/*-------------------------------------------------------------------------
 *
 * transition.h
 *		The SQL transition functions and the triggers on bookings and history.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TRANSITION_H
#define TRANSITION_H

#include "postgres.h"
#include "fmgr.h"
#include "journal.h"
#include "states.h"
#include "store.h"
#include "utils/uuid.h"

extern void TransitionInit(void);

extern bool status_is_eligible(const char *status);
extern bool status_frees_tables(const char *status);

/* Arguments of the functions that staff call. */
extern const pg_uuid_t *required_uuid(FunctionCallInfo fcinfo, int arg, const char *name);
extern const char *optional_text(FunctionCallInfo fcinfo, int arg);
extern const pg_uuid_t *acting_person(FunctionCallInfo fcinfo, int arg);
extern void require_writable(void);

/* One booking moved by one of our own functions. */
extern void door_open(const pg_uuid_t *booking_id, bool check_version, int expected_version,
					  BookingRecord *booking);
extern void take_walk(const BookingRecord *booking, Journal *journal, const char *status,
					  const char *strategy);
extern Datum transition_result(FunctionCallInfo fcinfo, AssignmentState from,
							   AssignmentState to, int version);

#endif							/* TRANSITION_H */
