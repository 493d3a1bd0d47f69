// SPDX-License-Identifier: Apache-2.0
// A Python tuple (pointer, dtype, shape, strides), or None, as an fv2v::Tensor.
#pragma once
#include <pybind11/pybind11.h>

#include "common/tensor.h"

namespace pybind11::detail {

template <>
struct type_caster<fv2v::Tensor> {
  PYBIND11_TYPE_CASTER(fv2v::Tensor, const_name("tuple"));

  bool load(handle source, bool) {
    value = fv2v::Tensor();
    if (source.is_none()) return true;
    if (!isinstance<tuple>(source)) return false;
    const auto described = reinterpret_borrow<tuple>(source);
    const auto shape = described[2].cast<tuple>(), strides = described[3].cast<tuple>();
    if (shape.size() > fv2v::Tensor::kMaxDims) return false;
    value.data = reinterpret_cast<void*>(described[0].cast<uintptr_t>());
    value.dtype = static_cast<fv2v::DType>(described[1].cast<int>());
    value.dims = int(shape.size());
    for (int i = 0; i < value.dims; ++i) {
      value.size[i] = shape[i].cast<int64_t>();
      value.stride[i] = strides[i].cast<int64_t>();
    }
    return true;
  }
};

}  // namespace pybind11::detail
