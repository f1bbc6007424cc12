# What docs/reference.md says exists must exist, and whatever exists must stand there: functions with their arguments, defaults and
# results, types, settings with their ranges, error codes, reasons, events, rules, tables, views and triggers.  It could fail because people
# change code and forget the docs.  The names come from the catalogue of a fresh, attached database and, where the catalogue doesn't
# know them, from the source.  What is said about a thing is not checked, only that it is the right thing.
#
# Names and links in the other documents must lead to something too.  Runs in a database of its own in the cluster of scripts/run_tests.

use strict;
use warnings;

use Test::More;

my $database = 'reference_is_complete';
my $extension = 'assignment_v3';
my $reference = contents('docs/reference.md');

sub contents
{
	my (@files) = @_;
	my $all = '';

	foreach my $file (@files)
	{
		open(my $handle, '<', $file) or die "could not open $file: $!\n";
		local $/ = undef;
		$all .= <$handle> . "\n";
		close($handle);
	}
	return $all;
}

# The rows of a query, columns separated by |.
sub query
{
	my ($statement, $in) = @_;
	my @psql = ('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $in // $database, '-c', $statement);

	open(my $pipe, '-|', @psql) or die "could not run psql: $!\n";
	my @rows = <$pipe>;
	close($pipe) or die "failed: $statement\n";
	chomp(@rows);
	return @rows;
}

# The rows of every table in a text whose header starts with these cells, as arrays without the backticks.
sub rows_of
{
	my ($text, @header) = @_;
	my $start = join('\s*\|\s*', map { quotemeta } @header);
	my @rows;

	while ($text =~ /^\| $start \|.*\n\|[ |-]+\n((?:\|.*\n)+)/mg)
	{
		foreach my $line (split(/\n/, $1))
		{
			$line =~ s/^\|\s*|\s*\|$//g;
			push @rows, [ map { s/`//gr } split(/\s*\|\s*/, $line, -1) ];
		}
	}
	return @rows;
}

# The first cells of such a table, of as many columns as are asked for.
sub cells_of
{
	my ($columns, @header) = @_;

	return map { join('|', @$_[0 .. $columns - 1]) } rows_of($reference, @header);
}

# Names in quotes inside an initializer or a function of the source.
sub names_in
{
	my ($file, $from, $to) = @_;

	contents($file) =~ /$from(.*?)$to/s or die "$file has no $from\n";
	return $1 =~ /"([^"]*)"/g;
}

sub same_names
{
	my ($what, $documented, $existing) = @_;
	my %documented = map { $_ => 1 } @$documented;
	my %existing = map { $_ => 1 } @$existing;
	my @missing = @$existing ? grep { !$documented{$_} } @$existing : 'none found at all';

	is(join("\n", sort @missing), '', "every $what is documented");
	is(join("\n", sort grep { !$existing{$_} } @$documented), '', "no $what is documented that does not exist");
	return;
}

#
# Functions, types, settings, tables and triggers, from the catalogue
#

sub check_functions
{
	my %documented;
	my @existing = query(q{
		SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END || 'assignment_v3.' || p.proname || '('
			|| regexp_replace(regexp_replace(pg_get_function_arguments(p.oid), '\mIN ', '', 'g'), '::[a-z ]+(\[\])?', '', 'g') || ')'
			|| coalesce(' RETURNS ' || pg_get_function_result(p.oid)
				|| CASE p.provolatile WHEN 'v' THEN ' VOLATILE' WHEN 's' THEN ' STABLE' ELSE ' IMMUTABLE' END, '')
		FROM pg_proc AS p
		WHERE p.pronamespace = 'assignment_v3'::regnamespace
			AND coalesce(obj_description(p.oid, 'pg_proc'), '') NOT LIKE 'Internal%'});

	while ($reference =~ /^#### (\w+)\n\n```sql\n((?:FUNCTION|PROCEDURE) $extension\.(\w+)\(.*?)\n```/msg)
	{
		my ($heading, $signature, $name) = ($1, $2, $3);

		is($heading, $name, "the heading of $name names it");
		$signature =~ s/\s+/ /g;
		$signature =~ s/timestamptz/timestamp with time zone/g;
		$documented{$signature} = 1;
	}
	same_names('function', [ keys %documented ], \@existing);
	same_names('internal function', [ cells_of(1, 'function', 'purpose') ], [ query(q{
		SELECT replace(p.oid::regprocedure::text, 'assignment_v3.', '') FROM pg_proc AS p
		WHERE p.pronamespace = 'assignment_v3'::regnamespace AND obj_description(p.oid, 'pg_proc') LIKE 'Internal%'}) ]);
	return;
}

sub check_types
{
	same_names('column of a type', [ cells_of(3, 'type', 'column') ], [ query(q{
		SELECT c.relname || '|' || a.attname || '|' || format_type(a.atttypid, a.atttypmod)
		FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relnamespace = 'assignment_v3'::regnamespace AND c.relkind = 'c'}) ]);
	return;
}

sub check_settings
{
	same_names('setting', [ cells_of(5, 'setting', 'type') ], [ query(q{
		LOAD 'assignment_v3';
		SELECT concat_ws('|', s.name, s.vartype, s.boot_val, CASE s.vartype WHEN 'bool' THEN 'on, off'
			WHEN 'enum' THEN array_to_string(s.enumvals, ', ') WHEN 'string' THEN 'names' ELSE s.min_val || ' to ' || s.max_val END, coalesce(s.unit, ''))
		FROM pg_settings AS s WHERE s.name LIKE 'assignment\_v3.%'}) ]);
	return;
}

sub check_relations
{
	my @documented;

	while ($reference =~ /^### $extension\.(\w+)\n(.*?)(?=^#)/msg)
	{
		my ($table, $text) = ($1, $2);

		push @documented, map { "$table|$_->[0]|$_->[1]" } rows_of($text, 'column', 'type');
	}
	same_names('column of a table or view of the pipeline', \@documented, [ query(q{
		SELECT c.relname || '|' || a.attname || '|'
			|| replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz')
		FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relnamespace = 'assignment_v3'::regnamespace AND c.relkind IN ('r', 'v')}) ]);
	same_names('relation of the app', [ cells_of(1, 'relation', 'rows') ],
		[ query('SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = $$public$$::regnamespace AND c.relkind = $$r$$') ]);
	same_names('trigger', [ map { "$_->[0]|$_->[1]|$_->[3]" } rows_of($reference, 'trigger', 'on') ], [ query(q{
		SELECT t.tgname || '|' || c.relname || '|' || p.proname
		FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_proc AS p ON p.oid = t.tgfoid
		WHERE p.pronamespace = 'assignment_v3'::regnamespace}) ]);
	return;
}

# Every table of edges is one line per state, targets in the order of their names.
sub check_states
{
	my %edges;

	foreach my $row (query('SELECT t.from_state, t.kind, t.to_state FROM assignment_v3.transitions() AS t ORDER BY t.to_state'))
	{
		my ($from, $kind, $to) = split(/\|/, $row);

		push @{ $edges{$from}{$kind} }, $to;
	}
	my @existing = map { my $state = $_; join('|', $state, map { join(', ', @{ $edges{$state}{$_} // [] }) } qw(automatic operator external)) }
		keys %edges;
	my @terminal = grep { !$edges{$_}{automatic} } keys %edges;

	same_names('state with its edges', [ cells_of(4, 'from', 'automatic') ], \@existing);
	contents('src/journal.c') =~ /"(booking\.assignment_state\.)%s"/ or die "src/journal.c writes no message\n";
	same_names('type of message', [ cells_of(1, 'event_type', 'when') ], [ map { $1 . $_ } @terminal ]);
	return;
}

#
# Codes and words, from the source
#

# Names of error codes, as C has them, with their five characters.
sub sqlstates
{
	my $include = qx{"$ENV{PG_CONFIG}" --includedir-server};
	my %codes;

	chomp($include);
	my $headers = contents("$include/utils/errcodes.h", 'src/sqlstates.h');
	while ($headers =~ /#define ERRCODE_(\w+)\s+MAKE_SQLSTATE\(([^)]*)\)/g)
	{
		my ($name, $letters) = ($1, $2);

		$codes{$name} = $letters =~ s/[', ]//gr;
	}
	return %codes;
}

sub check_errors
{
	my %codes = sqlstates();
	my %raised = map { ($codes{$_} // $_) => 1 } contents(glob('src/*.c')) =~ /\berrcode\(ERRCODE_(\w+)\)/g;
	my %inside = map { ($codes{$_} // $_) => 1 } contents('src/coordinator.c') =~ /\bcase ERRCODE_(\w+):/g;

	foreach my $name (contents(glob('sql/*.sql')) =~ /\bERRCODE = '(\w+)'/g)
	{
		$raised{ $codes{ uc $name } // $name } = 1;
	}
	same_names('error code', [ cells_of(1, 'SQLSTATE', 'meaning') ], [ keys %raised ]);
	same_names('error code handled in a decision',
		[ grep { /^\w{5}$/ && uc eq $_ } map { split(/, /) } cells_of(1, 'SQLSTATE', 'in a decision') ], [ keys %inside ]);
	return;
}

sub check_words
{
	my $flags = contents('src/flags.c');
	my @outcomes = names_in('src/coordinator.c', 'outcome_names\[OUTCOME_COUNT\] = \{', '\};');
	my @rules = query('SELECT r.rule FROM assignment_v3.verify_rules() AS r');

	contents('src/store.c') =~ /CASE (WHEN NOT t\.active.*?) END AS verdict/s or die "src/store.c has no verdicts\n";
	my %verdicts = map { $_ => 1 } $1 =~ /(?:THEN|ELSE) '([^']+)'/g;

	same_names('outcome', [ cells_of(1, 'outcome', 'meaning') ], \@outcomes);
	same_names('reason', [ cells_of(1, 'reason', 'with outcome') ],
		[ names_in('src/coordinator.c', 'reason_names\[REASON_COUNT\] = \{', '\};') ]);
	same_names('reason of history', [ cells_of(1, 'reason of history', 'when') ],
		[ keys %{ { map { $_ => 1 } names_in('src/transition.c', '\nexternal_reason\(', '\n\}') } } ]);
	same_names('reason of a mode', [ cells_of(1, 'reason of mode()', 'said by') ],
		[ map { /"(\w+)"/g } $flags =~ /\*reason = ([^;]+);/g ]);
	same_names('strategy', [ cells_of(1, 'strategy', 'term, lower is better') ],
		[ names_in('src/planner.c', 'strategy_names\[\] = \{', '\};') ]);
	same_names('verdict of explain()', [ cells_of(1, 'verdict', 'meaning') ], [ keys %verdicts ]);
	same_names('rule of verify()', [ cells_of(1, 'rule', 'violated by') ], \@rules);
	check_events(@outcomes);
	return;
}

sub check_events
{
	my (@outcomes) = @_;
	my $source = contents(glob('src/*.c'), glob('sql/*.sql'));
	my %events = map { $_ => 1 } $source =~ /(?<!include )"(coordinator\.\w+)"/g, $source =~ /"(outbox\.(?!h)\w+)"/g, $source =~ /switch_record\(app_schema, '([\w.]+)'/g,
		$source =~ /#define TRANSITION_EVENT "([\w.]+)"/g;

	if ($source =~ /"coordinator\.%s", outcome_name/)
	{
		$events{"coordinator.$_"} = 1 foreach @outcomes;
	}
	same_names('event', [ cells_of(1, 'event', 'source') ], [ keys %events ]);
	return;
}

sub check_locks
{
	my %classes = contents('src/locks.h') =~ /LOCK_CLASS_(\w+) = (0x\w+)/g;
	my @existing;

	foreach my $lock (keys %classes)
	{
		my $more = $lock eq 'SLOT' ? ' + slot' : '';

		push @existing, "$lock|$classes{$lock}$more|" . (hex($classes{$lock}) - 65536) . $more;
	}
	same_names('lock class', [ cells_of(3, 'lock', 'class') ], \@existing);
	return;
}

#
# Names and links in all documents
#

# The address that a heading gets.
sub anchor
{
	my ($heading) = @_;

	return lc($heading =~ s/[^\w\- ]//gr) =~ s/ /-/gr;
}

sub anchors_of
{
	my ($file) = @_;

	return map { anchor($_) => 1 } contents($file) =~ /^#+ (.+)$/mg;
}

sub check_document
{
	my ($file) = @_;
	my $text = contents($file);
	my $source = contents(glob('src/*.[ch]'));
	my %known = map { $_ => 1 } qw(control so c),
		query(q{SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'assignment_v3'::regnamespace
			UNION SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'assignment_v3'::regnamespace
			UNION SELECT substr(s.name, 15) FROM assignment_v3.library_version(), pg_settings AS s WHERE s.name LIKE 'assignment\_v3.%'});
	my %core = map { $_ => 1 } query('SELECT DISTINCT p.proname FROM pg_proc AS p');
	my ($dir) = $file =~ m{^(.*/)?};

	is(join(' ', grep { !$known{$_} } $text =~ /\b$extension\.(\w+)/g), '', "$file names nothing in $extension that does not exist");
	is(join(' ', grep { !$core{$_} && $source !~ /\b$_\b/ } $text =~ /\b([a-z]\w*)\(\)/g), '', "$file names no function that does not exist");
	foreach my $link ($text =~ /\]\(([^)\s]+)\)/g)
	{
		my ($path, $anchor) = $link =~ /^([^#]*)#?(.*)$/;
		my $target = $path eq '' ? $file : ($dir // '') . $path;
		my %anchors;

		next if $link =~ /^https?:/;
		%anchors = anchors_of($target) if -f $target && $anchor ne '';
		ok(-e $target && ($anchor eq '' || $anchors{$anchor}), "$file: the link $link leads somewhere");
	}
	return;
}

$ENV{PG_CONFIG} //= 'pg_config';
query("CREATE DATABASE $database", 'postgres');
query('CREATE EXTENSION btree_gist');
query("CREATE EXTENSION $extension");
query("SELECT FROM $extension.attach()");

check_functions();
check_types();
check_settings();
check_relations();
check_states();
check_errors();
check_words();
check_locks();
check_document($_) foreach 'README.md', 'CHANGELOG.md', glob('docs/*.md');

query("DROP DATABASE $database", 'postgres');
done_testing();
