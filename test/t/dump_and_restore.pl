# pg_dump must take an attached database whole and pg_restore bring it back alive: by the superuser, by a plain owner who is another
# one than before, by the plain owner who has granted rights to others, from a dump taken while the pipeline is at work, and through
# pg_upgrade.  It could fail where a table has become a member of the extension and is dumped without its rows, where a trigger is
# there before the rows and changes them, where an object is wanted before the extension is made, or where something rests on a role
# that the restore does not have.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/lib";
use Copies;
use Pipeline;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('source');
my $dump = $node->basedir . '/app.dump';
attach_pipeline($node, 'assignment_v3.max_parallel' => 5);
fill($node);

my $before = remember($node, 'app');
like($before->{contents}, qr/^bookings\|66\|/m, 'there is something to lose');
like($before->{contents}, qr/^assignment_v3\.queue\|6\|/m, '... in the queue too');
like($before->{rights}, qr/process_booking\(uuid,text\) service EXECUTE false/, '... and rights too');

# ---------------------------------------------------------------------
# By the superuser, with the database and its settings
# ---------------------------------------------------------------------
$node->command_ok([ 'pg_dump', '-Fc', '-C', '-f', $dump, 'app' ], 'pg_dump');
$node->safe_psql('postgres', 'ALTER DATABASE app RENAME TO original');
$node->command_ok([ 'pg_restore', '-e', '-C', '-d', 'postgres', $dump ], 'pg_restore as superuser, without an error');
is_complete($node, 'app', 'as superuser', $before);
is(rights($node, 'app'), $before->{rights}, '... and who may do what');
is($node->safe_psql('app', 'SELECT mode, reason FROM assignment_v3.mode()'), 'active|enabled', '... and the flags of the database');
is($node->safe_psql('app', "SELECT has_function_privilege('service', 'assignment_v3.process_booking(uuid, text)', 'EXECUTE'),
	has_function_privilege('service', 'assignment_v3.kill(text)', 'EXECUTE')"), 't|f', 'the service role may do what it is for');
is_alive($node, 'app', 'as superuser');
$node->safe_psql('postgres', 'DROP DATABASE app');

# ---------------------------------------------------------------------
# By a plain owner, who has never heard of the one before
# ---------------------------------------------------------------------
$node->safe_psql('postgres', 'CREATE ROLE newcomer LOGIN; CREATE DATABASE copy OWNER newcomer');
$node->command_ok([ 'pg_restore', '-e', '-U', 'newcomer', '--no-owner', '--no-acl', '-d', 'copy', $dump ], 'pg_restore as a plain owner, without an error');
is_complete($node, 'copy', 'as a newcomer', $before);
is($node->safe_psql('copy', "SELECT DISTINCT relowner::regrole FROM pg_class WHERE relkind = 'r'
	AND relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace)"), 'newcomer', '... all of it the newcomer\'s');
is_alive($node, 'copy', 'as a newcomer', 'newcomer');
# and passes it on, as text, and with --clean over what is there
$node->command_ok([ 'pg_dump', '-U', 'newcomer', '-f', "$dump.sql", 'copy' ], 'pg_dump as a plain owner');
$node->safe_psql('postgres', 'CREATE DATABASE second OWNER newcomer');
$node->command_ok([ 'psql', '-XqU', 'newcomer', '-v', 'ON_ERROR_STOP=1', '-d', 'second', '-f', "$dump.sql" ], '... and psql, without an error');
is(contents($node, 'second'), contents($node, 'copy'), 'every row is there');
$node->command_ok([ 'pg_restore', '-e', '-U', 'newcomer', '--no-owner', '--no-acl', '--clean', '--if-exists', '-d', 'second', $dump ],
	'pg_restore --clean over an attached database');
is(contents($node, 'second'), $before->{contents}, 'every row is there');
is_alive($node, 'second', 'restored over', 'newcomer');
$node->safe_psql('postgres', "DROP DATABASE $_") foreach 'copy', 'second';

# ---------------------------------------------------------------------
# The database of a plain owner, with a role that he has let in
# ---------------------------------------------------------------------
owned_app($node, 'shop');
my $owned = remember($node, 'shop');
$node->command_ok([ 'pg_dump', '-U', 'shop', '-Fc', '-f', "$dump.shop", 'shop' ], 'pg_dump by the plain owner');

# by himself
$node->safe_psql('postgres', 'CREATE DATABASE mine OWNER shop');
$node->command_ok([ 'pg_restore', '-e', '-U', 'shop', '-d', 'mine', "$dump.shop" ], 'pg_restore by himself, without an error');
is_complete($node, 'mine', 'by himself', $owned);
is(rights($node, 'mine'), $owned->{rights}, '... and who may do what');
is($node->safe_psql('mine', 'SELECT mode FROM assignment_v3.mode()'), 'disabled', 'settings of a database are not in its dump: the copy is off');
is_alive($node, 'mine', 'by himself', 'shop');

# by a superuser in his name
$node->safe_psql('postgres', 'CREATE DATABASE his OWNER shop');
$node->command_ok([ 'pg_restore', '-e', '--role=shop', '-d', 'his', "$dump.shop" ], 'pg_restore --role by a superuser, without an error');
is_complete($node, 'his', 'in his name', $owned);
is(rights($node, 'his'), $owned->{rights}, '... and who may do what');
is_alive($node, 'his', 'in his name', 'shop');

# by a superuser in his own name: the extension is the superuser's then, and the owner of the tables has no right to call it
$node->safe_psql('postgres', 'CREATE DATABASE foreign_hands OWNER shop');
$node->command_fails([ 'pg_restore', '-d', 'foreign_hands', "$dump.shop" ], 'pg_restore by a superuser cannot repeat what the owner had granted');
is_complete($node, 'foreign_hands', 'by a superuser', $owned);
like(error_of($node, 'SET ROLE shop; SELECT * FROM assignment_v3.mode()', database => 'foreign_hands'), qr/permission denied for function mode/,
	'the owner may not call it');
$node->safe_psql('foreign_hands', "GRANT EXECUTE ON ALL ROUTINES IN SCHEMA assignment_v3 TO shop WITH GRANT OPTION; SELECT assignment_v3.grant_flags('shop')");
is($node->safe_psql('foreign_hands', 'SET ROLE shop; SELECT * FROM assignment_v3.verify(); SELECT * FROM assignment_v3.attach(); SELECT mode FROM assignment_v3.mode()'),
	'disabled', '... until he is granted it');
$node->safe_psql('foreign_hands', 'DROP EXTENSION assignment_v3 CASCADE; SET ROLE shop; CREATE EXTENSION assignment_v3; SELECT * FROM assignment_v3.attach()');
my $list = IPC::Run::run([ 'pg_restore', '-l', "$dump.shop" ], '|', [ 'grep', ' ACL assignment_v3 ' ], '>', "$dump.acl");
ok($list, 'the dump has grants');
$node->command_ok([ 'pg_restore', '-e', '-L', "$dump.acl", '--role=shop', '-d', 'foreign_hands', "$dump.shop" ], '... which are repeated');
is(triggers($node, 'foreign_hands'), $owned->{triggers}, 'made anew by the owner, the triggers are there');
is(rights($node, 'foreign_hands'), $owned->{rights}, '... and who may do what');
is_alive($node, 'foreign_hands', 'made anew', 'shop');
$node->safe_psql('postgres', "DROP DATABASE $_") foreach 'mine', 'his', 'foreign_hands';

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
# Laid out by month and by restaurant: partitions come back under their tables, with the triggers that are their own
# ---------------------------------------------------------------------
$node->safe_psql('postgres', 'CREATE DATABASE laid_out');
$node->safe_psql('laid_out', <<'SQL');
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
SELECT count(*) FROM assignment_v3.attach(by_month => true, by_restaurant => true);
INSERT INTO restaurants (name) SELECT 'Restaurant ' || n FROM generate_series(1, 2) AS n;
INSERT INTO zones (restaurant_id, name) SELECT id, 'Zone' FROM restaurants;
INSERT INTO table_inventory (restaurant_id, zone_id, table_number, capacity) SELECT z.restaurant_id, z.id, n, 4 FROM zones AS z, generate_series(1, 3) AS n;
SET assignment_v3.enabled = on;
INSERT INTO bookings (restaurant_id, party_size, start_at, end_at)
SELECT r.id, 4, now() + n * interval '1 day', now() + n * interval '1 day' + interval '2 hours' FROM restaurants AS r, generate_series(1, 5) AS n;
SELECT count(*) FROM assignment_v3.process_due(8);
SQL
my $laid_out = { contents => contents($node, 'laid_out'), triggers => triggers($node, 'laid_out'), rules => rules($node, 'laid_out') };
like($laid_out->{contents}, qr/^booking_assignment_state_history_\d{4}_\d\d\|40\|/m, 'there is history in a month');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dump.laid_out", 'laid_out' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE laid_out_anew');
$node->command_ok([ 'pg_restore', '-e', '-d', 'laid_out_anew', "$dump.laid_out" ], 'pg_restore, without an error');
is_complete($node, 'laid_out_anew', 'laid out', $laid_out);
is($node->safe_psql('laid_out_anew', 'SELECT * FROM assignment_v3.attach(); SELECT * FROM assignment_v3.roll_months()'), '', '... and nothing is missing');
is($node->safe_psql('laid_out_anew', 'SET assignment_v3.enabled = on; SELECT count(*) FROM assignment_v3.process_due(10); SELECT * FROM assignment_v3.verify()'),
	'2', '... and it seats whoever still waits');
$node->safe_psql('postgres', "DROP DATABASE $_") foreach 'laid_out', 'laid_out_anew';

# ---------------------------------------------------------------------
# pg_upgrade, to a cluster of the same version
# ---------------------------------------------------------------------
my $new = PostgreSQL::Test::Cluster->new('upgraded');
my ($bindir) = map { chomp; $_ } `pg_config --bindir`;
$new->init;
$new->append_conf('postgresql.conf', "max_prepared_transactions = 10\nmax_connections = 60\nlog_statement = none");
$node->safe_psql('app', "DROP TRIGGER dawdle ON bookings; SELECT book(2, 2, 500, 'waits')");
$before = remember($node, 'app');
$node->stop;
chdir $node->basedir or die "could not change to the cluster's directory: $!";
command_ok([ 'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bindir, '-s', $new->host,
	'-p', $node->port, '-P', $new->port ], 'pg_upgrade');
$new->start;
is_complete($new, 'app', 'upgraded', $before);
is(rights($new, 'app'), $before->{rights}, '... and who may do what');
is_complete($new, 'shop', 'upgraded, the plain owner\'s', $owned);
is(rights($new, 'shop'), $owned->{rights}, '... and who may do what');
is_alive($new, 'app', 'upgraded');
is_alive($new, 'shop', 'upgraded, the plain owner\'s', 'shop');
$new->stop;
done_testing();
