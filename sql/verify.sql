/*-------------------------------------------------------------------------
 *
 * verify.sql
 *		verify(): is what the tables hold sound?
 *
 * Locks, triggers and constraints keep the tables sound; verify() takes the
 * word of none of them.  It reads every row in its place and compares.  Index
 * scans are off, for a damaged index hides the very rows it should show; so
 * are nested loops, which without an index would read a table once per row.
 * What is left is a few sequential scans, hashed or sorted, whose cost grows
 * with the rows and no faster.  Where row-level security would hide rows from
 * the caller the answer is an error, not a clean bill.
 *
 * A scan is a query that brings together what a rule has to look at, a rule
 * is a condition on one row of a scan.  All rules of a scan are tried in one
 * pass.  @app@ stands for the quoted schema of the app, columns of a type of
 * the app's choice are compared as text.
 *
 * What the app did before attach() was put on its tables had no trigger of ours
 * to meet, so it is not judged by our rules: bookings that are older and have taken
 * no step since, and rows of history from before.  Only what no app can want, a
 * table taken twice or by nobody, is found at any age.
 *
 * The function is stable: all its scans share the snapshot of the query that
 * calls it, so bookings in motion raise no false alarm.  It takes no lock but
 * that of a reader, writes nothing, and runs on a standby.
 *
 *-------------------------------------------------------------------------
 */

