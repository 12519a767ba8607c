// Device memory between the passes: lines of complex fp16, and the scales of their rows.
#pragma once
#include <common/tiles.cuh>

// Where 32 columns of a line are in device memory: 64 bytes of real parts, then 64 of imaginary parts.
struct Lines {
  unsigned char* data;
  int count, points;  // R1, L
  DEVICE unsigned char* at(int row, int line, int tile) const {
    return data + (static_cast<i64>(row * count + line) * points + 32 * tile) * 4;
  }
};

// A tile of 32 columns is scaled by 2^-6(b + 1), where its peak lies in [2^6b, 2^6(b + 1)). Steps are that large so
// that the tiles of most rows share one; where they do not, the line pass makes up for it. The code of a tile is b +
// 32; 0: all zeros; 255: a value is not finite, and the row comes out as not-a-number.
constexpr u32 kNotFinite = 255;
DEVICE u32 code_of(u32 peak) {
  if (peak == 0) return 0;
  int exponent = static_cast<int>(peak >> 23) - 127;
  if (exponent == 128) return kNotFinite;
  exponent = exponent < -120 ? -120 : exponent > 125 ? 125 : exponent;
  return static_cast<u32>((exponent + 192) / 6);
}
DEVICE float power_of_two(int exponent) { return as_float(static_cast<u32>(127 + exponent) << 23); }
DEVICE int exponent_of(u32 code) { return 6 * (static_cast<int>(code) - 31); }
DEVICE float scale_in(u32 code) { return code == 0 || code == kNotFinite ? 1.0f : power_of_two(-exponent_of(code)); }
DEVICE float scale_out(u32 code) {
  return code == 0 ? 1.0f : code == kNotFinite ? as_float(0x7fffffffu) : power_of_two(exponent_of(code));
}
// The range of the codes of a row's tiles: `most` is its scale; `least` is 255 less the smallest code.
struct Range {
  u32 most, least;
  DEVICE bool level() const { return most == 0 || most + least == 255; }
};
// A warp stores the code of its tile.
DEVICE void note_code(u32 code, u32* tile, u32* range) {
  if (lane_index() != 0) return;
  *tile = code;
  if (code == 0) return;
  max_device(range, code);
  max_device(range + 1, 255 - code);
}
