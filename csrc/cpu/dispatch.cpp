#include "cpu/dispatch.h"

#include <cstdlib>
#include <cstring>

namespace svconv {
namespace {

[[maybe_unused]] bool has_generic() { return true; }
#if defined(__x86_64__)
[[maybe_unused]] bool has_baseline() { return true; }

[[maybe_unused]] bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

[[maybe_unused]] bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

// The tables of a level are found in its namespace.
#define SVCONV_FAMILY(stem, Table) &stem,
#define SVCONV_LEVEL(level)                                                                      \
  namespace level {                                                                              \
  static Level described() { return {#level, has_##level(), SVCONV_FAMILIES(SVCONV_FAMILY)}; }          \
  }
}  // namespace
SVCONV_LEVELS(SVCONV_LEVEL)
#undef SVCONV_LEVEL
#undef SVCONV_FAMILY
namespace {

#define SVCONV_LEVEL(level) level::described(),
const Level kLevels[] = {SVCONV_LEVELS(SVCONV_LEVEL)};
#undef SVCONV_LEVEL
constexpr int kCount = sizeof(kLevels) / sizeof(kLevels[0]);

const Level* choose() {
  int top = kCount - 1;
  if (const char* wanted = std::getenv("SVCONV_ISA"); wanted && *wanted) {
    int named = -1;
    for (int i = 0; i < kCount; ++i)
      if (std::strcmp(wanted, kLevels[i].name) == 0) named = i;
    if (named < 0) return nullptr;
    top = named;
  }
  while (top > 0 && !kLevels[top].supported) --top;
  return &kLevels[top];
}

}  // namespace

const Level* levels(int* count) {
  *count = kCount;
  return kLevels;
}

const Level* chosen_level() {
  static const Level* const chosen = choose();
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
