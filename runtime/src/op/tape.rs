//! Differentiation: operations write themselves on a tape, and the backward pass reads it from its end.
//!
//! candle differentiates what its own operations compute, but it adds every gradient to zeros, into a third tensor, on one thread: a
//! good part of a training step of a narrow model. Here a gradient is handed on as it is, a second one is added to the first where
//! it lies, and what an operation kept is dropped once its backward pass is over.
//!
//! To candle, results on the tape are variables. What it computes between two operations is a graph that begins at such results, and
//! candle differentiates that part alone: models may use any operation of candle, at candle's speed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem::MaybeUninit;
use std::sync::Arc;

use candle_core::{Result, Shape, Tensor, TensorId, Var, bail};

use super::matrix::{Matrix, MatrixMut, On, Onto, new_product, product};
use super::parallel::{self, for_rows};
use super::{vector, workspace};

thread_local! {
    /// What was computed since [`differentiate`] began, where it is running.
    static TAPE: RefCell<Option<Vec<Step>>> = const { RefCell::new(None) };
}

/// One operation on the tape.
struct Step {
    output: TensorId,
    backward: Backward,
}

/// From the gradient of a result to those of what it was computed from.
type Backward = Box<dyn FnOnce(Slopes, &mut Gradients) -> Result<()>>;

/// The gradient of one tensor, row-major. Shared where one gradient holds for several tensors.
pub(super) type Slopes = Arc<Vec<f32>>;

/// Gradients by tensor.
#[derive(Default)]
pub struct Gradients(HashMap<TensorId, Slopes>);

impl Gradients {
    /// The gradient of `tensor`, row-major; nothing where it is no variable that the differentiated value depends on.
    pub fn take(&mut self, tensor: &Tensor) -> Option<Vec<f32>> {
        self.0.remove(&tensor.id()).map(Arc::unwrap_or_clone)
    }

    /// Adds `slopes()` to the gradient of `tensor`, if anybody asks for it.
    pub(super) fn add(&mut self, tensor: &Tensor, slopes: impl FnOnce() -> Vec<f32>) {
        if tensor.track_op() {
            self.share(tensor, &Arc::new(slopes()));
        }
    }

    /// As [`Gradients::add`], with slopes that others have too.
    pub(super) fn share(&mut self, tensor: &Tensor, slopes: &Slopes) {
        if !tensor.track_op() {
            return;
        }
        match self.0.entry(tensor.id()) {
            Entry::Vacant(entry) => drop(entry.insert(Arc::clone(slopes))),
            Entry::Occupied(mut entry) => {
                let sum = Arc::make_mut(entry.get_mut());
                for_rows(sum, 1, |first, part| vector::add(part, &slopes[first..first + part.len()]));
            }
        }
    }

    /// As [`Gradients::add`], with slopes `[rows, width]` of the columns `first..first + width` of a tensor `[rows, columns]`.
    pub(super) fn add_columns(&mut self, tensor: &Tensor, columns: usize, first: usize, width: usize, slopes: &[f32]) {
        if !tensor.track_op() {
            return;
        }
        let sum = self.0.entry(tensor.id()).or_insert_with(|| Arc::new(vec![0.0; tensor.elem_count()]));
        for_rows(Arc::make_mut(sum).as_mut_slice(), columns, |row, part| {
            let rows = part.chunks_exact_mut(columns).zip(slopes[row * width..].chunks_exact(width));
            rows.for_each(|(sum, slopes)| vector::add(&mut sum[first..first + width], slopes));
        });
    }

    /// As [`Gradients::add`], with the slopes `a b`.
    pub(super) fn add_product(&mut self, tensor: &Tensor, a: Matrix<'_>, b: Matrix<'_>) {
        match self.0.get_mut(&tensor.id()) {
            Some(sum) => {
                let sum = MatrixMut::row_major(Arc::make_mut(sum).as_mut_slice(), a.rows(), b.cols());
                product(sum, Onto::Sum, 1.0, a, b, On::Pool);
            }
            None => self.add(tensor, || new_product(1.0, a, b, On::Pool)),
        }
    }
}

/// Runs `forward` and differentiates the scalar that it yields, beside something else, with respect to every variable it came from.
///
/// # Errors
/// As `forward`, and as the backward passes of the operations; when it yields no scalar.
pub fn differentiate<T>(forward: impl FnOnce() -> crate::Result<(Tensor, T)>) -> crate::Result<(Gradients, T)> {
    let outer = TAPE.replace(Some(Vec::new()));
    let computed = forward().inspect(|(value, _)| note_candle(value));
    let steps = TAPE.replace(outer).unwrap_or_default();
    let (value, rest) = computed?;
    if value.elem_count() != 1 {
        return Err(candle_core::Error::Msg(format!("only a scalar can be differentiated, not {:?}", value.dims())).into());
    }
    let mut gradients = Gradients::default();
    gradients.add(&value, || vec![1.0]);
    for step in steps.into_iter().rev() {
        if let Some(slopes) = gradients.0.remove(&step.output) {
            (step.backward)(slopes, &mut gradients)?;
        }
    }
    Ok((gradients, rest))
}

/// Whether somebody is going to differentiate the result of an operation on `inputs`.
pub(super) fn is_watched(inputs: &[&Tensor]) -> bool {
    TAPE.with_borrow(Option::is_some) && inputs.iter().any(|input| input.track_op())
}

