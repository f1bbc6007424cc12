// See test/t/each_guest_hears_once.pl.

import { seatBooking } from '../../examples/supabase-js/seat_booking.mjs'
import { openScene } from './scene.mjs'
import { is, ok, run } from './tap.mjs'

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

await run(async () => {
	const scene = await openScene({ poolSize: 6 })
	const { book, rows, value } = scene
	const supabase = scene.client('service_role')
	const mailed = []
	const answers = {}

	// the app's own path: seats the booking if nobody has, and mails if it did
	const autoAssign = async id => {
		const { data, error } = await supabase.schema('api').rpc('auto_assign', { booking_id: id })
		if (error) throw new Error(error.message)
		if (data === 'succeeded') mailed.push(id)
		return data
	}
	const call = async (id, options) => {
		const seated = await seatBooking(supabase, id, () => autoAssign(id), options)
		const key = `${seated.by} ${seated.outcome ?? seated.why}`
		answers[key] = (answers[key] ?? 0) + 1
		return seated
	}

	// bookings arrive; the route calls at once, the job goes over what is not confirmed yet, again and again
	const hours = [12, 14, 16, 18, 20]
	const ids = []
	const arrivals = async () => {
		for (let i = 0; i < 90; i++) {
			const id = await book(1 + i % 3, hours[i % hours.length])
			ids.push(id)
			void route(id)
		}
	}
	const inFlight = new Set()
	const route = id => {
		const asked = call(id, { trigger: 'booking_route' }).finally(() => inFlight.delete(asked))
		inFlight.add(asked)
	}
	let over = false
	const job = async () => {
		while (!over) {
			for (const { id } of await rows(`SELECT id FROM bookings WHERE status <> 'confirmed' ORDER BY random() LIMIT 10`))
				await call(id, { trigger: 'background_job', waitMs: 300 })
			await sleep(20)
		}
	}

	// and all the while somebody cannot make up his mind
	const flips = [
		`SELECT assignment_v3.set_rollout(NULL, 'disabled')`, `SELECT assignment_v3.set_rollout(test_id('a', 1), 'active')`,
		`SELECT assignment_v3.set_rollout(NULL, 'shadow')`, `SELECT assignment_v3.kill('drill')`, `SELECT assignment_v3.revive('drill')`,
		`SELECT assignment_v3.set_rollout(NULL, 'active')`, `SELECT assignment_v3.set_rollout(test_id('a', 2), 'shadow')`
	]
	const operator = await openScene()
	const flipping = async () => {
		for (let i = 0; !over; i++) {
			await operator.rows(flips[i % flips.length])
			await sleep(40)
		}
	}

	const background = [job(), job(), flipping()]
	await arrivals()
	while (inFlight.size) await Promise.all(inFlight)
	await sleep(500)
	over = true
	await Promise.all(background)

	// the end: everything is on, and what is left is seated by the pipeline
	await rows(`SELECT assignment_v3.clear_rollout(r) FROM (VALUES (NULL), (test_id('a', 1)), (test_id('a', 2))) AS x (r)`)
	await rows(`SELECT assignment_v3.revive('end of drill')`)
	for (const id of ids) await call(id, { waitMs: 5000 })

	console.log('# ' + JSON.stringify(answers))
	is(await value(`SELECT string_agg(DISTINCT status, ' ') FROM bookings`), 'confirmed', 'everybody has a table')
	ok(answers['pipeline confirmed'] > 0 && answers['legacy shadow'] > 0 && answers['legacy pipeline_disabled'] > 0, 'both paths were in use', JSON.stringify(answers))
	const told = await rows(`SELECT booking_id AS id FROM capacity_outbox WHERE event_type = 'booking.assignment_state.confirmed'`)
	ok(mailed.length > 0 && told.length > 0, 'each of them has told somebody', `${mailed.length} by the app, ${told.length} by the outbox`)
	is([...mailed, ...told.map(row => row.id)].sort(), [...ids].sort(), '... and each guest hears exactly once')
	is(await rows('SELECT * FROM assignment_v3.verify()'), [], 'verify() finds nothing')
	await operator.close()
	await scene.close()
})
