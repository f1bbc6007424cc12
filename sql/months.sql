/*-------------------------------------------------------------------------
 *
 * months.sql
 *		roll_months(): the months of history and events, as they come and go.
 *
 * attach(by_month => true) makes both tables of partitions, a month each, and
 * one more for the rows of no month, called the rest.  Somebody has to make
 * the months to come, and drop those that nobody needs: a scheduler calls
 * roll_months().  Where it has been forgotten, rows go to the rest, and no
 * decision fails.
 *
 * As with attach(), the plan comes first and is complete; a dry run only
 * reports it.  Months are made from the end of the newest one on, never
 * between older ones: a month that has been dropped does not come back for the
 * sake of what is left of it.
 *
 * A month of events is dropped with all its rows.  One of the history leaves
 * the newest row of each booking behind, in the rest, as purge() would: so
 * neither verify() nor a decision can tell the difference.  Such a row goes
 * itself at the next drop, if its booking has taken a step since.  The attempts
 * of such a month are deleted, as purge() does: they count from the last time
 * somebody gave the booking a new start, and the history may not know it any more.
 *
 * Rows change their place only between tables that are not attached at that
 * moment.  There no trigger sees them: neither the history's own, which would
 * refuse, nor the app's, for which nothing has happened.  They are found by hash
 * joins: a partition that was empty a moment ago looks so to the planner.
 *
 * Locks, all until the end of the transaction and waited for as those of
 * attach(): to attach a month that lies ahead, SHARE UPDATE EXCLUSIVE on its
 * table and ACCESS EXCLUSIVE on the rest, which is read, and for one of history
 * SHARE ROW EXCLUSIVE on bookings, for the foreign key; to drop a month, or to
 * take rows out of the rest, ACCESS EXCLUSIVE on the table.
 *
 *-------------------------------------------------------------------------
 */

-- months_partitions(): the partitions of a table with their bounds; none where a bound is open.
CREATE FUNCTION assignment_v3.months_partitions(parent oid)
RETURNS TABLE (qualified text, is_rest boolean, starts_at timestamptz, ends_at timestamptz)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
SET TimeZone TO 'UTC'
SET DateStyle TO 'ISO, YMD'
AS $$
SELECT format('%I.%I', n.nspname, c.relname), b.bounds = 'DEFAULT',
	substring(b.bounds FROM 'FROM \(''([^'']*)''\)')::timestamptz, substring(b.bounds FROM 'TO \(''([^'']*)''\)')::timestamptz
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid)) AS b (bounds)
WHERE i.inhparent = parent;
$$;
COMMENT ON FUNCTION assignment_v3.months_partitions(oid) IS
	'Internal to roll_months(): the partitions of a table';

