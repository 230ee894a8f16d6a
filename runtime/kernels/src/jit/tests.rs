//! Machine code against the plain sums, instruction by instruction and function by function; foreign code against the gate.

use iced_x86::{Code as Op, Decoder, DecoderOptions, Encoder, Instruction, MemoryOperand, Register};

use std::sync::atomic::{AtomicUsize, Ordering};

use super::block::{Block, Core, Cut};
use super::compile::{accumulators, compile, estimate_bytes, extents};
use super::emit::{Emitter, target};
use super::memory::Code;
use super::verify::{Extents, verify};
use super::widen::{Width, widen};
use crate::format::{Progress, Target};
use crate::testing::{first_difference, random_matrix, random_values};
use crate::{CodeBudget, Tier};

const WIDTHS: [(Tier, Width); 2] = [(Tier::Avx2, Width::Ymm), (Tier::Avx512, Width::Zmm)];

fn widths() -> impl Iterator<Item = (Tier, Width)> {
    WIDTHS.into_iter().filter(|(tier, _)| tier.is_available())
}

fn encode(instructions: &[Instruction]) -> Vec<u8> {
    let mut encoder = Encoder::new(64);
    for instruction in instructions {
        encoder.encode(instruction, 0).unwrap();
    }
    encoder.take_buffer()
}

fn at(base: Register, displacement: i64) -> MemoryOperand {
    MemoryOperand::with_base_displ(base, displacement)
}

fn ret() -> Instruction {
    Instruction::with(Op::Retnq)
}

/// Room for anything the small functions below touch.
const ROOM: Extents = Extents { tier: Tier::Avx512, x_bytes: 1024, values_bytes: 1024, sums_bytes: 1024 };

/// Runs `narrow` four tokens at a time as it is, and once widened: every lane must be bit for bit the same.
///
/// The 128-bit original touches memory 16 bytes apart where the wide one takes `lanes`: it runs on one group of four lanes at a
/// time, copied to where it expects them.
fn assert_lanes_agree(narrow: &[Instruction]) {
    let bytes = encode(narrow);
    for (tier, width) in widths() {
        let lanes = tier.lanes();
        let (x, values, start) = (random_values(256, 1), random_values(256, 2), random_values(256, 3));
        let wide = widen(&bytes, width).unwrap();
        let code = Code::map(&[(&wide, ROOM)]).unwrap();
        let mut found = start.clone();
        code.run(0, &x, &values, &mut found);
        for group in 0..lanes / 4 {
            let narrowed = |wide: &[f32]| -> Vec<f32> {
                let mut narrow = vec![0.0; 256];
                for (vector, values) in wide.chunks(lanes).enumerate() {
                    narrow[vector * lanes..][..4].copy_from_slice(&values[group * 4..][..4]);
                }
                narrow
            };
            let mut expected = narrowed(&start);
            run_narrow(&bytes, &narrowed(&x), &values, &mut expected);
            for (vector, lanes_found) in found.chunks(lanes).enumerate() {
                assert_eq!(lanes_found[group * 4..][..4], expected[vector * lanes..][..4], "{width:?}, group {group}");
            }
        }
    }
}

/// Runs the 128-bit original, which never passes the gate, by interpreting it.
fn run_narrow(code: &[u8], x: &[f32], values: &[f32], sums: &mut [f32]) {
    let mut registers = [[0f32; 4]; 16];
    let mut stack = std::collections::HashMap::new();
    for instruction in &mut Decoder::new(64, code, DecoderOptions::NONE) {
        let place = instruction.memory_displacement64() as usize / 4;
        let number = |operand: u32| instruction.op_register(operand).number();
        let is_stack = instruction.memory_base() == Register::RSP;
        let memory = match instruction.memory_base() {
            Register::RDI => x,
            Register::RSI => values,
            _ => sums,
        };
        let vector = |memory: &[f32]| -> [f32; 4] { memory[place..place + 4].try_into().unwrap() };
        let operand = |operand: u32| match instruction.op_kind(operand) {
            iced_x86::OpKind::Memory if is_stack => stack[&place],
            iced_x86::OpKind::Memory => vector(memory),
            _ => registers[number(operand)],
        };
        match instruction.mnemonic() {
            iced_x86::Mnemonic::Ret => return,
            iced_x86::Mnemonic::Vbroadcastss => registers[number(0)] = [memory[place]; 4],
            iced_x86::Mnemonic::Vfmadd213ps => {
                let (a, b, c) = (operand(0), operand(1), operand(2));
                registers[number(0)] = std::array::from_fn(|lane| b[lane].mul_add(a[lane], c[lane]));
            }
            iced_x86::Mnemonic::Vfmadd132ps => {
                let (a, b, c) = (operand(0), operand(1), operand(2));
                registers[number(0)] = std::array::from_fn(|lane| a[lane].mul_add(c[lane], b[lane]));
            }
            _ if instruction.op0_kind() == iced_x86::OpKind::Memory => {
                let value = operand(1);
                if is_stack {
                    stack.insert(place, value);
                } else {
                    sums[place..place + 4].copy_from_slice(&value);
                }
            }
            _ => registers[number(0)] = operand(1),
        }
    }
}

