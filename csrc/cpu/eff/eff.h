// Efficient filter flow: an image falls into patches, row by row of a grid, and every patch is filtered with its own kernel.
//
// Each patch is cut out, weighted, transformed, multiplied or divided, transformed back, weighted and added to the result, on a plane of
// rows.length x columns.length that fits a core's cache. Windows, boundary rules, their transposes and the geometry stand in the tables of
// the two axes; a patch whose window the boundary rule continues into several runs of pixels has as many pieces on an axis.
#pragma once

#include "cpu/families.h"
#include "cpu/types.h"

namespace svconv {

enum class EffMode : int { multiply, multiply_conjugate, divide };

struct EffAxis {
  View patch;                    // [pieces] of int64: the row (or column) of the grid a piece belongs to
  View load, store;              // [pieces, length] of int64: the pixel at each place of the plane, -1: zero, or dropped
  View load_taper, store_taper;  // [pieces, length] weights of the places; data nullptr: ones
  Index pieces = 0, length = 0;
  Index offset = 0;  // the kernel's value a stands at the place a - offset
};

struct EffCall {
  View x, y;         // images [B, C, H, W]; y: the second one of an estimate, read at the places of `store`
  View kernels;      // [B|1, C|1, R, kh, kw]; read by apply, written by estimate, then sums over the images that share it
  View spectra;      // [B|1, C|1, R, values]: what `spectra` makes of the kernels, instead of them; data nullptr: none
  View result;       // [B, C, H', W']; apply adds to it
  View beta, power;  // [B|1]; [rows.length, columns.length / 2 + 1] or data nullptr for ones
  EffAxis rows, columns;
  Index grid_columns = 1;
  EffMode mode = EffMode::multiply;
  int threads = 1;
};

// Values that the spectrum of one kernel takes in the call's planes, on this instruction set.
struct EffTable {
  Status (*apply)(const EffCall&);  // result += sum over pieces of store(F^-1[ K F[load(x)] ]), or conj(K), or conj(K) / (|K|^2 + beta P)
  Status (*estimate)(const EffCall&);  // kernels = F^-1[ sum conj(X) Y ], divided by sum |X|^2 + beta where beta is given
  Status (*spectra)(const EffCall&);   // kernels -> spectra
  Index (*values)(Index rows, Index columns, DType dtype);  // of one spectrum
};

}  // namespace svconv
