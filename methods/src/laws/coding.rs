//! The laws of coding, as functions that panic where one is broken.

use super::{Bench, DIM, decode, encode, gaussian, mse};
use crate::{Context, MethodError, Quantizer, SearchMetric, Streams, parse};
use ndarray::{Array2, s};
use std::collections::HashSet;

/// Codes have the length that is stated, and decode to finite rows of the stated shape.
///
/// # Panics
/// Where a method does not.
pub fn codes_have_the_stated_length_and_decode_to_finite_rows_of_the_stated_shape(bench: &Bench) {
    let train = gaussian(600, DIM, 1);
    for (name, method) in bench.specimens() {
        let quantizer = method.fit(train.view(), &bench.context(1)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(quantizer.dim(), DIM, "{name}");
        assert_eq!(quantizer.code_bits(), method.code_bits(DIM), "{name}: the rate is known before fitting");
        assert_eq!(quantizer.code_size(), quantizer.code_bits().div_ceil(8), "{name}");
        let decoded = decode(&*quantizer, &encode(&*quantizer, train.view()));
        assert!(decoded.iter().all(|v| v.is_finite()), "{name}");
        assert!(mse(train.view(), decoded.view()) < DIM as f64, "{name}: coding beats guessing the mean");
    }
}

/// Coding a decoded vector again loses no more than rounding.
///
/// # Panics
/// Where a method does not.
pub fn coding_a_decoded_vector_again_loses_no_more_than_rounding(bench: &Bench) {
    let train = gaussian(600, DIM, 1);
    for (name, method) in bench.specimens() {
        let quantizer = method.fit(train.view(), &bench.context(1)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let once = decode(&*quantizer, &encode(&*quantizer, train.view()));
        let twice = decode(&*quantizer, &encode(&*quantizer, once.view()));
        let first = mse(train.view(), once.view());
        let second = mse(once.view(), twice.view());
        assert!(second <= first * 1.0001 + 1e-9, "{name}: {second} after {first}");
    }
}

/// The same seed gives the same codes, for any chunking and any number of threads.
///
/// # Panics
/// Where a method does not.
pub fn the_same_seed_gives_the_same_codes_for_any_chunking_and_thread_count(bench: &Bench) {
    let (train, base) = (gaussian(700, DIM, 1), gaussian(333, DIM, 2));
    for (name, method) in bench.specimens() {
        let codes_on = |threads: usize, chunk: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| {
                let quantizer = method.fit(train.view(), &bench.context(7)).expect("fits");
                let mut codes = Vec::new();
                for start in (0..base.nrows()).step_by(chunk) {
                    let end = (start + chunk).min(base.nrows());
                    codes.extend(encode(&*quantizer, base.slice(s![start..end, ..])));
                }
                codes
            })
        };
        let reference = codes_on(1, 333);
        for (threads, chunk) in [(2, 333), (3, 100), (1, 1)] {
            assert_eq!(codes_on(threads, chunk), reference, "{name}: {threads} threads, chunks of {chunk}");
        }
    }
}

/// Rows that lie apart get the codes of rows that lie together.
///
/// # Panics
/// Where a method does not.
pub fn strided_rows_get_the_codes_of_contiguous_ones(bench: &Bench) {
    let wide = gaussian(200, DIM * 2, 4);
    let view = wide.slice(s![..;2, ..;2]);
    let owned = view.to_owned();
    for (name, method) in bench.specimens() {
        let quantizer = method.fit(owned.view(), &bench.context(1)).expect("fits");
        let codes = encode(&*quantizer, owned.view());
        assert_eq!(encode(&*quantizer, view), codes, "{name}");
        let mut target = Array2::zeros((100, DIM * 2));
        quantizer.decode_into(&codes, target.slice_mut(s![..50, ..DIM])).expect_err("50 rows are not 100");
        quantizer.decode_into(&codes, target.slice_mut(s![.., ..;2])).expect("decodes into strided rows");
        assert_eq!(target.slice(s![.., ..;2]), decode(&*quantizer, &codes), "{name}");
    }
}

