// compose_flow on the CPU: a block of voxels of one row at a time, its K+1 masks in the L1 cache.
#include "compose_flow/compose_flow.h"

#include "common/flow_gradients.h"
#include "common/parallel.h"
#include "common/softmax.h"
#include "common/volume.h"

namespace fv2v {
namespace {

template <typename scalar_t>
struct Job {
  using acc_t = acc_of<scalar_t>;
  Volume<scalar_t> logits;
  KeypointFlows<acc_t> flows;
  Lattice<acc_t> lattice;
  acc_t threshold;
  int64_t slots, rows, voxels;

  explicit Job(const ComposeFlow& op)
      : logits(op.mask_logits, 1),
        flows(keypoint_flows<acc_t>(op.kp_source, op.kp_driving, op.affine)),
        lattice(logits.size),
        threshold(acc_t(op.mask_threshold)),
        slots(flows.keypoints + 1),
        rows(int64_t(logits.size.depth) * logits.size.height),
        voxels(logits.size.voxels()) {}
};

// Up to kBlock voxels of one row.
struct Block {
  int64_t b, first;  // voxel
  int32_t x, y, z;   // of the first
  int count;
};

// body(block) for every block of rows begin ... end - 1, counted through (B, D, H)
template <typename scalar_t, typename Body>
FV2V_HOST_DEVICE void for_blocks(const Job<scalar_t>& job, int64_t begin, int64_t end, Body body) {
  const Size3 size = job.logits.size;
  for (int64_t row = begin; row < end; ++row)
    for (int32_t x = 0; x < size.width; x += kBlock) {
      const int64_t in_sample = row % job.rows;
      body(Block{row / job.rows, in_sample * size.width + x, x, int32_t(in_sample % size.height),
                 int32_t(in_sample / size.height), std::min(kBlock, size.width - x)});
    }
}

// mask (slots, kBlock): the softmax of the block's logits, before any threshold
template <typename scalar_t, typename acc_t>
FV2V_HOST_DEVICE void load_mask(const Job<scalar_t>& job, const Block& block, acc_t* mask) {
  for (int64_t k = 0; k < job.slots; ++k)
    job.logits.load(block.b, k, block.first, block.count, mask + k * kBlock, 1);
  softmax<kBlock>(mask, job.slots, kBlock, block.count);
}

template <typename scalar_t>
FV2V_CLONES void forward_rows(const Job<scalar_t>& job, int64_t begin, int64_t end, acc_of<scalar_t>* flow,
                              scalar_t* mask_out) {
  using acc_t = acc_of<scalar_t>;
  std::vector<acc_t> mask(job.slots * kBlock);
  alignas(64) acc_t blended[3][kBlock];
  for_blocks(job, begin, end, [&](const Block& block) FV2V_LAMBDA {
    load_mask(job, block, mask.data());
    for (int axis = 0; axis < 3; ++axis)
      for (int i = 0; i < block.count; ++i) blended[axis][i] = 0;
    for (int64_t k = 0; k < job.slots; ++k) {
      const KeypointFlow<acc_t> one = job.flows.at(block.b, k);
      const acc_t *m = mask.data() + k * kBlock, *x = job.lattice.x.data() + block.x;
      const acc_t y = job.lattice.y[block.y], z = job.lattice.z[block.z];
      for (int i = 0; i < block.count; ++i) {
        acc_t w[3];
        one(x[i], y, z, w);
        const acc_t weight = kept(m[i], job.threshold);
        for (int axis = 0; axis < 3; ++axis) blended[axis][i] += weight * w[axis];
      }
      if (mask_out) {
        scalar_t* to = mask_out + (block.b * job.slots + k) * job.voxels + block.first;
        for (int i = 0; i < block.count; ++i) to[i] = narrow<scalar_t>(kept(m[i], job.threshold));
      }
    }
    acc_t* to = flow + (block.b * job.voxels + block.first) * 3;
    for (int i = 0; i < block.count; ++i)
      for (int axis = 0; axis < 3; ++axis) to[3 * i + axis] = blended[axis][i];
  });
}

template <typename scalar_t>
FV2V_CLONES void backward_rows(const Job<scalar_t>& job, int64_t begin, int64_t end,
                               const Volume<acc_of<scalar_t>>& grad_flow, const Volume<scalar_t>* grad_mask,
                               scalar_t* grad_logits, FlowSums* sums) {
  using acc_t = acc_of<scalar_t>;
  std::vector<acc_t> masks(job.slots * kBlock), upstreams(job.slots * kBlock);  // m_k, d loss / d m_k
  alignas(64) acc_t g[3][kBlock], dot[kBlock], weight[kBlock];
  const acc_t* const g_rows[3] = {g[0], g[1], g[2]};
  for_blocks(job, begin, end, [&](const Block& block) FV2V_LAMBDA {
    const int count = block.count;
    const acc_t* x = job.lattice.x.data() + block.x;
    const acc_t y = job.lattice.y[block.y], z = job.lattice.z[block.z];
    load_mask(job, block, masks.data());
    for (int axis = 0; axis < 3; ++axis) grad_flow.load(block.b, axis, block.first, count, g[axis], 1);
    for (int i = 0; i < count; ++i) dot[i] = 0;
    for (int64_t k = 0; k < job.slots; ++k) {
      const KeypointFlow<acc_t> one = job.flows.at(block.b, k);
      acc_t *upstream = upstreams.data() + k * kBlock, *mask = masks.data() + k * kBlock;
      if (grad_mask) {
        grad_mask->load(block.b, k, block.first, count, upstream, 1);
      } else {
        for (int i = 0; i < count; ++i) upstream[i] = 0;
      }
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
    for (int64_t k = 0; k < job.slots && grad_logits; ++k) {
      scalar_t* to = grad_logits + (block.b * job.slots + k) * job.voxels + block.first;
      const acc_t *upstream = upstreams.data() + k * kBlock, *mask = masks.data() + k * kBlock;
      for (int i = 0; i < count; ++i) to[i] = narrow<scalar_t>(logit_gradient(mask[i], upstream[i], dot[i]));
    }
  });
}

}  // namespace

void compose_flow_cpu(const Tensor& flow, const Tensor& mask, const ComposeFlow& op, int threads) {
  if (flow.numel() == 0) return;
  threads = useful_threads(threads, op.mask_logits.numel());
  for_dtype(op.mask_logits.dtype, [&](auto scalar) {
    using scalar_t = decltype(scalar);
    const Job<scalar_t> job(op);
    scalar_t* const mask_out = mask.numel() ? mask.as<scalar_t>() : nullptr;
    parallel_for(job.logits.batch * job.rows, threads, [&](int64_t begin, int64_t end) {
      forward_rows<scalar_t>(job, begin, end, flow.as<acc_of<scalar_t>>(), mask_out);
    });
  });
}

void compose_flow_backward_cpu(const Tensor& grad_logits, const Tensor& grad_source,
                               const Tensor& grad_driving, const Tensor& grad_affine, const Tensor& grad_flow,
                               const Tensor& grad_mask, const ComposeFlow& op, int threads) {
  threads = useful_threads(threads, op.mask_logits.numel());
  for_dtype(op.mask_logits.dtype, [&](auto scalar) {
    using scalar_t = decltype(scalar);
    using acc_t = acc_of<scalar_t>;
    const Job<scalar_t> job(op);
    const Volume<acc_t> upstream(grad_flow, 4);
    const bool masked = grad_mask.numel() > 0;
    const Volume<scalar_t> mask_upstream(masked ? grad_mask : op.mask_logits, 1);
    const int64_t batch = op.mask_logits.size[0], rows = batch * job.rows;
    const int64_t parts = std::min<int64_t>(rows, threads);
    std::vector<FlowSums> sums(std::max<int64_t>(1, parts) * batch * job.slots);
    parallel_parts(rows, parts, threads, [&](int64_t begin, int64_t end, int64_t part) {
      backward_rows<scalar_t>(job, begin, end, upstream, masked ? &mask_upstream : nullptr,
                              grad_logits.numel() ? grad_logits.as<scalar_t>() : nullptr,
                              sums.data() + part * batch * job.slots);
    });
    write_flow_gradients(job.flows, sums, batch, grad_source, grad_driving, grad_affine);
  });
}

}  // namespace fv2v
