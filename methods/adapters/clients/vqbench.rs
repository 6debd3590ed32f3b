//! The Rust client of vqbench: with it, a quantizer in Rust becomes a program that vqbench can measure. Copy this file; it needs
//! nothing but the standard library. docs/adapters.md specifies what it speaks.
//!
//! Implement [`Quantizer`], list in `about` what yours can do, and call [`serve`] in `main`.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::time::Instant;

/// What a request is answered with instead of a result. `param` names the parameter that is wrong, if one is.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    pub message: String,
    pub param: Option<String>,
}

impl<T: std::fmt::Display> From<T> for Refused {
    fn from(message: T) -> Refused {
        Refused { message: message.to_string(), param: None }
    }
}

/// Rows of a matrix, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Matrix<T> {
    pub rows: usize,
    pub columns: usize,
    pub values: Vec<T>,
}

pub type Vectors = Matrix<f32>;
pub type Codes = Matrix<u8>;
pub type Ids = Matrix<i64>;

impl<T: Clone + Default> Matrix<T> {
    /// Makes it so large; values that were there before may stay.
    pub fn resize(&mut self, rows: usize, columns: usize) {
        (self.rows, self.columns) = (rows, columns);
        self.values.resize(rows * columns, T::default());
    }
    pub fn row(&self, i: usize) -> &[T] {
        &self.values[i * self.columns..(i + 1) * self.columns]
    }
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        &mut self.values[i * self.columns..(i + 1) * self.columns]
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    #[default]
    L2,
    Ip,
}

/// Who a quantizer is and what it can do; see `hello` in docs/adapters.md.
pub struct About {
    pub name: &'static str,
    pub version: &'static str,
    pub licence: &'static str,
    /// Any of `encode`, `decode`, `search`, `search_base`, `save`, `restore`.
    pub capabilities: &'static [&'static str],
    /// Any of `l2`, `ip`.
    pub metrics: &'static [&'static str],
    pub seedable: bool,
    pub device: &'static str,
}

fn missing<T>() -> Result<T, Refused> {
    Err("this quantizer cannot do that".into())
}

/// Implement what your quantizer can do. Every error becomes the answer to the request.
#[allow(unused_variables)]
pub trait Quantizer {
    fn about(&self) -> About;
    /// Reads the parameters. What is not read is refused.
    fn configure(&mut self, params: &mut Params) -> Result<(), Refused>;
    /// Bytes of a code for vectors of `dim` components, if they are known before training.
    fn code_bytes(&self, dim: usize) -> Option<usize> {
        None
    }
    fn fit(&mut self, rows: &Vectors, seed: u64, metric: Metric, threads: usize) -> Result<(), Refused>;
    /// Call `codes.resize(rows.rows, bytes)`, and write a code into each row.
    fn encode(&self, rows: &Vectors, codes: &mut Codes, threads: usize) -> Result<(), Refused> {
        missing()
    }
    /// Call `rows.resize(codes.rows, dim)`, and write a vector into each row.
    fn decode(&self, codes: &Codes, rows: &mut Vectors, threads: usize) -> Result<(), Refused> {
        missing()
    }
    /// Keeps codes for the searches that follow.
    fn hold_codes(&mut self, codes: Codes) -> Result<(), Refused> {
        missing()
    }
    /// Keeps vectors for the searches that follow.
    fn hold_base(&mut self, rows: Vectors) -> Result<(), Refused> {
        missing()
    }
    /// Writes the nearest rows of each query into `found`, which has `k` columns and is filled with -1.
    fn search(&self, queries: &Vectors, found: &mut Ids, threads: usize) -> Result<(), Refused> {
        missing()
    }
    fn save(&self, file: &mut dyn Write) -> Result<(), Refused> {
        missing()
    }
    fn restore(&mut self, file: &mut dyn Read, metric: Metric) -> Result<(), Refused> {
        missing()
    }
}

