//! `adapters`: the adapters that are shipped, and the Python environments that they need.

use crate::errors::Mistakes;
use ::adapters::{AdapterError, Environment, Host, SHIPPED, Shipped, check, find};
use clap::{Args, Subcommand};
use datasets::catalog::write_bytes;
use experiments::Surroundings;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// List the adapters: version, licence, size, and whether they are installed (the default)
    List,
    /// Install the libraries of adapters from PyPI, each in an environment of its own. An experiment does so on demand
    Install(Chosen),
    /// Try everything that adapters can do, on a few random vectors: exit code 1 if something is wrong
    Check {
        #[command(flatten)]
        chosen: Chosen,
        /// With `--all`: install those that are not installed, and skip those that cannot be or that take gigabytes
        #[arg(long, requires = "all")]
        install: bool,
    },
    /// Remove the libraries of adapters
    Remove(Chosen),
}

#[derive(Args)]
struct Chosen {
    /// Names of adapters
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
    /// All adapters; `check` leaves out those that are not installed
    #[arg(long)]
    all: bool,
    /// Python that environments are made with; it needs the module `venv`
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

impl Chosen {
    fn adapters(&self) -> Result<Vec<&'static Shipped>, Mistakes> {
        if self.all {
            return Ok(SHIPPED.iter().collect());
        }
        let named = |name: &String| {
            find(name).ok_or_else(|| {
                let names = SHIPPED.iter().map(|shipped| shipped.name);
                Mistakes::new(format!("no adapter `{name}` is shipped"), strict::nearest_name(name, names, "adapters"))
            })
        };
        self.names.iter().map(named).collect()
    }

    fn python<'a>(&'a self, host: &'a Host) -> &'a Path {
        self.python.as_deref().unwrap_or(&host.python)
    }
}

pub fn run(arguments: &Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let host = &here.programs;
    let cache = host.environments.as_deref().ok_or_else(|| {
        Mistakes::new("there is no folder for Python environments", "set XDG_CACHE_HOME or HOME to a full path")
    })?;
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => list(cache),
        Action::Install(chosen) => {
            for shipped in chosen.adapters()? {
                if let Some(reason) = shipped.refusal() {
                    say!("{}: skipped, {reason}", shipped.name);
                    continue;
                }
                ready(shipped, chosen, host, cache)?;
                let environment = Environment::of(shipped, cache);
                say!("{}  {}  {}", shipped.name, write_bytes(environment.bytes()), environment.folder().display());
            }
        }
        Action::Check { chosen, install } => return check_all(chosen, *install, host, cache),
        Action::Remove(chosen) => {
            for shipped in chosen.adapters()? {
                let freed = Environment::of(shipped, cache).remove()?;
                let said = if freed > 0 { format!("removed {}", write_bytes(freed)) } else { "not installed".into() };
                say!("{}: {said}", shipped.name);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn ready(shipped: &Shipped, chosen: &Chosen, host: &Host, cache: &Path) -> Result<Vec<String>, AdapterError> {
    Environment::ready(shipped, chosen.python(host), cache, &mut |words| say_aside!("{}: {words}", shipped.name))
}

fn list(cache: &Path) {
    let width = |text: fn(&Shipped) -> &str| SHIPPED.iter().map(|shipped| text(shipped).len()).max().unwrap_or(0);
    let (names, versions, licences) = (width(|s| s.name), width(|s| s.version()), width(|s| s.licence));
    for shipped in SHIPPED {
        let environment = Environment::of(shipped, cache);
        let state = match (environment.is_complete(shipped), shipped.refusal()) {
            (_, Some(reason)) => format!("not for this machine: {reason}"),
            (true, None) => format!("installed, {}", write_bytes(environment.bytes())),
            (false, None) => "not installed".to_owned(),
        };
        let (name, version, licence) = (shipped.name, shipped.version(), shipped.licence);
        say!("{name:<names$}  {version:<versions$}  {licence:<licences$}  {state}");
        say!("{:names$}  {}", "", shipped.summary);
    }
    say!("\nenvironments are in {}", cache.display());
    say!("`cargo xtask methods NAME` shows the parameters of an adapter");
}

fn check_all(chosen: &Chosen, install: bool, host: &Host, cache: &Path) -> Result<ExitCode, Mistakes> {
    let (mut checked, mut failed) = (0, 0);
    for shipped in chosen.adapters()? {
        let skip = |reason: &str| say!("{}: skipped, {reason}", shipped.name);
        if let Some(reason) = shipped.refusal() {
            skip(reason);
            continue;
        }
        if chosen.all && (!install || shipped.is_large) && !Environment::of(shipped, cache).is_complete(shipped) {
            let size = if shipped.is_large { ", and takes gigabytes" } else { "" };
            skip(&format!("it is not installed (`cargo xtask adapters install {}`){size}", shipped.name));
            continue;
        }
        let command = match ready(shipped, chosen, host, cache) {
            Ok(command) => command,
            Err(error) if install => {
                skip(&error.to_string());
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for example in shipped.examples {
            checked += 1;
            let result = attempt(shipped, host, &command, example);
            let (word, said) = match &result {
                Ok(said) => ("ok", said),
                Err(said) => ("FAILED", said),
            };
            failed += usize::from(result.is_err());
            say_foreign!("{} {}: {word}: {said}", shipped.name, example.replace('"', ""));
        }
    }
    say!("\n{checked} checked, {failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// What an adapter did with an example, or what is wrong.
fn attempt(shipped: &Shipped, host: &Host, command: &[String], example: &str) -> Result<String, String> {
    let given: Value = serde_json::from_str(example).map_err(|error| error.to_string())?;
    let params = (shipped.parse)(given).map_err(|error| error.message)?;
    let found = check(host, command, &params).map_err(|error| error.to_string())?;
    found.fault().map_or_else(|| Ok(found.to_string()), |fault| Err(format!("{fault}; {found}")))
}
