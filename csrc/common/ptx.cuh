// Instructions that C++ cannot express, and nothing else. `tests/emulation/common/ptx.cuh` has the same functions for a
// CPU compiler. Shared memory is addressed by 32-bit byte offsets.
#pragma once

using u16 = unsigned short;
using u32 = unsigned int;
using i64 = long long;
using u64 = unsigned long long;

#define DEVICE __device__ __forceinline__

DEVICE int thread_index() { return threadIdx.x; }
DEVICE int block_index() { return blockIdx.x; }
DEVICE int grid_size() { return gridDim.x; }
// Lets blocks of the next kernel start where this one leaves room; they wait for its results with wait_for_dependency,
// which returns at once in a kernel that was not launched early.
DEVICE void launch_dependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
DEVICE void wait_for_dependency() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// x, opaque to the compiler: values that depend on it are computed where they are needed, and not before a loop, where
// they would occupy registers.
DEVICE u32 computed_here(u32 x) {
  asm volatile("" : "+r"(x));
  return x;
}
DEVICE void block_barrier() { __syncthreads(); }
DEVICE void warp_barrier() { __syncwarp(); }

DEVICE u32 shared_base() {
  extern __shared__ __align__(1024) unsigned char dynamic_shared[];
  return static_cast<u32>(__cvta_generic_to_shared(dynamic_shared));
}

DEVICE float as_float(u32 x) { return __uint_as_float(x); }
DEVICE u32 as_bits(float x) { return __float_as_uint(x); }

// The larger of two; not-a-number if either is.
DEVICE float larger(float a, float b) {
  float out;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(out) : "f"(a), "f"(b));
  return out;
}

// exp(-2 pi i x), 0 <= x < 1, to about 2^-20.
DEVICE float2 root_of_unity(float x) {
  x = 6.283185307f * (x < 0.5f ? x : x - 1.0f);
  return {__cosf(x), -__sinf(x)};
}

// Two floats to two 16-bit values, `low` in the low half; and back.
DEVICE u32 pack_half(float low, float high) {
  u32 out;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
DEVICE u32 pack_bfloat(float low, float high) {
  u32 out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
// x times a power of two (the same in both halves), two bf16 values to a word: exact but for what leaves its range.
DEVICE u32 scale_bfloat(u32 x, u32 power) {
  u32 out;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(x), "r"(power), "r"(0x80008000u));
  return out;
}
// The product of two pairs of bf16 values, rounded once; the larger of `most` and the magnitudes of x, not-a-number if
// either is.
DEVICE u32 multiply_bfloat(u32 a, u32 b) { return scale_bfloat(a, b); }
DEVICE u32 larger_magnitude_bfloat(u32 most, u32 x) {
  u32 out;
  asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(out) : "r"(most), "r"(x & 0x7fff7fffu));
  return out;
}
DEVICE float2 unpack_half(u32 x) {
  float2 out;
  asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 "
      "%1, h; }"
      : "=f"(out.x), "=f"(out.y)
      : "r"(x));
  return out;
}
// Bytes of (b, a), lowest first, chosen by the nibbles of `selector`.
DEVICE u32 permute_bytes(u32 a, u32 b, u32 selector) { return __byte_perm(a, b, selector); }

DEVICE uint4 load_shared16(u32 at) {
  uint4 v;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(at));
  return v;
}
DEVICE uint2 load_shared8(u32 at) {
  uint2 v;
  asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(at));
  return v;
}
DEVICE u32 load_shared4(u32 at) {
  u32 v;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(v) : "r"(at));
  return v;
}
DEVICE void store_shared16(u32 at, uint4 v) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
DEVICE void store_shared8(u32 at, u32 x, u32 y) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(at), "r"(x), "r"(y) : "memory");
}
DEVICE void store_shared4(u32 at, u32 x) { asm volatile("st.shared.b32 [%0], %1;" ::"r"(at), "r"(x) : "memory"); }
DEVICE void max_shared(u32 at, u32 x) { asm volatile("red.shared.max.u32 [%0], %1;" ::"r"(at), "r"(x) : "memory"); }
DEVICE u32 max_over_warp(u32 x) { return __reduce_max_sync(0xffffffffu, x); }

