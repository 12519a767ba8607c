// dk and dD from the partial sums of conj T(v) T(dc) of the backward kernel: added in a fixed order over slices of the
// batch, then one inverse. Channels take the places of rows. Where filters come in chunks
// (`chunked/chunk_gradients.cu`), each chunk takes that of a channel, and has a part in the sums of the next one as
// well: G_d = T(k_d + i k_(d - 1)), so dk_d = Re T^-1(dG_d - i dG_(d + 1)). D is in the first chunk alone.
#include <one_sm/outer.cuh>
#include <one_sm/products.cuh>
#include <one_sm/rows.cuh>

// The sums that add up to that of an item: fp32, one for each slice.
template <class S>
struct Sums {
  const uint4* partial;
  int channels, slices, chunks;
  template <class Act>
  DEVICE void for_each(int step, int item, Act act) const {
    const int channel = Place<S>::row(step, item);
    if (channel >= channels) return;
    for (int slice = 0; slice < slices; slice++) {
      const i64 own = static_cast<i64>(slice) * channels + channel;
      act(partial + (own * (S::kSplit * S::kRadix) + place_of<S>(item)) * 128);
    }
  }
  DEVICE Tile total(int step, int item) const {
    const bool goes_on = Place<S>::row(step, item) % chunks + 1 < chunks;
    Tile sum = {};
    for_each(step, item, [&](const uint4* from) {
      add(sum, load_sums(from + lane_index()));
      if (goes_on) subtract_turned(sum, load_sums(from + S::kSize / 2 + lane_index()));
    });
    return sum;
  }
};

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    filter_grad(const uint4* partial, float* dk, float* dskip, const uint4* tables, int channels, int filter_length,
                int slices, int chunks) {
  using S = Plan;
  const Sums<S> sums{partial, channels, slices, chunks};
  const auto approach_sums = [&](int step) {
    for_each_item<S>([&](int item) {
      sums.for_each(step, item, [](const uint4* from) {
        if (lane_index() < 16) prefetch_line(from + lane_index() * 8);
      });
    });
  };
  set_up<S>(tables);
  const InnerTables<S> inner = load_inner_tables<S>(tables);
  wait_for_dependency();
  approach_sums(block_index());
  const bool whole = filter_length % 4 == 0;  // so that every chunk of a row of dk starts on 16 bytes
  Peaks peaks;
#pragma unroll 1
  for (int step = block_index(); step * S::kRowsPerStep < channels; step += grid_size()) {
    const auto channel_of = [&](int item) { return Place<S>::row(step, item); };
    // Each place at its own scale first: the scale of a row is known when all of its places are.
    for_each_item<S>([&](int item) {
      const Tile sum = sums.total(step, item);
      const u32 peak = max_over_warp(peak_bits(sum));
      peaks.note(Place<S>::local_row(item), peak);
      store_shared4(peak_at<S>(item), peak);
      const Scale scale = scale_of<kRowTop>(peak);
      Tile conjugate = scale.finite ? affine(sum, scale.in, 0.0f) : Tile{};
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) conjugate.im[n][i] = -conjugate.im[n][i];
      store_back<S>(item, shift_of<S>(item), conjugate, inner);
    });
    approach_sums(step + grid_size());
    block_barrier();
    peaks.clear_other();
    const auto peak_of_row = [&](int item) { return load_shared4(peaks.at(Place<S>::local_row(item))); };
    for_each_item<S>([&](int item) {
      const StoredTile x = rescaled<S, kRowTop>(item, peak_of_row(item));
      store_shared16(slot_words<S>(item), x.word[0]);
      store_shared16(slot_words<S>(item) + 512, x.word[1]);
    });
    block_barrier();
    outer_back<S>();
    block_barrier();
    for_each_item<S>([&](int item) {
      const int channel = channel_of(item) / chunks, chunk = channel_of(item) % chunks;
      if (channel_of(item) >= channels) return;
      const float factor = scale_of<kRowTop>(peak_of_row(item)).out * root_of_size<S>();
      const int lag = chunk * S::kSize + Place<S>::lag(item);
      float v[8];
      load_result<S>(v, item);
      scale_chunk(v, factor);
      if (lag == 0 && dskip != nullptr) dskip[channel] = v[0];
      float* to = dk + static_cast<i64>(channel) * filter_length + lag;
      if (whole && lag + 8 <= filter_length) {
#pragma unroll
        for (int i = 0; i < 8; i += 4) {
          const uint4 four = {as_bits(v[i]), as_bits(v[i + 1]), as_bits(v[i + 2]), as_bits(v[i + 3])};
          *reinterpret_cast<uint4*>(to + i) = four;
        }
      } else {
#pragma unroll
        for (int i = 0; i < 8; i++)
          if (lag + i < filter_length) to[i] = v[i];
      }
    });
    peaks.parity ^= 1;
    block_barrier();
  }
}
