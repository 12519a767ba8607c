// Gradients of the packed parameters, given dh (F, count): sums over a block's tiles, partial [block][parameters].
// Everything but dh is recomputed.
//
// Products other than those of the forward pass run on the tensor cores, on values split into two of fp16. da is split
// where it is made: the fragments that a warp has of it are left operands of da h^T, and go to shared memory for W^T
// da, in place of the same warp's rows of a. Each warp brings its da to the range of fp16 by a scale of its own.
#include <filter/network.cuh>
#include <filter/rows.cuh>
#include <filter/split.cuh>

// A warp has 16 neurons, as rows of fragments: neuron + 8 r. Their columns 8 n + 2 t + e are positions 16 c + 4 t + 2 n
// + e, t = lane % 4: four neighbours.
constexpr int kColumns = Net::kPositions / 16;
constexpr int kHalf = 2;   // the type, as split.cuh numbers it
using Sums = float[2][4];  // [n][2 r + e]
using Rows = Matrix<16, Net::kPositions>;

struct Part {
  int first, neuron, position;  // of the warp, of the lane
  u32 even, odd;                // where the lane's row of tile 0 has c = 0 and 1: all others are constants away
  DEVICE Part()
      : first(16 * warp_of_block()),
        neuron(first + lane_of_warp() / 4),
        position(4 * (lane_of_warp() & 3)),
        even(shared_base() + 4 * Net::place(neuron, position)),
        odd(shared_base() + 4 * Net::place(neuron, 16 + position)) {}

  DEVICE void load(Sums& x, int tile, int c) const {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float v[4];
      load_floats_of(v, (c & 1 ? odd : even) + 4 * (tile + 8 * r * Net::kPositions + 32 * (c >> 1)));
      put(x, r, v);
    }
  }
  static DEVICE void put(Sums& x, int r, const float (&v)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) x[i >> 1][2 * r + (i & 1)] = v[i];
  }
};
// A warp's rows of a tile of fp32, from neuron `first` on, once they are split.
DEVICE Rows rows_of(int tile, int first) { return Rows(4 * (tile + first * Net::kPositions)); }

// da = dh w cos(w a), times a scale. Adds to the gradients of frequencies and, not yet times w, of biases.
DEVICE Scale through_sine(Fragment (&da)[kColumns], Sums (&d)[kColumns], float (&of_frequency)[2], float (&of_bias)[2],
                          int tile, const Part& part) {
  float peak[2] = {};
  const float w[2] = {frequency(part.neuron), frequency(part.neuron + 8)};
#pragma unroll
  for (int c = 0; c < kColumns; c++) {
    Sums a;
    part.load(a, tile, c);
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int r = i >> 1;
        const float slope = d[c][n][i] * cosine(within_a_turn(w[r] * a[n][i]));
        of_frequency[r] += slope * a[n][i];
        of_bias[r] += slope;
        peak[r] = larger(peak[r], fabsf(slope));
        d[c][n][i] = slope;
      }
  }
  const Scale scale(larger(peak[0] * fabsf(w[0]), peak[1] * fabsf(w[1])));
#pragma unroll
  for (int c = 0; c < kColumns; c++) da[c] = split<kHalf>(d[c], w[0] * scale.in, w[1] * scale.in);
  return scale;
}
// Splits h of the warp's neurons, in the tile `h`: as it is there, or made again from the tile `a`.
DEVICE void split_sines(int h, int a, bool again, const Part& part) {
  const float w[2] = {frequency(part.neuron), frequency(part.neuron + 8)};
  Sums x[kColumns];
#pragma unroll
  for (int c = 0; c < kColumns; c++) {
    part.load(x[c], again ? a : h, c);
    if (again) {
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) x[c][n][i] = sine(within_a_turn(w[i >> 1] * x[c][n][i]));
    }
  }
  warp_barrier();
