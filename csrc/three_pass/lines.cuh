// Lines of L points, one at a time in a block: complex transforms in place in the exchange buffer, which is a row's of
// `one_sm` with complex values in place of real ones and no twist: the columns have it.
#pragma once
#include <common/spectra.cuh>
#include <common/values.cuh>
#include <one_sm/outer.cuh>
#include <three_pass/between.cuh>

using Line = Plan;  // of one_sm/shape.cuh: L = 256 R S points in kTiles tiles

constexpr u32 kLineBytes = Line::kTiles * 16384;
static_assert(Line::kGroups == 1, "one line at a time");

// This thread's chunk of eight points of a line: `number` of kPieces.
struct Piece {
  int position;  // in the line
  u32 re, im;    // in the exchange buffer
  DEVICE Piece(int number, u32 buffer) {
    const int chunk = thread_index() + Line::kThreads * number, outer = chunk >> 5;
    position = 8 * chunk;
    const int a = outer / Line::kSplit, b = outer % Line::kSplit;
    re = Line::exchange(b * Line::kStacked + a / 16, a % 16, chunk & 31, 0) + buffer;
    im = Line::imaginary(re);
  }
  DEVICE unsigned char* of(unsigned char* line) const { return line + (position >> 5) * 128 + (position & 31) * 2; }
};
constexpr int kPieces = Line::kSize / (8 * Line::kThreads);

// buffer: bytes from the first exchange buffer.
DEVICE void load_line_async(unsigned char* line, u32 buffer) {
#pragma unroll
  for (int i = 0; i < kPieces; i++) {
    const Piece piece(i, buffer);
    copy_async16<false>(piece.re, piece.of(line), 16);
    copy_async16<false>(piece.im, piece.of(line) + 64, 16);
  }
}
DEVICE void store_line(unsigned char* line, u32 buffer) {
#pragma unroll
  for (int i = 0; i < kPieces; i++) {
    const Piece piece(i, buffer);
    store_device16<false>(piece.of(line), load_shared16(piece.re));
    store_device16<false>(piece.of(line) + 64, load_shared16(piece.im));
  }
}
// Tiles of 32 columns to the scale of their row, where they have others: this thread's own pieces.
DEVICE void level_line(const u32* codes, const Range& range, u32 buffer) {
  if (range.level()) return;
  for (int i = 0; i < kPieces; i++) {
    const Piece piece(i, buffer);
    const u32 code = codes[piece.position >> 5];
    const int exponent = code == 0 || range.most == kNotFinite ? 0 : exponent_of(code) - exponent_of(range.most);
    const float power = exponent < -24 ? 0.0f : power_of_two(exponent);
    const u32 factor = pack_half(power, power);
    store_shared16(piece.re, times(load_shared16(piece.re), factor));
    store_shared16(piece.im, times(load_shared16(piece.im), factor));
  }
}

DEVICE Quarters load_slot_of(int item, u32 buffer) {
  Quarters x;
  load_matrices_transposed(x.re, slot_address<Line>(item) + buffer);
  load_matrices_transposed(x.im, Line::imaginary(slot_address<Line>(item)) + buffer);
  return x;
}
DEVICE void store_slot_of(int item, u32 buffer, const HalfTile& x) {
  store_matrices(slot_address<Line>(item) + buffer, x.re[0][0], x.re[0][1], x.re[1][0], x.re[1][1]);
  store_matrices(Line::imaginary(slot_address<Line>(item)) + buffer, x.im[0][0], x.im[0][1], x.im[1][0], x.im[1][1]);
}

DEVICE void replace_slot_of(int item, u32 buffer, const HalfTile& x) {
  warp_barrier();  // every lane has read this slot
  store_slot_of(item, buffer, x);
}

// A filter's line has a scale of its own, a power of two: `part` brings it to that of its channel.
DEVICE u32 part_of(const float* scales, int channel, int line, int line_count) {
  const float* own = scales + static_cast<i64>(channel) * (line_count + 1);
  const float part = own[1 + line] / own[0];
  return pack_half(part, part);
}

// sums += (re + i im) (x + i y), the matrix on the left.
DEVICE void multiply_complex(WorkStrip& sum_re, WorkStrip& sum_im, const uint4& re, const uint4& im, const uint4& minus,
                             const u32* x, const u32* y) {
  multiply_add(sum_re.x, re.x, re.y, re.z, re.w, x[0], x[1]);
  multiply_add(sum_im.x, re.x, re.y, re.z, re.w, y[0], y[1]);
  multiply_add(sum_re.x, minus.x, minus.y, minus.z, minus.w, y[0], y[1]);
  multiply_add(sum_im.x, im.x, im.y, im.z, im.w, x[0], x[1]);
}

