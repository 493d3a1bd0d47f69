// SPDX-License-Identifier: Apache-2.0
// winograd_conv on the CPU. As many outputs at a time as their weights allow, once transformed:
//   transform the weights        a thread takes channels, sixteen outputs side by side
// then a few tiles at a time, in all depths, so that what is between the three steps stays in a cache that
// the threads share:
//   transform the inputs         a thread takes pixels' tiles, sixteen channels side by side
//   multiply                     a thread takes one of the a a points: a matrix product of its own
//   transform the products back  with bias, addend, activation and pooling
#include "cpu/block.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/vector.h"
#include "winograd_conv/transforms.h"
#include "winograd_conv/winograd_conv.h"

namespace fv2v {
namespace {

constexpr int kLanes = 16;
constexpr int64_t kBlockBytes = 6 << 20;   // of transformed inputs and products
constexpr int64_t kWeightBytes = 8 << 20;  // of transformed weights

template <typename acc_t>
using Lanes = vec<acc_t, kLanes>;
template <typename acc_t>
struct Loose {
  typedef acc_t type __attribute__((vector_size(kLanes * sizeof(acc_t)), may_alias, aligned(alignof(acc_t))));
};

int64_t up_to(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// (B, C, D, H, W) with channels innermost
struct Voxels {
  void* data;
  int64_t size[5], stride[5];
  explicit Voxels(const Tensor& tensor) : data(tensor.data) {
    for (int i = 0; i < 5; ++i) size[i] = tensor.size[i], stride[i] = tensor.stride[i];
  }
  template <typename acc_t>
  FV2V_HOST_DEVICE acc_t* at(int64_t b, int64_t z, int64_t y, int64_t x) const {
    return static_cast<acc_t*>(data) + b * stride[0] + z * stride[2] + y * stride[3] + x * stride[4];
  }
};

template <typename acc_t>
FV2V_HOST_DEVICE Lanes<acc_t> load(const acc_t* from, int64_t count) {
  if (count >= kLanes) return *reinterpret_cast<const typename Loose<acc_t>::type*>(from);
  Lanes<acc_t> lanes = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  return lanes;
}
template <typename acc_t>
FV2V_HOST_DEVICE void store(const Lanes<acc_t>& lanes, int64_t count, acc_t* to) {
  if (count >= kLanes) {
    *reinterpret_cast<typename Loose<acc_t>::type*>(to) = lanes;
    return;
  }
  for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}

// What the three steps know of a call, and of the block of tiles at hand.
struct Plan {
  int64_t channels, outputs, depth, height, width;  // of the (enlarged) picture
  int64_t kd, tiles_across, tiles;                  // of a slice
  int64_t pitch;                                    // tiles that memory is for
  int64_t input_row, output_row;                    // numbers a tile
  int64_t input_point, output_point, weight_point;  // from one of the a a points to the next
  int64_t panel = 0, panels = 0;                    // sixteens of outputs at hand
  int64_t b = 0, first = 0, count = 0;              // tiles at hand

  FV2V_HOST_DEVICE int64_t row(int64_t z, int64_t tile) const { return z * pitch + tile; }
};

template <typename F, typename acc_t>
FV2V_CLONES void transform_inputs(const WinogradConv& op, const Plan& plan, int64_t z, int64_t tile,
                                  acc_t* inputs) {
  constexpr int a = F::kSize;
  const Voxels x(op.x);
  const int64_t at = plan.first + tile, pad = F::kTaps / 2;
  const int64_t top = at / plan.tiles_across * F::kTile - pad, left = at % plan.tiles_across * F::kTile - pad;
  const acc_t* places[a][a];
  for (int i = 0; i < a; ++i)
    for (int j = 0; j < a; ++j) {
      const int64_t y = top + i, x_ = left + j;
      const bool inside = y >= 0 && y < plan.height && x_ >= 0 && x_ < plan.width;
      places[i][j] = inside ? x.at<const acc_t>(plan.b, z, y >> op.doubling, x_ >> op.doubling) : nullptr;
    }
  acc_t* const to = inputs + plan.row(z, tile) * plan.input_row;
  for (int64_t c = 0; c < plan.channels; c += kLanes) {
    Lanes<acc_t> half[a][a], line[a];
    for (int j = 0; j < a; ++j) {
      for (int i = 0; i < a; ++i)
        line[i] = places[i][j] ? load(places[i][j] + c, plan.channels - c) : Lanes<acc_t>{};
      transform<typename F::Input, a, a>(line, half[0] + j, a);
    }
    for (int i = 0; i < a; ++i) {
      transform<typename F::Input, a, a>(half[i], line, 1);
      for (int j = 0; j < a; ++j)
        *reinterpret_cast<Lanes<acc_t>*>(to + (i * a + j) * plan.input_point + c) = line[j];
    }
  }
}

// G w G^T of one channel and tap in z, `at`, for the panels at hand
template <typename F, typename acc_t>
FV2V_CLONES void transform_weights(const WinogradConv& op, const Plan& plan, int64_t at, acc_t* weights) {
  constexpr int a = F::kSize, r = F::kTaps;
  const int64_t* const stride = op.weight.stride;
  const acc_t* const from =
      op.weight.as<const acc_t>() + at % plan.channels * stride[1] + at / plan.channels * stride[2];
  for (int64_t p = 0; p < plan.panels; ++p) {
    const int64_t n = (plan.panel + p) * kLanes;
    acc_t* const to = weights + (p * plan.kd * plan.channels + at) * kLanes;
    Lanes<acc_t> half[a][r], line[a];
    for (int j = 0; j < r; ++j) {
      for (int i = 0; i < r; ++i) line[i] = load(from + i * stride[3] + j * stride[4] + n, plan.outputs - n);
      transform<typename F::Weight, a, r>(line, half[0] + j, r);
    }
    for (int i = 0; i < a; ++i) {
      transform<typename F::Weight, a, r>(half[i], line, 1);
      for (int j = 0; j < a; ++j)
        *reinterpret_cast<Lanes<acc_t>*>(to + (i * a + j) * plan.weight_point) = line[j];
    }
  }
}

// `rows` tiles by `panels` sixteens of outputs, summed over channels and the taps in z that are inside
template <int rows, int panels, typename acc_t>
FV2V_HOST_DEVICE void multiply_tile(const acc_t* inputs, int64_t input_row, int64_t slice,
                                    const acc_t* weight, int64_t panel, int64_t taps, int64_t channels,
                                    acc_t* products, int64_t output_row) {
  Lanes<acc_t> sum[rows][panels] = {};
  for (int64_t tap = 0; tap < taps; ++tap) {
    const acc_t* const from = inputs + tap * slice;
    const acc_t* const by = weight + tap * channels * kLanes;
    for (int64_t c = 0; c < channels; ++c) {
      Lanes<acc_t> w[panels];
#pragma GCC unroll 8
      for (int p = 0; p < panels; ++p)
        w[p] = *reinterpret_cast<const typename Loose<acc_t>::type*>(by + p * panel + c * kLanes);
#pragma GCC unroll 32
      for (int r = 0; r < rows; ++r) {
        const acc_t value = from[r * input_row + c];
#pragma GCC unroll 8
        for (int p = 0; p < panels; ++p) sum[r][p] += value * w[p];
      }
    }
  }
#pragma GCC unroll 32
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p)
      *reinterpret_cast<Lanes<acc_t>*>(products + r * output_row + p * kLanes) = sum[r][p];
}

// Some panels of one point's matrix product, for all tiles of the block. Rows past the last tile hold
// numbers of no meaning, and give such.
template <int rows, int panels, typename acc_t>
FV2V_CLONES void multiply(const Plan& plan, const acc_t* inputs, const acc_t* weight, acc_t* products) {
  const int64_t panel = plan.kd * plan.channels * kLanes, pad = plan.kd / 2;
  for (int64_t z = 0; z < plan.depth; ++z) {
    const int64_t begin = std::max<int64_t>(0, pad - z), end = std::min(plan.kd, plan.depth + pad - z);
    for (int64_t tile = 0; tile < plan.count; tile += rows)
      multiply_tile<rows, panels>(inputs + plan.row(z + begin - pad, tile) * plan.input_row, plan.input_row,
                                  plan.pitch * plan.input_row, weight + begin * plan.channels * kLanes, panel,
                                  end - begin, plan.channels, products + plan.row(z, tile) * plan.output_row,
                                  plan.output_row);
  }
}

// Sums are kept in registers: 32 of 16 numbers with AVX-512, 16 of 8 without.
constexpr int rows_together(int panels) { return panels == 4 ? 6 : panels == 3 ? 8 : 12; }

template <typename acc_t>
int panels_together(int64_t panels) {
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

template <typename F, typename acc_t>
FV2V_CLONES void transform_products(const Tensor& result, const WinogradConv& op, const Plan& plan, int64_t z,
                                    int64_t tile, const acc_t* products) {
  constexpr int a = F::kSize, m = F::kTile;
  const Voxels out(result), addend(op.addend.data ? op.addend : result);
  const int64_t at = plan.first + tile;
  const int64_t top = at / plan.tiles_across * m, left = at % plan.tiles_across * m;
  const int64_t high = std::min<int64_t>(m, plan.height - top),
                wide = std::min<int64_t>(m, plan.width - left);
  const acc_t* const from = products + plan.row(z, tile) * plan.output_row;
  const acc_t* const bias = op.bias.as<const acc_t>();
  const acc_t slope = acc_t(op.negative_slope);
  for (int64_t p = 0; p < plan.panels; ++p) {
    const int64_t n = (plan.panel + p) * kLanes, some = plan.outputs - n;
    Lanes<acc_t> half[m][a], y[m][m], line[a];
    for (int j = 0; j < a; ++j) {
      for (int i = 0; i < a; ++i)
        line[i] = *reinterpret_cast<const Lanes<acc_t>*>(from + (i * a + j) * plan.output_point + p * kLanes);
      transform<typename F::Output, m, a>(line, half[0] + j, a);
    }
    for (int i = 0; i < m; ++i) transform<typename F::Output, m, a>(half[i], y[i], 1);
    const Lanes<acc_t> added = load(bias + n, some);
    for (int64_t i = 0; i < high; ++i)
      for (int64_t j = 0; j < wide; ++j) {
        Lanes<acc_t> value = y[i][j] + added;
        if (op.addend.data) value += load(addend.at<const acc_t>(plan.b, z, top + i, left + j) + n, some);
        y[i][j] = value > acc_t(0) ? value : slope * value;
        if (!op.pooling) store(y[i][j], some, out.at<acc_t>(plan.b, z, top + i, left + j) + n);
      }
    if (!op.pooling) continue;
    for (int64_t i = 0; i + 1 < high; i += 2)
      for (int64_t j = 0; j + 1 < wide; j += 2)
        store((y[i][j] + y[i][j + 1] + y[i + 1][j] + y[i + 1][j + 1]) * acc_t(0.25), some,
              out.at<acc_t>(plan.b, z, (top + i) / 2, (left + j) / 2) + n);
  }
}

template <typename F, typename acc_t>
void convolve(const Tensor& out, const WinogradConv& op, int threads) {
  constexpr int points = F::kSize * F::kSize;
  Plan plan;
  plan.channels = op.x.size[1];
  plan.outputs = out.size[1];
  plan.depth = op.x.size[2];
  plan.height = op.x.size[3] << op.doubling;
  plan.width = op.x.size[4] << op.doubling;
  plan.kd = op.weight.size[2];
  plan.tiles_across = (plan.width + F::kTile - 1) / F::kTile;
  plan.tiles = plan.tiles_across * ((plan.height + F::kTile - 1) / F::kTile);
  const int64_t taps_in = plan.kd * plan.channels, panels = up_to(plan.outputs, kLanes) / kLanes;
  const int together = panels_together<acc_t>(panels);
  const int64_t panel_bytes = points * taps_in * kLanes * sizeof(acc_t);
  const int64_t most_panels =
      std::min(panels, up_to(std::max<int64_t>(kWeightBytes / panel_bytes, 1), together));
  plan.input_row = up_to(plan.channels, kLanes);
  plan.output_row = most_panels * kLanes;
  const int64_t tile_bytes = points * plan.depth * (plan.input_row + plan.output_row) * sizeof(acc_t);
  const int64_t fitting = std::max<int64_t>(kBlockBytes / tile_bytes, 6);
  const int64_t block = std::min(plan.tiles, fitting >= 12 ? fitting / 12 * 12 : fitting);
  plan.pitch = up_to(block, rows_together(together));
  if (panels % together != 0)  // some are multiplied by fewer
    for (int fewer = 1; fewer < together; ++fewer)
      plan.pitch = std::max(plan.pitch, up_to(block, rows_together(fewer)));
  // one line more, or all points of a tile would meet in the same places of a cache
  plan.input_point = plan.depth * plan.pitch * plan.input_row + kLanes;
  plan.output_point = plan.depth * plan.pitch * plan.output_row + kLanes;
  plan.weight_point = most_panels * taps_in * kLanes + kLanes;
  const bool several = op.x.size[0] > 1 || block < plan.tiles;  // blocks
  const Scratch memory(points * (plan.input_point + plan.output_point + plan.weight_point) * sizeof(acc_t));
  acc_t* const inputs = static_cast<acc_t*>(memory.data());
  acc_t* const products = inputs + points * plan.input_point;
  acc_t* const weights = products + points * plan.output_point;

  for (plan.panel = 0; plan.panel < panels; plan.panel += most_panels) {
    plan.panels = std::min(most_panels, panels - plan.panel);
    const int64_t groups = (plan.panels + together - 1) / together;
    parallel_for(taps_in, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) transform_weights<F>(op, plan, i, weights);
    });
    for (plan.b = 0; plan.b < op.x.size[0]; ++plan.b)
      for (plan.first = 0; plan.first < plan.tiles; plan.first += block) {
        plan.count = std::min(block, plan.tiles - plan.first);
        if (plan.panel == 0 || several)
          parallel_for(plan.depth * plan.count, threads, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i)
              transform_inputs<F>(op, plan, i / plan.count, i % plan.count, inputs);
          });
        parallel_for(points * groups, threads, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const int64_t point = i / groups, panel = i % groups * together;
            multiply_panels(plan, int(std::min<int64_t>(together, plan.panels - panel)),
                            inputs + point * plan.input_point,
                            weights + point * plan.weight_point + panel * taps_in * kLanes,
                            products + point * plan.output_point + panel * kLanes);
          }
        });
        parallel_for(plan.depth * plan.count, threads, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            transform_products<F>(out, op, plan, i / plan.count, i % plan.count, products);
        });
      }
  }
}

}  // namespace

void winograd_conv_cpu(const Tensor& out, const WinogradConv& op, int threads) {
  if (out.numel() == 0) return;
  for_coordinates(op.x.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    if (op.weight.size[3] == F43::kTaps)
      convolve<F43, acc_t>(out, op, threads);
    else
      convolve<F27, acc_t>(out, op, threads);
  });
}

}  // namespace fv2v
