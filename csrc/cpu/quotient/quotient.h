// What stands between the row transforms of the quotient family: transforms along the columns, products, sums and quotients of spectra,
// in one pass over half spectra [.., rows, columns, 2] (interleaved, the rows not yet transformed).
//
// A plane has `plane` rows. A load map [plane] names the stored row that stands at each row of the plane (-1: zero), a store map the
// stored row to which each row of the plane is added (-1: dropped): boundary rules, their transposes, padding and cropping are such maps.
// Kernels come transformed along their rows only, [.., kh, columns, 2]; kernel row a stands at plane row a - offset, and `ramp` [plane, 2]
// multiplies the spectrum of the column (the fractional part of the centre).
#pragma once

#include "cpu/families.h"
#include "cpu/types.h"

namespace svconv {

enum class QuotientMode : int { multiply, multiply_conjugate, divide };

struct QuotientCall {
  View x, y, g;                // inputs [B, C, rows, columns, 2]
  View kernel;                 // [B|1, C|1, kh, columns, 2]
  View out_x, out_y;           // outputs [B, C, rows, columns, 2]; data nullptr: not wanted
  View out_kernel;             // [B|1, C|1, kh, columns, 2]
  View slope;                  // [B] sums for the gradient in beta, float64; data nullptr: not wanted
  View load_x, load_y, store;  // maps [plane] of int64
  View taper, ramp;            // [plane], [plane, 2]
  View beta, power;            // [B|1]; [plane, columns] or nullptr for ones
  Index plane = 0, width = 0, offset = 0;
  QuotientMode mode = QuotientMode::multiply;
  int threads = 1;
};

// Real transforms along rows. A map [plane] names the column of the image that stands at each column of the plane (-1: zero); on the way
// back every column of the plane is added to the one that the map names (-1: dropped). No map: image and plane are the same.
struct RowsCall {
  View image;     // [B, C, H, W]; any strides on the way forward
  View spectrum;  // [B, C, H, plane / 2 + 1, 2], interleaved adjacent columns
  View map;       // [plane] of int64
  View taper;     // [plane]: weights of the plane's columns
  Index plane = 0;
  int threads = 1;
};

// What a whole call has besides the pass along the columns, whose spectra it makes itself: images [B, C, H, W], kernels [B|1, C|1, kh, kw].
struct WholeCall {
  View x, y, kernel, out;
  View enter, leave;    // maps [plane] of columns: from the image, and back to it
  View kernel_columns;  // map [plane] of the kernel's columns
  View taper;           // [plane]: weights of the plane's columns
  View ramp;            // [plane / 2 + 1, 2]: a factor of the spectra of the kernel's rows
  Index plane = 0;      // columns of the plane
  QuotientCall columns;
};

struct QuotientTable {
  Status (*filter)(const WholeCall&);         // out = F^-1[ K X ], F^-1[ conj(K) X ] or F^-1[ conj(K) X / (|K|^2 + beta P) ]
  Status (*kernel)(const WholeCall&);         // out = the kernel's values of F^-1[ sum conj(X) Y / (sum |X|^2 + beta) ]
  Status (*estimate)(const QuotientCall&);    // out_kernel = rows of F^-1[ sum conj(X) Y ], divided by sum |X|^2 + beta where beta is given
  Status (*kernel_bwd)(const QuotientCall&);  // gradients of the kernel quotient for g = kernel: out_x, out_y, slope
  Status (*image_bwd)(const QuotientCall&);   // gradients of the image quotient: out_x (= dY), out_kernel, slope
  Status (*rows_forward)(const RowsCall&);    // image -> spectrum
  Status (*rows_backward)(const RowsCall&);   // spectrum -> image, the inverse transform
};

}  // namespace svconv
