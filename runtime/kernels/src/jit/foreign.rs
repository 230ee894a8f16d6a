//! Machine code from outside, as a property that holds for any bytes; see [`crate::foreign`].

use std::sync::LazyLock;

use blake3::Hash;
use iced_x86::{Code as Op, Decoder, DecoderOptions, InstructionInfoFactory, OpAccess, Register};

use super::block::Block;
use super::cache::Functions;
use super::compile::{extents, make, width};
use super::memory::Code;
use super::verify::{Extents, needed};
use crate::Pattern;
use crate::foreign::{edited, from_scratch_or};
use crate::format::Target;

/// A file of the code cache, with what its functions may touch.
struct Whole {
    key: Hash,
    functions: Vec<(Vec<u8>, Extents)>,
    file: Vec<u8>,
}

/// The functions of a small layer: one that starts from its bias, and one that goes on from sums.
fn whole() -> Option<&'static Whole> {
    static WHOLE: LazyLock<Option<Whole>> = LazyLock::new(|| {
        let mask = Pattern::Uniform.mask(5, 40, 0.4, 7);
        let blocks = [Block { rows: 0..5, cols: 0..31 }, Block { rows: 0..5, cols: 31..40 }];
        let target = Target::this_cpu();
        let made = make(&mask, &blocks, width(target.tier).ok()?, &target).expect("code for a small layer");
        let key = blake3::hash(b"a small layer");
        let file = Functions::file(key, &made);
        let extents = blocks.iter().map(|block| extents(&mask, block, target.tier));
        Some(Whole { key, functions: made.into_iter().zip(extents).collect(), file })
    });
    WHOLE.as_ref()
}

/// A file of the code cache is refused, or its parts are whole; a function in it is refused, or it returns, stays inside of its arguments,
/// and changes nothing but its sums. `bytes` change a file, whose hash is then made right, or one function.
pub fn code(bytes: &[u8]) {
    let (Some(whole), Some((first, bytes))) = (whole(), bytes.split_first()) else { return };
    if first % 2 == 0 {
        let (function, extents) = &whole.functions[usize::from(first / 2) % whole.functions.len()];
        return assert_harmless(&edited(function, bytes), *extents);
    }
    let mut file = from_scratch_or(&whole.file[..whole.file.len() - blake3::OUT_LEN], bytes);
    file.extend_from_slice(blake3::hash(&file).as_bytes());
    let bytes = file.len();
    let Some(functions) = Functions::parse(file, whole.key) else { return };
    assert!(functions.iter().map(<[u8]>::len).sum::<usize>() <= bytes && functions.iter().count() == functions.len());
    for (function, (_, extents)) in functions.iter().zip(&whole.functions) {
        assert_harmless(function, *extents);
    }
}

/// Floats on both sides of an argument, which a function must leave alone.
const AROUND: usize = 256;

/// What these hold.
const UNTOUCHED: f32 = 7.0;

/// A function that passed the gate does what the gate promises, by the tables of another decoder and by being run.
fn assert_harmless(bytes: &[u8], extents: Extents) {
    let Ok(code) = Code::map(&[(bytes, extents)]) else { return };
    assert_inside(bytes, extents);
    let [x_len, values_len, sums_len] = [extents.x_bytes, extents.values_bytes, extents.sums_bytes].map(|bytes| bytes / 4);
    let around = |len: usize, value: f32| {
        let mut argument = vec![UNTOUCHED; len + 2 * AROUND];
        argument[AROUND..][..len].fill(value);
        argument
    };
    let (x, values, mut sums) = (around(x_len, 0.5), around(values_len, 0.25), around(sums_len, 1.0));
    code.run(0, &x[AROUND..][..x_len], &values[AROUND..][..values_len], &mut sums[AROUND..][..sums_len]);
    assert!(x == around(x_len, 0.5) && values == around(values_len, 0.25), "an argument that is only read was written");
    sums[AROUND..][..sums_len].fill(1.0);
    assert!(sums == around(sums_len, 1.0), "something beside the sums was written");
}

/// The same as `verify` proves, from what `iced_x86` knows of each instruction's registers and memory.
fn assert_inside(bytes: &[u8], extents: Extents) {
    let mut arguments = [
        (Register::RDI, 0i64, extents.x_bytes, false),
        (Register::RSI, 0, extents.values_bytes, false),
        (Register::RDX, 0, extents.sums_bytes, true),
    ];
    let mut factory = InstructionInfoFactory::new();
    for instruction in &mut Decoder::new(64, bytes, DecoderOptions::NONE) {
        if instruction.code() == Op::Retnq {
            assert_eq!(instruction.next_ip(), bytes.len() as u64, "code follows the return");
            return;
        }
        assert!(needed(&instruction) <= extents.tier, "{instruction} is not there on {}", extents.tier);
        let info = factory.info(&instruction);
        for register in info.used_registers() {
            let is_argument = arguments.iter().any(|(argument, ..)| *argument == register.register().full_register());
            assert!(is_argument || register.register().is_vector_register(), "{instruction} uses {register:?}");
        }
        for memory in info.used_memory() {
            let base = arguments.iter().find(|(argument, ..)| *argument == memory.base());
            let (_, moved, len, may_write) = base.unwrap_or_else(|| panic!("{instruction} touches {memory:?}"));
            assert!(memory.index() == Register::None && (memory.access() == OpAccess::Read || *may_write), "{instruction}");
            let start = moved + memory.displacement() as i64;
            let end = start + memory.memory_size().size() as i64;
            assert!(0 <= start && end <= *len as i64, "{instruction} touches {start}..{end} of {len} bytes");
        }
        if instruction.code() == Op::Add_rm64_imm32 {
            let argument = arguments.iter_mut().find(|(argument, ..)| *argument == instruction.op0_register());
            argument.expect("an argument moves").1 += instruction.immediate(1) as i64;
        }
    }
    panic!("the function does not return");
}
