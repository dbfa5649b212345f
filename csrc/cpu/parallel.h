// Scratch memory, teams of threads, huge pages.
#pragma once

#include <stdlib.h>

#include "cpu/types.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace svconv {
namespace {

// Uninitialised memory aligned to cache lines, with a little more behind it: row kernels read whole vectors.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes) {
    if (posix_memalign(&data_, 64, (bytes + 63) / 64 * 64 + 128) != 0) data_ = nullptr;
  }
  ~Scratch() { free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <typename T> T* as() { return static_cast<T*>(data_); }
  bool ok() const { return data_ != nullptr; }

 private:
  void* data_ = nullptr;
};

SVCONV_INLINE int thread_index() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

// A team costs some microseconds: fewer threads for little work, measured in bytes moved through memory.
SVCONV_INLINE int team_size(int threads, Index tasks, double bytes) {
  constexpr double kBytesPerThread = 256 << 10;
  Index team = threads < tasks ? threads : tasks;
  if (bytes / kBytesPerThread < static_cast<double>(team)) team = static_cast<Index>(bytes / kBytesPerThread);
  return team < 1 ? 1 : static_cast<int>(team);
}

// Asks for huge pages in a large output before its first write; no effect where the system has none.
inline void advise_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kHuge = std::uintptr_t{2} << 20;
  if (bytes < 2 * kHuge) return;
  const auto begin = (reinterpret_cast<std::uintptr_t>(data) + kHuge - 1) & ~(kHuge - 1);
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + bytes) & ~(kHuge - 1);
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace
}  // namespace svconv
