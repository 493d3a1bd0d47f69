// SPDX-License-Identifier: Apache-2.0
// modulate: over the pixels of each plane, one channel of one sample, n = (x - mean) / sqrt(var + eps), and
//   y = (1 + gamma) n + beta        out = y where y > 0, else negative_slope y
// With g = d loss / d out, h = g where y > 0, else negative_slope g, and u = (1 + gamma) h:
//   gamma gets h n        beta gets h        x gets (u - mean(u) - n mean(u n)) / sqrt(var + eps)
//
// What is computed of one number; on the CPU of many side by side, `value_t` is then a vector of acc_t.
#pragma once
#include <algorithm>
#include <cmath>

#include "common/host_device.h"
#include "common/tensor.h"

namespace fv2v {

struct Modulate {
  Tensor x, gamma, beta;  // (B, C, H, W)
  double eps, negative_slope;
  bool channels_last;  // how x lies, and the result is to
};

// (B, C, H, W) as (B, C, 1, H, W); a result that was not asked for is empty and stays as it is.
inline Tensor as_volume(Tensor picture) {
  if (picture.dims != 4) return picture;
  std::copy_backward(picture.size + 2, picture.size + 4, picture.size + 5);
  std::copy_backward(picture.stride + 2, picture.stride + 4, picture.stride + 5);
  picture.size[2] = 1;
  picture.dims = 5;
  return picture;
}

// 1 / sqrt(var + eps). `squares`: the sum of (x - mean)^2 over a plane, which rounding may take below 0.
FV2V_HOST_DEVICE double scale_of(double squares, double pixels, double eps) {
  return 1 / sqrt((squares < 0 ? 0 : squares) / pixels + eps);  // NaN stays NaN
}

template <typename value_t>
FV2V_HOST_DEVICE value_t normalise(value_t x, value_t mean, value_t scale) {
  return (x - mean) * scale;
}

// (1 + gamma) value. It ends in a sum, so that no compiler fuses it with what follows: u less its mean is 0
// where there is one pixel.
template <typename value_t>
FV2V_HOST_DEVICE value_t scaled(value_t value, value_t gamma) {
  return gamma * value + value;
}

// `value` is y, or what comes back to it.
template <typename value_t, typename acc_t>
FV2V_HOST_DEVICE value_t leaky(value_t value, value_t y, acc_t negative_slope) {
  return y > acc_t(0) ? value : negative_slope * value;
}

template <typename value_t>
FV2V_HOST_DEVICE value_t x_gradient(value_t u, value_t n, value_t mean_u, value_t mean_un, value_t scale) {
  return (u - mean_u - n * mean_un) * scale;
}

void modulate_cpu(const Tensor& out, const Modulate& op, int threads);
void modulate_backward_cpu(const Tensor& grad_x, const Tensor& grad_gamma, const Tensor& grad_beta,
                           const Tensor& grad_out, const Modulate& op, int threads);

int64_t modulate_workspace(const Modulate& op);  // bytes, forward and backward
void modulate_cuda(const Tensor& out, const Modulate& op, const Tensor& workspace, int device,
                   void* cuda_stream);
void modulate_backward_cuda(const Tensor& grad_x, const Tensor& grad_gamma, const Tensor& grad_beta,
                            const Tensor& grad_out, const Modulate& op, const Tensor& workspace, int device,
                            void* cuda_stream);

}  // namespace fv2v
