// Rows of different lengths in one tensor, each cut into chunks of P points, and spectra of chunks that wait in device
// memory for others of their row.
#pragma once
#include <common/spectra.cuh>
#include <one_sm/outer.cuh>
#include <one_sm/rows.cuh>

static_assert(Plan::kGroups == 1 && Plan::kRadix >= 16, "a block has one chunk at a time, of whole tiles");
constexpr int kPairs = Plan::kItems / 2;
static_assert(kPairs > 0, "a warp has two slots or more");

// Behind the samples: what undoes the scaling of chunks that are kept, of inputs and of their gradients.
constexpr int kMostChunks = 16;
constexpr u32 kScales = Plan::kSamples + Plan::kTiles * 8192;

struct Row {
  i64 start;  // in its tensors
  int length, chunks;
};
DEVICE Row row_of(const uint4* table, int number) {
  const uint4 x = table[number];
  return {static_cast<i64>(static_cast<u64>(x.y) << 32 | x.x), static_cast<int>(x.z), static_cast<int>(x.w)};
}

// A tensor (channels, T) of 16-bit values.
struct Tensor {
  u16* data;
  i64 channel_stride;
};

// One chunk of a row of one channel.
struct ChunkAt {
  Row row;
  int channel, chunk;

  DEVICE Rows of(const Tensor& tensor) const {
    return {tensor.data + channel * tensor.channel_stride + row.start + static_cast<i64>(chunk) * Plan::kSize, 0, 0};
  }
  DEVICE Batch extent() const {
    const int left = row.length - chunk * Plan::kSize;
    return {0, 0, 1, left < Plan::kSize ? left : Plan::kSize};
  }
  template <bool kStream>
  DEVICE Window<Plan, kStream> window(const Tensor& tensor) const {
    return {of(tensor), extent()};
  }
  DEVICE void approach(const Tensor& tensor) const { prefetch_to_l2<Plan>(of(tensor), extent()); }
  // To the buffer of samples; this thread's own slots.
  DEVICE void prefetch(const Tensor& tensor) const { prefetch_all<Plan, false>(of(tensor), extent(), Plan::kSamples); }
};

// Spectra of chunks as their threads left them, which nobody else reads: [place][slot] x 1 KB; and the scales of all.
// Chunk 0 of the row at hand is at `place`.
struct Kept {
  uint4* first;
  int which;  // 0: of inputs, 1: of gradients
  int place = 0;

  DEVICE uint4* at(int chunk, int item) const {
    const int slot = tile_of<Plan>(item) * 16 + slot_of<Plan>(item);
    return first + (static_cast<i64>(place + chunk) * (Plan::kTiles * 16) + slot) * 64 + lane_index();
  }
  DEVICE void put(int chunk, int item, const Work& z) const {
    const StoredTile x = stored(to_half(z));
    uint4* to = at(chunk, item);
    to[0] = x.word[0], to[32] = x.word[1];
  }
  DEVICE StoredTile get(int chunk, int item) const { return load_stored(at(chunk, item)); }

  DEVICE u32 scale_at(int chunk) const { return shared_base() + kScales + (which * kMostChunks + place + chunk) * 4; }
  DEVICE float scale(int chunk) const { return as_float(load_shared4(scale_at(chunk))); }
  // To be read after the next barrier.
  DEVICE void note_scale(int chunk, float scale) const {
    if (warp_index() == 0) store_shared4(scale_at(chunk), as_bits(scale));
  }
  // What sums over some chunks are kept at: the largest of theirs, not-a-number if any is.
  DEVICE float largest_scale(int from, int to) const {
    float most = 0;
    for (int chunk = from; chunk <= to; chunk++) most = larger(most, scale(chunk));
    return most;
  }
};

// Filters' spectra G_d of a channel, d < count: what a chunk gives the d-th chunk after it.
struct Filters {
  const uint4* first;  // of G_0 at place 0, this lane's
  int count;
  DEVICE Filters(const uint4* filter, int channel, int count_)
      : first(filter + static_cast<i64>(channel) * count_ * (Plan::kSize / 4) + lane_index()), count(count_) {}
  DEVICE StoredTile get(int d, int item) const {
    return load_stored(first + static_cast<i64>(d) * (Plan::kSize / 4) + place_of<Plan>(item) * 64);
  }
};

