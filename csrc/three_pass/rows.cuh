// Rows of device memory as warps own them in the column passes: neighbouring columns of every line. All masking of
// ragged rows happens here.
#pragma once
#include <common/values.cuh>
#include <three_pass/between.cuh>
#include <three_pass/shape.cuh>

constexpr int kValueBytes = IO_SINGLE ? 4 : 2;

// Which row of a tensor: rows are numbered by channel, then by batch.
struct RowAt {
  int batch, channel;
};
DEVICE RowAt row_at(int row, int batches) { return {row % batches, row / batches}; }

struct Rows {  // (B, H, N) of 16-bit or fp32 values, N contiguous; strides in elements
  void* data;
  i64 batch_stride, channel_stride;
  DEVICE unsigned char* at(const RowAt& row) const {
    return static_cast<unsigned char*>(data) + (row.batch * batch_stride + row.channel * channel_stride) * kValueBytes;
  }
};

// How many of eight neighbouring columns a row has in line j: all in the lines before `whole`, `part` in that one.
struct Extent {
  int whole, part;
  DEVICE Extent(i64 length, int column) {
    const i64 left = length - column;
    whole = left < 8 ? 0 : static_cast<int>((left - 8) / Columns::kPoints) + 1;
    const i64 rest = left - static_cast<i64>(whole) * Columns::kPoints;
    part = rest < 0 ? 0 : rest < 8 ? static_cast<int>(rest) : 8;
  }
  DEVICE int of(int j) const { return j < whole ? 8 : !ALIGNED && j == whole ? part : 0; }
};

// Eight neighbouring values as they are in memory, zeros from `valid` on.
struct Chunk {
  static constexpr int kWords = 2 * kValueBytes, kParts = kWords / 4;  // parts of 16 bytes
  u32 word[kWords];

  DEVICE void set(int part, const uint4& x) {
    word[4 * part] = x.x, word[4 * part + 1] = x.y, word[4 * part + 2] = x.z, word[4 * part + 3] = x.w;
  }

  DEVICE void load(const unsigned char* from, int valid) {
#pragma unroll
    for (int i = 0; i < kWords; i++) word[i] = 0;
    if constexpr (ALIGNED) {
      if (valid == 0) return;
#pragma unroll
      for (int part = 0; part < kParts; part++) set(part, load_device16<true>(from + 16 * part));
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        if (i >= valid) continue;
        if constexpr (IO_SINGLE) word[i] = reinterpret_cast<const u32*>(from)[i];
        else word[i / 2] |= static_cast<u32>(reinterpret_cast<const u16*>(from)[i]) << (16 * (i & 1));
      }
    }
  }
  DEVICE void unpack_to(float (&v)[8]) const {
    if constexpr (IO_SINGLE) {
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] = as_float(word[i]);
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float2 pair = unpack(word[i]);
        v[2 * i] = pair.x, v[2 * i + 1] = pair.y;
      }
    }
  }
};

// Eight values times a power of two to their places, the first `valid` of them.
DEVICE void store_eight(const float (&v)[8], float factor, unsigned char* to, int valid) {
  u32 word[2 * kValueBytes];
  if constexpr (IO_SINGLE) {
#pragma unroll
    for (int i = 0; i < 8; i++) word[i] = as_bits(v[i] * factor);
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) word[i] = pack_scaled(v[2 * i], v[2 * i + 1], factor);
  }
  if constexpr (ALIGNED) {
    if (valid == 0) return;
#pragma unroll
    for (int i = 0; i < 2 * kValueBytes; i += 4)
      store_device16<true>(to + 4 * i, uint4{word[i], word[i + 1], word[i + 2], word[i + 3]});
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      if (i >= valid) continue;
      if constexpr (IO_SINGLE) reinterpret_cast<u32*>(to)[i] = word[i];
      else reinterpret_cast<u16*>(to)[i] = static_cast<u16>(word[i / 2] >> (16 * (i & 1)));
    }
  }
}
