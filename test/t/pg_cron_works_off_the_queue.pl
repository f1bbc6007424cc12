# pg_cron, the scheduler that servers without a preloaded assignment_v3 often have, works off the queue: run() must be able to commit after
# each batch although it is called by somebody else's job, whether pg_cron connects as a client or starts a background worker, as a
# plain owner with the settings of the database, and must end by itself before the next minute.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = new_node('pg_cron');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'app'\ncron.host = '" . $node->host . "'\nmax_worker_processes = 20");
$node->safe_psql('postgres', 'CREATE ROLE app_owner LOGIN; CREATE DATABASE app OWNER app_owner');
$node->restart;
$node->safe_psql('app', <<SQL);
CREATE EXTENSION pg_cron;
GRANT USAGE ON SCHEMA cron TO app_owner;
CREATE EXTENSION btree_gist;
ALTER SCHEMA public OWNER TO app_owner;
SET ROLE app_owner;
CREATE EXTENSION assignment_v3;
SELECT count(*) FROM assignment_v3.attach();
ALTER DATABASE app SET assignment_v3.enabled = on;
$Pipeline::scene
SELECT make_floor(3, 6);
SQL

# Up to 1.4 pg_cron counts in minutes, from 1.5 on in seconds as well.
my $seconds = $node->safe_psql('app', "SELECT split_part(extversion, '-', 1)::numeric >= 1.5 FROM pg_extension WHERE extname = 'pg_cron'") eq 't';
my $when = $seconds ? '1 second' : '* * * * *';
sub comes_true
{
	my ($sql, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(wait_until(sub { sleep 0.3; $node->safe_psql('app', $sql) eq 't' }, 90), $name)
	  || diag($node->safe_psql('app', 'SELECT * FROM cron.job_run_details'));
}

# One minute is enough for 1.4: the way that is its default.
foreach my $mode ($seconds ? ('client', 'background worker') : 'client')
{
	if ($mode eq 'background worker')
	{
		$node->append_conf('postgresql.conf', 'cron.use_background_workers = on');
		$node->restart;
	}
	$node->safe_psql('app', "SET ROLE app_owner; SET assignment_v3.enabled = on; SELECT count(book(r, 2, " . (12 + 24 * length $mode) . ", '$mode')) FROM generate_series(1, 3) r;
		SELECT cron.schedule('seat bookings', '$when', 'CALL assignment_v3.run(max_seconds => 50)')");
	comes_true("SELECT count(*) = 3 FROM bookings WHERE customer_name = '$mode' AND status = 'confirmed'", "pg_cron seats what waits, as a $mode");
	comes_true("SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'succeeded' AND command = 'CALL assignment_v3.run(max_seconds => 50)' AND username = 'app_owner'",
		'... and notes a success, of the owner');
	$node->safe_psql('app', "SET ROLE app_owner; SELECT cron.unschedule('seat bookings')");
}
is($node->safe_psql('app', "SELECT count(*) FROM cron.job_run_details WHERE status = 'failed'"), 0, 'no call has failed');
is_sound($node);
$node->stop;
done_testing();
