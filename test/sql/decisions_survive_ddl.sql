-- A session keeps plans, indexes and column numbers of the app's tables; a migration may change all of them under it.
-- What comes next must be the right answer, PostgreSQL's own refusal of the migration, or one error that says what has
-- changed and how to go on, raised before anything is written; never a counted failure, a wrong result or a crash.  The
-- app's own writes must go on meanwhile.  It could fail where a kept plan or a look-up without the executor reads a
-- column as the type it had before.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database decisions_survive_ddl
\i :setup
\set ECHO none
SET assignment_v3.enabled = on;
SET assignment_v3.breaker_threshold = 1;
CALL test.open(1, 2, 2, 2, 4);
INSERT INTO table_adjacencies VALUES (test.id('d', 101), test.id('d', 102));
INSERT INTO table_holds (id, restaurant_id, start_at, end_at, expires_at)
VALUES (test.id('e', 1), test.id('a', 1), test.at(0), test.at(30), now() + interval '1 day');
INSERT INTO table_hold_windows (hold_id, table_id, restaurant_id, start_at, end_at, expires_at)
VALUES (test.id('e', 1), test.id('d', 101), test.id('a', 1), test.at(0), test.at(30), now() + interval '1 day');
CREATE TABLE allocations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), resource_type text NOT NULL, resource_id uuid NOT NULL,
	restaurant_id uuid NOT NULL, booking_id uuid, "window" tstzrange NOT NULL, shadow boolean NOT NULL, is_maintenance boolean NOT NULL);
CALL test.book(1, hour => 1);
CALL test.book(2, hour => 1);
CALL test.book(3, party => 6);

-- What a session with all its plans answers to a booking that can be seated, one that cannot, to plan() and explain();
-- first as things are, then after a migration that is rolled back.
CREATE FUNCTION test.answers() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
	failed text;
BEGIN
	SELECT concat_ws(' / ', d2.outcome, d3.outcome || ' ' || d3.reason, p.plans, e.verdicts,
			(SELECT count(*) FROM booking_table_assignments), (SELECT count(*) FROM allocations))
		INTO said
		FROM assignment_v3.process_booking(test.id('b', 2)) AS d2
		CROSS JOIN LATERAL assignment_v3.process_booking(test.id(CASE WHEN d2.outcome <> '' THEN 'b' END, 3)) AS d3
		CROSS JOIN LATERAL (SELECT string_agg(p.capacity::text, ' ' ORDER BY p.rank) AS plans
			FROM assignment_v3.plan(test.id('b', 2)) AS p) AS p
		CROSS JOIN LATERAL (SELECT string_agg(x.verdict, ' ' ORDER BY x.table_id) AS verdicts
			FROM assignment_v3.explain(test.id('b', 2)) AS x) AS e;
	RETURN said;
EXCEPTION WHEN SQLSTATE '55000' THEN
	GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, failed = PG_EXCEPTION_DETAIL;
	RETURN '55000 ' || said || ' ' || failed;
