/*-------------------------------------------------------------------------
 *
 * timeline.sql
 *		service_timeline(): a day of one restaurant as a picture.
 *
 * First what there is to see is gathered into one jsonb document: tables in
 * the order of a plan, boxes on them (parties, holds, blocks), parties without
 * a table, and the services of the day.  Times in it are minutes of local time
 * since midnight, as the picture is read on a wall clock.  Then text and SVG
 * are made of the document alone, by functions that read no table.
 *
 * A day lasts from four in the morning to four: a party that sits down before
 * and leaves after midnight belongs to the evening.  Where nobody is seated
 * for more than an hour and a half, one service ends and another begins; the
 * picture leaves out what lies between.
 *
 * The app's columns that the pipeline does without (names of guests, order of
 * zones, time zone) are read through to_jsonb(), so that they may be missing.
 * Everything that guests or staff have typed is escaped.
 *
 *-------------------------------------------------------------------------
 */

-- ---------------------------------------------------------------------
-- What there is to see
-- ---------------------------------------------------------------------

-- timeline_tables(): the tables of a restaurant in the order of a plan: by zone, numbers in names compared as numbers.
CREATE FUNCTION assignment_v3.timeline_tables(app_schema text, restaurant_id uuid)
RETURNS TABLE (table_id uuid, place integer, number text, seats integer, zone text)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT t.id, (row_number() OVER (
				ORDER BY z.id IS NULL, (to_jsonb(z) ->> 'sort_order')::numeric, z.name::text,
					regexp_replace(t.table_number::text, '[0-9]+', '', 'g'),
					(regexp_match(t.table_number::text, '[0-9]{1,18}'))[1]::bigint, t.table_number::text, t.id))::integer,
			t.table_number::text, t.capacity::integer, COALESCE(z.name::text, 'No zone')
		FROM @app@.table_inventory AS t
		LEFT JOIN @app@.zones AS z ON z.id = t.zone_id
		WHERE t.restaurant_id = $1 AND t.active$q$, app_schema)
		USING restaurant_id;
END;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_tables(text, uuid) IS
	'Internal to service_timeline(): tables in the order of a plan';

-- timeline_taken(): what takes tables of a restaurant, of what begins in the window or, for holds and blocks, reaches
-- into it.  The app's second ledger counts where there is one.
CREATE FUNCTION assignment_v3.timeline_taken(app_schema text, restaurant_id uuid, opens_at timestamptz, closes_at timestamptz)
RETURNS TABLE (table_id uuid, kind text, booking_id uuid, note text, start_at timestamptz, end_at timestamptz)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	-- nothing but a table of those who own bookings: a view would run whatever somebody has put into it
	ledger text := CASE WHEN EXISTS (
		SELECT FROM pg_class AS c
		JOIN pg_class AS b ON b.relnamespace = c.relnamespace AND b.relname = 'bookings'
		JOIN pg_roles AS o ON o.oid = c.relowner AND (o.oid = b.relowner OR o.rolsuper)
		WHERE c.relnamespace = to_regnamespace(quote_ident(app_schema)) AND c.relname = 'allocations' AND c.relkind IN ('r', 'p')
	) THEN $q$
		UNION ALL
		SELECT l.resource_id, CASE WHEN l.is_maintenance THEN 'block' ELSE 'party' END, l.booking_id, NULL, lower(l."window"), upper(l."window")
		FROM @app@.allocations AS l
		WHERE l.restaurant_id = $1 AND l.resource_type::text = 'table' AND NOT l.shadow AND l."window" && tstzrange($2, $3)
			AND (l.is_maintenance OR lower(l."window") >= $2)
			AND NOT EXISTS (SELECT FROM @app@.booking_table_assignments AS a
				WHERE a.booking_id = l.booking_id AND a.table_id = l.resource_id)$q$ ELSE '' END;
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT a.table_id, 'party', a.booking_id, NULL::text, a.start_at, a.end_at
		FROM @app@.table_inventory AS t
		JOIN @app@.booking_table_assignments AS a ON a.table_id = t.id AND a.start_at >= $2 AND a.start_at < $3
		WHERE t.restaurant_id = $1
		UNION ALL
		SELECT w.table_id, 'hold', COALESCE(w.booking_id, h.booking_id), NULL, w.start_at, w.end_at
		FROM @app@.table_hold_windows AS w
		JOIN @app@.table_holds AS h ON h.id = w.hold_id AND h.status::text = 'active'
		WHERE w.restaurant_id = $1 AND w.start_at < $3 AND w.end_at > $2 AND w.expires_at > $4
			AND NOT EXISTS (SELECT FROM @app@.booking_table_assignments AS a
				WHERE a.booking_id = COALESCE(w.booking_id, h.booking_id) AND a.table_id = w.table_id)
		UNION ALL
		SELECT k.table_id, 'block', NULL, k.reason, k.start_at, k.end_at
		FROM assignment_v3.blocks AS k
		WHERE k.restaurant_id = $1 AND k.start_at < $3 AND k.end_at > $2$q$ || ledger, app_schema)
		USING restaurant_id, opens_at, closes_at, clock_timestamp();
