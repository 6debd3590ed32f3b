//! Durations and sizes in text form: `10m`, `30ms`, `2GiB`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration, written as a number and a unit: ms, s, m or h.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seconds(pub f64);

/// A number of bytes, written as a number and a unit: KiB, MiB and GiB count by 1024, KB, MB and GB by 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

const DURATIONS: [(&str, f64); 4] = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
const SIZES: [(&str, f64); 6] =
    [("KB", 1e3), ("KiB", 1024.0), ("MB", 1e6), ("MiB", 1048576.0), ("GB", 1e9), ("GiB", 1073741824.0)];

/// Splits `1.5GiB` into its number times its unit.
fn parse(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..split].parse().ok()?;
    let unit = text[split..].trim();
    let scale = units.iter().find(|(name, _)| *name == unit)?.1;
    Some(number * scale).filter(|value| *value > 0.0 && value.is_finite())
}

impl Seconds {
    /// For the standard library.
    pub fn duration(self) -> Duration {
        Duration::try_from_secs_f64(self.0).unwrap_or(Duration::MAX)
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seconds, String> {
        parse(text, &DURATIONS)
            .map(Seconds)
            .ok_or_else(|| format!("`{text}` is not a duration; write it like 30ms, 10s, 10m or 2h"))
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<ByteSize, String> {
        let bytes = parse(text, &SIZES).map(|bytes| ByteSize(bytes as u64));
        bytes.ok_or_else(|| format!("`{text}` is not a size; write it like 512MiB or 2GiB"))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |unit: f64| self.0 >= unit && (self.0 / unit).fract() == 0.0;
        match DURATIONS.iter().rev().find(|(_, scale)| whole(*scale)) {
            Some((name, scale)) => write!(f, "{}{name}", self.0 / scale),
            None => write!(f, "{}s", self.0),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        // The unit with the shortest text; the largest of these.
        let written = |(name, scale): (&str, f64)| format!("{}{name}", bytes / scale);
        let fitting = SIZES.into_iter().filter(|(_, scale)| bytes >= *scale);
        let best = fitting.rev().map(written).min_by_key(String::len);
        f.write_str(&best.unwrap_or_else(|| written(SIZES[1])))
    }
}

macro_rules! as_text {
    ($type:ty, $name:literal, $pattern:literal, $example:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match serde_json::Value::deserialize(deserializer)? {
                    serde_json::Value::String(text) => text.parse().map_err(D::Error::custom),
                    other => Err(D::Error::custom(format!("{other} has no unit; write it like {}", $example))),
                }
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

as_text!(Seconds, "Duration", r"^[0-9.]+ *(ms|s|m|h)$", "10m");
as_text!(ByteSize, "Size", r"^[0-9.]+ *[KMG]i?B$", "2GiB");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_and_write() {
        for (text, seconds) in [("30ms", 0.03), ("1.5s", 1.5), ("10m", 600.0), ("2 h", 7200.0)] {
            assert!((text.parse::<Seconds>().expect(text).0 - seconds).abs() < 1e-12, "{text}");
        }
        for (text, bytes) in [("2GiB", 2 << 30), ("512MiB", 512 << 20), ("2GB", 2_000_000_000), ("1.5 MB", 1_500_000)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), text.replace(' ', ""));
        }
        for bad in ["512", "512mib", "MiB", "-1MiB", "0MiB", "1e3MiB", "2G", "64KiB or so"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        for bad in ["", "10", "s", "-1s", "10 minutes", "0s", "1e3s"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad}");
        }
        assert_eq!((Seconds(600.0).to_string(), Seconds(0.25).to_string()), ("10m".into(), "250ms".into()));
        assert_eq!(
            (ByteSize(512 << 20).to_string(), ByteSize(3 << 29).to_string()),
            ("512MiB".into(), "1.5GiB".into())
        );
        assert!(serde_json::from_str::<Seconds>("600").expect_err("no unit").to_string().contains("10m"));
    }
}
