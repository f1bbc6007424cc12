# With assignment_v3.auto_rollback on, too many errors among the latest decisions of all sessions write the kill row, whatever becomes
# of the transactions in which they happened: rolled back, still open, or ended by an error that is thrown on. Every session obeys
# at its next call. If the count depended on rows of the failing transactions, on one session, or on a preloaded library, nobody would
# be there to notice when everything fails. A few errors, rehearsals, and the errors from before the last kill must not switch off.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('guard', "autovacuum = off\nmax_worker_processes = 8");
attach_pipeline($node,
	'assignment_v3.auto_rollback' => 'on',
	'assignment_v3.auto_rollback_calls' => 10,
	'assignment_v3.auto_rollback_percent' => 50,
	'assignment_v3.breaker_threshold' => 1000);

# A guest called "bad" makes a trigger of the app raise, one called "cancelled" makes it end as a cancelled call does; decide() decides on
# a new booking of his.
$node->safe_psql('app', <<'SQL');
SELECT make_floor(1, 1);
CREATE SEQUENCE hours;
CREATE FUNCTION misbehave() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	CASE (SELECT customer_name FROM bookings WHERE id = NEW.booking_id)
		WHEN 'bad' THEN RAISE 'not today';
		WHEN 'cancelled' THEN RAISE 'cancelled' USING ERRCODE = 'query_canceled';
		ELSE NULL;
	END CASE;
	RETURN NEW;
END $$;
CREATE TRIGGER misbehave BEFORE INSERT ON booking_table_assignments FOR EACH ROW EXECUTE FUNCTION misbehave();
CREATE FUNCTION decide(guest text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', d.outcome, d.reason, d.shadow_outcome)
	FROM book(1, 2, 3 * nextval('hours'), guest) AS b CROSS JOIN LATERAL assignment_v3.process_booking(b) AS d
$$;
SQL

my $killed = 'SELECT count(*) FROM assignment_v3.kill_switch';
sub is_killed { return $node->safe_psql('app', $killed) eq '1'; }
sub rolled_back { return "BEGIN; SELECT decide('$_[0]'); ROLLBACK;\n" x $_[1]; }
sub no_worker
{
	return wait_until(sub { $node->safe_psql('app', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'assignment_v3 guard'") eq '0' });
}
# All errors have been looked at.
sub settled
{
	wait_until(sub { $node->safe_psql('app', "SELECT (SELECT max(errors) FROM assignment_v3.error_samples)
		= (SELECT value FROM assignment_v3.stats() WHERE counter = 'errors')") eq 't' });
	return no_worker();
}
sub revive
{
	no_worker();
	$node->safe_psql('app', "SELECT assignment_v3.revive('mended')");
}

# A session that has called before, to see when it obeys.
my $pooled = $node->background_psql('app');
like($pooled->query("SELECT decide('good')"), qr/^confirmed/, 'a pooled session has called');

# Five in ten are no more than the limit.
$node->safe_psql('app', rolled_back('good', 4) . rolled_back('bad', 5));
settled();
ok(!is_killed(), 'half of the decisions may fail');
is($node->safe_psql('app', "SELECT value FROM assignment_v3.stats() WHERE counter = 'errors'"), 5, 'the errors of rolled back transactions are counted');

# One more, in a transaction that stays open.
my $open = $node->background_psql('app');
$open->query("BEGIN");
like($open->query("SELECT decide('bad')"), qr/^retry error/, 'a sixth fails, and its transaction stays open');
ok(wait_until(\&is_killed), '... the kill row is written all the same');
is($pooled->query("SELECT decide('good')"), 'noop pipeline_disabled', 'the pooled session obeys at its next call');
$open->query('ROLLBACK');
is($open->query("SELECT decide('good')"), 'noop pipeline_disabled', '... and so does the other');
ok(wait_until(sub { $node->safe_psql('app', "SELECT count(*) FROM observability_events WHERE event_type = 'rollout.killed'") eq '1' }),
	'an event says so');
is($node->safe_psql('app', "SELECT k.reason || '|' || k.killed_by || '|' || e.source || '|' || e.severity || '|' || (e.context ->> 'reason' = k.reason)
	FROM assignment_v3.kill_switch AS k, observability_events AS e WHERE e.event_type = 'rollout.killed'"),
	'6 of the last 10 decisions met an error, the limit is 50 %|assignment_v3.auto_rollback|assignment.rollout|critical|true',
	'... with the reason');
is($node->safe_psql('app', "SELECT count(*) FROM assignment_v3.audit WHERE relation = 'kill_switch'"), 1, 'the audit knows');

# What led to a kill does not lead to the next one.
revive();
$node->safe_psql('app', rolled_back('bad', 5));
settled();
ok(!is_killed(), 'after revive() the errors are counted anew');
$node->safe_psql('app', rolled_back('good', 10) . rolled_back('bad', 5));
settled();
ok(!is_killed(), 'older decisions leave the window');

# In several sessions at once, each with less than it takes.
$node->safe_psql('app', rolled_back('good', 10));
my @sessions = map { $node->background_psql('app') } 1 .. 3;
foreach my $session (@sessions, @sessions)
{
	$session->query("BEGIN; SELECT decide('bad'); ROLLBACK;");
}
ok(wait_until(\&is_killed), 'errors of several sessions add up');
$_->quit foreach @sessions;

# Errors that are thrown on.
revive();
$node->safe_psql('app', rolled_back('good', 10));
$node->psql('app', "SELECT decide('cancelled');\n" x 6, on_error_stop => 0);
ok(wait_until(\&is_killed), 'decisions that were cancelled count too');

# Rehearsals do not count, and nothing happens while it is off.
revive();
$node->safe_psql('app', "SET assignment_v3.enabled = off; SET assignment_v3.shadow = on;\n" . rolled_back('bad', 12));
no_worker();
ok(!is_killed(), 'rehearsals do not count');
$node->safe_psql('app', "SET assignment_v3.auto_rollback = off;\n" . rolled_back('bad', 12));
no_worker();
ok(!is_killed(), 'nothing happens while it is off');

# A breaker that opens does not hide the errors: what it keeps off is no decision.
$node->safe_psql('app', "SET assignment_v3.breaker_threshold = 5; SET assignment_v3.breaker_cooldown = 500;\n"
	. "SELECT decide('good');\n" x 10 . "SELECT decide('bad');\n" x 12 . "SELECT pg_sleep(0.6); SELECT decide('bad');");
ok(wait_until(\&is_killed), 'errors before and after a cool-down add up');
revive();

# Without a worker the session's next call does it.
$pooled->quit;
$open->quit;
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
$node->safe_psql('app', 'SELECT assignment_v3.revive(reason) FROM assignment_v3.kill_switch; DELETE FROM assignment_v3.error_samples');
$node->safe_psql('app', rolled_back('good', 10));
is($node->safe_psql('app', rolled_back('bad', 6) . $killed), "retry error\n" x 6 . '0', 'without a worker, and with every call rolled back, nothing is written');
is($node->safe_psql('app', rolled_back('bad', 6) . "SELECT decide('good');\n$killed;\nSELECT decide('good')"),
	"retry error\n" x 6 . "confirmed\n1\nnoop pipeline_disabled", 'the next call that commits writes the kill row');
is($node->safe_psql('app', "SELECT count(*) FROM observability_events WHERE event_type = 'rollout.killed'"), 5, '... and the event');

is_sound($node);
done_testing();
