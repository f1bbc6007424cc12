/*-------------------------------------------------------------------------
 *
 * operations.sql
 *		What an operator does by hand: kill(), revive() and status().
 *
 * The kill switch is one row.  Every decision looks for it first, so taking
 * the pipeline off needs one insert and reaches each session at its next
 * call, pooled or not.  Whoever flips the switch leaves an event behind; but
 * the trail must not stand in the way of the switch, so an event that can't
 * be written is a warning.
 *
 * All functions run as their invoker.  Where row-level security would hide
 * rows from the caller they stop with an error, for "not attached", "not
 * killed" and "nothing to queue" would be wrong answers.  status() answers
 * whatever the condition the pipeline is in.
 *
 *-------------------------------------------------------------------------
 */

-- sees_all(): whether row-level security leaves every row of a table to the caller: it is off for him, or a policy
-- shows him everything and none holds anything back.  Any other policy may hide a row.
CREATE FUNCTION assignment_v3.sees_all(relation oid)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT NOT row_security_active(relation) OR EXISTS (
		SELECT FROM pg_policy AS p
		WHERE p.polrelid = relation AND p.polcmd IN ('r', '*') AND p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) = 'true'
			AND EXISTS (SELECT FROM unnest(p.polroles) AS r (oid) WHERE r.oid = 0 OR pg_has_role(r.oid, 'USAGE')))
	AND NOT EXISTS (
		SELECT FROM pg_policy AS p
		WHERE p.polrelid = relation AND p.polcmd IN ('r', '*') AND NOT p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) <> 'true'
			AND EXISTS (SELECT FROM unnest(p.polroles) AS r (oid) WHERE r.oid = 0 OR pg_has_role(r.oid, 'USAGE')));
$$;
COMMENT ON FUNCTION assignment_v3.sees_all(oid) IS
	'Internal to status() and verify(): whether row-level security hides no row of a table from the caller';

-- check_sees_all(): refuses a caller who would be told less than there is.  A table that does not exist hides nothing.
-- Errors: 42501.
CREATE FUNCTION assignment_v3.check_sees_all(relation oid)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT assignment_v3.sees_all(relation) THEN
		RAISE EXCEPTION 'row-level security hides rows of table "%" from role "%"', relation::regclass, CURRENT_USER
			USING ERRCODE = 'insufficient_privilege',
			HINT = format('The owner can run: SELECT * FROM assignment_v3.grant_monitoring(%L);', quote_ident(CURRENT_USER));
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.check_sees_all(oid) IS
	'Internal to status() and verify(): refuses a caller whom row-level security hides rows from';

-- bound_schema(): the schema that the pipeline is attached to.
-- Errors: 55000 not attached, or the schema is gone; 42501 where row-level security would hide that from the caller.
CREATE FUNCTION assignment_v3.bound_schema()
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	app_schema text;
BEGIN
	IF to_regclass('assignment_v3.binding') IS NOT NULL THEN
		PERFORM assignment_v3.check_sees_all('assignment_v3.binding'::regclass);
		SELECT b.app_schema INTO app_schema FROM assignment_v3.binding AS b;
	END IF;
	IF app_schema IS NULL THEN
		RAISE EXCEPTION 'assignment_v3 is not attached'
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run SELECT * FROM assignment_v3.attach().';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_namespace AS n WHERE n.nspname = app_schema) THEN
		RAISE EXCEPTION 'schema "%" is missing', app_schema
			USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'assignment_v3 is attached to it.',
			HINT = 'If it was renamed, run assignment_v3.detach() and attach to the new name.';
	END IF;
	RETURN app_schema;
END;
$$;
COMMENT ON FUNCTION assignment_v3.bound_schema() IS
	'Internal: the schema of the app, or the error that nothing is attached';

-- ---------------------------------------------------------------------
-- The kill switch
-- ---------------------------------------------------------------------

-- switch_reason(): the reason given for flipping the switch, without blanks around it.
-- Errors: PT422 none given.
CREATE FUNCTION assignment_v3.switch_reason(reason text)
RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	IF COALESCE(btrim(reason, E' \t\r\n'), '') = '' THEN
		RAISE EXCEPTION 'reason must not be empty'
			USING ERRCODE = 'PT422', HINT = 'Say in a few words why; status() and the trail will show it.';
	END IF;
	RETURN btrim(reason, E' \t\r\n');
END;
$$;
COMMENT ON FUNCTION assignment_v3.switch_reason(text) IS
	'Internal to kill() and revive(): checks the reason';

