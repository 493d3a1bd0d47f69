// warp3d on the GPU: a thread a point, so that neighbouring threads read and write neighbouring voxels; it
// finds the eight corners once and loops over a share of the channels.
#include "common/launch.h"
#include "common/scalar.h"
#include "common/trilinear.h"
#include "warp3d/warp3d.h"

namespace fv2v {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 1;  // asked of a multiprocessor; unasked, ptxas aims at 64 registers and spills
constexpr int64_t kLeastShare =
    4;  // channels a thread, below which finding the corners costs more than reading

// Everything the kernels index with. index_t is 32 bits wherever one sample's offsets fit.
template <typename scalar_t, typename index_t>
struct Job {
  using acc_t = acc_of<scalar_t>;
  const scalar_t* features;
  const acc_t* grid;
  int64_t batch, channels, share, points;
  Size3 size, out_size;
  int64_t features_batch_stride, features_channel_stride, grid_batch_stride;
  index_t features_stride[3];  // depth, row, step
  index_t grid_stride[4];      // depth, row, step, axis
  bool align_corners;

  FV2V_HOST_DEVICE Cell<acc_t> cell(int64_t b, int64_t p) const {
    const index_t x = p % out_size.width, row = p / out_size.width;
    const acc_t* at = grid + b * grid_batch_stride + row / out_size.height * grid_stride[0] +
                      row % out_size.height * grid_stride[1] + x * grid_stride[2];
    const acc_t point[3] = {at[0], at[grid_stride[3]], at[2 * grid_stride[3]]};
    return Cell<acc_t>(point, size, align_corners);
  }
};

template <typename scalar_t, typename index_t>
__global__ void __launch_bounds__(kThreads, kBlocks)
    warp3d_kernel(const Job<scalar_t, index_t> job, scalar_t* out) {
  using acc_t = acc_of<scalar_t>;
  const int64_t p = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (p >= job.points) return;
  const int64_t first = blockIdx.y * job.share, last = min(first + job.share, job.channels);
  for (int64_t b = blockIdx.z; b < job.batch; b += gridDim.z) {
    const Cell<acc_t> cell = job.cell(b, p);
    const uint32_t corners = cell.corners();
    acc_t weight[8];
    index_t offset[8];
    for (int i = 0; i < 8; ++i) {
      weight[i] = cell.weight(i);
      offset[i] = cell.template offset<index_t>(i, job.features_stride[0], job.features_stride[1],
                                                job.features_stride[2]);
    }
    const scalar_t* from = job.features + b * job.features_batch_stride + first * job.features_channel_stride;
    scalar_t* to = out + (b * job.channels + first) * job.points + p;
#pragma unroll 2  // eight loads in flight twice; more spills
    for (int64_t c = first; c < last; ++c) {
      acc_t sum = 0;
      for (int i = 0; i < 8; ++i)
        if (corners >> i & 1) sum += weight[i] * widen(from[offset[i]]);
      *to = narrow<scalar_t>(sum);
      from += job.features_channel_stride;
      to += job.points;
    }
  }
}

// grad_features and grad_grid are zero where channels are shared among threads; either may be nullptr.
template <typename scalar_t, typename index_t>
__global__ void __launch_bounds__(kThreads, kBlocks)
    warp3d_backward_kernel(const Job<scalar_t, index_t> job, const scalar_t* grad_out,
                           const int64_t grad_out_batch_stride, const int64_t grad_out_channel_stride,
                           const int64_t grad_out_depth_stride, const int64_t grad_out_row_stride,
                           const int64_t grad_out_step, acc_of<scalar_t>* grad_features,
                           acc_of<scalar_t>* grad_grid) {
  using acc_t = acc_of<scalar_t>;
  const int64_t p = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (p >= job.points) return;
  const int64_t first = blockIdx.y * job.share, last = min(first + job.share, job.channels);
  const int64_t x = p % job.out_size.width, row = p / job.out_size.width, voxels = job.size.voxels();
  const bool one_sample = job.features_batch_stride == 0;
  for (int64_t b = blockIdx.z; b < job.batch; b += gridDim.z) {
    const Cell<acc_t> cell = job.cell(b, p);
    const uint32_t corners = cell.corners();
    const scalar_t* upstream = grad_out + b * grad_out_batch_stride + first * grad_out_channel_stride +
                               row / job.out_size.height * grad_out_depth_stride +
                               row % job.out_size.height * grad_out_row_stride + x * grad_out_step;
    const scalar_t* from = job.features + b * job.features_batch_stride + first * job.features_channel_stride;
    acc_t* to = grad_features + ((one_sample ? 0 : b) * job.channels + first) * voxels;
    acc_t pull[8] = {};  // summed over channels at each corner first: the slopes are applied once
#pragma unroll 1
    for (int64_t c = first; c < last; ++c) {
      const acc_t g = widen(*upstream);
      for (int i = 0; i < 8; ++i) {
        if (!(corners >> i & 1)) continue;
        if (grad_grid)
          pull[i] += g * widen(from[cell.template offset<index_t>(
                             i, job.features_stride[0], job.features_stride[1], job.features_stride[2])]);
        if (grad_features)
          atomicAdd(to + cell.template offset<index_t>(i, index_t(job.size.height) * job.size.width,
                                                       job.size.width, 1),
                    cell.weight(i) * g);
      }
      upstream += grad_out_channel_stride;
      from += job.features_channel_stride;
      to += voxels;
    }
    if (!grad_grid) continue;
    const acc_t weight[3][2] = {{cell.x.weight[0], cell.x.weight[1]},
                                {cell.y.weight[0], cell.y.weight[1]},
                                {cell.z.weight[0], cell.z.weight[1]}};
    const acc_t slope[3][2] = {{cell.x.slope[0], cell.x.slope[1]},
                               {cell.y.slope[0], cell.y.slope[1]},
                               {cell.z.slope[0], cell.z.slope[1]}};
    acc_t gradient[3];
    trilinear_gradient(pull, weight, slope, gradient);
    for (int axis = 0; axis < 3; ++axis) grad_grid[(b * job.points + p) * 3 + axis] = gradient[axis];
  }
}

// Whether one sample's offsets, the last of `dims` from `first` on, need 64 bits.
bool reaches_far(const Tensor& tensor, int first) {
  int64_t last = 0;
  for (int i = first; i < tensor.dims; ++i) last += (tensor.size[i] - 1) * tensor.stride[i];
  return last >= INT32_MAX;
}

template <typename scalar_t, typename index_t>
Job<scalar_t, index_t> make_job(const Warp3d& op) {
  const Tensor &f = op.features, &g = op.grid;
  Job<scalar_t, index_t> job = {};
  job.features = f.as<const scalar_t>();
  job.grid = g.as<const acc_of<scalar_t>>();
  job.batch = g.size[0];
  job.channels = f.size[1];
  job.share = job.channels;
  job.size = {int32_t(f.size[2]), int32_t(f.size[3]), int32_t(f.size[4])};
  job.out_size = {int32_t(g.size[1]), int32_t(g.size[2]), int32_t(g.size[3])};
  job.points = job.out_size.voxels();
  job.features_batch_stride = f.size[0] == 1 ? 0 : f.stride[0];  // one sample is read for all
  job.features_channel_stride = f.stride[1];
  job.grid_batch_stride = g.stride[0];
  for (int i = 0; i < 3; ++i) job.features_stride[i] = index_t(f.stride[2 + i]);
  for (int i = 0; i < 4; ++i) job.grid_stride[i] = index_t(g.stride[1 + i]);
  job.align_corners = op.align_corners;
  return job;
}

template <typename JobType>
dim3 blocks_for(const JobType& job) {
  return dim3((job.points + kThreads - 1) / kThreads, (job.channels + job.share - 1) / job.share,
              std::min<int64_t>(job.batch, 65535));
}

// Calls body(scalar_t{}, index_t{}).
template <typename Body>
void for_types(const Warp3d& op, Body body) {
  const bool far = reaches_far(op.features, 2) || reaches_far(op.grid, 1) ||
                   op.features.size[2] * op.features.size[3] * op.features.size[4] >= INT32_MAX ||
                   op.grid.size[1] * op.grid.size[2] * op.grid.size[3] >= INT32_MAX;
  for_dtype(op.features.dtype, [&](auto scalar) {
    if (far)
      body(scalar, int64_t{});
    else
      body(scalar, int32_t{});
  });
}

}  // namespace

