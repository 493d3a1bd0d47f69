// warp_candidates on the CPU: flows are built a block of voxels at a time and never stored; Gaussians are
// separable, D + H + W exponentials a keypoint.
#include "warp_candidates/warp_candidates.h"

#include "common/flow_gradients.h"
#include "common/packed.h"

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

template <typename scalar_t, int lanes>
struct Job {
  using acc_t = acc_of<scalar_t>;
  Volume<scalar_t> features;
  Packed<acc_t, lanes> packed;
  KeypointFlows<acc_t> flows;
  Lattice<acc_t> lattice;
  std::vector<Gaussian<acc_t>> at_source, at_driving;  // (B, K+1); those of flow 0 are empty
  bool align_corners;
  double variance;
  int64_t batch, slots, channels, voxels;

  Job(const WarpCandidates& op, int threads)
      : features(op.features, 1),
        packed(pack<lanes>(features, threads)),
        flows(keypoint_flows<acc_t>(op.kp_source, op.kp_driving, op.affine)),
        lattice(features.size),
        align_corners(op.align_corners),
        variance(op.variance),
        batch(op.kp_source.size[0]),
        slots(flows.keypoints + 1),
        channels(features.channels),
        voxels(features.size.voxels()) {
    for (int64_t slot = 0; slot < batch * slots; ++slot) {
      const KeypointFlow<acc_t> flow = flows.at(slot / slots, slot % slots);
      const bool background = slot % slots == 0;
      at_source.push_back(background ? Gaussian<acc_t>() : Gaussian<acc_t>(lattice, flow.source, variance));
      at_driving.push_back(background ? Gaussian<acc_t>() : Gaussian<acc_t>(lattice, flow.driving, variance));
    }
  }
  int64_t sample(int64_t b) const { return features.batch == 1 ? 0 : b; }
  int64_t slices() const { return batch * slots * features.size.depth; }  // tasks: (B, K+1, D)
};

// Up to kBlock voxels of one row of one flow, and where they read.
template <typename scalar_t, int lanes>
struct Block {
  using acc_t = acc_of<scalar_t>;
  int64_t slot, b;  // slot: through (B, K+1)
  int64_t first;    // voxel
  int32_t x, y, z;  // of the first
  int count;
  KeypointFlow<acc_t> flow;
  PointBlock<acc_t> points;

  // body(block) for every block of one (b, k, z) slice
  template <typename Body>
  FV2V_HOST_DEVICE void run(const Job<scalar_t, lanes>& job, int64_t slice, Body body) {
    const Size3 size = job.features.size;
    slot = slice / size.depth;
    b = slot / job.slots;
    z = int32_t(slice % size.depth);
    flow = job.flows.at(b, slot % job.slots);
    alignas(64) acc_t w[3][kBlock];
    for (y = 0; y < size.height; ++y)
      for (x = 0; x < size.width; x += kBlock) {
        count = std::min(kBlock, size.width - x);
        first = (int64_t(z) * size.height + y) * size.width + x;
        for (int i = 0; i < count; ++i) {
          acc_t at[3];
          flow(job.lattice.x[x + i], job.lattice.y[y], job.lattice.z[z], at);
          for (int axis = 0; axis < 3; ++axis) w[axis][i] = at[axis];
        }
        points.locate(w[0], w[1], w[2], count, size, job.align_corners);
        body();
      }
  }
};

