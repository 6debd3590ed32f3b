//! FAISS factory strings as names for the methods here.

use crate::registry::{Exemption, MethodEntry, Tries};
use crate::{Method, ParamError, registry};
use schemars::Schema;
use serde_json::{Value, json};

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "factory",
    family: None,
    summary: "FAISS factory string, such as `OPQ16,PQ16x8`: runs the method here that encodes in the same way",
    paper: "Douze et al., The Faiss library, 2024 (the notation)",
    rate: "the rate of the method it names",
    rate_params: &[],
    cost: "the cost of the method it names",
    examples: &[r#""PQ4x8""#, r#""OPQ4,PQ4x5""#, r#""PCA6,SQ8""#],
    tries: Tries { params: &[], transforms: false },
    exempt: &[
        Exemption {
            law: "no_stream_is_drawn_from_twice",
            with: r#"{"start": "auto"}"#,
            why: "starts are tried with the random numbers that the fit then draws, so that the chosen start is the one that is used",
        },
        Exemption {
            law: "no_stream_is_drawn_from_twice",
            with: r#"{"levels": "uniform", "range": "mse"}"#,
            why: "a span is chosen and then fitted on the same sample, which is drawn again instead of stored",
        },
    ],
    schema,
    parse,
};

/// The accepted forms, for messages.
const FORMS: &str = "PQ16x8, OPQ16,PQ16x8, RQ8x8, LSQ8x8, SQ8, SQ4, RaBitQ or RaBitQ4, optionally after PCA64, RR64, OPQ16 or OPQ16_64 and a comma";

fn schema() -> Schema {
    schemars::json_schema!({
        "type": "string",
        "description": format!(
            "A FAISS factory string, which names a method and its parameters: {FORMS}. Other numbers work too. \
             `PQ16x8` has 16 sub-quantizers, `RQ8x8` has 8 stages and `LSQ8x8` has 8 codebooks, each of 8 bits. Without \
             `x8`, they have 8 bits as well. `SQ4` and `RaBitQ4` take 4 bits per component; `RaBitQ` takes 1. \
             `PCA64` keeps 64 principal components. `RR64` multiplies by a random rotation; its number has no effect. \
             `OPQ16` learns a rotation for 16 sub-quantizers. `OPQ16_64` also keeps only 64 components, and needs \
             `PQ16x8` after it. Use a factory string to compare with a FAISS index. Index structures such as `IVF1024` \
             are refused."
        ),
        "examples": ["PQ16x8", "OPQ16,PQ16x8", "RQ8x8", "SQ8"],
    })
}

fn parse(params: Value) -> Result<Box<dyn Method>, ParamError> {
    let Some(text) = params.as_str() else {
        let message = "`factory` takes a FAISS factory string";
        return Err(ParamError { param: None, message: message.into(), help: Some(format!("write {FORMS}")) });
    };
    let (name, params) = translate(text)?;
    registry::parse(name, params)
}

fn refuse(message: String, help: &str) -> ParamError {
    ParamError { param: None, message, help: Some(help.into()) }
}

/// The method and the parameters that a factory string stands for.
fn translate(text: &str) -> Result<(&'static str, Value), ParamError> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let (transforms, codec) = parts.split_at(parts.len() - 1);
    let codec = codec[0];
    for part in &parts {
        explain_foreign(text, part)?;
    }
    let [transform] = transforms else {
        return match transforms {
            [] => self::codec(text, codec),
            _ => Err(refuse(format!("`{text}` chains several transforms"), "use one transform before the codec")),
        };
    };
    let (name, mut params) = self::codec(text, codec)?;
    let number = |prefix: &str| transform.strip_prefix(prefix).and_then(|n| n.parse::<usize>().ok());
    // `OPQ64_128`: 64 groups over the 128 components that are kept.
    if let Some((m, dim)) = transform.strip_prefix("OPQ").and_then(|numbers| numbers.split_once('_')) {
        let numbers = m.parse::<usize>().ok().zip(dim.parse::<usize>().ok());
        return match numbers {
            Some((m, dim)) if name == "pq" && params["m"] == m => {
                params["dim"] = dim.into();
                Ok(("opq", params))
            }
            _ => Err(refuse(
                format!("`{transform}` in `{text}` keeps some components for another codec"),
                "OPQ16_64 needs a product quantizer with as many groups behind it, such as OPQ16_64,PQ16x8; PCA64 keeps some components for any codec",
            )),
        };
    }
    let written = if let Some(m) = number("OPQ") {
        // Here rotation and codebooks are one method.
        if name == "pq" && params["m"] == m {
            return Ok(("opq", params));
        }
        json!({ "opq": { "m": m } })
    } else if let Some(dim) = number("PCA") {
        json!({ "pca": { "dim": dim } })
    } else if *transform == "RR" || number("RR").is_some() {
        json!("random-rotation")
    } else {
        return Err(refuse(
            format!("`{transform}` in `{text}` is not a known transform"),
            "use PCA64, OPQ16 or RR64 (the number after RR is the dimension of the vectors)",
        ));
    };
    params["transform"] = written;
    Ok((name, params))
}

