// Gradients of y = gate_out * c, c = (k + D) conv v, v = gate_in * u, recomputed from the inputs:
//   dgate_out = dy c,   dc = dy gate_out,   dv = (k + D) correlated with dc,   du = dv gate_in,   dgate_in = dv u,
// and sums over the batch of conj T(v) T(dc), from which filter_grad makes dk and dD. Every sum has a fixed order.
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

// A warp's sum over the batch of what belongs to one outer index. Where registers are short, imaginary parts wait in
// shared memory: the compiler would spill them, to where they are not asked for in time.
template <class S>
struct BatchSum {
  static constexpr bool kInShared = S::kSumsInShared;
  Tile sum;

  static DEVICE u32 in_shared(int n) {
    return shared_base() + S::kSums + (warp_index() * 2 + n) * 512 + lane_index() * 16;
  }
  DEVICE void clear() {
    sum = {};
    if constexpr (kInShared) store_shared16(in_shared(0), uint4{}), store_shared16(in_shared(1), uint4{});
  }
  DEVICE void add(const StoredTile& x, const Work& z, float weight) {
    sum = total();
    add_correlation(sum, x, z, weight);
#pragma unroll
    for (int n = 0; n < 2; n++)
      if constexpr (kInShared) store_shared16(in_shared(n), sums_word(sum, n, 1));
  }
  DEVICE Tile total() const {
    Tile out = sum;
#pragma unroll
    for (int n = 0; n < 2; n++) {
      if constexpr (kInShared) set_sums(out.im[n], load_shared16(in_shared(n)));
    }
    return out;
  }
};

// How blocks share out the work. A job is a channel and a slice of its batch, and has sums of its own. The blocks of a
// team take its steps alternately; of several, so that a filter and its sums are in the L2 cache while all work on
// them.
struct Jobs {
  int steps, channels, slices, team;

  DEVICE int count() const { return channels * slices; }
  DEVICE int first() const { return block_index() / team; }
  DEVICE int next(int job) const { return job + grid_size() / team; }
  DEVICE int channel(int job) const { return job / slices; }
  DEVICE int begin(int job) const { return static_cast<u32>(steps * (job % slices)) / slices; }
  DEVICE int end(int job) const { return static_cast<u32>(steps * (job % slices + 1)) / slices; }
  DEVICE int own_begin(int job) const { return begin(job) + block_index() % team; }  // there is such a step
};

