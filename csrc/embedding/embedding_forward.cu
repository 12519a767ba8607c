// out[row] = table[tokens[row]], rows of `units` times 16 bytes, whatever the type of their values; NaN where a token
// is none of the TOKENS rows of the table.
#include <common/chunks.cuh>

static constexpr int kAhead = 4;         // rows of a thread whose tokens are asked for together
static constexpr u32 kNan = 0x7fff7fff;  // in fp32, bf16 and fp16

extern "C" __global__ void __launch_bounds__(32 * PLAN_WARPS, 1)
    embedding_forward(const int* tokens, const uint4* table, uint4* out, int rows, int units) {
  const Tile<COLUMNS> tile(8 * units);
  const int step = tile.step();
  for (int first = tile.first_row(); first < rows && tile.exists(); first += kAhead * step) {
    int token[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; i++) token[i] = first < rows - i * step ? tokens[first + i * step] : 0;
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
      if (first >= rows - i * step) continue;
      uint4 values = {kNan, kNan, kNan, kNan};
      if (static_cast<u32>(token[i]) < TOKENS) values = load_device16<false>(table + token[i] * units + tile.chunk);
      store_device16<false>(out + static_cast<i64>(first + i * step) * units + tile.chunk, values);
    }
  }
}
