// Given dk (CHANNELS, count): dh (F, count), and dW summed over a block's tiles, partial [block][CHANNELS][F].
#include <filter/taps.cuh>

extern "C" __global__ void __launch_bounds__(Sizes::kThreads, 2)
    taps_backward(const float* dk, const float* weight, const float* h, const float* rates, float* dh, float* partial,
                  int start, int count, int most, float shift) {
  using S = Sizes;
  constexpr int kPositions = 32, kNeurons = S::kWidth / 16;  // tiles of 16
  using Gradients = Matrix<S::kChannels, kPositions>;
  using Sines = Matrix<S::kWidth, kPositions>;
  const Window window{rates, start, most, shift};
  const Gradients g(0);
  const Sines sines(Gradients::kBytes);
  const Matrix<S::kChannels, S::kWidth> weights(Gradients::kBytes + Sines::kBytes);
  float of_weight[S::kOwn][kNeurons][2][4] = {};
  load_rows(weights, weight, 0, S::kWidth, NoWindow{});
  for (int first = block_index() * kPositions; first < count; first += grid_size() * kPositions) {
    block_barrier();
    load_rows(g, dk, first, count, window);
    load_rows(sines, h, first, count, NoWindow{});
    block_barrier();
    for (int part = warp_of_block(); part < 2 * kNeurons; part += S::kWarps) {
      const int neuron = 16 * (part >> 1), p = 16 * (part & 1);
      float sums[2][4] = {};
#pragma unroll 4
      for (int channel = 0; channel < S::kChannels; channel += 16)
        add_product(sums, weights.left_transposed(channel, neuron), g.right(channel, p));
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
          float* row = dh + static_cast<i64>(neuron + lane_of_warp() / 4 + 8 * r) * count;
          store_two(row, first + p + 8 * n + 2 * (lane_of_warp() & 3), count, sums[n][2 * r], sums[n][2 * r + 1]);
        }
    }
#pragma unroll
    for (int p = 0; p < kPositions; p += 16) {
      Fragment left[S::kOwn];
#pragma unroll
      for (int own = 0; own < S::kOwn; own++)
        if (S::channel(own) < S::kChannels) left[own] = g.left(S::channel(own), p);
#pragma unroll
      for (int i = 0; i < kNeurons; i++) {
        const Fragment right = sines.right_transposed(16 * i, p);
#pragma unroll
        for (int own = 0; own < S::kOwn; own++)
          if (S::channel(own) < S::kChannels) add_product(of_weight[own][i], left[own], right);
      }
    }
  }
  float* to = partial + static_cast<i64>(block_index()) * S::kChannels * S::kWidth;
#pragma unroll
  for (int own = 0; own < S::kOwn; own++) {
    if (S::channel(own) >= S::kChannels) continue;
#pragma unroll
    for (int i = 0; i < kNeurons; i++)
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
          const int channel = S::channel(own) + lane_of_warp() / 4 + 8 * r;
          const int neuron = 16 * i + 8 * n + 2 * (lane_of_warp() & 3);
          const float (&v)[4] = of_weight[own][i][n];
          store_device8<false>(to + channel * S::kWidth + neuron, {as_bits(v[2 * r]), as_bits(v[2 * r + 1])});
        }
  }
}
