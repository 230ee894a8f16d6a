//! Memory of results that the next pass over the same operations uses again: decoding computes the same shapes for every token, and
//! would otherwise allocate some hundred small tensors for each.

use std::cell::RefCell;

use candle_core::Tensor;

use super::Slot;
use crate::Result;

thread_local! {
    /// That of the pass that is running.
    static ACTIVE: RefCell<Option<Workspace>> = const { RefCell::new(None) };
}

/// The results of one pass, in order.
#[derive(Default)]
pub struct Workspace {
    results: Vec<Slot>,
    next: usize,
}

impl Workspace {
    /// Does `pass`. Results of operations in it, its own among them, are good until the next pass, which writes its results in their
    /// place; whatever is to stay must be copied.
    ///
    /// # Errors
    /// Those of `pass`.
    pub fn reuse<T>(&mut self, pass: impl FnOnce() -> Result<T>) -> Result<T> {
        self.next = 0;
        let around = ACTIVE.replace(Some(std::mem::take(self)));
        let result = pass();
        *self = ACTIVE.replace(around).unwrap_or_default();
        result
    }
}

/// The next result of the pass before, if it was `[before.., width]`.
pub(super) fn next(before: &[usize], width: usize) -> Option<Slot> {
    ACTIVE.with_borrow_mut(|active| {
        let Workspace { results, next } = active.as_mut()?;
        let result = results.get(*next)?;
        if result.values().dims().split_last() != Some((&width, before)) {
            results.truncate(*next);
            return None;
        }
        *next += 1;
        Some(result.clone())
    })
}

/// Keeps a result that was new.
///
/// # Errors
/// When it is not contiguous.
pub(super) fn keep(result: &Tensor) -> Result<()> {
    ACTIVE.with_borrow_mut(|active| {
        if let Some(Workspace { results, next }) = active {
            results.push(Slot::new(result.clone())?);
            *next += 1;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::super::check::{flat, variable};
    use super::super::layer_norm;
    use super::*;

    #[test]
    fn a_pass_writes_where_the_one_before_did() {
        let (weight, mut workspace) = (variable(&[8], 1).detach(), Workspace::default());
        let mut pass = |x: &Tensor| {
            workspace.reuse(|| {
                let once = layer_norm(x, &weight, None, 1e-5)?;
                layer_norm(&once, &weight, None, 1e-5)
            })
        };
        let (a, b) = (variable(&[1, 3, 8], 2).detach(), variable(&[1, 3, 8], 3).detach());
        let first = pass(&a).unwrap();
        let of_a = flat(&first);
        let second = pass(&b).unwrap();
        assert_eq!(first.id(), second.id());
        assert_ne!(flat(&first), of_a, "the first result is gone");
        assert_eq!(flat(&pass(&a).unwrap()), of_a);
        let longer = variable(&[1, 4, 8], 4).detach();
        assert_eq!(pass(&longer).unwrap().dims(), [1, 4, 8], "another shape is another tensor");
        assert_eq!(flat(&pass(&a).unwrap()), of_a);
    }
}
