//! What must be possible with every quantizer that a reader of models has accepted.

use crate::{Quantizer, SearchMetric};
use ndarray::Array2;

/// Codes rows with a quantizer whose model may come from a stranger, decodes whatever codes there may be, and scores them. It
/// may refuse each, and must not panic. A quantizer of large vectors is left alone.
pub fn exercise(quantizer: &dyn Quantizer) {
    if quantizer.dim() > 1000 || quantizer.code_size() > 10_000 {
        return;
    }
    let rows = Array2::from_elem((2, quantizer.dim()), 0.5);
    let mut codes = vec![0; 2 * quantizer.code_size()];
    let mut decoded = Array2::zeros(rows.dim());
    if quantizer.encode_into(rows.view(), &mut codes).is_ok() {
        let _ = quantizer.decode_into(&codes, decoded.view_mut());
    }
    for fill in [0x00, 0x5a, 0xff] {
        codes.fill(fill);
        let _ = quantizer.decode_into(&codes, decoded.view_mut());
        for metric in [SearchMetric::L2, SearchMetric::InnerProduct] {
            if let Some(mut searcher) = quantizer.searcher(metric) {
                searcher.set_query(&vec![0.1; quantizer.dim()]);
                let _ = searcher.score_into(&codes, &mut [0.0; 2]);
            }
        }
    }
}
