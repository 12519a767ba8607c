// k (CHANNELS, count) from W and h; see taps.cuh.
#include <filter/taps.cuh>

extern "C" __global__ void __launch_bounds__(Sizes::kThreads, 2)
    taps_forward(const float* weight, const float* h, const float* rates, float* k, int start, int count, int most,
                 float shift) {
  using S = Sizes;
  constexpr int kPositions = 64;
  const Window window{rates, start, most, shift};
  const Matrix<S::kWidth, kPositions> tile(0);
  Fragment weights[S::kOwn][S::kWidth / 16];
  float rate[S::kOwn][2];
#pragma unroll
  for (int own = 0; own < S::kOwn; own++) {
    if (S::channel(own) >= S::kChannels) continue;
#pragma unroll
    for (int r = 0; r < 2; r++) rate[own][r] = window.rate(S::channel(own) + lane_of_warp() / 4 + 8 * r);
#pragma unroll
    for (int i = 0; i < S::kWidth / 16; i++)
      weights[own][i] = load_weights(weight + S::channel(own) * S::kWidth + 16 * i, S::kWidth, 1);
  }
  for (int first = block_index() * kPositions; first < count; first += grid_size() * kPositions) {
    block_barrier();
    load_rows(tile, h, first, count, NoWindow{});
    block_barrier();
#pragma unroll 1
    for (int p = 0; p < kPositions; p += 16) {
      float sums[S::kOwn][2][4] = {};
#pragma unroll
      for (int i = 0; i < S::kWidth / 16; i++) {
        const Fragment right = tile.right(16 * i, p);
#pragma unroll
        for (int own = 0; own < S::kOwn; own++)
          if (S::channel(own) < S::kChannels) add_product(sums[own], weights[own][i], right);
      }
#pragma unroll
      for (int own = 0; own < S::kOwn; own++) {
        if (S::channel(own) >= S::kChannels) continue;
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
          for (int r = 0; r < 2; r++) {
            const int at = first + p + 8 * n + 2 * (lane_of_warp() & 3);
            float* row = k + static_cast<i64>(S::channel(own) + lane_of_warp() / 4 + 8 * r) * count;
            const float (&v)[4] = sums[own][n];
            const float w = rate[own][r];
            store_two(row, at, count, v[2 * r] * window.at(w, at), v[2 * r + 1] * window.at(w, at + 1));
          }
      }
    }
  }
}
