// y = gate_out * (k conv (gate_in * u) + D * gate_in * u); `filter` (fp16) times `filter_scale` (fp32) is T(k) + D.
#include <outer.cuh>
#include <products.cuh>
#include <rows.cuh>

extern "C" __global__ void __launch_bounds__(kThreads, 1)
    forward(u16* u, u16* gate_in, u16* gate_out, u16* y, const uint4* filter, const float* filter_scale,
            const uint4* tables, int batches, int channels, int length, i64 u_batch, i64 u_channel, i64 gate_in_batch,
            i64 gate_in_channel, i64 gate_out_batch, i64 gate_out_channel) {
  using S = Plan;
  const Rows us{u, u_batch, u_channel}, ins{gate_in, gate_in_batch, gate_in_channel};
  const Rows outs{gate_out, gate_out_batch, gate_out_channel};
  const Rows ys{y, static_cast<i64>(channels) * length, length};
  constexpr bool kStagedIn = GATE_IN && S::kStaged, kStagedOut = GATE_OUT && S::kStaged;
  set_up<S>(tables);
  const InnerTables inner = load_inner_tables<S>(tables);
  const uint4* filters = filter + (warp_index() % S::kRadix) * 64 + lane_index();

  const int steps = (batches + S::kRowsPerStep - 1) / S::kRowsPerStep;
  const i64 work = static_cast<i64>(steps) * channels;
  const int first = static_cast<int>(work * block_index() / grid_size());
  const int last = static_cast<int>(work * (block_index() + 1) / grid_size());
  Batch at{first % steps, first / steps, batches, length};
  Peaks peaks;
  const auto request = [&](const Batch& next) {
    prefetch_all<S>(us, next, S::kSamples);
    if constexpr (kStagedIn) prefetch_all<S>(ins, next, S::kGateIn);
    if constexpr (GATE_IN && !S::kStaged) approach<S>(ins, next);
    commit_copies();
  };
  const auto filter_tile = [&](int channel, int tile) {
    return load_stored(filters + (static_cast<i64>(channel) * S::kSplit + tile % S::kSplit) * S::kRadix * 64);
  };
  StoredTile k[2];
  if (first < last) request(at);
  for (int unit = first; unit < last; unit++) {
    wait_copies<0>();
    if constexpr (kStagedOut) prefetch_all<S>(outs, at, S::kGateOut);
    if constexpr (GATE_OUT && !S::kStaged) approach<S>(outs, at);
    commit_copies();
    float back[S::kGroups];
    {
      const Chunks<S, !GATE_IN || S::kStaged> gate(Window<S>(ins, at), S::kGateIn);
      load_samples<S>(
          [&](int tile, float (&v)[8]) {
            unpack_chunk(v, load_shared16(Place<S>::slot(S::kSamples, tile)));
            if constexpr (GATE_IN) multiply_chunk(v, gate(tile));
          },
          peaks, back);
    }
    if (S::kSplit > 1 || unit == first || at.step == 0) k[0] = k[1] = filter_tile(at.channel, 0);
    if constexpr (S::kSplit > 1) k[1] = filter_tile(at.channel, 1);
    outer_in<S>();
    block_barrier();
    Batch next = at;
    if (++next.step == steps) next.step = 0, next.channel++;
    if (unit + 1 < last) request(next);
    else commit_copies();
    // Two tiles at a time, so that one's products fill the other's waits; their filters were asked for two tiles ago.
#pragma unroll
    for (int tile = 0; tile < S::kTiles; tile += 2) {
      const Quarters x0 = load_tile<S>(tile), x1 = load_tile<S>(tile + 1);
      const HalfTile z0 = conjugate_of_product(k[0], spectrum_of(x0, inner));
      const HalfTile z1 = conjugate_of_product(k[1], spectrum_of(x1, inner));
      if constexpr (S::kSplit > 1) {
        if (tile + 2 < S::kTiles) k[0] = filter_tile(at.channel, tile + 2), k[1] = filter_tile(at.channel, tile + 3);
      }
      const HalfTile y0 = inverse_of<S>(tile, z0, inner), y1 = inverse_of<S>(tile + 1, z1, inner);
      warp_barrier();  // every lane has read these tiles
      store_tile<S>(tile, y0);
      store_tile<S>(tile + 1, y1);
    }
    block_barrier();
    outer_back<S>();
    wait_copies<1>();
    const float filter_back = filter_scale[at.channel];
    const Window<S> y_out(ys, at);
    const Chunks<S, !GATE_OUT || S::kStaged> gate(Window<S>(outs, at), S::kGateOut);
    block_barrier();
#pragma unroll
    for (int tile = 0; tile < S::kTiles; tile++) {
      float v[8];
      load_own<S>(v, tile);
      if constexpr (GATE_OUT) multiply_chunk(v, gate(tile));
      scale_chunk(v, back[tile / S::kSplit] * filter_back);
      y_out.put(tile, v);
    }
    at = next;
  }
}
