/*-------------------------------------------------------------------------
 *
 * guard.h
 *		The automatic rollback: too many errors switch the pipeline off.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GUARD_H
#define GUARD_H

#include "postgres.h"

extern void GuardInit(void);
extern void guard_prepare(void);
extern void guard_error(int64 decision, int64 error);
extern void guard_thrown(int64 decision);
extern void guard_write(void);

#endif							/* GUARD_H */
