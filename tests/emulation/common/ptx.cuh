// The functions of csrc/ptx.cuh for a CPU, on the threads and the shared memory of block.h. Products are summed in
// double and rounded once.
#pragma once
#include <block.h>

struct uint4 {
  u32 x, y, z, w;
};
struct uint2 {
  u32 x, y;
};
struct float2 {
  float x, y;
};

#define DEVICE inline
#define __global__
#define __launch_bounds__(threads, blocks)

namespace emulation {
inline float half_to_float(u32 bits) {
  const u16 x = static_cast<u16>(bits);
  _Float16 h;
  memcpy(&h, &x, 2);
  return static_cast<float>(h);
}
inline u32 half_bits(float x) {
  const _Float16 h = static_cast<_Float16>(x);
  u16 bits;
  memcpy(&bits, &h, 2);
  return bits;
}
}  // namespace emulation

DEVICE int thread_index() { return emulation::current % emulation::kThreads; }
DEVICE int block_index() { return emulation::block + emulation::rank(); }
DEVICE int grid_size() { return emulation::blocks; }
DEVICE void launch_dependents() {}
DEVICE void wait_for_dependency() {}
DEVICE u32 computed_here(u32 x) { return x; }
DEVICE void block_barrier() {
  emulation::meet(emulation::block_meetings[emulation::rank()], emulation::kThreads, [] {});
}
DEVICE void warp_barrier() {
  emulation::meet(emulation::warp(), 32, [] {});
}
DEVICE u32 shared_base() { return 0; }

DEVICE float as_float(u32 x) {
  float out;
  memcpy(&out, &x, 4);
  return out;
}
DEVICE u32 as_bits(float x) {
  u32 out;
  memcpy(&out, &x, 4);
  return out;
}
DEVICE float larger(float a, float b) { return a != a || b != b ? as_float(0x7fffffffu) : (a > b ? a : b); }
DEVICE float2 root_of_unity(float x) {
  const double angle = 6.283185307179586 * x;
  return {static_cast<float>(cos(angle)), static_cast<float>(-sin(angle))};
}
DEVICE u32 pack_half(float low, float high) { return emulation::half_bits(low) | (emulation::half_bits(high) << 16); }
DEVICE u32 pack_bfloat(float low, float high) {
  const auto round = [](float x) {
    const u32 bits = as_bits(x);
    return x != x ? 0x7fffu : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  };
  return round(low) | (round(high) << 16);
}
DEVICE u32 scale_bfloat(u32 x, u32 power) {
  const float factor = as_float(power & 0xffff0000u);
  return pack_bfloat(as_float(x << 16) * factor, as_float(x & 0xffff0000u) * factor);
}
DEVICE u32 multiply_bfloat(u32 a, u32 b) {
  return pack_bfloat(as_float(a << 16) * as_float(b << 16), as_float(a & 0xffff0000u) * as_float(b & 0xffff0000u));
}
DEVICE u32 larger_magnitude_bfloat(u32 most, u32 x) {
  x &= 0x7fff7fffu;
  return pack_bfloat(larger(as_float(most << 16), as_float(x << 16)),
                     larger(as_float(most & 0xffff0000u), as_float(x & 0xffff0000u)));
}
DEVICE float2 unpack_half(u32 x) { return {emulation::half_to_float(x & 0xffff), emulation::half_to_float(x >> 16)}; }
DEVICE u32 permute_bytes(u32 a, u32 b, u32 selector) {
  const uint64_t both = (static_cast<uint64_t>(b) << 32) | a;
  u32 out = 0;
  for (int i = 0; i < 4; i++) out |= static_cast<u32>((both >> (8 * ((selector >> (4 * i)) & 7))) & 255) << (8 * i);
  return out;
}

