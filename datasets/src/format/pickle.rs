//! Pickles, and what PyTorch saves in them, are refused: opening one can run any program. The refusal says how to convert it.

use super::{OpenFile, place, zip};
use crate::DatasetError;
use std::path::Path;

/// Extensions of files of PyTorch, and of other pickles.
const TORCH: [&str; 3] = ["pt", "pth", "ckpt"];
const PICKLES: [&str; 3] = ["pkl", "pickle", "joblib"];

/// The first byte of a pickle of a protocol from 2 on; the second is the protocol.
const PROTOCOL: u8 = 0x80;
const PROTOCOLS: std::ops::RangeInclusive<u8> = 2..=5;

/// The name of the pickle in the zip file that PyTorch writes, below a folder.
const IN_ZIP: &str = "/data.pkl";

/// The refusal of a file that is a pickle by its name.
pub fn by_name(path: &Path) -> Option<DatasetError> {
    let extension = place::extension(path);
    let torch = TORCH.contains(&extension.as_str());
    (torch || PICKLES.contains(&extension.as_str())).then(|| refusal(path, torch))
}

/// The refusal of a file that is a pickle by its content.
pub fn by_content(path: &Path, head: &[u8], file: &mut OpenFile) -> Option<DatasetError> {
    if head.starts_with(zip::MAGIC) {
        let members = zip::members(file).unwrap_or_default();
        return members.iter().any(|member| member.name.ends_with(IN_ZIP)).then(|| refusal(path, true));
    }
    matches!(head, [PROTOCOL, protocol, ..] if PROTOCOLS.contains(protocol)).then(|| refusal(path, false))
}

fn refusal(path: &Path, torch: bool) -> DatasetError {
    let (from, to) = (path.display().to_string(), path.with_extension("npy").display().to_string());
    let plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || " /._-+=,".contains(c));
    let (from, to) = if plain(&from) { (from, to) } else { ("FILE".to_owned(), "vectors.npy".to_owned()) };
    let load = if torch {
        format!("torch.load('{from}', map_location='cpu', weights_only=True).float().numpy()")
    } else {
        format!("numpy.asarray(numpy.load('{from}', allow_pickle=True), dtype='float32')")
    };
    let modules = if torch { "numpy, torch" } else { "numpy" };
    DatasetError::Pickle {
        path: path.to_owned(),
        python: format!("python -c \"import {modules}; numpy.save('{to}', {load})\""),
    }
}
