# An update has three steps: new files, ALTER EXTENSION UPDATE, attach().  Sessions of all ages meet all of them, and the library of
# one version the declarations and the tables of the other.  Whatever the order, the app's own writes must go on, no session may
# crash, and decisions are right or one error that says what to do next; after attach() and a new connection all is well.  It
# could fail where a C function fills a row type that has got another column, or takes tables for what its version knows.
#
# The second version is made here: the decision has one column more, the queue has one, and a trigger fires at other times.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Copies;
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;

my ($first) = slurp_file('assignment_v3.control') =~ /^default_version *= *'(.*)'/m;
my $second = '99.0.0';

sub change_file
{
	my ($file, $from, $to) = @_;
	my $text = slurp_file($file);

	$text =~ s/$from/$to/ or die "$file has nothing like $from\n";
	open(my $handle, '>', $file) or die "could not write $file: $!\n";
	print $handle $text;
	close($handle) or die "could not write $file: $!\n";
	return;
}

sub make_second_version
{
	my ($dir) = @_;
	my ($columns) = slurp_file("$dir/src/drain.c") =~ /#define DECISION_COLUMNS (\d+)/;

	change_file("$dir/assignment_v3.control", qr/^default_version.*$/m, "default_version = '$second'");
	change_file("$dir/src/drain.c", qr/#define DECISION_COLUMNS \d+/, '#define DECISION_COLUMNS ' . ($columns + 1));
	change_file("$dir/src/drain.c", qr/(?=\tmemset\(nulls, 0, sizeof\(bool\) \* DECISION_COLUMNS\);)/,
		"\tvalues[$columns] = CStringGetTextDatum(\"of the second version\");\n");
	open(my $script, '>', "$dir/sql/assignment_v3--$first--$second.sql") or die "could not write the script: $!\n";
	print $script <<'SQL';
\echo Use "ALTER EXTENSION assignment_v3 UPDATE" to load this file. \quit
SET LOCAL search_path TO pg_catalog, pg_temp;
ALTER TYPE assignment_v3.decision ADD ATTRIBUTE remark text;
ALTER FUNCTION assignment_v3.attach_columns_own() RENAME TO attach_columns_own_first;
CREATE FUNCTION assignment_v3.attach_columns_own()
RETURNS TABLE (relation text, name text, type text, definition text, adopt text, comment text)
LANGUAGE sql IMMUTABLE SET search_path TO pg_catalog, pg_temp AS $$
	SELECT * FROM assignment_v3.attach_columns_own_first()
	UNION ALL VALUES ('queue', 'remark', 'text', '', 'added', 'What is new')
$$;
REVOKE ALL ON FUNCTION assignment_v3.attach_columns_own() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION assignment_v3.attach_columns_own() TO @extowner@ WITH GRANT OPTION;
ALTER FUNCTION assignment_v3.attach_triggers() RENAME TO attach_triggers_first;
CREATE FUNCTION assignment_v3.attach_triggers()
RETURNS TABLE (relation text, name text, timing text, events text, level text, function text)
LANGUAGE sql IMMUTABLE SET search_path TO pg_catalog, pg_temp AS $$
	SELECT relation, name, timing, CASE name WHEN 'zzz_assignment_v3_record' THEN 'INSERT OR UPDATE' ELSE events END,
		level, function
	FROM assignment_v3.attach_triggers_first() WHERE name <> 'zzz_assignment_v3_enqueue'
$$;
REVOKE ALL ON FUNCTION assignment_v3.attach_triggers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION assignment_v3.attach_triggers() TO @extowner@ WITH GRANT OPTION;
SQL
	close($script) or die "could not write the script: $!\n";
	return;
}

my ($pg_config) = map { chomp; "$_/pg_config" } `pg_config --bindir`;
my $prefix = private_installation($pg_config, 1);

my $node = new_node('updated', undef, install_path => $prefix);
owned_app($node, 'shop');
my $log = -s $node->logfile;

# A session of the owner; ask() answers with what a statement returns or with its error.
sub session
{
	my $session = $node->background_psql('shop', on_error_stop => 0, extra_params => [ '-U', 'shop' ]);
	$session->query_safe('SET client_min_messages TO error');
	$session->query('\set VERBOSITY verbose');
	return $session;
}

sub ask
{
	my ($session, $sql) = @_;
	my $answer;

	$session->{stderr} = '';
	$answer = $session->query($sql);
	return $session->{stderr} =~ /(ERROR:.*?)\nLOCATION/s ? $1 : $answer;
}

my $hour = 200;

# A booking as the app makes it, changes it and calls it off; then what becomes of another one.
sub app_writes
{
	my ($session, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$hour += 3;
	is(ask($session, "INSERT INTO bookings (restaurant_id, party_size, start_at, end_at, customer_name)
		SELECT test_id('a', 1), 2, now() + '$hour hours', now() + '${\($hour + 1)} hours', 'w$hour' RETURNING assignment_state_version"), 1,
		"$name: the app can book");
	is(ask($session, "UPDATE bookings SET party_size = 3 WHERE customer_name = 'w$hour' RETURNING assignment_state_version"), 2, "$name: ... and change it");
	is(ask($session, "UPDATE bookings SET status = 'cancelled' WHERE customer_name = 'w$hour' RETURNING assignment_state_version"), 3, "$name: ... and call it off");
	return;
}

sub decides
{
	my ($session) = @_;

	$hour += 3;
	return ask($session, "SELECT outcome FROM assignment_v3.process_booking(book(1, 2, $hour), 'test')");
}

# ---------------------------------------------------------------------
# Before
# ---------------------------------------------------------------------
my %session = map { $_ => session() } 'old', 'idle';
app_writes($session{old}, 'before');
is(decides($session{old}), 'confirmed', 'before: a booking is seated');
is($node->safe_psql('shop', 'SELECT assignment_v3.library_version()'), $first, 'before: the library is of the first version');

# ---------------------------------------------------------------------
# New files
# ---------------------------------------------------------------------
install_extension($prefix, \&make_second_version);
app_writes($session{old}, 'new files, old session');
is(decides($session{old}), 'confirmed', 'new files, old session: goes on as before');
$session{files} = session();
app_writes($session{files}, 'new files, new session');
is(ask($session{files}, 'SELECT assignment_v3.library_version()'), $second, '... has the second library');
like(decides($session{files}), qr/55000: version $second of the library.*not that of extension.*Reconnect,.*if that does not help, run ALTER EXTENSION assignment_v3 UPDATE/s,
	'... whose decisions ask for ALTER EXTENSION UPDATE');
is(ask($session{files}, 'SELECT mode FROM assignment_v3.mode()'), 'active', '... while what is the same in both is answered');
like(ask($session{files}, q{SELECT string_agg(item || ': ' || detail, '; ') FROM assignment_v3.status() WHERE item IN ('library version', 'attached')}),
	qr/library version: differs from the extension: run ALTER EXTENSION/, '... and status() says it too');

# ---------------------------------------------------------------------
# ALTER EXTENSION UPDATE, by the plain owner
# ---------------------------------------------------------------------
is($node->safe_psql('shop', "ALTER EXTENSION assignment_v3 UPDATE; SELECT extversion FROM pg_extension WHERE extname = 'assignment_v3'", extra_params => [ '-U', 'shop' ]),
	$second, 'ALTER EXTENSION UPDATE');
$session{updated} = session();
foreach my $age (qw(old files updated))
{
	app_writes($session{$age}, "updated, session '$age'");
}
like(decides($session{old}), qr/55000: version $first of the library.*Reconnect/s, 'updated, old session: must reconnect');
like(ask($session{old}, 'SELECT * FROM assignment_v3.process_due()'), qr/55000: version $first of the library.*Reconnect/s, '... whichever way it decides');
foreach my $age (qw(files updated))
{
	like(decides($session{$age}), qr/55000: version $first of assignment_v3 is attached.*has loaded version $second.*Run SELECT \* FROM assignment_v3\.attach\(\) again/s,
		"updated, session '$age': decisions ask for attach()");
	like(ask($session{$age}, 'CALL assignment_v3.run()'), qr/55000: .*attach\(\) again/s, '... run() too');
}
like($node->safe_psql('shop', q{SELECT detail FROM assignment_v3.status() WHERE item = 'attached'}), qr/with version \Q$first\E: run attach\(\) again/, '... status() too');
is($node->safe_psql('shop', "DO \$\$BEGIN PERFORM assignment_v3.kill('update'); END\$\$; SELECT outcome, reason FROM assignment_v3.process_booking(book(1, 2, 195));
	DO \$\$BEGIN PERFORM assignment_v3.revive('update'); END\$\$"), 'noop|pipeline_disabled', '... and the kill switch works');

# ---------------------------------------------------------------------
# attach()
# ---------------------------------------------------------------------
my @steps = split(/\n/, $node->safe_psql('shop', 'SELECT action, object FROM assignment_v3.attach()', extra_params => [ '-U', 'shop' ]));
ok((grep { /added\|column assignment_v3\.queue\.remark|added\|column remark/ } @steps), 'attach() adds what is new') or diag(join("\n", @steps));
ok((grep { /zzz_assignment_v3_record/ } @steps), '... replaces the trigger');
ok((grep { /^bound\|schema public/ } @steps), '... and binds the schema as the second version');
$session{new} = session();
foreach my $age (qw(files updated new))
{
	app_writes($session{$age}, "attached, session '$age'");
	is(decides($session{$age}), 'confirmed', '... seats again');
}
$hour += 3;
is(ask($session{new}, "SELECT remark FROM assignment_v3.process_booking(book(1, 2, $hour))"), 'of the second version', '... as the second version does');
app_writes($session{old}, 'attached, old session');
like(decides($session{old}), qr/55000: .*Reconnect/s, '... still must reconnect to decide');
like(ask($session{old}, "SELECT assignment_v3.requeue(id) FROM bookings WHERE assignment_state = 'manual_review' LIMIT 1"),
	qr/55000: version $second of assignment_v3 is attached.*must reconnect/s, '... or to do anything else');
# this one has been connected all the time, but has not called anything yet
app_writes($session{idle}, 'attached, idle session');
is(decides($session{idle}), 'confirmed', '... loads the second library when it needs one');

$node->safe_psql('shop', 'UPDATE assignment_v3.queue SET due_at = now(); CALL assignment_v3.run()');
is($node->safe_psql('shop', 'SELECT * FROM assignment_v3.verify()'), '', 'verify() finds nothing after all this');
is($node->safe_psql('shop', "SELECT count(*) FROM booking_assignment_attempts WHERE reason = 'error'"), 0, '... and no booking has paid for it');
unlike(substr(slurp_file($node->logfile), $log), qr/terminated by signal|PANIC/, 'nothing crashed');
$_->quit foreach values %session;
$node->stop;
done_testing();
