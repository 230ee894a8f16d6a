//! Executable memory: written, then made executable, never both; and the only call into it.

use cranelift_jit::{BranchProtection, JITMemoryKind, JITMemoryProvider, SystemMemoryProvider};
use rayon::prelude::*;

use super::verify::{Extents, verify};
use crate::KernelError;
use crate::error::Result;

/// Functions begin on a cache line.
const ALIGNMENT: usize = 64;

/// Machine code that passed [`verify`], in memory that can be executed and not written.
///
/// *Invariant*: every function was verified against its extents, and lies whole inside of the `len` bytes at `start`, which stay
/// mapped until this is dropped.
pub(crate) struct Code {
    provider: SystemMemoryProvider,
    start: *const u8,
    len: usize,
    functions: Vec<Function>,
}

struct Function {
    offset: usize,
    len: usize,
    extents: Extents,
}

// SAFETY: `start` points to memory of our own that nobody writes any more; the provider is used again only by `drop`.
unsafe impl Send for Code {}
// SAFETY: as above; shared use only reads and executes.
unsafe impl Sync for Code {}

impl Code {
    /// Verifies and maps functions.
    ///
    /// # Errors
    /// When a function fails the proof, or the system grants no executable memory.
    pub(crate) fn map(functions: &[(&[u8], Extents)]) -> Result<Self> {
        functions.par_iter().try_for_each(|(bytes, extents)| verify(bytes, *extents)).map_err(KernelError::SelfCheck)?;
        let mut placed = Vec::with_capacity(functions.len());
        let mut len = 0;
        for (bytes, extents) in functions {
            placed.push(Function { offset: len, len: bytes.len(), extents: *extents });
            len += bytes.len().next_multiple_of(ALIGNMENT);
        }
        let denied = |reason: String| KernelError::Refused(format!("no executable memory: {reason}"));
        let mut provider = SystemMemoryProvider::new();
        let start = provider
            .allocate(len.max(1), ALIGNMENT as u64, JITMemoryKind::Executable)
            .map_err(|error| denied(error.to_string()))?;
        // From here on `drop` frees what was allocated.
        let mut code = Self { provider, start, len, functions: placed };
        for (function, (bytes, _)) in code.functions.iter().zip(functions) {
            // SAFETY: the provider gave `len` writable bytes at `start`, and `offset + bytes.len() <= len` by construction.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(function.offset), bytes.len()) };
        }
        code.provider.finalize(BranchProtection::None).map_err(|error| denied(error.to_string()))?;
        Ok(code)
    }

    /// Bytes of code.
    pub(crate) fn bytes(&self) -> usize {
        self.len
    }

    /// Runs a function: `sums` become its sums.
    ///
    /// # Panics
    /// When an argument is shorter than what the function touches.
    #[inline]
    pub(crate) fn run(&self, function: usize, x: &[f32], values: &[f32], sums: &mut [f32]) {
        let Function { offset, extents, .. } = self.functions[function];
        assert!(
            size_of_val(x) >= extents.x_bytes
                && size_of_val(values) >= extents.values_bytes
                && size_of_val(sums) >= extents.sums_bytes
        );
        // SAFETY: by the invariant, a whole function that was proved to read and write only inside of its extents, to keep the
        // registers of its caller and to return, starts here; the line above checked that the extents are there.
        unsafe {
            let entry: extern "sysv64" fn(*const f32, *const f32, *mut f32) = std::mem::transmute(self.start.add(offset));
            entry(x.as_ptr(), values.as_ptr(), sums.as_mut_ptr());
        }
    }

    /// Asks for one of `parts` parts of a function's code and of its `values`, so that they are near when it runs.
    #[inline]
    pub(crate) fn prefetch(&self, function: usize, values: &[f32], part: usize, parts: usize) {
        let Function { offset, len, .. } = self.functions[function];
        // SAFETY: by the invariant, the function's bytes are initialized memory that nobody writes.
        let code = unsafe { std::slice::from_raw_parts(self.start.add(offset), len) };
        prefetch_part(code, part, parts);
        prefetch_part(values, part, parts);
    }
}

fn prefetch_part<T>(values: &[T], part: usize, parts: usize) {
    let share = values.len().div_ceil(parts);
    let start = (part * share).min(values.len());
    let line = ALIGNMENT / size_of::<T>();
    for chunk in values[start..(start + share).min(values.len())].chunks(line) {
        crate::prefetch::ask(chunk.as_ptr());
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: code runs only inside of `run`, which borrows `self`; so none runs now, and no pointer to it is left.
        unsafe { self.provider.free_memory() };
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::Tier;

    #[test]
    fn no_page_is_writable_and_executable() {
        let code = Code::map(&[(&[0xc3], Extents { tier: Tier::Portable, x_bytes: 0, values_bytes: 0, sums_bytes: 0 })]).unwrap();
        let start = code.start as usize;
        let mut found = false;
        for line in std::fs::read_to_string("/proc/self/maps").unwrap().lines() {
            let mut fields = line.split_whitespace();
            let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
            assert!(!(rights.contains('w') && rights.contains('x')), "{line}");
            let (from, to) = range.split_once('-').unwrap();
            if (usize::from_str_radix(from, 16).unwrap()..usize::from_str_radix(to, 16).unwrap()).contains(&start) {
                assert_eq!(&rights[..3], "r-x", "{line}");
                found = true;
            }
        }
        assert!(found, "the code is mapped");
    }
}
