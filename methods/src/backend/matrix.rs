//! Handles of matrices and codes in a backend's storage, and of the outputs that operations write.
//!
//! A backend that works on the host borrows the caller's memory: nothing is copied.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Values to read: borrowed from a caller on the host, or in a backend's own storage.
#[derive(Clone)]
enum Storage<'a, T> {
    Host(&'a [T]),
    Own(Arc<dyn Any + Send + Sync>),
}

impl<T: 'static> Storage<'_, T> {
    /// The values, if they are on the host.
    fn host(&self) -> Option<&[T]> {
        match self {
            Storage::Host(values) => Some(values),
            Storage::Own(storage) => storage.downcast_ref::<Vec<T>>().map(Vec::as_slice),
        }
    }

    fn own<S: 'static>(&self) -> Option<&S> {
        match self {
            Storage::Host(_) => None,
            Storage::Own(storage) => storage.downcast_ref(),
        }
    }
}

/// An immutable row-major f32 matrix in its backend's storage, or a window of one.
#[derive(Clone)]
pub struct DeviceMatrix<'a> {
    storage: Storage<'a, f32>,
    first: usize,
    rows: usize,
    stride: usize,
    columns: usize,
}

impl<'a> DeviceMatrix<'a> {
    /// Borrows `rows×columns` values of a caller; for backends that work on the host.
    ///
    /// # Panics
    /// If the number of values differs.
    pub fn borrowed(values: &'a [f32], rows: usize, columns: usize) -> DeviceMatrix<'a> {
        assert!(values.len() == rows * columns, "{rows}×{columns} values, not {}", values.len());
        DeviceMatrix { storage: Storage::Host(values), first: 0, rows, stride: columns, columns }
    }

    /// Wraps a backend's storage of `rows×columns` values; for implementors of [`super::Backend`]. On the host this is
    /// a `Vec<f32>`.
    pub fn from_storage(storage: Arc<dyn Any + Send + Sync>, rows: usize, columns: usize) -> DeviceMatrix<'a> {
        DeviceMatrix { storage: Storage::Own(storage), first: 0, rows, stride: columns, columns }
    }

    /// The storage, for the backend that created it.
    pub fn storage<S: 'static>(&self) -> Option<&S> {
        self.storage.own()
    }

    /// The values from the start of the window, if they are on the host; row `i` begins at `i·stride`.
    pub fn host_values(&self) -> Option<&[f32]> {
        self.storage.host().map(|values| &values[self.first.min(values.len())..])
    }

    /// Number of rows.
    pub fn nrows(&self) -> usize {
        self.rows
    }

    /// Number of columns in this window.
    pub fn ncols(&self) -> usize {
        self.columns
    }

    /// Distance between the starts of consecutive rows, in values.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Offset of the first value of the window in its storage, in values.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Every `step`-th row, starting with the first; shares the storage.
    ///
    /// If `step` is 0.
    /// When `step` is 0.
    pub fn every(&self, step: usize) -> DeviceMatrix<'a> {
        DeviceMatrix { rows: self.rows.div_ceil(step), stride: self.stride * step, ..self.clone() }
    }

    /// A window of this window's columns; shares the storage.
    ///
    /// # Panics
    /// If the range exceeds the number of columns.
    pub fn columns(&self, range: Range<usize>) -> DeviceMatrix<'a> {
        assert!(range.start <= range.end && range.end <= self.columns, "columns {range:?} of {}", self.columns);
        DeviceMatrix { first: self.first + range.start, columns: range.len(), ..self.clone() }
    }

    /// At most `count` rows, starting with row `from`; shares the storage.
    pub fn part(&self, from: usize, count: usize) -> DeviceMatrix<'a> {
        let from = from.min(self.rows);
        DeviceMatrix { first: self.first + from * self.stride, rows: count.min(self.rows - from), ..self.clone() }
    }
}

impl fmt::Debug for DeviceMatrix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceMatrix({}×{})", self.rows, self.columns)
    }
}

/// Contiguous codes of `size` bytes each, in their backend's storage.
#[derive(Clone)]
pub struct DeviceCodes<'a> {
    storage: Storage<'a, u8>,
    count: usize,
    size: usize,
}

impl<'a> DeviceCodes<'a> {
    /// Borrows codes of a caller; for backends that work on the host.
    ///
    /// # Panics
    /// If the bytes are not a whole number of codes.
    pub fn borrowed(bytes: &'a [u8], size: usize) -> DeviceCodes<'a> {
        assert!(size > 0 && bytes.len().is_multiple_of(size), "whole codes of {size} bytes, not {} bytes", bytes.len());
        DeviceCodes { storage: Storage::Host(bytes), count: bytes.len() / size, size }
    }

    /// Wraps a backend's storage of `count` codes; for implementors of [`super::Backend`]. On the host this is a
    /// `Vec<u8>`.
    pub fn from_storage(storage: Arc<dyn Any + Send + Sync>, count: usize, size: usize) -> DeviceCodes<'a> {
        DeviceCodes { storage: Storage::Own(storage), count, size }
    }

