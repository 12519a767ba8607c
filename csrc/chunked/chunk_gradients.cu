// Gradients of chunk_rows, recomputed from the inputs. With X_j = T(v_j), C_j = T(dc_j) of the chunks of a row:
//   dgate_out = dy c,   dc = dy gate_out,   dv_j = Re T^-1(sum over d of conj(G_d) C_(j + d)),   du = dv gate_in,
//   dgate_in = dv u,    dG_d = sum over rows and j of conj(X_j) C_(j + d), from which filter_grad makes dk and dD.
// A block has a channel and a share of the rows, and the sums over them to itself: every sum has a fixed order.
#include <chunked/gradients.cuh>

// v_j -> X_j, kept. With an output gate, c_j is left as results in the exchange buffer. Brings dy to the samples.
DEVICE void transform_inputs(const Tensors& t, const ChunkAt& at, const Filters& filters, const Kept& kept,
                             const uint4* tables, Peaks& peaks, float& factor) {
  using S = Plan;
  wait_copies<0>();
  at.approach(t.dy);
  kept.note_scale(at.chunk, load_inputs(t, at, peaks));
  const InnerTables<S> inner = load_inner_tables<S, true>(tables);
  outer_in<S>();
  block_barrier();
  at.prefetch(t.dy);
  commit_copies();
  if constexpr (GATE_OUT) at.approach(t.gate_out);
  const Products products(kept, filters, at.chunk);
  factor = products.most;
#pragma unroll 1
  for (int pair = 0; pair < kPairs; pair++) {
    const int item0 = 2 * pair, item1 = item0 + 1;
    const Work own[2] = {spectrum_of<S>(shift_of<S>(0), load_slot<S>(item0), inner),
                         spectrum_of<S>(shift_of<S>(1), load_slot<S>(item1), inner)};
    kept.put(at.chunk, item0, own[0]), kept.put(at.chunk, item1, own[1]);
    if constexpr (GATE_OUT) {
      const StoredTile g[2] = {filters.get(0, item0), filters.get(0, item1)};
      Work z[2];
      products.sum(z, own, g, item0);
      store_back<S>(item0, shift_of<S>(0), to_half(z[0]), inner);
      store_back<S>(item1, shift_of<S>(1), to_half(z[1]), inner);
    }
  }
  block_barrier();
  if constexpr (GATE_OUT) outer_back<S>();
}

// dc_j -> C_j, kept; dgate_out.
DEVICE void transform_gradients(const Tensors& t, const ChunkAt& at, const Kept& kept, const uint4* tables,
                                Peaks& peaks, float factor) {
  using S = Plan;
  wait_copies<0>();
  kept.note_scale(at.chunk, load_gradients(t, at, peaks, factor, true));
  const InnerTables<S> inner = load_inner_tables<S, true>(tables);
  outer_in<S>();
  block_barrier();
#pragma unroll 1
  for (int pair = 0; pair < kPairs; pair++) {
    const int item0 = 2 * pair, item1 = item0 + 1;
    const Quarters x0 = load_slot<S>(item0), x1 = load_slot<S>(item1);
    kept.put(at.chunk, item0, spectrum_of<S>(shift_of<S>(0), x0, inner));
    kept.put(at.chunk, item1, spectrum_of<S>(shift_of<S>(1), x1, inner));
  }
  block_barrier();
}

// dv_j from the C of the row's chunks that chunk j reaches; du and dgate_in.
DEVICE void gradients_back(const Tensors& t, const ChunkAt& at, const Filters& filters, const Kept& kept,
                           const uint4* tables, float filter_back) {
  using S = Plan;
  const int beyond = at.chunk + filters.count, last = (beyond < at.row.chunks ? beyond : at.row.chunks) - 1;
  const float most = kept.largest_scale(at.chunk, last);
  if constexpr (GATE_IN) at.approach(t.u), at.approach(t.gate_in);
  {
    const InnerTables<S> inner = load_inner_tables<S, true>(tables);
#pragma unroll 1
    for (int pair = 0; pair < kPairs; pair++) {
      const int item0 = 2 * pair;
      Work z[2] = {};
#pragma unroll 1
      for (int from = last; from >= at.chunk; from--) {
        const float weight = kept.scale(from) / most;
        const StoredTile k[2] = {filters.get(from - at.chunk, item0), filters.get(from - at.chunk, item0 + 1)};
        const StoredTile x[2] = {kept.get(from, item0), kept.get(from, item0 + 1)};
#pragma unroll
        for (int i = 0; i < 2; i++) add_conjugate_of_correlation(z[i], k[i], work_of(weighted(x[i], weight)));
      }
      store_back<S>(item0, shift_of<S>(0), to_half(z[0]), inner);
      store_back<S>(item0 + 1, shift_of<S>(1), to_half(z[1]), inner);
    }
  }
  block_barrier();
  outer_back<S>();
  block_barrier();
  store_gradients(t, at, most * filter_back);
}

