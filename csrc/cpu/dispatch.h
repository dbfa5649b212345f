// Choice of the instruction set at run time. Every kernel file is compiled once per level and exports one table of
// functions in the namespace of its level.
#pragma once

#include "cpu/pixel_filter/pixel_filter.h"
#include "cpu/quotient/quotient.h"
#include "cpu/tanh_features/tanh_features.h"

namespace svconv {

struct Level {
  const char* name;
  bool supported;  // by this processor and operating system
  const PixelFilterTable* pixel_filter;
  const QuotientTable* quotient;
  const TanhFeaturesTable* tanh_features;
};

// Built levels, lowest first.
const Level* levels(int* count);

// The best supported level, or the one SVCONV_ISA asks for if it is lower; nullptr if SVCONV_ISA is not a known name.
const Level* chosen_level();

bool has_openmp();

// Asks for huge pages in a large output before its first write; no effect where the system has none.
void advise_huge_pages(void* data, std::size_t bytes);

}  // namespace svconv
