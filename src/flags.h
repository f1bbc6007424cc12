/*-------------------------------------------------------------------------
 *
 * flags.h
 *		The settings, and the mode they put a restaurant in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FLAGS_H
#define FLAGS_H

#include "postgres.h"
#include "policy.h"
#include "utils/uuid.h"

typedef enum PipelineMode
{
	MODE_DISABLED,
	MODE_SHADOW,
	MODE_ACTIVE
} PipelineMode;

/* The lowest level keeps every event that reports and gates count. */
typedef enum EventLevel
{
	EVENT_LEVEL_OUTCOMES,
	EVENT_LEVEL_STEPS
} EventLevel;

/* A row of the rollout table, for one restaurant or for the fleet. */
typedef struct RolloutRow
{
	bool		exists;
	PipelineMode mode;
	int			max_parallel;	/* 0: not set */
	int			percent;		/* -1: not set */
} RolloutRow;

/* The rows that are read at each call and weigh more than the settings. */
typedef struct RolloutRows
{
	bool		killed;
	RolloutRow	restaurant;
	RolloutRow	fleet;
} RolloutRows;

extern bool flag_auto_rollback;
extern int	flag_auto_rollback_calls;
extern int	flag_auto_rollback_percent;
/* what shared memory has room for */
#define MAX_WORKER_DATABASES 64
#define MAX_WORKERS 16

extern int	flag_max_parallel;
extern int	flag_max_tables;
extern int	flag_event_level;
extern int	flag_step_log_level;
extern int	flag_batch_size;
extern int	flag_rate_limit_delay;

extern int	flag_worker_databases_generation;	/* moves when the list changes */
extern int	flag_workers;
extern int	flag_worker_naptime;

extern void FlagsInit(void);
extern bool flags_list_worker_database(const char *name);
extern const char *mode_name(PipelineMode mode);
extern PipelineMode mode_from_text(const char *name);
extern PipelineMode flags_mode(const RolloutRows *rows, const pg_uuid_t *restaurant_id,
					   const char **reason);
extern int	flags_slots(const RolloutRows *rows);
extern RetryPolicy flags_retry_policy(void);
extern BreakerPolicy flags_breaker_policy(void);

#endif							/* FLAGS_H */
