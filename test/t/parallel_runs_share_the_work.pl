# Four runs at a time share one queue: no booking is decided twice, none is forgotten, no restaurant is ever worked on by more than its
# limit, and none of the four sees an error or a deadlock.  A full restaurant is passed over and its bookings come later; one that
# is disabled is skipped, one in shadow is rehearsed.  It could fail by a claim that outlives or does not last until its commit, by a
# pass-over that loses the bookings behind it, or by two that insert assignments in crossing order.
#
# The limits are watched from outside, in pg_locks, while the app's trigger makes each confirmation last long enough to be seen.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('parallel');
attach_pipeline($node);

# Restaurants 1 to 5 are open, with limits of 1, 2, and 3 by default; 6 is in shadow, 7 is closed once its bookings are queued.
$node->safe_psql('app', <<'SQL');
SELECT make_floor(7, 20);
INSERT INTO assignment_v3.rollout (restaurant_id, mode, max_parallel)
VALUES (test_id('a', 1), 'active', 1), (test_id('a', 2), 'active', 2), (test_id('a', 6), 'shadow', NULL);
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.003); RETURN NEW; END$$;
CREATE TRIGGER dawdle BEFORE UPDATE ON bookings FOR EACH ROW WHEN (NEW.status = 'confirmed') EXECUTE FUNCTION dawdle();
-- the first restaurants come in long runs, so that the four meet there
SELECT count(book(r, 1 + n % 8, (n * 7919 % 336) / 2.0, 'guest')) FROM generate_series(1, 5) r, generate_series(1, 390) n;
SELECT count(book(r, 400, 19, 'army')) FROM generate_series(1, 5) r, generate_series(1, 5) n;
SELECT count(book(r, 2, n, 'guest')) FROM generate_series(6, 7) r, generate_series(1, 25) n;
INSERT INTO assignment_v3.rollout (restaurant_id, mode) VALUES (test_id('a', 7), 'disabled');

-- How many slots each restaurant has given out, as a spy sees it in pg_locks: the most at a time, until told to stop.  Slots are
-- the classes 0xA321 to 0xA334 of advisory locks, their key the hash of the restaurant's id.
CREATE TABLE spied (restaurant uuid PRIMARY KEY, slots bigint, looks bigint);
CREATE TABLE enough (yes boolean);
CREATE FUNCTION spy() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT EXISTS (SELECT FROM enough) LOOP
		INSERT INTO spied
		SELECT r.id, count(*), 1 FROM pg_locks l
		JOIN restaurants r ON l.classid::bigint = (uuid_hash_extended(r.id, 0) >> 32) & 4294967295
			AND l.objid::bigint = uuid_hash_extended(r.id, 0) & 4294967295
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid & 65535 BETWEEN 41761 AND 41780
		GROUP BY r.id
		ON CONFLICT (restaurant) DO UPDATE SET slots = greatest(spied.slots, excluded.slots), looks = spied.looks + 1;
		PERFORM pg_sleep(0.001);
	END LOOP;
END
$$;
SQL

my $log_start = -s $node->logfile;
my $spy = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app'), '-c', 'SELECT spy()' ], '>', \my $spied, '2>', \my $spy_error);

# run_four(): four runs at a time; the rows of counts they end with.
sub run_four
{
	my (@out, @err);
	my @runs = map {
		IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app') . " application_name=run$_", '-c', 'CALL assignment_v3.run()' ],
			'>', \$out[$_], '2>', \$err[$_])
	} 1 .. 4;

	ok($_->finish, 'a run ends well') foreach @runs;
	is(join('', @err[ 1 .. 4 ]), '', 'none of the four complains');
	return map { [ split(/\|/, $_) ] } @out[ 1 .. 4 ];
}

my $queued = $node->safe_psql('app', 'SELECT count(*) FROM assignment_v3.queue');
is($queued, 2025, '2025 bookings wait');
my $start = time;
my @counts = run_four();
my $seconds = time - $start;
$node->safe_psql('app', 'INSERT INTO enough VALUES (true)');
$spy->finish;

my @total = map { my $column = $_; my $sum = 0; $sum += $_->[$column] foreach @counts; $sum } 0 .. 5;
diag(sprintf('%d decisions in %.1f s (%s); confirmed %d, retry %d, manual_review %d, noop %d, error %d; slots seen: %s',
	$total[0], $seconds, join(' + ', map { $_->[0] } @counts), @total[ 1 .. 5 ],
	$node->safe_psql('app', "SELECT string_agg(right(restaurant::text, 1) || ': ' || slots, ', ' ORDER BY restaurant) FROM spied")));

# The share of each, and what they count
cmp_ok($_->[0], '>', 20, 'each of the four had its share') foreach @counts;
is($total[5], 0, 'no decision failed');
is($total[0], $total[1] + $total[2] + $total[3] + $total[4] + $total[5], 'the counts add up');
is($node->safe_psql('app', "SELECT count(*) FROM observability_events WHERE event_type = 'coordinator.start' AND context ->> 'trigger' = 'run'"),
	$total[0], '... to what the events say');

