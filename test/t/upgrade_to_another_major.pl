# A cluster moves to the next major version, by pg_upgrade or by dump and restore, with the pipeline attached: equal rows, triggers in
# place, the pipeline running, in a superuser's database and in a plain owner's, who keeps his right to the flags.  It could fail
# where something kept in a table is an OID, a member of the extension or of a type that pg_upgrade refuses, where grants on
# parameters are lost or stand in the way, or where the library of one version is asked for by the other.
#
# The older version must be installed beside the one under test, with its server headers; the extension is built for it in an
# installation of the test's own.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Copies;
use Pipeline;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $older = older_pg_config();
plan skip_all => 'no older major version with its server headers is installed beside this one' unless defined $older;

my ($bindir) = map { chomp; $_ } `pg_config --bindir`;
my $prefix = private_installation($older);
install_extension($prefix);

my $old = new_node('older', undef, install_path => $prefix);
attach_pipeline($old, 'assignment_v3.max_parallel' => 5);
fill($old);
owned_app($old, 'shop');
my %before = map { $_ => remember($old, $_) } 'app', 'shop';
my ($major) = `pg_config --version` =~ /(\d+)/;
cmp_ok($old->safe_psql('app', 'SHOW server_version_num'), '<', $major * 10000, 'the cluster is of an older version');
like($before{shop}{contents}, qr/^bookings\|66\|/m, 'there is something to lose');

# who may do what, after either way
sub has_rights
{
	my ($node, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql('shop', "SELECT has_function_privilege('service', 'assignment_v3.process_booking(uuid, text)', 'EXECUTE'),
		has_function_privilege('service', 'assignment_v3.kill(text)', 'EXECUTE')"), 't|f', "$name: who may execute what");
	is($node->safe_psql('shop', "SET ROLE shop; SET assignment_v3.max_parallel = 7; ALTER DATABASE shop SET assignment_v3.max_tables = 4;
		SELECT has_parameter_privilege('shop', 'assignment_v3.enabled', 'SET'), has_parameter_privilege('service', 'assignment_v3.enabled', 'SET')"), 't|f',
		"$name: ... and who may set the flags");
	return;
}

# ---------------------------------------------------------------------
# Dump and restore, with the newer version's programs
# ---------------------------------------------------------------------
my $new = new_node('newer');
my @from = ('-h', $old->host, '-p', $old->port);
my $dumps = $new->basedir;

command_ok([ 'pg_dumpall', @from, '--globals-only', '-f', "$dumps/globals.sql" ], 'pg_dumpall --globals-only');
like(slurp_file("$dumps/globals.sql"), qr/GRANT SET ON PARAMETER "?assignment_v3\.enabled"? TO shop/, '... has the grants of the flags');
command_ok([ 'pg_dump', @from, '-Fc', '-C', '-f', "$dumps/app", 'app' ], 'pg_dump by the superuser');
command_ok([ 'pg_dump', @from, '-U', 'shop', '-Fc', '-f', "$dumps/shop", 'shop' ], 'pg_dump by the plain owner');
# the superuser is there already, all other roles must be made
my $superuser = $new->safe_psql('postgres', 'SELECT 10::regrole');
my $globals = slurp_file("$dumps/globals.sql") =~ s/^CREATE ROLE $superuser;\n//mr;
$new->safe_psql('postgres', $globals);
$new->command_ok([ 'pg_restore', '-e', '-C', '-d', 'postgres', "$dumps/app" ], 'pg_restore by the superuser, without an error');
$new->safe_psql('postgres', 'CREATE DATABASE shop OWNER shop');
$new->command_ok([ 'pg_restore', '-e', '-U', 'shop', '-d', 'shop', "$dumps/shop" ], 'pg_restore by the plain owner, without an error');
is_complete($new, 'app', 'restored', $before{app});
is(rights($new, 'app'), $before{app}->{rights}, '... and who may do what');
is_complete($new, 'shop', 'restored by its owner', $before{shop});
is(rights($new, 'shop'), $before{shop}->{rights}, '... and who may do what');
is($new->safe_psql('app', 'SELECT mode, reason FROM assignment_v3.mode()'), 'active|enabled', 'pg_dump --create takes the settings of the database');
has_rights($new, 'restored');
is_alive($new, 'app', 'restored');
is_alive($new, 'shop', 'restored by its owner', 'shop');
$new->stop;

# ---------------------------------------------------------------------
# pg_upgrade
# ---------------------------------------------------------------------
my $upgraded = PostgreSQL::Test::Cluster->new('upgraded');
$upgraded->init;
$upgraded->append_conf('postgresql.conf', "max_prepared_transactions = 10\nmax_connections = 60\nlog_statement = none");
$old->stop;
chdir $upgraded->basedir or die "could not change to the cluster's directory: $!";
command_ok([ "$bindir/pg_upgrade", '--no-sync', '-d', $old->data_dir, '-D', $upgraded->data_dir, '-b', "$prefix/bin", '-B', $bindir,
	'-s', $upgraded->host, '-p', $old->port, '-P', $upgraded->port ], 'pg_upgrade to another major version');
$upgraded->start;
is_complete($upgraded, 'app', 'upgraded', $before{app});
is(rights($upgraded, 'app'), $before{app}->{rights}, '... and who may do what');
is_complete($upgraded, 'shop', 'upgraded, the plain owner\'s', $before{shop});
is(rights($upgraded, 'shop'), $before{shop}->{rights}, '... and who may do what');
is($upgraded->safe_psql('shop', 'SELECT mode, reason FROM assignment_v3.mode()'), 'active|enabled', 'upgraded: the settings of a database are there');
has_rights($upgraded, 'upgraded');
is_alive($upgraded, 'app', 'upgraded');
is_alive($upgraded, 'shop', 'upgraded, the plain owner\'s', 'shop');

# pg_upgrade makes the superuser the owner of every extension: only he can update or drop it.  All can be taken back, to the last grant.
like(error_of($upgraded, 'SET ROLE shop; DROP EXTENSION assignment_v3', database => 'shop'), qr/must be owner of extension/,
	'upgraded: the extension is the superuser\'s');
$upgraded->safe_psql('shop', 'SET ROLE shop; SELECT * FROM assignment_v3.detach(); RESET ROLE; DROP EXTENSION assignment_v3');
$upgraded->safe_psql('postgres', 'DROP DATABASE shop; DROP OWNED BY shop; DROP ROLE shop');
is($upgraded->safe_psql('postgres', "SELECT count(*) FROM pg_parameter_acl"), 0, 'upgraded: the owner can be dropped, and no grant is left');
$upgraded->stop;
done_testing();
