/*-------------------------------------------------------------------------
 *
 * client.c
 *		The one client that drives all competitors.
 *
 * usage: client [-t] [-w FILE] COMPETITOR CLIENTS FIRST COUNT WARM_UP
 *
 * Processes the rows FIRST to FIRST + COUNT - 1 of bench.work with so many
 * connections at once, after each of them has processed WARM_UP rows more
 * that are not counted, from FIRST + COUNT on.  Prints one line:
 * bookings per second, bookings confirmed, median and 95th percentile of the
 * time of one in microseconds, round trips per booking, transactions failed.
 *
 *	-t			each connection calls bench.touch() first: the pages that a connection
 *				touches for the first time it has to map, which one that comes from a
 *				pool did long ago
 *	-w FILE		each connection first processes its part of what bench.work holds,
 *				so that it has made all its plans; then FILE.ready is written, and the
 *				client waits until FILE exists before it reads the rows that count.
 *				Meanwhile the tables may grow.
 *
 * All competitors prepare their statements beforehand and send text
 * parameters over the same connection; what differs is only what is sent:
 *
 *	floor		the rows of a confirmation, written by bare statements from a
 *				plan that is known already, all in one pipeline and thus in
 *				one transaction and one round trip
 *	batches		the same, committed after every 16 bookings
 *	engine		SELECT * FROM assignment_v3.process_booking($1)
 *	plpgsql		SELECT * FROM peer.process_booking($1)
 *	legacy		SELECT legacy.create_hold($1), SELECT * FROM legacy.confirm_hold($1),
 *				SELECT legacy.summarise($1, $2)
 *	application	each step a statement of its own, as an application sends
 *				them that keeps its logic to itself: the floor is planned in
 *				here, locks are the session's, a hold guards the tables until
 *				they are assigned
 *	update		UPDATE of a column of bookings that the pipeline knows nothing of
 *
 * Who asks for the least is favoured: the floor and the application write
 * their constant JSON as constants, and this client plans in no time.
 *
 *-------------------------------------------------------------------------
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 64
#define ID_SIZE 60
#define MAX_STATEMENTS 40
#define MAX_MERGE 3
#define MAX_FLOOR 200
#define BATCH 16
#define SLOTS 3
#define PASSING "{\"trigger\": \"manual\"}"	/* metadata of all transitions but the last */
#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

/* A booking that waits, and the plan for it. */
typedef struct Item
{
	char	   *booking;
	char	   *restaurant;
	char	   *start_at;
	char	   *end_at;
	char	   *dedupe_key;
	char	   *arrival;		/* metadata of the last transition */
	char	   *arrival_event;
	char	   *message;
	char	   *attempt;
	char	   *confirmed_event;
	int			ntables;
	char	   *tables[MAX_MERGE];
} Item;

typedef struct Worker
{
	pthread_t	thread;
	PGconn	   *conn;
	int			number;
	int			confirmed;
	int			failed;
	long		round_trips;
	int			in_batch;		/* bookings that are not committed yet */
	unsigned short chance[3];
} Worker;

typedef struct Competitor
{
	const char *name;
	const char *const *statements;
	bool		(*process) (Worker *worker, const Item *item);
	void		(*finish) (Worker *worker);	/* NULL if nothing is left to be done */
} Competitor;

static const Competitor *competitor;
static Item *items;
static double *latencies;
static int	nclients;
static int	nitems;
static int	nwarm_up;
static const char *first_item;
static bool touch_memory = false;
static const char *wait_for = NULL;
static int	next_item = 0;
static pthread_barrier_t start_line;

static void
die(const char *what, const char *detail)
{
	fprintf(stderr, "client: %s: %s\n", what, detail);
	exit(1);
}

static double
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static void
check(Worker *worker, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		die("statement failed", PQerrorMessage(worker->conn));
}

static const char *
statement_name(int statement)
{
	static const char *const names[MAX_STATEMENTS] = {
		"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9",
		"s10", "s11", "s12", "s13", "s14", "s15", "s16", "s17", "s18", "s19",
		"s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29",
	};

	return names[statement];
}

static int
count_params(const char *const *params)
{
	int			nparams = 0;

	while (params[nparams] != NULL)
		nparams++;
	return nparams;
}

/* Run one statement in a round trip of its own. */
static PGresult *
run(Worker *worker, int statement, const char *const *params)
{
	PGresult   *result = PQexecPrepared(worker->conn, statement_name(statement),
										count_params(params), params, NULL, NULL, 0);

	check(worker, result);
	worker->round_trips++;
	return result;
}

#define PARAMS(...) ((const char *const[]) {__VA_ARGS__, NULL})

/* Run one statement and return how many rows it found or wrote. */
static int
rows_of(Worker *worker, int statement, const char *const *params)
{
	PGresult   *result = run(worker, statement, params);
	int			rows = PQresultStatus(result) == PGRES_TUPLES_OK ?
		PQntuples(result) : atoi(PQcmdTuples(result));

	PQclear(result);
	return rows;
}

/* Run one statement and return its one boolean. */
static bool
is_true(Worker *worker, int statement, const char *const *params)
{
	PGresult   *result = run(worker, statement, params);
	bool		answer = strcmp(PQgetvalue(result, 0, 0), "t") == 0;

	PQclear(result);
	return answer;
}

