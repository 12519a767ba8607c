// The plan as compile-time numbers. N = R1 L: R1 lines of L points, R1 = r1 or 16 r1.
#pragma once
#include <common/strips.cuh>

struct Columns {
  static constexpr int kTiles = COLUMN_TILES;           // r1 in tiles of 16, the last padded with zeros
  static constexpr int kKeptTiles = COLUMN_KEPT_TILES;  // those with f1' that are kept; the others are dropped
  static constexpr bool kSplit = COLUMN_SPLIT;          // whether a column is transformed in two steps, r1 and 16
  static constexpr int kWarps = PLAN_WARPS;
  static constexpr int kBlocksPerSm = COLUMN_BLOCKS;
  static constexpr int kPoints = LINE_POINTS;  // L
  static constexpr int kSpan = COLUMN_SPAN;    // columns of a warp
  static_assert(kSpan == 32 || kSpan == 64, "one or two tiles of 32 columns");
  static constexpr bool kGatesFirst = COLUMN_GATES_FIRST;  // whether gates are prefetched before the products
  static constexpr int kEights = kSpan / 8;                // eights of neighbouring columns of a row
  static constexpr int kRowBytes = 4 * kSpan;              // of a row of complex fp16: real parts, then imaginary ones
  static constexpr int kPerTile = kEights / 2;             // eights of a tile of 16 rows that belong to one lane
  // kSplit: a tile of rows whose second half is padding. Only the first half is in memory and registers.
  static constexpr bool kShort = COLUMN_SHORT;
  static constexpr int kTileRows = kShort ? 8 : 16, kPerRows = kEights * kTileRows / 32;  // kPerTile of those rows
  static_assert(!kShort || (kSplit && kTiles == 1), "one tile of short columns");
  static constexpr int kProducts = kSpan / 8;  // of 16 x 16 by 16 x 8 that make a tile of results

  static constexpr int kTableEights = COLUMN_TABLE_EIGHTS;  // eights of columns that the table of twiddles has
  // kSplit: what is asked for before it is needed.
  static constexpr int kOwn = kSplit ? 16 / kWarps : 1;  // of the sixteen j1'' that one warp has
  static constexpr int kBuffers = COLUMN_BUFFERS;        // tiles of columns that have their rows in shared memory
  static constexpr int kStaged = COLUMN_STAGED;          // pieces of 16 bytes that wait there for the lane that asked
  static constexpr bool kAsync = COLUMN_ASYNC;  // lines come to shared memory by asynchronous copies, all at once
  static constexpr bool kEarly = COLUMN_EARLY;  // rows are asked for while the kernel before this one still runs

  // Shared memory: [a peak][matrices][kSplit: rows of all (f1', j1''), then pieces that wait; else scratch of each
  // warp, then twiddles of its columns, a row for each f1].
  static constexpr bool kMatrixKept = !kSplit || kTiles <= 2;  // else read through the L1 cache
  static constexpr u32 kPeaks = 0, kMatrices = 128, kMatrixBytes = kMatrixKept ? 1024 * kTiles * kTiles : 0;
  static constexpr u32 kScratchBytes = 16 * kRowBytes, kScratch = kMatrices + kMatrixBytes;
  static constexpr u32 kRows = kScratch + (kSplit ? 0 : kWarps * kScratchBytes);
  static constexpr u32 kTwiddleBytes = 16 * kTiles * kRowBytes;
  static constexpr int kBufferRows = kTileRows * kTiles;  // f1' of one buffer; those of the second are numbered on
  static constexpr u32 kStaging = kRows + kBuffers * kBufferRows * 16 * kRowBytes;

  // Eight columns of a row of complex values; rows that differ in the last bits of `mixed` have different banks.
  static DEVICE u32 number(int comp, int eight, int mixed) { return ((comp * kEights + eight) ^ (mixed & 7)) * 16; }
  static DEVICE u32 piece(int f, int j, int comp, int eight) {
    return shared_base() + kRows + (f * 16 + j) * kRowBytes + number(comp, eight, f ^ j);
  }
  static DEVICE u32 twiddle(int f, int comp, int eight) {
    return shared_base() + kRows + warp_index() * kTwiddleBytes + f * kRowBytes + number(comp, eight, f);
  }
  // A row of a warp's scratch. kSplit: of the warp's rows j, which hold nothing before a product and after the last.
  static DEVICE u32 scratch(int row, int j) {
    if constexpr (kSplit) return shared_base() + kRows + (row * 16 + j) * kRowBytes;
    else return shared_base() + kScratch + warp_index() * kScratchBytes + row * kRowBytes;
  }
  // Where a piece waits for this lane: its `number` of kStaged.
  static DEVICE u32 staged(int number) {
    return shared_base() + kStaging + ((number * kWarps + warp_index()) * 32 + lane_index()) * 16;
  }
  static DEVICE u32 spectrum(int f, int comp, int eight) { return scratch(f, 0) + number(comp, eight, f); }
  // Real values in scratch: eight columns of a row, in fp16 ...
  static DEVICE u32 value(int row, int eight, int j) {
    return scratch(row, j) + (kSpan == 64 ? eight ^ (row & 7) : (eight ^ (row >> 1 & 3)) + 4 * (row & 1)) * 16;
  }
  // ... or in fp32, four of them.
  static DEVICE u32 result(int row, int eight, int half, int j) {
    const int place = eight ^ (row & (kEights - 1));
    return scratch(row, j) + place * 32 + (half ^ (kSpan == 64 ? place >> 2 : row & 1)) * 16;
  }
};

// This lane's eights of a tile of 16 rows: the n-th of kPerTile.
struct LaneEight {
  int row, eight;
  DEVICE explicit LaneEight(int n)
      : row((lane_index() + 32 * n) / Columns::kEights), eight((lane_index() + 32 * n) % Columns::kEights) {}
  DEVICE static constexpr int step() { return 32 / Columns::kEights; }  // rows from one to the next
  // Where they are in a line whose tile is at `tile`: real parts.
  DEVICE unsigned char* of(unsigned char* tile) const { return tile + (eight >> 2) * 128 + (eight & 3) * 16; }
  DEVICE const unsigned char* of(const unsigned char* tile) const {
    return tile + (eight >> 2) * 128 + (eight & 3) * 16;
  }
  // Lanes of two rows of 32 columns take turns with real and imaginary parts, or they would share banks.
  DEVICE bool swapped() const { return Columns::kSpan == 32 && (row & 1); }
};
