//! The reference codecs as an adapter: a client of the protocol of `docs/adapters.md` in one file, with nothing but JSON.
//!
//! Parameters: `codec` (int8, int8-dim, pq, rotated-pq, signs, rvq), `m`, `bits`, `stages`, and `mutation`, which switches on a mistake.

use methods::SearchMetric;
use ndarray::Array2;
use prove::reference::engine::Engine;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

fn main() {
    // Replies have a descriptor of their own, so that nothing else is taken for one.
    let mut replies: Box<dyn Write> = match std::env::var("VQBENCH_REPLY_FD") {
        Ok(number) => match File::options().write(true).open(format!("/dev/fd/{number}")) {
            Ok(file) => Box::new(file),
            Err(error) => {
                eprintln!("descriptor {number}: {error}");
                return;
            }
        },
        Err(_) => Box::new(std::io::stdout()),
    };
    let mut adapter = Adapter { scratch: std::env::var_os("VQBENCH_SCRATCH").unwrap_or_default().into(), engine: None };
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Ok(request) = serde_json::from_str::<Value>(&line) else { continue };
        let answer = match adapter.answer(&request) {
            Ok(ok) => json!({ "id": request["id"], "ok": ok }),
            Err(error) => json!({ "id": request["id"], "error": error }),
        };
        if writeln!(replies, "{answer}").and_then(|()| replies.flush()).is_err() || request["verb"] == "bye" {
            return;
        }
    }
}

struct Adapter {
    scratch: PathBuf,
    engine: Option<(Value, Engine)>,
}

impl Adapter {
    fn path(&self, request: &Value, key: &str) -> Result<PathBuf, String> {
        let name = request[key].as_str().ok_or_else(|| format!("`{key}` is missing"))?;
        Ok(self.scratch.join(name))
    }

    fn engine(&mut self) -> Result<&mut Engine, String> {
        self.engine.as_mut().map(|(_, engine)| engine).ok_or_else(|| "`hello` comes first".to_owned())
    }

    fn answer(&mut self, request: &Value) -> Result<Value, String> {
        match request["verb"].as_str().unwrap_or_default() {
            "hello" => {
                let params = &request["params"];
                let engine = Engine::new(params)?;
                if let Some(dim) = request["dim"].as_u64() {
                    engine.accepts(dim as usize)?;
                }
                // The same parameters again are no new program.
                if self.engine.as_ref().is_none_or(|(before, _)| before != params) {
                    self.engine = Some((params.clone(), engine));
                }
                Ok(json!({
                    "protocol": 1, "name": "reference", "version": env!("CARGO_PKG_VERSION"), "licence": "MIT OR Apache-2.0",
                    "capabilities": ["encode", "decode", "search", "save", "restore"], "metrics": ["l2", "ip"], "seedable": true,
                    "device": "cpu",
                }))
            }
            "fit" => {
                let rows = vectors(&self.path(request, "rows")?)?;
                let (seed, metric) = (request["seed"].as_u64().unwrap_or(0), metric(request));
                let start = Instant::now();
                self.engine()?.fit(rows.view(), seed, metric)?;
                Ok(json!({ "seconds": start.elapsed().as_secs_f64() }))
            }
            "encode" => {
                let (rows, out) = (vectors(&self.path(request, "rows")?)?, self.path(request, "out")?);
                let (codes, timing) = timed(request, || self.engine()?.encode(rows.view()))?;
                write(&out, "|u1", codes.dim(), codes.iter().copied().collect())?;
                Ok(timing)
            }
            "decode" => {
                let (codes, out) = (bytes(&self.path(request, "codes")?)?, self.path(request, "out")?);
                let (rows, timing) = timed(request, || self.engine()?.decode(codes.view()))?;
                write(&out, "<f4", rows.dim(), rows.iter().flat_map(|v| v.to_le_bytes()).collect())?;
                Ok(timing)
            }
            "search" => {
                let (queries, out) = (vectors(&self.path(request, "queries")?)?, self.path(request, "out")?);
                if !request["codes"].is_null() {
                    let codes = bytes(&self.path(request, "codes")?)?;
                    self.engine()?.hold(codes.view());
                }
                let k = request["k"].as_u64().ok_or("`k` is missing")? as usize;
                let (found, mut answer) = timed(request, || self.engine()?.search(queries.view(), k))?;
                if let Some(most) = request["singles"]["queries"].as_u64() {
                    let mut seconds = Vec::new();
                    for query in queries.outer_iter().take(most as usize) {
                        let start = Instant::now();
                        self.engine()?.search(query.insert_axis(ndarray::Axis(0)), k)?;
                        seconds.push(start.elapsed().as_secs_f64());
                    }
                    answer["singles"] = json!(seconds);
                }
                write(&out, "<i8", found.dim(), found.iter().flat_map(|v| v.to_le_bytes()).collect())?;
                Ok(answer)
            }
            "save" => {
                let out = self.path(request, "out")?;
                std::fs::write(out, self.engine()?.save()?).map_err(|error| error.to_string())?;
                Ok(json!({}))
            }
            "restore" => {
                let model = std::fs::read(self.path(request, "model")?).map_err(|error| error.to_string())?;
                self.engine()?.restore(&model, metric(request))?;
                Ok(json!({}))
            }
            "bye" => Ok(json!({})),
            other => Err(format!("`{other}` is not known")),
        }
    }
}

