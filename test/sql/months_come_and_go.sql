-- attach(by_month => true) must make events and history of partitions, and all that holds of one table must hold of them:
-- each step has its event, nothing of the history is changed, deleted or truncated, not in a partition either, a forgotten
-- month stops no decision.  roll_months() must make the months to come with the rows that have fallen beside them, and drop
-- old ones so that neither verify() nor a booking's next step notices.  It could fail by writing events again for rows that
-- are only moved, by leaving a booking without its newest step, by leaving an older step of it behind, or by a second call
-- that finds something to do.
\set database months_come
\getenv srcdir PG_ABS_SRCDIR
\set attach_arguments 'by_month => true'
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
-- months by their distance from this one, names with the distance in the place of the month
CREATE FUNCTION test.month(n int) RETURNS timestamptz LANGUAGE sql STABLE AS
	$$SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month') AT TIME ZONE 'UTC'$$;
CREATE FUNCTION test.masked(line text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT COALESCE((SELECT replace(line, m.name, format('%s', m.n))
		FROM (SELECT n, to_char(test.month(n) AT TIME ZONE 'UTC', 'YYYY_MM') AS name FROM generate_series(-12, 12) AS n) AS m
		WHERE strpos(line, m.name) > 0), line)
$$;
CREATE VIEW test.parts AS
	SELECT i.inhparent::regclass AS parent, test.masked(c.relname) AS part, c.relrowsecurity AS secured,
		obj_description(c.oid) IS NOT NULL AS described,
		(SELECT count(*) FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) AS triggers
	FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE c.relkind = 'r';
-- what was done to one table, and whether it did what it says
CREATE FUNCTION test.rolled(keep interval DEFAULT NULL, ahead int DEFAULT 2) RETURNS TABLE (action text, object text)
LANGUAGE sql AS $$
	SELECT r.action, test.masked(r.object) FROM assignment_v3.roll_months(keep, ahead) AS r WHERE r.action NOT IN ('commented', 'enabled')
$$;
\set ECHO all
SELECT * FROM test.parts ORDER BY parent::text COLLATE "C", part COLLATE "C";
SELECT conrelid::regclass AS relation, pg_get_constraintdef(oid) AS constraint FROM pg_constraint
WHERE conrelid IN ('observability_events'::regclass, 'booking_assignment_state_history'::regclass) AND contype IN ('p', 'u', 'f') ORDER BY conrelid::regclass::text COLLATE "C", conname;
SELECT * FROM assignment_v3.attach();
SELECT * FROM assignment_v3.attach(by_month => true);
SELECT * FROM test.rolled();

-- decisions, staff and other writers
SET assignment_v3.enabled TO on;
SELECT test.book(n, 2, 12 + 2 * n, 14 + 2 * n) FROM generate_series(1, 5) AS n;
CALL assignment_v3.run();
UPDATE bookings SET party_size = 1 WHERE id = test.id('b', 4);
SELECT assignment_v3.reopen(test.id('b', 5));
CALL assignment_v3.run();
SELECT * FROM test.bookings(1, 4, 5);
SELECT DISTINCT test.masked(tableoid::regclass::text) AS lies_in FROM booking_assignment_state_history;
SELECT DISTINCT test.masked(tableoid::regclass::text) AS lies_in FROM observability_events;
INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state, version)
SELECT test.id('b', 1), 'confirmed', 'assignment_pending', max(version) + 1 FROM test.trail(1);
SELECT count(*) AS events_of_a_row_by_hand FROM observability_events WHERE booking_id = test.id('b', 1) AND context ->> 'to' = 'assignment_pending'
	AND context ->> 'from' = 'confirmed';
SET session_replication_role TO replica;
DELETE FROM booking_assignment_state_history WHERE booking_id = test.id('b', 1) AND to_state = 'assignment_pending' AND from_state = 'confirmed';
DELETE FROM observability_events WHERE booking_id = test.id('b', 1) AND context ->> 'from' = 'confirmed';
RESET session_replication_role;
SELECT * FROM test.unsound();

