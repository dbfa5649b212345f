// Blur by a disk of each pixel's own radius. Operation, forms and adjoints are those of docs/ops/disk.md.
#pragma once

#include "cpu/families.h"
#include "cpu/types.h"

namespace svconv {

struct DiskCall {
  View image;   // [B, C, H, W]: x, or y where transposed
  View radius;  // [B|1, 1|C, H, W]
  View second;  // the gradient in the radius: the image that the blurred one is multiplied by; data == nullptr for none
  View result;  // like image, or like radius where there is a second
  double max_radius = 0;
  double largest = 0;  // what DiskTable::largest found
  int padding = 0;
  bool scatter = false, transposed = false;
  bool slope = false;  // the weights' derivative in the radius instead of the weights
  int threads = 1;
};

struct DiskTable {
  double (*largest)(const DiskCall&);  // finite radius, at most max_radius; 0 if there is none
  Status (*blur)(const DiskCall&);     // image, radius, second -> result
};

}  // namespace svconv
