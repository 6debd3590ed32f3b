//! Pictures as each method reconstructs them, beside the original.

use crate::number::significant;
use crate::summary::{DatasetSummary, Point};
use crate::values::Series;
use crate::{Artifact, file_name};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use record::metric::{BITS_PER_PIXEL, PSNR_DB};
use record::{PictureFile, Results};
use std::collections::HashMap;

/// A picture of a dataset with all its reconstructions.
pub(crate) struct PictureRow<'a> {
    /// Name of the dataset, as in the report.
    pub dataset: &'a str,
    /// Name of the picture.
    name: &'a str,
    /// The original.
    original: Shown<'a>,
    /// The reconstructions, by ascending rate.
    decoded: Vec<Shown<'a>>,
}

/// One picture on the page.
struct Shown<'a> {
    /// The label of the method, or that this is the original.
    label: &'a str,
    /// Rate of the method; None for the original.
    bits: usize,
    bits_per_pixel: Option<f64>,
    /// Peak signal-to-noise ratio of the whole picture.
    quality: Option<PictureQuality>,
    png: &'a [u8],
    /// File name in a report that links to it.
    file: String,
}

#[derive(Clone, Copy)]
enum PictureQuality {
    PsnrDb(f64),
    /// All values are equal.
    Exact,
}

/// Identifies a picture: index of the run, dataset, trial (None for the original), and name of the picture.
type PictureKey<'a> = (usize, &'a str, Option<&'a str>, &'a str);

/// All pictures of the runs, by dataset and in the order of the pictures.
pub(crate) fn gather<'a>(runs: &'a [Results], datasets: &'a [DatasetSummary]) -> Vec<PictureRow<'a>> {
    let mut files: HashMap<PictureKey<'a>, &PictureFile> = HashMap::new();
    for (i, run) in runs.iter().enumerate() {
        files.extend(run.pictures.iter().map(|p| ((i, &p.dataset[..], p.trial.as_deref(), &p.name[..]), p)));
    }
    let mut rows: Vec<PictureRow<'a>> = Vec::new();
    for dataset in datasets {
        let first = rows.len();
        for (i, run) in runs.iter().enumerate() {
            // A dataset may have another name in another run.
            let same = run.info.datasets.iter().filter(|facts| facts.fingerprint == dataset.facts.fingerprint);
            for facts in same {
                let originals = run.pictures.iter().filter(|p| p.trial.is_none() && p.dataset == facts.name);
                for original in originals {
                    let made = dataset.points.iter().filter_map(|point| {
                        let file =
                            |id: &String| files.get(&(i, &facts.name[..], Some(&id[..]), &original.name[..])).copied();
                        let (at, file) = point.trials.iter().enumerate().find_map(|(at, id)| Some((at, file(id)?)))?;
                        Some(shown(point, at, file))
                    });
                    let made: Vec<Shown<'a>> = made.collect();
                    // Runs that show the same crop of a picture share its row.
                    let known =
                        rows[first..].iter_mut().find(|r| r.name == original.name && r.original.png == original.png);
                    match known {
                        Some(row) => row.decoded.extend(made),
                        None if made.is_empty() => {}
                        None => rows.push(PictureRow {
                            dataset: &dataset.name,
                            name: &original.name,
                            original: Shown {
                                label: "original",
                                bits: 0,
                                bits_per_pixel: None,
                                quality: None,
                                png: &original.png,
                                file: format!("{}-{}-original", facts.name, original.name),
                            },
                            decoded: made,
                        }),
                    }
                }
            }
        }
    }
    for (number, row) in rows.iter_mut().enumerate() {
        row.decoded.sort_by(|a, b| (a.bits, a.label).cmp(&(b.bits, b.label)));
        // Equal trials of several runs share one picture.
        row.decoded.dedup_by(|a, b| (a.label, &a.file) == (b.label, &b.file));
        for picture in row.decoded.iter_mut().chain([&mut row.original]) {
            // The number keeps names distinct that the file system would map to the same name.
            picture.file = format!("pictures/{:02}-{}.png", number + 1, file_name(&picture.file));
        }
    }
    rows
}

