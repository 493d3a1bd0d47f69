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
};
template <typename acc_t, int lanes>
using vec = typename Vector<acc_t, lanes>::type;

template <typename acc_t, int lanes>
FV2V_HOST_DEVICE acc_t sum_lanes(const vec<acc_t, lanes>& values) {
  acc_t sum = 0;
  for (int lane = 0; lane < lanes; ++lane) sum += values[lane];
  return sum;
}

// (samples, groups, voxels + 1) vectors; the last voxel stands for everything outside and is zero.
template <typename acc_t, int lanes>
struct Packed {
  int64_t samples, groups, voxels;
  Scratch memory;

  Packed(int64_t samples, int64_t channels, int64_t voxels)
      : samples(samples),
        groups((channels + lanes - 1) / lanes),
        voxels(voxels),
        memory(sizeof(vec<acc_t, lanes>) * samples * groups * (voxels + 1)) {}
  vec<acc_t, lanes>* at(int64_t sample, int64_t group) const {
    return static_cast<vec<acc_t, lanes>*>(memory.data()) + (sample * groups + group) * (voxels + 1);
  }
};

template <typename scalar_t, int lanes>
FV2V_CLONES void pack_range(const Volume<scalar_t>& volume, int64_t b, int64_t group, int64_t begin,
                            int64_t end, acc_of<scalar_t>* to) {
  for (int64_t first = begin; first < end; first += kBlock)
    volume.template load_lanes<lanes>(b, group, first, int(std::min<int64_t>(kBlock, end - first)),
                                      to + first * lanes);
}

template <int lanes, typename scalar_t>
Packed<acc_of<scalar_t>, lanes> pack(const Volume<scalar_t>& volume, int threads) {
  using acc_t = acc_of<scalar_t>;
  const int64_t voxels = volume.size.voxels(), parts = (voxels + 4095) / 4096;
  if (voxels >= INT32_MAX) throw std::invalid_argument("expected fewer than 2^31 - 1 voxels in a volume");
  Packed<acc_t, lanes> packed(volume.batch, volume.channels, voxels);
  parallel_for(packed.samples * packed.groups * parts, threads, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t part = task % parts, group = task / parts % packed.groups,
                    b = task / parts / packed.groups;
      pack_range<scalar_t, lanes>(volume, b, group, part * 4096, std::min(voxels, (part + 1) * 4096),
                                  reinterpret_cast<acc_t*>(packed.at(b, group)));
      if (part == 0) packed.at(b, group)[voxels] = vec<acc_t, lanes>{};
    }
  });
  return packed;
}

// grad (samples / splits, C, voxels) = the sum over splits, in order, so that it does not depend on timing.
template <typename acc_t, int lanes>
FV2V_CLONES void unpack_range(const Packed<acc_t, lanes>& packed, int64_t splits, int64_t channels,
                              acc_t* grad, int64_t begin, int64_t end) {
  const int64_t voxels = packed.voxels, blocks = (voxels + kBlock - 1) / kBlock;
  alignas(64) vec<acc_t, lanes> sum[kBlock];
  for (int64_t task = begin; task < end; ++task) {
    const int64_t first = task % blocks * kBlock, group = task / blocks % packed.groups;
    const int64_t b = task / blocks / packed.groups;
    const int count = int(std::min<int64_t>(kBlock, voxels - first));
    for (int i = 0; i < count; ++i) {
      sum[i] = packed.at(b * splits, group)[first + i];
      for (int64_t split = 1; split < splits; ++split)
        sum[i] += packed.at(b * splits + split, group)[first + i];
    }
    store_lanes<acc_t, lanes>(reinterpret_cast<acc_t*>(sum), group, channels, count,
                              grad + b * channels * voxels + first, voxels);
  }
}

template <typename acc_t, int lanes>
void unpack_sum(const Packed<acc_t, lanes>& packed, int64_t splits, int64_t channels, acc_t* grad,
                int threads) {
  const int64_t blocks = (packed.voxels + kBlock - 1) / kBlock;
  parallel_for(packed.samples / splits * packed.groups * blocks, threads, [&](int64_t begin, int64_t end) {
    unpack_range<acc_t, lanes>(packed, splits, channels, grad, begin, end);
  });
}

// Where up to kBlock points read. Every loop runs along the points, so that the compiler computes many at
// once.
template <typename acc_t>
struct PointBlock {
  alignas(64) int32_t offset[8][kBlock];
  alignas(64) acc_t corner_weight[8][kBlock];
  alignas(64) acc_t weight[3][2][kBlock];
  alignas(64) acc_t slope[3][2][kBlock];
  alignas(64) int32_t low[3][kBlock];
  alignas(64) int32_t inside[3][2][kBlock];

  FV2V_HOST_DEVICE void locate(const acc_t* x, const acc_t* y, const acc_t* z, int count, Size3 size,
                               bool align_corners) {
    locate_axis(0, x, count, size.width, align_corners);
    locate_axis(1, y, count, size.height, align_corners);
    locate_axis(2, z, count, size.depth, align_corners);
    const int32_t outside = int32_t(size.voxels());
    for (int corner = 0; corner < 8; ++corner) {
      const int a = corner & 1, b = corner >> 1 & 1, c = corner >> 2;
      for (int i = 0; i < count; ++i) {
        const int32_t at = ((low[2][i] + c) * size.height + low[1][i] + b) * size.width + low[0][i] + a;
        offset[corner][i] = inside[0][a][i] & inside[1][b][i] & inside[2][c][i] ? at : outside;
        corner_weight[corner][i] = weight[0][a][i] * weight[1][b][i] * weight[2][c][i];
      }
    }
  }

  template <int lanes>
  FV2V_HOST_DEVICE void read(const vec<acc_t, lanes>* features, int count, vec<acc_t, lanes>* out) const {
    for (int i = 0; i < count; ++i) {
      vec<acc_t, lanes> sum = features[offset[0][i]] * corner_weight[0][i];
      for (int corner = 1; corner < 8; ++corner)
        sum += features[offset[corner][i]] * corner_weight[corner][i];
      out[i] = sum;
    }
  }

  // The adjoint of `read`: adds to the features' gradient.
  template <int lanes>
  FV2V_HOST_DEVICE void scatter(const vec<acc_t, lanes>* grad_out, int count,
                                vec<acc_t, lanes>* grad_features) const {
    for (int i = 0; i < count; ++i)
      for (int corner = 0; corner < 8; ++corner)
        grad_features[offset[corner][i]] += grad_out[i] * corner_weight[corner][i];
  }

  // Adds grad_out . d value / d point; `total` keeps the channels apart until the end.
  template <int lanes>
  FV2V_HOST_DEVICE void accumulate_slopes(const vec<acc_t, lanes>* features,
                                          const vec<acc_t, lanes>* grad_out, int count,
                                          vec<acc_t, lanes> (*total)[3]) const {
    for (int i = 0; i < count; ++i) {
      vec<acc_t, lanes> value[8], gradient[3];
      acc_t weights[3][2], slopes[3][2];
      for (int corner = 0; corner < 8; ++corner) value[corner] = features[offset[corner][i]];
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
