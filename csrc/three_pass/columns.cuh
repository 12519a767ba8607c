// Transforms down the columns, kSpan columns per warp: real values to spectra, and back to real values. Device memory
// is read and written by rows, eight columns per lane; `mma` needs columns, so all passes through the warp's scratch.
#pragma once
#include <three_pass/eights.cuh>

// Which columns a warp has in all of its rows, and which rows: blocks on the same row have neighbouring columns. The
// number of blocks is a multiple of kPlaces.
struct Share {
  static constexpr int kPlaces = Columns::kPoints / (Columns::kSpan * Columns::kWarps);
  int tile, first, step;
  DEVICE Share()
      : tile((block_index() % kPlaces * Columns::kWarps + warp_index()) * (Columns::kSpan / 32)),
        first(block_index() / kPlaces),
        step(grid_size() / kPlaces) {}
};

// The r1 x r1 matrix: fragments [tile of rows][tile of columns][re, im] x 32 lanes, from device to shared memory.
struct Matrix {
  const uint4* device;
  DEVICE void set_up() const {
    for (int i = thread_index(); i < static_cast<int>(Columns::kMatrixBytes / 16); i += 32 * Columns::kWarps)
      store_shared16(shared_base() + Columns::kMatrices + 16 * i, device[i]);
    block_barrier();
  }
  DEVICE uint4 fragment(int row, int column, int comp) const {
    const int at = ((row * Columns::kTiles + column) * 2 + comp) * 32 + lane_index();
    if constexpr (Columns::kMatrixKept) return load_shared16(shared_base() + Columns::kMatrices + 16 * at);
    else return device[at];
  }
};

// Real values of a warp's columns and the rows of a transform of r1 points, as right operands.
struct Operands {
  u32 word[Columns::kTiles][Columns::kProducts][2];
};
// Values of this lane: [tile of rows][n] eights.
struct Values {
  float v[Columns::kTiles][Columns::kPerRows][8];
};

DEVICE u32 peak_of(const Values& x) {
  float most[2] = {};
#pragma unroll
  for (int k = 0; k < Columns::kTiles; k++)
#pragma unroll
    for (int n = 0; n < Columns::kPerRows; n++)
#pragma unroll
      for (int c = 0; c < 8; c++) most[c & 1] = larger(most[c & 1], fabsf(x.v[k][n][c]));
  return max_over_warp(as_bits(larger(most[0], most[1])));
}
// Scales values by a power of two, tile by tile through scratch.
DEVICE Operands operands_of(const Values& x, float scale, int j) {
  Operands out;
  const int lane = lane_index(), matrix = lane >> 3;
#pragma unroll
  for (int k = 0; k < Columns::kTiles; k++) {
    warp_barrier();  // every lane has read the previous content
#pragma unroll
    for (int n = 0; n < Columns::kPerRows; n++) {
      const LaneEight own(n);
      u32 word[4];
#pragma unroll
      for (int p = 0; p < 4; p++) word[p] = pack_half(x.v[k][n][2 * p] * scale, x.v[k][n][2 * p + 1] * scale);
      store_shared16(Columns::value(own.row, own.eight, j), uint4{word[0], word[1], word[2], word[3]});
    }
    warp_barrier();
    if constexpr (Columns::kShort) {
#pragma unroll
      for (int c = 0; c < Columns::kProducts; c += 4) {
        u32 word[4];
        load_matrices_transposed(word, Columns::value(lane & 7, c + matrix, j));
#pragma unroll
        for (int i = 0; i < 4; i++) out.word[k][c + i][0] = word[i], out.word[k][c + i][1] = 0;
      }
      continue;
    }
#pragma unroll
    for (int c = 0; c < Columns::kProducts; c += 2) {
      u32 word[4];
      load_matrices_transposed(word, Columns::value((lane & 7) + 8 * (matrix & 1), c + (matrix >> 1), j));
      out.word[k][c][0] = word[0], out.word[k][c][1] = word[1];
      out.word[k][c + 1][0] = word[2], out.word[k][c + 1][1] = word[3];
    }
  }
  return out;
}

// f1 of real columns: sink(m, c, re, im) gets two products' sums at a time, c and c + 1, of the m-th tile of f1.
template <class Sink>
DEVICE void transform_columns(const Matrix& matrix, const Operands& x, Sink sink) {
  constexpr int kTiles = Columns::kTiles;
#pragma unroll 1
  for (int m = 0; m < Columns::kKeptTiles; m++) {
    WorkStrip re[Columns::kProducts] = {}, im[Columns::kProducts] = {};
#pragma unroll
    for (int k = 0; k < kTiles; k++) {
      const uint4 mr = matrix.fragment(m, k, 0), mi = matrix.fragment(m, k, 1);
#pragma unroll
      for (int c = 0; c < Columns::kProducts; c++) {
        multiply_add(re[c].x, mr.x, mr.y, mr.z, mr.w, x.word[k][c][0], x.word[k][c][1]);
        multiply_add(im[c].x, mi.x, mi.y, mi.z, mi.w, x.word[k][c][0], x.word[k][c][1]);
      }
    }
    sink(m, re, im);
  }
}
using ColumnSums = WorkStrip[Columns::kProducts];

// Two products' places, each 16 rows of eight columns, of this lane's row of the four 8 x 8 matrices.
template <class Places>
DEVICE void store_products(Places at, int c, const HalfStrip& x, const HalfStrip& y) {
  const int lane = lane_index(), matrix = lane >> 3;
  store_matrices(at((lane & 7) + 8 * (matrix & 1), c + (matrix >> 1)), x.x[0], x.x[1], y.x[0], y.x[1]);
}

