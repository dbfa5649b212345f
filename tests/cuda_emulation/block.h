// Runs the blocks of a launch, one after the other. In fibers a barrier is a switch: all threads go on to it, in the order of the run;
// a thread that ends while others wait at a barrier ends the program, as it would be undefined on a GPU.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "emulation.h"

#ifdef SVCONV_EMULATION_THREADS
#include <barrier>
#include <thread>
#else
#include "fiber.h"
#endif

namespace emulation {

struct Launch {
  dim3 grid, block;
  std::size_t shared = 0;
  std::string order = "ascending";  // of the blocks, and of the threads between two barriers; or "descending", "shuffled"
};

inline unsigned count(dim3 size) { return size.x * size.y * size.z; }
inline dim3 place(unsigned i, dim3 size) { return {i % size.x, i / size.x % size.y, i / size.x / size.y}; }

[[noreturn]] inline void fail(const char* message) {
  std::fprintf(stderr, "emulation: %s\n", message);
  std::_Exit(3);
}

class Order {
 public:
  Order(const std::string& name, unsigned n) : shuffled_(name == "shuffled"), numbers_(n) {
    std::iota(numbers_.begin(), numbers_.end(), 0u);
    if (name == "descending") std::reverse(numbers_.begin(), numbers_.end());
  }
  const std::vector<unsigned>& next() {  // shuffled: another one every time
    if (shuffled_) std::shuffle(numbers_.begin(), numbers_.end(), random_);
    return numbers_;
  }

 private:
  bool shuffled_;
  std::vector<unsigned> numbers_;
  std::mt19937 random_{20240601};
};

inline void* shared = nullptr;
inline void* shared_memory() { return shared; }

// Exactly as large as the launch says, so that AddressSanitizer sees its end; NaN in every type.
struct SharedMemory {
  explicit SharedMemory(std::size_t bytes) : memory(std::malloc(bytes)) {
    if (bytes) std::memset(memory, 0xff, bytes);
    shared = memory;
  }
  ~SharedMemory() { std::free(memory); }
  void* memory;
};

#ifdef SVCONV_EMULATION_THREADS
inline std::barrier<>* waiting = nullptr;
inline void barrier() { waiting->arrive_and_wait(); }

inline void run_block(const Launch& launch, dim3 block, const std::function<void()>& kernel) {
  const SharedMemory memory(launch.shared);
  const unsigned threads = count(launch.block);
  std::barrier<> all(threads);
  waiting = &all;
  std::vector<std::thread> team;
  for (unsigned i = 0; i < threads; ++i)
    team.emplace_back([&, i] {
      gridDim = launch.grid, blockDim = launch.block, blockIdx = block, threadIdx = place(i, launch.block);
      kernel();
      all.arrive_and_drop();
    });
  for (auto& thread : team) thread.join();
}
#else
inline std::vector<std::unique_ptr<Fiber>> fibers;
inline Fiber* running = nullptr;
inline void barrier() { running->leave(); }

inline void run_block(const Launch& launch, dim3 block, const std::function<void()>& kernel) {
  const SharedMemory memory(launch.shared);
  const unsigned threads = count(launch.block);
  while (fibers.size() < threads) fibers.push_back(std::make_unique<Fiber>());
  gridDim = launch.grid, blockDim = launch.block, blockIdx = block;
  for (unsigned i = 0; i < threads; ++i) fibers[i]->begin(kernel);
  Order order(launch.order, threads);
  for (unsigned ended = 0; ended < threads;) {
    ended = 0;
    for (const unsigned i : order.next()) {
      threadIdx = place(i, launch.block);
      running = fibers[i].get();
      running->enter();
      ended += running->ended();
    }
    if (ended > 0 && ended < threads) fail("a thread ended while others wait at a barrier");
  }
}
#endif

inline void run(const Launch& launch, const std::function<void()>& kernel) {
  Order order(launch.order, count(launch.grid));
  for (const unsigned i : order.next()) run_block(launch, place(i, launch.grid), kernel);
}

}  // namespace emulation
