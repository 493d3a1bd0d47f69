// SPDX-License-Identifier: Apache-2.0
// compose_flow on the GPU: a block a tile of consecutive voxels, a thread a voxel, its K+1 masks in shared
// memory.
#include "compose_flow/compose_flow.h"

#include "cuda/flow_sums.h"
#include "cuda/mask_tile.h"

namespace fv2v {
namespace {

constexpr int64_t kParts = 256;  // blocks that share the sums of a sample, at most
constexpr int kProducts = 12;    // sums a flow: of g, and of g p^T

template <typename scalar_t>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    compose_flow_kernel(const MaskTiles<scalar_t> job, acc_of<scalar_t>* flow_out, scalar_t* mask_out) {
  using acc_t = acc_of<scalar_t>;
  acc_t* const flow = job.masks() + job.slots * job.pitch();  // (tile, 3): leaves shared memory side by side
  const int32_t first = int32_t(blockIdx.x) * job.tile;
  const int count = min(job.tile, job.voxels - first), i = threadIdx.x;
  for (int64_t b = blockIdx.z; b < job.batch; b += gridDim.z) {
    job.blend_tile(b, first, count, mask_out, flow);
    acc_t* const to = flow_out + (b * job.voxels + first) * 3;
    for (int at = i; at < 3 * count; at += kThreads) to[at] = flow[at];
    __syncthreads();
  }
}

// Upstream gradients; those of the mask may be absent.
template <typename scalar_t>
struct Upstream {
  Volume<acc_of<scalar_t>> flow;  // channels are x, y, z
  Volume<scalar_t> mask;
  bool masked;
};

// A block a part of the tiles of a sample. Writes grad_logits, contiguous, and the sums of its part, (B, K,
// parts); either may be nullptr.
template <typename scalar_t>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    compose_flow_backward_kernel(const MaskTiles<scalar_t> job, const Upstream<scalar_t> upstream,
                                 scalar_t* grad_logits, FlowSums* sums) {
  using acc_t = acc_of<scalar_t>;
  const int pitch = job.pitch(), slots = job.slots, entries = (slots - 1) * kProducts, i = threadIdx.x;
  acc_t* const masks = job.masks();
  acc_t* const factors = masks + slots * pitch;  // (kProducts, pitch): g, and g p^T
  // (K, kProducts), added from tile to tile by the threads that own them
  double* const totals = job.totals();
  for (int64_t b = blockIdx.y; b < job.batch; b += gridDim.y) {
    for (int entry = i; entry < entries; entry += kThreads) totals[entry] = 0;
    for (int64_t at = int64_t(blockIdx.x) * job.tile; at < job.voxels; at += int64_t(gridDim.x) * job.tile) {
      const int32_t first = int32_t(at);
      const int count = min(job.tile, job.voxels - first);
      job.load(b, first, count);
      __syncthreads();
      if (i < count) {
        acc_t point[3], g[3];
        lattice_point(first + i, job.logits.size, point);
        const int64_t flow_offset = upstream.flow.offset(first + i),
                      mask_offset = upstream.mask.offset(first + i);
        for (int axis = 0; axis < 3; ++axis) g[axis] = upstream.flow.channel(b, axis)[flow_offset];
        job.softmax_of(i);
        // d loss / d mask k, 0 below the threshold
        const auto gain = [&](int k) {
          acc_t w[3];
          job.shared_flows()[k](point[0], point[1], point[2], w);
          const acc_t direct = upstream.masked ? widen(upstream.mask.channel(b, k)[mask_offset]) : acc_t(0);
          const acc_t all = direct + g[0] * w[0] + g[1] * w[1] + g[2] * w[2];
          return masks[k * pitch + i] < job.threshold ? acc_t(0) : all;
        };
        acc_t dot = 0;
#pragma unroll 1
        for (int k = 0; k < slots; ++k) dot += masks[k * pitch + i] * gain(k);
#pragma unroll 1
        for (int k = 0; k < slots; ++k) {
          const acc_t mask = masks[k * pitch + i];
          if (grad_logits)
            grad_logits[(b * slots + k) * job.voxels + first + i] =
                narrow<scalar_t>(logit_gradient(mask, gain(k), dot));
          masks[k * pitch + i] = kept(mask, job.threshold);
        }
        for (int axis = 0; axis < 3; ++axis) {
          factors[axis * pitch + i] = g[axis];
          for (int j = 0; j < 3; ++j) factors[(3 + 3 * axis + j) * pitch + i] = g[axis] * point[j];
        }
      }
      __syncthreads();
      for (int entry = i; sums && entry < entries; entry += kThreads) {
        const acc_t* const mask = masks + (entry / kProducts + 1) * pitch;
        const acc_t* const factor = factors + entry % kProducts * pitch;
        acc_t sum = 0;
        for (int voxel = 0; voxel < count; ++voxel) sum += mask[voxel] * factor[voxel];
        totals[entry] += sum;
      }
      __syncthreads();
    }
    for (int k = i; sums && k < slots - 1; k += kThreads) {
      const double* const total = totals + k * kProducts;
      FlowSums part;
      for (int axis = 0; axis < 3; ++axis) {
        part.moved[axis] = total[axis];
        for (int j = 0; j < 3; ++j)  // sum g (p - x_d)^T
          part.outer[3 * axis + j] =
              total[3 + 3 * axis + j] - total[axis] * job.shared_flows()[k + 1].driving[j];
      }
      sums[(b * (slots - 1) + k) * gridDim.x + blockIdx.x] = part;
    }
    __syncthreads();
  }
}

int parts_of(const Tensor& logits) {
  const int64_t tiles = ceil_div(logits.size[2] * logits.size[3] * logits.size[4], kThreads);
  return int(std::clamp<int64_t>(tiles, 1, kParts));
}

}  // namespace

void compose_flow_cuda(const Tensor& flow, const Tensor& mask, const ComposeFlow& op, int device,
                       void* cuda_stream) {
  if (flow.numel() == 0) return;
  const Stream stream(device, cuda_stream);
  for_dtype(op.mask_logits.dtype, [&](auto scalar) {
    using scalar_t = decltype(scalar);
    MaskTiles<scalar_t> job(op);
    const int64_t bytes = job.reserve(3, 0);
    stream.launch("compose_flow", compose_flow_kernel<scalar_t>,
                 dim3(job.tiles(), 1, Stream::most_blocks(job.batch)), kThreads, bytes, job,
                 flow.as<acc_of<scalar_t>>(), mask.numel() ? mask.as<scalar_t>() : nullptr);
  });
}

int64_t compose_flow_backward_workspace(const ComposeFlow& op) {
  return flow_sums_bytes(op.kp_source, parts_of(op.mask_logits));
}

void compose_flow_backward_cuda(const Tensor& grad_logits, const Tensor& grad_source,
                                const Tensor& grad_driving, const Tensor& grad_affine,
                                const Tensor& grad_flow, const Tensor& grad_mask, const ComposeFlow& op,
                                const Tensor& workspace, int device, void* cuda_stream) {
  const Stream stream(device, cuda_stream);
  if (op.mask_logits.numel() == 0) {
    for (const Tensor* grad : {&grad_source, &grad_driving, &grad_affine}) stream.fill_zero(*grad);
    return;
  }
  for_dtype(op.mask_logits.dtype, [&](auto scalar) {
    using scalar_t = decltype(scalar);
    using acc_t = acc_of<scalar_t>;
    MaskTiles<scalar_t> job(op);
    const int64_t bytes = job.reserve(kProducts, (job.slots - 1) * kProducts);
    const bool masked = grad_mask.numel() > 0;
    const Upstream<scalar_t> upstream = {Volume<acc_t>(grad_flow, 4),
                                         Volume<scalar_t>(masked ? grad_mask : op.mask_logits, 1), masked};
    const bool inward = grad_source.numel() || grad_driving.numel() || grad_affine.numel();
    const int parts = parts_of(op.mask_logits);
    stream.launch("compose_flow_backward", compose_flow_backward_kernel<scalar_t>,
                 dim3(parts, Stream::most_blocks(job.batch)), kThreads, bytes, job, upstream,
                 grad_logits.numel() ? grad_logits.as<scalar_t>() : nullptr,
                 inward ? workspace.as<FlowSums>() : nullptr);
    write_flow_gradients(stream, job.flows, workspace.as<FlowSums>(), parts, job.batch, grad_source,
                         grad_driving, grad_affine);
  });
}

}  // namespace fv2v
