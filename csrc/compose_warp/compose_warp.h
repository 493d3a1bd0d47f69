// SPDX-License-Identifier: Apache-2.0
// compose_warp: warped[b, c, p] = features[b, c], trilinearly, at flow[b, p], where flow and mask are those
// of compose_flow. Its gradient is put together in Python from those of warp3d and compose_flow.
//
// mask_head is the same of logits that come as taps.
#pragma once
#include "compose_flow/compose_flow.h"

namespace fv2v {

struct ComposeWarp {
  Tensor features;   // (B or 1, C, D, H, W)
  ComposeFlow flow;  // whose logits have the dtype of the features
  bool align_corners;
};

// `flow` (B, D, H, W, 3) and `mask` (B, K+1, D, H, W) may be empty: not asked for.
void compose_warp_cpu(const Tensor& warped, const Tensor& flow, const Tensor& mask, const ComposeWarp& op,
                      int threads);
void compose_warp_cuda(const Tensor& warped, const Tensor& flow, const Tensor& mask, const ComposeWarp& op,
                       int device, void* cuda_stream);

}  // namespace fv2v
