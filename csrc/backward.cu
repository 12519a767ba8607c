// Gradients of y = gate_out * c, c = (k + D) conv v, v = gate_in * u,
// recomputed from the inputs:
//   dgate_out = dy c,   dc = dy gate_out,   dv = (k + D) correlated with dc, du
//   = dv gate_in,   dgate_in = dv u,
// and partial sums over the batch of conj T(v) T(dc), from which filter_grad
// makes dk and dD. A job is one channel and one slice of the batch; it stays
// with one block, so every sum has a fixed order.
#include <outer.cuh>
#include <products.cuh>
#include <rows.cuh>

// T(v) of an item between the two halves of a step: in shared memory, or in this block's part of a workspace.
template <class S>
struct Keep {
  uint4* workspace;
  DEVICE int place(int item) const { return tile_of<S>(item) * 16 + slot_of<S>(item); }
  DEVICE u32 shared_at(int item, int n) const {
    return shared_base() + S::kSpectrum + (place(item) * 2 + n) * 512 + lane_index() * 16;
  }
  DEVICE uint4* global_at(int item) const {
    return workspace + (static_cast<i64>(block_index()) * S::kTiles * 16 + place(item)) * 64 + lane_index();
  }
  DEVICE void put(int item, const StoredTile& x) const {
#pragma unroll
    for (int n = 0; n < 2; n++) {
      if constexpr (S::kSpectrumInShared) store_shared16(shared_at(item, n), x.word[n]);
      else global_at(item)[32 * n] = x.word[n];
    }
  }
  DEVICE StoredTile get(int item) const {
    if constexpr (S::kSpectrumInShared) return {{load_shared16(shared_at(item, 0)), load_shared16(shared_at(item, 1))}};
    else return load_stored(global_at(item));
  }
};

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    backward(u16* u, u16* gate_in, u16* gate_out, u16* dy, u16* du, u16* dgate_in, u16* dgate_out, const uint4* filter,
             const float* filter_scale, uint4* partial, uint4* workspace, const uint4* tables, int batches,
             int channels, int length, int slices, i64 u_batch, i64 u_channel, i64 gate_in_batch, i64 gate_in_channel,
             i64 gate_out_batch, i64 gate_out_channel, i64 dy_batch, i64 dy_channel) {
  using S = Plan;
  const i64 row = length, image = row * channels;
  const Rows us{u, u_batch, u_channel}, ins{gate_in, gate_in_batch, gate_in_channel};
  const Rows outs{gate_out, gate_out_batch, gate_out_channel}, dys{dy, dy_batch, dy_channel};
  const Rows dus{du, image, row}, dins{dgate_in, image, row}, douts{dgate_out, image, row};
  set_up<S>(tables);
  const Keep<S> keep{workspace};
  const int steps = (batches + S::kRowsPerStep - 1) / S::kRowsPerStep;
  const int jobs = channels * slices;
  const auto first_of = [&](int slice) { return static_cast<int>(static_cast<i64>(steps) * slice / slices); };
  const auto start_of = [&](int job) {  // a job's first step; each has one at least
    return Batch{first_of(job % slices), job / slices, batches, length};
  };
  constexpr bool kStagedGate = S::kStaged == 2, kStagedSecond = S::kStaged >= 1;
  Peaks peaks;
  constexpr bool kOneFilter = S::kSpan == 1 && !S::kTurned;  // of a channel and warp
  // Sums over the batch: in registers, or where a warp has too many, in their place in device memory.
  constexpr bool kSumsInRegisters = S::kSpan == 1;
  constexpr int kOwn = S::kSpan * S::kPasses;  // items of a row group
  // Whether the second half's requests are spread over its items; measured.
  constexpr bool kSpread = S::kRadix == 16 && S::kWarps == 16;

  if (block_index() < jobs) {
    prefetch_all<S>(us, start_of(block_index()), S::kSamples);
    if constexpr (GATE_IN && kStagedGate) prefetch_all<S>(ins, start_of(block_index()), S::kFirst);
    commit_copies();
  }
  for (int job = block_index(); job < jobs; job += grid_size()) {
    const Batch start = start_of(job), following = start_of(job + grid_size());
    const int channel = start.channel, slice = job % slices, count = first_of(slice + 1) - start.step;
    const float filter_back = filter_scale[channel];
    const uint4* own_filter = filter + static_cast<i64>(channel) * (S::kSplit * S::kRadix * 64) + lane_index();
    const auto filter_of = [&](int item) { return load_stored(own_filter + place_of<S>(item) * 64); };
    StoredTile only_filter;  // where there is one
    if constexpr (kOneFilter) only_filter = filter_of(0);
    // Rows that share a tile are of one channel: a warp has one sum, and those with the same a' are added up later.
    constexpr int kShares = S::kRadix < 16 ? S::kWarps / S::kRadix : 1;
    uint4* own_partial = partial +
                         (static_cast<i64>(slice) * channels + channel) * (kShares * S::kSplit * S::kRadix * 128) +
                         lane_index();
    const auto partial_of = [&](int item) {
      return own_partial + (S::kRadix < 16 ? warp_index() : place_of<S>(item)) * 128;
    };
    Tile sums[1 + S::kTurned] = {};
    for (int past = 0; past < count; past++) {
      const Batch at{start.step + past, channel, batches, length};
      const bool more = past + 1 < count || job + grid_size() < jobs;
      const Batch next = past + 1 < count ? Batch{at.step + 1, channel, batches, length} : following;
      float back_v[S::kGroups * S::kPasses], back_c[S::kGroups * S::kPasses];

      wait_copies<0>();
      if constexpr (!kStagedSecond) approach<S>(dys, at);
      if constexpr (kStagedSecond && kSpread) prefetch_all<S>(dys, at, S::kSecond);
      {
        const Chunks<S, !GATE_IN || kStagedGate> gate(Window<S>(ins, at), S::kFirst);
        const Window<S> dy_window(dys, at);
        load_samples<S>(
            [&](int item, float (&v)[8], bool once) {
              unpack_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
              if constexpr (GATE_IN) multiply_chunk(v, gate(item));
              if (kStagedSecond && !kSpread && once) dy_window.prefetch(item, S::kSecond);
            },
            peaks, back_v);
      }
      // Kept through a whole step, the matrices would be spilled: they are loaded for each half of it.
      const InnerTables<S> inner = load_inner_tables<S, true>(tables);
      outer_in<S>();
      block_barrier();
      if constexpr (GATE_OUT) prefetch_all<S>(outs, at, S::kSamples);
      commit_copies();
#pragma unroll 1
      for (int i = 0; i < S::kItems / S::kTurns; i++) {
#pragma unroll
        for (int turn = 0; turn < S::kTurns; turn++) {
          const int item = i * S::kTurns + turn;
          StoredTile k = only_filter;
          if constexpr (GATE_OUT && !kOneFilter) k = filter_of(item);
          const Work z = spectrum_of<S>(turn_of<S>(turn), load_slot<S>(item), inner);
          keep.put(item, stored(to_half(z)));
          if constexpr (GATE_OUT) store_back<S>(item, turn_of<S>(turn), conjugate_of_product(k, z), inner);
        }
      }
      block_barrier();
      if constexpr (GATE_OUT) outer_back<S>();
      wait_copies<0>();
      {
        const Chunks<S, kStagedSecond> dy_chunk(Window<S>(dys, at), S::kSecond);
        const Window<S> dgate(douts, at);
        if constexpr (GATE_OUT) block_barrier();
        load_samples<S>(
            [&](int item, float (&v)[8], bool once) {
              unpack_chunk(v, dy_chunk(item));
              if constexpr (GATE_OUT) {
                if (once) {
                  float c[8];
                  load_result<S>(c, item);
#pragma unroll
                  for (int i = 0; i < 8; i++) c[i] *= v[i];
                  dgate.put(item, c, back_v[lot_of<S>(item)] * filter_back);
                }
                multiply_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
              }
            },
            peaks, back_c);
      }
      if constexpr (GATE_IN && kStagedSecond && !kSpread) prefetch_all<S>(us, at, S::kSecond);
      commit_copies();
      const InnerTables<S> inner_again = load_inner_tables<S, true>(tables);
      outer_in<S>();
      block_barrier();
      if constexpr (GATE_IN && !kStagedGate) {
        if (more) approach<S>(ins, next);
      }
      const Window<S> u_window(us, at), next_u(us, next);
      const auto request = [&](int item) {
        if constexpr (GATE_IN && kStagedSecond && kSpread) u_window.prefetch(item, S::kSecond);
        if (more) next_u.prefetch(item, S::kSamples);
      };
      if constexpr (!kSpread) {
#pragma unroll
        for (int item = 0; item < S::kItems; item++) request(item);
        commit_copies();
      }
#pragma unroll 1
      for (int i = 0; i < kOwn / S::kTurns; i++) {
#pragma unroll
        for (int turn = 0; turn < S::kTurns; turn++) {
          const int own = i * S::kTurns + turn;
          StoredTile k = only_filter;
          if constexpr (!kOneFilter) k = filter_of(own);
          Tile& sum = sums[S::kTurned ? turn : 0];
          if constexpr (!kSumsInRegisters) sum = {};
#pragma unroll
          for (int group = 0; group < S::kGroups; group++) {
            const int item = group * kOwn + own, lot = group * S::kPasses + turn % S::kPasses;
            const Quarters x = load_slot<S>(item);
            if constexpr (kSpread) request(item);
            const Work z = spectrum_of<S>(turn_of<S>(turn), x, inner_again);
            add_correlation(sum, keep.get(item), z, back_v[lot] * back_c[lot]);
            store_back<S>(item, turn_of<S>(turn), conjugate_of_correlation(k, z), inner_again);
          }
          if constexpr (!kSumsInRegisters) {
            if (past > 0) add_sums(partial_of(own), sum);
            else store_sums(partial_of(own), sum);
          }
        }
      }
      if constexpr (kSpread) commit_copies();
      block_barrier();
      outer_back<S>();
      wait_copies<kSpread ? 0 : 1>();
      const Window<S> du_out(dus, at), dgate(dins, at), in_window(ins, at), next_in(ins, next);
      constexpr int kAtOnce = S::kItems < 4 ? S::kItems : 4;
#pragma unroll
      for (int begin = 0; begin < S::kItems; begin += kAtOnce) {
        const Chunks<S, !GATE_IN || kStagedGate, kAtOnce> gate(in_window, S::kFirst, begin);
        const Chunks<S, !GATE_IN || kStagedSecond, kAtOnce> u_chunk(u_window, S::kSecond, begin);
        if (begin == 0) block_barrier();
#pragma unroll
        for (int item = begin; item < begin + kAtOnce; item++) {
          const float factor = back_c[lot_of<S>(item)] * filter_back;
          float v[8], w[8];
          load_result<S>(v, item);
          if constexpr (GATE_IN) {
            unpack_chunk(w, u_chunk(item));
#pragma unroll
            for (int i = 0; i < 8; i++) w[i] *= v[i];
            dgate.put(item, w, factor);
            multiply_chunk(v, gate(item));
            if constexpr (kStagedGate) {
              if (more) next_in.prefetch(item, S::kFirst);
            }
          }
          du_out.put(item, v, factor);
        }
      }
      commit_copies();
    }
    if constexpr (kSumsInRegisters) {
#pragma unroll
      for (int turn = 0; turn < 1 + S::kTurned; turn++) store_sums(partial_of(turn), sums[turn]);
    }
  }
}
