// sum = residual + branch + branch_bias; out = (sum - mean) * rstd * weight + bias, over rows of NORM_WIDTH values.
// BRANCH_TYPE 3: there is no branch and no branch_bias. `sum` is written where its pointer is not null.
#include <norm/layout.cuh>

extern "C" __global__ void __launch_bounds__(32 * PLAN_WARPS, 1)
    norm_forward(const float* residual, const void* branch, const float* branch_bias, const float* weight,
                 const float* bias, float* sum, void* out, float* means, float* rstds, int rows, float epsilon) {
  using L = Layout;
  constexpr int kChunks = L::kChunks;
  float scale[kChunks][8], shift[kChunks][8], lift[kChunks][8] = {};
  load_row<0>(scale, weight, 0);
  load_row<0>(shift, bias, 0);
  if constexpr (BRANCH_TYPE != 3)
    if (branch_bias) load_row<0>(lift, branch_bias, 0);
  // All lanes of a warp take part in every sum, even those without a row.
  for (int first = block_index() * L::kRowsPerBlock; first < rows; first += grid_size() * L::kRowsPerBlock) {
    const int row = first + L::row();
    const bool exists = row < rows;
    float x[kChunks][8] = {}, added[kChunks][8] = {};
    if (exists) {
      load_row<0>(x, residual, row);
      if constexpr (BRANCH_TYPE != 3) load_row<BRANCH_TYPE % 3>(added, branch, row);
    }
    float total = 0;
#pragma unroll
    for (int c = 0; c < kChunks; c++)
#pragma unroll
      for (int i = 0; i < 8; i++) {
        if constexpr (BRANCH_TYPE != 3) x[c][i] += added[c][i] + lift[c][i];
        total += x[c][i];
      }
    if constexpr (BRANCH_TYPE != 3)
      if (exists && sum) store_row<0>(x, sum, row);
    const float mean = sum_over_lanes<L::kLanes>(total) / L::kWidth;
    float squares = 0;
#pragma unroll
    for (int c = 0; c < kChunks; c++)
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const float centred = x[c][i] - mean;
        if (L::exists(c)) squares += centred * centred;
      }
    const float rstd = reciprocal_root(sum_over_lanes<L::kLanes>(squares) / L::kWidth + epsilon);
#pragma unroll
    for (int c = 0; c < kChunks; c++)
#pragma unroll
      for (int i = 0; i < 8; i++) x[c][i] = (x[c][i] - mean) * rstd * scale[c][i] + shift[c][i];
    if (exists) {
      store_row<OUT_TYPE>(x, out, row);
      if (L::part() == 0) means[row] = mean, rstds[row] = rstd;
    }
  }
}
