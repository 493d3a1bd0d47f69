// SPDX-License-Identifier: Apache-2.0
// CPU: volumes of any storage type, read and written a block of voxels at a time. The storage type is looked
// up at every block, so that the kernels themselves are compiled for float and double alone.
#pragma once
#include <algorithm>
#include <cstdint>

#include "common/volume.h"

namespace fv2v {

// Voxels in a block: its coordinates, offsets and weights stay in the L1 cache.
constexpr int kBlockSize = 64;

// Consecutive voxels of one sample: at most kBlockSize, but for one channel alone any number.
struct Block {
  int64_t b, first;
  int count;
};

// Up to kBlockSize voxels of one row.
struct RowBlock : Block {
  int32_t x, y, z;  // of the first
};

// body(block) for every block of rows begin ... end - 1, counted through (B, D, H)
template <typename Body>
FV2V_HOST_DEVICE void for_row_blocks(Size3 size, int64_t begin, int64_t end, Body body) {
  const int64_t rows = int64_t(size.depth) * size.height;
  for (int64_t row = begin; row < end; ++row)
    for (int32_t x = 0; x < size.width; x += kBlockSize) {
      const int64_t in_sample = row % rows;
      body(RowBlock{{row / rows, in_sample * size.width + x, std::min(kBlockSize, size.width - x)},
                    x,
                    int32_t(in_sample % size.height),
                    int32_t(in_sample / size.height)});
    }
}

// What is kept as acc_t and stored as it is kept.
template <typename acc_t>
constexpr DType kWide = sizeof(acc_t) == 8 ? DType::float64 : DType::float32;

template <typename acc_t>
class BlockReader {
 public:
  BlockReader(const Tensor& tensor, int channel_dim)
      : layout(tensor, channel_dim), data_(tensor.data), dtype_(tensor.dtype) {}

  // Channels first ... first + count - 1, kBlockSize apart.
  void load(const Block& block, int64_t first, acc_t* to, int64_t count = 1) const;
  // Channels lanes * group and on, interleaved; those past the last are zero. 4 or 16 lanes.
  void load_lanes(const Block& block, int lanes, int64_t group, acc_t* to) const;
  // Where a channel's voxels lie, `layout.step` apart; nullptr where they lie otherwise, or as another type.
  const acc_t* in_place(const Block& block, int64_t channel) const {
    if (dtype_ != kWide<acc_t> || !layout.even) return nullptr;
    return static_cast<const acc_t*>(data_) + block.b * layout.batch_stride +
           channel * layout.channel_stride + block.first * layout.step;
  }

  // Channels first ... first + count - 1 as a volume of their own.
  BlockReader slice(int64_t first, int64_t count) const {
    BlockReader part = *this;
    part.data_ = static_cast<const char*>(data_) + first * layout.channel_stride * bytes_of(dtype_);
    part.layout.channels = count;
    return part;
  }

  Strided layout;

 private:
  const void* data_;
  DType dtype_;
};

// Contiguous or channels-last; false where the result was not asked for.
template <typename acc_t>
class BlockWriter {
 public:
  BlockWriter(const Tensor& tensor, int channel_dim)
      : channels_(tensor.size[channel_dim]),
        batch_stride_(tensor.stride[0]),
        channel_stride_(tensor.stride[channel_dim]),
        step_(tensor.stride[channel_dim == 4 ? 3 : 4]),
        data_(tensor.numel() ? tensor.data : nullptr),
        dtype_(tensor.dtype) {}
  explicit operator bool() const { return data_; }

  // As BlockReader loads; channels past the last stay in `from`.
  void store(const Block& block, int64_t first, const acc_t* from, int64_t count = 1) const;
  void store_lanes(const Block& block, int lanes, int64_t group, const acc_t* from) const;
  acc_t* in_place(const Block& block, int64_t channel) const {
    if (dtype_ != kWide<acc_t> || !data_) return nullptr;
    return static_cast<acc_t*>(data_) + block.b * batch_stride_ + channel * channel_stride_ +
           block.first * step_;
  }

  BlockWriter slice(int64_t first, int64_t count) const {
    BlockWriter part = *this;
    part.data_ = static_cast<char*>(data_) + first * channel_stride_ * bytes_of(dtype_);
    part.channels_ = count;
    return part;
  }

 private:
  template <typename scalar_t>
  Result<scalar_t> as() const;

  int64_t channels_, batch_stride_, channel_stride_, step_;
  void* data_;
  DType dtype_;
};

}  // namespace fv2v
