//! Checks every family of kernels: fresh inputs, outputs filled with NaN beforehand, results compared with the CPU.

mod agreement;
mod codes;
mod inputs;
mod sums;
mod training;

pub use agreement::Agreement;
pub use inputs::{distance, is_tie, stream_seed};

use crate::{
    AssignPass, Base, Buffer, Codes, Codewords, CudaError, Device, DeviceRows, DeviceSumTables, GroupCodebooks,
    Proximity, SymbolWidth, Terms, Value, cell_sums, nearest_of_groups, products, scan_hamming, scan_tables,
};
use cpu::{BeamScratch, Isa, Nearest, Score};
use inputs::{InputKind, KINDS, TIE, values};
use sums::Books;

/// One family of kernels.
pub struct Proof {
    /// Its name.
    pub name: &'static str,
    /// Compares the kernels with the CPU.
    pub run: fn(&ProofContext<'_>) -> Result<Agreement, CudaError>,
}

/// All proofs. A new kernel needs a new line.
pub const PROOFS: &[Proof] = &[
    Proof { name: "assignment-f32", run: |bench| assignment(bench, AssignPass::Floats) },
    Proof { name: "assignment-tensor-cores", run: |bench| assignment(bench, AssignPass::Halves) },
    Proof { name: "assignment", run: |bench| assignment(bench, AssignPass::Auto) },
    Proof { name: "cell-sums", run: sums_of_cells },
    Proof { name: "assignment-in-groups", run: groups },
    Proof { name: "products", run: all_products },
    Proof { name: "nearest-of-groups", run: few_of_groups },
    Proof { name: "beam-search", run: beam_search },
    Proof { name: "local-search", run: local_search },
    Proof { name: "scan-by-tables", run: table_scan },
    Proof { name: "scan-of-bits", run: bit_scan },
    Proof { name: "uniform-codes", run: codes::uniform_codes },
    Proof { name: "decoding", run: codes::decoding },
    Proof { name: "exact-neighbours", run: neighbours },
    Proof { name: "starts-of-kmeans", run: training::starts },
    Proof { name: "networks", run: training::networks },
];

/// The context of proofs.
pub struct ProofContext<'a> {
    /// The device to check.
    pub device: &'a Device,
    /// Instruction set of the CPU kernels to compare with.
    pub isa: Isa,
    /// Seed of the inputs.
    pub seed: u64,
    /// Whether to use small inputs, for an emulated device.
    pub small: bool,
}

impl ProofContext<'_> {
    /// Number of rows of a proof.
    pub fn rows(&self, n: usize) -> usize {
        if self.small { (n / 100).clamp(1, 150) } else { n }
    }

    /// Number of codewords of a proof.
    fn codewords(&self, k: usize) -> usize {
        if self.small { k.min(140) } else { k }
    }

    /// Fills the memory of the next allocation of this size with NaN, so that values that a kernel does not write are
    /// detected.
    fn poison<T: Value>(&self, len: usize) -> Result<(), CudaError> {
        self.device.filled::<T>(len, 0xff).map(drop)
    }

    /// Memory filled with NaN.
    pub fn poisoned<T: Value>(&self, len: usize) -> Result<Buffer<T>, CudaError> {
        self.device.filled(len, 0xff)
    }
}

