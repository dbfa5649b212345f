// A thread of a block as a fiber: a stack of its own, and a switch between it and the program.
#pragma once

#include <cstddef>
#include <functional>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#include <sys/mman.h>

namespace emulation {

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStack = 256 << 10;
#else
constexpr std::size_t kStack = 64 << 10;
#endif

#if defined(__x86_64__)
// Saves the registers that a call must keep, the stack pointer at *from, and goes on where `to` was saved.
extern "C" void svconv_emulation_switch(void** from, void* to);
asm(R"(
.text
.globl svconv_emulation_switch
.type svconv_emulation_switch, @function
svconv_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size svconv_emulation_switch, .-svconv_emulation_switch
)");
#endif

class Fiber {
 public:
  Fiber() : stack_(static_cast<char*>(mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {}
  ~Fiber() { munmap(stack_, kStack); }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  bool ended() const { return ended_; }

  void begin(const std::function<void()>& work) {
    work_ = &work;
    ended_ = false;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stack_, kStack);  // what the frames of an earlier block left
#endif
#if defined(__x86_64__)
    void** top = reinterpret_cast<void**>(stack_ + kStack - 64);  // what the switch takes: six registers and where to go on
    *--top = nullptr;                                             // the stack as after a call
    *--top = reinterpret_cast<void*>(&Fiber::start);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    own_ = top;
#else
    getcontext(&own_);
    own_.uc_stack.ss_sp = stack_;
    own_.uc_stack.ss_size = kStack;
    own_.uc_link = nullptr;
    makecontext(&own_, &Fiber::start, 0);
#endif
  }

  // Runs the fiber up to its next barrier or its end.
  void enter() {
    if (ended_) return;
    entered = this;
    before_switch(stack_, kStack, &program_fake_);
    to_fiber();
    after_switch(program_fake_, nullptr, nullptr);
  }

  // Back to the program, from within.
  void leave() {
    before_switch(program_stack_, program_size_, ended_ ? nullptr : &own_fake_);
    to_program();
    after_switch(own_fake_, &program_stack_, &program_size_);
  }

 private:
  static inline Fiber* entered = nullptr;

  static void start() {
    Fiber* const self = entered;
    self->after_switch(nullptr, &self->program_stack_, &self->program_size_);
    (*self->work_)();
    self->ended_ = true;
    self->leave();
  }

#if defined(__x86_64__)
  void to_fiber() { svconv_emulation_switch(&program_, own_); }
  void to_program() { svconv_emulation_switch(&own_, program_); }
  void *own_ = nullptr, *program_ = nullptr;
#else
  void to_fiber() { swapcontext(&program_, &own_); }
  void to_program() { swapcontext(&own_, &program_); }
  ucontext_t own_, program_;
#endif

#if defined(__SANITIZE_ADDRESS__)
  void before_switch(const void* stack, std::size_t size, void** fake) { __sanitizer_start_switch_fiber(fake, stack, size); }
  void after_switch(void* fake, const void** stack, std::size_t* size) { __sanitizer_finish_switch_fiber(fake, stack, size); }
#else
  void before_switch(const void*, std::size_t, void**) {}
  void after_switch(void*, const void**, std::size_t*) {}
#endif

  char* stack_;
  const std::function<void()>* work_ = nullptr;
  bool ended_ = true;
  void *own_fake_ = nullptr, *program_fake_ = nullptr;
  const void* program_stack_ = nullptr;
  std::size_t program_size_ = 0;
};

}  // namespace emulation
