// First pass: rows times gate, scaled to fp16, transformed down the columns, twisted for the lines.
#include <three_pass/columns.cuh>

struct Job {
  Rows rows, gate;
  Lines lines;
  const uint4* matrix;  // r1 x r1
  const uint4* second;  // kSplit: 16 x 16 for each f1'
  Twiddles twiddles;
  u32 *codes, *ranges;  // of each row's tiles; of each row
  int first;            // row of the group
  int batches, radix;
  i64 length;

  DEVICE int tiles() const { return lines.points / 32; }
};

// What a warp loads of a tile for the rows of one step, j1 = stride j1' + start.
struct Loads {
  Four rows[Columns::kTiles][4], gate[GATE_IN ? Columns::kTiles : 1][4];

  DEVICE void ask(const Job& job, int row, int tile, int start, int stride) {
    const RowAt at = row_at(job.first + row, job.batches);
    const int column = 32 * tile + 4 * four_of(lane_index() >> 2);
    constexpr int kWidth = IO_SINGLE ? 4 : 2;
    const unsigned char* from = reinterpret_cast<const unsigned char*>(job.rows.data) + at.offset(job.rows) * kWidth;
    const unsigned char* by = reinterpret_cast<const unsigned char*>(job.gate.data) + at.offset(job.gate) * kWidth;
#pragma unroll
    for (int k = 0; k < Columns::kTiles; k++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const i64 position = static_cast<i64>(row_of(k, i) * stride + start) * job.lines.points + column;
        const i64 end = row_of(k, i) < job.radix ? job.length : 0;
        rows[k][i] = load_four(from, position, end);
        if constexpr (GATE_IN) gate[k][i] = load_four(by, position, end);
      }
  }
  DEVICE void values(Values& x) const {
#pragma unroll
    for (int k = 0; k < Columns::kTiles; k++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        rows[k][i].unpack_to(x.v[k][i]);
        if constexpr (GATE_IN) {
          float w[4];
          gate[k][i].unpack_to(w);
#pragma unroll
          for (int c = 0; c < 4; c++) x.v[k][i][c] *= w[c];
        }
      }
  }
};

// One step: a warp has a tile of its own.
DEVICE void whole_tile(const Job& job, const Loads& loads, int row, int tile) {
  Values x;
  loads.values(x);
  const u32 code = code_of(peak_of(x));
  note_code(code, job.codes + row * job.tiles() + tile, job.ranges + 2 * (job.first + row));
  transform_columns(packed(x, scale_in(code)), job.matrix,
                    [&](int f, int four, const float (&a)[4], const float (&b)[4]) {
                      if (f >= job.radix) return;
                      const float2 root = job.twiddles.of_tile(f, tile);
                      u32 re[2], im[2];
#pragma unroll
                      for (int p = 0; p < 2; p++) {
                        if constexpr (IO_BF16) {
                          re[p] = pack_half(a[2 * p], a[2 * p + 1]), im[p] = pack_half(b[2 * p], b[2 * p + 1]);
                          job.twiddles.twist(re[p], im[p], f, 2 * four + p, root);
                        } else {
                          float2 x{a[2 * p], a[2 * p + 1]}, y{b[2 * p], b[2 * p + 1]};
                          Twiddles::twist(x, y, job.twiddles.table[f * 16 + 2 * four + p], root);
                          re[p] = pack_half(x.x, x.y), im[p] = pack_half(y.x, y.y);
                        }
                      }
                      unsigned char* to = job.lines.at(row, f, tile) + four * 8;
                      store_device8<false>(to, uint2{re[0], re[1]});
                      store_device8<false>(to + 64, uint2{im[0], im[1]});
                    });
}

