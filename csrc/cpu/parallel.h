// SPDX-License-Identifier: Apache-2.0
// The CPU's loops: contiguous ranges of work, the same for a given thread count.
#pragma once
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <mutex>
#if defined(__SANITIZE_THREAD__)
#include <atomic>
#include <thread>
#include <vector>
#endif

namespace fv2v {

// Opening a parallel region costs microseconds, milliseconds on a busy machine: not for a handful of
// elements.
inline int useful_threads(int threads, int64_t elements) {
  return int(std::clamp<int64_t>(elements / 16384, 1, threads));
}

// body(begin, end, part) for `parts` consecutive ranges of [0, count), which threads take as they come. What
// a part sums up must not depend on who ran it. What a body throws, for want of memory say, is thrown to the
// caller: out of a parallel region it would end the process.
template <typename Body>
void parallel_parts(int64_t count, int64_t parts, int threads, Body body) {
  std::exception_ptr thrown;
  std::mutex throwing;
  const auto run = [&](int64_t part) {
    const int64_t begin = count * part / parts, end = count * (part + 1) / parts;
    try {
      if (begin < end) body(begin, end, part);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(throwing);
      thrown = std::current_exception();
    }
  };
#if defined(__SANITIZE_THREAD__)  // which does not see OpenMP's barriers
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    for (int64_t part = next++; part < parts; part = next++) run(part);
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
#else
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1 && parts > 1)
  for (int64_t part = 0; part < parts; ++part) run(part);
#endif
  if (thrown) std::rethrow_exception(thrown);
}

// Several parts a thread, so that one whose core is taken away for a moment does not keep the others waiting.
template <typename Body>
void parallel_for(int64_t count, int threads, Body body) {
  parallel_parts(count, std::min<int64_t>(count, threads > 1 ? 8 * threads : 1), threads,
                 [&](int64_t begin, int64_t end, int64_t) { body(begin, end); });
}

}  // namespace fv2v
