// Rows of device memory, as threads own them: warp = outer index a (or packed row and a), lane = chunk of eight lags.
// All masking of ragged rows and of missing batches happens here, and so does the scaling of rows to fp16.
#pragma once
#include <shape.cuh>

struct Rows {  // (B, H, N) of 16-bit values, N contiguous; strides in elements
  u16* data;
  i64 batch_stride, channel_stride;
};

template <class S>
struct Place {  // of this thread
  static DEVICE int packed_row() { return warp_index() / S::kRadix; }
  // Row among those of a step, and lag, of the eight values in chunk `tile`.
  static DEVICE int local_row(int group) { return group * S::kPacked + packed_row(); }
  static DEVICE int row(int step, int tile) { return step * S::kRowsPerStep + local_row(tile / S::kSplit); }
  static DEVICE int lag(int tile) {
    return 256 * S::kSplit * (warp_index() % S::kRadix) + 8 * lane_index() + 256 * (tile % S::kSplit);
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

DEVICE void multiply_chunk(float (&v)[8], uint4 x) {
  float factor[8];
  unpack_chunk(factor, x);
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] *= factor[i];
}

DEVICE void scale_chunk(float (&v)[8], float factor) {
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] *= factor;
}

struct Batch {  // what one step of one channel reads and writes
  int step, channel, batches, length;
};

// This thread's chunks of one tensor in one step. Addresses of missing rows are formed and never followed.
template <class S>
struct Window {
  u16* first;      // of chunk 0
  i64 next_group;  // elements to the same chunk of the next row group
  int rows, room;  // rows from chunk 0's on that exist; values of its row from chunk 0 on

  DEVICE Window(const Rows& rows_, const Batch& at)
      : first(rows_.data + Place<S>::row(at.step, 0) * rows_.batch_stride + at.channel * rows_.channel_stride +
              Place<S>::lag(0)),
        next_group(rows_.batch_stride * S::kPacked),
        rows(at.batches - Place<S>::row(at.step, 0)),
        room(at.length - Place<S>::lag(0)) {}
  DEVICE u16* chunk(int tile) const { return first + (tile / S::kSplit) * next_group + 256 * (tile % S::kSplit); }
  // How many of the chunk's eight values exist; 0 or less: none.
  DEVICE int count(int tile) const {
    return rows > tile / S::kSplit * S::kPacked ? room - 256 * (tile % S::kSplit) : 0;
  }

  // Eight values, zeros where there are none.
  DEVICE uint4 fetch(int tile) const {
    const u16* from = chunk(tile);
    const int valid = count(tile);
    if constexpr (ALIGNED) {
      return valid > 0 ? *reinterpret_cast<const uint4*>(from) : uint4{0, 0, 0, 0};
    } else {
      u32 words[4] = {};
#pragma unroll
      for (int i = 0; i < 8; i++)
        if (i < valid) words[i / 2] |= static_cast<u32>(from[i]) << (16 * (i & 1));
      return {words[0], words[1], words[2], words[3]};
    }
  }
  // The same into this thread's own slot of shared memory, to be read after wait_copies.
  DEVICE void prefetch(int tile, u32 buffer) const {
    const u32 slot = Place<S>::slot(buffer, tile);
    if constexpr (ALIGNED) copy_async16(slot, chunk(tile), count(tile) > 0 ? 16 : 0);
    else store_shared16(slot, fetch(tile));
  }
  DEVICE void put(int tile, const float (&v)[8]) const {
    const u32 words[4] = {pack(v[0], v[1]), pack(v[2], v[3]), pack(v[4], v[5]), pack(v[6], v[7])};
    u16* to = chunk(tile);
    const int valid = count(tile);
    if constexpr (ALIGNED) {
      if (valid > 0) *reinterpret_cast<uint4*>(to) = uint4{words[0], words[1], words[2], words[3]};
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++)
        if (i < valid) to[i] = static_cast<u16>(words[i / 2] >> (16 * (i & 1)));
    }
  }
};
// This thread's chunks of a tensor: from its slots of `buffer` where they were prefetched, else from device memory, all
// asked for before the first is used.
template <class S, bool kStaged>
struct Chunks {
  uint4 chunk[S::kTiles];
  DEVICE Chunks(const Window<S>& window, u32) {
#pragma unroll
    for (int tile = 0; tile < S::kTiles; tile++) chunk[tile] = window.fetch(tile);
  }
  DEVICE uint4 operator()(int tile) const { return chunk[tile]; }
};
template <class S>
struct Chunks<S, true> {
  u32 buffer;
  DEVICE Chunks(const Window<S>&, u32 buffer_) : buffer(buffer_) {}
  DEVICE uint4 operator()(int tile) const { return load_shared16(Place<S>::slot(buffer, tile)); }
};
// Brings a window's rows to the L2 cache, to be fetched later.
template <class S>
DEVICE void approach(const Rows& rows, const Batch& at) {
  const Window<S> window(rows, at);
  if (lane_index() % 8 == 0) {
#pragma unroll
    for (int tile = 0; tile < S::kTiles; tile++)
      if (window.count(tile) > 0) prefetch_line(window.chunk(tile));
  }
}
template <class S>
DEVICE void prefetch_all(const Rows& rows, const Batch& at, u32 buffer) {
  const Window<S> window(rows, at);
#pragma unroll
  for (int tile = 0; tile < S::kTiles; tile++) window.prefetch(tile, buffer);
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

// Powers of two that bring a peak to [2^kTop, 2^(kTop+1)) and back. Rows all below 2^-111 count as zeros.
struct Scale {
  float in, out;
};
template <int kTop>
DEVICE Scale scale_of(u32 peak) {
  const int bits = static_cast<int>(peak >> 23), exponent = bits < 16 ? 16 : bits;
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

// source(tile, v) gives this thread's values -> scaled fp16 samples, in the column order that outer_in wants.
// `back[group]` undoes the scaling. Ends with a barrier.
template <class S, class Source>
DEVICE void load_samples(Source source, Peaks& peaks, float (&back)[S::kGroups]) {
  constexpr bool kInRegisters = S::kTiles <= 4;
  float kept[kInRegisters ? S::kTiles : 1][8];
#pragma unroll
  for (int group = 0; group < S::kGroups; group++) {
    float peak = 0.0f;  // not-a-number is passed over here, and spreads through the transform
#pragma unroll
    for (int b = 0; b < S::kSplit; b++) {
      const int tile = group * S::kSplit + b;
      float (&v)[8] = kept[kInRegisters ? tile : 0];
      source(tile, v);
#pragma unroll
      for (int i = 0; i < 8; i++) peak = fmaxf(peak, fabsf(v[i]));
      if constexpr (!kInRegisters) store_own<S>(v, tile);
    }
    peaks.note(Place<S>::local_row(group), as_bits(peak));
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
          const float (&v)[8] = kept[group * S::kSplit + b];
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