template <typename scalar_t, int lanes>
FV2V_CLONES void forward_slices(const Job<scalar_t, lanes>& job, int64_t begin, int64_t end,
                                const Result<scalar_t>& out) {
  using acc_t = acc_of<scalar_t>;
  Block<scalar_t, lanes> block;
  alignas(64) vec<acc_t, lanes> result[kBlock];
  alignas(64) acc_t of_driving[kBlock], of_source[kBlock];
  for (int64_t slice = begin; slice < end; ++slice)
    block.run(job, slice, [&]() FV2V_LAMBDA {
      const Result<scalar_t> slot = out.slice(block.slot % job.slots * (job.channels + 1), job.channels + 1);
      scalar_t* to = slot.at(block.b, 0, block.first);
      const Gaussian<acc_t>&source = job.at_source[block.slot], &driving = job.at_driving[block.slot];
      if (driving.x.empty()) {
        for (int i = 0; i < block.count; ++i) to[i * out.step] = narrow<scalar_t>(acc_t(0));
      } else {
        const acc_t in_driving = driving.y[block.y] * driving.z[block.z];
        const acc_t in_source = source.y[block.y] * source.z[block.z];
        const acc_t *along_driving = driving.x.data() + block.x, *along_source = source.x.data() + block.x;
        // Rounded before they are subtracted: a fused multiply-subtract leaves a residue where nothing moved.
        for (int i = 0; i < block.count; ++i) {
          of_driving[i] = along_driving[i] * in_driving;
          of_source[i] = along_source[i] * in_source;
        }
        for (int i = 0; i < block.count; ++i)
          to[i * out.step] = narrow<scalar_t>(of_driving[i] - of_source[i]);
      }
      for (int64_t group = 0; group < job.packed.groups; ++group) {
        block.points.template read<lanes>(job.packed.at(job.sample(block.b), group), block.count, result);
        store_lanes<lanes>(reinterpret_cast<acc_t*>(result), slot.slice(1, job.channels), block.b, group,
                           block.first, block.count);
      }
    });
}

// Adds d loss / d keypoint of one Gaussian, from one row of upstream gradients.
template <typename acc_t>
FV2V_HOST_DEVICE void add_gaussian(const Lattice<acc_t>& lattice, const Gaussian<acc_t>& gaussian,
                                   const acc_t keypoint[3], int32_t x, int32_t y, int32_t z, int count,
                                   const acc_t* upstream, double scale, double sums[3]) {
  acc_t sum = 0, along_x = 0;
  const acc_t *places = lattice.x.data() + x, *values = gaussian.x.data() + x;
#pragma omp simd reduction(+ : sum, along_x)
  for (int i = 0; i < count; ++i) {
    const acc_t value = upstream[i] * values[i];
    sum += value;
    along_x += value * (places[i] - keypoint[0]);
  }
  const double in_row = scale * gaussian.y[y] * gaussian.z[z];
  sums[0] += in_row * along_x;
  sums[1] += in_row * sum * (lattice.y[y] - keypoint[1]);
  sums[2] += in_row * sum * (lattice.z[z] - keypoint[2]);
}

// grad_features: a sample of Packed of this part alone, or nullptr; sums: (B, K+1) of this part alone.
template <typename scalar_t, int lanes>
FV2V_CLONES void backward_slices(const Job<scalar_t, lanes>& job, int64_t begin, int64_t end,
                                 const Volume<scalar_t>& grad_out,
                                 vec<acc_of<scalar_t>, lanes>* grad_features, FlowSums* sums) {
  using acc_t = acc_of<scalar_t>;
  Block<scalar_t, lanes> block;
  alignas(64) vec<acc_t, lanes> upstream[kBlock], total[kBlock][3];
  alignas(64) acc_t g[3][kBlock], gaussian[kBlock], ones[kBlock];
  const acc_t* const g_rows[3] = {g[0], g[1], g[2]};
  std::fill(ones, ones + kBlock, acc_t(1));
  for (int64_t slice = begin; slice < end; ++slice)
    block.run(job, slice, [&]() FV2V_LAMBDA {
      const int count = block.count;
      const int64_t channel = block.slot % job.slots * (job.channels + 1);
      const Volume<scalar_t> warped = grad_out.slice(channel + 1, job.channels);
      for (int i = 0; i < count; ++i)
        for (int axis = 0; axis < 3; ++axis) total[i][axis] = vec<acc_t, lanes>{};
      for (int64_t group = 0; group < job.packed.groups; ++group) {
        const vec<acc_t, lanes>* features = job.packed.at(job.sample(block.b), group);
        warped.template load_lanes<lanes>(block.b, group, block.first, count,
                                          reinterpret_cast<acc_t*>(upstream));
        block.points.template accumulate_slopes<lanes>(features, upstream, count, total);
        if (grad_features)
          block.points.template scatter<lanes>(upstream, count, grad_features + group * job.packed.stride());
      }
      if (block.slot % job.slots == 0) return;  // the background has no keypoint
      for (int axis = 0; axis < 3; ++axis)
        for (int i = 0; i < count; ++i) g[axis][i] = sum_lanes<acc_t, lanes>(total[i][axis]);
      FlowSums& sum = sums[block.slot];
      sum.add_row(block.flow, job.lattice.x.data() + block.x, job.lattice.y[block.y], job.lattice.z[block.z],
                  count, g_rows, ones);
      grad_out.load(block.b, channel, block.first, count, gaussian, 1);
      add_gaussian(job.lattice, job.at_driving[block.slot], block.flow.driving, block.x, block.y, block.z,
                   count, gaussian, 1 / job.variance, sum.driving);
      add_gaussian(job.lattice, job.at_source[block.slot], block.flow.source, block.x, block.y, block.z,
                   count, gaussian, -1 / job.variance, sum.source);
    });
}

