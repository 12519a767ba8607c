// Gradients of y = gate_out * c, c = (k + D) conv v, v = gate_in * u, recomputed from the inputs:
//   dgate_out = dy c,   dc = dy gate_out,   dv = (k + D) correlated with dc,   du = dv gate_in,   dgate_in = dv u,
// and partial sums over the batch of conj T(v) T(dc), from which filter_grad makes dk and dD. A job is one channel and
// one slice of the batch; it stays with one block, so every sum has a fixed order.
#include <outer.cuh>
#include <products.cuh>
#include <rows.cuh>

template <class S>
DEVICE void product(float (&v)[8], const Rows& x, const Rows& gate, bool gated, const Batch& at, int tile) {
  unpack_chunk(v, fetch_chunk<S>(x, at, tile));
  if (!gated) return;
  float factor[8];
  unpack_chunk(factor, fetch_chunk<S>(gate, at, tile));
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] *= factor[i];
}

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
  Peaks peaks;

  for (int job = block_index(); job < channels * slices; job += grid_size()) {
    const int channel = job / slices, slice = job % slices;
    const int first = static_cast<int>(static_cast<i64>(steps) * slice / slices);
    const int last = static_cast<int>(static_cast<i64>(steps) * (slice + 1) / slices);
    const float filter_back = filter_scale[channel];
    const uint4* own_filter = filters + static_cast<i64>(channel) * S::kSplit * S::kRadix * 64;
    uint4* own_partial =
        partial + ((static_cast<i64>(slice) * channels + channel) * S::kSplit * 16 + warp_index()) * 128 + lane_index();
    Tile sum = {};
    for (int step = first; step < last; step++) {
      const Batch at{step, channel, batches, length};
      float back_v[S::kGroups], back_c[S::kGroups];
      load_samples<S>([&](int tile, float(&v)[8]) { product<S>(v, us, ins, GATE_IN, at, tile); }, peaks, back_v);
      outer_in<S>();
      block_barrier();
#pragma unroll 1
      for (int tile = 0; tile < S::kTiles; tile++) {
        const Tile z = spectrum_of<S>(tile, inner);
        keep.put(tile, stored(to_half(z)));
        if constexpr (GATE_OUT) {
          const StoredTile k = load_stored(own_filter + (tile % S::kSplit) * S::kRadix * 64);
          store_inverse<S>(tile, conjugate_of_product(k, z), inner);
        }
      }
      block_barrier();
      if constexpr (GATE_OUT) {
        outer_back<S>();
        block_barrier();
#pragma unroll
        for (int tile = 0; tile < S::kTiles; tile++) {
          float c[8], factor[8];
          load_own<S>(c, tile);
          unpack_chunk(factor, fetch_chunk<S>(dys, at, tile));
          const float scale = back_v[tile / S::kSplit] * filter_back;
#pragma unroll
          for (int i = 0; i < 8; i++) c[i] *= scale * factor[i];
          put_chunk<S>(douts, at, tile, c);
        }
      }

      load_samples<S>([&](int tile, float(&v)[8]) { product<S>(v, dys, outs, GATE_OUT, at, tile); }, peaks, back_c);
      outer_in<S>();
      block_barrier();
#pragma unroll 1
      for (int tile = 0; tile < S::kTiles; tile++) {
        const int branch = tile % S::kSplit, group = tile / S::kSplit;
        const Tile z = spectrum_of<S>(tile, inner);
        float weight = back_v[0] * back_c[0];
#pragma unroll
        for (int i = 1; i < S::kGroups; i++) weight = group == i ? back_v[i] * back_c[i] : weight;
        if constexpr (S::kSplit == 1) {
          add_correlation(sum, keep.get(tile), z, weight);
        } else {
          uint4* at_sum = own_partial + branch * 16 * 128;
          Tile running = {};
          if (step > first || group > 0) running = load_sums(at_sum);
          add_correlation(running, keep.get(tile), z, weight);
          store_sums(at_sum, running);
        }
        const StoredTile k = load_stored(own_filter + branch * S::kRadix * 64);
        store_inverse<S>(tile, conjugate_of_correlation(k, z), inner);
      }
      block_barrier();
      outer_back<S>();
      block_barrier();
#pragma unroll
      for (int tile = 0; tile < S::kTiles; tile++) {
        float v[8], out[8], factor[8];
        load_own<S>(v, tile);
        const float scale = back_c[tile / S::kSplit] * filter_back;
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] *= scale;
        if constexpr (GATE_IN) {
          unpack_chunk(factor, fetch_chunk<S>(ins, at, tile));
#pragma unroll
          for (int i = 0; i < 8; i++) out[i] = v[i] * factor[i];
          put_chunk<S>(dus, at, tile, out);
          unpack_chunk(factor, fetch_chunk<S>(us, at, tile));
#pragma unroll
          for (int i = 0; i < 8; i++) out[i] = v[i] * factor[i];
          put_chunk<S>(dins, at, tile, out);
        } else {
          put_chunk<S>(dus, at, tile, v);
        }
      }
    }
    if (S::kSplit == 1 || first == last) {
      for (int branch = 0; branch < S::kSplit; branch++) store_sums(own_partial + branch * 16 * 128, sum);
    }
  }
}
