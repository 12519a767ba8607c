// y = gelu(x + bias) over rows of `width` values; TYPE is that of x and y.
#include <gelu/sigmoid.cuh>

extern "C" __global__ void __launch_bounds__(32 * PLAN_WARPS, 1)
    gelu_forward(const void* x, const float* bias, void* y, int rows, int width) {
  const Tile<COLUMNS> tile(width);
  if (!tile.exists()) return;
  float lift[8];
  Row<0>(bias, 0).load(8 * tile.chunk).unpack(lift);
  for (int row = tile.first_row(); row < rows; row += tile.step()) {
    const i64 first = static_cast<i64>(row) * width;
    float v[8];
    Row<TYPE>(x, first).load(8 * tile.chunk).unpack(v);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const float z = v[i] + lift[i];
      v[i] = z * gelu_sigmoid(z);
    }
    Row<TYPE>(y, first).store(8 * tile.chunk, v);
  }
}
