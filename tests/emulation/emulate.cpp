// Builds one kernel for the CPU, to be called through ctypes with the arguments a CUDA launch would get.
// clang-format off
#include KERNEL_SOURCE
// clang-format on
#include <utility>

namespace {
template <class... Args, size_t... I>
void call(void (*kernel)(Args...), void** args, std::index_sequence<I...>) {
  kernel(*static_cast<Args*>(args[I])...);
}
template <class... Args>
void call(void (*kernel)(Args...), void** args) {
  call(kernel, args, std::make_index_sequence<sizeof...(Args)>());
}
void** arguments;
void body() {
  using namespace emulation;
  call(KERNEL, arguments);
  fibres[current].done = true;
  yield();
}
}  // namespace

// Runs a grid of 512-thread blocks one after the other. counts: faults, wavefronts, ideal wavefronts.
extern "C" void emulate(void** args, int grid, long* counts) {
  using namespace emulation;
  arguments = args;
  blocks = grid;
  faults = wavefronts = ideal_wavefronts = 0;
  for (block = 0; block < grid; block++) {
    memset(shared, 0xff, sizeof(shared));
    pending.clear();
    for (auto& m : meetings) m.arrived = 0;
    for (auto& f : fibres) {
      f.stack.resize(1 << 16);
      f.done = false;
      f.accesses = 0;
      getcontext(&f.context);
      f.context.uc_stack.ss_sp = f.stack.data();
      f.context.uc_stack.ss_size = f.stack.size();
      f.context.uc_link = &scheduler;
      makecontext(&f.context, body, 0);
    }
    for (bool left = true; left;) {
      left = false;
      for (current = 0; current < emulation::kThreads; current++)
        if (!fibres[current].done) {
          left = true;
          swapcontext(&scheduler, &fibres[current].context);
        }
    }
  }
  counts[0] = faults;
  counts[1] = wavefronts;
  counts[2] = ideal_wavefronts;
}
