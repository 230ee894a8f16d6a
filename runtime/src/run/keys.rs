//! The key of a step: what it means and what it is made of, as one hash.
//!
//! Files enter by the content of what a stage made of them, never by their names or by what else lies beside them.

use blake3::{Hash, Hasher};
use sparsec_compiler::Step;

/// The key of `step`. `above` are the keys of the steps that it uses.
pub(super) fn key(step: &Step, above: &[Hash]) -> Hash {
    let mut hasher = Hasher::new();
    hasher.update(step.fingerprint.as_bytes());
    for key in above {
        hasher.update(key.as_bytes());
    }
    hasher.finalize()
}

/// One key of several.
pub(super) fn hash<'a>(keys: impl IntoIterator<Item = &'a Hash>) -> Hash {
    let mut hasher = Hasher::new();
    for key in keys {
        hasher.update(key.as_bytes());
    }
    hasher.finalize()
}

/// The key that also depends on `content`: what a stage that reads files yields.
pub(super) fn with_content(key: &Hash, content: &Hash) -> Hash {
    hash([key, content])
}

/// The key of `name` under `key`, such as a part of a data set.
pub(super) fn part(key: &Hash, name: &str) -> Hash {
    Hasher::new().update(key.as_bytes()).update(name.as_bytes()).finalize()
}
