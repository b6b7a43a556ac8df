//! CRC-32C, the checksum of iSCSI, ext4 and Btrfs: by the CPU's own instruction, or with tables.

use dmabufio_core::sys::crc32c::{update, Update};

/// The polynomial, with its bits in reverse order.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Bytes that are looked up at a time.
const STEP: usize = 16;

/// `TABLES[k][b]` is the register after the byte `b` and `k` zero bytes.
static TABLES: [[u32; 256]; STEP] = tables();

const fn tables() -> [[u32; 256]; STEP] {
    let mut tables = [[0; 256]; STEP];
    let mut byte = 0;
    while byte < 256 {
        let mut state = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            state = if state & 1 == 1 { state >> 1 ^ POLYNOMIAL } else { state >> 1 };
            bit += 1;
        }
        tables[0][byte] = state;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < STEP {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[zeros - 1][byte];
            tables[zeros][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// The CRC of bytes that arrive in pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crc32c {
    register: u32,
    update: Update,
}

impl Crc32c {
    pub fn new() -> Self {
        Self { register: !0, update: update().unwrap_or(with_tables) }
    }

    pub fn update(&mut self, data: &[u8]) {
        self.register = (self.update)(self.register, data);
    }

    pub fn finish(self) -> u32 {
        !self.register
    }

    /// The CRC of `data`.
    pub fn of(data: &[u8]) -> u32 {
        let mut crc = Self::new();
        crc.update(data);
        crc.finish()
    }
}

/// For CPUs without the instruction.
fn with_tables(register: u32, data: &[u8]) -> u32 {
    let steps = data.chunks_exact(STEP);
    let rest = steps.remainder();
    let register = steps.fold(register, |register, step| {
        let bytes = step.try_into().map_or(0, u128::from_le_bytes) ^ u128::from(register);
        // The lookups of a step do not wait for each other.
        let lookups = bytes.to_le_bytes().into_iter().zip(TABLES.iter().rev());
        lookups.fold(0, |next, (byte, table)| next ^ table[usize::from(byte)])
    });
    let shift =
        |register: u32, &byte: &u8| register >> 8 ^ TABLES[0][usize::from(register as u8 ^ byte)];
    rest.iter().fold(register, shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    /// The CRC in both ways.
    fn in_both_ways(data: &[u8]) -> [u32; 2] {
        let mut tables = Crc32c { update: with_tables, ..Crc32c::new() };
        tables.update(data);
        [Crc32c::of(data), tables.finish()]
    }

    /// The CRC as it is defined: a division, bit by bit.
    fn divided(data: &[u8]) -> u32 {
        let bits = data.iter().flat_map(|byte| (0..8).map(move |bit| u32::from(byte >> bit & 1)));
        !bits.fold(!0, |state: u32, bit| match (state ^ bit) & 1 {
            1 => state >> 1 ^ POLYNOMIAL,
            _ => state >> 1,
        })
    }

    #[test]
    fn values_of_the_standards_are_met() {
        let rising: Vec<u8> = (0..32).collect();
        // The check value of the catalogues of CRCs, and examples of RFC 3720, B.4.
        for (data, crc) in [
            (&b"123456789"[..], 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&rising, 0x46dd_794e),
            (b"", 0),
        ] {
            assert_eq!((in_both_ways(data), divided(data)), ([crc; 2], crc));
        }
    }

    #[test]
    fn both_ways_agree_with_the_definition_at_every_length() {
        for len in (0..300).chain([4095, 4096, 65_537]) {
            let data = bytes(len);
            assert_eq!(in_both_ways(&data), [divided(&data); 2], "{len} bytes");
        }
    }

    #[test]
    fn pieces_give_the_crc_of_the_whole() {
        let data = bytes(1000);
        let whole = divided(&data);
        for cut in 0..data.len() {
            let (front, back) = data.split_at(cut);
            let mut crc = Crc32c::new();
            crc.update(front);
            crc.update(back);
            assert_eq!(crc.finish(), whole, "{cut}");
        }
    }
}
