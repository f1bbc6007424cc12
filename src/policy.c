/*-------------------------------------------------------------------------
 *
 * policy.c
 *		Back-off, retry cut-off and circuit breaker as pure functions.
 *
 * Everything here takes values and returns values: the clock, the settings
 * and chance are arguments.  Times are microseconds since 2000 as in
 * TimestampTz, delays are milliseconds.
 *
 * Back-off is exponential with additive jitter: min(max, base * 2^attempts +
 * jitter).  The breaker is the usual one of three states (M. Nygard, Release
 * It!): so many errors in a row open it, after the cool-down it is half-open,
 * and so many successes then close it; an error while half-open opens it
 * again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "policy.h"

/* 2^20 times any base exceeds every permitted maximum */
#define MAX_EXPONENT 20

/* The delay before the next try, after so many counted attempts; 0 <= random < 1. */
int
policy_retry_delay(const RetryPolicy *policy, int attempts, double random)
{
	int64		delay = (int64) policy->base_ms << Min(Max(attempts, 0), MAX_EXPONENT);

	delay += (int64) (random * policy->jitter_ms);
	return (int) Min(delay, (int64) policy->max_ms);
}

bool
policy_is_exhausted(const RetryPolicy *policy, int attempts)
{
	return attempts >= policy->max_attempts;
}

/* Would a retry after this delay come too close to the start to be of use? */
bool
policy_is_cut_off(const RetryPolicy *policy, TimestampTz now, int delay_ms,
				  TimestampTz start_at)
{
	return now + ((int64) delay_ms + policy->cutoff_ms) * 1000 > start_at;
}

BreakerState
breaker_state(const Breaker *breaker, TimestampTz now)
{
	if (breaker->open_until == 0)
		return BREAKER_CLOSED;
	return now < breaker->open_until ? BREAKER_OPEN : BREAKER_HALF_OPEN;
}

/* How long an open breaker stays open, in milliseconds. */
int
breaker_delay(const Breaker *breaker, TimestampTz now)
{
	return (int) Min((breaker->open_until - now) / 1000 + 1, (int64) PG_INT32_MAX);
}

/* Count a success; returns whether the breaker has changed. */
bool
breaker_succeed(Breaker *breaker, const BreakerPolicy *policy, TimestampTz now)
{
	switch (breaker_state(breaker, now))
	{
		case BREAKER_CLOSED:
			if (breaker->consecutive_errors == 0)
				return false;
			breaker->consecutive_errors = 0;
			return true;
		case BREAKER_HALF_OPEN:
			breaker->half_open_successes++;
			if (breaker->half_open_successes >= policy->successes)
				memset(breaker, 0, sizeof(Breaker));
			return true;
		case BREAKER_OPEN:
			return false;
	}
	elog(ERROR, "unexpected breaker state");
}

/* Count an error. */
void
breaker_fail(Breaker *breaker, const BreakerPolicy *policy, TimestampTz now)
{
	breaker->consecutive_errors++;
	if (breaker_state(breaker, now) == BREAKER_CLOSED &&
		breaker->consecutive_errors < policy->threshold)
		return;
	breaker->open_until = now + (int64) policy->cooldown_ms * 1000;
	breaker->half_open_successes = 0;
}
