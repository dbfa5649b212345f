// Plain descriptions of arrays that the bindings hand to the kernels.
#pragma once

#include <cstddef>
#include <cstdint>

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

}  // namespace svconv
