# On the tables of a live app, while its own writers confirm, move, cancel, strip, block and delete as they like, four of our
# clients must not have one failed transaction, and no writer of the app may be the victim of a deadlock that one of ours
# is part of; whatever the interleaving, no table is taken twice in either ledger, and the trail is sound.  It could fail by a
# lock that a decision waits for longer than the app's deadlock check, in the app's own triggers and constraints too, by an
# error of another writer's making that gets through, or by one ledger that is written without the other.
#
# The app's writers wait inside their transactions, so that locks are held while others come; they may well deadlock among
# themselves, or lose a race.  The server log tells who was the victim, and of whom.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;

my $bench = "$FindBin::RealBin/../../bench";
my $seconds = 10;
my $node = new_node('live', <<'CONF');
log_connections = on
log_lock_waits = off
autovacuum_naptime = 1s
CONF

$node->safe_psql('postgres', 'CREATE DATABASE app');
command_ok([ 'psql', '-Xq', '-d', $node->connstr('app'), '-f', "$bench/live_app.sql" ], 'the app was there first');
command_ok([ 'psql', '-Xq', '-d', $node->connstr('app'), '-f', "$bench/peer_live.sql" ], 'with its own way to confirm');
$node->safe_psql('app', <<'SQL');
CREATE EXTENSION assignment_v3;
SELECT count(*) FROM assignment_v3.attach();
ALTER DATABASE app SET assignment_v3.enabled TO on;
ALTER DATABASE app SET assignment_v3.max_attempts TO 100;
SQL

