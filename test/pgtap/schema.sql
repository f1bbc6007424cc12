-- attach() in an empty schema must make every relation that the app and its operators rely on, with the keys, the
-- constraint against double bookings, the indexes, the comments and row-level security; and none of it may belong to the
-- extension or need it, but for the triggers.  A table that slipped into the extension would be lost to pg_dump and to DROP
-- EXTENSION; a default, check or policy that calls one of its functions would make a restore fail.  What is expected is
-- written down here a second time, so that a slip in attach() does not define what is right.
SET client_min_messages TO warning;
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
SELECT plan(116);

-- Members of the extension, with the array and row types that are part of them.
CREATE VIEW pg_temp.members AS
WITH RECURSIVE member (classid, objid) AS (
	SELECT d.classid, d.objid FROM pg_depend d
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
		AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'assignment_v3')
	UNION
	SELECT d.classid, d.objid FROM pg_depend d
	JOIN member m ON d.refclassid = m.classid AND d.refobjid = m.objid AND d.deptype = 'i'
)
SELECT classid, objid FROM member;

-- ---------------------------------------------------------------------
-- The extension alone
-- ---------------------------------------------------------------------
SELECT is_empty($$
	SELECT c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = 'assignment_v3' AND c.relkind NOT IN ('c', 'v')$$,
	'CREATE EXTENSION makes no relation but views');
SELECT is_empty($$
	SELECT w.ev_class::regclass, d.refobjid::regclass FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
	WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class
		AND w.ev_class IN (SELECT objid FROM pg_temp.members WHERE classid = 'pg_class'::regclass)$$,
	'... which read no relation, only functions');
SELECT set_eq('SELECT DISTINCT classid::regclass::text FROM pg_temp.members',
	ARRAY['pg_proc', 'pg_type', 'pg_class', 'pg_rewrite'],
	'its members are functions, types and views');
SELECT is((SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
	WHERE e.extname = 'assignment_v3'), 'assignment_v3', 'it lives in its own schema');
SELECT is((SELECT extrelocatable FROM pg_extension WHERE extname = 'assignment_v3'), false, 'it is not relocatable');
SELECT is((SELECT extconfig FROM pg_extension WHERE extname = 'assignment_v3'), NULL, 'it has no configuration tables');
SELECT is((SELECT trusted FROM pg_available_extension_versions WHERE name = 'assignment_v3' AND installed), true,
	'it is trusted');
SELECT is((SELECT requires FROM pg_available_extension_versions WHERE name = 'assignment_v3' AND installed), NULL,
	'it requires no other extension');

-- ---------------------------------------------------------------------
-- attach()
-- ---------------------------------------------------------------------
CREATE TEMPORARY TABLE report AS SELECT * FROM assignment_v3.attach();
SELECT is((SELECT count(*) FROM pg_temp.report WHERE object LIKE 'table %' AND action = 'created'), 27::bigint,
	'attach() reports 27 tables');
SELECT is_empty($$SELECT * FROM pg_temp.report WHERE action IS NULL OR object IS NULL OR statement IS NULL
	OR rtrim(statement) NOT LIKE '%;'$$, 'each row of the report holds a whole statement');
SELECT is_empty('SELECT * FROM assignment_v3.attach()', 'a second attach() has nothing to do');

SELECT tables_are('public', ARRAY['restaurants', 'zones', 'table_inventory', 'table_adjacencies', 'bookings',
	'booking_table_assignments', 'booking_assignment_state_history', 'booking_assignment_attempts',
	'observability_events', 'capacity_outbox', 'table_holds', 'table_hold_windows', 'booking_assignment_shadow_results'],
	'the app''s tables, and no ledger of allocations');
SELECT tables_are('assignment_v3', ARRAY['binding', 'queue', 'circuits', 'rollout', 'kill_switch', 'blocks', 'purges', 'counters', 'error_samples', 'pauses', 'audit', 'phases', 'sign_offs', 'incidents'],
	'the pipeline''s own tables');
