// modulate on the CPU: a thread takes planes as they come, or sixteen of them where channels lie innermost,
// and goes over their pixels a few thousand numbers at a time: once for mean and variance, once for the
// result. What was read the first time is in a cache at the second.
#include "modulate/modulate.h"

#include <array>

#include "common/blocks.h"
#include "common/parallel.h"
#include "common/vector.h"

namespace fv2v {
namespace {

constexpr int kLanes = 16;     // numbers side by side: pixels of a plane, or a pixel's channels
constexpr int kRows = kBlock;  // of so many numbers, in a chunk

// Sixteen columns of sums, too: they are added to each other at the end alone, so that accuracy does not
// depend on how long the processor's vectors are.
template <typename acc_t>
using Row = vec<acc_t, kLanes>;

template <typename acc_t>
struct Chunk {
  Row<acc_t> rows[kRows];

  acc_t* data() { return reinterpret_cast<acc_t*>(rows); }
};

// body(row, sum) for every row, `sums` taking turns: an addition needs not wait for the one before it.
template <typename acc_t, int sums, typename Body>
FV2V_HOST_DEVICE void for_rows_in_turn(int rows, Body body) {
  int row = 0;
  for (; row + sums <= rows; row += sums)
    for (int sum = 0; sum < sums; ++sum) body(row + sum, sum);
  for (; row < rows; ++row) body(row, 0);
}

template <typename acc_t>
FV2V_CLONES void add_rows(const Chunk<acc_t>& x, int rows, Row<acc_t>* sum) {
  Row<acc_t> total[4] = {};
  for_rows_in_turn<acc_t, 4>(rows, [&](int row, int i) FV2V_LAMBDA { total[i] += x.rows[row]; });
  *sum = (total[0] + total[1]) + (total[2] + total[3]);
}

template <typename acc_t>
FV2V_CLONES void add_centred(const Chunk<acc_t>& x, int rows, const Row<acc_t>& pivot, Row<acc_t>* sum,
                             Row<acc_t>* squares) {
  const Row<acc_t> middle = pivot;
  Row<acc_t> total[2] = {}, total_squares[2] = {};
  for_rows_in_turn<acc_t, 2>(rows, [&](int row, int i) FV2V_LAMBDA {
    const Row<acc_t> centred = x.rows[row] - middle;
    total[i] += centred;
    total_squares[i] += centred * centred;
  });
  *sum = total[0] + total[1];
  *squares = total_squares[0] + total_squares[1];
}

// Mean and 1 / sqrt(var + eps) of each lane's plane.
template <typename acc_t>
struct Statistics {
  Row<acc_t> mean, scale;
};

// x in, the result out
template <typename acc_t>
FV2V_CLONES void modulate_rows(Chunk<acc_t>& x, const Chunk<acc_t>& gamma, const Chunk<acc_t>& beta, int rows,
                               const Statistics<acc_t>& plane, acc_t negative_slope) {
  const Row<acc_t> mean = plane.mean, scale = plane.scale;
  for (int i = 0; i < rows; ++i) {
    const Row<acc_t> n = normalise(x.rows[i], mean, scale);
    const Row<acc_t> y = shifted(n, gamma.rows[i], beta.rows[i]);
    x.rows[i] = leaky(y, y, negative_slope);
  }
}

// x, gamma, beta and the result's gradient in; n, u, and the gradients of gamma and beta out.
template <typename acc_t>
FV2V_CLONES void pull_rows(Chunk<acc_t>& x, Chunk<acc_t>& gamma, Chunk<acc_t>& beta, Chunk<acc_t>& grad_out,
                           int rows, const Statistics<acc_t>& plane, acc_t negative_slope, Row<acc_t>* sum_u,
                           Row<acc_t>* sum_un) {
  const Row<acc_t> mean = plane.mean, scale = plane.scale;
  Row<acc_t> total_u = {}, total_un = {};
  for (int i = 0; i < rows; ++i) {
    const Row<acc_t> n = normalise(x.rows[i], mean, scale);
    const Row<acc_t> y = shifted(n, gamma.rows[i], beta.rows[i]);
    const Row<acc_t> h = leaky(grad_out.rows[i], y, negative_slope), u = (1 + gamma.rows[i]) * h;
    total_u += u;
    total_un += u * n;
    x.rows[i] = n;
    grad_out.rows[i] = u;
    gamma.rows[i] = h * n;
    beta.rows[i] = h;
  }
  *sum_u = total_u;
  *sum_un = total_un;
}

// n in, the gradient of x out
template <typename acc_t>
FV2V_CLONES void push_rows(Chunk<acc_t>& n, const Chunk<acc_t>& u, int rows, const Row<acc_t>& scale,
                           const Row<acc_t>& mean_u, const Row<acc_t>& mean_un) {
  const Row<acc_t> by = scale, of_u = mean_u, of_un = mean_un;
  for (int i = 0; i < rows; ++i) n.rows[i] = x_gradient(u.rows[i], n.rows[i], of_u, of_un, by);
}

// One number a plane: for every lane, or the first alone where all lanes are pixels of one plane.
using Planes = std::array<double, kLanes>;

// Of the pixels seen so far.
struct Moments {
  double count = 0;
  Planes mean = {}, squares = {};  // squares: the sum of (x - mean)^2

