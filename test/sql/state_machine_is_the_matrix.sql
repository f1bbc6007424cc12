-- transition() must take exactly the automatic edges of the published matrix: each of the 64 pairs is tried.  A legal
-- one leaves one history row, one event and the next version, and a message where somebody outside waits; an illegal one
-- leaves nothing and names the legal ones.  It could fail because validator, transitions() and diagrams are fed
-- from one table of bits, where a wrong bit makes all of them agree with each other and not with the matrix.
\set database state_machine
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/sql/include/scratch_database.sql
\i :srcdir/sql/include/restaurant.sql
\set ECHO all

-- the matrix as it is published, and the way to each state along it
CREATE TABLE test.matrix (n int, from_state text PRIMARY KEY, to_states text[], way text[]);
INSERT INTO test.matrix VALUES
	(1, 'created', '{capacity_verified,failed}', '{}'),
	(2, 'capacity_verified', '{assignment_pending,failed}', '{capacity_verified}'),
	(3, 'assignment_pending', '{assignment_in_progress,failed,manual_review}', '{capacity_verified,assignment_pending}'),
	(4, 'assignment_in_progress', '{assignment_pending,assigned,failed,manual_review}',
	 '{capacity_verified,assignment_pending,assignment_in_progress}'),
	(5, 'assigned', '{assignment_pending,confirmed,manual_review}',
	 '{capacity_verified,assignment_pending,assignment_in_progress,assigned}'),
	(6, 'confirmed', '{}', '{capacity_verified,assignment_pending,assignment_in_progress,assigned,confirmed}'),
	(7, 'failed', '{}', '{failed}'),
	(8, 'manual_review', '{}', '{capacity_verified,assignment_pending,manual_review}');

-- transitions() is the matrix
SELECT m.from_state, array_agg(t.to_state ORDER BY t.to_state) AS automatic
FROM test.matrix AS m LEFT JOIN assignment_v3.transitions() AS t ON t.from_state = m.from_state AND t.kind = 'automatic'
GROUP BY m.n, m.from_state ORDER BY m.n;
SELECT from_state, to_state FROM assignment_v3.transitions() WHERE kind = 'automatic'
EXCEPT SELECT from_state, unnest(to_states) FROM test.matrix;
SELECT from_state, unnest(to_states) FROM test.matrix
EXCEPT SELECT from_state, to_state FROM assignment_v3.transitions() WHERE kind = 'automatic';
SELECT from_state, string_agg(to_state, ', ' ORDER BY to_state) AS operator
FROM assignment_v3.transitions() WHERE kind = 'operator' GROUP BY from_state ORDER BY from_state;
SELECT from_state, string_agg(to_state, ', ' ORDER BY to_state) AS external
FROM assignment_v3.transitions() WHERE kind = 'external' GROUP BY from_state ORDER BY from_state;

-- all 64 pairs, each with a booking of its own that has tables of its own
CREATE TABLE test.walks (from_state text, to_state text, legal boolean, problem text);
DO $$
DECLARE
	pair record;
	hop text;
	id uuid;
	version int;
	step assignment_v3.step;
	message text;
	detail text;
	problem text;
