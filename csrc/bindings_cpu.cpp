// SPDX-License-Identifier: Apache-2.0
// fv2v_kernels._cpu: outputs first, then the operator's inputs as its schema orders them, then the thread
// count.
#include <pybind11/stl.h>

#include "bindings.h"
#include "compose_warp/compose_warp.h"
#include "keypoint_flow/keypoint_flow.h"
#include "modulate/modulate.h"
#include "soft_argmax3d/soft_argmax3d.h"
#include "warp3d/warp3d.h"
#include "warp_candidates/warp_candidates.h"
#include "winograd_conv/winograd_conv.h"

namespace py = pybind11;
using fv2v::Tensor;

PYBIND11_MODULE(_cpu, m) {
  const py::call_guard<py::gil_scoped_release> unlocked;

  m.def(
      "keypoint_flow",
      [](Tensor out, Tensor kp_source, Tensor kp_driving, Tensor affine, std::vector<int64_t>, int threads) {
        fv2v::keypoint_flow_cpu(out, {kp_source, kp_driving, affine}, threads);
      },
      unlocked);
  m.def(
      "keypoint_flow_backward",
      [](Tensor grad_source, Tensor grad_driving, Tensor grad_affine, Tensor grad_out, Tensor kp_source,
         Tensor kp_driving, Tensor affine, std::vector<int64_t>, int threads) {
        fv2v::keypoint_flow_backward_cpu(grad_source, grad_driving, grad_affine, grad_out,
                                         {kp_source, kp_driving, affine}, threads);
      },
      unlocked);
  m.def(
      "warp_candidates",
      [](Tensor out, Tensor features, Tensor kp_source, Tensor kp_driving, Tensor affine, bool align_corners,
         double variance, bool, int threads) {
        fv2v::warp_candidates_cpu(out, {features, kp_source, kp_driving, affine, align_corners, variance},
                                  threads);
      },
      unlocked);
  m.def(
      "warp_candidates_backward",
      [](Tensor grad_features, Tensor grad_source, Tensor grad_driving, Tensor grad_affine, Tensor grad_out,
         Tensor features, Tensor kp_source, Tensor kp_driving, Tensor affine, bool align_corners,
         double variance, bool, int threads) {
        fv2v::warp_candidates_backward_cpu(grad_features, grad_source, grad_driving, grad_affine, grad_out,
                                           {features, kp_source, kp_driving, affine, align_corners, variance},
                                           threads);
      },
      unlocked);
  m.def(
      "compose_flow",
      [](Tensor flow, Tensor mask, Tensor mask_logits, Tensor kp_source, Tensor kp_driving, Tensor affine,
         double mask_threshold, bool, int threads) {
        fv2v::compose_flow_cpu(flow, mask, {mask_logits, kp_source, kp_driving, affine, mask_threshold},
                               threads);
      },
      unlocked);
  m.def(
      "compose_flow_backward",
      [](Tensor grad_logits, Tensor grad_source, Tensor grad_driving, Tensor grad_affine, Tensor grad_flow,
         Tensor grad_mask, Tensor mask_logits, Tensor kp_source, Tensor kp_driving, Tensor affine,
         double mask_threshold, bool, int threads) {
        fv2v::compose_flow_backward_cpu(
            grad_logits, grad_source, grad_driving, grad_affine, grad_flow, grad_mask,
            {mask_logits, kp_source, kp_driving, affine, mask_threshold}, threads);
      },
      unlocked);
  m.def(
      "warp3d",
      [](Tensor out, Tensor features, Tensor grid, bool align_corners, bool, int threads) {
        fv2v::warp3d_cpu(out, {features, grid, align_corners}, threads);
      },
      unlocked);
  m.def(
      "warp3d_backward",
      [](Tensor grad_features, Tensor grad_grid, Tensor grad_out, Tensor features, Tensor grid,
         bool align_corners, bool, int threads) {
        fv2v::warp3d_backward_cpu(grad_features, grad_grid, grad_out, {features, grid, align_corners},
                                  threads);
      },
      unlocked);
  const auto compose_warp = [](Tensor warped, Tensor flow, Tensor mask, Tensor features, Tensor mask_logits,
                               Tensor kp_source, Tensor kp_driving, Tensor affine, bool align_corners,
                               double mask_threshold, bool, bool, bool, int threads) {
    fv2v::compose_warp_cpu(
        warped, flow, mask,
        {features, {mask_logits, kp_source, kp_driving, affine, mask_threshold}, align_corners}, threads);
  };
  m.def("compose_warp", compose_warp, unlocked);
  m.def("mask_head", compose_warp, unlocked);  // whose logits come as taps
  m.def(
      "soft_argmax3d",
      [](Tensor keypoints, Tensor jacobians, Tensor logits, Tensor jacobian_maps, double temperature,
         int threads) {
        fv2v::soft_argmax3d_cpu(keypoints, jacobians, {logits, jacobian_maps, temperature}, threads);
      },
      unlocked);
  m.def(
      "soft_argmax3d_backward",
      [](Tensor grad_logits, Tensor grad_maps, Tensor grad_keypoints, Tensor grad_jacobians, Tensor logits,
         Tensor jacobian_maps, double temperature, int threads) {
        fv2v::soft_argmax3d_backward_cpu(grad_logits, grad_maps, grad_keypoints, grad_jacobians,
                                         {logits, jacobian_maps, temperature}, threads);
      },
      unlocked);
  m.def(
      "modulate",
      [](Tensor out, Tensor x, Tensor gamma, Tensor beta, double eps, double negative_slope,
         bool channels_last, int threads) {
        fv2v::modulate_cpu(out, {x, gamma, beta, eps, negative_slope, channels_last}, threads);
      },
      unlocked);
  m.def(
      "modulate_backward",
      [](Tensor grad_x, Tensor grad_gamma, Tensor grad_beta, Tensor grad_out, Tensor x, Tensor gamma,
         Tensor beta, double eps, double negative_slope, bool channels_last, int threads) {
        fv2v::modulate_backward_cpu(grad_x, grad_gamma, grad_beta, grad_out,
                                    {x, gamma, beta, eps, negative_slope, channels_last}, threads);
      },
      unlocked);
  m.def(
      "winograd_conv",
      [](Tensor out, Tensor x, Tensor weight, Tensor bias, Tensor addend, bool doubling, bool pooling,
         double negative_slope, int threads) {
        fv2v::winograd_conv_cpu(out, {x, weight, bias, addend, doubling, pooling, negative_slope}, threads);
      },
      unlocked);
}
