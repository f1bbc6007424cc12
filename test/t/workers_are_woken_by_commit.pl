# A background worker seats a booking because its transaction has committed, or because its time has come, not because it happened
# to look: every look of its own is put off by an hour here.  A call could get lost between a worker that goes to rest and a
# session that commits, and whatever lets waiting bookings go on without writing the queue (a pause that ends, a revive(), an
# attach()) could forget to call.  The worker must be no more than the owner of the tables, whose settings count.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('workers_wake', <<'CONF');
shared_preload_libraries = 'assignment_v3'
assignment_v3.worker_databases = 'app, "late one"'
assignment_v3.worker_naptime = 1h
autovacuum = off
CONF

sub workers
{
	my ($database) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker' AND datname = '$database'");
}

sub comes_true
{
	my ($sql, $name, $seconds) = @_;
	my $start = time;
	my $true = wait_until(sub { $node->safe_psql('app', $sql) eq 't' }, $seconds // 10);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($true, sprintf('%s (%.2f s)', $name, time - $start)) || diag(substr(slurp_file($node->logfile), -3000));
}
sub seated { return "SELECT EXISTS (SELECT FROM bookings WHERE customer_name = '$_[0]' AND status = 'confirmed')" }

# A database that is not there yet, then without the extension, then not attached: nobody minds, and nothing is said.
my $from = -s $node->logfile;
$node->safe_psql('postgres', 'CREATE ROLE app_owner LOGIN; CREATE DATABASE app OWNER app_owner; CREATE DATABASE other');
$node->safe_psql($_, 'CREATE EXTENSION btree_gist') foreach ('app', 'other');
$node->safe_psql('app', 'ALTER SCHEMA public OWNER TO app_owner; SET ROLE app_owner; CREATE EXTENSION assignment_v3');
$node->reload;
is(workers('app'), 0, 'no worker where nothing is attached');
$node->safe_psql('app', "SET ROLE app_owner; SELECT count(*) FROM assignment_v3.attach(); $Pipeline::scene SELECT make_floor(3, 6)");
$node->safe_psql('postgres', 'ALTER ROLE app_owner IN DATABASE app SET assignment_v3.enabled = on');
my $as_owner = 'SET ROLE app_owner; SET assignment_v3.enabled = on;';

$node->safe_psql('app', "$as_owner SELECT book(1, 2, 12, 'first')");
comes_true(seated('first'), 'a booking is seated by itself after its commit, with a setting stored for the owner alone');
is($node->safe_psql('app', "SELECT context ->> 'trigger' FROM observability_events WHERE event_type = 'coordinator.confirmed'"), 'worker',
	'... by a worker');
is($node->safe_psql('app', "SELECT DISTINCT usename FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker'"), 'app_owner',
	'pg_stat_activity shows it as the owner, who is no superuser');
is($node->safe_psql('app', "SELECT datname IS NULL FROM pg_stat_activity WHERE backend_type = 'assignment_v3 launcher'"), 't',
	'the launcher is connected to no database');
is($node->safe_psql('app', "SELECT item, value, source FROM assignment_v3.status() WHERE item = 'background workers'"),
	'background workers|on|assignment_v3.worker_databases', 'status() says so');

# An open transaction is waited for, one that is rolled back leaves nothing to do.
my $session = $node->background_psql('app');
$session->query_safe("BEGIN; $as_owner SELECT book(1, 2, 14, 'open')");
sleep 0.3;
is($node->safe_psql('app', seated('open')), 'f', 'nothing happens before the commit');
$session->query_safe('COMMIT');
comes_true(seated('open'), '... and then at once', 5);
$session->query_safe('BEGIN; SAVEPOINT s; SELECT book(1, 2, 16, NULL); ROLLBACK TO s; SELECT book(2, 2, 16, $$kept$$); COMMIT');
comes_true(seated('kept'), 'a savepoint that is rolled back takes nothing else with it', 5);

# A hundred sessions' worth of calls: none is lost while the worker goes to rest and is woken again and again.
for my $i (1 .. 60)
{
	$session->query_safe("SELECT book(3, 2, " . (24 * $i) . ", 'burst')");
	sleep(0.001 * ($i % 10));
}
comes_true("SELECT NOT EXISTS (SELECT FROM assignment_v3.queue) AND count(*) FILTER (WHERE status = 'confirmed') = 60 FROM bookings WHERE customer_name = 'burst'",
	'no call is lost', 5);

# More of one restaurant than a worker looks at in advance: one call is enough for all of it, and the others are not kept waiting.
$node->safe_psql('app', "$as_owner INSERT INTO assignment_v3.queue (booking_id, restaurant_id, due_at)
	SELECT gen_random_uuid(), test_id('a', 1), now() FROM generate_series(1, 5000); SELECT assignment_v3.wake_workers()");
$node->safe_psql('app', "$as_owner SELECT book(3, 2, 1500, 'beside a backlog')");
comes_true(seated('beside a backlog'), 'a booking of another restaurant is seated beside a backlog', 5);
comes_true('SELECT NOT EXISTS (SELECT FROM assignment_v3.queue)', 'the backlog is worked off by one call', 20);

# Due later: a booking that finds no table comes again when it is told to, whether the worker is still there or not.
$node->safe_psql('postgres', "ALTER DATABASE app SET assignment_v3.retry_base_delay = '400ms'; ALTER DATABASE app SET assignment_v3.retry_jitter = 0");
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker'");
comes_true("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'assignment_v3 worker'", 'a worker can be terminated');
$node->safe_psql('app', "$as_owner SELECT book(1, 500, 12, 'too many')");
comes_true("SELECT max(attempt_no) >= 3 FROM booking_assignment_attempts JOIN bookings b ON b.id = booking_id WHERE b.customer_name = 'too many'",
	'one that found no table is tried again when it is due', 15);

$node->safe_psql('app', "$as_owner SELECT assignment_v3.pause(test_id('a', 2)); SELECT book(2, 2, 18, 'paused'); SELECT book(2, 2, 20, 'later')");
$node->safe_psql('app', "$as_owner SELECT assignment_v3.run_at(id, now() + interval '6 seconds') FROM bookings WHERE customer_name = 'later'");
sleep 0.3;
is($node->safe_psql('app', seated('paused')), 'f', 'a paused restaurant is left alone');
$node->safe_psql('app', "$as_owner SELECT assignment_v3.resume(test_id('a', 2))");
comes_true(seated('paused'), '... until resume()', 5);
is($node->safe_psql('app', seated('later')), 'f', 'what is due later is left alone');
$node->safe_psql('app', "$as_owner SELECT assignment_v3.kill('test'); SELECT book(2, 2, 22, 'killed')");
$node->safe_psql('app', "$as_owner SELECT assignment_v3.set_rollout(test_id('a', 3), 'active'); SELECT book(3, 2, 23, 'killed too')");
sleep 0.3;
is($node->safe_psql('app', seated('killed')), 'f', 'a kill stops the worker as everybody');
$node->safe_psql('app', "$as_owner SELECT assignment_v3.revive('test')");
$node->safe_psql('app', "$as_owner SELECT assignment_v3.enqueue_existing(now() - interval '1 hour')");
comes_true(seated('killed'), '... until revive()', 5);
comes_true(seated('later'), 'what is due later is seated then, though nobody was connected any more', 15);

# A list with another name in it, a name that needs quotes, and a database that comes only now.
is(workers('other'), 0, 'nobody looks after a database that is not listed');
$node->safe_psql('postgres', 'CREATE DATABASE "late one"');
$node->safe_psql('late one', "CREATE EXTENSION btree_gist; CREATE EXTENSION assignment_v3; SELECT count(*) FROM assignment_v3.attach(); $Pipeline::scene
	SELECT make_floor(1, 4); ALTER DATABASE \"late one\" SET assignment_v3.enabled = on");
$node->safe_psql('late one', "SELECT book(1, 2, 12, 'late')");
ok(wait_until(sub { $node->safe_psql('late one', 'SELECT bool_and(status = $$confirmed$$) FROM bookings') eq 't' }, 10),
	'a listed database is looked after from the time that it is there');

# Once a database has been idle, nothing stands in the way of whoever wants it for himself.
sleep 5;
is(workers('late one'), 0, 'after five idle seconds the worker has left');
my $start = time;
$node->safe_psql('postgres', 'DROP DATABASE "late one"');
cmp_ok(time - $start, '<', 2, '... and a plain DROP DATABASE succeeds at once');
$node->safe_psql('app', "$as_owner SELECT book(2, 2, 30, 'again')");
comes_true(seated('again'), 'a worker comes again to a database that it has left');
$session->quit;
$start = time;
$node->safe_psql('postgres', 'DROP DATABASE app');
cmp_ok(time - $start, '<', 5, 'a plain DROP DATABASE succeeds while the worker still waits for more, too');

# The list is read again, without a restart.
$node->safe_psql('other', "CREATE EXTENSION assignment_v3; SELECT count(*) FROM assignment_v3.attach(); $Pipeline::scene
	SELECT make_floor(1, 4); ALTER DATABASE other SET assignment_v3.enabled = on");
$node->safe_psql('other', "SELECT book(1, 2, 12, 'here')");
is($node->safe_psql('other', "SELECT value, detail FROM assignment_v3.status() WHERE item = 'background workers'"),
	'off|this database is not listed: run() works off its queue', 'status() says that nobody comes');
$node->safe_psql('postgres', "ALTER SYSTEM SET assignment_v3.worker_databases = 'other'");
$node->reload;
ok(wait_until(sub { $node->safe_psql('other', 'SELECT bool_and(status = $$confirmed$$) FROM bookings') eq 't' }, 10), 'a database that is put on the list is looked after');
$node->safe_psql('postgres', "ALTER SYSTEM SET assignment_v3.worker_databases = ''");
$node->reload;
ok(wait_until(sub { workers('other') == 0 }, 2), '... and no more when it is taken off');
is($node->safe_psql('other', 'SELECT * FROM assignment_v3.verify()'), '', 'verify() finds nothing');

# What nobody calls for is found when it is time to look.
$node->safe_psql('postgres', "ALTER SYSTEM SET assignment_v3.worker_databases = 'other'; ALTER SYSTEM SET assignment_v3.worker_naptime = '1s'");
$node->reload;
$node->safe_psql('other', "BEGIN; SELECT book(1, 2, 24, 'prepared'); PREPARE TRANSACTION 'p'");
sleep 0.5;
$node->safe_psql('other', "COMMIT PREPARED 'p'");
ok(wait_until(sub { $node->safe_psql('other', 'SELECT bool_and(status = $$confirmed$$) FROM bookings') eq 't' }, 10),
	'a prepared transaction is found by a look');
log_is_clean($node, $from, 'nothing was said in the server log', qr/terminating (connection|background worker).*administrator command/);
$node->stop;
done_testing();
