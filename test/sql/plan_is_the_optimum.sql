-- plan() returns the optimum under the score, not the best of a sample, and the decision takes it.  The planner cuts off
-- what can't win any more, so a wrong bound would lose the best plan on some floor that nobody has drawn.  Here a search
-- that tries every set of tables is compared with it: on small random floors with everything that can bar a table,
-- under each strategy and several max_tables; and on a large one with 60 free tables and 200 adjacencies.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database optimum
\i :setup
SET assignment_v3.enabled = on;
SET jit = off;

-- A number that looks random and is the same in each run.
CREATE FUNCTION test.draw(low int, high int, VARIADIC what text[]) RETURNS int LANGUAGE sql IMMUTABLE AS
	$$SELECT low + ('x' || left(md5(what::text), 7))::bit(28)::int % (high - low + 1)$$;

-- Small floors: restaurant r has two zones and eight tables, r*100 + 1 to 8, whose numbers run otherwise.  Its bookings
-- r*100 + 1 to 5 have 0 to 4 failed attempts, so that each of them is up for another strategy.
CREATE PROCEDURE test.furnish(r int) LANGUAGE plpgsql AS $$
DECLARE
	capacity int;
BEGIN
	CALL test.open(r);
	INSERT INTO zones (id, restaurant_id, name) VALUES (test.id('c', r + 1000), test.id('a', r), 'Terrace');
	FOR n IN 1..8 LOOP
		capacity := test.draw(1, 4, 'capacity', r::text, n::text);
		INSERT INTO table_inventory (id, restaurant_id, zone_id, table_number, capacity, min_party_size, max_party_size,
			status, mobility, active)
		VALUES (test.id('d', r * 100 + n), test.id('a', r),
			CASE test.draw(1, 20, 'zone', r::text, n::text) WHEN 1 THEN NULL WHEN 2 THEN test.id('c', r + 1000)
				WHEN 3 THEN test.id('c', r + 1000) ELSE test.id('c', r) END,
			'T' || n * 5 % 17, capacity,
			CASE test.draw(1, 5, 'min', r::text, n::text) WHEN 1 THEN least(capacity, 3) ELSE 1 END,
			CASE test.draw(1, 5, 'max', r::text, n::text) WHEN 1 THEN capacity + 2 WHEN 2 THEN greatest(capacity - 1, 3) END,
			CASE test.draw(1, 15, 'status', r::text, n::text) WHEN 1 THEN 'out_of_service' WHEN 2 THEN 'occupied'
				ELSE 'available' END,
			CASE test.draw(1, 6, 'mobility', r::text, n::text) WHEN 1 THEN 'fixed' ELSE 'movable' END,
			test.draw(1, 15, 'active', r::text, n::text) > 1);
	END LOOP;
	INSERT INTO table_adjacencies
	SELECT test.id('d', r * 100 + a), test.id('d', r * 100 + b) FROM generate_series(1, 8) AS a, generate_series(1, 8) AS b
	WHERE a <> b AND test.draw(1, 100, 'edge', r::text, a::text, b::text) <= 35;
END;
$$;
-- Who sits, sat or will sit there; what is held, by whom, until when; what is blocked; what was tried before.
CREATE PROCEDURE test.occupy(r int) LANGUAGE plpgsql AS $$
DECLARE
	hold uuid;
