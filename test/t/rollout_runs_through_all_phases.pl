# The whole rollout, from development to the last gate, on the demo workload and beside a legacy path: every phase passes its gate when
# it has held, and not before; 10, 50 and 100 % reach whom they should; a fault takes the pipeline off by itself, everybody obeys,
# the bookings it leaves are taken over by the legacy path without one lost or seated twice, and after the repair the last phase
# is held anew.  Each part is tested by itself elsewhere; here they have to fit together, as an operator would use them.
#
# The app is a stand-in: it asks the pipeline first and goes the legacy way where the pipeline does not decide.  A phase lasts
# days, so what was written in it is moved into the past afterwards, to the time that it would have been written at.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Pipeline;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('rollout', 'autovacuum = off');
$node->safe_psql('postgres', 'CREATE DATABASE app');
sub sql { my ($statement) = @_; return $node->safe_psql('app', $statement); }

# ---------------------------------------------------------------------
# The app with its legacy path
# ---------------------------------------------------------------------
sql('CREATE EXTENSION btree_gist; CREATE EXTENSION assignment_v3; SELECT FROM assignment_v3.attach()');
$node->psql('app', '\i scripts/demo_workload.sql', on_error_die => 1, extra_params => [ '-v', 'restaurants=16', '-v', 'days=8', '-v', 'load=0.35' ]);
sql(<<'SQL');
-- the guests' calls, a day of the workload for each phase
CREATE TABLE calls AS SELECT b.*, dense_rank() OVER (ORDER BY (b.start_at AT TIME ZONE 'UTC')::date) AS phase_no FROM bookings AS b;
DELETE FROM bookings;

