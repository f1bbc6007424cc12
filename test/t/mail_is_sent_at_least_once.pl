# The worker of the documentation must send every message, two of them at once share the work, and a message whose sender is
# killed after sending and before marking comes again under the same key: at least once, and the receiver can tell. It could
# fail by marking before sending, by a key of the try instead of the message, or by a worker that ends with its first failure.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;

my $worker = "$FindBin::RealBin/../../examples/mail-worker/mail_worker";
my $node = new_node('mail');
attach_pipeline($node);
$node->safe_psql('app', 'SELECT make_floor(1, 10); SELECT count(book(1, 2, 2 * n)) FROM generate_series(1, 40) AS n; CALL assignment_v3.run()');
is($node->safe_psql('app', "SELECT count(*) FROM capacity_outbox WHERE status = 'pending'"), 40, '40 guests are to be told');

# How mails are sent here: a line per mail in the box.  The mail to one guest kills the worker when it is out for the first
# time, that to another is refused once.
my $dir = PostgreSQL::Test::Utils::tempdir;
my ($box, $send) = ("$dir/box", "$dir/send");
my ($deadly, $refused) = split(/\n/, $node->safe_psql('app', 'SELECT idempotency_key FROM capacity_outbox ORDER BY created_at OFFSET 4 LIMIT 2'));
append_to_file($send, <<SH);
#!/bin/sh
if [ "\$1" = '$refused' ] && [ ! -e $dir/refused ]; then touch $dir/refused; echo 'mailbox is full' >&2; exit 1; fi
echo "\$1 \$2 \$3" >>$box
if [ "\$1" = '$deadly' ] && [ ! -e $dir/killed ]; then touch $dir/killed; kill -9 \$(sed -n 's/^PPid:\\s*//p' /proc/\$PPID/status); fi
SH
chmod 0755, $send or die $!;
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'app';
$ENV{ONCE} = 1;
$ENV{LEASE} = '1 second';

# sent(): how often each key was sent.
sub sent
{
	my %times;
	$times{$_}++ foreach map { /^(\S+) / } split(/\n/, -e $box ? slurp_file($box) : '');
	return %times;
}

my $killed = IPC::Run::start([ $worker, $send ], '>', \my $out, '2>', \my $err);
eval { $killed->finish };
ok(-e "$dir/killed", 'a worker was killed between sending and marking');
my %before = sent();
is($before{$deadly}, 1, 'the mail had been sent');
is($node->safe_psql('app', "SELECT status FROM capacity_outbox WHERE idempotency_key = '$deadly'"), 'processing', 'nobody knows that it was');
my $id = $node->safe_psql('app', "SELECT id FROM capacity_outbox WHERE idempotency_key = '$deadly'");

# Two more take over at once, until the lease of the first has run out and everything is sent.
$node->poll_query_until('app', "SELECT next_attempt_at < clock_timestamp() FROM capacity_outbox WHERE idempotency_key = '$deadly'");
$ENV{LEASE} = '1 minute';
my @workers = map { IPC::Run::start([ $worker, $send ], '>', \my $o, '2>', \my $e) } 1 .. 2;
ok($_->finish, 'a worker ended well') foreach @workers;
$node->safe_psql('app', "UPDATE capacity_outbox SET next_attempt_at = now() WHERE status = 'pending'");
command_ok([ $worker, $send ], 'a worker comes back for what was refused');

my %after = sent();
is(scalar(keys %after), 40, 'every guest was told');
is($after{$deadly}, 2, 'the killed one twice, under the same key');
is(join(' ', grep { $after{$_} != 1 && $_ ne $deadly } keys %after), '', 'and nobody else');
is($node->safe_psql('app', 'SELECT status, count(*), count(DISTINCT idempotency_key) FROM capacity_outbox GROUP BY 1'), 'done|40|40', 'all of it is marked');
is($node->safe_psql('app', "SELECT id, attempt_count FROM capacity_outbox WHERE idempotency_key = '$deadly'"), "$id|2", 'it was one message all along');
is($node->safe_psql('app', "SELECT context ->> 'error' FROM observability_events WHERE event_type = 'outbox.failed'"), 'mailbox is full', 'the refusal has its event');
is_sound($node);

$node->stop;
done_testing();
