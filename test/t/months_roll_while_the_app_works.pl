# roll_months() takes strong locks, from a scheduler, while the app works.  It must never be in the app's way: where somebody has
# the tables it gives up at once and has changed nothing, where the app waits for it and it for the app it is roll_months() that
# yields, and a decision that meets it is tried again and not held up.  While bookings are made and seated months must come and go
# without an error, a lost row, or an event written twice.  It could fail by waiting longer than deadlock_timeout, by leaving the
# partition for rows of no month detached, or by a session whose plans or kept targets still know a month that has gone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run;
use Pipeline;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('months');
$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('app', <<'SQL' . scene());
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
SELECT count(*) FROM assignment_v3.attach(by_month => true);
ALTER DATABASE app SET assignment_v3.enabled = on;
SQL
$node->safe_psql('app', 'SELECT make_floor(3, 8); SELECT count(book(1 + n % 3, 2, 2 * n)) FROM generate_series(1, 20) n; CALL assignment_v3.run()');
my $parts = q{SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid::regclass::text COLLATE "C") FROM pg_inherits
	JOIN pg_class ON oid = inhrelid WHERE relkind = 'r'};
my $before = $node->safe_psql('app', $parts);

# somebody is writing
my $app = $node->background_psql('app');
$app->query_safe("BEGIN; UPDATE bookings SET party_size = 1 WHERE id = (SELECT id FROM bookings ORDER BY start_at LIMIT 1)");
my $start = time;
like(error_of($node, 'SELECT * FROM assignment_v3.roll_months(ahead => 3)'), qr/55P03: roll_months\(\) could not get a lock in time/,
	'beside a writer it gives up');
cmp_ok(time - $start, '<', 5, '... soon');
is($node->safe_psql('app', $parts), $before, '... and has changed nothing');
$app->query_safe('COMMIT');

# it is at work itself
$node->safe_psql('app', 'SET assignment_v3.enabled = off; SELECT book(1, 2, 90)');
my $roll = $node->background_psql('app');
$roll->query_safe('BEGIN; SELECT count(*) FROM assignment_v3.roll_months(ahead => 3); LOCK TABLE booking_assignment_state_history');
$start = time;
is($node->safe_psql('app', 'SELECT outcome, reason FROM assignment_v3.process_booking((SELECT id FROM bookings ORDER BY start_at DESC LIMIT 1))'),
	'retry|lock_contention', 'a decision beside it is told to try again');
cmp_ok(time - $start, '<', 5, '... soon');
$roll->query_safe('COMMIT');
is($node->safe_psql('app', 'SELECT outcome FROM assignment_v3.process_booking((SELECT id FROM bookings ORDER BY start_at DESC LIMIT 1))'),
	'confirmed', '... and then seats its booking');

# months come and go, with rows to take over each time, while others write without a pause
my @writers = map {
	IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('app') ], '<',
		\join('', map { "SELECT FROM book($_, 2, $_); CALL assignment_v3.run(1);\n" } (1, 2, 3) x 60), '>', \my $out, '2>', \my $err)
} 1, 2;
my $rolled = 0;
foreach my $n (1 .. 20)
{
	# this month is forgotten and made up for
	$node->psql('app', q{SET lock_timeout = '2s';
		DO $$ DECLARE p record; BEGIN
			FOR p IN SELECT inhparent::regclass AS parent, inhrelid::regclass AS part FROM pg_inherits JOIN pg_class ON oid = inhrelid
				WHERE relkind = 'r' AND relname ~ '\d$' LOOP
				EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', p.parent, p.part);
				EXECUTE format('INSERT INTO %s_rest OVERRIDING SYSTEM VALUE SELECT * FROM %s', p.parent, p.part);
				EXECUTE format('DROP TABLE %s', p.part);
			END LOOP;
		END $$});
	my ($result) = $node->psql('app', "SET lock_timeout = '2s'; SELECT count(*) FROM assignment_v3.roll_months(keep => '1 month')");
	$rolled++ if $result == 0;
}
ok($_->finish, 'a writer has met no error') foreach @writers;
cmp_ok($rolled, '>', 0, "months were rolled $rolled times meanwhile");
$node->safe_psql('app', "UPDATE assignment_v3.queue SET due_at = now(); CALL assignment_v3.run(); SELECT count(*) FROM assignment_v3.roll_months()");
is($node->safe_psql('app', 'SELECT * FROM assignment_v3.verify(); SELECT * FROM assignment_v3.attach(); SELECT * FROM assignment_v3.roll_months()'), '',
	'all is sound and nothing is missing');
is($node->safe_psql('app', q{SELECT count(*) FROM booking_assignment_state_history_rest}), 0, 'no row is left over');
is($node->safe_psql('app', q{SELECT count(*) FROM (SELECT booking_id, version FROM booking_assignment_state_history WHERE from_state <> to_state) h
	FULL JOIN (SELECT booking_id, (context ->> 'version')::int AS version FROM observability_events WHERE source = 'assignment.state_machine') e
	USING (booking_id, version) WHERE h IS NULL OR e IS NULL}), 0, 'each step has its event');
is($node->safe_psql('app', q{SELECT count(*) - count(DISTINCT (booking_id, context ->> 'version')) FROM observability_events
	WHERE source = 'assignment.state_machine'}), 0, '... once');
$_->quit foreach $app, $roll;
$node->stop;
done_testing();