BEGIN
	FOR n IN 1..5 LOOP
		CALL test.book(r * 100 + n, r, party => test.draw(1, 9, 'party', r::text, n::text),
			zone => CASE test.draw(1, 3, 'wish', r::text, n::text) WHEN 1 THEN r WHEN 2 THEN r + 1000 END);
		INSERT INTO booking_assignment_attempts (booking_id, attempt_no, result, metadata)
		SELECT test.id('b', r * 100 + n), a, 'failure', '{"version": 1}' FROM generate_series(1, n - 1) AS a;
	END LOOP;
	CALL test.book(r * 100 + 90, r, hour => 19, status => 'confirmed');
	CALL test.book(r * 100 + 91, r, hour => 16, status => 'confirmed');
	FOR n IN 1..8 LOOP
		CASE test.draw(1, 15, 'taken', r::text, n::text)
			WHEN 1, 2 THEN CALL test.seat(r * 100 + 90, r * 100 + n, 19);
			WHEN 3 THEN CALL test.seat(r * 100 + 91, r * 100 + n, 16);
			WHEN 4 THEN
				INSERT INTO assignment_v3.blocks (restaurant_id, table_id, start_at, end_at)
				VALUES (test.id('a', r), test.id('d', r * 100 + n), test.at(12), test.at(18 + n % 2));
			WHEN 5, 6 THEN
				INSERT INTO table_holds (restaurant_id, booking_id, start_at, end_at, expires_at, status)
				VALUES (test.id('a', r), CASE WHEN n % 2 = 0 THEN test.id('b', r * 100 + 1 + n % 5) END, test.at(17), test.at(19),
					now() + CASE WHEN r % 3 > 0 THEN interval '1 hour' ELSE interval '-1 hour' END,
					CASE WHEN r % 5 > 0 THEN 'active' ELSE 'released' END) RETURNING id INTO hold;
				INSERT INTO table_hold_windows (hold_id, table_id, restaurant_id, booking_id, start_at, end_at, expires_at)
				SELECT id, test.id('d', r * 100 + n), restaurant_id, booking_id, start_at, end_at, expires_at
				FROM table_holds WHERE id = hold;
			ELSE
		END CASE;
	END LOOP;
	FOR n IN 1..12 LOOP
		INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, status)
		SELECT test.id('b', r * 100 + 50 + n), restaurant_id, party_size, test.at(-n * 24), test.at(-n * 24 + 1),
			CASE WHEN n % 4 = 0 THEN 'no_show' ELSE 'completed' END
		FROM bookings WHERE id = test.id('b', r * 100 + 5);
		INSERT INTO booking_assignment_attempts (booking_id, attempt_no, result, metadata)
		SELECT test.id('b', r * 100 + 50 + n), 1, CASE WHEN n % 3 = 0 THEN 'failure' ELSE 'success' END,
			jsonb_build_object('table_ids', jsonb_agg(DISTINCT test.id('d', r * 100 + tried)))
		FROM generate_series(1, 1 + n % 3) AS i,
			LATERAL test.draw(1, 8, 'tried', r::text, n::text, i::text) AS tried;
	END LOOP;
END;
$$;
DO $$BEGIN FOR r IN 1..30 LOOP CALL test.furnish(r); CALL test.occupy(r); END LOOP; END$$;

-- The large floor: restaurant 90 with 60 tables, all free, and 200 adjacencies; 12 parties under each strategy.
CALL test.open(90);
INSERT INTO zones (id, restaurant_id, name) VALUES (test.id('c', 1090), test.id('a', 90), 'Terrace');
INSERT INTO table_inventory (id, restaurant_id, zone_id, table_number, capacity, mobility)
SELECT test.id('d', 9000 + n), test.id('a', 90), test.id('c', CASE WHEN n > 45 THEN 1090 ELSE 90 END), 'T' || n * 7 % 61,
	test.draw(2, 5, 'large', n::text), CASE WHEN n % 15 = 0 THEN 'fixed' ELSE 'movable' END
FROM generate_series(1, 60) AS n;
INSERT INTO table_adjacencies
SELECT a.id, b.id FROM table_inventory AS a JOIN table_inventory AS b ON b.zone_id = a.zone_id AND a.id < b.id
WHERE a.restaurant_id = test.id('a', 90) AND 'movable' = ALL (ARRAY[a.mobility, b.mobility])
ORDER BY md5(a.id::text || b.id) LIMIT 200;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, assigned_zone_id)
SELECT test.id('b', 9000 + party * 5 + n), test.id('a', 90), party, test.at(18), test.at(20), test.id('c', 90 + party % 2 * 1000)
FROM generate_series(1, 12) AS party, generate_series(0, 4) AS n;
INSERT INTO booking_assignment_attempts (booking_id, attempt_no, result, metadata)
SELECT id, a, 'failure', '{"version": 1}' FROM bookings, generate_series(1, 4) AS a
WHERE restaurant_id = test.id('a', 90) AND a <= test.no(id) % 5;
ANALYZE;

-- The search.  First every connected set of tables, by their numbers: on small floors up to six, on the large one three.
CREATE TABLE test.seat AS
SELECT id, restaurant_id, zone_id, substr(table_number, 2)::int AS number, capacity, min_party_size AS min_party,
	coalesce(max_party_size, capacity) AS max_party, mobility = 'movable' AS movable
