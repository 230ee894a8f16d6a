//! What every row of the table promises, and SparseGPT against the authors' algorithm.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use proptest::prelude::*;

use super::*;
use crate::Mask;
use crate::shelf::Ratio;
use crate::weight::Weight;

/// Two blocks of two layers each, weights from a fixed pattern scaled by layer.
fn checkpoint(seed: u64) -> Checkpoint {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let mut tensors = BTreeMap::new();
    for (at, path) in LAYERS.iter().enumerate() {
        let (out, inputs) = (5 + at, 24 + 3 * at);
        let values: Vec<f32> = (0..out * inputs).map(|_| next() * (1 + at) as f32).collect();
        tensors.insert(format!("{path}.weight"), Tensor::from_vec(values, (out, inputs), &Device::Cpu).unwrap().into());
    }
    Checkpoint {
        config: serde_json::json!({}),
        tensors,
        masks: BTreeMap::new(),
        quantized: BTreeMap::new(),
        companions: Arc::default(),
    }
}

const LAYERS: [&str; 4] = ["m.layers.0.q", "m.layers.0.fc", "m.layers.1.q", "m.layers.1.fc"];

/// Hessians of a fixed random input, one per layer.
struct FixedInputs;

impl Calibration for FixedInputs {
    fn hessians(&mut self, checkpoint: &Checkpoint, layers: &[String]) -> Result<Vec<Arc<[f32]>>> {
        layers
            .iter()
            .map(|path| {
                let inputs = Weight::read(checkpoint, path)?.inputs;
                // A wave through all inputs and some noise: correlated, so that one weight can make up for another.
                let wave = |at: usize| (0.7 * (at / inputs) as f32 + 0.2 * (at % inputs) as f32).sin();
                let x: Vec<f32> = (0..40 * inputs).map(|at| wave(at) + ((at * at + 3 * at) % 97) as f32 / 97.0 - 0.5).collect();
                let x = Tensor::from_vec(x, (40, inputs), &Device::Cpu)?;
                Ok((x.t()?.matmul(&x)? * 0.05)?.flatten_all()?.to_vec1()?.into())
            })
            .collect()
    }
}

/// Every row of the table, with every scope.
fn pruners() -> Vec<(&'static str, Box<dyn Pruner>)> {
    vec![
        ("magnitude", Box::new(Magnitude { scope: Scope::Uniform })),
        ("magnitude, global", Box::new(Magnitude { scope: Scope::Global })),
        ("sparsegpt", Box::new(SparseGpt { damping: Ratio(0.01), block: 128 })),
        ("sparsegpt in small blocks", Box::new(SparseGpt { damping: Ratio(0.01), block: 8 })),
    ]
}

fn prune(pruner: &dyn Pruner, checkpoint: &mut Checkpoint, sparsity: f64) -> Result<Vec<PrunedLayer>> {
    let layers = LAYERS.map(str::to_owned);
    let mut layers_done = Vec::new();
    pruner.prune(
        checkpoint,
        &Request { layers: &layers, sparsity, pattern: Pattern::Unstructured },
        Some(&mut FixedInputs),
        &mut |_, layers| {
            layers_done.extend_from_slice(layers);
            Ok(())
        },
    )?;
    Ok(layers_done)
}

fn values(checkpoint: &Checkpoint, path: &str) -> Vec<f32> {
    checkpoint.tensors[&format!("{path}.weight")].values().unwrap()
}

