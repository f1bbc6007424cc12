/*-------------------------------------------------------------------------
 *
 * worker.h
 *		Background workers that seat what the queue holds.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WORKER_H
#define WORKER_H

extern void WorkerInit(void);

#endif							/* WORKER_H */