END;
$$;
CREATE FUNCTION test.answers_after(migration text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	BEGIN
		EXECUTE migration;
	EXCEPTION WHEN OTHERS THEN
		RETURN 'refused';
	END;
	BEGIN
		said := test.answers();
		RAISE EXCEPTION USING ERRCODE = 'ZZ000';
	EXCEPTION
		WHEN SQLSTATE 'ZZ000' THEN
			RETURN said;
		WHEN OTHERS THEN
			RETURN SQLSTATE || ' ' || SQLERRM;
	END;
END;
$$;
CREATE TABLE test.answered (relation text, col text, migration text, answer text);
CREATE PROCEDURE test.migrate(statement text, relation text, col text, name text) LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	BEGIN
		said := test.answers_after(statement);
		RAISE EXCEPTION USING ERRCODE = 'ZZ000';
	EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
		INSERT INTO test.answered VALUES (relation, col, name, said);
	END;
END;
$$;
CREATE PROCEDURE test.migrate_everything() LANGUAGE plpgsql AS $$
DECLARE
	m record;
BEGIN
	FOR m IN
		SELECT c.relname, a.attname, x.name, format(x.statement, c.relname, a.attname, x.name) AS statement
		FROM pg_class AS c
		JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		CROSS JOIN LATERAL (
			VALUES ('dropped', 'ALTER TABLE %1$I DROP COLUMN %2$I CASCADE'), ('renamed', 'ALTER TABLE %1$I RENAME %2$I TO renamed')
			UNION ALL
			SELECT t.name, 'ALTER TABLE %1$I ALTER %2$I TYPE %3$s USING ' || t.conversion
			FROM (VALUES
				('uuid', 'text', '%2$I::text'), ('uuid', 'bytea', 'decode(%2$I::text, ''escape'')'),
				('text', 'varchar(99)', '%2$I'), ('text', 'integer', 'length(%2$I)'),
				('integer', 'bigint', '%2$I'), ('integer', 'smallint', '%2$I'), ('integer', 'numeric', '%2$I'), ('integer', 'text', '%2$I'),
				('timestamptz', 'timestamp', '%2$I'), ('timestamptz', 'text', '%2$I'),
				('boolean', 'integer', '%2$I::int'), ('boolean', 'text', '%2$I::text'),
				('jsonb', 'json', '%2$I'), ('jsonb', 'text', '%2$I::text'),
				('booking_assignment_state', 'text', '%2$I::text'), ('tstzrange', 'tsrange', 'tsrange(lower(%2$I)::timestamp, upper(%2$I)::timestamp)')
			) AS t (old, name, conversion)
			WHERE a.atttypid = t.old::regtype
		) AS x (name, statement)
		WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('restaurants', 'zones', 'table_inventory', 'table_adjacencies',
			'bookings', 'booking_table_assignments', 'booking_assignment_state_history', 'booking_assignment_attempts',
			'observability_events', 'capacity_outbox', 'table_holds', 'table_hold_windows', 'allocations')
		ORDER BY 1, 2, 3
	LOOP
		CALL test.migrate(m.statement, m.relname, m.attname, m.name);
	END LOOP;
END;
$$;
\set ECHO all
SELECT outcome, tables FROM test.decide(1);
CALL test.migrate('SELECT', NULL, NULL, 'nothing');
SELECT answer FROM test.answered;
CALL test.remember();
CALL test.migrate_everything();
-- every error is the one that names what has changed; nothing was counted as a failure of the booking
SELECT * FROM test.answered AS a
WHERE a.answer NOT IN (SELECT x.answer FROM test.answered AS x WHERE x.migration = 'nothing')
	AND a.answer <> 'refused'
	AND NOT (a.answer ~ '^55000 ' AND a.answer ~ format('"%s"', a.relation)
		AND (a.answer ~ format('"%s"', a.col) OR a.answer ~ 'has no (index|exclusion constraint)'));
-- which migrations it goes on under with the very same answers
SELECT relation, migration, string_agg(col, ' ' ORDER BY col) AS columns
FROM test.answered WHERE answer ~ '^confirmed' AND migration <> 'nothing' GROUP BY relation, migration ORDER BY relation, migration;
SELECT count(*) > 150 AS many_are_errors FROM test.answered WHERE answer ~ '^55000';
SELECT answer FROM test.answered WHERE (relation, col, migration) IN (('table_inventory', 'max_party_size', 'numeric'), ('bookings', 'party_size', 'numeric'));
-- all was rolled back, and the session is none the worse
SELECT test.changed();
SELECT test.answers() = (SELECT answer FROM test.answered WHERE migration = 'nothing') AS as_before;

-- Now for good.  What is of no concern, and what PostgreSQL and the kept plans follow.
DELETE FROM table_holds;
CALL test.book(10, hour => 10);
ALTER TABLE bookings ADD COLUMN notes text NOT NULL DEFAULT 'none';
ALTER TABLE bookings DROP COLUMN customer_phone;
SELECT outcome, tables FROM test.decide(10);
CALL test.book(11, hour => 11);
ALTER TABLE bookings ALTER party_size TYPE bigint;
ALTER TABLE table_inventory ALTER capacity TYPE smallint, ALTER min_party_size TYPE bigint;
SELECT outcome, tables FROM test.decide(11);
CALL test.book(12, hour => 12);
CREATE TYPE booking_status AS ENUM ('pending', 'pending_allocation', 'confirmed', 'checked_in', 'completed', 'cancelled', 'no_show');
ALTER TABLE bookings DROP CONSTRAINT bookings_status_check, ALTER status DROP DEFAULT,
	ALTER status TYPE booking_status USING status::booking_status, ALTER status SET DEFAULT 'pending';
SELECT outcome, tables FROM test.decide(12);
ALTER TYPE booking_status ADD VALUE 'waitlisted';
ALTER TYPE booking_assignment_state ADD VALUE 'waitlisted';
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 12);
ALTER TYPE booking_status RENAME TO reservation_status;
UPDATE bookings SET status = 'pending' WHERE id = test.id('b', 12);
SELECT outcome, tables FROM test.decide(12);

-- a label that is needed
ALTER TYPE booking_assignment_state RENAME VALUE 'assigned' TO 'seated';
SELECT detail FROM test.refused($$SELECT * FROM assignment_v3.process_booking(test.id('b', 3))$$);
ALTER TYPE booking_assignment_state RENAME VALUE 'seated' TO 'assigned';
SELECT outcome, reason FROM test.decide(3);

