// Rows in device memory, as threads own them: slot = outer index a (or packed row and a), lane = chunk of eight lags.
// All masking of ragged rows and of missing batches happens here, and so does the scaling of rows to fp16.
#pragma once
#include <common/values.cuh>
#include <one_sm/shape.cuh>

struct Rows {  // (B, H, N) of 16-bit values, N contiguous; strides in elements
  u16* data;
  u32 batch_stride, channel_stride;
};

template <class S>
struct Place {  // of this thread; items as in shape.cuh
  static DEVICE int first_row() { return S::kRadix < 16 ? warp_index() / S::kRadix : 0; }
  static DEVICE int first_lag() {
    return 256 * S::kSplit * (S::kRadix < 16 ? warp_index() % S::kRadix : warp_index()) + 8 * lane_index();
  }
  // Rows and lags from those of item 0 to those of another item.
  static DEVICE constexpr int rows_on(int item) {
    return item / S::kPasses / S::kSpan * S::kPacked +
           (S::kRadix < 16 ? item % S::kPasses * (S::kWarps / S::kRadix) : 0);
  }
  static DEVICE constexpr int lags_on(int item) {
    const int tile = item / S::kPasses;
    const int slots = S::kRadix < 16 ? 0 : tile % S::kStacked * 16 + item % S::kPasses * S::kWarps;
    return 256 * (S::kSplit * slots + branch_of<S>(item));
  }
  // Row within a step, and first lag, of the eight values of an item.
  static DEVICE int local_row(int item) { return first_row() + rows_on(item); }
  static DEVICE int step_row(int warp_row) {
    if constexpr (S::kRadix >= 16) return warp_row;
    else return first_row() + warp_row / S::kPasses * S::kPacked + warp_row % S::kPasses * (S::kWarps / S::kRadix);
  }
  static DEVICE int row(int step, int item) { return step * S::kRowsPerStep + local_row(item); }
  static DEVICE int lag(int item) { return first_lag() + lags_on(item); }
  static DEVICE u32 samples(u32 buffer, int item) {
    return S::samples(buffer, tile_of<S>(item), slot_of<S>(item), lane_index());
  }
  static DEVICE u32 exchange(int item, int comp) {
    return S::exchange(tile_of<S>(item), slot_of<S>(item), lane_index(), comp);
  }
};

struct Batch {  // what one step of one channel reads and writes
  int step, channel, batches, length;
};

// The four of eight words that start after `count` 16-bit values.
DEVICE uint4 shifted(u32 (&w)[8], int count) {
  if (count & 2) {
#pragma unroll
    for (int i = 0; i < 7; i++) w[i] = w[i + 1];
  }
  if (count & 4) {
#pragma unroll
    for (int i = 0; i < 6; i++) w[i] = w[i + 2];
  }
  if (count & 1) {
#pragma unroll
    for (int i = 0; i < 4; i++) w[i] = permute_bytes(w[i], w[i + 1], 0x5432);
  }
  return {w[0], w[1], w[2], w[3]};
}
// 16-bit values between a multiple of 16 bytes and `at`: equal for all lanes of a warp with neighbouring chunks.
DEVICE int misalignment(const u16* at) { return static_cast<int>(reinterpret_cast<u64>(at) / 2 % 8); }

