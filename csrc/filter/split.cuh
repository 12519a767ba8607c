// Matrices in shared memory for products on the tensor cores that keep fp32's precision: every value is the sum of two
// bf16 values, high and low, and the three largest of their four products are summed (2^-16 of a product is lost).
//
// Fragments are named after mma.m16n8k16. Rows are stored in chunks of 16 bytes, placed so that the eight rows that a
// multiprocessor reads at once come from different banks.
#pragma once
#include <common/chunks.cuh>

struct Fragment {
  u32 high[4], low[4];
};

// Four neighbouring values, two to a word.
struct Halves {
  uint2 high, low;

  DEVICE explicit Halves(const float (&x)[4]) {
    high = {pack_bfloat(x[0], x[1]), pack_bfloat(x[2], x[3])};
    low = {rest(x[0], x[1], high.x), rest(x[2], x[3], high.y)};
  }
  static DEVICE u32 rest(float a, float b, u32 high) {
    const float2 taken = unpack_pair<1>(high);
    return pack_bfloat(a - taken.x, b - taken.y);
  }
};

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
    const Halves v(x);
    const u32 at = address(row, quarter / 2) + 8 * (quarter & 1);
    store_shared8(at, v.high.x, v.high.y);
    store_shared8(at + kHalf, v.low.x, v.low.y);
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

// sums += left right, 16 x 16: columns 0 to 7, then 8 to 15.
DEVICE void add_product(float (&sums)[2][4], const Fragment& left, const Fragment& right) {
#pragma unroll
  for (int n = 0; n < 2; n++) {
    multiply_add_bfloat(sums[n], left.low, right.high[2 * n], right.high[2 * n + 1]);
    multiply_add_bfloat(sums[n], left.high, right.low[2 * n], right.low[2 * n + 1]);
    multiply_add_bfloat(sums[n], left.high, right.high[2 * n], right.high[2 * n + 1]);
  }
}
