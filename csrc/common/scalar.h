// SPDX-License-Identifier: Apache-2.0
// Storage types, and the type that coordinates and sums are kept in: float, or double for double.
#pragma once
#include <cstdint>
#include <cstring>

#include "common/host_device.h"
#include "common/tensor.h"
#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace fv2v {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

template <typename scalar_t>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};
template <typename scalar_t>
using acc_of = typename Accumulate<scalar_t>::type;

FV2V_HOST_DEVICE float float_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
FV2V_HOST_DEVICE uint32_t bits_from_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

FV2V_HOST_DEVICE float widen(float value) { return value; }
FV2V_HOST_DEVICE double widen(double value) { return value; }
FV2V_HOST_DEVICE float widen(BFloat16 value) { return float_from_bits(uint32_t(value.bits) << 16); }
FV2V_HOST_DEVICE float widen(Half value) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(value.bits));
#else
  // The exponent moves by 127 - 15; the product also normalises subnormals. Infinity and NaN keep a full
  // exponent.
  const uint32_t magnitude = uint32_t(value.bits & 0x7fff) << 13;
  const float finite = float_from_bits(magnitude) * 0x1p112f;
  const float widened = magnitude < 0x0f800000u ? finite : float_from_bits(magnitude | 0x7f800000u);
  return float_from_bits(bits_from_float(widened) | uint32_t(value.bits & 0x8000) << 16);
#endif
}

// Round to nearest, ties to even.
template <typename scalar_t>
FV2V_HOST_DEVICE scalar_t narrow(acc_of<scalar_t> value) {
  return value;
}
template <>
FV2V_HOST_DEVICE BFloat16 narrow<BFloat16>(float value) {
  const uint32_t bits = bits_from_float(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return {uint16_t(value != value ? 0x7fc0u : rounded)};
}
template <>
FV2V_HOST_DEVICE Half narrow<Half>(float value) {
#if defined(__CUDA_ARCH__)
  return {__half_as_ushort(__float2half_rn(value))};
#else
  const uint32_t sign = bits_from_float(value) >> 16 & 0x8000u;
  const uint32_t magnitude = bits_from_float(value) & 0x7fffffffu;
  // one ulp of 0.5f is the smallest subnormal half: the addition rounds to it
  const uint32_t subnormal = bits_from_float(float_from_bits(magnitude) + 0.5f) - bits_from_float(0.5f);
  const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
  half = magnitude >= 0x477ff000u ? 0x7c00u : half;  // 65520 and up round to infinity
  half = magnitude > 0x7f800000u ? 0x7e00u : half;   // NaN
  return {uint16_t(sign | half)};
#endif
}

// Calls body(scalar_t{}) with the type that `dtype` names.
template <typename Body>
void for_dtype(DType dtype, Body body) {
  switch (dtype) {
    case DType::float32:
      return body(float{});
    case DType::float64:
      return body(double{});
    case DType::float16:
      return body(Half{});
    case DType::bfloat16:
      return body(BFloat16{});
  }
}

// The same for coordinates.
template <typename Body>
void for_coordinates(DType dtype, Body body) {
  if (dtype == DType::float64)
    body(double{});
  else
    body(float{});
}

}  // namespace fv2v
