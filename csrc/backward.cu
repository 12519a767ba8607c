// Gradients of y = gate_out * c, c = (k + D) conv v, v = gate_in * u, recomputed from the inputs:
//   dgate_out = dy c,   dc = dy gate_out,   dv = (k + D) correlated with dc,   du = dv gate_in,   dgate_in = dv u,
// and partial sums over the batch of conj T(v) T(dc), from which filter_grad makes dk and dD. A job is one channel and
// one slice of the batch; it stays with one block, so every sum has a fixed order.
#include <outer.cuh>
#include <products.cuh>
#include <rows.cuh>

// T(v) of a tile between the two halves of a step: in shared memory, or in this block's part of a workspace.
template <class S>
struct Keep {
  uint4* workspace;
  DEVICE u32 shared_at(int tile, int n) const {
    return shared_base() + S::kSpectrum + ((tile * kWarps + warp_index()) * 2 + n) * 512 + lane_index() * 16;
  }
  DEVICE uint4* global_at(int tile) const {
    return workspace + ((static_cast<i64>(block_index()) * S::kTiles + tile) * kWarps + warp_index()) * 64 + lane_index();
  }
  DEVICE void put(int tile, const StoredTile& x) const {
#pragma unroll
    for (int n = 0; n < 2; n++) {
      if constexpr (S::kSpectrumInShared) store_shared16(shared_at(tile, n), x.word[n]);
      else global_at(tile)[32 * n] = x.word[n];
    }
  }
  DEVICE StoredTile get(int tile) const {
    if constexpr (S::kSpectrumInShared) return {{load_shared16(shared_at(tile, 0)), load_shared16(shared_at(tile, 1))}};
    else return load_stored(global_at(tile));
  }
};

