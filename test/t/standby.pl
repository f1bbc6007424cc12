# A hot standby answers whatever reads and refuses whatever decides with 25006 and a hint; promoted, it goes on where the primary
# stopped, with the flags and the queue it has replicated.  It could fail by writing an event or a breaker's row on the way to
# the refusal, which would surface as core's own error about recovery, by a lock that a standby does not grant, or by a session that has
# kept what it knew from before the promotion.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_node('primary', undef, allows_streaming => 1);
attach_pipeline($primary);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# One booking is seated, one waits, both are replicated after the backup.
$primary->safe_psql('app', <<'SQL');
SELECT make_floor(1, 2);
SELECT book(1, 2, 19, 'seated');
SELECT book(1, 4, 19, 'waits');
CALL assignment_v3.run(1);
SQL
$primary->wait_for_catchup($standby);
my $log_start = -s $standby->logfile;
my ($seated, $waits) = map { $standby->safe_psql('app', "SELECT id FROM bookings WHERE customer_name = '$_'") } 'seated', 'waits';
my $table = $standby->safe_psql('app', 'SELECT min(id::text) FROM table_inventory');
my $session = $standby->background_psql('app', on_error_stop => 0);

# What reads
is($standby->safe_psql('app', 'SELECT mode, reason FROM assignment_v3.mode()'), 'active|enabled', 'mode()');
is($standby->safe_psql('app', "SELECT rank, table_numbers FROM assignment_v3.plan('$waits')"), '1|{2}', 'plan()');
is($standby->safe_psql('app', "SELECT table_number, verdict FROM assignment_v3.explain('$waits')"), "1|taken\n2|free", 'explain()');
is($standby->safe_psql('app', 'SELECT * FROM assignment_v3.verify()'), '', 'verify()');
is($standby->safe_psql('app', "SELECT value FROM assignment_v3.status() WHERE item IN ('attached', 'mode') ORDER BY item"), "yes\nactive", 'status()');
cmp_ok($standby->safe_psql('app', 'SELECT count(*) FROM assignment_v3.transitions()'), '>', 20, 'transitions()');
is($standby->safe_psql('app', "SELECT table_numbers FROM assignment_v3.alternatives('$waits')"), "{2}\n{2}\n{2}", 'alternatives()');
foreach my $view (split(/\n/, $standby->safe_psql('app', q{SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'assignment_v3'::regnamespace AND c.relkind = 'v'})))
{
	like($standby->safe_psql('app', "SELECT count(*) FROM assignment_v3.$view"), qr/^\d+$/, "the view $view");
}
like($standby->safe_psql('app', 'SELECT assignment_v3.rollout_report()'), qr/<h1>Rollout of app/, 'rollout_report()');
like($standby->safe_psql('app', "SELECT assignment_v3.service_timeline(b.restaurant_id, b.start_at::date) FROM bookings b WHERE b.id = '$waits'"),
	qr/Without a table/, 'service_timeline()');
is($standby->safe_psql('app', 'SELECT count(*) FROM assignment_v3.queue'), 1, 'the queue is there');
is($standby->safe_psql('app', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT rank FROM assignment_v3.plan('$waits'); COMMIT"), '1',
	'plan() in REPEATABLE READ');
is($session->query_safe("SELECT count(*) FROM assignment_v3.plan('$waits')"), '1', 'a session that stays');

# What decides or writes
foreach my $call (
	"SELECT assignment_v3.process_booking('$waits')",
	"SELECT assignment_v3.process_booking('$seated')",
	'SELECT assignment_v3.process_due()',
	'CALL assignment_v3.run()',
	"SELECT assignment_v3.transition('$waits', 'failed')",
	"SELECT assignment_v3.requeue('$waits')",
	"SELECT assignment_v3.reopen('$seated')",
	"SELECT assignment_v3.assign('$waits', '{$table}')",
	"SELECT assignment_v3.block('{$table}', now(), now() + '1 day')",
	"SELECT assignment_v3.unblock('$waits')",
	"SELECT assignment_v3.purge('1 day')")
{
	my $error = error_of($standby, $call);
	my ($name) = $call =~ /assignment_v3\.(\w+)/;

	like($error, qr/ERROR:  25006: cannot assign bookings during recovery\nHINT:  Connect to the primary server\./, "$name() is refused with a hint");
}
foreach my $call ("SELECT assignment_v3.kill('x')", "SELECT assignment_v3.enqueue_existing('2000-01-01')")
{
	like(error_of($standby, $call), qr/ERROR:  25006: /, "$call is refused");
}
my ($none, $failed) = $session->query("SELECT outcome FROM assignment_v3.process_booking('$waits')");
like($session->{stderr}, qr/cannot assign bookings during recovery/, 'the session that stays is refused too');
$session->{stderr} = '';
# switched off, the pipeline has nothing to refuse
is($standby->safe_psql('app', "SET assignment_v3.enabled = off; SELECT outcome, reason FROM assignment_v3.process_booking('$waits')"),
	'noop|pipeline_disabled', 'with the pipeline disabled the answer is the usual one');
unlike(substr(slurp_file($standby->logfile), $log_start), qr/PANIC|TRAP|terminated by signal/, 'the standby takes no harm');

# The same on the primary in a read-only transaction, with its own hint
like(error_of($primary, "BEGIN READ ONLY; SELECT assignment_v3.process_booking('$waits')"),
	qr/ERROR:  25006: cannot assign bookings in a read-only transaction\nHINT:  /, 'a read-only transaction on the primary');
like(error_of($primary, 'SET default_transaction_read_only = on; CALL assignment_v3.run()'), qr/ERROR:  25006: /, '... or a session');
is($primary->safe_psql('app', "BEGIN READ ONLY; SELECT count(*) FROM assignment_v3.plan('$waits'); COMMIT"), '1', '... where plan() works');

# Promotion
$primary->stop('immediate');
$standby->promote;
is($session->query_safe("SELECT outcome, table_ids FROM assignment_v3.process_booking('$seated')"),
	"noop|{$table}", 'promoted, the session that stayed is answered');
is($standby->safe_psql('app', "SELECT outcome FROM assignment_v3.process_booking('$waits')"), 'confirmed', '... and seats who waited');
$standby->safe_psql('app', "SELECT book(1, 2, 22, 'new')");
$standby->safe_psql('app', 'CALL assignment_v3.run()');
is($standby->safe_psql('app', "SELECT status FROM bookings WHERE customer_name = 'new'"), 'confirmed', '... and whoever comes');
is($standby->safe_psql('app', 'SELECT count(*) FROM assignment_v3.queue'), 0, '... until the queue is empty');
is_sound($standby);
$session->quit;
$standby->stop;
done_testing();
