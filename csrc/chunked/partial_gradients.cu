// Gradients of `one_sm/chunks`, recomputed from the inputs: rows of any length whose filter has up to P taps, T(k) + D.
// What chunk j of the result has from chunk j - 1 is i T(k) X_(j - 1), so with X_j = T(v_j) and C_j = T(dc_j)
//   dgate_out = dy c,   c_j = Re T^-1(T(k) (X_j + i X_(j - 1))),     dc = dy gate_out,
//   du = dv gate_in,    dv_j = Re T^-1(conj(T(k)) W_j),              W_j = C_j - i C_(j + 1),     dgate_in = dv u,
// and the sum over rows and chunks of conj(X_j) W_j is what filter_grad makes dk and dD of.
// A block goes from chunk to chunk; it has a channel and a share of its chunks, and the sum over them to itself. Where
// a share begins or ends within a row, what is beyond it is transformed once more.
#include <chunked/gradients.cuh>

// Three spectra of this block: of the inputs of two chunks in turns, and of the gradients of one. Every thread reads
// only what it wrote itself.
struct Held {
  uint4* first;
  DEVICE uint4* at(int which, int item) const {
    const int slot = tile_of<Plan>(item) * 16 + slot_of<Plan>(item);
    return first + (which * (Plan::kTiles * 16) + slot) * 64 + lane_index();
  }
  DEVICE uint4* inputs(int chunk, int item) const { return at(chunk & 1, item); }
  DEVICE uint4* gradients(int item) const { return at(2, item); }
};

// x + i more and x - i more, each times its weight.
DEVICE Tile with_turned(const Tile& x, float weight, const Tile& more, float weight_of_more, float sign) {
  Tile out;
  const float turned = sign * weight_of_more;
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      out.re[n][i] = x.re[n][i] * weight - more.im[n][i] * turned;
      out.im[n][i] = x.im[n][i] * weight + more.re[n][i] * turned;
    }
  return out;
}
DEVICE HalfTile with_turned(const HalfTile& x, float weight, const HalfTile& more, float weight_of_more, float sign) {
  HalfTile out;
  const u32 own = pack_half(weight, weight), turned = pack_half(sign * weight_of_more, sign * weight_of_more);
#pragma unroll
  for (int n = 0; n < 2; n++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const u32 minus = multiply_half(negate_half(more.im[n][r]), turned);
      out.re[n][r] = fuse_half(x.re[n][r], own, minus);
      out.im[n][r] = fuse_half(x.im[n][r], own, multiply_half(more.re[n][r], turned));
    }
  return out;
}

// Two spectra at the larger of their scales, `before` and `own`; 0 stands for one that is not there.
struct Meeting {
  float most, before, own;
  DEVICE Meeting(float scale_before, float scale_own, float room = 1.0f)
      : most(larger(scale_before, scale_own) * room), before(scale_before / most), own(scale_own / most) {}
};

// A share's chunks of one row, and where the filter, its sum and the spectra are.
struct Run {
  Tensors tensors;
  Row row;
  int channel, first, last;
  const uint4* tables;
  const uint4* filter;  // of place 0, this lane's
  uint4* sums;          // likewise
  Held held;
  float filter_back;
  DEVICE ChunkAt at(int chunk) const { return {row, channel, chunk}; }
};

// The samples -> X_j, kept; with an output gate c_j, too, is left as results in the exchange buffer, at the scale that
// is returned. scale_before: of X_(j - 1), 0 where there is none.
DEVICE float transform_inputs(const Run& run, int chunk, float scale_before, float scale) {
  using S = Plan;
  const InnerTables<S> inner = load_inner_tables<S, true>(run.tables);
  outer_in<S>();
  block_barrier();
  const bool owned = chunk >= run.first;
  run.at(owned ? chunk : chunk + 1).prefetch(owned ? run.tensors.dy : run.tensors.u);
  commit_copies();
  if constexpr (GATE_OUT) run.at(chunk).approach(run.tensors.gate_out);
  const Meeting meeting(scale_before, scale);
#pragma unroll 1
  for (int pair = 0; pair < kPairs; pair++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int item = 2 * pair + i, shift = shift_of<S>(i);
      const Work x = spectrum_of<S>(shift, load_slot<S>(item), inner);
      store_stored(run.held.inputs(chunk, item), stored(to_half(x)));
      if constexpr (GATE_OUT) {
        if (!owned) continue;
        const StoredTile k = load_stored(run.filter + place_of<S>(item) * 64);
        StoredTile before = {};
        if (chunk > 0) before = load_stored(run.held.inputs(chunk - 1, item));
        const Work both = with_turned(x, meeting.own, work_of(before), meeting.before, 1.0f);
        store_back<S>(item, shift, conjugate_of_product(k, both), inner);
      }
    }
  }
  block_barrier();
  if constexpr (GATE_OUT) {
    if (owned) outer_back<S>();
  }
  return meeting.most * run.filter_back;
}

