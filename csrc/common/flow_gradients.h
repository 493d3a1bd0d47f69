// CPU: sums over voxels that the keypoints' gradients are made of, kept apart for each part of the work and
// added in order, so that the result does not depend on timing.
#pragma once
#include <vector>

#include "common/keypoint_flow.h"
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

// Of one flow, with g = d loss / d w; in double, whatever a voxel is computed in.
struct FlowSums {
  double moved[3] = {};   // sum g
  double outer[9] = {};   // sum g (p - x_d)^T
  double source[3] = {};  // further gradients of x_s and x_d: the Gaussians' in warp_candidates
  double driving[3] = {};

  // Adds `count` voxels of one row, at x[i], y, z, whose gradients are scale[i] * g[axis][i].
  template <typename acc_t>
  FV2V_HOST_DEVICE void add_row(const KeypointFlow<acc_t>& flow, const acc_t* x, acc_t y, acc_t z, int count,
                                const acc_t* const g[3], const acc_t* scale) {
    for (int axis = 0; axis < 3; ++axis) {
      acc_t sum = 0, along_x = 0;
#pragma omp simd reduction(+ : sum, along_x)
      for (int i = 0; i < count; ++i) {
        const acc_t value = scale[i] * g[axis][i];
        sum += value;
        along_x += value * (x[i] - flow.driving[0]);
      }
      moved[axis] += sum;
      outer[3 * axis] += along_x;
      outer[3 * axis + 1] += double(sum) * (y - flow.driving[1]);
      outer[3 * axis + 2] += double(sum) * (z - flow.driving[2]);
    }
  }
};

// The gradients of x_s, x_d and A from sums (parts, B, K+1).
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
        if (grad_source.numel()) grad_source.as<acc_t>()[at] = acc_t(total.moved[i] + total.source[i]);
        if (grad_driving.numel())
          grad_driving.as<acc_t>()[at] = acc_t(total.driving[i] + flow.driving_gradient(i, total.moved));
      }
      if (grad_affine.numel())
        for (int i = 0; i < 9; ++i)
          grad_affine.as<acc_t>()[(shared ? b : b * K + k) * 9 + i] += acc_t(total.outer[i]);
    }
  }
}

}  // namespace fv2v