#pragma unroll
  for (int c = 0; c < kColumns; c++) rows_of(h, part.first).store(0, 16 * c, split<kHalf>(x[c], 1.0f, 1.0f));
}
// sums += da h^T over a tile's positions: the warp's rows. out: of the scale of da.
DEVICE void weigh(Sums (&sums)[Net::kWidth / 16], const Fragment (&da)[kColumns], float out, int h) {
#pragma unroll
  for (int j = 0; j < Net::kWidth / 16; j++) {
    Sums own = {};  // the tensor cores do not round sums but cut them off, so long sums are not theirs
#pragma unroll
    for (int c = 0; c < kColumns; c++) add_product<kHalf>(own, da[c], rows_of(h, 16 * j).right_transposed(0, 16 * c));
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) sums[j][n][i] += out * own[n][i];
  }
}
// sums += da z^T, z the features: lanes make their right operands themselves.
constexpr int kFeatureTiles = (Net::kFeatures + 7) / 8;
DEVICE void weigh_features(float (&sums)[kFeatureTiles][4], const Fragment (&da)[kColumns], float out,
                           const Part& part) {
#pragma unroll
  for (int m = 0; m < kFeatureTiles; m++) {
    const int feature = 8 * m + lane_of_warp() / 4;
    float z[kColumns][4] = {}, own[4] = {};
    float peak = 0;
#pragma unroll
    for (int c = 0; c < kColumns; c++) {
      if (feature < Net::kFeatures) load_floats(z[c], Net::kFeaturesAt + Net::place(feature, 16 * c + part.position));
#pragma unroll
      for (int i = 0; i < 4; i++) peak = larger(peak, fabsf(z[c][i]));
    }
    const Scale scale(peak);
#pragma unroll
    for (int c = 0; c < kColumns; c++) {
#pragma unroll
      for (int i = 0; i < 4; i++) z[c][i] *= scale.in;
      const Halves<kHalf> right(z[c]);
      add_product<kHalf>(own, da[c], right.high, right.low);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) sums[m][i] += out * scale.out() * own[i];
  }
}
// The scale of the columns of W that belong to the warp's neurons.
DEVICE Scale scale_of_weights(int layer, const Part& part) {
  float peak = 0;
  for (int row = 2 * (lane_of_warp() & 3); row < Net::kWidth; row += 8)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int at = Net::square(layer) + (row + (i >> 1)) * Net::kWeightRow + part.neuron + 8 * (i & 1);
      peak = larger(peak, fabsf(load_float(at)));
    }
  return Scale(peak);
}
// dh = W^T da: the warp's rows.
DEVICE void pull_back(Sums (&dh)[kColumns], int layer, int da, const Scale& scale, const Part& part) {
  float most = 0;  // of the scales of da
  for (int warp = 0; warp < Net::kWidth / 16; warp++) most = larger(most, load_float(Net::kScalesAt + warp));
  const float least = as_float((254u << 23) - as_bits(most));
#pragma unroll
  for (int c = 0; c < kColumns; c++)
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) dh[c][n][i] = 0;
#pragma unroll 2
  for (int k = 0; k < Net::kWidth; k += 16) {
    const float factor = scale.in * (least * load_float(Net::kScalesAt + k / 16));
    Fragment weights;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int row = k + 2 * (lane_of_warp() & 3) + 8 * (i >> 1), column = part.neuron + 8 * (i & 1);
      const int at = Net::square(layer) + row * Net::kWeightRow + column;
      weights.set<kHalf>(i, factor * load_float(at), factor * load_float(at + Net::kWeightRow));
    }
    const Rows rows = rows_of(da, k);
#pragma unroll
    for (int c = 0; c < kColumns; c++) add_product<kHalf>(dh[c], weights, rows.right(0, 16 * c));
  }
#pragma unroll
  for (int c = 0; c < kColumns; c++)
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) dh[c][n][i] *= most * scale.out();
}