// The same of short columns: one product has the real parts of f1 above the imaginary ones.
template <class Places>
DEVICE void transform_short_columns(const Matrix& matrix, const Operands& x, Places at) {
  const uint4 mr = matrix.fragment(0, 0, 0), mi = matrix.fragment(0, 0, 1);
  HalfStrip out[Columns::kProducts];
#pragma unroll
  for (int c = 0; c < Columns::kProducts; c++) {
    WorkStrip sums{};
    multiply_add(sums.x, mr.x, mi.x, mr.z, mi.z, x.word[0][c][0], x.word[0][c][1]);
    out[c] = to_half(sums);
  }
  const int lane = lane_index(), matrix_of_lane = lane >> 3;
#pragma unroll
  for (int c = 0; c < Columns::kProducts; c += 4)
#pragma unroll
    for (int comp = 0; comp < 2; comp++)
      store_matrices(at(comp, lane & 7, c + matrix_of_lane), out[c].x[comp], out[c + 1].x[comp], out[c + 2].x[comp],
                     out[c + 3].x[comp]);
}

// Back to real columns: operands(k, comp, word) gives those of a tile of rows; sink(m, y) gets the m-th tile of
// results.
template <class Source, class Sink>
DEVICE void restore_columns(const Matrix& matrix, Source operands, Sink sink) {
  constexpr int kTiles = Columns::kTiles, kProducts = Columns::kProducts;
  Strip y[kTiles][kProducts] = {};
#pragma unroll
  for (int k = 0; k < Columns::kKeptTiles; k++) {
    u32 z[2][kProducts][2];
    operands(k, z);
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
      const uint4 mr = matrix.fragment(m, k, 0), mi = matrix.fragment(m, k, 1);
#pragma unroll
      for (int c = 0; c < kProducts; c++) multiply_add(y[m][c].x, mr.x, mr.y, mr.z, mr.w, z[0][c][0], z[0][c][1]);
#pragma unroll
      for (int c = 0; c < kProducts; c++) multiply_add(y[m][c].x, mi.x, mi.y, mi.z, mi.w, z[1][c][0], z[1][c][1]);
    }
  }
#pragma unroll
  for (int m = 0; m < kTiles; m++) sink(m, y[m]);
}
// Complex rows of a tile as right operands; at(comp, row, eight): where they are.
template <class Places>
DEVICE void load_operands(Places at, u32 (&z)[2][Columns::kProducts][2]) {
  const int lane = lane_index(), matrix = lane >> 3;
#pragma unroll
  for (int comp = 0; comp < 2; comp++)
#pragma unroll
    for (int c = 0; c < Columns::kProducts; c += Columns::kShort ? 4 : 2) {
      u32 word[4];
      if constexpr (Columns::kShort) {
        load_matrices_transposed(word, at(comp, lane & 7, c + matrix));
#pragma unroll
        for (int i = 0; i < 4; i++) z[comp][c + i][0] = word[i], z[comp][c + i][1] = 0;
        continue;
      }
      load_matrices_transposed(word, at(comp, (lane & 7) + 8 * (matrix & 1), c + (matrix >> 1)));
      z[comp][c][0] = word[0], z[comp][c][1] = word[1], z[comp][c + 1][0] = word[2], z[comp][c + 1][1] = word[3];
    }
}
// A tile of results through scratch: sink(n, v) gets this lane's eights.
template <class Sink>
DEVICE void by_rows(const Strip (&y)[Columns::kProducts], int j, Sink sink) {
  const int g = lane_index() >> 2, t = lane_index() & 3;
  warp_barrier();  // every lane has read the previous content
#pragma unroll
  for (int row = 0; row < Columns::kTileRows / 8; row++)
#pragma unroll
    for (int c = 0; c < Columns::kProducts; c++)
      store_shared8(Columns::result(g + 8 * row, c, t >> 1, j) + 8 * (t & 1), as_bits(y[c].x[2 * row]),
                    as_bits(y[c].x[2 * row + 1]));
  warp_barrier();
#pragma unroll
  for (int n = 0; n < Columns::kPerRows; n++) {
    const LaneEight own(n);
    float v[8];
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const uint4 x = load_shared16(Columns::result(own.row, own.eight, half, j));
      v[4 * half] = as_float(x.x), v[4 * half + 1] = as_float(x.y);
      v[4 * half + 2] = as_float(x.z), v[4 * half + 3] = as_float(x.w);
    }
    sink(n, v);
  }
}

// The second step of 16 points: a warp has all j'' (or f'') of one f1'. `back`: transposed.
struct SecondMatrix {
  uint4 re, im;
  DEVICE SecondMatrix(const uint4* matrices, int f, bool back) {
    const uint4* own = matrices + (2 * f + back) * 64 + lane_index();
    re = own[0], im = own[32];
  }
};
// In place in shared memory; f: the number of f1' there.
DEVICE void second_step(int f, const SecondMatrix& own) {
  const uint4 mr = own.re, mi = own.im, minus = negate(mi);
  const int lane = lane_index(), matrix = lane >> 3;
#pragma unroll
  for (int q = 0; q < Columns::kEights / 2; q++) {
    const u32 at_re = Columns::piece(f, (lane & 7) + 8 * (matrix & 1), 0, 2 * q + (matrix >> 1));
    const u32 at_im = Columns::piece(f, (lane & 7) + 8 * (matrix & 1), 1, 2 * q + (matrix >> 1));
    u32 xr[4], xi[4];
    load_matrices_transposed(xr, at_re);
    load_matrices_transposed(xi, at_im);
    WorkStrip re[2] = {}, im[2] = {};
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
