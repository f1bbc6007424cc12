# The pictures are pictures: Chromium opens the page of rollout_report() and the SVG of service_timeline(), finds the elements that
# are in them, paints them wide enough and not blank, by day and by night, and asks the network for nothing.  XML that a
# parser takes may still be a page that a browser shows empty.  Where there is no Chromium all of it is skipped; the
# screenshots stay beside the logs.

use strict;
use warnings;

use Compress::Zlib qw(uncompress);
use Pipeline;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($chromium) = grep { -x } map { ("$_/chromium", "$_/chromium-browser", "$_/google-chrome") } split(/:/, $ENV{PATH});
my $profile = PostgreSQL::Test::Utils::tempdir();

plan skip_all => 'chromium is not installed' unless defined $chromium;

# Opens a file, and returns what Chromium printed.
sub open_in_browser
{
	my ($file, @options) = @_;
	my ($stdout, $stderr);

	IPC::Run::run([ $chromium, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars',
		"--user-data-dir=$profile", '--window-size=1160,1400', @options, "file://$file" ], '<', '/dev/null', '>', \$stdout, '2>', \$stderr,
		IPC::Run::timeout(60)) or diag($stderr);
	return $stdout;
}

# Width and height of a PNG, and how many different rows of pixels it has.
sub measures
{
	my ($file) = @_;
	my $png = slurp_file($file);
	my ($width, $height, $depth, $colour) = unpack('x16 N N C C', $png);
	my ($data, $at) = ('', 8);

	while ($at < length $png)
	{
		my ($length, $type) = unpack("x$at N a4", $png);

		$data .= substr($png, $at + 8, $length) if $type eq 'IDAT';
		$at += $length + 12;
	}
	my $bytes = 1 + $width * ($colour == 6 ? 4 : 3);
	my %rows = map { $_ => 1 } unpack("(a$bytes)*", uncompress($data));

	return ($width, $height, scalar keys %rows);
}

sub check_screenshot
{
	my ($name, $file, @options) = @_;
	my $png = "$PostgreSQL::Test::Utils::log_path/$name.png";

	open_in_browser($file, "--screenshot=$png", @options);
	my ($width, $height, $rows) = -e $png ? measures($png) : (0, 0, 0);
	is("$width x $height", '1160 x 1400', "$name: a screenshot");
	cmp_ok($rows, '>', 200, '... that is not blank');
	return $png;
}

my $node = new_node('main');

attach_pipeline($node);
$node->safe_psql('app', q{
	SELECT make_floor(2, 12);
	UPDATE restaurants SET name = 'Chez <Nous> & "Vous"';
	SELECT book(1, 1 + n % 8, 17 + (n % 5), 'Guest ' || n) FROM generate_series(1, 30) AS n;
	SET assignment_v3.max_attempts = 1;
	CALL assignment_v3.run();
});
my $restaurant = "test_id('a', 1), (date_trunc('day', now()) + interval '30 days')::date";
my %pictures = (
	report => [ 'html', q{SELECT assignment_v3.rollout_report()} ],
	timeline => [ 'svg', "SELECT assignment_v3.service_timeline($restaurant, 'svg')" ]);

foreach my $name (sort keys %pictures)
{
	my ($suffix, $sql) = @{ $pictures{$name} };
	my $file = "$profile/$name.$suffix";

	append_to_file($file, $node->safe_psql('app', $sql));
	$pictures{$name} = $file;
}

my $page = open_in_browser($pictures{report}, '--dump-dom');
my @headings = $page =~ m{<h2>([^<]*)</h2>}g;

like($page, qr{<h1>Rollout of app</h1>}, 'the report has its heading');
cmp_ok(scalar @headings, '>=', 5, '... and those of its plots: ' . join(', ', @headings));
cmp_ok(scalar(() = $page =~ /<circle /g), '>=', 5, '... with points');
unlike($page, qr/<parsererror/, '... and no error');
my $day = check_screenshot('report', $pictures{report});
my $night = check_screenshot('report_by_night', $pictures{report}, '--blink-settings=preferredColorScheme=0');
isnt(slurp_file($day), slurp_file($night), 'by night it is another one');

my $picture = open_in_browser($pictures{timeline}, '--dump-dom');
my $parties = $node->safe_psql('app', "SELECT count(*) FROM booking_table_assignments AS a JOIN bookings AS b ON b.id = a.booking_id WHERE b.restaurant_id = test_id('a', 1)");

unlike($picture, qr/parsererror/, 'the timeline is an SVG');
is(scalar(() = $picture =~ /<rect class="(?:party|merge)" [^>]*height="20"/g), $parties, '... with a box per table that is taken');
like($picture, qr/Chez &lt;Nous&gt; &amp; "Vous"/, '... and names as they are');
check_screenshot('timeline', $pictures{timeline});
done_testing();