fn load(register: Register, base: Register, displacement: i64) -> Instruction {
    Instruction::with2(Op::VEX_Vmovups_xmm_xmmm128, register, at(base, displacement)).unwrap()
}

fn store(register: Register, displacement: i64) -> Instruction {
    Instruction::with2(Op::VEX_Vmovups_xmmm128_xmm, at(Register::RDX, displacement), register).unwrap()
}

fn broadcast(register: Register, displacement: i64) -> Instruction {
    Instruction::with2(Op::VEX_Vbroadcastss_xmm_m32, register, at(Register::RSI, displacement)).unwrap()
}

fn multiply_add(code: Op, first: Register, second: Register, third: Register) -> Instruction {
    Instruction::with3(code, first, second, third).unwrap()
}

use Register::{RAX, RBX, RDI, RDX, RSI, RSP, XMM0, XMM1, XMM2, XMM3};

#[test]
fn moves_keep_every_lane() {
    assert_lanes_agree(&[load(XMM1, RDI, 0), store(XMM1, 0), ret()]);
    for copy in [Op::VEX_Vmovaps_xmm_xmmm128, Op::Movaps_xmm_xmmm128, Op::Movdqa_xmm_xmmm128, Op::VEX_Vmovdqa_xmm_xmmm128] {
        assert_lanes_agree(&[load(XMM1, RDI, 0), Instruction::with2(copy, XMM2, XMM1).unwrap(), store(XMM2, 0), ret()]);
    }
    assert_lanes_agree(&[broadcast(XMM3, 8), store(XMM3, 0), ret()]);
}

#[test]
fn multiply_adds_keep_every_lane() {
    for code in [Op::VEX_Vfmadd213ps_xmm_xmm_xmmm128, Op::VEX_Vfmadd132ps_xmm_xmm_xmmm128] {
        let loads = [load(XMM1, RDI, 0), load(XMM2, RDX, 0), broadcast(XMM0, 4)];
        assert_lanes_agree(&[&loads[..], &[multiply_add(code, XMM0, XMM1, XMM2), store(XMM0, 0), ret()]].concat());
        let with_memory = Instruction::with3(code, XMM0, XMM1, at(RDX, 0)).unwrap();
        assert_lanes_agree(&[&loads[..], &[with_memory, store(XMM0, 0), ret()]].concat());
    }
}

#[test]
fn a_fused_chain_renames_its_registers() {
    // sum = w1 * (x) + (w0 * x + y): names move from XMM2 to XMM0 to XMM3.
    let code = Op::VEX_Vfmadd213ps_xmm_xmm_xmmm128;
    assert_lanes_agree(&[
        load(XMM1, RDI, 0),
        load(XMM2, RDX, 0),
        broadcast(XMM0, 0),
        multiply_add(code, XMM0, XMM1, XMM2),
        broadcast(XMM3, 4),
        multiply_add(code, XMM3, XMM1, XMM0),
        // The freed name is written and used again.
        load(XMM2, RDI, 0),
        broadcast(XMM0, 8),
        multiply_add(code, XMM0, XMM2, XMM3),
        store(XMM0, 0),
        ret(),
    ]);
}

#[test]
fn spill_slots_become_registers() {
    if !Tier::Avx512.is_available() {
        return;
    }
    let spill = |slot: i64, register| Instruction::with2(Op::Movdqu_xmmm128_xmm, at(RSP, slot), register).unwrap();
    let reload = |register, slot: i64| Instruction::with2(Op::Movdqu_xmm_xmmm128, register, at(RSP, slot)).unwrap();
    let code = [
        load(XMM1, RDI, 0),
        spill(0, XMM1),
        load(XMM1, RDX, 0),
        spill(16, XMM1),
        reload(XMM2, 0),
        reload(XMM3, 16),
        store(XMM2, 0),
        ret(),
    ];
    let wide = widen(&encode(&code), Width::Zmm).unwrap();
    let (x, mut sums) = (random_values(16, 1), vec![0.0; 16]);
    let extents = Extents { tier: Tier::Avx512, x_bytes: 64, values_bytes: 0, sums_bytes: 64 };
    Code::map(&[(&wide, extents)]).unwrap().run(0, &x, &[], &mut sums);
    assert_eq!(sums, x);
    assert!(widen(&encode(&code), Width::Ymm).unwrap_err().contains("more values are live"));
    let unwritten = [reload(XMM1, 32), ret()];
    assert!(widen(&encode(&unwritten), Width::Zmm).unwrap_err().contains("before it is written"));
}

