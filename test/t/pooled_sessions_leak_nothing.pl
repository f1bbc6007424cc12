# Behind PgBouncer in transaction mode a server connection serves one client's transaction after the other's.  Whatever one of them does
# (a decision, an error, a cancel, a rollback, hanging up in the middle), the next one finds no lock, no right, no setting of it, unless
# it was set with a plain SET, which PostgreSQL keeps; and the kill row reaches a connection that was pooled long before.  It could
# fail by an advisory lock of the session, by rights, search_path or lock_timeout that outlive an error, by a flag that is read once per
# session, or by memory of a walk or a rehearsal that a transaction of another client's finds.
#
# app1 has one server connection, so that the next client surely gets the one that was used before; app4 has four, for a crowd.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use Pooler;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = new_node('pooling', 'autovacuum = off');
attach_pipeline($node, 'assignment_v3.max_parallel' => 2);
$node->safe_psql('app', <<'SQL');
SELECT make_floor(6, 20);
CREATE ROLE guest LOGIN;
GRANT USAGE ON SCHEMA assignment_v3 TO guest;
GRANT EXECUTE ON FUNCTION assignment_v3.process_booking(uuid, text) TO guest;
-- what the app's trigger makes of a confirmation, told by the guest's name
CREATE FUNCTION interfere() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.customer_name = 'sleeps' THEN PERFORM pg_sleep(2); END IF;
	IF NEW.customer_name = 'fails' THEN RAISE 'not this one'; END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER interfere BEFORE UPDATE ON bookings FOR EACH ROW WHEN (NEW.status = 'confirmed') EXECUTE FUNCTION interfere();
SQL
my $pooler = Pooler->new($node);

