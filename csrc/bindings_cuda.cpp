// fv2v_kernels._cuda: outputs first, then the operator's inputs as its schema orders them, then device and
// stream.
#include <cuda_runtime.h>

#include "bindings.h"
#include "warp3d/warp3d.h"

namespace py = pybind11;
using fv2v::Tensor;

PYBIND11_MODULE(_cuda, m) {
  m.attr("cuda_version") = FV2V_CUDA_VERSION;
  m.attr("archs") = FV2V_CUDA_ARCHS;
  // 0 without a GPU, and where the driver is older than the toolkit that built this
  m.def("device_count", [] {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
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
