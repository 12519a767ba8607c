// Slots of the exchange buffer that each hold the spectrum of a place at its own scale.
#pragma once
#include <common/spectra.cuh>
#include <one_sm/inner.cuh>
#include <one_sm/rows.cuh>

// This lane's words of a slot's 1 KB of the exchange buffer, whatever they hold, and its copy of the slot's peak, where
// the samples were.
template <class S>
DEVICE u32 slot_words(int item) {
  return shared_base() + S::kExchange + tile_of<S>(item) * 16384 + slot_of<S>(item) * 1024 + lane_index() * 16;
}
template <class S>
DEVICE u32 peak_at(int item) {
  return shared_base() + S::kSamples + (tile_of<S>(item) * 16 + slot_of<S>(item)) * 128 + lane_index() * 4;
}
// The spectrum of a place, at its own scale, into its slot.
template <class S>
DEVICE void put_scaled(int item, const Tile& z, u32 peak) {
  const StoredTile x = stored(to_half(z));
  store_shared4(peak_at<S>(item), peak);
  warp_barrier();  // every lane has read this slot
  store_shared16(slot_words<S>(item), x.word[0]);
  store_shared16(slot_words<S>(item) + 512, x.word[1]);
}
// A slot from its own scale to that of a row whose peak is `peak`.
template <class S, int kTop>
DEVICE StoredTile rescaled(int item, u32 peak) {
  const float factor = scale_of<kTop>(peak).in / scale_of<kTop>(load_shared4(peak_at<S>(item))).in;
  return times(load_stored_shared(slot_words<S>(item)), pack_half(factor, factor));
}

// sqrt(N): transforms are unitary, but the spectrum of a filter is not.
template <class S>
DEVICE constexpr float root_of_size() {
  float root = 16.0f;
  int rest = S::kSize / 256;
  for (; rest >= 4; rest /= 4) root *= 2.0f;
  return rest == 2 ? root * 1.41421356237f : root;
}
