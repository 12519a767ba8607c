// Rows of more than P and up to 2 P points whose filters may be as long: one half after the other on the same
// multiprocessor. With x = x0, x1 and k = k0, k1 cut at P, a half contributes to the next one the negated imaginary
// part of its own inverse, so that
//     y0 = Re T^-1(T(k0) T(x0))        y1 = Re T^-1(T(k0) T(x1) + T(k1) T(x0) + i T(k0) T(x0)).
// The first half leaves the last two terms, `rest`, in device memory that should stay in the L2 cache. All halves are
// real rows: their transforms are those of `forward`.
#include <one_sm/outer.cuh>
#include <one_sm/products.cuh>
#include <one_sm/rows.cuh>

using S = Plan;
static_assert(S::kRadix == 32 && S::kGroups == 1 && S::kStaged == 0, "a block has one half of a row at a time");

constexpr int kSpectrum = S::kSize / 4;  // words of 16 bytes
// Two items at a time, so that the products of one hide the waits of the other: of two branches, or of both tiles of
// a'.
constexpr int kApart = S::kSplit > 1 ? S::kStacked : 1, kPairs = S::kItems / 2;
DEVICE constexpr int first_of(int pair) { return pair / kApart * 2 * kApart + pair % kApart; }

struct Half {  // of a row: unit = channel * batches + batch
  int unit, half;
};
DEVICE Rows rows_of(const Rows& rows, int half) {
  return {rows.data + half * S::kSize, rows.batch_stride, rows.channel_stride};
}
DEVICE Batch batch_of(const Half& at, int batches, int length) {
  const int channel = at.unit / batches;
  return {at.unit - channel * batches, channel, batches, length - at.half * S::kSize};
}

template <class Word>
DEVICE Word* of_item(Word* words, int item) {
  return words + place_of<S>(item) * 64;
}

