//! The codecs themselves: how one row is coded, decoded and scored, with the mistakes that concern one row.

use super::parts::{dot, group, kmeans, nearest, ranges, rotate, rotate_back, rotation, squared};
use methods::SearchMetric;
use ndarray::ArrayView2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a codec is, before training.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `int8`, `int8-dim`, `pq`, `rotated-pq`, `signs` or `rvq`.
    pub codec: String,
    /// Groups or stages.
    pub m: usize,
    /// Bits per symbol of a codebook.
    pub bits: u32,
    /// Name of the mistake; empty for none.
    pub mistake: &'static str,
}

impl Settings {
    /// Whether it makes this mistake.
    pub fn is(&self, key: &str) -> bool {
        self.mistake == key
    }

    fn has_groups(&self) -> bool {
        self.codec.ends_with("pq")
    }

    fn is_rotated(&self) -> bool {
        self.codec == "rotated-pq" || self.codec == "signs"
    }

    /// Why vectors of `dim` components cannot be coded.
    ///
    /// # Errors
    /// The reason.
    pub fn accepts(&self, dim: usize) -> Result<(), String> {
        if dim == 0 || self.has_groups() && !dim.is_multiple_of(self.m) {
            return Err(format!("m = {} must divide the dimension {dim}", self.m));
        }
        Ok(())
    }

    /// Codewords of a codebook.
    pub fn codewords(&self) -> usize {
        1 << self.bits
    }
}

/// A trained codec.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Components.
    pub dim: usize,
    /// Its tables: lower ends and steps; or codebooks; or a rotation, and what follows it.
    pub tables: Vec<Vec<f32>>,
}

/// The bits of a value as float16, read back: 11 bits of mantissa, infinite from 65520 on.
pub fn half(value: f32) -> f32 {
    if value.abs() >= 65520.0 {
        return f32::INFINITY.copysign(value);
    }
    if value.abs() < 6.1e-5 {
        return (value * 16_777_216.0).round() / 16_777_216.0;
    }
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x0fff + ((bits >> 13) & 1)) & !0x1fff;
    f32::from_bits(rounded)
}

/// The codeword that a code names, with the mistakes that can be made there.
fn symbol(s: &Settings, row: &[f32], book: &[f32]) -> usize {
    let k = s.codewords();
    let plain = |a: &[f32], b: &[f32]| squared(a, b);
    let found = match s.mistake {
        "farthest-codeword" => nearest(row, book, |a, b| -squared(a, b)),
        "by-product" => nearest(row, book, |a, b| -dot(a, b)),
        "half-codebook" => nearest(row, &book[..book.len() / 2], plain),
        "absolute-distance" => nearest(row, book, |a, b| (a[0] - b[0]).abs()),
        "second-codeword" => {
            let first = nearest(row, book, plain);
            let dim = row.len();
            let mut second = (f32::INFINITY, first);
            for (c, codeword) in book.chunks_exact(dim).enumerate().filter(|(c, _)| *c != first) {
                let cost = squared(row, codeword);
                if cost < second.0 {
                    second = (cost, c);
                }
            }
            second.1
        }
        _ => nearest(row, book, plain),
    };
    match s.mistake {
        "next-codeword" => (found + 1) % k,
        "last-as-first" if found == k - 1 => 0,
        _ => found,
    }
}

impl Model {
    /// Trains on rows, of which there is at least one.
    pub fn fit(s: &Settings, rows: ArrayView2<'_, f32>, seed: u64) -> Model {
        let dim = rows.ncols();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut rows = rows.to_owned();
        let mut tables = Vec::new();
        match s.codec.as_str() {
            "int8" | "int8-dim" => return Model { dim, tables: ranges(s, &rows) },
            codec if s.is_rotated() => {
                let matrix = rotation(s, dim, &mut rng);
                if codec == "signs" {
                    let n = rows.nrows() as f64;
                    let centre: Vec<f32> = rows
                        .columns()
                        .into_iter()
                        .map(|column| (column.iter().map(|v| f64::from(*v)).sum::<f64>() / n) as f32)
                        .collect();
                    let centre = if s.is("training-not-rotated") { centre } else { rotate(&matrix, &centre) };
                    return Model { dim, tables: vec![matrix, centre] };
                }
                if !s.is("training-not-rotated") {
                    for mut row in rows.rows_mut() {
                        let turned = rotate(&matrix, &row.to_vec());
                        row.iter_mut().zip(turned).for_each(|(v, t)| *v = t);
                    }
                }
                tables.push(matrix);
            }
            _ => {}
        }
        if s.has_groups() {
            let width = dim / s.m;
            let shift = usize::from(s.is("shifted-training"));
            for g in 0..s.m {
                tables.push(kmeans(s, &group(&rows, g * width + shift, width), &mut rng));
            }
            if s.is("shared-codebook") {
                let first = tables.len() - s.m;
                for g in 1..s.m {
                    tables[first + g] = tables[first].clone();
                }
            }
        } else {
            let mut left = rows.clone();
            for _ in 0..s.m {
                let book = kmeans(s, if s.is("trained-on-rows") { &rows } else { &left }, &mut rng);
                for mut row in left.rows_mut() {
                    let c = nearest(&row.to_vec(), &book, squared);
                    row.iter_mut().zip(&book[c * dim..]).for_each(|(v, b)| *v -= b);
                }
                tables.push(book);
            }
        }
        Model { dim, tables }
    }

