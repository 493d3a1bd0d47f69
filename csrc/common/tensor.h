// SPDX-License-Identifier: Apache-2.0
// What Python passes for a tensor: memory, dtype, sizes and strides. Torch appears nowhere below Python.
#pragma once
#include <cstdint>
#include <cstring>

#include "common/host_device.h"

namespace fv2v {

enum class DType : int { float32, float64, float16, bfloat16 };  // as fv2v_kernels/_native.py numbers them

struct Tensor {
  static constexpr int kMaxDims = 6;
  void* data = nullptr;  // nullptr: an optional tensor that is absent
  DType dtype = DType::float32;
  int dims = 0;
  int64_t size[kMaxDims] = {};
  int64_t stride[kMaxDims] = {};  // in elements

  template <typename T>
  FV2V_HOST_DEVICE T* as() const {
    return static_cast<T*>(data);
  }
  int64_t numel() const {
    int64_t product = 1;
    for (int i = 0; i < dims; ++i) product *= size[i];
    return product;
  }
};

inline int64_t bytes_of(DType dtype) { return dtype == DType::float64 ? 8 : dtype == DType::float32 ? 4 : 2; }

inline void fill_zero(const Tensor& tensor) {
  if (tensor.data) std::memset(tensor.data, 0, tensor.numel() * bytes_of(tensor.dtype));
}

}  // namespace fv2v
