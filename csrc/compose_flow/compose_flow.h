// compose_flow: flow[b, p] = sum_k m_k w_k(p),  m = softmax over k of mask_logits[b, k, p],  w_k of
// common/keypoint_flow.h. Masks below the threshold count as 0, without renormalising.
#pragma once
#include "common/tensor.h"

namespace fv2v {

struct ComposeFlow {
  Tensor mask_logits;            // (B, K+1, D, H, W)
  Tensor kp_source, kp_driving;  // (B, K, 3)
  Tensor affine;                 // absent, (B, 3, 3) or (B, K, 3, 3)
  double mask_threshold;
};

void compose_flow_cpu(const Tensor& flow, const Tensor& mask, const ComposeFlow& op, int threads);
void compose_flow_backward_cpu(const Tensor& grad_logits, const Tensor& grad_source,
                               const Tensor& grad_driving, const Tensor& grad_affine, const Tensor& grad_flow,
                               const Tensor& grad_mask, const ComposeFlow& op, int threads);

void compose_flow_cuda(const Tensor& flow, const Tensor& mask, const ComposeFlow& op, int device,
                       void* stream);
int64_t compose_flow_backward_workspace(const ComposeFlow& op);  // bytes
void compose_flow_backward_cuda(const Tensor& grad_logits, const Tensor& grad_source,
                                const Tensor& grad_driving, const Tensor& grad_affine,
                                const Tensor& grad_flow, const Tensor& grad_mask, const ComposeFlow& op,
                                const Tensor& workspace, int device, void* stream);

}  // namespace fv2v
