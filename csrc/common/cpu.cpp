// CPU: the innermost loops that several operators share, compiled once for each instruction set, storage type
// and number of lanes.
#include <stdexcept>
#include <type_traits>

#include "common/packed.h"
#include "common/parallel.h"
#include "common/trilinear.h"

namespace fv2v {
namespace {

// `lanes` channels of one voxel; Scratch is aligned to a cache line
template <typename acc_t, int lanes>
struct Vector {
  static constexpr size_t kBytes = lanes * sizeof(acc_t);
  typedef acc_t type __attribute__((vector_size(kBytes), may_alias, aligned(kBytes < 64 ? kBytes : 64)));
  // two voxels side by side, in one load
  typedef acc_t pair __attribute__((vector_size(2 * kBytes), may_alias, aligned(kBytes < 64 ? kBytes : 64)));
};
template <typename acc_t, int lanes>
using vec = typename Vector<acc_t, lanes>::type;

// Calls body(lanes) with the number of lanes of a Packed.
template <typename Body>
void for_lanes(int lanes, Body body) {
  if (lanes == kMostLanes)
    body(std::integral_constant<int, kMostLanes>());
  else
    body(std::integral_constant<int, 4>());
}

// Calls body(scalar_t{}) with the storage type, one of those that are kept as acc_t.
template <typename acc_t, typename Body>
void for_storage(DType dtype, Body body) {
  for_dtype(dtype, [&](auto scalar) {
    if constexpr (std::is_same_v<acc_of<decltype(scalar)>, acc_t>) body(scalar);
  });
}

template <typename scalar_t>
FV2V_CLONES void load_planes(const Strided& layout, const void* data, const Block& block, int64_t first,
                             int64_t count, acc_of<scalar_t>* to) {
  const Volume<scalar_t> volume(layout, data);
  for (int64_t c = 0; c < count; ++c)
    volume.load(block.b, first + c, block.first, block.count, to + c * kBlock, 1);
}

template <int lanes, typename scalar_t>
FV2V_CLONES void load_interleaved(const Strided& layout, const void* data, const Block& block, int64_t group,
                                  acc_of<scalar_t>* to) {
  Volume<scalar_t>(layout, data).template load_lanes<lanes>(block.b, group, block.first, block.count, to);
}

template <typename scalar_t>
FV2V_CLONES void store_planes(const Result<scalar_t>& result, const Block& block, int64_t first,
                              int64_t count, const acc_of<scalar_t>* from) {
  for (int64_t c = 0; c < count; ++c)
    store_lanes<1>(from + c * kBlock, result, block.b, first + c, block.first, block.count);
}

template <int lanes, typename scalar_t>
FV2V_CLONES void store_interleaved(const Result<scalar_t>& result, const Block& block, int64_t group,
                                   const acc_of<scalar_t>* from) {
  store_lanes<lanes>(from, result, block.b, group, block.first, block.count);
}

template <typename acc_t>
FV2V_CLONES void add(const acc_t* from, int64_t count, acc_t* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

template <typename acc_t>
FV2V_HOST_DEVICE void locate_axis(PointBlock<acc_t>& block, int axis, const acc_t* coordinate, int count,
                                  int32_t size, bool align_corners) {
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    const Axis<acc_t> at(coordinate[i], size, align_corners);
    block.low[axis][i] = at.low;
    block.inside[axis][0][i] = at.inside[0];
    block.inside[axis][1][i] = at.inside[1];
    block.weight[axis][0][i] = at.weight[0];
    block.weight[axis][1][i] = at.weight[1];
    block.slope[axis][0][i] = at.slope[0];
    block.slope[axis][1][i] = at.slope[1];
  }
}

template <typename acc_t>
FV2V_CLONES void locate_points(const acc_t (*point)[kBlock], int count, Size3 size, bool align_corners,
                               PointBlock<acc_t>& block) {
  locate_axis(block, 0, point[0], count, size.width, align_corners);
  locate_axis(block, 1, point[1], count, size.height, align_corners);
  locate_axis(block, 2, point[2], count, size.depth, align_corners);
  const int32_t width = size.width + 2, outside = size.depth * size.height * width;
  for (int row = 0; row < 4; ++row) {
    const int b = row & 1, c = row >> 1;
#pragma omp simd
    for (int i = 0; i < count; ++i) {
      const int32_t at =
          ((block.low[2][i] + c) * size.height + block.low[1][i] + b) * width + block.low[0][i] + 1;
      const int32_t in_row = block.inside[0][0][i] | block.inside[0][1][i];
      block.offset[row][i] = in_row & block.inside[1][b][i] & block.inside[2][c][i] ? at : outside;
      block.row_weight[row][i] = block.weight[1][b][i] * block.weight[2][c][i];
    }
  }
}

template <int lanes, typename acc_t>
FV2V_CLONES void read_points(const vec<acc_t, lanes>* features, const PointBlock<acc_t>& points,
                             vec<acc_t, lanes>* __restrict out) {
  using pair_t = typename Vector<acc_t, lanes>::pair;
  for (int i = 0, count = points.count; i < count; ++i) {
    pair_t sum = *reinterpret_cast<const pair_t*>(features + points.offset[0][i]) * points.row_weight[0][i];
    for (int row = 1; row < 4; ++row)
      sum += *reinterpret_cast<const pair_t*>(features + points.offset[row][i]) * points.row_weight[row][i];
    const auto* half = reinterpret_cast<const vec<acc_t, lanes>*>(&sum);
    out[i] = half[0] * points.weight[0][0][i] + half[1] * points.weight[0][1][i];
  }
}

template <int lanes, typename acc_t>
FV2V_CLONES void scatter(const vec<acc_t, lanes>* grad_out, const PointBlock<acc_t>& points,
                         vec<acc_t, lanes>* grad_features) {
  for (int i = 0, count = points.count; i < count; ++i) {
    const vec<acc_t, lanes> left = grad_out[i] * points.weight[0][0][i];
    const vec<acc_t, lanes> right = grad_out[i] * points.weight[0][1][i];
    for (int row = 0; row < 4; ++row) {
      vec<acc_t, lanes>* to = grad_features + points.offset[row][i];
      to[0] += left * points.row_weight[row][i];
      to[1] += right * points.row_weight[row][i];
    }
  }
}

// Adds grad_out . d value / d point; `total` keeps the channels apart until the end.
template <int lanes, typename acc_t>
FV2V_CLONES void add_slopes(const vec<acc_t, lanes>* features, const vec<acc_t, lanes>* grad_out,
                            const PointBlock<acc_t>& points, vec<acc_t, lanes> (*total)[3]) {
  for (int i = 0, count = points.count; i < count; ++i) {
    vec<acc_t, lanes> value[8], gradient[3];
    acc_t weights[3][2], slopes[3][2];
    for (int corner = 0; corner < 8; ++corner)
      value[corner] = features[points.offset[corner >> 1][i] + (corner & 1)];
    for (int axis = 0; axis < 3; ++axis)
      for (int side = 0; side < 2; ++side) {
        weights[axis][side] = points.weight[axis][side][i];
        slopes[axis][side] = points.slope[axis][side][i];
      }
    trilinear_gradient(value, weights, slopes, gradient);
    for (int axis = 0; axis < 3; ++axis) total[i][axis] += gradient[axis] * grad_out[i];
  }
}

template <int lanes, typename acc_t>
FV2V_CLONES void sum_slopes(const vec<acc_t, lanes> (*total)[3], int count, acc_t (*grad_points)[kBlock]) {
  for (int i = 0; i < count; ++i)
    for (int axis = 0; axis < 3; ++axis) {
      acc_t sum = 0;
      for (int lane = 0; lane < lanes; ++lane) sum += total[i][axis][lane];
      grad_points[axis][i] = sum;
    }
}

template <typename acc_t>
bool outside(const PointBlock<acc_t>& points, int i) {
  const auto& in = points.inside;
  return !((in[0][0][i] | in[0][1][i]) & (in[1][0][i] | in[1][1][i]) & (in[2][0][i] | in[2][1][i]));
}

// body(block, group, at) for every block of rows begin ... end - 1, counted through (B, groups, D H); it lies
// at `at` in its group
template <typename acc_t, typename Body>
void for_packed_blocks(const Packed<acc_t>& packed, int64_t begin, int64_t end, Body body) {
  for (int64_t task = begin; task < end; ++task) {
    const int64_t row = task % packed.rows, plane = task / packed.rows;
    for (int64_t x = 0; x < packed.width; x += kBlock) {
      const int count = int(std::min<int64_t>(kBlock, packed.width - x));
      body(Block{plane / packed.groups, row * packed.width + x, count}, plane % packed.groups,
           (row * (packed.width + 2) + 1 + x) * packed.lanes);
    }
  }
}

}  // namespace

template <typename acc_t>
void BlockReader<acc_t>::load(const Block& block, int64_t first, acc_t* to, int64_t count) const {
  for_storage<acc_t>(
      dtype_, [&](auto scalar) { load_planes<decltype(scalar)>(layout, data_, block, first, count, to); });
}

template <typename acc_t>
void BlockReader<acc_t>::load_lanes(const Block& block, int lanes, int64_t group, acc_t* to) const {
  for_storage<acc_t>(dtype_, [&](auto scalar) {
    for_lanes(lanes, [&](auto n) {
      load_interleaved<decltype(n)::value, decltype(scalar)>(layout, data_, block, group, to);
    });
  });
}

template <typename acc_t>
template <typename scalar_t>
Result<scalar_t> BlockWriter<acc_t>::as() const {
  return Result<scalar_t>(static_cast<scalar_t*>(data_), channels_, batch_stride_, channel_stride_, step_);
}

template <typename acc_t>
void BlockWriter<acc_t>::store(const Block& block, int64_t first, const acc_t* from, int64_t count) const {
  for_storage<acc_t>(dtype_,
                     [&](auto scalar) { store_planes(as<decltype(scalar)>(), block, first, count, from); });
}

template <typename acc_t>
void BlockWriter<acc_t>::store_lanes(const Block& block, int lanes, int64_t group, const acc_t* from) const {
  for_storage<acc_t>(dtype_, [&](auto scalar) {
    for_lanes(lanes, [&](auto n) {
      store_interleaved<decltype(n)::value>(as<decltype(scalar)>(), block, group, from);
    });
  });
}

template <typename acc_t>
Packed<acc_t> pack(const BlockReader<acc_t>& volume, int threads) {
  const Strided& layout = volume.layout;
  Packed<acc_t> packed(layout.batch, layout.channels, layout.size);
  if (packed.stride() / packed.lanes >= INT32_MAX)
    throw std::invalid_argument("expected fewer than 2^31 voxels in a volume");
  const int lanes = packed.lanes;
  const auto clear = [lanes](acc_t* voxels, int64_t count) {
    std::fill(voxels, voxels + count * lanes, acc_t(0));
  };
  parallel_for(packed.samples * packed.groups * packed.rows, threads, [&](int64_t begin, int64_t end) {
    for_packed_blocks(packed, begin, end, [&](const Block& block, int64_t group, int64_t at) {
      acc_t* const plane = packed.at(block.b, group);
      const int64_t x = block.first % packed.width;
      if (block.first == 0) clear(plane + packed.stride() - 2 * lanes, 2);
      if (x == 0) clear(plane + at - lanes, 1);
      volume.load_lanes(block, lanes, group, plane + at);
      if (x + block.count == packed.width) clear(plane + at + block.count * lanes, 1);
    });
  });
  return packed;
}

template <typename acc_t>
void unpack_sum(const Packed<acc_t>& packed, int64_t splits, const BlockWriter<acc_t>& grad, int threads) {
  const int64_t rows = packed.samples / splits * packed.groups * packed.rows;
  parallel_for(rows, threads, [&](int64_t begin, int64_t end) {
    alignas(64) acc_t sum[kBlock * kMostLanes];
    for_packed_blocks(packed, begin, end, [&](const Block& block, int64_t group, int64_t at) {
      const int count = block.count * packed.lanes;
      const acc_t* first = packed.at(block.b * splits, group) + at;
      std::copy(first, first + count, sum);
      for (int64_t split = 1; split < splits; ++split)
        add(packed.at(block.b * splits + split, group) + at, count, sum);
      grad.store_lanes(block, packed.lanes, group, sum);
    });
  });
}

template <typename acc_t>
void PointBlock<acc_t>::locate(const acc_t (*point)[kBlock], int points, Size3 size, bool align_corners) {
  count = points;
  locate_points(point, points, size, align_corners, *this);
}

template <typename acc_t>
void read_block(const Packed<acc_t>& features, int64_t sample, const PointBlock<acc_t>& points,
                const BlockWriter<acc_t>& out, const Block& block) {
  for_lanes(features.lanes, [&](auto n) {
    constexpr int lanes = decltype(n)::value;
    alignas(64) vec<acc_t, lanes> result[kBlock];
    for (int64_t group = 0; group < features.groups; ++group) {
      const auto* from = reinterpret_cast<const vec<acc_t, lanes>*>(features.at(sample, group));
      read_points<lanes>(from, points, result);
      out.store_lanes(block, lanes, group, reinterpret_cast<const acc_t*>(result));
    }
  });
}

template <typename acc_t>
void read_block_backward(const Packed<acc_t>& features, int64_t sample, const PointBlock<acc_t>& points,
                         const BlockReader<acc_t>& grad_out, const Block& block, int64_t first_group,
                         int64_t last_group, acc_t* grad_features, acc_t (*grad_points)[kBlock]) {
  for_lanes(features.lanes, [&](auto n) {
    constexpr int lanes = decltype(n)::value;
    using vec_t = vec<acc_t, lanes>;
    alignas(64) vec_t upstream[kBlock], total[kBlock][3];
    if (grad_points) std::fill(&total[0][0], &total[points.count][0], vec_t{});
    for (int64_t group = first_group; group < last_group; ++group) {
      grad_out.load_lanes(block, lanes, group, reinterpret_cast<acc_t*>(upstream));
      if (grad_points)
        add_slopes<lanes>(reinterpret_cast<const vec_t*>(features.at(sample, group)), upstream, points,
                          total);
      if (grad_features)
        scatter<lanes>(upstream, points, reinterpret_cast<vec_t*>(grad_features + group * features.stride()));
    }
    if (!grad_points) return;
    sum_slopes<lanes>(total, points.count, grad_points);
    // an infinite gradient times the zero slope there would be NaN
    for (int i = 0; i < points.count; ++i)
      if (outside(points, i))
        for (int axis = 0; axis < 3; ++axis) grad_points[axis][i] = 0;
  });
}

#define FV2V_INSTANTIATE(acc_t)                                                                        \
  template class BlockReader<acc_t>;                                                                   \
  template class BlockWriter<acc_t>;                                                                   \
  template struct PointBlock<acc_t>;                                                                   \
  template Packed<acc_t> pack(const BlockReader<acc_t>&, int);                                         \
  template void unpack_sum(const Packed<acc_t>&, int64_t, const BlockWriter<acc_t>&, int);             \
  template void read_block(const Packed<acc_t>&, int64_t, const PointBlock<acc_t>&,                    \
                           const BlockWriter<acc_t>&, const Block&);                                   \
  template void read_block_backward(const Packed<acc_t>&, int64_t, const PointBlock<acc_t>&,           \
                                    const BlockReader<acc_t>&, const Block&, int64_t, int64_t, acc_t*, \
                                    acc_t(*)[kBlock]);
FV2V_INSTANTIATE(float)
FV2V_INSTANTIATE(double)
#undef FV2V_INSTANTIATE

}  // namespace fv2v
