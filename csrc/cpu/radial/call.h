// A blur whose kernel at each pixel is made of one number of a map: a disk's radius, the sigma of a Gaussian. Forms and adjoints are those
// of docs/ops/disk.md.
#pragma once

#include "cpu/families.h"
#include "cpu/types.h"

namespace svconv {

struct RadialCall {
  View image;           // [B, C, H, W]: x, or y where transposed
  View map;             // [B|1, 1|C, H, W]
  View second;          // the gradient in the map: the image that the blurred one is multiplied by; data == nullptr for none
  View result;          // like image, or like map where there is a second
  double most = 0;      // a promise: larger numbers of the map count as this one
  double largest = 0;   // finite number of the map, at most `most`; 0 if there is none
  double truncate = 0;  // half width of a Gaussian's window in sigmas
  int padding = 0;
  bool scatter = false, transposed = false;
  bool slope = false;  // the weights' derivative in the map instead of the weights
  int threads = 1;
};

}  // namespace svconv
