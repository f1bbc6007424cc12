# Pipeline.pm
#
# Clusters with an attached pipeline, for TAP tests.  A cluster listens on a socket of its own and its output goes to the test's
# log; PostgreSQL::Test::Cluster starts it and stops it when the test ends, whatever happens.
#
# In the database "app" there are three functions to make a scene with:
#	test_id(kind, n)	the uuid of restaurant ('a'), zone ('c') or table ('d') n
#	make_floor(restaurants, tables)		restaurants 1 .. n with that many tables each, of 2, 4, 6 and 8 seats in turn, in
#						one zone, each next to the one before
#	book(restaurant, party, hour, guest)	a booking of two hours from that hour on, counted from a midnight a month ahead;
#						returns its id

package Pipeline;

use strict;
use warnings;

use Exporter qw(import);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(scene new_node attach_pipeline error_of is_sound log_is_clean session_pid signal_latency wait_until);

our $scene = <<'SQL';
CREATE FUNCTION public.test_id(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
RETURN (kind || '0000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid;
CREATE FUNCTION public.make_floor(restaurants int, tables int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.restaurants (id, name) SELECT test_id('a', r), 'Restaurant ' || r FROM generate_series(1, restaurants) r;
	INSERT INTO public.zones (id, restaurant_id, name) SELECT test_id('c', r), test_id('a', r), 'Hall' FROM generate_series(1, restaurants) r;
	INSERT INTO public.table_inventory (id, restaurant_id, zone_id, table_number, capacity)
	SELECT test_id('d', r * 1000 + t), test_id('a', r), test_id('c', r), t, 2 + 2 * ((t - 1) % 4)
	FROM generate_series(1, restaurants) r, generate_series(1, tables) t;
	INSERT INTO public.table_adjacencies (table_a, table_b)
	SELECT test_id('d', r * 1000 + t - 1), test_id('d', r * 1000 + t)
	FROM generate_series(1, restaurants) r, generate_series(2, tables) t;
$$;
CREATE FUNCTION public.book(restaurant int, party int, hour double precision, guest text DEFAULT NULL) RETURNS uuid LANGUAGE sql AS $$
	INSERT INTO public.bookings (restaurant_id, party_size, start_at, end_at, customer_name)
	SELECT test_id('a', restaurant), party, d.day + hour * interval '1 hour', d.day + (hour + 2) * interval '1 hour', guest
	FROM (VALUES (date_trunc('day', now()) + interval '30 days')) AS d (day)
	RETURNING id
$$;
SQL

# scene(): the SQL that makes these functions.
sub scene
{
	return $scene;
}

# new_node(name, conf): a running cluster with these lines in its configuration; install_path tells where its programs are.
sub new_node
{
	my ($name, $conf, %init) = @_;
	my $install_path = delete $init{install_path};
	my $node = PostgreSQL::Test::Cluster->new($name, defined $install_path ? (install_path => $install_path) : ());

	$node->init(%init);
	$node->append_conf('postgresql.conf', <<CONF);
log_statement = none
max_connections = 60
shared_buffers = 32MB
max_prepared_transactions = 10
CONF
	$node->append_conf('postgresql.conf', $conf) if defined $conf;
	$node->start;
	return $node;
}

# attach_pipeline(node, settings): the database "app" with the pipeline attached and on, and these settings of the database.
sub attach_pipeline
{
	my ($node, %settings) = @_;
	my %all = ('assignment_v3.enabled' => 'on', %settings);

	$node->safe_psql('postgres', 'CREATE DATABASE app');
	$node->safe_psql('app', <<SQL . $scene);
CREATE EXTENSION btree_gist;
CREATE EXTENSION assignment_v3;
SELECT count(*) FROM assignment_v3.attach();
SQL
	$node->safe_psql('app', join("\n", map { "ALTER DATABASE app SET $_ = '$all{$_}';" } sort keys %all));
	return;
}

# error_of(node, sql): what psql says of the first error, with its code; empty if there is none.
sub error_of
{
	my ($node, $sql, %params) = @_;
	my $stderr = '';

	$node->psql($params{database} // 'app', "\\set VERBOSITY verbose\n$sql", stderr => \$stderr, on_error_stop => 1);
	return $stderr;
}

sub is_sound
{
	my ($node, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($node->safe_psql('app', 'SELECT * FROM assignment_v3.verify()'), '', $name // 'verify() finds nothing');
}

# log_is_clean(node, from, name, except): no line of the server log says that anything went wrong.
sub log_is_clean
{
	my ($node, $from, $name, $except) = @_;
	my @lines = grep { /\b(ERROR|FATAL|PANIC|deadlock|TRAP|terminated by signal)\b/ && !($except && /$except/) }
	  split(/\n/, substr(slurp_file($node->logfile), $from));

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(join("\n", @lines[ 0 .. ($#lines > 9 ? 9 : $#lines) ]), '', $name);
}

# wait_until(code, seconds): waits until the code returns true; false if it never does.
sub wait_until
{
	my ($code, $seconds) = @_;
	my $end = time + ($seconds // $PostgreSQL::Test::Utils::timeout_default);

	until ($code->())
	{
		return 0 if time > $end;
		sleep 0.01;
	}
	return 1;
}

sub session_pid
{
	my ($session) = @_;
	return $session->query_safe('SELECT pg_backend_pid()');
}

# signal_latency(node, session, sql, busy, signal): runs SQL in a background session, waits until the query "busy" about its pid
# ($1) returns true, calls signal(pid), and returns the seconds from then until the session has answered, with what it said.
sub signal_latency
{
	my ($node, $session, $sql, $busy, $signal) = @_;
	my $pid = session_pid($session);
	my $watcher = $node->background_psql('postgres');
	my ($start, $stop);

	$busy =~ s/\$1/$pid/g;
	$session->{stdout} = $session->{stderr} = '';
	$session->{stdin} .= "$sql\n;\n\\echo signal_latency: done\n";
	$session->{run}->pump_nb;
	wait_until(sub { $session->{run}->pump_nb; $watcher->query_safe($busy) eq 't' }, 60)
	  or die "the session never became busy: $session->{stderr}";
	$start = time;
	$signal->($watcher, $pid);
	# a session that was terminated says nothing more
	eval { $session->{run}->pump until $session->{stdout} =~ /signal_latency: done\n/ || !$session->{run}->pumpable };
	$stop = time;
	$watcher->quit;
	my $said = $session->{stderr};
	$session->{stdout} = $session->{stderr} = '';
	return ($stop - $start, $said);
}

1;
