// Last pass: spectra of lines back to rows. `first` is multiplied by gate_first, `second` by gate_second, where given.
// Lines hold conjugates, so the phases are those of the first pass, and only the real part is needed.
#include <three_pass/columns.cuh>

struct Job {
  Rows first, gate_first, second, gate_second;
  Lines lines;
  Matrix matrix;
  const uint4* second_step;  // kSplit: 16 x 16 for each f1'
  Twiddles twiddles;
  const float* scales;  // of each channel [that of the channel][those of its lines]
  const u32* ranges;    // of each row; null: the scale of the channel is all
  int row_first;
  int batches, radix;
  i64 length;
  float factor;
  const float* skip;  // SKIP: of each channel, times rows `skipped` and their gate, goes to results before their gates
  Rows skipped, skipped_gate;
  float* sums;  // SKIP_SUMS: of each row, for the gradient of the skip: [kSpan columns][kSplit: warps]

  DEVICE const float* scales_of(int channel) const { return scales + static_cast<i64>(channel) * (lines.count + 1); }
  DEVICE float factor_of(int row, const float* own) const {
    const float scale = own[0] * factor;
    return ranges == nullptr ? scale : scale * scale_out(ranges[2 * row]);
  }
  // A warp's part of what a row adds to the gradient of the skip; its lanes are always added in the same order.
  DEVICE void note_sum(int row, int tile, float sum) const {
    if constexpr (!SKIP_SUMS) return;
    constexpr int kParts = Columns::kSplit ? Columns::kWarps : 1, kPlaces = Columns::kPoints / Columns::kSpan;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += from_lane_across(sum, step);
    const i64 place = static_cast<i64>(row_first + row) * kPlaces + tile / (Columns::kSpan / 32);
    if (lane_index() == 0) sums[place * kParts + (Columns::kSplit ? warp_index() : 0)] = sum;
  }
};
// The scale of a line beside that of its channel. Of filters' gradients only: filters themselves have it undone.
DEVICE float part_of(const float* own, int line) {
  if constexpr (IO_SINGLE) return own[1 + line] / own[0];
  else return 1.0f;
}

// This lane's eights of a row, positions j1 = kStride j + start of its columns, and their gates.
struct Places {
  static constexpr int kStride = Columns::kSplit ? 16 : 1, kCount = Columns::kTiles * Columns::kPerTile;
  static constexpr bool kSecond = SECOND || SKIP_SUMS;  // whether rows gate_second are read
  i64 origin;
  int line;
  Extent extent;
  unsigned char *to, *to_second;
  const unsigned char *by, *by_second, *skipped, *skipped_by;
  float skip;
  Chunk passing[SKIP ? kCount : 1], passing_gate[SKIP_GATED ? kCount : 1];
  Chunk first[GATE_FIRST ? kCount : 1], second[kSecond ? kCount : 1];