  // `more` pixels whose x - pivot and (x - pivot)^2 add up to `shift` and `shift_squares`
  void add(int planes, double more, const Planes& pivot, const Planes& shift, const Planes& shift_squares) {
    const double before = count, share = more / (before + more);
    count += more;
    for (int i = 0; i < planes; ++i) {
      const double low = shift[i] / more, further = pivot[i] + low - mean[i];
      mean[i] += further * share;
      squares[i] += shift_squares[i] - shift[i] * low + further * further * before * share;
    }
  }
};

template <typename acc_t>
struct Job {
  BlockReader<acc_t> x, gamma, beta;
  bool last;
  int planes;  // that a row of numbers belongs to
  double eps;
  acc_t negative_slope;
  int64_t pixels, groups;  // groups: of channels, in a sample

  explicit Job(const Modulate& op)
      : x(as_volume(op.x), 1),
        gamma(as_volume(op.gamma), 1),
        beta(as_volume(op.beta), 1),
        last(op.channels_last),
        planes(last ? kLanes : 1),
        eps(op.eps),
        negative_slope(acc_t(op.negative_slope)),
        pixels(x.layout.size.voxels()),
        groups((x.layout.channels + planes - 1) / planes) {}

  template <typename Body>
  void for_groups(int threads, Body body) const {
    const int64_t numbers = x.layout.batch * x.layout.channels * pixels;
    parallel_for(x.layout.batch * groups, useful_threads(threads, numbers), [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) body(task / groups, task % groups);
    });
  }
  // body(block, rows) for every chunk of a sample's group
  template <typename Body>
  void for_chunks(int64_t b, Body body) const {
    const int64_t most = kRows * kLanes / planes;
    for (int64_t first = 0; first < pixels; first += most) {
      const int count = int(std::min(most, pixels - first));
      body(Block{b, first, count}, last ? count : (count + kLanes - 1) / kLanes);
    }
  }
  void load(const BlockReader<acc_t>& from, const Block& block, int64_t group, Chunk<acc_t>& to) const {
    if (last) return from.load_lanes(block, kLanes, group, to.data());
    from.load(block, group, to.data());
    pad(to, block.count, 0);
  }
  void store(const BlockWriter<acc_t>& to, const Block& block, int64_t group, Chunk<acc_t>& from) const {
    if (!to) return;
    if (last) return to.store_lanes(block, kLanes, group, from.data());
    to.store(block, group, from.data());
  }
  // What stands in the last row of a plane's chunk where there are no more pixels.
  static void pad(Chunk<acc_t>& chunk, int count, acc_t value) {
    for (int i = count; i % kLanes; ++i) chunk.data()[i] = value;
  }

  Planes by_plane(const Row<acc_t>& columns) const {
    Planes sums = {};
    for (int i = 0; i < kLanes; ++i) sums[i % planes] += double(columns[i]);
    return sums;
  }
  Row<acc_t> to_lanes(const Planes& of) const {
    Row<acc_t> row;
    for (int i = 0; i < kLanes; ++i) row[i] = acc_t(of[i % planes]);
    return row;
  }