-- switch_record(): leaves the event of a flipped switch.  The app's own triggers on its events table see the
-- search_path they know; the function gives the caller's back when it ends.
CREATE FUNCTION assignment_v3.switch_record(app_schema text, event_type text, severity text, context jsonb,
	restaurant_id uuid DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET lock_timeout TO '2s'
AS $$
DECLARE
	statement text := format(
		'INSERT INTO %I.observability_events (created_at, source, event_type, severity, context, restaurant_id) '
		'VALUES (pg_catalog.clock_timestamp(), ''assignment.rollout'', %L, %L, %L, %L)',
		app_schema, event_type, severity, context, restaurant_id);
BEGIN
	PERFORM set_config('search_path', (SELECT b.search_path FROM assignment_v3.binding AS b), true);
	EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING 'could not write event "%": %', event_type, SQLERRM;
END;
$$;
COMMENT ON FUNCTION assignment_v3.switch_record(text, text, text, jsonb, uuid) IS
	'Internal: writes the event of what an operator did';

-- kill(): switches the pipeline off everywhere, at the next call of each session, and returns how many bookings it has
-- touched and not ended.  A second kill leaves who did it, when and why as the first one wrote it, since that is what
-- has to be mended before revive(); its own reason goes into the trail.
-- Errors: PT422 no reason, 55000 not attached, 25006 read-only.
CREATE FUNCTION assignment_v3.kill(reason text)
RETURNS bigint
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
	why text := assignment_v3.switch_reason(kill.reason);
	first_kill record;
BEGIN
	INSERT INTO assignment_v3.kill_switch (reason) VALUES (why) ON CONFLICT (singleton) DO NOTHING;
	IF NOT found THEN
		SELECT k.reason, k.killed_at, k.killed_by INTO first_kill FROM assignment_v3.kill_switch AS k;
		RAISE NOTICE 'the pipeline is already off'
			USING DETAIL = format('%s switched it off at %s: %s', first_kill.killed_by, first_kill.killed_at, first_kill.reason);
	END IF;
	PERFORM assignment_v3.switch_record(app_schema, 'rollout.killed', 'warning',
		jsonb_build_object('reason', why, 'by', CURRENT_USER));
	RETURN assignment_v3.unfinished_number(app_schema, NULL);
END;
$$;
COMMENT ON FUNCTION assignment_v3.kill(text) IS
	'Switches the pipeline off everywhere at once, whatever the flags say, and returns the number of unfinished bookings';

-- revive(): ends a kill.  Where there is none it says so and leaves no event.
-- Errors: PT422 no reason, 55000 not attached, 25006 read-only.
CREATE FUNCTION assignment_v3.revive(reason text)
RETURNS void
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
	why text := assignment_v3.switch_reason(revive.reason);
	ended record;
BEGIN
	PERFORM set_config('assignment_v3_audit.reason', why, true);
	DELETE FROM assignment_v3.kill_switch AS k
	RETURNING k.reason, k.killed_at, k.killed_by INTO ended;
	PERFORM set_config('assignment_v3_audit.reason', '', true);
	IF ended IS NULL THEN
		RAISE NOTICE 'the pipeline has not been killed';
		RETURN;
	END IF;
	PERFORM assignment_v3.switch_record(app_schema, 'rollout.revived', 'info', jsonb_build_object(
		'reason', why, 'by', CURRENT_USER,
		'killed', jsonb_build_object('reason', ended.reason, 'at', ended.killed_at, 'by', ended.killed_by)));
	PERFORM assignment_v3.wake_workers();
END;
$$;
COMMENT ON FUNCTION assignment_v3.revive(text) IS
	'Ends a kill(): the pipeline does again what the flags say';

-- ---------------------------------------------------------------------
-- Status
--
-- Each part returns (item, value, source, detail).
-- ---------------------------------------------------------------------

-- status_versions(): what is installed, and what the session has loaded.
CREATE FUNCTION assignment_v3.status_versions()
RETURNS TABLE (item text, value text, source text, detail text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT 'extension version', e.extversion, 'CREATE EXTENSION', format('in schema %I', n.nspname)
FROM pg_extension AS e
JOIN pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extname = 'assignment_v3'
UNION ALL
SELECT 'library version', l.version, 'shared library', CASE
	WHEN l.version <> e.extversion
		THEN 'differs from the extension: run ALTER EXTENSION assignment_v3 UPDATE, or reconnect where it has been run' END
FROM pg_extension AS e
CROSS JOIN assignment_v3.library_version() AS l (version)
WHERE e.extname = 'assignment_v3';
$$;
COMMENT ON FUNCTION assignment_v3.status_versions() IS
	'Internal to status(): versions';

-- status_binding(): what is attached: the schema, each relation in it, and triggers that are not as attach() made them.
CREATE FUNCTION assignment_v3.status_binding()
RETURNS TABLE (item text, value text, source text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	bound record;
BEGIN
	IF to_regclass('assignment_v3.binding') IS NOT NULL THEN
		PERFORM assignment_v3.check_sees_all('assignment_v3.binding'::regclass);
		SELECT b.app_schema, b.version, b.attached_at, b.attached_by INTO bound FROM assignment_v3.binding AS b;
	END IF;
	IF bound IS NULL THEN
		RETURN QUERY VALUES ('attached', 'no', NULL, 'run SELECT * FROM assignment_v3.attach()');
		RETURN;
	END IF;
	RETURN QUERY
		SELECT 'attached', 'yes', 'attach()', format('by %s on %s, with version %s%s', bound.attached_by, bound.attached_at, bound.version,
			CASE WHEN bound.version <> e.extversion THEN ': run attach() again' END)
		FROM pg_extension AS e
		WHERE e.extname = 'assignment_v3'
		UNION ALL
		SELECT 'schema', quote_ident(bound.app_schema), 'attach()',
			CASE WHEN NOT EXISTS (SELECT FROM pg_namespace AS n WHERE n.nspname = bound.app_schema) THEN 'missing' END;
	RETURN QUERY
		SELECT 'relation ' || r.relation, CASE WHEN r.oid IS NOT NULL THEN r.qualified END,
			CASE r.relation WHEN 'allocations' THEN 'found' ELSE 'attach()' END,
			COALESCE('owned by ' || pg_get_userbyid(r.owner), 'missing: run attach() again')
		FROM assignment_v3.attach_relations(bound.app_schema) AS r
		ORDER BY r.ordinal;
	RETURN QUERY
		SELECT p.object, CASE p.action WHEN 'created' THEN 'missing' WHEN 'enabled' THEN 'disabled' ELSE 'differs' END,
			'attach()', 'run attach() again'
		FROM (
			SELECT * FROM assignment_v3.attach_plan_triggers(bound.app_schema)
			UNION ALL SELECT * FROM assignment_v3.attach_plan_guards(bound.app_schema)
		) AS p
		ORDER BY p.place;
END;
$$;
COMMENT ON FUNCTION assignment_v3.status_binding() IS
	'Internal to status(): what is attached';

-- status_mode(): the effective mode of the fleet, or why there is none.
CREATE FUNCTION assignment_v3.status_mode()
RETURNS TABLE (item text, value text, source text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	message text;
	hint text;
BEGIN
	item := 'mode';
	SELECT m.mode, m.reason INTO value, source FROM assignment_v3.mode() AS m;
	detail := 'of the fleet; assignment_v3.mode(restaurant_id) tells that of one restaurant';
	RETURN NEXT;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	value := 'none';
	source := NULL;
	detail := concat_ws(': ', message, NULLIF(hint, ''));
	RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION assignment_v3.status_mode() IS
	'Internal to status(): the effective mode';

-- status_rollout(): the rows that weigh more than the settings.
CREATE FUNCTION assignment_v3.status_rollout()
RETURNS TABLE (item text, value text, source text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	IF to_regclass('assignment_v3.kill_switch') IS NOT NULL THEN
		PERFORM assignment_v3.check_sees_all('assignment_v3.kill_switch'::regclass);
		RETURN QUERY
			SELECT 'kill switch', CASE WHEN k.singleton THEN 'killed' ELSE 'not killed' END,
				k.killed_by, 'since ' || k.killed_at || ': ' || k.reason
			FROM (VALUES (true)) AS one (present)
			LEFT JOIN assignment_v3.kill_switch AS k ON k.singleton;
	END IF;
	IF to_regclass('assignment_v3.rollout') IS NOT NULL THEN
		PERFORM assignment_v3.check_sees_all('assignment_v3.rollout'::regclass);
		RETURN QUERY
			SELECT 'rollout of the fleet', r.mode, r.set_by, concat_ws(', ', 'since ' || r.set_at, 'percent ' || r.percent,
				'max_parallel ' || r.max_parallel, r.note)
			FROM assignment_v3.rollout AS r WHERE r.restaurant_id IS NULL;
		RETURN QUERY
			SELECT 'rollout of restaurants', COALESCE(sum(m.restaurants), 0)::text, NULL,
				string_agg(format('%s %s', m.mode, m.restaurants), ', ' ORDER BY m.mode)
			FROM (
				SELECT r.mode, count(*) AS restaurants FROM assignment_v3.rollout AS r
				WHERE r.restaurant_id IS NOT NULL GROUP BY r.mode
			) AS m;
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.status_rollout() IS
	'Internal to status(): kill switch and rollout rows';

-- status_source(): where the value of a setting comes from, by the role and the database it is stored for.
CREATE FUNCTION assignment_v3.status_source(role_name text, database_name text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT COALESCE(NULLIF(concat_ws(' in ', 'role "' || role_name || '"', 'database "' || database_name || '"'), ''), 'all roles');
$$;
COMMENT ON FUNCTION assignment_v3.status_source(text, text) IS
	'Internal to status(): names the place that a setting is stored in';

-- status_settings(): each setting as this session has it; then what is stored for this database or its roles and not
-- in force here, be it that it comes from elsewhere or that it was stored unchecked while the library was not loaded.
CREATE FUNCTION assignment_v3.status_settings()
RETURNS TABLE (item text, value text, source text, detail text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH setting AS MATERIALIZED (
	SELECT s.name, current_setting(s.name) AS value, s.setting, s.short_desc, CASE s.source
		WHEN 'global' THEN assignment_v3.status_source(NULL, NULL)
		WHEN 'database' THEN assignment_v3.status_source(NULL, current_database())
		WHEN 'user' THEN assignment_v3.status_source(SESSION_USER, NULL)
		WHEN 'database user' THEN assignment_v3.status_source(SESSION_USER, current_database())
		ELSE concat_ws(' ', s.source, s.sourcefile || ':' || s.sourceline)
	END AS source
	FROM pg_settings AS s
	WHERE s.name LIKE 'assignment\_v3.%'
), stored AS (
	SELECT lower(split_part(c.entry, '=', 1)) AS name, substr(c.entry, strpos(c.entry, '=') + 1) AS value,
		assignment_v3.status_source(r.rolname, d.datname) AS source
	FROM pg_db_role_setting AS s
	CROSS JOIN unnest(s.setconfig) AS c (entry)
	LEFT JOIN pg_roles AS r ON r.oid = s.setrole
	LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
	WHERE c.entry ILIKE 'assignment\_v3.%'
		AND (s.setdatabase = 0 OR d.datname = current_database())
)
SELECT line.name, line.value, line.source, line.detail
FROM (
	SELECT 1 AS part, s.name, s.value, s.source, s.short_desc AS detail
	FROM setting AS s
	UNION ALL
	SELECT 2, o.name, o.value, o.source, CASE
		WHEN assignment_v3.flag_accepts(o.name, o.value) THEN 'stored for sessions that start from now on'
		ELSE 'ignored: not a valid value' END
	FROM stored AS o
	WHERE NOT EXISTS (
		SELECT FROM setting AS s
		WHERE s.name = o.name AND s.source = o.source AND o.value IN (s.value, s.setting))
) AS line
ORDER BY line.name, line.part, line.source;
$$;
COMMENT ON FUNCTION assignment_v3.status_settings() IS
	'Internal to status(): settings, in force and stored';

-- status(): the condition of the pipeline, attached or not: versions, mode, kill switch and rollout rows, settings with
-- where they come from, and what is attached.  Asking the library for its version loads it, and with it the settings.
CREATE FUNCTION assignment_v3.status()
RETURNS TABLE (item text, value text, source text, detail text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY SELECT * FROM assignment_v3.status_versions();
	RETURN QUERY SELECT * FROM assignment_v3.status_mode();
	RETURN QUERY SELECT * FROM assignment_v3.status_rollout();
	RETURN QUERY SELECT * FROM assignment_v3.status_worker();
	RETURN QUERY SELECT * FROM assignment_v3.status_settings();
	RETURN QUERY SELECT * FROM assignment_v3.status_binding();
END;
$$;
COMMENT ON FUNCTION assignment_v3.status() IS
	'Shows versions, mode, kill switch, rollout, every setting with its source, and what is attached';

-- ---------------------------------------------------------------------
-- Counters
-- ---------------------------------------------------------------------

-- stats(): what has been counted since attach(), whether the transactions it happened in were committed or not.  Each
-- counter is the sequence of a column of assignment_v3.counters.
-- Errors: 55000 not attached, 42501 no right on the sequences.
CREATE FUNCTION assignment_v3.stats()
RETURNS TABLE (counter text, value bigint, meaning text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM assignment_v3.bound_schema();
	FOR counter, meaning IN
		SELECT c.name, c.comment FROM assignment_v3.attach_columns() AS c
		WHERE c.relation = 'counters' AND c.type = 'bigint' ORDER BY c.ordinal
	LOOP
		EXECUTE format('SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM assignment_v3.%I AS s',
			'counters_' || counter || '_seq') INTO value;
		RETURN NEXT;
	END LOOP;
END;
$$;
COMMENT ON FUNCTION assignment_v3.stats() IS
	'Counts decisions, errors, refusals, conflicts and late events, those of failed transactions included';
