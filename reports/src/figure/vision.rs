//! Tests that figures can be read in grey and with a colour-vision deficiency: it simulates both and measures how far the
//! colours of the palette stay apart.

use super::style::{PALETTE, dash, looks, looks_of_methods, shape};
use plotters::prelude::RGBColor;

/// A colour in linear RGB, each channel from 0 to 1.
type Linear = [f64; 3];

/// Matrices on linear RGB for complete deficiencies (Machado, Oliveira, Fernandes: A physiologically-based model for
/// simulation of color vision deficiency, 2009, severity 1), for usual vision, and for a grey print (Rec. 709 luminance),
/// each with the least difference between two colours, in units of CIEDE2000. A difference of 2 to 3 is seen when colours
/// touch.
const VISIONS: [(&str, [Linear; 3], f64); 5] = [
    ("usual", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 14.0),
    (
        "protanopia",
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        8.0,
    ),
    (
        "deuteranopia",
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        8.0,
    ),
    (
        "tritanopia",
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
        8.0,
    ),
    ("grey", [[0.2126, 0.7152, 0.0722]; 3], 4.0),
];

fn linear(colour: RGBColor) -> Linear {
    [colour.0, colour.1, colour.2].map(|channel| {
        let c = f64::from(channel) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    })
}

fn seen(colour: Linear, vision: &[Linear; 3]) -> Linear {
    vision.map(|row| row.iter().zip(colour).map(|(a, b)| a * b).sum::<f64>().clamp(0.0, 1.0))
}

/// CIE L*a*b* under daylight (D65).
fn lab(rgb: Linear) -> [f64; 3] {
    let rows = [
        ([0.4124564, 0.3575761, 0.1804375], 0.95047),
        ([0.2126729, 0.7151522, 0.0721750], 1.0),
        ([0.0193339, 0.1191920, 0.9503041], 1.08883),
    ];
    let [x, y, z] = rows.map(|(row, white)| {
        let t = row.iter().zip(rgb).map(|(a, b)| a * b).sum::<f64>() / white;
        if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 }
    });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// The difference CIEDE2000 (Sharma, Wu, Dalal: The CIEDE2000 color-difference formula, 2005).
fn difference(first: [f64; 3], second: [f64; 3]) -> f64 {
    let seventh = |c: f64| (c.powi(7) / (c.powi(7) + 25f64.powi(7))).sqrt();
    let chroma = |c: [f64; 3]| c[1].hypot(c[2]);
    let g = 0.5 * (1.0 - seventh(0.5 * (chroma(first) + chroma(second))));
    let [p, q] = [first, second].map(|[l, a, b]| [l, a * (1.0 + g), b]);
    let hue = |c: [f64; 3]| c[2].atan2(c[1]).to_degrees().rem_euclid(360.0);
    let (c1, c2, h1, h2) = (chroma(p), chroma(q), hue(p), hue(q));
    let grey = c1 * c2 == 0.0;
    let turn = if grey { 0.0 } else { (h2 - h1 + 180.0).rem_euclid(360.0) - 180.0 };
    let (dl, dc, dh) = (q[0] - p[0], c2 - c1, 2.0 * (c1 * c2).sqrt() * (turn / 2.0).to_radians().sin());
    let (l, c) = (0.5 * (p[0] + q[0]), 0.5 * (c1 + c2));
    let h = match (grey, (h1 - h2).abs() > 180.0) {
        (true, _) => h1 + h2,
        (false, false) => 0.5 * (h1 + h2),
        (false, true) if h1 + h2 < 360.0 => 0.5 * (h1 + h2 + 360.0),
        (false, true) => 0.5 * (h1 + h2 - 360.0),
    };
    let cos = |degrees: f64| degrees.to_radians().cos();
    let t = 1.0 - 0.17 * cos(h - 30.0) + 0.24 * cos(2.0 * h) + 0.32 * cos(3.0 * h + 6.0) - 0.2 * cos(4.0 * h - 63.0);
    let rotation = -2.0 * seventh(c) * (60.0 * (-((h - 275.0) / 25.0).powi(2)).exp()).to_radians().sin();
    let sl = 1.0 + 0.015 * (l - 50.0).powi(2) / (20.0 + (l - 50.0).powi(2)).sqrt();
    let (x, y, z) = (dl / sl, dc / (1.0 + 0.045 * c), dh / (1.0 + 0.015 * c * t));
    (x * x + y * y + z * z + rotation * y * z).sqrt()
}

