/*-------------------------------------------------------------------------
 *
 * policy.h
 *		Back-off, retry cut-off and circuit breaker as pure functions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef POLICY_H
#define POLICY_H

#include "postgres.h"
#include "datatype/timestamp.h"

/* A restaurant's breaker as it is stored; open_until 0 while it is closed. */
typedef struct Breaker
{
	int			consecutive_errors;
	int			half_open_successes;
	TimestampTz open_until;
} Breaker;

typedef enum BreakerState
{
	BREAKER_CLOSED,
	BREAKER_OPEN,
	BREAKER_HALF_OPEN
} BreakerState;

typedef struct BreakerPolicy
{
	int			threshold;		/* consecutive errors that open it */
	int			cooldown_ms;
	int			successes;		/* half-open successes that close it */
} BreakerPolicy;

typedef struct RetryPolicy
{
	int			max_attempts;
	int			base_ms;
	int			max_ms;
	int			jitter_ms;
	int			cutoff_ms;		/* no retry closer to the start than this */
} RetryPolicy;

extern int	policy_retry_delay(const RetryPolicy *policy, int attempts, double random);
extern bool policy_is_exhausted(const RetryPolicy *policy, int attempts);
extern bool policy_is_cut_off(const RetryPolicy *policy, TimestampTz now,
							  int delay_ms, TimestampTz start_at);

extern BreakerState breaker_state(const Breaker *breaker, TimestampTz now);
extern int	breaker_delay(const Breaker *breaker, TimestampTz now);
extern bool breaker_succeed(Breaker *breaker, const BreakerPolicy *policy,
							TimestampTz now);
extern void breaker_fail(Breaker *breaker, const BreakerPolicy *policy,
						 TimestampTz now);

#endif							/* POLICY_H */