void warp3d_cuda(const Tensor& out, const Warp3d& op, int device, void* stream) {
  if (out.numel() == 0) return;
  const Queue queue(device, stream);
  for_types(op, [&](auto scalar, auto index) {
    auto job = make_job<decltype(scalar), decltype(index)>(op);
    // All channels in one thread, unless the points alone would leave the GPU half empty.
    const int64_t wanted = (queue.resident_threads() + job.batch * job.points - 1) / (job.batch * job.points);
    const int64_t parts = std::max<int64_t>(1, std::min(wanted, job.channels / kLeastShare));
    job.share = (job.channels + parts - 1) / parts;
    queue.launch("warp3d", warp3d_kernel<decltype(scalar), decltype(index)>, blocks_for(job), kThreads, 0,
                 job, out.as<decltype(scalar)>());
  });
}

void warp3d_backward_cuda(const Tensor& grad_features, const Tensor& grad_grid, const Tensor& grad_out,
                          const Warp3d& op, int device, void* stream) {
  const Queue queue(device, stream);
  for (const Tensor* grad : {&grad_features, &grad_grid})
    if (grad->numel())
      check_cuda(cudaMemsetAsync(grad->data, 0, grad->numel() * bytes_of(grad->dtype), queue.stream),
                 "warp3d_backward");
  if (grad_out.numel() == 0) return;
  for_types(op, [&](auto scalar, auto index) {
    using scalar_t = decltype(scalar);
    using acc_t = acc_of<scalar_t>;
    const auto job = make_job<scalar_t, decltype(index)>(op);
    queue.launch("warp3d_backward", warp3d_backward_kernel<scalar_t, decltype(index)>, blocks_for(job),
                 kThreads, 0, job, grad_out.as<const scalar_t>(), grad_out.stride[0], grad_out.stride[1],
                 grad_out.stride[2], grad_out.stride[3], grad_out.stride[4],
                 grad_features.numel() ? grad_features.as<acc_t>() : nullptr,
                 grad_grid.numel() ? grad_grid.as<acc_t>() : nullptr);
  });
}

}  // namespace fv2v
