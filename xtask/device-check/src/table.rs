//! The check as Markdown: a pure function of its results.

use crate::{tidy, torch::Torch};
use cuda::Facts;
use cuda::proofs::Agreement;
use methods::steps::{DevicePeaks, StepWork, Timing};
use record::{Machine, Metric};
use reports::number::{bytes, engineering, significant};
use reports::statistics::{middle, spread};

/// What is checked, and where.
#[derive(Clone, Debug)]
pub struct DeviceRun {
    /// The machine.
    pub machine: Machine,
    /// The device.
    pub facts: Facts,
    /// The compiler, and how long it took.
    pub compiler: String,
    /// Seed of all inputs.
    pub seed: u64,
    /// Scale of the sizes.
    pub scale: f64,
    /// PyTorch's times, where there are any.
    pub torch: Torch,
}

/// Everything found so far.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Proofs by name, in their order; those that could not be made with the reason.
    pub proofs: Vec<(String, Result<Agreement, String>)>,
    /// What the device can do at most.
    pub limits: Option<Result<DevicePeaks, String>>,
    /// Steps by name, in their order.
    pub steps: Vec<(&'static str, Result<Timing, String>)>,
}

impl Findings {
    /// Whether nothing is wrong or missing.
    pub fn hold(&self) -> bool {
        self.proofs.iter().all(|(_, end)| end.as_ref().is_ok_and(Agreement::holds))
            && self.limits.as_ref().is_none_or(Result::is_ok)
            && self.steps.iter().all(|(_, end)| end.is_ok())
    }

    /// In one line.
    pub fn summary(&self) -> String {
        let proven = self.proofs.iter().filter(|(_, end)| end.as_ref().is_ok_and(Agreement::holds)).count();
        let timed = self.steps.iter().filter(|(_, end)| end.is_ok()).count();
        format!("{proven} of {} proven, {timed} of {} steps timed", self.proofs.len(), self.steps.len())
    }

    fn limits(&self) -> Option<DevicePeaks> {
        self.limits.as_ref().and_then(|limits| limits.as_ref().ok()).copied()
    }
}

const NOTES: &str = "\
Seconds by the device's clock: the median, ± half the distance between the fastest and the slowest repeat, after a warm-up; inputs lie \
on the device. The share of the limit is what the work would take at the limits above, over what it took. Tensor cores are measured \
with the instruction that the kernels use.
";

/// What the device is.
pub fn heading(setting: &DeviceRun) -> String {
    let DeviceRun { machine, facts, compiler, seed, scale, .. } = setting;
    format!(
        "{}, compute capability {}.{}, {} multiprocessors, {}, cache {}, CUDA {}; {compiler}.\nBeside {}, {} cores, {}. \
         Seed {seed}, scale {scale}.\n",
        facts.name,
        facts.capability.0,
        facts.capability.1,
        facts.multiprocessors,
        bytes(facts.memory_bytes as f64),
        bytes(facts.cache_bytes as f64),
        facts.driver,
        if machine.cpu.is_empty() { "an unknown processor" } else { &machine.cpu },
        machine.cores,
        machine.simd,
    )
}

/// The whole page.
pub fn to_markdown(setting: &DeviceRun, findings: &Findings) -> String {
    let mut out = format!("# CUDA kernels on this machine\n\n{}", heading(setting));
    if !findings.proofs.is_empty() {
        out +=
            "\n## Beside the processor\n\n| what | answers | near-ties | wrong | distortion over the processor's | |\n";
        out += "|--|--:|--:|--:|--:|--|\n";
        findings.proofs.iter().for_each(|(name, end)| out += &proof_line(name, end));
    }
    out + &times(setting, findings)
}

/// The limits and the steps: what is printed last.
pub fn times(setting: &DeviceRun, findings: &Findings) -> String {
    let mut out = String::new();
    match &findings.limits {
        None => return out,
        Some(Err(reason)) => out += &format!("\n**The limits could not be measured**: {}\n", one_line(reason)),
        Some(Ok(DevicePeaks { copy, floats, halves })) => {
            out += &format!(
                "\n## How fast\n\nMeasured here: copies of {} (read and written), {} in f32, {} of tensor cores (f16, sums in f32).\n",
                rate(*copy, "B/s"),
                rate(*floats, "FLOP/s"),
                rate(*halves, "FLOP/s"),
            );
        }
    }
    if findings.steps.is_empty() {
        return out;
    }
    out += "\n| step | size | time | rate | of the limit | bound by | PyTorch's time over ours | |\n|--|--|--:|--:|--:|--|--:|--|\n";
    findings.steps.iter().for_each(|(name, end)| out += &step_line(setting, findings.limits(), name, end));
    out + "\n" + NOTES
}

/// How a proof ended.
pub fn proof_line(name: &str, end: &Result<Agreement, String>) -> String {
    match end {
        Err(reason) => format!("| {name} | | | | | **failed**: {} |\n", one_line(reason)),
        Ok(found) => format!(
            "| {name} | {} | {} | {} | {} | {} |\n",
            found.compared,
            found.ties,
            found.wrong,
            found.excess().map_or(String::new(), |excess| format!("{:+.1e}", excess)),
            match (found.holds(), found.reasons.is_empty()) {
                (true, _) => "holds".to_owned(),
                (false, true) => "**distortion differs**".to_owned(),
                (false, false) => format!("**wrong**: {}", one_line(&found.reasons.join("; "))),
            }
        ),
    }
}

