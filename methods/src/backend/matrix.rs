//! Handles of rows and of codes, wherever a backend keeps them, and of the places that an operation writes to.
//!
//! What a caller has on the host is borrowed where the backend works on the host: nothing is copied there.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Values that are read: of a caller on the host, or in a backend's own storage.
#[derive(Clone)]
enum Storage<'a, T> {
    Host(&'a [T]),
    Own(Arc<dyn Any + Send + Sync>),
}

impl<T: 'static> Storage<'_, T> {
    /// The values, where they are on the host.
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

/// An immutable row-major f32 matrix wherever its backend keeps matrices, or a window of one.
#[derive(Clone)]
pub struct DeviceMatrix<'a> {
    storage: Storage<'a, f32>,
    first: usize,
    rows: usize,
    stride: usize,
    columns: usize,
}

impl<'a> DeviceMatrix<'a> {
    /// `rows×columns` values of a caller; for backends that work on the host.
    ///
    /// # Panics
    /// When there are not as many.
    pub fn borrowed(values: &'a [f32], rows: usize, columns: usize) -> DeviceMatrix<'a> {
        assert!(values.len() == rows * columns, "{rows}×{columns} values, not {}", values.len());
        DeviceMatrix { storage: Storage::Host(values), first: 0, rows, stride: columns, columns }
    }

    /// Wraps a backend's storage of `rows×columns` values; for implementors of [`super::Backend`]. On the host that is a `Vec<f32>`.
    pub fn from_storage(storage: Arc<dyn Any + Send + Sync>, rows: usize, columns: usize) -> DeviceMatrix<'a> {
        DeviceMatrix { storage: Storage::Own(storage), first: 0, rows, stride: columns, columns }
    }

    /// The storage, for the backend that made it.
    pub fn storage<S: 'static>(&self) -> Option<&S> {
        self.storage.own()
    }

    /// Where the values are on the host: those from the first of the window on; row `i` begins at `i·stride`.
    pub fn host_values(&self) -> Option<&[f32]> {
        self.storage.host().map(|values| &values[self.first.min(values.len())..])
    }

    /// Number of rows.
    pub fn nrows(&self) -> usize {
        self.rows
    }

    /// Number of columns of this window.
    pub fn ncols(&self) -> usize {
        self.columns
    }

    /// Distance between the starts of two rows, in values.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The place of the first value of the window in its storage.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Every `step`-th row from the first on; shares the storage.
    ///
    /// # Panics
    /// When `step` is 0.
    pub fn every(&self, step: usize) -> DeviceMatrix<'a> {
        DeviceMatrix { rows: self.rows.div_ceil(step), stride: self.stride * step, ..self.clone() }
    }

    /// A window of this window's columns; shares the storage.
    ///
    /// # Panics
    /// When the range reaches past the last column.
    pub fn columns(&self, range: Range<usize>) -> DeviceMatrix<'a> {
        assert!(range.start <= range.end && range.end <= self.columns, "columns {range:?} of {}", self.columns);
        DeviceMatrix { first: self.first + range.start, columns: range.len(), ..self.clone() }
    }

    /// Up to `count` rows from row `from` on; shares the storage.
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

/// Codes of `size` bytes each, one after the other, wherever their backend keeps them.
#[derive(Clone)]
pub struct DeviceCodes<'a> {
    storage: Storage<'a, u8>,
    count: usize,
    size: usize,
}

impl<'a> DeviceCodes<'a> {
    /// Codes of a caller; for backends that work on the host.
    ///
    /// # Panics
    /// When they are not whole.
    pub fn borrowed(bytes: &'a [u8], size: usize) -> DeviceCodes<'a> {
        assert!(size > 0 && bytes.len().is_multiple_of(size), "whole codes of {size} bytes, not {} bytes", bytes.len());
        DeviceCodes { storage: Storage::Host(bytes), count: bytes.len() / size, size }
    }

    /// Wraps a backend's storage of `count` codes; for implementors of [`super::Backend`]. On the host that is a `Vec<u8>`.
    pub fn from_storage(storage: Arc<dyn Any + Send + Sync>, count: usize, size: usize) -> DeviceCodes<'a> {
        DeviceCodes { storage: Storage::Own(storage), count, size }
    }

    /// The storage, for the backend that made it.
    pub fn storage<S: 'static>(&self) -> Option<&S> {
        self.storage.own()
    }

    /// The bytes, where they are on the host.
    pub fn host_bytes(&self) -> Option<&[u8]> {
        self.storage.host()
    }

    /// Number of codes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of a code.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl fmt::Debug for DeviceCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceCodes({}×{} bytes)", self.count, self.size)
    }
}

/// Values that are written.
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

/// Room for rows that an operation writes, one after the other.
pub struct MatrixRoom<'a> {
    space: Space<'a, f32>,
    rows: usize,
    columns: usize,
}

impl<'a> MatrixRoom<'a> {
    /// In the memory of a caller; for backends that work on the host.
    ///
    /// # Panics
    /// When it is not `rows×columns` values.
    pub fn borrowed(values: &'a mut [f32], rows: usize, columns: usize) -> MatrixRoom<'a> {
        assert!(values.len() == rows * columns, "{rows}×{columns} values, not {}", values.len());
        MatrixRoom { space: Space::Host(values), rows, columns }
    }

    /// In a backend's own storage; for implementors of [`super::Backend`]. On the host that is a `Vec<f32>`.
    pub fn from_storage(storage: Box<dyn Any + Send + Sync>, rows: usize, columns: usize) -> MatrixRoom<'a> {
        MatrixRoom { space: Space::Own(storage), rows, columns }
    }

    /// The storage, for the backend that made it.
    pub fn storage<S: 'static>(&mut self) -> Option<&mut S> {
        self.space.own()
    }

    /// The values, where they are on the host.
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

/// Room for codes that an operation writes, one after the other.
pub struct CodeRoom<'a> {
    space: Space<'a, u8>,
    count: usize,
    size: usize,
}

impl<'a> CodeRoom<'a> {
    /// In the memory of a caller; for backends that work on the host.
    ///
    /// # Panics
    /// When it does not hold whole codes.
    pub fn borrowed(bytes: &'a mut [u8], size: usize) -> CodeRoom<'a> {
        assert!(size > 0 && bytes.len().is_multiple_of(size), "whole codes of {size} bytes, not {} bytes", bytes.len());
        let count = bytes.len() / size;
        CodeRoom { space: Space::Host(bytes), count, size }
    }

    /// In a backend's own storage; for implementors of [`super::Backend`]. On the host that is a `Vec<u8>`.
    pub fn from_storage(storage: Box<dyn Any + Send + Sync>, count: usize, size: usize) -> CodeRoom<'a> {
        CodeRoom { space: Space::Own(storage), count, size }
    }

    /// The storage, for the backend that made it.
    pub fn storage<S: 'static>(&mut self) -> Option<&mut S> {
        self.space.own()
    }

    /// The bytes, where they are on the host.
    pub fn host_bytes(&mut self) -> Option<&mut [u8]> {
        self.space.host()
    }

    /// Number of codes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of a code.
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
