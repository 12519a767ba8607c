// Middle pass: every line transformed, times its filter's, and back, in place. Lines come out conjugated.
#include <three_pass/lines.cuh>

constexpr int kBuffers = LINE_BUFFERS;

extern "C" __global__ void __launch_bounds__(Line::kThreads, Line::kBlocksPerSm)
    lines(int first, int count, unsigned char* data, const uint4* filter, const uint4* tables, const u32* codes,
          const u32* ranges, int batches, int line_count) {
  let_next_begin();
  set_up_lines(tables);
  const InnerTables<Line> inner = load_inner_tables<Line, true>(tables);
  const Lines all{data, line_count, Line::kSize};
  // Neighbouring blocks have the same line of different rows, so that those of a channel share its filter in the cache.
  const auto request = [&](int unit, u32 buffer) {
    if (unit < count * line_count) request_line(all.at(unit % count, unit / count, 0), buffer);
    commit_copies();
  };
  u32 buffer = 0;
  await_kernel();
  request(block_index(), 0);
  for (int unit = block_index(); unit < count * line_count; unit += grid_size()) {
    const int row = unit % count, line = unit / count;
    const int channel = (first + row) / batches;
    const uint4* own = filter + (static_cast<i64>(channel) * line_count + line) * (Line::kSize / 4) + lane_index();
    const auto filter_of = [&](int item) { return load_stored(own + place_of<Line>(item) * 64); };
    StoredTile k = filter_of(0);
    if constexpr (kBuffers == 2) request(unit + grid_size(), buffer ^ kLineBytes);
    wait_copies<kBuffers - 1>();
    const u32* range = ranges + 2 * (first + row);
    level_line(codes + row * (Line::kSize / 32), Range{range[0], range[1]}, buffer);
    block_barrier();
    outer_stage<false>(buffer);
    block_barrier();
#pragma unroll
    for (int item = 0; item < Line::kItems; item++) {
      StoredTile next = k;
      if (item + 1 < Line::kItems) next = filter_of(item + 1);
      const Work z = spectrum_of<Line>(turn_of<Line>(item), load_slot_of(item, buffer), inner);
      store_slot_of(item, buffer, inverse_of<Line>(item, turn_of<Line>(item), conjugate_of_product(k, z), inner));
      k = next;
    }
    block_barrier();
    outer_stage<true>(buffer);
    block_barrier();
    store_line(all.at(row, line, 0), buffer);
    if constexpr (kBuffers == 2) buffer ^= kLineBytes;
    else request(unit + grid_size(), 0);
  }
}
