// What the last pass writes: rows times gates, eight neighbouring columns per lane.
#pragma once
#include <three_pass/columns.cuh>

struct Job {
  Rows first, gate_first, second, gate_second;
  Lines lines;
  Matrix matrix;
  const uint4* second_step;  // kSplit: 16 x 16 for each f1'
  Twiddles twiddles;
  const float* scales;  // of each channel [that of the channel][those of its lines]
  const u32* ranges;    // of each row; null: the scale of the channel is all
  int row_first;
  int batches, radix;
  i64 length;
  float factor;
  const float* skip;  // SKIP: of each channel, times rows `skipped` and their gate, goes to results before their gates
  Rows skipped, skipped_gate;
  float* sums;  // SKIP_SUMS: of each row, for the gradient of the skip: [kSpan columns][kSplit: warps]

  DEVICE const float* scales_of(int channel) const { return scales + static_cast<i64>(channel) * (lines.count + 1); }
  DEVICE float factor_of(int row, const float* own) const {
    const float scale = own[0] * factor;
    return ranges == nullptr ? scale : scale * scale_out(ranges[2 * row]);
  }
  // A warp's part of what a row adds to the gradient of the skip; its lanes are always added in the same order.
  DEVICE void note_sum(int row, int tile, float sum) const {
    if constexpr (!SKIP_SUMS) return;
    constexpr int kParts = Columns::kSplit ? Columns::kWarps : 1, kPlaces = Columns::kPoints / Columns::kSpan;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += from_lane_across(sum, step);
    const i64 place = static_cast<i64>(row_first + row) * kPlaces + tile / (Columns::kSpan / 32);
    if (lane_index() == 0) sums[place * kParts + (Columns::kSplit ? warp_index() : 0)] = sum;
  }
};
// The scale of a line beside that of its channel. Of filters' gradients only: filters themselves have it undone.
DEVICE float part_of(const float* own, int line) {
  if constexpr (IO_SINGLE) return own[1 + line] / own[0];
  else return 1.0f;
}

// Gates of rows wait in shared memory where the plan has room for them.
constexpr bool kStagedGates = GATE_FIRST && Columns::kStaged > 0;

// This lane's eights of a row, positions j1 = kStride j + start of its columns, and their gates. h: the number of
// `start` among those of this warp.
struct Places {
  static constexpr int kStride = Columns::kSplit ? 16 : 1, kCount = Columns::kTiles * Columns::kPerRows;
  static constexpr bool kSecond = SECOND || SKIP_SUMS;  // whether rows gate_second are read
  i64 origin;
  int line, h;
  Extent extent;
  unsigned char *to, *to_second;
  const unsigned char *by, *by_second, *skipped, *skipped_by;
  float skip;
  Chunk passing[SKIP ? kCount : 1], passing_gate[SKIP_GATED ? kCount : 1];
  Chunk first[GATE_FIRST && !kStagedGates ? kCount : 1], second[kSecond ? kCount : 1];

