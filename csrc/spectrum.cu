// filter = T(k) + D in stored order, each channel scaled by a power of two to fp16; filter_scale undoes it.
// Channels take the places of rows; one step a block.
#include <outer.cuh>
#include <products.cuh>
#include <rows.cuh>

extern "C" __global__ void __launch_bounds__(kThreads, 1)
    spectrum(const float* k, const float* skip, uint4* filter, float* filter_scale, const uint4* tables, int channels,
             int filter_length) {
  using S = Plan;
  set_up<S>(tables);
  const InnerTables inner = load_inner_tables<S>(tables);
  Peaks peaks;
  float back[S::kGroups];
  load_samples<S>(
      [&](int tile, float (&v)[8]) {
        const int channel = Place<S>::row(block_index(), tile), lag = Place<S>::lag(tile);
        const float* row = k + static_cast<i64>(channel) * filter_length;
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = channel < channels && lag + i < filter_length ? row[lag + i] : 0.0f;
      },
      peaks, back);
  outer_in<S>();
  block_barrier();
  const auto true_spectrum = [&](int tile) {
    const int channel = Place<S>::row(block_index(), tile);
    const float shift = skip != nullptr && channel < channels ? skip[channel] : 0.0f;
    return affine(spectrum_of(load_tile<S>(tile), inner), back[tile / S::kSplit] * root_of_size<S>(), shift);
  };
#pragma unroll 1
  for (int tile = 0; tile < S::kTiles; tile++)
    peaks.note(Place<S>::local_row(tile / S::kSplit), peak_bits(true_spectrum(tile)));
  block_barrier();
#pragma unroll
  for (int tile = 0; tile < S::kTiles; tile++) {
    const int channel = Place<S>::row(block_index(), tile), branch = tile % S::kSplit;
    const Scale scale = scale_of<kFilterTop>(load_shared4(peaks.at(Place<S>::local_row(tile / S::kSplit))));
    const StoredTile out = stored(to_half(affine(true_spectrum(tile), scale.in, 0.0f)));
    if (channel >= channels) continue;
    const i64 place = (static_cast<i64>(channel) * S::kSplit + branch) * S::kRadix + warp_index() % S::kRadix;
    filter[place * 64 + lane_index()] = out.word[0];
    filter[place * 64 + 32 + lane_index()] = out.word[1];
    if (branch == 0 && warp_index() % S::kRadix == 0 && lane_index() == 0) filter_scale[channel] = scale.out;
  }
}
