// The outer index (a, b): stage a as products of R x R, stage b as a butterfly, between the buffer of real samples and
// the exchange buffer on the way in, and in place on the way back. Each warp has lags of its own, so no two warps write
// to the same place.
#pragma once
#include <common/strips.cuh>
#include <one_sm/inner.cuh>

template <class S>
DEVICE uint4 outer_table(u32 offset) {
  return load_shared16(shared_base() + S::kTables + offset + lane_index() * 16);
}
// Stage a's matrix for rows above 4,096: [row of tiles][column of tiles] fragments, real and imaginary.
struct StackedMatrix {
  uint4 re[2][2], im[2][2];
};
template <class S>
DEVICE StackedMatrix load_stacked(u32 offset) {
  StackedMatrix out;
#pragma unroll
  for (int row = 0; row < 2; row++)
#pragma unroll
    for (int column = 0; column < 2; column++) {
      out.re[row][column] = outer_table<S>(offset + (2 * row + column) * 1024);
      out.im[row][column] = outer_table<S>(offset + (2 * row + column) * 1024 + 512);
    }
  return out;
}

// samples -> exchange, R <= 16. All reads come before all writes, so that reads do not wait for one
// another.
template <class S>
DEVICE void outer_in_short() {
  const int lane = lane_index(), matrix = lane >> 3;
  const uint4 re = outer_table<S>(S::kStageIn), im = outer_table<S>(S::kStageIn + 512);
  u32 x[S::kItems][4];
#pragma unroll
  for (int item = 0; item < S::kItems; item++)
    load_matrices_transposed(x[item], S::samples(S::kSamples, tile_of<S>(item), (lane & 7) + 8 * (matrix & 1),
                                                 2 * slot_of<S>(item) + (matrix >> 1)));
#pragma unroll
  for (int item = 0; item < S::kItems; item++) {
    HalfStrip zr[2], zi[2];
#pragma unroll
    for (int v = 0; v < 2; v++) {
      WorkStrip sum_re = {}, sum_im = {};
      multiply_add(sum_re.x, re.x, re.y, re.z, re.w, x[item][2 * v], x[item][2 * v + 1]);
      multiply_add(sum_im.x, im.x, im.y, im.z, im.w, x[item][2 * v], x[item][2 * v + 1]);
      zr[v] = to_half(sum_re), zi[v] = to_half(sum_im);
    }
    const u32 to =
        S::exchange(tile_of<S>(item), (lane & 7) + 8 * (matrix & 1), 2 * slot_of<S>(item) + (matrix >> 1), 0);
    store_matrices(to, zr[0].x[0], zr[0].x[1], zr[1].x[0], zr[1].x[1]);
    store_matrices(S::imaginary(to), zi[0].x[0], zi[0].x[1], zi[1].x[0], zi[1].x[1]);
  }
}

