// What the programs share: the database as its owner sees it, a server in front of it, and supabase-js clients of each role.

import { createClient } from '@supabase/supabase-js'
import pg from 'pg'
import { makeJwt, startServer } from './server.mjs'

const serverSecret = 'only the tests know'

export async function openScene({ schemas = ['api'], poolSize } = {}) {
	const owner = new pg.Client()
	await owner.connect()
	await owner.query('SET ROLE app_owner')
	const server = await startServer({ connection: { user: 'authenticator' }, schemas, secret: serverSecret, poolSize })
	const rows = async (statement, ...values) => (await owner.query(statement, values)).rows

	return {
		server,
		rows,
		// the first column of the first row
		value: async (statement, ...values) => Object.values((await rows(statement, ...values))[0] ?? {})[0],
		// a booking of a party of 2, for one hour, that many hours after a midnight a month ahead
		book: async (restaurant = 1, hour = 19, guest = null) => (await rows('SELECT book($1, 2, $2, $3) AS id', restaurant, hour, guest))[0].id,
		// a client as an app makes it, with the key of a role
		client: (role, { url = server.url, secret = serverSecret, ...claims } = {}) =>
			createClient(url, makeJwt({ role, ...claims }, secret), { auth: { persistSession: false, autoRefreshToken: false } }),
		async close() {
			await server.stop()
			await owner.end()
		}
	}
}
