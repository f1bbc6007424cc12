/*-------------------------------------------------------------------------
 *
 * live_app.sql
 *		The tables of a restaurant app that has been live for a while, before
 *		it has heard of assignment_v3: what attach() adopts.
 *
 * Statuses are enums of the app's own, bookings have twenty indexes and four
 * triggers, and a window that is filled in from a date and local times.
 * Tables are taken in two ledgers: booking_table_assignments, and allocations
 * with a deferrable exclusion constraint and maintenance rows.  Row-level
 * security is on, with policies for staff, customers and the service role.
 * Foreign keys point at bookings with CASCADE and SET NULL.  The columns and
 * tables of the pipeline are not there yet, nor is any row.
 *
 * What only the app's own confirmation path uses, which is in peer_live.sql,
 * is here too: capacity per slot, idempotency keys, the history of statuses.
 *
 * Runs in an empty database, into schema public; needs the right to create
 * roles, unless anon, authenticated and service_role exist.
 *
 *-------------------------------------------------------------------------
 */
\set ON_ERROR_STOP on
\set QUIET on

SET client_min_messages TO warning;

CREATE EXTENSION IF NOT EXISTS btree_gist;

SELECT format('CREATE ROLE %I NOLOGIN', r.name)
FROM (VALUES ('anon'), ('authenticated'), ('service_role')) AS r (name)
WHERE NOT EXISTS (SELECT FROM pg_roles AS p WHERE p.rolname = r.name) \gexec

CREATE TYPE public.booking_status AS ENUM
	('pending', 'pending_allocation', 'confirmed', 'checked_in', 'completed', 'cancelled', 'no_show');
CREATE TYPE public.booking_type AS ENUM ('breakfast', 'lunch', 'dinner', 'drinks');
CREATE TYPE public.table_status AS ENUM ('available', 'reserved', 'occupied', 'out_of_service');
CREATE TYPE public.table_mobility AS ENUM ('movable', 'fixed');
CREATE TYPE public.hold_status AS ENUM ('active', 'confirmed', 'released', 'expired');
CREATE TYPE public.outbox_status AS ENUM ('pending', 'processing', 'done', 'dead');

-- ---------------------------------------------------------------------
-- Restaurants
-- ---------------------------------------------------------------------

