// Seats a booking: asks the pipeline first, and runs the app's own path where the pipeline does not decide.
//
//	const seated = await seatBooking(supabase, bookingId, () => autoAssign(bookingId), { trigger: 'booking_route' })
//
// legacy() is what the call site has called so far.  It runs, and mails, as before where the restaurant's mode is not active (disabled,
// killed, shadow) and where there is no pipeline.  Where the pipeline decides, legacy() does not run and nobody here mails: the outbox does.

// What PostgREST and PostgreSQL say where there is no pipeline: no such function (by name, by schema), not exposed, not attached.
const NO_PIPELINE = ['PGRST202', 'PGRST106', '42883', '3F000', '55000']
const BUSY_MS = 500
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

// One call.  If its answer got lost it may have been carried out all the same: it is repeated, and a confirmed booking says so.
async function decide(supabase, bookingId, { schema = 'api', trigger = 'manual', timeoutMs = 3000 }) {
	const { data, error, status } = await supabase.schema(schema)
		.rpc('process_booking', { booking_id: bookingId, trigger })
		.abortSignal(AbortSignal.timeout(timeoutMs))
	if (!error) return { decision: data }
	return NO_PIPELINE.includes(error.code) ? { missing: error.code } : { error, isLost: status === 0 || status >= 500 }
}

function answerOf(decision) {
	const { outcome, reason, state, table_ids, delay_ms } = decision
	const answer = { by: 'pipeline', outcome, reason, tableIds: table_ids ?? [], delayMs: delay_ms, decision }
	if (reason === 'already_confirmed') return { ...answer, outcome: 'confirmed' }
	if (outcome === 'noop' && state === 'manual_review') return { ...answer, outcome: 'manual_review' }
	if (outcome === 'noop' && reason === 'lock_contention') return { ...answer, outcome: 'retry', delayMs: BUSY_MS }
	return answer
}

export async function seatBooking(supabase, bookingId, legacy, options = {}) {
	const { waitMs = 0, repeats = 2 } = options
	const until = Date.now() + waitMs
	const byLegacy = async why => ({ by: 'legacy', why, result: await legacy() })

	for (let lost = 0; ;) {
		const { decision, missing, error, isLost } = await decide(supabase, bookingId, options)
		if (missing) return byLegacy(missing)
		if (error) {
			if (!isLost || ++lost > repeats) throw Object.assign(new Error(error.message, { cause: error }), { code: error.code })
			await sleep(BUSY_MS)
			continue
		}
		if (decision.mode !== 'active') return byLegacy(decision.reason)
		const answer = answerOf(decision)
		if (answer.outcome !== 'retry' || Date.now() + answer.delayMs > until) return answer
		await sleep(answer.delayMs)
	}
}
