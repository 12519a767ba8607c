// What kernels of gradients do with a chunk's rows before its transforms and after them.
#pragma once
#include <chunked/rows.cuh>

struct Tensors {
  Tensor u, gate_in, gate_out, dy, du, dgate_in, dgate_out;
};

// The same of a batch: (B, H, N), N contiguous.
struct Batched {
  u16* data;
  i64 batch_stride, channel_stride;
  DEVICE Tensor of(i64 batch) const { return {data + batch * batch_stride, channel_stride}; }
};
struct BatchedTensors {
  Batched u, gate_in, gate_out, dy, du, dgate_in, dgate_out;
  DEVICE Tensors of(i64 batch) const {
    return {u.of(batch),  gate_in.of(batch),  gate_out.of(batch), dy.of(batch),
            du.of(batch), dgate_in.of(batch), dgate_out.of(batch)};
  }
};

// v_j = gate_in u as samples, of u that was prefetched; gives what undoes their scaling.
DEVICE float load_inputs(const Tensors& t, const ChunkAt& at, Peaks& peaks) {
  using S = Plan;
  float back[1];
  const Chunks<S, !GATE_IN> gate(at.window<false>(t.gate_in), 0);
  load_samples<S>(
      [&](int item, float (&v)[8], bool) {
        unpack_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
        if constexpr (GATE_IN) multiply_chunk(v, gate(item));
      },
      peaks, back);
  return back[0];
}

// dc_j = gate_out dy likewise, of dy that was prefetched. `owned`: dgate_out = dy c is written, c_j times `factor` are
// the results in the exchange buffer.
DEVICE float load_gradients(const Tensors& t, const ChunkAt& at, Peaks& peaks, float factor, bool owned) {
  using S = Plan;
  float back[1];
  const Chunks<S, !GATE_OUT> gate(at.window<true>(t.gate_out), 0);
  const Window<S, true> dgate = at.window<true>(t.dgate_out);
  if constexpr (GATE_OUT) block_barrier();
  load_samples<S>(
      [&](int item, float (&v)[8], bool once) {
        unpack_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
        if constexpr (GATE_OUT) {
          if (once && owned) {
            float c[8];
            load_result<S>(c, item);
#pragma unroll
            for (int i = 0; i < 8; i++) c[i] *= v[i];
            dgate.put(item, c, factor);
          }
          multiply_chunk(v, gate(item));
        }
      },
      peaks, back);
  return back[0];
}

// du = dv gate_in and dgate_in = dv u; dv_j times `factor` are the results in the exchange buffer, which may be
// overwritten afterwards.
DEVICE void store_gradients(const Tensors& t, const ChunkAt& at, float factor) {
  using S = Plan;
  const Window<S, true> u = at.window<true>(t.u), gate_in = at.window<true>(t.gate_in);
  const Window<S, true> du = at.window<true>(t.du), dgate = at.window<true>(t.dgate_in);
  constexpr int kAtOnce = S::kItems < 4 ? S::kItems : 4;
#pragma unroll
  for (int start = 0; start < S::kItems; start += kAtOnce) {
    const Chunks<S, !GATE_IN, kAtOnce> gate(gate_in, 0, start), input(u, 0, start);
#pragma unroll
    for (int item = start; item < start + kAtOnce; item++) {
      float v[8], w[8];
      load_result<S>(v, item);
      if constexpr (GATE_IN) {
        unpack_chunk(w, input(item));
#pragma unroll
        for (int i = 0; i < 8; i++) w[i] *= v[i];
        dgate.put(item, w, factor);
        multiply_chunk(v, gate(item));
      }
      du.put(item, v, factor);
    }
  }
  block_barrier();  // everybody has their results
}
