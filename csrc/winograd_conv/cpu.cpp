// SPDX-License-Identifier: Apache-2.0
// winograd_conv on the CPU. As many outputs at a time as their weights allow, once transformed:
//   transform the weights        a thread takes channels, sixteen outputs side by side
// then a few tiles at a time, in all depths, so that what is between the three steps stays in a cache that
// the threads share:
//   transform the inputs         a thread takes pixels' tiles, sixteen channels side by side
//   multiply                     a thread takes one of the a a products: a matrix product of its own
//   transform the products back  with bias, addend, activation and pooling
#include "cpu/block.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "winograd_conv/lanes.h"
#include "winograd_conv/multiply.h"
#include "winograd_conv/transforms.h"
#include "winograd_conv/winograd_conv.h"

namespace fv2v {
namespace {

constexpr int64_t kBlockBytes = 3 << 20;   // of transformed inputs and products
constexpr int64_t kWeightBytes = 8 << 20;  // of transformed weights
constexpr int kFewestDeep = 48;            // tiles of two slices in a block where its weights fit no cache

int64_t up_to(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// `z` is a slice, or the one of four products in depth.
template <typename F, bool deep, bool doubling, typename acc_t>
FV2V_CLONES void transform_inputs(const WinogradConv& op, const Plan& plan, int64_t z, int64_t tile,
                                  acc_t* inputs) {
  using Input = typename F::template Input<doubling>;
  constexpr int a = F::kSize, reads = Input::kReads, pad = F::kTaps / 2;
  const Voxels x(op.x);
  const int64_t at = plan.first + tile, flat = at % plan.tiles_flat;
  const int64_t top = (flat / plan.tiles_across * kTile - pad) >> doubling,
                left = (flat % plan.tiles_across * kTile - pad) >> doubling;
  const int64_t slice = deep ? at / plan.tiles_flat * kDeepTile - 1 : z;
  const int64_t one = deep ? slice + kDeepInput[z].one : z, other = slice + kDeepInput[z % kDeepSize].other;
  const bool has_one = one >= 0 && one < plan.depth, has_other = deep && other >= 0 && other < plan.depth;
  const acc_t sign = acc_t(kDeepInput[z % kDeepSize].sign);
  const acc_t* places[reads][reads];
  for (int i = 0; i < reads; ++i)
    for (int j = 0; j < reads; ++j) {
      const int64_t y = top + i, x_ = left + j;
      const bool inside = y >= 0 && y < x.size[3] && x_ >= 0 && x_ < x.size[4];
      places[i][j] = inside ? x.at<const acc_t>(plan.b, 0, y, x_) : nullptr;
    }
  acc_t* const to = inputs + (deep ? z * a * a * plan.input_point + tile * plan.input_row
                                   : plan.row(z, tile) * plan.input_row);
  for (int64_t c = 0; c < plan.channels; c += kLanes<acc_t>) {
    Lanes<acc_t> half[a][reads], line[a];
    for (int j = 0; j < reads; ++j) {
      for (int i = 0; i < reads; ++i) {
        line[i] = Lanes<acc_t>{};
        if (!places[i][j]) continue;
        if (has_one) line[i] = load(places[i][j] + one * x.stride[2] + c, plan.channels - c);
        if (deep && has_other)
          line[i] += sign * load(places[i][j] + other * x.stride[2] + c, plan.channels - c);
      }
      transform<Input, a, reads>(line, half[0] + j, reads);
    }
    for (int i = 0; i < a; ++i) {
      transform<Input, a, reads>(half[i], line, 1);
      for (int j = 0; j < a; ++j)
        *reinterpret_cast<Lanes<acc_t>*>(to + (i * a + j) * plan.input_point + c) = line[j];
    }
  }
}

// G w G^T of one channel and tap in z, or product in depth, `at`, for the panels at hand
template <typename F, bool deep, typename acc_t>
FV2V_CLONES void transform_weights(const WinogradConv& op, const Plan& plan, int64_t at, acc_t* weights) {
  constexpr int a = F::kSize, r = F::kTaps;
  const int64_t* const stride = op.weight.stride;
  constexpr int depths = deep ? kDeepSize : 1;  // of one channel one after the other: the same taps
  const int64_t channel = at / depths % plan.channels, z = deep ? at % depths : at / plan.channels;
  const acc_t* const from = op.weight.as<const acc_t>() + channel * stride[1] + (deep ? 0 : z * stride[2]);
  for (int64_t p = 0; p < plan.panels; ++p) {
    const int64_t n = (plan.panel + p) * kLanes<acc_t>;
    acc_t* const to = weights + (deep ? z * a * a * plan.weight_point : z * plan.channels * kLanes<acc_t>) +
                      (p * plan.kd * plan.channels + channel) * kLanes<acc_t>;
    Lanes<acc_t> half[a][r], line[a];
    for (int j = 0; j < r; ++j) {
      for (int i = 0; i < r; ++i) {
        const acc_t* const tap = from + i * stride[3] + j * stride[4] + n;
        line[i] = load(tap, plan.outputs - n);
        if (!deep) continue;
        line[i] *= acc_t(kDeepWeight[z][0]);
        for (int k = 1; k < 3; ++k)
          line[i] += acc_t(kDeepWeight[z][k]) * load(tap + k * stride[2], plan.outputs - n);
      }
      transform<typename F::Weight, a, r>(line, half[0] + j, r);
    }
    for (int i = 0; i < a; ++i) {
      transform<typename F::Weight, a, r>(half[i], line, 1);
      for (int j = 0; j < a; ++j)
        *reinterpret_cast<Lanes<acc_t>*>(to + (i * a + j) * plan.weight_point) = line[j];
    }
  }
}

// `z` is a slice of the output, or which of a tile's two.
template <typename F, bool deep, typename acc_t>
FV2V_CLONES void transform_products(const Tensor& result, const WinogradConv& op, const Plan& plan, int64_t z,
                                    int64_t tile, const acc_t* products) {
  constexpr int a = F::kSize, m = kTile;
  const Voxels out(result), addend(op.addend.data ? op.addend : result);
  const int64_t at = plan.first + tile, flat = at % plan.tiles_flat;
  const int64_t top = flat / plan.tiles_across * m, left = flat % plan.tiles_across * m;
  const int64_t high = std::min<int64_t>(m, plan.height - top),
                wide = std::min<int64_t>(m, plan.width - left);
  const int64_t slice = deep ? at / plan.tiles_flat * kDeepTile + z : z;
  if (slice >= plan.depth) return;
  const acc_t* const from = products + plan.row(deep ? 0 : z, tile) * plan.output_row;
  const acc_t* const bias = op.bias.as<const acc_t>();
  const acc_t slope = acc_t(op.negative_slope);
  for (int64_t p = 0; p < plan.panels; ++p) {
    const int64_t n = (plan.panel + p) * kLanes<acc_t>, some = plan.outputs - n;
    Lanes<acc_t> half[m][a], y[m][m], line[a];
    for (int j = 0; j < a; ++j) {
      for (int i = 0; i < a; ++i) {
        const acc_t* const point = from + (i * a + j) * plan.output_point + p * kLanes<acc_t>;
        line[i] = at_point<acc_t>(point);
        if (!deep) continue;
        const int64_t next = a * a * plan.output_point;
        const Lanes<acc_t> second = at_point<acc_t>(point + next), third = at_point<acc_t>(point + 2 * next);
        line[i] = z == 0 ? line[i] + second + third : second - third - at_point<acc_t>(point + 3 * next);
      }
      transform<typename F::Output, m, a>(line, half[0] + j, a);
    }
    for (int i = 0; i < m; ++i) transform<typename F::Output, m, a>(half[i], y[i], 1);
    const Lanes<acc_t> added = load(bias + n, some);
    for (int64_t i = 0; i < high; ++i)
      for (int64_t j = 0; j < wide; ++j) {
        Lanes<acc_t> value = y[i][j] + added;
        if (op.addend.data) value += load(addend.at<const acc_t>(plan.b, slice, top + i, left + j) + n, some);
        y[i][j] = value > acc_t(0) ? value : slope * value;
        if (!op.pooling) store(y[i][j], some, out.at<acc_t>(plan.b, slice, top + i, left + j) + n);
      }
    if (!op.pooling) continue;
    for (int64_t i = 0; i + 1 < high; i += 2)
      for (int64_t j = 0; j + 1 < wide; j += 2)
        store((y[i][j] + y[i][j + 1] + y[i + 1][j] + y[i + 1][j + 1]) * acc_t(0.25), some,
              out.at<acc_t>(plan.b, slice, (top + i) / 2, (left + j) / 2) + n);
  }
}

template <typename F, bool deep, typename acc_t>
void convolve(const Tensor& out, const WinogradConv& op, int threads) {
  constexpr int depths = deep ? kDeepSize : 1, points = F::kSize * F::kSize * depths;
  Plan plan;
  plan.channels = op.x.size[1];
  plan.outputs = out.size[1];
  plan.depth = op.x.size[2];
  plan.height = op.x.size[3] << op.doubling;
  plan.width = op.x.size[4] << op.doubling;
  plan.kd = deep ? 1 : op.weight.size[2];
  plan.slices = deep ? 1 : plan.depth;
  plan.tiles_across = (plan.width + kTile - 1) / kTile;
  plan.tiles_flat = plan.tiles_across * ((plan.height + kTile - 1) / kTile);
  plan.tiles = plan.tiles_flat * (deep ? (plan.depth + kDeepTile - 1) / kDeepTile : 1);
  const int64_t taps_in = plan.kd * plan.channels;
  const int64_t panels = (plan.outputs + kLanes<acc_t> - 1) / kLanes<acc_t>;
  const int together = panels_together<acc_t>(panels), rows = rows_together(together);
  const int64_t panel_bytes = points * taps_in * kLanes<acc_t> * sizeof(acc_t);
  const int64_t most_panels =
      std::min(panels, up_to(std::max<int64_t>(kWeightBytes / panel_bytes, 1), together));
  plan.input_row = up_to(plan.channels, kLanes<acc_t>);
  plan.output_row = most_panels * kLanes<acc_t>;
  const int64_t tile_bytes = points * plan.slices * (plan.input_row + plan.output_row) * sizeof(acc_t);
  const int fewest = deep && panel_bytes * most_panels > kWeightBytes ? kFewestDeep : rows;
  const int64_t fitting = std::max<int64_t>(kBlockBytes / tile_bytes, fewest);
  const int64_t block = std::min(plan.tiles, fitting >= 12 ? fitting / 12 * 12 : fitting);
  plan.pitch = up_to(block, rows);
  if (panels % together != 0)  // some are multiplied by fewer
    for (int fewer = 1; fewer < together; ++fewer)
      plan.pitch = std::max(plan.pitch, up_to(block, rows_together(fewer)));
  // one line more, or all points of a tile would meet in the same places of a cache
  plan.input_point = plan.slices * plan.pitch * plan.input_row + kLanes<acc_t>;
  plan.output_point = plan.slices * plan.pitch * plan.output_row + kLanes<acc_t>;
  plan.weight_point = most_panels * taps_in * kLanes<acc_t> + kLanes<acc_t>;
  const bool several = op.x.size[0] > 1 || block < plan.tiles;  // blocks
  const Scratch memory(points * (plan.input_point + plan.output_point + plan.weight_point) * sizeof(acc_t));
  acc_t* const inputs = static_cast<acc_t*>(memory.data());
  acc_t* const products = inputs + points * plan.input_point;
  acc_t* const weights = products + points * plan.output_point;

  for (plan.panel = 0; plan.panel < panels; plan.panel += most_panels) {
    plan.panels = std::min(most_panels, panels - plan.panel);
    const int64_t groups = (plan.panels + together - 1) / together;
    parallel_for(depths * taps_in, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) transform_weights<F, deep>(op, plan, i, weights);
    });
    for (plan.b = 0; plan.b < op.x.size[0]; ++plan.b)
      for (plan.first = 0; plan.first < plan.tiles; plan.first += block) {
        plan.count = std::min(block, plan.tiles - plan.first);
        if (plan.panel == 0 || several)
          parallel_for(depths * plan.slices * plan.count, threads, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i)
              if (op.doubling)
                transform_inputs<F, deep, true>(op, plan, i / plan.count, i % plan.count, inputs);
              else
                transform_inputs<F, deep, false>(op, plan, i / plan.count, i % plan.count, inputs);
          });
        parallel_for(points * groups, threads, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const int64_t point = i / groups, panel = i % groups * together;
            multiply_panels(plan, int(std::min<int64_t>(together, plan.panels - panel)),
                            inputs + point * plan.input_point,
                            weights + point * plan.weight_point + panel * taps_in * kLanes<acc_t>,
                            products + point * plan.output_point + panel * kLanes<acc_t>);
          }
        });
        parallel_for((deep ? kDeepTile : plan.slices) * plan.count, threads, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            transform_products<F, deep>(out, op, plan, i / plan.count, i % plan.count, products);
        });
      }
  }
}

}  // namespace

void winograd_conv_cpu(const Tensor& out, const WinogradConv& op, int threads) {
  if (out.numel() == 0) return;
  for_coordinates(op.x.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    if (op.weight.size[3] == 7)
      convolve<Filter<7>, false, acc_t>(out, op, threads);
    else if (op.weight.size[2] == 3 && op.x.size[2] > 1)
      convolve<Filter<3>, true, acc_t>(out, op, threads);
    else
      convolve<Filter<3>, false, acc_t>(out, op, threads);
  });
}

}  // namespace fv2v
