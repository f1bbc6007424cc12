/*-------------------------------------------------------------------------
 *
 * ledger.h
 *		What the app's second ledger says of a table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef LEDGER_H
#define LEDGER_H

#include "postgres.h"
#include "lookup.h"

extern bool ledger_is_indexed(void);
extern void ledger_bar(const Window *window, Floor *floor, const int *tables, int ntables);

#endif							/* LEDGER_H */
