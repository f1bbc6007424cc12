-- The pipeline's statements run under the app's search_path, for the app's triggers that they fire, and with the owner's rights.  So
-- where a stranger may create in a schema of that path, as everybody could in public up to PostgreSQL 14, an operator or function
-- of his that fits the type of an app's column better than the one in pg_catalog would be chosen, and run as the owner.  Here each
-- column of the app is of a domain, whose exact match is nobody's but the stranger's, who has planted one for each operator and
-- many functions; everything that the pipeline does must go on and call none.  It could fail by a single comparison of a column
-- without a cast or OPERATOR(pg_catalog.=), also inside IN, ANY, BETWEEN, CASE or a comparison of rows.
SET client_min_messages TO warning;
SELECT plan(25);
SELECT current_user AS superuser, current_database() AS database \gset
CREATE ROLE better_owner NOLOGIN;
CREATE ROLE better_stranger NOLOGIN;
ALTER DATABASE :"database" OWNER TO better_owner;
ALTER SCHEMA public OWNER TO better_owner;
GRANT CREATE ON SCHEMA public TO better_stranger;
CREATE SEQUENCE public.hits;
GRANT ALL ON SEQUENCE public.hits TO PUBLIC;
SET ROLE better_owner;
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;

-- The app, as attach() would make it, but for the types.
CREATE TABLE public.domains AS SELECT * FROM (VALUES ('uuid', 'd_uuid'), ('text', 'd_text'), ('integer', 'd_integer'), ('timestamptz', 'd_time'),
	('boolean', 'd_boolean'), ('jsonb', 'd_jsonb'), ('smallint', 'd_small')) AS d (base, name);
DO $$
DECLARE
	part record;
BEGIN
	FOR part IN SELECT format('CREATE DOMAIN public.%I AS %s', d.name, d.base) AS statement FROM public.domains AS d LOOP
		EXECUTE part.statement;
	END LOOP;
	FOR part IN
		SELECT format('CREATE TABLE public.%I (%s)', t.relation, string_agg(format('%I %s %s', c.name, coalesce(CASE WHEN c.definition !~ 'IDENTITY' THEN d.name END, c.type), c.definition), ', ' ORDER BY c.ordinal)) AS statement
		FROM assignment_v3.attach_tables() WITH ORDINALITY AS t (relation, own, storage, comment, n)
		JOIN assignment_v3.attach_columns() AS c ON c.relation = t.relation
		LEFT JOIN public.domains AS d ON d.base = CASE c.type WHEN '@state@' THEN 'text' ELSE c.type END
		WHERE NOT t.own GROUP BY t.relation, t.n ORDER BY t.n
	LOOP
		EXECUTE replace(part.statement, '@state@', 'text');
	END LOOP;
	FOR part IN
		SELECT format('ALTER TABLE public.%I ADD CONSTRAINT %I %s', c.relation, c.name, replace(c.definition, '@app@', 'public')) AS statement
		FROM assignment_v3.attach_constraints() AS c JOIN assignment_v3.attach_tables() AS t ON t.relation = c.relation AND NOT t.own
		ORDER BY c.definition !~ '^PRIMARY', c.ordinal
	LOOP
		EXECUTE part.statement;
	END LOOP;
END
$$;
CREATE TABLE public.allocations (id d_uuid PRIMARY KEY DEFAULT gen_random_uuid(), resource_type d_text NOT NULL, resource_id d_uuid NOT NULL, restaurant_id d_uuid,
	booking_id d_uuid, "window" tstzrange NOT NULL, shadow d_boolean NOT NULL DEFAULT false, is_maintenance d_boolean NOT NULL DEFAULT false);
