/*-------------------------------------------------------------------------
 *
 * staff.c
 *		What people do by hand: choose tables, take tables out of service.
 *
 * assign() seats a booking at tables of somebody's choice, from every state
 * and in every mode, and moves a confirmed booking in one step.  It checks
 * what the planner checks and says which table fails which check; with force
 * it passes seats, party limits, adjacency and zone, but never a table that
 * is taken, held, blocked or out of service.
 *
 * Locking: the booking's advisory lock and its row, then the tables' advisory
 * locks.  A person who meets a worker is told to try again, never made to
 * wait for its batch.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "binding.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "flags.h"
#include "journal.h"
#include "locks.h"
#include "miscadmin.h"
#include "seating.h"
#include "sqlstates.h"
#include "store.h"
#include "survivors.h"
#include "transition.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(assignment_assign);
PG_FUNCTION_INFO_V1(assignment_block);
PG_FUNCTION_INFO_V1(assignment_unblock);

typedef struct TableSet
{
	int			ntables;
	pg_uuid_t  *ids;			/* distinct, in the order of their ids */
} TableSet;

/* The argument table_ids: not empty, without nulls; repeated ones count once. */
static void
read_table_ids(FunctionCallInfo fcinfo, int arg, TableSet *set)
{
	Datum	   *elements;
	bool	   *nulls;
	int			nelements = 0;

	if (!PG_ARGISNULL(arg))
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR,
						  &elements, &nulls, &nelements);
	if (nelements == 0)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("table_ids must name at least one table")));
	set->ids = palloc(sizeof(pg_uuid_t) * nelements);
	for (int i = 0; i < nelements; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
					 errmsg("table_ids must not contain nulls")));
		set->ids[i] = *DatumGetUUIDP(elements[i]);
	}
	qsort(set->ids, nelements, sizeof(pg_uuid_t), compare_uuids);
	set->ntables = 1;
	for (int i = 1; i < nelements; i++)
	{
		if (memcmp(&set->ids[i], &set->ids[set->ntables - 1], UUID_LEN) != 0)
			set->ids[set->ntables++] = set->ids[i];
	}
}

static void
lock_tables(const TableSet *set)
{
	for (int i = 0; i < set->ntables; i++)
	{
		if (!lock_table(&set->ids[i]))
			ereport(ERROR,
					(errcode(ERRCODE_ASSIGNMENT_CONFLICT),
					 errmsg("table %s is being assigned by another session",
							uuid_text(&set->ids[i])),
					 errhint("Try again in a moment.")));
	}
}

/*
 * The checks of assign()
 */

static const TableVerdict *
find_verdict(const TableVerdict *verdicts, int nverdicts, const pg_uuid_t *id)
{
	for (int i = 0; i < nverdicts; i++)
	{
		if (memcmp(&verdicts[i].id, id, UUID_LEN) == 0)
			return &verdicts[i];
	}
	return NULL;
}

static void
add_failure(StringInfo failures, const char *format, const char *subject, const char *detail)
{
	if (failures->len > 0)
		appendStringInfoString(failures, " ");
	appendStringInfo(failures, format, subject, detail);
}

/* Checks that no force passes: each table must be there and free. */
static void
check_tables(const TableSet *set, const TableVerdict **chosen, StringInfo failures)
{
	for (int i = 0; i < set->ntables; i++)
	{
		if (chosen[i] == NULL)
			add_failure(failures, "Table %s is %s.", uuid_text(&set->ids[i]),
						"not one of the restaurant");
		else if (chosen[i]->barred)
			add_failure(failures, "Table %s is %s.", chosen[i]->number,
						chosen[i]->detail ? psprintf("%s %s", chosen[i]->verdict,
													 chosen[i]->detail) : chosen[i]->verdict);
	}
}

