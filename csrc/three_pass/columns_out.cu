// Last pass: spectra of lines back to rows. `first` is times gate_first, `second` times gate_second, where there are
// such. Lines hold conjugates, so the phases are those of the way in, and only the real part is wanted.
#include <three_pass/columns.cuh>

struct Job {
  Rows first, gate_first, second, gate_second;
  Lines lines;
  const uint4* matrix;       // r1 x r1, transposed
  const uint4* second_step;  // kSplit: 16 x 16 for each f1'
  Twiddles twiddles;
  const float* scales;  // of each channel [that of the channel][those of its lines]
  const u32* ranges;    // of each row; null: the scale of the channel is all
  int row_first;
  int batches, radix;
  i64 length;
  float factor;

  DEVICE int tiles() const { return lines.points / 32; }
  DEVICE const float* scales_of(int channel) const { return scales + static_cast<i64>(channel) * (lines.count + 1); }
  // The root of unity of a tile, times the scale of a line beside that of its channel.
  DEVICE float2 root(const float* own, int line, int tile) const {
    const float2 w = twiddles.of_tile(line, tile);
    const float part = own[1 + line] / own[0];
    return {w.x * part, w.y * part};
  }
};

// The gates of this lane's places of a tile, rows j1 = stride j1' + start, as restore_columns goes through them.
struct Gates {
  Four first[GATE_FIRST ? 4 * Columns::kTiles : 1], second[SECOND ? 4 * Columns::kTiles : 1];

  static DEVICE i64 position(const Job& job, int j, int column) {
    return static_cast<i64>(j) * job.lines.points + column;
  }
  static DEVICE unsigned char* place(const Rows& rows, const RowAt& at) {
    return reinterpret_cast<unsigned char*>(rows.data) + at.offset(rows) * (IO_SINGLE ? 4 : 2);
  }
  DEVICE void ask(const Job& job, const RowAt& at, int tile, int start, int stride) {
    const int g = lane_index() >> 2, t = lane_index() & 3;
#pragma unroll
    for (int n = 0; n < 4 * Columns::kTiles; n++) {
      const int j = 16 * (n / 4) + g + 8 * (n / 2 % 2), four = t + 4 * (n % 2);
      const i64 at_position = position(job, j * stride + start, 32 * tile + 4 * four);
      const i64 end = j < job.radix ? job.length : 0;
      if constexpr (GATE_FIRST) first[n] = load_four(place(job.gate_first, at), at_position, end);
      if constexpr (SECOND) second[n] = load_four(place(job.gate_second, at), at_position, end);
    }
  }
  // Four neighbouring columns, the n-th of this lane.
  DEVICE void put(const Job& job, const RowAt& at, float factor, int n, i64 to, const float (&v)[4]) const {
    float w[4] = {v[0], v[1], v[2], v[3]}, gate[4];
    if constexpr (GATE_FIRST) {
      first[n].unpack_to(gate);
#pragma unroll
      for (int c = 0; c < 4; c++) w[c] *= gate[c];
    }
    store_four(w, factor, place(job.first, at), to, job.length);
    if constexpr (SECOND) {
      second[n].unpack_to(gate);
#pragma unroll
      for (int c = 0; c < 4; c++) w[c] = v[c] * gate[c];
      store_four(w, factor, place(job.second, at), to, job.length);
    }
  }
};

DEVICE float factor_of(const Job& job, int row, const float* own) {
  const float scale = own[0] * job.factor;
  return job.ranges == nullptr ? scale : scale * scale_out(job.ranges[2 * row]);
}

DEVICE void whole_tile(const Job& job, int row, int tile) {
  const RowAt at = row_at(job.row_first + row, job.batches);
  const float* own = job.scales_of(at.channel);
  const float factor = factor_of(job, job.row_first + row, own);
  const int four = four_of(lane_index() >> 2);
  Gates gates;
  gates.ask(job, at, tile, 0, 1);
  restore_columns(
      [&](int f, uint2& re, uint2& im) {
        re = im = {};
        if (f >= job.radix) return;
        const unsigned char* from = job.lines.at(row, f, tile) + four * 8;
        re = load_shared_by_all8(from), im = load_shared_by_all8(from + 64);
        const float2 root = job.root(own, f, tile);
        job.twiddles.twist(re.x, im.x, f, 2 * four, root);
        job.twiddles.twist(re.y, im.y, f, 2 * four + 1, root);
      },
      job.matrix,
      [&](int n, int j, int to, const float (&v)[4]) {
        if (j < job.radix) gates.put(job, at, factor, n, Gates::position(job, j, 32 * tile + 4 * to), v);
      });
}

