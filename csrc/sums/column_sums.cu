// y (columns) = the sum over the rows of x (rows, columns).
#include <common/chunks.cuh>

extern "C" __global__ void __launch_bounds__(32 * PLAN_WARPS, 2)
    column_sums(const float* x, float* y, int rows, int columns) {
  constexpr int kColumns = 32, kPitch = kColumns + 1, kAtOnce = 8;
  const int lane = lane_of_warp(), column = block_index() * kColumns + lane;
  float total = 0;
  if (column < columns)
    for (int row = warp_of_block(); row < rows; row += kAtOnce * PLAN_WARPS) {
      float v[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; i++) {
        const int at = row + i * PLAN_WARPS;
        v[i] = at < rows ? x[static_cast<i64>(at) * columns + column] : 0.0f;
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; i++) total += v[i];
    }
  store_shared4(shared_base() + 4 * (warp_of_block() * kPitch + lane), as_bits(total));
  block_barrier();
  const int own = thread_index() / PLAN_WARPS, part = thread_index() % PLAN_WARPS;  // there are 32 for each warp
  total = sum_over_lanes<PLAN_WARPS>(as_float(load_shared4(shared_base() + 4 * (part * kPitch + own))));
  const int to = block_index() * kColumns + own;
  if (part == 0 && to < columns) y[to] = total;
}