// A spectrum times a power of two.
DEVICE StoredTile weighted(StoredTile x, float weight) {
  if (weight == 1.0f) return x;
  const u32 pair = pack_half(weight, weight);
#pragma unroll
  for (int n = 0; n < 2; n++)
    x.word[n] = {multiply_half(x.word[n].x, pair), multiply_half(x.word[n].y, pair), multiply_half(x.word[n].z, pair),
                 multiply_half(x.word[n].w, pair)};
  return x;
}
DEVICE void weigh(Tile& x, float weight) { x = affine(x, weight, 0.0f); }
DEVICE void weigh(HalfTile& x, float weight) {
  if (weight == 1.0f) return;
  const u32 pair = pack_half(weight, weight);
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++)
      x.re[n][r] = multiply_half(x.re[n][r], pair), x.im[n][r] = multiply_half(x.im[n][r], pair);
}
DEVICE Work work_of(const StoredTile& x) {
  Work out;
  convert(out, half_tile(x));
  return out;
}

// sum += conj(k z), for the way back.
DEVICE void add_conjugate_of_product(Tile& sum, const StoredTile& k, const Tile& z) {
  for_each_place(k, [&](int n, int i, float re, float im) {
    sum.re[n][i] += z.re[n][i] * re - z.im[n][i] * im;
    sum.im[n][i] -= z.re[n][i] * im + z.im[n][i] * re;
  });
}
DEVICE void add_conjugate_of_product(HalfTile& sum, const StoredTile& stored_k, const HalfTile& z) {
  const HalfTile k = half_tile(stored_k);
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const u32 minus = negate_half(z.im[n][r]);
      sum.re[n][r] = fuse_half(z.re[n][r], k.re[n][r], fuse_half(minus, k.im[n][r], sum.re[n][r]));
      sum.im[n][r] = fuse_half(negate_half(z.re[n][r]), k.im[n][r], fuse_half(minus, k.re[n][r], sum.im[n][r]));
    }
}
// sum += k conj(z) = conj(conj(k) z), likewise.
DEVICE void add_conjugate_of_correlation(Tile& sum, const StoredTile& k, const Tile& z) {
  for_each_place(k, [&](int n, int i, float re, float im) {
    sum.re[n][i] += z.re[n][i] * re + z.im[n][i] * im;
    sum.im[n][i] += z.re[n][i] * im - z.im[n][i] * re;
  });
}
DEVICE void add_conjugate_of_correlation(HalfTile& sum, const StoredTile& stored_k, const HalfTile& z) {
  const HalfTile k = half_tile(stored_k);
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      sum.re[n][r] = fuse_half(z.re[n][r], k.re[n][r], fuse_half(z.im[n][r], k.im[n][r], sum.re[n][r]));
      sum.im[n][r] = fuse_half(z.re[n][r], k.im[n][r], fuse_half(negate_half(z.im[n][r]), k.re[n][r], sum.im[n][r]));
    }
}

// Chunk `chunk` of y from the spectra of its row's chunks up to it, of which `w` are two items of its own:
// conj(sum of G_d X_(chunk - d)) at the scale `most`.
struct Products {
  const Kept& kept;
  const Filters& filters;
  int chunk, first;  // first: chunk of the row that reaches this one
  float most;

  DEVICE Products(const Kept& kept_, const Filters& filters_, int chunk_)
      : kept(kept_),
        filters(filters_),
        chunk(chunk_),
        first(chunk_ < filters_.count ? 0 : chunk_ - filters_.count + 1) {
    most = kept.largest_scale(first, chunk);
  }
  // Two items at a time, so that one's loads and products fill the other's waits.
  DEVICE void sum(Work (&out)[2], const Work (&own)[2], const StoredTile (&g)[2], int item0) const {
    const float weight = kept.scale(chunk) / most;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      out[i] = {};
      add_conjugate_of_product(out[i], g[i], own[i]);
      weigh(out[i], weight);
    }
#pragma unroll 1
    for (int from = chunk - 1; from >= first; from--) {
      const float weight_from = kept.scale(from) / most;
      const StoredTile k[2] = {filters.get(chunk - from, item0), filters.get(chunk - from, item0 + 1)};
      const StoredTile x[2] = {kept.get(from, item0), kept.get(from, item0 + 1)};
#pragma unroll
      for (int i = 0; i < 2; i++) add_conjugate_of_product(out[i], k[i], work_of(weighted(x[i], weight_from)));
    }
  }
};
