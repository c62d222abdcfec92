// Notices when the program asks for more memory at once than any decoder of small inputs needs.
//
// In a file of its own: where the compiler sees both, it takes malloc and delete for a mismatch.
// Threads: any; what is noticed is of all threads.
#pragma once

#include <cstddef>

namespace tessera::fuzz {

// More than a line, a step of a reader and a parser of such a line need, far less than headers of
// 2^31 rows say.
inline constexpr size_t kAllocationMax = size_t{64} << 20;

// Forgets what was noticed.
void ResetAllocationLimit();
// Whether more than kAllocationMax was asked for since.
bool AllocationWasTooLarge();

}  // namespace tessera::fuzz