#[test]
fn a_register_that_a_swap_gave_up_is_not_read() {
    let code = Op::VEX_Vfmadd213ps_xmm_xmm_xmmm128;
    let stale =
        [load(XMM1, RDI, 0), load(XMM2, RDX, 0), broadcast(XMM0, 0), multiply_add(code, XMM0, XMM1, XMM2), store(XMM2, 0), ret()];
    assert!(widen(&encode(&stale), Width::Zmm).unwrap_err().contains("given up"));
    assert!(widen(&encode(&stale), Width::Ymm).is_ok());
}

#[test]
fn foreign_instructions_are_not_widened() {
    for foreign in [
        Instruction::with3(Op::VEX_Vaddps_xmm_xmm_xmmm128, XMM0, XMM1, XMM2).unwrap(),
        Instruction::with_branch(Op::Jmp_rel32_64, 0x100).unwrap(),
        Instruction::with_branch(Op::Call_rel32_64, 0x100).unwrap(),
        Instruction::with(Op::Syscall),
        Instruction::with2(Op::Mov_rm64_r64, at(RDX, 0), RAX).unwrap(),
        Instruction::with1(Op::Push_r64, RBX).unwrap(),
    ] {
        let refusal = widen(&encode(&[foreign, ret()]), Width::Zmm);
        // A store of a general register is not widened but passed on; then the gate stops it.
        let refused = refusal.and_then(|bytes| verify(&bytes, ROOM));
        assert!(refused.is_err(), "{foreign}");
    }
}

#[test]
fn the_gate_stops_what_could_do_harm() {
    let zmm = |number: u32| Register::ZMM0 + number;
    let load = |base, displacement| Instruction::with2(Op::EVEX_Vmovups_zmm_k1z_zmmm512, zmm(1), at(base, displacement)).unwrap();
    let store =
        |base, displacement| Instruction::with2(Op::EVEX_Vmovups_zmmm512_k1z_zmm, at(base, displacement), zmm(1)).unwrap();
    let lea = |to, base, displacement| Instruction::with2(Op::Lea_r64_m, to, at(base, displacement)).unwrap();
    let add = |register, by| Instruction::with2(Op::Add_rm64_imm32, register, by).unwrap();
    let good: [&[Instruction]; 2] =
        [&[load(RDI, 960), store(RDX, 960), ret()], &[add(RSI, 512), load(RSI, -512), load(RSI, 448), ret()]];
    for code in good {
        verify(&encode(code), ROOM).unwrap();
    }
    let mut masked = load(RDI, 0);
    masked.set_op_mask(Register::K1);
    let mut segment = load(RDI, 0);
    segment.set_segment_prefix(Register::FS);
    let indexed = Instruction::with2(Op::EVEX_Vmovups_zmm_k1z_zmmm512, zmm(1), MemoryOperand::with_base_index(RDI, RAX)).unwrap();
    let aligned = Instruction::with2(Op::EVEX_Vmovaps_zmm_k1z_zmmm512, zmm(1), at(RDI, 0)).unwrap();
    let bad: [(&[Instruction], &str); 19] = [
        (&[load(RDI, 961), ret()], "outside"),
        (&[load(RDI, -1), ret()], "outside"),
        (&[store(RDX, 1024), ret()], "outside"),
        (&[store(RDI, 0), ret()], "only sums"),
        (&[store(RSI, 0), ret()], "only sums"),
        (&[load(RAX, 0), ret()], "not the function's"),
        (&[load(RSP, 0), ret()], "not the function's"),
        (&[store(RSP, 0), ret()], "not the function's"),
        (&[add(RBX, 1), ret()], "not the function's"),
        (&[add(RSP, 8), ret()], "not the function's"),
        (&[lea(RDI, RSI, 0), ret()], "not on the list"),
        (&[add(RDI, 1024), load(RDI, 0), ret()], "outside"),
        (&[masked, ret()], "a mask"),
        (&[segment, ret()], "a prefix"),
        (&[indexed, ret()], "an index"),
        (&[aligned, ret()], "aligned"),
        (&[Instruction::with(Op::Syscall), ret()], "not on the list"),
        (&[Instruction::with_branch(Op::Jmp_rel8_64, 0).unwrap(), ret()], "not on the list"),
        (&[ret(), load(RDI, 0)], "code follows"),
    ];
    for (code, reason) in bad {
        let refusal = verify(&encode(code), ROOM).unwrap_err();
        assert!(refusal.contains(reason), "{refusal}, where {reason} was expected");
    }
    let narrow = Extents { tier: Tier::Avx2, ..ROOM };
    assert!(verify(&encode(good[0]), narrow).unwrap_err().contains("lacks it"), "the CPU may not have what the code asks for");
    assert!(verify(&[], ROOM).unwrap_err().contains("does not return"));
    assert!(verify(&encode(&[load(RDI, 0)]), ROOM).unwrap_err().contains("does not return"));
    assert!(verify(&[0x06, 0xc3], ROOM).is_err());
}