/*
 * The floor
 */

enum
{
	FLOOR_ASSIGN, FLOOR_HISTORY, FLOOR_EVENTS, FLOOR_ATTEMPT, FLOOR_MESSAGE, FLOOR_BOOKING, FLOOR_QUEUE
};

static const char *const floor_statements[MAX_STATEMENTS] = {
	[FLOOR_ASSIGN] =
	"INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at) VALUES ($1, $2, $3, $4)",
	[FLOOR_HISTORY] =
	"INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state, version, metadata) VALUES "
	"($1, 'created', 'capacity_verified', 2, '{\"trigger\": \"manual\"}'), "
	"($1, 'capacity_verified', 'assignment_pending', 3, '{\"trigger\": \"manual\"}'), "
	"($1, 'assignment_pending', 'assignment_in_progress', 4, '{\"trigger\": \"manual\"}'), "
	"($1, 'assignment_in_progress', 'assigned', 5, '{\"trigger\": \"manual\"}'), "
	"($1, 'assigned', 'confirmed', 6, $2)",
	[FLOOR_EVENTS] =
	"INSERT INTO observability_events (source, event_type, context, booking_id, restaurant_id, id) VALUES "
#define STEP "('assignment.coordinator', 'coordinator."
#define HOP "('assignment.state_machine', 'booking.assignment_state_transition', '{\"metadata\": {\"trigger\": \"manual\"}, "
	STEP "start', '{\"mode\": \"active\", \"trigger\": \"manual\"}', $1, $2, $5), "
	STEP "lock_acquired', '{\"mode\": \"active\", \"trigger\": \"manual\"}', $1, $2, $6), "
	STEP "rate_permit_acquired', '{\"mode\": \"active\", \"slot\": 1, \"trigger\": \"manual\"}', $1, $2, $7), "
	HOP "\"from\": \"created\", \"to\": \"capacity_verified\", \"version\": 2}', $1, $2, $8), "
	HOP "\"from\": \"capacity_verified\", \"to\": \"assignment_pending\", \"version\": 3}', $1, $2, $9), "
	HOP "\"from\": \"assignment_pending\", \"to\": \"assignment_in_progress\", \"version\": 4}', $1, $2, $10), "
	HOP "\"from\": \"assignment_in_progress\", \"to\": \"assigned\", \"version\": 5}', $1, $2, $11), "
	"('assignment.state_machine', 'booking.assignment_state_transition', $3, $1, $2, $12), "
	STEP "confirmed', $4, $1, $2, $13)",
	[FLOOR_ATTEMPT] =
	"INSERT INTO booking_assignment_attempts (booking_id, attempt_no, strategy, result, metadata) "
	"VALUES ($1, 1, 'optimal_fit', 'success', $2)",
	[FLOOR_MESSAGE] =
	"INSERT INTO capacity_outbox (id, event_type, dedupe_key, restaurant_id, booking_id, idempotency_key, payload) "
	"VALUES ($5, 'booking.assignment_state.confirmed', $3, $2, $1, 'booking.assignment_state.confirmed:' || $3, $4) "
	"ON CONFLICT DO NOTHING",
	[FLOOR_BOOKING] =
	"UPDATE bookings SET assignment_state = 'confirmed', assignment_state_version = 6, status = 'confirmed', "
	"assignment_strategy = 'optimal_fit', updated_at = now() WHERE id = $1 AND assignment_state_version = 1",
	[FLOOR_QUEUE] =
	"DELETE FROM assignment_v3.queue WHERE booking_id = $1",
};

static void
send_statement(Worker *worker, int statement, const char *const *params)
{
	if (!PQsendQueryPrepared(worker->conn, statement_name(statement), count_params(params),
							 params, NULL, NULL, 0))
		die("could not send", PQerrorMessage(worker->conn));
}

/* Read the results of a pipeline up to its end. */
static void
drain_pipeline(Worker *worker)
{
	PGresult   *result;

	for (;;)
	{
		ExecStatusType status;

		result = PQgetResult(worker->conn);
		if (result == NULL)
			continue;			/* between two statements */
		status = PQresultStatus(result);
		if (status != PGRES_PIPELINE_SYNC)
			check(worker, result);
		PQclear(result);
		if (status == PGRES_PIPELINE_SYNC)
			return;
	}
}

/* An id in the order of time, as version 7 of RFC 9562 has it: process_booking writes such ones. */
static char *
make_id(Worker *worker, char *id)
{
	struct timespec now;
	unsigned long long ms;

	clock_gettime(CLOCK_REALTIME, &now);
	ms = now.tv_sec * 1000ULL + now.tv_nsec / 1000000;
	snprintf(id, ID_SIZE, "%08llx-%04llx-7%03lx-8%03lx-%06lx%06lx", ms >> 16, ms & 0xffff,
			 now.tv_nsec / 1000 % 1000 * 4, nrand48(worker->chance) & 0xfff,
			 nrand48(worker->chance) & 0xffffff, nrand48(worker->chance) & 0xffffff);
	return id;
}

