// warp3d on the CPU: pack the features, then read blocks of points, several channels at a time.
#include "common/packed.h"
#include "warp3d/warp3d.h"

namespace fv2v {
namespace {

template <typename scalar_t, int lanes>
struct Job {
  using acc_t = acc_of<scalar_t>;
  Volume<scalar_t> features;
  Volume<acc_t> grid;  // channels are x, y, z
  Packed<acc_t, lanes> packed;
  bool align_corners;
  int64_t points, blocks;  // a sample

  Job(const Warp3d& op, int threads)
      : features(op.features, 1),
        grid(op.grid, 4),
        packed(pack<lanes>(features, threads)),
        align_corners(op.align_corners),
        points(grid.size.voxels()),
        blocks((points + kBlock - 1) / kBlock) {}

  int64_t sample(int64_t b) const { return features.batch == 1 ? 0 : b; }
};

template <typename acc_t>
struct Coordinates {
  alignas(64) acc_t axis[3][kBlock];
  FV2V_HOST_DEVICE Coordinates(const Volume<acc_t>& grid, int64_t b, int64_t first, int count) {
    for (int i = 0; i < 3; ++i) grid.load(b, i, first, count, axis[i], 1);
  }
};

template <typename scalar_t, int lanes>
FV2V_CLONES void forward_blocks(const Job<scalar_t, lanes>& job, int64_t begin, int64_t end,
                                const Result<scalar_t>& out) {
  using acc_t = acc_of<scalar_t>;
  PointBlock<acc_t> block;
  alignas(64) vec<acc_t, lanes> result[kBlock];
  for (int64_t task = begin; task < end; ++task) {
    const int64_t b = task / job.blocks, first = task % job.blocks * kBlock;
    const int count = int(std::min<int64_t>(kBlock, job.points - first));
    const Coordinates<acc_t> at(job.grid, b, first, count);
    block.locate(at.axis[0], at.axis[1], at.axis[2], count, job.features.size, job.align_corners);
    for (int64_t group = 0; group < job.packed.groups; ++group) {
      block.template read<lanes>(job.packed.at(job.sample(b), group), count, result);
      store_lanes<lanes>(reinterpret_cast<acc_t*>(result), out, b, group, first, count);
    }
  }
}

// One thread's share of a feature sample: some groups of channels, some blocks of points. Nobody else writes
// where it writes, so sums do not depend on timing.
template <typename scalar_t, int lanes>
struct Share {
  int64_t first_sample, first_group, last_group, first_block, last_block;
  vec<acc_of<scalar_t>, lanes>* grad_features;  // a sample of Packed, or nullptr
  acc_of<scalar_t>* grad_grid;                  // (B, points, 3), or nullptr
};

template <typename scalar_t, int lanes>
FV2V_CLONES void backward_share(const Job<scalar_t, lanes>& job, const Volume<scalar_t>& grad_out,
                                const Share<scalar_t, lanes>& share) {
  using acc_t = acc_of<scalar_t>;
  const int64_t stride = job.packed.stride();
  PointBlock<acc_t> block;
  alignas(64) vec<acc_t, lanes> upstream[kBlock], total[kBlock][3];
  for (int64_t task = share.first_block; task < share.last_block; ++task) {
    const int64_t b = share.first_sample + task / job.blocks, first = task % job.blocks * kBlock;
    const int count = int(std::min<int64_t>(kBlock, job.points - first));
    const Coordinates<acc_t> at(job.grid, b, first, count);
    block.locate(at.axis[0], at.axis[1], at.axis[2], count, job.features.size, job.align_corners);
    for (int i = 0; i < count; ++i)
      for (int axis = 0; axis < 3; ++axis) total[i][axis] = vec<acc_t, lanes>{};
    for (int64_t group = share.first_group; group < share.last_group; ++group) {
      grad_out.template load_lanes<lanes>(b, group, first, count, reinterpret_cast<acc_t*>(upstream));
      if (share.grad_grid)
        block.template accumulate_slopes<lanes>(job.packed.at(job.sample(b), group), upstream, count, total);
      if (share.grad_features)
        block.template scatter<lanes>(upstream, count, share.grad_features + group * stride);
    }
    if (share.grad_grid)
      for (int i = 0; i < count; ++i)
        for (int axis = 0; axis < 3; ++axis)
          share.grad_grid[(b * job.points + first + i) * 3 + axis] = sum_lanes<acc_t, lanes>(total[i][axis]);
  }
}

template <typename scalar_t, int lanes>
void backward(const Tensor& grad_features, const Tensor& grad_grid, const Tensor& grad_out, const Warp3d& op,
              int threads) {
  using acc_t = acc_of<scalar_t>;
  const Job<scalar_t, lanes> job(op, threads);
  const Volume<scalar_t> upstream(grad_out, 1);
  const int64_t batch = job.grid.batch, samples = job.features.batch, groups = job.packed.groups;
  const int64_t blocks = job.blocks * batch / samples;  // of one feature sample
  // Groups of channels share nothing but the points' gradient; only when they run out are points split as
  // well, each split with a gradient volume of its own.
  const int64_t a_sample = std::max<int64_t>(1, (threads + samples - 1) / samples);
  const int64_t ranges = std::min(groups, a_sample);
  const int64_t splits = grad_features.numel() ? std::max<int64_t>(1, a_sample / ranges) : a_sample;

  Packed<acc_t, lanes> volumes(grad_features.numel() ? samples * splits : 0, job.features.channels,
                               job.features.size);
  const int64_t grid_size = grad_grid.numel();
  const Scratch partial(ranges > 1 ? ranges * grid_size * sizeof(acc_t) : 0);
  acc_t* const grid_sums = ranges > 1 ? static_cast<acc_t*>(partial.data()) : grad_grid.as<acc_t>();

  parallel_for(samples * ranges * splits, threads, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t split = task % splits, range = task / splits % ranges, sample = task / splits / ranges;
      Share<scalar_t, lanes> share = {sample * batch / samples,
                                      groups * range / ranges,
                                      groups * (range + 1) / ranges,
                                      blocks * split / splits,
                                      blocks * (split + 1) / splits,
                                      nullptr,
                                      nullptr};
      if (grad_features.numel()) {
        share.grad_features = volumes.at(sample * splits + split, 0);
        std::fill(volumes.at(sample * splits + split, share.first_group),
                  volumes.at(sample * splits + split, share.last_group), vec<acc_t, lanes>{});
      }
      if (grid_size) share.grad_grid = grid_sums + range * grid_size;
      backward_share<scalar_t, lanes>(job, upstream, share);
    }
  });

