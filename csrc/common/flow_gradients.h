// SPDX-License-Identifier: Apache-2.0
// Sums over voxels that the keypoints' gradients are made of, kept apart for each part of the work and added
// in order, so that the result does not depend on timing.
#pragma once
#include "common/keypoint_flow.h"

namespace fv2v {

// Of one flow, with g = d loss / d w; in double, whatever a voxel is computed in.
struct FlowSums {
  double moved[3] = {};   // sum g
  double outer[9] = {};   // sum g (p - x_d)^T
  double source[3] = {};  // further gradients of x_s and x_d: the Gaussians' in warp_candidates
  double driving[3] = {};

  template <typename acc_t>
  FV2V_HOST_DEVICE acc_t source_gradient(int i) const {
    return acc_t(moved[i] + source[i]);
  }
  template <typename acc_t>
  FV2V_HOST_DEVICE acc_t driving_gradient(const KeypointFlow<acc_t>& flow, int i) const {
    return acc_t(driving[i] + flow.driving_gradient(i, moved));
  }

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

}  // namespace fv2v
