// Blur by a Gaussian of each pixel's own sigma. Operation, forms and adjoints are those of docs/ops/disk.md.
#pragma once

#include "cpu/radial/call.h"

namespace svconv {

struct GaussianTable {
  double (*largest)(const RadialCall&);  // for RadialCall::largest
  Status (*blur)(const RadialCall&);     // image, map, second -> result
};

}  // namespace svconv
