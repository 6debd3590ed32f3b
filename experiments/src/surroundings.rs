//! What a process finds where it runs. The command line reads it once and passes it in: no library of the workspace looks at the
//! environment by itself.

use datasets::SearchPath;
use methods::backend::Devices;
use std::path::{Path, PathBuf};

/// Where named datasets are looked for, and what is computed on.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Folders of named datasets.
    pub search: SearchPath,
    /// Where exact neighbours are kept for later runs; None to keep them in the folder of the run only.
    pub cache: Option<PathBuf>,
    /// The instruction set of the processor, and how devices are opened.
    pub devices: Devices,
    /// How outside programs are started.
    pub programs: adapters::Host,
}

impl Default for Surroundings {
    /// The datasets of the source tree, and the widest instruction set of this processor.
    fn default() -> Surroundings {
        Surroundings {
            search: SearchPath::of_source_tree(),
            cache: None,
            devices: Devices::default(),
            programs: adapters::Host::default(),
        }
    }
}

/// A path that is the same from every folder.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
