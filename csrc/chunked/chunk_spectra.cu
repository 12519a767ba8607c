// G_d = T(k_d + i k_(d - 1)) of the chunks k_d of a filter, P taps each, with D in G_0 alone: a skip gives nothing to a
// later chunk. All of a channel at one power of two, which filter_scale undoes. A block has a channel.
#include <one_sm/products.cuh>
#include <one_sm/rows.cuh>
#include <three_pass/lines.cuh>

// Taps 8 n .. of chunk `chunk`, zeros past the last and before the first chunk.
struct Taps {
  const float* row;
  int taps;
  bool whole;  // rows start on 16 bytes
  DEVICE void load(float (&v)[8], int chunk, int item) const {
    const int first = chunk * Line::kSize + Place<Line>::lag(item);
    if (whole && chunk >= 0 && first + 8 <= taps) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const uint4 x = reinterpret_cast<const uint4*>(row + first)[i];
        v[4 * i] = as_float(x.x), v[4 * i + 1] = as_float(x.y), v[4 * i + 2] = as_float(x.z),
              v[4 * i + 3] = as_float(x.w);
      }
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] = chunk >= 0 && first + i < taps ? row[first + i] : 0.0f;
    }
  }
};

// Two chunks to the exchange buffer as real and imaginary parts, at one scale.
DEVICE Scale load_both(const Taps& taps, int chunk) {
  u32 most = 0;
  const auto load = [&](float (&v)[8], int comp, int item) { taps.load(v, chunk - comp, item); };
  for_each_item<Line>([&](int item) {
#pragma unroll
    for (int comp = 0; comp < 2; comp++) {
      float v[8];
      load(v, comp, item);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const u32 bits = as_bits(v[i]) & 0x7fffffffu;
        most = bits > most ? bits : most;
      }
    }
  });
  const Scale scale = scale_of<kRowTop>(max_over_block(most, shared_base()));
  for_each_item<Line>([&](int item) {
#pragma unroll
    for (int comp = 0; comp < 2; comp++) {
      float v[8];
      u32 words[4];
      load(v, comp, item);
      scale_chunk(v, scale.in);
#pragma unroll
      for (int i = 0; i < 4; i++) words[i] = scale.finite ? pack_half(v[2 * i], v[2 * i + 1]) : 0u;
      store_shared16(Place<Line>::exchange(item, comp), uint4{words[0], words[1], words[2], words[3]});
    }
  });
  return scale;
}

// A transform of two real rows below 1, unitary, has values below sqrt(2 N).
constexpr float kMostOfUnitary = 1.5f * root_of_size<Line>();
// Of the scale at which a chunk's spectrum waits, the least that a channel's may be: a skip can cancel the filter, and
// what brings a spectrum from the one scale to the other is a value in fp16 as well.
constexpr float kLeastShare = 1.0f / 4096.0f;
// What undoes the scale at which a chunk's spectrum waits; behind the samples, for up to 32 chunks.
DEVICE u32 room_at(int chunk) { return shared_base() + Line::kSamples + Line::kTiles * 8192 + 4 * chunk; }

extern "C" __global__ void __launch_bounds__(Line::kThreads, Line::kBlocksPerSm)
    chunk_spectra(const float* k, const float* skip, uint4* filter, float* filter_scale, const uint4* tables,
                  int channels, int taps, i64 stride, int chunks, int aligned) {
  set_up_lines(tables);
  const InnerTables<Line> inner = load_inner_tables<Line>(tables);
  for (int channel = block_index(); channel < channels; channel += grid_size()) {
    const Taps own{k + channel * stride, taps, aligned != 0};
    uint4* to = filter + static_cast<i64>(channel) * chunks * (Line::kSize / 4) + lane_index();
    const auto place = [&](int chunk, int item) {
      return to + static_cast<i64>(chunk) * (Line::kSize / 4) + place_of<Line>(item) * 64;
    };
    u32 most = 0, least = 0;
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; chunk++) {
      const Scale scale = load_both(own, chunk);
      block_barrier();
      outer_stage<false>(0);
      block_barrier();
      const float shift = skip != nullptr && chunk == 0 ? skip[channel] : 0.0f;
      const float factor = scale.out * root_of_size<Line>();
      // Which scale all chunks will have is not known yet: as large a one as certainly has room in fp16.
      const Scale room = scale_of<14>(as_bits(factor * kMostOfUnitary + fabsf(shift)));
      const u32 share = as_bits(room.out * kLeastShare);
      least = share > least ? share : least;
      if (warp_index() == 0) store_shared4(room_at(chunk), as_bits(room.out));
      for_each_item<Line>([&](int item) {
        const Tile z =
            affine(spectrum_of<Line, true>(shift_of<Line>(item), load_slot<Line>(item), inner), factor, shift);
        const u32 peak = peak_bits(z);
        most = peak > most ? peak : most;
        store_stored(place(chunk, item), stored(to_half(affine(z, room.in, 0.0f))));
      });
      block_barrier();
    }
    most = max_over_block(most, shared_base() + 128);
    const Scale scale = scale_of<kFilterTop>(most > least ? most : least);
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; chunk++) {
      const float weight = scale.in * as_float(load_shared4(room_at(chunk)));
      const u32 pair = pack_half(weight, weight);
      for_each_item<Line>([&](int item) {
        uint4* own_place = place(chunk, item);
        store_stored(own_place, times(load_stored(own_place), pair));
      });
    }
    block_barrier();  // everybody has read the scales
    if (thread_index() == 0) filter_scale[channel] = scale.out;
  }
}
