// Transforms down the columns, 32 columns to a warp: real values to spectra, and back to real values.
#pragma once
#include <three_pass/rows.cuh>
#include <three_pass/shape.cuh>

// exp(-2 pi i j (f1 + 1/4) / N) for columns j = 32 tile + i: what the transforms of lines leave out. `tile` is a root
// of unity in fp32; i has a table, (re, im) of two columns a word.
struct Twiddles {
  const uint2* table;      // [f1][16 pairs of columns]
  float cycles_per_phase;  // 1 / 4N
  DEVICE float2 of_tile(int f, int tile) const {
    const u32 phase = (4 * f + 1) * static_cast<u32>(32 * tile);  // less than 4 N
    return root_of_unity(static_cast<float>(phase) * cycles_per_phase);
  }
  // Two columns times their twiddles, `root` that of their tile. In fp32 where rows have more than bf16's digits.
  DEVICE void twist(u32& re, u32& im, int f, int pair, float2 root) const {
    uint2 w = table[f * 16 + pair];
    if constexpr (IO_BF16) {
      rotate(w.x, w.y, pack_half(root.x, root.x), pack_half(root.y, root.y));
      rotate(re, im, w.x, w.y);
    } else {
      float2 a = unpack_half(re), b = unpack_half(im);
      twist(a, b, w, root);
      re = pack_half(a.x, a.y), im = pack_half(b.x, b.y);
    }
  }
  static DEVICE void twist(float2& re, float2& im, uint2 word, float2 root) {
    float2 wr = unpack_half(word.x), wi = unpack_half(word.y);
    rotate(wr.x, wi.x, root.x, root.y);
    rotate(wr.y, wi.y, root.x, root.y);
    rotate(re.x, im.x, wr.x, wi.x);
    rotate(re.y, im.y, wr.y, wi.y);
  }
};

// Values of 32 columns and the rows of a transform of r1 points, as right operands.
struct Operands {
  u32 word[Columns::kTiles][4][2];
};
struct Values {
  float v[Columns::kTiles][4][4];  // [tile of rows][2 t, 2 t + 1, 2 t + 8, 2 t + 9][column]
};
DEVICE int row_of(int tile, int i) { return 16 * tile + 2 * (lane_index() & 3) + (i & 1) + 8 * (i >> 1); }

DEVICE u32 peak_of(const Values& x) {
  float most = 0.0f;
#pragma unroll
  for (int k = 0; k < Columns::kTiles; k++)
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int c = 0; c < 4; c++) most = larger(most, fabsf(x.v[k][i][c]));
  return max_over_warp(as_bits(most));
}
DEVICE Operands packed(const Values& x, float scale) {
  Operands out;
#pragma unroll
  for (int k = 0; k < Columns::kTiles; k++)
#pragma unroll
    for (int c = 0; c < 4; c++) {
      out.word[k][c][0] = pack_half(x.v[k][0][c] * scale, x.v[k][1][c] * scale);
      out.word[k][c][1] = pack_half(x.v[k][2][c] * scale, x.v[k][3][c] * scale);
    }
  return out;
}

// A fragment of a table of matrices: [tile of rows][tile of columns][re, im] x 32 lanes.
DEVICE uint4 fragment(const uint4* matrix, int number, int comp) {
  return matrix[(number * 2 + comp) * 32 + lane_index()];
}

// f1 of real columns: sink(f, four, re, im) gets every four neighbouring columns of this lane's frequencies.
template <class Sink>
DEVICE void transform_columns(const Operands& x, const uint4* matrix, Sink sink) {
#pragma unroll 1
  for (int m = 0; m < Columns::kTiles; m++) {
    float re[4][4] = {}, im[4][4] = {};
#pragma unroll
    for (int k = 0; k < Columns::kTiles; k++) {
      const uint4 mr = fragment(matrix, m * Columns::kTiles + k, 0), mi = fragment(matrix, m * Columns::kTiles + k, 1);
#pragma unroll
      for (int c = 0; c < 4; c++) {
        multiply_add(re[c], mr.x, mr.y, mr.z, mr.w, x.word[k][c][0], x.word[k][c][1]);
        multiply_add(im[c], mi.x, mi.y, mi.z, mi.w, x.word[k][c][0], x.word[k][c][1]);
      }
    }
    const int g = lane_index() >> 2, t = lane_index() & 3;
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int n = 2 * r + e;
        const float a[4] = {re[0][n], re[1][n], re[2][n], re[3][n]}, b[4] = {im[0][n], im[1][n], im[2][n], im[3][n]};
        sink(16 * m + g + 8 * r, t + 4 * e, a, b);
      }
  }
}

