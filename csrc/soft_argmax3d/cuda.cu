// SPDX-License-Identifier: Apache-2.0
// soft_argmax3d on the GPU: blocks sum parts of the volume under a softmax whose peak rises as they go; a
// second kernel puts the parts together in a fixed order. The backward does the same once more, then writes
// voxel by voxel.
#include "soft_argmax3d/soft_argmax3d.h"

#include <limits>

#include "common/volume.h"
#include "cuda/launch.h"
#include "cuda/threads.h"

namespace fv2v {
namespace {

constexpr int64_t kShare = 4 * kThreads;  // voxels a block sums up at least
constexpr int64_t kParts = 64;            // blocks a keypoint is summed by at most
constexpr int kMeans = 12;                // x, y, z and nine maps
constexpr int kSums = 1 + kMeans;         // and the weights themselves

// Of a part of the volume, or of all of it: sums of weights exp((logit - peak) / T), alone and times x, y, z
// and the maps. Of all of it, what follows `total` is means.
struct Sums {
  double peak, total, means[kMeans];
};

// Below every logit but minus infinity, whose weight is then 0.
template <typename acc_t>
constexpr acc_t kLowest = std::numeric_limits<acc_t>::lowest();

template <typename scalar_t>
struct Job {
  using acc_t = acc_of<scalar_t>;
  Volume<scalar_t> logits, maps;
  bool mapped;
  acc_t sharpness;
  int32_t voxels;
  int parts;
  Sums* sums;  // (B K, parts); those of the whole volume come to lie in the first

  Job(const SoftArgmax3d& op, const Tensor& workspace, int parts)
      : logits(op.logits, 1),
        maps(op.jacobian_maps.data ? op.jacobian_maps : op.logits, 1),
        mapped(op.jacobian_maps.data),
        sharpness(acc_t(1 / op.temperature)),
        voxels(int32_t(logits.size.voxels())),
        parts(parts),
        sums(workspace.as<Sums>()) {
    check_voxels(logits.size.voxels());
  }

  __device__ __forceinline__ acc_t logit(int64_t b, int64_t k, int32_t p) const {
    return widen(logits.channel(b, k)[logits.offset(p)]);
  }
  // x, y, z and the maps of one voxel
  __device__ __forceinline__ void values(int64_t b, int64_t k, int32_t p, acc_t value[kMeans]) const {
    lattice_point(p, logits.size, value);
    const scalar_t* const map = maps.channel(b, 9 * k) + (mapped ? maps.offset(p) : 0);
    for (int i = 0; i < 9; ++i) value[3 + i] = mapped ? widen(map[i * maps.channel_stride]) : acc_t(0);
  }
};

// A block a part of the voxels of one keypoint.
template <typename scalar_t>
__global__ void __launch_bounds__(kThreads, kMinBlocks) sum_parts(const Job<scalar_t> job) {
  using acc_t = acc_of<scalar_t>;
  for (int64_t keypoint = blockIdx.y; keypoint < job.logits.batch * job.logits.channels;
       keypoint += gridDim.y) {
    const int64_t b = keypoint / job.logits.channels, k = keypoint % job.logits.channels;
    acc_t peak = kLowest<acc_t>, sum[kSums] = {};
    for (int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x; at < job.voxels;
         at += int64_t(gridDim.x) * kThreads) {
      const int32_t p = int32_t(at);
      const acc_t logit = job.logit(b, k, p);
      acc_t value[kMeans];
      job.values(b, k, p, value);
      if (!(logit <= peak)) {  // NaN, too
        const acc_t shrink = voxel_weight(peak, logit, job.sharpness);
        for (int i = 0; i < kSums; ++i) sum[i] *= shrink;
        peak = logit;
      }
      const acc_t weight = voxel_weight(logit, peak, job.sharpness);
      sum[0] += weight;
      for (int i = 0; i < kMeans; ++i) sum[1 + i] += weight * value[i];
    }
    const acc_t highest = block_max(peak);
    const acc_t shrink = voxel_weight(peak, highest, job.sharpness);
    for (int i = 0; i < kSums; ++i) sum[i] *= shrink;
    const double total = block_sum<kSums>(sum);
    Sums& part = job.sums[keypoint * job.parts + blockIdx.x];
    if (threadIdx.x == 0) part.peak = highest;
    if (threadIdx.x < kSums) (&part.total)[threadIdx.x] = total;
  }
}

// A block a keypoint. The results may be nullptr.
template <typename acc_t>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    add_parts(Sums* sums, const int parts, const double sharpness, acc_t* keypoints, acc_t* jacobians) {
  double* const totals = shared_memory<double>();  // (kSums)
  const int64_t keypoint = blockIdx.x;
  const int i = threadIdx.x;
  Sums* const part = sums + keypoint * parts;
  double peak = part->peak, total = 0;
  for (int other = 1; other < parts; ++other) peak = part[other].peak > peak ? part[other].peak : peak;
  if (i < kSums) {
    for (int each = 0; each < parts; ++each)
      total += (&part[each].total)[i] * voxel_weight(part[each].peak, peak, sharpness);
    totals[i] = total;
  }
  __syncthreads();  // every thread has read the first part
  if (i == 0) part->peak = peak, part->total = total;
  if (i == 0 || i >= kSums) return;
  const double mean = total / totals[0];
  part->means[i - 1] = mean;
  if (keypoints && i <= 3) keypoints[keypoint * 3 + i - 1] = acc_t(mean);
  if (jacobians && i > 3) jacobians[keypoint * 9 + i - 4] = acc_t(mean);
}

// d loss / d (x, y, z and the maps' means) of one keypoint
template <typename acc_t>
struct Upstream {
  Tensor keypoints, jacobians;  // (B, K, 3), (B, K, 3, 3), or empty

