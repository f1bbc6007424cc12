/*-------------------------------------------------------------------------
 *
 * worker.sql
 *		What the SQL side has to do with the background workers: call them,
 *		and tell how they are.
 *
 *-------------------------------------------------------------------------
 */

-- wake_workers(): calls the workers at the end of the transaction, for what no row of the queue written by the library
-- calls them for.  Nothing where there are none.
CREATE FUNCTION assignment_v3.wake_workers()
RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_wake_workers';
COMMENT ON FUNCTION assignment_v3.wake_workers() IS
	'Internal to whatever lets waiting bookings go on: calls the background workers';

-- workers(): whether background workers look after this database ("not preloaded", "not listed" or "listed"), how many are
-- there, and how many in a row have failed.
CREATE FUNCTION assignment_v3.workers(OUT state text, OUT running integer, OUT failures integer)
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'assignment_workers';
COMMENT ON FUNCTION assignment_v3.workers() IS
	'the background workers of this database';

-- status_worker(): who works off the queue by itself.
CREATE FUNCTION assignment_v3.status_worker()
RETURNS TABLE (item text, value text, source text, detail text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT 'background workers', CASE w.state WHEN 'listed' THEN 'on' ELSE 'off' END,
	CASE w.state WHEN 'not preloaded' THEN 'shared_preload_libraries' ELSE 'assignment_v3.worker_databases' END,
	CASE w.state
		WHEN 'not preloaded' THEN 'the library is not preloaded, so the settings of workers have no effect: run() works off the queue'
		WHEN 'not listed' THEN 'this database is not listed: run() works off its queue'
		ELSE format('%s running', w.running) || CASE WHEN w.failures > 0
			THEN format(', %s failed in a row: see the server log', w.failures) ELSE '' END END
FROM assignment_v3.workers() AS w;
$$;
COMMENT ON FUNCTION assignment_v3.status_worker() IS
	'Internal to status(): who works off the queue by itself';