SELECT enum_has_labels('public', 'booking_assignment_state', ARRAY['created', 'capacity_verified', 'assignment_pending',
	'assignment_in_progress', 'assigned', 'confirmed', 'failed', 'manual_review'], 'the states');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c WHERE c.relkind IN ('r', 'S') AND c.relowner <> CURRENT_USER::regrole
		AND c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace)$$,
	'whoever attached owns tables and sequences');

-- ---------------------------------------------------------------------
-- Columns: name and type, "!" where NULL is refused
-- ---------------------------------------------------------------------
CREATE VIEW pg_temp.columns AS
SELECT format('%I.%I', n.nspname, c.relname) COLLATE "default" AS relation,
	string_agg(concat(a.attname, ' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN '!' END),
		', ' ORDER BY a.attnum) AS columns
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname IN ('public', 'assignment_v3') AND c.relkind = 'r'
GROUP BY 1;

CREATE TEMPORARY TABLE expected (relation text, columns text);
INSERT INTO pg_temp.expected VALUES
	('public.restaurants', 'id uuid!, name text!, slug text, timezone text!, is_active boolean!'),
	('public.zones', 'id uuid!, restaurant_id uuid!, name text!, sort_order integer!'),
	('public.table_inventory', 'id uuid!, restaurant_id uuid!, zone_id uuid, table_number text!, capacity integer!, '
	 'min_party_size integer!, max_party_size integer, status text!, mobility text!, active boolean!'),
	('public.table_adjacencies', 'table_a uuid!, table_b uuid!'),
	('public.bookings', 'id uuid!, restaurant_id uuid!, party_size integer!, start_at timestamp with time zone!, '
	 'end_at timestamp with time zone!, status text!, assigned_zone_id uuid, customer_name text, customer_email text, '
	 'customer_phone text, created_at timestamp with time zone!, updated_at timestamp with time zone!, '
	 'assignment_state booking_assignment_state!, assignment_state_version integer!, assignment_strategy text'),
	('public.booking_table_assignments', 'booking_id uuid!, table_id uuid!, start_at timestamp with time zone!, '
	 'end_at timestamp with time zone!, assigned_at timestamp with time zone!'),
	('public.booking_assignment_state_history', 'id bigint!, booking_id uuid!, from_state booking_assignment_state!, '
	 'to_state booking_assignment_state!, version integer!, metadata jsonb!, reason text, actor_id uuid, '
	 'created_at timestamp with time zone!'),
	('public.booking_assignment_attempts', 'booking_id uuid!, attempt_no integer!, strategy text, result text!, '
	 'reason text, metadata jsonb!, created_at timestamp with time zone!'),
	('public.observability_events', 'id uuid!, created_at timestamp with time zone!, source text!, event_type text!, '
	 'severity text!, context jsonb!, restaurant_id uuid, booking_id uuid'),
	('public.capacity_outbox', 'id uuid!, created_at timestamp with time zone!, updated_at timestamp with time zone!, '
	 'status text!, event_type text!, dedupe_key text, attempt_count integer!, next_attempt_at timestamp with time zone!, '
	 'restaurant_id uuid, booking_id uuid, idempotency_key text, payload jsonb!'),
	('public.table_holds', 'id uuid!, restaurant_id uuid!, booking_id uuid, zone_id uuid, '
	 'start_at timestamp with time zone!, end_at timestamp with time zone!, expires_at timestamp with time zone!, status text!'),
	('public.table_hold_windows', 'hold_id uuid!, table_id uuid!, restaurant_id uuid!, booking_id uuid, '
	 'start_at timestamp with time zone!, end_at timestamp with time zone!, expires_at timestamp with time zone!'),
	('public.booking_assignment_shadow_results', 'booking_id uuid!, version integer!, restaurant_id uuid!, '
	 'created_at timestamp with time zone!, trigger text!, outcome text!, reason text, sqlstate text, table_ids uuid[], '
	 'strategy text, duration_ms double precision!, consecutive_errors integer!, breaker_would_open boolean!, '
	 'legacy_outcome text, legacy_table_ids uuid[], legacy_at timestamp with time zone'),
	('assignment_v3.binding', 'singleton boolean!, app_schema text!, search_path text!, version text!, '
	 'recorded_since timestamp with time zone!, attached_at timestamp with time zone!, attached_by text!'),
	('assignment_v3.queue', 'booking_id uuid!, restaurant_id uuid!, due_at timestamp with time zone!, priority smallint!, '
	 'enqueued_at timestamp with time zone!'),
	('assignment_v3.circuits', 'restaurant_id uuid!, consecutive_errors integer!, half_open_successes integer!, '
	 'open_until timestamp with time zone, opened_at timestamp with time zone, updated_at timestamp with time zone!'),
	('assignment_v3.rollout', 'id bigint!, restaurant_id uuid, mode text!, max_parallel integer, percent integer, note text, '
	 'set_at timestamp with time zone!, set_by text!'),
	('assignment_v3.kill_switch', 'singleton boolean!, reason text!, killed_at timestamp with time zone!, killed_by text!'),
	('assignment_v3.blocks', 'id uuid!, restaurant_id uuid!, table_id uuid!, start_at timestamp with time zone!, '
	 'end_at timestamp with time zone!, reason text, created_at timestamp with time zone!, created_by text!'),
	('assignment_v3.audit', 'id bigint!, changed_at timestamp with time zone!, changed_by text!, login text!, relation text!, action text!, '
	 'restaurant_id uuid, reason text, old_row jsonb, new_row jsonb'),
	('assignment_v3.counters', 'singleton boolean!, decisions bigint!, rehearsals bigint!, errors bigint!, rehearsal_errors bigint!, refusals bigint!, '
	 'conflicts bigint!, failures bigint!, late_events bigint!, lost_events bigint!'),
	('assignment_v3.error_samples', 'decisions bigint!, errors bigint!, sampled_at timestamp with time zone!'),
	('assignment_v3.pauses', 'restaurant_id uuid!, reason text, paused_at timestamp with time zone!, paused_by text!'),
	('assignment_v3.phases', 'id bigint!, phase text!, entered_at timestamp with time zone!, entered_by text!, earned boolean, note text'),
	('assignment_v3.sign_offs', 'id bigint!, phase text!, role text!, name text!, note text, signed_at timestamp with time zone!, '
	 'signed_by text!'),
	('assignment_v3.incidents', 'id bigint!, severity text!, note text!, occurred_at timestamp with time zone!, recorded_by text!'),
	('assignment_v3.purges', 'id bigint!, purged_at timestamp with time zone!, horizon timestamp with time zone!, '
	 'purged_by text!, history_rows bigint!, attempt_rows bigint!, event_rows bigint!, outbox_rows bigint!, shadow_rows bigint!');
SELECT is(c.columns, e.columns, 'columns of ' || e.relation)
FROM pg_temp.expected e LEFT JOIN pg_temp.columns c USING (relation) ORDER BY e.relation;

-- what a row gets that names nothing but what has to be named
INSERT INTO restaurants (id, name) VALUES ('a0000000-0000-0000-0000-000000000001', 'Defaults');
INSERT INTO restaurants (id, name) VALUES ('a0000000-0000-0000-0000-000000000002', 'Others');
INSERT INTO zones (id, restaurant_id, name)
VALUES ('c0000000-0000-0000-0000-000000000001', 'a0000000-0000-0000-0000-000000000001', 'Hall');
INSERT INTO table_inventory (id, restaurant_id, zone_id, table_number, capacity)
SELECT ('d0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001',
	'c0000000-0000-0000-0000-000000000001', n, 4 FROM generate_series(1, 2) n;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT ('b0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', 2,
	date_trunc('day', now()) + interval '30 days 19 hours', date_trunc('day', now()) + interval '30 days 21 hours'
FROM generate_series(1, 3) n;
SELECT row_eq($$SELECT min_party_size, max_party_size, status, mobility, active FROM table_inventory WHERE table_number = '1'$$,
	ROW(1, NULL::int, 'available'::text, 'movable'::text, true), 'defaults of a table');
SELECT row_eq($$SELECT status, assignment_state::text, assignment_state_version, assignment_strategy FROM bookings LIMIT 1$$,
	ROW('pending'::text, 'created'::text, 1, NULL::text), 'defaults of a booking');

-- ---------------------------------------------------------------------
-- Keys and constraints
-- ---------------------------------------------------------------------
CREATE VIEW pg_temp.constraints AS
SELECT con.contype, format('%I.%I', n.nspname, c.relname) COLLATE "default" AS relation, pg_get_constraintdef(con.oid) AS definition,
	con.condeferrable, con.convalidated
FROM pg_constraint con
JOIN pg_class c ON c.oid = con.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'assignment_v3');

SELECT results_eq($$SELECT relation, definition FROM pg_temp.constraints WHERE contype = 'p' ORDER BY relation COLLATE "C"$$, $$VALUES
	('assignment_v3.audit', 'PRIMARY KEY (id)'),
	('assignment_v3.binding', 'PRIMARY KEY (singleton)'),
	('assignment_v3.blocks', 'PRIMARY KEY (id)'),
	('assignment_v3.circuits', 'PRIMARY KEY (restaurant_id)'),
	('assignment_v3.counters', 'PRIMARY KEY (singleton)'),
	('assignment_v3.error_samples', 'PRIMARY KEY (decisions)'),
	('assignment_v3.incidents', 'PRIMARY KEY (id)'),
	('assignment_v3.kill_switch', 'PRIMARY KEY (singleton)'),
	('assignment_v3.pauses', 'PRIMARY KEY (restaurant_id)'),
	('assignment_v3.phases', 'PRIMARY KEY (id)'),
	('assignment_v3.purges', 'PRIMARY KEY (id)'),
	('assignment_v3.queue', 'PRIMARY KEY (booking_id)'),
	('assignment_v3.rollout', 'PRIMARY KEY (id)'),
	('assignment_v3.sign_offs', 'PRIMARY KEY (id)'),
	('public.booking_assignment_attempts', 'PRIMARY KEY (booking_id, attempt_no)'),
	('public.booking_assignment_shadow_results', 'PRIMARY KEY (booking_id, version)'),
	('public.booking_assignment_state_history', 'PRIMARY KEY (id)'),
	('public.booking_table_assignments', 'PRIMARY KEY (booking_id, table_id)'),
	('public.bookings', 'PRIMARY KEY (id)'),
	('public.capacity_outbox', 'PRIMARY KEY (id)'),
	('public.observability_events', 'PRIMARY KEY (id)'),
	('public.restaurants', 'PRIMARY KEY (id)'),
	('public.table_adjacencies', 'PRIMARY KEY (table_a, table_b)'),
	('public.table_hold_windows', 'PRIMARY KEY (hold_id, table_id)'),
	('public.table_holds', 'PRIMARY KEY (id)'),
	('public.table_inventory', 'PRIMARY KEY (id)'),
	('public.zones', 'PRIMARY KEY (id)')$$,
	'every table has a primary key');
SELECT results_eq($$SELECT relation, definition FROM pg_temp.constraints WHERE contype = 'u' ORDER BY relation COLLATE "C"$$, $$VALUES
	('assignment_v3.rollout', 'UNIQUE NULLS NOT DISTINCT (restaurant_id)'),
	('public.booking_assignment_state_history', 'UNIQUE (booking_id, version)'),
	('public.restaurants', 'UNIQUE (slug)'),
	('public.table_inventory', 'UNIQUE (restaurant_id, table_number)')$$,
	'unique keys');
SELECT results_eq($$SELECT relation, definition FROM pg_temp.constraints WHERE contype = 'x'$$, $$VALUES
	('public.booking_table_assignments',
	 'EXCLUDE USING gist (table_id WITH =, tstzrange(start_at, end_at, ''[)''::text) WITH &&)')$$,
	'one constraint rules out double bookings');
SELECT is_empty('SELECT * FROM pg_temp.constraints WHERE condeferrable OR NOT convalidated',
	'no constraint can be put off, none is unproven');
SELECT results_eq($$SELECT relation || ' ' || definition FROM pg_temp.constraints WHERE contype = 'f'
		ORDER BY (relation || ' ' || definition) COLLATE "C"$$, $$VALUES
	('public.booking_assignment_attempts FOREIGN KEY (booking_id) REFERENCES bookings(id) ON DELETE CASCADE'),
	('public.booking_assignment_state_history FOREIGN KEY (booking_id) REFERENCES bookings(id) ON DELETE CASCADE'),
	('public.booking_table_assignments FOREIGN KEY (booking_id) REFERENCES bookings(id) ON DELETE CASCADE'),
	('public.booking_table_assignments FOREIGN KEY (table_id) REFERENCES table_inventory(id)'),
	('public.bookings FOREIGN KEY (assigned_zone_id) REFERENCES zones(id) ON DELETE SET NULL'),
	('public.bookings FOREIGN KEY (restaurant_id) REFERENCES restaurants(id)'),
	('public.table_adjacencies FOREIGN KEY (table_a) REFERENCES table_inventory(id) ON DELETE CASCADE'),
	('public.table_adjacencies FOREIGN KEY (table_b) REFERENCES table_inventory(id) ON DELETE CASCADE'),
	('public.table_hold_windows FOREIGN KEY (hold_id) REFERENCES table_holds(id) ON DELETE CASCADE'),
	('public.table_hold_windows FOREIGN KEY (table_id) REFERENCES table_inventory(id) ON DELETE CASCADE'),
	('public.table_holds FOREIGN KEY (booking_id) REFERENCES bookings(id) ON DELETE CASCADE'),
	('public.table_holds FOREIGN KEY (restaurant_id) REFERENCES restaurants(id) ON DELETE CASCADE'),
	('public.table_holds FOREIGN KEY (zone_id) REFERENCES zones(id) ON DELETE SET NULL'),
	('public.table_inventory FOREIGN KEY (restaurant_id) REFERENCES restaurants(id) ON DELETE CASCADE'),
	('public.table_inventory FOREIGN KEY (zone_id) REFERENCES zones(id)'),
	('public.zones FOREIGN KEY (restaurant_id) REFERENCES restaurants(id) ON DELETE CASCADE')$$,
	'foreign keys, none of them from the pipeline''s own tables');

-- what the constraints are there for
PREPARE seat AS INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at)
SELECT id, $2, start_at + $3, end_at + $4 FROM bookings WHERE id = $1;
SELECT lives_ok($$EXECUTE seat('b0000000-0000-0000-0000-000000000001', 'd0000000-0000-0000-0000-000000000001', '0', '0')$$,
	'a table is taken');
SELECT lives_ok($$EXECUTE seat('b0000000-0000-0000-0000-000000000002', 'd0000000-0000-0000-0000-000000000001', '2 hours', '2 hours')$$,
	'... and handed over on the minute');
SELECT throws_ok($$EXECUTE seat('b0000000-0000-0000-0000-000000000003', 'd0000000-0000-0000-0000-000000000001', '1 hour', '1 hour')$$,
	'23P01', NULL, '... but not taken twice at a time');
SELECT throws_ok($$EXECUTE seat('b0000000-0000-0000-0000-000000000001', 'd0000000-0000-0000-0000-000000000001', '9 hours', '9 hours')$$,
	'23505', NULL, '... nor twice by one booking');
SELECT throws_ok($$EXECUTE seat('b0000000-0000-0000-0000-000000000003', 'd0000000-0000-0000-0000-000000000002', '0', '-2 hours')$$,
	'23514', NULL, 'an empty window would slip past the exclusion constraint');
SELECT throws_ok($$EXECUTE seat('b0000000-0000-0000-0000-000000000003', NULL, '0', '0')$$,
	'23502', NULL, '... and so would no table');
SELECT throws_ok($$UPDATE bookings SET party_size = 0$$, '23514', NULL, 'a party is not empty');
SELECT throws_ok($$UPDATE bookings SET end_at = start_at$$, '23514', NULL, 'a window is not empty');
SELECT throws_ok($$UPDATE bookings SET status = 'seated'$$, '23514', NULL, 'a status is one of seven');
SELECT throws_ok($$UPDATE table_inventory SET status = 'broken'$$, '23514', NULL, 'the status of a table is one of four');
SELECT throws_ok($$UPDATE table_inventory SET mobility = 'wheeled'$$, '23514', NULL, 'a table is movable or fixed');
SELECT throws_ok($$INSERT INTO observability_events (source, event_type, severity) VALUES ('test', 'test', 'loud')$$, '23514', NULL,
	'a severity is one of five');
SELECT lives_ok($$INSERT INTO capacity_outbox (event_type, dedupe_key) VALUES ('a', 'x'), ('b', 'x'), ('a', NULL), ('a', NULL)$$,
	'messages of other types, or without a key, may repeat');
SELECT throws_ok($$INSERT INTO capacity_outbox (event_type, dedupe_key) VALUES ('a', 'x')$$, '23505', NULL,
	'... and no other');
SELECT throws_ok($$INSERT INTO assignment_v3.rollout (mode) VALUES ('active'), ('shadow')$$, '23505', NULL,
	'the fleet has one row of the rollout');
SELECT throws_ok($$INSERT INTO assignment_v3.rollout (mode) VALUES ('on')$$, '23514', NULL, 'a mode is one of three');
SELECT throws_ok($$INSERT INTO assignment_v3.rollout (mode, max_parallel) VALUES ('active', 21)$$, '23514', NULL,
	'max_parallel is 20 at the most');
SELECT throws_ok($$INSERT INTO assignment_v3.rollout (mode, percent, restaurant_id)
	VALUES ('active', 10, 'a0000000-0000-0000-0000-000000000001')$$, '23514', NULL, 'a percentage is the fleet''s');
SELECT throws_ok($$INSERT INTO assignment_v3.kill_switch (singleton, reason) VALUES (false, 'x')$$, '23514', NULL,
	'there is one kill switch');
SELECT throws_ok($$INSERT INTO assignment_v3.blocks (restaurant_id, table_id, start_at, end_at)
	SELECT restaurant_id, id, now(), now() FROM table_inventory$$, '23514', NULL, 'a block is not empty');
DELETE FROM booking_table_assignments;

-- ---------------------------------------------------------------------
-- Indexes
-- ---------------------------------------------------------------------
CREATE VIEW pg_temp.indexes AS
SELECT i.indrelid::regclass::text || regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING (\w+) ', ' \1 ') AS index
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
WHERE c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace) AND i.indisvalid;
SELECT ok(EXISTS (SELECT FROM pg_temp.indexes x WHERE x.index = wanted), 'index ' || wanted)
FROM unnest(ARRAY[
	'bookings btree (restaurant_id, start_at)',
	'bookings btree (created_at)',
	'booking_table_assignments btree (table_id, start_at)',
	'booking_assignment_state_history btree (booking_id, version)',
	'booking_assignment_shadow_results btree (restaurant_id, created_at)',
	'table_hold_windows btree (restaurant_id, end_at)',
	'table_hold_windows btree (table_id, start_at)',
	$$observability_events brin (created_at) WITH (autosummarize='on')$$,
	'observability_events btree (booking_id, created_at)',
	'capacity_outbox btree (next_attempt_at) WHERE (status = ''pending''::text)',
	'capacity_outbox btree (next_attempt_at) WHERE ((status = ''processing''::text) OR (status = ''dead''::text))',
	'assignment_v3.queue btree (priority, due_at, booking_id)',
	'assignment_v3.queue btree (restaurant_id, priority, due_at, booking_id)',
	'assignment_v3.blocks btree (restaurant_id, end_at)',
	'assignment_v3.blocks btree (table_id, start_at)'
]) AS wanted;
SELECT is_empty($$
	SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
	WHERE i.indrelid = 'bookings'::regclass
		AND a.attname IN ('status', 'assignment_state', 'assignment_state_version', 'assignment_strategy', 'updated_at')$$,
	'no index of bookings keeps a confirmation from staying on its page');
