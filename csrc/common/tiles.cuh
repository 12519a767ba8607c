// Complex 16 x 16 tiles in one warp's registers and their products with 16 x 16 matrices: accumulators of one product
// are the operands of the next, so no data moves between lanes. Fragments are named after mma.m16n8k16: lane = 4 g + t
// holds rows g and g + 8, columns 8 n + 2 t and 8 n + 2 t + 1.
#pragma once
#include <common/ptx.cuh>

DEVICE int lane_index() { return thread_index() & 31; }
DEVICE int warp_index() { return thread_index() >> 5; }

struct Tile {  // complex 16 x 16 sums: [n][2 r + e] is row g + 8 r, column 8 n +
               // 2 t + e
  float re[2][4], im[2][4];
};
struct HalfTile {  // the same places, fp16, two columns to a word: [n][r]
  u32 re[2][2], im[2][2];
};
struct Operand {
  uint4 re, im;
};

// The type of sums: fp16 for bf16 rows, whose own rounding is three times larger, else fp32.
template <bool kHalf>
struct WorkOf {
  using Type = Tile;
};
template <>
struct WorkOf<true> {
  using Type = HalfTile;
};
using Work = WorkOf<HALF_SUMS>::Type;

DEVICE uint4 negate(uint4 x) { return {x.x ^ 0x80008000u, x.y ^ 0x80008000u, x.z ^ 0x80008000u, x.w ^ 0x80008000u}; }

DEVICE void rotate(float& re, float& im, float wre, float wim) {
  const float x = re * wre - im * wim;
  im = re * wim + im * wre;
  re = x;
}

// The same for two places to a word.
DEVICE void rotate(u32& re, u32& im, u32 wre, u32 wim) {
  const u32 x = fuse_half(re, wre, multiply_half(negate_half(im), wim));
  im = fuse_half(re, wim, multiply_half(im, wre));
  re = x;
}

DEVICE HalfTile to_half(const HalfTile& x) { return x; }
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

// M x + more, with x[n][k] the right operand of columns 8 n.. and depth 8 k... Sums are met again only after four
// products.
DEVICE Work left_product(const Operand& m, const u32 (&re)[2][2], const u32 (&im)[2][2], const Work& more = {}) {
  Work out = more;
  const uint4 minus = negate(m.im);
#pragma unroll
  for (int n = 0; n < 2; n++) {
    multiply_add(out.re[n], m.re.x, m.re.y, m.re.z, m.re.w, re[n][0], re[n][1]);
    multiply_add(out.im[n], m.re.x, m.re.y, m.re.z, m.re.w, im[n][0], im[n][1]);
  }
#pragma unroll
  for (int n = 0; n < 2; n++) {
    multiply_add(out.re[n], minus.x, minus.y, minus.z, minus.w, im[n][0], im[n][1]);
    multiply_add(out.im[n], m.im.x, m.im.y, m.im.z, m.im.w, re[n][0], re[n][1]);
  }
  return out;
}
// M y^T: the rows of y are the columns of the product; its columns are summed over.
DEVICE Work left_product_transposed(const Operand& m, const HalfTile& y, const Work& more = {}) {
  const u32 re[2][2] = {{y.re[0][0], y.re[1][0]}, {y.re[0][1], y.re[1][1]}};
  const u32 im[2][2] = {{y.im[0][0], y.im[1][0]}, {y.im[0][1], y.im[1][1]}};
  return left_product(m, re, im, more);
}
// y M^T + more, M given as a right operand.
DEVICE Work right_product(const HalfTile& y, const Operand& m, const Work& more = {}) {
  Work out = more;
  const uint4 minus = negate(m.im);
  const u32 br[2][2] = {{m.re.x, m.re.y}, {m.re.z, m.re.w}}, bi[2][2] = {{m.im.x, m.im.y}, {m.im.z, m.im.w}};
  const u32 bm[2][2] = {{minus.x, minus.y}, {minus.z, minus.w}};
#pragma unroll
  for (int n = 0; n < 2; n++) {
    multiply_add(out.re[n], y.re[0][0], y.re[0][1], y.re[1][0], y.re[1][1], br[n][0], br[n][1]);
    multiply_add(out.im[n], y.re[0][0], y.re[0][1], y.re[1][0], y.re[1][1], bi[n][0], bi[n][1]);
  }
#pragma unroll
  for (int n = 0; n < 2; n++) {
    multiply_add(out.re[n], y.im[0][0], y.im[0][1], y.im[1][0], y.im[1][1], bm[n][0], bm[n][1]);
    multiply_add(out.im[n], y.im[0][0], y.im[0][1], y.im[1][0], y.im[1][1], br[n][0], br[n][1]);
  }
  return out;
}

// x w, element by element.
DEVICE void twiddle(Tile& x, const Tile& w) {
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) rotate(x.re[n][i], x.im[n][i], w.re[n][i], w.im[n][i]);
}
DEVICE void twiddle(HalfTile& x, const HalfTile& w) {
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++) rotate(x.re[n][r], x.im[n][r], w.re[n][r], w.im[n][r]);
}
DEVICE void convert(Tile& out, const Tile& x) { out = x; }
DEVICE void convert(HalfTile& out, const Tile& x) { out = to_half(x); }
DEVICE void convert(HalfTile& out, const HalfTile& x) { out = x; }
DEVICE void convert(Tile& out, const HalfTile& x) {
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const float2 re = unpack_half(x.re[n][r]), im = unpack_half(x.im[n][r]);
      out.re[n][2 * r] = re.x, out.re[n][2 * r + 1] = re.y;
      out.im[n][2 * r] = im.x, out.im[n][2 * r + 1] = im.y;
    }
}

// The same products with values in fp32, unrounded: each is the sum of two fp16 values.
DEVICE HalfTile rest_of(const Tile& y, const HalfTile& high) {
  Tile rest;
  convert(rest, high);
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      rest.re[n][i] = y.re[n][i] - rest.re[n][i];
      rest.im[n][i] = y.im[n][i] - rest.im[n][i];
    }
  return to_half(rest);
}
DEVICE Work left_product_transposed(const Operand& m, const Tile& y) {
  const HalfTile high = to_half(y);
  return left_product_transposed(m, high, left_product_transposed(m, rest_of(y, high)));
}
DEVICE Work right_product(const Tile& y, const Operand& m) {
  const HalfTile high = to_half(y);
  return right_product(high, m, right_product(rest_of(y, high), m));
}

// A table of fp16 twiddles: for n = 0 and 1, (re, im of row g; re, im of row g + 8), two columns to a word.
DEVICE HalfTile half_pairs(const uint4& w0, const uint4& w1) {
  return {{{w0.x, w0.z}, {w1.x, w1.z}}, {{w0.y, w0.w}, {w1.y, w1.w}}};
}

struct Quarters {  // a slot as loaded from the exchange buffer
  u32 re[4], im[4];
};
