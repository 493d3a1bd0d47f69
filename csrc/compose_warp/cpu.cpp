// SPDX-License-Identifier: Apache-2.0
// compose_warp on the CPU: the flow of a block of voxels goes straight to where it reads.
#include "compose_warp/compose_warp.h"

#include "compose_flow/blend.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"

namespace fv2v {

void compose_warp_cpu(const Tensor& warped, const Tensor& flow, const Tensor& mask, const ComposeWarp& op,
                      int threads) {
  threads = useful_threads(threads, warped.numel());
  for_coordinates(op.features.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    const Blend<acc_t> blend(op.flow);
    const Packed<acc_t> packed = pack(BlockReader<acc_t>(op.features, 1), threads);
    const BlockWriter<acc_t> out(warped, 1), flow_out(flow, 4), mask_out(mask, 1);
    parallel_for(blend.rows, threads, [&](int64_t begin, int64_t end) {
      std::vector<acc_t> masks(blend.room());
      alignas(64) acc_t blended[3][kBlockSize];
      for_row_blocks(blend.size, begin, end, [&](const RowBlock& block) {
        blend.run(block, masks.data(), blended, flow_out, mask_out);
        read_block(packed, packed.samples == 1 ? 0 : block.b, Points<acc_t>{blended, op.align_corners}, out,
                   block);
      });
    });
  });
}

}  // namespace fv2v
