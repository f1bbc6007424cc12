# run() commits after each batch, so it needs transactions of its own.  Called where it can't have them it must say so with
# 2D000 before it has done anything; called in an unusual way that leaves them to it, it must work.  It could fail half way, after
# the first booking and with everybody's transaction committed, wherever it does not learn from its caller that it may not commit.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('calls', 'autovacuum = off');
attach_pipeline($node);
$node->safe_psql('app', 'SELECT make_floor(3, 8)');

my $refusal = qr/ERROR:  2D000: run\(\) cannot be called inside a transaction block or a function\n/;
my $hint = qr/HINT:  Call it on its own, or use SELECT \* FROM assignment_v3\.process_due\(\)\./;
my $traces = "SELECT (SELECT count(*) FROM assignment_v3.queue), (SELECT count(*) FROM bookings WHERE assignment_state_version > 1),
	(SELECT count(*) FROM observability_events), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')";

sub wait_for_tables
{
	$node->safe_psql('app', 'DELETE FROM bookings; TRUNCATE observability_events, assignment_v3.queue, capacity_outbox;
		SELECT count(book(1 + n % 3, 2, n * 3)) FROM generate_series(1, 6) n');
	return;
}

# is_refused(sql, error, name): nothing is written, not even by what came before in the same transaction.
sub is_refused
{
	my ($sql, $error, $name, %params) = @_;
	my $stderr = '';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for_tables();
	$node->psql('app', "\\set VERBOSITY verbose\n$sql", stderr => \$stderr, %params);
	like($stderr, $error, "$name is refused");
	is($node->safe_psql('app', $traces), '6|0|0|0', '... and leaves nothing behind');
	return $stderr;
}

# works(sql, name): all six are seated.
sub works
{
	my ($sql, $name, %params) = @_;
	my ($stdout, $stderr) = ('', '');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for_tables();
	$node->psql('app', $sql, stdout => \$stdout, stderr => \$stderr, %params);
	is($stderr, '', "$name works");
	is($node->safe_psql('app', "SELECT count(*) FROM bookings WHERE status = 'confirmed'"), 6, '... and seats all six');
	return $stdout;
}

$node->safe_psql('app', <<'SQL');
CREATE FUNCTION run_it() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	p int; c int; r int; m int; n int; e int;
BEGIN
	CALL assignment_v3.run(NULL, NULL, p, c, r, m, n, e);
	RETURN c;
END
$$;
CREATE PROCEDURE run_all(INOUT seated int DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	p int; r int; m int; n int; e int;
BEGIN
	CALL assignment_v3.run(NULL, NULL, p, seated, r, m, n, e);
END
$$;
CREATE PROCEDURE run_in_a_path(INOUT seated int DEFAULT NULL) LANGUAGE plpgsql SET search_path TO public AS
	$$BEGIN CALL run_all(seated); END$$;
CREATE PROCEDURE run_and_catch(INOUT seated int DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
	CALL run_all(seated);
EXCEPTION WHEN division_by_zero THEN
	seated := -1;
END
$$;
CREATE TABLE doorbell (rung timestamptz);
CREATE FUNCTION ring() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM run_it(); RETURN NEW; END$$;
CREATE TRIGGER ring AFTER INSERT ON doorbell FOR EACH ROW EXECUTE FUNCTION ring();
SQL

# ---------------------------------------------------------------------
# Where run() may not commit
# ---------------------------------------------------------------------
like(is_refused('BEGIN; CALL assignment_v3.run();', $refusal, 'CALL in a transaction block'), $hint, '... with a hint');
is_refused("BEGIN; INSERT INTO doorbell SELECT NULL WHERE false; SAVEPOINT s; CALL assignment_v3.run();", $refusal, 'CALL behind a savepoint');
is_refused("\\set AUTOCOMMIT off\nCALL assignment_v3.run();", $refusal, 'CALL with AUTOCOMMIT off');
is_refused('CALL assignment_v3.run();', $refusal, 'CALL in psql --single-transaction', extra_params => ['--single-transaction']);
is_refused('SELECT 1\; CALL assignment_v3.run();', $refusal, 'CALL as one of several statements sent at once');
is_refused('SELECT run_it();', $refusal, 'CALL in a function');
is_refused('DO $$BEGIN PERFORM run_it(); END$$;', $refusal, 'CALL in a function in a DO block');
is_refused('BEGIN; DO $$DECLARE s int; BEGIN CALL run_all(s); END$$;', $refusal, 'CALL in a DO block in a transaction block');
is_refused('BEGIN; CALL run_all();', $refusal, 'CALL in a procedure in a transaction block');
is_refused('CALL run_in_a_path();', $refusal, 'CALL in a procedure with a SET clause');
is_refused('CALL run_and_catch();', qr/ERROR:  2D000: /, 'CALL in a block that catches exceptions');
is_refused('INSERT INTO doorbell VALUES (now());', $refusal, 'CALL in a trigger');
is_refused('DO $$BEGIN CALL assignment_v3.run(); END$$;', qr/ERROR:  42601: procedure parameter "processed" is an output parameter/,
	'CALL in PL/pgSQL without variables');
is_refused('CALL assignment_v3.run(0);', qr/ERROR:  PT422: max_bookings must be at least 1/, 'no booking');
is_refused('CALL assignment_v3.run(-1);', qr/ERROR:  PT422: /, 'less than none');
is_refused('SET default_transaction_read_only TO on; CALL assignment_v3.run();', qr/ERROR:  25006: /, 'CALL in a read-only session');
is_refused("BEGIN READ ONLY; SELECT * FROM assignment_v3.process_due();", qr/ERROR:  25006: /, 'process_due() in a read-only transaction');

# The session lives on after a refusal.
is($node->safe_psql('app', "BEGIN; SAVEPOINT s;\n\\set ON_ERROR_STOP off\nCALL assignment_v3.run();\nROLLBACK TO s; SELECT count(*) FROM assignment_v3.process_due(); COMMIT;"),
	6, 'after a refusal process_due() does it');

# ---------------------------------------------------------------------
# Where it may
# ---------------------------------------------------------------------
is(works('CALL assignment_v3.run();', 'CALL by itself'), '6|6|0|0|0|0', '... and ends with a row of counts');
is(works('CALL run_all();', 'CALL in a procedure'), '6', '... which gets the counts');
works('DO $$DECLARE s int; BEGIN CALL run_all(s); END$$;', 'CALL in a DO block');
works('DO $$DECLARE p int; c int; r int; m int; n int; e int; s record; BEGIN
	FOR s IN SELECT id FROM restaurants ORDER BY id LOOP CALL assignment_v3.run(NULL, s.id, p, c, r, m, n, e); END LOOP; END$$;',
	'CALL in a loop over a query');
works('DO $$DECLARE s int; BEGIN COMMIT; CALL run_all(s); ROLLBACK; END$$;', 'CALL between commits');
works("SET default_transaction_isolation TO 'repeatable read'; CALL assignment_v3.run();", 'CALL in a session of REPEATABLE READ');
works("SET default_transaction_isolation TO 'serializable'; CALL assignment_v3.run();", '... or SERIALIZABLE');
works("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM bookings; CALL assignment_v3.run(); FETCH c;", 'CALL beside an open cursor');
works('CALL assignment_v3.run(NULL, NULL, 1, 2, 3, 4, 5, 6);', 'CALL with counts put in');
is($node->safe_psql('app', 'CALL assignment_v3.run()'), '0|0|0|0|0|0', 'with nothing due the counts are naught');

wait_for_tables();
is($node->safe_psql('app', 'CALL assignment_v3.run(2)'), '2|2|0|0|0|0', 'max_bookings holds');
is($node->safe_psql('app', "CALL assignment_v3.run(restaurant_id => test_id('a', 1))"), '2|2|0|0|0|0', 'restaurant_id too');
is($node->safe_psql('app', "CALL assignment_v3.run(restaurant_id => test_id('a', 99))"), '0|0|0|0|0|0', '... one that does not exist has nothing due');
foreach my $mode ('simple', 'extended', 'prepared')
{
	wait_for_tables();
	$node->command_ok([ 'pgbench', '-n', '-t', '2', '-M', $mode, '-f', script('CALL assignment_v3.run(3);'), 'app' ], "CALL by the $mode protocol");
	is($node->safe_psql('app', "SELECT count(*) FROM bookings WHERE status = 'confirmed'"), 6, '... seats all six');
}

sub script
{
	my ($sql) = @_;
	my $file = $node->basedir . '/script.sql';

	open(my $out, '>', $file) or die "could not write $file: $!";
	print $out "$sql\n";
	close $out;
	return $file;
}

# ---------------------------------------------------------------------
# process_booking() in transactions of all sorts
# ---------------------------------------------------------------------
my $first = 'SELECT outcome, reason FROM assignment_v3.process_booking((SELECT id FROM bookings ORDER BY start_at LIMIT 1));';
my $nothing = '6|0|0|0';
wait_for_tables();
is($node->safe_psql('app', "BEGIN; $first ROLLBACK;"), 'confirmed|', 'in a transaction that is rolled back');
is($node->safe_psql('app', $traces), $nothing, '... nothing has happened');
is($node->safe_psql('app', "BEGIN; SAVEPOINT s; $first ROLLBACK TO s; COMMIT;"), 'confirmed|', 'behind a savepoint that is rolled back');
is($node->safe_psql('app', $traces), $nothing, '... nothing has happened');
is($node->safe_psql('app', "BEGIN; SAVEPOINT s; $first ROLLBACK TO s; $first COMMIT;"), "confirmed|\nconfirmed|", '... and the second time counts');
is($node->safe_psql('app', "BEGIN; SAVEPOINT s; $first RELEASE s; COMMIT;"), 'noop|already_confirmed', 'behind one that is released');
is($node->safe_psql('app', 'SELECT string_agg(outcome, \' \') FROM bookings, assignment_v3.process_booking(id)'),
	'noop confirmed confirmed confirmed confirmed confirmed', 'for all bookings in one statement');
# the row is there already, its AFTER trigger, which queues it, is still to come
is($node->safe_psql('app', "WITH new AS (INSERT INTO bookings (restaurant_id, party_size, start_at, end_at)
	SELECT test_id('a', 1), 2, now() + '9 days', now() + '10 days' RETURNING id) SELECT outcome FROM new, assignment_v3.process_booking(id)"),
	'confirmed', 'in the very statement that inserts it');
$node->safe_psql('app', 'CALL assignment_v3.run()');
is($node->safe_psql('app', "SELECT (SELECT count(*) FROM assignment_v3.queue), count(*) FROM capacity_outbox GROUP BY booking_id HAVING count(*) > 1"), '',
	'... and run() does not do it again');
is_sound($node);
wait_for_tables();
$node->safe_psql('app', "BEGIN; $first PREPARE TRANSACTION 'two phases';");
is($node->safe_psql('app', $first), 'noop|lock_contention', 'a prepared transaction keeps its booking');
$node->restart;
is($node->safe_psql('app', $first), 'noop|lock_contention', '... over a restart too');
$node->safe_psql('app', "COMMIT PREPARED 'two phases'");
is($node->safe_psql('app', $first), 'noop|already_confirmed', '... until it is committed');

# An event of a failed transaction that a prepared one has recorded late stays or goes with it: the session has let go of it.
foreach my $end ('COMMIT', 'ROLLBACK')
{
	my $refused = "SELECT assignment_v3.transition((SELECT booking_id FROM capacity_outbox ORDER BY created_at LIMIT 1), 'capacity_verified');";
	my $late = "SELECT count(*) FROM observability_events WHERE context ->> 'late' = 'true'";
	my $before = $node->safe_psql('app', $late);

	$node->psql('app', "$refused BEGIN; $first PREPARE TRANSACTION 'late'; $end PREPARED 'late'; $first", on_error_stop => 0);
	is($node->safe_psql('app', $late) - $before, $end eq 'COMMIT' ? 1 : 0, "a late event and $end PREPARED");
}
is_sound($node);
$node->stop;
done_testing();
