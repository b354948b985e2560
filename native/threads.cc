// SPDX-License-Identifier: Apache-2.0
//
// A small pool of threads: created on first use, sized by affinity and cgroup quota. Its threads spin briefly after a
// job and then sleep. A forked child, which has none of them, creates its own.
#include "threads.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

#include "floating_point.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace elman {
namespace {

constexpr int kMaxThreads = 255;

// How long a thread spins before it sleeps. A sleeping thread takes 4 to 5 us to wake, and 12 to 20 us after 5 ms of
// rest (measured on two AVX-512 cores). 50 us cover the pause between the calls of a small training step; a longer spin
// would take a core from other programs.
constexpr auto kSpin = std::chrono::microseconds(50);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Spins until `ready()`, at most `kSpin`; returns whether it became true.
template <class Ready>
bool spin(Ready ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (ready()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

// A job is claimed task by task through one word, so that a thread that wakes late can neither run a task of
// a job that has ended nor join one that allows fewer workers: | job 32 | workers 8 | next task 24 |.
class Pool {
 public:
  void run(int tasks, int workers, Task task, const void* context, Interrupt* interrupt) {
    grow(workers - 1);
    task_ = task;
    context_ = context;
    tasks_ = tasks;
    ended_.store(0, std::memory_order_relaxed);
    const uint64_t job = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
    ticket_.store(job << 32 | uint64_t(workers) << 24, std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_seq_cst) > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    work(uint32_t(job), 0);
    const auto done = [&] { return ended_.load(std::memory_order_acquire) == tasks; };
    while (!spin(done)) {
      if (interrupt) interrupt->ask();
      std::this_thread::yield();
    }
    ticket_.store(job << 32, std::memory_order_release);  // closed: the fields may change now
  }

 private:
  void grow(int helpers) {
    try {
      for (; started_ < helpers; ++started_) {
        std::thread(&Pool::serve, this, started_ + 1).detach();  // never joined: the process may end at any time
      }
    } catch (const std::exception&) {
      // There are no more threads: those that exist, at least the caller, run every task.
    }
  }

  void serve(int worker) {
    uint32_t seen = 0;
    const auto called = [&] { return uint32_t(ticket_.load(std::memory_order_acquire) >> 32) != seen; };
    for (;;) {
      if (!spin(called)) {
        std::unique_lock<std::mutex> lock(mutex_);
        asleep_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, [&] { return uint32_t(ticket_.load(std::memory_order_seq_cst) >> 32) != seen; });
        asleep_.fetch_sub(1, std::memory_order_relaxed);
      }
      seen = uint32_t(ticket_.load(std::memory_order_acquire) >> 32);
      work(seen, worker);
    }
  }

  // Runs tasks of this job until none is left to claim.
  void work(uint32_t job, int worker) {
    FlushDenormals flush;
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    for (;;) {
      // While a task of the job is unclaimed its fields stand; the exchange below fails if it is another job's.
      if (uint32_t(ticket >> 32) != job || worker >= int(ticket >> 24 & 0xff)) return;
      const int next = int(ticket & 0xffffff);
      if (next >= tasks_.load(std::memory_order_relaxed)) return;
      if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      task_.load(std::memory_order_relaxed)(context_.load(std::memory_order_relaxed), next, worker);
      ended_.fetch_add(1, std::memory_order_release);
      ticket = ticket_.load(std::memory_order_acquire);
    }
  }

  std::atomic<uint64_t> ticket_{0};
  std::atomic<int> tasks_{0}, ended_{0}, asleep_{0};
  std::atomic<Task> task_{nullptr};
  std::atomic<const void*> context_{nullptr};
  std::mutex mutex_;
  std::condition_variable wake_;
  int started_ = 0;
};

// What a forked child must not inherit: its parent's threads are not there, and left this as it happened to be.
struct Shared {
  std::atomic<bool> busy{false};
  Pool* pool = nullptr;
};

Shared& shared() {
  alignas(Shared) static char memory[sizeof(Shared)];
  static Shared* const made = [] {
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, [] { new (memory) Shared; });
#endif
    return new (memory) Shared;
  }();
  return *made;
}

int positive(const char* text) {
  char* end = nullptr;
  const long n = text ? strtol(text, &end, 10) : 0;
  return text && *text && !*end && n > 0 ? int(n < kMaxThreads ? n : kMaxThreads) : 0;
}

// CPUs that the cgroup's quota allows, rounded up; 0 where there is none.
int cgroup_cpus() {
  long quota = 0, period = 0;
  if (FILE* file = fopen("/sys/fs/cgroup/cpu.max", "r")) {
    if (fscanf(file, "%ld %ld", &quota, &period) != 2) quota = 0;  // "max 100000": no quota
    fclose(file);
  } else {
    const auto read = [](const char* path) {
      long value = 0;
      if (FILE* f = fopen(path, "r")) {
        if (fscanf(f, "%ld", &value) != 1) value = 0;
        fclose(f);
      }
      return value;
    };
    quota = read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    period = read("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  }
  return quota > 0 && period > 0 ? int((quota + period - 1) / period) : 0;
}

int default_threads() {
  if (const int asked = positive(getenv("ELMAN_NUM_THREADS"))) return asked;
  int n = int(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
#endif
  if (const int quota = cgroup_cpus(); quota > 0 && quota < n) n = quota;
  return n < 1 ? 1 : n > kMaxThreads ? kMaxThreads : n;
}

std::atomic<int> g_threads{0};

void serve_alone(int64_t tasks, Task task, const void* context) {
  FlushDenormals flush;
  for (int64_t i = 0; i < tasks; ++i) task(context, i, 0);
}

}  // namespace

void parallel(int64_t tasks, int workers, Task task, const void* context, Interrupt* interrupt) {
  if (tasks > 0xffffff) workers = 1;  // more than a ticket counts
  if (workers > tasks) workers = int(tasks);
  Shared& s = shared();
  if (workers < 2 || s.busy.exchange(true, std::memory_order_acquire)) {
    serve_alone(tasks, task, context);
    return;
  }
  if (!s.pool) s.pool = new (std::nothrow) Pool;
  if (s.pool) {
    s.pool->run(int(tasks), workers, task, context, interrupt);
  } else {
    serve_alone(tasks, task, context);
  }
  s.busy.store(false, std::memory_order_release);
}

int num_threads() {
  int n = g_threads.load(std::memory_order_relaxed);
  if (n == 0) {
    int expected = 0;
    g_threads.compare_exchange_strong(expected, default_threads());
    n = g_threads.load(std::memory_order_relaxed);
  }
  return n;
}

int set_num_threads(int n) {
  if (n < 0) return 1;
  g_threads.store(n > kMaxThreads ? kMaxThreads : n);
  return 0;
}

}  // namespace elman
