//! `datasets list`: the catalog, and which of it is on this machine.

use datasets::SearchPath;
use datasets::catalog::{self, write_rows};

pub fn run(search: &SearchPath) {
    let width = catalog::entries().iter().map(|e| e.name.len()).max().unwrap_or(0);
    for entry in catalog::entries() {
        let state = match (entry.embedded, entry.is_here(search), entry.downloads.is_empty()) {
            (true, true, _) => "embedded",
            (_, true, _) => "here",
            (_, false, true) => "not here",
            (_, false, false) => "to fetch",
        };
        let size = entry.download_size().unwrap_or_default();
        let rows = entry.n.map_or_else(String::new, |n| format!("n={}", write_rows(n)));
        say!(
            "{:<width$}  {state:<8}  {size:<12}  {rows:<10} d={:<4} {:<6}  {}",
            entry.name,
            entry.dim,
            entry.metric.to_string(),
            entry.summary
        );
    }
    say!(
        "\n`cargo xtask datasets fetch NAME` fetches one; of bigann, deep1b, text2image and msspacev also the first rows alone: \
         bigann-10m"
    );
    say!(
        "random sources: gaussian, laplacian, uniform, ar1, sphere, mixture, embedding, such as {{ synthetic: gaussian, dim: 16, n: 100000 }}"
    );
    say!(
        "own files: {{ path: vectors.npy }}, or .npz#array, .safetensors#tensor, .fvecs, .bvecs, .fbin, .u8bin, .i8bin, .f16bin, .idx, .hdf5#dataset, \
         .parquet#column, .arrow#column, .csv, .tsv, .ndjson#key, .txt; all but .npz and .hdf5 also as .gz or .zst; part-*.parquet"
    );
    say!(
        "your images: {{ images: folder/, patch: 8 }}, .webp, .png, .jpg, .ppm and .pgm, split by whole images; a single one: \
         {{ path: photo.png#8 }}"
    );
    say!(
        "your sound: {{ wav: folder/, mel: {{ bands: 64, frame_ms: 25, hop_ms: 20 }} }}, .wav as log-mel frames, split by whole recordings"
    );
}
