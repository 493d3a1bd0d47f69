// SPDX-License-Identifier: Apache-2.0
// CUDA: what the threads of a block do together.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

namespace fv2v {

constexpr int kThreads = 256;  // a block
constexpr int kWarp = 32;
constexpr int kWarps = kThreads / kWarp;
// Blocks asked of a multiprocessor; unasked, ptxas aims at 64 registers and spills.
constexpr int kMinBlocks = 1;
constexpr int64_t kShared = 48 << 10;  // bytes that any GPU gives a block unasked

// What the launch asked for, as an array.
template <typename T>
__device__ __forceinline__ T* shared_memory() {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  return reinterpret_cast<T*>(shared_bytes);
}

// The largest of every thread's values (NaN may be passed over); takes kThreads numbers of shared memory.
template <typename acc_t>
__device__ __forceinline__ acc_t block_max(acc_t value) {
  acc_t* const values = shared_memory<acc_t>();
  values[threadIdx.x] = value;
  __syncthreads();
  for (int step = kThreads / 2; step; step /= 2) {
    if (int(threadIdx.x) < step) values[threadIdx.x] = max(values[threadIdx.x], values[threadIdx.x + step]);
    __syncthreads();
  }
  const acc_t largest = values[0];
  __syncthreads();
  return largest;
}

// Bytes of shared memory that block_sum takes.
template <int count, typename acc_t>
constexpr int64_t kSumBytes = count * (kThreads + 1) * sizeof(acc_t);

// Returns the sum of every thread's value[i] to thread i, in an order that is always the same.
template <int count, typename acc_t>
__device__ __forceinline__ double block_sum(const acc_t value[count]) {
  constexpr int sides = kThreads / count;  // threads that share the sum of one value
  const int i = threadIdx.x % count, side = threadIdx.x / count;
  acc_t* const values = shared_memory<acc_t>();     // (count, kThreads + 1)
  double* const partial = shared_memory<double>();  // (sides, count)
  for (int at = 0; at < count; ++at) values[at * (kThreads + 1) + threadIdx.x] = value[at];
  __syncthreads();
  double sum = 0;
  if (side < sides)
    for (int thread = side; thread < kThreads; thread += sides) sum += values[i * (kThreads + 1) + thread];
  __syncthreads();
  if (side < sides) partial[threadIdx.x] = sum;
  __syncthreads();
  if (side == 0)
    for (int other = 1; other < sides; ++other) sum += partial[other * count + i];
  __syncthreads();
  return sum;
}

// `rows` rows of `width`, `pitch` apart in shared memory, to where they lie side by side.
template <typename T>
__device__ __forceinline__ void copy_rows(const T* from, int pitch, int rows, int width, T* to) {
  int row = threadIdx.x / width, column = threadIdx.x % width;
  for (int at = threadIdx.x; at < rows * width; at += kThreads) {
    to[at] = from[row * pitch + column];
    row += kThreads / width;
    column += kThreads % width;
    if (column >= width) {
      column -= width;
      ++row;
    }
  }
}

}  // namespace fv2v
