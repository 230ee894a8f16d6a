//! How much machine code a model may have: code is larger than the weights it replaces, so somebody has to say stop.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only machine code takes from a budget"))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::KernelError;
use crate::error::Result;

/// Bytes of code that may still be made; clones share one account.
#[derive(Clone, Debug)]
pub struct CodeBudget(Arc<AtomicUsize>);

impl CodeBudget {
    /// Room for `bytes` of code.
    pub fn of_bytes(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// As much as memory holds.
    pub fn unlimited() -> Self {
        Self::of_bytes(usize::MAX)
    }

    /// Bytes left.
    pub fn left_bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes `bytes` until the grant is dropped.
    ///
    /// # Errors
    /// When there is not so much left.
    pub(crate) fn take(&self, bytes: usize) -> Result<Grant> {
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)) {
            Ok(_) => Ok(Grant { budget: self.clone(), bytes }),
            Err(left) => Err(KernelError::Refused(format!(
                "its code would take about {} and the code budget has {} left",
                mebibytes(bytes),
                mebibytes(left)
            ))),
        }
    }
}

fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Bytes taken from a budget; they go back when this is dropped.
#[derive(Debug)]
pub(crate) struct Grant {
    budget: CodeBudget,
    bytes: usize,
}

impl Grant {
    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let back = self.bytes.saturating_sub(bytes);
        self.bytes -= back;
        self.budget.0.fetch_add(back, Ordering::Relaxed);
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let budget = CodeBudget::of_bytes(10 << 20);
        let mut grant = budget.take(8 << 20).unwrap();
        assert_eq!(
            budget.take(4 << 20).unwrap_err().to_string(),
            "its code would take about 4.0 MiB and the code budget has 2.0 MiB left"
        );
        grant.shrink_to(5 << 20);
        assert_eq!(budget.left_bytes(), 5 << 20);
        drop(grant);
        assert_eq!(budget.left_bytes(), 10 << 20);
    }
}
