//! What a stage promised, checked after it ran.
//!
//! Each function is one promise; it looks at the checkpoints alone and never trusts the code that made them. A broken promise is a
//! fault of kind [`FaultKind::Running`](crate::FaultKind), for it means that the stage did not do what the recipe says.

use rayon::prelude::*;

use crate::pruner::{Pattern, Scope};
use crate::{Checkpoint, Fault, Result, weight};

/// Weights by which a sparsity may be missed in a tensor, or in all of them together where they are pruned together: that of rounding.
const TOLERANCE: usize = 1;

/// Every layer of `layers`, or all of them together where `scope` is global, has lost `round(weights * sparsity)` weights, no fewer and
/// no more; or as many as `before` had lost already, if those are more.
pub fn sparsity_reached(before: &Checkpoint, after: &Checkpoint, layers: &[String], sparsity: f64, scope: Scope) -> Result<()> {
    let groups: Vec<&[String]> = match scope {
        Scope::Uniform => layers.chunks(1).collect(),
        Scope::Global => vec![layers],
    };
    for group in groups {
        let (mut weights, mut removed, mut removed_before) = (0, 0, 0);
        for path in group {
            let mask =
                after.masks.get(path).ok_or_else(|| Fault::running(format!("`{path}` was to be pruned and has no mask")))?;
            weights += mask.rows() * mask.cols();
            removed += mask.rows() * mask.cols() - mask.kept();
            removed_before += before.masks.get(path).map_or(0, |mask| mask.rows() * mask.cols() - mask.kept());
        }
        let asked = ((weights as f64 * sparsity).round() as usize).max(removed_before);
        if removed.abs_diff(asked) > TOLERANCE {
            let name = if let [path] = group { format!("`{path}`") } else { format!("the {} layers together", group.len()) };
            return Err(Fault::running(format!("{asked} of {weights} weights of {name} were to be removed, and {removed} were")));
        }
    }
    Ok(())
}

