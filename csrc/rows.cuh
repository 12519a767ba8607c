// Rows of device memory, as threads own them: warp = outer index a (or packed row and a), lane = chunk of eight lags.
// All masking of ragged rows and of missing batches happens here, and so does the scaling of rows to fp16.
#pragma once
#include <shape.cuh>

struct Rows {  // (B, H, N) of 16-bit values, N contiguous; strides in elements
  u16* data;
  i64 batch_stride, channel_stride;
};

template <class S>
struct Place {  // of this thread in chunk `tile` of a step
  static DEVICE int packed_row() { return warp_index() / S::kRadix; }
  static DEVICE int row(int step, int tile) {
    return (step * S::kGroups + tile / S::kSplit) * S::kPacked + packed_row();
  }
  static DEVICE int local_row(int group) { return group * S::kPacked + packed_row(); }
  static DEVICE int lag(int tile) {
    return 256 * S::kSplit * (warp_index() % S::kRadix) + 256 * (tile % S::kSplit) + 8 * lane_index();
  }
  static DEVICE u32 slot(u32 buffer, int tile) { return S::samples(buffer, tile, warp_index(), lane_index()); }
};

DEVICE float2 unpack(u32 x) {
  if constexpr (IO_BF16) return {as_float(x << 16), as_float(x & 0xffff0000u)};
  else return unpack_half(x);
}
DEVICE u32 pack(float low, float high) {
  if constexpr (IO_BF16) return pack_bfloat(low, high);
  else return pack_half(low, high);
}
DEVICE void unpack_chunk(float (&out)[8], uint4 x) {
  const u32 words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 v = unpack(words[i]);
    out[2 * i] = v.x, out[2 * i + 1] = v.y;
  }
}

// Eight values of a row from `lag` on, zeros beyond `length` (`length` <= 0: a missing row).
DEVICE uint4 fetch(const u16* row, int lag, int length) {
  if constexpr (ALIGNED) {
    return lag < length ? *reinterpret_cast<const uint4*>(row + lag) : uint4{0, 0, 0, 0};
  } else {
    u32 words[4] = {};
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (lag + i < length) words[i / 2] |= static_cast<u32>(row[lag + i]) << (16 * (i & 1));
    return {words[0], words[1], words[2], words[3]};
  }
}
// The same into this thread's own slot of shared memory, to be read after wait_copies.
DEVICE void prefetch(u32 slot, const u16* row, int lag, int length) {
  if constexpr (ALIGNED) {
    const bool valid = lag < length;
    copy_async16(slot, valid ? row + lag : row, valid ? 16 : 0);
  } else {
    store_shared16(slot, fetch(row, lag, length));
  }
}
DEVICE void put(u16* row, int lag, int length, const float (&v)[8]) {
  const u32 words[4] = {pack(v[0], v[1]), pack(v[2], v[3]), pack(v[4], v[5]), pack(v[6], v[7])};
  if constexpr (ALIGNED) {
    if (lag < length) *reinterpret_cast<uint4*>(row + lag) = uint4{words[0], words[1], words[2], words[3]};
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (lag + i < length) row[lag + i] = static_cast<u16>(words[i / 2] >> (16 * (i & 1)));
  }
}

struct Batch {  // what one step of one channel reads and writes
  int step, channel, batches, length;
};
template <class S>
DEVICE int valid_length(const Batch& at, int tile) {
  return Place<S>::row(at.step, tile) < at.batches ? at.length : 0;
}
template <class S>
DEVICE u16* row_of(const Rows& rows, const Batch& at, int tile) {
  const int row = Place<S>::row(at.step, tile);
  return rows.data + (row < at.batches ? row : 0) * rows.batch_stride + at.channel * rows.channel_stride;
}
template <class S>
DEVICE uint4 fetch_chunk(const Rows& rows, const Batch& at, int tile) {
  return fetch(row_of<S>(rows, at, tile), Place<S>::lag(tile), valid_length<S>(at, tile));
}
template <class S>
DEVICE void prefetch_chunk(u32 buffer, const Rows& rows, const Batch& at, int tile) {
  prefetch(Place<S>::slot(buffer, tile), row_of<S>(rows, at, tile), Place<S>::lag(tile), valid_length<S>(at, tile));
}
template <class S>
DEVICE void put_chunk(const Rows& rows, const Batch& at, int tile, const float (&v)[8]) {
  put(row_of<S>(rows, at, tile), Place<S>::lag(tile), valid_length<S>(at, tile), v);
}

