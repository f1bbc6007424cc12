# Copies.pm
#
# What tests of dumps and upgrades need: a database with some of everything in it, ways to see whether a copy has all of it and is
# alive, and installations of PostgreSQL of a test's own.
#
#	fill(node)				some of everything into the database "app" of attach_pipeline(), and a role "service"
#	owned_app(node, owner)			the same in a database that the role "owner", no superuser, has made and attached
#	contents(node, database)		count and checksum of the rows of each table
#	triggers(...), rules(...), rights(...)	every trigger; every constraint, index, comment and table with row security; every grant and policy
#	is_complete(node, database, name, of)	compares these with what remember(node, database) returned
#	is_alive(node, database, name, role)	attached, sound, at work; as that role, if one is given
#	older_pg_config()			pg_config of an older major version beside this one, or undef
#	private_installation(pg_config, whole)	a copy of that installation that the test may install into, with this extension if whole;
#						returns its prefix
#	install_extension(prefix, change)	builds this tree for a private installation; change(dir) may edit the copy before

package Copies;

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use Pipeline;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(fill owned_app contents triggers rules rights remember is_complete is_alive older_pg_config private_installation install_extension);

# Seated, waiting, in review, cancelled, moved; a block, a hold, a rollout row, a kill that is over, a purge; and a role of the app's.
my $everything = <<'SQL';
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
CREATE SCHEMA api;
SELECT count(*) FROM assignment_v3.grant_access('service');
SELECT count(*) FROM assignment_v3.expose('api', 'service');
SELECT count(*) FROM assignment_v3.grant_monitoring('monitor');
GRANT SELECT ON bookings TO service;
CREATE POLICY service ON bookings TO service USING (status <> 'cancelled');
SQL

# The roles that the owner lets in.
sub make_service
{
	my ($node) = @_;

	$node->safe_psql('postgres', q{SELECT format('CREATE ROLE %I', r) FROM unnest('{service,monitor}'::text[]) r WHERE to_regrole(r) IS NULL \gexec});
	return;
}

sub fill
{
	my ($node) = @_;

	make_service($node);
	$node->safe_psql('app', $everything);
	return;
}

sub owned_app
{
	my ($node, $owner) = @_;
	my @as_owner = (extra_params => [ '-U', $owner ]);

	make_service($node);
	$node->safe_psql('postgres', "CREATE ROLE $owner LOGIN; CREATE DATABASE $owner OWNER $owner");
	$node->safe_psql($owner, <<SQL . scene(), @as_owner);
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
SELECT count(*) FROM assignment_v3.attach();
ALTER DATABASE $owner SET assignment_v3.enabled = on;
SQL
	$node->safe_psql($owner, $everything, @as_owner);
	return;
}

sub contents
{
	my ($node, $database) = @_;
	my $queries = $node->safe_psql($database, q{
		SELECT string_agg(format('SELECT %L, count(*), md5(string_agg(t::text, E''\n'' ORDER BY t::text COLLATE "C")) FROM %s t',
			c.oid::regclass, c.oid::regclass), ' UNION ALL ' ORDER BY c.oid::regclass::text COLLATE "C")
		FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace)});
	# parallel workers bring the tables in any order
	return join("\n", sort split(/\n/, $node->safe_psql($database, $queries)));
}

sub triggers
{
	my ($node, $database) = @_;
	return $node->safe_psql($database,
		q{SELECT string_agg(pg_get_triggerdef(oid), E'\n' ORDER BY tgname, tgrelid::regclass::text COLLATE "C") FROM pg_trigger WHERE NOT tgisinternal});
}

sub rules
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, q{SELECT string_agg(r, E'\n' ORDER BY r COLLATE "C") FROM (
		SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) AS r FROM pg_constraint
		WHERE connamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace)
		UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid
		WHERE c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace)
		UNION ALL SELECT c.oid::regclass || ' ' || c.relrowsecurity || ' ' || coalesce(obj_description(c.oid, 'pg_class'), '-')
		FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace)) rules});
}

