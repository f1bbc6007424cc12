-- service_timeline() shows who sits where and when, by the clock on the restaurant's wall: parties with names and covers,
-- merges, holds, blocks, and those without a table.  It could show the wrong day or hour in another time zone, lose a
-- party after midnight, leave out what the app's second ledger blocks, draw over a table what is not on it, or let what a guest
-- has typed become markup.
\set database timeline
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all
UPDATE restaurants SET name = 'Chez <Nous> & "Vous"', timezone = 'Europe/Paris' WHERE id = test.id('a', 1);
UPDATE zones SET name = 'Bar' WHERE id = test.id('c', 1);

-- nothing is booked
\pset format unaligned
\pset tuples_only on
SELECT assignment_v3.service_timeline(test.id('a', 1), '2099-06-01');
\pset format aligned
\pset tuples_only off

-- Hours are UTC here and two later in Paris: lunch, dinner, and a party that stays past midnight.
SELECT test.book(1, 4, 10, 11.5), test.book(2, 2, 16, 17), test.book(3, 8, 16.5, 18), test.book(4, 2, 21, 23.25),
	test.book(5, 6, 17, 18.5), test.book(6, 2, 17.75, 19), test.book(7, 2, 1.75, 3), test.book(8, 2, 27, 28), test.book(9, 2, 17, 18),
	test.book(10, 3, 16.75, 17.25);
UPDATE bookings SET customer_name = (ARRAY['Ada Lovelace', 'Bob', 'Clara & Co <script>alert("x")</script>', E'Dr. O''Neil\n]]>\x07', 'Elsa',
	'A name that is much longer than its party stays', 'The day before', 'Too late', 'Called off', 'Nobody seats me'])[right(id::text, 2)::int];
SELECT test.confirm(1, 3), test.confirm(2, 1), test.confirm(4, 4), test.confirm(6, 7), test.confirm(7, 2), test.confirm(8, 2), test.confirm(9, 2);
UPDATE bookings SET status = 'cancelled' WHERE id = test.id('b', 9);
SELECT assignment_v3.assign(test.id('b', 3), test.ids('d', 2, 3, 5)) IS NOT NULL AS merged;
UPDATE bookings SET status = 'checked_in' WHERE id = test.id('b', 2);
SELECT count(*) AS blocked FROM assignment_v3.block(test.ids('d', 8), test.hour(-100), test.hour(17), 'wobbly');
SELECT count(*) AS blocked FROM assignment_v3.block(test.ids('d', 6), test.hour(18), test.hour(19), NULL);
SELECT count(*) AS blocked FROM assignment_v3.block(test.ids('d', 7), test.hour(-100), test.hour(-50), 'long since');
INSERT INTO table_holds (id, restaurant_id, booking_id, start_at, end_at, expires_at, status)
SELECT test.id('e', n), test.id('a', 1), CASE n WHEN 1 THEN test.id('b', 5) END, test.hour(17), test.hour(18.5),
	CASE n WHEN 3 THEN now() - interval '1 minute' ELSE '2099-12-31' END, CASE n WHEN 4 THEN 'released' ELSE 'active' END
FROM generate_series(1, 4) AS n;
INSERT INTO table_hold_windows (hold_id, table_id, restaurant_id, booking_id, start_at, end_at, expires_at)
SELECT h.id, test.id('d', CASE right(h.id::text, 1) WHEN '1' THEN 6 WHEN '2' THEN 1 ELSE 4 END), h.restaurant_id, h.booking_id,
	h.start_at, CASE right(h.id::text, 1) WHEN '1' THEN h.start_at + interval '1 hour' ELSE h.end_at END, h.expires_at
FROM table_holds AS h;
\pset format unaligned
\pset tuples_only on
SELECT assignment_v3.service_timeline(test.id('a', 1), '2099-06-01');
\pset format aligned
\pset tuples_only off
SELECT assignment_v3.service_timeline(test.id('a', 1), '2099-06-01', 'text') = assignment_v3.service_timeline(test.id('a', 1), '2099-06-01', NULL) AS by_default;
-- the party past midnight is not on the next day, the one at five in the morning is
SELECT assignment_v3.service_timeline(test.id('a', 1), '2099-06-02') LIKE '%Neil%' AS neil, assignment_v3.service_timeline(test.id('a', 1), '2099-06-02') LIKE '%Too late%' AS late;
-- the caller's own time zone makes no difference
SELECT assignment_v3.service_timeline(test.id('a', 1), '2099-06-01') AS here \gset
SET TimeZone TO 'America/New_York';
SELECT assignment_v3.service_timeline(test.id('a', 1), '2099-06-01') = :'here' AS same_in_new_york;
SET TimeZone TO 'UTC';

