// filter = T(k) + D in stored order, each channel scaled by a power of two to fp16; filter_scale undoes it. Channels
// take the places of rows. HALVES: of filters of up to 2 P taps, T(k0) + D and then T(k1), both at one scale.
#include <one_sm/outer.cuh>
#include <one_sm/products.cuh>
#include <one_sm/rows.cuh>

// Eight taps from `lag` on, zeros past the last; `whole`: rows start on 16 bytes and end with them.
DEVICE void load_taps(float (&v)[8], const float* row, int lag, int taps, bool whole) {
  if (whole && lag + 8 <= taps) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const uint4 x = reinterpret_cast<const uint4*>(row + lag)[i];
      v[4 * i] = as_float(x.x), v[4 * i + 1] = as_float(x.y), v[4 * i + 2] = as_float(x.z),
            v[4 * i + 3] = as_float(x.w);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = lag + i < taps ? row[lag + i] : 0.0f;
  }
}

constexpr int kParts = HALVES ? 2 : 1;  // transforms of a channel, by the same block one after the other
static_assert(kParts == 1 || Plan::kRowsPerStep == 1, "parts of a channel take turns");

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    spectrum(const float* k, const float* skip, uint4* filter, float* filter_scale, const uint4* tables, int channels,
             int filter_length, int aligned) {
  using S = Plan;
  launch_dependents();
  const bool whole = aligned && filter_length % 4 == 0;
  const auto row_of = [&](int channel, int part) {
    return k + static_cast<i64>(channel) * filter_length + part * S::kSize;
  };
  const auto approach_taps = [&](int step, int part) {
    if (lane_index() % 4 != 0) return;  // a line of 128 bytes has four chunks
    for_each_item<S>([&](int item) {
      const int channel = Place<S>::row(step, item), lag = Place<S>::lag(item);
      if (channel < channels && lag < filter_length - part * S::kSize) prefetch_line(row_of(channel, part) + lag);
    });
  };
  approach_taps(block_index(), 0);
  set_up<S>(tables);
  const InnerTables<S> inner = load_inner_tables<S>(tables);
  Peaks peaks;
  u32 first_peak = 0;  // of the previous part
#pragma unroll 1
  for (int step = block_index(), part = 0; step * S::kRowsPerStep < channels;
       step += part + 1 < kParts ? 0 : grid_size(), part = part + 1 < kParts ? part + 1 : 0) {
    const auto channel_of = [&](int item) { return Place<S>::row(step, item); };
    float back[S::kWarpRows];
    load_samples<S>(
        [&](int item, float (&v)[8], bool) {
          const int taps = channel_of(item) < channels ? filter_length - part * S::kSize : 0;
          load_taps(v, row_of(channel_of(item), part), Place<S>::lag(item), taps, whole);
        },
        peaks, back);
    if (part + 1 < kParts) approach_taps(step, part + 1);
    else approach_taps(step + grid_size(), 0);
    outer_in<S>();
    block_barrier();
    // Each place at its own scale first, in its slot: the scale of a row is known when all of its places are.
    for_each_item<S>([&](int item) {
      const bool present = skip != nullptr && channel_of(item) < channels && part == 0;
      const float shift = present ? skip[channel_of(item)] : 0.0f;
      const float factor = back[warp_row_of<S>(item)] * root_of_size<S>();
      const Tile z = affine(spectrum_of<S, true>(shift_of<S>(item), load_slot<S>(item), inner), factor, shift);
      const u32 peak = max_over_warp(peak_bits(z));
      peaks.note(Place<S>::local_row(item), peak);
      put_scaled<S>(item, affine(z, scale_of<kFilterTop>(peak).in, 0.0f), peak);
    });
    block_barrier();
    peaks.clear_other();
    for_each_item<S>([&](int item) {
      const u32 own_peak = load_shared4(peaks.at(Place<S>::local_row(item)));
      const u32 peak = part > 0 && first_peak > own_peak ? first_peak : own_peak;
      const StoredTile out = rescaled<S, kFilterTop>(item, peak);
      if (channel_of(item) >= channels) return;
      const i64 first_place = (static_cast<i64>(channel_of(item)) * kParts + part) * (S::kSplit * S::kRadix);
      uint4* own = filter + (first_place + place_of<S>(item)) * 64 + lane_index();
      store_stored(own, out);
      if constexpr (kParts > 1) {
        if (part > 0 && peak > first_peak) {  // rare: filters decay
          uint4* first = own - S::kSplit * S::kRadix * 64;
          const float factor = scale_of<kFilterTop>(peak).in / scale_of<kFilterTop>(first_peak).in;
          store_stored(first, times(load_stored(first), pack_half(factor, factor)));
        }
      }
      if (place_of<S>(item) == 0 && lane_index() == 0) filter_scale[channel_of(item)] = scale_of<kFilterTop>(peak).out;
    });
    if constexpr (kParts > 1) first_peak = load_shared4(peaks.at(0));
    peaks.parity ^= 1;
    block_barrier();
  }
}
