// SPDX-License-Identifier: Apache-2.0
// soft_argmax3d on the CPU: one pass over the logits. Each part of a volume weighs its voxels by the largest
// logit it has seen so far; parts are merged in order, so that the result does not depend on timing.
#include "soft_argmax3d/soft_argmax3d.h"

#include <limits>

#include "cpu/block.h"
#include "cpu/flow_gradients.h"
#include "cpu/parallel.h"

namespace fv2v {
namespace {

// Sums over voxels, each weighed by exp((logit - peak) / temperature); in double, whatever a row is summed
// in.
struct Sums {
  double peak = -std::numeric_limits<double>::infinity();
  double weight = 0, point[3] = {}, map[9] = {};

  void raise(double higher, double sharpness) {
    // nothing has been weighed yet where the peak is -infinity
    multiply(voxel_weight(peak, higher, sharpness));
    peak = higher;
  }
  void add(Sums other, double sharpness) {
    if (other.peak > peak) raise(other.peak, sharpness);
    if (other.peak < peak) other.raise(peak, sharpness);
    weight += other.weight;
    for (int i = 0; i < 3; ++i) point[i] += other.point[i];
    for (int i = 0; i < 9; ++i) map[i] += other.map[i];
  }
  void multiply(double factor) {
    weight *= factor;
    for (double& sum : point) sum *= factor;
    for (double& sum : map) sum *= factor;
  }
  // What is subtracted from logits: any number will do while every voxel is closed.
  template <typename acc_t>
  acc_t shift() const {
    return peak == -std::numeric_limits<double>::infinity() ? acc_t(0) : acc_t(peak);
  }
};

constexpr int kAtOnce = 1024;  // voxels, in whole rows of one z: logits and a map stay in the L1 cache
constexpr int kMostRows = 32;  // of which each column has its sum, in float

template <typename acc_t>
FV2V_CLONES acc_t largest(const acc_t* values, int64_t count) {
  acc_t peak = values[0];
#pragma omp simd reduction(max : peak)
  for (int64_t i = 0; i < count; ++i) peak = values[i] > peak ? values[i] : peak;
  return peak;
}

// Logits in, weights out; adds each column's weights to (2, width) sums, as they are and times y.
template <typename acc_t>
FV2V_CLONES void weigh(acc_t* __restrict values, int64_t rows, int64_t width, acc_t shift, acc_t sharpness,
                       const acc_t* y, acc_t* __restrict columns) {
  for (int64_t row = 0; row < rows; ++row, values += width) {
    const acc_t here = y[row];
    for (int64_t i = 0; i < width; ++i) {
      values[i] = voxel_weight(values[i], shift, sharpness);
      columns[i] += values[i];
      columns[width + i] += values[i] * here;
    }
  }
}

template <typename acc_t>
FV2V_CLONES double total(const acc_t* values, int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += double(values[i]);
  return sum;
}

// In double: a processor with short vectors would add hundreds of floats to each other.
template <typename acc_t>
FV2V_CLONES double product(const acc_t* a, const acc_t* b, int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += double(a[i]) * double(b[i]);
  return sum;
}

// Some whole rows of one sample, at one z.
struct Rows {
  Block block;
  int64_t count;
  int32_t y, z;  // of the first
};

template <typename acc_t>
struct Job {
  BlockReader<acc_t> logits, maps;  // maps only where `mapped`
  bool mapped;
  Size3 size;
  Lattice<acc_t> lattice;
  double sharpness;  // 1 / temperature
  int64_t keypoints, volumes, rows, rows_at_once, parts;
  int threads;

