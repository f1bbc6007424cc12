-- complain if the script is sourced in psql rather than run by CREATE EXTENSION
\echo Use "CREATE EXTENSION assignment_v3" to load this file. \quit

-- Nothing that somebody has planted in another schema is ever looked up here.
SET LOCAL search_path TO pg_catalog, pg_temp;
