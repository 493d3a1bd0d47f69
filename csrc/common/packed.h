// CPU: features packed so that one load fetches several channels of a voxel; reads and gradients of blocks of
// points. Memory layout matters more than the instruction set here: a packed read is one load a corner
// instead of a gather a channel.
#pragma once
#include "common/blocks.h"
#include "common/scratch.h"

namespace fv2v {

constexpr int kMostLanes = 16;

// (samples, groups, D H rows of W + 2 voxels, and 2 more, lanes). The voxels added to both ends of a row are
// zero, so that the two voxels beside an x always lie side by side; the last two stand for every row outside
// and are zero.
template <typename acc_t>
struct Packed {
  int lanes;  // sixteen channels, a cache line of float, where they divide, else four
  int64_t samples, groups, rows, width;
  Scratch memory;

  Packed(int64_t samples, int64_t channels, Size3 size)
      : lanes(channels % kMostLanes == 0 ? kMostLanes : 4),
        samples(samples),
        groups((channels + lanes - 1) / lanes),
        rows(int64_t(size.depth) * size.height),
        width(size.width),
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

// Where up to kBlock points read. Every loop runs along the points, so that the compiler computes many at
// once. Row j of the four takes its y from bit 0 and its z from bit 1.
template <typename acc_t>
struct PointBlock {
  alignas(64) int32_t offset[4][kBlock];    // of the pair of voxels beside the point, in a group of Packed
  alignas(64) acc_t row_weight[4][kBlock];  // y and z alone
  alignas(64) acc_t weight[3][2][kBlock];
  alignas(64) acc_t slope[3][2][kBlock];
  alignas(64) int32_t low[3][kBlock];
  alignas(64) int32_t inside[3][2][kBlock];
  int count;

  // point: (3, kBlock)
  void locate(const acc_t (*point)[kBlock], int count, Size3 size, bool align_corners);
};

// out[block] = the features of one sample at the points.
template <typename acc_t>
void read_block(const Packed<acc_t>& features, int64_t sample, const PointBlock<acc_t>& points,
                const BlockWriter<acc_t>& out, const Block& block);

// Its adjoint in channel groups first_group ... last_group - 1: adds to `grad_features`, a sample of Packed,
// and writes `grad_points` (3, kBlock), zero for points outside the volume; either may be nullptr.
template <typename acc_t>
void read_block_backward(const Packed<acc_t>& features, int64_t sample, const PointBlock<acc_t>& points,
                         const BlockReader<acc_t>& grad_out, const Block& block, int64_t first_group,
                         int64_t last_group, acc_t* grad_features, acc_t (*grad_points)[kBlock]);

}  // namespace fv2v
