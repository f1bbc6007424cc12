# docs/supabase.md tells what to type and what comes of it, in a database with the roles of Supabase, where the owner is no superuser.
# Each block of SQL there is run in order and must say what the page shows.  It could fail where a step needs more rights than
# the owner has, where an API has changed and the page has not, or where a grant keeps the cluster from being tidied up.
#
# A block is a session of "postgres"; a first line "-- as role" says whose else.  The block after it is what psql answers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

local $ENV{PGUSER} = 'supabase_admin';
my $node = PostgreSQL::Test::Cluster->new('supabase');
$node->init(extra => [ '--username=supabase_admin' ]);
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE postgres LOGIN NOSUPERUSER CREATEDB CREATEROLE BYPASSRLS;
CREATE ROLE anon LOGIN;
CREATE ROLE authenticated LOGIN;
CREATE ROLE service_role BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT;
GRANT anon, authenticated, service_role TO authenticator, postgres;
ALTER DATABASE postgres OWNER TO postgres;
ALTER SCHEMA public OWNER TO postgres;
CREATE SCHEMA extensions AUTHORIZATION postgres;
GRANT USAGE ON SCHEMA public, extensions TO anon, authenticated, service_role;
ALTER DATABASE postgres SET search_path TO "$user", public, extensions;
SQL
# the app's tables, as its owner has made them, and one booking
run_psql('postgres', "\\set staff_role authenticated\n\\i test/sql/include/live_app.sql\nCALL live.open(1, 2, 4, 4);\nCALL live.book(1);\n"
	. "UPDATE bookings SET reference = 'TEST000001';\nGRANT SELECT, UPDATE ON bookings TO authenticated");

sub run_psql
{
	my ($role, $sql) = @_;
	my ($in, $out) = ("$sql\n", '');

	IPC::Run::run([ 'psql', '-X', '-q', '-U', $role, '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>&1');
	# where psql reads from is of no interest, and the empty line that ends a table is not shown at the end
	$out =~ s/^psql:<stdin>:\d+: //mg;
	$out =~ s/\n+\z/\n/;
	return $out;
}

my $page = slurp_file('docs/supabase.md');
my $nblocks = 0;

while ($page =~ /^```sql\n(.*?)^```\n(?:```\n(.*?)^```\n)?/msg)
{
	my ($sql, $shown) = ($1, $2 // '');
	my ($role) = $sql =~ /\A-- as (\w+)\n/;
	my ($title) = $sql =~ /\A(?:-- .*\n)?(.*)/;

	$nblocks++;
	is(run_psql($role // 'postgres', $sql), $shown, $title);
}
cmp_ok($nblocks, '>', 20, 'the page has been read');
$node->stop;
done_testing();