/* Checks of the party: seats enough, and no table that is kept for larger ones. */
static void
check_party(const BookingRecord *booking, const TableSet *set, const TableVerdict **chosen,
			StringInfo failures)
{
	int64		seats = 0;
	int64		limit = 0;

	for (int i = 0; i < set->ntables; i++)
	{
		seats += chosen[i]->capacity;
		limit += chosen[i]->max_party;
		if (booking->party_size < chosen[i]->min_party)
			add_failure(failures, "Table %s is %s.", chosen[i]->number,
						psprintf("for parties from %d", chosen[i]->min_party));
	}
	if (Min(seats, limit) < booking->party_size)
		add_failure(failures, "%s seat %s.", "The tables",
					psprintf(INT64_FORMAT " of %d", Min(seats, limit), booking->party_size));
}

/* Are the chosen tables connected by adjacencies? */
static bool
is_connected(const TableSet *set)
{
	Floor		floor = {0};
	bool	   *reached = palloc0(sizeof(bool) * set->ntables);
	bool		grown = true;
	int			nreached = 1;

	floor.ntables = set->ntables;
	floor.tables = palloc0(sizeof(PlannerTable) * set->ntables);
	for (int i = 0; i < set->ntables; i++)
	{
		floor.tables[i].id = set->ids[i];
		floor.tables[i].usable = floor.tables[i].movable = true;
	}
	store_read_edges(&floor);
	reached[0] = true;
	while (grown)
	{
		grown = false;
		for (int i = 0; i < floor.nedges; i++)
		{
			int			a = floor.edges[i].a;
			int			b = floor.edges[i].b;

			if (reached[a] == reached[b])
				continue;
			reached[a] = reached[b] = grown = true;
			nreached++;
		}
	}
	return nreached == set->ntables;
}

/* Checks of a merge: one zone, movable tables, side by side, not too many. */
static void
check_merge(const TableSet *set, const TableVerdict **chosen, StringInfo failures)
{
	if (set->ntables < 2)
		return;
	if (set->ntables > flag_max_tables)
		add_failure(failures, "%s are more than %s.", psprintf("%d tables", set->ntables),
					psprintf("assignment_v3.max_tables = %d", flag_max_tables));
	for (int i = 0; i < set->ntables; i++)
	{
		if (!chosen[i]->movable)
			add_failure(failures, "Table %s is %s.", chosen[i]->number, "fixed");
		if (!chosen[i]->has_zone ||
			memcmp(&chosen[i]->zone_id, &chosen[0]->zone_id, UUID_LEN) != 0)
			add_failure(failures, "Table %s is %s.", chosen[i]->number, "in another zone");
	}
	if (!is_connected(set))
		add_failure(failures, "%s are not %s.", "The tables", "adjacent");
}

static void
check_choice(const BookingRecord *booking, const TableSet *set, bool force)
{
	StringInfoData failures;
	const TableVerdict **chosen = palloc(sizeof(TableVerdict *) * set->ntables);
	TableVerdict *verdicts;
	int			nverdicts;

	initStringInfo(&failures);
	verdicts = store_explain(booking, GetCurrentTimestamp(), &nverdicts);
	for (int i = 0; i < set->ntables; i++)
		chosen[i] = find_verdict(verdicts, nverdicts, &set->ids[i]);
	check_tables(set, chosen, &failures);
	if (failures.len == 0 && !force)
	{
		check_party(booking, set, chosen, &failures);
		check_merge(set, chosen, &failures);
	}
	if (failures.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("booking %s cannot be assigned to these tables",
						uuid_text(&booking->id)),
				 errdetail("%s", failures.data),
				 errhint("SELECT * FROM assignment_v3.explain(booking_id) shows every table; force passes seats, party limits, adjacency and zone.")));
}

/* May somebody still be seated for this booking? */
static void
check_booking(const BookingRecord *booking)
{
	if (status_frees_tables(booking->status) || strcmp(booking->status, "completed") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("booking %s is %s", uuid_text(&booking->id), booking->status)));
	require_window(booking);
}

