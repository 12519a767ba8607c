// y = gate_out * (k conv (gate_in * u) + D * gate_in * u); `filter` (fp16) times `filter_scale` (fp32) is T(k) + D.
#include <outer.cuh>
#include <products.cuh>
#include <rows.cuh>

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    forward(u16* u, u16* gate_in, u16* gate_out, u16* y, const uint4* filter, const float* filter_scale,
            const uint4* tables, int batches, int channels, int length, i64 u_batch, i64 u_channel, i64 gate_in_batch,
            i64 gate_in_channel, i64 gate_out_batch, i64 gate_out_channel) {
  using S = Plan;
  const Rows us{u, u_batch, u_channel}, ins{gate_in, gate_in_batch, gate_in_channel};
  const Rows outs{gate_out, gate_out_batch, gate_out_channel};
  const Rows ys{y, static_cast<i64>(channels) * length, length};
  // Measured: whether requests are spread over the inner stages, where in a burst they hold up everybody's shared
  // memory, and whether matrices are loaded anew in each step, where they would be spilled.
  constexpr bool kSpread = S::kSplit == 1, kReload = S::kSplit == 4;
  constexpr bool kStagedIn = GATE_IN && S::kStaged, kStagedOut = GATE_OUT && S::kStaged;
  set_up<S>(tables);
  InnerTables<S> inner = load_inner_tables<S>(tables);

  const int steps = (batches + S::kRowsPerStep - 1) / S::kRowsPerStep;
  const i64 work = static_cast<i64>(steps) * channels;
  const int first = static_cast<int>(work * block_index() / grid_size());
  const int last = static_cast<int>(work * (block_index() + 1) / grid_size());
  Peaks peaks;
  Batch at{first % steps, first / steps, batches, length};
  // Two items at a time, so that one's products fill the other's waits: of two row groups, whose filters are the same,
  // or of two branches, or of both tiles of a'.
  constexpr int kApart = S::kGroups > 1 ? S::kSpan : S::kSplit > 1 ? S::kTall : 1;
  constexpr bool kShared = S::kGroups > 1, kOneFilter = S::kSpan == 1 && !S::kTurned;
  const auto first_of = [](int pair) {
    const int tile = pair % (S::kTiles / 2);
    return (tile / kApart * 2 * kApart + tile % kApart) * S::kPasses + pair / (S::kTiles / 2);
  };
  StoredTile k[2];
  const auto request_filters = [&](int channel, int pair) {
    const auto filter_of = [&](int item) {
      const i64 place = static_cast<i64>(channel) * (S::kSplit * S::kRadix) + place_of<S>(item);
      return load_stored(filter + place * 64 + lane_index());
    };
    k[0] = filter_of(first_of(pair));
    k[1] = kShared ? k[0] : filter_of(first_of(pair) + kApart * S::kPasses);
  };
  if (first < last) {
    prefetch_all<S>(us, at, S::kSamples);
    if constexpr (kStagedIn) prefetch_all<S>(ins, at, S::kGateIn);
    if constexpr (GATE_IN && !kStagedIn) approach<S>(ins, at);
    commit_copies();
  }
  for (int unit = first; unit < last; unit++) {
    wait_copies<0>();
    if constexpr (GATE_OUT && !kStagedOut) approach<S>(outs, at);
    if constexpr (kStagedOut && !kSpread) prefetch_all<S>(outs, at, S::kGateOut);
    commit_copies();
    float back[S::kGroups * S::kPasses];
    {
      const Chunks<S, !GATE_IN || S::kStaged> gate(Window<S>(ins, at), S::kGateIn);
      load_samples<S>(
          [&](int item, float (&v)[8], bool) {
            unpack_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
            if constexpr (GATE_IN) multiply_chunk(v, gate(item));
          },
          peaks, back);
    }
    if (!kOneFilter || unit == first || at.step == 0) request_filters(at.channel, 0);
    if constexpr (kReload) inner = load_inner_tables<S>(tables);
    outer_in<S>();
    block_barrier();
    Batch next = at;
    if (++next.step == steps) next.step = 0, next.channel++;
    const bool more = unit + 1 < last;
    const Window<S> next_u(us, next), next_in(ins, next), out_window(outs, at);
    if constexpr (GATE_IN && !kStagedIn) {
      if (more) approach<S>(ins, next);
    }
    const auto request = [&](int start, int end) {  // for items
      if (!more) return;
#pragma unroll
      for (int item = start; item < end; item++) {
        next_u.prefetch(item, S::kSamples);
        if constexpr (kStagedIn) next_in.prefetch(item, S::kGateIn);
      }
    };
    if constexpr (!kSpread) {
      request(0, S::kItems);
      commit_copies();
    }
#pragma unroll
    for (int pair = 0; pair < S::kItems / 2; pair++) {
      const int item0 = first_of(pair), item1 = item0 + kApart * S::kPasses;
      const Quarters x0 = load_slot<S>(item0), x1 = load_slot<S>(item1);
      if constexpr (kSpread) {
        if constexpr (kStagedOut)
          out_window.prefetch(2 * pair, S::kGateOut), out_window.prefetch(2 * pair + 1, S::kGateOut);
        commit_copies();
        request(2 * pair, 2 * pair + 2);
        commit_copies();
      }
      const HalfTile z0 = conjugate_of_product(k[0], spectrum_of<S>(turn_of<S>(item0), x0, inner));
      const HalfTile z1 = conjugate_of_product(k[1], spectrum_of<S>(turn_of<S>(item1), x1, inner));
      if (!kOneFilter && pair + 1 < S::kItems / 2) request_filters(at.channel, pair + 1);
      const HalfTile y0 = inverse_of<S>(item0, turn_of<S>(item0), z0, inner),
                     y1 = inverse_of<S>(item1, turn_of<S>(item1), z1, inner);
      warp_barrier();  // every lane has read these slots
      store_slot<S>(item0, y0);
      store_slot<S>(item1, y1);
    }
    block_barrier();
    outer_back<S>();
    const float filter_back = filter_scale[at.channel];
    wait_copies<1>();
    const Window<S> y_out(ys, at);
    const Chunks<S, !GATE_OUT || S::kStaged> gate(Window<S>(outs, at), S::kGateOut);
    block_barrier();
#pragma unroll
    for (int item = 0; item < S::kItems; item++) {
      float v[8];
      load_result<S>(v, item);
      if constexpr (GATE_OUT) multiply_chunk(v, gate(item));
      y_out.put(item, v, back[lot_of<S>(item)] * filter_back);
    }
    at = next;
  }
}
