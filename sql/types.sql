-- What one decision has come to.  It names no object that a table could depend on.
CREATE TYPE assignment_v3.decision AS (
	booking_id uuid,
	outcome text,
	reason text,
	mode text,
	state text,
	strategy text,
	table_ids uuid[],
	attempt integer,
	delay_ms integer,
	version integer,
	shadow_outcome text
);
COMMENT ON TYPE assignment_v3.decision IS
	'outcome of one decision: confirmed, retry, manual_review or noop, with its reason';

-- What one function of the state machine has done to a booking.
CREATE TYPE assignment_v3.step AS (
	from_state text,
	to_state text,
	version integer
);
COMMENT ON TYPE assignment_v3.step IS
	'the states between which a booking was moved, and its version now';
