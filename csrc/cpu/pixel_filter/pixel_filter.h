// Per-pixel filtering: every pixel has its own small filter. Shapes are those of docs/ops/pixel_filter.md.
#pragma once

#include "cpu/families.h"
#include "cpu/types.h"

namespace svconv {

struct PixelFilterCall {
  View image;            // x or, for the adjoint, the result: [B, C, H, W]
  View filters;          // [B|1, C|1, M, kh, kw, H, W]
  View stack;            // y or g: [B, C, M, H, W]
  View weights;          // gram: [B|1, C|1, M, H, W], data == nullptr for none
  View result;           // gram: [B, C, H, W]
  View second;           // gradient of gram: the other image g, [B, C, H, W]
  View gradient;         // gradient of gram: like the filters
  View stencil;          // [B|1, C|1, values, H, W], contiguous: the half A(q, q + e) that starts at e = 0, row after row of e
  Index kh = 0, kw = 0;  // of the filters that the stencil was made of
  int padding = 0;
  int threads = 1;
};

struct PixelFilterTable {
  Status (*fwd)(const PixelFilterCall&);               // image, filters -> stack
  Status (*adjoint)(const PixelFilterCall&);           // stack, filters -> result
  Status (*bwd_filters)(const PixelFilterCall&);       // image, stack -> filters
  Status (*gram)(const PixelFilterCall&);              // image, filters, weights -> result
  Status (*gram_bwd_filters)(const PixelFilterCall&);  // image, second, filters, weights -> gradient
  Status (*stencil)(const PixelFilterCall&);           // filters, weights in the type of the sums -> stencil
  Status (*stencil_apply)(const PixelFilterCall&);     // image, stencil -> result; zeros or circular
};

}  // namespace svconv
