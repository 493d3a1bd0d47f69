// SPDX-License-Identifier: Apache-2.0
// keypoint_flow on the GPU: a block a tile of voxels of one flow, staged in shared memory so that three
// numbers a voxel leave it side by side.
#include "keypoint_flow/keypoint_flow.h"

#include "common/volume.h"
#include "cuda/flow_sums.h"

namespace fv2v {
namespace {

constexpr int64_t kShare = 4 * kThreads;  // voxels a block sums up at least
constexpr int64_t kParts = 64;            // blocks a flow is summed by at most

template <typename acc_t>
struct Job {
  KeypointFlows<acc_t> flows;
  Size3 size;
  int32_t voxels;
  int64_t batch, slots;  // K+1

  Job(const KeypointFlowOp& op, const Tensor& flow)
      : flows(keypoint_flows<acc_t>(op.kp_source, op.kp_driving, op.affine)),
        size{int32_t(flow.size[2]), int32_t(flow.size[3]), int32_t(flow.size[4])},
        voxels(int32_t(size.voxels())),
        batch(flow.size[0]),
        slots(flow.size[1]) {
    check_voxels(size.voxels());
  }
};

template <typename acc_t>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    keypoint_flow_kernel(const Job<acc_t> job, acc_t* out) {
  acc_t* const tile = shared_memory<acc_t>();  // (kThreads, 3)
  const int32_t first = int32_t(blockIdx.x) * kThreads;
  const int count = min(kThreads, job.voxels - first), i = threadIdx.x;
  for (int64_t slot = blockIdx.y; slot < job.batch * job.slots; slot += gridDim.y) {
    if (i < count) {
      acc_t point[3];
      lattice_point(first + i, job.size, point);
      job.flows.at(slot / job.slots, slot % job.slots)(point[0], point[1], point[2], tile + 3 * i);
    }
    __syncthreads();
    acc_t* const to = out + (slot * job.voxels + first) * 3;
    for (int at = i; at < 3 * count; at += kThreads) to[at] = tile[at];
    __syncthreads();
  }
}

// grad_out (B, K+1, D, H, W, 3) with any strides; a block a part of the voxels of one keypoint
template <typename acc_t>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    sum_flow_kernel(const Job<acc_t> job, const Tensor grad_out, FlowSums* sums) {
  const int64_t K = job.slots - 1;
  for (int64_t keypoint = blockIdx.y; keypoint < job.batch * K; keypoint += gridDim.y) {
    const int64_t b = keypoint / K, slot = keypoint % K + 1;
    const acc_t* const upstream =
        grad_out.as<const acc_t>() + b * grad_out.stride[0] + slot * grad_out.stride[1];
    FlowSum<acc_t> sum(job.flows.at(b, slot));
    for (int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x; at < job.voxels;
         at += int64_t(gridDim.x) * kThreads) {
      const int32_t p = int32_t(at);
      acc_t point[3], g[3];
      lattice_point(p, job.size, point);
      const int32_t row = p / job.size.width;
      const acc_t* const from = upstream + row / job.size.height * grad_out.stride[2] +
                                row % job.size.height * grad_out.stride[3] +
                                p % job.size.width * grad_out.stride[4];
      for (int axis = 0; axis < 3; ++axis) g[axis] = from[axis * grad_out.stride[5]];
      sum.add(point, g);
    }
    sum.store(sums[keypoint * gridDim.x + blockIdx.x]);
  }
}

int parts_of(const Tensor& grad_out) {
  const int64_t voxels = grad_out.size[2] * grad_out.size[3] * grad_out.size[4];
  return int(std::clamp<int64_t>(voxels / kShare, 1, kParts));
}

}  // namespace

void keypoint_flow_cuda(const Tensor& out, const KeypointFlowOp& op, int device, void* cuda_stream) {
  if (out.numel() == 0) return;
  const Stream stream(device, cuda_stream);
  for_coordinates(op.kp_source.dtype, [&](auto scalar) {
    using acc_t = decltype(scalar);
    const Job<acc_t> job(op, out);
    stream.launch("keypoint_flow", keypoint_flow_kernel<acc_t>,
                 dim3(ceil_div(job.voxels, kThreads), Stream::most_blocks(job.batch * job.slots)), kThreads,
                 3 * kThreads * sizeof(acc_t), job, out.as<acc_t>());
  });
}

int64_t keypoint_flow_backward_workspace(const Tensor& grad_out, const KeypointFlowOp& op) {
  return flow_sums_bytes(op.kp_source, parts_of(grad_out));
}

void keypoint_flow_backward_cuda(const Tensor& grad_source, const Tensor& grad_driving,
                                 const Tensor& grad_affine, const Tensor& grad_out, const KeypointFlowOp& op,
                                 const Tensor& workspace, int device, void* cuda_stream) {
  const Stream stream(device, cuda_stream);
  for_coordinates(op.kp_source.dtype, [&](auto scalar) {
    using acc_t = decltype(scalar);
    const Job<acc_t> job(op, grad_out);
    const int parts = parts_of(grad_out);
    const int64_t keypoints = op.kp_source.size[0] * op.kp_source.size[1];
    if (keypoints > 0)
      stream.launch("keypoint_flow_backward", sum_flow_kernel<acc_t>,
                   dim3(parts, Stream::most_blocks(keypoints)), kThreads, kFlowSumBytes<acc_t>, job, grad_out,
                   workspace.as<FlowSums>());
    write_flow_gradients(stream, job.flows, workspace.as<FlowSums>(), parts, job.batch, grad_source,
                         grad_driving, grad_affine);
  });
}

}  // namespace fv2v
