// The outer index (a, b): one or two products per column block, between the buffer of real samples and the exchange
// buffer on the way in, and in place on the way back. Work is dealt to warps by lags, so warps never share a write.
#pragma once
#include <inner.cuh>

template <class S>
DEVICE uint4 outer_table(u32 offset) {
  return load_shared16(shared_base() + S::kTables + offset + lane_index() * 16);
}
// Accumulators of one 16 x 8 product: rows g and g + 8, columns 2 t and 2 t
// + 1.
struct Strip {
  float x[4];
};
struct HalfStrip {
  u32 x[2];
};
template <bool kHalf>
struct StripOf {
  using Type = Strip;
};
template <>
struct StripOf<true> {
  using Type = HalfStrip;
};
using WorkStrip = StripOf<HALF_SUMS>::Type;
DEVICE HalfStrip to_half(const HalfStrip& s) { return s; }
DEVICE HalfStrip to_half(const Strip& s) { return {{pack_half(s.x[0], s.x[1]), pack_half(s.x[2], s.x[3])}}; }
DEVICE void convert(HalfStrip& out, const HalfStrip& s) { out = s; }
DEVICE void convert(HalfStrip& out, const Strip& s) { out = to_half(s); }
DEVICE void convert(Strip& out, const Strip& s) { out = s; }
DEVICE void convert(Strip& out, const HalfStrip& s) {
  const float2 low = unpack_half(s.x[0]), high = unpack_half(s.x[1]);
  out = {{low.x, low.y, high.x, high.y}};
}
template <class S>
DEVICE void twiddle(S& re, S& im, const S& wre, const S& wim) {
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(S) / 4); i++) rotate(re.x[i], im.x[i], wre.x[i], wim.x[i]);
}

template <class S>
DEVICE WorkStrip twist_table(u32 offset) {
  const uint4 w = outer_table<S>(offset);
  WorkStrip out;
  convert(out, Strip{{as_float(w.x), as_float(w.y), as_float(w.z), as_float(w.w)}});
  return out;
}

// samples -> exchange, R only: rows shorter than or equal to one tile. Everything is read before anything is written,
// so that reads do not wait for one another.
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

