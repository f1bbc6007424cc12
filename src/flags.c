/*-------------------------------------------------------------------------
 *
 * flags.c
 *		The settings, and the mode they put a restaurant in.
 *
 * All settings are superuser-set; the install script grants SET on them to
 * the extension's owner, so that a plain owner can flip them for a session,
 * a role or the database and nobody else can.  They are read where they are
 * used and never copied, so SET takes effect at the next call.
 *
 * A mode is decided from the strongest word to the weakest: the kill row,
 * the restaurant's rollout row, the fleet's rollout row, "enabled" with its
 * percentage, "shadow", and disabled where nobody has spoken.  A restaurant
 * outside the percentage of the fleet's row or of "enabled" goes on to
 * "shadow".  The share is sticky: a restaurant's bucket is a hash of its id
 * salted with the flag's name, so raising the percentage never takes one out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/extension.h"
#include "common/hashfn.h"
#include "flags.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "sqlstates.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(assignment_flag_accepts);
PG_FUNCTION_INFO_V1(assignment_grant_flags);
PG_FUNCTION_INFO_V1(assignment_rollout_bucket);

/* salt of the rollout, the letters V3ROLLOU, apart from every other hash of ids */
#define ROLLOUT_SALT UINT64CONST(0x5633524f4c4c4f55)
#define ROLLOUT_BUCKETS 10000

#define EVENT_LEVEL_FLAG "assignment_v3.event_level"
#define STEP_LOG_LEVEL_FLAG "assignment_v3.step_log_level"

static bool flag_enabled = false;
static bool flag_shadow = false;
static int	flag_rollout_percent = 100;
int			flag_batch_size = 16;
int			flag_max_attempts = 5;
static int	flag_retry_base_delay = 1000;
static int	flag_retry_max_delay = 30000;
static int	flag_retry_jitter = 1000;
static int	flag_start_cutoff = 600;
static int	flag_breaker_threshold = 5;
static int	flag_breaker_cooldown = 15000;
static int	flag_breaker_successes = 2;

bool		flag_auto_rollback = false;
int			flag_auto_rollback_calls = 50;
int			flag_auto_rollback_percent = 20;
int			flag_max_parallel = 3;
int			flag_max_tables = 3;
int			flag_event_level = EVENT_LEVEL_STEPS;
int			flag_step_log_level = DEBUG1;
int			flag_rate_limit_delay = 2000;

static char *worker_databases = NULL;
int			flag_worker_databases_generation = 0;
int			flag_workers = 1;
int			flag_worker_naptime = 60;

static const struct config_enum_entry event_level_options[] = {
	{"outcomes", EVENT_LEVEL_OUTCOMES, false},
	{"steps", EVENT_LEVEL_STEPS, false},
	{NULL, 0, false}
};

static const struct config_enum_entry log_level_options[] = {
	{"debug5", DEBUG5, false},
	{"debug4", DEBUG4, false},
	{"debug3", DEBUG3, false},
	{"debug2", DEBUG2, false},
	{"debug1", DEBUG1, false},
	{"log", LOG, false},
	{NULL, 0, false}
};

typedef struct BoolFlag
{
	const char *name;
	const char *description;
	bool	   *value;
} BoolFlag;

typedef struct IntFlag
{
	const char *name;
	const char *description;
	int		   *value;
	int			minimum;
	int			maximum;
	int			flags;
} IntFlag;

static const BoolFlag bool_flags[] = {
	{"assignment_v3.enabled",
	"Seats bookings (FEATURE_ASSIGNMENT_PIPELINE_V3).", &flag_enabled},
	{"assignment_v3.shadow",
	"Rehearses bookings and rolls them back (FEATURE_ASSIGNMENT_PIPELINE_V3_SHADOW).", &flag_shadow},
	{"assignment_v3.auto_rollback",
	"Switches the pipeline off by itself when too many decisions meet an error.", &flag_auto_rollback},
};

