# Pooler.pm
#
# PgBouncer in transaction mode in front of a cluster's database "app": app1 has one server connection, app4 has four.  It listens on a
# socket of its own and ends with the test.

package Pooler;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep);

# new(node): a running pooler.
sub new
{
	my ($class, $node) = @_;
	my ($program) = grep { -x $_ } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $server = 'host=' . $node->host . ' port=' . $node->port . ' dbname=app';
	my $self = bless { host => $dir, port => $node->port, log => "$dir/log" }, $class;

	die "there is no pgbouncer\n" unless defined $program;
	my ($version) = `$program --version` =~ /PgBouncer ([0-9]+\.[0-9]+)/ or die "pgbouncer does not tell its version\n";
	$self->{version} = join('', map { sprintf('%03d', $_) } split(/\./, $version));
	append_to_file("$dir/users", join('', map { qq("$_" ""\n) } qw(postgres guest)));
	append_to_file("$dir/ini", <<CONF . ($self->keeps_prepared ? "max_prepared_statements = 100\n" : ''));
[databases]
app1 = $server pool_size=1
app4 = $server pool_size=4
[pgbouncer]
pool_mode = transaction
unix_socket_dir = $dir
listen_port = $self->{port}
auth_type = trust
auth_file = $dir/users
admin_users = postgres
logfile = $self->{log}
max_client_conn = 100
query_wait_timeout = 60
CONF
	$self->{process} = IPC::Run::start([ $program, '-q', "$dir/ini" ], '<', \undef, '>', \$self->{output}, '2>&1');
	foreach (1 .. 1000)
	{
		last if -S "$dir/.s.PGSQL.$self->{port}";
		sleep 0.01;
	}
	return $self;
}

# Since 1.21 prepared statements of the protocol follow a client from one server connection to the next.
sub keeps_prepared
{
	my ($self) = @_;
	return $self->{version} >= 1021;
}

# connstr(database, user): how libpq gets there.
sub connstr
{
	my ($self, $database, $user) = @_;
	return "host=$self->{host} port=$self->{port} dbname=$database user=" . ($user // 'postgres');
}

sub psql_command
{
	my ($self, $database, $user) = @_;
	return ('psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $self->connstr($database, $user));
}

# query(database, sql, user): what a new client of the pooler gets, errors included; it sends one statement after the other.
sub query
{
	my ($self, $database, $sql, $user) = @_;
	my $out = '';

	IPC::Run::run([ $self->psql_command($database, $user) ], '<', \$sql, '>', \$out, '2>&1');
	chomp $out;
	return $out;
}

# start(database, sql): a client that is left alone; the caller ends it or waits for it.
sub start
{
	my ($self, $database, $sql, $out) = @_;
	return IPC::Run::start([ $self->psql_command($database), '-c', $sql ], '<', \undef, '>', $out, '2>&1');
}

sub stop
{
	my ($self) = @_;
	$self->{process}->kill_kill if $self->{process};
	delete $self->{process};
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	$self->stop;
	return;
}

1;
