//! The comparison of a record with the record of the same trial run again.

// Of what tests share, this file needs a part.
#[allow(dead_code)]
mod common;

use common::{record, trial};
use record::metric::{CODEWORD_FREQUENCY, ENCODE_VECTORS_PER_SECOND, IP_BIAS, NMSE, RECALL_K_AT_K, TRAINING_MSE};
use record::{Measured, Status, TrialRecord};
use reports::rerun::{Agreement, Codes, RerunComparison, compare_records};

fn recorded() -> TrialRecord {
    let mut recorded = record(trial("PQ m=4", "PQ", 32, 1), 0.25);
    recorded.codes_sha256 = Some("ab".repeat(32));
    recorded.values.push(Measured::new(&IP_BIAS, 1e-7));
    recorded.values.extend((0..3).map(|i| Measured::new(&TRAINING_MSE, 3.0 - i as f64).repeat(i)));
    recorded
}

fn with(change: impl FnOnce(&mut TrialRecord)) -> RerunComparison {
    let mut now = recorded();
    change(&mut now);
    compare_records(&recorded(), &now)
}

fn of<'a>(record: &'a mut TrialRecord, metric: &str) -> &'a mut Measured {
    record.values.iter_mut().find(|value| value.metric == metric).expect("measured")
}

fn agreement(found: &RerunComparison, metric: &str) -> Agreement {
    found.metrics.iter().find(|m| m.metric == metric).expect("compared").agreement
}

#[test]
fn equal_records_agree_and_speed_does_not_count() {
    let found = with(|now| of(now, ENCODE_VECTORS_PER_SECOND.name).value *= 0.5);
    assert!(found.agrees() && found.same_arithmetic && found.codes == Codes::Equal);
    assert_eq!(found.worst_metric(), Agreement::Equal);
    insta::assert_snapshot!(found.lines().join("\n"));
}

#[test]
fn on_the_same_arithmetic_only_rounding_is_within_tolerance() {
    let nmse = |factor: f64| with(|now| of(now, NMSE.name).value *= factor);
    assert_eq!(agreement(&nmse(1.0 + 1e-9), NMSE.name), Agreement::Within);
    assert!(nmse(1.0 + 1e-9).agrees());
    assert_eq!(agreement(&nmse(1.00001), NMSE.name), Agreement::Different);
    assert!(!nmse(1.00001).agrees());
    let codes = with(|now| now.codes_sha256 = Some("00".repeat(32)));
    assert!(codes.codes == Codes::Different && !codes.agrees());
    let lost = with(|now| now.codes_sha256 = None);
    assert!(lost.codes == Codes::Different && !lost.agrees());
    // A value that one side lacks, and one iteration too many.
    let fewer = with(|now| now.values.retain(|value| value.metric != RECALL_K_AT_K.name));
    assert!(agreement(&fewer, RECALL_K_AT_K.name) == Agreement::Different && !fewer.agrees());
    let more = with(|now| now.values.push(Measured::new(&TRAINING_MSE, 0.5).repeat(3)));
    assert!(agreement(&more, TRAINING_MSE.name) == Agreement::Different && !more.agrees());
    insta::assert_snapshot!(more.lines().join("\n"));
}

#[test]
fn on_other_arithmetic_codes_may_differ_and_quality_decides() {
    let elsewhere = |factor: f64, recall: f64| {
        with(|now| {
            now.machine.simd = "portable".into();
            now.codes_sha256 = Some("00".repeat(32));
            of(now, NMSE.name).value *= factor;
            of(now, RECALL_K_AT_K.name).value += recall;
            of(now, IP_BIAS.name).value = -3e-7;
            now.values.push(Measured::new(&TRAINING_MSE, 0.5).repeat(3));
        })
    };
    let near = elsewhere(1.01, -0.01);
    assert!(!near.same_arithmetic && near.codes == Codes::Different && near.agrees(), "{near:?}");
    assert_eq!(agreement(&near, NMSE.name), Agreement::Within);
    assert!(!elsewhere(0.8, 0.0).agrees());
    assert!(!elsewhere(1.0, 0.2).agrees());
    // A metric that only the record has was never measured, whether it is judged or not.
    for metric in [&RECALL_K_AT_K, &IP_BIAS] {
        let lost = with(|now| {
            now.machine.simd = "portable".into();
            now.values.retain(|value| value.metric != metric.name);
        });
        assert!(agreement(&lost, metric.name) == Agreement::Different && !lost.agrees(), "{lost:?}");
    }
    insta::assert_snapshot!(near.lines().join("\n"));
}

/// Older builds recorded the frequencies of the ranks 1, 2, 4, … with the `repeat` 0, 1, 2, ….
#[test]
fn frequencies_of_codewords_are_compared_by_rank_with_older_records() {
    let with = |values: &[(usize, f64)]| {
        let mut record = recorded();
        let values = values.iter().map(|(repeat, value)| Measured::new(&CODEWORD_FREQUENCY, *value).repeat(*repeat));
        record.values.extend(values);
        record
    };
    let old = with(&[(0, 0.5), (1, 0.3), (2, 0.05)]);
    let new = with(&[(1, 0.5), (2, 0.3), (3, 0.1), (4, 0.05), (5, 0.05)]);
    let other = with(&[(1, 0.5), (2, 0.4), (3, 0.05), (4, 0.05)]);
    for (a, b, same) in [(&old, &new, true), (&new, &old, true), (&old, &other, false), (&new, &other, false)] {
        let found = compare_records(a, b);
        let expected = if same { Agreement::Equal } else { Agreement::Different };
        assert_eq!(agreement(&found, CODEWORD_FREQUENCY.name), expected, "{found:?}");
    }
    // A record that lacks them altogether differs.
    assert_eq!(agreement(&compare_records(&recorded(), &new), CODEWORD_FREQUENCY.name), Agreement::Different);
}

#[test]
fn a_gpu_is_part_of_the_arithmetic_of_trials_that_ran_on_it() {
    let gpu = |device: &str| {
        let change = |record: &mut TrialRecord, name: &str| {
            record.trial.device = device.to_owned();
            record.machine.gpu = Some(name.to_owned());
        };
        let (mut old, mut new) = (recorded(), recorded());
        change(&mut old, "one");
        change(&mut new, "another");
        compare_records(&old, &new).same_arithmetic
    };
    assert!(gpu("cpu") && !gpu("cuda"));
}

#[test]
fn a_trial_that_fails_does_not_agree() {
    let failed = with(|now| {
        now.status = Status::Failed;
        now.reason = Some("fit: no memory".into());
        now.values.clear();
    });
    assert!(!failed.agrees());
    assert_eq!(failed.lines(), ["the trial failed: fit: no memory"]);
    let json = serde_json::to_string(&failed).expect("JSON");
    assert_eq!(serde_json::from_str::<RerunComparison>(&json).expect("reads"), failed);
}
