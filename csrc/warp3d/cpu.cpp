// SPDX-License-Identifier: Apache-2.0
// warp3d on the CPU: pack the features, then read blocks of points, several channels at a time.
#include "warp3d/warp3d.h"

#include "cpu/packed.h"
#include "cpu/parallel.h"

namespace fv2v {
namespace {

template <typename acc_t>
struct Job {
  BlockReader<acc_t> grid;  // channels are x, y, z
  Packed<acc_t> packed;
  Size3 size;
  bool align_corners;
  int64_t batch, points, blocks;  // the last two of a sample

  Job(const Warp3d& op, int threads)
      : Job(op, BlockReader<acc_t>(op.features, 1), BlockReader<acc_t>(op.grid, 4), threads) {}
  Job(const Warp3d& op, const BlockReader<acc_t>& features, const BlockReader<acc_t>& grid, int threads)
      : grid(grid),
        packed(pack(features, threads)),
        size(features.layout.size),
        align_corners(op.align_corners),
        batch(grid.layout.batch),
        points(grid.layout.size.voxels()),
        blocks((points + kBlockSize - 1) / kBlockSize) {}

  int64_t sample(int64_t b) const { return packed.samples == 1 ? 0 : b; }

  // body(block, points) for blocks begin ... end - 1, counted through the batch
  template <typename Body>
  void for_blocks(int64_t begin, int64_t end, Body body) const {
    alignas(64) acc_t coordinates[3][kBlockSize];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task % blocks * kBlockSize;
      const Block block = {task / blocks, first, int(std::min<int64_t>(kBlockSize, points - first))};
      grid.load(block, 0, coordinates[0], 3);
      body(block, Points<acc_t>{coordinates, align_corners});
    }
  }
};

template <typename acc_t>
void backward(const Tensor& grad_features, const Tensor& grad_grid, const Tensor& grad_out, const Warp3d& op,
              int threads) {
  const Job<acc_t> job(op, threads);
  const BlockReader<acc_t> upstream(grad_out, 1);
  const BlockWriter<acc_t> features_out(grad_features, 1);
  const int64_t samples = job.packed.samples, groups = job.packed.groups;
  const int64_t blocks = job.blocks * job.batch / samples;  // of one feature sample
  // Groups of channels share nothing but the points' gradient; only when they run out are points split as
  // well, each split with a gradient volume of its own. No task writes where another does, so sums do not
  // depend on timing.
  const int64_t a_sample = std::max<int64_t>(1, (threads + samples - 1) / samples);
  const int64_t ranges = std::min(groups, a_sample);
  const int64_t splits = features_out ? std::max<int64_t>(1, a_sample / ranges) : a_sample;

  const Packed<acc_t> volumes(features_out ? samples * splits : 0, op.features.size[1], job.size);
  const int64_t grid_size = grad_grid.numel();
  const Scratch partial(ranges > 1 ? ranges * grid_size * sizeof(acc_t) : 0);
  acc_t* const grid_sums = ranges > 1 ? static_cast<acc_t*>(partial.data()) : grad_grid.as<acc_t>();

  parallel_for(samples * ranges * splits, threads, [&](int64_t begin, int64_t end) {
    alignas(64) acc_t g[3][kBlockSize];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t split = task % splits, range = task / splits % ranges, sample = task / splits / ranges;
      const int64_t first_group = groups * range / ranges, last_group = groups * (range + 1) / ranges;
      acc_t* const volume = features_out ? volumes.at(sample * splits + split, 0) : nullptr;
      if (volume)
        std::fill(volume + first_group * volumes.stride(), volume + last_group * volumes.stride(), acc_t(0));
      const int64_t first_block = sample * blocks;
      job.for_blocks(first_block + blocks * split / splits, first_block + blocks * (split + 1) / splits,
                     [&](const Block& block, const Points<acc_t>& at) {
                       read_block_backward(job.packed, job.sample(block.b), at, upstream, block, first_group,
                                           last_group, volume, grid_size ? g : nullptr);
                       if (!grid_size) return;
                       acc_t* const to =
                           grid_sums + range * grid_size + (block.b * job.points + block.first) * 3;
                       for (int i = 0; i < block.count; ++i)
                         for (int axis = 0; axis < 3; ++axis) to[3 * i + axis] = g[axis][i];
                     });
    }
  });

  if (features_out) unpack_sum(volumes, splits, features_out, threads);
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
  for_coordinates(op.grid.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    const Job<acc_t> job(op, threads);
    const BlockWriter<acc_t> result(out, 1);
    parallel_for(job.batch * job.blocks, threads, [&](int64_t begin, int64_t end) {
      job.for_blocks(begin, end, [&](const Block& block, const Points<acc_t>& at) {
        read_block(job.packed, job.sample(block.b), at, result, block);
      });
    });
  });
}

void warp3d_backward_cpu(const Tensor& grad_features, const Tensor& grad_grid, const Tensor& grad_out,
                         const Warp3d& op, int threads) {
  if (grad_out.numel() == 0) return fill_zero(grad_features), fill_zero(grad_grid);
  threads = useful_threads(threads, grad_out.numel());
  for_coordinates(op.grid.dtype, [&](auto zero) {
    backward<decltype(zero)>(grad_features, grad_grid, grad_out, op, threads);
  });
}

}  // namespace fv2v