static const IntFlag int_flags[] = {
	{"assignment_v3.max_parallel",
		"Decisions that one restaurant takes at a time (FEATURE_ASSIGNMENT_PIPELINE_V3_MAX_PARALLEL).",
	&flag_max_parallel, 1, 20, 0},
	{"assignment_v3.rollout_percent",
		"Share of restaurants that \"assignment_v3.enabled\" reaches, by a sticky hash.",
	&flag_rollout_percent, 0, 100, 0},
	{"assignment_v3.auto_rollback_calls",
		"Latest decisions among which \"assignment_v3.auto_rollback\" counts errors.",
	&flag_auto_rollback_calls, 5, 1000, 0},
	{"assignment_v3.auto_rollback_percent",
		"Share of these decisions that may meet an error.",
	&flag_auto_rollback_percent, 1, 99, 0},
	{"assignment_v3.batch_size",
		"Bookings that run() decides on before it commits, and a restaurant's share of a turn.",
	&flag_batch_size, 1, 32, 0},
	{"assignment_v3.max_attempts",
		"Attempts after which a booking goes to manual review.",
	&flag_max_attempts, 1, 100, 0},
	{"assignment_v3.max_tables",
		"Tables that one party is seated at, at the most.",
	&flag_max_tables, 1, 6, 0},
	{"assignment_v3.retry_base_delay",
		"Delay before the first retry; it doubles with each attempt.",
	&flag_retry_base_delay, 1, 3600000, GUC_UNIT_MS},
	{"assignment_v3.retry_max_delay",
		"Longest delay before a retry.",
	&flag_retry_max_delay, 1, 86400000, GUC_UNIT_MS},
	{"assignment_v3.retry_jitter",
		"Random time added to the delay before a retry, at the most.",
	&flag_retry_jitter, 0, 3600000, GUC_UNIT_MS},
	{"assignment_v3.rate_limit_delay",
		"Delay after which a caller that found no free slot should come again.",
	&flag_rate_limit_delay, 1, 3600000, GUC_UNIT_MS},
	{"assignment_v3.start_cutoff",
		"Time before a booking's start in which it is no more tried again.",
	&flag_start_cutoff, 0, 604800, GUC_UNIT_S},
	{"assignment_v3.breaker_threshold",
		"Errors in a row that open a restaurant's circuit breaker.",
	&flag_breaker_threshold, 1, 1000, 0},
	{"assignment_v3.breaker_cooldown",
		"Time for which an open circuit breaker stays open.",
	&flag_breaker_cooldown, 1, 86400000, GUC_UNIT_MS},
	{"assignment_v3.breaker_successes",
		"Successes that close a half-open circuit breaker.",
	&flag_breaker_successes, 1, 1000, 0},
};

/*
 * Names are taken as they stand, without folding to lower case; quotes are
 * needed around those with a comma or blanks.
 */
static bool
check_worker_databases(char **value, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*value);
	List	   *names;
	bool		valid = SplitGUCList(copy, ',', &names);

	if (!valid)
		GUC_check_errdetail("List syntax is invalid.");
	else if (list_length(names) > MAX_WORKER_DATABASES)
	{
		GUC_check_errdetail("There are workers for %d databases at the most.",
							MAX_WORKER_DATABASES);
		valid = false;
	}
	list_free(names);
	pfree(copy);
	return valid;
}

static void
assign_worker_databases(const char *value, void *extra)
{
	flag_worker_databases_generation++;
}

/* Are background workers to look after this database? */
bool
flags_list_worker_database(const char *name)
{
	char	   *copy = pstrdup(worker_databases);
	List	   *names;
	ListCell   *cell;
	bool		listed = false;

	if (!SplitGUCList(copy, ',', &names))
		elog(ERROR, "\"%s\" is no list", worker_databases);
	foreach(cell, names)
		listed |= strcmp(lfirst(cell), name) == 0;
	list_free(names);
	pfree(copy);
	return listed;
}