/* The rows of one confirmation, into a pipeline. */
static void
send_floor(Worker *worker, const Item *item)
{
	char		ids[10][ID_SIZE];

	for (int i = 0; i < 10; i++)
		make_id(worker, ids[i]);
	for (int i = 0; i < item->ntables; i++)
		send_statement(worker, FLOOR_ASSIGN,
					   PARAMS(item->booking, item->tables[i], item->start_at, item->end_at));
	send_statement(worker, FLOOR_HISTORY, PARAMS(item->booking, item->arrival));
	send_statement(worker, FLOOR_EVENTS, PARAMS(item->booking, item->restaurant,
												item->arrival_event, item->confirmed_event,
												ids[0], ids[1], ids[2], ids[3], ids[4], ids[5],
												ids[6], ids[7], ids[8]));
	send_statement(worker, FLOOR_ATTEMPT, PARAMS(item->booking, item->attempt));
	send_statement(worker, FLOOR_MESSAGE,
				   PARAMS(item->booking, item->restaurant, item->dedupe_key, item->message, ids[9]));
	send_statement(worker, FLOOR_BOOKING, PARAMS(item->booking));
	send_statement(worker, FLOOR_QUEUE, PARAMS(item->booking));
}

static bool
process_by_floor(Worker *worker, const Item *item)
{
	PQenterPipelineMode(worker->conn);
	send_floor(worker, item);
	PQpipelineSync(worker->conn);
	drain_pipeline(worker);
	PQexitPipelineMode(worker->conn);
	worker->round_trips++;
	return true;
}

static void
send_command(Worker *worker, const char *command)
{
	if (!PQsendQueryParams(worker->conn, command, 0, NULL, NULL, NULL, NULL, 0))
		die("could not send", PQerrorMessage(worker->conn));
}

static bool
process_in_batches(Worker *worker, const Item *item)
{
	PQenterPipelineMode(worker->conn);
	if (worker->in_batch == 0)
		send_command(worker, "BEGIN");
	send_floor(worker, item);
	worker->in_batch = (worker->in_batch + 1) % BATCH;
	if (worker->in_batch == 0)
		send_command(worker, "COMMIT");
	PQpipelineSync(worker->conn);
	drain_pipeline(worker);
	PQexitPipelineMode(worker->conn);
	worker->round_trips++;
	return true;
}

static void
finish_batch(Worker *worker)
{
	if (worker->in_batch > 0)
		PQclear(PQexec(worker->conn, "COMMIT"));
	worker->in_batch = 0;
}

/*
 * Functions that do it all: process_booking and its peer in PL/pgSQL
 */

static const char *const engine_statements[MAX_STATEMENTS] = {
	"SELECT * FROM assignment_v3.process_booking($1)"
};

static const char *const plpgsql_statements[MAX_STATEMENTS] = {
	"SELECT * FROM peer.process_booking($1)"
};

/* Run one statement that may fail: what failed is counted, and shown a few times. */
static PGresult *
try_run(Worker *worker, int statement, const char *const *params)
{
	PGresult   *result = PQexecPrepared(worker->conn, statement_name(statement),
										count_params(params), params, NULL, NULL, 0);

	worker->round_trips++;
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return result;
	if (PQstatus(worker->conn) != CONNECTION_OK)
		die("connection lost", PQerrorMessage(worker->conn));
	if (worker->failed++ < 2)
		fprintf(stderr, "client: %s: %s", competitor->name, PQresultErrorMessage(result));
	PQclear(result);
	return NULL;
}

/* Call a function with an id; whether its outcome is a confirmation. */
static bool
call_confirms(Worker *worker, int statement, const char *id)
{
	PGresult   *result = try_run(worker, statement, PARAMS(id));
	bool		confirmed;

	if (result == NULL)
		return false;
	confirmed = strcmp(PQgetvalue(result, 0, PQfnumber(result, "outcome")), "confirmed") == 0;
	PQclear(result);
	return confirmed;
}

static const char *const update_statements[MAX_STATEMENTS] = {
	"UPDATE bookings SET customer_phone = $1 WHERE id = $1::uuid"
};

static bool
process_by_update(Worker *worker, const Item *item)
{
	run(worker, 0, PARAMS(item->booking));
	return true;
}

static bool
process_by_call(Worker *worker, const Item *item)
{
	return call_confirms(worker, 0, item->booking);
}

/*
 * The path of a live app on its own tables
 */

enum
{
	LEGACY_HOLD, LEGACY_CONFIRM, LEGACY_SUMMARISE
};

static const char *const legacy_statements[MAX_STATEMENTS] = {
	[LEGACY_HOLD] = "SELECT legacy.create_hold($1)",
	[LEGACY_CONFIRM] = "SELECT * FROM legacy.confirm_hold($1)",
	[LEGACY_SUMMARISE] = "SELECT legacy.summarise($1, $2)",
};

static bool
process_by_legacy(Worker *worker, const Item *item)
{
	PGresult   *result = try_run(worker, LEGACY_HOLD, PARAMS(item->booking));
	bool		confirmed = result != NULL && !PQgetisnull(result, 0, 0) &&
		call_confirms(worker, LEGACY_CONFIRM, PQgetvalue(result, 0, 0));

	PQclear(result);
	PQclear(try_run(worker, LEGACY_SUMMARISE,
					PARAMS(item->booking, confirmed ? "succeeded" : "exhausted")));
	return confirmed;
}

/*
 * The application
 */

