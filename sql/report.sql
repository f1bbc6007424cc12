/*-------------------------------------------------------------------------
 *
 * report.sql
 *		rollout_report(): how the rollout goes, as one HTML page.
 *
 * As in timeline.sql what there is to say is gathered first, from the views
 * and reports that everybody can query, into one jsonb document; the page is
 * made of the document alone.  It needs no network and no script: the plots
 * are SVG inside it.  A plot without data says so, for the first report is
 * looked at before anything has happened.
 *
 * Every plot has the measures 540 x 230, with the plot area from 44 to 460
 * and from 14 to 190; words stand beside the lines they name.
 *
 *-------------------------------------------------------------------------
 */

-- ---------------------------------------------------------------------
-- What there is to say
-- ---------------------------------------------------------------------

-- report_states(): bookings made in the last seven days by state; cancelled ones aside.
CREATE FUNCTION assignment_v3.report_states(app_schema text)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	states jsonb;
BEGIN
	EXECUTE assignment_v3.attach_expand($q$
		SELECT jsonb_object_agg(s.state, s.bookings)
		FROM (
			SELECT b.assignment_state::text AS state, count(*) AS bookings
			FROM @app@.bookings AS b
			WHERE b.created_at > $1 - interval '7 days' AND b.status::text NOT IN ('cancelled', 'no_show')
			GROUP BY 1
		) AS s$q$, app_schema)
		INTO states USING clock_timestamp();
	RETURN COALESCE(states, '{}');
END;
$$;
COMMENT ON FUNCTION assignment_v3.report_states(text) IS
	'Internal to rollout_report(): bookings by state';

-- report_agreement(): how the rehearsals compare with the legacy path; of a caller who may not see that, only that.
CREATE FUNCTION assignment_v3.report_agreement()
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
BEGIN
	RETURN (SELECT to_jsonb(s) FROM assignment_v3.shadow_report('7 days') AS s WHERE s.restaurant_id IS NULL);
EXCEPTION WHEN insufficient_privilege THEN
	RETURN '{"hidden": true}';
END;
$$;
COMMENT ON FUNCTION assignment_v3.report_agreement() IS
	'Internal to rollout_report(): the comparison with the legacy path';

-- report_phases(): the phases, when each was entered last, and the criteria of the one entered last of all.
CREATE FUNCTION assignment_v3.report_phases()
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	present text;
BEGIN
	SELECT p.phase INTO present FROM assignment_v3.phases AS p ORDER BY p.entered_at DESC, p.id DESC LIMIT 1;
	RETURN jsonb_build_object('present', present,
		'phases', (SELECT jsonb_agg(jsonb_build_object('phase', g.phase, 'ordinal', g.ordinal, 'entered_at', (
				SELECT max(p.entered_at) FROM assignment_v3.phases AS p WHERE p.phase = g.phase)) ORDER BY g.ordinal)
			FROM assignment_v3.gate_phases() AS g),
		'criteria', (SELECT COALESCE(jsonb_agg(c), '[]') FROM assignment_v3.gate(present) AS c WHERE present IS NOT NULL));
EXCEPTION WHEN insufficient_privilege THEN
	RETURN '{"hidden": true}';
END;
$$;
COMMENT ON FUNCTION assignment_v3.report_phases() IS
	'Internal to rollout_report(): the phases, and the gate of the present one';

-- report_data(): the document that the page is made of.
-- Errors: 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.report_data()
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
	app_schema text := assignment_v3.watch_schema(ARRAY['bookings', 'observability_events']);
BEGIN
	RETURN jsonb_build_object(
		'at', date_trunc('second', clock_timestamp()),
		'database', current_database(),
		'health', (SELECT to_jsonb(h) FROM assignment_v3.watch_health() AS h),
		'states', assignment_v3.report_states(app_schema),
		'rates', (SELECT COALESCE(jsonb_agg(r), '[]') FROM assignment_v3.watch_confirmation_rate() AS r),
		'latency', (SELECT COALESCE(jsonb_agg(l), '[]') FROM assignment_v3.watch_latency() AS l),
		'agreement', assignment_v3.report_agreement(),
		'rollout', assignment_v3.report_phases(),
		'alerts', (SELECT jsonb_agg(a) FROM assignment_v3.watch_alerts() AS a),
		'outbox', (SELECT to_jsonb(o) FROM assignment_v3.watch_outbox_health() AS o));