-- append-only, by whatever name
SELECT format('booking_assignment_state_history_%s', to_char(test.month(0) AT TIME ZONE 'UTC', 'YYYY_MM')) AS part \gset
SELECT * FROM test.refusal(format('DELETE FROM %I', :'part'));
SELECT * FROM test.refusal(format('UPDATE %I SET reason = %L', :'part', 'x'));
SELECT * FROM test.refusal(format('TRUNCATE %I', :'part'));
SELECT * FROM test.refusal($$TRUNCATE booking_assignment_state_history_rest$$);
SELECT * FROM test.refusal($$TRUNCATE booking_assignment_state_history$$);
-- nothing keeps a version unique over months but the lock of its booking, so verify() looks
SET session_replication_role TO replica;
INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state, version, created_at)
SELECT booking_id, from_state, to_state, version, created_at + interval '1 month' FROM booking_assignment_state_history
WHERE booking_id = test.id('b', 2) AND version = 3;
SELECT rule, detail FROM assignment_v3.verify() ORDER BY 1, 2;
DELETE FROM booking_assignment_state_history WHERE booking_id = test.id('b', 2) AND version = 3 AND created_at > now() + interval '20 days';
RESET session_replication_role;
SELECT * FROM test.unsound();
-- a deleted booking takes its history along
SELECT test.book(6, 2, 60, 62);
SELECT assignment_v3.transition(test.id('b', 6), 'failed');
DELETE FROM bookings WHERE id = test.id('b', 6);
SELECT count(*) AS rows FROM test.trail(6);

-- a partition that somebody has made can be truncated, until attach() sees it; since when all is recorded does not change
SELECT recorded_since AS since FROM assignment_v3.binding \gset
CREATE TABLE made_by_hand PARTITION OF booking_assignment_state_history FOR VALUES FROM ('2001-01-01 00:00+00') TO ('2001-02-01 00:00+00');
SELECT value, item FROM assignment_v3.status() WHERE item LIKE 'trigger%';
SELECT action, object FROM assignment_v3.attach();
SELECT * FROM test.refusal('TRUNCATE made_by_hand');
SELECT recorded_since = :'since' AS unmoved FROM assignment_v3.binding;
DROP TABLE made_by_hand;

-- Forgotten: this month's partitions and the next ones' are not there, and all goes on.  Made up for, no row is lost, and
-- no event is written again.
\set ECHO none
SELECT format('ALTER TABLE %s DETACH PARTITION %s', i.inhparent::regclass, i.inhrelid::regclass),
	format('INSERT INTO %s OVERRIDING SYSTEM VALUE SELECT * FROM %s', i.inhparent::regclass || '_rest', i.inhrelid::regclass),
	format('DROP TABLE %s', i.inhrelid::regclass)
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE c.relkind = 'r' AND c.relname ~ '\d$' ORDER BY i.inhrelid \gexec
\set ECHO all
SELECT parent, part FROM test.parts ORDER BY parent::text COLLATE "C", part COLLATE "C";
SELECT test.book(7, 2, 60, 62);
CALL assignment_v3.run();
SELECT * FROM test.bookings(7);
SELECT * FROM test.unsound();
SELECT count(*) AS events FROM observability_events \gset
SELECT action, test.masked(object) AS object FROM assignment_v3.roll_months(dry_run => true, ahead => 0) WHERE action <> 'commented';
SELECT parent, part FROM test.parts ORDER BY parent::text COLLATE "C", part COLLATE "C";
SELECT * FROM test.rolled(ahead => 0);
SELECT (SELECT count(*) FROM observability_events_rest) AS events_left, (SELECT count(*) FROM booking_assignment_state_history_rest) AS history_left,
	count(*) = :events AS events FROM observability_events;
SELECT * FROM test.rolled(ahead => 1);
SELECT * FROM test.rolled(ahead => 1);
SELECT * FROM test.parts ORDER BY parent::text COLLATE "C", part COLLATE "C";
SELECT * FROM test.unsound();
SELECT * FROM assignment_v3.attach();