END;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_taken(text, uuid, timestamptz, timestamptz) IS
	'Internal to service_timeline(): what takes tables';

-- timeline_bookings(): the parties of a window, with the guest's name where the app keeps one.
CREATE FUNCTION assignment_v3.timeline_bookings(app_schema text, restaurant_id uuid, opens_at timestamptz, closes_at timestamptz)
RETURNS TABLE (booking_id uuid, covers integer, guest text, status text, state text, start_at timestamptz, end_at timestamptz)
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY EXECUTE assignment_v3.attach_expand($q$
		SELECT b.id, b.party_size::integer, COALESCE(j.row ->> 'customer_name', j.row ->> 'guest_name', j.row ->> 'name', ''),
			b.status::text, b.assignment_state::text, b.start_at, b.end_at
		FROM @app@.bookings AS b
		CROSS JOIN LATERAL (SELECT to_jsonb(b)) AS j (row)
		WHERE b.restaurant_id = $1 AND b.start_at >= $2 AND b.start_at < $3 AND b.start_at < b.end_at
			AND b.status::text NOT IN ('cancelled', 'no_show')$q$, app_schema)
		USING restaurant_id, opens_at, closes_at;
END;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_bookings(text, uuid, timestamptz, timestamptz) IS
	'Internal to service_timeline(): the parties of a day';

-- timeline_minute(): a time as minutes of local time since midnight of the day.
CREATE FUNCTION assignment_v3.timeline_minute(at timestamptz, day date, timezone text)
RETURNS integer
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT least(greatest((extract(epoch FROM (at AT TIME ZONE timezone) - day::timestamp) / 60)::bigint, 240), 1680)::integer;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_minute(timestamptz, date, text) IS
	'Internal to service_timeline(): minutes of local time since midnight';