SELECT is((SELECT reloptions FROM pg_class WHERE oid = 'bookings'::regclass), ARRAY['fillfactor=85'],
	'... and the page has room for it');
BEGIN;
SET LOCAL assignment_v3.enabled TO on;
SELECT is((SELECT outcome FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000001')), 'confirmed', 'a booking is seated');
SELECT is(pg_stat_get_xact_tuples_updated('bookings'::regclass), 1::bigint, '... by one update of bookings');
SELECT is(pg_stat_get_xact_tuples_hot_updated('bookings'::regclass), 1::bigint, '... which touches no index');
ROLLBACK;
-- every foreign key that deletes or blocks a row finds its rows by an index
SELECT is_empty($$
	SELECT con.conrelid::regclass, con.conname FROM pg_constraint con
	WHERE con.contype = 'f' AND con.conrelid::regclass::text <> 'booking_table_assignments'
		AND con.connamespace = 'public'::regnamespace
		AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = con.conrelid AND i.indkey[0] = con.conkey[1])$$,
	'no foreign key needs a sequential scan');

-- ---------------------------------------------------------------------
-- Comments and row-level security
-- ---------------------------------------------------------------------
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c
	WHERE c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace) AND c.relkind = 'r'
		AND obj_description(c.oid, 'pg_class') IS NULL$$, 'every table has a comment');
