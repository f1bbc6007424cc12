/*-------------------------------------------------------------------------
 *
 * store.c
 *		All SQL that the C code runs.
 *
 * Every statement stands once in the table below, by name, and is prepared
 * at its first use and kept.  @name@ stands for a relation or a type and is
 * replaced by its quoted, qualified name when the statement is prepared; a
 * statement belongs to one generation of the binding and is prepared anew
 * for the next.  Fragments that depend on what is attached, such as a second
 * ledger, are names too.
 *
 * Plans are generic and made with sequential scans, hash and merge joins
 * off: each statement touches a few rows through an index, and a plan made
 * while a table was empty must still be right when it holds millions.  Inner
 * tables stand in LATERAL subqueries with OFFSET 0: an index that only offers
 * an order for a merge would else be as cheap as the right one, as long as the
 * table is empty and ANALYZE has said so.  Only the planning runs under these
 * settings, never the execution, so the app's triggers keep their own plans.
 *
 * What is read by a key at each call, and is mostly not there, is not read by
 * statements but by lookup.c.
 *
 * Everything between store_enter() and store_leave() runs with the rights of
 * the owner of bookings, as PostgreSQL's own foreign-key triggers do, and
 * under the search_path that attach() recorded, for the app's triggers that
 * our statements fire.  That path is the app's own choice, with pg_catalog in
 * front and pg_temp at the end, so that no temporary object stands in for
 * anything.  Both are put back by store_leave(), and by the end of the
 * subtransaction or transaction if an error comes first.
 *
 * The statements themselves are parsed and planned under pg_catalog alone.
 * Else an operator in a schema of the app's path that fits the type of a
 * column better than the one meant, a domain or an enum for example, would be
 * chosen, whoever has made it, and be run as the owner.  The kept plan is then
 * told that it was made under the app's path, or it would be parsed anew.
 *
 * A statement that writes sees a fresh snapshot under READ COMMITTED.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "append.h"
#include "binding.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compat.h"
#include "executor/spi.h"
#include "ledger.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "store.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "wakeup.h"

#define STATEMENT_MAX_ARGS 12

typedef enum Statement
{
	STMT_HAS_LEDGER_ROWS,
	STMT_LOAD_PAST,
	STMT_HAS_STEPS,
	STMT_WAIT_BOOKING,
	STMT_READ_BARRED,
	STMT_READ_EDGES,
	STMT_READ_RECORDS,
	STMT_EXPLAIN,
	STMT_INSERT_LEDGER,
	STMT_DELETE_ASSIGNMENTS,
	STMT_DELETE_LEDGER,
	STMT_READ_ASSIGNMENTS,
	STMT_INSERT_REHEARSAL,
	STMT_NOTE_LEGACY,
	STMT_QUEUE_PUT,
	STMT_QUEUE_FOLLOW,
	STMT_QUEUE_PEEK,
	STMT_QUEUE_PEEK_OF_RESTAURANT,
	STMT_QUEUE_SHARES,
	STMT_QUEUE_RESTAURANTS,
	STMT_QUEUE_POSTPONE,
	STMT_BREAKER_LOCK,
	STMT_BREAKER_PUT,
	STMT_INSERT_BLOCK,
	STMT_READ_COLLISIONS,
	STMT_DELETE_BLOCK,
	STMT_CLAIM_MESSAGES,
	STMT_RECLAIM_MESSAGES,
	STMT_COMPLETE_MESSAGES,
	STMT_LOCK_MESSAGE,
	STMT_POSTPONE_MESSAGE,
	STMT_PURGE_HISTORY,
	STMT_PURGE_ATTEMPTS,
	STMT_PURGE_EVENTS,
	STMT_PURGE_MESSAGES,
	STMT_PURGE_REHEARSALS,
	STMT_INSERT_PURGE,
	STMT_GUARD_COUNTS,
	STMT_GUARD_SAMPLE,
	STMT_GUARD_PRUNE,
	STMT_GUARD_ERRORS_AT,
	STMT_GUARD_KILL
} Statement;

#define STATEMENT_COUNT (STMT_GUARD_KILL + 1)

typedef struct StatementText
{
	const char *sql;
	int			nargs;
	Oid			argtypes[STATEMENT_MAX_ARGS];
} StatementText;

/*
 * What makes a table t unavailable besides an assignment: a hold of another
 * booking, a block, or a row of the second ledger, if there is one.
 * Parameters: $1 restaurant, $2 start, $3 end, $4 booking, $5 now, $6 tables.
 */
#define BARRED_TABLES \
	"SELECT w.table_id FROM @hold_windows@ w CROSS JOIN LATERAL (" \
	"SELECT o.status::text AS status, o.booking_id FROM @holds@ o WHERE o.id = w.hold_id " \
	"OFFSET 0) h WHERE w.restaurant_id = $1 AND w.end_at > $2 AND w.start_at < $3 " \
	"AND w.expires_at > $5 AND h.status = 'active' " \
	"AND coalesce(w.booking_id, h.booking_id) IS DISTINCT FROM $4 " \
	"UNION ALL " \
	"SELECT k.table_id FROM assignment_v3.blocks k " \
	"WHERE k.restaurant_id = $1 AND k.end_at > $2 AND k.start_at < $3" \
	"@barred_by_ledger@"

/*
 * The rows of a booking that take a table, said so that no index but that of
 * the booking's id is of any use: the constraint's own would do as well as long
 * as the ledger is almost empty.
 */
#define OF_LEDGER(row) \
	"AND coalesce(" row ".resource_type::text, '') = 'table' AND NOT coalesce(" row ".shadow, false)"

/* Only for a ledger whose constraint ledger.c can't scan. */
#define BARRED_BY_LEDGER \
	" UNION ALL " \
	"SELECT l.resource_id FROM pg_catalog.unnest($6) AS u (id) CROSS JOIN LATERAL (" \
	"SELECT y.resource_id, y.booking_id FROM @allocations@ y " \
	"WHERE y.resource_id = u.id AND y.resource_type OPERATOR(pg_catalog.=) 'table' AND NOT y.shadow " \
	"AND y.\"window\" OPERATOR(pg_catalog.&&) pg_catalog.tstzrange($2, $3) OFFSET 0) l " \
	"WHERE l.booking_id IS DISTINCT FROM $4"

/*
 * Claims messages of one status, the oldest due first; those that have been
 * tried too often are dead instead.  Parameters: $1 now, $2 end of the lease, $3 types,
 * $4 how many, $5 tries allowed.
 */
#define CLAIM_MESSAGES(status) \
	"WITH due AS MATERIALIZED (SELECT c.id FROM @outbox@ c " \
	"WHERE c.status OPERATOR(pg_catalog.=) '" status "' AND c.next_attempt_at <= $1 " \
	"AND c.event_type::text = ANY ($3) ORDER BY c.next_attempt_at, c.id LIMIT $4 " \
	"FOR NO KEY UPDATE SKIP LOCKED), " \
	"claimed AS (UPDATE @outbox@ AS o SET " \
	"status = (CASE WHEN o.attempt_count < $5 THEN 'processing' ELSE 'dead' END)::@outbox_status@, " \
	"attempt_count = o.attempt_count + (o.attempt_count < $5)::int, " \
	"next_attempt_at = $2, updated_at = $1 FROM due WHERE o.id = due.id RETURNING o.*) " \
	"SELECT m.id, m.event_type::text AS event_type, m.booking_id, m.restaurant_id, " \
	"m.idempotency_key::text AS idempotency_key, m.payload, m.attempt_count::int AS attempt, " \
	"m.created_at, m.status::text AS status FROM claimed m ORDER BY m.created_at, m.id"

/*
 * The columns of a queue row, and the rows of one priority p that are due
 * between $1 and $2.  Priority by priority, since an index that begins with
 * it finds what is due only within one.
 */
#define QUEUE_COLUMNS "q.booking_id, q.restaurant_id, q.due_at, q.priority::int AS priority "

#define QUEUE_PRIORITIES "(VALUES (-2::int2), (-1::int2), (0::int2), (1::int2), (2::int2)) AS p (priority) "

#define DUE_IN_PRIORITY \
	"i.priority = p.priority AND i.due_at >= $1 AND i.due_at <= $2 "

#define DUE_ORDER "ORDER BY i.due_at, i.booking_id LIMIT $3 "

/*
 * The first rows of one restaurant in a priority from $1 on; whoever reads them
 * leaves out those that are due after $2.  Written such that only the index that begins with
 * the restaurant has them in this order.  By the other one each restaurant that has nothing would
 * cost a walk over everybody's rows, and without statistics, or with those of a queue that is all one
 * restaurant's, the planner takes the two for the same.
 */
#define FIRST_OF_RESTAURANT(restaurant, limit) \
	"SELECT i.* FROM assignment_v3.queue i WHERE i.restaurant_id = ANY (ARRAY[" restaurant "]) " \
	"AND i.priority = p.priority AND i.due_at >= $1 " \
	"ORDER BY i.restaurant_id, i.due_at, i.booking_id LIMIT " limit

