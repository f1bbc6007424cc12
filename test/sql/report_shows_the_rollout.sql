-- rollout_report() is one well-formed page that shows what the views and reports say: before anything has happened, and
-- after.  It could divide by nothing, draw a point outside its plot, break on a name with markup in it, or need something from
-- the network.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database report
\i :setup
CREATE VIEW test.page AS SELECT xmlparse(DOCUMENT assignment_v3.rollout_report()) AS page;
CREATE FUNCTION test.found(path text) RETURNS text LANGUAGE sql STABLE AS
	$$SELECT coalesce(string_agg(x::text, ' | ' ORDER BY n), 'nothing') FROM test.page, unnest(xpath(path, page)) WITH ORDINALITY AS x (x, n)$$;

-- nothing has happened
SELECT test.found('/html/body/main/h1/text()') AS heading, test.found('//h2/text()') AS sections;
SELECT test.found('//p[@class="none"]/text()') AS missing;
SELECT test.found('//div[@class="card"]/b/text()') AS numbers;
SELECT test.found('//span[starts-with(@class, "status")]/text()') AS status;
SELECT key, jsonb_typeof(value) AS type FROM jsonb_each(assignment_v3.rollout_report('json')::jsonb) ORDER BY key COLLATE "C";

-- bookings of two days, decisions of one, an alert and a guest with markup
SET assignment_v3.enabled = on;
CALL test.open(1, 2, 4);
CALL test.book(1, hour => 2);
CALL test.book(2, hour => 4);
CALL test.book(3, hour => 6);
CALL test.book(4, party => 9);
SELECT outcome, count(*) FROM generate_series(1, 4) AS n, test.decide(n) GROUP BY 1 ORDER BY 1;
SET assignment_v3.max_attempts = 1;
SELECT outcome FROM test.decide(4);
CREATE PROCEDURE test.happen(event text, ago interval, context jsonb) LANGUAGE sql AS $$
	INSERT INTO observability_events (source, event_type, created_at, context) VALUES ('assignment.coordinator', event, now() - ago, context)
$$;
DO $$
BEGIN
	FOR hour IN 0 .. 30 LOOP
		CONTINUE WHEN hour = 7;
		CALL test.happen('coordinator.confirmed', hour * interval '1 hour', format('{"mode": "active", "duration_ms": %s}', hour + 1)::jsonb);
		CALL test.happen('coordinator.confirmed', hour * interval '1 hour', '{"mode": "shadow", "duration_ms": 1000000}');
		INSERT INTO bookings (restaurant_id, party_size, start_at, end_at, created_at) VALUES (test.id('a', 1), 2, test.at(20), test.at(21), now() - hour * interval '1 hour');
	END LOOP;
	FOR i IN 1 .. 20 LOOP
		CALL test.happen('coordinator.start', '1 minute', '{"mode": "active"}');
		CALL test.happen('coordinator.error', '1 minute', '{"mode": "active"}');
	END LOOP;
END
$$;
UPDATE bookings SET assignment_state = 'failed' WHERE assignment_state = 'created' AND id::text NOT LIKE 'b0000000-0000-%';
INSERT INTO assignment_v3.kill_switch (reason, killed_by) VALUES ('<script>alert("x")</script> & so on', 'somebody');
SELECT test.found('//h2/text()') AS sections, test.found('//p[@class="none"]/text()') AS missing;
SELECT test.found('//span[starts-with(@class, "status")]/text()') AS status, test.found('count(//script)') AS scripts,
	test.found('//p[span]') LIKE '%&lt;script&gt;alert("x")&lt;/script&gt; &amp; so on%' AS escaped;
SELECT test.found('//section[h2="Where bookings stand"]//text[@class="strong"]/text()') AS states;
SELECT test.found('//tr[td[2]="P1"]//span/@class') AS p1, test.found('//tr[td[2]="P3"]//span/@class') AS p3;
-- lines have a point for each hour, are broken where there is none, and stay inside their plot
SELECT test.found('count(//section[h2="Decision time"]//circle[@class="point first"])') AS hours,
	test.found('string(//section[h2="Decision time"]//path[@class="line first"]/@d)') ~ '^M[^M]*M[^M]*$' AS one_gap,
	test.found('//section[h2="Decision time"]/p/text()') AS of_what;
SELECT bool_and(x BETWEEN 44 AND 460) AS x, bool_and(y BETWEEN 14 AND 190) AS y, count(*) > 100 AS many
FROM (SELECT (xpath('/circle/@cx', c))[1]::text::numeric AS x, (xpath('/circle/@cy', c))[1]::text::numeric AS y
	FROM test.page, unnest(xpath('//circle[starts-with(@class, "point")]', page)) AS c) AS p;
