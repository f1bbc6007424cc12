-- The rows of the trail are written without the executor, so everything an INSERT does for an app's own tables has to be
-- done for them all the same: defaults, generated columns, domains and enums, CHECKs, triggers by row and by statement,
-- partitions, columns dropped and added, functions replaced.  Each could be left out, or stay as it was in a session
-- that has written before.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database trail_meets_the_apps_tables
\i :setup
SET assignment_v3.enabled TO on;
\set ECHO none
CALL test.open(1, 2, 2, 4, 4, 6, 6, 8, 8);
CREATE FUNCTION test.confirm(n int, hour numeric DEFAULT 12) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	CALL test.book(n, hour => hour);
	RETURN (SELECT concat_ws(' / ', d.outcome, d.reason) FROM test.decide(n) AS d);
END $$;
\set ECHO all

-- A session that has written
SELECT test.confirm(1);

-- Columns that the pipeline knows nothing of, one dropped again, one of our own moved to another type
CREATE DOMAIN test.short AS text CHECK (length(VALUE) < 60);
CREATE TYPE test.severity AS ENUM ('info', 'warning', 'error', 'critical');
CREATE SEQUENCE test.numbers;
CREATE FUNCTION test.shift() RETURNS text LANGUAGE sql STABLE AS $$SELECT 'early'$$;
ALTER TABLE observability_events DROP CONSTRAINT observability_events_severity_check;
ALTER TABLE observability_events
	ADD COLUMN gone int,
	ADD COLUMN number bigint NOT NULL DEFAULT nextval('test.numbers'),
	ADD COLUMN shift text NOT NULL DEFAULT test.shift(),
	ADD COLUMN about text GENERATED ALWAYS AS (source || ': ' || event_type) STORED,
	ADD COLUMN nothing text,
	ALTER COLUMN event_type TYPE test.short,
	ALTER COLUMN source TYPE varchar(40),
	ALTER COLUMN severity DROP DEFAULT,
	ALTER COLUMN severity TYPE test.severity USING severity::test.severity;
ALTER TABLE observability_events DROP COLUMN gone;
SELECT test.confirm(2);
SELECT about, severity, shift, number IS NOT NULL AS numbered, nothing FROM observability_events
WHERE booking_id = test.id('b', 2) ORDER BY number;

-- A function behind a default is replaced, an enum gets a label, a history column a wider type
CREATE OR REPLACE FUNCTION test.shift() RETURNS text LANGUAGE sql STABLE AS $$SELECT 'late'$$;
ALTER TYPE test.severity ADD VALUE 'notice';
ALTER TABLE booking_assignment_state_history ALTER COLUMN version TYPE bigint;
SELECT test.confirm(3);
SELECT DISTINCT shift FROM observability_events WHERE booking_id = test.id('b', 3);

-- A CHECK of the app refuses: rolled back, counted, told; gone, it is forgotten
ALTER TABLE booking_assignment_attempts ADD CONSTRAINT no_success CHECK (result <> 'success') NOT VALID;
SELECT test.confirm(4);
ALTER TABLE booking_assignment_attempts DROP CONSTRAINT no_success;
ALTER TABLE capacity_outbox ADD CONSTRAINT brief CHECK (length(dedupe_key) < 8) NOT VALID;
SELECT test.confirm(5);
ALTER TABLE capacity_outbox DROP CONSTRAINT brief;
SELECT outcome FROM test.decide(4);
SELECT n, context ->> 'sqlstate' AS sqlstate, count(*)
FROM observability_events AS e JOIN generate_series(1, 9) AS n ON e.booking_id = test.id('b', n)
WHERE e.event_type = 'coordinator.error' GROUP BY 1, 2 ORDER BY 1;