-- indexes: another one will do, and none at all is an error
CREATE INDEX another ON table_inventory (restaurant_id);
ALTER TABLE table_inventory DROP CONSTRAINT table_inventory_restaurant_id_table_number_key;
DROP INDEX IF EXISTS table_inventory_restaurant_id_idx;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, status)
SELECT test.id('b', n), test.id('a', 1), 2, test.at(n), test.at(n + 1), 'pending' FROM generate_series(13, 29) AS n;
SELECT outcome, tables FROM test.decide(13);
DROP INDEX another;
SELECT * FROM test.refused($$SELECT * FROM assignment_v3.process_booking(test.id('b', 14))$$);
SELECT action, object FROM assignment_v3.attach();
SELECT outcome, tables FROM test.decide(14);
REINDEX TABLE booking_table_assignments;
VACUUM FULL bookings;
VACUUM FULL table_inventory;
SELECT outcome, tables FROM test.decide(15);

-- a table under another name: the app's own writes go on, decisions say what is missing, kill() still answers
ALTER TABLE table_holds RENAME TO holds;
ALTER TABLE capacity_outbox RENAME payload TO body;
UPDATE bookings SET party_size = 1 WHERE id = test.id('b', 16);
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 15);
SELECT * FROM test.refused($$SELECT * FROM assignment_v3.process_booking(test.id('b', 16))$$);
SELECT code, message FROM test.refused($$SELECT * FROM assignment_v3.process_due()$$);
SELECT code, message FROM test.refused($$SELECT * FROM assignment_v3.assign(test.id('b', 16), ARRAY[test.id('d', 101)])$$);
SELECT code, message FROM test.refused($$SELECT * FROM assignment_v3.requeue(test.id('b', 16))$$);
SELECT assignment_v3.kill('migration');
SELECT outcome, reason FROM test.decide(16);
CALL assignment_v3.run();
SELECT assignment_v3.revive('migration');
-- detach, migrate, attach
SELECT count(*) > 0 AS detached FROM assignment_v3.detach();
ALTER TABLE holds RENAME TO table_holds;
ALTER TABLE capacity_outbox RENAME body TO payload;
SELECT count(*) > 0 AS attached FROM assignment_v3.attach();
SELECT outcome, tables FROM test.decide(16);

-- bookings itself: there is nothing to work on, and detach() finds its triggers wherever they are
ALTER TABLE bookings RENAME TO reservations;
SELECT code, message, hint FROM test.refused($$UPDATE reservations SET party_size = 1$$);
SELECT count(*) > 0 AS detached FROM assignment_v3.detach();
UPDATE reservations SET party_size = 1 WHERE id = test.id('b', 29);
ALTER TABLE reservations RENAME TO bookings;
SELECT count(*) > 0 AS attached FROM assignment_v3.attach();

-- without the exclusion constraint nothing is seated, and attach() brings it back
SELECT conname AS excludes FROM pg_constraint WHERE conrelid = 'booking_table_assignments'::regclass AND contype = 'x' \gset
ALTER TABLE booking_table_assignments DROP CONSTRAINT :"excludes";
SELECT code, message, detail FROM test.refused($$SELECT * FROM assignment_v3.process_booking(test.id('b', 17))$$);
SELECT action, object FROM assignment_v3.attach();
SELECT outcome, tables FROM test.decide(17);

-- a table dropped and made again, and a second ledger that comes and goes while the session looks on
DROP TABLE observability_events;
SELECT detail FROM test.refused($$SELECT * FROM assignment_v3.process_booking(test.id('b', 18))$$);
SELECT action, object FROM assignment_v3.attach() WHERE object ~ '^table';
SELECT outcome, tables FROM test.decide(18);
DROP TABLE allocations;
SELECT outcome, tables FROM test.decide(19);
CREATE TABLE allocations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), resource_type text NOT NULL, resource_id uuid NOT NULL,
	restaurant_id uuid NOT NULL, booking_id uuid, "window" tstzrange NOT NULL, shadow boolean NOT NULL, is_maintenance boolean NOT NULL);
INSERT INTO allocations (resource_type, resource_id, restaurant_id, "window", shadow, is_maintenance)
VALUES ('table', test.id('d', 101), test.id('a', 1), tstzrange(test.at(0), test.at(99)), false, true);
SELECT outcome, tables FROM test.decide(20);
SELECT count(*) AS in_second_ledger FROM allocations WHERE booking_id = test.id('b', 20);
SELECT * FROM assignment_v3.verify();
SELECT count(*) AS failures FROM booking_assignment_attempts WHERE reason = 'error';
\set ECHO none
\c :origin
DROP DATABASE decisions_survive_ddl;