CREATE TABLE public.restaurants (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	name text NOT NULL,
	slug text UNIQUE,
	timezone text NOT NULL DEFAULT 'Europe/London',
	is_active boolean NOT NULL DEFAULT true,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.restaurant_memberships (
	user_id uuid NOT NULL,
	restaurant_id uuid NOT NULL REFERENCES public.restaurants (id) ON DELETE CASCADE,
	role text NOT NULL DEFAULT 'staff' CHECK (role IN ('owner', 'manager', 'staff')),
	PRIMARY KEY (user_id, restaurant_id)
);

CREATE TABLE public.zones (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	restaurant_id uuid NOT NULL REFERENCES public.restaurants (id) ON DELETE CASCADE,
	name text NOT NULL,
	sort_order smallint NOT NULL DEFAULT 0,
	UNIQUE (restaurant_id, name)
);

CREATE TABLE public.table_inventory (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	restaurant_id uuid NOT NULL REFERENCES public.restaurants (id) ON DELETE CASCADE,
	zone_id uuid REFERENCES public.zones (id) ON DELETE RESTRICT,
	table_number text NOT NULL,
	capacity integer NOT NULL CHECK (capacity > 0),
	min_party_size integer NOT NULL DEFAULT 1,
	max_party_size integer,
	section text,
	seating_type text NOT NULL DEFAULT 'indoor',
	status public.table_status NOT NULL DEFAULT 'available',
	mobility public.table_mobility NOT NULL DEFAULT 'movable',
	active boolean NOT NULL DEFAULT true,
	position jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (restaurant_id, table_number)
);
CREATE INDEX table_inventory_zone_idx ON public.table_inventory (zone_id);

CREATE TABLE public.table_adjacencies (
	table_a uuid NOT NULL REFERENCES public.table_inventory (id) ON DELETE CASCADE,
	table_b uuid NOT NULL REFERENCES public.table_inventory (id) ON DELETE CASCADE,
	PRIMARY KEY (table_a, table_b)
);
CREATE INDEX table_adjacencies_b_idx ON public.table_adjacencies (table_b);

-- ---------------------------------------------------------------------
-- Bookings
-- ---------------------------------------------------------------------

CREATE TABLE public.customers (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	restaurant_id uuid NOT NULL REFERENCES public.restaurants (id) ON DELETE CASCADE,
	email text NOT NULL,
	full_name text,
	created_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (restaurant_id, email)
);

-- How many covers a restaurant takes at one time of a day.
CREATE TABLE public.booking_slots (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	restaurant_id uuid NOT NULL REFERENCES public.restaurants (id) ON DELETE CASCADE,
	slot_date date NOT NULL,
	slot_time time NOT NULL,
	available_capacity integer NOT NULL DEFAULT 999,
	reserved_count integer NOT NULL DEFAULT 0,
	version integer NOT NULL DEFAULT 1,
	updated_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (restaurant_id, slot_date, slot_time)
);

CREATE TABLE public.bookings (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	restaurant_id uuid NOT NULL REFERENCES public.restaurants (id) ON DELETE CASCADE,
	customer_id uuid REFERENCES public.customers (id) ON DELETE SET NULL,
	booking_date date,
	start_time time,
	end_time time,
	start_at timestamptz,
	end_at timestamptz,
	party_size integer NOT NULL CHECK (party_size > 0),
	booking_type public.booking_type NOT NULL DEFAULT 'dinner',
	seating_preference text NOT NULL DEFAULT 'any',
	status public.booking_status NOT NULL DEFAULT 'pending',
	customer_name text NOT NULL DEFAULT 'Guest',
	customer_email text,
	customer_phone text,
	notes text,
	source text NOT NULL DEFAULT 'web',
	reference text NOT NULL DEFAULT upper(substr(replace(gen_random_uuid()::text, '-', ''), 1, 12)),
	idempotency_key text,
	client_request_id uuid NOT NULL DEFAULT gen_random_uuid(),
	auto_assign_idempotency_key text,
	confirmation_token text,
	slot_id uuid REFERENCES public.booking_slots (id) ON DELETE SET NULL,
	assigned_zone_id uuid REFERENCES public.zones (id) ON DELETE SET NULL,
	checked_in_at timestamptz,
	checked_out_at timestamptz,
	details jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CHECK (start_at < end_at)
);
CREATE INDEX bookings_restaurant_date_idx ON public.bookings (restaurant_id, booking_date, start_time);
CREATE INDEX bookings_restaurant_status_date_idx ON public.bookings (restaurant_id, status, booking_date);
CREATE INDEX bookings_restaurant_start_idx ON public.bookings (restaurant_id, start_at);
CREATE INDEX bookings_restaurant_created_idx ON public.bookings (restaurant_id, created_at DESC);
CREATE INDEX bookings_window_idx ON public.bookings (start_at, end_at);
CREATE INDEX bookings_customer_idx ON public.bookings (customer_id);
CREATE INDEX bookings_customer_email_idx ON public.bookings (customer_email);
CREATE INDEX bookings_customer_email_lower_idx ON public.bookings (lower(customer_email));
CREATE INDEX bookings_customer_phone_idx ON public.bookings (customer_phone);
CREATE UNIQUE INDEX bookings_reference_key ON public.bookings (reference);
CREATE UNIQUE INDEX bookings_client_request_key ON public.bookings (restaurant_id, client_request_id);
CREATE UNIQUE INDEX bookings_idempotency_key ON public.bookings (restaurant_id, idempotency_key)
	WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX bookings_confirmation_token_key ON public.bookings (confirmation_token)
	WHERE confirmation_token IS NOT NULL;
CREATE INDEX bookings_auto_assign_key_idx ON public.bookings (auto_assign_idempotency_key)
	WHERE auto_assign_idempotency_key IS NOT NULL;
CREATE INDEX bookings_slot_idx ON public.bookings (slot_id);
CREATE INDEX bookings_assigned_zone_idx ON public.bookings (assigned_zone_id);
CREATE INDEX bookings_status_idx ON public.bookings (status);
CREATE INDEX bookings_created_idx ON public.bookings (created_at);
CREATE INDEX bookings_updated_idx ON public.bookings (updated_at DESC);

CREATE TABLE public.booking_state_history (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	booking_id uuid NOT NULL REFERENCES public.bookings (id) ON DELETE CASCADE,
	from_status public.booking_status,
	to_status public.booking_status NOT NULL,
	changed_by uuid,
	changed_at timestamptz NOT NULL DEFAULT now(),
	reason text,
	metadata jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX booking_state_history_booking_idx ON public.booking_state_history (booking_id, changed_at);

CREATE TABLE public.booking_assignment_idempotency (
	booking_id uuid NOT NULL REFERENCES public.bookings (id) ON DELETE CASCADE,
	idempotency_key text NOT NULL,
	table_ids uuid[] NOT NULL DEFAULT '{}',
	assignment_window tstzrange,
	table_set_hash text,
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (booking_id, idempotency_key)
);

-- ---------------------------------------------------------------------
-- What takes a table
-- ---------------------------------------------------------------------

CREATE TABLE public.allocations (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	booking_id uuid REFERENCES public.bookings (id) ON DELETE CASCADE,
	restaurant_id uuid NOT NULL REFERENCES public.restaurants (id) ON DELETE CASCADE,
	resource_type text NOT NULL CHECK (resource_type IN ('table', 'merge_group')),
	resource_id uuid NOT NULL,
	"window" tstzrange NOT NULL CHECK (NOT isempty("window")),
	shadow boolean NOT NULL DEFAULT false,
	is_maintenance boolean NOT NULL DEFAULT false,
	created_by uuid,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT allocations_booking_resource_key UNIQUE (booking_id, resource_type, resource_id),
	CONSTRAINT allocations_no_overlap EXCLUDE USING gist (resource_type WITH =, resource_id WITH =, "window" WITH &&)
		WHERE (NOT shadow) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX allocations_restaurant_idx ON public.allocations (restaurant_id);
CREATE INDEX allocations_window_idx ON public.allocations USING gist ("window");

CREATE TABLE public.booking_table_assignments (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	booking_id uuid NOT NULL REFERENCES public.bookings (id) ON DELETE CASCADE,
	table_id uuid NOT NULL REFERENCES public.table_inventory (id) ON DELETE CASCADE,
	slot_id uuid REFERENCES public.booking_slots (id) ON DELETE SET NULL,
	start_at timestamptz NOT NULL,
	end_at timestamptz NOT NULL,
	assigned_at timestamptz NOT NULL DEFAULT now(),
	assigned_by uuid,
	idempotency_key text,
	allocation_id uuid REFERENCES public.allocations (id) ON DELETE SET NULL,
	CONSTRAINT booking_table_assignments_booking_table_key UNIQUE (booking_id, table_id),
	CONSTRAINT no_overlapping_table_assignments EXCLUDE USING gist
		(table_id WITH =, tstzrange(start_at, end_at, '[)') WITH &&),
	CHECK (start_at < end_at)
);
CREATE INDEX booking_table_assignments_table_idx ON public.booking_table_assignments (table_id, start_at);
CREATE INDEX booking_table_assignments_slot_idx ON public.booking_table_assignments (slot_id);
CREATE INDEX booking_table_assignments_allocation_idx ON public.booking_table_assignments (allocation_id);

CREATE TABLE public.table_holds (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	restaurant_id uuid NOT NULL REFERENCES public.restaurants (id) ON DELETE CASCADE,
	booking_id uuid REFERENCES public.bookings (id) ON DELETE SET NULL,
	zone_id uuid REFERENCES public.zones (id) ON DELETE CASCADE,
	start_at timestamptz NOT NULL,
	end_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	status public.hold_status NOT NULL DEFAULT 'active',
	metadata jsonb,
	created_by uuid,
	created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX table_holds_booking_idx ON public.table_holds (booking_id);
CREATE INDEX table_holds_expires_idx ON public.table_holds (expires_at);

CREATE TABLE public.table_hold_windows (
	hold_id uuid NOT NULL REFERENCES public.table_holds (id) ON DELETE CASCADE,
	table_id uuid NOT NULL REFERENCES public.table_inventory (id) ON DELETE CASCADE,
	restaurant_id uuid NOT NULL,
	booking_id uuid,
	start_at timestamptz NOT NULL,
	end_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (hold_id, table_id)
);
CREATE INDEX table_hold_windows_table_idx ON public.table_hold_windows (table_id, start_at);
CREATE INDEX table_hold_windows_restaurant_idx ON public.table_hold_windows (restaurant_id, end_at);

-- ---------------------------------------------------------------------
-- What is told
-- ---------------------------------------------------------------------

CREATE TABLE public.observability_events (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	created_at timestamptz NOT NULL DEFAULT now(),
	source text NOT NULL,
	event_type text NOT NULL,
	severity text NOT NULL DEFAULT 'info' CHECK (severity IN ('info', 'notice', 'warning', 'error', 'critical')),
	context jsonb,
	restaurant_id uuid,
	booking_id uuid
);
CREATE INDEX observability_events_created_idx ON public.observability_events (created_at DESC);
CREATE INDEX observability_events_type_idx ON public.observability_events (event_type, created_at DESC);

CREATE TABLE public.capacity_outbox (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	status public.outbox_status NOT NULL DEFAULT 'pending',
	event_type text NOT NULL,
	dedupe_key text,
	attempt_count integer NOT NULL DEFAULT 0,
	next_attempt_at timestamptz NOT NULL DEFAULT now(),
	restaurant_id uuid REFERENCES public.restaurants (id) ON DELETE CASCADE,
	booking_id uuid REFERENCES public.bookings (id) ON DELETE SET NULL,
	idempotency_key text,
	payload jsonb NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX capacity_outbox_dedupe_key ON public.capacity_outbox (event_type, dedupe_key)
	WHERE dedupe_key IS NOT NULL;
CREATE INDEX capacity_outbox_status_idx ON public.capacity_outbox (status, next_attempt_at);
CREATE INDEX capacity_outbox_booking_idx ON public.capacity_outbox (booking_id);

-- ---------------------------------------------------------------------
-- The app's triggers
-- ---------------------------------------------------------------------

-- fill_booking_window(): start_at and end_at from the date and the local times of the restaurant.
CREATE FUNCTION public.fill_booking_window()
RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
	zone text;
BEGIN
	IF NEW.booking_date IS NULL OR NEW.start_time IS NULL OR NEW.end_time IS NULL THEN
		RETURN NEW;
	END IF;
	SELECT r.timezone INTO zone FROM public.restaurants AS r WHERE r.id = NEW.restaurant_id;
	NEW.start_at := (NEW.booking_date + NEW.start_time) AT TIME ZONE coalesce(zone, 'UTC');
	NEW.end_at := (NEW.booking_date + NEW.end_time) AT TIME ZONE coalesce(zone, 'UTC');
	IF NEW.end_time <= NEW.start_time THEN
		NEW.end_at := NEW.end_at + interval '1 day';
	END IF;
	RETURN NEW;
END;
$$;
CREATE TRIGGER bookings_fill_window BEFORE INSERT OR UPDATE OF booking_date, start_time, end_time, restaurant_id
	ON public.bookings FOR EACH ROW EXECUTE FUNCTION public.fill_booking_window();

-- touch_row(): stamps updated_at.
CREATE FUNCTION public.touch_row()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	NEW.updated_at := now();
	RETURN NEW;
END;
$$;
CREATE TRIGGER bookings_touch BEFORE UPDATE ON public.bookings
	FOR EACH ROW EXECUTE FUNCTION public.touch_row();
CREATE TRIGGER table_inventory_touch BEFORE UPDATE ON public.table_inventory
	FOR EACH ROW EXECUTE FUNCTION public.touch_row();

-- require_assignment(): nobody is confirmed without a table.
CREATE FUNCTION public.require_assignment()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	IF NEW.status = 'confirmed' AND OLD.status IS DISTINCT FROM 'confirmed'
		AND NOT EXISTS (SELECT FROM public.booking_table_assignments AS a WHERE a.booking_id = NEW.id)
	THEN
		RAISE EXCEPTION 'booking % has no table', NEW.id USING ERRCODE = '23514';
	END IF;
	RETURN NEW;
END;
$$;
CREATE TRIGGER bookings_require_assignment BEFORE UPDATE ON public.bookings
	FOR EACH ROW EXECUTE FUNCTION public.require_assignment();

-- refresh_table_status(): what staff see on the floor plan.  A table is occupied while its guests sit there, and
-- reserved if somebody is expected there within the next hours.
CREATE FUNCTION public.refresh_table_status(p_table_id uuid)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	target public.table_status;
BEGIN
	SELECT CASE
			WHEN bool_or(b.status = 'checked_in' AND a.start_at <= now()) THEN 'occupied'::public.table_status
			WHEN bool_or(b.status IN ('confirmed', 'checked_in')) THEN 'reserved'
			ELSE 'available' END
	INTO target
	FROM public.booking_table_assignments AS a JOIN public.bookings AS b ON b.id = a.booking_id
	WHERE a.table_id = p_table_id AND a.end_at > now() AND a.start_at < now() + interval '6 hours'
		AND a.start_at > now() - interval '1 day';
	UPDATE public.table_inventory AS t SET status = target
	WHERE t.id = p_table_id AND t.status <> 'out_of_service' AND t.status <> target;
END;
$$;

CREATE FUNCTION public.refresh_booking_tables()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM public.refresh_table_status(a.table_id)
	FROM public.booking_table_assignments AS a
	WHERE a.booking_id = NEW.id;
	RETURN NULL;
END;
$$;
CREATE TRIGGER bookings_refresh_tables AFTER UPDATE ON public.bookings
	FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION public.refresh_booking_tables();

-- ---------------------------------------------------------------------
-- Who may see what
-- ---------------------------------------------------------------------

CREATE FUNCTION public.is_staff_of(p_restaurant_id uuid)
RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
AS $$
SELECT EXISTS (SELECT FROM public.restaurant_memberships AS m
	WHERE m.restaurant_id = p_restaurant_id
		AND m.user_id::text = nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub');
$$;

SELECT format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', c.relname)
FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' \gexec

SELECT format('CREATE POLICY service_all ON public.%I TO service_role USING (true) WITH CHECK (true)', c.relname)
FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' \gexec

SELECT format('CREATE POLICY staff_all ON public.%I TO authenticated '
	'USING (public.is_staff_of(restaurant_id)) WITH CHECK (public.is_staff_of(restaurant_id))', c.relname)
FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN
	('zones', 'table_inventory', 'bookings', 'allocations', 'table_holds', 'table_hold_windows') \gexec

CREATE POLICY staff_all ON public.booking_table_assignments TO authenticated
	USING (EXISTS (SELECT FROM public.bookings AS b WHERE b.id = booking_id AND public.is_staff_of(b.restaurant_id)))
	WITH CHECK (EXISTS (SELECT FROM public.bookings AS b WHERE b.id = booking_id AND public.is_staff_of(b.restaurant_id)));
CREATE POLICY customer_reads ON public.bookings FOR SELECT TO authenticated
	USING (customer_email = nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email');

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.zones, public.table_inventory, public.bookings, public.allocations,
	public.table_holds, public.table_hold_windows, public.booking_table_assignments TO authenticated;
