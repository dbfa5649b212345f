// Blur by a disk of each pixel's own radius on the CPU. No sum runs beyond the disk that it belongs to.
#include "cpu/disk/disk.h"

#include "cpu/disk/gather.h"
#include "cpu/disk/spread.h"
#include "cpu/radial/tiles.h"

namespace svconv {
namespace SVCONV_ISA { const DiskTable disk = {largest_of<DiskKernel>, blur_of<DiskKernel, Gatherer, Spreader>}; }  // namespace SVCONV_ISA
}  // namespace svconv
