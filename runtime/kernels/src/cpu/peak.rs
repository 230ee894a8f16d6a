//! What this CPU can reach at most: multiply-adds per second and bytes read per second, measured on the current thread pool.

use std::hint::black_box;

use serde::Serialize;

use super::read::{Read, beyond_caches, first_lane};
use super::{Cpu, Tier};
use crate::buffer::Aligned;
use crate::simd::{self, Kernel, Vector};
use crate::tune::Clock;

/// Measured limits of the threads of one pool together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Peak {
    /// Threads that took part.
    pub threads: usize,
    /// FP32 multiply-add throughput in 10^9 operations per second, two per multiply-add.
    pub gflops: f64,
    /// INT8 multiply-add throughput into 32-bit sums, likewise; none where such products are not made of vector instructions.
    pub int8_gops: Option<f64>,
    /// Main memory read throughput in 10^9 bytes per second, large pages where the system has them.
    pub read_gbps: f64,
}

/// Bytes each thread reads at least.
const READ_BYTES: usize = 64 << 20;

/// Repetitions; the best counts, as other processes can only slow this one down.
const REPEATS: usize = 5;

impl Peak {
    /// Measures on the current pool; takes about a second, and twice the memory of the last-level cache or 64 MiB per thread.
    pub fn measure() -> Self {
        let threads = rayon::current_num_threads();
        let tier = Cpu::this().tier;
        let rounds = 1 << 21;
        let gops = |per_round: usize, seconds: f64| (2 * per_round * rounds * threads) as f64 / seconds / 1e9;
        let floats = best(|| each_thread(|_| simd::dispatch(tier, MultiplyAdds { rounds })));
        let bytes = (beyond_caches() / threads).max(READ_BYTES);
        let memory: Vec<Aligned<f32>> = (0..threads).map(|_| Aligned::zeros(bytes / size_of::<f32>())).collect();
        let reads = best(|| each_thread(|thread| simd::dispatch(tier, Read(&memory[thread]))));
        Self {
            threads,
            gflops: gops(ACCUMULATORS * tier.lanes(), floats),
            int8_gops: int8(tier).map(|(run, products)| gops(products, best(|| each_thread(|_| run(rounds))))),
            read_gbps: (bytes * threads) as f64 / reads / 1e9,
        }
    }
}

/// Seconds of the fastest of a few runs.
fn best(run: impl Fn()) -> f64 {
    let clock = Clock::for_pool();
    let time = |_| {
        let start = clock.seconds();
        run();
        clock.seconds() - start
    };
    (0..REPEATS).map(time).fold(f64::INFINITY, f64::min)
}

/// Runs `work` once on every thread of the pool; with one thread, on this one, whose clock runs.
fn each_thread(work: impl Fn(usize) -> f32 + Sync) {
    if rayon::current_num_threads() == 1 {
        black_box(work(0));
    } else {
        rayon::broadcast(|context| black_box(work(context.index())));
    }
}

/// Independent chains of multiply-adds: more than the latency of one times the units that run them.
const ACCUMULATORS: usize = 12;

struct MultiplyAdds {
    rounds: usize,
}

impl Kernel for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> f32 {
        // SAFETY: the caller promises the CPU features of `V`; no memory is touched.
        unsafe {
            let (factor, addend) = (V::splat(black_box(0.999)), V::splat(black_box(0.001)));
            let mut sums = [addend; ACCUMULATORS];
            for _ in 0..self.rounds {
                for sum in &mut sums {
                    *sum = sum.multiply_add(factor, addend);
                }
            }
            first_lane(sums.into_iter().reduce(|a, b| a.multiply_add(factor, b)).unwrap_or(addend))
        }
    }
}

/// Does so many rounds of multiply-adds.
type Rounds = fn(usize) -> f32;

/// INT8 multiply-adds with the vectors that kernels of `tier` use, and the products of one round.
#[cfg(target_arch = "x86_64")]
fn int8(tier: Tier) -> Option<(Rounds, usize)> {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512vnni")]
    fn avx512(rounds: usize) -> f32 {
        let (x, weights) = (_mm512_set1_epi8(black_box(3)), _mm512_set1_epi8(black_box(-5)));
        let mut sums = [(); ACCUMULATORS].map(|()| black_box(weights));
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, x, weights);
            }
        }
        _mm512_reduce_add_epi32(sums.into_iter().reduce(|a, b| _mm512_add_epi32(a, b)).unwrap_or(x)) as f32
    }

    #[target_feature(enable = "avx2")]
    fn avx2(rounds: usize) -> f32 {
        let (x, weights, ones) = (_mm256_set1_epi8(black_box(3)), _mm256_set1_epi8(black_box(-5)), _mm256_set1_epi16(1));
        let mut sums = [(); ACCUMULATORS].map(|()| black_box(weights));
        for _ in 0..rounds {
            for sum in &mut sums {
                // As the first factor, the sum keeps the compiler from multiplying once for all rounds.
                let products = _mm256_maddubs_epi16(_mm256_xor_si256(*sum, x), weights);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(products, ones));
            }
        }
        _mm256_extract_epi32::<0>(sums.into_iter().reduce(|a, b| _mm256_add_epi32(a, b)).unwrap_or(x)) as f32
    }

    match tier.for_integers() {
        // SAFETY: this tier is there, and `for_integers` checked for VNNI.
        Tier::Avx512 => Some((|rounds| unsafe { avx512(rounds) }, ACCUMULATORS * 64)),
        // SAFETY: this tier is there.
        Tier::Avx2 => Some((|rounds| unsafe { avx2(rounds) }, ACCUMULATORS * 32)),
        Tier::Portable => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn int8(_tier: Tier) -> Option<(Rounds, usize)> {
    None
}
