// Matrices in shared memory for products on the tensor cores that keep most of fp32's precision: every value is the sum
// of two 16-bit values, high and low, and the three largest of their four products are summed. kType 1, bf16, has the
// range of fp32 and loses 2^-16 of a product; 2, fp16, loses 2^-21, of values that a scale has brought into its range.
//
// Fragments are named after mma.m16n8k16. Rows are stored in chunks of 16 bytes, placed so that the eight rows that a
// multiprocessor reads at once come from different banks.
#pragma once
#include <common/chunks.cuh>

// Powers of two that bring a warp's values to at most 2^15, and back. peak: the largest magnitude of a lane's.
struct Scale {
  float in;

  Scale() = default;
  DEVICE explicit Scale(float peak) {
    constexpr u32 kOne = 1u << 23, kLeast = 40 * kOne;  // so that factors remain finite
    const u32 most = max_over_warp(as_bits(peak)) & 255 * kOne, exponent = most < kLeast ? kLeast : most;
    in = as_float((254 + 14) * kOne - exponent);
  }
  DEVICE float out() const { return as_float((254u << 23) - as_bits(in)); }
};

// Four neighbouring values, two to a word.
template <int kType = 1>
struct Halves {
  uint2 high, low;

  DEVICE explicit Halves(const float (&x)[4]) {
    high = {pack_pair<kType>(x[0], x[1]), pack_pair<kType>(x[2], x[3])};
    low = {rest(x[0], x[1], high.x), rest(x[2], x[3], high.y)};
  }
  static DEVICE u32 rest(float a, float b, u32 high) {
    const float2 taken = unpack_pair<kType>(high);
    return pack_pair<kType>(a - taken.x, b - taken.y);
  }
};

struct Fragment {
  u32 high[4], low[4];

  template <int kType = 1>
  DEVICE void set(int word, float a, float b) {
    high[word] = pack_pair<kType>(a, b);
    low[word] = Halves<kType>::rest(a, b, high[word]);
  }
};
// Sums of 16 x 16 as a left operand: every value stays in its lane. factors: of rows 0 to 7, and 8 to 15.
template <int kType>
DEVICE Fragment split(const float (&sums)[2][4], float first, float second) {
  Fragment out;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float *x = &sums[i >> 1][2 * (i & 1)], factor = i & 1 ? second : first;
    out.set<kType>(i, x[0] * factor, x[1] * factor);
  }
  return out;
}

template <int kRows_, int kColumns>
struct Matrix {
  static constexpr int kRows = kRows_, kChunks = kColumns / 8;
  static constexpr bool kSwizzled = (kChunks & (kChunks - 1)) == 0;
  static constexpr int kStride = kSwizzled ? kChunks : kChunks | 1;  // an odd stride needs no swizzle
  static constexpr int kShare = kChunks < 8 ? 8 / kChunks : 1;       // rows in 128 bytes
  static constexpr u32 kHalf = 16 * kRows * kStride, kBytes = 2 * kHalf;
  static_assert(kColumns % 16 == 0 && kRows % 16 == 0);

  u32 base;
  DEVICE explicit Matrix(u32 at) : base(shared_base() + at) {}

  DEVICE u32 address(int row, int chunk) const {
    if constexpr (kSwizzled) chunk ^= row / kShare & ((kChunks < 8 ? kChunks : 8) - 1);
    return base + 16 * (row * kStride + chunk);
  }
  // Four values from column 4 `quarter` on.
  DEVICE void store(int row, int quarter, const float (&x)[4]) const {
    const Halves<> v(x);
    const u32 at = address(row, quarter / 2) + 8 * (quarter & 1);
    store_shared8(at, v.high.x, v.high.y);
    store_shared8(at + kHalf, v.low.x, v.low.y);
  }

  // What `left` gives back.
  DEVICE void store(int row, int column, const Fragment& x) const {
    const u32 at = address(row + second(), column / 8 + fourth());
    store_matrices(at, x.high[0], x.high[1], x.high[2], x.high[3]);
    store_matrices(at + kHalf, x.low[0], x.low[1], x.low[2], x.low[3]);
  }

  // 16 x 16 values from (row, column) on. As left operand, rows are its rows or, transposed, what is summed over; as a
  // pair of right operands, rows are what is summed over or, transposed, its columns.
  DEVICE Fragment left(int row, int column) const { return load<false>(row + second(), column + 8 * fourth()); }
  DEVICE Fragment left_transposed(int row, int column) const {
    return load<true>(row + 8 * fourth() + lane(), column + 8 * half());
  }
  DEVICE Fragment right(int row, int column) const { return load<true>(row + second(), column + 8 * fourth()); }
  DEVICE Fragment right_transposed(int row, int column) const {
    return load<false>(row + 8 * fourth() + lane(), column + 8 * half());
  }

 private:
  static DEVICE int lane() { return thread_index() & 7; }
  static DEVICE int half() { return thread_index() >> 3 & 1; }
  static DEVICE int fourth() { return thread_index() >> 4 & 1; }
  static DEVICE int second() { return thread_index() & 15; }

  template <bool kTransposed>
  DEVICE Fragment load(int row, int column) const {
    Fragment out;
    const u32 at = address(row, column / 8);
    if constexpr (kTransposed) load_matrices_transposed(out.high, at), load_matrices_transposed(out.low, at + kHalf);
    else load_matrices(out.high, at), load_matrices(out.low, at + kHalf);
    return out;
  }
};

template <int kType>
DEVICE void multiply_add_pair(float (&sums)[4], const u32 (&left)[4], uint2 right) {
  if constexpr (kType == 1) multiply_add_bfloat(sums, left, right.x, right.y);
  else multiply_add(sums, left[0], left[1], left[2], left[3], right.x, right.y);
}
// sums += left right, 16 x 8.
template <int kType>
DEVICE void add_product(float (&sums)[4], const Fragment& left, uint2 high, uint2 low) {
  multiply_add_pair<kType>(sums, left.low, high);
  multiply_add_pair<kType>(sums, left.high, low);
  multiply_add_pair<kType>(sums, left.high, high);
}
// The same of 16 x 16: columns 0 to 7, then 8 to 15.
template <int kType = 1>
DEVICE void add_product(float (&sums)[2][4], const Fragment& left, const Fragment& right) {
#pragma unroll
  for (int n = 0; n < 2; n++)
    add_product<kType>(sums[n], left, {right.high[2 * n], right.high[2 * n + 1]},
                       {right.low[2 * n], right.low[2 * n + 1]});
}
