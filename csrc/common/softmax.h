// SPDX-License-Identifier: Apache-2.0
// The mask over K+1 flows: a softmax, a threshold, and their gradient, one voxel or a block of them at a
// time.
//   m_k = exp(l_k) / sum_j exp(l_j), then 0 below the threshold
//   d loss / d l_k = m_k (u_k - sum_j m_j u_j),  u_k = d loss / d m_k, 0 below the threshold
#pragma once
#include "common/exp.h"

namespace fv2v {

// `values`: (slots, pitch), logits in, masks out, for the first `count` voxels, at most kMost. On the CPU the
// compiler computes many voxels at once; a GPU's thread passes one, kMost = 1.
template <int kMost, typename acc_t>
FV2V_HOST_DEVICE void softmax(acc_t* values, int64_t slots, int pitch, int count) {
  alignas(kMost > 1 ? 64 : 8) acc_t peak[kMost], total[kMost];
  for (int i = 0; i < count; ++i) peak[i] = values[i];
  for (int64_t k = 1; k < slots; ++k)
    for (int i = 0; i < count; ++i)
      peak[i] = values[k * pitch + i] > peak[i] ? values[k * pitch + i] : peak[i];
  for (int i = 0; i < count; ++i) total[i] = 0;
  for (int64_t k = 0; k < slots; ++k)
    for (int i = 0; i < count; ++i) {
      values[k * pitch + i] = exp_nonpositive(values[k * pitch + i] - peak[i]);
      total[i] += values[k * pitch + i];
    }
  for (int i = 0; i < count; ++i) total[i] = 1 / total[i];
  for (int64_t k = 0; k < slots; ++k)
    for (int i = 0; i < count; ++i) values[k * pitch + i] *= total[i];
}

template <typename acc_t>
FV2V_HOST_DEVICE acc_t kept(acc_t mask, acc_t threshold) {
  return mask < threshold ? acc_t(0) : mask;
}

// `dot`: sum_j m_j u_j
template <typename acc_t>
FV2V_HOST_DEVICE acc_t logit_gradient(acc_t mask, acc_t upstream, acc_t dot) {
  return mask * (upstream - dot);
}

}  // namespace fv2v