SELECT is_empty($$
	SELECT c.oid::regclass, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	WHERE c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace) AND c.relkind = 'r'
		AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL$$, 'every column has a comment');
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'assignment_v3'::regnamespace
		AND obj_description(p.oid, 'pg_proc') IS NULL$$, 'every function has a comment');
SELECT is_empty($$
	SELECT t.oid::regtype FROM pg_type t
	WHERE t.typnamespace = 'assignment_v3'::regnamespace AND t.typelem = 0
		AND t.typrelid NOT IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'v'))
		AND obj_description(t.oid, 'pg_type') IS NULL$$, 'every type has a comment');
SELECT is_empty($$SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'assignment_v3'::regnamespace AND c.relkind = 'v'
	AND obj_description(c.oid, 'pg_class') IS NULL$$, '... and every view');
SELECT isnt(obj_description('booking_assignment_state'::regtype, 'pg_type'), NULL, 'the states have a comment');
SELECT isnt(obj_description((SELECT oid FROM pg_extension WHERE extname = 'assignment_v3'), 'pg_extension'), NULL,
	'the extension has a comment');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c
	WHERE c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace) AND c.relkind = 'r'
		AND NOT c.relrowsecurity$$, 'row-level security is on everywhere');
SELECT is_empty($$
	SELECT c.oid::regclass, acl.* FROM pg_class c CROSS JOIN aclexplode(c.relacl) acl
	WHERE c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace) AND c.relkind IN ('r', 'S')
		AND acl.grantee <> c.relowner$$, 'no table is granted to anybody');