-- verify_rules_assignments(): what must hold of assignment rows, and of bookings by their assignment rows.
CREATE FUNCTION assignment_v3.verify_rules_assignments()
RETURNS TABLE (rule text, scan text, violated text, detail text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('overlapping_assignments', 'overlaps', 'true',
	 $d$format('Table %s is taken from %s until %s, and by booking %s from %s until %s.',
		s.table_id, s.start_at, s.end_at, s.other_id, s.other_start_at, s.other_end_at)$d$),
	('window_mismatch', 'assignments',
	 '(s.judged AND NOT s.orphaned AND s.status NOT IN (''checked_in'', ''completed'') '
	 'AND CASE WHEN s.ours THEN (s.start_at, s.end_at) IS DISTINCT FROM (s.booked_from, s.booked_until) '
	 'ELSE (s.start_at <= s.booked_from AND s.end_at >= s.booked_until) IS NOT TRUE END) '
	 'OR (s.start_at < s.end_at) IS NOT TRUE',
	 $d$format('Table %s is taken from %s until %s, the booking is from %s until %s.', s.table_id,
		COALESCE(s.start_at::text, 'NULL'), COALESCE(s.end_at::text, 'NULL'),
		COALESCE(s.booked_from::text, 'NULL'), COALESCE(s.booked_until::text, 'NULL'))$d$),
	('foreign_table', 'assignments',
	 's.unknown_table OR s.table_restaurant_id <> s.restaurant_id',
	 $d$CASE WHEN s.unknown_table THEN format('Table %s does not exist.', COALESCE(s.table_id::text, 'NULL'))
		ELSE format('Table %s stands in restaurant %s, the booking is for restaurant %s.',
			s.table_id, s.table_restaurant_id, s.restaurant_id) END$d$),
	('tables_without_live_booking', 'assignments',
	 's.orphaned OR s.judged AND s.status IN (''cancelled'', ''no_show'')',
	 $d$CASE WHEN s.orphaned THEN format('Table %s is taken from %s until %s by a booking that does not exist.',
			s.table_id, s.start_at, s.end_at)
		ELSE format('Table %s is taken from %s until %s by a booking with status %s.',
			s.table_id, s.start_at, s.end_at, s.status) END$d$),
	('too_few_seats', 'seats',
	 's.judged AND s.tables > 0 AND s.seats < s.party_size AND NOT s.forced '
	 'AND s.status NOT IN (''cancelled'', ''no_show'', ''checked_in'', ''completed'')',
	 $d$format('The party of %s has %s seats; number of its tables: %s.', s.party_size, s.seats, s.tables)$d$),
	('confirmed_without_tables', 'seats',
	 's.judged AND s.tables = 0 AND s.state = ''confirmed'' '
	 'AND s.status IN (''confirmed'', ''checked_in'', ''pending'', ''pending_allocation'')',
	 $d$format('The booking is confirmed at version %s with status %s, and has no table.', s.version, s.status)$d$);
$$;
COMMENT ON FUNCTION assignment_v3.verify_rules_assignments() IS
	'Internal to verify(): rules about tables taken';

-- verify_rules_trail(): what must hold of history and messages.  A purge may have cut off the beginning of a chain,
-- and the message of an old confirmation, but nothing since its horizon.  A booking that is older than attach() may have
-- begun anywhere.
CREATE FUNCTION assignment_v3.verify_rules_trail()
RETURNS TABLE (rule text, scan text, violated text, detail text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('history_gap', 'history',
	 's.version <> s.previous_version + 1 AND s.previous_recorded OR (s.previous_version IS NULL AND s.version <> 2 '
	 'AND s.born_recorded AND (s.version > 2 AND s.booked_at < s.horizon) IS NOT TRUE)',
	 $d$CASE WHEN s.previous_version IS NULL THEN format('History starts at version %s, not at 2.', s.version)
		WHEN s.version = s.previous_version THEN format('History has version %s more than once.', s.version)
		ELSE format('History goes from version %s to %s.', s.previous_version, s.version) END$d$),
	('history_break', 'history',
	 's.version = 2 AND s.previous_version IS NULL AND s.born_recorded AND s.from_state::text <> ''created'' '
	 'OR s.version = s.previous_version + 1 AND s.previous_recorded AND s.from_state <> s.previous_to_state',
	 $d$format('Version %s starts from %s, version %s ended in %s.',
		s.version, s.from_state, s.version - 1, COALESCE(s.previous_to_state::text, 'created'))$d$),
	('state_mismatch', 'history',
	 's.newest AND (s.born_recorded OR s.recorded) AND s.state <> COALESCE(s.to_state::text, ''created'')',
	 $d$CASE WHEN s.version IS NULL THEN format('The booking is %s at version %s and has no history.', s.state, s.booking_version)
		ELSE format('The booking is %s, its history ends in %s at version %s.', s.state, s.to_state, s.version) END$d$),
	('version_mismatch', 'history',
	 's.newest AND (s.born_recorded OR s.recorded) AND s.booking_version <> COALESCE(s.version, 1)',
	 $d$CASE WHEN s.version IS NULL THEN format('The booking has version %s and no history.', s.booking_version)
		ELSE format('The booking has version %s, its history ends at version %s.', s.booking_version, s.version) END$d$),
	('confirmation_without_message', 'messages',
	 's.messages = 0 AND s.recorded AND (s.confirmed_at < s.horizon) IS NOT TRUE',
	 $d$format('The booking was confirmed at version %s on %s, and the outbox has no message %s.',
		s.version, s.confirmed_at, s.dedupe_key)$d$),
	('duplicate_message', 'messages', 's.messages > 1',
	 $d$format('The booking was confirmed at version %s on %s, and the outbox has %s messages %s.',
		s.version, s.confirmed_at, s.messages, s.dedupe_key)$d$);
$$;
COMMENT ON FUNCTION assignment_v3.verify_rules_trail() IS
	'Internal to verify(): rules about history and messages';

-- verify_rules(): all rules.
CREATE FUNCTION assignment_v3.verify_rules()
RETURNS TABLE (rule text, scan text, violated text, detail text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT * FROM assignment_v3.verify_rules_assignments()
UNION ALL
SELECT * FROM assignment_v3.verify_rules_trail();
$$;
COMMENT ON FUNCTION assignment_v3.verify_rules() IS
	'Internal to verify(): every rule with the scan it is tried on';

-- verify_scans_assignments(): each assignment row with its booking and its table; each row that starts before an
-- earlier one of its table has ended, with that one; each booking with the seats it has been given.  A booking is judged
-- that was made, or has taken a step, since all changes are recorded; it is ours if the pipeline has confirmed it.
CREATE FUNCTION assignment_v3.verify_scans_assignments()
RETURNS TABLE (scan text, statement text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('overlaps', $q$
		WITH late AS MATERIALIZED (
			SELECT * FROM (
				SELECT a.ctid AS place, a.booking_id, a.table_id, a.start_at, a.end_at,
					max(a.end_at) OVER (PARTITION BY a.table_id ORDER BY a.start_at, a.end_at, a.ctid
						ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS taken_until
				FROM @app@.booking_table_assignments AS a
				WHERE a.start_at < a.end_at
			) AS walk
			WHERE walk.start_at < walk.taken_until
		)
		SELECT late.booking_id, late.table_id, late.start_at, late.end_at,
			o.booking_id AS other_id, o.start_at AS other_start_at, o.end_at AS other_end_at
		FROM late
		JOIN @app@.booking_table_assignments AS o ON o.table_id = late.table_id AND o.end_at = late.taken_until
			AND (o.start_at, o.end_at, o.ctid) < (late.start_at, late.end_at, late.place)$q$),
	('assignments', $q$
		SELECT a.booking_id, a.table_id, a.start_at, a.end_at, b.id IS NULL AS orphaned,
			b.start_at AS booked_from, b.end_at AS booked_until, b.status::text AS status, b.restaurant_id,
			t.id IS NULL AS unknown_table, t.restaurant_id AS table_restaurant_id,
			b.created_at >= (SELECT x.recorded_since FROM assignment_v3.binding AS x) IS TRUE OR steps.recorded IS TRUE AS judged,
			COALESCE(steps.ours, true) AS ours
		FROM @app@.booking_table_assignments AS a
		LEFT JOIN @app@.bookings AS b ON b.id = a.booking_id
		LEFT JOIN @app@.table_inventory AS t ON t.id = a.table_id
		LEFT JOIN (@steps@) AS steps ON steps.booking_id = a.booking_id$q$),
	('seats', $q$
		SELECT b.id AS booking_id, b.party_size, b.status::text AS status, b.assignment_state::text AS state,
			b.assignment_state_version AS version, COALESCE(given.tables, 0) AS tables,
			COALESCE(given.seats, 0) AS seats, COALESCE(steps.forced, false) AS forced,
			b.created_at >= (SELECT x.recorded_since FROM assignment_v3.binding AS x) IS TRUE OR steps.recorded IS TRUE AS judged
		FROM @app@.bookings AS b
		LEFT JOIN (
			SELECT a.booking_id, count(*) AS tables, sum(t.capacity) AS seats
			FROM @app@.booking_table_assignments AS a
			LEFT JOIN @app@.table_inventory AS t ON t.id = a.table_id
			GROUP BY a.booking_id
		) AS given ON given.booking_id = b.id
		LEFT JOIN (@steps@) AS steps ON steps.booking_id = b.id$q$);
$$;
COMMENT ON FUNCTION assignment_v3.verify_scans_assignments() IS
	'Internal to verify(): queries over assignment rows';

-- verify_steps(): for each booking with history, whether any of it is recorded by the triggers that are attached, and
-- whether its last confirmation was the pipeline's, and by force.
CREATE FUNCTION assignment_v3.verify_steps()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT $q$
			SELECT h.booking_id,
				max(h.created_at) >= (SELECT x.recorded_since FROM assignment_v3.binding AS x) AS recorded,
				max(h.version) FILTER (WHERE s.confirmed) IS NOT DISTINCT FROM
					max(h.version) FILTER (WHERE s.confirmed AND NOT h.metadata @> '{"external": true}') AS ours,
				max(h.version) FILTER (WHERE s.confirmed) =
					max(h.version) FILTER (WHERE s.confirmed AND h.metadata @> '{"forced": true}') AS forced
			FROM @app@.booking_assignment_state_history AS h
			CROSS JOIN LATERAL (SELECT h.to_state::text = 'confirmed' AND h.from_state::text <> 'confirmed') AS s (confirmed)
			WHERE h.booking_id IS NOT NULL AND h.version IS NOT NULL
			GROUP BY h.booking_id$q$::text;
$$;
COMMENT ON FUNCTION assignment_v3.verify_steps() IS
	'Internal to verify(): query over the history of each booking';

-- verify_scans_trail(): each history row with the one before it and its booking, a booking without history once, rows
-- without version left out, which are not the pipeline's;
-- each confirmation of ours with the number of its messages.
CREATE FUNCTION assignment_v3.verify_scans_trail()
RETURNS TABLE (scan text, statement text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('history', $q$
		SELECT b.id AS booking_id, b.assignment_state::text AS state, b.assignment_state_version AS booking_version,
			b.created_at AS booked_at, chain.version, chain.from_state, chain.to_state,
			chain.previous_version, chain.previous_to_state, chain.next_version IS NULL AS newest,
			b.created_at >= since.at IS TRUE AS born_recorded, chain.created_at >= since.at IS TRUE AS recorded,
			chain.previous_created_at >= since.at IS TRUE AS previous_recorded,
			(SELECT max(p.horizon) FROM assignment_v3.purges AS p) AS horizon
		FROM @app@.bookings AS b
		LEFT JOIN (
			SELECT h.booking_id, h.version, h.from_state, h.to_state, lag(h.version) OVER steps AS previous_version,
				lag(h.to_state) OVER steps AS previous_to_state, lead(h.version) OVER steps AS next_version,
				h.created_at, lag(h.created_at) OVER steps AS previous_created_at
			FROM @app@.booking_assignment_state_history AS h
			WHERE h.version IS NOT NULL
			WINDOW steps AS (PARTITION BY h.booking_id ORDER BY h.version)
		) AS chain ON chain.booking_id = b.id
		CROSS JOIN (SELECT x.recorded_since AS at FROM assignment_v3.binding AS x) AS since$q$),
	('messages', $q$
		SELECT c.booking_id, c.version, c.created_at AS confirmed_at, c.dedupe_key, COALESCE(m.messages, 0) AS messages,
			c.created_at >= (SELECT x.recorded_since FROM assignment_v3.binding AS x) IS TRUE AS recorded,
			(SELECT max(p.horizon) FROM assignment_v3.purges AS p) AS horizon
		FROM (
			SELECT h.booking_id, h.version, h.created_at, h.booking_id || ':' || h.version AS dedupe_key
			FROM @app@.booking_assignment_state_history AS h
			WHERE h.to_state::text = 'confirmed' AND h.from_state::text <> 'confirmed'
				AND NOT h.metadata @> '{"external": true}' AND h.booking_id IS NOT NULL AND h.version IS NOT NULL
		) AS c
		LEFT JOIN (
			SELECT o.dedupe_key, count(*) AS messages
			FROM @app@.capacity_outbox AS o
			WHERE o.event_type = 'booking.assignment_state.confirmed'
			GROUP BY o.dedupe_key
		) AS m ON m.dedupe_key = c.dedupe_key$q$);
$$;
COMMENT ON FUNCTION assignment_v3.verify_scans_trail() IS
	'Internal to verify(): queries over history and messages';

-- verify_statements(): one query per scan, which tries all its rules on each row.  Only a row that breaks one is
-- unfolded into its violations and described.
CREATE FUNCTION assignment_v3.verify_statements(app_schema text)
RETURNS TABLE (statement text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format($q$
	SELECT v.rule, v.booking_id::uuid, v.detail
	FROM (
		SELECT s.booking_id, unnest(ARRAY[%s]) AS rule, unnest(ARRAY[%s]) AS detail
		FROM (%s) AS s
		WHERE %s
	) AS v
	WHERE v.detail IS NOT NULL
	ORDER BY v.rule, v.booking_id, v.detail$q$,
	string_agg(quote_literal(r.rule), ', ' ORDER BY r.n),
	string_agg(format('CASE WHEN %s THEN %s END', r.violated, r.detail), ', ' ORDER BY r.n),
	assignment_v3.attach_expand(replace(q.statement, '@steps@', assignment_v3.verify_steps()), app_schema),
	string_agg(format('(%s)', r.violated), ' OR ' ORDER BY r.n))
FROM assignment_v3.verify_rules() WITH ORDINALITY AS r (rule, scan, violated, detail, n)
JOIN (
	SELECT * FROM assignment_v3.verify_scans_assignments()
	UNION ALL
	SELECT * FROM assignment_v3.verify_scans_trail()
) AS q ON q.scan = r.scan
GROUP BY q.scan, q.statement
ORDER BY min(r.n);
$$;
COMMENT ON FUNCTION assignment_v3.verify_statements(text) IS
	'Internal to verify(): the queries to run';

-- verify(): a row per violation; none if all is sound.
-- Errors: 55000 not attached, 42501 where row-level security hides rows from the caller.
CREATE FUNCTION assignment_v3.verify()
RETURNS TABLE (rule text, booking_id uuid, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET enable_seqscan TO on
SET enable_indexscan TO off
SET enable_indexonlyscan TO off
SET enable_bitmapscan TO off
SET enable_nestloop TO off
SET jit TO off
SET work_mem TO '64MB'
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
	query text;
BEGIN
	PERFORM assignment_v3.check_sees_all(r.oid) FROM assignment_v3.attach_relations(app_schema) AS r WHERE r.oid IS NOT NULL;
	FOR query IN SELECT v.statement FROM assignment_v3.verify_statements(app_schema) AS v LOOP
		RETURN QUERY EXECUTE query;
	END LOOP;
END;
$$;
COMMENT ON FUNCTION assignment_v3.verify() IS
	'One row per violation of what must hold of assignments, history and messages, found by plain scans; no row means sound';
