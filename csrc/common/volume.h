// SPDX-License-Identifier: Apache-2.0
// (B, C, D, H, W) in memory, read with any strides and written contiguous or channels-last.
#pragma once
#include <algorithm>
#include <cstdint>

#include "common/lattice.h"
#include "common/scalar.h"
#include "common/tensor.h"

namespace fv2v {

// How (B, C, D, H, W) lie in memory; voxels are counted through (D, H, W) in order.
struct Strided {
  int64_t batch, channels;
  Size3 size;
  int64_t batch_stride, channel_stride, depth_stride, row_stride, step;
  bool even;  // consecutive voxels are `step` apart throughout: contiguous, channels-last, expanded, a grid

  Strided(const Tensor& tensor, int channel_dim) {
    int spatial[3], dims = 0;
    for (int i = 1; i < 5; ++i)
      if (i != channel_dim) spatial[dims++] = i;
    batch = tensor.size[0];
    channels = tensor.size[channel_dim];
    size = {int32_t(tensor.size[spatial[0]]), int32_t(tensor.size[spatial[1]]),
            int32_t(tensor.size[spatial[2]])};
    batch_stride = batch == 1 ? 0 : tensor.stride[0];  // one sample is read for all
    channel_stride = tensor.stride[channel_dim];
    depth_stride = tensor.stride[spatial[0]];
    row_stride = tensor.stride[spatial[1]];
    step = tensor.stride[spatial[2]];
    even = (size.height == 1 || row_stride == step * size.width) &&
           (size.depth == 1 || depth_stride == step * size.width * size.height);
  }

  // Where a voxel lies in its channel, in elements.
  FV2V_HOST_DEVICE int64_t offset(int32_t voxel) const {
    if (even) return voxel * step;
    const int32_t row = voxel / size.width;
    return row / size.height * depth_stride + row % size.height * row_stride + voxel % size.width * step;
  }
};

template <typename scalar_t>
struct Volume : Strided {
  using acc_t = acc_of<scalar_t>;
  const scalar_t* data;

  Volume(const Tensor& tensor, int channel_dim) : Volume(Strided(tensor, channel_dim), tensor.data) {}
  Volume(const Strided& layout, const void* data)
      : Strided(layout), data(static_cast<const scalar_t*>(data)) {}

  // Channels first ... first + count - 1 as a volume of their own.
  Volume slice(int64_t first, int64_t count) const {
    Volume part = *this;
    part.data += first * channel_stride;
    part.channels = count;
    return part;
  }

  FV2V_HOST_DEVICE const scalar_t* channel(int64_t b, int64_t c) const {
    return data + b * batch_stride + c * channel_stride;
  }

  // One channel of `count` voxels from voxel `first` on, `to_step` apart in `to`.
  FV2V_HOST_DEVICE void load(int64_t b, int64_t c, int64_t first, int count, acc_t* to, int to_step) const {
    const scalar_t* from = data + b * batch_stride + c * channel_stride;
    if (even && step == 1) {
      for (int i = 0; i < count; ++i) to[i * to_step] = widen(from[first + i]);
    } else if (even) {
      for (int i = 0; i < count; ++i) to[i * to_step] = widen(from[(first + i) * step]);
    } else {
      for (int i = 0; i < count; ++i) {
        const int64_t row = (first + i) / size.width, x = (first + i) % size.width;
        to[i * to_step] =
            widen(from[row / size.height * depth_stride + row % size.height * row_stride + x * step]);
      }
    }
  }

  // Channels lanes * group and on of `count` voxels, interleaved; channels past the last are zero.
  template <int lanes>
  FV2V_HOST_DEVICE void load_lanes(int64_t b, int64_t group, int64_t first, int count, acc_t* to) const {
    const int64_t c = lanes * group;
    if (even && step == 1 && c + lanes <= channels) {  // all lanes in one loop: the compiler transposes
      const scalar_t* __restrict from = data + b * batch_stride + c * channel_stride + first;
      acc_t* __restrict interleaved = to;
#pragma GCC ivdep
      for (int i = 0; i < count; ++i)
        for (int lane = 0; lane < lanes; ++lane)
          interleaved[lanes * i + lane] = widen(from[lane * channel_stride + i]);
      return;
    }
    if (even && channel_stride == 1 && c + lanes <= channels) {  // channels-last: as they lie
      const scalar_t* from = data + b * batch_stride + c + first * step;
      for (int i = 0; i < count; ++i)
        for (int lane = 0; lane < lanes; ++lane) to[lanes * i + lane] = widen(from[step * i + lane]);
      return;
    }
    for (int lane = 0; lane < lanes; ++lane) {
      if (c + lane < channels) {
        load(b, c + lane, first, count, to + lane, lanes);
      } else {
        for (int i = 0; i < count; ++i) to[lanes * i + lane] = 0;
      }
    }
  }
};

// (B, C, D, H, W) to write, contiguous or channels-last: voxels are `step` apart throughout.
template <typename scalar_t>
struct Result {
  scalar_t* data;
  int64_t channels, batch_stride, channel_stride, step;

  explicit Result(const Tensor& tensor)
      : Result(tensor.as<scalar_t>(), tensor.size[1], tensor.stride[0], tensor.stride[1], tensor.stride[4]) {}
  Result(scalar_t* data, int64_t channels, int64_t batch_stride, int64_t channel_stride, int64_t step)
      : data(data),
        channels(channels),
        batch_stride(batch_stride),
        channel_stride(channel_stride),
        step(step) {}

  FV2V_HOST_DEVICE scalar_t* at(int64_t b, int64_t c, int64_t voxel) const {
    return data + b * batch_stride + c * channel_stride + voxel * step;
  }
  // Channels first ... first + count - 1 as a result of their own.
  Result slice(int64_t first, int64_t count) const {
    return Result(data + first * channel_stride, count, batch_stride, channel_stride, step);
  }
};

// Writes interleaved channels lanes * group and on of `count` voxels from voxel `first` on.
template <int lanes, typename scalar_t>
FV2V_HOST_DEVICE void store_lanes(const acc_of<scalar_t>* from, const Result<scalar_t>& result, int64_t b,
                                  int64_t group, int64_t first, int count) {
  const int64_t voxels = result.channel_stride, step = result.step, channels = result.channels;
  scalar_t* __restrict to = result.at(b, lanes * group, first);
  if (step == 1 && lanes * (group + 1) <= channels) {  // all lanes in one loop: the compiler transposes
#pragma GCC ivdep
    for (int i = 0; i < count; ++i)
      for (int lane = 0; lane < lanes; ++lane)
        to[lane * voxels + i] = narrow<scalar_t>(from[lanes * i + lane]);
  } else if (voxels == 1 && lanes * (group + 1) <= channels) {  // channels-last: as they lie
    for (int i = 0; i < count; ++i)
      for (int lane = 0; lane < lanes; ++lane) to[step * i + lane] = narrow<scalar_t>(from[lanes * i + lane]);
  } else {
    for (int lane = 0; lane < channels - lanes * group; ++lane)
      for (int i = 0; i < count; ++i) to[lane * voxels + step * i] = narrow<scalar_t>(from[lanes * i + lane]);
  }
}

}  // namespace fv2v
