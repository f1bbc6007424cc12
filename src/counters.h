/*-------------------------------------------------------------------------
 *
 * counters.h
 *		Counts that survive the transactions they were made in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef COUNTERS_H
#define COUNTERS_H

#include "postgres.h"
#include "binding.h"

extern int64 counter_add(Counter counter);

#endif							/* COUNTERS_H */
