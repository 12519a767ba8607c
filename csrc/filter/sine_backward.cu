// Gradients of the packed parameters, given dh (F, count): sums over a block's tiles, partial [block][parameters].
// Everything but dh is recomputed.
#include <filter/network.cuh>

using Products = float[4][Net::kWidth / 8];  // a thread's part of dW: rows group + kGroups i, columns place + 8 j

// da = dh w cos(w a), in place of a in `tile`; adds to the gradients of frequencies and biases. Contiguous neurons.
DEVICE void through_sine(Values& d, float (&of_frequency)[4], float (&of_bias)[4], int tile, const Own& own) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float w = frequency(own.contiguous(i));
#pragma unroll
    for (int half = 0; half < Net::kHalves; half++) {
      const int at = tile + own.contiguous(i) * Net::kRow + own.position(half);
      float a[4], out[4];
      load_floats(a, at);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const float slope = d[i][4 * half + j] * cosine(within_a_turn(w * a[j]));
        of_frequency[i] += slope * a[j];
        out[j] = slope * w;
        of_bias[i] += out[j];
      }
      store_floats(at, out);
    }
  }
}
// The sines of a tile of pre-activations, into another tile.
DEVICE void sines_of(int tile, int to) {
  for (int i = 4 * thread_index(); i < Net::kWidth * Net::kPositions; i += 4 * Net::kThreads) {
    const int neuron = i / Net::kPositions, at = neuron * Net::kRow + i % Net::kPositions;
    float a[4];
    load_floats(a, tile + at);
    const float w = frequency(neuron);
#pragma unroll
    for (int j = 0; j < 4; j++) a[j] = sine(within_a_turn(w * a[j]));
    store_floats(to + at, a);
  }
}
// sums += da h^T over a tile's positions.
DEVICE void weigh(Products& sums, int da, int h, const Own& own) {
#pragma unroll 1
  for (int p = 0; p < Net::kPositions; p += 4) {
    float rows[4][4];
#pragma unroll
    for (int i = 0; i < 4; i++) load_floats(rows[i], da + own.interleaved(i) * Net::kRow + p);
#pragma unroll
    for (int j = 0; j < Net::kWidth / 8; j++) {
      float column[4];
      load_floats(column, h + (own.place + 8 * j) * Net::kRow + p);
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) sums[i][j] += rows[i][e] * column[e];
    }
  }
}
// d = W^T da, for contiguous neurons.
DEVICE void pull_back(Values& d, int layer, int da, const Own& own) {
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int p = 0; p < Net::kOwn; p++) d[i][p] = 0;
#pragma unroll 4
  for (int k = 0; k < Net::kWidth; k++) {
    float weights[4];
    load_floats(weights, Net::square(layer) + k * Net::kWeightRow + own.contiguous(0));
#pragma unroll
    for (int half = 0; half < Net::kHalves; half++) {
      float v[4];
      load_floats(v, da + k * Net::kRow + own.position(half));
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) d[i][4 * half + j] += weights[i] * v[j];
    }
  }
}
DEVICE void load_gradient(Values& d, const float* dh, int first, int count, const Own& own) {
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int p = 0; p < Net::kOwn; p++) {
      const int position = first + own.position(p / 4) + p % 4;
      d[i][p] = position < count ? dh[static_cast<i64>(own.contiguous(i)) * count + position] : 0.0f;
    }
}

extern "C" __global__ void __launch_bounds__(Net::kThreads, 2)
    sine_backward(const float* packed, const float* table, const float* bands, const float* dh, float* partial,
                  int start, int count, int most) {
  using N = Net;
  constexpr int kLayers = N::kLayers, kSines = N::tile(kLayers);  // tiles hold a, then da of each layer; the last, h
  const Features features{table, bands, start, count, most};
  const Own own;
  Products squares[kLayers > 1 ? kLayers - 1 : 1] = {};
  float of_first[(N::kFeatures + 1) / 2] = {}, of_bias[kLayers][4] = {}, of_frequency[4] = {};
  const int neuron = thread_index() % N::kWidth, parity = thread_index() / N::kWidth;
  load_parameters(packed);
  for (int first = block_index() * N::kPositions; first < count; first += grid_size() * N::kPositions) {
    block_barrier();
    load_features(features, first);
    block_barrier();
    Values a;
    first_layer(a, own);
    store_tile(a, N::tile(0), own);
#pragma unroll 1
    for (int layer = 1; layer < kLayers; layer++) {
      apply_sine(a, own);
      store_tile(a, kSines, own);
      block_barrier();
      square_layer(a, layer, kSines, own);
      store_tile(a, N::tile(layer), own);
      if (layer < kLayers - 1) block_barrier();
    }
    load_gradient(a, dh, first, count, own);
    block_barrier();
#pragma unroll
    for (int layer = kLayers - 1; layer > 0; layer--) {
      through_sine(a, of_frequency, of_bias[layer], N::tile(layer), own);
      if (layer < kLayers - 1) sines_of(N::tile(layer - 1), kSines);
      block_barrier();
      weigh(squares[layer - 1], N::tile(layer), kSines, own);
      pull_back(a, layer, N::tile(layer), own);
      block_barrier();
    }
    through_sine(a, of_frequency, of_bias[0], N::tile(0), own);
    block_barrier();
    for (int p = 0; p < N::kPositions; p += 4) {
      float da[4];
      load_floats(da, N::tile(0) + neuron * N::kRow + p);
#pragma unroll
      for (int m = 0; m < (N::kFeatures + 1) / 2; m++) {
        const int feature = 2 * m + parity;
        if (feature >= N::kFeatures) continue;
        float z[4];
        load_floats(z, N::kFeaturesAt + feature * N::kRow + p);
#pragma unroll
        for (int e = 0; e < 4; e++) of_first[m] += da[e] * z[e];
      }
    }
  }
  float* to = partial + static_cast<i64>(block_index()) * N::kParameters;
#pragma unroll
  for (int m = 0; m < (N::kFeatures + 1) / 2; m++)
    if (2 * m + parity < N::kFeatures) to[neuron * N::kFeatures + 2 * m + parity] = of_first[m];
#pragma unroll
  for (int layer = 1; layer < kLayers; layer++)
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < N::kWidth / 8; j++)
        to[N::weights(layer) + own.interleaved(i) * N::kWidth + own.place + 8 * j] = squares[layer - 1][i][j];
#pragma unroll
  for (int i = 0; i < 4; i++) {
#pragma unroll
    for (int layer = 0; layer < kLayers; layer++) {
      const float total = sum_over_lanes<8>(of_bias[layer][i]);
      if (own.place == 0) to[N::biases(layer) + own.contiguous(i)] = total;
    }
    const float total = sum_over_lanes<8>(of_frequency[i]);
    if (own.place == 0) to[N::kFrequencies + own.contiguous(i)] = total;
  }
}
