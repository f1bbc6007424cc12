// A small HTTP server that answers POST and GET /rest/v1/rpc/<function> by the rules of PostgREST, for tests of clients where PostgREST
// itself is not to be had.  What it keeps to:
//
//	- schemas: only those exposed; the first by default, another by Content-Profile (POST) or Accept-Profile (GET); PGRST106 else
//	- functions: found in a cache, by name and names of arguments, which is read at the start and at NOTIFY pgrst, 'reload schema';
//	  PGRST202 where none fits
//	- one transaction per request, READ ONLY for GET and for functions that are not VOLATILE
//	- search_path, role, claims and the rest of the request set with set_config(..., true), so until the end of that transaction
//	- role: the claim "role" of a JWT signed with HS256, else anon; connections are the authenticator's, who has no rights of his own
//	- a composite comes back as an object, a set as an array, anything else as its JSON
//	- the status of an error follows from its SQLSTATE; the body is {code, message, details, hint}
//
// It knows nothing of tables, of filters and of content other than JSON.

import http from 'node:http'
import { createHmac, timingSafeEqual } from 'node:crypto'
import pg from 'pg'

// A JWT's signature, and a JWT, as the tests hand them to clients.
const sign = (text, secret) => createHmac('sha256', secret).update(text).digest('base64url')
const encode = value => Buffer.from(JSON.stringify(value)).toString('base64url')
export function makeJwt(claims, secret) {
	const text = encode({ alg: 'HS256', typ: 'JWT' }) + '.' + encode(claims)
	return text + '.' + sign(text, secret)
}

class HttpError extends Error {
	constructor(status, code, message, details = null, hint = null) {
		super(message)
		Object.assign(this, { status, body: { code, message, details, hint } })
	}
}

// The status of an error of PostgreSQL: the first pattern that fits its SQLSTATE.
const statuses = [
	[/^08/, 503], [/^09/, 500], [/^0L/, 403], [/^0P/, 403], [/^23503$/, 409], [/^23505$/, 409], [/^25006$/, 405], [/^21000$/, 500],
	[/^25/, 500], [/^28/, 403], [/^2D/, 500], [/^38/, 500], [/^39/, 500], [/^3B/, 500], [/^40/, 500], [/^53400$/, 500], [/^53/, 503],
	[/^54/, 500], [/^55/, 500], [/^57P01$/, 503], [/^57/, 500], [/^58/, 500], [/^F0/, 500], [/^HV/, 500], [/^P0001$/, 400],
	[/^P0/, 500], [/^XX/, 500], [/^42883$/, 404], [/^42P01$/, 404], [/^42P17$/, 500]
]

function statusOf(sqlstate, isAnonymous) {
	if (sqlstate === '42501') return isAnonymous ? 401 : 403
	if (/^PT[0-9]{3}$/.test(sqlstate)) return Number(sqlstate.slice(2))
	return statuses.find(([pattern]) => pattern.test(sqlstate))?.[1] ?? 400
}

function fromDatabase(error, isAnonymous) {
	if (!error.code || !/^[0-9A-Z]{5}$/.test(error.code))
		return new HttpError(503, 'PGRST001', 'Database client error. Retrying the connection.', error.message)
	return new HttpError(statusOf(error.code, isAnonymous), error.code, error.message, error.detail ?? null, error.hint ?? null)
}

// The schema cache: what is exposed, function by function.
const functionsQuery = `
	SELECT n.nspname AS schema, p.proname AS name, p.provolatile = 'v' AS is_volatile, p.proretset AS is_set,
		(t.typtype = 'c' OR (p.prorettype = 'record'::regtype AND p.proargmodes && '{o,b,t}')) AS is_composite,
		p.prorettype = 'void'::regtype AS is_void,
		coalesce((SELECT json_agg(json_build_object('name', a.name, 'type', format_type(a.type, NULL), 'required', a.n <= p.pronargs - p.pronargdefaults)
				ORDER BY a.n)
			FROM unnest(p.proargnames, p.proargtypes::oid[]) WITH ORDINALITY AS a (name, type, n) WHERE a.n <= p.pronargs), '[]') AS arguments
	FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_type AS t ON t.oid = p.prorettype
	WHERE n.nspname = ANY ($1) AND p.prokind = 'f'`

function findFunction(cache, schema, name, given) {
	const found = cache.find(f => f.schema === schema && f.name === name &&
		given.every(key => f.arguments.some(a => a.name === key)) &&
		f.arguments.every(a => !a.required || given.includes(a.name)))
	if (!found)
		throw new HttpError(404, 'PGRST202',
			`Could not find the function ${schema}.${name}${given.length ? `(${given.join(', ')})` : ' without parameters'} in the schema cache`)
	return found
}

const quote = name => '"' + name.replaceAll('"', '""') + '"'

