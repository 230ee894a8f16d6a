//! Tuning files.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sparsec_kernels::foreign::tuning(bytes));