-- ---------------------------------------------------------------------
-- Triggers
-- ---------------------------------------------------------------------
SELECT results_eq($$
	SELECT t.tgrelid::regclass::text, t.tgname::text COLLATE "default", t.tgfoid::regproc::text FROM pg_trigger t
	WHERE NOT t.tgisinternal ORDER BY 1, 2$$, $$VALUES
	('assignment_v3.binding', 'zzz_assignment_v3_rebind', 'assignment_v3.binding_changed'),
	('assignment_v3.kill_switch', 'zzz_assignment_v3_audit', 'assignment_v3.audit_change'),
	('assignment_v3.kill_switch', 'zzz_assignment_v3_audit_truncate', 'assignment_v3.audit_change'),
	('assignment_v3.rollout', 'zzz_assignment_v3_audit', 'assignment_v3.audit_change'),
	('assignment_v3.rollout', 'zzz_assignment_v3_audit_truncate', 'assignment_v3.audit_change'),
	('booking_assignment_state_history', 'zzz_assignment_v3_append_only', 'assignment_v3.history_append_only'),
	('booking_assignment_state_history', 'zzz_assignment_v3_events', 'assignment_v3.history_record_events'),
	('booking_assignment_state_history', 'zzz_assignment_v3_no_truncate', 'assignment_v3.history_append_only'),
	('bookings', 'zzz_assignment_v3_enqueue', 'assignment_v3.booking_record'),
	('bookings', 'zzz_assignment_v3_insert', 'assignment_v3.booking_validate'),
	('bookings', 'zzz_assignment_v3_record', 'assignment_v3.booking_record'),
	('bookings', 'zzz_assignment_v3_validate', 'assignment_v3.booking_validate')$$,
	'the triggers');