// samples -> exchange, R = 16 and S > 1. A tile of eight columns holds S values of b and 8 / S lags; after S of them
// a lane has every lag of its chunk.
template <class S>
DEVICE void outer_in_long() {
  const int lane = lane_index(), g = lane >> 2, t = lane & 3, matrix = lane >> 3;
  const uint4 re = outer_table<S>(S::kStageIn), im = outer_table<S>(S::kStageIn + 512);
  const uint4 branch = outer_table<S>(S::kBranchIn);
  const WorkStrip twist_re = twist_table<S>(S::kTwistIn), twist_im = twist_table<S>(S::kTwistIn + 512);
  constexpr int kKept = S::kSplit == 8 ? 2 : 1;
  // Where a warp's first chunk comes from and goes to; the others are whole steps away.
  const u32 from = S::samples(S::kSamples, matrix >> 1, (lane & 7) + 8 * (matrix & 1), warp_index());
  u32 to[kKept];
#pragma unroll
  for (int e = 0; e < kKept; e++)
    to[e] = S::exchange(S::kSplit == 8 ? 2 * t + e : t / (4 / S::kSplit), g, warp_index(), 0);
  const u32 lag_twist = shared_base() + S::kTables + S::kLagIn + (warp_index() * S::kSplit * 4 + t) * 8;
#pragma unroll(S::kSplit == 2 ? 2 : 1)
  for (int turn = 0; turn < 32 * S::kGroups / S::kWarps; turn++) {
    const int group = turn * S::kWarps / 32, chunks = turn * S::kWarps % 32;  // chunks past the warp's first
    u32 x[S::kSplit / 2][4];
#pragma unroll
    for (int pair = 0; pair < S::kSplit / 2; pair++)
      load_matrices_transposed(x[pair], from + (group * S::kSplit + 2 * pair) * 8192 + chunks * 16);
    u32 words[2][kKept][2][4];  // [r][e][comp][word]
#pragma unroll
    for (int pair = 0; pair < S::kSplit / 2; pair++) {
      HalfStrip out[2][2];  // [v][comp]
#pragma unroll
      for (int v = 0; v < 2; v++) {
        WorkStrip zr = {}, zi = {}, yr = {}, yi = {}, wr, wi;
        multiply_add(zr.x, re.x, re.y, re.z, re.w, x[pair][2 * v], x[pair][2 * v + 1]);
        multiply_add(zi.x, im.x, im.y, im.z, im.w, x[pair][2 * v], x[pair][2 * v + 1]);
        twiddle(zr, zi, twist_re, twist_im);
        const HalfStrip hr = to_half(zr), hi = to_half(zi);
        multiply_add(yr.x, hr.x[0], hr.x[1], hi.x[0], hi.x[1], branch.x, branch.y);
        multiply_add(yi.x, hr.x[0], hr.x[1], hi.x[0], hi.x[1], branch.z, branch.w);
        const uint2 w = load_shared8(lag_twist + (chunks * S::kSplit + 2 * pair + v) * 32);
        convert(wr, HalfStrip{{w.x, w.x}});
        convert(wi, HalfStrip{{w.y, w.y}});
        twiddle(yr, yi, wr, wi);
        out[v][0] = to_half(yr), out[v][1] = to_half(yi);
      }
#pragma unroll
      for (int r = 0; r < 2; r++)
#pragma unroll
        for (int comp = 0; comp < 2; comp++) {
          const u32 first = out[0][comp].x[r], second = out[1][comp].x[r];
          if constexpr (S::kSplit == 8) {
            words[r][0][comp][pair] = permute_bytes(first, second, 0x5410);
            words[r][1][comp][pair] = permute_bytes(first, second, 0x7632);
          } else {
            words[r][0][comp][2 * pair] = first;
            words[r][0][comp][2 * pair + 1] = second;
          }
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
      for (int e = 0; e < kKept; e++)
#pragma unroll
        for (int comp = 0; comp < 2; comp++) {
          // Eight chunks on, c is four on: its place turns.
          const u32 real = (to[e] ^ (chunks & 8) * 8) + (chunks >> 4) * 128 + group * S::kSplit * 16384 + r * 8192;
          const u32 at = comp ? S::imaginary(real) : real;
          const u32(&w)[4] = words[r][e][comp];
          if constexpr (S::kSplit == 2) {
            store_shared8(at + 8 * (t & 1), w[0], w[1]);
          } else {
            store_shared16(at, uint4{w[0], w[1], w[2], w[3]});
          }
        }
  }
}

// exchange -> exchange: y of outer index a as fp32, eight lags in the place of their real and imaginary chunks.
template <class S>
DEVICE void outer_back_short() {
  const int lane = lane_index(), g = lane >> 2, t = lane & 3, matrix = lane >> 3;
  const uint4 re = outer_table<S>(S::kStageBack), im = outer_table<S>(S::kStageBack + 512);
  constexpr int kAtOnce = S::kItems < 2 ? 1 : 2;
#pragma unroll
  for (int start = 0; start < S::kItems; start += kAtOnce) {
    u32 zr[kAtOnce][4], zi[kAtOnce][4];
#pragma unroll
    for (int i = 0; i < kAtOnce; i++) {
      const u32 from = S::exchange(tile_of<S>(start + i), (lane & 7) + 8 * (matrix & 1),
                                   2 * slot_of<S>(start + i) + (matrix >> 1), 0);
      load_matrices_transposed(zr[i], from);
      load_matrices_transposed(zi[i], S::imaginary(from));
    }
    warp_barrier();  // every lane has read these columns
#pragma unroll
    for (int i = 0; i < kAtOnce; i++)
#pragma unroll
      for (int v = 0; v < 2; v++) {
        float y[4] = {};
        multiply_add(y, re.x, re.y, re.z, re.w, zr[i][2 * v], zr[i][2 * v + 1]);
        multiply_add(y, im.x, im.y, im.z, im.w, zi[i][2 * v], zi[i][2 * v + 1]);
        const u32 to = S::exchange(tile_of<S>(start + i), g, 2 * slot_of<S>(start + i) + v, t >> 1) + 8 * (t & 1);
        store_shared8(to, as_bits(y[0]), as_bits(y[1]));
        store_shared8(to + 8 * 1024, as_bits(y[2]), as_bits(y[3]));
      }
  }
}

template <class S>
DEVICE void outer_back_long() {
  const int lane = lane_index(), g = lane >> 2, t = lane & 3;
  const uint4 re = outer_table<S>(S::kStageBack), im = outer_table<S>(S::kStageBack + 512);
  const uint4 branch = outer_table<S>(S::kBranchBack);
  const WorkStrip twist_re = twist_table<S>(S::kTwistBack), twist_im = twist_table<S>(S::kTwistBack + 512);
  constexpr int kHalf = S::kSplit / 2;
#pragma unroll 1
  for (int item = warp_index(); item < 4 * S::kTiles; item += S::kWarps) {
    const int group = item / (4 * S::kSplit), set = item % (4 * S::kSplit);
    const int base = (set & 3) + (set >> 2) * 4 * S::kColumns;
    u32 z[2][2][2][4];  // [half of a'][b' of a pair][comp][word]
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int e = 0; e < 2; e++)
#pragma unroll
        for (int comp = 0; comp < 2; comp++) {
          const int tile = group * S::kSplit + 2 * (t % kHalf) + e;
          const uint4 x = load_shared16(S::exchange(tile, g + 8 * h, base + 4 * (t / kHalf), comp));
          u32(&out)[4] = z[h][e][comp];
          out[0] = x.x, out[1] = x.y, out[2] = x.z, out[3] = x.w;
        }
    float y[2][2][8];  // [n][e] is a = 8 n + 2 t + e, then the lag
#pragma unroll
    for (int word = 0; word < 4; word++) {
      u32 zr[2][2], zi[2][2];  // [lag of the word][half of a']
#pragma unroll
      for (int lag = 0; lag < 2; lag++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const u32 pick = lag ? 0x7632 : 0x5410;
          WorkStrip c = {};  // row g real, row g + 8 imaginary
          multiply_add(c.x, branch.x, branch.y, branch.z, branch.w,
                       permute_bytes(z[h][0][0][word], z[h][1][0][word], pick),
                       permute_bytes(z[h][0][1][word], z[h][1][1][word], pick));
          constexpr int kRow = sizeof(WorkStrip) / 8;
#pragma unroll
          for (int i = 0; i < kRow; i++)
            rotate(c.x[i], c.x[kRow + i], twist_re.x[kRow * h + i], twist_im.x[kRow * h + i]);
          const HalfStrip half = to_half(c);
          zr[lag][h] = half.x[0], zi[lag][h] = half.x[1];
        }
#pragma unroll
      for (int n = 0; n < 2; n++) {
        float c[4] = {};
        multiply_add(c, zr[0][0], zr[1][0], zr[0][1], zr[1][1], n ? re.y : re.x, n ? re.w : re.z);
        multiply_add(c, zi[0][0], zi[1][0], zi[0][1], zi[1][1], n ? im.y : im.x, n ? im.w : im.z);
#pragma unroll
        for (int lag = 0; lag < 2; lag++)
#pragma unroll
          for (int e = 0; e < 2; e++) y[n][e][2 * word + lag] = c[2 * lag + e];
      }
    }
    warp_barrier();
    const int tile = group * S::kSplit + g % S::kSplit, chunk = base + 4 * (g / S::kSplit);
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
      for (int e = 0; e < 2; e++)
#pragma unroll
        for (int comp = 0; comp < 2; comp++) {
          const float* v = &y[n][e][4 * comp];
          store_shared16(S::exchange(tile, 8 * n + 2 * t + e, chunk, comp),
                         uint4{as_bits(v[0]), as_bits(v[1]), as_bits(v[2]), as_bits(v[3])});
        }
  }
}

template <class S>
DEVICE void outer_in() {
  if constexpr (S::kSplit == 1) outer_in_short<S>();
  else outer_in_long<S>();
}
template <class S>
DEVICE void outer_back() {
  if constexpr (S::kSplit == 1) outer_back_short<S>();
  else outer_back_long<S>();
}
