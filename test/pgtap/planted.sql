-- The pipeline acts with its owner's rights, so it must never run what somebody else has put where it expects its own: a function,
-- an operator or a type in its schema before CREATE EXTENSION, whose script runs as a superuser; later a table, a view or a foreign
-- table under the name of a relation that the app lacks, or in the place of one.  Decisions must say what is in the way, the app's
-- own writes must go on, and nothing planted may be called: by a planted overload that matches better, by a trigger, a rule or a
-- function in a view.  What is planted notes who has run it in a table that no rollback of a decision can hide, for it is asked
-- after each one, and raises an error.
SET client_min_messages TO warning;
SELECT plan(38);

CREATE ROLE planted_owner NOLOGIN;
CREATE ROLE planted_stranger NOLOGIN;
SELECT current_database() AS database, current_user AS superuser \gset
ALTER DATABASE :"database" OWNER TO planted_owner;
ALTER SCHEMA public OWNER TO planted_owner;
GRANT CREATE ON DATABASE :"database" TO planted_stranger;
GRANT CREATE ON SCHEMA public TO planted_stranger;
CREATE SEQUENCE public.hits;
GRANT ALL ON SEQUENCE public.hits TO PUBLIC;

SET ROLE planted_stranger;
CREATE FUNCTION public.hit() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_catalog.nextval('public.hits');
	RAISE EXCEPTION 'run as %', current_user;
