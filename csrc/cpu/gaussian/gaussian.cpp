// Blur by a Gaussian of each pixel's own sigma on the CPU. The weights are products of a row's and a column's factor, made once for all
// images that share a map; no sum runs beyond the window that it belongs to.
#include "cpu/gaussian/gaussian.h"

#include "cpu/gaussian/gather.h"
#include "cpu/gaussian/spread.h"
#include "cpu/radial/tiles.h"

namespace svconv {
namespace SVCONV_ISA {
const GaussianTable gaussian = {largest_of<GaussianKernel>, blur_of<GaussianKernel, GaussianGatherer, GaussianSpreader>};

}  // namespace SVCONV_ISA
}  // namespace svconv
