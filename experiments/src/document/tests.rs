//! Tests of documents: what YAML means here, what is refused, and that written YAML reads back.

use super::*;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn values_follow_the_core_schema_and_places_are_bytes() {
    let text = "name: é\nseeds: [1, -2, 0x10, 1e-3]\nquoted: \"1\"\nnested:\n  - toy: { m: 16 }\nempty:\n";
    let document = Document::parse("t.yaml", text).expect("valid");
    let expected = json!({
        "name": "é", "seeds": [1, -2, 16, 0.001], "quoted": "1", "nested": [{"toy": {"m": 16}}], "empty": null
    });
    assert_eq!(document.value(), &expected);
    assert_eq!(&text[document.locate("/nested/0/toy/m")], "16");
    assert_eq!(&text[document.locate_key("/nested/0/toy/m")], "m");
    assert_eq!(&text[document.locate("/nested/0/toy")], "toy");
    assert_eq!(&text[document.locate("/nested/0/toy/absent")], "toy");
    assert_eq!(&text[document.locate("/seeds/1")], "-2");
}

#[test]
fn what_yaml_allows_and_an_experiment_should_not_is_refused() {
    let deep = format!("a: {}1{}", "[".repeat(100), "]".repeat(100));
    let bomb = format!(
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n{}",
        (1..9)
            .map(|i| {
                let previous = if i == 1 { "a".to_owned() } else { format!("b{}", i - 1) };
                format!("b{i}: &b{i} [{}]\n", vec![format!("*{previous}"); 10].join(","))
            })
            .collect::<String>()
    );
    let long_alias = format!("a: &a {}\nb: [{}]\n", "s".repeat(100_000), vec!["*a"; 90_000].join(","));
    let long_text = format!("a: [{}]\n", vec!["0"; 1 << 20].join(","));
    for (text, expected) in [
        ("a: 1\na: 2\n", "is repeated"),
        ("a: [1, 2\nb: 3", "not valid YAML"),
        ("base: &b {x: 1}\nmore:\n  <<: *b\n", "merge keys"),
        ("a: 1\n---\nb: 2\n", "second document"),
        (deep.as_str(), "more than 32 levels of nesting"),
        (bomb.as_str(), "holds more than 100000 values"),
        (long_alias.as_str(), "holds more than 4MiB of text"),
        (long_text.as_str(), "is too long"),
        ("a: *nothing", "not valid YAML"),
        ("? [1]\n: 2\n", "a key must be plain text"),
    ] {
        let fault = Document::parse("t.yaml", text).expect_err("refused");
        assert!(fault.to_string().contains(expected), "{text:?}: {fault}");
    }
    assert_eq!(
        Document::parse("t", "a: &x [1, 2]\nb: *x").expect("aliases work").value(),
        &json!({"a": [1, 2], "b": [1, 2]})
    );
}

#[test]
fn places_take_as_much_as_the_document_whatever_the_length_of_its_keys() {
    // As pointers, each of the values would hold the key: 9 GB.
    let key = "k/~".repeat(33_000);
    let text = format!("? \"{key}\"\n: [{}]\n", vec!["0"; 90_000].join(","));
    let document = Document::parse("t.yaml", &text).expect("within all bounds");
    let pointer = format!("/{}/89999", escape(&key));
    assert_eq!(&text[document.locate(&pointer)], "0");
    assert_eq!(document.locate(&pointer).end, text.trim_end().len() - 1);
}

/// Strings that YAML would read as something else if written without quotes.
const HOSTILE: [&str; 47] = [
    "",
    " ",
    "~",
    "null",
    "Null",
    "no",
    "No",
    "yes",
    "on",
    "off",
    "y",
    "true",
    "False",
    "1e3",
    "1E+3",
    ".5",
    "5.",
    "+1",
    "-0",
    "007",
    "0x1F",
    "+0x1F",
    "0o17",
    "1_000",
    "18446744073709551616",
    ".inf",
    "-.Inf",
    ".nan",
    "NaN",
    "1:30",
    "2024-01-01",
    "<<",
    "=",
    "---",
    "- a",
    "a: b",
    "a #b",
    " leading",
    "trailing ",
    "two\nlines",
    "  indented\n first\n\n",
    "\n",
    "tab\t",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "a\u{2029}\nb",
];

#[test]
fn hostile_texts_read_back_as_values_and_as_keys() {
    for text in HOSTILE {
        let mut value = json!({ "a": text, "b": [text, { "c": text }] });
        if text != "<<" {
            value[text] = json!(1);
        }
        let written = to_yaml(&value);
        let back = Document::parse("t.yaml", &written).unwrap_or_else(|fault| panic!("{text:?}: {fault}\n{written}"));
        assert_eq!(back.value(), &value, "{text:?}:\n{written}");
    }
    // To the last bit, however long.
    for number in [f64::MIN_POSITIVE, 5e-324, f64::MAX, 0.1 + 0.2, 1e22, -0.0, 1.0 / 3.0] {
        let written = to_yaml(&json!({ "a": number }));
        let back = Document::parse("t.yaml", &written).unwrap_or_else(|fault| panic!("{number}: {fault}"));
        assert_eq!(back.value()["a"].as_f64().map(f64::to_bits), Some(number.to_bits()), "{written}");
    }
}

fn plain_data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~é]{0,12}".prop_map(Value::from),
        "[-+.0-9eExo_~:#&*!|>'\"%@`,? \t\n]{0,8}".prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(&HOSTILE[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z :#0-9-]{1,8}|[ -;=-~\\n]{0,6}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn written_yaml_reads_back(data in prop::collection::hash_map("[a-z]{1,6}", plain_data(), 1..4)) {
        let value = Value::Object(data.into_iter().collect());
        let text = to_yaml(&value);
        let back = Document::parse("t.yaml", &text).map_err(|f| TestCaseError::fail(format!("{f}\n{text}")))?;
        prop_assert_eq!(back.value(), &value, "{}", text);
    }

    #[test]
    fn random_text_never_panics(text in "[ -~\n\t\u{e9}&*:\\-\\[\\]{}]{0,120}") {
        let _ = Document::parse("t.yaml", &text);
    }
}
