-- Citus keeps the rows of a table in shards, which are other tables, and leaves what the table held before on the disk of
-- the node; it notes the table in pg_dist_partition and tells every session.  Decisions read the table itself: they would
-- confirm a booking as it was then, or overlook the kill switch, and nobody would see what they wrote.  So they must refuse,
-- whichever bound table it is, in a session that has decided before, too, and go on when the rows are back; the app's
-- own writes go on all the time.  Here a table of that name stands in for the catalog of Citus; what Citus itself makes of
-- the schema is told in docs/scaling.md.
\set database nothing_is_decided
\getenv srcdir PG_ABS_SRCDIR
\set attach_arguments 'by_restaurant => true'
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
SET allow_system_table_mods TO on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass PRIMARY KEY, partmethod "char" NOT NULL);
RESET allow_system_table_mods;
CREATE TABLE test.other ();
-- as Citus does, with an invalidation of the table
CREATE PROCEDURE test.spread(relation regclass) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO pg_dist_partition VALUES (relation, 'h');
	EXECUTE format('ALTER TABLE %s RESET (fillfactor)', relation);
END;
$$;
CREATE PROCEDURE test.gather(relation regclass) LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM pg_dist_partition WHERE logicalrelid = relation;
	EXECUTE format('ALTER TABLE %s RESET (fillfactor)', relation);
END;
$$;
-- relations whose spreading lets a decision through
CREATE FUNCTION test.let_through(relations regclass[]) RETURNS SETOF regclass LANGUAGE plpgsql AS $$
DECLARE
	relation regclass;
BEGIN
	FOREACH relation IN ARRAY relations LOOP
		CALL test.spread(relation);
		BEGIN
			PERFORM assignment_v3.process_booking(test.id('b', 2));
			RETURN NEXT relation;
		EXCEPTION WHEN object_not_in_prerequisite_state THEN
			NULL;
		END;
		CALL test.gather(relation);
	END LOOP;
END;
$$;
\set ECHO all
SET assignment_v3.enabled TO on;
SELECT test.book(1), test.book(2), test.book(3);
CALL test.spread('test.other');
SELECT outcome FROM assignment_v3.process_booking(test.id('b', 1));

CALL test.spread('capacity_outbox');
CALL test.spread('assignment_v3.queue');
SELECT * FROM test.refusal('SELECT assignment_v3.process_booking(test.id(''b'', 2))');
SELECT * FROM test.refusal('SELECT assignment_v3.process_due()');
CALL assignment_v3.run();
SELECT c.call, left(r.line, 30) AS refusal
FROM (VALUES ('plan(test.id(''b'', 2))'), ('assign(test.id(''b'', 2), test.ids(''d'', 1))'), ('requeue(test.id(''b'', 1))'),
	('transition(test.id(''b'', 2), ''failed'')')) AS c (call), test.refusal('SELECT assignment_v3.' || c.call) AS r (line)
WHERE r.line ~ '^[0-9A-Z]{5} ';
-- the app goes on, and a disabled pipeline answers as ever
UPDATE bookings SET party_size = 3 WHERE id = test.id('b', 3);
SET assignment_v3.enabled TO off;
SELECT outcome, reason FROM assignment_v3.process_booking(test.id('b', 2));
SET assignment_v3.enabled TO on;
CALL test.gather('capacity_outbox');
CALL test.gather('assignment_v3.queue');

-- every table that attach() has bound and a decision reads or writes
SELECT test.let_through(ARRAY['restaurants', 'zones', 'table_inventory', 'table_adjacencies', 'bookings', 'booking_table_assignments',
	'booking_assignment_state_history', 'booking_assignment_attempts', 'observability_events', 'capacity_outbox', 'table_holds',
	'table_hold_windows', 'booking_assignment_shadow_results', 'assignment_v3.queue', 'assignment_v3.circuits', 'assignment_v3.pauses',
	'assignment_v3.blocks', 'assignment_v3.rollout', 'assignment_v3.kill_switch', 'assignment_v3.binding']::regclass[]);
CALL assignment_v3.run();
SELECT * FROM test.bookings(1, 2, 3);
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
