// y = gate_out * (k conv (gate_in * u) + D * gate_in * u) for rows of C chunks of P points, each row by a cluster of C
// blocks: block j transforms chunk j and leaves X_j in its shared memory. Of every slot one block then reads X_0 ...
// X_(C - 1) of all blocks and G_0 ... G_(C - 1), and leaves the spectra of all chunks of the result,
//     Y_i = sum over d of G_d X_(i - d),    G_d = T(k_d + i k_(d - 1)),
// where the X_i were. So spectra of rows never leave the multiprocessors, and filters are read once for a row, however
// many products there are.
#include <one_sm/outer.cuh>
#include <one_sm/products.cuh>
#include <one_sm/rows.cuh>

using S = Plan;
static_assert(S::kGroups == 1 && S::kRadix >= 16, "a block has one chunk at a time, of whole tiles");

constexpr int kBlocks = PLAN_CLUSTER;
constexpr int kParts = 2 * S::kItems;  // halves of a warp's slots, which blocks share out
constexpr int kPairs = S::kItems / 2;
static_assert(kPairs > 0, "a warp has two slots or more");
// Behind the samples: what undoes the scaling of this block's chunk.
constexpr u32 kScale = S::kSamples + S::kTiles * 8192;

// Half a slot: this lane's word n of a stored tile, (re, im of row g; re, im of row g + 8).
struct HalfSlot {
  int item, n;
  DEVICE HalfSlot(int part) : item(part / 2), n(part % 2) {}
  DEVICE u32 offset() const { return slot_words<S>(item) - shared_base() + 512 * n; }
  DEVICE const uint4* of(const uint4* spectrum) const { return spectrum + place_of<S>(item) * 64 + 32 * n; }
};

// Sums of products of such words.
template <bool kHalf>
struct Sum {
  float re[2][2] = {}, im[2][2] = {};
  DEVICE void add(const uint4& k, const uint4& z) {
    const u32 ks[4] = {k.x, k.y, k.z, k.w}, zs[4] = {z.x, z.y, z.z, z.w};
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const float2 kre = unpack_half(ks[2 * r]), kim = unpack_half(ks[2 * r + 1]);
      const float2 zre = unpack_half(zs[2 * r]), zim = unpack_half(zs[2 * r + 1]);
      re[r][0] += zre.x * kre.x - zim.x * kim.x, re[r][1] += zre.y * kre.y - zim.y * kim.y;
      im[r][0] -= zre.x * kim.x + zim.x * kre.x, im[r][1] -= zre.y * kim.y + zim.y * kre.y;
    }
  }
  DEVICE uint4 conjugate() const {
    return {pack_half(re[0][0], re[0][1]), pack_half(im[0][0], im[0][1]), pack_half(re[1][0], re[1][1]),
            pack_half(im[1][0], im[1][1])};
  }
};
template <>
struct Sum<true> {
  u32 re[2] = {}, im[2] = {};
  DEVICE void add(const uint4& k, const uint4& z) {
    const u32 ks[4] = {k.x, k.y, k.z, k.w}, zs[4] = {z.x, z.y, z.z, z.w};
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const u32 kre = ks[2 * r], kim = ks[2 * r + 1], zre = zs[2 * r], minus = negate_half(zs[2 * r + 1]);
      re[r] = fuse_half(zre, kre, fuse_half(minus, kim, re[r]));
      im[r] = fuse_half(negate_half(zre), kim, fuse_half(minus, kre, im[r]));
    }
  }
  DEVICE uint4 conjugate() const { return {re[0], im[0], re[1], im[1]}; }
};

// The cluster's shared memories.
struct Cluster {
  u32 base[kBlocks];
  DEVICE Cluster() {
#pragma unroll
    for (int j = 0; j < kBlocks; j++) base[j] = map_shared(shared_base(), j);
  }
};