-- As SVG it is one well-formed document, in which the same boxes are counted and no guest has made an element.
CREATE VIEW test.svg AS SELECT xmlparse(DOCUMENT assignment_v3.service_timeline(test.id('a', 1), '2099-06-01', 'svg')) AS picture;
CREATE FUNCTION test.found(path text) RETURNS text LANGUAGE sql STABLE AS
	$$SELECT coalesce(string_agg(x::text, ' | ' ORDER BY n), 'nothing') FROM test.svg, unnest(xpath(path, picture, '{{s,http://www.w3.org/2000/svg}}')) WITH ORDINALITY AS x (x, n)$$;
SELECT test.found('name(/*)') AS root, test.found('/s:svg/s:title/text()') AS title, test.found('count(//s:script)') AS scripts;
SELECT kind, test.found(format('count(//s:g/s:rect[@class="%s"])', kind)) AS boxes FROM unnest(ARRAY['party', 'merge', 'hold', 'block']) AS kind;
SELECT unnest(xpath('//s:g/s:title/text()', picture, '{{s,http://www.w3.org/2000/svg}}')) AS box FROM test.svg;
SELECT test.found('//s:text[@class="zone"]/text()') AS zones, test.found('//s:text[@class="number"]/text()') AS numbers, test.found('//s:text[@class="peak"]/text()') AS peaks;
-- no box leaves its row or the picture, and boxes of a merge are joined where their lines are neighbours
WITH box AS (
	SELECT (xpath('/*/@x', b))[1]::text::numeric AS x, (xpath('/*/@y', b))[1]::text::numeric AS y, (xpath('/*/@width', b))[1]::text::numeric AS width
	FROM test.svg, unnest(xpath('//s:g/s:rect[@class="party" or @class="merge" or @class="hold" or @class="block"]', picture, '{{s,http://www.w3.org/2000/svg}}')) AS b
)
SELECT count(*) AS boxes, bool_and(x >= 96 AND width > 0) AS right_of_names, bool_and(x + width <= test.found('string(/s:svg/@width)')::numeric) AS inside,
	bool_and(y < test.found('string(/s:svg/@height)')::numeric) AS above_bottom FROM box;
SELECT test.found('//s:rect[@class="mark-merge"]/@height') AS joined;

-- the document that both are made of
SELECT jsonb_object_keys(assignment_v3.service_timeline(test.id('a', 1), '2099-06-01', 'json')::jsonb) AS keys ORDER BY 1;
SELECT x ->> 'place' AS place, x ->> 'kind' AS kind, x ->> 'covers' AS covers, x ->> 'status' AS status, x ->> 'from' AS "from", x ->> 'to' AS "to", x ->> 'with' AS "with"
FROM jsonb_array_elements(assignment_v3.service_timeline(test.id('a', 1), '2099-06-01', 'json')::jsonb -> 'boxes') WITH ORDINALITY AS b (x, n) ORDER BY n;

-- What it can't show
SELECT * FROM test.refusal($$SELECT assignment_v3.service_timeline(test.id('a', 99), '2099-06-01')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.service_timeline(NULL, '2099-06-01')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.service_timeline(test.id('a', 1), NULL)$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.service_timeline(test.id('a', 1), '2099-06-01', 'png')$$);
SELECT * FROM test.refusal($$SELECT assignment_v3.service_timeline(test.id('a', 1), 'infinity')$$);

-- An app without names of guests, zones in order and time zones, but with a second ledger, where a table is out when the
-- last party has left
ALTER TABLE bookings DROP customer_name;
ALTER TABLE zones DROP sort_order;
ALTER TABLE restaurants DROP timezone;
CREATE TABLE allocations (resource_type text, resource_id uuid, restaurant_id uuid, booking_id uuid, "window" tstzrange, shadow boolean, is_maintenance boolean);
INSERT INTO allocations VALUES
	('table', test.id('d', 21), test.id('a', 2), NULL, tstzrange(test.hour(18), test.hour(19)), false, true),
	('table', test.id('d', 22), test.id('a', 2), test.id('b', 20), tstzrange(test.hour(18), test.hour(20)), false, false),
	('table', test.id('d', 21), test.id('a', 2), NULL, tstzrange(test.hour(19), test.hour(20)), true, true),
	('table', test.id('d', 22), test.id('a', 2), NULL, tstzrange(test.hour(20), test.hour(21)), false, true);
SELECT test.book(20, 3, 18, 20, 2);
\pset format unaligned
\pset tuples_only on
SELECT assignment_v3.service_timeline(test.id('a', 2), '2099-06-01');
\i :srcdir/sql/include/drop_scratch_database.sql
