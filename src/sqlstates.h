/*-------------------------------------------------------------------------
 *
 * sqlstates.h
 *		The error codes that callers act on; PostgREST answers PTxyz as
 *		HTTP status xyz.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SQLSTATES_H
#define SQLSTATES_H

#define ERRCODE_ASSIGNMENT_NOT_FOUND		MAKE_SQLSTATE('P', 'T', '4', '0', '4')
#define ERRCODE_ASSIGNMENT_CONFLICT			MAKE_SQLSTATE('P', 'T', '4', '0', '9')
#define ERRCODE_ASSIGNMENT_UNPROCESSABLE	MAKE_SQLSTATE('P', 'T', '4', '2', '2')

#endif							/* SQLSTATES_H */