// X_j -> conj Y_i in place, of this block's share of the slots; returns what undoes the scaling of all chunks.
// `filter`: this lane's words of G_0; those of G_d are `kSize / 4` further on.
DEVICE float multiply(const Cluster& cluster, const uint4* filter, int rank) {
  float scale[kBlocks], most = 0;
#pragma unroll
  for (int j = 0; j < kBlocks; j++) {
    scale[j] = as_float(load_cluster4(cluster.base[j] + kScale));
    most = larger(most, scale[j]);
  }
  u32 weight[kBlocks];
#pragma unroll
  for (int j = 0; j < kBlocks; j++) weight[j] = pack_half(scale[j] / most, scale[j] / most);
#pragma unroll 1
  for (int part = rank; part < kParts; part += kBlocks) {
    const HalfSlot slot(part);
    uint4 g[kBlocks], x[kBlocks];
#pragma unroll
    for (int d = 0; d < kBlocks; d++) g[d] = *slot.of(filter + static_cast<i64>(d) * (S::kSize / 4));
#pragma unroll
    for (int j = 0; j < kBlocks; j++) x[j] = load_cluster16(cluster.base[j] + slot.offset());
#pragma unroll
    for (int j = 0; j < kBlocks; j++) x[j] = times(x[j], weight[j]);
#pragma unroll
    for (int i = 0; i < kBlocks; i++) {
      Sum<HALF_SUMS> sum;
#pragma unroll
      for (int d = i; d >= 0; d--) sum.add(g[d], x[i - d]);
      store_cluster16(cluster.base[i] + slot.offset(), sum.conjugate());
    }
  }
  return most;
}

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    cluster_rows(u16* u, u16* gate_in, u16* gate_out, u16* y, const uint4* filter, const float* filter_scale,
                 const uint4* tables, int batches, int channels, int length, u32 u_batch, u32 u_channel,
                 u32 gate_in_batch, u32 gate_in_channel, u32 gate_out_batch, u32 gate_out_channel) {
  constexpr bool kStream = true;
  const int rank = cluster_rank(), start = rank * S::kSize;
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
    if (warp_index() == 0) store_shared4(shared_base() + kScale, as_bits(back[0]));
    {
      const InnerTables<S> inner = load_inner_tables<S, true>(tables);
      outer_in<S>();
      block_barrier();
      bring(unit + stride);
#pragma unroll
      for (int pair = 0; pair < kPairs; pair++) {
        const int item0 = 2 * pair, item1 = item0 + 1;
        const Quarters x0 = load_slot<S>(item0), x1 = load_slot<S>(item1);
        const StoredTile z0 = stored(to_half(spectrum_of<S>(shift_of<S>(item0), x0, inner))),
                         z1 = stored(to_half(spectrum_of<S>(shift_of<S>(item1), x1, inner)));
        warp_barrier();  // every lane has read these slots
#pragma unroll
        for (int n = 0; n < 2; n++) {
          store_shared16(slot_words<S>(item0) + 512 * n, z0.word[n]);
          store_shared16(slot_words<S>(item1) + 512 * n, z1.word[n]);
        }
      }
    }
    cluster_barrier();
    const uint4* spectra = filter + static_cast<i64>(at.channel) * kBlocks * (S::kSize / 4) + lane_index();
    const float factor = multiply(cluster, spectra, rank) * filter_scale[at.channel];
    cluster_barrier();
    {
      const InnerTables<S> inner = load_inner_tables<S, true>(tables);
#pragma unroll
      for (int pair = 0; pair < kPairs; pair++) {
        const int item0 = 2 * pair, item1 = item0 + 1;
        const StoredTile z0 = load_stored_shared(slot_words<S>(item0)), z1 = load_stored_shared(slot_words<S>(item1));
        const HalfTile y0 = inverse_of<S>(item0, shift_of<S>(item0), half_tile(z0), inner),
                       y1 = inverse_of<S>(item1, shift_of<S>(item1), half_tile(z1), inner);
        warp_barrier();  // every lane has read these slots
        store_slot<S>(item0, y0);
        store_slot<S>(item1, y1);
      }
    }
    block_barrier();
    outer_back<S>();
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