-- Everything was four months ago, but for the last confirmation of booking 5: it lies two months back.
\set ECHO none
SELECT format('CREATE TABLE %s_old%s PARTITION OF %s FOR VALUES FROM (%L) TO (%L)', relation, n, relation, test.month(-n), test.month(1 - n))
FROM unnest(ARRAY['observability_events', 'booking_assignment_state_history']) AS r (relation), generate_series(2, 4) AS n \gexec
\set ECHO all
SET session_replication_role TO replica;
UPDATE bookings SET created_at = test.month(-4);
UPDATE assignment_v3.binding SET recorded_since = test.month(-5);
UPDATE booking_assignment_state_history SET created_at = created_at - (now() - test.month(-4)) + interval '1 day' WHERE NOT (booking_id = test.id('b', 5) AND version > 7);
UPDATE booking_assignment_state_history SET created_at = created_at - (now() - test.month(-2)) + interval '1 day' WHERE booking_id = test.id('b', 5) AND version > 7;
UPDATE observability_events SET created_at = created_at - (now() - test.month(-4)) + interval '1 day';
UPDATE booking_assignment_attempts SET created_at = created_at - (now() - test.month(-4)) + interval '1 day' WHERE booking_id <> test.id('b', 5);
RESET session_replication_role;
SELECT tableoid::regclass AS lies_in, count(*) FROM booking_assignment_state_history GROUP BY tableoid ORDER BY tableoid::regclass::text COLLATE "C";
SELECT * FROM assignment_v3.verify();
SELECT * FROM test.refusal($$SELECT assignment_v3.roll_months('-1 day')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.roll_months(ahead => -1)$$);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM test.refusal($$SELECT assignment_v3.roll_months()$$);
COMMIT;
-- two months and older: two partitions go whole; who has a step since leaves nothing behind, all others their newest
SELECT count(*) AS versions FROM test.trail(5);
SELECT action, object FROM assignment_v3.roll_months(now() - test.month(-2), 1);
SELECT tableoid::regclass AS lies_in, count(*) FROM booking_assignment_state_history GROUP BY tableoid ORDER BY tableoid::regclass::text COLLATE "C";
SELECT n, version, from_state, to_state FROM generate_series(1, 5) AS n, test.trail(n) ORDER BY n, version;
SELECT horizon = test.month(-2) AS horizon, history_rows, attempt_rows > 0 AS attempts, event_rows FROM assignment_v3.purges;
-- failures are not counted on from a new start that history has forgotten
SELECT count(*) AS attempts FROM booking_assignment_attempts WHERE created_at < test.month(-2);
SELECT count(*) AS events FROM observability_events;
SELECT * FROM assignment_v3.verify();
SELECT * FROM test.rolled(now() - test.month(-2), 1);
-- the bookings go on; a month later what one of them has left behind goes as well
UPDATE bookings SET party_size = 2 WHERE id = test.id('b', 4);
SELECT assignment_v3.reopen(test.id('b', 5));
CALL assignment_v3.run();
SELECT * FROM assignment_v3.verify();
SELECT payload #>> '{metadata,reopened}' AS reopened FROM capacity_outbox WHERE booking_id IN (test.id('b', 4), test.id('b', 5)) ORDER BY created_at DESC LIMIT 2;
SELECT action, object FROM assignment_v3.roll_months(now() - test.month(-1), 1);
SELECT n, min(version), count(*) FROM generate_series(1, 5) AS n, test.trail(n) GROUP BY n ORDER BY n;
SELECT * FROM assignment_v3.verify();
-- a hole in what is younger is none of its making
SET session_replication_role TO replica;
DELETE FROM booking_assignment_state_history WHERE booking_id = test.id('b', 4) AND version = (SELECT max(version) - 1 FROM test.trail(4));
DELETE FROM booking_assignment_state_history WHERE booking_id = test.id('b', 1);
RESET session_replication_role;
SELECT rule, right(booking_id::text, 1) AS n FROM assignment_v3.verify() ORDER BY 1, 2;

-- what is there already is adopted as it is, and attach() says so
SELECT count(*) > 0 AS detached FROM assignment_v3.detach();
CREATE SCHEMA plain;
SELECT count(*) > 0 AS attached FROM assignment_v3.attach('plain');
SELECT action, object, statement FROM assignment_v3.attach('plain', by_month => true);
SELECT * FROM assignment_v3.roll_months();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
