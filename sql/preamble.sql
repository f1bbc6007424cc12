-- complain if the script is sourced in psql rather than run by CREATE EXTENSION
\echo Use "CREATE EXTENSION assignment_v3" to load this file. \quit

-- Nothing that somebody has planted in another schema is ever looked up here.
SET LOCAL search_path TO pg_catalog, pg_temp;

-- Nor in ours: what is called by name is looked up among all functions of that name, and the best match wins; a view runs
-- the functions of who made it.  Tables may be there from an earlier attach(), nothing else.  Where a plain owner creates
-- the extension, all of it must be his, and the schema too, or its owner could add some later; a superuser may restore
-- what belongs to others.
DO $$
DECLARE
	planted text;
BEGIN
	WITH trusted AS (
		SELECT r.oid FROM pg_roles AS r
		WHERE r.rolsuper OR r.oid = '@extowner@'::regrole
			OR EXISTS (SELECT FROM pg_roles AS o WHERE o.oid = '@extowner@'::regrole AND o.rolsuper)
	)
	SELECT string_agg(p.object, E'\n' ORDER BY p.object COLLATE "C") INTO planted
	FROM (
		SELECT f.oid::regprocedure::text AS object FROM pg_proc AS f WHERE f.pronamespace = 'assignment_v3'::regnamespace
		UNION ALL
		SELECT o.oid::regoperator::text FROM pg_operator AS o WHERE o.oprnamespace = 'assignment_v3'::regnamespace
		UNION ALL
		SELECT t.oid::regtype::text
		FROM pg_type AS t
		LEFT JOIN pg_class AS c ON c.oid = t.typrelid
		WHERE t.typnamespace = 'assignment_v3'::regnamespace AND t.typelem = 0 AND (t.typtype <> 'c' OR c.relkind = 'c')
		UNION ALL
		SELECT c.oid::regclass::text
		FROM pg_class AS c
		WHERE c.relnamespace = 'assignment_v3'::regnamespace AND (c.relkind IN ('v', 'm', 'f')
			OR c.relowner NOT IN (SELECT t.oid FROM trusted AS t))
		UNION ALL
		SELECT 'schema assignment_v3'
		FROM pg_namespace AS n
		WHERE n.nspname = 'assignment_v3' AND n.nspowner NOT IN (SELECT t.oid FROM trusted AS t)
	) AS p;
	IF planted IS NOT NULL THEN
		RAISE EXCEPTION 'schema "assignment_v3" is not free for the extension'
			USING ERRCODE = 'duplicate_object', DETAIL = planted,
			HINT = 'These are of somebody else''s making. Find out whose, then drop them or make them the property of who creates the extension.';
	END IF;
END
$$;
