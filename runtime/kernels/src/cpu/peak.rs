//! What this CPU can reach at most: multiply-adds per second and bytes read per second, measured on the current thread pool.

use std::hint::black_box;

use serde::Serialize;

use super::{Cpu, Tier};
use crate::simd::{self, Kernel, Vector};
use crate::tune::Clock;

/// Measured limits of the threads of one pool together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Peak {
    /// Threads that took part.
    pub threads: usize,
    /// FP32 multiply-add throughput in 10^9 operations per second, two per multiply-add.
    pub gflops: f64,
    /// Main memory read throughput in 10^9 bytes per second.
    pub read_gbps: f64,
}

/// Bytes each thread reads: beyond every last-level cache.
const READ_BYTES: usize = 256 << 20;

/// Repetitions; the best counts, as other processes can only slow this one down.
const REPEATS: usize = 5;

impl Peak {
    /// Measures on the current pool; takes about a second and 256 MiB per thread.
    pub fn measure() -> Self {
        let threads = rayon::current_num_threads();
        let tier = Cpu::this().tier;
        let rounds = 1 << 21;
        let adds = best(|| each_thread(|_| simd::dispatch(tier, MultiplyAdds { rounds })));
        let operations = (2 * ACCUMULATORS * rounds * tier.lanes() * threads) as f64;
        let memory: Vec<Vec<u64>> = (0..threads).map(|thread| vec![thread as u64 + 1; READ_BYTES / size_of::<u64>()]).collect();
        let reads = best(|| each_thread(|thread| read(&memory[thread])));
        Self { threads, gflops: operations / adds / 1e9, read_gbps: (READ_BYTES * threads) as f64 / reads / 1e9 }
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

/// Sums in eight strands, so that the additions never wait for each other.
fn read(memory: &[u64]) -> f32 {
    let mut sums = [0u64; 8];
    for line in memory.chunks_exact(8) {
        for (sum, value) in sums.iter_mut().zip(line) {
            *sum = sum.wrapping_add(*value);
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add) as f32
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
        // SAFETY: the caller promises the CPU features of `V`; no memory is touched but `lanes`, which has room for any vector.
        unsafe {
            let (factor, addend) = (V::splat(black_box(0.999)), V::splat(black_box(0.001)));
            let mut sums = [addend; ACCUMULATORS];
            for _ in 0..self.rounds {
                for sum in &mut sums {
                    *sum = sum.multiply_add(factor, addend);
                }
            }
            let total = sums.into_iter().reduce(|a, b| a.multiply_add(factor, b)).unwrap_or(addend);
            let mut lanes = [0.0; Tier::Avx512.lanes()];
            total.store(lanes.as_mut_ptr());
            lanes[0]
        }
    }
}
