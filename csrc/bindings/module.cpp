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

py::list list_of(const std::vector<std::string>& names) {
  py::list result;
  for (const std::string& name : names) result.append(name);
  return result;
}

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
  py::list built, supported;
  py::dict needs, lacks;
  for (const Level& each : levels()) {
    built.append(each.name);
    if (each.supported()) supported.append(each.name);
    needs[each.name] = list_of(each.needs);
    lacks[each.name] = list_of(each.lacks);
  }
  info["isa_built"] = built;
  info["isa_supported"] = supported;
  info["isa_needs"] = needs;
  info["isa_lacks"] = lacks;
  info["isa"] = level().name;
  return info;
}

// A mistake in SVCONV_ISA is the ValueError that causes the ImportError: whoever imports the module can tell it from a broken build.
void require_level() {
  std::string mistake;
  if (chosen_level(&mistake)) return;
  if (mistake.empty()) throw py::import_error("this processor runs none of the built instruction sets");
  PyErr_SetString(PyExc_ValueError, mistake.c_str());
  throw py::error_already_set();
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
  require_level();
  m.doc() = "CPU kernels of svconv on NumPy views; see svconv.ops for the public functions";
  m.attr("PADDINGS") = paddings();
  m.def("build_info", &build_info,
        "Compiler, flags, instruction sets (built, supported, chosen; what they need and this processor lacks), OpenMP");
#define SVCONV_FAMILY(stem, Table) register_##stem(m);
  SVCONV_FAMILIES(SVCONV_FAMILY)
#undef SVCONV_FAMILY
}