fn assignment(bench: &ProofContext<'_>, pass: AssignPass) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    let shapes = [(20_000, 300, 64), (10_000, 4096, 128), (4000, 1000, 300), (3000, 70, 17), (1, 1, 1)];
    for (case, (n, k, dim)) in (0..).zip(shapes) {
        for (kind, stream) in KINDS.into_iter().zip(2 * KINDS.len() as u64 * case..) {
            let (n, k) = (bench.rows(n), bench.codewords(k));
            // Row strides that differ from row lengths.
            let stride = dim + usize::from(kind == InputKind::Far);
            let rows = values(bench.seed, 2 * stream, n * stride, kind);
            let codewords = values(bench.seed, 2 * stream + 1, k * dim, kind);
            let on_device = bench.device.upload(&rows)?;
            let view = DeviceRows::new(&on_device, 0, stride, n, dim);
            let book = Codewords::new(bench.device, &codewords, dim, pass)?;
            let mut nearest = bench.poisoned(n)?;
            book.assign(view, &mut nearest)?;
            let nearest: Vec<u32> = nearest.download()?;
            let processor = Nearest::new(bench.isa, codewords.clone(), dim, Score::HalfDistance);
            let mut expected = vec![0; n];
            processor.assign(&rows, stride, &mut expected, None);
            let codeword = |c: u32| &codewords[c as usize * dim..][..dim];
            let what = |i: usize| format!("{n}×{dim} to {k}, {kind:?}, row {i}");
            for i in 0..n {
                let row = &rows[i * stride..][..dim];
                let (here, there) = (expected[i], nearest[i]);
                if there as usize >= k {
                    found.differs(false, || format!("{}: codeword {there}", what(i)));
                    continue;
                }
                found.add_distortion(distance(row, codeword(there)), distance(row, codeword(here)));
                match here == there {
                    true => found.same(),
                    // Of equal codewords, the first must be chosen.
                    false => found.differs(
                        codeword(here) != codeword(there) && is_tie(row, codeword(here), codeword(there)),
                        || format!("{}: codeword {there} for {here}", what(i)),
                    ),
                }
            }
            if nearest.iter().all(|&c| (c as usize) < k) {
                let on_device_nearest = bench.device.upload(&nearest)?;
                let mut distances = bench.poisoned(n)?;
                book.distances(view, &on_device_nearest, &mut distances)?;
                for (i, d) in distances.download()?.into_iter().enumerate() {
                    let exact = distance(&rows[i * stride..][..dim], codeword(nearest[i]));
                    found.holds_if((f64::from(d) - exact).abs() <= TIE * exact, || {
                        format!("{}: a distance of {d} for {exact}", what(i))
                    });
                }
            }
        }
    }
    Ok(found)
}

fn sums_of_cells(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    for (case, (n, k, dim)) in (100..).zip([(20_000, 4096, 128), (30_000, 16, 40), (3000, 7, 5), (1, 1, 1)]) {
        for (kind, stream) in KINDS.into_iter().zip(KINDS.len() as u64 * case..) {
            let (n, k) = (bench.rows(n), bench.codewords(k));
            let rows = values(bench.seed, stream, n * dim, kind);
            let cells: Vec<u32> =
                (0..n as u64).map(|i| (crate::random_bits(bench.seed ^ stream, i) % k as u64) as u32).collect();
            let (there, nearest) = (bench.device.upload(&rows)?, bench.device.upload(&cells)?);
            bench.poison::<u64>(k * dim)?;
            bench.poison::<u32>(k)?;
            let sums = cell_sums(DeviceRows::all(&there, dim), &nearest, k)?;
            let (exact, counts) = cpu::cell_sums(bench.isa, &rows, dim, dim, &cells, k);
            let largest = rows.iter().fold(0f32, |most, v| most.max(v.abs()));
            let what = || format!("{n}×{dim} in {k} cells, {kind:?}");
            for (c, (&there, &here)) in sums.counts.iter().zip(&counts).enumerate() {
                found.holds_if(there as usize == here, || format!("{}: {there} rows for {here} in cell {c}", what()));
                let of = c * dim..(c + 1) * dim;
                let apart =
                    sums.sums[of.clone()].iter().zip(&exact[of]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                found.holds_if(apart <= 1e-9 * f64::from(largest) * n as f64, || {
                    format!("{}: the sum of cell {c} is {apart:e} off", what())
                });
            }
            let again = cell_sums(DeviceRows::all(&there, dim), &nearest, k)?;
            found.holds_if(again == sums, || format!("{}: other sums the second time", what()));
        }
    }
    Ok(found)
}

fn groups(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    // The sizes with their own kernels, and two others.
    let shapes = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 5, 48].map(|size| (8000, 96 / size.min(24), size, 256));
    for (case, (n, groups, size, k)) in (200..).zip(shapes) {
        let kind = KINDS[case as usize % KINDS.len()];
        let (n, groups, k) = (bench.rows(n), if bench.small { groups.min(3) } else { groups }, bench.codewords(k));
        let dim = groups * size;
        let rows = values(bench.seed, 2 * case, n * dim, kind);
        let books = values(bench.seed, 2 * case + 1, groups * k * size, kind);
        let split: Vec<&[f32]> = books.chunks_exact(k * size).collect();
        let there = bench.device.upload(&rows)?;
        let mut symbols = bench.poisoned(n * groups)?;
        GroupCodebooks::new(bench.device, &split, size)?.nearest(DeviceRows::all(&there, dim), &mut symbols)?;
        let symbols = symbols.download()?;
        for (g, book) in split.iter().enumerate() {
            let mut expected = vec![0u32; n];
            let processor = Nearest::new(bench.isa, book.to_vec(), size, Score::HalfDistance);
            processor.assign(&rows[g * size..], dim, &mut expected, None);
            for (i, &here) in expected.iter().enumerate() {
                let row = &rows[i * dim + g * size..][..size];
                let there = u32::from(symbols[i * groups + g]);
                let what = || {
                    format!("{n} rows, group {g} of {groups}×{size} with {k}, {kind:?}, row {i}: {there} for {here}")
                };
                if there as usize >= k {
                    found.differs(false, what);
                    continue;
                }
                let codeword = |c: u32| &book[c as usize * size..][..size];
                found.add_distortion(distance(row, codeword(there)), distance(row, codeword(here)));
                match here == there || codeword(here) == codeword(there) {
                    true => found.same(),
                    false => found.differs(is_tie(row, codeword(here), codeword(there)), what),
                }
            }
        }
    }
    Ok(found)
}

