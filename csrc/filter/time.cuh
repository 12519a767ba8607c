// The time of a position, as the filter network sees it.
#pragma once
#include <common/chunks.cuh>

// n / (most - 1), rounded as by torch.linspace(0, 1, most).
DEVICE float position_time(int n, int most) {
  const float last = static_cast<float>(most - 1), step = 1.0f / last, x = static_cast<float>(n);
  return n < most / 2 ? x * step : 1.0f - (last - x) * step;
}
