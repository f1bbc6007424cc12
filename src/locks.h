/*-------------------------------------------------------------------------
 *
 * locks.h
 *		Advisory locks of the pipeline.
 *
 *-------------------------------------------------------------------------
 */
#ifndef LOCKS_H
#define LOCKS_H

#include "postgres.h"
#include "utils/uuid.h"

/*
 * Lock classes, the field4 of an advisory lock tag.  Slots take one class
 * each, so that a restaurant's key keeps all of its 64 bits.
 */
typedef enum LockClass
{
	LOCK_CLASS_BOOKING = 0xA301,
	LOCK_CLASS_TABLE = 0xA302,
	LOCK_CLASS_ATTACH = 0xA303,	/* of the database */
	LOCK_CLASS_GUARD = 0xA304,	/* of the database */
	LOCK_CLASS_SLOT = 0xA320	/* plus the slot's number, 1 to 20 */
} LockClass;

extern bool lock_booking(const pg_uuid_t *booking_id);
extern void unlock_booking(const pg_uuid_t *booking_id);
extern int	lock_slot(const pg_uuid_t *restaurant_id, int max_parallel);
extern bool lock_table(const pg_uuid_t *table_id);
extern void unlock_table(const pg_uuid_t *table_id);
extern bool lock_guard(void);
extern void unlock_guard(void);
extern bool guard_is_watching(void);

#endif							/* LOCKS_H */
