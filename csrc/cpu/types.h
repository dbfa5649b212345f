// Plain descriptions of arrays that the bindings hand to the kernels, and arithmetic with their sizes.
#pragma once

#include <cstddef>
#include <cstdint>

#define SVCONV_INLINE inline __attribute__((always_inline))

namespace svconv {

using Index = std::int64_t;

enum class DType : int { f32, f64, bf16, f16 };

// Strides count elements. A broadcast axis has shape 1 and is read with stride 0.
struct View {
  void* data = nullptr;
  Index shape[8] = {};
  Index stride[8] = {};
  DType dtype = DType::f32;
};

enum class Status : int { ok, out_of_memory };

namespace {

SVCONV_INLINE Index min_index(Index a, Index b) { return a < b ? a : b; }
SVCONV_INLINE Index max_index(Index a, Index b) { return a > b ? a : b; }
SVCONV_INLINE Index divide_up(Index a, Index b) { return (a + b - 1) / b; }
SVCONV_INLINE Index round_up(Index a, Index b) { return divide_up(a, b) * b; }

}  // namespace
}  // namespace svconv
