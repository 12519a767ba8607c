// The filter network up to its last layer, on tiles of positions:
//
//     features z (E) -> a = W z + b -> h = sin(w a) -> LAYERS - 1 times [ a = W h + b -> h = sin(w a) ]
//
// F = FILTER_WIDTH neurons, the same frequencies w (F) in every layer. All in fp32. A block has 2 F threads and tiles
// of 32 or 64 positions; a thread has 4 neurons of 4 or 8 positions. Parameters come packed: W (F, E), b of the first
// layer, then W (F, F), b of the others, then w.
#pragma once
#include <filter/time.cuh>

struct Net {
  static constexpr int kWidth = FILTER_WIDTH, kFeatures = FEATURES, kLayers = LAYERS, kHalves = HALVES;
  static constexpr int kThreads = 2 * kWidth, kGroups = kWidth / 4, kPositions = 32 * kHalves, kOwn = 4 * kHalves;
  static_assert(kWidth % 16 == 0 && kThreads == 32 * PLAN_WARPS);

  // Packed parameters, in floats.
  static constexpr int kFirst = kWidth * kFeatures + kWidth, kOther = kWidth * kWidth + kWidth;
  static DEVICE constexpr int weights(int layer) { return layer == 0 ? 0 : kFirst + (layer - 1) * kOther; }
  static DEVICE constexpr int biases(int layer) {
    return layer == 0 ? kWidth * kFeatures : kFirst + layer * kOther - kWidth;
  }
  static constexpr int kFrequencies = kFirst + (kLayers - 1) * kOther, kParameters = kFrequencies + kWidth;

  // Shared memory, in floats: weights of the square layers, the first layer's, biases and frequencies, scales of warps,
  // features, tiles. Rows of weights are 4 floats longer than their content; in tiles and features, neighbouring 64
  // bytes of odd rows change places. Both keep accesses free of bank conflicts.
  static constexpr int kWeightRow = kWidth + 4;
  static DEVICE constexpr int place(int row, int position) { return row * kPositions + (position ^ 16 * (row & 1)); }
  static DEVICE constexpr int square(int layer) { return (layer - 1) * kWidth * kWeightRow; }
  static constexpr int kFirstAt = (kLayers - 1) * kWidth * kWeightRow, kBiasesAt = kFirstAt + kWidth * kFeatures;
  static constexpr int kScalesAt = kBiasesAt + (kLayers + 1) * kWidth, kFeaturesAt = kScalesAt + (kWidth + 63) / 64 * 4;
  static constexpr int kTilesAt = kFeaturesAt + kFeatures * kPositions;
  static DEVICE constexpr int tile(int number) { return kTilesAt + number * kWidth * kPositions; }
};

DEVICE float load_float(int at) { return as_float(load_shared4(shared_base() + 4 * at)); }
DEVICE void store_float(int at, float x) { store_shared4(shared_base() + 4 * at, as_bits(x)); }
DEVICE void load_floats_of(float (&x)[4], u32 address) {
  const uint4 v = load_shared16(address);
  x[0] = as_float(v.x), x[1] = as_float(v.y), x[2] = as_float(v.z), x[3] = as_float(v.w);
}
DEVICE void load_floats(float (&x)[4], int at) { load_floats_of(x, shared_base() + 4 * at); }
DEVICE void store_floats(int at, const float* x) {
  store_shared16(shared_base() + 4 * at, {as_bits(x[0]), as_bits(x[1]), as_bits(x[2]), as_bits(x[3])});
}

// sin and cos of arguments up to some thousands: whole cycles are subtracted in two steps, to keep the precision.
DEVICE float within_a_turn(float x) {
  const float cycles = nearest_whole(x * 0.15915494f);
  return fmaf(cycles, 1.7484555e-7f, fmaf(cycles, -6.2831855f, x));
}

// A thread's place: neurons group + kGroups i, positions 4 place + 32 half + j. Lanes whose numbers differ in bit 0
// read the same positions, in bit 1 the same weights: then 16 bytes a lane take two wavefronts, not four.
struct Own {
  int group, place;
  DEVICE Own()
      : group(4 * warp_of_block() + 2 * (lane_of_warp() >> 4) + (lane_of_warp() & 1)), place(lane_of_warp() >> 1 & 7) {}
  DEVICE int neuron(int i) const { return group + Net::kGroups * i; }
  DEVICE int position(int half) const { return 4 * place + 32 * half; }
};

