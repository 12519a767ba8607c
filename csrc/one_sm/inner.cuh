// Stages c and d: the 16 x 16 points below one outer index, all in one warp's registers (`common/tiles.cuh`).
#pragma once
#include <common/tiles.cuh>
#include <one_sm/shape.cuh>

// Matrices of a warp's outer index. Where its second slot has another index (kHalfShift), the difference in d is part
// of the twiddles between products, and that in c part of the lag twists, or else there are two matrices of stage c.
template <class S>
struct InnerTables {
  Operand c_in[S::kColumnMatrices], d_in, d_back, c_back[S::kColumnMatrices];
  Work middle;
};

// kBrief: the middle twiddles are read as fp16: fewer bytes, but measured to be slower where they stay in registers.
template <class S, bool kBrief = false>
DEVICE InnerTables<S> load_inner_tables(const uint4* tables) {
  InnerTables<S> out;
#pragma unroll
  for (int pass = 0; pass < S::kColumnMatrices; pass++) {
    const uint4* own = tables + outer_index<S>(pass) * 256 + lane_index();
    out.c_in[pass] = {own[0], own[32]};
    if (pass == 0) out.d_in = {own[64], own[96]}, out.d_back = {own[128], own[160]};
    out.c_back[pass] = {own[192], own[224]};
  }
  const uint4* middle = tables + S::kMiddle + lane_index();
  if constexpr (kBrief && HALF_SUMS) {
    convert(out.middle, half_pairs(middle[128], middle[160]));
  } else {
    Tile w;
#pragma unroll
    for (int n = 0; n < 2; n++) {
      const uint4 re = middle[64 * n], im = middle[64 * n + 32];
      const u32 r[4] = {re.x, re.y, re.z, re.w}, i[4] = {im.x, im.y, im.z, im.w};
#pragma unroll
      for (int k = 0; k < 4; k++) w.re[n][k] = as_float(r[k]), w.im[n][k] = as_float(i[k]);
    }
    convert(out.middle, w);
  }
  return out;
}
// The twiddles between two products: equal for both slots of a warp, except for the shift from a' to a' + R / 2 in d.
template <class S>
DEVICE Work between(int shift, u32 shifted, const InnerTables<S>& tables) {
  Work out = tables.middle;
  if constexpr (S::kHalfShift) {
    if (shift == 1) {
      const u32 at = shared_base() + S::kTables + shifted + lane_index() * 16;
      const uint4 w0 = load_shared16(at), w1 = load_shared16(at + 512);
      convert(out, half_pairs(w0, w1));
    }
  }
  return out;
}

// This lane's row of the four 8 x 8 matrices of a slot's real part, (c, d) in quarters; the imaginary part's is next.
template <class S>
DEVICE u32 slot_address(int item) {
  const int lane = lane_index(), matrix = lane >> 3;
  return S::exchange(tile_of<S>(item), slot_of<S>(item), 2 * ((lane & 7) + 8 * (matrix & 1)) + (matrix >> 1), 0);
}

template <class S>
DEVICE Quarters load_slot(int item) {
  Quarters x;
  load_matrices_transposed(x.re, slot_address<S>(item));
  load_matrices_transposed(x.im, S::imaginary(slot_address<S>(item)));
  return x;
}
template <class S>
DEVICE void store_slot(int item, const HalfTile& x) {
  store_matrices(slot_address<S>(item), x.re[0][0], x.re[0][1], x.re[1][0], x.re[1][1]);
  store_matrices(S::imaginary(slot_address<S>(item)), x.im[0][0], x.im[0][1], x.im[1][0], x.im[1][1]);
}

// The spectrum of a slot: rows c', columns d', in stored order. kExact: nothing is rounded after the first product.
template <class S, bool kExact = false>
DEVICE Work spectrum_of(int shift, const Quarters& x, const InnerTables<S>& tables) {
  Work z = left_product(tables.c_in[shift % S::kColumnMatrices], {{x.re[0], x.re[1]}, {x.re[2], x.re[3]}},
                        {{x.im[0], x.im[1]}, {x.im[2], x.im[3]}});
  twiddle(z, between<S>(shift, S::kShiftedIn, tables));
  if constexpr (kExact) return right_product(z, tables.d_in);
  else return right_product(to_half(z), tables.d_in);
}

// The inverse, of the conjugate of a spectrum: the forward matrices serve, and the real part is the same. A spectrum in
// fp32 is not rounded before the last product has been summed.
template <class S, class Spectrum>
DEVICE HalfTile inverse_of(int item, int shift, const Spectrum& conjugate, const InnerTables<S>& tables) {
  Work x = left_product_transposed(tables.d_back, conjugate);
  twiddle(x, between<S>(shift, S::kShiftedBack, tables));
  const Operand& c_back = tables.c_back[shift % S::kColumnMatrices];
  if constexpr (sizeof(Spectrum) == sizeof(Tile)) x = left_product_transposed(c_back, x);
  else x = left_product_transposed(c_back, to_half(x));
  if constexpr (S::kSplit > 1) {
    if (const int n = lag_twist_of<S>(branch_of<S>(item), shift); n >= 0) {
      const u32 at = shared_base() + S::kTables + S::kLagBack + (n * 64 + lane_index()) * 16;
      const uint4 w0 = load_shared16(at), w1 = load_shared16(at + 512);
      Work w;
      convert(w, half_pairs(w0, w1));
      twiddle(x, w);
    }
  }
  return to_half(x);
}
template <class S, class Spectrum>
DEVICE void store_back(int item, int shift, const Spectrum& conjugate, const InnerTables<S>& tables) {
  const HalfTile x = inverse_of<S>(item, shift, conjugate, tables);
  warp_barrier();  // every lane has read this slot
  store_slot<S>(item, x);
}