SELECT is_empty($$SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND (cardinality(tgattr::int2[]) > 0 OR tgenabled <> 'O')$$,
	'all are enabled, and none watches by UPDATE OF');
-- ... which would miss what another trigger changes
CREATE FUNCTION app_resize() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN NEW.party_size := OLD.party_size + 1; RETURN NEW; END$$;
CREATE TRIGGER resize BEFORE UPDATE OF customer_name ON bookings FOR EACH ROW EXECUTE FUNCTION app_resize();
UPDATE bookings SET customer_name = 'Bigger' WHERE id = 'b0000000-0000-0000-0000-000000000002';
UPDATE bookings SET customer_email = 'same@example.com' WHERE id = 'b0000000-0000-0000-0000-000000000003';
SELECT results_eq($$
	SELECT assignment_state_version, h.reason FROM bookings b
	LEFT JOIN booking_assignment_state_history h ON h.booking_id = b.id
	WHERE b.id IN ('b0000000-0000-0000-0000-000000000002', 'b0000000-0000-0000-0000-000000000003') ORDER BY b.id$$,
	$$VALUES (2, 'facts_changed'), (1, NULL)$$, 'facts that an app''s trigger changes are seen, other columns are not');
DROP TRIGGER resize ON bookings;

-- ---------------------------------------------------------------------
-- What needs the extension
-- ---------------------------------------------------------------------
SELECT is_empty($$
	SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d
	JOIN pg_temp.members m ON m.classid = d.refclassid AND m.objid = d.refobjid
	WHERE (d.classid, d.objid) NOT IN (SELECT classid, objid FROM pg_temp.members) AND d.classid <> 'pg_trigger'::regclass$$,
	'nothing outside the extension depends on it but triggers');
