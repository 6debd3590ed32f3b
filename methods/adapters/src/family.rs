//! The processes of an adapter: itself and what it started, found by a variable that they inherit and by who started whom.
//! Linux only; elsewhere none is found, and what a process leaves behind goes unnoticed.

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

/// How the processes of an adapter are recognized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign<'a> {
    /// A variable that they inherit.
    pub variable: &'static str,
    /// Its value, which no other process has.
    pub value: &'a str,
    /// A process all of whose descendants belong to the adapter, whatever their variables are.
    pub ancestor: Option<u32>,
}

/// The processes of an adapter, without this process and without the ancestor.
#[cfg(target_os = "linux")]
pub fn family(sign: &Sign<'_>) -> Vec<Member> {
    use std::collections::HashSet;
    let wanted = format!("{}={}", sign.variable, sign.value).into_bytes();
    let ancestor = sign.ancestor.map(|pid| pid as i32);
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let all: Vec<(Member, i32)> = pids.filter_map(member).collect();
    let has_sign = |pid: i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted)
    };
    let mut found: HashSet<i32> = all.iter().map(|(member, _)| member.pid).filter(|pid| has_sign(*pid)).collect();
    found.extend(ancestor);
    // A child may have a lower number than its parent.
    loop {
        let before = found.len();
        found.extend(
            all.iter().filter(|(_, parent)| found.contains(parent)).map(|(member, _)| member.pid).collect::<Vec<_>>(),
        );
        if found.len() == before {
            break;
        }
    }
    let own = std::process::id() as i32;
    let belongs = |pid: i32| found.contains(&pid) && pid != own && Some(pid) != ancestor;
    let members = all.into_iter().map(|(member, _)| member).filter(|member| belongs(member.pid));
    members.map(|member| Member { peak_bytes: peak_bytes(member.pid), ..member }).collect()
}

/// The processes of an adapter.
#[cfg(not(target_os = "linux"))]
pub fn family(_sign: &Sign<'_>) -> Vec<Member> {
    Vec::new()
}

/// A process without its peak, and the number of its parent.
#[cfg(target_os = "linux")]
fn member(pid: i32) -> Option<(Member, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let (start, end) = (stat.find('(')?, stat.rfind(')')?);
    let fields: Vec<&str> = stat[end + 1..].split_whitespace().collect();
    // A process that has ended and is not yet collected is gone, unless it is its first thread alone that has ended.
    let threads: u64 = fields.get(17).and_then(|count| count.parse().ok()).unwrap_or(1);
    if fields.first() == Some(&"Z") && threads <= 1 {
        return None;
    }
    let parent = fields.get(1)?.parse().ok()?;
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    let member = Member {
        pid,
        name: stat[start + 1..end].to_owned(),
        processor_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        peak_bytes: 0,
    };
    Some((member, parent))
}

#[cfg(target_os = "linux")]
fn peak_bytes(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    peak.unwrap_or(0) * 1024
}

/// Kills all processes of an adapter, and returns what was killed.
#[cfg(unix)]
pub fn end_family(sign: &Sign<'_>) -> Vec<Member> {
    use nix::sys::signal::{Signal, kill};
    let mut ended: Vec<Member> = Vec::new();
    let mut nothing = 0;
    // One of them may start another while they are killed, and one that is about to run another program has no variables for a
    // moment.
    for _ in 0..50 {
        let found = family(sign);
        nothing = if found.is_empty() { nothing + 1 } else { 0 };
        if nothing == 2 {
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

/// Kills all processes of an adapter, and returns what was killed.
#[cfg(not(unix))]
pub fn end_family(_sign: &Sign<'_>) -> Vec<Member> {
    Vec::new()
}

/// Makes this process the new parent of what its descendants leave behind, so that it is found.
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_child_subreaper(true);
}