/// No group of a row of any of `layers` keeps more than `pattern` says.
pub fn pattern_held(after: &Checkpoint, layers: &[String], pattern: Pattern) -> Result<()> {
    let Pattern::Groups { kept, of } = pattern else { return Ok(()) };
    for path in layers {
        let mask = after.masks.get(path).ok_or_else(|| Fault::running(format!("`{path}` was to be pruned and has no mask")))?;
        let full = |row: usize, start: usize| (start..start + of).filter(|&col| mask.keeps(row, col)).count() > kept;
        let broken =
            (0..mask.rows()).find_map(|row| (0..mask.cols()).step_by(of).find(|&start| full(row, start)).map(|at| (row, at)));
        if let Some((row, column)) = broken {
            return Err(Fault::running(format!("`{path}` keeps more than {pattern} in row {row} from column {column} on")));
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

/// Nothing but the weights of `layers`, their masks and integers is another than before: not their biases, no other layer, not the
/// configuration, no companion file.
pub fn others_untouched(before: &Checkpoint, after: &Checkpoint, layers: &[String]) -> Result<()> {
    let changed = |what: String| Fault::running(format!("{what} changed, and this stage was to work on its layers alone"));
    let weights: Vec<String> = layers.iter().map(|path| weight::name(path)).collect();
    for name in before.tensors.keys().chain(after.tensors.keys()).filter(|name| !weights.contains(name)) {
        let same = match (before.tensors.get(name), after.tensors.get(name)) {
            (Some(before), Some(after)) => before.same_bits(after)?,
            _ => false,
        };
        if !same {
            return Err(changed(format!("`{name}`")));
        }
    }
    let other = |path: &&String| !layers.contains(path);
    let mut masked = before.masks.keys().chain(after.masks.keys()).filter(other);
    if let Some(path) = masked.find(|path| before.masks.get(*path) != after.masks.get(*path)) {
        return Err(changed(format!("the mask of `{path}`")));
    }
    let mut quantized = before.quantized.keys().chain(after.quantized.keys()).filter(other);
    if let Some(path) = quantized.find(|path| before.quantized.get(*path) != after.quantized.get(*path)) {
        return Err(changed(format!("the integers of `{path}`")));
    }
    if before.config != after.config {
        return Err(changed("the configuration".to_owned()));
    }
    if before.companions != after.companions { Err(changed("a companion file".to_owned())) } else { Ok(()) }
}

/// No parameter is NaN or infinite, and no weight that integers and scales stand for.
pub fn all_finite(checkpoint: &Checkpoint) -> Result<()> {
    let unstable = |name: &str, bad: usize| {
        Fault::running(format!("`{name}` holds {bad} values that are not finite"))
            .help("a lower learning rate or a longer warm-up keeps training stable")
    };
    checkpoint.tensors.par_iter().try_for_each(|(name, parameter)| {
        let bad = parameter.values()?.iter().filter(|value| !value.is_finite()).count();
        if bad == 0 { Ok(()) } else { Err(unstable(name, bad)) }
    })?;
    checkpoint.quantized.par_iter().try_for_each(|(path, weight)| {
        let bad = weight.dequantized().iter().filter(|value| !value.is_finite()).count();
        let bad_scales = weight.scales.iter().filter(|scale| !scale.is_finite()).count();
        if bad + bad_scales == 0 { Ok(()) } else { Err(unstable(path, bad.max(bad_scales))) }
    })
}

/// How many parameters, masks and quantized weights a stage changed.
///
/// # Errors
/// When it changed none: a stage without effect is a failure, never a silent success.
pub fn something_changed(before: &Checkpoint, after: &Checkpoint) -> Result<usize> {
    let mut changed = before.tensors.keys().filter(|name| !after.tensors.contains_key(*name)).count();
    for (name, parameter) in &after.tensors {
        let same = match before.tensors.get(name) {
            Some(old) => old.same_bits(parameter)?,
            None => false,
        };
        changed += usize::from(!same);
    }
    changed += after.quantized.iter().filter(|(path, weight)| before.quantized.get(*path) != Some(weight)).count();
    changed += after.masks.iter().filter(|(path, mask)| before.masks.get(*path) != Some(mask)).count();
    if changed == 0 {
        return Err(Fault::running("this stage changed no tensor")
            .help("take the stage out, or give it something to do: more sparsity, more steps, a learning rate above zero"));
    }
    Ok(changed)
}

/// The weight of a layer as numbers, however it is kept.
fn values(checkpoint: &Checkpoint, path: &str) -> Result<Vec<f32>> {
    if let Some(weight) = checkpoint.quantized.get(path) {
        return Ok(weight.dequantized());
    }
    let parameter = checkpoint.tensors.get(&weight::name(path));
    parameter.ok_or_else(|| Fault::running(format!("`{path}` has a mask and no weight")))?.values()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::{Device, Tensor};
    use sparsec_kernels::Mask;

    use super::*;
    use crate::checkpoint::{Parameter, QuantizedWeight};
    use crate::quantizer::{Quantizer, Rtn};

    const WEIGHTS: [f32; 8] = [1.0, 0.0, 3.0, 0.0, 0.0, 6.0, 0.0, 8.0];

    fn checkpoint(weights: [f32; 8]) -> Checkpoint {
        Checkpoint {
            config: serde_json::Value::Null,
            tensors: BTreeMap::from([(
                "fc.weight".to_owned(),
                Tensor::from_slice(&weights, (2, 4), &Device::Cpu).unwrap().into(),
            )]),
            masks: BTreeMap::from([("fc".to_owned(), Mask::of_nonzeros(&WEIGHTS, 2, 4))]),
            quantized: BTreeMap::new(),
            companions: Default::default(),
        }
    }

    #[test]
    fn a_layer_that_kept_or_lost_too_much_is_named() {
        let (layers, mut dense) = (["fc".to_owned()], checkpoint(WEIGHTS));
        dense.masks.clear();
        let after = checkpoint(WEIGHTS);
        for scope in [Scope::Uniform, Scope::Global] {
            for asked in [0.4, 0.5, 0.6] {
                sparsity_reached(&dense, &after, &layers, asked, scope).unwrap();
            }
            let fault = sparsity_reached(&dense, &after, &layers, 0.75, scope).unwrap_err();
            assert_eq!(fault.message, "6 of 8 weights of `fc` were to be removed, and 4 were");
            let fault = sparsity_reached(&dense, &after, &layers, 0.25, scope).unwrap_err();
            assert_eq!(fault.message, "2 of 8 weights of `fc` were to be removed, and 4 were");
            assert!(sparsity_reached(&after, &after, &layers, 0.25, scope).is_ok(), "they were gone before");
        }
        assert!(sparsity_reached(&dense, &after, &["fc2".to_owned()], 0.5, Scope::Uniform).is_err());
    }

    #[test]
    fn what_was_not_asked_for_stays_as_it_was() {
        let other = |name: &str, value: f32| (name.to_owned(), Parameter::from(Tensor::full(value, 2, &Device::Cpu).unwrap()));
        let mut before = checkpoint(WEIGHTS);
        before.masks.clear();
        before.tensors.extend([other("fc.bias", 1.0), other("norm.weight", 1.0)]);
        let layers = ["fc".to_owned()];
        let mut after = checkpoint([0.0; 8]);
        after.tensors.extend([other("fc.bias", 1.0), other("norm.weight", 1.0)]);
        others_untouched(&before, &after, &layers).unwrap();
        type Change = fn(&mut Checkpoint);
        let broken: [(&str, Change); 7] = [
            ("`norm.weight`", |after| {
                drop(after.tensors.insert("norm.weight".into(), Tensor::full(2f32, 2, &Device::Cpu).unwrap().into()))
            }),
            ("`fc.bias`", |after| drop(after.tensors.remove("fc.bias"))),
            ("`new`", |after| drop(after.tensors.insert("new".into(), Tensor::full(2f32, 2, &Device::Cpu).unwrap().into()))),
            ("the mask of `fc2`", |after| drop(after.masks.insert("fc2".into(), Mask::from_fn(1, 1, |_, _| true)))),
            ("the integers of `fc2`", |after| {
                drop(after.quantized.insert("fc2".into(), Rtn {}.quantize(&WEIGHTS, 2, 4, None).unwrap()))
            }),
            ("the configuration", |after| after.config = serde_json::json!({})),
            ("a companion file", |after| after.companions = std::sync::Arc::new([("a".to_owned(), vec![1])].into())),
        ];
        for (what, change) in broken {
            let mut changed = after.clone();
            change(&mut changed);
            let fault = others_untouched(&before, &changed, &layers).unwrap_err();
            assert!(fault.message.starts_with(&format!("{what} changed")), "{fault}");
        }
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
        let mut masked = before.clone();
        masked.masks.insert("fc".to_owned(), Mask::from_fn(2, 4, |_, col| col == 0));
        assert_eq!(something_changed(&before, &masked).unwrap(), 1, "a mask decides what may grow back");
    }

    #[test]
    fn values_that_are_not_finite_are_counted() {
        assert!(all_finite(&checkpoint(WEIGHTS)).is_ok());
        let mut broken = WEIGHTS;
        (broken[0], broken[5]) = (f32::NAN, f32::INFINITY);
        assert!(all_finite(&checkpoint(broken)).unwrap_err().message.starts_with("`fc.weight` holds 2 values"));
        let mut overflowing = checkpoint(WEIGHTS);
        let weight = Rtn {}.quantize(&[1.0, 0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.5], 2, 4, None).unwrap();
        overflowing.quantized.insert("fc".to_owned(), QuantizedWeight { scales: [3e38, 1.0].into(), ..weight });
        assert!(all_finite(&overflowing).unwrap_err().message.starts_with("`fc` holds 2 values"));
    }
}
