// SPDX-License-Identifier: Apache-2.0
// winograd_conv: a convolution of stride 1 by Winograd's minimal filtering (Lavin and Gray 2016) in y and x,
// and in z where the kernel is 3 x 3 x 3, else direct in z, for inference on the CPU:
//   out = act(pool(act ...)): y = w * x + bias + addend;  y where y > 0, else negative_slope y;  mean of 2 x
//   2
// An output tile of 4 x 4 pixels takes 36 products a channel in place of 144 with a kernel of 3 x 3, and 169
// in place of 784 with one of 7 x 7; two slices of it take 144 in place of 864 with one of 3 x 3 x 3.
//   Y = A^T [ sum over channels and z-taps of (G w G^T) . (B^T d B) ] A
#pragma once
#include "common/tensor.h"

namespace fv2v {

struct WinogradConv {
  Tensor x;       // (B, C, D, H, W), channels innermost
  Tensor weight;  // (N, C, kd, r, r), outputs innermost
  Tensor bias;    // (N,)
  Tensor addend;  // as the output, or absent
  bool doubling;  // x is enlarged twice in y and x, by repetition, before it is convolved
  bool pooling;   // the mean of each 2 x 2 pixels of the output is what is written
  double negative_slope;
};

void winograd_conv_cpu(const Tensor& out, const WinogradConv& op, int threads);

}  // namespace fv2v
