// Gradient of the logits, given that of the weighted sum: zero in columns that are left out and where no token follows.
#include <loss/rows.cuh>

extern "C" __global__ void __launch_bounds__(32 * PLAN_WARPS, 1)
    loss_backward(const float* d_sum, const void* logits, const int* tokens, const float* weights, void* d_logits,
                  int rows, int length) {
  const float factor = *d_sum;
  for (int row = block_index() * 32 * PLAN_WARPS + thread_index(); row < rows; row += grid_size() * 32 * PLAN_WARPS) {
    const Target target(tokens, weights, row, length);
    float v[VOCABULARY], d[VOCABULARY] = {};
    if (target.weight != 0.0f) {
      load_logits(v, logits, row);
      const Softmax softmax(v);
      const float share = 1.0f / softmax.total;
#pragma unroll
      for (int c = 0; c < COUNT; c++)
        d[FIRST + c] = factor * target.weight * (softmax.values[c] * share - (target.token == c ? 1.0f : 0.0f));
    }
    const Row<TYPE> to(d_logits, static_cast<i64>(row) * VOCABULARY);
#pragma unroll
    for (int c = 0; c < VOCABULARY / 8; c++) {
      float chunk[8];
#pragma unroll
      for (int i = 0; i < 8; i++) chunk[i] = d[8 * c + i];
      to.store(8 * c, chunk);
    }
  }
}