// A thread's own eight fp32 values of a tile, in the exchange buffer: what outer_back leaves, what peak search keeps.
template <class S>
DEVICE void load_own(float (&v)[8], int tile) {
#pragma unroll
  for (int comp = 0; comp < 2; comp++) {
    const uint4 x = load_shared16(S::exchange(tile, warp_index(), lane_index(), comp));
    v[4 * comp] = as_float(x.x), v[4 * comp + 1] = as_float(x.y);
    v[4 * comp + 2] = as_float(x.z), v[4 * comp + 3] = as_float(x.w);
  }
}
template <class S>
DEVICE void store_own(const float (&v)[8], int tile) {
#pragma unroll
  for (int comp = 0; comp < 2; comp++)
    store_shared16(
        S::exchange(tile, warp_index(), lane_index(), comp),
        uint4{as_bits(v[4 * comp]), as_bits(v[4 * comp + 1]), as_bits(v[4 * comp + 2]), as_bits(v[4 * comp + 3])});
}

// Powers of two that bring a peak to [2^kTop, 2^(kTop+1)) and back. An all-zero or non-finite row keeps its size.
struct Scale {
  float in, out;
};
template <int kTop>
DEVICE Scale scale_of(u32 peak) {
  int exponent = static_cast<int>(peak >> 23);
  if (peak == 0 || exponent == 255) exponent = 127 + kTop;
  exponent = exponent < 16 ? 16 : exponent;
  return {as_float(static_cast<u32>(254 + kTop - exponent) << 23), as_float(static_cast<u32>(exponent - kTop) << 23)};
}
constexpr int kRowTop = 3, kFilterTop = 2;  // a constant row of 32,768 samples still stays under 65,504 everywhere

// The peak of every row in flight, two sets in turns.
struct Peaks {
  int turn = 0;
  DEVICE u32 at(int row) const { return shared_base() + turn * 256 + row * 4; }
  DEVICE void clear_other() const {
    if (thread_index() < 64) store_shared4(shared_base() + (turn ^ 1) * 256 + thread_index() * 4, 0);
  }
  DEVICE void note(int row, u32 bits) const {
    const u32 most = max_over_warp(bits);
    if (lane_index() == 0) max_shared(at(row), most);
  }
};
DEVICE u32 magnitude_bits(float x) { return as_bits(x) & 0x7fffffffu; }

// source(tile, v) gives this thread's values -> scaled fp16 samples, in the column order that outer_in wants.
// `back[group]` undoes the scaling. Ends with a barrier.
template <class S, class Source>
DEVICE void load_samples(Source source, Peaks& peaks, float (&back)[S::kGroups]) {
  constexpr bool kInRegisters = S::kTiles <= 4;
  float kept[kInRegisters ? S::kTiles : 1][8];
#pragma unroll
  for (int group = 0; group < S::kGroups; group++) {
    u32 peak = 0;
#pragma unroll
    for (int b = 0; b < S::kSplit; b++) {
      const int tile = group * S::kSplit + b;
      float(&v)[8] = kept[kInRegisters ? tile : 0];
      source(tile, v);
#pragma unroll
      for (int i = 0; i < 8; i++) peak = peak > magnitude_bits(v[i]) ? peak : magnitude_bits(v[i]);
      if constexpr (!kInRegisters) store_own<S>(v, tile);
    }
    peaks.note(Place<S>::local_row(group), peak);
  }
  block_barrier();
  peaks.clear_other();
#pragma unroll
  for (int group = 0; group < S::kGroups; group++) {
    const Scale scale = scale_of<kRowTop>(load_shared4(peaks.at(Place<S>::local_row(group))));
    back[group] = scale.out;
    u32 words[S::kSplit][4];
    if constexpr (S::kSplit == 8) {
#pragma unroll
      for (int q = 0; q < 4; q++) {
        float low[8], high[8];
        load_own<S>(low, 2 * q);
        load_own<S>(high, 2 * q + 1);
#pragma unroll
        for (int i = 0; i < 8; i++) words[i][q] = pack_half(low[i] * scale.in, high[i] * scale.in);
      }
    } else {
#pragma unroll
      for (int b = 0; b < S::kSplit; b++)
#pragma unroll
        for (int p = 0; p < 4; p++) {
          const float(&v)[8] = kept[group * S::kSplit + b];
          words[p % S::kSplit][b * (4 / S::kSplit) + p / S::kSplit] =
              pack_half(v[2 * p] * scale.in, v[2 * p + 1] * scale.in);
        }
    }
#pragma unroll
    for (int i = 0; i < S::kSplit; i++)
      store_shared16(Place<S>::slot(S::kSamples, group * S::kSplit + i),
                     uint4{words[i][0], words[i][1], words[i][2], words[i][3]});
  }
  peaks.turn ^= 1;
  block_barrier();
}

// Copies the outer tables to shared memory and clears both sets of peaks. Ends with a barrier.
template <class S>
DEVICE void set_up(const uint4* tables) {
  for (int i = thread_index(); i < static_cast<int>(S::kTableBytes / 16); i += kThreads)
    store_shared16(shared_base() + S::kTables + 16 * i, tables[S::kOuter + i]);
  if (thread_index() < 128) store_shared4(shared_base() + 4 * thread_index(), 0);
  block_barrier();
}
