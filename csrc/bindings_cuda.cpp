// SPDX-License-Identifier: Apache-2.0
// fv2v_kernels._cuda: outputs first, then the operator's inputs as its schema orders them, then the workspace
// of operators that have one, device and stream.
#include <cuda_runtime.h>
#include <pybind11/stl.h>

#include "bindings.h"
#include "compose_flow/compose_flow.h"
#include "compose_warp/compose_warp.h"
#include "keypoint_flow/keypoint_flow.h"
#include "modulate/modulate.h"
#include "soft_argmax3d/soft_argmax3d.h"
#include "warp3d/warp3d.h"
#include "warp_candidates/warp_candidates.h"

namespace py = pybind11;
using fv2v::Tensor;
using Sizes = std::vector<int64_t>;

PYBIND11_MODULE(_cuda, m) {
  m.attr("cuda_version") = FV2V_CUDA_VERSION;
  m.attr("archs") = FV2V_CUDA_ARCHS;
  // 0 without a GPU, and where the driver is older than the toolkit that built this
  m.def("device_count", [] {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
  });

  m.def("keypoint_flow", [](Tensor out, Tensor kp_source, Tensor kp_driving, Tensor affine, Sizes, int device,
                            uintptr_t stream) {
    fv2v::keypoint_flow_cuda(out, {kp_source, kp_driving, affine}, device, reinterpret_cast<void*>(stream));
  });
  m.def("keypoint_flow_backward_workspace", [](Tensor, Tensor, Tensor, Tensor grad_out, Tensor kp_source,
                                               Tensor kp_driving, Tensor affine, Sizes) {
    return fv2v::keypoint_flow_backward_workspace(grad_out, {kp_source, kp_driving, affine});
  });
  m.def("keypoint_flow_backward",
        [](Tensor grad_source, Tensor grad_driving, Tensor grad_affine, Tensor grad_out, Tensor kp_source,
           Tensor kp_driving, Tensor affine, Sizes, Tensor workspace, int device, uintptr_t stream) {
          fv2v::keypoint_flow_backward_cuda(grad_source, grad_driving, grad_affine, grad_out,
                                            {kp_source, kp_driving, affine}, workspace, device,
                                            reinterpret_cast<void*>(stream));
        });

  m.def("warp_candidates", [](Tensor out, Tensor features, Tensor kp_source, Tensor kp_driving, Tensor affine,
                              bool align_corners, double variance, bool, int device, uintptr_t stream) {
    fv2v::warp_candidates_cuda(out, {features, kp_source, kp_driving, affine, align_corners, variance},
                               device, reinterpret_cast<void*>(stream));
  });
  m.def("warp_candidates_backward_workspace",
        [](Tensor, Tensor, Tensor, Tensor, Tensor, Tensor features, Tensor kp_source, Tensor kp_driving,
           Tensor affine, bool align_corners, double variance, bool) {
          return fv2v::warp_candidates_backward_workspace(
              {features, kp_source, kp_driving, affine, align_corners, variance});
        });
  m.def("warp_candidates_backward", [](Tensor grad_features, Tensor grad_source, Tensor grad_driving,
                                       Tensor grad_affine, Tensor grad_out, Tensor features, Tensor kp_source,
                                       Tensor kp_driving, Tensor affine, bool align_corners, double variance,
                                       bool, Tensor workspace, int device, uintptr_t stream) {
    fv2v::warp_candidates_backward_cuda(grad_features, grad_source, grad_driving, grad_affine, grad_out,
                                        {features, kp_source, kp_driving, affine, align_corners, variance},
                                        workspace, device, reinterpret_cast<void*>(stream));
  });

  m.def("compose_flow", [](Tensor flow, Tensor mask, Tensor mask_logits, Tensor kp_source, Tensor kp_driving,
                           Tensor affine, double mask_threshold, bool, int device, uintptr_t stream) {
    fv2v::compose_flow_cuda(flow, mask, {mask_logits, kp_source, kp_driving, affine, mask_threshold}, device,
                            reinterpret_cast<void*>(stream));
  });
  m.def("compose_flow_backward_workspace",
        [](Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor mask_logits, Tensor kp_source,
           Tensor kp_driving, Tensor affine, double mask_threshold, bool) {
          return fv2v::compose_flow_backward_workspace(
              {mask_logits, kp_source, kp_driving, affine, mask_threshold});
        });
  m.def("compose_flow_backward",
        [](Tensor grad_logits, Tensor grad_source, Tensor grad_driving, Tensor grad_affine, Tensor grad_flow,
           Tensor grad_mask, Tensor mask_logits, Tensor kp_source, Tensor kp_driving, Tensor affine,
           double mask_threshold, bool, Tensor workspace, int device, uintptr_t stream) {
          fv2v::compose_flow_backward_cuda(grad_logits, grad_source, grad_driving, grad_affine, grad_flow,
                                           grad_mask,
                                           {mask_logits, kp_source, kp_driving, affine, mask_threshold},
                                           workspace, device, reinterpret_cast<void*>(stream));
        });
  const auto compose_warp = [](Tensor warped, Tensor flow, Tensor mask, Tensor features, Tensor mask_logits,
                               Tensor kp_source, Tensor kp_driving, Tensor affine, bool align_corners,
                               double mask_threshold, bool, bool, bool, int device, uintptr_t stream) {
    fv2v::compose_warp_cuda(
        warped, flow, mask,
        {features, {mask_logits, kp_source, kp_driving, affine, mask_threshold}, align_corners}, device,
        reinterpret_cast<void*>(stream));
  };
  m.def("compose_warp", compose_warp);
  m.def("mask_head", compose_warp);  // whose logits come as taps

  m.def("soft_argmax3d_workspace", [](Tensor, Tensor, Tensor logits, Tensor maps, double temperature) {
    return fv2v::soft_argmax3d_workspace({logits, maps, temperature});
  });
  m.def("soft_argmax3d", [](Tensor keypoints, Tensor jacobians, Tensor logits, Tensor maps,
                            double temperature, Tensor workspace, int device, uintptr_t stream) {
    fv2v::soft_argmax3d_cuda(keypoints, jacobians, {logits, maps, temperature}, workspace, device,
                             reinterpret_cast<void*>(stream));
  });
  m.def("soft_argmax3d_backward_workspace",
        [](Tensor, Tensor, Tensor, Tensor, Tensor logits, Tensor maps, double temperature) {
          return fv2v::soft_argmax3d_workspace({logits, maps, temperature});
        });
  m.def("soft_argmax3d_backward",
        [](Tensor grad_logits, Tensor grad_maps, Tensor grad_keypoints, Tensor grad_jacobians, Tensor logits,
           Tensor maps, double temperature, Tensor workspace, int device, uintptr_t stream) {
          fv2v::soft_argmax3d_backward_cuda(grad_logits, grad_maps, grad_keypoints, grad_jacobians,
                                            {logits, maps, temperature}, workspace, device,
                                            reinterpret_cast<void*>(stream));
        });

  m.def("modulate_workspace", [](Tensor, Tensor x, Tensor gamma, Tensor beta, double eps,
                                 double negative_slope, bool channels_last) {
    return fv2v::modulate_workspace({x, gamma, beta, eps, negative_slope, channels_last});
  });
  m.def("modulate", [](Tensor out, Tensor x, Tensor gamma, Tensor beta, double eps, double negative_slope,
                       bool channels_last, Tensor workspace, int device, uintptr_t stream) {
    fv2v::modulate_cuda(out, {x, gamma, beta, eps, negative_slope, channels_last}, workspace, device,
                        reinterpret_cast<void*>(stream));
  });
  m.def("modulate_backward_workspace", [](Tensor, Tensor, Tensor, Tensor, Tensor x, Tensor gamma, Tensor beta,
                                          double eps, double negative_slope, bool channels_last) {
    return fv2v::modulate_workspace({x, gamma, beta, eps, negative_slope, channels_last});
  });
  m.def("modulate_backward", [](Tensor grad_x, Tensor grad_gamma, Tensor grad_beta, Tensor grad_out, Tensor x,
                                Tensor gamma, Tensor beta, double eps, double negative_slope,
                                bool channels_last, Tensor workspace, int device, uintptr_t stream) {
    fv2v::modulate_backward_cuda(grad_x, grad_gamma, grad_beta, grad_out,
                                 {x, gamma, beta, eps, negative_slope, channels_last}, workspace, device,
                                 reinterpret_cast<void*>(stream));
  });

  m.def("warp3d",
        [](Tensor out, Tensor features, Tensor grid, bool align_corners, bool, int device, uintptr_t stream) {
          fv2v::warp3d_cuda(out, {features, grid, align_corners}, device, reinterpret_cast<void*>(stream));
        });
  m.def("warp3d_backward", [](Tensor grad_features, Tensor grad_grid, Tensor grad_out, Tensor features,
                              Tensor grid, bool align_corners, bool, int device, uintptr_t stream) {
    fv2v::warp3d_backward_cuda(grad_features, grad_grid, grad_out, {features, grid, align_corners}, device,
                               reinterpret_cast<void*>(stream));
  });
}
