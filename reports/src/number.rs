//! Formats numbers for readers.

use record::metric::NumberFormat;

/// Formats a value as its metric specifies.
pub fn show(format: NumberFormat, value: f64) -> String {
    match format {
        NumberFormat::Significant(digits) => significant(value, digits),
        NumberFormat::Decimals(decimals) => format!("{value:.decimals$}"),
        NumberFormat::Percent => format!("{:.1}%", 100.0 * value),
        NumberFormat::Engineering => engineering(value),
        NumberFormat::Bytes => bytes(value),
    }
}

/// An integer as Unicode superscript.
pub fn superscript(n: i32) -> String {
    n.to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            digit => char::from_u32(0x2070 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
        })
        .collect()
}

/// A tick of a logarithmic axis: a plain number if short, otherwise a power of ten.
pub fn log_tick(value: f64) -> String {
    let exponent = value.log10().floor();
    if (-2.0..4.0).contains(&exponent) {
        return trim(value);
    }
    let mantissa = value / 10f64.powf(exponent);
    let power = format!("10{}", superscript(exponent as i32));
    if (mantissa - 1.0).abs() < 1e-6 { power } else { format!("{}·{power}", trim(mantissa)) }
}

/// The value of a tick of a linear axis: a decimal, or a multiple of a power of ten if that is shorter.
pub fn linear_tick(value: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "" };
    let text = match value.abs() {
        0.0 => "0".to_owned(),
        size if (1e-3..1e5).contains(&size) => trim(size),
        size => {
            // A step of a sum such as 3·10⁻⁷ may lie just below its power of ten.
            let exponent = (size.log10() + 1e-9).floor();
            let (mantissa, power) = (trim(size / 10f64.powf(exponent)), superscript(exponent as i32));
            if mantissa == "1" { format!("10{power}") } else { format!("{mantissa}·10{power}") }
        }
    };
    format!("{sign}{text}")
}

/// The shortest decimal with about six correct digits.
pub fn trim(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    text.to_owned()
}

/// Three significant digits; scientific notation only where decimals would be misleading.
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".into();
    }
    // The exponent of the rounded value: 0.9996 with three digits is 1.00, not 1.000.
    let scientific = format!("{value:.*e}", digits - 1);
    let exponent: i32 = scientific.rsplit('e').next().and_then(|e| e.parse().ok()).unwrap_or(0);
    if exponent < -4 {
        return scientific;
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    format!("{value:.decimals$}")
}

/// Three digits with the suffix k, M or G.
pub fn engineering(value: f64) -> String {
    for (unit, scale) in [("G", 1e9), ("M", 1e6), ("k", 1e3)] {
        if value.abs() >= scale * 0.9995 {
            return format!("{} {unit}", significant(value / scale, 3));
        }
    }
    significant(value, 3)
}

/// Bytes with a binary unit.
pub fn bytes(value: f64) -> String {
    for (unit, scale) in [("GiB", 1073741824.0), ("MiB", 1048576.0), ("KiB", 1024.0)] {
        if value >= scale {
            return format!("{} {unit}", significant(value / scale, 3));
        }
    }
    format!("{value:.0} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!((superscript(-12), superscript(305)), ("⁻¹²".to_owned(), "³⁰⁵".to_owned()));
        assert_eq!(
            (log_tick(0.02), log_tick(2e-5), log_tick(1e6), log_tick(500.0)),
            ("0.02".into(), "2·10⁻⁵".into(), "10⁶".into(), "500".into())
        );
        assert_eq!(
            (significant(0.123456, 3), significant(1234.5, 3), significant(1.5e-6, 3)),
            ("0.123".into(), "1234".into(), "1.50e-6".into())
        );
        assert_eq!(
            (engineering(1_290_000.0), engineering(999.9), engineering(12.0)),
            ("1.29 M".into(), "1.00 k".into(), "12.0".into())
        );
        assert_eq!((bytes(393_216.0), bytes(8.0)), ("384 KiB".into(), "8 B".into()));
    }
}