/// How a step ended.
fn step_line(setting: &DeviceRun, limits: Option<DevicePeaks>, name: &str, end: &Result<Timing, String>) -> String {
    let timing = match end {
        Err(reason) => return format!("| {name} | | | | | | | **failed**: {} |\n", one_line(reason)),
        Ok(timing) => timing,
    };
    let seconds = middle(&timing.seconds);
    let share = limits.map(|limits| format!("{:.0}%", 100.0 * share(timing, limits, seconds)));
    let bound: Vec<&str> = timing.work.iter().map(|work| work.bound()).collect();
    let ratio = setting.torch.ratio(name, timing.n, timing.k, seconds).map(|ratio| significant(ratio, 3));
    let mut notes: Vec<String> =
        timing.notes.iter().map(|(found, value)| note(tidy::metric_of(*found), *value)).collect();
    notes.extend(timing.transfers.iter().map(|(way, bytes, took)| format!("{way} {}", rate(bytes / took, "B/s"))));
    if timing.input_bytes < 2.0 * setting.facts.cache_bytes as f64 {
        notes.push("**the input fits the cache**".into());
    }
    format!(
        "| {name} | {} | {}s ±{:.0}% | {}/s | {} | {} | {} | {} |\n",
        size(timing),
        scaled(seconds),
        100.0 * spread(&timing.seconds),
        engineering(timing.n as f64 / seconds),
        share.unwrap_or_default(),
        bound.join(", then "),
        ratio.unwrap_or_default(),
        notes.join("; "),
    )
}

/// Seconds that the work would take at the limits, over those that it took.
pub fn share(timing: &Timing, limits: DevicePeaks, seconds: f64) -> f64 {
    timing.work.iter().map(|work: &StepWork| work.seconds(limits)).sum::<f64>() / seconds
}

/// How much a repeat is.
fn size(timing: &Timing) -> String {
    let short = |n: usize| engineering(n as f64).replace(' ', "");
    let queries = timing.queries.map_or(String::new(), |queries| format!(", {} queries", short(queries)));
    format!("{}{}{queries}", short(timing.n), timing.size)
}

fn note(metric: &Metric, value: f64) -> String {
    let value = match metric.unit {
        "1" => significant(value, 3),
        "B" => bytes(value),
        unit => format!("{} {unit}", significant(value, 3)),
    };
    format!("{} {value}", metric.name.trim_end_matches("_bytes").trim_end_matches("_seconds").replace('_', " "))
}

/// With k, M, G or T.
fn rate(value: f64, unit: &str) -> String {
    match value >= 0.9995e12 {
        true => format!("{} T{unit}", significant(value / 1e12, 3)),
        false => format!("{}{unit}", engineering(value)),
    }
}

/// With m or µ.
fn scaled(seconds: f64) -> String {
    match seconds {
        s if s >= 0.9995 => format!("{} ", significant(s, 3)),
        s if s >= 0.9995e-3 => format!("{} m", significant(s * 1e3, 3)),
        s => format!("{} µ", significant(s * 1e6, 3)),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use methods::steps::Note;

    #[test]
    fn the_page_shows_what_holds_and_what_does_not() {
        let setting = DeviceRun {
            machine: Machine { cpu: "A Processor".into(), cores: 16, simd: "avx512".into(), ..Machine::default() },
            facts: Facts {
                name: "A Device".into(),
                capability: (9, 0),
                multiprocessors: 132,
                shared_bytes: 227 << 10,
                cache_bytes: 50 << 20,
                memory_bytes: 139 << 30,
                driver: "13.0".into(),
            },
            compiler: "NVRTC 13.0, 4.2 s for sm_90".into(),
            seed: 7,
            scale: 1.0,
            torch: Torch::default(),
        };
        let mut wrong = Agreement { compared: 10, ties: 1, ..Agreement::default() };
        wrong.holds_if(false, || "row 3: codeword 9\nfor 2".into());
        let timing = Timing {
            size: "×128, K=4096".into(),
            queries: None,
            n: 10_000_000,
            dim: 128,
            k: 4096,
            seconds: vec![0.021, 0.020, 0.022],
            work: vec![StepWork::Halves(1.05e13), StepWork::Bytes(5.2e9)],
            input_bytes: 5.2e9,
            transfers: vec![("upload", 1e9, 0.1)],
            notes: vec![(Note::OpenShare, 0.0312), (Note::CpuSeconds, 12.3), (Note::PeakDeviceBytes, 3e9)],
        };
        let small = Timing { input_bytes: 1e6, transfers: vec![], notes: vec![], ..timing.clone() };
        let findings = Findings {
            proofs: vec![
                (
                    "assignment".into(),
                    Ok(Agreement { compared: 1000, ties: 2, distortion: [1.0 + 1e-7, 1.0], ..Agreement::default() }),
                ),
                ("cell-sums".into(), Ok(wrong)),
                ("products".into(), Err("the device is out of memory".into())),
            ],
            limits: Some(Ok(DevicePeaks { copy: 4.3e12, floats: 6.7e13, halves: 6e14 })),
            steps: vec![("assign-4k", Ok(timing)), ("assign-64k", Ok(small)), ("adc-scan", Err("a fault".into()))],
        };
        assert!(!findings.hold());
        insta::assert_snapshot!(to_markdown(&setting, &findings) + "\n" + &findings.summary());
    }
}
