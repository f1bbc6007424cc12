/*-------------------------------------------------------------------------
 *
 * access.sql
 *		Who may do what: grant_access(), grant_monitoring(), expose() and the
 *		ways back.
 *
 * The functions written in C act as the owner of the bookings, past row-level
 * security.  So whoever may call one reaches every booking, and EXECUTE is for
 * the app's own server, never for a role that visitors of the app are given:
 * those are refused here.  Nothing here adds a right that the owner could not
 * give by hand; it only knows which ones belong together.
 *
 * First comes the data: which function serves whom, which tables it reads for
 * its caller, and which functions a REST client is offered.  A helper comes
 * along with the function that calls it, so that it needs no mention.  From
 * the data and the catalogue follow the items, each with whether it is granted
 * already; from these the steps, in either direction.  So a second call finds
 * nothing to do, and what is revoked is what was granted.
 *
 * expose() makes wrappers and their result types in a schema of the caller's
 * choice.  They belong to the caller and are no members of the extension;
 * their bodies are strings, so they depend on nothing in it: pg_dump dumps
 * them, and after DROP EXTENSION they say that it is gone.  Signatures and
 * results are read from the catalogue.  What is ours there is told by its
 * comment and by its owner, and nothing else is touched.
 *
 * Locks: creating, altering and dropping a policy takes ACCESS EXCLUSIVE on
 * its table until the end of the transaction; grants lock no table.
 *
 *-------------------------------------------------------------------------
 */

-- ---------------------------------------------------------------------
-- Who needs what
-- ---------------------------------------------------------------------

-- access_functions(): every function that somebody calls.  app: the app's server needs it; monitoring: it shows the
-- condition of the pipeline and writes nothing; neither: it is for the owner alone.
CREATE FUNCTION assignment_v3.access_functions()
RETURNS TABLE (name text, app boolean, monitoring boolean)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('process_booking', true, false),
	('process_due', true, false),
	('run', true, false),
	('plan', true, true),
	('explain', true, true),
	('alternatives', true, true),
	('transition', true, false),
	('requeue', true, false),
	('reopen', true, false),
	('assign', true, false),
	('block', true, false),
	('unblock', true, false),
	('claim_outbox', true, false),
	('complete_outbox', true, false),
	('fail_outbox', true, false),
	('transitions', true, true),
	('allowed_transitions', true, true),
	('state_diagram', true, true),
	('mode', true, true),
	('status', true, true),
	('workers', true, true),
	('service_timeline', true, false),
	('library_version', true, true),
	('flag_accepts', true, true),
	('verify', false, true),
	('rollout_report', false, true),
	('rollout_preview', false, true),
	('rollout_bucket', false, true),
	('unfinished', false, true),
	('gate', false, true),
	('gate_passed', false, true),
	('shadow_report', false, true),
	('shadow_side_effects', false, true),
	('stats', false, true),
	('attach', false, false),
	('detach', false, false),
	('enqueue_existing', false, false),
	('rebuild_queue', false, false),
	('pause', false, false),
	('resume', false, false),
	('run_at', false, false),
	('requeue_reviews', false, false),
	('queue_metrics', false, true),
	('why_waiting', false, true),
	('purge', false, false),
	('roll_months', false, false),
	('kill', false, false),
	('set_rollout', false, false),
	('clear_rollout', false, false),
	('open_breaker', false, false),
	('reset_breaker', false, false),
	('enter_phase', false, false),
	('sign_off', false, false),
	('record_incident', false, false),
	('revive', false, false),
	('grant_flags', false, false),
	('grant_access', false, false),
	('revoke_access', false, false),
	('grant_monitoring', false, false),
	('revoke_monitoring', false, false),
	('expose', false, false),
	('unexpose', false, false);
$$;
COMMENT ON FUNCTION assignment_v3.access_functions() IS
	'Internal to grant_access(): which function serves whom';

-- access_status_tables(): the pipeline's tables that status() and service_timeline() read in the name of their caller.
CREATE FUNCTION assignment_v3.access_status_tables()
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY['binding', 'kill_switch', 'rollout', 'blocks'];
$$;
COMMENT ON FUNCTION assignment_v3.access_status_tables() IS
	'Internal to grant_access(): the tables behind status() and service_timeline()';

-- access_private_tables(): the tables that hold what is told of guests.  Monitoring is shown only those of their
-- columns that the pipeline itself works with.
CREATE FUNCTION assignment_v3.access_private_tables()
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY['restaurants', 'bookings', 'capacity_outbox'];
$$;
COMMENT ON FUNCTION assignment_v3.access_private_tables() IS
	'Internal to grant_monitoring(): tables that are shown by the column';

-- access_visitors(): roles that PostgREST gives to whoever asks, and the one it logs in as.
CREATE FUNCTION assignment_v3.access_visitors()
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY['anon', 'authenticated', 'authenticator'];
$$;
COMMENT ON FUNCTION assignment_v3.access_visitors() IS
	'Internal to grant_access(): roles that must not reach every booking';

