//! From 128-bit vector code to the same code on wider registers.
//!
//! The code of a block is lane-wise: no instruction moves data between lanes. The same instructions on 256 or 512 bits therefore
//! compute more tokens, and re-encoding them is all it takes. On the way
//! - a broadcast and the multiply-add that uses it become one instruction: Cranelift gives `t = [w]; t = t * x + sum`, and
//!   `sum += x * [w]{1to16}` computes the same in the other register, so from there on the two registers have swapped names;
//! - spill slots become registers 16 to 31, which AVX-512 has and Cranelift does not know;
//! - the stack frame, which then nothing uses, is left out;
//! - arguments move ahead with what is read through them, so that displacements fit one byte.
//!
//! Only the instructions named here are understood; anything else, and any use of a register whose value was given up by a swap,
//! refuses the function. What leaves here is proved again, from its bytes, by [`verify`](super::verify).

use iced_x86::{Code, Decoder, DecoderOptions, Encoder, Instruction, OpKind, Register};

/// Why a function was refused.
pub(crate) type Refusal = String;

/// The registers that code is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// 256 bits, AVX2: eight tokens.
    Ymm,
    /// 512 bits, AVX-512: sixteen tokens.
    Zmm,
}

/// The same operation at each width.
struct WideCode {
    narrow: Code,
    ymm: Code,
    zmm: Code,
}

const fn wide(narrow: Code, ymm: Code, zmm: Code) -> WideCode {
    WideCode { narrow, ymm, zmm }
}

/// Every vector instruction that is understood, and what it becomes.
const WIDE: &[WideCode] = &[
    wide(Code::VEX_Vmovups_xmm_xmmm128, Code::VEX_Vmovups_ymm_ymmm256, Code::EVEX_Vmovups_zmm_k1z_zmmm512),
    wide(Code::VEX_Vmovups_xmmm128_xmm, Code::VEX_Vmovups_ymmm256_ymm, Code::EVEX_Vmovups_zmmm512_k1z_zmm),
    wide(Code::VEX_Vmovaps_xmm_xmmm128, Code::VEX_Vmovaps_ymm_ymmm256, Code::EVEX_Vmovaps_zmm_k1z_zmmm512),
    wide(Code::Movaps_xmm_xmmm128, Code::VEX_Vmovaps_ymm_ymmm256, Code::EVEX_Vmovaps_zmm_k1z_zmmm512),
    wide(Code::Movdqa_xmm_xmmm128, Code::VEX_Vmovaps_ymm_ymmm256, Code::EVEX_Vmovaps_zmm_k1z_zmmm512),
    wide(Code::VEX_Vmovdqa_xmm_xmmm128, Code::VEX_Vmovaps_ymm_ymmm256, Code::EVEX_Vmovaps_zmm_k1z_zmmm512),
    wide(Code::VEX_Vbroadcastss_xmm_m32, Code::VEX_Vbroadcastss_ymm_m32, Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32),
    wide(
        Code::VEX_Vfmadd213ps_xmm_xmm_xmmm128,
        Code::VEX_Vfmadd213ps_ymm_ymm_ymmm256,
        Code::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
    ),
    wide(
        Code::VEX_Vfmadd132ps_xmm_xmm_xmmm128,
        Code::VEX_Vfmadd132ps_ymm_ymm_ymmm256,
        Code::EVEX_Vfmadd132ps_zmm_k1z_zmm_zmmm512b32_er,
    ),
];

/// Vector loads and stores of spill slots, which Cranelift types as integers or not at all.
const SPILL_LOADS: &[Code] = &[Code::Movdqu_xmm_xmmm128, Code::VEX_Vmovdqu_xmm_xmmm128, Code::VEX_Vmovups_xmm_xmmm128];
const SPILL_STORES: &[Code] = &[Code::Movdqu_xmmm128_xmm, Code::VEX_Vmovdqu_xmmm128_xmm, Code::VEX_Vmovups_xmmm128_xmm];

impl Width {
    fn register(self, number: usize) -> Register {
        let first = match self {
            Self::Ymm => Register::YMM0,
            Self::Zmm => Register::ZMM0,
        };
        first + number as u32
    }

    fn code(self, narrow: Code) -> Result<Code, Refusal> {
        let found = WIDE.iter().find(|wide| wide.narrow == narrow);
        let found = found.ok_or_else(|| format!("{narrow:?} is not on the list of instructions that may be widened"))?;
        Ok(match self {
            Self::Ymm => found.ymm,
            Self::Zmm => found.zmm,
        })
    }
}

