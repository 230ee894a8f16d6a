//! How the activations of tokens lie in memory for a kernel.

use std::ops::Range;

/// Where the activations of each token are written. What lies between them is whatever it was.
pub(crate) trait Layout: Sync {
    /// Tokens of a group; what belongs to them lies in one piece.
    fn group(&self) -> usize;

    /// Numbers of a group.
    fn group_len(&self) -> usize;

    /// The columns that lie together, and where in its group, for one token of a group.
    fn spans(&self, token: usize) -> impl Iterator<Item = (Range<usize>, usize)>;
}

/// One token after the other.
pub(crate) struct Rows {
    /// Numbers per token.
    pub(crate) cols: usize,
    /// Numbers from one token to the next, at least `cols`.
    pub(crate) stride: usize,
}

impl Rows {
    /// Rows of bytes that begin on cache lines, an odd number of them apart: so that no two of a few tokens meet in a set of the
    /// first-level cache.
    pub(crate) fn apart(cols: usize) -> Self {
        Self { cols, stride: (cols.div_ceil(64) | 1) * 64 }
    }
}

impl Layout for Rows {
    fn group(&self) -> usize {
        1
    }

    fn group_len(&self) -> usize {
        self.stride
    }

    fn spans(&self, _token: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
        std::iter::once((0..self.cols, 0))
    }
}
