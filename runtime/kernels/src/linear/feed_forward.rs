//! The feed-forward part of a transformer's block: two layers, or three, with what lies between them kept in the caches.

use crate::buffer::Scratch;
use crate::error::{Result, expect_length};
use crate::format::Compressed;
use crate::{Activation, Cpu, Epilogue, Operands, SparseLinear};

/// `y = residual + down(activation(up(x)))`, or with a gate (Shazeer 2020, "GLU Variants Improve Transformer", arXiv 2002.05202)
/// `y = residual + down(up(x) * activation(gate(x)))`.
///
/// It goes over a group of tokens after the other, each through all layers, and threads share the groups. What lies between the layers,
/// which is wider than what goes in and comes out, so stays in the second-level cache of its thread where the smallest group fits: there it
/// is written, and there an INT8 layer finds the scale of each token and rounds.
#[derive(Clone, Copy)]
pub struct FeedForward<'a> {
    /// `[hidden, cols]`, the gate; none is none.
    pub gate: Option<&'a SparseLinear>,
    /// `[hidden, cols]`.
    pub up: &'a SparseLinear,
    /// What is done to the results of the gate, or without one to those of `up`.
    pub activation: Activation,
    /// `[rows, hidden]`.
    pub down: &'a SparseLinear,
}

impl FeedForward<'_> {
    /// `x: [tokens, cols]` to `y: [tokens, rows]`, `residual: [tokens, rows]`, row-major, on the current thread pool. The results are those
    /// of the layers by themselves, to the bit where these are INT8.
    ///
    /// # Errors
    /// When a length is not what its shape says, or the layers do not follow each other.
    pub fn forward(&self, x: &[f32], tokens: usize, y: &mut [f32], residual: Option<&[f32]>) -> Result<()> {
        let (hidden, cols) = (self.up.rows(), self.up.cols());
        expect_length("columns of the layer that follows", self.down.cols(), hidden)?;
        if let Some(gate) = self.gate {
            expect_length("rows of the gate", gate.rows(), hidden)?;
            expect_length("columns of the gate", gate.cols(), cols)?;
        }
        let mut operands = Operands::new(x, y, tokens, self.down.rows(), cols)?;
        operands = operands.then(Epilogue { residual, ..Epilogue::default() })?;
        // Nothing to write, of which there may be any number of tokens.
        if self.down.rows() == 0 {
            return Ok(());
        }
        let [up, down] = [self.up, self.down].map(|layer| layer.form(tokens));
        let layers = Layers { gate: self.gate.map(|gate| gate.form(tokens)), up, activation: self.activation, down, hidden };
        operands.in_groups(layers.group(), &|group: &mut Operands| layers.group_forward(group))
    }
}

/// The forms that serve.
struct Layers<'a> {
    gate: Option<&'a dyn Compressed>,
    up: &'a dyn Compressed,
    activation: Activation,
    down: &'a dyn Compressed,
    hidden: usize,
}

