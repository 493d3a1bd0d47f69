// SPDX-License-Identifier: Apache-2.0
// Reading a volume between its voxels: the eight voxels around a point, their weights and the weights'
// slopes.
//   value = sum_i weight_i voxel_i        corner i takes its x from bit 0, y from bit 1, z from bit 2
// Voxels outside the volume count as zero; NaN and infinite coordinates are outside.
#pragma once
#include <cstdint>

#include "common/host_device.h"
#include "common/lattice.h"

namespace fv2v {

// The two voxels beside a coordinate on one axis.
template <typename acc_t>
struct Axis {
  int32_t low;  // the first of them; may be outside
  bool inside[2];
  acc_t weight[2];  // 0 outside
  acc_t slope[2];   // d weight / d coordinate; 0 outside

  // align_corners: -1 and +1 are the centres of the first and last voxel, else their outer faces
  FV2V_HOST_DEVICE Axis(acc_t coordinate, int32_t size, bool align_corners) {
    const acc_t per_unit = acc_t(align_corners ? size - 1 : size) / 2;  // voxels per unit of coordinate
    acc_t voxel = (coordinate + 1) * per_unit - (align_corners ? acc_t(0) : acc_t(0.5));
    // Clamped just past the volume, so that the conversion to int is defined; the comparison sends NaN there
    // too.
    voxel = voxel > -2 ? voxel : acc_t(-2);
    voxel = voxel < acc_t(size) + 1 ? voxel : acc_t(size) + 1;
    const int32_t truncated = static_cast<int32_t>(voxel);
    low = truncated - int32_t(voxel < acc_t(truncated));
    const acc_t fraction = voxel - acc_t(low);
    // one comparison for both ends, and no branch: these loops are vectorised on the CPU
    inside[0] = uint32_t(low) < uint32_t(size);
    inside[1] = uint32_t(low + 1) < uint32_t(size);
    weight[0] = inside[0] ? 1 - fraction : acc_t(0);
    weight[1] = inside[1] ? fraction : acc_t(0);
    slope[0] = inside[0] ? -per_unit : acc_t(0);
    slope[1] = inside[1] ? per_unit : acc_t(0);
  }
};

template <typename acc_t>
struct Cell {
  Axis<acc_t> x, y, z;

  FV2V_HOST_DEVICE Cell(const acc_t point[3], Size3 size, bool align_corners)
      : x(point[0], size.width, align_corners),
        y(point[1], size.height, align_corners),
        z(point[2], size.depth, align_corners) {}

  // Bit i: corner i is inside. One register on a GPU, where eight booleans would spill.
  FV2V_HOST_DEVICE uint32_t corners() const {
    const uint32_t along_x = uint32_t(x.inside[0]) | uint32_t(x.inside[1]) << 1;
    const uint32_t across_y = (y.inside[0] ? along_x : 0) | (y.inside[1] ? along_x << 2 : 0);
    return (z.inside[0] ? across_y : 0) | (z.inside[1] ? across_y << 4 : 0);
  }
  FV2V_HOST_DEVICE acc_t weight(int i) const {
    return x.weight[i & 1] * y.weight[i >> 1 & 1] * z.weight[i >> 2];
  }
  // Where corner i lies in a volume with these strides, in elements.
  template <typename index_t>
  FV2V_HOST_DEVICE index_t offset(int i, index_t depth_stride, index_t row_stride, index_t step) const {
    return index_t(z.low + (i >> 2)) * depth_stride + index_t(y.low + (i >> 1 & 1)) * row_stride +
           index_t(x.low + (i & 1)) * step;
  }
};

// d value / d (x, y, z) from the eight voxels' values. `value_t` is a number, or a short vector of channels.
template <typename value_t, typename acc_t>
FV2V_HOST_DEVICE void trilinear_gradient(const value_t value[8], const acc_t weight[3][2],
                                         const acc_t slope[3][2], value_t gradient[3]) {
  for (int axis = 0; axis < 3; ++axis) gradient[axis] = value_t{};
  for (int yz = 0; yz < 4; ++yz) {
    const int b = yz & 1, c = yz >> 1;
    const value_t along = value[2 * yz] * weight[0][0] + value[2 * yz + 1] * weight[0][1];
    const value_t change = value[2 * yz] * slope[0][0] + value[2 * yz + 1] * slope[0][1];
    gradient[0] += change * (weight[1][b] * weight[2][c]);
    gradient[1] += along * (slope[1][b] * weight[2][c]);
    gradient[2] += along * (weight[1][b] * slope[2][c]);
  }
}

}  // namespace fv2v