extern "C" __global__ void __launch_bounds__(Net::kThreads, 2)
    sine_backward(const float* packed, const float* table, const float* bands, const float* dh, float* partial,
                  int start, int count, int most) {
  using N = Net;
  constexpr int kLayers = N::kLayers, kSines = N::tile(kLayers);  // tiles hold a, then da of each layer; the last, h
  const Features features{table, bands, start, count, most};
  const Own own;
  const Part part;
  Sums squares[kLayers > 1 ? kLayers - 1 : 1][N::kWidth / 16] = {};
  float of_first[kFeatureTiles][4] = {}, of_bias[kLayers][2] = {}, of_frequency[2] = {};
  load_parameters(packed);
  block_barrier();
  Scale weights[kLayers];
#pragma unroll
  for (int layer = 1; layer < kLayers; layer++) weights[layer] = scale_of_weights(layer, part);
  for (int first = block_index() * N::kPositions; first < count; first += grid_size() * N::kPositions) {
    block_barrier();
    load_features(features, first);
    block_barrier();
    Sums d[kColumns];
#pragma unroll
    for (int c = 0; c < kColumns; c++)
#pragma unroll
      for (int r = 0; r < 2; r++) {
        float v[4];
        load_four(v, dh + static_cast<i64>(part.neuron + 8 * r) * count, first + 16 * c + part.position, count);
        Part::put(d[c], r, v);
      }
    Values a;
    first_layer(a, own);
    store_tile(a, N::tile(0), own);
#pragma unroll 1
    for (int layer = 1; layer < kLayers; layer++) {
      apply_sine(a, own);
      store_tile(a, kSines, own);
      block_barrier();
      square_layer(a, layer, kSines, own);
      store_tile(a, N::tile(layer), own);
      if (layer < kLayers - 1) block_barrier();
    }
    block_barrier();
    Fragment da[kColumns];
#pragma unroll
    for (int layer = kLayers - 1; layer > 0; layer--) {
      const Scale scale = through_sine(da, d, of_frequency, of_bias[layer], N::tile(layer), part);
      if (lane_of_warp() == 0) store_float(N::kScalesAt + warp_of_block(), scale.out());
      warp_barrier();
#pragma unroll
      for (int c = 0; c < kColumns; c++) rows_of(N::tile(layer), part.first).store(0, 16 * c, da[c]);
      split_sines(kSines, N::tile(layer - 1), layer < kLayers - 1, part);
      block_barrier();
      weigh(squares[layer - 1], da, scale.out(), kSines);
      pull_back(d, layer, N::tile(layer), weights[layer], part);
      if (layer > 1) block_barrier();
    }
    const Scale scale = through_sine(da, d, of_frequency, of_bias[0], N::tile(0), part);
    weigh_features(of_first, da, scale.out(), part);
  }
  float* to = partial + static_cast<i64>(block_index()) * N::kParameters;
  const int column = 2 * (lane_of_warp() & 3);
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const int neuron = part.neuron + 8 * r;
#pragma unroll
    for (int m = 0; m < kFeatureTiles; m++)
#pragma unroll
      for (int e = 0; e < 2; e++)
        if (8 * m + column + e < N::kFeatures) to[neuron * N::kFeatures + 8 * m + column + e] = of_first[m][2 * r + e];
#pragma unroll
    for (int layer = 1; layer < kLayers; layer++)
#pragma unroll
      for (int j = 0; j < N::kWidth / 16; j++)
#pragma unroll
        for (int n = 0; n < 2; n++) {
          const float (&v)[4] = squares[layer - 1][j][n];
          float* row = to + N::weights(layer) + neuron * N::kWidth + 16 * j + 8 * n + column;
          store_device8<false>(row, {as_bits(v[2 * r]), as_bits(v[2 * r + 1])});
        }
#pragma unroll
    for (int layer = 0; layer < kLayers; layer++) {
      const float total = sum_over_lanes<4>(of_bias[layer][r]);
      if (column == 0) to[N::biases(layer) + neuron] = frequency(neuron) * total;
    }
    const float total = sum_over_lanes<4>(of_frequency[r]);
    if (column == 0) to[N::kFrequencies + neuron] = total;
  }
}