fn all_products(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    for (case, (n, k, dim)) in (300..).zip([(3000, 300, 128), (1000, 129, 17), (200, 1000, 384), (1, 1, 1)]) {
        let (n, k) = (bench.rows(n), bench.codewords(k));
        let of = |stream: u64, len| values(bench.seed, 8 * case + stream, len, InputKind::Plain);
        let (rows, others, center) = (of(0, n * dim), of(1, k * dim), of(2, dim));
        let bias = of(3, k);
        let upload = |values: &[f32]| bench.device.upload(values);
        let (there, others_there, center_there) = (upload(&rows)?, upload(&others)?, upload(&center)?);
        let bias_there = upload(&bias)?;
        let terms = Terms { mean: Some(&center_there), bias: Some(&bias_there) };
        let mut out = bench.poisoned(n * k)?;
        products(DeviceRows::all(&there, dim), &others_there, -2.0, terms, &mut out)?;
        for (place, found_there) in out.download()?.into_iter().enumerate() {
            let (i, c) = (place / k, place % k);
            let (mut sum, mut size) = (0f64, 0f64);
            for j in 0..dim {
                let part = (f64::from(rows[i * dim + j]) - f64::from(center[j])) * f64::from(others[c * dim + j]);
                sum += part;
                size += part.abs();
            }
            let exact = f64::from(bias[c]) - 2.0 * sum;
            found.holds_if((f64::from(found_there) - exact).abs() <= TIE * (size + 10.0), || {
                format!("{n}×{k}×{dim}, place {i}, {c}: {found_there} for {exact}")
            });
        }
    }
    Ok(found)
}

