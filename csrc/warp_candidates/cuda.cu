// SPDX-License-Identifier: Apache-2.0
// warp_candidates on the GPU: a block a tile of consecutive voxels; a warp takes one flow after another over
// the tile, so that neighbouring threads read and write neighbouring voxels. Channels-last results are staged
// in shared memory, and leave it whole.
#include "warp_candidates/warp_candidates.h"

#include "cuda/corners.h"
#include "cuda/flow_sums.h"

namespace fv2v {
namespace {

constexpr int64_t kStaged = 24 << 10;     // bytes a block: several of them fit a multiprocessor
constexpr int64_t kShare = 4 * kThreads;  // voxels a block of the backward sums up at least
constexpr int64_t kParts = 64;            // blocks a flow is summed by at most

// Rounded before it is subtracted: a fused multiply-subtract leaves a residue where nothing moved.
__device__ __forceinline__ float difference(float a, float b) { return __fsub_rn(a, b); }
__device__ __forceinline__ double difference(double a, double b) { return __dsub_rn(a, b); }

template <typename scalar_t>
struct Job {
  using acc_t = acc_of<scalar_t>;
  Volume<scalar_t> features;
  KeypointFlows<acc_t> flows;
  acc_t factor;  // of the Gaussians: -1 / 2v
  bool align_corners;
  int64_t batch;
  int slots, channels, voxels;  // K+1, C'

  explicit Job(const WarpCandidates& op)
      : features(op.features, 1),
        flows(keypoint_flows<acc_t>(op.kp_source, op.kp_driving, op.affine)),
        factor(acc_t(-0.5 / op.variance)),
        align_corners(op.align_corners),
        batch(op.kp_source.size[0]),
        slots(int(flows.keypoints) + 1),
        channels(int(features.channels)),
        voxels(int(features.size.voxels())) {
    check_voxels(features.size.voxels());
  }

