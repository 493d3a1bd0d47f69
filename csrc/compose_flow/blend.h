// SPDX-License-Identifier: Apache-2.0
// CPU: the mask over K+1 flows and the flow it blends, a block of voxels of one row at a time; the masks stay
// in the L1 cache.
#pragma once
#include <vector>

#include "compose_flow/compose_flow.h"
#include "cpu/block.h"
#include "cpu/flow_gradients.h"

namespace fv2v {

template <typename acc_t>
struct Blend {
  std::vector<BlockReader<acc_t>> taps;  // the logits alone, or what they are the sum of
  KeypointFlows<acc_t> flows;
  Lattice<acc_t> lattice;
  acc_t threshold;
  int64_t slots, rows;  // K + 1; B D H
  Size3 size;

  explicit Blend(const ComposeFlow& op)
      : flows(keypoint_flows<acc_t>(op.kp_source, op.kp_driving, op.affine)),
        lattice(Strided(op.tap(0), 1).size),
        threshold(acc_t(op.mask_threshold)),
        slots(flows.keypoints + 1),
        size(Strided(op.tap(0), 1).size) {
    for (int t = 0; t < op.taps(); ++t) taps.emplace_back(op.tap(t), 1);
    rows = op.mask_logits.size[0] * size.depth * size.height;
  }

  // How much room for masks the functions below need.
  int64_t room() const { return slots * kBlockSize * (taps.size() > 1 ? 2 : 1); }

  // mask (slots, kBlockSize): the softmax of the block's logits, before any threshold
  void load_mask(const RowBlock& block, acc_t* mask) const;

  // blended (3, kBlockSize): the flow; it and the thresholded mask are stored where they were asked for
  void run(const RowBlock& block, acc_t* mask, acc_t (*blended)[kBlockSize],
           const BlockWriter<acc_t>& flow_out, const BlockWriter<acc_t>& mask_out) const;
};

}  // namespace fv2v
