// SPDX-License-Identifier: Apache-2.0
// Winograd's transforms, G w G^T of weights, B^T d B of inputs and A^T m A of products, on vectors of outputs
// or of channels.
//
// A Toom-Cook algorithm evaluates both factors at points, and at infinity; these were chosen for accuracy:
// with 0, 1, -1, 1/2, -2 an output of F(4, 3) is off 2.5 times as far as a direct sum in float32 (with 2 in
// place of 1/2: 3.3 times); F(2, 7) 4 times.
#pragma once
#include "common/host_device.h"

namespace fv2v {

template <int rows, int columns>
struct Matrix {
  double at[rows][columns];
};

// G of those points and infinity: powers of a point, over the product of its distances to the others.
template <int taps, int count>
constexpr Matrix<count + 1, taps> weight_matrix(const double (&points)[count]) {
  Matrix<count + 1, taps> g = {};
  for (int i = 0; i < count; ++i) {
    double value = 1;
    for (int j = 0; j < count; ++j)
      if (j != i) value /= points[i] - points[j];
    for (int tap = 0; tap < taps; ++tap, value *= points[i]) g.at[i][tap] = value;
  }
  g.at[count][taps - 1] = 1;
  return g;
}

struct F43 {
  static constexpr int kTaps = 3, kTile = 4, kSize = 6;
  struct Weight {
    static constexpr double kPoints[] = {0, 1, -1, 0.5, -2};
    static constexpr auto kMatrix = weight_matrix<kTaps>(kPoints);
    static constexpr auto& at = kMatrix.at;
  };
  struct Input {
    static constexpr double at[kSize][kSize] = {
        {1, -1.5, -2, 1.5, 1, 0}, {0, -1, 0.5, 2.5, 1, 0},  {0, 1, -2.5, 0.5, 1, 0},
        {0, -2, -1, 2, 1, 0},     {0, 0.5, -1, -0.5, 1, 0}, {0, 1, -1.5, -2, 1.5, 1},
    };
  };
  struct Output {
    static constexpr double at[kTile][kSize] = {
        {1, 1, 1, 1, 1, 0},
        {0, 1, -1, 0.5, -2, 0},
        {0, 1, 1, 0.25, 4, 0},
        {0, 1, -1, 0.125, -8, 1},
    };
  };
};

struct F27 {
  static constexpr int kTaps = 7, kTile = 2, kSize = 8;
  struct Weight {
    static constexpr double kPoints[] = {0, 1, -1, 2, -2, 0.5, -0.5};
    static constexpr auto kMatrix = weight_matrix<kTaps>(kPoints);
    static constexpr auto& at = kMatrix.at;
  };
  struct Input {
    static constexpr double at[kSize][kSize] = {
        {-1, 0, 5.25, 0, -5.25, 0, 1, 0},      {0, 1, 1, -4.25, -4.25, 1, 1, 0},
        {0, -1, 1, 4.25, -4.25, -1, 1, 0},     {0, 0.5, 0.25, -2.5, -1.25, 2, 1, 0},
        {0, -0.5, 0.25, 2.5, -1.25, -2, 1, 0}, {0, 2, 4, -2.5, -5, 0.5, 1, 0},
        {0, -2, 4, 2.5, -5, -0.5, 1, 0},       {0, -1, 0, 5.25, 0, -5.25, 0, 1},
    };
  };
  struct Output {
    static constexpr double at[kTile][kSize] = {
        {1, 1, 1, 1, 1, 1, 1, 0},
        {0, 1, -1, 2, -2, 0.5, -0.5, 1},
    };
  };
};

// The sum of matrix[row][i] from[i], without those that are multiplied by zero. Unrolled by templates:
// loops over arrays of vectors stay in memory.
template <typename Matrix, int row, int size, int i = 0, typename vec_t>
FV2V_HOST_DEVICE vec_t weighted(const vec_t* from) {
  using number = decltype(vec_t{}[0] + vec_t{}[0]);
  constexpr number factor = number(Matrix::at[row][i]);
  if constexpr (i + 1 == size) {
    if constexpr (factor == 0) return vec_t{};
    if constexpr (factor == 1) return from[i];
    return factor * from[i];
  } else {
    const vec_t rest = weighted<Matrix, row, size, i + 1>(from);
    if constexpr (factor == 0) return rest;
    if constexpr (factor == 1) return from[i] + rest;
    return factor * from[i] + rest;
  }
}

// The matrix times the columns of `from`, (size, columns) -> (rows, columns), one column.
template <typename Matrix, int rows, int size, int row = 0, typename vec_t>
FV2V_HOST_DEVICE void transform(const vec_t* from, vec_t* to, int stride) {
  if constexpr (row < rows) {
    to[row * stride] = weighted<Matrix, row, size>(from);
    transform<Matrix, rows, size, row + 1>(from, to, stride);
  }
}

}  // namespace fv2v
