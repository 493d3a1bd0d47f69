// SPDX-License-Identifier: Apache-2.0
// CUDA: the right device for the length of a call, and no launch that fails in silence.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "common/tensor.h"

#ifndef FV2V_MOST_BLOCKS  // tests take 2, so that loops over blocks go round
#define FV2V_MOST_BLOCKS 65535
#endif

namespace fv2v {

inline void check_cuda(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

// Kernels count the voxels of a channel in 32 bits; everything else takes 64.
inline void check_voxels(int64_t voxels) {
  if (voxels >= INT32_MAX) throw std::invalid_argument("expected fewer than 2^31 voxels in a volume");
}

// How often `size` fits into `count`, the last time perhaps in part.
inline int64_t ceil_div(int64_t count, int64_t size) { return (count + size - 1) / size; }

// The CUDA stream that a call works on. Its device is current while this object lives, and the one that was
// current before is so again afterwards.
class Stream {
 public:
  Stream(int device, void* cuda_stream) : handle_(static_cast<cudaStream_t>(cuda_stream)) {
    check_cuda(cudaGetDevice(&previous_), "cudaGetDevice");
    if (device != previous_) check_cuda(cudaSetDevice(device), "cudaSetDevice");
    device_ = device;
  }
  ~Stream() {
    if (device_ != previous_) cudaSetDevice(previous_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void fill_zero(const Tensor& tensor) const {
    if (tensor.numel())
      check_cuda(cudaMemsetAsync(tensor.data, 0, tensor.numel() * bytes_of(tensor.dtype), handle_),
                 "cudaMemsetAsync");
  }

  // Blocks for a grid's y or z, over which kernels loop: a GPU takes no more.
  static unsigned most_blocks(int64_t count) {
    return unsigned(std::min<int64_t>(count, FV2V_MOST_BLOCKS));
  }

  // How many threads this GPU holds at a time.
  int64_t resident_threads() const {
    int multiprocessors = 0, threads = 0;
    check_cuda(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device_),
               "cudaDeviceGetAttribute");
    check_cuda(cudaDeviceGetAttribute(&threads, cudaDevAttrMaxThreadsPerMultiProcessor, device_),
               "cudaDeviceGetAttribute");
    return int64_t(multiprocessors) * threads;
  }

  // Every kernel starts here; tests replace cudaLaunchKernelEx, and with it the GPU.
  template <typename... Parameters, typename... Arguments>
  void launch(const char* what, void (*kernel)(Parameters...), dim3 blocks, int threads, size_t shared_bytes,
              const Arguments&... arguments) const {
    cudaLaunchConfig_t config = {};
    config.gridDim = blocks;
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared_bytes;
    config.stream = handle_;
    check_cuda(cudaLaunchKernelEx(&config, kernel, arguments...), what);
  }

 private:
  const cudaStream_t handle_;
  int previous_ = 0, device_ = 0;
};

}  // namespace fv2v
