// SPDX-License-Identifier: Apache-2.0
// CPU: the eight voxels around each of a block of points, and what is read from them and sent back to them.
#pragma once
#include "common/trilinear.h"
#include "cpu/packed.h"
#include "cpu/vector.h"

namespace fv2v {

// Where up to kBlockSize points read. Every loop runs along the points, so that the compiler computes many at
// once; it does so only while all of this lies on the stack of the function that fills it. Row j of the four
// takes its y from bit 0 and its z from bit 1.
template <typename acc_t>
struct PointBlock {
  alignas(64) int32_t offset[4][kBlockSize];    // in a group of Packed, of the two voxels beside the point
  alignas(64) acc_t row_weight[4][kBlockSize];  // y and z alone
  alignas(64) acc_t weight[3][2][kBlockSize];
  alignas(64) acc_t slope[3][2][kBlockSize];
  alignas(64) int32_t low[3][kBlockSize];
  alignas(64) int32_t inside[3][2][kBlockSize];

  FV2V_HOST_DEVICE PointBlock(const Points<acc_t>& points, int count, Size3 size) {
    locate_axis(0, points.at[0], count, size.width, points.align_corners);
    locate_axis(1, points.at[1], count, size.height, points.align_corners);
    locate_axis(2, points.at[2], count, size.depth, points.align_corners);
    const int32_t width = size.width + 2, outside = size.depth * size.height * width;
    for (int row = 0; row < 4; ++row) {
      const int b = row & 1, c = row >> 1;
      for (int i = 0; i < count; ++i) {
        const int32_t at = ((low[2][i] + c) * size.height + low[1][i] + b) * width + low[0][i] + 1;
        const int32_t in_row = inside[0][0][i] | inside[0][1][i];
        offset[row][i] = in_row & inside[1][b][i] & inside[2][c][i] ? at : outside;
        row_weight[row][i] = weight[1][b][i] * weight[2][c][i];
      }
    }
  }

  template <int lanes>
  FV2V_HOST_DEVICE void read(const vec<acc_t, lanes>* features, int count, vec<acc_t, lanes>* out) const {
    using pair_t = typename Vector<acc_t, lanes>::pair;
    for (int i = 0; i < count; ++i) {
      pair_t sum = *reinterpret_cast<const pair_t*>(features + offset[0][i]) * row_weight[0][i];
      for (int row = 1; row < 4; ++row)
        sum += *reinterpret_cast<const pair_t*>(features + offset[row][i]) * row_weight[row][i];
      const auto* half = reinterpret_cast<const vec<acc_t, lanes>*>(&sum);
      out[i] = half[0] * weight[0][0][i] + half[1] * weight[0][1][i];
    }
  }

  // The adjoint of `read`: adds to the features' gradient.
  template <int lanes>
  FV2V_HOST_DEVICE void scatter(const vec<acc_t, lanes>* grad_out, int count,
                                vec<acc_t, lanes>* grad_features) const {
    for (int i = 0; i < count; ++i) {
      const vec<acc_t, lanes> left = grad_out[i] * weight[0][0][i], right = grad_out[i] * weight[0][1][i];
      for (int row = 0; row < 4; ++row) {
        vec<acc_t, lanes>* to = grad_features + offset[row][i];
        to[0] += left * row_weight[row][i];
        to[1] += right * row_weight[row][i];
      }
    }
  }

  // Adds grad_out . d value / d point; `total` keeps the channels apart until the end.
  template <int lanes>
  FV2V_HOST_DEVICE void accumulate_slopes(const vec<acc_t, lanes>* features,
                                          const vec<acc_t, lanes>* grad_out, int count,
                                          vec<acc_t, lanes> (*total)[3]) const {
    for (int i = 0; i < count; ++i) {
      vec<acc_t, lanes> value[8], gradient[3];
      acc_t weights[3][2], slopes[3][2];
      for (int corner = 0; corner < 8; ++corner)
        value[corner] = features[offset[corner >> 1][i] + (corner & 1)];
      for (int axis = 0; axis < 3; ++axis)
        for (int side = 0; side < 2; ++side) {
          weights[axis][side] = weight[axis][side][i];
          slopes[axis][side] = slope[axis][side][i];
        }
      trilinear_gradient(value, weights, slopes, gradient);
      for (int axis = 0; axis < 3; ++axis) total[i][axis] += gradient[axis] * grad_out[i];
    }
  }

  FV2V_HOST_DEVICE bool outside(int i) const {
    return !((inside[0][0][i] | inside[0][1][i]) & (inside[1][0][i] | inside[1][1][i]) &
             (inside[2][0][i] | inside[2][1][i]));
  }

 private:
  FV2V_HOST_DEVICE void locate_axis(int axis, const acc_t* coordinate, int count, int32_t size,
                                    bool align_corners) {
    for (int i = 0; i < count; ++i) {
      const Axis<acc_t> at(coordinate[i], size, align_corners);
      low[axis][i] = at.low;
      inside[axis][0][i] = at.inside[0];
      inside[axis][1][i] = at.inside[1];
      weight[axis][0][i] = at.weight[0];
      weight[axis][1][i] = at.weight[1];
      slope[axis][0][i] = at.slope[0];
      slope[axis][1][i] = at.slope[1];
    }
  }
};

}  // namespace fv2v
