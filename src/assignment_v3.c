/*-------------------------------------------------------------------------
 *
 * assignment_v3.c
 *		Loading of the library.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "append.h"
#include "binding.h"
#include "flags.h"
#include "fmgr.h"
#include "guard.h"
#include "store.h"
#include "survivors.h"
#include "transition.h"
#include "utils/builtins.h"
#include "wakeup.h"
#include "worker.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(assignment_library_version);

void		_PG_init(void);

void
_PG_init(void)
{
	FlagsInit();
	WakeupInit();
	BindingInit();
	AppendInit();
	StoreInit();
	SurvivorsInit();
	GuardInit();
	TransitionInit();
	WorkerInit();
}

/* library_version() returns text: the version that the loaded library was built as */
Datum
assignment_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(ASSIGNMENT_V3_VERSION));
}
