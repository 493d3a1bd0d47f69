// SPDX-License-Identifier: Apache-2.0
// soft_argmax3d: with m = softmax over p of logits[b, k, p] / temperature, p on the corner lattice,
//   keypoints[b, k] = sum_p m_p p        jacobians[b, k] = sum_p m_p maps[b, k, p], 9 numbers
#pragma once
#include "common/exp.h"
#include "common/tensor.h"

namespace fv2v {

struct SoftArgmax3d {
  Tensor logits;         // (B, K, D, H, W)
  Tensor jacobian_maps;  // (B, 9K, D, H, W), or absent
  double temperature;
};

// The weight of a voxel relative to that of the largest logit so far, the peak; sharpness = 1 / temperature.
// When the peak rises, what was summed before is multiplied by the weight of the old peak.
template <typename acc_t>
FV2V_HOST_DEVICE acc_t voxel_weight(acc_t logit, acc_t peak, acc_t sharpness) {
  return exp_nonpositive((logit - peak) * sharpness);
}

void soft_argmax3d_cpu(const Tensor& keypoints, const Tensor& jacobians, const SoftArgmax3d& op, int threads);
void soft_argmax3d_backward_cpu(const Tensor& grad_logits, const Tensor& grad_maps,
                                const Tensor& grad_keypoints, const Tensor& grad_jacobians,
                                const SoftArgmax3d& op, int threads);

int64_t soft_argmax3d_workspace(const SoftArgmax3d& op);  // bytes, forward and backward
void soft_argmax3d_cuda(const Tensor& keypoints, const Tensor& jacobians, const SoftArgmax3d& op,
                        const Tensor& workspace, int device, void* cuda_stream);
void soft_argmax3d_backward_cuda(const Tensor& grad_logits, const Tensor& grad_maps,
                                 const Tensor& grad_keypoints, const Tensor& grad_jacobians,
                                 const SoftArgmax3d& op, const Tensor& workspace, int device,
                                 void* cuda_stream);

}  // namespace fv2v
