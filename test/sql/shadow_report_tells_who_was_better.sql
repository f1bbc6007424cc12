-- shadow_report() pairs each rehearsed booking with what another writer made of it. A report that counted unpaired
-- bookings, took another table for a disagreement, a slow legacy path for a failure, or a handful of bookings for
-- evidence would let a worse pipeline pass, or hold a good one back.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database shadow_report
\i :setup
SET assignment_v3.shadow = on;
CALL test.open(1, 2, 2, 4);
CALL test.open(2, 2);

-- The interval, against values worked out by hand and in print (both, only first, only second, neither).
SELECT c.*, d.* FROM (VALUES (1, 1, 7, 12), (14, 5, 0, 22), (0, 0, 0, 0), (30, 0, 0, 0), (0, 30, 0, 0), (500, 10, 10, 480))
	AS c (both_confirmed, only_first, only_second, neither)
CROSS JOIN LATERAL assignment_v3.paired_difference(both_confirmed, only_first, only_second, neither) AS d;

SELECT * FROM assignment_v3.shadow_report();

CREATE PROCEDURE test.legacy(n int, VARIADIC tables int[]) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at)
	SELECT b.id, test.id('d', t.n), b.start_at, b.end_at FROM bookings AS b, unnest(tables) AS t (n) WHERE b.id = test.id('b', legacy.n);
	UPDATE bookings SET status = 'confirmed' WHERE id = test.id('b', legacy.n);
END;
$$;
CREATE PROCEDURE test.summary(n int, result text) LANGUAGE sql AS $$
	INSERT INTO observability_events (source, event_type, context, restaurant_id, booking_id)
	VALUES ('auto_assign', 'auto_assign.summary', jsonb_build_object('result', result), test.id('a', 1), test.id('b', n))
$$;
-- the same two seats, the other table of two, a table of four for two, two tables for two; each at an hour of its own
CALL test.book(1, hour => 1);
CALL test.book(2, hour => 4);
CALL test.book(3, hour => 7);
CALL test.book(4, hour => 10);
-- nobody, the pipeline alone, the legacy path alone (it has forgotten the smallest party), nobody yet
CALL test.book(5, hour => 13, party => 30);
CALL test.book(6, hour => 16);
CALL test.book(7, hour => 19, party => 5);
CALL test.book(8, hour => 22);
-- cancelled at once; seated by the pipeline in the end; another restaurant's, given up without a word
CALL test.book(9, hour => 25);
CALL test.book(10, hour => 28);
CALL test.book(11, hour => 1, restaurant => 2);
CALL assignment_v3.run();
CALL test.legacy(1, 101);
CALL test.legacy(2, 102);
CALL test.legacy(3, 103);
CALL test.legacy(4, 101, 102);
CALL test.legacy(7, 103);
CALL test.summary(5, 'exhausted');
CALL test.summary(6, 'error');
CALL test.summary(1, 'succeeded');
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 9);
SET assignment_v3.enabled = on;
SELECT outcome FROM test.decide(10);
SET assignment_v3.enabled = off;
UPDATE booking_assignment_shadow_results SET created_at = created_at - interval '11 minutes' WHERE booking_id = test.id('b', 11);

-- what the rows know by themselves
SELECT test.no(booking_id) AS booking, version, outcome, reason, test.tables(table_ids) AS tables, legacy_outcome,
	test.tables(legacy_table_ids) AS legacy_tables, legacy_at IS NOT NULL AS known
FROM booking_assignment_shadow_results ORDER BY 1, 2;
\x on
SELECT test.no(restaurant_id) AS restaurant, bookings, undecided, shadow_percent, legacy_percent, difference, difference_low,
	difference_high, both_confirmed, only_shadow, only_legacy, neither, same_tables, agreement_percent,
	jsonb_pretty(disagreements) AS disagreements, p50_ms > 0 AND p95_ms >= p50_ms AND p99_ms >= p95_ms AS latency, note
FROM assignment_v3.shadow_report();
\x off
-- the rehearsals that follow a confirmation see the same floor but for the booking's own tables, and change nothing here
CALL assignment_v3.run();
SELECT test.no(restaurant_id) AS restaurant, bookings, both_confirmed, only_shadow, only_legacy, neither, agreement_percent
FROM assignment_v3.shadow_report();
-- nothing that is older
SELECT bookings, undecided, note FROM assignment_v3.shadow_report('0 seconds');

-- The pipeline against itself: first and last rehearsal of a booking whose facts are the same.
SELECT test.no(restaurant_id) AS restaurant, bookings, difference, both_confirmed, only_shadow, only_legacy, neither, agreement_percent,
	disagreements, note
FROM assignment_v3.shadow_report(against => 'shadow');

-- Enough bookings to tell.  The legacy path seats all but one in ten, the pipeline all; then both do; then it is the
-- pipeline that fails one in ten.
CREATE PROCEDURE test.day(first int, missed_by_legacy int, missed_by_pipeline int) LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE booking_assignment_shadow_results;
	FOR n IN first..first + 199 LOOP
		CALL test.book(n, hour => 3 * n, party => CASE WHEN n % 200 < missed_by_pipeline THEN 30 ELSE 2 END);
		PERFORM test.decide(n);
		IF n % 200 < 200 - missed_by_legacy THEN
			CALL test.legacy(n, 101);
		ELSE
			CALL test.summary(n, 'exhausted');
		END IF;
	END LOOP;
END;
$$;
CALL test.day(200, 20, 0);
SELECT bookings, shadow_percent, legacy_percent, difference, difference_low, difference_high, agreement_percent, disagreements, note
FROM assignment_v3.shadow_report() WHERE restaurant_id IS NULL;
CALL test.day(400, 0, 0);
SELECT bookings, shadow_percent, legacy_percent, difference, difference_low, difference_high, agreement_percent, disagreements, note
FROM assignment_v3.shadow_report() WHERE restaurant_id IS NULL;
CALL test.day(600, 0, 30);
SELECT bookings, shadow_percent, legacy_percent, difference, difference_low, difference_high, agreement_percent, disagreements, note
FROM assignment_v3.shadow_report() WHERE restaurant_id IS NULL;
CALL test.day(800, 0, 10);
SELECT bookings, shadow_percent, legacy_percent, difference, difference_low, difference_high, agreement_percent, disagreements, note
FROM assignment_v3.shadow_report() WHERE restaurant_id IS NULL;

SELECT * FROM test.refused($$SELECT assignment_v3.shadow_report(NULL)$$);
SELECT * FROM test.refused($$SELECT assignment_v3.shadow_report('1 day', 'better')$$);

\c :origin
DROP DATABASE shadow_report;