DEVICE uint4 load_shared16(u32 at) { return emulation::load<uint4>(at); }
DEVICE uint2 load_shared8(u32 at) { return emulation::load<uint2>(at); }
DEVICE u32 load_shared4(u32 at) { return emulation::load<u32>(at); }
DEVICE void store_shared16(u32 at, uint4 v) { emulation::store(at, v); }
DEVICE void store_shared8(u32 at, u32 x, u32 y) { emulation::store(at, uint2{x, y}); }
DEVICE void store_shared4(u32 at, u32 x) { emulation::store(at, x); }
DEVICE void max_shared(u32 at, u32 x) {
  u32 old;
  memcpy(&old, emulation::checked(at, 4), 4);
  if (x > old) memcpy(emulation::checked(at, 4), &x, 4);
}
DEVICE u32 max_over_warp(u32 x) {
  auto& m = emulation::warp();
  const int lane = thread_index() % 32;
  m.in[lane][0] = x;
  emulation::meet(m, 32, [&] {
    u32 most = 0;
    for (int i = 0; i < 32; i++) most = m.in[i][0] > most ? m.in[i][0] : most;
    for (int i = 0; i < 32; i++) m.out[i][0] = most;
  });
  return m.out[lane][0];
}
DEVICE int cluster_rank() { return emulation::rank(); }
DEVICE u32 map_shared(u32 at, int rank) { return at + rank * emulation::kMapped; }
DEVICE void cluster_barrier() {
  emulation::meet(emulation::cluster_meeting, emulation::kFibres, [] {});
}
DEVICE uint4 load_cluster16(u32 mapped) { return emulation::load_mapped<uint4>(mapped); }
DEVICE u32 load_cluster4(u32 mapped) { return emulation::load_mapped<u32>(mapped); }
DEVICE void store_cluster16(u32 mapped, uint4 v) { emulation::store_mapped(mapped, v); }
template <bool>
DEVICE void copy_async16(u32 to, const void* from, int valid) {
  if (reinterpret_cast<uintptr_t>(from) % 16) emulation::faults++;
  memset(emulation::checked(to, 16), 0xff, 16);
  auto& own = emulation::copies[emulation::current];
  own.pending.push_back({to, from, valid, own.groups});
}
template <class T>
DEVICE T load_aligned(const void* from) {
  if (reinterpret_cast<uintptr_t>(from) % sizeof(T)) emulation::faults++;
  T v;
  memcpy(&v, from, sizeof(T));
  return v;
}
template <class T>
DEVICE void store_aligned(void* to, T v) {
  if (reinterpret_cast<uintptr_t>(to) % sizeof(T)) emulation::faults++;
  memcpy(to, &v, sizeof(T));
}
template <bool>
DEVICE uint4 load_device16(const void* from) {
  return load_aligned<uint4>(from);
}
template <bool>
DEVICE uint2 load_device8(const void* from) {
  return load_aligned<uint2>(from);
}
template <bool>
DEVICE void store_device16(void* to, uint4 v) {
  store_aligned(to, v);
}
template <bool>
DEVICE void store_device8(void* to, uint2 v) {
  store_aligned(to, v);
}
DEVICE uint4 load_shared_by_all16(const void* from) { return load_device16<false>(from); }
DEVICE uint2 load_shared_by_all8(const void* from) { return load_device8<false>(from); }
DEVICE void max_device(u32* at, u32 x) { *at = x > *at ? x : *at; }
DEVICE void prefetch_line(const void*) {}
DEVICE void discard_line(void* at) {
  if (reinterpret_cast<uintptr_t>(at) % 16) emulation::faults++;
  memset(at, 0xff, 128);
}
DEVICE void add_device16(uint4* at, const float (&x)[4]) {
  float sums[4];
  if (reinterpret_cast<uintptr_t>(at) % 16) emulation::faults++;
  memcpy(sums, at, 16);
  for (int i = 0; i < 4; i++) sums[i] += x[i];
  memcpy(at, sums, 16);
}
// Blocks run one after the other here: steps that are not done never will be.
DEVICE void await_progress(const u32* at, u32 steps, bool waits) {
  if (waits && *at != steps) emulation::faults++;
  warp_barrier();
}
DEVICE void report_progress(u32* at, u32 steps, bool reports) {
  warp_barrier();
  if (reports) *at = steps;
}
DEVICE void commit_copies() { emulation::copies[emulation::current].groups++; }
template <int kPending>
DEVICE void wait_copies() {
  auto& own = emulation::copies[emulation::current];
  std::vector<emulation::Copy> left;
  for (const auto& copy : own.pending) {
    if (copy.group >= own.groups - kPending) {
      left.push_back(copy);
      continue;
    }
    unsigned char bytes[16] = {};
    memcpy(bytes, copy.from, copy.valid);
    memcpy(emulation::checked(copy.to, 16), bytes, 16);
  }
  own.pending.swap(left);
}

DEVICE u32 fuse_half(u32 a, u32 b, u32 c) {
  const float2 x = unpack_half(a), y = unpack_half(b), z = unpack_half(c);
  const auto fuse = [](double p, double q, double r) { return static_cast<float>(static_cast<_Float16>(p * q + r)); };
  return pack_half(fuse(x.x, y.x, z.x), fuse(x.y, y.y, z.y));
}
DEVICE u32 multiply_half(u32 a, u32 b) { return fuse_half(a, b, 0x80008000u); }
DEVICE u32 add_half(u32 a, u32 b) { return fuse_half(a, 0x3c003c00u, b); }
DEVICE u32 negate_half(u32 a) { return a ^ 0x80008000u; }

DEVICE void load_matrices_transposed(u32 (&out)[4], u32 at) {
  auto& m = emulation::warp();
  const int lane = thread_index() % 32;
  m.in[lane][0] = at;
  emulation::meet(m, 32, [&] {
    u32 rows[32];
    for (int i = 0; i < 32; i++) rows[i] = m.in[i][0];
    emulation::count(rows, 16);
    for (int matrix = 0; matrix < 4; matrix++)
      for (int i = 0; i < 32; i++) {
        u16 pair[2];
        for (int e = 0; e < 2; e++)
          memcpy(&pair[e], emulation::checked(rows[8 * matrix + 2 * (i & 3) + e], 16) + 2 * (i >> 2), 2);
        m.out[i][matrix] = pair[0] | (static_cast<u32>(pair[1]) << 16);
      }
  });
  memcpy(out, m.out[lane], sizeof(out));
}

