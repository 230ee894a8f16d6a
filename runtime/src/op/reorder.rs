//! The sequences of a batch in another order, as those of beams that go on from others.

use candle_core::Tensor;

use super::Slot;
use crate::Result;

/// The sequences `rows` of `kept`, `[batch, room, width]` of which the first `count` rows of each are filled. Where there are as many as
/// before it is `kept` itself, in which only those that change are moved, each once; else a new one. For inference alone.
///
/// # Errors
/// When there is no such sequence.
pub fn reorder(kept: &Slot, count: usize, rows: &[usize]) -> Result<Slot> {
    let (batch, room, width) = kept.values().dims3()?;
    if rows.iter().any(|&row| row >= batch) || count > room {
        let message = format!("{count} rows of the sequences {rows:?} of {:?}", kept.values().dims());
        return Err(candle_core::Error::Msg(message).into());
    }
    let device = kept.values().device();
    if rows.len() != batch || !device.is_cpu() {
        let rows = Tensor::from_iter(rows.iter().map(|&row| row as u32), device)?;
        return Slot::new(kept.values().index_select(&rows, 0)?);
    }
    let moves = moves(rows);
    if moves.is_empty() {
        return Ok(kept.clone());
    }
    let (len, stride) = (count * width, room * width);
    let place = |row: usize| row * stride..row * stride + len;
    kept.change(|values| {
        let mut aside = Vec::new();
        for step in moves {
            match step {
                Move::Copy { from, to } => values.copy_within(place(from), place(to).start),
                Move::Aside { from } => aside = values[place(from)].to_vec(),
                Move::Back { to } => values[place(to)].copy_from_slice(&aside),
            }
        }
    })?;
    Ok(kept.clone())
}

/// One step of a change of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// A sequence takes the place of one that nobody needs any more.
    Copy { from: usize, to: usize },
    /// A sequence is laid aside, so that its place is free.
    Aside { from: usize },
    /// The one that lies aside comes back.
    Back { to: usize },
}

/// The steps after which each place `i` holds what was at `rows[i]`.
fn moves(rows: &[usize]) -> Vec<Move> {
    let mut is_open: Vec<bool> = rows.iter().enumerate().map(|(to, &from)| from != to).collect();
    // How many open places still need what is at each.
    let mut needed = vec![0; rows.len()];
    rows.iter().zip(&is_open).filter(|(_, is_open)| **is_open).for_each(|(&from, _)| needed[from] += 1);
    let mut moves = Vec::new();
    let mut free: Vec<usize> = (0..rows.len()).filter(|&to| is_open[to] && needed[to] == 0).collect();
    while let Some(to) = free.pop() {
        let from = rows[to];
        moves.push(Move::Copy { from, to });
        is_open[to] = false;
        needed[from] -= 1;
        if needed[from] == 0 && is_open[from] {
            free.push(from);
        }
    }
    // What is open now goes round in circles.
    for first in 0..rows.len() {
        if !is_open[first] {
            continue;
        }
        moves.push(Move::Aside { from: first });
        let mut to = first;
        while rows[to] != first {
            moves.push(Move::Copy { from: rows[to], to });
            is_open[to] = false;
            to = rows[to];
        }
        moves.push(Move::Back { to });
        is_open[to] = false;
    }
    moves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check::{flat, variable};
    use super::*;

    #[test]
    fn only_what_changes_is_moved() {
        assert_eq!(moves(&[0, 1, 2]), []);
        assert_eq!(moves(&[0, 0, 2]), [Move::Copy { from: 0, to: 1 }]);
        assert_eq!(moves(&[1, 0]), [Move::Aside { from: 0 }, Move::Copy { from: 1, to: 0 }, Move::Back { to: 1 }]);
        assert_eq!(moves(&[1, 2, 2]), [Move::Copy { from: 1, to: 0 }, Move::Copy { from: 2, to: 1 }]);
    }

    #[test]
    fn sequences_that_are_not_there_are_an_error() {
        let kept = Slot::new(variable(&[2, 3, 4], 1).detach()).unwrap();
        assert!(reorder(&kept, 3, &[0, 2]).is_err() && reorder(&kept, 4, &[0, 1]).is_err());
    }

    proptest! {
        #[test]
        fn an_order_is_a_selection(rows in (1usize..7).prop_flat_map(|batch| prop::collection::vec(0..batch, 1..8)), count in 0usize..=3) {
            let batch = rows.iter().max().unwrap() + 1;
            let all = variable(&[batch.max(rows.len().min(6)), 3, 4], 1).detach();
            let expected = rows.iter().map(|&row| flat(&all.narrow(0, row, 1).unwrap().narrow(1, 0, count).unwrap())).collect::<Vec<_>>();
            let kept = Slot::new(all.copy().unwrap()).unwrap();
            let found = reorder(&kept, count, &rows).unwrap();
            prop_assert_eq!(found.values().dim(0).unwrap(), rows.len());
            prop_assert_eq!(found.values().id() == kept.values().id(), rows.len() == all.dim(0).unwrap());
            for (at, expected) in expected.iter().enumerate() {
                let row = found.values().narrow(0, at, 1).unwrap().narrow(1, 0, count).unwrap();
                prop_assert_eq!(&flat(&row), expected);
            }
        }
    }
}
