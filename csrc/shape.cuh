// The plan as compile-time numbers: every size and every shared-memory address, computed once.
#pragma once
#include <ptx.cuh>

template <int kRadix_, int kSplit_, int kGroups_, int kWarps_, int kStaged_, bool kSpectrumInShared_>
struct Shape {
  static constexpr int kRadix = kRadix_, kSplit = kSplit_, kGroups = kGroups_, kWarps = kWarps_;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kBlocksPerSm = 16 / kWarps;
  // Beside u. forward: 0, or 2: both gates. backward: 1: dy, later u; 2: gate_in as well.
  static constexpr int kStaged = kStaged_;
  static constexpr bool kSpectrumInShared = kSpectrumInShared_;
  static constexpr int kTiles = kGroups * kSplit;  // tiles of 4,096 points in a block: 16 slots of 256
  static constexpr int kPasses = 16 / kWarps;      // slots of a tile that belong to one warp
  static constexpr int kItems = kTiles * kPasses;  // item = tile * kPasses + pass: a warp's slots in all tiles
  static constexpr int kPacked = 16 / kRadix;      // rows that share a tile
  static constexpr int kRowsPerStep = kGroups * kPacked;
  static constexpr int kSize = 256 * kRadix * kSplit;  // points of the transform
  static constexpr int kColumns = 8 / kSplit;          // lags that share a tile of 8 columns in stage b
  // Whether a warp's second slot has another outer index a' than its first, and so other matrices.
  static constexpr bool kTurned = kPasses == 2 && kRadix == 16;
  static_assert(kRadix * kPacked == 16 && kSplit * kColumns == 8, "R and S are powers of two, at most 16 and 8");
  static_assert(kSplit == 1 || kRadix == 16, "short rows are packed, long rows are split");
  static_assert(kWarps == 8 || kWarps == 16, "a warp has one or two slots of a tile");

  // Shared memory: [peak of each row][tables][tiles of complex fp16][tiles of real fp16][gate_in][gate_out].
  static constexpr u32 kPeaks = 0, kTables = 512;
  static constexpr u32 kOuterBytes = kSplit == 1 ? 2048 : 2048 + 3072 + 2048 * kSplit;
  static constexpr u32 kTableBytes = kOuterBytes + (kTurned ? 2048 : 0);
  static constexpr u32 kExchange = kTables + kTableBytes;
  static constexpr u32 kSamples = kExchange + kTiles * 16384;
  static constexpr u32 kGateIn = kSamples + kTiles * 8192;
  static constexpr u32 kGateOut = kGateIn + kTiles * 8192;
  // The backward kernel has instead: [T(v)][dy, later u][gate_in].
  static constexpr u32 kSpectrum = kSamples + kTiles * 8192;
  static constexpr u32 kSecond = kSpectrum + (kSpectrumInShared ? kTiles * 16384 : 0), kFirst = kSecond + kTiles * 8192;

  // Words of 16 bytes before each table; `genoconv/ops/tables.py` writes them in this order.
  static constexpr int kMiddle = kRadix * 256, kOuter = kMiddle + 128;
  // Bytes from kTables of what lives in shared memory.
  static constexpr u32 kStageIn = 0, kStageBack = 1024, kBranchIn = 2048, kBranchBack = 2560;
  static constexpr u32 kTwistIn = 3072, kTwistBack = 4096, kLagIn = 5120, kLagBack = 5120 + 1024 * kSplit;
  static constexpr u32 kTurnedIn = kOuterBytes, kTurnedBack = kOuterBytes + 1024;

  // 16 bytes of the exchange buffer: eight consecutive lags (chunk = lag / 8) of the real or imaginary part of outer
  // index `slot` (a, a' or packed row) in `tile`. Eight slots, eight c or eight neighbouring chunks never share a
  // bank.
  static DEVICE u32 exchange(int tile, int slot, int chunk, int comp) {
    const int c = chunk >> 1, half = chunk & 1;
    const int turn = (c ^ slot ^ (comp << 2) ^ (half << 2) ^ (((tile % kSplit) * kColumns) & 6)) & 7;
    return shared_base() + kExchange + tile * 16384 + slot * 1024 + comp * 512 + half * 256 + (c >> 3) * 128 +
           turn * 16;
  }
  static DEVICE u32 imaginary(u32 real) { return (real ^ 64) + 512; }  // of exchange(..., 0); kExchange % 128 is 0
  static_assert(kExchange % 128 == 0, "addresses are turned by exclusive or");
  // 16 bytes of a buffer of real fp16: eight columns of `slot` (its warp's lane = chunk owns them).
  static DEVICE u32 samples(u32 buffer, int tile, int slot, int chunk) {
    return shared_base() + buffer + tile * 8192 + slot * 512 + ((chunk ^ (slot & 7)) << 4);
  }
};

using Plan = Shape<PLAN_RADIX, PLAN_SPLIT, PLAN_GROUPS, PLAN_WARPS, PLAN_STAGED, PLAN_SPECTRUM_IN_SMEM>;

DEVICE int lane_index() { return thread_index() & 31; }
DEVICE int warp_index() { return thread_index() >> 5; }

// What an item is, of this thread's warp.
template <class S>
DEVICE constexpr int tile_of(int item) {
  return item / S::kPasses;
}
template <class S>
DEVICE int slot_of(int item) {
  return warp_index() + S::kWarps * (item % S::kPasses);
}
// Its outer index a' (or a).
template <class S>
DEVICE int outer_index(int item) {
  return S::kRadix == 16 ? slot_of<S>(item) : warp_index() % S::kRadix;
}
// Which of the warp's matrices it takes.
template <class S>
DEVICE constexpr int turn_of(int item) {
  return S::kTurned ? item & 1 : 0;
}
// A tile after the other: what runs once a step need not be fast, but compile soon.
template <class S, class Act>
DEVICE void for_each_item(Act act) {
#pragma unroll 1
  for (int tile = 0; tile < S::kTiles; tile++)
#pragma unroll
    for (int pass = 0; pass < S::kPasses; pass++) act(tile * S::kPasses + pass);
}
