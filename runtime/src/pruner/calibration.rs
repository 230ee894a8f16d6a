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
