// Gradients of norm_forward: of the sum (which is also the residual's), the same in the branch's type, and this block's
// sums over its rows for weight, bias and branch_bias: partial [block][3][NORM_WIDTH].
#include <norm/layout.cuh>

extern "C" __global__ void __launch_bounds__(32 * PLAN_WARPS, 1)
    norm_backward(const void* d_out, const float* d_sum, const float* sum, const float* weight, const float* means,
                  const float* rstds, float* d_residual, void* d_branch, float* partial, int rows) {
  using L = Layout;
  constexpr int kChunks = L::kChunks;
  float scale[kChunks][8], sums[3][kChunks][8] = {};
  load_row<0>(scale, weight, 0);
  for (int first = block_index() * L::kRowsPerBlock; first < rows; first += grid_size() * L::kRowsPerBlock) {
    const int row = first + L::row();
    const bool exists = row < rows;
    float dy[kChunks][8] = {}, x[kChunks][8] = {}, dx[kChunks][8] = {};
    float mean = 0, rstd = 0;
    if (exists) {
      load_row<OUT_TYPE>(dy, d_out, row);
      load_row<0>(x, sum, row);
      if (d_sum) load_row<0>(dx, d_sum, row);
      mean = means[row], rstd = rstds[row];
    }
    float plain = 0, along = 0;
#pragma unroll
    for (int c = 0; c < kChunks; c++)
#pragma unroll
      for (int i = 0; i < 8; i++) {
        x[c][i] = (x[c][i] - mean) * rstd;
        sums[0][c][i] += dy[c][i] * x[c][i];
        sums[1][c][i] += dy[c][i];
        dy[c][i] *= scale[c][i];
        plain += dy[c][i];
        along += dy[c][i] * x[c][i];
      }
    plain = sum_over_lanes<L::kLanes>(plain) / L::kWidth;
    along = sum_over_lanes<L::kLanes>(along) / L::kWidth;
#pragma unroll
    for (int c = 0; c < kChunks; c++)
#pragma unroll
      for (int i = 0; i < 8; i++) {
        dx[c][i] += rstd * (dy[c][i] - plain - x[c][i] * along);
        sums[2][c][i] += dx[c][i];
      }
    if (exists) {
      store_row<0>(dx, d_residual, row);
      if constexpr (BRANCH_TYPE == 1 || BRANCH_TYPE == 2) store_row<BRANCH_TYPE>(dx, d_branch, row);
    }
  }
  // One sum after the other through shared memory: [row of the block][column].
#pragma unroll
  for (int which = 0; which < 3; which++) {
#pragma unroll
    for (int c = 0; c < kChunks; c++)
      if (L::exists(c)) {
        const u32 to = shared_base() + 4 * (L::row() * L::kWidth + L::column(c));
        const float (&v)[8] = sums[which][c];
        store_shared16(to, {as_bits(v[0]), as_bits(v[1]), as_bits(v[2]), as_bits(v[3])});
        store_shared16(to + 16, {as_bits(v[4]), as_bits(v[5]), as_bits(v[6]), as_bits(v[7])});
      }
    block_barrier();
    for (int column = thread_index(); column < L::kWidth; column += 32 * L::kWarps) {
      float total = 0;
      for (int row = 0; row < L::kRowsPerBlock; row++)
        total += as_float(load_shared4(shared_base() + 4 * (row * L::kWidth + column)));
      partial[(static_cast<i64>(block_index()) * 3 + which) * L::kWidth + column] = total;
    }
    block_barrier();
  }
}
