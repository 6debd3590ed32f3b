//! Describes the machine of a run, for readers of its figures.

use cpu::Isa;
use record::Machine;
use std::path::Path;
use std::process::Command;
use sysinfo::{
    CGroupLimits, CpuRefreshKind, IS_SUPPORTED_SYSTEM, MemoryRefreshKind, Pid, Process, ProcessRefreshKind,
    ProcessesToUpdate, RefreshKind, System,
};

/// Bytes of memory, at most those that this process may have: a scheduler gives a task a part of its machine. The largest number
/// if the system does not report it.
pub(crate) fn total_memory_bytes() -> u64 {
    let Some(system) = memory() else { return u64::MAX };
    system.total_memory().min(confinement(&system).map_or(u64::MAX, |limits| limits.total_memory))
}

fn memory() -> Option<System> {
    let wanted = RefreshKind::nothing().with_memory(MemoryRefreshKind::everything());
    IS_SUPPORTED_SYSTEM.then(|| System::new_with_specifics(wanted))
}

/// The limits on this process and its children, if the system has any.
fn confinement(system: &System) -> Option<CGroupLimits> {
    let own = Pid::from_u32(std::process::id());
    let mut processes = System::new();
    processes.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, ProcessRefreshKind::nothing());
    processes.process(own).and_then(Process::cgroup_limits).or_else(|| system.cgroup_limits())
}

/// Bytes of memory that are available now, including limits on this process and its children; the largest number if the
/// system does not report it.
pub(crate) fn available_memory_bytes() -> u64 {
    let Some(system) = memory() else { return u64::MAX };
    system.available_memory().min(confinement(&system).map_or(u64::MAX, |limits| limits.free_memory))
}

/// Bytes of data that this process may have; None if there is no limit, or the system has none of this kind.
pub(crate) fn data_limit_bytes() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
        getrlimit(Resource::RLIMIT_DATA).ok().map(|(soft, _)| soft).filter(|soft| *soft != RLIM_INFINITY)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Peak resident set size of this process. Linux keeps it per program image; `getrusage` would start from the size of
/// the process that spawned this one.
#[cfg(target_os = "linux")]
pub fn peak_rss_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// Resident set size of this process now; where the system does not tell, its peak.
#[cfg(target_os = "linux")]
pub fn rss_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

#[cfg(target_os = "linux")]
fn status_bytes(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Peak resident set size of this process.
#[cfg(all(unix, not(target_os = "linux")))]
pub fn peak_rss_bytes() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    // Apple's systems count in bytes, the others in KiB.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(usage.max_rss()).ok().map(|size| size * unit)
}

/// None: this system does not report the peak resident set size.
#[cfg(not(unix))]
pub fn peak_rss_bytes() -> Option<u64> {
    None
}

/// Resident set size of this process now; where the system does not tell, its peak.
#[cfg(not(target_os = "linux"))]
pub fn rss_bytes() -> Option<u64> {
    peak_rss_bytes()
}

/// Processor seconds that all threads of this process have taken so far, in the program and in the system for it.
#[cfg(unix)]
pub fn processor_seconds() -> Option<f64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + 1e-6 * time.tv_usec() as f64;
    Some(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// None: this system is not asked.
#[cfg(not(unix))]
pub fn processor_seconds() -> Option<f64> {
    None
}

/// The name of this machine in its network, which no record holds; None if the system does not tell.
pub fn host_name() -> Option<String> {
    System::host_name().filter(|name| !name.is_empty())
}

/// Describes this machine, the instruction set that kernels use, and the source tree at `root` if it is one.
pub fn describe(root: &Path, isa: Isa) -> Machine {
    let git = |arguments: &[&str]| {
        // Read-only: `git status` would otherwise take a lock in the user's tree to refresh its index.
        let output =
            Command::new("git").arg("--no-optional-locks").arg("-C").arg(root).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Machine {
        git_revision: git(&["rev-parse", "HEAD"]),
        git_dirty: git(&["status", "--porcelain"]).map(|changes| !changes.is_empty()),
        ..own(isa)
    }
}

/// Describes this machine and the instruction set that kernels use.
pub(crate) fn own(isa: Isa) -> Machine {
    let wanted =
        RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing()).with_memory(MemoryRefreshKind::everything());
    let system = System::new_with_specifics(wanted);
    let cpus = system.cpus();
    Machine {
        cpu: cpus.first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default(),
        cores: cpus.len(),
        simd: isa.to_string(),
        memory_bytes: system.total_memory(),
        gpu: None,
        os: System::long_os_version().unwrap_or_else(|| std::env::consts::OS.to_owned()),
        rustc: env!("VQBENCH_RUSTC").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_revision: None,
        git_dirty: None,
    }
}
