// Learned features: filters with tanh, per-pixel recombinations with tanh, a linear recombination; borders replicated.
#pragma once

#include "cpu/families.h"
#include "cpu/types.h"

namespace svconv {

struct TanhFeaturesCall {
  View image;    // [B, C0, H, W]
  View latent;   // [B, C1, H, W], data == nullptr for none
  View filters;  // [N, C0 + C1, k, k], k odd
  View hidden;   // [L, N, N], L may be 0
  View biases;   // [L + 1, N], data == nullptr for none
  View last;     // [O, N]
  View result;   // [B, O, H, W]
  int threads = 1;
};

struct TanhFeaturesTable {
  Status (*fwd)(const TanhFeaturesCall&);
};

}  // namespace svconv