FROM table_inventory;
CREATE TABLE test.link AS
SELECT t.restaurant_id, t.number AS one, o.number AS other
FROM test.seat AS t JOIN test.seat AS o ON o.zone_id = t.zone_id AND o.id <> t.id AND o.movable
WHERE t.movable AND EXISTS (SELECT FROM table_adjacencies AS e WHERE (e.table_a, e.table_b) IN ((t.id, o.id), (o.id, t.id)));
ANALYZE;
CREATE TABLE test.merge AS
WITH RECURSIVE grown AS (
	SELECT restaurant_id, ARRAY[number] AS numbers FROM test.seat
	UNION
	SELECT g.restaurant_id, ARRAY(SELECT n FROM unnest(g.numbers || l.other) AS n ORDER BY n)
	FROM grown AS g
	JOIN test.link AS l ON l.restaurant_id = g.restaurant_id AND l.one = ANY (g.numbers) AND l.other <> ALL (g.numbers)
	WHERE cardinality(g.numbers) < CASE g.restaurant_id WHEN test.id('a', 90) THEN 3 ELSE 6 END
)
SELECT g.restaurant_id, g.numbers, cardinality(g.numbers) AS size, (array_agg(s.zone_id))[1] AS zone_id,
	sum(s.capacity) AS capacity, max(s.min_party) AS min_party, sum(s.max_party) AS max_party,
	count(*) FILTER (WHERE s.movable) AS movable, jsonb_agg(s.id ORDER BY s.id) AS table_ids,
	(SELECT count(*) / 2 FROM test.link AS l
	WHERE l.restaurant_id = g.restaurant_id AND l.one = ANY (g.numbers) AND l.other = ANY (g.numbers)) AS links
FROM grown AS g JOIN test.seat AS s ON s.restaurant_id = g.restaurant_id AND s.number = ANY (g.numbers)
GROUP BY g.restaurant_id, g.numbers;
-- then what bars which table to each booking, and how full its zone is
CREATE TABLE test.view AS
SELECT b.id AS booking_id, s.zone_id, s.number,
	sum(s.capacity * a.taken::int) OVER zone * 10000 / sum(s.capacity) OVER zone AS load,
	a.taken OR NOT t.active OR t.status = 'out_of_service'
		OR EXISTS (SELECT FROM table_hold_windows AS w JOIN table_holds AS h ON h.id = w.hold_id
			WHERE w.table_id = t.id AND h.status = 'active' AND w.expires_at > now() AND w.booking_id IS DISTINCT FROM b.id
				AND (w.start_at, w.end_at) OVERLAPS (b.start_at, b.end_at))
		OR EXISTS (SELECT FROM assignment_v3.blocks AS k
			WHERE k.table_id = t.id AND (k.start_at, k.end_at) OVERLAPS (b.start_at, b.end_at)) AS barred
FROM bookings AS b JOIN test.seat AS s USING (restaurant_id) JOIN table_inventory AS t ON t.id = s.id
CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM booking_table_assignments AS a WHERE a.table_id = t.id AND a.booking_id <> b.id
	AND (a.start_at, a.end_at) OVERLAPS (b.start_at, b.end_at)) AS taken) AS a
WHERE b.status = 'pending'
WINDOW zone AS (PARTITION BY b.id, s.zone_id);
ALTER TABLE test.view ADD PRIMARY KEY (booking_id, number);
-- what is known of sets by the attempts of others
CREATE TABLE test.record AS
SELECT b.restaurant_id, b.party_size, a.metadata -> 'table_ids' AS table_ids, count(*) AS tries,
	count(*) FILTER (WHERE a.result = 'success' AND b.status <> 'no_show') AS successes
FROM bookings AS b JOIN booking_assignment_attempts AS a ON a.booking_id = b.id
WHERE a.metadata ? 'table_ids' GROUP BY 1, 2, 3;
ANALYZE;
-- and last all candidates, with their terms by the published formulas
CREATE TABLE test.candidate AS
SELECT test.no(b.id) AS booking, b.restaurant_id = test.id('a', 90) AS large, m.numbers,
	'T' || array_to_string(m.numbers, '+T') AS tables, m.size, m.capacity - b.party_size AS waste, w.strategy,
	CASE w.strategy
		WHEN 0 THEN m.movable
		WHEN 1 THEN m.size * (m.size - 1) / 2 - m.links
		WHEN 2 THEN CASE WHEN b.assigned_zone_id IS NULL OR m.zone_id IS NOT DISTINCT FROM b.assigned_zone_id THEN 0
			ELSE m.size END
		WHEN 3 THEN (SELECT v.load FROM test.view AS v WHERE v.booking_id = b.id AND v.number = m.numbers[1])
		WHEN 4 THEN -(coalesce(r.successes, 0) + 1) * 10000 / (coalesce(r.tries, 0) + 2)
	END AS term
FROM (
	SELECT booking_id, coalesce(array_agg(number) FILTER (WHERE barred), '{}') AS barred,
		(SELECT count(*) FROM booking_assignment_attempts AS a WHERE a.booking_id = v.booking_id) AS strategy
	FROM test.view AS v GROUP BY booking_id
) AS w
JOIN bookings AS b ON b.id = w.booking_id
JOIN test.merge AS m ON m.restaurant_id = b.restaurant_id AND NOT m.numbers && w.barred
	AND b.party_size BETWEEN m.min_party AND least(m.capacity, m.max_party)
