// The forward pass of rows that are longer than their filters, in chunks of P points, K <= P. The real part of a
// chunk's inverse is what the chunk contributes to itself; the negated imaginary part is what it contributes to the
// next one. T is linear, so Re T^-1(T(k) T(x + i x')) contains all that reaches chunk x from itself and from x', the
// one before it: no position is transformed twice, and nothing is carried from one chunk to another.
#include <one_sm/rows.cuh>
#include <three_pass/lines.cuh>

constexpr int kPairs = Line::kItems / 2;
static_assert(kPairs > 0, "a warp has two slots or more");

// One chunk of a row of a tensor: positions from `first` on, of which none may be in the row.
DEVICE Window<Line, false> chunk_of(u16* row, i64 first, i64 length) {
  const i64 left = first < 0 ? 0 : length - first;
  const int valid = static_cast<int>(left < 0 ? 0 : left < Line::kSize ? left : Line::kSize);
  return {Rows{row + first, 0, 0}, Batch{0, 0, 1, valid}};
}

// This thread's values of a chunk, times its gate.
struct Values {
  float v[Line::kItems][8];
  DEVICE Values(const Window<Line, false>& u, const Window<Line, false>& gate) {
    const Chunks<Line, false> values(u, 0);
    const Chunks<Line, !GATE_IN> by(gate, 0);
#pragma unroll
    for (int item = 0; item < Line::kItems; item++) {
      unpack_chunk(v[item], values(item));
      if constexpr (GATE_IN) multiply_chunk(v[item], by(item));
    }
  }
  // Of the whole block. 128 bytes of shared memory from `word` on are free for it.
  DEVICE u32 peak(u32 word) const {
    float most = 0;
#pragma unroll
    for (int item = 0; item < Line::kItems; item++)
#pragma unroll
      for (int i = 0; i < 8; i++) most = larger(most, fabsf(v[item][i]));
    return max_over_block(as_bits(most), word);
  }
  // To the exchange buffer, as real parts or as imaginary ones.
  DEVICE void put(int comp, const Scale& scale) {
#pragma unroll
    for (int item = 0; item < Line::kItems; item++) {
      u32 words[4];
      scale_chunk(v[item], scale.in);
#pragma unroll
      for (int i = 0; i < 4; i++) words[i] = scale.finite ? pack_half(v[item][2 * i], v[item][2 * i + 1]) : 0u;
      store_shared16(Place<Line>::exchange(item, comp), uint4{words[0], words[1], words[2], words[3]});
    }
  }
};

// What `put` left, times a power of two.
DEVICE void rescale(int comp, float factor) {
  const u32 pair = pack_half(factor, factor);
#pragma unroll
  for (int item = 0; item < Line::kItems; item++) {
    const u32 at = Place<Line>::exchange(item, comp);
    store_shared16(at, times(load_shared16(at), pair));
  }
}

// The previous chunk as imaginary parts, the chunk as real ones, at one scale; returns the scale.
DEVICE Scale load_both(u16* u, u16* gate, i64 first, i64 length) {
  Scale before;
  u32 peak_before;
  {
    const i64 start = first - Line::kSize;
    Values x(chunk_of(u, start, length), chunk_of(gate, start, length));
    peak_before = x.peak(shared_base());
    before = scale_of<kRowTop>(peak_before);
    x.put(1, before);
  }
  Values x(chunk_of(u, first, length), chunk_of(gate, first, length));
  const u32 peak = x.peak(shared_base() + 128);
  const Scale both = scale_of<kRowTop>(peak > peak_before ? peak : peak_before);
  x.put(0, both);
  if (both.in != before.in) rescale(1, both.finite ? both.in / before.in : 0.0f);
  return both;
}

extern "C" __global__ void __launch_bounds__(Line::kThreads, Line::kBlocksPerSm)
    chunks(u16* u, u16* gate_in, u16* gate_out, u16* y, const uint4* filter, const float* filter_scale,
           const uint4* tables, int batches, int channels, int count, i64 length, i64 u_batch, i64 u_channel,
           i64 gate_in_batch, i64 gate_in_channel, i64 gate_out_batch, i64 gate_out_channel) {
  set_up_lines(tables);
  const InnerTables<Line> inner = load_inner_tables<Line, true>(tables);
  // Neighbouring blocks have neighbouring chunks, so that all read the same few filters at the same time, and the
  // previous chunk is in the L2 cache.
  const i64 units = static_cast<i64>(channels) * batches * count;
  for (i64 unit = block_index(); unit < units; unit += grid_size()) {
    const i64 row = unit / count, first = (unit - row * count) * Line::kSize;
    const i64 channel = row / batches, batch = row - channel * batches;
    const Window<Line, false> gate_window =
        chunk_of(gate_out + batch * gate_out_batch + channel * gate_out_channel, first, length);
    const Scale scale = load_both(u + batch * u_batch + channel * u_channel,
                                  gate_in + batch * gate_in_batch + channel * gate_in_channel, first, length);
    const uint4* own = filter + channel * (Line::kSize / 4) + lane_index();
    StoredTile k[2] = {load_stored(own + place_of<Line>(0) * 64), load_stored(own + place_of<Line>(1) * 64)};
    const float factor = scale.out * filter_scale[channel];
    block_barrier();
    outer_stage<false>(0);
    block_barrier();
    // Two items at a time, so that the products of one hide the waits of the other.
#pragma unroll
    for (int pair = 0; pair < kPairs; pair++) {
      const int item0 = 2 * pair, item1 = item0 + 1, shift0 = shift_of<Line>(item0), shift1 = shift_of<Line>(item1);
      const Quarters x0 = load_slot<Line>(item0), x1 = load_slot<Line>(item1);
      const Work w0 = spectrum_of<Line>(shift0, x0, inner), w1 = spectrum_of<Line>(shift1, x1, inner);
      const HalfTile z0 = conjugate_of_product(k[0], w0), z1 = conjugate_of_product(k[1], w1);
      if (pair + 1 < kPairs) {
        k[0] = load_stored(own + place_of<Line>(item0 + 2) * 64);
        k[1] = load_stored(own + place_of<Line>(item1 + 2) * 64);
      }
      const HalfTile y0 = inverse_of<Line>(item0, shift0, z0, inner), y1 = inverse_of<Line>(item1, shift1, z1, inner);
      warp_barrier();  // every lane has read these slots
      store_slot<Line>(item0, y0);
      store_slot<Line>(item1, y1);
    }
    block_barrier();
    outer_back<Line>();
    const Chunks<Line, !GATE_OUT> gate(gate_window, 0);
    block_barrier();
    const Window<Line, false> out = chunk_of(y + (batch * channels + channel) * length, first, length);
#pragma unroll
    for (int item = 0; item < Line::kItems; item++) {
      float v[8];
      load_result<Line>(v, item);
      if constexpr (GATE_OUT) multiply_chunk(v, gate(item));
      out.put(item, v, factor);
    }
  }
}
