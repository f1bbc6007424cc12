-- What a view costs must not grow with what is kept: with 60,000 old events and 40,000 old bookings, never analysed, the views
-- read a few pages of each and never the whole.  They could fall to a sequential scan by one cast around created_at, or
-- because the index on it knows nothing of the newest pages.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database newest
\i :setup
SET assignment_v3.enabled = on;
CALL test.open(1, 2, 4);
ALTER TABLE observability_events SET (autovacuum_enabled = off);
ALTER TABLE bookings SET (autovacuum_enabled = off);
SET session_replication_role TO replica;
INSERT INTO observability_events (created_at, source, event_type, context)
SELECT now() - interval '60 days' + n * interval '1 minute', 'assignment.coordinator', 'coordinator.confirmed', '{"mode": "active", "trigger": "run", "duration_ms": 1}'
FROM generate_series(1, 60000) AS n;
INSERT INTO bookings (restaurant_id, party_size, start_at, end_at, created_at, status, assignment_state)
SELECT test.id('a', 1), 2, at, at + interval '1 hour', at - interval '7 days', CASE WHEN n % 2 = 0 THEN 'pending' ELSE 'confirmed' END,
	CASE WHEN n % 2 = 0 THEN 'manual_review' ELSE 'confirmed' END::booking_assignment_state
FROM generate_series(1, 40000) AS n, LATERAL (SELECT now() - interval '60 days' + n * interval '2 minutes') AS t (at);
SET session_replication_role TO origin;
SELECT brin_summarize_new_values('observability_events_created_at_idx') > 0 AS summarized;
CALL test.book(1);
SELECT outcome FROM test.decide(1);

SELECT pg_stat_force_next_flush() IS NOT NULL AS counted_from_here;
BEGIN;
SELECT count(*) FROM assignment_v3.health;
SELECT count(*) FROM assignment_v3.alerts;
SELECT count(*) FROM assignment_v3.confirmation_rate;
SELECT count(*) FROM assignment_v3.latency;
SELECT count(*) FROM assignment_v3.manual_review_queue;
SELECT count(*) FROM assignment_v3.stuck_bookings;
SELECT count(*) FROM assignment_v3.slots;
-- nine look-ups of events: each reads the pages that belong to its hours, and those that are not summarized yet
SELECT relname, coalesce(seq_scan, 0) AS whole, coalesce(idx_tup_fetch, 0) < 9 * 8000 AS little FROM pg_stat_xact_user_tables
WHERE relname IN ('observability_events', 'bookings') ORDER BY 1;
COMMIT;
-- the index keeps up by itself
SELECT reloptions FROM pg_class WHERE relname = 'observability_events_created_at_idx';
\c :origin
DROP DATABASE newest;
