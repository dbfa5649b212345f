// The program around the kernels: reads a job (kernel, launch, arguments, buffers), runs it and writes the buffers back.
//
//     KERNEL\n grid.x grid.y grid.z block.x block.y block.z shared order\n
//     number of buffers, then for each: bytes, number of parts, then for each: offset bytes\n
//     number of arguments, then for each: p BUFFER OFFSET | i VALUE or the bits of a double\n
//     the parts, which alone are read and written back
#pragma once

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <tuple>

#include "block.h"

namespace emulation {

using Word = std::uint64_t;
using Entry = std::function<std::function<void()>(const std::vector<Word>&)>;

template <typename T> T argument(Word word) {
  static_assert(sizeof(T) == 8, "kernels take pointers, long long and double");
  T value;
  std::memcpy(&value, &word, 8);
  return value;
}

// A kernel as a function of its arguments' bits.
template <typename... Args> Entry entry(void (*kernel)(Args...)) {
  return [kernel](const std::vector<Word>& words) -> std::function<void()> {
    if (words.size() != sizeof...(Args)) fail("another number of arguments than the kernel has");
    return [kernel, words] {
      [&]<std::size_t... I>(std::index_sequence<I...>) { kernel(argument<Args>(words[I])...); }(std::index_sequence_for<Args...>{});
    };
  };
}

struct Buffer {  // of its own allocation, so that AddressSanitizer sees its end
  std::unique_ptr<char, decltype(&std::free)> memory;
  std::vector<std::pair<std::size_t, std::size_t>> parts;
};

inline int main(const char* job, const char* result, const std::map<std::string, Entry>& kernels) {
  std::ifstream in(job, std::ios::binary);
  std::string name;
  std::getline(in, name);
  const auto found = kernels.find(name);
  if (found == kernels.end()) fail(("no kernel " + name).c_str());
  Launch launch;
  dim3 &g = launch.grid, &b = launch.block;
  in >> g.x >> g.y >> g.z >> b.x >> b.y >> b.z >> launch.shared >> launch.order;

  std::vector<Buffer> buffers;
  std::size_t number, bytes;
  for (in >> number; number; --number) {
    std::size_t parts, offset, length;
    in >> bytes >> parts;
    Buffer buffer{{static_cast<char*>(std::malloc(bytes)), &std::free}, {}};
    for (; parts; --parts) in >> offset >> length, buffer.parts.emplace_back(offset, length);
    buffers.push_back(std::move(buffer));
  }
  std::vector<Word> words;
  for (in >> number; number; --number) {
    char kind;
    in >> kind;
    std::int64_t value = 0, offset = 0;
    in >> value;
    if (kind == 'p') {
      in >> offset;
      words.push_back(value < 0 ? 0 : reinterpret_cast<Word>(buffers.at(static_cast<std::size_t>(value)).memory.get() + offset));
    } else {
      words.push_back(static_cast<Word>(value));
    }
  }
  in.get();
  for (const Buffer& buffer : buffers)
    for (const auto& [offset, length] : buffer.parts) in.read(buffer.memory.get() + offset, static_cast<std::streamsize>(length));
  if (!in) fail("the job is cut short");

  run(launch, found->second(words));
  std::ofstream out(result, std::ios::binary);
  for (const Buffer& buffer : buffers)
    for (const auto& [offset, length] : buffer.parts) out.write(buffer.memory.get() + offset, static_cast<std::streamsize>(length));
  return out.flush() ? 0 : 4;
}

}  // namespace emulation
