// soft_argmax3d: with m = softmax over p of logits[b, k, p] / temperature, p on the corner lattice,
//   keypoints[b, k] = sum_p m_p p        jacobians[b, k] = sum_p m_p maps[b, k, p], 9 numbers
#pragma once
#include "common/tensor.h"

namespace fv2v {

struct SoftArgmax3d {
  Tensor logits;         // (B, K, D, H, W)
  Tensor jacobian_maps;  // (B, 9K, D, H, W), or absent
  double temperature;
};

void soft_argmax3d_cpu(const Tensor& keypoints, const Tensor& jacobians, const SoftArgmax3d& op, int threads);
void soft_argmax3d_backward_cpu(const Tensor& grad_logits, const Tensor& grad_maps,
                                const Tensor& grad_keypoints, const Tensor& grad_jacobians,
                                const SoftArgmax3d& op, int threads);

}  // namespace fv2v
