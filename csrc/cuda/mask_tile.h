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

  // The logit of a voxel that lies at `at`, in the first tap if there are more.
  __device__ __forceinline__ acc_t logit(const scalar_t* at, int32_t voxel) const {
    if (taps == 1) return widen(*at);
    const int32_t x = voxel % logits.size.width;
    acc_t sum = 0;
    for (int t = 0; t < taps; ++t) {
      const int32_t shift = t - taps / 2;
      if (x + shift >= 0 && x + shift < logits.size.width)
        sum += widen(at[t * tap_stride + shift * logits.step]);
    }
    return sum;
  }

  // The flows of a sample and the logits of `count` voxels of it; the caller waits for the other threads.
  __device__ __forceinline__ void load(int64_t b, int32_t first, int count) const {
    for (int k = threadIdx.x; k < slots; k += kThreads)
      static_cast<KeypointFlow<acc_t>&>(shared_flows()[k]) = flows.at(b, k);
    acc_t* const to = masks();
    const int i = threadIdx.x;
    if (logits.channel_stride <
        logits.step) {  // channels-last: neighbouring threads take neighbouring channels
      int voxel = i / slots, k = i % slots;
      while (voxel < count) {
        to[k * pitch() + voxel] = logit(logits.channel(b, k) + logits.offset(first + voxel), first + voxel);
        voxel += kThreads / slots;
        k += kThreads % slots;
        if (k >= slots) {
          k -= slots;
          ++voxel;
        }
      }
    } else if (i < count) {
      const int64_t offset = logits.offset(first + i);
      for (int k = 0; k < slots; ++k) to[k * pitch() + i] = logit(logits.channel(b, k) + offset, first + i);
    }
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
