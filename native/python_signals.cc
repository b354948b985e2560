// SPDX-License-Identifier: Apache-2.0
//
// The hook that lets Python's signal handlers run during a long call (elman_spec.interrupted), so that Ctrl-C ends it.
// ctypes releases Python's lock during a call; the hook takes it, lets handlers that are due run, and releases it
// again. If one raised an exception, it is kept here until _native.py raises it. Python's functions come as addresses:
// no header and no link of Python is needed.
#include "elman.h"

namespace {

struct Python {
  int (*ensure)();                                             // PyGILState_Ensure
  void (*release)(int);                                        // PyGILState_Release
  int (*check_signals)();                                      // PyErr_CheckSignals
  void (*fetch)(void** type, void** value, void** traceback);  // PyErr_Fetch
};
Python python = {};
void* raised[3] = {};  // written and read on the main thread alone

}  // namespace

extern "C" {

ELMAN_API void elman_python_use(const void* functions) { python = *static_cast<const Python*>(functions); }

ELMAN_API int elman_python_interrupted(void) {
  const int state = python.ensure();
  const bool stop = python.check_signals() != 0;
  if (stop) python.fetch(&raised[0], &raised[1], &raised[2]);
  python.release(state);
  return stop;
}

// Type, value and traceback of the exception; the caller owns the references.
ELMAN_API void elman_python_raised(void** exception) {
  for (int i = 0; i < 3; ++i) {
    exception[i] = raised[i];
    raised[i] = nullptr;
  }
}

}  // extern "C"
