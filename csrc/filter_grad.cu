// dk and dD from the partial sums of conj T(v) T(dc) that the backward kernel left: added up in a fixed order over
// slices of the batch and shares of a slice, then one way back. Channels take the places of rows.
#include <outer.cuh>
#include <products.cuh>
#include <rows.cuh>

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    filter_grad(const uint4* partial, float* dk, float* dskip, const uint4* tables, int channels, int filter_length,
                int slices, int shares) {
  using S = Plan;
  set_up<S>(tables);
  const InnerTables<S> inner = load_inner_tables<S>(tables);
  Peaks peaks;
#pragma unroll 1
  for (int step = block_index(); step * S::kRowsPerStep < channels; step += grid_size()) {
    const auto channel_of = [&](int item) { return Place<S>::row(step, item); };
    const auto total = [&](int item) {
      Tile sum = {};
      if (channel_of(item) >= channels) return sum;
      for (int slice = 0; slice < slices; slice++)
        for (int share = 0; share < shares; share++) {
          const i64 own = (static_cast<i64>(slice) * channels + channel_of(item)) * shares + share;
          add(sum, load_sums(partial + (own * (S::kSplit * S::kRadix) + place_of<S>(item)) * 128 + lane_index()));
        }
      return sum;
    };
    for_each_item<S>([&](int item) { peaks.note(Place<S>::local_row(item), peak_bits(total(item))); });
    block_barrier();
    peaks.clear_other();
    const auto scale_of_row = [&](int item) {
      return scale_of<kRowTop>(load_shared4(peaks.at(Place<S>::local_row(item))));
    };
    for_each_item<S>([&](int item) {
      const Scale scale = scale_of_row(item);
      Tile sum = scale.finite ? affine(total(item), scale.in, 0.0f) : Tile{};
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) sum.im[n][i] = -sum.im[n][i];
      store_back<S>(item, turn_of<S>(item), to_half(sum), inner);
    });
    block_barrier();
    outer_back<S>();
    block_barrier();
    for_each_item<S>([&](int item) {
      if (channel_of(item) >= channels) return;
      const float factor = scale_of_row(item).out * root_of_size<S>();
      const int lag = Place<S>::lag(item);
      float v[8];
      load_result<S>(v, item);
      float* row = dk + static_cast<i64>(channel_of(item)) * filter_length;
#pragma unroll
      for (int i = 0; i < 8; i++) {
        if (lag + i < filter_length) row[lag + i] = v[i] * factor;
        if (lag + i == 0 && dskip != nullptr) dskip[channel_of(item)] = v[i] * factor;
      }
    });
    peaks.turn ^= 1;
    block_barrier();
  }
}
