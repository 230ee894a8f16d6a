//! Files of the code cache, and the gate that their functions pass.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sparsec_kernels::foreign::code(bytes));
