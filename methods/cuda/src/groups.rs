//! The nearest codeword in each group of components (`kernels/groups.cu`).

use crate::assign::{AssignPass, Centred, Codewords};
use crate::device::{Buffer, Device, Launch, launch};
use crate::{CudaError, DeviceRows};

/// Group sizes with their own kernel; other sizes are assigned one group at a time.
const SIZES: [usize; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];

const THREADS: u32 = 128;
const ROWS_PER_BLOCK: usize = 512;

/// Bytes of shared memory for a chunk of codewords and their norms: small enough for several blocks per multiprocessor.
const CHUNK_BYTES: usize = 36 << 10;

/// Codebooks of groups of components, on a device.
#[derive(Debug)]
pub struct GroupCodebooks {
    device: Device,
    groups: usize,
    k: usize,
    size: usize,
    kind: GroupScore,
}

#[derive(Debug)]
enum GroupScore {
    /// All groups in one kernel.
    Together(Together),
    /// One group at a time.
    Apart(Vec<Codewords>),
}

#[derive(Debug)]
struct Together {
    /// Codewords minus the mean of their group, these means, and `½‖c‖²`.
    codebooks: Buffer<f32>,
    means: Buffer<f32>,
    norms: Buffer<f32>,
    /// The original codewords, if distances decide.
    codewords: Option<Buffer<f32>>,
    /// The largest `‖c‖²` of each group.
    largest: Buffer<f32>,
}

fn has_kernel(size: usize, groups: usize) -> bool {
    SIZES.contains(&size) && groups <= 65_535
}

impl GroupCodebooks {
    /// Prepares codebooks of shape `k×size`, one per group.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// If there is no codebook, or the codebooks are not whole and of one length.
    pub fn new(device: &Device, codebooks: &[&[f32]], size: usize) -> Result<GroupCodebooks, CudaError> {
        assert!(!codebooks.is_empty() && size > 0, "codebooks of codewords");
        let k = codebooks[0].len() / size;
        assert!(k > 0 && codebooks.iter().all(|book| book.len() == k * size), "codebooks of one shape");
        let kind = match has_kernel(size, codebooks.len()) {
            true => {
                let (mut all, mut means, mut norms, mut largest) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
                for book in codebooks {
                    let book = Centred::new(book, size);
                    all.extend(book.codewords);
                    means.extend(book.mean);
                    largest.push(book.half_norms.iter().fold(0f32, |most, &half| most.max(2.0 * half)));
                    norms.extend(book.half_norms);
                }
                GroupScore::Together(Together {
                    codebooks: device.upload(&all)?,
                    means: device.upload(&means)?,
                    norms: device.upload(&norms)?,
                    codewords: Some(device.upload(&codebooks.concat())?),
                    largest: device.upload(&largest)?,
                })
            }
            false => {
                let books = codebooks.iter().map(|book| Codewords::new(device, book, size, AssignPass::Auto));
                GroupScore::Apart(books.collect::<Result<_, _>>()?)
            }
        };
        Ok(GroupCodebooks { device: device.clone(), groups: codebooks.len(), k, size, kind })
    }

    /// Prepares linear scores instead: the symbol of a group is the index of the largest `x·w_c + b_c`, for weights of
    /// shape `k×size` and `k` biases. Returns None if groups of this size have no kernel of their own.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// If there is no group, or the weights are not whole and of one length.
    pub fn with_biases(
        device: &Device,
        weights: &[&[f32]],
        biases: &[&[f32]],
        size: usize,
    ) -> Result<Option<GroupCodebooks>, CudaError> {
        let (groups, k) = (weights.len(), biases.first().map_or(0, |bias| bias.len()));
        assert!(k > 0 && biases.len() == groups && biases.iter().all(|bias| bias.len() == k), "as many biases");
        assert!(weights.iter().all(|weights| weights.len() == k * size), "weights of one shape");
        if !has_kernel(size, groups) {
            return Ok(None);
        }
        // The kernel minimizes −(x·w + b): −b takes the place of the half norms, and nothing is subtracted from rows.
        let norms: Vec<f32> = biases.iter().flat_map(|bias| bias.iter().map(|b| -b)).collect();
        let kind = GroupScore::Together(Together {
            codebooks: device.upload(&weights.concat())?,
            means: device.filled(groups * size, 0)?,
            norms: device.upload(&norms)?,
            codewords: None,
            largest: device.filled(groups, 0)?,
        });
        Ok(Some(GroupCodebooks { device: device.clone(), groups, k, size, kind }))
    }

    /// Writes one symbol per row and group, row by row.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If dimensions or lengths do not match.
    pub fn nearest(&self, rows: DeviceRows<'_>, symbols: &mut Buffer<u16>) -> Result<(), CudaError> {
        let groups = self.groups;
        assert!(rows.dim() == groups * self.size && symbols.len() >= rows.count() * groups, "a symbol per group");
        assert!(rows.buffer().device().is(&self.device), "rows and codebooks on one device");
        if rows.count() == 0 {
            return Ok(());
        }
        match &self.kind {
            GroupScore::Together(Together { codebooks, means, norms, codewords, largest }) => {
                // A multiple of 4 codewords, so that the norms after them stay aligned.
                let chunk = (CHUNK_BYTES / (4 * (self.size + 1)) / 4 * 4).min(self.k.next_multiple_of(4));
                let shared = 4 * ((chunk * self.size).next_multiple_of(4) + chunk);
                let grid = Launch::of(rows.count().div_ceil(ROWS_PER_BLOCK), THREADS).by(groups).shared(shared);
                macro_rules! launch_size {
                    ($($size:literal $kernel:ident),*) => {
                        match self.size {
                            $($size => launch!(self.device, $kernel, grid;
                                rows.start(), rows.stride(), rows.n(), codebooks, means, norms, codewords.as_ref(), largest,
                                self.k as u32, chunk as u32, groups as u32, &*symbols),)*
                            _ => unreachable!("sizes with a kernel of their own"),
                        }
                    };
                }
                // SAFETY: codebooks, means and norms have the lengths that the kernel reads, and the output has space
                // for each row.
                unsafe {
                    launch_size!(
                        1 nearest_in_groups_of_1, 2 nearest_in_groups_of_2, 3 nearest_in_groups_of_3,
                        4 nearest_in_groups_of_4, 6 nearest_in_groups_of_6, 8 nearest_in_groups_of_8,
                        12 nearest_in_groups_of_12, 16 nearest_in_groups_of_16, 24 nearest_in_groups_of_24,
                        32 nearest_in_groups_of_32
                    )
                }
            }
            GroupScore::Apart(books) => {
                let mut nearest = self.device.room(rows.count())?;
                for (group, book) in books.iter().enumerate() {
                    book.assign(rows.columns(group * self.size, self.size), &mut nearest)?;
                    // SAFETY: the output has space for the symbols of each row.
                    unsafe {
                        launch!(self.device, place_symbols, Launch::of(rows.count().div_ceil(256), 256);
                            &nearest, rows.n(), group as u32, groups as u32, &*symbols)?;
                    }
                }
                Ok(())
            }
        }
    }
}