#[test]
fn any_changed_byte_is_refused_or_harmless() {
    let matrix = random_matrix(5, 40, 0.4, 7);
    let block = Block { rows: 0..5, cols: 0..40 };
    let isa = target().unwrap();
    for (tier, width) in widths() {
        let narrow = Emitter::new(&isa).emit(matrix.mask(), &block, tier.lanes()).unwrap();
        let wide = widen(&narrow, width).unwrap();
        let extents = extents(matrix.mask(), &block, tier);
        verify(&wide, extents).unwrap();
        for place in 0..wide.len() {
            for bit in 0..8 {
                let mut changed = wide.clone();
                changed[place] ^= 1 << bit;
                // What passes may compute something else, but nowhere else: running it proves that it returns and stays inside.
                if let Ok(code) = Code::map(&[(&changed, extents)]) {
                    let (x, values) = (vec![1.0; extents.x_bytes / 4], vec![1.0; extents.values_bytes / 4]);
                    code.run(0, &x, &values, &mut vec![0.0; extents.sums_bytes / 4]);
                }
            }
        }
    }
}

#[test]
fn a_block_computes_its_sums() {
    for (tier, _) in widths() {
        let target = Target { tier, ..Target::this_cpu() };
        for (rows, cols, density) in [(1, 1, 1.0), (8, 70, 0.3), (8, 600, 1.0), (8, 300, 0.0), (accumulators(tier)[0], 500, 0.2)]
        {
            let matrix = random_matrix(rows, cols + 9, density, 11);
            let lanes = tier.lanes();
            // The right piece starts from sums, the left one from its bias.
            for block in [Block { rows: 0..rows, cols: 0..cols }, Block { rows: 0..rows, cols: 9..cols + 9 }] {
                let code = compile("test", matrix.mask(), std::slice::from_ref(&block), &target, Ok);
                let code = code.unwrap_or_else(|error| panic!("{rows} rows, {cols} columns, {density}, {tier}: {error}"));
                let x = random_values(cols * lanes, 1);
                let start = random_values(rows * lanes, 2);
                let bias = if block.starts_from_bias() { random_values(rows, 3) } else { Vec::new() };
                let mut values = bias.clone();
                let mut expected = start.clone();
                if block.starts_from_bias() {
                    expected.iter_mut().enumerate().for_each(|(place, sum)| *sum = bias[place / lanes]);
                }
                block.visit_kept(matrix.mask(), |row, col| {
                    let weight = matrix.weight(row, block.cols.start + col);
                    values.push(weight);
                    for lane in 0..lanes {
                        let sum = &mut expected[row * lanes + lane];
                        *sum = weight.mul_add(x[col * lanes + lane], *sum);
                    }
                });
                let mut found = start.clone();
                code.run(0, &x, &values, &mut found);
                assert_eq!(first_difference(&found, &expected, 0), None, "{tier}: the same sums in the same order");
            }
        }
    }
}

#[test]
fn progress_counts_every_function_and_the_budget_is_kept() {
    let Some((tier, _)) = widths().last() else { return };
    let matrix = random_matrix(60, 50, 0.3, 1);
    let cut = Cut::of(matrix.mask(), 12, Core::this());
    let blocks: Vec<_> = (0..5).flat_map(|block| cut.blocks(block * 12..block * 12 + 12, 50)).collect();
    let seen = AtomicUsize::new(0);
    let report = |progress: Progress| {
        assert_eq!(progress.total, blocks.len());
        seen.fetch_max(progress.done, Ordering::Relaxed);
    };
    let code = compile("test", matrix.mask(), &blocks, &Target { tier, progress: &report, ..Target::this_cpu() }, Ok).unwrap();
    assert_eq!(seen.into_inner(), blocks.len());
    assert!(code.bytes() <= estimate_bytes(matrix.mask(), blocks.len(), cut, tier));
    let poor = Target { tier, code_budget: CodeBudget::of_bytes(1000), ..Target::this_cpu() };
    let refusal = crate::format::by_word("rowblock").unwrap().compress(&matrix, &[0.0; 60], &poor).err().unwrap();
    assert!(refusal.to_string().contains("code budget"), "{refusal}");
}
