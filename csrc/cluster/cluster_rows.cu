// y = gate_out * (k conv (gate_in * u) + D * gate_in * u) for rows of C chunks of P points, each row by a cluster of C
// blocks: block j transforms chunk j and leaves X_j in its shared memory. Of every slot one block then reads X_0 ...
// X_(C - 1) of all blocks and G_0 ... G_(C - 1), and leaves the spectra of all chunks of the result,
//     Y_i = sum over d of G_d X_(i - d),    G_d = T(k_d + i k_(d - 1)),
// where the X_i were. So spectra of rows never leave the multiprocessors, and filters are read once for a row, however
// many products there are.
#include <cluster/shares.cuh>

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    cluster_rows(u16* u, u16* gate_in, u16* gate_out, u16* y, const uint4* filter, const float* filter_scale,
                 const uint4* tables, int batches, int channels, int length, u32 u_batch, u32 u_channel,
                 u32 gate_in_batch, u32 gate_in_channel, u32 gate_out_batch, u32 gate_out_channel) {
  constexpr bool kStream = true;
  const int start = cluster_rank() * S::kSize;
  const Rows us{u + start, u_batch, u_channel}, ins{gate_in + start, gate_in_batch, gate_in_channel};
  const Rows outs{gate_out + start, gate_out_batch, gate_out_channel};
  const Rows ys{y + start, static_cast<u32>(channels) * length, static_cast<u32>(length)};
  // Clusters take neighbouring rows, so that all read the same few filters at a time.
  const int units = channels * batches, stride = grid_size() / kBlocks;
  const auto batch_of = [&](int unit) { return Batch{unit % batches, unit / batches, batches, length - start}; };
  const auto bring = [&](int unit) {
    if (unit < units) {
      prefetch_all<S, kStream>(us, batch_of(unit), S::kSamples);
      if constexpr (GATE_IN) prefetch_to_l2<S>(ins, batch_of(unit));
    }
    commit_copies();
  };
  set_up<S>(tables);
  const Cluster cluster;
  Peaks peaks;
  bring(block_index() / kBlocks);
  for (int unit = block_index() / kBlocks; unit < units; unit += stride) {
    const Batch at = batch_of(unit);
    wait_copies<0>();
    if constexpr (GATE_OUT) prefetch_to_l2<S>(outs, at);
    float back[1];
    {
      const Chunks<S, !GATE_IN> gate(Window<S, kStream>(ins, at), 0);
      load_samples<S>(
          [&](int item, float (&v)[8], bool) {
            unpack_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
            if constexpr (GATE_IN) multiply_chunk(v, gate(item));
          },
          peaks, back);
    }
    cluster.note_scale(0, back[0]);
    {
      const InnerTables<S> inner = load_inner_tables<S, true>(tables);
      outer_in<S>();
      block_barrier();
      bring(unit + stride);
      transform_slots<true, kPairs>(inner, [](int, const StoredTile&) {});
    }
    cluster_barrier();
    const Scales scales = cluster.scales(0);
    const uint4* spectra = filter + static_cast<i64>(at.channel) * kBlocks * kChunk + lane_index();
    multiply<false>(cluster, spectra, [&](const HalfSlot&, uint4(&x)[kBlocks]) { scales.level(x); });
    const float factor = scales.most * filter_scale[at.channel];
    cluster_barrier();
    transform_back<kPairs>(tables);
    const Window<S, kStream> out(ys, at);
    const Chunks<S, !GATE_OUT> gate(Window<S, kStream>(outs, at), 0);
    block_barrier();
#pragma unroll
    for (int item = 0; item < S::kItems; item++) {
      float v[8];
      load_result<S>(v, item);
      if constexpr (GATE_OUT) multiply_chunk(v, gate(item));
      out.put(item, v, factor);
    }
  }
}
