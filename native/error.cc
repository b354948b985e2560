// SPDX-License-Identifier: Apache-2.0
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

namespace elman {
namespace {

thread_local char t_error[320] = "";

}  // namespace

void set_error(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(t_error, sizeof t_error, format, arguments);
  va_end(arguments);
}

const char* last_error() { return t_error; }

}  // namespace elman
