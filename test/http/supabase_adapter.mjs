// See test/t/supabase_adapter_falls_back.pl.

import http from 'node:http'
import { seatBooking } from '../../examples/supabase-js/seat_booking.mjs'
import { openScene } from './scene.mjs'
import { is, ok, run } from './tap.mjs'

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

// A proxy that loses answers: it passes each request on, and treats the answer as the plan says: 'cut' hangs up instead, 'hold' keeps it
// for ever, and after the last word of the plan all answers arrive.
async function losingProxy(target, plan) {
	const seen = []
	const proxy = http.createServer(async (request, response) => {
		const body = []
		for await (const chunk of request) body.push(chunk)
		const fate = plan[seen.length]
		const passed = http.request(new URL(request.url, target), { method: request.method, headers: request.headers }, async answer => {
			const parts = []
			for await (const part of answer) parts.push(part)
			seen.push(answer.statusCode)
			if (fate === 'cut') return request.socket.destroy()
			if (fate === 'hold') return
			response.writeHead(answer.statusCode, answer.headers)
			response.end(Buffer.concat(parts))
		})
		passed.end(Buffer.concat(body))
	})
	await new Promise(resolve => proxy.listen(0, '127.0.0.1', resolve))
	return {
		url: `http://127.0.0.1:${proxy.address().port}`,
		seen,
		stop: () => new Promise(resolve => { proxy.closeAllConnections?.(); proxy.close(resolve) })
	}
}