// Zeros for the places of f1' between r1 and whole tiles: they meet zeros of the matrix.
DEVICE void clear_padding(int radix) {
  for (int f = radix; f < 16 * Columns::kTiles; f++)
    for (int place = thread_index(); place < 128; place += 32 * Columns::kWarps)
      store_shared16(Columns::chunk(f, place >> 3, place >> 2 & 1, place & 3), uint4{});
}

DEVICE void split_tile(const Job& job, int row, int tile) {
  const RowAt at = row_at(job.row_first + row, job.batches);
  const float* own = job.scales_of(at.channel);
  const float factor = factor_of(job, job.row_first + row, own);
  block_barrier();  // everybody has read what was here
#pragma unroll 1
  for (int f = warp_index(); f < job.radix; f += Columns::kWarps) {
#pragma unroll
    for (int piece = lane_index(); piece < 64; piece += 32) {
      const int outer = piece >> 2, eight = piece & 3, line = f + job.radix * outer;
      const unsigned char* from = job.lines.at(row, line, tile) + eight * 16;
      const uint4 re = load_shared_by_all16(from), im = load_shared_by_all16(from + 64);
      const float2 root = job.root(own, line, tile);
      u32 r[4] = {re.x, re.y, re.z, re.w}, i[4] = {im.x, im.y, im.z, im.w};
#pragma unroll
      for (int p = 0; p < 4; p++) job.twiddles.twist(r[p], i[p], line, 4 * eight + p, root);
      const uint4 x{r[0], r[1], r[2], r[3]}, y{i[0], i[1], i[2], i[3]};
      const bool odd = outer & 1;  // lanes of two rows take turns, or they would share banks
      store_shared16(Columns::chunk(f, outer, odd, eight), odd ? y : x);
      store_shared16(Columns::chunk(f, outer, !odd, eight), odd ? x : y);
    }
    warp_barrier();
    second_step<true>(f, job.second_step);
  }
  block_barrier();
  const int four = four_of(lane_index() >> 2);
#pragma unroll 1
  for (int j = warp_index(); j < 16; j += Columns::kWarps) {
    Gates gates;
    gates.ask(job, at, tile, j, 16);
    restore_columns(
        [&](int f, uint2& re, uint2& im) {
          re = im = {};
          re = load_shared8(Columns::four(f, j, 0, four)), im = load_shared8(Columns::four(f, j, 1, four));
        },
        job.matrix,
        [&](int n, int outer, int to, const float (&v)[4]) {
          if (outer < job.radix)
            gates.put(job, at, factor, n, Gates::position(job, 16 * outer + j, 32 * tile + 4 * to), v);
        });
  }
}

extern "C" __global__ void __launch_bounds__(32 * Columns::kWarps, Columns::kBlocksPerSm)
    columns_out(int row_first, int count, void* first, void* gate_first, void* second, void* gate_second,
                unsigned char* lines, const uint4* matrix, const uint4* second_step, const uint2* twiddles,
                const float* scales, const u32* ranges, int batches, int radix, int line_count, int points, i64 length,
                u32 factor, i64 first_batch, i64 first_channel, i64 gate_first_batch, i64 gate_first_channel,
                i64 second_batch, i64 second_channel, i64 gate_second_batch, i64 gate_second_channel) {
  const Job job{{first, first_batch, first_channel},
                {gate_first, gate_first_batch, gate_first_channel},
                {second, second_batch, second_channel},
                {gate_second, gate_second_batch, gate_second_channel},
                {lines, line_count, points},
                matrix,
                second_step,
                {twiddles, 0.25f / (static_cast<float>(line_count) * points)},
                scales,
                ranges,
                row_first,
                batches,
                radix,
                length,
                as_float(factor)};
  launch_dependents();
  if constexpr (Columns::kSplit) clear_padding(radix);
  wait_for_dependency();
  if constexpr (Columns::kSplit) {
    for (int unit = block_index(); unit < count * job.tiles(); unit += grid_size())
      split_tile(job, unit / job.tiles(), unit % job.tiles());
  } else {
    for (int unit = block_index() * Columns::kWarps + warp_index(); unit < count * job.tiles();
         unit += grid_size() * Columns::kWarps)
      whole_tile(job, unit / job.tiles(), unit % job.tiles());
  }
}
