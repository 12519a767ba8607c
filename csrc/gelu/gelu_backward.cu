// dx = dy gelu'(x + bias), and sums of dx over the rows of each block: partial [row of blocks][width].
#include <gelu/sigmoid.cuh>

extern "C" __global__ void __launch_bounds__(32 * PLAN_WARPS, 1)
    gelu_backward(const void* dy, const void* x, const float* bias, void* dx, float* partial, int rows, int width) {
  const Tile<COLUMNS> tile(width);
  float lift[8] = {}, sums[8] = {};
  if (tile.exists()) Row<0>(bias, 0).load(8 * tile.chunk).unpack(lift);
  for (int row = tile.first_row(); row < rows && tile.exists(); row += tile.step()) {
    const i64 first = static_cast<i64>(row) * width;
    const Packed<TYPE> packed = Row<TYPE>(x, first).load(8 * tile.chunk);
    float v[8], d[8];
    Row<TYPE>(dy, first).load(8 * tile.chunk).unpack(d);
    packed.unpack(v);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const float z = v[i] + lift[i], s = gelu_sigmoid(z);
      constexpr float kSlope = 1.5957691216f,
                      kCubicSlope = 0.2140644488f;  // of 2 u: 2 sqrt(2 / pi), times 3 * 0.044715
      d[i] *= s + z * s * (1.0f - s) * (kSlope + kCubicSlope * z * z);
      sums[i] += d[i];
    }
    Row<TYPE>(dx, first).store(8 * tile.chunk, d);
  }
  tile.add_rows(sums, partial + static_cast<i64>(block_index() / tile.tiles) * width);
}
