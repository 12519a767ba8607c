// T(k) + D from the lines of filters; each line has its own power of two as scale.
#include <three_pass/lines.cuh>

extern "C" __global__ void __launch_bounds__(Line::kThreads, Line::kBlocksPerSm)
    line_spectra(int first, int count, unsigned char* data, const float* skip, uint4* filter, float* scales,
                 const uint4* tables, const u32* codes, const u32* ranges, int line_count, u32 root_of_size) {
  launch_dependents();
  set_up_lines(tables);
  const InnerTables<Line> inner = load_inner_tables<Line>(tables);
  const Lines all{data, line_count, Line::kSize};
  wait_for_dependency();
#pragma unroll 1
  for (int unit = block_index(); unit < count * line_count; unit += grid_size()) {
    const int row = unit % count, line = unit / count;
    const i64 channel = first + row;
    load_line_async(all.at(row, line, 0), 0);
    commit_copies();
    wait_copies<0>();
    const Range range{ranges[2 * channel], ranges[2 * channel + 1]};
    level_line(codes + row * (Line::kSize / 32), range, 0);
    block_barrier();
    outer_stage<false>(0);
    block_barrier();
    Tile z[Line::kItems];
    const float factor = scale_out(range.most) * as_float(root_of_size), shift = skip == nullptr ? 0.0f : skip[channel];
    u32 peak = 0;
#pragma unroll
    for (int item = 0; item < Line::kItems; item++) {
      z[item] = affine(spectrum_of<Line, true>(shift_of<Line>(item), load_slot_of(item, 0), inner), factor, shift);
      const u32 own = peak_bits(z[item]);
      peak = own > peak ? own : peak;
    }
    const Scale scale = scale_of<kFilterTop>(max_over_block(peak, shared_base()));
    uint4* own = filter + (channel * line_count + line) * (Line::kSize / 4) + lane_index();
#pragma unroll
    for (int item = 0; item < Line::kItems; item++) {
      const StoredTile out = stored(to_half(affine(z[item], scale.in, 0.0f)));
      uint4* place = own + place_of<Line>(item) * 64;
      place[0] = out.word[0], place[32] = out.word[1];
    }
    if (thread_index() == 0) {
      float* to = scales + channel * (line_count + 1);
      to[1 + line] = scale.out;
      max_device(reinterpret_cast<u32*>(to), as_bits(scale.out));
    }
    block_barrier();
  }
}