// samples -> exchange, R = 32: a warp has two chunks of eight lags of every row, sixteen chunks apart.
template <class S>
DEVICE void outer_in_tall() {
  constexpr int kSplit = S::kSplit;
  const int lane = lane_index(), t = lane & 3, matrix = lane >> 3, slot = (lane & 7) + 8 * (matrix & 1);
  const StackedMatrix m = load_stacked<S>(S::kStageIn);
  // Matrices of a load are the halves of both tiles of a; of a store, the halves of one tile of a', real and imaginary.
  const u32 first_from = S::samples(S::kSamples, matrix >> 1, slot, warp_index());
  const u32 first_to = S::exchange(0, slot, warp_index(), matrix >> 1);
  const u32 lag_twist = shared_base() + S::kTables + S::kLagIn + (warp_index() * 4 + t) * 8;
#pragma unroll
  for (int part = 0; part < 2 * S::kGroups; part++) {
    const int group = part / 2, far = part % 2;
    u32 x[kSplit][4];
#pragma unroll
    for (int b = 0; b < kSplit; b++)
      load_matrices_transposed(x[b], first_from + (group * S::kSpan + 2 * b) * 8192 + far * 256);
#pragma unroll
    for (int row = 0; row < 2; row++) {
      WorkStrip re[kSplit] = {}, im[kSplit] = {};
#pragma unroll
      for (int column = 0; column < 2; column++)
#pragma unroll
        for (int b = 0; b < kSplit; b++) {
          const uint4 mr = m.re[row][column], mi = m.im[row][column];
          multiply_add(re[b].x, mr.x, mr.y, mr.z, mr.w, x[b][2 * column], x[b][2 * column + 1]);
          multiply_add(im[b].x, mi.x, mi.y, mi.z, mi.w, x[b][2 * column], x[b][2 * column + 1]);
        }
#pragma unroll
      for (int b = 1; b < kSplit; b++) {
        const uint4 w = outer_table<S>(S::kTwistIn + (2 * (b - 1) + row) * 512);
        twiddle_rows(re[b], im[b], w);
      }
      butterfly_strips<kSplit>(re, im);
#pragma unroll
      for (int b = 0; b < kSplit; b++) {
        if (const int n = lag_twist_of<S>(b, row); n >= 0) {
          const uint2 w = load_shared8(lag_twist + n * 1024 + far * 512);
          WorkStrip wr, wi;
          convert(wr, HalfStrip{{w.x, w.x}});
          convert(wi, HalfStrip{{w.y, w.y}});
          twiddle(re[b], im[b], wr, wi);
        }
        const HalfStrip zr = to_half(re[b]), zi = to_half(im[b]);
        store_matrices(first_to + (group * S::kSpan + 2 * b + row) * 16384 + far * 128, zr.x[0], zr.x[1], zi.x[0],
                       zi.x[1]);
      }
    }
  }
}

// Results of eight lags in fp32, where their real and imaginary chunks were; `to` is of this lane's row and columns.
template <class Sums>
DEVICE void store_result(u32 to, const Sums& y) {
  to += 8 * (lane_index() & 1);
  store_shared8(to, as_bits(y.x[0]), as_bits(y.x[1]));
  store_shared8(to + 8 * 1024, as_bits(y.x[2]), as_bits(y.x[3]));
}

// Spectra's branches b' back to b, rows a' as right operands.
template <class S>
DEVICE void branches_back(u32 (&zr)[S::kSplit][4], u32 (&zi)[S::kSplit][4]) {
  if constexpr (HALF_SUMS) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      u32 re[S::kSplit], im[S::kSplit];
#pragma unroll
      for (int b = 0; b < S::kSplit; b++) re[b] = zr[b][i], im[b] = zi[b][i];
      butterfly(re, im);
#pragma unroll
      for (int b = 0; b < S::kSplit; b++) zr[b][i] = re[b], zi[b][i] = im[b];
    }
#pragma unroll
    for (int b = 1; b < S::kSplit; b++)
#pragma unroll
      for (int tile = 0; tile < 2; tile++) {
        const uint4 w = outer_table<S>(S::kTwistBack + (2 * (b - 1) + tile) * 512);
        rotate(zr[b][2 * tile], zi[b][2 * tile], w.x, w.z);
        rotate(zr[b][2 * tile + 1], zi[b][2 * tile + 1], w.y, w.w);
      }
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float part_re[2][S::kSplit], part_im[2][S::kSplit];
#pragma unroll
      for (int b = 0; b < S::kSplit; b++) {
        const float2 re = unpack_half(zr[b][i]), im = unpack_half(zi[b][i]);
        part_re[0][b] = re.x, part_re[1][b] = re.y, part_im[0][b] = im.x, part_im[1][b] = im.y;
      }
      butterfly(part_re[0], part_im[0]);
      butterfly(part_re[1], part_im[1]);
#pragma unroll
      for (int b = 0; b < S::kSplit; b++) {
        if (b > 0) {
          const uint4 w = outer_table<S>(S::kTwistBack + (4 * (b - 1) + i) * 512);
          rotate(part_re[0][b], part_im[0][b], as_float(w.x), as_float(w.z));
          rotate(part_re[1][b], part_im[1][b], as_float(w.y), as_float(w.w));
        }
        zr[b][i] = pack_half(part_re[0][b], part_re[1][b]), zi[b][i] = pack_half(part_im[0][b], part_im[1][b]);
      }
    }
  }
}

