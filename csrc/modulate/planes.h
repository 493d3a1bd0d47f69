// SPDX-License-Identifier: Apache-2.0
// CUDA: how modulate's blocks and threads lie over planes, what they read and write at once, and a plane's
// mean and variance from what each block found of its share.
#pragma once
#include <algorithm>

#include "common/volume.h"
#include "cuda/launch.h"
#include "cuda/threads.h"
#include "modulate/modulate.h"

namespace fv2v {
namespace {

constexpr int64_t kSweeps = 4;  // vectors of each thread in a block's share at least
constexpr int64_t kParts = 64;  // shares of a plane at most

template <typename scalar_t>
struct alignas(16) Vector {
  static constexpr int kLength = 16 / sizeof(scalar_t);
  scalar_t at[kLength];
};

// How a block's threads lie over a picture: each has vectors of pixels of one plane, or of channels of one
// pixel where the channels are innermost.
template <typename scalar_t, bool last>
struct Tile {
  static constexpr int kLength = Vector<scalar_t>::kLength;
  static constexpr int kPlanes = last ? 64 / int(sizeof(scalar_t)) : 1;  // of a block
  static constexpr int kOwn = last ? kLength : 1;                        // of a thread
  static constexpr int kPixels = kThreads * kLength / kPlanes;           // that a block reads at a time
};

template <typename scalar_t, bool last>
struct Picture : Strided {
  using acc_t = acc_of<scalar_t>;
  static constexpr int kLength = Vector<scalar_t>::kLength;
  scalar_t* data;  // nullptr where not asked for
  bool aligned;    // whole vectors can be read and written at once

  explicit Picture(const Tensor& tensor)
      : Strided(as_volume(tensor), 1), data(tensor.numel() ? tensor.as<scalar_t>() : nullptr) {
    const auto whole = [](int64_t stride) { return stride % kLength == 0; };
    aligned = even && reinterpret_cast<uintptr_t>(data) % 16 == 0 && whole(batch_stride) &&
              (last ? channel_stride == 1 && whole(step) : step == 1 && whole(channel_stride));
  }

  __device__ __forceinline__ scalar_t* at(int64_t b, int64_t c, int64_t p) const {
    return data + b * batch_stride + c * channel_stride + offset(int32_t(p));
  }
  // `count` of them exist; the others are 0.
  __device__ __forceinline__ void load(int64_t b, int64_t c, int64_t p, int count, acc_t* value) const {
    if (aligned && count == kLength) {
      const auto vector = *reinterpret_cast<const Vector<scalar_t>*>(at(b, c, p));
      for (int i = 0; i < kLength; ++i) value[i] = widen(vector.at[i]);
    } else {
      for (int i = 0; i < kLength; ++i)
        value[i] = i < count ? widen(last ? *at(b, c + i, p) : *at(b, c, p + i)) : acc_t(0);
    }
  }
  __device__ __forceinline__ void store(int64_t b, int64_t c, int64_t p, int count,
                                        const acc_t* value) const {
    if (aligned && count == kLength) {
      Vector<scalar_t> vector;
      for (int i = 0; i < kLength; ++i) vector.at[i] = narrow<scalar_t>(value[i]);
      *reinterpret_cast<Vector<scalar_t>*>(at(b, c, p)) = vector;
    } else {
      for (int i = 0; i < kLength; ++i)
        if (i < count) (last ? *at(b, c + i, p) : *at(b, c, p + i)) = narrow<scalar_t>(value[i]);
    }
  }
};

// Sums over a block: thread i has numbers that belong to columns i * count, i * count + 1, ..., counted on
// from 0 after the last. Returns the sums by column, in shared memory, until the next call.
template <int columns, int count, typename sum_t>
__device__ __forceinline__ const sum_t* column_sums(const sum_t value[count]) {
  sum_t* const sums = shared_memory<sum_t>();
  __syncthreads();
  for (int i = 0; i < count; ++i) sums[threadIdx.x * count + i] = value[i];
  __syncthreads();
  for (int half = kThreads * count / 2; half >= columns; half /= 2) {
    for (int i = threadIdx.x; i < half; i += kThreads) sums[i] += sums[i + half];
    __syncthreads();
  }
  return sums;
}

// What the workspace holds of each share and plane: mean and squares of x, then the sums of u and of u n.
enum Found { kMean, kSquares, kSumU, kSumUN, kFound };

template <typename scalar_t, bool last>
struct Job {
  using tile = Tile<scalar_t, last>;
  using acc_t = acc_of<scalar_t>;
  Picture<scalar_t, last> x, gamma, beta;
  double eps, per_pixel;  // 1 / pixels: on a consumer's GPU float64 is slow, and its divisions are slowest
  acc_t negative_slope;
  int64_t pixels, share, parts, groups, rows;  // rows: groups of planes, of all samples
  double* found;

