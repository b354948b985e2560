// SPDX-License-Identifier: Apache-2.0
#include "steps.h"

#include <algorithm>
#include <numeric>

#include "error.h"

namespace elman {
namespace {

bool has_reset(const uint8_t* codes, int64_t n) {
  return std::any_of(codes, codes + n, [](uint8_t code) { return code & 2; });
}

// Writes the valid steps of row b, in processing order; returns how many, or -1.
int64_t row(const elman_spec& spec, const void* mask, int64_t b, int32_t* valid) {
  const bool backwards = spec.flags & ELMAN_GO_BACKWARDS;
  int64_t n = 0;
  if (spec.mask == ELMAN_MASK || spec.mask == ELMAN_STEPS) {
    const uint8_t* const row = static_cast<const uint8_t*>(mask) + b * spec.time;
    for (int64_t s = 0; s < spec.time; ++s) {
      if (row[backwards ? spec.time - 1 - s : s]) valid[n++] = int32_t(s);
    }
    return n;
  }
  const int64_t length =
      spec.mask == ELMAN_LENGTHS_INT32 ? static_cast<const int32_t*>(mask)[b] : static_cast<const int64_t*>(mask)[b];
  if (length < 0 || length > spec.time) {
    set_error("lengths[%lld] is %lld; expected 0 to %lld, the number of time steps. Correct it, or pass a mask.",
              static_cast<long long>(b), static_cast<long long>(length), static_cast<long long>(spec.time));
    return -1;
  }
  const int64_t skipped = backwards ? spec.time - length : 0;
  for (; n < length; ++n) valid[n] = int32_t(skipped + n);
  return n;
}

}  // namespace

bool StepList::build(const elman_spec& spec, const void* mask) {
  steps_.time = spec.time;
  if (spec.mask == ELMAN_NO_MASK || spec.batch == 0 || spec.time == 0) return true;
  if (spec.mask == ELMAN_STEPS) {
    const uint8_t* const codes = static_cast<const uint8_t*>(mask);
    if (has_reset(codes, spec.batch * spec.time)) steps_.resets = codes;
  }
  std::vector<int32_t> valid(size_t(spec.batch) * size_t(spec.time)), count(size_t(spec.batch));
  for (int64_t b = 0; b < spec.batch; ++b) {
    const int64_t n = row(spec, mask, b, valid.data() + b * spec.time);
    if (n < 0) return false;
    count[size_t(b)] = int32_t(n);
  }
  if (std::accumulate(count.begin(), count.end(), int64_t(0)) == spec.batch * spec.time) return true;  // masks nothing
  rows_.resize(size_t(spec.batch));
  std::iota(rows_.begin(), rows_.end(), 0);
  std::stable_sort(rows_.begin(), rows_.end(),
                   [&](int32_t a, int32_t b) { return count[size_t(a)] > count[size_t(b)]; });
  list_.resize(valid.size());
  counts_.resize(size_t(spec.batch));
  for (size_t rank = 0; rank < rows_.size(); ++rank) {
    const int32_t* const from = valid.data() + int64_t(rows_[rank]) * spec.time;
    counts_[rank] = count[size_t(rows_[rank])];
    std::copy(from, from + counts_[rank], list_.begin() + int64_t(rank) * spec.time);
  }
  steps_ = {rows_.data(), counts_.data(), list_.data(), spec.time, steps_.resets};
  return true;
}

}  // namespace elman