enum
{
	APP_KILLED, APP_ROLLOUT, APP_FLEET, APP_LOCK, APP_UNLOCK, APP_EVENT, APP_BOOKING, APP_RESTAURANT,
	APP_BREAKER, APP_ATTEMPTS, APP_MOVE, APP_CONFIRM, APP_HISTORY, APP_HOP, APP_TABLES, APP_ADJACENT,
	APP_BUSY, APP_HELD, APP_BLOCKED, APP_HOLD, APP_HOLD_WINDOW, APP_ASSIGN, APP_RELEASE, APP_ATTEMPT,
	APP_MESSAGE, APP_DEQUEUE
};

static const char *const application_statements[MAX_STATEMENTS] = {
	[APP_KILLED] = "SELECT reason FROM assignment_v3.kill_switch",
	[APP_ROLLOUT] = "SELECT mode, max_parallel FROM assignment_v3.rollout WHERE restaurant_id = $1",
	[APP_FLEET] = "SELECT mode, max_parallel, percent FROM assignment_v3.rollout WHERE restaurant_id IS NULL",
	[APP_LOCK] = "SELECT pg_try_advisory_lock(hashtextextended($1, $2))",
	[APP_UNLOCK] = "SELECT pg_advisory_unlock(hashtextextended($1, $2))",
	[APP_EVENT] =
	"INSERT INTO observability_events (source, event_type, context, booking_id, restaurant_id) "
	"VALUES ('assignment.coordinator', $1, $2, $3, $4)",
	[APP_BOOKING] =
	"SELECT restaurant_id, party_size, start_at, end_at, status, assigned_zone_id, assignment_state, "
	"assignment_state_version FROM bookings WHERE id = $1",
	[APP_RESTAURANT] = "SELECT timezone, is_active FROM restaurants WHERE id = $1",
	[APP_BREAKER] = "SELECT consecutive_errors, open_until FROM assignment_v3.circuits WHERE restaurant_id = $1",
	[APP_ATTEMPTS] = "SELECT count(*) FROM booking_assignment_attempts WHERE booking_id = $1",
	[APP_MOVE] =
	"UPDATE bookings SET assignment_state = $2, assignment_state_version = assignment_state_version + 1, "
	"updated_at = now() WHERE id = $1 AND assignment_state_version = $3",
	[APP_CONFIRM] =
	"UPDATE bookings SET assignment_state = $2, assignment_state_version = assignment_state_version + 1, "
	"status = 'confirmed', assignment_strategy = 'optimal_fit', updated_at = now() "
	"WHERE id = $1 AND assignment_state_version = $3",
	[APP_HISTORY] =
	"INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state, version, metadata) "
	"VALUES ($1, $2, $3, $4, $5)",
	[APP_HOP] =
	"INSERT INTO observability_events (source, event_type, context, booking_id, restaurant_id) "
	"VALUES ('assignment.state_machine', 'booking.assignment_state_transition', $1, $2, $3)",
	[APP_TABLES] =
	"SELECT id, zone_id, table_number, capacity, min_party_size, coalesce(max_party_size, capacity), mobility "
	"FROM table_inventory WHERE restaurant_id = $1 AND active AND status <> 'out_of_service'",
	[APP_ADJACENT] =
	"SELECT a.table_a, a.table_b FROM table_inventory t JOIN table_adjacencies a ON a.table_a = t.id "
	"WHERE t.restaurant_id = $1",
	[APP_BUSY] =
	"SELECT a.table_id FROM table_inventory t JOIN booking_table_assignments a ON a.table_id = t.id "
	"WHERE t.restaurant_id = $1 AND a.start_at < $3 AND a.start_at > $2::timestamptz - interval '1 day' "
	"AND a.end_at > $2",
	[APP_HELD] =
	"SELECT w.table_id FROM table_hold_windows w JOIN table_holds h ON h.id = w.hold_id "
	"WHERE w.restaurant_id = $1 AND w.end_at > $2 AND w.start_at < $3 AND w.expires_at > now() "
	"AND h.status = 'active' AND w.booking_id IS DISTINCT FROM $4",
	[APP_BLOCKED] =
	"SELECT table_id FROM assignment_v3.blocks WHERE restaurant_id = $1 AND end_at > $2 AND start_at < $3",
	[APP_HOLD] =
	"INSERT INTO table_holds (restaurant_id, booking_id, start_at, end_at, expires_at) "
	"VALUES ($1, $2, $3, $4, now() + interval '3 minutes') RETURNING id",
	[APP_HOLD_WINDOW] =
	"INSERT INTO table_hold_windows (hold_id, table_id, restaurant_id, booking_id, start_at, end_at, expires_at) "
	"SELECT $1, t, $3, $4, $5, $6, now() + interval '3 minutes' FROM unnest($2::uuid[]) AS t",
	[APP_ASSIGN] =
	"INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at) "
	"SELECT $1, t, $3, $4 FROM unnest($2::uuid[]) AS t ON CONFLICT DO NOTHING",
	[APP_RELEASE] = "DELETE FROM table_holds WHERE id = $1",
	[APP_ATTEMPT] =
	"INSERT INTO booking_assignment_attempts (booking_id, attempt_no, strategy, result, metadata) "
	"VALUES ($1, $2, 'optimal_fit', 'success', $3)",
	[APP_MESSAGE] =
	"INSERT INTO capacity_outbox (event_type, dedupe_key, restaurant_id, booking_id, idempotency_key, payload) "
	"VALUES ('booking.assignment_state.confirmed', $3, $2, $1, 'booking.assignment_state.confirmed:' || $3, $4) "
	"ON CONFLICT DO NOTHING",
	[APP_DEQUEUE] = "DELETE FROM assignment_v3.queue WHERE booking_id = $1",
};