// Clusters of blocks, which run at the same time and reach one another's shared memory; sm_90 and later.
// This block's number in its cluster.
DEVICE int cluster_rank() {
  u32 rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// Where byte `at` of shared memory is in that of block `rank`; offsets may be added to it.
DEVICE u32 map_shared(u32 at, int rank) {
  u32 out;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(out) : "r"(at), "r"(rank));
  return out;
}
// For all threads of a cluster: what one wrote before it, to any block's shared memory, everyone reads after it.
DEVICE void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
DEVICE uint4 load_cluster16(u32 mapped) {
  uint4 v;
  asm volatile("ld.shared::cluster.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(mapped));
  return v;
}
DEVICE u32 load_cluster4(u32 mapped) {
  u32 v;
  asm volatile("ld.shared::cluster.b32 %0, [%1];" : "=r"(v) : "r"(mapped));
  return v;
}
DEVICE void store_cluster16(u32 mapped, uint4 v) {
  asm volatile("st.shared::cluster.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(mapped), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}

// kStream: these bytes of device memory are not read again, so the L2 cache evicts them first and keeps what every step
// needs: filters, sums, spectra.

// 16 bytes from device to shared memory, asynchronously; `valid` (0 or 16) of them are read, the rest are zeros.
template <bool kStream>
DEVICE void copy_async16(u32 to, const void* from, int valid) {
  if constexpr (kStream) {
    constexpr u64 kEvictFirst = 0x12F0000000000000;  // what createpolicy.fractional.L2::evict_first makes
    asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;" ::"r"(to),
                 "l"(__cvta_generic_to_global(from)), "r"(valid), "l"(kEvictFirst)
                 : "memory");
  } else {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)),
                 "r"(valid)
                 : "memory");
  }
}
template <bool kStream>
DEVICE uint4 load_device16(const void* from) {
  const uint4* at = reinterpret_cast<const uint4*>(from);
  return kStream ? __ldcs(at) : *at;
}
template <bool kStream>
DEVICE void store_device16(void* to, uint4 v) {
  uint4* at = reinterpret_cast<uint4*>(to);
  if constexpr (kStream) __stcs(at, v);
  else *at = v;
}
// The same of 8 bytes.
template <bool kStream>
DEVICE uint2 load_device8(const void* from) {
  const uint2* at = reinterpret_cast<const uint2*>(from);
  return kStream ? __ldcs(at) : *at;
}
template <bool kStream>
DEVICE void store_device8(void* to, uint2 v) {
  uint2* at = reinterpret_cast<uint2*>(to);
  if constexpr (kStream) __stcs(at, v);
  else *at = v;
}
// Device memory that other multiprocessors wrote: past the L1 cache.
DEVICE uint4 load_shared_by_all16(const void* from) { return __ldcg(reinterpret_cast<const uint4*>(from)); }
DEVICE uint2 load_shared_by_all8(const void* from) { return __ldcg(reinterpret_cast<const uint2*>(from)); }
// The largest of all values that anybody gives: the order does not matter.
DEVICE void max_device(u32* at, u32 x) {
  asm volatile("red.relaxed.gpu.global.max.u32 [%0], %1;" ::"l"(__cvta_generic_to_global(at)), "r"(x) : "memory");
}
// Asks for a line of device memory to come to the L2 cache.
DEVICE void prefetch_line(const void* at) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(at)));
}
// Forgets a line of device memory, 128 bytes that start on as many: its content is undefined from now on.
DEVICE void discard_line(void* at) {
  asm volatile("discard.global.L2 [%0], 128;" ::"l"(__cvta_generic_to_global(at)) : "memory");
}
// Adds four fp32 values to device memory.
DEVICE void add_device16(uint4* at, const float (&x)[4]) {
#if __CUDA_ARCH__ >= 900
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(at)),
               "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3])
               : "memory");
