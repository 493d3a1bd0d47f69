// SPDX-License-Identifier: Apache-2.0
// keypoint_flow on the CPU: one (batch, flow) pair a task.
#include "keypoint_flow/keypoint_flow.h"

#include "common/volume.h"
#include "cpu/block.h"
#include "cpu/flow_gradients.h"
#include "cpu/parallel.h"

namespace fv2v {
namespace {

Size3 spatial(const Tensor& flow) {
  return {int32_t(flow.size[2]), int32_t(flow.size[3]), int32_t(flow.size[4])};
}

template <typename acc_t>
FV2V_CLONES void write_flow(const KeypointFlow<acc_t>& flow, const Lattice<acc_t>& lattice, acc_t* out) {
  for (const acc_t z : lattice.z)
    for (const acc_t y : lattice.y)
      for (const acc_t x : lattice.x) {
        flow(x, y, z, out);
        out += 3;
      }
}

// grad_out (B, K+1, D, H, W, 3) with any strides
template <typename acc_t>
FV2V_CLONES void sum_flow(const KeypointFlow<acc_t>& flow, const Lattice<acc_t>& lattice,
                          const Tensor& grad_out, const acc_t* grad, FlowSums& sums) {
  const Size3 size = spatial(grad_out);
  acc_t g[3][kBlockSize], ones[kBlockSize];
  std::fill(ones, ones + kBlockSize, acc_t(1));
  const acc_t* const rows[3] = {g[0], g[1], g[2]};
  for (int32_t z = 0; z < size.depth; ++z)
    for (int32_t y = 0; y < size.height; ++y)
      for (int32_t first = 0; first < size.width; first += kBlockSize) {
        const int count = std::min(kBlockSize, size.width - first);
        const acc_t* from =
            grad + z * grad_out.stride[2] + y * grad_out.stride[3] + first * grad_out.stride[4];
        for (int axis = 0; axis < 3; ++axis)
          for (int i = 0; i < count; ++i)
            g[axis][i] = from[i * grad_out.stride[4] + axis * grad_out.stride[5]];
        sums.add_row(flow, lattice.x.data() + first, lattice.y[y], lattice.z[z], count, rows, ones);
      }
}

}  // namespace

void keypoint_flow_cpu(const Tensor& out, const KeypointFlowOp& op, int threads) {
  const Size3 size = spatial(out);
  threads = useful_threads(threads, out.numel());
  for_dtype(op.kp_source.dtype, [&](auto scalar) {
    using acc_t = acc_of<decltype(scalar)>;
    const auto flows = keypoint_flows<acc_t>(op.kp_source, op.kp_driving, op.affine);
    const Lattice<acc_t> lattice(size);
    const int64_t slots = flows.keypoints + 1;
    parallel_for(out.size[0] * slots, threads, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task)
        write_flow(flows.at(task / slots, task % slots), lattice, out.as<acc_t>() + task * size.voxels() * 3);
    });
  });
}

void keypoint_flow_backward_cpu(const Tensor& grad_source, const Tensor& grad_driving,
                                const Tensor& grad_affine, const Tensor& grad_out, const KeypointFlowOp& op,
                                int threads) {
  threads = useful_threads(threads, grad_out.numel());
  for_dtype(op.kp_source.dtype, [&](auto scalar) {
    using acc_t = acc_of<decltype(scalar)>;
    const auto flows = keypoint_flows<acc_t>(op.kp_source, op.kp_driving, op.affine);
    const Lattice<acc_t> lattice(spatial(grad_out));
    const int64_t batch = grad_out.size[0], slots = flows.keypoints + 1;
    std::vector<FlowSums> sums(batch * slots);
    parallel_for(batch * slots, threads, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const acc_t* grad = grad_out.as<const acc_t>() + task / slots * grad_out.stride[0] +
                            task % slots * grad_out.stride[1];
        sum_flow(flows.at(task / slots, task % slots), lattice, grad_out, grad, sums[task]);
      }
    });
    write_flow_gradients(flows, sums, batch, grad_source, grad_driving, grad_affine);
  });
}

}  // namespace fv2v
