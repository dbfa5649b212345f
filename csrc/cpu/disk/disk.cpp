// Blur by a disk of each pixel's own radius on the CPU. No sum runs beyond the disk that it belongs to.
#include "cpu/disk/disk.h"

#include "cpu/disk/gather.h"
#include "cpu/disk/spread.h"
#include "cpu/radial/tiles.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

template <typename S> Status blur_stored(const RadialCall& call) { return Blur<S, DiskKernel, Gatherer<S>, Spreader<S>>(call).run(); }

Status blur(const RadialCall& call) {
  switch (call.image.dtype) {
    case DType::f64: return blur_stored<double>(call);
    case DType::bf16: return blur_stored<BF16>(call);
    case DType::f16: return blur_stored<F16>(call);
    default: return blur_stored<float>(call);
  }
}

}  // namespace

const DiskTable disk = {largest_of<DiskKernel>, blur};

}  // namespace SVCONV_ISA
}  // namespace svconv
