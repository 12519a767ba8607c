// Given dk (CHANNELS, count): dh (F, count), and dW summed over a block's tiles, partial [block][CHANNELS][F].
//
// While a tile is multiplied the next is split and stored to shared memory, and the one after it is on its way to
// registers. Every second tile has the same place there, so one barrier per tile is enough.
#include <filter/taps.cuh>

constexpr int kPositions = 32;
using Gradients = Matrix<Sizes::kChannels, kPositions>;
using Sines = Matrix<Sizes::kWidth, kPositions>;

// Into how many parts neurons are divided for dW, so that the busiest warp multiplies least, and then reads least.
DEVICE constexpr int cost_of_parts(int parts) {
  const int beside = Sizes::kWarps / parts, own = (Sizes::kChannels / 16 + beside - 1) / beside;
  const int each = Sizes::kWidth / 16 / parts;
  return 64 * own * each + own + each;
}
DEVICE constexpr int parts_of_neurons() {
  int best = 1;
  for (int parts = 2; parts <= Sizes::kWidth / 16; parts++)
    if (Sizes::kWidth / 16 % parts == 0 && cost_of_parts(parts) < cost_of_parts(best)) best = parts;
  return best;
}

// How warps share the products of a tile.
struct Work {
  static constexpr int kTiles = Sizes::kChannels / 16, kNeurons = Sizes::kWidth / 16, kWarps = Sizes::kWarps;

  // dh: a warp has 16 neurons and every kShares-th tile of channels, whose weights stay in its registers.
  static constexpr int kShares = kWarps / kNeurons < kTiles ? kWarps / kNeurons : kTiles;
  static constexpr int kSteps = (kTiles + kShares - 1) / kShares;
  // What all shares but the first have found, 64 bytes of every lane: [share - 1][neurons].
  static constexpr int kSums = 2048 * (kShares - 1) * kNeurons;
  static constexpr int kTileBytes = Gradients::kBytes + Sines::kBytes;

  // dW: a warp has kEach tiles of neurons and every kBeside-th tile of channels.
  static constexpr int kParts = parts_of_neurons(), kEach = kNeurons / kParts, kBeside = kWarps / kParts;
  static constexpr int kOwn = (kTiles + kBeside - 1) / kBeside;
  static constexpr bool kAllHave = kParts * kBeside == kWarps && kTiles % kBeside == 0;

  const u32 warp = computed_here(thread_index()) / 32;
  const int neurons = warp % kNeurons, share = warp / kNeurons, part = warp % kParts, beside = warp / kParts;

  DEVICE bool shares() const { return kShares * kNeurons == kWarps || share < kShares; }
  DEVICE int dh_channel(int step) const { return 16 * (share + kShares * step); }
  DEVICE bool has_dh(int step) const { return kTiles % kShares == 0 || dh_channel(step) < Sizes::kChannels; }
  DEVICE int dw_channel(int own) const { return 16 * (beside + kBeside * own); }
  DEVICE bool has_dw(int own) const { return kAllHave || (beside < kBeside && dw_channel(own) < Sizes::kChannels); }
  DEVICE int dw_neuron(int i) const { return 16 * (kEach * part + i); }

  // Where a tile is in shared memory, and a lane's sums of a share: twice, for every second tile.
  static DEVICE Gradients gradients(int parity) { return Gradients(parity * kTileBytes); }
  static DEVICE Sines sines(int parity) { return Sines(parity * kTileBytes + Gradients::kBytes); }
  DEVICE u32 sums(int parity, int of) const {
    const u32 at = 2 * kTileBytes + parity * kSums + 2048 * ((of - 1) * kNeurons + neurons);
    return shared_base() + at + 16 * lane_of_warp();
  }
};

// A thread's part of a matrix (rows, count) on its way to shared memory: four neighbours of every kRows-th row.
template <class To, bool kStream>
struct Ahead {
  static constexpr int kQuarters = kPositions / 4, kRows = Sizes::kThreads / kQuarters;
  static constexpr int kOwn = (To::kRows + kRows - 1) / kRows;
  float x[kOwn][4];

  struct Place {
    const u32 thread = computed_here(thread_index());
    const int first_row = thread / kQuarters, quarter = thread % kQuarters;

    DEVICE int row(int j) const { return first_row + kRows * j; }
    DEVICE bool has(int j) const { return kRows * (j + 1) <= To::kRows || row(j) < To::kRows; }
  };

  DEVICE void load(const float* from, int first, int count) {
    const Place at;
#pragma unroll
    for (int j = 0; j < kOwn; j++)
      if (at.has(j))
        load_four<kStream>(x[j], from + static_cast<i64>(at.row(j)) * count, first + 4 * at.quarter, count);
  }
  DEVICE void apply(const Window& window, int first) {
    const Place at;
    float rates[kOwn];
#pragma unroll
    for (int j = 0; j < kOwn; j++) rates[j] = at.has(j) ? window.rate(at.row(j)) : 0.0f;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < kOwn; j++) x[j][i] *= window.at(rates[j], first + 4 * at.quarter + i);
  }
  DEVICE void store(const To& to) const {
    const Place at;
#pragma unroll
    for (int j = 0; j < kOwn; j++)
      if (at.has(j)) to.store(at.row(j), at.quarter, x[j]);
  }
};

using Sums = float[kPositions / 16][2][4];  // of dh: 16 neurons, all positions
using Weights = Fragment[Work::kSteps];
using WeightSums = float[Work::kOwn][Work::kEach][2][4];

