// SPDX-License-Identifier: Apache-2.0
// compose_warp on the GPU: a block finds the deformations of a tile of voxels as compose_flow does, keeps
// them in shared memory, and redistributes its threads, to read there as warp3d does.
#include "compose_warp/compose_warp.h"

#include "cuda/corners.h"
#include "cuda/mask_tile.h"

namespace fv2v {
namespace {

constexpr int kVector = 16;     // bytes
constexpr int kSmallTile = 64;  // voxels: a full GPU matters more than full blocks while masks are made

template <typename scalar_t>
struct Job {
  MaskTiles<scalar_t> masks;
  Volume<scalar_t> features;
  bool align_corners;

  explicit Job(const ComposeWarp& op)
      : masks(op.flow), features(op.features, 1), align_corners(op.align_corners) {}
};

// flow_out (B, D, H, W, 3) and mask_out (B, K+1, D, H, W), contiguous, may be nullptr
template <typename scalar_t, int lanes>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    compose_warp_kernel(const Job<scalar_t> job, const Result<scalar_t> out, acc_of<scalar_t>* flow_out,
                        scalar_t* mask_out) {
  using acc_t = acc_of<scalar_t>;
  const MaskTiles<scalar_t>& masks = job.masks;
  acc_t* const flow = masks.masks() + masks.slots * masks.pitch();  // (tile, 3)
  const int32_t first = int32_t(blockIdx.x) * masks.tile;
  const int count = min(masks.tile, masks.voxels - first), i = threadIdx.x;
  const int groups = int(job.features.channels) / lanes;
  // vectors: the threads of a voxel are neighbours and take a group each; else neighbours take neighbouring
  // voxels
  const int shares = lanes > 1 ? groups : kThreads / masks.tile;
  for (int64_t b = blockIdx.z; b < masks.batch; b += gridDim.z) {
    masks.blend_tile(b, first, count, mask_out, flow);
    for (int at = i; flow_out && at < 3 * count; at += kThreads)
      flow_out[(b * masks.voxels + first) * 3 + at] = flow[at];
    for (int item = i; item < masks.tile * shares; item += kThreads) {
      const int voxel = lanes > 1 ? item / shares : item % masks.tile;
      const int share = lanes > 1 ? item % shares : item / masks.tile;
      if (voxel >= count) continue;
      const Cell<acc_t> cell(flow + 3 * voxel, job.features.size, job.align_corners);
      const Corners<acc_t, lanes> corners(cell, job.features);
      read_channels<lanes>(corners, job.features, out, b, first + voxel, share, shares);
    }
    __syncthreads();
  }
}

}  // namespace

void compose_warp_cuda(const Tensor& warped, const Tensor& flow, const Tensor& mask, const ComposeWarp& op,
                       int device, void* cuda_stream) {
  if (op.flow.mask_logits.numel() == 0) return;
  const Stream stream(device, cuda_stream);
  for_reading<kVector>(op.features, takes_vectors(warped, kVector), [&](auto scalar, auto lanes) {
    using scalar_t = decltype(scalar);
    Job<scalar_t> job(op);
    if (job.masks.tiles() * job.masks.batch * kThreads < stream.resident_threads())
      job.masks.tile = kSmallTile;
    const int64_t bytes = job.masks.reserve(3, 0);
    stream.launch("compose_warp", compose_warp_kernel<scalar_t, lanes>,
                 dim3(job.masks.tiles(), 1, Stream::most_blocks(job.masks.batch)), kThreads, bytes, job,
                 Result<scalar_t>(warped), flow.numel() ? flow.as<acc_of<scalar_t>>() : nullptr,
                 mask.numel() ? mask.as<scalar_t>() : nullptr);
  });
}

}  // namespace fv2v
