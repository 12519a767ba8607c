// Gradients of cluster_rows, recomputed from the inputs. With X_j = T(v_j), C_j = T(dc_j) of the chunks of a row:
//   dgate_out = dy c,   dc = dy gate_out,   dv_j = Re T^-1(sum over d of conj(G_d) C_(j + d)),   du = dv gate_in,
//   dgate_in = dv u,    dG_d = sum over rows and j of conj(X_j) C_(j + d), from which filter_grad makes dk and dD.
// What cluster_rows does with X_j is done here with the C_j as well. In between the X_j wait in a workspace of the
// cluster, to meet the C_j. A cluster has a channel and a share of the batch, and the sums over them to itself; of each
// place one thread adds to them, row after row, so every sum has a fixed order.
#include <chunked/gradients.cuh>
#include <cluster/shares.cuh>
#include <one_sm/batch_sums.cuh>

// Sums of conj(x) z over half a slot, as this lane has it in fp32 sums.
struct HalfSum {
  float re[4] = {}, im[4] = {};
  DEVICE void add(const uint4& x, const uint4& z, float weight) {
    const u32 xs[4] = {x.x, x.y, x.z, x.w}, zs[4] = {z.x, z.y, z.z, z.w};
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const u32 xre = xs[2 * r], xim = xs[2 * r + 1], zre = zs[2 * r], zim = zs[2 * r + 1];
      float2 sum_re, sum_im;
      if constexpr (HALF_SUMS) {  // in fp16 it stays below 32,768 (rows.cuh)
        sum_re = unpack_half(fuse_half(zre, xre, multiply_half(zim, xim)));
        sum_im = unpack_half(fuse_half(zim, xre, multiply_half(negate_half(zre), xim)));
      } else {
        const float2 a = unpack_half(xre), b = unpack_half(xim), c = unpack_half(zre), d = unpack_half(zim);
        sum_re = {c.x * a.x + d.x * b.x, c.y * a.y + d.y * b.y};
        sum_im = {d.x * a.x - c.x * b.x, d.y * a.y - c.y * b.y};
      }
      re[2 * r] += weight * sum_re.x, re[2 * r + 1] += weight * sum_re.y;
      im[2 * r] += weight * sum_im.x, im[2 * r + 1] += weight * sum_im.y;
    }
  }
  DEVICE void scale(float factor) {
#pragma unroll
    for (int i = 0; i < 4; i++) re[i] *= factor, im[i] *= factor;
  }
};
DEVICE uint4 words(const float (&x)[4]) { return {as_bits(x[0]), as_bits(x[1]), as_bits(x[2]), as_bits(x[3])}; }

// A row, and what its cluster has for it: the spectra of its filter, the sums for their gradients and room for the X_j,
// all from this lane's words of chunk 0 on.
struct Run {
  const Tensors& tensors;
  const ChunkAt& at;
  const Cluster& cluster;
  const uint4 *tables, *filter;
  uint4 *sums, *kept;
  float filter_back;
  bool fresh;  // the sums hold nothing yet
};

// v_j -> X_j, kept. With an output gate, c_j is left as results in the exchange buffer, at the scale that is returned.
// Brings dy to the samples.
DEVICE float transform_inputs(const Run& run, Peaks& peaks) {
  const Tensors& t = run.tensors;
  wait_copies<0>();
  run.at.approach(t.dy);
  run.cluster.note_scale(0, load_inputs(t, run.at, peaks));
  {
    const InnerTables<S> inner = load_inner_tables<S, true>(run.tables);
    outer_in<S>();
    block_barrier();
    run.at.prefetch(t.dy);
    commit_copies();
    if constexpr (GATE_OUT) run.at.approach(t.gate_out);
    uint4* own = run.kept + run.cluster.rank * kChunk;
    transform_slots<GATE_OUT, 1>(inner,
                                 [&](int item, const StoredTile& x) { store_stored(own + place_of<S>(item) * 64, x); });
  }
  if constexpr (GATE_OUT) {
    cluster_barrier();
    const Scales scales = run.cluster.scales(0);
    multiply<false>(run.cluster, run.filter, [&](const HalfSlot&, uint4(&x)[kBlocks]) { scales.level(x); });
    cluster_barrier();
    transform_back<1>(run.tables);
    return scales.most * run.filter_back;
  }
  return 0.0f;
}