// Rows of a share whose spectra are kept at a time: numbers from `begin` on, `step` apart.
struct KeptRows {
  const uint4* table;
  int begin, end, step;
};

// Adds their conj(X_j) C_(j + d) to the sums of every d; `fresh`: they hold nothing yet.
DEVICE void add_products(const KeptRows& rows, int filter_chunks, Kept x, Kept c, uint4* sums, bool fresh) {
  using S = Plan;
  const int longest = row_of(rows.table, rows.begin).chunks;
  const int most = fresh || filter_chunks < longest ? filter_chunks : longest;
#pragma unroll 1
  for (int item = 0; item < S::kItems; item++) {
    // Two d at a time: what C_(j + d + 1) is to one, C_(j + 1 + d) is to the other in the next round.
#pragma unroll 1
    for (int d = 0; d < most; d += 2) {
      uint4* to = sums + (static_cast<i64>(d) * (S::kSize / 256) + place_of<S>(item)) * 128 + lane_index();
      const bool second = d + 1 < most;
      Tile sum[2] = {};
      if (!fresh) sum[0] = load_sums(to);
      if (!fresh && second) sum[1] = load_sums(to + S::kSize / 2);
      x.place = c.place = 0;
#pragma unroll 1
      for (int number = rows.begin; number < rows.end; number += rows.step) {
        const int chunks = row_of(rows.table, number).chunks;
        StoredTile own = d < chunks ? c.get(d, item) : StoredTile{};
#pragma unroll 1
        for (int chunk = 0; chunk + d < chunks; chunk++) {
          const bool more = chunk + d + 1 < chunks;
          const StoredTile left = x.get(chunk, item), next = more ? c.get(chunk + d + 1, item) : StoredTile{};
          const float scale = x.scale(chunk);
          add_correlation(sum[0], left, work_of(own), scale * c.scale(chunk + d));
          if (more && second) add_correlation(sum[1], left, work_of(next), scale * c.scale(chunk + d + 1));
          own = next;
        }
        x.place += chunks, c.place += chunks;
      }
      store_sums(to, sum[0]);
      if (second) store_sums(to + S::kSize / 2, sum[1]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    chunk_gradients(u16* u, u16* gate_in, u16* gate_out, u16* dy, u16* du, u16* dgate_in, u16* dgate_out,
                    const uint4* filter, const float* filter_scale, uint4* partial, const uint4* tables,
                    const uint4* rows, uint4* workspace, int row_count, int channels, int filter_chunks,
                    int kept_chunks, int slices, i64 u_channel, i64 gate_in_channel, i64 gate_out_channel,
                    i64 dy_channel, i64 own_channel) {
  using S = Plan;
  launch_dependents();
  const Tensors t{{u, u_channel},    {gate_in, gate_in_channel}, {gate_out, gate_out_channel}, {dy, dy_channel},
                  {du, own_channel}, {dgate_in, own_channel},    {dgate_out, own_channel}};
  uint4* own = workspace + static_cast<i64>(block_index()) * 2 * kept_chunks * (S::kSize / 4);
  Kept xs{own, 0}, cs{own + static_cast<i64>(kept_chunks) * (S::kSize / 4), 1};
  set_up<S>(tables);
  Peaks peaks;
  for (int job = block_index(); job < channels * slices; job += grid_size()) {
    const int channel = job / slices, slice = job % slices;
    const Filters filters(filter, channel, filter_chunks);
    const float filter_back = filter_scale[channel];
    uint4* sums = partial + (static_cast<i64>(slice) * channels + channel) * filter_chunks * (S::kSize / 2);
    // As many rows as there is room for, the longest first; then what they add to the sums, which is met once for all.
    for (int begin = slice, number = slice; begin < row_count; begin = number) {
      xs.place = cs.place = 0;
      for (; number < row_count; number += slices) {
        const Row row = row_of(rows, number);
        if (xs.place + row.chunks > kept_chunks) break;
        ChunkAt at{row, channel, 0};
        at.prefetch(t.u);
        if constexpr (GATE_IN) at.approach(t.gate_in);
        commit_copies();
        for (; at.chunk < row.chunks; at.chunk++) {
          float factor;
          transform_inputs(t, at, filters, xs, tables, peaks, factor);
          transform_gradients(t, at, cs, tables, peaks, factor * filter_back);
          if (at.chunk + 1 < row.chunks) {
            const ChunkAt next{row, channel, at.chunk + 1};
            next.prefetch(t.u);
            if constexpr (GATE_IN) next.approach(t.gate_in);
          }
          commit_copies();
        }
        for (at.chunk = 0; at.chunk < row.chunks; at.chunk++) gradients_back(t, at, filters, cs, tables, filter_back);
        xs.place += row.chunks, cs.place += row.chunks;
      }
      add_products({rows, begin, number, slices}, filter_chunks, xs, cs, sums, begin == slice);
    }
  }
}
