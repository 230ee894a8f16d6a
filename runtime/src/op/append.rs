//! Joining tensors in time without copying what is there, as keys and values of a cache are.

use candle_core::Tensor;

use super::{Slot, Values};
use crate::Result;

/// Rows that there is room for grow in steps of so many.
const STEP: usize = 64;

/// `kept`, `[batch, room, width]` of which the first `count` rows are filled, followed by `later`, `[batch, time, width]`. Where there is
/// room it is `kept` itself, changed where it lies; else a new one with room for some more. For inference alone.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn append(kept: &Slot, count: usize, later: &Tensor) -> Result<Slot> {
    let filled = kept.values();
    let ((batch, time, width), room) = (later.dims3()?, filled.dim(1)?);
    if filled.dims() != [batch, room, width] || count > room {
        let message = format!("{count} rows of {:?}, followed by {:?}", filled.dims(), later.dims());
        return Err(candle_core::Error::Msg(message).into());
    }
    if !later.device().is_cpu() {
        return Slot::new(Tensor::cat(&[&filled.narrow(1, 0, count)?, later], 1)?);
    }
    let later = later.contiguous()?;
    let copy = |room: usize, first: usize, from: &[f32], rows: usize, from_room: usize, to: &mut [f32]| {
        for sequence in 0..batch {
            let rows = &from[sequence * from_room * width..][..rows * width];
            to[(sequence * room + first) * width..][..rows.len()].copy_from_slice(rows);
        }
    };
    let added = Values::of(&later)?;
    if count + time <= room {
        kept.change(|values| copy(room, count, &added, time, time, values))?;
        return Ok(kept.clone());
    }
    let more = (count + time).next_multiple_of(STEP);
    let mut values = vec![0.0; batch * more * width];
    copy(more, 0, &Values::of(filled)?, count, room, &mut values);
    copy(more, count, &added, time, time, &mut values);
    Slot::new(Tensor::from_vec(values, (batch, more, width), later.device())?)
}

#[cfg(test)]
mod tests {
    use super::super::check::{flat, variable};
    use super::*;

    #[test]
    fn rows_follow_each_other_where_they_lie() {
        let parts: Vec<Tensor> = [3, 1, 60, 1, 100].iter().map(|time| variable(&[2, *time, 5], *time as u64).detach()).collect();
        let (mut kept, mut count) = (Slot::constant(parts[0].clone()), 3);
        for (at, part) in parts.iter().enumerate().skip(1) {
            let joined = append(&kept, count, part).unwrap();
            count += part.dim(1).unwrap();
            assert_eq!(joined.values().dims(), [2, count.next_multiple_of(STEP), 5]);
            assert_eq!(kept.values().id() == joined.values().id(), at == 2, "{at}: only a step allocates");
            let expected = Tensor::cat(&parts[..=at], 1).unwrap();
            assert_eq!(flat(&joined.values().narrow(1, 0, count).unwrap()), flat(&expected));
            kept = joined;
        }
        assert!(append(&kept, count, &variable(&[1, 1, 5], 1)).is_err(), "another batch");
        assert!(append(&kept, 1000, &parts[0]).is_err());
    }
}
