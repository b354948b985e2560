// SPDX-License-Identifier: Apache-2.0
//
// A thread's own memory for small calls, and a few large blocks that all calls share: fresh memory costs more than the
// arithmetic of most calls.
#include "scratch.h"

#include <stdint.h>
#include <stdlib.h>

#if defined(_WIN32)
#include <malloc.h>
#endif

#include <mutex>
#include <new>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sys/mman.h>
#endif

namespace elman {
namespace {

// Blocks of memory that no call uses now.
struct Scratch {
  static constexpr int kBlocks = 8;
  static constexpr size_t kKept = size_t(64) << 20;  // bytes kept at most, all blocks together
  std::mutex mutex;
  void* blocks[kBlocks] = {};
};

Scratch& shared() {
  alignas(Scratch) static char memory[sizeof(Scratch)];
  static Scratch* const made = [] {
#if defined(__unix__) || defined(__APPLE__)
    // Another thread of the parent may hold the lock as it forks; the child begins without blocks.
    pthread_atfork(nullptr, nullptr, [] { new (memory) Scratch; });
#endif
    return new (memory) Scratch;
  }();
  return *made;
}

#if defined(_WIN32)  // its C library has no aligned_alloc, and memory of its own function for it cannot go to free
void* take_aligned(size_t align, size_t bytes) { return _aligned_malloc(bytes, align); }
void give_aligned(void* block) { _aligned_free(block); }
#else
void* take_aligned(size_t align, size_t bytes) { return aligned_alloc(align, bytes); }
void give_aligned(void* block) { free(block); }
#endif

// Each block begins with its size, one cache line before the memory that a call gets.
constexpr size_t kHeader = 64;

// What a small call needs, without a lock; 32 KiB hold the packed weights of a SimpleRNN of 64 units and 16 features. A
// signal handler that runs during a call may make another one on this thread.
constexpr size_t kSmall = size_t(32) << 10;
alignas(64) thread_local char t_small[kSmall];
thread_local bool t_small_is_taken = false;

}  // namespace

void* scratch_take(size_t bytes) {
  if (bytes <= kSmall && !t_small_is_taken) {
    t_small_is_taken = true;
    return t_small;
  }
  Scratch& s = shared();
  {
    std::lock_guard<std::mutex> lock(s.mutex);
    int best = -1;
    size_t best_size = 0;
    for (int i = 0; i < Scratch::kBlocks; ++i) {
      if (!s.blocks[i]) continue;
      const size_t size = *static_cast<size_t*>(s.blocks[i]);
      if (size >= bytes && (best < 0 || size < best_size)) best = i, best_size = size;
    }
    if (best >= 0) {
      void* const block = s.blocks[best];
      s.blocks[best] = nullptr;
      return static_cast<char*>(block) + kHeader;
    }
  }
  constexpr size_t kHuge = size_t(2) << 20;
  const size_t align = bytes >= kHuge ? kHuge : 64;
  const size_t rounded = (bytes + kHeader + align - 1) / align * align;
  void* const block = take_aligned(align, rounded);
  if (!block) return nullptr;
  prefer_huge_pages(block, rounded);
  *static_cast<size_t*>(block) = rounded - kHeader;
  return static_cast<char*>(block) + kHeader;
}

void scratch_give(void* memory) {
  if (memory == t_small) t_small_is_taken = false;
  if (!memory || memory == t_small) return;
  void* block = static_cast<char*>(memory) - kHeader;
  Scratch& s = shared();
  void* dropped[Scratch::kBlocks] = {};
  {
    std::lock_guard<std::mutex> lock(s.mutex);
    size_t kept = *static_cast<size_t*>(block);
    for (int i = 0; i < Scratch::kBlocks; ++i) {
      if (!s.blocks[i]) {
        s.blocks[i] = block;
        block = nullptr;
        break;
      }
      kept += *static_cast<size_t*>(s.blocks[i]);
    }
    for (int i = 0; i < Scratch::kBlocks && kept > Scratch::kKept; ++i) {
      if (!s.blocks[i]) continue;
      kept -= *static_cast<size_t*>(s.blocks[i]);
      dropped[i] = s.blocks[i];
      s.blocks[i] = nullptr;
    }
  }
  give_aligned(block);
  for (void* old : dropped) give_aligned(old);
}

void prefer_huge_pages(void* memory, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kHuge = uintptr_t(2) << 20;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + kHuge - 1) / kHuge * kHuge;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / kHuge * kHuge;
  if (memory && end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}

}  // namespace elman