  Job(const Modulate& op, const Tensor& workspace)
      : x(op.x),
        gamma(op.gamma),
        beta(op.beta),
        eps(op.eps),
        negative_slope(acc_t(op.negative_slope)),
        pixels(x.size.voxels()),
        found(workspace.as<double>()) {
    check_voxels(pixels);
    per_pixel = 1 / double(std::max<int64_t>(pixels, 1));
    const int64_t sweeps = ceil_div(pixels, tile::kPixels);
    share = std::max(kSweeps, ceil_div(sweeps, kParts)) * tile::kPixels;
    parts = ceil_div(pixels, share);
    groups = ceil_div(x.channels, tile::kPlanes);
    rows = x.batch * groups;
  }
  int64_t bytes() const { return kFound * rows * parts * tile::kPlanes * int64_t(sizeof(double)); }
  dim3 grid() const { return dim3(unsigned(parts), Stream::most_blocks(rows)); }
  static constexpr size_t shared_bytes() {
    return kThreads * std::max(sizeof(double), tile::kOwn * sizeof(acc_t));
  }

  // (parts, planes) of one row
  __device__ __forceinline__ double* at(Found what, int64_t row) const {
    return found + (what * rows + row) * parts * tile::kPlanes;
  }
  __device__ __forceinline__ int64_t pixels_of(int64_t part) const {
    return min(share, pixels - part * share);
  }
};

// A thread's place in a block's share.
template <typename scalar_t, bool last>
struct Place {
  using tile = Tile<scalar_t, last>;
  using acc_t = acc_of<scalar_t>;
  const Job<scalar_t, last>& job;
  int64_t row, b, c, first, end;  // c: the first of its own planes; pixels from first on
  int channels;                   // of its own planes that exist

  __device__ __forceinline__ Place(const Job<scalar_t, last>& job, int64_t row)
      : job(job), row(row), b(row / job.groups) {
    const int at = threadIdx.x * tile::kLength;
    c = row % job.groups * tile::kPlanes + (last ? at % tile::kPlanes : 0);
    channels = int(min(int64_t(tile::kOwn), job.x.channels - c));
    first = blockIdx.x * job.share + (last ? at / tile::kPlanes : at);
    end = blockIdx.x * job.share + job.pixels_of(blockIdx.x);
  }
  // body(pixel, how many numbers from there on exist) for each of its vectors
  template <typename Body>
  __device__ __forceinline__ void for_vectors(Body body) const {
    if (channels <= 0) return;
    for (int64_t p = first; p < end; p += tile::kPixels)
      body(p, last ? channels : int(min(int64_t(tile::kLength), end - p)));
  }
  // What the block's sums are for the i-th of its own planes.
  template <typename sum_t>
  __device__ __forceinline__ sum_t own(const sum_t* columns, int i) const {
    return columns[(threadIdx.x * tile::kOwn + i) % tile::kPlanes];
  }
  // What `find` says of each of a thread's own planes, in float64, which one thread a plane asks it.
  template <typename Find>
  __device__ __forceinline__ void for_own(Find find, acc_t value[tile::kOwn]) const {
    acc_t* const told = shared_memory<acc_t>();
    acc_t mine = 0;
    if (int(threadIdx.x) < tile::kPlanes) mine = acc_t(find(int(threadIdx.x)));
    __syncthreads();  // what it reads lies where the answers go
    if (int(threadIdx.x) < tile::kPlanes) told[threadIdx.x] = mine;
    __syncthreads();
    for (int i = 0; i < tile::kOwn; ++i) value[i] = own(told, i);
  }
  // Whether this thread leaves what the block found out about its share.
  __device__ __forceinline__ bool leaves() const {
    return int(threadIdx.x) * tile::kOwn < tile::kPlanes;
  }
  __device__ __forceinline__ void leave(Found what, const double value[tile::kOwn]) const {
    if (!leaves()) return;
    double* const to = job.at(what, row) + blockIdx.x * tile::kPlanes + threadIdx.x * tile::kOwn;
    for (int i = 0; i < tile::kOwn; ++i) to[i] = value[i];
  }
  // sum of term(share, what stands there), over all shares, by plane
  template <typename Term>
  __device__ __forceinline__ const double* sum_of_parts(Found what, Term term) const {
    const double* const from = job.at(what, row);
    double sum = 0;
    for (int64_t i = threadIdx.x; i < job.parts * tile::kPlanes; i += kThreads)
      sum += term(i / tile::kPlanes, from[i]);
    return column_sums<tile::kPlanes, 1>(&sum);
  }
};

// Of a thread's own planes.
template <typename scalar_t, bool last>
struct Statistics {
  using tile = Tile<scalar_t, last>;
  using acc_t = acc_of<scalar_t>;
  acc_t mean[tile::kOwn], scale[tile::kOwn];

  __device__ __forceinline__ explicit Statistics(const Place<scalar_t, last>& place) {
    const auto& job = place.job;
    const double* sums = place.sum_of_parts(
        kMean, [&](int64_t part, double each) { return double(job.pixels_of(part)) * each; });
    // of the plane whose shares this thread adds up
    const double middle = sums[threadIdx.x % tile::kPlanes] * job.per_pixel;
    place.for_own([&](int plane) { return sums[plane] * job.per_pixel; }, mean);
    const double* const means = job.at(kMean, place.row);
    sums = place.sum_of_parts(kSquares, [&](int64_t part, double each) {
      const double further = means[part * tile::kPlanes + threadIdx.x % tile::kPlanes] - middle;
      return each + double(job.pixels_of(part)) * further * further;
    });
    place.for_own([&](int plane) { return scale_of(sums[plane], double(job.pixels), job.eps); }, scale);
  }
};

}  // namespace
}  // namespace fv2v
