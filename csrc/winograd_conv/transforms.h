// SPDX-License-Identifier: Apache-2.0
// Winograd's transforms, G w G^T of weights, B^T d B of inputs and A^T m A of products, on vectors of outputs
// or of channels.
//
// A Toom-Cook algorithm evaluates both factors at points, and at infinity. Along an axis, F(4, 3) takes six
// products for four outputs; a kernel of seven is one of four taps and one of three beside it, F(4, 4) and
// F(4, 3), thirteen products for four outputs: as a single algorithm, F(4, 7) takes ten, and is off eleven
// times as far. Points were chosen for accuracy: of sums of as many terms in
// float32 an output of F(4, 3) is off 2.5 times as far as a direct one (with 2 in place of 1/2: 3.3 times),
// and so is one of both pieces.
#pragma once
#include "common/host_device.h"

namespace fv2v {

template <int rows, int columns>
struct Matrix {
  double at[rows][columns];
};

template <int rows, int columns, int some, int few>
constexpr void place(Matrix<rows, columns>& in, const Matrix<some, few>& part, int row, int column) {
  for (int i = 0; i < some; ++i)
    for (int j = 0; j < few; ++j) in.at[row + i][column + j] = part.at[i][j];
}

template <int taps>
struct Points;
template <>
struct Points<3> {
  static constexpr double at[] = {0, 1, -1, 0.5, -2};
};
template <>
struct Points<4> {
  static constexpr double at[] = {0, 1, -1, 0.5, -2, -0.5};
};

// The matrices of F(kTile, taps): what weights, inputs and products are multiplied by along an axis.
constexpr int kTile = 4;
template <int taps>
struct Piece {
  static constexpr int kSize = kTile + taps - 1;  // products, and inputs that are read
  Matrix<kSize, taps> weight = {};                // G
  Matrix<kSize, kSize> input = {};                // B^T
  Matrix<kTile, kSize> output = {};               // A^T

  constexpr Piece() {
    constexpr auto& points = Points<taps>::at;
    constexpr int last = kSize - 1;  // infinity
    for (int i = 0; i <= last; ++i) {
      // the product of (x - point) over the other points: its coefficients, and its value at this one
      int degree = 0;
      double value = 1;
      input.at[i][0] = 1;
      for (int j = 0; j < last; ++j) {
        if (j == i) continue;
        for (int k = ++degree; k > 0; --k) input.at[i][k] = input.at[i][k - 1] - points[j] * input.at[i][k];
        input.at[i][0] *= -points[j];
        if (i < last) value *= points[i] - points[j];
      }
      double power = 1 / value;
      for (int tap = 0; tap < taps; ++tap, power *= i < last ? points[i] : 0)
        weight.at[i][tap] = i < last ? power : tap == taps - 1;
      power = 1;
      for (int m = 0; m < kTile; ++m, power *= i < last ? points[i] : 0)
        output.at[m][i] = i < last ? power : m == kTile - 1;
    }
  }
};

// A kernel of three taps is one piece; of seven, the pieces of its first four and of its last three.
template <int taps>
struct Filter {
  static constexpr int kTaps = taps, kReach = kTile + taps - 1;  // inputs that a tile reads
  static constexpr int kFirst = taps == 7 ? 4 : taps, kOthers = taps - kFirst;
  static constexpr int kSplit = kTile + kFirst - 1;  // products of the first piece
  static constexpr int kSize = kSplit + (kOthers ? kTile + kOthers - 1 : 0);
  struct Weight {
    static constexpr Matrix<kSize, taps> make() {
      Matrix<kSize, taps> all = {};
      place(all, Piece<kFirst>().weight, 0, 0);
      if constexpr (kOthers) place(all, Piece<kOthers>().weight, kSplit, kFirst);
      return all;
    }
    static constexpr auto kMatrix = make();
    static constexpr auto& at = kMatrix.at;
  };
  // Of an input enlarged twice only every other pixel is read, and stands for two: tiles begin with the
  // second of a pair.
  template <bool doubling>
  struct Input {
    static constexpr int kReads = doubling ? kReach / 2 + 1 : kReach;
    static constexpr Matrix<kSize, kReads> make() {
      Matrix<kSize, kReach> all = {};
      place(all, Piece<kFirst>().input, 0, 0);
      if constexpr (kOthers) place(all, Piece<kOthers>().input, kSplit, kFirst);
      Matrix<kSize, kReads> read = {};
      for (int i = 0; i < kSize; ++i)
        for (int j = 0; j < kReach; ++j) read.at[i][doubling ? (j + 1) / 2 : j] += all.at[i][j];
      return read;
    }
    static constexpr auto kMatrix = make();
    static constexpr auto& at = kMatrix.at;
  };
  struct Output {
    static constexpr Matrix<kTile, kSize> make() {
      Matrix<kTile, kSize> all = {};
      place(all, Piece<kFirst>().output, 0, 0);
      if constexpr (kOthers) place(all, Piece<kOthers>().output, 0, kSplit);
      return all;
    }
    static constexpr auto kMatrix = make();
    static constexpr auto& at = kMatrix.at;
  };
};

// In depth F(2, 3), at 0, 1, -1 and infinity: four products for two slices of output, each of two slices of
// input. Products are weighted sums of taps; outputs are m0 + m1 + m2 and m1 - m2 - m3.
constexpr int kDeepTile = 2, kDeepSize = 4;
struct TwoSlices {
  int one, other, sign;
};
constexpr TwoSlices kDeepInput[kDeepSize] = {{0, 2, -1}, {1, 2, 1}, {2, 1, -1}, {1, 3, -1}};
constexpr double kDeepWeight[kDeepSize][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};

// Whether a row of a matrix is zero from `i` on.
template <typename Matrix, int row, int size>
constexpr bool ends(int i) {
  for (; i < size; ++i)
    if (Matrix::at[row][i] != 0) return false;
  return true;
}

// The sum of matrix[row][i] from[i] over those that are not multiplied by zero. Unrolled by templates: loops
// over arrays of vectors stay in memory.
template <typename Matrix, int row, int size, int i = 0, typename vec_t>
FV2V_HOST_DEVICE vec_t weighted(const vec_t* from) {
  using number = decltype(vec_t{}[0] + vec_t{}[0]);
  constexpr number factor = number(Matrix::at[row][i]);
  if constexpr (factor == 0) {
    return weighted<Matrix, row, size, i + 1>(from);
  } else {
    vec_t sum = from[i];
    if constexpr (factor != 1) sum *= factor;
    if constexpr (!ends<Matrix, row, size>(i + 1)) sum += weighted<Matrix, row, size, i + 1>(from);
    return sum;
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
