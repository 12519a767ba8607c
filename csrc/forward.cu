// y = gate_out * (k conv (gate_in * u) + D * gate_in * u), T(k) + D given as `filter` (fp16) times `filter_scale` (fp32).
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
  StoredTile k;
  const auto request = [&](const Batch& next) {
    prefetch_all<S>(us, next, S::kSamples);
    if constexpr (kStagedIn) prefetch_all<S>(ins, next, S::kGateIn);
    commit_copies();
  };
  if (first < last) request(at);
  for (int unit = first; unit < last; unit++) {
    if constexpr (S::kSplit == 1) {
      if (unit == first || at.step == 0)
        k = load_stored(filters + static_cast<i64>(at.channel) * S::kRadix * 64);
    }
    wait_copies<0>();
    if constexpr (kStagedOut) prefetch_all<S>(outs, at, S::kGateOut);
    commit_copies();
    float back[S::kGroups];
    const Window<S> in(ins, at), out(outs, at), y_out(ys, at);
    load_samples<S>(
        [&](int tile, float(&v)[8]) {
          unpack_chunk(v, load_shared16(Place<S>::slot(S::kSamples, tile)));
          if constexpr (GATE_IN) {
            float gate[8];
            if constexpr (kStagedIn) unpack_chunk(gate, load_shared16(Place<S>::slot(S::kGateIn, tile)));
            else unpack_chunk(gate, in.fetch(tile));
#pragma unroll
            for (int i = 0; i < 8; i++) v[i] *= gate[i];
          }
        },
        peaks, back);
    outer_in<S>();
    block_barrier();
    Batch next = at;
    if (++next.step == steps) next.step = 0, next.channel++;
    if (unit + 1 < last) request(next);
    else commit_copies();
#pragma unroll
    for (int tile = 0; tile < S::kTiles; tile++) {
      if constexpr (S::kSplit > 1) {
        k = load_stored(filters + (static_cast<i64>(at.channel) * S::kSplit + tile % S::kSplit) * S::kRadix * 64);
      }
      store_inverse<S>(tile, conjugate_of_product(k, spectrum_of<S>(tile, inner)), inner);
    }
    block_barrier();
    outer_back<S>();
    wait_copies<1>();
    block_barrier();
    const float filter_back = filter_scale[at.channel];
#pragma unroll
    for (int tile = 0; tile < S::kTiles; tile++) {
      float v[8];
      load_own<S>(v, tile);
      const float scale = back[tile / S::kSplit] * filter_back;
      if constexpr (GATE_OUT) {
        float gate[8];
        if constexpr (kStagedOut) unpack_chunk(gate, load_shared16(Place<S>::slot(S::kGateOut, tile)));
        else unpack_chunk(gate, out.fetch(tile));
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] *= scale * gate[i];
      } else {
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] *= scale;
      }
      y_out.put(tile, v);
    }
    at = next;
  }
}
