// y = gate_out * (k conv (gate_in * u) + D * gate_in * u) for rows of different lengths, in chunks of P points. Chunk i
// of y is Re T^-1(sum over d of G_d X_(i - d)) with X_j = T(chunk j of the row) and G_d = T(k_d + i k_(d - 1)), k_d the
// d-th chunk of the filter: in the imaginary part of an inverse is, negated, what belongs to the next chunk. So all
// rows share the G_d, and no chunk is transformed twice.
#include <chunked/rows.cuh>

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    chunk_rows(u16* u, u16* gate_in, u16* gate_out, u16* y, const uint4* filter, const float* filter_scale,
               const uint4* tables, const uint4* rows, uint4* workspace, int row_count, int channels, int filter_chunks,
               int kept_chunks, i64 u_channel, i64 gate_in_channel, i64 gate_out_channel, i64 y_channel) {
  using S = Plan;
  const Tensor us{u, u_channel}, ins{gate_in, gate_in_channel}, outs{gate_out, gate_out_channel}, ys{y, y_channel};
  const Kept kept{workspace + static_cast<i64>(block_index()) * kept_chunks * (S::kSize / 4), 0};
  // A unit is a row of one channel. Neighbouring blocks have neighbouring rows, so that all read the spectra of few
  // filters at a time.
  const int units = row_count * channels;
  const auto begin = [&](int unit) { return ChunkAt{row_of(rows, unit % row_count), unit / row_count, 0}; };
  set_up<S>(tables);
  Peaks peaks;
  int unit = block_index();
  ChunkAt at = begin(unit < units ? unit : 0);
  if (unit < units) at.prefetch(us);
  commit_copies();
  while (unit < units) {
    const bool last = at.chunk + 1 == at.row.chunks;
    const int next_unit = last ? unit + grid_size() : unit;
    wait_copies<0>();
    if constexpr (GATE_OUT) at.approach(outs);
    float back[1];
    {
      const Chunks<S, !GATE_IN> gate(at.window<true>(ins), 0);
      load_samples<S>(
          [&](int item, float (&v)[8], bool) {
            unpack_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
            if constexpr (GATE_IN) multiply_chunk(v, gate(item));
          },
          peaks, back);
    }
    kept.note_scale(at.chunk, back[0]);
    const Filters filters(filter, at.channel, filter_chunks);
    const InnerTables<S> inner = load_inner_tables<S, true>(tables);
    outer_in<S>();
    block_barrier();
    ChunkAt next = at;
    if (!last) next.chunk++;
    else if (next_unit < units) next = begin(next_unit);
    if (next_unit < units) {
      next.prefetch(us);
      if constexpr (GATE_IN) next.approach(ins);
    }
    commit_copies();
    const Products products(kept, filters, at.chunk);
#pragma unroll
    for (int pair = 0; pair < kPairs; pair++) {
      const int item0 = 2 * pair, item1 = item0 + 1, shift0 = shift_of<S>(item0), shift1 = shift_of<S>(item1);
      const StoredTile g[2] = {filters.get(0, item0), filters.get(0, item1)};
      const Quarters x0 = load_slot<S>(item0), x1 = load_slot<S>(item1);
      const Work own[2] = {spectrum_of<S>(shift0, x0, inner), spectrum_of<S>(shift1, x1, inner)};
      if (!last) kept.put(at.chunk, item0, own[0]), kept.put(at.chunk, item1, own[1]);
      Work z[2];
      products.sum(z, own, g, item0);
      const HalfTile y0 = inverse_of<S>(item0, shift0, to_half(z[0]), inner),
                     y1 = inverse_of<S>(item1, shift1, to_half(z[1]), inner);
      warp_barrier();  // every lane has read these slots
      store_slot<S>(item0, y0);
      store_slot<S>(item1, y1);
    }
    block_barrier();
    outer_back<S>();
    const Chunks<S, !GATE_OUT> gate(at.window<true>(outs), 0);
    const float factor = products.most * filter_scale[at.channel];
    block_barrier();
    const Window<S, true> out = at.window<true>(ys);
#pragma unroll
    for (int item = 0; item < S::kItems; item++) {
      float v[8];
      load_result<S>(v, item);
      if constexpr (GATE_OUT) multiply_chunk(v, gate(item));
      out.put(item, v, factor);
    }
    at = next, unit = next_unit;
  }
}