DEVICE void load_matrices(u32 (&out)[4], u32 at) {
  auto& m = emulation::warp();
  const int lane = thread_index() % 32;
  m.in[lane][0] = at;
  emulation::meet(m, 32, [&] {
    u32 rows[32];
    for (int i = 0; i < 32; i++) rows[i] = m.in[i][0];
    emulation::count(rows, 16);
    for (int matrix = 0; matrix < 4; matrix++)
      for (int i = 0; i < 32; i++)
        memcpy(&m.out[i][matrix], emulation::checked(rows[8 * matrix + (i >> 2)], 16) + 4 * (i & 3), 4);
  });
  memcpy(out, m.out[lane], sizeof(out));
}

DEVICE void store_matrices(u32 at, u32 x0, u32 x1, u32 x2, u32 x3) {
  auto& m = emulation::warp();
  const int lane = thread_index() % 32;
  const u32 in[5] = {x0, x1, x2, x3, at};
  memcpy(m.in[lane], in, sizeof(in));
  emulation::meet(m, 32, [&] {
    u32 rows[32];
    for (int i = 0; i < 32; i++) rows[i] = m.in[i][4];
    emulation::count(rows, 16);
    for (int matrix = 0; matrix < 4; matrix++)
      for (int i = 0; i < 32; i++)
        memcpy(emulation::checked(rows[8 * matrix + (i >> 2)], 16) + 4 * (i & 3), &m.in[i][matrix], 4);
  });
}

namespace emulation {
template <class Value>
FAST void multiply_add(float (&c)[4], const u32 (&in)[6], Value to_float) {
  auto& m = warp();
  const int lane = thread_index() % 32;
  memcpy(m.in[lane], in, sizeof(in));
  memcpy(m.sums[lane], c, sizeof(c));
  meet(m, 32, [&] {
    float a[16][16], b[16][8];
    for (int i = 0; i < 32; i++)
      for (int e = 0; e < 2; e++) {
        const int g = i >> 2, t = i & 3;
        const auto value = [&](int word) { return to_float((m.in[i][word] >> (16 * e)) & 0xffff); };
        for (int word = 0; word < 4; word++) a[g + 8 * (word & 1)][2 * t + e + 8 * (word >> 1)] = value(word);
        b[2 * t + e][g] = value(4);
        b[2 * t + 8 + e][g] = value(5);
      }
    for (int i = 0; i < 32; i++)
      for (int r = 0; r < 2; r++)
        for (int e = 0; e < 2; e++) {
          double sum = m.sums[i][2 * r + e];
          for (int k = 0; k < 16; k++) sum += static_cast<double>(a[(i >> 2) + 8 * r][k]) * b[k][2 * (i & 3) + e];
          m.sums[i][2 * r + e] = static_cast<float>(sum);
        }
  });
  memcpy(c, m.sums[lane], sizeof(c));
}
}  // namespace emulation
DEVICE void multiply_add(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  emulation::multiply_add(c, {a0, a1, a2, a3, b0, b1}, emulation::half_to_float);
}
DEVICE void multiply_add_bfloat(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  emulation::multiply_add(c, {a[0], a[1], a[2], a[3], b0, b1}, [](u32 bits) { return as_float(bits << 16); });
}
DEVICE void multiply_add(u32 (&c)[2], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  const float2 low = unpack_half(c[0]), high = unpack_half(c[1]);
  float sums[4] = {low.x, low.y, high.x, high.y};
  multiply_add(sums, a0, a1, a2, a3, b0, b1);
  c[0] = pack_half(sums[0], sums[1]);
  c[1] = pack_half(sums[2], sums[3]);
}

DEVICE float from_lane(float x, int from) {
  auto& m = emulation::warp();
  const int lane = thread_index() % 32;
  m.in[lane][0] = as_bits(x);
  emulation::meet(m, 32, [&] {
    for (int i = 0; i < 32; i++) m.out[i][0] = m.in[i][0];
  });
  return as_float(m.out[from][0]);
}
DEVICE float from_lane_across(float x, int mask) {
  auto& m = emulation::warp();
  const int lane = thread_index() % 32;
  m.in[lane][0] = as_bits(x);
  emulation::meet(m, 32, [&] {
    for (int i = 0; i < 32; i++) m.out[i][0] = m.in[i ^ mask][0];
  });
  return as_float(m.out[lane][0]);
}
DEVICE float power_of_two(float x) { return exp2f(x); }
DEVICE float reciprocal(float x) { return 1.0f / x; }
DEVICE float reciprocal_root(float x) { return 1.0f / sqrtf(x); }
DEVICE float nearest_whole(float x) { return (x + 12582912.0f) - 12582912.0f; }
DEVICE float sine(float x) { return sinf(x); }
DEVICE float cosine(float x) { return cosf(x); }
