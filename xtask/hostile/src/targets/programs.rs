//! Arrays that outside programs write.

use super::plain;
use crate::room::Room;
use adapters::ArrayKind;

/// The shape that is asked for.
const SHAPE: (usize, usize) = (3, 2);

const KINDS: [ArrayKind; 3] = [ArrayKind::Vectors, ArrayKind::Codes, ArrayKind::Ids];

/// An array as NumPy writes it.
fn array(descr: &str, values: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {SHAPE:?}, }}");
    let header = format!("{text:<117}\n");
    [&b"\x93NUMPY\x01\0"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), values].concat()
}

pub fn seeds() -> Vec<Vec<u8>> {
    vec![array("<f4", &[0; 24]), array("|u1", &[1; 6]), array("<i8", &[0; 48])]
}

pub fn check(room: &Room, input: &[u8]) -> Result<(), String> {
    let path = room.write("input.npy", input)?;
    for kind in KINDS {
        match adapters::count_values(&path, kind, SHAPE) {
            Ok(values) if values == SHAPE.0 * SHAPE.1 => {}
            Ok(values) => return Err(format!("an array of {SHAPE:?} gives {values} values")),
            Err(message) => plain(&message)?,
        }
    }
    Ok(())
}
