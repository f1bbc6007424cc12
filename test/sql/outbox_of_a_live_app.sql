-- The outbox of a live app has an enum for its status, numbers of another width, columns and a trigger of its own, and
-- other index names; its messages must be claimed, marked and given back as ours are, whatever else is in it, and found
-- through an index. It could fail by comparing an enum with text, by writing what the app's column does not hold, or by
-- reading the whole outbox for one message.
\set database 'outbox_of_a_live_app'
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\set ECHO all
CREATE TYPE delivery AS ENUM ('pending', 'processing', 'done', 'dead', 'skipped');
CREATE TABLE capacity_outbox (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	status delivery NOT NULL DEFAULT 'pending',
	event_type varchar(100) NOT NULL,
	dedupe_key varchar(200),
	attempt_count smallint NOT NULL DEFAULT 0,
	next_attempt_at timestamptz NOT NULL DEFAULT now(),
	restaurant_id uuid,
	booking_id uuid,
	idempotency_key varchar(300),
	payload jsonb NOT NULL DEFAULT '{}',
	channel text NOT NULL DEFAULT 'mail',
	touched integer NOT NULL DEFAULT 0
);
CREATE INDEX outbox_by_status ON capacity_outbox (status, next_attempt_at);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.touched := OLD.touched + 1; RETURN NEW; END$$;
CREATE TRIGGER touch BEFORE UPDATE ON capacity_outbox FOR EACH ROW EXECUTE FUNCTION touch();
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
SELECT action, object FROM assignment_v3.attach() WHERE object ~ 'capacity_outbox';
SELECT count(*) FROM assignment_v3.attach() WHERE action IN ('added', 'created');

INSERT INTO capacity_outbox (id, event_type, dedupe_key, idempotency_key, created_at, next_attempt_at)
SELECT ('e0000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'booking.assignment_state.confirmed', 'x:' || n, 'key:' || n,
	now() - interval '1 hour' + n * interval '1 second', now() - interval '1 hour' + n * interval '1 second' FROM generate_series(1, 4) AS n;
-- what is done, what is not ours, and what is not due
INSERT INTO capacity_outbox (status, event_type, dedupe_key) SELECT 'done', 'booking.assignment_state.confirmed', n FROM generate_series(1, 3000) AS n;
INSERT INTO capacity_outbox (status, event_type, dedupe_key, next_attempt_at)
SELECT 'pending', 'booking.assignment_state.confirmed', 'later' || n, now() + interval '1 day' FROM generate_series(1, 3000) AS n;
INSERT INTO capacity_outbox (status, event_type, dedupe_key, next_attempt_at)
SELECT 'processing', 'booking.assignment_state.confirmed', 'leased' || n, now() + interval '1 day' FROM generate_series(1, 300) AS n;
INSERT INTO capacity_outbox (status, event_type, next_attempt_at) VALUES ('skipped', 'booking.assignment_state.confirmed', now() - interval '1 day');
CREATE VIEW test.reads AS
	SELECT t.seq_tup_read + (SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes AS i WHERE i.relid = t.relid) AS entries
	FROM pg_stat_user_tables AS t WHERE t.relname = 'capacity_outbox';
DO $$ BEGIN PERFORM pg_stat_force_next_flush(); END $$;
CREATE TABLE test.before AS SELECT * FROM test.reads;
SELECT right(id::text, 1) AS n, idempotency_key, attempt FROM assignment_v3.claim_outbox(max_rows => 3);
SELECT assignment_v3.complete_outbox(ARRAY['e0000000-0000-0000-0000-000000000002', 'e0000000-0000-0000-0000-000000000001']::uuid[]);
SELECT attempt, status FROM assignment_v3.fail_outbox('e0000000-0000-0000-0000-000000000003', 'mailbox full');
UPDATE capacity_outbox SET next_attempt_at = now() - interval '1 minute' WHERE id = 'e0000000-0000-0000-0000-000000000003';
SELECT right(id::text, 1) AS n, idempotency_key, attempt FROM assignment_v3.claim_outbox();
DO $$ BEGIN PERFORM pg_stat_force_next_flush(); END $$;
SELECT r.entries - b.entries < 100 AS few FROM test.reads AS r, test.before AS b;
SELECT right(id::text, 1) AS n, status, attempt_count, idempotency_key, channel, touched, updated_at > created_at AS updated
FROM capacity_outbox WHERE id::text LIKE 'e0000000-%' ORDER BY id;
SELECT event_type, context ->> 'error' AS error FROM observability_events WHERE source = 'assignment.outbox';

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