/* What the background workers do, told by the configuration file alone. */
static void
define_worker_flags(void)
{
	DefineCustomStringVariable("assignment_v3.worker_databases",
							   "Databases whose bookings background workers seat.",
							   "Takes effect only if the library is in \"shared_preload_libraries\".",
							   &worker_databases, "", PGC_SIGHUP, GUC_LIST_INPUT,
							   check_worker_databases, assign_worker_databases, NULL);
	DefineCustomIntVariable("assignment_v3.workers",
							"Background workers of one database, at the most.",
							NULL, &flag_workers, flag_workers, 0, MAX_WORKERS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("assignment_v3.worker_naptime",
							"Time after which a background worker looks at a database even if nothing has called it.",
							NULL, &flag_worker_naptime, flag_worker_naptime, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

void
FlagsInit(void)
{
	for (int i = 0; i < (int) lengthof(bool_flags); i++)
		DefineCustomBoolVariable(bool_flags[i].name, bool_flags[i].description, NULL,
								 bool_flags[i].value, *bool_flags[i].value,
								 PGC_SUSET, 0, NULL, NULL, NULL);
	for (int i = 0; i < (int) lengthof(int_flags); i++)
		DefineCustomIntVariable(int_flags[i].name, int_flags[i].description, NULL,
								int_flags[i].value, *int_flags[i].value,
								int_flags[i].minimum, int_flags[i].maximum,
								PGC_SUSET, int_flags[i].flags, NULL, NULL, NULL);
	DefineCustomEnumVariable(EVENT_LEVEL_FLAG,
							 "Events that are written.",
							 "\"outcomes\" keeps all that reports and gates count, \"steps\" adds the coordinator's steps.",
							 &flag_event_level, EVENT_LEVEL_STEPS, event_level_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable(STEP_LOG_LEVEL_FLAG,
							 "Level at which the coordinator's steps go to the server log.",
							 NULL,
							 &flag_step_log_level, DEBUG1, log_level_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	define_worker_flags();
	MarkGUCPrefixReserved("assignment_v3");
}

static const char *const mode_names[] = {
	[MODE_DISABLED] = "disabled",
	[MODE_SHADOW] = "shadow",
	[MODE_ACTIVE] = "active",
};

const char *
mode_name(PipelineMode mode)
{
	return mode_names[mode];
}

/* Read a mode as the rollout table stores it, where a CHECK guards it. */
PipelineMode
mode_from_text(const char *name)
{
	for (int i = 0; i < (int) lengthof(mode_names); i++)
	{
		if (strcmp(name, mode_names[i]) == 0)
			return (PipelineMode) i;
	}
	elog(ERROR, "unexpected mode \"%s\"", name);
}

/* Where a restaurant stands in the order of the rollout. */
static int
bucket_of(const pg_uuid_t *restaurant_id)
{
	return (int) (hash_bytes_extended(restaurant_id->data, UUID_LEN, ROLLOUT_SALT) %
				  ROLLOUT_BUCKETS);
}

/*
 * Is this restaurant in the given share of the fleet?  Asked of the fleet as
 * a whole, any share above nothing counts.
 */
static bool
in_share(const pg_uuid_t *restaurant_id, int percent)
{
	if (percent >= 100)
		return true;
	if (restaurant_id == NULL)
		return percent > 0;
	return bucket_of(restaurant_id) < percent * (ROLLOUT_BUCKETS / 100);
}

/* The effective mode of a restaurant (NULL: the fleet), and which word decided it. */
PipelineMode
flags_mode(const RolloutRows *rows, const pg_uuid_t *restaurant_id, const char **reason)
{
	int			percent = flag_rollout_percent;
	bool		outside = false;

	if (rows->killed)
	{
		*reason = "kill";
		return MODE_DISABLED;
	}
	if (rows->restaurant.exists)
	{
		*reason = "restaurant";
		return rows->restaurant.mode;
	}
	if (rows->fleet.exists)
	{
		if (rows->fleet.percent >= 0)
			percent = rows->fleet.percent;
		if (rows->fleet.mode != MODE_ACTIVE || in_share(restaurant_id, percent))
		{
			*reason = "fleet";
			return rows->fleet.mode;
		}
		outside = true;
	}
	else if (flag_enabled)
	{
		if (in_share(restaurant_id, percent))
		{
			*reason = "enabled";
			return MODE_ACTIVE;
		}
		outside = true;
	}
	if (flag_shadow)
	{
		*reason = "shadow";
		return MODE_SHADOW;
	}
	*reason = outside ? "rollout_percent" : "default";
	return MODE_DISABLED;
}

/* How many decisions the restaurant may take at a time. */
int
flags_slots(const RolloutRows *rows)
{
	if (rows->restaurant.exists && rows->restaurant.max_parallel > 0)
		return rows->restaurant.max_parallel;
	if (rows->fleet.exists && rows->fleet.max_parallel > 0)
		return rows->fleet.max_parallel;
	return flag_max_parallel;
}

RetryPolicy
flags_retry_policy(void)
{
	RetryPolicy policy = {
		.max_attempts = flag_max_attempts,
		.base_ms = flag_retry_base_delay,
		.max_ms = flag_retry_max_delay,
		.jitter_ms = flag_retry_jitter,
		.cutoff_ms = flag_start_cutoff * 1000,
	};

	return policy;
}

BreakerPolicy
flags_breaker_policy(void)
{
	BreakerPolicy policy = {
		.threshold = flag_breaker_threshold,
		.cooldown_ms = flag_breaker_cooldown,
		.successes = flag_breaker_successes,
	};

	return policy;
}

/*
 * flag_accepts(name text, value text) returns boolean: would SET take this
 * value?  It lets status() point out a value that was stored while the
 * library was not loaded and is ignored since.
 */
Datum
assignment_flag_accepts(PG_FUNCTION_ARGS)
{
	char	   *name;
	char	   *value;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	value = text_to_cstring(PG_GETARG_TEXT_PP(1));
	PG_RETURN_BOOL(set_config_option(name, value, PGC_SUSET, PGC_S_TEST,
									 GUC_ACTION_SET, false, DEBUG5, false) != 0);
}

/*
 * rollout_bucket(restaurant_id uuid) returns int: it is inside a share of p
 * percent if its bucket is below 100 p.
 */
Datum
assignment_rollout_bucket(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_INT32(bucket_of(PG_GETARG_UUID_P(0)));
}

/* GRANT SET ON PARAMETER all flags TO a role */
static GrantStmt *
flags_grant(Oid role)
{
	GrantStmt  *grant = makeNode(GrantStmt);
	AccessPriv *privilege = makeNode(AccessPriv);
	RoleSpec   *grantee = makeNode(RoleSpec);

	privilege->priv_name = pstrdup("set");
	grantee->roletype = ROLESPEC_CSTRING;
	grantee->rolename = GetUserNameFromId(role, false);
	grantee->location = -1;
	grant->is_grant = true;
	grant->targtype = ACL_TARGET_OBJECT;
	grant->objtype = OBJECT_PARAMETER_ACL;
	grant->privileges = list_make1(privilege);
	grant->grantees = list_make1(grantee);
	grant->behavior = DROP_RESTRICT;
	for (int i = 0; i < (int) lengthof(bool_flags); i++)
		grant->objects = lappend(grant->objects, makeString(pstrdup(bool_flags[i].name)));
	for (int i = 0; i < (int) lengthof(int_flags); i++)
		grant->objects = lappend(grant->objects, makeString(pstrdup(int_flags[i].name)));
	grant->objects = lappend(grant->objects, makeString(pstrdup(EVENT_LEVEL_FLAG)));
	grant->objects = lappend(grant->objects, makeString(pstrdup(STEP_LOG_LEVEL_FLAG)));
	return grant;
}

/*
 * grant_flags(grantee regrole): let a role set the flags.  Needs the right to
 * grant that, which a superuser has.
 *
 * The install script calls it.  There the grants must not be recorded as the
 * extension's initial privileges, as any other of its grants are: parameters
 * belong to the cluster and outlive the extension, and PostgreSQL 17 can then
 * drop the role never more ("cache lookup failed for parameter ACL").
 */
Datum
assignment_grant_flags(PG_FUNCTION_ARGS)
{
	bool		installing = creating_extension;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("grantee must not be null")));
	creating_extension = false;
	PG_TRY();
	{
		ExecuteGrantStmt(flags_grant(PG_GETARG_OID(0)));
	}
	PG_FINALLY();
	{
		creating_extension = installing;
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}