  DEVICE Places(const Job& job, const RowAt& at, int tile, int start)
      : line(kStride * LaneEight(0).row + start),
        extent(job.length, 32 * tile + 8 * LaneEight(0).eight),
        to(job.first.at(at)),
        to_second(job.second.at(at)),
        by(job.gate_first.at(at)),
        by_second(job.gate_second.at(at)),
        skipped(job.skipped.at(at)),
        skipped_by(job.skipped_gate.at(at)),
        skip(SKIP ? job.skip[at.channel] : 0.0f) {
    origin = (static_cast<i64>(line) * Columns::kPoints + 32 * tile + 8 * LaneEight(0).eight) * kValueBytes;
  }
  // The n-th eight of the m-th tile of rows: bytes from the row's first value, and how many values the row has there.
  static DEVICE constexpr int step(int m, int n) { return kStride * (16 * m + LaneEight::step() * n); }
  DEVICE i64 on(int m, int n) const { return origin + static_cast<i64>(step(m, n)) * Columns::kPoints * kValueBytes; }
  DEVICE int valid(int m, int n) const { return extent.of(line + step(m, n)); }
  // Prefetches the gates of the m-th tile of rows.
  DEVICE void ask(int m) {
#pragma unroll
    for (int n = 0; n < Columns::kPerTile; n++) {
      const int number = m * Columns::kPerTile + n;
      if constexpr (SKIP) passing[number].load(skipped + on(m, n), valid(m, n));
      if constexpr (SKIP_GATED) passing_gate[number].load(skipped_by + on(m, n), valid(m, n));
      if constexpr (GATE_FIRST) first[number].load(by + on(m, n), valid(m, n));
      if constexpr (kSecond) second[number].load(by_second + on(m, n), valid(m, n));
    }
  }
  DEVICE void ask_first() {
    if constexpr (!Columns::kGatesFirst) return;
#pragma unroll
    for (int m = 0; m < Columns::kTiles; m++) ask(m);
  }
  // Results plus the skip, at their own scale.
  DEVICE void add_skip(int number, float (&v)[8], float factor) const {
    float x[8], gate[8];
    passing[number].unpack_to(x);
    if constexpr (SKIP_GATED) {
      passing_gate[number].unpack_to(gate);
#pragma unroll
      for (int i = 0; i < 8; i++) x[i] *= gate[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = v[i] * factor + skip * x[i];
  }
  // SKIP_SUMS: adds the products of an eight of `skipped` and of the same of `gate_second`, each times its gate.
  DEVICE void add_products(int number, float& sum) const {
    float x[8], y[8], gate[8];
    passing[number].unpack_to(x);
    second[number].unpack_to(y);
    if constexpr (SKIP_GATED) {
      passing_gate[number].unpack_to(gate);
#pragma unroll
      for (int i = 0; i < 8; i++) x[i] *= gate[i];
    }
    if constexpr (GATE_FIRST) {
      first[number].unpack_to(gate);
#pragma unroll
      for (int i = 0; i < 8; i++) y[i] *= gate[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i++) sum += x[i] * y[i];
  }
  DEVICE void put(int m, int n, const float (&found)[8], float factor) const {
    float v[8], w[8], gate[8];
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = found[i];
    if constexpr (SKIP) add_skip(m * Columns::kPerTile + n, v, factor), factor = 1.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) w[i] = v[i];
    if constexpr (GATE_FIRST) {
      first[m * Columns::kPerTile + n].unpack_to(gate);
#pragma unroll
      for (int i = 0; i < 8; i++) w[i] *= gate[i];
    }
    store_eight(w, factor, to + on(m, n), valid(m, n));
    if constexpr (SECOND) {
      second[m * Columns::kPerTile + n].unpack_to(gate);
#pragma unroll
      for (int i = 0; i < 8; i++) w[i] = v[i] * gate[i];
      store_eight(w, factor, to_second + on(m, n), valid(m, n));
    }
  }
  // The m-th tile of results to their places. sum: of products, see above.
  DEVICE void put_tile(int m, const Strip (&y)[Columns::kProducts], float factor, int j, float& sum) {
    if constexpr (!Columns::kGatesFirst) ask(m);
    by_rows(y, j, [&](int n, const float (&v)[8]) {
      // Columns of one step spill less with the products first, those of two steps with the results first.
      if constexpr (SKIP_SUMS && !Columns::kSplit) add_products(m * Columns::kPerTile + n, sum);
      put(m, n, v, factor);
      if constexpr (SKIP_SUMS && Columns::kSplit) add_products(m * Columns::kPerTile + n, sum);
    });
  }
};

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
  const u32 end = 16 * Columns::kKeptTiles * 16 * Columns::kRowBytes;
  for (u32 at = radix * 16 * Columns::kRowBytes + 16 * thread_index(); at < end; at += 16 * 32 * Columns::kWarps)
    store_shared16(shared_base() + Columns::kRows + at, uint4{});
}
// Again for rows j, where they have been scratch.
DEVICE void clear_padding_again(int radix, int j) {
  if constexpr (Columns::kKeptTiles > 1) return;  // scratch is of the first tile, the padding of the last
  constexpr int kLanes = Columns::kRowBytes / 16;
  warp_barrier();  // every lane has read what was here
  for (int begin = radix; begin < 16; begin += 32 / kLanes) {
    const int f = begin + lane_index() / kLanes;
    store_shared16(Columns::scratch(f < 16 ? f : 15, j) + 16 * (lane_index() % kLanes), uint4{});
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

DEVICE void split_columns(const Job& job, int row, int tile) {
  const RowAt at = row_at(job.row_first + row, job.batches);
  const float* scales = job.scales_of(at.channel);
  const float factor = job.factor_of(job.row_first + row, scales);
  FetchedLines next;
  if (warp_index() < job.radix) next.ask(job, row, tile, warp_index());
  block_barrier();  // everybody has read what was here
#pragma unroll 1
  for (int f = warp_index(); f < job.radix; f += Columns::kWarps) {
    const TileRoots roots(job.twiddles, f, job.radix, tile);
    WorkEight w[Columns::kPerTile];
#pragma unroll
    for (int n = 0; n < Columns::kPerTile; n++) {
      const int line = f + job.radix * LaneEight(n).row;
      w[n] = roots.of(LaneEight(n), job.twiddles, line, part_of(scales, line));
    }
#pragma unroll
    for (int n = 0; n < Columns::kPerTile; n++) {
      const LaneEight own(n);
      WorkEight z;
      convert(z, next.piece[n]);
      twist(z, w[n]);
      store_eight_shared(own, [&](int comp) { return Columns::piece(f, own.row, comp, own.eight); }, rounded(z));
    }
    warp_barrier();
    second_step<true>(f, job.second_step);
    if (f + Columns::kWarps < job.radix) next.ask(job, row, tile, f + Columns::kWarps);
  }
  Places places(job, at, tile, warp_index());
  places.ask_first();
  float sum = 0;
  block_barrier();
#pragma unroll 1
  for (int j = warp_index(); j < 16; j += Columns::kWarps) {
    restore_columns(
        job.matrix,
        [&](int k, u32(&z)[2][Columns::kProducts][2]) {
          load_operands([&](int comp, int f, int eight) { return Columns::piece(16 * k + f, j, comp, eight); }, z);
        },
        [&](int m, const Strip(&y)[Columns::kProducts]) { places.put_tile(m, y, factor, j, sum); });
    clear_padding_again(job.radix, j);
    if (j + Columns::kWarps < 16) {
      places = Places(job, at, tile, j + Columns::kWarps);
      places.ask_first();
    }
  }
  job.note_sum(row, tile, sum);
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
    wait_for_dependency();
    constexpr int kPlaces = Columns::kPoints / Columns::kSpan;
    for (int unit = block_index(); unit < count * kPlaces; unit += grid_size())
      split_columns(job, unit / kPlaces, unit % kPlaces * (Columns::kSpan / 32));
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
