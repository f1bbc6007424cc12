-- Whoever may EXECUTE a function may do what it does and nothing besides; whoever may not gets 42501.  No function needs
-- table rights or BYPASSRLS of its caller where it acts for the app, none borrows rights by SECURITY DEFINER, and nothing
-- that a caller has planted in his search_path is ever looked up: not in the script, which runs as the superuser for a plain
-- owner, not in attach(), not in a decision.  All of it could be lost by one function without a REVOKE, without a pinned
-- search_path, or by one operator that is not qualified.  Whatever is planted here counts its calls with a sequence, which no
-- rollback takes back.
SET client_min_messages TO warning;
SELECT plan(105);

CREATE ROLE assignment_owner NOLOGIN;
CREATE ROLE assignment_app NOLOGIN;
CREATE ROLE assignment_writer NOLOGIN;
CREATE ROLE assignment_anon NOLOGIN;
SELECT current_database() AS database \gset
ALTER DATABASE :"database" OWNER TO assignment_owner;
GRANT TEMPORARY ON DATABASE :"database" TO PUBLIC;
SELECT current_user AS superuser \gset

-- ---------------------------------------------------------------------
-- What an attacker plants: a twin of each function and operator that SQL would look up in pg_catalog, and tables.
-- ---------------------------------------------------------------------
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE SEQUENCE evil.hits;
GRANT ALL ON SEQUENCE evil.hits TO PUBLIC;
CREATE TABLE evil.plan_of_attack AS
SELECT row_number() OVER () AS n, NULL::text AS function, o.oprname AS operator, o.oprleft::regtype::text AS a,
	o.oprright::regtype::text AS b, o.oprresult::regtype::text AS result
FROM pg_operator o
WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b'
	AND o.oprname IN ('=', '<>', '<', '<=', '>', '>=', '||', '->', '->>', '#>>', '@>', '<@', '&&', '~', '!~', '~~', '!~~', '+', '-', '*')
	AND o.oprleft::regtype::text IN ('uuid', 'text', 'name', '"char"', 'oid', 'boolean', 'smallint', 'integer', 'bigint', 'numeric', 'jsonb',
		'timestamp with time zone', 'interval', 'tstzrange', 'anyarray', 'anyenum', 'anyrange', 'record')
	AND o.oprright::regtype::text IN ('uuid', 'text', 'name', '"char"', 'oid', 'boolean', 'smallint', 'integer', 'bigint', 'numeric', 'jsonb',
		'timestamp with time zone', 'interval', 'tstzrange', 'anyarray', 'anyenum', 'anyrange')
	AND o.oprcode::oid <> 0;
DO $plant$
DECLARE
	victim record;
BEGIN
	FOR victim IN SELECT * FROM evil.plan_of_attack LOOP
		EXECUTE format('CREATE FUNCTION evil.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS '
			'$$BEGIN PERFORM pg_catalog.nextval(''evil.hits''); RAISE EXCEPTION ''hijacked by operator %s''; END$$',
			victim.n, victim.a, victim.b, victim.result, victim.operator);
		EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.operator_%s, LEFTARG = %s, RIGHTARG = %s)',
			victim.operator, victim.n, victim.a, victim.b);
	END LOOP;
	FOR victim IN
		SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
		FROM pg_proc p
		WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0 AND p.proargmodes IS NULL
			AND p.proname IN ('now', 'clock_timestamp', 'gen_random_uuid', 'to_regclass', 'quote_ident', 'quote_literal', 'current_setting',
				'set_config', 'cardinality', 'unnest', 'replace', 'regexp_replace', 'lower', 'btrim', 'rtrim', 'substr', 'substring', 'strpos',
				'split_part', 'string_to_array', 'array_to_string', 'array_position', 'jsonb_typeof', 'tstzrange', 'pg_get_userbyid', 'pg_get_expr',
				'pg_get_indexdef', 'format_type', 'has_schema_privilege', 'uuid_in', 'text', 'int4', 'timestamptz', 'format', 'current_database',
				'array_append', 'array_agg', 'max', 'count', 'abs')
			AND pg_get_function_identity_arguments(p.oid) !~ 'internal|cstring|"any"'
	LOOP
		EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS '
			'$$BEGIN PERFORM pg_catalog.nextval(''evil.hits''); RAISE EXCEPTION ''hijacked by %s''; END$$',
			victim.proname, victim.arguments, victim.result, victim.proname);
	END LOOP;