/// Writes the rows with the least distances into `found`, nearest first.
pub fn nearest(distances: &[f32], found: &mut [i64]) {
    let mut order: Vec<usize> = (0..distances.len()).collect();
    order.sort_by(|a, b| distances[*a].total_cmp(&distances[*b]).then(a.cmp(b)));
    found.iter_mut().zip(order).for_each(|(found, row)| *found = row as i64);
}

/// The parameters that the user wrote.
pub struct Params {
    given: BTreeMap<String, Json>,
    known: Vec<&'static str>,
}

impl Params {
    fn take(&mut self, name: &'static str) -> Option<Json> {
        self.known.push(name);
        self.given.remove(name)
    }
    fn wrong<T>(name: &str, needs: String) -> Result<T, Refused> {
        Err(Refused { message: format!("`{name}` must be {needs}"), param: Some(name.to_owned()) })
    }
    /// A number of the range, or `fallback` if it is not given.
    pub fn number(&mut self, name: &'static str, fallback: f64, low: f64, high: f64) -> Result<f64, Refused> {
        match self.take(name) {
            None => Ok(fallback),
            Some(Json::Number(text)) if text.parse().is_ok_and(|value: f64| (low..=high).contains(&value)) => {
                Ok(text.parse()?)
            }
            Some(_) => Params::wrong(name, format!("a number from {low} to {high}")),
        }
    }
    pub fn integer(&mut self, name: &'static str, fallback: usize, low: usize, high: usize) -> Result<usize, Refused> {
        match self.take(name) {
            None => Ok(fallback),
            Some(Json::Number(text)) if text.parse().is_ok_and(|value: usize| (low..=high).contains(&value)) => {
                Ok(text.parse()?)
            }
            Some(_) => Params::wrong(name, format!("a whole number from {low} to {high}")),
        }
    }
    pub fn flag(&mut self, name: &'static str, fallback: bool) -> Result<bool, Refused> {
        match self.take(name) {
            None => Ok(fallback),
            Some(Json::Bool(value)) => Ok(value),
            Some(_) => Params::wrong(name, "true or false".into()),
        }
    }
    /// One of some texts, the first if it is not given.
    pub fn choice(&mut self, name: &'static str, choices: &[&'static str]) -> Result<&'static str, Refused> {
        match self.take(name) {
            None => Ok(choices[0]),
            Some(Json::Text(text)) if choices.contains(&text.as_str()) => {
                Ok(choices[choices.iter().position(|c| *c == text).unwrap_or(0)])
            }
            Some(_) => Params::wrong(name, format!("one of {}", choices.join(", "))),
        }
    }
    fn finish(self) -> Result<(), Refused> {
        let Some(name) = self.given.into_keys().next() else { return Ok(()) };
        let message = format!("unknown parameter `{name}`; known are: {}", self.known.join(", "));
        Err(Refused { message, param: Some(name) })
    }
}

/// Answers requests until there are no more.
pub fn serve(mut quantizer: impl Quantizer) {
    let mut replies: Box<dyn Write> = match std::env::var("VQBENCH_REPLY_FD") {
        // A descriptor is opened by its name, which needs no unsafe code.
        Ok(number) => match File::options().write(true).open(format!("/dev/fd/{number}")) {
            Ok(file) => Box::new(file),
            Err(error) => return eprintln!("the descriptor of replies cannot be opened: {error}"),
        },
        Err(_) => Box::new(std::io::stdout()),
    };
    let mut threads = 1;
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let request = Json::parse(&line).unwrap_or(Json::Null);
        let mut reply = format!("{{\"id\":{}", request.number("id").unwrap_or_else(|_| "null".into()));
        match answer(&mut quantizer, &request, &mut threads) {
            Ok(done) => {
                let _ = write!(reply, ",\"ok\":{{{}}}}}", done.join(","));
            }
            Err(refused) => {
                let _ = write!(reply, ",\"error\":{}", quoted(&refused.message));
                if let Some(param) = refused.param {
                    let _ = write!(reply, ",\"param\":{}", quoted(&param));
                }
                reply.push('}');
            }
        }
        reply.push('\n');
        if replies.write_all(reply.as_bytes()).and_then(|()| replies.flush()).is_err() {
            return;
        }
        if request.text("verb").is_ok_and(|verb| verb == "bye") {
            return;
        }
    }
}

