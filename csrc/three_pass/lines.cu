// Middle pass: every line is transformed, multiplied by its filter's and transformed back, in place; conjugated.
#include <three_pass/lines.cuh>

constexpr int kBuffers = LINE_BUFFERS, kPairs = Line::kItems / 2;

// The filter of the last line, kept if it fits the registers: rows of a channel follow one another.
struct Filter {
  static constexpr bool kKept = kPairs == 1;
  const uint4* filter;
  const float* scales;
  i64 place;
  u32 part;
  StoredTile first, second;

  DEVICE void load(int pair) {
    const uint4* own = filter + place * 64 + lane_index();
    first = times(load_stored(own + place_of<Line>(2 * pair) * 64), part);
    second = times(load_stored(own + place_of<Line>(2 * pair + 1) * 64), part);
  }
  DEVICE void begin(int channel, int line, int line_count) {
    const i64 next = (static_cast<i64>(channel) * line_count + line) * (Line::kSize / 256);
    if (kKept && place == next) return;
    place = next;
    part = part_of(scales, channel, line, line_count);
    load(0);
  }
};

extern "C" __global__ void __launch_bounds__(Line::kThreads, Line::kBlocksPerSm)
    lines(int first, int count, unsigned char* data, const uint4* filter, const float* scales, const uint4* tables,
          const u32* codes, const u32* ranges, int batches, int line_count) {
  launch_dependents();
  set_up_lines(tables);
  const InnerTables<Line> inner = load_inner_tables<Line, true>(tables);
  const Lines all{data, line_count, Line::kSize};
  // Blocks have neighbouring units, and units are numbered by line, then by row: the rows of a channel share a filter.
  const i64 units = static_cast<i64>(count) * line_count;
  const int begin = static_cast<int>(units * block_index() / grid_size());
  const int end = static_cast<int>(units * (block_index() + 1) / grid_size());
  const auto load_async = [&](int unit, u32 buffer) {
    if (unit < end) load_line_async(all.at(unit % count, unit / count, 0), buffer);
    commit_copies();
  };
  Filter k{filter, scales, -1};
  u32 buffer = 0;
  wait_for_dependency();
  load_async(begin, 0);
  for (int unit = begin; unit < end; unit++) {
    const int row = unit % count, line = unit / count, channel = (first + row) / batches;
    k.begin(channel, line, line_count);
    // Before the next line is prefetched: this small load would wait for it.
    const Range range{ranges[2 * (first + row)], ranges[2 * (first + row) + 1]};
    if constexpr (kBuffers == 2) load_async(unit + 1, buffer ^ kLineBytes);
    wait_copies<kBuffers - 1>();
    level_line(codes + row * (Line::kSize / 32), range, buffer);
    block_barrier();
    outer_stage<false>(buffer);
    block_barrier();
    // Two items at a time, so that the products of one hide the latency of the other.
#pragma unroll
    for (int pair = 0; pair < kPairs; pair++) {
      const int item0 = 2 * pair, item1 = item0 + 1, shift0 = shift_of<Line>(item0), shift1 = shift_of<Line>(item1);
      const Quarters x0 = load_slot_of(item0, buffer), x1 = load_slot_of(item1, buffer);
      const Work w0 = spectrum_of<Line>(shift0, x0, inner), w1 = spectrum_of<Line>(shift1, x1, inner);
      const HalfTile z0 = conjugate_of_product(k.first, w0), z1 = conjugate_of_product(k.second, w1);
      if (pair + 1 < kPairs) k.load(pair + 1);
      const HalfTile y0 = inverse_of<Line>(item0, shift0, z0, inner), y1 = inverse_of<Line>(item1, shift1, z1, inner);
      warp_barrier();  // every lane has read these slots
      store_slot_of(item0, buffer, y0);
      store_slot_of(item1, buffer, y1);
    }
    block_barrier();
    outer_stage<true>(buffer);
    block_barrier();
    store_line(all.at(row, line, 0), buffer);
    if constexpr (kBuffers == 2) buffer ^= kLineBytes;
    else load_async(unit + 1, 0);
  }
}
