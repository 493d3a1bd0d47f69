// SPDX-License-Identifier: Apache-2.0
// CPU: short vectors of numbers, which the compiler computes at once, in as many registers as it takes.
#pragma once
#include <cstddef>

namespace fv2v {

// `lanes` numbers side by side; Scratch is aligned to a cache line
template <typename acc_t, int lanes>
struct Vector {
  static constexpr size_t kBytes = lanes * sizeof(acc_t);
  typedef acc_t type __attribute__((vector_size(kBytes), may_alias, aligned(kBytes < 64 ? kBytes : 64)));
  // two of them side by side, in one load
  typedef acc_t pair __attribute__((vector_size(2 * kBytes), may_alias, aligned(kBytes < 64 ? kBytes : 64)));
};
template <typename acc_t, int lanes>
using vec = typename Vector<acc_t, lanes>::type;

}  // namespace fv2v
