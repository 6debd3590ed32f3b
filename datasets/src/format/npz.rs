//! NumPy's `.npz`: a zip file of `.npy` files, stored (`savez`) or deflated (`savez_compressed`). A `#` and the name of an
//! array choose one of them.

use super::arrays::{NamedArray, choose};
use super::npy::{self, Npy};
use super::zip::{self, Member};
use super::{Format, OpenFile, RowReader};
use ndarray::Array2;

pub struct Npz;

/// What every array's name ends with in the zip file.
const SUFFIX: &str = ".npy";

/// Most arrays that are opened to see their shapes.
const MOST_OPENED: usize = 1000;

/// The members that are arrays, with the arrays' names.
fn arrays(file: &mut OpenFile) -> Result<Vec<(String, Member)>, String> {
    let members = zip::members(file)?.into_iter();
    Ok(members.filter_map(|member| Some((member.name.strip_suffix(SUFFIX)?.to_owned(), member))).collect())
}

/// Opens the chosen array.
fn open(file: &mut OpenFile) -> Result<OpenFile, String> {
    let name = file.place.part.clone();
    let found = arrays(file)?.into_iter().find(|(array, _)| Some(array) == name.as_ref());
    found.ok_or("it changed while it was read")?.1.open(file)
}

/// One array that cannot be read does not keep others from being read.
fn describe(file: &mut OpenFile, (name, member): (String, Member)) -> NamedArray {
    match member.open(file).and_then(|mut array| npy::describe(&mut array)) {
        Ok((shape, kind)) => NamedArray { name, shape, kind, unreadable: None },
        Err(reason) => NamedArray { name, shape: Vec::new(), kind: String::new(), unreadable: Some(reason) },
    }
}

impl Format for Npz {
    fn name(&self) -> &'static str {
        "npz"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npz"]
    }

    fn recognizes(&self, head: &[u8], _: u64) -> bool {
        head.starts_with(zip::MAGIC)
    }

    fn packs(&self) -> bool {
        true
    }

    fn choose(&self, file: &mut OpenFile) -> Result<Option<String>, String> {
        let wanted = file.place.part.clone();
        let arrays = arrays(file)?;
        if wanted.as_ref().is_some_and(|wanted| arrays.iter().any(|(name, _)| name == wanted)) {
            return Ok(wanted);
        }
        if arrays.len() > MOST_OPENED {
            return Err(format!("it holds {} arrays; write the name of one after its name: `#name`", arrays.len()));
        }
        let arrays: Vec<NamedArray> = arrays.into_iter().map(|array| describe(file, array)).collect();
        choose(&arrays, wanted.as_deref()).map(|array| Some(array.name.clone()))
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        Npy.shape(&mut open(file)?)
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        Npy.rows(open(&mut file)?)
    }

    fn labels(&self, mut file: OpenFile) -> Result<Vec<u32>, String> {
        Npy.labels(open(&mut file)?)
    }
    fn ids(&self, mut file: OpenFile) -> Result<Array2<u32>, String> {
        Npy.ids(open(&mut file)?)
    }
}
