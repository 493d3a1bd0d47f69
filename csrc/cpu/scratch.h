// SPDX-License-Identifier: Apache-2.0
// CPU: working memory that outlives a call. Fresh pages cost more than the packing they would hold (a call on
// a 32 x 16 x 64 x 64 volume faulted 2,200 of them in), so up to kKept bytes are kept for the next call.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

namespace fv2v {

class Scratch {
 public:
  explicit Scratch(size_t bytes) {
    const size_t needed = std::max<size_t>(bytes, 1);
    {
      const std::lock_guard<std::mutex> lock(mutex());
      if (kept().bytes_ >= needed) swap(kept());
    }
    if (memory_) return;
    if (posix_memalign(&memory_, 64, needed) != 0) throw std::bad_alloc();
    bytes_ = needed;
  }
  Scratch(Scratch&& other) noexcept { swap(other); }
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    {
      const std::lock_guard<std::mutex> lock(mutex());
      if (bytes_ <= kKept && bytes_ > kept().bytes_) swap(kept());
    }
    std::free(memory_);
  }
  void* data() const { return memory_; }

 private:
#if defined(__SANITIZE_ADDRESS__)
  static constexpr size_t kKept = 0;  // memory of its own for every call shows a step past its end
#else
  static constexpr size_t kKept = size_t(64) << 20;
#endif

  Scratch() = default;
  void swap(Scratch& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
  }
  // Never destroyed: a call on another thread may outlive static destruction.
  static Scratch& kept() {
    static Scratch* one = new Scratch();
    return *one;
  }
  static std::mutex& mutex() {
    static std::mutex* one = new std::mutex();
    return *one;
  }

  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace fv2v
