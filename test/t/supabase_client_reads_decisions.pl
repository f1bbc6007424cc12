# An app that calls through supabase-js and PostgREST gets each decision as one object, each error as the HTTP status it stands for,
# and only if its role may call: 200, 401, 403, 404, 405, 406, 409, 422.  It could fail by a result that is a list, by an argument that
# cannot be left out, by an error without a code of its own, by a function that PostgREST would run read-only, or by a role or claim
# that a pooled connection keeps for the next request.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NodeProgram;
use Pipeline;
use Test::More;

my $node = new_node('supabase_client');
make_supabase_database($node);
$node->safe_psql('app', 'SELECT make_floor(4, 8)');

run_program($node, 'supabase_client.mjs');
is_sound($node);
$node->stop;
done_testing();
