//! The processes of an adapter: itself and what it started, found by a variable that all of them inherit. Linux only; elsewhere
//! none is found, and what a process leaves behind goes unnoticed.

/// A process of an adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its number.
    pub pid: i32,
    /// Its name.
    pub name: String,
    /// Seconds of processor time, with those of its children that have ended.
    pub processor_seconds: f64,
    /// Peak resident memory in bytes.
    pub peak_bytes: u64,
}

/// The processes whose environment has `variable` with the value `marker`, this one excluded.
#[cfg(target_os = "linux")]
pub fn family(variable: &str, marker: &str) -> Vec<Member> {
    let wanted = format!("{variable}={marker}").into_bytes();
    let own = std::process::id() as i32;
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != own)
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == wanted)
        })
        .filter_map(member)
        .collect()
}

/// The processes whose environment has `variable` with the value `marker`.
#[cfg(not(target_os = "linux"))]
pub fn family(_variable: &str, _marker: &str) -> Vec<Member> {
    Vec::new()
}

#[cfg(target_os = "linux")]
fn member(pid: i32) -> Option<Member> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let (start, end) = (stat.find('(')?, stat.rfind(')')?);
    let fields: Vec<&str> = stat[end + 1..].split_whitespace().collect();
    // A process that has ended and is not yet collected is gone.
    if fields.first() == Some(&"Z") {
        return None;
    }
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    Some(Member {
        pid,
        name: stat[start + 1..end].to_owned(),
        processor_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        peak_bytes: peak.unwrap_or(0) * 1024,
    })
}

/// Kills all processes of a family, and returns what was killed.
#[cfg(unix)]
pub fn end_family(variable: &str, marker: &str) -> Vec<Member> {
    use nix::sys::signal::{Signal, kill};
    let mut ended: Vec<Member> = Vec::new();
    // One of them may start another while they are killed.
    for _ in 0..20 {
        let found = family(variable, marker);
        if found.is_empty() {
            break;
        }
        for member in found {
            let _ = kill(nix::unistd::Pid::from_raw(member.pid), Signal::SIGKILL);
            if !ended.iter().any(|other| other.pid == member.pid) {
                ended.push(member);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    ended
}

/// Kills all processes of a family, and returns what was killed.
#[cfg(not(unix))]
pub fn end_family(_variable: &str, _marker: &str) -> Vec<Member> {
    Vec::new()
}
