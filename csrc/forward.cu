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
  constexpr bool kStagedIn = GATE_IN && S::kStaged, kStagedOut = GATE_OUT && S::kStaged;
  set_up<S>(tables);
  InnerTables<S> inner = load_inner_tables<S>(tables);
  const uint4* filters = filter + outer_index<S>(0) * 64 + lane_index();

  const int steps = (batches + S::kRowsPerStep - 1) / S::kRowsPerStep;
  const i64 work = static_cast<i64>(steps) * channels;
  const int first = static_cast<int>(work * block_index() / grid_size());
  const int last = static_cast<int>(work * (block_index() + 1) / grid_size());
  Batch at{first % steps, first / steps, batches, length};
  Peaks peaks;
  const auto request = [&](const Batch& next) {
    prefetch_all<S>(us, next, S::kSamples);
    if constexpr (kStagedIn) prefetch_all<S>(ins, next, S::kGateIn);
    if constexpr (GATE_IN && !kStagedIn) approach<S>(ins, next);
    commit_copies();
  };
  constexpr bool kOneFilter = S::kSplit == 1 && !S::kTurned;  // of a channel and warp
  const auto filter_of = [&](int channel, int item) {
    const i64 tile = static_cast<i64>(channel) * S::kSplit + tile_of<S>(item) % S::kSplit;
    return load_stored(filters + (tile * S::kRadix + (turn_of<S>(item) * S::kWarps)) * 64);
  };
  StoredTile k[2];
  const auto request_filters = [&](int channel, int item) {
    k[0] = filter_of(channel, item);
    k[1] = S::kSplit == 1 ? k[0] : filter_of(channel, item + S::kPasses);
  };
  if (first < last) request(at);
  for (int unit = first; unit < last; unit++) {
    wait_copies<0>();
    if constexpr (kStagedOut) prefetch_all<S>(outs, at, S::kGateOut);
    if constexpr (GATE_OUT && !kStagedOut) approach<S>(outs, at);
    commit_copies();
    float back[S::kGroups * S::kPasses];
    {
      const Chunks<S, !GATE_IN || S::kStaged> gate(Window<S>(ins, at), S::kGateIn);
      load_samples<S>(
          [&](int item, float (&v)[8]) {
            unpack_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
            if constexpr (GATE_IN) multiply_chunk(v, gate(item));
          },
          peaks, back);
    }
    if (!kOneFilter || unit == first || at.step == 0) request_filters(at.channel, 0);
    // Kept through the other stages too, they would be spilled.
    if constexpr (S::kSplit == 2 || S::kSplit == 4) inner = load_inner_tables<S>(tables);
    outer_in<S>();
    block_barrier();
    Batch next = at;
    if (++next.step == steps) next.step = 0, next.channel++;
    if (unit + 1 < last) request(next);
    else commit_copies();
    // Two tiles at a time, so that one's products fill the other's waits; their filters were asked for two tiles ago.
#pragma unroll
    for (int pair = 0; pair < S::kItems / 2; pair++) {
      const auto first_of = [](int p) { return p % (S::kTiles / 2) * 2 * S::kPasses + p / (S::kTiles / 2); };
      const int item0 = first_of(pair), item1 = item0 + S::kPasses;
      const Quarters x0 = load_slot<S>(item0), x1 = load_slot<S>(item1);
      const HalfTile z0 = conjugate_of_product(k[0], spectrum_of<S>(item0, x0, inner));
      const HalfTile z1 = conjugate_of_product(k[1], spectrum_of<S>(item1, x1, inner));
      if (!kOneFilter && pair + 1 < S::kItems / 2) request_filters(at.channel, first_of(pair + 1));
      const HalfTile y0 = inverse_of<S>(item0, z0, inner), y1 = inverse_of<S>(item1, z1, inner);
      warp_barrier();  // every lane has read these slots
      store_slot<S>(item0, y0);
      store_slot<S>(item1, y1);
    }
    block_barrier();
    outer_back<S>();
    wait_copies<1>();
    const float filter_back = filter_scale[at.channel];
    const Window<S> y_out(ys, at);
    const Chunks<S, !GATE_OUT || S::kStaged> gate(Window<S>(outs, at), S::kGateOut);
    block_barrier();
#pragma unroll
    for (int item = 0; item < S::kItems; item++) {
      float v[8];
      load_own<S>(v, item);
      if constexpr (GATE_OUT) multiply_chunk(v, gate(item));
      scale_chunk(v, back[tile_of<S>(item) / S::kSplit * S::kPasses + item % S::kPasses] * filter_back);
      y_out.put(item, v);
    }
    at = next;
  }
}
