// Values of rows: conversion between their 16-bit type and fp32, and the powers of two that scale them for fp16.
#pragma once
#include <common/ptx.cuh>

DEVICE float2 unpack(u32 x) {
  if constexpr (IO_BF16) return {as_float(x << 16), as_float(x & 0xffff0000u)};
  else return unpack_half(x);
}
// Two values times a power of two: bf16 has the exponents of fp32, so pairs are scaled after rounding.
DEVICE u32 pack_scaled(float low, float high, float factor) {
  if constexpr (IO_BF16) return scale_bfloat(pack_bfloat(low, high), permute_bytes(as_bits(factor), 0, 0x3232));
  else return pack_half(low * factor, high * factor);
}
DEVICE void unpack_chunk(float (&out)[8], uint4 x) {
  const u32 words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 v = unpack(words[i]);
    out[2 * i] = v.x, out[2 * i + 1] = v.y;
  }
}

DEVICE void multiply_chunk(float (&v)[8], uint4 x) {
  float factor[8];
  unpack_chunk(factor, x);
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] *= factor[i];
}

DEVICE void scale_chunk(float (&v)[8], float factor) {
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] *= factor;
}

// The full 64-bit product of two 32-bit numbers.
DEVICE i64 multiply_wide(int a, u32 b) { return static_cast<i64>(static_cast<u64>(static_cast<u32>(a)) * b); }

// Powers of two that bring a peak to [2^kTop, 2^(kTop+1)) and back. Rows all below 2^-111 count as zeros. A row that
// holds a value that is not finite is computed as zeros and results in not-a-number: `finite` is false, `out` is
// NaN.
struct Scale {
  float in, out;
  bool finite;
};
template <int kTop>
DEVICE Scale scale_of(u32 peak) {
  constexpr u32 kOne = 1u << 23, kInfinity = 255 * kOne;
  constexpr u32 kLeast = 16 * kOne, kMost = (kTop < 0 ? 253 + kTop : 253) * kOne;  // so that both powers are normal
  u32 exponent = peak & kInfinity;
  exponent = exponent < kLeast ? kLeast : exponent > kMost ? kMost : exponent;
  const bool finite = peak < kInfinity;
  return {as_float((254 + kTop) * kOne - exponent),
          as_float(finite ? exponent - static_cast<u32>(kTop) * kOne : 0x7fffffffu), finite};
}
// Transforms are unitary, so a spectrum is at most sqrt(N) times its row's peak: a product of two stays below 32,768,
// and one with a filter's below 1,449.
constexpr int kRowTop = -1, kFilterTop = 2;