#else
  const uint4 old = *at;
  *at = uint4{as_bits(as_float(old.x) + x[0]), as_bits(as_float(old.y) + x[1]), as_bits(as_float(old.z) + x[2]),
              as_bits(as_float(old.w) + x[3])};
#endif
}
// A warp waits until words of device memory, one of every lane that `waits`, say that so many steps are done, and sees
// what those who did them wrote.
DEVICE void await_progress(const u32* at, u32 steps, bool waits) {
  if (waits) {
    u32 done;
    do {
      asm volatile("ld.acquire.gpu.global.b32 %0, [%1];" : "=r"(done) : "l"(__cvta_generic_to_global(at)) : "memory");
    } while (done != steps);
  }
  warp_barrier();
}
// Says so, after all that the warp wrote.
DEVICE void report_progress(u32* at, u32 steps, bool reports) {
  warp_barrier();
  if (reports)
    asm volatile("st.release.gpu.global.b32 [%0], %1;" ::"l"(__cvta_generic_to_global(at)), "r"(steps) : "memory");
}
DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `kPending` of this thread's committed groups are still on their way.
template <int kPending>
DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Products and sums of two fp16 pairs, rounded once: a b, a b + c, a + b, and -a.
DEVICE u32 multiply_half(u32 a, u32 b) {
  u32 out;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
  return out;
}
DEVICE u32 fuse_half(u32 a, u32 b, u32 c) {
  u32 out;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
  return out;
}
DEVICE u32 add_half(u32 a, u32 b) {
  u32 out;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));
  return out;
}
DEVICE u32 negate_half(u32 a) {
  u32 out;
  asm("neg.f16x2 %0, %1;" : "=r"(out) : "r"(a));
  return out;
}

// Four 8 x 8 matrices of 16-bit values, transposed: lane l gives the address of row l % 8 of matrix l / 8.
DEVICE void load_matrices_transposed(u32 (&out)[4], u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(at)
               : "memory");
}

// The same, not transposed.
DEVICE void load_matrices(u32 (&out)[4], u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(at)
               : "memory");
}

// Four 8 x 8 matrices, lane 4 g + t holding columns 2 t and 2 t + 1 of row g: addresses as above, not transposed.
DEVICE void store_matrices(u32 at, u32 x0, u32 x1, u32 x2, u32 x3) {
#if __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(x0), "r"(x1), "r"(x2),
               "r"(x3)
               : "memory");
#else
  const u32 x[4] = {x0, x1, x2, x3};
  const int lane = thread_index() & 31;
#pragma unroll
  for (int i = 0; i < 4; i++) store_shared4(__shfl_sync(0xffffffffu, at, 8 * i + (lane >> 2)) + 4 * (lane & 3), x[i]);
#endif
}

// c += a * b on fp16 with fp32 sums: 16 x 16 by 16 x 8.
DEVICE void multiply_add(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// The same with fp16 sums, two to a word.
DEVICE void multiply_add(u32 (&c)[2], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0, %1}, {%2, %3, "
      "%4, %5}, {%6, %7}, {%0, %1};"
      : "+r"(c[0]), "+r"(c[1])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// Fp32 sums of products of bf16.
DEVICE void multiply_add_bfloat(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

DEVICE float from_lane(float x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
// A float of the lane whose number differs in the bits of `mask`.
DEVICE float from_lane_across(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }

// 2^x, 1 / x and 1 / sqrt(x), each a unit or two of its last place off.
DEVICE float power_of_two(float x) {
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}
DEVICE float reciprocal(float x) {
  float out;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}
DEVICE float reciprocal_root(float x) {
  float out;
  asm("rsqrt.approx.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

// The whole number nearest to x, within 2^22, by two additions: rintf would take the unit that sines need.
DEVICE float nearest_whole(float x) { return __fadd_rn(__fadd_rn(x, 12582912.0f), -12582912.0f); }

// sin and cos of arguments within half a turn or little more, 5e-7 off.
DEVICE float sine(float x) {
  float out;
  asm("sin.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}
DEVICE float cosine(float x) {
  float out;
  asm("cos.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}