/// Weights and removed weights of all layers.
fn totals(checkpoint: &Checkpoint) -> (usize, usize) {
    let weights = LAYERS.iter().map(|path| values(checkpoint, path).len()).sum();
    (weights, weights - checkpoint.masks.values().map(Mask::kept).sum::<usize>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Asked density reached exactly, zeros where the mask says, every layer reported once.
    #[test]
    fn the_asked_share_is_removed(seed in 0u64..1000, sparsity in 0.0f64..=1.0) {
        for (name, pruner) in pruners() {
            let mut pruned = checkpoint(seed);
            let layers = prune(pruner.as_ref(), &mut pruned, sparsity).unwrap();
            prop_assert_eq!(layers.iter().map(|layer| layer.path.as_str()).collect::<Vec<_>>(), LAYERS, "{}", name);
            if name == "magnitude, global" {
                let (weights, removed) = totals(&pruned);
                prop_assert_eq!(removed, (weights as f64 * sparsity).round() as usize, "{}", name);
            }
            for layer in layers {
                let mask = &pruned.masks[&layer.path];
                let mut masked = values(&pruned, &layer.path);
                if name != "magnitude, global" {
                    let asked = (masked.len() as f64 * sparsity).round() as usize;
                    prop_assert_eq!(masked.len() - mask.kept(), asked, "{} of {}", name, layer.path);
                }
                prop_assert_eq!(layer.sparsity, mask.sparsity());
                mask.apply(&mut masked);
                prop_assert_eq!(masked, values(&pruned, &layer.path), "{} leaves weights that its mask removes", name);
            }
        }
    }

    /// The same call gives the same bits, and a second call for more only removes more.
    #[test]
    fn masks_repeat_and_never_come_back(seed in 0u64..1000, first in 0.0f64..1.0, more in 0.0f64..1.0) {
        for (name, pruner) in pruners() {
            let (mut one, mut two) = (checkpoint(seed), checkpoint(seed));
            prune(pruner.as_ref(), &mut one, first).unwrap();
            prune(pruner.as_ref(), &mut two, first).unwrap();
            prop_assert_eq!(&one.masks, &two.masks, "{}", name);
            for path in LAYERS {
                prop_assert_eq!(values(&one, path), values(&two, path), "{}", name);
            }
            // Whatever grew where weights were removed, and whichever pruner comes next, they stay removed.
            for path in LAYERS {
                let grown = (two.tensors[&format!("{path}.weight")].tensor().unwrap().ones_like().unwrap() * 9.0).unwrap();
                two.tensors.insert(format!("{path}.weight"), grown.into());
            }
            for (next, pruner) in pruners() {
                let mut two = two.clone();
                prune(pruner.as_ref(), &mut two, more).unwrap();
                for path in LAYERS {
                    prop_assert!(one.masks[path].contains(&two.masks[path]), "{} after {} gives weights back", next, name);
                }
            }
        }
    }

    /// Pruning again to the same share changes nothing: this is what makes an interrupted run go on where it stopped.
    #[test]
    fn pruning_twice_is_pruning_once(seed in 0u64..1000, sparsity in 0.0f64..1.0) {
        for (name, pruner) in pruners() {
            let mut once = checkpoint(seed);
            prune(pruner.as_ref(), &mut once, sparsity).unwrap();
            let mut twice = once.clone();
            prune(pruner.as_ref(), &mut twice, sparsity).unwrap();
            prop_assert_eq!(&once.masks, &twice.masks, "{}", name);
            for path in LAYERS {
                prop_assert_eq!(values(&once, path), values(&twice, path), "{}", name);
            }
        }
    }
}

/// Every group of every row loses as many, the same ones each time, and a second call changes nothing.
#[test]
fn groups_keep_what_the_pattern_says() {
    let layers = ["m.layers.0.q".to_owned(), "m.layers.1.fc".to_owned()];
    for (name, pruner) in pruners() {
        for (kept, of) in [(2, 4), (1, 3), (8, 12)] {
            let request =
                Request { layers: &layers[..1], sparsity: 1.0 - kept as f64 / of as f64, pattern: Pattern::Groups { kept, of } };
            let prune =
                |checkpoint: &mut Checkpoint| pruner.prune(checkpoint, &request, Some(&mut FixedInputs), &mut |_, _| Ok(()));
            let (mut one, mut two) = (checkpoint(7), checkpoint(7));
            if pruner.scope() == Scope::Global {
                assert!(prune(&mut one).is_err(), "{name}");
                continue;
            }
            prune(&mut one).unwrap();
            let mask = &one.masks[&layers[0]];
            for row in 0..mask.rows() {
                for start in (0..mask.cols()).step_by(of) {
                    assert_eq!((start..start + of).filter(|&col| mask.keeps(row, col)).count(), kept, "{name}, {kept}:{of}");
                }
            }
            let mut masked = values(&one, &layers[0]);
            mask.apply(&mut masked);
            assert_eq!(masked, values(&one, &layers[0]), "{name}");
            prune(&mut two).unwrap();
            prune(&mut two).unwrap();
            assert_eq!((&one.masks, values(&one, &layers[0])), (&two.masks, values(&two, &layers[0])), "{name}");
            // 33 inputs are no whole groups of 4, nor of 12.
            let request = Request { layers: &layers[1..], ..request };
            let pruned = pruner.prune(&mut one, &request, Some(&mut FixedInputs), &mut |_, _| Ok(()));
            assert_eq!(pruned.is_ok(), 33 % of == 0, "{name}");
        }
    }
}

#[test]
fn every_row_is_tested() {
    for name in PRUNERS.names() {
        assert!(pruners().iter().any(|(tested, _)| *tested == name), "`{name}` is in the table and not in these tests");
    }
}

#[test]
fn a_weight_that_is_not_finite_is_a_fault_that_names_its_layer() {
    for (name, pruner) in pruners() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut broken = checkpoint(1);
            let mut weights = values(&broken, LAYERS[2]);
            weights[31] = bad;
            let shape = broken.tensors["m.layers.1.q.weight"].dims().to_vec();
            broken.tensors.insert("m.layers.1.q.weight".into(), Tensor::from_vec(weights, shape, &Device::Cpu).unwrap().into());
            let fault = prune(pruner.as_ref(), &mut broken, 0.5).unwrap_err();
            assert!(fault.message.contains("`m.layers.1.q`") && fault.message.contains("row 1, column 1"), "{name}: {fault}");
        }
    }
}