  Job(const SoftArgmax3d& op, int most_threads)
      : logits(op.logits, 1),
        maps(op.jacobian_maps.data ? op.jacobian_maps : op.logits, 1),
        mapped(op.jacobian_maps.data),
        size(logits.layout.size),
        lattice(size),
        sharpness(1 / op.temperature),
        keypoints(logits.layout.channels),
        volumes(op.logits.size[0] * keypoints),
        rows(int64_t(size.depth) * size.height),
        rows_at_once(std::clamp(kAtOnce / size.width, 1, kMostRows)),
        threads(useful_threads(most_threads, op.logits.numel())) {
    const int64_t wanted = threads == 1 ? 1 : (8 * threads + volumes - 1) / volumes;
    parts = std::clamp<int64_t>(wanted, 1, rows);
  }
  // body(task, begin, end) for every part of every volume: rows begin ... end - 1 of volume task / parts
  template <typename Body>
  void for_parts(Body body) const {
    parallel_for(volumes * parts, threads, [&](int64_t first, int64_t last) {
      for (int64_t task = first; task < last; ++task) {
        const int64_t part = task % parts;
        body(task, rows * part / parts, rows * (part + 1) / parts);
      }
    });
  }

  template <typename Body>
  void for_rows(int64_t b, int64_t begin, int64_t end, Body body) const {
    for (int64_t row = begin, count; row < end; row += count) {
      const int32_t y = int32_t(row % size.height), z = int32_t(row / size.height);
      count = std::min({rows_at_once, end - row, int64_t(size.height - y)});
      body(Rows{{b, row * size.width, int(count * size.width)}, count, y, z});
    }
  }

  void add_rows(int64_t volume, int64_t begin, int64_t end, Sums& sums) const {
    const int64_t k = volume % keypoints, width = size.width;
    std::vector<acc_t> weights(rows_at_once * width), map(mapped ? weights.size() : 0), columns(2 * width);
    for_rows(volume / keypoints, begin, end, [&](const Rows& at) {
      logits.load(at.block, k, weights.data());
      const acc_t peak = largest(weights.data(), at.block.count);
      if (peak > sums.peak) sums.raise(peak, sharpness);
      std::fill(columns.begin(), columns.end(), acc_t(0));
      weigh(weights.data(), at.count, width, sums.shift<acc_t>(), acc_t(sharpness), &lattice.y[at.y],
            columns.data());
      const double weight = total(columns.data(), width);
      sums.weight += weight;
      sums.point[0] += product(columns.data(), lattice.x.data(), width);
      sums.point[1] += total(columns.data() + width, width);
      sums.point[2] += weight * lattice.z[at.z];
      for (int i = 0; i < 9 && mapped; ++i) {
        maps.load(at.block, 9 * k + i, map.data());
        sums.map[i] += product(weights.data(), map.data(), at.block.count);
      }
    });
  }

  // Of every volume; points and maps are means.
  std::vector<Sums> means() const {
    std::vector<Sums> sums(volumes * parts), whole(volumes);
    for_parts([&](int64_t task, int64_t begin, int64_t end) {
      Sums part;  // apart from its neighbours', which other threads write
      add_rows(task / parts, begin, end, part);
      sums[task] = part;
    });
    for (int64_t volume = 0; volume < volumes; ++volume) {
      Sums& mean = whole[volume];
      for (int64_t part = 0; part < parts; ++part) mean.add(sums[volume * parts + part], sharpness);
      for (double& sum : mean.point) sum /= mean.weight;
      for (double& sum : mean.map) sum /= mean.weight;
    }
    return whole;
  }
};

// The gradients of one volume's keypoint and Jacobian, or zeros.
template <typename acc_t>
struct Upstream {
  acc_t point[3] = {}, map[9] = {};

  Upstream(const Tensor& grad_keypoints, const Tensor& grad_jacobians, int64_t b, int64_t k) {
    const int64_t *to_point = grad_keypoints.stride, *to_map = grad_jacobians.stride;
    for (int i = 0; i < 3; ++i)
      point[i] = grad_keypoints.as<const acc_t>()[b * to_point[0] + k * to_point[1] + i * to_point[2]];
    for (int i = 0; i < 9 && grad_jacobians.numel(); ++i)
      map[i] = grad_jacobians
                   .as<const acc_t>()[b * to_map[0] + k * to_map[1] + i / 3 * to_map[2] + i % 3 * to_map[3]];
  }
};

// pull[i] += slope * (values[i] - mean)
template <typename acc_t>
FV2V_CLONES void add_pull(const acc_t* values, acc_t mean, acc_t slope, int64_t count,
                          acc_t* __restrict pull) {
  for (int64_t i = 0; i < count; ++i) pull[i] += slope * (values[i] - mean);
}

template <typename acc_t>
FV2V_CLONES void multiply(const acc_t* a, const acc_t* b, acc_t factor, int64_t count, acc_t* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] = a[i] * b[i] * factor;
}

template <typename acc_t>
FV2V_CLONES void scale(const acc_t* values, acc_t factor, int64_t count, acc_t* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] = values[i] * factor;
}

