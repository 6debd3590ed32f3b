//! The panel "Which code?" of a page: every answer that a reader can ask for is in the page, and is right.

#[allow(dead_code)]
mod common;

use common::{run, text};
use serde_json::Value;

/// The data of the first panel.
fn panel(page: &str) -> Value {
    let (_, rest) = page.split_once("<script type=\"application/json\">").expect("a panel");
    let (data, _) = rest.split_once("</script>").expect("an end");
    serde_json::from_str(data).expect("JSON")
}

/// The answer to a limit on bytes and one on recall, both by their number in the list; 0 for none.
fn answer(panel: &Value, bytes: usize, recall: usize) -> (String, String) {
    let grid = panel["grid"].as_array().expect("a grid");
    // There are three sizes and no limit.
    let recalls = grid.len() / 4;
    let number = grid[bytes * recalls + recall].as_u64().expect("a number") as usize;
    let answer = &panel["answers"][number];
    let lines: Vec<&str> = answer["lines"].as_array().expect("lines").iter().filter_map(Value::as_str).collect();
    (answer["head"].as_str().expect("a head").to_owned(), lines.join("\n"))
}

#[test]
fn every_combination_of_limits_has_its_answer() {
    let page = text(&run(), "index.html");
    let panel = panel(&page);
    // The sizes are 2, 4 and 8 bytes; the recalls start with 0.5, 0.6, 0.7, 0.8 and 0.9.
    let (head, lines) = answer(&panel, 2, 0);
    assert_eq!(head, "PQ m=4", "the best recall in 4 bytes");
    assert!(lines.starts_with("4 bytes, recall 0.900"), "{lines}");
    assert!(lines.contains("the best of the 4 codes tried with a probability of"), "{lines}");
    assert!(lines.contains("Runner-up: Scalar 2 bit; 4 bytes, recall 0.880"), "{lines}");
    assert!(lines.contains("With size at most 8 bytes: Scalar 4 bit: 8 bytes, recall 0.990"), "{lines}");
    let (head, lines) = answer(&panel, 0, 4);
    assert_eq!(head, "PQ m=4", "the smallest with a recall of 0.8, and the better one of that size");
    assert!(lines.contains("With recall at least 0.700: nothing better"), "{lines}");
    let (head, lines) = answer(&panel, 1, 4);
    assert_eq!(head, "No code of these trials is within the limits.");
    assert!(lines.contains("Nearest to size at most 2 bytes within the other limits: PQ m=4, size 4 bytes"), "{lines}");
    assert!(
        lines.contains("Nearest to recall at least 0.800 within the other limits: PQ m=2, recall 0.600"),
        "{lines}"
    );
    assert_eq!(answer(&panel, 0, 0).0, "Choose a limit.");
    let answers = panel["answers"].as_array().expect("answers").len() as u64;
    assert!(panel["grid"].as_array().expect("a grid").iter().all(|number| number.as_u64() < Some(answers)));
    // Without a script, the page shows the answer for a size in the middle.
    assert!(page.contains("<strong>PQ m=4</strong>"));
}

#[test]
fn labels_cannot_end_the_data() {
    let mut run = run();
    for record in &mut run.records {
        record.trial.label = record.trial.label.replace("PQ", "</script><img src=x>");
    }
    for trial in &mut run.info.trials {
        trial.label = trial.label.replace("PQ", "</script><img src=x>");
    }
    let page = text(&run, "index.html");
    assert_eq!(answer(&panel(&page), 2, 0).0, "</script><img src=x> m=4");
    assert!(!page.contains("<img src=x>"));
}

#[test]
fn a_run_with_one_code_has_no_panel() {
    let mut run = run();
    run.records.retain(|record| record.trial.label == "PQ m=4");
    assert!(!text(&run, "index.html").contains("data-panel="));
}