// Where features come from: a table (positions, E), or computed from the position as the published code does.
struct Features {
  const float* table;
  const float* bands;
  int start, count, most;  // most: the number of positions that scales the features

  DEVICE float operator()(int feature, int n) const {
    if (table) return n < most ? table[static_cast<i64>(n) * Net::kFeatures + feature] : 0.0f;
    if (feature == 0) return position_time(n, most);
    constexpr int kBands = (Net::kFeatures - 1) / 2;
    const bool is_cosine = feature <= kBands;
    const float angle = static_cast<float>(n) * 6.2831855f / static_cast<float>(most);
    const float phase = within_a_turn(-bands[is_cosine ? feature - 1 : feature - 1 - kBands] * angle);
    return is_cosine ? cosine(phase) : sine(phase);
  }
};

// Copies parameters to shared memory. The caller's next barrier makes them visible.
DEVICE void load_parameters(const float* packed) {
  using N = Net;
  for (int layer = 1; layer < N::kLayers; layer++)
    for (int i = thread_index(); i < N::kWidth * N::kWidth; i += N::kThreads)
      store_float(N::square(layer) + i / N::kWidth * N::kWeightRow + i % N::kWidth, packed[N::weights(layer) + i]);
  for (int i = thread_index(); i < N::kWidth * N::kFeatures; i += N::kThreads) store_float(N::kFirstAt + i, packed[i]);
  for (int i = thread_index(); i < (N::kLayers + 1) * N::kWidth; i += N::kThreads) {
    const int layer = i / N::kWidth, from = layer < N::kLayers ? N::biases(layer) : N::kFrequencies;
    store_float(N::kBiasesAt + i, packed[from + i % N::kWidth]);
  }
}
DEVICE void load_features(const Features& features, int first) {
  for (int i = thread_index(); i < Net::kFeatures * Net::kPositions; i += Net::kThreads) {
    const int feature = i / Net::kPositions, position = i % Net::kPositions;
    store_float(Net::kFeaturesAt + Net::place(feature, position), features(feature, features.start + first + position));
  }
}

DEVICE float frequency(int neuron) { return load_float(Net::kBiasesAt + Net::kLayers * Net::kWidth + neuron); }

using Values = float[4][Net::kOwn];  // of a thread's neurons and positions

// Pre-activations (a) of a layer; `input` is the tile of the layer before.
DEVICE void first_layer(Values& a, const Own& own) {
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int p = 0; p < Net::kOwn; p++) a[i][p] = load_float(Net::kBiasesAt + own.neuron(i));
  for (int e = 0; e < Net::kFeatures; e++) {
    float z[Net::kOwn];
#pragma unroll
    for (int half = 0; half < Net::kHalves; half++) {
      float v[4];
      load_floats(v, Net::kFeaturesAt + Net::place(e, own.position(half)));
#pragma unroll
      for (int j = 0; j < 4; j++) z[4 * half + j] = v[j];
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float weight = load_float(Net::kFirstAt + own.neuron(i) * Net::kFeatures + e);
#pragma unroll
      for (int p = 0; p < Net::kOwn; p++) a[i][p] += weight * z[p];
    }
  }
}
DEVICE void square_layer(Values& a, int layer, int input, const Own& own) {
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int p = 0; p < Net::kOwn; p++) a[i][p] = load_float(Net::kBiasesAt + layer * Net::kWidth + own.neuron(i));
#pragma unroll 4
  for (int k = 0; k < Net::kWidth; k += 4) {
    float weights[4][4];
#pragma unroll
    for (int i = 0; i < 4; i++) load_floats(weights[i], Net::square(layer) + own.neuron(i) * Net::kWeightRow + k);
#pragma unroll
    for (int e = 0; e < 4; e++)
#pragma unroll
      for (int half = 0; half < Net::kHalves; half++) {
        float h[4];
        load_floats(h, input + k * Net::kPositions + Net::place(e, own.position(half)));
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
          for (int j = 0; j < 4; j++) a[i][4 * half + j] += weights[i][e] * h[j];
      }
  }
}
DEVICE void apply_sine(Values& a, const Own& own) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float w = frequency(own.neuron(i));
#pragma unroll
    for (int p = 0; p < Net::kOwn; p++) a[i][p] = sine(within_a_turn(w * a[i][p]));
  }
}
DEVICE void store_tile(const Values& a, int to, const Own& own) {
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int half = 0; half < Net::kHalves; half++)
      store_floats(to + Net::place(own.neuron(i), own.position(half)), &a[i][4 * half]);
}
