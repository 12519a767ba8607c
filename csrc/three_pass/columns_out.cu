// Last pass: spectra of lines back to rows. `first` is multiplied by gate_first, `second` by gate_second, where given.
// Lines hold conjugates, so the phases are those of the first pass, and only the real part is needed.
#include <three_pass/results.cuh>

// The part of the lines f1 that a lane loads, for a tile of rows of the matrix.
struct Fetched {
  Eight piece[Columns::kPerTile];
  DEVICE void ask(const Job& job, int row, int tile, int k) {
    const unsigned char* from = job.lines.at(row, LaneEight(0).row, tile);
#pragma unroll
    for (int n = 0; n < Columns::kPerTile; n++) {
      const int step = 16 * k + LaneEight::step() * n;
      piece[n] = {};
      if (LaneEight(0).row + step < job.radix)
        piece[n] = load_eight(LaneEight(0).of(from + static_cast<i64>(step) * Columns::kPoints * 4));
    }
  }
};

// One step: a warp has its own columns, and keeps their twiddles. `next`: prefetched values of this row, then of the
// row `after`.
DEVICE void whole_columns(const Job& job, Fetched& next, int row, int after, int tile) {
  const RowAt at = row_at(job.row_first + row, job.batches);
  const float* scales = job.scales_of(at.channel);
  const float factor = job.factor_of(job.row_first + row, scales);
  Places places(job, at, tile, 0);
  places.ask_first();
  float sum = 0;
  restore_columns(
      job.matrix,
      [&](int k, u32(&z)[2][Columns::kProducts][2]) {
        warp_barrier();  // every lane has read what was in scratch
#pragma unroll
        for (int n = 0; n < Columns::kPerTile; n++) {
          const LaneEight own(n);
          const int f = 16 * k + own.row;
          const Eight w = load_eight_shared(own, [&](int comp) { return Columns::twiddle(f, comp, own.eight); });
          store_eight_shared(
              own, [&](int comp) { return Columns::spectrum(own.row, comp, own.eight); },
              twisted(next.piece[n], w, f < job.radix ? part_of(scales, f) : 0.0f));
        }
        if (k + 1 < Columns::kKeptTiles) next.ask(job, row, tile, k + 1);
        else if (after >= 0) next.ask(job, after, tile, 0);
        warp_barrier();
        load_operands([&](int comp, int f, int eight) { return Columns::spectrum(f, comp, eight); }, z);
      },
      [&](int m, const Strip(&y)[Columns::kProducts]) { places.put_tile(m, y, factor, 0, sum); });
  job.note_sum(row, tile, sum);
}

// Zeros for f1' between r1 and a whole number of tiles, where the matrix is zero.
DEVICE void clear_padding(int radix) {
  const u32 end = Columns::kTileRows * Columns::kKeptTiles * 16 * Columns::kRowBytes;
  for (u32 at = radix * 16 * Columns::kRowBytes + 16 * thread_index(); at < end; at += 16 * 32 * Columns::kWarps)
    for (int buffer = 0; buffer < Columns::kBuffers; buffer++)
      store_shared16(Columns::scratch(buffer * Columns::kBufferRows, 0) + at, uint4{});
}
// Again for rows j, where they have been scratch.
DEVICE void clear_padding_again(int radix, int j) {
  if constexpr (Columns::kKeptTiles > 1) return;  // scratch is of the first tile, the padding of the last
  constexpr int kLanes = Columns::kRowBytes / 16;
  warp_barrier();  // every lane has read what was here
  for (int begin = radix; begin < Columns::kTileRows; begin += 32 / kLanes) {
    const int f = begin + lane_index() / kLanes;
    store_shared16(
        Columns::scratch(f < Columns::kTileRows ? f : Columns::kTileRows - 1, j) + 16 * (lane_index() % kLanes),
        uint4{});
  }
}

// The part of the sixteen lines of one f1' that a warp loads.
struct FetchedLines {
  Eight piece[Columns::kPerTile];
  DEVICE void ask(const Job& job, int row, int tile, int f) {
#pragma unroll
    for (int n = 0; n < Columns::kPerTile; n++) {
      const LaneEight own(n);
      piece[n] = load_eight(own.of(job.lines.at(row, f + job.radix * own.row, tile)));
    }
  }
};

// A block's columns of a row: `number` of all those of a group. The units of a block use its buffers in turns.
struct Unit {
  static constexpr int kPlaces = Columns::kPoints / Columns::kSpan;
  int row, tile;
  DEVICE explicit Unit(int number) : row(number / kPlaces), tile(number % kPlaces * (Columns::kSpan / 32)) {}
};

