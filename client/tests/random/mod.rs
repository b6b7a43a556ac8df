//! A generator of the same numbers on every run.

#![allow(dead_code, reason = "each test program uses a part of it")]

#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let numbers = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        numbers.take(len).collect()
    }
}
