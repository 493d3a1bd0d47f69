// SPDX-License-Identifier: Apache-2.0
// CPU: the places of voxels, and the keypoints' gradients from the sums of each part of the work.
#pragma once
#include <vector>

#include "common/flow_gradients.h"
#include "common/lattice.h"

namespace fv2v {

// Every voxel's place on the corner lattice, axis by axis.
template <typename acc_t>
struct Lattice {
  std::vector<acc_t> x, y, z;

  explicit Lattice(Size3 size) : x(axis(size.width)), y(axis(size.height)), z(axis(size.depth)) {}

 private:
  static std::vector<acc_t> axis(int32_t n) {
    std::vector<acc_t> places(n);
    for (int32_t i = 0; i < n; ++i) places[i] = lattice_coordinate<acc_t>(i, n);
    return places;
  }
};

// The gradients of x_s, x_d and A from sums (parts, B, K+1), added in order.
template <typename acc_t>
void write_flow_gradients(const KeypointFlows<acc_t>& flows, const std::vector<FlowSums>& sums, int64_t batch,
                          const Tensor& grad_source, const Tensor& grad_driving, const Tensor& grad_affine) {
  const int64_t K = flows.keypoints, slots = batch * (K + 1);
  const bool shared = grad_affine.dims == 3;
  fill_zero(grad_affine);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t k = 0; k < K; ++k) {
      FlowSums total;
      for (size_t at = b * (K + 1) + k + 1; at < sums.size(); at += slots) {
        const FlowSums& part = sums[at];
        for (int i = 0; i < 9; ++i) total.outer[i] += part.outer[i];
        for (int i = 0; i < 3; ++i) {
          total.moved[i] += part.moved[i];
          total.source[i] += part.source[i];
          total.driving[i] += part.driving[i];
        }
      }
      const KeypointFlow<acc_t> flow = flows.at(b, k + 1);
      for (int i = 0; i < 3; ++i) {
        const int64_t at = (b * K + k) * 3 + i;
        if (grad_source.numel()) grad_source.as<acc_t>()[at] = total.source_gradient<acc_t>(i);
        if (grad_driving.numel()) grad_driving.as<acc_t>()[at] = total.driving_gradient(flow, i);
      }
      if (grad_affine.numel())
        for (int i = 0; i < 9; ++i)
          grad_affine.as<acc_t>()[(shared ? b : b * K + k) * 9 + i] += acc_t(total.outer[i]);
    }
  }
}

}  // namespace fv2v
