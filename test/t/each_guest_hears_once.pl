# While the pipeline is switched on and off, restaurant by restaurant, into shadow, killed and revived, bookings arrive, and both call
# sites of the app ask for each of them through the adapter: every booking is seated once, and every guest hears of it once, either from
# the app, whose own path seated him, or from the outbox.  It could fail by a rehearsal that is taken for an outcome, by a message for
# what another path has confirmed, or by two paths that both find the booking pending.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NodeProgram;
use Pipeline;
use Test::More;

my $node = new_node('each_guest');
make_supabase_database($node, 'assignment_v3.retry_base_delay' => '20ms', 'assignment_v3.retry_jitter' => '20ms');
$node->safe_psql('app', <<'SQL');
SET ROLE app_owner;
SELECT make_floor(3, 16);
-- the app's own path: the smallest table that is free
CREATE FUNCTION api.auto_assign(booking_id uuid) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path TO '' AS $$
DECLARE
	b public.bookings;
	t record;
BEGIN
	SELECT * INTO b FROM public.bookings WHERE id = booking_id FOR UPDATE;
	IF b.status <> 'pending' THEN
		RETURN 'already_confirmed';
	END IF;
	FOR t IN SELECT id FROM public.table_inventory WHERE restaurant_id = b.restaurant_id AND capacity >= b.party_size ORDER BY capacity, id LOOP
		INSERT INTO public.booking_table_assignments (booking_id, table_id, start_at, end_at)
		VALUES (b.id, t.id, b.start_at, b.end_at) ON CONFLICT DO NOTHING;
		IF FOUND THEN
			UPDATE public.bookings SET status = 'confirmed' WHERE id = b.id;
			RETURN 'succeeded';
		END IF;
	END LOOP;
	RETURN 'exhausted';
END
$$;
REVOKE ALL ON FUNCTION api.auto_assign(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.auto_assign(uuid) TO service_role;
SQL
my $log_start = -s $node->logfile;

run_program($node, 'each_guest_hears_once.mjs');
log_is_clean($node, $log_start, 'nothing went wrong in the server');
$node->stop;
done_testing();
