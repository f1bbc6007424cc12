# statement_timeout and pg_cancel_backend() end a decision at once, wherever it is, and leave nothing behind: no state, no history,
# no event, no attempt, no lock, and the queue as it was.  A run() ends within the booking it is at; what it had decided before stays
# decided.  It could fail because the coordinator catches errors of the app to record them, and must not catch a cancel; because
# a planner busy in memory forgets to look; or because the rights, the search_path or a lock outlive the subtransaction.
#
# A decision is held where it is wanted by a trigger of the app's that sleeps, or by a floor that takes the planner seconds.  The
# times measured are shown; the limits tested are wider, for machines with more to do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $limit = 1.0;
my @measured;
my $node = new_node('timeouts', 'autovacuum = off');
attach_pipeline($node);

$node->safe_psql('app', <<'SQL');
SELECT make_floor(2, 4);
-- sleeps at the point of a decision that the guest's name says
CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM bookings b WHERE b.id = NEW.booking_id AND b.customer_name = 'sleeps in ' || TG_TABLE_NAME) THEN
		PERFORM pg_sleep(60);
	END IF;
	RETURN NEW;
END
$$;
CREATE FUNCTION nap_in_bookings() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(60); RETURN NEW; END$$;
CREATE TRIGGER nap BEFORE INSERT ON booking_table_assignments FOR EACH ROW EXECUTE FUNCTION nap();
CREATE TRIGGER nap AFTER INSERT ON booking_assignment_state_history FOR EACH ROW EXECUTE FUNCTION nap();
CREATE TRIGGER nap BEFORE INSERT ON capacity_outbox FOR EACH ROW EXECUTE FUNCTION nap();
CREATE TRIGGER nap BEFORE UPDATE ON bookings FOR EACH ROW
	WHEN (NEW.customer_name = 'sleeps in bookings' AND NEW.status = 'confirmed') EXECUTE FUNCTION nap_in_bookings();
CREATE TRIGGER nap BEFORE INSERT ON booking_assignment_attempts FOR EACH ROW EXECUTE FUNCTION nap();
SQL

# All that a decision could leave behind, but for locks.
my $traces = "SELECT md5(string_agg(r, ' ' ORDER BY r)) FROM (
	SELECT b::text AS r FROM bookings b UNION ALL SELECT h::text FROM booking_assignment_state_history h
	UNION ALL SELECT e::text FROM observability_events e UNION ALL SELECT a::text FROM booking_assignment_attempts a
	UNION ALL SELECT o::text FROM capacity_outbox o UNION ALL SELECT t::text FROM booking_table_assignments t
	UNION ALL SELECT q::text FROM assignment_v3.queue q UNION ALL SELECT c::text FROM assignment_v3.circuits c) s";
my $locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
my $napping = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = \$1";
my $cancel = sub { my ($watcher, $pid) = @_; $watcher->query_safe("SELECT pg_cancel_backend($pid)") };

# Whose rights and path does the session have, and does it still work?
sub is_unharmed
{
	my ($session, $before, $name) = @_;

	is($node->safe_psql('app', $traces), $before, "$name leaves no trace");
	is($node->safe_psql('app', $locks), 0, "$name leaves no lock");
	is($session->query_safe("SELECT current_user, current_setting('search_path'), current_setting('lock_timeout')"),
		'guest|public, pg_temp|0', "$name leaves the session as it was");
	return;
}

# A session of nobody special, with a path of its own.
$node->safe_psql('app', 'CREATE ROLE guest LOGIN; GRANT USAGE ON SCHEMA assignment_v3 TO guest;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA assignment_v3 TO guest; GRANT EXECUTE ON ALL PROCEDURES IN SCHEMA assignment_v3 TO guest');
my $session = $node->background_psql('app', on_error_stop => 0, extra_params => [ '-U', 'guest' ]);
$session->query_safe('SET search_path TO public, pg_temp');

