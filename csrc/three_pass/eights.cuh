// Eights of neighbouring columns with complex values: in registers, shared memory and lines, and their twiddles.
#pragma once
#include <three_pass/rows.cuh>

// Eight neighbouring columns of complex values, two to a word; and the same in fp32.
struct Eight {
  u32 re[4], im[4];
};
struct WideEight {
  float2 re[4], im[4];
};
template <bool kHalf>
struct EightOf {
  using Type = WideEight;
};
template <>
struct EightOf<true> {
  using Type = Eight;
};
using WorkEight = EightOf<HALF_SUMS>::Type;  // the type in which twiddles are multiplied

DEVICE Eight rounded(const Eight& x) { return x; }
DEVICE Eight rounded(const WideEight& x) {
  Eight out;
#pragma unroll
  for (int p = 0; p < 4; p++) out.re[p] = pack_half(x.re[p].x, x.re[p].y), out.im[p] = pack_half(x.im[p].x, x.im[p].y);
  return out;
}
DEVICE void convert(Eight& out, const Eight& x) { out = x; }
DEVICE void convert(WideEight& out, const Eight& x) {
#pragma unroll
  for (int p = 0; p < 4; p++) out.re[p] = unpack_half(x.re[p]), out.im[p] = unpack_half(x.im[p]);
}
// x w; and one number for all eight columns.
DEVICE void twist(Eight& x, const Eight& w) {
#pragma unroll
  for (int p = 0; p < 4; p++) rotate(x.re[p], x.im[p], w.re[p], w.im[p]);
}
DEVICE void twist(WideEight& x, const WideEight& w) {
#pragma unroll
  for (int p = 0; p < 4; p++) {
    rotate(x.re[p].x, x.im[p].x, w.re[p].x, w.im[p].x);
    rotate(x.re[p].y, x.im[p].y, w.re[p].y, w.im[p].y);
  }
}
DEVICE void twist(Eight& x, float2 w) {
#pragma unroll
  for (int p = 0; p < 4; p++) rotate(x.re[p], x.im[p], pack_half(w.x, w.x), pack_half(w.y, w.y));
}
DEVICE void twist(WideEight& x, float2 w) {
#pragma unroll
  for (int p = 0; p < 4; p++) rotate(x.re[p].x, x.im[p].x, w.x, w.y), rotate(x.re[p].y, x.im[p].y, w.x, w.y);
}
// x w part, rounded to fp16.
DEVICE Eight twisted(const Eight& x, const Eight& w, float part = 1.0f) {
  WorkEight out, by;
  convert(out, x), convert(by, w);
  if constexpr (IO_SINGLE) twist(by, float2{part, 0.0f});
  twist(out, by);
  return rounded(out);
}

// Shared memory, `at(comp)` where real and imaginary parts are.
template <class Places>
DEVICE Eight load_eight_shared(const LaneEight& own, Places at) {
  const uint4 a = load_shared16(at(own.swapped())), b = load_shared16(at(!own.swapped()));
  const uint4 x = own.swapped() ? b : a, y = own.swapped() ? a : b;
  return {{x.x, x.y, x.z, x.w}, {y.x, y.y, y.z, y.w}};
}
template <class Places>
DEVICE void store_eight_shared(const LaneEight& own, Places at, const Eight& z) {
  const uint4 x{z.re[0], z.re[1], z.re[2], z.re[3]}, y{z.im[0], z.im[1], z.im[2], z.im[3]};
  store_shared16(at(own.swapped()), own.swapped() ? y : x);
  store_shared16(at(!own.swapped()), own.swapped() ? x : y);
}
// Lines in device memory; `at`: the real parts.
DEVICE Eight load_eight(const unsigned char* at) {
  const uint4 x = load_shared_by_all16(at), y = load_shared_by_all16(at + 64);
  return {{x.x, x.y, x.z, x.w}, {y.x, y.y, y.z, y.w}};
}
DEVICE void store_eight(unsigned char* at, const Eight& x) {
  store_device16<false>(at, uint4{x.re[0], x.re[1], x.re[2], x.re[3]});
  store_device16<false>(at + 64, uint4{x.im[0], x.im[1], x.im[2], x.im[3]});
}

// exp(-2 pi i j (f1 + 1/4) / N) for columns j = 32 tile + i, or 8 eight + i, the twiddles before the lines. The factor
// of a tile or an eight is computed, that of i is in a table.
struct Twiddles {
  const uint4* table;      // [f1][kTableEights eights of columns][re, im]
  u32 step, first;         // f1 + 1/4 of a line, in quarters, is first + step times its number
  float cycles_per_phase;  // 1 / 4N
  DEVICE Twiddles(const uint4* table_, int step_, int first_, int line_count)
      : table(table_),
        step(step_),
        first(first_),
        cycles_per_phase(1.0f / (static_cast<float>(step_) * line_count * Columns::kPoints)) {}
  DEVICE float2 of_column(int f, int column) const {
    const u32 phase = (step * f + first) * static_cast<u32>(column);  // less than 4 N
    return root_of_unity(static_cast<float>(phase) * cycles_per_phase);
  }
  DEVICE Eight of_columns(int f, int eight) const {
    const uint4* own = table + (Columns::kTableEights * f + eight % Columns::kTableEights) * 2;
    const uint4 x = own[0], y = own[1];
    return {{x.x, x.y, x.z, x.w}, {y.x, y.y, y.z, y.w}};
  }
  // Those of a warp's columns from column 32 `tile` on, to its own shared memory.
  DEVICE void fill(int tile, int radix) const {
#pragma unroll 2
    for (int n = 0; n < Columns::kKeptTiles * Columns::kPerTile; n++) {
      const LaneEight own(n);
      const int f = own.row < radix ? own.row : 0;
      WideEight w;
      convert(w, of_columns(f, own.eight));
      twist(w, of_column(f, 32 * (tile + (own.eight >> 2))));
      store_eight_shared(own, [&](int comp) { return Columns::twiddle(own.row, comp, own.eight); }, rounded(w));
    }
    warp_barrier();
  }
};

// Roots of a warp's columns for the sixteen lines of one f1': those of tiles, each in one lane, or of each lane's
// eights.
struct Roots {
  static constexpr bool kOfTiles = Columns::kTableEights == 4;
  const Twiddles& twiddles;
  int tile;
  float2 own;
  DEVICE Roots(const Twiddles& twiddles_, int f, int radix, int tile_) : twiddles(twiddles_), tile(tile_) {
    const int place = tile + (Columns::kSpan == 64 ? lane_index() >> 4 : 0);
    if constexpr (kOfTiles) own = twiddles.of_column(f + radix * (lane_index() & 15), 32 * place);
  }
  // The twiddles of this lane's eight of `line`, times `part`; `columns`: those of the table.
  DEVICE WorkEight of(const LaneEight& piece, int line, const Eight& columns, float part = 1.0f) const {
    const int lane = piece.row + 16 * (piece.eight >> 2);
    float2 root;
    if constexpr (kOfTiles) root = {from_lane(own.x, lane), from_lane(own.y, lane)};
    else root = twiddles.of_column(line, 32 * tile + 8 * piece.eight);
    WorkEight w;
    convert(w, columns);
    twist(w, float2{root.x * part, root.y * part});
    return w;
  }
};