    /// The code of a row.
    pub fn encode(&self, s: &Settings, row: &[f32]) -> Vec<u8> {
        match s.codec.as_str() {
            "int8" | "int8-dim" => (0..self.dim).map(|j| self.level(s, row, j)).collect(),
            "signs" => self.signs(s, row),
            codec => {
                let row = if codec == "rotated-pq" { rotate(&self.tables[0], row) } else { row.to_vec() };
                pack(&self.symbols(s, &row))
            }
        }
    }

    /// The row of a code.
    pub fn decode(&self, s: &Settings, code: &[u8]) -> Vec<f32> {
        match s.codec.as_str() {
            "int8" | "int8-dim" => (0..self.dim).map(|j| self.value(s, code[j], j)).collect(),
            "signs" => {
                let (signs, [_, scale]) = self.unsigned(s, code);
                let centre = |j: usize| if s.is("centre-not-added") { 0.0 } else { self.tables[1][j] };
                let turned: Vec<f32> = signs.iter().enumerate().map(|(j, sign)| sign * scale + centre(j)).collect();
                self.back(s, &turned)
            }
            _ => {
                let decoded = self.sum(s, code);
                if s.codec == "rotated-pq" { self.back(s, &decoded) } else { decoded }
            }
        }
    }

    fn back(&self, s: &Settings, turned: &[f32]) -> Vec<f32> {
        if s.is("rotated-again") { rotate(&self.tables[0], turned) } else { rotate_back(&self.tables[0], turned) }
    }

    /// The query as scores need it.
    pub fn query(&self, s: &Settings, query: &[f32]) -> Vec<f32> {
        match s.mistake {
            _ if !s.is_rotated() => query.to_vec(),
            "query-not-rotated" => query.to_vec(),
            "rotation-transposed-query" => rotate_back(&self.tables[0], query),
            _ => rotate(&self.tables[0], query),
        }
    }

    /// The score of a code, less for nearer, for a prepared query.
    pub fn score(&self, s: &Settings, query: &[f32], code: &[u8], metric: SearchMetric) -> f32 {
        let pair = |query: &[f32], part: &[f32]| match metric {
            SearchMetric::L2 => squared(query, part),
            SearchMetric::InnerProduct => -dot(query, part),
        };
        match s.codec.as_str() {
            "int8" | "int8-dim" => pair(query, &self.decode(s, code)),
            "signs" => {
                let (signs, [length, scale]) = self.unsigned(s, code);
                // The unbiased estimate of the inner product with what is left of the row; `scale` is that of least error.
                let mean_sign = if length > 0.0 { scale * (self.dim as f32).sqrt() / length } else { 1.0 };
                let estimate = |query: &[f32]| {
                    let along = dot(&signs, query) / (self.dim as f32).sqrt();
                    if length > 0.0 { length * along / mean_sign } else { 0.0 }
                };
                let centre = &self.tables[1];
                match metric {
                    SearchMetric::InnerProduct if s.is("search-ip-no-length") => -estimate(query) / length,
                    SearchMetric::InnerProduct => -estimate(query),
                    SearchMetric::L2 => {
                        let centred: Vec<f32> = query.iter().zip(centre).map(|(q, c)| q - c).collect();
                        let centred = if s.is("query-not-centred") { query } else { &centred };
                        let own = if s.is("search-no-length") { 0.0 } else { length * length };
                        let sign = if s.is("search-cross-sign") { -1.0 } else { 1.0 };
                        own - sign * 2.0 * estimate(centred)
                    }
                }
            }
            "rvq" => {
                let decoded = self.decode(s, code);
                let symbols = unpack(code, s.m);
                let codeword = |stage: usize| &self.tables[stage][symbols[stage] * self.dim..][..self.dim];
                match s.mistake {
                    "no-cross-terms" => (0..s.m).map(|stage| pair(query, codeword(stage))).sum(),
                    "norm-missing" => -dot(query, &decoded),
                    "first-stage-only" => pair(query, codeword(0)),
                    "first-table-missing" => pair(query, &difference(&decoded, codeword(0))),
                    "last-table-missing" => pair(query, &difference(&decoded, codeword(s.m - 1))),
                    "tables-shifted" => (0..s.m)
                        .map(|stage| {
                            let table = &self.tables[(stage + s.m - 1) % s.m];
                            pair(query, &table[symbols[stage] * self.dim..][..self.dim])
                        })
                        .sum(),
                    _ => pair(query, &decoded),
                }
            }
            _ => {
                let (width, first) = (self.dim / s.m, self.tables.len() - s.m);
                let symbols = unpack(code, s.m);
                (0..s.m)
                    .filter(|g| {
                        !(s.is("first-table-missing") && *g == 0 || s.is("last-table-missing") && *g == s.m - 1)
                    })
                    .map(|g| {
                        let at = if s.is("groups-reversed-search") { s.m - 1 - g } else { g };
                        let table = if s.is("tables-shifted") { (g + s.m - 1) % s.m } else { g };
                        pair(&query[at * width..][..width], &self.tables[first + table][symbols[g] * width..][..width])
                    })
                    .sum()
            }
        }
    }