LEFT JOIN test.record AS r ON r.restaurant_id = b.restaurant_id AND r.party_size = b.party_size AND r.table_ids = m.table_ids;
-- what contains another candidate is none
DELETE FROM test.candidate AS t USING test.candidate AS s
WHERE t.booking = s.booking AND NOT t.large AND t.numbers @> s.numbers AND t.size > s.size;

-- The comparison, plan by plan, on the small floors.
CREATE FUNCTION test.compare(max_tables int, OUT bookings bigint, OUT without_plan bigint, OUT plans bigint, OUT merges bigint,
	OUT differ bigint) LANGUAGE sql AS $$
	SELECT set_config('assignment_v3.max_tables', max_tables::text, false);
	WITH ours AS (
		SELECT test.no(b.id) AS booking, p.rank::bigint, array_to_string(p.table_numbers, '+') AS tables, p.score
		FROM bookings AS b CROSS JOIN LATERAL assignment_v3.plan(b.id, 100) AS p
		WHERE b.status = 'pending' AND b.restaurant_id <> test.id('a', 90)
	), theirs AS (
		SELECT booking, row_number() OVER (PARTITION BY booking ORDER BY waste, size, term, numbers) AS rank, tables,
			ARRAY[greatest(0, waste - 4), waste, size, term]::bigint[] AS score
		FROM test.candidate WHERE NOT large AND size <= max_tables
	)
	SELECT (SELECT count(*) FROM bookings WHERE status = 'pending' AND restaurant_id <> test.id('a', 90)),
		(SELECT count(*) FROM bookings AS b WHERE status = 'pending' AND restaurant_id <> test.id('a', 90)
			AND NOT EXISTS (SELECT FROM ours AS o WHERE o.booking = test.no(b.id))),
		count(*), count(*) FILTER (WHERE theirs.score[3] > 1),
		count(*) FILTER (WHERE (ours.tables, ours.score) IS DISTINCT FROM (theirs.tables, theirs.score))
	FROM ours FULL JOIN theirs USING (booking, rank)
$$;
SELECT m AS max_tables, c.* FROM unnest(ARRAY[1, 2, 3, 6]) AS m CROSS JOIN LATERAL test.compare(m) AS c ORDER BY m;
RESET assignment_v3.max_tables;
-- the floors were various enough for each strategy to have its way
SELECT strategy, size, count(*) > 1 AS often FROM (
	SELECT DISTINCT ON (booking) strategy, size FROM test.candidate WHERE NOT large AND size <= 3
	ORDER BY booking, waste, size, term, numbers
) AS b GROUP BY 1, 2 ORDER BY 1, 2;

-- The large floor, and with it the best of a list alone: fewer bounds hold where there is only one to beat.
CREATE TABLE test.best AS
SELECT DISTINCT ON (booking) booking, large, tables, ARRAY[greatest(0, waste - 4), waste, size, term]::bigint[] AS score
FROM test.candidate WHERE size <= 3 ORDER BY booking, waste, size, term, numbers;
SELECT large, count(*) AS bookings, count(*) FILTER (WHERE b.score[3] = 3) AS of_three,
	count(*) FILTER (WHERE (array_to_string(p.table_numbers, '+'), p.score) IS DISTINCT FROM (b.tables, b.score)) AS differ
FROM test.best AS b LEFT JOIN LATERAL assignment_v3.plan(test.id('b', b.booking), 1) AS p ON true
GROUP BY large ORDER BY large;
SELECT count(*) AS tables, (SELECT count(*) FROM table_adjacencies AS e JOIN test.seat AS s ON s.id = e.table_a
	WHERE s.restaurant_id = test.id('a', 90)) AS adjacencies
FROM test.seat WHERE restaurant_id = test.id('a', 90);

-- Decisions take the same tables.
CREATE FUNCTION test.would_take(n int, OUT tables text[]) LANGUAGE plpgsql AS $$
BEGIN
	SELECT array_agg(t.table_number ORDER BY substr(t.table_number, 2)::int) INTO tables
	FROM assignment_v3.process_booking(test.id('b', n)) AS d JOIN table_inventory AS t ON t.id = ANY (d.table_ids);
	RAISE 'rolled back';
EXCEPTION WHEN raise_exception THEN
	-- what was found stays in its variable
END;
$$;
SELECT count(*) AS bookings, count(d) AS confirmed,
	count(*) FILTER (WHERE array_to_string(d, '+') IS DISTINCT FROM b.tables) AS differ
FROM bookings AS k LEFT JOIN test.best AS b ON b.booking = test.no(k.id) CROSS JOIN LATERAL test.would_take(test.no(k.id)) AS d
WHERE k.status = 'pending';

\c :origin
DROP DATABASE optimum;
