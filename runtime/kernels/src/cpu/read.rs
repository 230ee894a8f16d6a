//! Reading memory: as fast as it can be read, and so much of it that nothing else stays in the caches.

use std::hint::black_box;

use super::{Cpu, Tier};
use crate::buffer::Aligned;
use crate::simd::{self, Kernel, Vector};

/// Vectors that are summed side by side: more than the latency of an addition times the units that run them.
const STRANDS: usize = 12;

/// Bytes of the last-level cache where the system does not tell.
const LAST_LEVEL_BYTES: usize = 64 << 20;

/// Bytes that the last-level cache cannot hold: twice its size.
pub(super) fn beyond_caches() -> usize {
    2 * Cpu::this().caches.l3_bytes.unwrap_or(LAST_LEVEL_BYTES)
}

/// Memory that the last-level cache cannot hold.
pub(crate) struct Eviction(Aligned<f32>);

impl Eviction {
    /// For this CPU.
    pub(crate) fn new() -> Self {
        Self(Aligned::zeros(beyond_caches() / size_of::<f32>()))
    }

    /// Reads it, so that what the caches held before has to come from memory again.
    pub(crate) fn run(&self) {
        black_box(simd::dispatch(Cpu::this().tier, Read(&self.0)));
    }
}

/// Sums all values in strands, so that the additions never wait for each other.
pub(super) struct Read<'a>(pub(super) &'a [f32]);

impl Kernel for Read<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> f32 {
        // SAFETY: the caller promises the CPU features of `V`; a chunk holds what is loaded of it, and `lanes` any vector.
        unsafe {
            let one = V::splat(1.0);
            let mut sums = [V::splat(0.0); STRANDS];
            for chunk in self.0.chunks_exact(STRANDS * V::LANES) {
                for (strand, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(chunk.as_ptr().add(strand * V::LANES)).multiply_add(one, *sum);
                }
            }
            first_lane(sums.into_iter().reduce(|a, b| a.multiply_add(one, b)).unwrap_or(one))
        }
    }
}

/// The value in the first lane.
///
/// # Safety
/// CPU features of `V`.
#[inline(always)]
pub(super) unsafe fn first_lane<V: Vector>(vector: V) -> f32 {
    let mut lanes = [0.0; Tier::Avx512.lanes()];
    // SAFETY: the caller promises the features; `lanes` has room for any vector.
    unsafe { vector.store(lanes.as_mut_ptr()) };
    lanes[0]
}
