/*-------------------------------------------------------------------------
 *
 * memory.sql
 *		A database as a server knows it that has been up for a while.
 *
 * Reads what the hot path reads into shared_buffers, as far as they go, and
 * makes bench.touch(), by which a connection looks at all of these pages: one that
 * has lived in a pool has mapped them long ago, and a new one would pay for each
 * with a page fault of the operating system, the more of them the larger the database.
 *
 *-------------------------------------------------------------------------
 */
\set ON_ERROR_STOP on
\set QUIET on

SET client_min_messages TO warning;

CREATE SCHEMA IF NOT EXISTS bench;
CREATE EXTENSION IF NOT EXISTS pg_prewarm;
CREATE EXTENSION IF NOT EXISTS pgstattuple;

CREATE OR REPLACE VIEW bench.hot AS
SELECT c.oid::regclass AS relation
FROM pg_class c
WHERE pg_relation_size(c.oid) > 0 AND (
	c.relnamespace = 'public'::regnamespace AND (
		c.relkind = 'i' AND c.relam IN (SELECT oid FROM pg_am WHERE amname IN ('btree', 'gist', 'hash'))
		OR c.relname IN ('bookings', 'booking_table_assignments', 'table_inventory'))
	OR c.oid = 'assignment_v3.queue'::regclass
	OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'assignment_v3.queue'::regclass));

CREATE OR REPLACE FUNCTION bench.touch()
RETURNS bigint
LANGUAGE sql
AS $$
SELECT sum((pgstattuple(relation)).table_len)::bigint FROM bench.hot
$$;

SELECT count(pg_prewarm(relation)) FROM bench.hot \g /dev/null
