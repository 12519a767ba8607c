// The plan as compile-time numbers: every size and every shared-memory address, computed once.
#pragma once
#include <common/tiles.cuh>

template <int kRadix_, int kSplit_, int kGroups_, int kWarps_, int kStaged_, bool kSpectrumInShared_,
          bool kSumsInShared_, bool kLagHalfShift_>
struct Shape {
  static constexpr int kRadix = kRadix_, kSplit = kSplit_, kGroups = kGroups_, kWarps = kWarps_;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kBlocksPerSm = 16 / kWarps;
  // Tensors beside u. forward: 0, or 2: both gates. backward: 0, or 1: dy, later u.
  static constexpr int kStaged = kStaged_;
  static constexpr bool kSpectrumInShared = kSpectrumInShared_, kSumsInShared = kSumsInShared_,
                        kLagHalfShift = kLagHalfShift_;
  static constexpr int kStacked = kRadix > 16 ? kRadix / 16 : 1;  // tiles below one another in stage a
  static constexpr int kSpan = kStacked * kSplit;  // tiles of a row: tile = b kStacked + a / 16, likewise a', b'
  static constexpr int kTiles = kGroups * kSpan;   // tiles of 4,096 points in a block: 16 slots of 256
  static constexpr int kPasses = 16 / kWarps;      // slots of a tile that belong to one warp
  static constexpr int kItems = kTiles * kPasses;  // item = tile * kPasses + pass: a warp's slots in all tiles
  static constexpr int kWarpRows = kRadix < 16 ? kGroups * kPasses : kGroups;  // rows that a warp's items belong to
  static constexpr int kPacked = kRadix < 16 ? 16 / kRadix : 1;                // rows that share a tile
  static constexpr int kRowsPerStep = kGroups * kPacked;
  static constexpr int kSize = 256 * kRadix * kSplit;  // points of the transform
  // Whether a warp's slots have two outer indices a', half of R apart, and so two sets of matrices.
  static constexpr bool kHalfShift = kStacked == 2 || (kPasses == 2 && kRadix == 16);
  // One set suffices for stage c if the lag twists contain the difference.
  static constexpr int kColumnMatrices = kHalfShift && !kLagHalfShift ? 2 : 1;
  static_assert(!kLagHalfShift || kSplit > 1, "rows of one branch have no lag twists");
  static constexpr int kRun = kHalfShift ? 2 : kPasses;  // consecutive items of one branch and group
  static_assert(kRadix <= 32 && (kRadix & (kRadix - 1)) == 0, "stage a has one or two tiles");
  static_assert(kSplit == 1 || kSplit == 2 || kSplit == 4, "stage b is a butterfly");
  static_assert(kSplit == 1 || kRadix == 32, "short rows are packed, long rows are split");
  static_assert(!(kSumsInShared && (kHalfShift || kSpan > 1)), "there is room for one sum per warp");
  static_assert(kWarps == 16 || (kWarps == 8 && kRadix <= 16), "a warp has one or two slots of a tile");

  // Shared memory: [peak of each row][tables][tiles of complex fp16][tiles of real fp16][gate_in][gate_out].
  static constexpr u32 kPeaks = 0, kTables = 512;
  // Bytes from kTables of what lives in shared memory; `genoconv/ops/longconv/one_sm/tables.py` writes it in this
  // order.
  static constexpr u32 kStageBytes = 1024 * kStacked * kStacked, kTwistBytes = 1024 * (kSplit - 1);
  static constexpr u32 kStageIn = 0, kStageBack = kStageBytes, kShiftedIn = 2 * kStageBytes,
                       kShiftedBack = kShiftedIn + 1024;
  static constexpr u32 kLagBytes = kSplit > 1 ? 1024 * (2 * kSplit - 1) : 0;
  static constexpr u32 kLagIn = kShiftedIn + (kHalfShift ? 2048 : 0), kLagBack = kLagIn + kLagBytes;
  static constexpr u32 kTwistIn = kLagBack + kLagBytes, kTwistBack = kTwistIn + kTwistBytes;
  // Twists have the type of sums; device memory holds those in fp16, then those in fp32.
  static constexpr u32 kTableBytes = kTwistBack + (HALF_SUMS ? 1 : 2) * kTwistBytes;
  static constexpr u32 kExchange = kTables + (kTwistBack + 2 * kTwistBytes + 127) / 128 * 128;
  static constexpr u32 kSamples = kExchange + kTiles * 16384;
  static constexpr u32 kGateIn = kSamples + kTiles * 8192;
  static constexpr u32 kGateOut = kGateIn + kTiles * 8192;
  // The forward kernel may keep filters behind its gates: those of one row group, since all groups have one channel.
  static constexpr u32 kFilter = kSamples + (1 + kStaged) * kTiles * 8192;
  // The backward kernel has instead: [T(v)][dy, later u][the part of the sums that registers do not hold].
  static constexpr u32 kSpectrum = kSamples + kTiles * 8192;
  static constexpr u32 kSecond = kSpectrum + (kSpectrumInShared ? kTiles * 16384 : 0);
  static constexpr u32 kSums = kSecond + kStaged * kTiles * 8192;

