// SPDX-License-Identifier: Apache-2.0
// CUDA: the keypoints' gradients from sums that each block leaves in the workspace, (B, K, parts), added in a
// fixed order.
#pragma once
#include "common/flow_gradients.h"
#include "cuda/launch.h"
#include "cuda/threads.h"

namespace fv2v {

constexpr int kSums = sizeof(FlowSums) / sizeof(double);
constexpr int kSides = kThreads / kSums;  // parts that a block adds side by side
static_assert(sizeof(FlowSums) == kSums * sizeof(double) && kSums == 18);

// One thread's sums of a few voxels.
template <typename acc_t>
struct FlowSum {
  KeypointFlow<acc_t> flow;
  acc_t moved[3] = {}, outer[9] = {}, source[3] = {}, driving[3] = {};  // as in FlowSums

  __device__ __forceinline__ explicit FlowSum(const KeypointFlow<acc_t>& flow) : flow(flow) {}

  // g: d loss / d w at `point`
  __device__ __forceinline__ void add(const acc_t point[3], const acc_t g[3]) {
    for (int i = 0; i < 9; ++i) outer[i] += g[i / 3] * (point[i % 3] - flow.driving[i % 3]);
    for (int i = 0; i < 3; ++i) moved[i] += g[i];
  }

  // The block's sum; takes kFlowSumBytes of shared memory.
  __device__ __forceinline__ void store(FlowSums& to) const {
    acc_t value[kSums];
    for (int i = 0; i < 3; ++i) value[i] = moved[i], value[12 + i] = source[i], value[15 + i] = driving[i];
    for (int i = 0; i < 9; ++i) value[3 + i] = outer[i];
    const double sum = block_sum<kSums>(value);
    if (threadIdx.x < kSums) reinterpret_cast<double*>(&to)[threadIdx.x] = sum;
  }
};
template <typename acc_t>
constexpr int64_t kFlowSumBytes = kSumBytes<kSums, acc_t>;

template <typename acc_t>
struct FlowGradients {
  KeypointFlows<acc_t> flows;
  FlowSums* sums;  // (B, K, parts)
  int parts;
  acc_t *source, *driving, *affine;  // contiguous; nullptr where not asked for
  bool shared;                       // one matrix for all keypoints
};

// A block a keypoint. Where the matrix is shared, the keypoint's share of its gradient stays in its first
// sum.
template <typename acc_t>
__global__ void __launch_bounds__(kThreads, kMinBlocks) add_parts(const FlowGradients<acc_t> job) {
  double* const shared = shared_memory<double>();  // (kSides, kSums)
  const int64_t keypoint = blockIdx.x;
  FlowSums* const sums = job.sums + keypoint * job.parts;
  const int i = threadIdx.x, entry = i % kSums, side = i / kSums;
  double total = 0;
  if (side < kSides) {
    for (int part = side; part < job.parts; part += kSides)
      total += reinterpret_cast<const double*>(sums + part)[entry];
    shared[i] = total;
  }
  __syncthreads();
  if (side == 0) {
    for (int other = 1; other < kSides; ++other) total += shared[other * kSums + entry];
    shared[i] = total;
  }
  __syncthreads();
  const FlowSums& whole = *reinterpret_cast<const FlowSums*>(shared);
  const KeypointFlow<acc_t> flow =
      job.flows.at(keypoint / job.flows.keypoints, keypoint % job.flows.keypoints + 1);
  for (int axis = 0; axis < 3 && i == 0; ++axis) {
    if (job.source) job.source[keypoint * 3 + axis] = whole.template source_gradient<acc_t>(axis);
    if (job.driving) job.driving[keypoint * 3 + axis] = whole.driving_gradient(flow, axis);
  }
  if (i < 9 && job.affine && job.shared) sums->outer[i] = whole.outer[i];
  if (i < 9 && job.affine && !job.shared) job.affine[keypoint * 9 + i] = acc_t(whole.outer[i]);
}

// A block a sample.
template <typename acc_t>
__global__ void __launch_bounds__(kThreads, kMinBlocks) add_keypoints(const FlowGradients<acc_t> job) {
  const int i = threadIdx.x;
  if (i >= 9) return;
  const int64_t b = blockIdx.x, K = job.flows.keypoints;
  double total = 0;
  for (int64_t k = 0; k < K; ++k) total += job.sums[(b * K + k) * job.parts].outer[i];
  job.affine[b * 9 + i] = acc_t(total);
}

inline int64_t flow_sums_bytes(const Tensor& kp_source, int parts) {
  return kp_source.size[0] * kp_source.size[1] * parts * int64_t(sizeof(FlowSums));
}

template <typename acc_t>
void write_flow_gradients(const Stream& stream, const KeypointFlows<acc_t>& flows, FlowSums* sums, int parts,
                          int64_t batch, const Tensor& grad_source, const Tensor& grad_driving,
                          const Tensor& grad_affine) {
  const auto wanted = [](const Tensor& grad) { return grad.numel() ? grad.as<acc_t>() : nullptr; };
  const FlowGradients<acc_t> job = {flows,
                                    sums,
                                    parts,
                                    wanted(grad_source),
                                    wanted(grad_driving),
                                    wanted(grad_affine),
                                    grad_affine.dims == 3};
  if (!job.source && !job.driving && !job.affine) return;
  if (flows.keypoints == 0) return stream.fill_zero(grad_affine);
  stream.launch("add_parts", add_parts<acc_t>, dim3(batch * flows.keypoints), kThreads,
               kThreads * sizeof(double), job);
  if (job.affine && job.shared)
    stream.launch("add_keypoints", add_keypoints<acc_t>, dim3(batch), kThreads, 0, job);
}

}  // namespace fv2v
