// Choice of the instruction set at run time. Every file of a family is compiled once per level and exports one table of
// functions in the namespace of its level.
#pragma once

#include <string>
#include <vector>

#include "cpu/families.h"

namespace svconv {

struct Level {
  const char* name;
  std::vector<std::string> needs;  // processor features that its objects use
  std::vector<std::string> lacks;  // those that this processor, or the operating system, does not have
  bool supported() const { return lacks.empty(); }
#define SVCONV_FAMILY(stem, Table) const Table* stem;
  SVCONV_FAMILIES(SVCONV_FAMILY)
#undef SVCONV_FAMILY
};

// Built levels, lowest first.
const std::vector<Level>& levels();

// The level that SVCONV_ISA asks for, or the best supported one. nullptr if there is none: `mistake` then says what is wrong with
// SVCONV_ISA, or is empty where the processor supports no level.
const Level* chosen_level(std::string* mistake = nullptr);

bool has_openmp();

}  // namespace svconv
