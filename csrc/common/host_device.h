// SPDX-License-Identifier: Apache-2.0
// One spelling for functions that run on the CPU and on the GPU.
#pragma once

#if defined(__CUDACC__)
#define FV2V_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define FV2V_HOST_DEVICE inline __attribute__((always_inline))
#endif

// Runtime ISA dispatch: the same function compiled three times, chosen when the module is loaded. What such a
// function calls must be always_inline (FV2V_HOST_DEVICE), or it stays compiled for the oldest processor.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__) && \
    !defined(FV2V_NO_CLONES)
#define FV2V_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FV2V_CLONES
#endif

// A loop's body written as a lambda must be inlined into the clone that runs it.
#define FV2V_LAMBDA __attribute__((always_inline))
