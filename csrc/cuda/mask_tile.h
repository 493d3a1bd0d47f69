// SPDX-License-Identifier: Apache-2.0
// CUDA: tiles of consecutive voxels with their K+1 masks in shared memory, and the deformation that those
// blend.
#pragma once
#include "common/keypoint_flow.h"
#include "common/softmax.h"
#include "common/volume.h"
#include "compose_flow/compose_flow.h"
#include "cuda/launch.h"
#include "cuda/threads.h"

namespace fv2v {

constexpr int kLeastTile = 4;  // voxels, for hundreds of keypoints
constexpr int kTogether = 7;   // loads of a thread under way at a time: the taps of a 7x7x7 convolution

// Read whole, 16 bytes at a time.
template <typename acc_t>
struct alignas(16) SharedFlow : KeypointFlow<acc_t> {};

template <typename scalar_t>
struct MaskTiles {
  using acc_t = acc_of<scalar_t>;
  Volume<scalar_t> logits;  // or the first tap
  int taps;
  int64_t tap_stride;
  KeypointFlows<acc_t> flows;
  acc_t threshold;
  int64_t batch;
  int slots, voxels;    // K+1
  int tile = kThreads;  // voxels
  int doubles = 0;

  explicit MaskTiles(const ComposeFlow& op)
      : logits(op.tap(0), 1),
        taps(op.taps()),
        tap_stride(op.tap_stride()),
        flows(keypoint_flows<acc_t>(op.kp_source, op.kp_driving, op.affine)),
        threshold(acc_t(op.mask_threshold)),
        batch(op.mask_logits.size[0]),
        slots(int(flows.keypoints) + 1),
        voxels(int(logits.size.voxels())) {
    check_voxels(logits.size.voxels());
  }

  // Bytes of shared memory: flows, `doubles`, and K+1 masks and `more` numbers a voxel, for which the tile is
  // made to fit.
  int64_t reserve(int more, int doubles_wanted) {
    doubles = doubles_wanted;
    const auto bytes = [&] {
      return slots * int64_t(sizeof(SharedFlow<acc_t>)) + doubles * int64_t(sizeof(double)) +
             (slots + more) * pitch() * int64_t(sizeof(acc_t));
    };
    while (tile > kLeastTile && bytes() > kShared) tile /= 2;
    if (bytes() > kShared)
      throw std::invalid_argument(
          "too many keypoints for the GPU: a few voxels' masks must fit 48 KB, got K = " +
          std::to_string(slots - 1));
    return bytes();
  }
  int tiles() const { return int(ceil_div(voxels, tile)); }
  FV2V_HOST_DEVICE int pitch() const {
    return tile + 1;
  }  // odd: neighbours of a row and of a column differ in bank

  __device__ __forceinline__ SharedFlow<acc_t>* shared_flows() const {
    return shared_memory<SharedFlow<acc_t>>();  // (slots)
  }
  __device__ __forceinline__ double* totals() const {
    return reinterpret_cast<double*>(shared_flows() + slots);
  }
  // (slots, pitch), and `more` rows after them
  __device__ __forceinline__ acc_t* masks() const { return reinterpret_cast<acc_t*>(totals() + doubles); }

  // The logits of `count` voxels, kItems at a time for each thread: their loads, of kTaps taps each, go out one
  // behind the other, before the first of them is waited for. Channels-last, neighbouring threads take
  // neighbouring channels, else neighbouring voxels; no thread is idle where a tile has fewer voxels than the
  // block has threads.
  template <int kTaps, int kItems>
  __device__ __forceinline__ void load_logits(int64_t b, int32_t first, int count) const {
    const bool last = logits.channel_stride < logits.step;
    const int row = last ? slots : tile, row_end = last ? slots : count, rows = last ? count : slots;
    int column = threadIdx.x % row, at_row = threadIdx.x / row;
    while (at_row < rows) {
      const scalar_t* from[kItems];
      int32_t x[kItems];
      int place[kItems];  // among the masks; negative past the last
      for (int i = 0; i < kItems; ++i) {
        const int k = last ? column : at_row, voxel = last ? at_row : column;
        place[i] = at_row < rows && column < row_end ? k * pitch() + voxel : -1;
        from[i] = logits.channel(b, k) + logits.offset(first + voxel);
        x[i] = kTaps > 1 ? (first + voxel) % logits.size.width : 0;
        at_row += kThreads / row;
        column += kThreads % row;
        if (column >= row) {
          column -= row;
          ++at_row;
        }
      }
      acc_t sum[kItems] = {};
#pragma unroll 1
      for (int begin = 0; begin < taps; begin += kTaps) {
        scalar_t tap[kItems][kTaps];
        for (int i = 0; i < kItems; ++i)
          for (int t = 0; t < kTaps; ++t) {
            const int32_t shift = begin + t - taps / 2;
            const bool inside = kTaps == 1 || (begin + t < taps &&
                                               uint32_t(x[i] + shift) < uint32_t(logits.size.width));
            tap[i][t] = place[i] >= 0 && inside ? from[i][(begin + t) * tap_stride + shift * logits.step]
                                                : scalar_t{};
          }
        for (int i = 0; i < kItems; ++i)
          for (int t = 0; t < kTaps; ++t) sum[i] += widen(tap[i][t]);
      }
      for (int i = 0; i < kItems; ++i)
        if (place[i] >= 0) masks()[place[i]] = sum[i];
    }
  }

  // The flows of a sample and the logits of `count` voxels of it; the caller waits for the other threads.
  __device__ __forceinline__ void load(int64_t b, int32_t first, int count) const {
    for (int k = threadIdx.x; k < slots; k += kThreads)
      static_cast<KeypointFlow<acc_t>&>(shared_flows()[k]) = flows.at(b, k);
    if (taps == 1)
      load_logits<1, kTogether>(b, first, count);
    else
      load_logits<kTogether, 1>(b, first, count);
  }

  // Turns the logits of voxel i into masks, before any threshold.
  __device__ __forceinline__ void softmax_of(int i) const { softmax<1>(masks() + i, slots, pitch(), 1); }

  // The deformation at voxel i; writes its masks, unless nullptr, where channels are `step` apart.
  __device__ __forceinline__ void blend(int i, const acc_t point[3], scalar_t* mask_out, int64_t step,
                                        acc_t w[3]) const {
    for (int axis = 0; axis < 3; ++axis) w[axis] = 0;
#pragma unroll 1
    for (int k = 0; k < slots; ++k) {
      const SharedFlow<acc_t> flow = shared_flows()[k];
      acc_t one[3];
      flow(point[0], point[1], point[2], one);
      const acc_t mask = kept(masks()[k * pitch() + i], threshold);
      for (int axis = 0; axis < 3; ++axis) w[axis] += mask * one[axis];
      if (mask_out) mask_out[k * step] = narrow<scalar_t>(mask);
    }
  }

  // The deformations of `count` voxels from `first` on, to `flow`, (tile, 3) in shared memory; their
  // masks, unless nullptr, to mask_out (B, K+1, D, H, W).
  __device__ __forceinline__ void blend_tile(int64_t b, int32_t first, int count, scalar_t* mask_out,
                                             acc_t* flow) const {
    load(b, first, count);
    __syncthreads();
    const int i = threadIdx.x;
    if (i < count) {
      acc_t point[3];
      lattice_point(first + i, logits.size, point);
      softmax_of(i);
      scalar_t* const to = mask_out + b * slots * voxels + first + i;
      blend(i, point, mask_out ? to : nullptr, voxels, flow + 3 * i);
    }
    __syncthreads();
  }
};

}  // namespace fv2v
