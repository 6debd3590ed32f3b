//! What the parent of a trial's process notes for the log of the trial: when phases began, remarks, and how what the process
//! wrote on standard error ended.

use crate::clock::rounded;
use record::{MOST_STANDARD_ERROR, Phase, TrialLog};
use std::io::{ErrorKind, Read};
use std::time::Instant;

/// Bytes of the start of standard error that are kept, which say why a process died.
const START: usize = 1 << 16;

/// Phases that a log has at most, and the characters of a name. Whatever a library writes may look like a phase.
const MOST_PHASES: usize = 100;
const NAME: usize = 60;

/// The log of a trial whose process is running.
#[derive(Default)]
pub(super) struct OpenLog {
    phases: Vec<OpenPhase>,
    remarks: Vec<String>,
    /// Processor seconds of its process so far, as it has said since the last phase began.
    spent: Option<f64>,
}

struct OpenPhase {
    name: String,
    begun: Instant,
    /// Processor seconds before it, if they were said.
    spent: Option<f64>,
}

impl OpenLog {
    /// A phase has begun, by the clock of the trial.
    pub(super) fn enter(&mut self, phase: &str, now: Instant) {
        if self.phases.len() < MOST_PHASES {
            let name = plain(phase).chars().take(NAME).collect();
            // What was said before this phase says nothing of its end.
            self.phases.push(OpenPhase { name, begun: now, spent: self.spent.take() });
        }
    }

    /// The process has taken so many processor seconds so far. It says so before it enters a phase, and at the end.
    pub(super) fn spent(&mut self, seconds: f64) {
        self.spent = Some(seconds);
    }

    /// Adds a sentence.
    pub(super) fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }

    /// The log of a process that has just ended, by the clock of the trial. The processor seconds of a phase are known if the process
    /// said them before and after it: not those of the phase in which it was killed.
    pub(super) fn close(mut self, words: &Words, now: Instant) -> TrialLog {
        let ends = self.phases.iter().skip(1).map(|next| (next.begun, next.spent)).chain([(now, self.spent)]);
        let phases = self.phases.iter().zip(ends).map(|(phase, (end, spent))| Phase {
            name: phase.name.clone(),
            seconds: rounded(end.duration_since(phase.begun).as_secs_f64()),
            processor_seconds: phase.spent.zip(spent).and_then(|(before, after)| taken(before, after)),
        });
        let phases = phases.collect();
        if words.left_out() > 0 {
            self.remark(format!("The first {} bytes of standard error are not kept.", words.left_out()));
        }
        TrialLog { phases, remarks: self.remarks, standard_error: words.ending(), in_turn: None }
    }
}

/// Processor seconds between two statements; None if the later one is smaller, which no process says.
fn taken(before: f64, after: f64) -> Option<f64> {
    (after >= before).then(|| rounded(after - before))
}

/// What a process wrote on standard error: its start and its end.
#[derive(Default)]
pub(super) struct Words {
    start: Vec<u8>,
    end: Vec<u8>,
    length: usize,
}