#[test]
fn what_cannot_be_pruned_is_a_fault() {
    for (_, pruner) in pruners() {
        assert!(prune(pruner.as_ref(), &mut checkpoint(1), 1.5).is_err());
        assert!(prune(pruner.as_ref(), &mut checkpoint(1), f64::NAN).is_err());
        let mut missing = checkpoint(1);
        missing.tensors.remove("m.layers.0.fc.weight");
        assert!(prune(pruner.as_ref(), &mut missing, 0.5).unwrap_err().message.contains("`m.layers.0.fc`"));
    }
}

#[test]
fn an_interruption_ends_the_work_at_once() {
    let layers = LAYERS.map(str::to_owned);
    for (name, pruner) in pruners() {
        let mut calls = 0;
        let request = Request { layers: &layers, sparsity: 0.5, pattern: Pattern::Unstructured };
        let result = pruner.prune(&mut checkpoint(1), &request, Some(&mut FixedInputs), &mut |_, _| {
            calls += 1;
            Err(Fault::new(crate::FaultKind::Interrupted, "stopped"))
        });
        assert!(result.is_err() && calls == 1, "{name}");
    }
}

/// What was finished before an interruption, and a second call for the rest, come to what one call does.
#[test]
fn an_interrupted_pruning_goes_on_to_the_same_result() {
    for (name, pruner) in pruners() {
        let mut whole = checkpoint(2);
        prune(pruner.as_ref(), &mut whole, 0.5).unwrap();
        let mut resumed = checkpoint(2);
        let (layers, mut finished) = (LAYERS.map(str::to_owned).to_vec(), Vec::new());
        let request = Request { layers: &layers, sparsity: 0.5, pattern: Pattern::Unstructured };
        let stopped = pruner.prune(&mut resumed, &request, Some(&mut FixedInputs), &mut |_, layers| {
            finished.extend(layers.iter().map(|layer| layer.path.clone()));
            Err(Fault::running("stopped"))
        });
        assert!(stopped.is_err());
        let left: Vec<String> = layers.iter().filter(|layer| !finished.contains(layer)).cloned().collect();
        let request = Request { layers: &left, ..request };
        pruner.prune(&mut resumed, &request, Some(&mut FixedInputs), &mut |_, _| Ok(())).unwrap();
        assert_eq!(whole.masks, resumed.masks, "{name}");
        assert!(LAYERS.iter().all(|path| values(&whole, path) == values(&resumed, path)), "{name}");
    }
}

#[test]
fn global_magnitude_takes_from_the_layers_of_small_weights() {
    let mut pruned = checkpoint(3);
    let layers = prune(&Magnitude { scope: Scope::Global }, &mut pruned, 0.5).unwrap();
    assert!(layers[0].sparsity > layers[3].sparsity + 0.1, "{layers:?}");
}