-- expose_functions(): what a REST client is offered, and the type of the one object it gets back.  Where the function
-- returns rows, the object has them in the list, as items.
CREATE FUNCTION assignment_v3.expose_functions()
RETURNS TABLE (name text, result text, list text, item text, comment text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
VALUES
	('process_booking', 'assignment_decision', NULL, NULL, 'Seats one booking, or says why not and when to come again'),
	('process_due', 'assignment_decisions', 'decisions', 'assignment_decision', 'Works off due bookings in one transaction'),
	('plan', 'assignment_plans', 'plans', 'assignment_plan', 'The best plans for a booking, best first'),
	('explain', 'assignment_explanation', 'tables', 'assignment_verdict', 'Why each table can or cannot seat a booking'),
	('assign', 'assignment_step', NULL, NULL, 'Seats a booking at chosen tables'),
	('requeue', 'assignment_step', NULL, NULL, 'Returns a booking from manual review or failed to the queue'),
	('reopen', 'assignment_step', NULL, NULL, 'Releases the tables of a confirmed booking and returns it to the queue'),
	('mode', 'assignment_mode', NULL, NULL, 'The effective mode of a restaurant or the fleet, and why'),
	('status', 'assignment_status', 'items', 'assignment_status_item', 'The condition of the pipeline');
$$;
COMMENT ON FUNCTION assignment_v3.expose_functions() IS
	'Internal to expose(): the functions behind the wrappers, and their results';

-- access_views(): the extension's views, all of them for monitoring, with the functions that they read.
CREATE FUNCTION assignment_v3.access_views()
RETURNS TABLE (view oid, functions oid[])
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT r.ev_class, array_agg(f.refobjid) FILTER (WHERE f.refclassid = 'pg_proc'::regclass)
FROM pg_rewrite AS r
JOIN pg_depend AS e ON e.classid = 'pg_class'::regclass AND e.objid = r.ev_class
	AND e.refclassid = 'pg_extension'::regclass AND e.deptype = 'e'
JOIN pg_extension AS x ON x.oid = e.refobjid AND x.extname = 'assignment_v3'
LEFT JOIN pg_depend AS f ON f.classid = 'pg_rewrite'::regclass AND f.objid = r.oid
GROUP BY r.ev_class;
$$;
COMMENT ON FUNCTION assignment_v3.access_views() IS
	'Internal to grant_monitoring(): the views and the functions that they read';

-- access_members(): the functions for a purpose: app, monitoring or api, the last meaning those behind the wrappers.
-- With each SQL or PL/pgSQL function come those that it calls, as long as they write nothing.
CREATE FUNCTION assignment_v3.access_members(purpose text)
RETURNS TABLE (function oid)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH RECURSIVE member AS (
	SELECT p.oid, p.proname, p.prosrc, p.provolatile, l.lanname
	FROM pg_proc AS p
	JOIN pg_language AS l ON l.oid = p.prolang
	WHERE p.pronamespace = 'assignment_v3'::regnamespace AND p.prorettype <> 'trigger'::regtype
), wanted (oid) AS (
	SELECT m.oid
	FROM member AS m
	LEFT JOIN assignment_v3.access_functions() AS f ON f.name = m.proname
	LEFT JOIN assignment_v3.expose_functions() AS e ON e.name = m.proname
	WHERE CASE purpose WHEN 'app' THEN f.app WHEN 'api' THEN e.name IS NOT NULL
		ELSE f.monitoring OR EXISTS (SELECT FROM assignment_v3.access_views() AS v WHERE m.oid = ANY (v.functions)) END
	UNION
	SELECT helper.oid
	FROM wanted AS w
	JOIN member AS caller ON caller.oid = w.oid AND caller.lanname <> 'c'
	CROSS JOIN LATERAL regexp_matches(caller.prosrc, 'assignment_v3\.(\w+)\(', 'g') AS call (names)
	JOIN member AS helper ON helper.proname = call.names[1] AND helper.provolatile <> 'v'
)
SELECT w.oid FROM wanted AS w;
$$;
COMMENT ON FUNCTION assignment_v3.access_members(text) IS
	'Internal to grant_access(): the functions for a purpose, with what they call';

-- access_tables(): the tables that those functions read in the name of their caller, with the columns to show where
-- not all of them are.
CREATE FUNCTION assignment_v3.access_tables(purpose text, app_schema text)
RETURNS TABLE (ordinal bigint, relation oid, qualified text, columns text[])
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT r.ordinal, r.oid, r.qualified, CASE WHEN r.relation = ANY (assignment_v3.access_private_tables()) THEN ARRAY(
	SELECT c.name
	FROM assignment_v3.attach_columns() AS c
	JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = c.name AND NOT a.attisdropped
	WHERE c.relation = r.relation AND (c.adopt <> 'optional' OR c.name = 'timezone') AND c.name <> 'payload'
	ORDER BY c.ordinal) END
FROM assignment_v3.attach_relations(app_schema) AS r
WHERE r.kind IN ('r', 'p') AND (purpose = 'monitoring' OR r.own AND r.relation = ANY (assignment_v3.access_status_tables()));
$$;
COMMENT ON FUNCTION assignment_v3.access_tables(text, text) IS
	'Internal to grant_access(): the tables for a purpose';

-- ---------------------------------------------------------------------
-- What is granted already
-- ---------------------------------------------------------------------

-- access_holds(): whether an access control list gives a role a right directly.
CREATE FUNCTION assignment_v3.access_holds(acl aclitem[], role oid, privilege text)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT EXISTS (SELECT FROM aclexplode(acl) AS a WHERE a.grantee = role AND a.privilege_type = privilege);
$$;
COMMENT ON FUNCTION assignment_v3.access_holds(aclitem[], oid, text) IS
	'Internal to grant_access(): whether a role has been given a right';

-- access_items(): what a role needs for a purpose.  granted: it has all of it; held: it has some; grantable: the caller
-- may give it.  USAGE on the app's schema is needed only where the role lacks it, and never taken back.
CREATE FUNCTION assignment_v3.access_items(purpose text, role oid, app_schema text)
RETURNS TABLE (place bigint[], privilege text, object text, granted boolean, held boolean, grantable boolean)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[1, CASE n.nspname WHEN 'assignment_v3' THEN 1 ELSE 2 END]::bigint[], 'USAGE', format('SCHEMA %I', n.nspname),
	h.held OR n.nspname <> 'assignment_v3' AND has_schema_privilege(role, n.oid, 'USAGE'),
	h.held AND n.nspname = 'assignment_v3', has_schema_privilege(n.oid, 'USAGE WITH GRANT OPTION')
FROM pg_namespace AS n
CROSS JOIN LATERAL assignment_v3.access_holds(n.nspacl, role, 'USAGE') AS h (held)
WHERE n.nspname = 'assignment_v3' OR n.nspname = app_schema AND purpose = 'monitoring'
UNION ALL
SELECT ARRAY[2, row_number() OVER (ORDER BY p.oid::regprocedure::text COLLATE "C")], 'EXECUTE',
	format('%s %s', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure),
	h.held, h.held, has_function_privilege(p.oid, 'EXECUTE WITH GRANT OPTION')
FROM assignment_v3.access_members(purpose) AS m
JOIN pg_proc AS p ON p.oid = m.function
CROSS JOIN LATERAL assignment_v3.access_holds(p.proacl, role, 'EXECUTE') AS h (held)
UNION ALL
SELECT ARRAY[3, t.ordinal], concat('SELECT', (SELECT ' (' || string_agg(quote_ident(u.name), ', ' ORDER BY u.n) || ')'
		FROM unnest(t.columns) WITH ORDINALITY AS u (name, n))),
	'TABLE ' || t.qualified, h.held OR COALESCE(cardinality(t.columns) = s.shown, false),
	CASE WHEN t.columns IS NULL THEN h.held ELSE s.shown > 0 END,
	has_table_privilege(t.relation, 'SELECT WITH GRANT OPTION')
FROM assignment_v3.access_tables(purpose, app_schema) AS t
JOIN pg_class AS c ON c.oid = t.relation
CROSS JOIN LATERAL assignment_v3.access_holds(c.relacl, role, 'SELECT') AS h (held)
CROSS JOIN LATERAL (
	SELECT count(*) FROM pg_attribute AS a
	WHERE a.attrelid = t.relation AND a.attname = ANY (t.columns) AND assignment_v3.access_holds(a.attacl, role, 'SELECT')
) AS s (shown)
UNION ALL
SELECT ARRAY[4, row_number() OVER (ORDER BY q.relname)], 'SELECT', format('SEQUENCE assignment_v3.%I', q.relname),
	h.held, h.held, has_sequence_privilege(q.oid, 'SELECT WITH GRANT OPTION')
FROM pg_depend AS d
JOIN pg_class AS q ON q.oid = d.objid AND q.relkind = 'S'
CROSS JOIN LATERAL assignment_v3.access_holds(q.relacl, role, 'SELECT') AS h (held)
WHERE purpose = 'monitoring' AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
	AND d.refobjid = to_regclass('assignment_v3.counters') AND d.refobjsubid > 0
UNION ALL
SELECT ARRAY[5, row_number() OVER (ORDER BY v.relname)], 'SELECT', format('TABLE assignment_v3.%I', v.relname),
	h.held, h.held, has_table_privilege(v.oid, 'SELECT WITH GRANT OPTION')
FROM assignment_v3.access_views() AS w
JOIN pg_class AS v ON v.oid = w.view
CROSS JOIN LATERAL assignment_v3.access_holds(v.relacl, role, 'SELECT') AS h (held)
WHERE purpose = 'monitoring';
$$;
COMMENT ON FUNCTION assignment_v3.access_items(text, oid, text) IS
	'Internal to grant_access(): rights for a purpose, and which are granted';

-- access_policies(): for each of these tables the policy that shows its rows to the roles of a purpose.  needed: row
-- security is on, and the role is not above it; listed: the policy names it.
CREATE FUNCTION assignment_v3.access_policies(purpose text, role oid, app_schema text)
RETURNS TABLE (ordinal bigint, relation oid, qualified text, name text, roles oid[], needed boolean, listed boolean)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT t.ordinal, t.relation, t.qualified, n.name, p.polroles,
	c.relrowsecurity AND NOT r.rolbypassrls,
	COALESCE(role = ANY (p.polroles), false)
FROM assignment_v3.access_tables(purpose, app_schema) AS t
JOIN pg_class AS c ON c.oid = t.relation
JOIN pg_roles AS r ON r.oid = role
CROSS JOIN (SELECT CASE purpose WHEN 'monitoring' THEN 'assignment_v3_monitoring' ELSE 'assignment_v3_access' END) AS n (name)
LEFT JOIN pg_policy AS p ON p.polrelid = t.relation AND p.polname = n.name;
$$;
COMMENT ON FUNCTION assignment_v3.access_policies(text, oid, text) IS
	'Internal to grant_access(): policies for a purpose, and who is in them';

-- ---------------------------------------------------------------------
-- The steps
-- ---------------------------------------------------------------------

-- access_plan_grant(): what is still to be granted.
CREATE FUNCTION assignment_v3.access_plan_grant(purpose text, role oid, app_schema text)
RETURNS TABLE (place bigint[], action text, object text, statement text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT i.place, 'granted', i.object, format('GRANT %s ON %s TO %I;', i.privilege, i.object, pg_get_userbyid(role))
FROM assignment_v3.access_items(purpose, role, app_schema) AS i
WHERE NOT i.granted
UNION ALL
SELECT ARRAY[6, p.ordinal, 1], CASE WHEN p.roles IS NULL THEN 'created' ELSE 'altered' END,
	format('POLICY %I ON %s', p.name, p.qualified),
	CASE WHEN p.roles IS NULL
		THEN format('CREATE POLICY %I ON %s FOR SELECT TO %I USING (true);', p.name, p.qualified, pg_get_userbyid(role))
		ELSE format('ALTER POLICY %I ON %s TO %s;', p.name, p.qualified, (SELECT string_agg(quote_ident(pg_get_userbyid(u.role)), ', ' ORDER BY u.n)
			FROM unnest(p.roles || role) WITH ORDINALITY AS u (role, n)))
	END
FROM assignment_v3.access_policies(purpose, role, app_schema) AS p
WHERE p.needed AND NOT p.listed
UNION ALL
SELECT ARRAY[6, p.ordinal, 2], 'commented', format('POLICY %I ON %s', p.name, p.qualified),
	format('COMMENT ON POLICY %I ON %s IS %L;', p.name, p.qualified, CASE purpose
		WHEN 'monitoring' THEN 'Roles given monitoring by assignment_v3.grant_monitoring() see every row'
		ELSE 'Roles given access by assignment_v3.grant_access() see every row' END)
FROM assignment_v3.access_policies(purpose, role, app_schema) AS p
WHERE p.needed AND p.roles IS NULL;
$$;
COMMENT ON FUNCTION assignment_v3.access_plan_grant(text, oid, text) IS
	'Internal to grant_access(): the missing steps in order';

-- access_plan_revoke(): what is still to be taken back.
CREATE FUNCTION assignment_v3.access_plan_revoke(purpose text, role oid, app_schema text)
RETURNS TABLE (place bigint[], action text, object text, statement text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[1, p.ordinal], CASE WHEN p.roles = ARRAY[role] THEN 'dropped' ELSE 'altered' END,
	format('POLICY %I ON %s', p.name, p.qualified),
	CASE WHEN p.roles = ARRAY[role]
		THEN format('DROP POLICY %I ON %s;', p.name, p.qualified)
		ELSE format('ALTER POLICY %I ON %s TO %s;', p.name, p.qualified, (SELECT string_agg(quote_ident(pg_get_userbyid(u.role)), ', ' ORDER BY u.n)
			FROM unnest(p.roles) WITH ORDINALITY AS u (role, n) WHERE u.role <> access_plan_revoke.role))
	END
FROM assignment_v3.access_policies(purpose, role, app_schema) AS p
WHERE p.listed
UNION ALL
SELECT 2 || i.place, 'revoked', i.object, format('REVOKE %s ON %s FROM %I;', i.privilege, i.object, pg_get_userbyid(role))
FROM assignment_v3.access_items(purpose, role, app_schema) AS i
WHERE i.held;
$$;
COMMENT ON FUNCTION assignment_v3.access_plan_revoke(text, oid, text) IS
	'Internal to revoke_access(): the steps back in order';

-- access_check_role(): whether a role may be given rights on the pipeline at all.
-- Errors: PT422 no role, PUBLIC, a superuser, the owner, or a role whose rights visitors have.
CREATE FUNCTION assignment_v3.access_check_role(role oid)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	grantee record;
	visitor name;
BEGIN
	SELECT r.rolname, r.rolsuper, r.oid = e.extowner AS owner INTO grantee
	FROM pg_roles AS r
	CROSS JOIN pg_extension AS e
	WHERE r.oid = access_check_role.role AND e.extname = 'assignment_v3';
	IF NOT found THEN
		RAISE EXCEPTION 'role must name an existing role, and not PUBLIC'
			USING ERRCODE = 'PT422', HINT = 'Name the role that the app''s server works as, such as service_role.';
	END IF;
	IF grantee.rolsuper OR grantee.owner THEN
		RAISE EXCEPTION 'role "%" has every right already', grantee.rolname
			USING ERRCODE = 'PT422', HINT = 'Name the role that the app''s server works as, such as service_role.';
	END IF;
	SELECT v.rolname INTO visitor
	FROM pg_roles AS v
	WHERE v.rolname = ANY (assignment_v3.access_visitors()) AND pg_has_role(v.oid, access_check_role.role, 'USAGE')
	ORDER BY v.rolname = grantee.rolname DESC, v.rolname
	LIMIT 1;
	IF found THEN
		RAISE EXCEPTION 'role "%" must not be given rights on the pipeline', grantee.rolname
			USING ERRCODE = 'PT422',
			DETAIL = concat_ws(' ', CASE WHEN visitor <> grantee.rolname THEN format('Role "%s" inherits its rights.', visitor) END,
				'The pipeline acts on every booking, past row-level security.'),
			HINT = 'Name the role that the app''s server works as, such as service_role.';
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.access_check_role(oid) IS
	'Internal to grant_access(): refuses roles that visitors are given';

-- access_check_grantor(): whether the caller may grant what is missing; GRANT itself would only warn.
-- Errors: 42501.
CREATE FUNCTION assignment_v3.access_check_grantor(purpose text, role oid, app_schema text)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	lacking text;
	owner name := (SELECT pg_get_userbyid(e.extowner) FROM pg_extension AS e WHERE e.extname = 'assignment_v3');
BEGIN
	SELECT string_agg(format('It may not grant %s on %s.', split_part(i.privilege, ' ', 1), i.object), E'\n' ORDER BY i.place)
	INTO lacking
	FROM assignment_v3.access_items(purpose, role, app_schema) AS i
	WHERE NOT i.granted AND NOT i.grantable;
	IF lacking IS NOT NULL THEN
		RAISE EXCEPTION 'role "%" has no right to pass on rights on the pipeline', CURRENT_USER
			USING ERRCODE = 'insufficient_privilege', DETAIL = lacking,
			HINT = CASE WHEN owner <> CURRENT_USER THEN format('Run SET ROLE %I first.', owner)
				ELSE 'The owner of these objects can grant the right with grant option.' END;
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.access_check_grantor(text, oid, text) IS
	'Internal to grant_access(): checks that the caller may grant what is missing';

-- access_check_revoked(): whether all is gone; a grant can be taken back only by who made it, or in his name.
-- Errors: 42501.
CREATE FUNCTION assignment_v3.access_check_revoked(purpose text, role oid, app_schema text)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	remaining text;
BEGIN
	SELECT string_agg(format('It still has %s on %s.', split_part(i.privilege, ' ', 1), i.object), E'\n' ORDER BY i.place)
	INTO remaining
	FROM assignment_v3.access_items(purpose, role, app_schema) AS i
	WHERE i.held;
	IF remaining IS NOT NULL THEN
		RAISE EXCEPTION 'could not take back all rights of role "%"', pg_get_userbyid(role)
			USING ERRCODE = 'insufficient_privilege', DETAIL = remaining,
			HINT = 'Run it as the role that granted them, as \dp and \df+ show it.';
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.access_check_revoked(text, oid, text) IS
	'Internal to revoke_access(): checks that nothing has been left';

-- access_grant(): takes the steps towards a purpose.
CREATE FUNCTION assignment_v3.access_grant(purpose text, role oid)
RETURNS TABLE (action text, object text, statement text)
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
	step record;
BEGIN
	PERFORM assignment_v3.access_check_role(role);
	PERFORM assignment_v3.access_check_grantor(purpose, role, app_schema);
	FOR step IN SELECT p.* FROM assignment_v3.access_plan_grant(purpose, role, app_schema) AS p ORDER BY p.place LOOP
		EXECUTE step.statement;
		action := step.action;
		object := step.object;
		statement := step.statement;
		RETURN NEXT;
	END LOOP;
END;
$$;
COMMENT ON FUNCTION assignment_v3.access_grant(text, oid) IS
	'Internal to grant_access(): takes the missing steps';

-- access_revoke(): takes the steps back.
CREATE FUNCTION assignment_v3.access_revoke(purpose text, role oid, app_schema text)
RETURNS TABLE (action text, object text, statement text)
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	step record;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = access_revoke.role)
		OR EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'assignment_v3' AND e.extowner = access_revoke.role)
	THEN
		PERFORM assignment_v3.access_check_role(role);
	END IF;
	FOR step IN SELECT p.* FROM assignment_v3.access_plan_revoke(purpose, role, app_schema) AS p ORDER BY p.place LOOP
		EXECUTE step.statement;
		action := step.action;
		object := step.object;
		statement := step.statement;
		RETURN NEXT;
	END LOOP;
	PERFORM assignment_v3.access_check_revoked(purpose, role, app_schema);
END;
$$;
COMMENT ON FUNCTION assignment_v3.access_revoke(text, oid, text) IS
	'Internal to revoke_access(): takes the steps back';

-- ---------------------------------------------------------------------
-- For the app's server and for monitoring
-- ---------------------------------------------------------------------

-- grant_access(): gives the role that the app's server works as what it needs, and no more.
-- Errors: PT422 a role that must not have it, 42501 the caller may not grant it, 55000 not attached.
CREATE FUNCTION assignment_v3.grant_access(role regrole)
RETURNS TABLE (action text, object text, statement text)
LANGUAGE sql
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT * FROM assignment_v3.access_grant('app', role);
$$;
COMMENT ON FUNCTION assignment_v3.grant_access(regrole) IS
	'Gives a service role exactly what the app needs, and reports each step; never to anon or authenticated';

-- revoke_access(): takes back what grant_access() and expose() have granted on the pipeline, attached or not.
-- Errors: PT422 no such role or the owner, 42501 somebody else has granted it.
CREATE FUNCTION assignment_v3.revoke_access(role regrole)
RETURNS TABLE (action text, object text, statement text)
LANGUAGE sql
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT * FROM assignment_v3.access_revoke('app', role, NULL);
$$;
COMMENT ON FUNCTION assignment_v3.revoke_access(regrole) IS
	'Takes back what grant_access() has given a role, and reports each step';

-- grant_monitoring(): lets a role read what dashboards and alerts show, every row of it, and nothing about guests.
-- Errors: PT422 a role that must not have it, 42501 the caller may not grant it, 55000 not attached.
CREATE FUNCTION assignment_v3.grant_monitoring(role regrole)
RETURNS TABLE (action text, object text, statement text)
LANGUAGE sql
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT * FROM assignment_v3.access_grant('monitoring', role);
$$;
COMMENT ON FUNCTION assignment_v3.grant_monitoring(regrole) IS
	'Lets a read-only role see the pipeline and its tables, past row-level security, and reports each step';

-- revoke_monitoring(): takes back what grant_monitoring() has granted.
-- Errors: PT422 no such role or the owner, 42501 somebody else has granted it, 55000 not attached.
CREATE FUNCTION assignment_v3.revoke_monitoring(role regrole)
RETURNS TABLE (action text, object text, statement text)
LANGUAGE sql
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT * FROM assignment_v3.access_revoke('monitoring', role, assignment_v3.bound_schema());
$$;
COMMENT ON FUNCTION assignment_v3.revoke_monitoring(regrole) IS
	'Takes back what grant_monitoring() has given a role, and reports each step';

-- ---------------------------------------------------------------------
-- For REST clients
-- ---------------------------------------------------------------------

-- expose_mark(): how the comment of each function and type made by expose() ends, by which it is known again.
CREATE FUNCTION assignment_v3.expose_mark()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT E'\n\nMade by assignment_v3.expose(); assignment_v3.unexpose() drops it.';
$$;
COMMENT ON FUNCTION assignment_v3.expose_mark() IS
	'Internal to expose(): the mark in the comments of what it makes';

-- expose_trusts(): whether what this role owns may be of expose()'s making: the caller, or who created the extension.
-- Membership is not enough: the owner of a database is a member of the roles that visitors are given.
CREATE FUNCTION assignment_v3.expose_trusts(owner oid)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = owner AND r.rolname = CURRENT_USER)
	OR EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'assignment_v3' AND e.extowner = owner AND pg_has_role(owner, 'USAGE'));
