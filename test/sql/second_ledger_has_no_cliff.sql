-- What a decision reads of the app's second ledger must not grow with the number of restaurants, nor with what the
-- restaurant has taken at other times.  It could fail by looking at all that is taken in the window, or at all rows of the
-- restaurant, for which the app has indexes too, instead of at the wanted tables; and by a plan that is right only as
-- long as the ledger is almost empty.
\set database 'second_ledger_has_no_cliff'
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/app.sql
\set ECHO all
\o
CREATE TABLE allocations (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	resource_type text NOT NULL,
	resource_id uuid NOT NULL,
	restaurant_id uuid NOT NULL,
	booking_id uuid REFERENCES bookings (id) ON DELETE CASCADE,
	"window" tstzrange NOT NULL,
	shadow boolean NOT NULL DEFAULT false,
	is_maintenance boolean NOT NULL DEFAULT false,
	UNIQUE (booking_id, resource_type, resource_id),
	EXCLUDE USING gist (resource_type WITH =, resource_id WITH =, "window" WITH &&) WHERE (NOT shadow) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX ON allocations (restaurant_id);
CREATE INDEX ON allocations USING gist ("window");
SET assignment_v3.enabled TO on;
CALL test.open(1, 2, 2, 4, 4);
CREATE VIEW test.reads AS
	SELECT t.seq_tup_read + (SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes AS i WHERE i.relid = t.relid) AS entries
	FROM pg_stat_user_tables AS t WHERE t.relname = 'allocations';
INSERT INTO allocations (resource_type, resource_id, restaurant_id, "window", is_maintenance)
VALUES ('table', test.id('d', 101), test.id('a', 1), tstzrange(test.at(18), test.at(23)), true);
ANALYZE allocations;
CALL test.book(1, hour => 19);
SELECT outcome, tables FROM test.decide(1);

-- thousands of rows that nobody has analysed: of others in the window, and of ours at other times
INSERT INTO allocations (resource_type, resource_id, restaurant_id, "window", is_maintenance)
SELECT 'table', test.id('d', n), test.id('a', 2), tstzrange(test.at(18), test.at(23)), true FROM generate_series(1000, 3999) AS n;
INSERT INTO allocations (resource_type, resource_id, restaurant_id, "window", is_maintenance)
SELECT 'table', test.id('d', 101 + n % 4), test.id('a', 1), tstzrange(test.at(48 + n), test.at(49 + n)), true FROM generate_series(0, 2999) AS n;
CALL test.book(2, party => 4, hour => 19);
DO $$ BEGIN PERFORM pg_stat_force_next_flush(); END $$;
CREATE TABLE test.before AS SELECT * FROM test.reads;
SELECT outcome, tables FROM test.decide(2);
DO $$ BEGIN PERFORM pg_stat_force_next_flush(); END $$;
SELECT r.entries - b.entries < 100 AS few FROM test.reads AS r, test.before AS b;
-- a session that plans with the full ledger, before anybody has analysed it
\c -
SET assignment_v3.enabled TO on;
CALL test.book(3, party => 4, hour => 19);
DROP TABLE test.before;
CREATE TABLE test.before AS SELECT * FROM test.reads;
SELECT outcome, tables FROM test.decide(3);
DO $$ BEGIN PERFORM pg_stat_force_next_flush(); END $$;
SELECT r.entries - b.entries < 100 AS few FROM test.reads AS r, test.before AS b;

-- an app whose constraint knows one kind of resource alone, has an enum for it, or has none of that form: the same answer
DROP TABLE test.before;
CREATE TYPE resource AS ENUM ('table', 'merge_group');
ALTER TABLE allocations DROP CONSTRAINT allocations_resource_type_resource_id_window_excl,
	ALTER COLUMN resource_type TYPE resource USING resource_type::resource,
	ADD CONSTRAINT by_enum EXCLUDE USING gist ("window" WITH &&, resource_type WITH =, resource_id WITH =) WHERE (NOT shadow);
SELECT table_number, verdict FROM assignment_v3.explain(test.id('b', 3)) ORDER BY 1;
CALL test.book(4, hour => 19);
INSERT INTO allocations (resource_type, resource_id, restaurant_id, "window", shadow)
VALUES ('table', test.id('d', 102), test.id('a', 1), tstzrange(test.at(18), test.at(23)), true);
SELECT assignment_v3.reopen(test.id('b', 1));
SELECT outcome, tables FROM test.decide(4);
ALTER TABLE allocations DROP CONSTRAINT by_enum, ADD CONSTRAINT by_id EXCLUDE USING gist (resource_id WITH =, "window" WITH &&)
	WHERE (resource_type = 'table' AND NOT shadow);
SELECT assignment_v3.reopen(test.id('b', 4));
INSERT INTO allocations (resource_type, resource_id, restaurant_id, "window", is_maintenance)
VALUES ('table', test.id('d', 102), test.id('a', 1), tstzrange(test.at(20), test.at(21)), true);
SELECT outcome, reason FROM test.decide(4);
ALTER TABLE allocations DROP CONSTRAINT by_id, ADD CONSTRAINT by_id EXCLUDE USING gist (resource_id WITH =, "window" WITH &&) WHERE (NOT shadow);
CALL test.book(5, hour => 19);
SELECT outcome, reason FROM test.decide(5);
DELETE FROM allocations WHERE resource_id = test.id('d', 102) AND is_maintenance;
SELECT outcome, tables FROM test.decide(5);

\set ECHO none
\c :origin
DROP DATABASE :database;
