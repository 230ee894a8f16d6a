//! The texts of a compilation, and where in them something stands.
//!
//! Invariant: a [`Span`] that this crate hands out lies inside its source and on character boundaries.

use serde::{Deserialize, Serialize};

/// Bytes that one recipe may have: recipes are written by people, and spans fit `u32` many times over.
pub const MAX_SOURCE_BYTES: usize = 1 << 20;

/// One text of a [`SourceSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceId(pub(crate) u32);

impl SourceId {
    /// Its place in the set.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Bytes `start..end` of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// The text it lies in.
    pub source: SourceId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    pub(crate) fn new(source: SourceId, start: usize, end: usize) -> Self {
        // Sources are at most MAX_SOURCE_BYTES long, which `SourceSet::add` and the parser keep.
        let clamp = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { source, start: clamp(start), end: clamp(end) }
    }

    /// The smallest span that holds both; `self` where they lie in two sources.
    pub(crate) fn to(self, other: Span) -> Span {
        if self.source != other.source {
            return self;
        }
        Span { source: self.source, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The bytes as a range.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// One text and the name under which diagnostics show it.
#[derive(Clone, Debug)]
pub struct Source {
    /// A path relative to where the user stands, or a phrase such as `--set sparsity`.
    pub name: String,
    /// The text, without a byte-order mark.
    pub text: String,
}

/// Every text of a compilation: the recipe first, then its imports, then values given outside.
#[derive(Clone, Debug)]
pub struct SourceSet {
    sources: Vec<Source>,
}

impl SourceSet {
    /// A set that holds the recipe to compile. Imports are relative to the folder of `name`.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let mut set = Self { sources: Vec::new() };
        set.add(name, text);
        set
    }

    /// The recipe itself.
    pub fn root(&self) -> SourceId {
        SourceId(0)
    }

    /// Adds a text; a leading byte-order mark is dropped.
    pub(crate) fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> SourceId {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        self.sources.push(Source { name: name.into(), text });
        SourceId(u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX))
    }

    /// All texts, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        (0u32..).map(SourceId).zip(&self.sources)
    }

    /// The name of a text.
    pub fn name(&self, id: SourceId) -> &str {
        self.sources.get(id.index()).map_or("", |source| &source.name)
    }

    /// A whole text.
    pub fn text(&self, id: SourceId) -> &str {
        self.sources.get(id.index()).map_or("", |source| &source.text)
    }

    /// The text under a span.
    pub fn slice(&self, span: Span) -> &str {
        self.text(span.source).get(span.range()).unwrap_or("")
    }

    /// Line and column of a span's start, both from 1, the column in characters.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let before = self.text(span.source).get(..span.start as usize).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}
