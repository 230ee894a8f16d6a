//! A model that has learned nothing: random parameters made from a configuration and a seed alone.

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Checkpoint, companions, header};
use crate::model::{self, Initial, Parameter};
use crate::{Fault, Result};

impl Checkpoint {
    /// Reads `config.json` and the companions of `folder`, and draws every parameter as the family prescribes. Each parameter has
    /// a stream of its own, so that a layer more or less does not change the others.
    ///
    /// # Errors
    /// When the folder, its configuration or its family cannot be read.
    pub fn initialize(folder: &Path, seed: u64) -> Result<Self> {
        let config = header::config(folder)?;
        let modules = model::family(&config).and_then(|family| family.modules(&config));
        let modules = modules.map_err(|fault| fault.at(folder.join(header::CONFIG)))?;
        let parameters = modules.iter().flat_map(model::Module::parameters);
        let tensors = parameters.map(|parameter| {
            let tensor = Tensor::from_vec(draw(&parameter, seed)?, parameter.shape.as_slice(), &Device::Cpu)?;
            Ok((parameter.name, tensor.into()))
        });
        Ok(Self {
            tensors: tensors.collect::<Result<_>>()?,
            config,
            masks: BTreeMap::new(),
            quantized: BTreeMap::new(),
            companions: Arc::new(companions(folder)?),
        })
    }
}

/// The first values of `parameter`, row-major.
fn draw(parameter: &Parameter, seed: u64) -> Result<Vec<f32>> {
    let count = parameter.shape.iter().product();
    Ok(match parameter.initial {
        Initial::Zeros => vec![0.0; count],
        Initial::Ones => vec![1.0; count],
        Initial::Normal { std } => {
            let name = blake3::hash(parameter.name.as_bytes());
            let mut stream = ChaCha8Rng::from_seed(*blake3::keyed_hash(name.as_bytes(), &seed.to_le_bytes()).as_bytes());
            (0..count).map(|_| (normal(&mut stream) * std) as f32).collect()
        }
        Initial::Sinusoids => match *parameter.shape.as_slice() {
            [positions, width] => sinusoids(positions, width),
            _ => return Err(Fault::internal("positions are a matrix")),
        },
    })
}

/// One draw from the standard normal distribution (Box and Muller, 1958).
fn normal(stream: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - stream.random::<f64>(), stream.random());
    (-2.0 * u.ln()).sqrt() * (2.0 * PI * v).cos()
}

/// Positions `[positions, width]` as Whisper's encoder has them: sines in the first half of the width, cosines in the second, with
/// wavelengths from 2π to 10000 · 2π in geometric progression.
fn sinusoids(positions: usize, width: usize) -> Vec<f32> {
    let half = width / 2;
    let frequency = |i: usize| (-(10_000f64.ln()) * i as f64 / (half.max(2) - 1) as f64).exp();
    (0..positions)
        .flat_map(|t| (0..width).map(move |i| (t as f64 * frequency(i % half), i < half)))
        .map(|(angle, is_sine)| if is_sine { angle.sin() as f32 } else { angle.cos() as f32 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_and_name_and_have_the_right_spread() {
        let parameter =
            |name: &str| Parameter { name: name.into(), shape: vec![100, 100], initial: Initial::Normal { std: 0.02 } };
        let values = draw(&parameter("a"), 1).unwrap();
        assert_eq!(values, draw(&parameter("a"), 1).unwrap());
        assert_ne!(values, draw(&parameter("a"), 2).unwrap());
        assert_ne!(values, draw(&parameter("b"), 1).unwrap());
        let mean = values.iter().sum::<f32>() / 1e4;
        let std = (values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 1e4).sqrt();
        assert!(mean.abs() < 1e-3 && (std - 0.02).abs() < 1e-3, "mean {mean}, deviation {std}");
    }

    #[test]
    fn positions_start_at_zero_and_one_and_turn_fastest_first() {
        let positions = sinusoids(3, 4);
        assert_eq!(positions[..4], [0.0, 0.0, 1.0, 1.0]);
        assert!((positions[4] - 1f32.sin()).abs() < 1e-6 && (positions[5] - 1e-4).abs() < 1e-6);
    }
}
