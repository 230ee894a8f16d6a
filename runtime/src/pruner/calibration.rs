//! Calibration: what goes into each layer, summed while a model reads rows of data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use candle_core::{Tensor, TensorId};

use super::Calibration;
use crate::model::{Model, Taps};
use crate::{Batch, Checkpoint, Fault, Result};

/// Calibration over rows of a data set, one at a time, so that no padding is ever counted.
///
/// A pass ends as soon as the last wanted layer has seen its input: the blocks behind it are not computed.
pub struct RowCalibration<'a> {
    /// Builds the model as it stands in a checkpoint.
    pub build: &'a dyn Fn(&Checkpoint) -> Result<Box<dyn Model>>,
    /// Rows.
    pub rows: usize,
    /// The batch that holds row `index` alone; a fault ends the work at once (an interruption, say).
    pub batch: &'a mut dyn FnMut(usize) -> Result<Batch>,
}

impl Calibration for RowCalibration<'_> {
    fn hessians(&mut self, checkpoint: &Checkpoint, layers: &[String]) -> Result<Vec<Arc<[f32]>>> {
        let model = (self.build)(checkpoint)?;
        let mut collector = Collector::new(layers);
        for row in 0..self.rows {
            collector.start_pass();
            let passed = model.forward(&(self.batch)(row)?, &mut collector);
            if !collector.satisfied() {
                passed?;
            }
        }
        collector.finish(layers)
    }
}

/// Sums `x^T x` of the wanted layers. Layers that read the same tensor share one sum, fed by the first of them.
struct Collector {
    wanted: BTreeSet<String>,
    sums: Vec<Sum>,
    sum_of: BTreeMap<String, usize>,
    /// Of the current pass: which wanted layers have been reached, and which tensor each sum has taken.
    reached: BTreeSet<String>,
    taken: Vec<(TensorId, usize)>,
}

/// A running mean over tokens of `2 x x^T`.
struct Sum {
    feeder: String,
    inputs: usize,
    tokens: usize,
    mean: Vec<f32>,
}

impl Collector {
    fn new(layers: &[String]) -> Self {
        Self {
            wanted: layers.iter().cloned().collect(),
            sums: Vec::new(),
            sum_of: BTreeMap::new(),
            reached: BTreeSet::new(),
            taken: Vec::new(),
        }
    }

    fn start_pass(&mut self) {
        self.reached.clear();
        self.taken.clear();
    }

    /// Whether this pass has shown every wanted layer.
    fn satisfied(&self) -> bool {
        self.reached.len() == self.wanted.len()
    }

    /// The sum that `path` belongs to: known from the first pass, or the one that took the same tensor, or a new one.
    fn sum_of(&mut self, path: &str, x: &Tensor, inputs: usize) -> usize {
        if let Some(&sum) = self.sum_of.get(path) {
            return sum;
        }
        let shared = self.taken.iter().find(|(id, _)| *id == x.id()).map(|&(_, sum)| sum);
        let sum = shared.unwrap_or_else(|| {
            self.sums.push(Sum { feeder: path.to_owned(), inputs, tokens: 0, mean: vec![0.0; inputs * inputs] });
            self.sums.len() - 1
        });
        self.sum_of.insert(path.to_owned(), sum);
        sum
    }

    /// The means, in the order of `layers`.
    fn finish(self, layers: &[String]) -> Result<Vec<Arc<[f32]>>> {
        let mut means = Vec::with_capacity(self.sums.len());
        for sum in self.sums {
            if (0..sum.inputs).any(|at| !sum.mean[at * sum.inputs + at].is_finite()) {
                return Err(Fault::running(format!("the inputs of `{}` on the calibration rows are not finite", sum.feeder))
                    .help("the model overflows on this data; check its weights and the rows"));
            }
            means.push(Arc::<[f32]>::from(sum.mean));
        }
        layers
            .iter()
            .map(|path| match self.sum_of.get(path) {
                Some(&sum) => Ok(Arc::clone(&means[sum])),
                None => Err(Fault::running(format!("no calibration row reached `{path}`"))
                    .help("calibrate with at least one row, and prune only layers that the model runs")),
            })
            .collect()
    }
}

impl Taps for Collector {
    fn linear_input(&mut self, path: &str, x: &Tensor) -> Result<()> {
        if !self.wanted.contains(path) {
            return Ok(());
        }
        let inputs = x.dims().last().copied().unwrap_or(0);
        let sum = self.sum_of(path, x, inputs);
        if self.sums[sum].feeder == path {
            self.sums[sum].add(&x.detach().reshape(((), inputs))?)?;
            self.taken.push((x.id(), sum));
        }
        self.reached.insert(path.to_owned());
        // No fault of anybody: it unwinds the forward pass, and `hessians` looks at `satisfied` instead.
        if self.satisfied() { Err(Fault::internal("calibration has seen every layer it wants")) } else { Ok(()) }
    }
}