// The statement that calls a function with arguments by name, taken from a JSON object.
function callOf(f, given) {
	const args = f.arguments.filter(a => given.includes(a.name))
	const body = args.length
		? `json_to_record($1::json) AS pgrst_body (${args.map(a => `${quote(a.name)} ${a.type}`).join(', ')})`
		: '(SELECT $1::json) AS pgrst_body'
	const call = `${quote(f.schema)}.${quote(f.name)}(${args.map(a => `${quote(a.name)} := pgrst_body.${quote(a.name)}`).join(', ')})`
	const source = f.is_composite
		? `SELECT pgrst_call.* FROM ${body}, LATERAL ${call} AS pgrst_call`
		: `SELECT pgrst_call.pgrst_scalar FROM ${body}, LATERAL (SELECT ${call} AS pgrst_scalar) AS pgrst_call`
	const row = f.is_composite ? 'pgrst_row' : 'pgrst_row.pgrst_scalar'
	const result = f.is_set ? `coalesce(json_agg(${row}), '[]')` : `json_agg(${row}) -> 0`
	return `WITH pgrst_source AS (${source}) SELECT (${result})::text AS body FROM pgrst_source AS pgrst_row`
}

function claimsOf(request, secret) {
	const token = request.headers.authorization?.match(/^Bearer (.+)$/i)?.[1]
	if (!token) return { role: 'anon' }
	const [header, payload, signature = ''] = token.split('.')
	const expected = sign(header + '.' + payload, secret)
	if (signature.length !== expected.length || !timingSafeEqual(Buffer.from(signature), Buffer.from(expected)))
		throw new HttpError(401, 'PGRST301', 'No suitable key or wrong key type')
	return { role: 'anon', ...JSON.parse(Buffer.from(payload, 'base64url')) }
}

async function readBody(request) {
	let text = ''
	for await (const chunk of request) text += chunk
	try {
		return JSON.parse(text || '{}')
	} catch {
		throw new HttpError(400, 'PGRST102', 'Empty or invalid json')
	}
}

// startServer({database, schemas, secret, poolSize}): listens on a port of its own of the loopback address.  Returns its url, inSession() and stop().
// The database's host, port and user are those of the options or the environment, as ever with pg.
export async function startServer({ connection, schemas, secret, poolSize = 4 }) {
	const pool = new pg.Pool({ ...connection, max: poolSize })
	const listener = new pg.Client(connection)
	let cache = []

	const reload = async () => { cache = (await listener.query(functionsQuery, [schemas])).rows }
	pool.on('error', () => {})
	listener.on('error', () => {})
	listener.on('notification', ({ payload }) => { if (payload === 'reload schema') void reload() })
	await listener.connect()
	await reload()
	await listener.query('LISTEN pgrst')

	async function inTransaction(readOnly, settings, statement, argument) {
		const client = await pool.connect()
		try {
			await client.query(`BEGIN ISOLATION LEVEL READ COMMITTED READ ${readOnly ? 'ONLY' : 'WRITE'}`)
			await client.query(`SELECT ${settings.map((_, i) => `set_config($${2 * i + 1}, $${2 * i + 2}, true)`).join(', ')}`, settings.flat())
			const { rows } = await client.query(statement, [argument])
			await client.query('COMMIT')
			client.release()
			return rows[0]?.body
		} catch (error) {
			await client.query('ROLLBACK').then(() => client.release(), lost => client.release(lost))
			throw error
		}
	}

	async function answer(request) {
		const url = new URL(request.url, 'http://localhost')
		const name = url.pathname.match(/^\/rest\/v1\/rpc\/([^/]+)$/)?.[1]
		const isGet = request.method === 'GET'
		const schema = request.headers[isGet ? 'accept-profile' : 'content-profile'] ?? schemas[0]
		const claims = claimsOf(request, secret)

		if (!name) throw new HttpError(404, 'PGRST125', 'Invalid path specified in request URL')
		if (!isGet && request.method !== 'POST') throw new HttpError(405, 'PGRST101', `Cannot use the ${request.method} method on RPC`)
		if (!schemas.includes(schema))
			throw new HttpError(406, 'PGRST106', `Invalid schema: ${schema}`, null, `Only the following schemas are exposed: ${schemas.join(', ')}`)

		const args = isGet ? Object.fromEntries(url.searchParams) : await readBody(request)
		const f = findFunction(cache, schema, decodeURIComponent(name), Object.keys(args))
		const settings = [
			['search_path', [schema, 'public', 'extensions'].map(quote).join(', ')], ['role', claims.role], ['request.jwt.claims', JSON.stringify(claims)],
			['request.method', request.method], ['request.path', url.pathname], ['request.headers', JSON.stringify(request.headers)], ['request.cookies', '{}']
		]
		try {
			const body = await inTransaction(isGet || !f.is_volatile, settings, callOf(f, Object.keys(args)), JSON.stringify(args))
			return f.is_void ? [204, ''] : [200, body ?? 'null']
		} catch (error) {
			throw fromDatabase(error, claims.role === 'anon')
		}
	}

	const server = http.createServer(async (request, response) => {
		const [status, body] = await answer(request).catch(error =>
			[error.status ?? 500, JSON.stringify(error.body ?? { code: 'PGRSTX00', message: String(error), details: null, hint: null })])
		response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8' })
		response.end(body)
	})
	await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))

	return {
		url: `http://127.0.0.1:${server.address().port}`,
		// what a connection looks like between two requests
		inSession: async statement => (await pool.query(statement)).rows[0],
		async stop() {
			server.closeAllConnections?.()
			await new Promise(resolve => server.close(resolve))
			await listener.end()
			await pool.end()
		}
	}
}
