//! What every row of the table promises, and the values that PyTorch computed (`scripts/loss_fixture.py`).

use std::collections::HashMap;

use candle_core::{Device, Var};

use super::*;
use crate::batch::{IGNORE, Inputs, Tokens};
use crate::op;

const FIXTURE: &[u8] = include_bytes!("../../tests/fixtures/losses.safetensors");

/// Every row of the table.
fn losses() -> Vec<(&'static str, Box<dyn Loss>)> {
    vec![
        ("task", Box::new(Task {})),
        ("kl", Box::new(Kl { temperature: 1.0 })),
        ("kl at 2.5", Box::new(Kl { temperature: 2.5 })),
        ("squarehead", Box::new(SquareHead { blocks: Blocks::All, tokens: Counted::Published, eps: 1e-8 })),
        ("squarehead of the decoder", Box::new(SquareHead { blocks: Blocks::Decoder, tokens: Counted::Published, eps: 0.5 })),
    ]
}

fn fixture() -> HashMap<String, Tensor> {
    candle_core::safetensors::load_buffer(FIXTURE, &Device::Cpu).unwrap()
}

/// The fixture's labels under spectrograms that nothing reads.
fn batch(fixture: &HashMap<String, Tensor>) -> Batch {
    let labels = fixture["labels"].to_vec2::<i64>().unwrap();
    let decoder = Tokens::padded(&labels.iter().map(|row| vec![0; row.len()]).collect::<Vec<_>>(), 0);
    let features = Tensor::zeros((labels.len(), 2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
    Batch { inputs: Inputs::Features(features), decoder, labels: labels.concat() }
}

/// What the student or the teacher of the fixture computed, as variables by name (`logits` or a block's path).
fn variables(fixture: &HashMap<String, Tensor>, whose: &str) -> BTreeMap<String, Var> {
    let of_one = fixture.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(&format!("{whose}/"))?, tensor)));
    of_one.map(|(name, tensor)| (name.to_owned(), Var::from_tensor(tensor).unwrap())).collect()
}

fn outputs(variables: &BTreeMap<String, Var>) -> Outputs {
    let tensor = |var: &Var| var.as_tensor().clone();
    let blocks = variables.iter().filter(|(name, _)| *name != "logits").map(|(name, var)| (name.clone(), tensor(var)));
    Outputs { logits: tensor(&variables["logits"]), blocks: blocks.collect() }
}