$$;
COMMENT ON FUNCTION assignment_v3.expose_trusts(oid) IS
	'Internal to expose(): whose functions and types may be of its making';

-- expose_columns(): what a function returns, as the catalogue has it.
CREATE FUNCTION assignment_v3.expose_columns(function oid)
RETURNS TABLE (ordinal bigint, name text, type text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT a.attnum::bigint, a.attname::text, format_type(a.atttypid, a.atttypmod)
FROM pg_proc AS p
JOIN pg_type AS t ON t.oid = p.prorettype
JOIN pg_attribute AS a ON a.attrelid = t.typrelid
WHERE p.oid = function AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT o.n, o.name, format_type(o.type, NULL)
FROM pg_proc AS p
CROSS JOIN LATERAL ROWS FROM (unnest(p.proargnames), unnest(p.proallargtypes), unnest(p.proargmodes))
	WITH ORDINALITY AS o (name, type, mode, n)
WHERE p.oid = function AND o.mode IN ('o', 't');
$$;
COMMENT ON FUNCTION assignment_v3.expose_columns(oid) IS
	'Internal to expose(): the columns of a function''s result';

-- expose_arguments(): what a function is called with: as declared, and passed on by name.
CREATE FUNCTION assignment_v3.expose_arguments(function oid)
RETURNS TABLE (declared text, passed text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT COALESCE(string_agg(concat(quote_ident(a.name), ' ', format_type(a.type, NULL),
		' DEFAULT ' || pg_get_function_arg_default(function, a.n::integer)), ', ' ORDER BY a.n), ''),
	COALESCE(string_agg(format('%I => $%s', a.name, a.n), ', ' ORDER BY a.n), '')
FROM pg_proc AS p
CROSS JOIN LATERAL ROWS FROM (unnest(p.proargnames), unnest(p.proargtypes::oid[])) WITH ORDINALITY AS a (name, type, n)
WHERE p.oid = function AND a.type IS NOT NULL;
$$;
COMMENT ON FUNCTION assignment_v3.expose_arguments(oid) IS
	'Internal to expose(): the arguments of a function';

-- expose_types(): the result types with their attributes, items before the lists of them, and what there is by that
-- name.  ours: made by expose().
CREATE FUNCTION assignment_v3.expose_types(api_schema text)
RETURNS TABLE (place bigint, name text, attributes text[], existing text[], oid oid, ours boolean)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH wanted AS (
	SELECT DISTINCT ON (w.name) w.place, w.name, w.attributes FROM (
		SELECT 1 AS place, COALESCE(f.item, f.result) AS name, (
			SELECT array_agg(format('%I %s', c.name, c.type) ORDER BY c.ordinal)
			FROM assignment_v3.expose_columns(p.oid) AS c) AS attributes
		FROM assignment_v3.expose_functions() AS f
		JOIN pg_proc AS p ON p.proname = f.name AND p.pronamespace = 'assignment_v3'::regnamespace
		UNION ALL
		SELECT 2, f.result, ARRAY[format('%I %I.%I[]', f.list, api_schema, f.item)]
		FROM assignment_v3.expose_functions() AS f
		WHERE f.item IS NOT NULL
	) AS w
	ORDER BY w.name
)
SELECT row_number() OVER (ORDER BY w.place, w.name COLLATE "C"), w.name, w.attributes, (
		SELECT array_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
		FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
	t.oid, COALESCE(strpos(obj_description(t.oid, 'pg_type'), assignment_v3.expose_mark()) > 0 AND assignment_v3.expose_trusts(t.typowner), false)
FROM wanted AS w
LEFT JOIN pg_namespace AS n ON n.nspname = api_schema
LEFT JOIN pg_type AS t ON t.typnamespace = n.oid AND t.typname = w.name;
$$;
COMMENT ON FUNCTION assignment_v3.expose_types(text) IS
	'Internal to expose(): the result types, wanted and existing';

-- expose_wrappers(): each function with its wrapper: how it is declared, its body, and what there is by that name and
-- those arguments.
CREATE FUNCTION assignment_v3.expose_wrappers(api_schema text)
RETURNS TABLE (place bigint, name text, function oid, signature text, declaration text, body text, comment text,
	oid oid, ours boolean, same boolean)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT f.place, f.name, p.oid,
	format('%I.%I(%s)', api_schema, f.name, oidvectortypes(p.proargtypes)),
	d.declaration, d.body, f.comment || assignment_v3.expose_mark(), x.oid,
	COALESCE(strpos(obj_description(x.oid, 'pg_proc'), assignment_v3.expose_mark()) > 0 AND assignment_v3.expose_trusts(x.proowner), false),
	x.prosrc = d.body AND NOT x.prosecdef AND x.provolatile = 'v' AND x.proconfig = ARRAY['search_path=pg_catalog, pg_temp']
		AND COALESCE(x.proargnames, '{}') = COALESCE(p.proargnames[1:p.pronargs], '{}') AND x.pronargdefaults = p.pronargdefaults
FROM assignment_v3.expose_functions() WITH ORDINALITY AS f (name, result, list, item, comment, place)
JOIN pg_proc AS p ON p.proname = f.name AND p.pronamespace = 'assignment_v3'::regnamespace
CROSS JOIN LATERAL assignment_v3.expose_arguments(p.oid) AS a
CROSS JOIN LATERAL (
	SELECT string_agg('r.' || quote_ident(c.name), ', ' ORDER BY c.ordinal) AS list FROM assignment_v3.expose_columns(p.oid) AS c
) AS columns
CROSS JOIN LATERAL (
	SELECT format(E'%I.%I(%s)\nRETURNS %1$I.%4$I', api_schema, f.name, a.declared, f.result) AS declaration,
		format(CASE WHEN f.item IS NULL
			THEN E'\nDECLARE\n\tresult %1$I.%2$I;\nBEGIN\n\tSELECT %3$s INTO result\n'
				'\tFROM assignment_v3.%4$I(%5$s) AS r;\n\tRETURN result;\nEND\n'
			ELSE E'\nDECLARE\n\tresult %1$I.%2$I;\nBEGIN\n\tresult.%6$I := ARRAY(\n\t\tSELECT ROW(%3$s)::%1$I.%7$I\n'
				'\t\tFROM assignment_v3.%4$I(%5$s) WITH ORDINALITY AS r\n\t\tORDER BY r.ordinality);\n\tRETURN result;\nEND\n'
			END, api_schema, f.result, columns.list, f.name, a.passed, f.list, f.item) AS body
) AS d
LEFT JOIN pg_namespace AS n ON n.nspname = api_schema
LEFT JOIN pg_proc AS x ON x.pronamespace = n.oid AND x.proname = f.name AND x.proargtypes = p.proargtypes;
$$;
COMMENT ON FUNCTION assignment_v3.expose_wrappers(text) IS
	'Internal to expose(): the wrappers, wanted and existing';

-- expose_plan_types(): the types that are missing, and attributes that have been added to a result since.
CREATE FUNCTION assignment_v3.expose_plan_types(api_schema text)
RETURNS TABLE (place bigint[], action text, object text, statement text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[t.place, 1], 'created', format('TYPE %I.%I', api_schema, t.name),
	format('CREATE TYPE %I.%I AS (%s);', api_schema, t.name, array_to_string(t.attributes, ', '))
FROM assignment_v3.expose_types(api_schema) AS t
WHERE t.oid IS NULL
UNION ALL
SELECT ARRAY[t.place, 2], 'commented', format('TYPE %I.%I', api_schema, t.name),
	format('COMMENT ON TYPE %I.%I IS %L;', api_schema, t.name, 'Result of the functions of the assignment pipeline' || assignment_v3.expose_mark())
FROM assignment_v3.expose_types(api_schema) AS t
WHERE t.oid IS NULL
UNION ALL
SELECT ARRAY[t.place, 3], 'altered', format('TYPE %I.%I', api_schema, t.name),
	format('ALTER TYPE %I.%I %s;', api_schema, t.name, (SELECT string_agg('ADD ATTRIBUTE ' || a.attribute, ', ' ORDER BY a.n)
		FROM unnest(t.attributes) WITH ORDINALITY AS a (attribute, n) WHERE a.n > cardinality(t.existing)))
FROM assignment_v3.expose_types(api_schema) AS t
WHERE cardinality(t.existing) < cardinality(t.attributes);
$$;
COMMENT ON FUNCTION assignment_v3.expose_plan_types(text) IS
	'Internal to expose(): steps for result types';

-- expose_plan_functions(): wrappers of ours that wrap nothing any more, and those that are missing or differ.
CREATE FUNCTION assignment_v3.expose_plan_functions(api_schema text)
RETURNS TABLE (place bigint[], action text, object text, statement text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[0, row_number() OVER (ORDER BY o.object COLLATE "C")], 'dropped', o.object, format('DROP %s;', o.object)
FROM assignment_v3.expose_made(api_schema) AS o
WHERE o.kind = 'FUNCTION' AND NOT EXISTS (SELECT FROM assignment_v3.expose_wrappers(api_schema) AS w WHERE w.oid = o.oid)
UNION ALL
SELECT ARRAY[w.place, 1], CASE WHEN w.oid IS NULL THEN 'created' ELSE 'replaced' END, 'FUNCTION ' || w.signature,
	format(E'CREATE %sFUNCTION %s\nLANGUAGE plpgsql VOLATILE SECURITY INVOKER\nSET search_path TO pg_catalog, pg_temp\nAS %L;',
		CASE WHEN w.oid IS NOT NULL THEN 'OR REPLACE ' END, w.declaration, w.body)
FROM assignment_v3.expose_wrappers(api_schema) AS w
WHERE w.same IS NOT TRUE
UNION ALL
SELECT ARRAY[w.place, 2], 'commented', 'FUNCTION ' || w.signature, format('COMMENT ON FUNCTION %s IS %L;', w.signature, w.comment)
FROM assignment_v3.expose_wrappers(api_schema) AS w
WHERE w.oid IS NULL OR obj_description(w.oid, 'pg_proc') <> w.comment;
$$;
COMMENT ON FUNCTION assignment_v3.expose_plan_functions(text) IS
	'Internal to expose(): steps for wrappers';

-- expose_plan_rights(): wrappers are for the role and for nobody who may not call what they wrap, whatever default
-- privileges say.
CREATE FUNCTION assignment_v3.expose_plan_rights(api_schema text, role oid)
RETURNS TABLE (place bigint[], action text, object text, statement text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT ARRAY[0, 0]::bigint[], 'granted', format('SCHEMA %I', n.nspname),
	format('GRANT USAGE ON SCHEMA %I TO %I;', n.nspname, pg_get_userbyid(role))
FROM pg_namespace AS n
WHERE n.nspname = api_schema AND NOT has_schema_privilege(role, n.oid, 'USAGE')
UNION ALL
SELECT ARRAY[w.place, 1], 'revoked', 'FUNCTION ' || w.signature, format('REVOKE ALL ON FUNCTION %s FROM %s;', w.signature,
	string_agg(CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, ', ' ORDER BY a.grantee))
FROM assignment_v3.expose_wrappers(api_schema) AS w
JOIN pg_proc AS p ON p.oid = w.oid
CROSS JOIN LATERAL aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) AS a
WHERE a.grantee <> p.proowner AND (a.grantee = 0 OR NOT has_function_privilege(a.grantee, w.function, 'EXECUTE'))
GROUP BY w.place, w.signature
UNION ALL
SELECT ARRAY[w.place, 2], 'granted', 'FUNCTION ' || w.signature,
	format('GRANT EXECUTE ON FUNCTION %s TO %I;', w.signature, pg_get_userbyid(role))
FROM assignment_v3.expose_wrappers(api_schema) AS w
JOIN pg_proc AS p ON p.oid = w.oid
WHERE NOT assignment_v3.access_holds(p.proacl, role, 'EXECUTE');
$$;
COMMENT ON FUNCTION assignment_v3.expose_plan_rights(text, oid) IS
	'Internal to expose(): steps for rights on the wrappers';

-- expose_plan(): the steps of one phase; a phase is planned when the ones before it have been taken.
CREATE FUNCTION assignment_v3.expose_plan(phase integer, api_schema text, role oid, app_schema text)
RETURNS TABLE (place bigint[], action text, object text, statement text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	CASE phase
		WHEN 1 THEN RETURN QUERY SELECT p.* FROM assignment_v3.access_plan_grant('api', role, app_schema) AS p;
		WHEN 2 THEN RETURN QUERY SELECT p.* FROM assignment_v3.expose_plan_types(api_schema) AS p;
		WHEN 3 THEN RETURN QUERY SELECT p.* FROM assignment_v3.expose_plan_functions(api_schema) AS p;
		WHEN 4 THEN RETURN QUERY SELECT p.* FROM assignment_v3.expose_plan_rights(api_schema, role) AS p;
	END CASE;
END;
$$;
COMMENT ON FUNCTION assignment_v3.expose_plan(integer, text, oid, text) IS
	'Internal to expose(): the steps of one phase';

-- expose_made(): the functions and types in a schema that bear our mark, in an order in which they can be dropped.
CREATE FUNCTION assignment_v3.expose_made(api_schema text)
RETURNS TABLE (place bigint, kind text, oid oid, object text)
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT 1, 'FUNCTION', p.oid, format('FUNCTION %s', p.oid::regprocedure)
FROM pg_proc AS p
JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = api_schema AND strpos(obj_description(p.oid, 'pg_proc'), assignment_v3.expose_mark()) > 0
	AND assignment_v3.expose_trusts(p.proowner)
UNION ALL
SELECT CASE WHEN EXISTS (
		SELECT FROM pg_attribute AS a JOIN pg_type AS l ON l.oid = a.atttypid
		WHERE a.attrelid = t.typrelid AND l.typnamespace = t.typnamespace) THEN 2 ELSE 3 END,
	'TYPE', t.oid, format('TYPE %s', t.oid::regtype)
FROM pg_type AS t
JOIN pg_namespace AS n ON n.oid = t.typnamespace
WHERE n.nspname = api_schema AND t.typtype = 'c' AND strpos(obj_description(t.oid, 'pg_type'), assignment_v3.expose_mark()) > 0
	AND assignment_v3.expose_trusts(t.typowner);
$$;
COMMENT ON FUNCTION assignment_v3.expose_made(text) IS
	'Internal to expose(): what it has made in a schema';

-- expose_check_schema(): the name of a schema that wrappers may be in.
-- Errors: PT422 no schema for wrappers.
CREATE FUNCTION assignment_v3.expose_check_schema(api_schema regnamespace)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	schema_name text := (SELECT n.nspname FROM pg_namespace AS n WHERE n.oid = api_schema);
BEGIN
	IF schema_name IS NULL OR schema_name IN ('assignment_v3', 'information_schema') OR schema_name LIKE 'pg\_%' THEN
		RAISE EXCEPTION 'api_schema must name a schema of the app'
			USING ERRCODE = 'PT422', HINT = 'Name a schema that PostgREST serves, such as one made by CREATE SCHEMA api.';
	END IF;
	RETURN schema_name;
END;
$$;
COMMENT ON FUNCTION assignment_v3.expose_check_schema(regnamespace) IS
	'Internal to expose(): checks its argument';

-- expose_check_caller(): whether the caller may make things in the schema, and let the role in.
-- Errors: 42501.
CREATE FUNCTION assignment_v3.expose_check_caller(api_schema text, role oid)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT has_schema_privilege(api_schema, 'CREATE') THEN
		RAISE EXCEPTION 'permission denied to create functions in schema "%"', api_schema
			USING ERRCODE = 'insufficient_privilege',
			HINT = format('Its owner can run: GRANT USAGE, CREATE ON SCHEMA %I TO %I;', api_schema, CURRENT_USER);
	END IF;
	IF NOT has_schema_privilege(role, api_schema, 'USAGE') AND NOT has_schema_privilege(api_schema, 'USAGE WITH GRANT OPTION') THEN
		RAISE EXCEPTION 'role "%" has no right to use schema "%"', pg_get_userbyid(role), api_schema
			USING ERRCODE = 'insufficient_privilege',
			HINT = format('Its owner can run: GRANT USAGE ON SCHEMA %I TO %I;', api_schema, pg_get_userbyid(role));
	END IF;
	IF has_schema_privilege('public', api_schema, 'CREATE') THEN
		RAISE WARNING 'everybody may create functions in schema "%"', api_schema
			USING DETAIL = format('Role "%s" could call somebody else''s of the same name.', pg_get_userbyid(role)),
			HINT = format('Run REVOKE CREATE ON SCHEMA %I FROM PUBLIC.', api_schema);
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.expose_check_caller(text, oid) IS
	'Internal to expose(): checks what the caller may do in the schema';

-- expose_check_names(): whether the names are free, or taken by an earlier expose().
-- Errors: 42710, with every name that is taken in its detail.
CREATE FUNCTION assignment_v3.expose_check_names(api_schema text)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	problems text;
BEGIN
	SELECT string_agg(p.problem, E'\n' ORDER BY p.problem COLLATE "C") INTO problems FROM (
		SELECT format('Function %s is not of its making.', w.signature) AS problem
		FROM assignment_v3.expose_wrappers(api_schema) AS w
		WHERE w.oid IS NOT NULL AND NOT w.ours
		UNION ALL
		SELECT format('Type %I.%I is not of its making.', api_schema, t.name)
		FROM assignment_v3.expose_types(api_schema) AS t
		WHERE t.oid IS NOT NULL AND NOT t.ours
		UNION ALL
		SELECT format('Type %I.%I has other attributes than those returned now.', api_schema, t.name)
		FROM assignment_v3.expose_types(api_schema) AS t
		WHERE t.ours AND t.existing <> t.attributes[1:cardinality(t.existing)]
	) AS p;
	IF problems IS NOT NULL THEN
		RAISE EXCEPTION 'expose() finds other things in schema "%"', api_schema
			USING ERRCODE = 'duplicate_object', DETAIL = problems,
			HINT = 'Use a schema of its own, such as one made by CREATE SCHEMA api; what expose() made itself, unexpose() drops.';
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.expose_check_names(text) IS
	'Internal to expose(): checks that its names are free';

-- expose(): makes the wrappers for PostgREST in a schema, lets the role call them and what is behind them, and reports
-- each step; none if nothing was missing.  All are volatile: PostgREST runs what is stable read-only.
-- Errors: PT422 a schema or a role that will not do, 42501 the caller may not, 42710 names taken, 55000 not attached.
CREATE FUNCTION assignment_v3.expose(api_schema regnamespace, role regrole)
RETURNS TABLE (action text, object text, statement text)
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	app_schema text := assignment_v3.bound_schema();
	schema_name text := assignment_v3.expose_check_schema(api_schema);
	step record;
BEGIN
	PERFORM assignment_v3.access_check_role(role);
	PERFORM assignment_v3.access_check_grantor('api', role, app_schema);
	PERFORM assignment_v3.expose_check_caller(schema_name, role);
	PERFORM assignment_v3.expose_check_names(schema_name);
	FOR phase IN 1 .. 4 LOOP
		FOR step IN SELECT p.* FROM assignment_v3.expose_plan(phase, schema_name, role, app_schema) AS p ORDER BY p.place LOOP
			EXECUTE step.statement;
			action := step.action;
			object := step.object;
			statement := step.statement;
			RETURN NEXT;
		END LOOP;
	END LOOP;
	IF statement IS NOT NULL THEN
		NOTIFY pgrst, 'reload schema';
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.expose(regnamespace, regrole) IS
	'Makes wrappers for a REST client in a schema, for one role, and reports each step';

-- unexpose(): drops what expose() has made in a schema, and reports each step.  The role keeps its rights on the
-- pipeline, which revoke_access() takes back.
-- Errors: PT422 no such schema, 42501 not the owner, 2BP01 something of the app's uses a type.
CREATE FUNCTION assignment_v3.unexpose(api_schema regnamespace)
RETURNS TABLE (action text, object text, statement text)
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	schema_name text := assignment_v3.expose_check_schema(api_schema);
	step record;
BEGIN
	FOR step IN SELECT m.object FROM assignment_v3.expose_made(schema_name) AS m ORDER BY m.place, m.object COLLATE "C" LOOP
		action := 'dropped';
		object := step.object;
		statement := format('DROP %s;', step.object);
		EXECUTE statement;
		RETURN NEXT;
	END LOOP;
	IF statement IS NOT NULL THEN
		NOTIFY pgrst, 'reload schema';
	END IF;
END;
$$;
COMMENT ON FUNCTION assignment_v3.unexpose(regnamespace) IS
	'Drops the wrappers and types that expose() has made in a schema, and reports each step';
