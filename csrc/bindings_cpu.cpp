// fv2v_kernels._cpu: outputs first, then the operator's inputs as its schema orders them, then the thread count.
#include "bindings.h"
#include "warp3d/warp3d.h"

namespace py = pybind11;
using fv2v::Tensor;

PYBIND11_MODULE(_cpu, m) {
  const py::call_guard<py::gil_scoped_release> unlocked;

  m.def(
      "warp3d",
      [](Tensor out, Tensor features, Tensor grid, bool align_corners, int threads) {
        fv2v::warp3d_cpu(out, {features, grid, align_corners}, threads);
      },
      unlocked);
  m.def(
      "warp3d_backward",
      [](Tensor grad_features, Tensor grad_grid, Tensor grad_out, Tensor features, Tensor grid,
         bool align_corners, bool, bool, int threads) {
        fv2v::warp3d_backward_cpu(grad_features, grad_grid, grad_out, {features, grid, align_corners}, threads);
      },
      unlocked);
}