  DEVICE Places(const Job& job, const RowAt& at, int tile, int start, int h_ = 0)
      : line(kStride * LaneEight(0).row + start),
        h(h_),
        extent(job.length, 32 * tile + 8 * LaneEight(0).eight),
        to(job.first.at(at)),
        to_second(job.second.at(at)),
        by(job.gate_first.at(at)),
        by_second(job.gate_second.at(at)),
        skipped(job.skipped.at(at)),
        skipped_by(job.skipped_gate.at(at)),
        skip(SKIP ? job.skip[at.channel] : 0.0f) {
    origin = (static_cast<i64>(line) * Columns::kPoints + 32 * tile + 8 * LaneEight(0).eight) * kValueBytes;
  }
  // The n-th eight of the m-th tile of rows: bytes from the row's first value, and how many values the row has there.
  static DEVICE constexpr int step(int m, int n) { return kStride * (16 * m + LaneEight::step() * n); }
  DEVICE i64 on(int m, int n) const { return origin + static_cast<i64>(step(m, n)) * Columns::kPoints * kValueBytes; }
  DEVICE int valid(int m, int n) const { return extent.of(line + step(m, n)); }
  static DEVICE int number(int h, int m, int n) { return (h * Columns::kTiles + m) * Columns::kPerRows + n; }
  // Prefetches the gates of the m-th tile of rows.
  DEVICE void ask(int m) {
#pragma unroll
    for (int n = 0; n < Columns::kPerRows; n++) {
      const int number = m * Columns::kPerRows + n;
      if constexpr (SKIP) passing[number].load(skipped + on(m, n), valid(m, n));
      if constexpr (SKIP_GATED) passing_gate[number].load(skipped_by + on(m, n), valid(m, n));
      if constexpr (GATE_FIRST && !kStagedGates) first[number].load(by + on(m, n), valid(m, n));
      if constexpr (kSecond) second[number].load(by_second + on(m, n), valid(m, n));
    }
  }
  DEVICE void ask_first() {
    if constexpr (!Columns::kGatesFirst) return;
#pragma unroll
    for (int m = 0; m < Columns::kTiles; m++) ask(m);
  }
  // gate_first of an eight.
  DEVICE void gate_of(int m, int n, float (&gate)[8]) const {
    if constexpr (kStagedGates) {
      Chunk own;
      own.set(0, load_shared16(Columns::staged(number(h, m, n))));
      own.unpack_to(gate);
    } else {
      first[m * Columns::kPerRows + n].unpack_to(gate);
    }
  }
  // Results plus the skip, at their own scale.
  DEVICE void add_skip(int number, float (&v)[8], float factor) const {
    float x[8], gate[8];
    passing[number].unpack_to(x);
    if constexpr (SKIP_GATED) {
      passing_gate[number].unpack_to(gate);
#pragma unroll
      for (int i = 0; i < 8; i++) x[i] *= gate[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = v[i] * factor + skip * x[i];
  }
  // SKIP_SUMS: adds the products of an eight of `skipped` and of the same of `gate_second`, each times its gate.
  DEVICE void add_products(int m, int n, float& sum) const {
    float x[8], y[8], gate[8];
    passing[m * Columns::kPerRows + n].unpack_to(x);
    second[m * Columns::kPerRows + n].unpack_to(y);
    if constexpr (SKIP_GATED) {
      passing_gate[m * Columns::kPerRows + n].unpack_to(gate);
#pragma unroll
      for (int i = 0; i < 8; i++) x[i] *= gate[i];
    }
    if constexpr (GATE_FIRST) {
      gate_of(m, n, gate);
#pragma unroll
      for (int i = 0; i < 8; i++) y[i] *= gate[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i++) sum += x[i] * y[i];
  }
  DEVICE void put(int m, int n, const float (&found)[8], float factor) const {
    float v[8], w[8], gate[8];
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = found[i];
    if constexpr (SKIP) add_skip(m * Columns::kPerRows + n, v, factor), factor = 1.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) w[i] = v[i];
    if constexpr (GATE_FIRST) {
      gate_of(m, n, gate);
#pragma unroll
      for (int i = 0; i < 8; i++) w[i] *= gate[i];
    }
    store_eight(w, factor, to + on(m, n), valid(m, n));
    if constexpr (SECOND) {
      second[m * Columns::kPerRows + n].unpack_to(gate);
#pragma unroll
      for (int i = 0; i < 8; i++) w[i] = v[i] * gate[i];
      store_eight(w, factor, to_second + on(m, n), valid(m, n));
    }
  }
  // The m-th tile of results to their places. sum: of products, see above.
  DEVICE void put_tile(int m, const Strip (&y)[Columns::kProducts], float factor, int j, float& sum) {
    if constexpr (!Columns::kGatesFirst) ask(m);
    by_rows(y, j, [&](int n, const float (&v)[8]) {
      // Columns of one step spill less with the products first, those of two steps with the results first.
      if constexpr (SKIP_SUMS && !Columns::kSplit) add_products(m, n, sum);
      put(m, n, v, factor);
      if constexpr (SKIP_SUMS && Columns::kSplit) add_products(m, n, sum);
    });
  }
};
