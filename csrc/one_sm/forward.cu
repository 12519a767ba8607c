// y = gate_out * (k conv (gate_in * u) + D * gate_in * u); `filter` (fp16) times `filter_scale` (fp32) is T(k) + D.
#include <one_sm/outer.cuh>
#include <one_sm/products.cuh>
#include <one_sm/rows.cuh>

// A channel's filter: in registers where a warp has one place of it, in shared memory where it fits; else it is read in
// every step, a pair of items ahead.
template <class S>
struct Filters {
  static constexpr bool kOne = S::kSpan == 1 && !S::kHalfShift, kKept = S::kSpectrumInShared && !kOne,
                        kPassing = !kOne && !kKept;
  const uint4* filter;
  StoredTile held[2];

  DEVICE const uint4* own(int channel, int item) const {
    const i64 place = static_cast<i64>(channel) * (S::kSplit * S::kRadix) + place_of<S>(item);
    return filter + place * 64 + lane_index();
  }
  static DEVICE u32 kept(int item) {  // each thread reads only words that it wrote, so it need not wait for others
    const int slot = tile_of<S>(item) % S::kSpan * 16 + slot_of<S>(item);
    return shared_base() + S::kFilter + slot * 1024 + lane_index() * 16;
  }
  // A new channel begins.
  DEVICE void begin(int channel) {
    if constexpr (kOne) held[0] = held[1] = load_stored(own(channel, 0));
    if constexpr (kKept) {
#pragma unroll
      for (int item = 0; item < S::kSpan * S::kPasses; item++) {
        copy_async16<false>(kept(item), own(channel, item), 16);
        copy_async16<false>(kept(item) + 512, own(channel, item) + 32, 16);
      }
    }
  }
  DEVICE void fetch(int channel, int item0, int item1) {
    if constexpr (kPassing) {
      held[0] = load_stored(own(channel, item0));
      held[1] = S::kGroups > 1 ? held[0] : load_stored(own(channel, item1));
    }
  }
  // The filters of a pair that was fetched. With row groups both are the same.
  DEVICE void take(StoredTile (&k)[2], int item0, int item1) const {
    k[0] = kKept ? load_stored_shared(kept(item0)) : held[0];
    k[1] = !kKept ? held[1] : S::kGroups > 1 ? k[0] : load_stored_shared(kept(item1));
  }
};

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    forward(u16* u, u16* gate_in, u16* gate_out, u16* y, const uint4* filter, const float* filter_scale,
            const uint4* tables, int batches, int channels, int length, u32 u_batch, u32 u_channel, u32 gate_in_batch,
            u32 gate_in_channel, u32 gate_out_batch, u32 gate_out_channel) {
  using S = Plan;
  const Rows us{u, u_batch, u_channel}, ins{gate_in, gate_in_batch, gate_in_channel};
  const Rows outs{gate_out, gate_out_batch, gate_out_channel};
  const Rows ys{y, static_cast<u32>(channels) * length, static_cast<u32>(length)};
  // Chosen by measurement: whether prefetches are spread over the inner stages, because a burst would block shared
  // memory for all warps, and whether matrices are loaded again in each step, because they would be spilled.
  constexpr bool kSpread = S::kSplit == 1, kReload = S::kSplit == 4;
  constexpr bool kStagedIn = GATE_IN && S::kStaged, kStagedOut = GATE_OUT && S::kStaged;
  set_up<S>(tables);
  InnerTables<S> inner = load_inner_tables<S>(tables);

  // Blocks walk over the batch, each with its own channels. Where filters are read in every step, they take
  // neighbouring rows instead, so that all read the same few filters at the same time, and the L2 cache evicts rows
  // first.
  constexpr bool kStream = Filters<S>::kPassing;
  const int steps = (batches + S::kRowsPerStep - 1) / S::kRowsPerStep;
  const i64 work = static_cast<i64>(steps) * channels;
  const int first = kStream ? block_index() : static_cast<int>(work * block_index() / grid_size());
  const int last = static_cast<int>(kStream ? work : work * (block_index() + 1) / grid_size());
  const int stride = kStream ? grid_size() : 1;
  const auto batch_of = [&](int unit) { return Batch{unit % steps, unit / steps, batches, length}; };
  Filters<S> filters{filter};
  Peaks peaks;
  Batch at = batch_of(first);
  // Two items at a time, so that the products of one hide the waits of the other: of two row groups, whose filters are
  // the same, or of two branches, or of both tiles of a'.
  constexpr int kTilesApart = S::kGroups > 1 ? S::kSpan : S::kSplit > 1 ? S::kStacked : 1;
  constexpr int kApart = kTilesApart * S::kPasses, kPairs = S::kItems / 2;
  const auto first_of = [](int pair) {
    const int tile = pair % (S::kTiles / 2);
    return (tile / kTilesApart * 2 * kTilesApart + tile % kTilesApart) * S::kPasses + pair / (S::kTiles / 2);
  };
  if (first < last) {
    prefetch_all<S, kStream>(us, at, S::kSamples);
    if constexpr (kStagedIn) prefetch_all<S, kStream>(ins, at, S::kGateIn);
    if constexpr (GATE_IN && !kStagedIn) prefetch_to_l2<S>(ins, at);
    commit_copies();
  }
  wait_for_dependency();  // on the kernel that computes the filters; the rows are older
  for (int unit = first; unit < last; unit += stride) {
    wait_copies<0>();
    if constexpr (GATE_OUT && !kStagedOut) prefetch_to_l2<S>(outs, at);
    if constexpr (kStagedOut && !kSpread) prefetch_all<S, kStream>(outs, at, S::kGateOut);
    if (unit == first || at.step == 0) filters.begin(at.channel);
    commit_copies();
    const float filter_back = filter_scale[at.channel];
    float back[S::kWarpRows];
    {
      const Chunks<S, !GATE_IN || S::kStaged> gate(Window<S, kStream>(ins, at), S::kGateIn);
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
    filters.fetch(at.channel, first_of(0), first_of(0) + kApart);
    if constexpr (kReload) inner = load_inner_tables<S>(tables);
    outer_in<S>();
    if constexpr (Filters<S>::kKept) wait_copies<0>();
    block_barrier();
    Batch next = at;
    if constexpr (kStream) next = batch_of(unit + stride);
    else if (++next.step == steps) next.step = 0, next.channel++;
    const bool more = unit + stride < last;
    const Window<S, kStream> next_u(us, next), next_in(ins, next), out_window(outs, at);
    if constexpr (GATE_IN && !kStagedIn) {
      if (more) prefetch_to_l2<S>(ins, next);
    }
    const auto prefetch_next = [&](int start, int end) {  // for items
      if (!more) return;
#pragma unroll
      for (int item = start; item < end; item++) {
        next_u.prefetch(item, S::kSamples);
        if constexpr (kStagedIn) next_in.prefetch(item, S::kGateIn);
      }
    };
    if constexpr (!kSpread) {
      prefetch_next(0, S::kItems);
      commit_copies();
    }
#pragma unroll
    for (int pair = 0; pair < kPairs; pair++) {
      const int item0 = first_of(pair), item1 = item0 + kApart;
      const Quarters x0 = load_slot<S>(item0), x1 = load_slot<S>(item1);
      if constexpr (kSpread) {
        if constexpr (kStagedOut)
          out_window.prefetch(2 * pair, S::kGateOut), out_window.prefetch(2 * pair + 1, S::kGateOut);
        commit_copies();
        prefetch_next(2 * pair, 2 * pair + 2);
        commit_copies();
      }
      const Work w0 = spectrum_of<S>(shift_of<S>(item0), x0, inner), w1 = spectrum_of<S>(shift_of<S>(item1), x1, inner);
      StoredTile k[2];
      filters.take(k, item0, item1);
      const HalfTile z0 = conjugate_of_product(k[0], w0), z1 = conjugate_of_product(k[1], w1);
      if (pair + 1 < kPairs) filters.fetch(at.channel, first_of(pair + 1), first_of(pair + 1) + kApart);
      const HalfTile y0 = inverse_of<S>(item0, shift_of<S>(item0), z0, inner),
                     y1 = inverse_of<S>(item1, shift_of<S>(item1), z1, inner);
      warp_barrier();  // every lane has read these slots
      store_slot<S>(item0, y0);
      store_slot<S>(item1, y1);
    }
    block_barrier();
    outer_back<S>();
    wait_copies<1>();
    const Window<S, kStream> y_out(ys, at);
    const Chunks<S, !GATE_OUT || S::kStaged> gate(Window<S, kStream>(outs, at), S::kGateOut);
    block_barrier();
#pragma unroll
    for (int item = 0; item < S::kItems; item++) {
      float v[8];
      load_result<S>(v, item);
      if constexpr (GATE_OUT) multiply_chunk(v, gate(item));
      y_out.put(item, v, back[warp_row_of<S>(item)] * filter_back);
    }
    at = next;
  }
}
