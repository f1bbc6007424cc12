# pg_dump must take an attached database whole and pg_restore bring it back alive: by the superuser, by a plain owner who is another
# one than before, from a dump taken while the pipeline is at work, and through pg_upgrade.  It could fail where a table has become a member of the
# extension and is dumped without its rows, where a trigger is there before the rows and changes them, where an object is wanted
# before the extension is made, or where something rests on a role that the restore does not have.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('source');
my $dump = $node->basedir . '/app.dump';
attach_pipeline($node, 'assignment_v3.max_parallel' => 5);

# Some of everything: seated, waiting, in review, cancelled, moved; a block, a hold, a rollout row, a kill that is over, a purge.
$node->safe_psql('app', <<'SQL');
SELECT make_floor(3, 8);
SELECT count(book(1 + n % 3, 1 + n % 8, n % 40, 'guest ' || n)) FROM generate_series(1, 60) n;
SELECT book(1, 300, 19, 'army');
CALL assignment_v3.run();
UPDATE bookings SET status = 'cancelled' WHERE customer_name = 'guest 7';
UPDATE bookings SET party_size = 2 WHERE customer_name = 'guest 8';
SELECT assignment_v3.transition(id, 'manual_review') FROM bookings WHERE customer_name = 'army';
SELECT count(*) FROM assignment_v3.block(ARRAY[test_id('d', 1001)], now() + '50 days', now() + '51 days', 'painting');
INSERT INTO table_holds (id, restaurant_id, start_at, end_at, expires_at)
VALUES (test_id('e', 1), test_id('a', 1), now() + '40 days', now() + '41 days', now() + '1 day');
INSERT INTO table_hold_windows (hold_id, table_id, restaurant_id, start_at, end_at, expires_at)
VALUES (test_id('e', 1), test_id('d', 1002), test_id('a', 1), now() + '40 days', now() + '41 days', now() + '1 day');
INSERT INTO assignment_v3.rollout (restaurant_id, mode, max_parallel, note) VALUES (test_id('a', 2), 'active', 2, 'pilot');
SELECT assignment_v3.kill('drill'), assignment_v3.revive('over');
SELECT assignment_v3.purge('1 day');
SELECT count(book(3, 2, 60 + n, 'waits')) FROM generate_series(1, 5) n;
CREATE ROLE app;
GRANT USAGE ON SCHEMA assignment_v3 TO app;
GRANT EXECUTE ON FUNCTION assignment_v3.process_booking(uuid, text) TO app;
GRANT SELECT ON bookings TO app;
CREATE POLICY app ON bookings TO app USING (status <> 'cancelled');
SQL

# The rows of every table, the app's and the pipeline's own.
sub contents
{
	my ($node, $database) = @_;
	my $queries = $node->safe_psql($database, q{
		SELECT string_agg(format('SELECT %L, count(*), md5(string_agg(t::text, E''\n'' ORDER BY t::text)) FROM %s t', c.oid::regclass, c.oid::regclass),
			' UNION ALL ' ORDER BY c.oid::regclass::text COLLATE "C")
		FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace)});
	return $node->safe_psql($database, $queries);
}

my $triggers = q{SELECT string_agg(pg_get_triggerdef(oid), E'\n' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal};
my $rules = q{SELECT string_agg(r, E'\n' ORDER BY r COLLATE "C") FROM (
	SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) AS r FROM pg_constraint
	WHERE connamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace)
	UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid
	WHERE c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace)
	UNION ALL SELECT c.oid::regclass || ' ' || c.relrowsecurity || ' ' || coalesce(obj_description(c.oid, 'pg_class'), '-') FROM pg_class c
	WHERE c.relkind = 'r' AND c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace)) rules};

