//! What a search for the best code takes from the registry: parameters to try, and the largest rate within a size.

use methods::registry::find;
use methods::{METHODS, parse};
use serde_json::{Value, json};

fn largest(name: &str, params: Value, dim: usize, bits: usize) -> Option<usize> {
    let params = find(name).expect("known").at_most(&params, dim, bits)?;
    let method = parse(name, params).expect("right");
    assert!(method.check(dim).is_ok());
    Some(method.code_bits(dim))
}

#[test]
fn the_largest_rate_within_a_limit_is_found_or_none() {
    assert_eq!(largest("pq", json!({}), 100, 512), Some(400), "50 groups; no more of 100 components give 64 bytes");
    assert_eq!(largest("pq", json!({ "transform": { "pca": { "dim": 64 } } }), 100, 512), Some(512));
    assert_eq!(largest("rvq", json!({}), 100, 512), Some(512));
    assert_eq!(largest("rabitq", json!({}), 128, 128), None, "64 bits of side values come on top");
    assert_eq!(largest("binary", json!({}), 128, 127), None);
    assert_eq!(largest("binary", json!({}), 128, 4096), Some(128));
}

#[test]
fn what_a_search_tries_is_right_for_its_method() {
    for entry in METHODS {
        for params in entry.tries.params {
            let params: Value = serde_json::from_str(params).expect("JSON");
            assert!(params.is_object(), "{} {params}", entry.name);
            // A size with room for any method.
            let found = entry.at_most(&params, 24, 24 * 8);
            assert!(found.is_some(), "{} {params} has no code of at most 8 bits per component", entry.name);
        }
    }
}