fn metric(request: &Value) -> SearchMetric {
    if request["metric"] == "ip" { SearchMetric::InnerProduct } else { SearchMetric::L2 }
}

/// Does the work, and if timing is asked for, again and again with a clock.
fn timed<T>(request: &Value, mut work: impl FnMut() -> Result<T, String>) -> Result<(T, Value), String> {
    let result = work()?;
    let Some(repeats) = request["timing"]["repeats"].as_u64() else { return Ok((result, json!({}))) };
    let least = request["timing"]["min_seconds"].as_f64().unwrap_or(0.0);
    let mut laps = Vec::new();
    for _ in 0..repeats.min(100) {
        let (start, mut rounds) = (Instant::now(), 0);
        while rounds == 0 || start.elapsed().as_secs_f64() < least {
            work()?;
            rounds += 1;
        }
        laps.push(json!({ "rounds": rounds, "seconds": start.elapsed().as_secs_f64() }));
    }
    Ok((result, json!({ "timing": laps })))
}

/// Shape and values of a `.npy` file in C order with this type.
fn read(path: &Path, descr: &str) -> Result<((usize, usize), Vec<u8>), String> {
    let wrong = |why: &str| format!("{}: {why}", path.display());
    let file = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
    let (length, begin) = match file.get(..12) {
        Some(start) if start.starts_with(b"\x93NUMPY\x01") => {
            (usize::from(u16::from_le_bytes([start[8], start[9]])), 10)
        }
        Some(start) if start.starts_with(b"\x93NUMPY\x02") => {
            (u32::from_le_bytes([start[8], start[9], start[10], start[11]]) as usize, 12)
        }
        _ => return Err(wrong("is no .npy file")),
    };
    let header = file.get(begin..begin + length).map(String::from_utf8_lossy).ok_or_else(|| wrong("ends early"))?;
    if !header.contains(&format!("'{descr}'")) || header.contains("True") {
        return Err(wrong("has another type or order"));
    }
    let shape = header.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(shape, _)| shape);
    let numbers: Vec<usize> = shape.split(',').filter_map(|part| part.trim().parse().ok()).collect();
    let &[rows, columns] = &numbers[..] else { return Err(wrong("is no matrix")) };
    Ok(((rows, columns), file[begin + length..].to_vec()))
}

fn vectors(path: &Path) -> Result<Array2<f32>, String> {
    let (shape, values) = read(path, "<f4")?;
    let values = values.as_chunks::<4>().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
    Array2::from_shape_vec(shape, values).map_err(|error| error.to_string())
}

fn bytes(path: &Path) -> Result<Array2<u8>, String> {
    let (shape, values) = read(path, "|u1")?;
    Array2::from_shape_vec(shape, values).map_err(|error| error.to_string())
}

fn write(path: &Path, descr: &str, (rows, columns): (usize, usize), values: Vec<u8>) -> Result<(), String> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((length as u16).to_le_bytes());
    file.extend(format!("{text:<width$}\n", width = length - 1).bytes());
    file.extend(values);
    std::fs::write(path, file).map_err(|error| error.to_string())
}
