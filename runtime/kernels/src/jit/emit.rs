//! From a block of the mask to machine code for four tokens, by Cranelift: the only file that knows it.
//!
//! The function is `extern "sysv64" fn(x, values, sums)`, one basic block without branches or calls. Cranelift's x86-64 vectors have
//! 128 bits; [`widen`](super::widen) makes the same instructions compute more tokens, so all strides here are already the wide ones.

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::types::{F32, F32X4, I64};
use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, MemFlagsData, Signature, UserFuncName, Value};
use cranelift_codegen::isa::{self, CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{CodegenError, Context};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::block::Block;
use crate::error::Result;
use crate::{KernelError, Mask};

/// Bytes of one FP32 value.
const VALUE: i32 = size_of::<f32>() as i32;

/// The instruction set that code is generated for: the same on every machine, whatever else it has, so that the same mask is the
/// same code everywhere.
///
/// # Errors
/// When Cranelift was built without it.
pub(crate) fn target() -> Result<OwnedTargetIsa> {
    let fail = |reason: &dyn std::fmt::Display| KernelError::Refused(format!("Cranelift: {reason}"));
    let mut flags = settings::builder();
    for (name, value) in [("opt_level", "none"), ("regalloc_algorithm", "backtracking"), ("enable_verifier", "false")] {
        flags.set(name, value).map_err(|error| fail(&error))?;
    }
    let mut builder = isa::lookup_by_name("x86_64-unknown-linux-gnu").map_err(|error| fail(&error))?;
    for feature in ["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_avx", "has_avx2", "has_fma"] {
        builder.enable(feature).map_err(|error| fail(&error))?;
    }
    builder.finish(settings::Flags::new(flags)).map_err(|error| fail(&error))
}

/// Generates functions one after the other, reusing its memory.
pub(crate) struct Emitter<'a> {
    isa: &'a OwnedTargetIsa,
    context: Context,
    builder: FunctionBuilderContext,
}

impl<'a> Emitter<'a> {
    pub(crate) fn new(isa: &'a OwnedTargetIsa) -> Self {
        Self { isa, context: Context::new(), builder: FunctionBuilderContext::new() }
    }

    /// 128-bit code of `block` for vectors of `lanes` values.
    ///
    /// # Errors
    /// When Cranelift cannot compile the function.
    pub(crate) fn emit(&mut self, mask: &Mask, block: &Block, lanes: usize) -> Result<Vec<u8>> {
        let mut signature = Signature::new(CallConv::SystemV);
        signature.params.extend([AbiParam::new(I64); 3]);
        self.context.clear();
        self.context.func = Function::with_name_signature(UserFuncName::default(), signature);
        Body::new(FunctionBuilder::new(&mut self.context.func, &mut self.builder), lanes).fill(mask, block, self.isa);
        let compiled = self.context.compile(&**self.isa, &mut ControlPlane::default());
        let describe = |error: &CodegenError| KernelError::Refused(format!("Cranelift: {error}"));
        Ok(compiled.map_err(|error| describe(&error.inner))?.code_buffer().to_vec())
    }
}

/// A function that is being filled.
struct Body<'a> {
    ins: FunctionBuilder<'a>,
    /// Bytes of one wide vector.
    vector: i32,
    x: Value,
    values: Value,
    sums: Value,
}

impl<'a> Body<'a> {
    fn new(mut ins: FunctionBuilder<'a>, lanes: usize) -> Self {
        let entry = ins.create_block();
        ins.append_block_params_for_function_params(entry);
        ins.switch_to_block(entry);
        ins.seal_block(entry);
        let [x, values, sums] = *ins.block_params(entry) else { unreachable!("the signature has three parameters") };
        Self { ins, vector: lanes as i32 * VALUE, x, values, sums }
    }

    fn fill(mut self, mask: &Mask, block: &Block, isa: &OwnedTargetIsa) {
        let mut offset = 0;
        let mut sums: Vec<Value> = (0..block.rows.len() as i32)
            .map(|row| match block.starts_from_bias() {
                true => self.next_value(&mut offset),
                false => self.ins.ins().load(F32X4, MemFlagsData::trusted(), self.sums, row * self.vector),
            })
            .collect();
        let mut loaded = None;
        block.visit_kept(mask, |row, col| {
            let x = match loaded {
                Some((loaded_col, x)) if loaded_col == col => x,
                _ => self.ins.ins().load(F32X4, MemFlagsData::trusted(), self.x, col as i32 * self.vector),
            };
            loaded = Some((col, x));
            let weight = self.next_value(&mut offset);
            sums[row] = self.ins.ins().fma(weight, x, sums[row]);
        });
        for (row, sum) in sums.into_iter().enumerate() {
            self.ins.ins().store(MemFlagsData::trusted(), sum, self.sums, row as i32 * self.vector);
        }
        self.ins.ins().return_(&[]);
        self.ins.finalize(isa.frontend_config());
    }

    /// The next of the packed values, in every lane.
    fn next_value(&mut self, offset: &mut i32) -> Value {
        let value = self.ins.ins().load(F32, MemFlagsData::trusted(), self.values, *offset);
        *offset += VALUE;
        self.ins.ins().splat(F32X4, value)
    }
}
