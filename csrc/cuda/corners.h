// SPDX-License-Identifier: Apache-2.0
// CUDA: the eight voxels around a point as a thread reads them, and which way to read fits the features.
#pragma once
#include <cuda_runtime.h>

#include <type_traits>

#include "common/trilinear.h"
#include "common/volume.h"

namespace fv2v {

// Channels that lie side by side, in one load or store.
template <typename scalar_t, int lanes>
struct alignas(lanes * sizeof(scalar_t)) Lanes {
  scalar_t lane[lanes];
};

// Offsets that vectors are read at fit 32 bits: see for_reading.
template <typename acc_t, int lanes>
struct Corners {
  using index_t = std::conditional_t<lanes == 1, int64_t, int32_t>;
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
  template <typename scalar_t>
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

// Groups of `lanes` channels first, first + step, ... of one point, from features to a result.
template <int lanes, typename scalar_t>
__device__ __forceinline__ void read_channels(const Corners<acc_of<scalar_t>, lanes>& corners,
                                              const Volume<scalar_t>& features, const Result<scalar_t>& out,
                                              int64_t b, int32_t point, int first, int step) {
  const scalar_t* from = features.channel(b, first * lanes);
  scalar_t* to = out.at(b, first * lanes, point);
  const int groups = int(features.channels) / lanes;
#pragma unroll 2  // eight loads in flight twice; more spills
  for (int group = first; group < groups; group += step) {
    acc_of<scalar_t> value[lanes];
    corners.read(from, value);
    write<lanes>(value, to);
    from += step * lanes * features.channel_stride;
    to += step * lanes * out.channel_stride;
  }
}

// What a point sends back, given the upstream gradients of its channels: to `grad_features`, a contiguous
// sample, by atomics, unless nullptr; and to its own coordinates, if `inward`.
template <int lanes, typename scalar_t, typename acc_t>
__device__ __forceinline__ void send_back(const Cell<acc_t>& cell, const Volume<scalar_t>& features,
                                          int64_t b, const scalar_t* __restrict__ upstream,
                                          int64_t upstream_stride, acc_t* grad_features, bool inward,
                                          acc_t gradient[3]) {
  const Corners<acc_t, lanes> corners(cell, features);
  const Size3 size = features.size;
  const int32_t plane = size.height * size.width;
  const int64_t voxels = size.voxels();
  const int32_t low = cell.template offset<int32_t>(0, plane, size.width, 1);
  const scalar_t* __restrict__ from = features.channel(b, 0);
  acc_t pull[8] = {};  // summed over channels at each corner first: the slopes are applied once
#pragma unroll 1
  for (int group = 0; group < int(features.channels) / lanes; ++group) {
    acc_t g[lanes];
    for (int lane = 0; lane < lanes; ++lane) g[lane] = widen(upstream[lane * upstream_stride]);
    for (int i = 0; i < 8; ++i) {
      if (!(corners.inside >> i & 1)) continue;
      if (inward) {
        const auto voxel = *reinterpret_cast<const Lanes<scalar_t, lanes>*>(from + corners.offset[i]);
        for (int lane = 0; lane < lanes; ++lane) pull[i] += g[lane] * widen(voxel.lane[lane]);
      }
      if (grad_features) {
        acc_t* to = grad_features + low + (i >> 2) * plane + (i >> 1 & 1) * size.width + (i & 1);
        for (int lane = 0; lane < lanes; ++lane) atomicAdd(to + lane * voxels, corners.weight[i] * g[lane]);
      }
    }
    upstream += lanes * upstream_stride;
    from += lanes * features.channel_stride;
    if (grad_features) grad_features += lanes * voxels;
  }
  const acc_t weight[3][2] = {{cell.x.weight[0], cell.x.weight[1]},
                              {cell.y.weight[0], cell.y.weight[1]},
                              {cell.z.weight[0], cell.z.weight[1]}};
  const acc_t slope[3][2] = {{cell.x.slope[0], cell.x.slope[1]},
                             {cell.y.slope[0], cell.y.slope[1]},
                             {cell.z.slope[0], cell.z.slope[1]}};
  trilinear_gradient(pull, weight, slope, gradient);
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

// Calls body(scalar_t{}, lanes): as many lanes as make `bytes` (0: four lanes), where `vectors` are wanted
// and possible, else one.
template <int bytes, typename Body>
void for_reading(const Tensor& features, bool vectors, Body body) {
  for_dtype(features.dtype, [&](auto scalar) {
    constexpr int lanes = bytes ? bytes / int(sizeof(scalar)) : 4;
    if constexpr (!std::is_same_v<decltype(scalar), double>)  // which is for tests
      if (vectors && takes_vectors(features, lanes * int64_t(sizeof(scalar))) && !reaches_far(features))
        return body(scalar, std::integral_constant<int, lanes>());
    body(scalar, std::integral_constant<int, 1>());
  });
}

}  // namespace fv2v