extern "C" __global__ void __launch_bounds__(kThreads, 1)
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
  const InnerTables inner = load_inner_tables<S>(tables);
  const Keep<S> keep{workspace};
  const uint4* filters = filter + (warp_index() % S::kRadix) * 64 + lane_index();
  const int steps = (batches + S::kRowsPerStep - 1) / S::kRowsPerStep;
  const int jobs = channels * slices;
  const auto first_of = [&](int slice) { return static_cast<int>(static_cast<i64>(steps) * slice / slices); };
  const auto step_at = [&](int job, int past) {  // the step `past` the first of a job; each has one at least
    return Batch{first_of(job % slices) + past, job / slices, batches, length};
  };
  constexpr bool kStaged = S::kStagedBackward;
  // A value of a tensor: from this thread's slot of `buffer` where it was prefetched, else from device memory.
  const auto take = [](float(&v)[8], const Window<S>& from, int tile, bool staged, u32 buffer) {
    unpack_chunk(v, staged ? load_shared16(Place<S>::slot(buffer, tile)) : from.fetch(tile));
  };
  Peaks peaks;

  if (block_index() < jobs) {
    prefetch_all<S>(us, step_at(block_index(), 0), S::kSamples);
    if constexpr (GATE_IN && kStaged) prefetch_all<S>(ins, step_at(block_index(), 0), S::kFirst);
    commit_copies();
  }
  for (int job = block_index(); job < jobs; job += grid_size()) {
    const int channel = job / slices, slice = job % slices, count = first_of(slice + 1) - first_of(slice);
    const float filter_back = filter_scale[channel];
    const uint4* own_filter = filters + static_cast<i64>(channel) * S::kSplit * S::kRadix * 64;
    uint4* own_partial =
        partial + ((static_cast<i64>(slice) * channels + channel) * S::kSplit * 16 + warp_index()) * 128 + lane_index();
    Tile sum = {};
    for (int past = 0; past < count; past++) {
      const Batch at = step_at(job, past);
      const bool more = past + 1 < count || job + grid_size() < jobs;
      const Batch next = past + 1 < count ? step_at(job, past + 1) : step_at(job + grid_size(), 0);
      const Window<S> u_in(us, at), gate_in_in(ins, at), dy_in(dys, at), gate_out_in(outs, at);
      float back_v[S::kGroups], back_c[S::kGroups];

      wait_copies<0>();
      if constexpr (kStaged) prefetch_all<S>(dys, at, S::kSecond);
      commit_copies();
      load_samples<S>(
          [&](int tile, float(&v)[8]) {
            take(v, u_in, tile, true, S::kSamples);
            if constexpr (GATE_IN) {
              float gate[8];
              take(gate, gate_in_in, tile, kStaged, S::kFirst);
#pragma unroll
              for (int i = 0; i < 8; i++) v[i] *= gate[i];
            }
          },
          peaks, back_v);
      outer_in<S>();
      block_barrier();
      if constexpr (GATE_OUT) prefetch_all<S>(outs, at, S::kSamples);
      commit_copies();
#pragma unroll 1
      for (int tile = 0; tile < S::kTiles; tile++) {
        StoredTile k;
        if constexpr (GATE_OUT) k = load_stored(own_filter + (tile % S::kSplit) * S::kRadix * 64);
        const Work z = spectrum_of<S>(tile, inner);
        keep.put(tile, stored(to_half(z)));
        if constexpr (GATE_OUT) store_inverse<S>(tile, conjugate_of_product(k, z), inner);
      }
      block_barrier();
      if constexpr (GATE_OUT) {
        outer_back<S>();
        block_barrier();
      }
      wait_copies<0>();
      if constexpr (GATE_OUT) {
        const Window<S> dgate(douts, at);
#pragma unroll
        for (int tile = 0; tile < S::kTiles; tile++) {
          float c[8], factor[8];
          load_own<S>(c, tile);
          take(factor, dy_in, tile, kStaged, S::kSecond);
          const float scale = back_v[tile / S::kSplit] * filter_back;
#pragma unroll
          for (int i = 0; i < 8; i++) c[i] *= scale * factor[i];
          dgate.put(tile, c);
        }
      }

      load_samples<S>(
          [&](int tile, float(&v)[8]) {
            take(v, dy_in, tile, kStaged, S::kSecond);
            if constexpr (GATE_OUT) {
              float gate[8];
              take(gate, gate_out_in, tile, true, S::kSamples);
#pragma unroll
              for (int i = 0; i < 8; i++) v[i] *= gate[i];
            }
          },
          peaks, back_c);
      if constexpr (GATE_IN && kStaged) prefetch_all<S>(us, at, S::kSecond);
      commit_copies();
      outer_in<S>();
      block_barrier();
      if (more) prefetch_all<S>(us, next, S::kSamples);
      commit_copies();
#pragma unroll 1
      for (int branch = 0; branch < S::kSplit; branch++) {
        const StoredTile k = load_stored(own_filter + branch * S::kRadix * 64);
        uint4* at_sum = own_partial + branch * 16 * 128;
        if constexpr (S::kSplit > 1) sum = past > 0 ? load_sums(at_sum) : Tile{};
#pragma unroll
        for (int group = 0; group < S::kGroups; group++) {
          const int tile = group * S::kSplit + branch;
          const Work z = spectrum_of<S>(tile, inner);
          add_correlation(sum, keep.get(tile), z, back_v[group] * back_c[group]);
          store_inverse<S>(tile, conjugate_of_correlation(k, z), inner);
        }
        if constexpr (S::kSplit > 1) store_sums(at_sum, sum);
      }
      block_barrier();
      outer_back<S>();
      wait_copies<1>();
      block_barrier();
      const Window<S> du_out(dus, at), dgate(dins, at);
#pragma unroll
      for (int tile = 0; tile < S::kTiles; tile++) {
        float v[8], out[8], factor[8];
        load_own<S>(v, tile);
        const float scale = back_c[tile / S::kSplit] * filter_back;
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] *= scale;
        if constexpr (GATE_IN) {
          take(factor, gate_in_in, tile, kStaged, S::kFirst);
#pragma unroll
          for (int i = 0; i < 8; i++) out[i] = v[i] * factor[i];
          du_out.put(tile, out);
          take(factor, u_in, tile, kStaged, S::kSecond);
#pragma unroll
          for (int i = 0; i < 8; i++) out[i] = v[i] * factor[i];
          dgate.put(tile, out);
        } else {
          du_out.put(tile, v);
        }
      }
      if constexpr (GATE_IN && kStaged) {
        if (more) prefetch_all<S>(ins, next, S::kFirst);
      }
      commit_copies();
    }
    if constexpr (S::kSplit == 1) store_sums(own_partial, sum);
  }
}
