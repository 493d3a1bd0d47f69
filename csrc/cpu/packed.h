// SPDX-License-Identifier: Apache-2.0
// CPU: features packed so that one load fetches several channels of a voxel; reads and gradients of blocks of
// points. Memory layout matters more than the instruction set here: a packed read is one load a corner
// instead of a gather a channel.
#pragma once
#include "cpu/block.h"
#include "cpu/scratch.h"

namespace fv2v {

constexpr int kMostLanes = 16;

// (samples, groups, D H rows of W + 2 voxels, and 2 more, lanes). The voxels added to both ends of a row are
// zero, so that the two voxels beside an x always lie side by side; the last two stand for every row outside
// and are zero.
template <typename acc_t>
struct Packed {
  int lanes;  // sixteen channels, a cache line of float, where they divide, else four
  int64_t samples, groups, rows, width;
  Size3 size;
  Scratch memory;

  Packed(int64_t samples, int64_t channels, Size3 size)
      : lanes(channels % kMostLanes == 0 ? kMostLanes : 4),
        samples(samples),
        groups((channels + lanes - 1) / lanes),
        rows(int64_t(size.depth) * size.height),
        width(size.width),
        size(size),
        memory(sizeof(acc_t) * samples * groups * stride()) {}
  int64_t stride() const { return (rows * (width + 2) + 2) * lanes; }  // of a group
  acc_t* at(int64_t sample, int64_t group) const {
    return static_cast<acc_t*>(memory.data()) + (sample * groups + group) * stride();
  }
};

template <typename acc_t>
Packed<acc_t> pack(const BlockReader<acc_t>& volume, int threads);

// grad (samples / splits, C, D H W) = the sum over splits, in order, so that it does not depend on timing.
template <typename acc_t>
void unpack_sum(const Packed<acc_t>& packed, int64_t splits, const BlockWriter<acc_t>& grad, int threads);

// Up to kBlockSize points of one sample, and how the features are read there.
template <typename acc_t>
struct Points {
  const acc_t (*at)[kBlockSize];  // (3, kBlockSize)
  bool align_corners;
};

// out[block] = the features at the points.
template <typename acc_t>
void read_block(const Packed<acc_t>& features, int64_t sample, const Points<acc_t>& points,
                const BlockWriter<acc_t>& out, const Block& block);

// Its adjoint in channel groups first_group ... last_group - 1: adds to `grad_features`, a sample of Packed,
// and writes `grad_points` (3, kBlockSize), zero for points outside the volume; either may be nullptr.
template <typename acc_t>
void read_block_backward(const Packed<acc_t>& features, int64_t sample, const Points<acc_t>& points,
                         const BlockReader<acc_t>& grad_out, const Block& block, int64_t first_group,
                         int64_t last_group, acc_t* grad_features, acc_t (*grad_points)[kBlockSize]);

}  // namespace fv2v