BEGIN
	FOR pair IN
		SELECT (f.n - 1) * 8 + t.n AS n, f.from_state, t.from_state AS to_state, f.way, f.to_states,
			t.from_state = ANY (f.to_states) AS legal,
			CASE f.to_states WHEN '{}' THEN ARRAY['none'] ELSE f.to_states END AS named
		FROM test.matrix AS f, test.matrix AS t ORDER BY 1
	LOOP
		id := test.id('b', pair.n);
		PERFORM test.book(pair.n, 2, 24 * pair.n + 18, 24 * pair.n + 20);
		PERFORM test.seat(pair.n, 1);
		FOREACH hop IN ARRAY pair.way LOOP
			PERFORM assignment_v3.transition(id, hop);
		END LOOP;
		version := 1 + cardinality(pair.way);
		problem := NULL;
		BEGIN
			step := assignment_v3.transition(id, pair.to_state, version, 'tried', '{"walk": 64}');
			IF NOT pair.legal THEN
				problem := 'was let through';
			ELSIF step IS DISTINCT FROM (pair.from_state, pair.to_state, version + 1)::assignment_v3.step THEN
				problem := format('returned %s', step);
			END IF;
			version := version + 1;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
			IF pair.legal OR SQLSTATE <> 'PT422'
				OR message <> format('booking %s cannot go from "%s" to "%s"', id, pair.from_state, pair.to_state)
				OR substring(detail FROM '^Version (\d+) allows: .*\.$')::int <> version
				OR (SELECT array_agg(s ORDER BY s) FROM regexp_split_to_table(substring(detail FROM ': (.*)\.$'), ', ') AS s)
					<> (SELECT array_agg(s ORDER BY s) FROM unnest(pair.named) AS s)
			THEN
				problem := concat_ws(' ', SQLSTATE, message, detail);
			END IF;
		END;
		IF problem IS NULL AND NOT EXISTS (
			SELECT FROM bookings AS b WHERE b.id = test.id('b', pair.n) AND b.assignment_state_version = version
				AND b.assignment_state::text = CASE WHEN pair.legal THEN pair.to_state ELSE pair.from_state END)
		THEN
			problem := 'left another state or version';
		END IF;
		INSERT INTO test.walks VALUES (pair.from_state, pair.to_state, pair.legal, problem);
	END LOOP;
END
$$;
SELECT legal, count(*), count(problem) AS problems FROM test.walks GROUP BY legal ORDER BY legal;
SELECT * FROM test.walks WHERE problem IS NOT NULL;
SELECT * FROM test.unsound();

-- the step itself, as history, event and message tell it
SELECT count(*) AS steps, count(*) FILTER (WHERE h.from_state = m.from_state::booking_assignment_state
	AND h.to_state::text = ANY (m.to_states) AND h.version = 2 + cardinality(m.way)
	AND h.metadata @> '{"walk": 64}' AND h.metadata ? 'trigger' AND h.actor_id IS NULL) AS as_expected
FROM booking_assignment_state_history AS h
LEFT JOIN test.matrix AS m ON m.from_state = h.from_state::text WHERE h.reason = 'tried';
SELECT * FROM test.events(2);
SELECT h.to_state, count(*) AS arrivals, count(o.id) AS messages
FROM booking_assignment_state_history AS h
LEFT JOIN capacity_outbox AS o ON o.booking_id = h.booking_id AND o.dedupe_key = h.booking_id || ':' || h.version
	AND o.event_type = 'booking.assignment_state.' || h.to_state
GROUP BY h.to_state ORDER BY h.to_state;
SELECT * FROM test.messages(7);

-- what may be done from one state, by whom
SELECT * FROM assignment_v3.allowed_transitions('created');
SELECT * FROM assignment_v3.allowed_transitions('confirmed');
SELECT * FROM assignment_v3.allowed_transitions('manual_review');
SELECT * FROM assignment_v3.allowed_transitions(NULL);
SELECT * FROM test.refusal($$SELECT assignment_v3.allowed_transitions('seated')$$);
SELECT count(*) AS differences FROM (
	SELECT * FROM assignment_v3.transitions()
	EXCEPT ALL SELECT m.from_state, a.* FROM test.matrix AS m, assignment_v3.allowed_transitions(m.from_state) AS a) AS d;

-- the pictures
SELECT assignment_v3.state_diagram();
SELECT assignment_v3.state_diagram('mermaid') = assignment_v3.state_diagram() AS mermaid_is_default;
SELECT assignment_v3.state_diagram('dot');
SELECT assignment_v3.state_diagram(NULL) IS NULL AS null_is_null;
SELECT * FROM test.refusal($$SELECT assignment_v3.state_diagram('svg')$$);

\set ECHO none
\i :srcdir/sql/include/drop_scratch_database.sql
