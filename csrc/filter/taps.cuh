// The last layer of the filter network: taps k = (W h) (exp(-rate t) + shift), W (CHANNELS, F) and h (F, positions).
//
// Both kernels move each value of k once; a block has tiles of positions. DECAYS: whether the taps decay at all.
#pragma once
#include <filter/rows.cuh>
#include <filter/split.cuh>
#include <filter/time.cuh>

struct Sizes {
  static constexpr int kChannels = CHANNELS, kWidth = FILTER_WIDTH, kWarps = PLAN_WARPS, kThreads = 32 * kWarps;
  static constexpr int kOwn = (kChannels / 16 + kWarps - 1) / kWarps;  // tiles of 16 channels of a warp
  static_assert(kChannels % 16 == 0 && kWidth % 16 == 0);

  // The first channel of a warp's tile, and whether it has that many.
  static DEVICE int channel(int own) { return 16 * (warp_of_block() + kWarps * own); }
};

struct Window {
  const float* rates;
  int start, most;
  float shift;

  DEVICE float rate(int channel) const {
    if constexpr (DECAYS) return rates[channel] * -1.44269504f;  // exp(-r) = 2^(-r log2 e)
    else return 0.0f;
  }
  DEVICE float at(float rate, int position) const {
    if constexpr (DECAYS) return power_of_two(rate * position_time(start + position, most)) + shift;
    else return 1.0f;
  }
  DEVICE void apply(float (&x)[4], int channel, int position) const {
    const float own = rate(channel);
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] *= at(own, position + i);
  }
};
struct NoWindow {
  DEVICE void apply(float (&)[4], int, int) const {}
};
// 16 x 16 weights as a left operand that stays in registers: rows and columns are so many values apart.
DEVICE Fragment load_weights(const float* from, int row_step, int column_step) {
  Fragment out;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int row = lane_of_warp() / 4 + 8 * (i & 1), column = 2 * (lane_of_warp() & 3) + 8 * (i >> 1);
    const float* at = from + row * row_step + column * column_step;
    out.set(i, at[0], at[column_step]);
  }
  return out;
}
// Copies a matrix (rows, count) from device to shared memory, positions `first` and after, through a window.
template <class To, class Through>
DEVICE void load_rows(const To& to, const float* from, int first, int count, const Through& window) {
  constexpr int kQuarters = 2 * To::kChunks, kAll = To::kRows * kQuarters;
  constexpr int kAtOnce = 4;  // loads that a thread has in flight
  for (int begin = thread_index(); begin < kAll; begin += kAtOnce * Sizes::kThreads) {
    float x[kAtOnce][4];
#pragma unroll
    for (int j = 0; j < kAtOnce; j++) {
      const int i = begin + j * Sizes::kThreads;
      if (i < kAll) load_four(x[j], from + static_cast<i64>(i / kQuarters) * count, first + 4 * (i % kQuarters), count);
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; j++) {
      const int i = begin + j * Sizes::kThreads, row = i / kQuarters, quarter = i % kQuarters;
      if (i >= kAll) continue;
      window.apply(x[j], row, first + 4 * quarter);
      to.store(row, quarter, x[j]);
    }
  }
}
