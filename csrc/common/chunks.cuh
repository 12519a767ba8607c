// Values of the type that a macro names (0: fp32, 1: bf16, 2: fp16), eight at a time as floats. Used by the kernels
// that are limited by memory: whole chunks of 16 or 32 bytes if rows are aligned, otherwise single values.
#pragma once
#include <common/ptx.cuh>

DEVICE int lane_of_warp() { return thread_index() & 31; }
DEVICE int warp_of_block() { return thread_index() >> 5; }

template <int kType>
DEVICE float2 unpack_pair(u32 x) {
  if constexpr (kType == 1) return {as_float(x << 16), as_float(x & 0xffff0000u)};
  else return unpack_half(x);
}
template <int kType>
DEVICE u32 pack_pair(float low, float high) {
  if constexpr (kType == 1) return pack_bfloat(low, high);
  else return pack_half(low, high);
}

// Eight values as they are stored: 16 bytes, or 32 for fp32.
template <int kType>
struct Packed {
  uint4 words[kType == 0 ? 2 : 1];

  DEVICE void unpack(float (&v)[8]) const {
    if constexpr (kType == 0) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        v[4 * i] = as_float(words[i].x), v[4 * i + 1] = as_float(words[i].y);
        v[4 * i + 2] = as_float(words[i].z), v[4 * i + 3] = as_float(words[i].w);
      }
    } else {
      const u32 pairs[4] = {words[0].x, words[0].y, words[0].z, words[0].w};
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float2 pair = unpack_pair<kType>(pairs[i]);
        v[2 * i] = pair.x, v[2 * i + 1] = pair.y;
      }
    }
  }
  DEVICE void pack(const float (&v)[8]) {
    if constexpr (kType == 0) {
#pragma unroll
      for (int i = 0; i < 2; i++)
        words[i] = {as_bits(v[4 * i]), as_bits(v[4 * i + 1]), as_bits(v[4 * i + 2]), as_bits(v[4 * i + 3])};
    } else {
      words[0] = {pack_pair<kType>(v[0], v[1]), pack_pair<kType>(v[2], v[3]), pack_pair<kType>(v[4], v[5]),
                  pack_pair<kType>(v[6], v[7])};
    }
  }
  DEVICE void clear() {
#pragma unroll
    for (auto& word : words) word = {0, 0, 0, 0};
  }
};

// A row of values in device memory, read and written in chunks of eight.
template <int kType>
struct Row {
  static constexpr int kBytes = kType == 0 ? 4 : 2;
  unsigned char* data;

  DEVICE Row(const void* base, i64 first)
      : data(static_cast<unsigned char*>(const_cast<void*>(base)) + first * kBytes) {}

  DEVICE Packed<kType> load(i64 at) const {
    Packed<kType> chunk;
#pragma unroll
    for (int i = 0; i < kBytes / 2; i++) chunk.words[i] = load_device16<false>(data + at * kBytes + 16 * i);
    return chunk;
  }
  DEVICE void store(i64 at, const float (&v)[8]) const {
    Packed<kType> chunk;
    chunk.pack(v);
#pragma unroll
    for (int i = 0; i < kBytes / 2; i++) store_device16<false>(data + at * kBytes + 16 * i, chunk.words[i]);
  }
  // The first `valid` of eight values, then zeros.
  DEVICE Packed<kType> load_some(i64 at, int valid) const {
    Packed<kType> chunk;
    chunk.clear();
    u32 words[4 * kBytes / 2] = {};
#pragma unroll
    for (int i = 0; i < 8; i++) {
      if (i >= valid) continue;
      if constexpr (kType == 0) words[i] = reinterpret_cast<const u32*>(data)[at + i];
      else words[i / 2] |= static_cast<u32>(reinterpret_cast<const u16*>(data)[at + i]) << (16 * (i & 1));
    }
#pragma unroll
    for (int i = 0; i < kBytes / 2; i++)
      chunk.words[i] = {words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]};
    return chunk;
  }
  DEVICE void store_some(i64 at, const float (&v)[8], int valid) const {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      if (i >= valid) continue;
      if constexpr (kType == 0) reinterpret_cast<float*>(data)[at + i] = v[i];
      else reinterpret_cast<u16*>(data)[at + i] = static_cast<u16>(pack_pair<kType>(v[i], 0.0f));
    }
  }
};

// The sum over groups of kLanes neighbouring lanes, in every one of them.
template <int kLanes>
DEVICE float sum_over_lanes(float x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) x += from_lane_across(x, step);
  return x;
}

// A block's threads on a matrix of `width` columns: a tile of kColumns chunks of eight of them, row by row, as many
// rows at a time as there are threads for. Blocks are numbered along the tiles of a row first.
template <int kColumns_>
struct Tile {
  static constexpr int kThreads = 32 * PLAN_WARPS, kColumns = kColumns_, kRows = kThreads / kColumns;
  static_assert(kThreads % kColumns == 0);
  int width, tiles, chunk, row;

  DEVICE explicit Tile(int width_)
      : width(width_),
        tiles((width_ / 8 + kColumns - 1) / kColumns),
        chunk(block_index() % tiles * kColumns + thread_index() % kColumns),
        row(thread_index() / kColumns) {}
  DEVICE bool exists() const { return 8 * chunk < width; }
  DEVICE int first_row() const { return block_index() / tiles * kRows + row; }
  DEVICE int step() const { return grid_size() / tiles * kRows; }

  // Adds the eight sums of every thread over the rows of the block, through shared memory (32 bytes per thread), and
  // writes them to `to`, a row of `width` values.
  DEVICE void add_rows(const float (&sums)[8], float* to) const {
    const u32 own = shared_base() + 32 * thread_index();
    store_shared16(own, {as_bits(sums[0]), as_bits(sums[1]), as_bits(sums[2]), as_bits(sums[3])});
    store_shared16(own + 16, {as_bits(sums[4]), as_bits(sums[5]), as_bits(sums[6]), as_bits(sums[7])});
    block_barrier();
    for (int i = thread_index(); i < 8 * kColumns; i += kThreads) {
      float total = 0;
      for (int r = 0; r < kRows; r++) total += as_float(load_shared4(shared_base() + 4 * (r * 8 * kColumns + i)));
      const int column = block_index() % tiles * 8 * kColumns + i;
      if (column < width) to[column] = total;
    }
    block_barrier();
  }
};
