#include "cpu/dispatch.h"

#include <cstdlib>
#include <sstream>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace svconv {
namespace {

#if defined(__x86_64__)
// A bit of register `index` (eax, ebx, ecx, edx) of a cpuid leaf: for names that not every __builtin_cpu_supports knows.
bool cpuid_bit(unsigned leaf, int index, int bit) {
  unsigned registers[4] = {};
  if (!__get_cpuid(leaf, &registers[0], &registers[1], &registers[2], &registers[3])) return false;
  return (registers[index] >> bit) & 1u;
}

// Features by the names of the compilers' -m flags; what is not listed counts as absent.
bool has_feature(const std::string& name) {
  __builtin_cpu_init();
  const bool wide = __builtin_cpu_supports("avx2");  // asks the operating system for the registers, too
  const struct {
    const char* name;
    bool present;
  } features[] = {
      {"sse4.2", static_cast<bool>(__builtin_cpu_supports("sse4.2"))},
      {"popcnt", static_cast<bool>(__builtin_cpu_supports("popcnt"))},
      {"avx2", wide},
      {"fma", wide && __builtin_cpu_supports("fma")},
      {"f16c", wide && cpuid_bit(1, 2, 29)},
      {"bmi", static_cast<bool>(__builtin_cpu_supports("bmi"))},
      {"bmi2", static_cast<bool>(__builtin_cpu_supports("bmi2"))},
      {"lzcnt", cpuid_bit(0x80000001u, 2, 5)},
      {"avx512f", static_cast<bool>(__builtin_cpu_supports("avx512f"))},
      {"avx512bw", static_cast<bool>(__builtin_cpu_supports("avx512bw"))},
      {"avx512dq", static_cast<bool>(__builtin_cpu_supports("avx512dq"))},
      {"avx512vl", static_cast<bool>(__builtin_cpu_supports("avx512vl"))},
  };
  for (const auto& feature : features)
    if (name == feature.name) return feature.present;
  return false;
}
#else
bool has_feature(const std::string&) { return false; }
#endif

std::string joined(const std::vector<std::string>& names) {
  std::string result;
  for (const std::string& name : names) result += (result.empty() ? "" : ", ") + name;
  return result;
}

std::vector<std::string> names_of(bool supported_only) {
  std::vector<std::string> result;
  for (const Level& level : levels())
    if (level.supported() || !supported_only) result.emplace_back(level.name);
  return result;
}

Level completed(Level level, const char* needs) {
  std::istringstream stream(needs);
  for (std::string name; stream >> name;) {
    level.needs.push_back(name);
    if (!has_feature(name)) level.lacks.push_back(name);
  }
  return level;
}

const Level* choose(std::string* mistake) {
  const char* wanted = std::getenv("SVCONV_ISA");
  if (!wanted || !*wanted) {
    const Level* best = nullptr;
    for (const Level& level : levels())
      if (level.supported()) best = &level;
    return best;
  }
  for (const Level& level : levels()) {
    if (wanted != std::string(level.name)) continue;
    if (level.supported()) return &level;
    *mistake = std::string("SVCONV_ISA: this processor cannot run ") + wanted + " (it lacks " + joined(level.lacks) +
               "); expected one of " + joined(names_of(true));
    return nullptr;
  }
  *mistake = "SVCONV_ISA: expected one of " + joined(names_of(false)) + ", got '" + wanted + "'";
  return nullptr;
}

}  // namespace

// A level finds its tables in its namespace.
#define SVCONV_FAMILY(stem, Table) level.stem = &stem;
#define SVCONV_LEVEL(level_name, needs) \
  namespace level_name { \
  static Level described() { \
    Level level = {}; \
    level.name = #level_name; \
    SVCONV_FAMILIES(SVCONV_FAMILY) \
    return completed(level, needs); \
  } \
  }
SVCONV_LEVELS(SVCONV_LEVEL)
#undef SVCONV_LEVEL
#undef SVCONV_FAMILY

const std::vector<Level>& levels() {
#define SVCONV_LEVEL(level, needs) level::described(),
  static const std::vector<Level> all = {SVCONV_LEVELS(SVCONV_LEVEL)};
#undef SVCONV_LEVEL
  return all;
}

const Level* chosen_level(std::string* mistake) {
  static const Level* chosen = nullptr;  // kept once there is one
  std::string text;
  if (!chosen) chosen = choose(&text);
  if (mistake) *mistake = text;
  return chosen;
}

bool has_openmp() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

}  // namespace svconv