#[test]
fn the_difference_is_that_of_the_paper() {
    // Pairs 1, 7, 10, 17 and 25 of the table by Sharma, Wu and Dalal.
    for (p, q, expected) in [
        ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
        ([50.0, 0.0, 0.0], [50.0, -1.0, 2.0], 2.3669),
        ([50.0, 2.49, -0.001], [50.0, -2.49, 0.0010], 7.1792),
        ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
        ([60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644),
    ] {
        assert!((difference(p, q) - expected).abs() < 1e-4, "{p:?} {q:?}: {}", difference(p, q));
    }
}

#[test]
fn colours_stay_apart_in_grey_and_for_the_colour_blind() {
    for (vision, matrix, least) in &VISIONS {
        let colours = PALETTE.map(|colour| lab(seen(linear(colour), matrix)));
        for (i, first) in colours.iter().enumerate() {
            for (j, second) in colours[..i].iter().enumerate() {
                let found = difference(*first, *second);
                assert!(found >= *least, "{vision}: {} and {} differ by {found:.1}", PALETTE[i].0, PALETTE[j].0);
            }
        }
    }
}

#[test]
fn no_colour_is_pale() {
    for colour in PALETTE {
        // Contrast with white as WCAG 2 defines it, for lines and markers.
        let luminance: f64 = linear(colour).iter().zip([0.2126, 0.7152, 0.0722]).map(|(a, b)| a * b).sum();
        assert!(1.05 / (luminance + 0.05) >= 2.5, "{colour:?}");
    }
}

#[test]
fn a_method_looks_the_same_in_every_run() {
    let quickstart = ["LBG", "PQ", "RVQ", "Scalar", "Scalar of principal axes", "FSQ", "Gumbel-softmax"];
    let all = looks(&quickstart);
    assert!(all.iter().all(|look| *look < PALETTE.len()), "no colour is used twice: {all:?}");
    let mut reversed = quickstart;
    reversed.reverse();
    assert_eq!(looks(&reversed), all.iter().rev().copied().collect::<Vec<_>>(), "whatever the order");
    assert_eq!(looks(&["PQ"])[0], all[1], "and whatever else there is");
    for [one, two] in [["PQ [one]", "PQ [two]"], ["PQ, 1 thread", "PQ, 2 threads"], ["PQ, 1 thread, cuda", "PQ, cpu"]] {
        assert_eq!(looks(&[one, two]), [all[1], all[1] + PALETTE.len()], "the colour of a method: {one}, {two}");
    }
    assert_ne!(looks(&["PQ, 4 bits"])[0], all[1] + PALETTE.len());
}

#[test]
fn variants_of_a_method_have_its_colour() {
    let [pq, rvq] = looks(&["PQ", "RVQ"])[..] else { panic!("two looks") };
    let all = looks_of_methods(&[("PQ", "PQ, 1 thread"), ("RVQ", "RVQ, 1 thread"), ("PQ", "PQ, 2 threads")]);
    assert_eq!(all, [pq, rvq, pq + PALETTE.len()]);
}

#[test]
fn what_shares_a_colour_differs_in_marker_and_dashes() {
    let names: Vec<String> = (0..24).map(|i| format!("method {i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let looks = looks(&names);
    for (i, a) in looks.iter().enumerate() {
        for b in &looks[..i] {
            assert_ne!(a, b);
            if a % PALETTE.len() == b % PALETTE.len() {
                assert_ne!(shape(*a), shape(*b));
                let dashes = |look| dash(look).map(|d| (d.on, d.off));
                let rounds = (a / PALETTE.len()).abs_diff(b / PALETTE.len());
                assert!(dashes(*a) != dashes(*b) || rounds.is_multiple_of(3), "{a} {b}");
            }
        }
    }
}