/* A table as the application sees it. */
typedef struct Table
{
	char		id[40];
	char		zone[40];
	char		number[16];
	int			capacity;
	int			min_party;
	int			max_party;
	bool		movable;
	bool		free;
} Table;

typedef struct Plan
{
	int			ntables;
	int			tables[MAX_MERGE];
	int			waste;
	int			movable;
} Plan;

/* What the application knows of a restaurant during a window. */
typedef struct Room
{
	int			party;
	int			ntables;
	Table		tables[MAX_FLOOR];
	bool		adjacent[MAX_FLOOR][MAX_FLOOR];
	Plan		best;
} Room;

static int
find_table(const Room *room, const char *id)
{
	for (int i = 0; i < room->ntables; i++)
	{
		if (strcmp(room->tables[i].id, id) == 0)
			return i;
	}
	return -1;
}

static void
read_tables(Worker *worker, Room *room, const char *restaurant)
{
	PGresult   *result = run(worker, APP_TABLES, PARAMS(restaurant));

	room->ntables = PQntuples(result);
	if (room->ntables > MAX_FLOOR)
		die("too many tables", restaurant);
	for (int i = 0; i < room->ntables; i++)
	{
		Table	   *table = &room->tables[i];

		snprintf(table->id, sizeof(table->id), "%s", PQgetvalue(result, i, 0));
		snprintf(table->zone, sizeof(table->zone), "%s", PQgetvalue(result, i, 1));
		snprintf(table->number, sizeof(table->number), "%s", PQgetvalue(result, i, 2));
		table->capacity = atoi(PQgetvalue(result, i, 3));
		table->min_party = atoi(PQgetvalue(result, i, 4));
		table->max_party = atoi(PQgetvalue(result, i, 5));
		table->movable = strcmp(PQgetvalue(result, i, 6), "movable") == 0;
		table->free = true;
	}
	PQclear(result);
}

static void
read_adjacencies(Worker *worker, Room *room, const char *restaurant)
{
	PGresult   *result = run(worker, APP_ADJACENT, PARAMS(restaurant));

	memset(room->adjacent, 0, sizeof(room->adjacent));
	for (int i = 0; i < PQntuples(result); i++)
	{
		int			a = find_table(room, PQgetvalue(result, i, 0));
		int			b = find_table(room, PQgetvalue(result, i, 1));

		if (a >= 0 && b >= 0)
			room->adjacent[a][b] = room->adjacent[b][a] = true;
	}
	PQclear(result);
}

/* Strike out the tables that a statement names. */
static void
strike_out(Worker *worker, Room *room, int statement, const char *const *params)
{
	PGresult   *result = run(worker, statement, params);

	for (int i = 0; i < PQntuples(result); i++)
	{
		int			table = find_table(room, PQgetvalue(result, i, 0));

		if (table >= 0)
			room->tables[table].free = false;
	}
	PQclear(result);
}

/* Keep a set of tables if it seats the party and is the best so far. */
static void
consider(Room *room, int ntables, const int *tables)
{
	Plan		plan = {.ntables = ntables};
	int			seats = 0;
	int			max_party = 0;

	for (int i = 0; i < ntables; i++)
	{
		const Table *table = &room->tables[tables[i]];

		if (room->party < table->min_party)
			return;
		plan.tables[i] = tables[i];
		plan.movable += table->movable;
		seats += table->capacity;
		max_party += table->max_party;
	}
	plan.waste = seats - room->party;
	if (plan.waste < 0 || max_party < room->party)
		return;
	if (room->best.ntables == 0 || plan.waste < room->best.waste ||
		(plan.waste == room->best.waste &&
		 (ntables < room->best.ntables ||
		  (ntables == room->best.ntables && plan.movable < room->best.movable))))
		room->best = plan;
}

static bool
can_merge(const Room *room, int a, int b)
{
	return a != b && room->tables[b].free && room->tables[b].movable &&
		room->adjacent[a][b] && strcmp(room->tables[a].zone, room->tables[b].zone) == 0;
}

/* Single tables first; two or three in a row where these could waste less. */
static void
plan_room(Room *room)
{
	room->best.ntables = 0;
	for (int a = 0; a < room->ntables; a++)
	{
		if (room->tables[a].free)
			consider(room, 1, (int[]) {a});
	}
	if (room->best.ntables > 0 && room->best.waste == 0)
		return;
	for (int a = 0; a < room->ntables; a++)
	{
		if (!room->tables[a].free || !room->tables[a].movable)
			continue;
		for (int b = 0; b < room->ntables; b++)
		{
			if (!can_merge(room, a, b))
				continue;
			consider(room, 2, (int[]) {a, b});
			for (int c = 0; c < room->ntables; c++)
			{
				if (c != a && can_merge(room, b, c))
					consider(room, 3, (int[]) {a, b, c});
			}
		}
	}
}

