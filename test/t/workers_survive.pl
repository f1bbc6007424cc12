# Nothing that happens to a worker costs a booking: killed in the middle of its work, terminated, with the launcher or without it, after a
# restart, out of room for processes, or time after time through an error that isn't the booking's own.  A worker that failed must come
# again, but not in a busy loop; and none may hold up a fast shutdown, though it sits in the middle of a decision.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('workers_survive', <<'CONF');
shared_preload_libraries = 'assignment_v3'
assignment_v3.worker_databases = app
assignment_v3.workers = 2
assignment_v3.worker_naptime = 1h
autovacuum = off
restart_after_crash = on
CONF
attach_pipeline($node, 'assignment_v3.max_parallel' => 20);

my $worker = "SELECT coalesce(min(pid), 0) FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker'";
sub all_seated
{
	my ($name, $seconds) = @_;
	my $start = time;
	my $ok = wait_until(sub {
		my $left = eval { $node->safe_psql('app', "SELECT count(*) FROM bookings WHERE status <> 'confirmed'") };
		return defined $left && $left eq '0' }, $seconds // 20);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($ok, sprintf('%s (%.2f s)', $name, time - $start)) || diag(substr(slurp_file($node->logfile), -3000));
}

# A booking of "slow" makes a decision that takes its time; one of "poison" fails outside of any booking.
$node->safe_psql('app', <<'SQL');
SELECT make_floor(20, 8);
CREATE TABLE delays (seconds float);
INSERT INTO delays VALUES (60);
CREATE FUNCTION delay() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(seconds) FROM public.delays; RETURN NEW; END$$;
CREATE TRIGGER delay BEFORE UPDATE ON bookings FOR EACH ROW WHEN (NEW.customer_name = 'slow' AND NEW.status = 'confirmed' AND OLD.status = 'pending')
	EXECUTE FUNCTION delay();
SQL
sub book_slow
{
	my ($hour) = @_;
	$node->safe_psql('app', "SELECT book(1, 2, $hour, 'slow')");
	wait_until(sub { $node->safe_psql('app', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker' AND wait_event = 'PgSleep'") > 0 }, 10)
	  or die 'the worker never came to the booking';
}

# kill -9: the server recovers, and with it come the workers.
book_slow(12);
$node->safe_psql('app', "SELECT book(2, 2, 12)");
kill 'KILL', $node->safe_psql('app', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker' AND wait_event = 'PgSleep'");
wait_until(sub { slurp_file($node->logfile) =~ /terminated by signal 9.*database system is ready/s }, 30);
$node->poll_query_until('app', 'SELECT true');
$node->safe_psql('app', 'DELETE FROM delays');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker'");
all_seated('after kill -9 of a worker in the middle of its work everything is seated');

# Terminated in the middle: the next one takes over.
$node->safe_psql('app', 'INSERT INTO delays VALUES (60)');
book_slow(15);
$node->safe_psql('app', 'DELETE FROM delays');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker'");
all_seated('after a worker was terminated another one does its work');
$node->safe_psql('app', 'INSERT INTO delays VALUES (60)');
book_slow(18);
$node->safe_psql('app', 'DELETE FROM delays');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker'");
all_seated('after a cancelled decision, too');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'assignment_v3 launcher'");
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker'");
$node->safe_psql('app', "SELECT book(3, 2, 12)");
all_seated('the launcher comes back when it was terminated');

# An error that stops the whole pass: logged, not repeated in a loop, and forgotten when it is mended.
my $from = -s $node->logfile;
$node->safe_psql('app', 'ALTER TABLE booking_assignment_attempts RENAME COLUMN strategy TO tactics');
$node->safe_psql('app', "SELECT book(4, 2, 12)");
sleep 3;
my @errors = substr(slurp_file($node->logfile), $from) =~ /ERROR:.*no longer as assignment_v3 was attached/g;
ok(@errors >= 2 && @errors <= 3, 'an error is logged and backed off from: ' . @errors . ' times in three seconds');
is($node->safe_psql('app', "SELECT detail LIKE '%failed in a row: see the server log' FROM assignment_v3.status() WHERE item = 'background workers'"), 't',
	'... and status() tells of it');
$node->safe_psql('app', 'ALTER TABLE booking_assignment_attempts RENAME COLUMN tactics TO strategy');
all_seated('... and forgotten when it is mended');

# More than one worker does: both come to a backlog.
$node->safe_psql('app', "SELECT count(book(r, 2, h)) FROM generate_series(5, 20) r, generate_series(24, 500, 2) h");
my $most = 0;
wait_until(sub {
	my ($left, $now) = split /\|/, $node->safe_psql('app', "SELECT (SELECT count(*) FROM assignment_v3.queue), (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker')");
	$most = $now if $now > $most;
	return $left == 0 || $most > 1 }, 60);
is($most, 2, 'a backlog brings all the workers there may be');

# A fast shutdown in the middle of the backlog, and of a decision that would take a minute.
$node->safe_psql('app', 'INSERT INTO delays VALUES (60)');
book_slow(21);
my $start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 5, sprintf('a fast shutdown takes %.2f s', time - $start));
$node->start;
$node->safe_psql('app', 'DELETE FROM delays');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker'");
all_seated('after a restart the workers go on with what was left', 60);
is_sound($node);

# No room for a worker: it is said once, and tried again.
$from = -s $node->logfile;
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');	# the launcher and that of logical replication
$node->restart;
ok(wait_until(sub { substr(slurp_file($node->logfile), $from) =~ /could not start a background worker/ }, 10), 'a server without room for workers says so');
is($node->safe_psql('app', 'CALL assignment_v3.run(); SELECT 1'), "0|0|0|0|0|0\n1", '... and run() does without');

# Without preload the settings are there and do nothing, and everything else is as ever.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\nmax_worker_processes = 8");
$node->restart;
$node->safe_psql('app', "SELECT book(3, 2, 22)");
is($node->safe_psql('app', "SELECT value, source, detail FROM assignment_v3.status() WHERE item = 'background workers'"),
	'off|shared_preload_libraries|the library is not preloaded, so the settings of workers have no effect: run() works off the queue', 'without preload status() says so');
is($node->safe_psql('app', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'assignment_v3%'"), 0, '... and there is no process');
is($node->safe_psql('app', 'CALL assignment_v3.run()'), '1|1|0|0|0|0', '... and run() works off the queue');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|terminated by signal (?!9)/, 'nothing died but of SIGKILL');
$node->stop;
done_testing();