template <typename scalar_t, int lanes>
void backward(const Tensor& grad_features, const Tensor& grad_source, const Tensor& grad_driving,
              const Tensor& grad_affine, const Tensor& grad_out, const WarpCandidates& op, int threads) {
  using acc_t = acc_of<scalar_t>;
  const Job<scalar_t, lanes> job(op, threads);
  const Volume<scalar_t> upstream(grad_out, 1);
  // All flows add to the same feature gradient: each part of the work has a volume of its own.
  const int64_t samples = job.features.batch, slices = job.slices() / samples;
  const int64_t parts = std::max<int64_t>(1, std::min(slices, (threads + samples - 1) / samples));
  const bool need_features = grad_features.numel() > 0;
  Packed<acc_t, lanes> volumes(need_features ? samples * parts : 0, job.channels, job.features.size);
  std::vector<FlowSums> sums(parts * job.batch * job.slots);

  parallel_for(samples * parts, threads, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t sample = task / parts, part = task % parts;
      vec<acc_t, lanes>* volume = need_features ? volumes.at(task, 0) : nullptr;
      if (volume) std::fill(volume, volume + volumes.groups * volumes.stride(), vec<acc_t, lanes>{});
      backward_slices<scalar_t, lanes>(job, sample * slices + slices * part / parts,
                                       sample * slices + slices * (part + 1) / parts, upstream, volume,
                                       sums.data() + part * job.batch * job.slots);
    }
  });
  if (need_features) unpack_sum<acc_t, lanes>(volumes, parts, Result<acc_t>(grad_features), threads);
  write_flow_gradients(job.flows, sums, job.batch, grad_source, grad_driving, grad_affine);
}

}  // namespace

void warp_candidates_cpu(const Tensor& out, const WarpCandidates& op, int threads) {
  if (out.numel() == 0) return;
  threads = useful_threads(threads, out.numel());
  for_layout(op.features, [&](auto scalar, auto lanes) {
    using scalar_t = decltype(scalar);
    const Job<scalar_t, lanes> job(op, threads);
    parallel_for(job.slices(), threads, [&](int64_t begin, int64_t end) {
      forward_slices<scalar_t, decltype(lanes)::value>(job, begin, end, Result<scalar_t>(out));
    });
  });
}

void warp_candidates_backward_cpu(const Tensor& grad_features, const Tensor& grad_source,
                                  const Tensor& grad_driving, const Tensor& grad_affine,
                                  const Tensor& grad_out, const WarpCandidates& op, int threads) {
  if (grad_out.numel() == 0)
    return fill_zero(grad_features), fill_zero(grad_source), fill_zero(grad_driving), fill_zero(grad_affine);
  threads = useful_threads(threads, grad_out.numel());
  for_layout(op.features, [&](auto scalar, auto lanes) {
    backward<decltype(scalar), decltype(lanes)::value>(grad_features, grad_source, grad_driving, grad_affine,
                                                       grad_out, op, threads);
  });
}

}  // namespace fv2v
