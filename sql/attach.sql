/*-------------------------------------------------------------------------
 *
 * attach.sql
 *		attach() and detach(): every table and every trigger of the pipeline.
 *
 * The extension owns code, never data.  What holds rows is made here, at run
 * time, in the name of the caller: the app's relations in a schema of the
 * app's choice, the pipeline's own in assignment_v3.  None of it is a member
 * of the extension, and nothing but the triggers depends on it.
 *
 * First comes the data: what a complete schema looks like, as rows of
 * relations, columns, constraints, indexes and triggers.  Then the catalogue's
 * side: whether a thing is there already, told by what it does and not by what
 * it is called wherever an app may have named it otherwise.  attach_plan()
 * subtracts the second from the first and returns the missing steps in order,
 * each with its statement; it writes nothing.  attach() checks that nothing
 * stands in the way, runs the plan and reports it; a dry run only reports.  So
 * one list serves the empty schema and the live one, and a second call finds
 * nothing to do.
 *
 * adopt says what becomes of a thing that an existing table lacks:
 *		required	it can't be adopted
 *		added		it is added to the table
 *		optional	the pipeline lives without it
 * A missing table is created whole, except where the app has others that go with
 * it: an empty floor beside live bookings would be a wrong answer.  The second
 * ledger, allocations, is adopted where it is there and never created.
 * Row-level security and comments come with what is created here; those of the
 * app's own tables are the app's.
 *
 * In the data @app@ stands for the quoted schema of the app and @state@ for
 * the state enum in it.
 *
 * A new table may be laid out in another way: see attach_layouts().  A layout
 * changes nothing but keys and columns, and where a table lies; which of them
 * an existing table has is read from the catalogue, so a later attach() need
 * not be told.
 *
 * Locks: each step says which it takes on a table that was there before, and
 * keeps it until the transaction ends.  What reads all rows of a table has a
 * way of being done beforehand without stopping anybody, but for the exclusion
 * constraint; that is the long lock, and asked for where there are many rows.
 * A step waits for its lock no longer than half of deadlock_timeout, less what
 * others have waited for it, unless the caller has set a lock_timeout: where the app and attach() wait for each other,
 * it is attach() that yields.  attach() and detach() exclude each other by an
 * advisory lock of our own class.
 *
 *-------------------------------------------------------------------------
 */

-- ---------------------------------------------------------------------
-- What a complete schema looks like
-- ---------------------------------------------------------------------

-- attach_states(): the labels of the state enum, in the order in which they are created.
CREATE FUNCTION assignment_v3.attach_states()
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY['created', 'capacity_verified', 'assignment_pending', 'assignment_in_progress',
	'assigned', 'confirmed', 'failed', 'manual_review'];
$$;
COMMENT ON FUNCTION assignment_v3.attach_states() IS
	'Internal to attach(): labels of the state enum';