SELECT is((
	SELECT count(DISTINCT d.objid) FROM pg_depend d
	JOIN pg_temp.members m ON m.classid = d.refclassid AND m.objid = d.refobjid
	WHERE d.classid = 'pg_trigger'::regclass), 12::bigint, '... all twelve of them');
SELECT is_empty($$
	SELECT m.objid::regclass FROM pg_temp.members m JOIN pg_class c ON c.oid = m.objid AND m.classid = 'pg_class'::regclass
	WHERE c.relkind NOT IN ('c', 'v')$$, 'no table, index or sequence has become a member');
SELECT is_empty($$SELECT * FROM pg_temp.members WHERE classid IN ('pg_namespace'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass)$$,
	'... nor has the schema or a trigger');
SELECT is_empty($$
	SELECT c.oid::regclass, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	WHERE c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace) AND c.relkind = 'r'
		AND a.atttypid::regtype::text LIKE 'reg%'$$, 'no column has a type that pg_upgrade refuses');

-- detach() takes the triggers, DROP EXTENSION the code; every table and row stays
CREATE TEMPORARY TABLE before AS SELECT (SELECT count(*) FROM bookings) AS bookings, (SELECT count(*) FROM table_inventory) AS tables;
SELECT isnt_empty('SELECT * FROM assignment_v3.detach()', 'detach() reports what it does');
SELECT is_empty('SELECT tgname FROM pg_trigger WHERE NOT tgisinternal', '... which is to drop the triggers');
SELECT is_empty('SELECT * FROM assignment_v3.detach()', 'a second detach() has nothing to do');
SELECT lives_ok('DROP EXTENSION assignment_v3', 'DROP EXTENSION needs no CASCADE');
SELECT tables_are('assignment_v3', ARRAY['binding', 'queue', 'circuits', 'rollout', 'kill_switch', 'blocks', 'purges', 'counters', 'error_samples', 'pauses', 'audit', 'phases', 'sign_offs', 'incidents'],
	'... and leaves the pipeline''s own tables');
SELECT results_eq('SELECT (SELECT count(*) FROM bookings), (SELECT count(*) FROM table_inventory)', 'SELECT * FROM pg_temp.before',
	'... and every row');
SELECT is_empty($$SELECT proname FROM pg_proc WHERE pronamespace = 'assignment_v3'::regnamespace$$, '... and no function');
CREATE EXTENSION assignment_v3;
SELECT is((SELECT string_agg(DISTINCT action, ', ' ORDER BY action) FROM assignment_v3.attach()), 'bound, created, noted',
	'attach() goes on from there');
SELECT is_empty('SELECT * FROM assignment_v3.verify()', '... and all is sound');
SELECT * FROM finish();
