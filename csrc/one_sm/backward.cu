// Gradients of y = gate_out * c, c = (k + D) conv v, v = gate_in * u, recomputed from the inputs:
//   dgate_out = dy c,   dc = dy gate_out,   dv = (k + D) correlated with dc,   du = dv gate_in,   dgate_in = dv u,
// and sums over the batch of conj T(v) T(dc), from which filter_grad makes dk and dD. Every sum has a fixed order.
#include <one_sm/batch_sums.cuh>
#include <one_sm/outer.cuh>
#include <one_sm/products.cuh>
#include <one_sm/rows.cuh>

// T(v) of an item between the two halves of a step: in shared memory, or in this block's part of a workspace.
template <class S>
struct Keep {
  uint4* workspace;
  DEVICE int place(int item) const { return tile_of<S>(item) * 16 + slot_of<S>(item); }
  DEVICE u32 shared_at(int item, int n) const {
    return shared_base() + S::kSpectrum + (place(item) * 2 + n) * 512 + lane_index() * 16;
  }
  DEVICE uint4* global_at(int item) const {
    return workspace + (static_cast<i64>(block_index()) * S::kTiles * 16 + place(item)) * 64 + lane_index();
  }
  DEVICE void put(int item, const StoredTile& x) const {
#pragma unroll
    for (int n = 0; n < 2; n++) {
      if constexpr (S::kSpectrumInShared) store_shared16(shared_at(item, n), x.word[n]);
      else global_at(item)[32 * n] = x.word[n];
    }
  }
  DEVICE StoredTile get(int item) const {
    if constexpr (S::kSpectrumInShared) return load_stored_shared(shared_at(item, 0));
    else return load_stored(global_at(item));
  }
  // Everybody has what they wanted: the cache need not write it to device memory.
  DEVICE void drop(int item) const {
    if constexpr (!S::kSpectrumInShared) {
      warp_barrier();
      if (lane_index() < 8) discard_line(global_at(item) + 7 * lane_index());  // a lane has 16 bytes, a line 128
    }
  }
};

// A channel's filter. Where a warp has one place of it, that stays in registers.
template <class S>
struct Filter {
  static constexpr bool kOne = S::kSpan == 1 && !S::kHalfShift;
  const uint4* words;
  StoredTile only;

  DEVICE Filter(const uint4* filters, int channel)
      : words(filters + static_cast<i64>(channel) * (S::kSplit * S::kRadix * 64) + lane_index()) {
    if constexpr (kOne) only = load(0);
  }
  DEVICE StoredTile load(int item) const { return load_stored(words + place_of<S>(item) * 64); }
  DEVICE StoredTile operator()(int item) const {
    if constexpr (kOne) return only;
    else return load(item);
  }
};

// Every tensor with rows.
struct Tensors {
  Rows u, gate_in, gate_out, dy, du, dgate_in, dgate_out;
};

// When rows are brought to shared memory; measured.
template <class S>
struct Timing {
  static constexpr bool kStagedSecond = S::kStaged == 1;  // dy, later u
  // Rows stream past the L2 cache. u and gate_in are wanted twice and stay there, but not where nothing is staged: too
  // many rows would wait in the cache then, and crowd out T(v). They come as late as they may, too.
  static constexpr bool kCrowded = S::kStaged == 0, kOnce = !GATE_IN || kCrowded;
  // Whether the second half's prefetches are spread over its items.
  static constexpr bool kSpread = S::kRadix == 16 && S::kWarps == 16;
};

// A step takes the rows of one channel that a block has at a time. First half: v -> T(v), kept -> c. Second half:
// dc -> T(dc), which is added to the sums -> dv. Both transform in place, samples -> exchange buffer -> results.

// v = gate_in u as samples, `back` undoes their scaling.
template <class S>
DEVICE void load_inputs(const Tensors& rows, const Batch& at, Peaks& peaks, float (&back)[S::kWarpRows]) {
  using T = Timing<S>;
  wait_copies<0>();
  if constexpr (T::kStagedSecond && T::kSpread) prefetch_all<S, true>(rows.dy, at, S::kSecond);
  const Chunks<S, !GATE_IN> gate(Window<S, T::kCrowded>(rows.gate_in, at), 0);
  const Window<S, true> dy(rows.dy, at);
  load_samples<S>(
      [&](int item, float (&v)[8], bool once) {
        unpack_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
        if constexpr (GATE_IN) multiply_chunk(v, gate(item));
        if (T::kStagedSecond && !T::kSpread && once) dy.prefetch(item, S::kSecond);
      },
      peaks, back);
}