impl Words {
    /// Reads to the end, so that the process can continue, and keeps little.
    pub(super) fn read(mut source: impl Read) -> Words {
        let mut words = Words::default();
        let mut piece = [0; 8192];
        loop {
            match source.read(&mut piece) {
                Ok(0) => return words,
                Ok(count) => words.add(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return words,
            }
        }
    }

    fn add(&mut self, piece: &[u8]) {
        let room = START - self.start.len();
        self.start.extend(&piece[..piece.len().min(room)]);
        self.end.extend(piece);
        self.end.drain(..self.end.len().saturating_sub(MOST_STANDARD_ERROR));
        self.length += piece.len();
    }

    /// The first bytes as text.
    pub(super) fn beginning(&self) -> String {
        String::from_utf8_lossy(&self.start).into_owned()
    }

    fn left_out(&self) -> usize {
        self.length - self.end.len()
    }

    /// The last lines as plain text. A line that is cut is left out, unless it is the only one.
    fn ending(&self) -> String {
        let whole = self.end.iter().position(|byte| *byte == b'\n').filter(|_| self.left_out() > 0);
        let text = plain(&String::from_utf8_lossy(&self.end[whole.map_or(0, |at| at + 1)..]));
        // Bytes that are no text take three bytes each when they are replaced.
        let from = text.ceil_char_boundary(text.len().saturating_sub(MOST_STANDARD_ERROR));
        text[from..].to_owned()
    }
}

/// A text in lines without empty lines, control characters, and the sequences with which terminals colour text.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                if characters.next_if_eq(&'[').is_some() {
                    while characters.next_if(|c| (' '..='?').contains(c)).is_some() {}
                    characters.next_if(|c| ('@'..='~').contains(c));
                }
            }
            // Progress that overwrites its line becomes lines.
            '\r' => plain.push('\n'),
            '\t' => plain.push(' '),
            '\n' => plain.push('\n'),
            _ if character.is_control() => {}
            _ => plain.push(character),
        }
    }
    let lines = plain.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told_nothing() {
        let text = "\u{1b}[1;31merror\u{1b}[0m:\tno\u{7} file\r\n\r\n10%\r20%\u{1b}]x\u{1b}[";
        assert_eq!(plain(text), "error: no file\n10%\n20%]x");
    }

    #[test]
    fn much_that_was_written_leaves_its_start_and_its_last_whole_lines() {
        let words = Words::read(&b"short\nand whole"[..]);
        assert_eq!((words.ending().as_str(), words.left_out()), ("short\nand whole", 0));
        let text: String = (0..20_000).map(|i| format!("line {i}\n")).collect();
        let words = Words::read(text.as_bytes());
        assert!(words.beginning().starts_with("line 0\n") && words.beginning().len() == START);
        let ending = words.ending();
        assert!(ending.ends_with("line 19999") && ending.len() <= MOST_STANDARD_ERROR, "{}", ending.len());
        assert!(text.ends_with(&format!("\n{ending}\n")), "whole lines");
        assert_eq!(words.left_out(), text.len() - MOST_STANDARD_ERROR);
        // No text, and no line that ends.
        let ending = Words::read(&[0xff; 10_000][..]).ending();
        assert!(ending.len() <= MOST_STANDARD_ERROR && ending.chars().all(|c| c == char::REPLACEMENT_CHARACTER));
        assert_eq!(Words::read(&b"\r\n\t\x1b[2K"[..]).ending(), "");
    }

    #[test]
    fn phases_are_few_and_short_whatever_a_library_writes() {
        let mut log = OpenLog::default();
        (0..1000).for_each(|_| log.enter(&"\u{1b}[2Jx".repeat(100), Instant::now()));
        log.spent(f64::MAX);
        let log = log.close(&Words::default(), Instant::now());
        assert_eq!((log.phases.len(), log.phases[0].name.len()), (MOST_PHASES, NAME));
        assert!(log.phases.iter().all(|phase| phase.seconds >= 0.0 && phase.processor_seconds.is_none()));
    }

    #[test]
    fn a_phase_has_the_processor_seconds_between_two_statements() {
        let mut log = OpenLog::default();
        for (spent, phase) in [(0.25, "load"), (1.0, "fit"), (4.5, "encode")] {
            log.spent(spent);
            log.enter(phase, Instant::now());
        }
        log.spent(4.75);
        assert_eq!(spent(log), [Some(0.75), Some(3.5), Some(0.25)]);
    }

    #[test]
    fn a_phase_without_a_statement_behind_it_has_no_processor_seconds() {
        // The process was killed in the last phase.
        let mut log = OpenLog::default();
        for (spent, phase) in [(0.25, "load"), (1.0, "fit")] {
            log.spent(spent);
            log.enter(phase, Instant::now());
        }
        assert_eq!(spent(log), [Some(0.75), None]);
        // A library that writes what looks like a phase, and what looks like a statement.
        let mut log = OpenLog::default();
        log.spent(0.25);
        log.enter("load", Instant::now());
        log.enter("fit", Instant::now());
        log.spent(2.0);
        log.enter("encode", Instant::now());
        log.spent(-1.0);
        assert_eq!(spent(log), [None, None, None]);
    }

    /// Processor seconds of the phases of a log.
    fn spent(log: OpenLog) -> Vec<Option<f64>> {
        let log = log.close(&Words::default(), Instant::now());
        log.phases.iter().map(|phase| phase.processor_seconds).collect()
    }
}
