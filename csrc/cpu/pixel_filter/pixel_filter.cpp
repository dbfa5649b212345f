// Per-pixel filtering on the CPU: y[b,c,m,p] = sum_d f[b,c,m,d,p] x[b,c,p+d], its transpose, its gradient, F'WF.
// Memory traffic is the cost: every filter value is read once for all images that share it. A task is a tile or band
// whose place depends on the shapes alone, computed whole by one thread: results do not depend on the thread count.
#include "cpu/pixel_filter/pixel_filter.h"

#include "cpu/pixel_filter/gather.h"
#include "cpu/pixel_filter/gram_gradient.h"
#include "cpu/pixel_filter/scatter.h"
#include "cpu/pixel_filter/stencil_assembly.h"
#include "cpu/pixel_filter/stencil_product.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

// Storage types: filters as the image, or half filters beside a float32 image.
#define SVCONV_BY_TYPE(NAME, IMAGE, WEIGHTS, FUNCTION) \
  Status NAME(const PixelFilterCall& call) { \
    switch (call.IMAGE.dtype) { \
      case DType::f64: return FUNCTION<double, double>(call); \
      case DType::bf16: return FUNCTION<BF16, BF16>(call); \
      case DType::f16: return FUNCTION<F16, F16>(call); \
      default: break; \
    } \
    switch (call.WEIGHTS.dtype) { \
      case DType::bf16: return FUNCTION<float, BF16>(call); \
      case DType::f16: return FUNCTION<float, F16>(call); \
      default: return FUNCTION<float, float>(call); \
    } \
  }

SVCONV_BY_TYPE(fwd_any, image, filters, forward)
SVCONV_BY_TYPE(adjoint_any, stack, filters, adjoint)
SVCONV_BY_TYPE(bwd_filters_any, image, filters, backward_filters)
SVCONV_BY_TYPE(gram_any, image, filters, gram)
SVCONV_BY_TYPE(gram_bwd_filters_any, image, filters, gram_backward_filters)
SVCONV_BY_TYPE(stencil_apply_any, image, stencil, stencil_product)
#undef SVCONV_BY_TYPE

// A stencil has the type of the filters, a half type beside float32 filters, or float32 beside half ones.
Status stencil_any(const PixelFilterCall& call) {
  const DType to = call.stencil.dtype;
  switch (call.filters.dtype) {
    case DType::f64: return stencil_assembly<double, double>(call);
    case DType::bf16: return to == DType::f32 ? stencil_assembly<BF16, float>(call) : stencil_assembly<BF16, BF16>(call);
    case DType::f16: return to == DType::f32 ? stencil_assembly<F16, float>(call) : stencil_assembly<F16, F16>(call);
    default: break;
  }
  switch (to) {
    case DType::bf16: return stencil_assembly<float, BF16>(call);
    case DType::f16: return stencil_assembly<float, F16>(call);
    default: return stencil_assembly<float, float>(call);
  }
}

}  // namespace

const PixelFilterTable pixel_filter = {fwd_any,     adjoint_any,      bwd_filters_any, gram_any, gram_bwd_filters_any,
                                       stencil_any, stencil_apply_any};

}  // namespace SVCONV_ISA
}  // namespace svconv
