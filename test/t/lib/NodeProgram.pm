# NodeProgram.pm
#
# Tests written in JavaScript, for what only a client in JavaScript can show.  They are in test/http and print TAP; run_program() runs
# one beside a cluster and counts its assertions among those of the calling test.
#
# What the programs need from npm is pinned by test/http/package-lock.json and installed by scripts/setup.

package NodeProgram;

use strict;
use warnings;

use Exporter qw(import);
use File::Basename qw(dirname);
use IPC::Run;
use Test::More;

our @EXPORT = qw(run_program expose_to_http);

my $programs = dirname(__FILE__) . '/../../http';

# run_program(node, name): test/http/<name> with the cluster's database "app" in its environment.
sub run_program
{
	my ($node, $name) = @_;
	my ($stdout, $stderr) = ('', '');
	my ($planned, $run) = (0, 0);

	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGUSER => 'postgres', PGDATABASE => 'app');
	IPC::Run::run([ 'node', "$programs/$name" ], '>', \$stdout, '2>', \$stderr, IPC::Run::timeout(180));
	my $status = $?;

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

# expose_to_http(node): the roles that PostgREST switches between, and a schema of functions for it.
sub expose_to_http
{
	my ($node) = @_;

	$node->safe_psql('app', <<'SQL');
CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service_role NOLOGIN BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT;
GRANT anon, authenticated, service_role TO authenticator;
CREATE SCHEMA api;
GRANT USAGE ON SCHEMA api TO anon, authenticated, service_role;
GRANT USAGE ON SCHEMA assignment_v3 TO service_role;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA assignment_v3 TO service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA api REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE FUNCTION api.process_booking(booking_id uuid, trigger text DEFAULT 'manual') RETURNS assignment_v3.decision LANGUAGE sql
AS 'SELECT * FROM assignment_v3.process_booking($1, $2)';
CREATE FUNCTION api.requeue(booking_id uuid, reason text DEFAULT NULL) RETURNS assignment_v3.step LANGUAGE sql
AS 'SELECT * FROM assignment_v3.requeue($1, $2)';
CREATE FUNCTION api.assign(booking_id uuid, table_ids uuid[], reason text DEFAULT NULL, expected_version int DEFAULT NULL)
RETURNS assignment_v3.step LANGUAGE sql AS 'SELECT * FROM assignment_v3.assign($1, $2, $3, $4)';
CREATE FUNCTION api.mode(restaurant_id uuid DEFAULT NULL, OUT mode text, OUT reason text) LANGUAGE sql
AS 'SELECT * FROM assignment_v3.mode($1)';
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA api FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA api TO service_role;
SQL
	return;
}

1;
