// SPDX-License-Identifier: Apache-2.0
//
// The sentence of a thread's last error.
#ifndef ELMAN_ERROR_H_
#define ELMAN_ERROR_H_

namespace elman {

__attribute__((format(printf, 1, 2))) void set_error(const char* format, ...);
const char* last_error();

}  // namespace elman
#endif  // ELMAN_ERROR_H_
