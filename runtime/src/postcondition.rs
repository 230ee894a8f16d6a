//! What a stage promised, checked after it ran.
//!
//! Each function is one promise; it looks at the checkpoints alone and never trusts the code that made them. A broken promise is a
//! fault of kind [`FaultKind::Running`](crate::FaultKind), for it means that the stage did not do what the recipe says.

use candle_core::Tensor;

use crate::pruner::Scope;
use crate::{Checkpoint, Fault, Result};

/// Every layer of `layers`, or all of them together where `scope` is global, has lost at least `round(weights * sparsity)` weights.
pub fn sparsity_reached(checkpoint: &Checkpoint, layers: &[String], sparsity: f64, scope: Scope) -> Result<()> {
    let groups: Vec<&[String]> = match scope {
        Scope::Uniform => layers.chunks(1).collect(),
        Scope::Global => vec![layers],
    };
    for group in groups {
        let (mut weights, mut kept) = (0, 0);
        for path in group {
            let mask =
                checkpoint.masks.get(path).ok_or_else(|| Fault::running(format!("`{path}` was to be pruned and has no mask")))?;
            weights += mask.rows() * mask.cols();
            kept += mask.kept();
        }
        let asked = (weights as f64 * sparsity).round() as usize;
        if weights - kept < asked {
            let name = if let [path] = group { format!("`{path}`") } else { format!("the {} layers together", group.len()) };
            return Err(Fault::running(format!(
                "{} of {weights} weights of {name} were to be removed, and {} were",
                asked,
                weights - kept
            )));
        }
    }
    Ok(())
}

/// No weight that `before` removes is kept by `after`, and every removed weight is exactly zero.
pub fn masks_kept(before: &Checkpoint, after: &Checkpoint) -> Result<()> {
    for (path, mask) in &before.masks {
        if !after.masks.get(path).is_some_and(|later| mask.contains(later)) {
            return Err(Fault::running(format!("weights of `{path}` that were pruned came back")));
        }
    }
    for (path, mask) in &after.masks {
        let weights = values(after, path)?;
        let mut masked = weights.clone();
        mask.apply(&mut masked);
        let alive = weights.iter().zip(&masked).filter(|(weight, masked)| weight.to_bits() << 1 != masked.to_bits() << 1).count();
        if alive > 0 {
            return Err(Fault::running(format!("{alive} pruned weights of `{path}` are not zero")));
        }
    }
    Ok(())
}

/// No parameter is NaN or infinite.
pub fn all_finite(checkpoint: &Checkpoint) -> Result<()> {
    for (name, tensor) in &checkpoint.tensors {
        let bad = tensor.flatten_all()?.to_vec1::<f32>()?.iter().filter(|value| !value.is_finite()).count();
        if bad > 0 {
            return Err(Fault::running(format!("`{name}` holds {bad} values that are not finite"))
                .help("a lower learning rate or a longer warm-up keeps training stable"));
        }
    }
    match checkpoint.quantized.iter().find(|(_, weight)| !weight.scales.iter().all(|scale| scale.is_finite())) {
        Some((path, _)) => Err(Fault::running(format!("the scales of `{path}` are not finite"))),
        None => Ok(()),
    }
}

/// How many parameters and quantized weights a stage changed.
///
/// # Errors
/// When it changed none: a stage without effect is a failure, never a silent success.
pub fn something_changed(before: &Checkpoint, after: &Checkpoint) -> Result<usize> {
    let mut changed = before.tensors.keys().filter(|name| !after.tensors.contains_key(*name)).count();
    for (name, tensor) in &after.tensors {
        let same = match before.tensors.get(name) {
            Some(old) => same_bits(old, tensor)?,
            None => false,
        };
        changed += usize::from(!same);
    }
    changed += after.quantized.iter().filter(|(path, weight)| before.quantized.get(*path) != Some(weight)).count();
    if changed == 0 {
        return Err(Fault::running("this stage changed no tensor")
            .help("take the stage out, or give it something to do: more sparsity, more steps, a learning rate above zero"));
    }
    Ok(changed)
}