# is_alive(node, database, name, owner): it is attached, sound, and goes on working.
sub is_alive
{
	my ($node, $database, $name, $owner) = @_;
	my $role = defined $owner ? "SET ROLE $owner;" : '';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql($database, "$role SELECT * FROM assignment_v3.verify()"), '', "$name: verify() finds nothing");
	is($node->safe_psql($database, "$role SELECT * FROM assignment_v3.attach()"), '', "$name: attach() has nothing to mend");
	my $waiting = $node->safe_psql($database, "SELECT count(*) FROM bookings WHERE status = 'pending' AND customer_name IS DISTINCT FROM 'army'");
	$node->safe_psql($database, "$role SET assignment_v3.enabled TO on; SELECT book(2, 2, 90, 'new');
		UPDATE assignment_v3.queue SET due_at = now(); CALL assignment_v3.run()");
	cmp_ok($waiting, '>', 0, "$name: some waited");
	is($node->safe_psql($database, "SELECT count(*) FROM bookings WHERE status = 'pending' AND customer_name IS DISTINCT FROM 'army'"), 0, "$name: ... and are seated now");
	is($node->safe_psql($database, "SELECT status, assignment_state_version FROM bookings WHERE customer_name = 'new'"), 'confirmed|6', "$name: so is a new one");
	like(error_of($node, 'DELETE FROM booking_assignment_state_history', database => $database), qr/PT422: .*append-only/, "$name: history is append-only");
	is($node->safe_psql($database, "$role SELECT * FROM assignment_v3.verify()"), '', "$name: verify() still finds nothing");
	return;
}

my %before = (contents => contents($node, 'app'), triggers => $node->safe_psql('app', $triggers), rules => $node->safe_psql('app', $rules));
like($before{contents}, qr/^bookings\|66\|/m, 'there is something to lose');
like($before{contents}, qr/^assignment_v3\.queue\|6\|/m, '... in the queue too');

