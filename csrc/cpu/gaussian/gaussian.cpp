// Blur by a Gaussian of each pixel's own sigma on the CPU. The weights are products of a row's and a column's factor, made once for all
// images that share a map; no sum runs beyond the window that it belongs to.
#include "cpu/gaussian/gaussian.h"

#include "cpu/gaussian/gather.h"
#include "cpu/gaussian/spread.h"
#include "cpu/radial/tiles.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

template <typename S> Status blur_stored(const RadialCall& call) {
  return Blur<S, GaussianKernel, GaussianGatherer<S>, GaussianSpreader<S>>(call).run();
}

Status blur(const RadialCall& call) {
  switch (call.image.dtype) {
    case DType::f64: return blur_stored<double>(call);
    case DType::bf16: return blur_stored<BF16>(call);
    case DType::f16: return blur_stored<F16>(call);
    default: return blur_stored<float>(call);
  }
}

}  // namespace

const GaussianTable gaussian = {largest_of<GaussianKernel>, blur};

}  // namespace SVCONV_ISA
}  // namespace svconv
