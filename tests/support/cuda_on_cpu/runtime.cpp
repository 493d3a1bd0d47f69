// SPDX-License-Identifier: Apache-2.0
// The stand-in's run time: blocks run one after another, the threads of a block as fibers that take turns.
#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "cuda_runtime.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace fv2v {
constexpr size_t kMostShared = 48 << 10;  // what any GPU gives a block unasked
alignas(16) unsigned char shared_bytes[kMostShared];
}  // namespace fv2v

namespace cuda_on_cpu {
namespace {

constexpr size_t kStack = 64 << 10;

// What __init__.py passes with every call: nothing may go to the device and stream that happen to be current.
constexpr int kDevice = 1;
const cudaStream_t kStream = reinterpret_cast<cudaStream_t>(0x5eed);
int current_device = 0;

void check_place(cudaStream_t stream) {
  if (current_device == kDevice && stream == kStream) return;
  std::fprintf(stderr, "work for device %d, stream %p\n", current_device, stream);
  std::abort();
}

struct Fiber {
  ucontext_t start;  // left for good at the first turn: a jump, unlike swapcontext, calls no system
  jmp_buf place;
  bool started = false;
  std::unique_ptr<char[]> stack{new char[kStack]};
  void* sanitizers = nullptr;  // what AddressSanitizer keeps for a stack that does not run
  bool done = true;
  const char* file = nullptr;  // of the barrier it waits at
  int line = 0;
};

std::vector<std::unique_ptr<Fiber>> fibers;
Fiber* running = nullptr;
Fiber scheduler;
const std::function<void()>* body = nullptr;
const void* scheduler_stack = nullptr;
size_t scheduler_stack_size = 0;

void leave_to(Fiber& from, Fiber& to, const void* stack, size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from.sanitizers, stack, size);
#endif
  if (!_setjmp(from.place)) {
    if (to.started) _longjmp(to.place, 1);
    to.started = true;
    setcontext(&to.start);
  }
#if defined(__SANITIZE_ADDRESS__)
  if (&from == &scheduler)
    __sanitizer_finish_switch_fiber(from.sanitizers, nullptr, nullptr);
  else
    __sanitizer_finish_switch_fiber(from.sanitizers, &scheduler_stack, &scheduler_stack_size);
#endif
}

void yield() { leave_to(*running, scheduler, scheduler_stack, scheduler_stack_size); }

void live() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_size);
#endif
  for (;;) {
    (*body)();
    running->done = true;
    yield();
  }
}

Fiber& fiber(unsigned i) {
  while (fibers.size() <= i) {
    fibers.push_back(std::make_unique<Fiber>());
    Fiber& made = *fibers.back();
    getcontext(&made.start);
    made.start.uc_stack.ss_sp = made.stack.get();
    made.start.uc_stack.ss_size = kStack;
    makecontext(&made.start, live, 0);
  }
  return *fibers[i];
}

// Every thread of the block goes on to its next barrier, first to last or last to first; whether all did.
bool advance(unsigned threads, bool backwards) {
  const Fiber* first = nullptr;
  for (unsigned turn = 0; turn < threads; ++turn) {
    threadIdx = dim3(backwards ? threads - 1 - turn : turn);
    running = fibers[threadIdx.x].get();
    leave_to(scheduler, *running, running->stack.get(), kStack);
    if (!first) first = running;
    if (running->done != first->done || running->file != first->file || running->line != first->line) {
      std::fprintf(stderr, "threads of a block part at a barrier: %s:%d\n", running->file, running->line);
      std::abort();
    }
  }
  return first->done;
}

}  // namespace

void barrier(const char* file, int line) {
  running->file = file;
  running->line = line;
  yield();
}

cudaError_t run(const cudaLaunchConfig_t& config, const std::function<void()>& thread) {
  static unsigned launches = 0;
  check_place(config.stream);
  const dim3 grid = config.gridDim;
  const unsigned threads = config.blockDim.x;
  const bool possible = grid.x && grid.y && grid.z && grid.x <= INT32_MAX && grid.y <= 65535 &&
                        grid.z <= FV2V_MOST_BLOCKS && threads && threads <= 1024 && config.blockDim.y == 1 &&
                        config.blockDim.z == 1 && config.dynamicSmemBytes <= fv2v::kMostShared;
  if (!possible) return cudaErrorInvalidConfiguration;
  ++launches;
  scheduler.started = true;
  gridDim = grid;
  blockDim = config.blockDim;
  body = &thread;
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(fv2v::shared_bytes, fv2v::kMostShared);
  ASAN_UNPOISON_MEMORY_REGION(fv2v::shared_bytes, config.dynamicSmemBytes);
#endif
  for (uint64_t block = 0; block < uint64_t(grid.x) * grid.y * grid.z; ++block) {
    blockIdx = dim3(block % grid.x, block / grid.x % grid.y, block / grid.x / grid.y);
    std::memset(fv2v::shared_bytes, 0xff,
                config.dynamicSmemBytes);  // NaN, whatever is read before it is written
    for (unsigned i = 0; i < threads; ++i) {
      fiber(i).done = false;
      fiber(i).file = nullptr;
    }
    // A missing barrier shows in one order or in the other.
    for (unsigned phase = launches; !advance(threads, phase % 2); ++phase) continue;
  }
  return cudaSuccess;
}

}  // namespace cuda_on_cpu

// Where nothing runs, the process's own device is current.
cudaError_t cudaGetDevice(int* device) {
  *device = cuda_on_cpu::current_device;
  if (*device == cuda_on_cpu::kDevice) std::fprintf(stderr, "a call left its device current\n"), std::abort();
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  cuda_on_cpu::current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
// Small, so that small tests have more work than threads.
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != cuda_on_cpu::kDevice) std::abort();
  *value = attribute == cudaDevAttrMultiProcessorCount ? 2 : 512;
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  cuda_on_cpu::check_place(stream);
  std::memset(memory, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t error) { return error ? "invalid configuration" : "no error"; }
