\set ECHO none
-- An app for one test: the database named in :database, with both extensions, attached, everything at its default.
-- Schema test holds what makes a test short: ids by kind and number, restaurants with their tables, bookings, a
-- decision in words, an error taken apart, and a memory of all tables that tells which have changed since.  All times
-- are hours counted from the start of a day a month from now.  A test ends with \c :origin and drops its database.
\set SHOW_CONTEXT never
\set origin :DBNAME
SET client_min_messages TO warning;
DROP DATABASE IF EXISTS :database;
CREATE DATABASE :database TEMPLATE template0;
\c :database
SET client_min_messages TO warning;
SET TimeZone TO 'UTC';
SET DateStyle TO 'ISO, YMD';
SET statement_timeout TO '20s';
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
\o /dev/null
SELECT * FROM assignment_v3.attach();

CREATE SCHEMA test;
CREATE TABLE test.day (start timestamptz NOT NULL);
INSERT INTO test.day VALUES (date_trunc('day', now()) + interval '30 days');

-- Kinds: a restaurant, b booking, c zone, d table, e anything else.
CREATE FUNCTION test.id(kind text, n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
	$$SELECT (kind || '0000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE FUNCTION test.no(id uuid) RETURNS int LANGUAGE sql IMMUTABLE AS
	$$SELECT right(id::text, 12)::int$$;
CREATE FUNCTION test.at(hours numeric) RETURNS timestamptz LANGUAGE sql STABLE AS
	$$SELECT start + hours * interval '1 hour' FROM test.day$$;

-- A restaurant with one zone and movable tables T1, T2 and so on of these capacities; table 1 of restaurant 2 is d 201.
CREATE PROCEDURE test.open(restaurant int, VARIADIC capacities int[] DEFAULT '{}') LANGUAGE sql AS $$
	INSERT INTO restaurants (id, name) VALUES (test.id('a', restaurant), 'Restaurant ' || restaurant);
	INSERT INTO zones (id, restaurant_id, name)
	VALUES (test.id('c', restaurant), test.id('a', restaurant), 'Zone ' || restaurant);
	INSERT INTO table_inventory (id, restaurant_id, zone_id, table_number, capacity)
	SELECT test.id('d', restaurant * 100 + c.n::int), test.id('a', restaurant), test.id('c', restaurant), 'T' || c.n, c.seats
	FROM unnest(capacities) WITH ORDINALITY AS c (seats, n);
$$;
CREATE PROCEDURE test.book(n int, restaurant int DEFAULT 1, party int DEFAULT 2, hour numeric DEFAULT 18,
	hours numeric DEFAULT 2, status text DEFAULT 'pending', zone int DEFAULT NULL) LANGUAGE sql AS $$
	INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, status, assigned_zone_id)
	VALUES (test.id('b', n), test.id('a', restaurant), party, test.at(hour), test.at(hour + hours), status,
		test.id('c', zone));
$$;
-- Another writer's row in the ledger.
CREATE PROCEDURE test.seat(n int, table_no int, hour numeric DEFAULT 18, hours numeric DEFAULT 2) LANGUAGE sql AS $$
	INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at)
	VALUES (test.id('b', n), test.id('d', table_no), test.at(hour), test.at(hour + hours));
$$;
CREATE FUNCTION test.tables(ids uuid[]) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(t.table_number, '+' ORDER BY t.id) FROM table_inventory AS t WHERE t.id = ANY (ids)
$$;
CREATE FUNCTION test.decide(n int, trigger text DEFAULT 'manual',
	OUT outcome text, OUT reason text, OUT mode text, OUT state text, OUT strategy text, OUT tables text,
	OUT attempt int, OUT delayed boolean, OUT version int, OUT shadow_outcome text) LANGUAGE sql AS $$
	SELECT d.outcome, d.reason, d.mode, d.state, d.strategy, test.tables(d.table_ids), d.attempt, d.delay_ms > 0,
		d.version, d.shadow_outcome
	FROM assignment_v3.process_booking(test.id('b', n), trigger) AS d
$$;

-- What a statement that must fail fails with.
CREATE FUNCTION test.refused(statement text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	code := '00000';
	message := 'was not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT;
END;
$$;

-- All tables of the app and of the pipeline as they are now, and which of them have changed since.
CREATE FUNCTION test.contents() RETURNS TABLE (relation text, contents text) LANGUAGE plpgsql AS $$
BEGIN
	FOR relation IN
		SELECT format('%I.%I', n.nspname, c.relname)
		FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE n.nspname IN ('public', 'assignment_v3') AND c.relkind = 'r'
	LOOP
		EXECUTE format('SELECT md5(coalesce(string_agg(x::text, ''|'' ORDER BY x::text), '''')) FROM %s AS x', relation)
			INTO contents;
		RETURN NEXT;
	END LOOP;
END;
$$;
CREATE TABLE test.memory (relation text PRIMARY KEY, contents text NOT NULL);
CREATE PROCEDURE test.remember() LANGUAGE sql AS $$
	DELETE FROM test.memory;
	INSERT INTO test.memory SELECT * FROM test.contents();
$$;
CREATE FUNCTION test.changed() RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(c.relation, ', ' ORDER BY c.relation COLLATE "C"), 'nothing')
	FROM test.contents() AS c LEFT JOIN test.memory AS m USING (relation)
	WHERE c.contents IS DISTINCT FROM m.contents
$$;
\o
\pset null -
\set ECHO all