-- months_tables(): the tables that may lie by month: whether they do, their rest, and where their newest month ends.
CREATE FUNCTION assignment_v3.months_tables(app_schema text)
RETURNS TABLE (ordinal bigint, relation text, qualified text, schema_name text, oid oid, is_monthly boolean, rest text,
	next_month timestamptz, columns text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT r.ordinal, r.relation, r.qualified, r.schema_name, r.oid,
	assignment_v3.attach_by_month(r.oid) AND NOT p.is_open AND p.ends_at IS NOT DISTINCT FROM date_trunc('month', p.ends_at, 'UTC'),
	COALESCE(p.rest, format('%I.%I', r.schema_name, r.relation || '_rest')),
	COALESCE(p.ends_at, date_trunc('month', now(), 'UTC')), c.columns
FROM assignment_v3.attach_relations(app_schema) AS r
CROSS JOIN LATERAL (
	SELECT max(m.qualified) FILTER (WHERE m.is_rest) AS rest, max(m.ends_at) AS ends_at,
		COALESCE(bool_or(NOT m.is_rest AND m.ends_at IS NULL), false) AS is_open
	FROM assignment_v3.months_partitions(r.oid) AS m
) AS p
CROSS JOIN LATERAL (
	SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
	FROM pg_attribute AS a
	WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
) AS c
WHERE r.oid IS NOT NULL AND r.relation IN (SELECT l.relation FROM assignment_v3.attach_layouts() AS l WHERE l.layout = 'by_month');
$$;
COMMENT ON FUNCTION assignment_v3.months_tables(text) IS
	'Internal to roll_months(): the tables it is about';

-- months_count(): how many rows of a table meet a condition.
CREATE FUNCTION assignment_v3.months_count(qualified text, condition text)
RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
DECLARE
	counted bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM %s AS h WHERE %s', qualified, condition) INTO counted;
	RETURN counted;
END;
$$;
COMMENT ON FUNCTION assignment_v3.months_count(text, text) IS
	'Internal to roll_months(): counts rows';

-- months_superseded(): the condition that a row h of history has a newer one of its booking in one of these tables.  One
-- EXISTS, which can be hashed: with an OR of them each row would ask each table, and read those that look empty to the end.
CREATE FUNCTION assignment_v3.months_superseded(tables text[])
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format('EXISTS (SELECT FROM (%s) AS n WHERE n.booking_id = h.booking_id AND n.version > h.version)',
	string_agg('SELECT booking_id, version FROM ' || t.name, ' UNION ALL ' ORDER BY t.ordinal))
FROM unnest(tables) WITH ORDINALITY AS t (name, ordinal);
$$;
COMMENT ON FUNCTION assignment_v3.months_superseded(text[]) IS
	'Internal to roll_months(): which rows of history are not their booking''s newest';

-- months_new(): the months to make, up to so many ahead, and whether rows of theirs may lie in the rest: those of a month
-- that has begun may be written at any moment.
CREATE FUNCTION assignment_v3.months_new(app_schema text, ahead integer)
RETURNS TABLE (relation text, ordinal bigint, qualified text, bounds text, condition text, comment text, has_rows boolean)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
SET TimeZone TO 'UTC'
SET DateStyle TO 'ISO, YMD'
AS $$
SELECT t.relation, m.ordinal, format('%I.%I', t.schema_name, m.name), m.bounds, x.condition, m.comment,
	m.starts_at <= now() OR to_regclass(t.rest) IS NOT NULL AND assignment_v3.months_count(t.rest, x.condition) > 0
FROM assignment_v3.months_tables(app_schema) AS t
CROSS JOIN LATERAL age(date_trunc('month', now()), t.next_month) AS past
CROSS JOIN LATERAL assignment_v3.attach_months(t.relation, t.next_month,
	ahead + (EXTRACT(year FROM past) * 12 + EXTRACT(month FROM past))::integer) AS m
CROSS JOIN LATERAL (SELECT format('h.created_at >= %L AND h.created_at < %L', m.starts_at, m.ends_at)) AS x (condition)
WHERE t.is_monthly AND m.starts_at IS NOT NULL;
$$;
COMMENT ON FUNCTION assignment_v3.months_new(text, integer) IS
	'Internal to roll_months(): the months to make';

-- months_old(): the months that lie wholly before a time.
CREATE FUNCTION assignment_v3.months_old(app_schema text, before timestamptz)
RETURNS TABLE (relation text, ordinal bigint, qualified text, starts_at timestamptz, ends_at timestamptz)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT t.relation, row_number() OVER (PARTITION BY t.relation ORDER BY p.ends_at), p.qualified, p.starts_at, p.ends_at
FROM assignment_v3.months_tables(app_schema) AS t
CROSS JOIN LATERAL assignment_v3.months_partitions(t.oid) AS p
WHERE t.is_monthly AND p.ends_at <= before;
$$;
COMMENT ON FUNCTION assignment_v3.months_old(text, timestamptz) IS
	'Internal to roll_months(): the months to drop';

-- Each part of the plan returns (place, action, object, statement); the places order the whole: table by table, there the
-- rest is taken off, months come, months go, and the rest is put back.

-- months_plan_rest(): the rest of each table: made where there is none, and taken off and put back where rows are to be
-- taken from it or given to it.
CREATE FUNCTION assignment_v3.months_plan_rest(app_schema text, ahead integer, before timestamptz)
RETURNS TABLE (place bigint[], action text, object text, statement text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH part AS MATERIALIZED (
	SELECT t.ordinal, t.relation, t.qualified, t.rest, t.is_monthly, to_regclass(t.rest) IS NOT NULL AS is_there,
		t.relation = 'booking_assignment_state_history' AND EXISTS (
			SELECT FROM assignment_v3.months_old(app_schema, before) AS o WHERE o.relation = t.relation)
		OR EXISTS (SELECT FROM assignment_v3.months_new(app_schema, ahead) AS n WHERE n.relation = t.relation AND n.has_rows) AS is_moved
	FROM assignment_v3.months_tables(app_schema) AS t
)
SELECT ARRAY[p.ordinal, 0], 'noted', 'table ' || p.qualified, '-- not partitioned by month, so it is left alone;'
FROM part AS p WHERE NOT p.is_monthly
UNION ALL
SELECT ARRAY[p.ordinal, 1, 0], 'created', 'table ' || p.rest, format('CREATE TABLE %s PARTITION OF %s DEFAULT;', p.rest, p.qualified)
FROM part AS p WHERE p.is_monthly AND NOT p.is_there
UNION ALL
SELECT ARRAY[p.ordinal, 1, f.ordinal], f.action, f.object, f.statement
FROM part AS p
CROSS JOIN assignment_v3.attach_months(p.relation, NULL, -1) AS m
CROSS JOIN assignment_v3.attach_partition_finish(p.relation, p.rest, m.comment)
	WITH ORDINALITY AS f (kind, action, object, statement, ordinal)
WHERE p.is_monthly AND NOT p.is_there
UNION ALL
SELECT ARRAY[p.ordinal, 2], 'detached', 'table ' || p.rest, format('ALTER TABLE %s DETACH PARTITION %s;', p.qualified, p.rest)
FROM part AS p WHERE p.is_monthly AND p.is_moved
UNION ALL
SELECT ARRAY[p.ordinal, 6], 'attached', 'table ' || p.rest, format('ALTER TABLE %s ATTACH PARTITION %s DEFAULT;', p.qualified, p.rest)
FROM part AS p WHERE p.is_monthly AND p.is_moved;
$$;
COMMENT ON FUNCTION assignment_v3.months_plan_rest(text, integer, timestamptz) IS
	'Internal to roll_months(): steps for the rows of no month';

-- months_plan_new(): months that come.  Each is made apart, filled, and then attached, which stops nobody who writes.
CREATE FUNCTION assignment_v3.months_plan_new(app_schema text, ahead integer)
RETURNS TABLE (place bigint[], action text, object text, statement text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[t.ordinal, 3, n.ordinal, s.place], s.action, 'table ' || COALESCE(s.object, n.qualified), s.statement
FROM assignment_v3.months_tables(app_schema) AS t
JOIN assignment_v3.months_new(app_schema, ahead) AS n ON n.relation = t.relation
CROSS JOIN LATERAL (VALUES
	(1, 'created', NULL, format('CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED '
		'INCLUDING STORAGE INCLUDING COMPRESSION);', n.qualified, t.qualified)),
	(2, 'moved', t.rest, CASE WHEN n.has_rows THEN format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s AS h WHERE %s;',
		n.qualified, t.columns, t.columns, t.rest, n.condition) END),
	(3, 'moved', t.rest, CASE WHEN n.has_rows THEN format('DELETE FROM %s AS h WHERE %s;', t.rest, n.condition) END),
	(4, 'attached', NULL, format('ALTER TABLE %s ATTACH PARTITION %s %s;', t.qualified, n.qualified, n.bounds))
) AS s (place, action, object, statement)
WHERE s.statement IS NOT NULL
UNION ALL
SELECT ARRAY[t.ordinal, 3, n.ordinal, 4 + f.ordinal], f.action, f.object, f.statement
FROM assignment_v3.months_tables(app_schema) AS t
JOIN assignment_v3.months_new(app_schema, ahead) AS n ON n.relation = t.relation
CROSS JOIN assignment_v3.attach_partition_finish(t.relation, n.qualified, n.comment)
	WITH ORDINALITY AS f (kind, action, object, statement, ordinal);
$$;
COMMENT ON FUNCTION assignment_v3.months_plan_new(text, integer) IS
	'Internal to roll_months(): steps for months that come';

-- months_plan_old(): months that go, and what is kept of the history.
CREATE FUNCTION assignment_v3.months_plan_old(app_schema text, before timestamptz)
RETURNS TABLE (place bigint[], action text, object text, statement text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[t.ordinal, 4, o.ordinal, s.place], s.action, 'table ' || o.qualified, s.statement
FROM assignment_v3.months_tables(app_schema) AS t
JOIN assignment_v3.months_old(app_schema, before) AS o ON o.relation = t.relation
CROSS JOIN LATERAL (VALUES
	(1, 'detached', format('ALTER TABLE %s DETACH PARTITION %s;', t.qualified, o.qualified)),
	(2, 'kept', CASE WHEN t.relation = 'booking_assignment_state_history' THEN
		format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s AS h WHERE NOT %s;', t.rest, t.columns, t.columns,
			o.qualified, assignment_v3.months_superseded(ARRAY[o.qualified, t.qualified, t.rest])) END),
	(3, 'dropped', format('DROP TABLE %s;', o.qualified))
) AS s (place, action, statement)
WHERE s.statement IS NOT NULL
UNION ALL
SELECT ARRAY[t.ordinal, 5], 'deleted', 'table ' || t.rest, format('DELETE FROM %s AS h WHERE h.created_at < %L AND %s;', t.rest,
	max(o.ends_at), assignment_v3.months_superseded(ARRAY[t.qualified, t.rest]))
FROM assignment_v3.months_tables(app_schema) AS t
JOIN assignment_v3.months_old(app_schema, before) AS o ON o.relation = t.relation
WHERE t.relation = 'booking_assignment_state_history'
GROUP BY t.ordinal, t.qualified, t.rest;
$$;
COMMENT ON FUNCTION assignment_v3.months_plan_old(text, timestamptz) IS
	'Internal to roll_months(): steps for months that go';

-- months_plan_record(): the attempts of those months, which count from a row of the history that may be gone, and the note by
-- which verify() knows that history was cut off and not lost.
CREATE FUNCTION assignment_v3.months_plan_record(app_schema text, before timestamptz)
RETURNS TABLE (place bigint[], action text, object text, statement text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH cut AS MATERIALIZED (
	SELECT t.qualified, a.qualified AS attempts, h.horizon, format('h.created_at < %L', h.horizon) AS condition
	FROM assignment_v3.months_tables(app_schema) AS t
	JOIN assignment_v3.attach_relations(app_schema) AS a ON a.relation = 'booking_assignment_attempts'
	CROSS JOIN LATERAL (
		SELECT max(o.ends_at) AS horizon FROM assignment_v3.months_old(app_schema, before) AS o WHERE o.relation = t.relation
	) AS h
	WHERE t.relation = 'booking_assignment_state_history' AND h.horizon IS NOT NULL
)
SELECT ARRAY[1000]::bigint[], 'deleted', 'table ' || c.attempts, format('DELETE FROM %s AS h WHERE %s;', c.attempts, c.condition)
FROM cut AS c
UNION ALL
SELECT ARRAY[1001]::bigint[], 'recorded', 'table assignment_v3.purges',
	format('INSERT INTO assignment_v3.purges (horizon, history_rows, attempt_rows, event_rows) VALUES (%L, %s, %s, %s);', c.horizon,
		assignment_v3.months_count(c.qualified, c.condition || ' AND ' || assignment_v3.months_superseded(ARRAY[c.qualified])),
		assignment_v3.months_count(c.attempts, c.condition),
		(SELECT COALESCE(sum(assignment_v3.months_count(e.qualified, 'true')), 0)
		 FROM assignment_v3.months_old(app_schema, before) AS e WHERE e.relation = 'observability_events'))
FROM cut AS c;
$$;
COMMENT ON FUNCTION assignment_v3.months_plan_record(text, timestamptz) IS
	'Internal to roll_months(): the steps that delete attempts and record a horizon';

-- months_plan(): all steps in order.
CREATE FUNCTION assignment_v3.months_plan(app_schema text, ahead integer, before timestamptz)
RETURNS TABLE (place bigint[], action text, object text, statement text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
SET TimeZone TO 'UTC'
SET DateStyle TO 'ISO, YMD'
AS $$
SELECT p.* FROM (
	SELECT * FROM assignment_v3.months_plan_rest(app_schema, ahead, before)
	UNION ALL SELECT * FROM assignment_v3.months_plan_new(app_schema, ahead)
	UNION ALL SELECT * FROM assignment_v3.months_plan_old(app_schema, before)
	UNION ALL SELECT * FROM assignment_v3.months_plan_record(app_schema, before)
) AS p
ORDER BY p.place;
$$;
COMMENT ON FUNCTION assignment_v3.months_plan(text, integer, timestamptz) IS
	'Internal to roll_months(): the steps in order';

-- months_check(): whether the arguments make sense, and the transaction will do.
-- Errors: PT422, 0A000.
CREATE FUNCTION assignment_v3.months_check(keep interval, ahead integer)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	IF keep < interval '0' THEN
		RAISE EXCEPTION 'keep must not be negative'
			USING ERRCODE = 'PT422', HINT = 'Months that end before now() - keep are dropped; null drops none.';
	END IF;
	IF ahead IS NULL OR ahead NOT BETWEEN 0 AND 120 THEN
		RAISE EXCEPTION 'ahead must be from 0 to 120'
			USING ERRCODE = 'PT422', HINT = 'It is the number of months to make besides this one.';
	END IF;
	-- a frozen snapshot would not see what has been written since, and drop it with its month
	IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
		RAISE EXCEPTION 'roll_months() cannot run at isolation level %', current_setting('transaction_isolation')
			USING ERRCODE = 'feature_not_supported', HINT = 'Call it in a transaction that is READ COMMITTED.';
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.months_check(interval, integer) IS
	'Internal to roll_months(): checks its arguments and the transaction';

-- roll_months(): makes this month and so many ahead of it, takes what belongs to them out of the rest, drops the months
-- that lie wholly before now() - keep, and returns a row per step; none if there was nothing to do.
-- Errors: PT422 bad argument, 0A000 not READ COMMITTED, 55000 not attached, 42501 not the owner, 55P03 a lock that could not
-- be got in time.
CREATE FUNCTION assignment_v3.roll_months(keep interval DEFAULT NULL, ahead integer DEFAULT 2, dry_run boolean DEFAULT false)
RETURNS TABLE (action text, object text, statement text)
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET enable_nestloop TO off
SET jit TO off
SET row_security TO off
AS $$
DECLARE
	own_timeout text := current_setting('lock_timeout');
	app_schema text := assignment_v3.bound_schema();
	step record;
BEGIN
	PERFORM assignment_v3.months_check(keep, ahead);
	IF NOT COALESCE(dry_run, false) THEN
		PERFORM assignment_v3.attach_limit_waits(own_timeout);
		PERFORM assignment_v3.attach_lock();
	END IF;
	FOR step IN SELECT p.action, p.object, p.statement FROM assignment_v3.months_plan(app_schema, ahead, now() - keep) AS p LOOP
		object := step.object;
		IF NOT COALESCE(dry_run, false) THEN
			PERFORM assignment_v3.attach_limit_waits(own_timeout);
			EXECUTE step.statement;
		END IF;
		action := step.action;
		statement := step.statement;
		RETURN NEXT;
	END LOOP;
	PERFORM set_config('lock_timeout', own_timeout, true);
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
	RAISE EXCEPTION 'roll_months() could not get a lock in time'
		USING ERRCODE = 'lock_not_available', DETAIL = assignment_v3.attach_waited_for(object),
		HINT = 'Nothing has been changed. Run it again at a quieter time, or let it wait longer with SET lock_timeout.';
END;
$$;
COMMENT ON FUNCTION assignment_v3.roll_months(interval, integer, boolean) IS
	'Makes the months of history and events that are coming and drops those before now() - keep, and reports each step';
