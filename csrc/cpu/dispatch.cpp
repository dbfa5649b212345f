#include "cpu/dispatch.h"

#include <cstdlib>
#include <cstring>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace svconv {
namespace {

#ifdef SVCONV_X86_LEVELS
bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

const Level kLevels[] = {
    {"baseline", true, &baseline::pixel_filter, &baseline::quotient, &baseline::tanh_features},
    {"avx2", has_avx2(), &avx2::pixel_filter, &avx2::quotient, &avx2::tanh_features},
    {"avx512", has_avx512(), &avx512::pixel_filter, &avx512::quotient, &avx512::tanh_features},
};
#else
const Level kLevels[] = {{"generic", true, &generic::pixel_filter, &generic::quotient, &generic::tanh_features}};
#endif
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

void advise_huge_pages(void* data, std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kHuge = std::uintptr_t{2} << 20;
  if (bytes < 2 * kHuge) return;
  const auto begin = (reinterpret_cast<std::uintptr_t>(data) + kHuge - 1) & ~(kHuge - 1);
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + bytes) & ~(kHuge - 1);
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)data;
  (void)bytes;
#endif
}

}  // namespace svconv
