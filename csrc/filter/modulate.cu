// y = x (exp(-rate t) + shift) over rows of `count` positions from `start` on, one rate per row; t is their time.
#include <filter/time.cuh>

extern "C" __global__ void __launch_bounds__(32 * PLAN_WARPS, 1)
    modulate(const float* x, const float* rates, float* y, int rows, int start, int count, int most, float shift) {
  const int row = block_index() % rows, slices = grid_size() / rows;
  const float rate = rates[row] * -1.44269504f;  // exp(-r) = 2^(-r log2 e)
  const Row<0> from(x, static_cast<i64>(row) * count), to(y, static_cast<i64>(row) * count);
  const int step = slices * 32 * PLAN_WARPS * 8;
  for (int at = 8 * (block_index() / rows * 32 * PLAN_WARPS + thread_index()); at < count; at += step) {
    float v[8];
    (ALIGNED ? from.load(at) : from.load_some(at, count - at)).unpack(v);
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] *= power_of_two(rate * position_time(start + at + i, most)) + shift;
    if constexpr (ALIGNED) to.store(at, v);
    else to.store_some(at, v, count - at);
  }
}