/// The members of `ok`.
fn answer(quantizer: &mut impl Quantizer, request: &Json, threads: &mut usize) -> Result<Vec<String>, Refused> {
    let folder = std::env::var("VQBENCH_SCRATCH").unwrap_or_default();
    let file = |key: &str| request.text(key).map(|name| format!("{folder}/{name}"));
    let metric = || if request.text("metric").is_ok_and(|metric| metric == "ip") { Metric::Ip } else { Metric::L2 };
    let mut done = Vec::new();
    match request.text("verb")? {
        "hello" => {
            let given = match request.get("params") {
                Some(Json::Object(given)) => given.clone(),
                _ => BTreeMap::new(),
            };
            *threads = request.number("threads")?.parse()?;
            let mut params = Params { given, known: Vec::new() };
            quantizer.configure(&mut params)?;
            params.finish()?;
            let about = quantizer.about();
            let list =
                |texts: &[&str]| format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(","));
            done.push(format!("\"protocol\":1,\"name\":{},\"version\":{}", quoted(about.name), quoted(about.version)));
            done.push(format!("\"licence\":{},\"device\":{}", quoted(about.licence), quoted(about.device)));
            done.push(format!("\"capabilities\":{},\"metrics\":{}", list(about.capabilities), list(about.metrics)));
            done.push(format!("\"seedable\":{}", about.seedable));
            let dim = request.number("dim").ok().and_then(|dim| dim.parse().ok());
            done.extend(dim.and_then(|dim| quantizer.code_bytes(dim)).map(|bytes| format!("\"code_bytes\":{bytes}")));
        }
        "fit" => {
            let (rows, seed) = (read_npy(&file("rows")?)?, request.number("seed")?.parse()?);
            let begin = Instant::now();
            quantizer.fit(&rows, seed, metric(), *threads)?;
            done.push(format!("\"seconds\":{}", begin.elapsed().as_secs_f64()));
        }
        "encode" => {
            let (rows, mut codes) = (read_npy(&file("rows")?)?, Codes::default());
            done.extend(measured(request, || quantizer.encode(&rows, &mut codes, *threads))?);
            write_npy(&file("out")?, &codes)?;
        }
        "decode" => {
            let (codes, mut rows) = (read_npy(&file("codes")?)?, Vectors::default());
            done.extend(measured(request, || quantizer.decode(&codes, &mut rows, *threads))?);
            write_npy(&file("out")?, &rows)?;
        }
        "search" => {
            if request.get("codes").is_some() {
                quantizer.hold_codes(read_npy(&file("codes")?)?)?;
            }
            if request.get("base").is_some() {
                quantizer.hold_base(read_npy(&file("base")?)?)?;
            }
            let queries: Vectors = read_npy(&file("queries")?)?;
            let k: usize = request.number("k")?.parse()?;
            let mut found = Ids::default();
            found.resize(queries.rows, k);
            let search = || {
                found.values.fill(-1);
                quantizer.search(&queries, &mut found, *threads)
            };
            done.extend(measured(request, search)?);
            if let Some(wanted) = request.get("singles") {
                done.push(singles(quantizer, wanted, &queries, k)?);
            }
            write_npy(&file("out")?, &found)?;
        }
        "save" => {
            let mut out = BufWriter::new(File::create(file("out")?)?);
            quantizer.save(&mut out)?;
            out.flush()?;
        }
        "restore" => quantizer.restore(&mut BufReader::new(File::open(file("model")?)?), metric())?,
        "bye" => {}
        verb => return Err(format!("unknown verb `{verb}`").into()),
    }
    Ok(done)
}