// Eight values of a row that may start at any address, zeros from the `valid`-th on. They are cut out of aligned
// pieces of 16 bytes, or read one by one where the row ends.
template <bool kStream>
DEVICE uint4 fetch_anywhere(const u16* from, int valid) {
  const int shift = misalignment(from);
  if (valid >= (shift == 0 ? 8 : 16 - shift)) {
    const uint4 a = load_device16<kStream>(from - shift);
    if (shift == 0) return a;
    const uint4 b = load_device16<kStream>(from - shift + 8);
    u32 words[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
    return shifted(words, shift);
  }
  u32 words[4] = {};
#pragma unroll
  for (int i = 0; i < 8; i++)
    if (i < valid) words[i / 2] |= static_cast<u32>(from[i]) << (16 * (i & 1));
  return {words[0], words[1], words[2], words[3]};
}
// Writes them, for all lanes of a warp together: an aligned piece that lies in the chunks of two lanes is written by
// the first of them. Values in pieces that belong only in part to the row, or to the warp, are written one by one.
template <bool kStream>
DEVICE void put_anywhere(u16* to, const u32 (&own)[4], int valid) {
  const int shift = misalignment(to), rest = 8 - shift, lane = lane_index();
  bool before = false, after = false;  // whether the values before `rest`, and from it on, are in whole pieces
  if (shift == 0) {
    after = before = valid >= 8;
    if (after) store_device16<kStream>(to, uint4{own[0], own[1], own[2], own[3]});
  } else {
    u32 words[8];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      words[i] = own[i];
      words[4 + i] = as_bits(from_lane(as_float(own[i]), (lane + 1) & 31));
    }
    before = lane > 0 && valid >= rest;
    after = lane < 31 && valid >= rest + 8;
    if (after) store_device16<kStream>(to + rest, shifted(words, rest));
  }
#pragma unroll
  for (int i = 0; i < 8; i++)
    if (i < valid && !(i < rest ? before : after)) to[i] = static_cast<u16>(own[i / 2] >> (16 * (i & 1)));
}

// This thread's chunks of one tensor in one step. Addresses of missing rows are computed but never used. kStream: as in
// ptx.cuh.
template <class S, bool kStream>
struct Window {
  u16* first;  // of item 0
  u32 batch_stride;
  int rows, room;  // existing rows from that of item 0 on; values of that row from its chunk on

  DEVICE Window(const Rows& rows_, const Batch& at)
      : first(rows_.data + multiply_wide(Place<S>::row(at.step, 0), rows_.batch_stride) +
              multiply_wide(at.channel, rows_.channel_stride) + Place<S>::lag(0)),
        batch_stride(rows_.batch_stride),
        rows(at.batches - Place<S>::row(at.step, 0)),
        room(at.length - Place<S>::lag(0)) {}
  DEVICE u16* chunk(int item) const {
    return first + multiply_wide(Place<S>::rows_on(item), batch_stride) + Place<S>::lags_on(item);
  }
  // How many of the item's eight values exist; 0 or less: none.
  DEVICE int count(int item) const {
    if constexpr (WHOLE) return 8;
    return rows > Place<S>::rows_on(item) ? room - Place<S>::lags_on(item) : 0;
  }

  // Eight values, zeros where there are none.
  DEVICE uint4 fetch(int item) const {
    const u16* from = chunk(item);
    const int valid = count(item);
    if constexpr (ALIGNED) {
      if (valid <= 0) return {0, 0, 0, 0};
      return load_device16<kStream>(from);
    } else {
      return fetch_anywhere<kStream>(from, valid);
    }
  }
  // The same into this thread's own slot of shared memory, to be read after wait_copies.
  DEVICE void prefetch(int item, u32 buffer) const {
    const u32 slot = Place<S>::samples(buffer, item);
    if constexpr (ALIGNED) copy_async16<kStream>(slot, chunk(item), count(item) > 0 ? 16 : 0);
    else store_shared16(slot, fetch(item));
  }
  // Eight values times a power of two.
  DEVICE void put(int item, const float (&v)[8], float factor) const {
    u32 words[4];
#pragma unroll
    for (int i = 0; i < 4; i++) words[i] = pack_scaled(v[2 * i], v[2 * i + 1], factor);
    u16* to = chunk(item);
    const int valid = count(item);
    if constexpr (ALIGNED) {
      if (valid > 0) store_device16<kStream>(to, uint4{words[0], words[1], words[2], words[3]});
    } else {
      put_anywhere<kStream>(to, words, valid);
    }
  }
};
// This thread's chunks of a tensor, of kCount items from `first` on: from its slots of `buffer` where they were
// prefetched, else from device memory, all requested before the first is used.
template <class S, bool kStaged, int kCount = S::kItems>
struct Chunks {
  uint4 chunk[kCount];
  int first;
  template <bool kStream>
  DEVICE Chunks(const Window<S, kStream>& window, u32, int first_ = 0) : first(first_) {
#pragma unroll
    for (int i = 0; i < kCount; i++) chunk[i] = window.fetch(first + i);
  }
  DEVICE uint4 operator()(int item) const { return chunk[item - first]; }
};
template <class S, int kCount>
struct Chunks<S, true, kCount> {
  u32 buffer;
  template <bool kStream>
  DEVICE Chunks(const Window<S, kStream>&, u32 buffer_, int = 0) : buffer(buffer_) {}
  DEVICE uint4 operator()(int item) const { return load_shared16(Place<S>::samples(buffer, item)); }
};
// Brings the rows of a window into the L2 cache, to be fetched later.
template <class S>
DEVICE void prefetch_to_l2(const Rows& rows, const Batch& at) {
  const Window<S, false> window(rows, at);
  if (lane_index() % 8 == 0) {
#pragma unroll
    for (int item = 0; item < S::kItems; item++)
      if (window.count(item) > 0) prefetch_line(window.chunk(item));
  }
}
template <class S, bool kStream>
DEVICE void prefetch_all(const Rows& rows, const Batch& at, u32 buffer) {
  const Window<S, kStream> window(rows, at);
  if constexpr (ALIGNED) {
#pragma unroll
    for (int item = 0; item < S::kItems; item++) window.prefetch(item, buffer);
  } else {  // all are requested before the first is stored
    const Chunks<S, false> chunks(window, buffer);
#pragma unroll
    for (int item = 0; item < S::kItems; item++) store_shared16(Place<S>::samples(buffer, item), chunks(item));
  }
}