static void
read_room(Worker *worker, Room *room, const Item *item, const char *party)
{
	room->party = atoi(party);
	read_tables(worker, room, item->restaurant);
	read_adjacencies(worker, room, item->restaurant);
	strike_out(worker, room, APP_BUSY, PARAMS(item->restaurant, item->start_at, item->end_at));
	strike_out(worker, room, APP_HELD,
			   PARAMS(item->restaurant, item->start_at, item->end_at, item->booking));
	strike_out(worker, room, APP_BLOCKED, PARAMS(item->restaurant, item->start_at, item->end_at));
}

static const char *const walk[] = {
	"created", "capacity_verified", "assignment_pending", "assignment_in_progress", "assigned", "confirmed"
};

/* One step of the booking: the update, its history row and its event. */
static bool
app_transition(Worker *worker, const Item *item, int version, const char *metadata)
{
	const char *from = walk[version - 1];
	const char *to = walk[version];
	char		old_version[12];
	char		new_version[12];
	char		context[512];

	snprintf(old_version, sizeof(old_version), "%d", version);
	snprintf(new_version, sizeof(new_version), "%d", version + 1);
	snprintf(context, sizeof(context),
			 "{\"from\": \"%s\", \"to\": \"%s\", \"version\": %d, \"metadata\": %s}",
			 from, to, version + 1, metadata);
	if (rows_of(worker, version == 5 ? APP_CONFIRM : APP_MOVE,
				PARAMS(item->booking, to, old_version)) != 1)
		return false;
	rows_of(worker, APP_HISTORY, PARAMS(item->booking, from, to, new_version, metadata));
	rows_of(worker, APP_HOP, PARAMS(context, item->booking, item->restaurant));
	return true;
}

static void
app_event(Worker *worker, const Item *item, const char *type, const char *more)
{
	char		context[640];

	snprintf(context, sizeof(context), "{\"mode\": \"active\", \"trigger\": \"manual\"%s}", more);
	rows_of(worker, APP_EVENT, PARAMS(type, context, item->booking, item->restaurant));
}

/* The ids of the tables of the plan, as an array in SQL or in JSON. */
static void
list_tables(const Room *room, bool json, char *list)
{
	char	   *end = list + sprintf(list, json ? "[" : "{");

	for (int i = 0; i < room->best.ntables; i++)
		end += sprintf(end, json ? "%s\"%s\"" : "%s%s", i > 0 ? "," : "",
					   room->tables[room->best.tables[i]].id);
	sprintf(end, json ? "]" : "}");
}

/* What is left to tell once a booking is confirmed. */
static void
app_tell(Worker *worker, const Item *item, int party, const char *metadata, const char *json)
{
	char		attempt[512];
	char		message[512];
	char		more[512];

	snprintf(attempt, sizeof(attempt), "{\"trigger\": \"manual\", \"version\": 1, "
			 "\"party_size\": %d, \"table_ids\": %s, \"duration_ms\": 1.234}", party, json);
	rows_of(worker, APP_ATTEMPT, PARAMS(item->booking, "1", attempt));
	snprintf(message, sizeof(message), "{\"bookingId\": \"%s\", \"fromState\": \"assigned\", "
			 "\"toState\": \"confirmed\", \"version\": 6, \"metadata\": %s}", item->booking, metadata);
	rows_of(worker, APP_MESSAGE,
			PARAMS(item->booking, item->restaurant, item->dedupe_key, message));
	snprintf(more, sizeof(more), ", \"strategy\": \"optimal_fit\", \"table_ids\": %s, "
			 "\"attempts\": 1, \"duration_ms\": 1.234", json);
	app_event(worker, item, "coordinator.confirmed", more);
}

/* Take the tables of the plan under a hold, and walk to the confirmation. */
static bool
app_seat(Worker *worker, const Item *item, const Room *room)
{
	char		tables[MAX_MERGE * 40];
	char		json[MAX_MERGE * 40];
	char		metadata[256];
	char		hold[40];
	PGresult   *result;
	bool		seated;

	list_tables(room, false, tables);
	list_tables(room, true, json);
	snprintf(metadata, sizeof(metadata),
			 "{\"trigger\": \"manual\", \"strategy\": \"optimal_fit\", \"table_ids\": %s}", json);
	result = run(worker, APP_HOLD,
				 PARAMS(item->restaurant, item->booking, item->start_at, item->end_at));
	snprintf(hold, sizeof(hold), "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	rows_of(worker, APP_HOLD_WINDOW, PARAMS(hold, tables, item->restaurant, item->booking,
											item->start_at, item->end_at));
	seated = rows_of(worker, APP_ASSIGN, PARAMS(item->booking, tables, item->start_at, item->end_at)) ==
		room->best.ntables &&
		app_transition(worker, item, 4, PASSING) && app_transition(worker, item, 5, metadata);
	if (seated)
		app_tell(worker, item, room->party, metadata, json);
	rows_of(worker, APP_RELEASE, PARAMS(hold));
	return seated;
}

/* The steps under the booking's lock and one of the restaurant's slots. */
static bool
app_decide(Worker *worker, const Item *item, const char *party)
{
	Room		room;

	for (int version = 1; version <= 3; version++)
	{
		if (!app_transition(worker, item, version, PASSING))
			return false;
	}
	read_room(worker, &room, item, party);
	plan_room(&room);
	if (room.best.ntables == 0 || !app_seat(worker, item, &room))
		return false;
	rows_of(worker, APP_DEQUEUE, PARAMS(item->booking));
	return true;
}

