# What the pipeline knows is in tables and what it is told is in the database's settings: queue, due times, attempts, an open breaker
# and the flags survive a restart, a fast one and a crash, without the library being preloaded.  The flags could be lost because
# a setting stored before the library is loaded is a mere placeholder, checked and granted only when it is; then a bad value
# or one set by somebody without the right must be dropped, and a good one must hold, in whichever order things are loaded.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('restart', 'autovacuum = off');
attach_pipeline($node,
	'assignment_v3.max_parallel' => 7,
	'assignment_v3.retry_base_delay' => '200ms',
	'assignment_v3.retry_jitter' => 0,
	'assignment_v3.breaker_cooldown' => '1h');
my $flags = "SELECT string_agg(name || '=' || setting || ' by ' || source, ', ' ORDER BY name) FROM pg_settings
	WHERE name IN ('assignment_v3.enabled', 'assignment_v3.max_parallel', 'assignment_v3.shadow')";
my $loaded = "LOAD 'assignment_v3';";
my $expected_flags = 'assignment_v3.enabled=on by database, assignment_v3.max_parallel=7 by database, assignment_v3.shadow=off by default';

# One booking waits, one has failed twice, one restaurant's breaker is open.
$node->safe_psql('app', <<'SQL');
SELECT make_floor(3, 2);
SELECT book(1, 2, 19, 'waits');
SELECT book(2, 500, 19, 'fails');
SELECT book(3, 2, 19, 'poisoned');
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'poisoned'; END$$;
CREATE TRIGGER poison BEFORE UPDATE ON bookings FOR EACH ROW WHEN (NEW.customer_name = 'poisoned' AND NEW.status = 'confirmed')
	EXECUTE FUNCTION poison();
SET assignment_v3.breaker_threshold = 1;
CALL assignment_v3.run(NULL, test_id('a', 3));
SELECT pg_sleep(0.25);
CALL assignment_v3.run(NULL, test_id('a', 2));
SELECT pg_sleep(0.45);
CALL assignment_v3.run(NULL, test_id('a', 2));
SQL
my $state = "SELECT md5(string_agg(r, ' ' ORDER BY r)) FROM (
	SELECT q::text AS r FROM assignment_v3.queue q UNION ALL SELECT c::text FROM assignment_v3.circuits c
	UNION ALL SELECT a::text FROM booking_assignment_attempts a UNION ALL SELECT b::text FROM bookings b
	UNION ALL SELECT m::text FROM assignment_v3.mode() m) s";
my $before = $node->safe_psql('app', $state);

