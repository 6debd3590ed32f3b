//! Reads the timings of `torch_steps.py` on the same machine, for ratios.

use reports::statistics::middle;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The first line of its file.
const HEADER: &str = "step,n,dim,k,device,repeat,seconds";

/// A file that is not one of `torch_steps.py`.
#[derive(Debug, thiserror::Error)]
pub enum TorchError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// It is something else.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
}

/// Seconds per vector of each step, by medians.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Torch {
    steps: BTreeMap<String, StepSeconds>,
}

#[derive(Clone, Debug, PartialEq)]
struct StepSeconds {
    n: usize,
    k: usize,
    seconds: Vec<f64>,
}

impl Torch {
    /// Reads its file.
    ///
    /// # Errors
    /// It cannot be read, or has a line that is not a measurement.
    pub fn read(path: &Path) -> Result<Torch, TorchError> {
        let unreadable = |error| TorchError::Unreadable { path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        parse(&text).map_err(|reason| TorchError::Malformed { path: path.to_owned(), reason })
    }

    /// Its time per vector over ours, if it has the step with the same number of codewords.
    pub fn ratio(&self, step: &str, n: usize, k: usize, ours: f64) -> Option<f64> {
        let theirs = self.steps.get(step).filter(|theirs| theirs.k == k)?;
        Some(middle(&theirs.seconds) / theirs.n as f64 / (ours / n as f64))
    }
}

fn parse(text: &str) -> Result<Torch, String> {
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some(HEADER) {
        return Err(format!("line 1 is not `{HEADER}`"));
    }
    let mut torch = Torch::default();
    for (line, number) in lines.zip(2..).filter(|(line, _)| !line.trim().is_empty()) {
        let wrong = || format!("line {number} is not a measurement: {line}");
        let cells: Vec<&str> = line.trim().split(',').collect();
        let [step, n, _, k, _, _, seconds] = cells[..] else { return Err(wrong()) };
        let (n, k) = n.parse().ok().zip(k.parse().ok()).ok_or_else(wrong)?;
        let seconds = seconds.parse().ok().filter(|s: &f64| s.is_finite() && *s > 0.0).ok_or_else(wrong)?;
        let of_step = torch.steps.entry(step.to_owned()).or_insert(StepSeconds { n, k, seconds: vec![] });
        if (of_step.n, of_step.k, n > 0) != (n, k, true) {
            return Err(format!("line {number} has another size than the lines before it: {line}"));
        }
        of_step.seconds.push(seconds);
    }
    Ok(torch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_or_refused_with_its_line() {
        let text = format!("{HEADER}\nassign-4k,1000,128,4096,cuda,0,0.5\nassign-4k,1000,128,4096,cuda,1,0.7\n\n");
        let torch = parse(&text).expect("a file");
        assert_eq!(torch.ratio("assign-4k", 2000, 4096, 0.6), Some(0.6 / 1000.0 / (0.6 / 2000.0)));
        assert_eq!((torch.ratio("assign-4k", 2000, 16, 0.6), torch.ratio("other", 1, 1, 1.0)), (None, None));
        for (more, reason) in [
            ("x", "line 5 is not a measurement: x"),
            ("a,1,2,3,cuda,0,-1", "line 5 is not a measurement: a,1,2,3,cuda,0,-1"),
            (
                "assign-4k,10,128,4096,cuda,2,0.5",
                "line 5 has another size than the lines before it: assign-4k,10,128,4096,cuda,2,0.5",
            ),
        ] {
            assert_eq!(parse(&format!("{text}{more}\n")), Err(reason.to_owned()));
        }
        assert!(parse("step\n").is_err() && parse("").is_err());
    }
}