// exchange -> exchange: y of outer index a, as load_result finds it.
template <class S>
DEVICE void outer_back_short() {
  const int lane = lane_index(), g = lane >> 2, t = lane & 3, matrix = lane >> 3;
  const uint4 re = outer_table<S>(S::kStageBack), im = outer_table<S>(S::kStageBack + 512);
  constexpr int kAtOnce = S::kItems < 2 ? 1 : 2;
#pragma unroll
  for (int start = 0; start < S::kItems; start += kAtOnce) {
    u32 from[kAtOnce], zr[kAtOnce][4], zi[kAtOnce][4];
#pragma unroll
    for (int i = 0; i < kAtOnce; i++) {
      from[i] = S::exchange(tile_of<S>(start + i), (lane & 7) + 8 * (matrix & 1),
                            2 * slot_of<S>(start + i) + (matrix >> 1), 0);
      load_matrices_transposed(zr[i], from[i]);
      load_matrices_transposed(zi[i], S::imaginary(from[i]));
    }
    warp_barrier();  // every lane has read these columns
#pragma unroll
    for (int i = 0; i < kAtOnce; i++) {
      WorkStrip y[2] = {};
#pragma unroll
      for (int v = 0; v < 2; v++) {
        multiply_add(y[v].x, re.x, re.y, re.z, re.w, zr[i][2 * v], zr[i][2 * v + 1]);
        multiply_add(y[v].x, im.x, im.y, im.z, im.w, zi[i][2 * v], zi[i][2 * v + 1]);
      }
      if constexpr (HALF_SUMS) {
        store_matrices(from[i], y[0].x[0], y[0].x[1], y[1].x[0], y[1].x[1]);
      } else {
#pragma unroll
        for (int v = 0; v < 2; v++)
          store_result(S::exchange(tile_of<S>(start + i), g, 2 * slot_of<S>(start + i) + v, t >> 1), y[v]);
      }
    }
  }
}

template <class S>
DEVICE void outer_back_tall() {
  constexpr int kSplit = S::kSplit;
  const int lane = lane_index(), g = lane >> 2, t = lane & 3, matrix = lane >> 3;
  const StackedMatrix m = load_stacked<S>(S::kStageBack);
  const u32 first = S::exchange(matrix >> 1, (lane & 7) + 8 * (matrix & 1), warp_index(), 0);
  const u32 first_result = S::exchange(0, g, warp_index(), t >> 1);
#pragma unroll
  for (int part = 0; part < 2 * S::kGroups; part++) {
    const u32 on = part / 2 * S::kSpan * 16384 + part % 2 * 128;
    u32 zr[kSplit][4], zi[kSplit][4];
#pragma unroll
    for (int b = 0; b < kSplit; b++) {
      load_matrices_transposed(zr[b], first + on + b * 32768);
      load_matrices_transposed(zi[b], S::imaginary(first) + on + b * 32768);
    }
    warp_barrier();  // every lane has read these columns
    if constexpr (kSplit > 1) branches_back<S>(zr, zi);
#pragma unroll
    for (int b = 0; b < kSplit; b++) {
      WorkStrip y[2] = {};  // tiles of a
#pragma unroll
      for (int column = 0; column < 2; column++)
#pragma unroll
        for (int row = 0; row < 2; row++) {
          const uint4 mr = m.re[row][column], mi = m.im[row][column];
          multiply_add(y[row].x, mr.x, mr.y, mr.z, mr.w, zr[b][2 * column], zr[b][2 * column + 1]);
          multiply_add(y[row].x, mi.x, mi.y, mi.z, mi.w, zi[b][2 * column], zi[b][2 * column + 1]);
        }
      if constexpr (HALF_SUMS) {
        store_matrices(first + on + b * 32768, y[0].x[0], y[0].x[1], y[1].x[0], y[1].x[1]);
      } else {
#pragma unroll
        for (int row = 0; row < 2; row++) store_result(first_result + on + (2 * b + row) * 16384, y[row]);
      }
    }
  }
}

template <class S>
DEVICE void outer_in() {
  if constexpr (S::kStacked == 1) outer_in_short<S>();
  else outer_in_tall<S>();
}
template <class S>
DEVICE void outer_back() {
  if constexpr (S::kStacked == 1) outer_back_short<S>();
  else outer_back_tall<S>();
}