-- Triggers of the app: one that changes rows before, one that refuses to have them, one by statement with all new rows
CREATE FUNCTION test.sign() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.reason := coalesce(NEW.reason, 'signed'); RETURN NEW; END$$;
CREATE FUNCTION test.hush() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TABLE test.seen (name text, rows bigint);
CREATE FUNCTION test.see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO test.seen SELECT TG_TABLE_NAME, count(*) FROM fresh; RETURN NULL; END$$;
CREATE FUNCTION test.start() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO test.seen VALUES (TG_TABLE_NAME, NULL); RETURN NULL; END$$;
CREATE TRIGGER sign BEFORE INSERT ON booking_assignment_state_history FOR EACH ROW EXECUTE FUNCTION test.sign();
CREATE TRIGGER see AFTER INSERT ON observability_events REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION test.see();
CREATE TRIGGER start BEFORE INSERT ON observability_events FOR EACH STATEMENT EXECUTE FUNCTION test.start();
SELECT test.confirm(6);
SELECT version, to_state, reason FROM booking_assignment_state_history WHERE booking_id = test.id('b', 6) ORDER BY version;
SELECT name, rows FROM test.seen;
CREATE TRIGGER hush BEFORE INSERT ON booking_assignment_attempts FOR EACH ROW EXECUTE FUNCTION test.hush();
SELECT * FROM test.refused('SELECT test.confirm(7)');
DROP TRIGGER hush ON booking_assignment_attempts;

-- A trigger of the app that seats another booking in the middle of it
CREATE FUNCTION test.another() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.booking_id = test.id('b', 8) AND NEW.event_type = 'coordinator.confirmed' THEN
		PERFORM assignment_v3.process_booking(test.id('b', 9));
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER another BEFORE INSERT ON observability_events FOR EACH ROW EXECUTE FUNCTION test.another();
CALL test.book(9, hour => 15);
SELECT test.confirm(8, 15);
SELECT test.no(booking_id) AS n, count(*) FROM observability_events WHERE booking_id IN (test.id('b', 8), test.id('b', 9)) GROUP BY 1 ORDER BY 1;
DROP TRIGGER another ON observability_events;

-- Events in partitions, whose columns stand in another order
BEGIN;
ALTER TABLE observability_events RENAME TO observability_events_plain;
CREATE TABLE observability_events (id uuid NOT NULL DEFAULT gen_random_uuid(), created_at timestamptz NOT NULL, source text NOT NULL, event_type text NOT NULL,
	severity text NOT NULL, context jsonb NOT NULL, restaurant_id uuid, booking_id uuid, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at);
CREATE TABLE observability_events_old PARTITION OF observability_events FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE observability_events_new (booking_id uuid, restaurant_id uuid, gone int, context jsonb NOT NULL, severity text NOT NULL CHECK (severity <> 'critical'),
	event_type text NOT NULL, source text NOT NULL, created_at timestamptz NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid());
ALTER TABLE observability_events_new DROP COLUMN gone;
ALTER TABLE observability_events ATTACH PARTITION observability_events_new FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
CREATE TRIGGER see AFTER INSERT ON observability_events REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION test.see();
COMMIT;
TRUNCATE test.seen;
SELECT test.confirm(10, 18);
SELECT tableoid::regclass AS partition, event_type, severity, context ->> 'to' AS to_state FROM observability_events ORDER BY created_at, id;
SELECT name, rows FROM test.seen;

-- No partition for the events, those of an error neither: the caller hears of it
DROP TABLE observability_events_new;
SELECT code FROM test.refused('SELECT test.confirm(11, 18)');

-- The same message is told once
DROP TABLE observability_events;
ALTER TABLE observability_events_plain RENAME TO observability_events;
CALL test.book(12, hour => 20);
INSERT INTO capacity_outbox (event_type, dedupe_key, payload)
VALUES ('booking.assignment_state.confirmed', test.id('b', 12) || ':6', '{"mine": true}');
SELECT outcome FROM test.decide(12);
SELECT payload FROM capacity_outbox WHERE dedupe_key LIKE test.id('b', 12) || '%';
SELECT * FROM assignment_v3.verify();

\c :origin
DROP DATABASE trail_meets_the_apps_tables;