END;
$$;
COMMENT ON FUNCTION assignment_v3.report_data() IS
	'Internal to rollout_report(): what there is to say';

-- ---------------------------------------------------------------------
-- Parts of plots
-- ---------------------------------------------------------------------

-- report_number(): a number as people read it: three digits that matter, thousands apart; NULL for NULL.
CREATE FUNCTION assignment_v3.report_number(value numeric)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT CASE
	WHEN value IS NULL THEN NULL
	WHEN abs(value) >= 1000 THEN to_char(value, 'FM999,999,999,999')
	WHEN value = trunc(value) OR abs(value) >= 100 THEN round(value)::text
	WHEN abs(value) >= 10 THEN trim_scale(round(value, 1))::text
	ELSE trim_scale(round(value, 2))::text
END;
$$;
COMMENT ON FUNCTION assignment_v3.report_number(numeric) IS
	'Internal to rollout_report(): a number as people read it';

-- report_ceiling(): the end of an axis: the next 1, 2 or 5 times a power of ten.
CREATE FUNCTION assignment_v3.report_ceiling(value numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT COALESCE((SELECT trim_scale(min(m.step * p.power)) FROM (VALUES (1), (2), (5), (10)) AS m (step) WHERE m.step * p.power >= value), 1)
FROM (SELECT power(10::numeric, floor(log(greatest(value, 0.001)))) AS power) AS p;
$$;
COMMENT ON FUNCTION assignment_v3.report_ceiling(numeric) IS
	'Internal to rollout_report(): the end of an axis';

-- report_axes(): lines and numbers of a plot over hours, up to the end of its axis; the last hour is the one of the report.
CREATE FUNCTION assignment_v3.report_axes(at timestamptz, hours integer, ceiling numeric, unit text)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT concat_ws(E'\n',
	(SELECT string_agg(format('<line class="grid" x1="44" x2="460" y1="%s" y2="%1$s"/><text class="axis" x="38" y="%s" text-anchor="end">%s</text>',
			190 - 44 * n, 194 - 44 * n, trim_scale(ceiling * n / 4) || CASE WHEN n = 4 THEN ' ' || unit ELSE '' END), E'\n' ORDER BY n)
	 FROM generate_series(0, 4) AS n),
	(SELECT string_agg(format('<text class="axis" x="%s" y="208" text-anchor="middle">%s</text>', x.x, to_char(x.hour, 'HH24:MI'))
			|| CASE WHEN extract(hour FROM x.hour) = 0 OR x.n = 1 THEN format('<text class="axis day" x="%s" y="224" text-anchor="middle">%s</text>',
				x.x, to_char(x.hour, 'FMDy FMDD FMMon')) ELSE '' END, E'\n' ORDER BY x.n)
	 FROM (
		SELECT h.hour, row_number() OVER (ORDER BY h.hour) AS n,
			round(44 + 416 * (1 - extract(epoch FROM date_trunc('hour', at) - h.hour) / 3600 / hours), 1) AS x
		FROM generate_series(date_trunc('hour', at) - hours * interval '1 hour', date_trunc('hour', at), interval '1 hour') AS h (hour)
		WHERE extract(hour FROM h.hour)::integer % (hours / 8) = 0
	 ) AS x));
$$;
COMMENT ON FUNCTION assignment_v3.report_axes(timestamptz, integer, numeric, text) IS
	'Internal to rollout_report(): axes of a plot';

-- report_line(): a line through one value per hour, broken where there is none, with its name at the last point, lifted
-- where another name stands.
CREATE FUNCTION assignment_v3.report_line(points jsonb, key text, at timestamptz, hours integer, ceiling numeric, class text, words text,
	lift numeric DEFAULT 0)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format('<path class="line %s" d="%s"/>', class, string_agg(CASE WHEN p.hour = p.before + interval '1 hour' THEN 'L' ELSE 'M' END || p.x || ' ' || p.y, ' ' ORDER BY p.hour))
	|| string_agg(format('<circle class="point %s" cx="%s" cy="%s" r="%s"><title>%s: %s %s</title></circle>', class, p.x, p.y,
		CASE WHEN p.hour = p.before + interval '1 hour' OR p.after = p.hour + interval '1 hour' THEN 2 ELSE 3 END,
		to_char(p.hour, 'FMDy HH24:MI'), words, assignment_v3.report_number(p.value)), '' ORDER BY p.hour)
	|| max(format('<text class="name %s" x="%s" y="%s">%s</text>', class, p.x + 7, p.y + 4 - lift, words)) FILTER (WHERE p.after IS NULL)
FROM (
	SELECT v.hour, v.value, lag(v.hour) OVER (ORDER BY v.hour) AS before, lead(v.hour) OVER (ORDER BY v.hour) AS after,
		round(44 + 416 * (1 - extract(epoch FROM date_trunc('hour', at) - v.hour) / 3600 / hours), 1) AS x,
		round(190 - 176 * least(v.value / ceiling, 1), 1) AS y
	FROM (SELECT (e ->> 'hour')::timestamptz, (e ->> key)::numeric FROM jsonb_array_elements(points) AS e) AS v (hour, value)
	WHERE v.value IS NOT NULL AND v.hour >= date_trunc('hour', at) - hours * interval '1 hour'
) AS p;
$$;
COMMENT ON FUNCTION assignment_v3.report_line(jsonb, text, timestamptz, integer, numeric, text, text, numeric) IS
	'Internal to rollout_report(): a line of a plot';

-- report_limit(): a limit as a dashed line with its words.
CREATE FUNCTION assignment_v3.report_limit(value numeric, ceiling numeric, words text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format('<line class="limit" x1="44" x2="460" y1="%s" y2="%1$s"/><text class="axis" x="48" y="%s">%s</text>',
	round(190 - 176 * value / ceiling, 1),
	round(190 - 176 * value / ceiling, 1) + CASE WHEN value > ceiling / 2 THEN 20 ELSE -6 END, words);
$$;
COMMENT ON FUNCTION assignment_v3.report_limit(numeric, numeric, text) IS
	'Internal to rollout_report(): a limit in a plot';

-- report_plot(): a section with its heading and a plot; or, without one, with the word that there is nothing yet.
CREATE FUNCTION assignment_v3.report_plot(heading text, explanation text, plot text, missing text, height integer DEFAULT 230)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format(E'<section>\n<h2>%s</h2>\n<p>%s</p>\n%s\n</section>', assignment_v3.timeline_escape(heading), assignment_v3.timeline_escape(explanation),
	CASE WHEN plot IS NULL THEN format('<p class="none">%s</p>', assignment_v3.timeline_escape(missing))
		ELSE format(E'<svg viewBox="0 0 %s %s" role="img" aria-label="%s">\n%s\n</svg>', CASE height WHEN 230 THEN 540 ELSE 1080 END, height,
			assignment_v3.timeline_escape(heading), plot) END);
$$;
COMMENT ON FUNCTION assignment_v3.report_plot(text, text, text, text, integer) IS
	'Internal to rollout_report(): a section with a plot';

-- ---------------------------------------------------------------------
-- The plots
-- ---------------------------------------------------------------------

-- report_plot_states(): a bar per state, in the order in which bookings go through them.
CREATE FUNCTION assignment_v3.report_plot_states(data jsonb)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT assignment_v3.report_plot('Where bookings stand', 'Bookings made in the last seven days by state, cancelled ones aside.',
	string_agg(format('<text x="166" y="%s" text-anchor="end">%s</text><rect class="%s" x="176" y="%s" width="%s" height="18" rx="2"/><text class="strong" x="%s" y="%1$s">%7$s</text>',
		20 + 27 * s.n, replace(s.state, '_', ' '), CASE s.state WHEN 'confirmed' THEN 'good' WHEN 'manual_review' THEN 'warn' WHEN 'failed' THEN 'bad' ELSE 'calm' END,
		6 + 27 * s.n, greatest(round(240 * s.bookings / NULLIF(s.most, 0), 1), CASE WHEN s.bookings > 0 THEN 2 ELSE 0 END),
		184 + COALESCE(round(240 * s.bookings / NULLIF(s.most, 0), 1), 0),
		assignment_v3.report_number(s.bookings) || CASE WHEN s.bookings > 0 THEN format(' (%s %%)', assignment_v3.report_number(round(100 * s.bookings / s.total, 1))) ELSE '' END),
		E'\n' ORDER BY s.n) FILTER (WHERE s.total > 0),
	'No booking has been made yet.')
FROM (
	SELECT u.state, u.n - 1 AS n, COALESCE((data -> 'states' ->> u.state)::numeric, 0) AS bookings,
		max(COALESCE((data -> 'states' ->> u.state)::numeric, 0)) OVER () AS most, sum(COALESCE((data -> 'states' ->> u.state)::numeric, 0)) OVER () AS total
	FROM unnest(assignment_v3.attach_states()) WITH ORDINALITY AS u (state, n)
) AS s;
$$;
COMMENT ON FUNCTION assignment_v3.report_plot_states(jsonb) IS
	'Internal to rollout_report(): bookings by state';

-- report_plot_rates(): what share was confirmed and what share given up, by the hour in which bookings were made.
CREATE FUNCTION assignment_v3.report_plot_rates(data jsonb)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT assignment_v3.report_plot('Confirmation rate', 'Of the bookings that have ended, by the hour in which they were made; the last 48 hours.',
	assignment_v3.report_axes((data ->> 'at')::timestamptz, 48, 100, '%')
		|| assignment_v3.report_limit(95, 100, '95 % wanted') || assignment_v3.report_limit(10, 100, '10 % reviews at most')
		|| assignment_v3.report_line(data -> 'rates', 'manual_review_rate_pct', (data ->> 'at')::timestamptz, 48, 100, 'second', 'reviews')
		|| assignment_v3.report_line(data -> 'rates', 'confirmation_rate_pct', (data ->> 'at')::timestamptz, 48, 100, 'first', 'confirmed'),
	'No booking has ended in the last 48 hours.');
$$;
COMMENT ON FUNCTION assignment_v3.report_plot_rates(jsonb) IS
	'Internal to rollout_report(): confirmation rate by hour';

-- report_plot_latency(): how long decisions took, of the mode in which most were taken.
CREATE FUNCTION assignment_v3.report_plot_latency(data jsonb)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT assignment_v3.report_plot('Decision time', format('Median, 95th and 99th percentile of %s, in milliseconds; the last 24 hours.',
		CASE m.mode WHEN 'shadow' THEN 'rehearsals' ELSE 'decisions' END),
	assignment_v3.report_axes((data ->> 'at')::timestamptz, 24, m.ceiling, 'ms')
		|| assignment_v3.report_line(m.points, 'p99_ms', (data ->> 'at')::timestamptz, 24, m.ceiling, 'third', 'p99',
			greatest(30 - (m.p99 - m.p50) * 176 / m.ceiling, greatest(15 - (m.p95 - m.p50) * 176 / m.ceiling, 0) + 15 - (m.p99 - m.p95) * 176 / m.ceiling, 0))
		|| assignment_v3.report_line(m.points, 'p95_ms', (data ->> 'at')::timestamptz, 24, m.ceiling, 'second', 'p95',
			greatest(15 - (m.p95 - m.p50) * 176 / m.ceiling, 0))
		|| assignment_v3.report_line(m.points, 'p50_ms', (data ->> 'at')::timestamptz, 24, m.ceiling, 'first', 'p50'),
	'Nothing has been decided in the last 24 hours.')
FROM (VALUES (true)) AS one (present)
LEFT JOIN (
	SELECT l ->> 'mode' AS mode, jsonb_agg(l) AS points, assignment_v3.report_ceiling(max((l ->> 'p99_ms')::numeric)) AS ceiling,
		(array_agg((l ->> 'p50_ms')::numeric ORDER BY l ->> 'hour' DESC))[1] AS p50, (array_agg((l ->> 'p95_ms')::numeric ORDER BY l ->> 'hour' DESC))[1] AS p95,
		(array_agg((l ->> 'p99_ms')::numeric ORDER BY l ->> 'hour' DESC))[1] AS p99
	FROM jsonb_array_elements(data -> 'latency') AS l
	GROUP BY 1
	ORDER BY sum((l ->> 'decisions')::numeric) DESC
	LIMIT 1
) AS m ON true;
$$;
COMMENT ON FUNCTION assignment_v3.report_plot_latency(jsonb) IS
	'Internal to rollout_report(): latency by hour';

-- report_plot_agreement(): the four cells of agreement as one bar, and the difference with its interval within the limit.
CREATE FUNCTION assignment_v3.report_plot_agreement(data jsonb)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT assignment_v3.report_plot('Rehearsals beside the legacy path',
	'Bookings of the last seven days that both have tried, by who confirmed them; and the difference in success, with its 95 % interval.',
	string_agg(format('<rect class="%s" x="%s" y="10" width="%s" height="30"/><rect class="%1$s" x="%4$s" y="54" width="12" height="12" rx="2"/><text x="%5$s" y="65">%6$s</text><text class="strong" x="%5$s" y="83">%7$s</text>',
		c.class, 20 + round(500 * c.before / c.total, 1), round(500 * c.bookings / c.total, 1), 20 + 128 * (c.n - 1), 38 + 128 * (c.n - 1), c.words,
		format('%s (%s %%)', assignment_v3.report_number(c.bookings), assignment_v3.report_number(round(100 * c.bookings / c.total, 1)))), E'\n' ORDER BY c.n)
	|| assignment_v3.report_difference((data -> 'agreement' ->> 'difference')::numeric, (data -> 'agreement' ->> 'difference_low')::numeric,
		(data -> 'agreement' ->> 'difference_high')::numeric, data -> 'agreement' ->> 'note'),
	CASE WHEN data -> 'agreement' ? 'hidden' THEN 'Not for the eyes of this role: see grant_monitoring().'
		ELSE 'No booking has been rehearsed and tried by the legacy path yet.' END)
FROM (
	SELECT w.*, sum(w.bookings) OVER () AS total, COALESCE(sum(w.bookings) OVER (ORDER BY w.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
	FROM (
		SELECT v.n, v.words, v.class, COALESCE((data -> 'agreement' ->> v.key)::numeric, 0) AS bookings
		FROM (VALUES (1, 'both_confirmed', 'both', 'good'), (2, 'only_shadow', 'only pipeline', 'calm'), (3, 'only_legacy', 'only legacy', 'warn'),
			(4, 'neither', 'neither', 'none')) AS v (n, key, words, class)
	) AS w
) AS c
WHERE c.total > 0;
$$;
COMMENT ON FUNCTION assignment_v3.report_plot_agreement(jsonb) IS
	'Internal to rollout_report(): agreement with the legacy path';

-- report_difference(): a difference in points with its interval, on an axis on which 5 points either way are shaded.
CREATE FUNCTION assignment_v3.report_difference(difference numeric, low numeric, high numeric, note text)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT concat_ws(E'\n',
	format('<rect class="band" x="%s" y="120" width="%s" height="50"/>', 270 - 5 * s.scale, 10 * s.scale),
	(SELECT string_agg(format('<line class="grid" x1="%s" x2="%1$s" y1="120" y2="170"/><text class="axis" x="%1$s" y="186" text-anchor="middle">%s</text>',
		270 + n * s.span / 2 * s.scale, CASE WHEN n > 0 THEN '+' ELSE '' END || trim_scale(n * s.span / 2)), '' ORDER BY n) FROM generate_series(-2, 2) AS n),
	format('<line class="whisker" x1="%s" x2="%s" y1="145" y2="145"/><circle class="point first" cx="%s" cy="145" r="5"/>',
		270 + greatest(low, -s.span) * s.scale, 270 + least(high, s.span) * s.scale, 270 + difference * s.scale),
	format('<text class="strong" x="20" y="110">%s points (%s to %s): %s</text><text class="axis" x="20" y="206">pipeline worse</text><text class="axis" x="520" y="206" text-anchor="end">pipeline better</text>',
		to_char(difference, 'FMSG990.0'), to_char(low, 'FMSG990.0'), to_char(high, 'FMSG990.0'), assignment_v3.timeline_escape(note)))
FROM (SELECT v.span, round(240 / v.span, 4) AS scale
	FROM (SELECT greatest(10, assignment_v3.report_ceiling(greatest(abs(low), abs(high)))) AS span) AS v) AS s
WHERE difference IS NOT NULL;
$$;
COMMENT ON FUNCTION assignment_v3.report_difference(numeric, numeric, numeric, text) IS
	'Internal to rollout_report(): a difference with its interval';

-- report_plot_phases(): the phases as stops on a line: those behind, the present one, those ahead.
CREATE FUNCTION assignment_v3.report_plot_phases(data jsonb)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT assignment_v3.report_plot('The way through the phases', 'Each phase is entered by hand, and left when its gate has been passed.',
	'<line class="limit" x1="90" x2="990" y1="46" y2="46"/>'
		|| COALESCE(format('<line class="whisker" x1="90" x2="%s" y1="46" y2="46"/>', max(p.x) FILTER (WHERE p.stage = 'present')), '')
		|| string_agg(format('<circle class="stop %s" cx="%s" cy="46" r="%s"/><text class="%s" x="%2$s" y="80" text-anchor="middle">%5$s</text><text class="axis" x="%2$s" y="98" text-anchor="middle">%6$s</text>',
			p.stage, p.x, CASE p.stage WHEN 'present' THEN 11 ELSE 8 END, CASE p.stage WHEN 'present' THEN 'strong' ELSE 'plain' END,
			replace(p.phase, '_', ' '), COALESCE('entered ' || to_char(p.entered_at, 'FMDD FMMon HH24:MI'), '')), E'\n' ORDER BY p.ordinal)
		|| COALESCE(format('<text class="strong" x="%s" y="24" text-anchor="middle">%s of %s criteria pass</text>', max(p.x) FILTER (WHERE p.stage = 'present'),
			(SELECT count(*) FILTER (WHERE c ->> 'verdict' = 'pass') FROM jsonb_array_elements(data -> 'rollout' -> 'criteria') AS c),
			jsonb_array_length(data -> 'rollout' -> 'criteria')), ''),
	'Not for the eyes of this role: see grant_monitoring().', 110)
FROM (
	SELECT v.*, 90 + 150 * (v.ordinal - 1) AS x, CASE WHEN v.phase = data -> 'rollout' ->> 'present' THEN 'present'
		WHEN v.entered_at < max(v.entered_at) OVER () THEN 'behind' ELSE 'ahead' END AS stage
	FROM jsonb_to_recordset(data -> 'rollout' -> 'phases') AS v (phase text, ordinal integer, entered_at timestamptz)
) AS p;
$$;
COMMENT ON FUNCTION assignment_v3.report_plot_phases(jsonb) IS
	'Internal to rollout_report(): the way from phase to phase';

-- ---------------------------------------------------------------------
-- The page
-- ---------------------------------------------------------------------

-- report_style(): how it looks, by day, by night and on paper.
CREATE FUNCTION assignment_v3.report_style()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT $css$<style>
:root { --page: #f3f5f7; --card: #ffffff; --ink: #1f2933; --soft: #52606d; --grid: #dde2e7; --blue: #2f6fa7; --pale: #9cc3e4; --orange: #c77c11;
	--red: #a8322d; --gray: #b6bfc8; --band: #e3eef7; color-scheme: light dark }
@media (prefers-color-scheme: dark) { :root { --page: #0e1115; --card: #171c22; --ink: #e4e7eb; --soft: #a5b1bd; --grid: #2c343d; --blue: #6cb1ea;
	--pale: #35618a; --orange: #f0b04e; --red: #ef7d74; --gray: #4a5662; --band: #1d2f40 } }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 40px }
h1 { font-size: 26px; margin: 0 } h2 { font-size: 17px; margin: 0 } p { margin: 2px 0 10px; color: var(--soft) }
.cards, .plots { display: grid; gap: 14px; margin-top: 14px } .cards { grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)) }
.plots { grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)) }
.plots.one { grid-template-columns: 1fr }
.stop { stroke: var(--blue); stroke-width: 3 } .behind { fill: var(--blue) } .present { fill: var(--card); stroke-width: 5 } .ahead { fill: var(--card); stroke: var(--gray) }
.card, section { background: var(--card); border-radius: 8px; padding: 16px 18px }
.card b { display: block; font-size: 25px; line-height: 1.3; white-space: nowrap } .card span { color: var(--soft); font-size: 13px }
.status { display: inline-block; padding: 1px 12px; border-radius: 12px; font-weight: 700; color: var(--card); background: var(--soft) }
.HEALTHY { background: var(--blue) } .WARNING { background: var(--orange) } .CRITICAL { background: var(--red) }
svg { display: block; width: 100% } svg text { font-size: 13px; fill: var(--ink) } svg .axis { fill: var(--soft); font-size: 12px }
.strong, svg .strong { font-weight: 700 } .grid { stroke: var(--grid) } .limit { stroke: var(--soft); stroke-dasharray: 5 4 }
.good { fill: var(--blue) } .calm { fill: var(--pale) } .warn { fill: var(--orange) } .bad { fill: var(--red) } rect.none { fill: var(--gray) } .band { fill: var(--band) }
.line { fill: none; stroke-width: 2 } .line.first { stroke: var(--blue) } .line.second { stroke: var(--orange) } .line.third { stroke: var(--soft) }
.point.first { fill: var(--blue) } .point.second { fill: var(--orange) } .point.third { fill: var(--soft) }
svg .name { font-weight: 700 } svg .name.first { fill: var(--blue) } svg .name.second { fill: var(--orange) } svg .name.third { fill: var(--soft) }
.whisker { stroke: var(--blue); stroke-width: 3 } p.none { padding: 48px 0; text-align: center; font-style: italic }
table { width: 100%; border-collapse: collapse } td, th { text-align: left; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--grid); vertical-align: top }
th { color: var(--soft); font-weight: 600; font-size: 13px } td.n { text-align: right; white-space: nowrap } .wide { margin-top: 16px; overflow-x: auto }
.verdict { white-space: nowrap; font-weight: 700 } .verdict::before { display: inline-block; width: 1.4em }
.pass::before { content: "✓"; color: var(--blue) } .fail::before { content: "✗"; color: var(--red) } .open::before { content: "…"; color: var(--soft) }
@media print { body { background: none } section { break-inside: avoid } }
</style>$css$;
$$;
COMMENT ON FUNCTION assignment_v3.report_style() IS
	'Internal to rollout_report(): colours and type';

-- report_cards(): the numbers of the hour.
CREATE FUNCTION assignment_v3.report_cards(data jsonb)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH rate AS (
	SELECT COALESCE(sum((r ->> 'ended')::bigint), 0)::bigint AS ended, sum((r ->> 'confirmed')::bigint)::bigint AS confirmed,
		sum((r ->> 'manual_review')::bigint)::bigint AS review
	FROM jsonb_array_elements(data -> 'rates') AS r
), latest AS (
	SELECT l FROM jsonb_array_elements(data -> 'latency') AS l LIMIT 1
)
SELECT format(E'<div class="cards">\n%s\n</div>', string_agg(format('<div class="card"><span>%s</span><b>%s</b><span>%s</span></div>',
	c.label, c.value, assignment_v3.timeline_escape(c.note)), E'\n' ORDER BY c.n))
FROM rate
CROSS JOIN LATERAL (VALUES
	(1, 'Confirmed', COALESCE(assignment_v3.report_number(assignment_v3.watch_percent(rate.confirmed, rate.ended)) || ' %', '–'),
		format('of %s in 48 hours', assignment_v3.report_number(rate.ended))),
	(2, 'Manual review', COALESCE(assignment_v3.report_number(assignment_v3.watch_percent(rate.review, rate.ended)) || ' %', '–'), 'of the same'),
	(3, 'Errors', (SELECT COALESCE(assignment_v3.report_number((a ->> 'value')::numeric) || ' %', '–') FROM jsonb_array_elements(data -> 'alerts') AS a
		WHERE a ->> 'alert' = 'coordinator_error_rate'), 'of decisions in 15 minutes'),
	(4, 'Decision time', COALESCE((SELECT assignment_v3.report_number((latest.l ->> 'p95_ms')::numeric) || ' ms' FROM latest), '–'), 'p95 of this hour'),
	(5, 'Waiting', assignment_v3.report_number((data -> 'health' ->> 'due')::numeric), 'bookings due now'),
	(6, 'Breakers open', assignment_v3.report_number((data -> 'health' ->> 'breakers_open')::numeric), 'restaurants'),
	(7, 'Messages', assignment_v3.report_number((data -> 'outbox' ->> 'pending')::numeric), format('pending, %s dead', data -> 'outbox' ->> 'dead'))
) AS c (n, label, value, note);
$$;
COMMENT ON FUNCTION assignment_v3.report_cards(jsonb) IS
	'Internal to rollout_report(): the numbers of the hour';

-- report_alerts(): the alerts as a table.
CREATE FUNCTION assignment_v3.report_alerts(data jsonb)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format(E'<section class="wide">\n<h2>Alerts</h2>\n<table>\n<tr><th>Alert</th><th>Severity</th><th>Now</th><th>Value</th><th>Limit</th><th>Detail</th></tr>\n%s\n</table>\n</section>',
	string_agg(format('<tr><td>%s</td><td>%s</td><td><span class="verdict %s">%s</span></td><td>%s</td><td>%s</td><td>%s</td></tr>',
		replace(a.alert, '_', ' '), a.severity, CASE WHEN a.firing THEN 'fail' ELSE 'pass' END,
		CASE WHEN a.firing THEN 'firing since ' || to_char(a.since, 'HH24:MI') ELSE 'quiet' END,
		COALESCE(assignment_v3.report_number(a.value) || ' ' || a.unit, '–'), assignment_v3.report_number(a.threshold) || ' ' || a.unit,
		assignment_v3.timeline_escape(a.detail)), E'\n' ORDER BY a.severity, a.alert))
FROM jsonb_to_recordset(data -> 'alerts') AS a (alert text, severity text, firing boolean, value numeric, threshold numeric, unit text, since timestamptz, detail text);
$$;
COMMENT ON FUNCTION assignment_v3.report_alerts(jsonb) IS
	'Internal to rollout_report(): the alerts';

-- report_gate(): the criteria of the present phase as a table; nothing before the first phase.
CREATE FUNCTION assignment_v3.report_gate(data jsonb)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT format(E'<section class="wide">\n<h2>Gate of %s</h2>\n<table>\n<tr><th>Criterion</th><th>Verdict</th><th>Actual</th><th>Required</th><th>Detail</th></tr>\n%s\n</table>\n</section>',
	replace(data -> 'rollout' ->> 'present', '_', ' '), string_agg(format('<tr><td>%s</td><td><span class="verdict %s">%s</span></td><td>%s</td><td>%s</td><td>%s</td></tr>',
		assignment_v3.timeline_escape(replace(c.criterion, '_', ' ')), CASE c.verdict WHEN 'pass' THEN 'pass' WHEN 'fail' THEN 'fail' ELSE 'open' END,
		assignment_v3.timeline_escape(c.verdict), assignment_v3.timeline_escape(c.actual), assignment_v3.timeline_escape(c.required),
		assignment_v3.timeline_escape(c.detail)), E'\n' ORDER BY c.n))
FROM (
	SELECT x ->> 'criterion' AS criterion, x ->> 'verdict' AS verdict, x ->> 'actual' AS actual, x ->> 'required' AS required, x ->> 'detail' AS detail, e.n
	FROM jsonb_array_elements(data -> 'rollout' -> 'criteria') WITH ORDINALITY AS e (x, n)
) AS c
HAVING count(*) > 0;
$$;
COMMENT ON FUNCTION assignment_v3.report_gate(jsonb) IS
	'Internal to rollout_report(): the gate of the present phase';

-- report_html(): the page.
CREATE FUNCTION assignment_v3.report_html(data jsonb)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT concat_ws(E'\n', '<!DOCTYPE html>', '<html lang="en">', '<head>', '<meta charset="utf-8"/>', '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
	format('<title>Rollout of %s</title>', assignment_v3.timeline_escape(data ->> 'database')), assignment_v3.report_style(), '</head>', '<body>', '<main>',
	format('<h1>Rollout of %s</h1>', assignment_v3.timeline_escape(data ->> 'database')),
	format('<p>%s, mode of the fleet: %s. <span class="status %s">%3$s</span> %s</p>', to_char((data ->> 'at')::timestamptz, 'FMDay, FMDD FMMonth YYYY, HH24:MI'),
		COALESCE(data -> 'health' ->> 'mode', 'none'), data -> 'health' ->> 'status', assignment_v3.timeline_escape(data -> 'health' ->> 'why')),
	assignment_v3.report_cards(data),
	'<div class="plots">', assignment_v3.report_plot_states(data), assignment_v3.report_plot_rates(data), assignment_v3.report_plot_latency(data),
	assignment_v3.report_plot_agreement(data), '</div>',
	'<div class="plots one">', assignment_v3.report_plot_phases(data), '</div>', assignment_v3.report_gate(data),
	assignment_v3.report_alerts(data),
	'</main>', '</body>', '</html>');
$$;
COMMENT ON FUNCTION assignment_v3.report_html(jsonb) IS
	'Internal to rollout_report(): the page';

-- rollout_report(): how the rollout goes.
-- Errors: PT422 unknown format, 55000 not attached, 42501.
CREATE FUNCTION assignment_v3.rollout_report(format text DEFAULT 'html')
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path TO pg_catalog, pg_temp
SET jit TO off
AS $$
BEGIN
	IF COALESCE(format, 'html') NOT IN ('html', 'json') THEN
		RAISE EXCEPTION 'unknown format "%"', format USING ERRCODE = 'PT422', HINT = 'Formats are html and json.';
	END IF;
	RETURN CASE format WHEN 'json' THEN jsonb_pretty(assignment_v3.report_data()) ELSE assignment_v3.report_html(assignment_v3.report_data()) END;
END;
$$;
COMMENT ON FUNCTION assignment_v3.rollout_report(text) IS
	'How the rollout goes: states, confirmation rate, agreement with the legacy path, latency, gates and alerts; one HTML page, or json';
