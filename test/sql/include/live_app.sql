-- A live restaurant app in the schema public, as attach() meets it: with ids by a function of its own, enums, smallint and
-- varchar, some twenty indexes on bookings, four triggers that fill, stamp, refuse and recompute, further NOT NULL columns
-- with defaults, row-level security with policies, foreign keys that cascade or set null, holds, a second ledger with a
-- deferrable exclusion constraint, and a history and attempts without versions.  bookings has no column of the pipeline.
--
-- Needs nothing but an empty schema public; btree_gist comes into the schema extensions if it is not there.  The extension
-- is neither created nor attached.  staff_role and guest_role are whom the policies speak of, PUBLIC unless set.
--
-- Schema live has what makes a test short: ids by kind and number (a restaurant, b booking, c zone, d table), hours of
-- 1 June 2099, bookings as the app makes them, and the app's own way of confirming one.
\if :{?staff_role}
\else
\set staff_role PUBLIC
\endif
\if :{?guest_role}
\else
\set guest_role PUBLIC
\endif
SET client_min_messages TO warning;
CREATE SCHEMA IF NOT EXISTS extensions;
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA extensions;

CREATE FUNCTION public.new_id() RETURNS uuid LANGUAGE sql VOLATILE AS
	$$SELECT overlay(gen_random_uuid()::text PLACING 'a11' FROM 1 FOR 3)::uuid$$;
CREATE FUNCTION public.new_reference() RETURNS text LANGUAGE sql VOLATILE AS
	$$SELECT upper(substr(md5(gen_random_uuid()::text), 1, 10))$$;

CREATE TYPE public.booking_status AS ENUM ('confirmed', 'pending', 'cancelled', 'completed', 'no_show', 'pending_allocation',
	'checked_in', 'waitlisted');
CREATE TYPE public.table_status AS ENUM ('available', 'reserved', 'occupied', 'out_of_service');
CREATE TYPE public.table_mobility AS ENUM ('movable', 'fixed');
CREATE TYPE public.event_severity AS ENUM ('info', 'notice', 'warning', 'error', 'critical');
CREATE TYPE public.outbox_status AS ENUM ('pending', 'processing', 'done', 'dead');
CREATE TYPE public.attempt_result AS ENUM ('success', 'failure');
CREATE TYPE public.resource_kind AS ENUM ('table', 'hold', 'room');
CREATE DOMAIN public.party AS smallint CHECK (VALUE > 0);

