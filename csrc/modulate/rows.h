// SPDX-License-Identifier: Apache-2.0
// CPU: what modulate computes of a chunk of numbers, sixteen side by side.
#pragma once
#include "cpu/block.h"
#include "cpu/vector.h"
#include "modulate/modulate.h"

namespace fv2v {
namespace {

constexpr int kLanes = 16;     // numbers side by side: pixels of a plane, or a pixel's channels
constexpr int kRows = kBlockSize;  // of so many numbers, in a chunk

// Sixteen columns of sums, too: they are added to each other at the end alone, so that accuracy does not
// depend on how long the processor's vectors are.
template <typename acc_t>
using Row = vec<acc_t, kLanes>;

// Rows of a chunk, in a tensor or in memory of our own.
template <typename acc_t>
struct Rows {
  typedef acc_t Loose
      __attribute__((vector_size(kLanes * sizeof(acc_t)), may_alias, aligned(alignof(acc_t))));
  acc_t* first;
  int64_t pitch;

  FV2V_HOST_DEVICE Row<acc_t> operator[](int i) const {
    return *reinterpret_cast<const Loose*>(first + i * pitch);
  }
  FV2V_HOST_DEVICE void set(int i, const Row<acc_t>& row) const {
    *reinterpret_cast<Loose*>(first + i * pitch) = row;
  }
};

// body(row, sum) for every row, `sums` taking turns: an addition needs not wait for the one before it.
template <int sums, typename Body>
FV2V_HOST_DEVICE void for_rows_in_turn(int rows, Body body) {
  int row = 0;
  for (; row + sums <= rows; row += sums)
    for (int sum = 0; sum < sums; ++sum) body(row + sum, sum);
  for (; row < rows; ++row) body(row, 0);
}

template <typename acc_t>
FV2V_CLONES void add_rows(const Rows<acc_t>& x, int rows, Row<acc_t>* sum) {
  Row<acc_t> total[4] = {};
  for_rows_in_turn<4>(rows, [&](int row, int i) FV2V_LAMBDA { total[i] += x[row]; });
  *sum = (total[0] + total[1]) + (total[2] + total[3]);
}

template <typename acc_t>
FV2V_CLONES void add_centred(const Rows<acc_t>& x, int rows, const Row<acc_t>& pivot, Row<acc_t>* sum,
                             Row<acc_t>* squares) {
  const Row<acc_t> middle = pivot;
  Row<acc_t> total[2] = {}, total_squares[2] = {};
  for_rows_in_turn<2>(rows, [&](int row, int i) FV2V_LAMBDA {
    const Row<acc_t> centred = x[row] - middle;
    total[i] += centred;
    total_squares[i] += centred * centred;
  });
  *sum = total[0] + total[1];
  *squares = total_squares[0] + total_squares[1];
}

// Of each lane's plane: mean and 1 / sqrt(var + eps), then means of u and u n.
template <typename acc_t>
struct Statistics {
  Row<acc_t> mean, scale, mean_u = {}, mean_un = {};
};

// What a chunk's result, or the gradients, are made of.
template <typename acc_t>
struct Inputs {
  Rows<acc_t> x, gamma, beta, grad_out;
};

template <typename acc_t>
FV2V_CLONES void modulate_rows(const Inputs<acc_t>& from, int rows, const Statistics<acc_t>& plane,
                               acc_t negative_slope, const Rows<acc_t>& out) {
  const Row<acc_t> mean = plane.mean, scale = plane.scale;
  for (int i = 0; i < rows; ++i) {
    const Row<acc_t> n = normalise(from.x[i], mean, scale), y = scaled(n, from.gamma[i]) + from.beta[i];
    out.set(i, leaky(y, y, negative_slope));
  }
}

// The gradients of gamma and beta, and the sums of u and u n.
template <typename acc_t>
FV2V_CLONES void pull_rows(const Inputs<acc_t>& from, int rows, const Statistics<acc_t>& plane,
                           acc_t negative_slope, const Rows<acc_t>& grad_gamma, const Rows<acc_t>& grad_beta,
                           Row<acc_t>* sum_u, Row<acc_t>* sum_un) {
  const Row<acc_t> mean = plane.mean, scale = plane.scale;
  Row<acc_t> total_u[2] = {}, total_un[2] = {};
  for_rows_in_turn<2>(rows, [&](int row, int i) FV2V_LAMBDA {
    const Row<acc_t> gamma = from.gamma[row], n = normalise(from.x[row], mean, scale);
    const Row<acc_t> y = scaled(n, gamma) + from.beta[row];
    const Row<acc_t> h = leaky(from.grad_out[row], y, negative_slope), u = scaled(h, gamma);
    total_u[i] += u;
    total_un[i] += u * n;
    grad_gamma.set(row, h * n);
    grad_beta.set(row, h);
  });
  *sum_u = total_u[0] + total_u[1];
  *sum_un = total_un[0] + total_un[1];
}

template <typename acc_t>
FV2V_CLONES void push_rows(const Inputs<acc_t>& from, int rows, const Statistics<acc_t>& plane,
                           acc_t negative_slope, const Rows<acc_t>& grad_x) {
  const Row<acc_t> mean = plane.mean, scale = plane.scale, mean_u = plane.mean_u, mean_un = plane.mean_un;
  for (int i = 0; i < rows; ++i) {
    const Row<acc_t> gamma = from.gamma[i], n = normalise(from.x[i], mean, scale);
    const Row<acc_t> y = scaled(n, gamma) + from.beta[i];
    const Row<acc_t> u = scaled(leaky(from.grad_out[i], y, negative_slope), gamma);
    grad_x.set(i, x_gradient(u, n, mean_u, mean_un, scale));
  }
}

}  // namespace
}  // namespace fv2v