// Two steps: a block has a tile, its warps share out j1'' and then f1'.
DEVICE void split_tile(const Job& job, int row, int tile) {
  static_assert(Columns::kWarps == 8, "a warp has two of the sixteen j1''");
  constexpr bool kKept = Columns::kTiles <= 2;  // else values are loaded again, from the cache
  const u32 word = shared_base() + Columns::kPeaks;
  if (warp_index() == 0) store_shared4(word + 4 * lane_index(), 0);
  Values kept[kKept ? 2 : 1];
  u32 most = 0;
  {
    Loads loads[kKept ? 2 : 1];
    if constexpr (kKept) {
#pragma unroll
      for (int h = 0; h < 2; h++) loads[h].ask(job, row, tile, warp_index() + 8 * h, 16);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
      if constexpr (!kKept) loads[0].ask(job, row, tile, warp_index() + 8 * h, 16);
      loads[kKept ? h : 0].values(kept[kKept ? h : 0]);
      const u32 own = peak_of(kept[kKept ? h : 0]);
      most = own > most ? own : most;
    }
  }
  block_barrier();
  if (lane_index() == 0) max_shared(word, most);
  block_barrier();
  const u32 code = code_of(load_shared4(word));
  if (warp_index() == 0) note_code(code, job.codes + row * job.tiles() + tile, job.ranges + 2 * (job.first + row));
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int j = warp_index() + 8 * h;
    if constexpr (!kKept) {
      Loads loads;
      loads.ask(job, row, tile, j, 16);
      loads.values(kept[0]);
    }
    const Operands x = packed(kept[kKept ? h : 0], scale_in(code));
    transform_columns(x, job.matrix, [&](int f, int four, const float (&a)[4], const float (&b)[4]) {
      store_shared8(Columns::four(f, j, 0, four), pack_half(a[0], a[1]), pack_half(a[2], a[3]));
      store_shared8(Columns::four(f, j, 1, four), pack_half(b[0], b[1]), pack_half(b[2], b[3]));
    });
  }
  block_barrier();
#pragma unroll 1
  for (int f = warp_index(); f < job.radix; f += Columns::kWarps) {
    second_step<false>(f, job.second);
#pragma unroll
    for (int piece = lane_index(); piece < 64; piece += 32) {
      const int outer = piece >> 2, eight = piece & 3, line = f + job.radix * outer;
      const float2 root = job.twiddles.of_tile(line, tile);
      const bool odd = outer & 1;  // lanes of two rows take turns, or they would share banks
      const uint4 x = load_shared16(Columns::chunk(f, outer, odd, eight));
      const uint4 y = load_shared16(Columns::chunk(f, outer, !odd, eight));
      const uint4 re = odd ? y : x, im = odd ? x : y;
      u32 r[4] = {re.x, re.y, re.z, re.w}, i[4] = {im.x, im.y, im.z, im.w};
#pragma unroll
      for (int p = 0; p < 4; p++) job.twiddles.twist(r[p], i[p], line, 4 * eight + p, root);
      unsigned char* to = job.lines.at(row, line, tile) + eight * 16;
      store_device16<false>(to, uint4{r[0], r[1], r[2], r[3]});
      store_device16<false>(to + 64, uint4{i[0], i[1], i[2], i[3]});
    }
  }
}

extern "C" __global__ void __launch_bounds__(32 * Columns::kWarps, Columns::kBlocksPerSm)
    columns_in(int first, int count, void* rows, void* gate, unsigned char* lines, const uint4* matrix,
               const uint4* second, const uint2* twiddles, u32* codes, u32* ranges, int batches, int radix,
               int line_count, int points, i64 length, i64 row_batch, i64 row_channel, i64 gate_batch,
               i64 gate_channel) {
  const Job job{{rows, row_batch, row_channel},
                {gate, gate_batch, gate_channel},
                {lines, line_count, points},
                matrix,
                second,
                {twiddles, 0.25f / (static_cast<float>(line_count) * points)},
                codes,
                ranges,
                first,
                batches,
                radix,
                length};
  launch_dependents();
  wait_for_dependency();
  const int tiles = job.tiles();
  if constexpr (Columns::kSplit) {
    for (int unit = block_index(); unit < count * tiles; unit += grid_size())
      split_tile(job, unit / tiles, unit % tiles);
  } else {
    const int stride = grid_size() * Columns::kWarps;
    int unit = block_index() * Columns::kWarps + warp_index();
    Loads loads;
    if (unit < count * tiles) loads.ask(job, unit / tiles, unit % tiles, 0, 1);
    for (; unit < count * tiles; unit += stride) {
      Loads next;
      if (unit + stride < count * tiles) next.ask(job, (unit + stride) / tiles, (unit + stride) % tiles, 0, 1);
      whole_tile(job, loads, unit / tiles, unit % tiles);
      loads = next;
    }
  }
}