// Of the rows of one volume, whose means are `mean`.
template <typename acc_t>
void backward_rows(const Job<acc_t>& job, int64_t volume, int64_t begin, int64_t end, const Sums& mean,
                   const Upstream<acc_t>& g, const BlockWriter<acc_t>& grad_logits,
                   const BlockWriter<acc_t>& grad_maps) {
  const int64_t k = volume % job.keypoints, width = job.size.width, most = job.rows_at_once * width;
  std::vector<acc_t> weights(most), pull(most), values(most);
  std::vector<acc_t> columns(2 * width);  // not needed here
  const acc_t per_weight = acc_t(1 / mean.weight);
  job.for_rows(volume / job.keypoints, begin, end, [&](const Rows& at) {
    const int64_t count = at.block.count;
    job.logits.load(at.block, k, weights.data());
    weigh(weights.data(), at.count, width, mean.shift<acc_t>(), acc_t(job.sharpness), &job.lattice.y[at.y],
          columns.data());
    for (int64_t row = 0; row < at.count; ++row) {
      const double along_row = g.point[1] * (job.lattice.y[at.y + row] - mean.point[1]) +
                               g.point[2] * (job.lattice.z[at.z] - mean.point[2]);
      acc_t* const to = pull.data() + row * width;
      std::fill(to, to + width, acc_t(along_row));
      add_pull(job.lattice.x.data(), acc_t(mean.point[0]), g.point[0], width, to);
    }
    for (int i = 0; i < 9 && job.mapped; ++i) {
      if (grad_maps) {
        scale(weights.data(), g.map[i] * per_weight, count, values.data());
        grad_maps.store(at.block, 9 * k + i, values.data());
      }
      if (grad_logits) {
        job.maps.load(at.block, 9 * k + i, values.data());
        add_pull(values.data(), acc_t(mean.map[i]), g.map[i], count, pull.data());
      }
    }
    if (!grad_logits) return;
    multiply(weights.data(), pull.data(), acc_t(job.sharpness) * per_weight, count, values.data());
    grad_logits.store(at.block, k, values.data());
  });
}

}  // namespace

void soft_argmax3d_cpu(const Tensor& keypoints, const Tensor& jacobians, const SoftArgmax3d& op,
                       int threads) {
  if (op.logits.numel() == 0) return fill_zero(keypoints), fill_zero(jacobians);
  for_coordinates(op.logits.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    const std::vector<Sums> means = Job<acc_t>(op, threads).means();
    for (size_t volume = 0; volume < means.size(); ++volume) {
      for (int i = 0; i < 3; ++i) keypoints.as<acc_t>()[volume * 3 + i] = acc_t(means[volume].point[i]);
      for (int i = 0; i < 9 && jacobians.numel(); ++i)
        jacobians.as<acc_t>()[volume * 9 + i] = acc_t(means[volume].map[i]);
    }
  });
}

void soft_argmax3d_backward_cpu(const Tensor& grad_logits, const Tensor& grad_maps,
                                const Tensor& grad_keypoints, const Tensor& grad_jacobians,
                                const SoftArgmax3d& op, int threads) {
  if (op.logits.numel() == 0) return;
  for_coordinates(op.logits.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    const Job<acc_t> job(op, threads);
    const std::vector<Sums> means = job.means();
    const BlockWriter<acc_t> to_logits(grad_logits, 1), to_maps(grad_maps, 1);
    job.for_parts([&](int64_t task, int64_t begin, int64_t end) {
      const int64_t volume = task / job.parts;
      const Upstream<acc_t> upstream(grad_keypoints, grad_jacobians, volume / job.keypoints,
                                     volume % job.keypoints);
      backward_rows(job, volume, begin, end, means[volume], upstream, to_logits, to_maps);
    });
  });
}

}  // namespace fv2v
