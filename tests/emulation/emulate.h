// Makes a kernel callable through ctypes: EMULATED(forward) after #include <forward.cu> defines emulate_forward, which
// takes the addresses of the arguments that a CUDA launch would get.
#pragma once
#include <block.h>
#include <utility>

namespace emulation {
inline void** arguments;

template <class... Args, size_t... I>
void call(void (*kernel)(Args...), std::index_sequence<I...>) {
  kernel(*static_cast<Args*>(arguments[I])...);
}
template <class... Args>
void call(void (*kernel)(Args...)) {
  call(kernel, std::make_index_sequence<sizeof...(Args)>());
}
// A grid of blocks, or of clusters, one after the other. counts: faults, wavefronts, ideal wavefronts.
inline void run_grid(void (*body)(), void** args, int grid, u32 dynamic_shared, long* counts) {
  arguments = args, blocks = grid, shared_bytes = dynamic_shared;
  faults = wavefronts = ideal_wavefronts = 0;
  stacks = static_cast<char*>(malloc(kFibres * kStack));
  for (block = 0; block < grid; block += kCluster) run_blocks(body);
  free(stacks);
  counts[0] = faults, counts[1] = wavefronts, counts[2] = ideal_wavefronts;
}
}  // namespace emulation

#define EMULATED(kernel)                                                                           \
  extern "C" void emulate_##kernel(void** args, int grid, unsigned dynamic_shared, long* counts) { \
    const auto body = [] {                                                                         \
      emulation::call(kernel);                                                                     \
      emulation::fibres[emulation::current].done = true;                                           \
      emulation::yield();                                                                          \
    };                                                                                             \
    emulation::run_grid(body, args, grid, dynamic_shared, counts);                                 \
  }