  if (grad_features.numel()) unpack_sum<acc_t, lanes>(volumes, splits, Result<acc_t>(grad_features), threads);
  if (ranges > 1)
    parallel_for(grid_size, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        acc_t sum = grid_sums[i];
        for (int64_t range = 1; range < ranges; ++range) sum += grid_sums[range * grid_size + i];
        grad_grid.as<acc_t>()[i] = sum;
      }
    });
}

}  // namespace

void warp3d_cpu(const Tensor& out, const Warp3d& op, int threads) {
  if (out.numel() == 0) return;
  threads = useful_threads(threads, out.numel());
  for_layout(op.features, [&](auto scalar, auto lanes) {
    using scalar_t = decltype(scalar);
    const Job<scalar_t, lanes> job(op, threads);
    parallel_for(job.grid.batch * job.blocks, threads, [&](int64_t begin, int64_t end) {
      forward_blocks<scalar_t, decltype(lanes)::value>(job, begin, end, Result<scalar_t>(out));
    });
  });
}

void warp3d_backward_cpu(const Tensor& grad_features, const Tensor& grad_grid, const Tensor& grad_out,
                         const Warp3d& op, int threads) {
  if (grad_out.numel() == 0) return fill_zero(grad_features), fill_zero(grad_grid);
  threads = useful_threads(threads, grad_out.numel());
  for_layout(op.features, [&](auto scalar, auto lanes) {
    backward<decltype(scalar), decltype(lanes)::value>(grad_features, grad_grid, grad_out, op, threads);
  });
}

}  // namespace fv2v