/// Symbols stay below their alphabets and account for the rate.
///
/// # Panics
/// Where a method does not.
pub fn symbols_stay_below_their_alphabets_and_account_for_the_rate(bench: &Bench) {
    let train = gaussian(600, DIM, 1);
    for (name, method) in bench.specimens() {
        let quantizer = method.fit(train.view(), &bench.context(1)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let symbols = quantizer.symbols().unwrap_or_else(|| panic!("{name} shows its symbols"));
        let alphabets = symbols.alphabets();
        let bits: u32 = alphabets.iter().map(|a| a.next_power_of_two().trailing_zeros()).sum();
        assert_eq!(bits as usize + symbols.side_bits(), quantizer.code_bits(), "{name}");
        let mut row = vec![0u16; alphabets.len()];
        for code in encode(&*quantizer, train.view()).chunks_exact(quantizer.code_size()) {
            symbols.unpack(code, &mut row).expect("unpacks");
            assert!(row.iter().zip(&alphabets).all(|(&s, &a)| usize::from(s) < a), "{name}");
        }
        assert!(symbols.unpack(&[], &mut row).is_err(), "{name}: an empty code is no code");
    }
}

/// What a method says never grows while it trains never does.
///
/// # Panics
/// Where a method does not.
pub fn training_distortion_never_grows(bench: &Bench) {
    let train = gaussian(600, DIM, 1);
    for (name, method) in bench.specimens() {
        let quantizer = method.fit(train.view(), &bench.context(1)).unwrap_or_else(|e| panic!("{name}: {e}"));
        for curve in quantizer.curves().iter().filter(|curve| curve.never_grows) {
            assert!(!curve.points.is_empty(), "{name}, {}: nothing was followed", curve.name);
            if let Some((before, after)) = curve.first_growth() {
                panic!("{name}, {} grows: {after:?} after {before:?}", curve.name);
            }
        }
    }
}

/// Searchers score like decoded vectors, unless they say that they estimate.
///
/// # Panics
/// Where a method does not.
pub fn searchers_score_like_decoded_vectors(bench: &Bench) {
    let (train, queries) = (gaussian(600, DIM, 1), gaussian(5, DIM, 9));
    for (name, method) in bench.specimens() {
        let quantizer = method.fit(train.view(), &bench.context(1)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let codes = encode(&*quantizer, train.view());
        let decoded = decode(&*quantizer, &codes);
        for metric in [SearchMetric::L2, SearchMetric::InnerProduct] {
            let Some(mut searcher) = quantizer.searcher(metric).filter(|s| !s.is_estimate()) else { continue };
            for query in queries.outer_iter() {
                let query = query.to_vec();
                searcher.set_query(&query);
                let mut scores = vec![f32::NAN; decoded.nrows()];
                searcher.score_into(&codes, &mut scores).expect("scores");
                for (row, &score) in decoded.outer_iter().zip(&scores) {
                    let exact: f64 = match metric {
                        SearchMetric::L2 => row.iter().zip(&query).map(|(x, q)| f64::from(x - q).powi(2)).sum(),
                        SearchMetric::InnerProduct => {
                            -row.iter().zip(&query).map(|(x, q)| f64::from(x * q)).sum::<f64>()
                        }
                    };
                    assert!((f64::from(score) - exact).abs() < 1e-4, "{name} {metric:?}: {score} for {exact}");
                }
            }
            // The fused search gives what a sort of all scores gives.
            let mut scores = vec![0.0; decoded.nrows()];
            searcher.score_into(&codes, &mut scores).expect("scores");
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
            let found = searcher.top_k(&codes, quantizer.code_size(), 7).expect("finds");
            assert_eq!(found.iter().map(|n| n.id as usize).collect::<Vec<_>>(), order[..7], "{name}");
            let mut short = vec![0.0; decoded.nrows() - 1];
            assert!(searcher.score_into(&codes, &mut short).is_err(), "{name}: lengths must fit");
        }
    }
}

/// More bits never hurt.
///
/// # Panics
/// Where a method does not.
pub fn more_bits_never_hurt(bench: &Bench) {
    let (train, base) = (gaussian(3000, DIM, 1), gaussian(1000, DIM, 2));
    for entry in bench.entries() {
        let schema = entry.params_schema();
        let has_bits = schema.get("properties").and_then(|p| p.get("bits")).is_some();
        if !has_bits {
            continue;
        }
        for example in entry.examples {
            let mut last = f64::INFINITY;
            for bits in 1..=6 {
                let mut params: serde_json::Value = serde_json::from_str(example).expect("JSON");
                params["bits"] = bits.into();
                // Another way to say the same thing.
                params.as_object_mut().expect("an object").shift_remove("codewords");
                let method = parse(entry.name, params).expect("parses");
                let quantizer = method.fit(train.view(), &bench.context(1)).expect("fits");
                let distortion = mse(base.view(), decode(&*quantizer, &encode(&*quantizer, base.view())).view());
                assert!(distortion < last * 1.01, "{} {example} at {bits} bits: {distortion} after {last}", entry.name);
                last = distortion;
            }
        }
    }
}

/// Data at the edges: each gives a finite result that is right, or a clear error; nothing panics.
///
/// # Panics
/// Where a method does not.
pub fn edge_cases_give_a_right_result_or_a_clear_error(bench: &Bench) {
    let one = gaussian(1, DIM, 1);
    let constant = Array2::from_elem((50, DIM), 0.75f32);
    let two_rows = Array2::from_shape_fn((60, DIM), |(i, j)| if i % 2 == 0 { j as f32 } else { -1.0 });
    let tiny = gaussian(100, DIM, 2) * 1e-30f32;
    let huge = gaussian(100, DIM, 2) * 1e30f32;
    for (name, method) in bench.specimens() {
        let cx = bench.context(1);
        let none = Array2::<f32>::zeros((0, DIM));
        assert!(matches!(method.fit(none.view(), &cx), Err(MethodError::NoRows)), "{name}");
        for bad in [f32::NAN, f32::INFINITY] {
            let mut rows = gaussian(20, DIM, 3);
            rows[(13, 5)] = bad;
            let error = method.fit(rows.view(), &cx).err().unwrap_or_else(|| panic!("{name} takes {bad}"));
            assert!(matches!(error, MethodError::NonFinite { row: 13, column: 5, .. }), "{name}: {error}");
        }
        for (case, rows) in [("one row", &one), ("constant", &constant), ("two distinct rows", &two_rows)] {
            let quantizer = method.fit(rows.view(), &cx).unwrap_or_else(|e| panic!("{name}, {case}: {e}"));
            let decoded = decode(&*quantizer, &encode(&*quantizer, rows.view()));
            assert!(decoded.iter().all(|v| v.is_finite()), "{name}, {case}");
            let power = mse(rows.view(), Array2::zeros(rows.dim()).view());
            assert!(mse(rows.view(), decoded.view()) <= power, "{name}, {case}");
            assert!(encode(&*quantizer, Array2::zeros((0, DIM)).view()).is_empty(), "{name}: no rows, no codes");
        }
        for (case, rows) in [("huge", &huge), ("tiny", &tiny)] {
            let error = method.fit(rows.view(), &cx).err().unwrap_or_else(|| panic!("{name} takes {case} rows"));
            let clear = matches!(error, MethodError::Range(_)) && error.to_string().contains("rescale");
            assert!(clear, "{name}, {case}: {error}");
        }
        let quantizer = method.fit(two_rows.view(), &cx).expect("fits");
        let narrow = quantizer.encode_into(Array2::zeros((2, DIM - 1)).view(), &mut [0; 64]);
        assert_eq!(narrow, Err(MethodError::Dimension { expected: DIM, found: DIM - 1 }), "{name}");
    }
}

/// One dimension is enough, or the method says what is.
///
/// # Panics
/// Where a method does not.
pub fn one_dimension_is_enough(bench: &Bench) {
    let rows = gaussian(200, 1, 1);
    for (name, method) in bench.specimens() {
        match method.check(1) {
            Ok(()) => {
                let quantizer = method.fit(rows.view(), &bench.context(1)).unwrap_or_else(|e| panic!("{name}: {e}"));
                let decoded = decode(&*quantizer, &encode(&*quantizer, rows.view()));
                assert!(mse(rows.view(), decoded.view()) < 1.0, "{name}");
            }
            Err(error) => assert!(error.help.is_some(), "{name}: {error} tells no way out"),
        }
    }
}

/// A fit that is cancelled stops.
///
/// # Panics
/// Where a method does not.
pub fn cancellation_is_honoured(bench: &Bench) {
    let rows = gaussian(200, DIM, 1);
    for (name, method) in bench.specimens() {
        let cx = bench.context(1);
        cx.cancel.cancel();
        assert_eq!(method.fit(rows.view(), &cx).err(), Some(MethodError::Cancelled), "{name}");
    }
}

/// A trained quantizer is its file: read back, it has the same codes, decodes, sizes and searches.
///
/// # Panics
/// Where a method does not.
pub fn a_saved_quantizer_is_the_same_quantizer(bench: &Bench) {
    let (train, base) = (gaussian(300, DIM, 1), gaussian(100, DIM, 2));
    let cx = bench.context(3);
    for (name, method) in bench.specimens() {
        let quantizer = method.fit(train.view(), &cx).expect("fits");
        let file = crate::contract::model::write(&*method, &*quantizer);
        // Another seed: nothing of it may matter.
        let other = bench.context(99);
        let restored = if !bench.is_registered(&*method) {
            let mut state = crate::State::default();
            quantizer.save(&mut state);
            method.restore(DIM, &mut state, &other).unwrap_or_else(|e| panic!("{name}: {e}"))
        } else {
            let model = crate::contract::model::read(&file, &other).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(model.method.params(), method.params(), "{name}");
            model.quantizer
        };
        assert_eq!(
            (restored.dim(), restored.code_bits(), restored.code_size(), restored.model_size()),
            (quantizer.dim(), quantizer.code_bits(), quantizer.code_size(), quantizer.model_size()),
            "{name}"
        );
        let codes = encode(&*quantizer, base.view());
        assert_eq!(encode(&*restored, base.view()), codes, "{name}");
        assert_eq!(decode(&*restored, &codes), decode(&*quantizer, &codes), "{name}");
        for metric in [SearchMetric::L2, SearchMetric::InnerProduct] {
            let score = |quantizer: &dyn Quantizer| {
                quantizer.searcher(metric).map(|mut searcher| {
                    let mut scores = vec![0f32; base.nrows()];
                    searcher.set_query(&base.row(0).to_vec());
                    searcher.score_into(&codes, &mut scores).expect("scores");
                    scores
                })
            };
            assert_eq!(score(&*restored), score(&*quantizer), "{name} {metric:?}");
        }
        assert_eq!(crate::contract::model::write(&*method, &*restored), file, "{name}: the file of the restored one");
    }
}

/// Shared bytes are what is stored of a model, and not more: a file may hold them in a wider form.
///
/// # Panics
/// Where a method does not.
pub fn the_model_size_is_no_more_than_its_file(bench: &Bench) {
    let train = gaussian(300, DIM, 1);
    for (name, method) in bench.specimens() {
        let quantizer = method.fit(train.view(), &bench.context(3)).expect("fits");
        let file = crate::contract::model::write(&*method, &*quantizer);
        assert!(quantizer.model_size() <= file.len(), "{name}");
    }
}

/// Rows that are all the same lose nothing: training has seen the one there is.
///
/// # Panics
/// Where a method does not.
pub fn constant_rows_lose_nothing(bench: &Bench) {
    let constant = Array2::from_elem((50, DIM), 0.75f32);
    let power = mse(constant.view(), Array2::zeros(constant.dim()).view());
    let mut broken = Vec::new();
    for (name, method) in bench.held_to("constant_rows_lose_nothing") {
        let quantizer = method.fit(constant.view(), &bench.context(1)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let decoded = decode(&*quantizer, &encode(&*quantizer, constant.view()));
        let error = mse(constant.view(), decoded.view());
        if error >= 1e-8 * power {
            broken.push(format!("{name}: {error} of {power}"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// No two parts of a fit draw the same random numbers.
///
/// # Panics
/// Where those of a method do.
pub fn no_stream_is_drawn_from_twice(bench: &Bench) {
    let train = gaussian(300, DIM, 1);
    let mut broken = Vec::new();
    for (name, method) in bench.held_to("no_stream_is_drawn_from_twice") {
        let cx = Context { streams: Streams::remembered(), ..bench.context(1) };
        method.fit(train.view(), &cx).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut seen = HashSet::new();
        let again: Vec<_> = cx.streams.drawn().into_iter().filter(|stream| !seen.insert(*stream)).collect();
        if !again.is_empty() {
            broken.push(format!("{name} draws again from {again:?}"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Where rows lie says nothing about how well they can be coded: moved by a thousand deviations they lose no more.
///
/// # Panics
/// Where a method does not.
pub fn distance_from_zero_costs_nothing(bench: &Bench) {
    let near = gaussian(1000, DIM, 1);
    for (name, method) in bench.held_to("distance_from_zero_costs_nothing") {
        let error = |rows: &Array2<f32>| {
            let quantizer = method.fit(rows.view(), &bench.context(1)).expect("fits");
            mse(rows.view(), decode(&*quantizer, &encode(&*quantizer, rows.view())).view()).sqrt()
        };
        let here = error(&near);
        for distance in [1e3, 1e6] {
            let there = error(&(&near + distance));
            // f32 itself holds the rows at a million to .03, which fine levels begin to see.
            let allowed = 1.03 * here + super::range::resolution(distance);
            assert!(there <= allowed, "{name}: errors of {there} at {distance} from zero, of {here} near it");
        }
    }
}

/// Any method works behind any transform, whose bytes are counted and whose scores are those of decoded vectors.
///
/// # Panics
/// Where a method does not.
pub fn transforms_go_before_any_method(bench: &Bench) {
    let (train, base) = (gaussian(400, DIM, 1) + 3.0, gaussian(50, DIM, 2) + 3.0);
    for entry in bench.entries() {
        let params: serde_json::Value = serde_json::from_str(entry.examples[0]).expect("JSON");
        if !params.is_object() {
            continue;
        }
        let plain =
            parse(entry.name, params.clone()).expect("parses").fit(train.view(), &bench.context(1)).expect("fits");
        for (transform, dim_after, bytes) in [
            (serde_json::json!("none"), DIM, 0),
            (serde_json::json!("center"), DIM, 4 * DIM),
            (serde_json::json!("random-rotation"), DIM, 4 * DIM * DIM),
            (serde_json::json!({ "pca": { "dim": DIM } }), DIM, 4 * (DIM + DIM * DIM)),
            (serde_json::json!({ "pca": { "dim": 8 } }), 8, 4 * (DIM + DIM * 8)),
            (serde_json::json!({ "opq": { "m": 3, "bits": 4 } }), DIM, 4 * (DIM + DIM * DIM)),
        ] {
            let name = format!("{} behind {transform}", entry.name);
            let mut params = params.clone();
            params["transform"] = transform.clone();
            let method = parse(entry.name, params).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!((method.name(), &method.params()["transform"]), (entry.name, &transform), "{name}");
            let quantizer = method.fit(train.view(), &bench.context(1)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(quantizer.code_bits(), method.code_bits(DIM), "{name}");
            if dim_after == DIM {
                assert_eq!(quantizer.model_size(), plain.model_size() + bytes, "{name}");
            }
            let codes = encode(&*quantizer, base.view());
            let decoded = decode(&*quantizer, &codes);
            let centred = &base - &base.mean_axis(ndarray::Axis(0)).expect("rows");
            let power = mse(centred.view(), Array2::zeros(base.dim()).view());
            assert!(mse(base.view(), decoded.view()) < 1.3 * power + 1.0, "{name}: no worse than the mean, by much");
            let file = crate::contract::model::write(&*method, &*quantizer);
            let model =
                crate::contract::model::read(&file, &bench.context(9)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(encode(&*model.quantizer, base.view()), codes, "{name}");
            for metric in [SearchMetric::L2, SearchMetric::InnerProduct] {
                let Some(mut searcher) = quantizer.searcher(metric).filter(|s| !s.is_estimate()) else { continue };
                let query = base.row(3).to_vec();
                searcher.set_query(&query);
                let mut scores = vec![0f32; base.nrows()];
                searcher.score_into(&codes, &mut scores).expect("scores");
                for (row, &score) in decoded.outer_iter().zip(&scores) {
                    let exact: f64 = match metric {
                        SearchMetric::L2 => row.iter().zip(&query).map(|(x, q)| f64::from(x - q).powi(2)).sum(),
                        SearchMetric::InnerProduct => {
                            -row.iter().zip(&query).map(|(x, q)| f64::from(x * q)).sum::<f64>()
                        }
                    };
                    assert!((f64::from(score) - exact).abs() < 1e-3, "{name} {metric:?}: {score} for {exact}");
                }
                let found = searcher.top_k(&codes, quantizer.code_size(), 3).expect("finds");
                assert!((found[0].score - scores[found[0].id as usize]).abs() < 1e-5, "{name}: one scale for both");
            }
        }
    }
}