is($node->safe_psql('app', 'SELECT count(*) FROM assignment_v3.queue'), 3, 'three bookings are queued');
is($node->safe_psql('app', "SELECT max(attempt_no) FROM booking_assignment_attempts JOIN bookings b ON b.id = booking_id
	WHERE customer_name = 'fails'"), 2, 'one has failed twice');
is($node->safe_psql('app', 'SELECT count(*) FROM assignment_v3.circuits WHERE open_until > now()'), 1, 'one breaker is open');
is($node->safe_psql('postgres', 'SHOW shared_preload_libraries'), '', 'the library is not preloaded');

foreach my $mode ('fast', 'immediate')
{
	$node->stop($mode);
	$node->start;
	is($node->safe_psql('app', $state), $before, "all is as before a restart ($mode)");
	is($node->safe_psql('app', "$loaded $flags"), $expected_flags, "... the flags too ($mode)");
	is($node->safe_psql('app', 'SELECT mode, reason FROM assignment_v3.mode()'), 'active|enabled', "... which work without LOAD ($mode)");
}

# The retry goes on from its second attempt, the breaker is still open.
$node->safe_psql('app', "UPDATE assignment_v3.queue SET due_at = now()");
$node->safe_psql('app', 'CALL assignment_v3.run()');
is($node->safe_psql('app', "SELECT max(attempt_no) FROM booking_assignment_attempts JOIN bookings b ON b.id = booking_id
	WHERE customer_name = 'fails'"), 3, 'a retry goes on with its third attempt');
is($node->safe_psql('app', "SELECT status FROM bookings WHERE customer_name = 'waits'"), 'confirmed', 'who waited is seated');
is($node->safe_psql('app', "SELECT count(*) FROM observability_events WHERE event_type = 'coordinator.circuit_open'"), 1,
	'the breaker stayed open');
is_sound($node);

# In what order things are loaded.  Each script is a session of its own.
sub answer
{
	my ($sql, %params) = @_;
	my ($stdout, $stderr);

	$node->psql('app', $sql, stdout => \$stdout, stderr => \$stderr, %params);
	return "$stdout / $stderr";
}
my $mode = 'SELECT mode FROM assignment_v3.mode();';
$node->safe_psql('app', 'CREATE ROLE anon LOGIN; GRANT USAGE ON SCHEMA assignment_v3 TO anon;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA assignment_v3 TO anon');

is(answer("SET assignment_v3.enabled TO off; $mode"), 'disabled / ', 'SET before the library is loaded');
is(answer("$loaded SET assignment_v3.enabled TO off; $mode"), 'disabled / ', 'SET after');
is(answer("BEGIN; SET LOCAL assignment_v3.enabled TO off; $mode COMMIT; $mode"), "disabled\nactive / ", 'SET LOCAL before, for a transaction');
is(answer("SET assignment_v3.enabled TO off; RESET assignment_v3.enabled; $mode"), 'active / ', 'RESET before gives back what is stored');
like(answer("SET assignment_v3.enabled TO banana; $mode SHOW assignment_v3.enabled"),
	qr{^active\non / .*WARNING:.*assignment_v3\.enabled}s, 'a bad value is dropped with a warning when the library is loaded');
like(answer("$loaded SET assignment_v3.enabled TO banana", on_error_stop => 0), qr/ERROR:.*requires a Boolean value/, '... and refused afterwards');
like(answer("SET assignment_v3.max_parallel TO 0; $mode SHOW assignment_v3.max_parallel"),
	qr{^active\n7 / .*WARNING:.*0 is outside the valid range}s, 'max_parallel = 0 likewise');
like(answer("SET assignment_v3.unheard_of TO 1; $mode", on_error_stop => 0), qr{^active / .*WARNING:.*unheard_of}s,
	'a flag that is none is pointed out');
like(answer("SET assignment_v3.enabled TO off; $mode", extra_params => [ '-U', 'anon' ]),
	qr{^active / .*WARNING:.*permission denied to set parameter "assignment_v3\.enabled"}s, 'what anon set before is dropped');
like(answer("$loaded SET assignment_v3.enabled TO off", extra_params => [ '-U', 'anon' ], on_error_stop => 0),
	qr/permission denied to (set parameter|load)|access to library "assignment_v3" is not allowed/, '... and what he sets afterwards refused');
like(answer("$mode SET assignment_v3.enabled TO off", extra_params => [ '-U', 'anon' ], on_error_stop => 0),
	qr/permission denied to set parameter "assignment_v3\.enabled"/, '... however it was loaded');

# Stored per role, per database, and for everybody in the configuration file; the nearest wins.
$node->safe_psql('app', 'ALTER ROLE anon SET assignment_v3.enabled TO off');
is(answer($mode, extra_params => [ '-U', 'anon' ]), 'disabled / ', 'ALTER ROLE SET weighs more than the database');
is(answer($mode), 'active / ', '... and is that role\'s alone');
$node->safe_psql('postgres', q{ALTER DATABASE app SET assignment_v3.max_parallel = 'banana'});
like(answer("$mode SELECT value, detail FROM assignment_v3.status() WHERE item = 'assignment_v3.max_parallel' ORDER BY detail"),
	qr{^active\n3\|.*\nbanana\|ignored: not a valid value / .*WARNING}s, 'status() shows a bad value that was stored unchecked');
$node->safe_psql('postgres', 'ALTER DATABASE app RESET assignment_v3.max_parallel');
$node->append_conf('postgresql.conf', "assignment_v3.max_parallel = 11\nassignment_v3.enabled = off");
$node->reload;
is(answer("$loaded $flags"), 'assignment_v3.enabled=on by database, assignment_v3.max_parallel=11 by configuration file, '
	. 'assignment_v3.shadow=off by default / ', 'the configuration file fills in what the database leaves open');

# Preloaded, everything is the same; a bad value in the file doesn't keep the server from starting.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'assignment_v3'\nassignment_v3.max_tables = 77");
$node->restart;
is(answer($flags), 'assignment_v3.enabled=on by database, assignment_v3.max_parallel=11 by configuration file, '
	. 'assignment_v3.shadow=off by default / ', 'preloaded, the flags are the same');
is(answer("$mode SHOW assignment_v3.max_tables"), "active\n3 / ", '... and a bad one in the file does no harm');
$node->safe_psql('app', "SELECT book(1, 2, 22, 'late'); CALL assignment_v3.run()");
is($node->safe_psql('app', "SELECT status FROM bookings WHERE customer_name = 'late'"), 'confirmed', '... and bookings are seated');
is_sound($node);
$node->stop;
done_testing();