/// Does the work once without a clock, and then as often as the request asks for.
fn measured(request: &Json, mut work: impl FnMut() -> Result<(), Refused>) -> Result<Option<String>, Refused> {
    work()?;
    let Some(timing) = request.get("timing") else { return Ok(None) };
    let (repeats, least): (usize, f64) = (timing.number("repeats")?.parse()?, timing.number("min_seconds")?.parse()?);
    let mut laps = Vec::new();
    for _ in 0..repeats {
        let (begin, mut rounds, mut seconds) = (Instant::now(), 0, 0.0);
        while rounds == 0 || seconds < least {
            work()?;
            rounds += 1;
            seconds = begin.elapsed().as_secs_f64();
        }
        laps.push(format!("{{\"rounds\":{rounds},\"seconds\":{seconds}}}"));
    }
    Ok(Some(format!("\"timing\":[{}]", laps.join(","))))
}

/// Single queries on one thread, each with a clock of its own.
fn singles(quantizer: &impl Quantizer, wanted: &Json, queries: &Vectors, k: usize) -> Result<String, Refused> {
    let (most, enough): (usize, f64) = (wanted.number("queries")?.parse()?, wanted.number("seconds")?.parse()?);
    let (mut query, mut found, mut times) = (Vectors::default(), Ids::default(), Vec::new());
    query.resize(1, queries.columns);
    found.resize(1, k);
    let begin = Instant::now();
    for i in 0..most.min(queries.rows) {
        if i >= 20 && begin.elapsed().as_secs_f64() >= enough {
            break;
        }
        query.values.copy_from_slice(queries.row(i));
        found.values.fill(-1);
        let start = Instant::now();
        quantizer.search(&query, &mut found, 1)?;
        times.push(start.elapsed().as_secs_f64().to_string());
    }
    Ok(format!("\"singles\":[{}]", times.join(",")))
}

/// A type of values in `.npy` files.
trait Value: Copy + Default {
    const NAME: &'static str;
    fn read(bytes: &[u8]) -> Self;
    fn write(self, out: &mut Vec<u8>);
}

macro_rules! values {
    ($($type:ty = $name:literal),*) => {$(
        impl Value for $type {
            const NAME: &'static str = $name;
            fn read(bytes: &[u8]) -> $type {
                bytes.try_into().map_or(<$type>::default(), <$type>::from_le_bytes)
            }
            fn write(self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }
        }
    )*};
}
values!(f32 = "<f4", u8 = "|u1", i64 = "<i8");

fn read_npy<T: Value>(path: &str) -> Result<Matrix<T>, Refused> {
    let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let wrong = || Refused::from(format!("{path} is no matrix of {} in a .npy file", T::NAME));
    let start = if bytes.get(6) == Some(&1) { 10 } else { 12 };
    let mut length = [0u8; 4];
    length[..start - 8].copy_from_slice(bytes.get(8..start).ok_or_else(wrong)?);
    let end = start + u32::from_le_bytes(length) as usize;
    let header = String::from_utf8_lossy(bytes.get(start..end).ok_or_else(wrong)?).replace(' ', "");
    let shape = header.split_once("'shape':(").and_then(|(_, rest)| rest.split_once(')')).ok_or_else(wrong)?.0;
    let shape: Vec<usize> = shape.split(',').filter_map(|part| part.parse().ok()).collect();
    let fits = header.contains(&format!("'descr':'{}'", T::NAME)) && header.contains("'fortran_order':False");
    let (&[rows, columns], true) = (&shape[..], fits) else { return Err(wrong()) };
    let values: Vec<T> = bytes[end..].chunks_exact(size_of::<T>()).map(T::read).collect();
    if rows.checked_mul(columns) != Some(values.len()) {
        return Err(wrong());
    }
    Ok(Matrix { rows, columns, values })
}

