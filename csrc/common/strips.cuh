// Accumulators of 16 x 8 products, and butterflies of 2 and 4 points on them.
#pragma once
#include <common/tiles.cuh>

// Accumulators of one 16 x 8 product: rows g and g + 8, columns 2 t and 2 t + 1.
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

DEVICE float plus(float a, float b) { return a + b; }
DEVICE float minus(float a, float b) { return a - b; }
DEVICE u32 plus(u32 a, u32 b) { return add_half(a, b); }
DEVICE u32 minus(u32 a, u32 b) { return add_half(a, negate_half(b)); }
// The S-point transform of places [b] of complex strips, unscaled; S = 1, 2 or 4.
template <class Word, int kSplit>
DEVICE void butterfly(Word (&re)[kSplit], Word (&im)[kSplit]) {
  const auto cross = [](Word& a, Word& b) {
    const Word sum = plus(a, b);
    b = minus(a, b);
    a = sum;
  };
  if constexpr (kSplit == 2) {
    cross(re[0], re[1]), cross(im[0], im[1]);
  } else if constexpr (kSplit == 4) {
    cross(re[0], re[2]), cross(im[0], im[2]), cross(re[1], re[3]), cross(im[1], im[3]);
    cross(re[0], re[1]), cross(im[0], im[1]);
    // Now [2] is x0 - x2 and [3] is x1 - x3, [1] the frequency 2; frequencies 1 and 3 are [2] -+ i [3].
    const Word re1 = plus(re[2], im[3]), im1 = minus(im[2], re[3]);
    const Word re3 = minus(re[2], im[3]), im3 = plus(im[2], re[3]);
    re[2] = re[1], im[2] = im[1];
    re[1] = re1, im[1] = im1, re[3] = re3, im[3] = im3;
  }
}
template <int kSplit, class Strips>
DEVICE void butterfly_strips(Strips (&re)[kSplit], Strips (&im)[kSplit]) {
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(Strips) / 4); i++) {
    decltype(re[0].x[0] + re[0].x[0]) r[kSplit], m[kSplit];
#pragma unroll
    for (int b = 0; b < kSplit; b++) r[b] = re[b].x[i], m[b] = im[b].x[i];
    butterfly(r, m);
#pragma unroll
    for (int b = 0; b < kSplit; b++) re[b].x[i] = r[b], im[b].x[i] = m[b];
  }
}
// Times w of rows g and g + 8: real parts, then imaginary parts, in the order of the sums.
DEVICE void twiddle_rows(HalfStrip& re, HalfStrip& im, const uint4& w) {
  twiddle(re, im, HalfStrip{{w.x, w.y}}, HalfStrip{{w.z, w.w}});
}
DEVICE void twiddle_rows(Strip& re, Strip& im, const uint4& w) {
  const float r0 = as_float(w.x), r1 = as_float(w.y), i0 = as_float(w.z), i1 = as_float(w.w);
  twiddle(re, im, Strip{{r0, r0, r1, r1}}, Strip{{i0, i0, i1, i1}});
}
