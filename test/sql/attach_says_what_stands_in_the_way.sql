-- attach() must change nothing unless it can do all, and say what stands in the way and how to mend it; without it, each
-- function must say that nothing is attached.  It could fail half-way through its statements with an error of core
-- that names none of this, or by answering as if an unattached database were an empty one.
\set database attach_obstacles
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\set ECHO all
CREATE EXTENSION assignment_v3;

-- not attached: every function that needs to be says so
CREATE TABLE test.calls (call text);
INSERT INTO test.calls SELECT format('SELECT assignment_v3.%s', c) FROM unnest(ARRAY[
	'process_booking(gen_random_uuid())', 'process_due()', 'process_due(5, gen_random_uuid())',
	$$transition(gen_random_uuid(), 'failed')$$, 'requeue(gen_random_uuid())', 'reopen(gen_random_uuid())',
	'assign(gen_random_uuid(), ARRAY[gen_random_uuid()])', $$block(ARRAY[gen_random_uuid()], '2099-06-01', '2099-06-02')$$,
	'unblock(gen_random_uuid())', $$purge('1 day')$$, 'plan(gen_random_uuid())', 'alternatives(gen_random_uuid())', 'explain(gen_random_uuid())', 'mode()', 'mode(gen_random_uuid())',
	$$kill('why')$$, $$revive('why')$$, $$enqueue_existing('2020-01-01')$$, 'verify()', 'service_timeline(gen_random_uuid(), current_date)', 'rollout_report()',
	$$grant_access('pg_monitor')$$, $$grant_monitoring('pg_monitor')$$, $$revoke_monitoring('pg_monitor')$$, $$expose('public', 'pg_monitor')$$,
	$$set_rollout(NULL, 'active')$$, 'clear_rollout(NULL)', 'rollout_preview(10)', 'unfinished()',
	$$open_breaker(gen_random_uuid(), '1 hour', 'why')$$, $$reset_breaker(gen_random_uuid(), 'why')$$,
	'shadow_report()', 'shadow_side_effects()', 'stats()',
	$$enter_phase('development')$$, $$sign_off('development', 'qa', 'Ada')$$, $$record_incident('P1', 'bang')$$,
	$$gate('development')$$, $$gate_passed('development')$$]) AS c;
SELECT c.call, c.refusal, count(*) OVER (PARTITION BY c.refusal) AS times
FROM (SELECT substring(call FROM 'v3\.(\w+)') AS call, string_agg(r, ' ') AS refusal FROM test.calls, test.refusal(call) AS r GROUP BY calls.call) AS c
ORDER BY 1;
CALL assignment_v3.run();
\echo :LAST_ERROR_SQLSTATE
-- those that need nothing do not
SELECT count(*) > 0 AS answers FROM assignment_v3.transitions();
SELECT assignment_v3.rollout_bucket(NULL) IS NULL AS answers;
SELECT item, value, detail FROM assignment_v3.status() WHERE item IN ('attached', 'mode');
SELECT * FROM assignment_v3.detach();
-- every function of the extension is in one of the two lists, or a trigger, or internal
SELECT p.oid::regprocedure::text AS neither FROM pg_proc AS p
WHERE p.pronamespace = 'assignment_v3'::regnamespace AND p.prorettype <> 'trigger'::regtype
	AND NOT EXISTS (SELECT FROM test.calls WHERE call LIKE 'SELECT assignment\_v3.' || p.proname || '(%')
	AND obj_description(p.oid, 'pg_proc') NOT LIKE 'Internal%'
ORDER BY 1;

-- the missing extension
SELECT * FROM test.refusal('SELECT assignment_v3.attach()');
CREATE SCHEMA extensions;
SELECT * FROM test.refusal('SELECT assignment_v3.attach()');
SELECT count(*) AS relations FROM pg_class AS c WHERE c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace) AND c.relkind = 'r';
CREATE EXTENSION btree_gist SCHEMA extensions;

-- the wrong schema
SELECT * FROM test.refusal($$SELECT assignment_v3.attach('assignment_v3')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.attach('pg_catalog')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.attach('information_schema')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.attach(NULL)$$);
SELECT left(r, 5) AS sqlstate FROM test.refusal($$SELECT assignment_v3.attach('no_such_schema')$$) AS r;