// One warp's share of a sum: of rows that share a tile, warps with the same outer index have such. Stores their totals.
template <class S, int kShares>
DEVICE void store_totals(uint4* sums, const Tile& share) {
  const auto at = [](int word) { return shared_base() + S::kExchange + word * 16; };
  block_barrier();  // everybody has read what was here
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int comp = 0; comp < 2; comp++)
      store_shared16(at(warp_index() * 128 + n * 64 + comp * 32 + lane_index()), sums_word(share, n, comp));
  block_barrier();
  for (int word = thread_index(); word < S::kRadix * 128; word += S::kThreads) {
    float total[4] = {};
#pragma unroll
    for (int share = 0; share < kShares; share++) {
      const uint4 x = load_shared16(at(share * S::kRadix * 128 + word));
      total[0] += as_float(x.x), total[1] += as_float(x.y), total[2] += as_float(x.z), total[3] += as_float(x.w);
    }
    sums[word] = {as_bits(total[0]), as_bits(total[1]), as_bits(total[2]), as_bits(total[3])};
  }
}

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    backward(u16* u, u16* gate_in, u16* gate_out, u16* dy, u16* du, u16* dgate_in, u16* dgate_out, const uint4* filter,
             const float* filter_scale, uint4* partial, u32* progress, uint4* workspace, const uint4* tables,
             int batches, int channels, int length, int slices, int team, u32 u_batch, u32 u_channel, u32 gate_in_batch,
             u32 gate_in_channel, u32 gate_out_batch, u32 gate_out_channel, u32 dy_batch, u32 dy_channel) {
  using S = Plan;
  launch_dependents();
  const u32 row = length, image = row * channels;
  const Rows us{u, u_batch, u_channel}, ins{gate_in, gate_in_batch, gate_in_channel};
  const Rows outs{gate_out, gate_out_batch, gate_out_channel}, dys{dy, dy_batch, dy_channel};
  const Rows dus{du, image, row}, dins{dgate_in, image, row}, douts{dgate_out, image, row};
  set_up<S>(tables);
  const Keep<S> keep{workspace};
  const int steps = (batches + S::kRowsPerStep - 1) / S::kRowsPerStep;
  const Jobs jobs{steps, channels, slices, team};
  const auto start_of = [&](int job) { return Batch{jobs.own_begin(job), jobs.channel(job), batches, length}; };
  constexpr bool kStagedSecond = S::kStaged == 1;
  Peaks peaks;
  constexpr bool kOneFilter = S::kSpan == 1 && !S::kHalfShift;  // of a channel and warp
  // Sums over the batch: in registers, or where a warp has too many, in their place in device memory.
  constexpr bool kSumsInRegisters = S::kSpan == 1;
  constexpr int kOwn = S::kSpan * S::kPasses;  // items of a row group
  // Rows stream past the L2 cache. u and gate_in are wanted twice and stay there, but not where nothing is staged: too
  // many rows would wait in the cache then, and crowd out T(v). They come as late as they may, too.
  constexpr bool kCrowded = S::kStaged == 0, kOnce = !GATE_IN || kCrowded;
  // Whether the second half's prefetches are spread over its items; measured.
  constexpr bool kSpread = S::kRadix == 16 && S::kWarps == 16;

  if (jobs.first() < jobs.count()) {
    const Batch start = start_of(jobs.first());
    prefetch_all<S, kOnce>(us, start, S::kSamples);
    commit_copies();
  }
  for (int job = jobs.first(); job < jobs.count(); job = jobs.next(job)) {
    const int channel = jobs.channel(job), begin = jobs.begin(job), end = jobs.end(job);
    const bool last = jobs.next(job) >= jobs.count();
    const Batch following = start_of(jobs.next(job));
    const float filter_back = filter_scale[channel];
    const uint4* own_filter = filter + static_cast<i64>(channel) * (S::kSplit * S::kRadix * 64) + lane_index();
    const auto filter_of = [&](int item) { return load_stored(own_filter + place_of<S>(item) * 64); };
    StoredTile only_filter;  // where there is one
    if constexpr (kOneFilter) only_filter = filter_of(0);
    constexpr int kShares = S::kRadix < 16 ? S::kWarps / S::kRadix : 1;
    const i64 places_before = (static_cast<i64>(job % slices) * channels + channel) * (S::kSplit * S::kRadix);
    uint4* own_partial = partial + places_before * 128;  // slices are outermost
    const auto partial_of = [&](int item) { return own_partial + place_of<S>(item) * 128 + lane_index(); };
    // Steps are added in their order, whichever block they are of: every place counts its own. Counters are asked and
    // signalled for all iterations of `i` together, by one lane each, and late, when what was written has arrived.
    const bool speaks = lane_index() < S::kRun;
    const auto progress_of = [&](int i) {
      return speaks ? progress + places_before + place_of<S>(i * S::kRun + lane_index()) : nullptr;
    };
    const auto await = [&](int i, int step) {
      if (step > begin) await_progress(progress_of(i), step - begin, speaks);
    };
    const auto report = [&](int i, int step) { report_progress(progress_of(i), step + 1 - begin, speaks); };
    const auto add_to_partial = [&](int item, int step, const Tile& sum) {
      if (step == begin) store_sums(partial_of(item), sum);
      else add_sums(partial_of(item), sum);
    };
    BatchSum<S> sums[1 + S::kHalfShift];
#pragma unroll
    for (int shift = 0; shift < 1 + S::kHalfShift; shift++) sums[shift].clear();
    for (int step = jobs.own_begin(job); step < end; step += team) {
      const Batch at{step, channel, batches, length};
      const bool stays = step + team < end, more = stays || !last;
      const Batch next = stays ? Batch{step + team, channel, batches, length} : following;
      float back_v[S::kWarpRows], back_c[S::kWarpRows];

      wait_copies<0>();
      if constexpr (kStagedSecond && kSpread) prefetch_all<S, true>(dys, at, S::kSecond);
      {
        const Chunks<S, !GATE_IN> gate(Window<S, kCrowded>(ins, at), 0);
        const Window<S, true> dy_window(dys, at);
        load_samples<S>(
            [&](int item, float (&v)[8], bool once) {
              unpack_chunk(v, load_shared16(Place<S>::samples(S::kSamples, item)));
              if constexpr (GATE_IN) multiply_chunk(v, gate(item));
              if (kStagedSecond && !kSpread && once) dy_window.prefetch(item, S::kSecond);
            },
            peaks, back_v);
      }
      // Kept through a whole step, the matrices would be spilled: they are loaded for each half of it.
      const InnerTables<S> inner = load_inner_tables<S, true>(tables);
      outer_in<S>();
      block_barrier();
      if constexpr (GATE_OUT) prefetch_all<S, true>(outs, at, S::kSamples);
      commit_copies();
#pragma unroll 1
      for (int i = 0; i < S::kItems / S::kRun; i++) {
#pragma unroll
        for (int pass = 0; pass < S::kRun; pass++) {
          const int item = i * S::kRun + pass;
          StoredTile k = only_filter;
          if constexpr (GATE_OUT && !kOneFilter) k = filter_of(item);
          const Work z = spectrum_of<S>(shift_of<S>(pass), load_slot<S>(item), inner);
          keep.put(item, stored(to_half(z)));
          if constexpr (GATE_OUT) store_back<S>(item, shift_of<S>(pass), conjugate_of_product(k, z), inner);
        }
      }
      block_barrier();
      if constexpr (!kStagedSecond) prefetch_to_l2<S>(dys, at);
      if constexpr (GATE_OUT) outer_back<S>();
      wait_copies<0>();
      {
        const Chunks<S, kStagedSecond> dy_chunk(Window<S, true>(dys, at), S::kSecond);
        const Window<S, true> dgate(douts, at);
        if constexpr (GATE_OUT) block_barrier();
        load_samples<S>(
            [&](int item, float (&v)[8], bool once) {
              unpack_chunk(v, dy_chunk(item));
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
            peaks, back_c);
      }
      if constexpr (GATE_IN && kStagedSecond && !kSpread) prefetch_all<S, true>(us, at, S::kSecond);
      commit_copies();
      const InnerTables<S> inner_again = load_inner_tables<S, true>(tables);
      outer_in<S>();
      block_barrier();
      const auto approach_gate = [&] {
        if constexpr (GATE_IN) {
          if (more) prefetch_to_l2<S>(ins, next);
        }
      };
      if constexpr (!kCrowded) approach_gate();
      const Window<S, true> u_window(us, at);
      const Window<S, kOnce> next_u(us, next);
      const auto prefetch_next = [&](int item) {
        if constexpr (GATE_IN && kStagedSecond && kSpread) u_window.prefetch(item, S::kSecond);
        if (more) next_u.prefetch(item, S::kSamples);
      };
      if constexpr (!kSpread) {
#pragma unroll
        for (int item = 0; item < S::kItems; item++) prefetch_next(item);
        commit_copies();
      }
#pragma unroll 1
      for (int i = 0; i < kOwn / S::kRun; i++) {
#pragma unroll
        for (int pass = 0; pass < S::kRun; pass++) {
          const int own = i * S::kRun + pass;
          StoredTile k = only_filter;
          if constexpr (!kOneFilter) k = filter_of(own);
          BatchSum<S>& sum = sums[S::kHalfShift ? pass : 0];
          if constexpr (!kSumsInRegisters) sum.clear();
#pragma unroll
          for (int group = 0; group < S::kGroups; group++) {
            const int item = group * kOwn + own, warp_row = warp_row_of<S>(group * kOwn + pass);
            const Quarters x = load_slot<S>(item);
            if constexpr (kSpread) prefetch_next(item);
            const Work z = spectrum_of<S>(shift_of<S>(pass), x, inner_again);
            sum.add(keep.get(item), z, back_v[warp_row] * back_c[warp_row]);
            keep.drop(item);
            if constexpr (!kSumsInRegisters) {
              if (group == S::kGroups - 1) {
                if (pass == 0) {
                  if (i > 0) report(i - 1, step);
                  await(i, step);
                }
                add_to_partial(own, step, sum.total());
              }
            }
            store_back<S>(item, shift_of<S>(pass), conjugate_of_correlation(k, z), inner_again);
          }
        }
      }
      if constexpr (kSpread) commit_copies();
      if constexpr (kCrowded) approach_gate();
      block_barrier();
      outer_back<S>();
      if constexpr (!kSumsInRegisters) report(kOwn / S::kRun - 1, step);
      wait_copies<kSpread ? 0 : 1>();
      const Window<S, true> du_out(dus, at), dgate(dins, at), in_window(ins, at);
      constexpr int kAtOnce = S::kItems < 4 ? S::kItems : 4;
#pragma unroll
      for (int start = 0; start < S::kItems; start += kAtOnce) {
        const Chunks<S, !GATE_IN, kAtOnce> gate(in_window, 0, start);
        const Chunks<S, !GATE_IN || kStagedSecond, kAtOnce> u_chunk(u_window, S::kSecond, start);
        if (start == 0) block_barrier();
#pragma unroll
        for (int item = start; item < start + kAtOnce; item++) {
          const float factor = back_c[warp_row_of<S>(item)] * filter_back;
          float v[8], w[8];
          load_result<S>(v, item);
          if constexpr (GATE_IN) {
            unpack_chunk(w, u_chunk(item));
#pragma unroll
            for (int i = 0; i < 8; i++) w[i] *= v[i];
            dgate.put(item, w, factor);
            multiply_chunk(v, gate(item));
          }
          du_out.put(item, v, factor);
        }
      }
      commit_copies();
    }
    if constexpr (kShares > 1) {
      store_totals<S, kShares>(own_partial, sums[0].total());
    } else if constexpr (kSumsInRegisters) {
#pragma unroll
      for (int shift = 0; shift < 1 + S::kHalfShift; shift++) store_sums(partial_of(shift), sums[shift].total());
    }
  }
}
