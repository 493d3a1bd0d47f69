// SPDX-License-Identifier: Apache-2.0
// keypoint_flow: out[b, k, p] = w_k(p) of common/keypoint_flow.h, stored
#pragma once
#include "common/tensor.h"

namespace fv2v {

struct KeypointFlowOp {
  Tensor kp_source, kp_driving;  // (B, K, 3)
  Tensor affine;                 // absent, (B, 3, 3) or (B, K, 3, 3)
};

void keypoint_flow_cpu(const Tensor& out, const KeypointFlowOp& op, int threads);
void keypoint_flow_backward_cpu(const Tensor& grad_source, const Tensor& grad_driving,
                                const Tensor& grad_affine, const Tensor& grad_out, const KeypointFlowOp& op,
                                int threads);

void keypoint_flow_cuda(const Tensor& out, const KeypointFlowOp& op, int device, void* cuda_stream);
int64_t keypoint_flow_backward_workspace(const Tensor& grad_out, const KeypointFlowOp& op);  // bytes
void keypoint_flow_backward_cuda(const Tensor& grad_source, const Tensor& grad_driving,
                                 const Tensor& grad_affine, const Tensor& grad_out, const KeypointFlowOp& op,
                                 const Tensor& workspace, int device, void* cuda_stream);

}  // namespace fv2v
