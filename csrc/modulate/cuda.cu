// SPDX-License-Identifier: Apache-2.0
// modulate on the GPU: a block takes a share of the pixels of one plane, or of as many planes as lie side by
// side in 64 bytes where channels are innermost; thus few planes fill a GPU, too. One kernel finds mean and
// variance of each share, the next puts them together, in a fixed order, and writes the result of its share.
// The backward sums up what comes back to the planes between the two.
#include "modulate/planes.h"

namespace fv2v {
namespace {

template <typename scalar_t, bool last>
__global__ void __launch_bounds__(kThreads, kMinBlocks) moments_kernel(const Job<scalar_t, last> job) {
  using tile = Tile<scalar_t, last>;
  using acc_t = acc_of<scalar_t>;
  for (int64_t row = blockIdx.y; row < job.rows; row += gridDim.y) {
    const Place<scalar_t, last> place(job, row);
    const double count = double(job.pixels_of(blockIdx.x));
    acc_t value[tile::kLength], pivot[tile::kOwn] = {}, sum[tile::kOwn] = {}, squares[tile::kOwn] = {};
    place.for_vectors([&](int64_t p, int exist) {
      job.x.load(place.b, place.c, p, exist, value);
      for (int i = 0; i < tile::kLength; ++i) pivot[last ? i : 0] += value[i];
    });
    const acc_t* sums = column_sums<tile::kPlanes, tile::kOwn>(pivot);
    for (int i = 0; i < tile::kOwn; ++i) pivot[i] = place.own(sums, i) / acc_t(count);

    place.for_vectors([&](int64_t p, int exist) {
      job.x.load(place.b, place.c, p, exist, value);
      for (int i = 0; i < tile::kLength; ++i) {
        const int plane = last ? i : 0;
        const acc_t centred = i < exist ? value[i] - pivot[plane] : acc_t(0);
        sum[plane] += centred;
        squares[plane] += centred * centred;
      }
    });
    double mean[tile::kOwn], rest[tile::kOwn];
    sums = column_sums<tile::kPlanes, tile::kOwn>(sum);
    for (int i = 0; i < tile::kOwn && place.leaves(); ++i) {
      const double shift = place.own(sums, i);
      mean[i] = pivot[i] + shift / count;
      rest[i] = -shift * (shift / count);
    }
    sums = column_sums<tile::kPlanes, tile::kOwn>(squares);
    for (int i = 0; i < tile::kOwn && place.leaves(); ++i) rest[i] += place.own(sums, i);
    place.leave(kMean, mean);
    place.leave(kSquares, rest);
  }
}

template <typename scalar_t, bool last>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    modulate_kernel(const Job<scalar_t, last> job, const Picture<scalar_t, last> out) {
  using tile = Tile<scalar_t, last>;
  using acc_t = acc_of<scalar_t>;
  for (int64_t row = blockIdx.y; row < job.rows; row += gridDim.y) {
    const Place<scalar_t, last> place(job, row);
    const Statistics<scalar_t, last> plane(place);
    place.for_vectors([&](int64_t p, int exist) {
      acc_t x[tile::kLength], gamma[tile::kLength], beta[tile::kLength];
      job.x.load(place.b, place.c, p, exist, x);
      job.gamma.load(place.b, place.c, p, exist, gamma);
      job.beta.load(place.b, place.c, p, exist, beta);
      for (int i = 0; i < tile::kLength; ++i) {
        const acc_t n = normalise(x[i], plane.mean[last ? i : 0], plane.scale[last ? i : 0]);
        const acc_t y = scaled(n, gamma[i]) + beta[i];
        x[i] = leaky(y, y, job.negative_slope);
      }
      out.store(place.b, place.c, p, exist, x);
    });
  }
}

// n and u of a vector, from x and the result's gradient, and the gradients of gamma and beta.
template <typename scalar_t, bool last>
struct Pulled {
  static constexpr int kLength = Vector<scalar_t>::kLength;
  using acc_t = acc_of<scalar_t>;
  acc_t n[kLength], u[kLength], of_gamma[kLength], of_beta[kLength];

