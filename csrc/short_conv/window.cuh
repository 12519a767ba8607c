// Short causal convolutions of WIDTH taps over rows of the input projection, (B, 3 D, N): of each channel d the rows
// are d (the output gate), D + d (the input gate) and 2 D + d (the values). A thread has eight positions at a time.
#pragma once
#include <common/chunks.cuh>

static_assert(WIDTH >= 1 && WIDTH <= 9, "one chunk beside a thread's own holds what its taps reach");

constexpr int kThreads = 32 * PLAN_WARPS;

// Parameters of a channel's three convolutions: y_n = bias + sum_j taps_j (u + lift)_(n - WIDTH + 1 + j), u + lift zero
// before the row begins.
struct Filter {
  float taps[WIDTH], bias, lift;

  DEVICE Filter(const float* weights, const float* biases, const float* lifts, int row)
      : bias(biases ? biases[row] : 0.0f), lift(lifts ? lifts[row] : 0.0f) {
#pragma unroll
    for (int j = 0; j < WIDTH; j++) taps[j] = weights[row * WIDTH + j];
  }
};

// Chunks of one row of N positions; chunks outside of it are zeros.
struct Positions {
  Row<TYPE> row;
  int length;

  DEVICE Positions(const void* base, i64 number, int length_) : row(base, number * length_), length(length_) {}
  DEVICE Packed<TYPE> load(int at) const {
    if constexpr (ALIGNED) {
      if (at >= 0 && at < length) return row.load(at);
      Packed<TYPE> nothing;
      nothing.clear();
      return nothing;
    } else {
      return row.load_some(at, at < 0 ? 0 : length - at);
    }
  }
  DEVICE void store(int at, const float (&v)[8]) const {
    if constexpr (ALIGNED) row.store(at, v);
    else row.store_some(at, v, length - at);
  }
};

// kChunks neighbouring chunks of a row of u, from position `at` on, with the bias of the projection added.
template <int kChunks>
struct Window {
  Packed<TYPE> chunks[kChunks];
  int at, length;

  DEVICE Window(const Positions& row, int at_) : at(at_), length(row.length) {
#pragma unroll
    for (int c = 0; c < kChunks; c++) chunks[c] = row.load(at + 8 * c);
  }
  DEVICE void values(float (&x)[8 * kChunks], float lift) const {
#pragma unroll
    for (int c = 0; c < kChunks; c++) {
      float v[8];
      chunks[c].unpack(v);
      const bool inside = at + 8 * c >= 0;
#pragma unroll
      for (int i = 0; i < 8; i++) x[8 * c + i] = inside ? v[i] + lift : 0.0f;
    }
  }
};

// kCount outputs of a row's convolution from position 8 of the window's values.
template <int kCount, int kValues>
DEVICE void convolve(float (&y)[kCount], const float (&x)[kValues], const Filter& f) {
  static_assert(8 + kCount <= kValues);
#pragma unroll
  for (int i = 0; i < kCount; i++) {
    y[i] = f.bias;
#pragma unroll
    for (int j = 0; j < WIDTH; j++) y[i] += f.taps[j] * x[8 + i - (WIDTH - 1) + j];
  }
}

// A block has one channel and every `slices`-th piece of kThreads chunks of all its rows.
struct Walk {
  int channel, slice, slices, chunks, total;

  DEVICE Walk(int batches, int channels, int length)
      : channel(block_index() % channels),
        slice(block_index() / channels),
        slices(grid_size() / channels),
        chunks((length + 7) / 8),
        total(batches * chunks) {}
  DEVICE int first() const { return slice * kThreads + thread_index(); }
  DEVICE int step() const { return slices * kThreads; }
};
