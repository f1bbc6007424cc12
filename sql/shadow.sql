/*-------------------------------------------------------------------------
 *
 * shadow.sql
 *		What the rehearsals have shown: shadow_report(); and what a
 *		rehearsal can't take back: shadow_side_effects().
 *
 * The C code writes a row of booking_assignment_shadow_results per rehearsed
 * version of a booking.  The report compares, per booking, the newest of them
 * with what another writer has made of the booking: paired data, each booking
 * is its own control.  What the legacy path has come to is read from the
 * booking and its history when the report is made, for the row can't know of
 * a failure: not to confirm a booking leaves no trace in it.
 *
 * The interval of the difference is Newcombe's for paired proportions, his
 * method 10: R. G. Newcombe, Improved confidence intervals for the difference
 * between binomial proportions based on paired data, Statistics in Medicine
 * 17 (1998), 2635-2650.  It joins the Wilson intervals of the two proportions
 * by their correlation, stays within -100 and 100, and holds for few bookings
 * and for shares near 0 and 100, where the usual one of McNemar's test fails.
 *
 *-------------------------------------------------------------------------
 */

-- paired_difference(): first minus second of two paired proportions in percentage points, with its 95 % interval.
-- phi is their correlation, with a continuity correction where it is positive, 0 where a margin is empty.
CREATE FUNCTION assignment_v3.paired_difference(both_of_them bigint, only_first bigint, only_second bigint, neither bigint,
	OUT difference numeric, OUT low numeric, OUT high numeric)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH cell AS (
	SELECT both_of_them::float8 AS a, only_first::float8 AS b, only_second::float8 AS c, neither::float8 AS d,
		NULLIF(both_of_them + only_first + only_second + neither, 0)::float8 AS n, 1.959963984540054::float8 AS z
), share AS (
	SELECT cell.*, (a + b) / n AS p1, (a + c) / n AS p2, (a + b) * (c + d) * (a + c) * (b + d) AS margins,
		a * d - b * c AS product
	FROM cell
), wilson AS (
	SELECT share.*, s.root1, s.root2,
		(2 * n * p1 + z * z - s.root1) / (2 * (n + z * z)) AS l1, (2 * n * p1 + z * z + s.root1) / (2 * (n + z * z)) AS u1,
		(2 * n * p2 + z * z - s.root2) / (2 * (n + z * z)) AS l2, (2 * n * p2 + z * z + s.root2) / (2 * (n + z * z)) AS u2,
		CASE
			WHEN margins = 0 THEN 0
			WHEN product > n / 2 THEN (product - n / 2) / sqrt(margins)
			WHEN product < 0 THEN product / sqrt(margins)
			ELSE 0
		END AS phi
	FROM share
	CROSS JOIN LATERAL (
		SELECT z * sqrt(z * z + 4 * n * p1 * (1 - p1)) AS root1, z * sqrt(z * z + 4 * n * p2 * (1 - p2)) AS root2
	) AS s
)
SELECT round((100 * (p1 - p2))::numeric, 2),
	round((100 * (p1 - p2 - sqrt(GREATEST(0, (p1 - l1) ^ 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ^ 2))))::numeric, 2),
	round((100 * (p1 - p2 + sqrt(GREATEST(0, (u1 - p1) ^ 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ^ 2))))::numeric, 2)
FROM wilson;
$$;
COMMENT ON FUNCTION assignment_v3.paired_difference(bigint, bigint, bigint, bigint) IS
	'Internal to shadow_report(): difference of two paired proportions with its 95 % interval after Newcombe';

-- shadow_schema(): the schema of the app, for a caller who sees every row that is compared.
-- Errors: 55000 not attached, 42501 row-level security would hide some.
CREATE FUNCTION assignment_v3.shadow_schema()
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
BEGIN
	PERFORM assignment_v3.check_sees_all(r.oid) FROM assignment_v3.attach_relations(app_schema) AS r
	WHERE r.oid IS NOT NULL AND r.relation IN ('bookings', 'table_inventory', 'booking_table_assignments',
		'booking_assignment_state_history', 'booking_assignment_shadow_results', 'observability_events');
	RETURN app_schema;
END;
$$;
COMMENT ON FUNCTION assignment_v3.shadow_schema() IS
	'Internal to shadow_report(): the schema of the app, or the error that rows of it are hidden';

