//! What can go wrong between a matrix and its product.

/// Why a matrix was not accepted, a kernel was not made, or a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Lengths that do not belong together.
    #[error("{0}")]
    Shape(String),
    /// A kernel that cannot or must not serve this matrix here; another one can.
    #[error("{0}")]
    Refused(String),
    /// A stored matrix or mask whose parts contradict each other.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// The kind of thing that was read.
        what: &'static str,
        /// The contradiction.
        reason: String,
    },
    /// A tuning file that is not one, or not for this version.
    #[error("tuning file {path}: {reason}; delete it to measure again")]
    Tuning {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder that machine code must not be kept in.
    #[error("code cache {path}: {reason}")]
    Cache {
        /// The folder.
        path: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// Machine code that failed its own check: a fault of this crate, never of the matrix.
    #[error("internal: {0}")]
    SelfCheck(String),
}

/// `Ok`, or why not.
pub type Result<T> = std::result::Result<T, KernelError>;

/// Fails unless `what` holds `expected` values.
pub(crate) fn expect_length(what: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(KernelError::Shape(format!("{what} hold {found} values where {expected} belong")))
}
