//! Groups methods into panels: by similar codebook size if possible, otherwise by similar rate, so that a panel has one
//! curve per series.

use crate::summary::Point;

/// Maximum number of panels in a figure; if there are more, evenly spaced ones are kept.
const MOST: usize = 8;

/// The content of a panel.
pub struct PointGroup<'a> {
    /// The property that its points share, in words.
    pub name: String,
    /// Number of codewords of its largest codebook; None if its points are grouped by rate.
    pub codewords: Option<f64>,
    /// The points.
    pub points: Vec<&'a Point>,
}

/// Points in groups.
pub struct PointGroups<'a> {
    /// The groups, by ascending size or rate.
    pub all: Vec<PointGroup<'a>>,
    /// Whether each series has at most one point per group. If not, curves are named after their points.
    pub apart: bool,
    /// Number of groups before some were left out.
    pub found: usize,
}

/// Groups points. Sizes are similar if they round to the same power of two (such as 240 and 256 codewords), rates if
/// they differ by less than a tenth.
pub fn grouped<'a>(points: &[&'a Point]) -> PointGroups<'a> {
    let size = |p: &Point| p.codebooks().map_or(0, |(codewords, _)| codewords.log2().round() as i64);
    // Several small codebooks are not comparable with a single one of the same size.
    let mut numbers = points.iter().map(|p| p.codebooks().map(|(_, number)| number));
    let number = numbers.next().flatten();
    let sized = number.is_some() && numbers.all(|n| n == number);
    let ways = [(true, split(points, size)), (false, by_rate(points)), (false, split(points, bits))];
    let mut ways = ways.into_iter().filter(|(by_size, _)| sized || !by_size);
    let first = ways.find(|(_, groups)| groups.iter().all(|group| one_per_series(group)));
    let told = first.is_some();
    let (by_size, chosen) = first.unwrap_or_else(|| (false, by_rate(points)));
    let found = chosen.len();
    let kept = evenly(found, MOST);
    let all = chosen.into_iter().enumerate().filter(|(i, _)| kept.contains(i)).map(|(_, group)| {
        let sizes = group.iter().filter_map(|p| p.codebooks()).map(|(codewords, _)| codewords);
        if by_size {
            PointGroup { name: range(sizes.clone(), "codeword"), codewords: sizes.reduce(f64::max), points: group }
        } else {
            PointGroup { name: range(group.iter().map(|p| p.bits as f64), "bit"), codewords: None, points: group }
        }
    });
    PointGroups { all: all.collect(), apart: told, found }
}

/// The rate, in bits per vector.
pub fn bits(point: &Point) -> i64 {
    point.bits as i64
}

/// Maximum ratio between the rates of a group: a method that rounds the number of codewords up has a slightly higher
/// rate.
const NEARLY: f64 = 1.09;

/// Groups points of nearly the same rate, by ascending rate.
pub fn by_rate<'a>(points: &[&'a Point]) -> Vec<Vec<&'a Point>> {
    let mut least = 0.0;
    let mut groups: Vec<Vec<&Point>> = Vec::new();
    for group in split(points, bits) {
        let rate = group.first().map_or(0.0, |p| p.bits as f64);
        match groups.last_mut().filter(|_| rate <= NEARLY * least) {
            Some(last) => last.extend(group),
            None => {
                least = rate;
                groups.push(group);
            }
        }
    }
    groups
}

/// Groups points with the same key, by ascending key.
pub fn split<'a>(points: &[&'a Point], key: impl Fn(&Point) -> i64) -> Vec<Vec<&'a Point>> {
    let mut groups: std::collections::BTreeMap<i64, Vec<&Point>> = std::collections::BTreeMap::new();
    for point in points {
        groups.entry(key(point)).or_default().push(point);
    }
    groups.into_values().collect()
}

fn one_per_series(group: &[&Point]) -> bool {
    let mut names: Vec<&str> = group.iter().map(|p| p.series.as_str()).collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair[0] != pair[1])
}

/// Evenly spaced indices, at most `most` of `count`, including the first and, if there are two, the last.
pub fn evenly(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        (0..count).collect()
    } else {
        (0..most).map(|i| i * (count - 1) / most.saturating_sub(1).max(1)).collect()
    }
}

/// One value, or the smallest and the largest, with their unit.
pub fn range(values: impl Iterator<Item = f64>, what: &str) -> String {
    let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
    let plural = if high == 1.0 { "" } else { "s" };
    if low < high { format!("{low}–{high} {what}{plural}") } else { format!("{high} {what}{plural}") }
}
