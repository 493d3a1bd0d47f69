// CPU: features packed so that one load fetches several channels of a voxel; reads and gradients of blocks of
// points. Memory layout matters more than the instruction set here: a packed read is one load a corner
// instead of a gather a channel.
#pragma once
#include <stdexcept>
#include <type_traits>

#include "common/parallel.h"
#include "common/scratch.h"
#include "common/trilinear.h"
#include "common/volume.h"

namespace fv2v {

// `lanes` channels of one voxel
template <typename acc_t, int lanes>
struct Vector {
  typedef acc_t type __attribute__((vector_size(lanes * sizeof(acc_t)), may_alias));
  // two voxels side by side, in one load
  typedef acc_t pair
      __attribute__((vector_size(2 * lanes * sizeof(acc_t)), may_alias, aligned(sizeof(type))));
};
template <typename acc_t, int lanes>
using vec = typename Vector<acc_t, lanes>::type;

template <typename acc_t, int lanes>
FV2V_HOST_DEVICE acc_t sum_lanes(const vec<acc_t, lanes>& values) {
  acc_t sum = 0;
  for (int lane = 0; lane < lanes; ++lane) sum += values[lane];
  return sum;
}

// (samples, groups, D H rows of W + 2 voxels, and 2 more). The voxels added to both ends of a row are zero,
// so that the two voxels beside an x always lie side by side; the last two stand for every row outside and
// are zero.
template <typename acc_t, int lanes>
struct Packed {
  int64_t samples, groups, rows, width;
  Scratch memory;

  Packed(int64_t samples, int64_t channels, Size3 size)
      : samples(samples),
        groups((channels + lanes - 1) / lanes),
        rows(int64_t(size.depth) * size.height),
        width(size.width),
        memory(sizeof(vec<acc_t, lanes>) * samples * groups * stride()) {}
  int64_t stride() const { return rows * (width + 2) + 2; }  // of a group
  vec<acc_t, lanes>* at(int64_t sample, int64_t group) const {
    return static_cast<vec<acc_t, lanes>*>(memory.data()) + (sample * groups + group) * stride();
  }
};

template <typename scalar_t, int lanes>
FV2V_CLONES void pack_rows(const Volume<scalar_t>& volume, int64_t b, int64_t group, int64_t begin,
                           int64_t end, vec<acc_of<scalar_t>, lanes>* to) {
  const int64_t width = volume.size.width;
  for (int64_t row = begin; row < end; ++row) {
    vec<acc_of<scalar_t>, lanes>* voxels = to + row * (width + 2);
    voxels[0] = voxels[width + 1] = vec<acc_of<scalar_t>, lanes>{};
    for (int64_t x = 0; x < width; x += kBlock)
      volume.template load_lanes<lanes>(b, group, row * width + x, int(std::min<int64_t>(kBlock, width - x)),
                                        reinterpret_cast<acc_of<scalar_t>*>(voxels + 1 + x));
  }
}

template <int lanes, typename scalar_t>
Packed<acc_of<scalar_t>, lanes> pack(const Volume<scalar_t>& volume, int threads) {
  using acc_t = acc_of<scalar_t>;
  Packed<acc_t, lanes> packed(volume.batch, volume.channels, volume.size);
  if (packed.stride() >= INT32_MAX)
    throw std::invalid_argument("expected fewer than 2^31 voxels in a volume");
  parallel_for(packed.samples * packed.groups * packed.rows, threads, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t plane = begin / packed.rows, row = begin % packed.rows;
      const int64_t last = std::min(packed.rows, row + end - begin);
      vec<acc_t, lanes>* to = packed.at(plane / packed.groups, plane % packed.groups);
      pack_rows<scalar_t, lanes>(volume, plane / packed.groups, plane % packed.groups, row, last, to);
      if (row == 0) to[packed.stride() - 2] = to[packed.stride() - 1] = vec<acc_t, lanes>{};
      begin += last - row;
    }
  });
  return packed;
}

// grad (samples / splits, C, D H W) = the sum over splits, in order, so that it does not depend on timing.
template <typename acc_t, int lanes>
FV2V_CLONES void unpack_rows(const Packed<acc_t, lanes>& packed, int64_t splits, const Result<acc_t>& grad,
                             int64_t begin, int64_t end) {
  const int64_t width = packed.width;
  alignas(64) vec<acc_t, lanes> sum[kBlock];
  for (int64_t task = begin; task < end; ++task) {
    const int64_t row = task % packed.rows, group = task / packed.rows % packed.groups;
    const int64_t b = task / packed.rows / packed.groups;
    for (int64_t x = 0; x < width; x += kBlock) {
      const int64_t at = row * (width + 2) + 1 + x;
      const int count = int(std::min<int64_t>(kBlock, width - x));
      for (int i = 0; i < count; ++i) {
        sum[i] = packed.at(b * splits, group)[at + i];
        for (int64_t split = 1; split < splits; ++split)
          sum[i] += packed.at(b * splits + split, group)[at + i];
      }
      store_lanes<lanes>(reinterpret_cast<acc_t*>(sum), grad, b, group, row * width + x, count);
    }
  }
}

template <typename acc_t, int lanes>
void unpack_sum(const Packed<acc_t, lanes>& packed, int64_t splits, const Result<acc_t>& grad, int threads) {
  parallel_for(
      packed.samples / splits * packed.groups * packed.rows, threads,
      [&](int64_t begin, int64_t end) { unpack_rows<acc_t, lanes>(packed, splits, grad, begin, end); });
}

// Where up to kBlock points read. Every loop runs along the points, so that the compiler computes many at
// once. Row j of the four takes its y from bit 0 and its z from bit 1.
template <typename acc_t>
struct PointBlock {
  alignas(64) int32_t offset[4][kBlock];    // of the pair of voxels beside the point, in a group of Packed
  alignas(64) acc_t row_weight[4][kBlock];  // y and z alone
  alignas(64) acc_t weight[3][2][kBlock];
  alignas(64) acc_t slope[3][2][kBlock];
  alignas(64) int32_t low[3][kBlock];
  alignas(64) int32_t inside[3][2][kBlock];

  FV2V_HOST_DEVICE void locate(const acc_t* x, const acc_t* y, const acc_t* z, int count, Size3 size,
                               bool align_corners) {
    locate_axis(0, x, count, size.width, align_corners);
    locate_axis(1, y, count, size.height, align_corners);
    locate_axis(2, z, count, size.depth, align_corners);
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

// Calls body(scalar_t{}, lanes): sixteen channels, a cache line of float, a load where they divide, else
// four.
template <typename Body>
void for_layout(const Tensor& features, Body body) {
  for_dtype(features.dtype, [&](auto scalar) {
    if (features.size[1] % 16 == 0)
      body(scalar, std::integral_constant<int, 16>());
    else
      body(scalar, std::integral_constant<int, 4>());
  });
}

}  // namespace fv2v
