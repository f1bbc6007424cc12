/*-------------------------------------------------------------------------
 *
 * live_fill.sql
 *		What the tables of a live app (live_app.sql) hold besides the bookings
 *		that workload.sql has loaded: dates and local times, customers, slots,
 *		the second ledger, and what the app's own path has left of each booking
 *		that it has confirmed.
 *
 * Runs after workload.sql with bulk on, before the indexes are made again.
 *
 *-------------------------------------------------------------------------
 */
\set ON_ERROR_STOP on
\set QUIET on

SET client_min_messages TO warning;
SET session_replication_role TO replica;
SET synchronous_commit TO off;
SET work_mem TO '256MB';

INSERT INTO customers (id, restaurant_id, email, full_name)
SELECT bench.id('customer', row_number() OVER ()), restaurant_id, customer_email, customer_name
FROM bookings;

CREATE TEMP TABLE local AS
SELECT b.id, b.restaurant_id, b.party_size, b.status = 'confirmed' AS seated, c.id AS customer_id,
	b.start_at AT TIME ZONE r.timezone AS starts, b.end_at AT TIME ZONE r.timezone AS ends, a.table_id, t.zone_id,
	bench.id('allocation', row_number() OVER ()) AS allocation_id
FROM bookings b
	JOIN restaurants r ON r.id = b.restaurant_id
	JOIN customers c ON c.email = b.customer_email
	LEFT JOIN booking_table_assignments a ON a.booking_id = b.id
	LEFT JOIN table_inventory t ON t.id = a.table_id;

INSERT INTO booking_slots (restaurant_id, slot_date, slot_time, reserved_count)
SELECT restaurant_id, starts::date, starts::time, coalesce(sum(party_size) FILTER (WHERE seated), 0)
FROM local
GROUP BY 1, 2, 3;

UPDATE bookings b
SET booking_date = l.starts::date, start_time = l.starts::time, end_time = l.ends::time, customer_id = l.customer_id,
	idempotency_key = 'web-' || b.id, confirmation_token = md5(b.id::text), assigned_zone_id = l.zone_id,
	auto_assign_idempotency_key = CASE WHEN l.seated THEN 'auto-' || b.id END,
	slot_id = CASE WHEN l.seated THEN s.id END
FROM local l
	JOIN booking_slots s ON s.restaurant_id = l.restaurant_id AND s.slot_date = l.starts::date
		AND s.slot_time = l.starts::time
WHERE l.id = b.id;

INSERT INTO allocations (id, booking_id, restaurant_id, resource_type, resource_id, "window", created_at, updated_at)
SELECT l.allocation_id, l.id, l.restaurant_id, 'table', a.table_id, tstzrange(a.start_at, a.end_at),
	a.assigned_at, a.assigned_at
FROM local l JOIN booking_table_assignments a ON a.booking_id = l.id;

UPDATE booking_table_assignments a
SET allocation_id = l.allocation_id, idempotency_key = 'auto-' || a.booking_id
FROM local l
WHERE l.id = a.booking_id;

INSERT INTO booking_state_history (booking_id, from_status, to_status, changed_at, reason)
SELECT b.id, 'pending', 'confirmed', b.created_at, 'auto_assign'
FROM bookings b JOIN local l ON l.id = b.id
WHERE l.seated;

INSERT INTO booking_assignment_idempotency (booking_id, idempotency_key, table_ids, assignment_window, table_set_hash,
	created_at)
SELECT b.id, 'auto-' || b.id, ARRAY[l.table_id], tstzrange(b.start_at, b.end_at), md5(l.table_id::text), b.created_at
FROM bookings b JOIN local l ON l.id = b.id
WHERE l.seated;

VACUUM FULL bookings, booking_table_assignments;