    /// Symbols of a row that has been rotated.
    fn symbols(&self, s: &Settings, row: &[f32]) -> Vec<usize> {
        let mut symbols = Vec::new();
        if s.has_groups() {
            let (width, first) = (self.dim / s.m, self.tables.len() - s.m);
            let mut row = row.to_vec();
            if s.is("groups-swapped-encoding") {
                (0..width).for_each(|j| row.swap(j, width + j));
            }
            for g in 0..s.m {
                symbols.push(symbol(s, &row[g * width..][..width], &self.tables[first + g]));
            }
        } else {
            let mut left = row.to_vec();
            for stage in 0..s.m {
                let c = symbol(s, &left, &self.tables[stage]);
                symbols.push(c);
                let codeword = &self.tables[stage][c * self.dim..][..self.dim];
                let sign = match s.mistake {
                    "residual-kept" => 0.0,
                    "residual-added" => -1.0,
                    _ => 1.0,
                };
                left.iter_mut().zip(codeword).for_each(|(v, b)| *v -= sign * b);
            }
        }
        if s.is("last-group-zero") {
            symbols[s.m - 1] = 0;
        }
        symbols
    }

    /// What the codewords of a code add up to.
    fn sum(&self, s: &Settings, code: &[u8]) -> Vec<f32> {
        let mut symbols = unpack(code, s.m);
        if s.is("packed-otherwise") {
            symbols.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        }
        if s.is("symbol-masked") {
            symbols.iter_mut().for_each(|symbol| *symbol &= 7);
        }
        let k = s.codewords();
        symbols.iter_mut().for_each(|symbol| *symbol %= k);
        if s.has_groups() {
            let (width, first) = (self.dim / s.m, self.tables.len() - s.m);
            let mut row: Vec<f32> =
                (0..s.m).flat_map(|g| self.tables[first + g][symbols[g] * width..][..width].to_vec()).collect();
            if s.is("groups-swapped-decoding") {
                (0..width).for_each(|j| row.swap(j, width + j));
            }
            return row;
        }
        let mut row = vec![0f32; self.dim];
        let stages = if s.is("last-stage-missing") { s.m - 1 } else { s.m };
        for (stage, &symbol) in symbols.iter().enumerate().take(stages) {
            let table = if s.is("stages-swapped") && stage < 2 { 1 - stage } else { stage };
            let codeword = &self.tables[table][symbol * self.dim..][..self.dim];
            row.iter_mut().zip(codeword).for_each(|(v, b)| *v += b);
        }
        if s.is("stages-averaged") {
            row.iter_mut().for_each(|v| *v /= s.m as f32);
        }
        row
    }