/// One layer and its Hessian, as the fixture holds them.
struct Given(Arc<[f32]>);

impl Calibration for Given {
    fn hessians(&mut self, _: &Checkpoint, layers: &[String]) -> Result<Vec<Arc<[f32]>>> {
        Ok(vec![Arc::clone(&self.0); layers.len()])
    }
}

#[test]
fn moving_the_weights_that_stay_makes_up_for_those_that_go() {
    let error = |pruner: &dyn Pruner, checkpoint: &mut Checkpoint| prune(pruner, checkpoint, 0.5).unwrap();
    let sparsegpt = SparseGpt { damping: Ratio(0.01), block: 128 };
    let (mut moved, mut cut) = (checkpoint(5), checkpoint(5));
    let layers = error(&sparsegpt, &mut moved);
    error(&Magnitude { scope: Scope::Uniform }, &mut cut);
    for layer in layers {
        let hessian = &FixedInputs.hessians(&cut, std::slice::from_ref(&layer.path)).unwrap()[0];
        let inputs = Weight::read(&cut, &layer.path).unwrap().inputs;
        // |X (a - b)^T|^2 by its definition.
        let size = |a: &[f32], b: &[f32]| -> f64 {
            let rows = a.chunks(inputs).zip(b.chunks(inputs));
            let row = |a: &[f32], b: &[f32]| -> f64 {
                let at = |i: usize| f64::from(a[i]) - f64::from(b[i]);
                (0..inputs * inputs).map(|ij| at(ij / inputs) * f64::from(hessian[ij]) * at(ij % inputs)).sum()
            };
            rows.map(|(a, b)| row(a, b)).sum()
        };
        let before = values(&checkpoint(5), &layer.path);
        let output = size(&before, &vec![0.0; before.len()]);
        let (moved, cut) =
            (size(&values(&moved, &layer.path), &before) / output, size(&values(&cut, &layer.path), &before) / output);
        let reported = layer.relative_error.unwrap();
        assert!((reported - moved).abs() < 1e-4, "{}: {reported} reported, {moved} is", layer.path);
        assert!(moved < 0.8 * cut, "{}: {moved} is not much less than {cut} of magnitude", layer.path);
    }
}

/// `scripts/sparsegpt_fixture.py` made the cases, and compared them with the authors' code.
#[test]
fn sparsegpt_does_what_the_authors_code_does() {
    let fixture = include_bytes!("../../tests/fixtures/sparsegpt.safetensors");
    let tensors = candle_core::safetensors::load_buffer(fixture, &Device::Cpu).unwrap();
    let cases: Vec<&str> = tensors.keys().filter_map(|name| name.strip_suffix("/settings")).collect();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let tensor = |part: &str| tensors[&format!("{case}/{part}")].clone();
        let flat = |part: &str| tensor(part).flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let settings = tensor("settings").to_vec1::<f64>().unwrap();
        let (block, sparsity, damping, of) = (settings[0] as usize, settings[1], settings[2], settings[3] as usize);
        let kept = (of as f64 * (1.0 - sparsity)).round() as usize;
        let pattern = if of == 0 { Pattern::Unstructured } else { Pattern::Groups { kept, of } };
        let mut pruned = checkpoint(1);
        pruned.tensors.insert("fc.weight".into(), tensor("weight").into());
        SparseGpt { damping: Ratio(damping), block }
            .prune(
                &mut pruned,
                &Request { layers: &["fc".to_owned()], sparsity, pattern },
                Some(&mut Given(flat("hessian").into())),
                &mut |_, _| Ok(()),
            )
            .unwrap();
        let kept = tensor("kept").to_vec2::<u8>().unwrap();
        let expected = Mask::from_fn(kept.len(), kept[0].len(), |row, col| kept[row][col] == 1);
        assert_eq!(pruned.masks["fc"], expected, "{case}");
        for (at, (ours, theirs)) in values(&pruned, "fc").iter().zip(flat("pruned")).enumerate() {
            assert!((ours - theirs).abs() < 1e-5 * theirs.abs().max(1.0), "{case}: {ours} and {theirs} at {at}");
        }
    }
}
