//! Figures that theory fixes or that are published, for codecs of which they are known.

use super::Check;
use crate::case::{Case, Checked, fail, skip};
use crate::rows::{Sample, Shape, errors, mean_and_error};
use serde_json::Value;

/// MSE of the best levels of a Gaussian of variance 1, for 1 to 8 bits (Max 1960; exact).
const LLOYD_MAX: [f64; 8] = [0.363380, 0.117482, 0.0345478, 0.00950101, 0.00250467, 6.44240e-4, 1.63478e-4, 4.11851e-5];

/// The same of evenly spaced levels with the best step.
const UNIFORM: [f64; 8] = [0.363380, 0.118846, 0.0374397, 0.0115429, 0.00349521, 1.04005e-3, 3.04333e-4, 8.76862e-5];

/// Normalized MSE of rotated codes of unit vectors of 128 components, for 1 to 4 bits: RaBitQ with the scale of least
/// error, TurboQuant.
const ROTATED: [(f64, f64); 4] = [(0.3612, 0.3616), (0.1162, 0.1164), (0.0352, 0.0341), (0.00993, 0.00932)];

/// Figures by the method.
pub const TABLES: Check = Check {
    group: "theory",
    name: "known figures",
    question: "Where theory or a table fixes the distortion of the codec, it has this distortion",
    run: |case| {
        let known = case.subject.registered().or_else(|| case.like.and_then(|like| like.registered()));
        let Some((name, params)) = known else { return skip("the codec is not known (`--like`)") };
        if !params["transform"].is_null() {
            return skip("no table knows this codec behind a transform");
        }
        let bits = params["bits"].as_u64().unwrap_or(0) as usize;
        match name.as_str() {
            "scalar" => scalar(case, &params, bits),
            "pq" => pq(case, &params, bits),
            "rabitq" | "turboquant" => rotated(case, &name, &params, bits),
            _ => skip(format!("no table knows `{name}`")),
        }
    },
};

/// Trains, codes other rows, and holds the error per component, times `unit`, to a range, which six standard errors widen.
fn hold(case: &Case<'_>, train: &Sample, rows: &Sample, unit: f64, low: f64, high: f64, source: &str) -> Checked {
    let trained = case.fit(train.view())?;
    let (found, error) = mean_and_error(&errors(rows, &case.coded(&*trained, rows)?));
    let (found, error) = (found * unit, 6.0 * error * unit);
    if !(low - error..=high + error).contains(&found) {
        return fail(
            format!("trained on {} and coded {}", train.words, rows.words),
            format!("a distortion of {low:.4e} to {high:.4e} ({source})"),
            format!("it is {found:.4e} ± {error:.1e}"),
            &rows.words,
        );
    }
    Ok(format!("{found:.4e}; {source}: {low:.4e} to {high:.4e}"))
}

fn scalar(case: &Case<'_>, params: &Value, bits: usize) -> Checked {
    let dim = case.dim;
    let per_value = 1.0 / dim as f64;
    let one_set = params["scope"] == "tensor" || params["scope"] == "dimension";
    if !(1..=8).contains(&bits) || !one_set {
        return skip("tables know levels that all vectors share");
    }
    if params["levels"] == "uniform" && params["range"] == "minmax" {
        // A step of a range that 2^b levels divide, with or without its ends.
        let (train, rows) = (case.draw(Shape::Uniform, 4000, 160), case.draw(Shape::Uniform, 4000, 161));
        let levels = 2f64.powi(bits as i32);
        let low = 0.98 / (12.0 * levels * levels);
        let high = 1.02 / (12.0 * (levels - 1.0).max(1.0).powi(2));
        let high = if bits == 1 { 1.02 / 12.0 } else { high };
        return hold(case, &train, &rows, per_value, low, high, "step²/12 of uniform values");
    }
    let table = match (params["levels"].as_str(), params["range"].as_str()) {
        (Some("lloyd-max"), _) => LLOYD_MAX,
        (Some("uniform"), Some("mse")) => UNIFORM,
        _ => return skip("no table knows these levels"),
    };
    let n = 20_000;
    let (train, rows) = (case.draw(Shape::Gaussian, n, 162), case.draw(Shape::Gaussian, 8000, 163));
    let expected = table[bits - 1];
    // Levels that are fitted to so many values lose a share of about levels / values more.
    let values = if params["scope"] == "tensor" { n * dim } else { n };
    let fitted = 2.0 * 2f64.powi(bits as i32) / values as f64;
    let source = "table of a Gaussian, exact, within 1%";
    hold(case, &train, &rows, per_value, expected * 0.99, expected * (1.01 + fitted), source)
}

fn pq(case: &Case<'_>, params: &Value, bits: usize) -> Checked {
    let m = params["m"].as_u64().unwrap_or(0) as usize;
    let (components, expected) = match bits {
        4 => (2, 0.1079),
        8 => (4, 0.0973),
        _ => return skip("the table knows 4 and 8 bits"),
    };
    let dim = m * components;
    if m == 0 || m > 8 {
        return skip("the table is compared for at most 8 sub-quantizers");
    }
    let n = 40_000;
    let train = Shape::Gaussian.draw(n, dim, case.seed_of(164));
    let rows = Shape::Gaussian.draw(20_000, dim, case.seed_of(165));
    // 1% is that of the table; 2% more is what 25 iterations of k-means leave, and what so few rows per codeword cost.
    let source = format!("table of {components} Gaussian components at {bits} bits, within 3%");
    hold(case, &train, &rows, 1.0 / dim as f64, expected * 0.98, expected * 1.03, &source)
}

fn rotated(case: &Case<'_>, name: &str, params: &Value, bits: usize) -> Checked {
    if !(1..=4).contains(&bits) || params["decode"] == "unbiased" || params["variant"] == "product" {
        return skip("the table knows 1 to 4 bits, decoded with the least error");
    }
    if case.subject.accepts(128).is_err() {
        return skip("the table is of 128 components");
    }
    let unit = |seed| {
        let mut sample = Shape::Gaussian.draw(4000, 128, case.seed_of(seed));
        sample.scale_to_unit();
        sample
    };
    let (rabitq, turboquant) = ROTATED[bits - 1];
    let expected = if name == "rabitq" { rabitq } else { turboquant };
    let (train, rows) = (unit(166), unit(167));
    hold(case, &train, &rows, 1.0, expected * 0.99, expected * 1.01, "table of unit vectors, within 1%")
}
