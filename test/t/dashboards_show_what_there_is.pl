# Every query of the Grafana dashboard and of the exporter runs for a role that grant_monitoring() lets look, with nothing in the
# database and with something for each of them to show; Debian's exporter takes its configuration and gives the metrics; and
# the alert rules speak of metrics that it gives.  All of it could rot unseen: nothing in the build reads these files.
#
# The exporter is started where it is installed, else this part is skipped; so is promtool's own look at the rules.

use strict;
use warnings;

use HTTP::Tiny;
use IPC::Run qw(start);
use JSON::PP qw(decode_json);
use Pipeline;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dashboard = decode_json(slurp_file('observability/grafana-dashboard.json'));
my $exporter_conf = slurp_file('observability/prometheus-sql-exporter.yml');
my $rules = slurp_file('observability/alerts.yml');
my $node = new_node('main');

# What Grafana puts in for its macros, for a dashboard of the last day.
sub without_macros
{
	my ($sql) = @_;

	$sql =~ s/\$__timeFilter\(([^)]+)\)/$1 BETWEEN now() - interval '24 hours' AND now()/g;
	return $sql;
}

sub installed
{
	my ($program) = @_;

	return grep { -x "$_/$program" } split(/:/, $ENV{PATH});
}

# A statement as the role that looks: its rows, or undef and what was said.
sub look
{
	my ($sql) = @_;
	my ($status, $stdout, $stderr) = $node->psql('app', $sql, extra_params => [ '-U', 'metrics' ]);

	return ($status == 0 ? $stdout : undef, $stderr);
}

sub looks_fine
{
	my ($name, $sql, $has_rows) = @_;
	my ($rows, $error) = look($sql);

	ok(defined $rows, "$name: runs") or diag("$sql\n$error");
	isnt($rows, '', "$name: shows something") if $has_rows;
	return;
}

# All queries of the dashboard by the title of their panel, and those of the exporter by their name.
sub dashboard_queries
{
	my %queries = map { ("panel $_->{title}" => without_macros($_->{targets}[0]{rawSql})) } @{ $dashboard->{panels} };

	$queries{"annotation $_->{name}"} = without_macros($_->{target}{rawSql}) foreach @{ $dashboard->{annotations}{list} };
	return %queries;
}

sub exporter_queries
{
	return $exporter_conf =~ /- name: (\w+)\n\s+help:.*?query: \|\n((?: {10}[^\n]*\n)+)/sg;
}

sub check_dashboard
{
	my @panels = @{ $dashboard->{panels} };
	my (%ids, %taken);
	my $overlaps = 0;

	$ids{ $_->{id} }++ foreach @panels;
	is(scalar keys %ids, scalar @panels, 'panels have ids of their own');
	foreach my $panel (@panels)
	{
		my %at = %{ $panel->{gridPos} };

		is(scalar @{ $panel->{targets} }, 1, "panel $panel->{title} has one query");
		unlike(without_macros($panel->{targets}[0]{rawSql}), qr/\$/, '... with no macro left that the test does not know');
		like($panel->{targets}[0]{rawSql}, qr/ AS "time"/, '... by time') if $panel->{type} eq 'timeseries';
		ok($panel->{description} ne '' && $at{x} + $at{w} <= 24, '... is explained, and not too wide');
		foreach my $x ($at{x} .. $at{x} + $at{w} - 1)
		{
			$overlaps += $taken{"$x,$_"}++ foreach $at{y} .. $at{y} + $at{h} - 1;
		}
	}
	is($overlaps, 0, 'no panel covers another');
	return;
}

# Something for each query to show: bookings confirmed, given up and stuck, an open breaker, a message, and a slot that is held.
sub make_scene
{
	$node->safe_psql('app', q{
		SELECT make_floor(1, 4);
		SET assignment_v3.max_attempts = 1;
		SELECT book(1, 2, 18), book(1, 40, 18), book(1, 3, 19), book(1, 4, 20);
		SELECT outcome FROM bookings AS b, assignment_v3.process_booking(b.id, 'run') WHERE b.party_size IN (2, 40);
		UPDATE assignment_v3.queue SET due_at = now() - interval '11 minutes';
		INSERT INTO assignment_v3.circuits (restaurant_id, consecutive_errors, open_until, opened_at)
			VALUES (test_id('a', 2), 5, now() + interval '1 hour', now() - interval '6 minutes');
		INSERT INTO assignment_v3.kill_switch (reason) VALUES ('drill');
		DELETE FROM assignment_v3.kill_switch;
	});
	my $session = $node->background_psql('app', on_error_die => 1);

	$session->query_safe(q{BEGIN});
	$session->query_safe(q{SELECT outcome FROM bookings AS b, assignment_v3.process_booking(b.id) WHERE b.party_size = 4});
	return $session;
}

#
# The exporter
#