// What is on its way to shared memory: all lines of a unit, in groups of the f1' that a warp takes in one turn, then
// the gates of that unit. With two buffers the lines of the next unit follow.
struct Ahead {
  static constexpr int kTurns = (Columns::kTileRows * Columns::kKeptTiles - 1) / Columns::kWarps + 1;
  static constexpr int kBehind = Columns::kBuffers == 2 ? kTurns : 0;  // groups of the next unit's lines

  // Every lane asks for what it turns by twiddles. first: the number of f1' = 0 in shared memory.
  static DEVICE void ask_lines(const Job& job, const Unit& unit, int first) {
#pragma unroll 1
    for (int turn = 0; turn < kTurns; turn++) {
      const int f = warp_index() + Columns::kWarps * turn;
      if (f < job.radix) {
#pragma unroll
        for (int n = 0; n < Columns::kPerTile; n++) {
          const LaneEight own(n);
          const unsigned char* from = own.of(job.lines.at(unit.row, f + job.radix * own.row, unit.tile));
          copy_async16<false>(Columns::piece(first + f, own.row, 0, own.eight), from, 16);
          copy_async16<false>(Columns::piece(first + f, own.row, 1, own.eight), from + 64, 16);
        }
      }
      commit_copies();
    }
  }
  // Until this turn's lines are there.
  template <int kTurn = 0>
  static DEVICE void await_lines(int turn) {
    if (turn == kTurn) wait_copies<kTurns - 1 - kTurn + (kBehind > 0 ? 1 + kBehind : 0)>();
    else if constexpr (kTurn + 1 < kTurns) await_lines<kTurn + 1>(turn);
  }
  // `gates` of the h-th j'' of this warp: they wait for the lane that asks.
  static DEVICE void ask_gates(const Places& places, int h) {
#pragma unroll
    for (int m = 0; m < Columns::kTiles; m++)
#pragma unroll
      for (int n = 0; n < Columns::kPerRows; n++)
        copy_async16<true>(Columns::staged(Places::number(h, m, n)), places.by + places.on(m, n),
                           2 * places.valid(m, n));
  }
  static DEVICE void ask_gates(const Job& job, const Unit& unit) {
    const RowAt at = row_at(job.row_first + unit.row, job.batches);
#pragma unroll 1
    for (int h = 0; h < Columns::kOwn; h++)
      ask_gates(Places(job, at, unit.tile, warp_index() + Columns::kWarps * h, h), h);
  }
};

// The unit `after` is asked for in time, unless it is negative; `first`: the number of f1' = 0 in shared memory.
DEVICE void split_columns(const Job& job, const Unit& unit, int after, int first) {
  const int row = unit.row, tile = unit.tile;
  const RowAt at = row_at(job.row_first + row, job.batches);
  const float* scales = job.scales_of(at.channel);
  const float factor = job.factor_of(job.row_first + row, scales);
  FetchedLines next;
  if constexpr (!Columns::kAsync)
    if (warp_index() < job.radix) next.ask(job, row, tile, warp_index());
  block_barrier();  // everybody has read what was here, or in the other buffer
  if constexpr (Columns::kAsync) {
    if constexpr (Columns::kBuffers == 1) {
      Ahead::ask_lines(job, unit, first);
    } else {
      if (after >= 0) Ahead::ask_lines(job, Unit(after), Columns::kBufferRows - first);
      else
        for (int turn = 0; turn < Ahead::kTurns; turn++) commit_copies();
    }
  }
  int turn = 0;
#pragma unroll 1
  for (int f = warp_index(); f < job.radix; f += Columns::kWarps, turn++) {
    const SecondMatrix matrix(job.second_step, f, true);
    const Roots roots(job.twiddles, f, job.radix, tile);
    WorkEight w[Columns::kPerTile];
#pragma unroll
    for (int n = 0; n < Columns::kPerTile; n++) {
      const LaneEight own(n);
      const int line = f + job.radix * own.row;
      w[n] = roots.of(own, line, job.twiddles.of_columns(line, own.eight), part_of(scales, line));
    }
    if constexpr (Columns::kAsync) Ahead::await_lines(turn);
#pragma unroll
    for (int n = 0; n < Columns::kPerTile; n++) {
      const LaneEight own(n);
      const auto place = [&](int comp) { return Columns::piece(first + f, own.row, comp, own.eight); };
      WorkEight z;
      if constexpr (Columns::kAsync) convert(z, load_eight_shared(own, place));
      else convert(z, next.piece[n]);
      twist(z, w[n]);
      store_eight_shared(own, place, rounded(z));
    }
    warp_barrier();
    second_step(first + f, matrix);
    if constexpr (!Columns::kAsync)
      if (f + Columns::kWarps < job.radix) next.ask(job, row, tile, f + Columns::kWarps);
  }
  Places places(job, at, tile, warp_index(), 0);
  places.ask_first();
  float sum = 0;
  if constexpr (kStagedGates) wait_copies<Ahead::kBehind>();
  block_barrier();
#pragma unroll 1
  for (int h = 0; h < Columns::kOwn; h++) {
    const int j = 16 * first + warp_index() + Columns::kWarps * h;
    restore_columns(
        job.matrix,
        [&](int k, u32(&z)[2][Columns::kProducts][2]) {
          load_operands([&](int comp, int f, int eight) { return Columns::piece(16 * k + f, j, comp, eight); }, z);
        },
        [&](int m, const Strip(&y)[Columns::kProducts]) { places.put_tile(m, y, factor, j, sum); });
    clear_padding_again(job.radix, j);
    if (h + 1 < Columns::kOwn) {
      places = Places(job, at, tile, warp_index() + Columns::kWarps * (h + 1), h + 1);
      places.ask_first();
    }
  }
  job.note_sum(row, tile, sum);
  if constexpr (kStagedGates)
    if (after >= 0) Ahead::ask_gates(job, Unit(after));
  if constexpr (Columns::kAsync) commit_copies();
}

