// svconv._C: the one door between NumPy views and the kernels; every family has a file of its own beside this one.
#include <pybind11/pybind11.h>

#include "bindings/arguments.h"
#include "core/boundary.h"

#ifndef SVCONV_FLAGS
#define SVCONV_FLAGS ""
#endif

namespace svconv {

#define SVCONV_FAMILY(stem, Table) void register_##stem(py::module_& m);
SVCONV_FAMILIES(SVCONV_FAMILY)
#undef SVCONV_FAMILY

namespace {

py::dict build_info() {
  py::dict info;
#if defined(__clang__)
  info["compiler"] = "clang " __clang_version__;
#elif defined(__GNUC__)
  info["compiler"] = "gcc " __VERSION__;
#else
  info["compiler"] = "unknown";
#endif
  info["flags"] = SVCONV_FLAGS;
  info["openmp"] = has_openmp();
  int count = 0;
  const Level* all = levels(&count);
  py::list built, supported;
  for (int i = 0; i < count; ++i) {
    built.append(all[i].name);
    if (all[i].supported) supported.append(all[i].name);
  }
  info["isa_built"] = built;
  info["isa_supported"] = supported;
  info["isa"] = level().name;
  return info;
}

py::tuple paddings() {
  py::tuple names(kPaddings);
  for (int i = 0; i < kPaddings; ++i) names[static_cast<py::size_t>(i)] = py::str(kPaddingNames[i]);
  return names;
}

}  // namespace
}  // namespace svconv

PYBIND11_MODULE(_C, m) {
  using namespace svconv;
  if (!chosen_level()) throw py::import_error("SVCONV_ISA: expected one of the levels in this build (baseline, avx2, avx512; generic)");
  m.doc() = "CPU kernels of svconv on NumPy views; see svconv.ops for the public functions";
  m.attr("PADDINGS") = paddings();
  m.def("build_info", &build_info, "Compiler, flags, instruction sets built, supported and chosen, OpenMP");
#define SVCONV_FAMILY(stem, Table) register_##stem(m);
  SVCONV_FAMILIES(SVCONV_FAMILY)
#undef SVCONV_FAMILY
}
