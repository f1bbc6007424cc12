/*-------------------------------------------------------------------------
 *
 * drain.h
 *		What the queue holds, decided on in transactions of our own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DRAIN_H
#define DRAIN_H

#include "postgres.h"
#include "datatype/timestamp.h"

typedef struct DrainReport
{
	int			processed;
	bool		more;			/* time was up before everything due had been offered */
	bool		blocked;		/* something due was left, as others have it or its slots */
	int			ndisabled;		/* rows left, as the settings disable their restaurants */
	TimestampTz head_at;		/* rows that came late may not be seen before; 0 if they were */
	TimestampTz next_due;		/* of what is due later, DT_NOEND if nothing is */
} DrainReport;

extern void drain_pass(const char *trigger, TimestampTz ends_at, bool ask_next_due,
					   DrainReport *report);

#endif							/* DRAIN_H */
