# Whatever a client has seen confirmed stays confirmed, and no booking is left half done, though backends are killed with SIGKILL every
# second and the postmaster five times, while four workers, a churn of inserts and changes, and clients that seat their own bookings
# keep going.  It could fail if a decision were more than one transaction, if anything of it lived outside the tables, or if
# a queue row were gone before its booking was done.  After recovery every booking must end: confirmed or in manual review.
#
# Only processes of this cluster are killed: the postmaster that this test started, and backends that it reports itself.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use Errno;
use POSIX qw(_exit);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = 5;
my $round_seconds = 8;
my $restaurants = 6;

my $node = new_node('crash', <<'CONF');
restart_after_crash = on
max_wal_size = 256MB
checkpoint_timeout = 30s
CONF
attach_pipeline($node,
	'assignment_v3.retry_base_delay' => '50ms',
	'assignment_v3.retry_max_delay' => '200ms',
	'assignment_v3.retry_jitter' => '20ms',
	'assignment_v3.rate_limit_delay' => '100ms');
$node->safe_psql('app', "SELECT make_floor($restaurants, 12)");

# ---------------------------------------------------------------------
# Actors: each is a process that runs one script over and over, connecting anew whenever its backend has been killed.
# ---------------------------------------------------------------------
my $dir = $node->basedir;
my @actors;

sub act
{
	my ($name, $script, $seed, $test) = @_;
	my $psql = 0;
	my $ending = 0;

	$SIG{TERM} = sub { $ending = 1; kill('TERM', $psql) if $psql; };
	open(STDIN, '<', '/dev/null');
	open(STDOUT, '>>', "$dir/$name.out");
	open(STDERR, '>>', "$dir/$name.err");
	until ($ending || getppid() != $test)
	{
		$seed += 0.0001;
		$psql = fork;
		exec('psql', '-XAtq', '-d', $node->connstr('app') . " application_name=$name", '-v', "seed=$seed", '-f', $script) if $psql == 0;
		1 while waitpid($psql, 0) == -1 && $!{EINTR};
		sleep 0.05;
	}
	_exit(0);
}

sub start_actor
{
	my $test = $$;
	my $pid = fork;

	die "fork failed: $!" unless defined $pid;
	act(@_, $test) if $pid == 0;
	push @actors, $pid;
	return;
}

sub end_actors
{
	kill('TERM', $_) foreach @actors;
	waitpid($_, 0) foreach @actors;
	@actors = ();
	return;
}

END
{
	my $status = $?;
	end_actors();
	$? = $status;
}

sub script
{
	my ($name, @lines) = @_;
	my $file = "$dir/$name.sql";

	append_to_file($file, join("\n", @lines) . "\n");
	return $file;
}

my $worker = script('worker', ('CALL assignment_v3.run() \g /dev/null', '\! sleep 0.02') x 40);
my $client = script('client', 'SELECT setseed(:seed) \g /dev/null', (
	"SELECT book(1 + floor(random() * $restaurants)::int, 1 + floor(random() * 8)::int, floor(random() * 400) / 2, 'client') AS booking \\gset",
	"SELECT booking_id, outcome, version FROM assignment_v3.process_booking(:'booking', 'inline');") x 40);
my $churn = script('churn', 'SELECT setseed(:seed) \g /dev/null', (
	"SELECT count(book(1 + floor(random() * $restaurants)::int, 1 + floor(random() * 9)::int, floor(random() * 400) / 2, 'churn')) "
	  . 'FROM generate_series(1, 5) \g /dev/null',
	"UPDATE bookings SET party_size = 1 + party_size % 8 WHERE id = (SELECT id FROM bookings WHERE customer_name = 'churn' "
	  . 'AND status NOT IN (\'cancelled\') ORDER BY created_at DESC OFFSET floor(random() * 50) LIMIT 1) \g /dev/null',
	"UPDATE bookings SET status = 'cancelled' WHERE id = (SELECT id FROM bookings WHERE customer_name = 'churn' "
	  . 'ORDER BY created_at DESC OFFSET floor(random() * 50) LIMIT 1) \g /dev/null',
	'\! sleep 0.05') x 20);

start_actor("worker$_", $worker, 0) foreach 1 .. 4;
start_actor("client$_", $client, $_ / 10) foreach 1 .. 3;
start_actor('churn', $churn, 0.5);

# ---------------------------------------------------------------------
# Murder
# ---------------------------------------------------------------------
# The fields of /proc/PID/stat behind the name, if there is such a process and it is no zombie: state and parent.
sub process
{
	my ($pid) = @_;

	open(my $file, '<', "/proc/$pid/stat") or return;
	my $line = <$file> // return;
	return $line =~ /\) ([^Z]) (\d+) / ? ($1, $2) : ();
}

sub children
{
	my ($parent) = @_;
	return grep { my ($state, $its_parent) = process($_); defined $state && $its_parent == $parent } map { m{(\d+)} } glob '/proc/[0-9]*';
}

my $backends_killed = 0;
my %victims;
my $orphans_killed = 0;
my @down;