  // Words of 16 bytes of device memory before each table.
  static constexpr int kMiddle = kRadix * 256, kOuter = kMiddle + 192;  // in fp32, then in fp16

  // 16 bytes of the exchange buffer: eight consecutive lags (chunk = lag / 8) of the real or imaginary part of outer
  // index `slot` (a, a' or packed row) in `tile`. Eight slots, eight c or eight neighbouring chunks never share a
  // bank.
  static DEVICE u32 exchange(int tile, int slot, int chunk, int comp) {
    const int c = chunk >> 1, half = chunk & 1;
    const int swizzle = (c ^ slot ^ (comp << 2) ^ (half << 2)) & 7;
    return shared_base() + kExchange + tile * 16384 + slot * 1024 + comp * 512 + half * 256 + (c >> 3) * 128 +
           swizzle * 16;
  }
  static DEVICE u32 imaginary(u32 real) { return (real ^ 64) + 512; }  // of exchange(..., 0); kExchange % 128 is 0
  static_assert(kExchange % 128 == 0, "addresses are swizzled by exclusive or");
  // 16 bytes of a buffer of real fp16: eight columns of `slot` (its warp's lane = chunk owns them).
  static DEVICE u32 samples(u32 buffer, int tile, int slot, int chunk) {
    return shared_base() + buffer + tile * 8192 + slot * 512 + ((chunk ^ (slot & 7)) << 4);
  }
};

using Plan = Shape<PLAN_RADIX, PLAN_SPLIT, PLAN_GROUPS, PLAN_WARPS, PLAN_STAGED, PLAN_SPECTRUM_IN_SMEM,
                   PLAN_SUMS_IN_SMEM, PLAN_LAG_HALF_SHIFT>;

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
  return S::kRadix < 16 ? warp_index() % S::kRadix : slot_of<S>(item) + 16 * (tile_of<S>(item) % S::kStacked);
}
// Its branch b' (or b). In this order: NVRTC 13.0 takes item % 8 / 2 of odd items in a loop for item.
template <class S>
DEVICE constexpr int branch_of(int item) {
  return tile_of<S>(item) / S::kStacked % S::kSplit;
}
// Its place in a stored spectrum, R b' + a'.
template <class S>
DEVICE int place_of(int item) {
  return S::kRadix * branch_of<S>(item) + outer_index<S>(item);
}
// Which of the warp's rows it belongs to.
template <class S>
DEVICE constexpr int warp_row_of(int item) {
  const int group = tile_of<S>(item) / S::kSpan;
  return S::kRadix < 16 ? group * S::kPasses + item % S::kPasses : group;
}
// Which of the warp's matrices it takes: if known at compile time, matrices stay in registers.
template <class S>
DEVICE constexpr int shift_of(int item) {
  return S::kHalfShift ? item & 1 : 0;
}
// Which lag twist belongs to a branch and to the first or the second tile of a'; -1: none.
template <class S>
DEVICE constexpr int lag_twist_of(int branch, int shift) {
  return S::kLagHalfShift && shift == 1 ? S::kSplit - 1 + branch : branch - 1;
}
// A run at a time: code that runs once per step must compile quickly rather than be fast.
template <class S, class Act>
DEVICE void for_each_item(Act act) {
#pragma unroll 1
  for (int i = 0; i < S::kItems / S::kRun; i++)
#pragma unroll
    for (int n = 0; n < S::kRun; n++) act(i * S::kRun + n);
}