  Statistics<acc_t> statistics(int64_t b, int64_t group) const {
    Moments moments;
    for_chunks(b, [&](const Block& block, int rows) {
      Chunk<acc_t> chunk;
      Row<acc_t> sum, squares;
      load(x, block, group, chunk);
      add_rows(chunk, rows, &sum);
      Planes pivot = by_plane(sum);
      for (int i = 0; i < planes; ++i) pivot[i] = double(acc_t(pivot[i] / block.count));
      if (!last) pad(chunk, block.count, acc_t(pivot[0]));
      add_centred(chunk, rows, to_lanes(pivot), &sum, &squares);
      moments.add(planes, block.count, pivot, by_plane(sum), by_plane(squares));
    });
    for (double& each : moments.squares) each = scale_of(each, double(pixels), eps);
    return {to_lanes(moments.mean), to_lanes(moments.squares)};
  }
};

}  // namespace

void modulate_cpu(const Tensor& out, const Modulate& op, int threads) {
  if (out.numel() == 0) return;
  for_coordinates(op.x.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    const Job<acc_t> job(op);
    const BlockWriter<acc_t> to(as_volume(out), 1);
    job.for_groups(threads, [&](int64_t b, int64_t group) {
      const Statistics<acc_t> plane = job.statistics(b, group);
      job.for_chunks(b, [&](const Block& block, int rows) {
        Chunk<acc_t> x, gamma, beta;
        job.load(job.x, block, group, x);
        job.load(job.gamma, block, group, gamma);
        job.load(job.beta, block, group, beta);
        modulate_rows(x, gamma, beta, rows, plane, job.negative_slope);
        job.store(to, block, group, x);
      });
    });
  });
}

void modulate_backward_cpu(const Tensor& grad_x, const Tensor& grad_gamma, const Tensor& grad_beta,
                           const Tensor& grad_out, const Modulate& op, int threads) {
  if (op.x.numel() == 0) return;
  for_coordinates(op.x.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    const Job<acc_t> job(op);
    const BlockReader<acc_t> upstream(as_volume(grad_out), 1);
    const BlockWriter<acc_t> to_x(as_volume(grad_x), 1), to_gamma(as_volume(grad_gamma), 1),
        to_beta(as_volume(grad_beta), 1);
    job.for_groups(threads, [&](int64_t b, int64_t group) {
      const Statistics<acc_t> plane = job.statistics(b, group);
      // every chunk anew: n into x, u into g, and what they add up to
      const auto pull = [&](const Block& block, int rows, Chunk<acc_t>& x, Chunk<acc_t>& g, auto found) {
        Chunk<acc_t> gamma, beta;
        Row<acc_t> sum_u, sum_un;
        job.load(job.x, block, group, x);
        job.load(job.gamma, block, group, gamma);
        job.load(job.beta, block, group, beta);
        job.load(upstream, block, group, g);
        pull_rows(x, gamma, beta, g, rows, plane, job.negative_slope, &sum_u, &sum_un);
        found(gamma, beta, sum_u, sum_un);
      };
      Planes mean_u = {}, mean_un = {};
      job.for_chunks(b, [&](const Block& block, int rows) {
        Chunk<acc_t> n, u;
        pull(block, rows, n, u, [&](auto& of_gamma, auto& of_beta, const auto& sum_u, const auto& sum_un) {
          job.store(to_gamma, block, group, of_gamma);
          job.store(to_beta, block, group, of_beta);
          const Planes more_u = job.by_plane(sum_u), more_un = job.by_plane(sum_un);
          for (int i = 0; i < job.planes; ++i) {
            mean_u[i] += more_u[i] / double(job.pixels);
            mean_un[i] += more_un[i] / double(job.pixels);
          }
        });
      });
      if (!to_x) return;
      const Row<acc_t> of_u = job.to_lanes(mean_u), of_un = job.to_lanes(mean_un);
      job.for_chunks(b, [&](const Block& block, int rows) {
        Chunk<acc_t> n, u;
        pull(block, rows, n, u, [](auto&, auto&, const auto&, const auto&) {});
        push_rows(n, u, rows, plane.scale, of_u, of_un);
        job.store(to_x, block, group, n);
      });
    });
  });
}

}  // namespace fv2v
