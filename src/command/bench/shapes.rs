//! Shapes to time: `3072x768`, or a model's name for those of its linear layers.

use std::str::FromStr;

/// Layers of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    pub rows: usize,
    pub cols: usize,
    /// How many a model has.
    pub count: usize,
}

const fn layers(rows: usize, cols: usize, count: usize) -> Layers {
    Layers { rows, cols, count }
}

/// The linear layers of models: those of the encoder, or of the decoder where that is all there is.
const MODELS: [(&str, &[Layers]); 3] = [
    ("t5-small", &[layers(512, 512, 24), layers(2048, 512, 6), layers(512, 2048, 6)]),
    ("whisper-small", &[layers(768, 768, 48), layers(3072, 768, 12), layers(768, 3072, 12)]),
    ("mpt-7b", &[layers(4096, 4096, 32), layers(12288, 4096, 32), layers(16384, 4096, 32), layers(4096, 16384, 32)]),
];

/// What one name stands for.
#[derive(Clone, Debug)]
pub struct Shapes(pub Vec<Layers>);

impl FromStr for Shapes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, layers)) = MODELS.iter().find(|(name, _)| *name == text) {
            return Ok(Self(layers.to_vec()));
        }
        match text.split_once('x').map(|(rows, cols)| (rows.parse(), cols.parse())) {
            Some((Ok(rows @ 1..), Ok(cols @ 1..))) => Ok(Self(vec![layers(rows, cols, 1)])),
            _ => Err(format!("neither ROWSxCOLS nor one of {}", MODELS.map(|(name, _)| name).join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_and_shapes_have_their_layers() {
        let weights = |text: &str| -> usize {
            let Shapes(shapes) = text.parse().unwrap();
            shapes.iter().map(|layers| layers.rows * layers.cols * layers.count).sum()
        };
        assert_eq!((weights("7x5"), weights("whisper-small"), weights("mpt-7b")), (35, 84_934_656, 6_442_450_944));
        for bad in ["", "7", "0x5", "7x-5", "whisper"] {
            assert!(bad.parse::<Shapes>().is_err_and(|error| error.contains("t5-small")), "{bad}");
        }
    }
}