-- attach_tables(): every table, in an order that lets foreign keys look back.
CREATE FUNCTION assignment_v3.attach_tables()
RETURNS TABLE (relation text, own boolean, storage text, comment text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('restaurants', false, NULL,
	 'A row is one restaurant'),
	('zones', false, NULL,
	 'A row is one part of a restaurant, such as its terrace'),
	('table_inventory', false, NULL,
	 'A row is one table that guests are seated at'),
	('table_adjacencies', false, NULL,
	 'A row says that two tables stand next to each other; the pair holds in both directions'),
	('bookings', false, 'fillfactor = 85',
	 'A row is one reservation for a party at one restaurant'),
	('booking_table_assignments', false, NULL,
	 'A row says that a booking takes a table from start_at until end_at'),
	('booking_assignment_state_history', false, NULL,
	 'A row is one step of a booking''s assignment state; rows are only ever added'),
	('booking_assignment_attempts', false, NULL,
	 'A row is one attempt to seat a booking that counts towards giving up'),
	('observability_events', false, NULL,
	 'A row is one thing that happened and that dashboards and alerts count'),
	('capacity_outbox', false, NULL,
	 'A row is one message that the app still has to deliver, or has delivered'),
	('table_holds', false, NULL,
	 'A row is a short claim on tables while somebody makes up their mind'),
	('table_hold_windows', false, NULL,
	 'A row is one table under a hold, from start_at until end_at'),
	('booking_assignment_shadow_results', false, NULL,
	 'A row is what the rehearsal of one version of a booking came to, and what the legacy path made of it'),
	('binding', true, NULL,
	 'The one row says which schema the pipeline is attached to; no row, not attached'),
	('queue', true, 'fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, '
	 'autovacuum_vacuum_cost_delay = 0',
	 'A row is a booking that waits for a decision'),
	('circuits', true, 'fillfactor = 50',
	 'A row is the circuit breaker of a restaurant that has seen errors'),
	('rollout', true, NULL,
	 'A row sets the mode of one restaurant, or with no restaurant that of the fleet'),
	('kill_switch', true, NULL,
	 'While the one row is there the pipeline is off everywhere'),
	('pauses', true, NULL,
	 'A row tells the drains to leave a restaurant''s bookings where they are'),
	('blocks', true, NULL,
	 'A row takes a table out of service from start_at until end_at'),
	('counters', true, NULL,
	 'No row: the sequence behind each column counts what no rollback takes back; see stats()'),
	('error_samples', true, NULL,
	 'A row is how many errors there were after so many decisions; the automatic rollback counts back with it'),
	('purges', true, NULL,
	 'A row is one call of purge(), or of roll_months() that has dropped history: what was deleted and up to when'),
	('audit', true, NULL,
	 'A row is one change of the rollout, of the kill switch, or by hand of a breaker: who, when, and from what to what'),
	('phases', true, NULL,
	 'A row says that a phase of the rollout began'),
	('sign_offs', true, NULL,
	 'A row says that somebody has signed a phase of the rollout'),
	('incidents', true, NULL,
	 'A row is one incident of the rollout');
$$;
COMMENT ON FUNCTION assignment_v3.attach_tables() IS
	'Internal to attach(): the tables of a complete schema';

-- attach_columns_floor(): columns of the restaurant and its tables.
CREATE FUNCTION assignment_v3.attach_columns_floor()
RETURNS TABLE (relation text, name text, type text, definition text, adopt text, comment text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('restaurants', 'id', 'uuid', 'NOT NULL DEFAULT gen_random_uuid()', 'required', 'Key'),
	('restaurants', 'name', 'text', 'NOT NULL', 'required', 'Name shown to guests'),
	('restaurants', 'slug', 'text', '', 'optional', 'Name in addresses of web pages'),
	('restaurants', 'timezone', 'text', 'NOT NULL DEFAULT ''UTC''', 'optional', 'Time zone in which its local times are read'),
	('restaurants', 'is_active', 'boolean', 'NOT NULL DEFAULT true', 'required', 'Whether it takes bookings'),
	('zones', 'id', 'uuid', 'NOT NULL DEFAULT gen_random_uuid()', 'required', 'Key'),
	('zones', 'restaurant_id', 'uuid', 'NOT NULL', 'required', 'Restaurant it is a part of'),
	('zones', 'name', 'text', 'NOT NULL', 'required', 'Name shown to staff'),
	('zones', 'sort_order', 'integer', 'NOT NULL DEFAULT 0', 'optional', 'Place in lists, smaller first'),
	('table_inventory', 'id', 'uuid', 'NOT NULL DEFAULT gen_random_uuid()', 'required', 'Key'),
	('table_inventory', 'restaurant_id', 'uuid', 'NOT NULL', 'required', 'Restaurant it stands in'),
	('table_inventory', 'zone_id', 'uuid', '', 'required', 'Zone it stands in; tables merge only within one'),
	('table_inventory', 'table_number', 'text', 'NOT NULL', 'required', 'Number that staff know it by, unique per restaurant'),
	('table_inventory', 'capacity', 'integer', 'NOT NULL', 'required', 'Seats'),
	('table_inventory', 'min_party_size', 'integer', 'NOT NULL DEFAULT 1', 'added', 'Smallest party it is given to'),
	('table_inventory', 'max_party_size', 'integer', '', 'added', 'Largest party it is given to; NULL means its capacity'),
	('table_inventory', 'status', 'text', 'NOT NULL DEFAULT ''available''', 'required',
	 'What staff see now; only out_of_service bars it from being planned'),
	('table_inventory', 'mobility', 'text', 'NOT NULL DEFAULT ''movable''', 'required', 'Only movable tables merge'),
	('table_inventory', 'active', 'boolean', 'NOT NULL DEFAULT true', 'required', 'Whether it is in use at all'),
	('table_adjacencies', 'table_a', 'uuid', 'NOT NULL', 'required', 'One table of the pair'),
	('table_adjacencies', 'table_b', 'uuid', 'NOT NULL', 'required', 'The other table of the pair'),
	('table_holds', 'id', 'uuid', 'NOT NULL DEFAULT gen_random_uuid()', 'required', 'Key'),
	('table_holds', 'restaurant_id', 'uuid', 'NOT NULL', 'required', 'Restaurant of the tables held'),
	('table_holds', 'booking_id', 'uuid', '', 'added', 'Booking the tables are held for, if it exists yet'),
	('table_holds', 'zone_id', 'uuid', '', 'optional', 'Zone of the tables held'),
	('table_holds', 'start_at', 'timestamptz', 'NOT NULL', 'required', 'Start of the window'),
	('table_holds', 'end_at', 'timestamptz', 'NOT NULL', 'required', 'End of the window, not part of it'),
	('table_holds', 'expires_at', 'timestamptz', 'NOT NULL', 'required', 'When the hold ends by itself'),
	('table_holds', 'status', 'text', 'NOT NULL DEFAULT ''active''', 'required', 'Only an active hold takes its tables'),
	('table_hold_windows', 'hold_id', 'uuid', 'NOT NULL', 'required', 'Hold it belongs to'),
	('table_hold_windows', 'table_id', 'uuid', 'NOT NULL', 'required', 'Table held'),
	('table_hold_windows', 'restaurant_id', 'uuid', 'NOT NULL', 'required', 'Restaurant of the table'),
	('table_hold_windows', 'booking_id', 'uuid', '', 'added', 'Booking the table is held for, if it exists yet'),
	('table_hold_windows', 'start_at', 'timestamptz', 'NOT NULL', 'required', 'Start of the window'),
	('table_hold_windows', 'end_at', 'timestamptz', 'NOT NULL', 'required', 'End of the window, not part of it'),
	('table_hold_windows', 'expires_at', 'timestamptz', 'NOT NULL', 'required', 'When the hold ends by itself');
$$;
COMMENT ON FUNCTION assignment_v3.attach_columns_floor() IS
	'Internal to attach(): columns of restaurants, zones, tables and holds';

-- attach_columns_bookings(): columns of bookings and of the tables they take.
CREATE FUNCTION assignment_v3.attach_columns_bookings()
RETURNS TABLE (relation text, name text, type text, definition text, adopt text, comment text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('bookings', 'id', 'uuid', 'NOT NULL DEFAULT gen_random_uuid()', 'required', 'Key'),
	('bookings', 'restaurant_id', 'uuid', 'NOT NULL', 'required', 'Restaurant booked'),
	('bookings', 'party_size', 'integer', 'NOT NULL', 'required', 'Covers'),
	('bookings', 'start_at', 'timestamptz', 'NOT NULL', 'required', 'Start of the window'),
	('bookings', 'end_at', 'timestamptz', 'NOT NULL', 'required', 'End of the window, not part of it'),
	('bookings', 'status', 'text', 'NOT NULL DEFAULT ''pending''', 'required',
	 'What the app and the guest see; pending and pending_allocation wait for tables'),
	('bookings', 'assigned_zone_id', 'uuid', '', 'added', 'Zone that the party prefers or was promised'),
	('bookings', 'customer_name', 'text', '', 'optional', 'Name of the guest'),
	('bookings', 'customer_email', 'text', '', 'optional', 'Mail address of the guest'),
	('bookings', 'customer_phone', 'text', '', 'optional', 'Telephone number of the guest'),
	('bookings', 'created_at', 'timestamptz', 'NOT NULL DEFAULT now()', 'required', 'When the booking was made'),
	('bookings', 'updated_at', 'timestamptz', 'NOT NULL DEFAULT now()', 'required', 'When the row was last changed'),
	('bookings', 'assignment_state', '@state@', 'NOT NULL DEFAULT ''created''', 'added',
	 'Where the booking stands on its way to tables'),
	('bookings', 'assignment_state_version', 'integer', 'NOT NULL DEFAULT 1', 'added',
	 'One more with every transition and every change of facts; the optimistic lock'),
	('bookings', 'assignment_strategy', 'text', '', 'added', 'Strategy of the planner that found the tables'),
	('booking_table_assignments', 'booking_id', 'uuid', 'NOT NULL', 'required', 'Booking that takes the table'),
	('booking_table_assignments', 'table_id', 'uuid', 'NOT NULL', 'required', 'Table taken'),
	('booking_table_assignments', 'start_at', 'timestamptz', 'NOT NULL', 'required', 'Start of the window'),
	('booking_table_assignments', 'end_at', 'timestamptz', 'NOT NULL', 'required', 'End of the window, not part of it'),
	('booking_table_assignments', 'assigned_at', 'timestamptz', 'NOT NULL DEFAULT now()', 'required',
	 'When the table was given to the booking');
$$;
COMMENT ON FUNCTION assignment_v3.attach_columns_bookings() IS
	'Internal to attach(): columns of bookings and their assignments';

-- attach_columns_journal(): columns of what is written about a booking.
CREATE FUNCTION assignment_v3.attach_columns_journal()
RETURNS TABLE (relation text, name text, type text, definition text, adopt text, comment text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('booking_assignment_state_history', 'id', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'optional', 'Key'),
	('booking_assignment_state_history', 'booking_id', 'uuid', 'NOT NULL', 'required', 'Booking that took the step'),
	('booking_assignment_state_history', 'from_state', '@state@', 'NOT NULL', 'required', 'State before'),
	('booking_assignment_state_history', 'to_state', '@state@', 'NOT NULL', 'required', 'State after; the same where only facts changed'),
	('booking_assignment_state_history', 'version', 'integer', 'NOT NULL', 'added', 'Version of the booking after the step'),
	('booking_assignment_state_history', 'metadata', 'jsonb', 'NOT NULL DEFAULT ''{}''', 'added', 'What else is known of the step'),
	('booking_assignment_state_history', 'reason', 'text', '', 'added', 'Why, where there is more to say than the states do'),
	('booking_assignment_state_history', 'actor_id', 'uuid', '', 'added', 'Person behind the step, if any'),
	('booking_assignment_state_history', 'created_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'required', 'When'),
	('booking_assignment_attempts', 'booking_id', 'uuid', 'NOT NULL', 'required', 'Booking that was to be seated'),
	('booking_assignment_attempts', 'attempt_no', 'integer', 'NOT NULL', 'required', 'Number of the attempt, from 1'),
	('booking_assignment_attempts', 'strategy', 'text', '', 'added', 'Strategy of the planner'),
	('booking_assignment_attempts', 'result', 'text', 'NOT NULL', 'required', 'success or failure'),
	('booking_assignment_attempts', 'reason', 'text', '', 'added', 'Why it failed'),
	('booking_assignment_attempts', 'metadata', 'jsonb', 'NOT NULL DEFAULT ''{}''', 'added', 'What else is known of it'),
	('booking_assignment_attempts', 'created_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'required', 'When'),
	('observability_events', 'id', 'uuid', 'NOT NULL DEFAULT gen_random_uuid()', 'required', 'Key'),
	('observability_events', 'created_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'required', 'When'),
	('observability_events', 'source', 'text', 'NOT NULL', 'required', 'Part of the system that reports'),
	('observability_events', 'event_type', 'text', 'NOT NULL', 'required', 'What happened'),
	('observability_events', 'severity', 'text', 'NOT NULL DEFAULT ''info''', 'required', 'How much it matters'),
	('observability_events', 'context', 'jsonb', 'NOT NULL DEFAULT ''{}''', 'added', 'What else is known of it'),
	('observability_events', 'restaurant_id', 'uuid', '', 'added', 'Restaurant it concerns, which may be gone by now'),
	('observability_events', 'booking_id', 'uuid', '', 'added', 'Booking it concerns, which may be gone by now'),
	('capacity_outbox', 'id', 'uuid', 'NOT NULL DEFAULT gen_random_uuid()', 'required', 'Key'),
	('capacity_outbox', 'created_at', 'timestamptz', 'NOT NULL DEFAULT now()', 'required', 'When the message was written'),
	('capacity_outbox', 'updated_at', 'timestamptz', 'NOT NULL DEFAULT now()', 'required', 'When the row was last changed'),
	('capacity_outbox', 'status', 'text', 'NOT NULL DEFAULT ''pending''', 'required', 'How far its delivery has come'),
	('capacity_outbox', 'event_type', 'text', 'NOT NULL', 'required', 'What the message is about'),
	('capacity_outbox', 'dedupe_key', 'text', '', 'added', 'Unique per event_type, so that nothing is told twice'),
	('capacity_outbox', 'attempt_count', 'integer', 'NOT NULL DEFAULT 0', 'required', 'Deliveries tried so far'),
	('capacity_outbox', 'next_attempt_at', 'timestamptz', 'NOT NULL DEFAULT now()', 'required', 'When to deliver it, or to try again'),
	('capacity_outbox', 'restaurant_id', 'uuid', '', 'added', 'Restaurant it concerns, which may be gone by now'),
	('capacity_outbox', 'booking_id', 'uuid', '', 'added', 'Booking it concerns, which may be gone by now'),
	('capacity_outbox', 'idempotency_key', 'text', '', 'added', 'Key that the receiver may use against repeats'),
	('capacity_outbox', 'payload', 'jsonb', 'NOT NULL DEFAULT ''{}''', 'required', 'The message'),
	('booking_assignment_shadow_results', 'booking_id', 'uuid', 'NOT NULL', 'added', 'Booking rehearsed, which may be gone by now'),
	('booking_assignment_shadow_results', 'version', 'integer', 'NOT NULL', 'added', 'Version of the booking that was rehearsed'),
	('booking_assignment_shadow_results', 'restaurant_id', 'uuid', 'NOT NULL', 'added', 'Restaurant of the booking'),
	('booking_assignment_shadow_results', 'created_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'When'),
	('booking_assignment_shadow_results', 'trigger', 'text', 'NOT NULL', 'added', 'Who called for it'),
	('booking_assignment_shadow_results', 'outcome', 'text', 'NOT NULL', 'added', 'confirmed, retry or manual_review'),
	('booking_assignment_shadow_results', 'reason', 'text', '', 'added', 'Why it is not confirmed'),
	('booking_assignment_shadow_results', 'sqlstate', 'text', '', 'added', 'Code of the error, where that is the reason'),
	('booking_assignment_shadow_results', 'table_ids', 'uuid[]', '', 'added', 'Tables that it would have been seated at'),
	('booking_assignment_shadow_results', 'strategy', 'text', '', 'added', 'Strategy of the planner'),
	('booking_assignment_shadow_results', 'duration_ms', 'double precision', 'NOT NULL', 'added', 'How long the rehearsal took'),
	('booking_assignment_shadow_results', 'consecutive_errors', 'integer', 'NOT NULL DEFAULT 0', 'added',
	 'Rehearsals of the restaurant that ended in an error, one after the other, up to this one'),
	('booking_assignment_shadow_results', 'breaker_would_open', 'boolean', 'NOT NULL DEFAULT false', 'added',
	 'Whether these errors would have opened the restaurant''s circuit breaker'),
	('booking_assignment_shadow_results', 'legacy_outcome', 'text', '', 'added',
	 'What became of the booking elsewhere, once known: confirmed or cancelled'),
	('booking_assignment_shadow_results', 'legacy_table_ids', 'uuid[]', '', 'added', 'Tables that it was seated at elsewhere'),
	('booking_assignment_shadow_results', 'legacy_at', 'timestamptz', '', 'added', 'When that became known');
$$;
COMMENT ON FUNCTION assignment_v3.attach_columns_journal() IS
	'Internal to attach(): columns of history, attempts, events and outbox';

-- attach_columns_ledger(): columns of the second ledger, which the app has or has not.
CREATE FUNCTION assignment_v3.attach_columns_ledger()
RETURNS TABLE (relation text, name text, type text, definition text, adopt text, comment text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('allocations', 'id', 'uuid', 'NOT NULL', 'required', 'Key'),
	('allocations', 'resource_type', 'text', 'NOT NULL', 'required', 'Only tables concern the pipeline'),
	('allocations', 'resource_id', 'uuid', 'NOT NULL', 'required', 'Table taken'),
	('allocations', 'restaurant_id', 'uuid', 'NOT NULL', 'required', 'Restaurant of the table'),
	('allocations', 'booking_id', 'uuid', '', 'required', 'Booking that takes the table; none for maintenance'),
	('allocations', 'window', 'tstzrange', 'NOT NULL', 'required', 'When the table is taken'),
	('allocations', 'shadow', 'boolean', 'NOT NULL', 'required', 'Whether the row takes nothing'),
	('allocations', 'is_maintenance', 'boolean', 'NOT NULL', 'required', 'Whether the table is out of service');
$$;
COMMENT ON FUNCTION assignment_v3.attach_columns_ledger() IS
	'Internal to attach(): columns of the second ledger';

-- attach_columns_own(): columns of the pipeline's own tables.
CREATE FUNCTION assignment_v3.attach_columns_own()
RETURNS TABLE (relation text, name text, type text, definition text, adopt text, comment text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('binding', 'singleton', 'boolean', 'NOT NULL DEFAULT true', 'added', 'Always true: there is one row at most'),
	('binding', 'app_schema', 'text', 'NOT NULL', 'added', 'Schema of the app'),
	('binding', 'search_path', 'text', 'NOT NULL', 'added', 'Search path under which the app''s triggers run when the pipeline writes'),
	('binding', 'version', 'text', 'NOT NULL', 'added', 'Version of the extension that attached itself'),
	('binding', 'recorded_since', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added',
	 'Since when every change of a booking is recorded; verify() and the queue judge what is older by other rules'),
	('binding', 'attached_at', 'timestamptz', 'NOT NULL DEFAULT now()', 'added', 'When'),
	('binding', 'attached_by', 'text', 'NOT NULL DEFAULT CURRENT_USER', 'added', 'Role that called attach()'),
	('queue', 'booking_id', 'uuid', 'NOT NULL', 'added', 'Booking that waits'),
	('queue', 'restaurant_id', 'uuid', 'NOT NULL', 'added', 'Restaurant of the booking'),
	('queue', 'due_at', 'timestamptz', 'NOT NULL', 'added', 'Not before this time'),
	('queue', 'priority', 'smallint', 'NOT NULL DEFAULT 0', 'added', 'From -2, first, to 2, last'),
	('queue', 'enqueued_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'Since when it waits'),
	('circuits', 'restaurant_id', 'uuid', 'NOT NULL', 'added', 'Restaurant'),
	('circuits', 'consecutive_errors', 'integer', 'NOT NULL DEFAULT 0', 'added', 'Errors since the last success'),
	('circuits', 'half_open_successes', 'integer', 'NOT NULL DEFAULT 0', 'added', 'Successes since the cool-down ended'),
	('circuits', 'open_until', 'timestamptz', '', 'added', 'End of the cool-down; NULL while closed'),
	('circuits', 'opened_at', 'timestamptz', '', 'added', 'When it opened; NULL while closed'),
	('circuits', 'updated_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'When the row was last changed'),
	('rollout', 'id', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Key'),
	('rollout', 'restaurant_id', 'uuid', '', 'added', 'Restaurant; NULL means the fleet'),
	('rollout', 'mode', 'text', 'NOT NULL', 'added', 'active, shadow or disabled'),
	('rollout', 'max_parallel', 'integer', '', 'added', 'Decisions at a time; NULL means as set by assignment_v3.max_parallel'),
	('rollout', 'percent', 'integer', '', 'added', 'Share of the restaurants that the fleet''s mode reaches; NULL means assignment_v3.rollout_percent'),
	('rollout', 'note', 'text', '', 'added', 'Why'),
	('rollout', 'set_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'When'),
	('rollout', 'set_by', 'text', 'NOT NULL DEFAULT CURRENT_USER', 'added', 'Who'),
	('kill_switch', 'singleton', 'boolean', 'NOT NULL DEFAULT true', 'added', 'Always true: there is one row at most'),
	('kill_switch', 'reason', 'text', 'NOT NULL', 'added', 'Why'),
	('kill_switch', 'killed_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'When'),
	('kill_switch', 'killed_by', 'text', 'NOT NULL DEFAULT CURRENT_USER', 'added', 'Who'),
	('pauses', 'restaurant_id', 'uuid', 'NOT NULL', 'added', 'Restaurant'),
	('pauses', 'reason', 'text', '', 'added', 'Why'),
	('pauses', 'paused_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'When'),
	('pauses', 'paused_by', 'text', 'NOT NULL DEFAULT CURRENT_USER', 'added', 'Who'),
	('blocks', 'id', 'uuid', 'NOT NULL DEFAULT gen_random_uuid()', 'added', 'Key'),
	('blocks', 'restaurant_id', 'uuid', 'NOT NULL', 'added', 'Restaurant of the table'),
	('blocks', 'table_id', 'uuid', 'NOT NULL', 'added', 'Table taken out'),
	('blocks', 'start_at', 'timestamptz', 'NOT NULL', 'added', 'Start of the window'),
	('blocks', 'end_at', 'timestamptz', 'NOT NULL', 'added', 'End of the window, not part of it'),
	('blocks', 'reason', 'text', '', 'added', 'Why'),
	('blocks', 'created_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'When'),
	('blocks', 'created_by', 'text', 'NOT NULL DEFAULT CURRENT_USER', 'added', 'Who'),
	('counters', 'singleton', 'boolean', 'NOT NULL DEFAULT true', 'added', 'Always true: there is one row at most'),
	('counters', 'decisions', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Decisions that came as far as to a try'),
	('counters', 'rehearsals', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Rehearsals that came as far as to a try'),
	('counters', 'errors', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Decisions that met an unexpected error'),
	('counters', 'rehearsal_errors', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Rehearsals that met an unexpected error'),
	('counters', 'refusals', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Steps of bookings that were refused'),
	('counters', 'conflicts', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Steps that came with a stale version or lost to another session'),
	('counters', 'failures', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Steps that failed for another reason'),
	('counters', 'late_events', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Events of failed transactions that were recorded late'),
	('counters', 'lost_events', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Events of failed transactions that could not be recorded'),
	('error_samples', 'decisions', 'bigint', 'NOT NULL', 'added', 'Decisions tried so far'),
	('error_samples', 'errors', 'bigint', 'NOT NULL', 'added', 'Errors met so far'),
	('error_samples', 'sampled_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'When'),
	('purges', 'id', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Key'),
	('purges', 'purged_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'When'),
	('purges', 'horizon', 'timestamptz', 'NOT NULL', 'added', 'Older rows were deleted'),
	('purges', 'purged_by', 'text', 'NOT NULL DEFAULT CURRENT_USER', 'added', 'Who'),
	('purges', 'history_rows', 'bigint', 'NOT NULL DEFAULT 0', 'added', 'Rows of history deleted'),
	('purges', 'attempt_rows', 'bigint', 'NOT NULL DEFAULT 0', 'added', 'Attempts deleted'),
	('purges', 'event_rows', 'bigint', 'NOT NULL DEFAULT 0', 'added', 'Events deleted'),
	('purges', 'outbox_rows', 'bigint', 'NOT NULL DEFAULT 0', 'added', 'Rows of the outbox deleted'),
	('purges', 'shadow_rows', 'bigint', 'NOT NULL DEFAULT 0', 'added', 'Results of rehearsals deleted'),
	('audit', 'id', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Key'),
	('audit', 'changed_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'When'),
	('audit', 'changed_by', 'text', 'NOT NULL DEFAULT CURRENT_USER', 'added', 'Role that did it'),
	('audit', 'login', 'text', 'NOT NULL DEFAULT SESSION_USER', 'added', 'Role that had logged in'),
	('audit', 'relation', 'text', 'NOT NULL', 'added', 'Table that was changed: rollout, kill_switch or circuits'),
	('audit', 'action', 'text', 'NOT NULL', 'added', 'insert, update, delete or truncate'),
	('audit', 'restaurant_id', 'uuid', '', 'added', 'Restaurant of the row; NULL means the fleet'),
	('audit', 'reason', 'text', '', 'added', 'Why, where it was said'),
	('audit', 'old_row', 'jsonb', '', 'added', 'The row before; NULL where there was none'),
	('audit', 'new_row', 'jsonb', '', 'added', 'The row after; NULL where there is none'),
	('phases', 'id', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Key'),
	('phases', 'phase', 'text', 'NOT NULL', 'added', 'Name of the phase'),
	('phases', 'entered_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'When it began'),
	('phases', 'entered_by', 'text', 'NOT NULL DEFAULT CURRENT_USER', 'added', 'Who said so'),
	('phases', 'earned', 'boolean', '', 'added', 'Whether the phase before had passed its gate; NULL where there is none before'),
	('phases', 'note', 'text', '', 'added', 'What else there is to say'),
	('sign_offs', 'id', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Key'),
	('sign_offs', 'phase', 'text', 'NOT NULL', 'added', 'Phase that is signed'),
	('sign_offs', 'role', 'text', 'NOT NULL', 'added', 'qa, engineering, on_call or product_owner'),
	('sign_offs', 'name', 'text', 'NOT NULL', 'added', 'Who signs'),
	('sign_offs', 'note', 'text', '', 'added', 'What else there is to say'),
	('sign_offs', 'signed_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'When'),
	('sign_offs', 'signed_by', 'text', 'NOT NULL DEFAULT CURRENT_USER', 'added', 'Role that wrote it down'),
	('incidents', 'id', 'bigint', 'GENERATED ALWAYS AS IDENTITY', 'added', 'Key'),
	('incidents', 'severity', 'text', 'NOT NULL', 'added', 'P1, P2 or P3'),
	('incidents', 'note', 'text', 'NOT NULL', 'added', 'What happened'),
	('incidents', 'occurred_at', 'timestamptz', 'NOT NULL DEFAULT clock_timestamp()', 'added', 'When'),
	('incidents', 'recorded_by', 'text', 'NOT NULL DEFAULT CURRENT_USER', 'added', 'Role that wrote it down');
$$;
COMMENT ON FUNCTION assignment_v3.attach_columns_own() IS
	'Internal to attach(): columns of the pipeline''s own tables';

-- attach_columns(): every column of every table, in order.
CREATE FUNCTION assignment_v3.attach_columns()
RETURNS TABLE (relation text, ordinal bigint, name text, type text, definition text, adopt text, comment text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT c.relation, c.ordinal, c.name, c.type, c.definition, c.adopt, c.comment
FROM assignment_v3.attach_columns_floor() WITH ORDINALITY
	AS c (relation, name, type, definition, adopt, comment, ordinal)
UNION ALL
SELECT c.relation, c.ordinal, c.name, c.type, c.definition, c.adopt, c.comment
FROM assignment_v3.attach_columns_bookings() WITH ORDINALITY
	AS c (relation, name, type, definition, adopt, comment, ordinal)
UNION ALL
SELECT c.relation, c.ordinal, c.name, c.type, c.definition, c.adopt, c.comment
FROM assignment_v3.attach_columns_journal() WITH ORDINALITY
	AS c (relation, name, type, definition, adopt, comment, ordinal)
UNION ALL
SELECT c.relation, c.ordinal, c.name, c.type, c.definition, c.adopt, c.comment
FROM assignment_v3.attach_columns_ledger() WITH ORDINALITY
	AS c (relation, name, type, definition, adopt, comment, ordinal)
UNION ALL
SELECT c.relation, c.ordinal, c.name, c.type, c.definition, c.adopt, c.comment
FROM assignment_v3.attach_columns_own() WITH ORDINALITY
	AS c (relation, name, type, definition, adopt, comment, ordinal);
$$;
COMMENT ON FUNCTION assignment_v3.attach_columns() IS
	'Internal to attach(): every column of a complete schema';

-- attach_constraints_app(): constraints of the app's tables, named after the table and a suffix.  Where a table
-- exists, keys that new foreign keys or the pipeline's writes rest on are required or added, the rest is the
-- app's business.
CREATE FUNCTION assignment_v3.attach_constraints_app()
RETURNS TABLE (relation text, suffix text, definition text, adopt text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('restaurants', 'pkey', 'PRIMARY KEY (id)', 'required'),
	('restaurants', 'slug_key', 'UNIQUE (slug)', 'optional'),
	('zones', 'pkey', 'PRIMARY KEY (id)', 'required'),
	('zones', 'restaurant_id_fkey', 'FOREIGN KEY (restaurant_id) REFERENCES @app@.restaurants (id) ON DELETE CASCADE', 'optional'),
	('table_inventory', 'pkey', 'PRIMARY KEY (id)', 'required'),
	('table_inventory', 'restaurant_id_table_number_key', 'UNIQUE (restaurant_id, table_number)', 'optional'),
	('table_inventory', 'restaurant_id_fkey', 'FOREIGN KEY (restaurant_id) REFERENCES @app@.restaurants (id) ON DELETE CASCADE', 'optional'),
	('table_inventory', 'zone_id_fkey', 'FOREIGN KEY (zone_id) REFERENCES @app@.zones (id)', 'optional'),
	('table_inventory', 'capacity_check', 'CHECK (capacity > 0)', 'optional'),
	('table_inventory', 'party_size_check', 'CHECK (min_party_size >= 1 AND max_party_size >= min_party_size)', 'optional'),
	('table_inventory', 'status_check', 'CHECK (status IN (''available'', ''reserved'', ''occupied'', ''out_of_service''))', 'optional'),
	('table_inventory', 'mobility_check', 'CHECK (mobility IN (''movable'', ''fixed''))', 'optional'),
	('table_adjacencies', 'pkey', 'PRIMARY KEY (table_a, table_b)', 'optional'),
	('table_adjacencies', 'table_a_fkey', 'FOREIGN KEY (table_a) REFERENCES @app@.table_inventory (id) ON DELETE CASCADE', 'optional'),
	('table_adjacencies', 'table_b_fkey', 'FOREIGN KEY (table_b) REFERENCES @app@.table_inventory (id) ON DELETE CASCADE', 'optional'),
	('table_adjacencies', 'pair_check', 'CHECK (table_a <> table_b)', 'optional'),
	('bookings', 'pkey', 'PRIMARY KEY (id)', 'required'),
	('bookings', 'restaurant_id_fkey', 'FOREIGN KEY (restaurant_id) REFERENCES @app@.restaurants (id)', 'optional'),
	('bookings', 'assigned_zone_id_fkey', 'FOREIGN KEY (assigned_zone_id) REFERENCES @app@.zones (id) ON DELETE SET NULL', 'optional'),
	('bookings', 'party_size_check', 'CHECK (party_size > 0)', 'optional'),
	('bookings', 'window_check', 'CHECK (start_at < end_at)', 'optional'),
	('bookings', 'status_check',
	 'CHECK (status IN (''pending'', ''pending_allocation'', ''confirmed'', ''checked_in'', ''completed'', ''cancelled'', ''no_show''))', 'optional'),
	('bookings', 'assignment_state_version_check', 'CHECK (assignment_state_version >= 1)', 'optional'),
	('booking_table_assignments', 'pkey', 'PRIMARY KEY (booking_id, table_id)', 'added'),
	('booking_table_assignments', 'booking_id_fkey', 'FOREIGN KEY (booking_id) REFERENCES @app@.bookings (id) ON DELETE CASCADE', 'optional'),
	('booking_table_assignments', 'table_id_fkey', 'FOREIGN KEY (table_id) REFERENCES @app@.table_inventory (id)', 'optional'),
	('booking_table_assignments', 'window_check', 'CHECK (start_at < end_at)', 'optional'),
	('booking_table_assignments', 'no_overlap',
	 'EXCLUDE USING gist (table_id WITH =, tstzrange(start_at, end_at, ''[)'') WITH &&)', 'added'),
	('booking_assignment_state_history', 'pkey', 'PRIMARY KEY (id)', 'optional'),
	('booking_assignment_state_history', 'booking_id_version_key', 'UNIQUE (booking_id, version)', 'added'),
	('booking_assignment_state_history', 'booking_id_fkey', 'FOREIGN KEY (booking_id) REFERENCES @app@.bookings (id) ON DELETE CASCADE', 'optional'),
	('booking_assignment_state_history', 'version_check', 'CHECK (version >= 1)', 'optional'),
	('booking_assignment_attempts', 'pkey', 'PRIMARY KEY (booking_id, attempt_no)', 'added'),
	('booking_assignment_attempts', 'booking_id_fkey', 'FOREIGN KEY (booking_id) REFERENCES @app@.bookings (id) ON DELETE CASCADE', 'optional'),
	('booking_assignment_attempts', 'attempt_no_check', 'CHECK (attempt_no >= 1)', 'optional'),
	('booking_assignment_attempts', 'result_check', 'CHECK (result IN (''success'', ''failure''))', 'optional'),
	('observability_events', 'pkey', 'PRIMARY KEY (id)', 'optional'),
	('observability_events', 'severity_check', 'CHECK (severity IN (''info'', ''notice'', ''warning'', ''error'', ''critical''))', 'optional'),
	('capacity_outbox', 'pkey', 'PRIMARY KEY (id)', 'optional'),
	('capacity_outbox', 'status_check', 'CHECK (status IN (''pending'', ''processing'', ''done'', ''dead''))', 'optional'),
	('capacity_outbox', 'attempt_count_check', 'CHECK (attempt_count >= 0)', 'optional'),
	('table_holds', 'pkey', 'PRIMARY KEY (id)', 'required'),
	('table_holds', 'restaurant_id_fkey', 'FOREIGN KEY (restaurant_id) REFERENCES @app@.restaurants (id) ON DELETE CASCADE', 'optional'),
	('table_holds', 'booking_id_fkey', 'FOREIGN KEY (booking_id) REFERENCES @app@.bookings (id) ON DELETE CASCADE', 'optional'),
	('table_holds', 'zone_id_fkey', 'FOREIGN KEY (zone_id) REFERENCES @app@.zones (id) ON DELETE SET NULL', 'optional'),
	('table_holds', 'window_check', 'CHECK (start_at < end_at)', 'optional'),
	('table_hold_windows', 'pkey', 'PRIMARY KEY (hold_id, table_id)', 'optional'),
	('table_hold_windows', 'hold_id_fkey', 'FOREIGN KEY (hold_id) REFERENCES @app@.table_holds (id) ON DELETE CASCADE', 'optional'),
	('table_hold_windows', 'table_id_fkey', 'FOREIGN KEY (table_id) REFERENCES @app@.table_inventory (id) ON DELETE CASCADE', 'optional'),
	('table_hold_windows', 'window_check', 'CHECK (start_at < end_at)', 'optional'),
	('booking_assignment_shadow_results', 'pkey', 'PRIMARY KEY (booking_id, version)', 'added'),
	('booking_assignment_shadow_results', 'outcome_check', 'CHECK (outcome IN (''confirmed'', ''retry'', ''manual_review''))', 'optional'),
	('booking_assignment_shadow_results', 'legacy_outcome_check', 'CHECK (legacy_outcome IN (''confirmed'', ''cancelled''))', 'optional');
$$;
COMMENT ON FUNCTION assignment_v3.attach_constraints_app() IS
	'Internal to attach(): constraints of the app''s tables';

-- attach_constraints_own(): constraints of the pipeline's own tables, named likewise.  Keys are added where they
-- are missing.
CREATE FUNCTION assignment_v3.attach_constraints_own()
RETURNS TABLE (relation text, suffix text, definition text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('binding', 'pkey', 'PRIMARY KEY (singleton)'),
	('binding', 'singleton_check', 'CHECK (singleton)'),
	('queue', 'pkey', 'PRIMARY KEY (booking_id)'),
	('queue', 'priority_check', 'CHECK (priority BETWEEN -2 AND 2)'),
	('pauses', 'pkey', 'PRIMARY KEY (restaurant_id)'),
	('circuits', 'pkey', 'PRIMARY KEY (restaurant_id)'),
	('circuits', 'counts_check', 'CHECK (consecutive_errors >= 0 AND half_open_successes >= 0)'),
	('rollout', 'pkey', 'PRIMARY KEY (id)'),
	('rollout', 'restaurant_id_key', 'UNIQUE NULLS NOT DISTINCT (restaurant_id)'),
	('rollout', 'mode_check', 'CHECK (mode IN (''active'', ''shadow'', ''disabled''))'),
	('rollout', 'max_parallel_check', 'CHECK (max_parallel BETWEEN 1 AND 20)'),
	('rollout', 'percent_check', 'CHECK (percent BETWEEN 0 AND 100)'),
	('rollout', 'percent_of_fleet_check', 'CHECK (percent IS NULL OR restaurant_id IS NULL)'),
	('kill_switch', 'pkey', 'PRIMARY KEY (singleton)'),
	('kill_switch', 'singleton_check', 'CHECK (singleton)'),
	('blocks', 'pkey', 'PRIMARY KEY (id)'),
	('blocks', 'window_check', 'CHECK (start_at < end_at)'),
	('counters', 'pkey', 'PRIMARY KEY (singleton)'),
	('counters', 'singleton_check', 'CHECK (singleton)'),
	('error_samples', 'pkey', 'PRIMARY KEY (decisions)'),
	('purges', 'pkey', 'PRIMARY KEY (id)'),
	('audit', 'pkey', 'PRIMARY KEY (id)'),
	('audit', 'action_check', 'CHECK (action IN (''insert'', ''update'', ''delete'', ''truncate''))'),
	('phases', 'pkey', 'PRIMARY KEY (id)'),
	('phases', 'phase_check', 'CHECK (phase IN (''development'', ''staging_shadow'', ''staging_full'', ''production_shadow'', '
	 '''production_10'', ''production_50'', ''production_100''))'),
	('sign_offs', 'pkey', 'PRIMARY KEY (id)'),
	('sign_offs', 'role_check', 'CHECK (role IN (''qa'', ''engineering'', ''on_call'', ''product_owner''))'),
	('incidents', 'pkey', 'PRIMARY KEY (id)'),
	('incidents', 'severity_check', 'CHECK (severity IN (''P1'', ''P2'', ''P3''))');
$$;
COMMENT ON FUNCTION assignment_v3.attach_constraints_own() IS
	'Internal to attach(): constraints of the pipeline''s own tables';

-- attach_constraints(): every constraint of every table, in order.
CREATE FUNCTION assignment_v3.attach_constraints()
RETURNS TABLE (relation text, ordinal bigint, name text, definition text, adopt text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT c.relation, c.ordinal, c.relation || '_' || c.suffix, c.definition, c.adopt
FROM assignment_v3.attach_constraints_app() WITH ORDINALITY
	AS c (relation, suffix, definition, adopt, ordinal)
UNION ALL
SELECT c.relation, c.ordinal, c.relation || '_' || c.suffix, c.definition,
	CASE WHEN assignment_v3.attach_key_columns(c.definition) IS NULL THEN 'optional' ELSE 'added' END
FROM assignment_v3.attach_constraints_own() WITH ORDINALITY
	AS c (relation, suffix, definition, ordinal);
$$;
COMMENT ON FUNCTION assignment_v3.attach_constraints() IS
	'Internal to attach(): every constraint of a complete schema';

-- attach_columns_by_restaurant(): columns of a schema that is laid out by restaurant, where each row says whose it is.
CREATE FUNCTION assignment_v3.attach_columns_by_restaurant()
RETURNS TABLE (relation text, name text, type text, definition text, comment text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('table_adjacencies', 'restaurant_id', 'uuid', 'NOT NULL', 'Restaurant of both tables'),
	('booking_table_assignments', 'restaurant_id', 'uuid', 'NOT NULL', 'Restaurant of the booking and of the table'),
	('booking_assignment_state_history', 'restaurant_id', 'uuid', 'NOT NULL', 'Restaurant of the booking'),
	('booking_assignment_attempts', 'restaurant_id', 'uuid', 'NOT NULL', 'Restaurant of the booking'),
	('capacity_outbox', 'restaurant_id', 'uuid', 'NOT NULL', 'Restaurant it concerns, which may be gone by now');
$$;
COMMENT ON FUNCTION assignment_v3.attach_columns_by_restaurant() IS
	'Internal to attach(): columns that the layout by restaurant adds, or wants otherwise';

-- attach_layouts(): what a layout asks of a table: a column that each of its keys ends in, since the rows are spread by it.
-- By month lies what grows without end and is read by its time; by restaurant whatever belongs to one.  restaurants
-- itself, and what concerns the fleet, lies where it did: events, too, have no restaurant at times.
CREATE FUNCTION assignment_v3.attach_layouts()
RETURNS TABLE (layout text, relation text, name text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('by_month', 'booking_assignment_state_history', 'created_at'),
	('by_month', 'observability_events', 'created_at'),
	('by_restaurant', 'zones', 'restaurant_id'),
	('by_restaurant', 'table_inventory', 'restaurant_id'),
	('by_restaurant', 'table_adjacencies', 'restaurant_id'),
	('by_restaurant', 'bookings', 'restaurant_id'),
	('by_restaurant', 'booking_table_assignments', 'restaurant_id'),
	('by_restaurant', 'booking_assignment_state_history', 'restaurant_id'),
	('by_restaurant', 'booking_assignment_attempts', 'restaurant_id'),
	('by_restaurant', 'capacity_outbox', 'restaurant_id'),
	('by_restaurant', 'table_holds', 'restaurant_id'),
	('by_restaurant', 'table_hold_windows', 'restaurant_id'),
	('by_restaurant', 'booking_assignment_shadow_results', 'restaurant_id'),
	('by_restaurant', 'queue', 'restaurant_id'),
	('by_restaurant', 'blocks', 'restaurant_id');
$$;
COMMENT ON FUNCTION assignment_v3.attach_layouts() IS
	'Internal to attach(): the column that a layout appends to the keys of a table';

-- attach_indexes(): indexes that are wanted, whether a key of the table serves for one or not.  bookings
-- has none on state, version or status, so that a confirmation stays on its page; partial ones serve the
-- deletes behind foreign keys.  Names are the table's and a suffix.
CREATE FUNCTION assignment_v3.attach_indexes()
RETURNS TABLE (relation text, suffix text, is_unique boolean, method text, columns text[], predicate text, adopt text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('zones', 'restaurant_id_sort_order_idx', false, 'btree', ARRAY['restaurant_id', 'sort_order'], NULL, 'optional'),
	('table_inventory', 'restaurant_id_idx', false, 'btree', ARRAY['restaurant_id'], NULL, 'added'),
	('table_inventory', 'zone_id_idx', false, 'btree', ARRAY['zone_id'], NULL, 'optional'),
	('table_adjacencies', 'table_a_idx', false, 'btree', ARRAY['table_a'], NULL, 'added'),
	('table_adjacencies', 'table_b_idx', false, 'btree', ARRAY['table_b'], NULL, 'added'),
	('bookings', 'restaurant_id_start_at_idx', false, 'btree', ARRAY['restaurant_id', 'start_at'], NULL, 'added'),
	('bookings', 'created_at_idx', false, 'btree', ARRAY['created_at'], NULL, 'added'),
	('bookings', 'assigned_zone_id_idx', false, 'btree', ARRAY['assigned_zone_id'], 'assigned_zone_id IS NOT NULL', 'optional'),
	('booking_table_assignments', 'booking_id_idx', false, 'btree', ARRAY['booking_id'], NULL, 'added'),
	('booking_table_assignments', 'table_id_start_at_idx', false, 'btree', ARRAY['table_id', 'start_at'], NULL, 'added'),
	('booking_assignment_state_history', 'booking_id_idx', false, 'btree', ARRAY['booking_id'], NULL, 'added'),
	('booking_assignment_attempts', 'booking_id_idx', false, 'btree', ARRAY['booking_id'], NULL, 'added'),
	('observability_events', 'created_at_idx', false, 'brin', ARRAY['created_at'], NULL, 'added'),
	('observability_events', 'booking_id_created_at_idx', false, 'btree', ARRAY['booking_id', 'created_at'], NULL, 'added'),
	('capacity_outbox', 'event_type_dedupe_key_key', true, 'btree', ARRAY['event_type', 'dedupe_key'], 'dedupe_key IS NOT NULL', 'added'),
	('capacity_outbox', 'next_attempt_at_idx', false, 'btree', ARRAY['next_attempt_at'], 'status = ''pending''', 'added'),
	('capacity_outbox', 'unfinished_idx', false, 'btree', ARRAY['next_attempt_at'], 'status = ''processing'' OR status = ''dead''', 'added'),
	('table_holds', 'restaurant_id_expires_at_idx', false, 'btree', ARRAY['restaurant_id', 'expires_at'], NULL, 'optional'),
	('table_holds', 'booking_id_idx', false, 'btree', ARRAY['booking_id'], 'booking_id IS NOT NULL', 'optional'),
	('table_holds', 'zone_id_idx', false, 'btree', ARRAY['zone_id'], 'zone_id IS NOT NULL', 'optional'),
	('table_hold_windows', 'restaurant_id_end_at_idx', false, 'btree', ARRAY['restaurant_id', 'end_at'], NULL, 'added'),
	('table_hold_windows', 'table_id_start_at_idx', false, 'btree', ARRAY['table_id', 'start_at'], NULL, 'added'),
	('booking_assignment_shadow_results', 'restaurant_id_created_at_idx', false, 'btree', ARRAY['restaurant_id', 'created_at'], NULL, 'added'),
	('allocations', 'booking_id_idx', false, 'btree', ARRAY['booking_id'], NULL, 'added'),
	('queue', 'priority_due_at_booking_id_idx', false, 'btree', ARRAY['priority', 'due_at', 'booking_id'], NULL, 'added'),
	('queue', 'restaurant_id_priority_due_at_booking_id_idx', false, 'btree', ARRAY['restaurant_id', 'priority', 'due_at', 'booking_id'], NULL, 'added'),
	('blocks', 'restaurant_id_end_at_idx', false, 'btree', ARRAY['restaurant_id', 'end_at'], NULL, 'added'),
	('blocks', 'table_id_start_at_idx', false, 'btree', ARRAY['table_id', 'start_at'], NULL, 'added');
$$;
COMMENT ON FUNCTION assignment_v3.attach_indexes() IS
	'Internal to attach(): the indexes of a complete schema';

-- attach_triggers(): the triggers.  Their names sort last, so that ours see a row as the app's own triggers leave it.
-- None has a WHEN clause: that would be parsed by every UPDATE of bookings, which costs more than calling the function.
CREATE FUNCTION assignment_v3.attach_triggers()
RETURNS TABLE (relation text, name text, timing text, events text, level text, function text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('bookings', 'zzz_assignment_v3_insert', 'BEFORE', 'INSERT', 'ROW', 'booking_validate'),
	('bookings', 'zzz_assignment_v3_enqueue', 'AFTER', 'INSERT', 'ROW', 'booking_record'),
	('bookings', 'zzz_assignment_v3_validate', 'BEFORE', 'UPDATE', 'ROW', 'booking_validate'),
	('bookings', 'zzz_assignment_v3_record', 'AFTER', 'UPDATE', 'ROW', 'booking_record'),
	('booking_assignment_state_history', 'zzz_assignment_v3_append_only', 'BEFORE', 'UPDATE OR DELETE', 'ROW', 'history_append_only'),
	('booking_assignment_state_history', 'zzz_assignment_v3_no_truncate', 'BEFORE', 'TRUNCATE', 'STATEMENT', 'history_append_only'),
	('booking_assignment_state_history', 'zzz_assignment_v3_events', 'AFTER', 'INSERT', 'STATEMENT', 'history_record_events'),
	('binding', 'zzz_assignment_v3_rebind', 'AFTER', 'INSERT OR UPDATE OR DELETE', 'STATEMENT', 'binding_changed'),
	('rollout', 'zzz_assignment_v3_audit', 'AFTER', 'INSERT OR UPDATE OR DELETE', 'ROW', 'audit_change'),
	('rollout', 'zzz_assignment_v3_audit_truncate', 'BEFORE', 'TRUNCATE', 'STATEMENT', 'audit_change'),
	('kill_switch', 'zzz_assignment_v3_audit', 'AFTER', 'INSERT OR UPDATE OR DELETE', 'ROW', 'audit_change'),
	('kill_switch', 'zzz_assignment_v3_audit_truncate', 'BEFORE', 'TRUNCATE', 'STATEMENT', 'audit_change');
$$;
COMMENT ON FUNCTION assignment_v3.attach_triggers() IS
	'Internal to attach(): the triggers of a complete schema';

-- attach_together(): tables that make sense only all together: where an app has one of a set it has them all.
CREATE FUNCTION assignment_v3.attach_together()
RETURNS TABLE (relations text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	(ARRAY['restaurants', 'zones', 'table_inventory', 'bookings', 'booking_table_assignments']),
	(ARRAY['table_holds', 'table_hold_windows']);
$$;
COMMENT ON FUNCTION assignment_v3.attach_together() IS
	'Internal to attach(): sets of tables that an app has whole or not at all';

-- attach_words(): what the pipeline writes into columns whose type and checks are the app's choice.  Labels says what
-- becomes of an enum that lacks a word: added to it, or required of it; none where the column can't be an enum.
CREATE FUNCTION assignment_v3.attach_words()
RETURNS TABLE (relation text, name text, words text[], labels text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH texts (strategies, reasons, arrivals) AS (
	VALUES (
		ARRAY['optimal_fit', 'adjacency', 'zone_preference', 'load_balancing', 'historical_success', 'manual'],
		ARRAY['no_capacity', 'invalid_window', 'cutoff', 'error', 'facts_changed', 'status_reverted', 'reinstated', 'confirmed_elsewhere'],
		ARRAY['booking.assignment_state.confirmed', 'booking.assignment_state.manual_review', 'booking.assignment_state.failed'])
)
SELECT w.* FROM texts CROSS JOIN LATERAL (VALUES
	('bookings', 'status', ARRAY['pending', 'confirmed'], 'required'),
	('bookings', 'assignment_state', assignment_v3.attach_states(), 'added'),
	('bookings', 'assignment_strategy', texts.strategies, 'none'),
	('booking_assignment_state_history', 'from_state', assignment_v3.attach_states(), 'added'),
	('booking_assignment_state_history', 'to_state', assignment_v3.attach_states(), 'added'),
	('booking_assignment_state_history', 'reason', texts.reasons, 'none'),
	('booking_assignment_attempts', 'strategy', texts.strategies, 'none'),
	('booking_assignment_attempts', 'result', ARRAY['success', 'failure'], 'added'),
	('booking_assignment_attempts', 'reason', texts.reasons, 'none'),
	('observability_events', 'source', ARRAY['assignment.state_machine', 'assignment.coordinator', 'assignment.rollout'], 'none'),
	('observability_events', 'event_type', ARRAY['booking.assignment_state_transition', 'coordinator.rate_permit_acquired'], 'none'),
	('observability_events', 'severity', ARRAY['info', 'warning', 'error'], 'added'),
	('capacity_outbox', 'status', ARRAY['pending'], 'required'),
	('capacity_outbox', 'event_type', texts.arrivals, 'none'),
	('capacity_outbox', 'dedupe_key', ARRAY['00000000-0000-0000-0000-000000000000:2147483647'], 'none'),
	('capacity_outbox', 'idempotency_key',
	 ARRAY['booking.assignment_state.manual_review:00000000-0000-0000-0000-000000000000:2147483647'], 'none'),
	('allocations', 'resource_type', ARRAY['table'], 'required')
) AS w (relation, name, words, labels);
$$;
COMMENT ON FUNCTION assignment_v3.attach_words() IS
	'Internal to attach(): what is written into columns of the app''s types';

-- ---------------------------------------------------------------------
-- What is there already
-- ---------------------------------------------------------------------

-- attach_relations(): every table with its schema and, where it exists, its entry in the catalogue; the second ledger
-- only where it exists.
CREATE FUNCTION assignment_v3.attach_relations(app_schema text)
RETURNS TABLE (ordinal bigint, relation text, own boolean, storage text, comment text, schema_name text,
	qualified text, oid oid, kind "char", owner oid)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT t.ordinal, t.relation, t.own, t.storage, t.comment, n.nspname::text,
	format('%I.%I', n.nspname, t.relation), c.oid, c.relkind, c.relowner
FROM (
	SELECT w.ordinal, w.relation, w.own, w.storage, w.comment
	FROM assignment_v3.attach_tables() WITH ORDINALITY AS w (relation, own, storage, comment, ordinal)
	UNION ALL
	SELECT 1000, 'allocations', false, NULL, NULL
) AS t
JOIN pg_namespace AS n ON n.nspname = CASE WHEN t.own THEN 'assignment_v3' ELSE app_schema END
LEFT JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = t.relation
WHERE c.oid IS NOT NULL OR t.relation <> 'allocations';
$$;
COMMENT ON FUNCTION assignment_v3.attach_relations(text) IS
	'Internal to attach(): the tables as the catalogue knows them';

-- attach_expand(): puts the app's schema and the state enum into a definition.
CREATE FUNCTION assignment_v3.attach_expand(definition text, app_schema text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT replace(replace(definition, '@state@', '@app@.booking_assignment_state'), '@app@', quote_ident(app_schema));
$$;
COMMENT ON FUNCTION assignment_v3.attach_expand(text, text) IS
	'Internal to attach(): a definition with its placeholders filled in';

-- attach_key_columns(): the columns of a key, read from its definition; NULL for any other constraint.
CREATE FUNCTION assignment_v3.attach_key_columns(definition text)
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT string_to_array(substring(definition FROM '^(?:PRIMARY KEY|UNIQUE)[A-Z ]* \((.*)\)$'), ', ');
$$;
COMMENT ON FUNCTION assignment_v3.attach_key_columns(text) IS
	'Internal to attach(): the columns of a key';

-- attach_by_month(): whether a table is partitioned by ranges of created_at and of nothing else.
CREATE FUNCTION assignment_v3.attach_by_month(relation oid)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT EXISTS (
	SELECT FROM pg_partitioned_table AS p
	JOIN pg_attribute AS a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
	WHERE p.partrelid = relation AND p.partstrat = 'r' AND p.partnatts = 1 AND a.attname = 'created_at');
$$;
COMMENT ON FUNCTION assignment_v3.attach_by_month(oid) IS
	'Internal to attach(): whether a table is partitioned by time';

-- attach_by_restaurant(): whether the tables that others refer to have the restaurant in their only keys.
CREATE FUNCTION assignment_v3.attach_by_restaurant(app_schema text)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT bool_and(r.oid IS NOT NULL AND NOT assignment_v3.attach_key_exists(r.oid, ARRAY['id'])
	AND assignment_v3.attach_key_exists(r.oid, ARRAY['id', 'restaurant_id']))
FROM assignment_v3.attach_relations(app_schema) AS r
WHERE r.relation IN ('zones', 'table_inventory', 'bookings');
$$;
COMMENT ON FUNCTION assignment_v3.attach_by_restaurant(text) IS
	'Internal to attach(): whether a schema is laid out by restaurant';

-- attach_appended(): the columns that end each key of a table.  An existing table has the layout that it has, a missing
-- one gets the wanted one; by restaurant only if those that it refers to are so, or are made with it.
CREATE FUNCTION assignment_v3.attach_appended(app_schema text, layout text[])
RETURNS TABLE (relation text, names text[])
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT l.relation, array_agg(l.name ORDER BY l.ordinal)
FROM assignment_v3.attach_layouts() WITH ORDINALITY AS l (layout, relation, name, ordinal)
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = l.relation
CROSS JOIN (
	SELECT assignment_v3.attach_by_restaurant(app_schema) AS is_by_restaurant, bool_and(b.oid IS NULL) AS is_new
	FROM assignment_v3.attach_relations(app_schema) AS b
	WHERE b.relation = 'bookings'
) AS core
WHERE CASE
	WHEN l.layout = 'by_month' AND r.oid IS NULL THEN 'by_month' = ANY (attach_appended.layout)
	WHEN l.layout = 'by_month' THEN assignment_v3.attach_by_month(r.oid)
	WHEN r.oid IS NULL THEN core.is_by_restaurant OR core.is_new AND 'by_restaurant' = ANY (attach_appended.layout)
	ELSE core.is_by_restaurant AND EXISTS (
		SELECT FROM pg_attribute AS a WHERE a.attrelid = r.oid AND a.attname = l.name AND NOT a.attisdropped)
END
GROUP BY l.relation;
$$;
COMMENT ON FUNCTION assignment_v3.attach_appended(text, text[]) IS
	'Internal to attach(): the columns that the layout appends to the keys of each table';

-- attach_laid_out(): the definition of a constraint, with these columns appended to its key.  A foreign key says of which
-- restaurant, unless it points at one; where it sets null, then its own column alone.
CREATE FUNCTION assignment_v3.attach_laid_out(definition text, names text[])
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT CASE
	WHEN 'restaurant_id' = ANY (names) AND definition ~ '^EXCLUDE' THEN regexp_replace(definition, '\)$', ', restaurant_id WITH =)')
	WHEN 'restaurant_id' = ANY (names) AND definition ~ '^FOREIGN KEY' AND definition !~ 'REFERENCES @app@\.restaurants '
		THEN regexp_replace(regexp_replace(definition, '^FOREIGN KEY \((\w+)\) (REFERENCES \S+) \(id\)',
			'FOREIGN KEY (\1, restaurant_id) \2 (id, restaurant_id)'), '(\((\w+), .* ON DELETE SET NULL)', '\1 (\2)')
	WHEN assignment_v3.attach_key_columns(definition) IS NULL OR missing.list IS NULL THEN definition
	ELSE regexp_replace(definition, '\)$', format(', %s)', missing.list))
END
FROM (
	SELECT string_agg(n.name, ', ' ORDER BY n.ordinal)
	FROM unnest(names) WITH ORDINALITY AS n (name, ordinal)
	WHERE n.name <> ALL (assignment_v3.attach_key_columns(definition))
) AS missing (list);
$$;
COMMENT ON FUNCTION assignment_v3.attach_laid_out(text, text[]) IS
	'Internal to attach(): a constraint as the layout has it';

-- attach_laid_out_columns(): every column that a new table gets in this layout.
CREATE FUNCTION assignment_v3.attach_laid_out_columns(app_schema text, layout text[])
RETURNS TABLE (relation text, ordinal bigint, name text, type text, definition text, comment text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH added AS MATERIALIZED (
	SELECT x.relation, x.name, x.type, x.definition, x.comment
	FROM assignment_v3.attach_columns_by_restaurant() AS x
	JOIN assignment_v3.attach_appended(app_schema, layout) AS a ON a.relation = x.relation AND x.name = ANY (a.names)
)
SELECT c.relation, c.ordinal, c.name, c.type, COALESCE(x.definition, c.definition), c.comment
FROM assignment_v3.attach_columns() AS c
LEFT JOIN added AS x ON x.relation = c.relation AND x.name = c.name
UNION ALL
SELECT x.relation, 1000, x.name, x.type, x.definition, x.comment
FROM added AS x
WHERE NOT EXISTS (SELECT FROM assignment_v3.attach_columns() AS c WHERE c.relation = x.relation AND c.name = x.name);
$$;
COMMENT ON FUNCTION assignment_v3.attach_laid_out_columns(text, text[]) IS
	'Internal to attach(): every column as the layout has it';

-- attach_laid_out_constraints(): every constraint of a complete schema in this layout, and as it would be in none.
CREATE FUNCTION assignment_v3.attach_laid_out_constraints(app_schema text, layout text[])
RETURNS TABLE (relation text, ordinal bigint, name text, definition text, adopt text, plain text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT c.relation, c.ordinal, c.name, assignment_v3.attach_laid_out(c.definition, a.names), c.adopt, c.definition
FROM assignment_v3.attach_constraints() AS c
LEFT JOIN assignment_v3.attach_appended(app_schema, layout) AS a ON a.relation = c.relation;
$$;
COMMENT ON FUNCTION assignment_v3.attach_laid_out_constraints(text, text[]) IS
	'Internal to attach(): every constraint as the layout has it';

-- attach_type_fits(): whether an existing column can serve for a wanted one.  A text may be an enum, an integer any of
-- its widths; only the version of a booking is the integer it would be made as.
CREATE FUNCTION assignment_v3.attach_type_fits(wanted text, name text, existing oid)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT CASE
	WHEN wanted IN ('text', '@state@') THEN t.typcategory IN ('S', 'E')
	WHEN wanted = 'integer' AND name <> 'assignment_state_version'
		THEN base.oid IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype)
	ELSE base.oid = wanted::regtype
END
FROM pg_type AS t
CROSS JOIN LATERAL (SELECT COALESCE(NULLIF(t.typbasetype, 0), t.oid) AS oid) AS base
WHERE t.oid = existing;
$$;
COMMENT ON FUNCTION assignment_v3.attach_type_fits(text, text, oid) IS
	'Internal to attach(): whether a column of this type can be adopted';

-- attach_key_exists(): whether a table has a unique key on exactly these columns.
CREATE FUNCTION assignment_v3.attach_key_exists(relation oid, key_columns text[])
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT EXISTS (
	SELECT FROM pg_index AS i
	WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid AND i.indimmediate
		AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts = cardinality(key_columns)
		AND key_columns @> (
			SELECT array_agg(a.attname::text)
			FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)
			JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
			WHERE k.n <= i.indnkeyatts));
$$;
COMMENT ON FUNCTION assignment_v3.attach_key_exists(oid, text[]) IS
	'Internal to attach(): whether a table has this key under any name';

-- attach_plain(): an expression without casts, parentheses and blanks, so that two of them can be compared.
CREATE FUNCTION assignment_v3.attach_plain(expression text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT regexp_replace(expression,
	'::(character varying|timestamp with time zone|("([^"]|"")*"|\w+)(\.("([^"]|"")*"|\w+))?)|[()\s]', '', 'g');
$$;
COMMENT ON FUNCTION assignment_v3.attach_plain(text) IS
	'Internal to attach(): an expression in a form that can be compared';

-- attach_index_exists(): whether an index of a table serves for a wanted one, whatever its name: its first
-- columns are the wanted ones, in any order where it is to be unique, and it is whole or has the same predicate.
CREATE FUNCTION assignment_v3.attach_index_exists(relation oid, method text, index_columns text[],
	must_be_unique boolean, predicate text)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT EXISTS (
	SELECT FROM pg_index AS i
	JOIN pg_class AS c ON c.oid = i.indexrelid
	JOIN pg_am AS am ON am.oid = c.relam
	WHERE i.indrelid = relation AND i.indisvalid AND am.amname IN ('btree', method)
		AND (NOT must_be_unique OR (i.indisunique AND i.indnkeyatts = cardinality(index_columns)))
		AND (i.indpred IS NULL OR assignment_v3.attach_plain(pg_get_expr(i.indpred, i.indrelid))
			= assignment_v3.attach_plain(predicate))
		-- the library reads the timeline of a table backwards
		AND (index_columns <> ARRAY['table_id', 'start_at'] OR i.indoption[1] & 1 = 0)
		AND (
			SELECT CASE WHEN must_be_unique THEN array_agg(a.attname::text) @> index_columns
				ELSE array_agg(a.attname::text ORDER BY k.n) = index_columns END
			FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)
			LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
			WHERE k.n <= LEAST(i.indnkeyatts, cardinality(index_columns))));
$$;
COMMENT ON FUNCTION assignment_v3.attach_index_exists(oid, text, text[], boolean, text) IS
	'Internal to attach(): whether a table has an index that serves for this one';

-- attach_tables_have_one_restaurant(): whether a foreign key to the tables keeps rows of one table from naming several
-- restaurants, or none, for which neither that key nor an exclusion constraint would hold.
CREATE FUNCTION assignment_v3.attach_tables_have_one_restaurant(relation oid)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT EXISTS (
	SELECT FROM pg_constraint AS con
	JOIN pg_class AS c ON c.oid = con.conrelid
	JOIN pg_class AS t ON t.oid = con.confrelid AND t.relnamespace = c.relnamespace AND t.relname = 'table_inventory'
	WHERE con.conrelid = relation AND con.contype = 'f' AND con.convalidated
		AND (SELECT array_agg(a.attname::text ORDER BY k.n) = ARRAY['table_id', 'restaurant_id'] AND bool_and(a.attnotnull)
			FROM unnest(con.conkey) WITH ORDINALITY AS k (attnum, n)
			JOIN pg_attribute AS a ON a.attrelid = con.conrelid AND a.attnum = k.attnum));
$$;
COMMENT ON FUNCTION assignment_v3.attach_tables_have_one_restaurant(oid) IS
	'Internal to attach(): whether a table''s restaurant is beyond doubt';

-- attach_exclusion_exists(): whether a constraint forbids that one table be taken twice at a time.  The range
-- may be the expression or a column generated from it, the two parts in either order.  By restaurant it may be too, where
-- a table has but one.
CREATE FUNCTION assignment_v3.attach_exclusion_exists(relation oid)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT EXISTS (
	SELECT FROM pg_constraint AS con
	JOIN pg_index AS i ON i.indexrelid = con.conindid
	CROSS JOIN LATERAL (
		SELECT array_agg(e.part ORDER BY e.part COLLATE "C" DESC) FILTER (WHERE e.part <> '= restaurant_id') AS parts,
			bool_or(e.part = '= restaurant_id') AS of_restaurant
		FROM unnest(con.conexclop) WITH ORDINALITY AS k (operator, n)
		JOIN pg_operator AS o ON o.oid = k.operator
		LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n - 1] AND a.attgenerated <> ''
		LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		CROSS JOIN LATERAL (SELECT o.oprname || ' ' || assignment_v3.attach_plain(
			COALESCE(pg_get_expr(d.adbin, d.adrelid), pg_get_indexdef(i.indexrelid, k.n::int, false)))) AS e (part)
	) AS key
	WHERE con.conrelid = relation AND con.contype = 'x' AND i.indisvalid AND i.indpred IS NULL
		AND (NOT key.of_restaurant OR assignment_v3.attach_tables_have_one_restaurant(relation))
		AND key.parts IN (ARRAY['= table_id', '&& ' || assignment_v3.attach_plain('tstzrange(start_at, end_at, ''[)'')')],
			ARRAY['= table_id', '&& ' || assignment_v3.attach_plain('tstzrange(start_at, end_at)')]));
$$;
COMMENT ON FUNCTION assignment_v3.attach_exclusion_exists(oid) IS
	'Internal to attach(): whether the no-double-booking constraint is there under any name';

-- attach_trigger_state(): missing, differs, disabled or kept.  A trigger differs if it calls another function, fires
-- at other times, or only under some condition.
CREATE FUNCTION assignment_v3.attach_trigger_state(relation oid, trigger_name text, timing text, events text,
	level text, function_name text)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT COALESCE((
	SELECT CASE
		WHEN n.nspname <> 'assignment_v3' OR p.proname <> function_name
			OR t.tgtype <> CASE level WHEN 'ROW' THEN 1 ELSE 0 END + CASE timing WHEN 'BEFORE' THEN 2 ELSE 0 END
				+ CASE WHEN events ~ 'INSERT' THEN 4 ELSE 0 END + CASE WHEN events ~ 'DELETE' THEN 8 ELSE 0 END
				+ CASE WHEN events ~ 'UPDATE' THEN 16 ELSE 0 END + CASE WHEN events ~ 'TRUNCATE' THEN 32 ELSE 0 END
			OR cardinality(t.tgattr) > 0 OR t.tgqual IS NOT NULL
			THEN 'differs'
		WHEN t.tgenabled IN ('D', 'R') THEN 'disabled'
		ELSE 'kept'
	END
	FROM pg_trigger AS t
	JOIN pg_proc AS p ON p.oid = t.tgfoid
	JOIN pg_namespace AS n ON n.oid = p.pronamespace
	WHERE t.tgrelid = relation AND t.tgname = trigger_name AND NOT t.tgisinternal
), 'missing');
$$;
COMMENT ON FUNCTION assignment_v3.attach_trigger_state(oid, text, text, text, text, text) IS
	'Internal to attach(): how a trigger compares with the wanted one';

-- attach_missing_columns(): columns that an existing table lacks.  Rows that are there have no value for a column that is
-- added, unless it has a default.
CREATE FUNCTION assignment_v3.attach_missing_columns(app_schema text)
RETURNS TABLE (relation text, ordinal bigint, name text, type text, definition text, adopt text, comment text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT c.relation, c.ordinal, c.name, c.type,
	CASE WHEN c.definition = 'NOT NULL' THEN '' ELSE c.definition END, c.adopt, c.comment
FROM assignment_v3.attach_columns() AS c
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = c.relation
WHERE r.oid IS NOT NULL AND c.adopt <> 'optional'
	AND NOT EXISTS (
		SELECT FROM pg_attribute AS a
		WHERE a.attrelid = r.oid AND a.attname = c.name AND NOT a.attisdropped);
$$;
COMMENT ON FUNCTION assignment_v3.attach_missing_columns(text) IS
	'Internal to attach(): columns that existing tables lack';

-- attach_defaults(): the columns of the pipeline in an existing bookings, and the default that each has and should
-- have: a new booking starts at the beginning.
CREATE FUNCTION assignment_v3.attach_defaults(app_schema text)
RETURNS TABLE (qualified text, ordinal bigint, name text, wanted text, existing text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT r.qualified, c.ordinal, c.name, substring(c.definition FROM 'DEFAULT (.*)$'),
	assignment_v3.attach_plain(pg_get_expr(d.adbin, d.adrelid))
FROM assignment_v3.attach_columns() AS c
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = c.relation
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = c.name AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relation = 'bookings' AND c.name IN ('assignment_state', 'assignment_state_version');
$$;
COMMENT ON FUNCTION assignment_v3.attach_defaults(text) IS
	'Internal to attach(): defaults of the pipeline''s columns of bookings';

-- attach_missing_labels(): words that enums of the app's columns lack.  The state enum counts even if no column uses it
-- yet.
CREATE FUNCTION assignment_v3.attach_missing_labels(app_schema text)
RETURNS TABLE (type oid, ordinal bigint, label text, labels text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT u.oid, min(l.n), l.label, max(u.labels)
FROM (
	SELECT COALESCE(NULLIF(t.typbasetype, 0), t.oid) AS oid, w.words, w.labels
	FROM assignment_v3.attach_words() AS w
	JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = w.relation
	JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = w.name AND NOT a.attisdropped
	JOIN pg_type AS t ON t.oid = a.atttypid
	WHERE w.labels <> 'none'
	UNION ALL
	SELECT t.oid, assignment_v3.attach_states(), 'added'
	FROM pg_type AS t
	JOIN pg_namespace AS n ON n.oid = t.typnamespace
	WHERE n.nspname = app_schema AND t.typname = 'booking_assignment_state'
) AS u
JOIN pg_type AS t ON t.oid = u.oid AND t.typtype = 'e'
CROSS JOIN unnest(u.words) WITH ORDINALITY AS l (label, n)
WHERE NOT EXISTS (SELECT FROM pg_enum AS e WHERE e.enumtypid = u.oid AND e.enumlabel = l.label)
GROUP BY u.oid, l.label;
$$;
COMMENT ON FUNCTION assignment_v3.attach_missing_labels(text) IS
	'Internal to attach(): words that enums lack';

-- attach_window_check(): what an existing ledger must promise, lest the exclusion constraint be passed by: a table, and a
-- window that is neither open nor empty.
CREATE FUNCTION assignment_v3.attach_window_check()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT '(table_id IS NOT NULL AND (start_at < end_at) IS TRUE)';
$$;
COMMENT ON FUNCTION assignment_v3.attach_window_check() IS
	'Internal to attach(): the condition on rows of booking_table_assignments';

-- attach_missing_checks(): whether an existing ledger promises that, by our constraint or by columns and constraints of
-- its own; one that is there and not yet valid is only to be validated.
CREATE FUNCTION assignment_v3.attach_missing_checks(app_schema text)
RETURNS TABLE (relation text, name text, definition text, present boolean)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT r.relation, COALESCE(ours.conname::text, r.relation || '_taken_check'), assignment_v3.attach_window_check(), ours.conname IS NOT NULL
FROM assignment_v3.attach_relations(app_schema) AS r
LEFT JOIN LATERAL (
	SELECT con.conname, con.convalidated
	FROM pg_constraint AS con
	WHERE con.conrelid = r.oid AND con.contype = 'c'
		AND assignment_v3.attach_plain(pg_get_expr(con.conbin, con.conrelid)) = assignment_v3.attach_plain(assignment_v3.attach_window_check())
	ORDER BY con.convalidated DESC
	LIMIT 1
) AS ours ON true
WHERE r.relation = 'booking_table_assignments' AND r.oid IS NOT NULL AND ours.convalidated IS NOT TRUE
	AND NOT (
		(SELECT count(*) = 3 FROM pg_attribute AS a
		 WHERE a.attrelid = r.oid AND a.attname IN ('table_id', 'start_at', 'end_at') AND a.attnotnull)
		AND EXISTS (
			SELECT FROM pg_constraint AS con
			WHERE con.conrelid = r.oid AND con.contype = 'c' AND con.convalidated
				AND assignment_v3.attach_plain(pg_get_expr(con.conbin, con.conrelid)) IN ('start_at<end_at', 'end_at>start_at')));
$$;
COMMENT ON FUNCTION assignment_v3.attach_missing_checks(text) IS
	'Internal to attach(): checks that existing tables lack';

-- attach_missing_constraints(): keys and exclusion constraints that an existing table lacks.  A primary key is
-- asked for as a unique constraint: the table may have another one.
CREATE FUNCTION assignment_v3.attach_missing_constraints(app_schema text)
RETURNS TABLE (relation text, ordinal bigint, name text, definition text, adopt text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT c.relation, c.ordinal, regexp_replace(c.name, '_pkey$', '_unique'),
	replace(c.definition, 'PRIMARY KEY', 'UNIQUE'), c.adopt
FROM assignment_v3.attach_laid_out_constraints(app_schema, '{}') AS c
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = c.relation
WHERE r.oid IS NOT NULL AND c.adopt <> 'optional'
	AND CASE
		WHEN c.definition ~ '^EXCLUDE' THEN NOT assignment_v3.attach_exclusion_exists(r.oid)
		ELSE NOT assignment_v3.attach_key_exists(r.oid, assignment_v3.attach_key_columns(c.definition))
			AND NOT assignment_v3.attach_key_exists(r.oid, assignment_v3.attach_key_columns(c.plain))
	END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_missing_constraints(text) IS
	'Internal to attach(): constraints that existing tables lack';

-- attach_missing_indexes(): indexes to create.  A table has, or gets, those of its keys.
CREATE FUNCTION assignment_v3.attach_missing_indexes(app_schema text, layout text[])
RETURNS TABLE (relation text, ordinal bigint, name text, is_unique boolean, method text, columns text[], predicate text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT i.relation, i.ordinal, i.relation || '_' || i.suffix, i.is_unique, i.method, laid_out.columns, i.predicate
FROM assignment_v3.attach_indexes() WITH ORDINALITY
	AS i (relation, suffix, is_unique, method, columns, predicate, adopt, ordinal)
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = i.relation
LEFT JOIN assignment_v3.attach_appended(app_schema, layout) AS a ON a.relation = i.relation
CROSS JOIN LATERAL (SELECT i.columns || CASE WHEN i.is_unique THEN a.names END) AS laid_out (columns)
WHERE CASE
	WHEN r.oid IS NULL THEN NOT EXISTS (
		SELECT FROM assignment_v3.attach_constraints() AS c
		WHERE c.relation = i.relation
			AND (assignment_v3.attach_key_columns(c.definition))[:cardinality(i.columns)] = i.columns)
	ELSE i.adopt = 'added'
		AND NOT assignment_v3.attach_index_exists(r.oid, i.method, i.columns, i.is_unique, i.predicate)
		AND NOT assignment_v3.attach_index_exists(r.oid, i.method, laid_out.columns, i.is_unique, i.predicate)
		AND NOT EXISTS (
			SELECT FROM assignment_v3.attach_missing_constraints(app_schema) AS m
			WHERE m.relation = i.relation AND m.adopt = 'added'
				AND (assignment_v3.attach_key_columns(m.definition))[:cardinality(i.columns)] = i.columns)
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_missing_indexes(text, text[]) IS
	'Internal to attach(): indexes that the schema lacks';

-- attach_search_path(): the session's own search_path, with pg_catalog in front if it is listed further back, and
-- pg_temp at the end: where it is not listed it comes first, and a caller's temporary table or type would stand in
-- for the app's while we act with the owner's rights.
CREATE FUNCTION assignment_v3.attach_search_path()
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH element AS (
	SELECT m.n, m.match[1] AS name, btrim(lower(m.match[1]), '"') AS word
	FROM pg_settings AS s,
		regexp_matches(s.reset_val, '("(?:[^"]|"")*"|[^",\s]+)', 'g') WITH ORDINALITY AS m (match, n)
	WHERE s.name = 'search_path'
)
SELECT concat_ws(', ', (SELECT 'pg_catalog' WHERE EXISTS (SELECT FROM element WHERE word = 'pg_catalog')),
	(SELECT string_agg(name, ', ' ORDER BY n) FROM element WHERE word NOT IN ('pg_catalog', 'pg_temp')),
	'pg_temp');
$$;
COMMENT ON FUNCTION assignment_v3.attach_search_path() IS
	'Internal to attach(): the search_path to bind';

-- ---------------------------------------------------------------------
-- What is missing, step by step
--
-- Each part of the plan returns (place, kind, action, object, statement, lock, beforehand); the places order the whole:
-- types, then table by table whatever belongs to it, then triggers, then the binding.  lock is what the step takes on
-- tables that were there before, NULL if nobody can feel it; beforehand is a statement that does the same without
-- stopping writers, run on its own outside of a transaction.
-- ---------------------------------------------------------------------

-- attach_plan_types(): the state enum, if a column is to be made of it, and labels that enums lack.
CREATE FUNCTION assignment_v3.attach_plan_types(app_schema text)
RETURNS TABLE (place bigint[], kind text, action text, object text, statement text, lock text, beforehand text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH state_type AS (
	SELECT format('%I.booking_assignment_state', app_schema) AS name
	WHERE NOT EXISTS (
		SELECT FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
		WHERE n.nspname = app_schema AND t.typname = 'booking_assignment_state')
	AND EXISTS (
		SELECT FROM assignment_v3.attach_columns() AS c
		JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = c.relation
		WHERE c.type = '@state@' AND (r.oid IS NULL OR (r.relation, c.name) IN (
			SELECT m.relation, m.name FROM assignment_v3.attach_missing_columns(app_schema) AS m)))
)
SELECT ARRAY[1, 0]::bigint[], 'type', 'created', 'type ' || s.name,
	format('CREATE TYPE %s AS ENUM (%s);', s.name, (
		SELECT string_agg(E'\n    ' || quote_literal(l.label), ',' ORDER BY l.n)
		FROM unnest(assignment_v3.attach_states()) WITH ORDINALITY AS l (label, n)) || E'\n'), NULL, NULL
FROM state_type AS s
UNION ALL
SELECT ARRAY[1, 1]::bigint[], 'comment', 'commented', 'type ' || s.name,
	format('COMMENT ON TYPE %s IS %L;', s.name, 'State of a booking on its way to tables'), NULL, NULL
FROM state_type AS s
UNION ALL
SELECT ARRAY[1, 1 + m.ordinal, m.type::bigint], 'type', 'added', format('label %s of type %s', m.label, m.type::regtype),
	format('ALTER TYPE %s ADD VALUE %L;', m.type::regtype, m.label), NULL, NULL
FROM assignment_v3.attach_missing_labels(app_schema) AS m
WHERE m.labels = 'added';
$$;
COMMENT ON FUNCTION assignment_v3.attach_plan_types(text) IS
	'Internal to attach(): steps for enums';

-- attach_lock_of_references(): the lock that foreign keys of a new table take on tables that were there before.
CREATE FUNCTION assignment_v3.attach_lock_of_references(app_schema text, relation text)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT 'SHARE ROW EXCLUSIVE on ' || string_agg(DISTINCT r.qualified, ', ' ORDER BY r.qualified)
FROM assignment_v3.attach_constraints() AS c
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = substring(c.definition FROM 'REFERENCES @app@\.(\w+)')
WHERE c.relation = attach_lock_of_references.relation AND r.oid IS NOT NULL;
$$;
COMMENT ON FUNCTION assignment_v3.attach_lock_of_references(text, text) IS
	'Internal to attach(): the lock behind new foreign keys';

-- attach_lies_by_month(): whether a table is to be made of partitions.
CREATE FUNCTION assignment_v3.attach_lies_by_month(relation text, layout text[])
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT 'by_month' = ANY (layout) AND EXISTS (
	SELECT FROM assignment_v3.attach_layouts() AS l
	WHERE l.layout = 'by_month' AND l.relation = attach_lies_by_month.relation);
$$;
COMMENT ON FUNCTION assignment_v3.attach_lies_by_month(text, text[]) IS
	'Internal to attach(): whether a new table is partitioned';

-- attach_months(): the partitions that a table needs from a month on: one for the rows of no month, then so many beyond
-- the first.  Months begin and end in UTC, whoever asks.
CREATE FUNCTION assignment_v3.attach_months(relation text, first timestamptz, ahead integer)
RETURNS TABLE (ordinal bigint, name text, bounds text, starts_at timestamptz, ends_at timestamptz, comment text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
SET TimeZone TO 'UTC'
SET DateStyle TO 'ISO, YMD'
AS $$
SELECT 1, relation || '_rest', 'DEFAULT', NULL, NULL, format('Rows of %s that belong to no other partition', relation)
UNION ALL
SELECT 2 + n, to_char(m.month, format('"%s_"YYYY_MM', relation)),
	format('FOR VALUES FROM (%L) TO (%L)', m.month, m.month + interval '1 month'), m.month, m.month + interval '1 month',
	to_char(m.month, format('"Rows of %s of the month "YYYY-MM', relation))
FROM generate_series(0, ahead) AS n
CROSS JOIN LATERAL (SELECT first + n * interval '1 month') AS m (month);
$$;
COMMENT ON FUNCTION assignment_v3.attach_months(text, timestamptz, integer) IS
	'Internal to attach() and roll_months(): partitions by month';

-- attach_partition_finish(): what a new partition needs besides its rows: it is nobody's to read past the policies of its
-- table, has a comment, and if it holds history, can't be truncated.
CREATE FUNCTION assignment_v3.attach_partition_finish(relation text, partition_name text, comment text)
RETURNS TABLE (kind text, action text, object text, statement text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('row security', 'enabled', 'row security on table ' || partition_name,
	 format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', partition_name)),
	('comment', 'commented', 'table ' || partition_name, format('COMMENT ON TABLE %s IS %L;', partition_name, comment))
UNION ALL
SELECT 'trigger', 'created', format('trigger %I on table %s', t.name, partition_name), format(E'CREATE TRIGGER %I\n    %s %s ON %s\n    '
	'FOR EACH %s\n    EXECUTE FUNCTION assignment_v3.%I();', t.name, t.timing, t.events, partition_name, t.level, t.function)
FROM assignment_v3.attach_triggers() AS t
WHERE t.relation = attach_partition_finish.relation AND t.events = 'TRUNCATE';
$$;
COMMENT ON FUNCTION assignment_v3.attach_partition_finish(text, text, text) IS
	'Internal to attach() and roll_months(): what a new partition needs';

-- attach_plan_tables(): missing tables, each whole with its columns and constraints, and its row-level security.
CREATE FUNCTION assignment_v3.attach_plan_tables(app_schema text, layout text[])
RETURNS TABLE (place bigint[], kind text, action text, object text, statement text, lock text, beforehand text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[2, r.ordinal, 0, 0], 'table', 'created', 'table ' || r.qualified,
	format(E'CREATE TABLE %s (\n    %s\n)%s%s;', r.qualified,
		assignment_v3.attach_expand(concat_ws(E',\n    ', parts.columns, parts.constraints), app_schema),
		CASE WHEN assignment_v3.attach_lies_by_month(r.relation, layout) THEN E'\nPARTITION BY RANGE (created_at)' END,
		E'\nWITH (' || r.storage || ')'),
	assignment_v3.attach_lock_of_references(app_schema, r.relation), NULL
FROM assignment_v3.attach_relations(app_schema) AS r
CROSS JOIN LATERAL (
	SELECT
		(SELECT string_agg(concat_ws(' ', quote_ident(c.name), c.type, NULLIF(c.definition, '')), E',\n    ' ORDER BY c.ordinal)
		 FROM assignment_v3.attach_laid_out_columns(app_schema, layout) AS c WHERE c.relation = r.relation) AS columns,
		(SELECT string_agg(format('CONSTRAINT %I %s', c.name, c.definition), E',\n    ' ORDER BY c.ordinal)
		 FROM assignment_v3.attach_laid_out_constraints(app_schema, layout) AS c WHERE c.relation = r.relation) AS constraints
) AS parts
WHERE r.oid IS NULL
UNION ALL
SELECT ARRAY[2, r.ordinal, 4, 0], 'row security', 'enabled', 'row security on table ' || r.qualified,
	format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', r.qualified),
	CASE WHEN r.oid IS NOT NULL THEN 'ACCESS EXCLUSIVE on ' || r.qualified END, NULL
FROM assignment_v3.attach_relations(app_schema) AS r
WHERE r.oid IS NULL
	OR r.own AND NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = r.oid AND c.relrowsecurity);
$$;
COMMENT ON FUNCTION assignment_v3.attach_plan_tables(text, text[]) IS
	'Internal to attach(): steps for tables and their row-level security';

-- attach_plan_partitions(): the partitions of the tables that are created by month: this month's, the next ones', and one
-- for whatever belongs to none, so that a forgotten month stops no decision.
CREATE FUNCTION assignment_v3.attach_plan_partitions(app_schema text, layout text[])
RETURNS TABLE (place bigint[], kind text, action text, object text, statement text, lock text, beforehand text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[2, r.ordinal, 0, p.ordinal], 'table', 'created', format('table %I.%I', r.schema_name, p.name),
	format('CREATE TABLE %I.%I PARTITION OF %s %s;', r.schema_name, p.name, r.qualified, p.bounds), NULL, NULL
FROM assignment_v3.attach_relations(app_schema) AS r
CROSS JOIN assignment_v3.attach_months(r.relation, date_trunc('month', now(), 'UTC'), 2) AS p
WHERE r.oid IS NULL AND assignment_v3.attach_lies_by_month(r.relation, layout)
UNION ALL
SELECT ARRAY[CASE f.kind WHEN 'trigger' THEN 3 ELSE 2 END, r.ordinal, 6, p.ordinal, f.ordinal], f.kind, f.action, f.object, f.statement,
	NULL, NULL
FROM assignment_v3.attach_relations(app_schema) AS r
CROSS JOIN assignment_v3.attach_months(r.relation, date_trunc('month', now(), 'UTC'), 2) AS p
CROSS JOIN assignment_v3.attach_partition_finish(r.relation, format('%I.%I', r.schema_name, p.name), p.comment)
	WITH ORDINALITY AS f (kind, action, object, statement, ordinal)
WHERE r.oid IS NULL AND assignment_v3.attach_lies_by_month(r.relation, layout);
$$;
COMMENT ON FUNCTION assignment_v3.attach_plan_partitions(text, text[]) IS
	'Internal to attach(): steps for the partitions of new tables';

-- attach_plan_guards(): partitions of the history that could be truncated: unlike triggers by row, those by statement
-- don't come with the table that a partition belongs to.
CREATE FUNCTION assignment_v3.attach_plan_guards(app_schema text)
RETURNS TABLE (place bigint[], kind text, action text, object text, statement text, lock text, beforehand text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[3, 1000, c.oid::bigint], f.kind, CASE s.state WHEN 'missing' THEN 'created' WHEN 'differs' THEN 'replaced' ELSE 'enabled' END,
	f.object,
	CASE s.state
		WHEN 'missing' THEN f.statement
		WHEN 'differs' THEN replace(f.statement, 'CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER')
		ELSE format('ALTER TABLE %s ENABLE TRIGGER zzz_assignment_v3_no_truncate;', c.qualified)
	END,
	'SHARE ROW EXCLUSIVE on ' || c.qualified, NULL
FROM assignment_v3.attach_relations(app_schema) AS r
CROSS JOIN LATERAL (
	SELECT x.oid, format('%I.%I', n.nspname, x.relname) AS qualified
	FROM pg_partition_tree(r.oid) AS t
	JOIN pg_class AS x ON x.oid = t.relid
	JOIN pg_namespace AS n ON n.oid = x.relnamespace
	WHERE t.level > 0
) AS c
CROSS JOIN LATERAL assignment_v3.attach_trigger_state(c.oid, 'zzz_assignment_v3_no_truncate', 'BEFORE', 'TRUNCATE', 'STATEMENT',
	'history_append_only') AS s (state)
JOIN LATERAL assignment_v3.attach_partition_finish(r.relation, c.qualified, '') AS f ON f.kind = 'trigger'
WHERE r.relation = 'booking_assignment_state_history' AND r.kind = 'p' AND s.state <> 'kept';
$$;
COMMENT ON FUNCTION assignment_v3.attach_plan_guards(text) IS
	'Internal to attach(): steps for triggers on partitions';

-- attach_plan_columns(): columns and defaults that tables lack.
CREATE FUNCTION assignment_v3.attach_plan_columns(app_schema text)
RETURNS TABLE (place bigint[], kind text, action text, object text, statement text, lock text, beforehand text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[2, r.ordinal, 1, m.ordinal], 'column', 'added', format('column %s.%I', r.qualified, m.name),
	format('ALTER TABLE %s ADD COLUMN %s;', r.qualified,
		assignment_v3.attach_expand(concat_ws(' ', quote_ident(m.name), m.type, NULLIF(m.definition, '')), app_schema)),
	'ACCESS EXCLUSIVE on ' || r.qualified, NULL
FROM assignment_v3.attach_missing_columns(app_schema) AS m
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = m.relation
WHERE m.adopt = 'added'
UNION ALL
SELECT ARRAY[2, r.ordinal, 1, d.ordinal], 'default', 'added', format('default of column %s.%I', d.qualified, d.name),
	format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s;', d.qualified, d.name, d.wanted),
	'ACCESS EXCLUSIVE on ' || d.qualified, NULL
FROM assignment_v3.attach_defaults(app_schema) AS d
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.qualified = d.qualified
WHERE d.existing IS NULL;
$$;
COMMENT ON FUNCTION assignment_v3.attach_plan_columns(text) IS
	'Internal to attach(): steps for columns and defaults';

-- attach_plan_constraints(): keys, exclusion constraints and checks that tables lack.  A check is added without a look at
-- the rows and validated by a step of its own, which leaves writers alone.
CREATE FUNCTION assignment_v3.attach_plan_constraints(app_schema text)
RETURNS TABLE (place bigint[], kind text, action text, object text, statement text, lock text, beforehand text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[2, r.ordinal, 2, m.ordinal], 'constraint', 'added', format('constraint %I on table %s', m.name, r.qualified),
	format('ALTER TABLE %s ADD CONSTRAINT %I %s;', r.qualified, m.name, m.definition),
	format('ACCESS EXCLUSIVE on %s while its index is built', r.qualified),
	CASE WHEN m.definition ~ '^UNIQUE \(' AND r.kind = 'r' THEN format('CREATE UNIQUE INDEX CONCURRENTLY %I ON %s %s;', m.name, r.qualified,
		substring(m.definition FROM '^UNIQUE (.*)$')) END
FROM assignment_v3.attach_missing_constraints(app_schema) AS m
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = m.relation
WHERE m.adopt = 'added'
UNION ALL
SELECT ARRAY[2, r.ordinal, 2, 1000], 'constraint', 'added', format('constraint %I on table %s', m.name, r.qualified),
	format('ALTER TABLE %s ADD CONSTRAINT %I CHECK %s NOT VALID;', r.qualified, m.name, m.definition),
	'ACCESS EXCLUSIVE on ' || r.qualified, NULL
FROM assignment_v3.attach_missing_checks(app_schema) AS m
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = m.relation
WHERE NOT m.present
UNION ALL
SELECT ARRAY[2, r.ordinal, 2, 1001], 'constraint', 'validated', format('constraint %I on table %s', m.name, r.qualified),
	format('ALTER TABLE %s VALIDATE CONSTRAINT %I;', r.qualified, m.name),
	format('SHARE UPDATE EXCLUSIVE on %s while it is read', r.qualified), NULL
FROM assignment_v3.attach_missing_checks(app_schema) AS m
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = m.relation;
$$;
COMMENT ON FUNCTION assignment_v3.attach_plan_constraints(text) IS
	'Internal to attach(): steps for constraints';

-- attach_plan_indexes(): indexes that tables lack.
CREATE FUNCTION assignment_v3.attach_plan_indexes(app_schema text, layout text[])
RETURNS TABLE (place bigint[], kind text, action text, object text, statement text, lock text, beforehand text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[2, r.ordinal, 3, m.ordinal], 'index', 'created', format('index %I.%I', r.schema_name, m.name),
	format('CREATE %s %s;', part.kind, part.rest),
	CASE WHEN r.oid IS NOT NULL THEN format('SHARE on %s while the index is built', r.qualified) END,
	-- a partitioned table has no such way
	CASE WHEN r.kind = 'r' THEN format('CREATE %s CONCURRENTLY %s;', part.kind, part.rest) END
FROM assignment_v3.attach_missing_indexes(app_schema, layout) AS m
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = m.relation
CROSS JOIN LATERAL (
	SELECT CASE WHEN m.is_unique THEN 'UNIQUE INDEX' ELSE 'INDEX' END AS kind,
		format('%I ON %s USING %s (%s)%s%s', m.name, r.qualified, m.method,
			(SELECT string_agg(quote_ident(c.name), ', ' ORDER BY c.n) FROM unnest(m.columns) WITH ORDINALITY AS c (name, n)),
			-- else the newest rows, which are those asked for, stay outside until the next vacuum
			CASE m.method WHEN 'brin' THEN ' WITH (autosummarize = on)' END,
			' WHERE ' || m.predicate) AS rest
) AS part;
$$;
COMMENT ON FUNCTION assignment_v3.attach_plan_indexes(text, text[]) IS
	'Internal to attach(): steps for indexes';

-- attach_plan_comments(): comments on the tables and columns that are created now.
CREATE FUNCTION assignment_v3.attach_plan_comments(app_schema text, layout text[])
RETURNS TABLE (place bigint[], kind text, action text, object text, statement text, lock text, beforehand text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[2, r.ordinal, 5, 0], 'comment', 'commented', 'table ' || r.qualified,
	format('COMMENT ON TABLE %s IS %L;', r.qualified, r.comment), NULL, NULL
FROM assignment_v3.attach_relations(app_schema) AS r
WHERE r.oid IS NULL
UNION ALL
SELECT ARRAY[2, r.ordinal, 5, c.ordinal], 'comment', 'commented', format('column %s.%I', r.qualified, c.name),
	format('COMMENT ON COLUMN %s.%I IS %L;', r.qualified, c.name, c.comment),
	CASE WHEN r.oid IS NOT NULL THEN 'SHARE UPDATE EXCLUSIVE on ' || r.qualified END, NULL
FROM assignment_v3.attach_laid_out_columns(app_schema, layout) AS c
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = c.relation
WHERE r.oid IS NULL OR (c.relation, c.name) IN (
	SELECT m.relation, m.name FROM assignment_v3.attach_missing_columns(app_schema) AS m);
$$;
COMMENT ON FUNCTION assignment_v3.attach_plan_comments(text, text[]) IS
	'Internal to attach(): steps for comments';

-- attach_plan_triggers(): triggers that are missing, differ from what this version wants, or were disabled.
CREATE FUNCTION assignment_v3.attach_plan_triggers(app_schema text)
RETURNS TABLE (place bigint[], kind text, action text, object text, statement text, lock text, beforehand text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[3, t.ordinal], 'trigger',
	CASE s.state WHEN 'missing' THEN 'created' WHEN 'differs' THEN 'replaced' ELSE 'enabled' END,
	format('trigger %I on table %s', t.name, r.qualified),
	CASE s.state
		WHEN 'disabled' THEN format('ALTER TABLE %s ENABLE TRIGGER %I;', r.qualified, t.name)
		ELSE concat_ws(E'\n    ',
			format('CREATE %sTRIGGER %I', CASE s.state WHEN 'differs' THEN 'OR REPLACE ' ELSE '' END, t.name),
			format('%s %s ON %s', t.timing, t.events, r.qualified),
			CASE WHEN t.function = 'history_record_events' THEN 'REFERENCING NEW TABLE AS inserted' END,
			'FOR EACH ' || t.level,
			format('EXECUTE FUNCTION assignment_v3.%I();', t.function))
	END,
	CASE WHEN r.oid IS NOT NULL THEN 'SHARE ROW EXCLUSIVE on ' || r.qualified END, NULL
FROM assignment_v3.attach_triggers() WITH ORDINALITY
	AS t (relation, name, timing, events, level, function, ordinal)
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = t.relation
CROSS JOIN LATERAL assignment_v3.attach_trigger_state(r.oid, t.name, t.timing, t.events, t.level, t.function) AS s (state)
WHERE s.state <> 'kept';
$$;
COMMENT ON FUNCTION assignment_v3.attach_plan_triggers(text) IS
	'Internal to attach(): steps for triggers';

-- attach_was_recorded(): whether all changes of bookings have met our triggers until now.
CREATE FUNCTION assignment_v3.attach_was_recorded(app_schema text)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT NOT EXISTS (
	SELECT FROM assignment_v3.attach_plan_triggers(app_schema) AS p
	WHERE p.action IN ('created', 'enabled') AND p.object NOT LIKE '% on table assignment\_v3.%');
$$;
COMMENT ON FUNCTION assignment_v3.attach_was_recorded(text) IS
	'Internal to attach(): whether the triggers on the app''s tables are all in place';

-- attach_plan_binding(): the row that says where the pipeline is attached, or what has changed in it.  It comes last, and
-- notes since when every change is recorded.
CREATE FUNCTION assignment_v3.attach_plan_binding(app_schema text)
RETURNS TABLE (place bigint[], kind text, action text, object text, statement text, lock text, beforehand text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	wanted_path text := assignment_v3.attach_search_path();
	wanted_version text := (SELECT e.extversion FROM pg_extension AS e WHERE e.extname = 'assignment_v3');
	was_recorded boolean := assignment_v3.attach_was_recorded(app_schema);
	bound record;
BEGIN
	place := ARRAY[4];
	kind := 'binding';
	action := 'bound';
	object := format('schema %I', app_schema);
	IF to_regclass('assignment_v3.binding') IS NOT NULL THEN
		SELECT b.app_schema, b.search_path, b.version INTO bound FROM assignment_v3.binding AS b;
		IF found THEN
			IF NOT was_recorded
				OR (bound.app_schema, bound.search_path, bound.version) IS DISTINCT FROM (app_schema, wanted_path, wanted_version)
			THEN
				statement := format('UPDATE assignment_v3.binding SET app_schema = %L, search_path = %L, version = %L, '
					'%sattached_at = DEFAULT, attached_by = DEFAULT;', app_schema, wanted_path, wanted_version,
					CASE WHEN was_recorded THEN '' ELSE 'recorded_since = DEFAULT, ' END);
				RETURN NEXT;
			END IF;
			RETURN;
		END IF;
	END IF;
	statement := format('INSERT INTO assignment_v3.binding (app_schema, search_path, version) VALUES (%L, %L, %L);',
		app_schema, wanted_path, wanted_version);
	RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_plan_binding(text) IS
	'Internal to attach(): the step that binds the schema';

-- attach_plan_notes(): what is asked for and can't be had, since the table is there and is adopted as it is.  As comments,
-- so that the report is still a migration.
CREATE FUNCTION assignment_v3.attach_plan_notes(app_schema text, layout text[])
RETURNS TABLE (place bigint[], kind text, action text, object text, statement text, lock text, beforehand text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[0, r.ordinal, l.ordinal], 'note', 'noted', 'table ' || r.qualified,
	format('-- %s is for new tables: this one is there already and stays as it is;', l.layout), NULL, NULL
FROM assignment_v3.attach_layouts() WITH ORDINALITY AS l (layout, relation, name, ordinal)
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = l.relation
LEFT JOIN assignment_v3.attach_appended(app_schema, '{}') AS a ON a.relation = l.relation AND l.name = ANY (a.names)
WHERE r.oid IS NOT NULL AND l.layout = ANY (attach_plan_notes.layout) AND a.relation IS NULL;
$$;
COMMENT ON FUNCTION assignment_v3.attach_plan_notes(text, text[]) IS
	'Internal to attach(): layouts that existing tables can''t be given';

-- attach_plan(): all that is missing, in the order in which it can be made.  It is complete before the first step is
-- taken, and taking no step at all makes it a rehearsal.
CREATE FUNCTION assignment_v3.attach_plan(app_schema text, layout text[])
RETURNS TABLE (place bigint[], kind text, action text, object text, statement text, lock text, beforehand text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
		SELECT p.* FROM (
			SELECT * FROM assignment_v3.attach_plan_notes(app_schema, layout)
			UNION ALL SELECT * FROM assignment_v3.attach_plan_types(app_schema)
			UNION ALL SELECT * FROM assignment_v3.attach_plan_tables(app_schema, layout)
			UNION ALL SELECT * FROM assignment_v3.attach_plan_partitions(app_schema, layout)
			UNION ALL SELECT * FROM assignment_v3.attach_plan_columns(app_schema)
			UNION ALL SELECT * FROM assignment_v3.attach_plan_constraints(app_schema)
			UNION ALL SELECT * FROM assignment_v3.attach_plan_indexes(app_schema, layout)
			UNION ALL SELECT * FROM assignment_v3.attach_plan_comments(app_schema, layout)
			UNION ALL SELECT * FROM assignment_v3.attach_plan_triggers(app_schema)
			UNION ALL SELECT * FROM assignment_v3.attach_plan_guards(app_schema)
			UNION ALL SELECT * FROM assignment_v3.attach_plan_binding(app_schema)
		) AS p
		ORDER BY p.place;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_plan(text, text[]) IS
	'Internal to attach(): the missing steps in order';

-- ---------------------------------------------------------------------
-- What stands in the way
-- ---------------------------------------------------------------------

-- attach_long_lock_rows(): up to how many rows an exclusion constraint is built without asking.
CREATE FUNCTION assignment_v3.attach_long_lock_rows()
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT 100000::bigint;
$$;
COMMENT ON FUNCTION assignment_v3.attach_long_lock_rows() IS
	'Internal to attach(): rows up to which no lock counts as long';

-- attach_claims(): the names that indexes, keys and checks made by the plan are going to take.
CREATE FUNCTION assignment_v3.attach_claims(app_schema text, layout text[])
RETURNS TABLE (schema_name text, qualified text, relation oid, name text, purpose text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT r.schema_name, r.qualified, r.oid, c.name, c.definition
FROM assignment_v3.attach_relations(app_schema) AS r
JOIN assignment_v3.attach_constraints() AS c ON c.relation = r.relation
WHERE r.oid IS NULL AND c.definition ~ '^(PRIMARY KEY|UNIQUE|EXCLUDE)'
UNION ALL
SELECT r.schema_name, r.qualified, r.oid, m.name, m.definition
FROM assignment_v3.attach_relations(app_schema) AS r
JOIN assignment_v3.attach_missing_constraints(app_schema) AS m ON m.relation = r.relation
WHERE m.adopt = 'added'
UNION ALL
SELECT r.schema_name, r.qualified, r.oid, m.name, 'a check'
FROM assignment_v3.attach_relations(app_schema) AS r
JOIN assignment_v3.attach_missing_checks(app_schema) AS m ON m.relation = r.relation
WHERE NOT m.present
UNION ALL
SELECT r.schema_name, r.qualified, r.oid, m.name, format('an index on (%s)', array_to_string(m.columns, ', '))
FROM assignment_v3.attach_relations(app_schema) AS r
JOIN assignment_v3.attach_missing_indexes(app_schema, layout) AS m ON m.relation = r.relation
UNION ALL
SELECT r.schema_name, r.qualified, r.oid, p.name, 'a partition'
FROM assignment_v3.attach_relations(app_schema) AS r
CROSS JOIN assignment_v3.attach_months(r.relation, date_trunc('month', now(), 'UTC'), 2) AS p
WHERE r.oid IS NULL AND assignment_v3.attach_lies_by_month(r.relation, layout);
$$;
COMMENT ON FUNCTION assignment_v3.attach_claims(text, text[]) IS
	'Internal to attach(): names that are going to be taken';

-- attach_problems_relations(): tables that are something else, or are missing beside others that are there.
CREATE FUNCTION assignment_v3.attach_problems_relations(app_schema text, layout text[])
RETURNS TABLE (problem text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format('Relation %s is a %s, not a table.', r.qualified, CASE r.kind
	WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence'
	WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' WHEN 'p' THEN 'partitioned table' ELSE 'composite type' END)
FROM assignment_v3.attach_relations(app_schema) AS r
WHERE r.oid IS NOT NULL AND r.kind <> 'r'
	-- a row trigger is given a partition, whose columns may stand in another order; a key is looked up in one index
	AND NOT (r.kind = 'p' AND NOT r.own AND r.relation NOT IN ('bookings', 'booking_table_assignments',
		'booking_assignment_attempts', 'table_inventory')
		-- ends the key of the history, or nothing would keep a version from being there twice
		AND (r.relation <> 'booking_assignment_state_history' OR assignment_v3.attach_by_month(r.oid)))
UNION ALL
SELECT format('Table %s has tables that inherit from it.', r.qualified)
FROM assignment_v3.attach_relations(app_schema) AS r
WHERE r.kind = 'r' AND EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = r.oid)
UNION ALL
SELECT format('Table %s is missing beside %s.', missing.qualified, present.names)
FROM assignment_v3.attach_together() AS t
JOIN assignment_v3.attach_relations(app_schema) AS missing ON missing.relation = ANY (t.relations) AND missing.oid IS NULL
CROSS JOIN LATERAL (
	SELECT string_agg(r.qualified, ', ' ORDER BY r.ordinal) AS names
	FROM assignment_v3.attach_relations(app_schema) AS r
	WHERE r.relation = ANY (t.relations) AND r.oid IS NOT NULL
) AS present
WHERE present.names IS NOT NULL
UNION ALL
SELECT format('The name %I.%I, wanted for %s on %s, is taken.', c.schema_name, c.name, c.purpose, c.qualified)
FROM assignment_v3.attach_claims(app_schema, layout) AS c
WHERE c.purpose <> 'a check' AND EXISTS (
		SELECT FROM pg_class AS x JOIN pg_namespace AS n ON n.oid = x.relnamespace
		WHERE n.nspname = c.schema_name AND x.relname = c.name)
	OR EXISTS (SELECT FROM pg_constraint AS x WHERE x.conrelid = c.relation AND x.conname = c.name);
$$;
COMMENT ON FUNCTION assignment_v3.attach_problems_relations(text, text[]) IS
	'Internal to attach(): tables and names that stand in the way';

-- attach_problems_columns(): columns that are missing or can't hold what they should, keys that are missing, enums that
-- lack a word that can't be added.
CREATE FUNCTION assignment_v3.attach_problems_columns(app_schema text)
RETURNS TABLE (problem text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format('Column %s.%I is missing.', r.qualified, m.name)
FROM assignment_v3.attach_missing_columns(app_schema) AS m
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = m.relation
WHERE m.adopt = 'required' AND r.kind IN ('r', 'p')
UNION ALL
SELECT format('Column %s.%I has type %s, which can''t serve as %s.', r.qualified, c.name, format_type(a.atttypid, a.atttypmod),
	CASE c.type WHEN '@state@' THEN assignment_v3.attach_expand(c.type, app_schema) ELSE format_type(c.type::regtype, NULL) END)
FROM assignment_v3.attach_columns() AS c
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = c.relation
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = c.name AND NOT a.attisdropped
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN assignment_v3.attach_words() AS w ON w.relation = c.relation AND w.name = c.name
WHERE c.adopt <> 'optional' AND r.kind IN ('r', 'p')
	AND (NOT assignment_v3.attach_type_fits(c.type, c.name, a.atttypid) OR w.labels = 'none' AND t.typcategory = 'E')
UNION ALL
SELECT format('Column %s.%I has type %s, too short for %s.', r.qualified, w.name, format_type(a.atttypid, a.atttypmod), longest.word)
FROM assignment_v3.attach_words() AS w
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = w.relation
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = w.name AND NOT a.attisdropped
CROSS JOIN LATERAL (SELECT x.word FROM unnest(w.words) AS x (word) ORDER BY length(x.word) DESC LIMIT 1) AS longest
WHERE a.atttypid IN ('character varying'::regtype, 'character'::regtype) AND a.atttypmod > 4
	AND length(longest.word) > a.atttypmod - 4
UNION ALL
SELECT format('Column %s.%I has the default %s, a new booking needs %s.', d.qualified, d.name, d.existing, d.wanted)
FROM assignment_v3.attach_defaults(app_schema) AS d
WHERE d.existing <> d.wanted
UNION ALL
SELECT format('Columns from_state and to_state of %s differ in type.', r.qualified)
FROM assignment_v3.attach_relations(app_schema) AS r
JOIN pg_attribute AS f ON f.attrelid = r.oid AND f.attname = 'from_state' AND NOT f.attisdropped
JOIN pg_attribute AS t ON t.attrelid = r.oid AND t.attname = 'to_state' AND NOT t.attisdropped
WHERE r.relation = 'booking_assignment_state_history' AND f.atttypid <> t.atttypid
UNION ALL
SELECT format('Column %s.%I allows null, and a row with a null takes no table.', r.qualified, a.attname)
FROM assignment_v3.attach_relations(app_schema) AS r
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname IN ('resource_id', 'window', 'shadow') AND NOT a.attnotnull
WHERE r.relation = 'allocations' AND r.kind IN ('r', 'p')
UNION ALL
-- a trigger of the app may fill it
SELECT format('Column %s.%I allows no null and has no default, and the pipeline has nothing to write there.', r.qualified, a.attname)
FROM assignment_v3.attach_relations(app_schema) AS r
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
	AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = ''
WHERE r.relation IN ('booking_table_assignments', 'booking_assignment_state_history', 'booking_assignment_attempts',
		'observability_events', 'capacity_outbox', 'allocations')
	AND r.kind IN ('r', 'p')
	AND NOT EXISTS (
		SELECT FROM assignment_v3.attach_columns() AS c
		WHERE c.relation = r.relation AND c.name = a.attname AND c.name <> 'id')
	AND NOT EXISTS (
		SELECT FROM assignment_v3.attach_columns_by_restaurant() AS c
		WHERE c.relation = r.relation AND c.name = a.attname AND assignment_v3.attach_type_fits(c.type, c.name, a.atttypid))
	AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = r.oid AND NOT t.tgisinternal AND t.tgtype & 7 = 7)
UNION ALL
SELECT format('Table %s has no unique key on (%s).', r.qualified, array_to_string(assignment_v3.attach_key_columns(m.definition), ', '))
FROM assignment_v3.attach_missing_constraints(app_schema) AS m
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = m.relation
WHERE m.adopt = 'required' AND r.kind IN ('r', 'p')
UNION ALL
SELECT format('Type %s has no label %s.', m.type::regtype, m.label)
FROM assignment_v3.attach_missing_labels(app_schema) AS m
WHERE m.labels = 'required'
UNION ALL
SELECT format('Type %I.%I is not an enum with the label created.', n.nspname, t.typname)
FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
WHERE n.nspname = app_schema AND t.typname = 'booking_assignment_state'
	AND NOT EXISTS (SELECT FROM pg_enum AS e WHERE e.enumtypid = t.oid AND e.enumlabel = 'created');
$$;
COMMENT ON FUNCTION assignment_v3.attach_problems_columns(text) IS
	'Internal to attach(): columns, keys and types that stand in the way';

-- attach_has_columns(): whether an existing table has all these columns, in types that fit; only then it can be asked
-- about its rows.
CREATE FUNCTION assignment_v3.attach_has_columns(app_schema text, relation text, names text[])
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT count(*) = cardinality(names)
FROM assignment_v3.attach_relations(app_schema) AS r
JOIN assignment_v3.attach_columns() AS c ON c.relation = r.relation AND c.name = ANY (names)
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = c.name AND NOT a.attisdropped
WHERE r.relation = attach_has_columns.relation AND r.kind IN ('r', 'p')
	AND assignment_v3.attach_type_fits(c.type, c.name, a.atttypid);
$$;
COMMENT ON FUNCTION assignment_v3.attach_has_columns(text, text, text[]) IS
	'Internal to attach(): whether rows of a table can be looked at';

-- attach_questions_keys(): a query for each key that is going to be made: are there rows that would break it?
CREATE FUNCTION assignment_v3.attach_questions_keys(app_schema text)
RETURNS TABLE (query text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format($q$
	SELECT format('Table %%s has more than one row of (%%s), such as (%%s); number of such values: %%s.', %L, %L,
		min(d.sample COLLATE "C"), count(*))
	FROM (SELECT concat_ws(', ', %s) AS sample FROM %s WHERE %s GROUP BY %s HAVING count(*) > 1) AS d
	HAVING count(*) > 0$q$,
	r.qualified, array_to_string(k.columns, ', '), part.list, r.qualified, concat_ws(' AND ', part.filled, k.predicate), part.list)
FROM (
	SELECT m.relation, assignment_v3.attach_key_columns(m.definition) AS columns, NULL AS predicate
	FROM assignment_v3.attach_missing_constraints(app_schema) AS m
	WHERE m.adopt = 'added' AND m.definition ~ '^(PRIMARY KEY|UNIQUE)'
	UNION ALL
	SELECT i.relation, i.columns, i.predicate
	FROM assignment_v3.attach_missing_indexes(app_schema, '{}') AS i
	WHERE i.is_unique
) AS k
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = k.relation
CROSS JOIN LATERAL (
	SELECT string_agg(quote_ident(c.name), ', ' ORDER BY c.n) AS list,
		string_agg(quote_ident(c.name) || ' IS NOT NULL', ' AND ' ORDER BY c.n) AS filled
	FROM unnest(k.columns) WITH ORDINALITY AS c (name, n)
) AS part
WHERE assignment_v3.attach_has_columns(app_schema, k.relation, k.columns);
$$;
COMMENT ON FUNCTION assignment_v3.attach_questions_keys(text) IS
	'Internal to attach(): queries for rows that break a key';

-- attach_questions_windows(): the same for the exclusion constraint and the check of the ledger.
CREATE FUNCTION assignment_v3.attach_questions_windows(app_schema text)
RETURNS TABLE (query text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format($q$
	SELECT format('Table %%s has rows that take a table which is taken already: %%s; number of such rows: %%s.', %L,
		(array_to_string((array_agg(format('table %%s by booking %%s from %%s', late.table_id, late.booking_id, late.start_at)
			ORDER BY late.start_at, late.table_id, late.booking_id))[:5], ', ')), count(*))
	FROM (
		SELECT a.booking_id, a.table_id, a.start_at, max(a.end_at) OVER (PARTITION BY a.table_id
			ORDER BY a.start_at, a.end_at, a.ctid ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS taken_until
		FROM %s AS a
		WHERE a.table_id IS NOT NULL AND a.start_at < a.end_at
	) AS late
	WHERE late.start_at < late.taken_until
	HAVING count(*) > 0$q$, r.qualified, r.qualified)
FROM assignment_v3.attach_missing_constraints(app_schema) AS m
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = m.relation
WHERE m.definition ~ '^EXCLUDE' AND assignment_v3.attach_has_columns(app_schema, r.relation, ARRAY['booking_id', 'table_id', 'start_at', 'end_at'])
UNION ALL
SELECT format($q$
	SELECT format('Table %%s has rows without a table or a window; number of such rows: %%s.', %L, count(*))
	FROM %s WHERE NOT %s
	HAVING count(*) > 0$q$, r.qualified, r.qualified, m.definition)
FROM assignment_v3.attach_missing_checks(app_schema) AS m
JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = m.relation
WHERE assignment_v3.attach_has_columns(app_schema, r.relation, ARRAY['table_id', 'start_at', 'end_at']);
$$;
COMMENT ON FUNCTION assignment_v3.attach_questions_windows(text) IS
	'Internal to attach(): queries for rows that break the ledger''s constraints';

-- attach_questions_states(): states that are none, and history that goes beyond the version of its booking: the first
-- step that the pipeline took would meet a row that is there.
CREATE FUNCTION assignment_v3.attach_questions_states(app_schema text)
RETURNS TABLE (query text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format($q$
	SELECT format('Column %%s.assignment_state holds %%s, which is no state; number of rows: %%s.', %L, s.state, count(*))
	FROM (SELECT b.assignment_state::text AS state FROM %s AS b) AS s
	WHERE s.state <> ALL (%L::text[])
	GROUP BY s.state$q$, r.qualified, r.qualified, assignment_v3.attach_states())
FROM assignment_v3.attach_relations(app_schema) AS r
WHERE r.relation = 'bookings' AND assignment_v3.attach_has_columns(app_schema, 'bookings', ARRAY['assignment_state'])
UNION ALL
SELECT format($q$
	SELECT format('Table %%s goes beyond the version of its booking; number of such bookings: %%s.', %L, count(DISTINCT b.id))
	FROM %s AS h JOIN %s AS b ON b.id = h.booking_id
	WHERE h.version > %s
	HAVING count(*) > 0$q$, h.qualified, h.qualified, b.qualified, CASE
		WHEN assignment_v3.attach_has_columns(app_schema, 'bookings', ARRAY['assignment_state_version'])
		THEN 'COALESCE(b.assignment_state_version, 1)' ELSE '1' END)
FROM assignment_v3.attach_relations(app_schema) AS h
JOIN assignment_v3.attach_relations(app_schema) AS b ON b.relation = 'bookings'
WHERE h.relation = 'booking_assignment_state_history' AND assignment_v3.attach_has_columns(app_schema, 'bookings', ARRAY['id'])
	AND assignment_v3.attach_has_columns(app_schema, h.relation, ARRAY['booking_id', 'version']);
$$;
COMMENT ON FUNCTION assignment_v3.attach_questions_states(text) IS
	'Internal to attach(): queries for states and versions that can''t be followed';

-- attach_problems_rows(): what the rows say to these questions.  Whoever may not see all rows gets an error.
CREATE FUNCTION assignment_v3.attach_problems_rows(app_schema text)
RETURNS TABLE (problem text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
DECLARE
	question text;
BEGIN
	FOR question IN
		SELECT k.query FROM assignment_v3.attach_questions_keys(app_schema) AS k
		UNION ALL SELECT w.query FROM assignment_v3.attach_questions_windows(app_schema) AS w
		UNION ALL SELECT s.query FROM assignment_v3.attach_questions_states(app_schema) AS s
	LOOP
		RETURN QUERY EXECUTE question;
	END LOOP;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_problems_rows(text) IS
	'Internal to attach(): rows that stand in the way';

-- attach_problems_words(): checks of the app that refuse what the pipeline writes into a column.  A check over several
-- columns can't be asked about one of them.
CREATE FUNCTION assignment_v3.attach_problems_words(app_schema text)
RETURNS TABLE (problem text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	part record;
	word text;
	refused boolean;
BEGIN
	FOR part IN
		SELECT r.qualified, con.conname, w.name, w.words, format('SELECT (%s) IS FALSE FROM (SELECT $1::%s AS %I) AS row',
			pg_get_expr(con.conbin, con.conrelid), format_type(a.atttypid, a.atttypmod), a.attname) AS query
		FROM assignment_v3.attach_words() AS w
		JOIN assignment_v3.attach_relations(app_schema) AS r ON r.relation = w.relation
		JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = w.name AND NOT a.attisdropped
		JOIN pg_type AS t ON t.oid = a.atttypid AND t.typcategory = 'S'
		JOIN pg_constraint AS con ON con.conrelid = r.oid AND con.contype = 'c' AND con.conkey = ARRAY[a.attnum]
	LOOP
		FOREACH word IN ARRAY part.words LOOP
			EXECUTE part.query INTO refused USING word;
			IF refused THEN
				problem := format('Constraint %I on table %s refuses the value %s of %I.', part.conname, part.qualified, word, part.name);
				RETURN NEXT;
			END IF;
		END LOOP;
	END LOOP;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_problems_words(text) IS
	'Internal to attach(): checks that stand in the way';

-- attach_check_schema(): the name of the schema to attach to.
-- Errors: PT422 no schema for an app, 55000 attached to another one.
CREATE FUNCTION assignment_v3.attach_check_schema(app_schema regnamespace)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	schema_name text := (SELECT n.nspname FROM pg_namespace AS n WHERE n.oid = app_schema);
	bound_schema text;
BEGIN
	IF schema_name IS NULL THEN
		RAISE EXCEPTION 'app_schema is no schema'
			USING ERRCODE = 'PT422', HINT = 'Name the schema that holds the app''s tables, such as public.';
	END IF;
	IF schema_name IN ('assignment_v3', 'information_schema') OR schema_name LIKE 'pg\_%' THEN
		RAISE EXCEPTION 'cannot attach to schema "%"', schema_name
			USING ERRCODE = 'PT422', HINT = 'Name the schema that holds the app''s tables, such as public.';
	END IF;
	-- attach_check_owner() is yet to come: nothing of a stranger's is read
	IF EXISTS (
		SELECT FROM pg_class AS c
		WHERE c.oid = to_regclass('assignment_v3.binding') AND c.relkind = 'r' AND pg_get_userbyid(c.relowner) = CURRENT_USER)
	THEN
		SELECT b.app_schema INTO bound_schema FROM assignment_v3.binding AS b
		JOIN pg_namespace AS n ON n.nspname = b.app_schema;
		IF bound_schema <> schema_name THEN
			RAISE EXCEPTION 'already attached to schema "%"', bound_schema
				USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'Run assignment_v3.detach() first; it leaves all rows in place.';
		END IF;
	END IF;
	RETURN schema_name;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_check_schema(regnamespace) IS
	'Internal to attach(): checks its argument';

-- attach_check_owner(): whether the caller owns what exists; the pipeline acts as the owner of the bound tables,
-- so there is to be one.
-- Errors: 42501.
CREATE FUNCTION assignment_v3.attach_check_owner(app_schema text)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	foreign_tables text;
	owners text[];
BEGIN
	SELECT string_agg(format('%s is owned by %I.', r.thing, pg_get_userbyid(r.owner)), E'\n' ORDER BY r.ordinal, r.thing),
		array_agg(DISTINCT quote_ident(pg_get_userbyid(r.owner)))
	INTO foreign_tables, owners
	FROM (
		SELECT o.ordinal, 'Table ' || o.qualified AS thing, o.owner
		FROM assignment_v3.attach_relations(app_schema) AS o WHERE o.oid IS NOT NULL
		UNION
		-- whose owner could have our reading of it run a cast of his own
		SELECT 0, 'Type ' || format_type(t.oid, NULL), t.typowner
		FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
		WHERE n.nspname = app_schema AND t.typname = 'booking_assignment_state'
		UNION
		SELECT 0, 'Type ' || format_type(t.oid, NULL), t.typowner
		FROM assignment_v3.attach_missing_labels(app_schema) AS m JOIN pg_type AS t ON t.oid = m.type
		WHERE m.labels = 'added'
	) AS r
	WHERE pg_get_userbyid(r.owner) <> CURRENT_USER;
	IF foreign_tables IS NOT NULL THEN
		RAISE EXCEPTION 'must be owner of the tables in schema "%"', app_schema
			USING ERRCODE = 'insufficient_privilege', DETAIL = foreign_tables,
			HINT = CASE WHEN cardinality(owners) = 1
				THEN format('Run SET ROLE %s first.', owners[1])
				ELSE 'Give these tables one owner and attach as that role.' END;
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_check_owner(text) IS
	'Internal to attach(): checks that the caller owns the existing tables';

-- attach_check_problems(): whether all that exists can be adopted.
-- Errors: 42P16, with every obstacle in its detail.
CREATE FUNCTION assignment_v3.attach_check_problems(app_schema text, layout text[])
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	problems text := (
		SELECT string_agg(p.problem, E'\n' ORDER BY p.problem COLLATE "C") FROM (
			SELECT * FROM assignment_v3.attach_problems_relations(app_schema, layout)
			UNION SELECT * FROM assignment_v3.attach_problems_columns(app_schema)
			UNION SELECT * FROM assignment_v3.attach_problems_rows(app_schema)
			UNION SELECT * FROM assignment_v3.attach_problems_words(app_schema)
		) AS p);
BEGIN
	IF problems IS NOT NULL THEN
		RAISE EXCEPTION 'schema "%" cannot be adopted as it is', app_schema
			USING ERRCODE = 'invalid_table_definition', DETAIL = problems,
			HINT = 'Nothing has been changed. Mend what the detail lists, then run assignment_v3.attach() again.';
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_check_problems(text, text[]) IS
	'Internal to attach(): checks that nothing stands in the way';

-- attach_check_privileges(): whether the caller may create tables in both schemas.
-- Errors: 42501.
CREATE FUNCTION assignment_v3.attach_check_privileges(app_schema text)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	missing record;
BEGIN
	SELECT r.schema_name, count(*) AS tables INTO missing
	FROM assignment_v3.attach_relations(app_schema) AS r
	WHERE r.oid IS NULL AND NOT has_schema_privilege(r.schema_name, 'CREATE')
	GROUP BY r.schema_name
	LIMIT 1;
	IF found THEN
		RAISE EXCEPTION 'permission denied to create tables in schema "%"', missing.schema_name
			USING ERRCODE = 'insufficient_privilege',
			DETAIL = format('%s tables are to be created there.', missing.tables),
			HINT = format('Its owner can run: GRANT USAGE, CREATE ON SCHEMA %I TO %I;', missing.schema_name, CURRENT_USER);
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_check_privileges(text) IS
	'Internal to attach(): checks that the caller may create tables';

-- attach_check_btree_gist(): whether an exclusion constraint that is still to be made can be made.  What it
-- needs is GiST's default operator class for uuid; btree_gist brings it, in whatever schema.
-- Errors: 55000.
CREATE FUNCTION assignment_v3.attach_check_btree_gist(app_schema text)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM assignment_v3.attach_claims(app_schema, '{}') AS c WHERE c.purpose ~ '^EXCLUDE') THEN
		RETURN;
	END IF;
	IF NOT EXISTS (
		SELECT FROM pg_opclass AS o JOIN pg_am AS am ON am.oid = o.opcmethod
		WHERE am.amname = 'gist' AND o.opcdefault AND o.opcintype = 'uuid'::regtype)
	THEN
		RAISE EXCEPTION 'extension "btree_gist" is not installed'
			USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = 'The constraint that rules out double bookings needs its operator class for uuid.',
			HINT = format('Run CREATE EXTENSION btree_gist%s; first.', CASE
				WHEN EXISTS (SELECT FROM pg_namespace AS n WHERE n.nspname = 'extensions') THEN ' WITH SCHEMA extensions'
				ELSE '' END);
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_check_btree_gist(text) IS
	'Internal to attach(): checks for btree_gist where it is needed';

-- attach_check_long_lock(): whether an exclusion constraint is to be built over so many rows that nobody could read the
-- table for longer than a guest waits.  The rows are counted: an estimate may be years old, or none.
-- Errors: 55000.
CREATE FUNCTION assignment_v3.attach_check_long_lock(app_schema text)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	rows_limit bigint := assignment_v3.attach_long_lock_rows();
	counted bigint;
	claim record;
BEGIN
	FOR claim IN
		SELECT c.qualified, c.name FROM assignment_v3.attach_claims(app_schema, '{}') AS c
		WHERE c.purpose ~ '^EXCLUDE' AND c.relation IS NOT NULL
	LOOP
		EXECUTE format('SELECT count(*) FROM (SELECT FROM %s LIMIT %s) AS x', claim.qualified, rows_limit + 1) INTO counted;
		IF counted > rows_limit THEN
			RAISE EXCEPTION 'constraint "%" would lock table % for long', claim.name, claim.qualified
				USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = format('The table has more than %s rows, and nobody can read it while the index of the constraint is built.', rows_limit),
				HINT = 'Run assignment_v3.attach() with allow_long_lock => true at a quiet time; with dry_run => true it lists what it would do.';
		END IF;
	END LOOP;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_check_long_lock(text) IS
	'Internal to attach(): checks that the caller agrees to a long lock';

-- ---------------------------------------------------------------------
-- The two functions
-- ---------------------------------------------------------------------

-- attach_lock(): keeps attach() and detach() apart, in whatever order they come: the lock is held until the transaction
-- ends.
-- Errors: 40001 where the caller's snapshot is older than what the other one has done.
CREATE FUNCTION assignment_v3.attach_lock()
RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_attach_lock';
COMMENT ON FUNCTION assignment_v3.attach_lock() IS
	'Internal to attach() and detach(): lets one of them at a time work';

-- attach_limit_waits(): the next lock is waited for no longer than half of deadlock_timeout, less what somebody has
-- waited for us already, unless the caller has set a limit of his own.  So whoever waits for us looks for a deadlock
-- after we have given up.
CREATE FUNCTION assignment_v3.attach_limit_waits(own_timeout text)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT set_config('lock_timeout', GREATEST(d.setting::int / 2 - COALESCE(w.longest, 0), 1)::text, true)
FROM pg_settings AS d
CROSS JOIN (
	SELECT max(EXTRACT(epoch FROM clock_timestamp() - l.waitstart) * 1000)::int AS longest
	FROM pg_locks AS l
	WHERE NOT l.granted AND pg_backend_pid() = ANY (pg_blocking_pids(l.pid))
) AS w
WHERE own_timeout = '0' AND d.name = 'deadlock_timeout';
$$;
COMMENT ON FUNCTION assignment_v3.attach_limit_waits(text) IS
	'Internal to attach() and detach(): limits how long they wait for a lock';

-- attach_waited_for(): the detail of an error of waiting in vain, by the step that waited.
CREATE FUNCTION assignment_v3.attach_waited_for(object text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT COALESCE(format('The step on %s waited for other transactions that use the table.', object),
	'Another attach() or detach() is at work.');
$$;
COMMENT ON FUNCTION assignment_v3.attach_waited_for(text) IS
	'Internal to attach() and detach(): what they waited for';

-- attach_check(): whether the schema can be attached.
-- Errors: as attach().
CREATE FUNCTION assignment_v3.attach_check(app_schema text, layout text[], any_lock boolean)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM assignment_v3.attach_check_owner(app_schema);
	PERFORM assignment_v3.attach_check_problems(app_schema, layout);
	PERFORM assignment_v3.attach_check_privileges(app_schema);
	PERFORM assignment_v3.attach_check_btree_gist(app_schema);
	IF NOT any_lock THEN
		PERFORM assignment_v3.attach_check_long_lock(app_schema);
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_check(text, text[], boolean) IS
	'Internal to attach(): all its checks';

-- attach_notes(): what a rehearsal could not take back, for whoever attaches a schema for the first time: then the last
-- step makes the row of the binding.  As comments, so that the report is still a migration.
CREATE FUNCTION assignment_v3.attach_notes(app_schema text, last_statement text)
RETURNS TABLE (action text, object text, statement text, lock text, beforehand text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	IF last_statement LIKE 'INSERT INTO assignment_v3.binding %' THEN
		RETURN QUERY
			SELECT 'noted', s.object, format('-- a rehearsal does not take this back: %s;', s.effect), NULL::text, NULL::text
			FROM assignment_v3.shadow_side_effects(quote_ident(app_schema)::regnamespace) AS s;
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_notes(text, text) IS
	'Internal to attach(): what a rehearsal could not take back, at the first attach()';

-- attach_layout(): the layouts that new tables are wanted in.
CREATE FUNCTION assignment_v3.attach_layout(by_month boolean, by_restaurant boolean)
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT array_remove(ARRAY[CASE WHEN by_month THEN 'by_month' END, CASE WHEN by_restaurant THEN 'by_restaurant' END], NULL);
$$;
COMMENT ON FUNCTION assignment_v3.attach_layout(boolean, boolean) IS
	'Internal to attach(): its options on layout';

-- attach_run(): takes the steps of the plan.
-- Errors: 55P03 a lock that could not be got in time, 42P16 rows that were written since they were looked at.
CREATE FUNCTION assignment_v3.attach_run(app_schema regnamespace, allow_long_lock boolean, layout text[])
RETURNS TABLE (action text, object text, statement text, lock text, beforehand text)
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	own_timeout text := current_setting('lock_timeout');
	schema_name text;
	step record;
BEGIN
	PERFORM assignment_v3.attach_limit_waits(own_timeout);
	PERFORM assignment_v3.attach_lock();
	schema_name := assignment_v3.attach_check_schema(app_schema);
	PERFORM assignment_v3.attach_check(schema_name, layout, allow_long_lock);
	FOR step IN SELECT * FROM assignment_v3.attach_plan(schema_name, layout) AS p LOOP
		object := step.object;
		IF step.lock IS NOT NULL THEN
			PERFORM assignment_v3.attach_limit_waits(own_timeout);
		END IF;
		EXECUTE step.statement;
		action := step.action;
		statement := step.statement;
		lock := step.lock;
		beforehand := step.beforehand;
		RETURN NEXT;
	END LOOP;
	RETURN QUERY SELECT n.* FROM assignment_v3.attach_notes(schema_name, step.statement) AS n;
	PERFORM set_config('lock_timeout', own_timeout, true);
EXCEPTION
	WHEN lock_not_available OR deadlock_detected THEN
		RAISE EXCEPTION 'attach() could not get a lock in time'
			USING ERRCODE = 'lock_not_available', DETAIL = assignment_v3.attach_waited_for(object),
			HINT = 'Nothing has been changed. Run it again at a quieter time, or let it wait longer with SET lock_timeout.';
	WHEN unique_violation OR exclusion_violation OR check_violation THEN
		RAISE EXCEPTION 'schema "%" has changed meanwhile', schema_name
			USING ERRCODE = 'invalid_table_definition', DETAIL = format('The step on %s met this: %s.', object, SQLERRM),
			HINT = 'Nothing has been changed. Run assignment_v3.attach() again.';
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach_run(regnamespace, boolean, text[]) IS
	'Internal to attach(): takes its steps';

-- attach(): creates what the schema lacks, adopts what it has, binds it, and returns a row per step taken; none
-- if nothing was missing.  The statements, in this order, do the same as a migration.  A dry run takes no step and
-- writes nothing; it finds the same obstacles.  Its queries run once, so compiling them would take ten times as long as
-- they do.
-- Errors: PT422 no schema for an app, 55000 attached elsewhere, no btree_gist or a long lock not allowed, 42501 not the
-- owner of the tables, 42P16 something can't be adopted, 55P03 a lock that could not be got in time.
CREATE FUNCTION assignment_v3.attach(
	app_schema regnamespace DEFAULT 'public',
	dry_run boolean DEFAULT false,
	allow_long_lock boolean DEFAULT false,
	by_month boolean DEFAULT false,
	by_restaurant boolean DEFAULT false)
RETURNS TABLE (action text, object text, statement text, lock text, beforehand text)
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET jit TO off
AS $$
DECLARE
	schema_name text;
	layout text[] := assignment_v3.attach_layout(by_month, by_restaurant);
BEGIN
	IF COALESCE(dry_run, false) THEN
		schema_name := assignment_v3.attach_check_schema(app_schema);
		PERFORM assignment_v3.attach_check(schema_name, layout, true);
		FOR action, object, statement, lock, beforehand IN
			SELECT p.action, p.object, p.statement, p.lock, p.beforehand FROM assignment_v3.attach_plan(schema_name, layout) AS p
		LOOP
			RETURN NEXT;
		END LOOP;
		RETURN QUERY SELECT n.* FROM assignment_v3.attach_notes(schema_name, statement) AS n;
	ELSE
		RETURN QUERY SELECT r.* FROM assignment_v3.attach_run(app_schema, COALESCE(allow_long_lock, false), layout) AS r;
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.attach(regnamespace, boolean, boolean, boolean, boolean) IS
	'Creates or adopts the pipeline''s tables and triggers in a schema, and reports each step with its statement';

-- detach_plan(): the steps back: our triggers, wherever they are, then the binding, whose own trigger goes
-- last so that it sees the row go.
CREATE FUNCTION assignment_v3.detach_plan()
RETURNS TABLE (action text, object text, statement text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	own_binding regclass := to_regclass('assignment_v3.binding');
	bound record;
BEGIN
	RETURN QUERY
		SELECT 'dropped', d.object, d.statement FROM assignment_v3.detach_triggers() AS d WHERE d.relation <> own_binding;
	IF own_binding IS NOT NULL THEN
		FOR bound IN SELECT b.app_schema FROM assignment_v3.binding AS b LOOP
			action := 'unbound';
			object := format('schema %I', bound.app_schema);
			statement := 'DELETE FROM assignment_v3.binding;';
			RETURN NEXT;
		END LOOP;
	END IF;
	RETURN QUERY
		SELECT 'dropped', d.object, d.statement FROM assignment_v3.detach_triggers() AS d WHERE d.relation = own_binding;
END;
$$;
COMMENT ON FUNCTION assignment_v3.detach_plan() IS
	'Internal to detach(): its steps in order';

-- detach_triggers(): the triggers that call a function of the extension.
CREATE FUNCTION assignment_v3.detach_triggers()
RETURNS TABLE (relation oid, object text, statement text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT t.tgrelid, format('trigger %I on table %s', t.tgname, t.tgrelid::regclass),
	format('DROP TRIGGER %I ON %s;', t.tgname, t.tgrelid::regclass)
FROM pg_trigger AS t
JOIN pg_proc AS p ON p.oid = t.tgfoid
WHERE p.pronamespace = 'assignment_v3'::regnamespace AND t.tgparentid = 0 AND NOT t.tgisinternal
ORDER BY t.tgrelid, t.tgname;
$$;
COMMENT ON FUNCTION assignment_v3.detach_triggers() IS
	'Internal to detach(): the triggers to drop';

-- detach(): drops our triggers and forgets the schema, and returns a row per step; none if not attached.  Every
-- table and every row stays, so that attach() goes on from here.
CREATE FUNCTION assignment_v3.detach()
RETURNS TABLE (action text, object text, statement text)
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	own_timeout text := current_setting('lock_timeout');
	step record;
BEGIN
	PERFORM assignment_v3.attach_limit_waits(own_timeout);
	PERFORM assignment_v3.attach_lock();
	FOR step IN SELECT p.action, p.object, p.statement FROM assignment_v3.detach_plan() AS p LOOP
		object := step.object;
		PERFORM assignment_v3.attach_limit_waits(own_timeout);
		EXECUTE step.statement;
		action := step.action;
		statement := step.statement;
		RETURN NEXT;
	END LOOP;
	PERFORM set_config('lock_timeout', own_timeout, true);
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
	RAISE EXCEPTION 'detach() could not get a lock in time'
		USING ERRCODE = 'lock_not_available', DETAIL = assignment_v3.attach_waited_for(object),
		HINT = 'Nothing has been changed. Run it again at a quieter time, or let it wait longer with SET lock_timeout.';
END;
$$;
COMMENT ON FUNCTION assignment_v3.detach() IS
	'Drops the pipeline''s triggers and its binding, leaving every table and every row';
