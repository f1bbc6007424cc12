-- History must not be changed by hand nor truncated, not by the owner nor by a superuser; yet it must not stand in the
-- way of deleting a booking, whether the foreign key cascades or sets null.  A row inserted by hand is as good as any:
-- its event is written.  It could fail by asking who deletes instead of whether the booking is gone, by forgetting
-- TRUNCATE ... CASCADE of another table, or by taking any UPDATE that loses the booking for a foreign key's.
\set database history_append_only
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
SELECT test.book(n, 2, 18 + 24 * n, 20 + 24 * n) FROM generate_series(1, 5) AS n;
SELECT test.confirm(n, 1) FROM generate_series(1, 5) AS n;

-- by hand, as a superuser
SELECT * FROM test.refusal($$UPDATE booking_assignment_state_history SET reason = 'I never said that' WHERE booking_id = test.id('b', 1)$$);
SELECT * FROM test.refusal($$UPDATE booking_assignment_state_history SET reason = reason$$);
SELECT * FROM test.refusal($$UPDATE booking_assignment_state_history SET booking_id = test.id('b', 2), version = 9 WHERE booking_id = test.id('b', 1)$$);
SELECT * FROM test.refusal($$DELETE FROM booking_assignment_state_history WHERE booking_id = test.id('b', 1)$$);
SELECT * FROM test.refusal($$DELETE FROM booking_assignment_state_history$$);
SELECT * FROM test.refusal($$TRUNCATE booking_assignment_state_history$$);
SELECT * FROM test.refusal($$TRUNCATE bookings CASCADE$$);
SELECT * FROM test.refusal($$TRUNCATE restaurants CASCADE$$);
SELECT * FROM test.refusal($$INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state, version)
	VALUES (test.id('b', 1), 'created', 'assigned', 2) ON CONFLICT (booking_id, version) DO UPDATE SET reason = 'rewritten'$$);
-- nothing to change is nothing refused
UPDATE booking_assignment_state_history SET reason = 'x' WHERE version = 77;
DELETE FROM booking_assignment_state_history WHERE version = 77;
SELECT count(*) AS rows FROM booking_assignment_state_history;

-- by its owner, who is no superuser
DROP ROLE IF EXISTS regress_history_owner;
CREATE ROLE regress_history_owner;
BEGIN;
ALTER TABLE booking_assignment_state_history OWNER TO regress_history_owner;
GRANT CREATE, USAGE ON SCHEMA public TO regress_history_owner;
SET LOCAL ROLE regress_history_owner;
SELECT * FROM test.refusal($$DELETE FROM booking_assignment_state_history$$);
SELECT * FROM test.refusal($$TRUNCATE booking_assignment_state_history$$);
ROLLBACK;
DROP ROLE regress_history_owner;

-- with its booking
DELETE FROM bookings WHERE id = test.id('b', 1);
SELECT count(*) AS rows FROM booking_assignment_state_history WHERE booking_id = test.id('b', 1);
BEGIN ISOLATION LEVEL REPEATABLE READ;
DELETE FROM bookings WHERE id = test.id('b', 2);
SELECT count(*) AS rows FROM booking_assignment_state_history WHERE booking_id = test.id('b', 2);
ROLLBACK;
SELECT count(*) AS rows FROM booking_assignment_state_history WHERE booking_id = test.id('b', 2);
-- events and messages stay behind
SELECT count(*) AS events FROM observability_events WHERE booking_id = test.id('b', 1);
SELECT count(*) AS messages FROM capacity_outbox WHERE booking_id = test.id('b', 1);

-- a row by hand writes its event, several rows of several bookings theirs; a change of facts has none
SELECT test.book(11);
SELECT test.book(12, 2, 20, 22, 2);
INSERT INTO booking_assignment_state_history (booking_id, from_state, to_state, version, metadata, reason)
VALUES (test.id('b', 11), 'created', 'capacity_verified', 2, '{"by": "hand"}', NULL),
	(test.id('b', 12), 'created', 'failed', 2, '{}', 'no floor'),
	(test.id('b', 11), 'capacity_verified', 'capacity_verified', 3, '{}', 'facts_changed'),
	(test.id('b', 11), 'capacity_verified', 'assignment_pending', 4, DEFAULT, NULL);
SELECT right(booking_id::text, 2) AS n, restaurant_id, event_type, severity, context FROM observability_events
WHERE booking_id IN (test.id('b', 11), test.id('b', 12)) ORDER BY booking_id, context -> 'version';
-- verify() tells that the bookings have not taken these steps
SELECT rule, detail FROM assignment_v3.verify() WHERE booking_id IN (test.id('b', 11), test.id('b', 12)) ORDER BY booking_id, rule;
DELETE FROM bookings WHERE id IN (test.id('b', 11), test.id('b', 12));
SELECT * FROM test.unsound();

-- a foreign key that sets null instead: the rows stay and lose their booking, but not by hand
ALTER TABLE booking_assignment_state_history ALTER COLUMN booking_id DROP NOT NULL,
	DROP CONSTRAINT booking_assignment_state_history_booking_id_fkey,
	ADD CONSTRAINT booking_assignment_state_history_booking_id_fkey FOREIGN KEY (booking_id) REFERENCES bookings (id) ON DELETE SET NULL;
SELECT * FROM test.refusal($$UPDATE booking_assignment_state_history SET booking_id = NULL WHERE booking_id = test.id('b', 3)$$);
DELETE FROM bookings WHERE id = test.id('b', 3);
SELECT booking_id, from_state, to_state, version FROM booking_assignment_state_history WHERE booking_id IS NULL ORDER BY version;
SELECT * FROM test.refusal($$DELETE FROM booking_assignment_state_history WHERE booking_id IS NULL$$);
SELECT * FROM test.refusal($$UPDATE booking_assignment_state_history SET booking_id = test.id('b', 4), version = 50 WHERE booking_id IS NULL AND version = 2$$);
-- and a foreign key that does nothing: no orphan without a booking to lose
ALTER TABLE booking_assignment_state_history DROP CONSTRAINT booking_assignment_state_history_booking_id_fkey;
DELETE FROM bookings WHERE id = test.id('b', 4);
SELECT * FROM test.refusal($$UPDATE booking_assignment_state_history SET booking_id = NULL, reason = 'x' WHERE booking_id = test.id('b', 4)$$);
SELECT count(*) AS rows FROM booking_assignment_state_history WHERE booking_id = test.id('b', 4);
SELECT * FROM test.unsound();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