/// Re-encodes 128-bit `code` at `width`.
///
/// # Errors
/// The instruction that is not understood.
pub(crate) fn widen(code: &[u8], width: Width) -> Result<Vec<u8>, Refusal> {
    let mut pass = Pass {
        width,
        names: std::array::from_fn(Name::of),
        slots: Vec::new(),
        broadcast: None,
        moved: [0; 2],
        encoder: Encoder::new(64),
    };
    for instruction in &mut Decoder::new(64, code, DecoderOptions::NONE) {
        pass.step(&instruction).map_err(|reason| format!("{instruction}: {reason}"))?;
    }
    Ok(pass.encoder.take_buffer())
}

/// Where the value of one of Cranelift's registers is.
#[derive(Clone, Copy)]
struct Name {
    /// Number of the wide register.
    register: usize,
    /// Whether it still holds what Cranelift believes: not after a swap, until it is written again.
    holds: bool,
}

impl Name {
    fn of(number: usize) -> Self {
        Self { register: number, holds: true }
    }
}

struct Pass {
    width: Width,
    names: [Name; 16],
    /// Stack displacements of the spill slots met so far; slot `i` is register `16 + i`.
    slots: Vec<u64>,
    /// A broadcast that waits for the multiply-add that uses it.
    broadcast: Option<Instruction>,
    /// Bytes by which each of the [`MOVING`] arguments has moved.
    moved: [i64; 2],
    encoder: Encoder,
}

/// Arguments that are read from front to back: activations and values.
const MOVING: [Register; 2] = [Register::RDI, Register::RSI];

impl Pass {
    fn step(&mut self, instruction: &Instruction) -> Result<(), Refusal> {
        if instruction.code() == Code::VEX_Vfmadd213ps_xmm_xmm_xmmm128 && self.fuse(instruction)? {
            return Ok(());
        }
        if let Some(broadcast) = self.broadcast.take() {
            self.lane_wise(&broadcast)?;
        }
        match instruction.code() {
            // The frame of a function that leaves the stack alone.
            Code::Push_r64 | Code::Pop_r64 if instruction.op0_register() == Register::RBP => Ok(()),
            Code::Mov_rm64_r64 | Code::Mov_r64_rm64 if touches_frame(instruction) => Ok(()),
            Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32 | Code::Add_rm64_imm8 | Code::Add_rm64_imm32
                if touches_frame(instruction) =>
            {
                Ok(())
            }
            Code::Retnq => {
                self.put(&Instruction::with(Code::VEX_Vzeroupper))?;
                self.put(instruction)
            }
            code if is_stack(instruction) && SPILL_STORES.contains(&code) => self.spill(instruction),
            code if is_stack(instruction) && SPILL_LOADS.contains(&code) => self.reload(instruction),
            Code::VEX_Vbroadcastss_xmm_m32 if self.width == Width::Zmm => {
                self.broadcast = Some(*instruction);
                Ok(())
            }
            _ => self.lane_wise(instruction),
        }
    }

    /// Makes one instruction of the waiting broadcast and the `multiply_add` that uses it, if it is the one.
    fn fuse(&mut self, multiply_add: &Instruction) -> Result<bool, Refusal> {
        let Some(broadcast) = self.broadcast else { return Ok(false) };
        if multiply_add.op2_kind() != OpKind::Register {
            return Ok(false);
        }
        let (weight, x, sum) = (number(multiply_add, 0)?, number(multiply_add, 1)?, number(multiply_add, 2)?);
        if number(&broadcast, 0)? != weight || weight == x || weight == sum || x == sum {
            return Ok(false);
        }
        self.broadcast = None;
        let mut fused = broadcast;
        fused.set_code(Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er);
        fused.set_op2_kind(OpKind::Memory);
        fused.set_op0_register(self.width.register(self.read(sum)?));
        fused.set_op1_kind(OpKind::Register);
        fused.set_op1_register(self.width.register(self.read(x)?));
        fused.set_is_broadcast(true);
        self.put(&fused)?;
        self.names.swap(weight, sum);
        self.names[sum].holds = false;
        Ok(true)
    }

    /// The same instruction on wide registers.
    fn lane_wise(&mut self, instruction: &Instruction) -> Result<(), Refusal> {
        let mut wide = *instruction;
        wide.set_code(self.width.code(instruction.code())?);
        // Operand 0 is written, if it is a register; multiply-adds read it too.
        let reads_first = instruction.op_count() == 3;
        for operand in (0..instruction.op_count()).rev() {
            if instruction.op_kind(operand) != OpKind::Register {
                continue;
            }
            let name = number(instruction, operand)?;
            let register = if operand > 0 || reads_first { self.read(name)? } else { self.write(name) };
            wide.set_op_register(operand, self.width.register(register));
        }
        self.put(&wide)
    }