await run(async () => {
	const scene = await openScene()
	const { book, rows, value } = scene
	const supabase = scene.client('service_role')
	let legacyCalls = []
	const legacy = id => async () => { legacyCalls.push(id); return { result: 'succeeded', mailed: true } }
	const seat = (id, options, client = supabase) => seatBooking(client, id, legacy(id), options)
	const messages = id => value(`SELECT string_agg(event_type, ' ' ORDER BY created_at) FROM capacity_outbox WHERE booking_id = $1`, id)
	const stateOf = id => value('SELECT assignment_state::text FROM bookings WHERE id = $1', id)
	const legacyRan = () => { const ran = legacyCalls.length; legacyCalls = []; return ran }
	const refusal = promise => promise.then(() => 'nothing', error => error.code || error.message)

	// --- the pipeline decides ---
	let id = await book()
	let seated = await seat(id, { trigger: 'booking_route' })
	is([seated.by, seated.outcome, seated.tableIds.length], ['pipeline', 'confirmed', 1], 'active: the pipeline seats the booking')
	is(await value(`SELECT metadata ->> 'trigger' FROM booking_assignment_state_history WHERE booking_id = $1 LIMIT 1`, id),
		'booking_route', '... and knows which call site asked')
	is([legacyRan(), await messages(id)], [0, 'booking.assignment_state.confirmed'], '... legacy does not run, the outbox has the one message')
	const tables = seated.tableIds
	seated = await seat(id)
	is([seated.by, seated.outcome, seated.reason, seated.tableIds], ['pipeline', 'confirmed', 'already_confirmed', tables],
		'confirmed already: counts as confirmed, with its tables')
	is([legacyRan(), await messages(id)], [0, 'booking.assignment_state.confirmed'], '... and no second message')

	// --- retry ---
	id = await book(1, 20)
	await rows('UPDATE bookings SET party_size = 400 WHERE id = $1', id)
	seated = await seat(id)
	is([seated.by, seated.outcome, seated.reason, seated.delayMs > 0], ['pipeline', 'retry', 'no_capacity', true], 'retry: told with its delay, at once')
	is([legacyRan(), await stateOf(id)], [0, 'assignment_pending'], '... legacy does not run')
	await rows('UPDATE bookings SET party_size = 2 WHERE id = $1', id)

	id = await book(1, 21)
	await rows('BEGIN')
	await rows('SELECT FROM bookings WHERE id = $1 FOR UPDATE', id)
	let waiting = seat(id, { waitMs: 10000 })
	await sleep(300)
	await rows('ROLLBACK')
	seated = await waiting
	is([seated.by, seated.outcome, legacyRan()], ['pipeline', 'confirmed', 0], 'a retry is waited out where the call site can wait')

	id = await book(1, 22)
	await rows('BEGIN')
	await rows('SELECT assignment_v3.process_booking($1)', id)
	seated = await seat(id)
	is([seated.by, seated.outcome, seated.reason, seated.delayMs > 0], ['pipeline', 'retry', 'lock_contention', true],
		'in the hands of another session: come again')
	waiting = seat(id, { waitMs: 10000 })
	await sleep(100)
	await rows('COMMIT')
	seated = await waiting
	is([seated.outcome, seated.reason, legacyRan()], ['confirmed', 'already_confirmed', 0], '... and what that session has done is the answer')

	// --- a person is asked ---
	id = await value(`INSERT INTO bookings (restaurant_id, party_size, start_at, end_at)
		VALUES (test_id('a', 1), 400, now() + interval '5 minutes', now() + interval '2 hours') RETURNING id`)
	seated = await seat(id, { waitMs: 10000 })
	is([seated.by, seated.outcome, seated.reason], ['pipeline', 'manual_review', 'cutoff'], 'manual_review: told')
	seated = await seat(id)
	is([seated.outcome, seated.reason, legacyRan()], ['manual_review', 'terminal_state', 0], '... again when asked again, and legacy does not run')
	id = await book(1, 23)
	await rows(`UPDATE bookings SET status = 'cancelled' WHERE id = $1`, id)
	seated = await seat(id)
	is([seated.by, seated.outcome, seated.reason, legacyRan()], ['pipeline', 'noop', 'not_eligible', 0], 'cancelled: nothing to do, for legacy neither')

	// --- legacy decides ---
	await rows(`INSERT INTO assignment_v3.rollout (restaurant_id, mode, note, set_by) VALUES (test_id('a', 2), 'shadow', 'test', 'test'),
		(test_id('a', 3), 'disabled', 'test', 'test')`)
	id = await book(2)
	seated = await seat(id)
	is([seated, legacyRan()], [{ by: 'legacy', why: 'shadow', result: { result: 'succeeded', mailed: true } }, 1], 'shadow: legacy runs once, its result counts')
	is([await stateOf(id), await messages(id)], ['created', null], '... and of the rehearsal nobody is told')
	id = await book(3)
	seated = await seat(id)
	is([seated.by, seated.why, legacyRan(), await stateOf(id)], ['legacy', 'pipeline_disabled', 1, 'created'], 'disabled: legacy runs')

	id = await book(1, 12)
	await rows(`SELECT assignment_v3.kill('drill')`)
	seated = await seat(id)
	is([seated.by, seated.why, legacyRan()], ['legacy', 'pipeline_disabled', 1], 'killed: legacy runs from the next call on')
	await rows(`SELECT assignment_v3.revive('drill')`)
	seated = await seat(id)
	is([seated.by, seated.outcome, legacyRan()], ['pipeline', 'confirmed', 0], '... and revived it does not')
	is(await refusal(seatBooking(supabase, await book(3), () => { throw new Error('legacy is down') })), 'legacy is down', 'what legacy throws is thrown')

	// --- refused ---
	id = await book(1, 13)
	is([await refusal(seat(id, {}, scene.client('authenticated'))), legacyRan()], ['42501', 0], 'a role that may not call: an error, not legacy')
	is([await refusal(seat('number 7')), legacyRan()], ['22P02', 0], 'an argument that is wrong: an error, not legacy')

	// --- answers get lost ---
	let proxy = await losingProxy(scene.server.url, ['cut'])
	seated = await seat(id, {}, scene.client('service_role', { url: proxy.url }))
	is([seated.by, seated.outcome, seated.reason, legacyRan()], ['pipeline', 'confirmed', 'already_confirmed', 0], 'a lost answer is asked for again')
	is([proxy.seen.length, await messages(id)], [2, 'booking.assignment_state.confirmed'], '... and the booking is confirmed once')
	await proxy.stop()

	proxy = await losingProxy(scene.server.url, ['hold'])
	id = await book(1, 14)
	seated = await seat(id, { timeoutMs: 1500 }, scene.client('service_role', { url: proxy.url }))
	is([seated.outcome, seated.reason, legacyRan()], ['confirmed', 'already_confirmed', 0], 'a call repeated after a time-out is answered')
	is(await messages(id), 'booking.assignment_state.confirmed', '... and the booking is confirmed once')
	await proxy.stop()

	proxy = await losingProxy(scene.server.url, ['cut', 'cut', 'cut', 'cut'])
	id = await book(1, 15)
	ok(await refusal(seat(id, {}, scene.client('service_role', { url: proxy.url }))) !== 'nothing', 'answers that are lost for good: an error')
	is([proxy.seen.length, legacyRan(), await stateOf(id)], [3, 0, 'confirmed'], '... after three calls, and not legacy: the booking may be confirmed, as it is')
	const dead = scene.client('service_role', { url: proxy.url })
	await proxy.stop()
	ok(await refusal(seat(await book(1, 16), { repeats: 0 }, dead)) !== 'nothing' && legacyRan() === 0, 'nobody listens: an error, not legacy')

	// --- there is no pipeline ---
	id = await book(1, 17)
	const elsewhere = await openScene({ schemas: ['public'] })
	seated = await seat(id, {}, elsewhere.client('service_role'))
	is([seated.by, seated.why, legacyRan()], ['legacy', 'PGRST106', 1], 'a schema that is not exposed: legacy runs')
	await elsewhere.close()
	await rows('SELECT * FROM assignment_v3.detach()')
	seated = await seat(id)
	is([seated.by, seated.why, legacyRan()], ['legacy', '55000', 1], 'detached: legacy runs')
	await rows('SET client_min_messages TO warning')
	await rows('DROP EXTENSION assignment_v3 CASCADE')
	seated = await seat(id)
	is([seated.by, seated.why, legacyRan()], ['legacy', '42883', 1], 'dropped: legacy runs')
	await rows('DROP SCHEMA assignment_v3 CASCADE')
	seated = await seat(id)
	is([seated.by, seated.why, legacyRan()], ['legacy', '3F000', 1], '... and without a trace')
	await rows('DROP SCHEMA api CASCADE')
	seated = await seat(id)
	is([seated.by, seated.why, legacyRan()], ['legacy', '3F000', 1], '... and without what PostgREST believes to be there')
	await rows(`NOTIFY pgrst, 'reload schema'`)
	for (let tries = 0; tries < 100 && seated.why === '3F000'; tries++) {
		await sleep(50)
		legacyCalls = []
		seated = await seat(id)
	}
	is([seated.by, seated.why, legacyRan()], ['legacy', 'PGRST202', 1], '... until PostgREST knows')
	await scene.close()
})
