# The adapter of examples/supabase-js asks the pipeline first and runs the app's own path exactly where the pipeline does not decide:
# disabled, killed, shadow, detached, dropped, not exposed.  Where the pipeline decides, or might have decided and the answer got lost,
# the app's own path never runs, or a guest would be mailed twice.  It could fail by an outcome that it does not know, by an error that it
# takes for a missing pipeline, by a rehearsal that it takes for an outcome, or by a repeated call that seats or mails again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NodeProgram;
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('supabase_adapter');
make_supabase_database($node, 'assignment_v3.retry_base_delay' => '200ms', 'assignment_v3.retry_jitter' => '0');
$node->safe_psql('app', 'SELECT make_floor(3, 8)');

my @lines = split(/\n/, slurp_file("$FindBin::RealBin/../../examples/supabase-js/seat_booking.mjs"));
cmp_ok(scalar(@lines), '<=', 60, 'the adapter has at most 60 lines');
run_program($node, 'supabase_adapter.mjs');
$node->stop;
done_testing();