  __device__ __forceinline__ void load(int64_t b, int64_t k, acc_t g[kMeans]) const {
    const auto* const keypoint =
        keypoints.as<const acc_t>() + b * keypoints.stride[0] + k * keypoints.stride[1];
    const auto* const jacobian =
        jacobians.as<const acc_t>() + b * jacobians.stride[0] + k * jacobians.stride[1];
    for (int i = 0; i < 3; ++i) g[i] = keypoint[i * keypoints.stride[2]];
    for (int i = 0; i < 9; ++i)
      g[3 + i] =
          jacobians.dims < 4 ? acc_t(0) : jacobian[i / 3 * jacobians.stride[2] + i % 3 * jacobians.stride[3]];
  }
};

// grad_logits and grad_maps, contiguous, may be nullptr.
template <typename scalar_t>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    soft_argmax3d_backward_kernel(const Job<scalar_t> job, const Upstream<acc_of<scalar_t>> upstream,
                                  scalar_t* grad_logits, scalar_t* grad_maps) {
  using acc_t = acc_of<scalar_t>;
  const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= job.voxels) return;
  const int32_t p = int32_t(at);
  for (int64_t keypoint = blockIdx.y; keypoint < job.logits.batch * job.logits.channels;
       keypoint += gridDim.y) {
    const int64_t b = keypoint / job.logits.channels, k = keypoint % job.logits.channels;
    const Sums& whole = job.sums[keypoint * job.parts];
    acc_t value[kMeans], g[kMeans], dot = 0;
    upstream.load(b, k, g);
    job.values(b, k, p, value);
    for (int i = 0; i < kMeans; ++i) dot += g[i] * (value[i] - acc_t(whole.means[i]));
    const acc_t mask =
        voxel_weight(job.logit(b, k, p), acc_t(whole.peak), job.sharpness) / acc_t(whole.total);
    if (grad_logits) grad_logits[keypoint * job.voxels + p] = narrow<scalar_t>(mask * dot * job.sharpness);
    for (int i = 0; grad_maps && i < 9; ++i)
      grad_maps[(9 * keypoint + i) * job.voxels + p] = narrow<scalar_t>(mask * g[3 + i]);
  }
}

int parts_of(const Tensor& logits) {
  const int64_t voxels = logits.size[2] * logits.size[3] * logits.size[4];
  return int(std::clamp<int64_t>(voxels / kShare, 1, kParts));
}

template <typename scalar_t>
void sum_up(const Stream& stream, const Job<scalar_t>& job, acc_of<scalar_t>* keypoints,
            acc_of<scalar_t>* jacobians) {
  using acc_t = acc_of<scalar_t>;
  const int64_t count = job.logits.batch * job.logits.channels;
  stream.launch("soft_argmax3d", sum_parts<scalar_t>, dim3(job.parts, Stream::most_blocks(count)), kThreads,
               kSumBytes<kSums, acc_t>, job);
  stream.launch("soft_argmax3d", add_parts<acc_t>, dim3(count), kThreads, kSums * sizeof(double), job.sums,
               job.parts, double(job.sharpness), keypoints, jacobians);
}

}  // namespace

int64_t soft_argmax3d_workspace(const SoftArgmax3d& op) {
  return op.logits.size[0] * op.logits.size[1] * parts_of(op.logits) * int64_t(sizeof(Sums));
}

void soft_argmax3d_cuda(const Tensor& keypoints, const Tensor& jacobians, const SoftArgmax3d& op,
                        const Tensor& workspace, int device, void* cuda_stream) {
  if (keypoints.numel() == 0) return;
  const Stream stream(device, cuda_stream);
  for_dtype(op.logits.dtype, [&](auto scalar) {
    using acc_t = acc_of<decltype(scalar)>;
    const Job<decltype(scalar)> job(op, workspace, parts_of(op.logits));
    sum_up(stream, job, keypoints.as<acc_t>(), jacobians.numel() ? jacobians.as<acc_t>() : nullptr);
  });
}

void soft_argmax3d_backward_cuda(const Tensor& grad_logits, const Tensor& grad_maps,
                                 const Tensor& grad_keypoints, const Tensor& grad_jacobians,
                                 const SoftArgmax3d& op, const Tensor& workspace, int device,
                                 void* cuda_stream) {
  if (op.logits.numel() == 0) return;
  const Stream stream(device, cuda_stream);
  for_dtype(op.logits.dtype, [&](auto scalar) {
    using scalar_t = decltype(scalar);
    using acc_t = acc_of<scalar_t>;
    const Job<scalar_t> job(op, workspace, parts_of(op.logits));
    sum_up<scalar_t>(stream, job, nullptr, nullptr);
    const Upstream<acc_t> upstream = {grad_keypoints, grad_jacobians};
    stream.launch(
        "soft_argmax3d_backward", soft_argmax3d_backward_kernel<scalar_t>,
        dim3(ceil_div(job.voxels, kThreads), Stream::most_blocks(op.logits.size[0] * op.logits.size[1])),
        kThreads, 0, job, upstream, grad_logits.numel() ? grad_logits.as<scalar_t>() : nullptr,
        grad_maps.numel() ? grad_maps.as<scalar_t>() : nullptr);
  });
}

}  // namespace fv2v
