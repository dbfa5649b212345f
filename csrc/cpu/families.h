// THE list of families: one line each. A family is the folder cpu/<stem>/, whose files are compiled once per instruction set and
// define one table of functions `const <Table> <stem>` in namespace SVCONV_ISA, and bindings/<stem>.cpp with register_<stem>().
#pragma once

#define SVCONV_FAMILIES(FAMILY) \
  FAMILY(disk, DiskTable) \
  FAMILY(eff, EffTable) \
  FAMILY(gaussian, GaussianTable) \
  FAMILY(pixel_filter, PixelFilterTable) \
  FAMILY(quotient, QuotientTable) \
  FAMILY(tanh_features, TanhFeaturesTable) \
  /* end of the list */

// The instruction sets that are seen from here, lowest first, and the processor features that their objects use: all of the build where
// it says so (setup.py makes both out of the compiler's flags), otherwise the one a file is compiled for.
#ifndef SVCONV_ISA
#define SVCONV_ISA generic
#endif
#ifndef SVCONV_LEVELS
#define SVCONV_LEVELS(LEVEL) LEVEL(SVCONV_ISA, "")
#endif

namespace svconv {

#define SVCONV_FAMILY(stem, Table) struct Table;
SVCONV_FAMILIES(SVCONV_FAMILY)
#undef SVCONV_FAMILY

#define SVCONV_FAMILY(stem, Table) extern const Table stem;
#define SVCONV_LEVEL(level, needs) \
  namespace level { \
  SVCONV_FAMILIES(SVCONV_FAMILY) \
  }
SVCONV_LEVELS(SVCONV_LEVEL)
#undef SVCONV_LEVEL
#undef SVCONV_FAMILY

}  // namespace svconv
