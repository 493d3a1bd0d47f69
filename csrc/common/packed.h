// CPU: features packed so that one load fetches four channels of a voxel; reads and gradients of blocks of points.
// Memory layout matters more than the instruction set here: a packed read is one load a corner instead of four
// gathers.
#pragma once
#include <cstdlib>
#include <memory>
#include <new>

#include "common/parallel.h"
#include "common/trilinear.h"
#include "common/volume.h"

namespace fv2v {

template <typename acc_t>
struct Vec4 {
  typedef acc_t type __attribute__((vector_size(4 * sizeof(acc_t)), may_alias));
};
template <typename acc_t>
using vec4 = typename Vec4<acc_t>::type;

// (samples, groups, voxels + 1) of four channels each; the last voxel stands for everything outside and is zero.
template <typename acc_t>
struct Packed {
  int64_t samples, groups, voxels;
  std::unique_ptr<void, void (*)(void*)> memory;

  Packed(int64_t samples, int64_t channels, int64_t voxels)
      : samples(samples), groups((channels + 3) / 4), voxels(voxels), memory(nullptr, std::free) {
    const size_t bytes = sizeof(vec4<acc_t>) * samples * groups * (voxels + 1);
    memory.reset(std::aligned_alloc(64, (bytes + 64) / 64 * 64));
    if (!memory) throw std::bad_alloc();
  }
  vec4<acc_t>* at(int64_t sample, int64_t group) const {
    return static_cast<vec4<acc_t>*>(memory.get()) + (sample * groups + group) * (voxels + 1);
  }
};

template <typename scalar_t>
FV2V_CLONES void pack_range(const Volume<scalar_t>& volume, int64_t b, int64_t group, int64_t begin, int64_t end,
                            vec4<acc_of<scalar_t>>* to) {
  for (int64_t first = begin; first < end; first += kBlock)
    volume.load4(b, group, first, int(std::min<int64_t>(kBlock, end - first)),
                 reinterpret_cast<acc_of<scalar_t>*>(to + first));
}

template <typename scalar_t>
Packed<acc_of<scalar_t>> pack(const Volume<scalar_t>& volume, int threads) {
  const int64_t voxels = volume.size.voxels(), parts = (voxels + 4095) / 4096;
  Packed<acc_of<scalar_t>> packed(volume.batch, volume.channels, voxels);
  parallel_for(packed.samples * packed.groups * parts, threads, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t part = task % parts, group = task / parts % packed.groups, b = task / parts / packed.groups;
      pack_range<scalar_t>(volume, b, group, part * 4096, std::min(voxels, (part + 1) * 4096), packed.at(b, group));
      if (part == 0) packed.at(b, group)[voxels] = vec4<acc_of<scalar_t>>{};
    }
  });
  return packed;
}

// grad (samples / splits, C, voxels) = sum over splits, in order, so that the result does not depend on timing.
template <typename acc_t>
void unpack_sum(const Packed<acc_t>& packed, int64_t splits, int64_t channels, acc_t* grad, int threads) {
  const int64_t voxels = packed.voxels, blocks = (voxels + kBlock - 1) / kBlock;
  parallel_for(packed.samples / splits * packed.groups * blocks, threads, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t block = task % blocks, group = task / blocks % packed.groups, b = task / blocks / packed.groups;
      const int64_t first = block * kBlock;
      const int count = int(std::min<int64_t>(kBlock, voxels - first));
      alignas(64) vec4<acc_t> sum[kBlock];
      for (int i = 0; i < count; ++i) {
        sum[i] = packed.at(b * splits, group)[first + i];
        for (int64_t split = 1; split < splits; ++split) sum[i] += packed.at(b * splits + split, group)[first + i];
      }
      store4<acc_t>(reinterpret_cast<acc_t*>(sum), group, channels, count, grad + b * channels * voxels + first,
                    voxels);
    }
  });
}

// Where up to kBlock points read: corner-major, so that the compiler computes many points at once.
template <typename acc_t>
struct PointBlock {
  alignas(64) int32_t offset[8][kBlock];
  alignas(64) acc_t weight[8][kBlock];

  FV2V_HOST_DEVICE void locate(const acc_t* x, const acc_t* y, const acc_t* z, int count, Size3 size,
                               bool align_corners) {
    const int32_t outside = int32_t(size.voxels());
    for (int i = 0; i < count; ++i) {
      const Cell<acc_t> cell(x[i], y[i], z[i], size, align_corners);
      for (int corner = 0; corner < 8; ++corner) {
        offset[corner][i] = cell.offset(corner, outside);
        weight[corner][i] = cell.weight(corner);
      }
    }
  }

  FV2V_HOST_DEVICE void read(const vec4<acc_t>* features, int count, vec4<acc_t>* out) const {
    for (int i = 0; i < count; ++i) {
      vec4<acc_t> sum = features[offset[0][i]] * weight[0][i];
      for (int corner = 1; corner < 8; ++corner) sum += features[offset[corner][i]] * weight[corner][i];
      out[i] = sum;
    }
  }

  // The adjoint of `read`: adds to the features' gradient.
  FV2V_HOST_DEVICE void scatter(const vec4<acc_t>* grad_out, int count, vec4<acc_t>* grad_features) const {
    for (int i = 0; i < count; ++i)
      for (int corner = 0; corner < 8; ++corner)
        grad_features[offset[corner][i]] += grad_out[i] * weight[corner][i];
  }
};

// The same block's weights axis by axis, for the gradient of the points.
template <typename acc_t>
struct PointSlopes {
  alignas(64) acc_t weight[kBlock][3][2];
  alignas(64) acc_t slope[kBlock][3][2];

  FV2V_HOST_DEVICE void locate(const acc_t* x, const acc_t* y, const acc_t* z, int count, Size3 size,
                               bool align_corners) {
    for (int i = 0; i < count; ++i) {
      const Cell<acc_t> cell(x[i], y[i], z[i], size, align_corners);
      const Axis<acc_t>* axes[3] = {&cell.x, &cell.y, &cell.z};
      for (int axis = 0; axis < 3; ++axis)
        for (int side = 0; side < 2; ++side) {
          weight[i][axis][side] = axes[axis]->weight[side];
          slope[i][axis][side] = axes[axis]->slope[side];
        }
    }
  }

  // Adds grad_out . d value / d point, four channels at a time; `total` keeps the channels apart until the end.
  FV2V_HOST_DEVICE void accumulate(const PointBlock<acc_t>& block, const vec4<acc_t>* features,
                                   const vec4<acc_t>* grad_out, int count, vec4<acc_t> (*total)[3]) const {
    for (int i = 0; i < count; ++i) {
      vec4<acc_t> value[8], gradient[3];
      for (int corner = 0; corner < 8; ++corner) value[corner] = features[block.offset[corner][i]];
      trilinear_gradient(value, weight[i], slope[i], gradient);
      for (int axis = 0; axis < 3; ++axis) total[i][axis] += gradient[axis] * grad_out[i];
    }
  }
};

template <typename acc_t>
FV2V_HOST_DEVICE acc_t sum4(const vec4<acc_t>& lanes) {
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

}  // namespace fv2v
