// SPDX-License-Identifier: Apache-2.0
// CPU: sixteen channels of a voxel, or outputs of a weight, at a time; eight of them in float64.
#pragma once
#include "common/tensor.h"
#include "cpu/vector.h"

namespace fv2v {

// as many as a register of AVX-512 holds: of wider vectors the compiler makes memory
template <typename acc_t>
constexpr int kLanes = 64 / sizeof(acc_t);

template <typename acc_t>
using Lanes = vec<acc_t, kLanes<acc_t>>;
template <typename acc_t>
struct Loose {
  typedef acc_t type
      __attribute__((vector_size(kLanes<acc_t> * sizeof(acc_t)), may_alias, aligned(alignof(acc_t))));
};

// (B, C, D, H, W) with channels innermost
struct Voxels {
  void* data;
  int64_t size[5], stride[5];
  explicit Voxels(const Tensor& tensor) : data(tensor.data) {
    for (int i = 0; i < 5; ++i) size[i] = tensor.size[i], stride[i] = tensor.stride[i];
  }
  template <typename acc_t>
  FV2V_HOST_DEVICE acc_t* at(int64_t b, int64_t z, int64_t y, int64_t x) const {
    return static_cast<acc_t*>(data) + b * stride[0] + z * stride[2] + y * stride[3] + x * stride[4];
  }
};

template <typename acc_t>
FV2V_HOST_DEVICE Lanes<acc_t> load(const acc_t* from, int64_t count) {
  if (count >= kLanes<acc_t>) return *reinterpret_cast<const typename Loose<acc_t>::type*>(from);
  Lanes<acc_t> lanes = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  return lanes;
}
template <typename acc_t>
FV2V_HOST_DEVICE Lanes<acc_t> at_point(const acc_t* from) {  // of memory that starts at a cache line
  return *reinterpret_cast<const Lanes<acc_t>*>(from);
}
template <typename acc_t>
FV2V_HOST_DEVICE void store(const Lanes<acc_t>& lanes, int64_t count, acc_t* to) {
  if (count >= kLanes<acc_t>) {
    *reinterpret_cast<typename Loose<acc_t>::type*>(to) = lanes;
    return;
  }
  for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}

}  // namespace fv2v
