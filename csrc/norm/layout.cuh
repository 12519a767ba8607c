// How rows of NORM_WIDTH values lie on a block's threads: NORM_LANES neighbouring lanes share a row, and each has
// kChunks chunks of eight values of it, NORM_LANES chunks apart.
#pragma once
#include <common/chunks.cuh>

struct Layout {
  static constexpr int kWidth = NORM_WIDTH, kLanes = NORM_LANES, kWarps = PLAN_WARPS;
  static constexpr int kChunks = (kWidth / 8 + kLanes - 1) / kLanes;
  static constexpr int kRowsPerWarp = 32 / kLanes, kRowsPerBlock = kWarps * kRowsPerWarp;
  static constexpr bool kFull = kLanes * kChunks * 8 == kWidth;
  static_assert(kWidth % 8 == 0 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0);

  static DEVICE int part() { return lane_of_warp() % kLanes; }
  static DEVICE int row() { return warp_of_block() * kRowsPerWarp + lane_of_warp() / kLanes; }  // among the block's
  static DEVICE int column(int chunk) { return 8 * (chunk * kLanes + part()); }
  static DEVICE bool exists(int chunk) { return kFull || column(chunk) < kWidth; }
};

// kChunks chunks of a row, zeros where there are none.
template <int kType>
DEVICE void load_row(float (&v)[Layout::kChunks][8], const void* base, i64 row) {
  const Row<kType> from(base, row * Layout::kWidth);
  Packed<kType> packed[Layout::kChunks];
#pragma unroll
  for (int c = 0; c < Layout::kChunks; c++) {
    packed[c].clear();
    if (Layout::exists(c)) packed[c] = from.load(Layout::column(c));
  }
#pragma unroll
  for (int c = 0; c < Layout::kChunks; c++) packed[c].unpack(v[c]);
}
template <int kType>
DEVICE void store_row(const float (&v)[Layout::kChunks][8], void* base, i64 row) {
  const Row<kType> to(base, row * Layout::kWidth);
#pragma unroll
  for (int c = 0; c < Layout::kChunks; c++)
    if (Layout::exists(c)) to.store(Layout::column(c), v[c]);
}