/// The picture of one trial of a point, with its measured quality.
fn shown<'a>(point: &'a Point, trial: usize, file: &'a PictureFile) -> Shown<'a> {
    let first = |series: &Series| series.values.first().copied();
    let ratios = point.values(trial, &PSNR_DB);
    let own =
        ratios.iter().find(|v| v.stage.as_deref() == Some(&file.name[..])).and_then(first).map(PictureQuality::PsnrDb);
    // A picture without errors has no finite ratio. If there are very many pictures, none has a value of its own, and
    // then its quality is unknown.
    let exact = ratios.is_empty() || ratios.iter().any(|v| v.stage.is_some());
    let rate = point.values(trial, &BITS_PER_PIXEL).first().and_then(first);
    Shown {
        label: &point.label,
        bits: point.bits,
        bits_per_pixel: rate,
        quality: own.or_else(|| (exact && rate.is_some()).then_some(PictureQuality::Exact)),
        png: &file.png,
        file: format!("{}-{}-{}", file.dataset, file.name, file.trial.as_deref().unwrap_or("original")),
    }
}

impl Shown<'_> {
    fn rate(&self) -> Option<String> {
        self.bits_per_pixel.map(|bits| significant(bits, 3))
    }

    fn quality(&self) -> Option<String> {
        self.quality.map(|quality| match quality {
            PictureQuality::PsnrDb(value) => format!("{value:.2} dB"),
            PictureQuality::Exact => "exact".to_owned(),
        })
    }

    /// Rate and quality as text.
    fn facts(&self) -> String {
        let rate = self.rate().map(|rate| format!("{rate} bits/pixel"));
        [rate, self.quality()].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Width and height in pixels, from the header.
    fn size(&self) -> Option<(u32, u32)> {
        let number = |at: usize| Some(u32::from_be_bytes(self.png.get(at..at + 4)?.try_into().ok()?));
        Some((number(16)?, number(20)?))
    }
}

/// Bytes of the pictures as they stand in a page.
pub(crate) fn bytes(rows: &[PictureRow<'_>]) -> usize {
    rows.iter()
        .flat_map(|row| std::iter::once(&row.original).chain(&row.decoded))
        .map(|shown| shown.png.len() * 4 / 3)
        .sum()
}

/// The introduction of the pictures on every page.
const HINT: &str = "The middle of base pictures, as they are and as each method gives them back with the first seed, by rising \
                    rate. PSNR is that of the whole picture, of values rounded to 8 bits.";

/// The pictures of a dataset as HTML, embedded in the page.
pub(crate) fn html(rows: &[PictureRow<'_>], dataset: &str) -> Markup {
    let rows: Vec<&PictureRow<'_>> = rows.iter().filter(|row| row.dataset == dataset).collect();
    html! {
        @if !rows.is_empty() {
            p.hint { (HINT) }
            @for row in rows {
                h3 { (row.name) }
                div.pictures {
                    @for picture in std::iter::once(&row.original).chain(&row.decoded) {
                        figure {
                            @let (width, height) = picture.size().unzip();
                            img width=[width] height=[height] alt=(alt(row, picture))
                                src=(format!("data:image/png;base64,{}", STANDARD.encode(picture.png)));
                            figcaption { strong { (picture.label) } br; (picture.facts()) }
                        }
                    }
                }
            }
        }
    }
}

fn alt(row: &PictureRow<'_>, picture: &Shown<'_>) -> String {
    let facts = picture.facts();
    let facts = if facts.is_empty() { facts } else { format!(", {facts}") };
    format!("{}: {}{facts}", row.name, picture.label)
}

/// The pictures of a dataset as Markdown, with links to their files.
pub(crate) fn markdown(rows: &[PictureRow<'_>], dataset: &str, escape: fn(&str) -> String) -> String {
    let mut out = String::new();
    for row in rows.iter().filter(|row| row.dataset == dataset) {
        if out.is_empty() {
            out += &format!("\n{HINT}\n");
        }
        out += &format!("\n### {}\n\n| | bits/pixel | PSNR | picture |\n|:--|--:|--:|:--|\n", escape(row.name));
        for picture in std::iter::once(&row.original).chain(&row.decoded) {
            let [rate, quality] =
                [picture.rate(), picture.quality()].map(|cell| cell.unwrap_or_else(|| "–".to_owned()));
            let (label, alt) = (escape(picture.label), escape(&alt(row, picture)).replace(']', "\\]"));
            out += &format!("| {label} | {rate} | {quality} | ![{alt}]({}) |\n", picture.file);
        }
    }
    out
}

/// The files that the Markdown links to.
pub(crate) fn artifacts(rows: &[PictureRow<'_>]) -> Vec<Artifact> {
    let all = rows.iter().flat_map(|row| std::iter::once(&row.original).chain(&row.decoded));
    all.map(|picture| Artifact { path: picture.file.clone(), bytes: picture.png.to_vec() }).collect()
}
