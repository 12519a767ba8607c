// Rows of VOCABULARY logits, one thread each, of which COUNT columns from FIRST on take part.
#pragma once
#include <common/chunks.cuh>

static_assert(VOCABULARY % 8 == 0 && FIRST + COUNT <= VOCABULARY);

// The target of a position: the next token in its row of `length`, if there is one and its column takes part.
struct Target {
  int token;
  float weight;

  DEVICE Target(const int* tokens, const float* weights, int row, int length) : token(-1), weight(0) {
    if (row % length == length - 1) return;
    token = tokens[row + 1] - FIRST;
    if (token >= 0 && token < COUNT) weight = weights ? weights[row + 1] : 1.0f;
  }
};

struct Softmax {
  float values[COUNT];  // exp(logit - most)
  float most, total;

  DEVICE Softmax(const float (&logits)[VOCABULARY]) : most(logits[FIRST]), total(0) {
#pragma unroll
    for (int c = 1; c < COUNT; c++) most = larger(most, logits[FIRST + c]);
#pragma unroll
    for (int c = 0; c < COUNT; c++) total += values[c] = power_of_two((logits[FIRST + c] - most) * 1.44269504f);
  }
};

DEVICE void load_logits(float (&logits)[VOCABULARY], const void* base, int row) {
  const Row<TYPE> from(base, static_cast<i64>(row) * VOCABULARY);
#pragma unroll
  for (int c = 0; c < VOCABULARY / 8; c++) {
    float v[8];
    from.load(8 * c).unpack(v);
#pragma unroll
    for (int i = 0; i < 8; i++) logits[8 * c + i] = v[i];
  }
}