extern "C" __global__ void __launch_bounds__(32 * Columns::kWarps, Columns::kBlocksPerSm)
    columns_out(int row_first, int count, void* first, void* gate_first, void* second, void* gate_second,
                unsigned char* lines, const uint4* matrix, const uint4* second_step, const uint4* twiddles,
                const float* scales, const u32* ranges, int batches, int radix, int line_count, int step,
                int first_line, i64 length, u32 factor, const float* skip, void* skipped, void* skipped_gate,
                i64 first_batch, i64 first_channel, i64 gate_first_batch, i64 gate_first_channel, i64 second_batch,
                i64 second_channel, i64 gate_second_batch, i64 gate_second_channel, i64 skipped_batch,
                i64 skipped_channel, i64 skipped_gate_batch, i64 skipped_gate_channel, float* sums) {
  const Job job{{first, first_batch, first_channel},
                {gate_first, gate_first_batch, gate_first_channel},
                {second, second_batch, second_channel},
                {gate_second, gate_second_batch, gate_second_channel},
                {lines, line_count, Columns::kPoints},
                {matrix},
                second_step,
                Twiddles(twiddles, step, first_line, line_count),
                scales,
                ranges,
                row_first,
                batches,
                radix,
                length,
                as_float(factor),
                skip,
                {skipped, skipped_batch, skipped_channel},
                {skipped_gate, skipped_gate_batch, skipped_gate_channel},
                sums};
  launch_dependents();
  job.matrix.set_up();
  if constexpr (Columns::kSplit) {
    clear_padding(radix);
    // Gates are the caller's: they were complete before the first kernel of this call began.
    const auto ask_gates = [&](bool now) {
      if (kStagedGates && now) Ahead::ask_gates(job, Unit(block_index()));
    };
    ask_gates(Columns::kEarly);
    wait_for_dependency();
    ask_gates(!Columns::kEarly);
    if constexpr (Columns::kBuffers == 2) {
      Ahead::ask_lines(job, Unit(block_index()), 0);  // with the gates
      commit_copies();
    }
    const int end = count * Unit::kPlaces;
    int buffer = 0;
    for (int unit = block_index(); unit < end; unit += grid_size()) {
      split_columns(job, Unit(unit), unit + grid_size() < end ? unit + grid_size() : -1, buffer);
      if constexpr (Columns::kBuffers == 2) buffer = Columns::kBufferRows - buffer;
    }
  } else {
    const Share share;
    job.twiddles.fill(share.tile, radix);
    wait_for_dependency();
    Fetched next;
    if (share.first < count) next.ask(job, share.first, share.tile, 0);
    for (int row = share.first; row < count; row += share.step)
      whole_columns(job, next, row, row + share.step < count ? row + share.step : -1, share.tile);
  }
}
