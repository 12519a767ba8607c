// What the kernels of clusters share: block j has the spectrum of chunk j of a row in its exchange buffer, and each
// block takes a share of the slots, of which it reads and writes those of all blocks.
#pragma once
#include <chunked/rows.cuh>
#include <one_sm/products.cuh>

using S = Plan;
constexpr int kBlocks = PLAN_CLUSTER;
constexpr int kParts = 2 * S::kItems;  // halves of a warp's slots, which blocks share out
constexpr i64 kChunk = S::kSize / 4;   // words of 16 bytes of a spectrum

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
DEVICE uint4 conjugate(const uint4& x) { return {x.x, negate_half(x.y), x.z, negate_half(x.w)}; }

// What undoes the scaling of the chunks of a row; the largest, at which sums over chunks are kept, not-a-number if any
// is; and what brings chunks to that.
struct Scales {
  float of[kBlocks], most = 0;
  u32 weight[kBlocks];
  DEVICE void level(uint4 (&z)[kBlocks]) const {
#pragma unroll
    for (int j = 0; j < kBlocks; j++) z[j] = times(z[j], weight[j]);
  }
};

// The cluster's shared memories.
struct Cluster {
  int rank = cluster_rank();
  u32 base[kBlocks];
  DEVICE Cluster() {
#pragma unroll
    for (int j = 0; j < kBlocks; j++) base[j] = map_shared(shared_base(), j);
  }
  // which: 0, or 1 for a second scale. To be read after the cluster's next barrier.
  DEVICE void note_scale(int which, float scale) const {
    if (warp_index() == 0) store_shared4(shared_base() + kScales + 4 * which, as_bits(scale));
  }
  DEVICE Scales scales(int which) const {
    Scales out;
#pragma unroll
    for (int j = 0; j < kBlocks; j++) {
      out.of[j] = as_float(load_cluster4(base[j] + kScales + 4 * which));
      out.most = larger(out.most, out.of[j]);
    }
#pragma unroll
    for (int j = 0; j < kBlocks; j++) out.weight[j] = pack_half(out.of[j] / out.most, out.of[j] / out.most);
    return out;
  }
};

// What outer_in left in the exchange buffer -> the spectrum of this block's chunk, in the buffer if kShared, after
// keep(item, spectrum) has seen each slot's. kAtOnce: pairs of slots that are unrolled.
template <bool kShared, int kAtOnce, class Keep>
DEVICE void transform_slots(const InnerTables<S>& inner, Keep keep) {
#pragma unroll kAtOnce
  for (int pair = 0; pair < kPairs; pair++) {
    const int item0 = 2 * pair, item1 = item0 + 1;
    const Quarters x0 = load_slot<S>(item0), x1 = load_slot<S>(item1);
    const StoredTile z0 = stored(to_half(spectrum_of<S>(shift_of<S>(item0), x0, inner))),
                     z1 = stored(to_half(spectrum_of<S>(shift_of<S>(item1), x1, inner)));
    keep(item0, z0), keep(item1, z1);
    if constexpr (kShared) {
      warp_barrier();  // every lane has read these slots
#pragma unroll
      for (int n = 0; n < 2; n++) {
        store_shared16(slot_words<S>(item0) + 512 * n, z0.word[n]);
        store_shared16(slot_words<S>(item1) + 512 * n, z1.word[n]);
      }
    }
  }
}

// Spectra Z_j of all chunks -> the conjugates of what they give each chunk i, in place, of this block's share of the
// slots: the sum over d of G_d Z_(i - d), or if kBack of conj(G_d) Z_(i + d). `filter`: this lane's words of G_0.
// level(slot, words of all Z_j) brings those to one scale.
template <bool kBack, class Level>
DEVICE void multiply(const Cluster& cluster, const uint4* filter, Level level) {
#pragma unroll 1
  for (int part = cluster.rank; part < kParts; part += kBlocks) {
    const HalfSlot slot(part);
    uint4 g[kBlocks], z[kBlocks];
    const auto load_filter = [&] {
#pragma unroll
      for (int d = 0; d < kBlocks; d++) g[d] = *slot.of(filter + d * kChunk);
    };
    if constexpr (!kBack) load_filter();
#pragma unroll
    for (int j = 0; j < kBlocks; j++) z[j] = load_cluster16(cluster.base[j] + slot.offset());
    level(slot, z);
    if constexpr (kBack) {  // when `level` leaves registers to it
      load_filter();
#pragma unroll
      for (int d = 0; d < kBlocks; d++) g[d] = conjugate(g[d]);
    }
#pragma unroll
    for (int i = 0; i < kBlocks; i++) {
      Sum<HALF_SUMS> sum;
#pragma unroll
      for (int d = kBack ? kBlocks - 1 - i : i; d >= 0; d--) sum.add(g[d], z[kBack ? i + d : i - d]);
      store_cluster16(cluster.base[i] + slot.offset(), sum.conjugate());
    }
  }
}

// The conjugate of a spectrum in the exchange buffer -> results, as load_result finds them after another barrier.
template <int kAtOnce>
DEVICE void transform_back(const uint4* tables) {
  {
    const InnerTables<S> inner = load_inner_tables<S, true>(tables);
#pragma unroll kAtOnce
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
}
