// The plan as compile-time numbers. N = R1 L: R1 lines of L points, R1 = r1 or 16 r1.
#pragma once
#include <common/strips.cuh>

struct Columns {
  static constexpr int kTiles = COLUMN_TILES;   // r1 in tiles of 16, the last padded with zeros
  static constexpr bool kSplit = COLUMN_SPLIT;  // whether a column is transformed in two steps, r1 and 16
  static constexpr int kWarps = PLAN_WARPS;
  static constexpr int kBlocksPerSm = COLUMN_BLOCKS;

  // Shared memory of a block with kSplit: a peak, then for each (f1', j1'') 32 columns, real and imaginary, in chunks
  // of eight. Whether lanes differ in f1', in j1'' or in chunks, they do not share a bank.
  static constexpr u32 kPeaks = 0, kBuffer = 128;
  static DEVICE u32 chunk(int f, int j, int comp, int eight) {
    const int swizzle = (j ^ (f << 1) ^ (f >> 2)) & 7;
    return shared_base() + kBuffer + (f * 16 + j) * 128 + (((comp * 4 + eight) ^ swizzle) << 4);
  }
  static DEVICE u32 four(int f, int j, int comp, int at) { return chunk(f, j, comp, at >> 1) + (at & 1) * 8; }
};

// Which four of 32 columns belong to lane g of a right operand, so that a lane has eight neighbours of a result: result
// column 2 t of product i is column 4 t + i, column 2 t + 1 is 16 + 4 t + i.
DEVICE int four_of(int g) { return (g >> 1) + 4 * (g & 1); }