SELECT cmp_ok((SELECT count(*) FROM assignment_v3.attach()), '>', 20::bigint, 'an app of domains is adopted');
INSERT INTO restaurants (id, name) SELECT ('a0000000-0000-0000-0000-00000000000' || n)::uuid, 'Restaurant ' || n FROM generate_series(1, 2) AS n;
INSERT INTO zones (id, restaurant_id, name) VALUES ('c0000000-0000-0000-0000-000000000001', 'a0000000-0000-0000-0000-000000000001', 'Hall');
INSERT INTO table_inventory (id, restaurant_id, zone_id, table_number, capacity)
SELECT ('d0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', 'c0000000-0000-0000-0000-000000000001', n, 4 FROM generate_series(1, 9) AS n;
INSERT INTO table_adjacencies (table_a, table_b) VALUES ('d0000000-0000-0000-0000-000000000001', 'd0000000-0000-0000-0000-000000000002');
INSERT INTO table_holds (id, restaurant_id, start_at, end_at, expires_at) VALUES
	('e0000000-0000-0000-0000-000000000001', 'a0000000-0000-0000-0000-000000000001', now(), now() + interval '60 days', now() + interval '1 day');
INSERT INTO table_hold_windows (hold_id, table_id, restaurant_id, start_at, end_at, expires_at) VALUES
	('e0000000-0000-0000-0000-000000000001', 'd0000000-0000-0000-0000-000000000009', 'a0000000-0000-0000-0000-000000000001', now(), now() + interval '60 days', now() + interval '1 day');
INSERT INTO allocations (resource_type, resource_id, restaurant_id, "window", is_maintenance) VALUES
	('table', 'd0000000-0000-0000-0000-000000000008', 'a0000000-0000-0000-0000-000000000001', tstzrange(now(), now() + interval '60 days'), true);
SET assignment_v3.enabled TO on;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT ('b0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', CASE n WHEN 2 THEN 6 ELSE 2 END,
	now() + (29 + n) * interval '1 day', now() + (29 + n) * interval '1 day' + interval '2 hours' FROM generate_series(1, 9) AS n;

-- ---------------------------------------------------------------------
-- What the stranger plants: operators of every name on every pair with a domain in it, and functions of one
-- ---------------------------------------------------------------------
GRANT SELECT ON public.domains TO PUBLIC;
SET ROLE better_stranger;
CREATE FUNCTION public.hit(words text) RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_catalog.nextval('public.hits'); RAISE EXCEPTION 'hijacked by %, as %', words, current_user; END$$;
DO $plant$
DECLARE
	victim record;
BEGIN
	FOR victim IN
		WITH type AS (
			SELECT d.name AS name, d.base FROM public.domains AS d UNION ALL SELECT d.base, d.base FROM public.domains AS d
			UNION ALL VALUES ('bigint', 'bigint'), ('tstzrange', 'tstzrange'), ('interval', 'interval'), ('date', 'date')
		)
		SELECT DISTINCT ON (o.oprname, l.name, r.name) row_number() OVER () AS n, o.oprname AS operator, l.name AS a, r.name AS b, format_type(o.oprresult, NULL) AS result
		FROM pg_operator AS o
		JOIN type AS l ON l.base::regtype = o.oprleft
		JOIN type AS r ON r.base::regtype = o.oprright
		WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND (l.name LIKE 'd\_%' OR r.name LIKE 'd\_%')
	LOOP
		EXECUTE format('CREATE FUNCTION public.planted_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS $$BEGIN PERFORM public.hit(%L); END$$', victim.n, victim.a, victim.b, victim.result,
			victim.a || ' ' || victim.operator || ' ' || victim.b);
		EXECUTE format('CREATE OPERATOR public.%s (FUNCTION = public.planted_%s, LEFTARG = %s, RIGHTARG = %s)', victim.operator, victim.n, victim.a, victim.b);
	END LOOP;
	FOR victim IN
		SELECT DISTINCT p.proname, d.name AS a, format_type(CASE p.prorettype WHEN 'anyelement'::regtype THEN d.base::regtype ELSE p.prorettype END, NULL) AS result
		FROM pg_proc AS p JOIN public.domains AS d ON p.proargtypes::oid[] IN (ARRAY[d.base::regtype::oid], ARRAY['anyelement'::regtype::oid], ARRAY['"any"'::regtype::oid])
		WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.prorettype NOT IN ('internal'::regtype, 'cstring'::regtype, 'trigger'::regtype, 'anyarray'::regtype, 'anyrange'::regtype)
			AND p.proname ~ '^(lower|upper|length|abs|now|quote_ident|quote_literal|btrim|replace|to_jsonb|to_json|hashtext|uuid_send|date|time|text|int4|int2|jsonb_typeof|isfinite|md5|max|min|count|sum|array_agg)$'
	LOOP
		EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS $$BEGIN PERFORM public.hit(%L); END$$', victim.proname, victim.a, victim.result, victim.proname);
	END LOOP;
END
$plant$;
RESET ROLE;
SELECT cmp_ok((SELECT count(*) FROM pg_operator WHERE oprnamespace = 'public'::regnamespace AND oprowner = 'better_stranger'::regrole), '>', 300::bigint, 'operators are planted');
SET ROLE better_owner;
SET assignment_v3.enabled TO on;
SELECT throws_like('SELECT count(*) FROM bookings WHERE party_size > 3', 'hijacked by d_integer > integer%', 'the attack works on what is left open');
SELECT throws_like($$SELECT count(*) FROM bookings WHERE status IN ('pending')$$, 'hijacked by d_text = d_text%', '... and on what compares without a word');
RESET ROLE;
ALTER SEQUENCE public.hits RESTART;
SET ROLE better_owner;

-- ---------------------------------------------------------------------
-- Everything that the pipeline does
-- ---------------------------------------------------------------------
CREATE FUNCTION pg_temp.does(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE call INTO answer;
	RETURN coalesce(answer, '');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLERRM;
END
$$;
SELECT pg_catalog.format('%s%s-0000-0000-0000-00000000000', 'b', '0000000') AS b, 'd0000000-0000-0000-0000-00000000000' AS d \gset
SELECT is(pg_temp.does(format($$SELECT outcome FROM assignment_v3.process_booking('%s1')$$, :'b')), 'confirmed', 'process_booking()');
SELECT is(pg_temp.does(format($$SELECT outcome FROM assignment_v3.process_booking('%s2')$$, :'b')), 'confirmed', '... with a merge');
SELECT is(pg_temp.does('SELECT string_agg(d.outcome, '','') FROM assignment_v3.process_due(2) AS d'), 'confirmed,confirmed', 'process_due()');
CALL assignment_v3.run(1) \gset run_
SELECT is(:run_confirmed, 1, 'run()');
SELECT is(pg_temp.does(format($$SELECT to_state FROM assignment_v3.transition('%s9', 'failed')$$, :'b')), 'failed', 'transition()');
SELECT is(pg_temp.does(format($$SELECT to_state FROM assignment_v3.requeue('%s9')$$, :'b')), 'assignment_pending', 'requeue()');
SELECT is(pg_temp.does(format($$SELECT to_state FROM assignment_v3.reopen('%s1')$$, :'b')), 'assignment_pending', 'reopen()');
SELECT is(pg_temp.does(format($$SELECT to_state FROM assignment_v3.assign('%s1', '{%s3}')$$, :'b', :'d')), 'confirmed', 'assign()');
SELECT is(pg_temp.does(format($$SELECT to_state FROM assignment_v3.assign('%s1', '{%s4}')$$, :'b', :'d')), 'confirmed', '... again');
SELECT is(pg_temp.does(format($$SELECT count(*) FROM assignment_v3.block('{%s7}', now(), now() + interval '40 days')$$, :'d')), '1', 'block()');
SELECT is(pg_temp.does(format($$SELECT count(*) > 0 FROM assignment_v3.plan('%s8')$$, :'b')), 'true', 'plan()');
SELECT is(pg_temp.does(format($$SELECT count(*) > 5 FROM assignment_v3.explain('%s8')$$, :'b')), 'true', 'explain()');
SELECT is(pg_temp.does(format($$SELECT count(*) >= 0 FROM assignment_v3.alternatives('%s8')$$, :'b')), 'true', 'alternatives()');
SELECT is(pg_temp.does($$SELECT history_rows >= 0 FROM assignment_v3.purge('0')$$), 'true', 'purge()');
SELECT is(pg_temp.does(format($$UPDATE bookings SET status = 'cancelled' WHERE id::uuid OPERATOR(pg_catalog.=) '%s2' RETURNING assignment_state$$, :'b')), 'confirmed', 'a cancellation');
SELECT is(pg_temp.does(format($$UPDATE bookings SET party_size = 3 WHERE id::uuid OPERATOR(pg_catalog.=) '%s8' RETURNING assignment_state_version::int OPERATOR(pg_catalog.>) 1$$, :'b')), 'true', 'a change of facts');
SELECT is(pg_temp.does(format($$UPDATE bookings SET status = 'pending' WHERE id::uuid OPERATOR(pg_catalog.=) '%s1' RETURNING assignment_state$$, :'b')), 'assignment_pending', 'a status that goes back');
SET assignment_v3.enabled TO off;
SET assignment_v3.shadow TO on;
SELECT is(pg_temp.does(format($$SELECT shadow_outcome FROM assignment_v3.process_booking('%s1')$$, :'b')), 'confirmed', 'a rehearsal');
SET assignment_v3.shadow TO off;
SELECT is(pg_temp.does('SELECT count(*) FROM assignment_v3.verify()'), '0', 'verify()');
RESET ROLE;
SELECT is((SELECT is_called FROM public.hits), false, 'nothing planted has been called');
SELECT is_empty($$SELECT e.context FROM observability_events AS e WHERE e.event_type::text OPERATOR(pg_catalog.=) 'coordinator.error'$$, 'no decision has met an error');
SELECT * FROM finish();

DO $$
DECLARE
	flag text;
BEGIN
	FOR flag IN SELECT name FROM pg_settings WHERE name LIKE 'assignment\_v3.%' LOOP
		EXECUTE format('REVOKE ALL ON PARAMETER %s FROM better_owner', flag);
	END LOOP;
END
$$;
REASSIGN OWNED BY better_owner, better_stranger TO :"superuser";
DROP OWNED BY better_owner, better_stranger CASCADE;
DROP ROLE better_owner, better_stranger;