# ---------------------------------------------------------------------
# One decision
# ---------------------------------------------------------------------
my @places = ('booking_table_assignments', 'booking_assignment_attempts', 'booking_assignment_state_history', 'capacity_outbox', 'bookings');
foreach my $place (@places)
{
	my $booking = $node->safe_psql('app', "SELECT book(1, 2, 19, 'sleeps in $place')");
	my $before = $node->safe_psql('app', $traces);
	my $call = "SELECT outcome FROM assignment_v3.process_booking('$booking')";
	my ($latency, $said) = signal_latency($node, $session, $call, $napping, $cancel);

	push @measured, sprintf('cancel in %s %.0f ms', $place, $latency * 1000);
	like($said, qr/canceling statement due to user request/, "a cancel in $place ends the call");
	cmp_ok($latency, '<', $limit, '... at once');
	is_unharmed($session, $before, "a cancel in $place");

	$session->query_safe("SET statement_timeout TO '300ms'");
	my $start = time;
	my ($nothing, $failed) = $session->query($call);
	$latency = time - $start - 0.3;
	$said = $session->{stderr};
	$session->{stderr} = '';
	$session->query_safe('RESET statement_timeout');
	push @measured, sprintf('timeout in %s %.0f ms', $place, $latency * 1000);
	like($said, qr/canceling statement due to statement timeout/, "a timeout in $place ends the call");
	cmp_ok($latency, '<', $limit, '... in time');
	is_unharmed($session, $before, "a timeout in $place");
	$node->safe_psql('app', "UPDATE bookings SET customer_name = NULL WHERE id = '$booking'; DELETE FROM bookings WHERE id = '$booking'");
}

# Inside a transaction of the caller's only the call is lost, if he has set a savepoint.
my $booking = $node->safe_psql('app', "SELECT book(1, 2, 19, 'sleeps in bookings')");
my $before = $node->safe_psql('app', $traces);
$session->query_safe('BEGIN; SAVEPOINT s');
my ($latency, $said) = signal_latency($node, $session, "SELECT assignment_v3.process_booking('$booking')", $napping, $cancel);
like($said, qr/canceling statement/, 'a cancel behind a savepoint');
$session->query_safe('ROLLBACK TO s');
is($node->safe_psql('app', $locks), 0, '... gives all locks back with it');
is($session->query_safe('SELECT current_user'), 'guest', '... and the caller is himself');
$session->query_safe('COMMIT');
is_unharmed($session, $before, 'a cancel behind a savepoint');

# Where the app's trigger itself waits for a lock, the decision yields by its own lock_timeout, which ends with it.
# A caller's shorter lock_timeout is his own business and stays.
$session->query_safe("SET lock_timeout TO '50ms'");
my $blocker = $node->background_psql('app');
$blocker->query_safe("BEGIN; UPDATE bookings SET customer_name = 'sleeps in bookings' WHERE id = '$booking'");
my $start = time;
is($session->query_safe("SELECT outcome, reason FROM assignment_v3.process_booking('$booking')"), 'retry|lock_contention', 'a locked booking is not waited for');
push @measured, sprintf('locked booking %.0f ms', (time - $start) * 1000);
cmp_ok(time - $start, '<', $limit, '... at all');
is($session->query_safe('SHOW lock_timeout'), '50ms', '... and lock_timeout is what the caller has set');
$blocker->query_safe('ROLLBACK');
$session->query_safe('RESET lock_timeout');

# ---------------------------------------------------------------------
# A planner at work
# ---------------------------------------------------------------------
# 57 tables of 2, each next to each other, and out of their reach one of 10: six tables would do for 13, but no six that touch.  That
# takes a search of millions of sets.
$node->safe_psql('app', <<'SQL');
INSERT INTO restaurants (id, name) VALUES (test_id('a', 9), 'Maze');
INSERT INTO zones (id, restaurant_id, name) VALUES (test_id('c', 9), test_id('a', 9), 'Hall');
INSERT INTO table_inventory (id, restaurant_id, zone_id, table_number, capacity)
SELECT test_id('d', 9000 + t), test_id('a', 9), test_id('c', 9), t, CASE t WHEN 58 THEN 10 ELSE 2 END FROM generate_series(1, 59) t;
INSERT INTO table_adjacencies SELECT test_id('d', 9000 + t), test_id('d', 9000 + u)
FROM generate_series(1, 59) t, generate_series(1, 59) u WHERE u > t AND (u < 58) = (t < 58);
SQL
$node->safe_psql('postgres', 'ALTER DATABASE app SET assignment_v3.max_tables = 6');
my $planning = "SELECT state = 'active' AND now() - query_start > '0.1 s' AND wait_event IS NULL FROM pg_stat_activity WHERE pid = \$1";
my $thinker = $node->background_psql('app', on_error_stop => 0, extra_params => [ '-U', 'guest' ]);
$thinker->query_safe('SET search_path TO public, pg_temp');
$booking = $node->safe_psql('app', 'SELECT book(9, 13, 19)');
$before = $node->safe_psql('app', $traces);
$start = time;
$thinker->query_safe("SELECT count(*) FROM assignment_v3.plan('$booking')");
my $needed = time - $start;
SKIP:
{
	skip sprintf('the planner is done after %.2f s', $needed), 5 if $needed < 0.5;
	($latency, $said) = signal_latency($node, $thinker, "SELECT outcome FROM assignment_v3.process_booking('$booking')", $planning, $cancel);
	push @measured, sprintf('cancel in the planner %.0f ms of %.0f', $latency * 1000, $needed * 1000);
	like($said, qr/canceling statement due to user request/, 'a cancel ends the planner');
	cmp_ok($latency, '<', $limit, '... at once');
	is_unharmed($thinker, $before, 'a cancel in the planner');
}
$thinker->quit;
$node->safe_psql('app', 'DELETE FROM bookings');
$node->safe_psql('postgres', 'ALTER DATABASE app RESET assignment_v3.max_tables');

