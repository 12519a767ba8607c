// h (F, count): the last sines of the filter network of positions start to start + count.
#include <filter/network.cuh>

extern "C" __global__ void __launch_bounds__(Net::kThreads, 2)
    sine_forward(const float* packed, const float* table, const float* bands, float* h, int start, int count,
                 int most) {
  using N = Net;
  const Features features{table, bands, start, count, most};
  const Own own;
  load_parameters(packed);
  for (int first = block_index() * N::kPositions; first < count; first += grid_size() * N::kPositions) {
    block_barrier();
    load_features(features, first);
    block_barrier();
    Values a;
    first_layer(a, own);
    apply_sine(a, own);
#pragma unroll 1
    for (int layer = 1; layer < N::kLayers; layer++) {
      store_tile(a, N::tile(layer % 2), own);  // two tiles alternate: other threads may still read the previous one
      block_barrier();
      square_layer(a, layer, N::tile(layer % 2), own);
      apply_sine(a, own);
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int half = 0; half < N::kHalves; half++) {
        const int position = first + own.position(half);
        float* to = h + static_cast<i64>(own.neuron(i)) * count + position;
        const float (&v)[N::kOwn] = a[i];
        if constexpr (ALIGNED) {
          const uint4 word{as_bits(v[4 * half]), as_bits(v[4 * half + 1]), as_bits(v[4 * half + 2]),
                           as_bits(v[4 * half + 3])};
          if (position < count) store_device16<false>(to, word);
        } else {
#pragma unroll
          for (int j = 0; j < 4; j++)
            if (position + j < count) to[j] = v[4 * half + j];
        }
      }
  }
}