    fn spill(&mut self, store: &Instruction) -> Result<(), Refusal> {
        let from = self.read(number(store, 1)?)?;
        let slot = match self.slots.iter().position(|slot| *slot == store.memory_displacement64()) {
            Some(slot) => slot,
            None => {
                self.slots.push(store.memory_displacement64());
                self.slots.len() - 1
            }
        };
        self.move_register(16 + slot, from)
    }

    fn reload(&mut self, load: &Instruction) -> Result<(), Refusal> {
        let slot = self
            .slots
            .iter()
            .position(|slot| *slot == load.memory_displacement64())
            .ok_or("a spill slot is read before it is written")?;
        let to = self.write(number(load, 0)?);
        self.move_register(to, 16 + slot)
    }

    fn move_register(&mut self, to: usize, from: usize) -> Result<(), Refusal> {
        if self.width != Width::Zmm || to.max(from) > 31 {
            return Err("more values are live than there are registers".into());
        }
        let (to, from) = (self.width.register(to), self.width.register(from));
        self.put(&Instruction::with2(Code::EVEX_Vmovaps_zmm_k1z_zmmm512, to, from).map_err(|error| error.to_string())?)
    }

    /// The register that holds what Cranelift calls `name`.
    fn read(&self, name: usize) -> Result<usize, Refusal> {
        let Name { register, holds } = self.names[name];
        if holds { Ok(register) } else { Err(format!("register {name} is read after its value was given up")) }
    }

    fn write(&mut self, name: usize) -> usize {
        self.names[name].holds = true;
        self.names[name].register
    }

    fn put(&mut self, instruction: &Instruction) -> Result<(), Refusal> {
        let mut instruction = *instruction;
        if instruction.memory_base() != Register::None {
            let displacement = self.reach(&instruction)?;
            instruction.set_memory_displacement64(displacement as u64);
            // One byte where it fits, four where it does not: the encoder decides.
            instruction.set_memory_displ_size((displacement != 0).into());
        }
        self.encode(&instruction)
    }

    /// The displacement of a memory operand from its argument, which moves ahead first if that makes it short.
    fn reach(&mut self, instruction: &Instruction) -> Result<i64, Refusal> {
        let (base, offset) = (instruction.memory_base(), instruction.memory_displacement64() as i64);
        let Some(argument) = MOVING.iter().position(|moving| *moving == base) else { return Ok(offset) };
        let is_value = instruction.is_broadcast()
            || matches!(instruction.code(), Code::VEX_Vbroadcastss_ymm_m32 | Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32);
        // Displacements of one byte count operands with AVX-512 and bytes without, where only values are dense enough to gain.
        let reach = 128
            * match (self.width, is_value) {
                (Width::Zmm, true) => 4,
                (Width::Zmm, false) => 64,
                (Width::Ymm, true) => 1,
                (Width::Ymm, false) => return Ok(offset - self.moved[argument]),
            };
        let ahead = offset - self.moved[argument] - reach;
        if ahead >= 0 {
            let step = (ahead / (2 * reach) + 1) * 2 * reach;
            self.moved[argument] += step;
            let step = i32::try_from(step).map_err(|_| "an offset out of range")?;
            self.encode(&Instruction::with2(Code::Add_rm64_imm32, base, step).map_err(|error| error.to_string())?)?;
        }
        Ok(offset - self.moved[argument])
    }

    fn encode(&mut self, instruction: &Instruction) -> Result<(), Refusal> {
        self.encoder.encode(instruction, 0).map(drop).map_err(|error| error.to_string())
    }
}

/// The number of a 128-bit register operand.
fn number(instruction: &Instruction, operand: u32) -> Result<usize, Refusal> {
    let register = instruction.op_register(operand);
    if register.is_xmm() && register.number() < 16 {
        return Ok(register.number());
    }
    Err(format!("operand {operand} is no 128-bit register"))
}

fn is_stack(instruction: &Instruction) -> bool {
    matches!(instruction.memory_base(), Register::RSP | Register::RBP)
}

/// Whether a register operand is the stack or frame pointer.
fn touches_frame(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|operand| {
        instruction.op_kind(operand) == OpKind::Register
            && matches!(instruction.op_register(operand), Register::RSP | Register::RBP)
    })
}
