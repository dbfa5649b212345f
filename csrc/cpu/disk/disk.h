// Blur by a disk of each pixel's own radius. Operation, forms and adjoints are those of docs/ops/disk.md.
#pragma once

#include "cpu/radial/call.h"

namespace svconv {

struct DiskTable {
  double (*largest)(const RadialCall&);  // for RadialCall::largest
  Status (*blur)(const RadialCall&);     // image, map, second -> result
};

}  // namespace svconv
