// The plan as compile-time numbers: every size and every shared-memory address, computed once.
#pragma once
#include <ptx.cuh>

constexpr int kThreads = 512, kWarps = 16;

template <int kRadix_, int kSplit_, int kGroups_, bool kStaged_, int kStagedBackward_, bool kSpectrumInShared_>
struct Shape {
  static constexpr int kRadix = kRadix_, kSplit = kSplit_, kGroups = kGroups_;
  static constexpr bool kStaged = kStaged_, kSpectrumInShared = kSpectrumInShared_;
  static constexpr int kStagedBackward = kStagedBackward_;  // 0: none, 1: dy, later u; 2: gate_in as well
  static constexpr int kTiles = kGroups * kSplit;           // tiles of 4,096 points in a block
  static constexpr int kPacked = 16 / kRadix;               // rows that share a tile
  static constexpr int kRowsPerStep = kGroups * kPacked;
  static constexpr int kSize = 256 * kRadix * kSplit;  // points of the transform
  static constexpr int kColumns = 8 / kSplit;          // lags that share a tile of 8 columns in stage b
  static_assert(kRadix * kPacked == 16 && kSplit * kColumns == 8, "R and S are powers of two, at most 16 and 8");
  static_assert(kSplit == 1 || kRadix == 16, "short rows are packed, long rows are split");

  // Shared memory: [peak of each row][tables][tiles of complex fp16][tiles of real fp16][gate_in][gate_out].
  static constexpr u32 kPeaks = 0, kTables = 512;
  static constexpr u32 kTableBytes = kSplit == 1 ? 2048 : 2048 + 3072 + 2048 * kSplit;
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

  // 16 bytes of the exchange buffer: eight consecutive lags (chunk = lag / 8) of the real or imaginary part of outer
  // index `slot` (a, a' or packed row) in `tile`. Eight slots, eight c or eight neighbouring chunks never share a bank.
  static DEVICE u32 exchange(int tile, int slot, int chunk, int comp) {
    const int c = chunk >> 1, half = chunk & 1;
    const int turn = (c ^ slot ^ (comp << 2) ^ (half << 2) ^ (((tile % kSplit) * kColumns) & 6)) & 7;
    return shared_base() + kExchange + tile * 16384 + slot * 1024 + comp * 512 + half * 256 + (c >> 3) * 128 +
           turn * 16;
  }
  static DEVICE u32 imaginary(u32 real) { return (real ^ 64) + 512; }  // of exchange(..., 0); kExchange % 128 is 0
  static_assert(kExchange % 128 == 0, "addresses are turned by exclusive or");
  // 16 bytes of a buffer of real fp16: eight columns of `slot`, owned by the thread (warp = slot, lane = chunk).
  static DEVICE u32 samples(u32 buffer, int tile, int slot, int chunk) {
    return shared_base() + buffer + tile * 8192 + slot * 512 + ((chunk ^ (slot & 7)) << 4);
  }
};

using Plan = Shape<PLAN_RADIX, PLAN_SPLIT, PLAN_GROUPS, PLAN_STAGED, PLAN_STAGED_BACKWARD, PLAN_SPECTRUM_IN_SMEM>;

DEVICE int lane_index() { return thread_index() & 31; }
DEVICE int warp_index() { return thread_index() >> 5; }