// Adds conj(X_j) C_(j + d) of half a slot to the sums of every d, and brings the C_j to one scale: after that, where
// products are in fp16, which has no room for two small factors, else before, which takes fewer registers.
DEVICE void add_products(const Run& run, const HalfSlot& slot, uint4 (&c)[kBlocks]) {
  constexpr bool kLevel = !HALF_SUMS;
  const Scales of_x = run.cluster.scales(0), of_c = run.cluster.scales(1);  // not kept, for the same reason
  uint4 x[kBlocks];
#pragma unroll
  for (int j = 0; j < kBlocks; j++) x[j] = load_shared_by_all16(slot.of(run.kept + j * kChunk));
  if constexpr (kLevel) of_x.level(x), of_c.level(c);
#pragma unroll
  for (int d = 0; d < kBlocks; d++) {
    HalfSum sum;
#pragma unroll
    for (int j = 0; j + d < kBlocks; j++) sum.add(x[j], c[j + d], kLevel ? 1.0f : of_x.of[j] * of_c.of[j + d]);
    if constexpr (kLevel) sum.scale(of_x.most * of_c.most);
    uint4* to = run.sums + d * 2 * kChunk + place_of<S>(slot.item) * 128 + 64 * slot.n;
    if (run.fresh) {
      to[0] = words(sum.re), to[32] = words(sum.im);
    } else {
      add_device16(to, sum.re);
      add_device16(to + 32, sum.im);
    }
  }
  if constexpr (!kLevel) of_c.level(c);
}

// The samples -> C_j, which meet the X_j; then dv_j as results in the exchange buffer, at the scale that is returned.
// bring() asks for u of the next row, whose place the samples are then.
template <class Bring>
DEVICE float transform_gradients(const Run& run, Bring bring) {
  {
    const InnerTables<S> inner = load_inner_tables<S, true>(run.tables);
    outer_in<S>();
    block_barrier();
    bring();
    transform_slots<true, 1>(inner, [](int, const StoredTile&) {});
  }
  if constexpr (GATE_IN) run.at.approach(run.tensors.u), run.at.approach(run.tensors.gate_in);
  cluster_barrier();
  const float most = run.cluster.scales(1).most;
  multiply<true>(run.cluster, run.filter,
                 [&](const HalfSlot& slot, uint4(&c)[kBlocks]) { add_products(run, slot, c); });
  cluster_barrier();
  transform_back<1>(run.tables);
  block_barrier();
  return most * run.filter_back;
}

extern "C" __global__ void __launch_bounds__(Plan::kThreads, Plan::kBlocksPerSm)
    cluster_gradients(u16* u, u16* gate_in, u16* gate_out, u16* dy, u16* du, u16* dgate_in, u16* dgate_out,
                      const uint4* filter, const float* filter_scale, uint4* partial, const uint4* tables,
                      uint4* workspace, int batches, int channels, int length, int slices, i64 u_batch, i64 u_channel,
                      i64 gate_in_batch, i64 gate_in_channel, i64 gate_out_batch, i64 gate_out_channel, i64 dy_batch,
                      i64 dy_channel) {
  launch_dependents();
  const i64 row = length, image = row * channels;
  const BatchedTensors all{{u, u_batch, u_channel},
                           {gate_in, gate_in_batch, gate_in_channel},
                           {gate_out, gate_out_batch, gate_out_channel},
                           {dy, dy_batch, dy_channel},
                           {du, image, row},
                           {dgate_in, image, row},
                           {dgate_out, image, row}};
  const Jobs jobs{batches, channels, slices, kBlocks};
  const Cluster cluster;
  const auto chunk_of = [&](int job) { return ChunkAt{{0, length, kBlocks}, jobs.channel(job), cluster.rank}; };
  const auto bring = [&](int job, int batch) {
    if (job < jobs.count()) {
      const Tensors tensors = all.of(batch);
      chunk_of(job).prefetch(tensors.u);
      if constexpr (GATE_IN) chunk_of(job).approach(tensors.gate_in);
    }
    commit_copies();
  };
  uint4* kept = workspace + (block_index() - cluster.rank) * kChunk + lane_index();
  set_up<S>(tables);
  Peaks peaks;
  bring(jobs.first(), jobs.begin(jobs.first()));
  for (int job = jobs.first(); job < jobs.count(); job = jobs.next(job)) {
    const ChunkAt at = chunk_of(job);
    const i64 place = static_cast<i64>(job % slices) * channels + at.channel;
    const uint4* spectra = filter + at.channel * (kBlocks * kChunk) + lane_index();
    uint4* sums = partial + place * (kBlocks * 2 * kChunk) + lane_index();
    for (int batch = jobs.begin(job); batch < jobs.end(job); batch++) {
      const Tensors tensors = all.of(batch);
      const Run run{
          tensors, at, cluster, tables, spectra, sums, kept, filter_scale[at.channel], batch == jobs.begin(job)};
      const float factor = transform_inputs(run, peaks);
      wait_copies<0>();
      cluster.note_scale(1, load_gradients(tensors, at, peaks, factor, true));
      const float back = transform_gradients(run, [&] {
        const bool last = batch + 1 == jobs.end(job);
        const int next = last ? jobs.next(job) : job;
        bring(next, last ? jobs.begin(next) : batch + 1);
      });
      store_gradients(tensors, at, back);
    }
  }
}
