//! The one place that reads the environment for the libraries: where vectors, CUDA's parts and the cache are, which instruction set to use.

use crate::errors::Mistakes;
use cpu::Isa;
use cuda::emulator::Compiler;
use cuda::{NVRTC_VARIABLE, Toolkit};
use datasets::SearchPath;
use experiments::Surroundings;
use invariants::Repository;
use methods::backend::Devices;
use std::env::{split_paths, var_os};
use std::path::{Path, PathBuf};

/// Forces an instruction set by name, to test or to compare narrower ones.
const ISA_VARIABLE: &str = "VQBENCH_ISA";

/// Names the folders of data sets.
const DATA_VARIABLE: &str = "VQBENCH_DATA";

/// Names mirrors of public datasets.
const MIRROR_VARIABLE: &str = "VQBENCH_MIRROR";

/// What the variables say, and what holds without them.
pub fn read() -> Result<Surroundings, Mistakes> {
    let devices = Devices { isa: isa()?, toolkit: toolkit() };
    Ok(Surroundings { search: search(), cache: cache(), devices, programs: programs() })
}

/// How outside programs are started: by this executable, in the current folder.
fn programs() -> adapters::Host {
    let launcher = std::env::current_exe().ok().filter(|_| cfg!(unix));
    let arguments = vec!["adapter".to_owned()];
    let mut programs = adapters::Host::default().at(Path::new("."));
    programs.launcher = launcher.map(|program| adapters::Launcher { program, arguments });
    programs.python = PathBuf::from(if cfg!(windows) { "python" } else { "python3" });
    programs.environments = cache().map(|cache| cache.join("adapters"));
    // A trial has a limit of its own.
    programs.patience = Some(std::time::Duration::from_secs(600));
    programs.notify = Some(|text| say_aside!("{text}"));
    programs
}

/// The set that `VQBENCH_ISA` names, or the widest.
fn isa() -> Result<Isa, Mistakes> {
    let Some(name) = var_os(ISA_VARIABLE) else { return Ok(Isa::widest()) };
    Isa::named(&name.to_string_lossy())
        .map_err(|reason| Mistakes::new(format!("{ISA_VARIABLE}: {reason}"), "leave it unset for the widest"))
}

/// The folder `embedded` of the source tree and of `VQBENCH_EMBEDDED`, the folders of `VQBENCH_DATA`, and the folder of fetched datasets.
fn search() -> SearchPath {
    let of_source_tree = SearchPath::of_source_tree();
    let mut search = SearchPath { embedded: folders("VQBENCH_EMBEDDED"), folders: folders(DATA_VARIABLE) };
    search.embedded.extend(of_source_tree.embedded);
    search.folders.extend(fetched());
    search
}

/// The file to which a step of a GitHub workflow adds its summary; None outside of workflows.
pub fn step_summary() -> Option<PathBuf> {
    var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Whether folders of data sets are given.
pub fn has_data() -> bool {
    var_os(DATA_VARIABLE).is_some()
}

/// The source tree, as the checks of `ci` need it. `cargo xtask` names the cargo that runs it.
pub fn repository(methods: Vec<&'static str>, stale_documents: fn() -> Vec<PathBuf>) -> Repository {
    Repository {
        root: crate::source_tree(),
        cargo: var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        compiler: compiler(),
        cache: cache(),
        nvrtc_is_named: var_os(NVRTC_VARIABLE).is_some(),
        methods,
        stale_documents,
        show: |text| say_aside!("{text}"),
    }
}

fn toolkit() -> Toolkit {
    Toolkit {
        nvrtc: var_os(NVRTC_VARIABLE).map(PathBuf::from),
        homes: ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(var_os).map(PathBuf::from).collect(),
        cache: cache().map(|cache| cache.join("kernels")),
        visible_devices: std::env::var("CUDA_VISIBLE_DEVICES").ok(),
    }
}

/// The C++ compiler of the emulated device: the one that `CXX` names, or the system's.
pub fn compiler() -> Compiler {
    let usual = Compiler::default();
    Compiler { program: std::env::var("CXX").unwrap_or(usual.program), ..Compiler::default() }
}

/// The user's cache: `vqbench` below `XDG_CACHE_HOME`, or where the system has its caches: `Library/Caches` in the home folder on macOS,
/// `LOCALAPPDATA` on Windows, `.cache` in the home folder elsewhere. None if none of them is an absolute path.
pub fn cache() -> Option<PathBuf> {
    let absolute = |name: &str| var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let below_home = |folder: &str| absolute("HOME").or_else(|| absolute("USERPROFILE")).map(|home| home.join(folder));
    let of_system = || match std::env::consts::OS {
        "macos" => below_home("Library/Caches"),
        "windows" => absolute("LOCALAPPDATA").or_else(|| below_home(".cache")),
        _ => below_home(".cache"),
    };
    Some(absolute("XDG_CACHE_HOME").or_else(of_system)?.join("vqbench"))
}

/// The folder of fetched datasets.
fn fetched() -> Option<PathBuf> {
    Some(cache()?.join("datasets"))
}

/// How datasets are fetched: into the cache, through the proxies that the usual variables name, from the mirrors of `VQBENCH_MIRROR`
/// first. What is fetched is recorded beside the datasets and, if there is one, in `datasets.lock` of the current folder.
pub fn fetching() -> Result<fetch::Settings, Mistakes> {
    let none = || Mistakes::new("there is no folder to put datasets into", "set XDG_CACHE_HOME or HOME to a full path");
    let mut settings = fetch::Settings::new(fetched().ok_or_else(none)?);
    let lock = PathBuf::from("datasets.lock");
    settings.locks.extend(lock.exists().then_some(lock));
    // Programs differ in which of the two spellings they read.
    let text = |name: &str| {
        let found =
            var_os(name).or_else(|| var_os(name.to_lowercase())).map(|value| value.to_string_lossy().into_owned());
        found.filter(|value| !value.is_empty())
    };
    let all = || text("ALL_PROXY");
    settings.proxies = fetch::Proxies {
        https: text("HTTPS_PROXY").or_else(all),
        http: text("HTTP_PROXY").or_else(all),
        none: text("NO_PROXY").unwrap_or_default(),
    };
    settings.mirrors = text(MIRROR_VARIABLE).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    if let Some(wrong) = settings.mirrors.iter().find(|mirror| !mirror.starts_with("http")) {
        let help = "write addresses such as http://mirror.example/vqbench, separated by spaces";
        let wrong = fetch::shown_address(wrong);
        return Err(Mistakes::new(format!("{MIRROR_VARIABLE}: `{wrong}` is not an address"), help));
    }
    Ok(settings)
}

/// The user's home folder, as a text.
pub fn home() -> Option<String> {
    var_os("HOME").or_else(|| var_os("USERPROFILE")).map(|home| home.to_string_lossy().into_owned())
}

fn folders(variable: &str) -> Vec<PathBuf> {
    var_os(variable).map_or(vec![], |list| split_paths(&list).collect())
}
