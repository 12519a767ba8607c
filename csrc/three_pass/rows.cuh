// Rows of device memory as warps own them in the column passes: 32 columns of every line, four neighbours per lane.
// All masking of ragged rows happens here.
#pragma once
#include <common/values.cuh>
#include <three_pass/between.cuh>

struct Rows {  // (B, H, N) of 16-bit or fp32 values, N contiguous; strides in elements
  void* data;
  i64 batch_stride, channel_stride;
};

// Which row of a tensor: rows are numbered by channel, then by batch.
struct RowAt {
  int batch, channel;
  DEVICE i64 offset(const Rows& rows) const { return batch * rows.batch_stride + channel * rows.channel_stride; }
};
DEVICE RowAt row_at(i64 row, int batches) { return {static_cast<int>(row % batches), static_cast<int>(row / batches)}; }

// Four values from `position` on, as they are in memory; zeros from `length` on.
struct Four {
  u32 word[IO_SINGLE ? 4 : 2];
  DEVICE void unpack_to(float (&v)[4]) const {
    if constexpr (IO_SINGLE) {
#pragma unroll
      for (int i = 0; i < 4; i++) v[i] = as_float(word[i]);
    } else {
      const float2 low = unpack(word[0]), high = unpack(word[1]);
      v[0] = low.x, v[1] = low.y, v[2] = high.x, v[3] = high.y;
    }
  }
};
DEVICE Four load_four(const void* row, i64 position, i64 length) {
  const int valid = position >= length ? 0 : position + 4 <= length ? 4 : static_cast<int>(length - position);
  Four out = {};
  if constexpr (IO_SINGLE) {
    const u32* from = reinterpret_cast<const u32*>(row) + position;
#pragma unroll
    for (int i = 0; i < 4; i++) out.word[i] = i < valid ? from[i] : 0;
  } else if constexpr (ALIGNED) {
    if (valid > 0) {
      const uint2 words = load_device8<true>(reinterpret_cast<const u16*>(row) + position);
      out.word[0] = words.x, out.word[1] = words.y;
    }
  } else {
    const u16* from = reinterpret_cast<const u16*>(row) + position;
#pragma unroll
    for (int i = 0; i < 4; i++) out.word[i / 2] |= (i < valid ? static_cast<u32>(from[i]) : 0u) << (16 * (i & 1));
  }
  return out;
}

// Four values times a power of two to their places, those before `length`.
DEVICE void store_four(const float (&v)[4], float factor, void* row, i64 position, i64 length) {
  const int valid = position >= length ? 0 : position + 4 <= length ? 4 : static_cast<int>(length - position);
  if constexpr (IO_SINGLE) {
    float* to = reinterpret_cast<float*>(row) + position;
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (i < valid) to[i] = v[i] * factor;
  } else {
    u16* to = reinterpret_cast<u16*>(row) + position;
    const uint2 words = {pack_scaled(v[0], v[1], factor), pack_scaled(v[2], v[3], factor)};
    if constexpr (ALIGNED) {
      if (valid > 0) store_device8<true>(to, words);
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (i < valid) to[i] = static_cast<u16>((i < 2 ? words.x : words.y) >> (16 * (i & 1)));
    }
  }
}
