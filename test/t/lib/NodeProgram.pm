# NodeProgram.pm
#
# Tests written in JavaScript, for what only a client in JavaScript can show.  They are in test/http and print TAP; run_program() runs
# one beside a cluster and counts its assertions among those of the calling test.
#
# What the programs need from npm is pinned by test/http/package-lock.json and installed by scripts/setup.

package NodeProgram;

use strict;
use warnings;

use Cwd;
use Exporter qw(import);
use File::Basename qw(dirname);
use IPC::Run;
use Pipeline;
use Test::More;

our @EXPORT = qw(run_program make_supabase_database);

my $tests = Cwd::abs_path(dirname(__FILE__) . '/../..');

# run_program(node, name): test/http/<name> with the cluster's database "app" in its environment.
sub run_program
{
	my ($node, $name) = @_;
	my ($stdout, $stderr) = ('', '');
	my ($planned, $run) = (0, 0);

	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGUSER => 'postgres', PGDATABASE => 'app');
	my $program = IPC::Run::start([ 'node', "$tests/http/$name" ], '>', \$stdout, '2>', \$stderr, IPC::Run::timeout(120));
	# one that hangs has said before what it was at
	my $status = eval { $program->finish; $? } // $@;
	$program->kill_kill;

	foreach my $line (split(/\n/, $stdout))
	{
		if ($line =~ /^(not )?ok \d+ - (.*)/) { ok(!$1, $2); $run++; }
		elsif ($line =~ /^1\.\.(\d+)/) { $planned = $1; }
		else { diag($line =~ s/^# //r); }
	}
	# also says what is deprecated
	note($stderr) if $stderr ne '';
	is("$status, $run tests", "0, $planned tests", "$name runs to its end");
	return;
}

# make_supabase_database(node, settings): the database "app" of a cluster as Supabase's is, with everything made by its owner, who is
# no superuser, and the functions of the pipeline exposed to PostgREST in the schema api, for service_role.
sub make_supabase_database
{
	my ($node, %settings) = @_;
	my %all = ('assignment_v3.enabled' => 'on', %settings);

	local $ENV{PG_ABS_SRCDIR} = $tests;
	$node->safe_psql('postgres', 'CREATE DATABASE app');
	$node->safe_psql('app', <<SQL . $Pipeline::scene);
CREATE SCHEMA test;
\\i $tests/sql/include/supabase_roles.sql
SET ROLE app_owner;
CREATE EXTENSION btree_gist SCHEMA extensions;
CREATE EXTENSION assignment_v3;
SELECT count(*) FROM assignment_v3.attach();
CREATE SCHEMA api;
SELECT count(*) FROM assignment_v3.expose('api', 'service_role');
GRANT USAGE ON SCHEMA api TO anon, authenticated;
SQL
	$node->safe_psql('app', "SET ROLE app_owner;\n" . join("\n", map { "ALTER DATABASE app SET $_ = '$all{$_}';" } sort keys %all));
	return;
}

1;