sub start_exporter
{
	my ($port) = @_;
	my $conf = $exporter_conf;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/exporter.yml";
	my $address = sprintf('postgres://metrics@/app?host=%s&port=%d&sslmode=disable', $node->host, $node->port);
	my $log = "$PostgreSQL::Test::Utils::log_path/exporter.log";

	is($conf =~ s{'postgres://[^']*'}{'$address'}g, 2, 'the connections are to be set in two places');
	append_to_file($file, $conf);
	local $ENV{LOGLEVEL} = 'warn';
	return (start([ 'prometheus-sql-exporter', "-config.file=$file", "-web.listen-address=127.0.0.1:$port" ], '<', '/dev/null', '>', $log, '2>&1'), $log);
}

# The metrics of ours, as name{labels} with their value.
sub scrape
{
	my ($port) = @_;
	my $answer = HTTP::Tiny->new(timeout => 5)->get("http://127.0.0.1:$port/metrics");

	return $answer->{success} ? { $answer->{content} =~ /^(sql_[^ ]*(?:\{.*\})?) (\S+)$/mg } : {};
}

# The value of the one metric of that name that has these labels.
sub metric
{
	my ($metrics, $name, %labels) = @_;
	my @found = grep {
		my $series = $_;
		$series =~ /^$name\{/ && !grep { index($series, qq($_="$labels{$_}")) < 0 } keys %labels
	} keys %$metrics;

	return @found == 1 ? $metrics->{ $found[0] } : 'found ' . scalar @found;
}

sub check_exporter
{
	my (@names) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my ($exporter, $log) = start_exporter($port);
	my $metrics = {};

	ok(wait_until(sub { $metrics = scrape($port); my $all = join(' ', keys %$metrics); return !grep { $all !~ /\bsql_$_\{/ } @names }, 60),
		'the exporter gives a metric for each of its queries') or diag(slurp_file($log));
	is(join(' ', grep { /^sql_exporter_last_scrape_failed/ && $metrics->{$_} != 0 } keys %$metrics), '', '... none of which failed');
	is(metric($metrics, 'sql_assignment_health', col => 'level', mode => 'active'), 1, 'health is a warning');
	is(metric($metrics, 'sql_assignment_alert', alert => 'bookings_stuck', severity => 'P2', col => 'firing'), 1, 'the alert about stuck bookings fires');
	is(metric($metrics, 'sql_assignment_alert', alert => 'coordinator_error_rate', severity => 'P1', col => 'firing'), 0, '... the one about errors does not');
	is(metric($metrics, 'sql_assignment_breakers', state => 'open'), 1, 'a breaker is open');
	is(metric($metrics, 'sql_assignment_breakers', state => 'half-open'), 0, '... and none is half-open');
	is(metric($metrics, 'sql_assignment_slots', col => 'held'), 1, 'a slot is held');
	is(metric($metrics, 'sql_assignment_outbox', col => 'pending'), 2, 'two messages wait');
	is(metric($metrics, 'sql_assignment_ended', col => 'manual_review'), 1, 'a booking was given up');
	is(metric($metrics, 'sql_assignment_review_queue', col => 'bookings'), 1, '... and waits for a person');
	cmp_ok(metric($metrics, 'sql_assignment_latency_ms', mode => 'active', col => 'p95'), '>', 0, 'decisions took their time');
	check_rules($metrics);
	$exporter->kill_kill;
	return;
}

# Every metric that a rule names, with its labels, is among those that were scraped.
sub check_rules
{
	my ($metrics) = @_;
	my @expressions = $rules =~ /^\s+expr: (.*)$/mg;

	cmp_ok(scalar @expressions, '>=', 5, 'there are alert rules');
	foreach my $expression (@expressions)
	{
		while ($expression =~ /(sql_\w+)(?:\{([^}]*)\})?/g)
		{
			my ($name, $selector) = ($1, $2 // '');
			my %labels = $selector =~ /(\w+)="([^"]*)"/g;

			like(metric($metrics, $name, %labels), qr/^([\d.e+-]+|found [1-9]\d*)$/, "a rule finds $name $selector");
		}
	}
	return;
}

attach_pipeline($node);
$node->safe_psql('app', q{
	CREATE ROLE metrics LOGIN;
	SELECT FROM assignment_v3.grant_monitoring('metrics');
	GRANT pg_read_all_stats TO metrics;
});
check_dashboard();

my %panels = dashboard_queries();
my %exported = exporter_queries();

cmp_ok(scalar keys %panels, '>=', 10, 'the dashboard has queries');
is(scalar keys %exported, scalar(() = $exporter_conf =~ /\bquery: \|/g), 'all queries of the exporter are found');
looks_fine($_, $panels{$_}, 0) foreach sort keys %panels;
looks_fine($_, $exported{$_}, 0) foreach sort keys %exported;

my $session = make_scene();

looks_fine($_, $panels{$_}, !/annotation/) foreach sort keys %panels;
looks_fine($_, $exported{$_}, 1) foreach sort keys %exported;
my ($rows, $error) = look('DELETE FROM assignment_v3.queue');
like($error, qr/permission denied/, 'who looks may not touch');

SKIP:
{
	skip 'prometheus-sql-exporter is not installed', 1 unless installed('prometheus-sql-exporter');
	check_exporter(keys %exported);
}
SKIP:
{
	skip 'promtool is not installed', 1 unless installed('promtool');
	is(system('promtool', 'check', 'rules', 'observability/alerts.yml'), 0, 'promtool takes the rules');
}
$session->quit;
done_testing();
