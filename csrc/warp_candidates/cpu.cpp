// SPDX-License-Identifier: Apache-2.0
// warp_candidates on the CPU: flows are built a block of voxels at a time and never stored; Gaussians are
// separable, D + H + W exponentials a keypoint.
#include "warp_candidates/warp_candidates.h"

#include <limits>

#include "cpu/flow_gradients.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"

namespace fv2v {
namespace {

// exp(-(p - keypoint)^2 / 2v) along each axis
template <typename acc_t>
struct Gaussian {
  std::vector<acc_t> x, y, z;

  Gaussian() = default;
  Gaussian(const Lattice<acc_t>& lattice, const acc_t keypoint[3], double variance)
      : x(axis(lattice.x, keypoint[0], variance)),
        y(axis(lattice.y, keypoint[1], variance)),
        z(axis(lattice.z, keypoint[2], variance)) {}

 private:
  static std::vector<acc_t> axis(const std::vector<acc_t>& places, acc_t centre, double variance) {
    std::vector<acc_t> values;
    for (const acc_t place : places) values.push_back(gaussian(place - centre, acc_t(variance)));
    return values;
  }
};

// Where one flow reads: (3, kBlockSize).
template <typename acc_t>
FV2V_CLONES void flow_block(const Lattice<acc_t>& lattice, const KeypointFlow<acc_t> flow,
                            const RowBlock block, acc_t (*points)[kBlockSize]) {
  const acc_t* x = lattice.x.data() + block.x;
  const acc_t y = lattice.y[block.y], z = lattice.z[block.z];
#pragma GCC ivdep
  for (int i = 0; i < block.count; ++i) {
    acc_t w[3];
    flow(x[i], y, z, w);
    for (int axis = 0; axis < 3; ++axis) points[axis][i] = w[axis];
  }
}

template <typename acc_t>
struct Job {
  Packed<acc_t> packed;
  KeypointFlows<acc_t> flows;
  Size3 size;
  Lattice<acc_t> lattice;
  std::vector<Gaussian<acc_t>> at_source, at_driving;  // (B, K+1); those of flow 0 are empty
  bool align_corners;
  double variance;
  int64_t batch, slots, channels, rows;  // the last through (B, K+1, D, H)

  Job(const WarpCandidates& op, int threads) : Job(op, BlockReader<acc_t>(op.features, 1), threads) {}
  Job(const WarpCandidates& op, const BlockReader<acc_t>& features, int threads)
      : packed(pack(features, threads)),
        flows(keypoint_flows<acc_t>(op.kp_source, op.kp_driving, op.affine)),
        size(features.layout.size),
        lattice(size),
        align_corners(op.align_corners),
        variance(op.variance),
        batch(op.kp_source.size[0]),
        slots(flows.keypoints + 1),
        channels(features.layout.channels),
        rows(batch * slots * size.depth * size.height) {
    for (int64_t slot = 0; slot < batch * slots; ++slot) {
      const KeypointFlow<acc_t> flow = flows.at(slot / slots, slot % slots);
      const bool background = slot % slots == 0;
      at_source.push_back(background ? Gaussian<acc_t>() : Gaussian<acc_t>(lattice, flow.source, variance));
      at_driving.push_back(background ? Gaussian<acc_t>() : Gaussian<acc_t>(lattice, flow.driving, variance));
    }
  }
  int64_t sample(int64_t b) const { return packed.samples == 1 ? 0 : b; }

