// First pass: rows times gate, scaled to fp16, transformed down the columns, twisted for the lines.
#include <three_pass/columns.cuh>

struct Job {
  Rows rows, gate;
  Lines lines;
  Matrix matrix;
  const uint4* second;  // kSplit: 16 x 16 for each f1'
  Twiddles twiddles;
  u32 *codes, *ranges;  // of each row's tiles; of each row
  int first;            // row of the group
  int batches, radix;
  i64 length;

  // Stores the scales of the tiles from `tile` on.
  DEVICE void note(u32 code, int row, int tile) const {
#pragma unroll
    for (int i = 0; i < Columns::kSpan / 32; i++)
      note_code(code, codes + row * (Columns::kPoints / 32) + tile + i, ranges + 2 * (first + row));
  }
};

// Where this lane's eights of a row are: positions j1 = kStride j1' + start of the warp's columns from `tile` on.
struct Source {
  static constexpr int kStride = Columns::kSplit ? 16 : 1;
  int line;
  Extent extent;
  const unsigned char *rows, *gate;

  DEVICE Source(const Job& job, int row, int tile, int start)
      : line(kStride * LaneEight(0).row + start), extent(job.length, 32 * tile + 8 * LaneEight(0).eight) {
    const RowAt at = row_at(job.first + row, job.batches);
    const int column = 32 * tile + 8 * LaneEight(0).eight;
    const i64 origin = (static_cast<i64>(line) * Columns::kPoints + column) * kValueBytes;
    rows = job.rows.at(at) + origin, gate = job.gate.at(at) + origin;
  }
  // The n-th eight of the k-th tile of rows, of the h-th j'' of this warp: bytes from the first, and how many values
  // the row has there.
  static DEVICE constexpr int step(int h, int k, int n) {
    return kStride * (16 * k + LaneEight::step() * n) + Columns::kWarps * h;
  }
  static DEVICE i64 on(int h, int k, int n) { return static_cast<i64>(step(h, k, n)) * Columns::kPoints * kValueBytes; }
  DEVICE int valid(int h, int k, int n) const { return extent.of(line + step(h, k, n)); }
};

// The part of a row that a lane loads.
struct Loads {
  Chunk rows[Columns::kTiles][Columns::kPerRows], gate[GATE_IN ? Columns::kTiles : 1][Columns::kPerRows];

  DEVICE void ask(const Source& source, int h) {
#pragma unroll
    for (int k = 0; k < Columns::kTiles; k++)
#pragma unroll
      for (int n = 0; n < Columns::kPerRows; n++) {
        rows[k][n].load(source.rows + Source::on(h, k, n), source.valid(h, k, n));
        if constexpr (GATE_IN) gate[k][n].load(source.gate + Source::on(h, k, n), source.valid(h, k, n));
      }
  }
  DEVICE void values(Values& x) const {
#pragma unroll
    for (int k = 0; k < Columns::kTiles; k++)
#pragma unroll
      for (int n = 0; n < Columns::kPerRows; n++) {
        rows[k][n].unpack_to(x.v[k][n]);
        if constexpr (GATE_IN) {
          float w[8];
          gate[k][n].unpack_to(w);
#pragma unroll
          for (int c = 0; c < 8; c++) x.v[k][n][c] *= w[c];
        }
      }
  }
};

// Sums of two products, c and c + 1, times the twiddles of the m-th tile of f1.
DEVICE void twist_products(ColumnSums& re, ColumnSums& im, int m, int c) {
  const int lane = lane_index(), matrix = lane >> 3;
  const int f = 16 * m + (lane & 7) + 8 * (matrix & 1), eight = c + (matrix >> 1);
  u32 wr[4], wi[4];
  load_matrices(wr, Columns::twiddle(f, 0, eight));
  load_matrices(wi, Columns::twiddle(f, 1, eight));
#pragma unroll
  for (int i = 0; i < 2; i++) {
    WorkStrip x, y;
    convert(x, HalfStrip{{wr[2 * i], wr[2 * i + 1]}});
    convert(y, HalfStrip{{wi[2 * i], wi[2 * i + 1]}});
    twiddle(re[c + i], im[c + i], x, y);
  }
}