-- shadow_pairs(): a row per booking rehearsed since then and before a time: the newest rehearsal beside what another writer has made of
-- the booking.  other_confirmed is null while that is not known: the other writer may still be at it, for the ten
-- minutes after which a waiting booking counts as stuck.  Bookings that were cancelled before anybody confirmed them,
-- that are gone, or that the pipeline itself or staff through it have settled are no pairs.
CREATE FUNCTION assignment_v3.shadow_pairs(since timestamptz, until timestamptz DEFAULT 'infinity')
RETURNS TABLE (booking_id uuid, restaurant_id uuid, duration_ms float8, confirmed boolean, reason text, table_ids uuid[],
	other_confirmed boolean, other_reason text, other_table_ids uuid[])
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		WITH newest AS MATERIALIZED (
			SELECT DISTINCT ON (r.booking_id) r.* FROM @app@.booking_assignment_shadow_results AS r
			WHERE r.created_at >= $1 AND r.created_at < $3
			ORDER BY r.booking_id, r.version DESC
		), settled AS (
			SELECT n.*, b.status::text AS status, last.ours, COALESCE(NOT last.ours,
				n.legacy_outcome IS NOT DISTINCT FROM 'confirmed' OR b.status::text IN ('confirmed', 'checked_in', 'completed')) AS elsewhere
			FROM newest AS n
			JOIN @app@.bookings AS b ON b.id = n.booking_id
			LEFT JOIN LATERAL (
				SELECT NOT h.metadata ? 'external' AS ours FROM @app@.booking_assignment_state_history AS h
				WHERE h.booking_id = n.booking_id AND h.to_state::text IN ('confirmed', 'manual_review', 'failed')
					AND h.from_state <> h.to_state
				ORDER BY h.version DESC LIMIT 1
			) AS last ON true
		)
		SELECT s.booking_id, s.restaurant_id, s.duration_ms, s.outcome = 'confirmed', s.reason, s.table_ids,
			CASE WHEN s.elsewhere THEN true WHEN e.result IS NOT NULL OR s.created_at < $2 THEN false END,
			CASE WHEN NOT s.elsewhere THEN COALESCE(e.result, 'not_confirmed') END,
			CASE WHEN s.elsewhere THEN COALESCE(s.legacy_table_ids, (
				SELECT array_agg(a.table_id ORDER BY a.table_id) FROM @app@.booking_table_assignments AS a
				WHERE a.booking_id = s.booking_id)) END
		FROM settled AS s
		LEFT JOIN LATERAL (
			SELECT v.context ->> 'result' AS result FROM @app@.observability_events AS v
			WHERE v.booking_id = s.booking_id AND v.source = 'auto_assign' AND v.event_type = 'auto_assign.summary'
				AND NOT s.elsewhere
			ORDER BY v.created_at DESC LIMIT 1
		) AS e ON e.result NOT IN ('succeeded', 'already_confirmed')
		WHERE s.elsewhere OR s.ours IS NOT TRUE AND s.status NOT IN ('cancelled', 'no_show')$q$, assignment_v3.shadow_schema())
		USING shadow_pairs.since, clock_timestamp() - interval '10 minutes', shadow_pairs.until;
END;
$$;
COMMENT ON FUNCTION assignment_v3.shadow_pairs(timestamptz, timestamptz) IS
	'Internal to shadow_report(): each rehearsed booking beside what another writer made of it';

-- shadow_twins(): the same for the pipeline against itself: a booking's last rehearsal beside its first, where nothing
-- but its state and status changed in between.  They differ by the time that has passed and by what others took
-- meanwhile: the noise that any comparison with the legacy path has in it.
CREATE FUNCTION assignment_v3.shadow_twins(since timestamptz)
RETURNS TABLE (booking_id uuid, restaurant_id uuid, duration_ms float8, confirmed boolean, reason text, table_ids uuid[],
	other_confirmed boolean, other_reason text, other_table_ids uuid[])
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		WITH ends AS MATERIALIZED (
			SELECT r.booking_id, min(r.version) AS first, max(r.version) AS last
			FROM @app@.booking_assignment_shadow_results AS r
			WHERE r.created_at >= $1
			GROUP BY r.booking_id HAVING count(*) > 1
		)
		SELECT l.booking_id, l.restaurant_id, l.duration_ms, l.outcome = 'confirmed', l.reason, l.table_ids,
			f.outcome = 'confirmed', COALESCE(f.reason, 'not_confirmed'), f.table_ids
		FROM ends AS e
		JOIN @app@.booking_assignment_shadow_results AS f ON f.booking_id = e.booking_id AND f.version = e.first
		JOIN @app@.booking_assignment_shadow_results AS l ON l.booking_id = e.booking_id AND l.version = e.last
		WHERE NOT EXISTS (
			SELECT FROM @app@.booking_assignment_state_history AS h
			WHERE h.booking_id = e.booking_id AND h.version > e.first AND h.version <= e.last
				AND h.reason = 'facts_changed')$q$, assignment_v3.shadow_schema())
		USING shadow_twins.since;
