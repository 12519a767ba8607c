// Gradients of short_conv_forward: du (B, 3 D, N), and this slice's sums over its positions for taps, biases and lifts:
// partial [slice][3 D WIDTH of taps, 3 D of biases, 3 D of lifts].
#include <short_conv/window.cuh>

constexpr int kReach = 8 + WIDTH - 1;  // outputs, from a thread's first on, whose gradients reach its positions
constexpr int kSums = WIDTH + 2;

// Adds the gradients g of a row's outputs to the sums for its parameters; returns du of the thread's own positions.
DEVICE void pull_back(float (&du)[8], float (&sums)[kSums], const float (&g)[16], const float (&x)[24],
                      const Filter& f) {
#pragma unroll
  for (int i = 0; i < 8; i++) {
    du[i] = 0;
#pragma unroll
    for (int j = 0; j < WIDTH; j++) {
      du[i] += f.taps[j] * g[i + WIDTH - 1 - j];
      sums[j] += g[i] * x[8 + i - (WIDTH - 1) + j];
    }
    sums[WIDTH] += g[i];
    sums[WIDTH + 1] += du[i];
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, 1)
    short_conv_backward(const void* d_gate, const void* d_values, const void* u, const float* lifts,
                        const float* weights, const float* biases, void* du, float* partial, int batches, int channels,
                        int length) {
  const Walk walk(batches, channels, length);
  const int d = walk.channel;
  const Filter out(weights, biases, lifts, d), in(weights, biases, lifts, channels + d),
      value(weights, biases, lifts, 2 * channels + d);
  float sums[3][kSums] = {};
  for (int i = walk.first(); i < walk.total; i += walk.step()) {
    const int b = i / walk.chunks, at = 8 * (i - b * walk.chunks);
    const i64 row = 3 * static_cast<i64>(b) * channels + d, from = static_cast<i64>(b) * channels + d;
    const Positions rows[3] = {{u, row, length}, {u, row + channels, length}, {u, row + 2 * channels, length}};
    const Window<3> window_in(rows[1], at - 8), window_value(rows[2], at - 8), window_out(rows[0], at - 8);
    const Window<2> gate(Positions(d_gate, from, length), at), values(Positions(d_values, from, length), at);
    float x[2][24], y[kReach], g[2][16], du_row[8];
    window_in.values(x[0], in.lift);
    window_value.values(x[1], value.lift);
    // Beyond the end of a row the gradient is zero, whatever the values are.
    values.values(g[0], 0.0f);
    values.values(g[1], 0.0f);
    convolve(y, x[1], value);
#pragma unroll
    for (int e = 0; e < kReach; e++) g[0][e] *= y[e];
    convolve(y, x[0], in);
#pragma unroll
    for (int e = 0; e < kReach; e++) g[1][e] *= y[e];
    pull_back(du_row, sums[1], g[0], x[0], in);
    Positions(du, row + channels, length).store(at, du_row);
    pull_back(du_row, sums[2], g[1], x[1], value);
    Positions(du, row + 2 * channels, length).store(at, du_row);
    window_out.values(x[0], out.lift);
    gate.values(g[0], 0.0f);
    pull_back(du_row, sums[0], g[0], x[0], out);
    Positions(du, row, length).store(at, du_row);
  }
  // [sum][warp] in shared memory.
#pragma unroll
  for (int r = 0; r < 3; r++)
#pragma unroll
    for (int s = 0; s < kSums; s++) {
      const float total = sum_over_lanes<32>(sums[r][s]);
      if (lane_of_warp() == 0)
        store_shared4(shared_base() + 4 * ((r * kSums + s) * PLAN_WARPS + warp_of_block()), as_bits(total));
    }
  block_barrier();
  const int own = thread_index();
  if (own < 3 * kSums) {
    float total = 0;
    for (int warp = 0; warp < PLAN_WARPS; warp++)
      total += as_float(load_shared4(shared_base() + 4 * (own * PLAN_WARPS + warp)));
    const int row = own / kSums * channels + d, s = own % kSums, all = 3 * channels;
    const int place = s < WIDTH ? row * WIDTH + s : all * s + row;
    partial[static_cast<i64>(walk.slice) * all * kSums + place] = total;
  }
}
