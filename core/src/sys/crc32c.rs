//! CRC-32C by the instructions of the CPU.

/// Adds bytes to the register of a CRC-32C: `update(register, bytes)`.
pub type Update = fn(u32, &[u8]) -> u32;

/// `CRC32`, `CRC32CX`—Returns what computes a CRC-32C in this CPU, or `None` if it has no
/// instruction for it. The register is neither inverted before nor after.
///
/// # References
///  - Intel 64 and IA-32 Architectures Software Developer's Manual, `CRC32`
///  - Arm Architecture Reference Manual for A-profile, `CRC32CX`; optional in Armv8.0, and in all
///    later versions
#[doc(alias = "crc32")]
pub fn update() -> Option<Update> {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the CPU has the instruction.
        return Some(|register, bytes| unsafe { x86_64(register, bytes) });
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("crc") {
        // SAFETY: the CPU has the instruction.
        return Some(|register, bytes| unsafe { aarch64(register, bytes) });
    }
    None
}

/// # Safety
/// The CPU must have SSE4.2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
#[allow(unused_unsafe, reason = "the intrinsics are unsafe before Rust 1.87")]
unsafe fn x86_64(mut register: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u64, _mm_crc32_u8};
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    for word in words {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        // SAFETY: the caller has checked the CPU.
        register = unsafe { _mm_crc32_u64(register.into(), word) } as u32;
    }
    for byte in rest {
        // SAFETY: as above.
        register = unsafe { _mm_crc32_u8(register, *byte) };
    }
    register
}

/// # Safety
/// The CPU must have the CRC32 instructions.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "crc")]
#[allow(unused_unsafe, reason = "the intrinsics are unsafe before Rust 1.87")]
unsafe fn aarch64(mut register: u32, bytes: &[u8]) -> u32 {
    use std::arch::aarch64::{__crc32cb, __crc32cd};
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    for word in words {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        // SAFETY: the caller has checked the CPU.
        register = unsafe { __crc32cd(register, word) };
    }
    for byte in rest {
        // SAFETY: as above.
        register = unsafe { __crc32cb(register, *byte) };
    }
    register
}
