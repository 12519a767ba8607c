// For each token, the sum of its rows of d (rows, width): partial [share of the rows][TOKENS][width].
#include <common/chunks.cuh>

extern "C" __global__ void __launch_bounds__(32 * PLAN_WARPS, 1)
    embedding_backward(const int* tokens, const void* d, float* partial, int rows, int width) {
  const Tile<COLUMNS> tile(width);
  float sums[TOKENS][8] = {};
  for (int row = tile.first_row(); row < rows && tile.exists(); row += tile.step()) {
    const int token = tokens[row];
    float v[8];
    Row<TYPE>(d, static_cast<i64>(row) * width).load(8 * tile.chunk).unpack(v);
#pragma unroll
    for (int t = 0; t < TOKENS; t++)
#pragma unroll
      for (int i = 0; i < 8; i++) sums[t][i] += token == t ? v[i] : 0.0f;
  }
#pragma unroll
  for (int t = 0; t < TOKENS; t++)
    tile.add_rows(sums[t], partial + (static_cast<i64>(block_index() / tile.tiles) * TOKENS + t) * width);
}
