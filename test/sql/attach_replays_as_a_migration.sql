-- The statements that attach() reports are meant for a migration file: run in order in another database that is just as
-- empty, by a session with any search_path, they must make the very same schema, and attach() must then find nothing to
-- do.  It could fail by a name that is not qualified, by a step out of order, or by work that attach() does and does not
-- report.
\set database attach_replays
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/schema_lines.sql
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
\set ECHO all
SELECT string_agg(statement, E'\n') AS migration FROM assignment_v3.attach() \gset
SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") AS attached FROM test.schema_lines() AS line \gset
SELECT search_path, app_schema, version, attached_by FROM assignment_v3.binding \gset attached_

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/schema_lines.sql
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
\set ON_ERROR_STOP on
SET search_path TO pg_temp;
:migration
RESET search_path;
\set ON_ERROR_STOP off
\set ECHO all
-- the same schema and the same binding
SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") = :'attached' AS same_schema, count(*) AS lines FROM test.schema_lines() AS line;
SELECT (search_path, app_schema, version, attached_by) = (:'attached_search_path', :'attached_app_schema', :'attached_version', :'attached_attached_by') AS same_binding
FROM assignment_v3.binding;
SELECT * FROM assignment_v3.attach();

-- and it works
INSERT INTO restaurants (id, name) VALUES ('a0000000-0000-0000-0000-000000000001', 'One');
INSERT INTO table_inventory (restaurant_id, table_number, capacity) VALUES ('a0000000-0000-0000-0000-000000000001', '1', 4);
SET assignment_v3.enabled TO on;
INSERT INTO bookings (restaurant_id, party_size, start_at, end_at)
VALUES ('a0000000-0000-0000-0000-000000000001', 4, '2099-06-01 18:00+00', '2099-06-01 20:00+00');
CALL assignment_v3.run();
SELECT * FROM assignment_v3.verify();

-- a call in a transaction that is rolled back is a rehearsal: it reports and leaves nothing
CREATE SCHEMA elsewhere;
SELECT count(*) AS steps FROM assignment_v3.detach();
BEGIN;
SELECT count(*) > 90 AS steps FROM assignment_v3.attach('elsewhere');
ROLLBACK;
SELECT count(*) AS left_behind FROM pg_class WHERE relnamespace = 'elsewhere'::regnamespace;

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
