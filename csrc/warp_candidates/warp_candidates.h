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

void warp_candidates_cpu(const Tensor& out, const WarpCandidates& op, int threads);
void warp_candidates_backward_cpu(const Tensor& grad_features, const Tensor& grad_source,
                                  const Tensor& grad_driving, const Tensor& grad_affine,
                                  const Tensor& grad_out, const WarpCandidates& op, int threads);

}  // namespace fv2v
