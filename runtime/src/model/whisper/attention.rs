//! Whisper's attention: scores are scaled by `1 / sqrt(width / heads)`, and only the projection of the keys has no bias.

use crate::Result;
use crate::model::Source;
use crate::model::attention::Attention;

/// The attention at `path`, its projections `[width, width]`.
pub(super) fn attention(path: &str, width: usize, heads: usize, source: &mut dyn Source) -> Result<Attention> {
    Ok(Attention {
        q: source.linear(&format!("{path}.q_proj"), width, width, true)?,
        k: source.linear(&format!("{path}.k_proj"), width, width, false)?,
        v: source.linear(&format!("{path}.v_proj"), width, width, true)?,
        out: source.linear(&format!("{path}.out_proj"), width, width, true)?,
        heads,
        scale: ((width / heads) as f32).sqrt().recip(),
    })
}
