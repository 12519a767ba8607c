// The tanh GELU, written with a sigmoid.
#pragma once
#include <common/chunks.cuh>

// The sigmoid of the tanh GELU: gelu(x) = x s(x), with s(x) = 1 / (1 + exp(-2 u)) and
// u = sqrt(2 / pi) (x + 0.044715 x^3).
DEVICE float gelu_sigmoid(float x) {
  constexpr float kLinear = -2.3022081983f, kCubic = -0.1029432398f;  // -2 sqrt(2 / pi) log2(e), times 0.044715
  return reciprocal(1.0f + power_of_two(x * (kLinear + kCubic * x * x)));
}
