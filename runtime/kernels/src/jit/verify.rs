//! The gate in front of executable memory: proves, from the bytes alone, that a function can only do its sums.
//!
//! The code is run on paper: of the three registers that hold the arguments it is known how far they have moved; no other is used.
//! A function passes if
//! - every instruction is on the list and there on its tier, none branches, and the only `ret` is the last;
//! - every memory access lies inside the part of an argument that the function may touch, and only sums are written;
//! - no other general register is used, so nothing is written that the caller expects to keep, and the stack is not touched.

use iced_x86::{Code, Decoder, DecoderOptions, EncodingKind, Instruction, OpKind, Register};

use super::widen::Refusal;
use crate::Tier;

/// What a function may use: instructions, and so many bytes of each argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extents {
    /// Where it is to run; code from outside may hold instructions that are not there.
    pub(crate) tier: Tier,
    /// First argument, read.
    pub(crate) x_bytes: usize,
    /// Second argument, read.
    pub(crate) values_bytes: usize,
    /// Third argument, read and written.
    pub(crate) sums_bytes: usize,
}

/// Vector instructions that may occur, and the bytes each moves if an operand is memory; none where it must not be, as an aligned
/// move faults.
const VECTOR: &[(Code, usize)] = &[
    (Code::VEX_Vmovups_ymm_ymmm256, 32),
    (Code::VEX_Vmovups_ymmm256_ymm, 32),
    (Code::VEX_Vmovaps_ymm_ymmm256, 0),
    (Code::VEX_Vbroadcastss_ymm_m32, 4),
    (Code::VEX_Vfmadd213ps_ymm_ymm_ymmm256, 32),
    (Code::VEX_Vfmadd132ps_ymm_ymm_ymmm256, 32),
    (Code::EVEX_Vmovups_zmm_k1z_zmmm512, 64),
    (Code::EVEX_Vmovups_zmmm512_k1z_zmm, 64),
    (Code::EVEX_Vmovaps_zmm_k1z_zmmm512, 0),
    (Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32, 4),
    (Code::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er, 64),
    (Code::EVEX_Vfmadd132ps_zmm_k1z_zmm_zmmm512b32_er, 64),
    (Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er, 64),
];

/// Proves that `code` is a function as described above.
///
/// # Errors
/// The first instruction that it cannot be proved of.
pub(crate) fn verify(code: &[u8], extents: Extents) -> Result<(), Refusal> {
    let argument = |register, bytes, written| Argument { register, moved: 0, bytes, written };
    let mut paper = Paper([
        argument(Register::RDI, extents.x_bytes, false),
        argument(Register::RSI, extents.values_bytes, false),
        argument(Register::RDX, extents.sums_bytes, true),
    ]);
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.code() == Code::Retnq {
            return if decoder.can_decode() { Err("code follows the return".into()) } else { Ok(()) };
        }
        if needed(&instruction) > extents.tier {
            return Err(format!("{instruction}: {} lacks it", extents.tier));
        }
        paper.step(&instruction).map_err(|reason| format!("{instruction}: {reason}"))?;
    }
    Err("the function does not return".into())
}

/// The least tier that has an instruction of the list.
pub(super) fn needed(instruction: &Instruction) -> Tier {
    match instruction.encoding() {
        EncodingKind::EVEX => Tier::Avx512,
        EncodingKind::VEX => Tier::Avx2,
        _ => Tier::Portable,
    }
}

/// A register that points into an argument.
struct Argument {
    register: Register,
    /// Bytes from where it pointed at first.
    moved: i64,
    /// Bytes that may be touched.
    bytes: usize,
    /// Whether they may be written.
    written: bool,
}

struct Paper([Argument; 3]);

impl Paper {
    fn step(&mut self, instruction: &Instruction) -> Result<(), Refusal> {
        if instruction.has_lock_prefix()
            || instruction.has_rep_prefix()
            || instruction.has_repne_prefix()
            || instruction.has_segment_prefix()
        {
            return Err("a prefix that is not allowed".into());
        }
        match instruction.code() {
            Code::VEX_Vzeroupper => Ok(()),
            Code::Add_rm64_imm32 if instruction.op0_kind() == OpKind::Register => {
                let argument = self.argument(instruction.op0_register())?;
                argument.moved = argument.moved.checked_add(instruction.immediate(1) as i64).ok_or("an address out of range")?;
                Ok(())
            }
            code => match VECTOR.iter().find(|(known, _)| *known == code) {
                Some((_, bytes)) => self.vector(instruction, *bytes),
                None => Err("an instruction that is not on the list".into()),
            },
        }
    }

    /// Vector registers hold numbers, which nothing here trusts: only memory matters.
    fn vector(&mut self, instruction: &Instruction, bytes: usize) -> Result<(), Refusal> {
        if instruction.has_op_mask() || instruction.zeroing_masking() || instruction.suppress_all_exceptions() {
            return Err("a mask or rounding that is not allowed".into());
        }
        for operand in 0..instruction.op_count() {
            if instruction.op_kind(operand) == OpKind::Memory {
                let bytes = if instruction.is_broadcast() { size_of::<f32>() } else { bytes };
                self.access(instruction, bytes, operand == 0)?;
            }
        }
        Ok(())
    }

    fn access(&mut self, instruction: &Instruction, bytes: usize, writes: bool) -> Result<(), Refusal> {
        if bytes == 0 {
            return Err("an aligned move of memory".into());
        }
        if instruction.memory_index() != Register::None {
            return Err("an index register".into());
        }
        let argument = self.argument(instruction.memory_base())?;
        if writes && !argument.written {
            return Err("only sums may be written".into());
        }
        let offset = argument.moved.checked_add(instruction.memory_displacement64() as i64);
        let start = offset.and_then(|offset| usize::try_from(offset).ok());
        match start.and_then(|start| start.checked_add(bytes)) {
            Some(end) if end <= argument.bytes => Ok(()),
            _ => Err(format!("{bytes} bytes outside of the {} of an argument", argument.bytes)),
        }
    }

    fn argument(&mut self, register: Register) -> Result<&mut Argument, Refusal> {
        let found = self.0.iter_mut().find(|argument| argument.register == register);
        found.ok_or_else(|| format!("register {register:?} is not the function's to use"))
    }
}
