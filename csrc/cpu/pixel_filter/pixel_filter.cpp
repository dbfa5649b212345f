// Per-pixel filtering on the CPU: y[b,c,m,p] = sum_d f[b,c,m,d,p] x[b,c,p+d], its transpose, its gradient, F'WF.
// Memory traffic is the cost: every filter value is read once for all images that share it. A task is a tile or band
// whose place depends on the shapes alone, computed whole by one thread: results do not depend on the thread count.
#include "cpu/pixel_filter/pixel_filter.h"

#include "cpu/pixel_filter/gather.h"
#include "cpu/pixel_filter/gram_gradient.h"
#include "cpu/pixel_filter/scatter.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

// Storage types: filters as the image, or half filters beside a float32 image.
#define SVCONV_BY_TYPE(NAME, IMAGE, FUNCTION) \
  Status NAME(const PixelFilterCall& call) { \
    switch (call.IMAGE.dtype) { \
      case DType::f64: return FUNCTION<double, double>(call); \
      case DType::bf16: return FUNCTION<BF16, BF16>(call); \
      case DType::f16: return FUNCTION<F16, F16>(call); \
      default: break; \
    } \
    switch (call.filters.dtype) { \
      case DType::bf16: return FUNCTION<float, BF16>(call); \
      case DType::f16: return FUNCTION<float, F16>(call); \
      default: return FUNCTION<float, float>(call); \
    } \
  }

SVCONV_BY_TYPE(fwd_any, image, forward)
SVCONV_BY_TYPE(adjoint_any, stack, adjoint)
SVCONV_BY_TYPE(bwd_filters_any, image, backward_filters)
SVCONV_BY_TYPE(gram_any, image, gram)
SVCONV_BY_TYPE(gram_bwd_filters_any, image, gram_backward_filters)
#undef SVCONV_BY_TYPE

}  // namespace

const PixelFilterTable pixel_filter = {fwd_any, adjoint_any, bwd_filters_any, gram_any, gram_bwd_filters_any};

}  // namespace SVCONV_ISA
}  // namespace svconv