static char *
assign_metadata(const BookingRecord *booking, const TableSet *set, bool force)
{
	StringInfoData json;

	json_begin(&json);
	json_text(&json, "trigger", "assign");
	json_text(&json, "strategy", "manual");
	json_uuids(&json, "table_ids", set->ids, set->ntables);
	if (force)
		json_true(&json, "forced");
	if (booking->state == STATE_CONFIRMED)
		json_true(&json, "moved");
	else if (booking->was_confirmed)
		json_true(&json, "reopened");
	json_end(&json);
	return json.data;
}

/* Put the booking at its tables and confirm it, as one move. */
static void
assign_tables(BookingRecord *booking, const TableSet *set, bool force, const char *reason,
			  const pg_uuid_t *actor_id)
{
	char	   *metadata = assign_metadata(booking, set, force);
	bool		seated = strcmp(booking->status, "checked_in") == 0;
	int			version = booking->version;
	Journal		journal;
	HistoryRow *hop;

	store_delete_assignments(&booking->id);
	if (store_insert_assignments(booking, GetCurrentTimestamp(), set->ids,
								 set->ntables) != set->ntables)
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_CONFLICT),
				 errmsg("a table was taken meanwhile"),
				 errhint("SELECT * FROM assignment_v3.explain(booking_id) shows what is free.")));

	journal_init(&journal, &booking->id, booking_restaurant(booking));
	journal.actor_id = actor_id;
	if (booking->state != STATE_ASSIGNED)
		journal_add_hop(&journal, booking->state, STATE_ASSIGNED, ++version, metadata, reason);
	hop = journal_add_hop(&journal, STATE_ASSIGNED, STATE_CONFIRMED, ++version, metadata, reason);
	journal_set_message(&journal, hop, metadata);
	take_walk(booking, &journal, seated ? NULL : "confirmed", "manual");
	lookup_delete_queue(&booking->id, booking_due(booking));
	store_check_constraints();
}

/*
 * Errors that mean another writer was faster are conflicts to our caller,
 * who can repeat the call.
 */
static void
report_race(ErrorData *error)
{
	switch (error->sqlerrcode)
	{
		case ERRCODE_EXCLUSION_VIOLATION:
		case ERRCODE_LOCK_NOT_AVAILABLE:
		case ERRCODE_T_R_DEADLOCK_DETECTED:
			ereport(ERROR,
					(errcode(ERRCODE_ASSIGNMENT_CONFLICT),
					 errmsg("a table was taken meanwhile"),
					 errdetail("%s", error->message),
					 errhint("Try again in a moment.")));
	}
	ReThrowError(error);
}

static Datum
assign_booking(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *booking_id = required_uuid(fcinfo, 0, "booking_id");
	MemoryContext caller = CurrentMemoryContext;
	const char *reason = optional_text(fcinfo, 2);
	const pg_uuid_t *actor_id = acting_person(fcinfo, 5);
	bool		force = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
	BookingRecord booking;
	TableSet	set;
	StoreScope	scope;

	read_table_ids(fcinfo, 1, &set);
	require_writable();
	binding_require_whole();
	store_enter(&scope);
	if (!lock_booking(booking_id))
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_CONFLICT),
				 errmsg("booking %s is being assigned by another session",
						uuid_text(booking_id)),
				 errhint("Try again in a moment.")));
	door_open(booking_id, !PG_ARGISNULL(3), PG_ARGISNULL(3) ? 0 : PG_GETARG_INT32(3), &booking);
	check_booking(&booking);
	lock_tables(&set);
	check_choice(&booking, &set, force);
	PG_TRY();
	{
		assign_tables(&booking, &set, force, reason, actor_id);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		report_race(error);
	}
	PG_END_TRY();
	survivors_write();
	store_leave(&scope);
	return transition_result(fcinfo, booking.state, STATE_CONFIRMED,
							 booking.version + (booking.state == STATE_ASSIGNED ? 1 : 2));
}

/*
 * assign(booking_id uuid, table_ids uuid[], reason text, expected_version int,
 *		  force boolean, actor_id uuid)
 */
Datum
assignment_assign(PG_FUNCTION_ARGS)
{
	return survivors_call(fcinfo, assign_booking, "assign");
}

/*
 * Blocks
 */

