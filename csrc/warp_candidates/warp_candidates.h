// SPDX-License-Identifier: Apache-2.0
// warp_candidates: for every flow k, one channel of Gaussian difference, then the features read at w_k(p):
//   out[b, k(C'+1), p]         = exp(-|p - x_d,k|^2 / 2v) - exp(-|p - x_s,k|^2 / 2v),  0 for k = 0
//   out[b, k(C'+1) + 1 + c, p] = features[b, c], trilinearly, at w_k(p) of common/keypoint_flow.h
#pragma once
#include <cmath>

#include "common/host_device.h"
#include "common/tensor.h"

namespace fv2v {

struct WarpCandidates {
  Tensor features;               // (B or 1, C', D, H, W)
  Tensor kp_source, kp_driving;  // (B, K, 3)
  Tensor affine;                 // absent, (B, 3, 3) or (B, K, 3, 3)
  bool align_corners;
  double variance;
};

// One axis of a Gaussian around a keypoint, `distance` from it; the three axes multiply.
template <typename acc_t>
FV2V_HOST_DEVICE acc_t gaussian(acc_t distance, acc_t variance) {
  return exp(-distance * distance / (2 * variance));
}

// The three axes at once, in one exp; `factor` is -1 / 2v.
template <typename acc_t>
FV2V_HOST_DEVICE acc_t gaussian(const acc_t point[3], const acc_t keypoint[3], acc_t factor) {
  const acc_t x = point[0] - keypoint[0], y = point[1] - keypoint[1], z = point[2] - keypoint[2];
  return exp((x * x + y * y + z * z) * factor);
}

void warp_candidates_cpu(const Tensor& out, const WarpCandidates& op, int threads);
void warp_candidates_backward_cpu(const Tensor& grad_features, const Tensor& grad_source,
                                  const Tensor& grad_driving, const Tensor& grad_affine,
                                  const Tensor& grad_out, const WarpCandidates& op, int threads);

void warp_candidates_cuda(const Tensor& out, const WarpCandidates& op, int device, void* cuda_stream);
int64_t warp_candidates_backward_workspace(const WarpCandidates& op);  // bytes
void warp_candidates_backward_cuda(const Tensor& grad_features, const Tensor& grad_source,
                                   const Tensor& grad_driving, const Tensor& grad_affine,
                                   const Tensor& grad_out, const WarpCandidates& op, const Tensor& workspace,
                                   int device, void* cuda_stream);

}  // namespace fv2v
