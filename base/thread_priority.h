// Which threads wait when the processors are busy.
#pragma once

namespace tessera::base {

// The calling thread, and the threads it starts from now on, yield to all others of the machine
// that have something to do. Cannot be undone. Does nothing where the system does not allow it.
// Source: setpriority(2); Linux keeps a nice value for each thread.
void YieldToOthers();

}  // namespace tessera::base
