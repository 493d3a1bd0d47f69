// SPDX-License-Identifier: Apache-2.0
// winograd_conv on the CPU: the products, sums over channels of transformed inputs times transformed weights.
#pragma once
#include <algorithm>

#include "winograd_conv/lanes.h"

namespace fv2v {

// What the three steps know of a call, and of the block of tiles at hand. Where the algorithm is one in depth
// too, a tile is two slices deep, and a product more stands for a tap; else a block has all depths.
struct Plan {
  int64_t channels, outputs, depth, height, width;  // of the (enlarged) picture
  int64_t kd, slices;                               // that a product sums over, and that it is computed for
  int64_t tiles_across, tiles_flat, tiles;          // in a row, in a slice, in all
  int64_t pitch;                                    // tiles that memory is for
  int64_t input_row, output_row;                    // numbers a tile
  int64_t input_point, output_point, weight_point;  // from one of the a a points to the next
  int64_t panel = 0, panels = 0;                    // sixteens of outputs at hand
  int64_t b = 0, first = 0, count = 0;              // tiles at hand

  FV2V_HOST_DEVICE int64_t row(int64_t z, int64_t tile) const { return z * pitch + tile; }
};

// Channels that are summed before they are added to the others: a sum of thousands of terms one by one is
// off four times as far, and no faster.
constexpr int64_t kSummed = 32;

// `rows` tiles by `panels` sixteens of outputs, summed over channels and the taps in z that are inside
template <int rows, int panels, typename acc_t>
FV2V_HOST_DEVICE void multiply_tile(const acc_t* inputs, int64_t input_row, int64_t slice,
                                    const acc_t* weight, int64_t panel, int64_t taps, int64_t channels,
                                    acc_t* products, int64_t output_row) {
  for (int64_t tap = 0; tap < taps; ++tap) {
    const acc_t* const from = inputs + tap * slice;
    const acc_t* const by = weight + tap * channels * kLanes<acc_t>;
    for (int64_t begin = 0; begin < channels; begin += kSummed) {
      const int64_t end = std::min(begin + kSummed, channels);
      Lanes<acc_t> sum[rows][panels] = {};
      for (int64_t c = begin; c < end; ++c) {
        Lanes<acc_t> w[panels];
#pragma GCC unroll 8
        for (int p = 0; p < panels; ++p)
          w[p] = *reinterpret_cast<const typename Loose<acc_t>::type*>(by + p * panel + c * kLanes<acc_t>);
#pragma GCC unroll 32
        for (int r = 0; r < rows; ++r) {
          const acc_t value = from[r * input_row + c];
#pragma GCC unroll 8
          for (int p = 0; p < panels; ++p) sum[r][p] += value * w[p];
        }
      }
      const bool first = tap == 0 && begin == 0;
#pragma GCC unroll 32
      for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
        for (int p = 0; p < panels; ++p) {
          auto* const to = reinterpret_cast<Lanes<acc_t>*>(products + r * output_row + p * kLanes<acc_t>);
          *to = first ? sum[r][p] : *to + sum[r][p];
        }
    }
  }
}

// Some panels of one point's matrix product, for all tiles of the block. Rows past the last tile hold
// numbers of no meaning, and give such.
template <int rows, int panels, typename acc_t>
FV2V_CLONES void multiply(const Plan& plan, const acc_t* inputs, const acc_t* weight, acc_t* products) {
  const int64_t panel = plan.kd * plan.channels * kLanes<acc_t>, pad = plan.kd / 2;
  for (int64_t z = 0; z < plan.slices; ++z) {
    const int64_t begin = std::max<int64_t>(0, pad - z), end = std::min(plan.kd, plan.slices + pad - z);
    for (int64_t tile = 0; tile < plan.count; tile += rows)
      multiply_tile<rows, panels>(inputs + plan.row(z + begin - pad, tile) * plan.input_row, plan.input_row,
                                  plan.pitch * plan.input_row,
                                  weight + begin * plan.channels * kLanes<acc_t>, panel, end - begin,
                                  plan.channels, products + plan.row(z, tile) * plan.output_row,
                                  plan.output_row);
  }
}

// Sums are kept in registers: 32 of 16 numbers with AVX-512, 16 of 8 without.
constexpr int rows_together(int panels) { return panels == 4 ? 6 : panels == 3 ? 8 : 12; }

template <typename acc_t>
inline int panels_together(int64_t panels) {
#if defined(__x86_64__)
  static const bool wide = __builtin_cpu_supports("avx512f");
#else
  static const bool wide = false;
#endif
  if (!wide) return 1;
  return int(panels == 5 || panels == 6 ? 3 : std::min<int64_t>(panels, 4));
}

template <typename acc_t>
void multiply_panels(const Plan& plan, int panels, const acc_t* inputs, const acc_t* weight,
                     acc_t* products) {
  switch (panels) {
    case 4:
      return multiply<rows_together(4), 4>(plan, inputs, weight, products);
    case 3:
      return multiply<rows_together(3), 3>(plan, inputs, weight, products);
    case 2:
      return multiply<rows_together(2), 2>(plan, inputs, weight, products);
    default:
      return multiply<rows_together(1), 1>(plan, inputs, weight, products);
  }
}

}  // namespace fv2v