/// The result `[before.., width]` of an operation on `inputs`: to be followed by [`record`] with its backward pass. `fill` writes every
/// value, over zeros or whatever was there.
///
/// # Errors
/// Those of `fill`.
pub(crate) fn filled(
    before: &[usize],
    width: usize,
    inputs: &[&Tensor],
    fill: impl FnOnce(&mut [f32]) -> crate::Result<()>,
) -> crate::Result<Tensor> {
    let is_watched = is_watched(inputs);
    if !is_watched && let Some(slot) = workspace::next(before, width) {
        let mut done = Ok(());
        slot.change(|values| done = fill(values))?;
        return done.map(|()| slot.values().clone());
    }
    let mut values = vec![0.0; before.iter().product::<usize>() * width];
    fill(&mut values)?;
    let result = output(values, [before, &[width]].concat(), inputs)?;
    if !is_watched {
        workspace::keep(&result)?;
    }
    Ok(result)
}

/// As [`filled`], for the result of a function of each element, of the shape of the first of `inputs`; `write(first, part)` is called for
/// consecutive parts of it.
///
/// # Safety
/// `write` writes every element of its part.
///
/// # Errors
/// When memory that is used again is not what it was.
pub(super) unsafe fn written(inputs: &[&Tensor], write: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync) -> crate::Result<Tensor> {
    let is_watched = is_watched(inputs);
    let shape = inputs[0].shape();
    if !is_watched
        && let Some((width, before)) = shape.dims().split_last()
        && let Some(slot) = workspace::next(before, *width)
    {
        // SAFETY: the caller's promise.
        slot.change(|values| unsafe { parallel::overwrite(values, &write) })?;
        return Ok(slot.values().clone());
    }
    // SAFETY: the caller's promise.
    let values = unsafe { parallel::written(shape.elem_count(), 1, write) };
    let result = output(values, shape, inputs)?;
    if !is_watched && shape.rank() > 0 {
        workspace::keep(&result)?;
    }
    Ok(result)
}

/// The result of an operation on `inputs`: to be followed by [`record`] with its backward pass.
pub(super) fn output(values: Vec<f32>, shape: impl Into<Shape>, inputs: &[&Tensor]) -> Result<Tensor> {
    inputs.iter().for_each(|input| note_candle(input));
    let (shape, device) = (shape.into(), inputs[0].device());
    match is_watched(inputs) {
        true => Ok(Var::from_vec(values, shape, device)?.into_inner()),
        false => Tensor::from_vec(values, shape, device),
    }
}

/// Writes the operation that made `output` on the tape, if somebody is going to differentiate it. Given the gradient of `output`,
/// `backward` adds to those of the inputs.
pub(super) fn record(output: &Tensor, backward: impl FnOnce(Slopes, &mut Gradients) -> Result<()> + 'static) {
    if output.is_variable() {
        let step = Step { output: output.id(), backward: Box::new(backward) };
        TAPE.with_borrow_mut(|tape| tape.as_mut().map(|steps| steps.push(step)));
    }
}

/// If candle computed `tensor` from variables, writes that on the tape.
fn note_candle(tensor: &Tensor) {
    if tensor.track_op() && !tensor.is_variable() {
        let computed = tensor.clone();
        let backward = move |slopes, gradients: &mut Gradients| candle_backward(&computed, slopes, gradients);
        let step = Step { output: tensor.id(), backward: Box::new(backward) };
        TAPE.with_borrow_mut(|tape| tape.as_mut().map(|steps| steps.push(step)));
    }
}

/// candle's backward pass from `computed` to the variables that it came from.
fn candle_backward(computed: &Tensor, slopes: Slopes, gradients: &mut Gradients) -> Result<()> {
    let slopes = Tensor::from_vec(Arc::unwrap_or_clone(slopes), computed.shape(), computed.device())?;
    let store = computed.mul(&slopes)?.sum_all()?.backward()?;
    for variable in computed.sorted_nodes().into_iter().filter(|node| node.is_variable()) {
        let Some(found) = store.get(variable) else { bail!("a variable on the way has no gradient") };
        let found = found.flatten_all()?.to_vec1()?;
        gradients.add(variable, || found);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_operation, variable};
    use sparsec_kernels::Activation;

    use super::super::{activate, add};
    use super::*;

    fn gelu(x: &Tensor) -> crate::Result<Tensor> {
        activate(x, Activation::Gelu)
    }

    #[test]
    fn what_candle_computes_between_operations_is_differentiated() {
        let (x, y) = (variable(&[4, 6], 1), variable(&[6, 4], 2));
        let fused = || {
            let twice = gelu(&x)?.t()?.affine(2.0, 0.5)?;
            let sum = add(&twice, &y.mul(&twice)?)?;
            gelu(&sum.narrow(0, 1, 3)?)?.broadcast_mul(&sum.sum(0)?)
        };
        let reference = || {
            let twice = x.gelu_erf()?.t()?.affine(2.0, 0.5)?;
            let sum = twice.add(&y.mul(&twice)?)?;
            sum.narrow(0, 1, 3)?.gelu_erf()?.broadcast_mul(&sum.sum(0)?)
        };
        assert_operation(&[&x, &y], fused, reference);
    }

    #[test]
    fn only_scalars_are_differentiated_and_nothing_outlives_a_failure() {
        let x = variable(&[5], 3);
        assert!(differentiate(|| Ok((gelu(&x)?, ()))).is_err());
        assert!(differentiate::<()>(|| Err(crate::Fault::internal("on purpose"))).is_err());
        assert!(!gelu(&x).unwrap().track_op(), "nobody differentiates");
    }
}
