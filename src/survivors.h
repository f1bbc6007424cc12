/*-------------------------------------------------------------------------
 *
 * survivors.h
 *		Events that outlive the transaction they happened in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SURVIVORS_H
#define SURVIVORS_H

#include "postgres.h"
#include "append.h"
#include "binding.h"
#include "fmgr.h"
#include "utils/uuid.h"

#define EVENT_SOURCE_TRANSITION "assignment.transition"

/* Events that one session keeps at the most. */
#define SURVIVORS_MAX 100

extern void SurvivorsInit(void);
extern void survivors_keep(const pg_uuid_t *booking_id, const EventRow *event, bool written);
extern void survivors_keep_error(const pg_uuid_t *booking_id, const char *source,
								 const char *type, const char *context);
extern Datum survivors_call(FunctionCallInfo fcinfo, PGFunction body, const char *name);
extern void survivors_keep_failure(const pg_uuid_t *booking_id, const char *name);
extern void survivors_count(Counter counter);
extern int	survivors_take_uncounted(Counter counter);
extern void survivors_give_back(Counter counter, int n);
extern void survivors_write(void);

#endif							/* SURVIVORS_H */
