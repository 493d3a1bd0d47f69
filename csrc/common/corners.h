// CUDA: the eight voxels around a point as a thread reads them, and which way to read fits the features.
#pragma once
#include <type_traits>

#include "common/trilinear.h"
#include "common/volume.h"

namespace fv2v {

// Channels that lie side by side, in one load or store.
template <typename scalar_t, int lanes>
struct alignas(lanes * sizeof(scalar_t)) Lanes {
  scalar_t lane[lanes];
};

template <typename acc_t, typename index_t>
struct Corners {
  acc_t weight[8];
  index_t offset[8];  // of a channel, in elements
  uint32_t inside;

  template <typename scalar_t>
  __device__ __forceinline__ Corners(const Cell<acc_t>& cell, const Volume<scalar_t>& volume)
      : inside(cell.corners()) {
    for (int i = 0; i < 8; ++i) {
      weight[i] = cell.weight(i);
      offset[i] = cell.template offset<index_t>(i, index_t(volume.depth_stride), index_t(volume.row_stride),
                                                index_t(volume.step));
    }
  }

  // `lanes` channels from that at `channel` on
  template <int lanes, typename scalar_t>
  __device__ __forceinline__ void read(const scalar_t* __restrict__ channel, acc_t value[lanes]) const {
    for (int lane = 0; lane < lanes; ++lane) value[lane] = 0;
    for (int i = 0; i < 8; ++i) {
      if (!(inside >> i & 1)) continue;
      const auto voxel = *reinterpret_cast<const Lanes<scalar_t, lanes>*>(channel + offset[i]);
      for (int lane = 0; lane < lanes; ++lane) value[lane] += weight[i] * widen(voxel.lane[lane]);
    }
  }
};

template <int lanes, typename scalar_t>
__device__ __forceinline__ void write(const acc_of<scalar_t> value[lanes], scalar_t* to) {
  Lanes<scalar_t, lanes> narrowed;
  for (int lane = 0; lane < lanes; ++lane) narrowed.lane[lane] = narrow<scalar_t>(value[lane]);
  *reinterpret_cast<Lanes<scalar_t, lanes>*>(to) = narrowed;
}

// Whether `bytes` at a time of a volume's channels can be read or written.
inline bool takes_vectors(const Tensor& volume, int64_t bytes) {
  const int64_t size = bytes_of(volume.dtype), lanes = bytes / size;
  bool even = volume.stride[1] == 1 && volume.size[1] % lanes == 0 &&
              reinterpret_cast<uintptr_t>(volume.data) % bytes == 0;
  for (int i : {0, 2, 3, 4}) even &= volume.size[i] == 1 || volume.stride[i] % lanes == 0;
  return even;
}

// Whether offsets inside one sample's channel need 64 bits.
inline bool reaches_far(const Tensor& volume) {
  int64_t last = 0;
  for (int i = 2; i < 5; ++i) last += (volume.size[i] - 1) * volume.stride[i];
  return last >= INT32_MAX;
}

// Calls body(scalar_t{}, index_t{}, lanes): vectors of `bytes` (0: of four lanes) only where `vectors` are wanted
// and 32 bits reach.
template <int bytes, typename Body>
void for_reading(const Tensor& features, bool vectors, Body body) {
  const bool far = reaches_far(features);
  for_dtype(features.dtype, [&](auto scalar) {
    constexpr int lanes = bytes ? bytes / int(sizeof(scalar)) : 4;
    constexpr bool wide = std::is_same_v<decltype(scalar), double>;  // double is for tests
    if (far) return body(scalar, int64_t{}, std::integral_constant<int, 1>());
    if constexpr (!wide)
      if (vectors && takes_vectors(features, lanes * int64_t(sizeof(scalar))))
        return body(scalar, int32_t{}, std::integral_constant<int, lanes>());
    body(scalar, int32_t{}, std::integral_constant<int, 1>());
  });
}

}  // namespace fv2v