# Nobody twice
is($node->safe_psql('app', "SELECT booking_id FROM observability_events WHERE event_type = 'coordinator.start'
	GROUP BY 1 HAVING count(*) > 1 LIMIT 5"), '', 'no booking was offered twice');
is($node->safe_psql('app', "SELECT booking_id FROM booking_assignment_attempts GROUP BY 1 HAVING count(*) > 1 LIMIT 5"), '', '... or tried twice');
is($node->safe_psql('app', "SELECT booking_id FROM booking_assignment_state_history WHERE to_state = 'confirmed' GROUP BY 1 HAVING count(*) > 1 LIMIT 5"), '',
	'... or confirmed twice');

# Nobody forgotten
is($node->safe_psql('app', "SELECT b.id FROM bookings b WHERE b.restaurant_id < test_id('a', 7)
	AND NOT EXISTS (SELECT FROM observability_events e WHERE e.booking_id = b.id AND e.event_type = 'coordinator.start') LIMIT 5"), '',
	'every booking was offered');
is($node->safe_psql('app', "SELECT q.booking_id FROM assignment_v3.queue q JOIN bookings b ON b.id = q.booking_id
	LEFT JOIN observability_events e ON e.booking_id = q.booking_id AND e.event_type = 'coordinator.retry'
	WHERE b.restaurant_id < test_id('a', 7) AND (e.id IS NULL OR q.due_at < e.created_at) LIMIT 5"), '', 'what is left in the queue are retries, due later');
is($node->safe_psql('app', "SELECT b.id FROM bookings b WHERE b.restaurant_id < test_id('a', 6) AND b.status <> 'confirmed'
	AND NOT EXISTS (SELECT FROM assignment_v3.queue q WHERE q.booking_id = b.id) LIMIT 5"), '', 'whoever was not seated is in the queue');
is($node->safe_psql('app', "SELECT count(*) FROM bookings b JOIN assignment_v3.queue q ON q.booking_id = b.id
	WHERE b.customer_name = 'army' AND b.assignment_state = 'assignment_pending'"), 25, 'the armies among them');
is($node->safe_psql('app', "SELECT count(*) FROM assignment_v3.queue WHERE restaurant_id = test_id('a', 7)"), 25, 'the closed restaurant waits');
is($node->safe_psql('app', "SELECT count(*) FROM observability_events WHERE restaurant_id = test_id('a', 7)"), 0, '... and nothing is told of it');
is($node->safe_psql('app', "SELECT count(*), count(DISTINCT booking_id) FROM observability_events WHERE restaurant_id = test_id('a', 6)
	AND event_type = 'coordinator.confirmed'"), '25|25', 'the one in shadow was rehearsed');
is($node->safe_psql('app', "SELECT count(*) FROM bookings WHERE restaurant_id = test_id('a', 6) AND assignment_state <> 'created'"), 0, '... and nothing else');

# The limits
my %slots = map { split /\|/ } split(/\n/, $node->safe_psql('app', 'SELECT right(restaurant::text, 1), slots FROM spied'));
my %limit = (1 => 1, 2 => 2, 3 => 3, 4 => 3, 5 => 3);
cmp_ok($slots{$_}, '<=', $limit{$_}, "restaurant $_ was never worked on by more than $limit{$_}") foreach sort keys %limit;
is($slots{1}, 1, 'the spy has seen restaurant 1 at its limit');
is($slots{2}, 2, '... and restaurant 2');
cmp_ok($node->safe_psql('app', 'SELECT min(looks) FROM spied WHERE restaurant < test_id(\'a\', 6)'), '>', 20, '... and looked often');

# Later, when the retries are due, the rest is seated.  Whoever had met a locked table is among them.
$node->safe_psql('app', 'DROP TRIGGER dawdle ON bookings');
wait_until(sub {
	$node->safe_psql('app', "UPDATE assignment_v3.queue SET due_at = now() WHERE booking_id IN (SELECT id FROM bookings WHERE customer_name = 'guest')");
	run_four();
	return $node->safe_psql('app', "SELECT count(*) FROM assignment_v3.queue q JOIN bookings b ON b.id = q.booking_id
		WHERE customer_name = 'guest' AND b.restaurant_id < test_id('a', 6) AND b.assignment_state <> 'manual_review'") == 0;
}, 30);
is($node->safe_psql('app', "SELECT status, count(*) FROM bookings WHERE customer_name = 'guest' AND restaurant_id < test_id('a', 6) GROUP BY 1"),
	'confirmed|1950', 'in the end every guest is seated');
is_sound($node);
log_is_clean($node, $log_start, 'no error, and no deadlock, in the server log');
$node->stop;
done_testing();
