// Products of spectra, point by point. A stored spectrum keeps, for n = 0 and 1, one 16-byte word per lane: (re, im of
// row g; re, im of row g + 8), two columns to a half-word pair.
#pragma once
#include <common/tiles.cuh>

struct StoredTile {
  uint4 word[2];
};

DEVICE StoredTile stored(const HalfTile& x) {
  return {{{x.re[0][0], x.im[0][0], x.re[0][1], x.im[0][1]}, {x.re[1][0], x.im[1][0], x.re[1][1], x.im[1][1]}}};
}
DEVICE StoredTile load_stored(const uint4* own) { return {{own[0], own[32]}}; }
DEVICE StoredTile load_stored_shared(u32 own) { return {{load_shared16(own), load_shared16(own + 512)}}; }
DEVICE void store_stored(uint4* own, const StoredTile& x) { own[0] = x.word[0], own[32] = x.word[1]; }

// Times a power of two, a pair of halves.
DEVICE uint4 times(uint4 x, u32 factor) {
  return {multiply_half(x.x, factor), multiply_half(x.y, factor), multiply_half(x.z, factor),
          multiply_half(x.w, factor)};
}
DEVICE StoredTile times(const StoredTile& x, u32 factor) {
  return {{times(x.word[0], factor), times(x.word[1], factor)}};
}

// f(n, i, re, im) on every place of a stored tile.
template <class Function>
DEVICE void for_each_place(const StoredTile& x, Function f) {
#pragma unroll
  for (int n = 0; n < 2; n++) {
    const u32 re[2] = {x.word[n].x, x.word[n].z}, im[2] = {x.word[n].y, x.word[n].w};
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const float2 a = unpack_half(re[r]), b = unpack_half(im[r]);
      f(n, 2 * r, a.x, b.x);
      f(n, 2 * r + 1, a.y, b.y);
    }
  }
}

// conj(k z): the convolution, conjugated for the way back.
DEVICE HalfTile conjugate_of_product(const StoredTile& k, const Tile& z) {
  Tile out;
  for_each_place(k, [&](int n, int i, float re, float im) {
    out.re[n][i] = z.re[n][i] * re - z.im[n][i] * im;
    out.im[n][i] = -(z.re[n][i] * im + z.im[n][i] * re);
  });
  return to_half(out);
}
// k conj(z) = conj(conj(k) z): the correlation, likewise.
DEVICE HalfTile conjugate_of_correlation(const StoredTile& k, const Tile& z) {
  Tile out;
  for_each_place(k, [&](int n, int i, float re, float im) {
    out.re[n][i] = z.re[n][i] * re + z.im[n][i] * im;
    out.im[n][i] = z.re[n][i] * im - z.im[n][i] * re;
  });
  return to_half(out);
}
DEVICE HalfTile half_tile(const StoredTile& k) { return half_pairs(k.word[0], k.word[1]); }
DEVICE HalfTile conjugate_of_product(const StoredTile& stored_k, const HalfTile& z) {
  const HalfTile k = half_tile(stored_k);
  HalfTile out;
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const u32 minus = negate_half(z.im[n][r]);
      out.re[n][r] = fuse_half(z.re[n][r], k.re[n][r], multiply_half(minus, k.im[n][r]));
      out.im[n][r] = fuse_half(negate_half(z.re[n][r]), k.im[n][r], multiply_half(minus, k.re[n][r]));
    }
  return out;
}
DEVICE HalfTile conjugate_of_correlation(const StoredTile& stored_k, const HalfTile& z) {
  const HalfTile k = half_tile(stored_k);
  HalfTile out;
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      out.re[n][r] = fuse_half(z.re[n][r], k.re[n][r], multiply_half(z.im[n][r], k.im[n][r]));
      out.im[n][r] = fuse_half(z.re[n][r], k.im[n][r], multiply_half(negate_half(z.im[n][r]), k.re[n][r]));
    }
  return out;
}
// conj(k z) + more, rounded once where z is in fp32.
DEVICE HalfTile conjugate_of_product(const StoredTile& k, const Tile& z, const HalfTile& more) {
  Tile out;
  convert(out, more);
  for_each_place(k, [&](int n, int i, float re, float im) {
    out.re[n][i] += z.re[n][i] * re - z.im[n][i] * im;
    out.im[n][i] -= z.re[n][i] * im + z.im[n][i] * re;
  });
  return to_half(out);
}
DEVICE HalfTile conjugate_of_product(const StoredTile& stored_k, const HalfTile& z, const HalfTile& more) {
  const HalfTile k = half_tile(stored_k);
  HalfTile out;
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const u32 minus = negate_half(z.im[n][r]);
      out.re[n][r] = fuse_half(z.re[n][r], k.re[n][r], fuse_half(minus, k.im[n][r], more.re[n][r]));
      out.im[n][r] = fuse_half(negate_half(z.re[n][r]), k.im[n][r], fuse_half(minus, k.re[n][r], more.im[n][r]));
    }
  return out;
}
// conj(i z) of conj(z).
DEVICE HalfTile turned(const HalfTile& z) {
  HalfTile out;
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++) out.re[n][r] = z.im[n][r], out.im[n][r] = negate_half(z.re[n][r]);
  return out;
}
// sum += weight conj(x) z.
DEVICE void add_correlation(Tile& sum, const StoredTile& x, const Tile& z, float weight) {
  for_each_place(x, [&](int n, int i, float re, float im) {
    re *= weight, im *= weight;
    sum.re[n][i] += z.re[n][i] * re + z.im[n][i] * im;
    sum.im[n][i] += z.im[n][i] * re - z.re[n][i] * im;
  });
}

