-- test.schema_lines(): what attach() makes in a schema and in assignment_v3, a line each, so that two databases can be
-- compared: enums, tables, columns, constraints, indexes, triggers and comments.
CREATE FUNCTION test.schema_lines(app_schema text DEFAULT 'public') RETURNS SETOF text
LANGUAGE sql STABLE SET search_path TO pg_catalog AS $$
WITH rel AS (
	SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, c.relrowsecurity, c.relforcerowsecurity, c.reloptions
	FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
	WHERE n.nspname IN (app_schema, 'assignment_v3') AND c.relkind IN ('r', 'p')
)
SELECT format('type %s: %s', t.oid::regtype, (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid))
FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace WHERE n.nspname = app_schema AND t.typtype = 'e'
UNION ALL
SELECT format('table %s: row security %s, forced %s, options %s, comment %s', rel.name, rel.relrowsecurity, rel.relforcerowsecurity, rel.reloptions,
	obj_description(rel.oid, 'pg_class')) FROM rel
UNION ALL
SELECT format('column %s.%I: %s%s%s%s, comment %s', rel.name, a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' NOT NULL' END,
	' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), ' IDENTITY ' || NULLIF(a.attidentity::text, ''), col_description(rel.oid, a.attnum))
FROM rel JOIN pg_attribute AS a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT format('constraint %s.%I: %s', rel.name, con.conname, pg_get_constraintdef(con.oid))
FROM rel JOIN pg_constraint AS con ON con.conrelid = rel.oid WHERE con.contype IN ('p', 'u', 'x', 'f', 'c')
UNION ALL
SELECT format('index %s', pg_get_indexdef(i.indexrelid))
FROM rel JOIN pg_index AS i ON i.indrelid = rel.oid
UNION ALL
SELECT format('trigger %s enabled %s', pg_get_triggerdef(t.oid), t.tgenabled)
FROM rel JOIN pg_trigger AS t ON t.tgrelid = rel.oid WHERE NOT t.tgisinternal
$$;
