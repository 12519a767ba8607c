// The 16 x 16 points (c, d) below one outer index, wholly in one warp's registers: accumulators of one product are the
// operands of the next, so no data moves between lanes. Fragments are named after mma.m16n8k16: lane = 4 g + t holds
// rows g and g + 8, columns 8 n + 2 t and 8 n + 2 t + 1.
#pragma once
#include <shape.cuh>

struct Tile {  // complex 16 x 16 sums: [n][2 r + e] is row g + 8 r, column 8 n + 2 t + e
  float re[2][4], im[2][4];
};
struct HalfTile {  // the same places, fp16, two columns to a word: [n][r]
  u32 re[2][2], im[2][2];
};
struct Operand {
  uint4 re, im;
};
struct InnerTables {
  Operand c_in, d_in, d_back, c_back;
  float middle_re[2][4], middle_im[2][4];
};

DEVICE u32 negate(u32 x) { return x ^ 0x80008000u; }

DEVICE void rotate(float& re, float& im, float wre, float wim) {
  const float x = re * wre - im * wim;
  im = re * wim + im * wre;
  re = x;
}

DEVICE HalfTile to_half(const Tile& x) {
  HalfTile out;
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      out.re[n][r] = pack_half(x.re[n][2 * r], x.re[n][2 * r + 1]);
      out.im[n][r] = pack_half(x.im[n][2 * r], x.im[n][2 * r + 1]);
    }
  return out;
}

// M x, with x[n][k] the right operand of columns 8 n.. and depth 8 k...
DEVICE Tile left_product(const Operand& m, const u32 (&re)[2][2], const u32 (&im)[2][2]) {
  Tile out = {};
#pragma unroll
  for (int n = 0; n < 2; n++) {
    multiply_add(out.re[n], m.re.x, m.re.y, m.re.z, m.re.w, re[n][0], re[n][1]);
    multiply_add(out.im[n], m.re.x, m.re.y, m.re.z, m.re.w, im[n][0], im[n][1]);
    multiply_add(out.re[n], m.im.x, m.im.y, m.im.z, m.im.w, negate(im[n][0]), negate(im[n][1]));
    multiply_add(out.im[n], m.im.x, m.im.y, m.im.z, m.im.w, re[n][0], re[n][1]);
  }
  return out;
}
// M y^T: the rows of y are the columns of the product, its columns are summed over.
DEVICE Tile left_product_transposed(const Operand& m, const HalfTile& y) {
  const u32 re[2][2] = {{y.re[0][0], y.re[1][0]}, {y.re[0][1], y.re[1][1]}};
  const u32 im[2][2] = {{y.im[0][0], y.im[1][0]}, {y.im[0][1], y.im[1][1]}};
  return left_product(m, re, im);
}
// y M^T, M given as a right operand.
DEVICE Tile right_product(const HalfTile& y, const Operand& m) {
  Tile out = {};
  const u32 br[2][2] = {{m.re.x, m.re.y}, {m.re.z, m.re.w}}, bi[2][2] = {{m.im.x, m.im.y}, {m.im.z, m.im.w}};
#pragma unroll
  for (int n = 0; n < 2; n++) {
    multiply_add(out.re[n], y.re[0][0], y.re[0][1], y.re[1][0], y.re[1][1], br[n][0], br[n][1]);
    multiply_add(out.im[n], y.re[0][0], y.re[0][1], y.re[1][0], y.re[1][1], bi[n][0], bi[n][1]);
    multiply_add(out.re[n], y.im[0][0], y.im[0][1], y.im[1][0], y.im[1][1], negate(bi[n][0]), negate(bi[n][1]));
    multiply_add(out.im[n], y.im[0][0], y.im[0][1], y.im[1][0], y.im[1][1], br[n][0], br[n][1]);
  }
  return out;
}

DEVICE void middle_twiddle(Tile& x, const InnerTables& tables) {
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) rotate(x.re[n][i], x.im[n][i], tables.middle_re[n][i], tables.middle_im[n][i]);
}

template <class S>
DEVICE InnerTables load_inner_tables(const uint4* tables) {
  const uint4* own = tables + (warp_index() % S::kRadix) * 256 + lane_index();
  InnerTables out;
  out.c_in = {own[0], own[32]};
  out.d_in = {own[64], own[96]};
  out.d_back = {own[128], own[160]};
  out.c_back = {own[192], own[224]};
  const uint4* middle = tables + S::kMiddle + lane_index();
#pragma unroll
  for (int n = 0; n < 2; n++) {
    const uint4 re = middle[64 * n], im = middle[64 * n + 32];
    const u32 r[4] = {re.x, re.y, re.z, re.w}, i[4] = {im.x, im.y, im.z, im.w};
#pragma unroll
    for (int k = 0; k < 4; k++) out.middle_re[n][k] = as_float(r[k]), out.middle_im[n][k] = as_float(i[k]);
  }
  return out;
}

// The spectrum of a tile: rows c', columns d', in stored order.
template <class S>
DEVICE Tile spectrum_of(int tile, const InnerTables& tables) {
  const int lane = lane_index(), matrix = lane >> 3;
  const int chunk = 2 * ((lane & 7) + 8 * (matrix & 1)) + (matrix >> 1);
  u32 re[4], im[4];
  load_matrices_transposed(re, S::exchange(tile, warp_index(), chunk, 0));
  load_matrices_transposed(im, S::exchange(tile, warp_index(), chunk, 1));
  Tile x = left_product(tables.c_in, {{re[0], re[1]}, {re[2], re[3]}}, {{im[0], im[1]}, {im[2], im[3]}});
  middle_twiddle(x, tables);
  return right_product(to_half(x), tables.d_in);
}

// The way back, of the conjugate of a spectrum: forward matrices serve, and the real part that is wanted is the same.
template <class S>
DEVICE void store_inverse(int tile, const HalfTile& conjugate, const InnerTables& tables) {
  const int lane = lane_index(), g = lane >> 2, t = lane & 3, branch = tile % S::kSplit;
  Tile x = left_product_transposed(tables.d_back, conjugate);
  middle_twiddle(x, tables);
  x = left_product_transposed(tables.c_back, to_half(x));
  if constexpr (S::kSplit > 1) {
#pragma unroll
    for (int n = 0; n < 2; n++) {
      const uint4 w = load_shared16(shared_base() + S::kTables + S::kLagBack + ((branch * 2 + n) * 32 + lane) * 16);
      const u32 re[2] = {w.x, w.z}, im[2] = {w.y, w.w};
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const float2 wre = unpack_half(re[r]), wim = unpack_half(im[r]);
        rotate(x.re[n][2 * r], x.im[n][2 * r], wre.x, wim.x);
        rotate(x.re[n][2 * r + 1], x.im[n][2 * r + 1], wre.y, wim.y);
      }
    }
  }
  const HalfTile out = to_half(x);
  warp_barrier();  // every lane has read this tile
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      store_shared4(S::exchange(tile, warp_index(), 2 * (g + 8 * r) + n, 0) + 4 * t, out.re[n][r]);
      store_shared4(S::exchange(tile, warp_index(), 2 * (g + 8 * r) + n, 1) + 4 * t, out.im[n][r]);
    }
}
