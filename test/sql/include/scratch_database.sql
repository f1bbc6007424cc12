-- Gives a regression test a database of its own, named by the variable database, and goes there.  The test ends with
-- drop_scratch_database.sql.  In between it calls test.refusal(statement), which runs a statement and returns the
-- SQLSTATE and the texts of its error as rows, or 'no error'.
\set SHOW_CONTEXT never
\set origin :DBNAME
SET client_min_messages TO warning;
DROP DATABASE IF EXISTS :"database";
CREATE DATABASE :"database" TEMPLATE template0;
\c :database
SET client_min_messages TO warning;
SET TimeZone TO 'UTC';
SET DateStyle TO 'ISO, YMD';
SET IntervalStyle TO 'postgres';

CREATE SCHEMA test;
GRANT USAGE ON SCHEMA test TO PUBLIC;

CREATE FUNCTION test.refusal(statement text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN NEXT 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN NEXT SQLSTATE || ' ' || message;
	IF detail <> '' THEN
		RETURN NEXT 'DETAIL ' || detail;
	END IF;
	IF hint <> '' THEN
		RETURN NEXT 'HINT ' || hint;
	END IF;
END;
$$;