END
$$;
CREATE FUNCTION public.hit_trigger() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM public.hit(); RETURN NULL; END$$;
RESET ROLE;
CREATE FUNCTION pg_temp.detail(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	EXECUTE statement;
	RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ' ' || detail;
END
$$;

-- ---------------------------------------------------------------------
-- Before CREATE EXTENSION
-- ---------------------------------------------------------------------
-- as Supabase's postgres is one of authenticated's: that makes no friend of it
GRANT planted_stranger TO planted_owner;
SET ROLE planted_owner;
CREATE EXTENSION btree_gist;
SET ROLE planted_stranger;
CREATE SCHEMA assignment_v3;
GRANT ALL ON SCHEMA assignment_v3 TO PUBLIC;
SET ROLE planted_owner;
SELECT is(pg_temp.detail('CREATE EXTENSION assignment_v3'), '42710 schema assignment_v3', 'a plain owner installs into no schema of somebody else');
RESET ROLE;
ALTER SCHEMA assignment_v3 OWNER TO planted_owner;

-- each kind of thing by itself: an overload that would match exactly where ours is given something to convert, and so on
SET ROLE planted_stranger;
CREATE FUNCTION assignment_v3.attach_expand(definition text, app_schema name) RETURNS text LANGUAGE sql AS 'SELECT public.hit()::text';
RESET ROLE;
SELECT is(pg_temp.detail('CREATE EXTENSION assignment_v3'), '42710 assignment_v3.attach_expand(text,name)', 'a function in our schema is refused');
SET ROLE planted_owner;
SELECT is(pg_temp.detail('CREATE EXTENSION assignment_v3'), '42710 assignment_v3.attach_expand(text,name)', '... for a plain owner as well');
SET ROLE planted_stranger;
DROP FUNCTION assignment_v3.attach_expand(text, name);
CREATE FUNCTION public.texteq(a text, b text) RETURNS boolean LANGUAGE sql AS 'SELECT public.hit()';
CREATE OPERATOR assignment_v3.= (FUNCTION = public.texteq, LEFTARG = text, RIGHTARG = text);
SET ROLE planted_owner;
SELECT is(pg_temp.detail('CREATE EXTENSION assignment_v3'), '42710 assignment_v3.=(text,text)', 'an operator is refused');
RESET ROLE;
DROP OPERATOR assignment_v3.= (text, text);
SET ROLE planted_stranger;
CREATE DOMAIN assignment_v3.step AS text CHECK (public.hit());
SELECT is(pg_temp.detail('SELECT 1'), 'not refused', 'the helper tells an error from none');
SET ROLE planted_owner;
SELECT is(pg_temp.detail('CREATE EXTENSION assignment_v3'), '42710 assignment_v3.step', 'a type is refused');
RESET ROLE;
DROP DOMAIN assignment_v3.step;
SET ROLE planted_stranger;
CREATE TABLE assignment_v3.queue (booking_id uuid);
CREATE VIEW assignment_v3.binding AS SELECT public.hit() AS singleton, public.hit()::text AS app_schema;
GRANT ALL ON assignment_v3.queue, assignment_v3.binding TO PUBLIC;
SET ROLE planted_owner;
SELECT is(pg_temp.detail('CREATE EXTENSION assignment_v3'), E'42710 assignment_v3.binding\nassignment_v3.queue', 'tables and views of a stranger are refused');
RESET ROLE;
SELECT is(pg_temp.detail('CREATE EXTENSION assignment_v3'), '42710 assignment_v3.binding',
	'... for a superuser the views; he may restore the tables of others');
DROP VIEW assignment_v3.binding;
SET ROLE planted_stranger;
CREATE TABLE assignment_v3.binding (singleton boolean, app_schema text);
ALTER TABLE assignment_v3.binding ENABLE ROW LEVEL SECURITY;
CREATE POLICY spy ON assignment_v3.binding USING (public.hit());
GRANT ALL ON assignment_v3.binding TO PUBLIC;
RESET ROLE;
SELECT is(pg_temp.detail('CREATE EXTENSION assignment_v3'), 'not refused', '... which stop no extension');
SELECT matches(pg_temp.detail('SELECT assignment_v3.attach()'), '^42501 .*assignment_v3.queue is owned by planted_stranger', '... but attach()');
GRANT USAGE, CREATE ON SCHEMA assignment_v3 TO planted_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA assignment_v3 TO planted_owner;
SET ROLE planted_owner;
SELECT matches(pg_temp.detail('SELECT assignment_v3.attach()'), '^42501 .*assignment_v3.binding is owned by planted_stranger', '... unread');
RESET ROLE;
REVOKE planted_stranger FROM planted_owner;
SET ROLE planted_owner;
SELECT matches(pg_temp.detail('SELECT * FROM assignment_v3.status()'), '^42501', 'status() reads no table that may hide rows');
RESET ROLE;
GRANT planted_stranger TO planted_owner;
SELECT is((SELECT is_called FROM public.hits), false, 'nothing planted has been called');
DROP EXTENSION assignment_v3;
DROP TABLE assignment_v3.queue, assignment_v3.binding;
REVOKE ALL ON SCHEMA assignment_v3 FROM PUBLIC;
SET ROLE planted_owner;
CREATE EXTENSION assignment_v3;
SELECT isnt((SELECT count(*) FROM assignment_v3.attach()), 0::bigint, 'without them the owner installs and attaches');
RESET ROLE;

-- ---------------------------------------------------------------------
-- After attach()
-- ---------------------------------------------------------------------
INSERT INTO restaurants (id, name) VALUES ('a0000000-0000-0000-0000-000000000001', 'One');
INSERT INTO table_inventory (id, restaurant_id, table_number, capacity)
SELECT ('d0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', n, 4 FROM generate_series(1, 9) n;
SET assignment_v3.enabled TO on;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT ('b0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', 2, now() + interval '30 days', now() + interval '30 days 2 hours'
FROM generate_series(1, 9) n;
SET ROLE planted_owner;
SET assignment_v3.enabled TO on;
SELECT is((SELECT outcome FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000001')), 'confirmed', 'all is well');

-- what the app lacks: a second ledger
SET ROLE planted_stranger;
CREATE TABLE public.allocations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), resource_type text, resource_id uuid, restaurant_id uuid,
	booking_id uuid, "window" tstzrange, shadow boolean DEFAULT false, is_maintenance boolean DEFAULT false, spy boolean DEFAULT public.hit());
CREATE TRIGGER spy BEFORE INSERT OR UPDATE OR DELETE ON public.allocations FOR EACH STATEMENT EXECUTE FUNCTION public.hit_trigger();
GRANT ALL ON public.allocations TO PUBLIC;
CREATE TEMPORARY TABLE answers AS SELECT * FROM (VALUES
	('process_booking', $$SELECT assignment_v3.process_booking('b0000000-0000-0000-0000-000000000002')$$),
	('process_due', 'SELECT assignment_v3.process_due(1)'),
	('plan', $$SELECT assignment_v3.plan('b0000000-0000-0000-0000-000000000002')$$),
	('explain', $$SELECT assignment_v3.explain('b0000000-0000-0000-0000-000000000002')$$),
	('assign', $$SELECT assignment_v3.assign('b0000000-0000-0000-0000-000000000002', '{d0000000-0000-0000-0000-000000000005}')$$),
	('reopen', $$SELECT assignment_v3.reopen('b0000000-0000-0000-0000-000000000001')$$),
	('block', $$SELECT assignment_v3.block('{d0000000-0000-0000-0000-000000000009}', now(), now() + interval '1 hour')$$)) AS c (name, call);
GRANT SELECT ON pg_temp.answers TO PUBLIC;
SET ROLE planted_owner;
SELECT is(pg_temp.detail(call), '55000 Relation "public.allocations" does not belong to the owner of "bookings".', 'a stranger''s ledger: ' || name)
FROM pg_temp.answers;
SELECT lives_ok($$UPDATE bookings SET status = 'cancelled' WHERE id = 'b0000000-0000-0000-0000-000000000001'$$, '... a cancellation goes on without it');
SELECT lives_ok($$UPDATE bookings SET party_size = 3 WHERE id = 'b0000000-0000-0000-0000-000000000002'$$, '... and a change');
SELECT lives_ok($$INSERT INTO bookings (restaurant_id, party_size, start_at, end_at) SELECT restaurant_id, 2, start_at, end_at FROM bookings LIMIT 1$$, '... and a booking');
SELECT is((SELECT is_called FROM public.hits), false, 'nobody has run its triggers or defaults');
SET ROLE planted_stranger;
DROP TABLE public.allocations;
CREATE VIEW public.allocations AS SELECT 'table'::text AS resource_type, NULL::uuid AS resource_id, NULL::uuid AS restaurant_id, NULL::uuid AS booking_id,
	NULL::tstzrange AS "window", false AS shadow, false AS is_maintenance WHERE public.hit();
GRANT ALL ON public.allocations TO PUBLIC;
SET ROLE planted_owner;
SELECT matches(pg_temp.detail($$SELECT assignment_v3.process_booking('b0000000-0000-0000-0000-000000000002')$$),
	'^55000 Relation "public.allocations" is not a table\.', 'a view instead of one');
SELECT lives_ok($$UPDATE bookings SET status = 'no_show' WHERE id = 'b0000000-0000-0000-0000-000000000003'$$, '... and a no-show goes on');
RESET ROLE;
DROP VIEW public.allocations;
CREATE FOREIGN DATA WRAPPER planted;
CREATE SERVER planted FOREIGN DATA WRAPPER planted;
CREATE FOREIGN TABLE public.allocations (resource_type text, resource_id uuid, restaurant_id uuid, booking_id uuid, "window" tstzrange,
	shadow boolean, is_maintenance boolean) SERVER planted;
SET ROLE planted_owner;
SELECT matches(pg_temp.detail($$SELECT assignment_v3.process_booking('b0000000-0000-0000-0000-000000000002')$$),
	'^55000 Relation "public.allocations" is not a table\.', 'a foreign table instead of one');
RESET ROLE;
DROP FOREIGN TABLE public.allocations;
CREATE TABLE public.allocations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), resource_type text, resource_id uuid, restaurant_id uuid,
	booking_id uuid, "window" tstzrange, shadow boolean DEFAULT false, is_maintenance boolean DEFAULT false);
GRANT ALL ON public.allocations TO planted_owner;
SET ROLE planted_owner;
SELECT is((SELECT outcome FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000002')), 'confirmed', 'a superuser''s ledger is one');
SELECT is((SELECT count(*) FROM public.allocations), 1::bigint, '... and is written');
RESET ROLE;
DROP TABLE public.allocations;

-- in the place of what the app has had, by whoever owns the schema
CREATE PROCEDURE pg_temp.replace(name text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER TABLE public.%I RENAME TO had', name);
	SET LOCAL ROLE planted_stranger;
	EXECUTE format('CREATE VIEW public.%I AS SELECT * FROM public.had WHERE public.hit()', name);
	EXECUTE format('GRANT ALL ON public.%I TO PUBLIC', name);
	RESET ROLE;
END
$$;
CREATE PROCEDURE pg_temp.restore(name text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('DROP VIEW public.%I', name);
	EXECUTE format('ALTER TABLE public.had RENAME TO %I', name);
END
$$;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO planted_stranger;
CREATE TEMPORARY TABLE said (relation text, decision text, cancellation text);
GRANT ALL ON pg_temp.said TO PUBLIC;
DO $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'bookings' ORDER BY 1 LOOP
		CALL pg_temp.replace(name);
		SET LOCAL ROLE planted_owner;
		INSERT INTO pg_temp.said SELECT name, pg_temp.detail($q$SELECT assignment_v3.process_booking('b0000000-0000-0000-0000-000000000004')$q$),
			pg_temp.detail($q$UPDATE public.bookings SET status = CASE status WHEN 'cancelled' THEN 'pending' ELSE 'cancelled' END WHERE id = 'b0000000-0000-0000-0000-000000000005'$q$);
		RESET ROLE;
		CALL pg_temp.restore(name);
	END LOOP;
END
$$;
SELECT cmp_ok((SELECT count(*) FROM pg_temp.said), '>', 11::bigint, 'each relation of the app has been replaced by a view');
SELECT is_empty($$SELECT * FROM pg_temp.said WHERE decision !~ ('^55000 .*Relation "public.' || relation || '" is not a table\.')$$,
	'... and decisions say so');
SELECT is_empty($$SELECT * FROM pg_temp.said WHERE cancellation !~ '^(not refused|55000)'$$, '... and so do the triggers, where they need it');
SELECT is((SELECT is_called FROM public.hits), false, 'nothing planted has been called');
SET ROLE planted_owner;
SELECT is((SELECT outcome FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000004')), 'confirmed', 'all is well again');
RESET ROLE;
CREATE POLICY all_of_it ON restaurants TO planted_stranger USING (public.hit());
SET ROLE planted_owner;
SELECT is((SELECT outcome FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000006')), 'confirmed', 'policies for others don''t matter');
RESET ROLE;
SELECT is_empty('SELECT * FROM assignment_v3.verify()', 'all is sound');
SELECT * FROM finish();

DO $$
DECLARE
	flag text;
BEGIN
	FOR flag IN SELECT name FROM pg_settings WHERE name LIKE 'assignment\_v3.%' LOOP
		EXECUTE format('REVOKE ALL ON PARAMETER %s FROM planted_owner', flag);
	END LOOP;
END
$$;
REASSIGN OWNED BY planted_owner, planted_stranger TO :"superuser";
DROP OWNED BY planted_owner, planted_stranger CASCADE;
DROP ROLE planted_owner, planted_stranger;
