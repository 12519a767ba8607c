// One block of threads on a CPU, or a cluster of blocks: fibres that meet at every warp-wide or block-wide instruction,
// and shared memories that check bounds and alignment and count bank conflicts. Races and orderings cannot be seen here.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <vector>

using u16 = uint16_t;
using u32 = uint32_t;
using i64 = long long;
using u64 = unsigned long long;

#define FAST __attribute__((optimize("O3")))

namespace emulation {
#ifdef PLAN_CLUSTER
constexpr int kCluster = PLAN_CLUSTER;
#else
constexpr int kCluster = 1;
#endif
constexpr int kLanes = 32, kWarps = PLAN_WARPS, kThreads = kLanes * kWarps;  // of a block
constexpr int kFibres = kCluster * kThreads;
constexpr u32 kMapped = 1u << 20;  // from a block's shared memory to the next one's, where they are mapped
constexpr long kStack = 1 << 16, kAhead = 1 << 10;

struct Fibre {
  ucontext_t start;
  jmp_buf resume;
  bool started, done;
  long accesses;  // to shared memory so far
};
// 16 bytes on their way to shared memory, in the thread's committed group of that number. They arrive when the thread
// waits for them, not before; from when they are asked for, what was in their place is gone.
struct Copy {
  u32 to;
  const void* from;
  int valid;
  long group;
};
struct Copies {
  std::vector<Copy> pending;
  long groups;
};
struct Meeting {
  int arrived;
  long generation;
  u32 in[kLanes][6];
  float sums[kLanes][4];
  u32 out[kLanes][4];
};
// One warp's access, which its lanes reach one after the other, some of them `kAhead` accesses before the last at most.
struct Access {
  u32 at[kLanes];
  int lanes;
};

inline Fibre fibres[kFibres];
inline Copies copies[kFibres];
inline jmp_buf scheduler;
inline char* stacks;
inline int current, block, blocks;  // block: the first of the cluster
inline u32 shared_bytes;  // that the launch asked for
alignas(1024) inline unsigned char shared[kCluster][1 << 18];
// One a warp, one a block, and the cluster's.
inline Meeting meetings[kCluster * kWarps], block_meetings[kCluster], cluster_meeting;
inline Access accesses[kCluster * kWarps][kAhead];
inline long faults, wavefronts, ideal_wavefronts;

// _setjmp and _longjmp leave the signal mask alone: swapcontext asks the operating system twice each time.
FAST inline void yield() {
  if (_setjmp(fibres[current].resume) == 0) _longjmp(scheduler, 1);
}
template <class Last>
FAST void meet(Meeting& m, int size, Last last) {
  const long generation = m.generation;
  if (++m.arrived == size) {
    last();
    m.arrived = 0;
    m.generation++;
  } else {
    while (m.generation == generation) yield();
  }
}
inline Meeting& warp() { return meetings[current / kLanes]; }
inline int rank() { return current / kThreads; }
inline void resume(void (*body)()) {
  Fibre& f = fibres[current];
  if (_setjmp(scheduler) != 0) return;
  if (f.started) _longjmp(f.resume, 1);
  f.started = true;
  getcontext(&f.start);
  f.start.uc_stack.ss_sp = stacks + current * kStack;
  f.start.uc_stack.ss_size = kStack;
  makecontext(&f.start, body, 0);
  setcontext(&f.start);
}
// Every thread of one block, or cluster, to its end, in turns. `body` must set `done` and yield when it is through.
FAST inline void run_blocks(void (*body)()) {
  memset(shared, 0xff, sizeof(shared));
  memset(accesses, 0, sizeof(accesses));
  for (auto& m : meetings) m.arrived = 0;
  for (auto& m : block_meetings) m.arrived = 0;
  cluster_meeting.arrived = 0;
  for (auto& f : fibres) f.started = f.done = false, f.accesses = 0;
  for (auto& own : copies) own.pending.clear(), own.groups = 0;
  for (bool left = true; left;) {
    left = false;
    for (current = 0; current < kFibres; current++)
      if (!fibres[current].done) {
        left = true;
        resume(body);
      }
  }
#ifndef LANES_DIVERGE  // of a kernel whose lanes may go different ways at shared memory
  // Where they did nothing could be counted.
  for (const auto& warp : accesses)
    for (const auto& access : warp) faults += access.lanes > 0;
#endif
}

FAST inline unsigned char* checked_of(int block, u32 at, u32 bytes) {
  static unsigned char nowhere[16];
  if (at % bytes == 0 && at + bytes <= shared_bytes) return shared[block] + at;
  faults++;
  return nowhere;
}
FAST inline unsigned char* checked(u32 at, u32 bytes) { return checked_of(rank(), at, bytes); }
// Wavefronts of one warp's access: lanes go in groups of 128 bytes; a group takes as many as its busiest bank, and a
// word that several lanes ask for counts once.
FAST inline void count(const u32 (&address)[kLanes], u32 bytes) {
  const u32 lanes = 128 / bytes;
  for (u32 start = 0; start < kLanes; start += lanes) {
    u32 words[32][32], size[32] = {}, most = 0;
    for (u32 lane = start; lane < start + lanes; lane++)
      for (u32 word = address[lane] / 4; word < (address[lane] + bytes) / 4; word++) {
        u32 *bank = words[word % 32], &used = size[word % 32], i = 0;
        while (i < used && bank[i] != word) i++;
        if (i == used) bank[used++] = word;
        most = used > most ? used : most;
      }
    wavefronts += most;
    ideal_wavefronts++;
  }
}
FAST inline void trace(u32 at, u32 bytes) {
  Access& access = accesses[current / kLanes][fibres[current].accesses++ % kAhead];
  access.at[current % kLanes] = at;
  if (++access.lanes == kLanes) {
    count(access.at, bytes);
    access.lanes = 0;
  }
}
template <class T>
T load(u32 at) {
  trace(at, sizeof(T));
  T v;
  memcpy(&v, checked(at, sizeof(T)), sizeof(T));
  return v;
}
template <class T>
void store(u32 at, T v) {
  trace(at, sizeof(T));
  memcpy(checked(at, sizeof(T)), &v, sizeof(T));
}
// The same of any block of the cluster.
template <class T>
T load_mapped(u32 at) {
  trace(at % kMapped, sizeof(T));
  T v;
  memcpy(&v, checked_of(at / kMapped % kCluster, at % kMapped, sizeof(T)), sizeof(T));
  return v;
}
template <class T>
void store_mapped(u32 at, T v) {
  trace(at % kMapped, sizeof(T));
  memcpy(checked_of(at / kMapped % kCluster, at % kMapped, sizeof(T)), &v, sizeof(T));
}
}  // namespace emulation
