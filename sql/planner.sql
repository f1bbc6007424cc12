-- plan(): the best plans for a booking as the next attempt would rank them.  Takes no locks.
-- Errors: PT404 no such booking, PT422 bad argument or no valid window.
CREATE FUNCTION assignment_v3.plan(
	booking_id uuid,
	max_plans integer DEFAULT 5)
RETURNS TABLE (rank integer, table_ids uuid[], table_numbers text[], strategy text,
	score bigint[], capacity integer, slack integer)
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'assignment_plan';
COMMENT ON FUNCTION assignment_v3.plan(uuid, integer) IS
	'the best plans for a booking, best first; the score compares from left to right, smaller is better';

-- explain(): why each table of the restaurant can or can't seat a booking.  Takes no locks.
-- Errors: PT404 no such booking, PT422 null id or no valid window.
CREATE FUNCTION assignment_v3.explain(booking_id uuid)
RETURNS TABLE (table_id uuid, table_number text, verdict text, detail text)
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'assignment_explain';
COMMENT ON FUNCTION assignment_v3.explain(uuid) IS
	'one row per table: free, assigned, taken, held, blocked, too small, too large, out of service or inactive';

-- alternatives(): the nearest times at which there is room for a booking, its own first if it has room by now.  Takes no
-- locks.  Opening hours are the app's to know.
-- Errors: PT404 no such booking, PT422 bad argument or no valid window.
CREATE FUNCTION assignment_v3.alternatives(
	booking_id uuid,
	within interval DEFAULT '02:00:00',
	max_times integer DEFAULT 3)
RETURNS TABLE (start_at timestamptz, end_at timestamptz, table_ids uuid[], table_numbers text[],
	capacity integer, slack integer)
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'assignment_alternatives';
COMMENT ON FUNCTION assignment_v3.alternatives(uuid, interval, integer) IS
	'the nearest times at which there is room for a booking, by quarter hours from its start, nearest first';
