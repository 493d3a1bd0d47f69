// SPDX-License-Identifier: Apache-2.0
// The CPU's loops: contiguous ranges of work, the same for a given thread count.
#pragma once
#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace fv2v {

// Opening a parallel region costs microseconds, milliseconds on a busy machine: not for a handful of
// elements.
inline int useful_threads(int threads, int64_t elements) {
  return int(std::clamp<int64_t>(elements / 16384, 1, threads));
}

// body(begin, end, part) for `parts` consecutive ranges of [0, count), which threads take as they come. What
// a part sums up must not depend on who ran it.
template <typename Body>
void parallel_parts(int64_t count, int64_t parts, int threads, Body body) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1 && parts > 1)
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = count * part / parts, end = count * (part + 1) / parts;
    if (begin < end) body(begin, end, part);
  }
}

// Several parts a thread, so that one whose core is taken away for a moment does not keep the others waiting.
template <typename Body>
void parallel_for(int64_t count, int threads, Body body) {
  parallel_parts(count, std::min<int64_t>(count, threads > 1 ? 8 * threads : 1), threads,
                 [&](int64_t begin, int64_t end, int64_t) { body(begin, end); });
}

}  // namespace fv2v
