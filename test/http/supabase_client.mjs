// See test/t/supabase_client_reads_decisions.pl.

import { openScene } from './scene.mjs'
import { is, ok, run } from './tap.mjs'

const actor = 'f0000000-0000-0000-0000-000000000001'
const nobody = 'b0000000-0000-0000-0000-999999999999'

await run(async () => {
	const scene = await openScene({ poolSize: 1 })
	const { book, rows, value } = scene
	const service = scene.client('service_role', { sub: actor }).schema('api')
	const guest = scene.client('authenticated').schema('api')
	const anon = scene.client('anon').schema('api')
	const table = await value(`SELECT test_id('d', 1004) AS id`)

	// 200
	const booking = await book()
	let answer = await service.rpc('process_booking', { booking_id: booking, trigger: 'booking_route' })
	const { table_ids, delay_ms, version, ...decision } = answer.data
	is([answer.status, answer.error], [200, null], 'a decision is HTTP 200')
	is(decision, {
		booking_id: booking, outcome: 'confirmed', reason: null, mode: 'active', state: 'confirmed', strategy: 'optimal_fit', attempt: 1, shadow_outcome: null
	}, '... a single object, with a column per key')
	is([table_ids.length, typeof table_ids[0], delay_ms, version], [1, 'string', 0, 6], '... whose numbers are numbers and whose tables are a list')
	is(await value(`SELECT string_agg(DISTINCT metadata ->> 'trigger', ' ') FROM booking_assignment_state_history WHERE booking_id = $1`, booking),
		'booking_route', '... and the trigger that was named is in the history')

	answer = await service.rpc('process_booking', { booking_id: booking })
	is([answer.status, answer.data.outcome, answer.data.reason, answer.data.table_ids], [200, 'noop', 'already_confirmed', table_ids],
		'a repeated call is answered, with the tables; an argument with a default may be left out')
	answer = await service.rpc('process_booking', { booking_id: nobody })
	is([answer.status, answer.data.outcome, answer.data.reason], [200, 'noop', 'booking_not_found'], 'an unknown booking is an answer too')
	answer = await service.rpc('mode', {})
	is([answer.status, answer.data], [200, { mode: 'active', reason: 'enabled' }], 'mode() is a single object')
	const planned = await book(1, 9)
	answer = await service.rpc('plan', { booking_id: planned, max_plans: 3 })
	is([answer.status, answer.data.plans.map(p => p.rank), answer.data.plans[0].table_numbers], [200, [1, 2, 3], ['1']], 'plan() is an object with a list')
	answer = await service.rpc('explain', { booking_id: planned })
	is([answer.status, answer.data.tables.length, answer.data.tables[0].verdict], [200, 8, 'free'], 'explain() too')
	answer = await service.rpc('status', {})
	is([answer.status, answer.data.items.find(i => i.item === 'mode')?.value], [200, 'active'], 'status() too')
	answer = await service.rpc('process_due', { max_bookings: 1 })
	is([answer.status, answer.data.decisions.map(d => [d.booking_id, d.outcome])], [200, [[planned, 'confirmed']]], 'process_due() works off the queue')

	// 404, 409, 422 as the functions raise them
	answer = await service.rpc('requeue', { booking_id: nobody })
	is([answer.status, answer.error.code], [404, 'PT404'], 'requeue() of no booking is HTTP 404')
	answer = await service.rpc('plan', { booking_id: nobody })
	is([answer.status, answer.error.code], [404, 'PT404'], '... and so is plan()')
	answer = await service.rpc('assign', { booking_id: booking, table_ids: [table], expected_version: 2 })
	is([answer.status, answer.error.code], [409, 'PT409'], 'assign() of a stale version is HTTP 409')
	answer = await service.rpc('requeue', { booking_id: booking })
	is([answer.status, answer.error.code], [422, 'PT422'], 'requeue() of a confirmed booking is HTTP 422')
	ok(answer.error.message && answer.error.details !== undefined && answer.error.hint, '... with message, details and hint to act on',
		JSON.stringify(answer.error))
	answer = await service.rpc('process_booking', { booking_id: null })
	is([answer.status, answer.error.code], [422, 'PT422'], 'no booking at all is HTTP 422')
	answer = await service.rpc('process_booking', { booking_id: 'number 7' })
	is([answer.status, answer.error.code], [400, '22P02'], 'what is no uuid is HTTP 400')

	// who may call
	const other = await book(1, 12)
	answer = await guest.rpc('process_booking', { booking_id: other })
	is([answer.status, answer.error.code], [403, '42501'], 'authenticated gets HTTP 403')
	answer = await anon.rpc('process_booking', { booking_id: other })
	is([answer.status, answer.error.code], [401, '42501'], 'anon gets HTTP 401')
	answer = await scene.client('service_role', { secret: 'guessed' }).schema('api').rpc('process_booking', { booking_id: other })
	is([answer.status, answer.error.code], [401, 'PGRST301'], 'a forged key gets HTTP 401')
	is(await value('SELECT assignment_state::text FROM bookings WHERE id = $1', other), 'created', '... and nothing was decided by any of them')

	// the server's only connection takes nothing from one request to the next
	is(await scene.server.inSession(`SELECT current_user, current_setting('request.jwt.claims') AS claims,
		(SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory') AS locks`), { current_user: 'authenticator', claims: '', locks: 0 },
		'role, claims and locks of a request end with it')
	answer = await service.rpc('assign', { booking_id: other, table_ids: [table], reason: 'regular guest' })
	is([answer.status, answer.data.to_state], [200, 'confirmed'], 'assign() takes a list of tables')
	is(await value(`SELECT actor_id FROM booking_assignment_state_history WHERE booking_id = $1 ORDER BY version DESC LIMIT 1`, other), actor,
		'... and history knows who it was from the claims')

	// what PostgREST's own rules make of it
	const waiting = await book(2)
	answer = await service.rpc('process_booking', { booking_id: waiting }, { get: true })
	is([answer.status, answer.error.code], [405, '25006'], 'GET is read-only: HTTP 405')
	is(await value('SELECT count(*)::int FROM booking_assignment_state_history WHERE booking_id = $1', waiting), 0, '... and nothing was written')
	answer = await service.rpc('process_bookings', {})
	is([answer.status, answer.error.code], [404, 'PGRST202'], 'a function that is not there is HTTP 404')
	answer = await scene.client('service_role').schema('assignment_v3').rpc('process_booking', { booking_id: waiting })
	is([answer.status, answer.error.code], [406, 'PGRST106'], 'the extension\'s own schema is not exposed: HTTP 406')
	await rows('BEGIN')
	await rows('SELECT * FROM bookings WHERE id = $1 FOR UPDATE', waiting)
	answer = await service.rpc('process_booking', { booking_id: waiting })
	is([answer.status, answer.data.outcome, answer.data.reason], [200, 'retry', 'lock_contention'], 'a booking in other hands is no error but a retry')
	ok(answer.data.delay_ms > 0, '... after a delay')
	await rows('ROLLBACK')
	await rows('SELECT * FROM assignment_v3.detach()')
	answer = await service.rpc('process_booking', { booking_id: waiting })
	is([answer.status, answer.error.code], [500, '55000'], 'not attached is HTTP 500')
	ok(/attach/.test(answer.error.hint), '... and says what to do', answer.error.hint)
	await rows('SELECT * FROM assignment_v3.attach()')
	await scene.close()

	// many at once
	const crowd = await openScene({ poolSize: 4 })
	const callers = [1, 2, 3].map(() => crowd.client('service_role').schema('api'))
	const ids = await Promise.all(Array.from({ length: 12 }, (_, i) => crowd.book(3 + i % 2, 18 + i % 3)))
	const answers = await Promise.all(ids.flatMap(id => callers.map(c => c.rpc('process_booking', { booking_id: id, trigger: 'crowd' }))))
	is([...new Set(answers.map(a => a.status))], [200], 'whatever is asked at the same time, each call is HTTP 200')
	ok(answers.every(({ data: d }) => d.outcome === 'confirmed' || d.reason === 'already_confirmed' || d.outcome === 'retry' || d.reason === 'lock_contention'),
		'... and has an answer', JSON.stringify([...new Set(answers.map(a => a.data.outcome + '/' + a.data.reason))]))
	is(await crowd.rows('SELECT * FROM assignment_v3.verify()'), [], 'verify() finds nothing')
	await crowd.close()
})