# Two restaurants with 30 tables and 120 bookings each, all on one evening, which is about what they can take.  A trigger of
# the app makes each seating last long enough for others to come.
$node->safe_psql('app', <<'SQL');
CREATE SCHEMA scene;
CREATE FUNCTION scene.id(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
RETURN (kind || '0000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid;
INSERT INTO restaurants (id, name, timezone) SELECT scene.id('a', r), 'Restaurant ' || r, 'UTC' FROM generate_series(1, 2) AS r;
INSERT INTO zones (id, restaurant_id, name) SELECT scene.id('c', r), scene.id('a', r), 'Hall' FROM generate_series(1, 2) AS r;
INSERT INTO table_inventory (id, restaurant_id, zone_id, table_number, capacity)
SELECT scene.id('d', r * 100 + t), scene.id('a', r), scene.id('c', r), t, 2 + 2 * (t % 3)
FROM generate_series(1, 2) AS r, generate_series(1, 30) AS t;
INSERT INTO table_adjacencies (table_a, table_b)
SELECT scene.id('d', r * 100 + t), scene.id('d', r * 100 + t + 1) FROM generate_series(1, 2) AS r, generate_series(1, 29) AS t;
CREATE FUNCTION scene.book(n int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO bookings (id, restaurant_id, party_size, booking_date, start_time, end_time)
	VALUES (scene.id('b', n), scene.id('a', 1 + n % 2), 1 + n % 7, current_date + 1, time '17:00' + n % 16 * interval '15 minutes',
		time '17:00' + (n % 16 + 4) * interval '15 minutes')
	ON CONFLICT DO NOTHING;
$$;
SELECT count(scene.book(n)) FROM generate_series(1, 240) AS n;
INSERT INTO bookings (restaurant_id, party_size, start_at, end_at, status)
VALUES (scene.id('a', 1), 2, now() - interval '3 hours', now() - interval '1 hour', 'completed');

-- What the app's writers do to booking n, t being any number.  Races they may lose; deadlocks are left to the server's log.
-- The bookings that all of them look at first, one of these, and the table that anybody would give to it.
CREATE FUNCTION scene.waiting() RETURNS uuid LANGUAGE sql VOLATILE AS $$
	SELECT id FROM (SELECT id FROM bookings WHERE status = 'pending' AND assignment_state < 'assigned' ORDER BY start_at, id LIMIT 8) AS first
	ORDER BY random() LIMIT 1
$$;
CREATE FUNCTION scene.table_for(b bookings) RETURNS uuid LANGUAGE sql VOLATILE AS $$
	SELECT t.id FROM table_inventory AS t
	WHERE t.restaurant_id = b.restaurant_id AND t.capacity >= b.party_size AND NOT EXISTS (
		SELECT FROM booking_table_assignments AS a WHERE a.table_id = t.id AND a.start_at < b.end_at AND a.end_at > b.start_at)
	ORDER BY t.capacity, length(t.table_number), t.table_number LIMIT 1
$$;
CREATE FUNCTION scene.linger() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(0.02 * random())';
CREATE FUNCTION scene.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END$$;
CREATE TRIGGER dawdle BEFORE INSERT ON booking_table_assignments FOR EACH ROW EXECUTE FUNCTION scene.dawdle();
CREATE PROCEDURE scene.confirm_by_hand(booking_first boolean) LANGUAGE plpgsql AS $$
DECLARE
	b bookings;
	t uuid;
BEGIN
	SELECT * INTO b FROM bookings WHERE id = scene.waiting();
	t := scene.table_for(b);
	IF t IS NULL OR EXISTS (SELECT FROM booking_table_assignments WHERE booking_id = b.id) THEN
		RETURN;
	END IF;
	IF booking_first THEN
		PERFORM FROM bookings WHERE id = b.id AND status = 'pending' FOR UPDATE;
		PERFORM scene.linger();
	END IF;
	INSERT INTO allocations (booking_id, restaurant_id, resource_type, resource_id, "window")
	VALUES (b.id, b.restaurant_id, 'table', t, tstzrange(b.start_at, b.end_at));
	PERFORM scene.linger();
	INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at) VALUES (b.id, t, b.start_at, b.end_at);
	PERFORM scene.linger();
	UPDATE bookings SET status = 'confirmed' WHERE id = b.id AND status = 'pending' AND start_at = b.start_at AND end_at = b.end_at
		AND party_size = b.party_size;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'somebody else was faster';
	END IF;
	SET CONSTRAINTS ALL IMMEDIATE;
END;
$$;
-- takes the table that the booking would get, in one ledger or the other, then wants the booking, and thinks better of it
CREATE PROCEDURE scene.take_away(in_both boolean) LANGUAGE plpgsql AS $$
DECLARE
	b bookings;
	t uuid;
BEGIN
	SELECT * INTO b FROM bookings WHERE id = scene.waiting();
	t := scene.table_for(b);
	IF in_both THEN
		INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at)
		SELECT id, t, b.start_at, b.end_at FROM bookings WHERE status = 'completed' AND t IS NOT NULL;
	ELSE
		INSERT INTO allocations (restaurant_id, resource_type, resource_id, "window", is_maintenance)
		VALUES (b.restaurant_id, 'table', t, tstzrange(b.start_at, b.end_at), true);
	END IF;
	PERFORM scene.linger();
	UPDATE bookings SET notes = 'not there' WHERE id = b.id;
	RAISE EXCEPTION 'better not';
END;
$$;
CREATE PROCEDURE scene.confirm_hold(n int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM legacy.confirm_hold(id) FROM table_holds WHERE booking_id = scene.id('b', n);
	PERFORM scene.linger();
	SET CONSTRAINTS ALL IMMEDIATE;
END;
$$;
CREATE PROCEDURE scene.strip(n int) LANGUAGE plpgsql AS $$
DECLARE
	stripped boolean;
BEGIN
	UPDATE bookings SET status = 'pending' WHERE id = scene.id('b', n) AND status IN ('confirmed', 'cancelled');
	stripped := FOUND;
	PERFORM scene.linger();
	IF stripped THEN
		DELETE FROM booking_table_assignments WHERE booking_id = scene.id('b', n);
		DELETE FROM allocations WHERE booking_id = scene.id('b', n);
		DELETE FROM booking_assignment_idempotency WHERE booking_id = scene.id('b', n);
	END IF;
END;
$$;
CREATE PROCEDURE scene.move(n int, t int) LANGUAGE plpgsql AS $$
BEGIN
	UPDATE bookings SET start_time = time '17:00' + t % 16 * interval '15 minutes', end_time = time '17:00' + (t % 16 + 4) * interval '15 minutes'
	WHERE id = scene.id('b', n) AND status = 'pending';
	PERFORM scene.linger();
	UPDATE bookings SET party_size = 1 + t % 7 WHERE id = scene.id('b', n + 2);
END;
$$;
CREATE PROCEDURE scene.maintain(n int, t int) LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM allocations WHERE is_maintenance AND resource_id = scene.id('d', (1 + n % 2) * 100 + 1 + n % 30);
	PERFORM scene.linger();
	INSERT INTO allocations (restaurant_id, resource_type, resource_id, "window", is_maintenance)
	VALUES (scene.id('a', 1 + n % 2), 'table', scene.id('d', (1 + n % 2) * 100 + 1 + t % 30),
		tstzrange(current_date + 1 + time '17:00', current_date + 1 + time '17:30'), true);
	SET CONSTRAINTS ALL IMMEDIATE;
END;
$$;
-- rows of tables and of a booking, in an order of the app's own
CREATE PROCEDURE scene.refresh(n int, t int) LANGUAGE plpgsql AS $$
BEGIN
	UPDATE table_inventory SET position = '{}' WHERE id = scene.id('d', (1 + n % 2) * 100 + 1 + t % 30);
	PERFORM scene.linger();
	PERFORM FROM table_inventory WHERE id = scene.id('d', (1 + n % 2) * 100 + 1 + n % 30) FOR UPDATE;
	PERFORM scene.linger();
	UPDATE bookings SET notes = 'looked at' WHERE id = scene.id('b', n);
END;
$$;
CREATE PROCEDURE scene.hold(n int, t int) LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM table_holds WHERE booking_id = scene.id('b', n) OR expires_at < now();
	PERFORM legacy.create_hold(scene.id('b', n));
	UPDATE table_holds SET expires_at = now() + interval '1 second' WHERE booking_id = scene.id('b', n);
	UPDATE table_hold_windows SET expires_at = now() + interval '1 second' WHERE booking_id = scene.id('b', n);
END;
$$;
CREATE PROCEDURE scene.act(kind int, n int, t int) LANGUAGE plpgsql AS $$
BEGIN
	CASE kind
		WHEN 0 THEN CALL scene.confirm_by_hand(false);
		WHEN 1 THEN CALL scene.confirm_by_hand(true);
		WHEN 2 THEN CALL scene.hold(n, t);
		WHEN 3 THEN CALL scene.strip(n);
		WHEN 4 THEN UPDATE bookings SET status = 'cancelled' WHERE id = scene.id('b', n); PERFORM scene.linger();
		WHEN 5 THEN CALL scene.move(n, t);
		WHEN 6 THEN CALL scene.maintain(n, t);
		WHEN 7 THEN CALL scene.refresh(n, t);
		WHEN 8 THEN DELETE FROM bookings WHERE id = scene.id('b', n); PERFORM scene.book(n);
		WHEN 9 THEN CALL scene.take_away(true);
		WHEN 10 THEN CALL scene.take_away(false);
	END CASE;
EXCEPTION
	WHEN exclusion_violation OR unique_violation OR check_violation OR raise_exception OR no_data_found
		OR foreign_key_violation OR not_null_violation OR SQLSTATE 'P0002' OR SQLSTATE 'P0003' THEN NULL;
END;
$$;
CREATE PROCEDURE scene.confirm(n int) LANGUAGE plpgsql AS $$
BEGIN
	CALL scene.confirm_hold(n);
EXCEPTION
	WHEN exclusion_violation OR unique_violation OR check_violation OR raise_exception OR no_data_found
		OR SQLSTATE 'P0002' OR SQLSTATE 'P0003' THEN NULL;
END;
$$;
SQL

my %scripts = (
	one => "SELECT outcome FROM assignment_v3.process_booking(coalesce(scene.waiting(), scene.id('b', 1)));\n",
	due => "SELECT count(*) FROM assignment_v3.process_due(10);\n",
	drain => "CALL assignment_v3.run(5);\n",
	act => "\\set kind random(0, 10)\n\\set n random(1, 240)\n\\set t random(1, 1000)\nCALL scene.act(:kind, :n, :t);\n",
	legacy => "\\set n random(1, 240)\nCALL scene.act(2, :n, 0);\nCALL scene.confirm(:n);\n");
my $dir = PostgreSQL::Test::Utils::tempdir;
append_to_file("$dir/$_", $scripts{$_}) foreach keys %scripts;

# start(name, clients, scripts): a pgbench that works for a while, with what it says.
sub start
{
	my ($name, $clients, @files) = @_;
	my $said = '';
	my $run = IPC::Run::start(
		[   'pgbench', '-n', '--failures-detailed', '-c', $clients, '-j', $clients, '-T', $seconds,
			(map { ('-f', "$dir/$_") } @files), $node->connstr('app') . " application_name=$name" ],
		'>', \$said, '2>&1');

	return { name => $name, run => $run, said => \$said };
}

my $log_start = -s $node->logfile;
my $log_of = sub { substr(slurp_file($node->logfile), $log_start) };
my @loads = (start('ours', 4, 'one@3', 'due@3', 'drain@1'), start('app', 5, 'act@6', 'legacy@2'));
my %ended = map { $_->{name} => [ $_->{run}->finish, ${ $_->{said} } ] } @loads;

ok($ended{ours}[0], 'our clients worked to the end') or diag($ended{ours}[1]);
like($ended{ours}[1], qr/^number of failed transactions: 0 /m, 'and had no failed transaction');
ok($ended{app}[0], 'so did the app, whose errors are races and deadlocks alone') or diag($ended{app}[1]);
note("$_: $ended{$_}[1]") foreach keys %ended;

unlike($log_of->(), qr/\] ours ERROR:/, 'nor does the server log have an error of theirs');

# Who is who, and each deadlock with its victim and all who were in it.
my $log = $log_of->();
my %name_of = $log =~ /\[(\d+)\][^\n]*connection authorized: [^\n]*application_name=(\w+)/g;
my ($among_the_app, @wronged) = (0);
while ($log =~ /\[(\d+)\][^\n]*ERROR:  deadlock detected\n(.*?)(?=\n\d{4}-|\z)(.*?HINT)/gs)
{
	my ($victim, $detail) = ($1, $2 . $3);
	my @others = grep { ($name_of{$_} // '') eq 'ours' } $detail =~ /Process (\d+) waits/g;
	if (@others && ($name_of{$victim} // '') eq 'app') { push @wronged, $detail }
	else { $among_the_app++ }
}
is(scalar(() = $log =~ /ERROR:  deadlock detected/g), $among_the_app + @wronged, 'every deadlock in the log was read');
is(join("\n", @wronged), '', 'no writer of the app was the victim of a deadlock with one of ours');
note("$among_the_app deadlocks among the app's own writers");

my %count = map { split(/\|/) } split(/\n/, $node->safe_psql('app', <<'SQL'));
SELECT event_type, count(*) FROM observability_events WHERE source = 'assignment.coordinator' GROUP BY event_type
UNION ALL SELECT 'external', count(*) FROM booking_assignment_state_history WHERE to_state = 'confirmed' AND metadata ? 'external'
UNION ALL SELECT 'contended', count(*) FROM observability_events
WHERE source = 'assignment.coordinator' AND context ->> 'reason' IN ('lock_contention', 'version_conflict')
SQL
note(join(', ', map { "$_ $count{$_}" } sort keys %count));
cmp_ok($count{'coordinator.confirmed'} // 0, '>', 50, 'the pipeline confirmed');
cmp_ok($count{external}, '>', 20, 'and so did the app');
cmp_ok($count{contended}, '>', 5, 'they met');
is($count{'coordinator.error'} // 0, 0, 'no decision met an error that it could not tell from a race');

is_sound($node);
is($node->safe_psql('app', <<'SQL'), '', 'no table is taken twice, in one ledger or the other');
WITH taken AS (
	SELECT 'assignments' AS ledger, id, table_id, tstzrange(start_at, end_at) AS span FROM booking_table_assignments
	UNION ALL
	SELECT 'allocations', id, resource_id, "window" FROM allocations WHERE NOT shadow
)
SELECT a.ledger, a.table_id, a.span, b.span FROM taken a JOIN taken b ON b.ledger = a.ledger AND b.table_id = a.table_id
	AND b.id > a.id AND b.span && a.span
SQL
is($node->safe_psql('app', <<'SQL'), '', 'what the pipeline has confirmed stands in both');
SELECT b.id, a.table_id, l.resource_id
FROM bookings b JOIN booking_table_assignments a ON a.booking_id = b.id
	FULL JOIN allocations l ON l.booking_id = a.booking_id AND l.resource_id = a.table_id AND l."window" = tstzrange(a.start_at, a.end_at)
WHERE (b.id IS NULL AND NOT l.is_maintenance OR l.id IS NULL)
SQL

$node->stop;
done_testing();
