// SPDX-License-Identifier: Apache-2.0
// The first-order flow of one keypoint and its gradient (Sec. 3.3):
//   w_k(p) = A_k (p - x_d,k) + x_s,k            flow 0, the background, is w_0(p) = p
//   given g = d loss / d w:   x_s gets sum g,   x_d gets -A^T sum g,   A gets sum g (p - x_d)^T
#pragma once
#include <cstdint>

#include "common/host_device.h"
#include "common/tensor.h"

namespace fv2v {

template <typename acc_t>
struct KeypointFlow {
  acc_t affine[9];  // row-major
  acc_t source[3], driving[3];

  FV2V_HOST_DEVICE void operator()(acc_t x, acc_t y, acc_t z, acc_t w[3]) const {
    const acc_t dx = x - driving[0], dy = y - driving[1], dz = z - driving[2];
    for (int row = 0; row < 3; ++row)
      w[row] = affine[3 * row] * dx + affine[3 * row + 1] * dy + affine[3 * row + 2] * dz + source[row];
  }
  // What x_d gets through the flow, from `moved` = sum g: row i of -A^T sum g.
  FV2V_HOST_DEVICE double driving_gradient(int i, const double moved[3]) const {
    return -(affine[i] * moved[0] + affine[3 + i] * moved[1] + affine[6 + i] * moved[2]);
  }
};

// The flows of all keypoints as the operators receive them, with any strides.
template <typename acc_t>
struct KeypointFlows {
  const acc_t* source;                                            // (B, K, 3)
  const acc_t* driving;                                           // (B, K, 3)
  const acc_t* affine;                                            // (B, K, 3, 3), or nullptr for the identity
  int64_t source_stride[3], driving_stride[3], affine_stride[4];  // one shared matrix: K steps by 0
  int64_t keypoints;                                              // K

  // flow 0 is the background
  FV2V_HOST_DEVICE KeypointFlow<acc_t> at(int64_t b, int64_t flow) const {
    KeypointFlow<acc_t> result = {{1, 0, 0, 0, 1, 0, 0, 0, 1}, {0, 0, 0}, {0, 0, 0}};
    if (flow == 0) return result;
    const int64_t k = flow - 1;
    for (int i = 0; i < 3; ++i) {
      result.source[i] = source[b * source_stride[0] + k * source_stride[1] + i * source_stride[2]];
      result.driving[i] = driving[b * driving_stride[0] + k * driving_stride[1] + i * driving_stride[2]];
    }
    if (affine)
      for (int i = 0; i < 9; ++i)
        result.affine[i] = affine[b * affine_stride[0] + k * affine_stride[1] + i / 3 * affine_stride[2] +
                                  i % 3 * affine_stride[3]];
    return result;
  }
};

template <typename acc_t>
KeypointFlows<acc_t> keypoint_flows(const Tensor& kp_source, const Tensor& kp_driving, const Tensor& affine) {
  KeypointFlows<acc_t> flows = {kp_source.as<const acc_t>(),
                                kp_driving.as<const acc_t>(),
                                affine.as<const acc_t>(),
                                {},
                                {},
                                {},
                                kp_source.size[1]};
  for (int i = 0; i < 3; ++i) {
    flows.source_stride[i] = kp_source.stride[i];
    flows.driving_stride[i] = kp_driving.stride[i];
  }
  const bool shared = affine.dims == 3;  // (B, 3, 3)
  for (int i = 0; i < affine.dims; ++i) flows.affine_stride[i == 0 ? 0 : i + shared] = affine.stride[i];
  return flows;
}

}  // namespace fv2v
