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

extern "C" __global__ void __launch_bounds__(Line::kThreads, Line::kBlocksPerSm)
    chunk_spectra(const float* k, const float* skip, uint4* filter, float* filter_scale, const uint4* tables,
                  int channels, int taps, i64 stride, int chunks, int aligned) {
  set_up_lines(tables);
  const InnerTables<Line> inner = load_inner_tables<Line>(tables);
  for (int channel = block_index(); channel < channels; channel += grid_size()) {
    const Taps own{k + channel * stride, taps, aligned != 0};
    uint4* to = filter + static_cast<i64>(channel) * chunks * (Line::kSize / 4) + lane_index();
    u32 most = 0;
    // The largest chunk's scale is all chunks'; it is known in the end, so they are brought to it in a second round.
#pragma unroll 1
    for (int round = 0; round < 2; round++) {
#pragma unroll 1
      for (int chunk = 0; chunk < chunks; chunk++) {
        const Scale scale = load_both(own, chunk);
        block_barrier();
        outer_stage<false>(0);
        block_barrier();
        const float shift = skip != nullptr && chunk == 0 ? skip[channel] : 0.0f;
        const float factor = scale.out * root_of_size<Line>();
        for_each_item<Line>([&](int item) {
          const Tile z =
              affine(spectrum_of<Line, true>(shift_of<Line>(item), load_slot<Line>(item), inner), factor, shift);
          if (round == 0) {
            const u32 peak = peak_bits(z);
            most = peak > most ? peak : most;
          } else {
            const StoredTile x = stored(to_half(affine(z, scale_of<kFilterTop>(most).in, 0.0f)));
            uint4* place = to + static_cast<i64>(chunk) * (Line::kSize / 4) + place_of<Line>(item) * 64;
            place[0] = x.word[0], place[32] = x.word[1];
          }
        });
        block_barrier();
      }
      if (round == 0) most = max_over_block(most, shared_base() + 128);
    }
    if (thread_index() == 0) filter_scale[channel] = scale_of<kFilterTop>(most).out;
  }
}