sub kill_a_backend
{
	my ($stdout, $stderr) = ('', '');

	# busy ones first: an idle one tells little
	$node->psql('postgres', "SELECT pid, application_name FROM pg_stat_activity WHERE datname = 'app' AND backend_type = 'client backend'
		ORDER BY state = 'active' DESC, random() LIMIT 1", stdout => \$stdout, stderr => \$stderr, timeout => 20);
	return unless $stdout =~ /^(\d+)\|([a-z]+)/;
	if (kill('KILL', $1))
	{
		$backends_killed++;
		$victims{$2}++;
	}
	return;
}

# After SIGKILL of the postmaster its children notice by themselves and leave; until then they are attached to the shared memory and
# it can't start again.  One that waits for an LWLock whose holder was killed just before never wakes up: it is killed too, as an
# operator would.
sub kill_the_postmaster
{
	my $pid = $node->{_pid};
	my $start = time;

	kill('STOP', $pid);
	my @orphans = children($pid);
	$node->kill9;
	unless (wait_until(sub { !grep { process($_) } @orphans }, 5))
	{
		$orphans_killed += kill('KILL', grep { process($_) } @orphans);
		wait_until(sub { !grep { process($_) } @orphans }, 30) or die 'orphans of the postmaster are still there';
	}
	# a zombie still has its pid, by which the pid file is judged
	wait_until(sub { !kill(0, $pid) }, 60) or die 'the postmaster is still there';
	wait_until(sub { $node->{_pid} = undef; $node->start(fail_ok => 1) }, 60) or die 'the postmaster does not start again';
	push @down, time - $start;
	return;
}

foreach my $round (1 .. $rounds)
{
	my $end = time + $round_seconds;

	while (time < $end)
	{
		sleep 1;
		kill_a_backend();
	}
	kill_the_postmaster();
}

# ---------------------------------------------------------------------
# Aftermath
# ---------------------------------------------------------------------
end_actors();
$node->poll_query_until('app', 'SELECT true') or die 'no connection after the last crash';
wait_until(sub {
	$node->safe_psql('app', 'CALL assignment_v3.run()');
	return $node->safe_psql('app', 'SELECT count(*) FROM assignment_v3.queue') == 0;
}, 60);

my $log = slurp_file($node->logfile);
my $recoveries = () = $log =~ /database system was not properly shut down; automatic recovery in progress/g;
my @seen = map { [ split /\|/ ] } grep { /\|confirmed\|/ } map { split /\n/, slurp_file("$dir/client$_.out") } 1 .. 3;
my $bookings = $node->safe_psql('app', 'SELECT count(*) FROM bookings');
my $states = $node->safe_psql('app', "SELECT string_agg(state || ' ' || n, ', ') FROM (
	SELECT CASE status WHEN 'cancelled' THEN status ELSE assignment_state::text END AS state, count(*) AS n FROM bookings GROUP BY 1 ORDER BY 1) s");

diag(sprintf('%d bookings (%s); %d backends killed (%s), %d recoveries; postmaster killed %d times, back after %s s, %d orphans stuck; %d confirmations seen',
	$bookings, $states, $backends_killed, join(', ', map { "$_ $victims{$_}" } sort keys %victims), $recoveries,
	scalar @down, join(', ', map { sprintf '%.1f', $_ } @down), $orphans_killed, scalar @seen));

cmp_ok($backends_killed, '>=', $rounds * ($round_seconds - 4), 'backends were killed every second');
is(scalar @down, $rounds, 'the postmaster was killed five times');
cmp_ok($recoveries, '>=', $backends_killed / 2, '... and the cluster recovered each time');
ok(exists $victims{worker}, 'workers were among the victims');
ok(exists $victims{client}, '... and clients');
cmp_ok(scalar @seen, '>', 100, 'clients saw confirmations');
cmp_ok($bookings, '>', 500, 'bookings were made');

is($node->safe_psql('app', "SELECT id, status, assignment_state FROM bookings WHERE status NOT IN ('cancelled')
	AND (assignment_state NOT IN ('confirmed', 'manual_review') OR (assignment_state = 'confirmed') <> (status = 'confirmed')) LIMIT 5"), '',
	'every booking has ended');
is($node->safe_psql('app', 'SELECT * FROM assignment_v3.queue LIMIT 5'), '', 'nothing is left in the queue');
is_sound($node);

# Nobody but their client touches the clients' bookings.
my $claims = join(', ', map { "('$_->[0]'::uuid, $_->[2])" } @seen);
is($node->safe_psql('app', <<SQL), '', 'every confirmation that a client saw is there');
SELECT c.id, c.version, b.status FROM (VALUES $claims) AS c (id, version)
LEFT JOIN bookings b ON b.id = c.id AND b.status = 'confirmed' AND b.assignment_state = 'confirmed' AND b.assignment_state_version = c.version
LEFT JOIN booking_assignment_state_history h ON h.booking_id = c.id AND h.version = c.version AND h.to_state = 'confirmed'
LEFT JOIN capacity_outbox o ON o.dedupe_key = c.id || ':' || c.version
LEFT JOIN observability_events e ON e.booking_id = c.id AND e.event_type = 'coordinator.confirmed'
WHERE b.id IS NULL OR h.id IS NULL OR o.id IS NULL OR e.id IS NULL
	OR NOT EXISTS (SELECT FROM booking_table_assignments a WHERE a.booking_id = c.id AND a.start_at = b.start_at AND a.end_at = b.end_at)
LIMIT 5
SQL
is($node->safe_psql('app', "SELECT booking_id FROM booking_assignment_attempts WHERE result = 'success' AND booking_id IN (
	SELECT id FROM bookings WHERE customer_name = 'client') GROUP BY 1 HAVING count(*) > 1 LIMIT 5"), '', '... and was made once');

# Errors that the crashes explain are those of connections that were lost.
my $errors = join('', map { slurp_file($_) } glob "$dir/*.err");
my @others = grep { /ERROR|PANIC/ } split(/\n/, $errors);
is(join("\n", splice(@others, 0, 5)), '', 'no client saw an error but a lost connection');
unlike($log, qr/PANIC|TRAP:|terminated by signal (?!9)/, 'nothing died but of SIGKILL');
$node->stop;
done_testing();
