//! The laws of every method on a device, by name, and how far codes of both backends are apart.

use crate::METHODS;
use crate::backend::CudaBackend;
use crate::laws::{self, Bench, disagreements, gaussian};
use cpu::Isa;
use cuda::proofs::Agreement;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

macro_rules! all {
    ($($law:ident),*) => { &[$((stringify!($law), laws::$law)),*] };
}

/// Name and law, which panics where it is broken.
type Law = (&'static str, fn(&Bench));

static LAWS: &[Law] = crate::for_each_law!(all);

/// Rows and components of the codes that are compared.
const TRAINED: usize = 600;
const CODED: usize = 2000;
const DIM: usize = 12;

/// Codes of searches by chance are as good as each other within this, on average; the laws say more of all others.
const SIMILAR: f64 = 5e-3;

/// Laws by name.
pub fn names() -> impl Iterator<Item = String> {
    LAWS.iter().map(|(name, _)| named(name))
}

fn named(law: &str) -> String {
    format!("law: {}", law.replace('_', " "))
}

/// All methods on this device; where it is emulated, the first one.
pub fn bench(device: &cuda::Device, isa: Isa, small: bool) -> Bench {
    let bench = Bench::on(Arc::new(CudaBackend::on(device.clone(), isa)));
    match small {
        true => bench.only(|name| METHODS.first().is_some_and(|first| first.name == name)),
        false => bench,
    }
}

/// Holds the methods to a law.
pub fn keep(name: &str, bench: &Bench) -> Agreement {
    let mut found = Agreement::default();
    for (_, law) in LAWS.iter().filter(|(law, _)| named(law) == name) {
        let kept = guarded(|| law(bench));
        found.holds_if(kept.is_ok(), || kept.err().unwrap_or_default());
    }
    found
}

/// What work returns, or the words of its panic.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_else(|| "a panic".into())
    })
}

/// Codes of both backends by each method, with every example that it gives.
pub fn codes(bench: &Bench, small: bool) -> BTreeMap<String, Agreement> {
    let rows = if small { CODED / 10 } else { CODED };
    let (train, rows) = (gaussian(TRAINED, DIM, 1), gaussian(rows, DIM, 2));
    let mut all = BTreeMap::<String, Agreement>::new();
    for (specimen, method) in bench.specimens() {
        let found = all.entry(method.name().to_owned()).or_default();
        let compared = guarded(|| disagreements(&*method, train.view(), rows.view(), bench));
        match compared.unwrap_or_else(Err) {
            Err(reason) => found.holds_if(false, || format!("{specimen}: {reason}")),
            Ok(codes) => {
                let (processor, device) = codes.mse;
                found.compared += codes.rows;
                found.ties += codes.differ;
                if codes.is_small() {
                    found.add_distortion(device, processor);
                }
                let similar = (device - processor).abs() <= SIMILAR * processor.max(1e-12);
                found.holds_if(codes.is_small() || similar, || format!("{specimen}: {codes:?}"));
            }
        }
    }
    all
}