fn scalar(tensor: &Tensor) -> f32 {
    assert_eq!(tensor.dims(), [0usize; 0]);
    tensor.to_scalar().unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn values_and_gradients_are_those_of_pytorch() {
    let fixture = fixture();
    let (student, teacher) = (variables(&fixture, "student"), variables(&fixture, "teacher"));
    let cases: [(&str, Box<dyn Loss>); 5] = [
        ("task", Box::new(Task {})),
        ("kl at 1", Box::new(Kl { temperature: 1.0 })),
        ("kl at 2.5", Box::new(Kl { temperature: 2.5 })),
        ("squarehead with 1e-08", Box::new(SquareHead { blocks: Blocks::All, tokens: Counted::Published, eps: 1e-8 })),
        ("squarehead with 0.5", Box::new(SquareHead { blocks: Blocks::All, tokens: Counted::Published, eps: 0.5 })),
    ];
    for (case, loss) in cases {
        let evaluate = || loss.evaluate(&batch(&fixture), &outputs(&student), Some(&outputs(&teacher)));
        let value = evaluate().unwrap();
        let expected = flat(&fixture[&format!("{case}/value")])[0];
        assert!((scalar(&value) - expected).abs() < 2e-6 * expected.abs(), "{case}: {value} instead of {expected}");
        let (mut gradients, ()) = op::differentiate(|| Ok((evaluate()?, ()))).unwrap();
        assert!(teacher.values().all(|variable| gradients.take(variable).is_none()), "{case}: the teacher learns");
        for (name, variable) in &student {
            let gradient = gradients.take(variable);
            let expected = fixture.get(&format!("{case}/gradient/{name}")).map(flat);
            assert_eq!(gradient.is_some(), expected.is_some(), "{case}: gradient of {name}");
            for (ours, theirs) in gradient.iter().flatten().zip(expected.iter().flatten()) {
                assert!((ours - theirs).abs() < 1e-6, "{case}: {ours} instead of {theirs} in the gradient of {name}");
            }
        }
    }
}

#[test]
fn every_row_is_tested() {
    for name in LOSSES.names() {
        assert!(losses().iter().any(|(tested, _)| *tested == name), "`{name}` is in the table and not in these tests");
    }
}

#[test]
fn equal_outputs_cost_nothing() {
    let fixture = fixture();
    let batch = batch(&fixture);
    let mut student = variables(&fixture, "student");
    // For `task`, all but certain of every label.
    let vocab = student["logits"].dim(2).unwrap();
    let certain: Vec<f32> =
        batch.labels.iter().flat_map(|&label| (0..vocab).map(move |v| if v as i64 == label { 50.0 } else { 0.0 })).collect();
    let shape = student["logits"].dims().to_vec();
    student.insert("logits".into(), Var::from_vec(certain, shape, &Device::Cpu).unwrap());
    for (name, loss) in losses() {
        let value = loss.evaluate(&batch, &outputs(&student), Some(&outputs(&student))).unwrap();
        assert!(scalar(&value).abs() < 1e-6, "{name}: {value}");
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let fixture = fixture();
    let batch = batch(&fixture);
    let (student, teacher) = (variables(&fixture, "student"), variables(&fixture, "teacher"));
    for (name, loss) in losses() {
        let value = |student: &BTreeMap<String, Var>| loss.evaluate(&batch, &outputs(student), Some(&outputs(&teacher)));
        let (mut gradients, ()) = op::differentiate(|| Ok((value(&student)?, ()))).unwrap();
        for (path, variable) in &student {
            let gradient = gradients.take(variable);
            let start = flat(variable);
            for at in (0..start.len()).step_by(7) {
                let shifted = |by: f32| {
                    let mut values = start.clone();
                    values[at] += by;
                    let mut student = student.clone();
                    student.insert(path.clone(), Var::from_vec(values, variable.dims(), &Device::Cpu).unwrap());
                    scalar(&value(&student).unwrap())
                };
                let expected = (shifted(0.02) - shifted(-0.02)) / 0.04;
                let found = gradient.as_ref().map_or(0.0, |gradient| gradient[at]);
                assert!((found - expected).abs() < 1e-3, "{name}: {found} instead of {expected} at {at} of {path}");
            }
        }
    }
}

#[test]
fn what_does_not_count_changes_nothing() {
    let fixture = fixture();
    let batch = batch(&fixture);
    let (student, teacher) = (variables(&fixture, "student"), variables(&fixture, "teacher"));
    let mut noisy = student.clone();
    for (name, variable) in student.iter().filter(|(name, _)| !name.contains("encoder")) {
        let width = variable.dim(2).unwrap();
        let values = flat(variable).into_iter().enumerate();
        let values = values.map(|(at, value)| if batch.labels[at / width] == IGNORE { value + 9.0 } else { value }).collect();
        noisy.insert(name.clone(), Var::from_vec(values, variable.dims(), &Device::Cpu).unwrap());
    }
    for (name, loss) in losses() {
        let [clean, noisy] = [&student, &noisy]
            .map(|student| scalar(&loss.evaluate(&batch, &outputs(student), Some(&outputs(&teacher))).unwrap()));
        assert_eq!(clean, noisy, "{name}");
    }
}

#[test]
fn a_teacher_is_needed_and_must_fit() {
    let fixture = fixture();
    let student = outputs(&variables(&fixture, "student"));
    let mut smaller = outputs(&variables(&fixture, "teacher"));
    smaller.blocks.pop_last();
    for (name, loss) in losses() {
        assert_eq!(loss.evaluate(&batch(&fixture), &student, None).is_err(), loss.needs_teacher(), "{name}");
    }
    let fault = SquareHead { blocks: Blocks::All, tokens: Counted::Published, eps: 1e-8 }
        .evaluate(&batch(&fixture), &student, Some(&smaller))
        .unwrap_err();
    assert!(fault.message.contains("the teacher's blocks are not the student's"));
}
