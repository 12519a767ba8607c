// Sums of the weighted negative log-likelihood of the next tokens, and of the weights: partial [block][2].
#include <loss/rows.cuh>

extern "C" __global__ void __launch_bounds__(32 * PLAN_WARPS, 1)
    loss_forward(const void* logits, const int* tokens, const float* weights, float* partial, int rows, int length) {
  float sums[2] = {};
  for (int row = block_index() * 32 * PLAN_WARPS + thread_index(); row < rows; row += grid_size() * 32 * PLAN_WARPS) {
    const Target target(tokens, weights, row, length);
    if (target.weight == 0.0f) continue;
    float v[VOCABULARY];
    load_logits(v, logits, row);
    const Softmax softmax(v);
    float own = 0;
#pragma unroll
    for (int c = 0; c < COUNT; c++) own = target.token == c ? v[FIRST + c] : own;
    sums[0] += target.weight * (softmax.most - own + logf(softmax.total));
    sums[1] += target.weight;
  }
#pragma unroll
  for (int s = 0; s < 2; s++) {
    const float total = sum_over_lanes<32>(sums[s]);
    if (lane_of_warp() == 0) store_shared4(shared_base() + 4 * (s * PLAN_WARPS + warp_of_block()), as_bits(total));
  }
  block_barrier();
  if (thread_index() < 2) {
    float total = 0;
    for (int warp = 0; warp < PLAN_WARPS; warp++)
      total += as_float(load_shared4(shared_base() + 4 * (thread_index() * PLAN_WARPS + warp)));
    partial[2 * block_index() + thread_index()] = total;
  }
}
