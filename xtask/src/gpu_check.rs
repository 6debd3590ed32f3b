//! `gpu-check`: checks the CUDA kernels on the GPU of this machine and times them. It needs only this executable: no
//! source tree, no data, no network.

use crate::environment;
use crate::errors::Mistakes;
use clap::Args;
use cpu::Isa;
use cuda::proofs::{self, Agreement};
use cuda::{CudaError, Device, Toolkit, emulator};
use device_check::{DeviceRun, EXPERIMENT, Findings, Torch, TorchError};
use experiments::{Surroundings, machine};
use methods::laws::device as laws;
use methods::steps;
use record::{RecordError, RunFolder, write_atomically};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What times PyTorch, to be run where that is installed; left in the folder of the results.
const TORCH: (&str, &str) = ("torch_steps.py", include_str!("../peers/torch_steps.py"));

/// What the device must be and have; the error says what is missing.
const NEEDED: &str = "this needs an NVIDIA GPU of compute capability 8.0 or newer, a driver that supports CUDA 12.0 or newer, and NVRTC. NVRTC is part of the CUDA \
toolkit; or run `pip install nvidia-cuda-nvrtc==13.0.88` and set VQBENCH_NVRTC to the path of its libnvrtc.so.13";

/// Memory of an emulated device.
const EMULATED_BYTES: u64 = 1 << 30;

#[derive(Args)]
#[command(
    after_help = "Proofs compare every kernel, every method and every law with the CPU, on new random inputs. Steps are timed on vectors that \
are generated on the device, at most 26 GB of them: `--scale 0.1` suits a small device.

The output folder gets gpu.md, and results.csv and results.parquet with every repeat; they are updated as checks end. It also gets \
torch_steps.py, which times the same steps in PyTorch if that is installed:
  xtask gpu-check --out DIR
  python3 DIR/torch_steps.py --out DIR/torch.csv
  xtask gpu-check --out DIR --skip law: --skip codes: --torch DIR/torch.csv

Exit codes: 0 all checks passed, 1 a check failed, 2 there is no device, or the request is wrong."
)]
pub struct Arguments {
    /// Number of the device among those that CUDA_VISIBLE_DEVICES makes visible
    #[arg(long, value_name = "N", default_value_t = 0)]
    device: u32,
    /// Run only proofs and steps whose name contains TEXT, such as scan; repeat the flag for several
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Skip proofs and steps whose name contains TEXT, such as law: or codes:; repeat the flag for several
    #[arg(long, value_name = "TEXT")]
    skip: Vec<String>,
    /// Multiply the sizes of the steps by X; below 0.01 codebooks shrink too
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// Timings of each step, after one warm-up
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: u16,
    /// Seed of all inputs [default: a new one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Output file of torch_steps.py, to show ratios
    #[arg(long, value_name = "FILE")]
    torch: Option<PathBuf>,
    /// Folder of the results
    #[arg(long, value_name = "DIR", default_value = "runs/gpu-check")]
    out: PathBuf,
    /// Compile an emulated device into this folder and check it with few inputs
    #[arg(long, value_name = "DIR", hide = true)]
    emulated: Option<PathBuf>,
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if scale > 0.0 && scale <= 10.0 => Ok(scale),
        _ => Err("a number above 0, at most 10".into()),
    }
}

impl Arguments {
    fn wants(&self, name: &str) -> bool {
        let within = |texts: &[String]| texts.iter().any(|text| name.contains(text));
        (self.only.is_empty() || within(&self.only)) && !within(&self.skip)
    }
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    if cfg!(debug_assertions) {
        let help = "run it as `cargo xtask gpu-check`, which builds with optimization";
        return Err(Mistakes::new("a debug build is too slow for meaningful timings", help));
    }
    let torch = arguments.torch.as_deref().map(Torch::read).transpose().map_err(not_of_torch)?.unwrap_or_default();
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    let device = open(&arguments, &here.devices.toolkit)?;
    let folder = RunFolder::new(&arguments.out);
    if folder.load().is_ok_and(|run| run.info.name != EXPERIMENT) {
        return Err(RecordError::Foreign { path: arguments.out.clone() }.into());
    }
    let _lock = folder.prepare()?;
    write_atomically(&folder.root().join(TORCH.0), TORCH.1.as_bytes())?;
    let facts = device.facts().clone();
    let machine =
        record::Machine { gpu: Some(facts.name.clone()), ..machine::describe(&crate::source_tree(), here.devices.isa) };
    let compiler = compiler(facts.capability, &here.devices.toolkit);
    let setting = DeviceRun { machine, facts, compiler, seed, scale: arguments.scale, torch };
    say!("{}", device_check::heading(&setting).trim_end());
    let mut results = CheckResults { folder: &folder, setting: &setting, findings: Findings::default() };
    results.save()?;
    prove(&arguments, &device, here.devices.isa, &mut results)?;
    time(&arguments, &device, here.devices.isa, &mut results)?;
    let Findings { proofs, .. } = &results.findings;
    for (name, end) in proofs.iter().filter(|(_, end)| !end.as_ref().is_ok_and(Agreement::holds)) {
        say!("{}", device_check::proof_line(name, end).trim_end());
    }
    let times = device_check::times(&setting, &results.findings);
    if !times.is_empty() {
        say!("{}\n", times.trim());
    }
    say!("{}: {}", results.findings.summary(), results.page().display());
    Ok(ExitCode::from(u8::from(!results.findings.hold())))
}

