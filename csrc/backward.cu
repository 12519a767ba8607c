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
  const uint4* filters = filter + outer_index<S>(0) * 64 + lane_index();
  const int steps = (batches + S::kRowsPerStep - 1) / S::kRowsPerStep;
  const int jobs = channels * slices;
  const auto first_of = [&](int slice) { return static_cast<int>(static_cast<i64>(steps) * slice / slices); };
  const auto step_at = [&](int job, int past) {  // the step `past` the first of
                                                 // a job; each has one at least
    return Batch{first_of(job % slices) + past, job / slices, batches, length};
  };
  constexpr bool kStagedGate = S::kStaged == 2, kStagedSecond = S::kStaged >= 1;
  const auto lot_of = [](int item) { return tile_of<S>(item) / S::kSplit * S::kPasses + item % S::kPasses; };
  constexpr bool kOneFilter = S::kSplit == 1 && !S::kTurned;  // of a channel and warp
  Peaks peaks;

  if (block_index() < jobs) {
    prefetch_all<S>(us, step_at(block_index(), 0), S::kSamples);
    if constexpr (GATE_IN && kStagedGate) prefetch_all<S>(ins, step_at(block_index(), 0), S::kFirst);
    commit_copies();
  }
  for (int job = block_index(); job < jobs; job += grid_size()) {
    const int channel = job / slices, slice = job % slices, count = first_of(slice + 1) - first_of(slice);
    const float filter_back = filter_scale[channel];
    const uint4* own_filter = filters + static_cast<i64>(channel) * S::kSplit * S::kRadix * 64;
    const auto filter_of = [&](int item) {
      return load_stored(own_filter + (tile_of<S>(item) % S::kSplit * S::kRadix + turn_of<S>(item) * S::kWarps) * 64);
    };
    StoredTile only_filter;  // where there is one
    if constexpr (kOneFilter) only_filter = filter_of(0);
    uint4* own_partial =
        partial + ((static_cast<i64>(slice) * channels + channel) * S::kSplit * 16 + warp_index()) * 128 + lane_index();
    Tile sums[1 + S::kTurned] = {};
    for (int past = 0; past < count; past++) {
      const Batch at = step_at(job, past);
      const bool more = past + 1 < count || job + grid_size() < jobs;
      const Batch next = past + 1 < count ? step_at(job, past + 1) : step_at(job + grid_size(), 0);
      float back_v[S::kGroups * S::kPasses], back_c[S::kGroups * S::kPasses];

      wait_copies<0>();
      if constexpr (kStagedSecond) prefetch_all<S>(dys, at, S::kSecond);
      else approach<S>(dys, at);
      commit_copies();
      {
        const Chunks<S, !GATE_IN || kStagedGate> gate(Window<S>(ins, at), S::kFirst);
        load_samples<S>(
            [&](int item, float (&v)[8]) {
              unpack_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
              if constexpr (GATE_IN) multiply_chunk(v, gate(item));
            },
            peaks, back_v);
      }
      // Kept through a whole step, the matrices would be spilled: they are loaded for each half of it.
      const InnerTables<S> inner = load_inner_tables<S>(tables);
      outer_in<S>();
      block_barrier();
      if constexpr (GATE_OUT) prefetch_all<S>(outs, at, S::kSamples);
      commit_copies();
#pragma unroll 1
      for (int tile = 0; tile < S::kTiles; tile++) {
#pragma unroll
        for (int pass = 0; pass < S::kPasses; pass++) {
          const int item = tile * S::kPasses + pass;
          StoredTile k = only_filter;
          if constexpr (GATE_OUT && !kOneFilter) k = filter_of(item);
          const Work z = spectrum_of<S>(pass, load_slot<S>(item), inner);
          keep.put(item, stored(to_half(z)));
          if constexpr (GATE_OUT) store_back<S>(item, conjugate_of_product(k, z), inner);
        }
      }
      block_barrier();
      if constexpr (GATE_OUT) outer_back<S>();
      wait_copies<0>();
      {
        const Chunks<S, kStagedSecond> dy_chunk(Window<S>(dys, at), S::kSecond);
        if constexpr (GATE_OUT) {
          block_barrier();
          const Window<S> dgate(douts, at);
#pragma unroll
          for (int item = 0; item < S::kItems; item++) {
            float c[8];
            load_own<S>(c, item);
            multiply_chunk(c, dy_chunk(item));
            scale_chunk(c, back_v[lot_of(item)] * filter_back);
            dgate.put(item, c);
          }
        }
        load_samples<S>(
            [&](int item, float (&v)[8]) {
              unpack_chunk(v, dy_chunk(item));
              if constexpr (GATE_OUT) multiply_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
            },
            peaks, back_c);
      }
      if constexpr (GATE_IN && kStagedSecond) prefetch_all<S>(us, at, S::kSecond);
      commit_copies();
      const InnerTables<S> inner_again = load_inner_tables<S>(tables);
      outer_in<S>();
      block_barrier();
      if (more) {
        prefetch_all<S>(us, next, S::kSamples);
        if constexpr (GATE_IN && !kStagedGate) approach<S>(ins, next);
      }
      commit_copies();
#pragma unroll 1
      for (int branch = 0; branch < S::kSplit; branch++) {
#pragma unroll
        for (int pass = 0; pass < S::kPasses; pass++) {
          StoredTile k = only_filter;
          if constexpr (!kOneFilter) k = filter_of(branch * S::kPasses + pass);
          Tile& sum = sums[S::kTurned ? pass : 0];
          uint4* at_sum = own_partial + (branch * 16 + pass * S::kWarps) * 128;
          if constexpr (S::kSplit > 1) sum = past > 0 ? load_sums(at_sum) : Tile{};
#pragma unroll
          for (int group = 0; group < S::kGroups; group++) {
            const int item = (group * S::kSplit + branch) * S::kPasses + pass, lot = group * S::kPasses + pass;
            const Work z = spectrum_of<S>(pass, load_slot<S>(item), inner_again);
            add_correlation(sum, keep.get(item), z, back_v[lot] * back_c[lot]);
            store_back<S>(item, conjugate_of_correlation(k, z), inner_again);
          }
          if constexpr (S::kSplit > 1) store_sums(at_sum, sum);
        }
      }
      block_barrier();
      outer_back<S>();
      wait_copies<1>();
      {
        const Chunks<S, !GATE_IN || kStagedGate> gate(Window<S>(ins, at), S::kFirst);
        block_barrier();
        const Window<S> du_out(dus, at);
#pragma unroll
        for (int item = 0; item < S::kItems; item++) {
          float v[8];
          load_own<S>(v, item);
          if constexpr (GATE_IN) multiply_chunk(v, gate(item));
          scale_chunk(v, back_c[lot_of(item)] * filter_back);
          du_out.put(item, v);
        }
      }
      if constexpr (GATE_IN) {
        const Chunks<S, kStagedSecond> u_chunk(Window<S>(us, at), S::kSecond);
        const Window<S> dgate(dins, at);
#pragma unroll
        for (int item = 0; item < S::kItems; item++) {
          float v[8];
          load_own<S>(v, item);
          multiply_chunk(v, u_chunk(item));
          scale_chunk(v, back_c[lot_of(item)] * filter_back);
          dgate.put(item, v);
        }
        if constexpr (kStagedGate) {
          if (more) prefetch_all<S>(ins, next, S::kFirst);
        }
      }
      commit_copies();
    }
    if constexpr (S::kSplit == 1) {
#pragma unroll
      for (int pass = 0; pass < S::kPasses; pass++)  // rows packed into one tile share their sum: the second is
                                                     // empty
        store_sums(own_partial + pass * S::kWarps * 128, pass < 1 + S::kTurned ? sums[pass] : Tile{});
    }
  }
}