# ---------------------------------------------------------------------
# run()
# ---------------------------------------------------------------------
$node->safe_psql('app', <<'SQL');
SELECT book(1, 2, n * 3, 'before') FROM generate_series(1, 5) n;
SELECT book(1, 2, 50, 'sleeps in bookings');
SELECT book(2, 2, n * 3, 'after') FROM generate_series(1, 5) n;
SQL
my $outcomes = "SELECT string_agg(DISTINCT concat_ws(' ', customer_name, status, assignment_state_version), ', ') FROM bookings";
$session->query_safe("SET statement_timeout TO '500ms'");
$start = time;
($before, my $failed) = $session->query('CALL assignment_v3.run()');
$latency = time - $start - 0.5;
push @measured, sprintf('timeout in run() %.0f ms', $latency * 1000);
like($session->{stderr}, qr/canceling statement due to statement timeout/, 'a timeout ends run()');
$session->{stderr} = '';
cmp_ok($latency, '<', $limit, '... in time');
is($node->safe_psql('app', $outcomes), 'after pending 1, before confirmed 6, sleeps in bookings pending 1',
	'what was decided before stays, the rest is untouched');
is($node->safe_psql('app', 'SELECT count(*) FROM assignment_v3.queue'), 6, '... and still queued');
is($node->safe_psql('app', $locks), 0, '... without a lock');
$session->query_safe('RESET statement_timeout');
is($session->query_safe('SELECT current_user'), 'guest', '... and the caller is himself');

$before = $node->safe_psql('app', $traces);
($latency, $said) = signal_latency($node, $session, 'CALL assignment_v3.run()', $napping, $cancel);
push @measured, sprintf('cancel in run() %.0f ms', $latency * 1000);
like($said, qr/canceling statement due to user request/, 'a cancel ends run()');
cmp_ok($latency, '<', $limit, '... within the booking');
is_unharmed($session, $before, 'a cancel in run()');

$before = $node->safe_psql('app', $traces);
($latency, $said) = signal_latency($node, $session, 'SELECT count(*) FROM assignment_v3.process_due()', $napping, $cancel);
push @measured, sprintf('cancel in process_due() %.0f ms', $latency * 1000);
like($said, qr/canceling statement due to user request/, 'a cancel ends process_due()');
is_unharmed($session, $before, 'a cancel in process_due()');

# pg_terminate_backend() too
($latency, $said) = signal_latency($node, $session, 'CALL assignment_v3.run()', $napping,
	sub { my ($watcher, $pid) = @_; $watcher->query_safe("SELECT pg_terminate_backend($pid, 5000)") }, 'ends');
push @measured, sprintf('terminate in run() %.0f ms', $latency * 1000);
cmp_ok($latency, '<', $limit, 'pg_terminate_backend() ends run()');
is($node->safe_psql('app', $traces), $before, '... and leaves no trace');
is($node->safe_psql('app', $locks), 0, '... and no lock');

# Rested, they are all seated.
$node->safe_psql('app', "UPDATE bookings SET customer_name = 'awake' WHERE customer_name = 'sleeps in bookings'");
$node->safe_psql('app', 'CALL assignment_v3.run()');
is($node->safe_psql('app', "SELECT count(*) FROM bookings WHERE status = 'confirmed'"), 11, 'and the next run() seats them all');
is_sound($node);
diag(join(', ', @measured));
$node->stop;
done_testing();