extern "C" __global__ void __launch_bounds__(S::kThreads, S::kBlocksPerSm)
    halves(u16* u, u16* gate_in, u16* gate_out, u16* y, const uint4* filter, const float* filter_scale,
           uint4* workspace, const uint4* tables, int batches, int channels, int length, u32 u_batch, u32 u_channel,
           u32 gate_in_batch, u32 gate_in_channel, u32 gate_out_batch, u32 gate_out_channel) {
  constexpr bool kStream = true;
  const Rows us{u, u_batch, u_channel}, ins{gate_in, gate_in_batch, gate_in_channel};
  const Rows outs{gate_out, gate_out_batch, gate_out_channel};
  const Rows ys{y, static_cast<u32>(channels) * length, static_cast<u32>(length)};
  set_up<S>(tables);
  // Blocks take neighbouring rows, so that all read the same few filters at the same time.
  const int units = channels * batches;
  uint4* rest = workspace + static_cast<i64>(block_index()) * kSpectrum + lane_index();
  Peaks peaks;
  Half at{block_index(), 0};
  const auto prefetch_rows = [&](const Half& next) {
    const Batch batch = batch_of(next, batches, length);
    prefetch_all<S, kStream>(rows_of(us, next.half), batch, S::kSamples);
  };
  const auto approach_gate = [&](const Half& next) {
    if constexpr (GATE_IN) prefetch_to_l2<S>(rows_of(ins, next.half), batch_of(next, batches, length));
  };
  if (at.unit < units) {
    prefetch_rows(at);
    approach_gate(at);
    commit_copies();
  }
  wait_for_dependency();  // on the kernel that computes the filters; the rows are older
  while (at.unit < units) {
    const Batch batch = batch_of(at, batches, length);
    wait_copies<0>();
    if constexpr (GATE_OUT) prefetch_to_l2<S>(rows_of(outs, at.half), batch);
    const uint4* k0 = filter + static_cast<i64>(batch.channel) * 2 * kSpectrum + lane_index();
    const uint4* beside = at.half == 0 ? k0 + kSpectrum : rest;
    // The second half has the scale of the whole row.
    u32 before = 0;
    if (at.half == 1) {
      before = load_shared4(peaks.last_at(0));
      if (thread_index() == 0) max_shared(peaks.at(0), before);
    }
    float back[S::kWarpRows];
    {
      const Chunks<S, !GATE_IN> gate(Window<S, kStream>(rows_of(ins, at.half), batch), 0);
      load_samples<S>(
          [&](int item, float (&v)[8], bool) {
            unpack_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
            if constexpr (GATE_IN) multiply_chunk(v, gate(item));
          },
          [&](int item) {
            const uint4 x = load_shared16(Place<S>::samples(S::kSamples, item));
            if constexpr (GATE_IN) return peak_of_chunk<true>(x, gate(item));
            else return peak_of_chunk<false>(x, x);
          },
          peaks, back);
    }
    // 0 in the first half, which has no rest yet.
    u32 part = 0;
    if (at.half == 1) {
      const u32 both = load_shared4(peaks.last_at(0));
      const float factor = scale_of<kRowTop>(both).in * scale_of<kRowTop>(before).out;
      part = pack_half(factor, factor);
    }
    // What an item needs: T(k0), and in the first half T(k1), in the second the rest of the first. Both are loaded a
    // pair of items ahead.
    StoredTile k[2], b[2];
    const auto fetch = [&](int pair) {
#pragma unroll
      for (int n = 0; n < 2; n++) {
        const int item = first_of(pair) + n * kApart;
        k[n] = load_stored(of_item(k0, item));
        b[n] = load_stored(of_item(beside, item));
      }
    };
    fetch(0);
    const InnerTables<S> inner = load_inner_tables<S>(tables);
    outer_in<S>();
    block_barrier();
    const Half next = at.half == 0 ? Half{at.unit, 1} : Half{at.unit + grid_size(), 0};
    const bool more = next.unit < units;
    if (more) {
      approach_gate(next);
      prefetch_rows(next);
    }
    commit_copies();
#pragma unroll
    for (int pair = 0; pair < kPairs; pair++) {
      const int item0 = first_of(pair), item1 = item0 + kApart, shift0 = shift_of<S>(item0),
                shift1 = shift_of<S>(item1);
      const Quarters x0 = load_slot<S>(item0), x1 = load_slot<S>(item1);
      const Work w0 = spectrum_of<S>(shift0, x0, inner), w1 = spectrum_of<S>(shift1, x1, inner);
      const HalfTile z0 = conjugate_of_product(k[0], w0, half_tile(times(b[0], part))),
                     z1 = conjugate_of_product(k[1], w1, half_tile(times(b[1], part)));
      if (at.half == 0) {
        store_stored(of_item(rest, item0), stored(conjugate_of_product(b[0], w0, turned(z0))));
        store_stored(of_item(rest, item1), stored(conjugate_of_product(b[1], w1, turned(z1))));
      }
      if (pair + 1 < kPairs) fetch(pair + 1);
      const HalfTile y0 = inverse_of<S>(item0, shift0, z0, inner), y1 = inverse_of<S>(item1, shift1, z1, inner);
      warp_barrier();  // every lane has read these slots
      store_slot<S>(item0, y0);
      store_slot<S>(item1, y1);
    }
    block_barrier();
    outer_back<S>();
    const float scale = back[0] * filter_scale[batch.channel];
    const Window<S, kStream> y_out(rows_of(ys, at.half), batch);
    const Chunks<S, !GATE_OUT> gate(Window<S, kStream>(rows_of(outs, at.half), batch), 0);
    block_barrier();
#pragma unroll
    for (int item = 0; item < S::kItems; item++) {
      float v[8];
      load_result<S>(v, item);
      if constexpr (GATE_OUT) multiply_chunk(v, gate(item));
      y_out.put(item, v, scale);
    }
    at = next;
  }
}