static bool
app_with_slot(Worker *worker, const Item *item, const char *party)
{
	for (int slot = 1; slot <= SLOTS; slot++)
	{
		char		number[12];
		char		more[32];
		bool		confirmed;

		snprintf(number, sizeof(number), "%d", slot);
		snprintf(more, sizeof(more), ", \"slot\": %d", slot);
		if (!is_true(worker, APP_LOCK, PARAMS(item->restaurant, number)))
			continue;
		app_event(worker, item, "coordinator.rate_permit_acquired", more);
		confirmed = app_decide(worker, item, party);
		is_true(worker, APP_UNLOCK, PARAMS(item->restaurant, number));
		return confirmed;
	}
	return false;
}

static bool
app_with_lock(Worker *worker, const Item *item)
{
	char		party[12];
	bool		eligible;
	PGresult   *result;

	app_event(worker, item, "coordinator.lock_acquired", "");
	result = run(worker, APP_BOOKING, PARAMS(item->booking));
	snprintf(party, sizeof(party), "%s", PQgetvalue(result, 0, 1));
	eligible = strcmp(PQgetvalue(result, 0, 6), "created") == 0;
	PQclear(result);
	rows_of(worker, APP_RESTAURANT, PARAMS(item->restaurant));
	rows_of(worker, APP_ATTEMPTS, PARAMS(item->booking));
	if (!eligible || rows_of(worker, APP_BREAKER, PARAMS(item->restaurant)) > 0)
		return false;
	return app_with_slot(worker, item, party);
}

static bool
process_by_application(Worker *worker, const Item *item)
{
	bool		confirmed;

	if (rows_of(worker, APP_KILLED, (const char *const[]) {NULL}) > 0 ||
		rows_of(worker, APP_ROLLOUT, PARAMS(item->restaurant)) > 0 ||
		rows_of(worker, APP_FLEET, (const char *const[]) {NULL}) > 0)
		die("unexpected row", "kill_switch or rollout");
	app_event(worker, item, "coordinator.start", "");
	if (!is_true(worker, APP_LOCK, PARAMS(item->booking, "0")))
		return false;
	confirmed = app_with_lock(worker, item);
	is_true(worker, APP_UNLOCK, PARAMS(item->booking, "0"));
	return confirmed;
}

/*
 * The race
 */

static const Competitor competitors[] = {
	{"floor", floor_statements, process_by_floor, NULL},
	{"batches", floor_statements, process_in_batches, finish_batch},
	{"engine", engine_statements, process_by_call, NULL},
	{"plpgsql", plpgsql_statements, process_by_call, NULL},
	{"legacy", legacy_statements, process_by_legacy, NULL},
	{"application", application_statements, process_by_application, NULL},
	{"update", update_statements, process_by_update, NULL},
};

static PGconn *
connect_and_prepare(void)
{
	PGconn	   *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		die("no connection", PQerrorMessage(conn));
	for (int i = 0; i < MAX_STATEMENTS && competitor->statements[i] != NULL; i++)
	{
		PGresult   *result = PQprepare(conn, statement_name(i), competitor->statements[i], 0, NULL);

		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			die(competitor->statements[i], PQerrorMessage(conn));
		PQclear(result);
	}
	return conn;
}

static void
load_tables(Item *item, char *list)
{
	char	   *rest;

	for (char *id = strtok_r(list, ",", &rest); id != NULL; id = strtok_r(NULL, ",", &rest))
		item->tables[item->ntables++] = id;
}