/// The codec at the end of a factory string.
fn codec(text: &str, codec: &str) -> Result<(&'static str, Value), ParamError> {
    let unknown = || refuse(format!("`{codec}` in `{text}` is not a known codec"), &format!("write {FORMS}"));
    if let Some(bits) = codec.strip_prefix("SQ") {
        return match bits {
            "8" | "6" | "4" => Ok(("scalar", json!({ "bits": bits.parse::<u8>().unwrap_or(8) }))),
            _ => Err(refuse(
                format!("`{codec}` in `{text}` is not a known scalar quantizer"),
                "use SQ8, SQ6 or SQ4; the method `scalar` takes 1 to 8 bits",
            )),
        };
    }
    if let Some(bits) = codec.strip_prefix("RaBitQ") {
        let bits: u8 = if bits.is_empty() { 1 } else { bits.parse().map_err(|_| unknown())? };
        return Ok(("rabitq", json!({ "bits": bits })));
    }
    if codec == "Flat" {
        return Ok(("flat", json!({})));
    }
    for (prefix, name, count) in [("PQ", "pq", "m"), ("RQ", "rvq", "stages"), ("LSQ", "lsq", "m")] {
        let Some(numbers) = codec.strip_prefix(prefix) else { continue };
        // A fast-scan layout has the same codes.
        let numbers = numbers.strip_suffix("fs").unwrap_or(numbers);
        let (groups, bits) = numbers.split_once('x').unwrap_or((numbers, "8"));
        let (groups, bits) = groups.parse::<usize>().ok().zip(bits.parse::<u8>().ok()).ok_or_else(unknown)?;
        return Ok((name, json!({ count: groups, "bits": bits })));
    }
    Err(unknown())
}

/// Explains parts of FAISS that have no counterpart here.
fn explain_foreign(text: &str, part: &str) -> Result<(), ParamError> {
    let because = |what: &str, help: &str| Err(refuse(format!("`{part}` in `{text}` {what}"), help));
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| part.starts_with(prefix));
    if starts(&["IVF", "IMI", "HNSW", "NSG", "NNDescent", "IDMap"]) {
        return because(
            "is an index structure, not a quantizer",
            "vqbench compares codes; name the codec alone, such as PQ16x8",
        );
    }
    if starts(&["PRQ", "PLSQ", "ZnLattice", "LSH", "ITQ", "PCAW", "PCAR", "L2norm", "SQfp16", "SQbf16", "Refine"]) {
        return because("has no counterpart here", &format!("write {FORMS}"));
    }
    if part.contains('_') && !part.starts_with("OPQ") {
        return because("carries a number that has no counterpart here", &format!("write {FORMS}"));
    }
    if part.contains("Np") || part.contains('+') {
        return because("carries an option that has no counterpart here", &format!("write {FORMS}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_name_the_methods_they_should() {
        for (text, name, params) in [
            ("PQ16x8", "pq", json!({ "m": 16, "bits": 8 })),
            ("PQ32", "pq", json!({ "m": 32, "bits": 8 })),
            ("PQ32x4fs", "pq", json!({ "m": 32, "bits": 4 })),
            ("OPQ16,PQ16x8", "opq", json!({ "m": 16, "bits": 8 })),
            ("OPQ64_128,PQ64", "opq", json!({ "m": 64, "bits": 8, "dim": 128 })),
            ("OPQ8,PQ16x8", "pq", json!({ "m": 16, "bits": 8, "transform": { "opq": { "m": 8 } } })),
            ("RQ8x8", "rvq", json!({ "stages": 8, "bits": 8 })),
            ("LSQ8x8", "lsq", json!({ "m": 8, "bits": 8 })),
            ("SQ8", "scalar", json!({ "bits": 8 })),
            ("Flat", "flat", json!({})),
            ("PCA64,SQ4", "scalar", json!({ "bits": 4, "transform": { "pca": { "dim": 64 } } })),
            ("RR128, SQ8", "scalar", json!({ "bits": 8, "transform": "random-rotation" })),
            ("RaBitQ4", "rabitq", json!({ "bits": 4 })),
        ] {
            assert_eq!(translate(text), Ok((name, params)), "{text}");
            parse(json!(text)).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
    }

    #[test]
    fn what_has_no_counterpart_is_refused_with_a_reason() {
        for (text, reason) in [
            ("IVF1024,PQ16x8", "`IVF1024` in `IVF1024,PQ16x8` is an index structure, not a quantizer"),
            ("HNSW32", "is an index structure"),
            ("OPQ8_64,PQ16x8", "keeps some components for another codec"),
            ("OPQ16_x,PQ16x8", "keeps some components for another codec"),
            ("ITQ64,LSH", "has no counterpart here"),
            ("PQ16xx8", "is not a known codec"),
            ("PQ", "is not a known codec"),
            ("", "is not a known codec"),
            ("SQ5", "is not a known scalar quantizer"),
            ("XY8,PQ16x8", "is not a known transform"),
            ("PCA64,OPQ8,PQ8", "chains several transforms"),
        ] {
            let error = parse(json!(text)).expect_err(text);
            assert!(error.message.contains(reason), "{text}: {}", error.message);
            assert!(error.help.is_some(), "{text}");
        }
        assert!(parse(json!({ "m": 8 })).is_err());
    }
}
