// SPDX-License-Identifier: Apache-2.0
// exp for softmax: written out, so that the CPU's compiler computes many at once.
#pragma once
#include <cmath>
#include <cstdint>

#include "common/scalar.h"

namespace fv2v {

// e^x for x <= 0, to 2 ulp; NaN stays NaN, and what float cannot hold becomes 0.
FV2V_HOST_DEVICE float exp_nonpositive(float x) {
#if defined(__CUDA_ARCH__)
  return expf(x);
#else
  // At -88 the power is -127, whose bits below are those of 0. No branch depends on x: it would keep the
  // compiler from computing many at once.
  const float clamped = x < -88.0f ? -88.0f : x;
  const float power =
      float(int32_t(clamped * 1.44269504f - 0.5f));  // rounds to nearest: the argument is <= 0
  // r in [-ln2 / 2, ln2 / 2]; ln2 in two parts, so that power * ln2 is exact to rounding
  const float r = (clamped - power * 0.693359375f) + power * 2.12194440e-4f;
  float series = 1.0f / 5040;
  series = series * r + 1.0f / 720;
  series = series * r + 1.0f / 120;
  series = series * r + 1.0f / 24;
  series = series * r + 1.0f / 6;
  series = series * r + 0.5f;
  series = series * r + 1.0f;
  series = series * r + 1.0f;
  return series * float_from_bits(uint32_t(int32_t(power) + 127) << 23);
#endif
}
FV2V_HOST_DEVICE double exp_nonpositive(double x) { return exp(x); }

}  // namespace fv2v