// Stage a of 16 points, in place. kBack: the transposed matrix, whose table has the imaginary part negated.
template <bool kBack>
DEVICE void stage_short(u32 buffer) {
  constexpr u32 kTable = kBack ? Line::kStageBack : Line::kStageIn;
  const uint4 re = outer_table<Line>(kTable), own = outer_table<Line>(kTable + 512), other = negate(own);
  const uint4 im = kBack ? other : own, minus = kBack ? own : other;
  const int lane = lane_index(), matrix = lane >> 3;
#pragma unroll
  for (int item = 0; item < Line::kItems; item++) {
    const u32 at =
        Line::exchange(tile_of<Line>(item), (lane & 7) + 8 * (matrix & 1), 2 * slot_of<Line>(item) + (matrix >> 1), 0) +
        buffer;
    u32 x[4], y[4];
    load_matrices_transposed(x, at);
    load_matrices_transposed(y, Line::imaginary(at));
    WorkStrip zr[2] = {}, zi[2] = {};
#pragma unroll
    for (int v = 0; v < 2; v++) multiply_complex(zr[v], zi[v], re, im, minus, x + 2 * v, y + 2 * v);
    const HalfStrip r0 = to_half(zr[0]), r1 = to_half(zr[1]), i0 = to_half(zi[0]), i1 = to_half(zi[1]);
    warp_barrier();  // every lane has read these columns
    store_matrices(at, r0.x[0], r0.x[1], r1.x[0], r1.x[1]);
    store_matrices(Line::imaginary(at), i0.x[0], i0.x[1], i1.x[0], i1.x[1]);
  }
}

// Stages a (32 points) and b, in place: a warp has two chunks of eight lags, sixteen chunks apart.
template <bool kBack>
DEVICE void stage_tall(u32 buffer) {
  constexpr int kSplit = Line::kSplit;
  const int lane = lane_index(), t = lane & 3, matrix = lane >> 3;
  const u32 first = Line::exchange(matrix >> 1, (lane & 7) + 8 * (matrix & 1), warp_index(), 0) + buffer;
  const u32 lag_twist = shared_base() + Line::kTables + Line::kLagIn + (warp_index() * 4 + t) * 8;
  constexpr u32 kTable = kBack ? Line::kStageBack : Line::kStageIn;
#pragma unroll
  for (int far = 0; far < 2; far++) {
    u32 x[kSplit][4], y[kSplit][4];
#pragma unroll
    for (int b = 0; b < kSplit; b++) {
      load_matrices_transposed(x[b], first + far * 128 + b * 32768);
      load_matrices_transposed(y[b], Line::imaginary(first) + far * 128 + b * 32768);
    }
    if constexpr (kBack && kSplit > 1) branches_back<Line>(x, y);
    HalfStrip zr[2][kSplit], zi[2][kSplit];
#pragma unroll
    for (int row = 0; row < 2; row++) {
      WorkStrip re[kSplit] = {}, im[kSplit] = {};
#pragma unroll
      for (int column = 0; column < 2; column++) {
        const uint4 mr = outer_table<Line>(kTable + (2 * row + column) * 1024);
        const uint4 own = outer_table<Line>(kTable + (2 * row + column) * 1024 + 512), other = negate(own);
#pragma unroll
        for (int b = 0; b < kSplit; b++)
          multiply_complex(re[b], im[b], mr, kBack ? other : own, kBack ? own : other, x[b] + 2 * column,
                           y[b] + 2 * column);
      }
      if constexpr (!kBack && kSplit > 1) {
#pragma unroll
        for (int b = 1; b < kSplit; b++)
          twiddle_rows(re[b], im[b], outer_table<Line>(Line::kTwistIn + (2 * (b - 1) + row) * 512));
        butterfly_strips<kSplit>(re, im);
#pragma unroll
        for (int b = 0; b < kSplit; b++) {
          if (const int n = lag_twist_of<Line>(b, row); n >= 0) {
            const uint2 w = load_shared8(lag_twist + n * 1024 + far * 512);
            WorkStrip wr, wi;
            convert(wr, HalfStrip{{w.x, w.x}});
            convert(wi, HalfStrip{{w.y, w.y}});
            twiddle(re[b], im[b], wr, wi);
          }
        }
      }
#pragma unroll
      for (int b = 0; b < kSplit; b++) zr[row][b] = to_half(re[b]), zi[row][b] = to_half(im[b]);
    }
    warp_barrier();  // every lane has read these columns
                     // The matrices of `first` are the halves of both tiles of a, as they are written.
#pragma unroll
    for (int b = 0; b < kSplit; b++) {
      const u32 to = first + far * 128 + b * 32768;
      store_matrices(to, zr[0][b].x[0], zr[0][b].x[1], zr[1][b].x[0], zr[1][b].x[1]);
      store_matrices(Line::imaginary(first) + far * 128 + b * 32768, zi[0][b].x[0], zi[0][b].x[1], zi[1][b].x[0],
                     zi[1][b].x[1]);
    }
  }
}
template <bool kBack>
DEVICE void outer_stage(u32 buffer) {
  if constexpr (Line::kStacked == 1) stage_short<kBack>(buffer);
  else stage_tall<kBack>(buffer);
}

DEVICE void set_up_lines(const uint4* tables) {
  for (int i = thread_index(); i < static_cast<int>(Line::kTableBytes / 16); i += Line::kThreads) {
    const bool past = !HALF_SUMS && 16 * i >= static_cast<int>(Line::kTwistIn);  // the twists of fp16
    store_shared16(shared_base() + Line::kTables + 16 * i,
                   tables[Line::kOuter + i + (past ? Line::kTwistBytes / 8 : 0)]);
  }
  block_barrier();
}

// The largest of all threads' values; 128 bytes of shared memory from `word` on are free for it. Ends with a barrier.
DEVICE u32 max_over_block(u32 x, u32 word) {
  if (warp_index() == 0) store_shared4(word + 4 * lane_index(), 0);
  block_barrier();
  x = max_over_warp(x);
  if (lane_index() == 0) max_shared(word, x);
  block_barrier();
  return load_shared4(word);
}