END;
$$;
COMMENT ON FUNCTION assignment_v3.shadow_twins(timestamptz) IS
	'Internal to shadow_report(): each booking''s last rehearsal beside its first';

-- shadow_verdicts(): the pairs with the verdict on each: the cell it falls into, and why the two differ.  Which tables
-- they chose does not matter, only how good they are: as few seats left empty, as few tables.
CREATE FUNCTION assignment_v3.shadow_verdicts(since timestamptz, against text)
RETURNS TABLE (booking_id uuid, restaurant_id uuid, duration_ms float8, confirmed boolean, other_confirmed boolean,
	same_tables boolean, disagreement text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand(format($q$
		SELECT p.booking_id, p.restaurant_id, p.duration_ms, p.confirmed, p.other_confirmed,
			p.confirmed AND p.other_confirmed AND p.table_ids @> p.other_table_ids AND p.table_ids <@ p.other_table_ids,
			CASE
				WHEN p.confirmed AND NOT p.other_confirmed THEN %L || p.other_reason
				WHEN NOT p.confirmed AND p.other_confirmed THEN 'pipeline: ' || p.reason
				WHEN NOT p.confirmed OR NOT p.other_confirmed THEN NULL
				WHEN mine.seats > theirs.seats THEN 'quality: more seats left empty'
				WHEN mine.seats < theirs.seats THEN 'quality: fewer seats left empty'
				WHEN mine.tables > theirs.tables THEN 'quality: more tables'
				WHEN mine.tables < theirs.tables THEN 'quality: fewer tables'
			END
		FROM %s AS p
		CROSS JOIN LATERAL (SELECT sum(t.capacity) AS seats, count(*) AS tables
			FROM @app@.table_inventory AS t WHERE t.id = ANY (p.table_ids)) AS mine
		CROSS JOIN LATERAL (SELECT sum(t.capacity) AS seats, count(*) AS tables
			FROM @app@.table_inventory AS t WHERE t.id = ANY (p.other_table_ids)) AS theirs$q$,
		CASE against WHEN 'legacy' THEN 'legacy: ' ELSE 'first rehearsal: ' END,
		CASE against WHEN 'legacy' THEN 'assignment_v3.shadow_pairs($1)' ELSE 'assignment_v3.shadow_twins($1)' END),
		assignment_v3.shadow_schema())
		USING shadow_verdicts.since;
END;
$$;
COMMENT ON FUNCTION assignment_v3.shadow_verdicts(timestamptz, text) IS
	'Internal to shadow_report(): the pairs with the verdict on each';

-- shadow_report_note(): what the numbers are worth.
CREATE FUNCTION assignment_v3.shadow_report_note(compared bigint, low numeric, high numeric)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT CASE
	WHEN compared < 30 THEN format('too few bookings to tell: %s compared, at least 30 needed', compared)
	WHEN low >= -5 AND high <= 5 THEN 'within 5 points'
	WHEN high < -5 THEN 'more than 5 points worse'
	WHEN low > 5 THEN 'more than 5 points better'
	ELSE 'too few bookings to tell: the interval reaches across the limit of 5 points'
END;
$$;
COMMENT ON FUNCTION assignment_v3.shadow_report_note(bigint, numeric, numeric) IS
	'Internal to shadow_report(): what the numbers are worth';

-- shadow_report(): the pipeline's rehearsals of the last time beside the legacy path, or beside the pipeline's own
-- first rehearsals: one row for all restaurants, with no restaurant_id, then one for each.
-- Errors: PT422 no time given or something else to compare with, 55000 not attached.
CREATE FUNCTION assignment_v3.shadow_report(since interval DEFAULT '24 hours', against text DEFAULT 'legacy')
RETURNS TABLE (restaurant_id uuid, bookings bigint, undecided bigint,
	shadow_percent numeric, legacy_percent numeric, difference numeric, difference_low numeric, difference_high numeric,
	both_confirmed bigint, only_shadow bigint, only_legacy bigint, neither bigint,
	same_tables bigint, agreement_percent numeric, disagreements jsonb,
	p50_ms numeric, p95_ms numeric, p99_ms numeric, note text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET jit TO off
AS $$
BEGIN
	IF since IS NULL THEN
		RAISE EXCEPTION 'since must not be null'
			USING ERRCODE = 'PT422', HINT = 'Give the time to look back, such as interval ''24 hours''.';
	END IF;
	IF against NOT IN ('legacy', 'shadow') OR against IS NULL THEN
		RAISE EXCEPTION 'cannot compare with "%"', against
			USING ERRCODE = 'PT422', HINT = 'Compare with "legacy", or with "shadow" for the pipeline against itself.';
	END IF;
	RETURN QUERY
		WITH verdict AS MATERIALIZED (
			SELECT * FROM assignment_v3.shadow_verdicts(clock_timestamp() - shadow_report.since, shadow_report.against)
		), cells AS (
			SELECT v.restaurant_id, count(v.other_confirmed) AS compared, count(*) FILTER (WHERE v.other_confirmed IS NULL) AS undecided,
				count(*) FILTER (WHERE v.confirmed AND v.other_confirmed) AS both_confirmed,
				count(*) FILTER (WHERE v.confirmed AND NOT v.other_confirmed) AS only_shadow,
				count(*) FILTER (WHERE NOT v.confirmed AND v.other_confirmed) AS only_legacy,
				count(*) FILTER (WHERE NOT v.confirmed AND NOT v.other_confirmed) AS neither,
				count(*) FILTER (WHERE v.same_tables) AS same_tables,
				count(v.disagreement) FILTER (WHERE v.other_confirmed IS NOT NULL) AS disagreeing,
				percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY v.duration_ms) AS latency
			FROM verdict AS v
			GROUP BY GROUPING SETS ((), (v.restaurant_id))
		)
		SELECT c.restaurant_id, c.compared, c.undecided,
			round(100.0 * (c.both_confirmed + c.only_shadow) / NULLIF(c.compared, 0), 2),
			round(100.0 * (c.both_confirmed + c.only_legacy) / NULLIF(c.compared, 0), 2),
			d.difference, d.low, d.high, c.both_confirmed, c.only_shadow, c.only_legacy, c.neither,
			c.same_tables, round(100.0 * (c.compared - c.disagreeing) / NULLIF(c.compared, 0), 2),
			COALESCE((
				SELECT jsonb_object_agg(r.disagreement, r.bookings) FROM (
					SELECT v.disagreement, count(*) AS bookings FROM verdict AS v
					WHERE v.disagreement IS NOT NULL AND v.other_confirmed IS NOT NULL
						AND (c.restaurant_id IS NULL OR v.restaurant_id = c.restaurant_id)
					GROUP BY v.disagreement) AS r), '{}'),
			round(c.latency[1]::numeric, 3), round(c.latency[2]::numeric, 3), round(c.latency[3]::numeric, 3),
			assignment_v3.shadow_report_note(c.compared, d.low, d.high)
		FROM cells AS c
		CROSS JOIN LATERAL assignment_v3.paired_difference(c.both_confirmed, c.only_shadow, c.only_legacy, c.neither) AS d
		ORDER BY c.restaurant_id NULLS FIRST;
END;
$$;
COMMENT ON FUNCTION assignment_v3.shadow_report(interval, text) IS
	'Compares the rehearsals of the last time with what the legacy path did, in all and per restaurant';

-- ---------------------------------------------------------------------
-- What a rollback doesn't take back
-- ---------------------------------------------------------------------

-- shadow_written(): the relations that a rehearsal writes, and rolls back.
CREATE FUNCTION assignment_v3.shadow_written(app_schema text)
RETURNS TABLE (relation oid)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT c.oid FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = app_schema AND c.relname IN ('bookings', 'booking_table_assignments', 'booking_assignment_state_history',
	'booking_assignment_attempts', 'observability_events', 'capacity_outbox', 'allocations');
$$;
COMMENT ON FUNCTION assignment_v3.shadow_written(text) IS
	'Internal to shadow_side_effects(): the relations that a rehearsal writes';

-- shadow_called(): the functions of the app that a rehearsal may call: those of the triggers on the relations it
-- writes, and those that their texts name, and so on.
CREATE FUNCTION assignment_v3.shadow_called(app_schema text)
RETURNS TABLE (called oid, caller text, trusted boolean, body text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH RECURSIVE function AS MATERIALIZED (
	SELECT p.oid, p.proname, p.prosrc, l.lanpltrusted OR l.lanname = 'sql' AS trusted
	FROM pg_proc AS p
	JOIN pg_language AS l ON l.oid = p.prolang
	JOIN pg_namespace AS n ON n.oid = p.pronamespace
	WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'assignment_v3') AND l.lanname NOT IN ('c', 'internal')
), reached AS (
	SELECT f.oid, f.prosrc, f.trusted, format('trigger %I on table %s', t.tgname, t.tgrelid::regclass) AS caller
	FROM assignment_v3.shadow_written(app_schema) AS w
	JOIN pg_trigger AS t ON t.tgrelid = w.relation AND NOT t.tgisinternal AND t.tgenabled <> 'D'
	JOIN function AS f ON f.oid = t.tgfoid
	UNION
	SELECT f.oid, f.prosrc, f.trusted, r.caller
	FROM reached AS r
	JOIN function AS f ON r.prosrc ~* ('\m' || regexp_replace(f.proname, '(\W)', '\\\1', 'g') || '\M"?\s*\(')
)
SELECT DISTINCT ON (r.oid) r.oid, r.caller, r.trusted, r.prosrc
FROM reached AS r
ORDER BY r.oid, r.caller;
$$;
COMMENT ON FUNCTION assignment_v3.shadow_called(text) IS
	'Internal to shadow_side_effects(): functions of the app that a rehearsal may call';

-- shadow_side_effects(): what a rehearsal leaves behind although it is rolled back: numbers drawn from sequences, and
-- calls by the app's triggers that leave the transaction. These are found by their names in the text of the functions,
-- so that one hidden in dynamic SQL is not seen, and one in a comment is.
-- Errors: none; a schema without the tables has none.
CREATE FUNCTION assignment_v3.shadow_side_effects(app_schema regnamespace DEFAULT NULL)
RETURNS TABLE (object text, effect text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET jit TO off
AS $$
DECLARE
	schema_name text := COALESCE((SELECT n.nspname FROM pg_namespace AS n WHERE n.oid = app_schema), assignment_v3.bound_schema());
BEGIN
	RETURN QUERY
		SELECT DISTINCT format('sequence %s', d.refobjid::regclass),
			format('the default of %s.%I draws a number from it', a.attrelid::regclass, a.attname)
		FROM assignment_v3.shadow_written(schema_name) AS w
		JOIN pg_attrdef AS def ON def.adrelid = w.relation
		JOIN pg_attribute AS a ON a.attrelid = def.adrelid AND a.attnum = def.adnum
		JOIN pg_depend AS d ON d.classid = 'pg_attrdef'::regclass AND d.objid = def.oid AND d.refclassid = 'pg_class'::regclass
		JOIN pg_class AS s ON s.oid = d.refobjid AND s.relkind = 'S'
		UNION
		SELECT format('sequence %s', s.oid::regclass),
			format('the identity column %s.%I draws a number from it', a.attrelid::regclass, a.attname)
		FROM assignment_v3.shadow_written(schema_name) AS w
		JOIN pg_attribute AS a ON a.attrelid = w.relation AND a.attidentity <> ''
		JOIN pg_depend AS d ON d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype = 'i'
		JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
		ORDER BY 1, 2;
	RETURN QUERY
		SELECT c.caller, format('%s %s', c.called::regprocedure, k.effect)
		FROM assignment_v3.shadow_called(schema_name) AS c
		CROSS JOIN LATERAL (
			SELECT 'calls ' || x.name || x.meaning AS effect
			FROM (VALUES
				('nextval', '\mnextval\s*\(', ': the number is gone'),
				('setval', '\msetval\s*\(', ': the sequence stays as it was set'),
				('dblink', '\mdblink\w*\s*\(', ': another connection commits by itself'),
				('http', '(^|[^.\w])http(_get|_post|_put|_patch|_delete|_head)?\s*\(', ': the request has been sent'),
				('net.http', '\mnet\.http_\w+\s*\(|\mhttp_request\s*\(', ': pg_net sends after a commit, so not for a rehearsal; another net might'),
				('pg_advisory_lock', '\mpg_(try_)?advisory_lock(_shared)?\s*\(', ': the session keeps the lock'),
				('pg_logical_emit_message', '\mpg_logical_emit_message\s*\(\s*false', ': the message has been sent'),
				('lo_export', '\mlo_export\s*\(', ': the file has been written'),
				('COPY', '\mCOPY\M.*\m(PROGRAM|TO)\M\s+''', ': the file has been written, the program run')
			) AS x (name, form, meaning)
			WHERE c.body ~* x.form
			UNION ALL
			SELECT 'is in an untrusted language, which can reach anything outside the database'
			WHERE NOT c.trusted
		) AS k
		ORDER BY 1, 2;
END;
$$;
COMMENT ON FUNCTION assignment_v3.shadow_side_effects(regnamespace) IS
	'Lists what a rehearsal leaves behind although it is rolled back: sequences drawn from, calls that leave the database';