  __device__ __forceinline__ Cell<acc_t> cell(const KeypointFlow<acc_t>& flow, const acc_t point[3]) const {
    acc_t w[3];
    flow(point[0], point[1], point[2], w);
    return Cell<acc_t>(w, features.size, align_corners);
  }
};

// How a block's results leave it: straight from the registers, or by way of shared memory, `pitch` numbers a
// voxel.
struct Tile {
  int voxels, pitch;  // pitch 0: straight
  bool by_words;      // two halves at a time
};

template <typename scalar_t, int lanes>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    warp_candidates_kernel(const Job<scalar_t> job, const Result<scalar_t> out, const Tile tile) {
  using acc_t = acc_of<scalar_t>;
  acc_t* const places = shared_memory<acc_t>();  // (voxels, 3)
  scalar_t* const staged = reinterpret_cast<scalar_t*>(places + 3 * tile.voxels);
  const int32_t first = int32_t(blockIdx.x) * tile.voxels;
  const int count = min(tile.voxels, job.voxels - first), more = job.channels + 1;
  if (int(threadIdx.x) < count)
    lattice_point(first + threadIdx.x, job.features.size, places + 3 * threadIdx.x);
  __syncthreads();
  for (int64_t b = blockIdx.z; b < job.batch; b += gridDim.z) {
    for (int slot = threadIdx.x / kWarp; slot < job.slots; slot += kWarps) {
      const KeypointFlow<acc_t> flow = job.flows.at(b, slot);
      for (int i = threadIdx.x % kWarp; i < count; i += kWarp) {
        const acc_t* const point = places + 3 * i;
        const Corners<acc_t, lanes> corners(job.cell(flow, point), job.features);
        scalar_t* to =
            tile.pitch ? staged + i * tile.pitch + slot * more : out.at(b, int64_t(slot) * more, first + i);
        const int64_t step = tile.pitch ? 1 : out.channel_stride;
        const acc_t moved =
            difference(gaussian(point, flow.driving, job.factor), gaussian(point, flow.source, job.factor));
        *to = narrow<scalar_t>(slot == 0 ? acc_t(0) : moved);
        const scalar_t* from = job.features.channel(b, 0);
#pragma unroll 1
        for (int c = 0; c < job.channels; c += lanes) {
          acc_t value[lanes];
          corners.read(from, value);
          for (int lane = 0; lane < lanes; ++lane) to += step, *to = narrow<scalar_t>(value[lane]);
          from += lanes * job.features.channel_stride;
        }
      }
    }
    if (tile.pitch) {
      __syncthreads();
      scalar_t* const to = out.at(b, 0, first);
      if (tile.by_words)
        copy_rows(reinterpret_cast<const uint32_t*>(staged), tile.pitch / 2, count, job.slots * more / 2,
                  reinterpret_cast<uint32_t*>(to));
      else
        copy_rows(staged, tile.pitch, count, job.slots * more, to);
      __syncthreads();
    }
  }
}

// Adds to grad_features, unless nullptr; leaves the sums of one keypoint over a part of the voxels in `sums`,
// (B, K, parts), unless nullptr.
template <typename scalar_t, int lanes>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    warp_candidates_backward_kernel(const Job<scalar_t> job, const Volume<scalar_t> grad_out,
                                    acc_of<scalar_t>* grad_features, FlowSums* sums) {
  using acc_t = acc_of<scalar_t>;
  for (int64_t each = blockIdx.y; each < job.batch * job.slots; each += gridDim.y) {
    const int64_t b = each / job.slots, slot = each % job.slots, sample = job.features.batch == 1 ? 0 : b;
    const bool inward = sums && slot > 0;  // no keypoint moves the background
    if (!inward && !grad_features) continue;
    const scalar_t* const upstream = grad_out.channel(b, slot * (job.channels + 1));
    acc_t* const to = grad_features + sample * job.channels * job.voxels;
    FlowSum<acc_t> sum(job.flows.at(b, slot));
    for (int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x; at < job.voxels;
         at += int64_t(gridDim.x) * kThreads) {
      acc_t point[3], g[3];
      lattice_point(int32_t(at), job.features.size, point);
      const scalar_t* const from = upstream + grad_out.offset(int32_t(at));
      send_back<lanes>(job.cell(sum.flow, point), job.features, b, from + grad_out.channel_stride,
                       grad_out.channel_stride, grad_features ? to : nullptr, inward, g);
      if (!inward) continue;
      sum.add(point, g);
      const acc_t pull = -2 * job.factor * widen(*from);
      const acc_t in_driving = pull * gaussian(point, sum.flow.driving, job.factor);
      const acc_t in_source = pull * gaussian(point, sum.flow.source, job.factor);
      for (int i = 0; i < 3; ++i) {
        sum.driving[i] += in_driving * (point[i] - sum.flow.driving[i]);
        sum.source[i] -= in_source * (point[i] - sum.flow.source[i]);
      }
    }
    if (inward) sum.store(sums[(b * (job.slots - 1) + slot - 1) * gridDim.x + blockIdx.x]);
  }
}

// Channels-last results are staged as far as 32 voxels fit; few voxels make small tiles, for a full GPU.
template <typename scalar_t>
Tile tile_for(const Job<scalar_t>& job, const Tensor& out, int64_t resident) {
  const int64_t channels = out.size[1], place = 3 * sizeof(acc_of<scalar_t>);
  const bool by_words = sizeof(scalar_t) == 2 && channels % 2 == 0;
  const int64_t pitch =
      by_words ? 2 * (channels / 2 | 1) : channels | 1;  // an odd number of words: other banks
  const int64_t bytes = place + pitch * sizeof(scalar_t);
  const bool last = out.stride[1] == 1 && out.stride[4] == channels && kWarp * bytes <= kShared;
  int voxels = 4 * kWarp;
  while (voxels > kWarp && ((last && voxels * bytes > kStaged) ||
                            ceil_div(job.voxels, voxels) * job.batch * kThreads < resident))
    voxels /= 2;
  return {voxels, last ? int(pitch) : 0, by_words};
}

int parts_of(const Tensor& features) {
  const int64_t voxels = features.size[2] * features.size[3] * features.size[4];
  return int(std::clamp<int64_t>(voxels / kShare, 1, kParts));
}

}  // namespace

void warp_candidates_cuda(const Tensor& out, const WarpCandidates& op, int device, void* cuda_stream) {
  if (out.numel() == 0) return;
  const Stream stream(device, cuda_stream);
  for_reading<0>(op.features, true, [&](auto scalar, auto lanes) {
    using scalar_t = decltype(scalar);
    const Job<scalar_t> job(op);
    const Tile tile = tile_for(job, out, stream.resident_threads());
    stream.launch("warp_candidates", warp_candidates_kernel<scalar_t, lanes>,
                 dim3(ceil_div(job.voxels, tile.voxels), 1, Stream::most_blocks(job.batch)), kThreads,
                 tile.voxels * (3 * sizeof(acc_of<scalar_t>) + tile.pitch * sizeof(scalar_t)), job,
                 Result<scalar_t>(out), tile);
  });
}

int64_t warp_candidates_backward_workspace(const WarpCandidates& op) {
  return flow_sums_bytes(op.kp_source, parts_of(op.features));
}

void warp_candidates_backward_cuda(const Tensor& grad_features, const Tensor& grad_source,
                                   const Tensor& grad_driving, const Tensor& grad_affine,
                                   const Tensor& grad_out, const WarpCandidates& op, const Tensor& workspace,
                                   int device, void* cuda_stream) {
  const Stream stream(device, cuda_stream);
  stream.fill_zero(grad_features);
  if (grad_out.numel() == 0) {
    for (const Tensor* grad : {&grad_source, &grad_driving, &grad_affine}) stream.fill_zero(*grad);
    return;
  }
  for_reading<0>(op.features, true, [&](auto scalar, auto lanes) {
    using scalar_t = decltype(scalar);
    const Job<scalar_t> job(op);
    const int parts = parts_of(op.features);
    const bool inward = grad_source.numel() || grad_driving.numel() || grad_affine.numel();
    stream.launch("warp_candidates_backward", warp_candidates_backward_kernel<scalar_t, lanes>,
                 dim3(parts, Stream::most_blocks(job.batch * job.slots)), kThreads,
                 kFlowSumBytes<acc_of<scalar_t>>, job, Volume<scalar_t>(grad_out, 1),
                 grad_features.numel() ? grad_features.as<acc_of<scalar_t>>() : nullptr,
                 inward ? workspace.as<FlowSums>() : nullptr);
    write_flow_gradients(stream, job.flows, workspace.as<FlowSums>(), parts, job.batch, grad_source,
                         grad_driving, grad_affine);
  });
}

}  // namespace fv2v