/// The device asked for.
fn open(arguments: &Arguments, toolkit: &Toolkit) -> Result<Device, Mistakes> {
    let failed = |e: CudaError| Mistakes::new(e.to_string(), NEEDED);
    match &arguments.emulated {
        None => Device::open(arguments.device, toolkit).map_err(failed),
        Some(folder) => {
            let library = emulator::build(folder, &environment::compiler())
                .map_err(|e| Mistakes::new(e.to_string(), "set CXX to a C++ compiler"))?;
            Device::emulated(&library, EMULATED_BYTES).map_err(failed)
        }
    }
}

fn not_of_torch(error: TorchError) -> Mistakes {
    Mistakes::new(error.to_string(), "name the file that torch_steps.py wrote")
}

/// A seed that no one has chosen.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    cuda::random_bits(now.as_nanos() as u64, std::process::id().into()) >> 32
}

/// The compiler of kernels and how long it takes, without what is kept of it.
fn compiler((major, minor): (u32, u32), toolkit: &Toolkit) -> String {
    let architecture = format!("sm_{major}{minor}");
    let start = Instant::now();
    let compiled =
        cuda::nvrtc_version(toolkit).and_then(|version| cuda::compile(toolkit, &architecture).map(|_| version));
    match compiled {
        Ok(version) => format!("NVRTC {version}, {:.1} s for {architecture}", start.elapsed().as_secs_f64()),
        Err(error) => error.to_string(),
    }
}

/// Makes every proof that is wanted.
fn prove(arguments: &Arguments, device: &Device, isa: Isa, results: &mut CheckResults<'_>) -> Result<(), Mistakes> {
    let small = arguments.emulated.is_some();
    let bench = proofs::ProofContext { device, isa, seed: results.setting.seed, small };
    for proof in proofs::PROOFS.iter().filter(|proof| arguments.wants(proof.name)) {
        let end = laws::guarded(|| (proof.run)(&bench).map_err(|e| e.to_string())).unwrap_or_else(Err);
        results.proven(proof.name.to_owned(), end)?;
    }
    let bench = laws::bench(device, isa, small);
    if arguments.wants("codes:") {
        for (method, found) in laws::codes(&bench, small) {
            results.proven(format!("codes: {method}"), Ok(found))?;
        }
    }
    for name in laws::names().filter(|name| arguments.wants(name)) {
        let found = laws::keep(&name, &bench);
        results.proven(name, Ok(found))?;
    }
    Ok(())
}

/// Times every step that is wanted.
fn time(arguments: &Arguments, device: &Device, isa: Isa, results: &mut CheckResults<'_>) -> Result<(), Mistakes> {
    let setting = steps::StepContext {
        device,
        isa,
        seed: results.setting.seed,
        scale: arguments.scale,
        repeats: arguments.repeats.into(),
    };
    let wanted: Vec<&steps::Step> = steps::STEPS.iter().filter(|step| arguments.wants(step.name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    say_aside!("measuring the peaks of this device");
    results.findings.limits = Some(steps::measure(&setting).map_err(|e| e.to_string()));
    results.save()?;
    for step in wanted {
        device.forget_peak();
        let end = laws::guarded(|| (step.run)(&setting).map_err(|e| e.to_string())).unwrap_or_else(Err);
        let end = end.map(|mut timing| {
            timing.notes.push((steps::Note::PeakDeviceBytes, device.peak_bytes() as f64));
            timing
        });
        say_aside!("{}", if end.is_ok() { format!("{}: timed", step.name) } else { format!("{}: failed", step.name) });
        results.findings.steps.push((step.name, end));
        results.save()?;
    }
    Ok(())
}

/// What has been found so far, and where it is kept.
struct CheckResults<'a> {
    folder: &'a RunFolder,
    setting: &'a DeviceRun,
    findings: Findings,
}

impl CheckResults<'_> {
    fn proven(&mut self, name: String, end: Result<Agreement, String>) -> Result<(), Mistakes> {
        let words = match &end {
            Err(reason) => format!("failed, {reason}"),
            Ok(found) if found.holds() && found.compared == 1 => "holds".to_owned(),
            Ok(found) if found.holds() => format!("{} answers, {} near-ties", found.compared, found.ties),
            Ok(found) => format!("{} of {} answers are WRONG", found.wrong, found.compared),
        };
        say_aside!("{name}: {words}");
        self.findings.proofs.push((name, end));
        self.save()
    }

    /// Writes everything that has ended.
    fn save(&self) -> Result<(), Mistakes> {
        let run = device_check::run(self.setting, &self.findings);
        if let Some(record) = run.records.last() {
            self.folder.save_trial(record)?;
        }
        self.folder.save_run(&run.info)?;
        self.folder.save_tables(&run)?;
        let page = device_check::to_markdown(self.setting, &self.findings);
        Ok(write_atomically(&self.page(), page.as_bytes())?)
    }

    /// The page in the folder of the results.
    fn page(&self) -> PathBuf {
        self.folder.root().join("gpu.md")
    }
}
