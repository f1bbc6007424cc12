// Assertions as TAP, for a test in Perl to count.

import { isDeepStrictEqual } from 'node:util'

let count = 0

export function ok(passed, name, ...facts) {
	console.log(`${passed ? 'ok' : 'not ok'} ${++count} - ${name.replaceAll('#', '')}`)
	if (!passed) for (const fact of facts) console.log('# ' + fact.replaceAll('\n', '\n# '))
	return passed
}

export function is(got, expected, name) {
	return ok(isDeepStrictEqual(got, expected), name, `got:      ${JSON.stringify(got)}`, `expected: ${JSON.stringify(expected)}`)
}

// Runs a test to its end; what it throws is a failure, and no test ends without its plan, nor stays because of what it left open.
export async function run(test) {
	try {
		await test()
	} catch (error) {
		ok(false, 'nothing is thrown', String(error.stack ?? error))
	}
	console.log(`1..${count}`)
	process.exit()
}
