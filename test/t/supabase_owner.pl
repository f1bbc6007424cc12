# The owner of a Supabase database is no superuser, and requests arrive in sessions of another role, authenticator, that switches.
# The owner must be able to do all of it in sessions of his own: create, attach, flip the flags for a session, the database and a
# role, run, kill, detach and drop.  A flag set for authenticator must reach whom it becomes, and no other role may set one: not
# by SET, not in the options of its connection, and not before the library is loaded, when PostgreSQL itself would let anybody.
# It could fail wherever a right is looked up for the wrong one of the two roles, or too early.

use strict;
use warnings;

use Cwd qw(getcwd);
use FindBin;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('supabase');
my $request = 'SET ROLE service_role; SELECT mode, reason FROM assignment_v3.mode()';

# What a role of its own session gets, or the error that it gets instead.
sub answer
{
	my ($role, $sql, %params) = @_;
	my ($stdout, $stderr) = ('', '');

	$node->psql('app', "\\set VERBOSITY sqlstate\n$sql", stdout => \$stdout, stderr => \$stderr,
		extra_params => [ '-U', $role ], on_error_stop => 1, %params);
	return $stderr =~ /ERROR:\s+(\w{5})/ ? $1 : $stdout;
}

# The owner's session; an error of it ends the test.
sub own
{
	my ($sql) = @_;

	return $node->safe_psql('app', $sql, extra_params => [ '-U', 'app_owner' ]);
}

$ENV{PG_ABS_SRCDIR} = getcwd() . '/test';
$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('app', "CREATE SCHEMA test;\n\\i test/sql/include/supabase_roles.sql");

#
# The owner installs and attaches
#
own('CREATE EXTENSION btree_gist WITH SCHEMA extensions; CREATE EXTENSION assignment_v3');
is($node->safe_psql('app', 'SELECT rolname, rolsuper FROM pg_extension AS e JOIN pg_roles AS r ON r.oid = e.extowner WHERE extname = $$assignment_v3$$'),
	'app_owner|f', 'a plain owner creates the extension');
cmp_ok(own('SELECT count(*) FROM assignment_v3.attach()'), '>', 100, '... and attaches');
own(q{SELECT count(*) FROM assignment_v3.grant_access('service_role')});
is(answer('authenticator', $request), 'disabled|default', 'off is the default');

#
# The flags
#
own('ALTER DATABASE app SET assignment_v3.enabled TO on');
is(answer('authenticator', $request), 'active|enabled', 'ALTER DATABASE reaches a request');
own('ALTER ROLE authenticator SET assignment_v3.enabled TO off; ALTER ROLE authenticator SET assignment_v3.shadow TO on');
is(answer('authenticator', $request), 'shadow|shadow', 'ALTER ROLE of the role that logs in reaches a request');
is(answer('app_owner', 'SELECT mode FROM assignment_v3.mode()'), 'active', '... and nobody else');
is(answer('app_owner', 'SET assignment_v3.enabled TO off; SELECT mode FROM assignment_v3.mode()'), 'disabled', 'SET is for the session');
is(answer('app_owner', 'BEGIN; SET LOCAL assignment_v3.enabled TO off; COMMIT; SELECT mode FROM assignment_v3.mode()'), 'active',
	'SET LOCAL is for the transaction');
own('ALTER ROLE authenticator RESET assignment_v3.enabled; ALTER ROLE authenticator RESET assignment_v3.shadow');

foreach my $role ('anon', 'authenticated', 'service_role', 'authenticator')
{
	my $become = $role eq 'authenticator' ? '' : "SET ROLE $role;";

	is(answer('authenticator', "SET ROLE service_role; SELECT assignment_v3.mode(); RESET ROLE; $become SET assignment_v3.enabled TO off"),
		'42501', "$role can't flip a flag");
	is(answer('authenticator', "SET ROLE service_role; SELECT assignment_v3.mode(); RESET ROLE; $become SET LOCAL assignment_v3.shadow TO on"),
		'42501', '... nor for a transaction');
	is(answer('authenticator', "$become SET assignment_v3.enabled TO off; RESET ROLE; $request"), 'active|enabled',
		'... nor before the library is loaded');
	is(answer('authenticator', "$become SET assignment_v3.event_level TO banana; RESET ROLE; $request"), 'active|enabled',
		'... nor to what is no value');
	is(answer('authenticator', "$become SELECT count(*) FROM (SELECT set_config('assignment_v3.max_parallel', '20', false)) AS s;
		RESET ROLE; $request; SHOW assignment_v3.max_parallel") =~ s/\n/ /gr, '1 active|enabled 3', '... nor by a function');
}
{
	local $ENV{PGOPTIONS} = '-c assignment_v3.max_parallel=20 -c assignment_v3.enabled=off';

	is(answer('app_owner', "$request; SHOW assignment_v3.max_parallel") =~ s/\n/ /gr, 'disabled|default 20', 'the owner has options of a connection');
	# PostgreSQL has put the stored value aside for the option by then, so what is left is the default
	is(answer('authenticator', "$request; SHOW assignment_v3.max_parallel") =~ s/\n/ /gr, 'disabled|default 3', '... and nobody else');
}
is(answer('authenticator', 'ALTER ROLE authenticator SET assignment_v3.enabled TO off'), '42501', 'nobody stores a flag for himself');

#
# Work
#
own(q{
	INSERT INTO restaurants (id, name) VALUES ('a0000000-0000-0000-0000-000000000001', 'One');
	INSERT INTO table_inventory (restaurant_id, table_number, capacity) SELECT 'a0000000-0000-0000-0000-000000000001', n, 4 FROM generate_series(1, 4) n;
	SELECT assignment_v3.library_version();
	INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at)
	SELECT ('b0000000-0000-0000-0000-00000000000' || n)::uuid, 'a0000000-0000-0000-0000-000000000001', 2, now() + interval '30 days', now() + interval '30 days 2 hours'
	FROM generate_series(1, 5) n});
is(answer('authenticator', q{SET ROLE service_role; SELECT outcome FROM assignment_v3.process_booking('b0000000-0000-0000-0000-000000000001')}),
	'confirmed', 'the service role decides');
like(own('CALL assignment_v3.run(2)'), qr/^2\|2\|/, 'the owner runs');
like(answer('authenticator', 'SET ROLE service_role; CALL assignment_v3.run(1)'), qr/^1\|1\|/, '... and the service role');
own(q{SELECT assignment_v3.kill('drill')});
is(answer('authenticator', $request), 'disabled|kill', 'the owner kills');
is(answer('authenticator', q{SET ROLE service_role; SELECT assignment_v3.revive('mine')}), '42501', 'nobody else revives');
own(q{SELECT assignment_v3.revive('over')});
is(answer('authenticator', $request), 'active|enabled', '... but the owner does');
is(own('SELECT count(*) FROM assignment_v3.verify()'), '0', 'all is sound');

#
# And back
#
own(q{SELECT count(*) FROM assignment_v3.revoke_access('service_role'); SELECT count(*) FROM assignment_v3.detach(); DROP EXTENSION assignment_v3});
is(own(q{SELECT count(*) FROM bookings WHERE status = 'confirmed'}), '4', 'the owner detaches and drops, and everything is there');
is(answer('authenticator', 'SET ROLE service_role; SELECT assignment_v3.mode()'), '42501', 'the schema is closed again');
own('CREATE EXTENSION assignment_v3; SELECT count(*) FROM assignment_v3.attach()');
is(own('SELECT count(*) FROM assignment_v3.verify()'), '0', 'a new CREATE EXTENSION and attach() go on where it stopped');
done_testing();