END
$plant$;
SELECT cmp_ok((SELECT count(*) FROM pg_operator WHERE oprnamespace = 'evil'::regnamespace), '>', 100::bigint, 'operators are planted');
SELECT cmp_ok((SELECT count(*) FROM pg_proc WHERE pronamespace = 'evil'::regnamespace AND proname NOT LIKE 'operator%'), '>', 40::bigint,
	'functions are planted');

-- What the pipeline or the catalogue calls its tables: in the attacker's schema, and as temporary tables, which come first of all.
CREATE TABLE evil.names AS SELECT unnest(ARRAY['bookings', 'restaurants', 'table_inventory', 'booking_table_assignments',
	'booking_assignment_state_history', 'booking_assignment_attempts', 'observability_events', 'capacity_outbox', 'queue', 'binding', 'circuits',
	'rollout', 'kill_switch', 'blocks', 'purges', 'audit', 'pg_class', 'pg_proc', 'pg_namespace', 'pg_attribute', 'pg_extension', 'pg_depend',
	'pg_constraint', 'pg_index', 'pg_trigger', 'pg_settings', 'pg_roles', 'pg_type']) AS name;
GRANT SELECT ON evil.names TO PUBLIC;
CREATE PROCEDURE evil.each_table(statement text) LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT n.name FROM evil.names n LOOP
		EXECUTE format(statement, name);
	END LOOP;
END
$$;
CALL evil.each_table('CREATE TABLE evil.%I (id uuid)');

-- attacked(): runs a statement as a caller whose search_path is hostile, and tells its first column.
CREATE FUNCTION public.attacked(statement text) RETURNS text LANGUAGE plpgsql
SET search_path TO evil, pg_temp, pg_catalog, public
AS $$
DECLARE
	result text;
BEGIN
	IF statement OPERATOR(pg_catalog.~~) 'SELECT %' THEN
		EXECUTE statement INTO result;
	ELSE
		EXECUTE statement;
	END IF;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLERRM;
END;
$$;
SELECT matches(attacked($$SELECT now()$$), 'hijacked by now', 'the attack works where a name is left open');
SELECT matches(attacked($$SELECT 'a'::text = 'b'::text$$), 'hijacked by operator =', '... and where an operator is');
ALTER SEQUENCE evil.hits RESTART;

-- ---------------------------------------------------------------------
-- A plain owner of the database, under attack from the first statement on
-- ---------------------------------------------------------------------
SET ROLE assignment_owner;
SELECT is(attacked('CREATE EXTENSION btree_gist WITH SCHEMA public'), NULL, 'a plain owner creates btree_gist');
SELECT is(attacked('CREATE EXTENSION assignment_v3'), NULL, '... and the extension');
SELECT is(attacked('SELECT action FROM assignment_v3.attach()'), 'created', '... and attaches');
SELECT is(attacked('SELECT action FROM assignment_v3.attach()'), NULL, '... once');
RESET ROLE;

-- ---------------------------------------------------------------------
-- The functions
-- ---------------------------------------------------------------------
CREATE VIEW pg_temp.functions AS
SELECT p.*, p.oid::regprocedure::text AS signature FROM pg_proc p WHERE p.pronamespace = 'assignment_v3'::regnamespace;
GRANT SELECT ON pg_temp.functions TO PUBLIC;
SELECT is_empty('SELECT signature FROM pg_temp.functions WHERE prosecdef', 'no function is SECURITY DEFINER');
SELECT is_empty($$SELECT signature FROM pg_temp.functions f JOIN pg_language l ON l.oid = f.prolang
	WHERE l.lanname <> 'c' AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']$$,
	'every SQL and PL/pgSQL function pins its search_path');
SELECT is_empty($$SELECT signature FROM pg_temp.functions WHERE prokind = 'p' AND proconfig IS NOT NULL$$,
	'no procedure has a SET clause, which would keep it from committing');
SELECT is_empty('SELECT signature FROM pg_temp.functions WHERE proleakproof', 'no function claims to be leakproof');
SELECT is_empty($$SELECT signature FROM pg_temp.functions f WHERE proname NOT LIKE 'attach%' AND proname NOT LIKE 'verify%'
	AND proname NOT LIKE 'status%' AND provolatile = 'v' AND proparallel <> 'u'$$, 'what writes is not parallel safe');
