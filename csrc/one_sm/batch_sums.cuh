// Sums over the batch: of one warp, of the warps that share a place, and of the blocks that share a job.
#pragma once
#include <common/spectra.cuh>
#include <one_sm/shape.cuh>

// How blocks share the work. A job is a channel and a slice of its batch, and has its own sums. The blocks of a team
// take its steps in turn; with several blocks, a filter and its sums stay in the L2 cache while all work on them.
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

// A warp's sum over the batch of what belongs to one outer index. Where registers are short, imaginary parts wait in
// shared memory: the compiler would spill them, and load them back too late.
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

// One warp's share of a sum: where rows share a tile, warps with the same outer index have shares. Stores the totals.
template <class S, int kShares>
DEVICE void store_totals(uint4* sums, const Tile& share) {
  const auto at = [](int word) { return shared_base() + S::kExchange + word * 16; };
  block_barrier();  // all warps have read what was here
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

// A job's sums in device memory, [place][128]. Steps are added in order, whichever block computes them: each place has
// a counter. Counters are polled and signalled for all items of a run together, by one lane each, and late, when the
// writes have arrived.
template <class S>
struct PartialSums {
  uint4* first;    // of place 0
  u32* counters;   // of place 0
  int first_step;  // of the job
  bool speaks;     // whether this lane polls and signals

  DEVICE PartialSums(uint4* partial, u32* progress, const Jobs& jobs, int job) {
    const i64 slice = job % jobs.slices, places = S::kSplit * S::kRadix;
    const i64 before = (slice * jobs.channels + jobs.channel(job)) * places;  // slices are outermost
    first = partial + before * 128, counters = progress + before, first_step = jobs.begin(job);
    speaks = lane_index() < S::kRun;
  }
  DEVICE uint4* at(int item) const { return first + place_of<S>(item) * 128 + lane_index(); }
  DEVICE void add(int item, int step, const Tile& sum) const {
    if (step == first_step) store_sums(at(item), sum);
    else add_sums(at(item), sum);
  }

  DEVICE u32* counter(int run) const { return speaks ? counters + place_of<S>(run * S::kRun + lane_index()) : nullptr; }
  DEVICE void await(int run, int step) const {
    if (step > first_step) await_progress(counter(run), step - first_step, speaks);
  }
  DEVICE void report(int run, int step) const { report_progress(counter(run), step + 1 - first_step, speaks); }
};

// All of a warp's sums: in registers for a whole job or, where they are too many, those of one item at a time.
template <class S>
struct WarpSums {
  static constexpr bool kInRegisters = S::kSpan == 1;
  static constexpr int kShares = S::kRadix < 16 ? S::kWarps / S::kRadix : 1;  // warps with the same outer index
  BatchSum<S> sums[1 + S::kHalfShift];

  DEVICE BatchSum<S>& of(int pass) { return sums[S::kHalfShift ? pass : 0]; }
  DEVICE void clear() {
#pragma unroll
    for (int shift = 0; shift < 1 + S::kHalfShift; shift++) sums[shift].clear();
  }
  // An item's sum of one step, where sums do not stay in registers.
  DEVICE void hand_over(const PartialSums<S>& partial, int run, int pass, int step) {
    if (pass == 0) {
      if (run > 0) partial.report(run - 1, step);
      partial.await(run, step);
    }
    partial.add(run * S::kRun + pass, step, of(pass).total());
  }
  DEVICE void store(const PartialSums<S>& partial) const {
    if constexpr (kShares > 1) {
      store_totals<S, kShares>(partial.first, sums[0].total());
    } else if constexpr (kInRegisters) {
#pragma unroll
      for (int shift = 0; shift < 1 + S::kHalfShift; shift++) store_sums(partial.at(shift), sums[shift].total());
    }
  }
};