-- nothing is fetched, nothing runs
SELECT assignment_v3.rollout_report() ~* '(src|href) *=|url\(|@import|https?:' AS fetches;
SELECT * FROM test.refused($$SELECT assignment_v3.rollout_report('pdf')$$);
SELECT length(assignment_v3.rollout_report(NULL)) > 10000 AS html_by_default;

-- Rehearsals beside the legacy path: 40 in agreement, and some apart.
DELETE FROM assignment_v3.kill_switch;
DELETE FROM bookings;
INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
SELECT test.id('b', 1000 + n), test.id('a', 1), 2, test.at(30 + n), test.at(31 + n) FROM generate_series(1, 50) AS n;
INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at)
SELECT b.id, test.id('d', 101), b.start_at, b.end_at FROM bookings AS b WHERE test.no(b.id) BETWEEN 1001 AND 1045;
UPDATE bookings SET status = 'confirmed' WHERE test.no(id) BETWEEN 1001 AND 1045;
INSERT INTO booking_assignment_shadow_results (booking_id, version, restaurant_id, created_at, "trigger", outcome, reason, table_ids, strategy, duration_ms,
	consecutive_errors, breaker_would_open)
SELECT b.id, 1, b.restaurant_id, now() - interval '1 hour', 'run', CASE WHEN n <= 43 OR n > 47 THEN 'confirmed' ELSE 'retry' END,
	CASE WHEN n <= 43 OR n > 47 THEN NULL ELSE 'no_capacity' END, ARRAY[test.id('d', 101)], 'optimal_fit', 1, 0, false
FROM bookings AS b CROSS JOIN LATERAL (SELECT test.no(b.id) - 1000) AS i (n) WHERE test.no(b.id) BETWEEN 1001 AND 1050;
SELECT both_confirmed, only_shadow, only_legacy, neither, difference, difference_low, difference_high, note
FROM assignment_v3.shadow_report('7 days') WHERE restaurant_id IS NULL;
SELECT test.found('//section[h2="Rehearsals beside the legacy path"]//text[@class="strong"]/text()') AS agreement;
SELECT bool_and(x + width <= 520.1) AS inside, round(sum(width)) AS widths
FROM (SELECT (xpath('/rect/@x', r))[1]::text::numeric AS x, (xpath('/rect/@width', r))[1]::text::numeric AS width
	FROM test.page, unnest(xpath('//section[h2="Rehearsals beside the legacy path"]//rect[@height="30"]', page)) AS r) AS p;
-- The phases: none entered so far, then one behind, one skipped, and one whose gate is shown.
SELECT test.found('//circle[starts-with(@class, "stop")]/@class') AS stops, test.found('//h2[starts-with(., "Gate of")]/text()') AS gate;
INSERT INTO assignment_v3.phases (phase, entered_at) VALUES ('staging_shadow', now() - interval '2 days'), ('production_shadow', now() - interval '1 hour');
SELECT test.found('//circle[starts-with(@class, "stop")]/@class') AS stops, test.found('//h2[starts-with(., "Gate of")]/text()') AS gate;
SELECT count(*) = test.found('count(//section[h2="Gate of production shadow"]//tr)')::int - 1 AS a_row_per_criterion,
	format('%s of %s criteria pass', count(*) FILTER (WHERE verdict = 'pass'), count(*)) = test.found('//section[h2="The way through the phases"]//text[contains(., "criteria")]/text()') AS counted
FROM assignment_v3.gate('production_shadow');
-- A role that may look has the page, be it without what it may not see.
CREATE ROLE report_monitor;
SELECT count(*) > 0 AS granted FROM assignment_v3.grant_monitoring('report_monitor');
SET ROLE report_monitor;
SELECT assignment_v3.rollout_report() LIKE '%<h1>Rollout of report</h1>%<h2>Alerts</h2>%' AS sees;
RESET ROLE;
SELECT count(*) > 0 AS revoked FROM assignment_v3.revoke_monitoring('report_monitor');
DROP ROLE report_monitor;
-- parts of plots at their limits
SELECT v, assignment_v3.report_ceiling(v) FROM unnest(ARRAY[0, 0.003, 1, 1.1, 2, 4.9, 7, 99, 100, 101, NULL]::numeric[]) AS v;
SELECT v, assignment_v3.report_number(v) FROM unnest(ARRAY[0, 0.004, 0.126, 9.999, 10.04, 99.96, 123.4, 1234.5, 1234567, -3.456, NULL]::numeric[]) AS v;
\c :origin
DROP DATABASE report;
