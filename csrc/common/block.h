// CUDA: what the threads of a block do together.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

namespace fv2v {

constexpr int kThreads = 256;  // a block
constexpr int kWarp = 32;
constexpr int kWarps = kThreads / kWarp;
// Blocks asked of a multiprocessor; unasked, ptxas aims at 64 registers and spills.
constexpr int kBlocks = 1;
constexpr int64_t kShared = 48 << 10;  // bytes that any GPU gives a block unasked

// What the launch asked for, as an array.
template <typename T>
__device__ __forceinline__ T* shared_memory() {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  return reinterpret_cast<T*>(shared_bytes);
}

// The sum of every thread's value[i], in a fixed order; whole in the threads of the first warp. `shared`
// holds count * kWarps numbers that nobody uses.
template <int count>
__device__ __forceinline__ void block_sum(double value[count], double* shared) {
  for (int i = 0; i < count; ++i)
    for (int step = kWarp / 2; step; step /= 2) value[i] += __shfl_xor_sync(0xffffffffu, value[i], step);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (lane == 0)
    for (int i = 0; i < count; ++i) shared[warp * count + i] = value[i];
  __syncthreads();
  for (int i = 0; i < count; ++i) {
    value[i] = shared[i];
    for (int other = 1; other < kWarps; ++other) value[i] += shared[other * count + i];
  }
  __syncthreads();
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