SELECT is_empty($$SELECT f.signature, a.* FROM pg_temp.functions f CROSS JOIN aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
	WHERE a.grantee = 0$$, 'no function is granted to PUBLIC');
SELECT is_empty($$SELECT f.signature FROM pg_temp.functions f
	WHERE NOT EXISTS (SELECT FROM aclexplode(f.proacl) a WHERE a.grantee = 'assignment_owner'::regrole AND a.is_grantable)$$,
	'the owner of the extension may execute each, and pass it on');
SELECT is_empty($$SELECT f.signature, a.grantee::regrole FROM pg_temp.functions f CROSS JOIN aclexplode(f.proacl) a
	WHERE a.grantee NOT IN (f.proowner, 'assignment_owner'::regrole)$$, '... and nobody else');
SELECT is_empty($$SELECT t.typname FROM pg_type t CROSS JOIN aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a
	WHERE t.typnamespace = 'assignment_v3'::regnamespace AND a.grantee = 0 AND t.typelem = 0
		AND t.typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c')$$, 'no type is granted to PUBLIC');
SELECT is_empty($$SELECT a.* FROM pg_namespace n CROSS JOIN aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
	WHERE n.nspname = 'assignment_v3' AND a.grantee <> 'assignment_owner'::regrole$$, 'the schema is open to its owner alone');
SELECT is((SELECT rolname FROM pg_extension e JOIN pg_roles r ON r.oid = e.extowner WHERE extname = 'assignment_v3'),
	'assignment_owner', 'who created the extension owns it');
SELECT is((SELECT array_agg(DISTINCT c.relowner::regrole::text) FROM pg_class c
	WHERE c.relnamespace IN ('assignment_v3'::regnamespace, 'public'::regnamespace) AND c.relkind = 'r' AND c.relrowsecurity),
	ARRAY['assignment_owner'], '... and the tables');

-- Without EXECUTE.  USAGE on the schema is not what keeps one out.
GRANT USAGE ON SCHEMA assignment_v3 TO assignment_anon, assignment_app, assignment_writer;
CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END;
$$;
CREATE VIEW pg_temp.calls AS
SELECT f.signature, format('%s assignment_v3.%I(%s)', CASE f.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, f.proname, (
	SELECT string_agg(format('NULL::%s', t.type::regtype), ', ' ORDER BY t.n)
	FROM unnest(coalesce(CASE f.prokind WHEN 'p' THEN f.proallargtypes END, f.proargtypes::oid[])) WITH ORDINALITY AS t (type, n))) AS call
FROM pg_temp.functions f WHERE f.prorettype <> 'trigger'::regtype;
GRANT SELECT ON pg_temp.calls TO PUBLIC;
SET ROLE assignment_anon;
CREATE TEMPORARY TABLE own (id uuid);
SELECT cmp_ok((SELECT count(*) FROM pg_temp.calls), '>', 60::bigint, 'there are functions to try');
SELECT is_empty('SELECT call, pg_temp.refusal(call) FROM pg_temp.calls WHERE pg_temp.refusal(call) <> ''42501''',
	'without EXECUTE each function is refused');
SELECT is_empty($$SELECT signature FROM pg_temp.functions WHERE prorettype = 'trigger'::regtype AND pg_temp.refusal(format(
	'CREATE TRIGGER mine BEFORE INSERT ON pg_temp.own FOR EACH ROW EXECUTE FUNCTION assignment_v3.%I()', proname)) <> '42501'$$,
	'... and no trigger can be made of one');
DROP TABLE pg_temp.own;
RESET ROLE;

-- ---------------------------------------------------------------------
-- The views
-- ---------------------------------------------------------------------
CREATE VIEW pg_temp.views AS SELECT c.* FROM pg_class c WHERE c.relnamespace = 'assignment_v3'::regnamespace AND c.relkind = 'v';
SELECT is_empty($$SELECT relname FROM pg_temp.views WHERE NOT coalesce(reloptions, '{}') @> ARRAY['security_invoker=true']$$,
	'every view acts for whoever looks at it');
SELECT is_empty($$SELECT v.relname, a.* FROM pg_temp.views v CROSS JOIN aclexplode(coalesce(v.relacl, acldefault('r', v.relowner))) a
	WHERE a.grantee NOT IN (v.relowner, 'assignment_owner'::regrole)$$, 'no view is granted to anybody but the owner of the extension');
SELECT is_empty($$SELECT v.relname FROM pg_temp.views v WHERE NOT EXISTS (SELECT FROM aclexplode(v.relacl) a
	WHERE a.grantee = 'assignment_owner'::regrole AND a.privilege_type = 'SELECT' AND a.is_grantable)$$, '... who may pass it on');

-- ---------------------------------------------------------------------
-- The flags
-- ---------------------------------------------------------------------
SET ROLE assignment_anon;
SELECT throws_ok('SET assignment_v3.enabled TO on', '42501', NULL, 'not everybody flips a flag');
SELECT throws_ok('SET LOCAL assignment_v3.max_parallel TO 20', '42501', NULL, '... nor tunes one');
SELECT throws_ok($$SELECT set_config('assignment_v3.shadow', 'on', true)$$, '42501', NULL, '... not by set_config() either');
SELECT throws_ok('ALTER ROLE assignment_anon SET assignment_v3.enabled TO on', '42501', NULL, '... not even for himself');
SELECT throws_ok('SET assignment_v3.unheard_of TO on', NULL, NULL, '... and nobody makes one up');
SELECT is(current_setting('assignment_v3.enabled'), 'off', 'everybody may read them');
SET ROLE assignment_owner;
SELECT lives_ok('SET assignment_v3.enabled TO on', 'the owner flips a flag for the session');
SELECT lives_ok(format('ALTER DATABASE %I SET assignment_v3.enabled TO on', current_database()), '... for the database');
SELECT lives_ok(format('ALTER ROLE assignment_owner IN DATABASE %I SET assignment_v3.shadow TO on', current_database()), '... and for a role');
SELECT is((SELECT count(*) FROM pg_settings WHERE name LIKE 'assignment\_v3.%' AND context = 'superuser'
	AND NOT has_parameter_privilege(name, 'SET')), 0::bigint, '... each of them');
SELECT throws_ok('SET assignment_v3.max_parallel TO 0', '22023', NULL, '... to a value that is one');
SELECT throws_ok('SET assignment_v3.enabled TO banana', '22023', NULL, '... or other');
RESET ROLE;

-- ---------------------------------------------------------------------
-- EXECUTE and nothing else
-- ---------------------------------------------------------------------
INSERT INTO restaurants (id, name) VALUES ('a0000000-0000-0000-0000-000000000001', 'One');
INSERT INTO table_inventory (id, restaurant_id, table_number, capacity)
SELECT ('d0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', n, 4 FROM generate_series(1, 3) n;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT ('b0000000-0000-0000-0000-0000000000' || to_char(n, 'FM00'))::uuid, 'a0000000-0000-0000-0000-000000000001', 2,
	date_trunc('day', now()) + (30 + n) * interval '1 day 1 minute', date_trunc('day', now()) + (30 + n) * interval '1 day 1 minute' + interval '2 hours'
FROM generate_series(1, 20) n;
DELETE FROM assignment_v3.queue WHERE booking_id > 'b0000000-0000-0000-0000-000000000010';
-- a policy that shows nothing to anybody but the owner, who is above it
CREATE POLICY nobody ON bookings USING (false);

SET ROLE assignment_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA assignment_v3 TO assignment_app;
GRANT EXECUTE ON ALL PROCEDURES IN SCHEMA assignment_v3 TO assignment_app;
RESET ROLE;
SELECT is((SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = 'assignment_app'), false, 'the caller is nobody special');
SELECT is_empty($$SELECT c.oid::regclass, p.right FROM pg_class c
	CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS p ("right")
	WHERE c.relrowsecurity AND has_table_privilege('assignment_app', c.oid, p.right)$$, '... with no right on any table');

SET ROLE assignment_app;
SELECT throws_ok('SELECT * FROM bookings', '42501', NULL, 'he can''t look at a booking');
SELECT throws_ok('SELECT * FROM assignment_v3.queue', '42501', NULL, '... nor at the queue');
SELECT is((SELECT outcome FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000001')), 'confirmed', 'process_booking()');
SELECT is((SELECT count(*) FROM assignment_v3.process_due(2) WHERE outcome = 'confirmed'), 2::bigint, 'process_due()');
CALL assignment_v3.run(2) \gset run_
SELECT is(:run_confirmed, 2, 'run()');
SELECT is((SELECT to_state FROM assignment_v3.transition('b0000000-0000-0000-0000-000000000011', 'failed')), 'failed', 'transition()');
SELECT is((SELECT to_state FROM assignment_v3.requeue('b0000000-0000-0000-0000-000000000011')), 'assignment_pending', 'requeue()');
SELECT is((SELECT to_state FROM assignment_v3.reopen('b0000000-0000-0000-0000-000000000001')), 'assignment_pending', 'reopen()');
SELECT is((SELECT to_state FROM assignment_v3.assign('b0000000-0000-0000-0000-000000000012', '{d0000000-0000-0000-0000-000000000002}')),
	'confirmed', 'assign()');
SELECT block_id FROM assignment_v3.block('{d0000000-0000-0000-0000-000000000003}', now(), now() + interval '90 days', 'wobbly') LIMIT 1 \gset
SELECT is((SELECT verdict FROM assignment_v3.explain('b0000000-0000-0000-0000-000000000013') WHERE table_number = '3'), 'blocked',
	'block() and explain()');
SELECT is(assignment_v3.unblock(:'block_id'), true, 'unblock()');
SELECT isnt((SELECT table_ids FROM assignment_v3.plan('b0000000-0000-0000-0000-000000000013') WHERE rank = 1), NULL, 'plan()');
SELECT is((SELECT mode FROM assignment_v3.mode('a0000000-0000-0000-0000-000000000001')), 'active', 'mode()');
SELECT isnt((SELECT event_rows FROM assignment_v3.purge('10 years')), NULL, 'purge()');
SELECT cmp_ok((SELECT count(*) FROM assignment_v3.transitions()), '>', 20::bigint, 'transitions()');
SELECT is(current_user::text, 'assignment_app', 'he is still himself');
SELECT throws_ok('SELECT * FROM bookings', '42501', NULL, '... and still can''t look');
-- what reads for the caller instead of acting for the app says so, rather than give a clean bill
SELECT throws_ok('SELECT * FROM assignment_v3.verify()', '42501', NULL, 'verify() needs what it reads');
SELECT throws_ok($$SELECT assignment_v3.kill('no')$$, '42501', NULL, 'kill() is not for everybody');
SELECT throws_ok($$SELECT assignment_v3.enqueue_existing(now())$$, '42501', NULL, '... nor is enqueue_existing()');
SELECT throws_ok('SELECT * FROM assignment_v3.attach()', '42501', NULL, '... nor attach()');
SELECT throws_ok('SELECT * FROM assignment_v3.detach()', '42501', NULL, '... nor detach()');
RESET ROLE;
SELECT results_eq($$SELECT right(id::text, 2), status, assignment_state::text FROM bookings
	WHERE right(id::text, 2) IN ('01', '02', '03', '04', '05', '11', '12') ORDER BY id$$, $$VALUES
	('01', 'pending', 'assignment_pending'), ('02', 'confirmed', 'confirmed'), ('03', 'confirmed', 'confirmed'),
	('04', 'confirmed', 'confirmed'), ('05', 'confirmed', 'confirmed'), ('11', 'pending', 'assignment_pending'),
	('12', 'confirmed', 'confirmed')$$, 'it is all written');
SELECT is((SELECT count(*) FROM booking_table_assignments), 5::bigint, '... with the tables');
SELECT is((SELECT count(*) FROM capacity_outbox WHERE event_type = 'booking.assignment_state.confirmed'), 6::bigint, '... and the messages');
SELECT is((SELECT purged_by FROM assignment_v3.purges), 'assignment_app', '... in his name where one is kept');

-- with table rights, but behind row-level security
GRANT SELECT ON ALL TABLES IN SCHEMA public, assignment_v3 TO assignment_app;
SET ROLE assignment_app;
SELECT is((SELECT count(*) FROM bookings), 0::bigint, 'row-level security hides every booking from the caller');
SELECT throws_ok('SELECT * FROM assignment_v3.verify()', '42501', NULL, '... and verify() does not take that for soundness');
SELECT is((SELECT outcome FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000014')), 'confirmed',
	'... but process_booking() sees the floor');
RESET ROLE;
REVOKE ALL ON ALL TABLES IN SCHEMA public, assignment_v3 FROM assignment_app;

-- an error inside leaves nobody with the owner's rights
CREATE FUNCTION app_raise() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'the app says no, as %', current_user; END$$;
CREATE TRIGGER raise BEFORE UPDATE ON bookings FOR EACH ROW WHEN (NEW.id = 'b0000000-0000-0000-0000-000000000015') EXECUTE FUNCTION app_raise();
SET ROLE assignment_app;
SELECT is((SELECT reason FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000015')), 'error', 'an error of the app''s');
SELECT is(current_user::text, 'assignment_app', '... caught, and the caller is himself again');
SELECT throws_ok($$SELECT assignment_v3.transition('b0000000-0000-0000-0000-000000000015', 'failed')$$, 'P0001',
	'the app says no, as assignment_owner', 'an error thrown from inside, where the app''s trigger ran as its owner');
SELECT is(current_user::text, 'assignment_app', '... the caller is himself again');
SELECT throws_ok('SELECT * FROM bookings', '42501', NULL, '... and can''t look');
RESET ROLE;

-- a writer with rights on bookings alone: the triggers fire without EXECUTE and write where he may not
GRANT SELECT, INSERT, UPDATE ON bookings TO assignment_writer;
CREATE POLICY writers ON bookings TO assignment_writer USING (true);
SET ROLE assignment_writer;
SELECT lives_ok($$INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
	SELECT 'b0000000-0000-0000-0000-000000000030', restaurant_id, 2, start_at, end_at FROM bookings WHERE right(id::text, 2) = '16'$$,
	'a writer inserts a booking');
SELECT lives_ok($$UPDATE bookings SET party_size = 3 WHERE id = 'b0000000-0000-0000-0000-000000000030'$$, '... and changes its party');
SELECT throws_ok('SELECT * FROM booking_assignment_state_history', '42501', NULL, '... but can''t read history');
RESET ROLE;
SELECT is((SELECT count(*) FROM assignment_v3.queue WHERE booking_id = 'b0000000-0000-0000-0000-000000000030'), 1::bigint, 'the booking is queued');
SELECT is((SELECT reason FROM booking_assignment_state_history WHERE booking_id = 'b0000000-0000-0000-0000-000000000030'), 'facts_changed',
	'... and its history written');

-- ---------------------------------------------------------------------
-- A hostile search_path
-- ---------------------------------------------------------------------
SELECT is_empty('SELECT last_value FROM evil.hits WHERE is_called', 'nothing planted has been called so far');
GRANT CREATE ON SCHEMA evil TO assignment_app, assignment_owner;
CREATE FUNCTION app_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	SELECT r.name || ' at ' || now() || CASE WHEN 'a'::text = 'b'::text THEN '!' ELSE '' END INTO STRICT NEW.customer_name
	FROM restaurants r WHERE r.id = NEW.restaurant_id;
	RETURN NEW;
END
$$;
CREATE TRIGGER stamp BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION app_stamp();
SET ROLE assignment_app;
CALL evil.each_table('CREATE TEMPORARY TABLE %I (id uuid)');
SELECT is(attacked($$SELECT outcome FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000006')$$), 'confirmed',
	'process_booking() under attack, and the app''s own trigger');
SELECT is(attacked('SELECT outcome FROM assignment_v3.process_due(1)'), 'confirmed', 'process_due() under attack');
SELECT is(attacked($$SELECT to_state FROM assignment_v3.transition('b0000000-0000-0000-0000-000000000017', 'failed')$$), 'failed', 'transition() under attack');
SELECT is(attacked($$SELECT to_state FROM assignment_v3.requeue('b0000000-0000-0000-0000-000000000017', 'again')$$), 'assignment_pending', 'requeue() under attack');
SELECT is(attacked($$SELECT to_state FROM assignment_v3.assign('b0000000-0000-0000-0000-000000000017', '{d0000000-0000-0000-0000-000000000001}')$$),
	'confirmed', 'assign() under attack');
SELECT is(attacked($$SELECT to_state FROM assignment_v3.reopen('b0000000-0000-0000-0000-000000000017')$$), 'assignment_pending', 'reopen() under attack');
SELECT is(attacked($$SELECT table_id FROM assignment_v3.block('{d0000000-0000-0000-0000-000000000003}', '2030-01-01', '2030-01-02')$$),
	'd0000000-0000-0000-0000-000000000003', 'block() under attack');
SELECT is(attacked($$SELECT rank FROM assignment_v3.plan('b0000000-0000-0000-0000-000000000018')$$), '1', 'plan() under attack');
SELECT is(attacked($$SELECT table_number FROM assignment_v3.explain('b0000000-0000-0000-0000-000000000018')$$), '1', 'explain() under attack');
SELECT is(attacked($$SELECT mode FROM assignment_v3.mode('a0000000-0000-0000-0000-000000000001')$$), 'active', 'mode() under attack');
SELECT is(attacked($$SELECT history_rows FROM assignment_v3.purge('10 years')$$), '0', 'purge() under attack');
CALL evil.each_table('DROP TABLE pg_temp.%I');
RESET ROLE;
DROP TRIGGER stamp ON bookings;
SET search_path TO evil, pg_temp, pg_catalog, public;
UPDATE public.bookings SET party_size = 4 WHERE id OPERATOR(pg_catalog.=) 'b0000000-0000-0000-0000-000000000018';
UPDATE public.bookings SET status = 'cancelled' WHERE id OPERATOR(pg_catalog.=) 'b0000000-0000-0000-0000-000000000006';
DELETE FROM public.bookings WHERE id OPERATOR(pg_catalog.=) 'b0000000-0000-0000-0000-000000000019';
CALL assignment_v3.run(1) \gset run_
RESET search_path;
SELECT is(:run_confirmed, 1, 'run() under attack');
SELECT set_eq($$SELECT right(b.id::text, 2), b.assignment_state_version - count(h.*), max(h.reason) FROM bookings b
	JOIN booking_assignment_state_history h ON h.booking_id = b.id WHERE right(b.id::text, 2) IN ('06', '18') GROUP BY b.id$$,
	$$VALUES ('06', 1::bigint, 'facts_changed'), ('18', 1::bigint, 'facts_changed')$$, 'plain updates under attack have their history');

SET ROLE assignment_owner;
SELECT is(attacked('SELECT rule FROM assignment_v3.verify()'), NULL, 'verify() under attack');
SELECT is(attacked('SELECT item FROM assignment_v3.status()'), 'extension version', 'status() under attack');
SELECT matches(attacked($$SELECT assignment_v3.kill('drill')$$), '^\d+$', 'kill() under attack');
SELECT is((SELECT reason FROM assignment_v3.mode()), 'kill', '... kills');
SELECT is(attacked($$SELECT assignment_v3.revive('over')$$), '', 'revive() under attack');
SELECT is((SELECT reason FROM assignment_v3.mode()), 'enabled', '... revives');
SELECT isnt(attacked($$SELECT assignment_v3.enqueue_existing('2000-01-01')$$), '0', 'enqueue_existing() under attack');
SELECT is(attacked('SELECT action FROM assignment_v3.detach()'), 'dropped', 'detach() under attack');
SELECT is(attacked('SELECT action FROM assignment_v3.attach()'), 'created', '... and attach() again');
SELECT is(attacked($$SELECT outcome FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000020')$$), 'confirmed',
	'... to what the caller means by public');
RESET ROLE;
SELECT is_empty('SELECT last_value FROM evil.hits WHERE is_called', 'nothing planted was ever called');
SELECT is_empty('SELECT * FROM assignment_v3.verify()', 'all is sound');
SELECT * FROM finish();

-- Grants on parameters and roles outlive the database.
DO $$
DECLARE
	flag text;
BEGIN
	FOR flag IN SELECT name FROM pg_settings WHERE name LIKE 'assignment\_v3.%' LOOP
		EXECUTE format('REVOKE ALL ON PARAMETER %s FROM assignment_owner', flag);
	END LOOP;
END
$$;
ALTER ROLE assignment_owner IN DATABASE :"database" RESET ALL;
REASSIGN OWNED BY assignment_owner TO :"superuser";
DROP OWNED BY assignment_owner, assignment_app, assignment_writer, assignment_anon CASCADE;
DROP ROLE assignment_owner, assignment_app, assignment_writer, assignment_anon;
