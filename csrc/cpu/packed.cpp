// SPDX-License-Identifier: Apache-2.0
// CPU: the innermost loops that several operators share, compiled once for each instruction set, storage type
// and number of lanes.
#include <stdexcept>
#include <type_traits>

#include "cpu/packed.h"
#include "cpu/parallel.h"
#include "cpu/point_block.h"

namespace fv2v {
namespace {

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
    volume.load(block.b, first + c, block.first, block.count, to + c * kBlockSize, 1);
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
    store_lanes<1>(from + c * kBlockSize, result, block.b, first + c, block.first, block.count);
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

template <int lanes, typename acc_t>
FV2V_CLONES void read_points(const Packed<acc_t>& features, int64_t sample, const Points<acc_t>& at,
                             const BlockWriter<acc_t>& out, const Block& block) {
  using vec_t = vec<acc_t, lanes>;
  const int count = block.count;
  const PointBlock<acc_t> points(at, count, features.size);
  alignas(64) vec_t result[kBlockSize];
  for (int64_t group = 0; group < features.groups; ++group) {
    points.template read<lanes>(reinterpret_cast<const vec_t*>(features.at(sample, group)), count, result);
    out.store_lanes(block, lanes, group, reinterpret_cast<const acc_t*>(result));
  }
}

template <int lanes, typename acc_t>
FV2V_CLONES void read_points_backward(const Packed<acc_t>& features, int64_t sample, const Points<acc_t>& at,
                                      const BlockReader<acc_t>& grad_out, const Block& block,
                                      int64_t first_group, int64_t last_group, acc_t* grad_features,
                                      acc_t (*grad_points)[kBlockSize]) {
  using vec_t = vec<acc_t, lanes>;
  const int count = block.count;
  const PointBlock<acc_t> points(at, count, features.size);
  alignas(64) vec_t upstream[kBlockSize], total[kBlockSize][3];
  for (int i = 0; i < count; ++i)
    for (int axis = 0; axis < 3; ++axis) total[i][axis] = vec_t{};
  for (int64_t group = first_group; group < last_group; ++group) {
    grad_out.load_lanes(block, lanes, group, reinterpret_cast<acc_t*>(upstream));
    if (grad_points)
      points.template accumulate_slopes<lanes>(reinterpret_cast<const vec_t*>(features.at(sample, group)),
                                               upstream, count, total);
    if (grad_features)
      points.template scatter<lanes>(upstream, count,
                                     reinterpret_cast<vec_t*>(grad_features + group * features.stride()));
  }
  for (int i = 0; i < count && grad_points; ++i)
    for (int axis = 0; axis < 3; ++axis) {
      acc_t sum = 0;
      for (int lane = 0; lane < lanes; ++lane) sum += total[i][axis][lane];
      // outside, an infinite upstream gradient times a slope of zero would be NaN
      grad_points[axis][i] = points.outside(i) ? acc_t(0) : sum;
    }
}

// body(block, group, at) for every block of rows begin ... end - 1, counted through (B, groups, D H); it lies
// at `at` in its group
template <typename acc_t, typename Body>
void for_packed_blocks(const Packed<acc_t>& packed, int64_t begin, int64_t end, Body body) {
  for (int64_t task = begin; task < end; ++task) {
    const int64_t row = task % packed.rows, plane = task / packed.rows;
    for (int64_t x = 0; x < packed.width; x += kBlockSize) {
      const int count = int(std::min<int64_t>(kBlockSize, packed.width - x));
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
    alignas(64) acc_t sum[kBlockSize * kMostLanes];
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
void read_block(const Packed<acc_t>& features, int64_t sample, const Points<acc_t>& points,
                const BlockWriter<acc_t>& out, const Block& block) {
  for_lanes(features.lanes,
            [&](auto n) { read_points<decltype(n)::value>(features, sample, points, out, block); });
}

template <typename acc_t>
void read_block_backward(const Packed<acc_t>& features, int64_t sample, const Points<acc_t>& points,
                         const BlockReader<acc_t>& grad_out, const Block& block, int64_t first_group,
                         int64_t last_group, acc_t* grad_features, acc_t (*grad_points)[kBlockSize]) {
  for_lanes(features.lanes, [&](auto n) {
    read_points_backward<decltype(n)::value>(features, sample, points, grad_out, block, first_group,
                                             last_group, grad_features, grad_points);
  });
}

#define FV2V_INSTANTIATE(acc_t)                                                                            \
  template class BlockReader<acc_t>;                                                                       \
  template class BlockWriter<acc_t>;                                                                       \
  template Packed<acc_t> pack(const BlockReader<acc_t>&, int);                                             \
  template void unpack_sum(const Packed<acc_t>&, int64_t, const BlockWriter<acc_t>&, int);                 \
  template void read_block(const Packed<acc_t>&, int64_t, const Points<acc_t>&, const BlockWriter<acc_t>&, \
                           const Block&);                                                                  \
  template void read_block_backward(const Packed<acc_t>&, int64_t, const Points<acc_t>&,                   \
                                    const BlockReader<acc_t>&, const Block&, int64_t, int64_t, acc_t*,     \
                                    acc_t(*)[kBlockSize]);
FV2V_INSTANTIATE(float)
FV2V_INSTANTIATE(double)
#undef FV2V_INSTANTIATE

}  // namespace fv2v