// One step: a warp has its own columns, and keeps their twiddles.
DEVICE void whole_columns(const Job& job, const Operands& x, int row, int tile) {
  unsigned char* to = job.lines.at(row, 0, tile);
  transform_columns(job.matrix, x, [&](int m, ColumnSums& re, ColumnSums& im) {
    warp_barrier();  // every lane has read what was in scratch
#pragma unroll
    for (int c = 0; c < Columns::kProducts; c += 2) {
      twist_products(re, im, m, c);
      store_products([&](int f, int eight) { return Columns::spectrum(f, 0, eight); }, c, to_half(re[c]),
                     to_half(re[c + 1]));
      store_products([&](int f, int eight) { return Columns::spectrum(f, 1, eight); }, c, to_half(im[c]),
                     to_half(im[c + 1]));
    }
    warp_barrier();
#pragma unroll
    for (int n = 0; n < Columns::kPerTile; n++) {
      const LaneEight own(n);
      const Eight z = load_eight_shared(own, [&](int comp) { return Columns::spectrum(own.row, comp, own.eight); });
      const int f = 16 * m + own.row;
      if (f < job.radix) store_eight(own.of(to + static_cast<i64>(f) * Columns::kPoints * 4), z);
    }
  });
}

// A block's columns of a row: `number` of all those of a group.
struct Unit {
  static constexpr int kPlaces = Columns::kPoints / Columns::kSpan;
  int row, tile;
  DEVICE explicit Unit(int number) : row(number / kPlaces), tile(number % kPlaces * (Columns::kSpan / 32)) {}
  DEVICE Source source(const Job& job) const { return Source(job, row, tile, warp_index()); }
};

// A lane's pieces of the unit that its block takes next, 16 bytes each: the first kStaged come to shared memory by
// asynchronous copies, for the lane that asks; the others only to the L2 cache.
struct Ahead {
  static constexpr int kOf = Chunk::kParts * (1 + GATE_IN);  // pieces of an eight

  // action(number, h, k, n, from the gate, part) for each piece. Those that short columns lack come last.
  template <class Action>
  static DEVICE void each(Action action) {
#pragma unroll
    for (int place = 0; place < Columns::kTiles * Columns::kPerRows; place++)
#pragma unroll
      for (int h = 0; h < Columns::kOwn; h++)
#pragma unroll
        for (int i = 0; i < kOf; i++)
          action((place * Columns::kOwn + h) * kOf + i, h, place / Columns::kPerRows, place % Columns::kPerRows,
                 i >= Chunk::kParts, i % Chunk::kParts);
  }
  static DEVICE const unsigned char* at(const Source& source, int h, int k, int n, bool gate, int part) {
    return (gate ? source.gate : source.rows) + Source::on(h, k, n) + 16 * part;
  }
  static DEVICE void ask(const Source& source) {
    each([&](int number, int h, int k, int n, bool gate, int part) {
      const unsigned char* from = at(source, h, k, n, gate, part);
      const int valid = source.valid(h, k, n);
      if (number < Columns::kStaged) copy_async16<true>(Columns::staged(number), from, 2 * valid);
      else if (valid > 0 && LaneEight(0).eight == 0 && part == 0) prefetch_line(from);
    });
    commit_copies();
  }
  static DEVICE void take(const Source& source, Loads (&loads)[Columns::kOwn]) {
    const auto put = [&](int h, int k, int n, bool gate, int part, const uint4& x) {
      if (gate) loads[h].gate[GATE_IN ? k : 0][n].set(part, x);
      else loads[h].rows[k][n].set(part, x);
    };
    each([&](int number, int h, int k, int n, bool gate, int part) {
      if (number < Columns::kStaged) return;
      uint4 x{};
      if (source.valid(h, k, n) > 0) x = load_device16<true>(at(source, h, k, n, gate, part));
      put(h, k, n, gate, part, x);
    });
    wait_copies<0>();
    each([&](int number, int h, int k, int n, bool gate, int part) {
      if (number < Columns::kStaged) put(h, k, n, gate, part, load_shared16(Columns::staged(number)));
    });
  }
};