// T(v), kept; and of k T(v) back to c, which the gradient of gate_out wants. Brings gate_out.
template <class S>
DEVICE void convolve(const Tensors& rows, const Batch& at, const Filter<S>& filter, const Keep<S>& keep,
                     const uint4* tables) {
  using T = Timing<S>;
  // Kept through a whole step, the matrices would be spilled: they are loaded for each half of it.
  const InnerTables<S> inner = load_inner_tables<S, true>(tables);
  outer_in<S>();
  block_barrier();
  if constexpr (GATE_OUT) prefetch_all<S, true>(rows.gate_out, at, S::kSamples);
  commit_copies();
#pragma unroll 1
  for (int run = 0; run < S::kItems / S::kRun; run++) {
#pragma unroll
    for (int pass = 0; pass < S::kRun; pass++) {
      const int item = run * S::kRun + pass;
      StoredTile k;
      if constexpr (GATE_OUT) k = filter(item);
      const Work z = spectrum_of<S>(shift_of<S>(pass), load_slot<S>(item), inner);
      keep.put(item, stored(to_half(z)));
      if constexpr (GATE_OUT) store_back<S>(item, shift_of<S>(pass), conjugate_of_product(k, z), inner);
    }
  }
  block_barrier();
  if constexpr (!T::kStagedSecond) prefetch_to_l2<S>(rows.dy, at);
  if constexpr (GATE_OUT) outer_back<S>();
}

// dc = gate_out dy as samples; dgate_out = dy c.
template <class S>
DEVICE void load_gradients(const Tensors& rows, const Batch& at, float filter_back, Peaks& peaks,
                           const float (&back_v)[S::kWarpRows], float (&back)[S::kWarpRows]) {
  using T = Timing<S>;
  wait_copies<0>();
  const Chunks<S, T::kStagedSecond> dy(Window<S, true>(rows.dy, at), S::kSecond);
  const Window<S, true> dgate(rows.dgate_out, at);
  if constexpr (GATE_OUT) block_barrier();
  load_samples<S>(
      [&](int item, float (&v)[8], bool once) {
        unpack_chunk(v, dy(item));
        if constexpr (GATE_OUT) {
          if (once) {
            float c[8];
            load_result<S>(c, item);
#pragma unroll
            for (int i = 0; i < 8; i++) c[i] *= v[i];
            dgate.put(item, c, back_v[warp_row_of<S>(item)] * filter_back);
          }
          multiply_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
        }
      },
      peaks, back);
}

// Brings the next step's gate_in as far as the L2 cache.
template <class S>
DEVICE void approach_gate(const Tensors& rows, const Batch& next, bool more) {
  if constexpr (GATE_IN) {
    if (more) prefetch_to_l2<S>(rows.gate_in, next);
  }
}

// Of T(dc) the sums of conj T(v) T(dc), and k correlated with dc. Brings u again, and the next step's rows.
template <class S>
DEVICE void correlate(const Tensors& rows, const Batch& at, const Batch& next, bool more, const Filter<S>& filter,
                      const Keep<S>& keep, const uint4* tables, WarpSums<S>& sums, const PartialSums<S>& partial,
                      const float (&back_v)[S::kWarpRows], const float (&back_c)[S::kWarpRows]) {
  using T = Timing<S>;
  if constexpr (GATE_IN && T::kStagedSecond && !T::kSpread) prefetch_all<S, true>(rows.u, at, S::kSecond);
  commit_copies();
  const InnerTables<S> inner = load_inner_tables<S, true>(tables);
  outer_in<S>();
  block_barrier();
  if constexpr (!T::kCrowded) approach_gate<S>(rows, next, more);
  const Window<S, true> u(rows.u, at);
  const Window<S, T::kOnce> next_u(rows.u, next);
  const auto prefetch = [&](int item) {
    if constexpr (GATE_IN && T::kStagedSecond && T::kSpread) u.prefetch(item, S::kSecond);
    if (more) next_u.prefetch(item, S::kSamples);
  };
  if constexpr (!T::kSpread) {
#pragma unroll
    for (int item = 0; item < S::kItems; item++) prefetch(item);
    commit_copies();
  }
  constexpr int kOwn = S::kSpan * S::kPasses;  // items of a row group
#pragma unroll 1
  for (int run = 0; run < kOwn / S::kRun; run++) {
#pragma unroll
    for (int pass = 0; pass < S::kRun; pass++) {
      const int own = run * S::kRun + pass;
      const StoredTile k = filter(own);
      BatchSum<S>& sum = sums.of(pass);
      if constexpr (!WarpSums<S>::kInRegisters) sum.clear();
#pragma unroll
      for (int group = 0; group < S::kGroups; group++) {
        const int item = group * kOwn + own, warp_row = warp_row_of<S>(group * kOwn + pass);
        const Quarters x = load_slot<S>(item);
        if constexpr (T::kSpread) prefetch(item);
        const Work z = spectrum_of<S>(shift_of<S>(pass), x, inner);
        sum.add(keep.get(item), z, back_v[warp_row] * back_c[warp_row]);
        keep.drop(item);
        if constexpr (!WarpSums<S>::kInRegisters) {
          if (group == S::kGroups - 1) sums.hand_over(partial, run, pass, at.step);
        }
        store_back<S>(item, shift_of<S>(pass), conjugate_of_correlation(k, z), inner);
      }
    }
  }
  if constexpr (T::kSpread) commit_copies();
  if constexpr (T::kCrowded) approach_gate<S>(rows, next, more);
  block_barrier();
  outer_back<S>();
  if constexpr (!WarpSums<S>::kInRegisters) partial.report(kOwn / S::kRun - 1, at.step);
}

