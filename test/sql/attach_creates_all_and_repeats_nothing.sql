-- CREATE EXTENSION must create no table, attach() on an empty schema all of them, with keys, constraints, indexes,
-- comments and row-level security, none of it belonging to the extension; a second call must find nothing to do, and a
-- call after something was lost mend just that.  It could fail by recognising what it has made only by name, by making a
-- default or check that needs the extension, or by a trigger that is taken for sound because it is there.
\set database attach_creates
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/schema_lines.sql
\set ECHO all
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
SELECT count(*) AS tables FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'assignment_v3') AND c.relkind IN ('r', 'p', 'S', 'm', 'f');

-- the report: steps by kind, and those that are more than a comment
CREATE TABLE test.report AS SELECT * FROM assignment_v3.attach() WITH ORDINALITY AS a (action, object, statement, n);
SELECT action, split_part(object, ' ', 1) AS kind, count(*) FROM test.report GROUP BY 1, 2 ORDER BY 1, 2;
SELECT action, object FROM test.report WHERE action NOT IN ('commented', 'enabled') ORDER BY n;
SELECT count(*) AS statements, count(*) FILTER (WHERE statement LIKE '%;') AS complete FROM test.report;

-- what there is now
\pset format unaligned
SELECT format('%I.%I', n.nspname, c.relname) AS relation, c.relrowsecurity AS secured,
	string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN '*' END), ', ' ORDER BY a.attnum) AS columns
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
WHERE n.nspname IN ('public', 'assignment_v3') AND c.relkind = 'r' GROUP BY n.nspname, c.relname, c.relrowsecurity
ORDER BY n.nspname DESC, c.relname;
\pset format aligned
SELECT con.conrelid::regclass AS relation, pg_get_constraintdef(con.oid) AS constraint
FROM pg_constraint AS con JOIN pg_class AS c ON c.oid = con.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'assignment_v3') AND con.contype IN ('p', 'u', 'x', 'f')
ORDER BY n.nspname DESC, c.relname, con.contype, con.conname;
SELECT split_part(pg_get_indexdef(i.indexrelid), ' ON ', 2) AS index, i.indisunique AS is_unique
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'assignment_v3') AND c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_constraint AS con WHERE con.conindid = i.indexrelid)
ORDER BY n.nspname DESC, 1;
SELECT t.tgrelid::regclass AS relation, t.tgname, t.tgfoid::regproc FROM pg_trigger AS t WHERE NOT t.tgisinternal ORDER BY 1::text, 2;
SELECT line AS without_comment FROM test.schema_lines() AS line WHERE line ~ '^(table|column)' AND line ~ 'comment $';

-- The extension owns code, never data: no member that holds rows, and nothing but triggers and its own views needs a member.
SELECT DISTINCT d.classid::regclass, CASE WHEN c.relkind IS NOT NULL THEN c.relkind END AS relkind
FROM pg_depend AS d LEFT JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'assignment_v3') ORDER BY 1;
SELECT d.classid::regclass AS needs_a_member, count(*) FROM pg_depend AS d
WHERE (d.refclassid, d.refobjid) IN (SELECT m.classid, m.objid FROM pg_depend AS m
	JOIN pg_extension AS e ON e.oid = m.refobjid AND m.refclassid = 'pg_extension'::regclass AND e.extname = 'assignment_v3' WHERE m.deptype = 'e')
	AND NOT EXISTS (SELECT FROM pg_depend AS m JOIN pg_extension AS e ON e.oid = m.refobjid AND e.extname = 'assignment_v3'
		WHERE m.classid = d.classid AND m.objid = d.objid AND m.refclassid = 'pg_extension'::regclass)
	AND d.deptype = 'n' AND d.classid <> 'pg_rewrite'::regclass GROUP BY 1;

-- again: nothing is reported and nothing is changed
CREATE TABLE test.before AS SELECT * FROM test.schema_lines() AS line;
SELECT count(*) AS lines FROM test.before;
SELECT attached_at AS first, xmin AS row FROM assignment_v3.binding \gset
SELECT * FROM assignment_v3.attach();
SELECT * FROM assignment_v3.attach('public');
SELECT attached_at = :'first' AND xmin = :'row' AS untouched, app_schema, version = (SELECT extversion FROM pg_extension WHERE extname = 'assignment_v3') AS version,
	attached_by = CURRENT_USER AS by_me FROM assignment_v3.binding;

-- what was lost comes back, and nothing else is touched
DROP TRIGGER zzz_assignment_v3_validate ON bookings;
ALTER TABLE bookings DISABLE TRIGGER zzz_assignment_v3_record;
CREATE OR REPLACE TRIGGER zzz_assignment_v3_append_only BEFORE UPDATE ON booking_assignment_state_history
	FOR EACH ROW EXECUTE FUNCTION assignment_v3.history_append_only();
DROP INDEX observability_events_booking_id_created_at_idx;
ALTER TABLE booking_table_assignments DROP CONSTRAINT booking_table_assignments_no_overlap;
ALTER TABLE assignment_v3.queue DISABLE ROW LEVEL SECURITY;
DROP TABLE assignment_v3.blocks;
SELECT action, object FROM assignment_v3.attach() WHERE action <> 'commented';
SELECT * FROM test.schema_lines() EXCEPT SELECT line FROM test.before;
SELECT line FROM test.before EXCEPT SELECT * FROM test.schema_lines();
-- a trigger that looks at fewer columns is not the one that is wanted
CREATE OR REPLACE TRIGGER zzz_assignment_v3_validate BEFORE UPDATE ON bookings FOR EACH ROW
	WHEN (OLD.party_size IS DISTINCT FROM NEW.party_size) EXECUTE FUNCTION assignment_v3.booking_validate();
SELECT action, object FROM assignment_v3.attach();
SELECT line FROM test.before EXCEPT SELECT * FROM test.schema_lines();
-- what goes by another name is not made twice
ALTER INDEX bookings_created_at_idx RENAME TO newest_bookings;
ALTER TABLE booking_table_assignments RENAME CONSTRAINT booking_table_assignments_no_overlap TO one_party_at_a_time;
SELECT * FROM assignment_v3.attach();
-- another search_path is bound anew
ALTER DATABASE attach_creates SET search_path TO public, pg_catalog;
\c
SET client_min_messages TO warning;
SELECT action, object FROM assignment_v3.attach();
SELECT search_path FROM assignment_v3.binding;
SELECT * FROM assignment_v3.attach();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