CREATE TABLE public.restaurants (
	id uuid PRIMARY KEY DEFAULT public.new_id(),
	name varchar(120) NOT NULL,
	slug varchar(120) NOT NULL UNIQUE,
	timezone varchar(60) NOT NULL DEFAULT 'Europe/London',
	is_active boolean NOT NULL DEFAULT true,
	capacity integer,
	reservation_interval_minutes smallint NOT NULL DEFAULT 15,
	reservation_default_duration_minutes smallint NOT NULL DEFAULT 90,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.zones (
	id uuid PRIMARY KEY DEFAULT public.new_id(),
	restaurant_id uuid NOT NULL REFERENCES public.restaurants ON DELETE CASCADE,
	name varchar(80) NOT NULL,
	sort_order smallint NOT NULL DEFAULT 0,
	area_type text NOT NULL DEFAULT 'indoor'
);
CREATE TABLE public.table_inventory (
	id uuid PRIMARY KEY DEFAULT public.new_id(),
	restaurant_id uuid NOT NULL REFERENCES public.restaurants ON DELETE CASCADE,
	zone_id uuid NOT NULL REFERENCES public.zones ON DELETE RESTRICT,
	table_number varchar(20) NOT NULL,
	capacity smallint NOT NULL CHECK (capacity BETWEEN 1 AND 20),
	min_party_size smallint NOT NULL DEFAULT 1,
	max_party_size bigint,
	section text,
	category text NOT NULL DEFAULT 'dining',
	status public.table_status NOT NULL DEFAULT 'available',
	mobility public.table_mobility NOT NULL DEFAULT 'movable',
	active boolean NOT NULL DEFAULT true,
	position jsonb,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (restaurant_id, table_number)
);
CREATE TABLE public.table_adjacencies (
	table_a uuid NOT NULL REFERENCES public.table_inventory ON DELETE CASCADE,
	table_b uuid NOT NULL REFERENCES public.table_inventory ON DELETE CASCADE,
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (table_a, table_b)
);
CREATE TABLE public.customers (
	id uuid PRIMARY KEY DEFAULT public.new_id(),
	restaurant_id uuid NOT NULL REFERENCES public.restaurants ON DELETE CASCADE,
	auth_user_id uuid,
	full_name text NOT NULL,
	email text NOT NULL,
	phone text NOT NULL DEFAULT ''
);
CREATE TABLE public.bookings (
	id uuid PRIMARY KEY DEFAULT public.new_id(),
	restaurant_id uuid NOT NULL REFERENCES public.restaurants ON DELETE CASCADE,
	customer_id uuid REFERENCES public.customers ON DELETE SET NULL,
	reference text NOT NULL DEFAULT public.new_reference() UNIQUE,
	booking_date date NOT NULL,
	start_time time NOT NULL,
	end_time time NOT NULL,
	start_at timestamptz,
	end_at timestamptz,
	party_size public.party NOT NULL,
	booking_type text NOT NULL DEFAULT 'dinner',
	seating_preference text NOT NULL DEFAULT 'any',
	status public.booking_status NOT NULL DEFAULT 'pending',
	customer_name text NOT NULL DEFAULT 'Guest',
	customer_email text NOT NULL DEFAULT 'guest@example.org',
	customer_phone varchar(40) NOT NULL DEFAULT '',
	notes text,
	source varchar(20) NOT NULL DEFAULT 'web',
	marketing_opt_in boolean NOT NULL DEFAULT false,
	loyalty_points_awarded integer NOT NULL DEFAULT 0,
	assigned_zone_id uuid REFERENCES public.zones ON DELETE SET NULL,
	checked_in_at timestamptz,
	client_request_id uuid NOT NULL DEFAULT gen_random_uuid(),
	idempotency_key text,
	auto_assign_idempotency_key text,
	auth_user_id uuid,
	details jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CHECK (start_at < end_at)
);
CREATE TABLE public.booking_table_assignments (
	id uuid PRIMARY KEY DEFAULT public.new_id(),
	booking_id uuid NOT NULL REFERENCES public.bookings ON DELETE CASCADE,
	table_id uuid NOT NULL REFERENCES public.table_inventory ON DELETE RESTRICT,
	slot_id uuid,
	idempotency_key text,
	start_at timestamptz,
	end_at timestamptz,
	assigned_at timestamptz NOT NULL DEFAULT now(),
	assigned_by uuid,
	source text NOT NULL DEFAULT 'auto',
	UNIQUE (table_id, booking_id)
);
CREATE TABLE public.booking_assignment_state_history (
	id bigserial PRIMARY KEY,
	booking_id uuid REFERENCES public.bookings ON DELETE SET NULL,
	from_state varchar(40),
	to_state varchar(40) NOT NULL,
	metadata jsonb NOT NULL DEFAULT '{}',
	reason text,
	actor_id uuid,
	created_at timestamptz NOT NULL DEFAULT now(),
	recorded_by text NOT NULL DEFAULT CURRENT_USER
);
CREATE TABLE public.booking_assignment_attempts (
	id uuid PRIMARY KEY DEFAULT public.new_id(),
	booking_id uuid NOT NULL REFERENCES public.bookings ON DELETE CASCADE,
	attempt_no smallint NOT NULL,
	strategy varchar(60),
	result public.attempt_result NOT NULL,
	reason text,
	metadata jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (booking_id, attempt_no)
);
CREATE TABLE public.observability_events (
	id uuid PRIMARY KEY DEFAULT public.new_id(),
	created_at timestamptz NOT NULL DEFAULT now(),
	source varchar(80) NOT NULL,
	event_type varchar(120) NOT NULL,
	severity public.event_severity NOT NULL DEFAULT 'info',
	context jsonb,
	restaurant_id uuid REFERENCES public.restaurants ON DELETE SET NULL,
	booking_id uuid REFERENCES public.bookings ON DELETE SET NULL,
	environment text NOT NULL DEFAULT 'production'
);
CREATE TABLE public.capacity_outbox (
	id uuid PRIMARY KEY DEFAULT public.new_id(),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	status public.outbox_status NOT NULL DEFAULT 'pending',
	event_type text NOT NULL,
	dedupe_key text,
	attempt_count smallint NOT NULL DEFAULT 0,
	next_attempt_at timestamptz NOT NULL DEFAULT now(),
	restaurant_id uuid REFERENCES public.restaurants ON DELETE CASCADE,
	booking_id uuid REFERENCES public.bookings ON DELETE CASCADE,
	idempotency_key text,
	payload jsonb NOT NULL DEFAULT '{}'
);
CREATE TABLE public.table_holds (
	id uuid PRIMARY KEY DEFAULT public.new_id(),
	restaurant_id uuid NOT NULL REFERENCES public.restaurants ON DELETE CASCADE,
	booking_id uuid REFERENCES public.bookings ON DELETE SET NULL,
	zone_id uuid NOT NULL REFERENCES public.zones ON DELETE CASCADE,
	start_at timestamptz NOT NULL,
	end_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'confirmed', 'released', 'expired')),
	metadata jsonb,
	created_by uuid
);
CREATE TABLE public.table_hold_windows (
	hold_id uuid NOT NULL REFERENCES public.table_holds ON DELETE CASCADE,
	table_id uuid NOT NULL REFERENCES public.table_inventory ON DELETE CASCADE,
	restaurant_id uuid NOT NULL REFERENCES public.restaurants ON DELETE CASCADE,
	booking_id uuid REFERENCES public.bookings ON DELETE SET NULL,
	start_at timestamptz NOT NULL,
	end_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (hold_id, table_id)
);
CREATE TABLE public.allocations (
	id uuid PRIMARY KEY DEFAULT public.new_id(),
	resource_type public.resource_kind NOT NULL DEFAULT 'table',
	resource_id uuid NOT NULL,
	restaurant_id uuid NOT NULL REFERENCES public.restaurants ON DELETE CASCADE,
	booking_id uuid REFERENCES public.bookings ON DELETE CASCADE,
	"window" tstzrange NOT NULL,
	shadow boolean NOT NULL DEFAULT false,
	is_maintenance boolean NOT NULL DEFAULT false,
	status text NOT NULL DEFAULT 'active',
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT allocations_no_overlap EXCLUDE USING gist (resource_type WITH =, resource_id WITH =, "window" WITH &&)
		WHERE (NOT shadow) DEFERRABLE INITIALLY DEFERRED
);

