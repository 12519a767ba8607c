// gate = conv of rows d, values = (conv of rows D + d) * (conv of rows 2 D + d): both (B, D, N).
#include <short_conv/window.cuh>

extern "C" __global__ void __launch_bounds__(kThreads, 1)
    short_conv_forward(const void* u, const float* lifts, const float* weights, const float* biases, void* gate,
                       void* values, int batches, int channels, int length) {
  const Walk walk(batches, channels, length);
  const int d = walk.channel;
  const Filter out(weights, biases, lifts, d), in(weights, biases, lifts, channels + d),
      value(weights, biases, lifts, 2 * channels + d);
  for (int i = walk.first(); i < walk.total; i += walk.step()) {
    const int b = i / walk.chunks, at = 8 * (i - b * walk.chunks);
    const i64 row = 3 * static_cast<i64>(b) * channels + d, to = static_cast<i64>(b) * channels + d;
    const Window<2> windows[3] = {{Positions(u, row, length), at - 8},
                                  {Positions(u, row + channels, length), at - 8},
                                  {Positions(u, row + 2 * channels, length), at - 8}};
    float x[16], y[8], z[8];
    windows[0].values(x, out.lift);
    convolve(y, x, out);
    Positions(gate, to, length).store(at, y);
    windows[1].values(x, in.lift);
    convolve(y, x, in);
    windows[2].values(x, value.lift);
    convolve(z, x, value);
#pragma unroll
    for (int e = 0; e < 8; e++) z[e] *= y[e];
    Positions(values, to, length).store(at, z);
  }
}