# ---------------------------------------------------------------------
# By the superuser, with the database and its settings
# ---------------------------------------------------------------------
$node->command_ok([ 'pg_dump', '-Fc', '-C', '-f', $dump, 'app' ], 'pg_dump');
$node->safe_psql('postgres', 'ALTER DATABASE app RENAME TO original');
$node->command_ok([ 'pg_restore', '-e', '-C', '-d', 'postgres', $dump ], 'pg_restore as superuser, without an error');
is(contents($node, 'app'), $before{contents}, 'every row is there');
is($node->safe_psql('app', $triggers), $before{triggers}, '... every trigger');
is($node->safe_psql('app', $rules), $before{rules}, '... every constraint, index and comment');
is($node->safe_psql('app', 'SELECT mode, reason FROM assignment_v3.mode()'), 'active|enabled', '... and the flags of the database');
is($node->safe_psql('app', "SELECT has_function_privilege('app', 'assignment_v3.process_booking(uuid, text)', 'EXECUTE'),
	has_function_privilege('app', 'assignment_v3.kill(text)', 'EXECUTE')"), 't|f', '... and who may execute what');
is_alive($node, 'app', 'as superuser');
$node->safe_psql('postgres', 'DROP DATABASE app');

# ---------------------------------------------------------------------
# By a plain owner, who has never heard of the one before
# ---------------------------------------------------------------------
$node->safe_psql('postgres', 'CREATE ROLE newcomer LOGIN; CREATE DATABASE copy OWNER newcomer');
$node->command_ok([ 'pg_restore', '-e', '-U', 'newcomer', '--no-owner', '--no-acl', '-d', 'copy', $dump ], 'pg_restore as a plain owner, without an error');
is(contents($node, 'copy'), $before{contents}, 'every row is there');
is($node->safe_psql('copy', $triggers), $before{triggers}, '... every trigger');
is($node->safe_psql('copy', $rules), $before{rules}, '... every constraint, index and comment');
is($node->safe_psql('copy', "SELECT DISTINCT relowner::regrole FROM pg_class WHERE relkind = 'r'
	AND relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace)"), 'newcomer', '... all of it the newcomer\'s');
is_alive($node, 'copy', 'as a plain owner', 'newcomer');
# and passes it on, as text, and with --clean over what is there
$node->command_ok([ 'pg_dump', '-U', 'newcomer', '-f', "$dump.sql", 'copy' ], 'pg_dump as a plain owner');
$node->safe_psql('postgres', 'CREATE DATABASE second OWNER newcomer');
$node->command_ok([ 'psql', '-XqU', 'newcomer', '-v', 'ON_ERROR_STOP=1', '-d', 'second', '-f', "$dump.sql" ], '... and psql, without an error');
is(contents($node, 'second'), contents($node, 'copy'), 'every row is there');
$node->command_ok([ 'pg_restore', '-e', '-U', 'newcomer', '--no-owner', '--no-acl', '--clean', '--if-exists', '-d', 'second', $dump ],
	'pg_restore --clean over an attached database');
is(contents($node, 'second'), $before{contents}, 'every row is there');
is_alive($node, 'second', 'restored over', 'newcomer');
$node->safe_psql('postgres', "DROP DATABASE $_") foreach 'copy', 'second';

# ---------------------------------------------------------------------
# While the pipeline is at work
# ---------------------------------------------------------------------
$node->safe_psql('postgres', 'ALTER DATABASE original RENAME TO app');
$node->safe_psql('postgres', 'ALTER DATABASE app SET assignment_v3.enabled = on');
$node->safe_psql('app', <<'SQL');
SELECT count(book(1 + n % 3, 2, 100 + n)) FROM generate_series(1, 300) n;
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END$$;
CREATE TRIGGER dawdle BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION dawdle();
SQL
my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app'), '-c', 'CALL assignment_v3.run()' ], '>', \my $counts, '2>', \my $stderr);
wait_until(sub { $node->safe_psql('app', "SELECT count(*) > 20 FROM bookings WHERE customer_name IS NULL AND status = 'confirmed'") eq 't' });
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dump.live", 'app' ], 'pg_dump while run() is at work');
ok($run->finish, 'run() does not mind');
$node->safe_psql('postgres', 'CREATE DATABASE live');
$node->command_ok([ 'pg_restore', '-e', '-d', 'live', "$dump.live" ], 'pg_restore');
my ($seated, $waiting) = split(/\|/, $node->safe_psql('live', "SELECT count(*) FILTER (WHERE status = 'confirmed'), count(*) FILTER (WHERE status = 'pending')
	FROM bookings WHERE customer_name IS NULL"));
note("in the middle of it: $seated seated, $waiting waiting");
cmp_ok($waiting, '>', 0, 'it was caught in the middle');
is($node->safe_psql('live', "SELECT count(*) FROM bookings b WHERE status = 'pending' AND customer_name IS NULL
	AND NOT EXISTS (SELECT FROM assignment_v3.queue q WHERE q.booking_id = b.id)"), 0, '... with everybody who waited queued');
is_alive($node, 'live', 'caught at work');
$node->safe_psql('postgres', 'DROP DATABASE live');

# ---------------------------------------------------------------------
# pg_upgrade, to a cluster of the same version
# ---------------------------------------------------------------------
my $new = PostgreSQL::Test::Cluster->new('upgraded');
my ($bindir) = map { chomp; $_ } `pg_config --bindir`;
$new->init;
$new->append_conf('postgresql.conf', "max_prepared_transactions = 10\nmax_connections = 60\nlog_statement = none");
$node->safe_psql('app', "DROP TRIGGER dawdle ON bookings; SELECT book(2, 2, 500, 'waits')");
my $contents = contents($node, 'app');
$node->stop;
chdir $node->basedir or die "could not change to the cluster's directory: $!";
command_ok([ 'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bindir, '-s', $new->host,
	'-p', $node->port, '-P', $new->port ], 'pg_upgrade');
$new->start;
is(contents($new, 'app'), $contents, 'every row is there');
is($new->safe_psql('app', $triggers), $before{triggers}, '... every trigger');
is_alive($new, 'app', 'upgraded');
$new->stop;
done_testing();
