//! Activations with tokens in lanes, in groups of tokens that are multiplied together.

use std::ops::Range;

use super::lanes::Multiplied;
use super::{Shape, most_tiles};
use crate::buffer::Scratch;
use crate::cpu::Tier;
use crate::operands::Operands;

/// Tiles of tokens, of one vector each, in groups: as few groups as can be, of nearly the same size.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    tokens: usize,
    lanes: usize,
    /// Tiles in all.
    count: usize,
    /// Tiles of a group; the last may have fewer.
    pub(super) of_group: usize,
}

impl Tiles {
    pub(super) fn of(tokens: usize, shape: Shape, tier: Tier) -> Self {
        let count = tokens.div_ceil(tier.lanes());
        let groups = count.div_ceil(most_tiles(shape, tier)).max(1);
        Self { tokens, lanes: tier.lanes(), count, of_group: count.div_ceil(groups).max(1) }
    }

    /// Groups in all.
    pub(super) fn groups(self) -> usize {
        self.count.div_ceil(self.of_group)
    }

    /// Tiles of one group.
    pub(super) fn group(self, group: usize) -> Range<usize> {
        group * self.of_group..((group + 1) * self.of_group).min(self.count)
    }

    /// Tokens of one tile.
    pub(super) fn tile(self, tile: usize) -> Range<usize> {
        tile * self.lanes..((tile + 1) * self.lanes).min(self.tokens)
    }
}

/// The activations of one product, `[group][multiplication][tile][lane]`, and the scale of each token.
pub(super) struct Activations<T: Multiplied> {
    pub(super) tiles: Tiles,
    /// Numbers of a tile.
    tile_len: usize,
    values: Scratch<T::Activation>,
    /// For whole tiles; ones where there is no token, or the element has no scales.
    scales: Scratch<f32>,
}

impl<T: Multiplied> Activations<T> {
    pub(super) fn of(operands: &Operands, shape: Shape, tier: Tier) -> Self {
        let tiles = Tiles::of(operands.tokens(), shape, tier);
        let tile_len = operands.cols().next_multiple_of(shape.cols()) / T::COLS * tiles.lanes;
        let mut values = Scratch::take(tile_len * tiles.count);
        let mut scales = Scratch::take(tiles.count * tiles.lanes);
        scales.fill(1.0);
        T::pack(tier, operands, tile_len * tiles.of_group, &mut values, &mut scales[..tiles.tokens]);
        Self { tiles, tile_len, values, scales }
    }

    /// Those of one group.
    pub(super) fn group(&self, group: usize) -> &[T::Activation] {
        let tiles = self.tiles.group(group);
        &self.values[tiles.start * self.tile_len..tiles.end * self.tile_len]
    }

    /// The scales of one tile.
    pub(super) fn scales_of_tile(&self, tile: usize) -> &[f32] {
        &self.scales[tile * self.tiles.lanes..][..self.tiles.lanes]
    }

    /// The scale of each token.
    pub(super) fn scales(&self) -> &[f32] {
        &self.scales[..self.tiles.tokens]
    }
}