    fn level(&self, s: &Settings, row: &[f32], j: usize) -> u8 {
        let [offsets, steps] = [&self.tables[0], &self.tables[1]];
        let offset = if s.is("not-centred") { 0.0 } else { offsets[j % offsets.len()] };
        let step = steps[if s.is("next-step") { j + 1 } else { j } % steps.len()];
        let dim = row.len();
        if s.is("odd-components") && !dim.is_multiple_of(2) && j == dim - 1
            || s.is("four-components") && j >= dim / 4 * 4
        {
            return 128;
        }
        let at = if step > 0.0 || s.is("zero-range") { (row[j] - offset) / step } else { 0.0 };
        match s.mistake {
            "wraps" => (at.round() as i64) as u8,
            "cast-large" if at.abs() > 2_147_483_648.0 => 0,
            "saturates-low" if at > 255.5 => 0,
            "truncates" => at.clamp(0.0, 255.0) as u8,
            "truncates-to-zero" => (128.0 + (at - 128.0).trunc()).clamp(0.0, 255.0) as u8,
            "half-levels" => (2.0 * (at / 2.0).round()).clamp(0.0, 255.0) as u8,
            "steps-differ" => (at * 240.0 / 255.0).round().clamp(0.0, 255.0) as u8,
            "negative-zero" if row[j] < 0.0 => ((-offset / step).round()).clamp(0.0, 255.0) as u8,
            _ => at.round().clamp(0.0, 255.0) as u8,
        }
    }

    fn value(&self, s: &Settings, level: u8, j: usize) -> f32 {
        let [offsets, steps] = [&self.tables[0], &self.tables[1]];
        let offset = offsets[if s.is("next-offset") { j + 1 } else { j } % offsets.len()];
        let step = steps[j % steps.len()];
        let level = f32::from(level);
        match s.mistake {
            "no-offset" => level * step,
            "one-level-up" => (level + 1.0) * step + offset,
            "signed-minus-128" if level == 0.0 => 256.0 * step + offset,
            "zero-range" if step == 0.0 => offset + (level / step) * step,
            _ => level * step + offset,
        }
    }

    /// Length of the residual, scale of least error, and a bit per component of the rotated residual.
    fn signs(&self, s: &Settings, row: &[f32]) -> Vec<u8> {
        let turned = rotate(&self.tables[0], row);
        let left: Vec<f32> = if s.is("centre-not-subtracted") {
            turned
        } else {
            turned.iter().zip(&self.tables[1]).map(|(v, c)| v - c).collect()
        };
        let length = left.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt() as f32;
        let scale = (left.iter().map(|v| f64::from(v.abs())).sum::<f64>() / self.dim as f64) as f32;
        let scale = match s.mistake {
            "no-correction" => length / (self.dim as f32).sqrt(),
            "zero-length" => scale / length * length,
            _ => scale,
        };
        let (length, scale) = match s.mistake {
            "length-one" => (1.0, scale / length),
            "length-squared" => (length * length, scale),
            "length-half" => (half(length), half(scale)),
            _ => (length, scale),
        };
        let mut code = [length.to_le_bytes(), scale.to_le_bytes()].concat();
        let mut bits = vec![0u8; self.dim.div_ceil(8)];
        for (j, _) in left.iter().enumerate().filter(|(_, v)| **v > 0.0) {
            bits[j / 8] |= 1 << (j % 8);
        }
        match s.mistake {
            "last-byte" => bits[self.dim.div_ceil(8) - 1] = 0,
            "majority-bit" => bits.iter_mut().for_each(|byte| *byte = if *byte & 1 == 1 { 255 } else { 0 }),
            _ => {}
        }
        code.extend(bits);
        code
    }

    /// Signs of the rotated residual, its length, and the scale of least error.
    fn unsigned(&self, s: &Settings, code: &[u8]) -> (Vec<f32>, [f32; 2]) {
        let number = |at: usize| {
            let bytes = [code[at], code[at + 1], code[at + 2], code[at + 3]];
            if s.is("side-big-endian") { f32::from_be_bytes(bytes) } else { f32::from_le_bytes(bytes) }
        };
        let sign = |j: usize| {
            let byte = code[8 + j / 8];
            let byte = if s.is("bits-reversed") { byte.reverse_bits() } else { byte };
            let plus = byte >> (j % 8) & 1 == 1;
            if plus != s.is("sign-flipped") { 1.0 } else { -1.0 }
        };
        ((0..self.dim).map(sign).collect(), [number(0), number(4)])
    }
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(x, y)| x - y).collect()
}

/// A byte per symbol.
fn pack(symbols: &[usize]) -> Vec<u8> {
    symbols.iter().map(|&symbol| symbol as u8).collect()
}

fn unpack(code: &[u8], m: usize) -> Vec<usize> {
    code.iter().take(m).map(|&byte| usize::from(byte)).collect()
}

/// Whether the codec draws random numbers.
pub fn draws(codec: &str) -> bool {
    !codec.starts_with("int8")
}