# ---------------------------------------------------------------------
# One server connection for everybody
# ---------------------------------------------------------------------
my $pid = $pooler->query('app1', 'SELECT pg_backend_pid()');
like($pid, qr/^\d+$/, 'a client reaches the server');
# as every client finds it: the same session, with nothing in it
my $clean = "$pid|postgres|\"\$user\", public|0|on|0";
my $condition = q{SELECT pg_backend_pid(), current_user, current_setting('search_path'), current_setting('lock_timeout'),
	current_setting('assignment_v3.enabled'), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')};

sub finds_nothing
{
	my ($after) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($pooler->query('app1', $condition), $clean, "after $after the next client finds nothing");
}

sub book { my ($restaurant, $hour, $guest) = @_; return $node->safe_psql('app', "SELECT book($restaurant, 2, $hour, '" . ($guest // '') . "')") }
sub decide { my ($id) = @_; return "SELECT outcome, coalesce(reason, '') FROM assignment_v3.process_booking('$id')" }
sub state_of { my ($id) = @_; return $node->safe_psql('app', "SELECT assignment_state, assignment_state_version FROM bookings WHERE id = '$id'") }
sub is_quiet { return wait_until(sub { $node->safe_psql('app', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") eq '0' }, 20) }

is($pooler->query('app1', decide(book(1, 8))), 'confirmed|', 'a booking is seated through the pool');
finds_nothing('a decision');
is($pooler->query('app1', decide(book(1, 9)), 'guest'), 'confirmed|', '... also for a role that may do nothing else');
finds_nothing('a decision of another role');
like($pooler->query('app1', 'SELECT assignment_v3.process_booking(NULL)'), qr/PT422/, 'a call that is refused');
finds_nothing('an error');
is($pooler->query('app1', decide(book(1, 10, 'fails'))), 'retry|error', 'a decision that meets an error of the app');
finds_nothing('an error inside a decision');
my $undone = book(1, 11);
is($pooler->query('app1', "BEGIN;\n" . decide($undone) . ";\nROLLBACK;"), 'confirmed|', 'a decision that is rolled back');
is(state_of($undone), 'created|1', '... was none');
finds_nothing('a rollback');
is($pooler->query('app1', "BEGIN;\nSAVEPOINT s;\n" . decide($undone) . ";\nROLLBACK TO s;\n" . decide($undone) . ";\nCOMMIT;"), "confirmed|\nconfirmed|",
	'a decision repeated after a savepoint');
finds_nothing('a savepoint');

my $slow = book(2, 8, 'sleeps');
like($pooler->query('app1', "BEGIN;\nSET LOCAL statement_timeout TO '200ms';\n" . decide($slow) . ";\nROLLBACK;"), qr/57014.*statement timeout/,
	'a decision that takes too long');
finds_nothing('a time-out');
my $said = '';
my $client = $pooler->start('app1', decide($slow), \$said);
ok(wait_until(sub { $node->safe_psql('app', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND wait_event = 'PgSleep'") }, 20),
	'a decision is in the middle');
$client->signal('INT');
$client->finish;
like($said, qr/57014.*user request/, '... when its client cancels it');
is(state_of($slow), 'created|1', '... and leaves nothing');
finds_nothing('a cancel');
$pooler->query('app1', 'DISCARD ALL');
is($pooler->query('app1', decide(book(2, 10))), 'confirmed|', 'a session whose plans were discarded makes new ones');

# ---------------------------------------------------------------------
# Flags
# ---------------------------------------------------------------------
my $flagged = book(2, 12);
is($pooler->query('app1', "BEGIN;\nSET LOCAL assignment_v3.enabled TO off;\n" . decide($flagged) . ";\nCOMMIT;"), 'noop|pipeline_disabled',
	'SET LOCAL is for one transaction');
finds_nothing('SET LOCAL');
is($pooler->query('app1', decide($flagged)), 'confirmed|', '... and the next one has its own mind');
$pooler->query('app1', 'SET assignment_v3.enabled TO off');
is($pooler->query('app1', decide(book(2, 13))), 'noop|pipeline_disabled', 'a plain SET is left to whoever comes next: that is PostgreSQL');
$pooler->query('app1', 'RESET assignment_v3.enabled');
finds_nothing('RESET');
like($pooler->query('app1', "SET assignment_v3.enabled TO off", 'guest'), qr/42501/, '... and not for everybody');

# The kill row reaches a session that was pooled before it.
my @later = map { book(3, 8 + $_) } 0 .. 4;
is($pooler->query('app1', decide($later[0])), 'confirmed|', 'a session that has worked before');
$node->safe_psql('app', "SELECT assignment_v3.kill('drill')");
is($pooler->query('app1', decide($later[1])), 'noop|pipeline_disabled', '... obeys the kill row at its next call');
is(state_of($later[1]), 'created|1', '... and does nothing');
finds_nothing('a kill');
$node->safe_psql('app', "SELECT assignment_v3.revive('drill')");
is($pooler->query('app1', decide($later[1])), 'confirmed|', '... as well as its end');
foreach my $level ('READ COMMITTED', 'REPEATABLE READ')
{
	my $in_transaction = $node->background_psql('app', extra_params => [ '-d', $pooler->connstr('app1') ]);
	my ($first, $second) = $level eq 'READ COMMITTED' ? @later[ 2, 3 ] : ($later[3], $later[4]);
	$in_transaction->query_safe("BEGIN ISOLATION LEVEL $level");
	is($in_transaction->query_safe(decide($first)), 'confirmed|', "a transaction ($level) that is open");
	$node->safe_psql('app', "SELECT assignment_v3.kill('drill')");
	is($in_transaction->query_safe(decide($second)), 'noop|pipeline_disabled', '... obeys it too');
	$in_transaction->query_safe('COMMIT');
	$in_transaction->quit;
	$node->safe_psql('app', "SELECT assignment_v3.revive('drill')");
}
finds_nothing('all that');

# Rows are read at each call, settings of the database when a connection is made.
my $rolled = book(4, 8);
$node->safe_psql('app', "INSERT INTO assignment_v3.rollout (restaurant_id, mode) VALUES (test_id('a', 4), 'disabled')");
is($pooler->query('app1', decide($rolled)), 'noop|pipeline_disabled', 'a rollout row reaches a pooled session at its next call');
$node->safe_psql('app', "DELETE FROM assignment_v3.rollout");
$node->safe_psql('app', 'ALTER DATABASE app SET assignment_v3.enabled TO off');
is($pooler->query('app1', decide($rolled)), 'confirmed|', 'ALTER DATABASE does not');
$pooler->query('pgbouncer', 'RECONNECT app1');
isnt($pooler->query('app1', 'SELECT pg_backend_pid()'), $pid, '... until the pooler has made new connections');
is($pooler->query('app1', decide(book(4, 10))), 'noop|pipeline_disabled', '... which have the new value');
$node->safe_psql('app', 'ALTER DATABASE app SET assignment_v3.enabled TO on');
$pooler->query('pgbouncer', 'RECONNECT');

# ---------------------------------------------------------------------
# Clients that hang up
# ---------------------------------------------------------------------
my $left = book(5, 8);
my $hung = $node->background_psql('app', extra_params => [ '-d', $pooler->connstr('app1') ]);
$hung->query_safe('BEGIN');
is($hung->query_safe(decide($left)), 'confirmed|', 'a client has decided and not committed');
isnt($node->safe_psql('app', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0, '... and has its locks');
$hung->{run}->signal('KILL');
$hung->{run}->finish;
ok(is_quiet(), '... when it is killed the locks are gone');
is(state_of($left), 'created|1', '... and the booking is as it was');
is($pooler->query('app1', decide($left)), 'confirmed|', '... until the next client decides');

# In the middle of its only statement: PostgreSQL may finish what nobody waits for any more, but not by halves.
$left = book(5, 10, 'sleeps');
$client = $pooler->start('app1', decide($left), \$said);
ok(wait_until(sub { $node->safe_psql('app', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") }, 20), 'a client waits for its decision');
$client->signal('KILL');
$client->finish;
ok(is_quiet(), '... when it is killed the locks are gone');
my $ended = state_of($left);
note("after its client was killed the booking is $ended");
ok($ended eq 'created|1' || $ended eq 'confirmed|6', '... and the booking is either as it was or confirmed') or diag($ended);
$node->safe_psql('app', "UPDATE bookings SET customer_name = NULL WHERE id = '$left'");
like($pooler->query('app1', decide($left)), $ended eq 'created|1' ? qr/^confirmed\|/ : qr/^noop\|already_confirmed/, '... and the repeated call is answered');
is_sound($node);

# ---------------------------------------------------------------------
# A crowd over four server connections
# ---------------------------------------------------------------------
# Four restaurants with two slots each and parties that find a table; the app's trigger counts the slots that are out.
$node->safe_psql('app', <<'SQL');
CREATE TABLE seen (pid int, restaurant uuid, slots bigint);
CREATE FUNCTION count_slots() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(0.002);
	INSERT INTO seen
	SELECT pg_backend_pid(), NEW.restaurant_id, count(*) FROM pg_locks l
	WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid & 65535 BETWEEN 41761 AND 41780
		AND l.classid::bigint = (uuid_hash_extended(NEW.restaurant_id, 0) >> 32) & 4294967295
		AND l.objid::bigint = uuid_hash_extended(NEW.restaurant_id, 0) & 4294967295;
	RETURN NULL;
END
$$;
CREATE TRIGGER count_slots AFTER UPDATE ON bookings FOR EACH ROW WHEN (NEW.status = 'confirmed' AND OLD.status <> 'confirmed') EXECUTE FUNCTION count_slots();
DELETE FROM bookings WHERE status <> 'confirmed';
CREATE TABLE todo (n bigint PRIMARY KEY, booking uuid NOT NULL);
INSERT INTO todo SELECT n, book(1 + n % 2, 1 + n % 4, 48 + n / 10) FROM generate_series(1, 480) n;
CREATE SEQUENCE turn;
SQL
# crowd(name, protocol, sql): 20 clients that run each of these scripts a few times; an error ends pgbench with another status than 0.
sub crowd
{
	my ($name, $protocol, $times, @scripts) = @_;
	my @files = map { "$pooler->{host}/script$_.sql" } 0 .. $#scripts;

	foreach my $n (0 .. $#scripts) { unlink $files[$n]; append_to_file($files[$n], "$scripts[$n]\n"); }
	return command_ok([ 'pgbench', '-n', (map { ('-f', $_) } @files), '-M', $protocol, '-c', 20, '-j', 2, '-t', $times, $pooler->connstr('app4') ], $name);
}

my $next = "assignment_v3.process_booking((SELECT booking FROM todo WHERE n = (SELECT nextval('turn'))))";
foreach my $protocol ('simple', 'extended', $pooler->keeps_prepared ? 'prepared' : 'simple')
{
	crowd("20 clients call at once, protocol $protocol", $protocol, 8, "SELECT outcome FROM $next;");
}
is($node->safe_psql('app', 'SELECT last_value FROM turn'), 480, 'each booking was asked for');
my $first_round = $node->safe_psql('app', "SELECT count(*) FROM bookings b JOIN todo t ON t.booking = b.id WHERE b.status = 'confirmed'");
note("$first_round of 480 seated by the crowd, the rest was turned away for want of a slot");
# no-ops are for what the queue still has of the bookings deleted above
like($pooler->query('app4', 'CALL assignment_v3.run()'), qr/^\d+\|\d+\|0\|0\|\d+\|0$/, 'run() works off the rest, through the pool');
is($node->safe_psql('app', "SELECT string_agg(DISTINCT b.status, ' ') FROM bookings b JOIN todo t ON t.booking = b.id"), 'confirmed', 'everybody is seated');
is($node->safe_psql('app', 'SELECT max(slots) FROM seen'), 2, 'both slots of a restaurant were taken, never a third');
cmp_ok($node->safe_psql('app', 'SELECT count(DISTINCT pid) FROM seen'), '<=', 4, 'by no more than four server connections');
# Half of the crowd has its own mind about the flag, transaction by transaction: a division by zero tells who meets the other's.
my $asked = "assignment_v3.process_booking((SELECT booking FROM todo WHERE n = 1))";
crowd('SET LOCAL of some clients never reaches the others', 'extended', 10,
	"BEGIN;\nSET LOCAL assignment_v3.enabled TO off;\nSELECT 1 / (mode = 'disabled')::int FROM $asked;\nCOMMIT;",
	"SELECT 1 / (mode = 'active')::int FROM $asked;");
$node->safe_psql('app', "SELECT assignment_v3.kill('drill')");
crowd('a kill reaches all four server connections', 'extended', 4, "SELECT 1 / (reason = 'pipeline_disabled')::int FROM $asked;");
$node->safe_psql('app', "SELECT assignment_v3.revive('drill')");
crowd('... and so does its end', 'extended', 4, "SELECT 1 / (mode = 'active')::int FROM $asked;");
is($node->safe_psql('app', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0, 'no lock is left');
is_sound($node);

$pooler->stop;
$node->stop;
done_testing();
