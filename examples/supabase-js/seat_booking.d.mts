import type { SupabaseClient } from '@supabase/supabase-js'

export type Reason =
	| 'pipeline_disabled' | 'shadow' | 'lock_contention' | 'booking_not_found' | 'already_confirmed' | 'terminal_state' | 'not_eligible'
	| 'past' | 'circuit_open' | 'rate_limited' | 'no_capacity' | 'version_conflict' | 'invalid_window' | 'cutoff' | 'error'

export type Outcome = 'confirmed' | 'retry' | 'manual_review' | 'noop'

/** What process_booking() returns. */
export interface Decision {
	booking_id: string
	outcome: Outcome
	/** null where the outcome is "confirmed" */
	reason: Reason | null
	mode: 'active' | 'shadow' | 'disabled'
	/** of the booking, null if there is no such booking */
	state: string | null
	strategy: string | null
	table_ids: string[] | null
	attempt: number
	/** when to come again, for "retry"; else 0 */
	delay_ms: number
	version: number | null
	/** the rehearsed outcome, in mode "shadow": nobody may act on it */
	shadow_outcome: Outcome | null
}

export interface SeatOptions {
	/** who asks; goes into events and history. Default "manual" */
	trigger?: string
	/** the schema that holds the functions made by expose(). Default "api" */
	schema?: string
	/** how long one call may take, in milliseconds. Default 3000 */
	timeoutMs?: number
	/** how often a call whose answer got lost is repeated. Default 2 */
	repeats?: number
	/** how long "retry" may be waited out in all, in milliseconds. Default 0: the queue comes back to it */
	waitMs?: number
}

export type Seated<Result> =
	| {
		by: 'pipeline'
		/** "confirmed" also where the booking was confirmed before; "noop" is for a booking that wants no table */
		outcome: Outcome
		reason: Reason | null
		tableIds: string[]
		delayMs: number
		decision: Decision
	}
	| {
		by: 'legacy'
		/** the reason of the decision, or the code that says that there is no pipeline */
		why: Reason | 'PGRST202' | 'PGRST106' | '42883' | '3F000' | '55000'
		result: Result
	}

/** Rejects where the pipeline is there but refuses (its code is the SQLSTATE), and where every answer got lost. */
export function seatBooking<Result>(
	supabase: Pick<SupabaseClient, 'schema'>,
	bookingId: string,
	legacy: () => Promise<Result> | Result,
	options?: SeatOptions
): Promise<Seated<Result>>
