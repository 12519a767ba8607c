// Middle pass: every line is transformed, multiplied by its filter's and transformed back, in place; conjugated.
#include <three_pass/lines.cuh>

constexpr int kBuffers = LINE_BUFFERS, kPairs = Line::kItems / 2;
constexpr bool kStaged = LINE_STAGED;

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

// Which line a block takes: `unit` of those of its group.
struct Place {
  int unit, row, line, channel;
};

// LINE_STAGED: the filter of the line that a block takes next, by asynchronous copies to shared memory, for the lane
// that asks. Rows of a channel follow one another, so it is often there.
struct FilterAhead {
  const uint4* filter;
  i64 place = -1;

  static DEVICE u32 at(int item) {
    constexpr u32 kSlots = Line::kExchange + kBuffers * kLineBytes;
    return shared_base() + kSlots + (item * Line::kWarps + warp_index()) * 1024 + lane_index() * 16;
  }
  DEVICE void ask(int channel, int line, int line_count) {
    const i64 next = (static_cast<i64>(channel) * line_count + line) * (Line::kSize / 256);
    if (place == next) return;
    place = next;
    const uint4* own = filter + place * 64 + lane_index();
#pragma unroll
    for (int item = 0; item < Line::kItems; item++) {
      copy_async16<false>(at(item), own + place_of<Line>(item) * 64, 16);
      copy_async16<false>(at(item) + 512, own + place_of<Line>(item) * 64 + 32, 16);
    }
  }
  static DEVICE StoredTile get(int item, u32 part) { return times(load_stored_shared(at(item)), part); }
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
  const auto load_async = [&](const Place& at, u32 buffer) {
    if (at.unit < end) load_line_async(all.at(at.row, at.line, 0), buffer);
    commit_copies();
  };
  Filter k{filter, scales, -1};
  FilterAhead ahead{filter};
  const auto ask_filter = [&](const Place& at) {
    if (kStaged && at.unit < end) ahead.ask(at.channel, at.line, line_count);
  };
  u32 buffer = 0;
  Place at{begin, begin % count, begin / count, (first + begin % count) / batches};
  ask_filter(at);  // filters were complete before the first kernel of this call began
  wait_for_dependency();
  load_async(at, 0);
  if constexpr (kStaged) commit_copies();
  while (at.unit < end) {
    const int row = at.row, line = at.line, channel = at.channel;
    const bool last = row + 1 == count;
    const Place next{at.unit + 1, last ? 0 : row + 1, line + last, (first + (last ? 0 : row + 1)) / batches};
    if constexpr (!kStaged) k.begin(channel, line, line_count);
    // Before the next line is prefetched: these small loads would wait for it.
    const u32 part = kStaged ? part_of(scales, channel, line, line_count) : 0;
    const Range range{ranges[2 * (first + row)], ranges[2 * (first + row) + 1]};
    if constexpr (kBuffers == 2) load_async(next, buffer ^ kLineBytes);
    // In flight after this line: its filter, and the next line.
    wait_copies<kBuffers == 2 ? 1 + kStaged : 0>();
    level_line(codes + row * (Line::kSize / 32), range, buffer);
    block_barrier();
    outer_stage<false>(buffer);
    block_barrier();
    if constexpr (kStaged) wait_copies<kBuffers - 1>();
    // Two items at a time, so that the products of one hide the latency of the other.
#pragma unroll
    for (int pair = 0; pair < kPairs; pair++) {
      const int item0 = 2 * pair, item1 = item0 + 1, shift0 = shift_of<Line>(item0), shift1 = shift_of<Line>(item1);
      const Quarters x0 = load_slot_of(item0, buffer), x1 = load_slot_of(item1, buffer);
      const Work w0 = spectrum_of<Line>(shift0, x0, inner), w1 = spectrum_of<Line>(shift1, x1, inner);
      if constexpr (kStaged) k.first = FilterAhead::get(item0, part), k.second = FilterAhead::get(item1, part);
      const HalfTile z0 = conjugate_of_product(k.first, w0), z1 = conjugate_of_product(k.second, w1);
      if constexpr (!kStaged)
        if (pair + 1 < kPairs) k.load(pair + 1);
      const HalfTile y0 = inverse_of<Line>(item0, shift0, z0, inner), y1 = inverse_of<Line>(item1, shift1, z1, inner);
      warp_barrier();  // every lane has read these slots
      store_slot_of(item0, buffer, y0);
      store_slot_of(item1, buffer, y1);
    }
    if constexpr (kStaged) ask_filter(next), commit_copies();
    block_barrier();
    outer_stage<true>(buffer);
    block_barrier();
    store_line(all.at(row, line, 0), buffer);
    if constexpr (kBuffers == 2) buffer ^= kLineBytes;
    else load_async(next, 0);
    at = next;
  }
}
