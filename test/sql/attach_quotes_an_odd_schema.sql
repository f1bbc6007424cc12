-- The app's schema may have any name, and its triggers may rely on the search_path that its sessions have.  It could fail
-- wherever a name is pasted into SQL without quotes, taken for a placeholder or a format, or folded; and where the app's
-- triggers run under the path of whoever calls.
\set database odd_schema
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/schema_lines.sql
\set ECHO all
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
SELECT 'we ird "@bookings@" @app@ @state@ %I 100% O''Clock' AS shop \gset
CREATE SCHEMA :"shop";
SELECT format('ALTER DATABASE odd_schema SET search_path TO %I, public', :'shop') AS alter \gset
:alter;
\c
SET client_min_messages TO warning;
SET TimeZone TO 'UTC';
SELECT count(*) > 90 AS attached FROM assignment_v3.attach(quote_ident(:'shop')::regnamespace);
SELECT * FROM assignment_v3.attach(quote_ident(:'shop')::regnamespace);
SELECT app_schema = :'shop' AS schema, search_path FROM assignment_v3.binding;
SELECT count(*) AS tables FROM pg_class WHERE relnamespace = quote_ident(:'shop')::regnamespace AND relkind = 'r';
SELECT count(*) AS in_public FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r';

-- the app's own trigger and its table, found by search_path alone
CREATE TABLE seen (booking_id uuid, status text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO seen VALUES (NEW.id, NEW.status);
	RETURN NULL;
END
$$;
CREATE TRIGGER note AFTER UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO restaurants (id, name) VALUES ('a0000000-0000-0000-0000-000000000001', 'One');
INSERT INTO table_inventory (id, restaurant_id, table_number, capacity)
SELECT ('d0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', n, 4 FROM generate_series(1, 3) AS n;

-- everything that reads or writes the app's tables, from a session that has another path
SET assignment_v3.enabled TO on;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT ('b0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', 4, '2099-06-01 18:00+00', '2099-06-01 20:00+00'
FROM generate_series(1, 4) AS n;
SET search_path TO test, pg_temp;
SELECT table_numbers FROM assignment_v3.plan('b0000000-0000-0000-0000-000000000001', 1);
SELECT table_number, verdict FROM assignment_v3.explain('b0000000-0000-0000-0000-000000000001');
SELECT outcome FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000001');
CALL assignment_v3.run(1);
SELECT * FROM assignment_v3.transition('b0000000-0000-0000-0000-000000000003', 'failed');
SELECT * FROM assignment_v3.requeue('b0000000-0000-0000-0000-000000000003');
SELECT * FROM assignment_v3.assign('b0000000-0000-0000-0000-000000000003', '{d0000000-0000-0000-0000-000000000003}');
SELECT * FROM assignment_v3.reopen('b0000000-0000-0000-0000-000000000003');
SELECT colliding_booking_id FROM assignment_v3.block('{d0000000-0000-0000-0000-000000000001}', '2099-06-01', '2099-06-02');
SELECT assignment_v3.kill('drill'), assignment_v3.revive('drill');
SELECT assignment_v3.enqueue_existing('2000-01-01') AS queued;
SELECT count(*) FROM assignment_v3.purge('1 day');
SELECT * FROM assignment_v3.verify();
SELECT value = quote_ident(:'shop') AS schema FROM assignment_v3.status() WHERE item = 'schema';
SELECT status FROM assignment_v3.health;
SELECT (SELECT count(*) FROM assignment_v3.alerts) AS alerts, (SELECT sum(ended) FROM assignment_v3.confirmation_rate) AS ended,
	(SELECT count(*) FROM assignment_v3.manual_review_queue) AS reviews, (SELECT count(*) FROM assignment_v3.stuck_bookings) AS stuck,
	(SELECT count(*) > 0 FROM assignment_v3.latency) AS latency, (SELECT count(*) FROM assignment_v3.breakers) AS breakers,
	(SELECT count(*) FROM assignment_v3.slots) AS slots, (SELECT pending FROM assignment_v3.outbox_health) AS messages,
	(SELECT count(*) FROM assignment_v3.alternatives('b0000000-0000-0000-0000-000000000004')) AS alternatives;
SELECT split_part(assignment_v3.service_timeline('a0000000-0000-0000-0000-000000000001', '2099-06-01'), E'\n', 1) AS timeline;
SELECT assignment_v3.rollout_report() LIKE '%<h2>Alerts</h2>%' AS report;
SHOW search_path;
RESET search_path;
UPDATE bookings SET party_size = 2 WHERE id = 'b0000000-0000-0000-0000-000000000001';
SELECT right(booking_id::text, 1) AS n, status FROM seen ORDER BY 1, seen.ctid;
SELECT right(id::text, 1) AS n, assignment_state, assignment_state_version, status FROM bookings ORDER BY 1;
SELECT count(*) AS steps FROM assignment_v3.detach();
DROP EXTENSION assignment_v3;

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
