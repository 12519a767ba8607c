// filter = T(k) + D in stored order, each channel scaled by a power of two to fp16; filter_scale undoes it. Channels
// take the places of rows; one step a block.
#include <outer.cuh>
#include <products.cuh>
#include <rows.cuh>

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    spectrum(const float* k, const float* skip, uint4* filter, float* filter_scale, const uint4* tables, int channels,
             int filter_length) {
  using S = Plan;
  set_up<S>(tables);
  const InnerTables<S> inner = load_inner_tables<S>(tables);
  Peaks peaks;
  float back[S::kGroups * S::kPasses];
  load_samples<S>(
      [&](int item, float (&v)[8], bool) {
        const int channel = Place<S>::row(block_index(), item), lag = Place<S>::lag(item);
        const float* row = k + static_cast<i64>(channel) * filter_length;
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = channel < channels && lag + i < filter_length ? row[lag + i] : 0.0f;
      },
      peaks, back);
  outer_in<S>();
  block_barrier();
  const auto true_spectrum = [&](int item) {
    const int channel = Place<S>::row(block_index(), item);
    const float shift = skip != nullptr && channel < channels ? skip[channel] : 0.0f;
    const float scale = back[lot_of<S>(item)] * root_of_size<S>();
    return affine(spectrum_of<S>(turn_of<S>(item), load_slot<S>(item), inner), scale, shift);
  };
  for_each_item<S>([&](int item) { peaks.note(Place<S>::local_row(item), peak_bits(true_spectrum(item))); });
  block_barrier();
  for_each_item<S>([&](int item) {
    const int channel = Place<S>::row(block_index(), item);
    const Scale scale = scale_of<kFilterTop>(load_shared4(peaks.at(Place<S>::local_row(item))));
    const StoredTile out = stored(to_half(affine(true_spectrum(item), scale.in, 0.0f)));
    if (channel >= channels) return;
    uint4* own = filter + (static_cast<i64>(channel) * (S::kSplit * S::kRadix) + place_of<S>(item)) * 64 + lane_index();
    own[0] = out.word[0], own[32] = out.word[1];
    if (place_of<S>(item) == 0 && lane_index() == 0) filter_scale[channel] = scale.out;
  });
}
