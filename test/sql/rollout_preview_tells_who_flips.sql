-- rollout_preview() must name exactly the restaurants whose mode set_rollout() then changes, in the order in which the
-- rollout reaches them, with the bookings that wait there.  It computes beforehand what a decision will find out, so
-- the two could differ: in rows of restaurants themselves, in shadow beside the share, going up or going down.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database preview
\i :setup
INSERT INTO restaurants (id, name) SELECT test.id('a', n), 'Restaurant ' || n FROM generate_series(1, 200) AS n;
CREATE TABLE test.before (id uuid PRIMARY KEY, mode text);
CREATE TABLE test.promised (id uuid PRIMARY KEY, mode text, mode_then text, bucket int);

-- How many flips are promised, how many happen, and how many of either are not in the other.
CREATE FUNCTION test.flip(percent int, OUT promised bigint, OUT happened bigint, OUT wrong bigint, OUT in_order boolean) LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM test.before;
	INSERT INTO test.before SELECT r.id, (assignment_v3.mode(r.id)).mode FROM restaurants AS r;
	DELETE FROM test.promised;
	INSERT INTO test.promised SELECT p.restaurant_id, p.mode, p.mode_then, p.bucket FROM assignment_v3.rollout_preview(percent) AS p;
	in_order := (SELECT coalesce(array_agg(p.restaurant_id ORDER BY n) = array_agg(p.restaurant_id ORDER BY p.bucket, p.restaurant_id), true)
		FROM assignment_v3.rollout_preview(percent) WITH ORDINALITY AS p (restaurant_id, name, bucket, mode, mode_then, in_flight, unfinished, n));
	PERFORM assignment_v3.set_rollout(NULL, 'active', percent => flip.percent);
	SELECT count(p.id), count(c.id), count(*) FILTER (WHERE (p.mode, p.mode_then) IS DISTINCT FROM (c.mode, c.mode_then))
	INTO promised, happened, wrong
	FROM test.promised AS p
	FULL JOIN (SELECT b.id, b.mode, (assignment_v3.mode(b.id)).mode AS mode_then FROM test.before AS b) AS c
		ON c.id = p.id
	WHERE p.id IS NOT NULL OR c.mode <> c.mode_then;
	SELECT count(*) FILTER (WHERE b.mode <> (assignment_v3.mode(b.id)).mode) INTO happened FROM test.before AS b;
END;
$$;
SELECT p.n AS percent, f.promised > 0 AS any, f.promised = f.happened AS as_promised, f.wrong, f.in_order
FROM unnest(ARRAY[0, 10, 10, 50, 100, 50, 10, 0]) WITH ORDINALITY AS p (n, step) CROSS JOIN LATERAL test.flip(p.n) AS f ORDER BY p.step;
-- with restaurants that have been told apart, and shadow for the rest
SELECT count(assignment_v3.set_rollout(test.id('a', n), (ARRAY['active', 'shadow', 'disabled'])[n % 3 + 1])) FROM generate_series(1, 60) AS n;
SET assignment_v3.shadow = on;
SELECT p.n AS percent, f.promised > 0 AS any, f.promised = f.happened AS as_promised, f.wrong, f.in_order
FROM unnest(ARRAY[25, 75, 20]) WITH ORDINALITY AS p (n, step) CROSS JOIN LATERAL test.flip(p.n) AS f ORDER BY p.step;
RESET assignment_v3.shadow;
SELECT count(*) FROM assignment_v3.rollout_preview(20);

-- who would flip is whose bucket lies between, and the bucket is the documented hash
SELECT bool_and(p.bucket BETWEEN 2000 AND 2999) AS between_them, bool_and(p.mode = 'disabled' AND p.mode_then = 'active') AS upwards
FROM assignment_v3.rollout_preview(30) AS p;
SELECT count(*) FILTER (WHERE assignment_v3.rollout_bucket(r.id)
	<> mod(h.hash + CASE WHEN h.hash < 0 THEN 18446744073709551616 ELSE 0 END, 10000)) AS other_hash
FROM restaurants AS r CROSS JOIN LATERAL (SELECT uuid_hash_extended(r.id, 6211398811610009429)::numeric) AS h (hash);
SELECT assignment_v3.rollout_bucket(NULL);

-- bookings that wait there, and those of them that the pipeline has touched
SELECT restaurant_id AS first FROM assignment_v3.rollout_preview(0) LIMIT 1 \gset
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, status)
SELECT test.id('b', n), :'first', 2, test.at(18), test.at(20), CASE WHEN n = 4 THEN 'cancelled' ELSE 'pending' END FROM generate_series(1, 4) AS n;
DELETE FROM assignment_v3.queue WHERE booking_id = test.id('b', 3);
SELECT mode, mode_then, in_flight, unfinished FROM assignment_v3.rollout_preview(0) LIMIT 1;
SELECT sum(in_flight) AS in_flight, sum(unfinished) AS unfinished FROM assignment_v3.rollout_preview(0);

-- a pipeline that is off stays off
SELECT assignment_v3.kill('smoke') AS unfinished;
SET client_min_messages TO notice;
\set VERBOSITY terse
SELECT count(*) FROM assignment_v3.rollout_preview(100);
SET client_min_messages TO warning;
SELECT code, message FROM test.refused($$SELECT * FROM assignment_v3.rollout_preview(NULL)$$);
SELECT code, message FROM test.refused($$SELECT * FROM assignment_v3.rollout_preview(101)$$);

\c :origin
DROP DATABASE preview;