// Back to real columns: source(f, re, im) gives four columns (two words each) of frequency f, this lane's four;
// sink(n, j, four, v) gets four neighbouring columns of this lane's rows j, the n-th of all.
template <class Source, class Sink>
DEVICE void restore_columns(Source source, const uint4* matrix, Sink sink) {
  float y[Columns::kTiles][4][4] = {};
#pragma unroll
  for (int k = 0; k < Columns::kTiles; k++) {
    uint2 re[4], im[4];
#pragma unroll
    for (int i = 0; i < 4; i++) source(row_of(k, i), re[i], im[i]);
    u32 zr[4][2], zi[4][2];  // [column][rows 2 t.., rows 2 t + 8..]
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const auto pair = [](u32 a, u32 b, int odd) { return permute_bytes(a, b, odd ? 0x7632 : 0x5410); };
      const uint2 &a = re[2 * h], &b = re[2 * h + 1], &c = im[2 * h], &d = im[2 * h + 1];
      zr[0][h] = pair(a.x, b.x, 0), zr[1][h] = pair(a.x, b.x, 1), zr[2][h] = pair(a.y, b.y, 0),
      zr[3][h] = pair(a.y, b.y, 1);
      zi[0][h] = pair(c.x, d.x, 0), zi[1][h] = pair(c.x, d.x, 1), zi[2][h] = pair(c.y, d.y, 0),
      zi[3][h] = pair(c.y, d.y, 1);
    }
#pragma unroll
    for (int m = 0; m < Columns::kTiles; m++) {
      const uint4 mr = fragment(matrix, m * Columns::kTiles + k, 0), mi = fragment(matrix, m * Columns::kTiles + k, 1);
#pragma unroll
      for (int c = 0; c < 4; c++) {
        multiply_add(y[m][c], mr.x, mr.y, mr.z, mr.w, zr[c][0], zr[c][1]);
        multiply_add(y[m][c], mi.x, mi.y, mi.z, mi.w, zi[c][0], zi[c][1]);
      }
    }
  }
  const int g = lane_index() >> 2, t = lane_index() & 3;
#pragma unroll
  for (int m = 0; m < Columns::kTiles; m++)
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int n = 2 * r + e;
        const float v[4] = {y[m][0][n], y[m][1][n], y[m][2][n], y[m][3][n]};
        sink(4 * m + n, 16 * m + g + 8 * r, t + 4 * e, v);
      }
}

// The second step of 16 points, in place in shared memory: a warp has all j'' (or f'') of one f1'. kBack: transposed.
template <bool kBack>
DEVICE void second_step(int f, const uint4* matrices) {
  const uint4 mr = fragment(matrices, 2 * f + kBack, 0), mi = fragment(matrices, 2 * f + kBack, 1);
  const uint4 minus = negate(mi);
  const int lane = lane_index(), matrix = lane >> 3;
#pragma unroll
  for (int q = 0; q < 2; q++) {
    const u32 at_re = Columns::chunk(f, (lane & 7) + 8 * (matrix & 1), 0, 2 * q + (matrix >> 1));
    const u32 at_im = Columns::chunk(f, (lane & 7) + 8 * (matrix & 1), 1, 2 * q + (matrix >> 1));
    u32 xr[4], xi[4];
    load_matrices_transposed(xr, at_re);
    load_matrices_transposed(xi, at_im);
    Strip re[2] = {}, im[2] = {};
#pragma unroll
    for (int v = 0; v < 2; v++) {
      multiply_add(re[v].x, mr.x, mr.y, mr.z, mr.w, xr[2 * v], xr[2 * v + 1]);
      multiply_add(im[v].x, mr.x, mr.y, mr.z, mr.w, xi[2 * v], xi[2 * v + 1]);
      multiply_add(re[v].x, minus.x, minus.y, minus.z, minus.w, xi[2 * v], xi[2 * v + 1]);
      multiply_add(im[v].x, mi.x, mi.y, mi.z, mi.w, xr[2 * v], xr[2 * v + 1]);
    }
    const HalfStrip r0 = to_half(re[0]), r1 = to_half(re[1]), i0 = to_half(im[0]), i1 = to_half(im[1]);
    warp_barrier();  // every lane has read these columns
    store_matrices(at_re, r0.x[0], r0.x[1], r1.x[0], r1.x[1]);
    store_matrices(at_im, i0.x[0], i0.x[1], i1.x[0], i1.x[1]);
  }
  warp_barrier();
}