-- The legacy path: the smallest table that is free, one by one.
CREATE FUNCTION legacy_assign(booking uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	guest bookings;
	candidate uuid;
	result text := 'exhausted';
BEGIN
	SELECT * INTO guest FROM bookings WHERE id = booking;
	FOR candidate IN
		SELECT t.id FROM table_inventory AS t
		WHERE t.restaurant_id = guest.restaurant_id AND t.active AND t.capacity >= guest.party_size AND t.min_party_size <= guest.party_size
			AND NOT EXISTS (SELECT FROM booking_table_assignments AS a
				WHERE a.table_id = t.id AND a.start_at < guest.end_at AND a.end_at > guest.start_at)
		ORDER BY t.capacity, t.table_number LIMIT 1
	LOOP
		INSERT INTO booking_table_assignments (booking_id, table_id, start_at, end_at) VALUES (booking, candidate, guest.start_at, guest.end_at);
		UPDATE bookings SET status = 'confirmed' WHERE id = booking;
		result := 'succeeded';
	END LOOP;
	INSERT INTO observability_events (source, event_type, restaurant_id, booking_id, context)
	VALUES ('auto_assign', 'auto_assign.summary', guest.restaurant_id, booking, jsonb_build_object('result', result));
	RETURN result;
END;
$$;
-- The booking route: a guest calls, the pipeline is asked, and where it does not decide the legacy path does.
CREATE PROCEDURE guests_call(wanted int) LANGUAGE plpgsql AS $$
DECLARE
	guest calls;
	decision record;
BEGIN
	FOR guest IN SELECT * FROM calls AS c WHERE c.phase_no = wanted AND NOT EXISTS (SELECT FROM bookings AS b WHERE b.id = c.id) ORDER BY c.id LOOP
		INSERT INTO bookings (id, restaurant_id, party_size, start_at, end_at) VALUES (guest.id, guest.restaurant_id, guest.party_size, guest.start_at, guest.end_at);
		COMMIT;
		SELECT * INTO decision FROM assignment_v3.process_booking(guest.id, 'booking_route');
		IF decision.outcome = 'noop' AND decision.reason IN ('pipeline_disabled', 'shadow') THEN
			PERFORM legacy_assign(guest.id);
		END IF;
		COMMIT;
	END LOOP;
END;
$$;
-- What was written since the phase was entered is moved to where it belongs: entered then, the rest from twelve hours later on.
-- How fast this machine is today is not what this is about, so the durations are what a booking's name says.
CREATE PROCEDURE belongs_to(phase_entered timestamptz) LANGUAGE plpgsql AS $$
DECLARE
	really timestamptz := (SELECT max(entered_at) FROM assignment_v3.phases);
	off interval := phase_entered + interval '12 hours' - really;
BEGIN
	UPDATE observability_events SET created_at = created_at + off, context = CASE WHEN context ? 'duration_ms'
		THEN jsonb_set(context, '{duration_ms}', to_jsonb(5 + abs(hashtext(booking_id::text)) % 50)) ELSE context END WHERE created_at >= really;
	UPDATE booking_assignment_shadow_results SET created_at = created_at + off WHERE created_at >= really;
	UPDATE capacity_outbox SET created_at = created_at + off WHERE created_at >= really;
	UPDATE bookings SET created_at = created_at + off WHERE created_at >= really;
	UPDATE assignment_v3.audit SET changed_at = changed_at + off WHERE changed_at >= really;
	UPDATE assignment_v3.sign_offs SET signed_at = signed_at + off WHERE signed_at >= really;
	UPDATE assignment_v3.incidents SET occurred_at = occurred_at + off WHERE occurred_at >= really;
	UPDATE assignment_v3.phases SET entered_at = phase_entered WHERE entered_at = really;
END;
$$;
CREATE VIEW not_passed AS SELECT p.phase, p.at, g.* FROM (SELECT current_setting('test.phase') AS phase, current_setting('test.at')::timestamptz AS at) AS p
CROSS JOIN LATERAL assignment_v3.gate(p.phase, p.at) AS g WHERE g.verdict <> 'pass';
SQL

# A Saturday morning three weeks ago, in whose evening production was in shadow; all times are hours from it.
my $saturday = sql("SELECT date_trunc('week', now() AT TIME ZONE 'UTC') - interval '16 days' + interval '7 hours'");
sub at { my ($hours) = @_; return "'$saturday+00'::timestamptz + $hours * interval '1 hour'"; }

# enter(phase, rollout): as the runbook says, in one transaction.
sub enter
{
	my ($phase, @rollout) = @_;
	my ($stdout, $stderr) = ('', '');

	$node->psql('app', join("\n", 'BEGIN;', (map { "SELECT assignment_v3.set_rollout($_);" } @rollout), "SELECT assignment_v3.enter_phase('$phase');", 'COMMIT;'),
		stdout => \$stdout, stderr => \$stderr, on_error_die => 1);
	is($stderr, '', "$phase is entered, and has been earned");
	return;
}

# not_passed(phase, hours): what a phase has not passed as things stood then.
sub not_passed
{
	my ($phase, $hours) = @_;
	my $at = sql('SELECT ' . at($hours));

	return sql("SET test.phase = '$phase'; SET test.at = '$at'; SELECT criterion, verdict, actual, detail FROM not_passed");
}

# holds(phase, from, to): the phase belongs there, and has passed then, but not an hour after it began.
sub holds
{
	my ($phase, $from, $to) = @_;

	sql('CALL belongs_to(' . at($from) . ')');
	like(not_passed($phase, $from + 13), qr/^duration\|insufficient data/m, "... an hour later it has not passed") if $phase ne 'development';
	is(not_passed($phase, $to), '', "... and when it has held it has");
	return;
}

sub guests_call { my ($n) = @_; sql("CALL guests_call($n)"); sql('CALL assignment_v3.run()'); return; }

my $decided = "SELECT string_agg(DISTINCT e.context ->> 'mode', ',') FROM observability_events AS e WHERE e.event_type = 'coordinator.start'
	AND e.created_at >= (SELECT max(entered_at) FROM assignment_v3.phases)";
my $served = "SELECT count(*) FILTER (WHERE h.metadata ? 'trigger'), count(*) FILTER (WHERE h.metadata ? 'external'),
	bool_and((assignment_v3.rollout_bucket(b.restaurant_id) < %d) = (h.metadata ? 'trigger'))
	FROM bookings AS b JOIN booking_assignment_state_history AS h ON h.booking_id = b.id AND h.to_state = 'confirmed'
	WHERE b.id IN (SELECT id FROM calls WHERE phase_no = %d)";

# ---------------------------------------------------------------------
# Development and staging
# ---------------------------------------------------------------------
enter('development', "NULL, 'active'");
guests_call(1);
holds('development', -130, -110);

enter('staging_shadow', "NULL, 'shadow'");
guests_call(2);
is(sql($decided), 'shadow', 'in shadow nothing is decided');
like(sql(sprintf($served, 0, 2)), qr/^0\|\d{3}\|t$/, '... and the legacy path seats everybody');
holds('staging_shadow', -105, -79);

enter('staging_full', "NULL, 'active'");
guests_call(3);
like(not_passed('staging_full', -20) || 'nothing', qr/sign-off by qa/, 'without signatures staging is not over');
sql("SELECT assignment_v3.sign_off('staging_full', 'QA', 'Ada'), assignment_v3.sign_off('staging_full', 'engineering', 'Bea')");
holds('staging_full', -78, -20);

# ---------------------------------------------------------------------
# Production
# ---------------------------------------------------------------------
enter('production_shadow', "NULL, 'shadow'");
guests_call(4);
sql("SELECT assignment_v3.sign_off('production_shadow', 'on-call', 'Cy'), assignment_v3.sign_off('production_shadow', 'product owner', 'Di')");
holds('production_shadow', 0, 25);

my $preview = sql('SELECT string_agg(restaurant_id::text, $$,$$ ORDER BY bucket) FROM assignment_v3.rollout_preview(10) WHERE mode_then = $$active$$');
# from now on nobody has to be awake
sql('ALTER DATABASE app SET assignment_v3.auto_rollback = on');
enter('production_10', "NULL, 'active', percent => 10");
is(sql("SELECT string_agg(id::text, ',' ORDER BY assignment_v3.rollout_bucket(id)) FROM restaurants WHERE (assignment_v3.mode(id)).mode = 'active'"),
	$preview, 'ten percent are those that the preview named');
guests_call(5);
like(sql(sprintf($served, 1000, 5)), qr/^\d{2,}\|\d{2,}\|t$/, '... and they are served by the pipeline, the others by the legacy path');
holds('production_10', 26, 51);

enter('production_50', "NULL, 'active', percent => 50");
guests_call(6);
like(sql(sprintf($served, 5000, 6)), qr/^\d{2,}\|\d{2,}\|t$/, 'fifty percent are served by the pipeline');
holds('production_50', 52, 77);

# ---------------------------------------------------------------------
# A fault, the automatic rollback, and the legacy path takes over
# ---------------------------------------------------------------------
enter('production_100', "NULL, 'active', percent => 100");
sql(<<'SQL');
-- a migration of the app's goes wrong: whoever sets the strategy, as only the pipeline does, meets an error
CREATE FUNCTION breaks() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'column "seating_plan" does not exist'; END$$;
CREATE TRIGGER breaks BEFORE UPDATE ON bookings FOR EACH ROW WHEN (NEW.assignment_strategy IS DISTINCT FROM OLD.assignment_strategy) EXECUTE FUNCTION breaks();
SQL
my $pooled = $node->background_psql('app');
$pooled->query_safe("SELECT count(*) FROM assignment_v3.process_booking('00000000-0000-0000-0000-000000000000')");
# some call while the fault is about, the others once the pipeline is off
sql('UPDATE calls SET phase_no = 70 WHERE phase_no = 7 AND id NOT IN (SELECT id FROM calls WHERE phase_no = 7 ORDER BY id LIMIT (SELECT count(*) / 2 FROM calls WHERE phase_no = 7))');
guests_call(7);
ok(wait_until(sub { sql('SELECT count(*) FROM assignment_v3.kill_switch') eq '1' }), 'a fault makes decisions fail, and the pipeline switches itself off');
is(sql("SELECT k.killed_by, a.relation, e.severity FROM assignment_v3.kill_switch AS k, assignment_v3.audit AS a, observability_events AS e
	WHERE a.new_row ->> 'reason' = k.reason AND e.event_type = 'rollout.killed' AND e.context ->> 'reason' = k.reason"),
	'assignment_v3.auto_rollback|kill_switch|critical', '... and says so, in the row, the audit and an event');
is($pooled->query_safe("SELECT mode FROM assignment_v3.mode()"), 'disabled', '... and a session of the pool is off');
$pooled->quit;
sql('UPDATE calls SET phase_no = 7 WHERE phase_no = 70');
guests_call(7);
is(sql(sprintf($served, 0, 7)) =~ /^0\|[1-9]/ ? 'legacy' : 'nobody', 'legacy', '... and who called after that was served by the legacy path');
my $left = sql('SELECT assignment_v3.kill($$an operator is quicker than he thinks$$)');
is(sql('SELECT count(*) FROM assignment_v3.unfinished()'), $left, 'what is unfinished is as many as a kill says');
is(sql("SELECT count(*) FROM bookings AS b WHERE b.status = 'pending' AND b.id IN (SELECT id FROM calls WHERE phase_no = 7)
	AND NOT EXISTS (SELECT FROM observability_events AS e WHERE e.booking_id = b.id AND e.source = 'auto_assign')
	AND NOT EXISTS (SELECT FROM assignment_v3.unfinished() AS u WHERE u.booking_id = b.id)"), 0,
	'... and all that wait without the legacy path having heard of them are among them');
sql('CREATE TABLE handed_back AS SELECT u.booking_id, legacy_assign(u.booking_id) AS result FROM assignment_v3.unfinished() AS u');
is(sql("SELECT string_agg(b.status, ',') FROM handed_back AS h JOIN bookings AS b ON b.id = h.booking_id WHERE (b.status = 'confirmed') <> (h.result = 'succeeded')"),
	'', 'the legacy path takes them over');
is(sql('SELECT (SELECT count(*) FROM assignment_v3.unfinished()) = (SELECT count(*) FROM handed_back WHERE result = $$exhausted$$)'), 't',
	'... and only those are left that it has no table for');
# the host calls them
sql("UPDATE bookings SET status = 'cancelled' WHERE id IN (SELECT booking_id FROM handed_back WHERE result = 'exhausted')");
is(sql('SELECT count(*) FROM assignment_v3.unfinished()'), 0, '... until the host has told them');
is_sound($node);
sql("SELECT assignment_v3.record_incident('P1', 'errors after the migration')");
sql('CALL belongs_to(' . at(78) . ')');
like(not_passed('production_100', 78 + 169), qr/^not switched off\|fail.*^incidents\|fail/ms, 'the phase has failed, however long it is held');

# ---------------------------------------------------------------------
# Recovery
# ---------------------------------------------------------------------
sql('DROP TRIGGER breaks ON bookings; DROP FUNCTION breaks');
sql("SELECT assignment_v3.reset_breaker(restaurant_id, 'the migration is mended') FROM assignment_v3.circuits");
sql("SELECT assignment_v3.revive('the migration is mended')");
enter('production_100');
guests_call(8);
like(sql(sprintf($served, 10000, 8)), qr/^\d{3}\|0\|t$/, 'after the repair the pipeline serves everybody');
sql("SELECT assignment_v3.sign_off('production_100', r, 'Ada') FROM unnest(ARRAY['engineering', 'qa', 'product_owner']) AS r");
holds('production_100', 100, 100 + 168);

# what the page on the removal of the legacy path says beforehand, and what it says while that path is still in use
my @removal = slurp_file('docs/legacy-removal.md') =~ /^```sql\n(.*?)^```$/msg;
my ($proof) = grep { /by_legacy/ } @removal;
my %answers = (
	'gate_passed' => 't',
	'm.mode' => '',
	'by_legacy' => join('|', sql('SELECT (' . at(100) . ')::date'), 0, '',
		sql("SELECT count(*) FROM observability_events WHERE event_type = 'coordinator.start' AND created_at > " . at(101)), 0),
	'prosrc' => 'function legacy_assign(uuid)');
foreach my $word (sort keys %answers)
{
	my ($query) = grep { index($_, $word) >= 0 } @removal;

	is(sql($query), $answers{$word}, "the legacy path can go: $word");
}
like(sql($proof =~ s/production_100/production_10/r), qr/\|[1-9]\d*\|\d{4}-.*\|[1-9]\d*\|[1-9]\d*$/, '... and could not at 10 %');
is_sound($node);
is(sql('SELECT string_agg(phase, $$ $$ ORDER BY id) FROM assignment_v3.phases WHERE earned IS NOT FALSE'),
	'development staging_shadow staging_full production_shadow production_10 production_50 production_100 production_100', 'every phase was earned');

# every statement of the runbook runs as it stands there
my $page = slurp_file('docs/assignment-pipeline-rollout.md');
foreach my $block ($page =~ /^```sql\n(.*?)^```$/msg)
{
	my ($signed) = $block =~ /sign_off\('(\w+)'/;
	my $before = defined $signed ? "SELECT assignment_v3.enter_phase('$signed');" : '';
	my $stderr = '';

	$node->psql('app', "BEGIN;\nSET LOCAL client_min_messages = error;\n$before\n" . ($block =~ s/^(BEGIN|COMMIT);\n//mgr) . 'ROLLBACK;', stderr => \$stderr, on_error_stop => 1);
	is($stderr, '', 'the runbook: ' . substr($block =~ s/\s+/ /gr, 0, 70));
}

$node->stop;
done_testing();
