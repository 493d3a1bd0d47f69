// The CPU's loops: contiguous ranges of work, one a thread, the same for a given thread count.
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

// body(begin, end, part) for `parts` consecutive ranges of [0, count), in parallel.
template <typename Body>
void parallel_parts(int64_t count, int64_t parts, Body body) {
  parts = std::max<int64_t>(1, parts);
#pragma omp parallel for num_threads(static_cast<int>(parts)) schedule(static, 1) if (parts > 1)
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = count * part / parts, end = count * (part + 1) / parts;
    if (begin < end) body(begin, end, part);
  }
}

template <typename Body>
void parallel_for(int64_t count, int threads, Body body) {
  parallel_parts(count, std::min<int64_t>(count, threads),
                 [&](int64_t begin, int64_t end, int64_t) { body(begin, end); });
}

}  // namespace fv2v
