//! A codec at work on batches: what it holds between requests, with the mistakes that concern batches, searches and files.

use super::codec::{Model, Settings, draws, half};
use super::mutations::{MUTATIONS, numbered};
use methods::SearchMetric;
use ndarray::{Array2, ArrayView2, Axis};
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};

/// Trainings of this program so far: the seed of a mistake.
static TRAININGS: AtomicU64 = AtomicU64::new(1000);

/// A codec with its state.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    model: Option<Model>,
    /// The model of the first training, which mistakes keep.
    first: Option<Model>,
    metric: SearchMetric,
    held: Option<Array2<u8>>,
    // What mistakes keep between requests.
    last_rows: Option<Array2<f32>>,
    last_codes: Option<Array2<u8>>,
    last_decoded: Option<Array2<f32>>,
    last_query: Option<Vec<f32>>,
    first_k: Option<usize>,
    heap: Vec<(f32, i64)>,
}

fn number(params: &Value, key: &str, default: u64, most: u64) -> Result<u64, String> {
    match params.get(key) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .filter(|n| (1..=most).contains(n))
            .ok_or_else(|| format!("`{key}` must be a number from 1 to {most}")),
    }
}

impl Engine {
    /// Reads parameters.
    ///
    /// # Errors
    /// An unknown key or a wrong value.
    pub fn new(params: &Value) -> Result<Engine, String> {
        const KEYS: [&str; 5] = ["codec", "m", "bits", "stages", "mutation"];
        let object = params.as_object().ok_or("params must be an object")?;
        if let Some(key) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("unknown parameter `{key}`"));
        }
        let codec = params["codec"].as_str().unwrap_or_default().to_owned();
        if !["int8", "int8-dim", "pq", "rotated-pq", "signs", "rvq"].contains(&&*codec) {
            return Err(format!("unknown codec `{codec}`"));
        }
        let m = if codec == "rvq" { number(params, "stages", 3, 64)? } else { number(params, "m", 4, 1024)? };
        let mutation = match params.get("mutation").filter(|value| !value.is_null()) {
            None => "",
            Some(_) => {
                let number = number(params, "mutation", 1, MUTATIONS.len() as u64)?;
                numbered(number as usize).map_or("", |mutation| mutation.key)
            }
        };
        let bits = number(params, "bits", 4, 8)? as u32;
        let settings = Settings { codec, m: m as usize, bits, mistake: mutation };
        Ok(Engine {
            settings,
            model: None,
            first: None,
            metric: SearchMetric::L2,
            held: None,
            last_rows: None,
            last_codes: None,
            last_decoded: None,
            last_query: None,
            first_k: None,
            heap: Vec::new(),
        })
    }

    /// Why vectors of `dim` components cannot be coded.
    ///
    /// # Errors
    /// The reason.
    pub fn accepts(&self, dim: usize) -> Result<(), String> {
        self.settings.accepts(dim)
    }

    /// Trains.
    ///
    /// # Errors
    /// No rows, or a dimension that does not fit.
    pub fn fit(&mut self, rows: ArrayView2<'_, f32>, seed: u64, metric: SearchMetric) -> Result<(), String> {
        let s = &self.settings;
        s.accepts(rows.ncols())?;
        if rows.nrows() == 0 {
            return Err("there are no rows".into());
        }
        let mut rows = rows.to_owned();
        let n = rows.nrows();
        let seed =
            if s.is("seed-ignored") && draws(&s.codec) { TRAININGS.fetch_add(1, Ordering::Relaxed) } else { seed };
        match s.mistake {
            "fit-first-rows" => rows = rows.slice(ndarray::s![..n.min(64), ..]).to_owned(),
            "fit-first-cluster" => rows = rows.slice(ndarray::s![..n.div_ceil(10), ..]).to_owned(),
            "fit-skips-first-component" => rows.column_mut(0).fill(0.0),
            "fit-half" => rows.mapv_inplace(half),
            _ => {}
        }
        if s.is("fit-scales") {
            let scale = (rows.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / rows.len() as f64).sqrt() as f32;
            rows /= scale.max(1e-30);
        }
        let mut model = Model::fit(s, rows.view(), seed);
        if s.is("fit-one-row") && n == 1 {
            model.tables.iter_mut().flatten().for_each(|v| *v *= f32::NAN);
        }
        let kept = match (s.mistake, &self.first) {
            ("refit-keeps" | "refit-keeps-same-dim", Some(first)) if first.dim == model.dim => Some(first.clone()),
            ("refit-keeps", Some(first)) => Some(first.clone()),
            _ => None,
        };
        let model = kept.unwrap_or(model);
        self.first.get_or_insert_with(|| model.clone());
        self.model = Some(model);
        self.metric = metric;
        self.held = None;
        self.heap.clear();
        Ok(())
    }

    fn model(&self) -> Result<&Model, String> {
        self.model.as_ref().ok_or_else(|| "there is no model yet: `fit` or `restore` comes first".to_owned())
    }

    fn fits(&self, dim: usize) -> Result<&Model, String> {
        let model = self.model()?;
        if model.dim != dim {
            return Err(format!("vectors have {dim} components; the model was trained on {}", model.dim));
        }
        Ok(model)
    }

    /// One code per row.
    ///
    /// # Errors
    /// There is no model, or it has another dimension.
    pub fn encode(&mut self, rows: ArrayView2<'_, f32>) -> Result<Array2<u8>, String> {
        let model = self.fits(rows.ncols())?;
        let s = &self.settings;
        let n = rows.nrows();
        let mut seen = rows.to_owned();
        match s.mistake {
            "encode-batch-mean" if n > 1 => {
                let mean = seen.mean_axis(Axis(0)).unwrap_or_default();
                seen -= &mean;
            }
            "encode-batch-scale" => {
                let most = seen.iter().fold(0f32, |a, v| a.max(v.abs()));
                if most > 0.0 {
                    seen *= 3.5 / most;
                }
            }
            "encode-half" => seen.mapv_inplace(half),
            "encode-after-decode" => {
                if let Some(last) = self.last_decoded.as_ref().filter(|last| last.ncols() == seen.ncols() && n > 0) {
                    let sum = &seen.row(0) + &last.row(0);
                    seen.row_mut(0).assign(&sum);
                }
            }
            _ => {}
        }
        let coded: Vec<Vec<u8>> = seen.outer_iter().map(|row| model.encode(s, &row.to_vec())).collect();
        let size = coded.first().map_or(1, Vec::len);
        let mut codes = Array2::from_shape_vec((n, size), coded.into_iter().flatten().collect())
            .map_err(|error| error.to_string())?;
        let first = codes.slice(ndarray::s![..n.min(1), ..]).to_owned();
        match s.mistake {
            "encode-tail-8" => codes.slice_mut(ndarray::s![n / 8 * 8.., ..]).fill(0),
            "encode-tail-32" => codes.slice_mut(ndarray::s![n / 32 * 32.., ..]).fill(0),
            "encode-odd" if n % 2 == 1 => codes.row_mut(n - 1).assign(&first.row(0)),
            "encode-skips-last" if n > 1 => codes.row_mut(n - 1).fill(0),
            "encode-starts-late" if n > 1 => {
                let second = codes.row(1).to_owned();
                codes.row_mut(0).assign(&second);
            }
            "encode-pairs" if n >= 1000 => {
                for i in (0..n / 2 * 2).step_by(2) {
                    let (a, b) = (codes.row(i).to_owned(), codes.row(i + 1).to_owned());
                    codes.row_mut(i).assign(&b);
                    codes.row_mut(i + 1).assign(&a);
                }
            }
            "encode-interleaved" => {
                let columns: Vec<u8> = codes.t().iter().copied().collect();
                codes = Array2::from_shape_vec((n, size), columns).map_err(|error| error.to_string())?;
            }
            "encode-row-number" => {
                for i in 513..n {
                    codes[(i, size - 1)] = codes[(i, size - 1)].wrapping_add((i % 16) as u8) % 16;
                }
            }
            "encode-cached" => {
                if let Some(last) = self.last_codes.as_ref().filter(|last| last.dim() == codes.dim()) {
                    codes = last.clone();
                }
            }
            _ => {}
        }
        if self.settings.is("encode-drifts")
            && let Some(model) = &mut self.model
        {
            model.tables.iter_mut().flatten().for_each(|v| *v *= 1.01);
        }
        self.last_rows = Some(rows.to_owned());
        self.last_codes = Some(codes.clone());
        Ok(codes)
    }

    /// One row per code.
    ///
    /// # Errors
    /// There is no model, or its codes have another length.
    pub fn decode(&mut self, codes: ArrayView2<'_, u8>) -> Result<Array2<f32>, String> {
        let s = &self.settings;
        let model = match (&self.first, s.mistake) {
            (Some(first), "refit-decodes-old") if Some(first.dim) == self.model.as_ref().map(|m| m.dim) => first,
            _ => self.model()?,
        };
        let size = model.encode(s, &vec![0.0; model.dim]).len();
        if codes.ncols() != size {
            return Err(format!("codes have {} bytes; this model writes {size}", codes.ncols()));
        }
        let (n, dim) = (codes.nrows(), model.dim);
        let mut rows = Array2::zeros((n, dim));
        for i in 0..n {
            let of = if s.is("decode-next") { (i + 1) % n } else { i };
            let row = model.decode(s, &codes.row(of).to_vec());
            rows.row_mut(i).iter_mut().zip(row).for_each(|(v, r)| *v = r);
        }
        match s.mistake {
            "decode-reversed" if n > 1000 => rows.invert_axis(Axis(0)),
            "decode-skips-last" if n > 0 => rows.row_mut(n - 1).fill(0.0),
            "decode-tail-8" => rows.slice_mut(ndarray::s![n / 8 * 8.., ..]).fill(0.0),
            "decode-last-component" => rows.column_mut(dim - 1).fill(0.0),
            "decode-half" => rows.mapv_inplace(half),
            "decode-big-endian" => rows.mapv_inplace(|v| f32::from_bits(v.to_bits().swap_bytes())),
            "decode-cheats" => {
                if let Some(last) = self.last_rows.as_ref().filter(|last| last.dim() == rows.dim()) {
                    rows = last.clone();
                }
            }
            "decode-cached" => {
                if let Some(last) = self.last_decoded.as_ref().filter(|last| last.dim() == rows.dim()) {
                    rows = last.clone();
                }
            }
            "decode-adds" => {
                if let Some(last) = self.last_decoded.as_ref().filter(|last| last.dim() == rows.dim()) {
                    rows += last;
                }
            }
            _ => {}
        }
        let rows = rows.as_standard_layout().into_owned();
        self.last_decoded = Some(rows.clone());
        Ok(rows)
    }

    /// Takes codes to search.
    pub fn hold(&mut self, codes: ArrayView2<'_, u8>) {
        let before = self.held.take().filter(|held| held.ncols() == codes.ncols());
        self.held = Some(match (self.settings.mistake, before) {
            // The same codes again are no new ones.
            ("search-appends", Some(held)) if held.view() != codes => {
                ndarray::concatenate![Axis(0), held, codes]
            }
            ("search-keeps-longer", Some(mut held)) if held.nrows() > codes.nrows() => {
                held.slice_mut(ndarray::s![..codes.nrows(), ..]).assign(&codes);
                held
            }
            _ => codes.to_owned(),
        });
    }

    /// The `k` nearest codes of each query, ties by number, then -1.
    ///
    /// # Errors
    /// There is no model or there are no codes.
    pub fn search(&mut self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Array2<i64>, String> {
        let mut heap = std::mem::take(&mut self.heap);
        let model = self.fits(queries.ncols())?;
        let s = &self.settings;
        let held = match (s.mistake, &self.last_codes) {
            ("search-last-encoded", Some(last)) => last,
            _ => self.held.as_ref().ok_or("there are no codes to search")?,
        };
        let metric = match (s.mistake, self.metric) {
            ("search-ip-is-l2", _) => SearchMetric::L2,
            ("search-l2-is-ip", _) => SearchMetric::InnerProduct,
            (_, metric) => metric,
        };
        let n = held.nrows();
        let scanned = match s.mistake {
            "search-tail-8" => n / 8 * 8,
            "search-tail-32" => n / 32 * 32,
            "search-half" if n > 500 => n / 2,
            _ => n,
        };
        let count = match (s.mistake, self.first_k) {
            ("search-k-kept", Some(first)) => k.min(first),
            _ => k,
        };
        let mut found = Array2::from_elem((queries.nrows(), k), -1i64);
        let mut kept = self.last_query.clone();
        let mut answers: Vec<Vec<i64>> = Vec::new();
        for query in queries.outer_iter() {
            let mut query = query.to_vec();
            if s.is("search-query-norm") {
                let length = query.iter().map(|v| v * v).sum::<f32>().sqrt();
                query.iter_mut().for_each(|v| *v /= length);
            }
            if s.is("search-half-dim") {
                let dim = query.len();
                query[dim / 2..].fill(0.0);
            }
            match s.mistake {
                "search-first-query" if !answers.is_empty() => query = queries.row(0).to_vec(),
                "search-first-query-kept" => {
                    query = kept.get_or_insert_with(|| query.clone()).clone();
                }
                _ => {}
            }
            let prepared = model.query(s, &query);
            let code = |i: usize| {
                let mut code = held.row(i).to_vec();
                if s.is("side-of-first") {
                    (0..8).for_each(|byte| code[byte] = held[(0, byte)]);
                }
                code
            };
            let mut scores: Vec<(f32, i64)> =
                (0..scanned).map(|i| (model.score(s, &prepared, &code(i), metric), i as i64)).collect();
            match s.mistake {
                "search-farthest" => scores.iter_mut().for_each(|score| score.0 = -score.0),
                "search-ip-least" if metric == SearchMetric::InnerProduct => {
                    scores.iter_mut().for_each(|score| score.0 = -score.0);
                }
                "search-ip-absolute" if metric == SearchMetric::InnerProduct => {
                    scores.iter_mut().for_each(|score| score.0 = -score.0.abs());
                }
                "search-heap-kept" => {
                    scores.extend(heap.iter().filter(|(_, id)| *id < n as i64));
                    let mut seen = std::collections::HashSet::new();
                    scores.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                    scores.retain(|(_, id)| seen.insert(*id));
                }
                _ => {}
            }
            scores.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            if s.is("search-copies") {
                let mut seen = std::collections::HashSet::new();
                scores.retain(|(_, id)| seen.insert(held.row(*id as usize).to_vec()));
            }
            if s.is("search-skips-best") && scores.len() > count {
                scores.remove(0);
            }
            scores.truncate(count);
            heap.clone_from(&scores);
            answers.push(scores.into_iter().map(|(_, id)| id).collect());
        }
        let several = answers.len();
        for ids in &mut answers {
            let few = ids.len() < k;
            match s.mistake {
                "search-repeats" if ids.len() > 1 => ids[1] = ids[0],
                "search-block-ids" => ids.iter_mut().for_each(|id| *id %= 256),
                "search-u16-ids" => ids.iter_mut().for_each(|id| *id %= 65_536),
                "search-one-based" => ids.iter_mut().for_each(|id| *id += 1),
                "search-reversed" => ids.reverse(),
                "search-unsorted" if ids.len() > 2 => ids[1..].reverse(),
                "search-pads-zero" if few => ids.resize(k, 0),
                "search-pads-last" if few => {
                    let last = ids.last().copied().unwrap_or(-1);
                    ids.resize(k, last);
                }
                _ => {}
            }
        }
        match s.mistake {
            "search-pairs" => answers.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1)),
            "search-last-query" if several > 1 => answers[several - 1] = answers[0].clone(),
            _ => {}
        }
        for (mut row, ids) in found.outer_iter_mut().zip(&answers) {
            row.iter_mut().zip(ids).for_each(|(to, id)| *to = *id);
        }
        self.heap = heap;
        self.last_query = kept;
        self.first_k.get_or_insert(k);
        Ok(found)
    }

    /// The model as bytes: dimension, number of tables, and each with its length.
    ///
    /// # Errors
    /// There is no model.
    pub fn save(&mut self) -> Result<Vec<u8>, String> {
        let s = self.settings.clone();
        let model = self.model()?;
        let mut file = Vec::new();
        file.extend((model.dim as u64).to_le_bytes());
        file.extend((model.tables.len() as u64).to_le_bytes());
        for (t, table) in model.tables.iter().enumerate() {
            file.extend((table.len() as u64).to_le_bytes());
            let forgotten =
                s.is("save-forgets-last") && t == model.tables.len() - 1 || s.is("save-forgets-first") && t == 0;
            for &value in table {
                let value = match s.mistake {
                    _ if forgotten => 0.0,
                    "save-bfloat" => f32::from_bits(value.to_bits() & 0xffff_0000),
                    "save-text" => (value * 1000.0).round() / 1000.0,
                    _ => value,
                };
                file.extend(value.to_le_bytes());
            }
        }
        if s.is("save-moves")
            && let Some(model) = &mut self.model
        {
            model.tables.iter_mut().for_each(|table| table.fill(0.0));
        }
        Ok(file)
    }

    /// Takes a model that [`Engine::save`] wrote.
    ///
    /// # Errors
    /// It is none.
    pub fn restore(&mut self, file: &[u8], metric: SearchMetric) -> Result<(), String> {
        let foreign = || "this is no model of this program".to_owned();
        let mut rest = file;
        let number = |rest: &mut &[u8]| -> Result<usize, String> {
            let (bytes, after) = rest.split_first_chunk::<8>().ok_or_else(foreign)?;
            *rest = after;
            usize::try_from(u64::from_le_bytes(*bytes)).map_err(|_| foreign())
        };
        let (dim, count) = (number(&mut rest)?, number(&mut rest)?);
        let mut tables = Vec::new();
        for _ in 0..count.min(4096) {
            let length = number(&mut rest)?;
            let bytes = length.checked_mul(4).filter(|bytes| *bytes <= rest.len()).ok_or_else(foreign)?;
            let (values, after) = rest.split_at(bytes);
            tables.push(values.as_chunks::<4>().0.iter().map(|&value| f32::from_le_bytes(value)).collect());
            rest = after;
        }
        let s = &self.settings;
        s.accepts(dim)?;
        // The shapes that this codec has for vectors of such a length.
        let expected: Vec<usize> =
            Model::fit(s, Array2::zeros((1, dim)).view(), 1).tables.iter().map(Vec::len).collect();
        if tables.iter().map(Vec::len).collect::<Vec<_>>() != expected || !rest.is_empty() {
            return Err(foreign());
        }
        match s.mistake {
            "restore-stale" if tables.len() > 1 && tables[0].len() == tables[1].len() => tables.swap(0, 1),
            "restore-stale" => tables.iter_mut().for_each(|table| table.reverse()),
            "rotation-from-time" => {
                let again = Model::fit(s, Array2::zeros((1, dim)).view(), TRAININGS.fetch_add(1, Ordering::Relaxed));
                tables[0] = again.tables[0].clone();
            }
            _ => {}
        }
        let model = Model { dim, tables };
        self.first.get_or_insert_with(|| model.clone());
        self.model = Some(model);
        self.metric = if s.is("restore-metric") { SearchMetric::L2 } else { metric };
        self.held = None;
        Ok(())
    }
}