// The same with the product in fp16: it stays below 32,768 (rows.cuh).
DEVICE void add_correlation(Tile& sum, const StoredTile& stored_x, const HalfTile& z, float weight) {
  const HalfTile x = half_tile(stored_x);
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const float2 re = unpack_half(fuse_half(z.re[n][r], x.re[n][r], multiply_half(z.im[n][r], x.im[n][r])));
      const float2 im =
          unpack_half(fuse_half(z.im[n][r], x.re[n][r], multiply_half(negate_half(z.re[n][r]), x.im[n][r])));
      sum.re[n][2 * r] += weight * re.x, sum.re[n][2 * r + 1] += weight * re.y;
      sum.im[n][2 * r] += weight * im.x, sum.im[n][2 * r + 1] += weight * im.y;
    }
}

// fp32 spectra in device memory: [n][comp] x 32 lanes x 16 bytes.
DEVICE void set_sums(float (&x)[4], uint4 word) {
  x[0] = as_float(word.x), x[1] = as_float(word.y), x[2] = as_float(word.z), x[3] = as_float(word.w);
}
DEVICE Tile load_sums(const uint4* own) {
  Tile out;
#pragma unroll
  for (int n = 0; n < 2; n++) set_sums(out.re[n], own[64 * n]), set_sums(out.im[n], own[64 * n + 32]);
  return out;
}
// The word of one n, of real parts (comp 0) or imaginary ones.
DEVICE uint4 sums_word(const Tile& x, int n, int comp) {
  const float (&y)[4] = comp == 0 ? x.re[n] : x.im[n];
  return {as_bits(y[0]), as_bits(y[1]), as_bits(y[2]), as_bits(y[3])};
}
DEVICE void store_sums(uint4* own, const Tile& x) {
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int comp = 0; comp < 2; comp++) own[64 * n + 32 * comp] = sums_word(x, n, comp);
}
DEVICE void add_sums(uint4* own, const Tile& x) {
#pragma unroll
  for (int n = 0; n < 2; n++) {
    add_device16(own + 64 * n, x.re[n]);
    add_device16(own + 64 * n + 32, x.im[n]);
  }
}
DEVICE void add(Tile& sum, const Tile& x) {
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) sum.re[n][i] += x.re[n][i], sum.im[n][i] += x.im[n][i];
}
// sum -= i x.
DEVICE void subtract_turned(Tile& sum, const Tile& x) {
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) sum.re[n][i] += x.im[n][i], sum.im[n][i] -= x.re[n][i];
}
// sum * factor + shift (shift real).
DEVICE Tile affine(Tile x, float factor, float shift) {
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) x.re[n][i] = x.re[n][i] * factor + shift, x.im[n][i] *= factor;
  return x;
}
DEVICE u32 peak_bits(const Tile& x) {
  u32 peak = 0;
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const u32 re = as_bits(x.re[n][i]) & 0x7fffffffu, im = as_bits(x.im[n][i]) & 0x7fffffffu;
      peak = peak > re ? peak : re;
      peak = peak > im ? peak : im;
    }
  return peak;
}