impl<'a> Layers<'a> {
    fn each(&self) -> impl Iterator<Item = &'a dyn Compressed> {
        self.gate.into_iter().chain([self.up, self.down])
    }

    /// Tokens of a group: as often the least that a layer likes to take as what lies between the layers stays near.
    fn group(&self) -> usize {
        let least = self.each().map(|form| form.group()).min().unwrap_or(1);
        let near = Cpu::this().caches.second_level() / 4 * 3;
        let token_bytes = self.hidden * size_of::<f32>() * (self.each().count() - 1);
        (near / token_bytes.max(1) / least).max(1).saturating_mul(least)
    }

    fn group_forward(&self, group: &mut Operands) -> Result<()> {
        let (x, tokens, cols, epilogue) = (group.x(), group.tokens(), group.cols(), group.epilogue());
        let mut between = Scratch::<f32>::take(tokens * self.hidden);
        let apply = |form: &dyn Compressed, results: &mut [f32], epilogue| {
            form.product(&mut Operands::new(x, results, tokens, self.hidden, cols)?.then(epilogue)?)
        };
        let activated = Epilogue { activation: Some(self.activation), ..Epilogue::default() };
        match self.gate {
            None => apply(self.up, &mut between, activated)?,
            Some(gate) => {
                let mut factor = Scratch::<f32>::take(tokens * self.hidden);
                apply(self.up, &mut factor, Epilogue::default())?;
                apply(gate, &mut between, Epilogue { factor: Some(&factor), ..activated })?;
            }
        }
        let rows = group.rows();
        self.down.product(&mut Operands::new(&between, group.y(), tokens, rows, self.hidden)?.then(epilogue)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random_matrix, random_values, rounded};
    use crate::{Choice, Element, Options};

    fn layer(rows: usize, cols: usize, element: Element, format: &'static str, seed: u64) -> SparseLinear {
        let matrix = rounded(&random_matrix(rows, cols, 0.3, seed), element).unwrap();
        let options = Options { choice: Choice::Always(format), ..Options::default() };
        SparseLinear::of(&matrix, Some(&random_values(rows, seed + 1)), &options).unwrap()
    }

    /// The definition: one layer after the other.
    fn plain(layers: &FeedForward, x: &[f32], tokens: usize, residual: Option<&[f32]>) -> Vec<f32> {
        let forward = |layer: &SparseLinear, x: &[f32], epilogue| {
            let mut y = vec![0.0; tokens * layer.rows()];
            layer.forward_with(x, tokens, &mut y, epilogue).unwrap();
            y
        };
        let activated = Epilogue { activation: Some(layers.activation), ..Epilogue::default() };
        let between = match layers.gate {
            None => forward(layers.up, x, activated),
            Some(gate) => {
                let up = forward(layers.up, x, Epilogue::default());
                forward(gate, x, activated).iter().zip(up).map(|(gate, up)| gate * up).collect()
            }
        };
        forward(layers.down, &between, Epilogue { residual, ..Epilogue::default() })
    }

    #[test]
    fn layers_in_groups_give_what_they_give_one_after_the_other() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for (element, formats) in [
            (Element::Fp32, ["dense", "bitmask"]),
            (Element::Fp32, ["gemm", "dense"]),
            (Element::Int8, ["dense", "bitmask"]),
            (Element::Int8, ["bitmask", "dense"]),
        ] {
            let (up, gate) = (layer(700, 40, element, formats[0], 1), layer(700, 40, element, formats[1], 3));
            let down = layer(50, 700, element, formats[1], 5);
            for (gate, activation) in
                [(None, Activation::Gelu), (Some(&gate), Activation::GeluTanh), (Some(&gate), Activation::Relu)]
            {
                let layers = FeedForward { gate, up: &up, activation, down: &down };
                for tokens in [0, 1, 65, 800, 1001] {
                    let (mut x, residual) = (random_values(tokens * 40, 7), random_values(tokens * 50, 8));
                    if tokens > 70 {
                        x[70 * 40] = f32::NAN;
                    }
                    for residual in [None, Some(&residual[..])] {
                        let expected = plain(&layers, &x, tokens, residual);
                        let mut y = vec![f32::NAN; tokens * 50];
                        pool.install(|| layers.forward(&x, tokens, &mut y, residual)).unwrap();
                        let what = format!("{element} {formats:?}, {tokens} tokens, {activation:?}, gate: {}", gate.is_some());
                        assert_close(&y, &expected, 700, &what);
                        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                        assert!(!element.is_integer() || bits(&y) == bits(&expected), "{what}: to the bit");
                    }
                }
            }
        }
    }

    #[test]
    fn layers_that_do_not_follow_each_other_are_an_error() {
        let [up, other] = [layer(8, 4, Element::Fp32, "dense", 1), layer(9, 4, Element::Fp32, "dense", 1)];
        let down = layer(4, 8, Element::Fp32, "dense", 2);
        let forward = |gate, up, down, x: usize, y: usize, residual: Option<&[f32]>| {
            FeedForward { gate, up, activation: Activation::Relu, down }.forward(&vec![0.0; x], 2, &mut vec![0.0; y], residual)
        };
        assert!(forward(None, &up, &down, 8, 8, None).is_ok());
        assert!(forward(None, &other, &down, 8, 8, None).is_err(), "another width between them");
        assert!(forward(Some(&other), &up, &down, 8, 8, None).is_err(), "a gate of another width");
        assert!(forward(Some(&down), &up, &down, 8, 8, None).is_err(), "a gate of another input");
        assert!(forward(None, &up, &down, 7, 8, None).is_err() && forward(None, &up, &down, 8, 9, None).is_err());
        assert!(forward(None, &up, &down, 8, 8, Some(&[0.0; 7])).is_err(), "too few residuals");
    }
}
