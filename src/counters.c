/*-------------------------------------------------------------------------
 *
 * counters.c
 *		Counts that survive the transactions they were made in.
 *
 * A sequence is the one thing in PostgreSQL that no rollback takes back and
 * that every session sees at once.  So each counter is one: the sequence
 * behind an identity column of assignment_v3.counters, a table that has no
 * rows and exists for the sake of its columns.  A crash may move a counter on
 * by up to 32, as it does with any sequence; it never goes back.
 *
 * Locking: nextval() takes ROW EXCLUSIVE on the sequence until the end of the
 * transaction, which conflicts with nothing but ALTER SEQUENCE.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/sequence.h"
#include "counters.h"

/* Count one more; the count so far, or 0 where nothing may be written. */
int64
counter_add(Counter counter)
{
	Oid			sequence = binding_get()->counters[counter];

	if (!OidIsValid(sequence) || XactReadOnly || RecoveryInProgress())
		return 0;
	return nextval_internal(sequence, false);
}
