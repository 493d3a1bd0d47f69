// SPDX-License-Identifier: Apache-2.0
// Voxel index -> (x, y, z) on the corner lattice: voxel i of n at 2 i / (n - 1) - 1, and at 0 where n = 1.
#pragma once
#include <cstdint>

#include "common/host_device.h"

namespace fv2v {

struct Size3 {
  int32_t depth, height, width;  // (D, H, W) = (z, y, x)
  FV2V_HOST_DEVICE int64_t voxels() const { return int64_t(depth) * height * width; }
};

template <typename acc_t>
FV2V_HOST_DEVICE acc_t lattice_coordinate(int32_t i, int32_t n) {
  return 2 * acc_t(i) / acc_t(n > 1 ? n - 1 : 1) - acc_t(n > 1);
}

// Of a voxel counted through (D, H, W).
template <typename acc_t>
FV2V_HOST_DEVICE void lattice_point(int32_t voxel, Size3 size, acc_t point[3]) {
  const int32_t row = voxel / size.width;
  point[0] = lattice_coordinate<acc_t>(voxel % size.width, size.width);
  point[1] = lattice_coordinate<acc_t>(row % size.height, size.height);
  point[2] = lattice_coordinate<acc_t>(row / size.height, size.depth);
}

}  // namespace fv2v
