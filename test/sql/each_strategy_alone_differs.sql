-- Five floors, on each of which one strategy alone chooses other tables than the remaining four: so each of the five
-- published terms decides, and none is a copy of another.  The strategy that comes next follows from the attempts that
-- have failed, for plan() as for the decision itself.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database each_strategy
\i :setup
SET assignment_v3.enabled = on;

-- Restaurant n is floor n.  Its bookings n1 to n5 want the same at the same time, and have 0 to 4 failed attempts.
CREATE PROCEDURE test.bookings(floor int, party int, zone int DEFAULT NULL) LANGUAGE sql AS $$
	INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at, assigned_zone_id)
	SELECT test.id('b', floor * 10 + n), test.id('a', floor), party, test.at(18), test.at(20), test.id('c', zone)
	FROM generate_series(1, 5) AS n;
	INSERT INTO booking_assignment_attempts (booking_id, attempt_no, result, reason, metadata)
	SELECT test.id('b', floor * 10 + n), a, 'failure', 'no_capacity', '{"version": 1}'
	FROM generate_series(1, 5) AS n, generate_series(1, n - 1) AS a;
$$;
CREATE PROCEDURE test.join_tables(VARIADIC pairs int[]) LANGUAGE sql AS $$
	INSERT INTO table_adjacencies
	SELECT test.id('d', pairs[n]), test.id('d', pairs[n + 1]) FROM generate_series(1, cardinality(pairs), 2) AS n
$$;

-- 1 optimal_fit: a fixed table leaves the movable ones free to merge
CALL test.open(1, 4, 4);
UPDATE table_inventory SET mobility = 'fixed' WHERE id = test.id('d', 102);
CALL test.bookings(1, party => 4);
-- 2 adjacency: a compact merge before a chain
CALL test.open(2, 2, 2, 2, 2);
CALL test.join_tables(201, 202, 202, 203, 202, 204, 203, 204);
CALL test.bookings(2, party => 6);
-- 3 zone_preference: the booking's own zone first
CALL test.open(3, 4, 4);
INSERT INTO zones (id, restaurant_id, name) VALUES (test.id('c', 33), test.id('a', 3), 'Terrace');
UPDATE table_inventory SET mobility = 'fixed' WHERE restaurant_id = test.id('a', 3);
UPDATE table_inventory SET zone_id = test.id('c', 33) WHERE id = test.id('d', 302);
CALL test.bookings(3, party => 4, zone => 33);
-- 4 load_balancing: the emptiest zone, by seats
CALL test.open(4, 4, 4, 4, 8);
INSERT INTO zones (id, restaurant_id, name) VALUES (test.id('c', 44), test.id('a', 4), 'Terrace');
UPDATE table_inventory SET mobility = 'fixed' WHERE restaurant_id = test.id('a', 4);
UPDATE table_inventory SET zone_id = test.id('c', 44) WHERE id IN (test.id('d', 402), test.id('d', 404));
CALL test.bookings(4, party => 4);
CALL test.book(400, 4, status => 'confirmed');
CALL test.seat(400, 403);
-- 5 historical_success: the set that held before, for the same party size
CALL test.open(5, 3, 3, 3);
CALL test.join_tables(501, 502, 502, 503);
CALL test.bookings(5, party => 6);
CREATE PROCEDURE test.tried(n int, tables int[], result text, party int DEFAULT 6, days int DEFAULT 1,
	status text DEFAULT 'completed') LANGUAGE sql AS $$
	CALL test.book(n, 5, party => party, hour => days * -24, status => status);
	INSERT INTO booking_assignment_attempts (booking_id, attempt_no, result, metadata)
	SELECT test.id('b', n), 1, tried.result, jsonb_build_object('table_ids', array_agg(test.id('d', t)))
	FROM unnest(tables) AS t;