-- with those of its two keys, twenty indexes on bookings
CREATE INDEX ON public.bookings (restaurant_id, booking_date, start_time);
CREATE INDEX ON public.bookings (restaurant_id, start_at, end_at);
CREATE INDEX ON public.bookings (restaurant_id, status);
CREATE INDEX ON public.bookings (status, created_at);
CREATE INDEX ON public.bookings (created_at DESC);
CREATE INDEX ON public.bookings (updated_at);
CREATE INDEX ON public.bookings (customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX ON public.bookings (lower(customer_email));
CREATE INDEX ON public.bookings (customer_phone);
CREATE INDEX ON public.bookings (assigned_zone_id);
CREATE INDEX ON public.bookings (auth_user_id);
CREATE INDEX ON public.bookings (client_request_id);
CREATE UNIQUE INDEX ON public.bookings (restaurant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX ON public.bookings (auto_assign_idempotency_key) WHERE auto_assign_idempotency_key IS NOT NULL;
CREATE INDEX ON public.bookings (restaurant_id, created_at DESC) WHERE status IN ('pending', 'pending_allocation');
CREATE INDEX ON public.bookings (start_at) WHERE status = 'confirmed';
CREATE INDEX ON public.bookings USING gin (details);
CREATE INDEX ON public.bookings USING brin (booking_date);
CREATE INDEX ON public.booking_table_assignments (table_id);
CREATE INDEX ON public.booking_table_assignments (booking_id);
CREATE INDEX ON public.observability_events (source, event_type, created_at DESC);
CREATE INDEX ON public.capacity_outbox (next_attempt_at) WHERE status = 'pending';
CREATE UNIQUE INDEX ON public.capacity_outbox (dedupe_key, event_type) WHERE dedupe_key IS NOT NULL;
CREATE INDEX ON public.table_hold_windows (table_id, start_at, end_at);
CREATE INDEX ON public.allocations (restaurant_id);

-- The app's own triggers.  The window comes from the date and the local times, in the restaurant's time zone.
CREATE FUNCTION public.fill_window() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	zone text := (SELECT r.timezone FROM restaurants AS r WHERE r.id = NEW.restaurant_id);
BEGIN
	NEW.start_at := (NEW.booking_date + NEW.start_time) AT TIME ZONE zone;
	NEW.end_at := (NEW.booking_date + NEW.end_time) AT TIME ZONE zone;
	IF NEW.end_time <= NEW.start_time THEN
		NEW.end_at := NEW.end_at + interval '1 day';
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER bookings_fill_window BEFORE INSERT OR UPDATE OF booking_date, start_time, end_time, restaurant_id ON public.bookings
	FOR EACH ROW EXECUTE FUNCTION public.fill_window();
CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.updated_at := clock_timestamp();
	RETURN NEW;
END
$$;
CREATE TRIGGER bookings_stamp BEFORE UPDATE ON public.bookings FOR EACH ROW EXECUTE FUNCTION public.stamp();
CREATE FUNCTION public.refuse_confirmed_without_table() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.status = 'confirmed' AND NOT EXISTS (SELECT FROM booking_table_assignments AS a WHERE a.booking_id = NEW.id) THEN
		RAISE EXCEPTION 'booking % cannot be confirmed without a table', NEW.id USING ERRCODE = '23514';
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER bookings_require_tables BEFORE UPDATE OF status ON public.bookings
	FOR EACH ROW WHEN (NEW.status = 'confirmed' AND OLD.status IS DISTINCT FROM NEW.status)
	EXECUTE FUNCTION public.refuse_confirmed_without_table();
-- A table is occupied while its guests sit there, reserved while a booking has it, else available.
CREATE FUNCTION public.recompute_table_status(wanted uuid) RETURNS void LANGUAGE sql AS $$
	UPDATE table_inventory AS t SET status = s.status, updated_at = clock_timestamp()
	FROM (
		SELECT CASE WHEN bool_or(b.status = 'checked_in') THEN 'occupied' WHEN count(b.id) > 0 THEN 'reserved' ELSE 'available' END::table_status AS status
		FROM booking_table_assignments AS a
		JOIN bookings AS b ON b.id = a.booking_id AND b.status IN ('confirmed', 'checked_in')
		WHERE a.table_id = wanted
	) AS s
	WHERE t.id = wanted AND t.status <> 'out_of_service' AND t.status <> s.status
$$;
CREATE FUNCTION public.recompute_by_assignment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP <> 'INSERT' THEN
		PERFORM recompute_table_status(OLD.table_id);
	END IF;
	IF TG_OP <> 'DELETE' THEN
		PERFORM recompute_table_status(NEW.table_id);
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER assignments_recompute AFTER INSERT OR UPDATE OR DELETE ON public.booking_table_assignments
	FOR EACH ROW EXECUTE FUNCTION public.recompute_by_assignment();
CREATE FUNCTION public.recompute_by_booking() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM recompute_table_status(a.table_id) FROM booking_table_assignments AS a WHERE a.booking_id = NEW.id ORDER BY a.table_id;
	RETURN NULL;
END
$$;
CREATE TRIGGER bookings_recompute AFTER UPDATE OF status ON public.bookings
	FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION public.recompute_by_booking();

-- Row-level security: guests see and make their own bookings, staff work on those of the restaurant in their claims.
CREATE FUNCTION public.claim(name text) RETURNS text LANGUAGE sql STABLE AS
	$$SELECT NULLIF(current_setting('request.jwt.claims', true), '')::jsonb ->> name$$;
ALTER TABLE public.restaurants ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.zones ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.table_inventory ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.table_adjacencies ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.bookings ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.booking_table_assignments ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.booking_assignment_state_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.booking_assignment_attempts ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.observability_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.capacity_outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.table_holds ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.table_hold_windows ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.allocations ENABLE ROW LEVEL SECURITY;
CREATE POLICY restaurants_are_public ON public.restaurants FOR SELECT TO :guest_role USING (is_active);
CREATE POLICY staff_read_zones ON public.zones FOR SELECT TO :staff_role USING (restaurant_id::text = public.claim('restaurant_id'));
CREATE POLICY staff_read_tables ON public.table_inventory FOR SELECT TO :staff_role USING (restaurant_id::text = public.claim('restaurant_id'));
CREATE POLICY staff_set_tables ON public.table_inventory FOR UPDATE TO :staff_role USING (restaurant_id::text = public.claim('restaurant_id'));
CREATE POLICY staff_work_on_bookings ON public.bookings FOR ALL TO :staff_role USING (restaurant_id::text = public.claim('restaurant_id'));
CREATE POLICY guests_read_bookings ON public.bookings FOR SELECT TO :guest_role USING (auth_user_id::text = public.claim('sub'));
CREATE POLICY guests_make_bookings ON public.bookings FOR INSERT TO :guest_role WITH CHECK (auth_user_id::text = public.claim('sub'));
CREATE POLICY staff_seat_bookings ON public.booking_table_assignments FOR ALL TO :staff_role
	USING (EXISTS (SELECT FROM public.bookings AS b WHERE b.id = booking_id));

-- Helpers of the tests.  Table 1 of restaurant 2 is d 201.
CREATE SCHEMA live;
GRANT USAGE ON SCHEMA live TO PUBLIC;
CREATE FUNCTION live.id(kind text, n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
	$$SELECT (kind || '0000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE FUNCTION live.no(id uuid) RETURNS int LANGUAGE sql IMMUTABLE AS
	$$SELECT right(id::text, 12)::int$$;
CREATE FUNCTION live.at(hour numeric) RETURNS timestamptz LANGUAGE sql STABLE AS
	$$SELECT '2099-06-01 00:00+00'::timestamptz + hour * interval '1 hour'$$;
-- a restaurant with one zone and tables of these capacities, each the neighbour of the next
CREATE PROCEDURE live.open(restaurant int, VARIADIC capacities int[]) LANGUAGE sql AS $$
	INSERT INTO public.restaurants (id, name, slug, timezone)
	VALUES (live.id('a', restaurant), 'Restaurant ' || restaurant, 'r' || restaurant, 'UTC');
	INSERT INTO public.zones (id, restaurant_id, name)
	VALUES (live.id('c', restaurant), live.id('a', restaurant), 'Zone ' || restaurant);
	INSERT INTO public.table_inventory (id, restaurant_id, zone_id, table_number, capacity)
	SELECT live.id('d', restaurant * 100 + c.n::int), live.id('a', restaurant), live.id('c', restaurant), 'T' || c.n, c.seats
	FROM unnest(capacities) WITH ORDINALITY AS c (seats, n);
	INSERT INTO public.table_adjacencies (table_a, table_b)
	SELECT live.id('d', restaurant * 100 + n), live.id('d', restaurant * 100 + n + 1) FROM generate_series(1, cardinality(capacities) - 1) AS n;
$$;
-- a booking as the app makes it: by date and local times
CREATE PROCEDURE live.book(n int, restaurant int DEFAULT 1, party int DEFAULT 2, hour numeric DEFAULT 18, hours numeric DEFAULT 2)
LANGUAGE sql AS $$
	INSERT INTO public.bookings (id, restaurant_id, booking_date, start_time, end_time, party_size)
	VALUES (live.id('b', n), live.id('a', restaurant), (live.at(hour) AT TIME ZONE 'UTC')::date, (live.at(hour) AT TIME ZONE 'UTC')::time,
		(live.at(hour + hours) AT TIME ZONE 'UTC')::time, party);
$$;
-- the app's own way of confirming: an assignment per table, the second ledger, then the status
CREATE PROCEDURE live.confirm(n int, VARIADIC tables int[]) LANGUAGE sql AS $$
	INSERT INTO public.booking_table_assignments (booking_id, table_id, start_at, end_at, source)
	SELECT b.id, live.id('d', t.n), b.start_at, b.end_at, 'legacy'
	FROM public.bookings AS b, unnest(tables) AS t (n) WHERE b.id = live.id('b', confirm.n);
	INSERT INTO public.allocations (resource_id, restaurant_id, booking_id, "window")
	SELECT live.id('d', t.n), b.restaurant_id, b.id, tstzrange(b.start_at, b.end_at)
	FROM public.bookings AS b, unnest(tables) AS t (n) WHERE b.id = live.id('b', confirm.n);
	UPDATE public.bookings SET status = 'confirmed' WHERE id = live.id('b', confirm.n);
$$;
-- what there is to see of bookings; the columns of the pipeline are there once it is attached
CREATE FUNCTION live.bookings(VARIADIC numbers int[])
RETURNS TABLE (n int, status text, state text, version int, party int, tables text, ledger text) LANGUAGE sql STABLE AS $$
	SELECT u.n, b.status::text, to_jsonb(b) ->> 'assignment_state', (to_jsonb(b) ->> 'assignment_state_version')::int, b.party_size,
		(SELECT string_agg(t.table_number, '+' ORDER BY t.id) FROM public.booking_table_assignments AS a
		 JOIN public.table_inventory AS t ON t.id = a.table_id WHERE a.booking_id = b.id),
		(SELECT string_agg(t.table_number, '+' ORDER BY t.id) FROM public.allocations AS l
		 JOIN public.table_inventory AS t ON t.id = l.resource_id WHERE l.booking_id = b.id AND l.resource_type = 'table')
	FROM unnest(numbers) WITH ORDINALITY AS u (n, o)
	LEFT JOIN public.bookings AS b ON b.id = live.id('b', u.n)
	ORDER BY u.o
$$;
