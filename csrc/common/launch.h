// CUDA: the right device for the length of a call, and no launch that fails in silence.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace fv2v {

inline void check_cuda(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

// The device and stream that the tensors live on.
class Queue {
 public:
  Queue(int device, void* stream) : stream(static_cast<cudaStream_t>(stream)) {
    check_cuda(cudaGetDevice(&previous_), "cudaGetDevice");
    if (device != previous_) check_cuda(cudaSetDevice(device), "cudaSetDevice");
    device_ = device;
  }
  ~Queue() {
    if (device_ != previous_) cudaSetDevice(previous_);
  }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

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
    config.stream = stream;
    check_cuda(cudaLaunchKernelEx(&config, kernel, arguments...), what);
  }

  const cudaStream_t stream;

 private:
  int previous_ = 0, device_ = 0;
};

}  // namespace fv2v
