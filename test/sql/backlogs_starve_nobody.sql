-- While more is due than a drain looks at, every restaurant has its share before any has the next one, from one call to
-- the next; a restaurant that had nothing yet is served by the very next call; a pause holds up nobody; and each booking
-- is offered once.  A call that began anew each time would serve the same restaurants again and again, one that goes
-- through a round would come to the new one last, and one that remembers who waits could forget somebody.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir '/sql/include/app.sql'
\set database backlogs_starve
\i :setup
SET assignment_v3.enabled TO on;
SET assignment_v3.batch_size TO 4;
\set ECHO none
INSERT INTO restaurants (id, name) SELECT test.id('a', n), 'Restaurant ' || n FROM generate_series(1, 2000) AS n;
-- So many bookings of each of these restaurants, all of one due before all of the next; nobody reads the bookings themselves
CREATE PROCEDURE test.pile(first int, last int, count int, due_at timestamptz) LANGUAGE sql AS $$
	INSERT INTO assignment_v3.queue (booking_id, restaurant_id, due_at)
	SELECT test.id('e', r * 10000 + n), test.id('a', r), due_at + r * interval '1 minute' + n * interval '1 ms'
	FROM generate_series(first, last) AS r, generate_series(1, count) AS n
$$;
CREATE TABLE test.offered (call bigint, booking int, restaurant int);
CREATE SEQUENCE test.call;
-- So many calls for so many bookings each
CREATE PROCEDURE test.work(calls int, bookings int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..calls LOOP
		PERFORM nextval('test.call');
		INSERT INTO test.offered
		SELECT currval('test.call'), test.no(d.booking_id), test.no(d.booking_id) / 10000 FROM assignment_v3.process_due(bookings) AS d;
	END LOOP;
END $$;
CREATE VIEW test.shares AS
SELECT min(n), max(n) FROM (
	SELECT r.id, count(q.booking_id) AS n FROM restaurants AS r JOIN assignment_v3.queue AS q ON q.restaurant_id = r.id GROUP BY r.id
) AS left_of_each;
CREATE VIEW test.once AS
SELECT count(*) AS offered, count(DISTINCT booking) AS bookings, (SELECT count(*) FROM assignment_v3.queue) AS waiting FROM test.offered;
\set ECHO all

-- 80 restaurants with 30 bookings each, in calls for four shares: nobody has the second share before all had the first
CALL test.pile(101, 180, 30, now() - interval '1 day');
CALL test.work(20, 16);
SELECT * FROM test.shares;
CALL test.work(10, 16);
SELECT * FROM test.shares;
CALL test.work(10, 16);
SELECT * FROM test.shares;
-- the same in runs, which leave off in the middle of a share
CALL assignment_v3.run(150) \g /dev/null
SELECT * FROM test.shares;
CALL assignment_v3.run(170) \g /dev/null
SELECT * FROM test.shares;
CALL assignment_v3.run();
SELECT count(*) FROM assignment_v3.queue;
SELECT * FROM test.once;

-- Three restaurants with a backlog among two thousand: whoever had nothing is served by the next call
TRUNCATE test.offered;
CALL test.pile(1001, 1003, 600, now() - interval '1 day');
CALL test.work(3, 16);
CALL test.pile(7, 7, 1, clock_timestamp() - interval '7 minutes 10 ms');
CALL test.work(1, 16);
SELECT count(*) FILTER (WHERE restaurant = 7) AS new, count(*) AS all FROM test.offered WHERE call = currval('test.call');
CALL test.work(3, 16);
CALL test.pile(1999, 1999, 1, clock_timestamp() - interval '1999 minutes 10 ms');
CALL test.work(1, 1);
SELECT count(*) FILTER (WHERE restaurant = 1999) AS new, count(*) AS all FROM test.offered WHERE call = currval('test.call');
-- many of them at once share with those that have a backlog
CALL test.pile(201, 240, 1, clock_timestamp() - interval '240 minutes 10 ms');
CALL test.work(4, 4);
SELECT count(*) FILTER (WHERE restaurant < 1000) > 0 AS new, count(*) FILTER (WHERE restaurant > 1000) > 0 AS backlog
FROM test.offered WHERE call > currval('test.call') - 4;
CALL test.work(1, 10000);
SELECT * FROM test.once;

-- A pause of restaurants with a backlog: the others go on, and no call looks for the end of it
TRUNCATE test.offered;
CALL test.pile(301, 302, 700, now() - interval '1 day');
CALL test.pile(303, 305, 20, now() - interval '1 day');
SELECT assignment_v3.pause(test.id('a', 301)), assignment_v3.pause(test.id('a', 302));
CALL test.work(1, 16);
SELECT count(*) FILTER (WHERE restaurant > 302) AS others, count(*) AS all FROM test.offered;
CALL assignment_v3.run();
CALL assignment_v3.run();
CALL test.work(2, 16);
SELECT assignment_v3.resume(test.id('a', 301)), assignment_v3.resume(test.id('a', 302));
CALL assignment_v3.run(100) \g /dev/null
CALL test.work(1, 10000);
SELECT count(*) FROM assignment_v3.queue;

-- A call is undone: what it took comes again
TRUNCATE test.offered;
CALL test.pile(401, 440, 30, now() - interval '1 day');
BEGIN;
CALL test.work(3, 16);
ROLLBACK;
CALL test.work(1, 10000);
SELECT * FROM test.once;

\c :origin
DROP DATABASE backlogs_starve;
