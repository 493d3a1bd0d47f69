// SPDX-License-Identifier: Apache-2.0
// compose_flow: flow[b, p] = sum_k m_k w_k(p),  m = softmax over k of mask_logits[b, k, p],  w_k of
// common/keypoint_flow.h. Masks below the threshold count as 0, without renormalising.
//
// Forward, the logits may come as T taps along x, T odd, from a convolution that left their sum to do:
//   mask_logits[b, k, z, y, x] = sum_t taps[b, t, k, z, y, x + t - (T - 1) / 2],  0 outside
#pragma once
#include "common/tensor.h"

namespace fv2v {

struct ComposeFlow {
  Tensor mask_logits;            // (B, K+1, D, H, W), or taps (B, T, K+1, D, H, W)
  Tensor kp_source, kp_driving;  // (B, K, 3)
  Tensor affine;                 // absent, (B, 3, 3) or (B, K, 3, 3)
  double mask_threshold;

  int taps() const { return mask_logits.dims == 6 ? int(mask_logits.size[1]) : 1; }
  int64_t tap_stride() const { return mask_logits.dims == 6 ? mask_logits.stride[1] : 0; }
  // (B, K+1, D, H, W): the logits, or a tap
  Tensor tap(int t) const {
    if (mask_logits.dims == 5) return mask_logits;
    Tensor one = mask_logits;
    one.data = static_cast<char*>(mask_logits.data) + t * mask_logits.stride[1] * bytes_of(mask_logits.dtype);
    one.dims = 5;
    for (int i = 1; i < 5; ++i) {
      one.size[i] = mask_logits.size[i + 1];
      one.stride[i] = mask_logits.stride[i + 1];
    }
    return one;
  }
};

void compose_flow_cpu(const Tensor& flow, const Tensor& mask, const ComposeFlow& op, int threads);
void compose_flow_backward_cpu(const Tensor& grad_logits, const Tensor& grad_source,
                               const Tensor& grad_driving, const Tensor& grad_affine, const Tensor& grad_flow,
                               const Tensor& grad_mask, const ComposeFlow& op, int threads);

void compose_flow_cuda(const Tensor& flow, const Tensor& mask, const ComposeFlow& op, int device,
                       void* cuda_stream);
int64_t compose_flow_backward_workspace(const ComposeFlow& op);  // bytes
void compose_flow_backward_cuda(const Tensor& grad_logits, const Tensor& grad_source,
                                const Tensor& grad_driving, const Tensor& grad_affine,
                                const Tensor& grad_flow, const Tensor& grad_mask, const ComposeFlow& op,
                                const Tensor& workspace, int device, void* cuda_stream);

}  // namespace fv2v
