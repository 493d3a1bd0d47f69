// SPDX-License-Identifier: Apache-2.0
// warp3d on the GPU. Channels that lie side by side are read and written 16 bytes at a time, by neighbouring
// threads; otherwise neighbouring threads take neighbouring points. A thread finds the eight corners once and
// goes on from channel to channel.
#include "cuda/corners.h"
#include "cuda/launch.h"
#include "cuda/threads.h"
#include "warp3d/warp3d.h"

namespace fv2v {
namespace {

constexpr int kVector = 16;  // bytes
// Channels a thread, below which finding the corners costs more than reading.
constexpr int64_t kLeastShare = 4;

template <typename scalar_t>
struct Job {
  using acc_t = acc_of<scalar_t>;
  Volume<scalar_t> features;
  Volume<acc_t> grid;  // channels are x, y, z
  int64_t batch;
  int32_t points;
  uint32_t shares;  // of the channels: threads a point
  bool align_corners;

  explicit Job(const Warp3d& op)
      : features(op.features, 1),
        grid(op.grid, 4),
        batch(op.grid.size[0]),
        points(int32_t(grid.size.voxels())),
        shares(1),
        align_corners(op.align_corners) {
    check_voxels(grid.size.voxels());
    check_voxels(features.size.voxels());
  }

  __device__ __forceinline__ Cell<acc_t> cell(int64_t b, int32_t p) const {
    const acc_t* at = grid.channel(b, 0) + grid.offset(p);
    const acc_t point[3] = {at[0], at[grid.channel_stride], at[2 * grid.channel_stride]};
    return Cell<acc_t>(point, features.size, align_corners);
  }
};

template <typename scalar_t, int lanes>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    warp3d_kernel(const Job<scalar_t> job, const Result<scalar_t> out) {
  const uint32_t thread = blockIdx.x * kThreads + threadIdx.x;
  // vectors: the threads of a point are neighbours
  const uint32_t point = lanes > 1 ? thread / job.shares : thread;
  const int share = lanes > 1 ? int(thread % job.shares) : blockIdx.y;
  if (point >= uint32_t(job.points)) return;
  const int32_t p = int32_t(point);
  for (int64_t b = blockIdx.z; b < job.batch; b += gridDim.z) {
    const Corners<acc_of<scalar_t>, lanes> corners(job.cell(b, p), job.features);
    read_channels<lanes>(corners, job.features, out, b, p, share, job.shares);
  }
}

// Adds to grad_features; either gradient may be nullptr.
template <typename scalar_t>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    warp3d_backward_kernel(const Job<scalar_t> job, const Volume<scalar_t> grad_out,
                           acc_of<scalar_t>* grad_features, acc_of<scalar_t>* grad_grid) {
  using acc_t = acc_of<scalar_t>;
  const int64_t point = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (point >= job.points) return;
  const int32_t p = int32_t(point);
  for (int64_t b = blockIdx.z; b < job.batch; b += gridDim.z) {
    const int64_t sample = job.features.batch == 1 ? 0 : b;
    const Cell<acc_t> cell = job.cell(b, p);
    acc_t* const to = grad_features + sample * job.features.channels * job.features.size.voxels();
    acc_t gradient[3];
    send_back<1>(cell, job.features, b, grad_out.channel(b, 0) + grad_out.offset(p), grad_out.channel_stride,
                 grad_features ? to : nullptr, grad_grid, gradient);
    if (grad_grid)
      for (int axis = 0; axis < 3; ++axis) grad_grid[(b * job.points + p) * 3 + axis] = gradient[axis];
  }
}

// Threads a point, so that the points alone need not fill the GPU.
template <typename scalar_t>
int64_t shares_for(const Job<scalar_t>& job, int lanes, int64_t resident) {
  const int64_t wanted = ceil_div(resident, job.batch * job.points);
  if (lanes == 1) return std::max<int64_t>(1, std::min(wanted, job.features.channels / kLeastShare));
  const int64_t groups = job.features.channels / lanes;
  if (job.points * groups >= INT32_MAX) return 1;  // threads are counted in 32 bits
  return std::max(ceil_div(groups, 2), std::min(wanted, groups));
}

}  // namespace

void warp3d_cuda(const Tensor& out, const Warp3d& op, int device, void* cuda_stream) {
  if (out.numel() == 0) return;
  const Stream stream(device, cuda_stream);
  for_reading<kVector>(op.features, takes_vectors(out, kVector), [&](auto scalar, auto lanes) {
    using scalar_t = decltype(scalar);
    Job<scalar_t> job(op);
    job.shares = uint32_t(shares_for(job, lanes, stream.resident_threads()));
    const int64_t threads = lanes > 1 ? int64_t(job.points) * job.shares : job.points;
    const dim3 blocks(ceil_div(threads, kThreads), lanes > 1 ? 1 : job.shares,
                      Stream::most_blocks(job.batch));
    stream.launch("warp3d", warp3d_kernel<scalar_t, lanes>, blocks, kThreads, 0, job, Result<scalar_t>(out));
  });
}

void warp3d_backward_cuda(const Tensor& grad_features, const Tensor& grad_grid, const Tensor& grad_out,
                          const Warp3d& op, int device, void* cuda_stream) {
  const Stream stream(device, cuda_stream);
  stream.fill_zero(grad_features);
  if (grad_out.numel() == 0) return stream.fill_zero(grad_grid);
  for_reading<0>(op.features, false, [&](auto scalar, auto) {
    using scalar_t = decltype(scalar);
    using acc_t = acc_of<scalar_t>;
    const Job<scalar_t> job(op);
    stream.launch("warp3d_backward", warp3d_backward_kernel<scalar_t>,
                 dim3(ceil_div(job.points, kThreads), 1, Stream::most_blocks(job.batch)), kThreads, 0, job,
                 Volume<scalar_t>(grad_out, 1), grad_features.numel() ? grad_features.as<acc_t>() : nullptr,
                 grad_grid.numel() ? grad_grid.as<acc_t>() : nullptr);
  });
}

}  // namespace fv2v