// A thread's own eight values of an item, as outer_back leaves them in the exchange buffer: fp16 if sums are, else
// fp32.
template <class S>
DEVICE void load_result(float (&v)[8], int item) {
  if constexpr (HALF_SUMS) {
    const uint4 x = load_shared16(Place<S>::exchange(item, 0));
    const u32 words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 pair = unpack_half(words[i]);
      v[2 * i] = pair.x, v[2 * i + 1] = pair.y;
    }
  } else {
#pragma unroll
    for (int comp = 0; comp < 2; comp++) {
      const uint4 x = load_shared16(Place<S>::exchange(item, comp));
      v[4 * comp] = as_float(x.x), v[4 * comp + 1] = as_float(x.y);
      v[4 * comp + 2] = as_float(x.z), v[4 * comp + 3] = as_float(x.w);
    }
  }
}

// The peak of every row in flight, in two alternating sets. Absolute values compare like their bits.
struct Peaks {
  int parity = 0;
  DEVICE u32 at(int row) const { return shared_base() + parity * 256 + row * 4; }
  DEVICE u32 last_at(int row) const { return shared_base() + (parity ^ 1) * 256 + row * 4; }  // of the previous set
  DEVICE void clear_other() const {
    if (thread_index() < 64) store_shared4(last_at(thread_index()), 0);
  }
  DEVICE void note(int row, u32 most) const {  // of one row, the same from the whole warp
    if (lane_index() == 0) max_shared(at(row), most);
  }
  // Of all rows of the warp, one lane for each: in sequence each would wait for the one before.
  template <class S>
  DEVICE void note_all(const float (&peak)[S::kWarpRows]) const {
    u32 own = 0;
#pragma unroll
    for (int warp_row = 0; warp_row < S::kWarpRows; warp_row++) {
      const u32 most = max_over_warp(as_bits(peak[warp_row]));
      own = lane_index() == warp_row ? most : own;
    }
    if (lane_index() < S::kWarpRows) max_shared(at(Place<S>::step_row(lane_index())), own);
  }
};