fn few_of_groups(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    let shapes = [(2000, 1, 300, 4, 16), (500, 5, 256, 5, 32), (20, 40, 30, 300, 4)];
    for (case, (groups, group, k, count, dim)) in (400..).zip(shapes) {
        let (groups, k) = (bench.rows(groups), bench.codewords(k));
        let rows = values(bench.seed, 2 * case, groups * group * dim, InputKind::Plain);
        let book = values(bench.seed, 2 * case + 1, k * dim, InputKind::Plain);
        let there = bench.device.upload(&rows)?;
        let count = count.min(group * k);
        bench.poison::<u32>(groups * count)?;
        bench.poison::<f32>(groups * count)?;
        let (places, distances) = nearest_of_groups(bench.device, DeviceRows::all(&there, dim), group, &book, count)?;
        for g in 0..groups {
            let exact =
                |place: usize| distance(&rows[(g * group + place / k) * dim..][..dim], &book[place % k * dim..][..dim]);
            let mut all: Vec<(f64, usize)> = (0..group * k).map(|place| (exact(place), place)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut seen = vec![false; group * k];
            for p in 0..count {
                let place = places[g * count + p] as usize;
                let what = || format!("{groups} groups of {group}, {k} codewords: place {p} of group {g} is {place}");
                if place >= group * k || std::mem::replace(&mut seen[place], true) {
                    found.differs(false, what);
                    continue;
                }
                let (there, (best, expected)) = (exact(place), all[p]);
                found.add_distortion(there, best);
                let told = (f64::from(distances[g * count + p]) - there).abs() <= TIE * there;
                match place == expected && told {
                    true => found.same(),
                    false => found.differs(told && (there - best).abs() <= TIE * (there + 4.0 * dim as f64), what),
                }
            }
        }
    }
    Ok(found)
}

/// Codes of rows by the CPU tables; `search` finds the code from the table of a row.
fn by_processor(
    tables: &cpu::SumTables,
    rows: &[f32],
    dim: usize,
    codes: &mut [u16],
    mut search: impl FnMut(&[f32], &mut [u16]),
) {
    let mut unary = vec![0f32; tables.unary_len()];
    for (row, code) in rows.chunks_exact(dim).zip(codes.chunks_exact_mut(tables.codebooks())) {
        tables.unary(&mut row.to_vec(), &mut unary);
        search(&unary, code);
    }
}

fn beam_search(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    // The last two use global instead of shared memory, and a beam wider than the number of partial codes.
    let shapes = [(2000, 8, 256, 32, 5), (1000, 4, 16, 24, 1), (200, 3, 1024, 16, 40), (500, 3, 6, 5, 50)];
    for (case, (n, m, k, dim, beam)) in (500..).zip(shapes) {
        for whole in [false, true] {
            let n = bench.rows(n);
            let k = if bench.small { k.min(700) } else { k };
            let rows = values(bench.seed, 2 * case, n * dim, InputKind::Plain);
            let books = values(bench.seed, 2 * case + 1, m * k * dim, InputKind::Plain);
            let there = bench.device.upload(&rows)?;
            let tables = DeviceSumTables::new(bench.device, &books, m, dim, whole)?;
            let mut codes = vec![u16::MAX; n * m];
            bench.poison::<u16>(n * m)?;
            tables.beam(DeviceRows::all(&there, dim), beam, &mut codes)?;
            let processor = cpu::SumTables::new(bench.isa, &books, m, dim, whole);
            let (mut expected, mut scratch) = (vec![0u16; n * m], BeamScratch::default());
            by_processor(&processor, &rows, dim, &mut expected, |unary, code| {
                processor.beam(unary, beam, &mut scratch, code)
            });
            let exact = Books::new(&books, m, dim);
            let what = format!("{n}×{dim}, {m}×{k}, beam {beam}");
            compare_codes(&mut found, (&rows, dim), (&codes, &expected), &exact, k, &what, |row, _| {
                exact.beam_meets_a_tie(row, beam)
            });
        }
    }
    Ok(found)
}

fn local_search(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    const SWEEPS: usize = 4;
    let mut found = Agreement::default();
    for (case, (n, m, k, dim)) in (600..).zip([(1000, 8, 256, 32), (500, 3, 6, 5)]) {
        let (n, k) = (bench.rows(n), bench.codewords(k));
        let rows = values(bench.seed, 2 * case, n * dim, InputKind::Plain);
        let books = values(bench.seed, 2 * case + 1, m * k * dim, InputKind::Plain);
        let start: Vec<u16> =
            (0..(n * m) as u64).map(|i| (crate::random_bits(bench.seed ^ case, i) % k as u64) as u16).collect();
        let there = bench.device.upload(&rows)?;
        let view = DeviceRows::all(&there, dim);
        let tables = DeviceSumTables::new(bench.device, &books, m, dim, true)?;
        let exact = Books::new(&books, m, dim);
        // Without rounds the search is a descent, with the same result as on the CPU.
        let mut descended = start.clone();
        tables.improve(view, (0, SWEEPS, 4), 1, &mut descended)?;
        let processor = cpu::SumTables::new(bench.isa, &books, m, dim, true);
        let mut expected = start.clone();
        by_processor(&processor, &rows, dim, &mut expected, |unary, code| processor.descend(unary, SWEEPS, code));
        let what = format!("{n}×{dim}, {m}×{k}, descent");
        let codes = (&descended[..], &expected[..]);
        compare_codes(&mut found, (&rows, dim), codes, &exact, k, &what, |row, i| {
            exact.descent_meets_a_tie(row, &start[i * m..][..m], SWEEPS)
        });
        // With rounds no code becomes worse, and the code of a row does not depend on other rows.
        let mut improved = start.clone();
        tables.improve(view, (8, SWEEPS, 4), 1, &mut improved)?;
        let part = n.div_ceil(2);
        let mut alone = start[..part * m].to_vec();
        tables.improve(view.part(0, part), (8, SWEEPS, 4), 1, &mut alone)?;
        for (i, row) in rows.chunks_exact(dim).enumerate() {
            let of = |codes: &[u16]| exact.error(row, &codes[i * m..][..m]);
            let (before, after) = (of(&descended), of(&improved));
            found.holds_if(after <= before * (1.0 + TIE) + TIE, || {
                format!("{n}×{dim}, {m}×{k}, row {i}: {after} after rounds, {before} without")
            });
            if i < part {
                found.holds_if(alone[i * m..][..m] == improved[i * m..][..m], || {
                    format!("{n}×{dim}, {m}×{k}, row {i}: another code beside fewer rows")
                });
            }
        }
    }
    Ok(found)
}

/// Compares the codes of both sides. A code that differs must come from a near-tie; `meets_a_tie` decides this from a
/// row and its index.
fn compare_codes(
    found: &mut Agreement,
    (rows, dim): (&[f32], usize),
    (codes, expected): (&[u16], &[u16]),
    exact: &Books,
    k: usize,
    what: &str,
    meets_a_tie: impl Fn(&[f32], usize) -> bool,
) {
    let m = codes.len() / (rows.len() / dim).max(1);
    for (i, row) in rows.chunks_exact(dim).enumerate() {
        let (there, here) = (&codes[i * m..][..m], &expected[i * m..][..m]);
        let reason = || format!("{what}, row {i}: {there:?} for {here:?}");
        if there.iter().any(|&c| usize::from(c) >= k) {
            found.differs(false, reason);
            continue;
        }
        let (error, least) = (exact.error(row, there), exact.error(row, here));
        found.add_distortion(error, least);
        match there == here {
            true => found.same(),
            false => found.differs(meets_a_tie(row, i), reason),
        }
    }
}

fn table_scan(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    let shapes = [
        (50_000, 16, 10, 3, SymbolWidth::Byte),
        (50_000, 32, 100, 5, SymbolWidth::Nibble),
        (3000, 7, 1, 1, SymbolWidth::Nibble),
        (200, 5, 300, 2, SymbolWidth::Byte),
    ];
    for (case, (n, positions, k, queries, width)) in (700..).zip(shapes) {
        let n = if bench.small { n.min(700) } else { n };
        let (size, alphabet) = (width.bytes(positions), width.alphabet());
        let codes: Vec<u8> = (0..(n * size) as u64).map(|i| crate::random_bits(bench.seed ^ case, i) as u8).collect();
        let tables = values(bench.seed, case, queries * positions * alphabet, InputKind::Plain);
        let there = bench.device.upload(&codes)?;
        let lists = scan_tables(Codes::all(&there, size), width, positions, &tables, k)?;
        for (q, list) in lists.iter().enumerate() {
            let tables = &tables[q * positions * alphabet..][..positions * alphabet];
            let symbol = |code: &[u8], p: usize| match width {
                SymbolWidth::Byte => code[p],
                SymbolWidth::Nibble => code[p / 2] >> (4 * (p % 2)) & 15,
            };
            // Summed in the order of positions, in f32, as the kernel guarantees.
            let score = |code: &[u8]| {
                (0..positions).fold(0f32, |sum, p| sum + tables[p * alphabet + usize::from(symbol(code, p))])
            };
            let mut all: Vec<(f32, u32)> = codes.chunks_exact(size).map(score).zip(0..).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            all.truncate(k);
            compare_lists(
                &mut found,
                &all,
                list.iter().map(|n| (n.score, n.id)),
                &format!("{n} codes of {positions}, query {q}"),
            );
        }
    }
    Ok(found)
}

fn bit_scan(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    for (case, (n, size, k, queries)) in (800..).zip([(50_000, 48, 10, 3), (20_000, 16, 100, 9), (300, 5, 300, 1)]) {
        let n = if bench.small { n.min(700) } else { n };
        let bytes = |stream: u64, len: usize| -> Vec<u8> {
            (0..len as u64).map(|i| crate::random_bits(bench.seed ^ (2 * case + stream), i) as u8).collect()
        };
        let (codes, asked) = (bytes(0, n * size), bytes(1, queries * size));
        let there = bench.device.upload(&codes)?;
        let lists = scan_hamming(Codes::all(&there, size), &asked, k)?;
        for (q, list) in lists.iter().enumerate() {
            let query = &asked[q * size..][..size];
            let differing = |code: &[u8]| code.iter().zip(query).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
            let mut all: Vec<(u32, u32)> = codes.chunks_exact(size).map(differing).zip(0..).collect();
            all.sort_unstable();
            all.truncate(k);
            compare_lists(
                &mut found,
                &all,
                list.iter().map(|n| (n.score, n.id)),
                &format!("{n} codes of {size} bytes, query {q}"),
            );
        }
    }
    Ok(found)
}

fn neighbours(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    let shapes = [(30_000, 50, 128, 10), (5000, 9, 17, 100), (40, 3, 300, 60)];
    for (case, (n, queries, dim, k)) in (900..).zip(shapes) {
        for (kind, stream) in KINDS.into_iter().zip(KINDS.len() as u64 * case..) {
            let (n, queries) = if bench.small { (n.min(300), queries.min(5)) } else { (n, queries) };
            let rows = values(bench.seed, 2 * stream, n * dim, kind);
            let asked = values(bench.seed, 2 * stream + 1, queries * dim, kind);
            let (rows_there, asked_there) = (bench.device.upload(&rows)?, bench.device.upload(&asked)?);
            let base = Base::new(DeviceRows::all(&rows_there, dim), Proximity::SquaredDistance)?;
            let lists = base.nearest(DeviceRows::all(&asked_there, dim), k)?;
            for (q, list) in lists.iter().enumerate() {
                let query = &asked[q * dim..][..dim];
                let row = |id: usize| &rows[id * dim..][..dim];
                let mut all: Vec<(f64, usize)> = (0..n).map(|id| (distance(query, row(id)), id)).collect();
                all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                let what = |place: usize| format!("{n}×{dim}, {kind:?}, query {q}, place {place}");
                found.holds_if(list.len() == k.min(n), || format!("{}: the end", what(list.len())));
                for (place, (there, &(_, here))) in list.iter().zip(&all).enumerate() {
                    let id = there.id as usize;
                    match id == here {
                        true => found.same(),
                        false => found.differs(id < n && is_tie(query, row(id), row(here)), || {
                            format!("{}: row {id} for {here}", what(place))
                        }),
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Scores and indices that a scan found; they must match exactly.
fn compare_lists<S: PartialEq + std::fmt::Debug>(
    found: &mut Agreement,
    expected: &[(S, u32)],
    list: impl ExactSizeIterator<Item = (S, u32)>,
    what: &str,
) {
    found.holds_if(list.len() == expected.len(), || format!("{what}: {} found for {}", list.len(), expected.len()));
    for (place, (there, here)) in list.zip(expected).enumerate() {
        found.holds_if(there == *here, || format!("{what}, place {place}: {there:?} for {here:?}"));
    }
}
