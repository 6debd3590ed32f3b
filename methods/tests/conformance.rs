//! The laws that every registered method keeps, whatever its parameters: one suite, driven by the registry.

mod toy;

use cpu::Isa;
use methods::backend::CpuBackend;
use methods::laws::{Bench, decode, encode, gaussian, mse};
use methods::registry::{Exemption, Family, entries};
use methods::{Context, METHODS, Method, SearchMetric, parse};
use ndarray::{Array2, s};
use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

const DIM: usize = 12;

/// Where the laws are kept; with a method that is registered here alone, to show that a file and a line are all it takes.
fn bench() -> Bench {
    Bench::default().with(&toy::ENTRY)
}

/// The same on each instruction set that this processor has, widest first.
fn benches() -> impl Iterator<Item = Bench> {
    Isa::available().into_iter().map(|isa| Bench::on(Arc::new(CpuBackend::new(isa))).with(&toy::ENTRY))
}

fn specimens() -> Vec<(String, Box<dyn Method>)> {
    bench().specimens()
}

macro_rules! tests_of_laws {
    ($($law:ident),*) => { $(#[test] fn $law() { benches().for_each(|bench| methods::laws::$law(&bench)); })* };
}
methods::for_each_law!(tests_of_laws);

macro_rules! names_of_laws {
    ($($law:ident),*) => { &[$(stringify!($law)),*] };
}

/// Whatever is exempt from a law is so by a word of its entry, which covers some specimen. All are printed, so that they are seen.
#[test]
fn exemptions_are_declared_and_printed() {
    let laws: &[&str] = methods::for_each_law!(names_of_laws);
    let mut list = String::from("exempt from laws:\n");
    for (exempt, covered) in bench().exemptions() {
        let Exemption { law, with, why } = exempt;
        assert!(laws.contains(law), "there is no law `{law}`");
        assert!(!covered.is_empty(), "`{with}` covers no specimen ({law}: {why})");
        assert!(why.len() > 10, "{law}: {why}");
        covered.iter().for_each(|specimen| list += &format!("  {law}: {specimen}: {why}\n"));
    }
    // Not by `print!`, of which a test that passes shows nothing.
    std::io::stderr().write_all(list.as_bytes()).expect("writes");
}

/// Reports filter by family, and the glossary says what each family is.
#[test]
fn every_method_has_a_family_and_the_glossary_describes_it() {
    let glossary =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../METHODOLOGY.md")).expect("a document");
    let term = glossary.lines().find(|line| line.starts_with("| family |")).expect("a term");
    for family in Family::ALL {
        assert!(entries().any(|entry| entry.family == Some(family)), "no method is of the family {family:?}");
        let described = format!("`{}` {}", family.name(), family.meaning());
        assert!(term.contains(&described), "METHODOLOGY.md, glossary, family: write `{described}`");
    }
    let without: Vec<&str> = METHODS.iter().filter(|e| e.family.is_none()).map(|e| e.name).collect();
    assert_eq!(without, ["factory"], "it stands for methods of several families");
    assert_eq!(Family::ALL.map(Family::name).len(), Family::ALL.iter().map(|f| f.name()).collect::<HashSet<_>>().len());
}

#[test]
fn every_parameter_is_described_and_misspelt_ones_are_told() {
    for entry in METHODS {
        let schema = entry.params_schema();
        let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) else {
            assert!(
                schema.get("description").is_some(),
                "{}: parameters that are no object say what they are",
                entry.name
            );
            continue;
        };
        for (key, property) in properties {
            assert!(property.get("description").is_some(), "{}: `{key}` has no description", entry.name);
        }
        for key in properties.keys().filter(|key| key.len() > 2) {
            let mut params: serde_json::Value = serde_json::from_str(entry.examples[0]).expect("JSON");
            let misspelt = format!("{key}z");
            params[&misspelt] = 8.into();
            let error = parse(entry.name, params).expect_err("it is unknown");
            assert_eq!(error.param.as_deref(), Some(misspelt.as_str()));
            let wanted = format!("did you mean `{key}`?");
            assert!(error.help.as_deref().is_some_and(|help| help.contains(&wanted)), "{}: {error:?}", entry.name);
        }
    }
}

/// Params are complete: what they say makes the same method again, with every default in them.
#[test]
fn parameters_survive_a_round_trip() {
    for (name, method) in specimens().into_iter().filter(|(_, method)| method.name() != toy::ENTRY.name) {
        let again = parse(method.name(), method.params()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((again.name(), again.params()), (method.name(), method.params()), "{name}");
    }
}

/// Scores that are called unbiased are right on average over the random choices of the fit: |z| stays below 4.5 over 300
/// fits, for each of several pairs of a query and a row, some of which lie along few axes.
#[test]
fn unbiased_scores_are_right_on_average() {
    let mut found = 0;
    let behind = |transform: &str| {
        let params = serde_json::json!({ "bits": 2, "transform": transform });
        (format!("rabitq behind {transform}"), parse("rabitq", params).expect("parses"))
    };
    for dim in [12, 65, 128] {
        let (mut train, mut queries) = (gaussian(6, dim, 5), gaussian(2, dim, 6));
        train.row_mut(0).fill(0.0);
        train[(0, dim / 2)] = 3.0;
        train.slice_mut(s![1, 2..]).fill(0.0);
        queries.slice_mut(s![0, ..dim - 1]).fill(0.0);
        for (name, method) in specimens().into_iter().chain([behind("center"), behind("random-rotation")]) {
            if method.check(dim).is_err() {
                continue;
            }
            for metric in [SearchMetric::L2, SearchMetric::InnerProduct] {
                let mut errors = vec![Vec::new(); train.nrows() * queries.nrows()];
                for seed in 0..300 {
                    let quantizer = method.fit(train.view(), &Context::cpu(seed)).expect("fits");
                    let Some(mut searcher) = quantizer.searcher(metric).filter(|s| s.is_unbiased()) else { break };
                    let codes = encode(&*quantizer, train.view());
                    for (q, query) in queries.outer_iter().enumerate() {
                        searcher.set_query(&query.to_vec());
                        let mut scores = vec![0f32; train.nrows()];
                        searcher.score_into(&codes, &mut scores).expect("scores");
                        for (i, (row, &score)) in train.outer_iter().zip(&scores).enumerate() {
                            let exact: f64 = match metric {
                                SearchMetric::L2 => row.iter().zip(query).map(|(x, q)| f64::from(x - q).powi(2)).sum(),
                                SearchMetric::InnerProduct => {
                                    -row.iter().zip(query).map(|(x, q)| f64::from(x * q)).sum::<f64>()
                                }
                            };
                            errors[q * train.nrows() + i].push(f64::from(score) - exact);
                        }
                    }
                }
                for errors in errors.iter().filter(|errors| !errors.is_empty()) {
                    let n = errors.len() as f64;
                    let mean = errors.iter().sum::<f64>() / n;
                    let deviation = (errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
                    assert!(deviation > 0.0, "{name}: an estimate that never errs is none");
                    let z = mean / (deviation / n.sqrt());
                    assert!(z.abs() < 4.5, "{name} {metric:?}, d={dim}: z = {z:.2}, mean error {mean:.4}");
                    found += 1;
                }
            }
        }
    }
    assert!(found > 0, "some method is called unbiased");
}

/// Columns of different spread in turn must not mislead a choice made on half of the values.
#[test]
fn levels_shared_by_unlike_columns_do_not_depend_on_their_order() {
    let spread = |j: usize| if j.is_multiple_of(2) { 1.0 } else { 10.0 };
    let rows = |order: fn(usize) -> usize| {
        let base = gaussian(2000, DIM, 4);
        Array2::from_shape_fn(base.dim(), |(i, j)| base[(i, order(j))] * spread(order(j)))
    };
    let error = |rows: Array2<f32>, params: serde_json::Value| {
        let quantizer = parse("scalar", params).expect("parses").fit(rows.view(), &Context::cpu(1)).expect("fits");
        mse(rows.view(), decode(&*quantizer, &encode(&*quantizer, rows.view())).view())
    };
    for bits in 5..=8 {
        let best = serde_json::json!({ "bits": bits, "scope": "tensor" });
        let full = serde_json::json!({ "bits": bits, "scope": "tensor", "range": "minmax" });
        let in_turn = error(rows(|j| j), best.clone());
        let blocked = error(rows(|j| if j < DIM / 2 { 2 * j } else { 2 * j - DIM + 1 }), best);
        assert!((in_turn / blocked - 1.0).abs() < 0.03, "{bits} bits: {in_turn}, {blocked}");
        let full = error(rows(|j| j), full);
        assert!(in_turn <= 1.02 * full, "{bits} bits: {in_turn}, over the full range {full}");
    }
}

#[test]
fn a_wrong_transform_is_told() {
    let told = |transform: serde_json::Value| {
        let error = parse("scalar", serde_json::json!({ "bits": 4, "transform": transform })).expect_err("it is wrong");
        (error.param.unwrap_or_default(), error.message, error.help.unwrap_or_default())
    };
    let (param, _, help) = told(serde_json::json!("centre"));
    assert!(param == "transform" && help.contains("did you mean `center`?"), "{param}: {help}");
    let (param, message, help) = told(serde_json::json!("pca"));
    assert_eq!((param.as_str(), message.as_str()), ("transform", "the transform `pca` needs a parameter"));
    assert!(help.contains("{ pca: { dim: 64 } }"));
    let (param, _, help) = told(serde_json::json!({ "pca": { "dims": 3 } }));
    assert!(param == "transform/pca/dims" && help.contains("did you mean `dim`?"), "{param}: {help}");
    let method = parse("scalar", serde_json::json!({ "transform": { "pca": { "dim": 20 } } })).expect("parses");
    let error = method.check(DIM).expect_err("20 of 12");
    assert_eq!((error.param.as_deref(), error.help.as_deref()), (Some("transform/pca/dim"), Some("use 1 to 12")));
}