// The largest magnitude of eight values times a gate's (GATED), rounded as rows are: enough to choose a power of two.
template <bool kGated>
DEVICE float peak_of_chunk(uint4 x, uint4 gate) {
  if constexpr (IO_BF16) {
    const u32 values[4] = {x.x, x.y, x.z, x.w}, gates[4] = {gate.x, gate.y, gate.z, gate.w};
    u32 most = 0;
#pragma unroll
    for (int i = 0; i < 4; i++)
      most = larger_magnitude_bfloat(most, kGated ? multiply_bfloat(values[i], gates[i]) : values[i]);
    return larger(as_float(most << 16), as_float(most & 0xffff0000u));
  } else {  // the product may overflow
    float v[8], most = 0;
    unpack_chunk(v, x);
    if constexpr (kGated) multiply_chunk(v, gate);
#pragma unroll
    for (int i = 0; i < 8; i++) most = larger(most, fabsf(v[i]));
    return most;
  }
}

// Whether a thread has too many values to keep between finding the peak and scaling.
template <class S>
DEVICE constexpr bool asks_twice() {
  return S::kItems > 4;
}
// source(item, v, once) gives this thread's values -> scaled fp16 samples; `once` is true in its first call. Where
// there are too many values to keep it is called twice, or peak_of(item) first. `back[warp_row]` undoes the scaling.
// Ends with a barrier.
template <class S, class Source, class PeakOf>
DEVICE void load_samples(Source source, PeakOf peak_of, Peaks& peaks, float (&back)[S::kWarpRows]) {
  constexpr bool kInRegisters = !asks_twice<S>();
  float kept[kInRegisters ? S::kItems : 1][8];
  float peak[S::kWarpRows] = {};
#pragma unroll
  for (int item = 0; item < S::kItems; item++) {
    float& most = peak[warp_row_of<S>(item)];
    if constexpr (kInRegisters) {
      source(item, kept[item], true);
#pragma unroll
      for (int i = 0; i < 8; i++) most = larger(most, fabsf(kept[item][i]));
    } else {
      most = larger(most, peak_of(item));
    }
  }
  peaks.note_all<S>(peak);
  block_barrier();
  peaks.clear_other();
  Scale scales[S::kWarpRows];
#pragma unroll
  for (int warp_row = 0; warp_row < S::kWarpRows; warp_row++) {
    scales[warp_row] = scale_of<kRowTop>(load_shared4(peaks.at(Place<S>::step_row(warp_row))));
    back[warp_row] = scales[warp_row].out;
  }
#pragma unroll
  for (int item = 0; item < S::kItems; item++) {
    const Scale scale = scales[warp_row_of<S>(item)];
    float (&v)[8] = kept[kInRegisters ? item : 0];
    if constexpr (!kInRegisters) source(item, v, false);
    scale_chunk(v, scale.in);
    u32 words[4];
#pragma unroll
    for (int i = 0; i < 4; i++) words[i] = pack_half(v[2 * i], v[2 * i + 1]);
    store_shared16(Place<S>::samples(S::kSamples, item), uint4{words[0], words[1], words[2], words[3]});
    // Neighbours of a row that is not finite share its products, and zero times not-a-number is not zero.
    if (!scale.finite) store_shared16(Place<S>::samples(S::kSamples, item), uint4{0, 0, 0, 0});
  }
  peaks.parity ^= 1;
  block_barrier();
}
template <class S, class Source>
DEVICE void load_samples(Source source, Peaks& peaks, float (&back)[S::kWarpRows]) {
  load_samples<S>(
      source,
      [&](int item) {
        float v[8], most = 0;
        source(item, v, true);
#pragma unroll
        for (int i = 0; i < 8; i++) most = larger(most, fabsf(v[i]));
        return most;
      },
      peaks, back);
}

// Copies the outer tables to shared memory and clears both sets of peaks. Ends with a barrier.
template <class S>
DEVICE void set_up(const uint4* tables) {
  for (int i = thread_index(); i < static_cast<int>(S::kTableBytes / 16); i += S::kThreads) {
    const bool past = !HALF_SUMS && 16 * i >= static_cast<int>(S::kTwistIn);  // the twists of fp16
    store_shared16(shared_base() + S::kTables + 16 * i, tables[S::kOuter + i + (past ? S::kTwistBytes / 8 : 0)]);
  }
  if (thread_index() < 128) store_shared4(shared_base() + 4 * thread_index(), 0);
  block_barrier();
}
