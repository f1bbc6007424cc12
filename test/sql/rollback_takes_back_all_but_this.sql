-- shadow_side_effects() names what rolling a rehearsal back doesn't undo, before anybody finds out in production: numbers
-- drawn by defaults, and calls of the app's triggers that leave the transaction, also behind a helper.  What is
-- transactional is not named, or the list would be too long to be read.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database side_effects
\i :setup
SELECT * FROM assignment_v3.shadow_side_effects();

CREATE SEQUENCE reference_numbers;
ALTER TABLE capacity_outbox ADD COLUMN reference bigint NOT NULL DEFAULT nextval('reference_numbers');
CREATE SCHEMA net;
CREATE FUNCTION net.http_post(url text, body jsonb) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
CREATE FUNCTION dblink_exec(target text, statement text) RETURNS text LANGUAGE sql AS $$SELECT ''$$;
CREATE FUNCTION audit_elsewhere(what text) RETURNS void LANGUAGE plpgsql AS
	$$BEGIN PERFORM dblink_exec('host=elsewhere', 'INSERT INTO audit VALUES (1)'); END$$;
CREATE FUNCTION on_booking() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM audit_elsewhere(NEW.status); RETURN NEW; END$$;
CREATE FUNCTION on_message() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN PERFORM net.http_post('https://example.com', '{}'), nextval('reference_numbers'); RETURN NEW; END$$;
CREATE FUNCTION harmless() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN PERFORM pg_notify('bookings', NEW.id::text), pg_advisory_xact_lock(1), set_config('my.x', 'y', true); RETURN NEW; END$$;
CREATE TRIGGER webhook AFTER UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION on_booking();
CREATE TRIGGER harmless AFTER UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION harmless();
CREATE TRIGGER send AFTER INSERT ON capacity_outbox FOR EACH ROW EXECUTE FUNCTION on_message();
CREATE TRIGGER elsewhere AFTER INSERT ON restaurants FOR EACH ROW EXECUTE FUNCTION on_message();
SELECT * FROM assignment_v3.shadow_side_effects();

-- It is true of sequences.
CALL test.open(1, 2);
CALL test.book(1);
SET assignment_v3.shadow = on;
SELECT last_value, is_called FROM booking_assignment_state_history_id_seq;
SELECT outcome, shadow_outcome FROM test.decide(1);
SELECT last_value, is_called FROM booking_assignment_state_history_id_seq;

-- Before attach() the schema has to be named, and may have nothing yet.
CREATE SCHEMA empty;
SELECT * FROM assignment_v3.shadow_side_effects('empty');
\o /dev/null
SELECT * FROM assignment_v3.detach();
\o
-- the first attach() lists them, in a dry run too, and a second one does not
SELECT object, statement FROM assignment_v3.attach(dry_run => true) WHERE action = 'noted';
SELECT count(*) FROM assignment_v3.attach() WHERE action = 'noted';
SELECT count(*) FROM assignment_v3.attach();
\o /dev/null
SELECT * FROM assignment_v3.detach();
\o
SELECT count(*) FROM assignment_v3.shadow_side_effects('public');
SELECT * FROM test.refused('SELECT assignment_v3.shadow_side_effects()');

\c :origin
DROP DATABASE side_effects;
