// SPDX-License-Identifier: Apache-2.0
// modulate on the CPU: a thread takes planes as they come, or sixteen of them where channels lie innermost,
// and goes over their pixels a thousand numbers at a time: once for mean and variance, once for the result.
// What was read the first time is in a cache at the second.
#include <array>

#include "cpu/parallel.h"
#include "modulate/rows.h"

namespace fv2v {
namespace {

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

// Where the planes of a sample lie side by side in groups, and which pixels make a chunk.
struct Groups {
  int64_t batch, channels, pixels, groups;
  bool last;   // sixteen channels a group, or one
  int planes;  // that a row of numbers belongs to

  explicit Groups(const Modulate& op)
      : batch(op.x.size[0]),
        channels(op.x.size[1]),
        pixels(op.x.size[2] * op.x.size[3]),
        last(op.channels_last),
        planes(last ? kLanes : 1) {
    groups = (channels + planes - 1) / planes;
  }

  // body(b, group)
  template <typename Body>
  void for_all(int threads, Body body) const {
    const int useful = useful_threads(threads, batch * channels * pixels);
    parallel_for(batch * groups, useful, [&](int64_t begin, int64_t end) {
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
  // Whether all numbers in a chunk's rows exist.
  bool whole(const Block& block, int64_t group) const {
    return last ? (group + 1) * kLanes <= channels : block.count % kLanes == 0;
  }

  template <typename acc_t>
  Planes by_plane(const Row<acc_t>& columns) const {
    Planes sums = {};
    for (int i = 0; i < kLanes; ++i) sums[i % planes] += double(columns[i]);
    return sums;
  }
  template <typename acc_t>
  Row<acc_t> to_lanes(const Planes& of) const {
    Row<acc_t> row;
    for (int i = 0; i < kLanes; ++i) row[i] = acc_t(of[i % planes]);
    return row;
  }
};

template <typename acc_t>
struct Chunk {
  Row<acc_t> rows[kRows];

  operator Rows<acc_t>() { return {data(), kLanes}; }
  acc_t* data() { return reinterpret_cast<acc_t*>(rows); }
  // What stands in the last row of a plane's chunk where there are no more pixels.
  void pad(int count, acc_t value) {
    for (int i = count; i % kLanes; ++i) data()[i] = value;
  }
};

// A tensor's chunks as rows: where they lie, or else copied.
template <typename acc_t>
class Source {
 public:
  Source(const Groups& groups, const Tensor& tensor) : groups_(groups), reader_(as_volume(tensor), 1) {
    rows_lie_ = groups.last ? reader_.layout.channel_stride == 1 : reader_.layout.step == 1;
  }
  Rows<acc_t> rows(const Block& block, int64_t group, Chunk<acc_t>& copy) const {
    const acc_t* const lie =
        rows_lie_ && groups_.whole(block, group) ? reader_.in_place(block, group * groups_.planes) : nullptr;
    if (lie) return {const_cast<acc_t*>(lie), groups_.last ? reader_.layout.step : kLanes};
    if (groups_.last) {
      reader_.load_lanes(block, kLanes, group, copy.data());
    } else {
      reader_.load(block, group, copy.data());
      copy.pad(block.count, 0);
    }
    return copy;
  }

 private:
  const Groups& groups_;
  BlockReader<acc_t> reader_;
  bool rows_lie_;
};

// A result's chunks, as x lies: body(rows) fills them.
template <typename acc_t>
class Sink {
 public:
  Sink(const Groups& groups, const Tensor& tensor) : groups_(groups), writer_(as_volume(tensor), 1) {}
  explicit operator bool() const { return bool(writer_); }

  template <typename Body>
  void fill(const Block& block, int64_t group, Body body) const {
    acc_t* const lie =
        groups_.whole(block, group) ? writer_.in_place(block, group * groups_.planes) : nullptr;
    if (lie) return body(Rows<acc_t>{lie, groups_.last ? groups_.channels : kLanes});
    Chunk<acc_t> copy;
    body(Rows<acc_t>(copy));
    if (!writer_) return;
    if (groups_.last) return writer_.store_lanes(block, kLanes, group, copy.data());
    writer_.store(block, group, copy.data());
  }

 private:
  const Groups& groups_;
  BlockWriter<acc_t> writer_;
};

template <typename acc_t>
Statistics<acc_t> find_statistics(const Groups& groups, const Source<acc_t>& x, double eps, int64_t b,
                                  int64_t group) {
  Moments moments;
  groups.for_chunks(b, [&](const Block& block, int count) {
    Chunk<acc_t> copy;
    Row<acc_t> sum, squares;
    const Rows<acc_t> rows = x.rows(block, group, copy);
    add_rows(rows, count, &sum);
    Planes pivot = groups.by_plane<acc_t>(sum);
    for (int i = 0; i < groups.planes; ++i) pivot[i] = double(acc_t(pivot[i] / block.count));
    if (!groups.whole(block, group) && !groups.last) copy.pad(block.count, acc_t(pivot[0]));
    add_centred(rows, count, groups.to_lanes<acc_t>(pivot), &sum, &squares);
    moments.add(groups.planes, block.count, pivot, groups.by_plane<acc_t>(sum),
                groups.by_plane<acc_t>(squares));
  });
  for (double& each : moments.squares) each = scale_of(each, double(groups.pixels), eps);
  return {groups.to_lanes<acc_t>(moments.mean), groups.to_lanes<acc_t>(moments.squares)};
}

// What the gradients are made of, and what a chunk of it is copied to where need be.
template <typename acc_t>
struct Sources {
  Source<acc_t> x, gamma, beta, grad_out;
  struct Copies {
    Chunk<acc_t> x, gamma, beta, grad_out;
  };

  Sources(const Groups& groups, const Modulate& op, const Tensor& upstream)
      : x(groups, op.x), gamma(groups, op.gamma), beta(groups, op.beta), grad_out(groups, upstream) {}
  Inputs<acc_t> rows(const Block& block, int64_t group, Copies& copies) const {
    return {x.rows(block, group, copies.x), gamma.rows(block, group, copies.gamma),
            beta.rows(block, group, copies.beta), grad_out.rows(block, group, copies.grad_out)};
  }
};

}  // namespace

void modulate_cpu(const Tensor& out, const Modulate& op, int threads) {
  if (out.numel() == 0) return;
  for_coordinates(op.x.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    const Groups groups(op);
    const Source<acc_t> x(groups, op.x), gamma(groups, op.gamma), beta(groups, op.beta);
    const Sink<acc_t> to(groups, out);
    groups.for_all(threads, [&](int64_t b, int64_t group) {
      const Statistics<acc_t> plane = find_statistics(groups, x, op.eps, b, group);
      groups.for_chunks(b, [&](const Block& block, int count) {
        Chunk<acc_t> copies[3];
        const Inputs<acc_t> from = {x.rows(block, group, copies[0]), gamma.rows(block, group, copies[1]),
                                    beta.rows(block, group, copies[2])};
        to.fill(block, group, [&](const Rows<acc_t>& rows) {
          modulate_rows(from, count, plane, acc_t(op.negative_slope), rows);
        });
      });
    });
  });
}

void modulate_backward_cpu(const Tensor& grad_x, const Tensor& grad_gamma, const Tensor& grad_beta,
                           const Tensor& grad_out, const Modulate& op, int threads) {
  if (op.x.numel() == 0) return;
  for_coordinates(op.x.dtype, [&](auto zero) {
    using acc_t = decltype(zero);
    const Groups groups(op);
    const Sources<acc_t> sources(groups, op, grad_out);
    const Sink<acc_t> to_x(groups, grad_x), to_gamma(groups, grad_gamma), to_beta(groups, grad_beta);
    const acc_t negative_slope = acc_t(op.negative_slope);
    groups.for_all(threads, [&](int64_t b, int64_t group) {
      Statistics<acc_t> plane = find_statistics(groups, sources.x, op.eps, b, group);
      Planes mean_u = {}, mean_un = {};
      groups.for_chunks(b, [&](const Block& block, int count) {
        typename Sources<acc_t>::Copies copies;
        const Inputs<acc_t> from = sources.rows(block, group, copies);
        Row<acc_t> sum_u, sum_un;
        to_gamma.fill(block, group, [&](const Rows<acc_t>& of_gamma) {
          to_beta.fill(block, group, [&](const Rows<acc_t>& of_beta) {
            pull_rows(from, count, plane, negative_slope, of_gamma, of_beta, &sum_u, &sum_un);
          });
        });
        const Planes more_u = groups.by_plane<acc_t>(sum_u), more_un = groups.by_plane<acc_t>(sum_un);
        for (int i = 0; i < groups.planes; ++i) {
          mean_u[i] += more_u[i] / double(groups.pixels);
          mean_un[i] += more_un[i] / double(groups.pixels);
        }
      });
      if (!to_x) return;
      plane.mean_u = groups.to_lanes<acc_t>(mean_u);
      plane.mean_un = groups.to_lanes<acc_t>(mean_un);
      groups.for_chunks(b, [&](const Block& block, int count) {
        typename Sources<acc_t>::Copies copies;
        const Inputs<acc_t> from = sources.rows(block, group, copies);
        to_x.fill(block, group,
                  [&](const Rows<acc_t>& rows) { push_rows(from, count, plane, negative_slope, rows); });
      });
    });
  });
}

}  // namespace fv2v
