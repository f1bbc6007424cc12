-- Bookings that are older than attach() must not be seated, and their guests mailed, by surprise: they are due only after
-- enqueue_existing(), or when the app itself asks for tables by their status.  It could fail by a queue filled by attach(),
-- by a trigger that queues whatever is updated, or by a second attach() that makes everything old again.
\set database old_bookings
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/live_app.sql
CREATE EXTENSION assignment_v3;
\set ECHO all
CALL live.open(1, 2, 2, 2, 2, 2, 2, 2);
DO $$ BEGIN FOR n IN 1 .. 6 LOOP CALL live.book(n); END LOOP; END $$;
CALL live.confirm(4, 104);
UPDATE bookings SET status = 'cancelled' WHERE id = live.id('b', 5);
UPDATE bookings SET status = 'waitlisted' WHERE id = live.id('b', 6);
SET assignment_v3.enabled TO on;
SELECT count(*) > 0 AS attached FROM assignment_v3.attach();
CREATE FUNCTION live.queue() RETURNS text LANGUAGE sql STABLE AS
	$$SELECT coalesce(string_agg(live.no(q.booking_id)::text, ' ' ORDER BY q.booking_id), 'empty') FROM assignment_v3.queue AS q$$;
SELECT live.queue();

-- mended in passing, by the app and by staff
UPDATE bookings SET notes = 'a window seat' WHERE id = live.id('b', 1);
UPDATE bookings SET party_size = 1 WHERE id = live.id('b', 1);
UPDATE bookings SET start_time = '18:30' WHERE id = live.id('b', 2);
UPDATE bookings SET status = 'pending_allocation' WHERE id = live.id('b', 3);
UPDATE bookings SET party_size = 1 WHERE id IN (live.id('b', 4), live.id('b', 6));
SELECT live.queue();
SELECT count(*) AS decisions FROM assignment_v3.process_due();

-- a new one is due at once, and an old one whose status asks for tables
CALL live.book(7);
DELETE FROM booking_table_assignments WHERE booking_id = live.id('b', 4);
UPDATE bookings SET status = 'pending' WHERE id IN (live.id('b', 4), live.id('b', 5), live.id('b', 6));
SELECT live.queue();
SELECT live.no(booking_id) AS n, outcome, reason FROM assignment_v3.process_due() ORDER BY 1;
SELECT n, status, state, version, party, tables = ledger AS seated FROM live.bookings(1, 2, 3, 4, 5, 6, 7);
-- only the guest of the one that was confirmed before has heard of it
SELECT live.no(booking_id) AS n, payload -> 'metadata' -> 'reopened' AS reopened FROM capacity_outbox ORDER BY 1;
SELECT from_state, to_state, version, reason FROM booking_assignment_state_history WHERE booking_id = live.id('b', 4) AND from_state = to_state ORDER BY version;

-- one that is old but has taken a step since is like any other
SELECT outcome FROM assignment_v3.process_booking(live.id('b', 1));
UPDATE bookings SET party_size = 2 WHERE id = live.id('b', 1);
SELECT live.queue();
SELECT live.no(booking_id) AS n, outcome FROM assignment_v3.process_due();

-- the rest when asked for; what is queued keeps its place when it is updated
SELECT assignment_v3.enqueue_existing('-infinity');
SELECT live.queue();
UPDATE assignment_v3.queue SET due_at = due_at + interval '1 hour';
UPDATE bookings SET party_size = 1 WHERE id IN (live.id('b', 2), live.id('b', 3));
SELECT live.queue(), bool_and(due_at > now()) AS kept FROM assignment_v3.queue;
UPDATE assignment_v3.queue SET due_at = now();
SELECT live.no(booking_id) AS n, outcome, reason FROM assignment_v3.process_due() ORDER BY 1;
SELECT n, status, state, version, party, tables = ledger AS seated FROM live.bookings(1, 2, 3);
SELECT * FROM assignment_v3.verify();

-- attach() again moves nothing, unless changes have gone unseen
SELECT recorded_since AS since FROM assignment_v3.binding \gset
SELECT * FROM assignment_v3.attach();
SELECT recorded_since = :'since' AS same FROM assignment_v3.binding;
ALTER DATABASE old_bookings SET search_path TO public, extensions;
\c
SET client_min_messages TO warning;
SELECT action, object FROM assignment_v3.attach();
SELECT recorded_since = :'since' AS same FROM assignment_v3.binding;
ALTER TABLE bookings DISABLE TRIGGER zzz_assignment_v3_record;
SELECT action, object FROM assignment_v3.attach();
SELECT recorded_since > :'since' AS later FROM assignment_v3.binding;
SELECT * FROM assignment_v3.verify();

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