// The samples -> C_j, kept, and with it dv_(j - 1) as results in the exchange buffer, at the scale that is returned.
// `present`: there are samples, else C_j is zero. scale_before: of C_(j - 1), 0 where its chunk is not the share's.
DEVICE float transform_gradients(const Run& run, int chunk, bool present, float scale_x, float scale_before,
                                 float scale, bool fresh) {
  using S = Plan;
  const InnerTables<S> inner = load_inner_tables<S, true>(run.tables);
  if (present) {
    outer_in<S>();
    block_barrier();
  }
  const int next = chunk + 1;
  if (next < run.last) {
    run.at(next).prefetch(run.tensors.u);
    if constexpr (GATE_IN) run.at(next).approach(run.tensors.gate_in);
  } else if (next == run.last && next < run.row.chunks) {
    run.at(next).prefetch(run.tensors.dy);
  }
  commit_copies();
  const bool back = chunk > run.first;
  if (GATE_IN && back) run.at(chunk - 1).approach(run.tensors.u), run.at(chunk - 1).approach(run.tensors.gate_in);
  const Meeting meeting(scale_before, scale, 2.0f);  // so that W_j, too, is at most the root of P
#pragma unroll 1
  for (int pair = 0; pair < kPairs; pair++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int item = 2 * pair + i, shift = shift_of<S>(i);
      Work c = {};
      if (present) c = spectrum_of<S>(shift, load_slot<S>(item), inner);
      if (back) {
        const StoredTile k = load_stored(run.filter + place_of<S>(item) * 64);
        const StoredTile x = load_stored(run.held.inputs(chunk - 1, item));
        uint4* to = run.sums + place_of<S>(item) * 128;
        const Work w =
            with_turned(work_of(load_stored(run.held.gradients(item))), meeting.before, c, meeting.own, -1.0f);
        Tile sum = {};
        add_correlation(sum, x, w, scale_x * meeting.most);
        if (fresh) store_sums(to, sum);
        else add_sums(to, sum);
        store_back<S>(item, shift, conjugate_of_correlation(k, w), inner);
      }
      if (chunk < run.last) store_stored(run.held.gradients(item), stored(to_half(c)));
    }
  }
  block_barrier();
  if (back) {
    outer_back<S>();
    block_barrier();
  }
  return meeting.most * run.filter_back;
}

// All of a run. `fresh`: its sum holds nothing yet.
DEVICE void go_through(const Run& run, Peaks& peaks, bool fresh) {
  const Tensors& t = run.tensors;
  float scale_x = 0, scale_c = 0;  // of the chunk before
  const int start = run.first > 0 ? run.first - 1 : 0;
  run.at(start).prefetch(t.u);
  commit_copies();
  for (int chunk = start; chunk <= run.last; chunk++) {
    const ChunkAt at = run.at(chunk);
    float scale = 0, factor = 0;
    if (chunk < run.last) {
      wait_copies<0>();
      if (chunk >= run.first) at.approach(t.dy);
      scale = load_inputs(t, at, peaks);
      factor = transform_inputs(run, chunk, scale_x, scale);
    }
    if (chunk >= run.first) {
      const bool present = chunk < run.row.chunks;
      float scale_own = 0;
      if (present) {
        wait_copies<0>();
        scale_own = load_gradients(t, at, peaks, factor, chunk < run.last);
      }
      const float back = transform_gradients(run, chunk, present, scale_x, scale_c, scale_own, fresh);
      if (chunk > run.first) {
        store_gradients(t, run.at(chunk - 1), back);
        fresh = false;
      }
      scale_c = scale_own;
    }
    scale_x = scale;
  }
}

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    partial_gradients(u16* u, u16* gate_in, u16* gate_out, u16* dy, u16* du, u16* dgate_in, u16* dgate_out,
                      const uint4* filter, const float* filter_scale, uint4* partial, const uint4* tables,
                      uint4* workspace, int batches, int channels, int length, int slices, i64 u_batch, i64 u_channel,
                      i64 gate_in_batch, i64 gate_in_channel, i64 gate_out_batch, i64 gate_out_channel, i64 dy_batch,
                      i64 dy_channel) {
  using S = Plan;
  launch_dependents();
  const i64 row = length, image = row * channels;
  const BatchedTensors all{{u, u_batch, u_channel},
                           {gate_in, gate_in_batch, gate_in_channel},
                           {gate_out, gate_out_batch, gate_out_channel},
                           {dy, dy_batch, dy_channel},
                           {du, image, row},
                           {dgate_in, image, row},
                           {dgate_out, image, row}};
  const int count = (length - 1) / S::kSize + 1;
  const Held held{workspace + static_cast<i64>(block_index()) * 3 * (S::kSize / 4)};
  set_up<S>(tables);
  Peaks peaks;
  for (int job = block_index(); job < channels * slices; job += grid_size()) {
    const int channel = job / slices, slice = job % slices;
    const i64 chunks = static_cast<i64>(batches) * count, end = chunks * (slice + 1) / slices;
    const i64 begin = chunks * slice / slices;
    for (i64 unit = begin; unit < end;) {
      const i64 batch = unit / count, left = end - batch * count;
      const int first = static_cast<int>(unit - batch * count), last = static_cast<int>(left < count ? left : count);
      const i64 place = static_cast<i64>(slice) * channels + channel;
      go_through({all.of(batch),
                  {0, length, count},
                  channel,
                  first,
                  last,
                  tables,
                  filter + static_cast<i64>(channel) * (S::kSize / 4) + lane_index(),
                  partial + place * (S::kSize / 2) + lane_index(),
                  held,
                  filter_scale[channel]},
                 peaks, unit == begin);
      unit += last - first;
    }
  }
}