$$;
CALL test.tried(501, '{501, 502}', 'failure');
CALL test.tried(502, '{502, 501}', 'success', status => 'cancelled');
CALL test.tried(503, '{502, 503}', 'success');
CALL test.tried(504, '{503, 502}', 'success', days => 80);
-- none of these counts: another party size, too far ahead, no tables, a table that is gone
CALL test.tried(505, '{501, 502}', 'success', party => 5);
CALL test.tried(506, '{501, 502}', 'success', days => -100);
CALL test.tried(507, '{}', 'success');
CALL test.tried(508, '{501, 502, 599}', 'success');

-- The table of choices: in each row one differs from the other four.
CREATE FUNCTION test.choice(n int, OUT strategy text, OUT tables text, OUT score text) LANGUAGE sql AS $$
	SELECT p.strategy, array_to_string(p.table_numbers, '+'), p.score::text FROM assignment_v3.plan(test.id('b', n), 1) AS p
$$;
SELECT floor,
	max(c.tables) FILTER (WHERE c.strategy = 'optimal_fit') AS optimal_fit,
	max(c.tables) FILTER (WHERE c.strategy = 'adjacency') AS adjacency,
	max(c.tables) FILTER (WHERE c.strategy = 'zone_preference') AS zone_preference,
	max(c.tables) FILTER (WHERE c.strategy = 'load_balancing') AS load_balancing,
	max(c.tables) FILTER (WHERE c.strategy = 'historical_success') AS historical_success
FROM generate_series(1, 5) AS floor, generate_series(1, 5) AS n CROSS JOIN LATERAL test.choice(floor * 10 + n) AS c
GROUP BY floor ORDER BY floor;
-- the terms, which are the last of each score, of the chosen and of the others
SELECT floor, p.strategy, p.rank, array_to_string(p.table_numbers, '+') AS tables, p.score, p.capacity, p.slack
FROM generate_series(1, 5) AS floor CROSS JOIN LATERAL assignment_v3.plan(test.id('b', floor * 11)) AS p
ORDER BY floor, p.rank;

-- Decisions choose the same.
CREATE FUNCTION test.would_choose(n int, OUT strategy text, OUT tables text) LANGUAGE plpgsql AS $$
BEGIN
	SELECT d.strategy, d.tables INTO strategy, tables FROM test.decide(n) AS d;
	RAISE 'rolled back';
EXCEPTION WHEN raise_exception THEN
	-- variables outlive the subtransaction
END;
$$;
SELECT floor, count(*) AS strategies, bool_and((d.strategy, d.tables) = (c.strategy, c.tables)) AS as_planned
FROM generate_series(1, 5) AS floor, generate_series(1, 5) AS n
CROSS JOIN LATERAL test.choice(floor * 10 + n) AS c CROSS JOIN LATERAL test.would_choose(floor * 10 + n) AS d
GROUP BY floor ORDER BY floor;

-- The strategies come one after the other as attempts fail; here until the floor has the tables.
UPDATE table_inventory SET active = false WHERE restaurant_id = test.id('a', 2);
SELECT strategy, reason FROM test.decide(21);
SELECT strategy, reason FROM test.decide(21);
UPDATE table_inventory SET active = true WHERE restaurant_id = test.id('a', 2);
SELECT strategy, tables FROM test.choice(21);
SELECT strategy, tables FROM test.decide(21);
-- after five of them the first again
INSERT INTO booking_assignment_attempts (booking_id, attempt_no, result, metadata)
VALUES (test.id('b', 15), 5, 'failure', '{"version": 1}');
SELECT strategy, tables FROM test.choice(15);

-- Zones are balanced by the window: where nobody sits at that time there is nothing to balance.
UPDATE bookings SET start_at = test.at(20), end_at = test.at(22) WHERE id = test.id('b', 44);
SELECT strategy, tables, score FROM test.choice(44);
-- A booking without a zone prefers none.
UPDATE bookings SET assigned_zone_id = NULL WHERE id = test.id('b', 33);
SELECT strategy, tables, score FROM test.choice(33);

\c :origin
DROP DATABASE each_strategy;