fn write_npy<T: Value>(path: &str, matrix: &Matrix<T>) -> Result<(), Refused> {
    let shape = format!("({}, {})", matrix.rows, matrix.columns);
    let text = format!("{{'descr': '{}', 'fortran_order': False, 'shape': {shape}, }}", T::NAME);
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((length as u16).to_le_bytes());
    out.extend(format!("{text:<width$}\n", width = length - 1).bytes());
    matrix.values.iter().for_each(|value| value.write(&mut out));
    std::fs::write(path, out).map_err(|error| format!("{path}: {error}").into())
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value of JSON. Numbers stay as they are written.
#[derive(Clone, Debug)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    fn parse(text: &str) -> Option<Json> {
        let mut rest = text.trim();
        let value = Json::value(&mut rest, 0)?;
        rest.trim().is_empty().then_some(value)
    }
    fn get(&self, key: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        members.get(key)
    }
    fn text(&self, key: &str) -> Result<&str, Refused> {
        match self.get(key) {
            Some(Json::Text(text)) => Ok(text),
            _ => Err(format!("the request needs the text `{key}`").into()),
        }
    }
    fn number(&self, key: &str) -> Result<String, Refused> {
        match self.get(key) {
            Some(Json::Number(text)) => Ok(text.clone()),
            _ => Err(format!("the request needs the number `{key}`").into()),
        }
    }
    fn value(rest: &mut &str, depth: usize) -> Option<Json> {
        *rest = rest.trim_start();
        let words = [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))];
        if let Some((word, value)) = words.into_iter().find(|(word, _)| rest.starts_with(word)) {
            *rest = &rest[word.len()..];
            return Some(value);
        }
        match rest.chars().next().filter(|_| depth < 64)? {
            '"' => Json::string(rest).map(Json::Text),
            '[' => {
                let mut list = Vec::new();
                Json::items(rest, ']', |rest| Json::value(rest, depth + 1).map(|value| list.push(value)))?;
                Some(Json::List(list))
            }
            '{' => {
                let mut members = BTreeMap::new();
                Json::items(rest, '}', |rest| {
                    let key = Json::string(rest)?;
                    *rest = rest.trim_start().strip_prefix(':')?;
                    Json::value(rest, depth + 1).map(|value| drop(members.insert(key, value)))
                })?;
                Some(Json::Object(members))
            }
            _ => {
                let end = rest.find(|c: char| !"+-.eE0123456789".contains(c)).unwrap_or(rest.len());
                let (number, after) = rest.split_at(end);
                *rest = after;
                number.parse::<f64>().ok().map(|_| Json::Number(number.to_owned()))
            }
        }
    }
    fn items(rest: &mut &str, end: char, mut item: impl FnMut(&mut &str) -> Option<()>) -> Option<()> {
        *rest = rest[1..].trim_start();
        while !rest.starts_with(end) {
            item(rest)?;
            *rest = rest.trim_start();
            match rest.strip_prefix(',') {
                Some(after) => *rest = after.trim_start(),
                None if rest.starts_with(end) => {}
                None => return None,
            }
        }
        *rest = &rest[1..];
        Some(())
    }
    fn string(rest: &mut &str) -> Option<String> {
        let mut characters = rest.strip_prefix('"')?.chars();
        let (mut out, mut units) = (String::new(), Vec::new());
        loop {
            let c = characters.next()?;
            let unit = c == '\\' && characters.as_str().starts_with('u');
            if !unit {
                out += &String::from_utf16_lossy(&std::mem::take(&mut units));
            }
            match c {
                '"' => break,
                '\\' => match characters.next()? {
                    'u' => {
                        let code = characters.as_str().get(..4)?;
                        units.push(u16::from_str_radix(code, 16).ok()?);
                        characters = characters.as_str()[4..].chars();
                    }
                    c => out.push(match c {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        c => c,
                    }),
                },
                c => out.push(c),
            }
        }
        *rest = characters.as_str();
        Some(out)
    }
}