/* Read so many rows of bench.work, the first of them at n = from or behind; how many there are. */
static int
load_items(const char *from, int wanted)
{
	static const char *const query =
		"SELECT booking_id, restaurant_id, start_at, end_at, booking_id || ':6', array_to_string(table_ids, ','), arrival, "
		"jsonb_build_object('from', 'assigned', 'to', 'confirmed', 'version', 6, 'metadata', arrival), "
		"jsonb_build_object('bookingId', booking_id, 'fromState', 'assigned', 'toState', 'confirmed', "
		"'version', 6, 'metadata', arrival), "
		"jsonb_build_object('trigger', 'manual', 'version', 1, 'party_size', party_size, 'table_ids', table_ids, "
		"'duration_ms', 1.234), "
		"jsonb_build_object('mode', 'active', 'trigger', 'manual', 'strategy', 'optimal_fit', "
		"'table_ids', table_ids, 'attempts', 1, 'duration_ms', 1.234) "
		"FROM bench.work CROSS JOIN LATERAL (SELECT jsonb_build_object('trigger', 'manual', "
		"'strategy', 'optimal_fit', 'table_ids', table_ids) AS arrival) a WHERE n >= $1 ORDER BY n LIMIT $2";
	char		limit[12];
	PGconn	   *conn = PQconnectdb("");
	PGresult   *result;

	snprintf(limit, sizeof(limit), "%d", wanted);
	result = PQexecParams(conn, query, 2, NULL, PARAMS(from, limit), NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("could not load the work", PQerrorMessage(conn));
	items = calloc(PQntuples(result), sizeof(Item));
	for (int i = 0; i < PQntuples(result); i++)
	{
		items[i].booking = PQgetvalue(result, i, 0);
		items[i].restaurant = PQgetvalue(result, i, 1);
		items[i].start_at = PQgetvalue(result, i, 2);
		items[i].end_at = PQgetvalue(result, i, 3);
		items[i].dedupe_key = PQgetvalue(result, i, 4);
		load_tables(&items[i], PQgetvalue(result, i, 5));
		items[i].arrival = PQgetvalue(result, i, 6);
		items[i].arrival_event = PQgetvalue(result, i, 7);
		items[i].message = PQgetvalue(result, i, 8);
		items[i].attempt = PQgetvalue(result, i, 9);
		items[i].confirmed_event = PQgetvalue(result, i, 10);
	}
	PQfinish(conn);
	return PQntuples(result);
}

/* Go through memory as a connection has that has been open for long. */
static void
touch_pages(Worker *worker)
{
	PGresult   *result = PQexec(worker->conn, "SELECT bench.touch()");

	check(worker, result);
	PQclear(result);
}

/* Make all plans with what there is now, and wait for what will be. */
static void
process_and_wait(Worker *workers)
{
	int			nrows = load_items("-1000000", 1000000);
	char		ready[1024];
	FILE	   *file;

	for (int i = 0; i < nrows; i++)
		competitor->process(&workers[i % nclients], &items[i]);
	snprintf(ready, sizeof(ready), "%s.ready", wait_for);
	file = fopen(ready, "w");
	if (file == NULL)
		die("could not write", ready);
	fclose(file);
	while (access(wait_for, F_OK) != 0)
		nanosleep(&(struct timespec) {.tv_nsec = 100000000}, NULL);
}

static void *
work(void *argument)
{
	Worker	   *worker = argument;
	int			i;

	if (touch_memory)
		touch_pages(worker);
	for (i = 0; i < nwarm_up; i++)
		competitor->process(worker, &items[nitems + worker->number * nwarm_up + i]);
	if (competitor->finish)
		competitor->finish(worker);
	worker->round_trips = 0;
	worker->failed = 0;
	pthread_barrier_wait(&start_line);
	while ((i = __sync_fetch_and_add(&next_item, 1)) < nitems)
	{
		double		start = now_us();

		worker->confirmed += competitor->process(worker, &items[i]);
		latencies[i] = now_us() - start;
	}
	if (competitor->finish)
		competitor->finish(worker);
	return NULL;
}

static int
compare_doubles(const void *a, const void *b)
{
	double		difference = *(const double *) a - *(const double *) b;

	return (difference > 0) - (difference < 0);
}

static void
report(const Worker *workers, double seconds)
{
	int			confirmed = 0;
	int			failed = 0;
	long		round_trips = 0;

	for (int i = 0; i < nclients; i++)
	{
		confirmed += workers[i].confirmed;
		failed += workers[i].failed;
		round_trips += workers[i].round_trips;
	}
	qsort(latencies, nitems, sizeof(double), compare_doubles);
	printf("%.1f %d %.0f %.0f %.1f %d\n", nitems / seconds, confirmed, latencies[nitems / 2],
		   latencies[nitems * 95 / 100], (double) round_trips / nitems, failed);
}

static void
parse_arguments(int argc, char **argv)
{
	int			option;

	while ((option = getopt(argc, argv, "tw:")) != -1)
	{
		if (option == 't')
			touch_memory = true;
		else if (option == 'w')
			wait_for = optarg;
		else
			exit(1);
	}
	if (argc - optind != 5)
		die("usage", "client [-t] [-w FILE] COMPETITOR CLIENTS FIRST COUNT WARM_UP");
	argv += optind;
	for (size_t i = 0; i < lengthof(competitors); i++)
	{
		if (strcmp(competitors[i].name, argv[0]) == 0)
			competitor = &competitors[i];
	}
	nclients = atoi(argv[1]);
	first_item = argv[2];
	nitems = atoi(argv[3]);
	nwarm_up = atoi(argv[4]);
	if (competitor == NULL || nclients < 1 || nclients > MAX_CLIENTS || nitems < 1 || nwarm_up < 0)
		die("bad arguments", argv[0]);
}

int
main(int argc, char **argv)
{
	static Worker workers[MAX_CLIENTS];
	double		start;

	parse_arguments(argc, argv);
	for (int i = 0; i < nclients; i++)
	{
		workers[i].number = i;
		workers[i].chance[0] = (unsigned short) i;
		workers[i].chance[1] = (unsigned short) time(NULL);
		workers[i].conn = connect_and_prepare();
	}
	if (wait_for != NULL)
		process_and_wait(workers);
	if (load_items(first_item, nitems + nclients * nwarm_up) < nitems + nclients * nwarm_up)
		die("there are too few waiting bookings", first_item);
	latencies = calloc(nitems, sizeof(double));
	pthread_barrier_init(&start_line, NULL, nclients + 1);
	for (int i = 0; i < nclients; i++)
	{
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			die("could not start", "a thread");
	}
	pthread_barrier_wait(&start_line);
	start = now_us();
	for (int i = 0; i < nclients; i++)
		pthread_join(workers[i].thread, NULL);
	report(workers, (now_us() - start) / 1e6);
	for (int i = 0; i < nclients; i++)
		PQfinish(workers[i].conn);
	return 0;
}