    /// The storage, for the backend that created it.
    pub fn storage<S: 'static>(&self) -> Option<&S> {
        self.storage.own()
    }

    /// The bytes, if they are on the host.
    pub fn host_bytes(&self) -> Option<&[u8]> {
        self.storage.host()
    }

    /// Number of codes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes per code.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl fmt::Debug for DeviceCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceCodes({}×{} bytes)", self.count, self.size)
    }
}

/// Values to write.
enum Space<'a, T> {
    Host(&'a mut [T]),
    Own(Box<dyn Any + Send + Sync>),
}

impl<T: 'static> Space<'_, T> {
    fn host(&mut self) -> Option<&mut [T]> {
        match self {
            Space::Host(values) => Some(values),
            Space::Own(storage) => storage.downcast_mut::<Vec<T>>().map(Vec::as_mut_slice),
        }
    }

    fn own<S: 'static>(&mut self) -> Option<&mut S> {
        match self {
            Space::Host(_) => None,
            Space::Own(storage) => storage.downcast_mut(),
        }
    }
}

/// The output of an operation that writes rows, contiguously.
pub struct MatrixRoom<'a> {
    space: Space<'a, f32>,
    rows: usize,
    columns: usize,
}

impl<'a> MatrixRoom<'a> {
    /// Borrows the memory of a caller; for backends that work on the host.
    ///
    /// # Panics
    /// If the length is not `rows×columns`.
    pub fn borrowed(values: &'a mut [f32], rows: usize, columns: usize) -> MatrixRoom<'a> {
        assert!(values.len() == rows * columns, "{rows}×{columns} values, not {}", values.len());
        MatrixRoom { space: Space::Host(values), rows, columns }
    }

    /// Uses a backend's own storage; for implementors of [`super::Backend`]. On the host this is a `Vec<f32>`.
    pub fn from_storage(storage: Box<dyn Any + Send + Sync>, rows: usize, columns: usize) -> MatrixRoom<'a> {
        MatrixRoom { space: Space::Own(storage), rows, columns }
    }

    /// The storage, for the backend that created it.
    pub fn storage<S: 'static>(&mut self) -> Option<&mut S> {
        self.space.own()
    }

    /// The values, if they are on the host.
    pub fn host_values(&mut self) -> Option<&mut [f32]> {
        self.space.host()
    }

    /// Number of rows.
    pub fn nrows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn ncols(&self) -> usize {
        self.columns
    }
}

impl MatrixRoom<'static> {
    /// The matrix that was written.
    pub fn into_matrix(self) -> DeviceMatrix<'static> {
        let (first, stride) = (0, self.columns);
        let storage = match self.space {
            Space::Host(values) => Storage::Host(&*values),
            Space::Own(storage) => Storage::Own(storage.into()),
        };
        DeviceMatrix { storage, first, rows: self.rows, stride, columns: self.columns }
    }
}

/// The output of an operation that writes codes, contiguously.
pub struct CodeRoom<'a> {
    space: Space<'a, u8>,
    count: usize,
    size: usize,
}

impl<'a> CodeRoom<'a> {
    /// Borrows the memory of a caller; for backends that work on the host.
    ///
    /// # Panics
    /// If the bytes are not a whole number of codes.
    pub fn borrowed(bytes: &'a mut [u8], size: usize) -> CodeRoom<'a> {
        assert!(size > 0 && bytes.len().is_multiple_of(size), "whole codes of {size} bytes, not {} bytes", bytes.len());
        let count = bytes.len() / size;
        CodeRoom { space: Space::Host(bytes), count, size }
    }

    /// Uses a backend's own storage; for implementors of [`super::Backend`]. On the host this is a `Vec<u8>`.
    pub fn from_storage(storage: Box<dyn Any + Send + Sync>, count: usize, size: usize) -> CodeRoom<'a> {
        CodeRoom { space: Space::Own(storage), count, size }
    }

    /// The storage, for the backend that created it.
    pub fn storage<S: 'static>(&mut self) -> Option<&mut S> {
        self.space.own()
    }

    /// The bytes, if they are on the host.
    pub fn host_bytes(&mut self) -> Option<&mut [u8]> {
        self.space.host()
    }

    /// Number of codes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes per code.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl CodeRoom<'static> {
    /// The codes that were written.
    pub fn into_codes(self) -> DeviceCodes<'static> {
        let storage = match self.space {
            Space::Host(bytes) => Storage::Host(&*bytes),
            Space::Own(storage) => Storage::Own(storage.into()),
        };
        DeviceCodes { storage, count: self.count, size: self.size }
    }
}
