// SPDX-License-Identifier: Apache-2.0
//
// Runs a native library of any platform against stored truth, where no Python runs. In: a library, and a file of
// native_truth.py. Out: on every instruction set of this machine each call's results are compared with the file's; the
// last line is `N calls, N failed`, and the status 1 if a number is off. Its calls are those of elman.h.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#include "elman.h"

namespace {

void* find(const char* path, const char* name) {
#if defined(_WIN32)
  static HMODULE library = LoadLibraryA(path);
  void* found = library ? reinterpret_cast<void*>(GetProcAddress(library, name)) : nullptr;
#else
  static void* library = dlopen(path, RTLD_NOW);
  void* found = library ? dlsym(library, name) : nullptr;
#endif
  if (!found) {
    fprintf(stderr, "%s: %s\n", path, library ? name : "cannot be opened");
    exit(2);
  }
  return found;
}

FILE* g_file;

void read_bytes(void* to, size_t bytes) {
  if (bytes && fread(to, 1, bytes, g_file) != bytes) {
    fprintf(stderr, "the file of truths ends too early\n");
    exit(2);
  }
}

int64_t read_size() {
  int64_t n;
  read_bytes(&n, sizeof n);
  return n;
}

// A block of the file: its size in bytes, -1 for a null pointer, and its bytes.
struct Block {
  bool present = false;
  std::vector<char> bytes;
  void* get() { return present ? bytes.data() : nullptr; }
  void read() {
    const int64_t n = read_size();
    present = n >= 0;
    bytes.assign(present ? size_t(n) + 1 : 1, 0);  // an empty array has an address too
    if (present) read_bytes(bytes.data(), size_t(n));
  }
};

// A result: how many numbers it has, -1 where it is not wanted; the truth, and how far from it a number may be.
struct Result {
  Block got;
  std::vector<double> truth;
  double allowed = 0;
  void read(size_t element) {
    const int64_t n = read_size();
    got.present = n >= 0;
    if (!got.present) return;
    got.bytes.assign(size_t(n) * element + 1, 0);
    truth.resize(size_t(n));
    read_bytes(truth.data(), truth.size() * sizeof(double));
    read_bytes(&allowed, sizeof allowed);
  }
  bool is_right(bool wide) {
    for (size_t i = 0; i < truth.size(); ++i) {
      const double value =
          wide ? reinterpret_cast<double*>(got.bytes.data())[i] : double(reinterpret_cast<float*>(got.bytes.data())[i]);
      if (!(fabs(value - truth[i]) <= allowed)) return false;
    }
    return true;
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 || !(g_file = fopen(argv[2], "rb"))) {
    fprintf(stderr, "usage: native_truth LIBRARY FILE\n");
    return 2;
  }
  const auto forward = reinterpret_cast<decltype(&elman_forward)>(find(argv[1], "elman_forward"));
  const auto backward = reinterpret_cast<decltype(&elman_backward)>(find(argv[1], "elman_backward"));
  const auto columns = reinterpret_cast<decltype(&elman_tape_columns)>(find(argv[1], "elman_tape_columns"));
  const auto set_isa = reinterpret_cast<decltype(&elman_set_isa)>(find(argv[1], "elman_set_isa"));
  const auto isas = reinterpret_cast<decltype(&elman_isas)>(find(argv[1], "elman_isas"));
  std::vector<std::string> levels(1);
  for (const char* c = isas(); *c; ++c) {
    if (*c == ',') {
      levels.emplace_back();
    } else {
      levels.back() += *c;
    }
  }
  int calls = 0, failed = 0;
  for (int64_t cases = read_size(), number = 0; number < cases; ++number) {
    elman_spec spec;
    read_bytes(&spec, sizeof spec);
    const bool wide = spec.dtype == ELMAN_FLOAT64;
    const size_t element = wide ? 8 : 4;
    Block in[9], dy[3];
    for (Block& block : in) block.read();
    for (Block& block : dy) block.read();
    Result out[3], gradients[7];
    for (Result& result : out) result.read(element);
    for (Result& result : gradients) result.read(element);
    std::vector<char> tape(size_t(spec.batch * spec.time * columns(&spec)) * element + 1);
    const elman_operands operands = {in[0].get(), in[1].get(), in[2].get(), in[3].get(), {in[4].get(), in[5].get()},
                                     in[6].get(), in[7].get(), in[8].get()};
    const elman_forward_call there = {
        &spec, operands, out[0].got.get(), {out[1].got.get(), out[2].got.get()}, tape.data()};
    const elman_backward_call back = {&spec,
                                      operands,
                                      out[0].got.get(),
                                      tape.data(),
                                      dy[0].get(),
                                      {dy[1].get(), dy[2].get()},
                                      gradients[0].got.get(),
                                      gradients[1].got.get(),
                                      gradients[2].got.get(),
                                      gradients[3].got.get(),
                                      {gradients[4].got.get(), gradients[5].got.get()},
                                      gradients[6].got.get()};
    for (const std::string& level : levels) {
      bool right = set_isa(level.c_str()) == ELMAN_OK && forward(&there) == ELMAN_OK && backward(&back) == ELMAN_OK;
      for (Result& result : out) right = right && result.is_right(wide);
      for (Result& result : gradients) right = right && result.is_right(wide);
      ++calls;
      if (!right) {
        ++failed;
        printf("case %d is wrong on %s\n", int(number), level.c_str());
      }
    }
  }
  printf("%s\n%d calls, %d failed\n", isas(), calls, failed);
  return calls && !failed ? 0 : 1;
}