/// Whether two tensors hold the same bits.
pub(crate) fn same_bits(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.id() == b.id() {
        return Ok(true);
    }
    let bits = |tensor: &Tensor| -> Result<Vec<u32>> {
        Ok(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
    };
    Ok(a.dims() == b.dims() && bits(a)? == bits(b)?)
}

/// The weight of a layer as numbers, however it is kept.
fn values(checkpoint: &Checkpoint, path: &str) -> Result<Vec<f32>> {
    if let Some(weight) = checkpoint.quantized.get(path) {
        return Ok(weight.dequantized());
    }
    let tensor = checkpoint
        .tensors
        .get(&crate::weight::name(path))
        .ok_or_else(|| Fault::running(format!("`{path}` has a mask and no weight")))?;
    Ok(tensor.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::Device;
    use sparsec_kernels::Mask;

    use super::*;
    use crate::checkpoint::QuantizedWeight;
    use crate::quantizer::{Quantizer, Rtn};

    const WEIGHTS: [f32; 8] = [1.0, 0.0, 3.0, 0.0, 0.0, 6.0, 0.0, 8.0];

    fn checkpoint(weights: [f32; 8]) -> Checkpoint {
        Checkpoint {
            config: serde_json::Value::Null,
            tensors: BTreeMap::from([("fc.weight".to_owned(), Tensor::from_slice(&weights, (2, 4), &Device::Cpu).unwrap())]),
            masks: BTreeMap::from([("fc".to_owned(), Mask::of_nonzeros(&WEIGHTS, 2, 4))]),
            quantized: BTreeMap::new(),
            companions: Default::default(),
        }
    }

    #[test]
    fn a_layer_that_kept_too_much_is_named() {
        let layers = ["fc".to_owned()];
        for scope in [Scope::Uniform, Scope::Global] {
            assert!(sparsity_reached(&checkpoint(WEIGHTS), &layers, 0.5, scope).is_ok());
            let fault = sparsity_reached(&checkpoint(WEIGHTS), &layers, 0.75, scope).unwrap_err();
            assert_eq!(fault.message, "6 of 8 weights of `fc` were to be removed, and 4 were");
        }
        assert!(sparsity_reached(&checkpoint(WEIGHTS), &["fc2".to_owned()], 0.5, Scope::Uniform).is_err());
    }

    #[test]
    fn a_mask_is_kept_when_nothing_comes_back() {
        let before = checkpoint(WEIGHTS);
        assert!(masks_kept(&before, &before).is_ok());
        let mut signed = WEIGHTS;
        signed[1] = -0.0;
        assert!(masks_kept(&before, &checkpoint(signed)).is_ok());
        let mut grown = WEIGHTS;
        grown[3] = f32::NAN;
        assert!(masks_kept(&before, &checkpoint(grown)).unwrap_err().message.contains("1 pruned weights of `fc` are not zero"));
        let mut regrown = checkpoint(WEIGHTS);
        regrown.masks.insert("fc".to_owned(), Mask::from_fn(2, 4, |_, _| true));
        assert!(masks_kept(&before, &regrown).unwrap_err().message.contains("came back"));
        let mut lost = checkpoint(WEIGHTS);
        lost.masks.clear();
        assert!(masks_kept(&before, &lost).is_err());
    }

    #[test]
    fn a_mask_is_kept_by_integers_too() {
        let before = checkpoint(WEIGHTS);
        let mut after = before.clone();
        after.tensors.clear();
        after.quantized.insert("fc".to_owned(), Rtn {}.quantize(&WEIGHTS, 2, 4, None).unwrap());
        assert!(masks_kept(&before, &after).is_ok());
        assert_eq!(something_changed(&before, &after).unwrap(), 2);
        after.quantized.insert("fc".to_owned(), Rtn {}.quantize(&[1.0; 8], 2, 4, None).unwrap());
        assert!(masks_kept(&before, &after).is_err());
    }

    #[test]
    fn a_stage_without_effect_fails() {
        let before = checkpoint(WEIGHTS);
        assert!(something_changed(&before, &before.clone()).is_err());
        assert!(something_changed(&before, &checkpoint(WEIGHTS)).is_err(), "new tensors of the same bits are no change");
        let mut changed = WEIGHTS;
        changed[0] = 1.000_001;
        assert_eq!(something_changed(&before, &checkpoint(changed)).unwrap(), 1);
    }

    #[test]
    fn values_that_are_not_finite_are_counted() {
        assert!(all_finite(&checkpoint(WEIGHTS)).is_ok());
        let mut broken = WEIGHTS;
        (broken[0], broken[5]) = (f32::NAN, f32::INFINITY);
        assert!(all_finite(&checkpoint(broken)).unwrap_err().message.starts_with("`fc.weight` holds 2 values"));
        let mut quantized = checkpoint(WEIGHTS);
        let scales = [1.0, f32::NAN].into();
        quantized.quantized.insert("fc2".to_owned(), QuantizedWeight { scales, ..Rtn {}.quantize(&WEIGHTS, 2, 4, None).unwrap() });
        assert_eq!(all_finite(&quantized).unwrap_err().message, "the scales of `fc2` are not finite");
    }
}