DEVICE void multiply_for_dh(Sums& sums, const Weights& weights, int parity) {
  const Work work;
  if (!work.shares()) return;
  const Gradients g = Work::gradients(parity);
#pragma unroll
  for (auto& half : sums)
#pragma unroll
    for (auto& v : half) v[0] = v[1] = v[2] = v[3] = 0;
#pragma unroll
  for (int k = 0; k < Work::kSteps; k++) {
    if (!work.has_dh(k)) continue;
#pragma unroll
    for (int p = 0; p < kPositions / 16; p++) add_product(sums[p], weights[k], g.right(work.dh_channel(k), 16 * p));
  }
  if (work.share == 0) return;
#pragma unroll
  for (int i = 0; i < kPositions / 8; i++) {
    const float (&v)[4] = sums[i / 2][i % 2];
    store_shared16(work.sums(parity, work.share) + 512 * i,
                   {as_bits(v[0]), as_bits(v[1]), as_bits(v[2]), as_bits(v[3])});
  }
}
// Behind a barrier, the first share adds what the others have found, and writes all.
DEVICE void finish_dh(Sums& sums, float* dh, int first, int count, int parity) {
  const Work work;
  if (work.share > 0) return;
#pragma unroll
  for (int i = 0; i < kPositions / 8; i++) {
    float (&v)[4] = sums[i / 2][i % 2];
#pragma unroll
    for (int share = 1; share < Work::kShares; share++) {
      const uint4 other = load_shared16(work.sums(parity, share) + 512 * i);
      v[0] += as_float(other.x), v[1] += as_float(other.y), v[2] += as_float(other.z), v[3] += as_float(other.w);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float* row = dh + static_cast<i64>(16 * work.neurons + lane_of_warp() / 4 + 8 * r) * count;
      store_two(row, first + 8 * i + 2 * (lane_of_warp() & 3), count, v[2 * r], v[2 * r + 1]);
    }
  }
}
DEVICE void multiply_for_dw(WeightSums& sums, int parity) {
  const Work work;
  const Gradients g = Work::gradients(parity);
  const Sines sines = Work::sines(parity);
#pragma unroll
  for (int p = 0; p < kPositions; p += 16) {
    Fragment left[Work::kOwn];
#pragma unroll
    for (int own = 0; own < Work::kOwn; own++)
      if (work.has_dw(own)) left[own] = g.left(work.dw_channel(own), p);
#pragma unroll
    for (int i = 0; i < Work::kEach; i++) {
      const Fragment right = sines.right_transposed(work.dw_neuron(i), p);
#pragma unroll
      for (int own = 0; own < Work::kOwn; own++)
        if (work.has_dw(own)) add_product(sums[own][i], left[own], right);
    }
  }
}
DEVICE void write_dw(const WeightSums& sums, float* to) {
  const Work work;
#pragma unroll
  for (int own = 0; own < Work::kOwn; own++) {
    if (!work.has_dw(own)) continue;
#pragma unroll
    for (int i = 0; i < Work::kEach; i++)
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
          const int channel = work.dw_channel(own) + lane_of_warp() / 4 + 8 * r;
          const int neuron = work.dw_neuron(i) + 8 * n + 2 * (lane_of_warp() & 3);
          const float (&v)[4] = sums[own][i][n];
          store_device8<false>(to + channel * Sizes::kWidth + neuron, {as_bits(v[2 * r]), as_bits(v[2 * r + 1])});
        }
  }
}

extern "C" __global__ void __launch_bounds__(Sizes::kThreads, 1)
    taps_backward(const float* dk, const float* weight, const float* h, const float* rates, float* dh, float* partial,
                  int start, int count, int most, float shift) {
  const Window window{rates, start, most, shift};
  const int step = grid_size() * kPositions;
  Ahead<Gradients, true> next_g;
  Ahead<Sines, false> next_h;
  Weights weights;
  Sums of_h;
  WeightSums of_weight = {};
  const auto load = [&](int first) {
    next_g.load(dk, first, count);
    next_h.load(h, first, count);
  };
  const auto store = [&](int first, int parity) {
    next_g.apply(window, first);
    next_g.store(Work::gradients(parity));
    next_h.store(Work::sines(parity));
  };

  int first = block_index() * kPositions, parity = 0;
  load(first);
  const Work work;
#pragma unroll
  for (int k = 0; k < Work::kSteps; k++)
    if (work.shares() && work.has_dh(k))
      weights[k] = load_weights(weight + work.dh_channel(k) * Sizes::kWidth + 16 * work.neurons, 1, Sizes::kWidth);
  store(first, parity);
  load(first + step);
  for (; first < count; first += step, parity ^= 1) {
    block_barrier();
    if (first >= step) finish_dh(of_h, dh, first - step, count, parity ^ 1);
    // Half of the warps multiply first while the others store, and then the other way round: both units are busy.
#pragma unroll 1
    for (int turn = 0; turn < 2; turn++) {
      if (turn == warp_of_block() / (Sizes::kWarps / 2)) {
        multiply_for_dh(of_h, weights, parity);
        multiply_for_dw(of_weight, parity);
      } else {
        store(first + step, parity ^ 1);
        load(first + 2 * step);
      }
    }
  }
  block_barrier();
  finish_dh(of_h, dh, first - step, count, parity ^ 1);
  write_dw(of_weight, partial + static_cast<i64>(block_index()) * Sizes::kChannels * Sizes::kWidth);
}