# Who may do what, except the superuser who owns the functions, and what only one of two versions knows.
sub rights
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, q{SELECT string_agg(r, E'\n' ORDER BY r COLLATE "C") FROM (
		SELECT o.object || ' ' || a.grantee::regrole || ' ' || a.privilege_type || ' ' || a.is_grantable AS r FROM (
			SELECT 'schema ' || nspname, nspacl FROM pg_namespace WHERE nspname IN ('api', 'assignment_v3')
			UNION ALL SELECT oid::regprocedure::text, proacl FROM pg_proc WHERE pronamespace IN ('api'::regnamespace, 'assignment_v3'::regnamespace)
			UNION ALL SELECT oid::regtype::text, typacl FROM pg_type WHERE typnamespace IN ('api'::regnamespace, 'assignment_v3'::regnamespace)
				AND typrelid NOT IN (SELECT oid FROM pg_class WHERE relkind <> 'c')
			UNION ALL SELECT oid::regclass::text, relacl FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace)
			UNION ALL SELECT attrelid::regclass || '.' || attname, attacl FROM pg_attribute WHERE attacl IS NOT NULL
				AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'assignment_v3'::regnamespace))
		) AS o (object, acl) CROSS JOIN LATERAL aclexplode(o.acl) AS a
		WHERE a.grantee NOT IN (0, 10) AND a.privilege_type <> 'MAINTAIN'
		UNION ALL SELECT concat_ws(' ', schemaname, tablename, policyname, roles, cmd, qual, with_check) FROM pg_policies
		UNION ALL SELECT md5(pg_get_functiondef(oid)) FROM pg_proc WHERE pronamespace = 'api'::regnamespace) rights});
}

sub remember
{
	my ($node, $database) = @_;
	return { contents => contents($node, $database), triggers => triggers($node, $database), rules => rules($node, $database),
		rights => rights($node, $database) };
}

sub is_complete
{
	my ($node, $database, $name, $before) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(contents($node, $database), $before->{contents}, "$name: every row is there");
	is(triggers($node, $database), $before->{triggers}, "$name: ... every trigger");
	is(rules($node, $database), $before->{rules}, "$name: ... every constraint, index and comment");
	return;
}

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

# ---------------------------------------------------------------------
# Installations
# ---------------------------------------------------------------------

sub setting
{
	my ($pg_config, $option) = @_;
	my $value = `'$pg_config' --$option`;

	die "$pg_config --$option failed\n" if $? != 0;
	chomp $value;
	return $value;
}

# The newest of the older major versions that are installed as this one is and could build the extension.
sub older_pg_config
{
	my $bindir = setting('pg_config', 'bindir');
	my ($major) = setting('pg_config', 'version') =~ /(\d+)/;

	for (my $older = $major - 1; $older >= 15; $older--)
	{
		(my $pg_config = "$bindir/pg_config") =~ s{/$major/}{/$older/} or return;
		next unless -x $pg_config && -x dirname($pg_config) . '/initdb';
		return $pg_config if -e setting($pg_config, 'pgxs') && -e setting($pg_config, 'includedir-server') . '/postgres.h';
	}
	return;
}

# PostgreSQL finds its files relative to its programs.  So programs are copied, and what they find are links, in directories
# of the test's own where something is to be installed.
sub private_installation
{
	my ($pg_config, $whole) = @_;
	my $root = PostgreSQL::Test::Utils::tempdir();
	my %from = map { $_ => setting($pg_config, $_) } qw(bindir pkglibdir sharedir includedir includedir-server);

	foreach my $dir ($from{bindir}, $from{pkglibdir}, $from{sharedir}, "$from{sharedir}/extension")
	{
		make_path("$root$dir");
		foreach my $file (glob "$dir/*")
		{
			my $copy = "$root$file";

			my $ours = $file =~ m{/assignment_v3[^/]*$};

			next if ($ours && !$whole) || -e $copy || $file eq "$from{sharedir}/extension";
			if ($ours || $dir eq $from{bindir})
			{
				system('cp', '-L', $file, $copy) == 0 or die "could not copy $file\n";
			}
			else
			{
				symlink($file, $copy) or die "could not link $file: $!\n";
			}
		}
	}
	foreach my $dir ($from{includedir}, $from{'includedir-server'})
	{
		next if -e "$root$dir";
		make_path(dirname("$root$dir"));
		symlink($dir, "$root$dir") or die "could not link $dir: $!\n";
	}
	return dirname("$root$from{bindir}");
}

sub install_extension
{
	my ($prefix, $change) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	local %ENV = %ENV;

	delete @ENV{ grep { /^(MAKE|MFLAGS|WERROR|PG_CONFIG)/ } keys %ENV };
	system("tar -cf - Makefile *.control *.json src/*.[ch] sql/*.sql scripts | tar -C '$dir' -xf -") == 0 or die "could not copy the tree\n";
	unlink grep { !/--.*--/ } glob "$dir/sql/assignment_v3--*.sql";
	$change->($dir) if $change;
	command_ok([ 'make', '-s', '-C', $dir, 'install', "PG_CONFIG=$prefix/bin/pg_config" ], 'the extension is built for an installation of its own');
	return;
}

1;
