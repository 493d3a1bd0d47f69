// SPDX-License-Identifier: Apache-2.0
// warp3d: out[b, c, p] = features[b, c], trilinearly, at grid[b, p]
#pragma once
#include "common/tensor.h"

namespace fv2v {

struct Warp3d {
  Tensor features;  // (B or 1, C, D, H, W)
  Tensor grid;      // (B, D', H', W', 3)
  bool align_corners;
};

void warp3d_cpu(const Tensor& out, const Warp3d& op, int threads);
void warp3d_backward_cpu(const Tensor& grad_features, const Tensor& grad_grid, const Tensor& grad_out,
                         const Warp3d& op, int threads);

void warp3d_cuda(const Tensor& out, const Warp3d& op, int device, void* cuda_stream);
void warp3d_backward_cuda(const Tensor& grad_features, const Tensor& grad_grid, const Tensor& grad_out,
                          const Warp3d& op, int device, void* cuda_stream);

}  // namespace fv2v
