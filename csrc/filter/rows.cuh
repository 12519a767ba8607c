// Rows of `count` fp32 values in device memory. ALIGNED: all start on 16 bytes.
#pragma once
#include <common/chunks.cuh>

// Four values of a row of `count` from `at` on; zeros behind its end.
template <bool kStream = false>
DEVICE void load_four(float (&x)[4], const float* row, int at, int count) {
  if constexpr (ALIGNED) {
    const uint4 v = at < count ? load_device16<kStream>(row + at) : uint4{};
    x[0] = as_float(v.x), x[1] = as_float(v.y), x[2] = as_float(v.z), x[3] = as_float(v.w);
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = at + i < count ? row[at + i] : 0.0f;
  }
}
// The same for two values.
DEVICE void store_two(float* row, int at, int count, float x, float y) {
  if constexpr (ALIGNED) {
    if (at < count) store_device8<false>(row + at, {as_bits(x), as_bits(y)});
  } else {
    if (at < count) row[at] = x;
    if (at + 1 < count) row[at + 1] = y;
  }
}