static const StatementText statements[STATEMENT_COUNT] = {
	[STMT_HAS_LEDGER_ROWS] = {
		"SELECT EXISTS (SELECT FROM @allocations@ y WHERE y.booking_id = $1 "
		OF_LEDGER("y") ") AS found",
		1, {UUIDOID}
	},
	/* failures count since the last time somebody gave the booking a new start */
	[STMT_LOAD_PAST] = {
		"SELECT (SELECT pg_catalog.count(*) FROM @attempts@ a WHERE a.booking_id = $1 "
		"AND a.result::text = 'failure' "
		"AND CASE WHEN pg_catalog.jsonb_typeof(a.metadata OPERATOR(pg_catalog.->) 'version'::text) = 'number' "
		"THEN (a.metadata OPERATOR(pg_catalog.->>) 'version'::text)::numeric >= start.version::numeric "
		"ELSE false END)::int AS attempts, "
		"EXISTS (SELECT FROM @history@ h WHERE h.booking_id = $1 "
		"AND (h.to_state::text = 'confirmed' AND h.from_state::text <> 'confirmed' "
		"OR h.reason = 'status_reverted')) AS was_confirmed "
		"FROM (SELECT coalesce(pg_catalog.max(h.version), 0) AS version FROM @history@ h "
		"WHERE h.booking_id = $1 AND h.to_state::text = 'assignment_pending' "
		"AND h.from_state::text IN ('confirmed', 'failed', 'manual_review')) start",
		1, {UUIDOID}
	},
	[STMT_HAS_STEPS] = {
		"SELECT EXISTS (SELECT FROM @history@ h WHERE h.booking_id = $1 AND h.created_at >= $2 "
		"AND h.from_state::text <> h.to_state::text) AS found",
		2, {UUIDOID, TIMESTAMPTZOID}
	},
	[STMT_WAIT_BOOKING] = {
		"SELECT b.id FROM @bookings@ b WHERE b.id = $1 FOR NO KEY UPDATE",
		1, {UUIDOID}
	},
	[STMT_READ_BARRED] = {
		"SELECT b.table_id FROM (" BARRED_TABLES ") b (table_id) WHERE b.table_id = ANY ($6)",
		6, {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, TIMESTAMPTZOID, UUIDARRAYOID}
	},
	[STMT_READ_EDGES] = {
		"SELECT e.table_a, e.table_b FROM @adjacencies@ e "
		"WHERE e.table_a = ANY ($1) AND e.table_b = ANY ($1)",
		1, {UUIDARRAYOID}
	},

	/*
	 * The success of a set: its bookings that kept it.  The newest few hundred
	 * bookings of a size say enough, and cost the same in every year.
	 */
	[STMT_READ_RECORDS] = {
		"SELECT s.tables, pg_catalog.count(*)::int AS tries, "
		"(pg_catalog.count(*) FILTER (WHERE s.kept))::int AS successes FROM ("
		"SELECT a.metadata OPERATOR(pg_catalog.->>) 'table_ids'::text AS tables, "
		"a.result::text = 'success' AND b.status NOT IN ('cancelled', 'no_show') AS kept "
		"FROM (SELECT n.id, n.status::text AS status FROM @bookings@ n "
		"WHERE n.restaurant_id = $1 AND n.start_at < $3 + '90 days'::interval "
		"AND n.party_size = $2 ORDER BY n.start_at DESC LIMIT 200) b "
		"CROSS JOIN LATERAL (SELECT i.result, i.metadata FROM @attempts@ i "
		"WHERE i.booking_id = b.id OFFSET 0) a WHERE a.metadata OPERATOR(pg_catalog.->>) 'table_ids'::text IS NOT NULL) s GROUP BY s.tables",
		3, {UUIDOID, INT4OID, TIMESTAMPTZOID}
	},
	[STMT_EXPLAIN] = {
		"SELECT t.id, coalesce(t.table_number::text, '') AS number, t.zone_id, "
		"t.capacity::int AS capacity, t.min_party_size::int AS min_party, "
		"coalesce(t.max_party_size, t.capacity)::int AS max_party, "
		"t.mobility::text = 'movable' AS movable, v.verdict, "
		"CASE v.verdict "
		"WHEN 'taken' THEN pg_catalog.concat('by booking ', coalesce(a.booking_id, l.booking_id), "
		"' until ', coalesce(a.end_at, l.until)) "
		"WHEN 'held' THEN pg_catalog.concat('until ', h.until) "
		"WHEN 'blocked' THEN pg_catalog.concat('until ', coalesce(k.until, l.until), "
		"CASE WHEN k.reason IS NOT NULL THEN ': ' END, k.reason) "
		"WHEN 'assigned' THEN pg_catalog.concat('seats this booking until ', o.end_at) "
		"WHEN 'too large' THEN pg_catalog.concat('for parties from ', t.min_party_size) "
		"WHEN 'too small' THEN pg_catalog.concat('seats ', least(t.capacity, t.max_party_size), "
		"CASE WHEN t.mobility::text = 'movable' THEN ', may be merged' ELSE ', fixed' END) "
		"WHEN 'free' THEN pg_catalog.concat('seats ', t.capacity) END AS detail "
		"FROM @tables@ t "
		"LEFT JOIN LATERAL (SELECT x.booking_id, x.end_at FROM @assignments@ x "
		"WHERE x.table_id = t.id AND x.start_at < $3 AND x.end_at > $2 AND x.booking_id <> $4 "
		"ORDER BY x.start_at DESC LIMIT 1) a ON true "
		"LEFT JOIN LATERAL (SELECT x.end_at FROM @assignments@ x "
		"WHERE x.table_id = t.id AND x.start_at < $3 AND x.end_at > $2 AND x.booking_id = $4 "
		"LIMIT 1) o ON true "
		"LEFT JOIN LATERAL (SELECT pg_catalog.max(w.expires_at) AS until FROM @hold_windows@ w "
		"CROSS JOIN LATERAL (SELECT i.status, i.booking_id FROM @holds@ i "
		"WHERE i.id = w.hold_id OFFSET 0) o WHERE w.table_id = t.id AND w.start_at < $3 "
		"AND w.end_at > $2 AND w.expires_at > $5 AND o.status::text = 'active' "
		"AND coalesce(w.booking_id, o.booking_id) IS DISTINCT FROM $4) h ON true "
		"LEFT JOIN LATERAL (SELECT z.end_at AS until, z.reason FROM assignment_v3.blocks z "
		"WHERE z.table_id = t.id AND z.start_at < $3 AND z.end_at > $2 "
		"ORDER BY z.end_at DESC LIMIT 1) k ON true "
		"LEFT JOIN LATERAL (@in_ledger@) l ON true "
		"CROSS JOIN LATERAL (SELECT CASE WHEN NOT t.active THEN 'inactive' "
		"WHEN t.status::text = 'out_of_service' THEN 'out of service' "
		"WHEN a.booking_id IS NOT NULL OR l.booking_id IS NOT NULL THEN 'taken' "
		"WHEN h.until IS NOT NULL THEN 'held' "
		"WHEN k.until IS NOT NULL OR l.until IS NOT NULL THEN 'blocked' "
		"WHEN o.end_at IS NOT NULL THEN 'assigned' "
		"WHEN $6 < t.min_party_size THEN 'too large' "
		"WHEN $6 > least(t.capacity, t.max_party_size) THEN 'too small' "
		"ELSE 'free' END AS verdict) v "
		"WHERE t.restaurant_id = $1 ORDER BY t.table_number::text, t.id",
		6, {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, TIMESTAMPTZOID, INT4OID}
	},
	/* a trigger of the app may have written them already */
	[STMT_INSERT_LEDGER] = {
		"INSERT INTO @allocations@ "
		"(resource_type, resource_id, restaurant_id, booking_id, \"window\", shadow, is_maintenance) "
		"SELECT 'table', x.table_id, $2, x.booking_id, "
		"pg_catalog.tstzrange(x.start_at, x.end_at), false, false "
		"FROM @assignments@ x WHERE x.booking_id = $1 "
		"AND NOT EXISTS (SELECT FROM @allocations@ y WHERE y.booking_id = $1 "
		OF_LEDGER("y") " AND coalesce(y.resource_id, $1) = x.table_id) "
		"ORDER BY x.table_id",
		2, {UUIDOID, UUIDOID}
	},
	[STMT_DELETE_ASSIGNMENTS] = {
		"DELETE FROM @assignments@ AS a WHERE a.booking_id = $1",
		1, {UUIDOID}
	},
	[STMT_DELETE_LEDGER] = {
		"DELETE FROM @allocations@ AS l WHERE l.booking_id = $1 "
		OF_LEDGER("l"),
		1, {UUIDOID}
	},
	[STMT_READ_ASSIGNMENTS] = {
		"SELECT a.table_id, a.xmin AS writer, a.start_at, a.end_at, "
		"t.restaurant_id, t.capacity::int AS capacity "
		"FROM @assignments@ a LEFT JOIN @tables@ t ON t.id = a.table_id "
		"WHERE a.booking_id = $1 ORDER BY a.table_id",
		1, {UUIDOID}
	},
	/* errors in a row are counted on from the restaurant's last rehearsal; $8 is null where it was none */
	[STMT_INSERT_REHEARSAL] = {
		"INSERT INTO @rehearsals@ AS r (booking_id, version, restaurant_id, created_at, \"trigger\", "
		"outcome, reason, sqlstate, table_ids, strategy, duration_ms, consecutive_errors, "
		"breaker_would_open) "
		"SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, e.count, $8 IS NOT NULL AND e.count >= $12 "
		"FROM (SELECT CASE WHEN $8 IS NULL THEN 0 ELSE 1 + coalesce((SELECT l.consecutive_errors "
		"FROM @rehearsals@ l WHERE l.restaurant_id = $3 ORDER BY l.created_at DESC LIMIT 1), 0) END "
		"AS count OFFSET 0) e ON CONFLICT DO NOTHING",
		12, {UUIDOID, INT4OID, UUIDOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
		UUIDARRAYOID, TEXTOID, FLOAT8OID, INT4OID}
	},
	/* a booking that the pipeline itself has confirmed says nothing about another writer */
	[STMT_NOTE_LEGACY] = {
		"UPDATE @rehearsals@ AS r SET legacy_outcome = $2, legacy_at = $3, "
		"legacy_table_ids = CASE WHEN $2 = 'confirmed' THEN (SELECT pg_catalog.array_agg(a.table_id "
		"ORDER BY a.table_id) FROM @assignments@ a WHERE a.booking_id = $1) END "
		"WHERE r.booking_id = $1 AND r.legacy_outcome IS NULL AND coalesce((SELECT "
		"h.metadata OPERATOR(pg_catalog.->) 'external'::text IS NOT NULL FROM @history@ h "
		"WHERE h.booking_id = $1 AND h.to_state::text = 'confirmed' AND h.from_state::text <> 'confirmed' "
		"ORDER BY h.version DESC LIMIT 1), true)",
		3, {UUIDOID, TEXTOID, TIMESTAMPTZOID}
	},
	[STMT_QUEUE_PUT] = {
		"INSERT INTO assignment_v3.queue AS q (booking_id, restaurant_id, due_at, enqueued_at) "
		"VALUES ($1, $2, $3, $4) ON CONFLICT (@queue_key@) "
		"DO UPDATE SET restaurant_id = excluded.restaurant_id, due_at = excluded.due_at",
		4, {UUIDOID, UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	/* nothing if the booking has moved on since the row that a trigger was given */
	[STMT_QUEUE_FOLLOW] = {
		"INSERT INTO assignment_v3.queue AS q (booking_id, restaurant_id, due_at, enqueued_at) "
		"SELECT b.id, b.restaurant_id, $3, $3 FROM @bookings@ b "
		"WHERE b.id = $1 AND coalesce(b.assignment_state_version, 1) = $2 ON CONFLICT (@queue_key@) "
		"DO UPDATE SET restaurant_id = excluded.restaurant_id, due_at = excluded.due_at",
		3, {UUIDOID, INT4OID, TIMESTAMPTZOID}
	},
	[STMT_QUEUE_PEEK] = {
		"SELECT " QUEUE_COLUMNS "FROM " QUEUE_PRIORITIES "CROSS JOIN LATERAL ("
		"SELECT i.* FROM assignment_v3.queue i WHERE " DUE_IN_PRIORITY DUE_ORDER ") q "
		"ORDER BY q.priority, q.due_at, q.booking_id",
		3, {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID}
	},
	[STMT_QUEUE_PEEK_OF_RESTAURANT] = {
		"SELECT " QUEUE_COLUMNS "FROM " QUEUE_PRIORITIES "CROSS JOIN LATERAL ("
		FIRST_OF_RESTAURANT("$4", "$3") ") q WHERE q.due_at <= $2 "
		"ORDER BY q.priority, q.due_at, q.booking_id",
		4, {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, UUIDOID}
	},
	[STMT_QUEUE_SHARES] = {
		"SELECT " QUEUE_COLUMNS "FROM pg_catalog.unnest($4) AS r (id) "
		"CROSS JOIN LATERAL (SELECT d.* FROM " QUEUE_PRIORITIES "CROSS JOIN LATERAL ("
		FIRST_OF_RESTAURANT("r.id", "$3") ") d WHERE d.due_at <= $2 "
		"ORDER BY d.priority, d.due_at, d.booking_id LIMIT $3) q",
		4, {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, UUIDARRAYOID}
	},

	/*
	 * The restaurants come from their own table: the queue's index is full of
	 * dead rows at times.  Few priorities are in use: the others are not asked for.
	 */
	[STMT_QUEUE_RESTAURANTS] = {
		"WITH p AS MATERIALIZED (SELECT p.priority FROM " QUEUE_PRIORITIES "CROSS JOIN LATERAL ("
		"SELECT FROM assignment_v3.queue i WHERE " DUE_IN_PRIORITY "LIMIT 1) d) "
		"SELECT r.id FROM (SELECT r.id FROM @restaurants@ r WHERE r.id >= $3 AND r.id <= $4 "
		"ORDER BY r.id) r CROSS JOIN LATERAL (SELECT FROM p CROSS JOIN LATERAL ("
		FIRST_OF_RESTAURANT("r.id", "1") ") d WHERE d.due_at <= $2 LIMIT 1) q LIMIT $5",
		5, {TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, UUIDOID, INT4OID}
	},
	[STMT_QUEUE_POSTPONE] = {
		"UPDATE assignment_v3.queue AS q SET due_at = $2 WHERE q.booking_id = $1",
		2, {UUIDOID, TIMESTAMPTZOID}
	},
	[STMT_BREAKER_LOCK] = {
		"INSERT INTO assignment_v3.circuits AS c (restaurant_id, updated_at) VALUES ($1, $2) "
		"ON CONFLICT (restaurant_id) DO UPDATE SET updated_at = excluded.updated_at "
		"RETURNING c.consecutive_errors, c.half_open_successes, c.open_until",
		2, {UUIDOID, TIMESTAMPTZOID}
	},
	[STMT_BREAKER_PUT] = {
		"UPDATE assignment_v3.circuits AS c SET consecutive_errors = $2, half_open_successes = $3, "
		"opened_at = CASE WHEN $4 IS NOT NULL THEN coalesce(c.opened_at, $5) END, open_until = $4, updated_at = $5 WHERE c.restaurant_id = $1",
		5, {UUIDOID, INT4OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[STMT_INSERT_BLOCK] = {
		"INSERT INTO @block_target@ "
		"SELECT @block_columns@ FROM @tables@ t WHERE t.id = $1 "
		"RETURNING id",
		6, {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TIMESTAMPTZOID}
	},
	[STMT_READ_COLLISIONS] = {
		"SELECT a.booking_id FROM @assignments@ a WHERE a.table_id = $1 "
		"AND a.start_at < $3 AND a.end_at > $2 @and_in_ledger@ ORDER BY booking_id",
		3, {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[STMT_DELETE_BLOCK] = {
		"@delete_block@",
		1, {UUIDOID}
	},
	[STMT_CLAIM_MESSAGES] = {
		CLAIM_MESSAGES("pending"),
		5, {TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTARRAYOID, INT4OID, INT4OID}
	},
	[STMT_RECLAIM_MESSAGES] = {
		CLAIM_MESSAGES("processing"),
		5, {TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTARRAYOID, INT4OID, INT4OID}
	},
	[STMT_COMPLETE_MESSAGES] = {
		"WITH sent AS MATERIALIZED (SELECT c.id FROM @outbox@ c WHERE c.id = ANY ($1) "
		"AND c.status::text <> 'done' ORDER BY c.id FOR NO KEY UPDATE) "
		"UPDATE @outbox@ AS o SET status = 'done'::text::@outbox_status@, updated_at = $2 "
		"FROM sent WHERE o.id = sent.id",
		2, {UUIDARRAYOID, TIMESTAMPTZOID}
	},
	[STMT_LOCK_MESSAGE] = {
		"SELECT o.id, o.event_type::text AS event_type, o.booking_id, o.restaurant_id, "
		"o.idempotency_key::text AS idempotency_key, o.payload, o.attempt_count::int AS attempt, "
		"o.created_at, o.status::text AS status FROM @outbox@ o WHERE o.id = $1 FOR NO KEY UPDATE",
		1, {UUIDOID}
	},
	[STMT_POSTPONE_MESSAGE] = {
		"UPDATE @outbox@ AS o SET status = $2::@outbox_status@, next_attempt_at = $3, "
		"updated_at = $4 WHERE o.id = $1",
		4, {UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[STMT_PURGE_HISTORY] = {
		"DELETE FROM @history@ AS h WHERE h.created_at < $1 AND EXISTS (SELECT FROM @history@ n "
		"WHERE n.booking_id = h.booking_id AND n.version > h.version)",
		1, {TIMESTAMPTZOID}
	},
	[STMT_PURGE_ATTEMPTS] = {
		"DELETE FROM @attempts@ AS a WHERE a.created_at < $1",
		1, {TIMESTAMPTZOID}
	},
	[STMT_PURGE_EVENTS] = {
		"DELETE FROM @events@ AS e WHERE e.created_at < $1 "
		"AND e.source::text IN ('assignment.state_machine', 'assignment.coordinator', "
		"'assignment.transition')",
		1, {TIMESTAMPTZOID}
	},
	[STMT_PURGE_MESSAGES] = {
		"DELETE FROM @outbox@ AS o WHERE o.created_at < $1 AND o.status::text = 'done' "
		"AND o.event_type::text LIKE 'booking.assignment\\_state.%'",
		1, {TIMESTAMPTZOID}
	},
	[STMT_PURGE_REHEARSALS] = {
		"DELETE FROM @rehearsals@ AS r WHERE r.created_at < $1",
		1, {TIMESTAMPTZOID}
	},
	[STMT_INSERT_PURGE] = {
		"INSERT INTO assignment_v3.purges (purged_at, horizon, purged_by, "
		"history_rows, attempt_rows, event_rows, outbox_rows, shadow_rows) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		8, {TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID}
	},
	[STMT_GUARD_COUNTS] = {
		"SELECT CASE WHEN d.is_called THEN d.last_value ELSE 0 END AS decisions, "
		"CASE WHEN e.is_called THEN e.last_value ELSE 0 END AS errors "
		"FROM assignment_v3.counters_decisions_seq d CROSS JOIN assignment_v3.counters_errors_seq e",
		0, {0}
	},
	[STMT_GUARD_SAMPLE] = {
		"INSERT INTO assignment_v3.error_samples AS s (decisions, errors, sampled_at) "
		"VALUES ($1, $2, $3) ON CONFLICT (decisions) DO UPDATE SET errors = excluded.errors, "
		"sampled_at = excluded.sampled_at",
		3, {INT8OID, INT8OID, TIMESTAMPTZOID}
	},
	/* all but the last that no window will reach behind */
	[STMT_GUARD_PRUNE] = {
		"DELETE FROM assignment_v3.error_samples AS s WHERE s.decisions < (SELECT o.decisions "
		"FROM assignment_v3.error_samples o WHERE o.decisions <= $1 ORDER BY o.decisions DESC LIMIT 1)",
		1, {INT8OID}
	},
	[STMT_GUARD_ERRORS_AT] = {
		"SELECT coalesce((SELECT CASE WHEN u.decisions IS NULL THEN l.errors ELSE l.errors + "
		"(u.errors - l.errors) * ($1 - l.decisions) / (u.decisions - l.decisions) END "
		"FROM (SELECT a.decisions, a.errors FROM assignment_v3.error_samples a WHERE a.decisions <= $1 "
		"ORDER BY a.decisions DESC LIMIT 1) l LEFT JOIN LATERAL (SELECT b.decisions, b.errors "
		"FROM assignment_v3.error_samples b WHERE b.decisions > $1 ORDER BY b.decisions LIMIT 1) u ON true), "
		"(SELECT c.errors FROM assignment_v3.error_samples c ORDER BY c.decisions LIMIT 1), 0) AS errors",
		1, {INT8OID}
	},
	[STMT_GUARD_KILL] = {
		"WITH killed AS (INSERT INTO assignment_v3.kill_switch (reason, killed_by) "
		"VALUES ($1, $3) ON CONFLICT DO NOTHING RETURNING 1), "
		"anew AS (DELETE FROM assignment_v3.error_samples AS s WHERE s.decisions <> $2) "
		"SELECT FROM killed",
		3, {TEXTOID, INT8OID, TEXTOID}
	},
};

typedef struct KeptPlan
{
	SPIPlanPtr	plan;
	uint64		generation;		/* of the binding it was made for */
	int			planned_as;		/* generation of the generic plan, 0 if none */
} KeptPlan;

static KeptPlan kept_plans[STATEMENT_COUNT];
static List *parked_plans = NIL;

/* The names that a statement may hold between @ signs. */
static const char *const relation_words[BOUND_RELATION_COUNT] = {
	[BOUND_RESTAURANTS] = "restaurants",
	[BOUND_ZONES] = "zones",
	[BOUND_TABLES] = "tables",
	[BOUND_ADJACENCIES] = "adjacencies",
	[BOUND_BOOKINGS] = "bookings",
	[BOUND_ASSIGNMENTS] = "assignments",
	[BOUND_HISTORY] = "history",
	[BOUND_ATTEMPTS] = "attempts",
	[BOUND_EVENTS] = "events",
	[BOUND_OUTBOX] = "outbox",
	[BOUND_HOLDS] = "holds",
	[BOUND_HOLD_WINDOWS] = "hold_windows",
	[BOUND_REHEARSALS] = "rehearsals",
	[BOUND_ALLOCATIONS] = "allocations",
};

static const char *const type_words[BOUND_TYPE_COUNT] = {
	[BOUND_BOOKING_STATUS] = "booking_status",
	[BOUND_BOOKING_STATE] = "booking_state",
	[BOUND_OUTBOX_STATUS] = "outbox_status",
};

/* Fragments whose text depends on whether the app has a second ledger. */
static const struct
{
	const char *word;
	const char *with_ledger;
	const char *without;
}			ledger_fragments[] = {
	{"in_ledger",
		"SELECT y.booking_id, pg_catalog.upper(y.\"window\") AS until FROM @allocations@ y "
		"WHERE y.resource_id = t.id AND y.resource_type::text = 'table' AND NOT y.shadow "
		"AND y.\"window\" OPERATOR(pg_catalog.&&) pg_catalog.tstzrange($2, $3) AND y.booking_id IS DISTINCT FROM $4 "
		"ORDER BY y.booking_id LIMIT 1",
	"SELECT NULL::uuid AS booking_id, NULL::timestamptz AS until"},
	{"and_in_ledger",
		"UNION SELECT y.booking_id FROM @allocations@ y WHERE y.resource_id = $1 "
		"AND y.resource_type::text = 'table' AND NOT y.shadow AND y.booking_id IS NOT NULL "
		"AND y.\"window\" OPERATOR(pg_catalog.&&) pg_catalog.tstzrange($2, $3)",
	""},
	{"block_target",
		"@allocations@ AS k (resource_type, resource_id, restaurant_id, booking_id, "
		"\"window\", shadow, is_maintenance)",
		"assignment_v3.blocks AS k (restaurant_id, table_id, start_at, end_at, reason, "
	"created_by, created_at)"},
	{"block_columns",
		"'table', t.id, t.restaurant_id, NULL, pg_catalog.tstzrange($2, $3), false, true",
	"t.restaurant_id, t.id, $2, $3, $4, $5, $6"},
	{"delete_block",
		"DELETE FROM @allocations@ AS k WHERE k.id = $1 AND k.is_maintenance",
	"DELETE FROM assignment_v3.blocks AS k WHERE k.id = $1"},
};

static int
find_word(const char *const *words, int nwords, const char *word)
{
	for (int i = 0; i < nwords; i++)
	{
		if (strcmp(words[i], word) == 0)
			return i;
	}
	return -1;
}

static void append_expanded(StringInfo buf, const Binding *binding, const char *sql);

/* Append what one @name@ stands for. */
static void
append_word(StringInfo buf, const Binding *binding, const char *word)
{
	int			i;

	i = find_word(relation_words, BOUND_RELATION_COUNT, word);
	if (i >= 0)
	{
		if (binding->relations[i] == NULL)
			binding_require_whole();
		if (binding->relations[i] == NULL)
			elog(ERROR, "statement needs relation \"%s\", which is not attached", word);
		appendStringInfoString(buf, binding->relations[i]);
		return;
	}
	i = find_word(type_words, BOUND_TYPE_COUNT, word);
	if (i >= 0)
	{
		if (binding->types[i] == NULL)
			binding_require_whole();
		appendStringInfoString(buf, binding->types[i]);
		return;
	}
	if (strcmp(word, "queue_key") == 0)
	{
		appendStringInfoString(buf, binding->keyed[KEYED_QUEUE].spread ?
							   "booking_id, restaurant_id" : "booking_id");
		return;
	}
	if (strcmp(word, "barred_by_ledger") == 0)
	{
		if (binding->relations[BOUND_ALLOCATIONS] != NULL && !OidIsValid(binding->ledger.index))
			append_expanded(buf, binding, BARRED_BY_LEDGER);
		return;
	}
	for (i = 0; i < (int) lengthof(ledger_fragments); i++)
	{
		if (strcmp(ledger_fragments[i].word, word) != 0)
			continue;
		append_expanded(buf, binding, binding->relations[BOUND_ALLOCATIONS] ?
						ledger_fragments[i].with_ledger : ledger_fragments[i].without);
		return;
	}
	elog(ERROR, "unknown name @%s@ in a statement", word);
}

static void
append_expanded(StringInfo buf, const Binding *binding, const char *sql)
{
	const char *p = sql;
	const char *start;

	while ((start = strchr(p, '@')) != NULL)
	{
		const char *end = strchr(start + 1, '@');

		if (end == NULL)
			elog(ERROR, "unbalanced @ in a statement: %s", sql);
		appendBinaryStringInfo(buf, p, (int) (start - p));
		append_word(buf, binding, pnstrdup(start + 1, end - start - 1));
		p = end + 1;
	}
	appendStringInfoString(buf, p);
}

/* Look up names in pg_catalog alone, until AtEOXact_GUC(). */
static void
set_own_path(void)
{
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Make the generic plan now, under settings that leave only index paths and no
 * name but those of pg_catalog, and without executing anything.
 */
static void
make_generic_plan(SPIPlanPtr plan)
{
	static const char *const settings[] = {
		"enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "enable_material",
		"enable_memoize", "jit"
	};
	int			guc_level = NewGUCNestLevel();
	CachedPlan *cached;

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	set_own_path();
	cached = SPI_plan_get_cached_plan(plan);
	if (cached)
		ReleaseCachedPlan(cached, CurrentResourceOwner);
	AtEOXact_GUC(true, guc_level);
}

/*
 * Put a plan aside that is of no more use.  It may be executing further up the
 * stack, so it is freed when the transaction has ended.
 */
static void
park_plan(KeptPlan *kept)
{
	MemoryContext caller;

	if (kept->plan == NULL)
		return;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	parked_plans = lappend(parked_plans, kept->plan);
	MemoryContextSwitchTo(caller);
	kept->plan = NULL;
}

static void
free_parked_plans(XactEvent event, void *arg)
{
	ListCell   *cell;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	foreach(cell, parked_plans)
		SPI_freeplan((SPIPlanPtr) lfirst(cell));
	list_free(parked_plans);
	parked_plans = NIL;
}

void
StoreInit(void)
{
	RegisterXactCallback(free_parked_plans, NULL);
}

/* Prepare a statement against what is attached now, and keep it. */
static void
prepare(Statement statement, const Binding *binding)
{
	const StatementText *text = &statements[statement];
	KeptPlan   *kept = &kept_plans[statement];
	StringInfoData sql;
	SPIPlanPtr	plan;
	int			guc_level;

	park_plan(kept);
	initStringInfo(&sql);
	append_expanded(&sql, binding, text->sql);
	guc_level = NewGUCNestLevel();
	set_own_path();
	plan = SPI_prepare_cursor(sql.data, text->nargs, (Oid *) text->argtypes,
							  CURSOR_OPT_GENERIC_PLAN);
	AtEOXact_GUC(true, guc_level);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	kept->plan = plan;
	kept->generation = binding->generation;
	kept->planned_as = 0;
	pfree(sql.data);
}

static CachedPlanSource *
plan_source(SPIPlanPtr plan)
{
	return (CachedPlanSource *) linitial(SPI_plan_get_plan_sources(plan));
}

static int
plan_generation(SPIPlanPtr plan)
{
	return plan_source(plan)->generation;
}

/*
 * The kept plan of a statement, made if it is missing or no longer valid.
 * Invalidations are taken in first, lest the plan be made anew by whoever
 * executes it, under settings of the session; where that has happened all the
 * same, the generation tells, and the statement is prepared again.
 */
static SPIPlanPtr
statement_plan(Statement statement)
{
	const Binding *binding;
	KeptPlan   *kept = &kept_plans[statement];

	AcceptInvalidationMessages();
	binding = binding_get();
	if (kept->plan == NULL || kept->generation != binding->generation ||
		(kept->planned_as != 0 && kept->planned_as != plan_generation(kept->plan) &&
		 plan_cache_mode != PLAN_CACHE_MODE_FORCE_CUSTOM_PLAN))
		prepare(statement, binding);
	if (kept->planned_as == 0 || !SPI_plan_is_valid(kept->plan))
	{
		make_generic_plan(kept->plan);
		kept->planned_as = plan_generation(kept->plan);
	}
	compat_adopt_search_path(plan_source(kept->plan));
	return kept->plan;
}

/*
 * Run one statement.  nulls is as for SPI_execute_plan(), NULL where no
 * argument is null.  Read-only statements see the caller's snapshot.  SPI
 * leaves its own memory context as the current one; ours is put back, so that
 * what the caller allocates next outlives store_leave().
 */
static uint64
execute(Statement statement, Datum *values, const char *nulls, bool read_only, int expected)
{
	MemoryContext caller = CurrentMemoryContext;
	int			result = SPI_execute_plan(statement_plan(statement), values, nulls,
										  read_only, 0);

	MemoryContextSwitchTo(caller);
	if (result != expected)
		elog(ERROR, "statement %d of assignment_v3 returned %s", statement,
			 SPI_result_code_string(result));
	return SPI_processed;
}

static uint64
execute_select(Statement statement, Datum *values, const char *nulls)
{
	return execute(statement, values, nulls, XactReadOnly, SPI_OK_SELECT);
}

/*
 * Connect, take the owner's rights and the app's search_path.  The caller's
 * memory context stays the current one.  The path is
 * touched only where it differs: setting it costs a look at every schema.
 */
void
store_enter(StoreScope *scope)
{
	const Binding *binding = binding_get();
	MemoryContext caller = CurrentMemoryContext;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	MemoryContextSwitchTo(caller);
	GetUserIdAndSecContext(&scope->caller, &scope->security_context);
	SetUserIdAndSecContext(binding->owner,
						   scope->security_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS);
	scope->guc_level = 0;
	if (strcmp(namespace_search_path, binding->search_path) != 0)
	{
		scope->guc_level = NewGUCNestLevel();
		(void) set_config_option("search_path", binding->search_path, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	}
}

void
store_leave(StoreScope *scope)
{
	MemoryContext caller = CurrentMemoryContext;

	if (scope->guc_level > 0)
		AtEOXact_GUC(true, scope->guc_level);
	SetUserIdAndSecContext(scope->caller, scope->security_context);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	MemoryContextSwitchTo(caller);
}

/* Access to the columns of a result row by name. */
static Datum
column(uint64 row, const char *name, bool *isnull)
{
	int			attnum = SPI_fnumber(SPI_tuptable->tupdesc, name);

	if (attnum <= 0)
		elog(ERROR, "result has no column \"%s\"", name);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, attnum, isnull);
}

static int
int_column(uint64 row, const char *name, int if_null)
{
	bool		isnull;
	Datum		value = column(row, name, &isnull);

	return isnull ? if_null : DatumGetInt32(value);
}

static bool
bool_column(uint64 row, const char *name)
{
	bool		isnull;
	Datum		value = column(row, name, &isnull);

	return !isnull && DatumGetBool(value);
}

static bool
uuid_column(uint64 row, const char *name, pg_uuid_t *uuid)
{
	bool		isnull;
	Datum		value = column(row, name, &isnull);

	if (isnull)
		return false;
	*uuid = *DatumGetUUIDP(value);
	return true;
}

static bool
time_column(uint64 row, const char *name, TimestampTz *time)
{
	bool		isnull;
	Datum		value = column(row, name, &isnull);

	if (isnull)
		return false;
	*time = DatumGetTimestampTz(value);
	return true;
}

/* A text column, copied into the given context; NULL for null. */
static char *
text_column(uint64 row, const char *name, MemoryContext context)
{
	bool		isnull;
	Datum		value = column(row, name, &isnull);
	text	   *source;
	char	   *result;

	if (isnull)
		return NULL;
	source = DatumGetTextPP(value);
	result = MemoryContextAlloc(context, VARSIZE_ANY_EXHDR(source) + 1);
	memcpy(result, VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source));
	result[VARSIZE_ANY_EXHDR(source)] = '\0';
	return result;
}

/* Build a one-dimensional array of one of the types that rows are passed in. */
static Datum
make_array(Datum *elements, bool *nulls, int nelements, Oid type)
{
	int			dims[1] = {nelements};
	int			bounds[1] = {1};
	int16		typlen;
	bool		typbyval;
	char		typalign;

	if (nelements == 0)
		return PointerGetDatum(construct_empty_array(type));
	get_typlenbyvalalign(type, &typlen, &typbyval, &typalign);
	return PointerGetDatum(construct_md_array(elements, nulls, 1, dims, bounds, type,
											  typlen, typbyval, typalign));
}

static Datum
uuid_array(const pg_uuid_t *ids, int nids)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(nids, 1));

	for (int i = 0; i < nids; i++)
		elements[i] = UUIDPGetDatum(&ids[i]);
	return make_array(elements, NULL, nids, UUIDOID);
}

/*
 * Bookings
 */

/* What happened to a booking before: needed only where anything did. */
static void
load_past(BookingRecord *booking)
{
	Datum		values[1] = {UUIDPGetDatum(&booking->id)};

	if (execute_select(STMT_LOAD_PAST, values, NULL) != 1)
		elog(ERROR, "the past of a booking is not one row");
	booking->attempts = int_column(0, "attempts", 0);
	booking->was_confirmed = bool_column(0, "was_confirmed");
	SPI_freetuptable(SPI_tuptable);
}

/* Has the booking taken any step since then? */
bool
store_has_steps(const pg_uuid_t *booking_id, TimestampTz since)
{
	Datum		values[2] = {UUIDPGetDatum(booking_id), TimestampTzGetDatum(since)};
	bool		found;

	if (execute_select(STMT_HAS_STEPS, values, NULL) != 1)
		elog(ERROR, "history did not answer");
	found = bool_column(0, "found");
	SPI_freetuptable(SPI_tuptable);
	return found;
}

/* Has the booking rows in the second ledger, if there is one? */
static bool
has_ledger_rows(const pg_uuid_t *booking_id)
{
	Datum		values[1] = {UUIDPGetDatum(booking_id)};
	bool		found;

	if (binding_get()->relations[BOUND_ALLOCATIONS] == NULL)
		return false;
	if (execute_select(STMT_HAS_LEDGER_ROWS, values, NULL) != 1)
		elog(ERROR, "the second ledger did not answer");
	found = bool_column(0, "found");
	SPI_freetuptable(SPI_tuptable);
	return found;
}

/* Load a booking's row and the rollout rows of its restaurant: what a disabled call needs. */
void
store_load_row(const pg_uuid_t *booking_id, BookingRecord *booking)
{
	lookup_booking(booking_id, booking);
	lookup_rollout(booking_restaurant(booking), &booking->rollout);
}

/* Load what else is known of it. */
void
store_load_rest(BookingRecord *booking)
{
	const pg_uuid_t *booking_id = &booking->id;

	if (booking->found)
	{
		booking->has_assignments = lookup_has_assignments(booking_id) ||
			has_ledger_rows(booking_id);
		booking->last_attempt = lookup_last_attempt(booking_id);
	}
	booking->queued = lookup_queue(booking_id, &booking->due_at);
	if (booking->has_restaurant)
		lookup_breaker(&booking->restaurant_id, &booking->breaker);
	if (booking->found && (booking->version > 1 || booking->last_attempt > 0))
		load_past(booking);
}

/* Load a booking, with what is known of it; its texts are in the caller's context. */
void
store_load_booking(const pg_uuid_t *booking_id, BookingRecord *booking)
{
	store_load_row(booking_id, booking);
	store_load_rest(booking);
}

/* Lock the row, waiting for whoever holds it; false if there is none. */
bool
store_wait_booking(const pg_uuid_t *booking_id)
{
	Datum		values[1] = {UUIDPGetDatum(booking_id)};
	uint64		nrows = execute(STMT_WAIT_BOOKING, values, NULL, false, SPI_OK_SELECT);

	SPI_freetuptable(SPI_tuptable);
	return nrows == 1;
}

/*
 * The floor
 */

/* Is there any hold, block or second ledger to look into? */
static bool
may_be_barred(void)
{
	const Binding *binding = binding_get();

	return (binding->relations[BOUND_ALLOCATIONS] != NULL && !ledger_is_indexed()) ||
		!lookup_is_empty(binding->relids[BOUND_HOLD_WINDOWS]) ||
		!lookup_is_empty(binding->keyed[KEYED_BLOCKS].relid);
}

static int
find_table(const Floor *floor, const pg_uuid_t *id)
{
	for (int i = 0; i < floor->ntables; i++)
	{
		if (memcmp(&floor->tables[i].id, id, UUID_LEN) == 0)
			return i;
	}
	return -1;
}

/* Bar those of the given tables that are held, blocked or in the second ledger. */
static void
bar_tables(const BookingRecord *booking, TimestampTz now, Floor *floor, const int *tables,
		   int ntables)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(ntables, 1));
	Datum		values[6] = {
		UUIDPGetDatum(&booking->restaurant_id),
		TimestampTzGetDatum(booking->start_at),
		TimestampTzGetDatum(booking->end_at),
		UUIDPGetDatum(&booking->id),
		TimestampTzGetDatum(now),
	};
	uint64		nrows;

	for (int i = 0; i < ntables; i++)
		ids[i] = floor->tables[tables[i]].id;
	values[5] = uuid_array(ids, ntables);
	nrows = execute_select(STMT_READ_BARRED, values, NULL);
	for (uint64 row = 0; row < nrows; row++)
	{
		pg_uuid_t	id;
		int			table = uuid_column(row, "table_id", &id) ? find_table(floor, &id) : -1;

		if (table >= 0)
			floor->tables[table].usable = false;
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Find out which of these tables are taken, held, blocked or out of service in
 * the booking's window, with a fresh snapshot.  Tables that seat the booking
 * itself are free to it.
 */
void
store_probe_floor(const BookingRecord *booking, TimestampTz now, Floor *floor,
				  const int *tables, int ntables)
{
	Window		window = {booking->id, booking->start_at, booking->end_at};

	lookup_taken(&window, floor, tables, ntables);
	if (ledger_is_indexed())
		ledger_bar(&window, floor, tables, ntables);
	if (may_be_barred())
		bar_tables(booking, now, floor, tables, ntables);
}

/* Read the adjacencies among the usable movable tables of a floor. */
void
store_read_edges(Floor *floor)
{
	MemoryContext caller = CurrentMemoryContext;
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(floor->ntables, 1));
	int			nids = 0;
	Datum		values[1];
	uint64		nrows;

	for (int i = 0; i < floor->ntables; i++)
	{
		if (floor->tables[i].usable && floor->tables[i].movable)
			ids[nids++] = floor->tables[i].id;
	}
	values[0] = uuid_array(ids, nids);
	nrows = execute_select(STMT_READ_EDGES, values, NULL);
	floor->edges = MemoryContextAlloc(caller, sizeof(PlannerEdge) * Max(nrows, 1));
	floor->nedges = 0;
	for (uint64 row = 0; row < nrows; row++)
	{
		pg_uuid_t	a;
		pg_uuid_t	b;

		if (!uuid_column(row, "table_a", &a) || !uuid_column(row, "table_b", &b))
			continue;
		floor->edges[floor->nedges].a = find_table(floor, &a);
		floor->edges[floor->nedges].b = find_table(floor, &b);
		floor->nedges++;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Is this text a uuid in its usual form, which uuid_in() takes without an error? */
bool
text_is_uuid(const char *text)
{
	if (strlen(text) != 36)
		return false;
	for (int i = 0; i < 36; i++)
	{
		bool		dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !isxdigit((unsigned char) text[i]))
			return false;
	}
	return true;
}

/*
 * Turn the table_ids of an attempt's metadata, a JSON array of uuids, into
 * indexes of a floor; false if it names something that is no table there.
 */
static bool
parse_table_ids(const Floor *floor, const char *json, PlannerRecord *record)
{
	record->ntables = 0;
	for (const char *p = strchr(json, '"'); p != NULL; p = strchr(p + 1, '"'))
	{
		const char *end = strchr(p + 1, '"');
		char	   *word;
		pg_uuid_t  *id;
		int			table;

		if (end == NULL || record->ntables == PLANNER_MAX_TABLES)
			return false;
		word = pnstrdup(p + 1, end - p - 1);
		if (!text_is_uuid(word))
			return false;
		id = DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(word)));
		table = find_table(floor, id);
		if (table < 0)
			return false;
		record->tables[record->ntables++] = table;
		p = end;
	}
	return record->ntables > 0;
}

/* Read how sets of tables did for parties of this size. */
void
store_read_records(const BookingRecord *booking, Floor *floor)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[3] = {
		UUIDPGetDatum(&booking->restaurant_id),
		Int32GetDatum(booking->party_size),
		TimestampTzGetDatum(booking->start_at),
	};
	uint64		nrows = execute_select(STMT_READ_RECORDS, values, NULL);

	floor->records = MemoryContextAlloc(caller, sizeof(PlannerRecord) * Max(nrows, 1));
	floor->nrecords = 0;
	for (uint64 row = 0; row < nrows; row++)
	{
		PlannerRecord *record = &floor->records[floor->nrecords];
		char	   *json = text_column(row, "tables", caller);

		if (json == NULL || !parse_table_ids(floor, json, record))
			continue;
		record->tries = int_column(row, "tries", 0);
		record->successes = int_column(row, "successes", 0);
		floor->nrecords++;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Nobody may be seated at a table with one of these verdicts. */
static bool
verdict_bars(const char *verdict)
{
	static const char *const barring[] = {
		"inactive", "out of service", "taken", "held", "blocked"
	};

	return find_word(barring, lengthof(barring), verdict) >= 0;
}

/* The verdict on every table of the booking's restaurant. */
TableVerdict *
store_explain(const BookingRecord *booking, TimestampTz now, int *ntables)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[6] = {
		UUIDPGetDatum(&booking->restaurant_id),
		TimestampTzGetDatum(booking->start_at),
		TimestampTzGetDatum(booking->end_at),
		UUIDPGetDatum(&booking->id),
		TimestampTzGetDatum(now),
		Int32GetDatum(booking->party_size),
	};
	uint64		nrows = execute_select(STMT_EXPLAIN, values, NULL);
	TableVerdict *verdicts = MemoryContextAllocZero(caller,
													sizeof(TableVerdict) * Max(nrows, 1));

	for (uint64 row = 0; row < nrows; row++)
	{
		TableVerdict *table = &verdicts[row];

		(void) uuid_column(row, "id", &table->id);
		table->number = text_column(row, "number", caller);
		table->verdict = text_column(row, "verdict", caller);
		table->detail = text_column(row, "detail", caller);
		table->barred = verdict_bars(table->verdict);
		table->has_zone = uuid_column(row, "zone_id", &table->zone_id);
		table->capacity = int_column(row, "capacity", 0);
		table->min_party = int_column(row, "min_party", 1);
		table->max_party = int_column(row, "max_party", 0);
		table->movable = bool_column(row, "movable");
	}
	SPI_freetuptable(SPI_tuptable);
	*ntables = (int) nrows;
	return verdicts;
}

/*
 * Assignments
 */

/* The order of ids, for qsort(). */
int
compare_uuids(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

/*
 * Seat a booking: insert its rows in the order of the tables' ids, in both
 * ledgers where there are two.  Returns how many there were; fewer than asked
 * means that another writer was faster.
 */
int
store_insert_assignments(const BookingRecord *booking, TimestampTz now,
						 const pg_uuid_t *table_ids, int ntables)
{
	pg_uuid_t  *ordered = palloc(sizeof(pg_uuid_t) * ntables);
	int			inserted;

	if (lookup_has_assignments(&booking->id))
		return 0;
	memcpy(ordered, table_ids, sizeof(pg_uuid_t) * ntables);
	qsort(ordered, ntables, sizeof(pg_uuid_t), compare_uuids);
	inserted = append_assignments(&booking->id, booking_restaurant(booking), ordered, ntables,
								  booking->start_at, booking->end_at, now);
	if (inserted == ntables && binding_get()->relations[BOUND_ALLOCATIONS] != NULL)
	{
		Datum		ledger[2] = {
			UUIDPGetDatum(&booking->id),
			UUIDPGetDatum(&booking->restaurant_id),
		};

		execute(STMT_INSERT_LEDGER, ledger, NULL, false, SPI_OK_INSERT);
	}
	return inserted;
}

void
store_delete_assignments(const pg_uuid_t *booking_id)
{
	Datum		values[1] = {UUIDPGetDatum(booking_id)};

	execute(STMT_DELETE_ASSIGNMENTS, values, NULL, false, SPI_OK_DELETE);
	if (binding_get()->relations[BOUND_ALLOCATIONS] != NULL)
		execute(STMT_DELETE_LEDGER, values, NULL, false, SPI_OK_DELETE);
}

/* Does one assignment fit what the booking says now? */
static bool
assignment_matches(uint64 row, const BookingRecord *booking)
{
	TimestampTz start_at;
	TimestampTz end_at;
	pg_uuid_t	restaurant_id;

	return time_column(row, "start_at", &start_at) && booking->has_start &&
		start_at == booking->start_at &&
		time_column(row, "end_at", &end_at) && booking->has_end &&
		end_at == booking->end_at &&
		uuid_column(row, "restaurant_id", &restaurant_id) &&
		memcmp(&restaurant_id, &booking->restaurant_id, UUID_LEN) == 0;
}

/*
 * The tables of a booking as a new command sees them; whether they fit its
 * present facts, and whether this transaction wrote them.
 */
void
store_read_assignments(const BookingRecord *booking, OwnAssignments *own)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[1] = {UUIDPGetDatum(&booking->id)};
	uint64		nrows = execute_select(STMT_READ_ASSIGNMENTS, values, NULL);
	int64		seats = 0;

	own->ntables = (int) nrows;
	own->table_ids = MemoryContextAlloc(caller, sizeof(pg_uuid_t) * Max(nrows, 1));
	own->moved = false;
	own->matching = nrows > 0;
	for (uint64 row = 0; row < nrows; row++)
	{
		bool		isnull;
		Datum		writer = column(row, "writer", &isnull);

		(void) uuid_column(row, "table_id", &own->table_ids[row]);
		own->moved |= TransactionIdIsCurrentTransactionId(DatumGetTransactionId(writer));
		own->matching &= assignment_matches(row, booking);
		seats += int_column(row, "capacity", 0);
	}
	own->matching &= seats >= booking->party_size;
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Rehearsals
 */

/* What a rehearsal came to; a version that has its row already keeps it. */
void
store_insert_rehearsal(const RehearsalRow *row)
{
	Datum		values[12] = {
		UUIDPGetDatum(&row->booking_id),
		Int32GetDatum(row->version),
		UUIDPGetDatum(&row->restaurant_id),
		TimestampTzGetDatum(row->created_at),
		CStringGetTextDatum(row->trigger),
		CStringGetTextDatum(row->outcome),
		row->reason ? CStringGetTextDatum(row->reason) : (Datum) 0,
		row->sqlstate ? CStringGetTextDatum(row->sqlstate) : (Datum) 0,
		row->ntables > 0 ? uuid_array(row->table_ids, row->ntables) : (Datum) 0,
		row->strategy ? CStringGetTextDatum(row->strategy) : (Datum) 0,
		Float8GetDatum(row->duration_ms),
		Int32GetDatum(row->breaker_threshold),
	};
	char		nulls[] = "            ";

	if (row->reason == NULL)
		nulls[6] = 'n';
	if (row->sqlstate == NULL)
		nulls[7] = 'n';
	if (row->ntables == 0)
		nulls[8] = 'n';
	if (row->strategy == NULL)
		nulls[9] = 'n';
	execute(STMT_INSERT_REHEARSAL, values, nulls, false, SPI_OK_INSERT);
}

/* What became of a booking elsewhere, in the rows of its rehearsals that don't know yet. */
void
store_note_legacy(const pg_uuid_t *booking_id, const char *outcome)
{
	Datum		values[3] = {
		UUIDPGetDatum(booking_id),
		CStringGetTextDatum(outcome),
		TimestampTzGetDatum(GetCurrentTimestamp()),
	};

	if (binding_get()->relations[BOUND_REHEARSALS] == NULL ||
		lookup_is_empty(binding_get()->relids[BOUND_REHEARSALS]))
		return;
	execute(STMT_NOTE_LEGACY, values, NULL, false, SPI_OK_UPDATE);
}

/*
 * The queue
 */

void
store_queue_put(const pg_uuid_t *booking_id, const pg_uuid_t *restaurant_id, TimestampTz due_at)
{
	Datum		values[4] = {
		UUIDPGetDatum(booking_id),
		UUIDPGetDatum(restaurant_id),
		TimestampTzGetDatum(due_at),
		TimestampTzGetDatum(GetCurrentTimestamp()),
	};

	execute(STMT_QUEUE_PUT, values, NULL, false, SPI_OK_INSERT);
	wakeup_note(due_at);
}

/* Queue a booking as a trigger has it, unless it has moved on meanwhile. */
void
store_queue_follow(const BookingRecord *booking, TimestampTz due_at)
{
	Datum		values[3] = {
		UUIDPGetDatum(&booking->id),
		Int32GetDatum(booking->version),
		TimestampTzGetDatum(due_at),
	};

	execute(STMT_QUEUE_FOLLOW, values, NULL, false, SPI_OK_INSERT);
	wakeup_note(due_at);
}

/* The rows of the queue in a result, in the caller's context. */
static QueueRow *
queue_rows(uint64 nrows)
{
	QueueRow   *rows = palloc(sizeof(QueueRow) * Max(nrows, 1));

	for (uint64 i = 0; i < nrows; i++)
	{
		(void) uuid_column(i, "booking_id", &rows[i].booking_id);
		(void) uuid_column(i, "restaurant_id", &rows[i].restaurant_id);
		(void) time_column(i, "due_at", &rows[i].due_at);
		rows[i].priority = int_column(i, "priority", 0);
	}
	SPI_freetuptable(SPI_tuptable);
	return rows;
}

/* Have the plan of the next function made, so that what it costs can be told apart from that. */
void
store_plan_queue_peek(void)
{
	MemoryContext caller = CurrentMemoryContext;

	(void) statement_plan(STMT_QUEUE_PEEK);
	MemoryContextSwitchTo(caller);
}

/* The first rows that are due in an interval, as many of each priority as the limit says. */
QueueRow *
store_queue_peek(TimestampTz from, TimestampTz until, const pg_uuid_t *restaurant_id, int limit,
				 int *nrows)
{
	Datum		values[4] = {
		TimestampTzGetDatum(from),
		TimestampTzGetDatum(until),
		Int32GetDatum(limit),
		UUIDPGetDatum(restaurant_id),
	};

	*nrows = (int) execute_select(restaurant_id != NULL ? STMT_QUEUE_PEEK_OF_RESTAURANT :
								  STMT_QUEUE_PEEK, values, NULL);
	return queue_rows(*nrows);
}

/* The first rows of each of the given restaurants. */
QueueRow *
store_queue_shares(TimestampTz from, TimestampTz until, const pg_uuid_t *restaurant_ids,
				   int nrestaurants, int share, int *nrows)
{
	Datum		values[4] = {
		TimestampTzGetDatum(from),
		TimestampTzGetDatum(until),
		Int32GetDatum(share),
		uuid_array(restaurant_ids, nrestaurants),
	};

	*nrows = (int) execute_select(STMT_QUEUE_SHARES, values, NULL);
	return queue_rows(*nrows);
}

/* The first restaurants between two that have anything due. */
pg_uuid_t *
store_queue_restaurants(TimestampTz from, TimestampTz until, const pg_uuid_t *first,
						const pg_uuid_t *last, int limit, int *nrestaurants)
{
	Datum		values[5] = {
		TimestampTzGetDatum(from),
		TimestampTzGetDatum(until),
		UUIDPGetDatum(first),
		UUIDPGetDatum(last),
		Int32GetDatum(limit),
	};
	pg_uuid_t  *ids;

	*nrestaurants = (int) execute_select(STMT_QUEUE_RESTAURANTS, values, NULL);
	ids = palloc(sizeof(pg_uuid_t) * Max(*nrestaurants, 1));
	for (int i = 0; i < *nrestaurants; i++)
		(void) uuid_column(i, "id", &ids[i]);
	SPI_freetuptable(SPI_tuptable);
	return ids;
}

/* Offer a booking later. */
void
store_queue_postpone(const pg_uuid_t *booking_id, TimestampTz due_at)
{
	Datum		values[2] = {UUIDPGetDatum(booking_id), TimestampTzGetDatum(due_at)};

	execute(STMT_QUEUE_POSTPONE, values, NULL, false, SPI_OK_UPDATE);
	wakeup_note(due_at);
}

/*
 * The breaker
 */

/* Lock a restaurant's breaker, making its row if there is none, and read it. */
void
store_breaker_lock(const pg_uuid_t *restaurant_id, Breaker *breaker)
{
	Datum		values[2] = {
		UUIDPGetDatum(restaurant_id),
		TimestampTzGetDatum(GetCurrentTimestamp()),
	};

	if (execute(STMT_BREAKER_LOCK, values, NULL, false, SPI_OK_INSERT_RETURNING) != 1)
		elog(ERROR, "the breaker of a restaurant is not one row");
	memset(breaker, 0, sizeof(Breaker));
	breaker->consecutive_errors = int_column(0, "consecutive_errors", 0);
	breaker->half_open_successes = int_column(0, "half_open_successes", 0);
	(void) time_column(0, "open_until", &breaker->open_until);
	SPI_freetuptable(SPI_tuptable);
}

/* Write a locked breaker. */
void
store_breaker_put(const pg_uuid_t *restaurant_id, const Breaker *breaker)
{
	Datum		values[5] = {
		UUIDPGetDatum(restaurant_id),
		Int32GetDatum(breaker->consecutive_errors),
		Int32GetDatum(breaker->half_open_successes),
		TimestampTzGetDatum(breaker->open_until),
		TimestampTzGetDatum(GetCurrentTimestamp()),
	};

	execute(STMT_BREAKER_PUT, values, breaker->open_until == 0 ? "   n " : NULL, false,
			SPI_OK_UPDATE);
}

/*
 * Blocks and purging
 */

/* Block one table, as the given user; false if there is no such table. */
bool
store_insert_block(const pg_uuid_t *table_id, TimestampTz start_at, TimestampTz end_at,
				   const char *reason, const char *user, pg_uuid_t *block_id)
{
	Datum		values[6] = {
		UUIDPGetDatum(table_id),
		TimestampTzGetDatum(start_at),
		TimestampTzGetDatum(end_at),
		reason ? CStringGetTextDatum(reason) : (Datum) 0,
		CStringGetTextDatum(user),
		TimestampTzGetDatum(GetCurrentTimestamp()),
	};
	uint64		nrows = execute(STMT_INSERT_BLOCK, values, reason ? NULL : "   n  ", false,
								SPI_OK_INSERT_RETURNING);

	if (nrows > 0)
		(void) uuid_column(0, "id", block_id);
	SPI_freetuptable(SPI_tuptable);
	return nrows > 0;
}

/* The bookings that are seated at a table during a window. */
pg_uuid_t *
store_read_collisions(const pg_uuid_t *table_id, TimestampTz start_at, TimestampTz end_at,
					  int *nbookings)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[3] = {
		UUIDPGetDatum(table_id),
		TimestampTzGetDatum(start_at),
		TimestampTzGetDatum(end_at),
	};
	uint64		nrows = execute(STMT_READ_COLLISIONS, values, NULL, false, SPI_OK_SELECT);
	pg_uuid_t  *bookings = MemoryContextAlloc(caller, sizeof(pg_uuid_t) * Max(nrows, 1));

	for (uint64 row = 0; row < nrows; row++)
		(void) uuid_column(row, "booking_id", &bookings[row]);
	SPI_freetuptable(SPI_tuptable);
	*nbookings = (int) nrows;
	return bookings;
}

bool
store_delete_block(const pg_uuid_t *block_id)
{
	Datum		values[1] = {UUIDPGetDatum(block_id)};

	return execute(STMT_DELETE_BLOCK, values, NULL, false, SPI_OK_DELETE) > 0;
}

/*
 * The outbox
 */

static void
message_columns(uint64 row, OutboxMessage *message, MemoryContext context)
{
	MemoryContext caller;
	bool		isnull;
	Datum		payload = column(row, "payload", &isnull);

	(void) uuid_column(row, "id", &message->id);
	message->event_type = text_column(row, "event_type", context);
	message->has_booking = uuid_column(row, "booking_id", &message->booking_id);
	message->has_restaurant = uuid_column(row, "restaurant_id", &message->restaurant_id);
	message->idempotency_key = text_column(row, "idempotency_key", context);
	message->attempt = int_column(row, "attempt", 0);
	(void) time_column(row, "created_at", &message->created_at);
	message->status = text_column(row, "status", context);
	caller = MemoryContextSwitchTo(context);
	message->payload = isnull ? NULL : DatumGetJsonbPCopy(payload);
	MemoryContextSwitchTo(caller);
}

/*
 * Claim messages that are due, or whose lease has run out, for a lease of our
 * own.  Those that have been tried as often as allowed come back dead.
 */
OutboxMessage *
store_claim_messages(const OutboxClaim *claim, bool leased, int max_rows, int *nmessages)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[5] = {
		TimestampTzGetDatum(claim->now),
		TimestampTzGetDatum(claim->lease_ends),
		claim->event_types,
		Int32GetDatum(max_rows),
		Int32GetDatum(claim->max_attempts),
	};
	uint64		nrows = execute(leased ? STMT_RECLAIM_MESSAGES : STMT_CLAIM_MESSAGES, values, NULL,
								false, SPI_OK_SELECT);
	OutboxMessage *messages = MemoryContextAllocZero(caller,
													 sizeof(OutboxMessage) * Max(nrows, 1));

	for (uint64 row = 0; row < nrows; row++)
		message_columns(row, &messages[row], caller);
	SPI_freetuptable(SPI_tuptable);
	*nmessages = (int) nrows;
	return messages;
}

/* Messages that have been sent; how many of them were not known to be. */
int
store_complete_messages(Datum ids, TimestampTz now)
{
	Datum		values[2] = {ids, TimestampTzGetDatum(now)};

	return (int) execute(STMT_COMPLETE_MESSAGES, values, NULL, false, SPI_OK_UPDATE);
}

/* Lock a message, waiting for whoever holds it; false if there is none. */
bool
store_lock_message(const pg_uuid_t *id, OutboxMessage *message)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[1] = {UUIDPGetDatum(id)};
	uint64		nrows = execute(STMT_LOCK_MESSAGE, values, NULL, false, SPI_OK_SELECT);

	memset(message, 0, sizeof(OutboxMessage));
	if (nrows > 0)
		message_columns(0, message, caller);
	SPI_freetuptable(SPI_tuptable);
	return nrows > 0;
}

void
store_postpone_message(const pg_uuid_t *id, const char *status, TimestampTz next_attempt_at,
					   TimestampTz now)
{
	Datum		values[4] = {
		UUIDPGetDatum(id),
		CStringGetTextDatum(status),
		TimestampTzGetDatum(next_attempt_at),
		TimestampTzGetDatum(now),
	};

	execute(STMT_POSTPONE_MESSAGE, values, NULL, false, SPI_OK_UPDATE);
}

/* Delete what is older than the horizon, and record that it was done. */
void
store_purge(TimestampTz horizon, const char *user, PurgeCounts *counts)
{
	Datum		values[1] = {TimestampTzGetDatum(horizon)};
	Datum		record[8];

	counts->history = execute(STMT_PURGE_HISTORY, values, NULL, false, SPI_OK_DELETE);
	counts->attempts = execute(STMT_PURGE_ATTEMPTS, values, NULL, false, SPI_OK_DELETE);
	counts->events = execute(STMT_PURGE_EVENTS, values, NULL, false, SPI_OK_DELETE);
	counts->messages = execute(STMT_PURGE_MESSAGES, values, NULL, false, SPI_OK_DELETE);
	counts->rehearsals = execute(STMT_PURGE_REHEARSALS, values, NULL, false, SPI_OK_DELETE);

	record[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	record[1] = TimestampTzGetDatum(horizon);
	record[2] = CStringGetTextDatum(user);
	record[3] = Int64GetDatum(counts->history);
	record[4] = Int64GetDatum(counts->attempts);
	record[5] = Int64GetDatum(counts->events);
	record[6] = Int64GetDatum(counts->messages);
	record[7] = Int64GetDatum(counts->rehearsals);
	execute(STMT_INSERT_PURGE, record, NULL, false, SPI_OK_INSERT);
}

static void
set_constraints(List *names, bool deferred)
{
	ConstraintsSetStmt *stmt;

	if (names == NIL)
		return;
	stmt = makeNode(ConstraintsSetStmt);
	stmt->constraints = names;
	stmt->deferred = deferred;
	AfterTriggerSetState(stmt);
}

/*
 * Check the deferred constraints of the bound relations now, so that a failure
 * belongs to the decision that caused it and not to the caller's commit.  For
 * the rest of the transaction they are as they were declared.
 */
void
store_check_constraints(void)
{
	const Binding *binding = binding_get();

	set_constraints(binding->deferrable, false);
	set_constraints(binding->deferred, true);
}

/*
 * The guard
 */

static int64
bigint_column(uint64 row, const char *name)
{
	bool		isnull;
	Datum		value = column(row, name, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

void
store_guard_counts(GuardCounts *counts)
{
	if (execute(STMT_GUARD_COUNTS, NULL, NULL, false, SPI_OK_SELECT) != 1)
		elog(ERROR, "the counters are not one row");
	counts->decisions = bigint_column(0, "decisions");
	counts->errors = bigint_column(0, "errors");
	SPI_freetuptable(SPI_tuptable);
}

/* Keep a sample of the counters, and none that no window of so many calls reaches. */
void
store_guard_sample(const GuardCounts *counts, int calls)
{
	Datum		values[3] = {
		Int64GetDatum(counts->decisions),
		Int64GetDatum(counts->errors),
		TimestampTzGetDatum(GetCurrentTimestamp()),
	};
	Datum		oldest[1] = {Int64GetDatum(counts->decisions - calls)};

	execute(STMT_GUARD_SAMPLE, values, NULL, false, SPI_OK_INSERT);
	execute(STMT_GUARD_PRUNE, oldest, NULL, false, SPI_OK_DELETE);
}

/* How many errors there were when so many decisions had begun, as far as is known. */
int64
store_guard_errors_at(int64 decisions)
{
	Datum		values[1] = {Int64GetDatum(decisions)};
	int64		errors;

	if (execute(STMT_GUARD_ERRORS_AT, values, NULL, false, SPI_OK_SELECT) != 1)
		elog(ERROR, "the errors of the past are not one row");
	errors = bigint_column(0, "errors");
	SPI_freetuptable(SPI_tuptable);
	return errors;
}

/* Switch the pipeline off, and count from now on; false if it is off already. */
bool
store_guard_kill(const char *reason, const char *by, const GuardCounts *counts)
{
	Datum		values[3] = {
		CStringGetTextDatum(reason),
		Int64GetDatum(counts->decisions),
		CStringGetTextDatum(by),
	};

	return execute(STMT_GUARD_KILL, values, NULL, false, SPI_OK_SELECT) > 0;
}