-- All that can't be adopted is listed at once: a view, a table without a key, columns that are missing or of a wrong type, a
-- type that is no such enum, a name that is taken.
CREATE VIEW zones AS SELECT 1 AS id;
CREATE TABLE restaurants (id uuid, name text, is_active boolean);
CREATE TABLE bookings (id uuid PRIMARY KEY, restaurant_id uuid, party_size text, start_at timestamp, end_at timestamptz, status text,
	assigned_zone_id uuid, assignment_state_version bigint);
CREATE TYPE booking_assignment_state AS ENUM ('new', 'old');
CREATE TABLE capacity_outbox_event_type_dedupe_key_key (n int);
SELECT * FROM test.refusal('SELECT assignment_v3.attach()');
DROP VIEW zones;
DROP TABLE restaurants, bookings, capacity_outbox_event_type_dedupe_key_key;
DROP TYPE booking_assignment_state;
SELECT count(*) AS relations FROM pg_class AS c WHERE c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace) AND c.relkind = 'r';

-- tables of somebody else
DROP ROLE IF EXISTS regress_attach_other;
CREATE ROLE regress_attach_other;
CREATE TABLE restaurants (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL, is_active boolean NOT NULL DEFAULT true);
ALTER TABLE restaurants OWNER TO regress_attach_other;
SELECT * FROM test.refusal('SELECT assignment_v3.attach()');
ALTER TABLE restaurants OWNER TO CURRENT_USER;
CREATE TYPE booking_assignment_state AS ENUM ('created');
ALTER TYPE booking_assignment_state OWNER TO regress_attach_other;
SELECT * FROM test.refusal('SELECT assignment_v3.attach()');
DROP TYPE booking_assignment_state;
DROP ROLE regress_attach_other;
-- a live schema has all that makes a floor, or nothing of it
SELECT * FROM test.refusal('SELECT assignment_v3.attach()');
DROP TABLE restaurants;

-- one schema at a time
SELECT count(*) > 90 AS attached FROM assignment_v3.attach();
SELECT * FROM test.refusal($$SELECT assignment_v3.attach('extensions')$$);
SELECT count(*) AS steps FROM assignment_v3.detach();
SELECT * FROM assignment_v3.detach();
SELECT * FROM test.refusal('SELECT assignment_v3.verify()');
SELECT count(*) > 90 AS attached FROM assignment_v3.attach('extensions');
SELECT * FROM assignment_v3.verify();

-- the triggers are for the tables that attach() has bound
CREATE TABLE other_bookings (LIKE extensions.bookings);
CREATE TRIGGER validate BEFORE INSERT ON other_bookings FOR EACH ROW EXECUTE FUNCTION assignment_v3.booking_validate();
SELECT * FROM test.refusal($$INSERT INTO other_bookings (id, restaurant_id, party_size, start_at, end_at)
	VALUES (gen_random_uuid(), gen_random_uuid(), 2, '2099-06-01', '2099-06-02')$$);
DROP TABLE other_bookings;
SELECT * FROM test.refusal('SELECT assignment_v3.booking_validate()');
-- and for each row, where they look at one: a statement has none
CREATE TRIGGER by_statement AFTER UPDATE ON extensions.bookings EXECUTE FUNCTION assignment_v3.booking_record();
SELECT * FROM test.refusal('UPDATE extensions.bookings SET customer_name = NULL');
DROP TRIGGER by_statement ON extensions.bookings;
CREATE TRIGGER by_statement BEFORE DELETE ON extensions.booking_assignment_state_history
	EXECUTE FUNCTION assignment_v3.history_append_only();
SELECT * FROM test.refusal('DELETE FROM extensions.booking_assignment_state_history');
DROP TRIGGER by_statement ON extensions.booking_assignment_state_history;
-- attached, but a table has gone since
DROP TABLE extensions.table_adjacencies;
SELECT * FROM test.refusal('SELECT assignment_v3.plan(gen_random_uuid())');
SELECT action, object FROM assignment_v3.attach('extensions') WHERE action <> 'commented';
SELECT * FROM test.refusal('SELECT assignment_v3.plan(gen_random_uuid())') AS r WHERE r NOT LIKE '%does not exist';
-- or the schema has another name
ALTER SCHEMA extensions RENAME TO shop;
SELECT * FROM test.refusal('SELECT assignment_v3.verify()');
SELECT left(r, 5) AS sqlstate FROM test.refusal('SELECT assignment_v3.plan(gen_random_uuid())') AS r LIMIT 1;
SELECT action, object FROM assignment_v3.attach('shop');
SELECT * FROM assignment_v3.verify();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