  __device__ __forceinline__ Pulled(const Place<scalar_t, last>& place,
                                    const Statistics<scalar_t, last>& plane,
                                    const Picture<scalar_t, last>& grad_out, int64_t p, int exist) {
    const auto& job = place.job;
    acc_t gamma[kLength], beta[kLength];
    job.x.load(place.b, place.c, p, exist, n);
    job.gamma.load(place.b, place.c, p, exist, gamma);
    job.beta.load(place.b, place.c, p, exist, beta);
    grad_out.load(place.b, place.c, p, exist, u);
    for (int i = 0; i < kLength; ++i) {
      n[i] = normalise(n[i], plane.mean[last ? i : 0], plane.scale[last ? i : 0]);
      of_beta[i] = leaky(u[i], scaled(n[i], gamma[i]) + beta[i], job.negative_slope);
      of_gamma[i] = of_beta[i] * n[i];
      u[i] = scaled(of_beta[i], gamma[i]);
    }
  }
};

// The sums of u and u n over each share; grad_gamma and grad_beta may be empty.
template <typename scalar_t, bool last>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    pull_kernel(const Job<scalar_t, last> job, const Picture<scalar_t, last> grad_gamma,
                const Picture<scalar_t, last> grad_beta, const Picture<scalar_t, last> grad_out) {
  using tile = Tile<scalar_t, last>;
  using acc_t = acc_of<scalar_t>;
  for (int64_t row = blockIdx.y; row < job.rows; row += gridDim.y) {
    const Place<scalar_t, last> place(job, row);
    const Statistics<scalar_t, last> plane(place);
    acc_t sum_u[tile::kOwn] = {}, sum_un[tile::kOwn] = {};
    place.for_vectors([&](int64_t p, int exist) {
      const Pulled<scalar_t, last> pulled(place, plane, grad_out, p, exist);
      if (grad_gamma.data) grad_gamma.store(place.b, place.c, p, exist, pulled.of_gamma);
      if (grad_beta.data) grad_beta.store(place.b, place.c, p, exist, pulled.of_beta);
      for (int i = 0; i < tile::kLength; ++i)
        if (i < exist) {
          sum_u[last ? i : 0] += pulled.u[i];
          sum_un[last ? i : 0] += pulled.u[i] * pulled.n[i];
        }
    });
    double found[tile::kOwn];
    const acc_t* sums = column_sums<tile::kPlanes, tile::kOwn>(sum_u);
    for (int i = 0; i < tile::kOwn; ++i) found[i] = place.own(sums, i);
    place.leave(kSumU, found);
    sums = column_sums<tile::kPlanes, tile::kOwn>(sum_un);
    for (int i = 0; i < tile::kOwn; ++i) found[i] = place.own(sums, i);
    place.leave(kSumUN, found);
  }
}

template <typename scalar_t, bool last>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    push_kernel(const Job<scalar_t, last> job, const Picture<scalar_t, last> grad_x,
                const Picture<scalar_t, last> grad_out) {
  using tile = Tile<scalar_t, last>;
  using acc_t = acc_of<scalar_t>;
  for (int64_t row = blockIdx.y; row < job.rows; row += gridDim.y) {
    const Place<scalar_t, last> place(job, row);
    const Statistics<scalar_t, last> plane(place);
    acc_t mean_u[tile::kOwn], mean_un[tile::kOwn];
    const auto as_it_is = [](int64_t, double each) { return each; };
    const double* sums = place.sum_of_parts(kSumU, as_it_is);
    place.for_own([&](int plane) { return sums[plane] * job.per_pixel; }, mean_u);
    sums = place.sum_of_parts(kSumUN, as_it_is);
    place.for_own([&](int plane) { return sums[plane] * job.per_pixel; }, mean_un);
    place.for_vectors([&](int64_t p, int exist) {
      Pulled<scalar_t, last> pulled(place, plane, grad_out, p, exist);
      for (int i = 0; i < tile::kLength; ++i) {
        const int own = last ? i : 0;
        pulled.u[i] = x_gradient(pulled.u[i], pulled.n[i], mean_u[own], mean_un[own], plane.scale[own]);
      }
      grad_x.store(place.b, place.c, p, exist, pulled.u);
    });
  }
}

// Calls body(job) with the kernels' job, by storage type and layout.
template <typename Body>
void for_job(const Modulate& op, const Tensor& workspace, Body body) {
  for_dtype(op.x.dtype, [&](auto scalar) {
    using scalar_t = decltype(scalar);
    if (op.channels_last)
      body(scalar, std::true_type(), Job<scalar_t, true>(op, workspace));
    else
      body(scalar, std::false_type(), Job<scalar_t, false>(op, workspace));
  });
}

}  // namespace

int64_t modulate_workspace(const Modulate& op) {
  int64_t bytes = 0;
  for_job(op, Tensor(), [&](auto, auto, const auto& job) { bytes = job.bytes(); });
  return bytes;
}

void modulate_cuda(const Tensor& out, const Modulate& op, const Tensor& workspace, int device,
                   void* cuda_stream) {
  if (out.numel() == 0) return;
  const Stream stream(device, cuda_stream);
  for_job(op, workspace, [&](auto scalar, auto last, const auto& job) {
    using scalar_t = decltype(scalar);
    constexpr bool is_last = decltype(last)::value;
    stream.launch("modulate", moments_kernel<scalar_t, is_last>, job.grid(), kThreads, job.shared_bytes(),
                 job);
    stream.launch("modulate", modulate_kernel<scalar_t, is_last>, job.grid(), kThreads, job.shared_bytes(),
                 job, Picture<scalar_t, is_last>(out));
  });
}

void modulate_backward_cuda(const Tensor& grad_x, const Tensor& grad_gamma, const Tensor& grad_beta,
                            const Tensor& grad_out, const Modulate& op, const Tensor& workspace, int device,
                            void* cuda_stream) {
  if (op.x.numel() == 0) return;
  const Stream stream(device, cuda_stream);
  for_job(op, workspace, [&](auto scalar, auto last, const auto& job) {
    using scalar_t = decltype(scalar);
    constexpr bool is_last = decltype(last)::value;
    using picture_t = Picture<scalar_t, is_last>;
    stream.launch("modulate_backward", moments_kernel<scalar_t, is_last>, job.grid(), kThreads,
                 job.shared_bytes(), job);
    stream.launch("modulate_backward", pull_kernel<scalar_t, is_last>, job.grid(), kThreads,
                 job.shared_bytes(), job, picture_t(grad_gamma), picture_t(grad_beta), picture_t(grad_out));
    if (grad_x.numel())
      stream.launch("modulate_backward", push_kernel<scalar_t, is_last>, job.grid(), kThreads,
                   job.shared_bytes(), job, picture_t(grad_x), picture_t(grad_out));
  });
}

}  // namespace fv2v
