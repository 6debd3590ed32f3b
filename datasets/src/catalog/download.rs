//! Where the files of a dataset can be fetched from. This says what there is; the package `vqbench-fetch` fetches it.

use serde::Deserialize;

/// Files that are fetched from one place.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Addresses of the same bytes, in the order in which they are tried. With `names`, `{}` stands for a name.
    pub from: Vec<String>,
    /// Path below the folder of datasets, with `{}` for a name. Of an archive, where it lies until it is unpacked.
    pub to: String,
    /// Several files at addresses and paths that differ in their names only; empty for one file.
    #[serde(default)]
    pub names: Vec<String>,
    /// Bytes that are fetched, if they are known. Not with `names`.
    pub bytes: Option<u64>,
    /// About how many bytes that is, where the exact number is not known; for people only.
    pub about: Option<u64>,
    /// SHA-256 of what is fetched, where one is published. Not with `names`.
    pub sha256: Option<String>,
    /// Only these bytes of what is at the address: first, and the one after the last.
    pub range: Option<(u64, u64)>,
    /// A file that begins with its numbers of rows and columns, 32 bits each, and can be cut after any row.
    #[serde(default)]
    pub cut: bool,
    /// How the fetched file is packed, if it is unpacked as soon as it is here.
    pub unpack: Option<Unpacking>,
    /// Files of the archive that are kept, by their paths in it; one that ends with `/` stands for all files below it. They
    /// lie at the same paths beside the archive.
    #[serde(default)]
    pub members: Vec<String>,
}

/// How a fetched file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Unpacking {
    /// A tar file, packed by gzip.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// A tar file.
    #[serde(rename = "tar")]
    Tar,
    /// A zip file.
    #[serde(rename = "zip")]
    Zip,
    /// One file, packed by gzip. The unpacked file has the same name without `.gz`.
    #[serde(rename = "gzip")]
    Gzip,
}

impl Download {
    /// Paths below the folder of datasets that exist once it is fetched; those of whole folders of an archive end with `/`.
    pub fn paths(&self) -> Vec<String> {
        match self.unpack {
            None if self.names.is_empty() => vec![self.to.clone()],
            None => self.names.iter().map(|name| self.to.replace("{}", name)).collect(),
            Some(Unpacking::Gzip) => vec![self.to.strip_suffix(".gz").unwrap_or(&self.to).to_owned()],
            Some(_) => {
                let beside = self.to.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
                self.members.iter().map(|member| format!("{beside}{member}")).collect()
            }
        }
    }
}
