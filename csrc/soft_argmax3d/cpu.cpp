// soft_argmax3d on the CPU: one pass over the logits. Each part of a volume weighs its voxels by the largest
// logit it has seen so far; parts are merged in order, so that the result does not depend on timing.
#include "soft_argmax3d/soft_argmax3d.h"

#include <cmath>
#include <limits>

#include "common/blocks.h"
#include "common/exp.h"
#include "common/flow_gradients.h"
#include "common/parallel.h"

namespace fv2v {
namespace {

// Sums over voxels, each weighed by exp((logit - peak) / temperature); in double, whatever a row is summed
// in.
struct Sums {
  double peak = -std::numeric_limits<double>::infinity();
  double weight = 0, point[3] = {}, map[9] = {};

  void raise(double higher, double sharpness) {
    // nothing has been weighed yet where the peak is -infinity
    multiply(std::exp((peak - higher) * sharpness));
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

template <typename acc_t>
FV2V_CLONES acc_t largest(const acc_t* values, int count) {
  acc_t peak = values[0];
#pragma omp simd reduction(max : peak)
  for (int i = 0; i < count; ++i) peak = values[i] > peak ? values[i] : peak;
  return peak;
}

template <typename acc_t>
struct RowSums {
  acc_t weight, along_x;
};

// Logits in, weights out; and their sums.
template <typename acc_t>
FV2V_CLONES RowSums<acc_t> weigh(acc_t* values, const acc_t* x, int count, acc_t shift, acc_t sharpness) {
  acc_t weight = 0, along_x = 0;
#pragma omp simd reduction(+ : weight, along_x)
  for (int i = 0; i < count; ++i) {
    const acc_t value = exp_nonpositive((values[i] - shift) * sharpness);
    values[i] = value;
    weight += value;
    along_x += value * x[i];
  }
  return {weight, along_x};
}

template <typename acc_t>
FV2V_CLONES acc_t product(const acc_t* a, const acc_t* b, int count) {
  acc_t sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

template <typename acc_t>
struct Job {
  BlockReader<acc_t> logits, maps;  // maps only where `mapped`
  bool mapped;
  Size3 size;
  Lattice<acc_t> lattice;
  double sharpness;  // 1 / temperature
  int64_t keypoints, volumes, rows, parts;
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
        threads(useful_threads(most_threads, op.logits.numel())) {
    const int64_t wanted = threads == 1 ? 1 : (8 * threads + volumes - 1) / volumes;
    parts = std::clamp<int64_t>(wanted, 1, rows);
  }

  // body(task, k, begin, end) for every part of every volume, with its rows counted through the batch
  template <typename Body>
  void for_parts(Body body) const {
    parallel_for(volumes * parts, threads, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t volume = task / parts, part = task % parts, first = volume / keypoints * rows;
        body(task, volume % keypoints, first + rows * part / parts, first + rows * (part + 1) / parts);
      }
    });
  }

  void sum_rows(int64_t k, int64_t begin, int64_t end, Sums& sums) const {
    alignas(64) acc_t weights[kBlock], map[kBlock];
    for_row_blocks(size, begin, end, [&](const RowBlock& block) {
      logits.load(block, k, weights);
      const acc_t peak = largest(weights, block.count);
      if (peak > sums.peak) sums.raise(peak, sharpness);
      const RowSums<acc_t> row =
          weigh(weights, lattice.x.data() + block.x, block.count, sums.shift<acc_t>(), acc_t(sharpness));
      const double weight = row.weight;
      sums.weight += weight;
      sums.point[0] += row.along_x;
      sums.point[1] += weight * lattice.y[block.y];
      sums.point[2] += weight * lattice.z[block.z];
      for (int i = 0; i < 9 && mapped; ++i) {
        maps.load(block, 9 * k + i, map);
        sums.map[i] += product(weights, map, block.count);
      }
    });
  }

  // Of every volume; points and maps are means.
  std::vector<Sums> means() const {
    std::vector<Sums> sums(volumes * parts), whole(volumes);
    for_parts(
        [&](int64_t task, int64_t k, int64_t begin, int64_t end) { sum_rows(k, begin, end, sums[task]); });
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
FV2V_CLONES void add_pull(const acc_t* values, acc_t mean, acc_t slope, int count, acc_t* __restrict pull) {
  for (int i = 0; i < count; ++i) pull[i] += slope * (values[i] - mean);
}

template <typename acc_t>
FV2V_CLONES void multiply(const acc_t* a, const acc_t* b, acc_t factor, int count, acc_t* to) {
  for (int i = 0; i < count; ++i) to[i] = a[i] * b[i] * factor;
}

template <typename acc_t>
FV2V_CLONES void scale(const acc_t* values, acc_t factor, int count, acc_t* to) {
  for (int i = 0; i < count; ++i) to[i] = values[i] * factor;
}

template <typename acc_t>
void backward_rows(const Job<acc_t>& job, int64_t k, int64_t begin, int64_t end, const Sums& mean,
                   const Upstream<acc_t>& g, const BlockWriter<acc_t>& grad_logits,
                   const BlockWriter<acc_t>& grad_maps) {
  alignas(64) acc_t mask[kBlock], pull[kBlock], values[kBlock];
  for_row_blocks(job.size, begin, end, [&](const RowBlock& block) {
    const int count = block.count;
    const acc_t* x = job.lattice.x.data() + block.x;
    job.logits.load(block, k, mask);
    weigh(mask, x, count, mean.shift<acc_t>(), acc_t(job.sharpness));
    scale(mask, acc_t(1 / mean.weight), count, mask);
    const double in_row = g.point[1] * (job.lattice.y[block.y] - mean.point[1]) +
                          g.point[2] * (job.lattice.z[block.z] - mean.point[2]);
    std::fill(pull, pull + count, acc_t(in_row));
    add_pull(x, acc_t(mean.point[0]), g.point[0], count, pull);
    for (int i = 0; i < 9 && job.mapped; ++i) {
      if (grad_maps) {
        scale(mask, g.map[i], count, values);
        grad_maps.store(block, 9 * k + i, values);
      }
      if (grad_logits) {
        job.maps.load(block, 9 * k + i, values);
        add_pull(values, acc_t(mean.map[i]), g.map[i], count, pull);
      }
    }
    if (!grad_logits) return;
    multiply(mask, pull, acc_t(job.sharpness), count, values);
    grad_logits.store(block, k, values);
  });
}

}  // namespace

void soft_argmax3d_cpu(const Tensor& keypoints, const Tensor& jacobians, const SoftArgmax3d& op,
                       int threads) {
  if (keypoints.numel() == 0) return;
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
    job.for_parts([&](int64_t task, int64_t k, int64_t begin, int64_t end) {
      const int64_t volume = task / job.parts;
      const Upstream<acc_t> upstream(grad_keypoints, grad_jacobians, volume / job.keypoints, k);
      backward_rows(job, k, begin, end, means[volume], upstream, to_logits, to_maps);
    });
  });
}

}  // namespace fv2v
