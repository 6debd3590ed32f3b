//! A real Slurm of two nodes on loopback, for tests: its controller, its nodes and its authentication run in the foreground,
//! with a folder and ports of their own, and end with the thread that has started them.

#![allow(dead_code)]

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The nodes. Each has its own name as a feature, for `constraint`.
pub const NODES: [&str; 2] = ["node1", "node2"];

/// Processors of a node, whatever this machine has.
const PROCESSORS: usize = 2;

/// How long the daemons may take to come up, and tasks to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where daemons are, besides `PATH`.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Two nodes, which stop when this is dropped.
pub struct Cluster {
    folder: TempDir,
    authentication: Option<Child>,
    controller: Option<Child>,
    nodes: Vec<Option<Child>>,
}

/// Stops one process.
fn stop(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&own).chain(SYSTEM.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Cluster {
    /// Starts the daemons. An error says why they cannot run on this machine.
    pub fn start() -> Result<Cluster, String> {
        if !cfg!(target_os = "linux") {
            return Err("Slurm runs on Linux".into());
        }
        let programs = ["slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "munged", "setpriv"];
        if let Some(missing) = programs.iter().find(|program| find(program).is_none()) {
            return Err(format!("there is no {missing}; Debian has it in slurm-wlm, munge and util-linux"));
        }
        let folder = tempfile::Builder::new().prefix("vqbench-slurm-").tempdir().map_err(|error| error.to_string())?;
        let written = |error: std::io::Error| format!("{}: {error}", folder.path().display());
        for name in NODES.into_iter().chain(["state"]) {
            std::fs::create_dir(folder.path().join(name)).map_err(written)?;
        }
        std::fs::write(folder.path().join("slurm.conf"), configuration(folder.path())?).map_err(written)?;
        write_key(&folder.path().join("munge.key")).map_err(written)?;
        let mut cluster = Cluster { folder, authentication: None, controller: None, nodes: vec![None, None] };
        cluster.start_authentication()?;
        cluster.start_controller();
        NODES.iter().enumerate().for_each(|(number, _)| cluster.start_node(number));
        if cluster.wait_for(|cluster| cluster.idle_nodes() == NODES.len()) {
            return Ok(cluster);
        }
        let log = |name: &str| std::fs::read_to_string(cluster.folder.path().join(name)).unwrap_or_default();
        let last = |text: String| text.lines().last().unwrap_or_default().to_owned();
        let logs = ["slurmctld.log", "node1.log", "munged.log"].map(|name| format!("{name}: {}", last(log(name))));
        Err(format!("the daemons of Slurm do not come up here: {}", logs.join("; ")))
    }

    /// Starts the daemons; where they cannot run, says why the test is skipped.
    pub fn start_or_skip() -> Option<Cluster> {
        Cluster::start().map_err(|reason| eprintln!("skipped: {reason}")).ok()
    }

    /// Folder of the daemons, for files of the test too.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The variable by which the commands of Slurm find this cluster.
    pub fn variable(&self) -> (&'static str, PathBuf) {
        ("SLURM_CONF", self.folder.path().join("slurm.conf"))
    }

    /// What a command of Slurm prints; empty if it fails.
    pub fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let (name, value) = self.variable();
        let output = Command::new(program).args(arguments).env(name, value).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    }

    /// The tasks that wait or run, such as `12_3`, in a state such as `R`.
    pub fn tasks(&self) -> Vec<(String, String)> {
        let text = self.ask("squeue", &["-h", "-r", "-o", "%i %t"]);
        text.lines().filter_map(|line| line.split_once(' ')).map(|(id, state)| (id.into(), state.into())).collect()
    }

    /// Waits for something. Returns whether it happened in time.
    pub fn wait_for(&self, happens: impl Fn(&Cluster) -> bool) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if happens(self) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn idle_nodes(&self) -> usize {
        self.ask("sinfo", &["-h", "-N", "-o", "%T"]).lines().filter(|state| *state == "idle").count()
    }

    /// Starts a daemon that ends when this thread does, however it does.
    fn daemon(&self, program: &str, arguments: &[&str]) -> Option<Child> {
        let (name, value) = self.variable();
        let program = find(program)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments).env(name, value);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().ok()
    }

    fn start_authentication(&mut self) -> Result<(), String> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let options = [
            format!("--key-file={}", file("munge.key")),
            format!("--socket={}", file("munge.socket")),
            format!("--pid-file={}", file("munged.pid")),
            format!("--log-file={}", file("munged.log")),
            format!("--seed-file={}", file("munged.seed")),
        ];
        let options = options.iter().map(String::as_str);
        let arguments: Vec<&str> = ["--foreground", "--force"].into_iter().chain(options).collect();
        self.authentication = self.daemon("munged", &arguments);
        let socket = self.folder.path().join("munge.socket");
        if self.wait_for(|_| socket.exists()) { Ok(()) } else { Err("munged does not come up here".into()) }
    }

    pub fn start_controller(&mut self) {
        self.controller = self.daemon("slurmctld", &["-D"]);
    }

    pub fn kill_controller(&mut self) {
        stop(&mut self.controller);
    }

    pub fn start_node(&mut self, number: usize) {
        self.nodes[number] = self.daemon("slurmd", &["-D", "-N", NODES[number]]);
    }

    /// Kills the daemon of a node. Its tasks go on.
    pub fn kill_node(&mut self, number: usize) {
        stop(&mut self.nodes[number]);
    }
}

impl Cluster {
    /// Lets nodes work again that failed to start a task, as an administrator does.
    pub fn resume_nodes(&self) {
        if self.ask("sinfo", &["-h", "-o", "%T"]).contains("drain") {
            self.ask("scontrol", &["update", &format!("nodename={}", NODES.join(",")), "state=resume"]);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ask("scancel", &["--partition=main"]);
        self.wait_for(|cluster| cluster.tasks().is_empty());
        self.nodes.iter_mut().for_each(stop);
        stop(&mut self.controller);
        stop(&mut self.authentication);
    }
}

/// A key that only its owner may read.
fn write_key(path: &Path) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut key = [0; 1024];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    let mut options = std::fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path)?.write_all(&key)
}

/// Ports that nobody uses. All are held before the first is let go, so that they differ.
fn ports(count: usize) -> std::io::Result<Vec<u16>> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// `slurm.conf`: tasks start at once, and a lost node is noticed in seconds.
fn configuration(folder: &Path) -> Result<String, String> {
    let ports = ports(1 + NODES.len()).map_err(|error| format!("there is no free port: {error}"))?;
    let host = printed("hostname", &["-s"]).ok_or("this machine does not know its name")?;
    // Without root, tasks run as the user whom all daemons belong to.
    let user = printed("id", &["-un"]).ok_or("this user has no name")?;
    let folder = folder.display();
    let mut text = format!(
        "ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=2
MinJobAge=300
MaxArraySize=1001
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
",
        ports[0]
    );
    for (name, port) in NODES.iter().zip(&ports[1..]) {
        let _ = writeln!(
            text,
            "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={PROCESSORS} Feature={name} State=UNKNOWN"
        );
    }
    text.push_str("PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n");
    Ok(text)
}
