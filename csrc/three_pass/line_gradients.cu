// Middle pass of the gradients: lines of v and of dc. v times the filter, inverse: c, for the output gate (GATE_OUT).
// dc correlated with the filter, inverse: dv. conj T(v) T(dc) is summed over the batch in order, and after the last of
// the batch also transformed back: dk. All results are conjugated; the first two are in place.
#include <three_pass/lines.cuh>

// Two lines; with room for four, the next two are prefetched.
constexpr int kBuffers = LINE_BUFFERS;
constexpr u32 kPairBytes = 2 * kLineBytes;

extern "C" __global__ void __launch_bounds__(Line::kThreads, Line::kBlocksPerSm)
    line_gradients(int first, int channels, int begin, int end, unsigned char* v_data, unsigned char* dc_data,
                   unsigned char* dk_data, const uint4* filter, const float* scales, float* dk_scales, uint4* partial,
                   const uint4* tables, const u32* v_codes, const u32* dc_codes, const u32* v_ranges,
                   const u32* dc_ranges, int batches, int line_count) {
  launch_dependents();
  set_up_lines(tables);
  const InnerTables<Line> inner = load_inner_tables<Line, true>(tables);
  const Lines vs{v_data, line_count, Line::kSize}, dcs{dc_data, line_count, Line::kSize},
      dks{dk_data, line_count, Line::kSize};
  constexpr int kCodes = Line::kSize / 32;
  const int units = channels * line_count;
  const auto ask = [&](int unit, int batch, u32 buffer) {
    if (unit < units) {
      const int line = unit % line_count, row = unit / line_count * (end - begin) + batch - begin;
      load_line_async(vs.at(row, line, 0), buffer);
      load_line_async(dcs.at(row, line, 0), buffer + kLineBytes);
    }
    commit_copies();
  };
  u32 buffer = 0, next = 0;
  wait_for_dependency();
  if constexpr (kBuffers == 4) ask(block_index(), begin, 0);
#pragma unroll 1
  for (int unit = block_index(); unit < units; unit += grid_size()) {
    const int local = unit / line_count, line = unit % line_count;
    const i64 channel = first + local, place_before = (channel * line_count + line) * (Line::kSize / 256);
    const u32 part = part_of(scales, static_cast<int>(channel), line, line_count);
    const auto filter_of = [&](int item) {
      return times(load_stored(filter + (place_before + place_of<Line>(item)) * 64 + lane_index()), part);
    };
    uint4* own_partial = partial + (static_cast<i64>(local) * line_count + line) * (Line::kSize / 2) + lane_index();
    Tile sums[Line::kItems];
#pragma unroll
    for (int item = 0; item < Line::kItems; item++)
      sums[item] = begin == 0 ? Tile{} : load_sums(own_partial + place_of<Line>(item) * 128);
#pragma unroll 1
    for (int batch = begin; batch < end; batch++) {
      const int row = local * (end - begin) + batch - begin;
      // Before the next lines are prefetched: these small loads would wait for them.
      const i64 whole = channel * batches + batch;
      const Range v_range{v_ranges[2 * whole], v_ranges[2 * whole + 1]};
      const Range dc_range{dc_ranges[2 * whole], dc_ranges[2 * whole + 1]};
      buffer = next;
      if constexpr (kBuffers == 4) {
        const bool more = batch + 1 < end;
        next ^= kPairBytes;
        ask(more ? unit : unit + grid_size(), more ? batch + 1 : begin, next);
        wait_copies<1>();
      } else {
        ask(unit, batch, 0);
        wait_copies<0>();
      }
      const u32 second = buffer + kLineBytes;
      level_line(v_codes + row * kCodes, v_range, buffer);
      level_line(dc_codes + row * kCodes, dc_range, second);
      block_barrier();
      outer_stage<false>(buffer);
      outer_stage<false>(second);
      block_barrier();
      const float weight = scale_out(v_range.most) * scale_out(dc_range.most);
#pragma unroll
      for (int item = 0; item < Line::kItems; item++) {
        const StoredTile k = filter_of(item);
        const Work v = spectrum_of<Line>(shift_of<Line>(item), load_slot_of(item, buffer), inner);
        const StoredTile kept = stored(to_half(v));
        if constexpr (GATE_OUT)
          replace_slot_of(item, buffer,
                          inverse_of<Line>(item, shift_of<Line>(item), conjugate_of_product(k, v), inner));
        const Work dc = spectrum_of<Line>(shift_of<Line>(item), load_slot_of(item, second), inner);
        Tile exact;  // the product may exceed the range of fp16
        convert(exact, dc);
        add_correlation(sums[item], kept, exact, weight);
        replace_slot_of(item, second,
                        inverse_of<Line>(item, shift_of<Line>(item), conjugate_of_correlation(k, dc), inner));
      }
      block_barrier();
      if constexpr (GATE_OUT) outer_stage<true>(buffer);
      outer_stage<true>(second);
      block_barrier();
      if constexpr (GATE_OUT) store_line(vs.at(row, line, 0), buffer);
      store_line(dcs.at(row, line, 0), second);
    }
    if (end < batches) {
#pragma unroll
      for (int item = 0; item < Line::kItems; item++) store_sums(own_partial + place_of<Line>(item) * 128, sums[item]);
      continue;
    }
    u32 peak = 0;
#pragma unroll
    for (int item = 0; item < Line::kItems; item++) {
      const u32 own = peak_bits(sums[item]);
      peak = own > peak ? own : peak;
    }
    const Scale scale = scale_of<kRowTop>(max_over_block(peak, shared_base()));
#pragma unroll
    for (int item = 0; item < Line::kItems; item++) {
      Tile conjugate = affine(sums[item], scale.in, 0.0f);
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) conjugate.im[n][i] = -conjugate.im[n][i];
      replace_slot_of(item, buffer, inverse_of<Line>(item, shift_of<Line>(item), conjugate, inner));
    }
    block_barrier();
    outer_stage<true>(buffer);
    block_barrier();
    store_line(dks.at(local, line, 0), buffer);
    if (thread_index() == 0) {
      float* to = dk_scales + channel * (line_count + 1);
      to[1 + line] = scale.out;
      max_device(reinterpret_cast<u32*>(to), as_bits(scale.out));
    }
    block_barrier();
  }
}
