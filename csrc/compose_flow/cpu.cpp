// SPDX-License-Identifier: Apache-2.0
// compose_flow on the CPU: a block of voxels of one row at a time, its K+1 masks in the L1 cache.
#include "common/softmax.h"
#include "compose_flow/blend.h"
#include "cpu/parallel.h"

namespace fv2v {
namespace {

template <typename acc_t>
FV2V_CLONES void softmax_block(acc_t* mask, int64_t slots, int count) {
  softmax<kBlockSize>(mask, slots, kBlockSize, count);
}

template <typename acc_t>
FV2V_CLONES void add_block(const acc_t* from, int64_t slots, int count, acc_t* to) {
  for (int64_t k = 0; k < slots; ++k)
    for (int i = 0; i < count; ++i) to[k * kBlockSize + i] += from[k * kBlockSize + i];
}

// The block's logits, from taps that each lie a little to the side, and end where their row does.
template <typename acc_t>
void sum_taps(const Blend<acc_t>& job, const RowBlock& block, acc_t* logits) {
  acc_t* const tap = logits + job.slots * kBlockSize;
  std::fill(logits, tap, acc_t(0));
  const int taps = int(job.taps.size());
  for (int t = 0; t < taps; ++t) {
    const int32_t shift = t - taps / 2, end = std::min(job.size.width, block.x + block.count + shift);
    const int32_t begin = std::max(0, block.x + shift);
    if (begin >= end) continue;
    job.taps[t].load({block.b, block.first + begin - block.x, end - begin}, 0, tap, job.slots);
    add_block(tap, job.slots, end - begin, logits + begin - shift - block.x);
  }
}

template <typename acc_t>
FV2V_CLONES void blend_block(const Blend<acc_t>& job, const RowBlock& block, acc_t* mask,
                             acc_t (*blended)[kBlockSize]) {
  for (int axis = 0; axis < 3; ++axis)
    for (int i = 0; i < block.count; ++i) blended[axis][i] = 0;
  for (int64_t k = 0; k < job.slots; ++k) {
    const KeypointFlow<acc_t> one = job.flows.at(block.b, k);
    const acc_t *x = job.lattice.x.data() + block.x, y = job.lattice.y[block.y], z = job.lattice.z[block.z];
    acc_t* const m = mask + k * kBlockSize;
#pragma GCC ivdep
    for (int i = 0; i < block.count; ++i) {
      acc_t w[3];
      one(x[i], y, z, w);
      m[i] = kept(m[i], job.threshold);
      for (int axis = 0; axis < 3; ++axis) blended[axis][i] += m[i] * w[axis];
    }
  }
}

template <typename acc_t>
FV2V_CLONES void backward_block(const Blend<acc_t>& job, const RowBlock& block, const acc_t* masks,
                                const acc_t (*g)[kBlockSize], acc_t* upstreams, FlowSums* sums) {
  const int count = block.count;
  const acc_t *x = job.lattice.x.data() + block.x, y = job.lattice.y[block.y], z = job.lattice.z[block.z];
  const acc_t* const g_rows[3] = {g[0], g[1], g[2]};
  alignas(64) acc_t dot[kBlockSize], weight[kBlockSize];
  for (int i = 0; i < count; ++i) dot[i] = 0;
  for (int64_t k = 0; k < job.slots; ++k) {
    const KeypointFlow<acc_t> one = job.flows.at(block.b, k);
    acc_t* const upstream = upstreams + k * kBlockSize;
    const acc_t* const mask = masks + k * kBlockSize;
#pragma GCC ivdep
    for (int i = 0; i < count; ++i) {
      acc_t w[3];
      one(x[i], y, z, w);
      weight[i] = kept(mask[i], job.threshold);
      const acc_t gain = upstream[i] + g[0][i] * w[0] + g[1][i] * w[1] + g[2][i] * w[2];
      upstream[i] = mask[i] < job.threshold ? acc_t(0) : gain;
      dot[i] += mask[i] * upstream[i];
    }
    sums[block.b * job.slots + k].add_row(one, x, y, z, count, g_rows, weight);
  }
  for (int64_t k = 0; k < job.slots; ++k) {
    acc_t* const upstream = upstreams + k * kBlockSize;
    const acc_t* const mask = masks + k * kBlockSize;
#pragma GCC ivdep
    for (int i = 0; i < count; ++i) upstream[i] = logit_gradient(mask[i], upstream[i], dot[i]);
  }
}

template <typename acc_t>
void backward_rows(const Blend<acc_t>& job, int64_t begin, int64_t end, const BlockReader<acc_t>& grad_flow,
                   const BlockReader<acc_t>* grad_mask, const BlockWriter<acc_t>& grad_logits,
                   FlowSums* sums) {
  std::vector<acc_t> masks(job.room()), upstreams(job.slots * kBlockSize);  // m_k, d loss / d m_k
  alignas(64) acc_t g[3][kBlockSize];
  for_row_blocks(job.size, begin, end, [&](const RowBlock& block) {
    job.load_mask(block, masks.data());
    grad_flow.load(block, 0, g[0], 3);
    if (grad_mask)
      grad_mask->load(block, 0, upstreams.data(), job.slots);
    else
      std::fill(upstreams.begin(), upstreams.end(), acc_t(0));
    backward_block(job, block, masks.data(), g, upstreams.data(), sums);
    if (grad_logits) grad_logits.store(block, 0, upstreams.data(), job.slots);
  });
}

}  // namespace

template <typename acc_t>
void Blend<acc_t>::load_mask(const RowBlock& block, acc_t* mask) const {
  if (taps.size() == 1)
    taps[0].load(block, 0, mask, slots);
  else
    sum_taps(*this, block, mask);
  softmax_block(mask, slots, block.count);
}

template <typename acc_t>
void Blend<acc_t>::run(const RowBlock& block, acc_t* mask, acc_t (*blended)[kBlockSize],
                       const BlockWriter<acc_t>& flow_out, const BlockWriter<acc_t>& mask_out) const {
  load_mask(block, mask);
  blend_block(*this, block, mask, blended);
  if (flow_out) flow_out.store(block, 0, blended[0], 3);
  if (mask_out) mask_out.store(block, 0, mask, slots);
}

template struct Blend<float>;
template struct Blend<double>;

void compose_flow_cpu(const Tensor& flow, const Tensor& mask, const ComposeFlow& op, int threads) {
  if (flow.numel() == 0) return;
  threads = useful_threads(threads, op.mask_logits.numel());
  for_coordinates(op.mask_logits.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    const Blend<acc_t> job(op);
    const BlockWriter<acc_t> flow_out(flow, 4), mask_out(mask, 1);
    parallel_for(job.rows, threads, [&](int64_t begin, int64_t end) {
      std::vector<acc_t> masks(job.room());
      alignas(64) acc_t blended[3][kBlockSize];
      for_row_blocks(job.size, begin, end, [&](const RowBlock& block) {
        job.run(block, masks.data(), blended, flow_out, mask_out);
      });
    });
  });
}

void compose_flow_backward_cpu(const Tensor& grad_logits, const Tensor& grad_source,
                               const Tensor& grad_driving, const Tensor& grad_affine, const Tensor& grad_flow,
                               const Tensor& grad_mask, const ComposeFlow& op, int threads) {
  threads = useful_threads(threads, op.mask_logits.numel());
  for_coordinates(op.mask_logits.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    const Blend<acc_t> job(op);
    const bool masked = grad_mask.numel() > 0;
    const BlockReader<acc_t> upstream(grad_flow, 4), mask_upstream(masked ? grad_mask : op.mask_logits, 1);
    const BlockWriter<acc_t> result(grad_logits, 1);
    const int64_t batch = op.mask_logits.size[0], parts = std::min<int64_t>(job.rows, threads);
    std::vector<FlowSums> sums(std::max<int64_t>(1, parts) * batch * job.slots);
    parallel_parts(job.rows, parts, threads, [&](int64_t begin, int64_t end, int64_t part) {
      backward_rows(job, begin, end, upstream, masked ? &mask_upstream : nullptr, result,
                    sums.data() + part * batch * job.slots);
    });
    write_flow_gradients(job.flows, sums, batch, grad_source, grad_driving, grad_affine);
  });
}

}  // namespace fv2v