typedef struct Block
{
	TimestampTz start_at;
	TimestampTz end_at;
	const char *reason;
	const char *user;
} Block;

/* A row for the table, and one for each booking that the block collides with. */
static void
put_block(ReturnSetInfo *rsinfo, const pg_uuid_t *block_id, const pg_uuid_t *table_id,
		  const pg_uuid_t *bookings, int nbookings)
{
	for (int i = 0; i < Max(nbookings, 1); i++)
	{
		Datum		values[3];
		bool		nulls[3] = {0};

		values[0] = UUIDPGetDatum(block_id);
		values[1] = UUIDPGetDatum(table_id);
		nulls[2] = nbookings == 0;
		if (nbookings > 0)
			values[2] = UUIDPGetDatum(&bookings[i]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/* The app's own ledger may refuse a block over what is taken there. */
static void
report_collision(ErrorData *error, const pg_uuid_t *table_id, const pg_uuid_t *bookings,
				 int nbookings)
{
	StringInfoData list;

	if (error->sqlerrcode != ERRCODE_EXCLUSION_VIOLATION)
		ReThrowError(error);
	initStringInfo(&list);
	for (int i = 0; i < nbookings; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", uuid_text(&bookings[i]));
	ereport(ERROR,
			(errcode(ERRCODE_ASSIGNMENT_CONFLICT),
			 errmsg("table %s is not free in that time", uuid_text(table_id)),
			 nbookings > 0 ? errdetail("It seats booking %s.", list.data) :
			 errdetail("It is blocked already."),
			 errhint("Move what is there first.")));
}

static void
block_table(ReturnSetInfo *rsinfo, const pg_uuid_t *table_id, const Block *block)
{
	MemoryContext caller = CurrentMemoryContext;
	pg_uuid_t	block_id;
	int			nbookings;
	pg_uuid_t  *bookings = store_read_collisions(table_id, block->start_at, block->end_at,
												 &nbookings);

	PG_TRY();
	{
		if (!store_insert_block(table_id, block->start_at, block->end_at, block->reason,
								block->user, &block_id))
			ereport(ERROR,
					(errcode(ERRCODE_ASSIGNMENT_NOT_FOUND),
					 errmsg("table %s does not exist", uuid_text(table_id))));
		store_check_constraints();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		report_collision(error, table_id, bookings, nbookings);
	}
	PG_END_TRY();
	put_block(rsinfo, &block_id, table_id, bookings, nbookings);
}

/*
 * block(table_ids uuid[], start_at timestamptz, end_at timestamptz, reason text)
 * returns (block_id, table_id, colliding_booking_id)
 */
Datum
assignment_block(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Block		block;
	TableSet	set;
	StoreScope	scope;

	binding_materialize(fcinfo, 3);
	read_table_ids(fcinfo, 0, &set);
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) ||
		PG_GETARG_TIMESTAMPTZ(1) >= PG_GETARG_TIMESTAMPTZ(2))
		ereport(ERROR,
				(errcode(ERRCODE_ASSIGNMENT_UNPROCESSABLE),
				 errmsg("start_at must be before end_at")));
	block.start_at = PG_GETARG_TIMESTAMPTZ(1);
	block.end_at = PG_GETARG_TIMESTAMPTZ(2);
	block.reason = optional_text(fcinfo, 3);
	block.user = GetUserNameFromId(GetUserId(), false);
	require_writable();
	binding_require_whole();

	store_enter(&scope);
	lock_tables(&set);
	for (int i = 0; i < set.ntables; i++)
		block_table(rsinfo, &set.ids[i], &block);
	store_leave(&scope);
	return (Datum) 0;
}

/* unblock(id uuid) returns whether there was such a block */
Datum
assignment_unblock(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *block_id = required_uuid(fcinfo, 0, "id");
	StoreScope	scope;
	bool		found;

	require_writable();
	binding_require_whole();
	store_enter(&scope);
	found = store_delete_block(block_id);
	store_leave(&scope);
	PG_RETURN_BOOL(found);
}