// Two steps: a block has the columns; its warps divide first j1'', then f1' among them. The unit `after` is asked for
// in time, unless it is negative.
DEVICE void split_columns(const Job& job, const Unit& unit, int after) {
  constexpr int kOwn = Columns::kOwn;
  const int row = unit.row, tile = unit.tile;
  const u32 word = shared_base() + Columns::kPeaks;
  if (warp_index() == 0) store_shared4(word + 4 * lane_index(), 0);
  Values kept[kOwn];
  u32 most = 0;
  {
    const Source source = unit.source(job);
    Loads loads[kOwn];
    if constexpr (Columns::kStaged > 0) {
      Ahead::take(source, loads);
    } else {
#pragma unroll
      for (int h = 0; h < kOwn; h++) loads[h].ask(source, h);
    }
#pragma unroll
    for (int h = 0; h < kOwn; h++) {
      loads[h].values(kept[h]);
      const u32 own = peak_of(kept[h]);
      most = own > most ? own : most;
    }
  }
  if constexpr (Columns::kStaged > 0)
    if (after >= 0) Ahead::ask(Unit(after).source(job));
  block_barrier();
  if (lane_index() == 0) max_shared(word, most);
  block_barrier();
  const u32 code = code_of(load_shared4(word));
  if (warp_index() == 0) job.note(code, row, tile);
#pragma unroll
  for (int h = 0; h < kOwn; h++) {
    const int j = warp_index() + Columns::kWarps * h;
    const Operands x = operands_of(kept[h], scale_in(code), j);
    if constexpr (Columns::kShort) {
      transform_short_columns(job.matrix, x,
                              [&](int comp, int f, int eight) { return Columns::piece(f, j, comp, eight); });
      continue;
    }
    transform_columns(job.matrix, x, [&](int m, ColumnSums& re, ColumnSums& im) {
#pragma unroll
      for (int c = 0; c < Columns::kProducts; c += 2) {
        store_products([&](int f, int eight) { return Columns::piece(16 * m + f, j, 0, eight); }, c, to_half(re[c]),
                       to_half(re[c + 1]));
        store_products([&](int f, int eight) { return Columns::piece(16 * m + f, j, 1, eight); }, c, to_half(im[c]),
                       to_half(im[c + 1]));
      }
    });
  }
  block_barrier();
#pragma unroll 1
  for (int f = warp_index(); f < job.radix; f += Columns::kWarps) {
    const SecondMatrix matrix(job.second, f, false);
    Eight twiddles[Columns::kPerTile];  // on their way during the second step
#pragma unroll
    for (int n = 0; n < Columns::kPerTile; n++) {
      const LaneEight own(n);
      twiddles[n] = job.twiddles.of_columns(f + job.radix * own.row, own.eight);
    }
    const Roots roots(job.twiddles, f, job.radix, tile);
    second_step(f, matrix);
#pragma unroll
    for (int n = 0; n < Columns::kPerTile; n++) {
      const LaneEight own(n);
      const int line = f + job.radix * own.row;
      WorkEight z;
      convert(z, load_eight_shared(own, [&](int comp) { return Columns::piece(f, own.row, comp, own.eight); }));
      twist(z, roots.of(own, line, twiddles[n]));
      store_eight(own.of(job.lines.at(row, line, tile)), rounded(z));
    }
  }
}

extern "C" __global__ void __launch_bounds__(32 * Columns::kWarps, Columns::kBlocksPerSm)
    columns_in(int first, int count, void* rows, void* gate, unsigned char* lines, const uint4* matrix,
               const uint4* second, const uint4* twiddles, u32* codes, u32* ranges, int batches, int radix,
               int line_count, int step, int first_line, i64 length, i64 row_batch, i64 row_channel, i64 gate_batch,
               i64 gate_channel) {
  const Job job{{rows, row_batch, row_channel},
                {gate, gate_batch, gate_channel},
                {lines, line_count, Columns::kPoints},
                {matrix},
                second,
                Twiddles(twiddles, step, first_line, line_count),
                codes,
                ranges,
                first,
                batches,
                radix,
                length};
  launch_dependents();
  job.matrix.set_up();
  if constexpr (Columns::kSplit) {
    const auto ask_first = [&](bool now) {
      if constexpr (Columns::kStaged > 0)
        if (now) Ahead::ask(Unit(block_index()).source(job));
    };
    // Rows are the caller's: they were complete before the first kernel of this call began.
    ask_first(Columns::kEarly);
    wait_for_dependency();
    ask_first(!Columns::kEarly);
    const int end = count * Unit::kPlaces;
    for (int unit = block_index(); unit < end; unit += grid_size())
      split_columns(job, Unit(unit), unit + grid_size() < end ? unit + grid_size() : -1);
  } else {
    const Share share;
    job.twiddles.fill(share.tile, radix);
    wait_for_dependency();
    Loads loads;
    if (share.first < count) loads.ask(Source(job, share.first, share.tile, 0), 0);
    for (int row = share.first; row < count; row += share.step) {
      Values x;
      loads.values(x);
      const u32 code = code_of(peak_of(x));
      const Operands operands = operands_of(x, scale_in(code), 0);
      // Nothing else is read from device memory while the next row is in flight: it would wait for that row.
      if (row + share.step < count) loads.ask(Source(job, row + share.step, share.tile, 0), 0);
      job.note(code, row, share.tile);
      whole_columns(job, operands, row, share.tile);
    }
  }
}