  // body(slot, block, points) for every block of rows begin ... end - 1; slots are counted through (B, K+1).
  // Flow after flow: channels a power of two apart, written side by side, push each other out of the cache.
  template <typename Body>
  void for_blocks(int64_t begin, int64_t end, Body body) const {
    alignas(64) acc_t at[3][kBlockSize];
    for_row_blocks(size, begin, end, [&](RowBlock block) {
      const int64_t slot = block.b;
      block.b = slot / slots;
      flow_block(lattice, flows.at(block.b, slot % slots), block, at);
      body(slot, block, Points<acc_t>{at, align_corners});
    });
  }
};

template <typename acc_t>
FV2V_CLONES void difference_block(const Gaussian<acc_t>& driving, const Gaussian<acc_t>& source,
                                  const RowBlock& block, acc_t* __restrict difference) {
  alignas(64) acc_t of_driving[kBlockSize], of_source[kBlockSize];
  const acc_t in_driving = driving.y[block.y] * driving.z[block.z];
  const acc_t in_source = source.y[block.y] * source.z[block.z];
  const acc_t *along_driving = driving.x.data() + block.x, *along_source = source.x.data() + block.x;
  // Rounded before they are subtracted: a fused multiply-subtract leaves a residue where nothing moved.
  for (int i = 0; i < block.count; ++i) {
    of_driving[i] = along_driving[i] * in_driving;
    of_source[i] = along_source[i] * in_source;
  }
  // Denormal numbers, where Gaussians end, become 0: processors take a hundred times as long to multiply
  // them, and convolutions that read some took three times as long.
  constexpr acc_t least = std::numeric_limits<acc_t>::min();
  for (int i = 0; i < block.count; ++i) {
    const acc_t value = of_driving[i] - of_source[i];
    difference[i] = value < least && value > -least ? acc_t(0) : value;
  }
}

template <typename acc_t>
void forward_rows(const Job<acc_t>& job, int64_t begin, int64_t end, const BlockWriter<acc_t>& out) {
  alignas(64) acc_t difference[kBlockSize];
  job.for_blocks(begin, end, [&](int64_t slot, const RowBlock& block, const Points<acc_t>& points) {
    const int64_t k = slot % job.slots, channel = k * (job.channels + 1);
    if (k == 0)
      std::fill(difference, difference + block.count, acc_t(0));
    else
      difference_block(job.at_driving[slot], job.at_source[slot], block, difference);
    out.store(block, channel, difference);
    read_block(job.packed, job.sample(block.b), points, out.slice(channel + 1, job.channels), block);
  });
}

// Adds d loss / d keypoint of one Gaussian, from one row of upstream gradients.
template <typename acc_t>
FV2V_HOST_DEVICE void add_gaussian(const Lattice<acc_t>& lattice, const Gaussian<acc_t>& gaussian,
                                   const acc_t keypoint[3], const RowBlock& block, const acc_t* upstream,
                                   double scale, double sums[3]) {
  acc_t sum = 0, along_x = 0;
  const acc_t *places = lattice.x.data() + block.x, *values = gaussian.x.data() + block.x;
#pragma omp simd reduction(+ : sum, along_x)
  for (int i = 0; i < block.count; ++i) {
    const acc_t value = upstream[i] * values[i];
    sum += value;
    along_x += value * (places[i] - keypoint[0]);
  }
  const double in_row = scale * gaussian.y[block.y] * gaussian.z[block.z];
  sums[0] += in_row * along_x;
  sums[1] += in_row * sum * (lattice.y[block.y] - keypoint[1]);
  sums[2] += in_row * sum * (lattice.z[block.z] - keypoint[2]);
}

// Adds what a block sends to the keypoints of one slot: g through the flow, `upstream` through the Gaussians.
template <typename acc_t>
FV2V_CLONES void add_block(const Job<acc_t>& job, int64_t slot, const KeypointFlow<acc_t>& flow,
                           const RowBlock& block, const acc_t (*g)[kBlockSize], const acc_t* upstream,
                           FlowSums& sum) {
  alignas(64) acc_t ones[kBlockSize];
  for (int i = 0; i < kBlockSize; ++i) ones[i] = 1;
  const acc_t* const g_rows[3] = {g[0], g[1], g[2]};
  sum.add_row(flow, job.lattice.x.data() + block.x, job.lattice.y[block.y], job.lattice.z[block.z],
              block.count, g_rows, ones);
  add_gaussian(job.lattice, job.at_driving[slot], flow.driving, block, upstream, 1 / job.variance,
               sum.driving);
  add_gaussian(job.lattice, job.at_source[slot], flow.source, block, upstream, -1 / job.variance, sum.source);
}

// grad_features: a sample of Packed of this part alone, or nullptr; sums: (B, K+1) of this part alone.
template <typename acc_t>
void backward_rows(const Job<acc_t>& job, int64_t begin, int64_t end, const BlockReader<acc_t>& grad_out,
                   acc_t* grad_features, FlowSums* sums) {
  alignas(64) acc_t g[3][kBlockSize], upstream[kBlockSize];
  job.for_blocks(begin, end, [&](int64_t slot, const RowBlock& block, const Points<acc_t>& points) {
    const int64_t k = slot % job.slots, channel = k * (job.channels + 1);
    read_block_backward(job.packed, job.sample(block.b), points, grad_out.slice(channel + 1, job.channels),
                        block, 0, job.packed.groups, grad_features, k ? g : nullptr);
    if (k == 0) return;  // the background has no keypoint
    grad_out.load(block, channel, upstream);
    add_block(job, slot, job.flows.at(block.b, k), block, g, upstream, sums[slot]);
  });
}

template <typename acc_t>
void backward(const Tensor& grad_features, const Tensor& grad_source, const Tensor& grad_driving,
              const Tensor& grad_affine, const Tensor& grad_out, const WarpCandidates& op, int threads) {
  const Job<acc_t> job(op, threads);
  const BlockReader<acc_t> upstream(grad_out, 1);
  const BlockWriter<acc_t> features_out(grad_features, 1);
  // All flows add to the same feature gradient: each part of the work has a volume of its own.
  const int64_t samples = job.packed.samples, rows = job.rows / samples;
  const int64_t parts = std::max<int64_t>(1, std::min(rows, (threads + samples - 1) / samples));
  const Packed<acc_t> volumes(features_out ? samples * parts : 0, job.channels, job.size);
  std::vector<FlowSums> sums(parts * job.batch * job.slots);

  parallel_for(samples * parts, threads, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t sample = task / parts, part = task % parts;
      acc_t* const volume = features_out ? volumes.at(task, 0) : nullptr;
      if (volume) std::fill(volume, volume + volumes.groups * volumes.stride(), acc_t(0));
      backward_rows(job, sample * rows + rows * part / parts, sample * rows + rows * (part + 1) / parts,
                    upstream, volume, sums.data() + part * job.batch * job.slots);
    }
  });
  if (features_out) unpack_sum(volumes, parts, features_out, threads);
  write_flow_gradients(job.flows, sums, job.batch, grad_source, grad_driving, grad_affine);
}

}  // namespace

void warp_candidates_cpu(const Tensor& out, const WarpCandidates& op, int threads) {
  if (out.numel() == 0) return;
  threads = useful_threads(threads, out.numel());
  for_coordinates(op.features.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    const Job<acc_t> job(op, threads);
    const BlockWriter<acc_t> result(out, 1);
    parallel_for(job.rows, threads,
                 [&](int64_t begin, int64_t end) { forward_rows(job, begin, end, result); });
  });
}

void warp_candidates_backward_cpu(const Tensor& grad_features, const Tensor& grad_source,
                                  const Tensor& grad_driving, const Tensor& grad_affine,
                                  const Tensor& grad_out, const WarpCandidates& op, int threads) {
  if (grad_out.numel() == 0)
    return fill_zero(grad_features), fill_zero(grad_source), fill_zero(grad_driving), fill_zero(grad_affine);
  threads = useful_threads(threads, grad_out.numel());
  for_coordinates(op.features.dtype, [&](auto zero) {
    backward<decltype(zero)>(grad_features, grad_source, grad_driving, grad_affine, grad_out, op, threads);
  });
}

}  // namespace fv2v