// du = gate_in dv, dgate_in = u dv.
template <class S>
DEVICE void store_gradients(const Tensors& rows, const Batch& at, float filter_back,
                            const float (&back)[S::kWarpRows]) {
  using T = Timing<S>;
  wait_copies<T::kSpread ? 0 : 1>();
  const Window<S, true> u(rows.u, at), du(rows.du, at), dgate(rows.dgate_in, at), gate_in(rows.gate_in, at);
  constexpr int kAtOnce = S::kItems < 4 ? S::kItems : 4;
#pragma unroll
  for (int start = 0; start < S::kItems; start += kAtOnce) {
    const Chunks<S, !GATE_IN, kAtOnce> gate(gate_in, 0, start);
    const Chunks<S, !GATE_IN || T::kStagedSecond, kAtOnce> u_chunk(u, S::kSecond, start);
    if (start == 0) block_barrier();
#pragma unroll
    for (int item = start; item < start + kAtOnce; item++) {
      const float factor = back[warp_row_of<S>(item)] * filter_back;
      float v[8], w[8];
      load_result<S>(v, item);
      if constexpr (GATE_IN) {
        unpack_chunk(w, u_chunk(item));
#pragma unroll
        for (int i = 0; i < 8; i++) w[i] *= v[i];
        dgate.put(item, w, factor);
        multiply_chunk(v, gate(item));
      }
      du.put(item, v, factor);
    }
  }
  commit_copies();
}

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    backward(u16* u, u16* gate_in, u16* gate_out, u16* dy, u16* du, u16* dgate_in, u16* dgate_out, const uint4* filter,
             const float* filter_scale, uint4* partial, u32* progress, uint4* workspace, const uint4* tables,
             int batches, int channels, int length, int slices, int team, u32 u_batch, u32 u_channel, u32 gate_in_batch,
             u32 gate_in_channel, u32 gate_out_batch, u32 gate_out_channel, u32 dy_batch, u32 dy_channel) {
  using S = Plan;
  launch_dependents();
  const u32 row = length, image = row * channels;
  const Tensors rows{{u, u_batch, u_channel},
                     {gate_in, gate_in_batch, gate_in_channel},
                     {gate_out, gate_out_batch, gate_out_channel},
                     {dy, dy_batch, dy_channel},
                     {du, image, row},
                     {dgate_in, image, row},
                     {dgate_out, image, row}};
  set_up<S>(tables);
  const Keep<S> keep{workspace};
  const int steps = (batches + S::kRowsPerStep - 1) / S::kRowsPerStep;
  const Jobs jobs{steps, channels, slices, team};
  const auto start_of = [&](int job) { return Batch{jobs.own_begin(job), jobs.channel(job), batches, length}; };
  Peaks peaks;

  if (jobs.first() < jobs.count()) {
    prefetch_all<S, Timing<S>::kOnce>(rows.u, start_of(jobs.first()), S::kSamples);
    commit_copies();
  }
  for (int job = jobs.first(); job < jobs.count(); job = jobs.next(job)) {
    const int channel = jobs.channel(job), end = jobs.end(job);
    const bool last = jobs.next(job) >= jobs.count();
    const Batch following = start_of(jobs.next(job));
    const float filter_back = filter_scale[channel];
    const Filter<S> filter_of(filter, channel);
    const PartialSums<S> partial_sums(partial, progress, jobs, job);
    WarpSums<S> sums;
    sums.clear();
    for (int step = jobs.own_begin(job); step < end; step += team) {
      const Batch at{step, channel, batches, length};
      const bool stays = step + team < end, more = stays || !last;
      const Batch next = stays ? Batch{step + team, channel, batches, length} : following;
      float back_v[S::kWarpRows], back_c[S::kWarpRows];
      load_inputs<S>(rows, at, peaks, back_v);
      convolve<S>(rows, at, filter_of, keep, tables);
      load_gradients<S>(rows, at, filter_back, peaks, back_v, back_c);
      correlate<S>(rows, at, next, more, filter_of, keep, tables, sums, partial_sums, back_v, back_c);
      store_gradients<S>(rows, at, filter_back, back_c);
    }
    sums.store(partial_sums);
  }
}