-- timeline_services(): the hours of the day in which somebody is seated or wants to be, or a table is out for no more than
-- six hours, as services apart from each other.
CREATE FUNCTION assignment_v3.timeline_services(boxes jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT COALESCE(jsonb_agg(jsonb_build_object('from', s.first, 'to', s.last) ORDER BY s.first), '[{"from": 720, "to": 1320}]')
FROM (
	SELECT min(i.first) / 60 * 60 AS first, (max(i.last) + 59) / 60 * 60 AS last
	FROM (
		SELECT w.first, w.last, count(*) FILTER (WHERE w.first > w.before + 90) OVER (ORDER BY w.first, w.last) AS service
		FROM (
			SELECT b.first, b.last, max(b.last) OVER (ORDER BY b.first, b.last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
			FROM (SELECT (x ->> 'from')::integer, (x ->> 'to')::integer FROM jsonb_array_elements(boxes) AS x
				WHERE x ->> 'kind' <> 'block' OR (x ->> 'to')::integer - (x ->> 'from')::integer <= 360) AS b (first, last)
		) AS w
	) AS i
	GROUP BY i.service
) AS s;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_services(jsonb) IS
	'Internal to service_timeline(): the services of a day';

-- timeline_boxes(): boxes on the tables, and parties without one as boxes without a place.
CREATE FUNCTION assignment_v3.timeline_boxes(app_schema text, restaurant_id uuid, day date, timezone text)
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH span AS MATERIALIZED (
	SELECT (day + interval '4 hours') AT TIME ZONE timezone AS opens_at, (day + interval '28 hours') AT TIME ZONE timezone AS closes_at
), tables AS MATERIALIZED (
	SELECT * FROM assignment_v3.timeline_tables(app_schema, restaurant_id)
), bookings AS MATERIALIZED (
	SELECT b.* FROM span AS s CROSS JOIN LATERAL assignment_v3.timeline_bookings(app_schema, restaurant_id, s.opens_at, s.closes_at) AS b
), taken AS MATERIALIZED (
	SELECT k.*, t.place, t.number
	FROM span AS s
	CROSS JOIN LATERAL assignment_v3.timeline_taken(app_schema, restaurant_id, s.opens_at, s.closes_at) AS k
	JOIN tables AS t ON t.table_id = k.table_id
), boxes AS (
	SELECT k.place, k.kind, k.booking_id, b.covers, COALESCE(b.guest, k.note, '') AS label, b.status, k.start_at, k.end_at,
		ARRAY(SELECT o.number FROM taken AS o WHERE o.booking_id = k.booking_id AND o.kind = k.kind AND o.table_id <> k.table_id
			ORDER BY o.place) AS others
	FROM taken AS k
	LEFT JOIN bookings AS b ON b.booking_id = k.booking_id
	UNION ALL
	SELECT NULL, 'waiting', b.booking_id, b.covers, b.guest, b.state, b.start_at, b.end_at, NULL
	FROM bookings AS b
	WHERE b.status <> 'completed' AND NOT EXISTS (SELECT FROM taken AS k WHERE k.booking_id = b.booking_id AND k.kind = 'party')
)
SELECT COALESCE(jsonb_agg(jsonb_build_object('place', x.place, 'kind', x.kind, 'booking', x.booking_id, 'covers', x.covers,
	'label', assignment_v3.timeline_clean(x.label), 'status', x.status, 'from', x.first, 'to', greatest(x.last, x.first + 15),
	'with', to_jsonb(x.others)) ORDER BY x.place NULLS LAST, x.first, x.booking_id), '[]')
FROM (
	SELECT b.*, assignment_v3.timeline_minute(b.start_at, day, timezone) AS first, assignment_v3.timeline_minute(b.end_at, day, timezone) AS last
	FROM boxes AS b
) AS x;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_boxes(text, uuid, date, text) IS
	'Internal to service_timeline(): parties, holds, blocks and who has no table';

-- timeline_clean(): a text without control characters, which no terminal and no XML should see.  The characters that
-- only Unicode has stand in a statement of their own, since a planner elsewhere would trip over them.
CREATE FUNCTION assignment_v3.timeline_clean(words text)
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	IF getdatabaseencoding() = 'UTF8' THEN
		words := translate(words, chr(65534) || chr(65535), '');
	END IF;
	RETURN btrim(regexp_replace(words, '[[:cntrl:][:space:]]+', ' ', 'g'));
END;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_clean(text) IS
	'Internal to pictures: a text without control characters';

-- timeline_data(): the document that pictures are made of.
-- Errors: PT404 no such restaurant, 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.timeline_data(restaurant_id uuid, day date)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	app_schema text := assignment_v3.watch_schema(ARRAY['restaurants', 'zones', 'table_inventory', 'bookings',
		'booking_table_assignments', 'table_holds', 'table_hold_windows', 'blocks']);
	name text;
	timezone text;
	boxes jsonb;
BEGIN
	EXECUTE assignment_v3.attach_expand($q$
		SELECT r.name::text, COALESCE(to_jsonb(r) ->> 'timezone', 'UTC') FROM @app@.restaurants AS r WHERE r.id = $1$q$, app_schema)
		INTO name, timezone USING restaurant_id;
	IF name IS NULL THEN
		RAISE EXCEPTION 'restaurant % does not exist', restaurant_id USING ERRCODE = 'PT404';
	END IF;
	boxes := assignment_v3.timeline_boxes(app_schema, restaurant_id, day, timezone);
	RETURN jsonb_build_object('restaurant', assignment_v3.timeline_clean(name), 'day', day, 'timezone', timezone,
		'title', to_char(day, 'FMDay, FMDD FMMonth YYYY'),
		'tables', (SELECT COALESCE(jsonb_agg(jsonb_build_object('place', t.place, 'number', assignment_v3.timeline_clean(t.number),
				'seats', t.seats, 'zone', assignment_v3.timeline_clean(t.zone)) ORDER BY t.place), '[]')
			FROM assignment_v3.timeline_tables(app_schema, restaurant_id) AS t),
		'boxes', boxes, 'services', assignment_v3.timeline_services(boxes));
END;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_data(uuid, date) IS
	'Internal to service_timeline(): what there is to see';

-- timeline_pieces(): the boxes of a document, cut to the services in which they are seen.
CREATE FUNCTION assignment_v3.timeline_pieces(data jsonb)
RETURNS TABLE (service integer, opens integer, closes integer, place integer, kind text, booking text, covers integer, label text,
	status text, first integer, last integer, others text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT s.service::integer, (s.s ->> 'from')::integer, (s.s ->> 'to')::integer, b.place, b.kind, b.booking, b.covers, b.label, b.status,
	greatest(b."from", (s.s ->> 'from')::integer), least(b."to", (s.s ->> 'to')::integer), COALESCE(b."with", '{}')
FROM jsonb_array_elements(data -> 'services') WITH ORDINALITY AS s (s, service)
JOIN jsonb_to_recordset(data -> 'boxes') AS b (place integer, kind text, booking text, covers integer, label text, status text,
	"from" integer, "to" integer, "with" text[])
	ON b."from" < (s.s ->> 'to')::integer AND b."to" > (s.s ->> 'from')::integer;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_pieces(jsonb) IS
	'Internal to service_timeline(): boxes by service';

-- timeline_seats(): how many seats are taken in each quarter hour of each service.
CREATE FUNCTION assignment_v3.timeline_seats(data jsonb)
RETURNS TABLE (service integer, minute integer, seats bigint)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT t.service, t.minute, COALESCE(sum(t.seats), 0)
FROM (
	SELECT DISTINCT s.service::integer AS service, q.minute, b.place, t.seats
	FROM jsonb_array_elements(data -> 'services') WITH ORDINALITY AS s (s, service)
	CROSS JOIN LATERAL generate_series((s.s ->> 'from')::integer, (s.s ->> 'to')::integer - 15, 15) AS q (minute)
	LEFT JOIN (
		jsonb_to_recordset(data -> 'boxes') AS b (place integer, kind text, "from" integer, "to" integer)
		JOIN jsonb_to_recordset(data -> 'tables') AS t (place integer, seats integer) ON t.place = b.place
	) ON b.kind = 'party' AND b."from" < q.minute + 15 AND b."to" > q.minute
) AS t
GROUP BY t.service, t.minute;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_seats(jsonb) IS
	'Internal to service_timeline(): seats taken by quarter hour';

-- timeline_clock(): minutes since midnight as a clock shows them.
CREATE FUNCTION assignment_v3.timeline_clock(minute integer)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT lpad((minute / 60 % 24)::text, 2, '0') || ':' || lpad((minute % 60)::text, 2, '0');
$$;
COMMENT ON FUNCTION assignment_v3.timeline_clock(integer) IS
	'Internal to service_timeline(): minutes as a clock shows them';

-- timeline_summary(): the day in a sentence.
CREATE FUNCTION assignment_v3.timeline_summary(data jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT concat_ws('; ',
	CASE WHEN s.parties > 0 THEN format('%s of %s covers seated', CASE s.parties WHEN 1 THEN '1 party' ELSE s.parties || ' parties' END, s.covers)
		ELSE 'nobody is seated' END,
	CASE WHEN s.away > 0 THEN format('%s of %s covers without a table', CASE s.away WHEN 1 THEN '1 party' ELSE s.away || ' parties' END, s.away_covers) END,
	(SELECT format('fullest at %s with %s of %s seats', assignment_v3.timeline_clock(q.minute), q.seats,
			(SELECT sum((t ->> 'seats')::integer) FROM jsonb_array_elements(data -> 'tables') AS t))
	 FROM assignment_v3.timeline_seats(data) AS q WHERE q.seats > 0 ORDER BY q.seats DESC, q.minute LIMIT 1))
FROM (
	SELECT count(*) FILTER (WHERE p.kind = 'party') AS parties, sum(p.covers) FILTER (WHERE p.kind = 'party') AS covers,
		count(*) FILTER (WHERE p.kind = 'waiting') AS away, sum(p.covers) FILTER (WHERE p.kind = 'waiting') AS away_covers
	FROM (SELECT DISTINCT b.kind, b.booking, b.covers FROM jsonb_to_recordset(data -> 'boxes') AS b (kind text, booking text, covers integer)) AS p
) AS s;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_summary(jsonb) IS
	'Internal to service_timeline(): the day in a sentence';

-- ---------------------------------------------------------------------
-- As text
-- ---------------------------------------------------------------------

-- timeline_text_boxes(): what stands in the line of each table in one service, four characters a quarter hour.  Where two
-- boxes of a table share a quarter hour, the later one has it.
CREATE FUNCTION assignment_v3.timeline_text_boxes(data jsonb)
RETURNS TABLE (service integer, place integer, line text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT x.service, x.place, string_agg(repeat(' ', 4 * (x.first - x.before)) || x.opening
	|| rpad(left(x.label || ' ', 4 * (x.last - x.first) - 2), 4 * (x.last - x.first) - 2, x.filling) || x.closing, '' ORDER BY x.first)
FROM (
	SELECT c.service, c.place, c.first, c.last, COALESCE(lag(c.last) OVER line, 0) AS before,
		CASE c.kind WHEN 'party' THEN '[' WHEN 'hold' THEN '(' ELSE '#' END AS opening,
		CASE c.kind WHEN 'party' THEN '=' WHEN 'hold' THEN '.' ELSE '#' END AS filling,
		CASE c.kind WHEN 'party' THEN ']' WHEN 'hold' THEN ')' ELSE '#' END AS closing,
		CASE c.kind WHEN 'block' THEN COALESCE(NULLIF(c.label, ''), 'blocked')
			ELSE concat_ws(' ', CASE WHEN c.kind = 'hold' AND c.covers IS NULL THEN 'held' END,
				c.covers || array_to_string(ARRAY(SELECT '+' || o FROM unnest(c.others) AS o), ''), NULLIF(c.label, '')) END AS label
	FROM (
		SELECT p.*, least(p.until, lead(p.begins) OVER (PARTITION BY p.service, p.place ORDER BY p.begins, p.until)) AS last, p.begins AS first
		FROM (
			SELECT b.service, b.place, b.kind, b.covers, b.label, b.others, (b.first - b.opens) / 15 AS begins, (b.last - b.opens + 14) / 15 AS until
			FROM assignment_v3.timeline_pieces(data) AS b
			WHERE b.place IS NOT NULL
		) AS p
	) AS c
	WHERE c.first < c.last
	WINDOW line AS (PARTITION BY c.service, c.place ORDER BY c.first)
) AS x
GROUP BY x.service, x.place;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_text_boxes(jsonb) IS
	'Internal to service_timeline(): lines of tables';

-- timeline_text_panel(): one service: a line of hours, a line per table under the name of its zone, a line of seats taken.
CREATE FUNCTION assignment_v3.timeline_text_panel(data jsonb, service integer, opens integer, closes integer)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH tables AS (
	SELECT t.place, t.number, t.seats, t.zone, row_number() OVER (PARTITION BY t.zone ORDER BY t.place) AS in_zone,
		greatest(max(length(t.number)) OVER (), 3) AS width
	FROM jsonb_to_recordset(data -> 'tables') AS t (place integer, number text, seats integer, zone text)
), boxes AS MATERIALIZED (
	SELECT b.place, b.line FROM assignment_v3.timeline_text_boxes(data) AS b WHERE b.service = timeline_text_panel.service
), lines AS (
	SELECT 0 AS place, 0 AS part, repeat(' ', 2 + COALESCE((SELECT max(t.width) FROM tables AS t), 3) + 5)
		|| string_agg(rpad(assignment_v3.timeline_clock(h), 16), '' ORDER BY h) AS line
	FROM generate_series(opens, closes - 1, 60) AS h
	UNION ALL
	SELECT t.place, 0, t.zone FROM tables AS t WHERE t.in_zone = 1
	UNION ALL
	SELECT t.place, 1, '  ' || rpad(t.number, t.width::integer) || lpad(t.seats::text, 3) || '  ' || COALESCE(b.line, '')
	FROM tables AS t
	LEFT JOIN boxes AS b ON b.place = t.place
	UNION ALL
	SELECT 1000000, 0, rpad('seats', 2 + (SELECT max(t.width) FROM tables AS t)::integer) || lpad((SELECT sum(t.seats) FROM tables AS t)::text, 3) || '  '
		|| string_agg(lpad(q.seats::text, 3) || ' ', '' ORDER BY q.minute)
	FROM assignment_v3.timeline_seats(data) AS q
	WHERE q.service = timeline_text_panel.service
)
SELECT string_agg(rtrim(l.line), E'\n' ORDER BY l.place, l.part) FROM lines AS l;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_text_panel(jsonb, integer, integer, integer) IS
	'Internal to service_timeline(): one service as text';

-- timeline_text(): the day as text.
CREATE FUNCTION assignment_v3.timeline_text(data jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT concat_ws(E'\n\n',
	format(E'%s, %s\n%s', data ->> 'restaurant', data ->> 'title', assignment_v3.timeline_summary(data)),
	(SELECT string_agg(assignment_v3.timeline_text_panel(data, s.service::integer, (s.s ->> 'from')::integer, (s.s ->> 'to')::integer), E'\n\n' ORDER BY s.service)
	 FROM jsonb_array_elements(data -> 'services') WITH ORDINALITY AS s (s, service)),
	(SELECT 'Without a table: ' || string_agg(format('%s %s %s', assignment_v3.timeline_clock(w.first), w.covers, w.label), ', ' ORDER BY w.first, w.booking)
			FILTER (WHERE w.n <= 12) || CASE WHEN count(*) > 12 THEN format(' and %s more', count(*) - 12) ELSE '' END
	 FROM (SELECT p.*, row_number() OVER (ORDER BY p.first, p.booking) AS n FROM assignment_v3.timeline_pieces(data) AS p WHERE p.kind = 'waiting') AS w
	 HAVING count(*) > 0),
	'[4 Name===] a party of 4, [6+W2 Name=] one that sits at W2 too, (held....) a hold, #blocked## a block');
$$;
COMMENT ON FUNCTION assignment_v3.timeline_text(jsonb) IS
	'Internal to service_timeline(): the day as text';

-- ---------------------------------------------------------------------
-- As SVG
--
-- One pixel measure for all of it: 28 a quarter hour, 26 a table, 96 for the names of tables on the left, 28 between two
-- services.  The picture follows the reader's light or dark colours; what matters is told by words, outlines and
-- hatching too, and the three colours are told apart by colour-blind readers.
-- ---------------------------------------------------------------------

-- timeline_escape(): a text as it may stand in XML and HTML, between tags or quotes.
CREATE FUNCTION assignment_v3.timeline_escape(words text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT replace(replace(replace(replace(replace(assignment_v3.timeline_clean(words),
	'&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
$$;
COMMENT ON FUNCTION assignment_v3.timeline_escape(text) IS
	'Internal to pictures: a text as it may stand in XML';

-- timeline_x(): where a minute is, from the left.
CREATE FUNCTION assignment_v3.timeline_x(data jsonb, minute integer)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT round(96 + sum(greatest(least(minute, s."to") - s."from", 0)) * 28 / 15.0, 1)
	+ 28 * greatest(count(*) FILTER (WHERE s."from" <= minute) - 1, 0)
FROM jsonb_to_recordset(data -> 'services') AS s ("from" integer, "to" integer);
$$;
COMMENT ON FUNCTION assignment_v3.timeline_x(jsonb, integer) IS
	'Internal to service_timeline(): where a minute is';

-- timeline_rows(): the tables with their distance from the top; each zone has a line for its name.
CREATE FUNCTION assignment_v3.timeline_rows(data jsonb)
RETURNS TABLE (place integer, number text, seats integer, zone text, first boolean, y integer)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT t.place, t.number, t.seats, t.zone, t.first, (92 + 26 * t.place + 24 * (count(*) FILTER (WHERE t.first) OVER (ORDER BY t.place)) - 26)::integer
FROM (
	SELECT x.place, x.number, x.seats, x.zone, lag(x.zone) OVER (ORDER BY x.place) IS DISTINCT FROM x.zone AS first
	FROM jsonb_to_recordset(data -> 'tables') AS x (place integer, number text, seats integer, zone text)
) AS t;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_rows(jsonb) IS
	'Internal to service_timeline(): where each table is';

-- timeline_svg_style(): how it looks, by day and by night.
CREATE FUNCTION assignment_v3.timeline_svg_style()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT $css$<style>
text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2933 }
.page { fill: #ffffff } .head { font-size: 20px; font-weight: 600 } .sub, .axis, .seats { fill: #52606d }
.zone { font-weight: 600; font-size: 13px } .number { font-weight: 600 } .peak, .covers { font-weight: 700 }
.row { fill: #f3f5f7 } .hour { stroke: #d5dbe1 } .edge { stroke: #9aa5b1 }
.party { fill: #d3e5f5 } .mark-party, .load { fill: #2f6fa7 } .merge { fill: #fbe3bd } .mark-merge { fill: #c77c11 }
.hold { fill: none; stroke: #52606d; stroke-dasharray: 4 3; stroke-width: 1.5 }
.block { fill: url(#hatch); stroke: #7b8794 } .hatch { stroke: #9aa5b1; stroke-width: 2 } .plate { fill: #ffffff }
@media (prefers-color-scheme: dark) {
text { fill: #e4e7eb } .page, .plate { fill: #14181d } .sub, .axis, .seats { fill: #a5b1bd } .row { fill: #1b2128 }
.hour { stroke: #323a44 } .edge { stroke: #616e7c } .party { fill: #1f4262 } .mark-party, .load { fill: #6cb1ea }
.merge { fill: #5b3f12 } .mark-merge { fill: #f0b04e } .hold { stroke: #a5b1bd } .block { stroke: #7b8794 } .hatch { stroke: #52606d }
}
</style>
<defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><line class="hatch" y2="7"/></pattern></defs>
$css$;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_svg_style() IS
	'Internal to service_timeline(): colours and type';

-- timeline_svg_grid(): names of zones and tables, hours, and the edges of services.
CREATE FUNCTION assignment_v3.timeline_svg_grid(data jsonb, bottom integer)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT concat_ws(E'\n',
	(SELECT string_agg(concat_ws(E'\n',
			CASE WHEN r.first THEN format('<text class="zone" x="16" y="%s">%s</text>', r.y - 7, assignment_v3.timeline_escape(r.zone)) END,
			(SELECT string_agg(format('<rect class="row" x="%s" y="%s" width="%s" height="24"/>', assignment_v3.timeline_x(data, s."from"), r.y + 1,
				(s."to" - s."from") / 15 * 28), '' ORDER BY s."from") FROM jsonb_to_recordset(data -> 'services') AS s ("from" integer, "to" integer)),
			format('<text class="number" x="16" y="%s">%s</text><text class="seats" x="86" y="%1$s" text-anchor="end">%3$s</text>',
				r.y + 17, assignment_v3.timeline_escape(left(r.number, 6)), r.seats)), E'\n' ORDER BY r.place)
	 FROM assignment_v3.timeline_rows(data) AS r),
	(SELECT string_agg(format('<line class="%s" x1="%s" x2="%2$s" y1="86" y2="%3$s"/><text class="axis" x="%2$s" y="80" text-anchor="%5$s">%4$s</text>',
			CASE WHEN h.minute IN (s."from", s."to") THEN 'edge' ELSE 'hour' END, assignment_v3.timeline_x(data, h.minute), bottom,
			assignment_v3.timeline_clock(h.minute), CASE h.minute WHEN s."from" THEN 'start' WHEN s."to" THEN 'end' ELSE 'middle' END),
			E'\n' ORDER BY h.minute)
	 FROM jsonb_to_recordset(data -> 'services') AS s ("from" integer, "to" integer)
	 CROSS JOIN LATERAL generate_series(s."from", s."to", 60) AS h (minute)),
	'<text class="axis" x="86" y="80" text-anchor="end">seats</text>');
$$;
COMMENT ON FUNCTION assignment_v3.timeline_svg_grid(jsonb, integer) IS
	'Internal to service_timeline(): tables and hours';

-- timeline_svg_boxes(): parties, holds and blocks.  Boxes of a merge on neighbouring lines are joined at their left edge.
CREATE FUNCTION assignment_v3.timeline_svg_boxes(data jsonb)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH rows AS MATERIALIZED (
	SELECT r.place, r.y, r.first FROM assignment_v3.timeline_rows(data) AS r
), pieces AS MATERIALIZED (
	SELECT * FROM assignment_v3.timeline_pieces(data)
)
SELECT string_agg(format('<g><title>%s</title><rect class="%s" x="%s" y="%s" width="%s" height="20" rx="3"/>%s<svg x="%3$s" y="%4$s" width="%7$s" height="20">%8$s</svg></g>',
	assignment_v3.timeline_escape(format('%s–%s %s', assignment_v3.timeline_clock(x.first), assignment_v3.timeline_clock(x.last), x.words)),
	x.class, x.x, x.y + 3, x.width,
	CASE WHEN x.kind = 'party' THEN format('<rect class="mark-%s" x="%s" y="%s" width="4" height="%s"/>', x.class, x.x, x.y + 3, CASE WHEN x.joined THEN 26 ELSE 20 END) END,
	x.width - 3, CASE x.kind
		WHEN 'party' THEN format('<text x="9" y="14"><tspan class="covers">%s</tspan> %s</text>', x.covers, assignment_v3.timeline_escape(x.words))
		WHEN 'hold' THEN format('<text x="9" y="14">%s</text>', assignment_v3.timeline_escape(x.words))
		ELSE format('<rect class="plate" x="5" y="3" width="%s" height="14" rx="2"/><text x="9" y="14">%s</text>',
			10 + 6.6 * length(x.words), assignment_v3.timeline_escape(x.words)) END), E'\n' ORDER BY x.kind = 'party', x.place, x.first)
FROM (
	SELECT p.*, r.y, assignment_v3.timeline_x(data, p.first) + 1 AS x, round((p.last - p.first) * 28 / 15.0, 1) - 2 AS width,
		CASE WHEN p.kind = 'party' AND p.others <> '{}' THEN 'merge' ELSE p.kind END AS class,
		EXISTS (SELECT FROM pieces AS o JOIN rows AS n ON n.place = o.place AND NOT n.first
			WHERE o.booking = p.booking AND o.kind = 'party' AND o.place = p.place + 1) AS joined,
		CASE p.kind WHEN 'block' THEN COALESCE(NULLIF(p.label, ''), 'blocked') WHEN 'hold' THEN concat_ws(' ', 'held', 'for ' || p.covers, NULLIF(p.label, ''))
			ELSE concat_ws(' ', NULLIF(p.label, ''), '+' || NULLIF(array_to_string(p.others, '+'), '')) END AS words
	FROM pieces AS p
	JOIN rows AS r ON r.place = p.place
) AS x;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_svg_boxes(jsonb) IS
	'Internal to service_timeline(): parties, holds and blocks';

-- timeline_svg_load(): seats taken, as bars of quarter hours; the fullest has its number.
CREATE FUNCTION assignment_v3.timeline_svg_load(data jsonb, bottom integer)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format('<text class="zone" x="16" y="%s">Seats</text><text class="sub" x="16" y="%s">of %s</text>', bottom - 22, bottom - 6, max(q.all_seats))
	|| COALESCE(string_agg(format('<rect class="load" x="%s" y="%s" width="26" height="%s"><title>%s: %s of %s seats</title></rect>',
		assignment_v3.timeline_x(data, q.minute) + 1, bottom - q.height, q.height, assignment_v3.timeline_clock(q.minute), q.seats, q.all_seats), ''
		ORDER BY q.minute), '')
	|| COALESCE(string_agg(format('<text class="peak" x="%s" y="%s" text-anchor="middle">%s</text>', assignment_v3.timeline_x(data, q.minute) + 14,
		bottom - q.height - 4, q.seats), '') FILTER (WHERE q.peak), '')
FROM (
	SELECT w.*, round(36.0 * w.seats / NULLIF(w.all_seats, 0), 1) AS height, w.seats > 0 AND row_number() OVER (PARTITION BY w.service ORDER BY w.seats DESC, w.minute) = 1 AS peak
	FROM (
		SELECT q.service, q.minute, q.seats, (SELECT COALESCE(sum((t ->> 'seats')::integer), 0) FROM jsonb_array_elements(data -> 'tables') AS t) AS all_seats
		FROM assignment_v3.timeline_seats(data) AS q
	) AS w
) AS q;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_svg_load(jsonb, integer) IS
	'Internal to service_timeline(): seats taken';

-- timeline_svg_waiting(): who has no table, three to a line, and how many there are at most.
CREATE FUNCTION assignment_v3.timeline_svg_waiting(data jsonb, top integer, columns integer)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format('<text class="zone" x="16" y="%s">Without a table</text>', top + 14)
	|| string_agg(format('<text x="%s" y="%s">%s</text>', 146 + 170 * ((w.n - 1) % columns), top + 14 + 20 * ((w.n - 1) / columns),
		CASE WHEN w.n = 4 * columns AND w.total > w.n THEN format('and %s more', w.total - w.n + 1)
			ELSE format('%s <tspan class="covers">%s</tspan> %s', assignment_v3.timeline_clock(w.first), w.covers,
				assignment_v3.timeline_escape(left(w.label, 18))) END), E'\n' ORDER BY w.n)
FROM (
	SELECT p.*, row_number() OVER (ORDER BY p.first, p.booking) AS n, count(*) OVER () AS total
	FROM assignment_v3.timeline_pieces(data) AS p WHERE p.kind = 'waiting'
) AS w
WHERE w.n <= 4 * columns;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_svg_waiting(jsonb, integer, integer) IS
	'Internal to service_timeline(): who has no table';

-- timeline_svg_legend(): what the colours stand for.
CREATE FUNCTION assignment_v3.timeline_svg_legend(y integer)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT string_agg(format('<rect class="%s" x="%s" y="%s" width="26" height="14" rx="3"/>%s<text class="sub" x="%s" y="%s">%s</text>',
	k.class, k.x, y, CASE WHEN k.class IN ('party', 'merge') THEN format('<rect class="mark-%s" x="%s" y="%s" width="4" height="14"/>', k.class, k.x, y) ELSE '' END,
	k.x + 34, y + 11, k.words), E'\n')
FROM (VALUES ('party', 96, 'party with its covers'), ('merge', 270, 'merged tables'), ('hold', 410, 'hold'), ('block', 500, 'blocked')) AS k (class, x, words);
$$;
COMMENT ON FUNCTION assignment_v3.timeline_svg_legend(integer) IS
	'Internal to service_timeline(): what the colours stand for';

-- timeline_svg(): the day as SVG.
CREATE FUNCTION assignment_v3.timeline_svg(data jsonb)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	bottom integer := COALESCE((SELECT max(r.y) + 30 FROM assignment_v3.timeline_rows(data) AS r), 120);
	load_bottom integer := bottom + 62;
	width integer := greatest(assignment_v3.timeline_x(data, 2000) + 32, 700);
	columns integer := greatest((width - 146) / 170, 1);
	waiting integer := (SELECT count(*) FROM assignment_v3.timeline_pieces(data) AS p WHERE p.kind = 'waiting');
	waiting_top integer := load_bottom + 18;
	height integer := waiting_top + 20 * least((waiting + columns - 1) / columns, 4) + 44;
BEGIN
	RETURN concat_ws(E'\n',
		format('<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %1$s %2$s" role="img">', width, height),
		format('<title>%s</title>', assignment_v3.timeline_escape(format('%s, %s', data ->> 'restaurant', data ->> 'title'))),
		assignment_v3.timeline_svg_style() || format('<rect class="page" width="%s" height="%s"/>', width, height),
		format('<text class="head" x="16" y="32">%s</text>', assignment_v3.timeline_escape(format('%s, %s', data ->> 'restaurant', data ->> 'title'))),
		format('<text class="sub" x="16" y="54">%s</text>', assignment_v3.timeline_escape(assignment_v3.timeline_summary(data))),
		assignment_v3.timeline_svg_grid(data, bottom),
		assignment_v3.timeline_svg_boxes(data),
		assignment_v3.timeline_svg_load(data, load_bottom),
		assignment_v3.timeline_svg_waiting(data, waiting_top, columns),
		assignment_v3.timeline_svg_legend(height - 26),
		'</svg>');
END;
$$;
COMMENT ON FUNCTION assignment_v3.timeline_svg(jsonb) IS
	'Internal to service_timeline(): the day as SVG';

-- service_timeline(): a day of one restaurant as a picture.
-- Errors: PT404 no such restaurant, PT422 null or unknown argument, 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.service_timeline(restaurant_id uuid, day date, format text DEFAULT 'text')
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET jit TO off
AS $$
DECLARE
	data jsonb;
BEGIN
	IF COALESCE(format, 'text') NOT IN ('text', 'svg', 'json') THEN
		RAISE EXCEPTION 'unknown format "%"', format USING ERRCODE = 'PT422', HINT = 'Formats are text, svg and json.';
	END IF;
	IF restaurant_id IS NULL OR day IS NULL OR NOT isfinite(day) THEN
		RAISE EXCEPTION 'restaurant_id and day must not be null' USING ERRCODE = 'PT422', HINT = 'Give the restaurant and a day, such as current_date.';
	END IF;
	data := assignment_v3.timeline_data(restaurant_id, day);
	RETURN CASE format WHEN 'svg' THEN assignment_v3.timeline_svg(data) WHEN 'json' THEN jsonb_pretty(data)
		ELSE assignment_v3.timeline_text(data) END;
END;
$$;
COMMENT ON FUNCTION assignment_v3.service_timeline(uuid, date, text) IS
	'A day of one restaurant as a picture: tables by zone, parties, holds, blocks and merges; as text, svg or json';
