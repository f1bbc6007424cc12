-- Each setting works for a session, a transaction, a database and a role; status() says where a value comes from.  A bad
-- value is refused, and one that was stored while the library was not loaded is ignored and pointed out, instead of
-- keeping everybody from connecting or putting the pipeline into a state that nobody asked for.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database settings_reach
\i :setup
CREATE FUNCTION test.settings() RETURNS TABLE (name text, value text, source text, detail text) LANGUAGE sql AS $$
	SELECT item, value, replace(source, '"' || CURRENT_USER || '"', 'me'), detail
	FROM assignment_v3.status() WHERE item LIKE 'assignment\_v3.%'
$$;
-- all there are, with their defaults
SELECT * FROM test.settings();

-- out of range, of no known word, of no known name
SELECT code, message LIKE '%"assignment_v3.max_parallel" (1 .. 20)' AS says_what_is_valid
FROM test.refused('SET assignment_v3.max_parallel = 0');
SELECT code FROM test.refused('SET assignment_v3.max_parallel = 21');
SELECT code FROM test.refused('SET assignment_v3.max_parallel = many');
SELECT code, message FROM test.refused('SET assignment_v3.enabled = banana');
SELECT code FROM test.refused('SET assignment_v3.shadow = maybe');
SELECT code FROM test.refused('SET assignment_v3.rollout_percent = 101');
SELECT code FROM test.refused('SET assignment_v3.rollout_percent = -1');
SELECT code FROM test.refused('SET assignment_v3.max_attempts = 0');
SELECT code FROM test.refused('SET assignment_v3.max_tables = 0');
SELECT code FROM test.refused('SET assignment_v3.max_tables = 7');
SELECT code FROM test.refused($$SET assignment_v3.retry_base_delay = '0ms'$$);
SELECT code FROM test.refused($$SET assignment_v3.breaker_cooldown = '-1s'$$);
SELECT code, message, hint FROM test.refused('SET assignment_v3.event_level = everything');
SELECT code FROM test.refused('SET assignment_v3.enabeld = on');
SELECT code FROM test.refused('ALTER DATABASE settings_reach SET assignment_v3.max_parallel = 0');
SELECT count(*) AS changed FROM test.settings() WHERE source <> 'default';

-- for a session, for a transaction, for a function
SET assignment_v3.enabled = on;
BEGIN;
SET LOCAL assignment_v3.enabled = off;
SET LOCAL assignment_v3.shadow = on;
SELECT * FROM assignment_v3.mode();
COMMIT;
SELECT * FROM assignment_v3.mode();
CREATE FUNCTION test.quiet_mode() RETURNS text LANGUAGE sql SET assignment_v3.enabled = off AS
	'SELECT mode FROM assignment_v3.mode()';
SELECT test.quiet_mode(), mode FROM assignment_v3.mode();
SELECT * FROM test.settings() WHERE source <> 'default';

-- stored for the database, the role, and the role in the database: in force in the next session
ALTER DATABASE settings_reach SET assignment_v3.shadow = on;
ALTER DATABASE settings_reach SET assignment_v3.max_parallel = 7;
ALTER DATABASE settings_reach SET assignment_v3.event_level = outcomes;
ALTER ROLE CURRENT_USER SET assignment_v3.step_log_level = debug2;
ALTER ROLE CURRENT_USER IN DATABASE settings_reach SET assignment_v3.max_parallel = 9;
ALTER ROLE ALL SET assignment_v3.retry_jitter = '250ms';
SELECT * FROM test.settings() WHERE source <> 'default';
\c :database
SELECT * FROM test.settings() WHERE source <> 'default';
SELECT * FROM assignment_v3.mode();
SET assignment_v3.shadow = off;
SELECT * FROM test.settings() WHERE source <> 'default' AND name = 'assignment_v3.shadow';
ALTER ROLE CURRENT_USER RESET assignment_v3.step_log_level;
ALTER ROLE ALL RESET assignment_v3.retry_jitter;
ALTER ROLE CURRENT_USER IN DATABASE settings_reach RESET ALL;
ALTER DATABASE settings_reach RESET ALL;

-- stored by a session that has not loaded the library, so that nobody could object
\c :origin
SET client_min_messages TO error;
ALTER DATABASE settings_reach SET assignment_v3.max_parallel = 0;
ALTER DATABASE settings_reach SET assignment_v3.enabled = banana;
ALTER DATABASE settings_reach SET assignment_v3.rollout_percent = 40;
ALTER DATABASE settings_reach SET assignment_v3.enabeld = on;
\c :database
SET client_min_messages TO error;
SELECT current_setting('assignment_v3.enabled') AS not_loaded;
SELECT * FROM assignment_v3.mode();
SELECT * FROM test.settings() WHERE source <> 'default';
SELECT name, value, source FROM test.settings()
WHERE name IN ('assignment_v3.enabled', 'assignment_v3.max_parallel') ORDER BY name, source;
CALL test.open(1, 2);
CALL test.book(1);
SELECT outcome, reason FROM test.decide(1);
SET assignment_v3.enabled = on;
SET assignment_v3.rollout_percent = 100;
SELECT outcome, reason FROM test.decide(1);
-- mended
ALTER DATABASE settings_reach RESET ALL;
\c :database
SET client_min_messages TO warning;
SELECT * FROM test.settings() WHERE source <> 'default';

-- A role without the right can't flip a switch, not even before the library is loaded.
CREATE ROLE regress_guest;
GRANT USAGE ON SCHEMA assignment_v3, test TO regress_guest;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA assignment_v3, test TO regress_guest;
\c :database
SET client_min_messages TO error;
SET ROLE regress_guest;
SET assignment_v3.enabled = on;
SELECT * FROM assignment_v3.mode();
SELECT code FROM test.refused('SET assignment_v3.enabled = on');
SELECT code FROM test.refused($$SELECT set_config('assignment_v3.shadow', 'on', false)$$);
SELECT code FROM test.refused('ALTER ROLE CURRENT_USER SET assignment_v3.enabled = on');
RESET ROLE;
SELECT * FROM assignment_v3.mode();
SELECT * FROM test.settings() WHERE source <> 'default';
DROP OWNED BY regress_guest;
DROP ROLE regress_guest;

\c :origin
DROP DATABASE settings_reach;