impl Sum {
    /// Takes in the tokens `x: [tokens, in]`.
    fn add(&mut self, x: &Tensor) -> Result<()> {
        let tokens = x.dim(0)?;
        let all = (self.tokens + tokens) as f32;
        let (old, new) = (self.tokens as f32 / all, 2.0 / all);
        let products = x.t()?.matmul(x)?.flatten_all()?.to_vec1::<f32>()?;
        self.mean.iter_mut().zip(products).for_each(|(mean, product)| *mean = *mean * old + product * new);
        self.tokens += tokens;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use candle_core::Device;

    use super::*;
    use crate::batch::{Example, Input, Inputs, Tokens};
    use crate::linear::{Linear, Product};
    use crate::model::{Cache, Encoded};

    /// Leaves `x` as it is.
    struct Identity;

    impl Product for Identity {
        fn forward(&self, x: &Tensor) -> Result<Tensor> {
            Ok(x.clone())
        }
    }

    /// `q` and `k` read the features, `fc` reads twice their sum; `beyond` must not be reached.
    struct Toy;

    impl Model for Toy {
        fn forward(&self, batch: &Batch, taps: &mut dyn Taps) -> Result<Tensor> {
            let Inputs::Features(x) = &batch.inputs else { return Err(Fault::internal("features only")) };
            let layer = |path| Linear::new(path, Arc::new(Identity));
            let sum = (layer("q").forward(x, taps)? + layer("k").forward(x, taps)?)?;
            let y = layer("fc").forward(&(sum * 2.0)?, taps)?;
            layer("beyond").forward(&y, taps)?;
            Err(Fault::running("the model went too far"))
        }

        fn start(&self, _: Option<&Encoded>) -> Result<Box<dyn Cache>> {
            Err(Fault::internal("not asked for"))
        }

        fn step(&self, _: &Tokens, _: &mut dyn Cache) -> Result<Tensor> {
            Err(Fault::internal("not asked for"))
        }
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            config: serde_json::Value::Null,
            tensors: BTreeMap::new(),
            masks: BTreeMap::new(),
            quantized: BTreeMap::new(),
            companions: Arc::default(),
        }
    }

    /// Hessians of `layers` over rows of two tokens each.
    fn hessians(rows: &[[[f32; 2]; 2]], layers: &[&str]) -> Result<Vec<Arc<[f32]>>> {
        let read = Cell::new(0);
        let mut calibration = RowCalibration {
            build: &|_| Ok(Box::new(Toy)),
            rows: rows.len(),
            batch: &mut |row| {
                read.set(read.get() + 1);
                let features = Tensor::new(&rows[row], &Device::Cpu)?;
                Batch::of(&[Example { input: Input::Features(features), decoder: vec![0], labels: vec![0] }], 0)
            },
        };
        let layers: Vec<String> = layers.iter().map(|&layer| layer.to_owned()).collect();
        let hessians = calibration.hessians(&checkpoint(), &layers);
        assert!(hessians.is_err() || read.get() == rows.len());
        hessians
    }

    #[test]
    fn sums_are_means_over_tokens_and_layers_of_one_input_share_them() {
        let rows = [[[1.0, 2.0], [0.0, -1.0]], [[3.0, 0.0], [1.0, 1.0]]];
        let hessians = hessians(&rows, &["q", "k", "fc"]).unwrap();
        // 2 / 4 * [[1 + 9 + 1, 2 + 1], [2 + 1, 4 + 1 + 1]]
        let expected = [5.5, 1.5, 1.5, 3.0];
        for (at, expected) in expected.into_iter().enumerate() {
            assert!((hessians[0][at] - expected).abs() < 1e-6);
            assert!((hessians[2][at] - 16.0 * expected).abs() < 1e-5, "fc reads four times the features");
        }
        assert!(Arc::ptr_eq(&hessians[0], &hessians[1]) && !Arc::ptr_eq(&hessians[0], &hessians[2]));
    }

    #[test]
    fn a_pass_ends_with_the_last_wanted_layer_and_other_faults_stay() {
        let rows = [[[1.0, 2.0], [0.0, -1.0]]];
        assert!(hessians(&rows, &["k"]).is_ok());
        let fault = hessians(&rows, &["q", "nowhere"]).unwrap_err();
        assert_eq!(fault.message, "the model went too far");
    }

    #[test]
    fn no_rows_and_values_that_are_not_finite_are_faults() {
        assert!(hessians(&[], &["q"]).unwrap_err().message.contains("no calibration row reached `q`"));
        assert!(hessians(&[[[f32::NAN, 0.0], [0.0, 0.0]]], &["fc"]).unwrap_err().message.contains("`fc`"));
        assert!(hessians(&[[[1e30, 0.0], [0.0, 0.0]]], &["fc"]).unwrap_err().message.contains("not finite"));
    }
}
