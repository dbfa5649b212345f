// Choice of the instruction set at run time. Every file of a family is compiled once per level and exports one table of
// functions in the namespace of its level.
#pragma once

#include "cpu/families.h"

namespace svconv {

struct Level {
  const char* name;
  bool supported;  // by this processor and operating system
#define SVCONV_FAMILY(stem, Table) const Table* stem;
  SVCONV_FAMILIES(SVCONV_FAMILY)
#undef SVCONV_FAMILY
};

// Built levels, lowest first.
const Level* levels(int* count);

// The best supported level, or the one SVCONV_ISA asks for if it is lower; nullptr if SVCONV_ISA is not a known name.
const Level* chosen_level();

bool has_openmp();

}  // namespace svconv
